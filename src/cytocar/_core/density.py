"""One-dimensional densities from histograms, and the valley between two humps, however unequal they are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Widths tried in the search for a valley, in the units of x. Below 0.1 single counts show as a comb in
# arcsinh(x/5); above 0.3 the humps of antibodies (SD 0.3 to 0.5) begin to melt into each other.
BANDWIDTHS = (0.1, 0.14, 0.2, 0.28)
PER_BANDWIDTH = 5
_MOST_BINS = 8192
# A Gaussian kernel of width h averages over as many events as a box of width 2 sqrt(pi) h.
BOX = 2.0 * np.sqrt(np.pi)


@dataclass(frozen=True)
class Valley:
    """The lowest place of a density between two humps.

    Parameters
    ----------
    value
        Where it is, in the units of the data: the middle of the stretch that is as low as the lowest point
        as far as the number of events can tell.
    depth
        One minus the density in the valley over the density of the lower hump: 1 is empty, 0 no valley.
    confidence
        The depth that is left, 0 to 1, when the hump is lower and the valley higher by three Poisson standard
        errors each.
    grid, density
        The density it was seen in.
    left_mode, right_mode
        Where the humps on its sides are highest.
    n_left, n_right
        Events that make up these two humps, each as far as the next valley.
    bandwidth
        Standard deviation of the Gaussian that the density was smoothed with.
    """

    value: float
    depth: float
    confidence: float
    grid: NDArray[np.float64]
    density: NDArray[np.float64]
    left_mode: float
    right_mode: float
    n_left: int
    n_right: int
    bandwidth: float


def _values(x: ArrayLike) -> NDArray[np.floating]:
    values = np.asarray(x)
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    values = values.ravel()
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise ParameterError(f"{bad} of {values.size} values are not finite; leave them out before a density")
    return values


def histogram(
    values: NDArray[np.floating], width: float, margin: float
) -> tuple[NDArray[np.float64], float, float]:
    """Return counts per bin of at most `width`, the centre of the first bin and the width it came to.

    `margin` is left free on both sides.
    """
    low, high = float(values.min()) - margin, float(values.max()) + margin
    bins = min(max(int(np.ceil((high - low) / width)), 16), _MOST_BINS)
    width = (high - low) / bins
    at = ((values - values.dtype.type(low)) * values.dtype.type(1.0 / width)).astype(np.int32)
    np.clip(at, 0, bins - 1, out=at)
    return np.bincount(at, minlength=bins).astype(np.float64), low + width / 2, width


def smooth(counts: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Smooth by a Gaussian whose standard deviation is `sigma` bins; nothing lies outside."""
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    full = np.convolve(counts, kernel / kernel.sum())
    return full[reach : reach + counts.size]


def histogram_density(
    x: ArrayLike, *, bins: int = 512, bandwidth: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a Gaussian kernel density of `x` by smoothing a histogram: fast for any number of events.

    Parameters
    ----------
    x
        Finite values, any shape.
    bins
        Points of the grid, at least 16.
    bandwidth
        Standard deviation of the Gaussian, in units of `x`. `None`: 0.9 s n^(-1/5), with s the smaller of the
        standard deviation and IQR / 1.34 (Silverman 1986, Density Estimation, eq. 3.31), within 0.05 to 0.3.

    Returns
    -------
    grid, density
        Float64 arrays of `bins` points; the density integrates to 1. Both are empty where `x` is.

    Raises
    ------
    ParameterError
        A value is not finite, or `bins` or `bandwidth` is out of range.

    Examples
    --------
    >>> grid, density = histogram_density([0.0, 0.0, 3.0], bandwidth=0.2)
    >>> round(float((density * (grid[1] - grid[0])).sum()), 3)
    1.0
    """
    values = _values(x)
    if bins < 16:
        raise ParameterError(f"bins is {bins}; a density needs at least 16")
    if bandwidth is not None and not bandwidth > 0:
        raise ParameterError(f"bandwidth is {bandwidth}; it must be above 0")
    if values.size == 0:
        return np.empty(0), np.empty(0)
    if bandwidth is None:
        quartiles = np.percentile(values, [25, 75])
        spread = float(values.std(dtype=np.float64))
        middle = float(quartiles[1] - quartiles[0]) / 1.34
        scale = min(spread, middle) if middle > 0 else spread
        bandwidth = float(np.clip(0.9 * scale * values.size**-0.2, 0.05, 0.3))
    margin = 4 * bandwidth
    width = (float(values.max()) - float(values.min()) + 2 * margin) / bins
    counts, first, width = histogram(values, width * (1 - 1e-12), margin)
    counts, first = counts[:bins], first
    density = smooth(counts, bandwidth / width) / (values.size * width)
    return first + width * np.arange(density.size, dtype=np.float64), density


def _turns(level: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Return the positions of the local maxima, and of the minima between them."""
    step = np.sign(np.diff(level))
    moving = np.flatnonzero(step)
    if moving.size == 0:
        return [int(np.argmax(level))], []
    direction = step[moving]
    change = np.flatnonzero(np.diff(direction))
    peaks: list[int] = []
    valleys: list[int] = []
    if direction[0] < 0:
        peaks.append(0)
    for i in change:
        # between the last step one way and the first step the other way the level may be flat
        middle = int((moving[i] + 1 + moving[i + 1]) // 2)
        (peaks if direction[i] > 0 else valleys).append(middle)
    if direction[-1] > 0:
        peaks.append(level.size - 1)
    return peaks, valleys


def _significance(peak: float, valley: float) -> float:
    """Return how many standard errors apart two Poisson counts are, by square roots (Anscombe 1948)."""
    return float(np.sqrt(2.0) * (np.sqrt(peak + 0.375) - np.sqrt(valley + 0.375)))


def humps(
    level: NDArray[np.float64],
    events: NDArray[np.float64],
    *,
    least_z: float,
    least_depth: float,
    least_events: float,
) -> tuple[list[int], list[int]]:
    """Return the maxima that stand out and the minima between them; the least of the others goes first."""
    peaks, valleys = _turns(level)
    below = np.concatenate([[0.0], np.cumsum(events)])
    while valleys:
        edges = [0, *valleys, level.size]
        worst, drop = np.inf, (0, 0)
        for i, valley in enumerate(valleys):
            side = i if level[peaks[i]] <= level[peaks[i + 1]] else i + 1
            peak = float(level[peaks[side]])
            depth = 1.0 - float(level[valley]) / peak
            standing = _significance(peak, float(level[valley])) / least_z
            standing = min(standing, depth / least_depth) if least_depth > 0 else standing
            if standing < worst:
                worst, drop = standing, (i, side)
        if worst >= 1.0:
            sizes = [below[b] - below[a] for a, b in itertools.pairwise(edges)]
            side = int(np.argmin(sizes))
            if sizes[side] >= least_events:
                break
            left = level[valleys[side - 1]] if side > 0 else -np.inf
            right = level[valleys[side]] if side < len(valleys) else -np.inf
            drop = (side - 1 if left >= right else side, side)
        del valleys[drop[0]], peaks[drop[1]]
    return peaks, valleys


def _floor(level: NDArray[np.float64], at: int, left: int, right: int) -> int:
    """Return the middle of the stretch around a minimum that Poisson noise cannot tell from it.

    Where nothing was seen, up to 3 events are expected at 95 %; the flank of the lower hump is no part of it.
    """
    few = min(max(3.0, float(np.sqrt(level[at]))), 0.2 * float(min(level[left], level[right])))
    limit = level[at] + few
    low = high = at
    while low - 1 > left and level[low - 1] <= limit:
        low -= 1
    while high + 1 < right and level[high + 1] <= limit:
        high += 1
    return (low + high) // 2


def find_valleys(
    x: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    bandwidth: float | None = None,
    min_depth: float = 0.1,
    min_events: int = 20,
    min_z: float = 3.5,
) -> list[Valley]:
    """Return every valley of the density of `x` between two humps that stand out, from left to right.

    The density is a histogram smoothed by a Gaussian. A hump stands out from the valley beside it by Poisson
    errors of the events under the kernel, not by its height, so that a hump of 0.2 % of the cells is seen
    beside one of 99 %; a mere shoulder or a clump in a tail is not.

    Parameters
    ----------
    x
        Finite values, in units in which a hump has an SD of about 0.1 to 0.6 (arcsinh units), unless
        `bandwidth` is given.
    low, high
        Only valleys between these values are returned; humps may lie outside.
    bandwidth
        Standard deviation of the Gaussian. `None` tries 0.1, 0.14, 0.2 and 0.28, and keeps the one whose best
        valley has the highest confidence.
    min_depth
        Least `Valley.depth`, 0 to below 1.
    min_events
        Least number of events of a hump.
    min_z
        Least difference between hump and valley, in standard errors.

    Returns
    -------
    List of `Valley`, empty where there is one hump only.

    Raises
    ------
    ParameterError
        A value is not finite or an argument is out of range.

    Examples
    --------
    >>> import numpy
    >>> rng = numpy.random.default_rng(0)
    >>> humps = numpy.concatenate([rng.normal(0, 0.3, 5000), rng.normal(4, 0.4, 50)])
    >>> [(1 < valley.value < 3.2, valley.confidence > 0.5) for valley in find_valleys(humps)]
    [(True, True)]
    """
    values = _values(x)
    if bandwidth is not None and not bandwidth > 0:
        raise ParameterError(f"bandwidth is {bandwidth}; it must be above 0")
    if low is not None and high is not None and not low < high:
        raise ParameterError(f"low is {low} and high is {high}; low must be below high")
    if not 0 <= min_depth < 1:
        raise ParameterError(f"min_depth is {min_depth}; it must be at least 0 and below 1")
    if values.size < 2 * max(min_events, 1):
        return []
    widths = BANDWIDTHS if bandwidth is None else (bandwidth,)
    margin = 4 * max(widths)
    events, first, step = histogram(values, min(widths) / PER_BANDWIDTH, margin)
    grid = first + step * np.arange(events.size, dtype=np.float64)
    lowest, highest = -np.inf if low is None else low, np.inf if high is None else high
    best: list[Valley] = []
    for width in widths:
        valleys = [
            valley
            for valley in _valleys_at(
                width, step, events, grid, least_z=min_z, least_depth=min_depth, least_events=min_events
            )
            if lowest <= valley.value <= highest
        ]
        if _highest_confidence(valleys) > _highest_confidence(best):
            best = valleys
    return best


def _highest_confidence(valleys: list[Valley]) -> float:
    return max((valley.confidence for valley in valleys), default=-1.0)


def _valleys_at(
    width: float,
    step: float,
    events: NDArray[np.float64],
    grid: NDArray[np.float64],
    *,
    least_z: float,
    least_depth: float,
    least_events: float,
) -> list[Valley]:
    """Return the valleys of a histogram with bins of `step` that is smoothed by a Gaussian of one width."""
    smoothed = smooth(events, max(width / step, 0.5))
    density = smoothed / (events.sum() * step)
    level = smoothed * (BOX * width / step)
    below = np.concatenate([[0.0], np.cumsum(events)])
    peaks, troughs = humps(level, events, least_z=least_z, least_depth=least_depth, least_events=least_events)
    edges = [0, *troughs, grid.size]
    valleys = []
    for i, trough in enumerate(troughs):
        peak = float(min(level[peaks[i]], level[peaks[i + 1]]))
        bottom = float(level[trough])
        least_peak = max(peak - 3 * np.sqrt(peak), 1e-9)
        most_bottom = bottom + 3 * np.sqrt(bottom)
        valleys.append(
            Valley(
                value=float(grid[_floor(level, trough, peaks[i], peaks[i + 1])]),
                depth=1.0 - bottom / peak,
                confidence=float(np.clip(1.0 - most_bottom / least_peak, 0.0, 1.0)),
                grid=grid,
                density=density,
                left_mode=float(grid[peaks[i]]),
                right_mode=float(grid[peaks[i + 1]]),
                n_left=int(below[edges[i + 1]] - below[edges[i]]),
                n_right=int(below[edges[i + 2]] - below[edges[i + 1]]),
                bandwidth=float(width),
            )
        )
    return valleys


def find_valley(
    x: ArrayLike,
    *,
    low: float | None = None,
    high: float | None = None,
    bandwidth: float | None = None,
    min_depth: float = 0.1,
    min_events: int = 20,
    min_z: float = 3.5,
) -> Valley | None:
    """Return the valley of the density of `x` with the highest confidence, or `None` where there is none.

    Parameters
    ----------
    x, low, high, bandwidth, min_depth, min_events, min_z
        As in `find_valleys`.

    Returns
    -------
    `Valley`, or `None` where the density has one hump only or no valley lies between `low` and `high`.

    Raises
    ------
    ParameterError
        A value is not finite or an argument is out of range.

    Examples
    --------
    >>> import numpy
    >>> rng = numpy.random.default_rng(0)
    >>> find_valley(rng.normal(4, 0.4, 1000)) is None
    True
    """
    found = find_valleys(
        x,
        low=low,
        high=high,
        bandwidth=bandwidth,
        min_depth=min_depth,
        min_events=min_events,
        min_z=min_z,
    )
    return max(found, key=lambda valley: valley.confidence, default=None)
