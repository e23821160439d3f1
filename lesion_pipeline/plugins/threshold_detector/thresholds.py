"""From normal uptake to the SUV above which uptake is a candidate (clinical specification 2.7)."""

from __future__ import annotations

from dataclasses import dataclass

from lesion_pipeline.imaging.reference_regions import Reference, References
from lesion_pipeline.plugins.threshold_detector.options import BoneRule, SoftTissueRule


@dataclass(frozen=True, slots=True)
class Thresholds:
    """SUV above which a voxel can start a candidate. basis: what the soft-tissue threshold rests on."""

    soft: float
    bone: float
    basis: str

    @property
    def lowest(self) -> float:
        return min(self.soft, self.bone)


def thresholds(references: References, soft: SoftTissueRule, bone: BoneRule, bones_known: bool) -> Thresholds:
    """Thresholds of one patient. Without named bones everything is judged as soft tissue."""
    level, basis = _soft(references, soft)
    if not bones_known:
        return Thresholds(level, level, basis)
    marrow = references.marrow
    lowest = max(bone.floor, above_blood(references, bone))
    if marrow is None:
        return Thresholds(level, lowest, basis)
    own = max(bone.marrow_factor * marrow.median, marrow.median + bone.marrow_mad_factor * marrow.mad)
    return Thresholds(level, max(lowest, own), basis)


def above_blood(references: References, bone: BoneRule) -> float:
    """SUV that bone must exceed for the blood beside it; 0 where the blood is not known."""
    return bone.blood_factor * references.blood.mean if references.blood is not None else 0.0


def _soft(references: References, rule: SoftTissueRule) -> tuple[float, str]:
    if rule.rule == "fixed":
        return rule.floor, "fixed"
    wanted: tuple[tuple[str, Reference | None], ...] = (("liver", references.liver), ("blood pool", references.blood))
    if rule.rule == "blood":
        wanted = wanted[1:]
    elif rule.rule == "liver_variation":
        wanted = wanted[:1]
    for name, reference in wanted:
        if reference is None:
            continue
        if rule.rule == "liver_variation":
            value = rule.liver_mean_factor * (1.0 + reference.cv)
        elif name == "liver":
            value = rule.liver_mean_factor * reference.mean + rule.liver_sd_factor * reference.sd
        else:
            value = rule.blood_mean_factor * reference.mean + rule.blood_sd_factor * reference.sd
        return min(max(value, rule.floor), rule.ceiling), name
    return rule.without_reference, "no reference region"
