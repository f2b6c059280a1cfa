"""The application that every command is added to, and the options that hold for all commands."""

from __future__ import annotations

from typing import Annotated

import typer

from cytocar._core.version import __version__

app = typer.Typer(
    name="cytocar",
    help="Mass cytometry of CAR-T cells: from raw FCS files to counts, subsets, clusters and a report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
    # Listed for the help only: `main` takes it out of the arguments, before or after the command.
    _traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        typer.echo(f"cytocar {__version__}")
        raise typer.Exit
