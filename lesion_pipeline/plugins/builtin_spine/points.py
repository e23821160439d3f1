"""Names for body centres that somebody else found: the same chain, with points in place of an image.

Misses, extras and unsure regions are allowed for; what is given of one end (an anchor) is believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import VertebralLevel as Level
from lesion_pipeline.plugins.builtin_spine.chain import LONGEST_MM, LOWEST, SACRUM, Evidence, Posterior, State, infer
from lesion_pipeline.plugins.builtin_spine.evidence import all_levels

Array = npt.NDArray[np.float64]

CENTRE_SD_MM = 2.5  # of a centre about the middle of its segment
MISSED = 0.05
EXTRA = 0.03
BORDER_MM = 8.0  # beyond the outermost centres
FORBIDDEN = -60.0
REGIONS = ("cervical", "thoracic", "lumbar")
REGION_FLOOR = 0.02
CURVE_DEGREE = 5
BENT_FROM = 4  # points; even a short lumbar spine is bent
BESIDE_MM = 5.0
NEIGHBOURS = 6
ASTRAY_MM = 15.0  # from the line of its neighbours; a kyphotic spine's end bends away from it by up to this
OFF_SPINE_MM = 18.0  # farther from the curve: not a vertebra of this spine
SAMPLES = 100


@dataclass(frozen=True, slots=True)
class PointName:
    """level: best name of one given point; probability: its share of the posterior."""

    level: Level
    probability: float


def _arclength(points: Array) -> tuple[npt.NDArray[np.intp], Array, npt.NDArray[np.bool_]]:
    """(order from caudal to cranial, s mm in that order, which of them lie on the spine).

    s runs along a smooth curve x(z), y(z) fitted with falling weights for points beside it.
    """
    order = np.argsort(points[:, 2], kind="stable")
    z = points[order, 2]
    middle, half = 0.5 * (z[0] + z[-1]), max(0.5 * (z[-1] - z[0]), 1.0)
    degree = int(np.clip(len(z) // 3, 2 if len(z) >= BENT_FROM else 1, CURVE_DEGREE))
    basis = np.vander((z - middle) / half, degree + 1, increasing=True)
    beside = points[order, :2]
    weight = 1.0 / (1.0 + (_astray(z, beside) / ASTRAY_MM) ** 4)
    off = np.zeros(len(z))
    for _ in range(12):
        root = np.sqrt(weight)[:, None]
        coefficients, *_ = np.linalg.lstsq(basis * root, beside * root, rcond=None)
        off = np.linalg.norm(beside - basis @ coefficients, axis=1)
        weight = 1.0 / (1.0 + (off / BESIDE_MM) ** 4)
    dense = np.linspace(z[0], z[-1], 400)
    curve = np.vander((dense - middle) / half, degree + 1, increasing=True) @ coefficients
    steps = np.sqrt(np.sum(np.diff(curve, axis=0) ** 2, axis=1) + np.diff(dense) ** 2)
    s = np.interp(z, dense, np.concatenate([[0.0], np.cumsum(steps)]))
    return order, s, off <= OFF_SPINE_MM


def _astray(z: Array, beside: Array) -> Array:
    """Distance (n,) mm of each point from the line of its nearest others (medians of slopes and offsets: Theil and Sen).

    The curve alone would bend to a false point at its end.
    """
    out = np.zeros(len(z))
    if len(z) < BENT_FROM:
        return out
    for n, height in enumerate(z):
        others = np.delete(np.arange(len(z)), n)
        near = others[np.argsort(np.abs(z[others] - height), kind="stable")[:NEIGHBOURS]]
        first, second = (near[i] for i in np.triu_indices(len(near), 1))
        rise = z[second] - z[first]
        apart = np.abs(rise) > 1.0
        if not apart.any():
            continue
        slope = np.median((beside[second] - beside[first])[apart] / rise[apart, None], axis=0)
        expected = np.median(beside[near] + slope * (height - z[near])[:, None], axis=0)
        out[n] = float(np.linalg.norm(beside[n] - expected))
    return out


def _segments(s: Array, size: int, regions: Array | None) -> dict[str, Array]:
    """Region -> (D, S + 1) log likelihood of the points inside each segment, against one well-placed point."""
    positions = np.arange(size + 1, dtype=np.float64)
    count = np.searchsorted(s, positions, side="left").astype(np.float64)
    ends = positions[None, :]
    lengths = np.arange(1, LONGEST_MM + 1, dtype=np.float64)[:, None]
    starts = ends - lengths
    inside = count[None, :] - np.interp(starts, positions, count)
    middle = 0.5 * (starts + ends)
    nearest = np.min(np.abs(middle[..., None] - s), axis=2)
    one = -0.5 * (nearest / CENTRE_SD_MM) ** 2 + np.log(1.0 - MISSED)
    base = np.where(inside < 0.5, np.log(MISSED), one + np.log(EXTRA) * np.maximum(inside - 1.0, 0.0))
    base = np.where(starts < 0, LOWEST, base)
    out: dict[str, Array] = {}
    for column, name in enumerate(REGIONS):
        if regions is None:
            out[name] = base
            continue
        worth = np.concatenate([[0.0], np.cumsum(np.log(np.maximum(regions[:, column], REGION_FLOOR)))])
        total = worth[count.astype(int)]
        gained = total[None, :] - np.interp(starts, positions, total)
        out[name] = base + np.where(inside > 0.5, gained, 0.0)
    return out


def name_points(
    centres_lps_mm: npt.ArrayLike,
    region_probability: npt.ArrayLike | None = None,
    anchor: tuple[int, Level] | None = None,
    plans: dict[str, float] | None = None,
) -> tuple[PointName, ...]:
    """Name body centres (n, 3), in the order given.

    region_probability: (n, 3) cervical, thoracic, lumbar. anchor: (index of a point, its level), taken as certain. plans: body
    plans with their weights (model.CHAINS if None). Fewer than two points cannot be named by their distances: ValueError.
    """
    points = np.asarray(centres_lps_mm, dtype=np.float64)
    if len(points) < 2:
        raise ValueError("at least two centres are needed")
    order, along, good = _arclength(points)
    if anchor is not None:
        good[order == anchor[0]] = True
    if good.sum() < 2:
        good[:] = True
    s = along - along[good][0] + BORDER_MM
    size = int(np.ceil(s[good][-1] + BORDER_MM))
    regions = None if region_probability is None else np.asarray(region_probability, dtype=np.float64)[order][good]
    by_region = _segments(s[good], size, regions)
    segment = {level: by_region[level.region].copy() for level in all_levels()}
    states: list[State] = [SACRUM, *segment]
    nothing: Array = np.arange(size + 1, dtype=np.float64) * FORBIDDEN
    # a detector may fire on sacral segments below the last lumbar vertebra
    below = np.searchsorted(s[good], np.arange(size + 1, dtype=np.float64), side="left")
    sacral: Array = float(np.log(EXTRA)) * below.astype(np.float64)
    if anchor is not None:
        _fix(segment, sacral, float(s[int(np.flatnonzero(order == anchor[0])[0])]), anchor[1])
    evidence = Evidence(segment, {state: np.zeros(size + 1) for state in states}, sacral, nothing, size)
    names = _names(infer(evidence, plans, SAMPLES), s)
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return tuple(names[n] for n in back)


def _fix(segment: dict[Level, Array], sacral: Array, at: float, level: Level) -> None:
    """Whatever holds the anchor's place must be the anchor's level: no other vertebra, nor the sacrum."""
    ends = np.arange(len(sacral))[None, :]
    sacral[ends[0] > at] += FORBIDDEN
    starts = ends - np.arange(1, LONGEST_MM + 1)[:, None]
    holds = (starts <= at) & (ends > at)
    for other, table in segment.items():
        if other is not level:
            table[holds] += FORBIDDEN


def _names(posterior: Posterior, s: Array) -> list[PointName]:
    """Most frequent level at each position over the samples."""
    votes: list[dict[Level, int]] = [{} for _ in s]
    for _, _, pieces in posterior.samples:
        for n, position in enumerate(s):
            holder = next((p.state for p in pieces if p.start <= position < p.stop), None)
            if isinstance(holder, Level):
                votes[n][holder] = votes[n].get(holder, 0) + 1
    out = []
    for vote in votes:
        best = max(vote, key=lambda level: (vote[level], -level), default=Level.L5)
        out.append(PointName(best, vote.get(best, 0) / len(posterior.samples)))
    return out
