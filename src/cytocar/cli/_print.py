"""What commands print: lines, tables and progress."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from cytocar._core.progress import Progress


def say(text: str) -> None:
    """Print one line of the result."""
    typer.echo(text)


def number(value: float, form: str) -> str:
    """Format a number, or say that it is not known."""
    return f"{value:{form}}" if math.isfinite(value) else "not known"


def print_table(title: str, table: pd.DataFrame) -> None:
    """Print a table with its title, numbers to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        numeric = table[column].dtype.kind in "iuf"
        drawn.add_column(Text(str(column)), justify="right" if numeric else "left", overflow="fold")
    for row in table.itertuples(index=False):
        drawn.add_row(*(Text(_cell(value)) for value in row))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140)
    console.print(drawn)
    console.print()


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
