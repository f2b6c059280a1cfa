"""How far two ways of grouping the same cells agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.vocabulary import NO_CLUSTER

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import ArrayLike, NDArray


def contingency(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """Return how many cells are in each group of `a` (rows) and each group of `b` (columns), groups sorted."""
    rows, i = np.unique(np.asarray(a), return_inverse=True)
    columns, j = np.unique(np.asarray(b), return_inverse=True)
    counts = np.bincount(i * len(columns) + j, minlength=len(rows) * len(columns))
    return counts.reshape(len(rows), len(columns)).astype(np.int64)


def adjusted_rand(a: ArrayLike, b: ArrayLike) -> float:
    r"""Return the adjusted Rand index of two groupings: 1 for the same, 0 on average for unrelated ones.

    With pairs :math:`\binom{n}{2}` of cells counted as together or apart in each grouping (Hubert & Arabie 1985,
    J Classif 2:193, doi:10.1007/BF01908075).

    Examples
    --------
    >>> adjusted_rand([1, 1, 2, 2], ["x", "x", "y", "y"])
    1.0
    """
    table = contingency(a, b)
    # whole numbers beyond 2^53 would lose digits as floats; Python's integers do not
    together = sum(int(c) * (int(c) - 1) // 2 for c in table.ravel() if c > 1)
    in_a = sum(int(c) * (int(c) - 1) // 2 for c in table.sum(axis=1))
    in_b = sum(int(c) * (int(c) - 1) // 2 for c in table.sum(axis=0))
    n = int(table.sum())
    pairs = n * (n - 1) // 2
    # (together - in_a in_b / pairs) / ((in_a + in_b) / 2 - in_a in_b / pairs), times 2 pairs
    below = (in_a + in_b) * pairs - 2 * in_a * in_b
    return 1.0 if below == 0 else 2 * (together * pairs - in_a * in_b) / below


def normalized_mutual_information(a: ArrayLike, b: ArrayLike) -> float:
    r"""Return the mutual information of two groupings over the mean of their entropies, from 0 to 1.

    :math:`2 I(a; b) / (H(a) + H(b))`; 1 where neither grouping splits anything.

    Examples
    --------
    >>> normalized_mutual_information([1, 1, 2, 2], [1, 2, 1, 2])
    0.0
    """
    shares = contingency(a, b) / max(1, len(np.asarray(a)))
    p, q = shares.sum(axis=1), shares.sum(axis=0)
    entropies = -(p * np.log(p)).sum() - (q * np.log(q)).sum()
    if entropies == 0:
        return 1.0
    expected = np.outer(p, q)
    there = shares > 0
    shared = (shares[there] * np.log(shares[there] / expected[there])).sum()
    return float(min(1.0, max(0.0, 2 * shared / entropies)))


def _labels(adata: AnnData, key: str) -> pd.Series:
    if key not in adata.obs:
        raise ParameterError(
            f"obs has no column {key!r}",
            fix=did_you_mean(key, [str(column) for column in adata.obs.columns]),
        )
    labels: pd.Series = adata.obs[key]
    return labels


def contingency_table(adata: AnnData, a: str = keys.PHENOGRAPH, b: str = keys.FLOWSOM) -> pd.DataFrame:
    """Count the cells in each pair of clusters of two methods.

    Parameters
    ----------
    adata
        Cells with both groupings in ``obs``.
    a, b
        Names of the two columns of ``obs``.

    Returns
    -------
    Table of counts: clusters of `a` as rows, of `b` as columns, both in their own order. Cells without a
    value in either are not counted.

    Raises
    ------
    ParameterError
        A column is not there.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.zeros((3, 1), "float32"))
    >>> cells.obs["phenograph"] = pandas.Categorical(["1", "1", "2"])
    >>> cells.obs["flowsom"] = pandas.Categorical(["1", "2", "2"])
    >>> contingency_table(cells).to_numpy().tolist()
    [[1, 1], [0, 1]]
    """
    import pandas as pd

    rows, columns = _labels(adata, a), _labels(adata, b)
    table = pd.crosstab(rows, columns)
    orders = []
    for series, present in ((rows, table.index), (columns, table.columns)):
        ordered = (
            list(series.cat.categories) if isinstance(series.dtype, pd.CategoricalDtype) else list(present)
        )
        orders.append([value for value in ordered if value in set(present)])
    table = table.reindex(index=orders[0], columns=orders[1])
    table.index = pd.Index([str(value) for value in orders[0]], name=a)
    table.columns = pd.Index([str(value) for value in orders[1]], name=b)
    return table.astype(np.int64)


def agreement(adata: AnnData, a: str = keys.PHENOGRAPH, b: str = keys.FLOWSOM) -> pd.DataFrame:
    """Measure how far two groupings of the same cells agree, whatever their groups are called.

    The adjusted Rand index (Hubert & Arabie 1985, doi:10.1007/BF01908075) compares pairs of cells and is 0 on average
    for unrelated groupings; the normalised mutual information weighs small clusters more.

    Parameters
    ----------
    adata
        Cells with both groupings in ``obs``.
    a, b
        Names of the two columns of ``obs``.

    Returns
    -------
    One row: ``method_a``, ``method_b``, ``ari``, ``nmi``, ``n_cells``. Cells labelled ``"-1"`` by either method, which
    fit in no cluster, and cells without a label are left out and not in ``n_cells``.

    Raises
    ------
    ParameterError
        A column is not there, or no cell has a cluster in both.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.zeros((4, 1), "float32"))
    >>> cells.obs["phenograph"] = pandas.Categorical(["1", "1", "2", "2"])
    >>> cells.obs["flowsom"] = pandas.Categorical(["2", "2", "1", "1"])
    >>> agreement(cells)[["ari", "nmi", "n_cells"]].iloc[0].tolist()
    [1.0, 1.0, 4.0]
    """
    import pandas as pd

    first, second = _labels(adata, a), _labels(adata, b)
    both = (first.notna() & second.notna()).to_numpy()
    left, right = first[both].astype(str).to_numpy(object), second[both].astype(str).to_numpy(object)
    placed = (left != NO_CLUSTER) & (right != NO_CLUSTER)
    left, right = left[placed].astype(str), right[placed].astype(str)
    if not len(left):
        raise ParameterError(
            f"no cell has a cluster in both {a!r} and {b!r}", fix="there is nothing to compare"
        )
    return pd.DataFrame(
        {
            "method_a": [a],
            "method_b": [b],
            "ari": [adjusted_rand(left, right)],
            "nmi": [normalized_mutual_information(left, right)],
            "n_cells": [len(left)],
        }
    )
