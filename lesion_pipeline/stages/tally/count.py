"""Lesions and rules to counts: the default reading, every other admissible reading, and the readings of what is not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lesion_pipeline.domain.counting import Caps, CountingUnit, Floats, JointTable, Numerics, expected_and_any
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.sampling import Sampler, joint_table
from lesion_pipeline.domain.verdict import Count, CountableLesion, Tally
from lesion_pipeline.stages.tally import readings
from lesion_pipeline.stages.tally.readings import Assumption
from lesion_pipeline.stages.tally.rules import CountingRules, NumericRules

#: Readings of how many of the lesions of unknown spinal state are spinal: none, the likeliest one, two, and all.
MAX_UNKNOWN_STEPS = 2
#: Readings at most that take another rule and settle the unknown at once.
MAX_BOTH = 20
_CUT = ("READINGS_CUT", "there are more readings of what is not known than were evaluated")
#: Entries of the joint distribution below this are rounding.
NEGLIGIBLE = 1e-15


def count(lesions: Sequence[CountableLesion], rules: CountingRules) -> Tally:
    """Counts of these lesions under the rules and under each of their variants.

    The interval of a count spans every reading of what is not known of a lesion. Raises InputError (DUPLICATE_LESION).
    """
    names = [lesion.id for lesion in lesions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("DUPLICATE_LESION", f"two lesions are called {twice[0]}", advice="Give every lesion an id of its own.")
    counter = _Counter(tuple(lesions), rules)
    default = counter.tally(rules, Assumption(), rules.name, rules.title)
    variants = [
        counter.tally(rules.under(variant), Assumption(), variant.name, variant.sentence)
        for variant in rules.variants
        if not (variant.not_once and rules.is_settled(variant.not_once))
    ]
    unknown = [
        replace(counter.tally(rules, assumption, name, sentence), unknown=True)
        for name, sentence, assumption in _unknown_readings(lesions, rules)
    ]
    both = list(_both(counter, [default, *variants, *unknown]))
    spread = [default, *unknown]
    return replace(
        default,
        lesions=_envelope([t.lesions for t in spread]),
        organs=_envelope([t.organs for t in spread]),
        spinal_lesions=_envelope([t.spinal_lesions for t in spread]),
        involved_vertebrae=_envelope([t.involved_vertebrae for t in spread]),
        variants=tuple((t.rules_name, t) for t in [*variants, *unknown, *both]),
        notes=(*_notes(lesions, rules, default), *([_CUT] if len(both) == MAX_BOTH else [])),
        countable=tuple(lesions),
        rules=rules.model_dump(mode="json"),
    )


def numerics(rules: NumericRules) -> Numerics:
    return Numerics(rules.frailty_sigma, rules.quadrature_nodes, rules.draws, rules.seed, rules.max_cells)


@dataclass(frozen=True, slots=True)
class _Numbers:
    joint: Floats
    marginals: tuple[Floats, Floats, Floats, Floats]
    exact: bool


class _Counter:
    """Counts readings, each distinct one once."""

    def __init__(self, lesions: tuple[CountableLesion, ...], rules: CountingRules) -> None:
        self.lesions = lesions
        self.rules = rules
        self.numerics = numerics(rules.numerics)
        self.sampler = Sampler(self.numerics)
        self._known: dict[tuple[CountingUnit, ...], _Numbers] = {}

    def tally(self, rules: CountingRules, assumption: Assumption, name: str, sentence: str) -> Tally:
        units = readings.units(self.lesions, rules, assumption)
        if units not in self._known:
            self._known[units] = self._numbers(units, rules.numerics)
        found = self._known[units]
        lesions, organs, spinal, vertebrae = (_count(pmf, rules.numerics.interval) for pmf in found.marginals)
        return Tally(
            rules_name=name,
            lesions=lesions,
            organs=organs,
            spinal_lesions=spinal,
            involved_vertebrae=vertebrae,
            joint=_sparse(found.joint),
            by_organ=self._by_key([(unit, unit.organs) for unit in units]),
            by_level=self._by_key([(u, [(v, 1.0) for v in u.vertebrae if not v.startswith("?")]) for u in units], split=False),
            sentence=sentence,
            spine_unit=rules.spine.count_unit,
            units=units,
            certain=certain_counts(units, rules.numerics.certain_from),
            exact=found.exact,
            numerics=self.numerics,
        )

    def _numbers(self, units: tuple[CountingUnit, ...], rules: NumericRules) -> _Numbers:
        caps = Caps(rules.cap_lesions, rules.cap_organs, rules.cap_spinal, rules.cap_vertebrae)
        joint = joint_table(units, caps, self.sampler)
        vertebrae = len({key for unit in units for key in unit.vertebrae})
        organs = len({key for unit in units for key, _ in unit.organs if key})
        by_vertebra = len({key for unit in units if unit.vertebrae_are_lesions for key in unit.vertebrae})
        lesions = sum(unit.lesions + (unit.split_probability > 0.0) for unit in units) + by_vertebra
        spinal = sum(unit.spinal + (unit.split_probability > 0.0) for unit in units if unit.spinal) + by_vertebra
        whole = (Caps(lesions=lesions), Caps(organs=organs), Caps(spinal=spinal), Caps(vertebrae=vertebrae))
        # where the joint is sampled, so are its margins: the same draws, and no time lost on larger tables
        tables = [
            joint_table(units, cap, self.sampler) if joint.exact else JointTable(self.sampler.joint(units, cap), False)
            for cap in whole
        ]
        first, second, third, fourth = (np.asarray(table.values.reshape(-1)) for table in tables)
        return _Numbers(joint.values, (first, second, third, fourth), joint.exact and all(t.exact for t in tables))

    def _by_key(
        self, units: Sequence[tuple[CountingUnit, Sequence[tuple[str, float]]]], split: bool = True
    ) -> tuple[tuple[str, float, float], ...]:
        parts: dict[str, list[tuple[float, float, float]]] = {}
        for unit, keys in units:
            weight = 1.0 + unit.split_probability if split else 1.0
            for key, share in keys:
                if key:
                    parts.setdefault(key, []).append((unit.probability, share, weight))
        return tuple((key, *expected_and_any(parts[key], self.numerics)) for key in sorted(parts, key=readings.level_order))


def certain_counts(units: Sequence[CountingUnit], certain_from: float) -> tuple[int, int, int, int]:
    """(lesions, organs, spinal lesions, vertebrae) that certain lesions alone make sure of."""
    sure = [unit for unit in units if unit.probability >= certain_from]
    splits = [unit for unit in sure if unit.split_probability >= certain_from]
    as_lesions = {key for unit in sure if unit.vertebrae_are_lesions for key in unit.vertebrae}
    organs = {key for unit in sure for key, share in unit.organs if key and unit.probability * share >= certain_from}
    named = {key for unit in sure for key in unit.vertebrae}
    return (
        sum(unit.lesions for unit in sure) + len(splits) + len(as_lesions),
        len(organs),
        sum(unit.spinal for unit in sure) + sum(1 for unit in splits if unit.spinal) + len(as_lesions),
        len({key for key in named if not key.startswith("?")}) or min(1, len(named)),
    )


def _both(counter: _Counter, known: Sequence[Tally]) -> Iterator[Tally]:
    """What is not known, read under every variant of the rules; only readings that count otherwise than those so far."""
    seen = {(each.units, each.spine_unit) for each in known}
    made = 0
    for variant in counter.rules.variants:
        if variant.not_once and counter.rules.is_settled(variant.not_once):
            continue
        rules = counter.rules.under(variant)
        for name, sentence, assumption in _unknown_readings(counter.lesions, rules):
            key = (readings.units(counter.lesions, rules, assumption), rules.spine.count_unit)
            if key in seen or made == MAX_BOTH:
                continue
            seen.add(key)
            made += 1
            said = f"{sentence}; and if {variant.sentence}"
            yield replace(counter.tally(rules, assumption, f"{name}_{variant.name}", said), unknown=True)


def _unknown_readings(lesions: Sequence[CountableLesion], rules: CountingRules) -> Iterator[tuple[str, str, Assumption]]:
    """The ends between which the unknown lies, and the steps between them."""
    counted = [lesion for lesion in lesions if readings.left_out(lesion, rules) is None]
    nowhere = sorted((x for x in counted if x.spinal is None), key=lambda x: (-x.probability, x.id))
    steps = [n for n in range(1, len(nowhere) + 1) if n <= MAX_UNKNOWN_STEPS or n == len(nowhere)]
    organless = [lesion for lesion in counted if not lesion.organs and not lesion.spinal]
    for separate in (False, True) if organless else (False,):
        for number in [0, *steps]:
            if not separate and number == 0:
                continue  # the default reading
            said = []
            if nowhere:
                said.append(f"{number} of the {len(nowhere)} lesions of unknown place read as spinal")
            if separate:
                said.append("every lesion of unknown organ in an organ of its own")
            name = "_".join(["unknown", f"spinal_{number}"] + (["own_organs"] if separate else []))
            yield name, "; ".join(said), Assumption(frozenset(x.id for x in nowhere[:number]), separate)
    if any(readings.is_diffuse(x) and set(x.doubts) & set(rules.diffuse.question_codes) for x in counted):
        yield (
            "unknown_diffuse_reaction",
            "the diffuse uptake read as a reaction, not as disease",
            Assumption(diffuse_is_disease=False),
        )


def _notes(lesions: Sequence[CountableLesion], rules: CountingRules, default: Tally) -> Iterator[tuple[str, str]]:
    """What the rules left out, and what was not known."""
    left: dict[str, list[str]] = {}
    for lesion in lesions:
        code = readings.left_out(lesion, rules)
        if code is not None:
            left.setdefault(code, []).append(lesion.named)
    counted = [lesion for lesion in lesions if readings.left_out(lesion, rules) is None]
    for code, names in left.items():
        yield code, f"{_LEFT_OUT[code]}: {', '.join(names)}"
    questions = (
        ("SPINAL_UNKNOWN", "it is not known whether they lie in the spine", [x for x in counted if x.spinal is None]),
        ("ORGANS_UNKNOWN", "their organ is not known", [x for x in counted if not x.organs and not x.spinal]),
        ("LEVELS_UNKNOWN", "vertebra not known; each counts as one", [x for x in counted if x.spinal and not x.vertebrae]),
        ("REGIONAL_UNKNOWN", "nodes that may be regional", [x for x in counted if readings.region_unknown(x, rules)]),
        ("DIFFUSE", "diffuse disease, not countable lesion by lesion", [x for x in counted if readings.is_diffuse(x)]),
        ("SPLIT", "may be one lesion or two", [x for x in counted if 0.0 < readings.split_probability(x, rules) < 1.0]),
    )
    for code, sentence, found in questions:
        if found:
            yield code, f"{sentence}: {', '.join(x.named for x in found)}"
    if not default.exact:
        yield "SAMPLED", f"the distribution was sampled with {rules.numerics.draws} seeded draws"


_LEFT_OUT = {
    "NOT_METASTASIS": "not disease",
    "PRIMARY_NOT_COUNTED": "the primary tumour is not counted",
    "NODES_NOT_COUNTED": "lymph nodes are not counted",
    "REGIONAL_NODE_NOT_COUNTED": "regional nodes are not counted",
    "TREATED_NOT_COUNTED": "treated or inactive, reported and not counted",
    "NOT_SEEN_ON_PET": "not seen on PET, reported and not counted",
    "BELOW_MINIMUM": "below the minimum volume and contrast, reported and not counted",
}


def _count(pmf: Floats, mass: float) -> Count:
    values = np.clip(pmf, 0.0, None)
    values = values / values.sum()
    below = np.cumsum(values)
    tail = (1.0 - mass) / 2.0
    low = int(np.searchsorted(below, tail - 1e-12, side="left"))
    high = int(np.searchsorted(below, 1.0 - tail - 1e-12, side="left"))
    top = int(np.flatnonzero(values > NEGLIGIBLE)[-1])
    kept = values[: top + 1]
    return Count(low, int(np.argmax(np.round(values, 12))), min(high, top), tuple(float(p) for p in kept))


def _envelope(counts: Sequence[Count]) -> Count:
    return replace(counts[0], low=min(c.low for c in counts), high=max(c.high for c in counts))


def _sparse(joint: Floats) -> tuple[tuple[tuple[int, int, int, int], float], ...]:
    table = joint[..., 0]
    return tuple(((int(n), int(o), int(s), int(v)), float(table[n, o, s, v])) for n, o, s, v in np.argwhere(table > NEGLIGIBLE))
