"""The label map: every voxel of bone near the axis to its vertebra, body and posterior elements apart, and the canal.

A voxel's place is (s, a, lat) on the curved axis. In front of the canal vertebrae are parted by the tilted planes of their
discs; behind it by planes that fall caudally as the laminae and spinous processes do. The inside of a body counts whether it
is dense or not, so that a lytic lesion has a level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from lesion_pipeline.domain.anatomy import VertebralLevel as Level
from lesion_pipeline.plugins.builtin_spine.features import Features
from lesion_pipeline.plugins.builtin_spine.readings import Reading
from lesion_pipeline.plugins.builtin_spine.resample import Box
from lesion_pipeline.plugins.builtin_spine.straighten import Straight

Array = npt.NDArray[np.float64]
Place = tuple[Array, Array, Array]

SOFT_HU = 55.0
THRESHOLD_HU = (95.0, 170.0)
WIDTH_OF_DEPTH = 0.68  # half width of a body, of its depth
CORE = 0.92  # of the body's half axes: inside, every voxel is body
DISC_HALF_MM = 1.6
AIR_EDGE_HU = -200.0  # lung beside the waist of a body is not body, however destroyed
ARCH_RISE_MM = 3.0
#: mm a posterior boundary falls per mm behind the bodies, by region.
ARCH_FALL = {"L": 0.15, "lower T": 0.5, "T": 0.9, "upper T": 0.6, "C": 0.35}
ARCH_FALL_MAX_MM = 26.0
PROCESS_MM = {"L": 48.0, "T": 34.0, "C": 32.0, "S": 55.0}
CANAL_HALF_WIDTH_MM = 11.0
DENS = (7.0, -7.0, 4.5, 15.0)  # |lat|, a from, a to, height above the second vertebra's body (mm)
SACRAL_SEGMENT_MM = 30.0
ASIDE_MM = 6.0
NEAR_MM = (62.0, -82.0, 34.0)  # |lat|, a from, a to


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """part (nx, ny, nz) uint16 on the box's lattice: 0 nothing, 1 canal, 2n body of vertebra n, 2n + 1 its posterior elements,
    n counted from 1 in the order of the reading. centres (n, 3): LPS mm of the bodies."""

    part: npt.NDArray[np.uint16]
    centres: Array


def bone_threshold(straight: Straight, reading: Reading) -> float:
    """HU between soft tissue and this patient's bodies."""
    inside = np.concatenate([np.arange(int(v.start) + 4, int(v.stop) - 4) for v in reading.vertebrae])
    inside = inside[(inside >= 0) & (inside < len(straight.hu))].astype(int)
    core = straight.hu[inside][:, np.abs(straight.a) <= 8.0][:, :, straight.column((0.0, 8.0))]
    body = float(np.median(core)) if core.size else 150.0
    return float(np.clip(0.5 * (SOFT_HU + body), *THRESHOLD_HU))


def locate(straight: Straight, points: Array) -> tuple[Array, Array, Array]:
    """LPS points (n, 3) to (s, a, lat) mm: nearest knot, then two steps along the tangent."""
    curve = straight.curve
    _, knot = cKDTree(curve.points).query(points, workers=2)
    s = knot.astype(np.float64)
    for _ in range(2):
        index = np.clip(np.rint(s).astype(int), 0, len(curve.points) - 1)
        s = index + np.einsum("nc,nc->n", points - curve.points[index], curve.axes[index, 0])
    index = np.clip(np.rint(s).astype(int), 0, len(curve.points) - 1)
    offset = points - curve.points[index]
    a = np.einsum("nc,nc->n", offset, curve.axes[index, 1])
    lat = np.einsum("nc,nc->n", offset, curve.axes[index, 2])
    return s, a, lat


def _region(level: Level) -> str:
    name = level.name
    if name[0] != "T":
        return "L" if name[0] == "S" else name[0]
    number = int(name[1:])
    return "upper T" if number <= 3 else "lower T" if number >= 10 else "T"


def assign(straight: Straight, features: Features, reading: Reading, place: Place) -> npt.NDArray[np.int_]:
    """Number of the vertebra (1 = first of the reading, 0 = none) that each (s, a, lat) belongs to, bone or not."""
    s, a, lat = place
    knot = np.clip(np.rint(s).astype(int), 0, len(straight.wall) - 1)
    behind = np.clip(-a - straight.wall[knot], 0.0, None)
    number = np.zeros(len(s), dtype=np.int64)
    edges = [v.start for v in reading.vertebrae] + [reading.vertebrae[-1].stop]
    levels = [v.level for v in reading.vertebrae]
    for n, edge in enumerate(edges):
        level = levels[min(n, len(levels) - 1)]  # the vertebra above this boundary
        plane = _disc_plane(features, edge, a, lat)
        if level == Level.C1 and n < len(levels):
            plane = np.where(_in_dens(a, lat), plane + DENS[3], plane)
        fall = np.minimum(ARCH_FALL[_region(level)] * behind, ARCH_FALL_MAX_MM)
        boundary = np.where(behind > 0, edge + np.minimum(behind, ARCH_RISE_MM) - fall, plane)
        number[s >= boundary] = n + 1
    number[number > len(levels)] = 0
    return number


def _in_dens(a: Array, lat: Array) -> npt.NDArray[np.bool_]:
    return np.asarray((np.abs(lat) <= DENS[0]) & (a >= DENS[1]) & (a <= DENS[2]))


def _disc_plane(features: Features, edge: float, a: Array, lat: Array) -> Array:
    """s of the boundary under each (a, lat): the best template's tilt near the boundary."""
    near = slice(max(int(edge) - 3, 0), int(edge) + 4)
    strength = np.clip(features.disc_wide[near] + features.disc_narrow[near], 0.05, None)
    if not len(strength):
        return np.full(len(a), edge)
    sagittal, coronal = np.average(np.tan(features.tilt[near]), axis=0, weights=strength)
    return np.asarray(edge + np.clip(a, -22.0, 22.0) * sagittal + np.clip(lat, -26.0, 26.0) * coronal)


def _candidates(box: Box, straight: Straight) -> npt.NDArray[np.intp]:
    """Flat indices of voxels whose place can matter: within NEAR_MM of the axis, slice by slice."""
    index = box.index(straight.curve.points)
    z = np.arange(box.hu.shape[2])
    order = np.argsort(index[:, 2])
    x0 = np.interp(z, index[order, 2], index[order, 0])
    y0 = np.interp(z, index[order, 2], index[order, 1])
    inside_z = (z >= index[:, 2].min() - 12) & (z <= index[:, 2].max() + 12)
    x, y = np.arange(box.hu.shape[0]), np.arange(box.hu.shape[1])
    near_x = np.abs(x[:, None] - x0[None, :]) * box.step <= NEAR_MM[0]
    front = -(y[:, None] - y0[None, :]) * box.step
    near_y = (front >= NEAR_MM[1]) & (front <= NEAR_MM[2])
    mask = near_x[:, None, :] & near_y[None, :, :] & inside_z[None, None, :]
    return np.flatnonzero(mask)


def paint(box: Box, straight: Straight, features: Features, reading: Reading) -> Parts:
    """Label every voxel of the box."""
    part = np.zeros(box.hu.shape, dtype=np.uint16)
    threshold = bone_threshold(straight, reading)
    dense = np.asarray(ndimage.gaussian_filter(box.hu, 0.5, truncate=2.0) > threshold)
    flat = _candidates(box, straight)
    close = _close_to_axis(box, straight, flat)
    flat = flat[dense.ravel()[flat] | close]
    points = box.origin + box.step * np.stack(np.unravel_index(flat, box.hu.shape), axis=1)
    s, a, lat = locate(straight, points)
    knot = np.clip(np.rint(s).astype(int), 0, len(straight.wall) - 1)
    wall, canal = straight.wall[knot], straight.canal[knot]
    number = assign(straight, features, reading, (s, a, lat))
    is_dense = dense.ravel()[flat]
    radius = np.sqrt((a / wall) ** 2 + (lat / (2.0 * WIDTH_OF_DEPTH * wall)) ** 2)
    gap = _distance_to_disc(features, reading, s, a, lat) < DISC_HALF_MM
    body = (a >= -wall - 1.5) & (radius <= 1.30)
    tissue = box.hu.ravel()[flat] > AIR_EDGE_HU
    solid = is_dense | ((radius <= CORE) & ~gap & tissue)
    levels = np.array([0.0] + [PROCESS_MM[v.level.name[0]] for v in reading.vertebrae])
    behind = ~body & (np.abs(lat) <= levels[number]) & (a <= -0.3 * wall) & (a >= -canal - 52.0)
    inside_canal = ((a + canal) / np.maximum(canal - wall - 0.5, 4.0)) ** 2 + (lat / CANAL_HALF_WIDTH_MM) ** 2 <= 1.0
    value = np.zeros(len(s), dtype=np.uint16)
    value[(number > 0) & behind & is_dense] = 1
    value[(number > 0) & body & solid] = 2
    codes = np.where(value == 2, 2 * number, np.where(value == 1, 2 * number + 1, 0)).astype(np.uint16)
    codes[inside_canal & ~is_dense & (number > 0)] = 1
    part.ravel()[flat] = codes
    _tidy(part, len(reading.vertebrae))
    return Parts(part, _centres(box, straight, reading, part))


def _close_to_axis(box: Box, straight: Straight, flat: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Voxels that may lie in a body or in the canal: a coarse tube around both."""
    index = box.index(straight.curve.points)
    order = np.argsort(index[:, 2])
    x, y, z = np.unravel_index(flat, box.hu.shape)
    x0 = np.interp(z, index[order, 2], index[order, 0])
    y0 = np.interp(z, index[order, 2], index[order, 1])
    aside, front = np.abs(x - x0) * box.step, -(y - y0) * box.step
    return np.asarray((aside <= 30.0) & (front >= -46.0) & (front <= 24.0))


def _distance_to_disc(features: Features, reading: Reading, s: Array, a: Array, lat: Array) -> Array:
    edges = [v.start for v in reading.vertebrae] + [reading.vertebrae[-1].stop]
    out = np.full(len(s), 99.0)
    for edge in edges:
        near = np.flatnonzero(np.abs(s - edge) < 16.0)
        out[near] = np.minimum(out[near], np.abs(s[near] - _disc_plane(features, edge, a[near], lat[near])))
    return out


def _tidy(part: npt.NDArray[np.uint16], count: int) -> None:
    """One piece a vertebra: fragments that do not touch its largest component are dropped, in place."""
    halves = part // 2
    halves[part == 1] = 0
    for number, where in enumerate(ndimage.find_objects(halves.astype(np.int32), max_label=count), start=1):
        if where is None:
            continue
        own = halves[where] == number
        labels, found = ndimage.label(own)
        if found > 1:
            sizes = np.bincount(labels.ravel())
            sizes[0] = 0
            part[where][own & (labels != int(np.argmax(sizes)))] = 0


def _middles(straight: Straight, reading: Reading) -> Array:
    """s midway between the discs; of the sacrum, of its first segment."""
    low = [max(v.start, v.stop - SACRAL_SEGMENT_MM) if v.level == Level.S else v.start for v in reading.vertebrae]
    s = 0.5 * (np.array(low) + np.array([v.stop for v in reading.vertebrae]))
    return np.asarray(np.clip(s, 0.0, len(straight.curve.points) - 1.0))


def unpainted(straight: Straight, reading: Reading) -> Parts:
    """No labels; centres on the axis."""
    s = _middles(straight, reading)
    return Parts(np.zeros((1, 1, 1), dtype=np.uint16), straight.curve.world(s, 0.0 * s, 0.0 * s))


def _centres(box: Box, straight: Straight, reading: Reading, part: npt.NDArray[np.uint16]) -> Array:
    """LPS mm midway between the discs, in the middle of the labelled body; the sacrum's is that of its first segment.

    The axis is smooth and may leave the middle of a single body; the label knows better across the axis, not along it.
    """
    s = _middles(straight, reading)
    aside = np.zeros((2, len(s)))
    bodies = np.where(part % 2 == 0, part // 2, 0).astype(np.int32)
    for number, where in enumerate(ndimage.find_objects(bodies, max_label=len(s))):
        if where is None or reading.vertebrae[number].level == Level.S:
            continue
        index = np.argwhere(bodies[where] == number + 1) + [axis.start for axis in where]
        offset = box.origin + box.step * index.mean(axis=0) - straight.curve.points[round(s[number])]
        frame = straight.curve.axes[round(s[number])]
        aside[:, number] = np.clip(frame[1:] @ offset, -ASIDE_MM, ASIDE_MM)
    return straight.curve.world(s, aside[0], aside[1])
