"""What gating found, as tidy tables: where every event went, every threshold, every density, every biaxial."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, ParameterError, did_you_mean
from cytocar.gate._documents.tree import BETWEEN, DocumentTree, Strategy
from cytocar.gate._events import marker_values, rows_by_sample
from cytocar.gate._tree import ROOT, GateTree
from cytocar.panel.names import marker_key

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.gate._evaluate import Mask

EVENTS = "events"
"""The first row of the ledger: everything in the file."""

# What the clean-up takes away, in the words of the ledger.
_REMOVED = {
    "bead": "beads",
    "cell_bead": "cells with bead",
    "debris": "debris",
    "doublet": "doublets",
    "dead": "dead cells",
    "unstable": "unstable stretches",
}

LEDGER = [
    keys.SAMPLE,
    "order",
    "population",
    "parent",
    "events",
    "fraction_of_parent",
    "fraction_of_cd45",
    "fraction_of_all",
    "path",
]
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
PLOTS = [keys.SAMPLE, "plot", "parent", "x_marker", "y_marker", "x", "y", "n"]
OUTLINES = [keys.SAMPLE, "plot", "population", "line", "x", "y"]
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

# The same bins for all samples, so that their pictures can be laid side by side: 0 to about 12,000 counts.
PLOT_RANGE = (-0.5, 8.5)


def gating(adata: AnnData) -> dict[str, Any]:
    """Return what `apply` kept, or raise `GateError` where it has not run."""
    text = adata.uns.get(keys.UNS, {}).get(keys.GATING)
    if text is None:
        raise GateError("these data are not gated; run cytocar.gate.apply first")
    found: dict[str, Any] = json.loads(text)
    return found


@functools.lru_cache(maxsize=4)
def _tree(text: str) -> Strategy:
    # Reading YAML takes as long as gating; a tree does not change.
    return DocumentTree.from_text(text) if text.startswith("<?xml") else GateTree.from_yaml(text)


def strategy_of(adata: AnnData) -> Strategy:
    """Return the strategy that was applied, as it fitted these data, with stated numbers in it.

    Parameters
    ----------
    adata
        Gated by `apply`.

    Returns
    -------
    `GateTree` without the thresholds of optional markers that the panel does not have; `DocumentTree` where the
    gates are shapes.

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
    >>> cc.gate.strategy_of(adata) == cc.gate.car_t()
    True
    """
    return _tree(gating(adata)["strategy"])


def table(adata: AnnData) -> pd.DataFrame:
    """Return the ledger: how many events each step of gating left, and what the clean-up took before.

    Parameters
    ----------
    adata
        Gated by `apply`. Counts are those of gating, also when `adata` is a subset of what was gated.

    Returns
    -------
    DataFrame [sample_id, order, population, parent, events, fraction_of_parent, fraction_of_cd45, fraction_of_all,
    path]. The first row of a sample is ``events`` (all events), then what the clean-up removed, then ``cells`` and
    the populations in the order of the strategy. ``fraction_of_cd45`` is of the strategy's denominator, and empty
    (NaN) for populations that are not within it; ``fraction_of_all`` is of all events. ``path`` is names from the
    top down to the population, with ``/`` between.

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
    >>> table = cc.gate.table(adata).set_index("population")
    >>> table.loc[["CAR-T", "Host T"], "parent"].tolist()
    ['T cells', 'T cells']
    """
    import pandas as pd

    kept = gating(adata)
    tree = _tree(kept["strategy"])
    parents = {ROOT: EVENTS, **{population.name: population.parent for population in tree.expanded()}}
    paths = _paths(tree)
    rows: list[tuple[Any, ...]] = []
    for sample, found in kept["samples"].items():
        counts = {EVENTS: found["events"], **found["counts"]}
        removed = found["removed"]
        order = [name for name in _REMOVED if name in removed]
        order += sorted(set(removed) - set(order))
        steps = [(EVENTS, "", found["events"])]
        steps += [(_REMOVED.get(name, name), EVENTS, removed[name]) for name in order]
        steps += [(name, parents[name], counts[name]) for name in found["counts"]]
        whole = counts[tree.denominator]
        for number, (name, parent, n) in enumerate(steps):
            of_parent = n / counts[parent] if parent and counts[parent] else (1.0 if not parent else np.nan)
            inside = _within(name, tree.denominator, parents)
            of_whole = n / whole if inside and whole else np.nan
            of_all = n / found["events"] if found["events"] else np.nan
            path = "/".join(paths.get(name, (name,)))
            rows.append((sample, number, name, parent, n, of_parent, of_whole, of_all, path))
    return pd.DataFrame(rows, columns=LEDGER)


def _paths(tree: Strategy) -> dict[str, tuple[str, ...]]:
    """Return name of each population to the names from the top down to it."""
    if isinstance(tree, DocumentTree):
        return {one.name: one.path for one in tree.expanded()}
    parents = {one.name: one.parent for one in tree.expanded()}
    found: dict[str, tuple[str, ...]] = {}
    for name in parents:
        path, above = [name], parents[name]
        while above != ROOT:
            path.append(above)
            above = parents[above]
        found[name] = tuple(path[::-1])
    return found


def column_of(adata: AnnData, population: str) -> str:
    """Return the column of ``obsm["gates"]`` that a name or a path means.

    Parameters
    ----------
    adata
        Gated by `apply`.
    population
        Name of a population, its path, or as much of the end of that as tells it from others; with ``/`` or ``>``
        between the names.
    """
    if keys.GATES not in adata.obsm:
        raise GateError("these data are not gated; run cytocar.gate.apply first")
    known = [str(name) for name in adata.obsm[keys.GATES].columns]
    if population in known:
        return population
    paths = _paths(strategy_of(adata))
    ways = [tuple(population.split(between)) for between in ("/", BETWEEN)]
    exact = [name for name, path in paths.items() if path in ways or "/".join(path) == population]
    found = exact or [name for name, path in paths.items() if any(path[-len(way) :] == way for way in ways)]
    if len(found) == 1:
        return found[0]
    if found:
        raise GateError(f"population {population!r} is one of {', '.join(map(repr, found))}; say which")
    raise GateError(f"there is no population {population!r}; {did_you_mean(population, known)}")


def _within(name: str, ancestor: str, parents: dict[str, str]) -> bool:
    while name in parents:
        if name == ancestor:
            return True
        name = parents[name]
    return False


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

    tree = strategy_of(adata)
    counts = {sample: found["counts"] for sample, found in gating(adata)["samples"].items()}
    rows = []
    for sample, entry in _found(adata):
        reference = entry["reference"]
        if reference is None:
            continue
        divided = counts[sample][tree.thresholds[entry["name"]].population]
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


def membership(adata: AnnData, population: str) -> Mask:
    """Return which events are in a population.

    Parameters
    ----------
    adata
        Gated by `apply`.
    population
        Name of a population, or its path such as ``"T cells/CAR-T"``, of which the end will do; ``"cells"`` is the
        top one.

    Returns
    -------
    Boolean array (events,).

    Raises
    ------
    GateError
        `apply` has not run, or there is no such population.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> bool((cc.gate.membership(adata, "CAR-T") <= cc.gate.membership(adata, "T cells")).all())
    True
    """
    name = column_of(adata, population)
    return np.asarray(adata.obsm[keys.GATES][name], dtype=bool)


def subset(adata: AnnData, population: str) -> AnnData:
    """Return a copy of the events of one population.

    Parameters
    ----------
    adata
        Gated by `apply`.
    population
        Name of a population, such as ``"CAR-T"`` or ``"Host T DN"``, or its path.

    Returns
    -------
    AnnData, independent of `adata`. Tables of gating (`table`, `thresholds`) still tell of all that was gated.

    Raises
    ------
    GateError
        `apply` has not run, or there is no such population.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> cars = cc.gate.subset(adata, "CAR-T")
    >>> cars.obs["compartment"].unique().tolist()
    ['car']
    """
    return adata[membership(adata, population)].copy()


def plots(adata: AnnData, *, bins: int = 64) -> pd.DataFrame:
    """Count the cells of the strategy's biaxials in two-dimensional bins.

    Parameters
    ----------
    adata
        Gated by `apply`, with the arcsinh values it was gated on.
    bins
        Bins along each side, at least 2, from -0.5 to 8.5 arcsinh units; cells beyond are counted in the last bin.

    Returns
    -------
    DataFrame [sample_id, plot, parent, x_marker, y_marker, x, y, n]: `plot` counts from 1 in the order of the
    strategy, `x` and `y` are the middles of the bins that have cells. Biaxials of markers that the panel does not
    have are left out. Gates of a document have a biaxial for each parent and pair of axes; one on a single axis is
    drawn over another axis of the document. Gates on time, event length or ratios have none.

    Raises
    ------
    GateError
        `apply` has not run.
    ParameterError
        `bins` is out of range.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> plots = cc.gate.plots(adata)
    >>> first = plots[plots["plot"] == 1]
    >>> bool(first["n"].sum() == cc.gate.membership(adata, "cells").sum())
    True
    """
    import pandas as pd

    if bins < 2:
        raise ParameterError(f"bins is {bins}; it must be at least 2")
    samples = rows_by_sample(adata, keys.SAMPLE)
    low, high = PLOT_RANGE
    step = (high - low) / bins
    parts = []
    for number, parent, (at_x, at_y), values_of in _biaxials(adata):
        inside = membership(adata, parent)
        for sample, rows in samples.items():
            mask = inside[rows]
            bin_x, bin_y = (
                np.clip(((values[mask] - low) / step).astype(np.int64), 0, bins - 1)
                for values in values_of(rows)
            )
            counts = np.bincount(bin_x * bins + bin_y, minlength=bins * bins)
            filled = np.flatnonzero(counts)
            parts.append(
                pd.DataFrame(
                    {
                        keys.SAMPLE: sample,
                        "plot": number,
                        "parent": parent,
                        "x_marker": str(adata.var_names[at_x]),
                        "y_marker": str(adata.var_names[at_y]),
                        "x": low + (filled // bins + 0.5) * step,
                        "y": low + (filled % bins + 0.5) * step,
                        "n": counts[filled],
                    }
                )
            )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=PLOTS)


def _biaxials(
    adata: AnnData,
) -> Iterator[tuple[int, str, tuple[int, int], Callable[[Any], tuple[Any, Any]]]]:
    """Yield number, parent, columns and a function from rows to the values on both axes, of each biaxial."""
    from cytocar.gate._documents.pictures import Pictures

    kept = gating(adata)
    tree = _tree(kept["strategy"])
    if isinstance(tree, DocumentTree):
        pictures = Pictures(adata, tree)
        for one in pictures:
            yield one.number, one.parent, one.positions, functools.partial(pictures.values, one)
        return
    positions = {marker_key(str(name)): i for i, name in enumerate(adata.var_names)}
    named = {marker_key(marker): marker_key(name) for marker, name in kept["markers"].items()}

    def values_of(at: dict[str, int], rows: Any) -> tuple[Any, Any]:
        found = marker_values(adata, at, rows)
        return found["x"], found["y"]

    for number, plot in enumerate(tree.plots, start=1):
        keys_xy = [named.get(marker_key(marker), marker_key(marker)) for marker in (plot.x, plot.y)]
        if all(key in positions for key in keys_xy):
            at = {axis: positions[key] for axis, key in zip("xy", keys_xy, strict=True)}
            yield number, plot.parent, (at["x"], at["y"]), functools.partial(values_of, at)


def outlines(adata: AnnData) -> pd.DataFrame:
    """Return the lines of the gates of a document, on the axes of `plots`.

    Parameters
    ----------
    adata
        Gated by `apply`.

    Returns
    -------
    DataFrame [sample_id, plot, population, line, x, y]: the points of each line in their order, in arcsinh units,
    `plot` as in `plots`. A straight side of another scale is bent here. A strategy of thresholds has no rows; its
    lines are the thresholds.

    Raises
    ------
    GateError
        `apply` has not run.

    Examples
    --------
    >>> import cytocar as cc
    >>> from cytocar.gate import Asinh, Dimension, GatingDocument, interval
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> channel = adata.var.loc["CD3", "channel"]
    >>> gate = interval("CD3+", Dimension(channel, transformation="a"), low=2.5)
    >>> cc.gate.apply(adata, GatingDocument([gate], transformations={"a": Asinh.of_cofactor(5)}))
    >>> cc.gate.outlines(adata)["x"].round(6).tolist()
    [2.5, 2.5]
    """
    import pandas as pd

    from cytocar.gate._documents.pictures import Pictures

    tree = strategy_of(adata)
    parts = []
    if isinstance(tree, DocumentTree):
        pictures = Pictures(adata, tree)
        ends = (PLOT_RANGE[0] - 1, PLOT_RANGE[1] + 1)
        for sample in rows_by_sample(adata, keys.SAMPLE):
            for one, population, lines in pictures.lines(sample, ends):
                for number, line in enumerate(lines, start=1):
                    row = {keys.SAMPLE: sample, "plot": one.number, "population": population, "line": number}
                    parts.append(pd.DataFrame({**row, "x": line[:, 0], "y": line[:, 1]}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=OUTLINES)
