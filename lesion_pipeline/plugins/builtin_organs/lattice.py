"""The working lattice: cubic voxels along the LPS axes, so that anatomical direction is an array axis here and only here.

Axis 0 runs to the patient's left, axis 1 to the back, axis 2 to the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from lesion_pipeline.domain.geometry import Grid, RigidTransform
from lesion_pipeline.domain.volume import Volume

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_THREADS = 2  # of the distance transform; the distances do not depend on it


def lattice_over(grid: Grid, step_mm: float) -> Grid:
    """Cubic LPS lattice in the frame of ``grid`` that covers all its voxels, corner voxels included."""
    half = np.abs(grid.affine[:3, :3]).sum(axis=1) / 2
    low, high = grid.bounds()
    extent = (high + half) - (low - half)
    count = np.maximum(np.ceil(extent / step_mm - 1e-6), 1).astype(int)
    affine = np.diag([step_mm, step_mm, step_mm, 1.0])
    affine[:3, 3] = (low + high) / 2 - (count - 1) / 2 * step_mm
    return Grid((int(count[0]), int(count[1]), int(count[2])), affine, grid.frame)


def on_lattice(volume: Volume, lattice: Grid, fill: float, link: RigidTransform | None = None) -> Floats:
    """Values of ``volume`` averaged over the lattice's voxels; ``fill`` outside. float32, lattice.shape.

    An image whose axes run along those of the lattice is averaged exactly (separable box weights); any other is smoothed to
    the lattice's scale and asked at its points. link: from the lattice's frame to the volume's, None when they are one.
    """
    to_index = np.linalg.inv(volume.grid.affine) @ (np.eye(4) if link is None else link.matrix) @ lattice.affine
    axes = np.abs(to_index[:3, :3])
    order = axes.argmax(axis=0)  # the volume's axis along each lattice axis
    off_axis = axes.sum() - axes.max(axis=0).sum()
    if off_axis < 1e-3 * axes.max() and len(set(order.tolist())) == 3:
        return _separable(volume, lattice, to_index, order, fill)
    return _sampled(volume, lattice, to_index, fill)


def axis_weights(count_in: int, count_out: int, step: float, start: float) -> tuple[Floats, Floats]:
    """Share of each input voxel in each output voxel along one axis (rows sum to 1), and how much of it was covered."""
    centre = start + step * np.arange(count_out)[:, None]
    half = max(abs(step), 1.0) / 2
    cell = np.arange(count_in)[None, :]
    overlap = np.minimum(centre + half, cell + 0.5) - np.maximum(centre - half, cell - 0.5)
    overlap = np.clip(overlap, 0.0, None)
    covered = overlap.sum(axis=1)
    rows = overlap / np.maximum(covered, 1e-6)[:, None]
    return rows.astype(np.float32), (covered / (2 * half)).astype(np.float32)


def along_axes(values: Floats, rows: Sequence[Floats]) -> Floats:
    """``rows[a]`` (count_out, count_in) applied along each axis a of ``values``; few weights of a row are not zero."""
    order = sorted(range(3), key=lambda a: rows[a].shape[0] / rows[a].shape[1])  # the one that shrinks most goes first
    slow = int(np.argmax(np.abs(values.strides)))
    leading = order[: order.index(slow)]
    out = _slice_by_slice(values, {axis: rows[axis] for axis in leading}, slow) if leading else values
    for axis in order[len(leading) :]:
        moved = np.moveaxis(out, axis, 0)
        flat = np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
        done = sparse.csr_array(rows[axis]) @ flat
        out = np.moveaxis(done.reshape(-1, *moved.shape[1:]), 0, axis)
    return np.ascontiguousarray(out, dtype=np.float32)


def _slice_by_slice(values: Floats, rows: Mapping[int, Floats], slow: int) -> Floats:
    """``rows`` along the other axes in their order, one slice across the axis of largest stride at a time: a large CT is read
    once, and never copied whole."""
    matrices = {axis: sparse.csr_array(weights) for axis, weights in rows.items()}
    shape = [rows[axis].shape[0] if axis in rows else values.shape[axis] for axis in range(3) if axis != slow]
    stack = np.empty((values.shape[slow], *shape), dtype=np.float32)
    for n, plane in enumerate(np.moveaxis(values, slow, 0)):
        done = plane
        for axis, matrix in matrices.items():
            first = axis - int(axis > slow) == 0
            done = matrix @ np.ascontiguousarray(done) if first else (matrix @ np.ascontiguousarray(done.T)).T
        stack[n] = done
    return np.moveaxis(stack, 0, slow)


def _separable(
    volume: Volume, lattice: Grid, to_index: npt.NDArray[np.float64], order: npt.NDArray[np.intp], fill: float
) -> Floats:
    rows, inside = [], []
    for axis in range(3):
        source = int(order[axis])
        weight, covered = axis_weights(
            volume.grid.shape[source], lattice.shape[axis], to_index[source, axis], to_index[source, 3]
        )
        rows.append(weight)
        inside.append(covered > 0.5)
    out = along_axes(volume.values.transpose(order), rows)
    for axis, ok in enumerate(inside):
        np.moveaxis(out, axis, 0)[~ok] = fill
    return out


def _sampled(volume: Volume, lattice: Grid, to_index: npt.NDArray[np.float64], fill: float) -> Floats:
    step = np.array(lattice.spacing_mm) / np.array(volume.grid.spacing_mm)
    sigma = np.maximum(step - 1.0, 0.0) * 0.4
    smooth = ndimage.gaussian_filter(volume.values, sigma, mode="nearest") if sigma.any() else volume.values
    out: Floats = ndimage.affine_transform(
        smooth, to_index[:3, :3], to_index[:3, 3], output_shape=lattice.shape, order=1, mode="constant", cval=fill
    )
    return out


def ball(radius_vox: float) -> Mask:
    """Ball-shaped structuring element."""
    r = int(np.ceil(radius_vox))
    i, j, k = np.ogrid[-r : r + 1, -r : r + 1, -r : r + 1]
    return np.asarray(i * i + j * j + k * k <= radius_vox * radius_vox + 1e-6)


def grown(mask: Mask, radius_mm: float, step_mm: float) -> Mask:
    """Everything within ``radius_mm`` of the mask."""
    out = np.zeros(mask.shape, dtype=bool)
    box = window_box(mask, int(np.ceil(radius_mm / step_mm)) + 1)
    if box is not None:
        out[box] = distance_to(mask[box], step_mm) <= radius_mm
    return out


def shrunk(mask: Mask, radius_mm: float, step_mm: float) -> Mask:
    """What of the mask lies more than ``radius_mm`` from its outside; the border of the array counts as inside."""
    out = np.zeros(mask.shape, dtype=bool)
    box = window_box(mask, 1)
    if box is not None:
        out[box] = distance_to(~mask[box], step_mm) > radius_mm
    return out


def distance_to(mask: Mask, step_mm: float) -> Floats:
    """Distance (mm) of every voxel to the nearest voxel of the mask; 0 inside, inf where the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    return np.asarray(edt.edt(~mask, anisotropy=(step_mm,) * 3, parallel=_THREADS), dtype=np.float32)


def largest(mask: Mask, structure: Mask | None = None) -> Mask:
    """The largest component (6-connected unless a structure says otherwise)."""
    labels, count = ndimage.label(mask, structure)
    if count == 0:
        return mask.copy()
    sizes = np.bincount(labels.reshape(-1))
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def filled_slices(mask: Mask, axis: int) -> Mask:
    """The mask with the holes of every slice across ``axis`` filled."""
    out = mask.copy()
    moved = np.moveaxis(out, axis, 0)
    for plane in moved:
        if plane.any():
            plane[:] = ndimage.binary_fill_holes(plane)
    return out


def window_box(window: Mask, margin: int) -> tuple[slice, ...] | None:
    """The window's bounding box with a margin: the search works on it alone."""
    box = []
    for axis in range(3):
        seen = np.flatnonzero(window.any(axis=tuple(n for n in range(3) if n != axis)))
        if not len(seen):
            return None
        box.append(slice(max(int(seen[0]) - margin, 0), min(int(seen[-1]) + margin + 1, window.shape[axis])))
    return tuple(box)
