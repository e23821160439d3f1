"""Soft organs: what the network found and the rules bear out, and by rules what it missed. Coarse, and said to be.

By rules an organ is the blob of even density that lies where the organ must lie, in a window of the patient's own frame: what
stays of the soft tissue there after an opening that parts it from its neighbours. No window (no lungs, no spine, no hips),
no blob: nothing is drawn where it is merely expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from skimage import morphology as untyped_morphology

from lesion_pipeline.plugins.builtin_organs.chest import Chest
from lesion_pipeline.plugins.builtin_organs.frame import BodyFrame
from lesion_pipeline.plugins.builtin_organs.lattice import Floats, Mask, distance_to, grown, largest, window_box
from lesion_pipeline.plugins.builtin_organs.uptake import find_kidneys, sharpen

morphology: Any = untyped_morphology  # marks itself typed, its functions are not


@dataclass(frozen=True, slots=True)
class _Search:
    """hu: density range of the smoothed tissue; neck_mm: bridges thinner than twice this are cut; ml: believable volume."""

    hu: tuple[float, float]
    neck_mm: float
    ml: tuple[float, float]
    spread_hu: float = 30.0


_LIVER = _Search((20.0, 160.0), 10.0, (500.0, 4500.0))
_SPLEEN = _Search((20.0, 180.0), 8.0, (50.0, 1500.0))
_BLADDER = _Search((-12.0, 28.0), 8.0, (15.0, 1500.0), 15.0)
_HEART = _Search((10.0, 300.0), 12.0, (200.0, 1600.0), 80.0)
_FLANK = _Search((20.0, 160.0), 12.0, (0.0, 4500.0))
_MIRRORED_ML = 450.0
_BRAIN_ML = 100.0
_LEAST_IN_WINDOW = 0.3
#: The domes of the diaphragm rise this far above the level where the lungs end.
_ABOVE_DIAPHRAGM_MM = 30.0
_BESIDE_BLADDER = {"urinary_bladder", "bowel", "prostate"}
#: What of the gap between an organ and a lung is the organ's: this near the organ, and this near the lung.
_RIM_MM, _TO_LUNG_MM = 4.5, 6.5
#: The field of view must reach this far below the lungs before an organ under the diaphragm is looked for.
_SEEN_BELOW_LUNGS_MM = 20.0


def find_soft_organs(
    hu: Floats,
    suv: Floats | None,
    tissue: tuple[Mask, Mask],
    places: tuple[Chest, BodyFrame, Mask],
    seen: Mapping[str, Mask],
) -> dict[str, Mask]:
    """Masks by structure key, each (ni, nj, nk); only organs that were found are in it.

    suv: the PET on the lattice, if any. tissue: the body, and its bones. places: lungs, landmarks, and ``between_lungs``.
    seen: what the network found. The rules keep it where it can be, find what it missed, and let the PET sharpen it.
    """
    chest, frame, between = places
    bone = tissue[1]
    boneless = tissue[0] & ~bone
    step = frame.step_mm
    smooth = np.asarray(ndimage.gaussian_filter(hu, 4.0 / step))
    free = boneless & ~chest.lungs & ~chest.airway
    out = dict(seen)
    _brain(out, frame)
    lateral = np.broadcast_to(frame.lateral_mm(hu.shape), hu.shape)
    behind = np.broadcast_to(frame.behind_mm(hu.shape), hu.shape)
    windows = _windows(frame, (lateral, behind), _inside_ribs(bone, chest, step), between)
    for key, (_, window) in windows.items():
        if key in out and (out[key] & grown(window, 20.0, step)).sum() < _LEAST_IN_WINDOW * out[key].sum():
            del out[key]
    for key, (search, window) in windows.items():
        if key == "spleen" and suv is not None and not {"kidney_left", "kidney_right"} & out.keys():
            find_kidneys(out, smooth, suv, boneless, frame)  # hot kidneys first: a native spleen and kidney look alike
        if key in out and key != "urinary_bladder":
            continue
        taken = np.zeros(hu.shape, dtype=bool)
        for other, mask in out.items():
            if key != "urinary_bladder" or other not in _BESIDE_BLADDER:
                taken |= mask
        box = window_box(window, round((search.neck_mm + 12.0) / step))
        if box is None:
            continue
        found = _blob(smooth[box], free[box] & ~taken[box], window[box], search, step)
        if found is None:
            continue
        whole = np.zeros(hu.shape, dtype=bool)
        whole[box] = found
        _enter(out, key, whole)
    if suv is not None:
        sharpen(out, suv, boneless, frame)
    return out


def up_to_the_lungs(free: Mask, organ: Mask, lungs: Mask, step_mm: float) -> Mask:
    """The organ with what lies between it and a lung and is nothing else, for only the diaphragm does, thinner than a voxel.

    free: places that may be taken. Blurred by half air, the rim of the organ is neither to the network nor to the rules.
    """
    box = window_box(organ, round(_TO_LUNG_MM / step_mm) + 1)
    out = organ.copy()
    if box is not None and lungs[box].any():
        near = (distance_to(organ[box], step_mm) <= _RIM_MM) & (distance_to(lungs[box], step_mm) <= _TO_LUNG_MM)
        out[box] |= near & free[box]
    return out


def find_mediastinum(between: Mask, frame: BodyFrame) -> Mask:
    """What lies ``between_lungs`` above the level where they end: organs, vessels and bones are drawn over it."""
    out = between.copy()
    if frame.base is not None:
        out[:, :, : frame.base + round(_ABOVE_DIAPHRAGM_MM / frame.step_mm)] = False
    return out


def _enter(out: dict[str, Mask], key: str, found: Mask) -> None:
    """A blob of a rule into the answer. Water with an edge draws a bladder better than the network that saw it does."""
    if key not in out:
        out[key] = found
    elif (out[key] & found).any():
        for other in _BESIDE_BLADDER & out.keys():
            out[other] = np.asarray(out[other] & ~found)
        out[key] = found


def _brain(out: dict[str, Mask], frame: BodyFrame) -> None:
    """What the skull encloses is brain; the network carries it on below the closed skull."""
    if frame.skull_base is None:
        return
    enclosed = largest(frame.cranial)
    if enclosed.sum() * frame.step_mm**3 / 1000 > _BRAIN_ML:
        known = out.get("brain")
        touching = known is not None and bool((known & enclosed).any())
        out["brain"] = enclosed | known if known is not None and touching else enclosed


def seems_mirrored(hu: Floats, tissue: tuple[Mask, Mask], chest: Chest, frame: BodyFrame) -> bool:
    """Does the large even organ under the diaphragm lie on the left? Then left and right of the volume are exchanged.

    (Or the patient has situs inversus, one in ten thousand.) Each flank is searched alone, 40 mm from the spine outwards.
    """
    step = frame.step_mm
    if frame.base is None or frame.base * step <= _SEEN_BELOW_LUNGS_MM or np.isnan(frame.spine).all():
        return False
    smooth = np.asarray(ndimage.gaussian_filter(hu, 4.0 / step))
    free = tissue[0] & ~tissue[1] & ~chest.lungs & ~chest.airway
    lateral, behind = frame.lateral_mm(hu.shape), frame.behind_mm(hu.shape)
    below = (frame.base - np.arange(hu.shape[2]))[None, None, :] * step
    volume = []
    for side in (-1.0, 1.0):
        flank = (side * lateral > 40.0) & (below > -20.0) & (below < 160.0) & (behind < 30.0)
        box = window_box(np.asarray(flank), round((_FLANK.neck_mm + 12.0) / step))
        found = None if box is None else _blob(smooth[box], free[box], np.asarray(flank)[box], _FLANK, step)
        volume.append(0.0 if found is None else float(found.sum()) * step**3 / 1000)
    return volume[1] > _MIRRORED_ML and volume[1] > 2.0 * volume[0]


def _inside_ribs(bone: Mask, chest: Chest, step_mm: float) -> Mask:
    """What the ribs enclose: per slice the convex hull of the bones within 15 mm above and below, and of the lungs.

    Slices without bone on both sides of the body enclose nothing.
    """
    out = np.zeros(bone.shape, dtype=bool)
    reach = round(15.0 / step_mm)
    lungs = chest.lungs
    for k in range(bone.shape[2]):
        near = bone[:, :, max(k - reach, 0) : k + reach + 1].any(axis=2) | lungs[:, :, k]
        columns = np.flatnonzero(near.any(axis=1))
        if len(columns) and (columns[-1] - columns[0]) * step_mm > 150.0:
            out[:, :, k] = morphology.convex_hull_image(near)
    return out


def _windows(
    frame: BodyFrame, place: tuple[Floats, Floats], inside_ribs: Mask, between: Mask
) -> dict[str, tuple[_Search, Mask]]:
    step = frame.step_mm
    lateral, behind = place
    shape = inside_ribs.shape
    out: dict[str, tuple[_Search, Mask]] = {}
    if np.isnan(frame.spine).all():
        return out
    k = np.arange(shape[2])[None, None, :]
    if frame.base is not None and frame.base * step > _SEEN_BELOW_LUNGS_MM:
        below = (frame.base - k) * step
        # the heart rests on the diaphragm: above the lungs' lowest level the liver is looked for on the right only
        reach = np.interp(below, (-60.0, -45.0, 0.0), (-45.0, -30.0, 60.0))
        upper = (below > -130.0) & (below < 240.0) & (lateral < reach)
        out["liver"] = (_LIVER, upper & (behind < 45.0) & ~_muscle_of_back(lateral, behind))
        under_ribs = (below > -70.0) & (below < 150.0) & (lateral > 30.0) & (behind > -80.0) & (behind < 50.0)
        out["spleen"] = (_SPLEEN, under_ribs & inside_ribs & ~_muscle_of_back(lateral, behind))
    if frame.apex is not None and frame.base is not None:
        above = (k - frame.base) * step
        low_chest = frame.base + 0.68 * (frame.apex - frame.base)
        heart = (
            (k < low_chest)
            & (above > np.where(lateral < 10.0, 50.0, 0.0))
            & (behind < -24.0)
            & (lateral > -70.0)
            & (lateral < 120.0)
        )
        out["heart"] = (_HEART, heart & between)
    left, right = frame.heads
    if left is not None and right is not None:
        level = (k - (left[2] + right[2]) / 2) * step
        middle = (left[0] + right[0]) / 2
        x = np.broadcast_to((np.arange(shape[0])[:, None, None] - middle) * step, shape)
        front = np.broadcast_to((np.arange(shape[1])[None, :, None] - (left[1] + right[1]) / 2) * step, shape)
        out["urinary_bladder"] = (_BLADDER, (np.abs(x) < 75.0) & (level > -35.0) & (level < 130.0) & (front < 45.0))
    return out


def _muscle_of_back(lateral: Floats, behind: Floats) -> Mask:
    return np.asarray((np.abs(lateral) < 75.0) & (behind > 5.0))


def between_lungs(chest: Chest) -> Mask:
    """Between the lungs: inside the convex hull of both in a slice, and in neither."""
    lungs = chest.lungs
    out = np.zeros(lungs.shape, dtype=bool)
    for k in np.flatnonzero(chest.left.any(axis=(0, 1)) & chest.right.any(axis=(0, 1))):
        out[:, :, k] = morphology.convex_hull_image(lungs[:, :, k])
    return np.asarray(out & ~lungs)


def _blob(smooth: Floats, free: Mask, window: Mask, search: _Search, step_mm: float) -> Mask | None:
    """The largest even blob in the window, or None. The density range narrows to that of the blob's own core."""
    soft = free & (smooth > search.hu[0]) & (smooth < search.hu[1])
    core = largest(window & (distance_to(~soft, step_mm) > search.neck_mm))
    if core.sum() * step_mm**3 < 3000.0:
        return None
    middle = float(np.median(smooth[core]))
    soft &= np.abs(smooth - middle) < search.spread_hu
    core = largest(window & core & (distance_to(~soft, step_mm) > search.neck_mm * 0.8))
    reach = grown(core, search.neck_mm + step_mm, step_mm)
    found = reach & free & (np.abs(smooth - middle) < 2 * search.spread_hu) & grown(window, 6.0, step_mm)
    found = largest(np.asarray(found))
    ml = float(found.sum()) * step_mm**3 / 1000
    if not search.ml[0] <= ml <= search.ml[1]:
        return None
    return found
