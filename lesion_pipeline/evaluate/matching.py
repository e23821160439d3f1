"""Which lesion of the run is which lesion of the reference: one to one, by overlap or by distance.

The rule: a pair may be matched when the two share volume, or when one is a point that lies in the other, or when their
centroids are at most ``distance_mm`` apart. Among all one-to-one assignments of such pairs the one with most pairs is taken,
and among those the one with most overlap, then least distance (Hungarian method). Lesions that the run reports (counted or
uncertain) are matched first; what it excluded may then take what is left, which says at which step a lesion was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from lesion_pipeline.domain.lesion import Decision
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.evaluate.reads import METASTASIS, Read, ReadLesion

Matrix = npt.NDArray[np.float64]

#: Share of a reference lesion's volume (or of a run lesion's) that makes an overlap count as a split or a merge.
SPLIT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Pair:
    """reference, run: positions in the lesions of the two reads. dice: None unless both have voxels."""

    reference: int
    run: int
    distance_mm: float
    dice: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Lesions matched in one study; every number is a position in ``reference.lesions`` or ``run.lesions``.

    pairs: reference metastases with reported run lesions. lost: reference metastases with run lesions that were excluded.
    missed: reference metastases with neither. false_positives: reported run lesions without a partner; mimics: (run,
    reference) where such a one lies on a reference lesion that must not be counted. splits: reference lesions that several
    reported lesions share; merges: reported lesions that cover several reference metastases.
    """

    pairs: tuple[Pair, ...]
    lost: tuple[Pair, ...]
    missed: tuple[int, ...]
    false_positives: tuple[int, ...]
    mimics: tuple[tuple[int, int], ...]
    splits: tuple[int, ...]
    merges: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """shared_ml (reference, run); volume_ml of each side, NaN for points; touching: shared volume, or a point inside."""

    shared_ml: Matrix
    reference_ml: Matrix
    run_ml: Matrix
    touching: npt.NDArray[np.bool_]
    distance_mm: Matrix

    @property
    def dice(self) -> Matrix:
        """NaN where one of the two is a point."""
        return np.asarray(2.0 * self.shared_ml / (self.reference_ml[:, None] + self.run_ml[None, :]))


def overlap(reference: Read, run: Read) -> Overlap:
    """Shared volume of every pair of lesions, from label maps on any two grids of one space.

    Labelled voxels of the finer map are looked up in the coarser one, so the shared volume is exact to the finer voxel.
    """
    rows = {lesion.id: n for n, lesion in enumerate(reference.lesions)}
    columns = {lesion.id: n for n, lesion in enumerate(run.lesions)}
    shared = np.zeros((len(rows), len(columns)))
    volume_a, volume_b = _volumes(reference.maps, rows), _volumes(run.maps, columns)
    for map_a in reference.maps:
        for map_b in run.maps:
            shared += _shared(map_a, map_b, rows, columns)
    touching = shared > 0
    for n, lesion in enumerate(reference.lesions):
        if np.isnan(volume_a[n]):
            touching[n] |= _inside(lesion, run.maps, columns)
    for n, lesion in enumerate(run.lesions):
        if np.isnan(volume_b[n]):
            touching[:, n] |= _inside(lesion, reference.maps, rows)
    a = np.array([lesion.centroid_lps_mm for lesion in reference.lesions]).reshape(-1, 3)
    b = np.array([lesion.centroid_lps_mm for lesion in run.lesions]).reshape(-1, 3)
    return Overlap(shared, volume_a, volume_b, touching, np.linalg.norm(a[:, None] - b[None], axis=-1))


def match(reference: Read, run: Read, *, distance_mm: float) -> tuple[Matching, Overlap]:
    """Match two reads of one study by the rule at the head of this module."""
    shared = overlap(reference, run)
    counting = [n for n, lesion in enumerate(reference.lesions) if lesion.kind == METASTASIS]
    others = [n for n, lesion in enumerate(reference.lesions) if lesion.kind != METASTASIS]
    reported = [n for n, lesion in enumerate(run.lesions) if lesion.decision is not Decision.EXCLUDED]
    excluded = [n for n, lesion in enumerate(run.lesions) if lesion.decision is Decision.EXCLUDED]

    pairs = _assign(shared, counting, reported, distance_mm)
    taken = {p.reference for p in pairs}
    lost = _assign(shared, [n for n in counting if n not in taken], excluded, distance_mm)
    taken |= {p.reference for p in lost}
    used = {p.run for p in pairs}
    false = [n for n in reported if n not in used]
    mimics = _assign(shared, others, false, distance_mm)

    significant = _significant(shared)
    splits = tuple(n for n in counting if significant[n, reported].sum() > 1)
    merges = tuple(n for n in reported if significant[counting, n].sum() > 1)
    return (
        Matching(
            pairs,
            lost,
            tuple(n for n in counting if n not in taken),
            tuple(false),
            tuple((p.run, p.reference) for p in mimics),
            splits,
            merges,
        ),
        shared,
    )


def _assign(shared: Overlap, rows: Sequence[int], columns: Sequence[int], distance_mm: float) -> tuple[Pair, ...]:
    if not rows or not columns:
        return ()
    window = np.ix_(list(rows), list(columns))
    distance = shared.distance_mm[window]
    allowed = shared.touching[window] | (distance <= distance_mm)
    dice = shared.dice[window]
    # one more pair outweighs any gain in closeness; overlap outweighs distance
    closeness = np.where(np.isnan(dice), 0.0, dice) + 0.01 / (1.0 + distance)
    value = np.where(allowed, 10.0 * min(window[0].size, window[1].size) + closeness, 0.0)
    found = zip(*linear_sum_assignment(value, maximize=True), strict=True)
    return tuple(
        Pair(rows[i], columns[j], float(distance[i, j]), None if np.isnan(dice[i, j]) else float(dice[i, j]))
        for i, j in found
        if allowed[i, j]
    )


def _significant(shared: Overlap) -> npt.NDArray[np.bool_]:
    """Pairs that share at least SPLIT_SHARE of the smaller of the two; a point inside counts."""
    smaller = np.fmin(shared.reference_ml[:, None], shared.run_ml[None, :])
    point = np.isnan(shared.reference_ml)[:, None] | np.isnan(shared.run_ml)[None, :]
    enough: npt.NDArray[np.bool_] = shared.shared_ml >= SPLIT_SHARE * np.nan_to_num(smaller, nan=np.inf)
    return shared.touching & (point | enough)


def _volumes(maps: Sequence[LabelMap], order: dict[str, int]) -> Matrix:
    out = np.full(len(order), np.nan)
    for label_map in maps:
        counts = np.bincount(label_map.values.reshape(-1))
        for value, structure in label_map.names.items():
            if structure.key in order and value < len(counts) and counts[value]:
                at = order[structure.key]
                out[at] = np.nan_to_num(out[at]) + counts[value] * label_map.grid.voxel_ml
    return out


def _shared(map_a: LabelMap, map_b: LabelMap, rows: dict[str, int], columns: dict[str, int]) -> Matrix:
    a_is_finer = map_a.grid.voxel_ml <= map_b.grid.voxel_ml
    fine, coarse = (map_a, map_b) if a_is_finer else (map_b, map_a)
    voxels = np.argwhere(fine.values)
    of_fine = fine.values[tuple(voxels.T)]
    of_coarse = coarse.at(fine.grid.world(voxels)) if len(voxels) else np.zeros(0, dtype=np.uint16)
    labels_a, labels_b = (of_fine, of_coarse) if a_is_finer else (of_coarse, of_fine)
    out = np.zeros((len(rows) + 1, len(columns) + 1))  # the last row and column take what neither read knows
    to_row = _positions(map_a, rows)
    to_column = _positions(map_b, columns)
    np.add.at(out, (to_row[labels_a], to_column[labels_b]), fine.grid.voxel_ml)
    return out[:-1, :-1]


def _positions(label_map: LabelMap, order: dict[str, int]) -> npt.NDArray[np.int64]:
    """Label value -> position in ``order``; values of nobody go to the last."""
    out = np.full(int(label_map.values.max(initial=0)) + 1, len(order), dtype=np.int64)
    for value, structure in label_map.names.items():
        if 0 < value < len(out):
            out[value] = order.get(structure.key, len(order))
    return out


def _inside(lesion: ReadLesion, maps: Sequence[LabelMap], order: dict[str, int]) -> npt.NDArray[np.bool_]:
    out = np.zeros(len(order), dtype=np.bool_)
    for label_map in maps:
        value = int(label_map.at([lesion.centroid_lps_mm])[0])
        if value and label_map.names[value].key in order:
            out[order[label_map.names[value].key]] = True
    return out
