"""A finished study folder of the pipeline as a read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lesion_pipeline.domain.anatomy import VertebralLevel
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.lesion import Decision
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.evaluate.reads import COUNT_NAMES, Read, ReadAnswer, ReadCount, ReadLesion
from lesion_pipeline.io.nifti import read_label_map
from lesion_pipeline.report import layout

#: Label maps carry no frame of reference; those of one study are taken to lie in one space.
SPACE = "study"


def read_run(folder: Path) -> Read:
    """Read ``lesioncount.json`` and ``labels/lesions*.nii.gz`` of a study folder.

    Raises InputError (BAD_RUN) when the count JSON is not one, and what ``read_label_map`` raises.
    """
    try:
        document = json.loads(layout.count_json(folder).read_text(encoding="utf-8"))
        return Read(
            key=str(document["study"]["key"]),
            lesions=tuple(_lesion(row) for row in document["lesions"]),
            maps=_maps(folder),
            counts={name: _count(document["counts"][name]) for name in COUNT_NAMES if name in document["counts"]},
            criteria={row["id"]: ReadAnswer(str(row["status"]), row.get("probability")) for row in document["criteria"]},
            tracer=str(document["study"].get("tracer", "unknown")),
            preset=_preset(document),
            headline=str(document.get("headline", "")),
            caveats=tuple(sorted({str(c["code"]) for c in document.get("caveats", ())})),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "BAD_RUN",
            f"the study folder {folder.name} holds no readable lesioncount.json",
            advice="Give the folder that `lesion-pipeline run --out` wrote.",
        ) from error


def _maps(folder: Path) -> tuple[LabelMap, ...]:
    found = sorted(layout.label_map(folder, "lesions").parent.glob("lesions*.nii.gz"))
    return tuple(read_label_map(path, None, SPACE) for path in found)


def _count(row: Mapping[str, Any]) -> ReadCount:
    return ReadCount(int(row["low"]), int(row["best"]), int(row["high"]))


def _lesion(row: Mapping[str, Any]) -> ReadLesion:
    x, y, z = (float(v) for v in row["centroid_lps_mm"])
    level = row.get("spinal_level")
    organ = row.get("organ")
    return ReadLesion(
        id=str(row["id"]),
        centroid_lps_mm=(x, y, z),
        organ=str(organ) if organ else None,
        spinal=row.get("spinal", level is not None),
        level=str(level) if level in VertebralLevel.__members__ else None,
        volume_ml=row.get("volume_ml"),
        suv_max=row.get("suv_max"),
        decision=Decision(row["decision"]),
        probability=float(row["probability"]),
        reasons=_codes(row.get("reasons", ())),
    )


def _codes(reasons: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(r["code"]) if isinstance(r, dict) else str(r) for r in reasons)


def _preset(document: Mapping[str, Any]) -> str:
    for place in (document, document.get("provenance", {}), document.get("study", {})):
        if isinstance(place, dict) and isinstance(place.get("preset"), str):
            return str(place["preset"])
    return ""
