"""Compiled kernels of consensus clustering: agglomeration, cutting a tree, counting who was together."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled

AVERAGE = 0
WARD = 1
COMPLETE = 2


@compiled()
def agglomerate(distances: Any, sizes: Any, method: int) -> Any:
    """Return the merges of hierarchical clustering: for each step the two slots joined, and the heights.

    `distances` is square and symmetric, `sizes` the weight of each item. The joined cluster takes the lower
    slot. Ties go to the lowest pair of slots. Ward works on squared distances between centres times
    ``2 a b / (a + b)``, which are the plain distances where all sizes are 1.
    """
    n = distances.shape[0]
    d = distances.astype(np.float64)
    weight = sizes.astype(np.float64)
    if method == WARD:
        for i in range(n):
            for j in range(n):
                d[i, j] = d[i, j] * d[i, j] * 2.0 * weight[i] * weight[j] / (weight[i] + weight[j])
    alive = np.ones(n, np.bool_)
    nearest = np.full(n, -1, np.int64)
    for i in range(n):
        for j in range(i + 1, n):
            if nearest[i] < 0 or d[i, j] < d[i, nearest[i]]:
                nearest[i] = j
    merges = np.empty((n - 1, 2), np.int64)
    heights = np.empty(n - 1, np.float64)
    for step in range(n - 1):
        a = -1
        for i in range(n):
            if alive[i] and nearest[i] >= 0 and (a < 0 or d[i, nearest[i]] < d[a, nearest[a]]):
                a = i
        b = nearest[a]
        joined = d[a, b]
        merges[step, 0] = a
        merges[step, 1] = b
        heights[step] = np.sqrt(joined) if method == WARD else joined
        alive[b] = False
        for i in range(n):
            if not alive[i] or i == a:
                continue
            if method == AVERAGE:
                new = (weight[a] * d[a, i] + weight[b] * d[b, i]) / (weight[a] + weight[b])
            elif method == WARD:
                both = weight[a] + weight[b] + weight[i]
                new = (
                    (weight[a] + weight[i]) * d[a, i] + (weight[b] + weight[i]) * d[b, i] - weight[i] * joined
                ) / both
            else:
                new = max(d[a, i], d[b, i])
            d[a, i] = new
            d[i, a] = new
        weight[a] += weight[b]
        # the nearest later slot of every slot that pointed at a or b, or came nearer to a, is looked up again
        for i in range(n):
            if not alive[i]:
                continue
            if i == a or nearest[i] == a or nearest[i] == b:
                nearest[i] = -1
                for j in range(i + 1, n):
                    if alive[j] and (nearest[i] < 0 or d[i, j] < d[i, nearest[i]]):
                        nearest[i] = j
            elif i < a and (
                nearest[i] < 0
                or d[i, a] < d[i, nearest[i]]
                or (d[i, a] == d[i, nearest[i]] and a < nearest[i])
            ):
                nearest[i] = a
    return merges, heights


@compiled()
def cut_all(merges: Any, largest: int) -> Any:
    """Return labels for 2 to `largest` clusters, one row each, numbered from 0 by their first item.

    Rows beyond the number of items have each item on its own.
    """
    n = merges.shape[0] + 1
    group = np.arange(n)
    out = np.empty((largest - 1, n), np.int64)
    for step in range(n):
        clusters = n - step
        if clusters <= largest and clusters >= 2:
            _number(group, out[clusters - 2])
        if step < n - 1:
            for i in range(n):
                if group[i] == merges[step, 1]:
                    group[i] = merges[step, 0]
    for k in range(n + 1, largest + 1):
        out[k - 2] = np.arange(n)
    return out


@compiled()
def _number(group: Any, out: Any) -> None:
    number = np.full(group.shape[0], -1, np.int64)
    count = 0
    for i in range(group.shape[0]):
        if number[group[i]] < 0:
            number[group[i]] = count
            count += 1
        out[i] = number[group[i]]


@compiled()
def consensus_matrices(distances: Any, sizes: Any, samples: Any, largest: int, method: int) -> Any:
    """Return for 2 to `largest` clusters how often two items were together, of the times both were drawn.

    `samples` holds one resample of item numbers per row. Pairs never drawn together get 0.
    """
    n = distances.shape[0]
    m = samples.shape[1]
    together = np.zeros((largest - 1, n, n), np.float64)
    drawn = np.zeros((n, n), np.float64)
    part = np.empty((m, m), np.float64)
    part_sizes = np.empty(m, np.float64)
    for r in range(samples.shape[0]):
        row = samples[r]
        for a in range(m):
            part_sizes[a] = sizes[row[a]]
            for b in range(m):
                part[a, b] = distances[row[a], row[b]]
                drawn[row[a], row[b]] += 1.0
        labels = cut_all(agglomerate(part, part_sizes, method)[0], largest)
        for k in range(largest - 1):
            for a in range(m):
                for b in range(m):
                    if labels[k, a] == labels[k, b]:
                        together[k, row[a], row[b]] += 1.0
    for i in range(n):
        for j in range(n):
            if drawn[i, j] > 0.0:
                for k in range(largest - 1):
                    together[k, i, j] /= drawn[i, j]
    return together
