"""A limit on a signal, and which events meet it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

COFACTOR: Final = 5.0
UNIT: Final = "arcsinh(counts / 5)"
UNIT_SUM: Final = "weighted sum of arcsinh(counts / 5)"
# Below this many events a density says too little, and fixed limits are taken.
FEWEST: Final = 200
TOO_FEW: Final = f"fewer than {FEWEST} events"
# How the rule of a criterion begins that has no limit.
_NOT_JUDGED: Final = "not judged: "


@dataclass(frozen=True)
class Limit:
    """One limit: events whose combined signal is on the named side of `value` meet the criterion.

    Parameters
    ----------
    criterion
        ``bead``, ``bead_dna`` (from here on a bead carries a cell), ``debris``, ``debris_dna``, ``dead``,
        ``doublet``, ``doublet_dna`` or ``doublet_length``; debris and doublets meet all of theirs.
    value
        In `unit`; NaN where the criterion is not judged.
    unit
        `UNIT`, or `UNIT_SUM` where several channels are added.
    side
        ``"above"`` (at or above the value) or ``"below"``.
    combine
        ``"sum"``: weights times arcsinh(channel / 5), added; ``"min"``: the lowest of the channels.
    channels, weights
        Marker names, or ``Event_length``, and their weights.
    rule
        How the value was found; begins with ``fallback:`` where the data do not show it, and with ``not judged:``
        where a channel is missing.
    note
        What a reader should know beside it.
    """

    criterion: str
    value: float
    unit: str
    side: str
    combine: str
    channels: tuple[str, ...]
    weights: tuple[float, ...]
    rule: str
    note: str = ""

    @property
    def judged(self) -> bool:
        """Return whether there is a limit."""
        return bool(np.isfinite(self.value))

    @property
    def why_not(self) -> str:
        """Return why the criterion is not judged."""
        return self.rule.removeprefix(_NOT_JUDGED)


def to_arcsinh(counts: float) -> float:
    """Return arcsinh(counts / 5)."""
    return float(np.arcsinh(counts / COFACTOR))


def to_counts(value: float) -> float:
    """Return the counts that belong to a value of arcsinh(counts / 5)."""
    return float(COFACTOR * np.sinh(value))


def not_judged(criterion: str, why: str) -> Limit:
    """Return a limit that says why there is none."""
    return Limit(criterion, float("nan"), UNIT, "above", "sum", (), (), f"{_NOT_JUDGED}{why}")


def combined(limit: Limit, signals: Mapping[str, NDArray[np.floating]]) -> NDArray[np.floating]:
    """Return the signal that is compared with a limit: the lowest of its channels, or their weighted sum."""
    values = [signals[channel] for channel in limit.channels]
    score = values[0] if limit.weights[0] == 1.0 else np.float32(limit.weights[0]) * values[0]
    for x, weight in zip(values[1:], limit.weights[1:], strict=True):
        score = np.minimum(score, x) if limit.combine == "min" else score + np.float32(weight) * x
    return score


def meets(limit: Limit, signals: Mapping[str, NDArray[np.floating]]) -> NDArray[np.bool_]:
    """Return which events are on the named side of a limit."""
    score, value = combined(limit, signals), np.float32(limit.value)
    return score >= value if limit.side == "above" else score < value


def meets_all(limits: Sequence[Limit], signals: Mapping[str, NDArray[np.floating]]) -> NDArray[np.bool_]:
    """Return which events are on the named side of every one of the limits."""
    met: NDArray[np.bool_] = np.logical_and.reduce([meets(limit, signals) for limit in limits])
    return met
