"""[screen]: the numbers of every rule, the logistic that joins them and the decision. None has a default."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.imaging.reference_regions import ReferenceRules

RuleName = Literal[
    "ORGAN", "SPILL", "SMALL", "OWN",
    "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15", "R16", "R18", "R19", "R20",
]  # fmt: skip


class Table(BaseModel):
    """A table of the preset: no unknown keys, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Odds(Table):
    """A rule whose only number is what it does to the odds of a metastasis."""

    odds: float = Field(gt=0, le=1)


class Logistic(Table):
    """log-odds = intercept + uptake * ln(SUVmax / reference_suv) + contrast * ln(SUVpeak / background)
    + noise * ln(contrast-to-noise / 5) + volume * ln(millilitres) + bone * P(bone), each measurement held within ``limit``,
    the sum within ``most``: no uptake however hot is proof against the rules.
    """

    intercept: float
    uptake: float
    reference_suv: float = Field(gt=0)
    contrast: float
    noise: float
    volume: float
    bone: float
    limit: float = Field(gt=0)
    most: float = Field(gt=0)
    lowest: float = Field(gt=0, lt=0.5)
    highest: float = Field(gt=0.5, lt=1)


class Decide(Table):
    """counted from ``counted_from`` on, excluded below ``excluded_below``, uncertain between.

    unknown_place_ceiling: highest probability where nothing is known of the place; such a finding is never counted outright.
    """

    counted_from: float = Field(gt=0, lt=1)
    excluded_below: float = Field(ge=0, lt=1)
    unknown_place_ceiling: float = Field(gt=0, le=1)


class OrganMask(Table):
    """One organ's ordinary uptake. even: a focus above median + mad_factor * MAD stands out and is judged like any other."""

    odds: float = Field(gt=0, le=1)
    even: bool
    standing_out_odds: float = Field(gt=0, le=1)


class Masks(Table):
    """share: from this share of the uptake on, an organ's rule speaks. spill_*: see rule SPILL."""

    share: float = Field(gt=0, le=1)
    mad_factor: float = Field(gt=0)
    spill_mm: float = Field(ge=0)
    spill_odds: float = Field(gt=0, le=1)
    organs: dict[str, OrganMask]


class Cord(Table):
    """R4"""

    canal_share: float
    below_suv: float
    elongation: float
    levels: tuple[str, ...]
    odds: float


class Ureter(Table):
    """R10. psoas_mm: distance of the ureter from the spine's midline. max_bone_share: a focus in bone is no ureter."""

    tube_mm: float
    psoas_mm: float
    elongation: float
    short_ml: float
    max_bone_share: float
    odds: float


class Bowel(Table):
    """R11. focal_ratio: a focus this many times the segment's median keeps ``focal_floor``.

    unmapped_odds: for a focus of the abdominal cavity when no map names the bowel.
    """

    keys: tuple[str, ...]
    share: float
    focal_ratio: float
    focal_floor: float
    odds: float
    unmapped_odds: float


class Outline(Table):
    """R13"""

    erosion_mm: float


class SubResolution(Table):
    """R20 and the shrinking of small lesions (4.2)."""

    millilitres: float
    voxels: int
    ceiling: float
    small_millilitres: float
    small_contrast: float
    small_shrink: float


class Coverage(Table):
    """What the PET must reach to be called whole: from the skull base to ``thigh_mm`` below the top of the femur."""

    thigh_mm: float


class Options(Table):
    """[screen]"""

    rules: tuple[RuleName, ...]
    reach_mm: float = Field(gt=0)
    urinary_excretion: bool
    logistic: Logistic
    decide: Decide
    masks: Masks
    cord: Cord
    ureter: Ureter
    bowel: Bowel
    outline: Outline
    sub_resolution: SubResolution
    coverage: Coverage
    references: ReferenceRules
