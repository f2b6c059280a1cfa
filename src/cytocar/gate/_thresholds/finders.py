"""From a rule and the cells to a number: how each kind of threshold is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError
from cytocar.gate._thresholds.rules import (
    LowerLimit,
    Negatives,
    OtherSamples,
    Rule,
    Threshold,
    UpperLimit,
    Valley,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID = 200
"""Points of the density that is kept for each threshold."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_NEEDED_ABOVE_ZERO = 50


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
class Reference:
    """Cells known to be negative, and how many of them lie at or above the threshold."""

    n_negative: int
    n_above: int
    rate: float
    source: str


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
        0 to 1 for a valley; NaN for rules that have none.
    found_in, n_cells
        The cells that were looked at.
    fallback
        Whether it came from a fallback and not from the rule that the strategy prefers.
    grid, density
        What the cells look like: 200 points.
    """

    name: str
    marker: str
    value: float
    rule: str
    confidence: float = float("nan")
    found_in: str = ""
    n_cells: int = 0
    pinned: bool = False
    fallback: bool = False
    note: str = ""
    grid: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    density: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    reference: Reference | None = None


@dataclass(frozen=True)
class Known:
    """What the rules may look at, for one threshold in one sample.

    Parameters
    ----------
    values
        The marker in the threshold's population, arcsinh units (cells,).
    negatives
        The marker in the known negatives of the same tube, or None where the rule names none.
    controls
        Control tube to the marker in its cells of the same population.
    others
        Numbers of this threshold in other samples; None where they are not known (yet), empty where there are none.
    """

    values: NDArray[Any]
    negatives: NDArray[Any] | None = None
    controls: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    others: Sequence[float] | None = None


class _Nothing(Exception):
    """A rule finds no number; the text says why."""


def find(threshold: Threshold, known: Known, sample: str) -> Found:
    """Return the number of a threshold in one sample: stated, by its rule, or by a fallback of the strategy.

    Raises
    ------
    ThresholdNotFound
        With the reason of every rule tried, the density as a picture, and how to state the number instead.
    """
    grid, density = _density(known.values)
    common = {"name": threshold.name, "marker": threshold.marker, "grid": grid, "density": density}
    in_population = {"found_in": threshold.population, "n_cells": int(known.values.size)}
    stated = threshold.pinned(sample)
    if stated is not None:
        reference = _pinned_reference(threshold, known, stated)
        return Found(value=stated, rule="value", pinned=True, reference=reference, **in_population, **common)  # type: ignore[arg-type]  # the two mappings hold fields of Found
    reasons: list[str] = []
    for rule in threshold.rules():
        if isinstance(rule, OtherSamples) and known.others is None:
            # Not yet known is not the same as none: no further fallback is taken in the place of this one.
            reasons.append("other samples: their numbers are not known here")
            break
        try:
            result = _apply(rule, known)
            _check_range(rule, result["value"])
        except _Nothing as nothing:
            reasons.append(f"{rule.kind.replace('_', ' ')}: {nothing}")
            continue
        notes = [*(f"no {reason}" for reason in reasons), result.pop("note", "")]
        result["value"] = round(float(result["value"]), 4)
        fields: dict[str, Any] = {**common, **in_population, **result, "note": "; ".join(filter(None, notes))}
        return Found(rule=rule.kind, fallback=bool(reasons), **fields)
    raise _not_found(threshold, known, sample, reasons or ["no number is stated for this sample"])


def _check_range(rule: Rule, value: float) -> None:
    if (rule.low is not None and value < rule.low) or (rule.high is not None and value > rule.high):
        raise _Nothing(
            f"it would be {value:.2f}, outside the range of {_range(rule)} that the strategy allows"
        )


def _range(rule: Rule) -> str:
    low = "-inf" if rule.low is None else f"{rule.low:g}"
    high = "inf" if rule.high is None else f"{rule.high:g}"
    return f"{low} to {high}"


def _require(values: NDArray[Any], rule: Rule, what: str = "cells") -> None:
    if values.size < rule.min_cells:
        raise _Nothing(f"{values.size:,} {what}, and at least {rule.min_cells:,} are needed")


def _apply(rule: Rule, known: Known) -> dict[str, Any]:
    """Return the fields of `Found` that a rule decides; `_Nothing` where it decides none."""
    if isinstance(rule, Valley):
        return _valley(rule, known)
    if isinstance(rule, UpperLimit):
        from cytocar.gate._thresholds.tail import edge_quantile

        _require(known.values, rule)
        return {"value": edge_quantile(known.values, rule.rate)}
    if isinstance(rule, LowerLimit):
        from cytocar.gate._thresholds.tail import edge_quantile

        _require(known.values, rule)
        return {"value": -edge_quantile(-known.values, rule.rate)}
    if isinstance(rule, Negatives):
        return _negatives(rule, known)
    if isinstance(rule, OtherSamples):
        if not known.others:
            raise _Nothing("no other sample has a number of its own")
        return {
            "value": float(np.median(known.others)),
            "note": f"median of {len(known.others)} other samples",
        }
    raise GateError(f"there is no way to carry out a rule of type {type(rule).__name__}")


def _valley(rule: Valley, known: Known) -> dict[str, Any]:
    from cytocar._core.density import find_valley

    _require(known.values, rule)
    valley = find_valley(known.values, low=rule.low, high=rule.high)
    if valley is None:
        raise _Nothing(f"the density has no valley in the range {_range(rule)}")
    if valley.confidence < rule.min_confidence:
        raise _Nothing(
            f"the best valley, at {valley.value:.2f}, has a confidence of {valley.confidence:.2f}, "
            f"and {rule.min_confidence:g} is needed"
        )
    return {"value": valley.value, "confidence": float(valley.confidence)}


def _negatives(rule: Negatives, known: Known) -> dict[str, Any]:
    from cytocar.gate._thresholds.tail import upper_quantile

    own = known.negatives
    tubes = known.controls if rule.controls != "off" else {}
    if rule.controls == "only" and not tubes:
        raise _Nothing("the strategy wants control tubes, and there are none")
    numbers: dict[str, tuple[float, bool]] = {}
    for source, values in {**{f"control {tube}": v for tube, v in tubes.items()}, "same tube": own}.items():
        if values is None or values.size < rule.min_cells:
            continue
        if np.count_nonzero(values > 0) >= _NEEDED_ABOVE_ZERO:
            numbers[source] = upper_quantile(values, rule.false_positive_rate)
    from_controls = {source: number for source, number in numbers.items() if source != "same tube"}
    if not from_controls and (rule.controls == "only" or "same tube" not in numbers):
        counts = [f"{values.size:,} in control {tube}" for tube, values in tubes.items()]
        counts += [f"{own.size:,} in the same tube"] if own is not None and rule.controls != "only" else []
        raise _Nothing(
            f"known negatives are too few ({', '.join(counts) or 'none'}; {rule.min_cells:,} are needed, "
            f"{_NEEDED_ABOVE_ZERO} of them above 0)"
        )
    notes = []
    if from_controls:
        # It has to hold in every control tube: those that stain less must not water down the one that stains most.
        source = max(from_controls, key=lambda name: from_controls[name][0])
        notes.append(f"from {source}, whose staining may differ")
        rest = {name: number for name, number in numbers.items() if name != source}
        if rest:
            notes.append(", ".join(f"{name} would give {number[0]:.2f}" for name, number in rest.items()))
        cells = tubes[source.removeprefix("control ")]
    else:
        source = "same tube"
        notes += ["the control tubes have too few cells"] if tubes else []
        cells = own if own is not None else np.empty(0)
    value, extrapolated = numbers[source]
    if extrapolated:
        notes.append(f"tail of {cells.size:,} negatives extrapolated to {rule.false_positive_rate:g}")
    value = round(value, 4)
    reference = Reference(int(cells.size), _count_above(cells, value), rule.false_positive_rate, source)
    return {
        "value": value,
        "found_in": source if from_controls else _name_of_negatives(rule),
        "n_cells": int(cells.size),
        "reference": reference,
        "note": "; ".join(notes),
    }


def _name_of_negatives(rule: Negatives) -> str:
    return " ".join([rule.population or "", *map(str, rule.gate)]).strip()


def _count_above(values: NDArray[Any], number: float) -> int:
    return int(np.count_nonzero(values >= float(number)))


def _pinned_reference(threshold: Threshold, known: Known, number: float) -> Reference | None:
    """Count known negatives at a stated number too: the rate is then what they show, not what was wanted."""
    if not isinstance(threshold.rule, Negatives):
        return None
    rule = threshold.rule
    tubes = {f"control {t}": v for t, v in known.controls.items()} if rule.controls != "off" else {}
    if rule.controls != "only" and known.negatives is not None and not tubes:
        tubes["same tube"] = known.negatives
    tubes = {source: values for source, values in tubes.items() if values.size}
    if not tubes:
        return None
    share = {source: _count_above(values, number) / values.size for source, values in tubes.items()}
    source = max(share, key=lambda name: share[name])
    values = tubes[source]
    return Reference(int(values.size), _count_above(values, number), share[source], source)


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
