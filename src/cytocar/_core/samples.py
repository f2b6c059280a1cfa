"""Which events of an AnnData are a sample's, and data of its own for a view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, ParameterError, did_you_mean

if TYPE_CHECKING:
    from anndata import AnnData


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


def own(adata: AnnData) -> AnnData:
    """Give a view its own data, so that writing to it does not change what it was cut from."""
    if adata.is_view:
        adata._init_as_actual(adata.copy())
    return adata
