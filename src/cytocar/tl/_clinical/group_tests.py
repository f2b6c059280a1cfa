"""Two groups of numbers: Welch, Student, rank sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.tl import _counts
from cytocar.tl._statistics import smallest_p

if TYPE_CHECKING:
    import pandas as pd

WELCH, STUDENT, RANK_SUM = "welch", "student", "rank_sum"
_TESTS = (WELCH, STUDENT, RANK_SUM)
_MOST_EXACT = 100


def group_test(
    table: pd.DataFrame,
    *,
    value: str,
    groups: str,
    tests: Sequence[str] = _TESTS,
    level: float = 0.95,
    unit: str = "patient",
) -> pd.DataFrame:
    """Return how two groups differ in a number, with its interval and p, by one or more tests.

    ``welch`` (unequal variances; Welch 1947, doi:10.1093/biomet/34.1-2.28) and ``student`` compare means.
    ``rank_sum`` (Wilcoxon 1945, doi:10.2307/3001968; Mann & Whitney 1947) compares ranks: up to 100 values its p is
    exact over all permutations of the labels, ties included; above, normal with corrections for ties and continuity.
    Its effect is the Hodges-Lehmann shift, the median of all differences, with the interval of Moses.

    Parameters
    ----------
    table
        One row per patient (one sample of each; more than one row of a patient would count it more than once).
    value
        Column of numbers; rows without one are left out.
    groups
        Column of groups, exactly two.
    tests
        Which of ``welch``, ``student``, ``rank_sum``.
    level
        Confidence of the intervals.
    unit
        What a row is; with ``cell`` the result is labelled as descriptive.

    Returns
    -------
    DataFrame
        One row per test: ``test, value, unit, n, group_a, group_b, n_a, n_b, effect`` (a less b), ``effect_low,
        effect_high, statistic, df, p_value, p_minimum`` (of a permutation of the labels), ``note``. Where there is no
        number, `note` says why.

    Raises
    ------
    ParameterError
        A column is missing, there are not two groups, or a test is unknown.

    Examples
    --------
    >>> import pandas
    >>> patients = pandas.DataFrame({"months": [60, 48, 36, 52, 12, 9, 20], "response": ["CR"] * 4 + ["PR"] * 3})
    >>> found = group_test(patients, value="months", groups="response", tests=["rank_sum"]).iloc[0]
    >>> float(found.effect), round(float(found.p_value), 4), round(float(found.p_minimum), 4)
    (37.5, 0.0571, 0.0571)
    """
    import pandas as pd

    _counts.require_columns(table, (value, groups), "the table of patients")
    checks.proportion(level, "level")
    for name in tests:
        if name not in _TESTS:
            raise ParameterError(f"tests has {name!r}", fix=did_you_mean(str(name), _TESTS))
    numbers, label = _counts.number(table, value), _counts.text(table, groups)
    names = sorted(set(label) - {""})
    if len(names) != 2:
        raise ParameterError(
            f"{groups} has {len(names)} groups ({', '.join(names) or 'none'})", fix="this compares two"
        )
    complete = np.isfinite(numbers) & (label != "")
    a, b = (numbers[complete & (label == name)] for name in names)
    lost = int((~complete).sum())
    left_out = f"{lost} of {len(complete)} rows lack {value} or {groups}" if lost else ""
    rows = []
    for name in tests:
        row: dict[str, object] = {
            "test": name, "value": value, "unit": unit, "n": len(a) + len(b), "group_a": names[0], "group_b": names[1],
            "n_a": len(a), "n_b": len(b),
        }  # fmt: skip
        if not (len(a) and len(b)):
            empty = names[0] if not len(a) else names[1]
            found, why = np.full(7, np.nan), f"no test: group {empty} has no value"
        elif name == RANK_SUM:
            found, why = _rank_sum(a, b, level)
        else:
            found, why = _t_test(a, b, level, equal=name == STUDENT)
        columns = ("effect", "effect_low", "effect_high", "statistic", "df", "p_value", "p_minimum")
        row |= dict(zip(columns, map(float, found), strict=True))
        row["note"] = smallest_p.p_note(float(found[5]), float(found[6]), unit, left_out, why)
        rows.append(row)
    return pd.DataFrame(rows)


def _t_test(a: np.ndarray, b: np.ndarray, level: float, *, equal: bool) -> tuple[np.ndarray, str]:
    from scipy.stats import ttest_ind

    effect = float(a.mean() - b.mean())
    nothing = np.array([effect, *[np.nan] * 6])
    if min(len(a), len(b)) < 2 and not (equal and len(a) + len(b) > 2):
        return nothing, "no test: a group has one value, so its variance is not known"
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return nothing, "no test: the values of each group are all equal"
    found = ttest_ind(a, b, equal_var=equal)
    ends = found.confidence_interval(level)
    code = np.repeat([0, 1], [len(a), len(b)])
    floor = smallest_p.of_groups(np.concatenate([a, b]), code)
    return np.array([effect, ends.low, ends.high, found.statistic, found.df, found.pvalue, floor]), ""


def _rank_sum(a: np.ndarray, b: np.ndarray, level: float) -> tuple[np.ndarray, str]:
    from scipy.stats import mannwhitneyu, norm, rankdata

    n, m = len(a), len(b)
    differences = np.sort(np.subtract.outer(a, b).ravel())
    effect = float(np.median(differences))
    # Twice the mean rank is a whole number, so sums of ranks can be counted.
    ranks = np.rint(2 * rankdata(np.concatenate([a, b]))).astype(np.int64)
    floor = smallest_p.of_groups(ranks.astype(float), np.repeat([0, 1], [n, m]))
    u = float(ranks[:n].sum() / 2 - n * (n + 1) / 2)
    if np.ptp(ranks) == 0:
        return np.array([effect, np.nan, np.nan, u, np.nan, np.nan, np.nan]), "no test: all values are equal"
    why = ""
    if n + m <= _MOST_EXACT:
        share = _subset_sums(ranks, n)
        away = np.abs(np.arange(len(share)) - n * ranks.sum() / (n + m))
        p = float(min(1.0, share[away >= away[ranks[:n].sum()] - 1e-9].sum()))
        untied = np.cumsum(_subset_sums(2 * np.arange(1, n + m + 1), n)[n * (n + 1) :: 2])
        cut = int(np.searchsorted(untied, (1 - level) / 2 * (1 - 1e-12)))
        reached = cut > 0
    else:
        p = float(mannwhitneyu(a, b, method="asymptotic").pvalue)
        spread = np.sqrt(n * m * (n + m + 1) / 12)
        cut = int(np.floor(n * m / 2 + norm.ppf((1 - level) / 2) * spread))
        reached, why = cut > 0, "p by the normal approximation"
    if not reached:
        why = f"no {100 * level:g} % interval: too few values"
    ends = (differences[cut - 1], differences[n * m - cut]) if reached else (np.nan, np.nan)
    return np.array([effect, *ends, u, np.nan, p, floor]), why


def _subset_sums(ranks: np.ndarray, size: int) -> np.ndarray:
    """Return the probability of every sum of `size` of the ranks, all choices equally likely."""
    largest = int(np.sort(ranks)[-size:].sum())
    ways = np.zeros((size + 1, largest + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        # Numbers below are used before they change: each rank is taken once.
        for chosen in range(size, 0, -1):
            ways[chosen, rank:] += ways[chosen - 1, : largest + 1 - rank]
    return np.asarray(ways[size] / ways[size].sum())
