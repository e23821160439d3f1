"""The skeleton: cortex by density, marrow by closing and filling. Contrast medium and calcified soft tissue are kept out."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesion_pipeline.plugins.builtin_organs.lattice import Floats, Mask, grown, shrunk

_CORTEX_HU = 350.0
_MARROW_HOLE_CM2 = 30.0
#: A full bladder or a bowel loop; a spine or a femur in view is longer.
_LARGEST_BLOB_MM = 150.0
_EVEN_HU = 40.0


def find_bone(hu: Floats, body: Mask, step_mm: float, bone_hu: float) -> Mask:
    """Bone with its marrow. hu, body: (ni, nj, nk) on the lattice; bone_hu: lowest density of bone at this resolution.

    Dense voxels grow from cortex seeds, are closed by 5 mm and filled slice by slice in all three planes (holes up to 30 cm2
    that hold marrow, not fluid as the spinal canal does). Uniform dense blobs without cortex (iodine) are dropped.
    """
    inner = shrunk(body, step_mm, step_mm)
    dense = inner & (hu > bone_hu)
    dense = _without_contrast(hu, dense, step_mm)
    if not dense.any():
        return dense
    closed = dense | (shrunk(grown(dense, 5.0, step_mm), 5.0, step_mm) & (hu > 0.0))
    return _with_marrow(hu, closed, step_mm) & inner


def _without_contrast(hu: Floats, dense: Mask, step_mm: float) -> Mask:
    """Components that hold cortex (or are thin, as ribs are) stay; smooth blobs of iodine and specks below 0.3 ml go."""
    labels, count = ndimage.label(dense, np.ones((3, 3, 3), dtype=bool))
    if count == 0:
        return dense
    flat, inside = labels[dense], hu[dense]
    voxels = np.maximum(np.bincount(flat, minlength=count + 1), 1)
    size = voxels * step_mm**3 / 1000
    mean = np.bincount(flat, weights=inside, minlength=count + 1) / voxels
    uneven = np.bincount(flat, weights=np.abs(inside - mean[flat]), minlength=count + 1) / voxels
    cortex = np.bincount(flat, weights=inside > _CORTEX_HU * 0.75, minlength=count + 1) > 0
    deep = np.bincount(labels[shrunk(dense, 9.0, step_mm)], minlength=count + 1) > 0
    boxes = [np.zeros(3), *(np.array([b.stop - b.start for b in box]) for box in ndimage.find_objects(labels))]
    compact = np.max(boxes, axis=1) * step_mm < _LARGEST_BLOB_MM
    blob = deep & (uneven < _EVEN_HU) & compact
    keep = (size > 0.3) & cortex & ~blob
    keep[0] = False
    return np.asarray(keep[labels])


def _with_marrow(hu: Floats, bone: Mask, step_mm: float) -> Mask:
    """Fill enclosed holes in axial, coronal and sagittal slices where the hole holds marrow or trabecular bone.

    The spinal canal and the inside of the skull are enclosed too: their holes are left when two planes do not agree, when they
    are large, or when they are as uniform as fluid.
    """
    votes = np.zeros(bone.shape, dtype=np.uint8)
    limit = _MARROW_HOLE_CM2 * 100 / step_mm**2
    for axis in range(3):
        planes = np.moveaxis(bone, axis, 0)
        target = np.moveaxis(votes, axis, 0)
        for n, plane in enumerate(planes):
            if plane.any():
                holes, count = ndimage.label(ndimage.binary_fill_holes(plane) & ~plane)
                if count:
                    small = np.bincount(holes.reshape(-1)) < limit
                    small[0] = False
                    target[n] += small[holes]
    marrow = (votes >= 2) | ((votes == 1) & (hu > 100.0))
    return np.asarray(bone | (marrow & (hu > -150.0)))
