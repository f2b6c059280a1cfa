"""How much the headline numbers depend on where each threshold lies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar.gate._robustness.headline import (
    Counter,
    GatedSample,
    Measure,
    gated_samples,
    measures_of,
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
    result_high, expected_false_low, expected_false, expected_false_high], a row for each measure and each threshold
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
        raise ParameterError(f"shift is {shift}; it must be above 0, in arcsinh units")
    rows: list[dict[str, Any]] = []
    for sample in gated_samples(adata):
        rows += _rows(sample, measures_of(sample.tree, measures), shift)
    return pd.DataFrame(rows, columns=ROBUSTNESS)


def _rows(sample: GatedSample, measures: tuple[Measure, ...], shift: float | None) -> list[dict[str, Any]]:
    found = sample.numbers
    car = sample.car_threshold()
    divided = sample.tree.thresholds[car].population if car else None
    wanted = [name for measure in measures for name in (measure.population, measure.of)]
    counter = Counter(sample, tuple(dict.fromkeys([*wanted, *([divided] if divided else [])])))
    as_found = counter.counts(found)
    rates = dict.fromkeys(("", "_low", "_high"), float("nan"))
    reference = sample.found[car]["reference"] if car else None
    if reference is not None:
        rates = {end: _number(reference[f"rate{end}"]) for end in rates}
    ends = {}
    for name in counter.thresholds:
        low, high = (found[name] - shift, found[name] + shift) if shift else _ends(sample.found[name])
        if math.isfinite(low) and math.isfinite(high):
            ends[name] = {
                end: (at, counter.counts({**found, name: at})) for end, at in (("_low", low), ("_high", high))
            }
    rows = []
    for measure in measures:
        for name in thresholds_of(sample.tree, (measure.population, measure.of)):
            if name not in ends:
                continue
            row: dict[str, Any] = {
                keys.SAMPLE: sample.name,
                "measure": measure.name,
                "threshold": name,
                "marker": sample.found[name]["marker"],
                "value_found": found[name],
                "result": percent(as_found[measure.population], as_found[measure.of]),
                "expected_false": rates[""] * as_found[divided] if divided else float("nan"),
            }
            for end, (at, counts) in ends[name].items():
                # A stated shift is not the range for which the rates are known.
                rate = rates[end] if name == car and not shift else rates[""] if name != car else float("nan")
                row |= {
                    f"value{end}": at,
                    f"result{end}": percent(counts[measure.population], counts[measure.of]),
                    f"expected_false{end}": rate * counts[divided] if divided else float("nan"),
                }
            rows.append(row)
    return rows


def _ends(entry: Mapping[str, Any]) -> tuple[float, float]:
    return _number(entry["low"]), _number(entry["high"])


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
