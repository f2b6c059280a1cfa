"""Linear models of many rows at once, whose variances lend strength to each other; arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TRIM = 0.15


@dataclass(frozen=True)
class Linear:
    """What a fit of one contrast found, a value a row."""

    effect: Floats
    unscaled: Floats
    variance: Floats
    df: Floats


@dataclass(frozen=True)
class Prior:
    """The distribution that the variances were drawn from: its scale and its degrees of freedom."""

    variance: float
    df: float

    def squeeze(self, variance: Floats, df: Floats) -> tuple[Floats, Floats]:
        """Return the posterior variances and their degrees of freedom (no more than all rows have together)."""
        own = np.where(df > 0, np.nan_to_num(variance), 0.0)
        if np.isinf(self.df):
            posterior = np.full(len(df), self.variance)
        else:
            posterior = (df * own + self.df * self.variance) / np.maximum(df + self.df, 1e-300)
        return posterior, np.minimum(df + self.df, df.sum())


def trigamma_inverse(x: float) -> float:
    """Return y with trigamma(y) = x, for x > 0, by Newton's method on 1 / trigamma, which is nearly straight."""
    from scipy.special import polygamma

    if x > 1e7:
        return float(1.0 / np.sqrt(x))
    if x < 1e-6:
        return 1.0 / x
    y = 0.5 + 1.0 / x
    for _ in range(50):
        value = float(polygamma(1, y))
        step = value * (1.0 - value / x) / float(polygamma(2, y))
        y += step
        if -step / y < 1e-10:
            break
    return y


def fit_prior(variance: Floats, df: Floats) -> Prior:
    """Fit a scaled F distribution to residual variances by the moments of their logarithms.

    Smyth 2004, doi:10.2202/1544-6115.1027, section 6.2. With fewer than two rows nothing can be lent: df 0.
    """
    from scipy.special import digamma, polygamma

    use = np.isfinite(variance) & (df > 1e-15) & (variance > -1e-15)
    s2, d = np.maximum(variance[use], 0.0), df[use]
    if len(s2) < 2:
        return Prior(float(s2[0]) if len(s2) else float("nan"), 0.0)
    middle = float(np.median(s2)) or 1.0
    s2 = np.maximum(s2, 1e-5 * middle)
    e = np.log(s2) - digamma(d / 2) + np.log(d / 2)
    spread = float(np.sum((e - e.mean()) ** 2) / (len(e) - 1) - polygamma(1, d / 2).mean())
    if spread <= 0:
        return Prior(float(s2.mean()), float("inf"))
    prior_df = 2.0 * trigamma_inverse(spread)
    return Prior(float(np.exp(e.mean() + digamma(prior_df / 2) - np.log(prior_df / 2))), prior_df)


def fit_linear(
    values: Floats,
    contrast: Floats,
    rest: Floats,
    *,
    weights: Floats | None = None,
    block: NDArray[np.intp] | None = None,
    correlation: float = 0.0,
) -> Linear:
    """Fit each row of `values` (rows x samples, NaN is missing) by (generalised) least squares.

    Parameters
    ----------
    values
        Rows x samples.
    contrast, rest
        The column whose coefficient is wanted, and the others (see `split_contrast`).
    weights
        Inverse relative variances, same shape as `values`.
    block, correlation
        Block of each sample, and how samples of one block are correlated.
    """
    moments = np.full((4, len(values)), np.nan)
    moments[3] = 0.0
    for g, row in enumerate(values):
        ok = np.isfinite(row)
        if weights is not None:
            ok &= weights[g] > 0
        size = int(ok.sum())
        if size == 0:
            continue
        white = _whitening(
            None if weights is None else weights[g, ok], None if block is None else block[ok], correlation
        )
        y, x, z = _apply(white, row[ok]), _apply(white, contrast[ok]), _apply(white, rest[ok])
        basis = _basis(z)
        alone = x - basis @ (basis.T @ x)
        length = float(alone @ alone)
        if length <= 1e-12 * max(float(x @ x), 1e-300):
            continue
        residual = y - basis @ (basis.T @ y)
        effect = float(alone @ residual) / length
        df = size - basis.shape[1] - 1
        squares = float(np.sum((residual - effect * alone) ** 2))
        if squares <= 1e-20 * float(y @ y):
            # A fit without any error leaves nothing to judge by.
            df = 0
        moments[:, g] = effect, 1.0 / np.sqrt(length), squares / df if df > 0 else np.nan, max(df, 0)
    return Linear(*moments)


def restricted_log_likelihood(
    row: Floats, matrix: Floats, weights: Floats | None, block: NDArray[np.intp] | None, correlation: float
) -> float:
    """Return the restricted log likelihood of one row, its variance profiled out, constants left off."""
    white = _whitening(weights, block, correlation)
    y, x = _apply(white, row), _apply(white, matrix)
    q, triangle = np.linalg.qr(x)
    residual = y - q @ (q.T @ y)
    df = len(row) - matrix.shape[1]
    diagonal = white if white.ndim == 1 else np.diag(white)
    squares = max(float(residual @ residual), 1e-300)
    half_det = float(np.log(np.abs(diagonal)).sum() - np.log(np.abs(np.diag(triangle)) + 1e-300).sum())
    return float(half_det - 0.5 * df * float(np.log(squares)))


def block_correlation(
    values: Floats, matrix: Floats, block: NDArray[np.intp], weights: Floats | None = None
) -> float:
    """Return the correlation of samples of one block that all rows share.

    Per row by restricted maximum likelihood, then the trimmed mean (15 % at each end) of the inverse hyperbolic
    tangents (Smyth, Michaud & Scott 2005, doi:10.1093/bioinformatics/bti270).
    """
    from scipy.optimize import minimize_scalar

    largest = int(np.bincount(block).max())
    low = -1.0 / (largest - 1) + 0.01 if largest > 1 else -0.99
    transformed: list[float] = []
    for g, row in enumerate(values):
        ok = np.isfinite(row)
        x = matrix[ok]
        repeated = np.bincount(block[ok]).max(initial=0) > 1
        if not repeated or np.linalg.matrix_rank(x) < x.shape[1] or int(ok.sum()) <= x.shape[1] + 1:
            continue
        if float(np.ptp(row[ok])) == 0.0:
            continue
        w = None if weights is None else weights[g, ok]

        def unlikely(
            rho: float,
            y: Floats = row[ok],
            x: Floats = x,
            w: Floats | None = w,
            b: NDArray[np.intp] = block[ok],
        ) -> float:
            return -restricted_log_likelihood(y, x, w, b, rho)

        best = minimize_scalar(unlikely, bounds=(low, 0.99), method="bounded", options={"xatol": 1e-7})
        transformed.append(float(np.arctanh(best.x)))
    if not transformed:
        return 0.0
    ordered = np.sort(transformed)
    cut = int(TRIM * len(ordered))
    return float(np.tanh(ordered[cut : len(ordered) - cut].mean()))


def moderate(fit: Linear, level: float) -> dict[str, Floats]:
    """Return effect, low, high, t, df, p of moderated t tests (Smyth 2004), a value a row; NaN where there is none."""
    from scipy.special import stdtr, stdtrit

    prior = fit_prior(fit.variance, fit.df)
    posterior, df = prior.squeeze(fit.variance, fit.df)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(posterior) * fit.unscaled
        t = fit.effect / error
        usable = np.isfinite(t) & (df > 0) & (fit.df > 0)
        t, df = np.where(usable, t, np.nan), np.where(usable, df, np.nan)
        p = 2.0 * stdtr(df, -np.abs(t))
        half = stdtrit(df, (1.0 + level) / 2.0) * error
    return {
        "effect": fit.effect,
        "low": fit.effect - half,
        "high": fit.effect + half,
        "statistic": t,
        "df": df,
        "p": p,
    }


def _whitening(weights: Floats | None, block: NDArray[np.intp] | None, correlation: float) -> Floats:
    """Return what makes the errors independent: a vector of roots of weights, or the inverse of a Cholesky factor."""
    if block is None or correlation == 0.0:
        if weights is None:
            return np.ones(1)
        return np.sqrt(weights)
    covariance = np.where(block[:, None] == block[None, :], correlation, 0.0)
    np.fill_diagonal(covariance, 1.0)
    if weights is not None:
        root = 1.0 / np.sqrt(weights)
        covariance *= root[:, None] * root[None, :]
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)))


def _apply(white: Floats, values: Floats) -> Floats:
    if white.ndim == 2:
        return np.asarray(white @ values)
    return np.asarray(values * (white if values.ndim == 1 else white[:, None]))


def _basis(z: Floats) -> Floats:
    """Return an orthonormal basis of the columns of `z`, fewer where a missing sample made some the same."""
    if z.shape[1] == 0:
        return np.zeros((len(z), 0))
    u, s, _ = np.linalg.svd(z, full_matrices=False)
    return np.asarray(u[:, s > 1e-9 * max(float(s[0]), 1e-300)])
