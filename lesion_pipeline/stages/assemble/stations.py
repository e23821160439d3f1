"""Several stations of one spine MR: the image that was composed of them is used, or else each of them where it lies.

Stations are never blended into one volume: each has its own scaling and coil sensitivity, and signs in MR are ratios to normal
marrow of the same station. Whoever matches lesions asks every MR volume that covers a lesion.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.study import SeriesRole
from lesion_pipeline.stages.assemble.choose import STAGE, Choice, grid_of
from lesion_pipeline.stages.assemble.kinds import Candidate

#: Words in ImageType of an image that was put together from stations (Siemens, Philips, GE and others).
_COMPOSED = ("COMPOS", "STITCH", "PASTED", "MOBIVIEW", "FUSED_STATIONS")
_SAME_DIRECTION = 0.02
#: A station lies inside a composed image when at most this much of it (mm) sticks out: composing crops and resamples.
_STICKS_OUT_MM = 15.0
_NEXT_MM = 10.0  # stations that leave a wider gap between them are not of one examination


def is_composed(candidate: Candidate) -> bool:
    return any(word.startswith(mark) for word in candidate.stack.head.image_type for mark in _COMPOSED)


def _kind(candidate: Candidate) -> tuple[object, ...]:
    """What stations of one examination share."""
    mr, head = candidate.mr, candidate.stack.head
    label = () if mr is None else (mr.label, mr.fat_suppressed, mr.contrast, mr.plane)
    return (grid_of(candidate.stack).frame, *label, head.echo_time, head.b_value)


def _directions(grid: Grid) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))


def _parallel(one: Grid, other: Grid) -> bool:
    return bool(np.abs(_directions(one) - _directions(other)).max() < _SAME_DIRECTION)


def _outside_mm(inner: Grid, outer: Grid) -> float:
    """How far the corners of ``inner`` lie outside of ``outer``, mm along the axes of ``outer``; 0 inside."""
    index = outer.index(inner.corners())
    last = np.array(outer.shape) - 1.0
    out = np.maximum(np.maximum(-index, index - last), 0.0) * np.array(outer.spacing_mm)
    return float(out.max())


def _touch(one: Grid, other: Grid) -> bool:
    """Do two parallel grids overlap or follow each other?"""
    index = other.index(one.corners())
    low, high = index.min(axis=0), index.max(axis=0)
    gap = np.maximum(np.maximum(low - (np.array(other.shape) - 1.0), -high), 0.0) * np.array(other.spacing_mm)
    return bool(gap.max() <= _NEXT_MM)


def settle(candidates: Sequence[Candidate], choice: Choice) -> None:
    """Leave out stations that a composed image holds; say of other stations that each stands for itself.

    Only usable MR stacks of one frame of reference, label, plane and direction are taken together.
    """
    groups: dict[tuple[object, ...], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.role is SeriesRole.MR and candidate.usable:
            groups[_kind(candidate)].append(candidate)
    for group in groups.values():
        whole = [c for c in group if is_composed(c)]
        parts = [c for c in group if not is_composed(c)]
        left = []
        for part in parts:
            grid = grid_of(part.stack)
            home = next((w for w in whole if _is_part(grid, grid_of(w.stack))), None)
            if home is None:
                left.append(part)
            else:
                part.role, part.words = SeriesRole.REJECTED, f"a station of the composed image {home.key}"
        _tell(left, choice)


def _is_part(station: Grid, composed: Grid) -> bool:
    return _parallel(station, composed) and _outside_mm(station, composed) <= _STICKS_OUT_MM


def _tell(parts: Sequence[Candidate], choice: Choice) -> None:
    stations = [
        one
        for one in parts
        if any(other is not one and _are_stations(grid_of(one.stack), grid_of(other.stack)) for other in parts)
    ]
    if stations:
        keys = ", ".join(sorted(one.key for one in stations))
        text = f"{len(stations)} MR series are stations of one examination ({keys}); each is used where it lies"
        choice.caveats.append(Caveat("MR_STATIONS", STAGE, text))


def _are_stations(one: Grid, other: Grid) -> bool:
    """Parallel, next to each other, and neither inside the other (then it is a repetition)."""
    if not (_parallel(one, other) and _touch(one, other)):
        return False
    return min(_outside_mm(one, other), _outside_mm(other, one)) > _STICKS_OUT_MM
