"""Clusters: what they are, how many cells each sample has of them, and the maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar.report._figure import FigureOfRun, has, table
from cytocar.report._format import METHODS, Row, SmallTable, interval, percent, records

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun


_MAPS = {"X_tsne": "t-SNE", "X_umap": "UMAP"}


def chapter(run: FinishedRun) -> dict[str, Any]:
    """Return what the template of this chapter needs."""
    return {
        "made": _made(run),
        "agreement": _agreement(run.tables.get("agreement")),
        "reference": _reference(run.tables.get("reference")),
        "stability": _stability(run.tables.get("stability"), run.tables.get("cluster_stability")),
        "names": _names(run),
        "maps": _map_quality(run.tables.get("map_quality")),
    }


def _made(run: FinishedRun) -> list[str]:
    """Say how each clustering was made: its settings, and how exact its search and how repeatable its result."""
    uns = run.cells.uns
    found = []
    if keys.PHENOGRAPH in run.methods and "k" in uns.get(keys.PHENOGRAPH, {}):
        found.append(_phenograph(uns[keys.PHENOGRAPH]))
    if keys.FLOWSOM in run.methods and "grid" in uns.get(keys.FLOWSOM, {}):
        found.append(_flowsom(uns[keys.FLOWSOM]))
    return found


def _phenograph(kept: Mapping[str, Any]) -> str:
    text = f"PhenoGraph: {int(kept['n_clusters'])} clusters from the {int(kept['k'])} nearest neighbours of every cell"
    recall = float(kept.get("recall", float("nan")))
    if kept.get("neighbours") == "exact":
        text += ", all of which were found (exact search)"
    elif recall == recall:
        text += f", of which {100 * recall:.1f} % were found (approximate search, measured on a part of the cells)"
    runs = int(kept.get("n_runs", 0))
    if runs > 1:
        text += f"; the best of {runs} starts"
        agreed = float(kept.get("run_ari", float("nan")))
        if agreed == agreed:
            text += f", which agree with an adjusted Rand index of {agreed:.2f}"
    return text + "."


def _flowsom(kept: Mapping[str, Any]) -> str:
    width, height = (int(side) for side in kept["grid"])
    forms = {"online": "trained cell by cell", "batch": "trained on all cells at a time"}
    how = forms.get(str(kept.get("method")), str(kept.get("method")))
    rounds = f" in {int(kept['rlen'])} rounds" if "rlen" in kept else ""
    chosen = {
        "auto": "their number was chosen by the modularity of the cells",
        "given": "their number was stated",
    }.get(str(kept.get("chosen")), "")
    return (
        f"FlowSOM: a map of {width} by {height} nodes, {how}{rounds}, its nodes joined to {int(kept['n_clusters'])} "
        f"metaclusters{f'; {chosen}' if chosen else ''}."
    )


def _agreement(table: pd.DataFrame | None) -> list[str]:
    return [
        f"{METHODS.get(row.method_a, row.method_a)} and {METHODS.get(row.method_b, row.method_b)} agree with an "
        f"adjusted Rand index of {row.ari:.2f} over {int(row.n_cells):,} cells (1: the same clusters, 0: no more "
        "than by chance)."
        for row in ([] if table is None else records(table))
    ]


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
            f"{METHODS.get(str(method), method)} found again: adjusted Rand index {' and '.join(words)}; "
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
        title = METHODS.get(str(method), str(method))
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
        f"cell ({percent(100 * row.by_chance)} % by chance)"
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


def _several_times(run: FinishedRun) -> bool:
    return int(run.clustered.obs[keys.TIMEPOINT].astype(str).nunique()) > 1


def _has_subsets(run: FinishedRun) -> bool:
    known = run.clustered.obs.get(keys.SUBSET)
    return known is not None and not set(known.astype(str)) <= {"", "nan", "none"}


def _words_of_times(run: FinishedRun) -> str:
    how = ": by cluster above, by subset below" if _has_subsets(run) else ", by cluster"
    return (
        f"The same map in every panel; cells of the timepoint in colour{how}, all others grey. Distances on the map "
        "are for looking only; the clusters were found among the markers."
    )


def _words_of_map(run: FinishedRun) -> str:
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
            _words_of_times,
            lambda run: _mapped(key)(run) and _several_times(run),
            _map("map_timepoints", basis),
        ),
        FigureOfRun(
            f"{basis}_clusters",
            f"{name} by cluster",
            _words_of_map,
            _mapped(key),
            _map("map_clusters", basis),
        ),
        FigureOfRun(
            f"{basis}_markers",
            f"{name} by marker",
            "Expression in arcsinh units, each marker on its own scale from its 1st to its 99th percentile.",
            _mapped(key),
            _map("map_markers", basis),
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
