"""The rule `tail` beside the derivative of a normal density, and beside a slow kernel density."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from cytocar import GateError, gate
from cytocar.gate import GateTree, ThresholdNotFound
from cytocar.gate._rules.base import DRAWS, RuleFoundNothing, RuleInput
from cytocar.gate._rules.tail import Tail, slope_bandwidth
from cytocar.gate._strategy.threshold import Threshold
from cytocar.gate._thresholds.find import find

MEAN, SD = 1.5, 0.4
TREE = """
cytocar_gating: 1
name: dim
thresholds:
  CD3: {marker: CD3, rule: tail, in: cells, range: [0.5, 3.5], tolerance: 0.02, fallback: {rule: valley}}
populations: [{name: T cells, parent: cells, gate: [CD3+]}]
"""


def peak(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(MEAN, SD, n)


def start_of_normal_tail(tolerance: float) -> float:
    """Return at how many standard deviations a normal density falls by this share of its steepest descent."""
    steepest = -stats.norm.pdf(1.0)  # the derivative is -z pdf(z), largest at z = 1
    return float(optimize.brentq(lambda z: -z * stats.norm.pdf(z) - tolerance * steepest, 1.0, 9.0))


def number(values: np.ndarray, **settings: object) -> float:
    return find(Threshold("A", ("A",), rule=Tail(**settings)), RuleInput(values), "S1").value  # type: ignore[arg-type]


@pytest.mark.parametrize("tolerance", [0.01, 0.05, 0.3])
def test_of_a_normal_peak_the_start_of_the_tail_is_known(tolerance: float) -> None:
    values = peak(400_000)
    smoothed = np.hypot(SD, slope_bandwidth(values))
    expected = MEAN + smoothed * start_of_normal_tail(tolerance)
    assert number(values, tolerance=tolerance) == pytest.approx(expected, abs=0.02)


def test_it_is_where_a_slow_kernel_density_flattens() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.gamma(4.0, 0.2, 6000), rng.normal(2.6, 0.5, 600)])
    width = slope_bandwidth(values)
    grid = np.linspace(values.min(), values.max(), 2000)
    density = stats.gaussian_kde(values, bw_method=width / values.std(ddof=1))(grid)
    slope = np.diff(density) / np.diff(grid)
    steepest = int(np.argmin(slope))
    assert steepest > np.argmax(density)
    expected = next(
        x
        for x, fall in zip(grid[steepest:], slope[steepest:], strict=False)
        if -fall < -0.02 * slope[steepest]
    )
    assert number(values, tolerance=0.02) == pytest.approx(expected, abs=0.02)


def test_a_smaller_tolerance_is_further_out_and_a_dim_shoulder_is_beyond_it() -> None:
    values = np.concatenate([peak(20_000), np.random.default_rng(1).normal(MEAN + 5 * SD, SD, 400)])
    numbers = [number(values, tolerance=tolerance) for tolerance in (0.5, 0.1, 0.02)]
    assert numbers == sorted(numbers)
    assert numbers[0] > MEAN + SD
    assert 0.015 < np.mean(values >= numbers[2]) < 0.03


def test_the_highest_or_a_stated_peak_is_taken_and_none_beyond_the_range() -> None:
    values = np.concatenate([peak(4000), np.random.default_rng(1).normal(6.0, SD, 12_000)])
    first, second = number(values, peak=1), number(values, peak=2)
    assert MEAN < first < 4.0
    assert second > 6.0
    assert number(values) == second, "the highest peak is the second"
    assert number(values, high=4.0) == first, "a peak beyond the range is not that of the negatives"
    with pytest.raises(ThresholdNotFound, match="the density has 2 peaks, and peak 3 is wanted"):
        number(values, peak=3)
    with pytest.raises(ThresholdNotFound, match=r"the density has no peak below 0\.1"):
        number(values, high=0.1)


def test_a_point_mass_at_zero_is_not_the_peak() -> None:
    values = np.concatenate([np.zeros(30_000), peak(10_000)])
    assert number(values) == number(peak(10_000))
    few = np.concatenate([np.zeros(5000), peak(150)])
    with pytest.raises(ThresholdNotFound, match="150 cells are not 0, and at least 200 are needed"):
        number(few)
    assert number(few, min_cells=100) > MEAN + SD


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        ({}, peak(199), "199 cells, and at least 200 are needed"),
        ({"high": 2.0}, peak(5000), "outside the range of -inf to 2 that the strategy allows"),
        ({"low": 4.0}, peak(5000), "outside the range of 4 to inf"),
        ({}, np.zeros(5000), "0 cells are not 0"),
    ],
)
def test_the_reason_names_what_is_missing(
    settings: dict[str, float], values: np.ndarray, message: str
) -> None:
    with pytest.raises(ThresholdNotFound, match=message):
        number(values, **settings)


def test_the_stated_spread_is_that_of_the_number_over_new_samples() -> None:
    threshold = Threshold("A", ("A",), rule=Tail(tolerance=0.05))
    stated = find(threshold, RuleInput(peak(8000)), "S1", seed=0)
    again = np.array([find(threshold, RuleInput(peak(8000, seed)), "S1").value for seed in range(1, 61)])
    assert 0.5 < stated.spread / again.std(ddof=1) < 2.0
    assert stated.low <= stated.value <= stated.high
    assert np.mean((again >= stated.low - 0.03) & (again <= stated.high + 0.03)) > 0.8
    assert stated.grid.size == stated.density.size == 200
    same = find(threshold, RuleInput(peak(8000)), "S1", seed=0)
    assert (same.spread, same.low, same.high) == (stated.spread, stated.low, stated.high)


def test_confidence_is_how_often_the_tolerance_is_met_and_falls_with_few_cells() -> None:
    many, few = (
        find(Threshold("A", ("A",), rule=Tail(tolerance=0.02)), RuleInput(peak(n)), "S1", seed=0)
        for n in (50_000, 250)
    )
    assert many.confidence > 0.95
    assert few.confidence < many.confidence
    assert few.spread > 2 * many.spread
    result = Tail(tolerance=0.02).find(RuleInput(peak(50_000)))
    assert result.rate_at is not None
    assert result.resample is not None
    assert result.rate_at(result.value) == pytest.approx(0.02, abs=0.004)
    assert result.resample(np.random.default_rng(0)).shape == (DRAWS,)


def test_it_survives_yaml_and_is_described() -> None:
    tree = GateTree.from_yaml(TREE)
    assert tree.thresholds["CD3"].rule == Tail(0.5, 3.5, tolerance=0.02)
    assert GateTree.from_yaml(tree.to_yaml()) == tree
    stated = GateTree.from_yaml(TREE.replace("tolerance: 0.02", "tolerance: 1e-3, peak: 2, min_cells: 50"))
    rule = stated.thresholds["CD3"].rule
    assert rule == Tail(0.5, 3.5, 50, tolerance=0.001, peak=2)
    assert GateTree.from_yaml(stated.to_yaml()) == stated
    assert "CD3  tail at 0.02 [0.5..3.5] in cells, else valley" in str(tree)
    assert "tail at 0.001 of peak 2" in str(stated)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tolerance: 0", "line 5, threshold CD3: tolerance is 0; it must be above 0 and below 1"),
        ("tolerance: 1.5", "tolerance is 1.5; it must be above 0 and below 1"),
        ("tolerance: little", "tolerance is 'little'; it must be a number"),
        ("peak: 0", "peak is 0; it must be a whole number of at least 1, or highest"),
        ("peak: lowest", "peak is 'lowest'; it must be a number, or highest"),
        ("rate: 0.1", "unknown key 'rate'"),
    ],
)
def test_what_is_wrong_with_its_settings_is_named(setting: str, message: str) -> None:
    with pytest.raises(GateError, match=message):
        GateTree.from_yaml(TREE.replace("tolerance: 0.02", setting))


def test_a_dim_marker_is_gated_by_it_from_end_to_end(tube) -> None:
    adata = tube(seed=1)
    rng = np.random.default_rng(0)
    t_cell = np.arange(adata.n_obs) % 10 == 0
    adata.X[:, 0] = np.where(t_cell, rng.normal(2.6, 0.3, adata.n_obs), rng.normal(1.0, 0.3, adata.n_obs))
    gate.apply(adata, GateTree.from_yaml(TREE))
    row = gate.thresholds(adata).iloc[0]
    assert row["rule"] == "tail"
    assert row["low"] <= row["value"] <= row["high"]
    assert 0.0 <= row["confidence"] <= 1.0
    inside = gate.membership(adata, "T cells")
    assert np.mean(inside[t_cell]) > 0.9
    assert np.mean(inside[~t_cell]) < 0.01
    tried = gate.multiverse(adata, measures={"T": ("T cells", "cells")})
    assert {"tail", "tail at 0.04"} <= set(tried["rule_CD3"])


def test_a_density_that_falls_up_to_its_end_has_no_tail() -> None:
    # Cells of one value are a Gaussian cut off at four widths, where z exp((1 - z^2) / 2) is 0.002.
    cells = RuleInput(np.full(1000, 2.0))
    assert Tail(tolerance=0.01).find(cells).value > 2.0
    with pytest.raises(RuleFoundNothing, match=r"falls up to its end by more than 0\.001 of its steepest"):
        Tail(tolerance=0.001).find(cells)


def test_a_range_below_every_peak_has_none() -> None:
    with pytest.raises(RuleFoundNothing, match=r"^the density has no peak below -3$"):
        Tail(high=-3.0).find(RuleInput(peak(1000)))
