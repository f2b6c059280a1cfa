"""Clusters: what they are, how many cells each sample has of them, and the maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cytocar.report._figure import FigureOfRun, has, table
from cytocar.report._text import Row, SmallTable, interval, percent, records, rows

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun


_METHODS = {"phenograph": "PhenoGraph", "flowsom": "FlowSOM"}
_MAPS = {"X_tsne": "t-SNE", "X_umap": "UMAP"}


def chapter(run: FinishedRun) -> dict[str, Any]:
    """Return what the template of this chapter needs."""
    return {
        "agreement": rows(run.tables.get("agreement")),
        "reference": _reference(run.tables.get("reference")),
        "stability": _stability(run.tables.get("stability"), run.tables.get("cluster_stability")),
        "names": _names(run),
        "maps": _map_quality(run.tables.get("map_quality")),
    }


def _reference(table: pd.DataFrame | None) -> list[str]:
    """Say how many cells of each sample fit nowhere in the reference, worst first."""
    if table is None:
        return []
    found = []
    for row in records(table.sort_values("share_outside", ascending=False, kind="stable")):
        share = interval(100 * row.share_outside, 100 * row.low, 100 * row.high)
        text = f"{row.sample_id}: {share} % of {int(row.n):,} cells fit nowhere in the reference"
        if row.low > row.expected:
            text += (
                f", more than the {percent(100 * row.expected)} % that cells like its own would give: there are kinds "
                "of cells that the reference does not have, or the sample was stained or normalised otherwise"
            )
        found.append(text + ".")
    return found


def _stability(methods: pd.DataFrame | None, clusters: pd.DataFrame | None) -> list[str]:
    """Say how much stays when the seed changes or cells are left out, and which clusters do not."""
    if methods is None or clusters is None:
        return []
    found = []
    for method, part in methods.groupby("method", sort=False):
        words = []
        for what, text in (("seed", "with other seeds"), ("resample", "on 80 % of the cells")):
            values = part.loc[part["what"] == what, "ari"]
            if len(values):
                words.append(f"{values.mean():.2f} {text} ({len(values)} times, lowest {values.min():.2f})")
        own = clusters[clusters["method"] == method]
        by_verdict = {
            word: [str(name) for name in own.loc[own["verdict"] == word, "cluster"]]
            for word in ("dissolved", "uncertain")
        }
        text = (
            f"{_METHODS.get(str(method), method)} found again: adjusted Rand index {' and '.join(words)}; "
            f"{int((own['verdict'] == 'stable').sum())} of {len(own)} clusters are stable"
        )
        for word, names in by_verdict.items():
            if names:
                text += f", {word}: {', '.join(names)}"
        found.append(text + ".")
    return found


def _names(run: FinishedRun) -> list[SmallTable]:
    """Return a table of the clusters of each method: what they are, how many cells, how stable."""
    table, stability = run.tables.get("cluster_names"), run.tables.get("cluster_stability")
    if table is None:
        return []
    found = []
    judged = {} if stability is None else {(r.method, r.cluster): r for r in records(stability)}
    for method, part in table.groupby("method", sort=False):
        given = bool((part["name"] != part["cluster"]).any())
        lines = []
        for row in records(part):
            kept = judged.get((row.method, row.cluster))
            known = kept is not None and kept.jaccard == kept.jaccard
            cells = [
                str(row.cluster),
                row.name if given else row.description,
                f"{int(row.n):,}",
                f"{kept.jaccard:.2f} ({kept.jaccard_low:.2f})" if kept is not None and known else "",
                kept.verdict if kept is not None and known else "",
            ]
            if given:
                cells.insert(2, row.description)
            tone = {"stable": "good", "dissolved": "weak"}.get(cells[-1], "")
            lines.append(Row(tuple(cells), tone))
        head = ["cluster", "name" if given else "what it is", "cells", "Jaccard (0.1 quantile)", "verdict"]
        if given:
            head.insert(2, "what it is")
        title = _METHODS.get(str(method), str(method))
        source = "cluster_names.csv, tables/cluster_stability.csv" if judged else "cluster_names.csv"
        found.append(
            SmallTable(tuple(head), tuple(lines), source, numeric_from=3 if given else 2, title=title)
        )
    return found


def _map_quality(table: pd.DataFrame | None) -> list[str]:
    if table is None:
        return []
    return [
        f"{_MAPS.get(row.basis, row.basis)} keeps {100 * row.kept:.0f} % of the {int(row.k)} nearest neighbours of a "
        f"cell ({100 * row.by_chance:.1f} % by chance)"
        for row in records(table)
    ]


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
        "stability",
        "How stable the clusters are",
        "Left: agreement of repeats with the clustering itself, with other seeds and on 80 % of the cells. Right: how "
        "much of each cluster is found again, as the mean over repeats and in the tenth with the least; from 0.75 it "
        "counts as stable, below 0.5 as dissolved.",
        has("stability", "cluster_stability"),
        table("stability", "stability", "cluster_stability"),
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
