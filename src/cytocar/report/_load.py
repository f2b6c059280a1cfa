"""A finished run, read back from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar._core import tables as csv_tables
from cytocar._core.errors import Problem, StudyError
from cytocar._core.population_words import PopulationWords, words_for
from cytocar._core.vocabulary import CONTROL_ROLE, METHODS

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


_LONG = 12
"""Characters of a sample's name that figures have room for."""


@dataclass(frozen=True)
class FinishedRun:
    """The folder of a finished run: its tables by name, its provenance, and its cells (read when first used)."""

    folder: Path
    tables: Mapping[str, pd.DataFrame]
    provenance: Mapping[str, Any]

    renamed: Mapping[str, str] = field(default_factory=dict)
    """Sample to what it is called in figures, where that is shorter."""

    @cached_property
    def cells(self) -> AnnData:
        """CAR-T cells and sampled host T cells, or all cells of a study without CAR-T cells."""
        import anndata

        cells = anndata.read_h5ad(self.folder / "cells.h5ad")
        if self.renamed:
            cells.obs[keys.SAMPLE] = cells.obs[keys.SAMPLE].cat.rename_categories(
                {
                    str(name): self.renamed.get(str(name), str(name))
                    for name in cells.obs[keys.SAMPLE].cat.categories
                }
            )
        return cells

    @cached_property
    def of_patients(self) -> AnnData:
        """The cells of all samples but negative controls."""
        keep = self.cells.obs[keys.ROLE].astype(str) != CONTROL_ROLE
        cells = self.cells[keep.to_numpy()].copy()
        cells.obs[keys.TIMEPOINT] = cells.obs[keys.TIMEPOINT].cat.remove_unused_categories()
        return cells

    @cached_property
    def clustered(self) -> AnnData:
        """The cells that carry cluster labels and maps."""
        chosen = self.of_patients.obs[keys.COMPARTMENT].astype(str).isin([keys.CAR, keys.CELLS])
        cells = self.of_patients[chosen.to_numpy()].copy()
        for method in self.methods:
            cells.obs[method] = cells.obs[method].cat.remove_unused_categories()
        return cells

    @cached_property
    def methods(self) -> list[str]:
        """The clusterings that the cells carry."""
        return [method for method in METHODS if method in self.cells.obs]

    @cached_property
    def words(self) -> PopulationWords:
        """What its populations are called: as the strategy that it was gated by calls them."""
        from cytocar.gate._exchange.stored import read_stored

        applied = read_stored(self.provenance.get("strategy"))
        return PopulationWords() if applied is None else words_for(applied.compartments, applied.denominator)

    @cached_property
    def gated_by_cd3(self) -> bool | None:
        """Whether a threshold of the strategy is one of CD3; None where its gates are shapes, or it is not known."""
        from cytocar.gate._exchange.stored import read_stored
        from cytocar.panel.antigens import same_antigen

        thresholds = getattr(read_stored(self.provenance.get("strategy")), "thresholds", {})
        return any(same_antigen("CD3", each.marker) for each in thresholds.values()) if thresholds else None

    @cached_property
    def subset_gates(self) -> Mapping[str, str]:
        """Subset to its gate, where subsets are made by other markers than CD4 and CD8; empty otherwise."""
        from cytocar.gate._exchange.stored import read_stored
        from cytocar.panel.antigens import same_antigen

        subsets = getattr(read_stored(self.provenance.get("strategy")), "subsets", {})
        if not isinstance(subsets, Mapping):
            return {}
        used = {term.threshold for terms in subsets.values() for term in terms}
        if all(same_antigen(name, "CD4") or same_antigen(name, "CD8a") for name in used):
            return {}
        return {name: " ".join(map(str, terms)) for name, terms in subsets.items()}

    @property
    def patient_frequency(self) -> pd.DataFrame:
        """The rows of `car_frequency` that are samples of patients: those with a time."""
        table = self.tables["car_frequency"]
        return table[table[keys.MONTHS].notna()] if keys.MONTHS in table else table

    @property
    def has_car(self) -> bool:
        """Whether the study was gated for CAR-T cells."""
        return "car_frequency" in self.tables


def short_names(run: FinishedRun) -> tuple[FinishedRun, str]:
    """Return a run whose samples are called without the beginning that all share, and that beginning.

    Only whole words (up to ``_``, ``-``, ``.`` or a space) are taken off, and only where names are too long for a
    figure.
    """
    samples = run.tables.get("samples")
    names = [] if samples is None else [str(name) for name in samples[keys.SAMPLE]]
    prefix = _shared(names)
    if not prefix:
        return run, ""
    new = {name: name.removeprefix(prefix) for name in names}
    tables = {}
    for stem, table in run.tables.items():
        if keys.SAMPLE in table:
            own = [new.get(name, name) for name in table[keys.SAMPLE]]
            table = table.assign(**{keys.SAMPLE: own})
        tables[stem] = table
    return replace(run, tables=tables, renamed=new), prefix


def _shared(names: list[str]) -> str:
    if len(names) < 2 or max(map(len, names)) <= _LONG:
        return ""
    # What the first and the last name in the order of letters share, all share.
    ends = min(names), max(names)
    same = [a == b for a, b in zip(*ends, strict=False)]
    start = ends[0][: same.index(False) if False in same else len(same)]
    end = max(start.rfind(sign) for sign in "_-. ") + 1
    return start[:end] if all(len(name) > end for name in names) else ""


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
        table = csv_tables.read(folder / "tables", path.stem)
        if table is not None:
            tables[path.stem] = table
    return FinishedRun(folder, tables, provenance)
