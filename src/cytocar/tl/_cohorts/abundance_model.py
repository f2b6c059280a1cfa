"""Counts of many clusters at once: generalised linear models with over-dispersion; arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar.tl._cohorts.design import split_contrast
from cytocar.tl._cohorts.moderated import fit_prior

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PRIOR_COUNT: Final = 0.125
_FAR: Final = 40.0
_OPEN: Final = 15.0
_TINY: Final = 1e-10


@dataclass(frozen=True)
class Family:
    """How counts vary about their mean.

    ``nb``: variance mu + dispersion mu^2, log link. ``binomial``: variance n p (1 - p) (1 + dispersion (n - 1) spread),
    logit link, where `spread` is p (1 - p) of the cluster over all samples (rows x 1): the dispersion is then the
    variance of logits between samples, and the same for rare and for frequent clusters.
    """

    kind: str
    totals: Floats
    dispersion: float
    spread: Floats

    def take(self, rows: NDArray[np.intp]) -> Family:
        """Return the family of some rows."""
        return replace(self, spread=self.spread[rows])

    def mean(self, eta: Floats) -> Floats:
        """Return the expected counts."""
        eta = np.clip(eta, -_FAR, _FAR)
        return np.exp(eta) if self.kind == "nb" else self.totals / (1.0 + np.exp(-eta))

    def slope(self, mu: Floats) -> Floats:
        """Return d mu / d eta."""
        return mu if self.kind == "nb" else np.maximum(mu * (1.0 - mu / self.totals), 1e-300)

    def weight(self, mu: Floats) -> Floats:
        """Return the information about eta: slope^2 / variance."""
        if self.kind == "nb":
            return mu / (1.0 + self.dispersion * mu)
        return self.slope(mu) / self.inflation()

    def deviance(self, y: Floats, mu: Floats) -> Floats:
        """Return the deviance of each row."""
        return np.asarray(self.unit_deviance(y, mu).sum(axis=1))

    def unit_deviance(self, y: Floats, mu: Floats) -> Floats:
        """Return the deviance of each count."""
        from scipy.special import xlogy

        mu = np.maximum(mu, 1e-300)
        if self.kind == "nb":
            d = self.dispersion
            if d < _TINY:
                unit = xlogy(y, y / mu) - (y - mu)
            else:
                # A trial step may go so far that 0 of it is -1 to the last digit.
                change = np.maximum(d * (y - mu) / (1.0 + d * mu), -1.0 + 2.0**-53)
                unit = xlogy(y, y / mu) - (y + 1.0 / d) * np.log1p(change)
            return np.asarray(np.maximum(2.0 * unit, 0.0))
        rest, n = np.maximum(self.totals - mu, 1e-300), self.totals
        unit = xlogy(y, y / mu) + xlogy(n - y, (n - y) / rest)
        return np.asarray(np.maximum(2.0 * unit, 0.0) / self.inflation())

    def inflation(self) -> Floats:
        """Return how much more the counts of a cluster vary than binomial ones."""
        return np.asarray(np.maximum(1.0 + self.dispersion * self.spread * (self.totals - 1.0), 1e-12))


@dataclass(frozen=True)
class Fit:
    """Coefficients (rows x columns), means (rows x samples) and deviance of each row."""

    beta: Floats
    mu: Floats
    deviance: Floats


def fit_glm(y: Floats, matrix: Floats, offset: Floats, family: Family, *, start: Floats | None = None) -> Fit:
    """Fit every row of `y` by Fisher scoring, halving a step that would make the deviance larger.

    `offset` is rows x samples or samples; it is added to the linear predictor.
    """
    offset = np.broadcast_to(offset, y.shape)
    p = matrix.shape[1]
    beta: Floats
    if start is None:
        if family.kind == "nb":
            wanted = np.log(y + 0.5) - offset
        else:
            wanted = np.log((y + 0.5) / (family.totals - y + 0.5)) - offset
        beta = np.asarray(np.linalg.lstsq(matrix, wanted.T, rcond=None)[0].T) if p else np.zeros((len(y), 0))
    else:
        beta = start
    mu = family.mean(offset + beta @ matrix.T)
    deviance = family.deviance(y, mu)
    if p == 0:
        return Fit(beta, mu, deviance)
    active = np.arange(len(y))
    for _ in range(60):
        m, here = mu[active], family.take(active)
        slope = np.maximum(here.slope(m), 1e-300)
        w = here.weight(m)
        information = np.einsum("gi,ia,ib->gab", w, matrix, matrix)
        score = np.einsum("gi,ia->ga", w * (y[active] - m) / slope, matrix)
        ridge = 1e-10 * np.maximum(np.einsum("gaa->g", information), 1e-12) / p
        information += ridge[:, None, None] * np.eye(p)
        step = np.linalg.solve(information, score[:, :, None])[:, :, 0]
        step *= np.minimum(1.0, 5.0 / np.maximum(np.abs(step).max(axis=1), 1e-300))[:, None]
        old, size = deviance[active], np.ones(len(active))
        for _ in range(12):
            trial = beta[active] + size[:, None] * step
            trial_mu = here.mean(offset[active] + trial @ matrix.T)
            trial_deviance = here.deviance(y[active], trial_mu)
            worse = trial_deviance > old + 1e-9 * (1.0 + np.abs(old))
            if not worse.any():
                break
            size[worse] *= 0.5
        better = trial_deviance <= old + 1e-9 * (1.0 + np.abs(old))
        chosen = active[better]
        beta = beta.copy()
        beta[chosen], mu[chosen], deviance[chosen] = trial[better], trial_mu[better], trial_deviance[better]
        active = active[better & (np.abs(old - trial_deviance) > 1e-9 * (1.0 + np.abs(old)))]
        if not len(active):
            break
    return Fit(beta, mu, deviance)


def residual_df(y: Floats, mu: Floats, matrix: Floats) -> Floats:
    """Return the degrees of freedom left in each row; samples fitted as exactly 0 of 0 leave none."""
    n, p = matrix.shape
    df = np.full(len(y), float(n - p))
    empty = (y < 1e-4) & (mu < 1e-4)
    for g in np.flatnonzero(empty.any(axis=1)):
        left = ~empty[g]
        rank = int(np.linalg.matrix_rank(matrix[left])) if left.any() else 0
        df[g] = max(float(left.sum() - rank), 0.0)
    return df


def common_dispersion(y: Floats, matrix: Floats, offset: Floats, family: Family) -> float:
    """Return the over-dispersion that all clusters share.

    ``nb``: maximises the sum of the profile likelihoods with the adjustment of Cox & Reid (McCarthy, Chen & Smyth 2012,
    doi:10.1093/nar/gks042). ``binomial``: makes the deviance as large as its degrees of freedom, as Williams 1982
    (doi:10.2307/2347977).
    """
    from scipy.optimize import brentq, minimize_scalar
    from scipy.special import gammaln

    use = y.sum(axis=1) >= 5
    y, family = y[use], family.take(np.flatnonzero(use))
    if not len(y) or matrix.shape[0] <= matrix.shape[1]:
        return 0.0

    if family.kind == "nb":

        def unlikely(log_dispersion: float) -> float:
            trial = replace(family, dispersion=float(np.exp(log_dispersion)))
            mu = np.maximum(fit_glm(y, matrix, offset, trial).mu, 1e-300)
            r = 1.0 / trial.dispersion
            likelihood = gammaln(y + r) - gammaln(r) + y * np.log(mu / (mu + r)) - r * np.log1p(mu / r)
            information = np.einsum("gi,ia,ib->gab", trial.weight(mu), matrix, matrix)
            information += 1e-10 * np.eye(matrix.shape[1])
            return float(-(likelihood.sum() - 0.5 * np.linalg.slogdet(information)[1].sum()))

        best = minimize_scalar(
            unlikely, bounds=(np.log(1e-6), np.log(8.0)), method="bounded", options={"xatol": 1e-4}
        )
        return float(np.exp(best.x))

    def excess(dispersion: float) -> float:
        trial = replace(family, dispersion=dispersion)
        fit = fit_glm(y, matrix, offset, trial)
        df = residual_df(y, fit.mu, matrix)
        return float(np.log(max(fit.deviance.sum(), 1e-300) / max(df.sum(), 1.0)))

    if excess(0.0) <= 0.0:
        return 0.0
    return float(brentq(excess, 0.0, 20.0, xtol=1e-6)) if excess(20.0) < 0 else 20.0


def quasi_test(
    y: Floats, matrix: Floats, weights: Floats, offset: Floats, family: Family, level: float
) -> dict[str, Floats]:
    """Test one contrast in every row by quasi-likelihood F tests with moderated dispersion.

    Lund et al. 2012, doi:10.1515/1544-6115.1826. The interval holds the values that the same test does not reject; an
    end is infinite where no value on that side is rejected. Effects in natural units of the link.
    """
    from scipy.special import fdtrc, fdtri

    x, rest = split_contrast(matrix, weights)
    ordered = np.column_stack([x, rest])
    full = fit_glm(y, ordered, offset, family)
    df = residual_df(y, full.mu, ordered)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(df > 0, full.deviance / df, np.nan)
    posterior, total = fit_prior(own, df).squeeze(own, df)
    posterior = np.maximum(posterior, _poisson_floor(full.mu, family))
    null = fit_glm(y, rest, offset, family)
    ratio = np.maximum(null.deviance - full.deviance, 0.0) / posterior
    usable = (df > 0) & (total > 0)
    capped = np.minimum(np.where(usable, total, 1.0), 1e10)
    p = np.where(usable, fdtrc(1.0, capped, ratio), np.nan)
    limit = full.deviance + posterior * fdtri(1.0, capped, level)
    low, high = (_end(y, x, rest, offset, family, full, limit, side) for side in (-1.0, 1.0))
    effect = _steadied(y, ordered, offset, family)
    low, high = (
        np.where(np.abs(end - effect) > _OPEN, side * np.inf, end) for end, side in ((low, -1), (high, 1))
    )
    return {
        "effect": effect,
        "low": np.where(usable, np.minimum(low, effect), np.nan),
        "high": np.where(usable, np.maximum(high, effect), np.nan),
        "statistic": np.where(usable, ratio, np.nan),
        "df": np.where(usable, total, np.nan),
        "p": p,
        "dispersion": posterior,
    }


def _poisson_floor(mu: Floats, family: Family) -> Floats:
    """Return the quasi-dispersion below which counts would vary less than chance alone makes them."""
    inflation = 1.0 + family.dispersion * mu if family.kind == "nb" else family.inflation()
    return np.asarray(1.0 / np.maximum(inflation.max(axis=1), 1.0))


def _steadied(y: Floats, ordered: Floats, offset: Floats, family: Family) -> Floats:
    """Return the contrast after a small prior count is added in proportion to the totals, so that zeros stay finite."""
    if family.kind == "nb":
        size = np.exp(offset)
        prior = PRIOR_COUNT * size / size.mean()
        return fit_glm(y + prior, ordered, np.log(size + 2.0 * prior), family).beta[:, 0]
    prior = PRIOR_COUNT * family.totals / family.totals.mean()
    steadied = replace(family, totals=family.totals + 2.0 * prior)
    return fit_glm(y + prior, ordered, offset, steadied).beta[:, 0]


def _end(
    y: Floats, x: Floats, rest: Floats, offset: Floats, family: Family, full: Fit, limit: Floats, side: float
) -> Floats:
    """Return where the deviance, the contrast held fixed, reaches `limit` on one side of the estimate."""
    inside = full.beta[:, 0].copy()
    start = full.beta[:, 1:]

    def beyond(theta: Floats, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        held = offset + theta[:, None] * x
        return np.asarray(
            fit_glm(y[rows], rest, held, family.take(rows), start=start[rows]).deviance > limit[rows]
        )

    step = np.full(len(y), 0.25)
    outside = np.full(len(y), np.nan)
    rows = np.arange(len(y))
    for _ in range(8):
        trial = inside[rows] + side * step[rows]
        out = beyond(trial, rows)
        outside[rows[out]] = trial[out]
        inside[rows[~out]] = trial[~out]
        rows = rows[~out]
        if not len(rows):
            break
        step[rows] *= 2.0
    found = np.full(len(y), side * np.inf)
    rows = np.flatnonzero(np.isfinite(outside))
    a, b = inside[rows], outside[rows]
    for _ in range(24):
        middle = (a + b) / 2.0
        out = beyond(middle, rows)
        a, b = np.where(out, a, middle), np.where(out, middle, b)
    found[rows] = (a + b) / 2.0
    return found
