"""Counting rules as data. None of them has a default in code: the rules file states each one, and the result repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lesion_pipeline.io.settings_file import load_settings, validated

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LesionRules(_Rules):
    """What one lesion is. connectivity and the saddle ratios are how detection formed the lesions; a lesion whose saddle
    ratio is known but whose split probability is not gets one that falls linearly from 1 at ``split_below`` to 0 at
    ``merge_above``. A lesion below both minima is reported and not counted.
    """

    connectivity: Literal[6, 18, 26]
    minimum_volume_ml: Annotated[float, Field(ge=0.0)]
    or_minimum_contrast: Annotated[float, Field(ge=0.0)]
    split_below: Probability
    merge_above: Probability

    @model_validator(mode="after")
    def _ordered(self) -> LesionRules:
        if self.split_below >= self.merge_above:
            raise ValueError("split_below must be smaller than merge_above")
        return self


class PrimaryRules(_Rules):
    """Whether the primary tumour counts as a lesion, and its organ as a metastatic organ."""

    count_as_lesion: bool
    count_as_organ: bool


class BoneRules(_Rules):
    """``single``: the skeleton is one organ. ``spine_other``: spine and other bone are two. ``per_bone``: each bone is one."""

    organ_mode: Literal["single", "spine_other", "per_bone"]


class NodeRules(_Rules):
    """``single_nonregional``: regional nodes are not counted, the others are one organ. ``single_all``: all nodes count, one
    organ. ``per_region``: non-regional nodes, each station an organ. ``excluded``: no node counts.

    regional_basin: structures or regions that drain the primary; empty when the primary is not known.
    unknown_is_regional: how a node is read of which nobody said whether it is regional.
    """

    organ_mode: Literal["single_nonregional", "single_all", "per_region", "excluded"]
    regional_basin: tuple[str, ...]
    unknown_is_regional: bool


class SpineRules(_Rules):
    """How spinal disease is counted.

    lesion_unit: a confluent lesion over several vertebrae is one lesion (``confluent``), one a vertebra (``vertebra``), or one
    for every ``rtog_max_contiguous`` contiguous vertebrae (``rtog_site``). count_unit: what the limits on spinal disease are
    held against. extra_structures: other structures that belong to the spinal count (CHAARTED: the pelvis).
    """

    lesion_unit: Literal["confluent", "vertebra", "rtog_site"]
    count_unit: Literal["vertebra", "lesion"]
    include_sacrum: bool
    include_coccyx: bool
    rtog_max_contiguous: Positive
    extra_structures: tuple[str, ...]


class OrganRules(_Rules):
    """lesions_in: organs whose lesions enter the lesion count; organs_among: organs that enter the organ count; empty: all.

    groups: organ or structure key -> the key it is counted under (site types of a published convention). Paired organs and
    the lobes of a lung are one organ: the organ vocabulary has no sides.
    """

    lesions_in: tuple[str, ...]
    organs_among: tuple[str, ...]
    groups: dict[str, str]


class DiffuseRules(_Rules):
    """Disease that cannot be counted. ``exceeds``: counts as ``counts_as`` lesions and one organ. question_codes: doubts of the
    lesion that make diffuse disease itself a question (both readings are then evaluated).
    """

    mode: Literal["exceeds", "one_lesion"]
    counts_as: Positive
    question_codes: tuple[str, ...]


class NumericRules(_Rules):
    """How probabilities become counts. certain_from: a lesion at least this probable is certain when a limit is held against
    certain lesions alone. interval: central mass of the reported interval. caps: where the joint table ends; a limit of a
    criterion must lie below its cap.
    """

    certain_from: Probability
    interval: Annotated[float, Field(gt=0.0, lt=1.0)]
    frailty_sigma: Annotated[float, Field(ge=0.0)]
    quadrature_nodes: Annotated[int, Field(ge=1, le=64)]
    draws: Annotated[int, Field(ge=1000, le=10_000_000)]
    seed: Annotated[int, Field(ge=0)]
    max_cells: Positive
    cap_lesions: Positive
    cap_organs: Positive
    cap_spinal: Positive
    cap_vertebrae: Positive


class Variant(_Rules):
    """Another admissible reading. set: dotted key -> value. not_once: the reading falls away once this key holds a value,
    because the person who can answer the question has answered it.
    """

    name: str
    sentence: str
    set: dict[str, object]
    not_once: str | None = None


class CountingRules(_Rules):
    """One counting convention. profile_type: a census counts every lesion; a target selection (RECIST, PERCIST) stops at a
    maximum and must never answer a criterion on the number of lesions.
    """

    name: str
    version: str
    title: str
    citation: tuple[str, ...]
    profile_type: Literal["census"]
    lesion: LesionRules
    primary: PrimaryRules
    bone: BoneRules
    nodes: NodeRules
    spine: SpineRules
    organs: OrganRules
    mri_only: Literal["report", "count"]
    treated_inactive: Literal["report", "count"]
    diffuse: DiffuseRules
    numerics: NumericRules
    variants: tuple[Variant, ...]

    @model_validator(mode="after")
    def _variants_apply(self) -> CountingRules:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have the same name")
        for variant in self.variants:
            self.under(variant)
        return self

    def under(self, variant: Variant) -> CountingRules:
        """These rules with one variant applied and no further variants. Raises ConfigError as ``load_rules``."""
        values = self.model_dump()
        values["variants"] = ()
        for dotted, value in variant.set.items():
            *path, key = dotted.split(".")
            table = values
            for part in path:
                table = table.setdefault(part, {})
            table[key] = value
        return validated(CountingRules, values, f"counting rules {self.name}, variant {variant.name}")

    def is_settled(self, dotted: str) -> bool:
        """True when the key holds a value that is not empty."""
        value: object = self
        for part in dotted.split("."):
            value = getattr(value, part)
        return bool(value)


def load_rules(path: Path) -> CountingRules:
    """A rules file. Raises ConfigError: NO_SETTINGS_FILE, BAD_TOML, UNKNOWN_KEY, MISSING_KEY, BAD_VALUE."""
    return load_settings(CountingRules, path)
