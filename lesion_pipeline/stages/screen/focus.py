"""Rules FOCUS and NODULE: a lesion of bone, lung or mediastinum has an edge, one of the lung may show on CT."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.imaging.lung_nodule import lung_nodule
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome


def edge(case: Case) -> Outcome:
    """How steeply the uptake ends: within millimetres like a lesion's, or fading like marrow's.

    Noise has the sharpest edges of all: of what is smaller than a scanner shows an edge says nothing. Of a large uptake the
    ring lies inside it and says nothing either, and the half radius of a clear one is its size, not its slope. In lung and
    mediastinum an edge speaks for a nodule; what has none there is blood in a vessel, which is faint anyway.
    """
    rule = case.scene.options.focus
    seen = case.focality
    in_bone = case.probability_of(Organ.BONE) >= 0.5
    if seen is None or not (in_bone or _in_quiet_chest(case)):
        return None
    most = rule.most_odds if in_bone else rule.chest_most_odds
    odds = float(np.clip((seen.per_mm / rule.usual_per_mm) ** rule.steepness, rule.least_odds, most))
    text = f"{seen.contrast:.1f} times what lies round it, half of that within {seen.half_mm:.1f} mm"
    if odds >= 1.0 and seen.half_ml < rule.least_ml:
        return None
    if odds >= 1.0:
        return Fired("FOCUS_EDGE", f"{text}: it ends as a lesion does", odds=odds)
    if case.measures.volume_ml > rule.large_ml or seen.contrast >= rule.clear_contrast or not in_bone:
        return None
    return Fired("FOCUS_FADING", f"{text}: it fades as uneven marrow does", odds=odds, klass=LesionClass.PHYSIOLOGIC)


def nodule(case: Case) -> Outcome:
    """A focus of the lung over a nodule of the CT. No nodule says nothing: it may touch the pleura, or be of ground glass."""
    rule, ct = case.scene.options.lung_nodule, case.scene.study.ct
    if case.probability_of(Organ.LUNG) < 0.5:
        return None
    link = case.scene.link_to_ct(case.frame)
    if ct is None or link is None:
        return NotAsked("LUNG_NODULE", "no CT of the place")
    seen = lung_nodule(ct, link.apply(case.centre[None]), rule.measure)
    if seen is None:
        return None
    text = f"a nodule of {seen.volume_ml:.1f} ml on CT, {seen.away_mm:.0f} mm from its centre"
    return Fired("LUNG_NODULE", text, odds=rule.odds)


def _in_quiet_chest(case: Case) -> bool:
    """A focus of the lung, or of the space between the lungs."""
    if case.probability_of(Organ.LUNG) >= 0.5:
        return True
    inside = case.places.region("mediastinum", case.points)
    return inside is not None and float(inside.mean()) >= case.scene.options.focus.chest_share
