"""Several readers of one image: which of their candidates are one lesion, and where they contradict each other.

Nothing that any reader saw is dropped: a contradiction becomes a ceiling of the probability and names who did not see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import numpy as np

from lesion_pipeline.domain.lesion import Candidate

Mode = Literal["union", "intersection", "second_reader"]


@dataclass(slots=True)
class _Lesion:
    """What one reader drew, and the candidates of each other reader (by its number) that lie on it."""

    reader: int
    drawn: Candidate
    twins: dict[int, list[Candidate]]


def overlap(one: Candidate, two: Candidate) -> float:
    """Share of the smaller candidate's voxels that the other holds too; 0 in different frames or where they do not meet."""
    small, large = (one, two) if len(one.voxels) * one.grid.voxel_ml <= len(two.voxels) * two.grid.voxel_ml else (two, one)
    if small.grid.frame != large.grid.frame:
        return 0.0
    at = small.voxels if small.grid.same_as(large.grid) else np.rint(large.grid.index(small.points_lps_mm)).astype(np.int64)
    low, high = large.voxels.min(axis=0), large.voxels.max(axis=0)
    at = at[np.all((at >= low) & (at <= high), axis=1)]
    if not len(at):
        return 0.0
    size = high - low + 1
    flat_large = np.ravel_multi_index(tuple((large.voxels - low).T), tuple(size))
    flat_small = np.ravel_multi_index(tuple((at - low).T), tuple(size))
    return float(np.isin(flat_small, flat_large).sum() / len(small.voxels))


def combine(
    answers: Sequence[tuple[str, tuple[Candidate, ...]]],
    mode: Mode,
    *,
    same_overlap: float,
    single_reader_probability: float,
    disagreed_split: float,
) -> list[Candidate]:
    """One list from the answers (name, candidates) of several readers of one image; the first that saw a lesion draws it.

    union: what some readers missed is at most ``single_reader_probability`` likely. intersection: what some missed is no
    lesion (ceiling 0), kept with its reason. second_reader: only what the first reader missed gets the ceiling. A lesion's
    own probability becomes the mean of those that its readers gave. Where one reader draws a lesion in one piece and another in
    several, it is two with at least ``disagreed_split``; pieces of what an earlier reader drew whole add no lesion.
    """
    if len(answers) < 2:
        return [candidate for _, answer in answers for candidate in answer]
    names = [name for name, _ in answers]
    lesions = _matched([answer for _, answer in answers], same_overlap)
    ceilings = {"union": single_reader_probability, "intersection": 0.0, "second_reader": single_reader_probability}
    out = []
    for lesion in lesions:
        seen = {lesion.reader, *lesion.twins}
        missed = tuple(name for number, name in enumerate(names) if number not in seen)
        doubted = bool(missed) and not (mode == "second_reader" and lesion.reader == 0)
        given = [c.probability for c in (lesion.drawn, *chain(*lesion.twins.values())) if c.probability is not None]
        pieces = max((len(twins) for twins in lesion.twins.values()), default=1)
        split = max(lesion.drawn.split_probability, disagreed_split) if pieces > 1 else lesion.drawn.split_probability
        out.append(
            replace(
                lesion.drawn,
                probability=float(np.mean(given)) if given else None,
                split_probability=split,
                seen_by=tuple(name for number, name in enumerate(names) if number in seen),
                missed_by=missed,
                ceiling=min(lesion.drawn.ceiling, ceilings[mode]) if doubted else lesion.drawn.ceiling,
            )
        )
    return _with_doubted_pieces(out, lesions, disagreed_split)


def _matched(answers: Sequence[tuple[Candidate, ...]], same_overlap: float) -> list[_Lesion]:
    lesions: list[_Lesion] = []
    for reader, answer in enumerate(answers):
        fresh = []
        for candidate in answer:
            on = [lesion for lesion in lesions if overlap(candidate, lesion.drawn) >= same_overlap]
            for lesion in on:
                lesion.twins.setdefault(reader, []).append(candidate)
            if not on:
                fresh.append(_Lesion(reader, candidate, {}))
        lesions.extend(fresh)
    return lesions


def _with_doubted_pieces(out: list[Candidate], lesions: Sequence[_Lesion], disagreed_split: float) -> list[Candidate]:
    """Lesions that another reader drew as one: the largest stands, the others may be pieces of it."""
    whole: dict[int, list[int]] = {}
    for number, lesion in enumerate(lesions):
        for twin in (t for twins in lesion.twins.values() for t in twins):
            whole.setdefault(id(twin), []).append(number)
    for numbers in whole.values():
        largest = max(numbers, key=lambda n: len(out[n].voxels))
        for number in numbers:
            if number != largest:
                own = min(out[number].own_probability, 1.0 - disagreed_split)
                out[number] = replace(out[number], own_probability=own)
    return out
