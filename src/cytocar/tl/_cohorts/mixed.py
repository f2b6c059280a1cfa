"""Linear mixed models with one random intercept, row by row, by restricted likelihood; arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Logarithms of the ratio of the two variances, block to residual; the optimum is searched between neighbours.
_GRID: Final = np.linspace(-9.0, 12.0, 22)


@dataclass(frozen=True)
class Mixed:
    """One contrast of each row: effect, standard error, degrees of freedom, and the two standard deviations."""

    effect: Floats
    error: Floats
    df: Floats
    sd_block: Floats
    sd_rest: Floats

    def tested(self, level: float) -> dict[str, Floats]:
        """Return effect, low, high, t, df and p, NaN where there is no error to judge by."""
        from scipy.special import stdtr, stdtrit

        with np.errstate(divide="ignore", invalid="ignore"):
            usable = np.isfinite(self.error) & (self.error > 0) & (self.df > 0)
            t = np.where(usable, self.effect / self.error, np.nan)
            df = np.where(usable, self.df, np.nan)
            half = stdtrit(df, (1.0 + level) / 2.0) * self.error
            p = 2.0 * stdtr(df, -np.abs(t))
        low, high = self.effect - half, self.effect + half
        return {"effect": self.effect, "low": low, "high": high, "statistic": t, "df": df, "p": p}


def fit_mixed(
    values: Floats,
    matrix: Floats,
    contrast: Floats,
    block: NDArray[np.intp],
    weights: Floats | None = None,
) -> Mixed:
    """Fit y = X b + u_block + e to each row by restricted maximum likelihood (Patterson & Thompson 1971).

    u varies by s_u^2 between blocks and e by s_e^2 / weight (doi:10.1093/biomet/58.3.545). Degrees of freedom of a
    contrast c after Satterthwaite 1946 (doi:10.2307/3002019) as in Fai & Cornelius 1996
    (doi:10.1080/00949659608811740): 2 C^2 / (g' A g), C the variance of c'b, g its gradient in the variances and A
    their covariance matrix from the observed information. Where s_u is estimated as 0 the model is the linear one.

    Parameters
    ----------
    values
        Rows x samples, NaN is missing.
    matrix
        Samples x coefficients of full rank.
    contrast
        Weights of the coefficients.
    block
        Block of each sample.
    weights
        Inverse relative variances of e, same shape as `values`.
    """
    moments = np.full((5, len(values)), np.nan)
    for g, row in enumerate(values):
        ok = np.isfinite(row)
        if weights is not None:
            ok &= weights[g] > 0
        w = np.ones(int(ok.sum())) if weights is None else weights[g, ok]
        reduced = _reduced(matrix[ok], contrast)
        if reduced is not None:
            moments[:, g] = _fit_row(row[ok], *reduced, block[ok], w)
    return Mixed(*moments)


def _reduced(matrix: Floats, contrast: Floats) -> tuple[Floats, Floats] | None:
    """Return matrix and contrast in as many columns as the samples of a row hold, None where they cannot answer."""
    if not len(matrix):
        return None
    _, size, turn = np.linalg.svd(matrix, full_matrices=False)
    kept = turn[size > 1e-9 * max(float(size[0]), 1e-300)]
    if not np.allclose(
        kept.T @ (kept @ contrast), contrast, atol=1e-8 * max(1.0, float(np.abs(contrast).max()))
    ):
        return None
    return matrix @ kept.T, kept @ contrast


def _fit_row(
    y: Floats, x: Floats, contrast: Floats, block: NDArray[np.intp], w: Floats
) -> tuple[float, float, float, float, float]:
    from scipy.optimize import minimize_scalar

    n, p = x.shape
    profile = _Parts.of(y, x, block, w)
    if n <= p or float(np.bincount(np.unique(block, return_inverse=True)[1]).max()) < 2:
        # No block has two samples: what is between blocks cannot be separated from what is within.
        ratio = 0.0
    else:
        grid = np.array([profile.deviance(float(np.exp(log))) for log in _GRID])
        at = int(np.argmin(grid))
        bounds = (float(_GRID[max(at - 1, 0)]) - 3.0 * (at == 0), float(_GRID[min(at + 1, len(_GRID) - 1)]))
        best = minimize_scalar(
            lambda log: profile.deviance(float(np.exp(log))),
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-9},
        )
        ratio = float(np.exp(best.x)) if best.fun < profile.deviance(0.0) - 1e-9 else 0.0
    inverse, beta, squares = profile.solve(ratio)
    effect, df = float(contrast @ beta), float(n - p)
    if n <= p or squares <= 1e-20 * float(y @ (w * y)):
        return effect, np.nan, 0.0, np.nan, np.nan
    rest = squares / (n - p)
    between = ratio * rest
    error = float(np.sqrt(rest * (contrast @ inverse @ contrast)))
    if ratio > 0:
        of_block = (block[:, None] == block[None, :]).astype(np.float64)
        df = satterthwaite(
            y, x, contrast, rest * np.diag(1.0 / w), (between, rest), (of_block, np.diag(1.0 / w))
        )
    return effect, error, df, float(np.sqrt(between)), float(np.sqrt(rest))


@dataclass(frozen=True)
class _Parts:
    """Sums from which the restricted likelihood follows for any ratio of variances without an inverse of n x n.

    With V = D + r B B' (D diagonal, B the blocks), a'V^-1 b = a'D^-1 b - sum over blocks of r / (1 + r s) t_a t_b,
    where s, t_a and t_b are the block's sums of weights, weighted a and weighted b (Sherman, Morrison & Woodbury).
    """

    whole: Floats
    sums: Floats
    sizes: Floats
    n: int

    @classmethod
    def of(cls, y: Floats, x: Floats, block: NDArray[np.intp], w: Floats) -> _Parts:
        both = np.column_stack([x, y])
        codes = np.unique(block, return_inverse=True)[1]
        sums = np.zeros((int(codes.max()) + 1, both.shape[1]))
        np.add.at(sums, codes, w[:, None] * both)
        sizes = np.bincount(codes, weights=w).astype(np.float64)
        return cls(both.T @ (w[:, None] * both), sums, sizes, len(y))

    def products(self, ratio: float) -> Floats:
        """Return [X y]' V^-1 [X y]."""
        shrink = ratio / (1.0 + ratio * self.sizes)
        return np.asarray(self.whole - (self.sums * shrink[:, None]).T @ self.sums)

    def solve(self, ratio: float) -> tuple[Floats, Floats, float]:
        """Return (X'V^-1X)^-1, the coefficients, and the weighted sum of squares."""
        a = self.products(ratio)
        inverse = np.asarray(np.linalg.inv(a[:-1, :-1]), dtype=np.float64)
        beta = inverse @ a[:-1, -1]
        return inverse, beta, max(float(a[-1, -1] - a[-1, :-1] @ beta), 0.0)

    def deviance(self, ratio: float) -> float:
        """Return -2 log restricted likelihood, the residual variance profiled out, constants left off."""
        a = self.products(ratio)
        # The Schur complement of X'V^-1X in the whole is the sum of squares, so one determinant gives both.
        log_x = float(np.linalg.slogdet(a[:-1, :-1])[1])
        squares = max(float(a[-1, -1] - a[-1, :-1] @ np.linalg.solve(a[:-1, :-1], a[:-1, -1])), 1e-300)
        p = len(a) - 1
        return float(np.log1p(ratio * self.sizes).sum()) + log_x + (self.n - p) * float(np.log(squares))


def satterthwaite(
    y: Floats | None,
    x: Floats,
    contrast: Floats,
    fixed: Floats,
    variances: tuple[float, ...],
    shapes: tuple[Floats, ...],
) -> float:
    """Return the degrees of freedom of a contrast of a linear model whose variances are estimated.

    V is the sum of `variances` times `shapes`; with `y` given, the information about them is the observed one of the
    restricted likelihood, and where that is not positive, or `y` is None, the expected one. At least 1, at most n - p.

    Parameters
    ----------
    y
        Observations, or None.
    x
        Design of full rank.
    contrast
        Weights of the coefficients.
    fixed
        A part of V that is known, added to the others only where `y` is None.
    variances, shapes
        Estimated variances and the matrices (n x n) they multiply.
    """
    v = sum((s * k for s, k in zip(variances, shapes, strict=True)), np.zeros_like(shapes[0]))
    if y is None:
        v = v + fixed
    inverse = np.linalg.inv(v)
    xv = x.T @ inverse
    covariance = np.linalg.inv(xv @ x)
    projection = inverse - xv.T @ covariance @ xv
    along = contrast @ covariance @ xv
    variance = float(contrast @ covariance @ contrast)
    gradient = np.array([along @ k @ along for k in shapes])
    moved = [projection @ k for k in shapes]
    expected = np.array([[0.5 * float(np.sum(a * b.T)) for b in moved] for a in moved])
    information = expected
    if y is not None:
        py = projection @ y
        data = np.array([[float(py @ a @ projection @ b @ py) for b in shapes] for a in shapes])
        observed = data - expected
        if np.linalg.eigvalsh(observed)[0] > 1e-9 * float(np.abs(expected).max()):
            information = observed
    spread = float(gradient @ np.linalg.pinv(information) @ gradient)
    most = float(len(x) - x.shape[1])
    if spread <= 0:
        return most
    return float(np.clip(2.0 * variance**2 / spread, min(1.0, most), most))
