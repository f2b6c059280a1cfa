"""How many CAR-T events are signal of other channels: the CAR channel before and after compensation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.panel.names import parse_isotope
from cytocar.pp._spillover.matrix import Spillover

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

COLUMNS: Final = (
    keys.SAMPLE, "car_channel", "source", "spillover", "n_before", "n_after", "n_explained", "n_gained", "n_main",
    "expected_counts", "expected_counts_explained", "threshold_counts",
)  # fmt: skip
ALL_SOURCES: Final = "all"


def car_audit(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    threshold: float,
    *,
    spillover: Spillover,
    channels: Sequence[str],
    car: str,
    cofactor: float = 5.0,
    among: NDArray[np.bool_] | None = None,
    sample_id: str = "",
) -> pd.DataFrame:
    """Count the events that are CAR+ only by what leaked into the CAR channel, and name the channels it came from.

    An event is explained where it is at or above the threshold before compensation and below it after. What is
    expected of a source in an event is x_i s_i,CAR, with the signal x after compensation.

    Parameters
    ----------
    before, after
        Counts of one sample before and after compensation, events x channels.
    threshold
        Of the CAR channel, in arcsinh(counts / cofactor); an event at the threshold is positive.
    spillover
        The matrix that was used.
    channels
        The channels of the columns, in any spelling.
    car
        The channel of the CAR, one of them.
    cofactor
        Of the arcsinh, above 0.
    among
        Which events to count, boolean (events), such as T cells; default all.
    sample_id
        Written into the table.

    Returns
    -------
    Table with one row for all sources together (``source`` is ``all``), and one for each channel that leaks into
    that of the CAR, the largest share first: ``sample_id``, ``car_channel``, ``source``, ``spillover`` (s; the sum
    for all), ``n_before`` and ``n_after`` (CAR+ events), ``n_explained``, ``n_gained`` (below before, positive
    after), ``n_main`` (explained events in which this source is the largest), ``expected_counts`` (mean over
    the events counted), ``expected_counts_explained`` (median over explained events, NaN where there are none) and
    ``threshold_counts``.

    Raises
    ------
    ParameterError
        The matrices do not fit each other or the channels, the CAR channel is not there, or a number is not finite.

    Examples
    --------
    >>> seen = np.array([[4000.0, 60.0], [0.0, 400.0]])
    >>> true = np.array([[4000.0, 0.0], [0.0, 400.0]])
    >>> spill = Spillover(("Er168Di", "Tm169Di"), [[1, 0.015], [0, 1]])
    >>> table = car_audit(seen, true, 2.5, spillover=spill, channels=["Er168Di", "Tm169Di"], car="Tm169Di")
    >>> table[["source", "n_before", "n_after", "n_explained", "expected_counts_explained"]].values.tolist()
    [['all', 2, 1, 1, 60.0], ['Er168Di', 2, 1, 1, 60.0]]
    """
    import pandas as pd

    before, after = np.asarray(before), np.asarray(after)
    if before.ndim != 2 or before.shape != after.shape or before.shape[1] != len(channels):
        raise ParameterError(
            f"before is {before.shape}, after is {after.shape} and {len(channels)} channels are named",
            fix="all must be the same events and channels",
        )
    for name, number in (("threshold", threshold), ("cofactor", cofactor)):
        if not np.isfinite(number) or (name == "cofactor" and number <= 0):
            raise ParameterError(
                f"{name} is {number!r}", fix="it must be a finite number, of the cofactor above 0"
            )
    chosen = np.ones(len(before), dtype=bool) if among is None else np.asarray(among)
    if chosen.shape != (len(before),) or chosen.dtype != np.bool_:
        raise ParameterError(
            f"among is {chosen.dtype} of shape {chosen.shape}",
            fix=f"it must be boolean, one value an event ({len(before)})",
        )
    isotopes = [parse_isotope(str(name)) for name in channels]
    wanted = parse_isotope(str(car))
    if wanted is None or wanted not in isotopes:
        raise ParameterError(
            f"the CAR channel {car!r} is not there", fix=did_you_mean(str(car), map(str, channels))
        )
    column = isotopes.index(wanted)
    limit = float(cofactor * np.sinh(threshold))
    was = _positive(before[chosen, column], threshold, cofactor)
    stays = _positive(after[chosen, column], threshold, cofactor)
    explained = was & ~stays

    at = {isotope: place for place, isotope in enumerate(spillover.isotopes)}
    sources = []
    if wanted in at:
        for place, isotope in enumerate(isotopes):
            value = spillover.matrix[at[isotope], at[wanted]] if isotope in at and place != column else 0.0
            if value > 0:
                sources.append((place, isotope, float(value)))
    expected = np.zeros((int(chosen.sum()), len(sources)))
    for n, (place, _, value) in enumerate(sources):
        expected[:, n] = value * np.maximum(after[chosen, place], 0)
    total = expected.sum(axis=1)
    main = expected[explained].argmax(axis=1) if sources else np.empty(0, dtype=np.intp)

    def row(source: str, value: float, n_main: int, amount: NDArray[np.float64]) -> tuple[object, ...]:
        return (
            sample_id,
            wanted.channel if wanted else car,
            source,
            value,
            int(was.sum()),
            int(stays.sum()),
            int(explained.sum()),
            int((stays & ~was).sum()),
            n_main,
            float(amount.mean()) if amount.size else float("nan"),
            float(np.median(amount[explained])) if explained.any() else float("nan"),
            limit,
        )

    rows = [row(ALL_SOURCES, sum(value for _, _, value in sources), int(explained.sum()), total)]
    found = [
        row(isotope.channel, value, int((main == n).sum()), expected[:, n])
        for n, (_, isotope, value) in enumerate(sources)
        if isotope is not None
    ]
    order = sorted(range(len(found)), key=lambda n: -expected[:, n].sum())
    return pd.DataFrame([*rows, *(found[n] for n in order)], columns=list(COLUMNS))


def _positive(counts: NDArray[np.floating], threshold: float, cofactor: float) -> NDArray[np.bool_]:
    # As gates see it: the arcsinh of float32 counts against the threshold.
    positive: NDArray[np.bool_] = np.arcsinh(counts.astype(np.float64) / cofactor) >= threshold
    return positive
