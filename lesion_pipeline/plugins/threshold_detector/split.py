"""One connected uptake into lesions: by peaks and saddles, with what the anatomy forbids (clinical specification 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Structure, StructureKind
from lesion_pipeline.imaging.watershed import Pass, Peak, Relief, merge
from lesion_pipeline.plugins.threshold_detector.options import Peaks


@dataclass(frozen=True, slots=True)
class PeakPlace:
    """Where a peak lies. masked: key of the physiologic organ it belongs to, None if none or if it stands out of it."""

    structure: Structure | None
    masked: str | None


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


class _Judge:
    """Decides over each pass; remembers which peaks stood alone and how doubtful the joins were."""

    def __init__(self, peaks: Peaks, places: dict[int, PeakPlace], spacing_mm: npt.NDArray[np.float64]) -> None:
        self.peaks = peaks
        self.places = places
        self.spacing = spacing_mm

    def probability(self, item: Pass) -> float:
        """P(two lesions), from the saddle ratio alone."""
        limits = self.peaks
        span = limits.merge_above - limits.split_below
        return float(np.clip((limits.merge_above - item.ratio) / span, 0.0, 1.0))

    def noise(self, item: Pass) -> bool:
        """Is the lower peak no peak of its own? Too shallow, or too near with nothing that tells the two places apart."""
        depth = item.low.height - item.saddle
        if depth < max(self.peaks.prominence_suv, self.peaks.prominence_fraction * item.low.height):
            return True
        distance = float(np.linalg.norm((np.array(item.high.index) - item.low.index) * self.spacing))
        return distance < self.peaks.min_distance_mm and not self.apart(item)

    def same_organ(self, item: Pass) -> bool:
        """Both peaks are ordinary uptake of one organ."""
        one, two = self.places[item.high.label].masked, self.places[item.low.label].masked
        return one is not None and one == two

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
        return self.same_organ(item) or self.noise(item)

    def one_lesion(self, item: Pass) -> bool:
        """Second round: which of the distinct peaks are one lesion."""
        if self.same_organ(item) or self.noise(item):
            return True
        if self.apart(item):
            return False
        if self.two_vertebrae(item):
            return item.ratio >= self.peaks.vertebrae_merge_above
        return self.probability(item) < 0.5


def split(relief: Relief, places: dict[int, PeakPlace], peaks: Peaks, spacing_mm: tuple[float, float, float]) -> list[Part]:
    """The lesions of one connected uptake, highest peak first.

    places: for every peak label, where it lies. What the saddle ratio leaves open is carried as a probability.
    """
    judge = _Judge(peaks, places, np.array(spacing_mm))
    fine = merge(relief, judge.distinct)
    doubts: dict[int, float] = {}

    def joins(item: Pass) -> bool:
        joined = judge.one_lesion(item)
        if joined and not (judge.same_organ(item) or judge.noise(item) or judge.two_vertebrae(item)):
            carried = max(judge.probability(item), doubts.get(item.low.label, 0.0), doubts.get(item.high.label, 0.0))
            doubts[item.high.label] = carried
        elif joined:
            doubts[item.high.label] = max(doubts.get(item.high.label, 0.0), doubts.get(item.low.label, 0.0))
        return joined

    coarse = merge(relief, joins)
    own: dict[int, float] = {}
    for item in coarse.kept:
        if judge.apart(item) or judge.two_vertebrae(item):
            continue
        own[item.low.label] = min(own.get(item.low.label, 1.0), judge.probability(item))
    parts = []
    for name in sorted(set(coarse.group), key=lambda n: -relief.peaks[n - 1].height):
        members = [n for n, g in enumerate(coarse.group, start=1) if g == name]
        fine_groups: dict[int, list[int]] = {}
        for n in members:
            fine_groups.setdefault(fine.group[n - 1], []).append(n)
        parts.append(
            Part(
                peak=relief.peaks[name - 1],
                basins=tuple(tuple(g) for g in fine_groups.values()),
                masked=places[name].masked,
                split_probability=doubts.get(name, 0.0),
                own_probability=own.get(name, 1.0),
            )
        )
    return parts
