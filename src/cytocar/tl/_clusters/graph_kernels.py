"""Compiled kernels on the graph of nearest neighbours: shared neighbours, modularity, Louvain communities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def nearest_of_candidates(x: Any, candidates: Any, start: int, stop: int, out: Any) -> None:
    """Keep for rows `start` to `stop` the nearest of their candidates, without the row itself.

    Distances are taken again in float64 and ties go to the lower row number, so that rounding in the search,
    which depends on blocks and threads, decides nothing. A row is left out by its number, not by its
    distance of 0: a copy of the row is a neighbour like any other.
    """
    k = out.shape[1]
    n_candidates = candidates.shape[1]
    best = np.empty(k, np.float64)
    for i in range(start, stop):
        filled = 0
        for c in range(n_candidates):
            j = candidates[i, c]
            if j == i or j < 0:
                continue
            distance = 0.0
            for f in range(x.shape[1]):
                difference = np.float64(x[i, f]) - np.float64(x[j, f])
                distance += difference * difference
            if filled == k:
                last = best[k - 1]
                if distance > last or (distance == last and j > out[i, k - 1]):
                    continue
                place = k - 1
            else:
                place = filled
                filled += 1
            while place > 0 and (
                best[place - 1] > distance or (best[place - 1] == distance and out[i, place - 1] > j)
            ):
                best[place] = best[place - 1]
                out[i, place] = out[i, place - 1]
                place -= 1
            best[place] = distance
            out[i, place] = j


@njit(cache=True, nogil=True)
def jaccard_rows(neighbours: Any, start: int, stop: int, out: Any) -> None:
    """Write ``|Ni n Nj| / |Ni u Nj|`` for rows `start` to `stop` and each of their neighbours j."""
    n, k = neighbours.shape
    stamp = np.full(n, -1, np.int64)
    for i in range(start, stop):
        for a in range(k):
            stamp[neighbours[i, a]] = i
        for a in range(k):
            j = neighbours[i, a]
            shared = 0
            for b in range(k):
                if stamp[neighbours[j, b]] == i:
                    shared += 1
            out[i, a] = shared / (2.0 * k - shared)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _next_random(state: Any) -> Any:
    # splitmix64: a counter and a mixing function, so a restart needs one number and touches no global state
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def _shuffled(n: int, state: Any) -> Any:
    order = np.arange(n)
    for i in range(n - 1, 0, -1):
        j = np.int64(_next_random(state) % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]
    return order


@njit(cache=True, nogil=True)
def _move_nodes(indptr: Any, indices: Any, weights: Any, labels: Any, resolution: float, state: Any) -> int:
    """Move nodes one by one to the neighbouring community of largest gain until none wants to; count moves.

    A node is looked at again only when one of its neighbours has moved, as in the fast local moving of the
    Leiden method. Weights of a node to itself stay with it and never enter the choice.
    """
    n = indptr.shape[0] - 1
    strength = np.zeros(n, np.float64)
    for v in range(n):
        for e in range(indptr[v], indptr[v + 1]):
            strength[v] += weights[e]
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
    while length > 0:
        v = queue[head]
        head = (head + 1) % n
        length -= 1
        waiting[v] = False

        n_touched = 0
        for e in range(indptr[v], indptr[v + 1]):
            u = indices[e]
            if u != v:
                c = labels[u]
                if to_community[c] == 0.0:
                    touched[n_touched] = c
                    n_touched += 1
                to_community[c] += weights[e]

        home = labels[v]
        total[home] -= strength[v]
        size[home] -= 1
        share = resolution * strength[v] / twice_m
        best = home
        best_gain = to_community[home] - share * total[home]
        for t in range(n_touched):
            c = touched[t]
            gain = to_community[c] - share * total[c]
            if gain > best_gain + 1e-12 * strength[v]:
                best = c
                best_gain = gain
        if best_gain < 0.0 and size[home] > 0 and n_empty > 0:
            n_empty -= 1
            best = empty[n_empty]
        for t in range(n_touched):
            to_community[touched[t]] = 0.0
        total[best] += strength[v]
        size[best] += 1
        if best != home:
            labels[v] = best
            moves += 1
            if size[home] == 0:
                empty[n_empty] = home
                n_empty += 1
            for e in range(indptr[v], indptr[v + 1]):
                u = indices[e]
                if u != v and labels[u] != best and not waiting[u]:
                    waiting[u] = True
                    queue[(head + length) % n] = u
                    length += 1
    return moves


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _aggregate(indptr: Any, indices: Any, weights: Any, labels: Any, count: int) -> Any:
    """Return the graph whose nodes are the communities; weights within one become its weight to itself."""
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
    place = np.full(count, -1, np.int64)
    used = 0
    for c in range(count):
        first = used
        for m in range(starts[c], starts[c + 1]):
            v = members[m]
            for e in range(indptr[v], indptr[v + 1]):
                d = labels[indices[e]]
                if place[d] < first:
                    place[d] = used
                    new_indices[used] = d
                    new_weights[used] = 0.0
                    used += 1
                new_weights[place[d]] += weights[e]
        new_indptr[c + 1] = used
    return new_indptr, new_indices[:used].copy(), new_weights[:used].copy()


@njit(cache=True, nogil=True)
def louvain(indptr: Any, indices: Any, weights: Any, resolution: float, seed: int) -> Any:
    """Return community numbers of a symmetric graph: Louvain levels, repeated from their result until no gain.

    Starting again from the single nodes with the communities found so far mends the known weakness of one
    pass, that a node joined early can never leave.
    """
    n = indptr.shape[0] - 1
    state = np.empty(1, np.uint64)
    state[0] = np.uint64(seed)
    found = np.arange(n)
    quality = modularity(indptr, indices, weights, found, resolution)
    for _ in range(100):
        labels = found.copy()
        _move_nodes(indptr, indices, weights, labels, resolution, state)
        count = _renumber(labels)
        graph = _aggregate(indptr, indices, weights, labels, count)
        while True:
            level = np.arange(count)
            if _move_nodes(graph[0], graph[1], graph[2], level, resolution, state) == 0:
                break
            count = _renumber(level)
            for v in range(n):
                labels[v] = level[labels[v]]
            graph = _aggregate(graph[0], graph[1], graph[2], level, count)
        better = modularity(indptr, indices, weights, labels, resolution)
        if better <= quality + 1e-10:
            if better > quality:
                found = labels
            break
        found = labels
        quality = better
    return found
