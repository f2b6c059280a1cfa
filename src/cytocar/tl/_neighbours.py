"""Nearest neighbours of cells in marker space, exact and the same for any number of threads."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# above this many cells the exact search, whose time grows with n squared, gives way to an inverted file
EXACT_UP_TO = 200_000
# candidates beyond k + 1, so that rounding at the edge of the search cannot push a true neighbour out
SPARE = 8


def n_threads(n_jobs: int) -> int:
    """Return the number of threads meant by `n_jobs`; -1 is all that this process may use."""
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or (n_jobs < 1 and n_jobs != -1):
        raise ParameterError(f"n_jobs is {n_jobs!r}; it must be at least 1, or -1 for all processors")
    if n_jobs == -1:
        available = getattr(os, "sched_getaffinity", None)
        return len(available(0)) if available is not None else os.cpu_count() or 1
    return int(n_jobs)


def in_blocks(work: Callable[[int, int], None], n: int, threads: int) -> None:
    """Run ``work(start, stop)`` over blocks that cover ``range(n)``; the kernels let go of the lock."""
    edges = np.linspace(0, n, threads + 1).astype(int)
    if threads == 1 or n < 2000:
        work(0, n)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, int(a), int(b)) for a, b in itertools.pairwise(edges)]:
            done.result()


def _faiss() -> Any:
    with warnings.catch_warnings():
        # the generated wrapper of faiss warns about its own types on Python 3.12 and later
        warnings.simplefilter("ignore", DeprecationWarning)
        import faiss
    return faiss


def nearest_neighbours(
    x: NDArray[np.float32], k: int, *, n_jobs: int = 1, exact_up_to: int = EXACT_UP_TO
) -> tuple[NDArray[np.int32], str]:
    """Return the `k` nearest other rows of each row (Euclidean), and how they were searched.

    Parameters
    ----------
    x
        Cells x markers, finite.
    k
        At least 1, less than the number of rows.
    n_jobs
        Threads.
    exact_up_to
        Rows up to which every distance is computed. Above it an inverted file is searched in part (about one
        neighbour in fifty is missed).

    Returns
    -------
    int32 array of shape (rows, k), nearest first, ties by row number; and ``"exact"`` or ``"inverted file"``.
    """
    faiss = _faiss()
    from cytocar.tl._clusters.graph_kernels import nearest_of_candidates

    n = x.shape[0]
    # with many cells distances come from |a|^2 + |b|^2 - 2ab, which loses digits where the mean is far from 0
    centred = np.ascontiguousarray(x - x.mean(axis=0, dtype=np.float64), dtype=np.float32)
    threads = n_threads(n_jobs)
    wanted = min(n, k + 1 + SPARE)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        if n <= exact_up_to:
            index: Any = faiss.IndexFlatL2(x.shape[1])
            how = "exact"
        else:
            cells = max(16, int(2 * np.sqrt(n)))
            index = faiss.IndexIVFFlat(faiss.IndexFlatL2(x.shape[1]), x.shape[1], cells)
            index.nprobe = max(8, cells // 24)
            index.cp.min_points_per_centroid = 1
            index.train(centred)
            how = "inverted file"
        index.add(centred)
        candidates = index.search(centred, wanted)[1]
    finally:
        faiss.omp_set_num_threads(before)
    out = np.empty((n, k), np.int32)
    candidates = np.ascontiguousarray(candidates, np.int32)
    in_blocks(lambda a, b: nearest_of_candidates(centred, candidates, a, b, out), n, threads)
    return out, how


def nearest_to(
    query: NDArray[np.float32], x: NDArray[np.float32], k: int, *, n_jobs: int = 1
) -> NDArray[np.int32]:
    """Return the `k` rows of `x` nearest to each row of `query`, nearest first."""
    faiss = _faiss()
    centre = x.mean(axis=0, dtype=np.float64)
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(n_threads(n_jobs))
    try:
        index = faiss.IndexFlatL2(x.shape[1])
        index.add(np.ascontiguousarray(x - centre, dtype=np.float32))
        found = index.search(np.ascontiguousarray(query - centre, dtype=np.float32), k)[1]
    finally:
        faiss.omp_set_num_threads(before)
    return np.ascontiguousarray(found, np.int32)


def distances(
    query: NDArray[np.float32], x: NDArray[np.float32], neighbours: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the Euclidean distances from each row of `query` to its `neighbours` in `x`, in float64."""
    out = np.empty(neighbours.shape, np.float64)
    for column in range(neighbours.shape[1]):
        difference = query.astype(np.float64) - x[neighbours[:, column]]
        out[:, column] = np.sqrt((difference * difference).sum(axis=1))
    return out
