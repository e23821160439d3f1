"""Users' own reference reads: masks (NIfTI) and points (CSV, TSV). See docs/evaluation.md for the tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.evaluate.reads import METASTASIS, Read, ReadLesion, derived_counts
from lesion_pipeline.evaluate.run_reader import SPACE
from lesion_pipeline.imaging.components import Connectivity, label, voxel_lists
from lesion_pipeline.io.nifti import names_path, read_label_map

#: Connectivity of a mask that only says lesion or not: voxels that touch at a corner are one lesion.
CONNECTIVITY: Connectivity = 26

_POINT = ("x_mm", "y_mm", "z_mm")
_YES, _NO = frozenset({"1", "true", "yes", "y"}), frozenset({"0", "false", "no", "n"})


def read_mask(path: Path, key: str) -> Read:
    """A NIfTI mask of lesions.

    With a names table beside it, or with values above 1, every value is a lesion; a mask of 0 and 1 alone is taken apart into
    26-connected components. Organ and level come from the names table where it has them.
    """
    table = names_path(path)
    if table is not None:
        label_map = read_label_map(path, None, SPACE)
    else:
        nameless = {n: Structure(f"R{n:03d}", StructureKind.REGION) for n in range(1, 65536)}
        label_map = read_label_map(path, nameless, SPACE)
        if label_map.values.max(initial=0) <= 1:
            labels, count = label(label_map.values > 0, CONNECTIVITY)
            if count > 65535:
                raise InputError("BAD_LABELS", "a reference mask falls apart into more than 65535 components")
            label_map = LabelMap(labels.astype(np.uint16), label_map.grid, nameless)
    return from_label_map(label_map, key)


def from_label_map(label_map: LabelMap, key: str) -> Read:
    """Every value that occurs is one metastasis; centroid and volume are measured on the map."""
    lesions = []
    for value, voxels in enumerate(voxel_lists(label_map.values), start=1):
        if not len(voxels):
            continue
        structure = label_map.names[value]
        x, y, z = label_map.grid.world(voxels.mean(axis=0))
        level = structure.level.name if structure.level is not None else None
        organ = structure.organ
        lesions.append(
            ReadLesion(
                structure.key,
                (float(x), float(y), float(z)),
                organ=organ.value if organ is not None else None,
                spinal=True if level else (None if organ in (None, Organ.BONE) else False),
                level=level,
                volume_ml=len(voxels) * label_map.grid.voxel_ml,
            )
        )
    return Read(key, tuple(lesions), (label_map,), derived_counts(tuple(lesions)))


def read_points(path: Path) -> dict[str, Read]:
    """A table of points, LPS millimetres: columns x_mm, y_mm, z_mm, and any of study, id, organ, level, spinal, kind,
    volume_ml, suv_max. Separator: comma, semicolon or tab.

    Returns one read a study; all rows go to the study "" when there is no such column. A row with a study and no coordinates
    says that the study has no lesion. Raises InputError (BAD_POINTS) naming the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("BAD_POINTS", f"{path.name} cannot be read as UTF-8 text") from error
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    rows = csv.DictReader(text.splitlines(), delimiter=separator)
    missing = [name for name in _POINT if name not in (rows.fieldnames or ())]
    if missing:
        raise InputError("BAD_POINTS", f"{path.name} lacks the column {missing[0]}", advice="See docs/evaluation.md.")
    by_study: dict[str, list[ReadLesion]] = {}
    for number, row in enumerate(rows, start=2):
        lesions = by_study.setdefault((row.get("study") or "").strip(), [])
        if any((row[name] or "").strip() for name in _POINT):
            try:
                lesions.append(_point(row, f"R{len(lesions) + 1:03d}"))
            except ValueError as error:
                raise InputError(
                    "BAD_POINTS", f"{path.name}, line {number}: {error}", advice="See docs/evaluation.md."
                ) from error
    return {key: Read(key, tuple(found), counts=derived_counts(tuple(found))) for key, found in by_study.items()}


def _point(row: Mapping[str, str | None], fallback: str) -> ReadLesion:
    given = {name: value.strip() for name, value in row.items() if isinstance(value, str) and value.strip()}
    x, y, z = (float(given[name]) if name in given else float("nan") for name in _POINT)
    if not np.isfinite([x, y, z]).all():
        raise ValueError("a coordinate is missing or not a number")
    organ = _word(given.get("organ"), [o.value for o in Organ], "organ")
    level = _word(given.get("level"), VertebralLevel.__members__, "level")
    spinal = _truth(given["spinal"]) if "spinal" in given else None
    if spinal is None and (level is not None or organ not in (None, Organ.BONE.value)):
        spinal = level is not None
    return ReadLesion(
        given.get("id", fallback),
        (x, y, z),
        organ=organ or (Organ.BONE.value if level else None),
        spinal=spinal,
        level=level,
        volume_ml=float(given["volume_ml"]) if "volume_ml" in given else None,
        suv_max=float(given["suv_max"]) if "suv_max" in given else None,
        kind=given.get("kind", METASTASIS),
    )


def _word(given: str | None, known: Iterable[str], what: str) -> str | None:
    if given is not None and given not in set(known):
        raise ValueError(f"{what} {given!r} is not one of ours")
    return given


def _truth(given: str) -> bool:
    if given.lower() in _YES | _NO:
        return given.lower() in _YES
    raise ValueError(f"spinal is yes or no, not {given!r}")
