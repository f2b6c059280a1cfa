"""Which events may be gated at all, and their values by marker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.samples import Rows
from cytocar._core.vocabulary import CELL

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._populations.evaluate import Mask


def may_be_gated(adata: AnnData) -> Mask:
    """Return which events are cells: all of them where no clean-up has told events apart."""
    if keys.EVENT_CLASS in adata.obs:
        return np.asarray(adata.obs[keys.EVENT_CLASS].astype(str) == CELL)
    return np.ones(adata.n_obs, dtype=bool)


def marker_values(adata: AnnData, columns: Mapping[str, int], rows: Rows) -> dict[str, NDArray[Any]]:
    """Return marker to its values in `rows`."""
    matrix = adata.X
    values = {}
    for marker, position in columns.items():
        column = matrix[:, position]
        column = column.toarray().ravel() if hasattr(column, "toarray") else np.asarray(column).ravel()
        values[marker] = np.ascontiguousarray(column[rows])
    return values
