"""A mass of a thigh or leg where no anatomy is known: the PET alone shows where the legs part, and no organ of a leg is hot."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import label
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired, Outcome
from lesion_pipeline.stages.screen.rule_tables import Limb


def mass_of_a_leg(case: Case) -> Outcome:
    """A large focus of clear contrast in a leg may count though nobody knows whether muscle, bone or a node holds it."""
    rule, pet = case.scene.options.limb, case.scene.study.pet
    if pet is None or case.places.known or case.site.organ_probabilities:
        return None
    peak, background = case.measures.suv_peak, case.measures.background
    if case.measures.volume_ml < rule.least_ml or not peak or not background or peak < rule.contrast * background:
        return None
    parted = legs_part(pet, rule)
    if parted is None:
        return None
    height, middle = parted
    aside, above = float(abs(case.centre[0] - middle)), float(case.centre[2] - height)
    if above > rule.above_mm or aside < rule.aside_mm:
        return None
    where = f"{above:.0f} mm above" if above > 0 else f"{-above:.0f} mm below"
    text = (
        f"in a thigh or leg: {where} the height at which the legs part on the PET and {aside:.0f} mm beside the midline, where "
        f"no organ takes up the tracer. It counts without a CT; whether muscle, bone or a node holds it is not known"
    )
    return Fired("LIMB_WITHOUT_CT", text, placed=True)


def legs_part(pet: Volume, rule: Limb) -> tuple[float, float] | None:
    """(LPS z up to which the patient's outline falls in two legs, LPS x between them), mm; None where the PET holds no legs."""
    axis, sign = pet.grid.axis_toward((0.0, 0.0, 1.0))
    order = range(pet.grid.shape[axis]) if sign > 0 else reversed(range(pet.grid.shape[axis]))
    heights: list[float] = []
    between: list[float] = []
    for at in order:
        plane = np.moveaxis(pet.values, axis, 0)[at] > rule.body_suv
        if not plane.any():
            continue
        labels, count = label(plane[..., None], 26)
        sizes = np.bincount(labels.reshape(-1), minlength=3)[1:]
        first, second = (int(n) for n in np.argsort(sizes)[::-1][:2])
        if count < 2 or sizes[second] < rule.like_share * sizes[first]:
            break
        middles = []
        for number in (first, second):
            inside = np.argwhere(labels[..., 0] == number + 1).mean(axis=0)
            middles.append(pet.grid.world(np.insert(inside, axis, at)[None, :])[0])
        heights.append(float(middles[0][2]))
        between.append(float(middles[0][0] + middles[1][0]) / 2)
    if not heights or abs(heights[-1] - heights[0]) < rule.seen_mm:
        return None
    return heights[-1], float(np.median(between))
