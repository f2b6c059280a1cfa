"""Clusters: what they are, how many cells each sample has of them, and the maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cytocar.report._figure import FigureOfRun, has
from cytocar.report._text import rows

if TYPE_CHECKING:
    from cytocar.report._load import FinishedRun


def chapter(run: FinishedRun) -> dict[str, Any]:
    """Return what the template of this chapter needs."""
    return {"agreement": rows(run.tables.get("agreement"))}


def _clustered(run: FinishedRun) -> bool:
    return bool(run.methods)


def _mapped(key: str) -> Callable[[FinishedRun], bool]:
    return lambda run: key in run.cells.obsm and bool(run.methods)


def _heatmap(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.heatmap(run.clustered, groupby=run.methods[0])


def _map(function: str, basis: str) -> Callable[[FinishedRun], Any]:
    def draw(run: FinishedRun) -> Any:
        from cytocar import pl

        return getattr(pl, function)(run.clustered, basis=basis)

    return draw


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
            "The same map in every panel; cells of the timepoint in colour, all others grey: by cluster above, by "
            "subset below. Distances on the map are for looking only; the clusters were found among the markers.",
            _mapped(key),
            _map("tsne_timepoints", basis),
        ),
        FigureOfRun(
            f"{basis}_clusters",
            f"{name} by cluster and subset",
            "All clustered cells, coloured by cluster and by subset.",
            _mapped(key),
            _map("tsne_clusters", basis),
        ),
        FigureOfRun(
            f"{basis}_markers",
            f"{name} by marker",
            "Expression in arcsinh units, each marker on its own scale from its 1st to its 99th percentile.",
            _mapped(key),
            _map("tsne_markers", basis),
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
        "cluster_frequencies",
        "Clusters per sample",
        "Share of each cluster in each sample, with exact 95 % intervals; the same colours as in the maps.",
        has("clusters"),
        _cluster_frequencies,
    ),
    *_maps("tsne", "t-SNE"),
    *_maps("umap", "UMAP"),
)
