"""How far a tail quantile moves when the cells it comes from are drawn again: many fits at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar.gate._rules.kernels import pareto_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_STEPS, _HALVINGS, _ENOUGH = 12, 8, 1e-6
_LEAST_SHAPE = 1e-4


def resampled_tail(fitted: pareto_tail.Tail, rate: float, rng: np.random.Generator, draws: int) -> Floats:
    """Return `Tail.quantile` of `draws` bootstrap samples of the cells behind a fitted tail.

    A bootstrap sample is a number of copies of each cell; in the tail these are independent Poisson numbers
    (Hanley and MacGibbon 2006, doi 10.1016/j.cmpb.2006.04.006). All samples are fitted side by side, by Newton's
    method from the fit to all cells.

    Parameters
    ----------
    fitted
        The tail of all cells.
    rate
        Share that the value is to be exceeded by, of which fewer than 20 cells are expected.
    rng
        Source of the copies.
    draws
        Number of bootstrap samples.

    Returns
    -------
    Float64 array (draws,), in the units of the cells.
    """
    n, k = fitted.ordered.size, fitted.n_excess
    room = min(n, k + math.ceil(8 * math.sqrt(k)) + 20)
    falling = fitted.ordered[n - room :][::-1]
    copies = rng.poisson(1.0, (draws, room)).astype(np.float64)
    return quantiles_of_copies(falling, copies, fitted, rate)


def quantiles_of_copies(falling: Floats, copies: Floats, fitted: pareto_tail.Tail, rate: float) -> Floats:
    """Return the tail quantile of each row of `copies` (draws, cells), how often each of the largest cells is in it."""
    n, k = fitted.ordered.size, fitted.n_excess
    rows = np.arange(copies.shape[0])
    so_far = np.cumsum(copies, axis=1)
    at = np.minimum((so_far <= k).sum(axis=1), falling.size - 1)
    start = falling[at]
    excess = np.maximum(falling[None, :] - start[:, None], 0.0)
    # Of the cell at the start itself only as many copies are excesses as are needed to make k.
    weight = np.minimum(copies, np.maximum(k - (so_far - copies), 0.0))
    largest = excess[rows, (so_far > 0).argmax(axis=1)]

    censored = min(math.ceil(pareto_tail.CENSORED * k), k - 1)
    edge = excess[rows, (so_far > censored).argmax(axis=1)]
    seen = np.minimum(weight, np.maximum(so_far - censored, 0.0))
    scale, shape = _fit_rows(excess, seen, edge, censored, fitted)
    far = largest / scale
    beyond = np.maximum(1.0 + shape * far, 0.0) ** (-1.0 / shape)
    stray = -np.expm1(k * np.log1p(-np.minimum(beyond, 0.5))) < pareto_tail.IMPOSSIBLE
    if not stray.all():
        whole = ~stray
        scale[whole], shape[whole] = _fit_rows(excess[whole], weight[whole], largest[whole], 0, fitted)
    far = scale / shape * ((k / (n * rate)) ** shape - 1.0)
    return np.asarray(start + np.minimum(far, 2.0 * largest))


def _fit_rows(
    excess: Floats, weight: Floats, largest: Floats, censored: int, fitted: pareto_tail.Tail
) -> tuple[Floats, Floats]:
    """Return scale and shape for each row: the fit of `pareto_tail.fit_tail`, by Newton's method with halved steps."""
    rows = excess.shape[0]
    edge = np.maximum(np.where(weight > 0, excess, 0.0).max(axis=1), largest if censored else 0.0)
    sums = _Sums(excess, weight, largest, float(censored))
    shape = _off_zero(np.full(rows, fitted.shape))
    # Below this scale the distribution would end before the largest value seen.
    least = np.maximum(-shape * edge * 1.05, 1e-9)
    log_scale = np.log(np.maximum(max(fitted.scale, 1e-9), least))
    loss = sums.loss(log_scale, shape)
    for _ in range(_STEPS):
        step_scale, step_shape = sums.step(log_scale, shape)
        moved = np.zeros(rows, dtype=bool)
        for _ in range(_HALVINGS):
            tried_scale = log_scale - step_scale
            tried_shape = _off_zero(np.clip(shape - step_shape, *pareto_tail.SHAPE_RANGE))
            tried = sums.loss(tried_scale, tried_shape)
            better = (tried < loss) & ~moved
            log_scale, shape = np.where(better, tried_scale, log_scale), np.where(better, tried_shape, shape)
            gain = np.where(better, loss - tried, 0.0)
            loss = np.where(better, tried, loss)
            moved |= better
            if moved.all():
                break
            step_scale, step_shape = (np.where(moved, 0.0, step / 2) for step in (step_scale, step_shape))
        if gain.max(initial=0.0) < _ENOUGH:
            break
    return np.exp(log_scale), shape


def _off_zero(shape: Floats) -> Floats:
    return np.where(np.abs(shape) < _LEAST_SHAPE, -_LEAST_SHAPE, shape)


@dataclass(frozen=True, eq=False)
class _Sums:
    """The penalised likelihood of many weighted samples of excesses (rows, cells), and its Newton step."""

    excess: Floats
    weight: Floats
    largest: Floats
    censored: float

    def loss(self, log_scale: Floats, shape: Floats) -> Floats:
        """Return minus the log likelihood of each row; infinite where an excess lies beyond the end."""
        inverse = np.exp(-log_scale)
        end = 1.0 + shape * self.largest * inverse
        ends = 1.0 + self.excess * (shape * inverse)[:, None]
        inside = (end > 0) & ~((ends <= 0) & (self.weight > 0)).any(axis=1)
        log_sum = np.einsum("ij,ij->i", self.weight, np.log(np.maximum(ends, 1e-300)))
        value = self.weight.sum(axis=1) * log_scale + (1.0 + 1.0 / shape) * log_sum
        value = value + self.censored / shape * np.log(np.maximum(end, 1e-300))
        return np.where(
            inside, value + 0.5 * ((shape - pareto_tail.SHAPE_MEAN) / pareto_tail.SHAPE_SD) ** 2, np.inf
        )

    def step(self, log_scale: Floats, shape: Floats) -> tuple[Floats, Floats]:
        """Return what Newton's method takes off log scale and shape; a step of the gradient where it would climb."""
        inverse = np.exp(-log_scale)
        far = self.excess * inverse[:, None]
        ends = np.maximum(1.0 + shape[:, None] * far, 1e-12)
        part = far / ends
        ratio = self.weight * part
        count = self.weight.sum(axis=1)
        log_sum = np.einsum("ij,ij->i", self.weight, np.log(ends))
        first, second = ratio.sum(axis=1), np.einsum("ij,ij->i", ratio, part)
        curved = first - shape * second
        a = 1.0 + 1.0 / shape
        slope_scale = count - a * shape * first
        slope_shape = a * first - log_sum / shape**2
        bend_scale = a * shape * curved
        bend_shape = 2.0 * log_sum / shape**3 - 2.0 * first / shape**2 - a * second
        bend_both = first / shape - a * (first - shape * second)
        if self.censored:
            end = np.maximum(1.0 + shape * self.largest * inverse, 1e-12)
            log_end, part_end = np.log(end), self.largest * inverse / end
            slope_scale -= self.censored * part_end
            slope_shape += self.censored * (part_end / shape - log_end / shape**2)
            bend_scale += self.censored * part_end / end
            bend_both += self.censored * part_end**2
            bend_shape += self.censored * (
                2 * log_end / shape**3 - 2 * part_end / shape**2 - part_end**2 / shape
            )
        slope_shape += (shape - pareto_tail.SHAPE_MEAN) / pareto_tail.SHAPE_SD**2
        bend_shape += 1.0 / pareto_tail.SHAPE_SD**2
        determinant = bend_scale * bend_shape - bend_both**2
        good = (determinant > 0) & (bend_scale > 0)
        safe = np.where(good, determinant, 1.0)
        step_scale = (bend_shape * slope_scale - bend_both * slope_shape) / safe
        step_shape = (bend_scale * slope_shape - bend_both * slope_scale) / safe
        return (
            np.where(good, step_scale, slope_scale / np.maximum(count, 1.0)),
            np.where(good, step_shape, slope_shape * pareto_tail.SHAPE_SD**2 / 4),
        )


def resampled_order(
    ordered: NDArray[Any], shares: tuple[float, ...], rng: np.random.Generator, draws: int
) -> Floats:
    """Return quantiles of `draws` bootstrap samples (draws, quantiles): order statistics of uniform numbers.

    Parameters
    ----------
    ordered
        The values, ascending.
    shares
        Shares of the values that lie below each quantile, ascending.
    rng, draws
        Source and number of the samples.
    """
    n = ordered.size
    uniform = np.empty((draws, len(shares)))
    upper = np.ones(draws)
    above = 1.0
    # From the top down: below a given order statistic the others are those of fewer uniform numbers.
    for column in range(len(shares) - 1, -1, -1):
        share = shares[column]
        upper = upper * rng.beta(
            max(share * n, 1e-9), (above - share) * n + (1.0 if above == 1.0 else 0.0), draws
        )
        above = share
        uniform[:, column] = upper
    at = np.clip(uniform * (n - 1), 0, n - 1)
    below = np.floor(at).astype(np.int64)
    left, right = ordered[below], ordered[np.minimum(below + 1, n - 1)]
    return np.asarray(left + (at - below) * (right - left), dtype=np.float64)


def resampled_edge(values: NDArray[Any], rate: float, rng: np.random.Generator, draws: int) -> Floats:
    """Return `pareto_tail.edge_quantile` of `draws` bootstrap samples of some cells."""
    inner, outer = resampled_order(
        np.sort(np.asarray(values, dtype=np.float64)), pareto_tail.EDGE, rng, draws
    ).T
    first, last = (1.0 - share for share in pareto_tail.EDGE)
    return np.asarray(outer + (outer - inner) / np.log(first / last) * np.log(last / rate))
