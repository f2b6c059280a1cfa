"""Which events of an AnnData are a sample's, which may be gated at all, and their values by marker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, ParameterError, did_you_mean

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._evaluate import Mask

CELL = "cell"
"""The value of obs["event_class"] that gating starts from."""

_ONLY_SAMPLE = "sample"
Rows = Any
"""A slice or an array of positions: the events of one sample."""


def rows_by_sample(adata: AnnData, sample_key: str) -> dict[str, Rows]:
    """Return sample to rows, in order of appearance."""
    import pandas as pd

    if sample_key not in adata.obs:
        if sample_key != keys.SAMPLE:
            raise ParameterError(
                f"sample_key is {sample_key!r}; {did_you_mean(sample_key, adata.obs.columns)}"
            )
        return {_ONLY_SAMPLE: slice(None)}
    if not adata.n_obs:
        raise GateError("there are no events to gate")
    codes, names = pd.factorize(adata.obs[sample_key].astype(object))
    if (codes < 0).any():
        raise ParameterError(f"{int((codes < 0).sum())} events have no {sample_key}; give each its sample")
    if len(names) == 1:
        return {str(names[0]): slice(None)}
    return {str(name): np.flatnonzero(codes == code) for code, name in enumerate(names)}


def may_be_gated(adata: AnnData) -> Mask:
    """Return which events are cells: all of them where no clean-up has told events apart."""
    if keys.EVENT_CLASS in adata.obs:
        return np.asarray(adata.obs[keys.EVENT_CLASS].astype(str) == CELL)
    return np.ones(adata.n_obs, dtype=bool)


def marker_values(adata: AnnData, columns: Mapping[str, int], rows: Rows) -> dict[str, NDArray[Any]]:
    """Return marker to its values in `rows`."""
    matrix = adata.X
    found = {}
    for marker, position in columns.items():
        column = matrix[:, position]
        column = column.toarray().ravel() if hasattr(column, "toarray") else np.asarray(column).ravel()
        found[marker] = np.ascontiguousarray(column[rows])
    return found
