"""The outline of the patient, from CT or from PET alone."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesion_pipeline.plugins.builtin_organs.lattice import Floats, Mask, distance_to, filled_slices, grown, shrunk

#: A part of the body that the field of view cuts off from the trunk (an arm, a leg) is at least this large.
_SEPARATE_PART_ML = 250.0
#: A patient, or a part of one, is never smaller.
_SMALLEST_BODY_ML = 500.0
#: The table top and its padding are thinner than this.
_TABLE_MM = 9.0
#: Air outside the patient, averaged over a lattice voxel; lungs that the field of view cuts are denser.
_AIR_HU = -940.0


def body_from_ct(hu: Floats, step_mm: float, threshold_hu: float) -> Mask:
    """Inside of the patient's skin, cavities included. hu: (ni, nj, nk) on the lattice; empty where there is no patient.

    The table goes by an opening that thin shells do not survive; arms and legs that the field of view severs are kept.
    """
    dense = hu > threshold_hu
    voxel_ml = step_mm**3 / 1000
    solid = _enclosed(hu, dense)
    core = shrunk(solid, _TABLE_MM, step_mm)
    labels, count = ndimage.label(core)
    if count == 0:
        return np.zeros(hu.shape, dtype=bool)
    volume = np.bincount(labels.reshape(-1)) * voxel_ml
    volume[0] = 0.0
    smallest = max(min(_SEPARATE_PART_ML, 0.1 * float(volume.max())), 1.0)
    keep = volume >= smallest
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        keep[value] = keep[value] and _is_tissue(hu[box], labels[box] == value, dense[box])
    body = grown(keep[labels], _TABLE_MM + step_mm, step_mm) & solid
    body = filled_slices(body, 2)
    if body.sum() * voxel_ml < _SMALLEST_BODY_ML and not keep.any():
        return np.zeros(hu.shape, dtype=bool)
    return body


def _enclosed(hu: Floats, dense: Mask) -> Mask:
    """Every axial slice without the air that reaches its border: lungs cut by the field of view stay inside."""
    solid = np.ones(hu.shape, dtype=bool)
    border = np.ones(hu.shape[:2], dtype=bool)
    border[1:-1, 1:-1] = False
    for k in range(hu.shape[2]):
        plane = hu[:, :, k]
        labels, _ = ndimage.label(~dense[:, :, k])
        outer = np.unique(labels[border & (plane < _AIR_HU)])
        for value in outer[outer > 0]:
            rim = plane[border & (labels == value)]
            if len(rim) and np.median(rim) < _AIR_HU:
                solid[labels == value, k] = False
    return solid


def _is_tissue(hu: Floats, part: Mask, dense: Mask) -> bool:
    """Tissue is water and fat for the most part: foam, wood and a table's hollow are not. Lungs count as hollow of a body."""
    inside = hu[part & dense]
    if len(inside) < 0.2 * part.sum():
        return False
    share = float(((inside > -200) & (inside < 200)).mean())
    return share > 0.6


def looks_alive(hu: Floats, body: Mask) -> bool:
    """A patient shows at least two of fat, soft tissue, bone and lung; a phantom of water or plastic shows one material."""
    inside = hu[body]
    if len(inside) == 0:
        return False
    fat = float(((inside > -150) & (inside < -40)).mean())
    soft = float(((inside > -20) & (inside < 120)).mean())
    bone = float((inside > 250).mean())
    spread = float(np.std(inside[(inside > -200) & (inside < 300)])) if len(inside) else 0.0
    return soft > 0.05 and fat > 0.02 and bone > 0.002 and spread > 15


def body_from_pet(suv: Floats, step_mm: float) -> Mask:
    """Outline of the patient from uptake alone: well above the air, closed, filled slice by slice.

    The threshold is where smoothed uptake rises from the noise of air to that of tissue (at least SUV 0.1), so it holds for
    images that were never scattered-corrected too.
    """
    smooth = np.asarray(ndimage.gaussian_filter(suv, 8.0 / step_mm / 2.355))
    bright = smooth[smooth > 0.05]
    if bright.size == 0:
        return np.zeros(suv.shape, dtype=bool)
    level = max(0.1, 0.35 * float(np.median(bright)))
    solid = smooth > min(level, 0.4)
    labels, count = ndimage.label(solid)
    if count == 0:
        return np.zeros(suv.shape, dtype=bool)
    size = np.bincount(labels.reshape(-1)) * step_mm**3 / 1000
    size[0] = 0
    body = (size >= max(_SEPARATE_PART_ML, 0.02 * float(size.max())))[labels]
    closed = distance_to(grown(body, 12.0, step_mm) == 0, step_mm) > 12.0
    return filled_slices(closed | body, 2)
