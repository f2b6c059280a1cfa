"""The minimum spanning tree of the nodes of a map, laid out on a plane for drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar.tl._clusters.som_result import stored_map

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

# an edge is drawn at its length over the mean length, but never so short that nodes cover each other
SHORTEST: Final = 0.5
LONGEST: Final = 2.0
# trees of more nodes keep the layout that the others only start from: stress needs nodes x nodes numbers
MOST_NODES: Final = 1000
ROUNDS: Final = 500
SETTLED: Final = 1e-5
OWN_COLUMNS: Final = ("node", "x", "y", "cells", "cluster")


def spanning_tree(codes: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the edges (nodes - 1, 2) of the minimum spanning tree of the codes, and their Euclidean lengths.

    Prim's algorithm from node 0, ties to the lowest number; codes that coincide are joined by edges of length 0.
    """
    n = len(codes)
    edges, lengths = np.empty((n - 1, 2), np.int64), np.empty(n - 1)
    nearest = np.zeros(n, np.int64)
    distance = np.sqrt(((codes - codes[0]) ** 2).sum(axis=1))
    outside = np.ones(n, bool)
    outside[0] = False
    for step in range(n - 1):
        joined = int(np.where(outside, distance, np.inf).argmin())
        edges[step] = sorted((int(nearest[joined]), joined))
        lengths[step] = distance[joined]
        outside[joined] = False
        new = np.sqrt(((codes - codes[joined]) ** 2).sum(axis=1))
        closer = new < distance
        distance[closer], nearest[closer] = new[closer], joined
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    return edges[order], lengths[order]


def _matrix(edges: NDArray[np.int64], lengths: NDArray[np.float64], n: int) -> csr_array:
    """Return the tree as a symmetric matrix of lengths above 0."""
    from scipy.sparse import csr_array

    ends = np.concatenate([edges, edges[:, ::-1]]).T
    return csr_array((np.concatenate([lengths, lengths]), (ends[0], ends[1])), shape=(n, n))


def _walk(tree: csr_array, root: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return the nodes in the order in which they are reached from `root`, their parents, and how far they are."""
    from scipy.sparse.csgraph import breadth_first_order, dijkstra

    order, parent = breadth_first_order(tree, root)
    return order, parent, dijkstra(tree, indices=root)


def _radial(tree: csr_array) -> NDArray[np.float64]:
    """Lay a tree out around its middle: each branch gets a sector as wide as it has leaves, so no edges cross."""
    n = tree.shape[0]
    far = _walk(tree, 0)[2].argmax()
    _, parent, away = _walk(tree, int(far))
    # the middle of the longest path
    node = int(away.argmax())
    half = away[node] / 2
    while parent[node] >= 0 and away[parent[node]] >= half:
        node = int(parent[node])
    order, parent, away = _walk(tree, node)
    leaves = np.zeros(n)
    for item in order[::-1]:
        leaves[item] = max(leaves[item], 1.0)
        if parent[item] >= 0:
            leaves[parent[item]] += leaves[item]
    start, width = np.zeros(n), np.zeros(n)
    width[node], used = 2 * np.pi, np.zeros(n)
    for item in order[1:]:
        up = parent[item]
        width[item] = width[up] * leaves[item] / leaves[up]
        start[item] = start[up] + used[up]
        used[up] += width[item]
    angle = start + width / 2
    return np.column_stack([away * np.cos(angle), away * np.sin(angle)])


def layout(edges: NDArray[np.int64], lengths: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    r"""Return places on a plane whose distances follow the lengths of the paths in the tree.

    The energy of Kamada & Kawai 1989 (Inf Process Lett 31:7, doi:10.1016/0020-0190(89)90102-6),
    :math:`\sum_{i<j} (\|x_i - x_j\| - d_{ij})^2 / d_{ij}^2`, made small by majorisation (Gansner et al. 2005, Graph
    Drawing 239, doi:10.1007/978-3-540-31843-9_25) from a radial layout of the tree. Nothing is drawn at random.
    """
    from scipy.sparse.csgraph import shortest_path

    mean = lengths.mean()
    drawn = np.clip(lengths / mean, SHORTEST, LONGEST) if mean > 0 else np.ones_like(lengths)
    tree = _matrix(edges, drawn, n)
    positions = _radial(tree)
    if 2 < n <= MOST_NODES:
        wanted = shortest_path(tree)
        np.fill_diagonal(wanted, 1.0)
        weight = 1.0 / wanted**2
        np.fill_diagonal(weight, 0.0)
        np.fill_diagonal(wanted, 0.0)
        laplacian = np.diag(weight.sum(axis=1)) - weight
        inverse = np.linalg.inv(laplacian + 1.0 / n) - 1.0 / n
        pull = weight * wanted
        for _ in range(ROUNDS):
            apart = np.sqrt(((positions[:, None] - positions) ** 2).sum(axis=2))
            ratio = np.divide(pull, apart, out=np.zeros_like(pull), where=apart > 1e-12)
            moved = inverse @ (ratio.sum(axis=1)[:, None] * positions - ratio @ positions)
            change = abs(moved - (positions - positions.mean(axis=0))).max()
            positions = moved
            if change < SETTLED:
                break
    # the last digits depend on the linear algebra of the machine
    return np.asarray(np.round(positions - positions.mean(axis=0), 4) + 0.0)


def flowsom_tree(adata: AnnData, *, key: str = keys.FLOWSOM) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join the nodes of a FlowSOM map by their minimum spanning tree and lay it out for drawing.

    Nodes are joined by the edges of least total length between their codes (Euclidean, arcsinh units), and laid
    out so that distances on the plane follow paths along the tree (Kamada & Kawai 1989, Inf Process Lett 31:7,
    doi:10.1016/0020-0190(89)90102-6), as in Van Gassen et al. 2015, Cytometry A 87:636, doi:10.1002/cyto.a.22625.

    Parameters
    ----------
    adata
        Cells on which `flowsom` has run.
    key
        The name of the result.

    Returns
    -------
    Two tables, the same for the same map: nodes, one row each in their order, and edges, one fewer.

    nodes: ``node`` (from 0), ``x`` and ``y`` (mean edge 1, middle at 0), ``cells``, ``cluster`` (text; an empty node
    has that of its nearest node with cells), and for each marker of the map the median of the node's cells
    (arcsinh units; NaN where there are none).

    edges: ``a``, ``b`` (nodes, ``a < b``), ``length`` (distance of their codes, arcsinh units).

    Raises
    ------
    ParameterError
        There is no such result, or a marker has the name of a column above.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> from cytocar import tl
    >>> rng = numpy.random.default_rng(0)
    >>> cells = anndata.AnnData(rng.normal(size=(200, 2)).astype("float32"), var=pandas.DataFrame(index=["CD4", "CD8"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> tl.flowsom(cells, markers=["CD4", "CD8"], grid=(3, 3))
    >>> nodes, edges = tl.flowsom_tree(cells)
    >>> list(nodes), len(nodes), list(edges), len(edges)
    (['node', 'x', 'y', 'cells', 'cluster', 'CD4', 'CD8'], 9, ['a', 'b', 'length'], 8)
    """
    import pandas as pd

    from cytocar import get

    stored = stored_map(adata, key)
    taken = [name for name in stored.markers if name in OWN_COLUMNS]
    if taken:
        raise ParameterError(
            f"tl.flowsom_tree: the marker {taken[0]!r} has the name of a column of the table of nodes",
            fix="rename it in var_names",
        )
    n = len(stored.codes)
    edges, lengths = spanning_tree(stored.codes)
    positions = layout(edges, lengths, n)
    values = pd.DataFrame(get.matrix(adata, stored.markers), columns=stored.markers)
    medians = values.groupby(stored.node).median().reindex(range(n)).reset_index(drop=True)
    nodes = pd.DataFrame(
        {
            "node": np.arange(n),
            "x": positions[:, 0],
            "y": positions[:, 1],
            "cells": np.bincount(stored.node, minlength=n),
            "cluster": stored.array("node_labels").astype(str),
        }
    )
    return (
        pd.concat([nodes, medians], axis=1),
        pd.DataFrame({"a": edges[:, 0], "b": edges[:, 1], "length": lengths}),
    )
