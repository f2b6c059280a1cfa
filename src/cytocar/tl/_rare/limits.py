"""Limits of blank, detection and quantification, and how many cells they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks
from cytocar._core.errors import ParameterError
from cytocar.tl._statistics.intervals import scalar_or_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = float | NDArray[np.float64]

MOST_CELLS = 1e15
"""More than all cytometers together will ever measure, and few enough that every whole number is exact."""


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
    checks.proportion(alpha, "alpha", example=0.05)
    expected = np.where(np.isnan(mean), 1.0, mean)
    limit = np.ceil(np.maximum(pdtrik(1.0 - alpha, np.maximum(expected, 1e-12)), 0.0))
    # pdtrik works on real numbers; the whole number on either side may be the answer.
    limit = np.where((limit > 0) & (pdtr(limit - 1.0, expected) >= 1.0 - alpha), limit - 1.0, limit)
    limit = np.where(pdtr(limit, expected) < 1.0 - alpha, limit + 1.0, limit)
    return scalar_or_array(np.where(np.isnan(mean), np.nan, np.where(mean == 0, 0.0, limit)))


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

    checks.proportion(beta, "beta", example=0.05)
    return scalar_or_array(gammaincinv(np.asarray(limit_of_blank(mu, alpha)) + 1.0, 1.0 - beta))


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
        raise ParameterError(f"fraction is {fraction!r}", fix="it must be above 0 and at most 1")
    if not 0.0 <= background_rate <= 1.0:
        raise ParameterError(f"background_rate is {background_rate!r}", fix="it must be from 0 to 1")
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
        raise ParameterError(f"cv is {cv!r}", fix="it must be a number above 0, such as 0.2 for 20 %")


def possible_cells(cells: float) -> float:
    """Return a number of cells that could be acquired in many lives; raise for more."""
    if not cells <= MOST_CELLS:
        raise ParameterError(
            f"more than {MOST_CELLS:.0e} cells would be needed, and no instrument measures so many",
            fix="take a larger share or a larger coefficient of variation",
        )
    return cells


def _background(mu: ArrayLike) -> NDArray[np.float64]:
    mean = np.asarray(mu, dtype=np.float64)
    if np.any(mean < 0):
        raise ParameterError(
            f"mu is {float(np.min(mean)):g}", fix="an expected number of events is at least 0"
        )
    return mean
