"""Counts as intervals and distributions, criteria as three-valued answers with reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


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

    organs: (organ key, probability), sum 1. vertebrae: instances or level names involved. split_probability: P(two lesions |
    one). klass: a LesionClass value. certain lesions have probability 1.
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


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Counts under one set of counting rules.

    joint: P(lesions, organs, spinal lesions, involved vertebrae) as a sorted tuple of ((n, o, s, v), p), counts capped where
    the rules say so. by_organ / by_level: (key, expected number, probability of at least one).
    variants: the same under each admissible reading of the rules, by name.
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
    source: str = "imaging"  # imaging, header, clinical_table


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every criterion of one criteria file; ``headline`` is the id of the one the summary shows."""

    criteria_name: str
    headline: str
    answers: tuple[CriterionAnswer, ...] = field(default=())

    def answer(self, criterion_id: str) -> CriterionAnswer | None:
        return next((a for a in self.answers if a.id == criterion_id), None)
