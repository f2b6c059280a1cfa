"""From the rules of a threshold and the cells of a sample to one number, and how far it may move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.seeds import generator
from cytocar.gate._rules.base import (
    NegativesAbove,
    Rule,
    RuleFoundNothing,
    RuleInput,
    RuleResult,
    apply_rule,
)
from cytocar.gate._rules.negatives import SAME_TUBE
from cytocar.gate._thresholds.not_found import not_found

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._rules.base import Floats, Resample
    from cytocar.gate._strategy.threshold import Threshold

GRID = 200
"""Points of the density that is kept for each threshold."""


@dataclass(frozen=True)
class ResolvedThreshold:
    """The number of one threshold in one sample, and how it came about.

    Parameters
    ----------
    value
        The number, in arcsinh units.
    rule
        The rule that gave it; ``"value"`` where it was stated.
    confidence
        0 to 1; NaN for stated numbers. Of a valley, its depth beyond doubt; of a mixture, 1 minus the share of the
        smaller hump under the other; of a quantile or limit, the share of the resamples in which the rate that the
        rule states is met within a factor of two; of other samples, the share of them that agree.
    found_in, n_cells
        The cells that were looked at.
    fallback
        Whether it came from a fallback and not from the rule that the strategy prefers.
    spread, low, high
        How far the number may move: standard deviation and 95 % range over 100 bootstrap samples of the cells it was
        found in, or over the other samples that it is the median of. NaN for stated numbers.
    reference
        What known negatives say of it.
    grid, density
        What the cells look like: 200 points.
    """

    name: str
    marker: str
    value: float
    rule: str
    confidence: float = float("nan")
    spread: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    found_in: str = ""
    n_cells: int = 0
    pinned: bool = False
    fallback: bool = False
    note: str = ""
    grid: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    density: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    reference: NegativesAbove | None = None


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A rule that was applied, and how its number moves with the cells; None where it cannot be resampled."""

    rule: Rule
    resample: Resample | None


def find(
    threshold: Threshold, given: RuleInput, sample: str, *, seed: int | None = None
) -> ResolvedThreshold:
    """Return the number of a threshold in one sample: pinned, by its rule, or by a fallback of the strategy.

    Parameters
    ----------
    threshold, given, sample
        What is looked for, in what, and where.
    seed
        Of the resamples that tell how far the number may move; None leaves them out.

    Raises
    ------
    ThresholdNotFound
        With the reason of every rule tried, the density as a picture, and how to state the number instead.
    """
    grid, density = _density(given.values)
    common: dict[str, Any] = {
        "name": threshold.name,
        "marker": threshold.marker,
        "grid": grid,
        "density": density,
        "found_in": threshold.population,
        "n_cells": int(given.values.size),
    }
    pin = threshold.pinned(sample)
    if pin is not None:
        reference = _negatives_above_pin(threshold, given, pin)
        return ResolvedThreshold(value=pin, rule="value", pinned=True, reference=reference, **common)
    reasons: list[str] = []
    attempts: list[_Attempt] = []
    for rule in threshold.rules():
        if rule.needs_others and given.others is None:
            # Not yet known is not the same as none: no further fallback is taken in the place of this one.
            reasons.append(f"{rule.label}: their numbers are not known here")
            break
        try:
            result = apply_rule(rule, given)
        except RuleFoundNothing as nothing:
            reasons.append(f"{rule.label}: {nothing}")
            attempts.append(_Attempt(rule, nothing.resample))
            continue
        attempts.append(_Attempt(rule, result.resample))
        if seed is None or result.resample is None:
            movement = _unmoved(result)
        else:
            rng = generator(seed, "threshold spread", sample, threshold.name)
            movement = _movement(result, *_draws(threshold, given, attempts, rng))
        if result.n_cells is not None:
            common |= {"found_in": result.found_in, "n_cells": result.n_cells}
        notes = [*(f"no {reason}" for reason in reasons), result.note, movement.pop("note")]
        return ResolvedThreshold(
            value=round(float(result.value), 4),
            rule=rule.kind,
            fallback=bool(reasons),
            note="; ".join(filter(None, notes)),
            **common,
            **movement,
        )
    raise not_found(threshold, given, sample, reasons or ["no number is stated for this sample"])


def _unmoved(result: RuleResult) -> dict[str, Any]:
    """Return the fields of a number of which it is not known how far it moves."""
    confidence = float("nan") if result.confidence is None else result.confidence
    return {"note": "", "reference": result.reference, "confidence": confidence}


def _movement(result: RuleResult, draws: Floats, by_this: int) -> dict[str, Any]:
    """Return how far the number moves with the cells, how sure it is, and what known negatives say of both ends.

    Parameters
    ----------
    result
        What the rule in use has found.
    draws
        The number in each resample, NaN where no rule finds one.
    by_this
        In how many of them the rule in use finds it.
    """
    fields = _unmoved(result)
    numbers = draws[np.isfinite(draws)]
    notes = [f"by this rule in {by_this} of {draws.size} resamples"] if by_this < draws.size else []
    notes += [f"by none in {draws.size - numbers.size}"] if numbers.size < draws.size else []
    fields["note"] = ", ".join(notes)
    if numbers.size < 2:
        return fields
    low, high = (float(q) for q in np.quantile(numbers, [0.025, 0.975]))
    low, high = round(min(low, result.value), 4), round(max(high, result.value), 4)
    fields |= {"spread": round(float(numbers.std(ddof=1)), 4), "low": low, "high": high}
    if result.rate_at is not None:
        rates = np.array([result.rate_at(float(number)) for number in numbers])
        near = (rates >= result.rate / 2) & (rates <= result.rate * 2)
        fields["confidence"] = float(near.mean())
        if result.reference is not None:
            fields["reference"] = replace(
                result.reference, rate_low=result.rate_at(low), rate_high=result.rate_at(high)
            )
    return fields


def _draws(
    threshold: Threshold, given: RuleInput, attempts: Sequence[_Attempt], rng: np.random.Generator
) -> tuple[Floats, int]:
    """Return the number in each resample, by the first rule that finds one there, and how often that is the one in use.

    A rule that just failed in all cells may find a number in a resample, and the other way round: then the number
    jumps, and its range has to say so.
    """
    draws: Floats = np.empty(0)
    for attempt in attempts:
        draws, by_this = _filled(draws, attempt, rng)
    for rule in list(threshold.rules())[len(attempts) :]:
        if not np.isnan(draws).any():
            break
        draws, _ = _filled(draws, _Attempt(rule, _resample_of(rule, given)), rng)
    return draws, by_this


def _resample_of(rule: Rule, given: RuleInput) -> Resample | None:
    """Return how the number of a rule that was not needed moves with the cells."""
    if rule.needs_others and given.others is None:
        return None
    try:
        return apply_rule(rule, given).resample
    except RuleFoundNothing as nothing:
        return nothing.resample


def _filled(draws: Floats, attempt: _Attempt, rng: np.random.Generator) -> tuple[Floats, int]:
    """Fill the resamples that have no number yet by those of a rule; return them, and how many it filled."""
    if attempt.resample is None:
        return draws, 0
    numbers = attempt.resample(rng)
    if draws.size == 0:
        draws = np.full(numbers.size, np.nan)
    if numbers.size != draws.size:
        numbers = rng.choice(numbers, draws.size)
    low = -np.inf if attempt.rule.low is None else attempt.rule.low
    high = np.inf if attempt.rule.high is None else attempt.rule.high
    takes = np.isnan(draws) & (numbers >= low) & (numbers <= high)
    draws[takes] = numbers[takes]
    return draws, int(takes.sum())


def _negatives_above_pin(threshold: Threshold, given: RuleInput, pin: float) -> NegativesAbove | None:
    """Count known negatives at a pinned number too: the rate is then what they show, not what was wanted."""
    if threshold.rule is None:
        return None
    sources = threshold.rule.known_negatives(given)
    controls = {source: values for source, values in sources.items() if source != SAME_TUBE}
    counts = [
        NegativesAbove.count(values, pin, source)
        for source, values in (controls or sources).items()
        if values.size
    ]
    return max(counts, key=lambda count: count.rate, default=None)


def _density(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the density of the cells at `GRID` points, empty where there are fewer than two cells."""
    from cytocar._core.density import histogram_density

    if values.size < 2:
        return np.empty(0), np.empty(0)
    grid, density = histogram_density(values)
    points = np.linspace(grid[0], grid[-1], GRID)
    return points, np.interp(points, grid, density)
