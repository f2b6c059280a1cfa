"""Which clusters are larger in one group of patients than in another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.errors import ParameterError
from cytocar._core.samples import require_sample_column
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
from cytocar.tl._groups import grouping

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METHODS = {
    "nb": "negative binomial",
    "binomial": "binomial with extra variance",
    "logit": "linear model of logits",
    "binomial_mixed": "binomial mixed model, random intercept of the sample",
}
HOLDS_BOTH = ("logit", "binomial_mixed")
"""Methods that can hold what is the same for a patient beside what changes within one."""
LOG2 = math.log(2.0)


class MethodError(ParameterError):
    """The method has no model for what the formula says; another method has."""


@dataclass(frozen=True)
class _Settings:
    """What was asked for, of the arguments of `abundance` that name no columns."""

    method: str
    composition: str
    min_cells: int
    level: float


def abundance(  # noqa: PLR0913  # the documented settings of the method
    data: AnnData | pd.DataFrame,
    samples: pd.DataFrame | None = None,
    *,
    formula: str | None = None,
    design: Any = None,
    contrast: Any = None,
    block: str | None = None,
    block_as: str = "auto",
    method: str = "nb",
    composition: str = "total",
    groupby: str = keys.FLOWSOM,
    sample_key: str = keys.SAMPLE,
    min_cells: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return, cluster by cluster, how much its share differs between groups of patients, with interval and p.

    The unit is the sample, and where a patient has several, the patient; cells are never replicates.

    ``nb``: log-linear negative binomial models with the log of the cells of the sample as offset. One over-dispersion
    of all clusters by the Cox-Reid adjusted profile likelihood, then a quasi-dispersion of each cluster, moderated
    towards the others, and F tests (Lund et al. 2012, doi:10.1515/1544-6115.1826; for cytometry Weber et al. 2019,
    doi:10.1038/s42003-019-0415-5). ``binomial``: the same with a logit link and, as Williams 1982
    (doi:10.2307/2347977), the variance n p (1 - p) (1 + v (n - 1) p (1 - p)): logits vary by v between samples.
    ``logit``: moderated linear model of log((k + 0.5) / (n - k + 0.5)). ``binomial_mixed``: each cluster on its own,
    logits vary between samples and between patients; effects maximise Laplace's approximation of the likelihood, as
    lme4 does (Breslow & Clayton 1993, doi:10.1080/01621459.1993.10594284), errors rest on restricted variances and
    Satterthwaite degrees of freedom, since a z test of few patients finds too much. Intervals of the first two hold the
    values that the test does not reject. Their estimates have a prior count of 0.125, so that an empty group stays
    finite; with ``binomial_mixed`` such a cluster gets no number.

    **Patients with several samples.** Within patients (time), each patient gets a column of its own. Between patients,
    where all that the formula names is the same for a patient, the samples of a patient are added up; else logits
    and design are averaged over the patient, which needs ``method="logit"``. ``binomial_mixed`` keeps all samples and
    gives the patient a random intercept, whatever the contrast.

    Parameters
    ----------
    data
        Cells with `groupby` and `sample_key` in ``obs``, or a table ``sample_id, cluster, n`` (such as
        ``clusters.csv``) and, if wanted, ``total``, the cells that n is a part of; by default the sum over clusters.
    samples
        The sample sheet; its rows choose the samples, negative controls are left out. By default the columns of
        ``obs`` that are the same within a sample.
    formula
        Such as ``"~ group + batch"`` or ``"~ timepoint + patient_id"``. Texts are factors: the first level by name, of
        timepoints the earliest, is the reference; ``patient`` may stand for ``patient_id``.
        ``a:b`` and ``a*b`` are interactions, ``0 +`` leaves the intercept out.
    design
        A matrix, samples x coefficients, instead of a formula.
    contrast
        ``"R vs NR"``, ``("group", "R", "NR")``, a column of the formula (each level against the first; default: the
        first column), the name of a coefficient, weights by name of coefficient or as array, or a list of texts or
        tuples.
    block
        Column that holds what is measured repeatedly; default ``patient_id`` where a patient has several samples.
    block_as
        ``auto``: as above. ``fixed``: one column per patient. ``random``: samples of a patient are
        correlated, as in `state`; for ``logit`` and ``binomial_mixed``, where it is what ``auto`` does.
    method
        ``nb``, ``binomial``, ``logit`` or ``binomial_mixed``.
    composition
        ``total``: shares of all cells. ``ratio``: against the median cluster (size factors of Anders & Huber 2010,
        doi:10.1186/gb-2010-11-10-r106), so that one large cluster that grows does not make all others fall; for ``nb``
        and ``logit``, which then is a model of log ratios.
    groupby
        Column of ``obs`` with the clusters.
    sample_key
        Column of ``obs`` with the sample.
    min_cells
        Clusters with fewer cells in all samples together get no number.
    level
        Confidence of the intervals.

    Returns
    -------
    DataFrame
        A row a contrast and cluster: ``contrast, cluster, group_a, group_b, n_patients, n_patients_a, n_patients_b,
        n_samples, n_cells, value_a, value_b`` (mean shares), ``effect`` (b less a) with ``effect_low, effect_high`` and
        ``effect_unit`` (log2 of a ratio of shares, or of odds), ``statistic, df, p_value, p_adjusted`` (Benjamini &
        Hochberg 1995 within ``family``: the clusters of one contrast), ``p_minimum`` (what exchanging labels in this
        design can give at least), ``unit``, ``model``, ``note`` (why there is no number, and what else to know).

    Raises
    ------
    ParameterError
        The sheet does not fit the data, a covariate is empty, or the design cannot answer the contrast.

    Examples
    --------
    >>> import pandas
    >>> counts = pandas.DataFrame({"sample_id": list("abcdef") * 2, "cluster": ["1"] * 6 + ["2"] * 6,
    ...                            "n": [90, 110, 100, 210, 180, 200, 900, 950, 870, 800, 790, 830]})
    >>> sheet = pandas.DataFrame({"sample_id": list("abcdef"), "group": ["NR"] * 3 + ["R"] * 3})
    >>> found = abundance(counts, sheet, formula="~ group").iloc[0]
    >>> str(found["contrast"]), round(float(found["effect"]), 1), round(float(found["p_minimum"]), 2)
    ('R vs NR', 1.0, 0.1)
    """
    import pandas as pd

    _require(method, composition, level, min_cells)
    settings = _Settings(method, composition, min_cells, level)
    clusters, names, counts, totals, sheet = _counted(data, samples, groupby, sample_key)
    empty = totals <= 0
    if empty.all():
        raise ParameterError(f"none of the {len(names)} samples has a cell: there is nothing to compare")
    notes = (f"no cells at all in {', '.join(np.array(names)[empty])}, left out",) if empty.any() else ()
    counts, totals, sheet = counts[:, ~empty], totals[~empty], sheet[~empty].reset_index(drop=True)
    if isinstance(design, pd.DataFrame):
        design = design if design.shape[0] == len(sheet) else design[~empty]
    elif design is not None and empty.any():
        design = np.asarray(design)[~empty]
    made = make_design(sheet, formula, design)
    made = replace(made, notes=(*made.notes, *notes))
    if method == "binomial_mixed" and block_as == "auto":
        block_as = "random"
    tables = [
        _tested(arrangement, clusters, counts, totals, settings)
        for arrangement in arrange(made, find_contrasts(made, contrast), block, block_as)
    ]
    return pd.concat(tables, ignore_index=True)


def _tested(
    arrangement: Arrangement, clusters: list[str], counts: Floats, totals: Floats, settings: _Settings
) -> pd.DataFrame:
    """Return the rows of one contrast."""
    method = settings.method
    if arrangement.kind in ("averaged", "random") and method not in HOLDS_BOTH:
        raise MethodError(
            f"{arrangement.contrast.name!r} is between patients, which have several samples, and the formula has what "
            f"changes within them (or block_as='random'): method {method!r} cannot hold both. Use method='logit', a "
            "linear model, method='binomial_mixed', or a formula of what is the same for a patient: "
            "samples are then added up"
        )
    y, n = arrangement.pool(counts), arrangement.pool(totals)
    cells = y.sum(axis=1)
    why = [_untestable(k, float(n.sum()), settings.min_cells) for k in cells.tolist()]
    testable = np.array([not reason for reason in why])
    estimates = no_estimates(len(y))
    if testable.any():
        fitted = _fit(arrangement, counts, totals, testable, settings)
        for key, values in estimates.items():
            values[testable] = fitted[key] / LOG2 if key in ("effect", "low", "high") else fitted[key]
        if len(n) > arrangement.design.matrix.shape[1]:
            for g in np.flatnonzero(testable & ~np.isfinite(estimates["effect"])):
                why[g] = (
                    "a group of samples has no cells of this cluster, or no others: a mixed model has no finite "
                    "estimate; method='nb' gives an interval that is open on one side"
                )
    tested = Tested(
        labels={"cluster": clusters},
        values=y / n,
        usable=np.ones(y.shape, dtype=bool),
        cells=cells,
        n_samples=np.full(len(y), float(len(totals))),
        why=why,
        estimates=estimates,
    )
    log_ratios = (method, settings.composition) == ("logit", "ratio")
    return table_of(
        arrangement,
        tested,
        effect_unit=f"log2 {_ratio(settings)}",
        model="linear model of log ratios" if log_ratios else METHODS[method],
        what="clusters",
    )


def _untestable(cells: float, all_cells: float, min_cells: int) -> str:
    """Return why a cluster of so many cells is not tested; "" where it is."""
    if cells == 0:
        return "no cells in any sample"
    if cells < min_cells:
        return f"{cells:.0f} cells in all samples together, fewer than {min_cells}"
    return "all cells of all samples are in this cluster" if cells == all_cells else ""


def _ratio(settings: _Settings) -> str:
    """Return what the effect is the logarithm of."""
    if settings.composition == "ratio":
        return "ratio to the median cluster"
    return "ratio of shares" if settings.method == "nb" else "ratio of odds"


def _fit(
    arrangement: Arrangement,
    counts: Floats,
    totals: Floats,
    testable: NDArray[np.bool_],
    settings: _Settings,
) -> dict[str, Floats]:
    from cytocar.tl._cohorts import abundance_model as model

    method, composition, level = settings.method, settings.composition, settings.level
    matrix, weights = arrangement.design.matrix, arrangement.contrast.weights
    if method == "logit":
        return _fit_logit(arrangement, counts, totals, testable, settings)
    y, n = arrangement.pool(counts), arrangement.pool(totals)
    if method == "binomial_mixed":
        from cytocar.tl._cohorts.binomial_mixed import fit_mixed

        block = arrangement.codes if arrangement.kind == "random" else None
        return fit_mixed(y[testable], n, matrix, weights, block).tested(level)
    offset = np.log(n) if composition == "total" else np.log(_size_factors(y, n))
    if method == "binomial":
        offset = np.zeros(len(n))
    share = y[testable].sum(axis=1, keepdims=True) / n.sum()
    family = model.Family(method, n, 0.0, share * (1.0 - share))
    family = replace(family, dispersion=model.common_dispersion(y[testable], matrix, offset, family))
    return model.quasi_test(y[testable], matrix, weights, offset, family, level)


def _fit_logit(
    arrangement: Arrangement,
    counts: Floats,
    totals: Floats,
    testable: NDArray[np.bool_],
    settings: _Settings,
) -> dict[str, Floats]:
    from cytocar.tl._cohorts.moderated import block_correlation, fit_linear, moderate

    y, n = arrangement.pool(counts), arrangement.pool(totals)
    matrix, composition, level = arrangement.design.matrix, settings.composition, settings.level
    if arrangement.kind == "averaged":
        values = arrangement.pool(_logs(counts, totals, composition)) / np.bincount(arrangement.member)
    else:
        values = _logs(y, n, composition)
    y, values = y[testable], values[testable]
    share = (y.sum(axis=1, keepdims=True) + 0.5) / (n.sum() + 1.0)
    weights, _ = saturating_weights(values, n * share * (1.0 - share), matrix)
    x, rest = split_contrast(matrix, arrangement.contrast.weights)
    if arrangement.kind != "random":
        return moderate(fit_linear(values, x, rest, weights=weights), level)
    codes = arrangement.codes
    rho = block_correlation(values, matrix, codes, weights)
    return moderate(fit_linear(values, x, rest, weights=weights, block=codes, correlation=rho), level)


def _logs(y: Floats, n: Floats, composition: str) -> Floats:
    """Return logits of shares, or logarithms of counts in units of the size of their sample."""
    if composition == "ratio":
        return np.asarray(np.log(y + 0.5) - np.log(_size_factors(y, n)))
    return np.asarray(np.log((y + 0.5) / (n - y + 0.5)))


def _size_factors(y: Floats, n: Floats) -> Floats:
    """Return the median ratio of each sample's counts to their geometric means, in cells."""
    everywhere = (y > 0).all(axis=1)
    if not everywhere.any():
        raise ParameterError(
            "composition='ratio' needs a cluster that has cells in every sample", fix="use 'total'"
        )
    logs = np.log(y[everywhere])
    factor = np.exp(np.median(logs - logs.mean(axis=1, keepdims=True), axis=0))
    return np.asarray(factor * np.exp(np.log(n).mean()))


def _counted(
    data: AnnData | pd.DataFrame, samples: pd.DataFrame | None, groupby: str, sample_key: str
) -> tuple[list[str], list[str], Floats, Floats, pd.DataFrame]:
    """Return clusters, samples, counts (clusters x samples), cells of each sample, and the sheet in that order."""
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        wide, totals = _from_table(data)
        if samples is None:
            raise ParameterError("a table of counts needs samples, the sheet that says which sample is whose")
    else:
        require_sample_column(data.obs, sample_key)
        labels, order = grouping(data, groupby)
        wide = pd.crosstab(labels, data.obs[sample_key].astype(str).to_numpy()).reindex(order, fill_value=0)
        totals = data.obs[sample_key].astype(str).value_counts()
        if samples is None:
            samples = sheet_of(data.obs, sample_key)
    sheet = matching_sheet(samples, map(str, totals.index))
    names = sheet[keys.SAMPLE].astype(str).tolist()
    counts = wide.reindex(columns=names, fill_value=0).to_numpy(dtype=np.float64)
    return (
        [str(c) for c in wide.index],
        names,
        counts,
        totals.reindex(names).to_numpy(dtype=np.float64),
        sheet,
    )


def _from_table(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    for column in (keys.SAMPLE, "cluster", "n"):
        if column not in table.columns:
            shown = ", ".join(map(str, table.columns))
            raise ParameterError(
                f"the table of counts has no column {column!r}", fix=f"its columns are {shown}"
            )
    if "method" in table.columns and table["method"].nunique() > 1:
        shown = ", ".join(map(str, table["method"].unique()))
        raise ParameterError(
            f"the table holds clusters of several methods ({shown})", fix="choose the rows of one"
        )
    table = table.assign(
        **{keys.SAMPLE: table[keys.SAMPLE].astype(str), "cluster": table["cluster"].astype(str)}
    )
    if not len(table):
        raise ParameterError("the table of counts has no row: there is nothing to compare")
    twice = table.duplicated([keys.SAMPLE, "cluster"])
    if twice.any():
        row = table[twice].iloc[0]
        raise ParameterError(
            f"the table has cluster {row['cluster']} of sample {row[keys.SAMPLE]} more than once"
        )
    n = table["n"].to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~(np.isfinite(n) & (n >= 0) & (n == np.round(n)))
    if wrong.any():
        row = table[wrong].iloc[0]
        raise ParameterError(
            f"n is {row['n']} for cluster {row['cluster']} of sample {row[keys.SAMPLE]}",
            fix="it must be a whole number, at least 0",
        )
    order = list(dict.fromkeys(table["cluster"]))
    wide = table.assign(n=n).pivot(index="cluster", columns=keys.SAMPLE, values="n").fillna(0.0).loc[order]
    if "total" not in table.columns:
        return wide, wide.sum(axis=0)
    totals = table.groupby(keys.SAMPLE)["total"].agg(["min", "max"])
    if (totals["min"] != totals["max"]).any():
        name = str(totals.index[totals["min"] != totals["max"]][0])
        raise ParameterError(f"total is not the same in all rows of sample {name}")
    short = wide.max(axis=0) > totals["max"]
    if short.any():
        name = str(short.index[short][0])
        raise ParameterError(
            f"sample {name} has a cluster of {wide[name].max():.0f} cells of a total of {totals['max'][name]}"
        )
    return wide, totals["max"].astype(float)


def _require(method: str, composition: str, level: float, min_cells: int) -> None:
    checks.one_of(method, "method", METHODS)
    if composition not in ("total", "ratio"):
        raise ParameterError(f"composition is {composition!r}", fix="it must be 'total' or 'ratio'")
    if composition == "ratio" and method not in ("nb", "logit"):
        raise ParameterError(
            "composition='ratio' is for method='nb' and 'logit'", fix=f"method is {method!r}"
        )
    checks.proportion(level, "level")
    if min_cells < 1:
        raise ParameterError(f"min_cells is {min_cells!r}", fix="it must be at least 1")
