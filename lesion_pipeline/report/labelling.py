"""Where the numbers go on a picture, so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_DIRECTIONS = ((1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, -1), (0, 1))
_GAP_PX = 3


@dataclass(frozen=True, slots=True)
class Box:
    """Pixels left..right, top..bottom; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: Box) -> bool:
        """True when the two share a pixel."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def within(self, other: Box) -> bool:
        """True when no pixel lies outside the other."""
        return self.left >= other.left and self.top >= other.top and self.right <= other.right and self.bottom <= other.bottom

    @property
    def centre(self) -> tuple[float, float]:
        return ((self.left + self.right) / 2, (self.top + self.bottom) / 2)


def place_labels(
    targets: Sequence[Box], sizes: Sequence[tuple[int, int]], canvas: Box, busy: npt.NDArray[np.bool_], margins: Sequence[Box]
) -> list[Box | None]:
    """One box a target, in the order given (first come, best place), none overlapping another.

    sizes: (width, height) of each label. busy: bool (rows, columns) of the canvas, pixels better left visible; a box over
    them is taken only when nothing nearer is free. margins: strips beside the image for what finds no place inside it.
    None where there is no room left.
    """
    coverage = np.pad(busy.cumsum(axis=0, dtype=np.int64).cumsum(axis=1), ((1, 0), (1, 0)))
    placed: list[Box] = []
    out: list[Box | None] = []
    for target, size in zip(targets, sizes, strict=True):
        near = [
            (_cost(box, target, coverage), n, box)
            for n, box in enumerate(_around(target, size))
            if box.within(canvas) and not any(box.overlaps(p) for p in placed)
        ]
        # a label that would hide more than a third of its own area of lesions is better off in the margin
        best = min(near, default=None)
        box = best[2] if best is not None and best[0] < 1000.0 else _in_margin(target, size, margins, placed)
        if box is None and best is not None:
            box = best[2]
        out.append(box)
        if box is not None:
            placed.append(box)
    return out


def _around(target: Box, size: tuple[int, int]) -> list[Box]:
    width, height = size
    x, y = target.centre
    half_w, half_h = (target.right - target.left) / 2, (target.bottom - target.top) / 2
    boxes = []
    for ring in range(5):
        away = _GAP_PX + ring * height
        for dx, dy in _DIRECTIONS:
            left = round(x + dx * (half_w + away + width / 2) - width / 2)
            top = round(y + dy * (half_h + (away if dx == 0 else ring * height) + height / 2) - height / 2)
            boxes.append(Box(left, top, left + width, top + height))
    return boxes


def _cost(box: Box, target: Box, coverage: npt.NDArray[np.int64]) -> float:
    hidden = (
        coverage[box.bottom, box.right]
        - coverage[box.top, box.right]
        - coverage[box.bottom, box.left]
        + coverage[box.top, box.left]
    )
    share = float(hidden) / ((box.right - box.left) * (box.bottom - box.top))
    (x, y), (u, v) = box.centre, target.centre
    # beside rather than above: the next vertebra is above
    return float(np.hypot(x - u, 2.0 * (y - v))) + 400.0 * share + (1000.0 if share > 0.34 else 0.0)


def _in_margin(target: Box, size: tuple[int, int], margins: Sequence[Box], placed: Sequence[Box]) -> Box | None:
    width, height = size
    free = []
    for margin in margins:
        if width > margin.right - margin.left:
            continue
        near_left = margin.centre[0] < target.centre[0]
        left = margin.right - width if near_left else margin.left
        for top in range(margin.top, margin.bottom - height + 1, 2):
            box = Box(left, top, left + width, top + height)
            if not any(box.overlaps(p) for p in placed):
                free.append((float(np.hypot(box.centre[0] - target.centre[0], 3 * (box.centre[1] - target.centre[1]))), box))
    return min(free, key=lambda item: item[0], default=(0.0, None))[1]
