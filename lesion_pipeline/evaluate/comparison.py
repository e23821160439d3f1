"""One study judged: what was found, missed, invented, misplaced, and what that did to the count and to the criterion."""

from __future__ import annotations

from dataclasses import dataclass

from lesion_pipeline.domain.anatomy import VertebralLevel
from lesion_pipeline.domain.lesion import Decision
from lesion_pipeline.evaluate.matching import Matching, match
from lesion_pipeline.evaluate.reads import METASTASIS, Read, ReadLesion

#: Where a reference lesion went. Its order is the order of the pipeline, best first.
OUTCOMES = ("counted", "uncertain", "excluded", "not_detected")

#: Lower bounds of the strata, in ml and SUV; the last one is open. Source: volumes at which thresholds become unreliable
#: (0.6 ml) and SUVpeak loses its meaning (1 ml), then by feel.
VOLUME_EDGES_ML = (0.0, 0.5, 1.0, 3.0, 10.0)
UPTAKE_EDGES_SUV = (0.0, 4.0, 8.0, 15.0)

#: A lesion is clear above this volume (ml) and at or above one of these SUVmax: twice the lower and the upper end of the
#: thresholds in use (2.5 and 4.0).
CLEAR_ML, CLEAR_SUV = 1.0, (5.0, 8.0)

_SACRUM = {VertebralLevel[f"S{n}"]: VertebralLevel.S for n in range(1, 6)}
_PLAIN = tuple(
    level for level in VertebralLevel if level not in _SACRUM and level not in (VertebralLevel.T13, VertebralLevel.L6)
)


@dataclass(frozen=True, slots=True)
class LesionOutcome:
    """A reference metastasis and what became of it. run: position in the run's lesions, None when not detected.

    organ_right, level_right, level_near: None when there is nothing to ask. dice, distance_mm: of the matched pair.
    """

    reference: ReadLesion
    outcome: str
    run: ReadLesion | None = None
    organ_right: bool | None = None
    level_right: bool | None = None
    level_near: bool | None = None
    dice: float | None = None
    distance_mm: float | None = None
    split: bool = False

    def clear(self, suv: float) -> bool:
        """Larger than CLEAR_ML and at least this bright, by the reference."""
        volume, uptake = self.reference.volume_ml, self.reference.suv_max
        return volume is not None and uptake is not None and volume > CLEAR_ML and uptake >= suv

    def strata(self) -> tuple[tuple[str, str], ...]:
        """(dimension, stratum) pairs this lesion belongs to."""
        lesion = self.reference
        out = list(lesion.traits)
        if lesion.volume_ml is not None:
            out.append(("volume_ml", _stratum(lesion.volume_ml, VOLUME_EDGES_ML)))
        if lesion.suv_max is not None:
            out.append(("suv_max", _stratum(lesion.suv_max, UPTAKE_EDGES_SUV)))
        if lesion.organ is not None:
            out.append(("organ", lesion.organ))
        if lesion.spinal is not None:
            out.append(("spinal", "spinal" if lesion.spinal else "not spinal"))
        if lesion.level in VertebralLevel.__members__:
            out.append(("region", VertebralLevel[str(lesion.level)].region))
        return tuple(out)


@dataclass(frozen=True, slots=True)
class RunLesion:
    """A lesion of the run: is it a metastasis of the reference? mimic: kind of the reference lesion it lies on instead."""

    lesion: ReadLesion
    true: bool
    merged: bool = False
    mimic: str | None = None

    @property
    def false_positive(self) -> bool:
        """Reported (counted or uncertain) and not a metastasis of the reference."""
        return not self.true and self.lesion.decision is not Decision.EXCLUDED


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One study: its name, both reads (run is None when the pipeline gave no result), and every lesion of both."""

    name: str
    reference: Read
    run: Read | None
    outcomes: tuple[LesionOutcome, ...]
    run_lesions: tuple[RunLesion, ...]

    def error(self, count: str) -> int | None:
        """Best count of the run minus the reference's, None when one of them is not known."""
        if self.run is None or count not in self.run.counts or count not in self.reference.counts:
            return None
        return self.run.counts[count].best - self.reference.counts[count].best

    def badness(self) -> float:
        """For sorting the worst first: a wrong criterion (the run's headline), then the lesion count, then lesions."""
        wrong = 0.0
        headline = self.run.headline if self.run is not None else ""
        for key, answer in self.reference.criteria.items():
            if headline in self.reference.criteria and key != headline:
                continue
            given = self.run.criteria.get(key) if self.run is not None else None
            if given is None or given.status != answer.status:
                sure = given is not None and {given.status, answer.status} <= {"meets", "does_not_meet"}
                wrong += 10.0 if sure else 3.0
        missing = sum(o.outcome in ("excluded", "not_detected") for o in self.outcomes)
        false = sum(r.false_positive for r in self.run_lesions)
        return wrong + 2.0 * abs(self.error("lesions") or 0) + missing + false + (20.0 if self.run is None else 0.0)


def compare(name: str, reference: Read, run: Read | None, *, distance_mm: float) -> Comparison:
    """Judge one study. Without a run every reference lesion is ``not_detected``."""
    if run is None:
        lost = tuple(LesionOutcome(x, "not_detected") for x in reference.lesions if x.kind == METASTASIS)
        return Comparison(name, reference, None, lost, ())
    matching, _ = match(reference, run, distance_mm=distance_mm)
    return Comparison(name, reference, run, _outcomes(reference, run, matching), _run_lesions(reference, run, matching))


def level_distance(a: str, b: str) -> float:
    """How many levels apart two names are, along C1..L5, S, CO. T13 and L6 stand half a step after T12 and L5."""
    return abs(_position(VertebralLevel[a]) - _position(VertebralLevel[b]))


def _position(level: VertebralLevel) -> float:
    if level is VertebralLevel.T13:
        return _PLAIN.index(VertebralLevel.T12) + 0.5
    if level is VertebralLevel.L6:
        return _PLAIN.index(VertebralLevel.L5) + 0.5
    return float(_PLAIN.index(_SACRUM.get(level, level)))


def _outcomes(reference: Read, run: Read, matching: Matching) -> tuple[LesionOutcome, ...]:
    partner = {p.reference: p for p in (*matching.pairs, *matching.lost)}
    out = []
    for n, lesion in enumerate(reference.lesions):
        if lesion.kind != METASTASIS:
            continue
        pair = partner.get(n)
        if pair is None:
            out.append(LesionOutcome(lesion, "not_detected", split=n in matching.splits))
            continue
        found = run.lesions[pair.run]
        exact, near = _levels(lesion, found)
        out.append(
            LesionOutcome(
                lesion,
                found.decision.value,
                found,
                organ_right=None if lesion.organ is None else found.organ == lesion.organ,
                level_right=exact,
                level_near=near,
                dice=pair.dice,
                distance_mm=pair.distance_mm,
                split=n in matching.splits,
            )
        )
    return tuple(out)


def _levels(reference: ReadLesion, run: ReadLesion) -> tuple[bool | None, bool | None]:
    """Right and within one level; a level the run did not name is wrong. A lesion of several levels accepts any of them."""
    wanted = [name for name in {reference.level, *reference.levels} if name in VertebralLevel.__members__]
    if not wanted:
        return (None, None)
    if run.level not in VertebralLevel.__members__:
        return (False, False)
    nearest = min(level_distance(str(name), str(run.level)) for name in wanted)
    return (nearest == 0.0, nearest <= 1.0)


def _run_lesions(reference: Read, run: Read, matching: Matching) -> tuple[RunLesion, ...]:
    true = {p.run for p in (*matching.pairs, *matching.lost)}
    mimics = {on: reference.lesions[of].kind for on, of in matching.mimics}
    return tuple(
        RunLesion(lesion, n in true, merged=n in matching.merges, mimic=mimics.get(n)) for n, lesion in enumerate(run.lesions)
    )


def _stratum(value: float, edges: tuple[float, ...]) -> str:
    low = max(edge for edge in edges if value >= edge) if value >= edges[0] else edges[0]
    at = edges.index(low)
    return f">= {low:g}" if at == len(edges) - 1 else f"{low:g} to < {edges[at + 1]:g}"
