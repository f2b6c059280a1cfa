"""The biaxials of gating as counts per bin, and the outlines of shapes on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.samples import rows_by_sample
from cytocar.gate._results.ledger import membership, strategy_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


PLOTS = [keys.SAMPLE, "plot", "parent", "x_marker", "y_marker", "x", "y", "n"]


OUTLINES = [keys.SAMPLE, "plot", "population", "line", "x", "y"]


# The same bins for all samples, so that their pictures can be laid side by side: 0 to about 12,000 counts.
PLOT_RANGE = (-0.5, 8.5)


def biaxials(adata: AnnData, *, bins: int = 64) -> pd.DataFrame:
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
    >>> biaxials = cc.gate.biaxials(adata)
    >>> first = biaxials[biaxials["plot"] == 1]
    >>> bool(first["n"].sum() == cc.gate.membership(adata, "cells").sum())
    True
    """
    import pandas as pd

    bins = checks.whole_number(bins, "bins", 2)
    samples = rows_by_sample(adata, keys.SAMPLE)
    low, high = PLOT_RANGE
    step = (high - low) / bins
    parts = []
    for biaxial in strategy_of(adata).pictures(adata).biaxials:
        inside = membership(adata, biaxial.parent)
        x_marker, y_marker = (str(adata.var_names[position]) for position in biaxial.positions)
        for sample, rows in samples.items():
            mask = inside[rows]
            bin_x, bin_y = (
                np.clip(((values[mask] - low) / step).astype(np.int64), 0, bins - 1)
                for values in biaxial.values(rows)
            )
            counts = np.bincount(bin_x * bins + bin_y, minlength=bins * bins)
            filled = np.flatnonzero(counts)
            parts.append(
                pd.DataFrame(
                    {
                        keys.SAMPLE: sample,
                        "plot": biaxial.number,
                        "parent": biaxial.parent,
                        "x_marker": x_marker,
                        "y_marker": y_marker,
                        "x": low + (filled // bins + 0.5) * step,
                        "y": low + (filled % bins + 0.5) * step,
                        "n": counts[filled],
                    }
                )
            )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=PLOTS)


def outlines(adata: AnnData) -> pd.DataFrame:
    """Return the lines of the gates of a document, on the axes of `biaxials`.

    Parameters
    ----------
    adata
        Gated by `apply`.

    Returns
    -------
    DataFrame [sample_id, plot, population, line, x, y]: the points of each line in their order, in arcsinh units,
    `plot` as in `biaxials`. A straight side of another scale is bent here. A strategy of thresholds has no rows; its
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

    lines_of = strategy_of(adata).pictures(adata).outlines
    ends = (PLOT_RANGE[0] - 1, PLOT_RANGE[1] + 1)
    parts = []
    if lines_of is None:
        return pd.DataFrame(columns=OUTLINES)
    for sample in rows_by_sample(adata, keys.SAMPLE):
        for plot, population, lines in lines_of(sample, ends):
            for number, line in enumerate(lines, start=1):
                row = {keys.SAMPLE: sample, "plot": plot, "population": population, "line": number}
                parts.append(pd.DataFrame({**row, "x": line[:, 0], "y": line[:, 1]}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=OUTLINES)
