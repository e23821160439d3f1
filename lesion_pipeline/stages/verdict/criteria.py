"""Criteria as data: what a trial asks, which of it imaging can answer, and which doubts about the data forbid an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lesion_pipeline.io.settings_file import load_settings

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Limit = Annotated[int, Field(ge=0)]


class _Criteria(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Limits(_Criteria):
    """Limits that must all hold. spine: in vertebrae or lesions, as the counting rules say. non_spinal: lesions outside the
    spine. per_organ: the most lesions that one organ may hold. A limit that is absent does not limit.
    """

    lesions_min: Limit | None = None
    lesions_max: Limit | None = None
    organs_min: Limit | None = None
    organs_max: Limit | None = None
    spine_min: Limit | None = None
    spine_max: Limit | None = None
    non_spinal_min: Limit | None = None
    per_organ_max: Limit | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Limits:
        if not self.model_dump(exclude_none=True):
            raise ValueError("limits nothing")
        return self


class _Item(_Criteria):
    id: str
    title: str
    role: Literal["inclusion", "exclusion"]
    questions: tuple[str, ...]


class CountItem(_Item):
    """A condition on counts: holds when any of ``any_of`` holds. holds_code: reason given when it does. note: how the text was
    read, given with every answer.
    """

    kind: Literal["count"]
    any_of: Annotated[tuple[Limits, ...], Field(min_length=1)]
    holds_code: str | None = None
    note_code: str | None = None
    note: str = ""


class AgeItem(_Item):
    """Age in completed years, both ends included."""

    kind: Literal["age"]
    min_years: Limit
    max_years: Limit


class SpineImagingItem(_Item):
    """Spinal metastasis seen on contrast-enhanced MR or contrast-enhanced CT."""

    kind: Literal["spine_imaging"]


class ClinicalQuestion(_Item):
    """Something only a person can answer. flag_codes: caveat codes that speak for it; flag_series: kinds of series that do."""

    kind: Literal["clinical"]
    flag_codes: tuple[str, ...] = ()
    flag_series: tuple[str, ...] = ()
    flagged: str = ""
    not_flagged: str = ""


Item = Annotated[CountItem | AgeItem | SpineImagingItem | ClinicalQuestion, Field(discriminator="kind")]


class Decision(_Criteria):
    """``meets`` when every reading is at least ``p_meets``; ``does_not_meet`` when every reading is at most ``p_fails``.

    flip_candidates, flip_size, flip_trials: how far the smallest set of lesions that changes the answer is searched for: among
    how many lesions, up to how many at once, and how often it is counted again for it.
    """

    p_meets: Probability
    p_fails: Probability
    flip_candidates: Annotated[int, Field(ge=0, le=40)]
    flip_size: Annotated[int, Field(ge=0, le=10)]
    flip_trials: Annotated[int, Field(ge=0, le=5000)]

    @model_validator(mode="after")
    def _ordered(self) -> Decision:
        if self.p_fails >= self.p_meets:
            raise ValueError("p_fails must be smaller than p_meets")
        return self


class Criteria(_Criteria):
    """One trial's criteria. headline: id of the item that a summary shows. vetoes: caveat code -> why no count can be answered
    with it; a code that ends in ``*`` stands for every code that begins so. organ_vetoes: the same for doubts about the organs
    of lesions outside bone; they forbid an answer only where it hangs on those organs.
    """

    name: str
    version: str
    title: str
    citation: tuple[str, ...]
    headline: str
    decision: Decision
    vetoes: dict[str, str]
    organ_vetoes: dict[str, str]
    items: Annotated[tuple[Item, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _headline_exists(self) -> Criteria:
        ids = [item.id for item in self.items]
        if len(set(ids)) < len(ids):
            raise ValueError("two items have the same id")
        if self.headline not in ids:
            raise ValueError(f"the headline {self.headline!r} is not the id of an item")
        return self


def load_criteria(path: Path) -> Criteria:
    """A criteria file. Raises ConfigError: NO_SETTINGS_FILE, BAD_TOML, UNKNOWN_KEY, MISSING_KEY, BAD_VALUE."""
    return load_settings(Criteria, path)
