"""Pieces that are one lesion after all: faint neighbours that noise cut apart, fragments of one rib, rings round a dead centre
(clinical specification 4.5).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from lesion_pipeline.domain.anatomy import Structure, StructureKind
from lesion_pipeline.imaging.components import label, mask_of
from lesion_pipeline.plugins.threshold_detector.drawn import DrawnLesion
from lesion_pipeline.plugins.threshold_detector.patient import Patient

_MOST_POINTS = 3000


def join_rings(lesions: list[DrawnLesion], patient: Patient) -> list[DrawnLesion]:
    """Parts of one uptake that lie round an enclosed cold centre become one lesion, its centre filled.

    The wall is looked for at the delineation's fraction of the uptake's highest voxel.
    """
    settings, grid = patient.options, patient.pet.grid
    free = [one for one in lesions if one.part.masked is None]
    if len(free) < 2 or settings.fragments.ring_hole_ml == 0:
        return lesions
    together = np.concatenate([one.voxels for one in free])
    window = tuple(slice(int(a), int(b) + 1) for a, b in zip(together.min(axis=0), together.max(axis=0), strict=True))
    box = (window[0], window[1], window[2])
    values = patient.pet.values[box]
    wall = mask_of(together, box) & (values >= settings.delineation.fraction * float(values.max()))
    holes, count = label(ndimage.binary_fill_holes(wall) & ~wall, 6)
    for number in range(1, count + 1):
        hole = holes == number
        if float(hole.sum()) * grid.voxel_ml > settings.fragments.ring_hole_ml:
            continue
        rim = ndimage.binary_dilation(hole, iterations=2)
        round_it = [one for one in free if (rim & mask_of(one.voxels, box)).any()]
        if len(round_it) < 2:
            continue
        filling = (np.argwhere(hole) + [s.start for s in box]).astype(np.int32)
        merged = _merged(round_it, 0.0, filling)
        lesions = [one for one in lesions if one not in round_it] + [merged]
        free = [one for one in free if one not in round_it] + [merged]
    return lesions


def join_fragments(lesions: list[DrawnLesion], patient: Patient) -> list[DrawnLesion]:
    """Join pieces of different uptakes over a short gap and a shallow valley, and pieces of one small bone."""
    rules, grid = patient.options.fragments, patient.pet.grid
    lesions = sorted(lesions, key=lambda one: (-_top(one, patient), tuple(one.voxels[0])))
    reach = max(rules.gap_mm, rules.same_bone_gap_mm)
    index = 0
    while index < len(lesions):
        one = lesions[index]
        for other in lesions[index + 1 :]:
            if one.part.masked is not None or other.part.masked is not None or not _near(one, other, grid.spacing_mm, reach):
                continue
            doubt = _doubt(one, other, patient)
            if doubt is not None:
                joined = _merged([one, other], doubt)
                lesions = [joined if x is one else x for x in lesions if x is not other]
                break
        else:
            index += 1
    return lesions


def _doubt(one: DrawnLesion, other: DrawnLesion, patient: Patient) -> float | None:
    """P(two lesions) of a pair that is to be joined; None when it stays apart."""
    rules, grid = patient.options.fragments, patient.pet.grid
    a, b = (_thin(x.voxels) for x in (one, other))
    distances, nearest = KDTree(grid.world(b)).query(grid.world(a))
    at = int(np.argmin(distances))
    start, end = a[at].astype(float), b[int(nearest[at])].astype(float)
    gap = float(distances[at]) - float(np.mean(grid.spacing_mm))
    places = [_structure(x, patient) for x in (one, other)]
    if gap <= rules.gap_mm and one.uptake != other.uptake and _same_organ(places[0], places[1]):
        line = np.rint(start + np.linspace(0.0, 1.0, 9)[:, None] * (end - start)).astype(int)
        valley = float(patient.pet.values[tuple(line.T)].min())
        if valley >= rules.valley_ratio * min(_top(one, patient), _top(other, patient)):
            return 0.0
    same_bone = places[0] is not None and places[0] is places[1] and places[0].kind is StructureKind.BONE
    if same_bone and places[0] is not None and places[0].key[-1].isdigit() and gap <= rules.same_bone_gap_mm:
        return 1.0 - rules.same_bone_probability
    return None


def _same_organ(one: Structure | None, other: Structure | None) -> bool:
    """Nothing known on either side, or the same organ and, in the spine, the same vertebra."""
    if one is None or other is None:
        return one is other
    if StructureKind.VERTEBRA in (one.kind, other.kind):
        return (one.kind, one.instance, one.level) == (other.kind, other.instance, other.level)
    return one.organ is other.organ


def _structure(lesion: DrawnLesion, patient: Patient) -> Structure | None:
    """The structure at the lesion's hottest voxel."""
    if not patient.places.known:
        return None
    hottest = lesion.voxels[int(np.argmax(patient.pet.values[tuple(lesion.voxels.T)]))]
    return patient.places.structures[int(patient.places.solid(patient.pet.grid.world(hottest[None, :]))[0])]


def _near(one: DrawnLesion, other: DrawnLesion, spacing: tuple[float, float, float], reach_mm: float) -> bool:
    """Could any two voxels of the pair lie within reach? Asked of the bounding boxes."""
    apart = np.maximum(one.voxels.min(axis=0) - other.voxels.max(axis=0), other.voxels.min(axis=0) - one.voxels.max(axis=0))
    return bool(np.all(np.maximum(apart, 0) * np.array(spacing) <= reach_mm + max(spacing)))


def _thin(voxels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    return voxels[:: max(1, len(voxels) // _MOST_POINTS)]


def _top(lesion: DrawnLesion, patient: Patient) -> float:
    return float(patient.pet.values[tuple(lesion.voxels.T)].max())


def _merged(lesions: list[DrawnLesion], doubt: float, filling: npt.NDArray[np.int32] | None = None) -> DrawnLesion:
    """One lesion of several; the first one's peak and threshold hold."""
    first = max(lesions, key=lambda one: one.part.peak.height)
    carried = max([doubt, *(one.part.split_probability for one in lesions)])
    own = min(1.0, max(one.part.own_probability for one in lesions))
    parts = [one.voxels for one in lesions] + ([filling] if filling is not None else [])
    voxels = np.unique(np.concatenate(parts), axis=0).astype(np.int32)
    return replace(first, voxels=voxels, part=replace(first.part, split_probability=carried, own_probability=own))
