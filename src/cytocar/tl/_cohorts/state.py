"""Which markers are higher within a cluster in one group of patients than in another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.errors import ParameterError
from cytocar._core.samples import require_sample_column
from cytocar.panel.antigens import marker_positions
from cytocar.tl._cohorts.cohort import (
    Arrangement,
    Tested,
    arrange,
    matching_sheet,
    no_estimates,
    saturating_weights,
    sheet_of,
    table_of,
)
from cytocar.tl._cohorts.design import find_contrasts, make_design, split_contrast
from cytocar.tl._counts import require_columns
from cytocar.tl._groups import grouping

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.tl._cohorts.moderated import Linear

    Floats = NDArray[np.float64]

WEIGHTS = ("auto", "cells", "none")
METHODS = ("moderated", "mixed")


@dataclass(frozen=True)
class _Settings:
    """What was asked for, of the arguments of `state` that name no columns."""

    method: str
    weights: str
    min_cells: int
    level: float


def state(  # noqa: PLR0913  # the documented settings of the method
    data: AnnData | pd.DataFrame,
    samples: pd.DataFrame | None = None,
    *,
    formula: str | None = None,
    design: Any = None,
    contrast: Any = None,
    block: str | None = None,
    block_as: str = "auto",
    method: str = "moderated",
    weights: str = "auto",
    markers: str | Sequence[str] | None = None,
    groupby: str = keys.FLOWSOM,
    sample_key: str = keys.SAMPLE,
    min_cells: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return, cluster by cluster and marker by marker, how much medians differ between groups of patients.

    The median of a marker over the cells of a cluster in one sample is one observation; the unit is the sample, and
    where a patient has several, the patient. ``moderated``: a linear model of the medians; residual variances of all
    clusters and markers of a contrast are moderated towards each other, t = effect / (s~ u) with
    s~^2 = (d s^2 + d0 s0^2) / (d + d0) and d + d0 degrees of freedom (Smyth 2004, doi:10.2202/1544-6115.1027; for
    cytometry Weber et al. 2019, doi:10.1038/s42003-019-0415-5). ``mixed``: each row on its own, the patient as random
    intercept, variances by restricted maximum likelihood (Patterson & Thompson 1971, doi:10.1093/biomet/58.3.545), t
    with degrees of freedom after Satterthwaite 1946 (doi:10.2307/3002019), as lme4 with lmerTest.

    **Patients with several samples.** ``moderated``: within patients (time), each patient gets a column of its own.
    Between patients, medians and design are averaged over the patient, so that only differences between patients count
    as error. ``mixed`` keeps all samples in one model: contrasts between and within patients, visits that some
    patients lack, and interactions of both (``"~ group * timepoint"``).

    Parameters
    ----------
    data
        Cells, arcsinh values in ``X``, with `groupby` and `sample_key` in ``obs``; or a table ``sample_id, cluster,
        marker, median, n`` (n: cells of the cluster in the sample).
    samples
        The sample sheet; its rows choose the samples, negative controls are left out. By default the columns of
        ``obs`` that are the same within a sample.
    formula
        Such as ``"~ group + batch"``; see `abundance`.
    design
        A matrix, samples x coefficients, instead of a formula.
    contrast
        ``"R vs NR"`` and the other forms that `abundance` takes.
    block
        Column that holds what is measured repeatedly; default ``patient_id`` where a patient has several samples.
    block_as
        ``auto``: as above. ``fixed``: one column per patient. ``random``: samples of a patient are correlated, by one
        correlation that all rows share (Smyth, Michaud & Scott 2005, doi:10.1093/bioinformatics/bti270); where rows
        differ in it, this finds too much (docs/calibration.md). With ``method="mixed"`` it is what ``auto`` does, and
        each row has its own.
    method
        ``moderated`` or ``mixed``.
    weights
        ``auto``: n / (n + n0), with n cells, and n0 from 0 (all the same) to infinity (``cells``) as makes the data
        most likely: a median of few cells counts less, one of 10,000 cells not more than one of 1,000. ``cells``: n, as
        diffcyt; where patients differ by more than counting explains it finds too much (11 % false positives at
        0.05). ``none``: all the same.
    markers
        Names; `None` takes the markers of the class ``state``, and all markers where there is none. Of a table: all.
    groupby
        Column of ``obs`` with the clusters.
    sample_key
        Column of ``obs`` with the sample.
    min_cells
        The median of fewer cells is not used.
    level
        Confidence of the intervals.

    Returns
    -------
    DataFrame
        A row a contrast, cluster and marker: ``contrast, cluster, marker`` and then as `abundance`, with ``effect``
        (b less a), its interval and ``value_a, value_b`` (means of medians) in arcsinh units, moderated t as
        ``statistic``, and one ``family``: all clusters and markers of the contrast.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        The sheet does not fit the data, a covariate is empty, or the design cannot answer the contrast.

    Examples
    --------
    >>> import pandas
    >>> medians = pandas.DataFrame({"sample_id": list("abcdef"), "cluster": "1", "marker": "PD-1",
    ...                             "median": [1.0, 1.2, 1.1, 2.1, 2.0, 2.2], "n": 500})
    >>> sheet = pandas.DataFrame({"sample_id": list("abcdef"), "group": ["NR"] * 3 + ["R"] * 3})
    >>> found = state(medians, sheet, formula="~ group").iloc[0]
    >>> str(found["contrast"]), round(float(found["effect"]), 2), bool(found["effect_low"] > 0)
    ('R vs NR', 1.0, True)
    """
    import pandas as pd

    checks.one_of(weights, "weights", WEIGHTS)
    checks.one_of(method, "method", METHODS)
    if method == "mixed" and block_as == "auto":
        block_as = "random"
    checks.proportion(level, "level")
    if min_cells < 1:
        raise ParameterError(f"min_cells is {min_cells!r}", fix="it must be at least 1")
    rows, medians, sizes, sheet = _measured(data, samples, markers, groupby, sample_key)
    made = make_design(sheet, formula, design)
    medians = np.where(sizes >= min_cells, medians, np.nan)
    tables = [
        _tested(arrangement, rows, medians, sizes, _Settings(method, weights, min_cells, level))
        for arrangement in arrange(made, find_contrasts(made, contrast), block, block_as)
    ]
    return pd.concat(tables, ignore_index=True)


def _tested(
    arrangement: Arrangement,
    rows: list[tuple[str, str]],
    medians: Floats,
    sizes: Floats,
    settings: _Settings,
) -> pd.DataFrame:
    """Return the rows of one contrast."""
    used = np.isfinite(medians)
    n = arrangement.pool(np.where(used, sizes, 0.0))
    counted = arrangement.pool(used.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        y = arrangement.pool(np.where(used, medians, 0.0)) / counted
    usable = counted > 0
    why = [
        f"no sample has {settings.min_cells} cells in this cluster" if not use.any() else _flat(row[use])
        for row, use in zip(y, usable, strict=True)
    ]
    testable = np.array([not reason for reason in why])
    estimates = no_estimates(len(y))
    model = "moderated linear model of medians"
    if settings.method == "mixed":
        model = f"linear {'mixed ' if arrangement.kind == 'random' else ''}model of medians"
    if testable.any():
        weights, note = _weights(y[testable], n[testable], arrangement.design.matrix, settings.weights)
        fit = _fit_mixed if settings.method == "mixed" else _fit_moderated
        fitted, more = fit(arrangement, y[testable], used[testable], weights, settings.level)
        model += note + more
        for key, values in fitted.items():
            estimates[key][testable] = values
    for g in np.flatnonzero(testable & ~np.isfinite(estimates["effect"])):
        why[g] = "the samples with enough cells cannot tell the groups apart"
    tested = Tested(
        labels={"cluster": [cluster for cluster, _ in rows], "marker": [marker for _, marker in rows]},
        values=y,
        usable=usable,
        cells=n.sum(axis=1),
        n_samples=used.sum(axis=1),
        why=why,
        estimates=estimates,
    )
    return table_of(arrangement, tested, effect_unit="arcsinh", model=model, what="clusters and markers")


def _weights(y: Floats, n: Floats, matrix: Floats, weights: str) -> tuple[Floats | None, str]:
    """Return the weights of medians of `n` cells, and what to say of them in the name of the model."""
    if weights == "none":
        return None, ""
    if weights == "cells":
        return n, ", weights n"
    saturating, n0 = saturating_weights(y, n, matrix)
    if math.isinf(n0):
        return saturating, ", weights n"
    return saturating, f", weights n / (n + {n0:g})" if n0 else ", equal weights"


def _fit_mixed(
    arrangement: Arrangement, y: Floats, _used: NDArray[np.bool_], weights: Floats | None, level: float
) -> tuple[dict[str, Floats], str]:
    """Return the estimates of the mixed model, whose name says all."""
    from cytocar.tl._cohorts.mixed import fit_mixed

    matrix = arrangement.design.matrix
    codes = arrangement.codes if arrangement.kind == "random" else np.arange(len(matrix))
    return fit_mixed(y, matrix, arrangement.contrast.weights, codes, weights).tested(level), ""


def _fit_moderated(
    arrangement: Arrangement, y: Floats, used: NDArray[np.bool_], weights: Floats | None, level: float
) -> tuple[dict[str, Floats], str]:
    """Return the estimates of the moderated linear model, and the correlation within patients to say of it."""
    from cytocar.tl._cohorts.moderated import block_correlation, fit_linear, moderate

    if arrangement.kind == "averaged":
        return moderate(_fit_averaged(arrangement, y, used, weights), level), ""
    matrix = arrangement.design.matrix
    x, rest = split_contrast(matrix, arrangement.contrast.weights)
    if arrangement.kind != "random":
        return moderate(fit_linear(y, x, rest, weights=weights, block=None, correlation=0.0), level), ""
    codes = arrangement.codes
    rho = block_correlation(y, matrix, codes, weights)
    fit = fit_linear(y, x, rest, weights=weights, block=codes, correlation=rho)
    return moderate(fit, level), f", correlation {rho:.2f}"


def _fit_averaged(
    arrangement: Arrangement, y: Floats, used: NDArray[np.bool_], weights: Floats | None
) -> Linear:
    """Fit rows whose design is the mean over those samples of each patient that the row has."""
    from cytocar.tl._cohorts.moderated import Linear, fit_linear

    moments = np.empty((4, len(y)))
    patterns, which = np.unique(used, axis=0, return_inverse=True)
    columns = np.column_stack(split_contrast(arrangement.by_sample, arrangement.contrast.weights))
    for i, pattern in enumerate(patterns):
        rows = np.flatnonzero(which.ravel() == i)
        counted = np.maximum(arrangement.pool(pattern.astype(np.float64)), 1.0)
        means = (arrangement.pool(columns.T * pattern) / counted).T
        fit = fit_linear(
            y[rows], means[:, 0], means[:, 1:], weights=None if weights is None else weights[rows]
        )
        moments[:, rows] = fit.effect, fit.unscaled, fit.variance, fit.df
    return Linear(*moments)


def _flat(values: Floats) -> str:
    if len(values) > 1 and float(np.ptp(values)) == 0.0:
        return f"the median is {values[0]:g} in all {len(values)} samples: no variance to judge by"
    return ""


def _measured(
    data: AnnData | pd.DataFrame,
    samples: pd.DataFrame | None,
    markers: str | Sequence[str] | None,
    groupby: str,
    sample_key: str,
) -> tuple[list[tuple[str, str]], Floats, Floats, pd.DataFrame]:
    """Return (cluster, marker) rows, medians and cells (rows x samples), and the sheet in that order."""
    import pandas as pd

    if not isinstance(data, pd.DataFrame):
        samples = sheet_of(data.obs, sample_key) if samples is None else samples
        table = medians_of(data, groupby, markers, sample_key)
    elif samples is None:
        raise ParameterError("a table of medians needs samples, the sheet that says which sample is whose")
    else:
        table = _of_markers(data, markers)
    table = table.assign(**{name: table[name].astype(str) for name in (keys.SAMPLE, "cluster", "marker")})
    n = _checked_sizes(table)
    sheet = matching_sheet(samples, table[keys.SAMPLE])
    names = sheet[keys.SAMPLE].tolist()
    rows = list(dict.fromkeys(zip(table["cluster"], table["marker"], strict=True)))
    row_of = {row: i for i, row in enumerate(rows)}
    column_of = {str(name): i for i, name in enumerate(names)}
    medians, sizes = np.full((len(rows), len(names)), np.nan), np.zeros((len(rows), len(names)))
    values = pd.to_numeric(table["median"], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    for cluster, marker, sample, value, size in zip(
        table["cluster"], table["marker"], table[keys.SAMPLE], values, n, strict=True
    ):
        if sample in column_of:
            at = row_of[cluster, marker], column_of[sample]
            medians[at] = value if np.isfinite(value) else np.nan
            sizes[at] = size
    return rows, medians, sizes, sheet


def _of_markers(table: pd.DataFrame, markers: str | Sequence[str] | None) -> pd.DataFrame:
    """Return the rows of a table of medians that are of these markers."""
    require_columns(table, (keys.SAMPLE, "cluster", "marker", "median", "n"), "the table of medians")
    if markers is None:
        return table
    asked = [markers] if isinstance(markers, str) else list(markers)
    present = sorted(set(table["marker"].astype(str)))
    meant = [present[at] for at in marker_positions(asked, present, place="the table")]
    return table[table["marker"].astype(str).isin(meant)]


def _checked_sizes(table: pd.DataFrame) -> Floats:
    """Return the cells of each row, or raise for a row that stands twice or has no number of cells."""
    import pandas as pd

    twice = table.duplicated([keys.SAMPLE, "cluster", "marker"])
    if twice.any():
        row = table[twice].iloc[0]
        raise ParameterError(
            f"the table has {row['marker']} of cluster {row['cluster']} in sample {row[keys.SAMPLE]} more than once"
        )
    n = pd.to_numeric(table["n"], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~(np.isfinite(n) & (n >= 0))
    if wrong.any():
        row = table[wrong].iloc[0]
        raise ParameterError(
            f"n is {row['n']} for cluster {row['cluster']} of sample {row[keys.SAMPLE]}",
            fix="it must be a number of cells",
        )
    return np.asarray(n)


def medians_of(
    adata: AnnData, groupby: str, markers: str | Sequence[str] | None, sample_key: str
) -> pd.DataFrame:
    """Return the median of every marker in every cluster of every sample, and the cells it is of."""
    import pandas as pd

    from cytocar import get

    provenance.require_state(adata, keys.STATE_ARCSINH, "comparing medians")
    require_sample_column(adata.obs, sample_key)
    labels, order = grouping(adata, groupby)
    asked: str | Sequence[str] | None = markers
    if markers is None:
        asked = get.markers(adata, clustering=False)
        if keys.MARKER_CLASS in adata.var:
            classes = adata.var[keys.MARKER_CLASS].astype(str)
            asked = [name for name in asked if classes[name] == "state"] or asked
    names = [str(name) for name in adata.var_names[get.columns(adata, asked)]]
    x = get.matrix(adata, names)
    sample = adata.obs[sample_key].astype(str).to_numpy()
    frames = []
    for name in dict.fromkeys(sample.tolist()):
        inside = np.flatnonzero(sample == name)
        for cluster in order:
            cells = inside[labels[inside] == cluster]
            if len(cells):
                values = x[cells].astype(np.float64)
                # A value that was not measured leaves the median of its marker, not the cell.
                measured = np.isfinite(values)
                gaps = np.where(measured, values, np.nan)
                middle = np.array(
                    [np.median(v[k]) if k.any() else np.nan for v, k in zip(gaps.T, measured.T, strict=True)]
                )
                sizes = measured.sum(axis=0)
            else:
                middle, sizes = np.full(len(names), np.nan), np.zeros(len(names), dtype=int)
            frames.append(
                pd.DataFrame(
                    {keys.SAMPLE: name, "cluster": cluster, "marker": names, "median": middle, "n": sizes}
                )
            )
    return pd.concat(frames, ignore_index=True)
