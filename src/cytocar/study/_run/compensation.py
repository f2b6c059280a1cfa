"""The spillover matrix of a run: estimated from a folder of single stains, and what it does not cover."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys

if TYPE_CHECKING:
    from cytocar.io import StudyFolder
    from cytocar.pp._spillover.matrix import Spillover


def from_single_stains(folder: StudyFolder) -> Spillover | None:
    """Estimate the matrix from the folder of single stains that the settings name; None where they name none."""
    from cytocar import pp

    path = folder.path / Path(folder.config.compensation).expanduser()
    if folder.config.compensation == "off" or not path.is_dir():
        return None
    return pp.estimate_spillover(path)


def interactions_not_measured(spillover: Spillover | None, folder: StudyFolder) -> list[str]:
    """Say which interactions the panel may have that the matrix does not know."""
    if spillover is None:
        return []
    var = folder.panel.var
    # Panels of several files may name a channel twice.
    channels = list(dict.fromkeys(map(str, var.loc[var[keys.ROLE] == "marker", keys.CHANNEL])))
    return [f"compensation: {note}" for note in spillover.adapt(channels)[1]]
