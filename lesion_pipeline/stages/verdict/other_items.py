"""The items that are not counts: age, spinal metastasis on enhanced imaging, and what only a person can answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.clinical import ClinicalFacts, ClinicalItem
from lesion_pipeline.domain.study import SeriesRole, Study
from lesion_pipeline.domain.verdict import CountableLesion, CriterionAnswer, CriterionReason, CriterionStatus, Tally
from lesion_pipeline.stages.verdict.criteria import AgeItem, ClinicalQuestion, Decision, SpineImagingItem

#: Ages above this are shown as "90+": they identify.
OLDEST_SHOWN = 89
ON_CT = ("lytic", "sclerotic", "mixed", "positive")


def age(item: AgeItem, study: Study | None, clinical: ClinicalFacts | None) -> CriterionAnswer:
    """Completed years, both ends included. The header gives the age at imaging; the criterion asks for it at enrolment."""
    given = clinical.age_years if clinical else None
    years = given if given is not None else study.patient.age_years if study else None
    if years is None:
        reason = CriterionReason("AGE_UNKNOWN", "neither the header nor a clinical table gives an age")
        status = CriterionStatus.NOT_ASSESSABLE
        return CriterionAnswer(item.id, item.title, status, reasons=(reason,), human_questions=item.questions, source="human")
    shown = "90+" if years > OLDEST_SHOWN else str(years)
    inside = item.min_years <= years <= item.max_years
    if given is not None:
        reasons = [CriterionReason("AGE_FROM_TABLE", f"{shown} completed years by the clinical table")]
    else:
        source = (study.patient.age_source if study else None) or "the header"
        reasons = [CriterionReason("AGE_AT_IMAGING", f"{shown} completed years at imaging, by {source}")]
        if study and study.patient.age_boundary:
            reasons.append(CriterionReason("AGE_BIRTHDAY", "the birthday is on the study date"))
        if years in (item.min_years - 1, item.max_years):
            reasons.append(CriterionReason("AGE_BOUNDARY", "one more year by enrolment would change the answer"))
    margin = (
        ("years_min", years, item.min_years, years - item.min_years),
        ("years_max", years, item.max_years, item.max_years - years),
    )
    return CriterionAnswer(
        item.id,
        item.title,
        CriterionStatus.MEETS if inside else CriterionStatus.DOES_NOT_MEET,
        margin=margin if years <= OLDEST_SHOWN else (),
        reasons=tuple(reasons),
        source="clinical_table" if given is not None else "header",
    )


def spine_imaging(
    item: SpineImagingItem, tally: Tally, study: Study | None, decision: Decision, clinical: ClinicalFacts | None
) -> CriterionAnswer:
    """``meets`` when an enhanced MR or enhanced CT shows a spinal metastasis; ``does_not_meet`` only when every probable spinal
    lesion was looked for on enhanced MR and is absent there. The unenhanced CT of a PET-CT does not qualify.
    """
    said = clinical.item(item.id) if clinical else None
    if said is not None and said.answer != "unknown":
        return _from_table(item, said)
    spinal = [x for x in tally.countable if x.spinal and x.evidence is not None]
    seen = [x for x in spinal if _shown(x, study) and x.probability >= decision.p_meets]
    probable = [x for x in spinal if x.probability >= 0.5]
    refuted = [x for x in probable if x.evidence and x.evidence.mri == "negative" and x.evidence.mri_enhanced]
    status = CriterionStatus.INDETERMINATE
    if seen:
        status = CriterionStatus.MEETS
        names = ", ".join(f"{x.id} ({'/'.join(x.vertebrae) or 'spine'})" for x in seen)
        reasons = [CriterionReason("SEEN_ENHANCED", f"spinal metastasis on enhanced imaging: {names}")]
    elif probable and len(refuted) == len(probable):
        status = CriterionStatus.DOES_NOT_MEET
        reasons = [CriterionReason("NOT_SEEN_ENHANCED", "no spinal lesion of the PET is visible on enhanced MR that covers it")]
    else:
        reasons = [_why_open(spinal, study)]
    if study and any(s.kind in ("CR", "DX", "RG") for s in study.series):
        reasons.append(CriterionReason("X_RAY_PRESENT", "an X-ray series is there; it was not read"))
    questions = () if status is CriterionStatus.MEETS else item.questions
    return CriterionAnswer(item.id, item.title, status, reasons=tuple(reasons), human_questions=questions)


def _shown(lesion: CountableLesion, study: Study | None) -> bool:
    evidence = lesion.evidence
    if evidence is None:
        return False
    on_ct = evidence.ct in ON_CT and study is not None and _has_enhanced_ct(study)
    return (evidence.mri == "positive" and bool(evidence.mri_enhanced)) or on_ct


def _has_enhanced_ct(study: Study) -> bool:
    return any(s.role is SeriesRole.CT and s.chosen and s.ct is not None and s.ct.contrast for s in study.series)


def _why_open(spinal: Sequence[CountableLesion], study: Study | None) -> CriterionReason:
    if study is None:
        return CriterionReason("NOT_IN_TABLE", "the lesion table names no spinal lesion that enhanced imaging shows or refutes")
    if not study.mr and _has_enhanced_ct(study):
        text = "there is no MR, and the CT with contrast medium shows no spinal metastasis for certain"
        return CriterionReason("CT_UNDECIDED", text)
    if not study.mr:
        return CriterionReason("NO_MR", "there is no MR, and the CT of a PET-CT without contrast does not qualify")
    if not any(facts.contrast for facts, _ in study.mr):
        positive = [x.id for x in spinal if x.evidence and x.evidence.mri == "positive"]
        seen = f"; positive without contrast: {', '.join(positive)}" if positive else ""
        return CriterionReason("MR_NOT_ENHANCED", f"no MR series is known to be contrast-enhanced{seen}")
    return CriterionReason("MR_UNDECIDED", "the enhanced MR neither shows nor rules out a spinal metastasis with certainty")


def clinical_question(
    item: ClinicalQuestion, study: Study | None, caveats: Sequence[Caveat], clinical: ClinicalFacts | None
) -> CriterionAnswer:
    """What only a person can answer. Signs on images are given as flags; their absence is never taken for an answer."""
    said = clinical.item(item.id) if clinical else None
    signs = [f"{c.code}: {c.message}" for c in caveats if c.code in item.flag_codes]
    if study:
        signs += sorted({f"{s.kind} in the study" for s in study.series if s.kind in item.flag_series})
    reasons = [CriterionReason("FLAG_POSSIBLE", f"{item.flagged}: {'; '.join(signs)}")] if signs else []
    if not signs and item.not_flagged:
        reasons = [CriterionReason("NO_IMAGING_SIGN", item.not_flagged)]
    if said is not None and said.answer != "unknown":
        return _from_table(item, said, tuple(reasons))
    reasons = [*reasons, CriterionReason("NEEDS_A_PERSON", "imaging cannot answer this")]
    return CriterionAnswer(
        item.id,
        item.title,
        CriterionStatus.NOT_ASSESSABLE,
        reasons=tuple(reasons),
        human_questions=item.questions,
        source="human",
    )


def beside_table(computed: CriterionAnswer, clinical: ClinicalFacts | None) -> CriterionAnswer:
    """A computed answer beside what the clinical table says: the table answers only what could not be computed."""
    said = clinical.item(computed.id) if clinical else None
    if said is None or said.answer == "unknown":
        return computed
    if computed.status is CriterionStatus.NOT_ASSESSABLE:
        return _from_table(computed, said)
    text = f"the clinical table says {said.answer.replace('_', ' ')}; what was computed stands"
    return replace(computed, reasons=(*computed.reasons, CriterionReason("CLINICAL_TABLE_NOT_USED", text)))


def _from_table(
    item: ClinicalQuestion | SpineImagingItem | CriterionAnswer, said: ClinicalItem, more: tuple[CriterionReason, ...] = ()
) -> CriterionAnswer:
    who = f" by {said.by}" if said.by else ""
    comment = f": {said.comment}" if said.comment else ""
    reason = CriterionReason("CLINICAL_TABLE", f"answered in the clinical table{who}{comment}")
    return CriterionAnswer(item.id, item.title, CriterionStatus(said.answer), reasons=(reason, *more), source="clinical_table")
