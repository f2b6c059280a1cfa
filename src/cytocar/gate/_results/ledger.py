"""What gating found, as tidy tables: where every event went, every threshold, every density, every biaxial."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, did_you_mean
from cytocar._core.vocabulary import BEAD, CELL_BEAD, DEAD, DEBRIS, DOUBLET
from cytocar.gate._documents.shape_strategy import BETWEEN
from cytocar.gate._exchange.stored import strategy_from
from cytocar.gate._populations.parts import ROOT

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.gate._populations.evaluate import Mask
    from cytocar.gate._strategy.strategy import Strategy

EVENTS = "events"
"""The first row of the ledger: everything in the file."""

# What the clean-up takes away, in the words of the ledger.
_REMOVED = {
    BEAD: "beads",
    CELL_BEAD: "cells with bead",
    DEBRIS: "debris",
    DOUBLET: "doublets",
    DEAD: "dead cells",
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


def gating(adata: AnnData) -> dict[str, Any]:
    """Return what `apply` kept, or raise `GateError` where it has not run."""
    text = adata.uns.get(keys.UNS, {}).get(keys.GATING)
    if text is None:
        raise GateError("these data are not gated", fix="run cytocar.gate.apply first")
    kept: dict[str, Any] = json.loads(text)
    return kept


def strategy_of(adata: AnnData) -> Strategy:
    """Return the strategy that was applied, as it fitted these data, with pinned numbers in it.

    Parameters
    ----------
    adata
        Gated by `apply`.

    Returns
    -------
    `GateTree` without the thresholds of optional markers that the panel does not have; `ShapeStrategy` where the
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
    return strategy_from(gating(adata)["strategy"])


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
    strategy = strategy_from(kept["strategy"])
    parents = {ROOT: EVENTS, **{population.name: population.parent for population in strategy.expanded()}}
    paths = strategy.paths()
    rows: list[tuple[Any, ...]] = []
    for sample, of_sample in kept["samples"].items():
        counts = {EVENTS: of_sample["events"], **of_sample["counts"]}
        removed = of_sample["removed"]
        order = [name for name in _REMOVED if name in removed]
        order += sorted(set(removed) - set(order))
        steps = [(EVENTS, "", of_sample["events"])]
        steps += [(_REMOVED.get(name, name), EVENTS, removed[name]) for name in order]
        steps += [(name, parents[name], counts[name]) for name in of_sample["counts"]]
        whole = counts[strategy.denominator]
        for number, (name, parent, n) in enumerate(steps):
            of_parent = n / counts[parent] if parent and counts[parent] else (1.0 if not parent else np.nan)
            inside = _within(name, strategy.denominator, parents)
            of_whole = n / whole if inside and whole else np.nan
            of_all = n / of_sample["events"] if of_sample["events"] else np.nan
            path = "/".join(paths.get(name, (name,)))
            rows.append((sample, number, name, parent, n, of_parent, of_whole, of_all, path))
    return pd.DataFrame(rows, columns=LEDGER)


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
        raise GateError("these data are not gated", fix="run cytocar.gate.apply first")
    known = [str(name) for name in adata.obsm[keys.GATES].columns]
    if population in known:
        return population
    paths = strategy_of(adata).paths()
    ways = [tuple(population.split(between)) for between in ("/", BETWEEN)]
    exact = [name for name, path in paths.items() if path in ways or "/".join(path) == population]
    meant = exact or [name for name, path in paths.items() if any(path[-len(way) :] == way for way in ways)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise GateError(f"population {population!r} is one of {', '.join(map(repr, meant))}", fix="say which")
    raise GateError(f"there is no population {population!r}", fix=did_you_mean(population, known))


def _within(name: str, ancestor: str, parents: dict[str, str]) -> bool:
    while name in parents:
        if name == ancestor:
            return True
        name = parents[name]
    return False


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
