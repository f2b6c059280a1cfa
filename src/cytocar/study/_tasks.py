"""One file as a task: what is handed to a worker, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.gate import Strategy
    from cytocar.panel import Panel
    from cytocar.pp._spillover.matrix import Spillover


@dataclass(frozen=True)
class Settings:
    """What every file of a study is processed with; `study_samples` are all samples of the sheet."""

    panel: Panel
    strategy: Strategy
    clean: str = "auto"
    beads: str | tuple[str, ...] = "auto"
    baseline: Mapping[str, float] | None = None
    spillover: Spillover | None = None
    time_quality: str = "mark"
    host_sample: int = 10_000
    seed: int = 0
    study_samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleTask:
    """One row of the sample sheet, with what other files of the study contribute to its thresholds.

    Parameters
    ----------
    path, sample_id, patient_id, timepoint, months, role
        As in the sample sheet.
    settings
        The same for all files of the study.
    controls
        Threshold name -> control tube -> arcsinh values of its cells.
    others
        Threshold name -> numbers found in other samples; None until they are known.
    panel
        Of this file, where it is not that of the settings.
    """

    path: Path
    sample_id: str
    patient_id: str
    timepoint: str
    months: float
    role: str
    settings: Settings
    controls: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    others: Mapping[str, Sequence[float]] | None = None
    panel: Panel | None = None


@dataclass(frozen=True)
class SampleResult:
    """What a study keeps of one file.

    `tables` are tidy frames with a `sample_id` column, as `study/_run/count.py` makes them. `cells` holds every CAR-T
    cell (or every cell, in a study without CAR-T cells) and a seeded sample of at most `settings.host_sample` host
    cells; `shares` says which share of each that is.
    """

    sample_id: str
    tables: Mapping[str, pd.DataFrame]
    cells: AnnData
    shares: Mapping[str, float]
    file: Mapping[str, Any]
