"""The figures of the chapter on patients against patients."""

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


def _abundance(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.abundance(run.tables["abundance"])


def _state(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.state(run.tables["state"])


def _sheet(run: FinishedRun) -> pd.DataFrame:
    """Return what the cells know of their samples."""
    columns = [name for name in (keys.SAMPLE, "group", "batch", keys.ROLE) if name in run.cells.obs]
    return run.cells.obs[columns].drop_duplicates(keys.SAMPLE)


def _method(run: FinishedRun) -> str | None:
    """Return the clustering whose clusters were compared."""
    compared = set(run.tables["abundance"]["of"].astype(str))
    return next((method for method in run.methods if method in compared), None)


def _cluster_groups(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.cluster_groups(
        run.tables["clusters"], _sheet(run), method=_method(run), tests=run.tables["abundance"]
    )


def _groups_known(run: FinishedRun) -> bool:
    if not _has_effects("abundance")(run) or "clusters" not in run.tables or "group" not in run.cells.obs:
        return False
    groups = {group for group in run.cells.obs["group"].astype(str) if group not in ("", "nan")}
    return len(groups) > 1 and _method(run) is not None


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "abundance",
        "Shares: patients against patients",
        "Ratio of shares with 95 % intervals; filled where the adjusted p is at most 0.05. The unit is the patient.",
        _has_effects("abundance"),
        _abundance,
    ),
    FigureOfRun(
        "cluster_groups",
        "The share of every cluster in every sample, by group",
        "A point is a sample, the line the median of the group; the number is the smallest adjusted p among the "
        "comparisons of groups. Shapes are batches.",
        _groups_known,
        _cluster_groups,
    ),
    FigureOfRun(
        "state",
        "Markers of clusters: patients against patients",
        "Difference of medians with 95 % intervals, for the markers of clusters with the smallest p; filled where the "
        "adjusted p is at most 0.05. The unit is the patient.",
        _has_effects("state"),
        _state,
    ),
)
