"""[match]: when CT and MR speak for or against a lesion (clinical specification 5). Lengths in mm, signals as ratios."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.imaging.bone_ct import BoneRules


class CtRules(BoneRules):
    """margin_mm: bone this far round a lesion is asked too. mixed_share: both classes from this share on.

    min_bone_probability: of the place, below which the CT is not asked. absorb_mm, absorb_share: a focus of the CT is the PET's
    lesion when at least this share of it lies within this distance of the lesion's voxels.
    """

    margin_mm: float = Field(ge=0)
    mixed_share: float
    min_bone_probability: float
    absorb_mm: float = Field(ge=0)
    absorb_share: float = Field(gt=0, le=1)


class MrRules(BaseModel):
    """5.3. t1_ratio: lesion / normal vertebra at most; t1_muscle_ratio: lesion / muscle at most, where muscle is known.

    stir_ratio, enhanced_ratio: lesion / normal vertebra at least; enhancement: (post - pre) / pre at least.
    min_label_confidence: below it a series' name is not believed. neighbours: vertebrae on either side that may be reference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    t1_ratio: float
    t1_muscle_ratio: float
    stir_ratio: float
    enhancement: float
    enhanced_ratio: float
    min_label_confidence: float
    neighbours: int = Field(ge=1)
    min_points: int = Field(ge=1)


class Options(BaseModel):
    """[match]"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ct: CtRules
    mr: MrRules
