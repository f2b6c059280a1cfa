"""The graph of shared nearest neighbours that cells are clustered by, and its place in an AnnData."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from cytocar._core import checks
from cytocar._core.errors import ParameterError
from cytocar.tl import _neighbours, _threads

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    Graph: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]

NEIGHBORS: Final = "neighbors"
"""Where scanpy looks for neighbours if it is told nothing else."""


@dataclass(frozen=True)
class SharedNeighbours:
    """Nearest neighbours of cells, and the graph of those that they share.

    Attributes
    ----------
    near
        The neighbours.
    graph
        Starts of rows, columns and weights; its nodes are the cells in the order `near.order`.
    """

    near: _neighbours.Neighbours
    graph: Graph

    def in_place(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return labels of nodes as labels of cells."""
        if self.near.order is None:
            return labels
        placed = np.empty_like(labels)
        placed[self.near.order] = labels
        return placed

    def connectivities(self) -> Any:
        """Return the graph with the cells in their own order, as a CSR matrix with columns in order."""
        import scipy.sparse as sp

        from cytocar.tl._clusters.graph_kernels import in_first_order

        n = len(self.near.index)
        order = np.arange(n, dtype=np.int32) if self.near.order is None else self.near.order
        starts, columns, weights = in_first_order(*self.graph, order)
        return sp.csr_matrix((weights, columns, starts), shape=(n, n))

    def distances(self) -> Any:
        """Return the distances from each cell to its neighbours, nearest first, as a CSR matrix."""
        import scipy.sparse as sp

        n, k = self.near.index.shape
        starts = np.arange(0, n * k + 1, k, dtype=np.int64)
        return sp.csr_matrix((self.near.distance.ravel(), self.near.index.ravel(), starts), shape=(n, n))


def jaccard_graph(neighbours: NDArray[np.int32], *, n_jobs: int = 1) -> Any:
    """Return the symmetric graph of shared neighbours as a CSR array of float32.

    The weight from i to its neighbour j is ``|Ni n Nj| / |Ni u Nj|`` over their neighbour lists, and 0 to all
    others; the graph is the mean of these weights and their transpose. Columns of a row are in no order.
    """
    import scipy.sparse as sp

    starts, columns, weights = graph_of(neighbours, n_jobs=n_jobs)
    return sp.csr_array((weights, columns, starts), shape=(len(neighbours),) * 2)


def graph_of(neighbours: NDArray[np.int32], *, n_jobs: int) -> Graph:
    """Return the graph of `jaccard_graph` as starts of rows (int64), columns (int32) and weights (float32)."""
    from cytocar.tl._clusters.graph_kernels import jaccard_rows, symmetric_rows

    weights = np.empty(neighbours.shape, np.float32)
    in_blocks = _threads.in_blocks
    threads = checks.n_threads(n_jobs)
    in_blocks(lambda a, b: jaccard_rows(neighbours, a, b, weights), len(neighbours), threads)
    starts, columns, values = symmetric_rows(neighbours, weights)
    return starts, columns, values


def shared_neighbours(x: NDArray[np.float32], k: int, *, n_jobs: int = 1) -> SharedNeighbours:
    """Find the `k` nearest neighbours of each row of `x` and join rows by those that they share."""
    near = _neighbours.search(x, k, n_jobs=n_jobs)
    index = near.index
    if near.order is not None:
        row_of = np.empty(len(x), np.int32)
        row_of[near.order] = np.arange(len(x), dtype=np.int32)
        index = row_of[index[near.order]]
    return SharedNeighbours(near, graph_of(index, n_jobs=n_jobs))


def require_own_name(neighbors_key: str | None, key_added: str) -> None:
    """Raise unless neighbours get a name that is not that of the labels."""
    if neighbors_key is not None and (not neighbors_key or neighbors_key == key_added):
        raise ParameterError(
            f"neighbors_key is {neighbors_key!r}",
            fix=f"it must be another name than key_added, {key_added!r}",
        )


def store(adata: AnnData, shared: SharedNeighbours, markers: list[str], *, seed: int, key: str) -> None:
    """Write neighbours and graph into `adata` as scanpy writes its own, so that it goes on from them.

    Sets ``uns[key]`` and the two matrices in ``obsp`` that it names: ``distances`` and ``connectivities``, with
    ``key`` and an underscore before them where the key is not ``"neighbors"``.
    """
    before = "" if key == NEIGHBORS else f"{key}_"
    adata.obsp[f"{before}distances"] = shared.distances()
    adata.obsp[f"{before}connectivities"] = shared.connectivities()
    adata.uns[key] = {
        "connectivities_key": f"{before}connectivities",
        "distances_key": f"{before}distances",
        "params": {
            # scanpy counts a cell among its own neighbours
            "n_neighbors": shared.near.index.shape[1] + 1,
            "method": "jaccard",
            "metric": "euclidean",
            "random_state": int(seed),
            # without it scanpy takes principal components where there are more than 50 channels
            "use_rep": "X",
            "markers": json.dumps(markers),
        },
    }
