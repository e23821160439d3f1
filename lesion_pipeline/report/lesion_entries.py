"""Every finding, counted or not, as an entry of the count JSON."""

from __future__ import annotations

from collections.abc import Sequence

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Decision, Evidence, Screened, VertebraShare
from lesion_pipeline.domain.verdict import CountableLesion, Tally
from lesion_pipeline.report.rounding import fixed, probability


def of_findings(screened: Sequence[Screened], tally: Tally, anatomy: Anatomy) -> list[dict[str, object]]:
    """One entry a finding, in the order of screening; excluded ones with their reason."""
    known = {lesion.id: lesion for lesion in tally.countable}
    return [_finding(item, known.get(item.finding.id), anatomy) for item in screened]


def _finding(item: Screened, lesion: CountableLesion | None, anatomy: Anatomy) -> dict[str, object]:
    finding, site = item.finding, item.finding.located.site
    candidate = finding.located.candidate
    measures = candidate.measures
    main = max(site.vertebrae, key=lambda v: v.share, default=None)
    x, y, z = candidate.centroid_lps_mm
    seen = dict.fromkeys(
        {"PT": "pet", "CT": "ct", "MR": "mr"}.get(s.candidate.modality.value, "other") for s in finding.sightings
    )
    return {
        "id": finding.id,
        "decision": item.decision.value,
        "lesion_class": item.lesion_class.value,
        "probability": probability(item.probability),
        "organ": site.organ.value if site.organ else None,
        "organ_probabilities": {organ.value: probability(p) for organ, p in site.organ_probabilities},
        "structure": site.structure or None,
        "spinal": site.spinal,
        "spinal_level": site.level.name if site.level is not None else None,
        "level_confidence": probability(main.confidence) if main and main.level is not None else None,
        "vertebrae": [_vertebra(share, anatomy) for share in site.vertebrae],
        "split_probability": probability(candidate.split_probability),
        "sources": list(lesion.sources) if lesion else list(seen),
        "centroid_lps_mm": (fixed(x, 2), fixed(y, 2), fixed(z, 2)),
        "volume_ml": fixed(measures.volume_ml, 4),
        "suv_max": fixed(measures.suv_max, 4),
        "suv_mean": fixed(measures.suv_mean, 4),
        "suv_peak": fixed(measures.suv_peak, 4),
        "evidence": evidence_json(finding.evidence),
        "reasons": [{"code": reason.code, "text": reason.text} for reason in item.reasons],
        "doubts": sorted({code for sighting in finding.sightings for code in sighting.site.doubts}),
    }


def _vertebra(share: VertebraShare, anatomy: Anatomy) -> dict[str, object]:
    whole = next((v for v in anatomy.vertebrae if v.instance == share.instance), None)
    return {
        "name": share.level.name if share.level is not None else f"V{share.instance:02d}",
        "level": share.level.name if share.level is not None else None,
        "instance": share.instance,
        "confidence": probability(share.confidence),
        "involved": share.involved,
        "share": fixed(share.share, 4),
        "alternatives": {level.name: probability(p) for level, p in whole.alternatives} if whole else {},
    }


def of_table(tally: Tally, p_fails: float, p_meets: float) -> list[dict[str, object]]:
    """One entry a row of a lesion table: counted from ``p_meets``, excluded up to ``p_fails``, uncertain between. Only words:
    the count uses the probability itself.
    """
    counted = {unit.id for unit in tally.units}
    entries = []
    for lesion in tally.countable:
        decision = Decision.UNCERTAIN
        if lesion.probability >= p_meets:
            decision = Decision.COUNTED
        if lesion.id not in counted or lesion.probability <= p_fails:
            decision = Decision.EXCLUDED
        entries.append(_row(lesion, decision, lesion.id in counted))
    return entries


def _row(lesion: CountableLesion, decision: Decision, counted: bool) -> dict[str, object]:
    reasons = [] if counted else [{"code": "LEFT_OUT_BY_RULE", "text": "the counting rules leave it out"}]
    names = dict(lesion.level_alternatives)
    main = lesion.vertebrae[0] if lesion.vertebrae else None
    return {
        "id": lesion.id,
        "decision": decision.value,
        "lesion_class": lesion.klass,
        "probability": probability(lesion.probability),
        "organ": lesion.organ,
        "organ_probabilities": {organ: probability(p) for organ, p in lesion.organs},
        "structure": lesion.structure or None,
        "spinal": lesion.spinal,
        "spinal_level": main if main and not main.startswith("V") else None,
        "level_confidence": None,
        "vertebrae": [
            {
                "name": name,
                "level": None if name.startswith("V") else name,
                "instance": int(name[1:]) if name.startswith("V") else None,
                "confidence": None,
                "involved": True,
                "share": None,
                "alternatives": {level: probability(p) for level, p in names.get(name, ())},
            }
            for name in lesion.vertebrae
        ],
        "split_probability": probability(lesion.split_probability),
        "sources": list(lesion.sources),
        "centroid_lps_mm": None,
        "volume_ml": fixed(lesion.volume_ml, 4),
        "suv_max": fixed(lesion.suv_max, 4),
        "suv_mean": None,
        "suv_peak": None,
        "evidence": evidence_json(lesion.evidence) if lesion.evidence else None,
        "reasons": reasons,
        "doubts": sorted(lesion.doubts),
    }


def evidence_json(evidence: Evidence) -> dict[str, object]:
    """What each modality says."""
    return {
        "pet": evidence.pet,
        "ct": evidence.ct,
        "mri": evidence.mri,
        "mri_enhanced": evidence.mri_enhanced,
        "notes": list(evidence.notes),
    }
