"""Salivary and lacrimal glands and the mucosa of the head: always bright with PSMA ligands and choline (specification 3.1).

No map names them as a rule. They are known by what every reader knows them by: they lie in the head, outside bone, and come in
pairs of about the same uptake. A single one is a doubt only, for a node of the neck looks like it.
"""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.anatomy import StructureKind
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome
from lesion_pipeline.stages.screen.receptor_tables import Glands

_CODE = "GLANDS"


def head_glands(case: Case) -> Outcome:
    """In the head, outside bone: one of a pair, in the midline, or alone.

    The lacrimal glands lie against the orbit's wall: two foci there of which one is the other's image are glands all the same.
    """
    rule = case.scene.options.glands
    floor = _floor(case, rule)
    if floor is None:
        return NotAsked(_CODE, f"neither {rule.below_level} nor lungs in the anatomy")
    middle = _midline(case)
    if middle is None:
        return None
    if not _in_head(case, floor):  # the map of the brain may reach the orbit's corner
        return _lacrimal(case, rule, middle)
    soft = _in_soft_tissue(case, rule)
    twin = _partner(case, rule, middle, floor)
    if twin is not None and (soft or _ratio(case.suv_max, twin.suv_max) <= rule.bone_suv_ratio):
        text = (
            f"paired gland of the head: {twin.finding.id} on the other side with SUVmax {twin.suv_max:.1f} against "
            f"{case.suv_max:.1f}; salivary and lacrimal glands take up this tracer"
        )
        return Fired(f"{_CODE}_PAIR", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)
    return _alone(case, rule, middle) if soft else _lacrimal(case, rule, middle)


def _alone(case: Case, rule: Glands, middle: float) -> Fired:
    """In the soft tissue of the head without a partner."""
    aside = abs(case.centre[0] - middle)
    if aside <= rule.centre_mm:
        text = f"{aside:.0f} mm from the midline of the head, where mucosa and sublingual glands take up this tracer"
        return Fired(f"{_CODE}_MIDLINE", text, odds=rule.midline_odds, klass=LesionClass.PHYSIOLOGIC)
    lacrimal = _lacrimal(case, rule, middle)
    if lacrimal is not None:
        return lacrimal
    text = "soft tissue of the head, where salivary and lacrimal glands take up this tracer; no partner on the other side"
    return Fired(f"{_CODE}_SINGLE", text, odds=rule.single_odds, klass=LesionClass.PHYSIOLOGIC)


def _lacrimal(case: Case, rule: Glands, middle: float) -> Fired | None:
    """A small focus at the outer upper edge of an orbit, whose partner was too faint to be found: known from the atlas."""
    atlas = case.scene.landmarks.get("vertebra_C1")
    if atlas is None or case.measures.volume_ml > rule.lacrimal_ml:
        return None
    aside, before, above = abs(case.centre[0] - middle), atlas.centre[1] - case.centre[1], case.centre[2] - atlas.centre[2]
    expected = (rule.lacrimal_aside_mm, rule.lacrimal_front_mm, rule.lacrimal_above_mm)
    if any(abs(seen - at) > rule.lacrimal_reach_mm for seen, at in zip((aside, before, above), expected, strict=True)):
        return None
    text = (
        f"{aside:.0f} mm beside the midline, {before:.0f} mm before and {above:.0f} mm above the atlas, where the lacrimal "
        "gland lies in the outer corner of the orbit"
    )
    return Fired(f"{_CODE}_LACRIMAL", text, odds=rule.lacrimal_odds, klass=LesionClass.PHYSIOLOGIC)


def _floor(case: Case, rule: Glands) -> float | None:
    """LPS z from which on a place is called the head: a vertebra of the neck, or, where none was named, above the lungs."""
    marks = case.scene.landmarks
    named = marks.get(f"vertebra_{rule.below_level}")
    if named is not None:
        return named.centre[2]
    tops = [mark.high[2] for key, mark in marks.items() if key.startswith("lung")]
    return max(tops) + rule.above_lungs_mm if tops else None


def _in_head(case: Case, floor: float) -> bool:
    """Above ``floor`` (LPS z), in no vertebra and not in the brain."""
    vertebrae = case.places.codes_of_kind(StructureKind.VERTEBRA)
    in_vertebra = float(sum(case.shares.inside[code] for code in vertebrae))
    return case.centre[2] >= floor and in_vertebra < 0.3 and case.share("brain", "cerebellum") < 0.5


def _in_soft_tissue(case: Case, rule: Glands) -> bool:
    """By the density of the CT outside bone; without a CT of the place by the map of bones."""
    hu = case.hounsfield
    if hu is None:
        return case.share_of_bone() < 0.3
    return float(np.mean(hu > rule.bone_hu)) <= rule.max_dense_share


def _midline(case: Case) -> float | None:
    """x (LPS mm) of the head's own midline: skull and upper neck, for a head may lie beside the body's midline."""
    marks = case.scene.landmarks
    near = [marks[k].centre[0] for k in ("skull", "brain", "vertebra_C1", "vertebra_C2", "vertebra_C3") if k in marks]
    return float(np.median(near)) if near else case.scene.midline_x


def _partner(case: Case, rule: Glands, middle: float, floor: float) -> Case | None:
    """The most alike of the findings that fit as the gland of the other side."""
    fitting = []
    for other in case.siblings:
        if other is case or (other.centre[0] - middle) * (case.centre[0] - middle) >= 0:
            continue
        away = np.abs(np.array([(other.centre[0] + case.centre[0]) / 2 - middle, *(other.centre[1:] - case.centre[1:])]))
        if (away > (rule.midline_mm, rule.depth_mm, rule.height_mm)).any():
            continue
        uptake, volume = _ratio(case.suv_max, other.suv_max), _ratio(case.measures.volume_ml, other.measures.volume_ml)
        if uptake <= rule.suv_ratio and volume <= rule.volume_ratio and _in_head(other, floor):
            fitting.append((uptake, float(away.sum()), other))
    return min(fitting, key=lambda item: item[:2])[2] if fitting else None


def _ratio(one: float, two: float) -> float:
    return max(one, two) / max(min(one, two), 1e-6)
