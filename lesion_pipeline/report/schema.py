"""The count JSON as models: schema ``lesion-count``. What may change when is promised in docs/schema.md."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

NAME = "lesion-count"
VERSION = "1.0"

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Number = Annotated[int, Field(ge=0)]
Status = Literal["meets", "does_not_meet", "indeterminate", "not_assessable"]
Code = Annotated[str, Field(min_length=1)]


class Part(BaseModel):
    """No unknown keys when written, no NaN or infinity ever."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SchemaName(Part):
    name: Literal["lesion-count"]
    version: Annotated[str, Field(pattern=r"^1\.\d+$")]


class Suv(Part):
    """How stored PET values became SUVbw; absent for a lesion table."""

    status: Literal["ok", "ambiguous", "refused"]
    code: str | None
    method: str
    bw_per_unit: float | None = Field(description="SUVbw per stored unit; the median where slices differ")
    spread: float = Field(description="largest over smallest defensible factor, minus 1")
    uptake_minutes: float | None


class Study(Part):
    key: str = Field(description="a hash; names no patient")
    source: Literal["images", "lesion_table"]
    tracer: str
    modalities: list[str]
    suv: Suv | None


class Count(Part):
    """low..high: central 90 % of the distribution, widened over every reading of what is not known; pmf[n] = P(count == n)."""

    low: Number
    best: Number
    high: Number
    certain: Number = Field(description="what certain lesions alone make sure of")
    pmf: list[Probability]


class Share(Part):
    """One organ or vertebral level."""

    expected: float = Field(ge=0.0, description="expected number of lesions")
    probability: Probability = Field(description="of at least one")
    lesions: list[str]


class JointEntry(Part):
    lesions: Number
    organs: Number
    spinal_lesions: Number
    involved_vertebrae: Number
    probability: Probability


class CodedText(Part):
    code: Code
    text: str


class Counts(Part):
    lesions: Count
    organs: Count
    spinal_lesions: Count
    involved_vertebrae: Count
    by_organ: dict[str, Share]
    by_level: dict[str, Share]
    spine_unit: Literal["vertebra", "lesion"] = Field(description="what limits on spinal disease are held against")
    method: Literal["exact", "sampled"]
    joint: list[JointEntry] = Field(description="the joint distribution; the largest value of an axis means this many or more")
    notes: list[CodedText]


class Variant(Part):
    """Counts under another admissible reading of the rules (rule) or of what is not known (unknown)."""

    name: str
    sentence: str
    kind: Literal["rule", "unknown"]
    lesions: Number
    organs: Number
    spinal_lesions: Number
    involved_vertebrae: Number


class Margin(Part):
    limit: str
    value: int
    bound: int
    margin: int = Field(description="distance to the limit; negative when broken")


class CriterionVariant(Part):
    name: str
    sentence: str
    probability: Probability
    status: Status
    changes_answer: bool


class Criterion(Part):
    """probability: that the condition as written holds; null when it is not probabilistic or hangs on what is not known.

    An exclusion criterion that ``meets`` excludes.
    """

    id: str
    role: Literal["inclusion", "exclusion"]
    title: str
    status: Status
    probability: Probability | None
    probability_range: tuple[Probability, Probability] | None
    margin: list[Margin]
    reasons: list[CodedText]
    flip_set: list[str]
    variants: list[CriterionVariant]
    human_questions: list[str]
    source: Literal["imaging", "header", "clinical_table", "lesion_table", "human"]


class Vertebra(Part):
    name: str = Field(description="the level, or V07: the seventh vertebra of this scan from the head")
    level: str | None
    instance: int | None
    confidence: Probability | None
    involved: bool
    share: float | None = Field(description="share of the lesion's uptake in it")
    alternatives: dict[str, Probability]


class Evidence(Part):
    pet: str
    ct: str
    mri: str
    mri_enhanced: bool | None
    notes: list[str]


class Lesion(Part):
    id: str
    decision: Literal["counted", "uncertain", "excluded"]
    lesion_class: str
    probability: Probability = Field(description="that this is a metastasis that counts")
    organ: str | None
    organ_probabilities: dict[str, Probability]
    structure: str | None
    spinal: bool | None = Field(description="null: not known")
    spinal_level: str | None
    level_confidence: Probability | None
    vertebrae: list[Vertebra]
    split_probability: Probability
    sources: list[str]
    centroid_lps_mm: tuple[float, float, float] | None
    volume_ml: float | None
    suv_max: float | None
    suv_mean: float | None
    suv_peak: float | None
    evidence: Evidence | None
    reasons: list[CodedText]
    doubts: list[str]


class CaveatEntry(Part):
    code: Code
    stage: str
    message: str
    series: str | None


class OpenQuestion(Part):
    criterion: str
    question: str


class Rules(Part):
    """Every rule that was used."""

    counting: dict[str, JsonValue]
    criteria: dict[str, JsonValue]
    settings: dict[str, JsonValue]


class Input(Part):
    series: str
    kind: str
    chosen: bool
    instances: int
    sha256: str


class Plugin(Part):
    group: str
    name: str
    version: str


class ClinicalTable(Part):
    table_format: str
    sha256: str
    rows: int


class StageTime(Part):
    stage: str
    seconds: float
    peak_rss_mb: float


class Run(Part):
    """What differs from run to run; everything else is the same for the same input and config."""

    stages: list[StageTime]


class Provenance(Part):
    software: str
    version: str
    preset: str
    config_sha256: str
    inputs: list[Input]
    plugins: list[Plugin]
    clinical_table: ClinicalTable | None
    run: Run


class LesionCount(Part):
    """The count JSON of one study."""

    schema_: SchemaName = Field(alias="schema")
    research_use_only: Literal[True]
    notice: str
    study: Study
    headline: str = Field(description="id of the criterion that a summary shows")
    counts: Counts
    criteria: list[Criterion]
    criteria_name: str
    vetoes: list[CodedText] = Field(description="doubts about the data that can forbid an answer on counts")
    open_questions: list[OpenQuestion]
    lesions: list[Lesion]
    variants: list[Variant]
    caveats: list[CaveatEntry]
    rules: Rules
    provenance: Provenance

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True, validate_by_name=True)


def schema_json() -> dict[str, object]:
    """JSON Schema (2020-12) of the count JSON."""
    schema = LesionCount.model_json_schema(by_alias=True, mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"lesion-count-{VERSION}",
        **schema,
        "title": f"{NAME} {VERSION}",
    }


def schema_sha256() -> str:
    """Hash of the schema in canonical form; a released version's hash never changes."""
    return hashlib.sha256(json.dumps(schema_json(), sort_keys=True).encode()).hexdigest()
