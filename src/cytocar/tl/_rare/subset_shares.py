"""Shares of subsets that hold together, and which of two subsets is the larger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.tl import _counts

if TYPE_CHECKING:
    import pandas as pd

GOODMAN, SISON_GLAZ = "goodman", "sison_glaz"
_METHODS = (GOODMAN, SISON_GLAZ)
_WHAT = "the table of subsets"


def subset_shares(
    table: pd.DataFrame, *, compartment: str = keys.CAR, method: str = GOODMAN, level: float = 0.95
) -> pd.DataFrame:
    """Return the shares of all subsets of a compartment with simultaneous intervals.

    All intervals of a sample hold together with probability `level`; those of `cytocar.tl.subsets` hold one by one.
    ``goodman`` (1965, doi:10.1080/00401706.1965.10490252): score intervals at level ``1 - (1 - level) / k``.
    ``sison_glaz`` (1995, doi:10.1080/01621459.1995.10476521): the same margin for all subsets, narrower; the
    probability is summed exactly where the paper approximates it. It has no interval, and `note` says so, where one
    subset holds all cells.

    Parameters
    ----------
    table
        `sample_id`, `compartment`, `subset`, `n`, as `cytocar.tl.subsets` returns them, absent subsets with n = 0.
    compartment
        Whose subsets.
    method
        ``goodman`` or ``sison_glaz``.
    level
        Confidence of all intervals of a sample together.

    Returns
    -------
    DataFrame
        One row per sample and subset: ``sample_id, compartment, subset, n, n_total, fraction, low, high, method,
        smallest_detectable`` (the share that shows at least one cell among n_total with probability `level`; where
        `table` has this column, what it says, which minds the background), ``note``.

    Raises
    ------
    ParameterError
        A column or the compartment is missing, a count is not one, a subset stands twice, or `method` is unknown.

    Examples
    --------
    >>> import pandas
    >>> counts = pandas.DataFrame({"sample_id": "5yr", "compartment": "car", "subset": ["CD4", "CD8", "DN"],
    ...                            "n": [1, 20, 229]})
    >>> found = subset_shares(counts).set_index("subset")
    >>> f"{found.low['DN']:.3f} to {found.high['DN']:.3f}"
    '0.864 to 0.949'
    """
    import pandas as pd

    checks.one_of(method, "method", _METHODS)
    checks.proportion(level, "level")
    part, count = _compartment(table, compartment)
    given = _counts.number(part, "smallest_detectable")
    sample = _counts.text(part, keys.SAMPLE)
    frames = []
    for name in dict.fromkeys(sample):
        mine = sample == name
        n, subset = count[mine], _counts.text(part[mine], keys.SUBSET)
        total = n.sum()
        low = high = fraction = np.full(len(n), np.nan)
        note = "no cells, so no shares"
        smallest = np.full(len(n), np.nan)
        if total > 0:
            note, fraction = "", n / total
            low, high = (goodman if method == GOODMAN else sison_glaz)(n, level)
            if np.isnan(low).any():
                note = "sison_glaz has no interval for these counts at this level; method goodman has one"
            smallest = np.where(np.isnan(given[mine]), 1 - (1 - level) ** (1 / total), given[mine])
        frames.append(
            pd.DataFrame(
                {
                    keys.SAMPLE: name, keys.COMPARTMENT: compartment, keys.SUBSET: subset,
                    "n": n.astype(np.int64), "n_total": int(total), "fraction": fraction, "low": low, "high": high,
                    "method": method, "smallest_detectable": smallest, "note": note,
                }
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def subset_order(
    table: pd.DataFrame,
    *,
    larger: str = "DN",
    smaller: str = "CD8",
    compartment: str = keys.CAR,
    prior: float = 0.5,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the probability that one subset outnumbers another in every sample, given the cells counted.

    With a Dirichlet prior of `prior` in every subset, the share of `larger` in the two together is, given counts x and
    y, Beta(x + prior, y + prior), whatever the other subsets; the probability is that of more than one half.

    Parameters
    ----------
    table
        As in `subset_shares`; with its column `background_n` (events that false positives may explain) the probability
        is also given for the counts less those.
    larger, smaller
        The two subsets.
    compartment
        Whose subsets.
    prior
        Of the Dirichlet distribution, above 0: 0.5 is Jeffreys's for two, 1 is flat.
    level
        Probability of the interval.

    Returns
    -------
    DataFrame
        One row per sample: ``sample_id, compartment, larger, smaller, n_larger, n_smaller, share`` (of `larger` in the
        two, posterior median), ``low, high, probability, probability_net, note``.

    Raises
    ------
    ParameterError
        A column, subset or the compartment is missing, or a number is outside its domain.

    Examples
    --------
    >>> import pandas
    >>> counts = pandas.DataFrame({"sample_id": "1yr", "compartment": "car", "subset": ["CD8", "DN"], "n": [20, 31]})
    >>> round(float(subset_order(counts).probability.iloc[0]), 3)
    0.939
    """
    import pandas as pd
    from scipy.special import betainc, betaincinv

    if not (np.isfinite(prior) and prior > 0):
        raise ParameterError(f"prior is {prior!r}", fix="it must be a number above 0, such as 0.5")
    checks.proportion(level, "level")
    part, count = _compartment(table, compartment)
    sample, subset = _counts.text(part, keys.SAMPLE), _counts.text(part, keys.SUBSET)
    for name in (larger, smaller):
        if name not in subset:
            raise ParameterError(
                f"{_WHAT} has no subset {name!r}", fix=did_you_mean(name, dict.fromkeys(subset))
            )
    false = _counts.number(part, "background_n")
    rows = []
    for name in dict.fromkeys(sample):
        x, y = (count[(sample == name) & (subset == which)].sum() for which in (larger, smaller))
        out = [false[(sample == name) & (subset == which)].sum() for which in (larger, smaller)]
        a, b = x + prior, y + prior
        net = np.nan
        if np.isfinite(out).all():
            net = 1 - betainc(max(x - out[0], 0.0) + prior, max(y - out[1], 0.0) + prior, 0.5)
        rows.append(
            {
                keys.SAMPLE: name, keys.COMPARTMENT: compartment, "larger": larger, "smaller": smaller,
                "n_larger": int(x), "n_smaller": int(y), "share": float(betaincinv(a, b, 0.5)),
                "low": float(betaincinv(a, b, (1 - level) / 2)), "high": float(betaincinv(a, b, (1 + level) / 2)),
                "probability": float(betainc(b, a, 0.5)), "probability_net": float(net),
                "note": "" if x + y else "neither was seen: the prior alone",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def goodman(n: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Goodman's simultaneous intervals of the shares of counts."""
    from scipy.special import chdtri

    total = n.sum()
    a = float(chdtri(1, (1 - level) / len(n)))
    half = np.sqrt(a * (a + 4 * n * (total - n) / total))
    low, high = (a + 2 * n - half) / (2 * (total + a)), (a + 2 * n + half) / (2 * (total + a))
    return np.where(n == 0, 0.0, np.maximum(low, 0.0)), np.where(n == total, 1.0, np.minimum(high, 1.0))


def sison_glaz(n: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the simultaneous intervals of Sison and Glaz of the shares of counts.

    NaN where a new sample with these shares has the same counts with probability `level` or more, as where one subset
    holds all cells: the margin lies between two, and there is none below 0.
    """
    total = float(n.sum())
    if len(n) == 1:
        return np.array([1.0]), np.array([1.0])
    if _within(n, 0) >= level:
        return np.full(len(n), np.nan), np.full(len(n), np.nan)
    # The margin is of the order of the root of the total: doubling finds it without summing over all counts.
    below, above = 0, 1
    while above < total and _within(n, above) < level:
        below, above = above, min(2 * above, int(total))
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if _within(n, middle) >= level else (middle, above)
    c, before = above - 1, _within(n, above - 1)
    gamma = (level - before) / (_within(n, above) - before)
    return np.maximum(n / total - c / total, 0.0), np.minimum(n / total + (c + 2 * gamma) / total, 1.0)


def _within(n: np.ndarray, margin: int) -> float:
    """Return the probability that no count of a new sample with these shares is off by more than `margin`.

    Counts of a multinomial are independent Poisson counts with a given sum.
    """
    from scipy.special import gammaln, xlogy

    total = int(n.sum())
    sums, start = np.ones(1), 0
    for count in n:
        first, last = max(0, int(count) - margin), int(count) + margin
        x = np.arange(first, last + 1)
        sums = np.convolve(sums, np.exp(xlogy(x, count) - count - gammaln(x + 1)))
        start += first
    place = total - start
    if not 0 <= place < len(sums):
        return 0.0
    return float(sums[place] / np.exp(xlogy(total, total) - total - gammaln(total + 1)))


def _compartment(table: pd.DataFrame, compartment: str) -> tuple[pd.DataFrame, np.ndarray]:
    _counts.require_columns(table, (keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET, "n"), _WHAT)
    places = _counts.text(table, keys.COMPARTMENT)
    if compartment not in places:
        raise ParameterError(
            f"{_WHAT} has no compartment {compartment!r}",
            fix=did_you_mean(compartment, dict.fromkeys(places)),
        )
    part = table[places == compartment]
    twice = part.duplicated([keys.SAMPLE, keys.SUBSET]).to_numpy()
    if twice.any():
        row = part.iloc[int(np.flatnonzero(twice)[0])]
        raise ParameterError(f"{_WHAT}: {row[keys.SAMPLE]} / {row[keys.SUBSET]} has more than one row")
    return part, _counts.whole(part, "n", _WHAT)
