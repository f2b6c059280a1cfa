from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from cytocar.gate._rules.kernels.pareto_tail import edge_quantile, fit_tail, upper_quantile


def background(rng: np.random.Generator, n: int) -> np.ndarray:
    """VHH of cells without a CAR: mostly 0, some counts, and a few per cent that stick a little."""
    counts = np.where(rng.random(n) < 0.65, 0.0, rng.exponential(2.5, n))
    y = np.arcsinh(counts / 5)
    sticky = rng.random(n) < 0.03
    y[sticky] = np.maximum(rng.normal(1.05, 0.47, sticky.sum()), 0)
    return y


def counted(rng: np.random.Generator, n: int) -> np.ndarray:
    """Overdispersed counts as a detector gives them."""
    counts = rng.negative_binomial(1.0, 1 / 11, n).astype(float)
    return np.arcsinh(np.maximum(counts - rng.random(n), 0) / 5)


TAILS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "background": background,
    "counted": counted,
    "exponential": lambda rng, n: rng.exponential(0.5, n),
    "normal": lambda rng, n: rng.normal(1.5, 0.4, n),
}


@pytest.mark.parametrize("n", [5_000, 20_000])
@pytest.mark.parametrize("name", TAILS)
def test_the_realised_rate_is_within_a_factor_of_two(name: str, n: int) -> None:
    rng = np.random.default_rng(1)
    truth = np.sort(TAILS[name](rng, 1_500_000))
    rate = 1e-4
    cuts = [upper_quantile(TAILS[name](rng, n), rate) for _ in range(25)]
    assert all(extrapolated for _, extrapolated in cuts)
    realised = [1 - np.searchsorted(truth, value) / truth.size for value, _ in cuts]
    assert 0.5 < np.median(realised) / rate < 2.0


def test_enough_cells_are_read_off_directly() -> None:
    x = np.linspace(0, 1, 100_001)
    assert upper_quantile(x, 1e-3) == (pytest.approx(0.999), False)


def test_stray_positive_cells_hardly_move_it() -> None:
    rng = np.random.default_rng(3)
    clean = background(rng, 20_000)
    strays = np.concatenate([clean, np.full(4, 4.5)])
    without, _ = upper_quantile(clean, 1e-4)
    with_strays, _ = upper_quantile(strays, 1e-4)
    assert with_strays - without < 0.2
    plain = stats.genpareto
    u = np.quantile(strays, 1 - 400 / strays.size)
    shape, _, scale = plain.fit(strays[strays > u] - u, floc=0)
    assert u + plain.isf(1e-4 * strays.size / 400, shape, scale=scale) - without > 0.3, (
        "an ordinary fit is moved"
    )


def test_the_fit_finds_the_distribution_it_was_drawn_from() -> None:
    excess = np.sort(stats.genpareto.rvs(-0.1, scale=0.4, size=20_000, random_state=0))
    scale, shape = fit_tail(excess)
    assert scale == pytest.approx(0.4, rel=0.03)
    assert shape == pytest.approx(-0.1, abs=0.02)
    censored_scale, censored_shape = fit_tail(excess, censored=400)
    assert censored_scale == pytest.approx(scale, rel=0.02)
    assert censored_shape == pytest.approx(shape, abs=0.03)


def test_the_number_stays_near_the_cells() -> None:
    rng = np.random.default_rng(0)
    x = rng.exponential(1.0, 300)
    value, _ = upper_quantile(x, 1e-6)
    ordered = np.sort(x)
    assert ordered[-1] < value <= 2 * ordered[-1] - ordered[150]
    assert fit_tail(np.zeros(10)) == (0.0, 0.0)


def test_the_edge_is_exact_for_an_exponential_and_ignores_a_far_population() -> None:
    x = stats.expon.isf(np.linspace(1e-6, 1, 100_001)[:-1])
    assert edge_quantile(x, 1e-3) == pytest.approx(-np.log(1e-3), rel=0.01)
    mixed = np.concatenate([x, np.full(1000, 50.0)])
    assert np.quantile(mixed, 1 - 1e-3) == 50.0
    assert edge_quantile(mixed, 1e-3) - edge_quantile(x, 1e-3) < 1.5
