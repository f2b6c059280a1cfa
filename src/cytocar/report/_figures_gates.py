"""The figures of the chapter on gates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar.report._figure import FigureOfRun, has, table

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


def _other_gates(function: str) -> Callable[[FinishedRun], Any]:
    def draw(run: FinishedRun) -> Any:
        from cytocar import pl

        return getattr(pl, function)(run.tables[function], samples=run.tables["samples"])

    return draw


def _has_car_cells(run: FinishedRun) -> bool:
    drawn = has("gating_plots", "ledger")(run) and "thresholds" in run.tables
    return drawn and run.has_car and bool((run.cells.obs[keys.COMPARTMENT].astype(str) == keys.CAR).any())


def _has_numbers(run: FinishedRun, name: str, column: str) -> bool:
    found = run.tables.get(name)
    return found is not None and bool(found[column].notna().any())


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "gating",
        "Gates",
        "Each row a sample, each panel a step of the strategy with its gates; numbers are percent of the parent.",
        has("gating_plots", "ledger"),
        _gating,
        _pages,
    ),
    FigureOfRun(
        "backgating",
        "Where the CAR-T cells lie in every step",
        "CAR-T cells in colour over the density of all cells of the step. True ones lie together in every step; single "
        "ones at the edges of gates are those to doubt.",
        _has_car_cells,
        _backgating,
        _pages,
    ),
    FigureOfRun(
        "ridges",
        "The threshold of the CAR over all samples",
        "One ridge a sample, with the number that divides CAR-T from host T cells and, where it is known, the range in "
        "which it may lie. A number that differs from all others is one to look at.",
        lambda run: run.has_car and has("densities", "thresholds")(run),
        _ridges,
    ),
    FigureOfRun(
        "thresholds",
        "Densities and thresholds",
        "The density each threshold was found in, on the cells of its own population.",
        has("densities", "thresholds"),
        table("thresholds", "densities", "thresholds"),
    ),
    FigureOfRun(
        "robustness",
        "What moving each threshold does",
        "Each threshold at both ends of its 95 % range, the others as they are: how far the number moves. The black "
        "line is the number as found.",
        lambda run: _has_numbers(run, "robustness", "result_low"),
        _other_gates("robustness"),
    ),
    FigureOfRun(
        "multiverse",
        "The same numbers under other rules",
        "Each mark is one combination of rules for the thresholds, from low to high, with its exact 95 % interval of "
        "counting; in colour the one that was used.",
        lambda run: _has_numbers(run, "multiverse", "result"),
        _other_gates("multiverse"),
    ),
)
