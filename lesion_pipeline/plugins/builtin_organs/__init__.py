"""``builtin-organs``: body, lungs, airway, skeleton and the large organs from CT (and PET), with nothing to download.

Body, lungs and skeleton are found by rules, the other organs by a small network that comes in the package and by rules that
check it, all on a cubic lattice along the LPS axes. What it cannot see it does not draw, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.anatomy import Segmentation, Structure
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.plugins.builtin_organs.body import body_from_ct, body_from_pet, looks_alive
from lesion_pipeline.plugins.builtin_organs.chest import find_chest
from lesion_pipeline.plugins.builtin_organs.frame import find_frame
from lesion_pipeline.plugins.builtin_organs.fusion import believed_bone, believed_lungs, network_organs
from lesion_pipeline.plugins.builtin_organs.lattice import Floats, Mask, lattice_over, on_lattice
from lesion_pipeline.plugins.builtin_organs.network import load, predict
from lesion_pipeline.plugins.builtin_organs.regions import Labels, name_bones
from lesion_pipeline.plugins.builtin_organs.skeleton import find_bone
from lesion_pipeline.plugins.builtin_organs.soft import (
    between_lungs,
    find_mediastinum,
    find_soft_organs,
    seems_mirrored,
    up_to_the_lungs,
)
from lesion_pipeline.plugins.builtin_organs.vocabulary import STRUCTURES, VALUE

_STAGE = "delineate"
_AIR_HU = -1024.0
_COARSE = Caveat(
    "ORGANS_COARSE",
    _STAGE,
    "organs were found by the built-in network and rules: their borders are coarse, bowel and stomach are unsure, and"
    " pancreas, adrenals, lymph nodes and genital organs are not told apart",
)
_MIRRORED = Caveat(
    "VOLUME_MIRRORED",
    _STAGE,
    "the liver seems to lie on the left: left and right of the CT may be exchanged, so every side and organ named here is"
    " doubtful",
)
_NO_TRUNK = Caveat(
    "NO_TRUNK",
    _STAGE,
    "the CT shows neither spine nor lungs nor skull, an arm or a leg perhaps: no organ is named in it",
)


class Options(BaseModel):
    """lattice_mm: voxel of the answer. body_hu, bone_hu: densities on that lattice that part air from body, bone from the rest.

    pet_lattice_mm: voxel of the answer where there is only a PET.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lattice_mm: float = Field(ge=2.0, le=6.0)
    pet_lattice_mm: float = Field(ge=2.0, le=10.0)
    body_hu: float
    bone_hu: float


class BuiltinOrgans:
    """Works on what there is: CT for everything, PET alone for the outline of the body."""

    name = "builtin-organs"
    version = "2.2"
    needs: frozenset[Modality] = frozenset()

    def __init__(self, options: Options) -> None:
        self._options = options

    def segment(self, study: Study) -> Segmentation:
        """Label map in the frame of the CT (of the PET where there is no CT). Never raises for an image without a patient."""
        if study.ct is not None:
            return self._from_ct(study, study.ct)
        if study.pet is not None:
            grid = lattice_over(study.pet.grid, self._options.pet_lattice_mm)
            return _from_pet(on_lattice(study.pet, grid, 0.0), grid)
        grid = Grid((1, 1, 1), np.eye(4), study.mr[0][1].grid.frame if study.mr else "none")
        return _nothing(grid, "there is neither CT nor PET to see organs in")

    def _from_ct(self, study: Study, ct: Volume) -> Segmentation:
        step = self._options.lattice_mm
        grid = lattice_over(ct.grid, step)
        hu = on_lattice(ct, grid, _AIR_HU)
        body = body_from_ct(hu, step, self._options.body_hu)
        if not body.any() or not looks_alive(hu, body):
            return _nothing(grid, "the CT shows no patient: no body with fat, soft tissue and bone was found")
        box = _around(body)
        inner = np.ascontiguousarray(hu[box]), np.ascontiguousarray(body[box])
        suv = _pet_beside(study, grid, box)
        labels: Labels = np.zeros(grid.shape, dtype=np.uint16)
        labels[box], caveats = self._inside(*inner, suv)
        return Segmentation(LabelMap(labels, grid, _present(labels)), caveats=caveats)

    def _inside(self, hu: Floats, body: Mask, suv: Floats | None) -> tuple[Labels, tuple[Caveat, ...]]:
        """Labels of one body that fills its box, and what must be known of them."""
        step = self._options.lattice_mm
        found = predict(load(), hu, step)
        chest = believed_lungs(find_chest(hu, body, step), found, hu, body)
        bone = believed_bone(find_bone(hu, body, step, self._options.bone_hu) & ~chest.airway, found)
        frame = find_frame(hu, body, bone, chest, step)
        labels: Labels = np.where(body, VALUE["body"], 0).astype(np.uint16)
        seen = network_organs(found, hu, (body, bone), chest, frame)
        between = between_lungs(chest)
        soft = find_soft_organs(hu, suv, (body, bone), (chest, frame, between), seen)
        labels[find_mediastinum(between, frame) & body] = VALUE["mediastinum"]
        for key, mask in soft.items():
            labels[mask] = VALUE[key]
        labels[chest.left & ~bone] = VALUE["lung_left"]
        labels[chest.right & ~bone] = VALUE["lung_right"]
        labels[chest.airway] = VALUE["airway"]
        for key in ("spleen", "liver", "stomach"):
            free = (labels == VALUE["body"]) & ~bone
            labels[up_to_the_lungs(free, labels == VALUE[key], chest.lungs, step)] = VALUE[key]
        named = name_bones(bone, chest, frame)
        labels = np.where(named > 0, named, labels).astype(np.uint16)
        caveats = [_COARSE]
        if not chest.lungs.any():
            caveats.append(
                Caveat("NO_LUNGS", _STAGE, "no lung was found in the CT, so organs that are placed by it are missing")
            )
        if seems_mirrored(hu, (body, bone), chest, frame):
            caveats.append(_MIRRORED)
        if np.isnan(frame.spine).all() and not chest.lungs.any() and "brain" not in soft:
            caveats.append(_NO_TRUNK)
        if not soft:
            caveats.append(Caveat("NO_SOFT_ORGANS", _STAGE, "no soft organ could be told apart in the CT"))
        return labels, tuple(caveats)


def _around(body: Mask) -> tuple[slice, slice, slice]:
    """The box of the body across its length, two voxels wider; the whole field of view along it."""
    box = []
    for other in ((1, 2), (0, 2)):
        seen = np.flatnonzero(body.any(axis=other))
        box.append(slice(max(int(seen[0]) - 2, 0), int(seen[-1]) + 3))
    return box[0], box[1], slice(None)


def _pet_beside(study: Study, grid: Grid, box: tuple[slice, slice, slice]) -> Floats | None:
    """The PET on the lattice where it is in SUV and linked to the CT; organs are then sharpened by it."""
    if study.pet is None or study.pet.unit is not Unit.SUVBW:
        return None
    try:
        link = study.frames.between(grid.frame, study.pet.grid.frame)
    except FrameMismatchError:
        return None
    return np.ascontiguousarray(on_lattice(study.pet, grid, 0.0, link)[box])


def _from_pet(suv: Floats, grid: Grid) -> Segmentation:
    body = body_from_pet(suv, grid.spacing_mm[0])
    labels = np.where(body, VALUE["body"], 0).astype(np.uint16)
    sentence = "there is no CT, so only the outline of the body is known: organs and bones cannot be told apart"
    return Segmentation(LabelMap(labels, grid, _present(labels)), caveats=(Caveat("NO_CT", _STAGE, sentence),))


def _nothing(grid: Grid, sentence: str) -> Segmentation:
    labels = np.zeros(grid.shape, dtype=np.uint16)
    return Segmentation(LabelMap(labels, grid, {}), caveats=(Caveat("NO_BODY", _STAGE, sentence),))


def _present(labels: Labels) -> dict[int, Structure]:
    values = np.flatnonzero(np.bincount(labels.reshape(-1)))
    return {int(v): STRUCTURES[int(v)] for v in values if v}


def factory(options: Mapping[str, object]) -> BuiltinOrgans:
    """The entry point: settings of the preset table [plugins.builtin_organs]."""
    return BuiltinOrgans(Options.model_validate(dict(options)))
