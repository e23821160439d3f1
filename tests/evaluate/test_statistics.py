"""Agreement and calibration figures against scikit-learn and against published worked examples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_pipeline.evaluate import statistics as s

RNG = np.random.default_rng(20)
A = RNG.integers(0, 7, 80)
B = np.clip(A + RNG.integers(-2, 3, 80), 0, 6)
P = RNG.uniform(0.02, 0.98, 600)
Y = (RNG.uniform(size=600) < P**1.5).astype(np.float64)


@pytest.mark.parametrize("quadratic", [False, True])
def test_kappa_is_that_of_scikit_learn(quadratic: bool) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    expected = metrics.cohen_kappa_score(A, B, weights="quadratic" if quadratic else None)
    assert s.kappa(s.confusion(A, B, 7), quadratic=quadratic) == pytest.approx(expected, abs=1e-12)


def test_brier_and_log_loss_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    assert s.brier(P, Y) == pytest.approx(metrics.brier_score_loss(Y, P))
    assert s.log_loss(P, Y) == pytest.approx(metrics.log_loss(Y, P))


def test_reliability_bins_are_those_of_scikit_learn() -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    observed, mean = calibration.calibration_curve(Y, P, n_bins=10, strategy="quantile")
    bins = s.reliability(P, Y)
    assert [b.n for b in bins] == [60] * 10
    np.testing.assert_allclose([b.observed for b in bins], observed)
    np.testing.assert_allclose([b.mean_probability for b in bins], mean)
    assert s.ece(P, Y) == pytest.approx(float(np.mean(np.abs(observed - mean))))


def test_recalibration_is_a_logistic_regression_on_the_logit() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    model = linear.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(np.log(P / (1 - P))[:, None], Y)
    intercept, slope = s.recalibration(P, Y)
    assert intercept == pytest.approx(float(model.intercept_[0]), abs=1e-4)
    assert slope == pytest.approx(float(model.coef_[0, 0]), abs=1e-4)


def test_recalibration_refuses_what_cannot_be_fitted() -> None:
    p = np.linspace(0.1, 0.9, 20)
    assert all(math.isnan(x) for x in s.recalibration(p, (p > 0.5).astype(float)))  # separated: the slope runs away
    assert all(math.isnan(x) for x in s.recalibration(p, np.ones(20)))
    assert all(math.isnan(x) for x in s.recalibration(np.full(20, 0.3), Y[:20]))  # one probability has no slope


def test_icc_of_shrout_and_fleiss() -> None:
    """Their table of 6 targets; judges 1 and 3, figures from the ANOVA by hand: MSR 6.35, MSC 36.75 (n-1 = 5), MSE 1.15."""
    first, third = np.array([9.0, 6, 8, 7, 10, 6]), np.array([5.0, 3, 6, 2, 6, 4])
    table = np.stack([first, third], axis=1)
    rows = 2 * table.mean(axis=1).var(ddof=1)
    columns = 6 * table.mean(axis=0).var(ddof=1)
    error = ((table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()) ** 2).sum() / 5
    expected = (rows - error) / (rows + error + 2 * (columns - error) / 6)
    assert s.icc_2_1(first, third) == pytest.approx(expected)
    assert s.icc_2_1(first, first) == pytest.approx(1.0)
    assert math.isnan(s.icc_2_1(first[:1], third[:1]))


def test_ac1_stays_high_where_kappa_collapses() -> None:
    table = np.array([[118, 5], [2, 0]])  # Gwet's paradox: 94 % agreement, kappa about 0
    assert s.kappa(table) == pytest.approx(-0.0234, abs=5e-4)
    assert s.gwet_ac1(table) == pytest.approx(0.9408, abs=5e-4)


def test_bland_altman_limits() -> None:
    mean, sd, low, high = s.bland_altman(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 3, 6]))
    assert [mean, sd] == pytest.approx([0.75, 0.9574], abs=1e-4)
    assert [low, high] == pytest.approx([0.75 - 1.96 * sd, 0.75 + 1.96 * sd])


def test_nothing_is_undefined_rather_than_zero() -> None:
    empty = np.zeros(0)
    assert math.isnan(s.kappa(np.zeros((3, 3), dtype=np.int64)))
    assert math.isnan(s.brier(empty, empty))
    assert math.isnan(s.ece(empty, empty))
    assert s.reliability(empty, empty) == ()
    assert math.isnan(s.bland_altman(empty, empty)[0])
    assert math.isnan(s.Bootstrap(0, 10, 1).rate([], []).value)
    assert math.isnan(s.kappa(s.confusion([2, 2], [2, 2], 4), quadratic=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_every_case_is_in_one_bin_and_ties_share_it(cases: list[tuple[float, bool]]) -> None:
    p, y = np.array([c[0] for c in cases]), np.array([float(c[1]) for c in cases])
    bins = s.reliability(p, y)
    assert sum(b.n for b in bins) == len(p)
    assert all(a.high < b.low for a, b in itertools.pairwise(bins))
    assert 0.0 <= s.ece(p, y) <= 1.0


def test_bootstrap_covers_the_figure_and_is_reproducible() -> None:
    hits, of = RNG.integers(0, 4, 60), np.full(60, 4)
    one, two = (s.Bootstrap(60, 2000, 5).rate(list(hits), list(of)) for _ in range(2))
    assert one == two
    assert one.low < one.value < one.high
    se = np.std(hits / 4, ddof=1) / np.sqrt(60)
    assert one.high - one.low == pytest.approx(2 * 1.96 * se, rel=0.1)
    same = s.Bootstrap(60, 2000, 5).figure(lambda draw: float(hits[draw].sum() / of[draw].sum()), 60)
    assert same.low == pytest.approx(one.low)


def test_an_interval_that_most_draws_cannot_give_is_not_given() -> None:
    rare = s.Bootstrap(30, 500, 1).rate([1.0] + [0.0] * 29, [2.0] + [0.0] * 29)
    assert rare.value == 0.5
    assert math.isnan(rare.low)
