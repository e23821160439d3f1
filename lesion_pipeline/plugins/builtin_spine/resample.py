"""Isotropic boxes out of a CT, aligned with the LPS axes whatever the array's own order and sense.

Every CT passes here once; all that follows indexes (x, y, z) = (toward left, posterior, head) and never asks again how the
scanner stored its slices. A flipped or reordered array with a matching affine gives the same box, bit for bit up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from lesion_pipeline.domain.geometry import Grid, inverse_affine
from lesion_pipeline.domain.volume import Volume

Floats = npt.NDArray[np.float32]

AIR_HU = -1024.0
#: Padding below air (-3024, -2000) and metal above would leak through every smoothing.
HU_RANGE = (AIR_HU, 3000.0)
#: An array counts as aligned with the world when no voxel lies further than this (mm) from where an aligned one would.
ALIGNED_MM = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """HU float32 (nx, ny, nz) on an LPS-aligned lattice. origin: LPS mm of voxel (0, 0, 0); step: mm, the same on all axes."""

    hu: Floats
    origin: npt.NDArray[np.float64]
    step: float

    def affine(self) -> npt.NDArray[np.float64]:
        """Index -> LPS mm, (4, 4)."""
        out = np.diag([self.step, self.step, self.step, 1.0])
        out[:3, 3] = self.origin
        return out

    def index(self, points_lps_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """LPS mm (..., 3) to fractional index."""
        return np.asarray((points_lps_mm - self.origin) / self.step)


def box_of(volume: Volume, step: float, low: npt.ArrayLike | None = None, high: npt.ArrayLike | None = None) -> Box:
    """Resample to ``step`` mm within the LPS corners ``low``..``high`` (the whole volume if None), anti-aliased, linear.

    The kernel is a triangle as wide as the coarser of both lattices, so that thin bright slices or a sharp kernel do not alias.
    """
    first, last = volume.grid.bounds()
    start = np.maximum(first, -np.inf if low is None else np.asarray(low, dtype=np.float64))
    stop = np.minimum(last, np.inf if high is None else np.asarray(high, dtype=np.float64))
    start = first + np.floor((start - first) / step) * step  # one lattice for every crop of a volume
    shape = np.maximum(np.floor((stop - start) / step + 1e-6).astype(int) + 1, 1)
    resample = _separable if _is_aligned(volume.grid) else _general
    hu = resample(volume, start, shape, step)
    return Box(hu, start, step)


def _world_axes(grid: Grid) -> tuple[int, int, int]:
    """For world axis x, y, z: the array axis that runs along it."""
    along = np.abs(grid.affine[:3, :3] / np.asarray(grid.spacing_mm))
    order = [int(np.argmax(along[w])) for w in range(3)]
    return (order[0], order[1], order[2])


def _is_aligned(grid: Grid) -> bool:
    axes = _world_axes(grid)
    if len(set(axes)) != 3:
        return False
    off = grid.affine[:3, :3].copy()
    for world, axis in enumerate(axes):
        off[world, axis] = 0.0
    return bool(np.abs(off * (np.asarray(grid.shape) - 1)).sum(axis=1).max() <= ALIGNED_MM)


def _weights(grid: Grid, world: int, axis: int, target: tuple[float, int, float]) -> sparse.csr_matrix:
    """(count, n) rows of triangle weights that sum to one, for one world axis. target: (first mm, count, step mm)."""
    start, count, step = target
    n = grid.shape[axis]
    scale = float(grid.affine[world, axis])
    centre = grid.world((np.asarray(grid.shape) - 1) / 2.0)[world]
    positions = (start + step * np.arange(count) - centre) / scale + (n - 1) / 2.0
    half = max(step / abs(scale), 1.0)
    reach = int(np.ceil(half))
    taps = np.rint(positions)[:, None].astype(int) + np.arange(-reach, reach + 1)[None, :]
    weight = np.clip(1.0 - np.abs(taps - positions[:, None]) / half, 0.0, None)
    weight[(taps < 0) | (taps >= n)] = 0.0
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    rows = np.repeat(np.arange(count), taps.shape[1])
    keep = weight.ravel() > 0
    triples = (weight.ravel()[keep].astype(np.float32), (rows[keep], taps.ravel()[keep]))
    return sparse.csr_matrix(triples, shape=(count, n))


def _separable(volume: Volume, start: npt.NDArray[np.float64], shape: npt.NDArray[np.int_], step: float) -> Floats:
    """Slice by slice along the array axis of largest stride, then along that axis."""
    axes = _world_axes(volume.grid)
    matrices = [_weights(volume.grid, w, axes[w], (float(start[w]), int(shape[w]), step)) for w in range(3)]
    slow = int(np.argmax(np.abs(volume.values.strides)))
    slow_world = axes.index(slow)
    rest = [w for w in range(3) if w != slow_world]
    rows, columns = sorted(rest, key=lambda w: axes[w])
    used = np.flatnonzero(np.diff(matrices[slow_world].tocsc().indptr))
    stack = np.empty((len(used), int(shape[rows]), int(shape[columns])), dtype=np.float32)
    across = np.moveaxis(volume.values, slow, 0)
    for position, index in enumerate(used):
        plane = np.clip(across[index], *HU_RANGE)
        stack[position] = (matrices[columns] @ np.ascontiguousarray((matrices[rows] @ plane).T)).T
    flat = matrices[slow_world][:, used] @ stack.reshape(len(used), -1)
    cube = np.asarray(flat, dtype=np.float32).reshape(int(shape[slow_world]), int(shape[rows]), int(shape[columns]))
    return np.ascontiguousarray(np.moveaxis(cube, (0, 1, 2), (slow_world, rows, columns)))


def _general(volume: Volume, start: npt.NDArray[np.float64], shape: npt.NDArray[np.int_], step: float) -> Floats:
    """Oblique or sheared lattices (gantry tilt): smooth along the array's axes, then linear sampling."""
    sigma = [0.4 * max(step / spacing - 1.0, 0.0) for spacing in volume.grid.spacing_mm]
    smooth = ndimage.gaussian_filter(np.clip(volume.values, *HU_RANGE), sigma, truncate=3.0)
    back = inverse_affine(volume.grid.affine)
    matrix = back[:3, :3] * step
    offset = back[:3, :3] @ start + back[:3, 3]
    out = ndimage.affine_transform(
        smooth, matrix, offset=offset, output_shape=tuple(int(n) for n in shape), order=1, mode="constant", cval=AIR_HU
    )
    return np.asarray(out, dtype=np.float32)
