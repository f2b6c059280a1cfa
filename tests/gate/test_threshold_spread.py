from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cytocar._core.density import find_valley
from cytocar.gate._populations.parts import Term
from cytocar.gate._rules.base import DRAWS, Rule, RuleInput
from cytocar.gate._rules.kernels import pareto_spread, pareto_tail
from cytocar.gate._rules.kernels.valley_spread import resampled_valley
from cytocar.gate._rules.lower_limit import LowerLimit
from cytocar.gate._rules.mixture import Mixture
from cytocar.gate._rules.negatives import Negatives
from cytocar.gate._rules.other_samples import OtherSamples
from cytocar.gate._rules.quantile import Quantile
from cytocar.gate._rules.upper_limit import UpperLimit
from cytocar.gate._rules.valley import Valley
from cytocar.gate._strategy.threshold import Threshold
from cytocar.gate._thresholds.find import ResolvedThreshold, find

Draw = Callable[[np.random.Generator], np.ndarray]


def humps(rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([rng.exponential(0.3, 6000), rng.normal(4.0, 0.4, 2000)])


def near_humps(rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([rng.exponential(0.4, 6000), rng.normal(2.6, 0.5, 4000)])


def background(rng: np.random.Generator) -> np.ndarray:
    counts = np.where(rng.random(20_000) < 0.6, 0.0, rng.exponential(2.5, 20_000))
    return np.arcsinh(counts / 5)


RULES: dict[str, tuple[Rule, Draw]] = {
    "valley": (Valley(low=0.8, high=4.5), humps),
    "near valley": (Valley(low=0.8, high=4.5), near_humps),
    "mixture": (Mixture(low=0.5), humps),
    "near mixture": (Mixture(low=0.5), near_humps),
    "upper limit": (UpperLimit(rate=0.005), background),
    "lower limit": (LowerLimit(rate=1e-3), lambda rng: rng.normal(4.0, 0.5, 8000)),
    "quantile": (Quantile(population="cells", gate=(Term("A", False),), quantile=0.99), background),
    "negatives": (Negatives(population="cells", false_positive_rate=1e-4), background),
}


def known(values: np.ndarray) -> RuleInput:
    cells = [rule.reference_cells for rule, _ in RULES.values() if rule.reference_cells]
    return RuleInput(values.astype(np.float32), references=dict.fromkeys(cells, values))


def found_in(name: str, values: np.ndarray, *, seed: int | None = 0) -> ResolvedThreshold:
    return find(Threshold("A", ("A",), "cells", RULES[name][0]), known(values), "S1", seed=seed)


@pytest.mark.parametrize("name", RULES)
def test_the_stated_spread_is_that_of_the_number_over_new_samples(name: str) -> None:
    draw = RULES[name][1]
    rng = np.random.default_rng(1)
    first = draw(rng)
    stated = found_in(name, first)
    again = np.array([found_in(name, draw(rng), seed=None).value for _ in range(60)])
    resampled = np.array([found_in(name, rng.choice(first, first.size), seed=None).value for _ in range(60)])
    assert 0.5 < stated.spread / again.std(ddof=1) < 2.0
    assert 0.6 < stated.spread / resampled.std(ddof=1) < 1.7
    assert stated.low <= stated.value <= stated.high
    assert 2.0 < (stated.high - stated.low) / stated.spread < 6.5
    assert np.mean((resampled >= stated.low - 0.02) & (resampled <= stated.high + 0.02)) > 0.8
    assert 0.0 <= stated.confidence <= 1.0


def test_without_a_seed_nothing_is_resampled_and_the_number_is_the_same() -> None:
    values = humps(np.random.default_rng(0))
    bare, full, again = (found_in("valley", values, seed=seed) for seed in (None, 3, 3))
    assert np.isnan([bare.spread, bare.low, bare.high]).all()
    assert (bare.value, bare.confidence) == (full.value, full.confidence)
    assert (full.spread, full.low, full.high) == (again.spread, again.low, again.high)
    assert found_in("valley", values, seed=4).spread != full.spread


def test_other_samples_and_stated_numbers() -> None:
    threshold = Threshold("A", ("A",), "cells", OtherSamples())
    numbers = [2.0, 2.1, 2.2, 3.4]
    found = find(threshold, RuleInput(np.zeros(5), others=numbers), "S1", seed=0)
    assert found.value == pytest.approx(2.15)
    assert found.spread == pytest.approx(np.std(numbers, ddof=1), abs=1e-4)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(numbers, [0.025, 0.975])), abs=1e-4)
    assert found.confidence == 3 / 5, "three of four agree, and one more is reckoned not to"
    single = find(threshold, RuleInput(np.zeros(5), others=[2.0]), "S1", seed=0)
    assert np.isnan(single.spread)
    assert single.confidence == 0.5
    stated = find(Threshold("A", ("A",), value=2.0), RuleInput(np.zeros(5)), "S1", seed=0)
    assert np.isnan([stated.spread, stated.low, stated.confidence]).all()


def test_a_reference_tells_the_rates_at_both_ends() -> None:
    found = found_in("negatives", background(np.random.default_rng(2)))
    reference = found.reference
    assert reference is not None
    assert reference.rate_low is not None
    assert reference.rate_high is not None
    assert reference.rate_high < reference.rate == 1e-4 < reference.rate_low
    truth = np.sort(background(np.random.default_rng(3)))
    counted = np.mean(np.concatenate([truth, background(np.random.default_rng(4))]) >= found.low)
    assert 0.2 < counted / reference.rate_low < 5


def test_confidence_of_a_rate_grows_with_the_cells() -> None:
    rng = np.random.default_rng(5)
    few, many = (
        find(
            Threshold(
                "A", ("A",), "cells", Quantile(population="cells", gate=(Term("A", False),), quantile=0.995)
            ),
            known(rng.normal(1.0, 0.3, n)),
            "S1",
            seed=0,
        )
        for n in (400, 100_000)
    )
    assert few.confidence < 0.9 < many.confidence


@pytest.mark.parametrize("strays", [0, 4])
@pytest.mark.parametrize("n", [1500, 20_000])
def test_tails_fitted_side_by_side_equal_those_fitted_one_by_one(n: int, strays: int) -> None:
    rng = np.random.default_rng(n + strays)
    values = np.concatenate([background(rng)[:n], np.full(strays, 4.5)])
    fitted = pareto_tail.tail_of(values)
    rate = 1e-4
    falling = fitted.ordered[::-1]
    copies = rng.poisson(1.0, (25, falling.size)).astype(float)
    quick = pareto_spread.quantiles_of_copies(falling, copies, fitted, rate)
    k = fitted.n_excess
    for row, value in zip(copies.astype(int), quick, strict=True):
        top = np.repeat(falling, row)[: k + 1]
        excess = np.sort(top[:k] - top[k])
        scale, shape = pareto_tail._fit_without_strays(excess)
        slow = pareto_tail._beyond(top[k], scale, shape, k / (fitted.ordered.size * rate), top[0])
        assert value == pytest.approx(slow, abs=2e-3)


def test_order_statistics_of_resamples() -> None:
    rng = np.random.default_rng(0)
    values = np.sort(rng.normal(0, 1, 4000))
    quick = pareto_spread.resampled_order(values, (0.9, 0.97), rng, 3000)
    slow = np.array([np.quantile(rng.choice(values, values.size), [0.9, 0.97]) for _ in range(600)])
    assert quick.mean(axis=0) == pytest.approx(slow.mean(axis=0), abs=0.01)
    assert quick.std(axis=0) == pytest.approx(slow.std(axis=0), rel=0.12)
    assert np.corrcoef(quick.T)[0, 1] == pytest.approx(np.corrcoef(slow.T)[0, 1], abs=0.1)
    assert (quick[:, 0] <= quick[:, 1]).all()


def test_a_valley_that_resamples_lose_is_nan_there() -> None:
    rng = np.random.default_rng(0)
    flat = rng.uniform(0, 1, 500)
    assert np.isnan(resampled_valley(flat, rng, 20, low=None, high=None)).all()
    three = np.concatenate([rng.normal(m, 0.25, 3000) for m in (0.5, 2.4, 4.3)])
    draws = resampled_valley(three, rng, DRAWS, low=2.6, high=None)
    assert (draws[np.isfinite(draws)] > 2.6).all()
    found = find_valley(three, low=2.6)
    assert found is not None
    assert np.nanmean(draws) == pytest.approx(found.value, abs=0.05)


class CountingGenerator:
    """A generator that counts the random numbers it hands out."""

    def __init__(self, seed: int) -> None:
        self._rng, self.drawn = np.random.default_rng(seed), 0

    def __getattr__(self, name: str) -> Callable[..., np.ndarray]:
        def draw(*args: object, **kwargs: object) -> np.ndarray:
            numbers = np.asarray(getattr(self._rng, name)(*args, **kwargs))
            self.drawn += numbers.size
            return numbers

        return draw


@pytest.mark.parametrize(
    ("name", "draw"),
    [("valley", humps), ("mixture", humps), ("upper limit", background), ("negatives", background)],
)
def test_the_cost_of_resamples_does_not_grow_with_the_cells(name: str, draw: Draw) -> None:
    values = draw(np.random.default_rng(0))
    drawn = []
    for repeats in (1, 20):
        result = RULES[name][0].find(known(np.tile(values, repeats)))
        assert result.resample is not None
        counting = CountingGenerator(0)
        result.resample(counting)  # type: ignore[arg-type]  # stands in for a generator
        drawn.append(counting.drawn)
    # Of a tail the largest cells are drawn, and at most 2 % of all; copies of all cells would be DRAWS times as many.
    assert drawn[1] <= max(drawn[0], 0.1 * DRAWS * 20 * values.size)


def test_a_rule_that_gives_way_in_some_resamples_is_in_the_spread() -> None:
    rng = np.random.default_rng(4)
    chain = Threshold("CD19", ("CD19",), "cells", Valley(low=1.0, high=4.0), (UpperLimit(rate=0.005),))
    values = np.concatenate([rng.exponential(0.3, 5000), rng.normal(4.0, 0.3, 26)])
    stated = find(chain, RuleInput(values), "S1", seed=0)
    again = [find(chain, RuleInput(rng.choice(values, values.size)), "S1") for _ in range(80)]
    kinds = {found.rule for found in again}
    assert kinds == {"valley", "upper_limit_of_negatives"}, "the case is one in which both happen"
    numbers = np.array([found.value for found in again])
    assert 0.6 < stated.spread / numbers.std(ddof=1) < 1.6
    kept = sum(found.rule == stated.rule for found in again)
    told = int(stated.note.split("by this rule in ")[1].split(" of 100")[0])
    assert told == pytest.approx(100 * kept / 80, abs=25)
    assert stated.high - stated.low > 0.5

    alone = Threshold(
        "CD19", ("CD19",), "cells", Valley(low=1.0, high=4.0, min_confidence=0.44), (OtherSamples(),)
    )
    shallow = np.concatenate([rng.exponential(0.5, 3000), rng.normal(2.3, 0.5, 2000)])
    lost = find(alone, RuleInput(shallow), "S1", seed=0)
    assert "by none in" in lost.note, "no other sample is known here"
    with_others = find(alone, RuleInput(shallow, others=[3.0]), "S1", seed=0)
    assert with_others.high == 3.0
    assert "by none" not in with_others.note
