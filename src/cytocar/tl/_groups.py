"""Cells by group: labels, majorities, subsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.ordering import sort_clusters

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray


def grouping(adata: AnnData, groupby: str) -> tuple[NDArray[np.str_], list[str]]:
    """Return the label of each cell as text ("" for none) and the labels that occur, in their own order."""
    import pandas as pd

    if groupby not in adata.obs:
        columns = [str(column) for column in adata.obs.columns]
        raise ParameterError(f"obs has no column {groupby!r}", fix=did_you_mean(groupby, columns))
    series = adata.obs[groupby]
    labels = np.where(series.notna(), series.astype(str).to_numpy(object), "").astype(str)
    if isinstance(series.dtype, pd.CategoricalDtype):
        order = [str(value) for value in series.cat.categories]
    else:
        order = sort_clusters(labels.tolist())
    occurring = set(labels.tolist()) - {""}
    if not occurring:
        raise ParameterError(f"obs[{groupby!r}] has no value in any of the {adata.n_obs} cells")
    return labels, [label for label in order if label in occurring]


def majority(values: NDArray[np.str_]) -> str:
    """Return the most frequent value, the first in the order of subsets where two tie; "" where all are empty."""
    named, counts = np.unique(values[values != ""], return_counts=True)
    if not len(named):
        return ""
    order = {name: rank for rank, name in enumerate(keys.SUBSETS)}
    first, _ = min(
        zip(named.tolist(), counts.tolist(), strict=True),
        key=lambda pair: (-pair[1], order.get(pair[0], len(order)), pair[0]),
    )
    return str(first)


def has_subsets(adata: AnnData) -> bool:
    """Return whether any cell has a subset."""
    if keys.SUBSET not in adata.obs:
        return False
    values = adata.obs[keys.SUBSET]
    return bool((values.notna() & (values.astype(str) != "")).any())


def labels_by_size(groups: NDArray[np.integer], min_size: int = 1) -> NDArray[np.int64]:
    """Number groups from 1 by size, largest first; groups of fewer than `min_size` cells become -1.

    Groups of one size come in the order of their first cell.

    Examples
    --------
    >>> labels_by_size(np.array([7, 3, 3, 3, 7, 9]), min_size=2).tolist()
    [2, 1, 1, 1, 2, -1]
    """
    _, first, inverse, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -counts))
    number = np.empty(len(counts), np.int64)
    number[order] = np.arange(1, len(counts) + 1)
    number[counts < min_size] = -1
    return number[inverse]


def as_categorical(labels: NDArray[np.integer]) -> pd.Categorical[str]:
    """Return labels as text categories ``"1"``, ``"2"`` ... with ``"-1"`` last where it occurs."""
    import pandas as pd

    present, code = np.unique(labels, return_inverse=True)
    last = bool(len(present)) and present[0] == -1
    # -1 is the lowest number and the last category
    order = np.roll(present, -1) if last else present
    codes = (code - 1) % len(present) if last else code
    categories = pd.Index([str(label) for label in order])
    return pd.Categorical.from_codes(codes, categories=categories)
