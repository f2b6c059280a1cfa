"""Commands on whole studies: demo, simulate, init, check, run, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytocar._core import keys
from cytocar._core.errors import StudyError
from cytocar.cli._app import app
from cytocar.cli._options import Seed, SimulatedCells, Study, Workers
from cytocar.cli._print import note, print_table, progress, say

if TYPE_CHECKING:
    import pandas as pd


@app.command(short_help="Run a small simulated study and compare it with its truth.")
def demo(
    out: Annotated[
        Path, typer.Argument(help="Where to put the study and its results.", metavar="OUT")
    ] = Path("cytocar_demo"),
    cells: SimulatedCells = None,
    seed: Seed = 0,
    workers: Workers = 1,
) -> None:
    """Simulate a small LEGEND-2-like study with known truth, run it, and compare the result with the truth."""
    from cytocar.study import run as run_study
    from cytocar.study._run.demo import found_against_true
    from cytocar.study._run.folder import require_free

    require_free(out)
    study, results = out / "study", out / "results"
    say(f"simulating a study of four samples in {study}")
    _simulate(study, cells, seed)
    with progress() as shown:
        summary = run_study(study, results, workers=workers, progress=shown)
    say("")
    for title, table in found_against_true(study, results):
        print_table(title, table)
    say(f"done in {summary.seconds:.0f} s")
    say(f"report: {summary.report}")


@app.command(short_help="Write a simulated study: FCS files, study folder, truth.")
def simulate(
    out: Annotated[Path, typer.Argument(help="The study folder to create; new or empty.", metavar="OUT")],
    cells: SimulatedCells = None,
    seed: Seed = 0,
) -> None:
    """Write a simulated LEGEND-2-like study to disk: raw Helios FCS files, study folder and truth."""
    _simulate(out, cells, seed)
    say(f"study: {out}")
    say(f"next:  cytocar run {out} -o RESULTS")


def _simulate(out: Path, cells: int | None, seed: int) -> None:
    from cytocar import datasets

    if cells is None:
        datasets.write_legend2(out, seed=seed)
    else:
        datasets.write_legend2(out, seed=seed, cells=cells)


@app.command(short_help="Create a study folder from a folder of FCS files.")
def init(
    fcs_dir: Annotated[Path, typer.Argument(help="A folder of FCS files.", metavar="FCS_DIR")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The study folder to create.", metavar="STUDY")],
    panel: Annotated[
        str | None,
        typer.Option("--panel", help="A panel that comes with cytocar, or a file; otherwise it is guessed."),
    ] = None,
) -> None:
    """Create a study folder from the headers of FCS files: panel, sample sheet and settings."""
    from cytocar.study import init as init_study

    for text in init_study(fcs_dir, out, panel=panel):
        note(text)
    say(f"study: {out}")
    say(f"next:  look at {out / 'samples.csv'} and {out / 'panel.csv'}, then: cytocar check {out}")


@app.command(short_help="Report every problem of a study; exit code 2 if any.")
def check(
    study: Study,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Read the events too: sha256, and every value by FlowIO as well."),
    ] = False,
) -> None:
    """Report every problem of a study at once, from headers only; exit code 2 if there is any."""
    from cytocar.study import check as check_study

    result = check_study(study, deep=deep)
    for file in result.files:
        say(f"{file.path.name} ({file.sample_id}): sha256 {file.sha256}")
        say(f"  {file.opinion}")
    for text in result.notes:
        note(text)
    if result.problems:
        raise StudyError(result.problems)
    say(f"plan: {result.plan}")
    say(result.plan.verdict)


@app.command(short_help="Run a study: from FCS files to tables, figures and report.")
def run(
    study: Study,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder for the results; new or empty.", metavar="OUT")
    ],
    workers: Workers = 1,
) -> None:
    """Run a study: from raw FCS files to tables, cells, gates, figures and the report."""
    from cytocar.study import run as run_study

    with progress() as shown:
        summary = run_study(study, out, workers=workers, progress=shown)
    if summary.car_frequency is not None:
        table = _frequency_for_people(summary.car_frequency, summary.words.of_denominator)
        print_table(summary.words.car_cells, table)
    say(f"done in {summary.seconds:.0f} s")
    say(f"report: {summary.report}")


def _frequency_for_people(table: pd.DataFrame, of: str) -> pd.DataFrame:
    shown = table[[keys.SAMPLE, keys.TIMEPOINT, "n_cd45", "n_car"]].copy()
    shown[f"% of {of}"] = [
        f"{row.pct_of_cd45:.3f} ({row.pct_low:.3f} to {row.pct_high:.3f})" for row in table.itertuples()
    ]
    shown["call"] = table["call"]
    return shown


@app.command(short_help="Draw figures and report of a finished run again.")
def report(
    out: Annotated[Path, typer.Argument(help="The folder of a finished run.", metavar="OUT")],
) -> None:
    """Draw figures and report of a finished run again, without recomputing."""
    from cytocar import report as report_room

    with progress() as shown:
        path = report_room.build(out, progress=shown)
    say(f"report: {path}")
