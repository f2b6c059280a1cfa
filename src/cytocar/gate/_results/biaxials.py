"""The biaxials of gating as counts per bin, and the outlines of shapes on them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar._core.samples import rows_by_sample
from cytocar.gate._documents.tree import DocumentTree
from cytocar.gate._populations.events import marker_values
from cytocar.gate._results.ledger import _tree, gating, membership, strategy_of
from cytocar.panel.names import marker_key

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


PLOTS = [keys.SAMPLE, "plot", "parent", "x_marker", "y_marker", "x", "y", "n"]


OUTLINES = [keys.SAMPLE, "plot", "population", "line", "x", "y"]


# The same bins for all samples, so that their pictures can be laid side by side: 0 to about 12,000 counts.
PLOT_RANGE = (-0.5, 8.5)


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
        raise ParameterError(f"bins is {bins}", fix="it must be at least 2")
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
