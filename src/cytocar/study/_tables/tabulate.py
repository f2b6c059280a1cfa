"""From the kept cells and the exact counts of all samples to one AnnData and every table, a chapter at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.measured import record_not_measured, with_rows
from cytocar.study._tables.clusters import cluster_tables, methods_of
from cytocar.study._tables.cohorts import cohort_tables
from cytocar.study._tables.counts import count_tables, false_cells

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData

    from cytocar.gate import Strategy
    from cytocar.io import StudyConfig
    from cytocar.panel import Panel
    from cytocar.study._tasks import SampleResult


def join_cells(results: Sequence[SampleResult], samples: pd.DataFrame, panel: Panel) -> AnnData:
    """Put the kept cells of all samples below each other, in the order of the sample sheet; markers as in the panel."""
    import anndata
    import pandas as pd

    parts, missing = _aligned([result.cells for result in results], results, panel)
    joined = anndata.concat(parts, join="inner", merge="same", index_unique=None)
    joined.uns[keys.UNS] = _merged_record(parts)
    record_not_measured(joined, missing)
    joined.obs_names = [
        f"{sample}:{index}"
        for sample, index in zip(
            joined.obs[keys.SAMPLE].astype(str), joined.obs[keys.EVENT_INDEX], strict=True
        )
    ]
    order = samples.sort_values([keys.MONTHS], kind="stable")
    labels = list(dict.fromkeys(order[keys.TIMEPOINT].astype(str)))
    joined.obs[keys.TIMEPOINT] = pd.Categorical(joined.obs[keys.TIMEPOINT].astype(str), labels, ordered=True)
    for column in (keys.SAMPLE, keys.PATIENT, keys.ROLE):
        values = samples[column].astype(str)
        joined.obs[column] = pd.Categorical(joined.obs[column].astype(str), list(dict.fromkeys(values)))
    compartments = [
        c for c in (keys.CAR, keys.HOST, keys.CELLS) if (joined.obs[keys.COMPARTMENT].astype(str) == c).any()
    ]
    joined.obs[keys.COMPARTMENT] = pd.Categorical(joined.obs[keys.COMPARTMENT].astype(str), compartments)
    made = [str(name) for part in parts for name in part.obs[keys.SUBSET].cat.categories if name]
    subsets = list(dict.fromkeys([*keys.SUBSETS, *made]))
    joined.obs[keys.SUBSET] = pd.Categorical(joined.obs[keys.SUBSET].astype(str), [*subsets, ""])
    for column in (keys.GROUP, keys.BATCH):
        if column in samples:
            by_sample = samples.set_index(samples[keys.SAMPLE].astype(str))[column].astype(str)
            joined.obs[column] = pd.Categorical(joined.obs[keys.SAMPLE].astype(str).map(by_sample))
    return joined


def _aligned(
    parts: Sequence[AnnData], results: Sequence[SampleResult], panel: Panel
) -> tuple[list[AnnData], dict[str, list[str]]]:
    """Give all parts the same markers, NaN where a file does not measure one; return which those are, by sample."""
    import pandas as pd

    names = [list(map(str, part.var_names)) for part in parts]
    if all(own == names[0] for own in names):
        return list(parts), {}
    there = {name for own in names for name in own}
    order = [marker for marker in panel.markers if marker in there]
    rows = pd.concat([part.var for part in parts])
    var = rows[~rows.index.duplicated()].loc[order]
    # Channels that nothing needs are not worth a word.
    markers = [name for name in order if var.loc[name, keys.ROLE] == "marker"]
    missing = {
        result.sample_id: [name for name in markers if name not in own]
        for result, own in zip(results, names, strict=True)
    }
    return [with_rows(part, order, var) for part in parts], missing


def _merged_record(parts: Sequence[AnnData]) -> dict[str, str]:
    """Return the state, and what gating and clean-up kept for each sample, of all parts together."""
    records = [part.uns[keys.UNS] for part in parts]
    merged = {keys.STATE: records[0][keys.STATE]}
    gatings = [json.loads(record[keys.GATING]) for record in records]
    merged[keys.GATING] = json.dumps(
        {
            **gatings[0],
            "samples": {name: kept for gating in gatings for name, kept in gating["samples"].items()},
        }
    )
    steps = {
        str(part.obs[keys.SAMPLE].iloc[0]): json.loads(record[keys.STEPS])
        for part, record in zip(parts, records, strict=True)
        if part.n_obs
    }
    merged[keys.STEPS] = json.dumps([{"step": "study.run", "settings": {"files": steps}}])
    return merged


def tabulate(
    results: Sequence[SampleResult],
    samples: pd.DataFrame,
    cells: AnnData,
    config: StudyConfig,
    strategy: Strategy,
    *,
    folder: Path,
    stability: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return every table of the run that makes sense for this study, and remarks for the report."""
    import pandas as pd

    tables = _of_files(results)
    tables |= count_tables(results, samples, strategy, seed=config.seed)
    tables |= cluster_tables(cells, config, folder, tables.get("thresholds"), stability)
    tables["comparisons"] = _comparisons(cells, config, tables)
    method = next(iter(methods_of(cells)), None)
    of_patients, remarks = cohort_tables(samples, cells, tables, config, method=method)
    across = of_patients.pop("patients", None)
    if across is not None:
        tables["comparisons"] = (
            pd.concat([tables["comparisons"], across], ignore_index=True)
            if len(tables["comparisons"])
            else across
        )
    tables |= of_patients
    return {name: table for name, table in tables.items() if len(table.columns)}, remarks


def _of_files(results: Sequence[SampleResult]) -> dict[str, pd.DataFrame]:
    """Put the tables of all files below each other; a new one of `SampleResult.tables` needs nothing here."""
    import pandas as pd

    names = dict.fromkeys(name for result in results for name in result.tables)
    return {
        name: pd.concat(
            [result.tables[name] for result in results if name in result.tables], ignore_index=True
        )
        for name in names
        if name not in ("subsets", "reference")
    }


def _comparisons(cells: AnnData, config: StudyConfig, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    from cytocar import tl

    return tl.compare(
        cells,
        groupby=keys.TIMEPOINT,
        reference=config.compare.reference,
        against=config.compare.against,
        margin=config.compare.margin,
        p_values=config.compare.p_values,
        seed=config.seed,
        false_cells=false_cells(tables),
    )
