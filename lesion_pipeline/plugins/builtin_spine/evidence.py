"""From features to log likelihood ratios: what each millimetre, boundary and segment says for each level."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.anatomy import VertebralLevel as Level
from lesion_pipeline.plugins.builtin_spine import model
from lesion_pipeline.plugins.builtin_spine.chain import HEAD, LONGEST_MM, LOWEST, SACRUM, Evidence, State
from lesion_pipeline.plugins.builtin_spine.features import Features
from lesion_pipeline.plugins.builtin_spine.ribs import Ribs

Array = npt.NDArray[np.float64]

LUNG_SEEN = 0.25
#: Offset (mm, cranial) of the foramen's narrowest place from the disc: lower thoracic and lumbar, upper thoracic, cervical.
FORAMEN_OFFSET_MM = {"L": 3, "T": 5, "C": 4}
FORAMEN_WEIGHT = {"L": 1.0, "T": 1.0, "C": 0.4}
#: Where two regions meet the cues of both are heard: a border must not move because one region's cues happen to be louder.
BORDERS: dict[Level, str] = {Level.C7: "CT", Level.T1: "CT", Level.T12: "TL", Level.L1: "TL"}
SACRUM_FORAMEN = 0.3  # share of the foramen's weight at the sacral promontory
ARCH_OFFSET_MM = {"C": -3, "L": -4}
ARCH_WEIGHT = {"C": 1.0, "L": 0.4}
SACRUM_ILIUM = 0.65
SACRUM_ALA = 0.30
SACRUM_SLOPE = 0.60  # sine of the axis' lean; lumbar and thoracic bodies stay below
SACRUM_GAIN = 2.5
HEAD_BRAIN = 0.5
HEAD_WITHOUT_BRAIN = -0.3  # between the atlas and the foramen magnum there is neither arch nor brain
HEAD_GAIN = 5.0
RIB_FROM_MM, RIB_TO_MM = 14.0, 26.0  # a segment cut above that shows less than this cannot show its rib
RIB_FLOOR = 0.25  # share of a missing rib's weight that remains where the rib could not be seen


def visible_range(features: Features) -> tuple[int, int]:
    """[first, last) mm of s inside the CT (the longest run)."""
    labels, count = ndimage.label(features.seen)
    if not count:
        return 0, 0
    sizes = np.bincount(labels)
    sizes[0] = 0
    where = np.flatnonzero(labels == int(np.argmax(sizes)))
    return int(where[0]), int(where[-1]) + 1


def all_levels() -> list[Level]:
    return sorted({level for chain in model.CHAINS for level in chain.levels})


def gather(features: Features, ribs: Ribs) -> Evidence:
    """Evidence over the visible range of s."""
    low, high = visible_range(features)
    part = slice(low, high)
    size = high - low
    levels = all_levels()
    per_mm = {level: np.zeros(size) for level in levels}
    _lungs(features.lung[part], per_mm)
    _depths(features.depth[part], per_mm)
    sacrum, head = _ends(features, part)
    regions = {level: np.concatenate([[0.0], np.cumsum(values)]) * model.TEMPER for level, values in per_mm.items()}
    counts, absent = _rib_counts(ribs, low, high)
    segment = {}
    for level in levels:
        table = _rib_score(level, counts, absent) * model.TEMPER_RIBS
        segment[level] = table + _span(regions[level])
        if level in model.RIB_REACH_MM:
            segment[level] += _reaches(level, ribs, low, high) * model.TEMPER_REACH
    ribless = {
        chain.ribless: _rib_score(None, counts, absent) * model.TEMPER_RIBS + _span(regions[chain.ribless])
        for chain in model.CHAINS
        if chain.ribless is not None
    }
    states: list[State] = [SACRUM, *levels]
    boundary = {state: _boundary(features, part, state) for state in states}
    return Evidence(segment, boundary, _cumulative(sacrum), _cumulative(head), size, ribless)


def _cumulative(per_mm: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(per_mm)]) * model.TEMPER


def _span(cumulative: Array) -> Array:
    """(D, S + 1): sum over the d + 1 mm that end at s; LOWEST where that reaches below 0."""
    size = len(cumulative) - 1
    out = np.full((LONGEST_MM, size + 1), LOWEST)
    for d in range(1, min(LONGEST_MM, size) + 1):
        out[d - 1, d:] = cumulative[d:] - cumulative[:-d]
    return out


def _lungs(lung: Array, per_mm: dict[Level, Array]) -> None:
    seen = np.clip((lung - LUNG_SEEN) / 0.2 + 0.5, 0.0, 1.0)
    for level, values in per_mm.items():
        p = model.LUNG_TABLE.get(level, model.LUNG_ELSEWHERE)
        # a lung may be full of fluid or tumour: its absence says less than its presence
        values[:] += (seen * np.log(p / 0.4) + (1.0 - seen) * np.log(max(1.0 - p, 0.15) / 0.6)) / model.REGION_MM


def _depths(depth: Array, per_mm: dict[Level, Array]) -> None:
    for level, values in per_mm.items():
        z = np.log(np.maximum(depth, 5.0) / model.depth_of(level)) / model.DEPTH_SD
        values[:] -= 0.10 * np.minimum(z**2, 9.0) / model.REGION_MM


def _ends(features: Features, part: slice) -> tuple[Array, Array]:
    """Per-mm log likelihood ratios of sacrum and head."""
    pelvis = np.clip((features.ilium[part] - SACRUM_ILIUM) / 0.15, -1.5, 1.0)
    bridge = np.clip((features.ala[part] - SACRUM_ALA) / 0.25, -1.0, 1.0)
    slope = np.clip((features.slope[part] - SACRUM_SLOPE) / 0.15, -1.0, 1.0)
    beside = np.where(pelvis > 0, 0.4 + 1.0 * bridge + 0.6 * slope, pelvis)
    sacrum = SACRUM_GAIN * np.clip(beside, -1.5, 1.5) / model.REGION_MM
    brain = np.clip((features.brain[part] - HEAD_BRAIN) / 0.2, HEAD_WITHOUT_BRAIN, 1.0)
    head = HEAD_GAIN * brain / model.REGION_MM
    return sacrum, head


def _boundary(features: Features, part: slice, state: State) -> Array:
    """(S + 1,) log likelihood ratio that the cranial end of ``state`` lies at s."""
    size = part.stop - part.start
    if state in (Level.C1, HEAD):
        return np.zeros(size + 1)
    level = Level.L5 if state == SACRUM else Level(int(state))
    score = np.mean([_boundary_as(features, part, level, region) for region in BORDERS.get(level, level.name[0])], axis=0)
    if state == SACRUM:
        score = score + (1.0 - SACRUM_FORAMEN) * model.WEIGHT_FORAMEN * _foramen(features, part, "L")
    score = score * features.trust[part]
    at_boundaries = 0.5 * (np.append(score, score[-1]) + np.insert(score, 0, score[0]))
    return np.asarray(model.TEMPER * at_boundaries)


def _boundary_as(features: Features, part: slice, level: Level, region: str) -> Array:
    """(S,) score of the boundary above ``level`` by the cues of one region."""
    narrow, wide = features.disc_narrow[part], features.disc_wide[part]
    if region == "L":
        disc = wide
    elif region == "C":
        disc = 0.35 * narrow + 0.75 * features.disc_neck[part]
    elif level >= Level.T9:
        disc = 0.7 * wide + 0.4 * narrow
    elif level >= Level.T5:
        disc = np.maximum(0.9 * narrow, 0.7 * wide)
    else:
        disc = narrow
    disc = ndimage.gaussian_filter1d(ndimage.maximum_filter1d(disc, 3), 0.8)
    score = (0.0 if level == Level.C2 else model.WEIGHT_DISC) * (disc - model.DISC_EVEN)
    score = score - model.WEIGHT_FORAMEN * FORAMEN_WEIGHT[region] * _foramen(features, part, region)
    if region in ARCH_WEIGHT:
        gap = ndimage.maximum_filter1d(_ahead(1.0 - features.arch[part], ARCH_OFFSET_MM[region]), 5)
        score = score + model.WEIGHT_ARCH * ARCH_WEIGHT[region] * (gap - 0.5)
    return np.asarray(score)


def _foramen(features: Features, part: slice, region: str) -> Array:
    """(S,) from -0.5 (a foramen belongs to a boundary at s) to 0.5 (pedicles do)."""
    ahead = _ahead(1.0 - features.foramen[part], FORAMEN_OFFSET_MM[region])
    return np.asarray(0.5 - ndimage.maximum_filter1d(ahead, 5 if region == "C" else 3))


def _ahead(values: Array, offset: int) -> Array:
    index = np.clip(np.arange(len(values)) + offset, 0, len(values) - 1)
    return np.asarray(values[index])


def _rib_counts(ribs: Ribs, low: int, high: int) -> tuple[list[Array], list[Array]]:
    """Per side: soft number of ribs in every segment (D, S + 1), and how much their absence counts."""
    counts, absent = [], []
    for row, side in enumerate((-1, 1)):
        density = np.zeros(high - low)
        for track in ribs.tracks:
            s = track.s - model.RIB_SHIFT_MM - low
            if track.side == side and 0 <= s < len(density):
                density[int(s)] += track.weight
        blurred = ndimage.gaussian_filter1d(density, model.RIB_BLUR_MM, mode="constant")
        counts.append(_span(np.concatenate([[0.0], np.cumsum(blurred)])))
        seen = _span(np.concatenate([[0.0], np.cumsum(ribs.visible[row][low:high])]))
        lengths = np.arange(1, LONGEST_MM + 1)[:, None]
        share = np.clip(seen / lengths, 0.0, 1.0)
        weight = RIB_FLOOR * share + (1.0 - RIB_FLOOR) * np.clip(2.0 * share - 1.0, 0.0, 1.0)
        weight[:, -1] *= np.clip((lengths[:, 0] - RIB_FROM_MM) / (RIB_TO_MM - RIB_FROM_MM), 0.0, 1.0)
        absent.append(weight)
    return counts, absent


def _reaches(level: Level, ribs: Ribs, low: int, high: int) -> Array:
    """(D, S + 1): what the lengths of the ribs in a segment say for a level."""
    density = np.zeros(high - low)
    for track, tip in zip(ribs.tracks, ribs.tips, strict=False):
        s = int(track.s - model.RIB_SHIFT_MM) - low
        if tip is not None and 0 <= s < len(density):
            density[s] += model.log_reach(level, tip.length, tip.open)
    blurred = ndimage.gaussian_filter1d(density, model.RIB_BLUR_MM, mode="constant")
    return np.maximum(_span(np.concatenate([[0.0], np.cumsum(blurred)])), LOWEST)


def _rib_score(level: Level | None, counts: list[Array], absent: list[Array]) -> Array:
    """(D, S + 1): log P(soft count | level) against a segment of unknown level, both sides; None: a level without ribs."""
    table = model.RIBS_NONE if level is None else model.RIB_TABLE.get(level, model.RIBS_NONE)
    none, one, two = (np.log(p) for p in table)
    base = np.log((0.5, 0.48, 0.02))
    total = np.zeros_like(counts[0])
    for count, weight in zip(counts, absent, strict=True):
        n = np.clip(count, 0.0, 2.0)
        first, second = np.minimum(n, 1.0), np.maximum(n - 1.0, 0.0)
        score = (1.0 - first) * weight * (none - base[0]) + first * (1.0 - second) * (one - base[1]) + second * (two - base[2])
        total += score
    return total
