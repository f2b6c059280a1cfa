"""The tables made from clusters and maps, and the names that people gave the clusters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.vocabulary import CONTROL_ROLE, METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData

    from cytocar.io import StudyConfig

_AS_FOUND = "_as_found"
"""Ending of the column of `obs` that keeps the clusters as they were found, where they were given names."""


def methods_of(cells: AnnData) -> list[str]:
    """Return the clusterings that `cells` carry."""
    return [method for method in METHODS if method in cells.obs]


def interesting(cells: AnnData) -> np.ndarray:
    """Return which cells clusters are counted and judged by: none of negative controls."""
    inside = np.isin(np.asarray(cells.obs[keys.COMPARTMENT].astype(str)), [keys.CAR, keys.CELLS])
    control = np.asarray(cells.obs[keys.ROLE].astype(str)) == CONTROL_ROLE
    return np.asarray(inside & ~control)


def of_interest(cells: AnnData) -> AnnData:
    """Return the clustered cells: CAR-T cells, or all cells of a study without CAR-T cells."""
    part = cells[np.flatnonzero(interesting(cells))].copy()
    for method in methods_of(part):
        part.obs[method] = part.obs[method].cat.remove_unused_categories()
    return part


def cluster_tables(
    cells: AnnData,
    config: StudyConfig,
    folder: Path,
    thresholds: pd.DataFrame | None,
    stability: Mapping[str, pd.DataFrame],
) -> dict[str, pd.DataFrame]:
    """Return the tables of all clusterings and maps that `cells` carry; none where there are none.

    Where the settings name a table of cluster names, the clusters in `cells` get these first, in place.

    Parameters
    ----------
    cells
        The kept cells of all samples, labelled.
    config, folder
        The settings, and the folder that their paths start from.
    thresholds
        The thresholds of all samples, from which a marker counts as positive.
    stability
        ``stability``, ``cluster_stability`` and ``cluster_spread`` of the clusters before they were named.
    """
    import pandas as pd

    from cytocar import tl

    clustered = of_interest(cells)
    methods = methods_of(clustered)
    if not methods:
        return {}
    numbers = _thresholds_for_profiles(thresholds)
    names = _names(cells, clustered, methods, numbers)
    given: dict[tuple[str, str], str] = {}
    if config.clustering.names:
        given = _give_names(cells, folder / Path(config.clustering.names).expanduser())
        at = zip(names["method"], names["cluster"], names["name"], strict=True)
        names["name"] = [given.get((method, cluster), name) for method, cluster, name in at]
        clustered = of_interest(cells)
    tables = {
        "clusters": pd.concat(
            [tl.cluster_frequencies(clustered, method) for method in methods], ignore_index=True
        ),
        "cluster_profiles": pd.concat(
            [tl.cluster_profiles(clustered, method, thresholds=numbers) for method in methods],
            ignore_index=True,
        ),
        "cluster_names": names,
    }
    if len(methods) == 2:
        tables["agreement"] = tl.agreement(clustered, *methods)
    if stability:
        tables["stability"] = stability["stability"]
        tables["cluster_stability"] = _counted(stability["cluster_stability"], names)
        tables["clusters"] = _with_spread(tables["clusters"], stability["cluster_spread"], given)
    maps = [
        tl.map_quality(clustered, basis) for basis in (keys.TSNE, keys.UMAP) if _enough_on(clustered, basis)
    ]
    if maps:
        tables["map_quality"] = pd.concat(maps, ignore_index=True)
    if config.clustering.reference:
        tables["reference"] = tl.reference_fit(clustered)
    return tables


def _enough_on(clustered: AnnData, basis: str) -> bool:
    return basis in clustered.obsm and int(np.isfinite(clustered.obsm[basis]).all(axis=1).sum()) > 31


def _names(
    cells: AnnData, clustered: AnnData, methods: list[str], thresholds: dict[str, float]
) -> pd.DataFrame:
    """Describe all clusters; the table fits the cells as they are in cells.h5ad."""
    import pandas as pd

    from cytocar import tl
    from cytocar.tl._clusters.renaming import fingerprint

    return pd.concat(
        [
            tl.describe_clusters(clustered, method, thresholds=thresholds).assign(
                made_for=fingerprint(cells, method)
            )
            for method in methods
        ],
        ignore_index=True,
    )


def _give_names(cells: AnnData, path: Path) -> dict[tuple[str, str], str]:
    """Give the clusters the names of an edited table; return the name of each method and cluster."""
    from cytocar import tl
    from cytocar.tl._clusters.renaming import named_clusters, read_names

    table = read_names(path)
    given: dict[tuple[str, str], str] = {}
    for method in methods_of(cells):
        rows = table[table["method"] == method] if "method" in table else table
        if rows.empty:
            continue
        tl.rename_clusters(cells, path, key=method, key_added=f"{method}_named")
        cells.obs[method + _AS_FOUND] = cells.obs[method]
        cells.obs[method] = cells.obs.pop(f"{method}_named")
        clusters = [str(label) for label in cells.obs[method + _AS_FOUND].cat.categories]
        given |= {(method, cluster): name for cluster, name in named_clusters(rows, clusters)}
    return given


def _counted(table: pd.DataFrame, names: pd.DataFrame) -> pd.DataFrame:
    """Return the stability of clusters with the cells of patients only, as all tables count them.

    A cluster that holds cells of controls alone is empty by that count: it is not called stable, as it has no name.
    """
    n = names.set_index(["method", "cluster"])["n"]
    at = list(zip(table["method"], table["cluster"], strict=True))
    counted = table.assign(n=[int(n.get(key, 0)) for key in at])
    return counted[counted["n"] > 0].reset_index(drop=True)


def _with_spread(
    clusters: pd.DataFrame, spread: pd.DataFrame, given: Mapping[tuple[str, str], str]
) -> pd.DataFrame:
    """Add how far each frequency moves when cells are left out; not known of clusters that people merged."""
    names = list(given.items())
    merged = {
        (at[0], name) for at, name in names if sum(at[0] == b[0] and name == other for b, other in names) > 1
    }
    limits = {}
    for row in spread.to_dict(orient="records"):
        method = row["method"]
        name = given.get((method, row["cluster"]), row["cluster"])
        if (method, name) not in merged:
            limits[(row[keys.SAMPLE], method, name)] = (row["low_stability"], row["high_stability"])
    at = zip(clusters[keys.SAMPLE], clusters["method"], clusters["cluster"], strict=True)
    found = [limits.get(key, (np.nan, np.nan)) for key in at]
    return clusters.assign(
        low_stability=[low for low, _ in found], high_stability=[high for _, high in found]
    )


def _thresholds_for_profiles(thresholds: pd.DataFrame | None) -> dict[str, float]:
    """Return one number per marker: the median over the samples of the threshold found in each."""
    if thresholds is None or thresholds.empty:
        return {}
    middle = thresholds.groupby("marker", sort=True)["value"].median()
    return {str(marker): float(value) for marker, value in middle.items()}
