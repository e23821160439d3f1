"""Rules about bone anywhere: unspecific PSMA-1007 uptake, rib foci, whole-bone disease."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.anatomy import Organ, StructureKind
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome

_PSMA = (Tracer.PSMA_11, Tracer.DCFPYL, Tracer.PSMA_1007)
_CORRELATE = ("lytic", "sclerotic", "mixed")
_RIBS = ("rib", "rib_left", "rib_right")


def unspecific_bone(case: Case) -> Outcome:
    """R7: PSMA ligands in bone, moderate, nothing on CT; common with PSMA-1007, seen with the others."""
    rule, tracer = case.scene.options.unspecific_bone, case.scene.study.tracer
    if tracer not in _PSMA or case.probability_of(Organ.BONE) < 0.5 or case.finding.evidence.ct in _CORRELATE:
        return None
    # what joins a focus above half its height may be its surroundings: the drawn volume must agree
    extent = min(case.measures.volume_ml, case.focality.half_ml if case.focality is not None else np.inf)
    large, seen = extent >= rule.large_ml, case.finding.evidence.ct in ("none", "negative")
    in_spine = float(sum(case.shares.near[code] for code in case.places.codes_of_kind(StructureKind.VERTEBRA))) >= 0.5
    if tracer is not Tracer.PSMA_1007 or case.suv_max >= rule.below_suv:
        return _warm(case, extent) if seen and not large and not in_spine else None
    text = f"unspecific bone uptake of PSMA-1007: SUVmax {case.suv_max:.1f} below {rule.below_suv:g}"
    if large:
        text += f"; but {extent:.1f} ml, where such uptake is a small focus"
        return Fired("R7_UNSPECIFIC_LARGE", text, ceiling=rule.large_ceiling)
    if not seen:
        return Fired("R7_UNSPECIFIC_UNSEEN", f"{text}; no CT of the place to look for a correlate", ceiling=rule.unseen_ceiling)
    text += ", nothing on CT"
    if in_spine:
        text += "; but in the spine, where it is rarer than in ribs and pelvis"
        return Fired("R7_UNSPECIFIC_SPINE", text, ceiling=_like_a_lesion(case, rule.spine_odds))
    return Fired("R7_UNSPECIFIC_BONE", text, ceiling=_like_a_lesion(case), klass=LesionClass.BENIGN)


def _warm(case: Case, extent_ml: float) -> Fired | None:
    """A small focus without a correlate that is too hot to be called unspecific, or whose tracer seldom shows such."""
    rule = case.scene.options.unspecific_bone
    if case.suv_max >= rule.warm_suv or case.measures.volume_ml >= rule.warm_ml:
        return None
    text = f"{extent_ml:.1f} ml of bone outside the spine, SUVmax {case.suv_max:.1f} below {rule.warm_suv:g}, nothing on CT"
    return Fired("R7_UNSPECIFIC_WARM", f"{text}: a small lesion, or unspecific uptake", ceiling=_like_a_lesion(case))


def _like_a_lesion(case: Case, odds: float = 1.0) -> float:
    """Highest probability of a small focus without a correlate: one half at the cut of SUV and volume, more above them.

    odds: of a lesion at that cut.
    """
    rule = case.scene.options.unspecific_bone
    hotter = rule.suv_steepness * np.log(max(case.suv_max, 1e-3) / rule.below_suv)
    larger = rule.ml_steepness * np.log(max(case.measures.volume_ml, 1e-3) / rule.usual_ml)
    return float(np.clip(1.0 / (1.0 + np.exp(-hotter - larger) / odds), rule.ceiling, rule.large_ceiling))


def rib_fracture(case: Case) -> Outcome:
    """A small faint focus of a rib: a fracture takes up FDG for weeks, and slices of some millimetres do not show its line."""
    rule, evidence = case.scene.options.fracture, case.finding.evidence
    if case.share(*_RIBS) < 0.5 or evidence.ct in _CORRELATE:
        return None
    if case.suv_max >= rule.rib_suv or case.measures.volume_ml >= rule.rib_ml:
        return None
    text = f"a rib, SUVmax {case.suv_max:.1f}, {case.measures.volume_ml:.1f} ml, no CT correlate: a small lesion, or a fracture"
    return Fired("RIB_FRACTURE", text, ceiling=rule.rib_ceiling)


def rib_focus(case: Case) -> Outcome:
    """R8: a single rib with moderate PSMA uptake."""
    rule = case.scene.options.rib
    if case.share(*_RIBS) < 0.5:
        return None
    others = [c for c in case.siblings if c is not case and c.share(*_RIBS) >= 0.5]
    blood = case.scene.references.blood
    low = case.suv_max < rule.below_suv or (blood is not None and case.suv_max < rule.blood_ratio * blood.mean)
    if others or not low:
        return None
    return Fired("R8_RIB", f"a single rib, SUVmax {case.suv_max:.1f}", odds=rule.odds, klass=LesionClass.BENIGN)


def whole_bone(case: Case) -> Outcome:
    """R19: uptake that fills a whole dense bone, as in Paget's disease or fibrous dysplasia: a person must look."""
    rule = case.scene.options.whole_bone
    best = max(
        case.places.codes_of_kind(StructureKind.BONE, StructureKind.VERTEBRA),
        key=lambda code: float(case.shares.millilitres[code]),
        default=None,
    )
    if best is None:
        return None
    structure = case.places.structures[best]
    if structure is None or case.shares.inside[best] < 0.5:
        return None
    volume = case.scene.volume_ml(structure.key)
    filled = float(case.shares.millilitres[best]) / volume if volume else 0.0
    if filled < rule.bone_share:
        return None
    hu = case.hounsfield
    if hu is None:
        return NotAsked("R19_WHOLE_BONE", "no CT of the place")
    if float(hu.mean()) < rule.mean_hu_above:
        return None
    name = structure.key.replace("_", " ")
    text = f"fills {100 * min(1.0, filled):.0f} % of the {name}, {hu.mean():.0f} HU on average: Paget or dysplasia?"
    return Fired("R19_WHOLE_BONE", text, odds=rule.odds, klass=LesionClass.BENIGN)
