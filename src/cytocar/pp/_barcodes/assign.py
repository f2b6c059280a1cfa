"""The arithmetic of single-cell debarcoding, on arrays; it knows no AnnData."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COFACTOR: Final = 10.0
STEPS: Final = 100
# Share of the yield that is lost per unit of separation: above it the plateau has ended.
_LEAVING: Final = 0.1
# With fewer events a curve of yields is a staircase, and a fit to it says nothing.
FEWEST_FOR_AUTO: Final = 50
# Rows at a time: sorting makes several temporaries of the size of its input.
_ROWS: Final = 131_072
# Values are counted in steps of 2^-14 (6e-5 arcsinh units) for means and covariances. Sums of whole numbers do
# not depend on the order of the events, sums of fractions do.
_GRID: Final = 2.0**14


@dataclass(frozen=True)
class Estimate:
    """A cut-off found in a curve of yields, and the two it is the weighted mean of."""

    value: float
    curve: float
    line: float
    weight_of_line: float


def cutoffs() -> NDArray[np.float64]:
    """Return the cut-offs at which yields are counted: 0 to 1 by 0.01."""
    return np.arange(STEPS + 1) / STEPS


def assign(
    counts: NDArray[np.floating], codes: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Return the code of each event (-1: none of the key), its gap, and arcsinh(counts / 10).

    For each number s of positives in the key, the s strongest channels are the code, and the gap is between the
    s-th and the next. No code of a key lies within another, so at most one s gives a code of the key. Where the
    s-th and the next are equal, which is positive cannot be determined: no code.

    Parameters
    ----------
    counts
        Events x barcode channels, finite.
    codes
        Populations x barcode channels, in the same order of channels; at most 62 channels.
    """
    n, m = counts.shape
    values = np.arcsinh(counts.astype(np.float64) / COFACTOR)
    bit = np.left_shift(np.int64(1), np.arange(m, dtype=np.int64))
    code_bits = codes.astype(np.int64) @ bit
    by_bits = np.argsort(code_bits)
    sorted_bits = code_bits[by_bits]
    population = np.full(n, -1, dtype=np.int32)
    gap = np.full(n, np.nan)
    for start in range(0, n, _ROWS):
        block = slice(start, start + _ROWS)
        order = np.argsort(values[block], axis=1)[:, ::-1]
        ranked = np.take_along_axis(values[block], order, axis=1)
        top = np.cumsum(bit[order], axis=1)
        for size in np.unique(codes.sum(axis=1)).tolist():
            nearest = np.minimum(np.searchsorted(sorted_bits, top[:, size - 1]), sorted_bits.size - 1)
            step = ranked[:, size - 1] - ranked[:, size]
            valid = (sorted_bits[nearest] == top[:, size - 1]) & (step > 0)
            population[block][valid] = by_bits[nearest[valid]]
            gap[block][valid] = step[valid]
    return population, gap, values


def scale_of(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the 95th percentile of the positive channels of one population; 0 where it has no signal."""
    if not len(values):
        return 0.0
    return max(float(np.percentile(values[:, positive], 95)), 0.0)


def yields(separation: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many events have at least each of the `cutoffs`."""
    ranked = np.sort(separation)
    return (ranked.size - np.searchsorted(ranked, cutoffs(), side="left")).astype(np.int64)


def squared_distances(values: NDArray[np.float64], core: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return the squared Mahalanobis distance of each row from the rows in `core`; `None` if these are too few.

    Channels that do not vary, or only together, are left out of the distance (pseudo-inverse).
    """
    n, m = int(np.count_nonzero(core)), values.shape[1]
    if n <= m:
        return None
    whole = np.rint(values[core] * _GRID).astype(np.int64)
    # Python integers, since the products may not fit 64 bits.
    total = whole.sum(axis=0).astype(object)
    products = (whole.T @ whole).astype(object)
    scatter = n * products - np.outer(total, total)
    covariance = (scatter / (n * (n - 1) * int(_GRID) ** 2)).astype(np.float64)
    centre = (total / (n * int(_GRID))).astype(np.float64)
    precision = np.linalg.pinv(covariance, rcond=1e-8, hermitian=True)
    away = values - centre
    # A matrix product may round a row differently at another place in the matrix; these sums do not.
    squared = np.zeros(len(values))
    for i in range(m):
        for j in range(i + 1):
            squared += (precision[i, j] + precision[j, i] * (i != j)) * away[:, i] * away[:, j]
    return np.maximum(squared, 0.0)


def _leaves_plateau(b: float, e: float) -> float:
    """Return the smallest x at which |f'| / f of the log-logistic curve is above `_LEAVING`; 1 if nowhere."""
    x = np.linspace(0.0, 1.0, 1001)[1:]
    u = (x / e) ** b
    leaving = np.flatnonzero(b / x * u / (1 + u) > _LEAVING)
    return float(x[leaving[0]]) if leaving.size else 1.0


def estimate_cutoff(remaining: NDArray[np.int64]) -> Estimate | None:
    """Return the cut-off at which a curve of yields leaves its plateau; `None` where no curve can be fitted.

    A three-parameter log-logistic curve and a line are fitted to the share that remains. The cut-off is the mean
    of two: where the curve begins to fall, and half-way to where the line is 0; each weighs as much as the
    residual sum of squares of the other fit.
    """
    if remaining[0] < FEWEST_FOR_AUTO:
        return None
    from scipy.optimize import curve_fit

    x = cutoffs()
    y = remaining / remaining[0]

    def curve(x: NDArray[np.float64], b: float, d: float, e: float) -> NDArray[np.float64]:
        return np.asarray(d / (1 + (x / e) ** b))

    half = float(x[int(np.argmin(np.abs(y - 0.5)))])
    try:
        (b, d, e), _ = curve_fit(
            curve, x, y, p0=(4.0, 1.0, max(half, 0.05)), bounds=((0.1, 0.01, 0.005), (60.0, 2.0, 5.0))
        )
    except RuntimeError:
        return None
    slope, height = np.polyfit(x, y, 1)
    rss_curve = float(((y - curve(x, b, d, e)) ** 2).sum())
    rss_line = float(((y - (height + slope * x)) ** 2).sum())
    fall = _leaves_plateau(float(b), float(e))
    if slope >= 0 or rss_curve + rss_line == 0:
        return Estimate(fall, fall, float("nan"), 0.0)
    line = float(np.clip(-height / (2 * slope), 0.0, 1.0))
    weight = rss_curve / (rss_curve + rss_line)
    return Estimate((1 - weight) * fall + weight * line, fall, line, weight)
