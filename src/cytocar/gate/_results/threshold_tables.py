"""The thresholds that were found, their densities, and what known negatives say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar.gate._results.ledger import gating, strategy_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


THRESHOLDS = [
    keys.SAMPLE,
    "name",
    "marker",
    "value",
    "rule",
    "confidence",
    "spread",
    "low",
    "high",
    "found_in",
    "n_cells",
    "pinned",
    "fallback",
    "note",
]


_NUMBERS = ("confidence", "spread", "low", "high")


DENSITIES = [keys.SAMPLE, "name", "marker", "x", "density"]


REFERENCE = [
    keys.SAMPLE,
    "n_negative",
    "n_negative_above",
    "false_positive_rate",
    "source",
    "name",
    "n_divided",
    "expected_false_positives",
]


def _found(adata: AnnData) -> Iterator[tuple[str, dict[str, Any]]]:
    for sample, of_sample in gating(adata)["samples"].items():
        for entry in of_sample["thresholds"]:
            yield sample, entry


def thresholds(adata: AnnData) -> pd.DataFrame:
    """Return every threshold of every sample with how it was found.

    Parameters
    ----------
    adata
        Gated by `apply`.

    Returns
    -------
    DataFrame [sample_id, name, marker, value, rule, confidence, spread, low, high, found_in, n_cells, pinned,
    fallback, note]. `value` is in arcsinh units; `spread`, `low` and `high` are the standard deviation and the 95 %
    range of the number over 100 bootstrap samples of the cells that it was found in (NaN where it was stated), and
    `confidence` is 0 to 1. `pinned` numbers were stated; `fallback` numbers come from a rule that the
    strategy takes only when its first rule finds nothing. A marker that is optional and missing has a row whose
    `rule` is ``"left out"``.

    Raises
    ------
    GateError
        `apply` has not run.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> found = cc.gate.thresholds(adata).set_index("name")
    >>> found.loc[["CD3", "VHH"], "rule"].tolist()
    ['valley', 'negatives']
    """
    import pandas as pd

    rows = []
    for sample, entry in _found(adata):
        row = {key: entry[key] for key in THRESHOLDS[1:]}
        row |= {key: np.nan for key in _NUMBERS if row[key] is None}
        rows.append({keys.SAMPLE: sample, **row})
    kept = gating(adata)
    for marker, names in kept["left_out"].items():
        for sample in kept["samples"]:
            for name in names:
                note = f"marker {marker} is not in the panel; every {name}+ and {name}- is left out"
                row = {"name": name, "marker": marker, "value": np.nan, "rule": "left out", "note": note}
                row |= {
                    **dict.fromkeys(_NUMBERS, np.nan),
                    "found_in": "",
                    "n_cells": 0,
                    "pinned": False,
                    "fallback": False,
                }
                rows.append({keys.SAMPLE: sample, **row})
    return pd.DataFrame(rows, columns=THRESHOLDS)


def densities(adata: AnnData) -> pd.DataFrame:
    """Return for every threshold the density of the cells that it divides.

    Parameters
    ----------
    adata
        Gated by `apply`.

    Returns
    -------
    DataFrame [sample_id, name, marker, x, density], 200 rows a threshold; `x` in arcsinh units.

    Raises
    ------
    GateError
        `apply` has not run.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> cc.gate.densities(adata).groupby("name").size()["CD4"].item()
    200
    """
    import pandas as pd

    parts = [
        pd.DataFrame(
            {
                keys.SAMPLE: sample,
                "name": entry["name"],
                "marker": entry["marker"],
                "x": np.asarray(entry["grid"], dtype=np.float64),
                "density": np.asarray(entry["density"], dtype=np.float64),
            }
        )
        for sample, entry in _found(adata)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=DENSITIES)


def reference_counts(adata: AnnData) -> pd.DataFrame:
    """Return how many cells known to be negative lie above the threshold of a rare population.

    Parameters
    ----------
    adata
        Gated by `apply`.

    Returns
    -------
    DataFrame with a row for each sample and each threshold of the rule `negatives`: sample_id, n_negative,
    n_negative_above, false_positive_rate (as stated in the strategy, or as counted where the number was stated),
    source (``same tube`` or the control tube), name, n_divided (cells that the threshold divides) and
    expected_false_positives (n_divided x false_positive_rate).

    Raises
    ------
    GateError
        `apply` has not run.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> reference = cc.gate.reference_counts(adata)
    >>> reference[["false_positive_rate", "source"]].values.tolist()
    [[7e-05, 'same tube']]
    """
    import pandas as pd

    strategy = strategy_of(adata)
    counts = {sample: of_sample["counts"] for sample, of_sample in gating(adata)["samples"].items()}
    rows = []
    for sample, entry in _found(adata):
        reference = entry["reference"]
        if reference is None:
            continue
        divided = counts[sample][strategy.as_thresholds().thresholds[entry["name"]].population]
        rows.append(
            (
                sample,
                reference["n_negative"],
                reference["n_above"],
                reference["rate"],
                reference["source"],
                entry["name"],
                divided,
                divided * reference["rate"],
            )
        )
    return pd.DataFrame(rows, columns=REFERENCE)
