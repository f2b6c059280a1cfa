"""One file of a study, from raw counts to what the study needs of it: a pure function of file, settings and seed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.files import sha256
from cytocar._core.seeds import generator
from cytocar._core.vocabulary import CELL
from cytocar.panel.names import marker_key
from cytocar.study._tasks import SampleResult, SampleTask, Settings

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.gate import DocumentTree, GateTree, ThresholdNotFound


STABLE = "stable"
UNSTABLE = "unstable"
UNCOMPENSATED = "uncompensated"


def _read(task: SampleTask) -> AnnData:
    from cytocar import io

    adata = io.read_fcs(task.path, panel=task.settings.panel, sample_id=task.sample_id)
    adata.obs[keys.PATIENT] = task.patient_id
    adata.obs[keys.TIMEPOINT] = task.timepoint
    adata.obs[keys.MONTHS] = task.months
    adata.obs[keys.ROLE] = task.role
    return adata


def _beads(settings: Settings) -> str | list[str]:
    return settings.beads if isinstance(settings.beads, str) else list(settings.beads)


def bead_values(task: SampleTask) -> pd.DataFrame:
    """Return the counts of all beads of one file, from which the study's baseline is taken."""
    from cytocar import pp

    with _naming(task):
        return pp.bead_values(_read(task), beads=_beads(task.settings))


def _prepare(task: SampleTask) -> AnnData:
    """Read one file and bring it to clean arcsinh values, each step as the settings say, in the order that is right."""
    from cytocar import pp

    settings = task.settings
    adata = _read(task)
    if settings.beads != "off" and settings.baseline is not None:
        pp.normalize_beads(adata, beads=_beads(settings), baseline=settings.baseline, on_missing="skip")
    if settings.spillover is not None:
        adata.layers[UNCOMPENSATED] = np.array(adata.X)
        pp.compensate(adata, settings.spillover)
    if settings.clean == "auto":
        pp.clean(adata, beads=_beads(settings))
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


def control_values(task: SampleTask) -> dict[str, np.ndarray] | ThresholdNotFound:
    """Return, for each threshold that this tube is a control of, the values of its cells.

    Where the tube itself has to wait for the thresholds of other samples, the error is returned.
    """
    from cytocar import gate

    strategy = task.settings.strategy
    with _naming(task):
        adata = _prepare(task)
        try:
            values: dict[str, np.ndarray] = gate.control_values(
                adata,
                strategy,
                thresholds=task.pinned,
                others=task.others,
                names=strategy.controlled_by(task.sample_id, task.role),
            )
        except gate.ThresholdNotFound as error:
            if not error.needs_others or task.others is not None:
                raise
            return error
    return values


def numbers_for_controls(task: SampleTask) -> dict[str, list[float]]:
    """Return the numbers of this sample that a control tube without numbers of its own takes."""
    from cytocar.gate._apply.apply import numbers_above

    with _naming(task):
        return numbers_above(_prepare(task), task.settings.strategy, thresholds=task.pinned)


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
    from cytocar import gate
    from cytocar.pp._time import profile
    from cytocar.study._tables.robustness import robustness_tables

    began = time.perf_counter()
    with _naming(task):
        adata = _prepare(task)
        gate.apply(
            adata,
            task.settings.strategy,
            controls=task.controls,
            thresholds=task.pinned,
            others=task.others,
            seed=task.settings.seed,
        )
    tables = {
        "ledger": gate.table(adata),
        "thresholds": gate.thresholds(adata),
        "densities": gate.densities(adata),
        "gating_plots": gate.plots(adata),
        "reference": gate.reference_counts(adata),
        "quality": profile.profile_over_time(adata),
        "subsets": _subset_counts(adata),
        **robustness_tables(adata, controls=task.controls, others=task.others),
        **_preprocessing_tables(adata, task.settings),
    }
    outlines = gate.outlines(adata)
    if len(outlines):
        tables["gating_outlines"] = outlines
    losses = _losses(adata)
    if losses is not None:
        tables["cleaning_losses"] = losses
    audit = _audit(adata, task.settings)
    if audit is not None:
        tables["car_audit"] = audit
    adata.layers.pop(UNCOMPENSATED, None)
    for name, table in tables.items():
        if keys.SAMPLE not in table.columns:
            table.insert(0, keys.SAMPLE, task.sample_id)
        tables[name] = table
    cells, shares = _kept_cells(adata, task)
    file = {
        keys.SAMPLE: task.sample_id,
        "file": task.path.name,
        "sha256": sha256(task.path),
        "bytes": task.path.stat().st_size,
        "events": adata.n_obs,
        "seconds": time.perf_counter() - began,
    }
    return SampleResult(task.sample_id, tables, cells, shares, file)


def _preprocessing_tables(adata: AnnData, settings: Settings) -> dict[str, pd.DataFrame]:
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


def _audit(adata: AnnData, settings: Settings) -> pd.DataFrame | None:
    """Return how many T cells are CAR+ only by what other channels leaked into that of the CAR."""
    from cytocar import gate, pp

    tree = gate.strategy_of(adata)
    if settings.spillover is None or keys.CAR not in tree.compartments:
        return None
    car = tree.population(tree.compartments[keys.CAR])
    found = gate.thresholds(adata).set_index("name")
    terms = [
        term for term in getattr(car.gate, "terms", ()) if term.positive and term.threshold in found.index
    ]
    if len(terms) != 1:
        return None
    row = found.loc[terms[0].threshold]
    column = [marker_key(str(name)) for name in adata.var_names].index(marker_key(str(row["marker"])))
    channels = [str(channel) for channel in adata.var[keys.CHANNEL]]
    known = {isotope.channel for isotope in settings.spillover.isotopes}
    if channels[column] not in known:
        return None
    return pp.car_audit(
        adata.layers[UNCOMPENSATED],
        adata.layers[keys.COUNTS],
        float(row["value"]),
        spillover=settings.spillover,
        channels=channels,
        car=channels[column],
        cofactor=float(adata.var[keys.COFACTOR].iloc[column]),
        among=gate.membership(adata, car.parent),
        sample_id=str(adata.obs[keys.SAMPLE].iloc[0]) if adata.n_obs else "",
    )


def _losses(adata: AnnData) -> pd.DataFrame | None:
    """Return, for each class of event, how many of its events look like CAR-T cells: what clean-up may have cost."""
    import pandas as pd

    from cytocar import gate

    tree = gate.strategy_of(adata)
    if keys.CAR not in tree.compartments or keys.EVENT_CLASS not in adata.obs:
        return None
    looks = _looks_like_car(adata, tree)
    classes = np.asarray(adata.obs[keys.EVENT_CLASS].astype(str))
    rows = [
        {
            keys.SAMPLE: str(adata.obs[keys.SAMPLE].iloc[0]) if adata.n_obs else "",
            "class": name,
            "events": int((classes == name).sum()),
            "share": float((classes == name).mean()) if adata.n_obs else np.nan,
            "like_car": int((looks & (classes == name)).sum()),
        }
        for name in adata.obs[keys.EVENT_CLASS].cat.categories
    ]
    return pd.DataFrame(rows)


def _looks_like_car(adata: AnnData, tree: GateTree | DocumentTree) -> np.ndarray:
    """Return which events the gates call CAR-T cells, whatever the clean-up calls them."""
    from cytocar import gate

    if not isinstance(tree, gate.GateTree):
        from cytocar.gate._documents.apply import document_masks

        sample = str(adata.obs[keys.SAMPLE].iloc[0]) if adata.n_obs else ""
        return document_masks(adata, tree, slice(None), sample)[tree.compartments[keys.CAR]]
    found = gate.thresholds(adata).dropna(subset=["value"])
    numbers = {str(name): float(value) for name, value in zip(found["name"], found["value"], strict=True)}
    names = {marker_key(str(name)): str(name) for name in adata.var_names}
    columns = {
        threshold.marker: np.asarray(
            adata[:, next(names[marker_key(m)] for m in threshold.markers if marker_key(m) in names)].X
        ).ravel()
        for threshold in tree.thresholds.values()
    }
    everything = gate.evaluate(tree, columns, numbers, np.ones(adata.n_obs, dtype=bool))
    return everything[tree.compartments[keys.CAR]]


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
