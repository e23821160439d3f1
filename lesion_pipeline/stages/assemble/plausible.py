"""Are the voxels of a PET those of a PET? Damage that a decoder cannot see: holes, spikes and levels one slice thick.

A scanner's point spread (4 to 7 mm FWHM) is wider than its slices, so no voxel can be empty, or many times brighter, between
two slices that both say otherwise. In real whole-body PET the brightest voxel at an empty one's two neighbours is 0.1 % of the
image's 99.9th percentile, and no voxel exceeds the brighter of its two neighbours by more than 7.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import InputError

#: An empty run of RUN_VOXELS along a row whose neighbours all exceed this share of the 99.9th percentile is a hole.
HOLE_SHARE = 0.02
RUN_VOXELS = 6
#: A single voxel is odd when it, or else both its neighbours, exceed this share ...
BRIGHT_SHARE = 0.2
#: ... and it is empty, or this many times brighter than both neighbours.
SPIKE_RATIO = 20.0
#: That many odd voxels in one slice are damage; fewer are told.
DAMAGE_VOXELS = 4

#: A slice's median ratio to its neighbours is 0.94 to 1.04 in real whole-body PET with several beds. A slice that exceeds the
#: brighter neighbour, or stays below the darker one, by LEVEL_TOLD is told; by LEVEL_LIMIT, its slope is not believed.
LEVEL_TOLD = 1.15
LEVEL_LIMIT = 1.5
LEVEL_LIMIT_AT_ENDS = 3.0
LEVEL_VOXELS = 50

Image = npt.NDArray[np.float32]


def _bright(values: npt.NDArray[np.float32]) -> float:
    """About the 99.9th percentile, from at most two million voxels."""
    flat = values.reshape(-1, order="A")
    return float(np.percentile(flat[:: flat.size // 2_000_000 + 1], 99.9))


def _has_run(mask: npt.NDArray[np.bool_]) -> bool:
    """Is there a run of RUN_VOXELS along the first axis (a row of the stored image)?"""
    if mask.shape[0] < RUN_VOXELS or not mask.any():
        return False
    return bool(np.lib.stride_tricks.sliding_window_view(mask, RUN_VOXELS, axis=0).all(axis=-1).any())


def _level(here: Image, below: Image, above: Image, least: float) -> float:
    """How far a slice leaves what lies between its neighbours: above 1 brighter than both, below 1 darker than both.

    Median over the voxels where both neighbours exceed ``least``; the edge of the body, where slices fade, gives 1.
    """
    darker, brighter = np.minimum(below, above), np.maximum(below, above)
    both = darker > least
    if np.count_nonzero(both) < LEVEL_VOXELS:
        return 1.0
    up, down = float(np.median(here[both] / brighter[both])), float(np.median(here[both] / darker[both]))
    return up if up > 1 else min(down, 1.0)


def _is_calm(here: Image, darker: Image, brighter: Image, bright: float) -> bool:
    """True when ``_is_damaged`` and ``_level`` can say nothing of a slice: most slices, told by counts instead of medians.

    A median ratio exceeds a limit when half of the ratios do; half less one, so that rounding can never hide a slice.
    """
    both = darker > HOLE_SHARE * bright
    half = np.count_nonzero(both) // 2 - 1
    spikes = here > np.maximum(SPIKE_RATIO * brighter, BRIGHT_SHARE * bright)
    if spikes.any() or (both & (here == 0)).any():
        return False
    up = np.count_nonzero(both & (here >= np.float32(LEVEL_TOLD) * brighter))
    down = np.count_nonzero(both & (here * np.float32(LEVEL_TOLD) <= darker))
    return bool(max(up, down) < half or 2 * half + 3 < LEVEL_VOXELS)


def _is_damaged(here: Image, below: Image, above: Image, bright: float) -> tuple[str, int]:
    """(what is wrong with a slice or "", number of single odd voxels)."""
    darker, brighter = np.minimum(below, above), np.maximum(below, above)
    empty = here == 0
    spikes = (here > BRIGHT_SHARE * bright) & (here > SPIKE_RATIO * brighter)
    odd = int(spikes.sum()) + int((empty & (darker > BRIGHT_SHARE * bright)).sum())
    if odd >= DAMAGE_VOXELS or _has_run(empty & (darker > HOLE_SHARE * bright)):
        return "a slice holds voxels that are empty or glaring between slices that say otherwise", odd
    return "", odd


def check_pet(values: npt.NDArray[np.float32], series: str, stage: str) -> list[Caveat]:
    """Caveats PIXEL_OUTLIERS (single odd voxels) and SLICE_JUMP (a slice brighter or darker than its neighbours) of a PET.

    values: (ni, nj, nk). Raises InputError (CORRUPT_PIXELS) when a slice holds a hole, several odd voxels, or is scaled
    differently from its neighbours. The first and the last slice are judged by their level against one neighbour only.
    """
    bright = _bright(values)
    count = values.shape[2]
    if bright <= 0 or count < 3:
        return []
    odd, jumps = 0, 0
    for k in range(count):
        here, below, above = (values[:, :, n] for n in (k, k - 1 if k else 1, k + 1 if k + 1 < count else count - 2))
        at_end = k in {0, count - 1}
        if not at_end and _is_calm(here, np.minimum(below, above), np.maximum(below, above), bright):
            continue
        wrong, single = ("", 0) if at_end else _is_damaged(here, below, above, bright)
        level = _level(here, below, above, HOLE_SHARE * bright)
        limit = LEVEL_LIMIT_AT_ENDS if at_end else LEVEL_LIMIT
        if level > limit or (level < 1 / limit and not at_end):  # scanners may leave the last slices empty
            wrong = f"a slice is {level:.2f} times as bright as its neighbours"
        if wrong:
            raise InputError("CORRUPT_PIXELS", wrong, series=series, advice="Copy or export the series again.")
        odd += single
        jumps += not (at_end or 1 / LEVEL_TOLD <= level <= LEVEL_TOLD)
    found = []
    if odd:
        text = f"{odd} voxels are empty or glaring between slices that say otherwise"
        found.append(Caveat("PIXEL_OUTLIERS", stage, text, series))
    if jumps:
        found.append(Caveat("SLICE_JUMP", stage, f"{jumps} slices are brighter or darker than their neighbours", series))
    return found
