"""How many CAR-T events are signal of other channels: the CAR channel before and after compensation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.panel.names import Isotope, parse_isotope
from cytocar.pp._spillover.matrix import Spillover

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

COLUMNS: Final = (
    keys.SAMPLE, "car_channel", "source", "spillover", "n_before", "n_after", "n_explained", "n_gained", "n_main",
    "expected_counts", "expected_counts_explained", "threshold_counts",
)  # fmt: skip
ALL_SOURCES: Final = "all"


def car_audit(  # noqa: PLR0913  # the documented settings of the method
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
    before, after = np.asarray(before), np.asarray(after)
    chosen = np.ones(len(before), dtype=bool) if among is None else np.asarray(among)
    _check_arrays(before, after, chosen, len(channels))
    checks.finite_number(threshold, "threshold")
    checks.positive_number(cofactor, "cofactor")
    isotopes = [parse_isotope(str(name)) for name in channels]
    of_car = parse_isotope(str(car))
    if of_car is None or of_car not in isotopes:
        raise ParameterError(
            f"the CAR channel {car!r} is not there", fix=did_you_mean(str(car), map(str, channels))
        )
    column = isotopes.index(of_car)
    was = _positive(before[chosen, column], threshold, cofactor)
    stays = _positive(after[chosen, column], threshold, cofactor)
    sources = _sources(spillover, isotopes, of_car)
    expected = np.zeros((int(chosen.sum()), len(sources)))
    for n, source in enumerate(sources):
        expected[:, n] = source.spillover * np.maximum(after[chosen, source.column], 0)
    limit = float(cofactor * np.sinh(threshold))
    return _table(_Calls(sample_id, of_car.channel, was, stays, limit), sources, expected)


@dataclass(frozen=True)
class _Source:
    """A channel that leaks into that of the CAR."""

    column: int
    channel: str
    spillover: float


def _sources(spillover: Spillover, isotopes: Sequence[Isotope | None], of_car: Isotope) -> list[_Source]:
    at = {isotope: row for row, isotope in enumerate(spillover.isotopes)}
    if of_car not in at:
        return []
    sources = []
    for column, isotope in enumerate(isotopes):
        if isotope is None or isotope not in at or isotope == of_car:
            continue
        value = float(spillover.matrix[at[isotope], at[of_car]])
        if value > 0:
            sources.append(_Source(column, isotope.channel, value))
    return sources


@dataclass(frozen=True)
class _Calls:
    """Which events of a sample were CAR+ before compensation, and which are after it."""

    sample_id: str
    car_channel: str
    was: NDArray[np.bool_]
    stays: NDArray[np.bool_]
    threshold_counts: float

    @property
    def explained(self) -> NDArray[np.bool_]:
        """Which events were CAR+ only by what leaked into the channel."""
        return self.was & ~self.stays

    def row(
        self, source: str, spillover: float, n_main: int, amount: NDArray[np.float64]
    ) -> tuple[object, ...]:
        """Return a row of the table; `amount` is what is expected of the source in each event."""
        explained = amount[self.explained]
        return (
            self.sample_id,
            self.car_channel,
            source,
            spillover,
            int(self.was.sum()),
            int(self.stays.sum()),
            int(self.explained.sum()),
            int((self.stays & ~self.was).sum()),
            n_main,
            float(amount.mean()) if amount.size else float("nan"),
            float(np.median(explained)) if explained.size else float("nan"),
            self.threshold_counts,
        )


def _table(calls: _Calls, sources: Sequence[_Source], expected: NDArray[np.float64]) -> pd.DataFrame:
    """Return one row for all sources together and one for each, the largest share first.

    Parameters
    ----------
    calls
        Of the events.
    sources
        Channels that leak into that of the CAR.
    expected
        Counts of each source in the CAR channel, events x sources.
    """
    import pandas as pd

    n_explained = int(calls.explained.sum())
    total = sum(source.spillover for source in sources)
    rows = [calls.row(ALL_SOURCES, total, n_explained, expected.sum(axis=1))]
    main = expected[calls.explained].argmax(axis=1) if sources else np.empty(0, dtype=np.intp)
    for n in sorted(range(len(sources)), key=lambda n: -expected[:, n].sum()):
        n_main = int(np.count_nonzero(main == n))
        rows.append(calls.row(sources[n].channel, sources[n].spillover, n_main, expected[:, n]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _check_arrays(
    before: NDArray[np.floating], after: NDArray[np.floating], chosen: NDArray[np.bool_], n_channels: int
) -> None:
    if before.ndim != 2 or before.shape != after.shape or before.shape[1] != n_channels:
        raise ParameterError(
            f"before is {before.shape}, after is {after.shape} and {n_channels} channels are named",
            fix="all must be the same events and channels",
        )
    if chosen.shape != (len(before),) or chosen.dtype != np.bool_:
        raise ParameterError(
            f"among is {chosen.dtype} of shape {chosen.shape}",
            fix=f"it must be boolean, one value per event ({len(before)})",
        )


def _positive(counts: NDArray[np.floating], threshold: float, cofactor: float) -> NDArray[np.bool_]:
    # As gates see it: the arcsinh of float32 counts against the threshold.
    positive: NDArray[np.bool_] = np.arcsinh(counts.astype(np.float64) / cofactor) >= threshold
    return positive
