"""A quantile of some cells, counted where they are many and extrapolated where they are few."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar.gate._rules.base import DRAWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._rules.base import Floats, Resample

NEEDED_ABOVE_ZERO = 50
"""With fewer cells above 0 than this, no tail is fitted."""
# Below this quantile there is no tail to be fitted.
_TAIL_FROM = 0.9
# Thresholds have four decimals.
_STEP = 1e-4


@dataclass(frozen=True, eq=False)
class TailQuantile:
    """A far quantile of some cells, and what it rests on."""

    value: float
    extrapolated: bool
    rate_at: Callable[[float], float]
    resample: Resample


def tail_quantile(values: NDArray[Any], rate: float) -> TailQuantile | None:
    """Return the value that a share `rate` of the cells exceeds; None where too few of them are above 0."""
    from cytocar.gate._rules.kernels.pareto_spread import resampled_order, resampled_tail
    from cytocar.gate._rules.kernels.pareto_tail import EMPIRICAL_FROM, tail_of

    if values.size * rate >= EMPIRICAL_FROM or rate > 1.0 - _TAIL_FROM:
        ordered = np.sort(np.asarray(values, dtype=np.float64))

        def counted(number: float) -> float:
            return 1.0 - float(np.searchsorted(ordered, number, side="left")) / ordered.size

        def above_ties(number: float) -> float:
            # Cells that share one value, as zeros do, are below the number: at it, all of them would be positive.
            return number + _STEP if counted(number) > 2.0 * rate else number

        def resample(rng: np.random.Generator) -> Floats:
            return np.array(
                [above_ties(n) for n in resampled_order(ordered, (1.0 - rate,), rng, DRAWS)[:, 0]]
            )

        return TailQuantile(above_ties(float(np.quantile(ordered, 1.0 - rate))), False, counted, resample)
    if np.count_nonzero(values > 0) < NEEDED_ABOVE_ZERO:
        return None
    fitted = tail_of(values)
    return TailQuantile(
        fitted.quantile(rate),
        True,
        fitted.share_above,
        lambda rng: resampled_tail(fitted, rate, rng, DRAWS),
    )


@dataclass(frozen=True, eq=False)
class TubeQuantiles:
    """The far quantile of each of several groups of cells, by what they are called."""

    quantiles: Mapping[str, TailQuantile]

    @classmethod
    def of(cls, tubes: Mapping[str, NDArray[Any]], rate: float, min_cells: int) -> TubeQuantiles:
        """Return the quantiles of those that have enough cells."""
        quantiles = {}
        for source, values in tubes.items():
            quantile = tail_quantile(values, rate) if values.size >= min_cells else None
            if quantile is not None:
                quantiles[source] = quantile
        return cls(quantiles)

    def highest(self) -> str:
        """Return which cells ask for the highest number.

        The number has to hold in all of them: those that stain less must not water down those that stain most.
        """
        return max(self.quantiles, key=lambda source: self.quantiles[source].value)

    def resample(self, rng: np.random.Generator) -> Floats:
        """Return the highest number of all, as it moves with their cells."""
        return np.asarray(np.max([quantile.resample(rng) for quantile in self.quantiles.values()], axis=0))


def would_give(quantiles: Mapping[str, TailQuantile], source: str) -> list[str]:
    """Say, for a note, what the cells other than `source` would give."""
    rest = [f"{name} would give {q.value:.2f}" for name, q in quantiles.items() if name != source]
    return [", ".join(rest)] if rest else []
