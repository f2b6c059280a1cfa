"""Cells that are far from the node they fell to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.errors import ParameterError
from cytocar.tl._clusters.som_result import StoredMap, stored_map
from cytocar.tl._groups import grouping

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

LEVELS: Final = ("node", "cluster", "sample")


def limits(
    node: NDArray[np.int32], distance: NDArray[np.float64], nodes: int, mad: float
) -> NDArray[np.float64]:
    """Return for each node the median distance of its cells plus `mad` median absolute deviations; NaN if empty."""
    out = np.full(nodes, np.nan)
    order = np.argsort(node, kind="stable")
    edges = np.searchsorted(node[order], np.arange(nodes + 1))
    for number in range(nodes):
        own = distance[order[edges[number] : edges[number + 1]]]
        if len(own):
            middle = np.median(own)
            out[number] = middle + mad * np.median(abs(own - middle))
    return out


def _distances(adata: AnnData, key: str) -> NDArray[np.float64]:
    column = f"{key}_distance"
    if column not in adata.obs:
        raise ParameterError(f"obs has no column {column!r}", fix="run cytocar.tl.flowsom again")
    distance = np.asarray(adata.obs[column].to_numpy().astype(np.float64))
    if not np.isfinite(distance).all():
        raise ParameterError(
            f"obs[{column!r}] has values that are not finite", fix="run cytocar.tl.flowsom again"
        )
    return distance


def _same_map(stored: StoredMap, other: StoredMap) -> None:
    if stored.codes.shape != other.codes.shape or not np.array_equal(stored.codes, other.codes):
        raise ParameterError(
            f"reference: its map has {other.codes.shape[0]} nodes of {other.codes.shape[1]} markers and other codes "
            f"than the map of these data ({stored.codes.shape[0]} nodes of {stored.codes.shape[1]} markers)",
            fix="distances compare on one map only: map these cells onto the reference first",
        )


def flowsom_outliers(
    adata: AnnData,
    *,
    mad: float = 4,
    reference: AnnData | None = None,
    by: Literal["node", "cluster", "sample"] = "node",
    key: str = keys.FLOWSOM,
    sample_key: str = keys.SAMPLE,
) -> pd.DataFrame:
    r"""Mark cells that are farther from the code of their node than the cells of that node usually are.

    A cell of node :math:`j` is an outlier if its distance exceeds :math:`m_j + \text{mad} \cdot s_j`, where
    :math:`m_j` is the median and :math:`s_j` the median absolute deviation (not scaled) of the distances of the
    reference cells in that same node. Van Gassen et al. 2015, Cytometry A 87:636, doi:10.1002/cyto.a.22625; the rule
    is that of the authors' program (``TestOutliers``).

    Parameters
    ----------
    adata
        Cells with the node and the distance that `flowsom` wrote.
    mad
        Deviations allowed, above 0.
    reference
        Cells on the same map whose distances are taken as usual; `None` takes `adata` itself.
    by
        Rows of the table: ``"node"`` within sample, ``"cluster"`` within sample, or ``"sample"``.
    key
        The name of the result.
    sample_key
        Column of ``obs`` with the sample; without ``sample_id`` all cells are one sample named ``"all"``. Cells of no
        sample are marked, but in no row.

    Returns
    -------
    Table of the nodes (clusters) that have cells in the sample, in order of sample and node (cluster):

    ``sample_id`` : text
    ``node`` : int, ``cluster`` : text
        Node with its cluster for ``by="node"``; cluster only for ``by="cluster"``.
    ``cells``, ``outliers`` : int
    ``fraction`` : 0 to 1
        Outliers among the cells.
    ``threshold`` : arcsinh units
        Distance above which a cell is an outlier, for ``by="node"``. 0 in a node without reference cells: what falls
        there has no like in the reference, and all of it is outlying.

    Sets the following field:

    ``adata.obs[key + "_outlier"]`` : bool

    Raises
    ------
    ParameterError
        There is no such result or column, an argument is outside its domain, or `reference` is on another map.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> from cytocar import tl
    >>> x = numpy.random.default_rng(0).normal(size=(400, 2))
    >>> cells = anndata.AnnData(x.astype("float32"), var=pandas.DataFrame(index=["CD4", "CD8"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> tl.flowsom(cells, markers=["CD4", "CD8"], grid=(3, 3))
    >>> table = tl.flowsom_outliers(cells, by="sample")
    >>> table["sample_id"].tolist(), table["cells"].tolist()
    (['all'], [400])
    >>> int(cells.obs["flowsom_outlier"].sum()) == int(table["outliers"].sum())
    True
    """
    import pandas as pd

    mad = checks.positive_number(mad, "mad")
    checks.one_of(by, "by", LEVELS)
    stored = stored_map(adata, key)
    distance = _distances(adata, key)
    source, usual = stored, distance
    if reference is not None:
        source, usual = stored_map(reference, key), _distances(reference, key)
        _same_map(stored, source)
    threshold = limits(source.node, usual, len(stored.codes), mad)
    threshold[np.isnan(threshold)] = 0.0
    outlier = distance > threshold[stored.node]
    adata.obs[f"{key}_outlier"] = outlier

    if sample_key in adata.obs or sample_key != keys.SAMPLE:
        sample = grouping(adata, sample_key)[0]
    else:
        sample = np.full(adata.n_obs, keys.ALL)
    label = stored.array("node_labels")
    cells = pd.DataFrame(
        {keys.SAMPLE: sample.astype(object), "node": stored.node.astype(np.int64), "outlier": outlier}
    )
    cells["cluster"] = label[stored.node]
    cells = cells[sample != ""]
    within = {"node": ["node", "cluster"], "cluster": ["cluster"], "sample": []}[by]
    grouped = cells.groupby([keys.SAMPLE, *within], sort=False)["outlier"]
    table: pd.DataFrame = grouped.agg(cells="size", outliers="sum").reset_index()
    # samples in the order in which they come, the rest by number
    rank = {name: number for number, name in enumerate(dict.fromkeys(sample.tolist()))}
    table = table.iloc[np.lexsort([*(table[name] for name in within[::-1]), table[keys.SAMPLE].map(rank)])]
    table = table.reset_index(drop=True).astype({"cells": np.int64, "outliers": np.int64})
    table["fraction"] = table["outliers"] / table["cells"]
    if by == "node":
        table["threshold"] = threshold[table["node"]]
    if within:
        table["cluster"] = table["cluster"].astype(str)
    return table
