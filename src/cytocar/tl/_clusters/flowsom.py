"""FlowSOM: a self-organising map of the cells, and consensus clusters of its nodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from cytocar._core import keys, provenance, seeds
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.tl import _input, _neighbours
from cytocar.tl._clusters import consensus as _consensus
from cytocar.tl._clusters.consensus import Consensus, Linkage, growth
from cytocar.tl._clusters.metaclusters import choose_cut, cut_quality

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

PUBLISHED_RLEN: Final = 10
# showings of cells per node below which a map is not yet settled
SHOWN_PER_NODE: Final = 1000
LEARNING_RATE: Final = (0.05, 0.01)
RADIUS_QUANTILE: Final = 0.67
MOST_METACLUSTERS: Final = 20
# a node should stand for at least this many cells on average
CELLS_PER_NODE: Final = 5


@dataclass(frozen=True)
class SelfOrganisingMap:
    """A trained map: codes (nodes x markers), the nearest node of each cell and the distance to its code."""

    codes: NDArray[np.float64]
    node: NDArray[np.int32]
    distance: NDArray[np.float32]


def chebyshev(grid: tuple[int, int]) -> NDArray[np.float64]:
    """Return the Chebyshev distances between the nodes of a grid, counted row by row."""
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    return np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns)).astype(np.float64)


def shrunk(grid: tuple[int, int], n_cells: int) -> tuple[int, int]:
    """Return `grid`, or a smaller one of the same shape with at least 5 cells a node on average.

    Never below 2 x 2.

    Examples
    --------
    >>> shrunk((10, 10), 4978), shrunk((10, 10), 250), shrunk((10, 10), 12)
    ((10, 10), (7, 7), (2, 2))
    """
    factor = min(1.0, (n_cells / CELLS_PER_NODE / (grid[0] * grid[1])) ** 0.5)
    return max(2, int(grid[0] * factor + 1e-9)), max(2, int(grid[1] * factor + 1e-9))


def auto_rlen(n_cells: int, nodes: int) -> int:
    """Return how often to show all cells: 10 times as published, more where cells are few.

    Each node should see 1,000 showings on average; with 100 nodes this asks for more than 10 passes below
    10,000 cells.

    Examples
    --------
    >>> auto_rlen(250, 49), auto_rlen(2500, 100), auto_rlen(100_000, 100)
    (196, 40, 10)
    """
    return max(PUBLISHED_RLEN, int(np.ceil(SHOWN_PER_NODE * nodes / n_cells)))


def _first_codes(x: NDArray[np.float32], nodes: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw `nodes` cells, different from one another as long as there are such."""
    order = generator.permutation(len(x))
    for some in (order[: 4 * nodes], order):
        _, first = np.unique(x[some], axis=0, return_index=True)
        if len(first) >= nodes:
            return x[some[np.sort(first)[:nodes]]].astype(np.float64)
    again = generator.integers(0, len(first), nodes - len(first))
    return x[order[np.concatenate([np.sort(first), first[again]])]].astype(np.float64)


def self_organising_map(
    x: NDArray[np.float32], *, grid: tuple[int, int], rlen: int, seed: int = 0, n_jobs: int = 1
) -> SelfOrganisingMap:
    """Train a map on `rlen` passes through the cells, and place every cell on it.

    The published schedule: learning rate 0.05 to 0.01, radius from the 0.67 quantile of the Chebyshev distances
    of the grid to 0, all nodes within the radius moved alike, codes started at different random cells. Each pass
    shows every cell once, in a new random order; drawing with replacement, as the authors' program does,
    leaves out a third of the cells in a pass and gave impurer nodes.
    """
    from cytocar.tl._clusters.som_kernels import nearest_nodes, train

    generator = seeds.generator(seed, "flowsom", "map")
    between = chebyshev(grid)
    codes = _first_codes(x, grid[0] * grid[1], generator)
    rate = np.array(LEARNING_RATE)
    radius = np.array([np.quantile(between, RADIUS_QUANTILE), 0.0])
    n = len(x)
    for epoch in range(rlen):
        train(x, codes, between, generator.permutation(n), epoch * n, rlen * n, rate, radius)
    node, distance = np.empty(n, np.int32), np.empty(n, np.float32)
    _neighbours.in_blocks(
        lambda a, b: nearest_nodes(x, codes, a, b, node, distance), n, _neighbours.n_threads(n_jobs)
    )
    return SelfOrganisingMap(codes, node, distance)


def _metaclusters(
    found: SelfOrganisingMap, largest: int, linkage: str, seed: int
) -> tuple[NDArray[np.int64], Consensus]:
    """Cut the nodes that have cells into 2 to `largest` metaclusters; an empty node goes with its nearest."""
    from scipy.spatial.distance import cdist

    sizes = np.bincount(found.node, minlength=len(found.codes))
    used = np.flatnonzero(sizes)
    samples = _consensus.resamples(len(used), seeds.generator(seed, "flowsom", "consensus"))
    cut = _consensus.consensus(
        cdist(found.codes[used], found.codes[used]), sizes[used].astype(np.float64), samples, largest, linkage
    )
    nearest = cdist(found.codes, found.codes[used]).argmin(axis=1)
    nearest[used] = np.arange(len(used))
    return cut.labels[:, nearest], cut


def _by_size(cut: NDArray[np.int64], node: NDArray[np.int32]) -> NDArray[np.int64]:
    """Number the metaclusters of the nodes from 1 by their number of cells."""
    cells = np.bincount(cut[node], minlength=cut.max() + 1)
    number = np.empty(len(cells), np.int64)
    number[np.argsort(-cells, kind="stable")] = np.arange(1, len(cells) + 1)
    return number[cut]


def _checked_grid(grid: object, n_cells: int) -> tuple[int, int]:
    sides = tuple(grid) if isinstance(grid, Sequence) and not isinstance(grid, str) else ()
    if len(sides) != 2:
        raise ParameterError(f"grid is {grid!r}; it must be two whole numbers such as (10, 10)")
    rows, columns = (_input.whole_number(side, "a side of grid", 2, 100) for side in sides)
    return shrunk((rows, columns), n_cells)


def flowsom(
    adata: AnnData,
    *,
    markers: str | Sequence[str] | None = None,
    grid: tuple[int, int] = (10, 10),
    metaclusters: int | Literal["auto"] = "auto",
    linkage: Linkage = "average_cells",
    rlen: int | Literal["auto"] = "auto",
    seed: int = 0,
    n_jobs: int = 1,
    key_added: str = keys.FLOWSOM,
    copy: bool = False,
) -> AnnData | None:
    r"""Cluster cells by a self-organising map and a consensus clustering of its nodes.

    A grid of nodes is fitted to the cells with the published schedule, and each cell goes to its nearest node. The
    nodes are then clustered by consensus: 100 times 0.9 of them are drawn and clustered hierarchically, the
    consensus of two nodes is how often they were together of the times both were drawn, and ``1 - consensus`` is
    clustered hierarchically again. Every number of metaclusters from 2 to 20 is kept; one is chosen.

    Methods: Van Gassen et al. 2015, Cytometry A 87:636, doi:10.1002/cyto.a.22625; consensus: Monti et al. 2003,
    Mach Learn 52:91, doi:10.1023/A:1023949509487.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X``; at least 10 cells.
    markers
        Markers to cluster by; `None` takes those marked as used for clustering.
    grid
        Sides of the grid, each 2 to 100. With fewer than 5 cells a node it shrinks until there are 5; the grid used
        is reported.
    metaclusters
        How many, from 2 up to nine tenths of the nodes that have cells. ``"auto"`` takes the smallest
        number whose modularity in the graph of shared neighbours of the cells (that of `phenograph`, on at most
        5,000 cells) is within 0.002 of the best: cells themselves judge between the cuts, because the stability
        of nodes alone favours a handful of coarse clusters.
    linkage
        ``"average"`` is the published one. It cuts off outlying nodes of few cells first, so clusters of many cells
        stay joined until many are asked for; ``"average_cells"`` counts each node as often as it has cells, which
        mends much of that. ``"ward"`` and ``"ward_cells"`` tend to clusters of equal size, which suits a known number
        of clusters, none of them rare. ``"complete"`` is there for comparison.
    rlen
        How many times the map is shown all cells, at least 1. The published number is 10; ``"auto"`` is 10, and
        more where cells are few, so that there are 1,000 showings per node.
    seed
        Fixes the result, whatever `n_jobs` is.
    n_jobs
        Threads; -1 for all.
    key_added
        Name of the result in ``obs`` and ``uns``.
    copy
        Return a changed copy instead of changing `adata`.

    Returns
    -------
    `None`, or the copy. Sets the following fields:

    ``adata.obs[key_added]`` : categorical of text
        ``"1"``, ``"2"`` ... by size.
    ``adata.obs[key_added + "_node"]`` : int32
        Nearest node, counted from 0 row by row.
    ``adata.obs[key_added + "_distance"]`` : float32, arcsinh units
        Euclidean distance to the code of that node: large for cells that fit nowhere.
    ``adata.uns[key_added]`` : dict
        ``codes`` (nodes x markers, float32), ``node_cells``, ``node_labels`` (nodes), ``node_labels_by_k`` (nodes x
        numbers of metaclusters), ``ks`` (those numbers), for each of them ``modularity``, ``ambiguous``, ``area`` and
        ``delta_area`` (see `metacluster_table`), ``consensus`` (nodes x nodes, of the chosen number; 0
        where a node is empty), ``n_clusters``, ``chosen`` (``"auto"`` or ``"given"``), ``grid``, ``linkage``, ``rlen``,
        ``seed`` and ``markers`` (JSON). An empty node has the label of the nearest node with cells.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        An argument is outside its domain, a marker is unknown, or the cells cannot be clustered.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(300, 4)) + 8 * numpy.repeat(numpy.eye(4)[:3], 100, axis=0)
    >>> cells = anndata.AnnData(x.astype("float32"), var=pandas.DataFrame(index=["CD3", "CD4", "CD8", "Ki67"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> flowsom(cells, markers=["CD3", "CD4", "CD8", "Ki67"])
    >>> cells.obs["flowsom"].value_counts().to_dict()
    {'1': 100, '2': 100, '3': 100}
    """
    x, names = _input.marker_matrix(adata, markers, "tl.flowsom")
    sides = _checked_grid(grid, x.shape[0])
    if linkage not in _consensus.LINKAGES:
        raise ParameterError(f"linkage is {linkage!r}; {did_you_mean(str(linkage), _consensus.LINKAGES)}")
    if isinstance(rlen, str):
        if rlen != "auto":
            raise ParameterError(f"rlen is {rlen!r}; it must be a whole number or 'auto'")
        passes = auto_rlen(x.shape[0], sides[0] * sides[1])
    else:
        passes = _input.whole_number(rlen, "rlen", 1)
    if isinstance(metaclusters, str) and metaclusters != "auto":
        raise ParameterError(f"metaclusters is {metaclusters!r}; it must be a whole number or 'auto'")

    found = self_organising_map(x, grid=sides, rlen=passes, seed=seed, n_jobs=n_jobs)
    node_cells = np.bincount(found.node, minlength=len(found.codes))
    used = int((node_cells > 0).sum())
    most = int(np.floor(_consensus.SHARE * used + 1e-9))
    if most < 2:
        raise ParameterError(
            f"tl.flowsom: only {used} of {len(found.codes)} nodes have cells, too few to group: the cells are too few "
            "or too much alike; choose more cells or other markers"
        )
    if isinstance(metaclusters, str):
        asked = None
    else:
        reason = f"nine tenths of the {used} nodes that have cells"
        asked = _input.whole_number(metaclusters, "metaclusters", 2, most, why=reason)
    largest = min(most, max(MOST_METACLUSTERS, asked or 0))
    cuts, consensus = _metaclusters(found, largest, linkage, seed)
    quality = cut_quality(x, found.node, cuts, seed, n_jobs=n_jobs)
    position = choose_cut(quality) if asked is None else asked - 2
    by_k = np.array([_by_size(cut, found.node) for cut in cuts])
    labels = by_k[position][found.node]

    result = adata.copy() if copy else adata
    result.obs[key_added] = _input.as_categorical(labels)
    result.obs[f"{key_added}_node"] = found.node
    result.obs[f"{key_added}_distance"] = found.distance
    area = consensus.area()
    pairs = np.zeros((len(found.codes),) * 2, np.float32)
    pairs[np.ix_(node_cells > 0, node_cells > 0)] = consensus.matrices[position]
    facts = {
        "n_clusters": position + 2,
        "chosen": "auto" if asked is None else "given",
        "linkage": str(linkage),
        "rlen": passes,
        "seed": int(seed),
    }
    result.uns[key_added] = {
        **facts,
        "grid": np.array(sides),
        "markers": json.dumps(names),
        "codes": found.codes.astype(np.float32),
        "node_cells": node_cells.astype(np.int64),
        "node_labels": by_k[position].astype(np.int32),
        "node_labels_by_k": np.ascontiguousarray(by_k.T.astype(np.int32)),
        "ks": np.arange(2, largest + 1),
        "modularity": quality,
        "ambiguous": consensus.ambiguous(),
        "area": area,
        "delta_area": growth(area),
        "consensus": pairs,
    }
    provenance.record(
        result, "tl.flowsom", {**facts, "grid": sides, "markers": names, "key_added": key_added}
    )
    return result if copy else None
