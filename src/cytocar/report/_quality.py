"""Quality of the files: beads, spillover, clean-up, stability over the acquisition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cytocar.report._figure import FigureOfRun, has
from cytocar.report._format import rows

if TYPE_CHECKING:
    from cytocar.report._load import FinishedRun


def chapter(run: FinishedRun) -> dict[str, Any]:
    """Return what the template of this chapter needs."""
    return {
        "audit": [row for row in rows(run.tables.get("car_audit")) if row["source"] == "all"],
        "losses": rows(run.tables.get("cleaning_losses")),
    }


def _spillover(run: FinishedRun) -> Any:
    from cytocar import pl, pp

    return pl.spillover(pp.read_spillover(run.folder / "tables" / "spillover.csv"))


def _judged(run: FinishedRun) -> Any:
    """Return which rows are of files whose stability was judged: those with a time channel."""
    return run.tables["time_quality"]["start_s"].notna()


def _cleaning_pages(run: FinishedRun) -> int:
    from cytocar import pl

    return pl.gating_pages(run.tables["cleaning_plots"])


def _cleaning(run: FinishedRun, page: int) -> Any:
    from cytocar import pl

    return pl.cleaning(run.tables["cleaning_plots"], page=page)


def _beads(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.beads(run.tables["bead_traces"], run.tables["beads"])


def _over_time(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.quality(run.tables["quality"])


def _time_quality(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.time_quality(run.tables["time_quality"][_judged(run)])


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "cleaning",
        "Clean-up",
        "Every criterion against DNA, on the events that were left when it was judged, with its limits; above each "
        "panel how many events it removed. Counts after normalisation and compensation, where these were done.",
        has("cleaning_plots"),
        _cleaning,
        _cleaning_pages,
        names_samples=True,
    ),
    FigureOfRun(
        "beads",
        "Calibration beads",
        "Smoothed signal of the beads over each file before and after normalisation, on one scale, and the factor that "
        "all channels were multiplied by.",
        has("bead_traces", "beads"),
        _beads,
        names_samples=True,
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
        lambda run: has("time_quality")(run) and bool(_judged(run).any()),
        _time_quality,
        names_samples=True,
    ),
    FigureOfRun(
        "quality",
        "Quality over acquisition time",
        "Event rate, share of cells, and signal of DNA, beads and CD45 along the acquisition of each file.",
        has("quality"),
        _over_time,
        names_samples=True,
    ),
)
