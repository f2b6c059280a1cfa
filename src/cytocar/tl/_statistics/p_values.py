"""Rank tests, and the adjustment of p values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def mann_whitney(a: Floats, b: Floats) -> Floats:
    """Return the two-sided Mann-Whitney p of each marker: normal, corrected for ties and continuity.

    Where all values of a marker are equal, p is 1.
    """
    from scipy.stats import mannwhitneyu

    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 where all values are equal
        p = np.asarray(mannwhitneyu(a, b, axis=1, method="asymptotic").pvalue, dtype=np.float64)
    return np.where(np.isnan(p), 1.0, p)


def benjamini_hochberg(p: Sequence[float] | Floats) -> Floats:
    """Return p values adjusted for the false discovery rate (Benjamini & Hochberg 1995).

    NaN stays NaN and does not count.
    """
    from scipy.stats import false_discovery_control

    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(values), np.nan)
    given = np.isfinite(values)
    if given.any():
        adjusted[given] = false_discovery_control(values[given])
    return adjusted
