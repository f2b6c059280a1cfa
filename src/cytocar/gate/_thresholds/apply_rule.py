"""What each rule does: from the cells it may look at to a number, and how that number moves with the cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError
from cytocar.gate._strategy.rules import (
    LowerLimit,
    Mixture,
    Negatives,
    OtherSamples,
    Quantile,
    Rule,
    Threshold,
    UpperLimit,
    Valley,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DRAWS = 100
"""Bootstrap samples by which it is judged how far a threshold may move."""

NEAR = 0.5
"""Numbers of other samples within this of their median, in arcsinh units, agree with it."""

SAME_TUBE = "same tube"
_NEEDED_ABOVE_ZERO = 50
# Below this quantile there is no tail to be fitted.
_TAIL_FROM = 0.9
# Thresholds have four decimals.
_STEP = 1e-4


@dataclass(frozen=True)
class Reference:
    """Cells known to be negative, and how many of them lie at or above the threshold.

    Parameters
    ----------
    n_negative, n_above
        How many they are, and how many are at or above the threshold.
    rate
        The share that is expected above it.
    source
        Where they come from.
    rate_low, rate_high
        The share expected above the lower and the upper end of the threshold's range; None where it has none.
    """

    n_negative: int
    n_above: int
    rate: float
    source: str
    rate_low: float | None = None
    rate_high: float | None = None


@dataclass(frozen=True)
class Known:
    """What the rules may look at, for one threshold in one sample.

    Parameters
    ----------
    values
        The marker in the threshold's population, arcsinh units (cells,).
    negatives
        The marker in the known negatives of the same tube, or None where the rule names none.
    reference
        The marker in the cells of the same tube that a quantile is taken of, or None.
    controls
        Control tube to the marker in its cells of the same population.
    others
        Numbers of this threshold in other samples; None where they are not known (yet), empty where there are none.
    """

    values: NDArray[Any]
    negatives: NDArray[Any] | None = None
    reference: NDArray[Any] | None = None
    controls: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    others: Sequence[float] | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a rule found.

    Parameters
    ----------
    value
        The number, arcsinh units.
    confidence
        0 to 1; None where it follows from the resamples: the share of them in which the rate of the rule is met
        within a factor of two.
    note
        What is worth knowing.
    found_in, n_cells
        The cells that were looked at, where they are not those of the threshold's population.
    reference
        What known negatives say.
    resample
        Returns the number in `DRAWS` bootstrap samples of those cells, NaN where a sample has none.
    rate, rate_at
        The share of the cells that the rule wants above the number, and what that share is at any number.
    """

    value: float
    confidence: float | None = None
    note: str = ""
    found_in: str = ""
    n_cells: int | None = None
    reference: Reference | None = None
    resample: Callable[[np.random.Generator], Floats] | None = None
    rate: float = float("nan")
    rate_at: Callable[[float], float] | None = None


class Nothing(Exception):
    """A rule finds no number; the text says why, and `resample` what it would find in samples of the cells."""

    def __init__(self, text: str, resample: Callable[[np.random.Generator], Floats] | None = None) -> None:
        super().__init__(text)
        self.resample = resample


def carry_out(rule: Rule, known: Known, threshold: Threshold) -> Outcome:
    """Return what a rule finds; `Nothing` where it finds no number."""
    if isinstance(rule, Valley):
        return _valley(rule, known)
    if isinstance(rule, Mixture):
        return _mixture(rule, known)
    if isinstance(rule, (UpperLimit, LowerLimit)):
        return _limit(rule, known)
    if isinstance(rule, Negatives):
        return _negatives(rule, known, threshold)
    if isinstance(rule, Quantile):
        return _quantile(rule, known, threshold)
    if isinstance(rule, OtherSamples):
        return _other_samples(known)
    raise GateError(f"there is no way to carry out a rule of type {type(rule).__name__}")


def range_of(rule: Rule) -> str:
    """Say in which range the number must lie."""
    low = "-inf" if rule.low is None else f"{rule.low:g}"
    high = "inf" if rule.high is None else f"{rule.high:g}"
    return f"{low} to {high}"


def count_above(values: NDArray[Any], number: float) -> int:
    """Count the cells at or above a number."""
    return int(np.count_nonzero(values >= float(number)))


def tubes_for(rule: Rule, known: Known, threshold: Threshold) -> dict[str, NDArray[Any]]:
    """Return the control tubes that a rule looks at: those it names, or those that no rule of the threshold names."""
    if isinstance(rule, Quantile) and rule.sample is not None:
        return {rule.sample: known.controls[rule.sample]} if rule.sample in known.controls else {}
    if isinstance(rule, Negatives) and rule.controls == "off":
        return {}
    named = threshold.named_tubes()
    return {tube: values for tube, values in known.controls.items() if tube not in named}


def _require(values: NDArray[Any], rule: Rule, what: str = "cells") -> None:
    if values.size < rule.min_cells:
        raise Nothing(f"{values.size:,} {what}, and at least {rule.min_cells:,} are needed")


def _valley(rule: Valley, known: Known) -> Outcome:
    from cytocar._core.density import find_valley
    from cytocar.gate._thresholds.valley_spread import resampled_valley

    _require(known.values, rule)
    valley = find_valley(known.values, low=rule.low, high=rule.high)

    def resample(rng: np.random.Generator) -> Floats:
        return resampled_valley(
            known.values, rng, DRAWS, low=rule.low, high=rule.high, min_confidence=rule.min_confidence
        )

    if valley is None:
        raise Nothing(f"the density has no valley in the range {range_of(rule)}", resample)
    _require_confidence(rule, valley.value, float(valley.confidence), "the best valley", resample)
    return Outcome(valley.value, float(valley.confidence), resample=resample)


def _mixture(rule: Mixture, known: Known) -> Outcome:
    from cytocar.gate._thresholds.mixture import fit_mixture, resampled_mixture

    _require(known.values, rule)
    fitted = fit_mixture(known.values)
    if fitted is None:
        raise Nothing("one hump describes the cells as well as two")

    def resample(rng: np.random.Generator) -> Floats:
        return resampled_mixture(fitted, rng, DRAWS, min_confidence=rule.min_confidence)

    _require_confidence(rule, fitted.value, fitted.confidence, "the border of two humps", resample)
    return Outcome(fitted.value, fitted.confidence, resample=resample)


def _require_confidence(
    rule: Valley | Mixture,
    value: float,
    confidence: float,
    what: str,
    resample: Callable[[np.random.Generator], Floats],
) -> None:
    if confidence < rule.min_confidence:
        raise Nothing(
            f"{what}, at {value:.2f}, has a confidence of {confidence:.2f}, and {rule.min_confidence:g} is needed",
            resample,
        )


def _limit(rule: UpperLimit | LowerLimit, known: Known) -> Outcome:
    from cytocar.gate._thresholds.tail import EDGE, edge_quantile
    from cytocar.gate._thresholds.tail_spread import resampled_edge

    _require(known.values, rule)
    sign = 1.0 if isinstance(rule, UpperLimit) else -1.0
    values = known.values if sign > 0 else -known.values
    value = edge_quantile(values, rule.rate)
    inner, outer = (float(q) for q in np.quantile(np.asarray(values, dtype=np.float64), EDGE))
    per_unit = np.log((1.0 - EDGE[0]) / (1.0 - EDGE[1])) / max(outer - inner, 1e-9)

    def rate_at(number: float) -> float:
        return float(rule.rate * np.exp((value - sign * number) * per_unit))

    return Outcome(
        sign * value,
        resample=lambda rng: sign * resampled_edge(values, rule.rate, rng, DRAWS),
        rate=rule.rate,
        rate_at=rate_at,
    )


def _other_samples(known: Known) -> Outcome:
    if not known.others:
        raise Nothing("no other sample has a number of its own")
    numbers = np.asarray(known.others, dtype=np.float64)
    value = float(np.median(numbers))
    return Outcome(
        value,
        # What a further sample would do is never sure: as if one more had been seen that does not agree.
        int(np.count_nonzero(np.abs(numbers - value) <= NEAR)) / (numbers.size + 1),
        f"median of {numbers.size} other samples",
        resample=lambda _: numbers,
    )


@dataclass(frozen=True, eq=False)
class _Far:
    """A far quantile of some cells, and what it rests on."""

    value: float
    extrapolated: bool
    rate_at: Callable[[float], float]
    resample: Callable[[np.random.Generator], Floats]


def _far(values: NDArray[Any], rate: float) -> _Far | None:
    """Return the value that a share `rate` of the cells exceeds; None where too few of them are above 0."""
    from cytocar.gate._thresholds.tail import EMPIRICAL_FROM, tail_of
    from cytocar.gate._thresholds.tail_spread import resampled_order, resampled_tail

    if values.size * rate >= EMPIRICAL_FROM or rate > 1.0 - _TAIL_FROM:
        ordered = np.sort(np.asarray(values, dtype=np.float64))

        def counted(number: float) -> float:
            return 1.0 - float(np.searchsorted(ordered, number, side="left")) / ordered.size

        def above_ties(number: float) -> float:
            # Cells that share one value, as zeros do, are below the number: at it, all of them would be positive.
            return number + _STEP if counted(number) > 2.0 * rate else number

        def resample(rng: np.random.Generator) -> Floats:
            return np.array(
                [above_ties(n) for n in resampled_order(ordered, (1.0 - rate,), rng, DRAWS)[:, 0]]
            )

        return _Far(above_ties(float(np.quantile(ordered, 1.0 - rate))), False, counted, resample)
    if np.count_nonzero(values > 0) < _NEEDED_ABOVE_ZERO:
        return None
    fitted = tail_of(values)
    return _Far(
        fitted.quantile(rate),
        True,
        fitted.share_above,
        lambda rng: resampled_tail(fitted, rate, rng, DRAWS),
    )


def _in_tubes(
    tubes: Mapping[str, NDArray[Any]], rate: float, min_cells: int
) -> tuple[dict[str, _Far], dict[str, NDArray[Any]]]:
    """Return the far quantile of each tube that has enough cells, and the cells of these tubes."""
    found = {}
    for source, values in tubes.items():
        far = _far(values, rate) if values.size >= min_cells else None
        if far is not None:
            found[source] = far
    return found, {source: tubes[source] for source in found}


def _highest(found: Mapping[str, _Far]) -> tuple[str, Callable[[np.random.Generator], Floats]]:
    """Return the tube that asks for the highest number, and how the highest number of all moves."""
    source = max(found, key=lambda name: found[name].value)

    def resample(rng: np.random.Generator) -> Floats:
        return np.asarray(np.max([far.resample(rng) for far in found.values()], axis=0))

    return source, resample


def _negatives(rule: Negatives, known: Known, threshold: Threshold) -> Outcome:
    own = known.negatives
    tubes = tubes_for(rule, known, threshold)
    if rule.controls == "only" and not tubes:
        raise Nothing("the strategy wants control tubes, and there are none")
    rate = rule.false_positive_rate
    named = {f"control {tube}": values for tube, values in tubes.items()}
    found, cells_of = _in_tubes(named, rate, rule.min_cells)
    from_own, own_cells = _in_tubes({} if own is None else {SAME_TUBE: own}, rate, rule.min_cells)
    if not found and (rule.controls == "only" or not from_own):
        counts = [f"{values.size:,} in control {tube}" for tube, values in tubes.items()]
        counts += [f"{own.size:,} in the same tube"] if own is not None and rule.controls != "only" else []
        raise Nothing(
            f"known negatives are too few ({', '.join(counts) or 'none'}; {rule.min_cells:,} are needed, "
            f"{_NEEDED_ABOVE_ZERO} of them above 0)"
        )
    notes = []
    if found:
        # It has to hold in every control tube: those that stain less must not water down the one that stains most.
        source, resample = _highest(found)
        notes.append(f"from {source}, whose staining may differ")
        rest = {name: far for name, far in {**found, **from_own}.items() if name != source}
        if rest:
            notes.append(", ".join(f"{name} would give {far.value:.2f}" for name, far in rest.items()))
        far, cells = found[source], cells_of[source]
    else:
        source, resample = _highest(from_own)
        notes += ["the control tubes have too few cells"] if tubes else []
        far, cells = from_own[source], own_cells[source]
    if far.extrapolated:
        notes.append(f"tail of {cells.size:,} negatives extrapolated to {rate:g}")
    value = round(far.value, 4)
    return Outcome(
        value,
        None,
        "; ".join(notes),
        found_in=source if found else rule.cells(),
        n_cells=int(cells.size),
        reference=Reference(int(cells.size), count_above(cells, value), rate, source),
        resample=resample,
        rate=rate,
        rate_at=far.rate_at,
    )


def _quantile(rule: Quantile, known: Known, threshold: Threshold) -> Outcome:
    word = "FMO tube" if rule.kind == "fmo" else "reference"
    if rule.sample is not None or rule.role is not None:
        tubes = tubes_for(rule, known, threshold)
        if not tubes:
            which = f"tube {rule.sample!r}" if rule.sample is not None else f"tube of role {rule.role!r}"
            raise Nothing(f"there is no {which} among the control tubes")
    else:
        tubes = {} if known.reference is None else {rule.cells(): known.reference}
    rate = 1.0 - rule.quantile
    found, cells_of = _in_tubes(tubes, rate, rule.min_cells)
    if not found:
        counts = ", ".join(f"{values.size:,} in {tube}" for tube, values in tubes.items())
        raise Nothing(
            f"the {word} has too few cells ({counts or 'none'}; {rule.min_cells:,} are needed, and "
            f"{_NEEDED_ABOVE_ZERO} of them above 0 for a quantile far out)"
        )
    source, resample = _highest(found)
    far, cells = found[source], cells_of[source]
    notes = [f"quantile {rule.quantile:g} of {source}"]
    rest = {name: other for name, other in found.items() if name != source}
    if rest:
        notes.append(", ".join(f"{name} would give {other.value:.2f}" for name, other in rest.items()))
    if far.extrapolated:
        notes.append(f"tail of {cells.size:,} cells extrapolated to {rate:.2g}")
    return Outcome(
        far.value,
        None,
        "; ".join(notes),
        found_in=source,
        n_cells=int(cells.size),
        resample=resample,
        rate=rate,
        rate_at=far.rate_at,
    )
