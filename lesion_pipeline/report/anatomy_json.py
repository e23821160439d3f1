"""A study's anatomy as anatomy.json: levels from head to tail, organs and bones by name. Nothing is measured twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline import __version__
from lesion_pipeline.domain.anatomy import Anatomy, Structure, StructureKind
from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.geometry import RigidTransform
from lesion_pipeline.domain.result import Charted, StageRun
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Volume
from lesion_pipeline.report.count_json import NOTICE, without_paths
from lesion_pipeline.report.rounding import fixed, probability

SCHEMA = {"name": "lesion-anatomy", "version": "1.0"}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A structure of the map that is believed for it. box: where its voxels lie in the map; mask: them, within the box."""

    structure: Structure
    label_map: LabelMap
    to_reference: RigidTransform
    box: tuple[slice, slice, slice]
    mask: npt.NDArray[np.bool_]

    @property
    def volume_ml(self) -> float:
        return int(self.mask.sum()) * self.label_map.grid.voxel_ml

    @property
    def centroid_lps_mm(self) -> npt.NDArray[np.float64]:
        """Mean of the voxel centres, in the reference image's frame."""
        index = []
        for axis in range(3):
            count = self.mask.sum(axis=tuple(a for a in range(3) if a != axis))
            index.append(self.box[axis].start + float(np.average(np.arange(len(count)), weights=count)))
        return np.asarray(self.to_reference.apply(self.label_map.grid.world(np.array([index])))[0], dtype=np.float64)


def reference(study: Study, anatomy: Anatomy) -> Volume | None:
    """The image the anatomy is told in: the CT; else the MR or the PET that the first map lies on; else any."""
    images = [v for v in (study.ct, *(volume for _, volume in study.mr), study.pet) if v is not None]
    if study.ct is None and anatomy.maps:
        frame = anatomy.maps[0].label_map.grid.frame
        return next((v for v in images if v.grid.frame == frame), images[0] if images else None)
    return images[0] if images else None


def parts(study: Study, anatomy: Anatomy) -> Iterator[Part]:
    """Every structure that has a voxel, once, of the first map that holds it; vertebrae too. Unlinked maps are left out."""
    image = reference(study, anatomy)
    seen: set[str] = set()
    for named in anatomy.maps:
        label_map = named.label_map
        try:
            link = study.frames.between(label_map.grid.frame, image.grid.frame if image else label_map.grid.frame)
        except FrameMismatchError:
            continue
        boxes = ndimage.find_objects(np.asarray(label_map.values))
        for value, structure in sorted(label_map.names.items()):
            box = boxes[value - 1] if value <= len(boxes) else None
            if box is None or structure.key in seen:
                continue
            seen.add(structure.key)
            yield Part(structure, label_map, link, box, np.asarray(label_map.values[box] == value))


def anatomy_json(charted: Charted, organs: Sequence[Part], runs: Sequence[StageRun] = ()) -> dict[str, object]:
    """anatomy.json as plain values. organs: ``parts`` of the study; vertebrae among them are told as levels only."""
    study = charted.study
    present = [(Modality.PT, study.pet is not None), (Modality.CT, study.ct is not None), (Modality.MR, bool(study.mr))]
    image = reference(study, charted.anatomy)
    return {
        "schema": dict(SCHEMA),
        "research_use_only": True,
        "notice": NOTICE,
        "study": {
            "key": study.key,
            "modalities": [str(m) for m, there in present if there],
            "reference": image.series if image is not None else None,
        },
        "levels": [
            {
                "level": v.level.name if v.level is not None else None,
                "instance": v.instance,
                "confidence": probability(v.confidence),
                "centroid_lps_mm": _point(v.centroid_lps_mm),
                "anchors": list(v.anchors),
                "ambiguous": v.ambiguous,
            }
            for v in sorted(charted.anatomy.vertebrae, key=lambda v: v.instance)
        ],
        "organs": [
            {"name": p.structure.key, "volume_ml": fixed(p.volume_ml, 2), "centroid_lps_mm": _point(p.centroid_lps_mm)}
            for p in sorted(organs, key=lambda p: p.structure.key)
            if p.structure.kind is not StructureKind.VERTEBRA
        ],
        "caveats": [{"code": c.code, "stage": c.stage, "message": c.message, "series": c.series} for c in charted.caveats],
        "provenance": {
            "software": "lesion-pipeline",
            "version": __version__,
            "preset": charted.preset,
            "config_sha256": charted.config_sha256,
            "settings": without_paths(charted.settings.get("preset", charted.settings)),
            "inputs": [
                {"series": s.key, "kind": s.kind, "chosen": s.chosen, "instances": s.instances, "sha256": s.input_sha256}
                for s in study.series
            ],
            "plugins": [{"group": g, "name": n, "version": v} for g, n, v in charted.plugins],
            "run": {
                "stages": [
                    {"stage": r.stage, "seconds": fixed(r.seconds, 3), "peak_rss_mb": fixed(r.peak_rss_mb, 1)} for r in runs
                ]
            },
        },
    }


def _point(xyz: Sequence[float] | npt.NDArray[np.float64]) -> list[float | None]:
    return [fixed(float(c), 2) for c in xyz]
