"""Negative and positive cells as two humps, the lower of which may be skewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BIN = 0.04
_MOST_BINS = 512
# A hump of antibody staining is hardly ever narrower than this in arcsinh units; single counts would be.
_NARROWEST = 0.12
_FIRST_ROUNDS, _KEPT, _ROUNDS, _FEW_ROUNDS, _ENOUGH = 12, 3, 300, 60, 0.02
_STARTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Humps nearer than this to each other are single counts, or one hump that is not quite two-piece normal.
_APART = 0.8
# Twice the gain in log likelihood that three more parameters have to bring, beyond 3 log n (Schwarz 1978).
_GAIN = 20.0


@dataclass(frozen=True, eq=False)
class _Humps:
    """Parameters of both humps for many samples: arrays (samples, 2), the lower hump first.

    Where the lower one is `fading`, its left width is 0, and its right width is that of an exponential.
    """

    weights: Floats
    modes: Floats
    left: Floats
    right: Floats
    fading: bool

    def densities(self, points: Floats) -> tuple[Floats, Floats]:
        """Return weight times density of each hump at `points` (points,) or (samples, points)."""
        shapes = (_fading if self.fading else _shape, _shape)
        lower, upper = (
            self.weights[:, i : i + 1] * shape(points, self.modes[:, i], self.left[:, i], self.right[:, i])
            for i, shape in enumerate(shapes)
        )
        return lower, upper

    def rows(self, at: Any) -> _Humps:
        """Return some of the samples."""
        return _Humps(self.weights[at], self.modes[at], self.left[at], self.right[at], self.fading)


@dataclass(frozen=True, eq=False)
class FittedMixture:
    """Two humps fitted to some cells.

    Parameters
    ----------
    value
        Where a cell is as likely to belong to the one as to the other, in arcsinh units.
    confidence
        1 minus the share of the smaller hump that lies under the other: 1 is fully apart.
    humps
        Their weights, modes and widths.
    grid, counts, zeros
        What it was fitted to: bins and their cells, and the cells that are exactly 0, which are negative.
    """

    value: float
    confidence: float
    humps: _Humps
    grid: Floats
    counts: Floats
    zeros: float


def fit_mixture(values: NDArray[Any]) -> FittedMixture | None:
    r"""Fit two humps to arcsinh values, or return None where one describes them as well.

    The upper hump is a normal distribution, the lower one a two-piece normal distribution (John 1982,
    doi 10.1080/03610928208828279), whose halves have widths of their own, or an exponential that starts at the lowest
    value, whichever fits better: so a skewed background is one hump and not two. Cells at exactly 0 are a point mass
    of the negative ones. Both are fitted to a histogram by expectation maximisation from several starts. Two humps
    are taken where they gain more than the Bayesian information criterion asks for (Schwarz 1978,
    doi 10.1214/aos/1176344136) and are apart by 0.8 at least.

    Parameters
    ----------
    values
        Arcsinh values (cells,).

    Returns
    -------
    `FittedMixture`, or None.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> fitted = fit_mixture(np.concatenate([rng.normal(1, 0.4, 900), rng.normal(4, 0.4, 300)]))
    >>> bool(2.2 < fitted.value < 3.0), bool(fitted.confidence > 0.9)
    (True, True)
    >>> fit_mixture(rng.normal(1, 0.4, 1000)) is None
    True
    """
    histogram = _Histogram.of(values)
    if histogram is None:
        return None
    grid, n = histogram.grid, histogram.n
    likelihood, humps = _most_likely(histogram)
    alone = max(
        histogram.log_likelihood(shape(grid, *fit(histogram.counts[None, :], grid))[0])
        for shape, fit in ((_shape, _hump), (_fading, _fade))
    )
    if 2 * (likelihood - alone) < 3 * np.log(n) + _GAIN or float(np.ptp(humps.modes)) < _APART:
        return None
    value, confidence = _border(humps, grid, n, histogram.zeros)
    if not np.isfinite(value[0]):
        return None
    return FittedMixture(
        float(value[0]), float(confidence[0]), humps, grid, histogram.counts, float(histogram.zeros)
    )


@dataclass(frozen=True, eq=False)
class _Histogram:
    """Counts of the cells that are not a point mass at 0, and how many are.

    Parameters
    ----------
    grid, counts
        Centres of the bins, and the cells in each (bins,).
    n
        All cells in them.
    zeros
        Cells at exactly 0, where they are many.
    low, high
        The lowest and the highest value.
    """

    grid: Floats
    counts: Floats
    n: int
    zeros: int
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> _Histogram | None:
        """Return the histogram of some arcsinh values; None where they are too few or too near each other."""
        x = np.asarray(values, dtype=np.float64)
        zeros = x == 0.0
        # A few that happen to be 0 are no point mass.
        n_zeros = int(zeros.sum()) if zeros.mean() > 0.01 else 0
        rest = x[~zeros] if n_zeros else x
        if rest.size < 10 or float(np.ptp(rest)) < 4 * BIN:
            return None
        low, high = float(rest.min()), float(rest.max())
        bins = int(min(max(np.ceil((high - low) / BIN), 8), _MOST_BINS))
        counts, edges = np.histogram(rest, bins=bins, range=(low, high))
        grid = (edges[1:] + edges[:-1]) / 2
        return cls(grid, counts.astype(np.float64), rest.size, n_zeros, low, high)

    def log_likelihood(self, density: Floats) -> float:
        """Return the log likelihood of the cells under a density at the bins."""
        return float((self.counts * np.log(np.maximum(density, 1e-300))).sum())

    def starts(self) -> Floats:
        """Return which share of each bin belongs to the upper hump, for several places to cut them (starts, bins)."""
        below = np.cumsum(self.counts) / self.n
        cuts = [self.low + share * (self.high - self.low) for share in _STARTS]
        cuts += [float(self.grid[np.searchsorted(below, share)]) for share in (0.25, 0.5, 0.75, 0.95)]
        upper = np.stack([(self.grid > cut).astype(np.float64) for cut in cuts])
        return upper[[bool(0 < (self.counts * row).sum() < self.n) for row in upper]]


def _most_likely(histogram: _Histogram) -> tuple[float, _Humps]:
    """Return the log likelihood of the two humps that fit best, whatever the shape of the lower one, and the humps."""
    grid, upper = histogram.grid, histogram.starts()
    many = np.broadcast_to(histogram.counts, upper.shape)
    best: list[tuple[float, _Humps]] = []
    for fading in (False, True):
        fitted, likelihood = _iterate(many, grid, _maximise(many, upper, grid, fading), _FIRST_ROUNDS)
        ahead = np.argsort(-likelihood, kind="stable")[:_KEPT]
        fitted, likelihood = _iterate(many[ahead], grid, fitted.rows(ahead), _ROUNDS)
        at = int(np.argmax(likelihood))
        best.append((float(likelihood[at]), fitted.rows(slice(at, at + 1))))
    return max(best, key=lambda likely: likely[0])


def resampled_mixture(
    fitted: FittedMixture, rng: np.random.Generator, draws: int, *, min_confidence: float = 0.0
) -> Floats:
    """Return the border of the humps in each of `draws` bootstrap samples of the cells, fitted from those of all.

    NaN where the humps of a sample are not apart enough for `min_confidence`.
    """
    counts = rng.poisson(fitted.counts, (draws, fitted.counts.size)).astype(np.float64)
    zeros = rng.poisson(fitted.zeros, draws).astype(np.float64)
    of_all = fitted.humps
    weights, modes, left, right = (
        np.tile(array, (draws, 1)) for array in (of_all.weights, of_all.modes, of_all.left, of_all.right)
    )
    start = _Humps(weights, modes, left, right, of_all.fading)
    humps, _ = _iterate(counts, fitted.grid, start, _FEW_ROUNDS)
    value, confidence = _border(humps, fitted.grid, counts.sum(axis=1), zeros)
    return np.where(confidence >= min_confidence, value, np.nan)


def _shape(points: Floats, mode: Floats, left: Floats, right: Floats) -> Floats:
    """Return two-piece normal densities (samples, points)."""
    apart = points - mode[:, None]
    width = np.where(apart < 0, left[:, None], right[:, None])
    height = np.sqrt(2.0 / np.pi) / (left + right)
    return np.asarray(height[:, None] * np.exp(-0.5 * (apart / width) ** 2))


def _fading(points: Floats, mode: Floats, left: Floats, right: Floats) -> Floats:
    """Return exponential densities (samples, points) from a start upwards; `left` is 0."""
    apart = points - mode[:, None] + left[:, None]
    return np.where(apart < 0, 0.0, np.exp(-np.maximum(apart, 0.0) / right[:, None]) / right[:, None])


def _fade(weight: Floats, grid: Floats) -> tuple[Floats, Floats, Floats]:
    """Return start, 0 and mean excess of weighted bins (samples, bins)."""
    total = np.maximum(weight.sum(axis=1), 1e-9)
    start = np.full(total.size, grid[0] - (grid[1] - grid[0]) / 2)
    return start, np.zeros_like(start), np.maximum(weight @ (grid - start[0]) / total, _NARROWEST / 2)


def _hump(weight: Floats, grid: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the most likely mode and half widths of weighted bins (samples, bins): every bin is tried as the mode."""
    total = np.maximum(weight.sum(axis=1), 1e-9)[:, None]
    c0, c1, c2 = (np.cumsum(weight * power, axis=1) for power in (1.0, grid, grid**2))
    left = np.maximum(grid**2 * c0 - 2 * grid * c1 + c2, 0.0)
    s0, s1, s2 = (c[:, -1:] - c for c in (c0, c1, c2))
    right = np.maximum(grid**2 * s0 - 2 * grid * s1 + s2, 0.0)
    root_left, root_right = np.cbrt(left), np.cbrt(right)
    spread = root_left + root_right
    at = spread.argmin(axis=1)
    rows = np.arange(weight.shape[0])
    a, b = root_left[rows, at], root_right[rows, at]
    width_left = np.sqrt(a**2 * (a + b) / total[:, 0])
    width_right = np.sqrt(b**2 * (a + b) / total[:, 0])
    # Between the bins by a parabola: a mode that can only jump from bin to bin gets stuck.
    before, after = (spread[rows, np.clip(at + side, 0, grid.size - 1)] for side in (-1, 1))
    bend = before - 2 * spread[rows, at] + after
    aside = np.where(bend > 0, 0.5 * (before - after) / np.where(bend > 0, bend, 1.0), 0.0)
    mode = grid[at] + np.clip(aside, -0.5, 0.5) * (grid[1] - grid[0])
    return mode, np.maximum(width_left, _NARROWEST), np.maximum(width_right, _NARROWEST)


def _bell(weight: Floats, grid: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean and standard deviation, twice, of weighted bins (samples, bins)."""
    total = np.maximum(weight.sum(axis=1), 1e-9)
    mean = weight @ grid / total
    width = np.sqrt(np.maximum(weight @ grid**2 / total - mean**2, _NARROWEST**2))
    return mean, width, width


def _maximise(counts: Floats, upper: Floats, grid: Floats, fading: bool) -> _Humps:
    """Return the humps that fit best, given which share of each bin belongs to the upper one."""
    halves = (counts * (1.0 - upper), counts * upper)
    weights = np.stack([half.sum(axis=1) for half in halves], axis=1)
    weights = np.maximum(weights, 1e-9) / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    fitted = [(_fade if fading else _hump)(halves[0], grid), _bell(halves[1], grid)]
    modes, left, right = (np.stack(pair, axis=1) for pair in zip(*fitted, strict=True))
    return _Humps(weights, modes, left, right, fading)


def _iterate(counts: Floats, grid: Floats, humps: _Humps, rounds: int) -> tuple[_Humps, Floats]:
    before = np.full(counts.shape[0], -np.inf)
    for _ in range(rounds):
        lower, upper = humps.densities(grid)
        both = np.maximum(lower + upper, 1e-300)
        likelihood = np.einsum("ij,ij->i", counts, np.log(both))
        if (likelihood - before < _ENOUGH).all():
            break
        before = likelihood
        humps = _maximise(counts, upper / both, grid, humps.fading)
    return humps, likelihood


def _border(humps: _Humps, grid: Floats, n: Any, zeros: Any) -> tuple[Floats, Floats]:
    """Return where the humps cross between their modes, and 1 minus the share of the smaller under the other."""
    steps = np.linspace(0.0, 1.0, 201)
    points = humps.modes[:, :1] + steps * (humps.modes[:, 1:] - humps.modes[:, :1])
    lower, upper = humps.densities(points)
    crossed = (upper >= lower) & (np.cumsum(upper < lower, axis=1) > 0)
    rows = np.arange(points.shape[0])
    first = crossed.argmax(axis=1)
    # The crossing lies between two points, where the logarithms of both are as good as straight.
    gap = np.log(np.maximum(upper, 1e-300)) - np.log(np.maximum(lower, 1e-300))
    a, b = gap[rows, np.maximum(first - 1, 0)], gap[rows, first]
    share = np.where(b > a, -a / np.where(b > a, b - a, 1.0), 0.0)
    previous = points[rows, np.maximum(first - 1, 0)]
    value = previous + np.clip(share, 0.0, 1.0) * (points[rows, first] - previous)
    value = np.where(crossed.any(axis=1), value, np.nan)
    step = grid[1] - grid[0]
    shared = np.minimum(*humps.densities(grid)).sum(axis=1) * step
    smaller = np.minimum(humps.weights[:, 0] + np.asarray(zeros) / np.maximum(n, 1), humps.weights[:, 1])
    return value, np.clip(1.0 - shared / np.maximum(smaller, 1e-9), 0.0, 1.0)
