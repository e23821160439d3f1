"""What CT and MR say for or against a lesion seen on PET (clinical specification 5.4)."""

from __future__ import annotations

from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.options import Corroboration
from lesion_pipeline.stages.screen.outcome import Fired

_ON_CT = ("lytic", "sclerotic", "mixed")


def corroborate(case: Case, rule: Corroboration) -> list[Fired]:
    """Evidence of other modalities as odds, a floor (PET and MR agree) or a ceiling (an assessable MR shows nothing)."""
    said = case.finding.evidence
    out = []
    detail = "; ".join(said.notes)
    if said.ct in _ON_CT:
        out.append(Fired("CT_CORRELATE", f"{said.ct} on CT" + (f": {detail}" if detail else ""), odds=rule.ct_positive_odds))
    elif said.ct == "none":
        out.append(Fired("CT_NONE", "nothing on CT, which is common for a marrow lesion", odds=rule.ct_none_odds))
    if said.mri == "positive":
        floor = rule.confirmed_floor
        out.append(Fired("MRI_POSITIVE", "MR shows the lesion too", odds=rule.mri_positive_odds, floor=floor))
    elif said.mri == "probable":
        out.append(Fired("MRI_PROBABLE", "MR shows some of the signs", odds=rule.mri_positive_odds**0.5))
    elif said.mri == "negative":
        out.append(Fired("MRI_NEGATIVE", "MR of the place shows nothing", ceiling=rule.discordant_ceiling))
    return out
