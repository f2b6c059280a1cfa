"""What the steps of `pp` need of an AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.errors import StateError

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray


def own(adata: AnnData) -> AnnData:
    """Give a view its own data, so that writing to it does not change what it was cut from."""
    if adata.is_view:
        adata._init_as_actual(adata.copy())
    return adata


def _dense(values: Any) -> NDArray[np.float32]:
    if hasattr(values, "toarray"):
        values = values.toarray()
    return np.asarray(values, dtype=np.float32)


def counts_in_x(adata: AnnData) -> NDArray[np.float32]:
    """Return X as a dense float32 matrix, without a copy where it is one already."""
    if adata.X is None:
        raise StateError("this AnnData has no X; read the file with cytocar.io")
    return _dense(adata.X)


def counts_of(adata: AnnData, step: str) -> NDArray[np.float32]:
    """Return the counts, from X or from the layer that keeps them, without a copy where possible."""
    if provenance.state(adata) == keys.STATE_COUNTS:
        return counts_in_x(adata)
    if keys.COUNTS not in adata.layers:
        raise StateError(
            f"{step} needs counts, but X holds arcsinh values and layers['counts'] is not there; "
            "read the file again"
        )
    return _dense(adata.layers[keys.COUNTS])
