"""What a figure of a run is; each chapter of the report lists its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


def has(*names: str) -> Callable[[FinishedRun], bool]:
    """Return whether a run has these tables, with rows in them."""
    return lambda run: all(name in run.tables and len(run.tables[name]) for name in names)


def table(function: str, *names: str) -> Callable[[FinishedRun], Any]:
    """Return how a figure is drawn from tables by a function of `pl`."""

    def draw(run: FinishedRun) -> Any:
        from cytocar import pl

        return getattr(pl, function)(*(run.tables[name] for name in names))

    return draw
