"""Compiled kernels of consensus clustering: agglomeration, cutting a tree, counting who was together."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled

AVERAGE = 0
WARD = 1
COMPLETE = 2


@compiled()
def _between_centres(d: Any, weight: Any) -> None:
    """Replace distances by squared distances times ``2 a b / (a + b)``, in place."""
    for i in range(d.shape[0]):
        for j in range(d.shape[0]):
            d[i, j] = d[i, j] * d[i, j] * 2.0 * weight[i] * weight[j] / (weight[i] + weight[j])


@compiled(inline="always")
def _nearest_later(d: Any, alive: Any, i: int) -> int:
    """Return the nearest slot after `i`, the first of equals; -1 where there is none."""
    nearest = -1
    for j in range(i + 1, d.shape[0]):
        if alive[j] and (nearest < 0 or d[i, j] < d[i, nearest]):
            nearest = j
    return nearest


@compiled(inline="always")
def _closest(d: Any, alive: Any, nearest: Any) -> int:
    """Return the slot whose nearest later slot is closest, the first of equals."""
    a = -1
    for i in range(d.shape[0]):
        if alive[i] and nearest[i] >= 0 and (a < 0 or d[i, nearest[i]] < d[a, nearest[a]]):
            a = i
    return a


@compiled(inline="always")
def _join(d: Any, alive: Any, weight: Any, a: int, b: int, method: int) -> None:
    """Put the distances of the others to `a` and `b` together in slot `a`."""
    joined = d[a, b]
    for i in range(d.shape[0]):
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


@compiled(inline="always")
def _look_up_again(d: Any, alive: Any, nearest: Any, a: int, b: int) -> None:
    """Look the nearest later slot up again of all slots that pointed at `a` or `b`, or came nearer to `a`."""
    for i in range(d.shape[0]):
        if not alive[i]:
            continue
        if i == a or nearest[i] == a or nearest[i] == b:
            nearest[i] = _nearest_later(d, alive, i)
        elif i < a and (
            nearest[i] < 0 or d[i, a] < d[i, nearest[i]] or (d[i, a] == d[i, nearest[i]] and a < nearest[i])
        ):
            nearest[i] = a


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
        _between_centres(d, weight)
    alive = np.ones(n, np.bool_)
    nearest = np.empty(n, np.int64)
    for i in range(n):
        nearest[i] = _nearest_later(d, alive, i)
    merges = np.empty((n - 1, 2), np.int64)
    heights = np.empty(n - 1, np.float64)
    for step in range(n - 1):
        a = _closest(d, alive, nearest)
        b = nearest[a]
        merges[step, 0] = a
        merges[step, 1] = b
        heights[step] = np.sqrt(d[a, b]) if method == WARD else d[a, b]
        alive[b] = False
        _join(d, alive, weight, a, b, method)
        weight[a] += weight[b]
        _look_up_again(d, alive, nearest, a, b)
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
    between = np.empty((m, m), np.float64)
    sizes_drawn = np.empty(m, np.float64)
    for r in range(samples.shape[0]):
        row = samples[r]
        for a in range(m):
            sizes_drawn[a] = sizes[row[a]]
            for b in range(m):
                between[a, b] = distances[row[a], row[b]]
                drawn[row[a], row[b]] += 1.0
        labels = cut_all(agglomerate(between, sizes_drawn, method)[0], largest)
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
