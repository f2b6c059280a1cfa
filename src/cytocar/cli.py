"""Floor 8: the command line. Arguments, progress and exit codes; no science.

Exit codes: 0 done; 2 the user can fix it (one clear message, no traceback); 1 a bug of ours.
"""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cytocar._core import keys
from cytocar._core.errors import CytocarError, ParameterError, Problem, StudyError
from cytocar._core.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.study._run.run import Progress

USER_CAN_MEND = 2
BUG = 1

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
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of an error.")] = False,
) -> None:
    """Take the options that hold for every command; `main` reads --traceback itself."""
    if version:
        typer.echo(f"cytocar {__version__}")
        raise typer.Exit


Workers = Annotated[int, typer.Option("--workers", min=1, help="Local processes, one file each.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(help="Where to put the study and its results.")] = Path(
        "cytocar_demo"
    ),
    cells: Annotated[int | None, typer.Option("--cells", min=500, help="CD45+ cells per file.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed simulates another study.")] = 0,
    workers: Workers = 1,
) -> None:
    """Simulate a small LEGEND-2-like study with known truth, run it, and compare what was found with the truth."""
    from cytocar.study import run as run_study
    from cytocar.study._run.demo import found_against_true
    from cytocar.study._run.folder import require_free

    require_free(out)
    study, results = out / "study", out / "results"
    _say(f"simulating a study of four samples in {study}")
    _simulate(study, cells, seed)
    with _progress() as progress:
        summary = run_study(study, results, workers=workers, progress=progress)
    _say("")
    for title, table in found_against_true(study, results):
        _print_table(title, table)
    _say(f"done in {summary.seconds:.0f} s")
    _say(f"report: {summary.report}")


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="The study folder to make; new or empty.")],
    cells: Annotated[
        int | None, typer.Option("--cells", min=500, help="CD45+ live single cells per file.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed writes the same bytes.")] = 0,
) -> None:
    """Write a simulated LEGEND-2-like study to disk: raw Helios FCS files, study folder and truth."""
    _simulate(out, cells, seed)
    _say(f"study: {out}")
    _say(f"next:  cytocar run {out} -o RESULTS")


def _simulate(out: Path, cells: int | None, seed: int) -> None:
    from cytocar import datasets

    if cells is None:
        datasets.write_legend2(out, seed=seed)
    else:
        datasets.write_legend2(out, seed=seed, cells=cells)


@app.command()
def inspect(
    files: Annotated[list[Path], typer.Argument(help="FCS files.", metavar="FILE...")],
) -> None:
    """Show version, instrument, events and channels of FCS files, and what is odd about them."""
    from cytocar.io import inspect_file

    problems: list[Problem] = []
    for path in files:
        try:
            report = inspect_file(path)
        except (CytocarError, OSError) as error:
            problems += Problem.all_of(error, where=str(path))
            continue
        _print_inspection(path, report)
    if problems:
        raise StudyError(problems)


@app.command()
def init(
    fcs_dir: Annotated[Path, typer.Argument(help="A folder of FCS files.", metavar="FCS_DIR")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The study folder to make.", metavar="STUDY")],
    panel: Annotated[
        str | None,
        typer.Option("--panel", help="A panel that comes with cytocar, or a file, instead of a guess."),
    ] = None,
) -> None:
    """Scaffold a study folder from the headers of FCS files."""
    from cytocar.study import init as init_study

    notes = init_study(fcs_dir, out, panel=panel)
    for note in notes:
        _say(f"note: {note}")
    _say(f"study: {out}")
    _say(f"next:  look at {out / 'samples.csv'} and {out / 'panel.csv'}, then: cytocar check {out}")


@app.command()
def check(
    study: Annotated[Path, typer.Argument(help="A study folder, or its study.yaml.", metavar="STUDY")],
) -> None:
    """Print every problem of a study at once, from headers only; exit 2 if there is any."""
    from cytocar.study import check as check_study

    result = check_study(study)
    for note in result.notes:
        _say(f"note: {note}")
    if result.problems:
        raise StudyError(result.problems)
    _say("no problems found")


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="A study folder, or its study.yaml.", metavar="STUDY")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder for the results; new or empty.", metavar="OUT")
    ],
    workers: Workers = 1,
) -> None:
    """Run a study: from raw FCS files to tables, cells, gates, figures and the report."""
    from cytocar.study import run as run_study

    with _progress() as progress:
        summary = run_study(study, out, workers=workers, progress=progress)
    if summary.car_frequency is not None:
        _print_table("CAR-T cells", _frequency_for_people(summary.car_frequency))
    _say(f"done in {summary.seconds:.0f} s")
    _say(f"report: {summary.report}")


@app.command()
def report(
    out: Annotated[Path, typer.Argument(help="The folder of a finished run.", metavar="OUT")],
) -> None:
    """Draw figures and report of a finished run again, without computing."""
    from cytocar import report as report_room

    with _progress() as progress:
        path = report_room.build(out, progress=progress)
    _say(f"report: {path}")


@app.command()
def plan(
    percents: Annotated[
        list[float],
        typer.Argument(help="Percent of the cells of the denominator, such as CD45+.", metavar="PERCENT..."),
    ],
    cv: Annotated[float, typer.Option("--cv", help="Wanted coefficient of variation, percent.")] = 20.0,
    background: Annotated[
        float, typer.Option("--background", help="False events, percent of the same cells.")
    ] = 0.0,
    usable: Annotated[
        float, typer.Option("--usable", help="Percent of acquired events that end as such cells.")
    ] = 100.0,
) -> None:
    """Say how many cells must be acquired to measure rare populations: `cytocar plan 0.05 --cv 20`."""
    from cytocar import tl

    for name, value, low, high in (
        *(("percent", value, 0.0, 100.0) for value in percents),
        ("--cv", cv, 0.0, float("inf")),
        ("--usable", usable, 0.0, 100.0),
    ):
        if not low < value <= high:
            upper = "" if high == float("inf") else f" and at most {high:g} %"
            raise ParameterError(f"{name} is {value:g} %; it must be above {low:g} %{upper}")
    if not 0.0 <= background < 100.0:
        raise ParameterError(f"--background is {background:g} %; it must be from 0 to below 100 %")
    table = tl.plan_acquisition(
        [percent / 100 for percent in percents],
        cv=cv / 100,
        background_rate=background / 100,
        usable=usable / 100,
    )
    rows = table.to_dict("records")
    _print_table("cells to acquire", _plan_for_people(rows))
    for row in rows:
        more = f" ({row['events_to_acquire']:,} events)" if usable < 100 else ""
        _say(
            f"{100 * row['fraction']:g} % with a CV of {cv:g} %: {row['cells_needed']:,} cells{more}; expected "
            f"{row['events_expected']:.0f}, 95 % interval {row['pct_low']:.3g} to {row['pct_high']:.3g} %."
        )


Files = Annotated[list[Path], typer.Argument(help="FCS files; they are only read.", metavar="FILE...")]
OutFolder = Annotated[Path, typer.Option("-o", "--out", help="A folder for the new files.", metavar="DIR")]
PanelOption = Annotated[
    str | None, typer.Option("--panel", help="A panel file, or the name of one that comes with cytocar.")
]
Deidentify = Annotated[
    bool, typer.Option("--deidentify", help="Keep only keywords that describe the measurement.")
]


@app.command()
def normalize(
    files: Files,
    out: OutFolder,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="A baseline.csv that an earlier normalisation wrote.")
    ] = None,
    keep_beads: Annotated[bool, typer.Option("--keep-beads", help="Leave the beads in the files.")] = False,
    panel: PanelOption = None,
    deidentify: Deidentify = False,
) -> None:
    """Normalise FCS files to their calibration beads, and take the beads out."""
    from cytocar import pp

    table = pp.normalize_files(
        files, out, baseline=baseline, keep_beads=keep_beads, panel=panel, deidentify=deidentify
    )
    shown = table[[keys.SAMPLE, "n_beads", "spread_before", "spread_after", "events", "events_written"]]
    _print_table("beads: largest over smallest smoothed signal, before and after", shown)
    _say(f"files and baseline.csv: {out}")


@app.command()
def compensate(
    files: Files,
    spillover: Annotated[
        Path,
        typer.Option("--spillover", "-s", help="A spillover matrix (CSV), or a folder of single stains."),
    ],
    out: OutFolder,
    method: Annotated[
        str, typer.Option("--method", help="nnls, or flow (the inverse, may be negative).")
    ] = "nnls",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Threads.")] = 1,
) -> None:
    """Compensate the counts of FCS files for spillover."""
    from cytocar import pp

    for path in pp.compensate_files(files, spillover, out, method=method, n_jobs=workers):
        _say(str(path))


@app.command()
def debarcode(
    file: Annotated[Path, typer.Argument(help="The FCS file of a barcoded pool.", metavar="FILE")],
    key: Annotated[Path, typer.Option("--key", "-k", help="The key: a row a sample, a column a mass.")],
    out: OutFolder,
    separation: Annotated[
        str, typer.Option("--separation", help="Cut-off of the separation, 0 to 1, or auto.")
    ] = "0.3",
    mahalanobis: Annotated[
        float, typer.Option("--mahalanobis", help="Cut-off of the squared distance.")
    ] = 30.0,
    deidentify: Deidentify = False,
) -> None:
    """Part the FCS file of a barcoded pool into one file a sample, and one for the events in no sample."""
    from cytocar import pp

    table = pp.debarcode_file(
        file, key, out, separation=_number_or_word(separation), mahalanobis=mahalanobis, deidentify=deidentify
    )
    _print_table("events by sample", table[["barcode", "positives", "events", "cutoff", "yield", "written"]])
    _say(f"files: {out}")


@app.command()
def gate(
    strategy: Annotated[
        str,
        typer.Argument(
            help="car_t, a YAML strategy, Gating-ML 2.0 (.xml), or a FlowJo workspace (.wsp).",
            metavar="STRATEGY",
        ),
    ],
    files: Files,
    population: Annotated[
        list[str] | None,
        typer.Option("--population", "-p", help="Write this population as FCS; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A folder for the new files.", metavar="DIR")
    ] = None,
    panel: PanelOption = None,
    group: Annotated[
        str | None, typer.Option("--group", help="The group of a FlowJo workspace.", metavar="NAME")
    ] = None,
) -> None:
    """Gate FCS files: counts of every population, and FCS files of chosen ones."""
    from cytocar.gate._apply.load import DOCUMENTS
    from cytocar.study import gate_files

    if strategy.lower().endswith(DOCUMENTS):
        _say(
            "note: these gates get every event as it was measured; no bead, doublet or dead cell was taken out"
        )
    table = gate_files(strategy, files, out=out, populations=population or (), panel=panel, group=group)
    for name, rows in table.groupby("file", sort=False):
        _print_table(str(name), rows.drop(columns="file"))
    if population:
        _say(f"files: {out}")


@app.command()
def concat(
    files: Files,
    out: Annotated[Path, typer.Option("-o", "--out", help="The new FCS file.", metavar="FILE")],
    panel: PanelOption = None,
    deidentify: Deidentify = False,
) -> None:
    """Put FCS files of one sample one after the other into one file, Time going on."""
    from cytocar import io

    _print_table("files", io.concat_fcs(files, out, panel=panel, deidentify=deidentify))
    _say(f"file: {out}")


def _known(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "not known"


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _say(text: str) -> None:
    typer.echo(text)


def _frequency_for_people(table: pd.DataFrame) -> pd.DataFrame:
    shown = table[[keys.SAMPLE, keys.TIMEPOINT, "n_cd45", "n_car"]].copy()
    shown["% of CD45+"] = [
        f"{row.pct_of_cd45:.3f} ({row.pct_low:.3f} to {row.pct_high:.3f})" for row in table.itertuples()
    ]
    shown["call"] = table["call"]
    return shown


def _plan_for_people(rows: Sequence[Mapping[Any, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "%": f"{100 * row['fraction']:g}",
            "cells needed": f"{row['cells_needed']:,}",
            "events to acquire": f"{row['events_to_acquire']:,}",
            "expected": f"{row['events_expected']:.1f}",
            "background": _known(row["background_events"], ".1f"),
            "LoB / LoD / LoQ": " / ".join(
                (
                    _known(row["lob_events"], "g"),
                    _known(row["lod_events"], ".1f"),
                    _known(row["loq_events"], ".1f"),
                )
            ),
            "probability of being detected": f"{row['probability_detected']:.3f}",
            "limited by": row["limited_by"],
        }
        for row in rows
    )


def _print_table(title: str, table: pd.DataFrame) -> None:
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


def _print_inspection(path: Path, report: Any) -> None:
    _say(f"{path}")
    for name, value in report.facts():
        _say(f"  {name}: {value}")
    _print_table("", report.channels)
    if report.oddities:
        _say("  what is odd:")
        for oddity in report.oddities:
            _say(f"  - {oddity}")
    else:
        _say("  nothing odd")
    _say("")


@contextmanager
def _progress() -> Iterator[Progress]:
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


def main() -> None:
    """Run the command line; turn what the user can mend into one message and exit code 2."""
    # A job that a cluster stops tidies up as after Ctrl-C: nothing half-written stays behind.
    signal.signal(signal.SIGTERM, _stop)
    arguments = sys.argv[1:]
    traceback = "--traceback" in arguments
    try:
        # --traceback may stand before or after the command, as people type it.
        app(args=[word for word in arguments if word != "--traceback"], prog_name="cytocar")
    except (CytocarError, OSError) as error:
        if traceback:
            raise
        _explain(error)
        sys.exit(USER_CAN_MEND)
    except Exception as error:
        if traceback:
            raise
        typer.echo(f"cytocar: this is a bug in cytocar: {type(error).__name__}: {error}", err=True)
        for note in getattr(error, "__notes__", ()):
            typer.echo(f"  {note}", err=True)
        typer.echo("  run the command again with --traceback and report what it shows", err=True)
        sys.exit(BUG)


def _stop(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _explain(error: Exception) -> None:
    if isinstance(error, OSError) and not isinstance(error, CytocarError):
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"cytocar: {where}{error.strerror or error}", err=True)
    else:
        typer.echo(f"cytocar: {error}", err=True)
    for note in getattr(error, "__notes__", ()):
        typer.echo(f"  {note}", err=True)


if __name__ == "__main__":
    main()
