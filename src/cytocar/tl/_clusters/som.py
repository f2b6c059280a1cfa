"""The self-organising map itself, trained on cells in memory or on chunks of more cells than memory holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from cytocar._core import checks, seeds
from cytocar._core.errors import ParameterError
from cytocar.tl import _input
from cytocar.tl._clusters.consensus import LINKAGES, Linkage
from cytocar.tl._clusters.metaclusters import cut_nodes, largest_cut, numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["auto", "online", "batch"]
METHODS: Final = ("auto", "online", "batch")
Cells: TypeAlias = (
    "NDArray[np.floating] | Sequence[NDArray[np.floating]] | Callable[[], Iterable[NDArray[np.floating]]]"
)

PUBLISHED_RLEN: Final = 10
# showings of cells per node below which a map is not yet settled
SHOWN_PER_NODE: Final = 1000
LEARNING_RATE: Final = (0.05, 0.01)
RADIUS_QUANTILE: Final = 0.67
# a node should stand for at least this many cells on average
CELLS_PER_NODE: Final = 5
# cells that unfold the map of the batch form; up to so many the online form is the default
SAMPLE: Final = 100_000
# rows whose sums are added up together, whatever the chunks and the threads
BLOCK: Final = 16_384


@dataclass(frozen=True)
class SelfOrganisingMap:
    """A trained map.

    Parameters
    ----------
    codes
        Nodes x markers, nodes counted from 0 row by row of the grid.
    node
        int32: the nearest node of each cell.
    distance
        float32: the Euclidean distance of each cell to the code of its node.
    method
        ``"online"`` or ``"batch"``: the form that trained it.
    grid
        Sides of the grid.
    """

    codes: NDArray[np.float64]
    node: NDArray[np.int32]
    distance: NDArray[np.float32]
    method: str = "online"
    grid: tuple[int, int] = (0, 0)

    def quantisation_error(self) -> float:
        """Return the mean distance of the cells to the code of their node, in the unit of the values."""
        return float(self.distance.mean(dtype=np.float64))

    def metaclusters(self, k: int, *, linkage: Linkage = "average_cells", seed: int = 0) -> NDArray[np.int64]:
        """Return the metacluster of each node, 1 to `k` by their number of cells, by consensus as in `flowsom`.

        ``found.metaclusters(9)[found.node]`` are the labels of the cells.
        """
        checks.one_of(linkage, "linkage", LINKAGES)
        cells = np.bincount(self.node, minlength=len(self.codes))
        used = int((cells > 0).sum())
        k = checks.whole_number(
            k, "k", 2, largest_cut(used), why=f"nine tenths of the {used} nodes that have cells"
        )
        return numbered(cut_nodes(self.codes, self.node, k, linkage, seed)[0][-1], cells)


def chebyshev(grid: tuple[int, int]) -> NDArray[np.float64]:
    """Return the Chebyshev distances between the nodes of a grid, counted row by row."""
    rows, columns = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    apart = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns))
    return np.asarray(apart.astype(np.float64))


def shrunk(grid: tuple[int, int], n_cells: int) -> tuple[int, int]:
    """Return `grid`, or a smaller one of the same shape with at least 5 cells per node on average.

    Never below 2 x 2.

    Examples
    --------
    >>> shrunk((10, 10), 4978), shrunk((10, 10), 250), shrunk((10, 10), 12)
    ((10, 10), (7, 7), (2, 2))
    """
    factor = min(1.0, (n_cells / CELLS_PER_NODE / (grid[0] * grid[1])) ** 0.5)
    return max(2, int(grid[0] * factor + 1e-9)), max(2, int(grid[1] * factor + 1e-9))


def checked_grid(grid: object, n_cells: int) -> tuple[int, int]:
    """Return the grid to use for so many cells, or raise `ParameterError`."""
    sides = tuple(grid) if isinstance(grid, Sequence) and not isinstance(grid, str) else ()
    if len(sides) != 2:
        raise ParameterError(f"grid is {grid!r}", fix="it must be two whole numbers such as (10, 10)")
    rows, columns = (checks.whole_number(side, "a side of grid", 2, 100) for side in sides)
    return shrunk((rows, columns), n_cells)


def auto_rlen(n_cells: int, nodes: int) -> int:
    """Return how often to show all cells: 10 times as published, more where cells are few.

    Each node should see 1,000 showings on average; with 100 nodes this asks for more than 10 passes below
    10,000 cells.

    Examples
    --------
    >>> auto_rlen(250, 49), auto_rlen(2500, 100), auto_rlen(100_000, 100)
    (196, 40, 10)
    """
    return max(PUBLISHED_RLEN, int(np.ceil(SHOWN_PER_NODE * nodes / n_cells)))


def checked_rlen(rlen: object, n_cells: int, nodes: int) -> int:
    """Return how often to show all cells, or raise `ParameterError`."""
    passes = checks.whole_or_auto(rlen, "rlen", 1)
    return auto_rlen(n_cells, nodes) if passes is None else passes


def checked_method(method: object, n_cells: int) -> str:
    """Return the form of training to use for so many cells, or raise `ParameterError`."""
    checks.one_of(method, "method", METHODS)
    if method == "auto":
        return "online" if n_cells <= SAMPLE else "batch"
    return str(method)


def blocks(cells: Cells) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the first row and the float32 values of each run of 16,384 rows, however `cells` is cut into chunks."""
    if isinstance(cells, np.ndarray):
        for start in range(0, len(cells), BLOCK):
            yield start, np.ascontiguousarray(cells[start : start + BLOCK], np.float32)
        return
    waiting: list[NDArray[np.float32]] = []
    held = start = 0
    markers = -1
    for number, chunk in enumerate(cells() if callable(cells) else cells):
        if not isinstance(chunk, np.ndarray):
            raise ParameterError(
                f"chunk {number} is a {type(chunk).__name__}", fix="it must be an array of cells x markers"
            )
        if chunk.ndim != 2 or (markers >= 0 and chunk.shape[1] != markers):
            wanted = f"{markers} columns" if markers >= 0 else "rows and columns"
            raise ParameterError(
                f"chunk {number} has the shape {chunk.shape}", fix=f"it must have {wanted} (the markers)"
            )
        markers, taken = chunk.shape[1], 0
        while held + len(chunk) - taken >= BLOCK:
            upto = taken + BLOCK - held
            waiting.append(np.ascontiguousarray(chunk[taken:upto], np.float32))
            yield start, waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            waiting, held, taken, start = [], 0, upto, start + BLOCK
        if taken < len(chunk):
            # a copy: whoever makes the chunks may fill the same memory again
            waiting.append(np.array(chunk[taken:], np.float32, order="C"))
            held += len(chunk) - taken
    if held:
        yield start, np.concatenate(waiting)


def _shape(cells: Cells) -> tuple[int, int]:
    """Return rows and columns, having seen that all values are finite and that there are enough."""
    rows = markers = 0
    for start, block in blocks(cells):
        bad = ~(np.abs(block) <= checks.LARGEST)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ParameterError(
                f"tl.flowsom_map: row {start + int(row)}, column {int(column)} is {block[row, column]}",
                fix=(
                    "values must be "
                    f"finite and at most {checks.LARGEST:g}: remove those cells or leave that marker out"
                ),
            )
        rows, markers = start + len(block), block.shape[1]
    if rows < _input.MIN_CELLS:
        raise ParameterError(
            f"tl.flowsom_map needs at least {_input.MIN_CELLS} cells, there are {rows}"
            + (
                "; an iterator is spent after one pass: hand over a function that makes a new one"
                if not rows
                else ""
            )
        )
    return rows, markers


def _rows(cells: Cells, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the rows `chosen`, which ascend."""
    if isinstance(cells, np.ndarray):
        return np.ascontiguousarray(cells[chosen], np.float32)
    edges = (
        (start, block, np.searchsorted(chosen, [start, start + len(block)])) for start, block in blocks(cells)
    )
    return np.concatenate([block[chosen[a:b] - start] for start, block, (a, b) in edges])


def first_codes(x: NDArray[np.float32], nodes: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw `nodes` cells, different from one another as long as there are such."""
    order = generator.permutation(len(x))
    for some in (order[: 4 * nodes], order):
        _, first = np.unique(x[some], axis=0, return_index=True)
        if len(first) >= nodes:
            return x[some[np.sort(first)[:nodes]]].astype(np.float64)
    again = generator.integers(0, len(first), nodes - len(first))
    return np.asarray(x[order[np.concatenate([np.sort(first), first[again]])]].astype(np.float64))


def _online(
    x: NDArray[np.float32], grid: tuple[int, int], rlen: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the codes after `rlen` passes, each of which shows every cell once in a new random order.

    Drawing with replacement, as the authors' program does, leaves out a third of the cells in a pass and gave
    impurer nodes.
    """
    from cytocar.tl._clusters.som_kernels import across, train

    between = chebyshev(grid)
    nodes, n = len(between), len(x)
    codes = across(first_codes(x, nodes, generator))
    rate = np.array(LEARNING_RATE)
    radius = np.array([np.quantile(between, RADIUS_QUANTILE), 0.0])
    for epoch in range(rlen):
        order = generator.permutation(n)
        for start in range(0, n, BLOCK):
            shown = x[order[start : start + BLOCK]]
            train(shown, codes, nodes, between, epoch * n + start, rlen * n, rate, radius)
    return np.ascontiguousarray(codes[:, :nodes].T.astype(np.float64))


def _means(
    cells: Cells, codes: NDArray[np.float64], pool: ThreadPoolExecutor, threads: int
) -> NDArray[np.float64]:
    """Return for each node the mean of the cells nearest to it; a node without cells keeps its code."""
    from cytocar.tl._clusters.som_kernels import across, block_sums

    beside, nodes = across(codes), len(codes)

    def work(block: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        sums, count = np.zeros(codes.shape), np.zeros(nodes, np.int64)
        block_sums(block, beside, nodes, sums, count)
        return sums, count

    total, cells_of = np.zeros(codes.shape), np.zeros(nodes, np.int64)
    source = (block for _, block in blocks(cells))
    # the sums of the blocks are added in their order, so neither threads nor chunks change a digit
    while batch := list(itertools.islice(source, 4 * threads)):
        for sums, count in pool.map(work, batch):
            total += sums
            cells_of += count
    some = cells_of > 0
    out = codes.copy()
    # rounded to what cells are compared in and what is stored
    out[some] = (total[some] / cells_of[some, None]).astype(np.float32)
    return out


def _placed(
    cells: Cells, codes: NDArray[np.float64], n: int, pool: ThreadPoolExecutor, threads: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the nearest node of each cell and the distance to its code."""
    from cytocar.tl._clusters.som_kernels import nearest_nodes

    node, distance = np.empty(n, np.int32), np.empty(n, np.float32)

    def work(item: tuple[int, NDArray[np.float32]]) -> None:
        start, block = item
        stop = start + len(block)
        nearest_nodes(block, codes, 0, len(block), node[start:stop], distance[start:stop])

    source = blocks(cells)
    while batch := list(itertools.islice(source, 4 * threads)):
        list(pool.map(work, batch))
    return node, distance


def self_organising_map(
    cells: Cells,
    *,
    n_cells: int,
    grid: tuple[int, int],
    rlen: int,
    method: str = "online",
    seed: int = 0,
    n_jobs: int = 1,
) -> SelfOrganisingMap:
    """Train a map and place every cell on it, as `flowsom_map` describes; arguments have been checked."""
    threads = checks.n_threads(n_jobs)
    generator = seeds.generator(seed, "flowsom", "map")
    with ThreadPoolExecutor(threads) as pool:
        if method == "online":
            if not isinstance(cells, np.ndarray):
                raise ParameterError(
                    "method is 'online', which shows cells in random order, so they must be one array",
                    fix="for chunks take method='batch'",
                )
            codes = _online(np.ascontiguousarray(cells, np.float32), grid, rlen, generator)
        else:
            some = np.arange(n_cells)
            if n_cells > SAMPLE:
                drawn = seeds.generator(seed, "flowsom", "sample").choice(n_cells, SAMPLE, replace=False)
                some = np.sort(drawn)
            codes = _online(_rows(cells, some), grid, rlen, generator)
            for _ in range((rlen + 1) // 2):
                before, codes = codes, _means(cells, codes, pool, threads)
                if np.array_equal(before, codes):
                    break
        node, distance = _placed(cells, codes, n_cells, pool, threads)
    return SelfOrganisingMap(codes, node, distance, method, grid)


def flowsom_map(
    cells: Cells,
    *,
    grid: tuple[int, int] = (10, 10),
    method: Method = "auto",
    rlen: int | Literal["auto"] = "auto",
    seed: int = 0,
    n_jobs: int | None = None,
) -> SelfOrganisingMap:
    r"""Fit the self-organising map of `flowsom` to an array, also to one that does not fit into memory.

    *Online*, the published form: codes start at different random cells; cells are shown one by one in random order,
    `rlen` times each; the codes within the radius of the nearest node move towards the cell by the learning rate
    (0.05 to 0.01); the radius falls from the 0.67 quantile of the Chebyshev distances on the grid to 0. Van Gassen et
    al. 2015, Cytometry A 87:636, doi:10.1002/cyto.a.22625.

    *Batch*: the online form unfolds the map on 100,000 cells drawn at random, then :math:`\lceil rlen / 2 \rceil`
    passes over all cells move each code to the mean of the cells nearest to it, as the published schedule ends with a
    radius below 1 (Kohonen 2013, Neural Netw 37:52, doi:10.1016/j.neunet.2012.09.018). Passes read the cells in
    blocks and in order, so time grows with the cells and memory does not.

    Parameters
    ----------
    cells
        Cells x markers, finite, of any float type: an array, a memory map, a list of arrays, or a function without
        arguments that returns an iterator over chunks (arrays of any number of rows) and is called once per pass. At
        least 10 cells.
    grid
        Sides, each 2 to 100; shrinks below 5 cells per node.
    method
        ``"online"`` (an array only), ``"batch"``, or ``"auto"``: online up to 100,000 cells, batch above.
    rlen
        Times that cells are shown; ``"auto"`` is 10, more below 1,000 showings per node.
    seed
        Fixes the result, whatever `n_jobs` and the chunks are.
    n_jobs
        Threads of the batch passes and of placing the cells; -1 for all.
        `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.

    Returns
    -------
    `SelfOrganisingMap` with ``codes``, ``node``, ``distance``, ``method`` and ``grid``, and a method ``metaclusters``.

    Raises
    ------
    ParameterError
        An argument is outside its domain, a chunk is not an array or has other columns, or a value is not finite.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.random.default_rng(0).normal(size=(500, 3)).astype("float32")
    >>> whole = flowsom_map(x, grid=(4, 4), method="batch")
    >>> parts = flowsom_map(lambda: iter([x[:77], x[77:]]), grid=(4, 4), method="batch")
    >>> numpy.array_equal(whole.codes, parts.codes), whole.codes.shape
    (True, (16, 3))
    """
    if isinstance(cells, np.ndarray) and cells.ndim != 2:
        raise ParameterError(
            f"cells has the shape {cells.shape}", fix="it must have rows (cells) and columns (markers)"
        )
    if not isinstance(cells, (np.ndarray, Sequence, Iterator)) and not callable(cells):
        raise ParameterError(
            f"cells is a {type(cells).__name__}",
            fix=(
                "it must be an array, a list of arrays, or a function that returns an "
                "iterator over arrays; of a table or a sparse matrix hand over dense values, such as table.to_numpy()"
            ),
        )
    if isinstance(cells, Iterator):
        raise ParameterError(
            f"cells is a {type(cells).__name__}, which is spent after one pass",
            fix="hand over a function that makes a new one",
        )
    n_cells, _ = _shape(cells)
    sides = checked_grid(grid, n_cells)
    chosen = checked_method(method, n_cells)
    if method == "auto" and not isinstance(cells, np.ndarray):
        chosen = "batch"
    passes = checked_rlen(rlen, n_cells, sides[0] * sides[1])
    return self_organising_map(
        cells,
        n_cells=n_cells,
        grid=sides,
        rlen=passes,
        method=chosen,
        seed=seed,
        n_jobs=checks.n_threads(n_jobs),
    )
