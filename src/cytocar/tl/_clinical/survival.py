"""Time to an event with censoring: Kaplan-Meier, log-rank, Cox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks
from cytocar._core.errors import ParameterError
from cytocar.tl import _counts
from cytocar.tl._statistics import smallest_p

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

_WHAT = "the table of patients"
_HAIR = 1e-9


def kaplan_meier(
    table: pd.DataFrame,
    *,
    time: str = "months",
    event: str = "event",
    groups: str | None = None,
    level: float = 0.95,
    unit: str = "patient",
) -> pd.DataFrame:
    """Return the share without an event over time, with pointwise log-log intervals.

    ``S(t)`` is the product of ``1 - d / n`` over the times of events (Kaplan & Meier 1958, doi:10.2307/2281868);
    the interval is ``S ** exp(+-z sqrt(V) / log S)``, with Greenwood's V, the sum of ``d / (n (n - d))``
    (Kalbfleisch & Prentice 1980): it stays between 0 and 1.

    Parameters
    ----------
    table
        One row per patient. Rows without a time or event are left out, and `note` says how many.
    time
        Column of the time to the event or to the last visit, at least 0, such as months.
    event
        Column with 1 (or True) where the event was seen, 0 where the patient was last seen without it.
    groups
        Column by which a curve each is made; `None` for one curve of all.
    level
        Confidence of the intervals.
    unit
        What a row is.

    Returns
    -------
    DataFrame
        One row per group and distinct time: ``group, time, n_at_risk, n_events, n_censored, survival, low, high,
        n, unit, note``. Before the first event, and at a share of 0, this interval does not exist: NaN, and
        `note` says so.

    Raises
    ------
    ParameterError
        A column is missing, a time is negative, an event is neither 0 nor 1, or no row is left.

    Examples
    --------
    >>> import pandas
    >>> patients = pandas.DataFrame({"months": [2, 5, 5, 9, 14], "event": [1, 1, 0, 0, 1]})
    >>> kaplan_meier(patients)[["time", "n_at_risk", "survival"]].round(3).values.tolist()
    [[2.0, 5.0, 0.8], [5.0, 4.0, 0.6], [9.0, 2.0, 0.6], [14.0, 1.0, 0.0]]
    """
    import pandas as pd
    from scipy.special import ndtri

    checks.proportion(level, "level")
    months, seen, kept, left_out = event_times(table, time, event, () if groups is None else (groups,))
    label = np.full(len(months), "all", dtype=object) if groups is None else _counts.text(kept, groups)
    z = float(ndtri((1 + level) / 2))
    curves = []
    for name in _order(label):
        mine = label == name
        times, at_risk, d, censored = _life_table(months[mine], seen[mine])
        survival, error = _curve(months[mine], seen[mine], times)
        inside = (survival > 0) & (survival < 1)
        low, high = np.full((2, len(times)), np.nan)
        spread = error[inside] / (survival[inside] * np.log(survival[inside]))
        low[inside], high[inside] = (survival[inside] ** np.exp(sign * z * spread) for sign in (-1, 1))
        why = np.where(inside, "", np.where(survival > 0, "no event yet", "share 0") + ": no interval")
        curves.append(
            pd.DataFrame(
                {
                    "group": name, "time": times, "n_at_risk": at_risk.astype(np.int64),
                    "n_events": d.astype(np.int64), "n_censored": censored.astype(np.int64), "survival": survival,
                    "low": low, "high": high, "n": int(mine.sum()), "unit": unit,
                    "note": ["; ".join(filter(None, (str(text), left_out))) for text in why],
                }
            )
        )  # fmt: skip
    return pd.concat(curves, ignore_index=True)


def survival_at(curve: pd.DataFrame, times: ArrayLike) -> pd.DataFrame:
    """Return the share without an event at given times, read off the curves of `kaplan_meier`.

    Parameters
    ----------
    curve
        What `kaplan_meier` returned.
    times
        Times, in the unit of the curve.

    Returns
    -------
    DataFrame
        One row per group and time: ``group, time, n, n_at_risk, survival, low, high, unit, note``. Beyond the last
        visit of the group the share is not known: NaN, and `note` says so.

    Raises
    ------
    ParameterError
        `curve` is not such a table, or a time is negative.

    Examples
    --------
    >>> import pandas
    >>> patients = pandas.DataFrame({"months": [2, 5, 5, 9, 14], "event": [1, 1, 0, 0, 1]})
    >>> survival_at(kaplan_meier(patients), [1, 6]).survival.round(3).tolist()
    [1.0, 0.6]
    """
    import pandas as pd

    _require_curve(curve)
    wanted = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if not np.all(wanted >= 0):
        raise ParameterError(
            f"times holds {wanted[~(wanted >= 0)][0]:g}", fix="a time is a number of at least 0"
        )
    rows = []
    for name, of_group in curve.groupby("group", sort=False):
        when = of_group["time"].to_numpy(float)
        for moment in wanted:
            last = int(np.searchsorted(when, moment, side="right")) - 1
            row: dict[str, object] = {"group": name, "time": float(moment), "n": int(of_group["n"].iloc[0])}
            beyond = moment > when[-1] and of_group["survival"].iloc[-1] > 0
            row["n_at_risk"] = int(
                of_group.loc[of_group["time"] >= moment, ["n_events", "n_censored"]].to_numpy().sum()
            )
            for column in ("survival", "low", "high"):
                before = 1.0 if column == "survival" else np.nan
                row[column] = np.nan if beyond else before if last < 0 else float(of_group[column].iloc[last])
            row["unit"] = of_group["unit"].iloc[0]
            row["note"] = (
                f"beyond the last visit at {when[-1]:g}" if beyond
                else "no event yet: no interval" if last < 0 else of_group["note"].iloc[last]
            )  # fmt: skip
            rows.append(row)
    return pd.DataFrame(rows)


def median_survival(curve: pd.DataFrame) -> pd.DataFrame:
    """Return the time at which half have had the event, with its interval, from the curves of `kaplan_meier`.

    The interval holds the times at which the limits of the curve cross one half (Brookmeyer & Crowley 1982,
    doi:10.2307/2530286). Where a curve runs at exactly one half, the middle of that stretch.

    Parameters
    ----------
    curve
        What `kaplan_meier` returned.

    Returns
    -------
    DataFrame
        One row per group: ``group, n, n_events, median, low, high, unit, note``; a median or limit that is not reached
        is NaN, and `note` says so.

    Raises
    ------
    ParameterError
        `curve` is not such a table.

    Examples
    --------
    >>> import pandas
    >>> patients = pandas.DataFrame({"months": [2, 5, 5, 9, 14], "event": [1, 1, 0, 0, 1]})
    >>> float(median_survival(kaplan_meier(patients)).iloc[0]["median"])
    14.0
    """
    import pandas as pd

    _require_curve(curve)
    rows = []
    for name, of_group in curve.groupby("group", sort=False):
        when = of_group["time"].to_numpy(float)
        times = {
            "median": _crossing(when, of_group["survival"].to_numpy(float)),
            "low": _crossing(when, of_group["low"].to_numpy(float)),
            "high": _crossing(when, of_group["high"].to_numpy(float)),
        }
        missing = [word for word, value in times.items() if np.isnan(value)]
        note = f"not reached: {', '.join(missing)}" if missing else ""
        rows.append(
            {
                "group": name, "n": int(of_group["n"].iloc[0]), "n_events": int(of_group["n_events"].sum()), **times,
                "unit": of_group["unit"].iloc[0], "note": note,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def log_rank(
    table: pd.DataFrame, *, groups: str, time: str = "months", event: str = "event", unit: str = "patient"
) -> pd.DataFrame:
    """Return whether two or more groups have the event at different rates (log-rank test).

    Seen less expected events, summed over the times of events, by their hypergeometric covariance (Mantel 1966; Peto
    & Peto 1972, doi:10.2307/2344317); chi-square with one degree of freedom less than groups.

    Parameters
    ----------
    table, time, event
        As in `kaplan_meier`.
    groups
        Column of the groups; rows without one are left out.
    unit
        What a row is; with ``cell`` the result is labelled as descriptive.

    Returns
    -------
    DataFrame
        One row: ``test, unit, n, n_events, groups`` (each with its patients, its events, and those expected),
        ``statistic, df, p_value, p_minimum`` (the smallest that a permutation of the groups among these times can
        give), ``note``. Where there is no p, `note` says why.

    Raises
    ------
    ParameterError
        As `kaplan_meier`.

    Examples
    --------
    >>> import pandas
    >>> patients = pandas.DataFrame({"months": [2, 5, 6, 9, 14, 20], "event": [1, 1, 1, 0, 1, 0],
    ...                              "response": ["PR", "PR", "PR", "CR", "CR", "CR"]})
    >>> found = log_rank(patients, groups="response").iloc[0]
    >>> round(float(found.p_value), 3), round(float(found.p_minimum), 3)
    (0.025, 0.1)
    """
    import pandas as pd
    from scipy.stats import chi2

    months, seen, kept, left_out = event_times(table, time, event, (groups,))
    label = _counts.text(kept, groups)
    names = _order(label)
    code = np.array([names.index(name) for name in label])
    row: dict[str, object] = {
        "test": "log_rank", "unit": unit, "n": len(months), "n_events": int(seen.sum()), "groups": "",
        "statistic": np.nan, "df": float(len(names) - 1), "p_value": np.nan, "p_minimum": np.nan,
    }  # fmt: skip
    if len(names) < 2 or not seen.any():
        why = "no test: " + ("no event was seen" if len(names) > 1 else "there is one group")
        row["note"] = smallest_p.p_note(np.nan, np.nan, unit, left_out, why)
        return pd.DataFrame([row])
    expected = _expected(months, seen, code)
    row["groups"] = "; ".join(
        f"{name}: n {int((code == g).sum())}, events {int(seen[code == g].sum())}, expected {expected[g]:.3g}"
        for g, name in enumerate(names)
    )
    why = ""
    statistic = _log_rank_statistic(months, seen, code)
    if statistic is None:
        why = "no p: no event happened while more than one group was under observation"
    else:
        row["statistic"], row["p_value"] = statistic, float(chi2.sf(statistic, len(names) - 1))
        row["p_minimum"] = smallest_p.of_groups(log_rank_scores(months, seen), code)
    row["note"] = smallest_p.p_note(
        float(str(row["p_value"])), float(str(row["p_minimum"])), unit, left_out, why
    )
    return pd.DataFrame([row])


def _curve(months: np.ndarray, seen: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share without an event and its standard error (Greenwood's) at rising times."""
    from statsmodels.duration.survfunc import SurvfuncRight

    if not seen.any():
        return np.ones(len(times)), np.zeros(len(times))
    with np.errstate(divide="ignore", invalid="ignore"):  # where the curve reaches 0 it has no error
        curve = SurvfuncRight(months, seen.astype(float))
    # The curve of statsmodels has the times of events only; before the first of them the share is 1.
    last = np.searchsorted(curve.surv_times, times, side="right")
    return np.append(1.0, curve.surv_prob)[last], np.append(0.0, curve.surv_prob_se)[last]


def _expected(months: np.ndarray, seen: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Return the number of events that each group would have were all groups alike."""
    expected = seen - log_rank_scores(months, seen)
    return np.bincount(code, weights=expected)


def _log_rank_statistic(months: np.ndarray, seen: np.ndarray, code: np.ndarray) -> float | None:
    """Return the chi-square of the log-rank test, None where events say nothing about the groups."""
    from statsmodels.duration.survfunc import survdiff

    try:
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = float(survdiff(months, seen.astype(float), code)[0])
    except np.linalg.LinAlgError:
        return None
    return statistic if np.isfinite(statistic) else None


def log_rank_scores(months: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return seen less expected events of each patient were all alike: the scores behind log-rank and Cox."""
    times, at_risk, d, _ = _life_table(months, seen)
    hazard = np.cumsum(d / at_risk)
    return np.asarray(seen - hazard[np.searchsorted(times, months)])


def _life_table(
    months: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    times, place = np.unique(months, return_inverse=True)
    d = np.bincount(place, weights=seen.astype(float))
    leaving = np.bincount(place).astype(float)
    at_risk = leaving[::-1].cumsum()[::-1]
    return times, at_risk, d, leaving - d


def event_times(
    table: pd.DataFrame, time: str, event: str, more: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame, str]:
    """Return times, events, the rows that have them, and a note on those that do not."""
    _counts.require_columns(table, (time, event, *more), _WHAT)
    months, seen = _counts.number(table, time), _counts.number(table, event)
    unreadable = ~np.array([_counts.is_missing(value) for value in table[event]]) & np.isnan(seen)
    wrong = unreadable | (np.isfinite(seen) & (seen != 0) & (seen != 1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ParameterError(
            f"{_WHAT}: {event} in row {row} is {str(table[event].iloc[row])!r}",
            fix="1 where the event was seen, 0 where not",
        )
    if np.any(months < 0):
        row = int(np.flatnonzero(months < 0)[0])
        raise ParameterError(f"{_WHAT}: {time} in row {row} is {months[row]:g}", fix="a time is at least 0")
    complete = np.isfinite(months) & np.isfinite(seen)
    for column in more:
        complete &= np.array([not _counts.is_missing(value) for value in table[column]])
    if not complete.any():
        raise ParameterError(f"{_WHAT}: no row has all of {', '.join((time, event, *more))}")
    lost = int((~complete).sum())
    note = f"{lost} of {len(complete)} rows lack {' or '.join((time, event, *more))}" if lost else ""
    return months[complete], seen[complete] == 1, table[complete], note


def _order(label: np.ndarray) -> list[str]:
    return sorted({str(name) for name in label})


def _crossing(when: np.ndarray, share: np.ndarray) -> float:
    reached = np.isfinite(share)
    below = np.flatnonzero(reached & (share <= 0.5 + _HAIR))
    if not below.size:
        return float("nan")
    first = int(below[0])
    lower = np.flatnonzero(reached & (share < 0.5 - _HAIR))
    if abs(share[first] - 0.5) <= _HAIR and lower.size:
        return float((when[first] + when[lower[0]]) / 2)
    return float(when[first])


def _require_curve(curve: pd.DataFrame) -> None:
    columns = ("group", "time", "n_events", "n_censored", "survival", "low", "high", "n", "unit", "note")
    _counts.require_columns(curve, columns, "the table of kaplan_meier")
