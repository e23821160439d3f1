"""The simulator's answer key as a read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.evaluate.reads import COUNT_NAMES, METASTASIS, Read, ReadAnswer, ReadCount, ReadLesion
from lesion_pipeline.evaluate.run_reader import SPACE
from lesion_pipeline.io.nifti import read_label_map

ANSWER = "answer.json"
_MASK = "lesions.nii.gz"


def name_of(path: Path) -> str:
    """The study's name as the key says it; raises InputError (BAD_ANSWER)."""
    name = _load(path).get("name")
    return str(name) if name else path.parent.name


def read_answer(path: Path) -> Read:
    """Read ``answer.json`` and the lesion map beside it.

    A lesion that the key says does not count keeps its kind (degenerative, ureter, ...); a metastasis that does not count (no
    uptake, outside the field of view) is ``additional``. A criterion's reference answer is the one over all readings of the
    rules; its probability is 1 or 0 by the default reading. Raises InputError (BAD_ANSWER) and what ``read_label_map`` raises.
    """
    document = _load(path)
    try:
        rows = document["lesions"]
        shared = (("tracer", str(document["tracer"])), *_conditions(document))
        lesions = tuple(_lesion(row, shared) for row in rows)
        names = {int(row["label"]): Structure(str(row["id"]), StructureKind.REGION) for row in rows}
        counts = {name: ReadCount.exactly(int(document["counts"][name])) for name in COUNT_NAMES}
        criteria = {str(key): _answer(row) for key, row in document["criteria"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("BAD_ANSWER", f"an answer key lacks what a key must hold: {error}") from error
    mask = path.with_name(_MASK)
    maps = (read_label_map(mask, names, SPACE),) if mask.is_file() and names else ()
    return Read(name_of(path), lesions, maps, counts, criteria, str(document["tracer"]))


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("BAD_ANSWER", f"{path.name} is not JSON") from error
    if not isinstance(document, dict):
        raise InputError("BAD_ANSWER", f"{path.name} is not a JSON object")
    return document


def _answer(row: Mapping[str, Any]) -> ReadAnswer:
    default = str(row["answer"])
    sure = {"meets": 1.0, "does_not_meet": 0.0}.get(default)
    return ReadAnswer(str(row.get("over_readings", default)), sure)


def _conditions(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What the key says of the images, as strata; keys of older cohorts say nothing."""
    if "ct_contrast" not in document:
        return ()
    return (("ct_contrast", "portal venous" if document["ct_contrast"] else "none"),)


def _lesion(row: Mapping[str, Any], shared: tuple[tuple[str, str], ...]) -> ReadLesion:
    x, y, z = (float(v) for v in row["centroid_lps_mm"])
    kind = str(row["kind"])
    levels = tuple(str(level) for level in row["levels"])
    return ReadLesion(
        id=str(row["id"]),
        centroid_lps_mm=(x, y, z),
        organ=str(row["organ"]),
        spinal=bool(row["spinal"]),
        level=levels[0] if levels else None,
        levels=levels,
        volume_ml=float(row["volume_ml"]),
        suv_max=float(row["suv_max_image"]),
        kind=kind if kind != METASTASIS or row["counts"] else "additional",
        traits=(*shared, ("site", _site(row)), ("ct_change", str(row["ct"])), *_hard(row)),
    )


def _hard(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Was the lesion put beside an organ with uptake?"""
    return (("near_uptake", str(row["near"]).split("_")[0] if row["near"] else "no"),) if "near" in row else ()


def _site(row: Mapping[str, Any]) -> str:
    """Where in the body, coarser than the structure, finer than the organ."""
    part, structure = str(row.get("part", "")), str(row.get("structure", ""))
    if row["spinal"]:
        return "vertebral body" if part in ("body", "endplate", "bone") else "posterior elements"
    if row["organ"] == Organ.BONE:
        return "rib" if structure.startswith("rib") else "other bone"
    return str(row["organ"]).replace("_", " ")
