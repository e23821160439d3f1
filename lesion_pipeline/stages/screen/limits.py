"""Rules about what can be seen at all: sub-resolution foci, small lesions, pieces of a neighbour, outside the patient."""

from __future__ import annotations

from itertools import product

import numpy as np

from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome


def _extent_ml(case: Case) -> float:
    """How large a focus is: its delineated volume, or what lies above half its height where it has an edge of its own.

    A threshold just below the peak of a faint lesion leaves its tip.
    """
    seen, drawn = case.focality, case.measures.volume_ml
    if seen is None or seen.per_mm < case.scene.options.focus.usual_per_mm:
        return drawn
    return max(drawn, seen.half_ml)


def sub_resolution(case: Case) -> Outcome:
    """R20: too small to be told from noise."""
    rule = case.scene.options.sub_resolution
    count, volume = len(case.points), _extent_ml(case)
    if volume >= rule.millilitres and (count >= rule.voxels or volume > case.measures.volume_ml):
        return None
    return Fired("R20_SUB_RESOLUTION", f"below the scanner's resolution: {count} voxels, {volume:.2f} ml", ceiling=rule.ceiling)


def small(case: Case) -> Outcome:
    """4.2: a small lesion without much contrast is carried as a doubt."""
    rule = case.scene.options.sub_resolution
    peak, background = case.measures.suv_peak, case.measures.background
    if case.measures.volume_ml >= rule.small_millilitres or not peak or not background:
        return None
    if peak / background >= rule.small_contrast:
        return None
    text = f"small ({case.measures.volume_ml:.2f} ml) and {peak / background:.1f} times its surroundings"
    return Fired("SMALL", text, shrink=rule.small_shrink)


def own_lesion(case: Case) -> Outcome:
    """4.3: a part cut from a hotter neighbour over a saddle that leaves open whether it is a lesion of its own.

    It is one at most as probably as that.
    """
    own = case.finding.located.candidate.own_probability
    if own >= 0.995:
        return None
    text = f"a lesion of its own with probability {own:.2f}; otherwise part of its neighbour"
    return Fired("SPLIT", text, odds=own, ceiling=own)


def outline(case: Case) -> Outcome:
    """R13: centre outside the patient's outline drawn in by a margin: contamination, a skin fold, a catheter."""
    margin = case.scene.options.outline.erosion_mm
    steps = np.array([s for s in product((-1.0, 0.0, 1.0), repeat=3) if any(s)])
    ring = case.centre + margin * steps / np.linalg.norm(steps, axis=1, keepdims=True)
    asked = np.vstack([case.centre[None, :], ring])
    inside = case.places.body(asked)
    if inside is None:
        return NotAsked("R13_OUTSIDE_BODY", "no outline of the patient")
    if not case.places.covered(asked).all():
        return NotAsked("R13_OUTSIDE_BODY", "beyond the CT")
    if inside.all():
        return None
    where = "outside the patient" if not inside[0] else f"less than {margin:g} mm under the skin"
    return Fired("R13_OUTSIDE_BODY", f"{where}: contamination or skin fold", excluded=True)
