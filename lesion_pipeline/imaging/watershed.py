"""Peaks, the saddles between them, and the basins that drain to each: what decides whether uptake is one lesion or two.

Everything happens inside the bounding box of one connected uptake. Every local maximum first gets a basin; the graph of the
basins, with the highest saddle on each border, then holds all that a merge needs, so nothing is flooded twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import watershed as flood

from lesion_pipeline.imaging.components import Mask, label

Image = npt.NDArray[np.float32]
Basins = npt.NDArray[np.int32]

# one of each pair of opposite neighbours in the 26-neighbourhood
_HALF = [(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if (a, b, c) > (0, 0, 0)]


@dataclass(frozen=True, slots=True)
class Peak:
    """A local maximum of the smoothed uptake: its label, index (3,) in the box and height."""

    label: int
    index: tuple[int, int, int]
    height: float


@dataclass(frozen=True, slots=True, eq=False)
class Relief:
    """Basins (int32, 0 outside the mask, label n = peaks[n - 1]) and the saddles {(a, b): height}, a < b."""

    basins: Basins
    peaks: tuple[Peak, ...]
    saddles: dict[tuple[int, int], float]


def relief(smoothed: Image, mask: Mask) -> Relief:
    """Basins of every local maximum of ``smoothed`` inside ``mask``, and the highest saddle between neighbours.

    Plateaus count as one peak. Both arrays are (ni, nj, nk) of one box; 26-neighbourhood throughout.
    """
    masked = np.where(mask, smoothed, -np.inf).astype(np.float32)
    top = (ndimage.maximum_filter(masked, size=3, mode="constant", cval=-np.inf) == masked) & mask
    labels, count = label(top, 26)
    markers = labels.astype(np.int32)
    if count == 1:
        basins = mask.astype(np.int32)
    else:
        flooded = flood(-smoothed, markers, connectivity=np.ones((3, 3, 3)), mask=mask)  # type: ignore[no-untyped-call]  # unannotated
        basins = np.asarray(flooded, dtype=np.int32)
    where = np.flatnonzero(markers)
    first: dict[int, int] = {}
    for flat, value in zip(where, markers.reshape(-1)[where], strict=True):
        first.setdefault(int(value), int(flat))
    peaks = []
    for value in range(1, count + 1):
        i, j, k = (int(x) for x in np.unravel_index(first[value], mask.shape))
        peaks.append(Peak(value, (i, j, k), float(smoothed[i, j, k])))
    return Relief(basins, tuple(peaks), _saddles(smoothed, basins) if count > 1 else {})


def _saddles(smoothed: Image, basins: Basins) -> dict[tuple[int, int], float]:
    """Highest pass between every two neighbouring basins: the maximum over touching voxels of the lower of the two."""
    pairs: list[npt.NDArray[np.int64]] = []
    passes: list[Image] = []
    count = int(basins.max()) + 1
    for shift in _HALF:
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, basins.shape, strict=True))
        there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, basins.shape, strict=True))
        a, b = basins[here], basins[there]
        border = (a != b) & (a > 0) & (b > 0)
        if not border.any():
            continue
        one, two = a[border].astype(np.int64), b[border].astype(np.int64)
        pairs.append(np.minimum(one, two) * count + np.maximum(one, two))
        passes.append(np.minimum(smoothed[here][border], smoothed[there][border]))
    if not pairs:
        return {}
    keys, inverse = np.unique(np.concatenate(pairs), return_inverse=True)
    best = np.full(len(keys), -np.inf, dtype=np.float64)
    np.maximum.at(best, inverse, np.concatenate(passes))
    return {(int(key // count), int(key % count)): float(value) for key, value in zip(keys, best, strict=True)}


@dataclass(frozen=True, slots=True)
class Pass:
    """Two groups of basins about to be joined: the label of the higher and of the lower peak, and the saddle between them.

    ratio: saddle / lower peak, 1 where the two cannot be told apart.
    """

    high: Peak
    low: Peak
    saddle: float

    @property
    def ratio(self) -> float:
        return min(1.0, self.saddle / self.low.height) if self.low.height > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Merging:
    """Outcome of a merge: group[n - 1] is the peak label that basin n ended in; kept: the passes that stayed closed."""

    group: tuple[int, ...]
    kept: tuple[Pass, ...]


def merge(relief_: Relief, joins: Callable[[Pass], bool]) -> Merging:
    """Join basins over their saddles, highest saddle first, wherever ``joins`` says so; the higher peak gives its name.

    A pass that ``joins`` refuses stays closed for its two groups; it is reported once, by its highest saddle.
    """
    root = list(range(len(relief_.peaks) + 1))

    def find(label: int) -> int:
        while root[label] != label:
            root[label] = root[root[label]]
            label = root[label]
        return label

    closed: dict[tuple[int, int], Pass] = {}
    for (a, b), saddle in sorted(relief_.saddles.items(), key=lambda item: (-item[1], item[0])):
        one, two = relief_.peaks[find(a) - 1], relief_.peaks[find(b) - 1]
        if one.label == two.label:
            continue
        high, low = (one, two) if (one.height, -one.label) >= (two.height, -two.label) else (two, one)
        candidate = Pass(high, low, saddle)
        if joins(candidate):
            root[low.label] = high.label
        else:
            closed.setdefault((high.label, low.label), candidate)
    group = tuple(find(n) for n in range(1, len(relief_.peaks) + 1))
    kept: dict[tuple[int, int], Pass] = {}
    for item in closed.values():
        one, two = relief_.peaks[find(item.high.label) - 1], relief_.peaks[find(item.low.label) - 1]
        if one.label == two.label:
            continue
        high, low = (one, two) if (one.height, -one.label) >= (two.height, -two.label) else (two, one)
        kept.setdefault((high.label, low.label), Pass(high, low, item.saddle))
    return Merging(group, tuple(kept.values()))


def waist(
    relief_: Relief,
    smoothed: Image,
    groups: tuple[Iterable[int], Iterable[int]],
    level: float,
    spacing_mm: Iterable[float],
) -> tuple[float, float]:
    """How narrow the bridge between two groups of basins is: (contact area / cross-section of the smaller, its volume in mm3).

    Both groups are taken where ``smoothed`` is at least ``level``. The cross-section is that of a sphere of the smaller group's
    volume: two touching balls give less than 0.5, two halves of one mass about 1. (0, volume) where they do not touch.
    """
    above = smoothed >= level
    sides = [np.isin(relief_.basins, list(group)) & above for group in groups]
    spacing = np.array(list(spacing_mm))
    contact = 0.0
    for axis in range(3):
        here, there = [slice(None)] * 3, [slice(None)] * 3
        here[axis], there[axis] = slice(0, -1), slice(1, None)
        a, b = (side[tuple(here)] for side in sides)
        c, d = (side[tuple(there)] for side in sides)
        contact += float(((a & d) | (b & c)).sum()) * float(np.prod(np.delete(spacing, axis)))
    volume = float(min(side.sum() for side in sides)) * float(np.prod(spacing))
    if volume == 0:
        return 0.0, 0.0
    radius = (3.0 * volume / (4.0 * np.pi)) ** (1.0 / 3.0)
    return contact / (np.pi * radius**2), volume
