"""[match]: when CT and MR speak for or against a lesion (clinical specification 5). Lengths in mm, signals as ratios."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CtRules(BaseModel):
    """5.1. smoothing_mm: sigma of the Gaussian against low-dose noise. depth_mm: trabecular bone begins this deep in a bone.

    lytic_sd, lytic_below_hu, fat_hu: lytic is below the reference by that many SD, below that HU and above fat.
    sclerotic_sd, sclerotic_above_hu: likewise. band_mm: a thinner sclerotic band along an endplate is degenerative.
    mixed_share: both classes from this share on. metal_hu within metal_mm: nothing can be said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smoothing_mm: float = Field(gt=0)
    margin_mm: float = Field(ge=0)
    depth_mm: float = Field(ge=0)
    min_ml: float = Field(gt=0)
    lytic_sd: float
    lytic_below_hu: float
    fat_hu: float
    sclerotic_sd: float
    sclerotic_above_hu: float
    band_mm: float
    mixed_share: float
    metal_hu: float
    metal_mm: float
    min_bone_probability: float


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
