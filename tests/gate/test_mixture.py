from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize, stats

from cytocar.gate import ThresholdNotFound
from cytocar.gate._rules.base import RuleInput
from cytocar.gate._rules.kernels.two_humps import fit_mixture
from cytocar.gate._rules.mixture import Mixture
from cytocar.gate._strategy.threshold import Threshold
from cytocar.gate._thresholds.find import find

MIXTURE = Threshold("A", ("A",), "cells", Mixture())

UNIMODAL: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "exponential": lambda rng, n: rng.exponential(0.3, n),
    "wide exponential": lambda rng, n: rng.exponential(1.0, n),
    "gamma": lambda rng, n: rng.gamma(4, 0.25, n),
    "lognormal": lambda rng, n: rng.lognormal(0, 0.5, n),
    "normal": lambda rng, n: rng.normal(3, 0.5, n),
    "heavy tails": lambda rng, n: 3 + 0.5 * rng.standard_t(4, n),
    "skewed to the left": lambda rng, n: 5 - rng.gamma(3, 0.3, n),
    "uniform": lambda rng, n: rng.uniform(0, 4, n),
    "background": lambda rng, n: np.arcsinh(np.where(rng.random(n) < 0.6, 0, rng.exponential(2.5, n)) / 5),
    "counts": lambda rng, n: np.arcsinh(
        np.maximum(rng.negative_binomial(1, 1 / 11, n) - rng.random(n), 0) / 5
    ),
    "bright counts": lambda rng, n: np.arcsinh(rng.negative_binomial(2, 1 / 31, n) / 5),
}


@pytest.mark.parametrize("n", [1_000, 20_000])
@pytest.mark.parametrize("name", UNIMODAL)
def test_one_hump_gives_no_threshold(name: str, n: int) -> None:
    for seed in range(3):
        values = UNIMODAL[name](np.random.default_rng(seed), n)
        with pytest.raises(ThresholdNotFound, match=r"one hump describes|confidence of|outside") as caught:
            find(MIXTURE, RuleInput(values), "S1")
        assert "█" in str(caught.value)


@pytest.mark.parametrize(
    ("negative", "positive", "share"),
    [
        (stats.norm(1.0, 0.4), stats.norm(3.6, 0.4), 0.3),
        (stats.norm(1.0, 0.4), stats.norm(3.2, 0.6), 0.02),
        (stats.expon(0, 0.4), stats.norm(2.8, 0.5), 0.3),
        (stats.expon(0, 0.3), stats.norm(4.0, 0.4), 0.005),
        (stats.skewnorm(4, 0.3, 0.8), stats.norm(3.6, 0.4), 0.2),
    ],
)
def test_the_border_is_where_a_cell_is_as_likely_the_one_as_the_other(
    negative, positive, share: float
) -> None:
    rng = np.random.default_rng(2)
    n = 40_000
    values = np.concatenate(
        [
            negative.rvs(round((1 - share) * n), random_state=rng),
            positive.rvs(round(share * n), random_state=rng),
        ]
    )
    found = fit_mixture(values)
    assert found is not None

    def gap(x: float) -> float:
        return float((1 - share) * negative.pdf(x) - share * positive.pdf(x))

    truth = optimize.brentq(gap, negative.mean(), positive.mean())
    assert found.value == pytest.approx(truth, abs=0.12)
    grid = np.linspace(-3, 9, 20_001)
    under = np.minimum((1 - share) * negative.pdf(grid), share * positive.pdf(grid)).sum() * (
        grid[1] - grid[0]
    )
    assert found.confidence == pytest.approx(1 - under / min(share, 1 - share), abs=0.06)


def test_cells_at_exactly_zero_are_negative_and_no_hump() -> None:
    rng = np.random.default_rng(0)
    rest = np.concatenate([np.arcsinh(rng.exponential(2.5, 20_000) / 5), rng.normal(3.5, 0.4, 5000)])
    without, with_zeros = fit_mixture(rest), fit_mixture(np.concatenate([np.zeros(50_000), rest]))
    assert without is not None
    assert with_zeros is not None
    assert with_zeros.value == pytest.approx(without.value, abs=0.02)
    assert with_zeros.zeros == 50_000
    assert 1.5 < with_zeros.value < 2.8


def test_a_shoulder_without_valley_has_a_border() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1.0, 0.35, 30_000), rng.normal(2.3, 0.5, 12_000)])
    found = find(MIXTURE, RuleInput(values), "S1")
    assert 1.5 < found.value < 2.1
    assert (found.rule, found.found_in, found.n_cells) == ("mixture", "cells", 42_000)


def test_humps_that_are_too_near_are_not_told_apart() -> None:
    rng = np.random.default_rng(0)
    pairs = [
        np.concatenate([rng.normal(1.0, 0.13, 20_000), rng.normal(1.0 + d, 0.13, 20_000)]) for d in (0.7, 1.0)
    ]
    near, apart = (fit_mixture(values) for values in pairs)
    assert near is None
    assert apart is not None
    assert apart.value == pytest.approx(1.5, abs=0.03)


def test_it_does_not_depend_on_the_order_of_the_cells_nor_on_a_shift() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1.0, 0.4, 3000), rng.normal(4.0, 0.4, 1000)])
    found, mixed, moved = (fit_mixture(x) for x in (values, rng.permutation(values), values + 0.5))
    assert found is not None
    assert mixed is not None
    assert moved is not None
    assert found.value == mixed.value
    assert moved.value == pytest.approx(found.value + 0.5, abs=1e-3)


def test_too_few_or_equal_cells() -> None:
    assert fit_mixture(np.zeros(500)) is None
    assert fit_mixture(np.full(500, 2.0)) is None
    with pytest.raises(ThresholdNotFound, match="150 cells, and at least 200 are needed"):
        find(MIXTURE, RuleInput(np.arange(150.0)), "S1")


def test_two_normal_humps_are_those_of_scikit_learn() -> None:
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(1, 0.4, 6000), rng.normal(4, 0.5, 2000)])
    fitted = fit_mixture(x)
    assert fitted is not None
    other = GaussianMixture(2, random_state=0).fit(x[:, None])
    order = np.argsort(other.means_[:, 0])
    # ours may be skewed, and is fitted to bins of 0.04
    np.testing.assert_allclose(fitted.humps.modes[0], other.means_[order, 0], atol=0.04)
    np.testing.assert_allclose(fitted.humps.weights[0], other.weights_[order], atol=0.005)
