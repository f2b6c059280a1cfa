"""Exact intervals for counts and shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks
from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = float | NDArray[np.float64]


def clopper_pearson(k: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the exact interval of a share `k / n`.

    The limits are quantiles of beta distributions (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404):
    low is the (1 - level) / 2 quantile of Beta(k, n - k + 1), high the (1 + level) / 2 quantile of
    Beta(k + 1, n - k). The interval never covers less often than `level`.

    Parameters
    ----------
    k
        Events that count, numbers from 0 to `n`.
    n
        All events, same shape as `k` or one number. 0 of 0 gives 0 to 1: nothing is known.
    level
        Confidence, above 0 and below 1.

    Returns
    -------
    low, high
        Shares from 0 to 1, numbers where `k` and `n` are numbers, else arrays.

    Raises
    ------
    ParameterError
        A count is negative or not a number, or `k` is more than `n`.

    Examples
    --------
    >>> low, high = clopper_pearson(240, 100_000)
    >>> f"{100 * low:.3f} to {100 * high:.3f} %"
    '0.211 to 0.272 %'
    """
    from scipy.special import betaincinv

    count, total = np.broadcast_arrays(np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64))
    checks.proportion(level, "level")
    _require_counts("k", count)
    _require_counts("n", total)
    if np.any(count > total):
        at = tuple(np.argwhere(count > total)[0])
        raise ParameterError(
            f"k is {count[at]:g} of n = {total[at]:g}", fix="a part cannot be more than its whole"
        )
    tail = (1.0 - level) / 2.0
    rest = total - count
    # betaincinv is not defined at a = 0 or b = 0, where the limit is 0 or 1 anyway.
    low = np.where(count > 0, betaincinv(np.maximum(count, 0.5), rest + 1.0, tail), 0.0)
    high = np.where(rest > 0, betaincinv(count + 1.0, np.maximum(rest, 0.5), 1.0 - tail), 1.0)
    return scalar_or_array(low), scalar_or_array(high)


def upper_limit(k: ArrayLike, n: ArrayLike, level: float = 0.95) -> Floats:
    """Return the one-sided exact upper limit of a share `k / n`: the high end of the 2 level - 1 interval.

    Examples
    --------
    >>> round(float(upper_limit(0, 100)) * 100, 2)
    2.95
    """
    if not 0.5 < level < 1.0:
        raise ParameterError(
            f"level is {level!r}", fix="a one-sided limit needs a number above 0.5 and below 1"
        )
    return clopper_pearson(k, n, 2.0 * level - 1.0)[1]


def garwood(k: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the exact interval of the mean of a Poisson count `k`.

    The limits are quantiles of gamma distributions with shapes k and k + 1 (Garwood 1936,
    doi:10.1093/biomet/28.3-4.437).

    Parameters
    ----------
    k
        Events, numbers of at least 0.
    level
        Confidence, above 0 and below 1.

    Returns
    -------
    low, high
        Expected numbers of events.

    Raises
    ------
    ParameterError
        A count is negative or not a number.

    Examples
    --------
    >>> low, high = garwood(10)
    >>> round(float(low), 2), round(float(high), 2)
    (4.8, 18.39)
    """
    from scipy.special import gammaincinv

    count = np.asarray(k, dtype=np.float64)
    checks.proportion(level, "level")
    _require_counts("k", count)
    tail = (1.0 - level) / 2.0
    low = np.where(count > 0, gammaincinv(np.maximum(count, 0.5), tail), 0.0)
    return scalar_or_array(low), scalar_or_array(gammaincinv(count + 1.0, 1.0 - tail))


def _require_counts(name: str, values: NDArray[np.float64]) -> None:
    wrong = ~(np.isfinite(values) & (values >= 0))
    if np.any(wrong):
        raise ParameterError(f"{name} is {values[wrong].flat[0]:g}", fix="a count is a number of at least 0")


def scalar_or_array(values: NDArray[np.float64]) -> Floats:
    """Return a number for an array without dimensions, and every other array as it is."""
    array = np.asarray(values, dtype=np.float64)
    return float(array) if array.ndim == 0 else array
