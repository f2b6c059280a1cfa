"""What figures read from tables and from AnnData; nothing here changes its input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, ordering
from cytocar._core.errors import ParameterError, StateError, did_you_mean
from cytocar._core.ordering import sort_clusters, sort_timepoints

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray


def require(table: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Raise `ParameterError` unless a table has rows and the columns that a figure is drawn from."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ParameterError(
            f"{what} lacks the columns {', '.join(missing)}",
            fix=f"it has {', '.join(map(str, table.columns)) or 'none'}",
        )
    if len(table) == 0:
        raise ParameterError(f"{what} has no rows, so there is nothing to draw")


def column(adata: AnnData, key: str) -> NDArray[np.object_]:
    """Return a column of obs as texts, with ``""`` where nothing is known."""
    if key not in adata.obs:
        raise ParameterError(
            f"{key!r} is not a column of obs", fix=did_you_mean(key, map(str, adata.obs.columns))
        )
    values = adata.obs[key]
    unknown = values.isna().to_numpy()
    texts = values.astype(object).astype(str).to_numpy(dtype=object, copy=True)
    texts[unknown] = ""
    return texts


def levels(adata: AnnData, key: str, *, within: NDArray[np.bool_] | None = None) -> list[str]:
    """Return the values of an obs column that occur, in the order in which they are shown.

    Subsets and compartments have a fixed order, timepoints go by months, clusters by number; other columns keep
    the order of their categories, or are sorted so that 10 comes after 9.
    """
    texts = column(adata, key)
    present = set(texts if within is None else texts[within]) - {"", "nan"}
    if not present:
        return []
    for fixed in (keys.SUBSETS, (keys.CAR, keys.HOST, keys.CELLS)):
        if present <= set(fixed):
            return [name for name in fixed if name in present]
    values = adata.obs[key]
    categories = [str(name) for name in values.cat.categories] if hasattr(values, "cat") else None
    if categories is not None and values.cat.ordered:
        return [name for name in categories if name in present]
    if key == keys.TIMEPOINT and keys.MONTHS in adata.obs:
        months = np.asarray(adata.obs[keys.MONTHS], dtype=float)
        when = {name: _first_finite(months[texts == name]) for name in present}
        return sorted(present, key=lambda name: (when[name], ordering.natural(name)))
    if key == keys.TIMEPOINT:
        return sort_timepoints(present)
    if all(re.fullmatch(r"-?\d+", name) for name in present):
        return sort_clusters(present)
    if categories is not None:
        return [name for name in categories if name in present]
    return sorted(present, key=ordering.natural)


def _first_finite(values: NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(known[0]) if known.size else np.inf


def of_interest(adata: AnnData) -> NDArray[np.bool_]:
    """Return which rows are CAR-T cells; all rows where there are none, or no compartments."""
    everything = np.ones(adata.n_obs, dtype=bool)
    if keys.COMPARTMENT not in adata.obs:
        return everything
    compartment = column(adata, keys.COMPARTMENT)
    for name in (keys.CAR, keys.CELLS):
        chosen = compartment == name
        if chosen.any():
            return np.asarray(chosen, dtype=bool)
    return everything


def expression(adata: AnnData, markers: Sequence[str]) -> NDArray[np.float32]:
    """Return the arcsinh values of markers, cells x markers; refuse raw counts."""
    from cytocar.get import matrix

    state = adata.uns.get(keys.UNS, {}).get(keys.STATE)
    if state == keys.STATE_COUNTS:
        raise StateError("X holds counts, and figures show arcsinh values: run cytocar.pp.arcsinh first")
    return matrix(adata, list(markers))


def names_of(adata: AnnData, markers: Sequence[str]) -> list[str]:
    """Return markers as ``var_names`` writes them, whatever spelling they were asked for in."""
    from cytocar.get import columns

    return [str(adata.var_names[place]) for place in columns(adata, list(markers))]


def known_markers(adata: AnnData, markers: Sequence[str]) -> list[str]:
    """Return those of `markers` that the panel has, as ``var_names`` writes them."""
    found: list[str] = []
    for marker in markers:
        try:
            found += names_of(adata, [marker])
        except ParameterError:
            continue
    return list(dict.fromkeys(found))


def clustering_markers(adata: AnnData) -> list[str]:
    """Return the markers used for clustering; all markers of the panel where none is marked."""
    from cytocar.get import markers

    for clustering in (True, False):
        try:
            return markers(adata, clustering=clustering)
        except ParameterError:
            continue
    return [str(name) for name in adata.var_names]


def value_label(adata: AnnData, markers: Sequence[str]) -> str:
    """Return the name of the value axis: ``arcsinh(counts / 5)``, or what is known about X."""
    if adata.uns.get(keys.UNS, {}).get(keys.STATE) != keys.STATE_ARCSINH:
        return "value in X"
    if keys.COFACTOR not in adata.var:
        return "arcsinh(counts / cofactor)"
    from cytocar.get import columns

    used = adata.var[keys.COFACTOR].to_numpy(dtype=float)[columns(adata, list(markers))]
    cofactors = set(used[np.isfinite(used)].tolist())
    return f"arcsinh(counts / {cofactors.pop():g})" if len(cofactors) == 1 else "arcsinh(counts / cofactor)"


def sample_labels(samples: Sequence[str], sheet: pd.DataFrame | None) -> dict[str, str]:
    """Return what a sample is called on an axis: its timepoint where the sheet tells samples apart by it.

    Parameters
    ----------
    samples
        Sample ids in the order shown.
    sheet
        A table with `sample_id` and `timepoint`, or None.
    """
    if sheet is None or keys.SAMPLE not in sheet or keys.TIMEPOINT not in sheet:
        return {sample: sample for sample in samples}
    rows = sheet.drop_duplicates(keys.SAMPLE)
    timepoint = dict(zip(rows[keys.SAMPLE].astype(str), rows[keys.TIMEPOINT].astype(str), strict=True))
    names = [timepoint.get(sample, "") for sample in samples]
    if len(set(names)) == len(names) and "" not in names and "nan" not in names:
        return dict(zip(samples, names, strict=True))
    return {sample: sample for sample in samples}


def sample_order(samples: Iterable[object], sheet: pd.DataFrame | None) -> list[str]:
    """Return sample ids by patient and months where a sheet says so, else as they come."""
    present = list(dict.fromkeys(str(sample) for sample in samples))
    if sheet is None or keys.SAMPLE not in sheet or keys.MONTHS not in sheet:
        return present
    rows = sheet.drop_duplicates(keys.SAMPLE)
    ids = rows[keys.SAMPLE].astype(str)
    months = dict(zip(ids, rows[keys.MONTHS].to_numpy(dtype=float), strict=True))
    patients = rows[keys.PATIENT].astype(str) if keys.PATIENT in rows else ["" for _ in ids]
    patient = {sample: ordering.natural(name) for sample, name in zip(ids, patients, strict=True)}

    def place(sample: str) -> tuple[tuple[tuple[int, float, str], ...], float]:
        when = months.get(sample, np.inf)
        return patient.get(sample, ()), when if np.isfinite(when) else np.inf

    return sorted(present, key=place)
