"""Everything that comes from clusters: labels and maps on the cells, and the tables made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar.study._pool import run_all

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.io import StudyConfig

MIN_CELLS_TO_CLUSTER = 50
"""Fewer cells than this are counted and compared, but not clustered or mapped."""


@dataclass(frozen=True)
class _Labelling:
    """One method, its settings and the cells it labels: a task of its own, so that methods may run side by side."""

    method: str
    cells: AnnData
    settings: dict[str, Any]


def _label(task: _Labelling) -> AnnData:
    """Run one method; return a matrix-free AnnData that holds just what the method added."""
    import anndata

    from cytocar import tl

    before = {"obs": set(task.cells.obs), "obsm": set(task.cells.obsm), "uns": set(task.cells.uns)}
    getattr(tl, task.method)(task.cells, **task.settings)
    added = anndata.AnnData(
        obs=task.cells.obs[[column for column in task.cells.obs if column not in before["obs"]]].copy()
    )
    for key in task.cells.obsm:
        if key not in before["obsm"]:
            added.obsm[key] = np.asarray(task.cells.obsm[key])
    for key in task.cells.uns:
        if key not in before["uns"]:
            added.uns[key] = task.cells.uns[key]
    return added


def label_cells(cells: AnnData, config: StudyConfig, *, workers: int) -> list[str]:
    """Cluster and map the cells of interest (CAR-T, or all cells of a study without), in place.

    Sets the cluster labels in `obs` (empty for cells that were not clustered) and the maps in `obsm` (NaN for them).
    Returns remarks for the report.
    """
    import pandas as pd

    chosen = np.flatnonzero(
        np.isin(np.asarray(cells.obs[keys.COMPARTMENT].astype(str)), [keys.CAR, keys.CELLS])
    )
    if chosen.size < MIN_CELLS_TO_CLUSTER:
        return [
            f"Clusters and maps were left out: {chosen.size} cells, and fewer than {MIN_CELLS_TO_CLUSTER} "
            "cannot carry them."
        ]
    part = cells[chosen].copy()
    part.layers.pop(keys.COUNTS, None)
    markers = None if config.clustering.markers == "clustering" else list(config.clustering.markers)
    common: dict[str, Any] = {"markers": markers, "seed": config.seed}
    tasks = []
    if config.clustering.method in ("phenograph", "both"):
        tasks.append(_Labelling("phenograph", part.copy(), {**common, "k": config.clustering.k}))
    if config.clustering.method in ("flowsom", "both"):
        tasks.append(
            _Labelling("flowsom", part.copy(), {**common, "metaclusters": config.clustering.metaclusters})
        )
    maps = ("tsne", "umap") if config.embedding == "both" else (config.embedding,)
    tasks += [_Labelling(name, part.copy(), dict(common)) for name in maps if name != "off"]
    for added in run_all(_label, tasks, workers=workers):
        for column in added.obs:
            values = added.obs[column]
            if isinstance(values.dtype, pd.CategoricalDtype):
                full = np.full(cells.n_obs, "", dtype=object)
                full[chosen] = np.asarray(values.astype(str), dtype=object)
                cells.obs[column] = pd.Categorical(full, [*map(str, values.cat.categories), ""])
            elif values.dtype == bool:
                flags = np.zeros(cells.n_obs, bool)
                flags[chosen] = values
                cells.obs[column] = flags
            else:
                numbers = np.full(cells.n_obs, np.nan)
                numbers[chosen] = np.asarray(values, float)
                cells.obs[column] = numbers
        for key in added.obsm:
            whole = np.full((cells.n_obs, added.obsm[key].shape[1]), np.nan, np.float32)
            whole[chosen] = added.obsm[key]
            cells.obsm[key] = whole
        for key in added.uns:
            cells.uns[key] = added.uns[key]
    return []


def methods_of(cells: AnnData) -> list[str]:
    """Return the clusterings that `cells` carry."""
    return [method for method in (keys.PHENOGRAPH, keys.FLOWSOM) if method in cells.obs]


def _interesting(cells: AnnData) -> np.ndarray:
    """Return which cells are clustered: no CAR-T gate of a tube without CAR-T cells holds any."""
    inside = np.isin(np.asarray(cells.obs[keys.COMPARTMENT].astype(str)), [keys.CAR, keys.CELLS])
    control = np.asarray(cells.obs[keys.ROLE].astype(str)) == "negative_control"
    return np.asarray(inside & ~control)


def of_interest(cells: AnnData) -> AnnData:
    """Return the clustered cells: CAR-T cells, or all cells of a study without CAR-T cells."""
    part = cells[np.flatnonzero(_interesting(cells))].copy()
    for method in methods_of(part):
        part.obs[method] = part.obs[method].cat.remove_unused_categories()
    return part


def cluster_tables(cells: AnnData, thresholds: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Return the tables of all clusterings that `cells` carry; none where there are none.

    Parameters
    ----------
    cells
        The kept cells of all samples, labelled.
    thresholds
        The thresholds of all samples, from which a marker counts as positive.
    """
    import pandas as pd

    from cytocar import tl

    found = of_interest(cells)
    methods = methods_of(found)
    if not methods:
        return {}
    numbers = _thresholds_for_profiles(thresholds)
    tables = {
        "clusters": pd.concat(
            [tl.cluster_frequencies(found, method) for method in methods], ignore_index=True
        ),
        "cluster_profiles": pd.concat(
            [tl.cluster_profiles(found, method, thresholds=numbers) for method in methods], ignore_index=True
        ),
    }
    if len(methods) == 2:
        tables["agreement"] = tl.agreement(found, *methods)
    return tables


def _thresholds_for_profiles(thresholds: pd.DataFrame | None) -> dict[str, float]:
    """Return one number a marker: the median over the samples of the threshold found in each."""
    if thresholds is None or thresholds.empty:
        return {}
    middle = thresholds.groupby("marker", sort=True)["value"].median()
    return {str(marker): float(value) for marker, value in middle.items()}
