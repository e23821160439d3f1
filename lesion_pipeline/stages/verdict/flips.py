"""The smallest set of lesions whose change flips an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

from lesion_pipeline.domain.counting import CountingUnit
from lesion_pipeline.domain.sampling import Sampler
from lesion_pipeline.domain.verdict import CriterionStatus, Tally
from lesion_pipeline.stages.verdict.chance import caps_for, probability, status_of
from lesion_pipeline.stages.verdict.criteria import Decision, Limits


@dataclass(frozen=True, slots=True)
class _Move:
    """Lesions that count alike, and what they would turn out to be: metastasis (1) or not (0)."""

    ids: tuple[str, ...]
    to: float
    cost: float


def flip_set(
    boxes: Sequence[Limits], tally: Tally, status: CriterionStatus, decision: Decision, sampler: Sampler
) -> tuple[str, ...]:
    """Ids of the fewest lesions that, found out to be (or not to be) metastases, would change ``status``.

    From a definite answer lesions change against their probability. An indeterminate answer flips when it becomes definite;
    there only lesions are tried that are themselves in question, by their probability or because a reading leaves them out. Of
    sets of one size the one that changes probabilities least is taken. Lesions that count alike are tried once. Empty when no
    set within the size and number of trials of the criteria file does it.
    """
    moves = _moves(tally, status, decision)
    trial = _Trial(boxes, tally, decision, sampler)
    for size in range(1, decision.flip_size + 1):
        for chosen in _by_cost(moves, size):
            if trial.counted >= decision.flip_trials:
                return ()
            changed = _changed(chosen)
            if trial.becomes(changed) is not status:
                return tuple(sorted(changed))
    return ()


def _moves(tally: Tally, status: CriterionStatus, decision: Decision) -> list[_Move]:
    every = (tally, *(variant for _, variant in tally.variants))
    seen: dict[str, list[CountingUnit | None]] = {}
    for index, each in enumerate(every):
        for unit in each.units:
            seen.setdefault(unit.id, [None] * len(every))[index] = replace(unit, id="")
    alike: dict[tuple[CountingUnit | None, ...], list[str]] = {}
    for name in sorted(seen):
        alike.setdefault(tuple(seen[name]), []).append(name)
    moves = []
    for units, names in alike.items():
        p = next(unit.probability for unit in units if unit is not None)
        if status is CriterionStatus.INDETERMINATE and None not in units and not decision.p_fails < p < decision.p_meets:
            continue  # not this lesion is in question, but a rule
        ways = [1.0, 0.0] if status is CriterionStatus.INDETERMINATE or p == 0.5 else [0.0 if p > 0.5 else 1.0]
        moves += [_Move(tuple(names), to, abs(p - to)) for to in ways if p != to]
    return sorted(moves, key=lambda move: (move.cost, move.ids))[: decision.flip_candidates]


def _by_cost(moves: list[_Move], size: int) -> Iterator[tuple[_Move, ...]]:
    sets = [chosen for chosen in combinations_with_replacement(moves, size) if _possible(chosen)]
    yield from sorted(sets, key=lambda chosen: (round(sum(m.cost for m in chosen), 9), [m.ids for m in chosen]))


def _possible(chosen: tuple[_Move, ...]) -> bool:
    """No lesion twice: of lesions that count alike as many as there are, whichever way they change."""
    names = {move.ids for move in chosen}
    return all(sum(move.ids == ids for move in chosen) <= len(ids) for ids in names)


def _changed(chosen: tuple[_Move, ...]) -> dict[str, float]:
    out: dict[str, float] = {}
    for move in chosen:
        out[next(name for name in move.ids if name not in out)] = move.to
    return out


class _Trial:
    """Counts again with some lesions settled, and how often it did: each reading counts."""

    def __init__(self, boxes: Sequence[Limits], tally: Tally, decision: Decision, sampler: Sampler) -> None:
        self.counted = 0
        self._boxes, self._decision, self._sampler = boxes, decision, sampler
        self._readings = {
            (each.units, each.spine_unit): caps_for(boxes, replace(each, rules=tally.rules))
            for each in (tally, *(variant for _, variant in tally.variants))
        }

    def becomes(self, changed: dict[str, float]) -> CriterionStatus:
        chances: list[float] = []
        for (units, spine_unit), caps in self._readings.items():
            settled = tuple(replace(u, probability=changed[u.id]) if u.id in changed else u for u in units)
            chances.append(probability(self._boxes, settled, caps, spine_unit, self._sampler))
            self.counted += 1
            if status_of(chances, self._decision) is CriterionStatus.INDETERMINATE:
                break  # no further reading makes it definite again
        return status_of(chances, self._decision)
