"""Names tables of label maps: JSON (value -> structure) or TSV with the columns ``index`` and ``name``."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.errors import InputError

_FIELDS = ("kind", "organ", "level", "instance", "snomed")


def structure_from_key(key: str) -> Structure:
    """What a key alone tells: ``vertebra_L3`` is a vertebra, the name of an organ is that organ, the rest is a region."""
    head, _, tail = key.partition("_")
    if head in {"vertebra", "vertebrae"}:
        level = VertebralLevel.__members__.get(tail.upper())
        instance = int(tail) if tail.isdigit() else None
        return Structure(key, StructureKind.VERTEBRA, Organ.BONE, level, instance)
    base = key.removesuffix("_left").removesuffix("_right")
    if base in set(Organ):
        return Structure(key, StructureKind.ORGAN, Organ(base))
    return Structure(key, StructureKind.REGION)


def _structure(key: str, row: Mapping[str, object]) -> Structure:
    given = {name: row.get(name) for name in _FIELDS if row.get(name) not in (None, "", "n/a")}
    if not given:
        return structure_from_key(key)
    guess = structure_from_key(key)
    level = given.get("level")
    instance = given.get("instance")
    return Structure(
        key=key,
        kind=StructureKind(str(given["kind"])) if "kind" in given else guess.kind,
        organ=Organ(str(given["organ"])) if "organ" in given else guess.organ,
        level=VertebralLevel[str(level)] if level is not None else guess.level,
        instance=int(str(instance)) if instance is not None else guess.instance,
        snomed=str(given["snomed"]) if "snomed" in given else None,
    )


def _from_json(text: str) -> dict[int, Structure]:
    table = json.loads(text)
    if not isinstance(table, dict):
        raise TypeError("not an object")
    names: dict[int, Structure] = {}
    for value, entry in table.items():
        if isinstance(entry, str):
            names[int(value)] = structure_from_key(entry)
        else:
            names[int(value)] = _structure(str(entry["key"]), entry)
    return names


def _from_tsv(text: str) -> dict[int, Structure]:
    rows = csv.DictReader(text.splitlines(), delimiter="\t")
    return {int(row["index"]): _structure(row["name"], row) for row in rows}


def read_names(path: Path) -> dict[int, Structure]:
    """The names table of a label map; background (0) may be listed and is dropped.

    Raises InputError (BAD_NAMES) when it is not such a table or a word in it is not of our vocabulary.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = _from_tsv(text) if path.suffix.lower() in {".tsv", ".txt"} else _from_json(text)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "BAD_NAMES",
            "the names table of a label map cannot be used",
            advice="Give a JSON object {value: {key, kind, organ, level}} or a TSV with the columns index and name.",
        ) from error
    names.pop(0, None)
    if len({s.key for s in names.values()}) != len(names):
        raise InputError("BAD_NAMES", "the names table of a label map gives one key to two values")
    if any(not 0 < value < 65536 for value in names):
        raise InputError("BAD_NAMES", "the names table of a label map names values outside 1..65535")
    return names


def names_to_json(names: Mapping[int, Structure]) -> dict[str, dict[str, object]]:
    """Plain JSON values, sorted by label value; read_names reads them back."""
    return {
        str(value): {
            "key": s.key,
            "kind": s.kind.value,
            "organ": s.organ.value if s.organ is not None else None,
            "level": s.level.name if s.level is not None else None,
            "instance": s.instance,
            "snomed": s.snomed,
        }
        for value, s in sorted(names.items())
    }
