"""Leiden: communities of the graph of shared nearest neighbours, by scanpy and igraph."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from cytocar._core import checks, keys, palette, provenance, seeds
from cytocar._core.errors import CytocarError
from cytocar.tl import _groups, _input
from cytocar.tl._clusters.modularity import weighted_modularity
from cytocar.tl._clusters.phenograph import auto_k
from cytocar.tl._clusters.shared_neighbours import NEIGHBORS, require_own_name, shared_neighbours, store

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

# igraph has one generator for the whole process, which scanpy sets and puts back: one clustering at a time
_ONE_AT_A_TIME: Final = threading.Lock()


def leiden(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    *,
    markers: str | Sequence[str] | None = None,
    k: int | Literal["auto"] = "auto",
    resolution: float = 1.0,
    min_size: int = 10,
    n_iterations: int | Literal["auto"] = "auto",
    seed: int = 0,
    n_jobs: int | None = None,
    key_added: str = keys.LEIDEN,
    neighbors_key: str | None = NEIGHBORS,
    copy: bool = False,
) -> AnnData | None:
    r"""Cluster cells by the Leiden method of scanpy, on the graph of shared nearest neighbours of `phenograph`.

    The graph and the quality :math:`Q` are those of `phenograph`. The communities come from
    ``scanpy.tl.leiden(flavor="igraph", directed=False)``; `igraph` is under the GPL and is imported only here.
    Labels count from the largest cluster down.

    Method: Traag et al. 2019, Sci Rep 9:5233, doi:10.1038/s41598-019-41695-z. Graph: Levine et al. 2015,
    Cell 162:184, doi:10.1016/j.cell.2015.05.047. scanpy: Wolf et al. 2018, Genome Biol 19:15,
    doi:10.1186/s13059-017-1382-0.

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
    n_iterations
        Rounds of the method, at least 1. ``"auto"``: until a round changes nothing.
    seed
        Fixes the result, whatever `n_jobs` is.
    n_jobs
        Threads of the search for neighbours; -1 for all.
        `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.
    key_added
        Name of the result in ``obs`` and ``uns``.
    neighbors_key
        Name in ``uns`` of the neighbours in scanpy's form, as in `phenograph`; `None` stores none.
    copy
        Return a changed copy instead of changing `adata`.

    Returns
    -------
    `None`, or the copy. Sets the following fields:

    ``adata.obs[key_added]`` : categorical of text
        ``"1"``, ``"2"`` ... by size, ``"-1"`` for cells in clusters below `min_size`.
    ``adata.uns[key_added]`` : dict
        ``k`` (the value used), ``resolution``, ``modularity`` (before small clusters are set aside),
        ``n_clusters``, ``min_size``, ``n_iterations`` (as asked for), ``neighbours`` (``"exact"`` or, above 20,000
        cells, ``"inverted file"``), ``recall`` (share of the true neighbours found, measured on 256 cells; 1 where
        exact), ``seed`` and ``markers`` (JSON).
    ``adata.obsp["distances"]``, ``adata.obsp["connectivities"]``, ``adata.uns[neighbors_key]``
        The neighbours, in the form that `phenograph` describes.
    ``adata.uns[key_added + "_colors"]`` : list of text
        A colour per category, that of cytocar's figures.

    Raises
    ------
    CytocarError
        `igraph` is not installed.
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
    >>> leiden(cells, markers=["CD3", "CD4", "CD8", "Ki67"], k=20)
    >>> cells.obs["leiden"].value_counts().to_dict()
    {'1': 40, '2': 40, '3': 40}
    """
    x, names = _input.marker_matrix(adata, markers, "tl.leiden")
    n = x.shape[0]
    neighbours = checks.whole_or_auto(k, "k", 2, n // 2, why=f"half of the {n} cells") or auto_k(n)
    gamma = checks.positive_number(resolution, "resolution")
    checks.whole_number(min_size, "min_size", 1)
    rounds = checks.whole_or_auto(n_iterations, "n_iterations", 1)
    require_own_name(neighbors_key, key_added)
    threads = checks.n_threads(n_jobs)
    require_igraph()
    shared = shared_neighbours(x, neighbours, n_jobs=threads)
    graph = shared.connectivities()
    found = communities_of(graph, resolution=gamma, n_iterations=rounds or -1, seed=seed)

    labels = _groups.labels_by_size(found, min_size)
    result = adata.copy() if copy else adata
    result.obs[key_added] = _groups.as_categorical(labels)
    palette.store(result, key_added)
    facts = {
        "k": neighbours,
        "resolution": gamma,
        "modularity": weighted_modularity((graph.indptr, graph.indices, graph.data), found, resolution=gamma),
        "n_clusters": int(max(labels.max(), 0)),
        "min_size": min_size,
        "n_iterations": rounds or "auto",
        "neighbours": shared.near.how,
        "recall": shared.near.recall,
        "seed": int(seed),
    }
    result.uns[key_added] = {**facts, "markers": json.dumps(names)}
    if neighbors_key is not None:
        store(result, shared, names, seed=seed, key=neighbors_key)
    provenance.record(result, "tl.leiden", {**facts, "markers": names, "key_added": key_added})
    return result if copy else None


def require_igraph() -> None:
    """Raise unless igraph can be imported."""
    try:
        import igraph  # noqa: F401
    except ImportError as error:
        raise CytocarError(
            f"Leiden needs the package igraph, which cannot be imported: {error}",
            fix="install it with pip install igraph, or take phenograph, which does without",
        ) from error


def communities_of(graph: Any, *, resolution: float, n_iterations: int, seed: int) -> NDArray[np.int64]:
    """Return the community of each node of a symmetric CSR matrix, by scanpy's Leiden with igraph.

    Its random numbers are its own; those of `random`, NumPy and igraph are as before afterwards.
    """
    import anndata
    import pandas as pd
    import scanpy as sc

    nodes = anndata.AnnData(obs=pd.DataFrame(index=pd.RangeIndex(graph.shape[0]).astype(str)))
    with _ONE_AT_A_TIME:
        sc.tl.leiden(
            nodes,
            resolution,
            adjacency=graph,
            flavor="igraph",
            directed=False,
            n_iterations=n_iterations,
            random_state=seeds.integer_seed(seed, "leiden"),
        )
    return np.asarray(nodes.obs["leiden"].astype(int), np.int64)
