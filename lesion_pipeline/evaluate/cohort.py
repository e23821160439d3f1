"""Which references there are, and which run belongs to which."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lesion_pipeline.domain.errors import ConfigError, InputError
from lesion_pipeline.evaluate import dicom_reads, fingerprint
from lesion_pipeline.evaluate.answer_key import ANSWER, name_of, read_answer
from lesion_pipeline.evaluate.reads import Read, ReadAnswer
from lesion_pipeline.evaluate.reference_reads import read_mask, read_points
from lesion_pipeline.report import layout

#: Files of a user's reference folder, in the order they are looked for.
_LESIONS = ("lesions.nii.gz", "lesions.nii", "lesions.csv", "lesions.tsv", "lesions.dcm")
_MORE = "reference.json"
_MASKS, _TABLES, _DICOM = (".nii.gz", ".nii"), (".csv", ".tsv"), (".dcm",)


@dataclass(frozen=True, slots=True)
class Reference:
    """One study of the truth. read: loads it.

    source: the folder that may hold the study's own DICOM files, None when there is none.
    """

    name: str
    read: Callable[[], Read]
    source: Path | None = None


def references(truth: Path) -> tuple[Reference, ...]:
    """Every reference study below a path, sorted by name.

    A cohort of the simulator: folders with ``answer.json``, at any depth. Users' own reads: ``<study>.nii.gz``,
    ``<study>.csv``, ``<study>.dcm`` (SEG or RTSTRUCT), one table with a column ``study``, or ``<study>/lesions.*``; beside
    ``lesions.*`` a ``reference.json`` may say more (docs/evaluation.md). Raises InputError (NO_TRUTH, TWICE) and what the
    readers raise.
    """
    found = list(_found(truth))
    names = [r.name for r in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("TWICE", f"two references are named {twice[0]}", advice="Rename one of them.")
    if not found:
        raise InputError(
            "NO_TRUTH",
            "no reference study was found",
            advice="Give a cohort of `lesion-pipeline simulate`, or reads as docs/evaluation.md describes them.",
        )
    return tuple(sorted(found, key=lambda r: r.name))


def _found(truth: Path) -> Iterator[Reference]:
    answers = sorted(path for path in truth.rglob(ANSWER) if not _hidden(path, truth)) if truth.is_dir() else []
    if answers:
        for path in answers:
            yield Reference(name_of(path), _key_reader(path), _study_of(path, answers))
        return
    places = [truth] if truth.is_file() else sorted(truth.iterdir()) if truth.is_dir() else []
    for path in places:
        if path.is_dir():
            lesions = next((path / name for name in _LESIONS if (path / name).is_file()), None)
            if lesions is not None:
                yield _folder(path, lesions)
        elif path.name.lower().endswith(_TABLES):
            for study, read in read_points(path).items():
                yield Reference(study or path.stem, _always(read))
        elif path.name.lower().endswith((*_MASKS, *_DICOM)):
            yield Reference(_stem(path), _reader(path, _stem(path)))


def _key_reader(path: Path) -> Callable[[], Read]:
    return lambda: read_answer(path)


def _study_of(path: Path, answers: list[Path]) -> Path:
    """The folder that holds a study's DICOM files: the one above the key's own, unless other studies lie there too."""
    above = path.parent.parent
    return path.parent if any(above in other.parents for other in answers if other != path) else above


def _folder(folder: Path, lesions: Path) -> Reference:
    load = _reader(lesions, folder.name)

    def read() -> Read:
        return _completed(load(), folder / _MORE)

    return Reference(folder.name, read, folder)


def _reader(path: Path, name: str) -> Callable[[], Read]:
    def read() -> Read:
        lower = path.name.lower()
        if lower.endswith(_MASKS):
            return read_mask(path, name)
        if lower.endswith(_TABLES):
            tables = read_points(path)
            if len(tables) != 1:
                raise InputError("BAD_POINTS", f"{path.name} speaks of {len(tables)} studies, but lies in the folder of one")
            return next(iter(tables.values()))
        return dicom_reads.read(path, name)

    return read


def _always(read: Read) -> Callable[[], Read]:
    return lambda: read


def _completed(read: Read, path: Path) -> Read:
    """What ``reference.json`` adds: tracer, criteria {id: status}. Counts follow from the lesions and are not taken from it."""
    if not path.is_file():
        return read
    try:
        more = json.loads(path.read_text(encoding="utf-8"))
        criteria = {str(k): ReadAnswer(str(v)) for k, v in dict(more.get("criteria", {})).items()}
        tracer = str(more.get("tracer", read.tracer))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError("BAD_REFERENCE", f"{path.name} is not a JSON object", advice="See docs/evaluation.md.") from error
    return Read(read.key, read.lesions, read.maps, read.counts, criteria, tracer)


def _stem(path: Path) -> str:
    for suffix in (*_MASKS, *_DICOM):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


Pairs = list[tuple[str, Reference, Path | None]]


def pair(run_out: Path, truth: Path, table: Path | None = None) -> tuple[Pairs, tuple[str, ...]]:
    """(name, reference, run folder or None) for every reference, and the names of runs that belong to none.

    A table of pairs decides alone. Else a run belongs to the reference that bears the name of its folder or of a folder above
    it (below ``run_out``); else to the one whose DICOM files are the ones it read, told by their hashes. Raises InputError
    (NO_RUNS, AMBIGUOUS_RUN) and ConfigError (BAD_PAIRS).
    """
    every = references(truth)
    runs = run_folders(run_out)
    if not runs:
        raise InputError("NO_RUNS", "no finished run was found", advice="Give the folder that `lesion-pipeline run` wrote to.")
    found = _by_table(table, every, run_out) if table is not None else _by_name(every, runs, run_out)
    if table is None:
        taken = set(found.values())
        found.update(_by_content([r for r in every if r.name not in found], [f for f in runs if f not in taken]))
    leftover = tuple(sorted(f.relative_to(run_out).as_posix() for f in runs if f not in set(found.values())))
    return [(r.name, r, found.get(r.name)) for r in every], leftover


def run_folders(run_out: Path) -> tuple[Path, ...]:
    """Every finished study folder below a path, at any depth, sorted; unfinished (hidden) ones are left out."""
    files = sorted(run_out.rglob(layout.count_json(run_out).name)) if run_out.is_dir() else []
    return tuple(f.parent for f in files if not _hidden(f, run_out))


def _hidden(path: Path, root: Path) -> bool:
    """Below a folder that is not finished, which is written under a name with a dot."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _by_name(every: tuple[Reference, ...], runs: tuple[Path, ...], run_out: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    names = {layout.safe_name(r.name): r.name for r in every}
    for folder in runs:
        parts = (run_out.name, *folder.relative_to(run_out).parts) if folder == run_out else folder.relative_to(run_out).parts
        # the deepest folder that bears a reference's name decides
        name = next((names[p] for p in reversed([layout.safe_name(p) for p in parts]) if p in names), None)
        if name is None:
            continue
        if name in found:
            raise InputError(
                "AMBIGUOUS_RUN", f"two runs belong to the reference {name}", advice="Keep one, or give a table of pairs."
            )
        found[name] = folder
    return found


def _by_content(every: list[Reference], runs: list[Path]) -> dict[str, Path]:
    if not every or not runs:
        return {}
    prints = {folder: fingerprint.of_run(folder) for folder in runs}
    found: dict[str, Path] = {}
    for reference in every:
        if reference.source is None:
            continue
        mine = fingerprint.of_source(reference.source)
        same = [folder for folder, theirs in prints.items() if theirs & mine]
        if len(same) > 1:
            raise InputError(
                "AMBIGUOUS_RUN",
                f"{len(same)} runs read the files of the reference {reference.name}",
                advice="Keep one, or give a table of pairs.",
            )
        if same:
            found[reference.name] = same[0]
    return found


def _by_table(table: Path, every: tuple[Reference, ...], run_out: Path) -> dict[str, Path]:
    try:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("BAD_PAIRS", "the table of pairs cannot be read") from error
    if any(not row.get("reference") or not row.get("run") for row in rows) or not rows:
        raise ConfigError("BAD_PAIRS", "the table of pairs needs the columns reference and run, tab separated")
    return {row["reference"]: _named_run(row, every, run_out) for row in rows}


def _named_run(row: Mapping[str, str], every: tuple[Reference, ...], run_out: Path) -> Path:
    if row["reference"] not in {r.name for r in every}:
        raise ConfigError("BAD_PAIRS", f"the table of pairs names a reference that is not there: {row['reference']}")
    folder = run_out / row["run"]
    if not layout.count_json(folder).is_file():
        inner = run_folders(folder)
        if len(inner) != 1:
            raise ConfigError("BAD_PAIRS", f"the table of pairs names a run that is not there: {row['run']}")
        folder = inner[0]
    return folder
