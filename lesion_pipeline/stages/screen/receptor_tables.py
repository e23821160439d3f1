"""The numbers of the rules for tracers that bind to a receptor (PSMA ligands, somatostatin analogues) and for choline.

Organs that no map may name are recognised by place, form and density (clinical specification 3.1). None has a default.
"""

from __future__ import annotations

from pydantic import Field

from lesion_pipeline.stages.screen.rule_tables import Table


class Glands(Table):
    """Salivary and lacrimal glands, above ``below_level``, where that is not named above_lungs_mm over the lungs.

    bone_hu: denser than this is bone; max_dense_share: of the focus, above which it lies in bone, and only a pair of SUVmax
    within bone_suv_ratio is then taken for glands. A pair: heights differ by at most height_mm, depths by
    depth_mm, the midpoint lies within midline_mm of the head's midline, SUVmax within suv_ratio, volumes within volume_ratio.
    centre_mm, midline_odds: this near to the midline, where mucosa and sublingual glands lie. single_odds: without a partner.
    lacrimal_*: a lacrimal gland without a partner: up to lacrimal_ml, within lacrimal_reach_mm along each axis of so far beside
    the midline, before and above the middle of C1.
    """

    below_level: str
    above_lungs_mm: float
    bone_hu: float
    max_dense_share: float
    bone_suv_ratio: float
    height_mm: float
    depth_mm: float
    midline_mm: float
    suv_ratio: float
    volume_ratio: float
    centre_mm: float
    odds: float
    midline_odds: float
    single_odds: float
    lacrimal_aside_mm: float
    lacrimal_front_mm: float
    lacrimal_above_mm: float
    lacrimal_reach_mm: float
    lacrimal_ml: float
    lacrimal_odds: float


class Bile(Table):
    """Gallbladder and bile ducts of a tracer that the liver excretes.

    near_mm: from the liver. aside_mm: to the right of the midline at least, where ducts and gallbladder lie. core: share of
    SUVmax from which the focus' density is judged; the density is fluid's when at most fluid_hu and at least below_liver_hu
    less than the liver's. low_mm, front_mm: how far above and behind the liver's middle the centre may lie at most to be where
    the gallbladder is. odds: fluid at that place; elsewhere_odds: elsewhere.
    """

    near_mm: float
    aside_mm: float
    core: float
    fluid_hu: float
    below_liver_hu: float
    low_mm: float
    front_mm: float
    max_bone_share: float
    odds: float
    elsewhere_odds: float


class Kidneys(Table):
    """A kidney that no map names, or none whole: a large intense body beside the spine at ``levels``.

    From volume_ml on, with SUVmax from hot_suv on; its centre aside_low_mm to aside_high_mm beside the spine and at most
    front_mm before, back_mm behind the middle of the vertebral body. piece_mm, piece_ratio, piece_odds, piece_floor: a focus
    outside a kidney's map whose centre lies this near to it and that reaches this multiple of its median; in a rib only with
    piece_share of its uptake inside the kidney.
    """

    levels: tuple[str, ...]
    piece_mm: float
    piece_ratio: float
    piece_share: float
    piece_odds: float
    piece_floor: float
    volume_ml: float
    hot_suv: float
    aside_low_mm: float
    aside_high_mm: float
    front_mm: float
    back_mm: float
    max_bone_share: float
    odds: float


class Gut(Table):
    """Bowel that no map names, in the abdominal cavity in front of the spine.

    Within node_front_mm before and node_aside_mm beside the lumbar vertebral bodies and within wall_mm of the pelvic bones,
    where nodes lie, only what has at least station_ml and is fainter than faint_suv: a node of that size is brighter.
    large_ml: from this volume on, or longer than ``elongation``, it has the form of bowel. pelvis_mm: half the pelvis' width.
    many, alike, many_odds: a focus inside mapped bowel with at least ``many`` others there that have ``alike`` of its SUVmax;
    beside_odds: beside the map.
    station_odds: beside the map where a node is the likelier organ. node_odds, node_floor: in the bowel's map or against it,
    but where nodes lie, as hot as nodes are and round; the floor holds against rules of the same place. vessels_mm: from the
    midline, what lies farther out above the hip joints is lateral of the iliac vessels and no node; nor is what lies at least
    floor_under_mm under their top and at most floor_aside_mm from the midline. adrenal_mm, adrenal_odds:
    the same within so much of the front of a kidney's top, where the adrenal lies. edge_*: what the bowel's map holds at most
    so much of, has at most so much of round it, and is at least so many times as bright as its surroundings, may be a node.
    """

    node_front_mm: float
    node_aside_mm: float
    wall_mm: float
    station_ml: float
    faint_suv: float
    pelvis_mm: float
    large_ml: float
    elongation: float
    max_bone_share: float
    many: int = Field(ge=1)
    alike: float = Field(gt=0, le=1)
    odds: float
    form_odds: float
    many_odds: float
    beside_odds: float
    station_odds: float
    node_odds: float
    node_floor: float = Field(ge=0, lt=1)
    vessels_mm: float
    floor_under_mm: float
    floor_aside_mm: float
    adrenal_mm: float
    adrenal_odds: float
    edge_share: float = Field(gt=0, le=1)
    edge_round: float = Field(gt=0, le=1)
    edge_contrast: float = Field(ge=1)
    edge_odds: float


class Prostate(Table):
    """Prostate or its bed: local disease is no metastasis.

    Within aside_mm of the midline, between above_mm over and below_mm under the middle of the hip joints, not in bone, and its
    surface more than sacrum_mm before the sacrum: behind the prostate lies the rectum, and behind that are nodes.
    """

    aside_mm: float
    above_mm: float
    below_mm: float
    front_mm: float
    sacrum_mm: float
    max_bone_share: float
    odds: float


class BloodPool(Table):
    """SUVmax of at most ``ratio`` times the mean of the aorta's blood.

    vessel_ml, vessel_ratio, vessel_top, vessel_odds: from this volume on, outside bone, a mean SUV of at most vessel_ratio
    times the blood's and a highest voxel of at most vessel_top times: a vessel, for among many voxels one is high by noise.
    """

    ratio: float = Field(gt=0)
    odds: float = Field(gt=0, le=1)
    vessel_ml: float = Field(gt=0)
    vessel_ratio: float = Field(gt=0)
    vessel_top: float = Field(gt=0)
    vessel_odds: float = Field(gt=0, le=1)


class UnspecificBone(Table):
    """R7: below_suv for PSMA-1007. spine_odds: in a vertebra, which is seldom the site of unspecific uptake.

    large_ml, large_ceiling: unspecific uptake is a small focus; one whose volume, and that above half its height, is larger
    is doubted less.
    unseen_ceiling: where no CT says whether there is a correlate. warm_suv, warm_ml: a focus below both, outside the spine and
    without a correlate, of PSMA-1007 or of another ligand of PSMA, is doubted as one below below_suv. Its highest probability
    is one half at below_suv and usual_ml (as drawn) and rises with the logarithm of both, suv_steepness and ml_steepness times,
    between ceiling and large_ceiling.
    """

    below_suv: float
    ceiling: float
    warm_suv: float
    warm_ml: float
    usual_ml: float = Field(gt=0)
    suv_steepness: float = Field(ge=0)
    ml_steepness: float = Field(ge=0)
    spine_odds: float = Field(gt=0)
    large_ml: float
    large_ceiling: float
    unseen_ceiling: float


class RibFocus(Table):
    """R8"""

    blood_ratio: float
    below_suv: float
    odds: float


class Ganglia(Table):
    """R9. levels: where ganglia lie; reach_mm: from the nearest bone of the spine."""

    levels: tuple[str, ...]
    reach_mm: float
    below_suv: float
    elongation: float
    max_ml: float
    max_bone_share: float
    odds: float
