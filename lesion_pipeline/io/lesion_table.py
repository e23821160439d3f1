"""A lesion table written by hand, as countable lesions. Its columns are described in docs/lesion_table.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lesion_pipeline.domain.anatomy import Organ, VertebralLevel
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.lesion import Evidence, LesionClass
from lesion_pipeline.domain.verdict import CountableLesion
from lesion_pipeline.io.records import Row, read_records

COLUMNS = (
    "id",
    "probability",
    "organ",
    "spinal",
    "vertebrae",
    "class",
    "structure",
    "sources",
    "volume_ml",
    "suv_max",
    "contrast",
    "split_probability",
    "saddle_ratio",
    "regional",
    "treated",
    "diffuse",
    "level_alternatives",
    "ct",
    "mri",
    "mri_enhanced",
    "doubts",
    "comment",
)
_EVIDENCE = ("positive", "negative", "lytic", "sclerotic", "mixed", "none", "not_assessable", "not_available")
_SOURCES = ("pet", "ct", "mr")
_LARGEST = 1e6


@dataclass(frozen=True, slots=True)
class LesionTable:
    """Lesions in the order of the rows, with what had to be assumed. sha256: of the file's bytes."""

    lesions: tuple[CountableLesion, ...]
    table_format: str
    sha256: str
    caveats: tuple[Caveat, ...]


def read(path: Path) -> LesionTable:
    """Lesions of a CSV, TSV or JSON table.

    Raises InputError with one sentence that names row and key: NO_TABLE, TABLE_TOO_LARGE, NOT_A_TABLE, EMPTY_TABLE,
    UNKNOWN_COLUMN, MISSING_COLUMN, BAD_TABLE, DUPLICATE_LESION.
    """
    records = read_records(path, COLUMNS, "lesions", "id")
    if records.rows and "organ" not in records.columns:
        raise InputError(
            "MISSING_COLUMN", f"{path.name}: the column 'organ' is missing", advice="Write unknown where it is not known."
        )
    graded = "probability" in records.columns
    lesions = tuple(_lesion(row, graded) for row in records.rows)
    names = [lesion.id for lesion in lesions]
    for row, name in zip(records.rows, names, strict=True):
        if names.count(name) > 1:
            raise InputError(
                "DUPLICATE_LESION", f"row {row.number}, id: {name!r} stands there twice", advice="Name every lesion once."
            )
    caveats = []
    if lesions and not graded:
        text = "the table gives no probabilities, so every lesion in it was taken as certain"
        caveats.append(Caveat("NO_PROBABILITIES", "tally", text))
    return LesionTable(lesions, records.table_format, records.sha256, tuple(caveats))


def _lesion(row: Row, graded: bool) -> CountableLesion:
    probability = row.number_in("probability", 0.0, 1.0)
    if graded and probability is None:
        raise row.refuse("probability", "the cell is empty", "Write 1 for a certain lesion.")
    organs = _organs(row)
    vertebrae = _vertebrae(row)
    klass = row.one_of("class", row.text("class") or LesionClass.METASTASIS.value, [c.value for c in LesionClass])
    sources = tuple(row.one_of("sources", word, _SOURCES) for word in row.words("sources")) or ("pet",)
    return CountableLesion(
        id=row.name or f"row{row.number}",
        probability=1.0 if probability is None else probability,
        organs=organs,
        spinal=_spinal(row, organs, vertebrae),
        vertebrae=vertebrae,
        klass=klass,
        split_probability=row.number_in("split_probability", 0.0, 1.0) or 0.0,
        sources=sources,
        volume_ml=row.number_in("volume_ml", 0.0, _LARGEST),
        suv_max=row.number_in("suv_max", 0.0, _LARGEST),
        regional=row.truth("regional"),
        treated=bool(row.truth("treated")),
        diffuse=bool(row.truth("diffuse")),
        doubts=tuple(word.upper() for word in row.words("doubts")),
        structure=row.text("structure").lower().replace(" ", "_"),
        contrast=row.number_in("contrast", 0.0, _LARGEST),
        saddle_ratio=row.number_in("saddle_ratio", 0.0, 1.0),
        level_alternatives=_alternatives(row, vertebrae),
        evidence=_evidence(row, sources),
    )


def _organs(row: Row) -> tuple[tuple[str, float], ...]:
    """``liver``, ``lung:0.6 liver:0.4``, or ``unknown``."""
    text = row.text("organ")
    known = [organ.value for organ in Organ]
    if not text:
        raise row.refuse("organ", "the cell is empty", "Write unknown where it is not known.")
    if text.lower() == "unknown":
        return ()
    if ":" not in text:
        return ((row.one_of("organ", text, known), 1.0),)
    pairs = [(row.one_of("organ", key, known), share) for key, share in _pairs(row, "organ")]
    total = sum(share for _, share in pairs)
    if abs(total - 1.0) > 1e-3:
        raise row.refuse("organ", f"the probabilities sum to {total:g}, not to 1")
    return tuple((key, share / total) for key, share in pairs)


def _pairs(row: Row, key: str) -> list[tuple[str, float]]:
    out = []
    for word in row.words(key):
        name, colon, number = word.rpartition(":")
        share = Row(row.number, {key: number}, row.name).number_in(key, 0.0, 1.0) if colon else None
        if share is None:
            raise row.refuse(key, f"{word!r} is not of the form name:probability")
        out.append((name, share))
    return out


def _spinal(row: Row, organs: tuple[tuple[str, float], ...], vertebrae: tuple[str, ...]) -> bool | None:
    """As said; without a word a lesion with vertebrae is spinal, one that cannot be bone is not, and else it is not known."""
    said = row.truth("spinal")
    if said is False and vertebrae:
        raise row.refuse("spinal", "it says no, but vertebrae are named")
    if said is not None or row.text("spinal"):
        return said
    if vertebrae:
        return True
    return None if not organs or any(key == Organ.BONE for key, _ in organs) else False


def _vertebrae(row: Row) -> tuple[str, ...]:
    """``T11 T12``, ``T7-T12``, ``S``, or ``V07`` for the seventh vertebra of a scan whose levels have no names."""
    out: list[str] = []
    for word in row.words("vertebrae"):
        first, dash, last = word.partition("-")
        if not dash:
            out.append(_vertebra(row, word))
            continue
        ends = [_vertebra(row, part) for part in (first, last)]
        if not all(end in VertebralLevel.__members__ for end in ends):
            raise row.refuse("vertebrae", f"{word!r} is not a range of named levels")
        top, bottom = (VertebralLevel[end] for end in ends)
        if top > bottom:
            raise row.refuse("vertebrae", f"{word!r} runs upward", "Write the upper level first.")
        unusual = {VertebralLevel.T13, VertebralLevel.L6} - {top, bottom}
        out += [level.name for level in VertebralLevel if top <= level <= bottom and level not in unusual]
    return tuple(dict.fromkeys(out))


def _vertebra(row: Row, word: str, key: str = "vertebrae") -> str:
    name = word.upper()
    name = f"T{name[2:]}" if name.startswith("TH") else name
    if name in VertebralLevel.__members__:
        return name
    if name[:1] == "V" and name[1:].isdigit():
        return f"V{int(name[1:]):02d}"
    raise row.refuse(key, f"{word!r} is no vertebral level", "Write C1..C7, T1..T13, L1..L6, S, S1..S5, CO, or V07.")


def _alternatives(row: Row, vertebrae: tuple[str, ...]) -> tuple[tuple[str, tuple[tuple[str, float], ...]], ...]:
    pairs = tuple((_vertebra(row, name, "level_alternatives"), share) for name, share in _pairs(row, "level_alternatives"))
    if pairs and not vertebrae:
        raise row.refuse("level_alternatives", "there is no vertebra that they are alternatives to")
    return ((vertebrae[0], pairs),) if pairs else ()


def _evidence(row: Row, sources: tuple[str, ...]) -> Evidence | None:
    if not (row.text("ct") or row.text("mri")):
        return None
    read = {key: row.one_of(key, row.text(key) or "not_available", _EVIDENCE) for key in ("ct", "mri")}
    return Evidence("positive" if "pet" in sources else "not_available", read["ct"], read["mri"], row.truth("mri_enhanced"))
