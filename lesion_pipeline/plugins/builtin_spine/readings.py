"""From posterior samples to vertebrae: one consensus reading, names with honest confidence, and the landmarks behind them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import VertebralLevel as Level
from lesion_pipeline.plugins.builtin_spine import model
from lesion_pipeline.plugins.builtin_spine.chain import HEAD, SACRUM, Piece, Posterior, State
from lesion_pipeline.plugins.builtin_spine.features import Features
from lesion_pipeline.plugins.builtin_spine.ribs import Ribs, Track

Array = npt.NDArray[np.float64]

MIN_VISIBLE = 0.22  # of its length: less of a vertebra at the edge of the field of view is not reported
SACRUM_SEEN_MM = 12
ILIUM_SEEN = 0.7
ALA_SEEN = 0.25
BRAIN_SEEN = 0.5
BRAIN_SEEN_MM = 8
BELOW_L1_MM = 25
RIB_SEEN = 0.6
STUB_SEEN = 0.4  # the other rib of the last pair may be a stub
FIRST_PAIR = 1.1  # both first ribs together; one may hide behind the clavicle
RIBS_FOR_TWELVE = 23


@dataclass(frozen=True, slots=True)
class Vertebra:
    """One vertebra of the consensus reading; start, stop: mm of s (caudal, cranial); order is caudal to cranial.

    names: (level, probability), best first. cut: the field of view ends inside it.
    """

    start: float
    stop: float
    names: tuple[tuple[Level, float], ...]
    cut: bool

    @property
    def level(self) -> Level:
        return self.names[0][0]

    @property
    def probability(self) -> float:
        return self.names[0][1]


@dataclass(frozen=True, slots=True)
class Reading:
    """vertebrae from caudal to cranial (the sacrum first, if seen); anchors: landmarks really seen; plan: body plan of the
    consensus; plan_probability; scale: body scale; log_evidence of the chain against no spine at all."""

    vertebrae: tuple[Vertebra, ...]
    anchors: tuple[str, ...]
    plan: str
    plan_probability: float
    scale: float
    log_evidence: float


def _states() -> list[State]:
    return [SACRUM, *sorted({level for chain in model.CHAINS for level in chain.levels}), HEAD]


def _occupancy(posterior: Posterior, size: int) -> tuple[Array, dict[State, int]]:
    """(states, S): share of the samples that hold a state at a millimetre."""
    rows = {state: row for row, state in enumerate(_states())}
    out = np.zeros((len(rows), size))
    for _, _, pieces in posterior.samples:
        for piece in pieces:
            out[rows[piece.state], piece.start : piece.stop] += 1.0
    return out / len(posterior.samples), rows


def _medoid(posterior: Posterior, occupancy: Array, rows: dict[State, int]) -> tuple[str, float, tuple[Piece, ...]]:
    """The sample that agrees most with all the others."""
    cumulative = np.concatenate([np.zeros((len(occupancy), 1)), np.cumsum(occupancy, axis=1)], axis=1)
    agreement = [
        sum(cumulative[rows[p.state], p.stop] - cumulative[rows[p.state], p.start] for p in pieces)
        for _, _, pieces in posterior.samples
    ]
    return posterior.samples[int(np.argmax(agreement))]


def read(posterior: Posterior, features: Features, ribs: Ribs, low: int, size: int) -> Reading:
    """The consensus over the samples; ``low``: s of the first visible millimetre."""
    occupancy, rows = _occupancy(posterior, size)
    plan, scale, pieces = _medoid(posterior, occupancy, rows)
    signature = tuple(p.state for p in pieces)
    alike = [sample for _, _, sample in posterior.samples if tuple(p.state for p in sample) == signature]
    bounds = np.median([[p.start for p in sample] + [sample[-1].stop] for sample in alike], axis=0)
    vertebrae: list[Vertebra] = []
    for number, piece in enumerate(pieces):
        start, stop = float(bounds[number]), float(bounds[number + 1])
        if piece.state == HEAD:
            continue
        cut = piece.cut_below or piece.cut_above
        if _too_little(piece, stop - start, scale, cut):
            continue
        names = _names(occupancy, rows, start, stop)
        if names:
            vertebrae.append(Vertebra(start + low, stop + low, names, cut))
    anchors = find_anchors(pieces, bounds, features, ribs, low)
    plans = Counter(name for name, _, _ in posterior.samples)
    share = plans[plan] / len(posterior.samples)
    return Reading(tuple(vertebrae), anchors, plan, share, scale, posterior.log_evidence)


def _too_little(piece: Piece, length: float, scale: float, cut: bool) -> bool:
    if isinstance(piece.state, str):
        return length < SACRUM_SEEN_MM
    return cut and length < MIN_VISIBLE * scale * model.LENGTH_MM[piece.state]


def _names(occupancy: Array, rows: dict[State, int], start: float, stop: float) -> tuple[tuple[Level, float], ...]:
    """Levels by their mean occupancy over the middle half of a segment."""
    quarter = (stop - start) / 4.0
    first = int(start + quarter)
    middle = occupancy[:, first : max(int(np.ceil(stop - quarter)), first + 1)].mean(axis=1)
    found = []
    for state, row in rows.items():
        if middle[row] >= 0.005 and state != HEAD:
            found.append((Level.S if state == SACRUM else Level(int(state)), float(middle[row])))
    return tuple(sorted(found, key=lambda item: (-item[1], item[0])))


def _ribs_in(ribs: Ribs, start: float, stop: float) -> tuple[float, float]:
    """Rib weight within a segment, right and left."""

    def total(side: int) -> float:
        inside: list[Track] = [t for t in ribs.tracks if t.side == side and start <= t.s - model.RIB_SHIFT_MM < stop]
        return max((t.weight for t in inside), default=0.0)

    return total(-1), total(1)


def find_anchors(pieces: tuple[Piece, ...], bounds: Array, features: Features, ribs: Ribs, low: int) -> tuple[str, ...]:
    """Landmarks of the consensus that are really there: sacrum, skull, rib12, rib1, twelve_ribs."""
    spans = {p.state: (float(bounds[n]) + low, float(bounds[n + 1]) + low, p) for n, p in enumerate(pieces)}
    anchors: list[str] = []
    if SACRUM in spans and spans[SACRUM][1] - spans[SACRUM][0] >= SACRUM_SEEN_MM and _pelvis_seen(features, spans[SACRUM]):
        anchors.append("sacrum")
    if HEAD in spans:
        start, stop, _ = spans[HEAD]
        if int(np.sum(features.brain[int(start) : int(stop)] > BRAIN_SEEN)) >= BRAIN_SEEN_MM:
            anchors.append("skull")
    if _last_rib(spans, ribs, float(low)):
        anchors.append("rib12")
    if _first_rib(spans, ribs):
        anchors.append("rib1")
    thoracic = [spans[s] for s in spans if isinstance(s, Level) and s.region == "thoracic"]
    pairs = sum(sum(w >= STUB_SEEN for w in _ribs_in(ribs, a, b)) for a, b, _ in thoracic)
    if len(thoracic) >= 12 and pairs >= RIBS_FOR_TWELVE:
        anchors.append("twelve_ribs")
    return tuple(anchors)


def _pelvis_seen(features: Features, span: tuple[float, float, Piece]) -> bool:
    part = slice(int(span[0]), int(span[1]))
    both = (features.ilium[part] > ILIUM_SEEN) & (features.ala[part] > ALA_SEEN)
    return int(both.sum()) >= SACRUM_SEEN_MM


def _visible(ribs: Ribs, start: float, stop: float) -> bool:
    return bool(ribs.visible[:, int(start) : int(stop)].mean() > 0.7)


def _last_rib(spans: dict[State, tuple[float, float, Piece]], ribs: Ribs, low: float) -> bool:
    """Ribs on both sides of the last thoracic vertebra, none beside the first lumbar, and that one seen whole."""
    last = next((level for level in (Level.T13, Level.T12, Level.T11) if level in spans), None)
    if last is None or Level.L1 not in spans:
        return False
    start, stop, piece = spans[Level.L1]
    if piece.cut_below or not _visible(ribs, start, stop):
        return False
    pair = _ribs_in(ribs, *spans[last][:2])
    with_ribs = max(pair) >= RIB_SEEN and min(pair) >= STUB_SEEN
    without = max(_ribs_in(ribs, start, stop)) < RIB_SEEN
    process = any(not t.rib and start <= t.s < stop for t in ribs.tracks)
    return with_ribs and without and (process or start - low >= BELOW_L1_MM)


def _first_rib(spans: dict[State, tuple[float, float, Piece]], ribs: Ribs) -> bool:
    """Ribs on both sides of T1, none beside C7, and C7 seen whole."""
    if Level.T1 not in spans or Level.C7 not in spans:
        return False
    start, stop, piece = spans[Level.C7]
    if piece.cut_above or not _visible(ribs, start, stop):
        return False
    pair = _ribs_in(ribs, *spans[Level.T1][:2])
    return max(pair) >= RIB_SEEN and sum(pair) >= FIRST_PAIR and max(_ribs_in(ribs, start, stop)) < RIB_SEEN
