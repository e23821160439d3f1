"""Screened findings to counts: intervals, probabilities, and how they change with each admissible reading of the rules."""

from __future__ import annotations

from collections.abc import Sequence

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Screened
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.verdict import Tally
from lesion_pipeline.stages.tally.count import count
from lesion_pipeline.stages.tally.lesions import countable
from lesion_pipeline.stages.tally.rules import CountingRules, load_rules

__all__ = ["CountingRules", "count", "countable", "load_rules", "run"]


def run(screened: Sequence[Screened], study: Study, anatomy: Anatomy, rules: CountingRules) -> Tally:
    """Counts of a study's findings under the rules. Raises InputError (DUPLICATE_LESION, BAD_LESION)."""
    return count(countable(screened, anatomy), rules)
