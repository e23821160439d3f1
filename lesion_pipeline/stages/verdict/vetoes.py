"""Doubts about the data that forbid an answer on counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.pet import SuvStatus, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.verdict import CriterionReason, Tally


def found(
    tally: Tally, study: Study | None, caveats: Sequence[Caveat], sentences: dict[str, str]
) -> tuple[CriterionReason, ...]:
    """The vetoes that apply, once each, in the order of the criteria file. sentences: code (or ``PREFIX*``) -> why."""
    present = [*_of_study(study), *((c.code, "") for c in caveats), *_of_lesions(tally)]
    out: dict[str, CriterionReason] = {}
    for pattern, sentence in sentences.items():
        for code, where in present:
            if code == pattern or (pattern.endswith("*") and code.startswith(pattern[:-1])):
                text = f"{sentence} ({where})" if where else sentence
                out.setdefault(code, CriterionReason(code, text))
    return tuple(out.values())


def _of_study(study: Study | None) -> Iterator[tuple[str, str]]:
    if study is None:
        return
    if study.pet is None:
        yield "NO_PET", ""
    if study.ct is None:
        yield "NO_CT", ""
    if study.pet is not None and (study.suv is None or study.suv.status is SuvStatus.REFUSED):
        yield "SUV_REFUSED", (study.suv.code or "") if study.suv else ""
    if study.suv is not None and study.suv.status is SuvStatus.AMBIGUOUS:
        yield "SUV_AMBIGUOUS", study.suv.code or ""
    if study.tracer is Tracer.UNKNOWN:
        yield "TRACER_UNKNOWN", ""


def _of_lesions(tally: Tally) -> Iterator[tuple[str, str]]:
    """Doubts about the place of a lesion that is counted; what is not counted cannot be counted wrongly."""
    counted = {unit.id for unit in tally.units}
    for lesion in tally.countable:
        if lesion.id in counted:
            yield from ((code, f"lesion {lesion.id}") for code in lesion.doubts)


def codes(caveats: Iterable[Caveat]) -> frozenset[str]:
    return frozenset(caveat.code for caveat in caveats)
