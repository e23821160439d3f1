"""Where a rib ends: the last rib stops behind the flank, the one before it goes on to the side and beyond.

A count of ribs from below cannot tell a twelfth pair from an eleventh that is the last; how far the last one reaches can, a
little. Ribs are followed outward from the spine through the whole CT, ball by ball.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lesion_pipeline.plugins.builtin_spine.resample import AIR_HU, Box
from lesion_pipeline.plugins.builtin_spine.ribs import STARTS_MM, Ribs, Tip, Track
from lesion_pipeline.plugins.builtin_spine.straighten import Straight

Array = npt.NDArray[np.float64]

STEP_OUT_MM = 4.0
BALL_MM = 9.0
BONE_HU = 110.0  # partial volume at 3 mm thins a rib
LOST_STEPS = 4
LONGEST_MM = 300.0
LEAST_MM = 1.0
TURN = 0.3
RIB_WEIGHT = 0.4


def with_tips(box: Box, straight: Straight, ribs: Ribs) -> Ribs:
    """The ribs with their lengths; what is hardly a rib has none. ``box``: the whole CT at about 3 mm."""
    tips = tuple(follow_out(box, straight, t) if t.rib and t.weight >= RIB_WEIGHT else None for t in ribs.tracks)
    return replace(ribs, tips=tips)


def follow_out(box: Box, straight: Straight, track: Track) -> Tip:
    """From where the track was first seen, outward to the end of bone or of the field of view."""
    curve = straight.curve
    knot = int(np.clip(round(track.s), 0, len(curve.points) - 1))
    frame = curve.axes[knot]
    at = curve.points[knot] + frame.T @ np.array([track.out[0] - knot, track.out[1], track.side * track.start])
    heading = frame.T @ np.array([min(track.slope, 0.0), -0.1, float(track.side)])
    heading /= np.linalg.norm(heading)
    ball = _ball(box.step)
    length, lost, last = min(track.start - STARTS_MM[0], 0.0), 0, at
    while length < LONGEST_MM and lost < LOST_STEPS:
        target = at + STEP_OUT_MM * heading
        found = _bone(box, ball, target)
        if found is None:
            return Tip(max(length, 0.0), True)
        moved = found - last
        # no bone, or the end seen once more from beyond it
        if not np.isfinite(found).all() or float(heading @ moved) < LEAST_MM:
            lost, at = lost + 1, target
            continue
        lost, at, last = 0, found, found
        step = float(np.linalg.norm(moved))
        length += step
        heading = (1.0 - TURN) * heading + TURN * moved / step
        heading /= np.linalg.norm(heading)
    return Tip(max(length, 0.0), False)


def _ball(step: float) -> npt.NDArray[np.int_]:
    reach = int(BALL_MM / step)
    cube = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(cube[np.sum((cube * step) ** 2, axis=1) <= BALL_MM**2])


def _bone(box: Box, ball: npt.NDArray[np.int_], target: Array) -> Array | None:
    """Centroid of bone in the ball (NaN: none); None where most of the ball lies outside the CT."""
    index = np.rint(box.index(target)).astype(int) + ball
    inside = np.all((index >= 0) & (index < np.array(box.hu.shape)), axis=1)
    if inside.mean() < 0.6:
        return None
    index = index[inside]
    values = box.hu[index[:, 0], index[:, 1], index[:, 2]]
    if (values <= AIR_HU + 0.5).mean() > 0.5:
        return None
    weight = np.clip(values - BONE_HU, 0.0, 250.0).astype(np.float64)
    if np.count_nonzero(weight) < 3:
        return np.full(3, np.nan)
    return np.asarray(box.origin + box.step * (weight @ index) / weight.sum())
