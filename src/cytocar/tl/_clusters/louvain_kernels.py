"""Compiled kernels of the Louvain method with the refinement of Leiden: nodes move, join, and separate again."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled
from cytocar.tl._clusters.graph_kernels import modularity
from cytocar.tl._random_kernels import next_random

# a pass over the nodes that gains no more modularity than this is the last
LEAST_GAIN = 1e-4


@compiled()
def _shuffled(n: int, state: Any) -> Any:
    order = np.arange(n)
    for i in range(n - 1, 0, -1):
        j = np.int64(next_random(state) % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]
    return order


@compiled()
def _strengths(graph: Any) -> Any:
    """Return the sum of the weights of each node."""
    indptr, _, weights = graph
    strength = np.zeros(indptr.shape[0] - 1, np.float64)
    for v in range(strength.shape[0]):
        for e in range(indptr[v], indptr[v + 1]):
            strength[v] += weights[e]
    return strength


@compiled(inline="always")
def _weigh_communities(graph: Any, labels: Any, within: Any, v: int, to_community: Any, touched: Any) -> int:
    """Add up the weights from `v` to each community of its neighbours; return how many communities these are.

    Neighbours with another value of `within` do not count, where it is not empty.
    """
    indptr, indices, weights = graph
    bounded = within.shape[0] > 0
    n_touched = 0
    for e in range(indptr[v], indptr[v + 1]):
        u = indices[e]
        if u != v and not (bounded and within[u] != within[v]):
            c = labels[u]
            if to_community[c] == 0.0:
                touched[n_touched] = c
                n_touched += 1
            to_community[c] += weights[e]
    return n_touched


@compiled(inline="always")
def _best_community(
    home: int, share: float, least: float, to_community: Any, total: Any, candidates: Any
) -> Any:
    """Return the community of largest gain, and that gain; another than `home` has to gain more by `least`."""
    best = home
    best_gain = to_community[home] - share * total[home]
    for t in range(candidates.shape[0]):
        c = candidates[t]
        gain = to_community[c] - share * total[c]
        if gain > best_gain + least:
            best = c
            best_gain = gain
    return best, best_gain


@compiled(inline="always")
def _queue_neighbours(
    graph: Any, labels: Any, v: int, waiting: Any, queue: Any, head: int, length: int
) -> int:
    """Queue the neighbours of `v` that are in other communities and do not wait yet; return the new length."""
    indptr, indices, _ = graph
    n = queue.shape[0]
    for e in range(indptr[v], indptr[v + 1]):
        u = indices[e]
        if u != v and labels[u] != labels[v] and not waiting[u]:
            waiting[u] = True
            queue[(head + length) % n] = u
            length += 1
    return length


@compiled()
def _move_nodes(graph: Any, labels: Any, within: Any, resolution: float, state: Any, most: int) -> int:
    """Move nodes one by one to the neighbouring community of largest gain until none wants to; count moves.

    `graph` is starts of rows, columns and weights. Only neighbours with the same value of `within` count, where it is
    not empty. At most `most` nodes are looked at.

    A node is looked at again only when one of its neighbours has moved, as in the fast local moving of the
    Leiden method. Weights of a node to itself stay with it and never enter the choice.
    """
    strength = _strengths(graph)
    n = strength.shape[0]
    twice_m = strength.sum()
    if twice_m == 0.0:
        return 0
    total = np.zeros(n, np.float64)
    size = np.zeros(n, np.int64)
    for v in range(n):
        total[labels[v]] += strength[v]
        size[labels[v]] += 1
    empty = np.empty(n + 1, np.int64)
    n_empty = 0
    for c in range(n - 1, -1, -1):
        if size[c] == 0:
            empty[n_empty] = c
            n_empty += 1

    queue = _shuffled(n, state)
    waiting = np.ones(n, np.bool_)
    head = 0
    length = n
    to_community = np.zeros(n, np.float64)
    touched = np.empty(n, np.int64)
    moves = 0
    while length > 0 and most > 0:
        most -= 1
        v = queue[head]
        head = (head + 1) % n
        length -= 1
        waiting[v] = False

        candidates = touched[: _weigh_communities(graph, labels, within, v, to_community, touched)]
        home = labels[v]
        total[home] -= strength[v]
        size[home] -= 1
        share = resolution * strength[v] / twice_m
        best, best_gain = _best_community(home, share, 1e-12 * strength[v], to_community, total, candidates)
        if best_gain < 0.0 and size[home] > 0 and n_empty > 0:
            n_empty -= 1
            best = empty[n_empty]
        for t in range(candidates.shape[0]):
            to_community[candidates[t]] = 0.0
        total[best] += strength[v]
        size[best] += 1
        if best != home:
            labels[v] = best
            moves += 1
            if size[home] == 0:
                empty[n_empty] = home
                n_empty += 1
            length = _queue_neighbours(graph, labels, v, waiting, queue, head, length)
    return moves


@compiled()
def _renumber(labels: Any) -> int:
    """Number the labels from 0 in the order in which they first appear, in place; return how many there are."""
    number = np.full(labels.shape[0], -1, np.int64)
    count = 0
    for v in range(labels.shape[0]):
        if number[labels[v]] < 0:
            number[labels[v]] = count
            count += 1
        labels[v] = number[labels[v]]
    return count


@compiled()
def _aggregate(graph: Any, labels: Any, count: int) -> Any:
    """Return the graph whose nodes are the communities; weights within one become its weight to itself."""
    indptr, indices, weights = graph
    n = indptr.shape[0] - 1
    starts = np.zeros(count + 1, np.int64)
    for v in range(n):
        starts[labels[v] + 1] += 1
    for c in range(count):
        starts[c + 1] += starts[c]
    members = np.empty(n, np.int64)
    fill = starts[:count].copy()
    for v in range(n):
        members[fill[labels[v]]] = v
        fill[labels[v]] += 1

    new_indptr = np.zeros(count + 1, np.int64)
    new_indices = np.empty(indices.shape[0], indices.dtype)
    new_weights = np.empty(weights.shape[0], np.float64)
    entry = np.full(count, -1, np.int64)
    used = 0
    for c in range(count):
        first = used
        for m in range(starts[c], starts[c + 1]):
            v = members[m]
            for e in range(indptr[v], indptr[v + 1]):
                d = labels[indices[e]]
                if entry[d] < first:
                    entry[d] = used
                    new_indices[used] = d
                    new_weights[used] = 0.0
                    used += 1
                new_weights[entry[d]] += weights[e]
        new_indptr[c + 1] = used
    # one type of weight on all levels needs one compiled version of each kernel
    return new_indptr, new_indices[:used].copy(), new_weights[:used].astype(weights.dtype)


@compiled()
def louvain(indptr: Any, indices: Any, weights: Any, resolution: float, seed: int) -> Any:
    """Return community numbers of a symmetric graph that no move of a single node improves.

    A pass makes small groups of nodes, each inside one community of the pass before; lets the groups move, then join
    as long as that gains, then lets single nodes move. Groups can leave a community that has grown around them, which
    repairs the known weakness of the Louvain method. A group is made by looking at each node once: where they
    went on until none wants to move, they grew to whole clusters at several times the cost.
    """
    n = indptr.shape[0] - 1
    cells = (indptr, indices, weights)
    state = np.empty(1, np.uint64)
    state[0] = np.uint64(seed)
    unlimited = 1 << 62
    anywhere = np.empty(0, np.int64)
    best = np.empty(0, np.int64)
    quality = 0.0
    for step in range(100):
        labels = np.arange(n)
        _move_nodes(cells, labels, best, resolution, state, n)
        count = _renumber(labels)
        graph = _aggregate(cells, labels, count)
        level = np.arange(count)
        if step > 0:
            for v in range(n):
                level[labels[v]] = best[v]
            _renumber(level)
        _move_nodes(graph, level, anywhere, resolution, state, unlimited)
        while True:
            count = _renumber(level)
            for v in range(n):
                labels[v] = level[labels[v]]
            graph = _aggregate(graph, level, count)
            level = np.arange(count)
            if _move_nodes(graph, level, anywhere, resolution, state, unlimited) == 0:
                break
        _move_nodes(cells, labels, anywhere, resolution, state, unlimited)
        _renumber(labels)
        better = modularity(indptr, indices, weights, labels, resolution)
        if step == 0 or better > quality:
            best = labels
        gain = better - quality
        quality = better
        if step > 0 and gain <= LEAST_GAIN:
            break
    return best
