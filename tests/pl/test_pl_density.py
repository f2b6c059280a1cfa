"""Densities of violins against the textbook kernel density."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from cytocar.pl._page.density import NARROWEST, density


def bandwidth_of(values: np.ndarray) -> float:
    iqr = np.subtract(*np.quantile(values, [0.75, 0.25])) / 1.34
    return 0.9 * min(values.std(), iqr) * values.size**-0.2


def test_agrees_with_a_sum_of_kernels() -> None:
    values = np.random.default_rng(0).normal(4, 1, 500)
    x, y = density(values, bins=400)
    slow = gaussian_kde(values, bw_method=bandwidth_of(values) / values.std(ddof=1))(x)
    assert np.abs(y - slow).max() < 0.02 * slow.max()


def test_reflects_at_zero_like_a_sum_of_kernels_and_their_mirrors() -> None:
    values = np.random.default_rng(1).exponential(0.5, 800)
    x, y = density(values, bins=600)
    kernels = gaussian_kde(values, bw_method=max(bandwidth_of(values), NARROWEST) / values.std(ddof=1))
    slow = kernels(x) + kernels(-x)
    assert x[0] == 0
    assert np.abs(y - slow).max() < 0.03 * slow.max()


@pytest.mark.parametrize("values", [np.zeros(30), np.full(5, 3.0), np.array([0.0, 5.0]), -np.arange(10.0)])
def test_area_is_one_for_odd_values(values: np.ndarray) -> None:
    x, y = density(values)
    assert np.isfinite(y).all()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.03)


def test_does_not_go_below_zero_unless_a_value_does() -> None:
    assert density(np.array([0.0, 0.1, 2.0]))[0].min() == 0
    assert density(np.array([-0.5, 0.1, 2.0]))[0].min() < -0.5
