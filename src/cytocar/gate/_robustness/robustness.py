"""How much the headline numbers depend on where each threshold lies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar.gate._robustness.headline import (
    CarRate,
    Counter,
    GatedSample,
    Measure,
    gated_samples,
    measures_of,
    number_or_nan,
    percent,
    thresholds_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

ROBUSTNESS = [
    keys.SAMPLE,
    "measure",
    "threshold",
    "marker",
    "value_low",
    "value_found",
    "value_high",
    "result_low",
    "result",
    "result_high",
    "expected_false_low",
    "expected_false",
    "expected_false_high",
]


def robustness(
    adata: AnnData,
    *,
    measures: Mapping[str, tuple[str, str]] | None = None,
    shift: float | None = None,
) -> pd.DataFrame:
    """Move each threshold within its uncertainty, the others fixed, and return what becomes of the headline numbers.

    Counts are made anew over all events for each end of the 95 % range that `thresholds` states.

    Parameters
    ----------
    adata
        Gated by `apply`, all events.
    measures
        Name to (population, population it is a share of). None: CAR-T cells of the denominator, and double negative
        cells of the CAR-T cells, where the strategy has them.
    shift
        Move every threshold by this much, in arcsinh units, down and up, in place of its own range; stated numbers
        have no range of their own.

    Returns
    -------
    DataFrame [sample_id, measure, threshold, marker, value_low, value_found, value_high, result_low, result,
    result_high, expected_false_low, expected_false, expected_false_high], one row per measure and threshold
    that it depends on and that has a range. `result_low` is the measure in per cent with the threshold at
    `value_low`, which may well be the larger one. `expected_false` is how many cells without the CAR are expected
    above the CAR threshold; NaN where no known negatives tell.

    Raises
    ------
    GateError
        `apply` has not run, or events are missing.
    ParameterError
        A measure names an unknown population, or `shift` is not above 0.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> table = cc.gate.robustness(adata)
    >>> sorted(set(table["measure"]))
    ['CAR-T % of CD45+', 'DN % of CAR-T']
    """
    import pandas as pd

    if shift is not None and not (math.isfinite(shift) and shift > 0):
        raise ParameterError(f"shift is {shift}", fix="it must be above 0, in arcsinh units")
    rows: list[dict[str, Any]] = []
    for sample in gated_samples(adata):
        rows += _rows(sample, measures_of(sample.tree, measures), shift)
    return pd.DataFrame(rows, columns=ROBUSTNESS)


def _rows(sample: GatedSample, measures: tuple[Measure, ...], shift: float | None) -> list[dict[str, Any]]:
    car = CarRate.of(sample)
    counter = car.counter(sample, measures)
    as_found = counter.counts(sample.numbers)
    moves = {
        name: move
        for name in counter.thresholds
        if (move := _move(sample, counter, name, shift, car)) is not None
    }
    return [
        {
            keys.SAMPLE: sample.name,
            "measure": measure.name,
            "threshold": name,
            "marker": sample.found[name]["marker"],
            "value_found": sample.numbers[name],
            "result": percent(as_found[measure.population], as_found[measure.of]),
            "expected_false": car.expected_false(as_found, car.rate),
            **moves[name].low.columns("_low", measure, car),
            **moves[name].high.columns("_high", measure, car),
        }
        for measure in measures
        for name in thresholds_of(sample.tree, (measure.population, measure.of))
        if name in moves
    ]


@dataclass(frozen=True)
class _End:
    """One end of the range of a threshold: the number, what is counted there, the share of known negatives above it."""

    number: float
    counts: dict[str, int]
    rate: float

    def columns(self, suffix: str, measure: Measure, car: CarRate) -> dict[str, float]:
        """Return what a row says of this end."""
        return {
            f"value{suffix}": self.number,
            f"result{suffix}": percent(self.counts[measure.population], self.counts[measure.of]),
            f"expected_false{suffix}": car.expected_false(self.counts, self.rate),
        }


class _Move(NamedTuple):
    """A threshold at both ends of its range, the others fixed."""

    low: _End
    high: _End


def _move(
    sample: GatedSample, counter: Counter, name: str, shift: float | None, car: CarRate
) -> _Move | None:
    """Return the counts at both ends of the range of a threshold; None where it has no range."""
    entry, number = sample.found[name], sample.numbers[name]
    ends = (
        (number - shift, number + shift)
        if shift
        else (number_or_nan(entry["low"]), number_or_nan(entry["high"]))
    )
    if not all(map(math.isfinite, ends)):
        return None
    # A stated shift is not the range for which the rates are known.
    of_car = (math.nan, math.nan) if shift else (car.low, car.high)
    rates = of_car if name == car.threshold else (car.rate, car.rate)
    low, high = (
        _End(end, counter.counts({**sample.numbers, name: end}), rate)
        for end, rate in zip(ends, rates, strict=True)
    )
    return _Move(low, high)
