"""Connected components whose connectivity is stated by whoever asks."""

from __future__ import annotations

from typing import Literal

import cc3d
import numpy as np
import numpy.typing as npt

#: 6: faces; 18: faces and edges; 26: faces, edges and corners.
Connectivity = Literal[6, 18, 26]

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint32]
Voxels = npt.NDArray[np.int32]


def label(mask: Mask, connectivity: Connectivity) -> tuple[Labels, int]:
    """Label the components of a boolean (ni, nj, nk) array: labels uint32, 0 is background, and their number."""
    # as bytes: cc3d (4.1.1) fails on booleans, one voxel thick or 3 x 3 x 3, that hold as many components as fit
    raw = np.asarray(mask, dtype=bool).view(np.uint8)
    labels, count = cc3d.connected_components(raw, connectivity=connectivity, return_N=True)
    return np.asarray(labels, dtype=np.uint32), int(count)


def voxel_lists(labels: npt.NDArray[np.integer]) -> list[Voxels]:
    """Indices (n, 3) of every label 1..N of an array, in label order; labels that do not occur give an empty list.

    One pass over the labelled voxels only: a label map of a whole body is mostly background.
    """
    flat = labels.reshape(-1)
    where = np.flatnonzero(flat)
    if not len(where):
        return []
    values = flat[where]
    order = np.argsort(values, kind="stable")
    counts = np.bincount(values)[1:]
    indices = np.stack(np.unravel_index(where[order], labels.shape), axis=1).astype(np.int32)
    return np.split(indices, np.cumsum(counts)[:-1])


def of_values(values: npt.NDArray[np.integer], connectivity: Connectivity) -> tuple[Labels, int]:
    """Components of a label array in which voxels of different values never join; labels uint32 and their number."""
    labels, count = cc3d.connected_components(np.ascontiguousarray(values), connectivity=connectivity, return_N=True)
    return np.asarray(labels, dtype=np.uint32), int(count)


def box(voxels: Voxels, shape: tuple[int, int, int], margin: int) -> tuple[slice, slice, slice]:
    """Bounding box of (n, 3) indices, wider by ``margin`` voxels on every side, cut at the grid's ends."""
    low = np.maximum(voxels.min(axis=0) - margin, 0)
    high = np.minimum(voxels.max(axis=0) + margin + 1, np.array(shape))
    return (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), slice(int(low[2]), int(high[2])))


def mask_of(voxels: Voxels, window: tuple[slice, slice, slice]) -> Mask:
    """Boolean array of a window, true at the (n, 3) indices, which must all lie inside it."""
    out = np.zeros([s.stop - s.start for s in window], dtype=bool)
    local = voxels - np.array([s.start for s in window], dtype=np.int32)
    out[tuple(local.T)] = True
    return out
