"""One file of a study, from raw counts to what the study needs of it: a pure function of file, settings and seed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.files import sha256
from cytocar.gate._strategy.strategy import controlled_by
from cytocar.study._run.count import kept_cells, tables_of_sample
from cytocar.study._run.prepare import UNCOMPENSATED, bead_setting, prepare, read_sample
from cytocar.study._tasks import SampleResult, SampleTask

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def bead_values(task: SampleTask) -> pd.DataFrame:
    """Return the counts of all beads of one file, from which the study's baseline is taken."""
    from cytocar import pp

    with _naming(task):
        return pp.bead_values(read_sample(task), beads=bead_setting(task.settings))


def control_values(task: SampleTask) -> Mapping[str, np.ndarray]:
    """Return, for each threshold that this tube is a control of, the values of its cells."""
    from cytocar import gate

    strategy = task.settings.strategy
    with _naming(task):
        return gate.control_values(
            prepare(task),
            strategy,
            others=task.others,
            names=controlled_by(strategy, task.sample_id, task.role),
        )


def numbers_for_controls(task: SampleTask) -> dict[str, list[float]]:
    """Return the numbers of this sample that a control tube without numbers of its own takes."""
    from cytocar.gate._apply.apply import numbers_above

    with _naming(task):
        return numbers_above(prepare(task), task.settings.strategy)


def own_numbers(result: SampleResult) -> dict[str, list[float]]:
    """Return the numbers that a sample found, or was given, without stand-ins of a fallback."""
    thresholds = result.tables["thresholds"]
    own = thresholds[~thresholds["fallback"].astype(bool) & thresholds["value"].notna()]
    return {str(name): [float(value)] for name, value in zip(own["name"], own["value"], strict=True)}


@contextmanager
def _naming(task: SampleTask) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"while processing sample {task.sample_id!r} ({task.path.name})")
        raise


def process_sample(task: SampleTask) -> SampleResult:
    """Read, clean, transform and gate one file; count everything; keep what the study needs.

    The result depends on the file, the settings and the seed only: the host cells that are kept are drawn by a
    generator of their own, named by the sample.

    Raises
    ------
    FcsError, PanelError, GateError
        With a note that names the sample.
    """
    from cytocar import gate

    began = time.perf_counter()
    with _naming(task):
        adata = prepare(task)
        gate.apply(
            adata,
            task.settings.strategy,
            controls=task.controls,
            others=task.others,
            study_samples=task.settings.study_samples,
            seed=task.settings.seed,
        )
    tables = tables_of_sample(adata, task)
    adata.layers.pop(UNCOMPENSATED, None)
    cells, shares = kept_cells(adata, task)
    file = {
        keys.SAMPLE: task.sample_id,
        "file": task.path.name,
        "sha256": sha256(task.path),
        "bytes": task.path.stat().st_size,
        "events": adata.n_obs,
        "seconds": time.perf_counter() - began,
    }
    return SampleResult(task.sample_id, tables, cells, shares, file)
