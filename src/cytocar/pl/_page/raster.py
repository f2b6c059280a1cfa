"""Millions of events as pixels: counted per pixel, then shaded, in a time that matplotlib needs for one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHADES = ("log", "equal")
_BLOCK = 131_072
"""Events counted at a time, so that what lies between them and the pixels stays in the cache."""
_LOOKED_AT = 50_000


def pixels(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    bins: int,
) -> NDArray[np.int64]:
    """Count events in square pixels; what lies beyond a range is counted at its edge, and NaN nowhere.

    Parameters
    ----------
    x, y
        Values of the events.
    x_range, y_range
        Lower and upper end of the picture, the upper above the lower.
    bins
        Pixels along each side.

    Returns
    -------
    Counts, rows (y, upwards) x columns (x).

    Examples
    --------
    >>> pixels(np.array([0.1, 0.9, 7.0]), np.array([0.1, 0.1, 0.9]), (0, 1), (0, 1), 2).tolist()
    [[1, 1], [0, 1]]
    """
    counts = np.zeros(bins * bins, dtype=np.int64)
    for start in range(0, len(x), _BLOCK):
        block = slice(start, start + _BLOCK)
        columns, has_column = _pixel_of(x[block], x_range, bins)
        rows, has_row = _pixel_of(y[block], y_range, bins)
        at = rows * bins + columns
        inside = has_column & has_row
        counts += np.bincount(at if inside.all() else at[inside], minlength=bins * bins)
    return counts.reshape(bins, bins)


def _pixel_of(
    values: NDArray[np.floating], ends: tuple[float, float], bins: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    low, high = ends
    finite = ~np.isnan(values)
    scaled = (np.where(finite, values, low) - low) * (bins / (high - low))
    return np.clip(scaled, 0, bins - 1).astype(np.int32), finite


def shade(counts: NDArray[np.int64], how: str = "log") -> NDArray[np.float64]:
    """Turn counts into shades from 0 (one event) to 1 (the fullest pixel), NaN where there are no events.

    ``log``: by the logarithm of the count. ``equal``: by its rank among the pixels with events, so that every shade
    covers about the same area and faint populations stand out as much as dense ones.

    Examples
    --------
    >>> shade(np.array([[0, 1], [10, 100]])).round(2).tolist()
    [[nan, 0.0], [0.5, 1.0]]
    """
    checks.one_of(how, "shade", SHADES)
    shades = np.full(counts.shape, np.nan)
    filled = counts > 0
    if not filled.any():
        return shades
    if how == "log":
        most = max(int(counts.max()), 2)
        shades[filled] = np.log(counts[filled]) / np.log(most)
        return shades
    _, where, times = np.unique(counts[filled], return_inverse=True, return_counts=True)
    if len(times) == 1:
        shades[filled] = 0.0
        return shades
    middle = np.cumsum(times) - times / 2
    shades[filled] = ((middle - middle[0]) / (middle[-1] - middle[0]))[where]
    return shades


def ends_of(values: NDArray[np.floating], *, least: float = 1.0) -> tuple[float, float]:
    """Return between which two values a picture shows nearly all events: all but 1 in 5,000 on either side.

    Of many events only evenly spaced ones are looked at, always the same.

    Examples
    --------
    >>> low, high = ends_of(np.linspace(0, 5, 1000))
    >>> round(low, 1), round(high, 1)
    (-0.2, 5.2)
    """
    some = values[:: max(1, len(values) // _LOOKED_AT)]
    some = some[np.isfinite(some)]
    if not len(some):
        return 0.0, least
    low, high = (float(q) for q in np.quantile(some, [0.0002, 0.9998]))
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    room = 0.04 * (high - low)
    return low - room, high + room


def fineness(n: float, most: int) -> int:
    """Return how many pixels along a side suit a number of events: single events stay large enough to be seen.

    Examples
    --------
    >>> fineness(200, 160), fineness(1_000_000, 160)
    (64, 160)
    """
    return int(np.clip(round(1.3 * np.sqrt(n)), min(64, most), most))
