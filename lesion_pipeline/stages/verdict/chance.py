"""The probability that a condition on counts holds, under one reading and under all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.domain.counting import Caps, CountingUnit, Floats
from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.domain.sampling import Sampler, joint_table
from lesion_pipeline.domain.verdict import CriterionStatus, Tally
from lesion_pipeline.stages.verdict.criteria import Decision, Limits


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the rules with the probability of the condition under it."""

    name: str
    sentence: str
    probability: float
    unknown: bool


def caps_for(boxes: Sequence[Limits], tally: Tally) -> Caps:
    """The smallest table on which every limit can be asked."""

    def top(*names: str) -> int:
        values = [getattr(box, name) for box in boxes for name in names]
        return max((value + 1 for value in values if value is not None), default=0)

    spine = top("spine_min", "spine_max")
    by_vertebra = tally.spine_unit == "vertebra"
    caps = Caps(
        top("lesions_min", "lesions_max"),
        top("organs_min", "organs_max"),
        0 if by_vertebra else spine,
        spine if by_vertebra else 0,
        top("per_organ_max"),
    )
    if any(box.non_spinal_min is not None for box in boxes):  # a difference of two axes: both as long as the rules keep them
        caps = replace(caps, lesions=cap_of(tally, "cap_lesions"), spinal=cap_of(tally, "cap_spinal"))
    return caps


def cap_of(tally: Tally, name: str) -> int:
    """Where the rules end an axis of the joint table."""
    numbers = tally.rules.get("numerics")
    return int(numbers[name]) if isinstance(numbers, Mapping) else 0


def holds(boxes: Sequence[Limits], table_shape: tuple[int, ...], spine_unit: str) -> Floats:
    """1 where the condition holds, 0 elsewhere, over a joint table (lesions, organs, spinal, vertebrae, per organ)."""
    lesions, organs, spinal, vertebrae, per_organ = np.indices(table_shape)
    spine = vertebrae if spine_unit == "vertebra" else spinal
    result = np.zeros(table_shape, dtype=bool)
    for box in boxes:
        inside = np.ones(table_shape, dtype=bool)
        tests = (
            (lesions, box.lesions_min, box.lesions_max),
            (organs, box.organs_min, box.organs_max),
            (spine, box.spine_min, box.spine_max),
            (lesions - spinal, box.non_spinal_min, None),
            (per_organ, None, box.per_organ_max),
        )
        for axis, low, high in tests:
            if low is not None:
                inside &= axis >= low
            if high is not None:
                inside &= axis <= high
        result |= inside
    return result.astype(np.float64)


def probability(
    boxes: Sequence[Limits], units: tuple[CountingUnit, ...], caps: Caps, spine_unit: str, sampler: Sampler
) -> float:
    """P(condition) of these units, recounted on a table of these caps."""
    table = joint_table(units, caps, sampler).values
    return float((table * holds(boxes, table.shape, spine_unit)).sum())


def readings_of(boxes: Sequence[Limits], tally: Tally, sampler: Sampler) -> tuple[Reading, ...]:
    """The default reading first, then every variant. Raises ConfigError (CAP_BELOW_LIMIT)."""
    _check_caps(boxes, tally)
    by_organ = any(box.per_organ_max is not None for box in boxes)
    out = []
    for each in (tally, *(variant for _, variant in tally.variants)):
        caps = caps_for(boxes, replace(each, rules=tally.rules))
        chance = probability(boxes, each.units, caps, each.spine_unit, sampler) if by_organ else _from_joint(boxes, each)
        out.append(Reading(each.rules_name, each.sentence, min(1.0, max(0.0, chance)), each.unknown))
    return tuple(out)


def organ_ends(boxes: Sequence[Limits], tally: Tally, sampler: Sampler) -> tuple[float, float]:
    """P(condition) with all lesions outside bone in one organ, and with each in an organ of its own."""

    def moved(unit: CountingUnit, key: str) -> CountingUnit:
        in_bone = sum(share for organ, share in unit.organs if organ == Organ.BONE)
        return unit if unit.spinal or unit.vertebrae or in_bone > 0.5 else replace(unit, organs=((key, 1.0),))

    caps = caps_for(boxes, tally)
    shared = tuple(moved(unit, "elsewhere") for unit in tally.units)
    apart = tuple(moved(unit, f"elsewhere {unit.id}") for unit in tally.units)
    one, many = (probability(boxes, units, caps, tally.spine_unit, sampler) for units in (shared, apart))
    return one, many


def _from_joint(boxes: Sequence[Limits], tally: Tally) -> float:
    if not tally.joint:
        return 0.0
    keys = np.array([key for key, _ in tally.joint])
    shape = (*(int(n) + 1 for n in keys.max(axis=0)), 1)
    inside = holds(boxes, shape, tally.spine_unit)[..., 0]
    return float(sum(p * inside[key] for key, p in tally.joint))


def _check_caps(boxes: Sequence[Limits], tally: Tally) -> None:
    axes = (("lesions", "cap_lesions"), ("organs", "cap_organs"), ("spine", "cap_spinal"), ("spine", "cap_vertebrae"))
    for box in boxes:
        for name, cap in axes:
            for end in ("min", "max"):
                limit, most = getattr(box, f"{name}_{end}"), cap_of(tally, cap)
                if limit is not None and limit >= most:
                    raise ConfigError(
                        "CAP_BELOW_LIMIT",
                        f"the limit {name}_{end} = {limit} is not below numerics.{cap} = {most} of the counting rules",
                        advice=f"Raise {cap}.",
                    )


def status_of(probabilities: Iterable[float], decision: Decision) -> CriterionStatus:
    """``meets`` or ``does_not_meet`` only when every reading agrees."""
    values = list(probabilities)
    if min(values) >= decision.p_meets:
        return CriterionStatus.MEETS
    if max(values) <= decision.p_fails:
        return CriterionStatus.DOES_NOT_MEET
    return CriterionStatus.INDETERMINATE


def certainly_exceeds(boxes: Sequence[Limits], tally: Tally) -> bool:
    """True when, under every reading, certain lesions alone already break an upper limit of every alternative."""
    return all(all(_broken(box, each) for box in boxes) for each in (tally, *(v for _, v in tally.variants)))


def _broken(box: Limits, tally: Tally) -> bool:
    lesions, organs, spinal, vertebrae = tally.certain
    spine = vertebrae if tally.spine_unit == "vertebra" else spinal
    pairs = ((lesions, box.lesions_max), (organs, box.organs_max), (spine, box.spine_max))
    return any(limit is not None and value > limit for value, limit in pairs)
