"""Neighbours that clustering left in an AnnData, in scanpy's form, where a map would find the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar.tl import _neighbours
from cytocar.tl._clusters.shared_neighbours import NEIGHBORS
from cytocar.tl._neighbours.nearest import EXACT_UP_TO

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

# stored lengths that differ by more than this share of themselves are of other values
SAME: Final = 1e-4


def stored_neighbours(
    adata: AnnData, x: NDArray[np.float32], markers: list[str], k: int
) -> NDArray[np.int32] | None:
    """Return the `k` nearest others of each cell if they are stored, and a search would find no others.

    They must be of the same markers and of the values that the cells have now. Above 20,000 cells a search for fewer
    neighbours finds some that a search for more does not, and a map would depend on what was done before it.
    """
    if len(x) > EXACT_UP_TO:
        return None
    entry: Any = adata.uns.get(NEIGHBORS, {})
    try:
        of_markers = json.loads(entry["params"]["markers"])
        apart = adata.obsp[entry["distances_key"]]
        per_cell = np.diff(apart.indptr)
        if of_markers != markers or per_cell.min() < k or per_cell.min() < per_cell.max():
            return None
        index = np.asarray(apart.indices, np.int32).reshape(len(x), -1)
        lengths = np.asarray(apart.data, np.float64).reshape(len(x), -1)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        # made by another program, in another form
        return None
    if not (np.diff(lengths, axis=1) >= 0).all():
        return None
    index = np.ascontiguousarray(index[:, :k])
    now = _neighbours.distances(x, x, index)
    return index if np.allclose(lengths[:, :k], now, rtol=SAME, atol=SAME) else None
