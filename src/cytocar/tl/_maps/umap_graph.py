"""The graph that UMAP lays out, and the curve that distances on the map are measured by."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import checks
from cytocar.tl import _threads

if TYPE_CHECKING:
    from numpy.typing import NDArray


def fuzzy_graph(neighbours: NDArray[np.int32], distances: NDArray[np.float64], *, n_jobs: int = 1) -> Any:
    """Return the symmetric graph of memberships ``p + q - p q`` as a CSR array.

    `neighbours` and `distances` (cells, k - 1) are sorted and without the cells themselves.
    """
    import scipy.sparse as sp

    from cytocar.tl._maps.umap_kernels import memberships

    n, others = neighbours.shape
    weights = np.empty((n, others))
    whole = float(distances.sum() / (n * (others + 1)))
    _threads.in_blocks(lambda a, b: memberships(distances, a, b, whole, weights), n, checks.n_threads(n_jobs))
    rows = np.arange(0, n * others + 1, others, dtype=np.int32)
    directed = sp.csr_array((weights.ravel(), neighbours.ravel(), rows), shape=(n, n))
    back = sp.csr_array(directed.T)
    graph = sp.csr_array(directed + back - directed.multiply(back))
    graph.sort_indices()
    return graph


@cache
def curve(min_dist: float) -> tuple[float, float]:
    """Return a and b of ``1 / (1 + a d^(2 b))``, fitted to 1 up to `min_dist` and an exponential beyond.

    Examples
    --------
    >>> [round(value, 3) for value in curve(0.1)]
    [1.577, 0.895]
    """
    from scipy.optimize import curve_fit

    d = np.linspace(0, 3, 300)
    wanted = np.where(d < min_dist, 1.0, np.exp(-(d - min_dist)))
    (a, b), _ = curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), d, wanted)
    return float(a), float(b)


def pulls(graph: Any, epochs: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return both ends of each edge that pulls at least once, and after how many epochs it pulls again."""
    edges = graph.tocoo()
    weights = np.asarray(edges.data, np.float64)
    keep = weights >= weights.max() / epochs
    ends = np.asarray(edges.row[keep], np.int32), np.asarray(edges.col[keep], np.int32)
    return *ends, weights.max() / weights[keep]
