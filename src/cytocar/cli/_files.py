"""Commands on single FCS files: inspect, normalize, compensate, debarcode, gate, concat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytocar._core import keys
from cytocar._core.errors import CytocarError, ParameterError, Problem, StudyError
from cytocar.cli._app import app
from cytocar.cli._options import Deidentify, Files, OutFolder, PanelOption, Threads, number_or_auto
from cytocar.cli._print import note, print_table, say

if TYPE_CHECKING:
    from cytocar.io._fcs.inspect import FileReport

FilesToGate = Annotated[
    list[Path] | None, typer.Argument(help="FCS files; they are only read.", metavar="FILE...")
]


@app.command(short_help="Show instrument, events, channels and unusual features.")
def inspect(
    files: Files,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the files with FlowIO too, and compare every value.")
    ] = False,
) -> None:
    """Show version, instrument, events and channels of FCS files, and unusual features."""
    from cytocar.io import inspect_file

    problems: list[Problem] = []
    for path in files:
        try:
            report = inspect_file(path)
        except (CytocarError, OSError) as error:
            problems += Problem.all_of(error, where=str(path))
            continue
        _print_inspection(path, report)
        if verify:
            problems += _print_second_opinion(path)
    if problems:
        raise StudyError(problems)


def _print_second_opinion(path: Path) -> list[Problem]:
    """Print what FlowIO says of a file; return where it differs."""
    from cytocar.io._fcs.header import read_header
    from cytocar.io._fcs.second_opinion import second_opinion

    try:
        opinion = second_opinion(read_header(path))
    except (CytocarError, OSError) as error:
        return list(Problem.all_of(error, where=str(path)))
    say(f"  second opinion: {opinion}")
    for text in opinion.notes:
        say(f"  - {text}")
    say("")
    return list(opinion.problems)


def _print_inspection(path: Path, report: FileReport) -> None:
    say(f"{path}")
    for name, value in report.facts():
        say(f"  {name}: {value}")
    print_table("", report.channels)
    if report.oddities:
        say("  unusual features:")
        for oddity in report.oddities:
            say(f"  - {oddity}")
    else:
        say("  no unusual features")
    say("")


@app.command(short_help="Normalise FCS files to their beads, and remove the beads.")
def normalize(
    files: Files,
    out: OutFolder,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="A baseline.csv that an earlier normalisation wrote.")
    ] = None,
    keep_beads: Annotated[bool, typer.Option("--keep-beads", help="Leave the beads in the files.")] = False,
    on_missing: Annotated[
        str,
        typer.Option("--on-missing", help="Files without beads: raise, or skip to write them as they are."),
    ] = "raise",
    panel: PanelOption = None,
    deidentify: Deidentify = False,
) -> None:
    """Normalise FCS files to their calibration beads, and remove the beads."""
    from cytocar import pp

    table = pp.normalize_files(
        files,
        out,
        baseline=baseline,
        keep_beads=keep_beads,
        on_missing=on_missing,
        panel=panel,
        deidentify=deidentify,
    )
    shown = table[[keys.SAMPLE, "n_beads", "spread_before", "spread_after", "events", "events_written"]]
    print_table("beads: largest over smallest smoothed signal, before and after", shown)
    say(f"files and baseline.csv: {out}")


@app.command(short_help="Compensate the counts of FCS files for spillover.")
def compensate(
    files: Files,
    spillover: Annotated[
        Path,
        typer.Option("--spillover", "-s", help="A spillover matrix (CSV), or a folder of single stains."),
    ],
    out: OutFolder,
    method: Annotated[
        str, typer.Option("--method", help="nnls (never negative), or flow (the inverse of the matrix).")
    ] = "nnls",
    threads: Threads = 1,
    workers: Annotated[int | None, typer.Option("--workers", min=1, hidden=True)] = None,
) -> None:
    """Compensate the counts of FCS files for spillover."""
    from cytocar import pp

    if workers is not None:
        note("--workers means processes; these are threads: write --threads")
        threads = workers
    for path in pp.compensate_files(files, spillover, out, method=method, n_jobs=threads):
        say(str(path))


@app.command(short_help="Split a barcoded FCS file into one file per sample.")
def debarcode(
    file: Annotated[Path, typer.Argument(help="A barcoded FCS file.", metavar="FILE")],
    key: Annotated[
        Path, typer.Option("--key", "-k", help="The barcode key: one row per sample, one column per mass.")
    ],
    out: OutFolder,
    separation: Annotated[
        str, typer.Option("--separation", help="Cut-off of the separation, 0 to 1, or auto.")
    ] = "0.3",
    mahalanobis: Annotated[
        float, typer.Option("--mahalanobis", help="Cut-off of the squared Mahalanobis distance.")
    ] = 30.0,
    deidentify: Deidentify = False,
) -> None:
    """Split a barcoded FCS file into one file per sample, and one for unassigned events."""
    from cytocar import pp

    table = pp.debarcode_file(
        file, key, out, separation=number_or_auto(separation), mahalanobis=mahalanobis, deidentify=deidentify
    )
    print_table("events by sample", table[["barcode", "positives", "events", "cutoff", "yield", "written"]])
    say(f"files: {out}")


@app.command(short_help="Count populations of FCS files, and write chosen ones.")
def gate(
    strategy: Annotated[
        str,
        typer.Argument(
            help="car_t, a YAML strategy, Gating-ML 2.0 (.xml), or a FlowJo workspace (.wsp); "
            "may be left out with --against.",
            metavar="STRATEGY",
        ),
    ],
    files: FilesToGate = None,
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
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            help="Put the counts beside those that this FlowJo workspace keeps.",
            metavar="WORKSPACE",
        ),
    ] = None,
) -> None:
    """Gate FCS files: count every population, and write chosen ones as FCS files."""
    from cytocar.gate._apply.load import DOCUMENTS
    from cytocar.study import gate_files

    files = files or []
    if against is None and strategy.lower().endswith((".fcs", ".fcs.gz")):
        raise ParameterError(
            f"{strategy} stands where the gates are expected", fix="name them before the files, such as car_t"
        )
    if against is not None:
        if population:
            raise ParameterError(
                "--population with --against", fix="write populations by a call without --against"
            )
        _gate_against(against, strategy, files, out=out, panel=panel, group=group)
        return
    if strategy.lower().endswith(DOCUMENTS):
        note("these gates get every event as it was measured; no bead, doublet or dead cell was removed")
    table = gate_files(strategy, files, out=out, populations=population or (), panel=panel, group=group)
    for name, rows in table.groupby("file", sort=False):
        print_table(str(name), rows.drop(columns="file"))
    if population:
        say(f"files: {out}")


def _indented(path: str) -> str:
    """Return the last name of a path, as far in as it lies deep."""
    return "  " * path.count("/") + path.rpartition("/")[2]


def _gate_against(
    workspace: Path, first: str, files: list[Path], *, out: Path | None, panel: str | None, group: str | None
) -> None:
    """Print counts beside those of a workspace; the first argument is a strategy, or the first of the files."""
    from cytocar.gate import strategy_names
    from cytocar.gate._apply.load import DOCUMENTS
    from cytocar.report._against import summary
    from cytocar.study import gate_against

    if out is None:
        raise ParameterError(
            "--against writes a table and a page, but no folder is named", fix="give one with -o"
        )
    stated = first.lower().endswith((*DOCUMENTS, ".yaml", ".yml")) or first in strategy_names()
    table = gate_against(
        workspace,
        files if stated else [Path(first), *files],
        out,
        strategy=first if stated else None,
        panel=panel,
        group=group,
    )
    columns = [
        "population",
        "gate",
        "events",
        "workspace_events",
        "difference",
        "relative_difference",
        "agreement",
    ]
    for (file, sample), rows in table.groupby(["file", "sample"], sort=False):
        shown = rows[columns].assign(population=rows["population"].map(_indented))
        print_table(str(file) if file == sample else f"{file} ({sample})", shown)
    for sentence in summary(table):
        say(sentence)
    say(f"against.csv and against.html: {out}")


@app.command(short_help="Concatenate FCS files of one sample into one file.")
def concat(
    files: Files,
    out: Annotated[Path, typer.Option("-o", "--out", help="The new FCS file.", metavar="FILE")],
    panel: PanelOption = None,
    deidentify: Deidentify = False,
) -> None:
    """Concatenate FCS files of one sample into one file, with continuous Time."""
    from cytocar import io

    print_table("files", io.concat_fcs(files, out, panel=panel, deidentify=deidentify))
    say(f"file: {out}")
