"""Exact intervals for counts and shares, and the limits below which a count says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = float | NDArray[np.float64]

MOST_CELLS = 1e15
"""More than all cytometers together will ever measure, and few enough that every whole number is exact."""


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

    part, whole = np.broadcast_arrays(np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64))
    _require_level(level)
    _require_counts("k", part)
    _require_counts("n", whole)
    if np.any(part > whole):
        at = tuple(np.argwhere(part > whole)[0])
        raise ParameterError(f"k is {part[at]:g} of n = {whole[at]:g}; a part cannot be more than its whole")
    tail = (1.0 - level) / 2.0
    rest = whole - part
    # betaincinv is not defined at a = 0 or b = 0, where the limit is 0 or 1 anyway.
    low = np.where(part > 0, betaincinv(np.maximum(part, 0.5), rest + 1.0, tail), 0.0)
    high = np.where(rest > 0, betaincinv(part + 1.0, np.maximum(rest, 0.5), 1.0 - tail), 1.0)
    return _plain(low), _plain(high)


def upper_limit(k: ArrayLike, n: ArrayLike, level: float = 0.95) -> Floats:
    """Return the one-sided exact upper limit of a share `k / n`: the high end of the 2 level - 1 interval.

    Examples
    --------
    >>> round(float(upper_limit(0, 100)) * 100, 2)
    2.95
    """
    if not 0.5 < level < 1.0:
        raise ParameterError(f"level is {level!r}; a one-sided limit needs a number above 0.5 and below 1")
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
    _require_level(level)
    _require_counts("k", count)
    tail = (1.0 - level) / 2.0
    low = np.where(count > 0, gammaincinv(np.maximum(count, 0.5), tail), 0.0)
    return _plain(low), _plain(gammaincinv(count + 1.0, 1.0 - tail))


def limit_of_blank(mu: ArrayLike, alpha: float = 0.05) -> Floats:
    """Return the largest number of events that background alone gives with probability 1 - alpha.

    The smallest whole c with P(Poisson(mu) <= c) >= 1 - alpha; the classification of CLSI EP17
    (Armbruster & Pry 2008, Clin Biochem Rev 29 Suppl 1:S49, PMID 18852857) with a Poisson background.

    Parameters
    ----------
    mu
        Expected background, in events, at least 0; NaN stays NaN.
    alpha
        Share of blanks allowed above the limit, above 0 and below 1.

    Returns
    -------
    float or array
        Whole numbers of events, as floats. A count above the limit is detected.

    Raises
    ------
    ParameterError
        `mu` is negative, or `alpha` outside 0 to 1.

    Examples
    --------
    >>> [float(limit_of_blank(mu)) for mu in (0, 0.5, 10)]
    [0.0, 2.0, 15.0]
    """
    from scipy.special import pdtr, pdtrik

    mean = _background(mu)
    _require_share("alpha", alpha)
    known = np.where(np.isnan(mean), 1.0, mean)
    limit = np.ceil(np.maximum(pdtrik(1.0 - alpha, np.maximum(known, 1e-12)), 0.0))
    # pdtrik works on real numbers; the whole number on either side may be the answer.
    limit = np.where((limit > 0) & (pdtr(limit - 1.0, known) >= 1.0 - alpha), limit - 1.0, limit)
    limit = np.where(pdtr(limit, known) < 1.0 - alpha, limit + 1.0, limit)
    return _plain(np.where(np.isnan(mean), np.nan, np.where(mean == 0, 0.0, limit)))


def limit_of_detection(mu: ArrayLike, alpha: float = 0.05, beta: float = 0.05) -> Floats:
    """Return the expected number of events, background included, that is missed with probability beta.

    Missed is at or below the limit of blank.
    The smallest m with P(Poisson(m) <= LoB) <= beta, that is the 1 - beta quantile of a gamma
    distribution with shape LoB + 1.

    Parameters
    ----------
    mu
        Expected background, in events, at least 0; NaN stays NaN.
    alpha, beta
        Allowed shares of false and of missed detections.

    Returns
    -------
    float or array
        Events.

    Raises
    ------
    ParameterError
        `mu` is negative, or `alpha` or `beta` outside 0 to 1.

    Examples
    --------
    >>> [round(float(limit_of_detection(mu)), 1) for mu in (0.5, 10)]
    [6.3, 23.1]
    """
    from scipy.special import gammaincinv

    _require_share("beta", beta)
    return _plain(gammaincinv(np.asarray(limit_of_blank(mu, alpha)) + 1.0, 1.0 - beta))


def events_for_cv(cv: float) -> int:
    """Return how many events a count needs for its coefficient of variation to be `cv`: 1 / cv squared.

    Parameters
    ----------
    cv
        Coefficient of variation as a share, such as 0.2 for 20 %.

    Returns
    -------
    int
        Events, rounded up.

    Raises
    ------
    ParameterError
        `cv` is not above 0.

    Examples
    --------
    >>> events_for_cv(0.2)
    25
    """
    _require_cv(cv)
    possible_cells(1.0 / cv / cv)
    # 1 / 0.1**2 is a hair below 100; a hair must not cost or give an event.
    return max(1, int(np.ceil(round(1.0 / cv / cv, 9))))


def cells_needed(fraction: float, *, cv: float = 0.2, background_rate: float = 0.0) -> int:
    """Return how many cells must be acquired to measure a population of a given share.

    Enough for the wanted coefficient of variation, and enough for the expected count to reach the limit
    of detection above a background that grows with the cells.

    Parameters
    ----------
    fraction
        Share of the population among the cells, above 0 and up to 1.
    cv
        Wanted coefficient of variation of the count.
    background_rate
        False events per cell.

    Returns
    -------
    int
        Cells of the denominator, such as CD45+ cells.

    Raises
    ------
    ParameterError
        `fraction` is not above 0 and up to 1, `cv` not above 0, `background_rate` not from 0 to 1.

    Examples
    --------
    >>> cells_needed(0.0024)
    10417
    """
    if not 0.0 < fraction <= 1.0:
        raise ParameterError(f"fraction is {fraction!r}; it must be above 0 and at most 1")
    if not 0.0 <= background_rate <= 1.0:
        raise ParameterError(f"background_rate is {background_rate!r}; it must be from 0 to 1")
    low = int(np.ceil(round(possible_cells(events_for_cv(cv) / fraction), 6)))

    def enough(cells: int) -> bool:
        limit = limit_of_detection(background_rate * cells)
        return bool((fraction + background_rate) * cells >= limit)

    if enough(low):
        return low
    # The limit of blank is a staircase, so ask for enough at the first size after which it stays enough
    # on the doubling search; the true need lies between the last failure and that size.
    high = 2 * low
    while not enough(high):
        low, high = high, int(possible_cells(2 * high))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _require_cv(cv: float) -> None:
    if not (np.isfinite(cv) and cv > 0):
        raise ParameterError(f"cv is {cv!r}; it must be a number above 0, such as 0.2 for 20 %")


def possible_cells(cells: float) -> float:
    """Return a number of cells that could be acquired in many lives; raise for more."""
    if not cells <= MOST_CELLS:
        raise ParameterError(
            f"more than {MOST_CELLS:.0e} cells would be needed, and no instrument measures so many; "
            "take a larger share or a larger coefficient of variation"
        )
    return cells


def _background(mu: ArrayLike) -> NDArray[np.float64]:
    mean = np.asarray(mu, dtype=np.float64)
    if np.any(mean < 0):
        raise ParameterError(f"mu is {float(np.min(mean)):g}; an expected number of events is at least 0")
    return mean


def _require_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ParameterError(f"level is {level!r}; it must be above 0 and below 1, such as 0.95")


def _require_share(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ParameterError(f"{name} is {value!r}; it must be above 0 and below 1, such as 0.05")


def _require_counts(name: str, values: NDArray[np.float64]) -> None:
    wrong = ~(np.isfinite(values) & (values >= 0))
    if np.any(wrong):
        raise ParameterError(f"{name} is {values[wrong].flat[0]:g}; a count is a number of at least 0")


def _plain(values: NDArray[np.float64]) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return float(array) if array.ndim == 0 else array
