"""Clusters: what they are, how many cells each sample has of them, and the maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar.report._figures_clusters import FIGURES
from cytocar.report._format import METHODS, Row, SmallTable, interval, percent, records

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun


__all__ = ["FIGURES", "chapter"]

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
    sentences = []
    if keys.PHENOGRAPH in run.methods and "k" in uns.get(keys.PHENOGRAPH, {}):
        sentences.append(_phenograph(uns[keys.PHENOGRAPH]))
    if keys.FLOWSOM in run.methods and "grid" in uns.get(keys.FLOWSOM, {}):
        sentences.append(_flowsom(uns[keys.FLOWSOM]))
    if keys.LEIDEN in run.methods and "k" in uns.get(keys.LEIDEN, {}):
        sentences.append(_leiden(uns[keys.LEIDEN]))
    return sentences


def _on_neighbours(method: str, kept: Mapping[str, Any]) -> str:
    """Say how many clusters a method made of how many neighbours, and how many of these were found."""
    clusters, k = int(kept["n_clusters"]), int(kept["k"])
    text = f"{method}: {clusters} clusters from the {k} nearest neighbours of every cell"
    recall = float(kept.get("recall", float("nan")))
    if kept.get("neighbours") == "exact":
        text += ", all of which were found (exact search)"
    elif recall == recall:
        text += f", of which {100 * recall:.1f} % were found (approximate search, measured on a part of the cells)"
    return text


def _leiden(kept: Mapping[str, Any]) -> str:
    text = _on_neighbours(METHODS[keys.LEIDEN], kept)
    return f"{text}; modularity {float(kept['modularity']):.3f} at resolution {float(kept['resolution']):g}."


def _phenograph(kept: Mapping[str, Any]) -> str:
    text = _on_neighbours(METHODS[keys.PHENOGRAPH], kept)
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
    sentences = []
    for row in records(table.sort_values("share_outside", ascending=False, kind="stable")):
        share = interval(100 * row.share_outside, 100 * row.low, 100 * row.high)
        text = f"{row.sample_id}: {share} % of {int(row.n):,} cells fit nowhere in the reference"
        if row.low > row.expected:
            text += (
                f", more than the {percent(100 * row.expected)} % that cells like its own would give: there are kinds "
                "of cells that the reference does not have, or the sample was stained or normalised otherwise"
            )
        sentences.append(text + ".")
    return sentences


def _stability(methods: pd.DataFrame | None, clusters: pd.DataFrame | None) -> list[str]:
    """Say how much stays when the seed changes or cells are left out, and which clusters do not."""
    if methods is None or clusters is None:
        return []
    sentences = []
    for method, repeats in methods.groupby("method", sort=False):
        agreements = []
        for what, text in (("seed", "with other seeds"), ("resample", "on 80 % of the cells")):
            values = repeats.loc[repeats["what"] == what, "ari"]
            if len(values):
                agreements.append(
                    f"{values.mean():.2f} {text} ({len(values)} times, lowest {values.min():.2f})"
                )
        own = clusters[clusters["method"] == method]
        by_verdict = {
            word: [str(name) for name in own.loc[own["verdict"] == word, "cluster"]]
            for word in ("dissolved", "uncertain")
        }
        text = (
            f"{METHODS.get(str(method), method)} found again: adjusted Rand index {' and '.join(agreements)}; "
            f"{int((own['verdict'] == 'stable').sum())} of {len(own)} clusters are stable"
        )
        for word, names in by_verdict.items():
            if names:
                text += f", {word}: {', '.join(names)}"
        sentences.append(text + ".")
    return sentences


def _names(run: FinishedRun) -> list[SmallTable]:
    """Return a table of the clusters of each method: what they are, how many cells, how stable."""
    table, stability = run.tables.get("cluster_names"), run.tables.get("cluster_stability")
    if table is None:
        return []
    judged = {} if stability is None else {(row.method, row.cluster): row for row in records(stability)}
    source = "cluster_names.csv, tables/cluster_stability.csv" if judged else "cluster_names.csv"
    return [
        _names_of(str(method), own, judged, source) for method, own in table.groupby("method", sort=False)
    ]


def _names_of(
    method: str, table: pd.DataFrame, judged: Mapping[tuple[str, str], Any], source: str
) -> SmallTable:
    """Return the clusters of one method; names that a user gave stand before the descriptions."""
    given = bool((table["name"] != table["cluster"]).any())
    lines = []
    for row in records(table):
        jaccard, verdict = _stability_of(judged.get((row.method, row.cluster)))
        named = (row.name, row.description) if given else (row.description,)
        tone = {"stable": "good", "dissolved": "weak"}.get(verdict, "")
        lines.append(Row((str(row.cluster), *named, f"{int(row.n):,}", jaccard, verdict), tone))
    described = ("name", "what it is") if given else ("what it is",)
    return SmallTable(
        ("cluster", *described, "cells", "Jaccard (0.1 quantile)", "verdict"),
        tuple(lines),
        source,
        numeric_from=3 if given else 2,
        title=METHODS.get(method, method),
    )


def _stability_of(judged: Any) -> tuple[str, str]:
    """Return overlap and verdict of a cluster; empty where it was not judged."""
    if judged is None or judged.jaccard != judged.jaccard:
        return "", ""
    return f"{judged.jaccard:.2f} ({judged.jaccard_low:.2f})", judged.verdict


def _map_quality(table: pd.DataFrame | None) -> list[str]:
    if table is None:
        return []
    return [
        f"{_MAPS.get(row.basis, row.basis)} keeps {100 * row.kept:.0f} % of the {int(row.k)} nearest neighbours of a "
        f"cell ({percent(100 * row.by_chance)} % by chance)"
        for row in records(table)
    ]
