"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytocar._core.errors import ParameterError

Files = Annotated[list[Path], typer.Argument(help="FCS files; they are only read.", metavar="FILE...")]
OutFolder = Annotated[Path, typer.Option("-o", "--out", help="A folder for the new files.", metavar="DIR")]
PanelOption = Annotated[
    str | None, typer.Option("--panel", help="A panel file, or the name of a panel that comes with cytocar.")
]
Deidentify = Annotated[
    bool, typer.Option("--deidentify", help="Keep only keywords that describe the measurement.")
]
Study = Annotated[Path, typer.Argument(help="A study folder, or its study.yaml.", metavar="STUDY")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="The same seed simulates the same study, byte for byte.")
]
SimulatedCells = Annotated[
    int | None, typer.Option("--cells", min=500, help="Live single CD45+ cells per file.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of this process.")]


def number_or_auto(text: str) -> float | str:
    """Return the number that a text holds, or the text itself, which the function that gets it checks."""
    try:
        return float(text)
    except ValueError:
        return text


def _processes(value: str | int) -> int:
    """Return the number of processes; the default comes as a number, what people type as text."""
    from cytocar.study._run.pool import number_of_workers

    text = str(value)
    try:
        return number_of_workers(int(text) if text.lstrip("-").isdecimal() else text)
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error


Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        parser=_processes,
        metavar="N|auto",
        help="Processes, each working on one file at a time; auto takes one per processor core.",
    ),
]
