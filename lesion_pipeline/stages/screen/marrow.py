"""Rules about marrow: what the neighbouring levels take up, and marrow that is active everywhere (R3).

Marrow varies smoothly along the spine and brightens towards the pelvis, so a focus is held against its own neighbourhood. What
the marrow of a bone takes up is the upper quartile of its voxels: the others are cortex and blur.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.stages.screen.case import Case, Scene
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome

_POSTERIOR = "_posterior"
_PELVIS = ("hip_left", "hip_right", "sacrum", "vertebra_S")
_LUMBAR_BESIDE_PELVIS = 2
_FEWEST = 3


def _bodies(scene: Scene) -> list[str]:
    """Keys of the vertebral bodies from head to foot."""
    heights = {
        key: mark.centre[2]
        for key, mark in scene.landmarks.items()
        if key.startswith("vertebra_") and not key.endswith(_POSTERIOR) and key in scene.references.organs
    }
    return sorted(heights, key=lambda key: -heights[key])


def neighbouring_marrow(case: Case) -> float | None:
    """Median SUV of the marrow next to a focus of spine or pelvis, the bone that holds it left out; None elsewhere.

    Of a vertebra: as many vertebrae above and below as the preset says. Of a bone of the pelvis: its other bones and the two
    lowest vertebrae above it. So one or two diseased neighbours change nothing.
    """
    key, uptake = case.site.structure.removesuffix(_POSTERIOR), case.scene.references.organs
    bodies = _bodies(case.scene)
    if key in _PELVIS:
        mobile = [k for k in bodies if k not in _PELVIS]
        near = [k for k in _PELVIS if k != key and k in uptake] + mobile[-_LUMBAR_BESIDE_PELVIS:]
    elif key in bodies:
        at, reach = bodies.index(key), case.scene.options.marrow.neighbours
        near = bodies[max(0, at - reach) : at] + bodies[at + 1 : at + 1 + reach]
    else:
        return None
    return float(np.median([uptake[k].upper for k in near])) if len(near) >= _FEWEST else None


def beside_its_neighbours(case: Case) -> Outcome:
    """How far a focus of spine or pelvis exceeds the marrow of the neighbouring bones: the unevenness of marrow, or more."""
    rule, peak = case.scene.options.marrow, case.measures.suv_peak
    if case.probability_of(Organ.BONE) < 0.5 or not peak:
        return None
    usual = neighbouring_marrow(case)
    if usual is None or usual <= 0:
        return None
    ratio = peak / usual
    odds = float(np.clip((ratio / rule.even_ratio) ** rule.steepness, rule.least_odds, rule.most_odds))
    text = f"SUVpeak {ratio:.1f} times the marrow of the neighbouring bones ({usual:.1f})"
    if ratio < rule.even_ratio:
        return Fired("MARROW_UNEVEN", f"{text}: no more than marrow varies by itself", odds=odds, klass=LesionClass.PHYSIOLOGIC)
    return Fired("MARROW_EXCEEDED", f"{text}: more than marrow varies by itself", odds=odds)


def activation(case: Case) -> Outcome:
    """R3: the whole marrow is brighter than the liver; a lesion must then stand out of the marrow next to it."""
    rule, references = case.scene.options.marrow, case.scene.references
    if case.probability_of(Organ.BONE) < 0.5:
        return None
    if references.marrow is None or references.liver is None:
        return NotAsked("R3_MARROW", "no marrow reference" if references.marrow is None else "no liver reference")
    levels = _levels(case.scene)
    brighter = float(np.mean(levels > references.liver.mean)) if len(levels) >= _FEWEST else 0.0
    spleen = references.organs.get("spleen")
    if brighter < rule.share or (spleen is not None and spleen.median < references.liver.mean):
        return None
    middle = float(np.median(levels))
    # from one level to the next: a rise towards the pelvis is no unevenness
    steps = 1.4826 * float(np.median(np.abs(np.diff(levels)))) / np.sqrt(2.0) / max(middle, 1e-6)
    beside = neighbouring_marrow(case) or middle
    ratio = case.suv_max / max(beside, 1e-6)
    if steps >= rule.max_cv or beside <= references.liver.mean or ratio >= rule.ratio:
        return None
    text = (
        f"activated marrow: {100 * brighter:.0f} % of the vertebrae are brighter than the liver, "
        f"this place only {ratio:.1f} times the marrow beside it, where a lesion must reach {rule.ratio:g} times"
    )
    return Fired("R3_MARROW", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _levels(scene: Scene) -> npt.NDArray[np.float64]:
    """SUV of the marrow of every thoracic and lumbar vertebra: the small ones of the neck are all cortex and blur."""
    keys = [k for k in _bodies(scene) if not k.startswith("vertebra_C") and k not in _PELVIS]
    return np.array([scene.references.organs[k].upper for k in keys], dtype=np.float64)


def rib_head(case: Case) -> Outcome:
    """A focus that a map puts into the lung beside ribs and spine, no brighter than marrow varies.

    The bone's map is coarse there, and the heads of ribs with active marrow are brighter than the lung's own threshold; so is
    the blood of the vessels at the top of the chest, which no map names.
    """
    rule, marrow = case.scene.options.marrow, case.scene.references.marrow
    if case.probability_of(Organ.LUNG) < 0.5:
        return None
    if marrow is None:
        return NotAsked("RIB_HEAD", "no marrow reference")
    away = case.distance("rib", "vertebra")
    if away is None or away > rule.rib_head_mm or case.suv_max > rule.rib_head_ratio * marrow.median:
        return None
    ratio = case.suv_max / max(marrow.median, 1e-6)
    text = f"{away:.0f} mm from a rib or the spine and only {ratio:.1f} times the marrow: the head of a rib or a vessel"
    return Fired("RIB_HEAD", text, odds=rule.rib_head_odds, klass=LesionClass.PHYSIOLOGIC)
