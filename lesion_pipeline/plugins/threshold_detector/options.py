"""Settings of the threshold detector. Every one of them changes a count, so none has a default."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lesion_pipeline.imaging.focality import FocalityRules
from lesion_pipeline.imaging.reference_regions import ReferenceRules
from lesion_pipeline.imaging.surroundings import ShellRules


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SoftTissueRule(_Table):
    """Candidate threshold outside bone.

    rule ``fixed``: the floor alone. ``liver``: liver_mean_factor * mean + liver_sd_factor * SD of the liver sphere, blood pool
    (blood_mean_factor, blood_sd_factor) where the liver is refused. ``liver_variation``: liver_mean_factor * (1 + CV of the
    liver). ``blood``: blood_mean_factor * mean + blood_sd_factor * SD. The result is held between floor and ceiling; where no
    reference region is accepted, ``without_reference`` holds.
    """

    rule: Literal["fixed", "liver", "liver_variation", "blood"]
    liver_mean_factor: float
    liver_sd_factor: float
    blood_mean_factor: float
    blood_sd_factor: float
    floor: float = Field(gt=0)
    ceiling: float = Field(gt=0)
    without_reference: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> SoftTissueRule:
        if self.ceiling < self.floor:
            raise ValueError("ceiling must not be below floor")
        return self


class BoneRule(_Table):
    """Candidate threshold in bone: the highest of floor, marrow_factor * median of the patient's own vertebral bodies, and
    that median + marrow_mad_factor * MAD of the voxels inside them: uneven marrow must be exceeded by what makes it uneven.

    blood_factor: no less than so many times the mean of the blood pool, or the great vessels would join what lies beside them.
    """

    floor: float = Field(gt=0)
    blood_factor: float = Field(ge=0)
    marrow_factor: float = Field(ge=0)
    marrow_mad_factor: float = Field(ge=0)


class FaintBoneRule(_Table):
    """Candidate threshold for bone smoothed by a Gaussian of sigma ``smoothing_mm``: the highest of floor, marrow_factor *
    median of the patient's marrow, that median + marrow_mad_factor * MAD of the smoothed voxels inside a vertebra, and what
    ``BoneRule.blood_factor`` asks.

    diseased_ratio: a vertebra whose median exceeds the marrow's this many times says nothing of how uneven marrow is.
    """

    smoothing_mm: float = Field(gt=0)
    floor: float = Field(gt=0)
    marrow_factor: float = Field(ge=0)
    marrow_mad_factor: float = Field(ge=0)
    diseased_ratio: float = Field(gt=1)


class LungRule(_Table):
    """Candidate threshold in the lung, whose own uptake is low: max(floor, factor * its median), at most soft tissue's."""

    keys: tuple[str, ...]
    floor: float = Field(gt=0)
    factor: float = Field(ge=0)


class RegionRule(_Table):
    """Candidate threshold in a region between organs, where no organ is: floor, at most that of soft tissue."""

    key: str
    floor: float = Field(gt=0)


class Delineation(_Table):
    """Extent of a lesion: connected voxels above ``fraction`` of the highest voxel, never below the candidate threshold."""

    fraction: float = Field(gt=0, lt=1)
    min_voxels: int = Field(ge=1)


class Noise(_Table):
    """A focus must stand out of the noise around it: (smoothed peak - median) / robust SD of the smoothed shell.

    The shell of a small focus between lung, heart and vessels holds all of them, and their difference is no noise: a focus of
    edge_ml and more above half its height whose edge is as steep as edge_per_mm stands out too.
    """

    min_contrast_to_noise: float = Field(ge=0)
    shell: ShellRules
    edge: FocalityRules
    edge_per_mm: float = Field(gt=0)
    edge_ml: float = Field(ge=0)


class Peaks(_Table):
    """When neighbouring peaks are one lesion (clinical specification 4.3).

    fwhm_mm, bone_fwhm_mm: peaks are looked for in the uptake smoothed by a sigma of half as much, outside bone and in it.
    mass_ml: parts of at least this volume are one uneven mass when their bridge is as wide as they are: P(two) falls from the
    saddle's at ``waist_split_below`` to 0 at ``waist_merge_above`` (contact area / cross-section of the smaller part).
    beyond_fraction: prominence of a peak that lies below the SUV at which its higher neighbour's extent ends, and would be lost
    in it; beyond_probability: P(a lesion of its own) of such a peak at least.
    """

    fwhm_mm: float = Field(gt=0)
    bone_fwhm_mm: float = Field(gt=0)
    prominence_suv: float = Field(ge=0)
    prominence_fraction: float = Field(ge=0, lt=1)
    beyond_fraction: float = Field(ge=0, lt=1)
    beyond_probability: float = Field(ge=0, le=1)
    min_distance_mm: float = Field(ge=0)
    split_below: float = Field(gt=0, le=1)
    merge_above: float = Field(gt=0, le=1)
    vertebrae_merge_above: float = Field(gt=0, le=1)
    mass_ml: float = Field(gt=0)
    waist_split_below: float = Field(ge=0)
    waist_merge_above: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Peaks:
        if self.merge_above <= self.split_below:
            raise ValueError("merge_above must exceed split_below")
        if self.waist_merge_above <= self.waist_split_below:
            raise ValueError("waist_merge_above must exceed waist_split_below")
        return self


class SoftMasks(_Table):
    """Organs that take up the tracer normally: keys of structures (a key stands for all that go on from it with ``_``).

    even: uptake is even, so a focus above median + mad_factor * MAD of the organ stands on its own. uneven: uptake is uneven by
    nature (collecting system, myocardium), so all of one organ is one candidate. divided: of these, organs whose map takes in
    what lies beside them: a peak that its saddle sets apart stays a candidate of its own. hollow: organs of even tissue round
    hollows that are hot with urine: a peak above hollow_factor * the upper quartile of the organ is none of the tissue, and
    stays apart from it. ordinary_ml: ordinary uptake of an even organ is reported from this volume on; below, it is noise.
    """

    even: tuple[str, ...]
    uneven: tuple[str, ...]
    divided: tuple[str, ...]
    hollow: tuple[str, ...]
    hollow_factor: float = Field(gt=1)
    mad_factor: float = Field(gt=0)
    ordinary_ml: float = Field(ge=0)


class Shoulders(_Table):
    """Bone in the shadow of a hotter lesion: voxels above the bone's threshold farther than ``beyond_mm`` from all that was
    drawn of their uptake, at least ``least_ml`` with a highest one of ``limit_ratio`` times that threshold and
    ``peak_fraction`` of the neighbour's peak.

    own_probability: P(a lesion of its own and not a piece of its neighbour).
    """

    beyond_mm: float = Field(gt=0)
    least_ml: float = Field(gt=0)
    limit_ratio: float = Field(ge=1)
    peak_fraction: float = Field(ge=0, lt=1)
    own_probability: float = Field(gt=0, le=1)


class Fragments(_Table):
    """When separate pieces are one lesion after all (clinical specification 4.5). Lengths in mm, ratio of valley to peak."""

    gap_mm: float = Field(ge=0)
    valley_ratio: float = Field(gt=0, le=1)
    ring_hole_ml: float = Field(ge=0)
    same_bone_gap_mm: float = Field(ge=0)
    same_bone_probability: float = Field(ge=0, le=1)


class ThresholdOptions(_Table):
    """[plugins.tracer_threshold]"""

    connectivity: Literal[6, 18, 26]
    soft_tissue: SoftTissueRule
    bone: BoneRule
    faint_bone: FaintBoneRule
    lung: LungRule
    mediastinum: RegionRule
    delineation: Delineation
    noise: Noise
    peaks: Peaks
    soft_masks: SoftMasks
    fragments: Fragments
    shoulders: Shoulders
    references: ReferenceRules
