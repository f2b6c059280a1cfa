"""FlowSOM: a self-organising map of the cells, and consensus clusters of its nodes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from cytocar._core import checks, keys, palette, provenance
from cytocar._core.errors import ParameterError
from cytocar.tl import _groups, _input
from cytocar.tl._clusters.consensus import LINKAGES, Linkage, growth
from cytocar.tl._clusters.metaclusters import (
    choose_cut,
    cut_nodes,
    cut_quality,
    largest_cut,
    numbered,
    require_few,
)
from cytocar.tl._clusters.som import (
    Method,
    checked_grid,
    checked_method,
    checked_rlen,
    self_organising_map,
)

if TYPE_CHECKING:
    from anndata import AnnData

MOST_METACLUSTERS: Final = 20


def flowsom(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    *,
    markers: str | Sequence[str] | None = None,
    grid: tuple[int, int] = (10, 10),
    metaclusters: int | Literal["auto"] = "auto",
    linkage: Linkage = "average_cells",
    method: Method = "auto",
    rlen: int | Literal["auto"] = "auto",
    seed: int = 0,
    n_jobs: int | None = None,
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
        Sides of the grid, each 2 to 100, and 2,500 nodes at most. With fewer than 5 cells per node it shrinks until
        there are 5; the grid used is reported.
    metaclusters
        How many, from 2 up to nine tenths of the nodes that have cells. ``"auto"`` takes the smallest
        number whose modularity in the graph of shared neighbours of the cells (that of `phenograph`, on at most
        5,000 cells) is within 0.002 of the best: cells themselves judge between the cuts, because the stability
        of nodes alone favours a handful of coarse clusters.
    linkage
        ``"average"`` is the published one. It cuts off outlying nodes of few cells first, so clusters of many cells
        stay joined until many are asked for; ``"average_cells"`` counts each node as often as it has cells, which
        avoids most of that. ``"ward"`` and ``"ward_cells"`` tend to clusters of equal size, which suits a known number
        of clusters, none of them rare. ``"complete"`` is there for comparison.
    method
        ``"online"`` trains the map as published. ``"batch"`` unfolds it on 100,000 cells in that way and then moves the
        nodes to the means of all their cells, which takes a fraction of the time. ``"auto"`` is online up to
        100,000 cells and batch above. See `flowsom_map`, which also takes cells that do not fit into memory.
    rlen
        How many times the map is shown all cells, at least 1. The published number is 10; ``"auto"`` is 10, and
        more where cells are few, so that there are 1,000 showings per node.
    seed
        Fixes the result, whatever `n_jobs` is.
    n_jobs
        Threads; -1 for all; `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.
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
        where a node is empty), ``n_clusters``, ``chosen`` (``"auto"`` or ``"given"``), ``grid``, ``linkage``,
        ``method`` (``"online"`` or ``"batch"``), ``rlen``, ``quantisation_error`` (mean distance), ``seed`` and
        ``markers`` (JSON). An empty node has the label of the nearest node with cells.

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
    sides = checked_grid(grid, x.shape[0])
    require_few(sides[0] * sides[1])
    form = checked_method(method, x.shape[0])
    checks.one_of(linkage, "linkage", LINKAGES)
    passes = checked_rlen(rlen, x.shape[0], sides[0] * sides[1])
    checks.whole_or_auto(metaclusters, "metaclusters", 2)
    threads = checks.n_threads(n_jobs)

    trained = self_organising_map(
        x, n_cells=len(x), grid=sides, rlen=passes, method=form, seed=seed, n_jobs=threads
    )
    node_cells = np.bincount(trained.node, minlength=len(trained.codes))
    used = int((node_cells > 0).sum())
    most = largest_cut(used)
    if most < 2:
        raise ParameterError(
            f"tl.flowsom: only {used} of {len(trained.codes)} nodes have cells, too few to group: the cells are too "
            "few or too much alike",
            fix="choose more cells or other markers",
        )
    reason = f"nine tenths of the {used} nodes that have cells"
    asked = checks.whole_or_auto(metaclusters, "metaclusters", 2, most, why=reason)
    largest = min(most, max(MOST_METACLUSTERS, asked or 0))
    cuts, consensus = cut_nodes(trained.codes, trained.node, largest, linkage, seed)
    quality = cut_quality(x, trained.node, cuts, seed, n_jobs=threads)
    position = choose_cut(quality) if asked is None else asked - 2
    by_k = np.array([numbered(cut, node_cells) for cut in cuts])
    labels = by_k[position][trained.node]

    result = adata.copy() if copy else adata
    result.obs[key_added] = _groups.as_categorical(labels)
    result.obs[f"{key_added}_node"] = trained.node
    result.obs[f"{key_added}_distance"] = trained.distance
    area = consensus.area()
    pairs = np.zeros((len(trained.codes),) * 2, np.float32)
    pairs[np.ix_(node_cells > 0, node_cells > 0)] = consensus.matrices[position]
    facts = {
        "n_clusters": position + 2,
        "chosen": "auto" if asked is None else "given",
        "linkage": str(linkage),
        "method": form,
        "rlen": passes,
        "seed": int(seed),
    }
    result.uns[key_added] = {
        **facts,
        "grid": np.array(sides),
        "quantisation_error": trained.quantisation_error(),
        "markers": json.dumps(names),
        "codes": trained.codes.astype(np.float32),
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
    palette.store(result, key_added)
    provenance.record(
        result, "tl.flowsom", {**facts, "grid": sides, "markers": names, "key_added": key_added}
    )
    return result if copy else None
