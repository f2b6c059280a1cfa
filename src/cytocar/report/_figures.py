"""Which figures a run has, what each needs, and the words below it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cytocar._core import keys

if TYPE_CHECKING:
    from cytocar.report._load import FinishedRun


@dataclass(frozen=True)
class FigureOfRun:
    """One figure: the stem of its files, its title, the words below it, when it makes sense, and how it is drawn."""

    stem: str
    title: str
    caption: str
    possible: Callable[[FinishedRun], bool]
    draw: Callable[[FinishedRun], Any]


def _has(*names: str) -> Callable[[FinishedRun], bool]:
    return lambda run: all(name in run.tables and len(run.tables[name]) for name in names)


def _clustered(run: FinishedRun) -> bool:
    return bool(run.methods)


def _mapped(key: str) -> Callable[[FinishedRun], bool]:
    return lambda run: key in run.cells.obsm and bool(run.methods)


def _has_car_cells(run: FinishedRun) -> bool:
    return run.has_car and bool((run.of_patients.obs[keys.COMPARTMENT].astype(str) == keys.CAR).any())


def _heatmap(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.heatmap(run.clustered, groupby=run.methods[0])


def _map(function: str, basis: str) -> Callable[[FinishedRun], Any]:
    def draw(run: FinishedRun) -> Any:
        from cytocar import pl

        return getattr(pl, function)(run.clustered, basis=basis)

    return draw


def _table(function: str, *names: str) -> Callable[[FinishedRun], Any]:
    def draw(run: FinishedRun) -> Any:
        from cytocar import pl

        return getattr(pl, function)(*(run.tables[name] for name in names))

    return draw


def _cluster_frequencies(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.cluster_frequencies(
        run.tables["clusters"], run.tables.get("cluster_profiles"), samples=run.tables["samples"]
    )


def _cells(function: str) -> Callable[[FinishedRun], Any]:
    def draw(run: FinishedRun) -> Any:
        from cytocar import pl

        return getattr(pl, function)(run.of_patients)

    return draw


def _spillover(run: FinishedRun) -> Any:
    from cytocar import pl, pp

    return pl.spillover(pp.read_spillover(run.folder / "tables" / "spillover.csv"))


SHOWN_BESIDE_HOST = 6


def _car_vs_host(run: FinishedRun) -> Any:
    """Draw the published markers that the panel has, and those that differ most until there are enough."""
    from cytocar import pl
    from cytocar.panel.names import marker_key
    from cytocar.pl import BESIDE_HOST

    by_key = {marker_key(str(name)): str(name) for name in run.cells.var_names}
    markers = [by_key[marker_key(name)] for name in BESIDE_HOST if marker_key(name) in by_key]
    table = run.tables.get("comparisons")
    if table is not None and len(table):
        clustered = {row["marker"] for row in run.provenance["panel"] if row["used_for_clustering"]}
        rows = table[(table["comparison"] == "car vs host") & table["marker"].isin(clustered)]
        rows = rows[(rows["subset"] != keys.ALL) & ~rows["marker"].isin(["CD4", "CD8", "CD8a"])]
        # A large difference of a few cells says less than a middling one of thousands.
        weight = rows[["n_cells_a", "n_cells_b"]].min(axis=1)
        largest = rows.assign(size=rows["cliffs_delta"].abs() * weight).groupby("marker")["size"].sum()
        others = [
            name for name in largest.sort_values(ascending=False, kind="stable").index if name not in markers
        ]
        markers += others[: max(SHOWN_BESIDE_HOST - len(markers), 0)]
    return pl.violins_car_vs_host(run.of_patients, markers=markers or None)


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
        "kinetics",
        "CAR-T cells over time",
        "Share of CD45+ cells with exact 95 % intervals, logarithmic. An arrow is an upper limit: not detected.",
        _has("car_frequency", "kinetics"),
        _table("kinetics", "car_frequency", "kinetics"),
    ),
    FigureOfRun(
        "subsets",
        "Subsets over time",
        "CD4, CD8, double-negative (DN) and double-positive (DP) shares of CAR-T and of host T cells, with exact "
        "95 % intervals.",
        _has("subsets"),
        _table("subsets", "subsets", "car_frequency"),
    ),
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
        _has("clusters"),
        _cluster_frequencies,
    ),
    *_maps("tsne", "t-SNE"),
    *_maps("umap", "UMAP"),
    FigureOfRun(
        "violins_subsets",
        "Markers of the subsets over time",
        "CAR-T cells by subset and timepoint; n above each violin, points where there are few cells.",
        _has_car_cells,
        _cells("violins_subsets"),
    ),
    FigureOfRun(
        "violins_supplement",
        "More markers of the subsets over time",
        "As above, for the markers of the publication's supplement.",
        _has_car_cells,
        _cells("violins_supplement"),
    ),
    FigureOfRun(
        "violins_car_vs_host",
        "CAR-T cells beside host T cells",
        "The same tube, CAR-T cells beside the sampled host T cells: the markers of the publication that the panel "
        "has, and those that differ most.",
        _has_car_cells,
        _car_vs_host,
    ),
    FigureOfRun(
        "comparisons",
        "What changed over time",
        "Difference of medians with bootstrap 95 % intervals; the grey bar is the change of the host T cells of the "
        "same tubes.",
        _has("comparisons"),
        _table("comparisons", "comparisons"),
    ),
    FigureOfRun(
        "gating",
        "Gates",
        "Each row a sample, each panel a step of the strategy with its thresholds; numbers are percent of the parent.",
        _has("gating_plots", "thresholds"),
        _table("gating", "gating_plots", "thresholds", "ledger"),
    ),
    FigureOfRun(
        "thresholds",
        "Densities and thresholds",
        "The density each threshold was found in, on the cells of its own population.",
        _has("densities", "thresholds"),
        _table("thresholds", "densities", "thresholds"),
    ),
    FigureOfRun(
        "cleaning",
        "Clean-up",
        "Every criterion against DNA, on the events that were left when it was judged, with its limits; above each "
        "panel what it took. Counts after normalisation and compensation, where these were done.",
        _has("cleaning_plots"),
        _table("cleaning", "cleaning_plots"),
    ),
    FigureOfRun(
        "beads",
        "Calibration beads",
        "Smoothed signal of the beads over each file before and after normalisation, on one scale, and the factor that "
        "all channels were multiplied by.",
        _has("bead_traces", "beads"),
        _table("beads", "bead_traces", "beads"),
    ),
    FigureOfRun(
        "spillover",
        "Spillover matrix",
        "The matrix that the counts were compensated with, in percent of the emitting channel (rows).",
        lambda run: (run.folder / "tables" / "spillover.csv").is_file(),
        _spillover,
    ),
    FigureOfRun(
        "time_quality",
        "Unstable stretches",
        "Stretches of the acquisition in which signals or the rate of events were not as in most of the file.",
        _has("time_quality"),
        _table("time_quality", "time_quality"),
    ),
    FigureOfRun(
        "quality",
        "Quality over acquisition time",
        "Event rate, share of cells, and signal of DNA, beads and CD45 along the acquisition of each file.",
        _has("quality"),
        _table("quality", "quality"),
    ),
)
