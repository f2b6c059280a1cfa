"""Groups of cells, the effects between them, and differences of differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cytocar._core.population_words import words

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrap:
    """How medians are drawn.

    Parameters
    ----------
    level
        Of the intervals.
    n_boot
        Draws.
    rng
        Of one comparison.
    """

    level: float
    n_boot: int
    rng: np.random.Generator


@dataclass(frozen=True)
class Group:
    """Cells of one group.

    Parameters
    ----------
    strata
        Arrays (markers, cells), every row sorted; more than one only in a standardised group.
    weights
        One weight per stratum, adding up to 1.
    """

    strata: tuple[Floats, ...]
    weights: Floats

    @classmethod
    def of(cls, values: Floats) -> Group:
        """Return a group of one stratum."""
        return cls((values,), np.ones(1))

    @property
    def n(self) -> int:
        """Return the number of cells."""
        return sum(stratum.shape[1] for stratum in self.strata)

    def mean(self) -> Floats:
        """Return the mean of each marker."""
        means = [stratum.mean(axis=1) for stratum in self.strata]
        return np.asarray(np.tensordot(self.weights, np.stack(means), 1))

    def variance(self) -> tuple[Floats, Floats]:
        """Return for each marker the variance of a cell and of the mean."""
        mean = self.mean()
        cell, of_mean = np.zeros_like(mean), np.zeros_like(mean)
        for stratum, weight in zip(self.strata, self.weights, strict=True):
            n = stratum.shape[1]
            within = stratum.var(axis=1, ddof=1) if n > 1 else np.zeros_like(mean)
            cell += weight * (within + (stratum.mean(axis=1) - mean) ** 2)
            of_mean += weight**2 * within / n
        return (within, of_mean) if len(self.strata) == 1 else (cell, of_mean)

    def median(self) -> Floats:
        """Return the median of each marker."""
        if len(self.strata) == 1:
            return np.asarray(np.median(self.strata[0], axis=1))
        return np.asarray(self._quantile(np.full((len(self.strata[0]), 1), 0.5))[:, 0])

    def drawn_medians(self, bootstrap: Bootstrap) -> Floats:
        """Return (markers, n_boot) bootstrap medians.

        The k-th smallest of a bootstrap sample of n sorted cells is the cell at ceil(n U), U the k-th smallest of n
        uniform numbers, a beta number: one draw per median, exact, whatever n. The median of a standardised group is
        drawn through its distribution function (Woodruff 1952, doi:10.1080/01621459.1952.10483443).
        """
        n_boot, rng = bootstrap.n_boot, bootstrap.rng
        if len(self.strata) == 1:
            values = self.strata[0]
            n = values.shape[1]
            k = (n + 1) // 2
            low = rng.beta(k, n - k + 1, n_boot)
            if n % 2:
                return values[:, _cell(low, n)]
            high = low + (1.0 - low) * rng.beta(1, n - k, n_boot)
            return (values[:, _cell(low, n)] + values[:, _cell(high, n)]) / 2.0
        middle = self.median()[:, None]
        variance = np.zeros(len(middle))
        for stratum, weight in zip(self.strata, self.weights, strict=True):
            below = (stratum < middle).mean(axis=1)
            upto = (stratum <= middle).mean(axis=1)
            share = (below + upto) / 2.0
            variance += weight**2 * share * (1.0 - share) / stratum.shape[1]
        levels = 0.5 + np.sqrt(variance)[:, None] * rng.standard_normal(n_boot)
        return self._quantile(np.clip(levels, 0.0, 1.0))

    def _quantile(self, levels: Floats) -> Floats:
        values = np.concatenate(self.strata, axis=1)
        each = np.concatenate(
            [np.full(s.shape[1], w / s.shape[1]) for s, w in zip(self.strata, self.weights, strict=True)]
        )
        quantiles = np.empty(levels.shape)
        for m, row in enumerate(values):
            order = np.argsort(row, kind="stable")
            reached = np.cumsum(each[order])
            at = np.searchsorted(reached, levels[m] - 1e-12)
            quantiles[m] = row[order][np.minimum(at, len(order) - 1)]
        return quantiles


@dataclass(frozen=True)
class Effect:
    """Differences, b less a, one number per marker."""

    median_a: Floats
    median_b: Floats
    effect: Floats
    effect_low: Floats
    effect_high: Floats
    delta: Floats
    delta_low: Floats
    delta_high: Floats
    adjusted: Floats
    adjusted_low: Floats
    adjusted_high: Floats
    mean: Floats
    mean_low: Floats
    mean_high: Floats
    p: Floats
    direction: NDArray[np.intp]
    within: NDArray[np.bool_]


def _cell(uniform: Floats, n: int) -> NDArray[np.intp]:
    return np.clip(np.ceil(n * uniform).astype(np.intp) - 1, 0, n - 1)


@dataclass(frozen=True)
class DifferenceInDifferences:
    """Difference in differences, one number per marker: the change of CAR-T cells less that of host T
    cells.

    `host` is the host's own change, `host_cells` says for each marker which cells it is of. NaN where there are no such
    cells.
    """

    host: Floats
    did: Floats
    low: Floats
    high: Floats
    host_cells: tuple[str, ...]

    @classmethod
    def none(cls, markers: int, why: str) -> DifferenceInDifferences:
        """Return no number for any marker."""
        nothing = np.full(markers, np.nan)
        return cls(nothing, nothing, nothing, nothing, (why,) * markers)

    def of(self, measured: NDArray[np.bool_]) -> DifferenceInDifferences:
        """Return the numbers of the markers that every host cell has a value of."""
        host, did, low, high = (
            np.where(measured, x, np.nan) for x in (self.host, self.did, self.low, self.high)
        )
        host_cells = (
            cells if in_all else f"not measured in all {words().host_cells}"
            for cells, in_all in zip(self.host_cells, measured, strict=True)
        )
        return DifferenceInDifferences(host, did, low, high, tuple(host_cells))
