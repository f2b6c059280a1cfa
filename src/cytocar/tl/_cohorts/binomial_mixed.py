"""Binomial models whose logits vary between samples and between patients; one cluster at a time, arrays only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar.tl._cohorts.mixed import Mixed, satterthwaite

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Standard deviations of logits that are searched; beyond the last no sample says anything about another.
_LARGEST: Final = 10.0
_SMALL: Final = 0.02


@dataclass(frozen=True)
class Counts:
    """What is fitted: `k` of `n` cells in each sample, a design, and the shapes (n x n) of the variances."""

    k: Floats
    n: Floats
    x: Floats
    shapes: tuple[Floats, ...]

    def covariance(self, sds: Floats) -> Floats:
        """Return the covariance of the logits about their mean."""
        return np.asarray(np.tensordot(np.asarray(sds) ** 2, np.stack(self.shapes), 1))

    def likelihood(self, eta: Floats) -> float:
        """Return the log likelihood of the counts given their logits, the binomial coefficient left off."""
        return float(np.sum(self.k * eta - self.n * np.logaddexp(0.0, eta)))

    def mean_and_weight(self, eta: Floats) -> tuple[Floats, Floats, Floats]:
        """Return expected counts, their variances, and shares, at given logits."""
        share = 1.0 / (1.0 + np.exp(-np.clip(eta, -40.0, 40.0)))
        return self.n * share, np.maximum(self.n * share * (1.0 - share), 1e-10), share


def fit_mixed(
    counts: Floats,
    totals: Floats,
    matrix: Floats,
    contrast: Floats,
    block: NDArray[np.intp] | None = None,
) -> Mixed:
    """Fit each row by a binomial model with random intercepts of the sample and, with `block`, of the block.

    logit p = X b + u_block + v_sample. The effect maximises the likelihood in Laplace's approximation (Breslow &
    Clayton 1993, doi:10.1080/01621459.1993.10594284; the model that Weber et al. 2019,
    doi:10.1038/s42003-019-0415-5, fit with lme4). A likelihood that is maximised takes variances of few patients too
    small, so the standard error rests on variances from the restricted one, in which coefficients are integrated out,
    and the p on a t distribution with Satterthwaite degrees of freedom.

    Parameters
    ----------
    counts, totals
        Cells of each cluster (rows x samples), and all cells (samples).
    matrix
        Samples x coefficients of full rank.
    contrast
        Weights of the coefficients.
    block
        Block of each sample, or None; used where some block has two samples.
    """
    shapes = shapes_of(len(totals), block)
    moments = np.full((5, len(counts)), np.nan)
    for g, row in enumerate(counts):
        data = Counts(row, totals, matrix, shapes)
        if len(totals) <= matrix.shape[1] or separated(row, totals, matrix):
            continue
        sds, mode = restricted(data)
        beta = maximised(data, sds, mode.beta)[0]
        k = data.covariance(sds)
        sampling = np.diag(1.0 / mode.weight)
        free = [i for i, sd in enumerate(sds) if sd > 0]
        covariance = np.linalg.inv(matrix.T @ np.linalg.solve(sampling + k, matrix))
        df = float(len(totals) - matrix.shape[1])
        if free:
            variances = tuple(float(sds[i] ** 2) for i in free)
            df = satterthwaite(None, matrix, contrast, sampling, variances, tuple(shapes[i] for i in free))
        of_block = float(sds[1]) if len(shapes) > 1 else 0.0
        error = float(np.sqrt(contrast @ covariance @ contrast))
        moments[:, g] = float(contrast @ beta), error, df, of_block, float(sds[0])
    return Mixed(*moments)


def shapes_of(n: int, block: NDArray[np.intp] | None) -> tuple[Floats, ...]:
    """Return the shapes of the variances: of samples, and of blocks where one has two samples."""
    each = np.eye(n)
    if block is None or len(np.unique(block)) == n:
        return (each,)
    return each, (block[:, None] == block[None, :]).astype(np.float64)


def separated(k: Floats, n: Floats, matrix: Floats) -> bool:
    """Tell whether some coefficients can grow without end and the fit only gets better, as with no cells in one group.

    So it is where a change of the coefficients leaves every sample that has both as it is, moves those without cells
    down or not at all, those with nothing else up or not at all, and at least one (Albert & Anderson 1984,
    doi:10.1093/biomet/71.1.1).
    """
    from scipy.optimize import linprog

    none, every = (k == 0) & (n > 0), (k == n) & (n > 0)
    edge = none | every
    if not edge.any():
        return False
    outward = np.where(every, 1.0, -1.0)[:, None] * matrix
    inner = matrix[~edge & (n > 0)]
    best = linprog(
        -outward[edge].sum(axis=0),
        A_ub=-outward[edge],
        b_ub=np.zeros(int(edge.sum())),
        A_eq=inner if len(inner) else None,
        b_eq=np.zeros(len(inner)) if len(inner) else None,
        bounds=(-1.0, 1.0),
    )
    return bool(best.status != 0 or -best.fun > 1e-7)


@dataclass(frozen=True)
class Mode:
    """Where coefficients and random effects together are most likely, and the restricted log likelihood there."""

    beta: Floats
    eta: Floats
    weight: Floats
    likelihood: float


def joint_mode(data: Counts, sds: Floats, start: Floats | None = None) -> Mode:
    """Return the joint mode for given standard deviations, by iterated weighted least squares.

    Each step fits logits z = eta + (k - mu) / w by generalised least squares with the covariance 1 / w + K.
    """
    k = data.covariance(sds)
    eta = np.log((data.k + 0.5) / (data.n - data.k + 0.5)) if start is None else start
    best = -np.inf
    beta, a = np.zeros(data.x.shape[1]), np.zeros(len(eta))
    for step in range(60):
        mu, w, _ = data.mean_and_weight(eta)
        z = eta + (data.k - mu) / w
        root = np.linalg.inv(np.linalg.cholesky(np.diag(1.0 / w) + k))
        q, triangle = np.linalg.qr(root @ data.x)
        new_beta = np.linalg.solve(triangle, q.T @ (root @ z))
        new_a = root.T @ (root @ (z - data.x @ new_beta))
        if step == 0:
            beta, a = new_beta, new_a
        size = 1.0
        for _ in range(10):
            trial = beta + size * (new_beta - beta), a + size * (new_a - a)
            eta = data.x @ trial[0] + k @ trial[1]
            value = data.likelihood(eta) - 0.5 * float(trial[1] @ k @ trial[1])
            if value >= best - 1e-9 * (1.0 + abs(best)):
                break
            size /= 2.0
        beta, a = trial
        done = abs(value - best) <= 1e-9 * (1.0 + abs(value))
        best = value
        if done:
            break
    w = data.mean_and_weight(eta)[1]
    inner = np.linalg.slogdet(np.eye(len(w)) + k * w)[1]
    outer = np.linalg.slogdet(data.x.T @ np.linalg.solve(np.diag(1.0 / w) + k, data.x))[1]
    return Mode(beta, eta, w, best - 0.5 * float(inner) - 0.5 * float(outer))


def restricted(data: Counts) -> tuple[Floats, Mode]:
    """Return the standard deviations that are most likely when coefficients are integrated out, and the mode there."""
    last: list[Floats | None] = [None]

    def unlikely(sds: Floats) -> float:
        mode = joint_mode(data, np.abs(sds), last[0])
        last[0] = mode.eta
        return -mode.likelihood

    sds = _smallest(unlikely, len(data.shapes))
    return sds, joint_mode(data, sds, last[0])


def maximised(data: Counts, sds: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Return coefficients and standard deviations that maximise Laplace's approximation of the likelihood."""
    from scipy.optimize import minimize

    p = data.x.shape[1]
    start = np.concatenate([beta, np.maximum(sds, 0.1)])
    warm = [np.log((data.k + 0.5) / (data.n - data.k + 0.5)) - data.x @ beta]

    def unlikely(both: Floats) -> tuple[float, Floats]:
        value, slope, warm[0] = laplace(data, both[:p], both[p:], warm[0])
        return -value, -slope

    # Only squares of standard deviations count, so there is no edge at 0: what is below is the mirror image.
    best = minimize(unlikely, start, jac=True, method="BFGS", options={"gtol": 1e-5})
    return best.x[:p], np.abs(best.x[p:])


def laplace(
    data: Counts, beta: Floats, sds: Floats, start: Floats | None = None
) -> tuple[float, Floats, Floats]:
    """Return Laplace's approximation of the log likelihood, its gradient in (beta, sds), and the random effects.

    log L = l(X beta + b) - b' K^-1 b / 2 - log |I + K W| / 2 at the mode b of the first two, W the variances of the
    counts there. The mode moves with the parameters, which the gradient takes into account (Rasmussen & Williams 2006,
    section 5.5.1).
    """
    k = data.covariance(sds)
    fixed = data.x @ beta
    b: Floats = np.zeros(len(fixed), dtype=np.float64) if start is None else start
    identity = np.eye(len(b))
    best = -np.inf
    a: Floats = np.zeros(len(b))
    for step in range(60):
        mu, w, _ = data.mean_and_weight(fixed + b)
        new: Floats = np.asarray(
            np.linalg.solve(np.diag(1.0 / w) + k, b + (data.k - mu) / w), dtype=np.float64
        )
        if step == 0:
            a = new
        size = 1.0
        for _ in range(10):
            trial = a + size * (new - a)
            b = np.asarray(k @ trial)
            value = data.likelihood(fixed + b) - 0.5 * float(trial @ b)
            if value >= best - 1e-12 * (1.0 + abs(best)):
                break
            size /= 2.0
        a = trial
        done = abs(value - best) <= 1e-12 * (1.0 + abs(value))
        best = value
        if done:
            break
    mu, w, share = data.mean_and_weight(fixed + b)
    rest = data.k - mu
    spread = identity + k * w
    turned = np.linalg.inv(spread)
    log_det = float(np.linalg.slogdet(spread)[1])
    # The diagonal of (K^-1 + W)^-1, times the slope of W: what moving the mode does to the determinant.
    moved = np.einsum("ij,ji->i", turned, k) * w * (1.0 - 2.0 * share)
    slope_beta = data.x.T @ rest - 0.5 * moved @ turned @ data.x
    slope_sds = []
    for sd, shape in zip(sds, data.shapes, strict=True):
        change = 2.0 * sd * shape
        explicit = 0.5 * float(rest @ change @ rest)
        explicit -= 0.5 * float(np.einsum("ij,ji->", w[:, None] * turned, change))
        slope_sds.append(explicit - 0.5 * float(moved @ turned @ change @ rest))
    return best - 0.5 * log_det, np.concatenate([slope_beta, slope_sds]), b


def _smallest(function: Callable[[Floats], float], size: int) -> Floats:
    """Return the standard deviations, of one or two variances, at which a function is smallest; small ones are 0."""
    from scipy.optimize import minimize, minimize_scalar

    def along(log: float) -> float:
        return function(np.array([float(np.exp(log))]))

    bounds = (float(np.log(_SMALL / 4.0)), float(np.log(_LARGEST)))
    if size == 1:
        best = minimize_scalar(along, bounds=bounds, method="bounded", options={"xatol": 1e-4})
        deviations = np.array([float(np.exp(best.x))])
    else:
        steps = np.log([[0.3, 0.3], [0.6, 0.3], [0.3, 0.6]])
        result = minimize(
            lambda logs: function(np.exp(np.clip(logs, *bounds))),
            steps[0],
            method="Nelder-Mead",
            options={"xatol": 1e-3, "fatol": 1e-6, "initial_simplex": steps, "maxfev": 300},
        )
        deviations = np.exp(np.clip(result.x, *bounds))
    return np.where(deviations < _SMALL, 0.0, deviations)
