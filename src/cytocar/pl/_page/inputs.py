"""What figures read from tables and from AnnData; nothing here changes its input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
        present = ", ".join(map(str, table.columns)) or "none"
        raise ParameterError(f"{what} is missing columns: {', '.join(missing)}", fix=f"it has {present}")
    if len(table) == 0:
        raise ParameterError(f"{what} has no rows, so there is nothing to draw")


def texts(table: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of a table as texts, whatever it was read as."""
    return table[column].astype(str)


def distinct(table: pd.DataFrame, column: str) -> list[str]:
    """Return the values of a column as texts, each once, in the order of the table."""
    return list(dict.fromkeys(texts(table, column)))


def refuse_unknown(asked: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raise `ParameterError` for the first of the names asked for that is not known: ``'CD33' is not in the table``."""
    for name in asked:
        if name not in known:
            raise ParameterError(f"{name!r} {what}", fix=did_you_mean(name, known))


def markers_of(asked: Iterable[str], known: Sequence[str], place: str, what: str = "marker") -> list[str]:
    """Return the markers, or what is named after one, by any of their names, as `place` (the table) spells them."""
    from cytocar.panel.antigens import marker_positions

    return [known[at] for at in marker_positions(asked, known, what=what, place=place)]


def rows_of(table: pd.DataFrame, column: str, value: str | None) -> pd.DataFrame:
    """Return the rows with one value in a column, all rows for None; refuse a value that is not there."""
    if value is None:
        return table
    present = distinct(table, column)
    if value not in present:
        raise ParameterError(f"the table has no {column} {value!r}", fix=did_you_mean(value, present))
    return table[texts(table, column) == value]


def first_or(table: pd.DataFrame, column: str, value: str | None) -> str:
    """Return `value`, or the first value of the column where it is None."""
    return distinct(table, column)[0] if value is None else value


def wide(
    table: pd.DataFrame, columns: Sequence[str], *, samples: Sequence[str], by: str, groups: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return columns of a long table as arrays of samples x groups, NaN where the table has no row.

    Parameters
    ----------
    table
        One row per sample and group.
    columns
        Columns of numbers.
    samples, groups
        Rows and columns of the arrays, in their order.
    by
        The column that names the groups.
    """
    keyed = table.assign(s=texts(table, keys.SAMPLE), c=texts(table, by))
    return {
        column: np.asarray(
            keyed.pivot_table(index="s", columns="c", values=column, aggfunc="first")
            .reindex(index=list(samples), columns=list(groups))
            .to_numpy(dtype=float)
        )
        for column in columns
    }


def is_yes(value: object) -> bool:
    """Read a truth value, also as a CSV file spells it."""
    return str(value).strip().casefold() in ("true", "1", "1.0")


def subset_order(names: Iterable[str]) -> list[str]:
    """Return subsets in the order in which they are shown: CD4, CD8, DN, DP, then others by name."""
    present = set(names)
    return [name for name in keys.SUBSETS if name in present] + sorted(present - set(keys.SUBSETS))


@dataclass(frozen=True)
class Page:
    """The samples on one of several pages."""

    samples: tuple[str, ...]
    first: int
    """Position of its first sample among all, from 1."""
    of: int
    """Samples on all pages."""
    pages: int


def page_of(plots: pd.DataFrame, samples: Sequence[str] | None, page: int, per_page: int) -> Page:
    """Return which samples of a table stand on a page, counted from 1; refuse unknown samples and pages."""
    known = distinct(plots, keys.SAMPLE)
    wanted = known if samples is None else [str(sample) for sample in samples]
    refuse_unknown(wanted, known, "is not a sample of the plots")
    pages = -(-len(wanted) // per_page)
    if not 1 <= page <= pages:
        raise ParameterError(f"page is {page}", fix=f"there are pages 1 to {pages}")
    start = (page - 1) * per_page
    return Page(tuple(wanted[start : start + per_page]), start + 1, len(wanted), pages)


def column(adata: AnnData, key: str) -> NDArray[np.object_]:
    """Return a column of obs as texts, with ``""`` where nothing is known."""
    if key not in adata.obs:
        raise ParameterError(
            f"{key!r} is not a column of obs", fix=did_you_mean(key, map(str, adata.obs.columns))
        )
    values = adata.obs[key]
    named: NDArray[np.object_] = values.astype(object).astype(str).to_numpy(dtype=object, copy=True)
    named[values.isna().to_numpy()] = ""
    return named


def levels(adata: AnnData, key: str, *, within: NDArray[np.bool_] | None = None) -> list[str]:
    """Return the values of an obs column that occur, in the order in which they are shown.

    Subsets and compartments have a fixed order, timepoints go by months, clusters by number; other columns keep
    the order of their categories, or are sorted so that 10 comes after 9.
    """
    values = column(adata, key)
    present = set(values if within is None else values[within]) - {"", "nan"}
    stated = _stated_order(adata.obs[key], present)
    if stated:
        return [name for name in stated if name in present]
    if key == keys.TIMEPOINT:
        return _by_time(adata, values, present)
    if all(re.fullmatch(r"-?\d+", name) for name in present):
        return sort_clusters(present)
    categories = _categories(adata.obs[key])
    return [name for name in categories if name in present] or sorted(present, key=ordering.natural)


def _stated_order(values: pd.Series, present: set[str]) -> Sequence[str]:
    """Return an order that is fixed or stated by the column itself; none where there is no such order."""
    for fixed in (keys.SUBSETS, (keys.CAR, keys.HOST, keys.CELLS)):
        if present <= set(fixed):
            return fixed
    return _categories(values) if hasattr(values, "cat") and values.cat.ordered else ()


def _categories(values: pd.Series) -> list[str]:
    return [str(name) for name in values.cat.categories] if hasattr(values, "cat") else []


def _by_time(adata: AnnData, when: NDArray[np.object_], present: set[str]) -> list[str]:
    if keys.MONTHS not in adata.obs:
        return sort_timepoints(present)
    months = np.asarray(adata.obs[keys.MONTHS], dtype=float)
    first = {name: _first_finite(months[when == name]) for name in present}
    return sorted(present, key=lambda name: (first[name], ordering.natural(name)))


def _first_finite(values: NDArray[np.floating]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite[0]) if finite.size else np.inf


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

    return [str(adata.var_names[position]) for position in columns(adata, list(markers))]


def known_markers(adata: AnnData, markers: Sequence[str]) -> list[str]:
    """Return those of `markers` that the panel has, as ``var_names`` writes them."""
    names: list[str] = []
    for marker in markers:
        try:
            names += names_of(adata, [marker])
        except ParameterError:
            continue
    return list(dict.fromkeys(names))


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

    def rank(sample: str) -> tuple[tuple[tuple[int, float, str], ...], float]:
        when = months.get(sample, np.inf)
        return patient.get(sample, ()), when if np.isfinite(when) else np.inf

    return sorted(present, key=rank)
