"""Nearest neighbours of cells in marker space, the same for any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import checks, seeds
from cytocar.tl import _threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

# up to this many cells each is compared with each; beyond, the search list by list takes less than half of the time
EXACT_UP_TO: Final = 20_000
# candidates beyond k + 1, so that rounding at the edge of the search cannot push a true neighbour out
SPARE: Final = 8
# cells whose true neighbours are known when a search in part is judged, and the share of them it shall find
SAMPLE: Final = 256
RECALL: Final = 0.98
# looks at neighbours of neighbours, at most
PASSES: Final = 3
# distances of one block of an exact search
BLOCK: Final = 1 << 21


@dataclass(frozen=True)
class Neighbours:
    """Nearest neighbours and how they were found.

    Attributes
    ----------
    index
        int32, rows x k, nearest first, ties by row number.
    distance
        float32, rows x k: how far each is, Euclidean.
    how
        ``"exact"`` or ``"inverted file"``.
    recall
        Share of true neighbours found, measured on some of the rows; 1 for an exact search.
    order
        Rows in an order that puts most neighbours near each other, which spares the processor's cache; `None` where
        there are few rows.
    """

    index: NDArray[np.int32]
    distance: NDArray[np.float32]
    how: str
    recall: float
    order: NDArray[np.int32] | None = None


@contextmanager
def _pool(n_jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads, each of which multiplies matrices alone: the pool shares the work, not the library."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(checks.n_threads(n_jobs)) as pool:
        yield pool


def _compared_with_all(
    query: NDArray[np.float32], x: NDArray[np.float32], m: int, pool: ThreadPoolExecutor
) -> NDArray[np.int32]:
    """Return the `m` rows of `x` nearest to each row of `query`, in any order, by float32 distances to all."""
    from cytocar.tl._neighbours.kernels import largest
    from cytocar.tl._neighbours.lists import as_base, as_query

    base = np.ascontiguousarray(as_base(x).T)
    columns = np.arange(len(x), dtype=np.int32)
    out = np.empty((len(query), m), np.int32)
    rows = int(np.clip(BLOCK // len(x), 1, 256))

    def work(start: int) -> None:
        part = query[start : start + rows]
        largest(as_query(part) @ base, columns, out[start : start + rows])

    list(pool.map(work, range(0, len(query), rows)))
    return out


def _ranked(
    query: NDArray[np.float32],
    x: NDArray[np.float32],
    names: NDArray[np.int32],
    candidates: NDArray[np.int32],
    k: int,
    *,
    without_self: bool,
    threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the names of the nearest candidates of each row, and their distances."""
    from cytocar.tl._neighbours.kernels import rank

    out = np.empty((len(query), k), np.int32)
    length = np.empty((len(query), k), np.float32)
    _threads.in_blocks(
        lambda a, b: rank(query, x, names, candidates, without_self, (a, b), out, length), len(query), threads
    )
    return out, length


def _centred(x: NDArray[np.float32]) -> NDArray[np.float32]:
    # distances come from |a|^2 + |b|^2 - 2ab, which loses digits where the mean is far from 0
    return np.ascontiguousarray(x - x.mean(axis=0, dtype=np.float64), dtype=np.float32)


def _through_neighbours(
    x: NDArray[np.float32], candidates: NDArray[np.int32], threads: int
) -> NDArray[np.int32]:
    """Return the nearest of each row's candidates and of their candidates, as many as there were."""
    from cytocar.tl._neighbours.kernels import widen

    wider = np.empty_like(candidates)
    _threads.in_blocks(lambda a, b: widen(x, candidates, a, b, wider), len(x), threads)
    return wider


def _list_by_list(x: NDArray[np.float32], k: int, n_jobs: int) -> Neighbours:
    from cytocar.tl._neighbours.lists import Lists

    n, threads = len(x), checks.n_threads(n_jobs)
    chosen = np.sort(seeds.generator(0, "neighbours", "recall").choice(n, min(n, SAMPLE), replace=False))
    with _pool(n_jobs) as pool:
        lists = Lists(x, pool)
        place = np.empty(n, np.int32)
        place[lists.order] = np.arange(n, dtype=np.int32)
        sample = place[chosen]
        # the row itself is among its neighbours here, and wherever candidates are compared with them
        true = _compared_with_all(lists.x[sample], lists.x, k + 1, pool)
        reach = distances(lists.x[sample], lists.x, true).max(axis=1)
        looks = lists.looks_needed(sample, true)
        candidates = lists.candidates(min(n, k + 1 + SPARE), looks)

        def recall(candidates: NDArray[np.int32]) -> float:
            found = np.sort(distances(lists.x[sample], lists.x, candidates[sample]), axis=1)[:, 1 : k + 1]
            return float((found <= reach[:, None] * (1 + 1e-6)).mean())

        found = recall(candidates)
        for _ in range(PASSES):
            if found >= RECALL:
                break
            candidates = _through_neighbours(lists.x, candidates, threads)
            found = recall(candidates)
        if found < RECALL and (more := lists.looks_needed(sample, true, RECALL)) > looks:
            # among copies of cells the neighbours of neighbours are the same few over again
            wider = lists.candidates(candidates.shape[1], more)
            better = recall(wider)
            if better > found:
                candidates, found = wider, better
    ranked, length = _ranked(lists.x, lists.x, lists.order, candidates, k, without_self=True, threads=threads)
    index = np.empty_like(ranked)
    index[lists.order] = ranked
    distance = np.empty_like(length)
    distance[lists.order] = length
    return Neighbours(index, distance, "inverted file", found, lists.order)


def search(x: NDArray[np.float32], k: int, *, n_jobs: int = 1, exact_up_to: int = EXACT_UP_TO) -> Neighbours:
    """Find the `k` nearest other rows of each row (Euclidean).

    Parameters
    ----------
    x
        Cells x markers, finite.
    k
        At least 1, less than the number of rows.
    n_jobs
        Threads.
    exact_up_to
        Rows up to which every distance is computed. Above it rows are searched list by list, as far as is needed
        to find 93 % of the neighbours of a sample of 256 rows (at most 60,000 rows each), and then up to
        three times among the neighbours of neighbours, until 98 % are found. Where that is not enough, as among copies
        of cells, rows are searched once more, far enough to find 98 % (within 60,000 rows).
    """
    n = len(x)
    centred = _centred(x)
    if n > exact_up_to:
        return _list_by_list(centred, k, n_jobs)
    with _pool(n_jobs) as pool:
        candidates = _compared_with_all(centred, centred, min(n, k + 1 + SPARE), pool)
    names = np.arange(n, dtype=np.int32)
    threads = checks.n_threads(n_jobs)
    index, distance = _ranked(centred, centred, names, candidates, k, without_self=True, threads=threads)
    return Neighbours(index, distance, "exact", 1.0)


def nearest_neighbours(
    x: NDArray[np.float32], k: int, *, n_jobs: int = 1, exact_up_to: int = EXACT_UP_TO
) -> tuple[NDArray[np.int32], str]:
    """Return the `k` nearest other rows of each row, and how they were searched: `search` in short."""
    found = search(x, k, n_jobs=n_jobs, exact_up_to=exact_up_to)
    return found.index, found.how


def nearest_to(
    query: NDArray[np.float32], x: NDArray[np.float32], k: int, *, n_jobs: int = 1
) -> NDArray[np.int32]:
    """Return the `k` rows of `x` nearest to each row of `query`, nearest first, ties by row number."""
    centre = x.mean(axis=0, dtype=np.float64)
    base = np.ascontiguousarray(x - centre, dtype=np.float32)
    asked = np.ascontiguousarray(query - centre, dtype=np.float32)
    with _pool(n_jobs) as pool:
        candidates = _compared_with_all(asked, base, min(len(x), k + SPARE), pool)
    names = np.arange(len(x), dtype=np.int32)
    return _ranked(asked, base, names, candidates, k, without_self=False, threads=checks.n_threads(n_jobs))[0]


def distances(
    query: NDArray[np.float32], x: NDArray[np.float32], neighbours: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the Euclidean distances from each row of `query` to its `neighbours` in `x`, in float64."""
    out = np.empty(neighbours.shape, np.float64)
    for column in range(neighbours.shape[1]):
        difference = query.astype(np.float64) - x[neighbours[:, column]]
        out[:, column] = np.sqrt((difference * difference).sum(axis=1))
    return out
