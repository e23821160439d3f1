"""Does the image agree with its header about front and back, head and feet?

The canal lies in the back half of the body. In front of it lies a column without a gap (bodies and discs), behind it spinous
processes with fat between them; ribs fall caudally on their way out. Left and right look alike in a spine: that mirror image
is for the organs to notice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesion_pipeline.plugins.builtin_spine.canal import CanalPath, body_outline
from lesion_pipeline.plugins.builtin_spine.resample import Box
from lesion_pipeline.plugins.builtin_spine.ribs import STARTS_MM, Ribs
from lesion_pipeline.plugins.builtin_spine.straighten import Straight

Floats = npt.NDArray[np.float32]

COLUMN_MM = (1.0, 15.0)  # in front of the posterior wall
PROCESSES_MM = (10.0, 26.0)  # behind the centre of the canal
MIDLINE_MM = 6.0
GAPS_PERCENTILE = 20
COLUMN_LOWER_HU = -30.0
NEAR_CANAL_MM = 90.0
#: The canal lies at 0.6 to 0.8 of the body's depth, in the neck at 0.5; at 0.24 to 0.38 where front and back are exchanged.
CANAL_IN_FRONT = 0.43
ENOUGH_RIBS = 8
#: (from this many ribs on, slope from which they rise): eight may be the nearly level upper ones of a bent neck, which rose by
#: up to 0.19; of twelve some are lower ones: the medians lay at -0.09 and below in 79 real and simulated CTs and crops.
RISING_RIBS = ((12, 0.08), (ENOUGH_RIBS, 0.25))


def column_surplus(straight: Straight, hu: Floats) -> float:
    """HU by which the gaps of the column in front are denser than the gaps behind; negative means back to front."""
    offsets = straight.a[None, :]
    columns = straight.column((0.0, MIDLINE_MM))
    ahead = (offsets >= -straight.wall[:, None] + COLUMN_MM[0]) & (offsets <= -straight.wall[:, None] + COLUMN_MM[1])
    behind = (offsets <= -straight.canal[:, None] - PROCESSES_MM[0]) & (offsets >= -straight.canal[:, None] - PROCESSES_MM[1])
    middle = hu[:, :, columns].mean(axis=2)
    lows = []
    for window in (ahead, behind):
        means = (middle * window).sum(axis=1) / np.maximum(window.sum(axis=1), 1)
        lows.append(float(np.percentile(means[straight.seen], GAPS_PERCENTILE)))
    return lows[0] - lows[1]


def ribs_rise(ribs: Ribs) -> bool | None:
    """Whether the ribs followed from the side rise on their way out, by the median slope ds/d|lat| of their steeper half; None
    for too few. In every person they fall: the upper ones little, the lower ones steeply.
    """
    slopes = sorted((t.slope for t in ribs.tracks if t.start >= STARTS_MM[0]), key=abs)
    limit = next((slope for count, slope in RISING_RIBS if len(slopes) >= count), None)
    return None if limit is None else float(np.median(slopes[len(slopes) // 2 :])) > limit


def canal_depth(coarse: Box, path: CanalPath) -> float:
    """Where the canal lies between the front (0) and the back (1) of the body near it: the median over its slices."""
    outline = body_outline(coarse)
    if outline is None:
        return 1.0
    reach = round(NEAR_CANAL_MM / (2.0 * coarse.step))
    shares = []
    for x, y, z in coarse.index(path.points) / 2.0:
        columns = slice(max(round(x) - reach, 0), round(x) + reach + 1)
        rows = np.flatnonzero(outline[columns, :, min(round(z), outline.shape[2] - 1)].any(axis=0))
        if len(rows):
            shares.append((y - rows[0]) / max(rows[-1] - rows[0], 1))
    return float(np.median(shares)) if shares else 1.0


def doubts(straight: Straight, hu: Floats, ribs: Ribs, depth: float) -> tuple[str, ...]:
    """Sentences about what contradicts the header; empty where nothing does. depth: of the canal, as ``canal_depth`` says."""
    out: list[str] = []
    if depth < CANAL_IN_FRONT or column_surplus(straight, hu) < COLUMN_LOWER_HU:
        out.append("the spine lies back to front")
    if ribs_rise(ribs):
        out.append("the ribs rise toward the side, as if head and feet were exchanged")
    return tuple(out)
