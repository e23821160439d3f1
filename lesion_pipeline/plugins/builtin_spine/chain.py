"""One model that cuts the spine into vertebrae and names them at once.

A semi-Markov chain over s: states are levels in the order of a body plan (model.Chain), a state lasts one segment, from disc to
disc. Sums run over every cut, every body scale and every plan; the posterior is drawn from exactly by backward sampling.
Positions are mm along s; index 0 of every array here is the first visible millimetre.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import VertebralLevel as Level
from lesion_pipeline.plugins.builtin_spine import model
from lesion_pipeline.plugins.builtin_spine.model import Chain

Array = npt.NDArray[np.float64]

#: Stand-ins for what lies beyond the vertebrae.
SACRUM = "S"
HEAD = "HEAD"
State = Level | str

LOWEST = -1e30
SAMPLES = 300
LONGEST_MM = 62
NEGLIGIBLE = 9.0
HOPELESS = 50.0  # nats below the best reading of the same millimetres: not followed further


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All log likelihood ratios, already tempered.

    segment: level -> (D, S + 1): segment of length d + 1 ending (cranially) at boundary s. ribless: the same for levels that
    some plans have without ribs. boundary: level -> (S + 1,): the cranial end of that level lies at s. sacrum, head: (S + 1,)
    cumulative over mm. size: S, the number of visible millimetres.
    """

    segment: dict[Level, Array]
    boundary: dict[State, Array]
    sacrum: Array
    head: Array
    size: int
    ribless: dict[Level, Array] = field(default_factory=dict)

    def of(self, level: Level, chain: Chain) -> Array:
        """The segment table of a level in a body plan."""
        if level is chain.ribless and level in self.ribless:
            return self.ribless[level]
        return self.segment[level]


@dataclass(frozen=True, slots=True)
class Piece:
    """state lasts from start to stop (mm); cut: the field of view ends inside it."""

    state: State
    start: int
    stop: int
    cut_below: bool = False
    cut_above: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """samples: drawn readings of the spine, each (plan name, scale, pieces). log_evidence: of everything, for comparison."""

    samples: tuple[tuple[str, float, tuple[Piece, ...]], ...]
    log_evidence: float


def _logsumexp(values: Array, axis: int) -> Array:
    top = values.max(axis=axis, keepdims=True)
    over = values - top
    np.exp(over, out=over)
    return np.asarray(np.squeeze(top, axis) + np.log(over.sum(axis=axis)))


class _Lengths:
    """What the lengths of segments are worth at one scale; the same for every plan, so worked out once.

    whole[level]: log_length of 1 .. LONGEST_MM mm. cut[level]: log_cut_length of the same.
    """

    def __init__(self, scale: float, levels: Iterable[Level]) -> None:
        d = np.arange(1, LONGEST_MM + 1, dtype=np.float64)
        names = list(levels)
        self.scale = scale
        self.whole: dict[Level, Array] = {level: model.log_length(level, scale, d) for level in names}
        self.cut: dict[Level, Array] = {level: model.log_cut_length(level, scale, d) for level in names}


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Forward pass of one plan at one scale. ends[n]: (S + 1,) log weight of state n ending at s; total: log weight of all;
    first: log weight of beginning with any one state."""

    chain: Chain
    lengths: _Lengths
    states: tuple[State, ...]
    ends: list[Array]
    finishes: Array
    total: float
    first: float


def _cut_start(level: Level, lengths: _Lengths, segment: Array) -> Array:
    """(S + 1,) log weight of a first segment that begins below the field of view and ends at s."""
    size = segment.shape[1] - 1
    out = np.full(size + 1, LOWEST)
    reach = min(segment.shape[0], size)
    out[1 : reach + 1] = lengths.cut[level][:reach] + segment[:reach, 1 : reach + 1].diagonal()
    return out


def _whole(level: Level, lengths: _Lengths, segment: Array, before: Array) -> Array:
    """(S + 1,) log weight of a whole segment that ends at s, after a state that ended where ``before`` says."""
    size = len(before) - 1
    low, high = model.span_of(level, lengths.scale)
    high = min(high, segment.shape[0])
    out = np.full(size + 1, LOWEST)
    alive = np.flatnonzero(before > LOWEST / 2)
    if not len(alive) or alive[0] + low > size:
        return out
    part = slice(int(alive[0]) + low, min(int(alive[-1]) + high, size) + 1)
    padded = np.concatenate([np.full(high, LOWEST), before])
    lag = np.arange(part.start, part.stop)[None, :] - np.arange(low, high + 1)[:, None] + high  # of before[s - d]
    inside = padded[lag] + segment[low - 1 : high, part]
    inside += lengths.whole[level][low - 1 : high, None]
    out[part] = _logsumexp(inside, 0)
    return out


def _forward(chain: Chain, lengths: _Lengths, evidence: Evidence, first: float) -> _Run:
    size = evidence.size
    states: tuple[State, ...] = (SACRUM, *chain.levels, HEAD)
    ends: list[Array] = [evidence.sacrum + first - np.log(model.SPACE_MM) + evidence.boundary[SACRUM]]
    ends[0][0] = first - np.log(model.SPACE_MM)  # the sacrum begins just below the field of view
    finishes = np.full(len(states), LOWEST)
    finishes[0] = evidence.sacrum[size] + first - np.log(model.SPACE_MM)
    best = ends[0]
    for number, level in enumerate(chain.levels, start=1):
        segment = evidence.of(level, chain)
        alpha = np.logaddexp(_cut_start(level, lengths, segment) + first, _whole(level, lengths, segment, ends[-1]))
        alpha = np.maximum(alpha + evidence.boundary[level], LOWEST)
        best = np.maximum(best, alpha)
        alpha[alpha < best - HOPELESS] = LOWEST
        finishes[number] = float(_logsumexp(_finish_weights(level, lengths, segment, ends[-1], first), 0))
        ends.append(alpha)
    head = ends[-1] - evidence.head
    finishes[-1] = float(_logsumexp(head, 0)) + evidence.head[size] - np.log(model.SPACE_MM)
    total = float(_logsumexp(finishes, 0))
    return _Run(chain, lengths, states, ends, finishes, total, first)


def _finish_weights(level: Level, lengths: _Lengths, segment: Array, before: Array, first: float) -> Array:
    """(D + 1,) log weights of the last segment: starting at size - d for d = 1..D, and (last entry) cut at both ends."""
    size = segment.shape[1] - 1
    reach = min(segment.shape[0], size)
    weights = np.full(reach + 1, LOWEST)
    weights[:-1] = before[size - reach : size][::-1] + lengths.cut[level][:reach] + segment[:reach, size]
    if size <= segment.shape[0]:
        weights[-1] = lengths.cut[level][size - 1] + first + segment[size - 1, size]
    return weights


def infer(evidence: Evidence, priors: dict[str, float] | None = None, samples: int = SAMPLES, seed: int = 20230) -> Posterior:
    """Exact posterior samples over body plan, scale, cuts and names. ``priors``: plan name -> weight (model.CHAINS if None).

    Scales that the first plan finds hopeless (NEGLIGIBLE nats below its best) are not tried with the other plans.
    """
    chains = [(c, c.prior if priors is None else priors.get(c.name, 0.0)) for c in model.CHAINS]
    scale_prior = np.exp(-0.5 * ((model.SCALES - 1.0) / model.SCALE_SD) ** 2)
    scale_prior /= scale_prior.sum()
    runs: list[_Run] = []
    levels = {level for chain in model.CHAINS for level in chain.levels}
    lengths = [_Lengths(float(scale), levels) for scale in model.SCALES]
    tried = np.ones(len(model.SCALES), dtype=bool)
    for chain, weight in chains:
        if weight <= 0.0:
            continue
        first = -float(np.log(len(chain.levels) + 2))
        found = [
            _forward(chain, table, evidence, first + float(np.log(share * weight)))
            for table, share, use in zip(lengths, scale_prior, tried, strict=True)
            if use
        ]
        if not runs:
            totals = np.array([run.total for run in found])
            tried = totals > totals.max() - NEGLIGIBLE
        runs += found
    totals = np.array([run.total for run in runs])
    evidence_total = float(_logsumexp(totals, 0))
    random = np.random.default_rng(seed)
    share = np.exp(totals - evidence_total)
    picks = random.choice(len(runs), size=samples, p=share / share.sum())
    drawn: list[tuple[str, float, tuple[Piece, ...]]] = []
    for pick in np.unique(picks):
        run, known = runs[pick], dict[tuple[int, int], Array]()
        times = int(np.count_nonzero(picks == pick))
        drawn += [(run.chain.name, run.lengths.scale, _backward(run, evidence, random, known)) for _ in range(times)]
    return Posterior(tuple(drawn), evidence_total)


def _shares(weights: Array) -> Array:
    """Cumulative shares of log weights."""
    p = np.cumsum(np.exp(weights - weights.max()))
    return np.asarray(p / p[-1])


def _draw(random: np.random.Generator, shares: Array) -> int:
    return int(np.searchsorted(shares, random.random()))


def _steps_down(run: _Run, evidence: Evidence, number: int, stop: int) -> Array:
    """Cumulative shares of the lengths 1, 2, .. of state ``number`` that ends at ``stop``; last: it began below the view."""
    level = run.chain.levels[number - 1]
    segment = evidence.of(level, run.chain)
    reach = min(segment.shape[0], stop)
    weights = run.ends[number - 1][stop - reach : stop][::-1] + segment[:reach, stop]
    weights = weights + run.lengths.whole[level][:reach]
    begun = LOWEST
    if stop <= segment.shape[0]:
        begun = float(run.lengths.cut[level][stop - 1]) + float(segment[stop - 1, stop]) + run.first
    return _shares(np.append(weights, begun))


def _backward(
    run: _Run, evidence: Evidence, random: np.random.Generator, known: dict[tuple[int, int], Array]
) -> tuple[Piece, ...]:
    """One reading drawn from the posterior of a run, pieces from caudal to cranial. ``known``: filled with what repeats."""
    size = evidence.size
    number = _draw(random, _shares(run.finishes))
    pieces: list[Piece] = []
    state = run.states[number]
    if number == 0:
        return (Piece(SACRUM, 0, size, True, True),)
    if isinstance(state, str):
        stop = _draw(random, _shares(run.ends[number - 1] - evidence.head))
        pieces.append(Piece(HEAD, stop, size, False, True))
    else:
        weights = _finish_weights(state, run.lengths, evidence.of(state, run.chain), run.ends[number - 1], run.first)
        length = _draw(random, _shares(weights)) + 1
        if length == len(weights):
            return (Piece(state, 0, size, True, True),)
        stop = size - length
        pieces.append(Piece(state, stop, size, False, True))
    number -= 1
    while number > 0:
        level = run.chain.levels[number - 1]
        if (number, stop) not in known:
            known[number, stop] = _steps_down(run, evidence, number, stop)
        shares = known[number, stop]
        length = _draw(random, shares) + 1
        if length == len(shares):
            pieces.append(Piece(level, 0, stop, True, False))
            return tuple(pieces[::-1])
        pieces.append(Piece(level, stop - length, stop))
        stop -= length
        number -= 1
    pieces.append(Piece(SACRUM, 0, stop, True, False))
    return tuple(pieces[::-1])
