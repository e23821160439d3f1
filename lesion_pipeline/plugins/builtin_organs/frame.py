"""The patient's own frame: midline, spine axis, lung and pelvis levels, all in lattice indices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.plugins.builtin_organs.chest import Chest
from lesion_pipeline.plugins.builtin_organs.lattice import Floats, Mask, distance_to

#: Lungs that end at the top of the field of view and are shorter than this show their bases only.
_SHORT_LUNG_MM = 150.0


@dataclass(frozen=True, slots=True, eq=False)
class BodyFrame:
    """Where things are expected. spine: (nk, 2) x and y index of the spine in each slice, nan where no spine is seen.

    apex, base: slice of the lungs' top and of the level where the lungs end (lateral recesses not counted); None without lungs.
    heads: femoral head centres (left, right) as indices, None where not seen. hip_top: highest slice of the pelvis, or None.
    skull_base: lowest slice of the cranial cavity, or None. cranial: what the skull encloses of soft tissue.
    """

    step_mm: float
    mid: float
    spine: npt.NDArray[np.float64]
    apex: int | None
    base: int | None
    heads: tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None]
    hip_top: int | None
    skull_base: int | None
    cranial: Mask

    def lateral_mm(self, shape: tuple[int, int, int]) -> Floats:
        """Distance to the left of the spine's axis in mm (negative: right), broadcastable (ni, 1, nk)."""
        x = np.where(np.isfinite(self.spine[:, 0]), self.spine[:, 0], self.mid)
        return ((np.arange(shape[0])[:, None, None] - x[None, None, :]) * self.step_mm).astype(np.float32)

    def behind_mm(self, shape: tuple[int, int, int]) -> Floats:
        """Distance behind the spine's axis in mm (negative: in front), broadcastable (1, nj, nk); 0 where no spine."""
        y = self.spine[:, 1]
        return (np.nan_to_num(np.arange(shape[1])[None, :, None] - y[None, None, :]) * self.step_mm).astype(np.float32)


def find_frame(hu: Floats, body: Mask, bone: Mask, chest: Chest, step_mm: float) -> BodyFrame:
    """Landmarks from bone and lungs; every one of them may be missing."""
    weights = body.sum(axis=(1, 2)).astype(float)
    mid = chest.mid if chest.mid is not None else float((np.arange(len(weights)) * weights).sum() / max(weights.sum(), 1.0))
    apex = base = None
    if chest.lungs.any():
        area = chest.lungs.sum(axis=(0, 1)) * step_mm**2
        seen = np.flatnonzero(area > 300.0)
        if len(seen):
            base = int(np.flatnonzero(area > 0.35 * area.max())[0])
            cut = int(seen[-1]) >= bone.shape[2] - 2 and len(seen) * step_mm < _SHORT_LUNG_MM
            apex = None if cut else int(seen[-1])
    cranial = _cranial_cavity(hu, bone, step_mm)
    levels = np.flatnonzero(cranial.any(axis=(0, 1)))
    skull_base = int(levels[0]) if len(levels) * step_mm >= 9.0 else None
    spine = _spine_axis(body, bone, mid, step_mm, skull_base)
    heads, hip_top = _pelvis(bone, spine, mid, base, step_mm)
    return BodyFrame(step_mm, mid, spine, apex, base, heads, hip_top, skull_base, cranial)


def _cranial_cavity(hu: Floats, bone: Mask, step_mm: float) -> Mask:
    """Soft tissue enclosed by the skull (slices where bone encloses more than 30 cm2), brain for the most part."""
    cavity = np.zeros(bone.shape, dtype=bool)
    rim = ndimage.generate_binary_structure(2, 2)
    width = max(round(5.0 / step_mm), 1)
    for k in np.flatnonzero(bone.sum(axis=(0, 1)) * step_mm**2 > 1000.0):
        plane = ndimage.binary_closing(np.pad(bone[:, :, k], width), rim, iterations=width)[width:-width, width:-width]
        hole = ndimage.binary_fill_holes(plane) & ~plane
        labels, count = ndimage.label(hole)
        if count:
            large = np.bincount(labels.reshape(-1)) * step_mm**2 > 3000.0
            large[0] = False
            cavity[:, :, k] = large[labels]
    soft = cavity & (hu > -20.0) & (hu < 120.0)
    mostly = soft.sum(axis=(0, 1)) > 0.8 * np.maximum(cavity.sum(axis=(0, 1)), 1)
    return np.asarray(soft & mostly[None, None, :])


def _spine_axis(body: Mask, bone: Mask, mid: float, step_mm: float, skull_base: int | None) -> npt.NDArray[np.float64]:
    """Densest bone near the midline of the back half of the body, slice by slice, made smooth along the body."""
    nk = bone.shape[2]
    axis = np.full((nk, 2), np.nan)
    density = np.asarray(ndimage.gaussian_filter(bone.astype(np.float32), (9.0 / step_mm, 9.0 / step_mm, 4.0 / step_mm)))
    lateral = np.abs(np.arange(bone.shape[0]) - mid) * step_mm
    prior = np.exp(-0.5 * (lateral / 30.0) ** 2)[:, None]
    top = nk if skull_base is None else skull_base
    for k in range(top):
        rows = np.flatnonzero(body[:, :, k].any(axis=0))
        if len(rows) < 3:
            continue
        score = density[:, :, k] * prior
        front = int(rows[0] + 0.35 * (rows[-1] - rows[0]))
        score[:, :front] = 0.0
        if score.max() > 0.18:
            axis[k] = np.unravel_index(int(score.argmax()), score.shape)
    seen = np.flatnonzero(np.isfinite(axis[:, 0]))
    if len(seen) * step_mm < 15.0:
        return np.full((nk, 2), np.nan)
    size = max(round(60.0 / step_mm) | 1, 3)
    between = np.arange(seen[0], seen[-1] + 1)
    for column in range(2):
        line = np.interp(between, seen, axis[seen, column])
        line = ndimage.median_filter(line, size=min(size, len(line)), mode="nearest")
        axis[between, column] = ndimage.gaussian_filter1d(line, 15.0 / step_mm, mode="nearest")
    return axis if _is_spine(bone, axis, step_mm) else np.full((nk, 2), np.nan)


def _is_spine(bone: Mask, axis: npt.NDArray[np.float64], step_mm: float) -> bool:
    """Body, arch and spinous process reach 45 mm from front to back in half of the slices; a long bone never does."""
    half = int(30.0 / step_mm)
    reach = int(70.0 / step_mm)
    depths = []
    for k in np.flatnonzero(np.isfinite(axis[:, 0])):
        x, y = (round(float(v)) for v in axis[k])
        strip = bone[max(x - half, 0) : x + half + 1, max(y - reach, 0) : y + reach + 1, k].any(axis=0)
        rows = np.flatnonzero(strip)
        depths.append((rows[-1] - rows[0] + 1) * step_mm if len(rows) else 0.0)
    return bool(depths) and float(np.median(depths)) >= 45.0


def _pelvis(
    bone: Mask, spine: npt.NDArray[np.float64], mid: float, base: int | None, step_mm: float
) -> tuple[tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None], int | None]:
    """Femoral heads: the thickest lateral bone on either side, at one height, below the lungs. Then the top of the pelvis."""
    ceiling = bone.shape[2] if base is None else max(base - int(200 / step_mm), 0)
    thickness = distance_to(~bone[:, :, :ceiling], step_mm) if ceiling > 2 else np.zeros((*bone.shape[:2], 0), np.float32)
    if thickness.size == 0 or (base is None and np.isnan(spine).all()):
        return (None, None), None
    x = ((np.arange(bone.shape[0]) - mid) * step_mm).astype(np.float64)
    heads: list[npt.NDArray[np.float64] | None] = []
    for side in (1.0, -1.0):
        window = (side * x > 55.0) & (side * x < 135.0)
        zone = np.where(window[:, None, None], thickness, 0.0)
        peak = np.unravel_index(int(zone.argmax()), zone.shape)
        heads.append(np.array(peak, dtype=np.float64) if zone.max() > 15.0 else None)
    left, right = heads
    if left is None or right is None or abs(left[2] - right[2]) * step_mm > 30.0 or abs(left[1] - right[1]) * step_mm > 40.0:
        return (None, None), _hip_top(bone, x, None, ceiling, step_mm)
    return (left, right), _hip_top(bone, x, int((left[2] + right[2]) / 2), ceiling, step_mm)


def _hip_top(bone: Mask, x: npt.NDArray[np.float64], heads: int | None, ceiling: int, step_mm: float) -> int | None:
    """Highest slice of the bone that stands 45 to 160 mm beside the midline on both sides, without a gap."""
    area = [bone[(s * x > 45.0) & (s * x < 160.0), :, :ceiling].sum(axis=(0, 1)) * step_mm**2 for s in (1.0, -1.0)]
    both = np.minimum(area[0], area[1]) > 250.0
    if heads is None:
        runs, count = ndimage.label(both)
        if count == 0:
            return None
        sizes = np.bincount(runs)
        sizes[0] = 0
        if sizes.max() * step_mm < 45.0:
            return None
        return int(np.flatnonzero(runs == sizes.argmax())[-1])
    k = heads
    while k + 1 < len(both) and both[k + 1]:
        k += 1
    return k
