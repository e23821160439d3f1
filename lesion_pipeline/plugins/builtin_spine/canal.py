"""Where the spinal canal runs: a tube of soft tissue in a ring of bone, with a body before it and an arch behind.

One score a voxel, then the best path over the slices. The path is paid ``score - RESTART`` a slice and may start anew
anywhere, so it begins and ends by itself at the foramen magnum and the sacral hiatus, and stays away where there is no spine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.plugins.builtin_spine.resample import Box

Floats = npt.NDArray[np.float32]
Voxel = tuple[int, int, int]

SOFT_BONE_HU = (120.0, 250.0)  # 0 .. 1; osteopenic cancellous bone is about 100, cortex above 300
RING_RADII_MM = (6.0, 9.0, 12.0, 15.0)
RING_DIRECTIONS = 16
CANAL_HU = (30.0, 80.0)  # cord, thecal sac and epidural fat, wide
BODY_HU = 60.0
MIDLINE_FREE_MM = 28.0
MIDLINE_FALL_MM = 14.0
SEARCH_MM = 85.0
RESTART = 0.25
COST_LATERAL = 0.12
COST_SAGITTAL = 0.02
MAX_LATERAL = 1
MAX_SAGITTAL = 2
BODY_OUTLINE_HU = -250.0


@dataclass(frozen=True, slots=True, eq=False)
class CanalPath:
    """Points (n, 3) LPS mm, one a slice from caudal to cranial, and the score of each (n,)."""

    points: npt.NDArray[np.float64]
    score: Floats


def soft_bone(hu: Floats) -> Floats:
    """0 at 120 HU and below, 1 at 250 HU and above."""
    low, high = SOFT_BONE_HU
    return np.asarray(np.clip((hu - np.float32(low)) / np.float32(high - low), 0.0, 1.0))


def body_outline(box: Box) -> npt.NDArray[np.bool_] | None:
    """The largest part of the body, on every second voxel of the box along each axis; None for no body."""
    tissue = box.hu[::2, ::2, ::2] > BODY_OUTLINE_HU
    tissue = ndimage.binary_opening(tissue, iterations=1)
    labels, count = ndimage.label(tissue)
    if not count:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(np.argmax(sizes)))


def body_midline(box: Box) -> tuple[float, float] | None:
    """(x mm, lateral half width mm) of the body: the median over slices of the outline's centroid; None for no body."""
    outline = body_outline(box)
    if outline is None:
        return None
    profile = outline.sum(axis=1)  # (nx, nz)
    area = profile.sum(axis=0)
    good = area > 0.2 * area.max()
    x = box.origin[0] + 2 * box.step * np.arange(profile.shape[0])
    centres = (x[:, None] * profile[:, good]).sum(axis=0) / area[good]
    widths = (profile[:, good] > 0).sum(axis=0) * 2 * box.step
    return float(np.median(centres)), float(np.median(widths)) / 2.0


def _shifted(array: Floats, dx: int, dy: int) -> Floats:
    return np.roll(array, (dx, dy), axis=(0, 1))


def _ring(bone: Floats, step: float) -> Floats:
    """Mean over directions of the brightest bone within the ring: 1 = walled in on all sides."""
    total = np.zeros_like(bone)
    for angle in np.arange(RING_DIRECTIONS) * (2.0 * np.pi / RING_DIRECTIONS):
        offsets = sorted({(round(-np.cos(angle) * r / step), round(-np.sin(angle) * r / step)) for r in RING_RADII_MM})
        ray = _shifted(bone, *offsets[0])
        for offset in offsets[1:]:
            np.maximum(ray, _shifted(bone, *offset), out=ray)
        total += ray
    return total / np.float32(RING_DIRECTIONS)


def _box_mean(array: Floats, size_mm: tuple[float, float, float], step: float) -> Floats:
    size = [max(1, round(mm / step)) for mm in size_mm]
    return np.asarray(ndimage.uniform_filter(array, size=size, mode="nearest"), dtype=np.float32)


def _ramp(array: Floats, low: float, width: float) -> Floats:
    return np.asarray(np.clip((array - np.float32(low)) / np.float32(width), 0.0, 1.0))


def canal_score(box: Box, midline_mm: float) -> Floats:
    """(nx, ny, nz) in 0..1 on the box's lattice."""
    step = box.step
    bone = soft_bone(box.hu)
    smooth = np.asarray(ndimage.gaussian_filter(box.hu, 2.5 / step, truncate=2.5), dtype=np.float32)
    ring = _ramp(_ring(bone, step), 0.35, 0.5)
    inner_bone = _box_mean(bone, (7.0, 7.0, 3.0), step)
    inner = np.exp(-0.5 * ((smooth - CANAL_HU[0]) / CANAL_HU[1]) ** 2) * (1.0 - _ramp(inner_bone, 0.08, 0.25))
    ahead = _box_mean(smooth, (14.0, 16.0, 12.0), step)
    front = _ramp(_shifted(ahead, 0, round(19.0 / step)), BODY_HU - 40.0, 70.0)
    behind = _box_mean(bone, (20.0, 8.0, 24.0), step)
    arch = _ramp(_shifted(behind, 0, -round(18.0 / step)), 0.05, 0.2)
    x = box.origin[0] + step * np.arange(box.hu.shape[0])
    away = np.clip(np.abs(x - midline_mm) - MIDLINE_FREE_MM, 0.0, None) / MIDLINE_FALL_MM
    fall = np.exp(-0.5 * away**2).astype(np.float32)
    return np.asarray(ring * inner * front * arch * fall[:, None, None], dtype=np.float32)


def best_path(score: Floats) -> list[Voxel]:
    """(x, y, z) indices of the best run of slices, ascending z; empty where nothing is worth its cost."""
    nx, ny, nz = score.shape
    moves = [(dx, dy) for dx in range(-MAX_LATERAL, MAX_LATERAL + 1) for dy in range(-MAX_SAGITTAL, MAX_SAGITTAL + 1)]
    costs = [COST_LATERAL * dx * dx + COST_SAGITTAL * dy * dy for dx, dy in moves]
    back = np.full((nz, nx, ny), -1, dtype=np.int8)
    total = np.zeros((nx, ny), dtype=np.float32)
    best, end = 0.0, (-1, -1, -1)
    for z in range(nz):
        arrived = np.zeros_like(total)  # zero: start anew here
        source = back[z]
        padded = np.pad(total, ((MAX_LATERAL, MAX_LATERAL), (MAX_SAGITTAL, MAX_SAGITTAL)), constant_values=-1e9)
        for number, ((dx, dy), cost) in enumerate(zip(moves, costs, strict=True)):
            x0, y0 = MAX_LATERAL - dx, MAX_SAGITTAL - dy
            candidate = padded[x0 : x0 + nx, y0 : y0 + ny] - np.float32(cost)
            better = candidate > arrived
            arrived[better] = candidate[better]
            source[better] = number
        total = arrived + score[:, :, z] - np.float32(RESTART)
        top = int(np.argmax(total))
        if total.flat[top] > best:
            best, end = float(total.flat[top]), (top // ny, top % ny, z)
    return _walk_back(back, end, moves)


def _walk_back(back: npt.NDArray[np.int8], end: Voxel, moves: list[tuple[int, int]]) -> list[Voxel]:
    x, y, z = end
    path: list[Voxel] = []
    while z >= 0 and x >= 0:
        path.append((x, y, z))
        move = int(back[z, x, y])
        if move < 0:
            break
        x, y, z = x - moves[move][0], y - moves[move][1], z - 1
    return path[::-1]


def track_canal(box: Box) -> CanalPath | None:
    """The canal in a box of about 3 mm; None where no body or no canal is found."""
    midline = body_midline(box)
    if midline is None:
        return None
    centre = (midline[0] - box.origin[0]) / box.step
    reach = SEARCH_MM / box.step
    low, high = max(0, int(centre - reach)), min(box.hu.shape[0], int(centre + reach) + 1)
    if high - low < 8:
        return None
    corner = box.origin + np.array([low * box.step, 0.0, 0.0])
    part = Box(np.ascontiguousarray(box.hu[low:high]), corner, box.step)
    score = canal_score(part, midline[0])
    path = best_path(score)
    if not path:
        return None
    index = np.array(path)
    values = score[index[:, 0], index[:, 1], index[:, 2]]
    return CanalPath(part.origin + part.step * index.astype(np.float64), values)
