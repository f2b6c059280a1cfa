"""Compiled kernels of the self-organising map: training and finding the nearest node."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _nearest(row: Any, codes: Any) -> Any:
    best = 0
    least = np.inf
    for c in range(codes.shape[0]):
        distance = 0.0
        for f in range(codes.shape[1]):
            difference = row[f] - codes[c, f]
            distance += difference * difference
        if distance < least:
            least = distance
            best = c
    return best, least


@njit(cache=True, nogil=True)
def train(x: Any, codes: Any, grid: Any, draws: Any, done: int, total: int, alpha: Any, radius: Any) -> None:
    """Show the rows `draws` of `x` to the map one after the other and move its codes, in place.

    Learning rate and radius fall linearly over `total` rows, of which `done` were shown before. A code
    moves by the learning rate towards the row when its node is within the radius of the nearest node
    (Chebyshev distance on the grid); below a radius of 1 only the nearest one moves.
    """
    for step in range(draws.shape[0]):
        share = (done + step) / total
        rate = alpha[0] + (alpha[1] - alpha[0]) * share
        reach = radius[0] + (radius[1] - radius[0]) * share
        if reach < 1.0:
            reach = 0.5
        row = x[draws[step]]
        best = _nearest(row, codes)[0]
        for c in range(codes.shape[0]):
            if grid[best, c] <= reach:
                for f in range(codes.shape[1]):
                    codes[c, f] += rate * (row[f] - codes[c, f])


@njit(cache=True, nogil=True)
def nearest_nodes(x: Any, codes: Any, start: int, stop: int, node: Any, distance: Any) -> None:
    """Write for rows `start` to `stop` the nearest node and the Euclidean distance to its code."""
    for i in range(start, stop):
        best, least = _nearest(x[i], codes)
        node[i] = best
        distance[i] = np.sqrt(least)
