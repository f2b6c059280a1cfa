"""Quantiles far out in a tail, beyond what the number of cells can show directly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPIRICAL_FROM = 20
"""With at least this many expected cells above it, a quantile is read off the cells themselves."""

EDGE = (0.90, 0.97)
"""The quantiles through which `edge_quantile` draws its line."""

# Exceedances: the largest 6 % of all values, and no more than a fifth of those above 0; from 200 to 800 of them, or
# 2 % of those above 0 where that is more. Fewer make the number noisy, more reach into the body. On simulated
# background of 20,000 cells the number scatters by 0.08 arcsinh units.
SHARE_OF_ALL, SHARE_ABOVE_ZERO, LEAST_SHARE, FEWEST, MOST = 0.06, 0.2, 0.02, 200, 800
# Stray positive cells among the negatives would push the number up: three in 20,000 by 0.4. Where the largest excess is
# as good as impossible (5 %) under a fit that takes the largest 2 % as large, but not as how large, that fit is used.
CENSORED, IMPOSSIBLE = 0.02, 0.05
# Tails of background in arcsinh units are lighter than exponential, by little. A few hundred exceedances know the
# shape to about 0.07 only, so it is held near that by a normal prior, which halves the scatter of the quantile.
SHAPE_MEAN, SHAPE_SD, SHAPE_RANGE = -0.05, 0.1, (-0.5, 0.3)


@dataclass(frozen=True, eq=False)
class Tail:
    """The upper tail of some cells: a generalised Pareto distribution of the excesses over a high quantile.

    Parameters
    ----------
    ordered
        The values, ascending.
    start
        The value `u` from which the tail is counted.
    n_excess
        Cells above it.
    scale, shape
        Of the distribution of the excesses.
    """

    ordered: NDArray[np.float64]
    start: float
    n_excess: int
    scale: float
    shape: float

    def quantile(self, rate: float) -> float:
        """Return the value that a share `rate` exceeds, by the fitted tail."""
        ratio = self.n_excess / (self.ordered.size * rate)
        return _beyond(self.start, self.scale, self.shape, ratio, float(self.ordered[-1]))

    def share_above(self, value: float) -> float:
        """Return the share of the population at or above a value: counted where cells are many, else by the fit."""
        n = self.ordered.size
        above = n - int(np.searchsorted(self.ordered, value, side="left"))
        if above >= EMPIRICAL_FROM or value <= self.start:
            return above / n
        if self.scale <= 0.0:
            return 0.0
        return self.n_excess / n * _survival((value - self.start) / self.scale, self.shape)


def tail_of(x: NDArray[Any]) -> Tail:
    """Fit the upper tail of some arcsinh values, as described in `upper_quantile`."""
    ordered = np.sort(np.asarray(x, dtype=np.float64))
    n, k = ordered.size, n_excesses(ordered)
    start = float(ordered[n - k - 1])
    return Tail(ordered, start, k, *_fit_without_strays(ordered[n - k :] - start))


def n_excesses(ordered: NDArray[np.float64]) -> int:
    """Return how many of the largest values make up the tail."""
    n = ordered.size
    above_zero = int(n - np.searchsorted(ordered, 0.0, side="right"))
    k = round(min(SHARE_OF_ALL * n, SHARE_ABOVE_ZERO * above_zero, MOST))
    k = max(k, round(LEAST_SHARE * above_zero), FEWEST)
    return min(k, max(above_zero // 2, 1), n - 1)


def upper_quantile(x: NDArray[Any], rate: float) -> tuple[float, bool]:
    """Return the value that a share `rate` of the population behind `x` exceeds, and whether it is extrapolated.

    With few cells to be expected above it, a generalised Pareto distribution is fitted to the excesses over a high
    quantile u (peaks over threshold; Pickands 1975, doi 10.1214/aos/1176343003) and
    ``u + scale / shape * ((k / (n rate))^shape - 1)`` returned, k being the number of excesses. Scale and shape
    are estimated by maximum likelihood, with a normal prior of the shape (-0.05, SD 0.1), and again with the largest
    2 % of the excesses censored where the largest of all does not belong to the tail.

    Parameters
    ----------
    x
        Arcsinh values (cells,), many of which may be 0; at least 100 of them above 0.
    rate
        Share between 0 and 1.

    Returns
    -------
    The value, in the units of `x`, and True where it comes from the fitted tail. It is never further above the
    largest cell than that is above u.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).exponential(1.0, 20_000)
    >>> value, extrapolated = upper_quantile(x, 1e-4)
    >>> bool(abs(value - np.log(1e4)) < 0.7), extrapolated
    (True, True)
    """
    if x.size * rate >= EMPIRICAL_FROM:
        return float(np.quantile(np.asarray(x, dtype=np.float64), 1.0 - rate)), False
    return tail_of(x).quantile(rate), True


def _beyond(start: float, scale: float, shape: float, ratio: float, largest: float) -> float:
    far = scale * np.log(ratio) if abs(shape) < 1e-6 else scale / shape * (ratio**shape - 1.0)
    return float(min(start + far, 2.0 * largest - start))


def _survival(far: float, shape: float) -> float:
    """Return the share of excesses beyond `far` scales."""
    return math.exp(-far) if abs(shape) < 1e-6 else max(1.0 + shape * far, 0.0) ** (-1.0 / shape)


def _fit_without_strays(excess: NDArray[np.float64]) -> tuple[float, float]:
    """Return scale and shape of a tail, not moved by a few values that do not belong to it."""
    scale, shape = fit_tail(excess, censored=math.ceil(CENSORED * excess.size))
    if scale <= 0.0:
        return scale, shape
    beyond = _survival(float(excess[-1]) / scale, shape)
    if -math.expm1(excess.size * math.log1p(-min(beyond, 0.5))) < IMPOSSIBLE:
        return scale, shape
    return fit_tail(excess)


def fit_tail(excess: NDArray[np.float64], *, censored: int = 0) -> tuple[float, float]:
    """Return scale and shape of a generalised Pareto distribution of excesses.

    Parameters
    ----------
    excess
        Values of at least 0, ascending.
    censored
        Of this many largest values it is only taken that they are at least as large as the next one.
    """
    from scipy.optimize import minimize_scalar

    censored = min(censored, excess.size - 1)
    seen = excess[: excess.size - censored]
    largest, mean = float(seen[-1]), float(seen.mean())
    if mean <= 0.0:
        return 0.0, 0.0

    def loss(log_scale: float, shape: float) -> float:
        scale = np.exp(log_scale)
        if abs(shape) < 1e-6:
            value = seen.size * log_scale + (seen.sum() + censored * largest) / scale
        else:
            value = seen.size * log_scale + (1.0 + 1.0 / shape) * np.log1p(shape * seen / scale).sum()
            value += censored / shape * np.log1p(shape * largest / scale)
        return float(value) + 0.5 * ((shape - SHAPE_MEAN) / SHAPE_SD) ** 2

    def best_scale(shape: float) -> tuple[float, float]:
        # Below this scale the distribution would end before the largest value seen.
        least = max(-shape * largest * (1 + 1e-9), mean / 20.0)
        best = minimize_scalar(
            loss, bounds=(np.log(least), np.log(max(20.0 * mean, 2 * least))), args=(shape,), method="bounded"
        )
        return float(best.fun), float(np.exp(best.x))

    best = minimize_scalar(lambda shape: best_scale(shape)[0], bounds=SHAPE_RANGE, method="bounded")
    return best_scale(float(best.x))[1], float(best.x)


def edge_quantile(x: NDArray[Any], rate: float) -> float:
    """Return the value that a share `rate` of the main population exceeds, though others lie far above it.

    A straight line of log share against value through the 90th and the 97th percentile, carried on to `rate`:
    exact for an exponential tail, half a standard deviation too far for a normal one, and hardly moved by one or
    two per cent of cells that belong to another population.
    """
    inner, outer = (float(q) for q in np.quantile(np.asarray(x, dtype=np.float64), EDGE))
    per_log_share = (outer - inner) / np.log((1.0 - EDGE[0]) / (1.0 - EDGE[1]))
    return float(outer + per_log_share * np.log((1.0 - EDGE[1]) / rate))
