"""[screen]: the logistic that joins the rules, the decision, and every rule's numbers. None has a default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lesion_pipeline.imaging.reference_regions import ReferenceRules
from lesion_pipeline.stages.screen import receptor_tables as receptors
from lesion_pipeline.stages.screen import rule_tables as rules_of
from lesion_pipeline.stages.screen.rule_tables import Table

RuleName = Literal[
    "ORGAN", "SPILL", "HEART", "OVARIES", "SMALL", "OWN", "EDGE", "MARROW", "FOCUS", "NODULE", "RENAL", "PAIR", "PATTERN",
    "LIMB", "RIB_FRACTURE", "RIB_HEAD",
    "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15", "R16", "R18", "R19",
    "R20", "LUMEN", "GLANDS", "BILE", "KIDNEYS", "GUT", "PROSTATE", "BLOOD",
]  # fmt: skip


class Logistic(Table):
    """log-odds = intercept + uptake * ln(SUVmax / reference_suv) + contrast * ln(SUVpeak / background)
    + noise * ln(contrast-to-noise / 5) + volume * ln(millilitres) + bone * P(bone), each measurement held within ``limit``, the
    one of noise below ``noise_limit`` (what clearly stands out of it is no surer the farther it does), the sum within
    ``most``: no uptake however hot is proof against the rules, and no rule that speaks for a lesion is drowned by measurements;
    where none does, they may fall to ``-least``. The background is the surroundings or the usual uptake of the
    lesion's own bone or organ, whichever is higher.
    """

    intercept: float
    uptake: float
    reference_suv: float = Field(gt=0)
    contrast: float
    noise: float
    volume: float
    bone: float
    limit: float = Field(gt=0)
    noise_limit: float = Field(gt=0)
    most: float = Field(gt=0)
    least: float = Field(gt=0)
    lowest: float = Field(gt=0, lt=0.5)
    highest: float = Field(gt=0.5, lt=1)


class Decide(Table):
    """counted from ``counted_from`` on, excluded below ``excluded_below``, uncertain between.

    explained_below: in place of excluded_below where a rule names what else the finding is and speaks against a lesion.
    unknown_place_ceiling: highest probability where nothing is known of the place; such a finding is not counted outright
    unless a rule says where it lies all the same.
    """

    counted_from: float = Field(gt=0, lt=1)
    excluded_below: float = Field(ge=0, lt=1)
    explained_below: float = Field(ge=0, lt=1)
    unknown_place_ceiling: float = Field(gt=0, le=1)


class Corroboration(Table):
    """What CT and MR do to a probability (specification 5.4): odds of a correlate and of none, floor and ceilings."""

    ct_positive_odds: float = Field(gt=0)
    ct_none_odds: float = Field(gt=0)
    mri_positive_odds: float = Field(gt=0)
    confirmed_floor: float = Field(gt=0, lt=1)
    discordant_ceiling: float = Field(gt=0, lt=1)


class CtAlone(Table):
    """A focus seen on CT where the PET shows nothing. decision: ``uncertain`` lists it as an additional lesion, which counts
    only under a reading of the counting rules that says so; ``excluded`` keeps it with its reason. probability: that it is one.
    """

    decision: Literal["uncertain", "excluded"]
    probability: float = Field(ge=0, lt=1)


class OrganMask(Table):
    """One organ's ordinary uptake. keys: of its structures, each standing for all that go on from it with an underscore.

    even: a focus above median + mad_factor * MAD stands out and is judged like any other.
    """

    keys: tuple[str, ...] = Field(min_length=1)
    odds: float = Field(gt=0, le=1)
    even: bool
    standing_out_odds: float = Field(gt=0, le=1)


class Masks(Table):
    """share: from this share of the uptake on, an organ's rule speaks. patchy: even organs of more than one tissue, in which a
    focus must also exceed patchy_factor * the upper quartile of the organ. spill_*: see rule SPILL; spill_contrast: SUVpeak
    over the surroundings from which a focus at the adrenal's place is no spill.

    clear, clear_factor, clear_peak_factor, clear_odds: in these even organs a focus above median + clear_factor * MAD whose
    SUVpeak exceeds median + clear_peak_factor * MAD is likely a lesion. clear_noise: contrast-to-noise from which a hot part
    of an invaded organ is one. focus_fraction: what fills more of the organ than this is no focus
    in it. invaded: organs of uneven uptake that a mass may reach into: a part of at most nodule_fraction of the organ that
    outshines all else in it ``invaded_ratio`` times and goes on in something hotter beyond, or, with outshining_odds, does not;
    lung_round: share of lung (below lung_hu) round a nodule that is none of the organ. apart_share: share of the places round
    it below half its SUVmax, from which such a part is a focus on its own; upper_from: height in the map of the organ (0 its
    foot, 1 its top) from which it has upper_odds, below apart_odds.
    adrenal_odds: for a focus of the kidney's map where the adrenal lies. beside: organs at whose wall nodes lie; beside_odds:
    for a focus whose hottest voxel lies outside that organ's map and apart from the organ's own uptake.
    """

    share: float = Field(gt=0, le=1)
    mad_factor: float = Field(gt=0)
    focus_fraction: float = Field(gt=0, le=1)
    patchy: tuple[str, ...]
    patchy_factor: float = Field(ge=1)
    spill_mm: float = Field(ge=0)
    spill_odds: float = Field(gt=0, le=1)
    spill_contrast: float = Field(ge=1)
    clear: tuple[str, ...]
    clear_factor: float = Field(gt=0)
    clear_peak_factor: float = Field(gt=0)
    clear_noise: float = Field(ge=0)
    clear_odds: float = Field(gt=0)
    invaded: tuple[str, ...]
    nodule_fraction: float = Field(gt=0, le=1)
    invaded_ratio: float = Field(ge=1)
    invaded_odds: float = Field(gt=0, le=1)
    outshining_odds: float = Field(gt=0, le=1)
    lung_round: float = Field(gt=0, le=1)
    apart_share: float = Field(gt=0, le=1)
    upper_from: float = Field(gt=0, lt=1)
    upper_odds: float = Field(gt=0, le=1)
    apart_odds: float = Field(gt=0, le=1)
    lung_hu: float
    beside: tuple[str, ...]
    beside_odds: float = Field(gt=0, le=1)
    adrenal_odds: float
    organs: dict[str, OrganMask]


class Coverage(Table):
    """What the PET must reach to be called whole: from the skull base to ``thigh_mm`` below the top of the femur."""

    thigh_mm: float


class Options(Table):
    """[screen]. midline_vertebrae: so many of the nearest vertebrae tell where the midline is at a height."""

    rules: tuple[RuleName, ...]
    reach_mm: float = Field(gt=0)
    urinary_excretion: bool
    midline_vertebrae: int = Field(ge=1)
    heart_wall: rules_of.HeartWall
    logistic: Logistic
    decide: Decide
    corroboration: Corroboration
    ct_alone: CtAlone
    masks: Masks
    brown_fat: rules_of.BrownFat
    ovaries: rules_of.Ovaries
    muscle: rules_of.Muscle
    marrow: rules_of.MarrowActivation
    cord: rules_of.Cord
    degeneration: rules_of.Degeneration
    fracture: rules_of.Fracture
    unspecific_bone: receptors.UnspecificBone
    lung_nodule: rules_of.LungNodule
    rib: receptors.RibFocus
    ganglia: receptors.Ganglia
    ureter: rules_of.Ureter
    renal_bed: rules_of.RenalBed
    pair: rules_of.Pair
    bowel: rules_of.Bowel
    lumen: rules_of.Lumen
    injection: rules_of.Injection
    outline: rules_of.Outline
    respiration: rules_of.Respiration
    metal: rules_of.Metal
    haemangioma: rules_of.Haemangioma
    hilar: rules_of.Hilar
    whole_bone: rules_of.WholeBone
    field_edge: rules_of.FieldEdge
    pattern: rules_of.Pattern
    limb: rules_of.Limb
    focus: rules_of.Focus
    sub_resolution: rules_of.SubResolution
    glands: receptors.Glands
    bile: receptors.Bile
    kidneys: receptors.Kidneys
    gut: receptors.Gut
    prostate: receptors.Prostate
    blood_pool: receptors.BloodPool
    coverage: Coverage
    references: ReferenceRules
