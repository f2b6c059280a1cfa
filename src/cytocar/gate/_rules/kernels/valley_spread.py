"""How far a valley moves when the cells it was found in are drawn again: all samples from one histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import density

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# As in `density.find_valleys`; a hump this share as clear may pass in a sample.
_LEAST_Z, _LEAST_DEPTH, _LEAST_EVENTS, _FAINT = 3.5, 0.1, 20.0, 0.6


@dataclass(frozen=True, eq=False)
class _LowestStretch:
    """The lowest stretch between two humps in each sample: its middle, and how clear it is."""

    at: NDArray[np.intp]
    confidence: Floats
    depth: Floats
    standing: Floats


def resampled_valley(
    values: NDArray[Any],
    rng: np.random.Generator,
    draws: int,
    *,
    low: float | None,
    high: float | None,
    min_confidence: float = 0.0,
) -> Floats:
    """Return where the clearest valley lies in each of `draws` bootstrap samples; NaN where a sample has none.

    In a bootstrap sample the counts of the bins are independent Poisson numbers around those that were seen. Between
    neighbouring humps of all cells, those included that are too faint to count there, and at each width of
    smoothing, the lowest place is looked for as `cytocar._core.density.find_valleys` does; of those that pass its
    tests in the sample, the one with the highest confidence is taken.

    Parameters
    ----------
    values
        Arcsinh values (cells,).
    rng
        Source of the samples.
    draws
        Number of samples.
    low, high
        The range in which the valley must lie; None is open.
    min_confidence
        With less than this, a sample has no valley.

    Returns
    -------
    Float64 array (draws,), arcsinh units.
    """
    widths = density.BANDWIDTHS
    events, first, step = density.histogram(values, min(widths) / density.PER_BANDWIDTH, 4 * max(widths))
    grid = first + step * np.arange(events.size)
    counts = np.vstack([events, rng.poisson(events, (draws, events.size))]).astype(np.float64)
    below = np.concatenate([np.zeros((draws, 1)), np.cumsum(counts[1:], axis=1)], axis=1)
    inside = (grid >= (-np.inf if low is None else low)) & (grid <= (np.inf if high is None else high))
    best = np.full(draws, max(min_confidence, 1e-9))
    numbers = np.full(draws, np.nan)
    for width in widths:
        sigma = max(width / step, 0.5)
        level = smooth_rows(counts, sigma) * (density.BOX * width / step)
        for _, trough, _, start, end in _pairs(level[0], events):
            if not inside[start : end + 1].any():
                continue
            lowest = _lowest(level[1:, start : end + 1], trough - start)
            at = lowest.at + start
            rows = np.arange(draws)
            sizes = (below[rows, at] - below[:, start], below[:, end + 1] - below[rows, at])
            stands = (lowest.standing >= _LEAST_Z) & (lowest.depth >= _LEAST_DEPTH)
            stands &= np.minimum(*sizes) >= _LEAST_EVENTS
            better = inside[at] & stands & (lowest.confidence >= best)
            best[better], numbers[better] = lowest.confidence[better], grid[at[better]]
    return numbers


def _pairs(level: Floats, events: Floats) -> set[tuple[int, int, int, int, int]]:
    """Return the neighbouring humps of all cells: left mode, trough, right mode, and where the pair starts and ends."""
    pairs = set()
    for share in (1.0, _FAINT):
        peaks, troughs = density.humps(
            level,
            events,
            least_z=share * _LEAST_Z,
            least_depth=share * _LEAST_DEPTH,
            least_events=share * _LEAST_EVENTS,
        )
        edges = [0, *troughs, level.size - 1]
        pairs |= {(peaks[i], troughs[i], peaks[i + 1], edges[i], edges[i + 2]) for i in range(len(troughs))}
    return pairs


def smooth_rows(counts: Floats, sigma: float) -> Floats:
    """Smooth each row (rows, bins) by a Gaussian whose standard deviation is `sigma` bins; nothing lies outside."""
    bins = counts.shape[1]
    apart = np.arange(bins)
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    lookup = np.concatenate([kernel / kernel.sum(), [0.0]])
    offset = apart[None, :] - apart[:, None] + reach
    offset = np.where((offset < 0) | (offset > 2 * reach), 2 * reach + 1, offset)
    return np.asarray(counts @ lookup[offset])


def _lowest(level: Floats, trough: int) -> _LowestStretch:
    """Return for each row (rows, bins) the lowest stretch between two humps."""
    rows = np.arange(level.shape[0])
    bins = np.arange(level.shape[1])
    from_left = level[:, : trough + 1].argmax(axis=1)
    from_right = trough + level[:, trough:].argmax(axis=1)
    between = (bins >= from_left[:, None]) & (bins <= from_right[:, None])
    at = np.where(between, level, np.inf).argmin(axis=1)
    bottom = level[rows, at]
    peak = np.minimum(level[rows, from_left], level[rows, from_right])
    few = np.minimum(np.maximum(3.0, np.sqrt(bottom)), 0.2 * peak)
    high = (level > (bottom + few)[:, None]) | ~between
    start = np.where(high & (bins <= at[:, None]), bins, from_left[:, None]).max(axis=1) + 1
    end = np.where(high & (bins >= at[:, None]), bins, from_right[:, None]).min(axis=1) - 1
    least_peak = np.maximum(peak - 3 * np.sqrt(peak), 1e-9)
    confidence = np.clip(1.0 - (bottom + 3 * np.sqrt(bottom)) / least_peak, 0.0, 1.0)
    standing = np.sqrt(2.0) * (np.sqrt(peak + 0.375) - np.sqrt(bottom + 0.375))
    middle = (np.minimum(start, at) + np.maximum(end, at)) // 2
    return _LowestStretch(middle, confidence, 1.0 - bottom / np.maximum(peak, 1e-9), standing)
