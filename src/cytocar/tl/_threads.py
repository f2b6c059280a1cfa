"""Work over blocks of rows, on threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

Work: TypeAlias = Callable[[int, int], None]
# below so many rows the threads would cost more than they save
ALONE_BELOW = 2000


def in_blocks(work: Work, n: int, threads: int) -> None:
    """Run ``work(start, stop)`` over blocks that cover ``range(n)``; the kernels let go of the lock."""
    if n < ALONE_BELOW:
        work(0, n)
        return
    with standing(threads) as blocks:
        blocks(work, n)


@contextmanager
def standing(threads: int) -> Iterator[Callable[[Work, int], None]]:
    """Give what runs ``work(start, stop)`` over blocks of ``range(n)``, on threads that wait for the next work."""
    if threads == 1:
        yield lambda work, n: work(0, n)
        return
    with ThreadPoolExecutor(threads) as pool:

        def blocks(work: Work, n: int) -> None:
            if n < ALONE_BELOW:
                work(0, n)
                return
            edges = np.linspace(0, n, threads + 1).astype(int)
            for done in [pool.submit(work, int(a), int(b)) for a, b in itertools.pairwise(edges)]:
                done.result()

        yield blocks
