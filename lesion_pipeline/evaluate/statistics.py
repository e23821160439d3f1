"""Agreement and calibration in a few lines each, with the formula's source. NaN where a figure is undefined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
NAN = float("nan")


def confusion(reference: Sequence[int] | Ints, run: Sequence[int] | Ints, categories: int) -> Ints:
    """(categories, categories) counts, rows the reference."""
    out = np.zeros((categories, categories), dtype=np.int64)
    np.add.at(out, (np.asarray(reference, dtype=np.int64), np.asarray(run, dtype=np.int64)), 1)
    return out


def kappa(table: Ints, *, quadratic: bool = False) -> float:
    """Cohen's kappa (Cohen 1960; quadratic weights: Cohen 1968). NaN when chance alone explains everything."""
    n = table.sum()
    if n == 0:
        return NAN
    row, column = np.indices(table.shape)
    weights = (row - column) ** 2.0 if quadratic else (row != column).astype(np.float64)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    by_chance = float((weights * expected).sum())
    return 1.0 - float((weights * table).sum()) / by_chance if by_chance > 0 else NAN


def gwet_ac1(table: Ints) -> float:
    """Gwet's AC1 (Gwet 2008), which keeps its value when nearly all cases fall into one category."""
    n, categories = table.sum(), len(table)
    if n == 0 or categories < 2:
        return NAN
    observed = np.trace(table) / n
    share = (table.sum(axis=0) + table.sum(axis=1)) / (2.0 * n)
    by_chance = float((share * (1.0 - share)).sum()) / (categories - 1)
    return float((observed - by_chance) / (1.0 - by_chance)) if by_chance < 1 else NAN


def icc_2_1(a: Floats, b: Floats) -> float:
    """ICC(2,1), two-way random effects, absolute agreement, single rater (Shrout and Fleiss 1979)."""
    n, raters = len(a), 2
    if n < 2:
        return NAN
    table = np.stack([a, b], axis=1).astype(np.float64)
    grand = table.mean()
    rows = raters * ((table.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((table.mean(axis=0) - grand) ** 2).sum() / (raters - 1)
    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0, keepdims=True) + grand
    error = (residual**2).sum() / ((n - 1) * (raters - 1))
    below = rows + (raters - 1) * error + raters * (columns - error) / n
    return float((rows - error) / below) if below > 0 else NAN


def bland_altman(reference: Floats, run: Floats) -> tuple[float, float, float, float]:
    """Mean difference run - reference, its standard deviation, and limits of agreement (Bland and Altman 1986)."""
    difference = np.asarray(run, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    if len(difference) < 2:
        return (float(difference.mean()) if len(difference) else NAN, NAN, NAN, NAN)
    mean, sd = float(difference.mean()), float(difference.std(ddof=1))
    return (mean, sd, mean - 1.96 * sd, mean + 1.96 * sd)


def brier(p: Floats, y: Floats) -> float:
    """Mean squared distance of probability and outcome."""
    return float(np.mean((p - y) ** 2)) if len(p) else NAN


def log_loss(p: Floats, y: Floats) -> float:
    """Mean negative log likelihood; probabilities are kept 1e-6 away from 0 and 1."""
    q = np.clip(p, 1e-6, 1 - 1e-6)
    return float(-np.mean(y * np.log(q) + (1 - y) * np.log(1 - q))) if len(p) else NAN


@dataclass(frozen=True, slots=True)
class Bin:
    """One row of a reliability table."""

    n: int
    low: float
    high: float
    mean_probability: float
    observed: float


def reliability(p: Floats, y: Floats) -> tuple[Bin, ...]:
    """Equal-mass bins, 10 from 500 cases on, else 5. Equal probabilities share a bin, so there may be fewer."""
    if not len(p):
        return ()
    which = _bins(p)
    out = []
    for n in np.unique(which):
        inside = which == n
        here = p[inside]
        out.append(Bin(len(here), float(here.min()), float(here.max()), float(here.mean()), float(y[inside].mean())))
    return tuple(out)


def _bins(p: Floats) -> Ints:
    """Which bin each of n > 0 probabilities belongs to."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, (10 if len(p) >= 500 else 5) + 1)))
    return np.asarray(np.searchsorted(edges[1:-1], p, side="left"), dtype=np.int64)


def ece(p: Floats, y: Floats) -> float:
    """Expected calibration error over the bins of ``reliability``; biased upward for few cases."""
    if not len(p):
        return NAN
    # n |mean p - mean y| of a bin is |sum of (p - y)|
    return float(np.abs(np.bincount(_bins(p), weights=p - y)).sum() / len(p))


def recalibration(p: Floats, y: Floats) -> tuple[float, float]:
    """Intercept and slope of a logistic regression of the outcome on the logit (Cox 1958): (0, 1) is calibrated.

    NaN when an outcome is missing or the fit runs away because the two outcomes do not overlap.
    """
    if len(p) < 10 or y.min() == y.max():
        return (NAN, NAN)
    q = np.clip(p, 1e-6, 1 - 1e-6)
    design = np.stack([np.ones_like(q), np.log(q / (1 - q))], axis=1)
    beta = np.array([0.0, 1.0])
    for _ in range(50):
        mean = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30, 30)))
        hessian = design.T @ (design * (mean * (1 - mean))[:, None])
        if np.linalg.cond(hessian) > 1e12:
            return (NAN, NAN)
        step = np.linalg.solve(hessian, design.T @ (y - mean))
        beta = beta + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            return (float(beta[0]), float(beta[1])) if np.abs(beta).max() < 50 else (NAN, NAN)
    return (NAN, NAN)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its interval (2.5th to 97.5th percentile over patients drawn with replacement) and what it rests on."""

    value: float
    low: float
    high: float
    n: int


class Bootstrap:
    """Patients drawn with replacement, the same draws for every figure."""

    def __init__(self, patients: int, repetitions: int, seed: int) -> None:
        self.patients = patients
        rng = np.random.default_rng(seed)
        self.draws: Ints = rng.integers(0, max(patients, 1), size=(repetitions, patients))

    def rate(self, numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
        """Sum of numerators over sum of denominators, both one value a patient."""
        num, den = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
        total = float(den.sum())
        if not total:
            return Estimate(NAN, NAN, NAN, 0)
        below = den[self.draws].sum(axis=1)
        drawn = num[self.draws].sum(axis=1)[below > 0] / below[below > 0]
        return Estimate(float(num.sum()) / total, *self._interval(drawn), n=round(total))

    def figure(self, statistic: Callable[[Ints], float], n: int) -> Estimate:
        """Any statistic of the positions of the patients it is given (with repetitions)."""
        if not self.patients:
            return Estimate(NAN, NAN, NAN, 0)
        drawn = np.array([statistic(draw) for draw in self.draws])
        return Estimate(statistic(np.arange(self.patients)), *self._interval(drawn[np.isfinite(drawn)]), n=n)

    def _interval(self, drawn: Floats) -> tuple[float, float]:
        # an interval over the minority of draws in which a figure exists would say too much
        if len(drawn) < 0.9 * len(self.draws) or not len(drawn):
            return (NAN, NAN)
        low, high = np.quantile(drawn, (0.025, 0.975))
        return (float(low), float(high))
