"""What tests of cohorts share: the sheet that goes with the data, the place of the patient, the rows of the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.samples import require_sample_column
from cytocar._core.vocabulary import CONTROL_ROLE
from cytocar.tl._cohorts import design as _design
from cytocar.tl._cohorts.design import Contrast, Design
from cytocar.tl._statistics.tests import benjamini_hochberg

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

    `kind` is ``none``, ``fixed`` (a column a patient), ``pooled`` (the samples of a patient, for which the formula says
    the same, made one), ``averaged`` (samples and design averaged over the patient) or ``random`` (correlated samples).
    `member` says which row of `design` each sample belongs to, `by_sample` is the design before samples were made one.
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
        made = np.zeros((*values.shape[:-1], len(self.design.sheet)))
        for i, row in enumerate(self.member):
            made[..., row] += values[..., i]
        return made

    def model(self, name: str) -> str:
        """Return in words what was fitted."""
        places = {
            "none": "",
            "fixed": f", {self.block} as fixed block",
            "pooled": f", samples of one {self.block} made one",
            "averaged": f", averaged over {self.block}",
            "random": f", {self.block} as random block",
        }
        return f"{name}, {self.design.formula}{places[self.kind]}"


def _patient_column(design: Design, block: str | None) -> str | None:
    """Return the column of repeated measurements: the block, or the patient where the formula itself names it."""
    return keys.PATIENT if block is None and keys.PATIENT in design.names else block


def matching_sheet(samples: pd.DataFrame, found: Iterable[str]) -> pd.DataFrame:
    """Return the rows of the sheet that are tested: no negative controls, each once, each with data."""
    if keys.SAMPLE not in samples.columns:
        if samples.index.name != keys.SAMPLE:
            require_sample_column(samples, keys.SAMPLE, "samples")
        samples = samples.reset_index()
    sheet = samples[samples["role"].astype(str) != CONTROL_ROLE] if "role" in samples.columns else samples
    sheet = sheet.reset_index(drop=True)
    if not len(sheet):
        raise ParameterError("samples has no row of a patient: there is nothing to compare")
    ids = sheet[keys.SAMPLE].astype(str)
    if ids.duplicated().any():
        raise ParameterError(
            f"samples has {ids[ids.duplicated()].iloc[0]!r} in more than one row", fix="each sample needs one"
        )
    known = set(found)
    absent = [name for name in ids if name not in known]
    if absent:
        raise ParameterError(
            f"samples names {', '.join(absent)}, which the data do not have",
            fix=did_you_mean(absent[0], sorted(known)),
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
    """Give each contrast its design and the patient a place, so that samples of a patient are no replicates."""
    if block_as not in BLOCKS:
        raise ParameterError(f"block_as is {block_as!r}", fix=did_you_mean(block_as, BLOCKS))
    block = _block(design, block)
    return [_arranged(design, one, block, block_as) for one in contrasts]


def _arranged(design: Design, one: Contrast, block: str | None, block_as: str) -> Arrangement:
    rows = np.arange(len(design.sheet))
    smaller, (kept,) = _design.reduce_design(design, [one])
    if block is None:
        return Arrangement(smaller, kept, "none", None, rows, smaller.matrix)
    blocked = _design.add_block(design, block)
    padded = np.concatenate([one.weights, np.zeros(len(blocked.columns) - len(design.columns))])
    within = _design.estimable(blocked.matrix, padded)
    if block_as == "random":
        return Arrangement(smaller, kept, "random", block, rows, smaller.matrix)
    if within:
        # Which columns a block makes superfluous is no news to anyone: keep the notes of the design itself.
        narrow, (wide,) = _design.reduce_design(blocked, [replace(one, weights=padded)])
        quiet = replace(narrow, notes=design.notes)
        return Arrangement(quiet, wide, "fixed", block, rows, quiet.matrix)
    if block_as == "fixed":
        raise ParameterError(
            f"{one.name!r} is between levels of {block}: with {block} as fixed block nothing is left of it",
            fix="use block_as='auto'",
        )
    labels = design.sheet[block].astype(str).to_numpy()
    first, member = _in_order(labels)
    sheet = design.sheet.iloc[first].reset_index(drop=True)
    for name in design.names:
        if name != one.column and (design.sheet[name].to_numpy() != sheet[name].to_numpy()[member]).any():
            sheet = sheet.assign(**{name: "" if name in design.levels else 0.0})
    means = np.array([smaller.matrix[member == i].mean(axis=0) for i in range(len(first))])
    kind = "pooled" if np.allclose(smaller.matrix, means[member]) else "averaged"
    pooled = replace(smaller, matrix=means, sheet=sheet)
    if kind == "averaged" and not _design.estimable(means, kept.weights):
        return Arrangement(smaller, kept, "random", block, rows, smaller.matrix)
    return Arrangement(pooled, kept, kind, block, member, smaller.matrix)


def _in_order(labels: NDArray[np.object_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where each label occurs first, in that order, and the number of each sample's label in it."""
    _, first, member = np.unique(labels.astype(str), return_index=True, return_inverse=True)
    place = np.argsort(np.argsort(first))
    return np.sort(first), place[member]


def table_of(
    arrangement: Arrangement,
    labels: dict[str, Sequence[str]],
    found: dict[str, Floats],
    *,
    values: Floats,
    cells: Floats,
    usable: NDArray[np.bool_],
    n_samples: Floats,
    why: Sequence[str],
    effect_unit: str,
    model: str,
    what: str,
) -> pd.DataFrame:
    """Return the rows of one contrast: numbers where there are any, and where there are none why.

    `values` and `usable` are rows x rows of the design, `why` a reason a row, empty where a number is due.
    """
    import pandas as pd

    design, one = arrangement.design, arrangement.contrast
    unit = _design.unit_of(design)
    names = design.sheet[keys.PATIENT if unit == "patient" else keys.SAMPLE].astype(str).to_numpy()
    between = one.column in design.levels
    level = design.sheet[one.column].astype(str).to_numpy() if between else np.full(len(names), "")
    n_rows = len(values)
    counted = np.zeros((3, n_rows), dtype=np.int64)
    shown = np.full((2, n_rows), np.nan)
    reasons = [[reason] if reason else [] for reason in why]
    for g in range(n_rows):
        counted[0, g] = len(set(names[usable[g]]))
        for i, side in enumerate((one.a, one.b) if between else ()):
            use = usable[g] & (level == side)
            if arrangement.kind == "fixed":
                # A patient that has only one of them says nothing about their difference.
                use &= np.isin(names, names[usable[g] & (level == (one.b if side == one.a else one.a))])
            counted[i + 1, g] = len(set(names[use]))
            if use.any():
                shown[i, g] = float(values[g, use].mean())
            if counted[i + 1, g] < 2 and not reasons[g]:
                of = f"with both {one.a} and {one.b}" if arrangement.kind == "fixed" else f"in {side}"
                plural = "" if counted[i + 1, g] == 1 else "s"
                reasons[g].append(f"{counted[i + 1, g]} {unit}{plural} {of}: no interval and no p")
        if not reasons[g] and not np.isfinite(found["p"][g]):
            reasons[g].append(
                f"no residual variance: {counted[0, g]} {unit}s for {design.matrix.shape[1]} coefficients, "
                "no interval and no p"
            )
    silent = np.array([bool(reason) for reason in reasons])
    p = np.where(silent, np.nan, found["p"])
    nothing = np.array([bool(reason) for reason in why])
    minimum = _design.smallest_p(design, one, _patient_column(design, arrangement.block))
    for row in np.flatnonzero(~silent):
        reasons[row] += design.notes
        if np.isfinite(minimum) and p[row] < minimum:
            reasons[row].append(
                "p is below what exchanging labels can give in this design: it rests on the model"
            )
        if np.isinf(found["low"][row]) or np.isinf(found["high"][row]):
            reasons[row].append("no cells in one group: the interval is open on one side")
    tested = int(np.isfinite(p).sum())
    table = pd.DataFrame({"contrast": one.name, **labels}, index=range(n_rows))
    table["group_a"], table["group_b"] = one.a, one.b
    columns: dict[str, Any] = {
        "n_patients": counted[0],
        "n_patients_a": counted[1],
        "n_patients_b": counted[2],
        "n_samples": n_samples.astype(np.int64),
        "n_cells": cells.astype(np.int64),
        "value_a": shown[0],
        "value_b": shown[1],
        "effect": np.where(nothing, np.nan, found["effect"]),
        "effect_low": np.where(silent, np.nan, found["low"]),
        "effect_high": np.where(silent, np.nan, found["high"]),
        "effect_unit": effect_unit,
        "statistic": np.where(silent, np.nan, found["statistic"]),
        "df": np.where(silent, np.nan, found["df"]),
        "p_value": p,
        "p_adjusted": benjamini_hochberg(p),
        "p_minimum": minimum,
        "family": f"{tested} {what} of {one.name}",
        "unit": unit,
        "model": arrangement.model(model),
        "note": ["; ".join(reason) for reason in reasons],
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
    block = None if block is None else _design.column_named(sheet, block)
    if block is None:
        block = keys.PATIENT if keys.PATIENT in sheet.columns else None
        if block is None or (sheet[block].astype(str) == "").any():
            return None
    elif block not in sheet.columns:
        raise ParameterError(
            f"block is {block!r}, no column of samples", fix=did_you_mean(block, map(str, sheet.columns))
        )
    else:
        _design._require_known(sheet, block)
    if block in design.names or not sheet[block].astype(str).duplicated().any():
        return None
    return block
