"""Exact intervals against scipy's own, against published numbers, and by counting how often they cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cytocar import ParameterError
from cytocar.tl._rare import limits
from cytocar.tl._statistics import intervals as iv


@given(n=st.integers(1, 5000), share=st.floats(0, 1), level=st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_is_scipys_exact_interval(n: int, share: float, level: float) -> None:
    k = round(share * n)
    exact = stats.binomtest(k, n).proportion_ci(level, method="exact")
    np.testing.assert_allclose(iv.clopper_pearson(k, n, level), (exact.low, exact.high), atol=1e-9)


def test_clopper_pearson_published_numbers() -> None:
    low, high = iv.clopper_pearson(240, 100_000)
    assert (round(100 * low, 3), round(100 * high, 3)) == (0.211, 0.272)
    low, high = iv.clopper_pearson(229, 250)
    assert (round(100 * low, 1), round(100 * high, 1)) == (87.4, 94.7)
    low, high = iv.clopper_pearson(0, 100_000)
    assert low == 0
    assert high * 100_000 == pytest.approx(3.69, abs=0.005)


def test_clopper_pearson_limits_and_shapes() -> None:
    low, high = iv.clopper_pearson([0, 5, 10, 0], [10, 10, 10, 0])
    np.testing.assert_array_equal(low[[0, 3]], [0, 0])
    np.testing.assert_array_equal(high[[2, 3]], [1, 1])
    assert isinstance(iv.clopper_pearson(1, 2)[0], float)
    # Mirrored shares have mirrored intervals.
    a, b = iv.clopper_pearson(np.arange(11), 10)
    np.testing.assert_allclose(a, 1 - b[::-1])


def test_clopper_pearson_covers_at_least_its_level() -> None:
    n = 60
    k = np.arange(n + 1)
    low, high = iv.clopper_pearson(k, n)
    for p in np.linspace(0.005, 0.995, 100):
        covered = stats.binom.pmf(k, n, p)[(low <= p) & (p <= high)].sum()
        assert covered >= 0.95 - 1e-12


def test_upper_limit_is_where_the_tail_is_alpha() -> None:
    limit = iv.upper_limit(3, 34_000)
    assert stats.binom.cdf(3, 34_000, limit) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("k", [0, 1, 10, 240])
def test_garwood_is_the_chi_square_interval(k: int) -> None:
    low, high = iv.garwood(k)
    assert low == pytest.approx(stats.chi2.ppf(0.025, 2 * k) / 2 if k else 0)
    assert high == pytest.approx(stats.chi2.ppf(0.975, 2 * k + 2) / 2)


@pytest.mark.parametrize(
    ("mu", "lob", "lod"),
    [(0.5, 2, 6.3), (1, 3, 7.8), (2, 5, 10.5), (5, 9, 15.7), (10, 15, 23.1), (20, 28, 38.4)],
)
def test_limits_of_blank_and_detection_published_numbers(mu: float, lob: int, lod: float) -> None:
    assert limits.limit_of_blank(mu) == lob
    assert round(limits.limit_of_detection(mu), 1) == lod


@given(mu=st.floats(0, 500), alpha=st.sampled_from([0.01, 0.05, 0.1]))
def test_limit_of_blank_is_the_poisson_quantile(mu: float, alpha: float) -> None:
    lob = limits.limit_of_blank(mu, alpha)
    assert stats.poisson.cdf(lob, mu) >= 1 - alpha - 1e-12
    assert lob == 0 or stats.poisson.cdf(lob - 1, mu) < 1 - alpha + 1e-12
    lod = limits.limit_of_detection(mu, alpha)
    assert stats.poisson.cdf(lob, lod) == pytest.approx(0.05, abs=1e-9)


def test_limits_take_arrays_and_keep_the_unknown() -> None:
    lob = limits.limit_of_blank([0.0, np.nan, 5.0])
    np.testing.assert_array_equal(lob, [0, np.nan, 9])
    assert np.isnan(limits.limit_of_detection([np.nan])[0])
    assert limits.limit_of_detection(0) == pytest.approx(-np.log(0.05))


@pytest.mark.parametrize(("cv", "events"), [(0.2, 25), (0.1, 100), (0.3, 12), (0.05, 400), (1, 1)])
def test_events_for_cv(cv: float, events: int) -> None:
    assert limits.events_for_cv(cv) == events


def test_cells_needed_for_precision_and_for_detection() -> None:
    assert limits.cells_needed(0.0025) == 10_000
    assert limits.cells_needed(0.0025, cv=0.1) == 40_000
    rate = 2e-4
    needed = limits.cells_needed(1e-4, background_rate=rate)
    assert needed > limits.cells_needed(1e-4)
    assert 3e-4 * needed >= limits.limit_of_detection(rate * needed)
    assert 3e-4 * (needed - 1) < limits.limit_of_detection(rate * (needed - 1))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: iv.clopper_pearson(5, 4), "k is 5 of n = 4"),
        (lambda: iv.clopper_pearson(-1, 4), "k is -1"),
        (lambda: iv.clopper_pearson(1, np.nan), "n is nan"),
        (lambda: iv.clopper_pearson(1, 4, 95), "level is 95"),
        (lambda: iv.upper_limit(1, 4, 0.3), r"level is 0\.3"),
        (lambda: iv.garwood(-2), "k is -2"),
        (lambda: limits.limit_of_blank(-0.5), r"mu is -0\.5"),
        (lambda: limits.limit_of_blank(1, alpha=0), "alpha is 0"),
        (lambda: limits.limit_of_detection(1, beta=1), "beta is 1"),
        (lambda: limits.events_for_cv(0), "cv is 0"),
        (lambda: limits.cells_needed(0), "fraction is 0"),
        (lambda: limits.cells_needed(0.1, background_rate=2), "background_rate is 2"),
    ],
)
def test_errors_name_the_value(call, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        call()
