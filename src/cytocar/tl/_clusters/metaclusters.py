"""The cuts of a map into 2, 3 ... metaclusters: how good each is, which is taken, and all of them by number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import checks, keys, seeds
from cytocar._core.errors import ParameterError
from cytocar.tl import _groups, _neighbours
from cytocar.tl._clusters.consensus import SHARE, Consensus, consensus, resamples
from cytocar.tl._clusters.som_result import stored_map

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

# cells whose shared neighbours decide on the number of metaclusters, and the loss of modularity that does not count
JUDGES: Final = 5000
TOLERANCE: Final = 0.002
# the consensus of each pair of nodes is kept for all numbers of metaclusters: 1 GB at 2,500 nodes, 15 GB at 10,000
MOST_NODES: Final = 2500


def largest_cut(used: int) -> int:
    """Return into how many metaclusters so many nodes with cells can be cut: as many as are drawn together."""
    return int(np.floor(SHARE * used + 1e-9))


def require_few(nodes: int) -> None:
    """Raise `ParameterError` where there are too many nodes to compare each pair of them."""
    if nodes > MOST_NODES:
        raise ParameterError(
            f"grid has {nodes} nodes",
            fix=(
                "metaclusters compare each pair of nodes, which takes too much memory beyond "
                f"{MOST_NODES} of them (such as 50 x 50)"
            ),
        )


def cut_nodes(
    codes: NDArray[np.float64], node: NDArray[np.int32], largest: int, linkage: str, seed: int
) -> tuple[NDArray[np.int64], Consensus]:
    """Cut the nodes that have cells into 2 to `largest` metaclusters; an empty node goes with its nearest.

    `codes` are nodes x markers, `node` is the node of each cell.
    """
    from scipy.spatial.distance import cdist

    sizes = np.bincount(node, minlength=len(codes))
    used = np.flatnonzero(sizes)
    require_few(len(used))
    samples = resamples(len(used), seeds.generator(seed, "flowsom", "consensus"))
    cut = consensus(
        cdist(codes[used], codes[used]), sizes[used].astype(np.float64), samples, largest, linkage
    )
    nearest = cdist(codes, codes[used]).argmin(axis=1)
    nearest[used] = np.arange(len(used))
    return cut.labels[:, nearest], cut


def numbered(cut: NDArray[np.int64], node_cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the metaclusters of the nodes from 1 by their number of cells."""
    cells = np.zeros(int(cut.max()) + 1, np.int64)
    np.add.at(cells, cut, node_cells)
    number = np.empty(len(cells), np.int64)
    number[np.argsort(-cells, kind="stable")] = np.arange(1, len(cells) + 1)
    return number[cut]


def cut_quality(
    x: NDArray[np.float32], node: NDArray[np.int32], cuts: NDArray[np.int64], seed: int, *, n_jobs: int = 1
) -> NDArray[np.float64]:
    """Return for each cut of the nodes the modularity it has in the graph of shared neighbours of the cells.

    At most 5,000 cells, drawn at random, are the judges: the graph then costs little, and the answer does not
    drift towards more clusters as cells are added, which modularity otherwise does.
    """
    from cytocar.tl._clusters.graph_kernels import modularity
    from cytocar.tl._clusters.phenograph import auto_k
    from cytocar.tl._clusters.shared_neighbours import jaccard_graph

    n = len(x)
    if n > JUDGES:
        chosen = np.sort(seeds.generator(seed, "flowsom", "judges").choice(n, JUDGES, replace=False))
        x, node = x[chosen], node[chosen]
    neighbours, _ = _neighbours.nearest_neighbours(x, auto_k(len(x)), n_jobs=n_jobs)
    graph = jaccard_graph(neighbours, n_jobs=n_jobs)
    indptr, indices = graph.indptr.astype(np.int64), graph.indices.astype(np.int32)
    return np.array([modularity(indptr, indices, graph.data, cut[node], 1.0) for cut in cuts])


def choose_cut(quality: NDArray[np.float64]) -> int:
    """Return the position of the first cut within 0.002 of the best quality: the fewest clusters as good."""
    return int(np.flatnonzero(quality >= quality.max() - TOLERANCE)[0])


def metaclusters(adata: AnnData, k: int, *, key: str = keys.FLOWSOM) -> pd.Series:
    """Return the labels of another number of metaclusters, all of which `flowsom` has kept.

    Parameters
    ----------
    adata
        Cells on which `flowsom` has run.
    k
        The number of metaclusters, from 2 to the largest kept.
    key
        The name of the result.

    Returns
    -------
    Categorical series over the cells, named ``flowsom_meta9`` for 9, labels ``"1"``, ``"2"`` ... by size.

    Raises
    ------
    ParameterError
        There is no such result, or `k` was not kept.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> rng = numpy.random.default_rng(0)
    >>> cells = anndata.AnnData(rng.normal(size=(200, 2)).astype("float32"), var=pandas.DataFrame(index=["CD4", "CD8"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> from cytocar import tl
    >>> tl.flowsom(cells, markers=["CD4", "CD8"])
    >>> metaclusters(cells, 5).nunique()
    5
    """
    import pandas as pd

    stored = stored_map(adata, key)
    ks = stored.array("ks")
    checks.whole_number(k, "k", int(ks.min()), int(ks.max()), why="the numbers of metaclusters kept")
    labels = stored.array("node_labels_by_k")[stored.node, int(np.flatnonzero(ks == k)[0])]
    return pd.Series(_groups.as_categorical(labels), index=adata.obs_names, name=f"{key}_meta{k}")


def metacluster_table(adata: AnnData, *, key: str = keys.FLOWSOM) -> pd.DataFrame:
    """Return what is known of each number of metaclusters that `flowsom` has kept, and which was chosen.

    The area under the cumulative distribution of the consensus of pairs of nodes grows with the number of
    metaclusters; where it hardly grows any more, a further cut finds nothing new. Monti et al. 2003, Mach Learn
    52:91, doi:10.1023/A:1023949509487, in bins of 0.01 as in ConsensusClusterPlus (Wilkerson & Hayes 2010,
    Bioinformatics 26:1572, doi:10.1093/bioinformatics/btq170).

    Parameters
    ----------
    adata
        Cells on which `flowsom` has run.
    key
        The name of the result.

    Returns
    -------
    One row per number of metaclusters, ascending:

    ``k`` : int
    ``area`` : 0 to 1
    ``delta_area``
        Growth of the area over that of ``k - 1``, as a share of it; for 2 the area itself.
    ``ambiguous`` : 0 to 1
        Share of pairs of nodes with a consensus between 0.1 and 0.9; low is stable.
    ``modularity``
        Of the cells in their graph of shared neighbours; the highest, with a tolerance of 0.002 in favour of fewer
        metaclusters, is what ``metaclusters="auto"`` goes by.
    ``chosen`` : bool

    Raises
    ------
    ParameterError
        There is no such result.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> from cytocar import tl
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(300, 4)) + 8 * numpy.repeat(numpy.eye(4)[:3], 100, axis=0)
    >>> cells = anndata.AnnData(x.astype("float32"), var=pandas.DataFrame(index=["CD3", "CD4", "CD8", "Ki67"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> tl.flowsom(cells, markers=["CD3", "CD4", "CD8", "Ki67"])
    >>> table = tl.metacluster_table(cells)
    >>> table.loc[table["chosen"], "k"].tolist()
    [3]
    """
    import pandas as pd

    stored = stored_map(adata, key)
    ks = stored.array("ks")
    return pd.DataFrame(
        {
            "k": ks,
            **{name: stored.measure(name) for name in ("area", "delta_area", "ambiguous", "modularity")},
            "chosen": ks == int(stored.array("n_clusters")),
        }
    )
