"""Rules about what the scan itself makes: injection, breathing, metal, the ends of the field of view."""

from __future__ import annotations

from itertools import product

import numpy as np

from lesion_pipeline.domain.anatomy import Organ, StructureKind
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.stages.screen.case import Case, Points
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome


def _is_injection(case: Case) -> bool:
    rule = case.scene.options.injection
    arm = case.distance(*rule.arm_keys)
    if arm is None or arm > rule.arm_mm or case.suv_max < rule.above_suv or case.share_of_bone() > 0.3:
        return False
    depth = case.skin_depth(rule.skin_mm)
    return depth is not None and depth < rule.skin_mm


def injection(case: Case) -> Outcome:
    """R12: extreme uptake under the skin of the arm; a node of the same axilla is then doubtful."""
    rule = case.scene.options.injection
    if not case.places.codes(*rule.arm_keys):
        return NotAsked("R12_INJECTION", "no arm in the anatomy")
    if _is_injection(case):
        text = f"injection site: SUVmax {case.suv_max:.1f} under the skin of the arm"
        return Fired("R12_INJECTION", text, excluded=True)
    if case.probability_of(Organ.LYMPH_NODE) < 0.3:
        return None
    for other in case.siblings:
        away = float(np.linalg.norm(other.centre - case.centre))
        if other is not case and away <= rule.node_mm and _is_injection(other):
            text = f"{away:.0f} mm from the injection site {other.finding.id}: tracer in the lymph vessels?"
            return Fired("R12_INJECTION_SIDE", text, odds=rule.node_odds)
    return None


def respiration(case: Case) -> Outcome:
    """R14: near the liver's dome, on lung without a nodule: breathing may have moved it from liver to lung."""
    rule = case.scene.options.respiration
    liver = case.scene.landmarks.get("liver")
    if liver is None:
        return NotAsked("R14_RESPIRATION", "no liver in the anatomy")
    to_dome = float(abs(case.centre[2] - liver.high[2]))
    if to_dome > rule.dome_mm or case.share("lung", "lung_left", "lung_right") < 0.3:
        return None
    hu = case.hounsfield
    if hu is None:
        return NotAsked("R14_RESPIRATION", "no CT of the place")
    if float(hu.mean()) >= rule.lung_hu:
        return None
    text = (
        f"{to_dome:.0f} mm from the liver's dome, {hu.mean():.0f} HU: no nodule on CT; it may lie in the lung or in the liver"
    )
    return Fired("R14_RESPIRATION", text, odds=rule.odds)


def metal(case: Case) -> Outcome:
    """R15: metal, or dense contrast outside bone, close by: the attenuation correction may have made the uptake."""
    rule = case.scene.options.metal
    hu = case.scene.hounsfield(_around(case.centre, rule.reach_mm), case.frame)
    if hu is None:
        return NotAsked("R15_METAL", "no CT of the place")
    if float(hu.max()) > rule.metal_hu:
        return Fired("R15_METAL", f"metal of {hu.max():.0f} HU within {rule.reach_mm:g} mm", odds=rule.odds)
    # bone of any kind is as dense as contrast
    bones = case.places.codes_of_kind(StructureKind.BONE, StructureKind.VERTEBRA)
    if not any(case.nearby.get(code, np.inf) <= rule.reach_mm for code in bones):
        dense = float(np.percentile(hu, 95))
        if dense > rule.contrast_hu:
            return Fired("R15_CONTRAST", f"dense contrast of {dense:.0f} HU within {rule.reach_mm:g} mm", odds=rule.odds)
    return None


def _around(centre: Points, reach_mm: float) -> Points:
    steps = np.arange(-reach_mm, reach_mm + 1e-6, 3.0)
    offsets = np.array([o for o in product(steps, steps, steps) if np.linalg.norm(o) <= reach_mm])
    return np.asarray(centre + offsets)


def field_edge(case: Case) -> Outcome:
    """A small focus in the first or last slices of the PET, where the scanner counts least."""
    rule = case.scene.options.field_edge
    grid = case.finding.located.candidate.grid
    axis, _ = grid.axis_toward((0.0, 0.0, 1.0))
    slices = case.finding.located.candidate.voxels[:, axis]
    from_end = int(min(slices.min(), grid.shape[axis] - 1 - slices.max()))
    if from_end >= rule.slices or case.measures.volume_ml > rule.max_ml:
        return None
    text = f"{from_end} slices from the end of the field of view, {case.measures.volume_ml:.1f} ml"
    return Fired("FIELD_EDGE", text, odds=rule.odds, klass=LesionClass.BENIGN)
