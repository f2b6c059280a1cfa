"""Kernel of `cytocar.tl.compare`: two groups of cells in, effects with intervals and calls out; knows no AnnData."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core.decisions import WITHIN_PATIENT_FDR
from cytocar._core.vocabulary import DOWN, INCONCLUSIVE, UNCHANGED, UP
from cytocar.tl._markers.groups import Bootstrap, DifferenceInDifferences, Effect, Group
from cytocar.tl._markers.staining import take_off
from cytocar.tl._statistics.p_values import benjamini_hochberg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.tl._markers.groups import Floats


# What a call needs, chosen by benchmarks/calibrate_calls.py. Evidence: among the differences called in a family of rows
# no more than a tenth is expected to be false. Size: beyond the margin with a confidence of 80 %; the error of
# staining, which more cells do not make smaller, counts with its 99 % there.
MARGIN_LEVEL = 0.6
STAINING_LEVEL = 0.99


def contrast(
    a: Group,
    b: Group,
    *,
    shift: Floats,
    error: Floats,
    margin: float,
    bootstrap: Bootstrap,
    impurity: tuple[Floats, Floats] | None = None,
) -> Effect:
    """Compare two groups marker by marker.

    Parameters
    ----------
    a, b
        The groups; b has one stratum.
    shift, error
        Change of staining that is taken off b, and its standard error.
    margin
        Smallest difference that counts, arcsinh units.
    bootstrap
        How medians are drawn, and the level of the intervals.
    impurity
        The least (at most 0) and the most (at least 0) that false cells in the groups may take from the difference,
        see `impurity_of`; a call holds whichever it is.
    """
    level = bootstrap.level
    less, more = (np.zeros_like(shift), np.zeros_like(shift)) if impurity is None else impurity
    median_a, median_b = a.median(), b.median()
    drawn_a, drawn_b = a.drawn_medians(bootstrap), b.drawn_medians(bootstrap)
    effect = median_b - median_a
    effect_low, effect_high = _quantiles(drawn_b - drawn_a, effect, level)

    # Corrected medians: the correction keeps the order of cells, so it can be made on the medians themselves.
    column = shift[:, None]
    corrected = take_off(median_b, shift)
    adjusted = corrected - median_a
    drawn = take_off(drawn_b, column) - drawn_a
    median_error = error * np.tanh(np.abs(corrected))

    cells = Group.of(take_off(b.strata[0], column))
    mean = cells.mean() - a.mean()
    variance_a, mean_variance_a = a.variance()
    variance_b, mean_variance_b = cells.variance()
    # A group that is a shifted copy of the other has its variance; the larger group knows it better.
    n_a, n_b = a.n, b.n
    pooled = ((n_a - 1) * variance_a + (n_b - 1) * variance_b) / max(n_a + n_b - 2, 1)
    share_a = np.divide(mean_variance_a, variance_a, out=np.full_like(mean, 1.0 / n_a), where=variance_a > 0)
    sampling = np.sqrt(pooled * (share_a + 1.0 / n_b))
    apart = np.sqrt(mean_variance_a + mean_variance_b)
    mean_error = error * np.tanh(np.abs(cells.strata[0])).mean(axis=1)
    degrees = max(n_a + n_b - 2, 1)

    def of_median(confidence: float, staining: float) -> tuple[Floats, Floats]:
        low, high = _quantiles(drawn, adjusted, confidence)
        technical = median_error * _z(staining)
        return adjusted - np.hypot(adjusted - low, technical), adjusted + np.hypot(high - adjusted, technical)

    def of_mean(confidence: float, staining: float) -> tuple[Floats, Floats]:
        half = np.hypot(_t(confidence, degrees) * sampling, mean_error * _z(staining))
        return mean - half, mean + half

    adjusted_low, adjusted_high = of_median(level, level)
    mean_low, mean_high = of_mean(level, level)
    # The larger group's variance must not make a small, wide group look certain.
    sure = np.abs(mean) > _t(0.9, max(min(n_a, n_b) - 1, 1)) * apart
    far = (of_median(MARGIN_LEVEL, STAINING_LEVEL), of_mean(MARGIN_LEVEL, STAINING_LEVEL))
    # Where false cells explain a part of the difference, only the rest of it counts.
    rest = np.where(mean > 0, np.maximum(mean + less, 0.0), np.minimum(mean + more, 0.0))
    sure &= np.abs(rest) > _t(0.9, max(min(n_a, n_b) - 1, 1)) * apart
    up = sure & (mean > 0) & (np.maximum(far[0][0], far[1][0]) + less > margin)
    down = sure & (mean < 0) & (np.minimum(far[0][1], far[1][1]) + more < -margin)
    within = (np.minimum(adjusted_low, mean_low) > -margin) & (np.maximum(adjusted_high, mean_high) < margin)
    error_of_mean = np.hypot(sampling, mean_error)
    t = np.divide(
        -np.abs(rest), error_of_mean, out=np.where(rest == 0, 0.0, -np.inf), where=error_of_mean > 0
    )
    delta, delta_low, delta_high = cliffs_delta(a, b.strata[0], level)
    return Effect(
        median_a, median_b, effect, effect_low, effect_high, delta, delta_low, delta_high,
        adjusted, adjusted_low, adjusted_high, mean, mean_low, mean_high,
        2.0 * _t_below(t, degrees), up.astype(np.intp) - down, within,
    )  # fmt: skip


def impurity_of(cells: Group, host: Group | None, false_share: float) -> Floats:
    """Return by how much the mean of each marker rises when the expected false cells are taken out of a group.

    False CAR-T cells are host T cells of the same subset in the same tube: with a share f of them, the mean of the true
    cells is (mean - f host) / (1 - f).

    Parameters
    ----------
    cells, host
        The group, and the host cells of its subset and tube; None where there are none.
    false_share
        Expected share of false cells; no more than half is believed.
    """
    share = min(max(false_share, 0.0), 0.5)
    if host is None or share == 0.0:
        return np.zeros(len(cells.strata[0]))
    return np.asarray(share / (1.0 - share) * (cells.mean() - host.mean()))


def within_both(effect: Effect, did: DifferenceInDifferences, margin: float) -> Effect:
    """Return the effects with ``unchanged`` only where the difference in differences is equivalent to 0 too.

    Equivalent: its interval lies within the margin on both sides (two one-sided tests; Schuirmann 1987,
    doi:10.1007/BF01068419). Where there is none, the corrected differences decide alone.
    """
    inside = np.maximum(-did.low, did.high) < margin
    return replace(effect, within=effect.within & (inside | ~np.isfinite(did.did)))


def uncalled(effect: Effect) -> Effect:
    """Return the effects without a call: neither up, down nor unchanged."""
    return replace(
        effect, direction=np.zeros_like(effect.direction), within=np.zeros_like(effect.within, dtype=bool)
    )


def decide(p: Floats, direction: NDArray[np.intp], within: NDArray[np.bool_]) -> NDArray[np.object_]:
    """Return the calls of one family of rows.

    ``up`` or ``down`` where the size is beyond the margin (`direction` 1 or -1) and the evidence passes the procedure
    of Benjamini & Hochberg 1995 (doi:10.1111/j.2517-6161.1995.tb02031.x) over the family, else ``unchanged`` where the
    intervals lie `within` the margin.
    """
    call = np.where(within, UNCHANGED, INCONCLUSIVE).astype(object)
    clear = benjamini_hochberg(p) <= WITHIN_PATIENT_FDR
    call[clear & (direction > 0)] = UP
    call[clear & (direction < 0)] = DOWN
    return call


def called(rows: Iterator[dict[str, object]]) -> list[dict[str, object]]:
    """Return the rows of one family with their calls."""
    family = list(rows)
    judged = [row for row in family if "evidence" in row]
    p, direction, within = (
        np.array([row[name] for row in judged]) for name in ("evidence", "direction", "within")
    )
    for row, call in zip(judged, decide(p, direction, within) if judged else (), strict=True):
        row["call"] = str(call)
    return family


def cliffs_delta(a: Group, b: Floats, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Return Cliff's delta of each marker, P(b > a) - P(b < a), with its interval.

    The variance is that of placements (DeLong 1988, doi:10.2307/2531595), the interval the asymmetric one of Cliff
    1993 (doi:10.1037/0033-2909.114.3.494), which stays within -1 and 1; where one group lies wholly above the other
    it is (n - z^2) / (n + z^2) on the near side, n the smaller group (Feng & Cliff 2004,
    doi:10.22237/jmasm/1099267380).
    """
    markers, n_b = b.shape
    delta, variance = np.empty(markers), np.empty(markers)
    for m in range(markers):
        placement = np.zeros(n_b)
        of_a = 0.0
        for stratum, weight in zip(a.strata, a.weights, strict=True):
            row, n = stratum[m], stratum.shape[1]
            rank = np.searchsorted(row, b[m], "left") + np.searchsorted(row, b[m], "right")
            placement += weight * (rank / n - 1.0)
            back = np.searchsorted(b[m], row, "left") + np.searchsorted(b[m], row, "right")
            of_a += weight**2 * (1.0 - back / n_b).var(ddof=1) / n if n > 1 else 0.0
        delta[m] = placement.mean()
        variance[m] = of_a + (placement.var(ddof=1) / n_b if n_b > 1 else 0.0)
    z = _z(level)
    width = z * np.sqrt(variance)
    room = 1.0 - delta**2
    spread = width * np.sqrt(room**2 + width**2)
    scale = np.where(room**2 + width**2 > 0, room + width**2, 1.0)
    low, high = (delta * room - spread) / scale, (delta * room + spread) / scale
    smaller = min(n_b, *(s.shape[1] for s in a.strata))
    far = (smaller - z * z) / (smaller + z * z)
    whole = np.abs(delta) > 1.0 - 1e-12
    low = np.where(whole, np.where(delta > 0, far, -1.0), low)
    high = np.where(whole, np.where(delta > 0, 1.0, -far), high)
    return delta, np.clip(low, -1.0, 1.0), np.clip(high, -1.0, 1.0)


def _quantiles(drawn: Floats, value: Floats, level: float) -> tuple[Floats, Floats]:
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=1)
    return np.minimum(low, value), np.maximum(high, value)


def _z(confidence: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1.0 + confidence) / 2.0))


def _t_below(t: Floats, degrees: int) -> Floats:
    from scipy.special import stdtr

    return np.asarray(stdtr(degrees, t))


def _t(confidence: float, degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1.0 + confidence) / 2.0))
