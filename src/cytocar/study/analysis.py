"""From the kept cells and the exact counts of all samples to labels, maps and tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar.study._pool import run_all

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.gate import GateTree
    from cytocar.io import StudyConfig
    from cytocar.study.sample import SampleResult

MIN_CELLS_TO_CLUSTER = 50
"""Fewer cells than this are counted and compared, but not clustered or mapped."""


def join_cells(results: Sequence[SampleResult], samples: pd.DataFrame) -> AnnData:
    """Put the kept cells of all samples below each other, in the order of the sample sheet."""
    import anndata
    import pandas as pd

    parts = [result.cells for result in results]
    joined = anndata.concat(parts, join="inner", merge="same", index_unique=None)
    joined.uns[keys.UNS] = _merged_record(parts)
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
    joined.obs[keys.SUBSET] = pd.Categorical(joined.obs[keys.SUBSET].astype(str), [*keys.SUBSETS, ""])
    for column in ("group", "batch"):
        if column in samples:
            by_sample = samples.set_index(samples[keys.SAMPLE].astype(str))[column].astype(str)
            joined.obs[column] = pd.Categorical(joined.obs[keys.SAMPLE].astype(str).map(by_sample))
    return joined


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


def detection_counts(
    results: Sequence[SampleResult], samples: pd.DataFrame, strategy: GateTree
) -> pd.DataFrame:
    """Return one row a sample: the sheet's columns, and the exact counts that detection is judged by."""
    import pandas as pd

    rows = []
    for result, (_, sheet) in zip(results, samples.iterrows(), strict=True):
        events = result.tables["ledger"].set_index("population")["events"]
        reference = result.tables["reference"]
        row: dict[str, Any] = {
            column: sheet[column]
            for column in (
                keys.SAMPLE, keys.PATIENT, keys.TIMEPOINT, keys.MONTHS, "role", "lymphocytes_per_ul", "wbc_per_ul",
            )
            if column in sheet
        }  # fmt: skip
        row["n_cd45"] = int(events[strategy.denominator])
        row["n_car"] = int(events[strategy.compartments[keys.CAR]])
        row["n_host_t"] = int(events[strategy.compartments[keys.HOST]])
        row["n_negative"] = int(reference["n_negative"].sum())
        row["n_negative_above"] = int(reference["n_negative_above"].sum())
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Labelling:
    """One method, its settings and the cells it labels: a task of its own, so that methods may run side by side."""

    method: str
    cells: AnnData
    settings: dict[str, Any]


def _label(task: _Labelling) -> AnnData:
    """Run one method; return a matrix-free AnnData that holds just what the method added."""
    import anndata

    from cytocar import tl

    before = {"obs": set(task.cells.obs), "obsm": set(task.cells.obsm), "uns": set(task.cells.uns)}
    getattr(tl, task.method)(task.cells, **task.settings)
    added = anndata.AnnData(
        obs=task.cells.obs[[column for column in task.cells.obs if column not in before["obs"]]].copy()
    )
    for key in task.cells.obsm:
        if key not in before["obsm"]:
            added.obsm[key] = np.asarray(task.cells.obsm[key])
    for key in task.cells.uns:
        if key not in before["uns"]:
            added.uns[key] = task.cells.uns[key]
    return added


def label_cells(cells: AnnData, config: StudyConfig, *, workers: int) -> list[str]:
    """Cluster and map the cells of interest (CAR-T, or all cells of a study without), in place.

    Sets the cluster labels in `obs` (empty for cells that were not clustered) and the maps in `obsm` (NaN for them).
    Returns remarks for the report.
    """
    import pandas as pd

    chosen = np.flatnonzero(
        np.isin(np.asarray(cells.obs[keys.COMPARTMENT].astype(str)), [keys.CAR, keys.CELLS])
    )
    if chosen.size < MIN_CELLS_TO_CLUSTER:
        return [
            f"Clusters and maps were left out: {chosen.size} cells, and fewer than {MIN_CELLS_TO_CLUSTER} "
            "cannot carry them."
        ]
    part = cells[chosen].copy()
    part.layers.pop(keys.COUNTS, None)
    markers = None if config.clustering.markers == "clustering" else list(config.clustering.markers)
    common: dict[str, Any] = {"markers": markers, "seed": config.seed}
    tasks = []
    if config.clustering.method in ("phenograph", "both"):
        tasks.append(_Labelling("phenograph", part.copy(), {**common, "k": config.clustering.k}))
    if config.clustering.method in ("flowsom", "both"):
        tasks.append(
            _Labelling("flowsom", part.copy(), {**common, "metaclusters": config.clustering.metaclusters})
        )
    maps = ("tsne", "umap") if config.embedding == "both" else (config.embedding,)
    tasks += [_Labelling(name, part.copy(), dict(common)) for name in maps if name != "off"]
    for added in run_all(_label, tasks, workers=workers):
        for column in added.obs:
            values = added.obs[column]
            if isinstance(values.dtype, pd.CategoricalDtype):
                full = np.full(cells.n_obs, "", dtype=object)
                full[chosen] = np.asarray(values.astype(str), dtype=object)
                cells.obs[column] = pd.Categorical(full, [*map(str, values.cat.categories), ""])
            elif values.dtype == bool:
                flags = np.zeros(cells.n_obs, bool)
                flags[chosen] = values
                cells.obs[column] = flags
            else:
                numbers = np.full(cells.n_obs, np.nan)
                numbers[chosen] = np.asarray(values, float)
                cells.obs[column] = numbers
        for key in added.obsm:
            whole = np.full((cells.n_obs, added.obsm[key].shape[1]), np.nan, np.float32)
            whole[chosen] = added.obsm[key]
            cells.obsm[key] = whole
        for key in added.uns:
            cells.uns[key] = added.uns[key]
    return []


def methods_of(cells: AnnData) -> list[str]:
    """Return the clusterings that `cells` carry."""
    return [method for method in (keys.PHENOGRAPH, keys.FLOWSOM) if method in cells.obs]


def _interesting(cells: AnnData) -> np.ndarray:
    """Return which cells are clustered: no CAR-T gate of a tube without CAR-T cells holds any."""
    inside = np.isin(np.asarray(cells.obs[keys.COMPARTMENT].astype(str)), [keys.CAR, keys.CELLS])
    control = np.asarray(cells.obs[keys.ROLE].astype(str)) == "negative_control"
    return np.asarray(inside & ~control)


def of_interest(cells: AnnData) -> AnnData:
    """Return the clustered cells: CAR-T cells, or all cells of a study without CAR-T cells."""
    part = cells[np.flatnonzero(_interesting(cells))].copy()
    for method in methods_of(part):
        part.obs[method] = part.obs[method].cat.remove_unused_categories()
    return part


def tabulate(
    results: Sequence[SampleResult],
    samples: pd.DataFrame,
    cells: AnnData,
    config: StudyConfig,
    strategy: GateTree,
) -> dict[str, pd.DataFrame]:
    """Return every table of the run that makes sense for this study."""
    import pandas as pd

    from cytocar import tl

    tables = {
        name: pd.concat(
            [result.tables[name] for result in results if name in result.tables], ignore_index=True
        )
        for name in dict.fromkeys(name for result in results for name in result.tables)
        if name not in ("subsets", "reference")
    }
    found = of_interest(cells)
    if keys.CAR in strategy.compartments:
        counts = detection_counts(results, samples, strategy)
        tables["car_frequency"] = tl.detection(counts)
        subset_counts = pd.concat([result.tables["subsets"] for result in results], ignore_index=True)
        tables["subsets"] = tl.subsets(subset_counts, background=tables["car_frequency"])
        _add_net_shares(tables)
        tables["kinetics"] = tl.kinetics(tables["car_frequency"], seed=config.seed)
    methods = methods_of(found)
    if methods:
        numbers = _thresholds_for_profiles(tables.get("thresholds"))
        tables["clusters"] = pd.concat(
            [tl.cluster_frequencies(found, method) for method in methods], ignore_index=True
        )
        tables["cluster_profiles"] = pd.concat(
            [tl.cluster_profiles(found, method, thresholds=numbers) for method in methods], ignore_index=True
        )
    if len(methods) == 2:
        tables["agreement"] = tl.agreement(found, *methods)
    tables["comparisons"] = tl.compare(
        cells,
        groupby=keys.TIMEPOINT,
        reference=config.compare.reference,
        against=config.compare.against,
        margin=config.compare.margin,
        p_values=config.compare.p_values,
        seed=config.seed,
        false_cells=_false_cells(tables),
    )
    return {name: table for name, table in tables.items() if len(table.columns)}


def _add_net_shares(tables: dict[str, pd.DataFrame]) -> None:
    """Add how many cells of each CAR-T subset are expected to be false, and its share without them.

    False CAR-T cells have the host's subsets, so where CAR-T cells are few they push the double negative share down.
    """
    subsets = tables["subsets"]
    expected = _false_cells(tables)
    sheet = tables["car_frequency"].set_index(keys.SAMPLE)
    false = []
    for _, row in subsets.iterrows():
        sample = sheet.loc[row[keys.SAMPLE]]
        where = (str(sample[keys.PATIENT]), str(sample[keys.TIMEPOINT]), str(row[keys.SUBSET]))
        false.append(expected.get(where, np.nan) if row[keys.COMPARTMENT] == keys.CAR else np.nan)
    subsets["expected_false"] = false
    net = (subsets["n"] - subsets["expected_false"]).clip(lower=0)
    total = net.groupby([subsets[keys.SAMPLE], subsets[keys.COMPARTMENT]]).transform("sum")
    subsets["fraction_net"] = (net / total).where(total > 0)


def _false_cells(tables: dict[str, pd.DataFrame]) -> dict[tuple[str, str, str], float]:
    """Return how many CAR-T cells of each patient, timepoint and subset are expected to be host T cells."""
    if "car_frequency" not in tables:
        return {}
    subsets = tables["subsets"]
    host = subsets[subsets[keys.COMPARTMENT] == keys.HOST].set_index([keys.SAMPLE, keys.SUBSET])["fraction"]
    found = {}
    for _, row in tables["car_frequency"].iterrows():
        expected = float(row["background_expected"])
        if not np.isfinite(expected):
            continue
        where = (str(row[keys.PATIENT]), str(row[keys.TIMEPOINT]))
        found[(*where, keys.ALL)] = expected
        for subset in keys.SUBSETS:
            share = float(host.get((row[keys.SAMPLE], subset), 0.0))
            found[(*where, subset)] = expected * share if np.isfinite(share) else 0.0
    return found


def _thresholds_for_profiles(thresholds: pd.DataFrame | None) -> dict[str, float]:
    """Return one number a marker: the median over the samples of the threshold found in each."""
    if thresholds is None or thresholds.empty:
        return {}
    middle = thresholds.groupby("marker", sort=True)["value"].median()
    return {str(marker): float(value) for marker, value in middle.items()}
