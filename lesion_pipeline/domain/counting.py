"""From lesion probabilities to the joint distribution of four counts. Exact where it can be, seeded sampling where it cannot.

The counts are correlated through the lesions they share, so the probability of a criterion is a sum over the joint
distribution; multiplying the marginals is wrong. Axes of every joint table: (lesions, organs, spinal lesions, involved
vertebrae, most lesions in one organ). The last value of an axis means "this many or more".

Lesions are independent given a patient frailty z ~ N(0, 1) that shifts every log-odds by ``frailty_sigma`` * z, integrated by
Gauss-Hermite quadrature. A lesion of probability 0 or 1 is not shifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CountingUnit:
    """What one lesion adds to the counts under one reading of the rules.

    organs: (key, probability), sum 1; the key "" is a place that enters no organ count. lesions, spinal: what it adds when it
    is a metastasis. vertebrae: keys of the vertebrae it involves; with ``vertebrae_are_lesions`` each distinct involved
    vertebra is one lesion and one spinal lesion. split_probability: of being one lesion more.
    """

    id: str
    probability: float
    organs: tuple[tuple[str, float], ...]
    lesions: int = 1
    spinal: int = 0
    vertebrae: tuple[str, ...] = ()
    vertebrae_are_lesions: bool = False
    split_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Caps:
    """Where each axis of a joint table ends; 0 leaves the axis out."""

    lesions: int = 0
    organs: int = 0
    spinal: int = 0
    vertebrae: int = 0
    per_organ: int = 0


@dataclass(frozen=True, slots=True)
class Numerics:
    """How the distribution is computed. max_cells: table cells visited in all, beyond which sampling takes over."""

    frailty_sigma: float
    quadrature_nodes: int
    draws: int
    seed: int
    max_cells: int


@dataclass(frozen=True, slots=True, eq=False)
class JointTable:
    """values: float64 (lesions, organs, spinal, vertebrae, per organ), sums to 1. exact: False when sampled."""

    values: Floats
    exact: bool


def frailty_nodes(numerics: Numerics) -> tuple[Floats, Floats]:
    """(z, weight) of the quadrature over the frailty, weights summing to 1; one node when sigma is 0."""
    if numerics.frailty_sigma == 0.0:
        return np.zeros(1), np.ones(1)
    return _gauss_hermite(numerics.quadrature_nodes)


@lru_cache(maxsize=8)
def _gauss_hermite(nodes: int) -> tuple[Floats, Floats]:
    z, weight = np.polynomial.hermite_e.hermegauss(nodes)
    weight = weight / weight.sum()
    z.setflags(write=False)
    weight.setflags(write=False)
    return z, weight


def shifted(probability: float, z: Floats, sigma: float) -> Floats:
    """P(metastasis) at every node of the frailty; 0 and 1 stay what they are."""
    if probability <= 0.0 or probability >= 1.0:
        return np.full(z.shape, min(max(probability, 0.0), 1.0))
    logit = np.log(probability) - np.log1p(-probability)
    return np.asarray(1.0 / (1.0 + np.exp(-(logit + sigma * z))))


def expected_and_any(parts: Sequence[tuple[float, float, float]], numerics: Numerics) -> tuple[float, float]:
    """(expected number, probability of at least one) over (lesion probability, share, weight) triples.

    share: probability that the lesion is of this kind if it is one; weight: how many it counts for.
    """
    z, node_weight = frailty_nodes(numerics)
    expected, none = np.zeros(z.shape), np.ones(z.shape)
    for probability, share, weight in parts:
        p = shifted(probability, z, numerics.frailty_sigma) * share
        expected += p * weight
        none *= 1.0 - p
    return float(expected @ node_weight), float(1.0 - none @ node_weight)


@dataclass(frozen=True, slots=True)
class _Spine:
    """Vertebrae that the same lesions involve: they are hit together, so they need one axis. ids: the lesions."""

    ids: tuple[str, ...]
    vertebrae: int
    as_lesions: int


@dataclass(slots=True)
class _Plan:
    """In which order the units are taken. open: the axes each unit needs; alone: what it hits and no other unit can, which
    needs no axis; last: the unit that is the last to need an axis; cells: table cells that will be visited in all.
    """

    units: list[CountingUnit]
    open: list[tuple[str | _Spine, ...]]
    alone: list[tuple[frozenset[str], tuple[_Spine, ...]]]
    last: dict[str | _Spine, int]
    cells: int


def _spines(units: Sequence[CountingUnit]) -> dict[str, tuple[_Spine, ...]]:
    """For every unit the groups of vertebrae it involves."""
    involving: dict[str, list[str]] = {}
    like_lesions = {key for unit in units if unit.vertebrae_are_lesions for key in unit.vertebrae}
    for unit in units:
        for key in unit.vertebrae:
            involving.setdefault(key, []).append(unit.id)
    groups: dict[tuple[str, ...], list[str]] = {}
    for key, names in involving.items():
        groups.setdefault(tuple(names), []).append(key)
    spines = [_Spine(ids, len(keys), len(like_lesions.intersection(keys))) for ids, keys in groups.items()]
    return {unit.id: tuple(spine for spine in spines if unit.id in spine.ids) for unit in units}


def _plan(units: Sequence[CountingUnit], caps: Caps, nodes: int) -> _Plan:
    ordered = sorted((u for u in units if u.probability > 0.0), key=lambda u: (u.organs, u.vertebrae, u.id))
    as_lesions = (caps.lesions or caps.spinal) and any(u.vertebrae_are_lesions for u in ordered)
    spines = _spines(ordered) if caps.vertebrae or as_lesions else {}
    in_organ: dict[str, int] = {}
    for unit in ordered if caps.organs or caps.per_organ else ():
        for key in {key for key, share in unit.organs if key and share > 0.0}:
            in_organ[key] = in_organ.get(key, 0) + 1
    shared = {key for key, number in in_organ.items() if number > 1 or caps.per_organ}
    plan = _Plan(ordered, [], [], {}, 0)
    for index, unit in enumerate(ordered):
        keys = dict.fromkeys(key for key, share in unit.organs if share > 0.0)
        of_spine = spines.get(unit.id, ())
        needed: tuple[str | _Spine, ...] = tuple(key for key in keys if key in shared)
        needed += tuple(spine for spine in of_spine if len(spine.ids) > 1)
        plan.open.append(needed)
        single = frozenset(key for key in keys if key in in_organ and key not in shared)
        plan.alone.append((single, tuple(spine for spine in of_spine if len(spine.ids) == 1)))
        plan.last.update(dict.fromkeys(needed, index))
    base = nodes * (caps.lesions + 1) * (caps.organs + 1) * (caps.spinal + 1) * (caps.vertebrae + 1) * (caps.per_organ + 1)
    active: set[str | _Spine] = set()
    for index, needed in enumerate(plan.open):
        active |= set(needed)
        organs = sum(isinstance(key, str) for key in active)
        plan.cells += base * max(2, caps.per_organ + 1) ** organs * 2 ** (len(active) - organs)
        active -= {key for key in active if plan.last[key] == index}
    return plan


def _shift(table: Floats, axis: int, by: int) -> Floats:
    """Move everything ``by`` places up along an axis; what would leave the end stays there."""
    if by == 0 or table.shape[axis] == 1:
        return table
    by = min(by, table.shape[axis] - 1)
    source = np.moveaxis(table, axis, 0)
    out = np.zeros_like(source)
    out[by:] = source[: source.shape[0] - by]
    out[-1] += source[source.shape[0] - by :].sum(axis=0)
    return np.moveaxis(out, 0, axis)


_LESIONS, _ORGANS, _SPINAL, _VERTEBRAE, _PER_ORGAN, _FIRST_ACTIVE = 1, 2, 3, 4, 5, 6


class _ExactTable:
    """The joint distribution so far, with one more axis for every organ or vertebra that can still be met again."""

    def __init__(self, caps: Caps, weights: Floats) -> None:
        shape = (len(weights), caps.lesions + 1, caps.organs + 1, caps.spinal + 1, caps.vertebrae + 1, caps.per_organ + 1)
        self.caps = caps
        self.table: Floats = np.zeros(shape)
        self.table[:, 0, 0, 0, 0, 0] = weights
        self.active: list[str | _Spine] = []

    def open(self, key: str | _Spine) -> None:
        if key in self.active:
            return
        states = max(2, self.caps.per_organ + 1) if isinstance(key, str) else 2
        wider: Floats = np.zeros((*self.table.shape, states))
        wider[..., 0] = self.table
        self.table = wider
        self.active.append(key)

    def close(self, key: str | _Spine) -> None:
        axis = self._axis(key)
        self.active.remove(key)
        states = np.moveaxis(self.table, axis, 0)
        out = np.array(states[0])
        for count in range(1, len(states)):
            if isinstance(key, str):
                out += self._raise_per_organ(_shift(states[count], _ORGANS, 1), count)
            else:
                out += _hit(states[count], key)
        self.table = out

    def add(self, unit: CountingUnit, present: Floats, alone: tuple[frozenset[str], tuple[_Spine, ...]]) -> None:
        organs, spines = alone
        out = _scaled(self.table, 1.0 - present)
        for extra, chance in ((0, 1.0 - unit.split_probability), (1, unit.split_probability)):
            if chance == 0.0:
                continue
            moved = _shift(self.table, _LESIONS, unit.lesions + extra)
            moved = _shift(moved, _SPINAL, unit.spinal + (extra if unit.spinal else 0))
            for spine in spines:
                moved = _hit(moved, spine)
            for met in self.active:
                if isinstance(met, _Spine) and unit.id in met.ids:
                    moved = _shift(moved, self._axis(met), 1)
            for key, share in unit.organs:
                if key in self.active:
                    here = _shift(moved, self._axis(key), 1 + extra)
                else:
                    here = _shift(moved, _ORGANS, 1) if key in organs else moved
                out += _scaled(here, present * (share * chance))
        self.table = out

    def _axis(self, key: str | _Spine) -> int:
        return _FIRST_ACTIVE + self.active.index(key)

    def _raise_per_organ(self, table: Floats, count: int) -> Floats:
        top = min(count, self.caps.per_organ)
        if top == 0:
            return table
        moved = np.array(np.moveaxis(table, _PER_ORGAN, 0))
        moved[top] += moved[:top].sum(axis=0)
        moved[:top] = 0.0
        return np.moveaxis(moved, 0, _PER_ORGAN)


def _hit(table: Floats, spine: _Spine) -> Floats:
    moved = _shift(table, _VERTEBRAE, spine.vertebrae)
    return _shift(_shift(moved, _LESIONS, spine.as_lesions), _SPINAL, spine.as_lesions)


def _scaled(table: Floats, by_node: Floats) -> Floats:
    return table * by_node.reshape((-1,) + (1,) * (table.ndim - 1))


def exact_joint(units: Sequence[CountingUnit], caps: Caps, numerics: Numerics) -> Floats | None:
    """The joint table by dynamic programming; None when it would visit more than ``max_cells`` cells.

    Units are taken organ by organ and vertebra by vertebra; an organ or vertebra has an axis of its own only from its first
    lesion to its last, and is then added to the count of organs or vertebrae. Mixtures keep more organs open at a time.
    """
    z, weights = frailty_nodes(numerics)
    plan = _plan(units, caps, len(z))
    if plan.cells > numerics.max_cells:
        return None
    state = _ExactTable(caps, weights)
    for index, unit in enumerate(plan.units):
        for key in plan.open[index]:
            state.open(key)
        state.add(unit, shifted(unit.probability, z, numerics.frailty_sigma), plan.alone[index])
        for key in plan.open[index]:
            if plan.last[key] == index:
                state.close(key)
    return np.asarray(state.table.sum(axis=0))
