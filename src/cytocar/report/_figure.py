"""What a figure of a run is; each chapter of the report lists its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cytocar._core.population_words import words

if TYPE_CHECKING:
    from cytocar.report._load import FinishedRun


@dataclass(frozen=True)
class FigureOfRun:
    """One figure: the stem of its files, its title, its caption, for which runs it can be drawn, and how it is drawn.

    One of several pages says how many there are, and is drawn with the number of the page.
    """

    stem: str
    title: str | Callable[[FinishedRun], str]
    caption: str | Callable[[FinishedRun], str]
    possible: Callable[[FinishedRun], bool]
    draw: Callable[..., Any]
    pages: Callable[[FinishedRun], int] | None = None
    names_samples: bool = False
    """Whether samples are named in it, so that the page says what was left off their names."""

    def drawn(self, run: FinishedRun) -> list[Any]:
        """Return its pages."""
        if self.pages is None:
            return [self.draw(run)]
        return [self.draw(run, page) for page in range(1, self.pages(run) + 1)]

    def title_for(self, run: FinishedRun) -> str:
        """Return the title."""
        return words().say(self.title) if isinstance(self.title, str) else self.title(run)

    def caption_for(self, run: FinishedRun) -> str:
        """Return the caption."""
        return words().say(self.caption) if isinstance(self.caption, str) else self.caption(run)


def has(*names: str) -> Callable[[FinishedRun], bool]:
    """Return the condition that a run has these tables, with rows in them."""
    return lambda run: all(name in run.tables and len(run.tables[name]) for name in names)
