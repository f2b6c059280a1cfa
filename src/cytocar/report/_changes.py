"""What changed over time, and how CAR-T cells differ from host T cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar._core.population_words import words
from cytocar._core.vocabulary import DOWN, INCONCLUSIVE, UNCHANGED, UP
from cytocar.report._figure import FigureOfRun, has
from cytocar.report._format import Row, SmallTable

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun


def chapter(run: FinishedRun) -> dict[str, Any]:
    """Return what the template of this chapter needs."""
    table = run.tables.get("comparisons")
    units = set() if table is None else set(table["unit"])
    return {
        "tables": change_tables(run),
        "subsets": ", ".join(f"{name} is {gate}" for name, gate in run.subset_gates.items()),
        "of_cells": "cell" in units,
        "of_patients": bool(units - {"cell"}),
        "cell_p_values": _cell_p_values(run),
    }


def _cell_p_values(run: FinishedRun) -> bool:
    """Whether p values of cells were asked for."""
    table = run.tables.get("comparisons")
    return table is not None and bool(table.loc[table["unit"] == "cell", "p_value"].notna().any())


def change_tables(run: FinishedRun) -> tuple[SmallTable, ...]:
    """Return who is up, down and unchanged: across patients first, over time, then CAR-T against host T."""
    table = run.tables.get("comparisons")
    if table is None or table.empty:
        return ()
    judged = table[(table[keys.COMPARTMENT] != keys.HOST) & table["marker"].isin(_markers_of_interest(run))]
    return (*_across(judged[judged["unit"] != "cell"]), *_of_each_patient(judged[judged["unit"] == "cell"]))


def _of_each_patient(judged: pd.DataFrame) -> list[SmallTable]:
    tables = []
    for comparison in dict.fromkeys(judged["comparison"]):
        own = judged[judged["comparison"] == comparison]
        if comparison == "car vs host":
            for timepoint in reversed(list(dict.fromkeys(own[keys.TIMEPOINT]))):
                at = own[own[keys.TIMEPOINT] == timepoint]
                tables.append(_change_table(f"{words().car} against {words().host}, {timepoint}", at))
        else:
            tables.append(_change_table(comparison, own))
    return tables


def _across(judged: pd.DataFrame) -> list[SmallTable]:
    """Return a table for each comparison whose unit is the patient."""
    tables = []
    for (comparison, timepoint), own in judged.groupby(["comparison", keys.TIMEPOINT], sort=False):
        shown = f"{words().car} against {words().host}" if comparison == "car vs host" else str(comparison)
        when = f", {timepoint}" if timepoint else ""
        tables.append(_change_table(f"{shown}{when}, across patients", own, unit="patients"))
    return tables


def _markers_of_interest(run: FinishedRun) -> set[str]:
    """Return the markers that tell about the cells: those they were clustered by, not those they were gated by."""
    panel = run.provenance.get("panel", [])
    return {row["marker"] for row in panel if row["used_for_clustering"]}


def _change_table(title: str, compared: pd.DataFrame, *, unit: str = "cells") -> SmallTable:
    several = keys.PATIENT in compared and compared[keys.PATIENT].nunique() > 1
    where = [keys.PATIENT, keys.SUBSET] if several else [keys.SUBSET]
    lines = []
    for key, group in compared.groupby(where, sort=False):
        calls = {call: list(group.loc[group["call"] == call, "marker"]) for call in (UP, DOWN, UNCHANGED)}
        unknown = int((group["call"] == INCONCLUSIVE).sum())
        n_a, n_b = (int(group[f"n_{unit}_{side}"].max()) for side in "ab")
        lines.append(
            Row(
                (
                    " ".join(map(str, key)),
                    f"{n_b:,}\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}{n_a:,}",
                    _names(calls[UP]),
                    _names(calls[DOWN]),
                    _names(calls[UNCHANGED]),
                    f"{unknown} of {len(group)}",
                )
            )
        )
    head = (keys.SUBSET, unit, UP, DOWN, UNCHANGED, INCONCLUSIVE)
    return SmallTable(head, tuple(lines), "comparisons.csv", numeric_from=len(head), title=title)


def _names(markers: Sequence[str]) -> str:
    return ", ".join(map(str, markers)) if markers else "none"


def _has_car_cells(run: FinishedRun) -> bool:
    return run.has_car and bool((run.of_patients.obs[keys.COMPARTMENT].astype(str) == keys.CAR).any())


def _violins_subsets(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.violins_subsets(run.of_patients)


def _violins_supplement(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.violins_supplement(run.of_patients)


SHOWN_BESIDE_HOST = 6


def _car_vs_host(run: FinishedRun) -> Any:
    """Draw the published markers that the panel has, and those that differ most until there are enough."""
    from cytocar import pl
    from cytocar.panel.antigens import marker_index
    from cytocar.pl import BESIDE_HOST

    index = marker_index(str(name) for name in run.cells.var_names)
    at = [position for name in BESIDE_HOST if (position := index.position(name)) is not None]
    markers = [index.markers[position] for position in at]
    table = run.tables.get("comparisons")
    if table is not None and len(table):
        clustered = {row["marker"] for row in run.provenance["panel"] if row["used_for_clustering"]}
        of_cells = (table["comparison"] == "car vs host") & (table["unit"] == "cell")
        rows = table[of_cells & table["marker"].isin(clustered)]
        rows = rows[
            (rows[keys.SUBSET] != keys.ALL) & ~rows["marker"].isin([*index.find("CD4"), *index.find("CD8a")])
        ]
        # A large difference of a few cells says less than a middling one of thousands.
        weight = rows[["n_cells_a", "n_cells_b"]].min(axis=1)
        largest = rows.assign(size=rows["cliffs_delta"].abs() * weight).groupby("marker")["size"].sum()
        others = [
            name for name in largest.sort_values(ascending=False, kind="stable").index if name not in markers
        ]
        markers += others[: max(SHOWN_BESIDE_HOST - len(markers), 0)]
    return pl.violins_car_vs_host(run.of_patients, markers=markers or None)


def _comparisons(run: FinishedRun) -> Any:
    from cytocar import pl

    table = run.tables["comparisons"]
    return pl.compare(table[table["unit"] == "cell"])


def _violins_caption(run: FinishedRun) -> str:
    by = "subset and timepoint" if has("subsets")(run) else "timepoint"
    return f"{words().car_cells} by {by}; n above each violin, points where there are few cells."


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "violins_subsets",
        lambda run: "Markers of the subsets over time" if has("subsets")(run) else "Markers over time",
        _violins_caption,
        _has_car_cells,
        _violins_subsets,
    ),
    FigureOfRun(
        "violins_supplement",
        lambda run: (
            "More markers of the subsets over time" if has("subsets")(run) else "More markers over time"
        ),
        "As above, for the markers of the publication's supplement.",
        _has_car_cells,
        _violins_supplement,
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
        lambda run: has("comparisons")(run) and bool((run.tables["comparisons"]["unit"] == "cell").any()),
        _comparisons,
    ),
)
