"""Labels and maps on the cells of a run: computed from these cells, or taken from an earlier run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.measured import measured_everywhere, not_measured
from cytocar._core.vocabulary import BOTH
from cytocar.study._run.pool import run_all
from cytocar.study._tables.clusters import interesting

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.io import StudyConfig

MIN_CELLS_TO_CLUSTER = 50
"""Fewer cells than this are counted and compared, but not clustered or mapped."""


@dataclass(frozen=True)
class Labelled:
    """What labelling leaves beside the labels: remarks for the report, and the tables of stability by name."""

    remarks: list[str] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class _LabellingTask:
    """One method, its settings and the cells it labels: a task of its own, so that methods may run side by side."""

    method: str
    cells: AnnData
    settings: dict[str, Any]
    stability: bool = False


@dataclass(frozen=True)
class _Labels:
    """What one method added to the cells (a matrix-free AnnData), and how stable it is."""

    added: AnnData
    stability: tuple[pd.DataFrame, ...] = ()


def _label(task: _LabellingTask) -> _Labels:
    """Run one method; keep just what it added."""
    from cytocar import tl

    methods: dict[str, Callable[..., None]] = {
        keys.PHENOGRAPH: tl.phenograph,
        keys.FLOWSOM: tl.flowsom,
        keys.LEIDEN: tl.leiden,
        "tsne": tl.tsne,
        "umap": tl.umap,
    }
    before = _names(task.cells)
    methods[task.method](task.cells, **task.settings)
    stability: tuple[pd.DataFrame, ...] = ()
    if task.stability:
        stability = tuple(tl.stability(task.cells, task.method, seed=task.settings["seed"]))
    return _Labels(_added(task.cells, before), stability)


def _names(cells: AnnData) -> dict[str, set[str]]:
    return {"obs": set(cells.obs), "obsm": set(cells.obsm), "uns": set(cells.uns)}


def _added(cells: AnnData, before: dict[str, set[str]]) -> AnnData:
    import anndata

    added = anndata.AnnData(obs=cells.obs[[name for name in cells.obs if name not in before["obs"]]].copy())
    for key in cells.obsm:
        if key not in before["obsm"]:
            added.obsm[key] = np.asarray(cells.obsm[key])
    for key in cells.uns:
        if key not in before["uns"]:
            added.uns[key] = cells.uns[key]
    return added


def label_cells(cells: AnnData, config: StudyConfig, folder: Path, *, workers: int) -> Labelled:
    """Cluster and map the cells of interest (CAR-T, or all cells of a study without), in place.

    Without gates no cell of a negative control is clustered or mapped, so that clusters are counted, named, drawn and
    judged on the cells that made them; the few cells of controls within the CAR gate are clustered, and not counted.

    Sets the cluster labels in `obs` (empty for cells that were not clustered) and the maps in `obsm` (NaN for them).
    With a reference in the settings, relative to `folder`, nothing is clustered: the cells get its labels and maps.
    """
    in_gate = np.asarray(cells.obs[keys.COMPARTMENT].astype(str)) == keys.CAR
    chosen = np.flatnonzero(in_gate | interesting(cells))
    if config.clustering.reference and chosen.size:
        return _map_to_reference(cells, chosen, folder / Path(config.clustering.reference).expanduser())
    if chosen.size < MIN_CELLS_TO_CLUSTER:
        return Labelled(
            [
                f"Clusters and maps were left out: {chosen.size} cells, and fewer than {MIN_CELLS_TO_CLUSTER} "
                "cannot carry them."
            ]
        )
    clustered = _without_counts(cells, chosen)
    _leave_unmeasured_out(clustered, config)
    if keys.CLUSTERING in clustered.var:
        cells.var[keys.CLUSTERING] = clustered.var[keys.CLUSTERING].to_numpy()
    labels = run_all(_label, _tasks(clustered, config), workers=workers)
    for of_method in labels:
        _spread(cells, chosen, of_method.added)
    return Labelled(
        [], _stability_tables([of_method.stability for of_method in labels if of_method.stability])
    )


def _leave_unmeasured_out(cells: AnnData, config: StudyConfig) -> None:
    """Take markers that some sample lacks out of clusters and maps, in place; the check has said which."""
    if config.clustering.markers != "clustering" or not not_measured(cells):
        return
    used = cells.var[keys.CLUSTERING].to_numpy(dtype=bool)
    markers = [str(name) for name in cells.var_names[used]]
    everywhere = set(measured_everywhere(cells, markers))
    cells.var[keys.CLUSTERING] = used & np.array([str(name) in everywhere for name in cells.var_names])


def _without_counts(cells: AnnData, chosen: np.ndarray) -> AnnData:
    """Return some cells without their counts, which no method needs."""
    part = cells[chosen].copy()
    part.layers.pop(keys.COUNTS, None)
    return part


def _tasks(cells: AnnData, config: StudyConfig) -> list[_LabellingTask]:
    clustering = config.clustering
    markers = None if clustering.markers == "clustering" else list(clustering.markers)
    common: dict[str, Any] = {"markers": markers, "seed": config.seed}
    by_method: dict[str, dict[str, Any]] = {
        keys.PHENOGRAPH: {"k": clustering.k, "neighbors_key": None},
        keys.FLOWSOM: {"metaclusters": clustering.metaclusters},
        keys.LEIDEN: {"k": clustering.k, "neighbors_key": None},
    }
    wanted = BOTH if clustering.method == "both" else (clustering.method,)
    tasks = [
        _LabellingTask(method, cells.copy(), {**common, **own}, clustering.stability)
        for method, own in by_method.items()
        if method in wanted
    ]
    maps = ("tsne", "umap") if config.embedding == "both" else (config.embedding,)
    return tasks + [_LabellingTask(name, cells.copy(), dict(common)) for name in maps if name != "off"]


def _spread(cells: AnnData, chosen: np.ndarray, added: AnnData) -> None:
    """Write what was added to some cells into all: empty, False or NaN for the others."""
    import pandas as pd

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


def _stability_tables(by_method: list[tuple[pd.DataFrame, ...]]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    if not by_method:
        return {}
    names = ("stability", "cluster_stability", "cluster_spread")
    return {
        name: pd.concat(list(parts), ignore_index=True)
        for name, parts in zip(names, zip(*by_method, strict=True), strict=True)
    }


def _map_to_reference(cells: AnnData, chosen: np.ndarray, path: Path) -> Labelled:
    from cytocar import tl

    reference = tl.Reference.read(path)
    mapped = _without_counts(cells, chosen)
    before = _names(mapped)
    tl.map_to_reference(mapped, reference)
    _spread(cells, chosen, _added(mapped, before))
    return Labelled(
        [
            f"Nothing was clustered: {chosen.size} cells were mapped to the clusters and maps of {path.name}, a "
            f"reference of {reference.n_cells} cells."
        ]
    )
