"""Cox regression: the rate of an event by covariates."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks
from cytocar._core.errors import ParameterError
from cytocar.tl import _counts
from cytocar.tl._clinical.survival import event_times, log_rank_scores
from cytocar.tl._statistics import smallest_p

if TYPE_CHECKING:
    import pandas as pd

_MOST_STEPS = 60
_TOLERANCE = 1e-10
_AT_REST = 1e-12
_FAR = 12.0


def cox(
    table: pd.DataFrame,
    *,
    covariates: Sequence[str],
    time: str = "months",
    event: str = "event",
    level: float = 0.95,
    unit: str = "patient",
) -> pd.DataFrame:
    """Return hazard ratios of covariates from Cox's proportional-hazards model, with Wald intervals.

    Maximum of the partial likelihood (Cox 1972, doi:10.1111/j.2517-6161.1972.tb00899.x) by Newton's method, ties as
    Efron (1977, doi:10.1080/01621459.1977.10480613).

    Parameters
    ----------
    table, time, event
        As in `cytocar.tl.kaplan_meier`.
    covariates
        Columns. Numbers enter as they are; texts and booleans by one 0/1 term for each value but the first in
        sorted order, which is the reference. Rows that lack one are left out.
    level
        Confidence of the intervals.
    unit
        What a row is; with ``cell`` the result is labelled as descriptive.

    Returns
    -------
    DataFrame
        One row per term: ``covariate, term, unit, n, n_events, coefficient, se, hazard_ratio, low, high, z, p_value``
        (Wald), ``p_minimum`` (the smallest that a permutation of this term alone among these times can give),
        ``p_model`` (likelihood ratio of the whole model), ``note``. A term whose estimate runs to infinity, because all
        events lie on one side, has no number, and `note` says so.

    Raises
    ------
    ParameterError
        A column is missing, covariates say the same thing (a rank-deficient design), or as `kaplan_meier`.

    Examples
    --------
    >>> import pandas
    >>> patients = pandas.DataFrame({"months": [2, 5, 6, 9, 14, 20, 3, 8], "event": [1, 1, 1, 0, 1, 0, 1, 1],
    ...                              "age": [70, 64, 61, 58, 66, 49, 55, 62]})
    >>> found = cox(patients, covariates=["age"]).iloc[0]
    >>> round(float(found.hazard_ratio), 3), int(found.n_events)
    (1.133, 6)
    """
    import pandas as pd
    from scipy.special import ndtri
    from scipy.stats import chi2, norm

    if isinstance(covariates, str) or not covariates:
        raise ParameterError(f"covariates is {covariates!r}", fix="give a list of columns, such as ['age']")
    checks.proportion(level, "level")
    months, seen, kept, left_out = event_times(table, time, event, covariates)
    terms, design = _design(kept, covariates)
    _require_full_rank(design, terms)
    centre, scale = design.mean(axis=0), design.std(axis=0)
    x = (design - centre) / scale
    rows = []
    fit = _fit(x, months, seen) if seen.any() else None
    z_level = float(ndtri((1 + level) / 2))
    p_model = float(chi2.sf(2 * (fit.log_likelihood - fit.of_no_effect), len(terms))) if fit else np.nan
    for place, (covariate, term) in enumerate(terms):
        row: dict[str, object] = {
            "covariate": covariate, "term": term, "unit": unit, "n": len(months), "n_events": int(seen.sum()),
        }  # fmt: skip
        numbers = np.full(7, np.nan)
        why, floor = "", np.nan
        if fit is None:
            why = "no estimate: no event was seen"
        elif abs(fit.coefficients[place]) > _FAR or not fit.converged:
            why = "no estimate: it runs to infinity, events and values are separated; use log_rank or fewer terms"
        else:
            beta = fit.coefficients[place] / scale[place]
            se = np.sqrt(fit.covariance[place, place]) / scale[place]
            ends = np.exp([beta, beta - z_level * se, beta + z_level * se])
            numbers = np.array([beta, se, *ends, beta / se, 2 * norm.sf(abs(beta / se))])
            floor = smallest_p.of_pairs(log_rank_scores(months, seen), design[:, place])
            if seen.sum() < 10 * len(terms):
                why = f"{int(seen.sum())} events for {len(terms)} terms: fewer than ten a term"
        columns = ("coefficient", "se", "hazard_ratio", "low", "high", "z", "p_value")
        row |= dict(zip(columns, map(float, numbers), strict=True))
        row |= {"p_minimum": floor, "p_model": p_model}
        row["note"] = smallest_p.p_note(float(numbers[-1]), floor, unit, left_out, why)
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Fit:
    """Coefficients of standardised covariates, their covariance, and the log likelihoods with and without them."""

    coefficients: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    of_no_effect: float
    converged: bool


def _fit(x: np.ndarray, months: np.ndarray, seen: np.ndarray) -> _Fit:
    """Return the maximum of the partial likelihood, ties by Efron's method (statsmodels)."""
    from statsmodels.duration.hazard_regression import PHReg
    from statsmodels.tools.sm_exceptions import ConvergenceWarning, HessianInversionWarning

    model = PHReg(months, x, status=seen.astype(float), ties="efron")
    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # Both are judged below: an estimate that runs away is said in the note.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", HessianInversionWarning)
        beta = np.asarray(model.fit(method="newton", maxiter=_MOST_STEPS, tol=_TOLERANCE, disp=False).params)
        covariance, score = np.linalg.pinv(-model.hessian(beta)), model.score(beta)
    # statsmodels does not say whether its search came to rest; the step that it would take next does.
    rest = float(score @ covariance @ score)
    return _Fit(beta, covariance, float(model.loglike(beta)), float(model.loglike(0 * beta)), rest < _AT_REST)


def _design(table: pd.DataFrame, covariates: Sequence[str]) -> tuple[list[tuple[str, str]], np.ndarray]:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    terms: list[tuple[str, str]] = []
    columns: list[np.ndarray] = []
    for covariate in covariates:
        if is_numeric_dtype(table[covariate]) and not is_bool_dtype(table[covariate]):
            terms.append((covariate, covariate))
            columns.append(_counts.number(table, covariate))
            continue
        values = _counts.text(table, covariate)
        first, *others = sorted(set(values))
        if not others:
            raise ParameterError(f"covariate {covariate!r} is {first!r} in every row", fix="leave it out")
        for name in others:
            terms.append((covariate, f"{name} vs {first}"))
            columns.append((values == name).astype(float))
    return terms, np.column_stack(columns)


def _require_full_rank(design: np.ndarray, terms: Sequence[tuple[str, str]]) -> None:
    """Refuse constant columns, and columns that follow from those before them; name the first."""
    base = np.ones((len(design), 1))
    for place, (_, term) in enumerate(terms):
        column = design[:, [place]]
        if column.std() <= 1e-12 * max(1.0, float(np.abs(column).max())):
            raise ParameterError(f"covariate {term!r} is {column[0, 0]:g} in every row", fix="leave it out")
        wider = np.hstack([base, (column - column.mean()) / column.std()])
        if np.linalg.matrix_rank(wider) < wider.shape[1]:
            raise ParameterError(
                f"covariate {term!r} follows from the covariates before it ({len(design)} rows)",
                fix="leave one of them out",
            )
        base = wider
