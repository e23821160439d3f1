"""Counts to answers: every item of a criteria file, each with its honest status."""

from __future__ import annotations

from collections.abc import Sequence

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.clinical import ClinicalFacts
from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.verdict import CriterionAnswer, Tally, Verdict
from lesion_pipeline.io.settings_file import nearest
from lesion_pipeline.stages.verdict import counts, other_items, vetoes
from lesion_pipeline.stages.verdict.criteria import AgeItem, CountItem, Criteria, Item, SpineImagingItem, load_criteria

__all__ = ["Criteria", "load_criteria", "run"]


def run(
    tally: Tally,
    study: Study | None,
    criteria: Criteria,
    caveats: Sequence[Caveat],
    clinical: ClinicalFacts | None = None,
) -> Verdict:
    """One answer an item, in the order of the file. ``study`` is None when the lesions came from a table.

    caveats: of every stage so far. Raises ConfigError (CAP_BELOW_LIMIT, NO_NUMERICS, UNKNOWN_ITEM).
    """
    _check_items(criteria, clinical)
    clinical = clinical.for_study(study.key if study else "") if clinical else None
    found = vetoes.found(tally, study, caveats, criteria.vetoes)
    of_organs = vetoes.found(tally, study, caveats, criteria.organ_vetoes)
    source = "imaging" if study is not None else "lesion_table"

    def one(item: Item) -> CriterionAnswer:
        if isinstance(item, CountItem):
            computed = counts.answer(item, tally, criteria.decision, (found, of_organs), source)
            return other_items.beside_table(computed, clinical)
        if isinstance(item, AgeItem):
            return other_items.beside_table(other_items.age(item, study, clinical), clinical)
        if isinstance(item, SpineImagingItem):
            return other_items.spine_imaging(item, tally, study, criteria.decision, clinical)
        return other_items.clinical_question(item, study, caveats, clinical)

    answers = tuple(one(item) for item in criteria.items)
    return Verdict(
        criteria_name=criteria.name,
        headline=criteria.headline,
        answers=answers,
        vetoes=tuple((reason.code, reason.text) for reason in (*found, *of_organs)),
        open_questions=tuple((a.id, question) for a in answers for question in a.human_questions),
        clinical=clinical,
        criteria=criteria.model_dump(mode="json", exclude_none=True),
    )


def _check_items(criteria: Criteria, clinical: ClinicalFacts | None) -> None:
    known = [item.id for item in criteria.items]
    for item in clinical.items if clinical else ():
        if item.criterion not in known:
            guess = nearest(item.criterion, known)
            advice = f"Did you mean {guess!r}?" if guess else f"Known items: {', '.join(known)}."
            raise ConfigError("UNKNOWN_ITEM", f"the clinical table answers {item.criterion!r}, which is no item", advice=advice)
