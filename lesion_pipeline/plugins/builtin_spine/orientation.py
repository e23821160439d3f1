"""Does the image agree with its header about front and back, head and feet?

In front of the canal lies a column without a gap (bodies and discs), behind it spinous processes with fat between them; ribs
fall caudally on their way out. Left and right look alike in a spine: that mirror image is for the organs to notice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesion_pipeline.plugins.builtin_spine.ribs import STARTS_MM, Ribs
from lesion_pipeline.plugins.builtin_spine.straighten import Straight

Floats = npt.NDArray[np.float32]

COLUMN_MM = (1.0, 15.0)  # in front of the posterior wall
PROCESSES_MM = (10.0, 26.0)  # behind the centre of the canal
MIDLINE_MM = 6.0
GAPS_PERCENTILE = 20
COLUMN_LOWER_HU = -30.0
RISING_RIBS = 0.25
ENOUGH_RIBS = 8


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


def rib_slope(ribs: Ribs) -> float | None:
    """Median ds/d|lat| of the steeper half of the ribs followed from the side; None for too few. Negative in every person.

    The upper ribs are nearly level and may rise a little in a bent neck; the lower ones fall steeply.
    """
    slopes = sorted((t.slope for t in ribs.tracks if t.start >= STARTS_MM[0]), key=abs)
    return float(np.median(slopes[len(slopes) // 2 :])) if len(slopes) >= ENOUGH_RIBS else None


def doubts(straight: Straight, hu: Floats, ribs: Ribs) -> tuple[str, ...]:
    """Sentences about what contradicts the header; empty where nothing does."""
    out: list[str] = []
    if column_surplus(straight, hu) < COLUMN_LOWER_HU:
        out.append("the spine lies back to front")
    slope = rib_slope(ribs)
    if slope is not None and slope > RISING_RIBS:
        out.append("the ribs rise toward the side, as if head and feet were exchanged")
    return tuple(out)
