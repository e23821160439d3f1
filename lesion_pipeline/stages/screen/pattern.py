"""Where no anatomy is known: the pattern that every whole-body PET shows, as doubts about place-less foci.

A pattern lowers a probability as an organ's map does and never names an organ for a place: without a CT nobody can say where a
focus lies. What it leaves out stays in the list with its sentence, and a study without anatomy never gets a clear answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired, Outcome
from lesion_pipeline.stages.screen.rule_tables import Pattern

_CODE = "PATTERN"


@dataclass(frozen=True, slots=True)
class _Frame:
    """The patient on the PET alone: midline x, middle y, lowest and highest z of the body (LPS mm)."""

    x: float
    y: float
    foot: float
    head: float

    def height(self, z: float) -> float:
        """0 at the foot end, 1 at the head end."""
        return (z - self.foot) / (self.head - self.foot)


def _frame(pet: Volume, rule: Pattern) -> _Frame | None:
    """None unless the PET is long enough to show a whole body."""
    step = tuple(max(1, round(8.0 / s)) for s in pet.grid.spacing_mm)
    thin = pet.values[:: step[0], :: step[1], :: step[2]] > rule.body_suv
    points = pet.grid.world(np.argwhere(thin) * np.array(step)) if thin.any() else np.zeros((0, 3))
    if not len(points) or np.ptp(points[:, 2]) < rule.whole_body_mm:
        return None
    x, y, _ = np.median(points, axis=0)
    return _Frame(float(x), float(y), float(points[:, 2].min()), float(points[:, 2].max()))


def whole_body_pattern(case: Case) -> Outcome:
    """Head, heart, kidneys, ureters and bladder by their usual place in a whole-body PET, when there is no anatomy to ask."""
    pet, rule = case.scene.study.pet, case.scene.options.pattern
    if pet is None or case.places.known or case.site.organ_probabilities:
        return None
    frame = _frame(pet, rule)
    if frame is None:
        return None
    said = _usual_place(case, frame, rule)
    if said is None:
        return None
    text = f"{said}; without a CT it is taken for that, and a lesion there would be missed"
    return Fired(_CODE, text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _usual_place(case: Case, frame: _Frame, rule: Pattern) -> str | None:
    x, y, z = case.centre
    aside, height = float(abs(x - frame.x)), frame.height(float(z))
    left, volume = x > frame.x, case.measures.volume_ml
    usual: list[tuple[bool, str]] = [
        (
            frame.head - z <= rule.head_mm,
            f"{frame.head - z:.0f} mm from the head end, where brain, tonsils, glands and raised hands take up the tracer",
        ),
        (
            0.55 <= height <= 0.82 and left and aside < 100.0 and y < frame.y + 20.0 and volume >= rule.heart_ml,
            f"{volume:.0f} ml in the left front of the chest, where the heart lies",
        ),
    ]
    if case.scene.options.urinary_excretion:
        usual += [
            (
                0.10 <= height <= 0.40 and aside <= 45.0 and case.suv_max >= rule.urine_suv and volume > rule.ureter_ml,
                f"SUVmax {case.suv_max:.0f} in the midline low in the trunk, where the bladder lies",
            ),
            (
                0.35 <= height <= 0.65 and 35.0 <= aside <= 125.0 and y > frame.y - 10.0,
                f"{aside:.0f} mm beside the midline behind, where the kidneys lie",
            ),
            (
                0.15 <= height <= 0.55 and 10.0 <= aside <= 65.0 and volume <= rule.ureter_ml,
                f"{volume:.1f} ml, {aside:.0f} mm beside the midline, where the ureters run",
            ),
        ]
    return next((text for fits, text in usual if fits), None)
