"""How differently two tubes were stained, as the host T cells in them show it.

A difference in staining, titre or sensitivity multiplies counts. In arcsinh units it moves a cell at y by tanh(y) x
shift, that is by the whole shift where the signal is well above the cofactor, and not at all at 0. So the shift is
estimated from the positive part of the host's distribution, as the logarithm of the ratio of counts, and is taken
off cell by cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.tl._markers.groups import Floats

# Quantiles at which two distributions are laid beside each other.
_GRID = (np.arange(200) + 0.5) / 200
# asinh(2): ten counts at cofactor 5. Negative cells are rarely above it, and there arcsinh is nearly a logarithm.
FLOOR = float(np.arcsinh(2.0))
# A stratum of host cells is used from this many cells on, and a marker with this many of them, and this share, above
# the floor. Of cells that lack a marker one or two in a hundred are there too; their level does not follow staining.
MIN_HOST = 100
MIN_POSITIVE = 40
MIN_SHARE = 0.02
_DRAWS = 100
# What host cells show is not to the last hundredth what CAR-T cells had: the channel may hold signal that spilled from
# markers the two have more or less of. More cells do not make this error smaller.
TRANSFER_ERROR = 0.03


@dataclass(frozen=True)
class Staining:
    """The change of staining between two tubes, one number per marker.

    Parameters
    ----------
    shift
        Change, b less a, in arcsinh units well above the cofactor; NaN where the host cannot show it.
    error
        Its standard error, NaN where `shift` is.
    assumed, allowance
        What takes its place where the host cannot show it: the middle of the markers it can, and the standard
        deviation allowed for.
    """

    shift: Floats
    error: Floats
    assumed: float
    allowance: float

    @property
    def used(self) -> Floats:
        """Return the shift that is taken off: the measured one, else the assumed one."""
        return np.where(np.isfinite(self.shift), self.shift, self.assumed)

    @property
    def used_error(self) -> Floats:
        """Return the standard error of what is taken off."""
        return np.where(np.isfinite(self.error), self.error, self.allowance)


def take_off(values: Floats, shift: Floats | float) -> Floats:
    """Return arcsinh values as they would be with all counts divided by exp(shift). Zeros stay 0.

    Parameters
    ----------
    values
        Arcsinh units.
    shift
        Broadcasts against `values`.
    """
    return np.asarray(np.arcsinh(np.sinh(values) * np.exp(-np.asarray(shift))))


def estimate(
    hosts_a: Sequence[Floats], hosts_b: Sequence[Floats], staining_sd: float, rng: np.random.Generator
) -> Staining:
    """Estimate the change of staining of every marker from strata of host cells, the same in both tubes.

    Within a stratum (CD4, CD8) the quantile functions of the two tubes are compared where both are above `FLOOR`: the
    logarithms of the ratios of counts are averaged with weights of one over their bootstrap variance, which
    is large where the share of positive cells, and not their level, decides. Cells
    above the floor that lack the marker hide part of the change: their likely share, `MIN_SHARE` of the share above the
    floor, times the staining assumed, is added to the error. Strata are joined by one over their
    variances with a between-strata variance added (DerSimonian & Laird 1986, doi:10.1016/0197-2456(86)90046-2), so
    neither a change of the host's mix nor of one stratum passes for staining. `TRANSFER_ERROR` is added last.

    Parameters
    ----------
    hosts_a, hosts_b
        Per stratum (markers, cells) sorted arcsinh values.
    staining_sd
        Standard deviation between tubes that is assumed at least where a marker cannot be measured.
    rng
        For the bootstrap.
    """
    markers = hosts_a[0].shape[0] if len(hosts_a) else 0
    shifts, variances = [], []
    for a, b in zip(hosts_a, hosts_b, strict=True):
        if min(a.shape[1], b.shape[1]) >= MIN_HOST:
            shift, variance = _stratum(a, b, staining_sd * float(np.sqrt(2.0)), rng)
            shifts.append(shift)
            variances.append(variance)
    if not shifts:
        nothing = np.full(markers, np.nan)
        return Staining(nothing, nothing, 0.0, staining_sd * np.sqrt(2.0))
    shift, error = _join(np.stack(shifts), np.stack(variances))
    error = np.hypot(error, TRANSFER_ERROR)
    known = np.isfinite(shift)
    assumed, spread = 0.0, 0.0
    if known.sum() >= 5:
        assumed = float(np.median(shift[known]))
        spread = float(1.4826 * np.median(np.abs(shift[known] - assumed)))
    return Staining(shift, error, assumed, max(spread, staining_sd * float(np.sqrt(2.0))))


def _stratum(a: Floats, b: Floats, hidden: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return shift and variance for each marker in one stratum, NaN where too few cells are positive."""
    fine_a, fine_b = _ranks(a.shape[1], rng), _ranks(b.shape[1], rng)
    at_a, at_b = a[:, _grid_ranks(a.shape[1])], b[:, _grid_ranks(b.shape[1])]
    above_a, above_b = (a > FLOOR).sum(axis=1), (b > FLOOR).sum(axis=1)
    enough = np.minimum(above_a, above_b) >= MIN_POSITIVE
    share = np.minimum(above_a / a.shape[1], above_b / b.shape[1])
    enough &= share >= MIN_SHARE
    shift, variance = np.full(len(a), np.nan), np.full(len(a), np.nan)
    for m in np.flatnonzero(enough):
        use = np.minimum(at_a[m], at_b[m]) > FLOOR
        if not use.any():
            continue
        ratio = _log_counts(at_b[m, use]) - _log_counts(at_a[m, use])
        # Columns are quantiles, rows draws: what sampling alone does to each quantile.
        drawn = _log_counts(b[m][fine_b[:, use]]) - _log_counts(a[m][fine_a[:, use]])
        noise = drawn.var(axis=0, ddof=1) + 1e-6
        weight = 1.0 / noise
        weight /= weight.sum()
        shift[m] = ratio @ weight
        # A change of level moves all quantiles alike; what they disagree by beyond noise is added to the error.
        disagreement = max(float(weight @ (ratio - shift[m]) ** 2 - weight @ noise), 0.0)
        hides = MIN_SHARE / share[m] * hidden
        variance[m] = float((drawn @ weight).var(ddof=1)) + disagreement + hides**2
    return shift, variance


def _join(shifts: Floats, variances: Floats) -> tuple[Floats, Floats]:
    known = np.isfinite(shifts)
    weight = np.where(known, 1.0 / np.where(known, variances, 1.0), 0.0)
    values = np.where(known, shifts, 0.0)
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weight * values).sum(axis=0) / total
        excess = (weight * (values - mean) ** 2).sum(axis=0) - (known.sum(axis=0) - 1)
        scale = total - (weight**2).sum(axis=0) / total
        between = np.where((excess > 0) & (scale > 0), excess / scale, 0.0)
        weight = np.where(known, 1.0 / (np.where(known, variances, 1.0) + between), 0.0)
        total = weight.sum(axis=0)
        mean = (weight * values).sum(axis=0) / total
        error = 1.0 / np.sqrt(total)
    some = known.any(axis=0)
    return np.where(some, mean, np.nan), np.where(some, error, np.nan)


def _log_counts(values: Floats) -> Floats:
    # Quantiles of a draw may fall to 0; half a count at the usual cofactor keeps the logarithm finite.
    return np.asarray(np.log(np.maximum(np.sinh(values), 0.1)))


def _grid_ranks(n: int) -> NDArray[np.intp]:
    return np.minimum((np.ceil(_GRID * n) - 1).astype(np.intp), n - 1)


def _ranks(n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return (draws, grid): which order statistic each quantile of a bootstrap sample of n cells is.

    The quantile of rank r of a bootstrap sample is the order statistic at ceil(n U), with U the r-th of n sorted
    uniform numbers; those of several ranks are sums of gamma numbers over their total, so no sample is drawn.
    """
    rank = _grid_ranks(n) + 1
    steps = np.diff(np.concatenate([[0], rank, [n + 1]])).astype(np.float64)
    gaps = rng.standard_gamma(np.maximum(steps, 1e-9), size=(_DRAWS, len(steps)))
    uniform = np.cumsum(gaps, axis=1)
    uniform = uniform[:, :-1] / uniform[:, -1:]
    return np.clip(np.ceil(n * uniform).astype(np.intp) - 1, 0, n - 1)
