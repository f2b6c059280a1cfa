"""The figures of the chapter that compares patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar.report._figure import FigureOfRun

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun


def _has_effects(name: str) -> Any:
    """Return whether a table of a run has a number to draw."""

    def possible(run: FinishedRun) -> bool:
        table = run.tables.get(name)
        return table is not None and bool(table["effect"].notna().any())

    return possible


def _asked(run: FinishedRun, name: str) -> pd.DataFrame:
    """Return a table in which a contrast that was asked at several timepoints is called by its timepoint too."""
    table = run.tables[name]
    when = table[keys.TIMEPOINT].fillna("").astype(str)
    if when[when != ""].nunique() < 2:
        return table
    named = [
        f"{contrast}, {time}" if time else contrast
        for contrast, time in zip(table["contrast"], when, strict=True)
    ]
    return table.assign(contrast=named)


def _abundance(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.abundance(_asked(run, "abundance"))


def _state(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.state(_asked(run, "state"))


def _last_time(run: FinishedRun) -> str:
    """Return the last timepoint at which groups were compared; empty where times play no part."""
    when = [str(time) for time in run.tables["abundance"][keys.TIMEPOINT].dropna() if str(time)]
    return when[-1] if when else ""


def _sheet(run: FinishedRun) -> pd.DataFrame:
    """Return what the cells say of their samples, of one timepoint where groups were compared at several."""
    obs, time = run.cells.obs, _last_time(run)
    if time:
        obs = obs[(obs[keys.TIMEPOINT].astype(str) == time).to_numpy()]
    columns = [name for name in (keys.SAMPLE, keys.GROUP, keys.BATCH, keys.ROLE) if name in obs]
    sheet: pd.DataFrame = obs[columns].drop_duplicates(keys.SAMPLE)
    return sheet


def _method(run: FinishedRun) -> str | None:
    """Return the clustering whose clusters were compared."""
    compared = set(run.tables["abundance"]["of"].astype(str))
    return next((method for method in run.methods if method in compared), None)


def _cluster_groups(run: FinishedRun) -> Any:
    from cytocar import pl

    tests, time = run.tables["abundance"], _last_time(run)
    if time:
        tests = tests[tests[keys.TIMEPOINT].astype(str) == time]
    return pl.cluster_groups(run.tables["clusters"], _sheet(run), method=_method(run), tests=tests)


def _groups_known(run: FinishedRun) -> bool:
    if not _has_effects("abundance")(run) or "clusters" not in run.tables or keys.GROUP not in run.cells.obs:
        return False
    groups = {group for group in run.cells.obs[keys.GROUP].astype(str) if group not in ("", "nan")}
    return len(groups) > 1 and _method(run) is not None


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "abundance",
        "Shares: comparison between patients",
        "Ratio of shares with 95 % intervals; filled where the adjusted p is at most 0.05. The unit is the patient.",
        _has_effects("abundance"),
        _abundance,
    ),
    FigureOfRun(
        "cluster_groups",
        "The share of every cluster in every sample, by group",
        "A point is a sample, the line the median of the group; the number is the smallest adjusted p among the "
        "comparisons of groups, at the last timepoint where they were compared. Shapes are batches.",
        _groups_known,
        _cluster_groups,
    ),
    FigureOfRun(
        "state",
        "Markers of clusters: comparison between patients",
        "Difference of medians with 95 % intervals, for the markers of clusters with the smallest p; filled where the "
        "adjusted p is at most 0.05. The unit is the patient.",
        _has_effects("state"),
        _state,
    ),
)
