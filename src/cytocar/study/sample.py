"""One file of a study, from raw counts to what the study needs of it: a pure function of file, settings and seed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.files import sha256
from cytocar._core.seeds import generator

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.gate import GateTree, ThresholdNotFound
    from cytocar.panel import Panel


@dataclass(frozen=True)
class Settings:
    """What every file of a study is processed with."""

    panel: Panel
    strategy: GateTree
    clean: str = "auto"
    beads: str | tuple[str, ...] = "auto"
    host_sample: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class SampleTask:
    """One row of the sample sheet, with what other files of the study have told about its thresholds.

    Parameters
    ----------
    path, sample_id, patient_id, timepoint, months, role
        As in the sample sheet.
    settings
        The same for all files of the study.
    pinned
        Threshold name -> number, for this sample.
    controls
        Threshold name -> control tube -> arcsinh values of its cells.
    others
        Threshold name -> numbers found in other samples; None while they are not known.
    """

    path: Path
    sample_id: str
    patient_id: str
    timepoint: str
    months: float
    role: str
    settings: Settings
    pinned: Mapping[str, float] = field(default_factory=dict)
    controls: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    others: Mapping[str, Sequence[float]] | None = None


@dataclass(frozen=True)
class SampleResult:
    """What a study keeps of one file.

    `tables` are tidy frames with a `sample_id` column: ledger, thresholds, densities, gating_plots, quality,
    cleaning, reference, subsets. `cells` holds every CAR-T cell (or every cell, in a study without CAR-T cells) and
    a seeded sample of at most `settings.host_sample` host cells; `shares` says which share of each that is.
    """

    sample_id: str
    tables: Mapping[str, pd.DataFrame]
    cells: AnnData
    shares: Mapping[str, float]
    file: Mapping[str, Any]


def _read_and_clean(task: SampleTask) -> AnnData:
    from cytocar import io, pp

    settings = task.settings
    adata = io.read_fcs(task.path, panel=settings.panel, sample_id=task.sample_id)
    adata.obs[keys.PATIENT] = task.patient_id
    adata.obs[keys.TIMEPOINT] = task.timepoint
    adata.obs[keys.MONTHS] = task.months
    adata.obs[keys.ROLE] = task.role
    if settings.clean == "auto":
        beads = settings.beads if isinstance(settings.beads, str) else list(settings.beads)
        pp.clean(adata, beads=beads)
    pp.arcsinh(adata)
    return adata


def control_values(task: SampleTask) -> dict[str, np.ndarray]:
    """Return, for each threshold that is found in negative controls, the values of this tube's cells."""
    from cytocar import gate

    with _naming(task):
        adata = _read_and_clean(task)
        values: dict[str, np.ndarray] = gate.control_values(
            adata, task.settings.strategy, thresholds=task.pinned, others=task.others
        )
    return values


def try_sample(task: SampleTask) -> SampleResult | ThresholdNotFound:
    """Process one file; return the error where the sample has to wait for the thresholds of the others."""
    from cytocar.gate import ThresholdNotFound

    try:
        return process_sample(task)
    except ThresholdNotFound as error:
        if not error.needs_others or task.others is not None:
            raise
        return error


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
    from cytocar import gate, pp
    from cytocar.pp import _quality

    began = time.perf_counter()
    with _naming(task):
        adata = _read_and_clean(task)
        gate.apply(
            adata,
            task.settings.strategy,
            controls=task.controls,
            thresholds=task.pinned,
            others=task.others,
        )
    tables = {
        "ledger": gate.table(adata),
        "thresholds": gate.thresholds(adata),
        "densities": gate.densities(adata),
        "gating_plots": gate.plots(adata),
        "reference": gate.reference_counts(adata),
        "quality": _quality.profile_over_time(adata),
        "subsets": _subset_counts(adata),
    }
    if task.settings.clean == "auto":
        tables["cleaning"] = pp.clean_limits(adata)
    for name, table in tables.items():
        if keys.SAMPLE not in table.columns:
            table.insert(0, keys.SAMPLE, task.sample_id)
        tables[name] = table
    cells, shares = _kept_cells(adata, task)
    file = {
        "sample_id": task.sample_id,
        "file": task.path.name,
        "sha256": sha256(task.path),
        "bytes": task.path.stat().st_size,
        "events": adata.n_obs,
        "seconds": time.perf_counter() - began,
    }
    return SampleResult(task.sample_id, tables, cells, shares, file)


def _subset_counts(adata: AnnData) -> pd.DataFrame:
    """Count every compartment x subset over all cells of the file, before any sampling."""
    import pandas as pd

    if keys.COMPARTMENT not in adata.obs:
        return pd.DataFrame(columns=[keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET, "n"])
    compartment = adata.obs[keys.COMPARTMENT].astype(str)
    subset = adata.obs[keys.SUBSET].astype(str)
    sample = adata.obs[keys.SAMPLE].astype(str).iloc[0] if adata.n_obs else ""
    rows = [
        {
            keys.SAMPLE: sample,
            keys.COMPARTMENT: c,
            keys.SUBSET: s,
            "n": int(((compartment == c) & (subset == s)).sum()),
        }
        for c in (keys.CAR, keys.HOST)
        for s in keys.SUBSETS
    ]
    return pd.DataFrame(rows)


def _kept_cells(adata: AnnData, task: SampleTask) -> tuple[AnnData, dict[str, float]]:
    compartment = np.asarray(adata.obs[keys.COMPARTMENT].astype(str))
    keep = np.isin(compartment, [keys.CAR, keys.CELLS])
    shares = {name: 1.0 for name in (keys.CAR, keys.CELLS) if (compartment == name).any()}
    host = np.flatnonzero(compartment == keys.HOST)
    if host.size:
        wanted = min(task.settings.host_sample, host.size)
        rng = generator(task.settings.seed, "host sample", task.sample_id)
        keep[rng.choice(host, size=wanted, replace=False)] = True
        shares[keys.HOST] = wanted / host.size
    cells = adata[np.flatnonzero(keep)].copy()
    # Memberships of all populations were counted above; the study keeps labels, not the gate columns.
    cells.obsm.pop(keys.GATES, None)
    return cells, shares
