"""Compiled kernels of the self-organising map: training, finding the nearest node, sums of cells per node.

Codes lie as markers x nodes, the nodes padded to whole vectors of the processor, so that one marker of all nodes is
compared at once. Sums are written out in a fixed order and without contraction: the same bits on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled

VECTOR = 16
VANISHING = 1e-30


@compiled()
def across(codes: Any) -> Any:
    """Return codes (nodes x markers) as float32 markers x nodes, padded with zeros to a multiple of 16 nodes."""
    nodes, markers = codes.shape
    out = np.zeros((markers, (nodes + VECTOR - 1) // VECTOR * VECTOR), np.float32)
    for c in range(nodes):
        for f in range(markers):
            out[f, c] = codes[c, f]
    return out


@compiled()
def _nearest(row: Any, codes: Any, nodes: int, squares: Any, bits: Any) -> Any:
    # squared distances to all nodes, four markers at a time so that the sums are fetched less often
    markers, width = codes.shape
    for c in range(width):
        squares[c] = np.float32(0.0)
    f = 0
    while f + 4 <= markers:
        v0, v1, v2, v3 = row[f], row[f + 1], row[f + 2], row[f + 3]
        for c in range(width):
            d0 = codes[f, c] - v0
            d1 = codes[f + 1, c] - v1
            d2 = codes[f + 2, c] - v2
            d3 = codes[f + 3, c] - v3
            squares[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        f += 4
    while f < markers:
        v = row[f]
        for c in range(width):
            d = codes[f, c] - v
            squares[c] += d * d
        f += 1
    # floats that are not negative are in the order of their bits, and whole numbers are compared many at once
    least = bits[0]
    for c in range(nodes):
        least = min(least, bits[c])
    for c in range(nodes):
        if bits[c] == least:
            return c
    return 0


@compiled()
def train(x: Any, codes: Any, nodes: int, grid: Any, done: int, total: int, alpha: Any, radius: Any) -> None:
    """Show the rows of `x` to the map one after the other and move its codes (`across`), in place.

    Learning rate and radius fall linearly over `total` rows, of which `done` were shown before. A code
    moves by the learning rate towards the row when its node is within the radius of the nearest node
    (Chebyshev distance on the grid); below a radius of 1 only the nearest one moves.
    """
    markers, width = codes.shape
    squares = np.empty(width, np.float32)
    bits = squares.view(np.int32)
    rates = np.zeros(width, np.float32)
    for step in range(x.shape[0]):
        share = (done + step) / total
        rate = np.float32(alpha[0] + (alpha[1] - alpha[0]) * share)
        reach = radius[0] + (radius[1] - radius[0]) * share
        row = x[step]
        best = _nearest(row, codes, nodes, squares, bits)
        if reach < 1.0:
            for f in range(markers):
                codes[f, best] += rate * (row[f] - codes[f, best])
            continue
        # nodes out of reach move by nothing, which is quicker than leaving them out
        for c in range(nodes):
            rates[c] = rate if grid[best, c] <= reach else np.float32(0.0)
        for f in range(markers):
            v = row[f]
            for c in range(width):
                codes[f, c] += rates[c] * (v - codes[f, c])
    # a marker that is 0 in all cells shrinks codes to numbers so small that processors slow down
    for f in range(markers):
        for c in range(width):
            if abs(codes[f, c]) < VANISHING:
                codes[f, c] = np.float32(0.0)


@compiled()
def nearest_nodes(x: Any, codes: Any, start: int, stop: int, node: Any, distance: Any) -> None:
    """Write for rows `start` to `stop` the nearest of `codes` (nodes x markers) and the Euclidean distance to it."""
    beside = across(codes)
    squares = np.empty(beside.shape[1], np.float32)
    bits = squares.view(np.int32)
    for i in range(start, stop):
        best = _nearest(x[i], beside, codes.shape[0], squares, bits)
        node[i] = best
        distance[i] = np.sqrt(squares[best])


@compiled()
def block_sums(x: Any, codes: Any, nodes: int, sums: Any, cells: Any) -> None:
    """Add the rows of `x` to the sums (nodes x markers) and the counts of their nearest `codes` (`across`)."""
    squares = np.empty(codes.shape[1], np.float32)
    bits = squares.view(np.int32)
    for i in range(x.shape[0]):
        best = _nearest(x[i], codes, nodes, squares, bits)
        cells[best] += 1
        for f in range(codes.shape[0]):
            sums[best, f] += x[i, f]
