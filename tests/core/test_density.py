"""Densities and valleys, against mixtures whose humps are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cytocar._core.density import BOX, find_valley, find_valleys, histogram, histogram_density, humps, smooth
from cytocar._core.errors import ParameterError


def negatives(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return arcsinh values of unstained cells: 65 % exactly 0, else exponential counts, 3 % weakly stained."""
    counts = np.where(rng.random(n) < 0.65, 0.0, rng.exponential(2.5, n))
    values = np.arcsinh(counts / 5)
    weak = rng.random(n) < 0.03
    values[weak] = np.maximum(rng.normal(1.2, 0.45, weak.sum()), 0)
    return values


def mixture(seed: int, n: int, share: float, mean: float, sd: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    k = round(n * share)
    return np.concatenate([negatives(rng, n - k), np.maximum(rng.normal(mean, sd, k), 0)])


def test_density_is_the_kernel_density_of_scipy() -> None:
    from scipy.stats import norm

    x = np.random.default_rng(0).normal(2, 1, 300)
    grid, density = histogram_density(x, bins=2048, bandwidth=0.25)
    exact = norm.pdf((grid[:, None] - x[None, :]) / 0.25).mean(axis=1) / 0.25
    np.testing.assert_allclose(density, exact, atol=1e-3 * exact.max())
    assert grid.shape == density.shape == (2048,)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 5.0])
def test_smoothing_is_the_gaussian_filter_of_scipy(sigma: float) -> None:
    from scipy.ndimage import gaussian_filter1d

    counts = np.random.default_rng(0).poisson(20, 500).astype(float)
    expected = gaussian_filter1d(counts, sigma, mode="constant", radius=int(np.ceil(4 * sigma)))
    np.testing.assert_allclose(smooth(counts, sigma), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_humps_that_stand_out_are_the_prominent_peaks_of_scipy(seed: int) -> None:
    from scipy.signal import find_peaks

    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(centre, 0.3, 3000) for centre in (0, 3, 6)])
    events, _, step = histogram(x, 0.02, 1.0)
    level = smooth(events, 0.2 / step) * (BOX * 0.2 / step)
    peaks, valleys = humps(level, events, least_z=3.5, least_depth=0.1, least_events=20)
    height = 0.1 * level.max()
    assert peaks == find_peaks(level, prominence=height)[0].tolist()
    assert len(peaks) == 3
    assert valleys == find_peaks(-level, prominence=height)[0].tolist()


@given(seed=st.integers(0, 1000), n=st.integers(1, 500), scale=st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_density_integrates_to_one(seed: int, n: int, scale: float) -> None:
    x = scale * np.random.default_rng(seed).standard_normal(n)
    grid, density = histogram_density(x, bandwidth=0.1 * scale)
    assert density.min() >= 0
    assert density.sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-3)


def test_density_of_nothing_is_empty() -> None:
    grid, density = histogram_density(np.empty(0, dtype=np.float32))
    assert grid.size == density.size == 0


@pytest.mark.parametrize(
    ("share", "mean", "sd", "low", "high"),
    [
        pytest.param(0.01, 4.4, 0.4, 2.4, 3.6, id="neutrophils, 1 %"),
        pytest.param(0.002, 3.6, 0.35, 2.3, 3.1, id="B cells, 0.2 %"),
        pytest.param(0.1, 3.6, 0.35, 1.9, 2.8, id="B cells, 10 %"),
        pytest.param(0.5, 4.2, 0.35, 1.9, 3.3, id="half and half"),
        pytest.param(0.9, 4.2, 0.35, 1.3, 3.0, id="mostly positive"),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_the_valley_between_negatives_and_a_hump_is_found(
    share: float, mean: float, sd: float, low: float, high: float, seed: int
) -> None:
    x = mixture(seed, 100_000, share, mean, sd)
    valley = find_valley(x)
    assert valley is not None
    assert low < valley.value < high
    assert valley.left_mode < valley.value < valley.right_mode
    assert valley.right_mode == pytest.approx(mean, abs=0.25)
    assert valley.n_right == pytest.approx(np.count_nonzero(x > valley.value), rel=0.1, abs=20)
    assert valley.n_left + valley.n_right == x.size
    # few of the positives are below it, and few of the negatives above it
    positive = x[-round(100_000 * share) :]
    assert np.mean(positive < valley.value) < 0.05
    assert np.count_nonzero(x[: -positive.size] >= valley.value) < 0.3 * positive.size


def test_a_rarer_or_closer_hump_is_less_certain() -> None:
    sure = find_valley(mixture(0, 100_000, 0.01, 4.4, 0.4))
    rare = find_valley(mixture(0, 100_000, 0.002, 3.6, 0.35))
    close = find_valley(mixture(0, 100_000, 0.2, 2.0, 0.5))
    assert sure is not None
    assert rare is not None
    assert close is not None
    assert 1 >= sure.confidence > rare.confidence > close.confidence >= 0
    assert sure.confidence > 0.9


@pytest.mark.parametrize("n", [300, 10_000, 100_000])
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng, n: rng.normal(4, 0.4, n), id="normal"),
        pytest.param(lambda rng, n: 0.4 * rng.standard_t(5, n), id="heavy tails"),
        pytest.param(lambda rng, n: np.arcsinh(rng.exponential(20, n) / 5), id="skewed"),
        pytest.param(negatives, id="negatives"),
        pytest.param(lambda rng, n: np.arcsinh(rng.poisson(3, n) / 5), id="whole counts"),
        pytest.param(lambda rng, n: np.zeros(n), id="zeros"),
    ],
)
def test_one_hump_has_no_valley(draw: Callable[[np.random.Generator, int], np.ndarray], n: int) -> None:
    for seed in range(10):
        assert find_valley(draw(np.random.default_rng(seed), n)) is None


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(500, 20_000),
    share=st.floats(0.05, 0.95),
    gap=st.floats(3, 6),
    sd=st.floats(0.2, 0.4),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_two_normals_far_apart_have_one_valley_between_them(
    seed: int, n: int, share: float, gap: float, sd: float
) -> None:
    rng = np.random.default_rng(seed)
    k = max(round(n * share), 60)
    x = np.concatenate([rng.normal(0, sd, n - k), rng.normal(gap, sd, k)])
    found = find_valleys(x)
    assert len(found) == 1
    assert 1.3 * sd < found[0].value < gap - 1.3 * sd
    assert found[0].confidence > 0.1


@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
@settings(max_examples=20, deadline=None)
def test_moving_or_mirroring_the_data_moves_or_mirrors_the_valley(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(0, 0.3, 2000), rng.normal(3, 0.4, 300)])
    here, there, mirrored = find_valley(x), find_valley(x + shift), find_valley(-x)
    assert here is not None
    assert there is not None
    assert mirrored is not None
    assert there.value - shift == pytest.approx(here.value, abs=0.1)
    assert -mirrored.value == pytest.approx(here.value, abs=0.1)


def test_three_humps_have_two_valleys_and_bounds_choose() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 0.3, 5000), rng.normal(2.5, 0.3, 3000), rng.normal(5, 0.3, 2000)])
    values = [valley.value for valley in find_valleys(x)]
    assert values == pytest.approx([1.25, 3.75], abs=0.3)
    assert [valley.value for valley in find_valleys(x, low=2.5)] == values[1:]
    assert [valley.value for valley in find_valleys(x, high=2.5)] == values[:1]
    assert find_valleys(x, low=1.9, high=3.0) == []


def test_float32_and_float64_agree() -> None:
    x = mixture(3, 20_000, 0.05, 4, 0.4)
    wide, narrow = find_valley(x), find_valley(x.astype(np.float32))
    assert wide is not None
    assert narrow is not None
    assert wide.value == pytest.approx(narrow.value, abs=0.05)


def test_a_valley_is_in_the_middle_of_an_empty_stretch() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 0.2, 3000), rng.normal(8, 0.2, 300)])
    valley = find_valley(x)
    assert valley is not None
    assert valley.value == pytest.approx(4, abs=0.4)
    assert valley.depth == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_single_events_in_between_do_not_move_the_valley(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(0, 0.2, 3000), rng.uniform(1, 5, 8), rng.normal(6, 0.2, 3000)])
    valley = find_valley(x)
    assert valley is not None
    assert valley.value == pytest.approx(3, abs=0.6)


def test_narrow_humps_near_each_other_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    valley = find_valley(np.concatenate([rng.normal(6, 0.1, 3000), rng.normal(6.6, 0.1, 3000)]))
    assert valley is not None
    assert valley.value == pytest.approx(6.3, abs=0.05)
    assert valley.depth > 0.7


def test_a_clump_of_few_events_is_no_hump() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 0.3, 5000), rng.normal(4, 0.05, 15)])
    assert find_valley(x) is None
    assert find_valley(x, min_events=10) is not None


def test_too_few_values_have_no_valley() -> None:
    assert find_valley([0.0] * 10 + [5.0] * 10) is None
    assert find_valley([0.0] * 10 + [5.0] * 10, min_events=5) is not None
    assert find_valley([]) is None


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"bandwidth": 0.0}, "bandwidth is 0.0"),
        ({"low": 3.0, "high": 2.0}, "low is 3.0 and high is 2.0"),
        ({"min_depth": 1.0}, "min_depth is 1.0"),
    ],
)
def test_arguments_out_of_range(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        find_valley(np.arange(100.0), **keywords)


def test_values_that_are_not_finite() -> None:
    with pytest.raises(ParameterError, match="2 of 3 values are not finite"):
        find_valley([0.0, np.nan, np.inf])
    with pytest.raises(ParameterError, match="bins is 3"):
        histogram_density([0.0, 1.0], bins=3)
    with pytest.raises(ParameterError, match="bandwidth is -1"):
        histogram_density([0.0, 1.0], bandwidth=-1)
