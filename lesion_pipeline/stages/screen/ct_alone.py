"""Foci that only the CT shows: reported with what they look like, never counted as they stand (clinical specification 5.1)."""

from __future__ import annotations

from lesion_pipeline.domain.lesion import Decision, Finding, LesionClass, Reason, Screened
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.stages.screen.options import CtAlone


def is_on_ct_alone(finding: Finding) -> bool:
    """Seen on the CT only, and by a detector that gives no probability of its own (a lesion that a reader drew has one)."""
    candidate = finding.located.candidate
    return candidate.modality is Modality.CT and candidate.probability is None


def screened(finding: Finding, rule: CtAlone) -> Screened:
    """CT_ONLY: no rule about uptake is asked of what has none."""
    evidence, volume = finding.evidence, finding.located.candidate.measures.volume_ml
    look = evidence.ct if evidence.ct in ("lytic", "sclerotic", "mixed") else "changed"
    detail = "; ".join(note.removeprefix("CT: ") for note in evidence.notes if note.startswith("CT: "))
    where = "without uptake on PET" if evidence.pet == "negative" else "where no PET reaches"
    text = f"seen on CT alone: {look} bone of {volume:.1f} ml {where}" + (f" ({detail})" if detail else "")
    reason = Reason("CT_ONLY", f"{text}; reported, not counted")
    if rule.decision == "excluded":
        return Screened(finding, Decision.EXCLUDED, rule.probability, LesionClass.BENIGN, (reason,))
    return Screened(finding, Decision.UNCERTAIN, rule.probability, LesionClass.ADDITIONAL, (reason,))
