"""A finished run, read back from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar._core import tables as _tables
from cytocar._core.errors import Problem, StudyError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


@dataclass(frozen=True)
class FinishedRun:
    """The folder of a finished run: its tables by name, its provenance, and its cells (read when first used)."""

    folder: Path
    tables: Mapping[str, pd.DataFrame]
    provenance: Mapping[str, Any]

    @cached_property
    def cells(self) -> AnnData:
        """CAR-T cells and sampled host T cells, or all cells of a study without CAR-T cells."""
        import anndata

        return anndata.read_h5ad(self.folder / "cells.h5ad")

    @cached_property
    def of_patients(self) -> AnnData:
        """The cells of all samples but negative controls."""
        keep = self.cells.obs[keys.ROLE].astype(str) != "negative_control"
        part = self.cells[keep.to_numpy()].copy()
        part.obs[keys.TIMEPOINT] = part.obs[keys.TIMEPOINT].cat.remove_unused_categories()
        return part

    @cached_property
    def clustered(self) -> AnnData:
        """The cells that carry cluster labels and maps."""
        chosen = self.of_patients.obs[keys.COMPARTMENT].astype(str).isin([keys.CAR, keys.CELLS])
        part = self.of_patients[chosen.to_numpy()].copy()
        for method in self.methods:
            part.obs[method] = part.obs[method].cat.remove_unused_categories()
        return part

    @cached_property
    def methods(self) -> list[str]:
        """The clusterings that the cells carry."""
        return [method for method in (keys.PHENOGRAPH, keys.FLOWSOM) if method in self.cells.obs]

    @property
    def has_car(self) -> bool:
        """Whether the study was gated for CAR-T cells."""
        return "car_frequency" in self.tables


def load(folder: Path) -> FinishedRun:
    """Read a finished run.

    Raises
    ------
    StudyError
        `folder` is not the output folder of a finished run.
    """
    needed = [folder / "provenance.json", folder / "cells.h5ad", folder / "tables"]
    missing = [path.name for path in needed if not path.exists()]
    if missing:
        raise StudyError(
            [
                Problem(
                    str(folder),
                    f"this is not the folder of a finished run: it lacks {', '.join(missing)}",
                    "name the folder that was given to `cytocar run ... -o`",
                )
            ]
        )
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    tables = {}
    for path in sorted((folder / "tables").glob("*.csv")):
        if path.stem == "spillover":
            continue  # a matrix, read by its own reader
        table = _tables.read(folder / "tables", path.stem)
        if table is not None:
            tables[path.stem] = table
    return FinishedRun(folder, tables, provenance)
