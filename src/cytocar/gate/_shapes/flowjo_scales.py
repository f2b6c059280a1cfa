"""Scales of FlowJo that Gating-ML does not have: a biexponential table, a logarithm with an offset, seconds of Time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cytocar._core.errors import GateError
from cytocar.gate._shapes.transforms import LN10, MOST_DECADES, Scale, root_between_0_and

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POSITIONS = 4096
"""Positions of FlowJo's table, whatever the length of the axis."""
_WIDEST = 1e9


@dataclass(frozen=True)
class FlowJoLog(Scale):
    """log10(x / offset) / decades, where x below the offset counts as the offset.

    Parameters
    ----------
    offset
        The value that becomes 0, above 0.
    decades
        Decades from 0 to 1 on the axis, above 0.

    Examples
    --------
    >>> FlowJoLog(offset=1.0, decades=4.0).apply([-5.0, 1.0, 100.0]).tolist()
    [0.0, 0.0, 0.5]
    """

    offset: float = 1.0
    decades: float = 4.0
    xml_name: ClassVar[str] = "flowjo-log"
    everywhere: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._check()
        self._need(self.offset > 0 and self.decades > 0, "OFFSET > 0 and DECADES > 0")

    def _apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        kept = np.maximum(values, self.offset)
        return (np.log10(kept) - math.log10(self.offset)) / self.decades

    def _inverse(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.offset * 10.0 ** (positions * self.decades)


@dataclass(frozen=True)
class Biex(Scale):
    """FlowJo's biexponential axis: a table of 4,097 values between which it is straight, level beyond its ends.

    The curve is that of Logicle (Parks, Roederer and Moore 2006, doi 10.1002/cyto.a.20258) with FlowJo's parameters.
    It is 0 at the lower end of the table and 1 at its upper end.

    Parameters
    ----------
    top
        Largest value of the axis, above 0.
    pos
        Positive decades, above 0.
    neg
        Additional negative decades; below 0 counts as 0.
    width
        Minus the value below which the axis is about linear, at most -1.

    Examples
    --------
    >>> Biex().apply([-1e9, 0.0, 1e9]).round(3).tolist()
    [0.0, 0.113, 1.0]
    """

    top: float = 262144.000029
    pos: float = 4.41854
    neg: float = 0.0
    width: float = -10.0
    xml_name: ClassVar[str] = "biex"
    everywhere: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._check()
        self._need(
            self.top > 0
            and -_WIDEST <= self.width <= -1
            and math.log10(-self.width) / 2 < self.pos <= MOST_DECADES
            and self.neg <= MOST_DECADES,
            f"TOP > 0, -{_WIDEST:g} <= WIDTH <= -1, log10(-WIDTH) / 2 < POS <= {MOST_DECADES} and "
            f"NEG <= {MOST_DECADES}",
        )

    def _apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        channel, position = _table(self.top, self.pos, self.neg, self.width)
        return np.asarray(np.interp(values, channel, position), dtype=np.float64)

    def _inverse(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        channel, position = _table(self.top, self.pos, self.neg, self.width)
        return np.asarray(np.interp(positions, position, channel), dtype=np.float64)


@dataclass(frozen=True)
class RunSeconds(Scale):
    """Seconds of Time where a file states how long it was recorded, and not how long a tick is.

    FlowJo takes the time from ``$BTIM`` to ``$ETIM`` over the last tick. The last tick is known when the file is read
    (`in_file`); until then a value has no position.

    Parameters
    ----------
    took
        Seconds from the first event to the last, above 0.
    last
        The last tick; 0 where it is not known.

    Examples
    --------
    >>> RunSeconds(took=60.0).in_file(120_000.0).apply([2_000.0]).tolist()
    [1.0]
    """

    took: float = 1.0
    last: float = 0.0
    xml_name: ClassVar[str] = "run-seconds"
    everywhere: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._check()
        self._need(self.took > 0 and self.last >= 0, "TOOK > 0 and LAST >= 0")

    def in_file(self, last: float) -> RunSeconds:
        """Return the scale for a file with this last tick."""
        return replace(self, last=last)

    def _tick(self) -> float:
        if self.last > 0:
            return self.took / self.last
        raise GateError(
            "a gate on Time is in seconds, and how long a tick is can be determined from the whole file only "
            "($BTIM to $ETIM over its last tick)",
            fix="gate the FCS file itself ('cytocar gate'), or open the workspace in FlowJo 10.6 or later and save it",
        )

    def _apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values * self._tick()

    def _inverse(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        return positions / self._tick()


@lru_cache(maxsize=256)
def _table(
    top: float, pos: float, neg: float, width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values of the channel, rising, and their positions from 0 to 1."""
    linear = math.log10(-width)
    extra = max(neg, 0.0) + linear / 2
    decades = pos - linear / 2
    zero = min(int(extra * _POSITIONS / (extra + decades)), _POSITIONS // 2)
    if zero > 0:
        # The position of 0 is a whole number, and the decades are stretched to it.
        decades = extra * _POSITIONS / zero
    share = linear / (2 * decades)
    rise = LN10 * decades
    fall = (
        root_between_0_and(rise, lambda d: 2.0 * (math.log(d) - math.log(rise)) + share * (rise + d))
        if share
        else rise
    )
    steps = np.arange(_POSITIONS + 1) / (_POSITIONS + 1)
    shift = math.exp((rise + fall) * (share + extra / decades))
    curve = np.exp(rise * steps) - shift * np.exp(-fall * steps)
    channel = top / math.exp(rise) * (curve - curve[zero])
    channel[:zero] = -channel[2 * zero : zero : -1]
    return channel, np.arange(_POSITIONS + 1) / _POSITIONS


OWN_SCALES: dict[str, type[Scale]] = {kind.xml_name: kind for kind in (Biex, FlowJoLog, RunSeconds)}
