"""From the arguments to an exit code: what the user can fix is one message and 2, a bug of ours is 1."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import typer

from cytocar._core.errors import CytocarError

# Importing a group adds its commands; the order here is that of the help.
from cytocar.cli import _study  # noqa: F401

# isort: split
from cytocar.cli import _planning  # noqa: F401

# isort: split
from cytocar.cli import _files  # noqa: F401
from cytocar.cli._app import app

USER_CAN_FIX = 2
BUG = 1


def main() -> None:
    """Run the command line; turn what the user can fix into one message and exit code 2."""
    # A job that a cluster stops tidies up as after Ctrl-C: nothing half-written stays behind.
    signal.signal(signal.SIGTERM, _stop)
    arguments = sys.argv[1:]
    traceback = "--traceback" in arguments
    try:
        # --traceback may stand before or after the command, as people type it.
        app(args=[argument for argument in arguments if argument != "--traceback"], prog_name="cytocar")
    except (CytocarError, OSError) as error:
        if traceback:
            raise
        _explain(error)
        sys.exit(USER_CAN_FIX)
    except Exception as error:
        if traceback:
            raise
        typer.echo(f"cytocar: this is a bug in cytocar: {type(error).__name__}: {error}", err=True)
        _print_notes(error)
        typer.echo("  run the command again with --traceback and report the output", err=True)
        sys.exit(BUG)


def _stop(number: int, _: object) -> NoReturn:
    # Some send the signal twice, to the process and to its group: the second one must not interrupt the tidying up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def _explain(error: Exception) -> None:
    if isinstance(error, OSError) and not isinstance(error, CytocarError):
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"cytocar: {where}{error.strerror or error}", err=True)
    else:
        typer.echo(f"cytocar: {error}", err=True)
    _print_notes(error)


def _print_notes(error: Exception) -> None:
    for note in getattr(error, "__notes__", ()):
        typer.echo(f"  {note}", err=True)


if __name__ == "__main__":
    main()
