"""One file from raw counts to clean arcsinh values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.vocabulary import CELL

if TYPE_CHECKING:
    from anndata import AnnData

    from cytocar.study._tasks import SampleTask, Settings

STABLE = "stable"
UNSTABLE = "unstable"
UNCOMPENSATED = "uncompensated"
"""Layer of the counts before compensation, kept until the audit has used it."""


def read_sample(task: SampleTask) -> AnnData:
    """Read the counts of one file, with what the sample sheet says of it in `obs`."""
    from cytocar import io

    # What the file may lack has been checked: a channel that is not there is not in X, and nobody takes it for 0.
    panel = task.panel or task.settings.panel
    adata = io.read_fcs(task.path, panel=panel, sample_id=task.sample_id, optional=panel.markers)
    adata.obs[keys.PATIENT] = task.patient_id
    adata.obs[keys.TIMEPOINT] = task.timepoint
    adata.obs[keys.MONTHS] = task.months
    adata.obs[keys.ROLE] = task.role
    return adata


def bead_setting(settings: Settings) -> str | list[str]:
    """Return the bead channels in the form that `pp` takes."""
    return settings.beads if isinstance(settings.beads, str) else list(settings.beads)


def prepare(task: SampleTask) -> AnnData:
    """Read one file and bring it to clean arcsinh values, each step as the settings say, in the order that is right."""
    from cytocar import pp

    settings = task.settings
    adata = read_sample(task)
    if settings.beads != "off" and settings.baseline is not None:
        pp.normalize_beads(adata, beads=bead_setting(settings), baseline=settings.baseline, on_missing="skip")
    if settings.spillover is not None:
        adata.layers[UNCOMPENSATED] = np.array(adata.X)
        pp.compensate(adata, settings.spillover)
    if settings.clean == "auto":
        pp.clean(adata, beads=bead_setting(settings))
    if settings.time_quality != "off":
        pp.time_quality(adata, on_missing="skip")
        if settings.time_quality == "remove":
            _set_apart(adata)
    pp.arcsinh(adata)
    return adata


def _set_apart(adata: AnnData) -> None:
    """Give cells of unstable stretches a class of their own: they are in the ledger, and not gated."""
    import pandas as pd

    classes = (
        adata.obs[keys.EVENT_CLASS].astype(str)
        if keys.EVENT_CLASS in adata.obs
        else pd.Series(CELL, index=adata.obs_names)
    )
    apart = (classes == CELL) & ~adata.obs[STABLE].to_numpy(dtype=bool)
    names = [*dict.fromkeys([CELL, *classes]), UNSTABLE]
    adata.obs[keys.EVENT_CLASS] = pd.Categorical(np.where(apart, UNSTABLE, classes), names)
