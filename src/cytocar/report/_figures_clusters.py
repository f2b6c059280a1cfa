"""The figures of the chapter on clusters and maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar.report._figure import FigureOfRun, has

if TYPE_CHECKING:
    from cytocar.report._load import FinishedRun


def _clustered(run: FinishedRun) -> bool:
    return bool(run.methods)


def _mapped(key: str) -> Callable[[FinishedRun], bool]:
    return lambda run: key in run.cells.obsm and bool(run.methods)


def _heatmap(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.heatmap(run.clustered, groupby=run.methods[0])


def _stability(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.stability(run.tables["stability"], run.tables["cluster_stability"])


def _map_timepoints(run: FinishedRun, *, basis: str) -> Any:
    from cytocar import pl

    return pl.map_timepoints(run.clustered, basis=basis)


def _map_clusters(run: FinishedRun, *, basis: str) -> Any:
    from cytocar import pl

    return pl.map_clusters(run.clustered, basis=basis)


def _map_markers(run: FinishedRun, *, basis: str) -> Any:
    from cytocar import pl

    return pl.map_markers(run.clustered, basis=basis)


def _several_times(run: FinishedRun) -> bool:
    return int(run.clustered.obs[keys.TIMEPOINT].astype(str).nunique()) > 1


def _has_subsets(run: FinishedRun) -> bool:
    subsets = run.clustered.obs.get(keys.SUBSET)
    return subsets is not None and not set(subsets.astype(str)) <= {"", "nan", "none"}


def _caption_of_times(run: FinishedRun) -> str:
    how = ": by cluster above, by subset below" if _has_subsets(run) else ", by cluster"
    return (
        f"The same map in every panel; cells of the timepoint in colour{how}, all others grey. Distances on the map "
        "are for looking only; the clusters were found among the markers."
    )


def _caption_of_map(run: FinishedRun) -> str:
    if _has_subsets(run):
        return "All clustered cells, coloured by cluster and by subset."
    return (
        "All clustered cells, coloured by cluster. Distances on the map are for looking only; the clusters were found "
        "among the markers."
    )


def _of_flowsom(run: FinishedRun) -> bool:
    kept = run.cells.uns.get(keys.FLOWSOM, {})
    return keys.FLOWSOM in run.methods and "codes" in kept and "node_cells" in kept


def _has_curve(run: FinishedRun) -> bool:
    from cytocar import tl

    if not _of_flowsom(run) or not len(run.cells.uns[keys.FLOWSOM].get("ks", ())):
        return False
    return bool(tl.metacluster_table(run.clustered)["delta_area"].notna().any())


def _delta_area(run: FinishedRun) -> Any:
    from cytocar import pl, tl

    return pl.delta_area(tl.metacluster_table(run.clustered))


def _flowsom_stars(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.flowsom_stars(run.clustered)


def _cluster_frequencies(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.cluster_frequencies(
        run.tables["clusters"], run.tables.get("cluster_profiles"), samples=run.tables["samples"]
    )


def _maps(basis: str, name: str) -> list[FigureOfRun]:
    key = f"X_{basis}"
    return [
        FigureOfRun(
            f"{basis}_timepoints",
            f"{name} by timepoint",
            _caption_of_times,
            lambda run: _mapped(key)(run) and _several_times(run),
            partial(_map_timepoints, basis=basis),
        ),
        FigureOfRun(
            f"{basis}_clusters",
            f"{name} by cluster",
            _caption_of_map,
            _mapped(key),
            partial(_map_clusters, basis=basis),
        ),
        FigureOfRun(
            f"{basis}_markers",
            f"{name} by marker",
            "Expression in arcsinh units, each marker on its own scale from its 1st to its 99th percentile.",
            _mapped(key),
            partial(_map_markers, basis=basis),
        ),
    ]


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "heatmap",
        "Clusters and their markers",
        "Median expression of each cluster, scaled for the picture from the 1st to the 99th percentile of each marker; "
        "the bar beside it is the cluster's share of all clustered cells.",
        _clustered,
        _heatmap,
    ),
    FigureOfRun(
        "stability",
        "How stable the clusters are",
        "Left: agreement of repeats with the clustering itself, with other seeds and on 80 % of the cells. Right: how "
        "much of each cluster is found again, as the mean over repeats and in the tenth with the least; from 0.75 it "
        "counts as stable, below 0.5 as dissolved.",
        has("stability", "cluster_stability"),
        _stability,
    ),
    FigureOfRun(
        "cluster_frequencies",
        "Clusters per sample",
        "Share of each cluster in each sample, with exact 95 % intervals; the same colours as in the maps.",
        has("clusters"),
        _cluster_frequencies,
        names_samples=True,
    ),
    FigureOfRun(
        "flowsom_stars",
        "The FlowSOM map",
        "A star is a node, its area the cells, its rays the markers that differ most between nodes, the colour behind "
        "it its metacluster; once on the tree that joins the most alike nodes, once on the grid of the map.",
        _of_flowsom,
        _flowsom_stars,
    ),
    FigureOfRun(
        "delta_area",
        "How many metaclusters",
        "What one metacluster more would add: where the area hardly grows, a further cut finds nothing new. Ambiguous "
        "pairs of nodes are joined in some repeats and not in others; modularity is of the cells. In colour the number "
        "that was taken.",
        _has_curve,
        _delta_area,
    ),
    *_maps("tsne", "t-SNE"),
    *_maps("umap", "UMAP"),
)
