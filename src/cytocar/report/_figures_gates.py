"""The figures of the chapter on gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar.report._figure import FigureOfRun, has

if TYPE_CHECKING:
    from cytocar.report._load import FinishedRun


def _pages(run: FinishedRun) -> int:
    from cytocar import pl

    return pl.gating_pages(run.tables["gating_plots"])


def _gating(run: FinishedRun, page: int) -> Any:
    from cytocar import pl

    plots, thresholds, ledger = (run.tables[name] for name in ("gating_plots", "thresholds", "ledger"))
    return pl.gating(
        plots,
        thresholds,
        ledger,
        strategy=run.provenance.get("strategy"),
        outlines=run.tables.get("gating_outlines"),
        page=page,
    )


def _backgating(run: FinishedRun, page: int) -> Any:
    from cytocar import pl

    return pl.backgating(
        run.cells,
        plots=run.tables["gating_plots"],
        thresholds=run.tables["thresholds"],
        ledger=run.tables["ledger"],
        strategy=run.provenance.get("strategy"),
        outlines=run.tables.get("gating_outlines"),
        page=page,
    )


def _ridges(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.ridges(run.tables["densities"], run.tables["thresholds"], samples=run.tables["samples"])


def _thresholds(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.thresholds(run.tables["densities"], run.tables["thresholds"])


def _robustness(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.robustness(run.tables["robustness"], samples=run.tables["samples"])


def _multiverse(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.multiverse(run.tables["multiverse"], samples=run.tables["samples"])


def _has_car_cells(run: FinishedRun) -> bool:
    drawn = has("gating_plots", "ledger")(run) and "thresholds" in run.tables
    return drawn and run.has_car and bool((run.cells.obs[keys.COMPARTMENT].astype(str) == keys.CAR).any())


def _has_numbers(run: FinishedRun, name: str, column: str) -> bool:
    table = run.tables.get(name)
    return table is not None and bool(table[column].notna().any())


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "gating",
        "Gates",
        "One row per sample, one panel per step of the strategy with its gates; numbers are percent of the parent.",
        has("gating_plots", "ledger"),
        _gating,
        _pages,
        names_samples=True,
    ),
    FigureOfRun(
        "backgating",
        "Where the CAR-T cells lie in every step",
        "CAR-T cells in colour over the density of all cells of the step. True ones lie together in every step; single "
        "ones at the edges of gates are doubtful.",
        _has_car_cells,
        _backgating,
        _pages,
        names_samples=True,
    ),
    FigureOfRun(
        "ridges",
        "The threshold of the CAR over all samples",
        "One ridge per sample, with the threshold between CAR-T and host T cells and, where it is known, the range in "
        "which it may lie. Look at a number that differs from all others.",
        lambda run: run.has_car and has("densities", "thresholds")(run),
        _ridges,
        names_samples=True,
    ),
    FigureOfRun(
        "thresholds",
        "Densities and thresholds",
        "The density each threshold was found in, on the cells of its own population.",
        has("densities", "thresholds"),
        _thresholds,
        names_samples=True,
    ),
    FigureOfRun(
        "robustness",
        "What moving each threshold does",
        "Each threshold at both ends of its 95 % range, the others as they are: how far the number moves. The black "
        "line is the number as found.",
        lambda run: _has_numbers(run, "robustness", "result_low"),
        _robustness,
        names_samples=True,
    ),
    FigureOfRun(
        "multiverse",
        "The same numbers under other rules",
        "Each mark is one combination of rules for the thresholds, from low to high, with its exact 95 % interval of "
        "counting; in colour the one that was used.",
        lambda run: _has_numbers(run, "multiverse", "result"),
        _multiverse,
        names_samples=True,
    ),
)
