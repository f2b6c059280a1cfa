"""The signal of beads over time, and from it the factor of every event; on arrays."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A window that holds more than a third of the beads shows next to nothing of a drift.
_WINDOWS: Final = 3
# A gap in Time is a pause when it is this long, and this many times the usual distance of two events.
PAUSE_MS: Final = 5000.0
PAUSE_TIMES: Final = 200.0


def window_for(n_beads: int, window: int) -> int:
    """Return the number of beads in a window: as asked, or a third of the beads where that is less.

    Examples
    --------
    >>> window_for(5000, 200), window_for(90, 200)
    (200, 30)
    """
    return max(1, min(window, n_beads // _WINDOWS))


def sliding_median(values: NDArray[np.floating], window: int) -> NDArray[np.float64]:
    """Return the median of each column over the `window` rows around each row.

    Row i sees the rows from i - window // 2 to i + (window - 1) // 2, as far as they exist: at the ends a window
    has half its rows, all on one side.

    Parameters
    ----------
    values
        Shape (beads, channels), in the order of time.
    window
        Rows in a window, at least 1.
    """
    import pandas as pd

    frame = pd.DataFrame(np.asarray(values, dtype=np.float64))
    return frame.rolling(window, center=True, min_periods=1).median().to_numpy()


def runs_between_pauses(
    event_time: NDArray[np.floating], bead_time: NDArray[np.floating], least: int
) -> list[slice]:
    """Return the runs of beads between pauses of the acquisition, each of at least `least` beads.

    The sensitivity may jump in a pause (another tube of the same sample, a tuning), and a window across it would
    smear the jump. A run of fewer beads stays with the one before it.

    Parameters
    ----------
    event_time, bead_time
        Time of all events and of the beads in ms; the beads in order.
    least
        Beads that a run needs.
    """
    clock = np.sort(np.asarray(event_time, dtype=np.float64))
    step = np.diff(clock)
    moving = step[step > 0]
    if not moving.size:
        return [slice(0, len(bead_time))]
    usual = float(np.mean(moving[moving <= np.percentile(moving, 99)]))
    pauses = clock[1:][step > max(PAUSE_MS, PAUSE_TIMES * usual)]
    edges = [0]
    for cut in np.searchsorted(bead_time, pauses).tolist():
        if cut - edges[-1] >= least and len(bead_time) - cut >= least:
            edges.append(cut)
    return [slice(a, b) for a, b in itertools.pairwise([*edges, len(bead_time)])]


def slopes_of(smooth: NDArray[np.float64], baseline: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sum_b(smooth_b baseline_b) / sum_b(smooth_b^2): the factor that fits smoothed beads to the baseline best.

    Parameters
    ----------
    smooth
        Shape (beads, channels), counts.
    baseline
        Shape (channels,), counts.
    """
    # Both sums go the same way, so that beads at the baseline give exactly 1.
    return np.asarray((smooth * baseline).sum(axis=1) / (smooth * smooth).sum(axis=1))


def slopes_at(
    time: NDArray[np.floating], bead_time: NDArray[np.float64], slopes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the factor at each time: linear between beads, constant before the first and after the last.

    Beads of one time stand for their mean.
    """
    unique, at = np.unique(bead_time, return_inverse=True)
    if unique.size < bead_time.size:
        slopes = np.bincount(at, weights=slopes) / np.bincount(at)
    return np.interp(np.asarray(time, dtype=np.float64), unique, slopes)


def spread(smooth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return max / min of each column; 1 where nothing changes."""
    return np.asarray(smooth.max(axis=0) / smooth.min(axis=0))


def together(smooth: NDArray[np.float64], baseline: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the channels of the signal over its baseline: what a single factor can correct."""
    return np.asarray((smooth / baseline).mean(axis=1))


@dataclass(frozen=True)
class Drift:
    """What the beads of one sample say about its sensitivity.

    Parameters
    ----------
    time
        Time of each bead, sorted.
    before, after
        Smoothed signal of the beads, shape (beads, channels), counts, as measured and multiplied by the slope.
    slope
        Factor at each bead.
    factor
        Factor of each event of the sample.
    window
        Beads in a window.
    pauses
        Pauses over which no window goes.
    """

    time: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    slope: NDArray[np.float64]
    factor: NDArray[np.float32]
    window: int
    pauses: int


def drift_of(
    beads: NDArray[np.floating],
    bead_time: NDArray[np.floating],
    event_time: NDArray[np.floating],
    baseline: NDArray[np.float64],
    window: int,
    fewest: int,
) -> Drift:
    """Return the smoothed beads before and after, and the factor of every event.

    Parameters
    ----------
    beads
        Counts of the beads, shape (beads, channels).
    bead_time, event_time
        Time of the beads and of all events of the sample; both may be unsorted.
    baseline
        Shape (channels,), counts.
    window
        Beads in a window at most; see `window_for`.
    fewest
        Beads that must lie between two pauses for windows of their own.
    """
    order = np.argsort(bead_time, kind="stable")
    time = np.asarray(bead_time[order], dtype=np.float64)
    counts = np.asarray(beads[order], dtype=np.float64)
    window = window_for(len(counts), window)
    runs = runs_between_pauses(event_time, time, max(window, fewest))

    def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([sliding_median(values[run], window) for run in runs])

    before = smoothed(counts)
    at_beads = slopes_of(before, baseline)
    slope = slopes_at(time, time, at_beads)
    after = smoothed(counts * slope[:, None])
    factor = slopes_at(event_time, time, at_beads).astype(np.float32)
    return Drift(time, before, after, slope, factor, window, len(runs) - 1)
