"""The numbers of the rules R1..R19 (clinical specification 3.2). None has a default: they stand in the preset."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.imaging.focality import FocalityRules
from lesion_pipeline.imaging.lung_nodule import NoduleRules


class Table(BaseModel):
    """A table of the preset: no unknown keys, no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BrownFat(Table):
    """R1. fat_share of the voxels with at least ``core`` of the highest uptake from hu_low to hu_high; mirror image within
    mirror_mm, which speaks for it where the median of those voxels is below pure_hu; near_mm: of bones it lives beside.
    """

    core: float = Field(ge=0, lt=1)
    fat_share: float
    hu_low: float
    hu_high: float
    pure_hu: float
    mirror_mm: float
    near_mm: float
    max_bone_share: float
    odds_mirrored: float
    odds_single: float


class Ovaries(Table):
    """A pair in the cavity of the pelvis of a woman, or of a patient whose sex is not known: from aside_low_mm to aside_high_mm
    off the midline, farther than wall_mm from its wall, mirror image within mirror_mm of about the same uptake.
    """

    aside_low_mm: float
    aside_high_mm: float
    wall_mm: float
    mirror_mm: float
    suv_ratio: float
    max_bone_share: float
    odds: float


class Muscle(Table):
    """R2"""

    keys: tuple[str, ...]
    share: float
    elongation: float
    mirror_mm: float
    odds: float


class MarrowActivation(Table):
    """R3. share of vertebrae whose marrow exceeds the liver, variation from one to the next, and what a lesion must then reach
    (SUVmax over the marrow beside it, which exceeds the liver too).

    Rule MARROW: odds are (SUVpeak over the marrow of the ``neighbours`` vertebrae above and below / even_ratio) ** steepness,
    held between least_odds and most_odds.

    RIB_HEAD: odds of a focus of the lung's map, at most rib_head_mm from ribs or spine, of at most rib_head_ratio * the marrow.
    """

    share: float
    max_cv: float
    ratio: float
    odds: float
    neighbours: int = Field(ge=2)
    even_ratio: float = Field(gt=1)
    steepness: float = Field(gt=0)
    least_odds: float = Field(gt=0, le=1)
    most_odds: float = Field(ge=1)
    rib_head_mm: float
    rib_head_ratio: float
    rib_head_odds: float = Field(gt=0, le=1)


class Cord(Table):
    """R4"""

    canal_share: float
    below_suv: float
    elongation: float
    levels: tuple[str, ...]
    odds: float


class Degeneration(Table):
    """R5. endplate_mm: centre to endplate; sclerosis_hu: a tenth of the voxels above it; marrow_ratio: SUVmax below.

    facet_*: a joint of the arches, with at least this share of the uptake in them, this mean HU and an SUVmax below this. It
    stays a doubt (facet_ceiling): hardly a lesion is as faint, as dense and all in them.
    """

    endplate_mm: float
    sclerosis_hu: float
    marrow_ratio: float
    odds: float
    facet_share: float
    facet_hu: float
    facet_suv: float
    facet_odds: float
    facet_ceiling: float


class Fracture(Table):
    """R6. height_loss against the neighbours; flatness: thickness of the band over its width.

    RIB_FRACTURE: a focus of a rib without a correlate, below rib_suv and rib_ml (as drawn), has at most rib_ceiling.
    """

    height_loss: float
    flatness: float
    odds: float
    rib_suv: float
    rib_ml: float
    rib_ceiling: float


class Ureter(Table):
    """R10. psoas_mm: distance of the ureter from the spine's midline. max_bone_share: a focus in bone is no ureter.

    elongation: of a piece of it. short_ml, short_odds: what is shorter and of at most this volume, which may be a node;
    thick_mm, thick_odds: likewise, but at least so wide across.
    thread_mm, thread_odds: a thread, from thread_elongation on, may lie farther from the usual course; no node has that form.
    """

    tube_mm: float
    psoas_mm: float
    elongation: float
    short_ml: float
    thread_elongation: float
    thread_mm: float
    max_bone_share: float
    odds: float
    short_odds: float
    thick_mm: float
    thick_odds: float
    thread_odds: float


class RenalBed(Table):
    """R10 for the collecting system: beside the vertebrae of ``levels``, within kidney_mm of that side's kidney.

    unmapped_odds: where no map names that kidney, from hot_suv on. pelvis_odds: as hot and within hilum_mm of the height of
    that kidney's middle.
    """

    levels: tuple[str, ...]
    nearest_mm: float
    farthest_mm: float
    front_mm: float
    back_mm: float
    max_bone_share: float
    kidney_mm: float
    hot_suv: float
    odds: float
    unmapped_odds: float
    hilum_mm: float
    pelvis_odds: float


class HeartWall(Table):
    """Myocardium and atrial wall beyond a heart's map: within reach_mm of the map, neither in bone nor in the lung."""

    reach_mm: float
    max_bone_share: float
    max_lung_share: float
    odds: float


class Pair(Table):
    """Tonsils, glands and their like, above ``below_level``, a mirror image within mirror_mm of about the same uptake.

    midline_mm, midline_odds, midline_ceiling: for larynx, tongue and palate, which have no mirror image, and for an uneven pair
    within pharynx_mm of the midline before the spine; the ceiling lies below what counts.
    """

    below_level: str
    mirror_mm: float
    suv_ratio: float
    max_bone_share: float
    midline_mm: float
    pharynx_mm: float
    midline_odds: float
    midline_ceiling: float
    odds: float


class Bowel(Table):
    """R11. focal_ratio: a focus this many times the segment's median, of at most focal_ml, keeps ``focal_floor``.

    segment_ml, segment_elongation, segment_odds: what is larger or longer is a segment of bowel, inside the map or beside it.
    several: so many further places of the bowel whose SUVmax times ``alike_ratio`` reaches the focus's are a pattern, which has
    several_odds and no floor. station_odds: inside the map but where nodes lie.
    unmapped_odds: for a focus of the abdominal cavity when no map names the bowel, unless it lies within retroperitoneum_mm
    of the aorta, where nodes are; a map of the bowel that ends within near_mm of the focus may have missed its loop.
    adrenal_from: probability of an adrenal from which a focus has station_odds too.
    rectum_mm, rectum_front_mm: before the lower half of the sacrum the rectum lies this near the midline and to this depth.
    presacral_mm: from the sacrum, beyond which the surface of an uptake in the midline is that of no presacral node.
    round_mm, round_from: share of the bowel's map on a sphere so far outside a ball of its volume from which it is no node.
    """

    keys: tuple[str, ...]
    share: float
    near_mm: float
    focal_ratio: float
    focal_ml: float
    focal_floor: float
    segment_ml: float
    segment_elongation: float
    segment_odds: float
    several: int = Field(ge=1)
    alike_ratio: float = Field(ge=1)
    several_odds: float
    station_odds: float
    odds: float
    unmapped_odds: float
    retroperitoneum_mm: float
    adrenal_from: float
    rectum_mm: float
    rectum_front_mm: float
    presacral_mm: float
    round_mm: float
    round_from: float


class Lumen(Table):
    """R11 by CT. soft_hu: mean HU within radius_mm below which a place in or beside the bowel is no soft tissue (odds); gas_hu:
    below which it is gas (gas_ceiling).
    """

    radius_mm: float = Field(gt=0)
    soft_hu: float
    odds: float = Field(gt=0, le=1)
    gas_hu: float
    gas_ceiling: float


class Injection(Table):
    """R12. arm_keys within arm_mm, no bone, under the skin, hotter than above_suv; node_odds: an axillary node on that side."""

    arm_keys: tuple[str, ...]
    arm_mm: float
    skin_mm: float
    above_suv: float
    node_mm: float
    node_odds: float


class Outline(Table):
    """R13"""

    erosion_mm: float


class Respiration(Table):
    """R14. lung_hu: mean HU below which there is no nodule."""

    dome_mm: float
    lung_hu: float
    odds: float


class Metal(Table):
    """R15"""

    metal_hu: float
    contrast_hu: float
    reach_mm: float
    odds: float


class Haemangioma(Table):
    """R16. Coarse trabeculae: mean HU below, standard deviation above; faint."""

    mean_hu_below: float
    sd_hu_above: float
    below_suv: float
    odds: float


class Hilar(Table):
    """R18. suv_ratio: of the brighter to the fainter of the two."""

    liver_ratio: float
    mirror_mm: float
    suv_ratio: float
    odds: float


class WholeBone(Table):
    """R19. bone_share: part of the bone's own volume that the lesion fills; mean_hu_above: thick, coarse bone."""

    bone_share: float
    mean_hu_above: float
    odds: float


class FieldEdge(Table):
    """The last slices of the PET are noisy: a small focus within slices of either end."""

    slices: int = Field(ge=0)
    max_ml: float
    odds: float


class Pattern(Table):
    """The usual pattern of a whole-body PET, asked only where there is no anatomy. body_suv: inside the patient from here on.

    whole_body_mm: a shorter PET is not judged. head_mm: from the head end. heart_ml, urine_suv: least; ureter_ml: most.
    """

    body_suv: float
    whole_body_mm: float
    head_mm: float
    heart_ml: float
    urine_suv: float
    ureter_ml: float
    odds: float


class Limb(Table):
    """A mass of a leg without any anatomy. body_suv: inside the patient from here on; like_share: of the larger leg's section
    that the smaller has at least; seen_mm: least length of legs; above_mm: how far above the parting a thigh still reaches;
    aside_mm: least distance from the midline. least_ml and contrast (SUVpeak over its surroundings): what is a clear mass.
    """

    body_suv: float
    like_share: float
    seen_mm: float
    above_mm: float
    aside_mm: float
    least_ml: float
    contrast: float


class LungNodule(Table):
    """Rule NODULE. odds: of a focus of the lung under which the CT shows a nodule; measure: what is called one."""

    measure: NoduleRules
    odds: float = Field(ge=1)


class Focus(Table):
    """Rule FOCUS: odds are (steepness of the edge per mm / usual_per_mm) ** steepness, held between least_odds and most_odds.
    measure: where the edge is looked for. large_ml, clear_contrast: an uptake larger than that, or so many times as bright as
    what lies round it, is not doubted for a missing edge.
    least_ml: above half its height, below which an edge is that of noise. chest_share: of the uptake in the mediastinum, from
    which an edge speaks for a node; chest_most_odds: in place of most_odds there and in the lung.
    """

    measure: FocalityRules
    usual_per_mm: float = Field(gt=0)
    steepness: float = Field(gt=0)
    least_odds: float = Field(gt=0, le=1)
    most_odds: float = Field(ge=1)
    clear_contrast: float = Field(ge=1)
    large_ml: float = Field(gt=0)
    least_ml: float = Field(ge=0)
    chest_share: float = Field(gt=0, le=1)
    chest_most_odds: float = Field(ge=1)


class SubResolution(Table):
    """R20, and the shrinking of small lesions (4.2)."""

    millilitres: float
    voxels: int
    ceiling: float
    small_millilitres: float
    small_contrast: float
    small_shrink: float
