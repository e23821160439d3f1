"""The plug-in: every vertebral body against its neighbours, with the measure that matching uses (imaging/bone_ct.py).

Bodies only: arches, ribs, sacrum and flat bones are mostly dense shell, which the built-in masks do not tell from a focus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import edt
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

import lesion_pipeline
from lesion_pipeline.domain.anatomy import Anatomy, StructureKind
from lesion_pipeline.domain.lesion import Candidate, Measures
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.imaging.bone_ct import BoneRules, Crop, CtReader, foci, lytic_and_sclerotic, metal_near
from lesion_pipeline.imaging.components import Voxels
from lesion_pipeline.imaging.places import Places

_PARTS = ("_posterior", "_S")


class Options(BaseModel):
    """least_bone_ml: of trabecular bone, below which a body is not judged. largest_share: of it that a focus may fill; more is
    the whole bone, or a mask that misses it. deepest_mm: depth in the body that a focus must reach; what does not is the shell.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: BoneRules
    least_bone_ml: float = Field(gt=0)
    largest_share: float = Field(gt=0, le=1)
    deepest_mm: float = Field(ge=0)


class CtBoneDetector:
    """Entry point ``ct-bone`` of lesion_pipeline.lesion_detectors."""

    name = "ct-bone"
    version = lesion_pipeline.__version__
    needs = frozenset({Modality.CT})

    def __init__(self, options: Options) -> None:
        self.options = options

    def detect(self, study: Study, anatomy: Anatomy) -> tuple[Candidate, ...]:
        """Candidates on the CT's own grid, largest first, without a probability. None without named vertebrae.

        Raises InputError (NO_CT).
        """
        ct = study.need(Modality.CT)
        places = Places(anatomy, study.frames, ct.grid.frame)
        reader = CtReader(ct, places, self.options.rules)
        pieces = [voxels for key in _bodies(places) for voxels in self._foci(reader, key)]
        pieces.sort(key=lambda voxels: (-len(voxels), tuple(voxels[0])))
        return tuple(
            Candidate(f"B{n:03d}", voxels, ct.grid, Modality.CT, self.name, Measures(len(voxels) * ct.grid.voxel_ml))
            for n, voxels in enumerate(pieces, start=1)
        )

    def _foci(self, reader: CtReader, key: str) -> Iterator[Voxels]:
        """Indices (n, 3) on the CT's grid of each focus of one vertebral body."""
        options, rules, grid = self.options, self.options.rules, reader.ct.grid
        mark, code, reference = reader.places.landmarks().get(key), reader.places.code(key), reader.reference(key)
        if mark is None or reference is None:
            return
        reach = 3.0 * rules.smoothing_mm + rules.depth_mm
        crop: Crop | None = reader.crop(np.array(mark.low) - reach, np.array(mark.high) + reach)
        if crop is None:
            return
        # depth in this body alone: arches and rib heads join it, and what is deep in all of them is its wall
        depth = edt.edt(np.ascontiguousarray(crop.codes == code), anisotropy=grid.spacing_mm, parallel=1)
        inside = np.asarray(depth >= rules.depth_mm)
        if inside.sum() * grid.voxel_ml < options.least_bone_ml:
            return
        lytic, sclerotic = lytic_and_sclerotic(crop, inside, reference, rules)
        offset = np.array([s.start for s in crop.window], dtype=np.int32)
        for piece in (*foci(lytic, crop, reader, 0.0), *foci(sclerotic, crop, reader, rules.band_mm)):
            voxels = piece + offset
            focal = (
                len(piece) <= options.largest_share * inside.sum() and crop.depth[tuple(piece.T)].max() >= options.deepest_mm
            )
            if focal and metal_near(grid.world(voxels), reader) is None:
                yield voxels


def _bodies(places: Places) -> list[str]:
    codes = sorted(places.codes_of_kind(StructureKind.VERTEBRA))
    keys = [structure.key for code in codes if (structure := places.structures[code]) is not None]
    return [key for key in keys if not key.endswith(_PARTS)]


def factory(options: Mapping[str, object]) -> CtBoneDetector:
    """Built from the preset's table [plugins.ct_bone]."""
    return CtBoneDetector(Options.model_validate(dict(options)))
