"""What the figures are made of, study by study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from lesion_pipeline.domain.lesion import Decision
from lesion_pipeline.evaluate.comparison import Comparison, LesionOutcome, RunLesion

T = TypeVar("T")

NO_RESULT = "no_result"


def found(c: Comparison, outcomes: Sequence[str], stratum: tuple[str, str] | None = None) -> list[bool]:
    """One flag a reference metastasis (of a stratum): did it end as one of the outcomes?"""
    return [o.outcome in outcomes for o in c.outcomes if stratum is None or stratum in o.strata()]


def reported(c: Comparison, *decisions: Decision) -> list[RunLesion]:
    """Lesions of the run with one of the decisions; counted or uncertain unless told."""
    wanted = decisions or (Decision.COUNTED, Decision.UNCERTAIN)
    return [r for r in c.run_lesions if r.lesion.decision in wanted]


def named(outcome: LesionOutcome) -> bool:
    """Did the run name a vertebral level?"""
    return outcome.run is not None and outcome.run.level is not None


def given(values: Iterable[T | None]) -> list[T]:
    """Those that are not None."""
    return [v for v in values if v is not None]


def tally(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, most often first."""
    out: dict[str, int] = {}
    for value in values:
        out[value] = out.get(value, 0) + 1
    return dict(sorted(out.items(), key=lambda item: (-item[1], item[0])))


def covered(c: Comparison, name: str) -> list[bool]:
    """Does the run's interval of a count hold the reference? Empty where one of the two is not known."""
    if c.error(name) is None or c.run is None:
        return []
    given = c.run.counts[name]
    return [given.low <= c.reference.counts[name].best <= given.high]


def answers(c: Comparison, key: str) -> list[tuple[str, str]]:
    """(reference, run) answer to a criterion, or nothing where the reference does not answer it."""
    if key not in c.reference.criteria:
        return []
    given = c.run.criteria[key].status if c.run is not None and key in c.run.criteria else NO_RESULT
    return [(c.reference.criteria[key].status, given)]


def criterion_cases(c: Comparison, key: str) -> list[tuple[float, bool]]:
    """Probability and outcome; the outcome is the reference's answer by the default rules, where it gives one."""
    reference, run = c.reference.criteria.get(key), c.run.criteria.get(key) if c.run is not None else None
    if reference is None or run is None or run.probability is None:
        return []
    if reference.probability is not None:
        return [(run.probability, reference.probability >= 0.5)]
    if reference.status not in ("meets", "does_not_meet"):
        return []
    return [(run.probability, reference.status == "meets")]


def stratum_order(item: tuple[str, str]) -> tuple[str, float, str]:
    """Sorts strata by dimension, then by their lower bound, then by name."""
    dimension, stratum = item
    first = next((float(w) for w in stratum.split() if w.replace(".", "").isdigit()), 0.0)
    return (dimension, first, stratum)
