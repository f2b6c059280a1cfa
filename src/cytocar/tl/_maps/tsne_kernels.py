"""Compiled kernels of t-SNE: the exact gradient, all pairs repelling and neighbours attracting."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled

# terms of a sum may be taken in the order that fits the processor; every row is summed alike, so threads change nothing
_SUMS = {"reassoc", "contract", "arcp", "nsz"}


@compiled(fastmath=_SUMS, error_model="numpy")
def repulsion(x: Any, y: Any, to_x: Any, to_y: Any, start: int, stop: int, force: Any, total: Any) -> None:
    """Write for cells `start` to `stop` the sums over others of ``w^2 (a - b)`` and of ``w = 1 / (1 + |a - b|^2)``.

    `x` and `y` are their float32 coordinates, `to_x` and `to_y` those of the others; `force` (cells, 2) and `total`
    (cells,) are float64. A cell that is among the others adds no force and a weight of 1.
    """
    one = np.float32(1.0)
    n = to_x.shape[0]
    for i in range(start, stop):
        a = x[i]
        b = y[i]
        along_x = np.float32(0.0)
        along_y = np.float32(0.0)
        weights = np.float32(0.0)
        for j in range(n):
            u = a - to_x[j]
            v = b - to_y[j]
            w = one / (one + u * u + v * v)
            weights += w
            w *= w
            along_x += w * u
            along_y += w * v
        force[i, 0] = along_x
        force[i, 1] = along_y
        total[i] = weights


@compiled()
def attraction(graph: Any, at: Any, to: Any, start: int, stop: int, totals: Any, gradient: Any) -> None:
    """Turn the sums of `repulsion` in `gradient` into the gradient: ``sum p w (a - b) - sums / totals``.

    `graph` is starts of rows, columns and p; `at` and `to` are float64 coordinates (cells, 2) of the cells and of their
    neighbours.
    """
    indptr, indices, p = graph
    for i in range(start, stop):
        along_x = 0.0
        along_y = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            u = at[i, 0] - to[j, 0]
            v = at[i, 1] - to[j, 1]
            pull = p[e] / (1.0 + u * u + v * v)
            along_x += pull * u
            along_y += pull * v
        gradient[i, 0] = along_x - gradient[i, 0] / totals[i]
        gradient[i, 1] = along_y - gradient[i, 1] / totals[i]


@compiled()
def divergence(indptr: Any, indices: Any, p: Any, at: Any, to: Any, totals: Any) -> float:
    """Return the Kullback-Leibler divergence of ``w / totals`` from `p`."""
    total = 0.0
    for i in range(indptr.shape[0] - 1):
        for e in range(indptr[i], indptr[i + 1]):
            if p[e] > 0.0:
                j = indices[e]
                u = at[i, 0] - to[j, 0]
                v = at[i, 1] - to[j, 1]
                total += p[e] * np.log(p[e] * totals[i] * (1.0 + u * u + v * v))
    return total
