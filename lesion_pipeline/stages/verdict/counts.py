"""The answer to a condition on counts: value, limit, margin, probability, reasons, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.domain.sampling import Sampler
from lesion_pipeline.domain.verdict import Count, CriterionAnswer, CriterionReason, CriterionStatus, Tally
from lesion_pipeline.stages.verdict.chance import Reading, certainly_exceeds, organ_ends, readings_of, status_of
from lesion_pipeline.stages.verdict.criteria import CountItem, Decision
from lesion_pipeline.stages.verdict.flips import flip_set

#: Notes of the tally that a count cannot be read without.
_NOTES = (
    "SPINAL_UNKNOWN",
    "ORGANS_UNKNOWN",
    "DIFFUSE",
    "NOT_SEEN_ON_PET",
    "TREATED_NOT_COUNTED",
    "REGIONAL_UNKNOWN",
    "READINGS_CUT",
)


#: Notes that make one of the counts an interval: beginning of the reason's suffix -> code of the note.
_UNKNOWN = {"ORGANS": "ORGANS_UNKNOWN", "NO": "SPINAL_UNKNOWN", "SPINE": "SPINAL_UNKNOWN"}


def answer(
    item: CountItem,
    tally: Tally,
    decision: Decision,
    vetoes: tuple[Sequence[CriterionReason], Sequence[CriterionReason]],
    source: str,
) -> CriterionAnswer:
    """The three-valued answer. A veto makes it ``indeterminate``, unless certain lesions alone already exceed a limit.

    vetoes: those that always forbid an answer, and those that do where the answer hangs on the organs of lesions outside bone.

    Raises ConfigError (CAP_BELOW_LIMIT, NO_NUMERICS).
    """
    if tally.numerics is None:
        raise ConfigError("NO_NUMERICS", "the tally does not say how it was computed")
    sampler = Sampler(tally.numerics)
    readings = readings_of(item.any_of, tally, sampler)
    by_count = status_of((r.probability for r in readings), decision)
    certain = by_count is CriterionStatus.DOES_NOT_MEET and certainly_exceeds(item.any_of, tally)
    barred = list(vetoes[0])
    if vetoes[1] and by_count is not CriterionStatus.INDETERMINATE:
        ends = organ_ends(item.any_of, tally, sampler)
        if any(status_of([chance], decision) is not by_count for chance in ends):
            barred += vetoes[1]
    vetoed = bool(barred) and not certain
    status = CriterionStatus.INDETERMINATE if vetoed else by_count
    flips: tuple[str, ...] = ()
    if tally.exact and status is by_count:
        flips = flip_set(item.any_of, tally, by_count, decision, sampler)
    chances = [r.probability for r in readings]
    of_unknown = [readings[0].probability] + [r.probability for r in readings if r.unknown]
    known = max(of_unknown) - min(of_unknown) <= 1e-9
    return CriterionAnswer(
        id=item.id,
        title=item.title,
        status=status,
        probability=chances[0] if known else None,
        probability_range=(min(chances), max(chances)),
        margin=tuple(_margins(item, tally)),
        reasons=(*(barred if vetoed else ()), *_reasons(item, tally, readings, decision)),
        flip_set=flips,
        variants=tuple((r.name, r.probability, status_of([r.probability], decision)) for r in readings[1:]),
        human_questions=item.questions,
        source=source,
        default_status=status_of([chances[0]], decision),
    )


def _spine(tally: Tally) -> Count:
    return tally.involved_vertebrae if tally.spine_unit == "vertebra" else tally.spinal_lesions


def _limits(item: CountItem, tally: Tally) -> Iterator[tuple[str, str, Count, int, bool, str]]:
    """(limit name, reason suffix, count, limit, is a maximum, what is counted) of the first alternative."""
    box = item.any_of[0]
    spine = "involved vertebrae" if tally.spine_unit == "vertebra" else "spinal lesions"
    few = "NO_SPINE" if box.spine_min == 1 else "SPINE_TOO_FEW"
    rows = (
        ("lesions_max", "LESIONS", tally.lesions, box.lesions_max, True, "lesions"),
        ("lesions_min", "LESIONS_TOO_FEW", tally.lesions, box.lesions_min, False, "lesions"),
        ("organs_max", "ORGANS", tally.organs, box.organs_max, True, "organs"),
        ("organs_min", "ORGANS_TOO_FEW", tally.organs, box.organs_min, False, "organs"),
        ("spine_min", few, _spine(tally), box.spine_min, False, spine),
        ("spine_max", f"SPINE_GT{box.spine_max}", _spine(tally), box.spine_max, True, spine),
    )
    for name, suffix, count, limit, is_max, what in rows:
        if limit is not None:
            yield name, suffix, count, limit, is_max, what


def _margins(item: CountItem, tally: Tally) -> Iterator[tuple[str, int, int, int]]:
    for name, _, count, limit, is_max, _ in _limits(item, tally):
        yield name, count.best, limit, limit - count.best if is_max else count.best - limit


def _reasons(item: CountItem, tally: Tally, readings: Sequence[Reading], decision: Decision) -> Iterator[CriterionReason]:
    if item.role == "inclusion":
        yield from _broken_limits(item, tally, decision)
    elif readings[0].probability > decision.p_fails and item.holds_code:
        yield CriterionReason(item.holds_code, f"the condition holds with probability {readings[0].probability:.2f}")
    if item.note_code:
        yield CriterionReason(item.note_code, item.note)
    for reading in readings[1:]:
        if status_of([reading.probability], decision) is not status_of([readings[0].probability], decision):
            code = reading.name.upper() if reading.unknown else f"VARIANT_{reading.name.upper()}"
            change = f"probability {readings[0].probability:.2f} becomes {reading.probability:.2f}"
            joined = "with" if reading.unknown else "if"
            yield CriterionReason(code, f"the answer changes {joined} {reading.sentence}: {change}")
    if item.role == "inclusion":
        yield from _uncertain(tally, decision)
        yield from (CriterionReason(code, text) for code, text in tally.notes if code in _NOTES)


def _broken_limits(item: CountItem, tally: Tally, decision: Decision) -> Iterator[CriterionReason]:
    """Every limit that is broken, or may be, with its probability under the default reading."""
    if len(item.any_of) > 1:
        return
    for _, suffix, count, limit, is_max, what in _limits(item, tally):
        bound = f"more than {limit} {what}" if is_max else f"fewer than {limit} {what}" if limit > 1 else f"no {what}"
        beyond = count.high > limit if is_max else count.low < limit
        if beyond and any(code == _UNKNOWN.get(suffix.split("_")[0]) for code, _ in tally.notes):
            text = f"perhaps {bound}: {count.low} to {count.high}, by what is not known of the lesions"
            yield CriterionReason(f"{item.id}_{suffix}", text)
            continue
        chance = sum(p for n, p in enumerate(count.pmf) if (n > limit if is_max else n < limit))
        if chance <= decision.p_fails:
            continue
        sure = "" if chance >= decision.p_meets else "perhaps "
        text = f"{sure}{bound}: most probably {count.best} ({count.low} to {count.high}), probability {chance:.2f}"
        yield CriterionReason(f"{item.id}_{suffix}", text)


def _uncertain(tally: Tally, decision: Decision) -> Iterator[CriterionReason]:
    counted = {unit.id for unit in tally.units}
    doubtful = [x for x in tally.countable if x.id in counted and decision.p_fails < x.probability < decision.p_meets]
    if doubtful:
        said = ", ".join(x.named for x in sorted(doubtful, key=lambda x: (-x.probability, x.id)))
        yield CriterionReason("UNCERTAIN_LESIONS", f"not certain to be metastases: {said}")
