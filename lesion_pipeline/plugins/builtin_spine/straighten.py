"""The spine laid straight: a curve with a frame at every millimetre, and the CT sampled along it.

s runs along the curve from caudal to cranial, a toward anterior, lat toward the patient's left; all in mm. A curve of the canal
comes first; in its frame the posterior and anterior walls of the vertebral bodies are found, and the curve moves into the
middle of the bodies, where lengths along it are true body heights (along the canal lordosis compresses them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.plugins.builtin_spine.canal import CanalPath, soft_bone
from lesion_pipeline.plugins.builtin_spine.resample import AIR_HU, Box

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

SMOOTH_MM = 7.0
EXTEND_CAUDAL_MM = 65.0
EXTEND_CRANIAL_MM = 50.0
TANGENT_MM = 20
AXIS_SMOOTH_MM = 9.0

STEP_MM = 1.5
POSTERIOR_MM = -81.0
ANTERIOR_MM = 45.0
LATERAL_MM = 90.0

WALL_MM = (2.0, 20.0)  # posterior wall, in front of the canal's centre
DEPTH_MM = (11.0, 40.0)  # front-to-back depth of a vertebral body, C3 of a small woman to L4 of a large man
WALL_MEDIAN_MM = 41
DEPTH_MEDIAN_MM = 61
DISC_BRIDGE_MM = 21
DEPTH_BONE = 0.3  # mean soft bone below this is no longer the body
ROLL_MAX_DEG = 30.0
ROLL_STEP_DEG = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """points (n, 3) LPS mm, 1 mm apart; axes (n, 3, 3): rows are the unit vectors s (cranial), a (anterior), lat (left)."""

    points: Array
    axes: Array

    def world(self, s: Array, a: Array, lat: Array) -> Array:
        """(s, a, lat) mm, broadcast, to LPS mm (..., 3); s is interpolated linearly between the knots."""
        low = np.clip(np.floor(s).astype(int), 0, len(self.points) - 2)
        part = (s - low)[..., None]
        origin = self.points[low] * (1.0 - part) + self.points[low + 1] * part
        nearest = np.clip(np.rint(s).astype(int), 0, len(self.points) - 1)
        frame = self.axes[nearest]
        return np.asarray(origin + a[..., None] * frame[..., 1, :] + lat[..., None] * frame[..., 2, :])


@dataclass(frozen=True, slots=True, eq=False)
class Straight:
    """hu (S, A, L) on s = 0, 1, 2, ... mm and the offsets a, lat (mm); seen (S,): the curve lies inside the CT there.

    wall (S,): mm from the axis back to the posterior wall of the bodies. canal (S,): mm back to the centre of the canal.
    """

    curve: Curve
    hu: Floats
    a: Array
    lat: Array
    seen: npt.NDArray[np.bool_]
    wall: Array
    canal: Array

    def column(self, lateral: tuple[float, float]) -> npt.NDArray[np.bool_]:
        """Which lat offsets have low <= |lat| <= high."""
        return np.asarray((np.abs(self.lat) >= lateral[0] - 1e-6) & (np.abs(self.lat) <= lateral[1] + 1e-6))


def _smooth(values: Array, sigma: float) -> Array:
    return np.asarray(ndimage.gaussian_filter1d(values, sigma, axis=0, mode="nearest"))


def smooth_curve(points: Array, sigma_mm: float, extend: tuple[float, float]) -> Curve:
    """A curve through (n, 3) LPS points ordered from caudal to cranial, smoothed and prolonged straight at both ends."""
    dense = _resample(points)
    padded = np.concatenate([2 * dense[0] - dense[1:40][::-1], dense, 2 * dense[-1] - dense[-40:-1][::-1]])
    cut = len(dense[1:40])
    dense = _smooth(padded, sigma_mm)[cut : cut + len(dense)]
    span = min(TANGENT_MM, len(dense) - 1)
    down = (dense[0] - dense[span]) / np.linalg.norm(dense[0] - dense[span])
    up = (dense[-1] - dense[-1 - span]) / np.linalg.norm(dense[-1] - dense[-1 - span])
    tail = dense[0] + down * np.arange(extend[0], 0.0, -1.0)[:, None]
    head = dense[-1] + up * np.arange(1.0, extend[1] + 1.0)[:, None]
    return with_frames(_resample(np.concatenate([tail, dense, head])), None)


def _resample(points: Array) -> Array:
    """The same polyline with knots 1 mm apart."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    keep = np.concatenate([[True], np.diff(length) > 1e-6])
    s = np.arange(0.0, max(length[-1], 2.0), 1.0)
    return np.stack([np.interp(s, length[keep], points[keep, axis]) for axis in range(3)], axis=1)


def with_frames(points: Array, roll_deg: Array | None) -> Curve:
    """Frames along a polyline: lat is the patient's left made orthogonal to the tangent, then turned by ``roll_deg`` (n,)."""
    tangent = _smooth(np.gradient(points, axis=0), 3.0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    left = np.array([1.0, 0.0, 0.0]) - tangent[:, :1] * tangent
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    front = np.cross(left, tangent)
    if roll_deg is not None:
        turn = np.radians(roll_deg)[:, None]
        left, front = np.cos(turn) * left - np.sin(turn) * front, np.cos(turn) * front + np.sin(turn) * left
    return Curve(points, np.stack([tangent, front, left], axis=1))


def sample(box: Box, curve: Curve, a: Array, lat: Array) -> Floats:
    """HU (S, A, L) at every curve point and offset, linear; air outside the box."""
    out = np.empty((len(curve.points), len(a), len(lat)), dtype=np.float32)
    for start in range(0, len(curve.points), 64):
        part = slice(start, start + 64)
        points = a[:, None, None] * curve.axes[part, None, None, 1] + lat[:, None] * curve.axes[part, None, None, 2]
        points += curve.points[part, None, None, :]
        index = box.index(points).astype(np.float32)
        out[part] = ndimage.map_coordinates(box.hu, np.moveaxis(index, -1, 0), order=1, mode="constant", cval=AIR_HU)
    return out


def _median(values: Array, size: int) -> Array:
    """Median filter that looks past missing values, then fills what is still missing."""
    half = size // 2
    padded = np.pad(values, half, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    known = np.isfinite(windows).any(axis=1)
    out = np.full(len(values), np.nan)
    if known.any():
        out[known] = np.nanmedian(windows[known], axis=1)
        where = np.flatnonzero(known)
        out = np.interp(np.arange(len(values)), where, out[where])
    return out


def find_walls(box: Box, canal: Curve) -> tuple[Array, Array]:
    """(posterior wall, depth of the bodies), both (n,) mm, in front of the canal's centre; NaN-free unless nothing is seen."""
    a = np.arange(0.0, 66.0, 1.0)
    bone = soft_bone(sample(box, canal, a, np.arange(-6.0, 6.1, 3.0))).mean(axis=2)
    wall = np.full(len(bone), np.nan)
    inside = (a >= WALL_MM[0]) & (a <= WALL_MM[1])
    for s, row in enumerate(bone):
        hits = np.flatnonzero((row > 0.5) & inside)
        if len(hits):
            wall[s] = a[hits[0]]
    wall = _median(wall, WALL_MEDIAN_MM)
    if not np.isfinite(wall).all():
        wall = np.full(len(bone), 9.0)
    bridged = ndimage.maximum_filter1d(bone, DISC_BRIDGE_MM, axis=0)
    depth = np.full(len(bone), np.nan)
    for s, row in enumerate(bridged):
        start = int(wall[s])
        gain = np.cumsum(row[start : start + int(DEPTH_MM[1]) + 4] - DEPTH_BONE)
        best = int(np.argmax(gain[int(DEPTH_MM[0]) :])) + int(DEPTH_MM[0])
        if gain[best] > 0 and best <= DEPTH_MM[1]:
            depth[s] = best + 0.5
    depth = _median(depth, DEPTH_MEDIAN_MM)
    if not np.isfinite(depth).all():
        depth = np.full(len(bone), 25.0)
    return _smooth(wall, 8.0), _smooth(depth, 12.0)


def roll_of(box: Box, canal: Curve) -> Array:
    """Axial turn (n,) degrees of each cross-section about the canal, from mirror symmetry; smooth along s."""
    radii = np.arange(6.0, 48.0, 3.0)
    angles = np.arange(-180.0, 180.0, ROLL_STEP_DEG)
    shifts = np.arange(-ROLL_MAX_DEG, ROLL_MAX_DEG + 0.1, ROLL_STEP_DEG)
    knots = np.arange(0, len(canal.points), 3)
    turn = np.radians(angles)
    a, lat = np.cos(turn)[None, :] * radii[:, None], np.sin(turn)[None, :] * radii[:, None]
    axes = canal.axes[knots]
    points = (
        canal.points[knots, None, None, :] + a[..., None] * axes[:, None, None, 1] + lat[..., None] * axes[:, None, None, 2]
    )
    index = np.moveaxis(box.index(points), -1, 0).astype(np.float32)
    hu = ndimage.map_coordinates(box.hu, index, order=1, mode="constant", cval=AIR_HU)
    rings = np.clip((hu + 50.0) / 350.0, 0.0, 1.0)
    rings = ndimage.uniform_filter1d(rings, 3, axis=0)
    cost = np.empty((len(knots), len(shifts)))
    for number, shift in enumerate(shifts):
        turned = np.roll(rings, -round(shift / ROLL_STEP_DEG), axis=2)  # angle 0 now lies at +shift
        mirrored = np.roll(turned[:, :, ::-1], 1, axis=2)
        cost[:, number] = np.abs(turned - mirrored).mean(axis=(1, 2))
    cost = ndimage.gaussian_filter1d(cost, 4.0, axis=0)  # 12 mm
    scale = max(float(np.median(np.std(cost, axis=1))), 1e-3)
    chosen = _smoothest(cost / scale * 0.5 + 0.5 * (shifts / 18.0) ** 2)
    knot_roll = shifts[chosen]
    return _smooth(np.interp(np.arange(len(canal.points)), knots, knot_roll), 12.0)


def _smoothest(cost: Array) -> npt.NDArray[np.int_]:
    """Index per row of least total cost, quadratic price of change."""
    n, m = cost.shape
    price = 1.0 * (np.arange(m)[:, None] - np.arange(m)[None, :]) ** 2
    total = cost[0].copy()
    back = np.zeros((n, m), dtype=np.int64)
    for row in range(1, n):
        options = total[None, :] + price
        back[row] = options.argmin(axis=1)
        total = options.min(axis=1) + cost[row]
    out = np.zeros(n, dtype=np.int64)
    out[-1] = int(total.argmin())
    for row in range(n - 1, 0, -1):
        out[row - 1] = back[row, out[row]]
    return out


def straighten(box: Box, path: CanalPath) -> Straight:
    """Canal path -> body axis -> straight volume. ``box``: about 1.5 mm, around the path."""
    canal = smooth_curve(path.points, SMOOTH_MM, (EXTEND_CAUDAL_MM, EXTEND_CRANIAL_MM))
    roll = roll_of(box, canal)
    canal = with_frames(canal.points, roll)
    wall, depth = find_walls(box, canal)
    ahead = wall + depth / 2.0
    middle = _smooth(canal.points + ahead[:, None] * canal.axes[:, 1], AXIS_SMOOTH_MM)
    points = _resample(middle)
    # knots of both curves correspond by nearest point, so that walls and roll follow onto the new curve
    old = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(middle, axis=0), axis=1))])
    s = np.arange(len(points), dtype=np.float64)
    carry = [np.interp(s, old, values) for values in (depth / 2.0, ahead, roll)]
    curve = with_frames(points, carry[2])
    a = np.arange(POSTERIOR_MM, ANTERIOR_MM + 0.1, STEP_MM)
    lat = np.arange(-LATERAL_MM, LATERAL_MM + 0.1, STEP_MM)
    hu = sample(box, curve, a, lat)
    index = box.index(curve.points)
    seen = np.all((index >= -0.5) & (index <= np.array(box.hu.shape) - 0.5), axis=1)
    return Straight(curve, hu, a, lat, seen, carry[0], carry[1])
