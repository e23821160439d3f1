"""Counts as intervals and distributions, criteria as three-valued answers with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lesion_pipeline.domain.clinical import ClinicalFacts
from lesion_pipeline.domain.counting import CountingUnit, Numerics
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.lesion import Evidence


@dataclass(frozen=True, slots=True)
class Count:
    """A count is an interval until it is a number.

    low, high: central 90 % of the distribution; best: its most probable value; pmf[n] = P(count == n), sums to 1.
    """

    low: int
    best: int
    high: int
    pmf: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CountableLesion:
    """What counting needs to know of one lesion; made from a Screened finding or from a row of a user's table.

    organs: (organ key, probability), sum 1, or empty when the organ is not known. vertebrae: level names (``T11``) or
    instances (``V07``) involved. spinal: None when it is not known. split_probability: P(two lesions | one). klass: a
    LesionClass value. certain lesions have probability 1. structure: where in the organ (``rib_left_7``), "" if not known.
    regional: a lymph node in the basin of the primary; None when not known. saddle_ratio: saddle over the smaller of two
    peaks, from which the rules make a split probability where none is given. level_alternatives: (vertebra, other names with
    their probability). evidence: what each modality says, None for a lesion that came without images.

    Raises InputError (BAD_LESION) when a number is outside its range.
    """

    id: str
    probability: float
    organs: tuple[tuple[str, float], ...]
    spinal: bool | None
    vertebrae: tuple[str, ...] = ()
    klass: str = "metastasis"
    split_probability: float = 0.0
    sources: tuple[str, ...] = ("pet",)
    volume_ml: float | None = None
    suv_max: float | None = None
    regional: bool | None = None
    treated: bool = False
    diffuse: bool = False
    doubts: tuple[str, ...] = ()
    structure: str = ""
    contrast: float | None = None
    saddle_ratio: float | None = None
    level_alternatives: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise InputError("BAD_LESION", f"lesion {self.id}: probability {self.probability:g} is not between 0 and 1")
        if not 0.0 <= self.split_probability <= 1.0:
            raise InputError("BAD_LESION", f"lesion {self.id}: split_probability must lie between 0 and 1")
        total = sum(share for _, share in self.organs)
        if self.organs and (abs(total - 1.0) > 1e-3 or any(share < 0.0 for _, share in self.organs)):
            raise InputError("BAD_LESION", f"lesion {self.id}: the organ probabilities sum to {total:g}, not to 1")

    @property
    def organ(self) -> str | None:
        """The most probable organ."""
        return max(self.organs, key=lambda item: item[1])[0] if self.organs else None

    @property
    def named(self) -> str:
        """``L6 (T11, 0.97)``: how a sentence names it."""
        where = "/".join(self.vertebrae) or (self.structure or self.organ or "place unknown").replace("_", " ")
        return f"{self.id} ({where}, {self.probability:.2f})"


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Counts under one set of counting rules.

    joint: P(lesions, organs, spinal lesions, involved vertebrae) as a sorted tuple of ((n, o, s, v), p), counts capped where
    the rules say so. by_organ / by_level: (key, expected number, probability of at least one).
    variants: the same under each admissible reading of the rules, by name.
    sentence: what this reading says. unknown: True for a reading that settles what is not known of a lesion, False for a
    reading of the rules. spine_unit: what the spinal limits are held against, ``vertebra`` or ``lesion``. units: what each
    lesion adds under this reading. certain: (lesions, organs, spinal lesions, vertebrae) from certain lesions alone.
    exact: False when the distribution was sampled. rules: every counting rule, as plain JSON values.
    """

    rules_name: str
    lesions: Count
    organs: Count
    spinal_lesions: Count
    involved_vertebrae: Count
    joint: tuple[tuple[tuple[int, int, int, int], float], ...]
    by_organ: tuple[tuple[str, float, float], ...]
    by_level: tuple[tuple[str, float, float], ...]
    countable: tuple[CountableLesion, ...] = ()
    variants: tuple[tuple[str, Tally], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()  # (code, sentence)
    sentence: str = ""
    unknown: bool = False
    spine_unit: str = "vertebra"
    units: tuple[CountingUnit, ...] = ()
    certain: tuple[int, int, int, int] = (0, 0, 0, 0)
    exact: bool = True
    numerics: Numerics | None = None
    rules: Mapping[str, object] = field(default_factory=dict)


class CriterionStatus(StrEnum):
    """Never two-valued."""

    MEETS = "meets"
    DOES_NOT_MEET = "does_not_meet"
    INDETERMINATE = "indeterminate"
    NOT_ASSESSABLE = "not_assessable"


@dataclass(frozen=True, slots=True)
class CriterionReason:
    """A stable code and a sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class CriterionAnswer:
    """The answer to one criterion.

    probability: P(criterion holds) under the default rules, None when not probabilistic; probability_range: over variants.
    margin: {limit name: (value, limit, distance)} as tuples (name, best, limit, margin). flip_set: smallest set of lesion ids
    whose change flips the answer. variants: (name, probability, status). human_questions: what a person must still answer.
    """

    id: str
    title: str
    status: CriterionStatus
    probability: float | None = None
    probability_range: tuple[float, float] | None = None
    margin: tuple[tuple[str, int, int, int], ...] = ()
    reasons: tuple[CriterionReason, ...] = ()
    flip_set: tuple[str, ...] = ()
    variants: tuple[tuple[str, float, CriterionStatus], ...] = ()
    human_questions: tuple[str, ...] = ()
    source: str = "imaging"  # imaging, header, clinical_table, lesion_table, human
    default_status: CriterionStatus | None = None  # by the probability under the default reading alone


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every criterion of one criteria file; ``headline`` is the id of the one the summary shows.

    vetoes: (code, sentence) of the doubts about the data that kept a count from being answered, or would have.
    open_questions: (criterion id, question) for a person. criteria: the criteria file, as plain JSON values.
    """

    criteria_name: str
    headline: str
    answers: tuple[CriterionAnswer, ...] = field(default=())
    vetoes: tuple[tuple[str, str], ...] = ()
    open_questions: tuple[tuple[str, str], ...] = ()
    clinical: ClinicalFacts | None = None
    criteria: Mapping[str, object] = field(default_factory=dict)

    def answer(self, criterion_id: str) -> CriterionAnswer | None:
        return next((a for a in self.answers if a.id == criterion_id), None)
