"""What commands print: lines, tables and progress."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer

if TYPE_CHECKING:
    import pandas as pd

    from cytocar._core.progress import Progress


# A line of text may be this long before it is wrapped in a table that is too wide.
_LONGEST_CELL: Final = 30
_BETWEEN_COLUMNS: Final = 2
_CLOSED_PIPE: Final = 128 + 13


def say(text: str) -> None:
    """Print one line of the result."""
    with _reader_may_leave():
        typer.echo(text)


def note(text: str) -> None:
    """Print what is worth knowing where problems are printed, so that both keep their order."""
    typer.echo(f"note: {text}", err=True)


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Stop as other tools do, without a word, where what reads the output (`| head`) has enough."""
    try:
        yield
    except BrokenPipeError:
        _leave()


def _leave() -> NoReturn:
    """End the command; nothing is left to be flushed into the closed pipe on the way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(_CLOSED_PIPE)


def number(value: float, form: str) -> str:
    """Format a number, or say that it is not known."""
    return f"{value:{form}}" if math.isfinite(value) else "not known"


def print_table(title: str, table: pd.DataFrame) -> None:
    """Print a table with its title, numbers to the right; one that is too wide in parts that begin with column 1."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            # rich would end with 1.
            _leave()

    console = Screen(file=sys.stdout, width=None if sys.stdout.isatty() else 140)
    cells = {str(column): [_cell(value) for value in table[column]] for column in table.columns}
    numeric = {str(column): table[column].dtype.kind in "iuf" for column in table.columns}
    with _reader_may_leave():
        for widths in parts(cells, console.width):
            drawn = Table(
                title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold"
            )
            for name, width in widths.items():
                drawn.add_column(
                    Text(name),
                    justify="right" if numeric[name] else "left",
                    overflow="fold",
                    width=width,
                )
            for row in zip(*(cells[name] for name in widths), strict=True):
                drawn.add_row(*(Text(value) for value in row))
            console.print(drawn)
            console.print()
            title = ""


def _least_width(name: str, cells: Sequence[str]) -> int:
    """Return the width at which no word of a column is broken, and no short cell is wrapped."""
    words = [*name.split(), *(cell for cell in cells if len(cell) <= _LONGEST_CELL)]
    words += [word for cell in cells if len(cell) > _LONGEST_CELL for word in cell.split()]
    return max((len(word) for word in words), default=0)


def parts(cells: Mapping[str, Sequence[str]], available: int) -> Iterator[dict[str, int]]:
    """Divide columns into parts that fit beside the first column; each column with its width."""
    least = {name: min(_least_width(name, values), available) for name, values in cells.items()}
    full = {name: max(map(len, (name, *values))) for name, values in cells.items()}
    parts: list[list[str]] = [[]]
    for name in cells:
        taken = sum(least[other] + _BETWEEN_COLUMNS for other in parts[-1])
        if taken + least[name] > available and len(parts[-1]) > 1:
            parts.append(parts[0][:1])
        parts[-1].append(name)
    for part in parts:
        widths = {name: least[name] for name in part}
        spare = available - sum(widths.values()) - _BETWEEN_COLUMNS * (len(part) - 1)
        for name in part:
            more = max(0, min(spare, full[name] - widths[name]))
            widths[name] += more
            spare -= more
        if widths:
            yield widths


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)


@contextmanager
def progress() -> Iterator[Progress]:
    """Give a callable that draws a bar on a terminal, and plain lines otherwise."""
    if not sys.stderr.isatty():
        yield _plain_lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bars:
        stages: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield advance


def _plain_lines(stage: str, done: int, total: int) -> None:
    typer.echo(f"{stage}: {done} of {total}", err=True)
