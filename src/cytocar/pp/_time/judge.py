"""Unstable stretches of a run, found on arrays: signals of bins in the order of time, and what stands apart."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.density import find_valleys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

FEWEST_EVENTS: Final = 150
MOST_BINS: Final = 500
# With fewer bins there is no telling what is usual.
FEWEST_BINS: Final = 20
RATE: Final = "events/s"
# Smaller changes do no harm, however sure they are: 10 % of a signal, half as many events again per second.
_LEAST_SHIFT: Final = 0.1
_LEAST_RATE_SHIFT: Final = 0.4
# In a short run a few bins differ by chance, and a tree would part them: a change has to be this many times the
# noise from one bin to the next.
_TIMES_NOISE: Final = 3.0
# A median of fewer events tells more about chance than about the instrument.
_EVENTS_A_HUMP: Final = 20
# A hump that keeps less than this of its events is gone.
_GONE: Final = 0.2
_SMOOTH_BINS: Final = 1.5
_VALUES: Final = 1024
_PAUSE_S: Final = 5.0
_PAUSE_TIMES: Final = 200.0
NOT: Final = ""
BY: Final = ("IT", "MAD", "consecutive")


@dataclass(frozen=True)
class Stability:
    """Which bins are stable, and why the others are not.

    Parameters
    ----------
    stable
        Of shape (bins,).
    by
        ``IT``, ``MAD`` or ``consecutive`` for bins that are not stable, else ``""``.
    worst
        The trajectory that is farthest from usual in a bin.
    shift
        How far it is from its median there, in its own units.
    """

    stable: NDArray[np.bool_]
    by: list[str]
    worst: NDArray[np.intp]
    shift: NDArray[np.float64]


def bins_of(n: int, events_per_bin: int | None) -> NDArray[np.intp]:
    """Return the first event of every bin, and `n` at the end: as many events in each, the last up to twice as many."""
    wanted = max(FEWEST_EVENTS, -(-n // MOST_BINS)) if events_per_bin is None else events_per_bin
    bins = max(n // wanted, 1)
    return np.append(np.arange(bins, dtype=np.intp) * wanted, n).astype(np.intp)


def event_rate(time_s: NDArray[np.float64], edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the logarithm of events per second of each bin, the pauses left out."""
    step = np.diff(time_s, prepend=time_s[:1])
    moving = step[step > 0]
    if not moving.size:
        return np.zeros(edges.size - 1)
    usual = float(np.mean(moving[moving <= np.percentile(moving, 99)]))
    step[step > max(_PAUSE_S, _PAUSE_TIMES * usual)] = usual
    seconds = np.add.reduceat(step, edges[:-1])
    # a clock of milliseconds cannot tell shorter times
    return np.log(np.diff(edges) / np.maximum(seconds, 1e-3))


def hump_medians(
    values: NDArray[np.float32], of_bin: NDArray[np.intp], bins: int
) -> list[NDArray[np.float64]]:
    """Return the median of each hump of a channel's density in each bin; zeros are left out.

    The humps are those of all events, separated at the valleys, so that a hump is the same one in every bin. A hump
    with fewer than 20 events per bin is not followed. In a bin in which a hump has lost four fifths of its events,
    its signal is gone: 0.

    Parameters
    ----------
    values
        arcsinh(counts / 5) of shape (events,).
    of_bin
        Bin of each event.
    bins
        Number of bins.
    """
    seen = values > 0
    if np.count_nonzero(seen) < _EVENTS_A_HUMP * bins:
        return []
    x, at_bin = values[seen], of_bin[seen]
    sample = x[:: max(x.size // 100_000, 1)]
    cuts = [valley.value for valley in find_valleys(sample)]
    top = float(x.max()) * 1.0001
    step = top / _VALUES
    level = (x * np.float32(1 / step)).astype(np.int64)
    np.clip(level, 0, _VALUES - 1, out=level)
    counted = np.bincount(at_bin * _VALUES + level, minlength=bins * _VALUES).reshape(bins, _VALUES)
    borders = [0, *(min(max(round(cut / step), 1), _VALUES) for cut in cuts), _VALUES]
    medians = []
    for low, high in itertools.pairwise(borders):
        cumulative = np.cumsum(counted[:, low:high], axis=1)
        if not cumulative.size:
            continue
        events = cumulative[:, -1]
        usual = float(np.median(events))
        if usual < _EVENTS_A_HUMP:
            continue
        half = 0.5 * events
        level_at = np.argmax(cumulative >= np.maximum(half, 0.5)[:, None], axis=1)
        rows = np.arange(bins)
        below = np.where(level_at > 0, cumulative[rows, np.maximum(level_at - 1, 0)], 0)
        within = (half - below) / np.maximum(cumulative[rows, level_at] - below, 1)
        median = (low + level_at + within) * step
        medians.append(np.where(events < _GONE * usual, 0.0, median))
    return medians


def smooth(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return series over bins (bins, series) after a Gaussian over neighbouring bins; nothing lies outside."""
    reach = int(np.ceil(3 * _SMOOTH_BINS))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SMOOTH_BINS) ** 2)
    weight = np.convolve(np.ones(series.shape[0]), kernel)[reach : reach + series.shape[0]]
    columns = [np.convolve(column, kernel)[reach : reach + column.size] / weight for column in series.T]
    return np.stack(columns, axis=1)


def without_trend(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return series over bins less their straight trend, the median of the slopes between all pairs of bins.

    Up to a quarter of the bins may be far off without turning the line (Theil and Sen). At most 100 bins, evenly
    spread, say where it runs.
    """
    bins = series.shape[0]
    chosen = np.unique(np.linspace(0, bins - 1, min(bins, 100)).astype(np.intp))
    first, second = np.triu_indices(chosen.size, k=1)
    first, second = chosen[first], chosen[second]
    slopes = np.median((series[second] - series[first]) / (second - first)[:, None], axis=0)
    flat: NDArray[np.float64] = series - np.arange(bins)[:, None] * slopes
    return flat


def best_split(series: NDArray[np.float64], least: NDArray[np.float64]) -> tuple[float, NDArray[np.bool_]]:
    """Return the highest gain of all splits of the bins in two by one series, and which bins are above it.

    The gain is the part of the standard deviation that is gone in the mean of the two sides.
    """
    n = series.shape[0]
    order = np.argsort(series, axis=0, kind="stable")
    ordered = np.take_along_axis(series, order, axis=0)
    ordered = ordered - ordered.mean(axis=0)
    left_n = np.arange(1, n)[:, None]
    total, squares = np.cumsum(ordered, axis=0), np.cumsum(ordered**2, axis=0)
    sums = (total[:-1], total[-1] - total[:-1])
    powers = (squares[:-1], squares[-1] - squares[:-1])
    sides = []
    for side_n, side_sum, side_squares in zip((left_n, n - left_n), sums, powers, strict=True):
        deviations = np.maximum(side_squares - side_sum**2 / side_n, 0)
        sides.append(np.sqrt(deviations / np.maximum(side_n - 1, 1)))
    base = np.sqrt(np.maximum(squares[-1], 0) / (n - 1))
    gain = 1 - 0.5 * (sides[0] + sides[1]) / np.maximum(base, 1e-12)
    apart = sums[1] / (n - left_n) - sums[0] / left_n
    gain[apart < least] = -np.inf
    place, column = np.unravel_index(int(np.argmax(gain)), gain.shape)
    above = np.zeros(n, dtype=bool)
    above[order[place + 1 :, column]] = True
    return float(gain[place, column]), above


def isolated(series: NDArray[np.float64], least: NDArray[np.float64], *, limit: float) -> NDArray[np.bool_]:
    """Return which bins an isolation tree parts from most others.

    A node is split by the series and the place where the mean standard deviation of the two sides is least, as long
    as the gain is at least `limit`; the bins of the largest leaf are usual, all others are isolated. A drift that is
    even over the run gains 0.5 wherever it is split.

    Parameters
    ----------
    series
        Of shape (bins, series).
    least
        Smallest difference of means, by series, that two sides must have.
    limit
        Least gain, 0 to 1.
    """
    n = series.shape[0]
    leaves: list[NDArray[np.intp]] = []
    nodes = [(np.arange(n, dtype=np.intp), 0)]
    deepest = int(np.ceil(np.log2(max(n, 2))))
    while nodes:
        rows, depth = nodes.pop()
        if rows.size >= 3 and depth < deepest:
            gain, above = best_split(series[rows], least)
            if gain >= limit:
                nodes += [(rows[above], depth + 1), (rows[~above], depth + 1)]
                continue
        leaves.append(rows)
    usual = max(leaves, key=lambda rows: (rows.size, -int(rows[0])))
    apart = np.ones(n, dtype=bool)
    apart[usual] = False
    return apart


def fill_short(bad: NDArray[np.bool_], shortest: int) -> NDArray[np.bool_]:
    """Return the good bins that lie between bad ones in runs shorter than `shortest`."""
    filled = np.zeros(bad.size, dtype=bool)
    places = np.flatnonzero(bad)
    for before, after in itertools.pairwise(places.tolist()):
        if 1 < after - before <= shortest:
            filled[before + 1 : after] = True
    return filled


def judge(
    series: NDArray[np.float64], names: Iterable[str], *, mad: float, it_limit: float, consecutive_bins: int
) -> Stability:
    """Return which bins are stable by the isolation tree, the median absolute deviation, and their neighbours.

    Parameters
    ----------
    series
        One column a hump of a channel, or the event rate, of shape (bins, series).
    names
        Channel of each column.
    mad
        Distance from the median, in median absolute deviations scaled to standard deviations, that is too far.
    it_limit
        Least gain of a split of the isolation tree.
    consecutive_bins
        Fewer good bins than this between bad ones are bad too.
    """
    bins = series.shape[0]
    if bins < FEWEST_BINS or not series.shape[1]:
        return Stability(
            np.ones(bins, dtype=bool), [NOT] * bins, np.zeros(bins, dtype=np.intp), np.zeros(bins)
        )
    least = np.array([_LEAST_RATE_SHIFT if name == RATE else _LEAST_SHIFT for name in names])
    noise = 1.4826 * np.median(np.abs(np.diff(series, axis=0)), axis=0) / np.sqrt(2.0)
    least = np.maximum(least, _TIMES_NOISE * noise)
    smoothed = without_trend(smooth(series))
    shift = smoothed - np.median(smoothed, axis=0)
    spread = 1.4826 * np.median(np.abs(shift), axis=0)
    allowed = np.maximum(mad * spread, least)
    by_mad = (np.abs(shift) > allowed).any(axis=1)
    by_tree = isolated(smoothed, least, limit=it_limit)
    bad = by_mad | by_tree
    between = fill_short(bad, consecutive_bins)
    # what is judged by the tree may be within the MAD: then the farthest in units of what is allowed is named
    worst = np.argmax(np.abs(shift) / allowed, axis=1).astype(np.intp)
    why = np.select([by_tree, by_mad, between], BY, default=NOT)
    return Stability(~(bad | between), why.tolist(), worst, shift[np.arange(bins), worst])
