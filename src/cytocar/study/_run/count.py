"""What is counted of one gated file, and which of its cells are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.seeds import generator
from cytocar.study._run.audit import audit_tables

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.study._tasks import SampleTask, Settings


def tables_of_sample(adata: AnnData, task: SampleTask) -> dict[str, pd.DataFrame]:
    """Return every table of one gated file, by name; each has the name of the sample in its first columns."""
    from cytocar import gate
    from cytocar.pp._time import profile
    from cytocar.study._tables.robustness import robustness_tables

    tables = {
        "ledger": gate.table(adata),
        "thresholds": gate.thresholds(adata),
        "densities": gate.densities(adata),
        "gating_plots": gate.biaxials(adata),
        "gating_outlines": gate.outlines(adata),
        "reference": gate.reference_counts(adata),
        "quality": profile.profile_over_time(adata),
        "subsets": subset_counts(adata),
        **robustness_tables(adata, controls=task.controls, others=task.others),
        **preprocessing_tables(adata, task.settings),
        **audit_tables(adata, task.settings),
    }
    if tables["gating_outlines"].empty:
        del tables["gating_outlines"]  # gates of thresholds have none
    for table in tables.values():
        if keys.SAMPLE not in table.columns:
            table.insert(0, keys.SAMPLE, task.sample_id)
    return tables


def preprocessing_tables(adata: AnnData, settings: Settings) -> dict[str, pd.DataFrame]:
    """Return what each step before the gates found and did."""
    from cytocar import pp

    done = adata.uns[keys.UNS]
    tables = {}
    if settings.clean == "auto":
        tables["cleaning"] = pp.clean_limits(adata)
        tables["cleaning_plots"] = pp.clean_plots(adata)
    if "beads" in done:
        tables["beads"] = pp.bead_table(adata)
        tables["bead_traces"] = pp.bead_traces(adata)
    if "compensate" in done:
        tables["compensation"] = pp.spillover_table(adata)
    if "time_quality" in done:
        tables["time_quality"] = pp.time_quality_table(adata)
    return tables


def subset_counts(adata: AnnData) -> pd.DataFrame:
    """Count every compartment x subset over all cells of the file, before any sampling."""
    import pandas as pd

    columns = [keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET, "n"]
    if keys.COMPARTMENT not in adata.obs:
        return pd.DataFrame(columns=columns)
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
        for s in _subsets(adata)
    ]
    return pd.DataFrame(rows, columns=columns)


def _subsets(adata: AnnData) -> list[str]:
    """Return the subsets that are counted: CD4, CD8, DN and DP, or those that the strategy has made instead."""
    made = [str(name) for name in adata.obs[keys.SUBSET].cat.categories if name]
    return list(keys.SUBSETS) if made and set(made) <= set(keys.SUBSETS) else made


def kept_cells(adata: AnnData, task: SampleTask) -> tuple[AnnData, dict[str, float]]:
    """Return all CAR-T cells (or all cells, without them) with a seeded sample of host cells, and the shares kept."""
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
