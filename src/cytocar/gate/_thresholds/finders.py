"""From a rule and the cells to a number: how each kind of threshold is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError
from cytocar._core.seeds import generator
from cytocar.gate._strategy.rules import Negatives, OtherSamples, Rule, Threshold
from cytocar.gate._thresholds.apply_rule import (
    Known,
    Nothing,
    Outcome,
    Reference,
    carry_out,
    count_above,
    range_of,
    tubes_for,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID = 200
"""Points of the density that is kept for each threshold."""

_BLOCKS = "▁▂▃▄▅▆▇█"


Resample = Callable[[np.random.Generator], "NDArray[np.float64]"]


class ThresholdNotFound(GateError):
    """A threshold has no clear place in a sample.

    Attributes
    ----------
    name, sample, marker
        Which threshold, in which sample, of which marker.
    needs_others
        True where the strategy would take the median of the other samples, and none were given: `apply` may be
        called again with their numbers in `others`.
    """

    def __init__(
        self, message: str, *, name: str = "", sample: str = "", marker: str = "", needs_others: bool = False
    ) -> None:
        super().__init__(message)
        self.name, self.sample, self.marker, self.needs_others = name, sample, marker, needs_others

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (str(self), self.name, self.sample, self.marker, self.needs_others)


def _rebuild(message: str, name: str, sample: str, marker: str, needs_others: bool) -> ThresholdNotFound:
    return ThresholdNotFound(message, name=name, sample=sample, marker=marker, needs_others=needs_others)


@dataclass(frozen=True)
class Found:
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
    reference: Reference | None = None


def find(threshold: Threshold, known: Known, sample: str, *, seed: int | None = None) -> Found:
    """Return the number of a threshold in one sample: stated, by its rule, or by a fallback of the strategy.

    Parameters
    ----------
    threshold, known, sample
        What is looked for, in what, and where.
    seed
        Of the resamples that tell how far the number may move; None leaves them out.

    Raises
    ------
    ThresholdNotFound
        With the reason of every rule tried, the density as a picture, and how to state the number instead.
    """
    grid, density = _density(known.values)
    common: dict[str, Any] = {
        "name": threshold.name,
        "marker": threshold.marker,
        "grid": grid,
        "density": density,
        "found_in": threshold.population,
        "n_cells": int(known.values.size),
    }
    stated = threshold.pinned(sample)
    if stated is not None:
        reference = _pinned_reference(threshold, known, stated)
        return Found(value=stated, rule="value", pinned=True, reference=reference, **common)
    reasons: list[str] = []
    tried: list[tuple[Rule, Resample | None]] = []
    for rule in threshold.rules():
        if isinstance(rule, OtherSamples) and known.others is None:
            # Not yet known is not the same as none: no further fallback is taken in the place of this one.
            reasons.append("other samples: their numbers are not known here")
            break
        try:
            outcome = within_range(rule, carry_out(rule, known, threshold))
        except Nothing as nothing:
            reasons.append(f"{rule.kind.replace('_', ' ')}: {nothing}")
            tried.append((rule, nothing.resample))
            continue
        tried.append((rule, outcome.resample))
        fields = common | _moving(outcome, threshold, known, tried, sample, seed)
        notes = [*(f"no {reason}" for reason in reasons), outcome.note, fields.pop("note")]
        if outcome.n_cells is not None:
            fields |= {"found_in": outcome.found_in, "n_cells": outcome.n_cells}
        return Found(
            value=round(float(outcome.value), 4),
            rule=rule.kind,
            fallback=bool(reasons),
            note="; ".join(filter(None, notes)),
            **fields,
        )
    raise _not_found(threshold, known, sample, reasons or ["no number is stated for this sample"])


def within_range(rule: Rule, outcome: Outcome) -> Outcome:
    """Return what a rule found where the strategy allows the number."""
    if (rule.low is not None and outcome.value < rule.low) or (
        rule.high is not None and outcome.value > rule.high
    ):
        raise Nothing(
            f"it would be {outcome.value:.2f}, outside the range of {range_of(rule)} that the strategy allows",
            outcome.resample,
        )
    return outcome


def _moving(
    outcome: Outcome,
    threshold: Threshold,
    known: Known,
    tried: Sequence[tuple[Rule, Resample | None]],
    sample: str,
    seed: int | None,
) -> dict[str, Any]:
    """Return how far the number moves with the cells, how sure it is, and what known negatives say of both ends."""
    fields: dict[str, Any] = {"note": "", "reference": outcome.reference}
    fields["confidence"] = float("nan") if outcome.confidence is None else outcome.confidence
    if seed is None or outcome.resample is None:
        return fields
    draws, by_this = _draws(
        threshold, known, tried, generator(seed, "threshold spread", sample, threshold.name)
    )
    found = draws[np.isfinite(draws)]
    said = []
    if by_this < draws.size:
        said.append(f"by this rule in {by_this} of {draws.size} resamples")
    if found.size < draws.size:
        said.append(f"by none in {draws.size - found.size}")
    fields["note"] = ", ".join(said)
    if found.size < 2:
        return fields
    low, high = (float(q) for q in np.quantile(found, [0.025, 0.975]))
    low, high = round(min(low, outcome.value), 4), round(max(high, outcome.value), 4)
    fields |= {"spread": round(float(found.std(ddof=1)), 4), "low": low, "high": high}
    if outcome.rate_at is not None:
        rates = np.array([outcome.rate_at(float(number)) for number in found])
        near = (rates >= outcome.rate / 2) & (rates <= outcome.rate * 2)
        fields["confidence"] = float(near.mean())
        if outcome.reference is not None:
            fields["reference"] = replace(
                outcome.reference, rate_low=outcome.rate_at(low), rate_high=outcome.rate_at(high)
            )
    return fields


def _draws(
    threshold: Threshold,
    known: Known,
    tried: Sequence[tuple[Rule, Resample | None]],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], int]:
    """Return the number in each resample, by the first rule that finds one there, and how often that is the one in use.

    A rule that just failed in all cells may find a number in a resample, and the other way round: then the number
    jumps, and its range has to say so.
    """
    draws: NDArray[np.float64] = np.empty(0)
    by_this = 0
    *before, in_use = tried
    after = list(threshold.rules())[len(tried) :]
    waiting: list[tuple[Rule, Resample | None]] = [*before, in_use, *((rule, None) for rule in after)]
    for number, (rule, resample) in enumerate(waiting):
        if number > len(before) and not np.isnan(draws).any():
            break
        if number > len(before) and not (isinstance(rule, OtherSamples) and known.others is None):
            try:
                resample = within_range(rule, carry_out(rule, known, threshold)).resample
            except Nothing as nothing:
                resample = nothing.resample
        if resample is None:
            continue
        numbers = resample(rng)
        if draws.size == 0:
            draws = np.full(numbers.size, np.nan)
        if numbers.size != draws.size:
            numbers = rng.choice(numbers, draws.size)
        low, high = (
            end if end is not None else sign * np.inf for end, sign in ((rule.low, -1), (rule.high, 1))
        )
        takes = np.isnan(draws) & (numbers >= low) & (numbers <= high)
        draws[takes] = numbers[takes]
        if number == len(before):
            by_this = int(takes.sum())
    return draws, by_this


def _pinned_reference(threshold: Threshold, known: Known, number: float) -> Reference | None:
    """Count known negatives at a stated number too: the rate is then what they show, not what was wanted."""
    if not isinstance(threshold.rule, Negatives):
        return None
    rule = threshold.rule
    tubes = {f"control {tube}": values for tube, values in tubes_for(rule, known, threshold).items()}
    if rule.controls != "only" and known.negatives is not None and not tubes:
        tubes["same tube"] = known.negatives
    tubes = {source: values for source, values in tubes.items() if values.size}
    if not tubes:
        return None
    share = {source: count_above(values, number) / values.size for source, values in tubes.items()}
    source = max(share, key=lambda name: share[name])
    values = tubes[source]
    return Reference(int(values.size), count_above(values, number), share[source], source)


def _density(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the density of the cells at `GRID` points, empty where there are fewer than two cells."""
    from cytocar._core.density import histogram_density

    if values.size < 2:
        return np.empty(0), np.empty(0)
    grid, density = histogram_density(values)
    points = np.linspace(grid[0], grid[-1], GRID)
    return points, np.interp(points, grid, density)


def _not_found(threshold: Threshold, known: Known, sample: str, reasons: Sequence[str]) -> ThresholdNotFound:
    middle = _suggestion(threshold, known)
    wants_others = known.others is None and any(isinstance(rule, OtherSamples) for rule in threshold.rules())
    lines = [
        f"sample {sample}: no threshold {threshold.name} (marker {threshold.marker}) "
        f"in {threshold.population} ({known.values.size:,} cells)",
        *(f"  {reason}" for reason in reasons),
        *(f"  {line}" for line in sketch(known.values)),
        f"Look at the density and state a number in study.yaml, such as  thresholds: {{{threshold.name}: {middle}}}"
        f"  for all samples, or  thresholds: {{{threshold.name}: {{{sample}: {middle}}}}}  for this one.",
    ]
    if wants_others:
        lines.append(
            "Or hand over what other samples have (others={name: numbers}; others={} to go on without them)."
        )
    return ThresholdNotFound(
        "\n".join(lines),
        name=threshold.name,
        sample=sample,
        marker=threshold.marker,
        needs_others=wants_others,
    )


def _suggestion(threshold: Threshold, known: Known) -> str:
    """Return a number within the range of the rule, to show how one is written."""
    rule = threshold.rule
    if rule is not None and rule.low is not None and rule.high is not None:
        return f"{(rule.low + rule.high) / 2:.1f}"
    if known.values.size:
        return f"{(float(known.values.min()) + float(known.values.max())) / 2:.1f}"
    return "2.0"


def sketch(values: NDArray[Any], width: int = 48) -> list[str]:
    """Draw a density in two lines of text: blocks as high as the square root of the share of cells, and an axis.

    Examples
    --------
    >>> import numpy as np
    >>> for line in sketch(np.repeat([0.0, 4.0], [300, 100]), width=9):
    ...     print(line)
    █▁▁▁▁▁▁▁▅
    0.0   4.0
    """
    if values.size == 0:
        return ["(no cells)"]
    low, high = float(values.min()), float(values.max())
    high = high if high > low else low + 1.0
    counts, _ = np.histogram(values, bins=width, range=(low, high))
    height = np.sqrt(counts / counts.max())
    blocks = "".join(_BLOCKS[round(float(h) * (len(_BLOCKS) - 1))] for h in height)
    left, right = f"{low:.1f}", f"{high:.1f}"
    inner = width - len(left) - len(right)
    centre = f"{(low + high) / 2:.1f}" if inner > 12 else ""
    return [blocks, left + centre.center(inner) + right]
