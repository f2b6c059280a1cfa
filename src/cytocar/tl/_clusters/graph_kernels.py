"""Compiled kernels on the graph of nearest neighbours: shared neighbours, modularity."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled


@compiled()
def jaccard_rows(neighbours: Any, start: int, stop: int, out: Any) -> None:
    """Write the weights of the edges from rows `start` to `stop` to each of their neighbours j.

    That is ``|Ni n Nj| / |Ni u Nj|`` where both are neighbours of each other. Otherwise the mean with the missing
    edge back is half of it, written with a minus: the edge is still to be added to row j.
    """
    n, k = neighbours.shape
    stamp = np.full(n, -1, np.int32)
    for i in range(start, stop):
        for a in range(k):
            stamp[neighbours[i, a]] = i
        for a in range(k):
            j = neighbours[i, a]
            shared = 0
            mutual = False
            for b in range(k):
                h = neighbours[j, b]
                shared += stamp[h] == i
                mutual |= h == i
            weight = shared / (2.0 * k - shared)
            out[i, a] = weight if mutual else -0.5 * weight


@compiled()
def symmetric_rows(neighbours: Any, weights: Any) -> Any:
    """Return the graph of `jaccard_rows` with its edges back, in compressed rows: starts, columns, weights.

    Edges of weight 0 are left out. The columns of a row do not come in order.
    """
    n, k = neighbours.shape
    starts = np.zeros(n + 1, np.int64)
    for i in range(n):
        for a in range(k):
            if weights[i, a] != 0.0:
                starts[i + 1] += 1
                if weights[i, a] < 0.0:
                    starts[neighbours[i, a] + 1] += 1
    for i in range(n):
        starts[i + 1] += starts[i]
    fill = starts[:n].copy()
    columns = np.empty(starts[n], np.int32)
    values = np.empty(starts[n], np.float32)
    for i in range(n):
        for a in range(k):
            weight = weights[i, a]
            if weight != 0.0:
                j = neighbours[i, a]
                columns[fill[i]] = j
                values[fill[i]] = abs(weight)
                fill[i] += 1
                if weight < 0.0:
                    columns[fill[j]] = i
                    values[fill[j]] = -weight
                    fill[j] += 1
    return starts, columns, values


@compiled()
def in_first_order(starts: Any, columns: Any, weights: Any, order: Any) -> Any:
    """Return a symmetric graph whose node r is node ``order[r]`` of the result, its columns in order.

    Edges are written to the far end, node after node, which puts the columns of every row into order on the way.
    """
    n = order.shape[0]
    row_of = np.empty(n, np.int32)
    for r in range(n):
        row_of[order[r]] = r
    to = np.empty(n + 1, np.int64)
    to[0] = 0
    for i in range(n):
        to[i + 1] = to[i] + starts[row_of[i] + 1] - starts[row_of[i]]
    fill = to[:n].copy()
    ends = np.empty(columns.shape[0], np.int32)
    values = np.empty(columns.shape[0], np.float32)
    for i in range(n):
        r = row_of[i]
        for e in range(starts[r], starts[r + 1]):
            j = order[columns[e]]
            ends[fill[j]] = i
            values[fill[j]] = weights[e]
            fill[j] += 1
    return to, ends, values


@compiled()
def modularity(indptr: Any, indices: Any, weights: Any, labels: Any, resolution: float) -> float:
    """Return ``sum_c [in_c / 2m - resolution (tot_c / 2m)^2]`` of a symmetric graph, in float64."""
    n = indptr.shape[0] - 1
    n_labels = 0
    for v in range(n):
        n_labels = max(n_labels, labels[v] + 1)
    total = np.zeros(n_labels, np.float64)
    within = 0.0
    twice_m = 0.0
    for v in range(n):
        for e in range(indptr[v], indptr[v + 1]):
            weight = weights[e]
            total[labels[v]] += weight
            twice_m += weight
            if labels[indices[e]] == labels[v]:
                within += weight
    if twice_m == 0.0:
        return 0.0
    expected = 0.0
    for c in range(n_labels):
        expected += (total[c] / twice_m) ** 2
    return within / twice_m - resolution * expected
