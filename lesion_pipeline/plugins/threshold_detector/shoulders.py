"""Lesions of bone in the shadow of a hotter one: no peak of their own, yet too far from it to be its blur.

A scanner's blur falls to a tenth within some millimetres of a lesion's edge. Bone that stays well above its threshold beyond
that holds something itself (clinical specification 4.5: a focus in another structure is another lesion). Not beside organs that
are hot by nature: their maps are not exact, and what lies round them is bright.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from lesion_pipeline.imaging.components import Voxels, box, label, mask_of
from lesion_pipeline.imaging.places import Codes
from lesion_pipeline.imaging.watershed import Peak
from lesion_pipeline.plugins.threshold_detector.drawn import DrawnLesion
from lesion_pipeline.plugins.threshold_detector.patient import Patient
from lesion_pipeline.plugins.threshold_detector.split import Part


def shoulders(
    patient: Patient, voxels: Voxels, values: npt.NDArray[np.float32], codes: Codes, drawn: list[DrawnLesion]
) -> list[DrawnLesion]:
    """What is left of one uptake in bone, away from all that was drawn of it.

    voxels (n, 3) on the PET, their SUV and code of the Places, both (n,); drawn: the lesions of that uptake.
    """
    rule, grid = patient.options.shoulders, patient.pet.grid
    limit = patient.thresholds.bone
    least = rule.limit_ratio * limit
    at = np.flatnonzero(patient.is_bone[codes] & (values > limit))
    if not drawn or not (values[at] >= least).any():
        return []
    owner = np.repeat(np.arange(len(drawn)), [len(one.voxels) for one in drawn])
    taken = KDTree(grid.world(np.concatenate([one.voxels for one in drawn])))
    away, _ = taken.query(grid.world(voxels[at]), distance_upper_bound=rule.beyond_mm)
    at = at[np.isinf(away)]
    if not len(at):
        return []
    window = box(voxels[at], grid.shape, margin=0)
    labels, count = label(mask_of(voxels[at], window), patient.options.connectivity)
    of_voxel = labels[tuple((voxels[at] - [w.start for w in window]).T)]
    found = []
    for number in range(1, count + 1):
        piece = at[of_voxel == number]
        top = piece[int(np.argmax(values[piece]))]
        if len(piece) * grid.voxel_ml < rule.least_ml or values[top] < least:
            continue
        _, nearest = taken.query(grid.world(voxels[top]))
        if _is_blur(float(values[top]), drawn[int(owner[nearest])], patient):
            continue
        i, j, k = (int(x) for x in voxels[top])
        part = Part(Peak(0, (i, j, k), float(values[top])), (), None, own_probability=rule.own_probability)
        below = patient.background_limit(int(codes[top]))
        found.append(DrawnLesion(voxels[piece], part, limit, below, drawn[0].uptake))
    return found


def _is_blur(top: float, neighbour: DrawnLesion, patient: Patient) -> bool:
    """Of a much hotter neighbour, or of one in an organ that is hot by nature."""
    suv = patient.pet.values[tuple(neighbour.voxels.T)]
    hottest = neighbour.voxels[[int(np.argmax(suv))]]
    organ = patient.places.solid(patient.pet.grid.world(hottest))
    return bool(patient.ordinary[organ][0] > 0) or top < patient.options.shoulders.peak_fraction * float(suv.max())
