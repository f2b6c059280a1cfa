"""Cells by group: labels, majorities, subsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray


def _grouping(adata: AnnData, groupby: str) -> tuple[NDArray[np.str_], list[str]]:
    """Return the label of each cell as text ("" for none) and the labels that occur, in their own order."""
    import pandas as pd

    if groupby not in adata.obs:
        known = [str(column) for column in adata.obs.columns]
        raise ParameterError(f"obs has no column {groupby!r}; {did_you_mean(groupby, known)}")
    series = adata.obs[groupby]
    labels = np.where(series.notna(), series.astype(str).to_numpy(object), "").astype(str)
    if isinstance(series.dtype, pd.CategoricalDtype):
        order = [str(value) for value in series.cat.categories]
    else:
        order = sorted(set(labels.tolist()), key=lambda label: (not label.isdigit(), label.zfill(12)))
    occurring = set(labels.tolist()) - {""}
    if not occurring:
        raise ParameterError(f"obs[{groupby!r}] has no value in any of the {adata.n_obs} cells")
    return labels, [label for label in order if label in occurring]


def _majority(values: NDArray[np.str_]) -> str:
    """Return the most frequent value, the first in the order of subsets where two tie; "" where all are empty."""
    named, counts = np.unique(values[values != ""], return_counts=True)
    if not len(named):
        return ""
    order = {name: place for place, name in enumerate(keys.SUBSETS)}
    return min(
        zip(named.tolist(), counts.tolist(), strict=True),
        key=lambda pair: (-pair[1], order.get(pair[0], len(order)), pair[0]),
    )[0]


def _has_subsets(adata: AnnData) -> bool:
    if keys.SUBSET not in adata.obs:
        return False
    values = adata.obs[keys.SUBSET]
    return bool((values.notna() & (values.astype(str) != "")).any())
