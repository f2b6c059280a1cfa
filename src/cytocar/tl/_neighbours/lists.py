"""The search for nearest neighbours list by list, for cells too many to compare each with each.

Cells are put into lists around centres (an inverted file). All cells of a list look through the same lists, those with
the nearest centres, so that their distances are one matrix product and not one look-up per cell. How many cells are
looked through is read off a sample whose true neighbours are known; what is still missed is mostly found by a look at
the neighbours of neighbours.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import seeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

# cells of a list on average, and at most
LIST_SIZE: Final = 200
LONGEST: Final = 1000
# steps of k-means, and cells per centre they work on
STEPS: Final = 4
PER_CENTRE: Final = 32
# share of neighbours that the look through the lists shall find, and the cells it may look through for that
FOUND_IN_LISTS: Final = 0.93
FEWEST: Final = 2000
MOST: Final = 60_000
# rows of a matrix product, so that it stays in the processor's cache
ROWS: Final = 128


def as_query(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of `x` with a last column of 1, the left side of a product that ranks by distance."""
    return np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)


def as_base(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of `x` with a last column of -|x|^2 / 2, the right side: products then fall with |a - b|."""
    half = -0.5 * np.einsum("ij,ij->i", x, x, dtype=np.float64)
    return np.concatenate([x, half[:, None].astype(np.float32)], axis=1)


def _nearest_centre(
    query: NDArray[np.float32], centres: NDArray[np.float32], pool: ThreadPoolExecutor
) -> NDArray[np.int32]:
    base = np.ascontiguousarray(as_base(centres).T)
    out = np.empty(len(query), np.int32)

    def work(start: int) -> None:
        out[start : start + ROWS] = np.argmax(query[start : start + ROWS] @ base, axis=1)

    list(pool.map(work, range(0, len(query), ROWS)))
    return out


def _centres(x: NDArray[np.float32], count: int, pool: ThreadPoolExecutor) -> NDArray[np.float32]:
    """Return `count` centres by a few steps of k-means on some of the cells."""
    generator = seeds.generator(0, "neighbours", "centres")
    some = x[np.sort(generator.choice(len(x), min(len(x), count * PER_CENTRE), replace=False))]
    centres = some[np.sort(generator.choice(len(some), count, replace=False))].copy()
    query = as_query(some)
    for _ in range(STEPS):
        nearest = _nearest_centre(query, centres, pool)
        sizes = np.bincount(nearest, minlength=count)
        there = sizes > 0
        firsts = (np.cumsum(sizes) - sizes)[there]
        sums = np.add.reduceat(some[np.argsort(nearest, kind="stable")], firsts, axis=0)
        centres[there] = sums / sizes[there, None].astype(np.float32)
    return centres


class Lists:
    """Cells in lists around centres.

    Attributes
    ----------
    order
        Numbers of the cells, list after list.
    x
        The cells in that order.
    """

    def __init__(self, x: NDArray[np.float32], pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        centres = _centres(x, max(1, len(x) // LIST_SIZE), pool)
        nearest = _nearest_centre(as_query(x), centres, pool)
        self.order = np.argsort(nearest, kind="stable").astype(np.int32)
        self.x = x[self.order]
        self._base = as_base(self.x)
        # a list of thousands of cells (copies of one, say) is cut into pieces, so that no list costs too much
        sizes = np.bincount(nearest, minlength=len(centres))
        pieces = -(-sizes // LONGEST)
        self._centre_of = np.repeat(np.arange(len(centres)), pieces)
        piece = np.arange(len(self._centre_of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        firsts = np.repeat(np.cumsum(sizes) - sizes, pieces)
        sizes, pieces = np.repeat(sizes, pieces), np.repeat(pieces, pieces)
        self.edges = np.append(firsts + sizes * piece // pieces, len(x))
        self._centres = as_base(centres)[self._centre_of]

    def _by_nearness(self, number: int) -> NDArray[np.intp]:
        """Return the lists from the one nearest to list `number` on; those of one centre in their order."""
        query = self._centres[number].copy()
        query[-1] = 1
        return np.argsort(-(self._centres @ query), kind="stable")

    def looks_needed(
        self, cells: NDArray[np.int32], neighbours: NDArray[np.int32], share: float = FOUND_IN_LISTS
    ) -> int:
        """Return how many cells must be looked through to find `share` of the true neighbours of some cells.

        `cells` and `neighbours` (cells x k) are places in `order`.
        """
        sizes = np.diff(self.edges)
        own = np.searchsorted(self.edges, cells, side="right") - 1
        theirs = np.searchsorted(self.edges, neighbours, side="right") - 1
        looks = np.empty(neighbours.shape, np.int64)
        for row in range(len(cells)):
            near = self._by_nearness(int(own[row]))
            reached = np.empty(len(near), np.int64)
            reached[near] = np.cumsum(sizes[near])
            looks[row] = reached[theirs[row]]
        return int(np.clip(np.quantile(looks, share), FEWEST, MOST))

    def candidates(self, m: int, looks: int) -> NDArray[np.int32]:
        """Return for each place in `order` the `m` nearest places among about `looks`, itself included."""
        from cytocar.tl._neighbours.kernels import largest

        sizes = np.diff(self.edges)
        out = np.empty((len(self.x), m), np.int32)

        def work(number: int) -> None:
            near = self._by_nearness(number)
            near = near[: np.searchsorted(np.cumsum(sizes[near]), max(looks, m)) + 1]
            if number not in near:
                near = np.append(near, number)
            near.sort()
            columns = np.concatenate(
                [np.arange(self.edges[j], self.edges[j + 1], dtype=np.int32) for j in near]
            )
            base = self._base[columns].T
            for start in range(self.edges[number], self.edges[number + 1], ROWS):
                stop = min(start + ROWS, self.edges[number + 1])
                largest(as_query(self.x[start:stop]) @ base, columns, out[start:stop])

        list(self._pool.map(work, range(len(sizes))))
        return out
