"""One connected uptake into lesions: by peaks and saddles, with what the anatomy forbids (clinical specification 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesion_pipeline.domain.anatomy import Structure, StructureKind
from lesion_pipeline.imaging.watershed import Image, Pass, Peak, Relief, merge, waist
from lesion_pipeline.plugins.threshold_detector.options import Peaks


@dataclass(frozen=True, slots=True)
class PeakPlace:
    """Where a peak lies. masked: key of the physiologic organ it belongs to, None if none or if it stands out of it.

    divided: that organ's map takes in what is none of it, so that a peak apart from its own uptake stays apart. usual: SUV of
    the even organ that a peak stands out of, from which its height is measured; 0 elsewhere.
    """

    structure: Structure | None
    masked: str | None
    divided: bool = False
    usual: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Basins that are one lesion.

    basins: for each peak that was told apart from noise, the labels of its basins. split_probability: P(this part is really
    two). own_probability: P(this part is a lesion of its own and not a piece of its higher neighbour).
    """

    peak: Peak
    basins: tuple[tuple[int, ...], ...]
    masked: str | None
    split_probability: float = 0.0
    own_probability: float = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The preset's rules with the patient's and the grid's own numbers.

    cut: {peak label: SUV at which the extent of a lesion with that peak ends}, from which a waist is measured: in a liver it
    lies above the liver, which would else be the bridge between any two lesions in it.
    """

    peaks: Peaks
    spacing_mm: tuple[float, float, float]
    cut: dict[int, float]


class _Judge:
    """Decides over each pass; remembers which peaks stood alone and how doubtful the joins were."""

    def __init__(self, limits: Limits, places: dict[int, PeakPlace]) -> None:
        self.peaks = limits.peaks
        self.places = places
        self.spacing = np.array(limits.spacing_mm)
        self.cut = limits.cut

    def probability(self, item: Pass) -> float:
        """P(two lesions), from the saddle ratio alone; both heights above the organ that the lower peak stands out of."""
        limits = self.peaks
        span = limits.merge_above - limits.split_below
        usual = min(self.places[item.low.label].usual, item.saddle)
        ratio = (item.saddle - usual) / max(item.low.height - usual, item.saddle - usual, 1e-6)
        return float(np.clip((limits.merge_above - ratio) / span, 0.0, 1.0))

    def narrow(self, width: float) -> float:
        """1 for two lesions that touch, 0 for two halves of one mass."""
        limits = self.peaks
        span = limits.waist_merge_above - limits.waist_split_below
        return float(np.clip((limits.waist_merge_above - width) / span, 0.0, 1.0))

    def noise(self, item: Pass) -> bool:
        """Is the lower peak no peak of its own? Too shallow, or too near with nothing that tells the two places apart."""
        depth = item.low.height - item.saddle
        height = item.low.height - self.places[item.low.label].usual
        fraction = self.peaks.beyond_fraction if self.beyond(item) else self.peaks.prominence_fraction
        if depth < max(self.peaks.prominence_suv, fraction * height):
            return True
        distance = float(np.linalg.norm((np.array(item.high.index) - item.low.index) * self.spacing))
        return distance < self.peaks.min_distance_mm and not self.apart(item)

    def beyond(self, item: Pass) -> bool:
        """Does the lower peak lie outside what is drawn of the higher one? Joined to it, it would be lost."""
        return item.low.height < self.cut[item.high.label]

    def same_organ(self, item: Pass) -> bool:
        """Both peaks are ordinary uptake of one organ, and nothing sets the lower one apart where that organ is divided.

        What is drawn of the higher one must reach the saddle: pieces of bowel far from each other are a candidate each.
        """
        one, two = self.places[item.high.label], self.places[item.low.label]
        if one.masked is None or one.masked != two.masked:
            return False
        if two.divided:
            return self.noise(item) or self.probability(item) < 0.5
        return item.saddle >= self.cut[item.high.label]

    def other_organ(self, item: Pass) -> bool:
        """The lower peak is an organ's ordinary uptake and the higher one is not: an organ is no piece of a focus on it."""
        one, two = self.places[item.high.label].masked, self.places[item.low.label].masked
        return two is not None and one != two

    def apart(self, item: Pass) -> bool:
        """Both places are known and differ: ordinary uptake of an organ against anything else, or two organs."""
        one, two = self.places[item.high.label], self.places[item.low.label]
        if one.masked != two.masked:
            return True
        if one.structure is None or two.structure is None or one.structure.organ is None or two.structure.organ is None:
            return False
        return one.structure.organ is not two.structure.organ

    def two_vertebrae(self, item: Pass) -> bool:
        one, two = self.places[item.high.label].structure, self.places[item.low.label].structure
        if one is None or two is None:
            return False
        if one.kind is not StructureKind.VERTEBRA or two.kind is not StructureKind.VERTEBRA:
            return False
        return (one.instance, one.level) != (two.instance, two.level)

    def distinct(self, item: Pass) -> bool:
        """First round: keep every peak that is not noise and not the same organ's ordinary uptake."""
        return self.same_organ(item) or (self.noise(item) and not self.other_organ(item))

    def one_lesion(self, item: Pass) -> bool:
        """Second round: which of the distinct peaks are one lesion."""
        if self.same_organ(item):
            return True
        if self.other_organ(item):
            return False
        if self.noise(item):
            return True
        if self.apart(item):
            return False
        if self.two_vertebrae(item):
            return item.ratio >= self.peaks.vertebrae_merge_above
        return self.probability(item) < 0.5 and not self.beyond(item)


def split(relief: Relief, smoothed: Image, places: dict[int, PeakPlace], limits: Limits) -> list[Part]:
    """The lesions of one connected uptake, highest peak first.

    places: for every peak label, where it lies. What the saddle ratio leaves open is carried as a probability.
    """
    peaks = limits.peaks
    judge = _Judge(limits, places)
    fine = merge(relief, judge.distinct)
    doubts: dict[int, float] = {}

    def carry(item: Pass, probability: float) -> None:
        doubts[item.high.label] = max(probability, doubts.get(item.low.label, 0.0), doubts.get(item.high.label, 0.0))

    def joins(item: Pass) -> bool:
        joined = judge.one_lesion(item)
        if joined:
            certain = judge.same_organ(item) or judge.noise(item) or judge.two_vertebrae(item)
            carry(item, 0.0 if certain else judge.probability(item))
        return joined

    coarse = merge(relief, joins)
    group = list(coarse.group)
    own: dict[int, float] = {}
    for item in sorted(coarse.kept, key=lambda k: -k.saddle):
        high, low = group[item.high.label - 1], group[item.low.label - 1]
        if high == low or judge.apart(item) or judge.two_vertebrae(item):
            continue
        sides = [[n for n, g in enumerate(group, start=1) if g == name] for name in (high, low)]
        width, volume = waist(relief, smoothed, (sides[0], sides[1]), limits.cut[item.low.label], limits.spacing_mm)
        probability = judge.probability(item) * (judge.narrow(width) if volume >= 1000.0 * peaks.mass_ml else 1.0)
        if judge.beyond(item):
            own[low] = min(own.get(low, 1.0), max(probability, peaks.beyond_probability))
        elif probability < 0.5:
            carry(item, probability)
            group = [high if g == low else g for g in group]
        else:
            own[low] = min(own.get(low, 1.0), probability)
    return _parts(relief, (group, fine.group), places, doubts, own)


def _parts(
    relief: Relief,
    groups: tuple[list[int], tuple[int, ...]],
    places: dict[int, PeakPlace],
    doubts: dict[int, float],
    own: dict[int, float],
) -> list[Part]:
    """One part for every group of basins; groups: of lesions and of peaks told apart from noise, by basin."""
    group, fine = groups
    parts = []
    for name in sorted(set(group), key=lambda n: -relief.peaks[n - 1].height):
        members: dict[int, list[int]] = {}
        for n, g in enumerate(group, start=1):
            if g == name:
                members.setdefault(fine[n - 1], []).append(n)
        parts.append(
            Part(
                peak=relief.peaks[name - 1],
                basins=tuple(tuple(m) for m in members.values()),
                masked=places[name].masked,
                split_probability=doubts.get(name, 0.0),
                own_probability=own.get(name, 1.0),
            )
        )
    return parts
