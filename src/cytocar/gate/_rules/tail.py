"""The rule `tail`: where the upper tail of the negative peak begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cytocar._core.density import BOX, PER_BANDWIDTH, histogram, humps, smooth
from cytocar.gate._rules.base import DRAWS, Rule, RuleFoundNothing, RuleInput, RuleResult, setting
from cytocar.gate._rules.entries import InvalidEntry, share, whole_number
from cytocar.gate._rules.kernels.valley_spread import smooth_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cytocar.gate._rules.base import Floats
    from cytocar.gate._rules.entries import Entry

HIGHEST = "highest"
"""The peak with the most cells per arcsinh unit."""

# Below this width single counts show as a comb in arcsinh(x/5); above the other, peaks melt into each other.
_BANDWIDTHS = (0.1, 0.3)
# A peak stands out as in `cytocar._core.density.find_valleys`.
_LEAST_Z, _LEAST_DEPTH, _LEAST_EVENTS = 3.5, 0.1, 20.0
# Cells at exactly 0, where they are more than this share, are a point mass, which has no slope.
_POINT_MASS = 0.01


def highest_or_number(entry: Entry) -> str | int:
    """Read which peak is meant: ``highest``, or its number from the lowest one."""
    if entry.value == HIGHEST:
        return HIGHEST
    try:
        return whole_number(entry)
    except InvalidEntry as error:
        raise InvalidEntry(f"{error}, or {HIGHEST}") from None


@dataclass(frozen=True)
class Tail(Rule):
    """Where the upper tail of the negative peak begins: beyond it, the density falls hardly any more.

    For dim markers without a valley, the positive cells of which are a shoulder or a tail of the negative ones. As the
    `tailgate` of openCyto (Finak et al. 2014, doi 10.1371/journal.pcbi.1003806), whose ``tol`` is compared with the
    slope itself; here it is a share of the largest slope, so that it means the same at any scale. Right of the peak the
    density f falls most steeply somewhere; the threshold is the first place beyond it at which
    ``-f'(x) < tolerance * max(-f')``. For a normal peak of standard deviation s this is ``mean + s z`` with
    ``z exp((1 - z^2) / 2) = tolerance``: 3.6 standard deviations for 0.01.

    Parameters
    ----------
    tolerance
        The share of the steepest descent, between 0 and 1, below which the tail begins; smaller is further out.
    peak
        The negative peak: ``"highest"``, or its number, 1 being the lowest. Only peaks below `high` are taken.
    """

    kind: ClassVar[str] = "tail"
    tolerance: float = setting(0.01, share)
    peak: str | int = setting(HIGHEST, highest_or_number)

    def find(self, given: RuleInput) -> RuleResult:
        """Return where the tail begins."""
        self.require_cells(given.values)
        values = without_point_mass(given.values)
        if values.size < self.min_cells:
            raise RuleFoundNothing(
                f"{values.size:,} cells are not 0, and at least {self.min_cells:,} are needed"
            )
        density = SmoothedDensity.of(values)
        flank = density.flank(self.peak, self.high)

        def resample(rng: np.random.Generator) -> Floats:
            return density.resampled(flank, self.tolerance, rng, DRAWS)

        value = float(density.tail_starts(density.level[None, :], flank, self.tolerance)[0])
        if np.isnan(value):
            raise RuleFoundNothing(
                f"the density falls up to its end by more than {self.tolerance:g} of its steepest descent",
                resample,
            )
        return RuleResult(
            value,
            resample=resample,
            rate=self.tolerance,
            rate_at=lambda number: density.descent_at(number, flank),
        )

    def alternatives(self) -> Iterator[tuple[str, Rule]]:
        """Walk through half and twice the tolerance."""
        yield self.label, self
        for factor in (0.5, 2.0):
            tolerance = self.tolerance * factor
            if tolerance < 1.0:
                yield f"{self.label} at {tolerance:.2g}", replace(self, tolerance=tolerance)

    def details(self) -> str:
        """Say how flat the density is where the tail begins, and of which peak."""
        return f" at {self.tolerance:g}" + ("" if self.peak == HIGHEST else f" of peak {self.peak}")


def without_point_mass(values: NDArray[Any]) -> NDArray[Any]:
    """Return the cells that are not exactly 0, where the others are more than a few."""
    zeros = values == 0.0
    return values[~zeros] if zeros.mean() > _POINT_MASS else values


def slope_bandwidth(values: NDArray[Any]) -> float:
    """Return the width of the Gaussian by which the slope of a density is estimated best, in the units of the cells.

    That of a normal distribution, ``s (4 / (5 n))^(1/7)`` (Wand and Jones 1995, Kernel Smoothing, on derivatives of
    densities), with s the smaller of standard deviation and IQR / 1.34, within 0.1 to 0.3.
    """
    quartiles = np.percentile(values, [25, 75])
    spread, middle = float(values.std(dtype=np.float64)), float(quartiles[1] - quartiles[0]) / 1.34
    scale = min(spread, middle) if middle > 0 else spread
    return float(np.clip(scale * (0.8 / values.size) ** (1 / 7), *_BANDWIDTHS))


@dataclass(frozen=True, eq=False)
class SmoothedDensity:
    """A histogram smoothed by a Gaussian, whose slope is looked at.

    Parameters
    ----------
    grid
        Centres of the bins (bins,).
    counts
        Cells in each (bins,).
    level
        Smoothed counts (bins,).
    width
        Standard deviation of the Gaussian.
    """

    grid: Floats
    counts: Floats
    level: Floats
    width: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> SmoothedDensity:
        """Return the density of some cells."""
        width = slope_bandwidth(values)
        counts, first, step = histogram(values, width / PER_BANDWIDTH, 4 * width)
        grid = first + step * np.arange(counts.size, dtype=np.float64)
        return cls(grid, counts, smooth(counts, width / step), width)

    @property
    def step(self) -> float:
        """Width of a bin."""
        return float(self.grid[1] - self.grid[0])

    def flank(self, peak: str | int, high: float | None) -> slice:
        """Return the bins in which a peak and its right flank lie: from the trough before it to the one behind it.

        Raises
        ------
        RuleFoundNothing
            There is no such peak below `high`.
        """
        modes, troughs = humps(
            self.level * (BOX * self.width / self.step),
            self.counts,
            least_z=_LEAST_Z,
            least_depth=_LEAST_DEPTH,
            least_events=_LEAST_EVENTS,
        )
        below = [i for i, mode in enumerate(modes) if high is None or self.grid[mode] < high]
        wanted = 1 if peak == HIGHEST else int(peak)
        if len(below) < wanted:
            where = "" if high is None else f" below {high:g}"
            count = "no peak" if not below else "1 peak" if len(below) == 1 else f"{len(below)} peaks"
            wish = "" if peak == HIGHEST else f", and peak {peak} is wanted"
            raise RuleFoundNothing(f"the density has {count}{where}{wish}")
        chosen = below[wanted - 1]
        if peak == HIGHEST:
            chosen = max(below, key=lambda i: float(self.level[modes[i]]))
        edges = [0, *troughs, self.grid.size - 1]
        return slice(edges[chosen], edges[chosen + 1] + 1)

    def tail_starts(self, levels: Floats, flank: slice, tolerance: float) -> Floats:
        """Return where the tail begins in each of several smoothed histograms (rows, bins); NaN in an empty one."""
        rows, bins = np.arange(levels.shape[0]), np.arange(levels.shape[1])
        descent = -np.gradient(levels, axis=1)
        modes = flank.start + levels[:, flank].argmax(axis=1)
        on_flank = (bins >= modes[:, None]) & (bins < flank.stop)
        steepest = np.where(on_flank, descent, -np.inf).argmax(axis=1)
        limit = tolerance * descent[rows, steepest]
        flat = (bins > steepest[:, None]) & (descent < limit[:, None])
        at = flat.argmax(axis=1)
        before = np.maximum(at - 1, 0)
        # Between two bins the slope is as good as straight.
        fall = descent[rows, before] - descent[rows, at]
        back = np.divide(limit - descent[rows, at], fall, out=np.zeros(rows.size), where=fall > 0)
        return np.where(flat.any(axis=1) & (limit > 0), self.grid[at] - back * self.step, np.nan)

    def resampled(self, flank: slice, tolerance: float, rng: np.random.Generator, draws: int) -> Floats:
        """Return where the tail begins in bootstrap samples of the cells: Poisson counts around those of each bin."""
        counts = rng.poisson(self.counts, (draws, self.counts.size)).astype(np.float64)
        return self.tail_starts(smooth_rows(counts, self.width / self.step), flank, tolerance)

    def descent_at(self, number: float, flank: slice) -> float:
        """Return how steeply the density falls at a number, as a share of the steepest descent of the flank."""
        descent = -np.gradient(self.level)
        mode = flank.start + int(self.level[flank].argmax())
        return float(np.interp(number, self.grid, descent) / descent[mode : flank.stop].max())


RULE = Tail
