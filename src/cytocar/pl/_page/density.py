"""Densities of many values from a histogram: a smooth curve in a time that does not depend on their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NARROWEST = 0.15
"""Smallest bandwidth in arcsinh units: no counts and one count lie 0.2 apart at a cofactor of 5."""


def density(
    values: NDArray[np.floating], *, bins: int = 128, narrowest: float = NARROWEST
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a Gaussian kernel density that tapers off above the largest value and does not go below 0.

    Values are counted in `bins` bins, and the counts are smoothed, over the range of the values and three
    bandwidths on both sides. Counts are not negative: where that range would pass 0 and no value does, it ends
    there, and the kernel is reflected. The bandwidth is Silverman's rule of thumb,
    0.9 min(SD, IQR / 1.34) n^(-1/5) (Silverman 1986, ISBN 978-0-412-24620-3).

    Parameters
    ----------
    values
        Finite numbers, at least one.
    bins
        Number of points of the curve.
    narrowest
        Lower limit of the bandwidth, in units of `values`.

    Returns
    -------
    Points and density at the points.

    Examples
    --------
    >>> x, y = density(np.random.default_rng(0).normal(size=1000))
    >>> round(float(np.trapezoid(y, x)), 2)
    1.0
    """
    values = np.asarray(values, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    spread = float(values.std())
    quartiles = np.quantile(values, [0.25, 0.75])
    iqr = float(quartiles[1] - quartiles[0]) / 1.34
    bandwidth = max(0.9 * (min(spread, iqr) if iqr > 0 else spread) * values.size**-0.2, narrowest)
    ends_at_zero = low >= 0 > low - 3 * bandwidth
    low = 0.0 if ends_at_zero else low - 3 * bandwidth
    high += 3 * bandwidth
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    step = edges[1] - edges[0]
    reach = min(int(np.ceil(4 * bandwidth / step)), bins)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / bandwidth) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(counts.astype(np.float64), reach)
    if ends_at_zero:
        padded[:reach] = counts[:reach][::-1]
    smooth = np.convolve(padded, kernel, mode="valid")
    centres = (edges[:-1] + edges[1:]) / 2
    # the curve reaches from end to end, not from the middle of the first bin to that of the last
    centres[0], centres[-1] = low, high
    return centres, smooth / (smooth.sum() * step)
