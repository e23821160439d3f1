"""[localize]: every number that decides where a lesion is said to lie (clinical specification 4.4 and 4.6)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Nodes(BaseModel):
    """How likely a focus outside every named organ is a lymph node, by where it lies; the rest is soft tissue.

    near_aorta_mm: retroperitoneal and mediastinal stations. near_hip_mm: pelvic side wall and groin. near_shoulder_mm: axilla
    and supraclavicular fossa, from clavicle, scapula and humerus. inside_bowel: at a station, the part of what the map
    of the bowel holds that is taken for a node: the map is coarse; nothing of it where at least bowel_round of a sphere
    beyond_mm outside a ball of the focus' volume is bowel too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mediastinum: float = Field(ge=0, le=1)
    near_aorta: float = Field(ge=0, le=1)
    near_aorta_mm: float = Field(gt=0)
    near_hip: float = Field(ge=0, le=1)
    near_hip_mm: float = Field(gt=0)
    near_shoulder: float = Field(ge=0, le=1)
    near_shoulder_mm: float = Field(gt=0)
    elsewhere: float = Field(ge=0, le=1)
    inside_bowel: float = Field(ge=0, le=1)
    bowel_round: float = Field(gt=0)
    beyond_mm: float = Field(gt=0)


class Heart(BaseModel):
    """A focus of at most small_ml in the map of the heart, which reaches over what lies beside it.

    From upper_from of the map's height on (0 its foot, 1 its top), where nodes of the hila and below the carina lie: a node
    with probability ``node``. At any height within nearest_mm of a lung: a nodule of that lung with probability ``lung``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    small_ml: float = Field(ge=0)
    upper_from: float = Field(gt=0, lt=1)
    node: float = Field(ge=0, le=1)
    lung: float = Field(ge=0, le=1)


class Lung(BaseModel):
    """A focus of at most small_ml, by the share of lung on a sphere beyond_mm outside a ball of its volume.

    From round_from on it is one of the lung with probability round_share though mediastinum, heart or nothing holds it; below
    beside_below, of what the lung shares with nodes beside_share goes to the nodes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    small_ml: float = Field(ge=0)
    beyond_mm: float = Field(gt=0)
    round_from: float = Field(gt=0, le=1)
    round_share: float = Field(ge=0, le=1)
    beside_below: float = Field(ge=0, le=1)
    beside_share: float = Field(ge=0, le=1)


class Adrenal(BaseModel):
    """Where adrenals lie, which the built-in anatomy does not name: a focus of at most small_ml from below_mm under to above_mm
    over the top of a kidney, aside_low_mm to aside_high_mm beside the middle of the spine on that side and front_low_mm to
    front_high_mm before the front of the vertebral body. It is an adrenal with probability ``share``, ``in_liver`` where the
    map of the liver holds it, ``in_kidney`` where that of the kidney does; any other organ but bowel and stomach keeps it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    small_ml: float = Field(ge=0)
    below_mm: float = Field(ge=0)
    above_mm: float = Field(ge=0)
    aside_low_mm: float = Field(ge=0)
    aside_high_mm: float = Field(gt=0)
    front_low_mm: float
    front_high_mm: float
    share: float = Field(ge=0, le=1)
    in_liver: float = Field(ge=0, le=1)
    in_kidney: float = Field(ge=0, le=1)


class Options(BaseModel):
    """[localize]

    supersampling: points per voxel and axis. sure_share: share of uptake from which an organ is named outright. mixture_share:
    second share from which two organs are kept as a mixture. nearest_mm: reach of the nearest organ when none holds the lesion;
    nearest_weight: its weight at contact. involved_share, involved_ml: a vertebra is involved from either of them on;
    spill_share: below it never, however large the lesion. rib_head_vertebra_share: a rib lesion belongs to the vertebra from
    this share on. reach_mm: how far structures around a lesion are looked for. other_layer: probability given to the organ
    that another layer of the anatomy names for most of the lesion.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    supersampling: int = Field(ge=1, le=5)
    sure_share: float = Field(gt=0, le=1)
    mixture_share: float = Field(gt=0, le=1)
    nearest_mm: float = Field(gt=0)
    nearest_weight: float = Field(ge=0, le=1)
    involved_share: float = Field(gt=0, le=1)
    involved_ml: float = Field(gt=0)
    spill_share: float = Field(ge=0, le=1)
    rib_head_vertebra_share: float = Field(gt=0, le=1)
    reach_mm: float = Field(gt=0)
    other_layer: float = Field(ge=0, lt=0.5)
    nodes: Nodes
    heart: Heart
    lung: Lung
    adrenal: Adrenal
