"""MR evidence of a vertebral lesion: signs against the patient's own uninvolved vertebrae (clinical specification 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import StructureKind
from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.lesion import Located
from lesion_pipeline.domain.study import MrFacts, Study
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.stages.match.options import MrRules

Points = npt.NDArray[np.float64]
_FLUID = ("STIR", "T2_FS", "DIXON_W")


@dataclass(frozen=True, slots=True)
class MrFinding:
    """status: positive, probable, negative, not_assessable or not_available; enhanced: was a contrast series there?"""

    status: str
    enhanced: bool | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Signal:
    """Median signal of lesion, normal vertebrae and muscle in one series; None where the series does not reach."""

    lesion: float
    normal: float
    muscle: float | None

    @property
    def ratio(self) -> float:
        return self.lesion / self.normal if self.normal > 0 else float("nan")


class MrReader:
    """Asks every MR series that a chain of frames links to the lesions' frame."""

    def __init__(self, study: Study, places: Places, rules: MrRules) -> None:
        self.study = study
        self.places = places
        self.rules = rules
        self._bodies = self._body_points()

    def _body_points(self) -> dict[str, Points]:
        """Points (n, 3) well inside every vertebral body, in the lesions' frame."""
        marks = self.places.landmarks()
        steps = np.array(list(product((-8.0, -4.0, 0.0, 4.0, 8.0), (-6.0, -2.0, 2.0, 6.0), (-5.0, 0.0, 5.0))))
        out = {}
        for code in self.places.codes_of_kind(StructureKind.VERTEBRA):
            structure = self.places.structures[code]
            if structure is None or structure.key.endswith("_posterior") or structure.key not in marks:
                continue
            points = np.array(marks[structure.key].centre) + steps
            out[structure.key] = points[self.places.solid(points) == code]
        return out

    def read(self, located: Located, involved: frozenset[str]) -> MrFinding:
        """Signs of one lesion. involved: keys of vertebrae that any lesion touches; they are no reference."""
        if not self.study.mr:
            return MrFinding("not_available")
        if not any(v.involved for v in located.site.vertebrae):
            return MrFinding("not_assessable")
        signals: dict[str, _Signal] = {}
        reached = False
        for facts, volume in self.study.mr:
            name = self._name(facts)
            signal = self._signal(located, volume, involved)
            reached |= signal is not None
            if name and signal is not None and name not in signals:
                signals[name] = signal
        enhanced = any(f.contrast is True for f, _ in self.study.mr)
        if not reached:
            return MrFinding("not_available", enhanced)
        return self._judge(signals, enhanced)

    def _name(self, facts: MrFacts) -> str:
        if facts.confidence < self.rules.min_label_confidence:
            return ""
        if facts.label == "T1":
            return ("T1_FS_POST" if facts.fat_suppressed else "T1_POST") if facts.contrast else "T1"
        if facts.label == "T2" and facts.fat_suppressed:
            return "T2_FS"
        return facts.label

    def _signal(self, located: Located, volume: Volume, involved: frozenset[str]) -> _Signal | None:
        try:
            link = self.study.frames.between(located.candidate.grid.frame, volume.grid.frame)
        except FrameMismatchError:
            return None

        def median(points: Points) -> float | None:
            moved = link.apply(points) if len(points) else points
            moved = moved[volume.grid.contains(moved)] if len(moved) else moved
            if len(moved) < self.rules.min_points:
                return None
            at = np.clip(np.rint(volume.grid.index(moved)).astype(np.int64), 0, np.array(volume.grid.shape) - 1)
            return float(np.median(volume.values[tuple(at.T)]))

        points = located.candidate.points_lps_mm
        codes = self.places.solid(points)
        bones = np.isin(codes, sorted(self.places.codes_of_kind(StructureKind.VERTEBRA)))
        lesion = median(points[bones] if bones.sum() >= self.rules.min_points else points)
        normals = [m for m in (median(self._bodies[k]) for k in self._reference(located, involved)) if m is not None]
        if lesion is None or not normals:
            return None
        return _Signal(lesion, float(np.mean(normals)), median(self._muscle_points(located)))

    def _muscle_points(self, located: Located) -> Points:
        """Points of muscle within 50 mm of the lesion; empty where no map names muscle."""
        code = self.places.code("muscle")
        if code is None:
            return np.zeros((0, 3))
        steps = np.arange(-48.0, 48.1, 6.0)
        points = np.array(located.candidate.centroid_lps_mm) + np.array(list(product(steps, steps, steps)))
        return np.asarray(points[self.places.solid(points) == code])

    def _reference(self, located: Located, involved: frozenset[str]) -> list[str]:
        """Keys of the nearest uninvolved vertebrae, half of them above and half below where the spine allows."""
        height = located.candidate.centroid_lps_mm[2]
        marks = self.places.landmarks()
        free = [(marks[k].centre[2] - height, k) for k in self._bodies if k not in involved]
        above = sorted(d for d in free if d[0] > 0)[: self.rules.neighbours]
        below = sorted((d for d in free if d[0] <= 0), reverse=True)[: self.rules.neighbours]
        return [k for _, k in (*above, *below)]

    def _judge(self, signals: dict[str, _Signal], enhanced: bool) -> MrFinding:
        rules = self.rules
        notes = []
        t1 = fluid = contrast = False
        if "T1" in signals:
            ratio = signals["T1"].ratio
            muscle = signals["T1"].muscle
            t1 = ratio <= rules.t1_ratio and (muscle is None or signals["T1"].lesion <= rules.t1_muscle_ratio * muscle)
            notes.append(f"T1 {ratio:.2f} times normal marrow")
        for name in _FLUID:
            if name in signals:
                ratio = signals[name].ratio
                fluid |= ratio >= rules.stir_ratio
                notes.append(f"{name} {ratio:.2f} times normal marrow")
        if "T1" in signals and "T1_POST" in signals:
            rise = signals["T1_POST"].lesion / max(signals["T1"].lesion, 1e-6) - 1.0
            usual = signals["T1_POST"].normal / max(signals["T1"].normal, 1e-6) - 1.0
            contrast |= rise - max(0.0, usual) >= rules.enhancement
            notes.append(f"enhances by {100 * rise:.0f} %, normal marrow by {100 * usual:.0f} %")
        if "T1_FS_POST" in signals:
            ratio = signals["T1_FS_POST"].ratio
            contrast |= ratio >= rules.enhanced_ratio
            notes.append(f"fat-suppressed T1 after contrast {ratio:.2f} times normal marrow")
        if t1 and (fluid or contrast):
            return MrFinding("positive", enhanced, tuple(notes))
        if fluid and contrast:
            return MrFinding("probable", enhanced, tuple(notes))
        complete = "T1" in signals and any(name in signals for name in _FLUID)
        if complete and not (t1 or fluid or contrast):
            return MrFinding("negative", enhanced, tuple(notes))
        return MrFinding("not_assessable", enhanced, tuple(notes))
