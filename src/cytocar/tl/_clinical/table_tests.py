"""Tests of tables of counts: exact by enumeration, and chi-square with and without correction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.tl._statistics.smallest_p import p_note

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    Score = Callable[[np.ndarray, int], np.ndarray]
    Scored = tuple[np.ndarray, np.ndarray]
    Half = tuple[np.ndarray, np.ndarray, np.ndarray]

EXACT, CHI2, CORRECTED = "exact", "chi2", "chi2_corrected"
_TESTS = (EXACT, CHI2, CORRECTED)
_MOST_FILLINGS = 6_000_000
_AT_ONCE = 500_000


def table_test(
    table: pd.DataFrame | ArrayLike, *, tests: Sequence[str] = _TESTS, unit: str = "patient"
) -> pd.DataFrame:
    """Return whether the rows and columns of a table of counts have to do with each other.

    ``exact``: the probability, with all margins fixed, of the tables that are no more likely than the one seen
    (Freeman & Halton 1951, doi:10.1093/biomet/38.1-2.141; Fisher's test for 2 x 2), by listing all tables. ``chi2``:
    Pearson's chi-square, the sum of ``(seen - expected)^2 / expected``. ``chi2_corrected``: with Yates's correction,
    2 x 2 only.

    Parameters
    ----------
    table
        Counts, rows x columns, such as ``pandas.crosstab(patients["response"], patients["stage"])``. Rows and columns
        without counts say nothing and are left out.
    tests
        Which of ``exact``, ``chi2``, ``chi2_corrected``.
    unit
        What was counted; with ``cell`` the result is labelled as descriptive.

    Returns
    -------
    DataFrame
        One row per test: ``test, unit, n, rows, columns, statistic, df, expected_minimum, p_value, p_minimum``
        (the smallest p of this test among all tables with these margins), ``note``. Where there is no p, `note`
        says why.

    Raises
    ------
    ParameterError
        An entry is not a count, the table is not two-dimensional, or a test is unknown.

    Examples
    --------
    >>> found = table_test([[8, 22], [1, 31], [3, 9]], tests=["exact"]).iloc[0]  # ECOG 0, 1, 2
    >>> round(float(found.p_value), 4), int(found.n)
    (0.0144, 74)
    """
    import pandas as pd

    counts = _counts_of(table)
    for name in tests:
        if name not in _TESTS:
            raise ParameterError(f"tests has {name!r}", fix=did_you_mean(str(name), _TESTS))
    kept = counts[np.ix_(counts.sum(axis=1) > 0, counts.sum(axis=0) > 0)]
    dropped = "" if kept.shape == counts.shape else "rows or columns without counts are left out"
    n = int(kept.sum())
    rows = []
    for name in tests:
        row: dict[str, object] = {
            "test": name, "unit": unit, "n": n, "rows": kept.shape[0], "columns": kept.shape[1],
            "statistic": np.nan, "df": np.nan, "expected_minimum": np.nan, "p_value": np.nan, "p_minimum": np.nan,
        }  # fmt: skip
        result: dict[str, float] = {}
        if min(kept.shape) < 2:
            why = "no test: fewer than two rows or two columns have counts"
        elif name == EXACT:
            result, why = _exact(kept)
        else:
            result, why = _chi2(kept, corrected=name == CORRECTED)
        row |= result
        p, floor = float(result.get("p_value", np.nan)), float(result.get("p_minimum", np.nan))
        row["note"] = p_note(p, floor, unit, dropped, why)
        rows.append(row)
    return pd.DataFrame(rows)


def _exact(counts: np.ndarray) -> tuple[dict[str, float], str]:
    shares = _fisher(counts) if counts.shape == (2, 2) else _exact_shares(counts)
    if shares is None:
        return {}, "no p: too many tables have these margins to list them; merge categories, or use chi2"
    n = int(counts.sum())
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    return {
        "p_value": shares[0],
        "p_minimum": shares[1],
        "expected_minimum": float(expected.min()),
    }, ""


def _chi2(counts: np.ndarray, *, corrected: bool) -> tuple[dict[str, float], str]:
    from scipy.stats import chi2, chi2_contingency

    square = counts.shape == (2, 2)
    if corrected and not square:
        return {}, "no p: the correction is for 2 x 2 tables"
    result = chi2_contingency(counts, correction=corrected)
    if square:
        floor = min(
            float(chi2_contingency(other, correction=corrected).pvalue) for other in _most_extreme(counts)
        )
    else:
        largest = _largest_chi2(counts)
        floor = np.nan if largest is None else float(chi2.sf(largest, result.dof))
    notes = []
    if result.expected_freq.min() < 5:
        notes.append(f"an expected count is {result.expected_freq.min():.2g}, below 5: prefer exact")
    if np.isnan(floor):
        notes.append("smallest p not searched for: too many tables")
    return {
        "statistic": float(result.statistic),
        "df": float(result.dof),
        "expected_minimum": float(result.expected_freq.min()),
        "p_value": float(result.pvalue),
        "p_minimum": floor,
    }, "; ".join(notes)


def _most_extreme(counts: np.ndarray) -> list[np.ndarray]:
    """Return the two ends of the 2 x 2 tables with these margins, which have one free entry."""
    (a, b), (c, d) = counts
    return [counts + step * np.array([[-1, 1], [1, -1]]) for step in (min(a, d), -min(b, c))]


def _fisher(counts: np.ndarray) -> tuple[float, float]:
    from scipy.stats import fisher_exact

    floor = min(float(fisher_exact(other).pvalue) for other in _most_extreme(counts))
    return float(fisher_exact(counts).pvalue), floor


def _exact_shares(counts: np.ndarray) -> tuple[float, float] | None:
    """Return the probability of tables no more likely than the one seen, and that of the least likely ones.

    The columns are cut in two halves, and of each all fillings are listed. Two halves fit where together they use
    up the row totals; the log probability of the whole is the sum of two numbers, so that sorted lists
    and running sums do for the product of two long lists.
    """
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    seen = -float(_log_factorials(counts.ravel()))

    def score(column: np.ndarray, _: int) -> np.ndarray:
        return -_log_factorials(column)

    halves = _halves(rows, columns, score, largest_only=False)
    if halves is None:
        return None
    pairs = list(_matching(*halves))
    least = min(left[0].min() + right[0].min() for left, right in pairs)
    fixed = float(
        _log_factorials(rows) + _log_factorials(columns) - _log_factorials(np.array([counts.sum()]))
    )
    shares = []
    # Tables as likely as the one seen differ from it by rounding only.
    for limit in (seen + 1e-7, least + 1e-7):
        total = 0.0
        for (value, ways), (other, other_ways) in pairs:
            running = np.concatenate([[0.0], np.cumsum(other_ways * np.exp(other + fixed / 2))])
            reach = np.searchsorted(other, limit - value, side="right")
            total += float((ways * np.exp(value + fixed / 2) * running[reach]).sum())
        shares.append(min(1.0, total))
    return shares[0], shares[1]


def _largest_chi2(counts: np.ndarray) -> float | None:
    """Return the largest chi-square of all tables with the margins of `counts`."""
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    n = float(counts.sum())
    if len(columns) < len(rows):
        rows, columns = columns, rows

    def score(column: np.ndarray, place: int) -> np.ndarray:
        return np.asarray((column**2 * (n / (rows * float(columns[place])))).sum(axis=-1))

    halves = _halves(rows, columns, score, largest_only=True)
    if halves is None:
        return None
    # The sum of (seen - expected)^2 / expected is that of seen^2 / expected, less n.
    return max(float(left[0].max() + right[0].max()) for left, right in _matching(*halves)) - n


def _log_factorials(counts: np.ndarray) -> np.ndarray:
    """Return the log of the product of the factorials along the last axis."""
    from scipy.special import gammaln

    return np.asarray(gammaln(np.asarray(counts) + 1.0).sum(axis=-1))


def _halves(
    rows: np.ndarray, columns: np.ndarray, score: Score, *, largest_only: bool
) -> tuple[Half, Half] | None:
    """Return all fillings of the first and of the last columns: what they use of the rows, score, and how many.

    The uses of the last columns are given as what they leave for the first, so that halves that fit have the
    same key.
    """
    if len(columns) < len(rows):
        rows, columns = columns, rows
    base = np.concatenate([[1], np.cumprod(rows[:-1] + 1)])
    middle = (len(columns) + 1) // 2
    halves = []
    for half in (range(middle), range(middle, len(columns))):
        used = np.zeros((1, len(rows)), dtype=np.int32)
        value, ways = np.zeros(1), np.ones(1)
        for column in half:
            if comb(int(columns[column]) + len(rows) - 1, len(rows) - 1) > _MOST_FILLINGS:
                return None
            fillings = _fillings(rows, int(columns[column]))
            if len(fillings) * len(used) > _MOST_FILLINGS:
                return None
            more = score(fillings, column)
            blocks = []
            for row in range(0, len(used), max(1, _AT_ONCE // len(fillings))):
                some = slice(row, row + max(1, _AT_ONCE // len(fillings)))
                together = used[some, None, :] + fillings[None, :, :]
                i, j = np.nonzero((together <= rows).all(axis=-1))
                blocks.append((together[i, j], value[some][i] + more[j], ways[some][i]))
            used, value, ways = (np.concatenate(joined) for joined in zip(*blocks, strict=True))
            used, value, ways = _merged(used, used @ base, value, ways, largest_only)
        key = (used if half.start == 0 else rows - used) @ base
        order = np.lexsort((value, key))
        halves.append((key[order], value[order], ways[order]))
    return halves[0], halves[1]


def _merged(
    used: np.ndarray, key: np.ndarray, value: np.ndarray, ways: np.ndarray, largest_only: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make one of fillings that use the same of the rows and have the same score, or keep the largest score."""
    order = np.lexsort((value, key))
    used, key, value, ways = used[order], key[order], value[order], ways[order]
    if largest_only:
        last = np.append(key[1:] != key[:-1], True)
        return used[last], value[last], ways[last]
    first = np.concatenate([[True], (key[1:] != key[:-1]) | (value[1:] - value[:-1] > 1e-9)])
    return used[first], value[first], np.add.reduceat(ways, np.flatnonzero(first))


def _matching(left: Half, right: Half) -> Iterator[tuple[Scored, Scored]]:
    """Give the scores, rising, and numbers of fillings of both halves for every key that both have."""
    starts = [np.unique(half[0], return_index=True) for half in (left, right)]
    ends = [
        np.append(start[1:], len(half[0])) for (_, start), half in zip(starts, (left, right), strict=True)
    ]
    _, a, b = np.intersect1d(starts[0][0], starts[1][0], return_indices=True)
    for i, j in zip(a, b, strict=True):
        first, second = slice(starts[0][1][i], ends[0][i]), slice(starts[1][1][j], ends[1][j])
        yield (left[1][first], left[2][first]), (right[1][second], right[2][second])


def _fillings(rows: np.ndarray, total: int) -> np.ndarray:
    """Return every column with this total that takes no more from a row than it has."""
    fillings, left = np.zeros((1, 0), dtype=np.int32), np.array([total])
    room = np.append(np.cumsum(rows[::-1])[::-1][1:], 0)
    for row, later in zip(rows, room, strict=True):
        low, high = np.maximum(0, left - later), np.minimum(row, left)
        repeat = np.maximum(high - low + 1, 0)
        within = np.arange(repeat.sum()) - np.repeat(np.cumsum(repeat) - repeat, repeat)
        taken = (np.repeat(low, repeat) + within).astype(np.int32)
        fillings = np.column_stack([np.repeat(fillings, repeat, axis=0), taken])
        left = np.repeat(left, repeat) - taken
    return fillings


def _counts_of(table: pd.DataFrame | ArrayLike) -> np.ndarray:
    values = np.asarray(table)
    if values.ndim != 2:
        raise ParameterError(
            f"table has {values.ndim} dimensions", fix="a table of counts has rows and columns"
        )
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"table holds what is not a number: {error}", fix="make it with pandas.crosstab"
        ) from None
    wrong = ~(np.isfinite(numbers) & (numbers >= 0) & (numbers == np.floor(numbers)))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ParameterError(
            f"table: row {row}, column {column} is {numbers[row, column]:g}",
            fix="a count is a whole number of at least 0",
        )
    return numbers.astype(np.int64)
