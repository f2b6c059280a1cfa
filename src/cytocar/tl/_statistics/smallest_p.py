"""The smallest p that a design can give, and the words that stand beside a p."""

from __future__ import annotations

from itertools import permutations
from math import lgamma, log
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

CELLS_ARE_NOT_REPLICATES = "descriptive: cells of one sample are not replicates"
_MOST_GROUPS = 6


def p_note(p: float, floor: float, unit: str, *more: str) -> str:
    """Return what a reader must know beside a p: cells as units, and an approximation that promises too much.

    Examples
    --------
    >>> p_note(0.01, 0.1, "patient")
    'p is an approximation below 0.1, the least that an exact test of this design can give'
    """
    notes = [text for text in more if text]
    if unit.casefold() in ("cell", "cells"):
        notes.insert(0, CELLS_ARE_NOT_REPLICATES)
    if p < floor * (1.0 - 1e-9):
        notes.append(
            f"p is an approximation below {floor:.3g}, the least that an exact test of this design can give"
        )
    return "; ".join(notes)


def of_rank_test(n_a: int, n_b: int) -> float:
    """Return the smallest two-sided p a rank test of two groups can give: 2 / C(n_a + n_b, n_a)."""
    from scipy.special import gammaln

    ways = gammaln(n_a + n_b + 1) - gammaln(n_a + 1) - gammaln(n_b + 1)
    return float(min(1.0, 2.0 * np.exp(-ways)))


def of_groups(scores: np.ndarray, groups: np.ndarray) -> float:
    """Return the smallest p of a permutation test that compares the sums of scores between groups.

    The share of all ways to hand out the labels that give the most extreme of all outcomes: each group holds
    a run of the sorted scores.

    Parameters
    ----------
    scores
        One number per unit, such as ranks or the scores of the log-rank test.
    groups
        One label per unit, as whole numbers from 0.

    Examples
    --------
    >>> round(of_groups(np.arange(10.0), np.repeat([0, 1], 5)), 6)  # 2 / (10 choose 5)
    0.007937
    """
    sizes = np.bincount(groups)
    blocks, sums_from = _blocks(scores)
    if len(sizes) > _MOST_GROUPS:
        return float(np.exp(_log_factorials(sizes) - lgamma(len(scores) + 1)))
    best, ways = -1.0, dict[bytes, float]()
    for order in permutations(range(len(sizes))):
        corner = np.zeros((len(blocks), len(sizes)), dtype=np.int64)
        corner[:, order] = _corner(blocks, sizes[list(order)])
        statistic = float(((corner.T @ sums_from) ** 2 / sizes).sum())
        if statistic > best * (1.0 + 1e-9) + 1e-12:
            best, ways = statistic, {}
        if statistic >= best * (1.0 - 1e-9) - 1e-12:
            ways[corner.tobytes()] = _log_share(corner, blocks, sizes)
    return float(min(1.0, np.exp(list(ways.values())).sum()))


def of_pairs(scores: np.ndarray, values: np.ndarray) -> float:
    """Return the smallest two-sided p of a permutation test of the product sum of scores and values.

    Examples
    --------
    >>> round(of_pairs(np.arange(4.0), np.array([1.0, 3.0, 2.0, 9.0])), 6)  # 2 / 4!: both orders
    0.083333
    """
    blocks, level = _blocks(scores)
    others, value = _blocks(values)
    extremes: dict[bytes, tuple[float, float]] = {}
    for corner in (_corner(blocks, others), _corner(blocks, others[::-1])[:, ::-1]):
        statistic = abs(float(level @ corner @ value))
        extremes[np.ascontiguousarray(corner).tobytes()] = (statistic, _log_share(corner, blocks, others))
    best = max(statistic for statistic, _ in extremes.values())
    extreme = [share for statistic, share in extremes.values() if statistic >= best * (1.0 - 1e-9)]
    return float(min(1.0, np.exp(extreme).sum()))


def of_labels(sizes: Sequence[int]) -> float:
    """Return one by the number of ways to hand out labels to groups of these sizes.

    Examples
    --------
    >>> round(of_labels([3, 3]), 3)
    0.05
    """
    return float(np.exp(_log_factorials(np.asarray(sizes)) - lgamma(sum(sizes) + 1)))


def _blocks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many units share each distinct value, in rising order, and the values less their mean."""
    distinct, sizes = np.unique(np.round(values - np.mean(values), 9), return_counts=True)
    return sizes, distinct


def _corner(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the table with these margins that is filled from its north-west corner."""
    ends_r, ends_c = np.cumsum(rows), np.cumsum(columns)
    top = np.minimum(ends_r[:, None], ends_c[None, :])
    bottom = np.maximum((ends_r - rows)[:, None], (ends_c - columns)[None, :])
    return np.asarray(np.maximum(top - bottom, 0))


def _log_share(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    n = int(rows.sum())
    return _log_factorials(rows) + _log_factorials(columns) - lgamma(n + 1) - _log_factorials(table)


def _log_factorials(counts: np.ndarray) -> float:
    return float(sum(lgamma(int(count) + 1) for count in np.ravel(counts) if count > 1)) + log(1.0)
