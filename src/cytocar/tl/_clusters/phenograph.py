"""PhenoGraph: communities of the graph of shared nearest neighbours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from cytocar._core import checks, keys, palette, provenance, seeds
from cytocar._core.errors import ParameterError
from cytocar.tl import _groups, _input
from cytocar.tl._clusters.modularity import weighted_modularity
from cytocar.tl._clusters.published_phenograph import published_phenograph
from cytocar.tl._clusters.shared_neighbours import (
    NEIGHBORS,
    SharedNeighbours,
    require_own_name,
    shared_neighbours,
    store,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.tl._clusters.shared_neighbours import Graph

PUBLISHED_K: Final = 30
# restarts are made four at a time, at most 20 as in the published program; after four that gain no more than this
# over the first of them and all before, there are no further ones (the published tolerance)
ROUND: Final = 4
MOST_RUNS: Final = 20
TOLERANCE: Final = 1e-3


@dataclass(frozen=True)
class Communities:
    """Communities of a graph with what is known about how they were found."""

    labels: NDArray[np.int64]
    modularity: float
    stability: float
    neighbours: str
    recall: float
    run_modularity: NDArray[np.float64]
    shared: SharedNeighbours | None = None
    reported: float | None = None


def auto_k(n_cells: int) -> int:
    """Return the number of neighbours for `n_cells`: 30, and the square root of n below 900 cells.

    A cluster can only be told from the next one while most of its cells find their k neighbours inside it.
    With few cells 30 neighbours reach across clusters; the square root keeps the neighbourhood a falling share of
    the data (17 % of 36 cells, 3 % of 900) and meets the published 30 at 900 cells. It never goes below 5, where
    the graph falls apart.

    Examples
    --------
    >>> [auto_k(n) for n in (10, 250, 900, 100_000)]
    [5, 16, 30, 30]
    """
    return int(min(PUBLISHED_K, max(5, round(n_cells**0.5))))


def _restarts(
    graph: Graph, *, resolution: float, n_runs: int | None, seed: int, n_jobs: int
) -> list[tuple[NDArray[np.int64], float]]:
    """Return labels and modularity of each restart; without a number, of as many as still gain."""
    from cytocar.tl._clusters.graph_kernels import modularity
    from cytocar.tl._clusters.louvain_kernels import louvain

    def once(run: int) -> tuple[NDArray[np.int64], float]:
        labels = louvain(*graph, resolution, seeds.integer_seed(seed, "phenograph", str(run)))
        return labels, float(modularity(*graph, labels, resolution))

    threads = min(checks.n_threads(n_jobs), n_runs or ROUND)
    with ThreadPoolExecutor(threads) as pool:
        if n_runs is not None:
            return list(pool.map(once, range(n_runs)))
        runs: list[tuple[NDArray[np.int64], float]] = []
        while len(runs) < MOST_RUNS:
            before = max((quality for _, quality in runs), default=-np.inf)
            runs += pool.map(once, range(len(runs), len(runs) + ROUND))
            best = max(quality for _, quality in runs)
            if best - max(before, runs[-ROUND][1]) <= TOLERANCE:
                break
    return runs


def communities(
    x: NDArray[np.float32], *, k: int, resolution: float, n_runs: int | None, seed: int, n_jobs: int = 1
) -> Communities:
    """Return the best of `n_runs` partitions of the shared-neighbour graph of the rows of `x`.

    `None` stands for as many as still gain.
    """
    shared = shared_neighbours(x, k, n_jobs=n_jobs)
    runs = _restarts(shared.graph, resolution=resolution, n_runs=n_runs, seed=seed, n_jobs=n_jobs)
    best = max(range(len(runs)), key=lambda run: (runs[run][1], -run))
    return Communities(
        labels=shared.in_place(runs[best][0]),
        modularity=runs[best][1],
        stability=_agreement_of(runs, best),
        neighbours=shared.near.how,
        recall=shared.near.recall,
        run_modularity=np.array([quality for _, quality in runs]),
        shared=shared,
    )


def _agreement_of(runs: list[tuple[NDArray[np.int64], float]], best: int) -> float:
    """Return the mean adjusted Rand index of the other restarts with the best one (1 where there is one only)."""
    from cytocar.tl._clusters.agreement import adjusted_rand

    others = [adjusted_rand(runs[best][0], labels) for run, (labels, _) in enumerate(runs) if run != best]
    return float(np.mean(others)) if others else 1.0


def _published(x: NDArray[np.float32], *, k: int, resolution: float, seed: int, n_jobs: int) -> Communities:
    """Return the communities that the package of the authors finds."""
    labels, reported = published_phenograph(
        x,
        k=k,
        resolution=resolution,
        seed=seeds.integer_seed(seed, "phenograph", "original"),
        threads=checks.n_threads(n_jobs),
    )
    shared = shared_neighbours(x, k, n_jobs=n_jobs)
    order = shared.near.order
    nodes = labels if order is None else labels[order]
    quality = weighted_modularity(shared.graph, nodes, resolution=resolution)
    return Communities(
        labels=labels,
        modularity=quality,
        stability=float("nan"),
        neighbours="exact",
        recall=1.0,
        run_modularity=np.array([quality], np.float64),
        shared=shared,
        reported=reported,
    )


def phenograph(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    *,
    markers: str | Sequence[str] | None = None,
    k: int | Literal["auto"] = "auto",
    resolution: float = 1.0,
    min_size: int = 10,
    n_runs: int | Literal["auto"] = "auto",
    engine: Literal["cytocar", "phenograph"] = "cytocar",
    seed: int = 0,
    n_jobs: int | None = None,
    key_added: str = keys.PHENOGRAPH,
    neighbors_key: str | None = NEIGHBORS,
    copy: bool = False,
) -> AnnData | None:
    r"""Cluster cells by the communities of the graph of their shared nearest neighbours.

    Each cell i is joined to its k nearest cells (Euclidean, itself left out) with weight
    :math:`J_{ij} = |N_i \cap N_j| / |N_i \cup N_j|`; the graph is :math:`(J + J^T) / 2`. Its communities
    maximise the modularity :math:`Q = \sum_c [ w_c / 2m - \gamma (s_c / 2m)^2 ]` by the Louvain method with the
    refinement of Leiden, restarted `n_runs` times in a random order of cells; the best is kept. Labels count from the
    largest cluster down.

    Method: Levine et al. 2015, Cell 162:184, doi:10.1016/j.cell.2015.05.047. Louvain: Blondel et al. 2008,
    J Stat Mech P10008, doi:10.1088/1742-5468/2008/10/P10008. Leiden: Traag et al. 2019, Sci Rep 9:5233,
    doi:10.1038/s41598-019-41695-z.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X``; at least 10 cells.
    markers
        Markers to cluster by; `None` takes those marked as used for clustering.
    k
        Neighbours of a cell, at least 2 and at most half the number of cells. ``"auto"``: 30, and
        the square root of n below 900 cells, never below 5.
    resolution
        :math:`\gamma`, above 0. Higher gives more clusters.
    min_size
        Clusters of fewer cells are labelled ``"-1"``.
    n_runs
        Restarts, at least 1. ``"auto"``: four at a time, until four have not raised the modularity by more than 0.001
        over the first of them and those before, at most 20; clear clusters need four.
    engine
        ``"cytocar"``, or ``"phenograph"`` for the package of the authors with its Leiden partition (for
        comparison; it uses `leidenalg` and `igraph`, which are under the GPL). It runs in a process of its own.
    seed
        Fixes the result, whatever `n_jobs` is.
    n_jobs
        Threads; -1 for all; `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.
    key_added
        Name of the result in ``obs`` and ``uns``.
    neighbors_key
        Name in ``uns`` of the neighbours in scanpy's form; another name than ``"neighbors"`` keeps those that are
        there already, and is scanpy's ``neighbors_key``. `None` stores none.
    copy
        Return a changed copy instead of changing `adata`.

    Returns
    -------
    `None`, or the copy. Sets the following fields:

    ``adata.obs[key_added]`` : categorical of text
        ``"1"``, ``"2"`` ... by size, ``"-1"`` for cells in clusters below `min_size`.
    ``adata.uns[key_added]`` : dict
        ``k`` (the value used), ``resolution``, ``modularity`` (:math:`Q` in our graph with its weights, whichever
        engine found the clusters, before small ones are set aside), ``n_clusters``, ``n_runs`` (restarts made),
        ``run_modularity`` (of each), ``run_ari`` (mean adjusted Rand index of the other restarts with the best),
        ``min_size``, ``engine``, ``neighbours`` (``"exact"`` or, above 20,000 cells, ``"inverted file"``), ``recall``
        (share of the true neighbours found, measured on 256 cells; 1 where exact), ``seed`` and ``markers`` (JSON).
        With ``engine="phenograph"`` also ``reported_modularity``: what its package reports, which counts edges
        without their weights at a resolution of 1, and mostly reads as lower.
    ``adata.obsp["distances"]`` : CSR matrix of float32, cells x cells
        Euclidean distances to the k neighbours, nearest first, as ``scanpy.pp.neighbors`` writes them.
    ``adata.obsp["connectivities"]`` : CSR matrix of float32, cells x cells, symmetric
        The graph that is clustered. With another `neighbors_key` both names begin with it and an underscore.
    ``adata.uns[neighbors_key]`` : dict
        ``connectivities_key``, ``distances_key`` and ``params``: ``n_neighbors`` (k + 1: scanpy counts the cell
        itself), ``method`` (``"jaccard"``), ``metric`` (``"euclidean"``), ``random_state``, ``use_rep`` (``"X"``)
        and ``markers`` (JSON). ``scanpy.tl.umap``, ``leiden``, ``paga`` and ``diffmap`` go on from here without a
        search of their own. With ``engine="phenograph"`` too they are ours, not those of the package.
    ``adata.uns[key_added + "_colors"]`` : list of text
        A colour per category, that of cytocar's figures, which scanpy's figures then take too.

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
    >>> x = rng.normal(size=(120, 4)) + 8 * numpy.repeat(numpy.eye(4)[:3], 40, axis=0)
    >>> cells = anndata.AnnData(x.astype("float32"), var=pandas.DataFrame(index=["CD3", "CD4", "CD8", "Ki67"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> phenograph(cells, markers=["CD3", "CD4", "CD8", "Ki67"], k=20)
    >>> cells.obs["phenograph"].value_counts().to_dict()
    {'1': 40, '2': 40, '3': 40}
    """
    x, names = _input.marker_matrix(adata, markers, "tl.phenograph")
    n = x.shape[0]
    neighbours = checks.whole_or_auto(k, "k", 2, n // 2, why=f"half of the {n} cells") or auto_k(n)
    gamma = checks.positive_number(resolution, "resolution")
    checks.whole_number(min_size, "min_size", 1)
    runs = checks.whole_or_auto(n_runs, "n_runs", 1)
    require_own_name(neighbors_key, key_added)
    threads = checks.n_threads(n_jobs)
    if engine == "cytocar":
        clustering = communities(x, k=neighbours, resolution=gamma, n_runs=runs, seed=seed, n_jobs=threads)
    elif engine == "phenograph":
        clustering = _published(x, k=neighbours, resolution=gamma, seed=seed, n_jobs=threads)
    else:
        raise ParameterError(f"engine is {engine!r}", fix="it must be 'cytocar' or 'phenograph'")

    labels = _groups.labels_by_size(clustering.labels, min_size)
    result = adata.copy() if copy else adata
    result.obs[key_added] = _groups.as_categorical(labels)
    palette.store(result, key_added)
    facts = {
        "k": neighbours,
        "resolution": gamma,
        "modularity": clustering.modularity,
        "n_clusters": int(max(labels.max(), 0)),
        "n_runs": len(clustering.run_modularity),
        "run_ari": clustering.stability,
        "min_size": min_size,
        "engine": engine,
        "neighbours": clustering.neighbours,
        "recall": clustering.recall,
        "seed": int(seed),
    }
    result.uns[key_added] = {
        **facts,
        "run_modularity": clustering.run_modularity,
        "markers": json.dumps(names),
    }
    if clustering.reported is not None:
        result.uns[key_added]["reported_modularity"] = clustering.reported
    if clustering.shared is not None and neighbors_key is not None:
        store(result, clustering.shared, names, seed=seed, key=neighbors_key)
    provenance.record(result, "tl.phenograph", {**facts, "markers": names, "key_added": key_added})
    return result if copy else None
