"""Carry out a gating strategy on data: find its thresholds in every sample, assign every event, keep what was found."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, did_you_mean
from cytocar._core.provenance import plain, record, require_state
from cytocar._core.samples import rows_by_sample
from cytocar.gate._apply.load import load
from cytocar.gate._documents.tree import DocumentTree, Strategy, as_strategy
from cytocar.gate._populations.events import marker_values, may_be_gated
from cytocar.gate._populations.order import Step
from cytocar.gate._populations.parts import ROOT
from cytocar.gate._strategy.tree import GateTree
from cytocar.gate._thresholds.not_found import ThresholdNotFound
from cytocar.gate._thresholds.resolve import Resolved, resolve
from cytocar.panel.names import marker_key

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar._core.samples import Rows
    from cytocar.gate._documents.document import GatingDocument
    from cytocar.gate._populations.evaluate import Mask

Pins = Mapping[str, "float | Mapping[str, float]"]
Values = "NDArray[Any] | Mapping[str, NDArray[Any]]"

_POOLED = "tubes"


def apply(
    adata: AnnData,
    strategy: Strategy | GatingDocument | str,
    *,
    controls: Mapping[str, NDArray[Any] | Mapping[str, NDArray[Any]]] | None = None,
    thresholds: Pins | None = None,
    others: Mapping[str, Sequence[float]] | None = None,
    sample_key: str = keys.SAMPLE,
    seed: int = 0,
    copy: bool = False,
) -> AnnData | None:
    """Find the thresholds of a strategy in every sample and assign every event to its populations.

    Gates of other programs are applied in the same way: a `GatingDocument`, or a file of Gating-ML or FlowJo. Their
    shapes are evaluated on the counts, or on X where their axes are arcsinh(x / cofactor) with the cofactor of the
    channel; gates for single files are chosen by the name of the file or of the sample.

    A cell is positive where its arcsinh value is at or above the threshold, negative below it; every population
    is within its parent. Gating starts from the events that ``obs["event_class"]`` calls ``"cell"``, or from all
    events where the clean-up has not run.

    Parameters
    ----------
    adata
        Events x channels with arcsinh values in X. One or more samples.
    strategy
        A `GateTree`, a `GatingDocument`, a `DocumentTree` (a document that says which populations are CAR-T and host
        cells), or what `cytocar.gate.load` takes.
    controls
        Name of a threshold to arcsinh values of negative-control cells, as `control_values` returns them: one array,
        or ``{tube: array}``, in which case the threshold has to hold in every tube. None takes the samples with
        ``obs["role"] == "negative_control"`` in `adata`, and the tubes that rules name; ``{}`` takes none.
    thresholds
        Stated numbers, in arcsinh units: ``{name: number}``, or ``{name: {sample: number}}``.
    others
        Name of a threshold to its numbers in other samples, for strategies that fall back on them when `adata`
        is not the whole study; a threshold that is not in it has none.
    sample_key
        Column of obs that names the sample; without this column all events are one sample.
    seed
        Of the resamples that tell how far each threshold may move; an integer of at least 0.
    copy
        Return a changed copy and leave `adata` as it is.

    Returns
    -------
    None, or the copy. Sets the following fields:

    ``obsm["gates"]``
        DataFrame of bool, one column per population; one of a document is called by its name, or by as much of the
        end of its path as tells it from others (``B cells > CD27+``).
    ``obs["compartment"]``, ``obs["subset"]``
        Categorical, ``""`` for events in none; when the strategy has compartments.
    ``uns["cytocar"]["gating"]``
        JSON: the strategy, and for each sample every number with its rule, confidence and density, and all counts.

    Raises
    ------
    StateError
        X does not hold arcsinh values.
    GateError
        Markers are missing, or compartments overlap.
    ThresholdNotFound
        A threshold has no clear place in a sample. The message shows the density.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> adata = anndata.AnnData(np.array([[0.2], [4.1]], dtype=np.float32), var=pd.DataFrame(index=["CD3"]))
    >>> adata.uns["cytocar"] = {"state": "arcsinh"}
    >>> tree = GateTree.from_yaml('''
    ... cytocar_gating: 1
    ... name: small
    ... thresholds: {CD3: {marker: CD3, value: 2.5}}
    ... populations: [{name: T cells, parent: cells, gate: [CD3+]}]
    ... ''')
    >>> apply(adata, tree)
    >>> adata.obsm["gates"]["T cells"].tolist()
    [False, True]
    """
    chosen = as_strategy(load(strategy) if isinstance(strategy, str | os.PathLike) else strategy)
    adata = adata.copy() if copy else _own(adata)
    if isinstance(chosen, DocumentTree):
        _apply_document(adata, chosen, [*(controls or {}), *(thresholds or {})], sample_key)
        return adata if copy else None
    tree, columns, left_out = _prepare(adata, chosen, thresholds)
    samples = rows_by_sample(adata, sample_key)
    root = may_be_gated(adata)
    given = _given_controls(tree, controls) if controls is not None else None
    if given is None:
        given = _controls_within(adata, tree, columns, samples, root, others)
    resolved = _resolve_all(adata, tree, columns, samples, root, given, others, seed)
    _store(adata, tree, samples, resolved)
    _store_gating(adata, tree, columns, left_out, samples, resolved, root)
    record(
        adata,
        "gate.apply",
        {
            "strategy": tree.name,
            "sample_key": sample_key,
            "thresholds": thresholds or {},
            "controls": {name: list(tubes) for name, tubes in given.items()},
            "seed": seed,
        },
    )
    return adata if copy else None


def _apply_document(adata: AnnData, tree: DocumentTree, named: Sequence[str], sample_key: str) -> None:
    """Assign every event to the populations of a document; thresholds that are named are an error."""
    from cytocar.gate._documents.apply import document_masks

    require_state(adata, keys.STATE_ARCSINH, "gating")
    for name in named:
        tree.threshold_name(name)
    samples = rows_by_sample(adata, sample_key)
    root = may_be_gated(adata)
    resolved = {}
    for sample, rows in samples.items():
        masks = document_masks(adata, tree, rows, sample)
        inside = root[rows]
        # Shapes know nothing of the clean-up: what is not a cell is in no population.
        found = {ROOT: inside, **{name: mask & inside for name, mask in masks.items()}}
        resolved[sample] = Resolved({}, found)
    _store(adata, tree, samples, resolved)
    _store_gating(adata, tree, {}, {}, samples, resolved, root)
    record(adata, "gate.apply", {"strategy": tree.name, "sample_key": sample_key})


def _own(adata: AnnData) -> AnnData:
    """Give a view its own data, so that writing to it does not change what it was cut from."""
    if adata.is_view:
        adata._init_as_actual(adata.copy())
    return adata


def control_values(
    adata: AnnData,
    strategy: Strategy | str,
    *,
    thresholds: Pins | None = None,
    others: Mapping[str, Sequence[float]] | None = None,
    names: Sequence[str] | None = None,
    sample_key: str = keys.SAMPLE,
) -> dict[str, NDArray[np.float32]]:
    """Return the values of a control tube that decide thresholds in other tubes.

    Parameters
    ----------
    adata
        A tube without CAR-T cells, or without one antibody (FMO); arcsinh values in X.
    strategy, thresholds, others, sample_key
        As in `apply`.
    names
        The thresholds that the tube is asked about. None: all that ask for control tubes.

    Returns
    -------
    Name of each threshold that asks for control tubes to float32 array (cells,): the marker in the population
    that the threshold divides, such as VHH in T cells.

    Raises
    ------
    StateError, GateError, ThresholdNotFound
        As in `apply`, for the thresholds above that population.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> values = cc.gate.control_values(adata, "car_t")["VHH"]
    >>> values.dtype.name
    'float32'
    """
    tree, columns, _ = _prepare(adata, strategy, thresholds)
    samples = rows_by_sample(adata, sample_key)
    root = may_be_gated(adata)
    names = tree.controlled() if names is None else tuple(tree.threshold_name(name) for name in names)
    of_samples = [
        _control_values(adata, tree, columns, sample, rows, root, others, names)
        for sample, rows in samples.items()
    ]
    return {
        name: np.concatenate([values[name] for values in of_samples]) if of_samples else np.empty(0, "f4")
        for name in names
    }


def numbers_above(
    adata: AnnData, strategy: Strategy | str, *, thresholds: Pins | None = None, sample_key: str = keys.SAMPLE
) -> dict[str, list[float]]:
    """Return name to numbers of the thresholds that control tubes need before they can tell anything.

    A control tube whose own CD3 has no clear place takes the other samples' numbers, and these are wanted before
    the other samples can be gated, since they wait for the control tube. Samples that find none are left out.
    """
    tree, columns, _ = _prepare(adata, strategy, thresholds)
    return _numbers_above(
        adata, tree, columns, rows_by_sample(adata, sample_key), may_be_gated(adata), leave_out=""
    )


def _control_values(
    adata: AnnData,
    tree: GateTree,
    columns: Mapping[str, int],
    sample: str,
    rows: Rows,
    root: Mask,
    others: Mapping[str, Sequence[float]] | None,
    names: Sequence[str],
) -> dict[str, NDArray[np.float32]]:
    targets = [Step("population", tree.thresholds[name].population) for name in names]
    data = marker_values(adata, columns, rows)
    done = resolve(tree, data, root[rows], sample=sample, others=others, targets=targets)
    return {
        name: np.asarray(
            data[tree.thresholds[name].marker][done.masks[tree.thresholds[name].population]], dtype=np.float32
        )
        for name in names
    }


def _prepare(
    adata: AnnData, strategy: Strategy | str, pins: Pins | None
) -> tuple[GateTree, dict[str, int], dict[str, list[str]]]:
    """Return the strategy as it fits these data, the column of each marker, and the optional markers left out."""
    require_state(adata, keys.STATE_ARCSINH, "gating")
    tree = load(strategy) if isinstance(strategy, str) else strategy
    if not isinstance(tree, GateTree):
        raise GateError(f"strategy {tree.name!r} is made of shapes, in which no threshold is found")
    for name, value in (pins or {}).items():
        if isinstance(value, Mapping):
            for sample, number in value.items():
                tree = tree.with_threshold(name, number, sample=str(sample))
        else:
            tree = tree.with_threshold(name, value)
    by_key = {marker_key(str(name)): position for position, name in enumerate(adata.var_names)}
    optional = {marker_key(marker) for marker in tree.optional}
    columns: dict[str, int] = {}
    missing: dict[str, list[str]] = {}
    left_out: dict[str, list[str]] = {}
    for threshold in tree.thresholds.values():
        found = [by_key[key] for key in map(marker_key, threshold.markers) if key in by_key]
        if found:
            if columns.setdefault(threshold.marker, found[0]) != found[0]:
                raise GateError(
                    f"threshold {threshold.name!r}: marker {threshold.marker!r} means two different columns in this "
                    "strategy",
                    fix="list its other names in the same order everywhere",
                )
        elif optional & {marker_key(marker) for marker in threshold.markers}:
            left_out.setdefault(threshold.marker, []).append(threshold.name)
        else:
            missing.setdefault(" or ".join(threshold.markers), []).append(threshold.name)
    if missing:
        raise GateError(_missing_message(tree, missing, [str(name) for name in adata.var_names]))
    return tree.without(name for names in left_out.values() for name in names), columns, left_out


def _missing_message(tree: GateTree, missing: Mapping[str, Sequence[str]], panel: Sequence[str]) -> str:
    count = f"{len(missing)} marker{'s' if len(missing) > 1 else ''}"
    lines = [f"strategy {tree.name!r} needs {count} that the panel does not have:"]
    for marker, names in missing.items():
        hint = did_you_mean(marker.split(" or ")[0], panel)
        near = (
            hint if hint.startswith("did you mean") else "no marker of the panel is called anything like it"
        )
        lines.append(f"  {marker} (threshold {', '.join(names)}): {near}")
    lines.append(
        "Write the panel's name into the strategy (marker: [VHH, CAR_ID]), list the marker under optional_markers "
        "so that its gate is left out, or choose another strategy."
    )
    return "\n".join(lines)


def _given_controls(
    tree: GateTree, controls: Mapping[str, NDArray[Any] | Mapping[str, NDArray[Any]]]
) -> dict[str, dict[str, NDArray[Any]]]:
    given: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in controls.items():
        tubes = values if isinstance(values, Mapping) else {_POOLED: values}
        given[tree.threshold_name(name)] = {tube: np.asarray(array).ravel() for tube, array in tubes.items()}
    return given


def _controls_within(
    adata: AnnData,
    tree: GateTree,
    columns: Mapping[str, int],
    samples: Mapping[str, Rows],
    root: Mask,
    others: Mapping[str, Sequence[float]] | None,
) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the control values of the samples of `adata` that are control tubes of some threshold."""
    given: dict[str, dict[str, NDArray[Any]]] = {}
    if not tree.uses_controls():
        return given
    role = (
        np.asarray(adata.obs[keys.ROLE].astype(str)) if keys.ROLE in adata.obs else np.full(adata.n_obs, "")
    )
    for sample, rows in samples.items():
        roles = np.unique(role[rows])
        its_role = str(roles[0]) if roles.size == 1 else ""
        names = tree.controlled_by(sample, its_role)
        if not names:
            continue
        try:
            values = _control_values(adata, tree, columns, sample, rows, root, others, names)
        except ThresholdNotFound as error:
            if not error.needs_others:
                raise
            known = _numbers_above(adata, tree, columns, samples, root, leave_out=sample)
            values = _control_values(adata, tree, columns, sample, rows, root, known, names)
        for name, array in values.items():
            given.setdefault(name, {})[sample] = array
    return given


def _numbers_above(
    adata: AnnData,
    tree: GateTree,
    columns: Mapping[str, int],
    samples: Mapping[str, Rows],
    root: Mask,
    *,
    leave_out: str,
) -> dict[str, list[float]]:
    """Return the numbers, in the other samples, of what lies above the populations that controls are asked for."""
    targets = [Step("population", tree.thresholds[name].population) for name in tree.controlled()]
    found = []
    for sample, rows in samples.items():
        if sample == leave_out:
            continue
        data = marker_values(adata, columns, rows)
        # A sample that finds no number itself has none to give.
        with contextlib.suppress(ThresholdNotFound):
            found.append(resolve(tree, data, root[rows], sample=sample, targets=targets).found.values())
    return numbers_for_others(found)


def _resolve_all(
    adata: AnnData,
    tree: GateTree,
    columns: Mapping[str, int],
    samples: Mapping[str, Rows],
    root: Mask,
    controls: Mapping[str, Mapping[str, NDArray[Any]]],
    others: Mapping[str, Sequence[float]] | None,
    seed: int,
) -> dict[str, Resolved]:
    """Resolve every sample; those that need the numbers of the others come last."""
    done: dict[str, Resolved] = {}
    waiting: list[str] = []
    for sample, rows in samples.items():
        data = marker_values(adata, columns, rows)
        try:
            done[sample] = resolve(
                tree, data, root[rows], sample=sample, controls=controls, others=others, seed=seed
            )
        except ThresholdNotFound as error:
            if not error.needs_others or len(samples) == 1:
                raise
            waiting.append(sample)
    if waiting:
        known = numbers_for_others([resolved.found.values() for resolved in done.values()])
        for sample in waiting:
            rows = samples[sample]
            data = marker_values(adata, columns, rows)
            done[sample] = resolve(
                tree, data, root[rows], sample=sample, controls=controls, others=known, seed=seed
            )
    return {sample: done[sample] for sample in samples}


def numbers_for_others(samples: Sequence[Any]) -> dict[str, list[float]]:
    """Return name of a threshold to its numbers in the samples that found or were given one of their own."""
    numbers: dict[str, list[float]] = {}
    for found in samples:
        for item in found:
            if not item.fallback:
                numbers.setdefault(item.name, []).append(item.value)
    return numbers


def _store(
    adata: AnnData,
    tree: Strategy,
    samples: Mapping[str, Rows],
    resolved: Mapping[str, Resolved],
) -> None:
    import pandas as pd

    names = list(next(iter(resolved.values())).masks) if resolved else []
    gates = {name: np.zeros(adata.n_obs, dtype=bool) for name in names}
    for sample, rows in samples.items():
        for name, mask in resolved[sample].masks.items():
            gates[name][rows] = mask
    adata.obsm[keys.GATES] = pd.DataFrame(gates, index=adata.obs_names)
    if not tree.compartments:
        return
    compartment = _exclusive(
        {name: gates[population] for name, population in tree.compartments.items()},
        adata.n_obs,
        "compartments",
    )
    adata.obs[keys.COMPARTMENT] = pd.Categorical.from_codes(compartment, pd.Index([*tree.compartments, ""]))
    subset = np.full(adata.n_obs, len(tree.subsets), dtype=np.int8)
    names_of = list(tree.subsets)
    for population, of_one in tree.subset_populations.items():
        parts = {name: gates[of_one[name]] for name in names_of if name in of_one}
        inside = gates[population]
        codes = _exclusive(parts, adata.n_obs, f"subsets of {population}")
        positions = np.array([*map(names_of.index, parts), len(names_of)], dtype=np.int8)
        subset[inside] = positions[codes][inside]
    adata.obs[keys.SUBSET] = pd.Categorical.from_codes(subset, pd.Index([*tree.subsets, ""]))


def _exclusive(masks: Mapping[str, Mask], n: int, what: str) -> NDArray[np.int8]:
    """Return the position of the one mask that each event is in, or the number of masks where it is in none."""
    codes = np.full(n, len(masks), dtype=np.int8)
    names = list(masks)
    for code, name in enumerate(names):
        taken = masks[name] & (codes < len(masks))
        if taken.any():
            other = names[int(codes[np.argmax(taken)])]
            raise GateError(
                f"{int(taken.sum()):,} events are in two {what}, {other!r} and {name!r}",
                fix="keep them apart",
            )
        codes[masks[name]] = code
    return codes


def _store_gating(
    adata: AnnData,
    tree: Strategy,
    columns: Mapping[str, int],
    left_out: Mapping[str, Sequence[str]],
    samples: Mapping[str, Rows],
    resolved: Mapping[str, Resolved],
    root: Mask,
) -> None:
    """Keep as JSON what the tables are made of, so that they survive taking a subset of the events."""
    markers = {marker: str(adata.var_names[position]) for marker, position in columns.items()}
    classes = np.asarray(adata.obs[keys.EVENT_CLASS].astype(str)) if keys.EVENT_CLASS in adata.obs else None
    of_samples = {}
    for sample, rows in samples.items():
        here = resolved[sample]
        removed = {}
        if classes is not None:
            names, counts = np.unique(classes[rows][~root[rows]], return_counts=True)
            removed = dict(zip(names.tolist(), counts.tolist(), strict=True))
        thresholds = []
        for found in here.found.values():
            entry = dataclasses.asdict(found)
            entry["marker"] = markers[found.marker]
            for key in ("confidence", "spread", "low", "high"):
                entry[key] = None if np.isnan(entry[key]) else entry[key]
            entry["grid"] = np.round(found.grid, 4).tolist()
            entry["density"] = [float(f"{d:.4g}") for d in found.density]
            thresholds.append(entry)
        of_samples[sample] = {
            "events": int(root[rows].size),
            "removed": removed,
            "counts": {name: int(np.count_nonzero(mask)) for name, mask in here.masks.items()},
            "thresholds": thresholds,
        }
    gating = {
        "strategy": tree.text(),
        "markers": markers,
        "left_out": {marker: list(names) for marker, names in left_out.items()},
        "samples": of_samples,
    }
    adata.uns.setdefault(keys.UNS, {})[keys.GATING] = json.dumps(plain(gating))
