"""Compiled kernels of the search for nearest neighbours: choosing, widening and ranking candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytocar._core.compiled import compiled


@compiled()
def _kth_largest(values: Any, size: int, k: int) -> Any:
    """Return the k-th largest of the first `size` values, which change their order (quickselect)."""
    low = 0
    high = size - 1
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i = low
        j = high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            break
    return values[k - 1]


@compiled(fastmath={"nnan", "nsz"})
def _raise_to(highest: Any, part: Any) -> None:
    # a function of its own: only as a plain loop over two arrays does it become vector instructions
    for s in range(highest.shape[0]):
        highest[s] = max(highest[s], part[s])


@compiled()
def largest(score: Any, columns: Any, out: Any) -> None:
    """Write for each row of `score` the `columns` of its largest values, as many as `out` is wide, in any order.

    The columns are dealt into groups; the m-th largest of the groups' maxima is a bound that at least m values
    reach, so that few groups are looked into. Equal values at the edge go to the first columns.
    """
    n_rows, n_columns = score.shape
    m = out.shape[1]
    deal = int(np.sqrt(4.0 * n_columns / m))
    if n_columns < 8 * m:
        deal = 1
    groups = n_columns // deal
    highest = np.empty(groups, np.float32)
    work = np.empty(n_columns, np.float32)
    value = np.empty(n_columns, np.float32)
    place = np.empty(n_columns, np.int32)
    for r in range(n_rows):
        row = score[r]
        highest[:] = row[:groups]
        for t in range(1, deal):
            _raise_to(highest, row[t * groups : (t + 1) * groups])
        work[:groups] = highest
        bound = _kth_largest(work, groups, m)
        found = 0
        for s in range(groups):
            if highest[s] > bound:
                for t in range(deal):
                    value[found] = row[t * groups + s]
                    place[found] = t * groups + s
                    found += row[t * groups + s] > bound
        for s in range(deal * groups, n_columns):
            if row[s] > bound:
                value[found] = row[s]
                place[found] = s
                found += 1
        if found > m:
            work[:found] = value[:found]
            bound = _kth_largest(work, found, m)
        filled = 0
        for s in range(found):
            if value[s] > bound:
                out[r, filled] = columns[place[s]]
                filled += 1
        s = 0
        while filled < m:
            if row[s] == bound:
                out[r, filled] = columns[s]
                filled += 1
            s += 1


@compiled(fastmath=True)
def _square_distance(a: Any, b: Any) -> Any:
    total = np.float32(0.0)
    for f in range(a.shape[0]):
        total += (a[f] - b[f]) * (a[f] - b[f])
    return total


@compiled()
def _insert(distance: Any, row: Any, last: int, length: Any, name: int) -> None:
    """Put a candidate into its place among the first `last` of a sorted row, the farthest of which drops out."""
    place = last
    while place > 0 and distance[place - 1] > length:
        distance[place] = distance[place - 1]
        row[place] = row[place - 1]
        place -= 1
    distance[place] = length
    row[place] = name


@compiled()
def widen(x: Any, candidates: Any, start: int, stop: int, out: Any) -> None:
    """Write for rows `start` to `stop` the nearest of their candidates and of the candidates of these.

    A neighbour of a neighbour is likely to be a neighbour: what a search in part has missed is found from the
    other side. Rows read `candidates` only, so blocks of rows do not depend on each other.
    """
    n, m = candidates.shape
    seen = np.full(n, -1, np.int32)
    distance = np.empty(m, np.float32)
    for i in range(start, stop):
        for a in range(m):
            j = candidates[i, a]
            seen[j] = i
            _insert(distance, out[i], a, _square_distance(x[i], x[j]), j)
        for a in range(m):
            j = candidates[i, a]
            for b in range(m):
                h = candidates[j, b]
                if seen[h] != i:
                    seen[h] = i
                    length = _square_distance(x[i], x[h])
                    if length < distance[m - 1]:
                        _insert(distance, out[i], m - 1, length, h)


@compiled()
def rank(
    query: Any,
    x: Any,
    names: Any,
    candidates: Any,
    without_self: bool,
    rows: tuple[int, int],
    out: Any,
    length: Any,
) -> None:
    """Write for `rows` (start, stop) of `query` the names of the nearest of their candidates, nearest first.

    Their distances go to `length`.

    Distances are taken again in float64 and ties go to the lower name, so that rounding in the search decides
    nothing. A row is left out by its number, not by its distance of 0: a copy of it is a neighbour like any other.
    """
    k = out.shape[1]
    best = np.empty(k, np.float64)
    for i in range(rows[0], rows[1]):
        filled = 0
        for c in range(candidates.shape[1]):
            j = candidates[i, c]
            if without_self and j == i:
                continue
            distance = 0.0
            for f in range(x.shape[1]):
                difference = np.float64(query[i, f]) - np.float64(x[j, f])
                distance += difference * difference
            name = names[j]
            if filled == k:
                last = best[k - 1]
                if distance > last or (distance == last and name > out[i, k - 1]):
                    continue
                place = k - 1
            else:
                place = filled
                filled += 1
            while place > 0 and (
                best[place - 1] > distance or (best[place - 1] == distance and out[i, place - 1] > name)
            ):
                best[place] = best[place - 1]
                out[i, place] = out[i, place - 1]
                place -= 1
            best[place] = distance
            out[i, place] = name
        for place in range(k):
            length[i, place] = np.sqrt(best[place])
