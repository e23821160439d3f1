"""Ribs followed from the side toward the spine, one step of lat at a time.

Going medially, a rib stays one separate blob until it reaches its own vertebra; connected components would merge ribs with
transverse processes, with each other and with the shoulder. What starts close to the spine is a short last rib if it slopes
caudally outward, else a transverse process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.plugins.builtin_spine.resample import AIR_HU
from lesion_pipeline.plugins.builtin_spine.straighten import STEP_MM, Straight

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

BONE_HU = 150.0
STARTS_MM = (58.5, 46.5, 36.0)
END_MM = 28.5
AREA_MM2 = (12.0, 700.0)
CAPTURE_MM = 6.0
GAP_MM = 6.0
SHORT_RIB_SLOPE = -0.25  # mm of s per mm of |lat|; a transverse process is level or rises outward
SAME_MM = 7.0
REACH_CAUDAL_MM = 16.0  # a rib falls this much between its vertebra and |lat| = 58


@dataclass(frozen=True, slots=True)
class Track:
    """One rib or process. side: -1 right, +1 left. s: mm where it meets |lat| = 28.5; start: |lat| mm where it was first seen;
    slope: ds/d|lat|; rib: False for a transverse process; weight: how much of a rib it is, 0..1; out: (s, a) mm at ``start``.
    """

    side: int
    s: float
    start: float
    slope: float
    rib: bool
    weight: float
    out: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Tip:
    """length: mm of a rib beyond |lat| 58.5; open: it left the field of view there, so it is at least that long."""

    length: float
    open: bool


@dataclass(frozen=True, slots=True, eq=False)
class Ribs:
    """tracks; tips: of each track, None where not followed (empty: of none); visible (2, S): for the right and the left side, 1
    where a rib of that s would lie inside the field of view."""

    tracks: tuple[Track, ...]
    visible: Array
    tips: tuple[Tip | None, ...] = ()

    def of(self, side: int, rib: bool = True) -> Array:
        """Positions s (mm), ascending, of the ribs (or processes) of one side."""
        return np.array(sorted(t.s for t in self.tracks if t.side == side and t.rib is rib))


def find_ribs(straight: Straight, hu: Floats) -> Ribs:
    """Ribs and transverse processes of both sides."""
    tracks: list[Track] = []
    visible = np.stack([_visible(straight, side) for side in (-1, 1)])
    for side in (-1, 1):
        found: list[Track] = []
        for start in STARTS_MM:
            for track in _tracks_from(straight, hu, side, start):
                if all(abs(track.s - other.s) > SAME_MM for other in found):
                    found.append(track)
        tracks += found
    return Ribs(tuple(tracks), visible)


def _visible(straight: Straight, side: int) -> Array:
    """(S,) whether the stretch |lat| 28..58 mm behind the body lies inside the CT, here and where the rib has fallen to."""
    rows = np.flatnonzero((straight.a >= -45.0) & (straight.a <= -15.0))
    columns = [int(np.argmin(np.abs(straight.lat - side * mm))) for mm in (30.0, 58.5)]
    inside = (straight.hu[:, rows][:, :, columns] > AIR_HU + 0.5).mean(axis=(1, 2)) > 0.6
    lower = np.zeros_like(inside)
    fall = int(REACH_CAUDAL_MM)
    lower[fall:] = inside[:-fall]
    return np.asarray(inside & lower, dtype=np.float64)


def _slab(straight: Straight, hu: Floats, side: int, lateral: float) -> Floats:
    column = int(np.argmin(np.abs(straight.lat - side * lateral)))
    return np.asarray(hu[:, :, column])


def _tracks_from(straight: Straight, hu: Floats, side: int, start: float) -> list[Track]:
    slab = _slab(straight, hu, side, start) > BONE_HU
    labels, count = ndimage.label(ndimage.binary_opening(slab, structure=np.ones((2, 1))))
    if not count:
        return []
    areas = np.bincount(labels.ravel())[1:] * STEP_MM
    centres = ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))
    out: list[Track] = []
    for area, (s, row) in zip(areas, centres, strict=True):
        if AREA_MM2[0] <= area <= AREA_MM2[1]:
            track = _follow(straight, hu, side, start, np.array([s, straight.a[0] + STEP_MM * row]))
            if track is not None:
                out.append(track)
    out.sort(key=lambda t: t.s)
    return _merge(out)


def _merge(tracks: list[Track]) -> list[Track]:
    """Two tracks that end in one place are one rib."""
    out: list[Track] = []
    for track in tracks:
        if not out or track.s - out[-1].s > SAME_MM:
            out.append(track)
    return out


def _follow(straight: Straight, hu: Floats, side: int, start: float, at: Array) -> Track | None:
    """Mean shift from slab to slab with a predicted position; None if it is lost on the way."""
    velocity = np.array([0.35, 0.25]) * STEP_MM  # cranial and anterior on the way to the spine
    missed = 0.0
    positions = [at.copy()]
    for lateral in np.arange(start - STEP_MM, END_MM - 0.1, -STEP_MM):
        predicted = at + velocity
        found = _capture(_slab(straight, hu, side, float(lateral)), straight, predicted)
        if found is None:
            missed += STEP_MM
            at = predicted
            if missed > GAP_MM:
                return None
        else:
            missed = 0.0
            velocity = np.clip(0.75 * velocity + 0.25 * (found - at), -1.8, 1.8)
            at = found
        positions.append(at.copy())
    if missed or not 0 <= at[0] < len(straight.hu):
        return None
    path = np.array(positions)
    span = max(start - END_MM, STEP_MM)
    slope = float((path[0, 0] - path[-1, 0]) / span)
    behind = -at[1] - straight.wall[int(at[0])]
    if not -12.0 <= behind <= 45.0:
        return None
    beyond = _slab(straight, hu, side, STARTS_MM[0])[int(at[0])]
    hidden = bool((beyond[straight.a > -45.0] <= AIR_HU + 0.5).mean() > 0.5)
    rib = start >= STARTS_MM[0] or (start >= STARTS_MM[1] and slope < SHORT_RIB_SLOPE)
    first = (float(path[0, 0]), float(path[0, 1]))
    return Track(side, float(at[0]), start, slope, rib, _weight(start, slope, hidden), first)


def _weight(start: float, slope: float, hidden: bool) -> float:
    """1 for a rib followed from the side, little for what starts near the spine; hidden: its side lies outside the CT."""
    if start >= STARTS_MM[0]:
        return 1.0
    if start >= STARTS_MM[1]:
        return 0.85 if slope < SHORT_RIB_SLOPE else 0.65 if hidden else 0.15
    return 0.45 if slope < SHORT_RIB_SLOPE else 0.05


def _capture(slab: Floats, straight: Straight, predicted: Array) -> Array | None:
    """Centroid of the bone within reach of the predicted (s, a), in two steps of mean shift; None without bone."""
    at = predicted
    for radius in (CAPTURE_MM, CAPTURE_MM - 1.0):
        low = max(int(at[0] - radius), 0)
        part = slab[low : int(at[0] + radius) + 1]
        row = round((at[1] - straight.a[0]) / STEP_MM)
        half = int(radius / STEP_MM)
        first = max(row - half, 0)
        window = part[:, first : row + half + 1]
        if not window.size:
            return None
        weight = np.clip(window - BONE_HU, 0.0, 300.0).astype(np.float64)
        total = weight.sum()
        if np.count_nonzero(weight) < 4:
            return None
        s = low + (weight.sum(axis=1) @ np.arange(window.shape[0])) / total
        a = straight.a[0] + STEP_MM * (first + (weight.sum(axis=0) @ np.arange(window.shape[1])) / total)
        at = np.array([s, a])
    return at
