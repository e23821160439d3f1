"""Every figure of the report, from the comparisons of a cohort. Plain JSON values; undefined figures are null."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TypeVar

import numpy as np

from lesion_pipeline.domain.lesion import Decision
from lesion_pipeline.evaluate import picks, statistics
from lesion_pipeline.evaluate.comparison import CLEAR_SUV, OUTCOMES, Comparison
from lesion_pipeline.evaluate.picks import NO_RESULT
from lesion_pipeline.evaluate.reads import COUNT_NAMES
from lesion_pipeline.evaluate.statistics import Bootstrap, Estimate, Floats

Json = dict[str, object]
T = TypeVar("T")

STATUSES = ("meets", "does_not_meet", "indeterminate", "not_assessable")
#: Counts above this are one category of the weighted kappa.
#: The patients that an oligometastatic protocol is about: at most this many lesions by the reference.
FEW_LESIONS = 8
CAPS = {"lesions": 5, "organs": 3, "spinal_lesions": 5, "involved_vertebrae": 5}


def plain(x: Estimate) -> Json:
    """An estimate as JSON values."""
    return {"value": number(x.value), "low": number(x.low), "high": number(x.high), "n": x.n}


def number(value: float) -> float | None:
    """Six significant digits; null for what is undefined."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


class Summary:
    """Figures of a cohort with bootstrap intervals. ``comparisons`` in any order; the draws follow that order."""

    def __init__(self, comparisons: Sequence[Comparison], *, repetitions: int, seed: int) -> None:
        self.all = tuple(comparisons)
        self.boot = Bootstrap(len(self.all), repetitions, seed)

    def rate(self, pick: Callable[[Comparison], Iterable[bool | float]]) -> Json:
        """Mean of what ``pick`` yields over all studies; intervals by patient."""
        values = [list(pick(c)) for c in self.all]
        return plain(self.boot.rate([float(sum(v)) for v in values], [float(len(v)) for v in values]))

    def document(self) -> Json:
        """The figures, by topic."""
        return {
            "detection": self.detection(),
            "location": self.location(),
            "delineation": self.delineation(),
            "counts": {name: self.counts(name) for name in COUNT_NAMES},
            "key_patients": self.key_patients(),
            "few_lesions": self.few_lesions(),
            "physiologic_only": self.physiologic_only(),
            "criteria": {key: self.criterion(key) for key in self.criterion_ids()},
            "calibration": self.calibration(),
        }

    def detection(self) -> Json:
        """Sensitivity at each operating point and by stratum, false positives, splits and merges, FROC."""
        strata = sorted({s for c in self.all for o in c.outcomes for s in o.strata()}, key=picks.stratum_order)
        by: dict[str, Json] = {}
        for dimension, stratum in strata:
            by.setdefault(dimension, {})[stratum] = self._sensitivity(dimension, stratum)
        outcomes = {name: sum(o.outcome == name for c in self.all for o in c.outcomes) for name in OUTCOMES}
        return {
            "reference_lesions": sum(len(c.outcomes) for c in self.all),
            "outcomes": outcomes,
            "sensitivity": {
                "counted": self.rate(lambda c: picks.found(c, ("counted",))),
                "reported": self.rate(lambda c: picks.found(c, ("counted", "uncertain"))),
                "candidate": self.rate(lambda c: picks.found(c, ("counted", "uncertain", "excluded"))),
            },
            "sensitivity_clear": {f"suv_{suv:g}": self._clear(suv) for suv in CLEAR_SUV},
            "sensitivity_by": by,
            "precision_reported": self.rate(lambda c: [r.true for r in picks.reported(c)]),
            "false_positives_per_patient": {
                "counted": self.rate(lambda c: [sum(r.false_positive for r in picks.reported(c, Decision.COUNTED))]),
                "uncertain": self.rate(lambda c: [sum(r.false_positive for r in picks.reported(c, Decision.UNCERTAIN))]),
                "reported": self.rate(lambda c: [sum(r.false_positive for r in picks.reported(c))]),
            },
            "uncertain_per_patient": self.rate(lambda c: [len(picks.reported(c, Decision.UNCERTAIN))] if c.run else []),
            "false_positives_on": picks.tally(
                r.mimic or "nothing in the reference" for c in self.all for r in c.run_lesions if r.false_positive
            ),
            "f1_reported": self._f1(),
            "splits": self.rate(lambda c: [o.split for o in c.outcomes]),
            "merges": self.rate(lambda c: [r.merged for r in picks.reported(c)]),
            "froc": self._froc(),
        }

    def _clear(self, suv: float) -> Json:
        """Lesions above 1 ml that are at least this bright: what nobody may miss."""

        def found(c: Comparison, outcomes: Sequence[str]) -> list[bool]:
            return [o.outcome in outcomes for o in c.outcomes if o.clear(suv)]

        return {
            "reported": self.rate(lambda c: found(c, ("counted", "uncertain"))),
            "counted": self.rate(lambda c: found(c, ("counted",))),
        }

    def _sensitivity(self, dimension: str, stratum: str) -> Json:
        here = (dimension, stratum)
        return {
            "reported": self.rate(lambda c: picks.found(c, ("counted", "uncertain"), here)),
            "counted": self.rate(lambda c: picks.found(c, ("counted",), here)),
        }

    def location(self) -> Json:
        """Organ and level of the lesions that were found (counted, uncertain or excluded)."""
        found = [o for c in self.all for o in c.outcomes if o.run is not None]
        confusion = picks.tally(f"{o.reference.organ} -> {o.run.organ}" for o in found if o.run and o.organ_right is not None)
        return {
            "organ_right": self.rate(lambda c: picks.given(o.organ_right for o in c.outcomes)),
            "level_exact": self.rate(lambda c: picks.given(o.level_right for o in c.outcomes)),
            "level_within_one": self.rate(lambda c: picks.given(o.level_near for o in c.outcomes)),
            "level_named": self.rate(lambda c: [picks.named(o) for o in c.outcomes if o.level_right is not None]),
            "organ_confusion": confusion,
        }

    def delineation(self) -> Json:
        """Dice of matched pairs that both have voxels, and distance of their centroids."""
        pairs = [o for c in self.all for o in c.outcomes if o.outcome in ("counted", "uncertain")]
        dice = [o.dice for o in pairs if o.dice is not None]
        distance = [o.distance_mm for o in pairs if o.distance_mm is not None]
        return {
            "dice_mean": self.rate(lambda c: picks.given(o.dice for o in c.outcomes if o.outcome in ("counted", "uncertain"))),
            "dice_median": number(float(np.median(dice))) if dice else None,
            "centroid_distance_mm_median": number(float(np.median(distance))) if distance else None,
        }

    def counts(self, name: str) -> Json:
        """Agreement of one count, over studies in which both sides know it."""
        known = [(n, c) for n, c in enumerate(self.all) if c.error(name) is not None]
        truth, run = np.full(len(self.all), np.nan), np.full(len(self.all), np.nan)
        for n, c in known:
            assert c.run is not None  # noqa: S101  error() is not None only with a run; for the type checker
            truth[n], run[n] = c.reference.counts[name].best, c.run.counts[name].best
        mean, sd, low, high = statistics.bland_altman(truth[np.isfinite(truth)], run[np.isfinite(run)])
        cap = CAPS[name]

        def of(statistic: Callable[[Floats, Floats], float]) -> Json:
            def on(draw: statistics.Ints) -> float:
                a, b = truth[draw], run[draw]
                return statistic(a[np.isfinite(a)], b[np.isfinite(b)])

            return plain(self.boot.figure(on, n=len(known)))

        def weighted(a: Floats, b: Floats) -> float:
            capped = [np.minimum(x, cap + 1).astype(np.int64) for x in (a, b)]
            return statistics.kappa(statistics.confusion(capped[0], capped[1], cap + 2), quadratic=True)

        ratio = statistics.bland_altman(np.log1p(truth[np.isfinite(truth)]), np.log1p(run[np.isfinite(run)]))
        return {
            "studies": len(known),
            "error_mean": self.rate(lambda c: picks.given([c.error(name)])),
            "error_absolute_mean": self.rate(lambda c: [abs(e) for e in picks.given([c.error(name)])]),
            "exact": self.rate(lambda c: [e == 0 for e in picks.given([c.error(name)])]),
            "within_one": self.rate(lambda c: [abs(e) <= 1 for e in picks.given([c.error(name)])]),
            "interval_holds_reference": self.rate(lambda c: picks.covered(c, name)),
            "bland_altman": {
                **{"bias": number(mean), "sd": number(sd), "loa_low": number(low), "loa_high": number(high)},
                "intervals": {key: of(partial(_limit, at)) for key, at in (("bias", 0), ("loa_low", 2), ("loa_high", 3))},
            },
            "bland_altman_log1p": {
                key: number(math.exp(v)) for key, v in zip(("ratio", "", "loa_low", "loa_high"), ratio, strict=True) if key
            },
            "kappa_quadratic": {**of(weighted), "categories": [*map(str, range(cap + 1)), f">{cap}"]},
            "icc_2_1": of(statistics.icc_2_1),
            "icc_2_1_log1p": of(lambda a, b: statistics.icc_2_1(np.log1p(a), np.log1p(b))),
        }

    def key_patients(self) -> Json:
        """Patients near the limits of the criterion: 4 to 6 lesions or 3 to 4 organs by the reference."""

        def near(c: Comparison) -> bool:
            n = {name: c.reference.counts[name].best for name in ("lesions", "organs") if name in c.reference.counts}
            return n.get("lesions") in (4, 5, 6) or n.get("organs") in (3, 4)

        def errors(c: Comparison, name: str) -> list[int]:
            return picks.given([c.error(name)]) if near(c) else []

        return {
            "studies": sum(near(c) for c in self.all),
            "lesions_exact": self.rate(lambda c: [e == 0 for e in errors(c, "lesions")]),
            "lesions_within_one": self.rate(lambda c: [abs(e) <= 1 for e in errors(c, "lesions")]),
            "organs_exact": self.rate(lambda c: [e == 0 for e in errors(c, "organs")]),
            "criteria": {key: self._agreement(key, near) for key in self.criterion_ids()},
        }

    def few_lesions(self) -> Json:
        """Counts in patients with at most FEW_LESIONS lesions by the reference."""

        def few(c: Comparison) -> bool:
            return "lesions" in c.reference.counts and c.reference.counts["lesions"].best <= FEW_LESIONS

        def errors(name: str, c: Comparison) -> list[int]:
            return picks.given([c.error(name)]) if few(c) else []

        def near(name: str, off: int, c: Comparison) -> list[bool]:
            return [abs(e) <= off for e in errors(name, c)]

        out: Json = {"lesions_at_most": FEW_LESIONS, "studies": sum(few(c) for c in self.all)}
        for name in COUNT_NAMES:
            out[name] = {
                "error_mean": self.rate(partial(errors, name)),
                "exact": self.rate(partial(near, name, 0)),
                "within_one": self.rate(partial(near, name, 1)),
            }
        return out

    def physiologic_only(self) -> Json:
        """Studies without a metastasis by the reference, and how many of them the run leaves empty."""

        def left_empty(c: Comparison, *decisions: Decision) -> list[bool]:
            return [] if c.outcomes or c.run is None else [not picks.reported(c, *decisions)]

        return {
            "studies": sum(not c.outcomes for c in self.all),
            "none_counted": self.rate(lambda c: left_empty(c, Decision.COUNTED)),
            "none_reported": self.rate(left_empty),
        }

    def _agreement(self, key: str, among: Callable[[Comparison], bool]) -> Json:
        return self.rate(lambda c: [g == t for t, g in picks.answers(c, key)] if among(c) else [])

    def criterion_ids(self) -> list[str]:
        """Criteria that the references answer, sorted."""
        return sorted({key for c in self.all for key in c.reference.criteria})

    def criterion(self, key: str) -> Json:
        """The whole table of answers (rows: reference), agreement, and the two errors that harm."""
        answers = [a for c in self.all for a in picks.answers(c, key)]
        columns = (*STATUSES, NO_RESULT)
        table = {t: {g: sum((t, g) == a for a in answers) for g in columns} for t in STATUSES}

        coded = np.full((len(self.all), 2), -1, dtype=np.int64)
        for n, c in enumerate(self.all):
            for pair in picks.answers(c, key):
                coded[n] = [columns.index(answer) for answer in pair]

        def square(draw: statistics.Ints) -> statistics.Ints:
            known = coded[draw][coded[draw, 0] >= 0]
            return statistics.confusion(known[:, 0], known[:, 1], len(columns))

        return {
            "studies": len(answers),
            "table": table,
            "agreement": self.rate(lambda c: [t == g for t, g in picks.answers(c, key)]),
            "kappa": plain(self.boot.figure(lambda d: statistics.kappa(square(d)), n=len(answers))),
            "gwet_ac1": plain(self.boot.figure(lambda d: statistics.gwet_ac1(_used(square(d))), n=len(answers))),
            "wrong_meets": self.rate(lambda c: [g == "meets" and t != "meets" for t, g in picks.answers(c, key)]),
            "wrong_meets_among_meets": self.rate(lambda c: [t != "meets" for t, g in picks.answers(c, key) if g == "meets"]),
            "wrong_does_not_meet": self.rate(
                lambda c: [g == "does_not_meet" and t == "meets" for t, g in picks.answers(c, key)]
            ),
            "undecided": self.rate(lambda c: [g not in ("meets", "does_not_meet") for _, g in picks.answers(c, key)]),
        }

    def calibration(self) -> Json:
        """Of lesion probabilities (every lesion of the run, excluded ones too) and of criterion probabilities."""
        cases = [[(r.lesion.probability, r.true, r.lesion.organ or "unknown") for r in c.run_lesions] for c in self.all]

        def those(wanted: Callable[[Comparison, str], bool]) -> list[Floats]:
            kept = [[(p, y) for p, y, organ in x if wanted(c, organ)] for c, x in zip(self.all, cases, strict=True)]
            return [np.array(k, dtype=np.float64).reshape(-1, 2) for k in kept]

        lesion: Json = {"all": self._calibration(those(lambda _c, _o: True))}
        for tracer in sorted({c.reference.tracer for c in self.all}):
            lesion[f"tracer {tracer}"] = self._calibration(those(partial(_has_tracer, tracer)))
        for name in sorted({organ for x in cases for _, _, organ in x}):
            lesion[f"organ {name}"] = self._calibration(those(partial(_has_organ, name)), intervals=False)
        criterion: Json = {}
        for key in self.criterion_ids():
            answered = [np.array(picks.criterion_cases(c, key), dtype=np.float64).reshape(-1, 2) for c in self.all]
            criterion[key] = self._calibration(answered)
        return {"lesion": lesion, "criterion": criterion}

    def _calibration(self, by_patient: Sequence[Floats], *, intervals: bool = True) -> Json:
        """by_patient: (n, 2) probability and outcome, one array a study."""
        pooled = np.concatenate(by_patient) if by_patient else np.zeros((0, 2))
        p, y = pooled[:, 0], pooled[:, 1]

        def drawn_ece(draw: statistics.Ints) -> float:
            drawn = np.concatenate([by_patient[n] for n in draw])
            return statistics.ece(drawn[:, 0], drawn[:, 1])

        squared = [float(((x[:, 0] - x[:, 1]) ** 2).sum()) for x in by_patient]
        alone = Estimate(statistics.ece(p, y), statistics.NAN, statistics.NAN, len(p))
        intercept, slope = statistics.recalibration(p, y)
        return {
            "n": len(p),
            "events": int(y.sum()),
            "brier": plain(self.boot.rate(squared, [float(len(x)) for x in by_patient])),
            "ece": plain(self.boot.figure(drawn_ece, n=len(p)) if intervals else alone),
            "log_loss": number(statistics.log_loss(p, y)),
            "recalibration": {"intercept": number(intercept), "slope": number(slope)},
            "reliability": [_row(b) for b in statistics.reliability(p, y)],
        }

    def _f1(self) -> Json:
        hits = np.array([sum(picks.found(c, ("counted", "uncertain"))) for c in self.all], dtype=np.int64)
        wrong = np.array([sum(r.false_positive for r in c.run_lesions) for c in self.all], dtype=np.int64)
        wrong += np.array([len(c.outcomes) for c in self.all], dtype=np.int64) - hits
        return plain(self.boot.rate([float(h) for h in 2 * hits], [float(n) for n in 2 * hits + wrong]))

    def _froc(self) -> list[Json]:
        """Sensitivity against false lesions a patient, as the probability asked for falls; excluded lesions take part."""
        lesions = [r for c in self.all for r in c.run_lesions]
        total = sum(len(c.outcomes) for c in self.all)
        if not total or not self.all:
            return []
        out: list[Json] = []
        for threshold in sorted({r.lesion.probability for r in lesions}, reverse=True):
            kept = [r for r in lesions if r.lesion.probability >= threshold]
            hits = sum(r.true for r in kept)
            out.append(
                {
                    "probability": number(threshold),
                    "sensitivity": number(hits / total),
                    "false_positives_per_patient": number((len(kept) - hits) / len(self.all)),
                }
            )
        return out[:: max(1, len(out) // 50)] if len(out) > 50 else out


def _limit(at: int, reference: Floats, run: Floats) -> float:
    return statistics.bland_altman(reference, run)[at]


def _row(b: statistics.Bin) -> Json:
    return {key: number(v) if isinstance(v, float) else v for key, v in asdict(b).items()}


def _used(table: statistics.Ints) -> statistics.Ints:
    """Without categories that nobody used: AC1 depends on how many there are."""
    used = np.flatnonzero(table.sum(axis=0) + table.sum(axis=1))
    return np.asarray(table[np.ix_(used, used)])


def _has_tracer(tracer: str, c: Comparison, _organ: str) -> bool:
    return c.reference.tracer == tracer


def _has_organ(wanted: str, _c: Comparison, organ: str) -> bool:
    return organ == wanted
