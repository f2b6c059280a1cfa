"""What tests of cohorts share: the sheet that goes with the data, where the patient goes, the rows of the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.samples import require_sample_column
from cytocar._core.vocabulary import CONTROL_ROLE
from cytocar.tl._cohorts.design import (
    Contrast,
    Design,
    add_block,
    column_named,
    estimable,
    reduce_design,
    require_filled,
    smallest_p,
    unit_of,
)
from cytocar.tl._statistics.p_values import benjamini_hochberg

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

AFTER: Final = (
    "n_patients", "n_patients_a", "n_patients_b", "n_samples", "n_cells", "value_a", "value_b", "effect", "effect_low",
    "effect_high", "effect_unit", "statistic", "df", "p_value", "p_adjusted", "p_minimum", "family", "unit", "model",
    "note",
)  # fmt: skip
BLOCKS: Final = ("auto", "fixed", "random")
GRID: Final = (0.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, math.inf)


@dataclass(frozen=True)
class Arrangement:
    """How one contrast is fitted: its design, and where the patient went.

    `kind` is ``none``, ``fixed`` (one column per patient), ``pooled`` (the samples of a patient, for which the formula
    says the same, made one), ``averaged`` (samples and design averaged over the patient) or ``random`` (correlated
    samples). `member` says which row of `design` each sample belongs to, `by_sample` is the design before samples were
    made one.
    """

    design: Design
    contrast: Contrast
    kind: str
    block: str | None
    member: NDArray[np.intp]
    by_sample: Floats

    @property
    def codes(self) -> NDArray[np.intp]:
        """Return the block of each row as a number."""
        if self.block is None:
            return np.arange(len(self.design.sheet))
        return np.asarray(np.unique(self.design.sheet[self.block].astype(str), return_inverse=True)[1])

    def pool(self, values: Floats) -> Floats:
        """Sum the last axis of `values` over the samples of each row of the design."""
        sums = np.zeros((*values.shape[:-1], len(self.design.sheet)))
        for i, row in enumerate(self.member):
            sums[..., row] += values[..., i]
        return sums

    def model(self, name: str) -> str:
        """Return in words what was fitted."""
        blocked = {
            "none": "",
            "fixed": f", {self.block} as fixed block",
            "pooled": f", samples of one {self.block} made one",
            "averaged": f", averaged over {self.block}",
            "random": f", {self.block} as random block",
        }
        return f"{name}, {self.design.formula}{blocked[self.kind]}"


def _patient_column(design: Design, block: str | None) -> str | None:
    """Return the column of repeated measurements: the block, or the patient where the formula itself names it."""
    return keys.PATIENT if block is None and keys.PATIENT in design.names else block


def matching_sheet(samples: pd.DataFrame, with_data: Iterable[str]) -> pd.DataFrame:
    """Return the rows of the sheet that are tested: no negative controls, each once, each with data."""
    if keys.SAMPLE not in samples.columns:
        if samples.index.name != keys.SAMPLE:
            require_sample_column(samples, keys.SAMPLE, "samples")
        samples = samples.reset_index()
    sheet = (
        samples[samples[keys.ROLE].astype(str) != CONTROL_ROLE] if keys.ROLE in samples.columns else samples
    )
    sheet = sheet.reset_index(drop=True)
    if not len(sheet):
        raise ParameterError("samples has no row of a patient: there is nothing to compare")
    ids = sheet[keys.SAMPLE].astype(str)
    if ids.duplicated().any():
        raise ParameterError(
            f"samples has {ids[ids.duplicated()].iloc[0]!r} in more than one row", fix="each sample needs one"
        )
    present = set(with_data)
    absent = [name for name in ids if name not in present]
    if absent:
        raise ParameterError(
            f"samples names {', '.join(absent)}, which the data do not have",
            fix=did_you_mean(absent[0], sorted(present)),
        )
    return sheet


def sheet_of(obs: pd.DataFrame, sample_key: str) -> pd.DataFrame:
    """Return a sheet made of those columns of `obs` that are the same for all cells of a sample."""
    require_sample_column(obs, sample_key)
    grouped = obs.groupby(sample_key, observed=True, sort=False)
    constant = [
        column
        for column in obs.columns
        if column != sample_key and grouped[column].nunique(dropna=False).max() == 1
    ]
    return grouped[constant].first().reset_index().rename(columns={sample_key: keys.SAMPLE})


def arrange(
    design: Design, contrasts: Sequence[Contrast], block: str | None, block_as: str
) -> list[Arrangement]:
    """Give each contrast its design and the patient a role in it, so that samples of a patient are not replicates."""
    checks.one_of(block_as, "block_as", BLOCKS)
    block = _block(design, block)
    return [_arranged(design, contrast, block, block_as) for contrast in contrasts]


def _arranged(design: Design, contrast: Contrast, block: str | None, block_as: str) -> Arrangement:
    rows = np.arange(len(design.sheet))
    smaller, (kept,) = reduce_design(design, [contrast])
    if block is None:
        return Arrangement(smaller, kept, "none", None, rows, smaller.matrix)
    blocked = add_block(design, block)
    padded = np.concatenate([contrast.weights, np.zeros(len(blocked.columns) - len(design.columns))])
    within = estimable(blocked.matrix, padded)
    if block_as == "random":
        return Arrangement(smaller, kept, "random", block, rows, smaller.matrix)
    if within:
        # Which columns a block makes superfluous is known to everyone: keep the notes of the design itself.
        narrow, (wide,) = reduce_design(blocked, [replace(contrast, weights=padded)])
        quiet = replace(narrow, notes=design.notes)
        return Arrangement(quiet, wide, "fixed", block, rows, quiet.matrix)
    if block_as == "fixed":
        raise ParameterError(
            f"{contrast.name!r} is between levels of {block}: with {block} as fixed block nothing is left of it",
            fix="use block_as='auto'",
        )
    labels = design.sheet[block].astype(str).to_numpy()
    first, member = _in_order(labels)
    sheet = design.sheet.iloc[first].reset_index(drop=True)
    for name in design.names:
        if (
            name != contrast.column
            and (design.sheet[name].to_numpy() != sheet[name].to_numpy()[member]).any()
        ):
            sheet = sheet.assign(**{name: "" if name in design.levels else 0.0})
    means = np.array([smaller.matrix[member == i].mean(axis=0) for i in range(len(first))])
    kind = "pooled" if np.allclose(smaller.matrix, means[member]) else "averaged"
    pooled = replace(smaller, matrix=means, sheet=sheet)
    if kind == "averaged" and not estimable(means, kept.weights):
        return Arrangement(smaller, kept, "random", block, rows, smaller.matrix)
    return Arrangement(pooled, kept, kind, block, member, smaller.matrix)


def _in_order(labels: NDArray[np.object_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each label occurs first, in that order, and the number of each sample's label in it."""
    _, first, member = np.unique(labels.astype(str), return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return np.sort(first), rank[member]


@dataclass(frozen=True)
class Tested:
    """What is known of the rows of one contrast: rows are clusters, or clusters and markers.

    Parameters
    ----------
    labels
        Columns that name the rows.
    values
        Rows x rows of the design: what is compared.
    usable
        Rows x rows of the design: where there is such a value.
    cells
        Cells of each row in all samples.
    n_samples
        Samples of each row.
    why
        Why a row has no numbers; empty where it has.
    estimates
        ``effect``, ``low``, ``high``, ``statistic``, ``df`` and ``p`` of each row, NaN where there are none.
    """

    labels: dict[str, Sequence[str]]
    values: Floats
    usable: NDArray[np.bool_]
    cells: Floats
    n_samples: Floats
    why: Sequence[str]
    estimates: dict[str, Floats]


def no_estimates(rows: int) -> dict[str, Floats]:
    """Return the estimates of rows that none were made for yet."""
    return {name: np.full(rows, np.nan) for name in ("effect", "low", "high", "statistic", "df", "p")}


@dataclass(frozen=True)
class _Counted:
    """Units in all and in either group, and the mean value of either group, of each row."""

    units: NDArray[np.int64]
    in_group: NDArray[np.int64]
    mean: Floats


def _counted(arrangement: Arrangement, tested: Tested) -> _Counted:
    """Count the units of each row, and of those in each of the two groups that are compared."""
    design, contrast = arrangement.design, arrangement.contrast
    names = design.sheet[keys.PATIENT if unit_of(design) == "patient" else keys.SAMPLE].astype(str).to_numpy()
    n_rows = len(tested.values)
    units = np.array([len(set(names[use])) for use in tested.usable], dtype=np.int64)
    in_group, mean = np.zeros((2, n_rows), dtype=np.int64), np.full((2, n_rows), np.nan)
    if contrast.column not in design.levels:
        return _Counted(units, in_group, mean)
    level = design.sheet[contrast.column].astype(str).to_numpy()
    for row, usable in enumerate(tested.usable):
        groups = [usable & (level == side) for side in (contrast.a, contrast.b)]
        if arrangement.kind == "fixed":
            # A patient that has only one of them says nothing about their difference.
            first, second = groups
            groups = [first & np.isin(names, names[second]), second & np.isin(names, names[first])]
        for side, use in enumerate(groups):
            in_group[side, row] = len(set(names[use]))
            if use.any():
                mean[side, row] = float(tested.values[row, use].mean())
    return _Counted(units, in_group, mean)


def _without_test(arrangement: Arrangement, tested: Tested, counted: _Counted) -> list[str]:
    """Return for each row why it has neither interval nor p; empty where it has."""
    design, contrast = arrangement.design, arrangement.contrast
    unit = unit_of(design)
    between = contrast.column in design.levels

    def reason(row: int) -> str:
        if tested.why[row]:
            return tested.why[row]
        for side, n in zip((contrast.a, contrast.b), counted.in_group[:, row], strict=True):
            if between and n < 2:
                both = f"with both {contrast.a} and {contrast.b}"
                of = both if arrangement.kind == "fixed" else f"in {side}"
                return f"{n} {unit}{'' if n == 1 else 's'} {of}: no interval and no p"
        if not np.isfinite(tested.estimates["p"][row]):
            return (
                f"no residual variance: {counted.units[row]} {unit}s for {design.matrix.shape[1]} coefficients, "
                "no interval and no p"
            )
        return ""

    return [reason(row) for row in range(len(tested.why))]


def _notes(design: Design, estimates: dict[str, Floats], minimum: float, row: int) -> str:
    """Return what is to be known beside the numbers of a row."""
    notes = [*design.notes]
    if np.isfinite(minimum) and estimates["p"][row] < minimum:
        notes.append("p is below what exchanging labels can give in this design: it rests on the model")
    if np.isinf(estimates["low"][row]) or np.isinf(estimates["high"][row]):
        notes.append("no cells in one group: the interval is open on one side")
    return "; ".join(notes)


def table_of(
    arrangement: Arrangement, tested: Tested, *, effect_unit: str, model: str, what: str
) -> pd.DataFrame:
    """Return the rows of one contrast: numbers where there are any, and where there are none why."""
    import pandas as pd

    design, contrast, estimates = arrangement.design, arrangement.contrast, tested.estimates
    counted = _counted(arrangement, tested)
    reasons = _without_test(arrangement, tested, counted)
    silent = np.array([bool(reason) for reason in reasons])
    nothing = np.array([bool(reason) for reason in tested.why])
    p = np.where(silent, np.nan, estimates["p"])
    minimum = smallest_p(design, contrast, _patient_column(design, arrangement.block))
    table = pd.DataFrame({"contrast": contrast.name, **tested.labels}, index=range(len(tested.values)))
    table["group_a"], table["group_b"] = contrast.a, contrast.b
    columns: dict[str, Any] = {
        "n_patients": counted.units,
        "n_patients_a": counted.in_group[0],
        "n_patients_b": counted.in_group[1],
        "n_samples": tested.n_samples.astype(np.int64),
        "n_cells": tested.cells.astype(np.int64),
        "value_a": counted.mean[0],
        "value_b": counted.mean[1],
        "effect": np.where(nothing, np.nan, estimates["effect"]),
        "effect_low": np.where(silent, np.nan, estimates["low"]),
        "effect_high": np.where(silent, np.nan, estimates["high"]),
        "effect_unit": effect_unit,
        "statistic": np.where(silent, np.nan, estimates["statistic"]),
        "df": np.where(silent, np.nan, estimates["df"]),
        "p_value": p,
        "p_adjusted": benjamini_hochberg(p),
        "p_minimum": minimum,
        "family": f"{int(np.isfinite(p).sum())} {what} of {contrast.name}",
        "unit": unit_of(design),
        "model": arrangement.model(model),
        "note": [reason or _notes(design, estimates, minimum, row) for row, reason in enumerate(reasons)],
    }
    for name in AFTER:
        table[name] = columns[name]
    return table


def saturating_weights(values: Floats, size: Floats, matrix: Floats) -> tuple[Floats, float]:
    """Return weights n / (n + n0), and the n0 of a grid that makes all rows together most likely (restricted).

    A summary of n cells varies by v + s / n about its mean, v between patients; n0 = s / v is where both are equal.
    """
    from cytocar.tl._cohorts.moderated import restricted_log_likelihood

    best, chosen = -math.inf, math.inf
    for n0 in GRID:
        weights = _saturating(size, n0)
        likelihood = 0.0
        for row, w in zip(values, weights, strict=True):
            ok = np.isfinite(row) & (w > 0)
            x = matrix[ok]
            if ok.sum() <= x.shape[1] + 1 or np.ptp(row[ok]) == 0 or np.linalg.matrix_rank(x) < x.shape[1]:
                continue
            likelihood += restricted_log_likelihood(row[ok], x, w[ok], None, 0.0)
        if likelihood > best + 1e-9:
            best, chosen = likelihood, n0
    return _saturating(size, chosen), chosen


def _saturating(size: Floats, n0: float) -> Floats:
    return size.astype(np.float64) if math.isinf(n0) else size / np.maximum(size + n0, 1e-300)


def _block(design: Design, block: str | None) -> str | None:
    """Return the column to block on: what was asked, else the patient where one has several samples."""
    sheet = design.sheet
    block = None if block is None else column_named(sheet, block)
    if block is None:
        block = keys.PATIENT if keys.PATIENT in sheet.columns else None
        if block is None or (sheet[block].astype(str) == "").any():
            return None
    elif block not in sheet.columns:
        raise ParameterError(
            f"block is {block!r}, which is not a column of samples",
            fix=did_you_mean(block, map(str, sheet.columns)),
        )
    else:
        require_filled(sheet, block)
    if block in design.names or not sheet[block].astype(str).duplicated().any():
        return None
    return block
