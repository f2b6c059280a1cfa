"""The main job: from a study folder to an output folder with tables, cells, gates, figures and report."""

from __future__ import annotations

import datetime
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core import tables as _tables
from cytocar._core.errors import StudyError
from cytocar._core.files import replacing, sha256, write_text
from cytocar._core.provenance import plain
from cytocar._core.version import __version__
from cytocar._core.vocabulary import FMO_ROLE
from cytocar.io._fcs.header import read_header
from cytocar.study._check.check import check
from cytocar.study._run.folder import building, require_free
from cytocar.study._run.labelling import label_cells
from cytocar.study._run.pool import check_workers, run_all
from cytocar.study._run.sample import (
    bead_values,
    control_values,
    numbers_for_controls,
    process_sample,
    try_sample,
)
from cytocar.study._tasks import SampleResult, SampleTask, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData

    from cytocar.gate import DocumentTree, GateTree
    from cytocar.io import StudyFolder
    from cytocar.pp._spillover.matrix import Spillover

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how many of its parts are done, and how many there are."""

_VERSIONS_OF = (
    "anndata", "flowio", "matplotlib", "numba", "numpy", "openTSNE", "pandas", "scanpy", "scikit-learn",
    "scipy", "umap-learn",
)  # fmt: skip


@dataclass(frozen=True)
class RunSummary:
    """What a finished run left: the folder, the report in it, the answer, and how long it took."""

    out: Path
    report: Path
    car_frequency: pd.DataFrame | None
    seconds: float


def _silent(stage: str, done: int, total: int) -> None:
    """Report progress to nobody."""


def run(
    study: str | Path, out: str | Path, *, workers: int = 1, progress: Progress | None = None
) -> RunSummary:
    """Run a whole study: FCS files in, tables, cells, gates, figures and report out.

    Parameters
    ----------
    study
        The study folder, or the `study.yaml` in it.
    out
        A folder that does not exist yet, or is empty. It appears when the run is whole.
    workers
        Local processes; one file each. The result does not depend on their number.
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

    say = progress or _silent
    out = Path(out).absolute()
    began = time.perf_counter()
    started = datetime.datetime.now(datetime.UTC)
    check_workers(workers)
    require_free(out)
    checked = check(study)
    if checked.problems or checked.study is None or checked.strategy is None:
        raise StudyError(checked.problems)
    folder = checked.study
    strategy = checked.strategy
    times: dict[str, float] = {}

    with building(out) as partial:
        clock = time.perf_counter()
        spillover = checked.spillover or _from_single_stains(folder)
        results = _process_all(folder, strategy, spillover, workers=workers, progress=say)
        times["files"] = time.perf_counter() - clock
        folder, tubes = _without_tubes(folder)

        clock = time.perf_counter()
        cells = tabulate.join_cells(results, folder.samples)
        remarks = [*checked.notes, *_not_measured(spillover, folder)]
        say("clusters and maps", 0, 1)
        labelled = label_cells(cells, folder.config, folder.path, workers=workers)
        remarks += labelled.remarks
        say("clusters and maps", 1, 1)
        times["clusters and maps"] = time.perf_counter() - clock

        clock = time.perf_counter()
        say("tables", 0, 1)
        tables, said = tabulate.tabulate(
            results,
            folder.samples,
            cells,
            folder.config,
            strategy,
            folder=folder.path,
            stability=labelled.tables,
        )
        remarks += said
        tables["samples"] = _samples_table(folder, results)
        tables["notes"] = _notes(results, remarks)
        (partial / "tables").mkdir()
        for name, table in tables.items():
            _tables.write(partial / "tables", name, table)
        if spillover is not None:
            # As it was used, in the form that another study can name as its matrix.
            write_text(partial / "tables" / "spillover.csv", spillover.to_csv())
        _write_cells(cells, results, partial / "cells.h5ad")
        write_gatingml(cells, partial / "gates.xml")
        say("tables", 1, 1)
        times["tables"] = time.perf_counter() - clock

        provenance = _provenance(folder, strategy, results, tables, workers=workers, started=started)
        provenance["inputs"] += tubes
        write_text(partial / "provenance.json", json.dumps(provenance, indent=1, ensure_ascii=False) + "\n")
        clock = time.perf_counter()
        report.build(partial, progress=say)
        times["figures and report"] = time.perf_counter() - clock
        # The report is drawn from the folder alone; only then is it known how long everything took.
        provenance["seconds"] = {**times, "total": time.perf_counter() - began}
        write_text(
            partial / "provenance.json", json.dumps(plain(provenance), indent=1, ensure_ascii=False) + "\n"
        )
    return RunSummary(out, out / "report.html", tables.get("car_frequency"), time.perf_counter() - began)


def _without_tubes(folder: StudyFolder) -> tuple[StudyFolder, list[dict[str, Any]]]:
    """Return the study without tubes that lack an antibody, and what the record keeps of these."""
    lacking = folder.samples["role"] == FMO_ROLE
    if not lacking.any():
        return folder, []
    tubes = [
        {
            keys.SAMPLE: str(row[keys.SAMPLE]),
            "file": Path(row["path"]).name,
            "sha256": sha256(Path(row["path"])),
            "bytes": Path(row["path"]).stat().st_size,
            "events": read_header(row["path"]).n_events,
            "role": FMO_ROLE,
        }
        for _, row in folder.samples[lacking].iterrows()
    ]
    return replace(folder, samples=folder.samples[~lacking].reset_index(drop=True)), tubes


def _tasks(
    folder: StudyFolder, strategy: GateTree | DocumentTree, spillover: Spillover | None
) -> list[SampleTask]:
    config = folder.config
    settings = Settings(
        panel=folder.panel,
        strategy=strategy,
        clean=config.clean,
        beads=config.beads if isinstance(config.beads, str) else tuple(config.beads),
        spillover=spillover,
        time_quality=config.time_quality,
        host_sample=config.host_sample,
        seed=config.seed,
    )
    tasks = []
    for _, row in folder.samples.iterrows():
        sample = str(row[keys.SAMPLE])
        pinned = {
            name: float(value[sample] if isinstance(value, dict) else value)
            for name, value in config.thresholds.items()
            if not isinstance(value, dict) or sample in value
        }
        tasks.append(
            SampleTask(
                path=Path(row["path"]),
                sample_id=sample,
                patient_id=str(row[keys.PATIENT]),
                timepoint=str(row[keys.TIMEPOINT]),
                months=float(row[keys.MONTHS]),
                role=str(row["role"]),
                settings=settings,
                pinned=pinned,
            )
        )
    return tasks


def _from_single_stains(folder: StudyFolder) -> Spillover | None:
    from cytocar import pp

    path = folder.path / Path(folder.config.compensation).expanduser()
    if folder.config.compensation == "off" or not path.is_dir():
        return None
    return pp.estimate_spillover(path)


def _not_measured(spillover: Spillover | None, folder: StudyFolder) -> list[str]:
    """Say which interactions the panel may have that the matrix does not know."""
    if spillover is None:
        return []
    var = folder.panel.var
    channels = [str(channel) for channel in var.loc[var[keys.ROLE] == "marker", keys.CHANNEL]]
    return [f"compensation: {note}" for note in spillover.adapt(channels)[1]]


def _with_baseline(tasks: list[SampleTask], folder: StudyFolder, workers: int) -> list[SampleTask]:
    """Give every file the bead signal it is normalised to: a stored one, or the median over all beads of the study."""
    from cytocar import pp
    from cytocar.pp._beads.files import read_baseline

    config = folder.config
    if config.beads == "off":
        return tasks
    if config.baseline:
        baseline = read_baseline(folder.path / config.baseline)
    else:
        values = [table for table in run_all(bead_values, tasks, workers=workers) if len(table)]
        if not values:
            return tasks
        baseline = pp.bead_baseline(values)
    return [replace(task, settings=replace(task.settings, baseline=baseline)) for task in tasks]


def _process_all(
    folder: StudyFolder,
    strategy: GateTree | DocumentTree,
    spillover: Spillover | None,
    *,
    workers: int,
    progress: Progress,
) -> list[SampleResult]:
    """Process every file.

    All files are read for their beads first, so that they share one baseline; then negative controls, since they tell
    the thresholds that are found in them; samples whose own density has no clear place, where the strategy takes
    the other samples' numbers, come last.
    """
    tasks = _with_baseline(_tasks(folder, strategy, spillover), folder, workers)
    controls = [task for task in tasks if strategy.controlled_by(task.sample_id, task.role)]
    if controls:
        values = _control_values(controls, tasks, workers)
        tasks = [replace(task, controls=_by_threshold(controls, values)) for task in tasks]
    # A tube that lacks an antibody tells a threshold; it is no sample of the study.
    tasks = [task for task in tasks if task.role != FMO_ROLE]
    done = 0
    progress("files", 0, len(tasks))

    def on_done(_: SampleTask) -> None:
        nonlocal done
        done += 1
        progress("files", min(done, len(tasks)), len(tasks))

    results = run_all(try_sample, tasks, workers=workers, on_done=on_done)
    found = [result for result in results if isinstance(result, SampleResult)]
    waiting = [
        task for task, result in zip(tasks, results, strict=True) if not isinstance(result, SampleResult)
    ]
    if waiting:
        numbers = _numbers_of(found)
        again = [replace(task, others=numbers) for task in waiting]
        found += run_all(process_sample, again, workers=workers)
    by_sample = {result.sample_id: result for result in found}
    return [by_sample[task.sample_id] for task in tasks]


def _control_values(
    controls: Sequence[SampleTask], tasks: Sequence[SampleTask], workers: int
) -> list[Mapping[str, np.ndarray]]:
    """Return the values of each control tube; one that has to take other samples' thresholds comes after the others."""
    values = run_all(control_values, controls, workers=workers)
    waiting = [number for number, value in enumerate(values) if isinstance(value, Exception)]
    if waiting:
        late = {controls[number].sample_id for number in waiting}
        numbers: dict[str, list[float]] = {}
        able = [task for task in tasks if task.sample_id not in late]
        for found in run_all(numbers_for_controls, able, workers=workers):
            for name, listed in found.items():
                numbers.setdefault(name, []).extend(listed)
        again = [replace(controls[number], others=numbers) for number in waiting]
        for number, value in zip(waiting, run_all(control_values, again, workers=workers), strict=True):
            values[number] = value
    found_values: list[Mapping[str, np.ndarray]] = []
    for value in values:
        if isinstance(value, Exception):
            raise value
        found_values.append(value)
    return found_values


def _by_threshold(
    tasks: Sequence[SampleTask], values: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, dict[str, np.ndarray]]:
    """Turn tube -> threshold -> values into threshold -> tube -> values."""
    turned: dict[str, dict[str, np.ndarray]] = {}
    for task, of_tube in zip(tasks, values, strict=True):
        for name, array in of_tube.items():
            turned.setdefault(name, {})[task.sample_id] = array
    return turned


def _numbers_of(results: Sequence[SampleResult]) -> dict[str, list[float]]:
    """Return threshold -> the numbers of the samples that found, or were given, one of their own."""
    numbers: dict[str, list[float]] = {}
    for result in results:
        own = result.tables["thresholds"]
        own = own[~own["fallback"].astype(bool) & own["value"].notna()]
        for name, value in zip(own["name"], own["value"], strict=True):
            numbers.setdefault(str(name), []).append(float(value))
    return numbers


def _samples_table(folder: StudyFolder, results: Sequence[SampleResult]) -> pd.DataFrame:
    import pandas as pd

    facts = pd.DataFrame([{**result.file, **_share_columns(result)} for result in results])
    # What was read of a file stands in for columns of the sheet that happen to be called the same.
    sheet = folder.samples.drop(columns=["path", *facts.columns.drop(keys.SAMPLE)], errors="ignore")
    sheet = sheet.assign(**{keys.SAMPLE: sheet[keys.SAMPLE].astype(str)})
    # How long a file took is no result; tables are the same to the byte for the same seed.
    return sheet.merge(facts.drop(columns="seconds"), on=keys.SAMPLE, how="left")


def _share_columns(result: SampleResult) -> dict[str, float]:
    return {f"share_of_{name}_kept": share for name, share in result.shares.items()}


# Tables whose notes are told in the report, and the column that says what a note is about.
_NOTED = {"beads": "", "time_quality": "", "cleaning": "criterion", "thresholds": "name"}


def _notes(results: Sequence[SampleResult], remarks: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    rows = [{keys.SAMPLE: "", "note": str(remark)} for remark in remarks]
    for result in results:
        for name, what in _NOTED.items():
            table = result.tables.get(name)
            if table is None or "note" not in table:
                continue
            if name == "cleaning":
                table = table[table["rule"].str.startswith(("fallback", "not judged"))]
                table = table.assign(
                    note=[
                        ": ".join(filter(None, pair))
                        for pair in zip(table["rule"], table["note"], strict=True)
                    ]
                )
            told = dict.fromkeys(
                f"{row[what] if what else name.replace('_', ' ')}: {row['note']}"
                for _, row in table.iterrows()
                if isinstance(row["note"], str) and row["note"]
            )
            rows += [{keys.SAMPLE: result.sample_id, "note": note} for note in told]
    return pd.DataFrame(rows, columns=[keys.SAMPLE, "note"])


def _write_cells(cells: AnnData, results: Sequence[SampleResult], path: Path) -> None:
    shares = {result.sample_id: dict(result.shares) for result in results}
    cells.uns.setdefault(keys.UNS, {})["shares_kept"] = json.dumps(plain(shares))
    with replacing(path) as temporary:
        cells.write_h5ad(temporary, compression="lzf")


def _provenance(
    folder: StudyFolder,
    strategy: GateTree | DocumentTree,
    results: Sequence[SampleResult],
    tables: Mapping[str, pd.DataFrame],
    *,
    workers: int,
    started: datetime.datetime,
) -> dict[str, Any]:
    versions = {name: metadata.version(name) for name in _VERSIONS_OF}
    record: dict[str, Any] = plain(
        {
            "cytocar": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": versions,
            "started": started.isoformat(timespec="seconds"),
            "workers": workers,
            "seed": folder.config.seed,
            "settings": folder.config.model_dump(),
            "strategy": strategy.text(),
            "panel": folder.panel.frame.to_dict(orient="records"),
            "inputs": [dict(result.file) for result in results],
            "shares_kept": {result.sample_id: dict(result.shares) for result in results},
            "steps": {
                result.sample_id: json.loads(result.cells.uns[keys.UNS].get(keys.STEPS, "[]"))
                for result in results
            },
            "ledger": tables["ledger"].to_dict(orient="records"),
        }
    )
    return record
