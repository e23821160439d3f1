"""The stage's door: every rule of the preset is asked of every finding, and the answers become one decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Decision, Finding, LesionClass, Reason, Screened
from lesion_pipeline.domain.study import Study
from lesion_pipeline.stages.screen import (
    abdomen,
    artefact,
    bone,
    ct_alone,
    focus,
    glands,
    heart,
    limb,
    limits,
    marrow,
    organs,
    pattern,
    pelvis,
    soft,
    spine,
    urinary,
)
from lesion_pipeline.stages.screen.case import Case, Scene
from lesion_pipeline.stages.screen.combine import base_log_odds, probability
from lesion_pipeline.stages.screen.corroboration import corroborate
from lesion_pipeline.stages.screen.options import Options, RuleName
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome
from lesion_pipeline.stages.screen.second_reading import disagreement

STAGE = "screen"

Rule = Callable[[Case], Outcome]
RULES: Mapping[RuleName, Rule] = {
    "ORGAN": organs.ordinary_uptake,
    "SPILL": organs.spill,
    "SMALL": limits.small,
    "OWN": limits.own_lesion,
    "EDGE": artefact.field_edge,
    "PAIR": soft.head_and_neck_pair,
    "LIMB": limb.mass_of_a_leg,
    "PATTERN": pattern.whole_body_pattern,
    "HEART": heart.heart_wall,
    "MARROW": marrow.beside_its_neighbours,
    "FOCUS": focus.edge,
    "NODULE": focus.nodule,
    "OVARIES": soft.ovaries,
    "RENAL": urinary.renal_bed,
    "RIB_FRACTURE": bone.rib_fracture,
    "RIB_HEAD": marrow.rib_head,
    "R1": soft.brown_fat,
    "R2": soft.muscle,
    "R3": marrow.activation,
    "R4": spine.spinal_cord,
    "R5": spine.degeneration,
    "R6": spine.fracture,
    "R7": bone.unspecific_bone,
    "R8": bone.rib_focus,
    "R9": soft.ganglion,
    "R10": urinary.ureter,
    "R11": organs.bowel,
    "LUMEN": organs.lumen,
    "R12": artefact.injection,
    "R13": limits.outline,
    "R14": artefact.respiration,
    "R15": artefact.metal,
    "R16": spine.haemangioma,
    "R18": soft.hilar_nodes,
    "R19": bone.whole_bone,
    "R20": limits.sub_resolution,
    "GLANDS": glands.head_glands,
    "BILE": abdomen.bile,
    "KIDNEYS": abdomen.kidneys,
    "GUT": abdomen.gut,
    "PROSTATE": pelvis.prostate,
    "BLOOD": soft.blood_pool,
}


def run(findings: Sequence[Finding], study: Study, anatomy: Anatomy, options: Options) -> tuple[Screened, ...]:
    """Decide over every finding, in the given order. Excluded ones are kept with their reasons."""
    scene = Scene(study, anatomy, options)
    cases = [Case(finding, scene) for finding in findings if not ct_alone.is_on_ct_alone(finding)]
    for case in cases:
        case.siblings = cases
    decided = {case.finding.id: _decide(case, options) for case in cases}
    return tuple(decided.get(f.id) or ct_alone.screened(f, options.ct_alone) for f in findings)


def _decide(case: Case, options: Options) -> Screened:
    fired, unasked = ask(case, options)
    fired.extend(corroborate(case, options.corroboration))
    fired.extend(disagreement(case))
    base = base_log_odds(case, fired, options.logistic)
    p = probability(base, fired, options.logistic)
    reasons = [_measured(case, base), *(Reason(f.code, f.text, log(f.odds) if f.odds != 1.0 else None) for f in fired)]
    if unasked:
        missing = "; ".join(f"{n.code.split('_')[0]} ({n.why})" for n in unasked)
        reasons.append(Reason("NOT_ASKED", f"rules that could not be asked: {missing}"))
    known = bool(case.site.organ_probabilities)
    if not known:
        p = min(p, options.decide.unknown_place_ceiling)
        why = {
            "NO_ANATOMY": "without an anatomy nothing is known of the place, so ordinary uptake cannot be told from a lesion",
            "ANATOMY_NOT_LINKED": "nothing links the anatomy to the PET, so the place is not known",
            "OUTSIDE_ANATOMY": "the place lies beyond the anatomy, so it is not known",
        }
        code = next((d for d in case.site.doubts if d in why), "NO_ANATOMY")
        reasons.append(Reason(f"PLACE_UNKNOWN_{code}", why[code]))
    if any(f.excluded for f in fired):
        p = min(p, options.logistic.lowest)
    decided = decision(p, fired, known=known or any(f.placed for f in fired), options=options)
    return Screened(case.finding, decided, p, _lesion_class(fired, decided), tuple(reasons))


def ask(case: Case, options: Options) -> tuple[list[Fired], list[NotAsked]]:
    """Every rule of the preset, asked of one finding: what fired, and what could not be asked."""
    fired: list[Fired] = []
    unasked: list[NotAsked] = []
    for name in options.rules:
        answer = RULES[name](case)
        if isinstance(answer, Fired):
            fired.append(answer)
        elif isinstance(answer, NotAsked):
            unasked.append(answer)
    return fired, unasked


def decision(p: float, fired: Sequence[Fired], *, known: bool, options: Options) -> Decision:
    """What a probability and the rules that fired come to; known: something says where the finding lies."""
    explained = any(f.klass is not None and f.odds < 1.0 for f in fired)
    least = options.decide.explained_below if explained else options.decide.excluded_below
    if any(f.excluded for f in fired) or p < least:
        return Decision.EXCLUDED
    if p >= options.decide.counted_from and known:
        return Decision.COUNTED
    return Decision.UNCERTAIN


def _lesion_class(fired: Sequence[Fired], decided: Decision) -> LesionClass:
    if decided is not Decision.EXCLUDED:
        return LesionClass.METASTASIS
    named = [f for f in fired if f.klass is not None]
    if named:
        return min(named, key=lambda f: f.odds).klass or LesionClass.PHYSIOLOGIC
    return LesionClass.PHYSIOLOGIC if any(f.excluded for f in fired) else LesionClass.BENIGN


def _measured(case: Case, base: float) -> Reason:
    """What is seen, before any rule, in words."""
    measures = case.measures
    parts = [f"{measures.volume_ml:.2f} ml"]
    if measures.suv_max is not None:
        parts.insert(0, f"SUVmax {measures.suv_max:.1f}")
    if measures.suv_peak is not None and measures.background:
        parts.append(f"SUVpeak {measures.suv_peak / measures.background:.1f} times its surroundings")
    marrow = case.scene.references.marrow
    if measures.suv_max is not None and marrow is not None and marrow.median > 0 and case.share_of_bone() >= 0.3:
        parts.append(f"SUVmax {measures.suv_max / marrow.median:.1f} times the patient's own marrow")
    own = case.finding.located.candidate.probability
    if own is not None:
        parts.append(f"the detector's own probability {own:.2f}")
    return Reason("UPTAKE", ", ".join(parts), base)
