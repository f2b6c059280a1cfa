"""Compiled kernels of UMAP: how near each neighbour counts, and the layout by sampled attraction and repulsion."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled
from cytocar.tl._random_kernels import next_random

# a cell's scale is never below this share of the mean distance to neighbours
_LEAST_SCALE = 1e-3
_LARGEST_STEP = 4.0


@compiled()
def memberships(distances: Any, start: int, stop: int, whole: float, out: Any) -> None:
    """Write for cells `start` to `stop` ``exp(-(d - rho) / sigma)`` of each neighbour, 1 up to the nearest (rho).

    `distances` (cells, k - 1) are sorted and without the cell itself, which counts as the first of its k neighbours.
    `sigma` is such that the memberships of the others add up to log2(k); `whole` is the mean of all distances.
    """
    k = distances.shape[1] + 1
    target = np.log2(k)
    for i in range(start, stop):
        rho = 0.0
        for j in range(k - 1):
            if distances[i, j] > 0.0:
                rho = distances[i, j]
                break
        low = 0.0
        high = np.inf
        sigma = 1.0
        for _ in range(64):
            total = 0.0
            for j in range(k - 1):
                beyond = distances[i, j] - rho
                total += np.exp(-beyond / sigma) if beyond > 0.0 else 1.0
            if abs(total - target) < 1e-5:
                break
            if total > target:
                high = sigma
                sigma = 0.5 * (low + high)
            else:
                low = sigma
                sigma = 2.0 * sigma if high == np.inf else 0.5 * (low + high)
        if rho > 0.0:
            mean = 0.0
            for j in range(k - 1):
                mean += distances[i, j]
            sigma = max(sigma, _LEAST_SCALE * mean / k)
        else:
            sigma = max(sigma, _LEAST_SCALE * whole)
        for j in range(k - 1):
            beyond = distances[i, j] - rho
            out[i, j] = np.exp(-beyond / sigma) if beyond > 0.0 else 1.0


@compiled()
def _clipped(value: float) -> float:
    return min(_LARGEST_STEP, max(-_LARGEST_STEP, value))


@compiled()
def lay_out(places: Any, edges: Any, curve: Any, epochs: int, negatives: int, seed: int) -> None:
    """Move the cells in `places` (cells, 2; float64) for so many epochs, in place.

    `edges` holds the two cells of each edge and ``every``, `curve` holds a and b. Edge e pulls its two cells together
    in every ``every[e]``-th epoch, and each pull is followed by `negatives` pushes of its first cell away from cells
    drawn at random. The step falls from 1 to 0.
    """
    head, tail, every = edges
    a, b = curve
    n = places.shape[0]
    state = np.empty(1, np.uint64)
    state[0] = np.uint64(seed)
    due = every.copy()
    between = every / negatives
    due_negative = between.copy()
    for epoch in range(epochs):
        step = 1.0 - epoch / epochs
        for e in range(head.shape[0]):
            if due[e] > epoch:
                continue
            i = head[e]
            j = tail[e]
            x = places[i, 0]
            y = places[i, 1]
            u = x - places[j, 0]
            v = y - places[j, 1]
            apart = u * u + v * v
            if apart > 0.0:
                power = apart**b
                pull = -2.0 * a * b * power / (apart * (a * power + 1.0))
                u = _clipped(pull * u) * step
                v = _clipped(pull * v) * step
                x += u
                y += v
                places[j, 0] -= u
                places[j, 1] -= v
            due[e] += every[e]
            times = int((epoch - due_negative[e]) / between[e])
            for _ in range(times):
                other = np.int64(next_random(state) % np.uint64(n))
                if other == i:
                    continue
                u = x - places[other, 0]
                v = y - places[other, 1]
                apart = u * u + v * v
                if apart > 0.0:
                    push = 2.0 * b / ((0.001 + apart) * (a * apart**b + 1.0))
                    x += _clipped(push * u) * step
                    y += _clipped(push * v) * step
            due_negative[e] += times * between[e]
            places[i, 0] = x
            places[i, 1] = y
