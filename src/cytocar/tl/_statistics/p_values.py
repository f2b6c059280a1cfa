"""Rank tests, and the adjustment of p values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def mann_whitney(a: Floats, b: Floats, delta: Floats) -> Floats:
    """Return the two-sided Mann-Whitney p of each marker: normal, corrected for ties and continuity."""
    from scipy.special import ndtr

    n_a, n_b = a.shape[1], b.shape[1]
    n = n_a + n_b
    p = np.ones(len(a))
    for m in range(len(a)):
        _, ties = np.unique(np.concatenate([a[m], b[m]]), return_counts=True)
        variance = n_a * n_b / 12.0 * (n + 1 - (ties.astype(float) ** 3 - ties).sum() / (n * (n - 1)))
        away = abs(delta[m]) * n_a * n_b / 2.0
        if variance > 0:
            p[m] = min(1.0, 2.0 * ndtr(-(away - 0.5) / np.sqrt(variance)))
    return p


def benjamini_hochberg(p: Sequence[float] | Floats) -> Floats:
    """Return p values adjusted for the false discovery rate (Benjamini & Hochberg 1995).

    NaN stays NaN and does not count.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(values), np.nan)
    given = np.flatnonzero(np.isfinite(values))
    if given.size:
        order = given[np.argsort(values[given], kind="stable")]
        scaled = values[order] * len(order) / np.arange(1, len(order) + 1)
        adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
