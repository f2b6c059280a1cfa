"""The main job: from a study folder to an output folder with tables, cells, gates, figures and report."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core.errors import StudyError
from cytocar._core.files import write_text
from cytocar._core.population_words import PopulationWords, speaking_of, words_for
from cytocar._core.progress import Progress, silent
from cytocar._core.provenance import plain
from cytocar.study._check.check import check
from cytocar.study._run.compensation import from_single_stains, interactions_not_measured
from cytocar.study._run.folder import building, require_free
from cytocar.study._run.labelling import label_cells
from cytocar.study._run.outputs import (
    difference_tables,
    notes_table,
    samples_table,
    write_cells,
    write_tables,
)
from cytocar.study._run.pool import number_of_workers
from cytocar.study._run.process import process_all
from cytocar.study._run.provenance import provenance_of, without_tubes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunSummary:
    """What a finished run left: the folder, the report, the answer, how long it took, what populations are called."""

    out: Path
    report: Path
    car_frequency: pd.DataFrame | None
    seconds: float
    words: PopulationWords = field(default_factory=PopulationWords)


def run(
    study: str | Path, out: str | Path, *, workers: int | str = 1, progress: Progress | None = None
) -> RunSummary:
    """Run a whole study: FCS files in, tables, cells, gates, figures and report out.

    Parameters
    ----------
    study
        The study folder, or the `study.yaml` in it.
    out
        A folder that does not exist yet, or is empty. It appears when the run is whole.
    workers
        Local processes, each working on one file at a time, or "auto" for one per processor core. The result does not
        depend on their number.
    progress
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    The summary of the finished run.

    Raises
    ------
    StudyError
        With every problem of the study at once.
    CytocarError
        When a file or a gate fails; the note says which sample.

    Examples
    --------
    >>> from cytocar.study import run  # doctest: +SKIP
    >>> run("my_study", "results", workers=2).report  # doctest: +SKIP
    """
    from cytocar import report
    from cytocar.gate import write_gatingml
    from cytocar.study._tables import tabulate

    say = progress or silent
    out = Path(out).absolute()
    began = time.perf_counter()
    started = datetime.datetime.now(datetime.UTC)
    workers = number_of_workers(workers)
    require_free(out)
    checked = check(study)
    if checked.problems or checked.study is None or checked.strategy is None:
        raise StudyError(checked.problems)
    folder = checked.study
    strategy = checked.strategy
    times: dict[str, float] = {}

    spoken = words_for(strategy.compartments, strategy.denominator)
    with building(out) as partial, speaking_of(spoken):
        with _timed(times, "files"):
            spillover = checked.spillover or from_single_stains(folder)
            results = process_all(folder, strategy, spillover, workers=workers, progress=say)
        folder, tubes = without_tubes(folder)

        say("clusters and maps", 0, 1)
        with _timed(times, "clusters and maps"):
            cells = tabulate.join_cells(results, folder.samples, folder.panel)
            labelled = label_cells(cells, folder.config, folder.path, workers=workers)
        say("clusters and maps", 1, 1)

        say("tables", 0, 1)
        with _timed(times, "tables"):
            tables, remarks = tabulate.tabulate(
                results,
                folder.samples,
                cells,
                folder.config,
                strategy,
                folder=folder.path,
                stability=labelled.tables,
            )
            tables |= difference_tables(folder, cells)
            tables["samples"] = samples_table(folder, results)
            tables["notes"] = notes_table(
                results,
                [
                    *checked.notes,
                    *interactions_not_measured(spillover, folder),
                    *labelled.remarks,
                    *remarks,
                ],
            )
            write_tables(tables, spillover, partial / "tables")
            write_cells(cells, results, partial / "cells.h5ad")
            write_gatingml(cells, partial / "gates.xml")
        say("tables", 1, 1)

        record = provenance_of(folder, strategy, results, tables, workers=workers, started=started)
        record["inputs"] += tubes
        _write_record(record, partial)
        with _timed(times, "figures and report"):
            report.build(partial, progress=say)
        # The report is drawn from the folder alone; only then is it known how long everything took.
        _write_record({**record, "seconds": {**times, "total": time.perf_counter() - began}}, partial)
    seconds = time.perf_counter() - began
    return RunSummary(out, out / "report.html", tables.get("car_frequency"), seconds, spoken)


@contextmanager
def _timed(times: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage took."""
    began = time.perf_counter()
    yield
    times[stage] = time.perf_counter() - began


def _write_record(record: dict[str, object], out: Path) -> None:
    write_text(out / "provenance.json", json.dumps(plain(record), indent=1, ensure_ascii=False) + "\n")
