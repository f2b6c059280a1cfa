"""UMAP: a map of the cells drawn from the graph of their neighbours, for looking only."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import numpy as np

from cytocar._core import checks, keys, seeds
from cytocar._core.errors import ParameterError
from cytocar.tl import _input, _neighbours
from cytocar.tl._maps import quality
from cytocar.tl._maps.shell import Map, cells_to_fit, principal_axes, require_differences, store

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

Engine: TypeAlias = Literal["cytocar", "umap-learn"]

# a cell that was not fitted lies at the median of so many fitted ones
PLACED_BY: Final = 5
# of the layout: rounds for up to so many cells and for more, pushes after each pull, side of the start
EPOCHS: Final = 500
EPOCHS_OF_MANY: Final = 200
MANY: Final = 10_000
NEGATIVES: Final = 5
SIDE: Final = 10.0


def embed(
    x: NDArray[np.float32],
    fitted: NDArray[np.bool_],
    *,
    k: int,
    min_dist: float,
    engine: Engine = "cytocar",
    seed: int,
    n_jobs: int = 1,
) -> NDArray[np.float64]:
    """Return two coordinates per cell."""
    base = np.ascontiguousarray(x[fitted])
    # the cell itself is the first of its k neighbours
    neighbours, _ = _neighbours.nearest_neighbours(base, k - 1, n_jobs=n_jobs)
    lengths = _neighbours.distances(base, base, neighbours)
    if engine == "cytocar":
        mapped = _compiled(base, neighbours, lengths, min_dist=min_dist, seed=seed, n_jobs=n_jobs)
    else:
        mapped = _published(base, neighbours, lengths, min_dist=min_dist, seed=seed)
    coordinates = np.empty((len(x), 2))
    coordinates[fitted] = mapped
    if not fitted.all():
        nearest = _neighbours.nearest_to(x[~fitted], base, min(PLACED_BY, len(base)), n_jobs=n_jobs)
        coordinates[~fitted] = np.median(mapped[nearest], axis=1)
    return coordinates


def _compiled(
    base: NDArray[np.float32],
    neighbours: NDArray[np.int32],
    lengths: NDArray[np.float64],
    *,
    min_dist: float,
    seed: int,
    n_jobs: int,
) -> NDArray[np.float64]:
    """Lay out the graph of the neighbours by the code of this package."""
    from cytocar.tl._maps.umap_graph import curve, fuzzy_graph, pulls
    from cytocar.tl._maps.umap_kernels import lay_out

    graph = fuzzy_graph(neighbours, lengths, n_jobs=n_jobs)
    epochs = EPOCHS if len(base) <= MANY else EPOCHS_OF_MANY
    start = principal_axes(base)
    width = np.ptp(start, axis=0)
    mapped = np.ascontiguousarray(SIDE * (start - start.min(axis=0)) / np.where(width > 0, width, 1.0))
    edges = pulls(graph, epochs)
    lay_out(mapped, edges, curve(min_dist), epochs, NEGATIVES, seeds.integer_seed(seed, "umap"))
    return mapped


def _published(
    base: NDArray[np.float32],
    neighbours: NDArray[np.int32],
    lengths: NDArray[np.float64],
    *,
    min_dist: float,
    seed: int,
) -> NDArray[np.float64]:
    """Let umap-learn make the graph of the neighbours and lay it out; a seed takes one thread of it."""
    # it says at import that TensorFlow, which only its parametric variant needs, is not installed, and when it
    # runs that neighbours found before hold for these cells only
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        # its lists of neighbours start with the cell itself
        index = np.column_stack([np.arange(len(base), dtype=np.int32), neighbours])
        apart = np.column_stack([np.zeros(len(base)), lengths]).astype(np.float32)
        reducer = UMAP(
            n_neighbors=index.shape[1],
            min_dist=min_dist,
            n_epochs=EPOCHS if len(base) <= MANY else EPOCHS_OF_MANY,
            negative_sample_rate=NEGATIVES,
            init=principal_axes(base).astype(np.float32),
            random_state=seeds.integer_seed(seed, "umap"),
            precomputed_knn=(index, apart, None),
            n_jobs=1,
        )
        return np.asarray(reducer.fit_transform(base), np.float64)


def umap(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    *,
    markers: str | Sequence[str] | None = None,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    equal_by: str | None = keys.SAMPLE,
    max_per_sample: int | None = None,
    engine: Literal["cytocar", "umap-learn"] = "cytocar",
    seed: int = 0,
    n_jobs: int = 1,
    key_added: str = keys.UMAP,
    copy: bool = False,
) -> AnnData | None:
    r"""Lay the cells out in two dimensions by UMAP, for looking only; clusters are found in marker space.

    Neighbour j of cell i counts :math:`p_{ij} = \exp(-(d_{ij} - \rho_i) / \sigma_i)`, with :math:`\rho_i` the distance
    to its nearest and :math:`\sigma_i` such that they add up to the binary logarithm of `n_neighbors`; the graph
    is :math:`p_{ij} + p_{ji} - p_{ij} p_{ji}`. It is laid out from the first two principal axes by pulls along its
    edges and five random pushes for each: 500 epochs, 200 above 10,000 cells, with the settings of umap-learn.

    Method: McInnes, Healy & Melville 2018, arXiv:1802.03426; in cytometry: Becht et al. 2019, Nat Biotechnol
    37:38, doi:10.1038/nbt.4314. The layout is compiled code of this package, kept on disk; umap-learn, which
    compiles its own for some ten seconds in each process, does it where `engine` says so.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X``; at least 10 cells.
    markers
        Markers to map by; `None` takes those marked as used for clustering.
    n_neighbors
        Size of a neighbourhood, the cell itself included, at least 2. At most half of the fitted cells is used, and the
        value is reported.
    min_dist
        Smallest distance between cells on the map, 0 to 1.
    equal_by
        Column of ``obs`` whose groups shall weigh equally. Up to 5,000 cells in all are fitted. Beyond that each
        group gives as many as the smallest has, at least its share of 5,000 and at most its share of 50,000; every
        other cell is placed at the median of its 5 nearest fitted cells. `None`: no groups. Without a column
        ``sample_id`` all cells are one group.
    max_per_sample
        Fit at most so many cells of each group instead.
    engine
        ``"cytocar"``, or ``"umap-learn"`` for graph and layout by the package of the authors, with the same
        neighbours, start and settings (for comparison).
    seed
        Fixes the result, whatever `n_jobs` is.
    n_jobs
        Threads of the neighbour search; -1 for all. The layout runs on one, so that the map is the same.
    key_added
        Name of the result in ``obsm`` and ``uns``.
    copy
        Return a changed copy instead of changing `adata`.

    Returns
    -------
    `None`, or the copy. Sets the following fields:

    ``adata.obsm[key_added]`` : float32 (cells, 2)
    ``adata.obs[key_added + "_fitted"]`` : bool
        False for cells placed afterwards.
    ``adata.uns[key_added]`` : dict
        ``n_neighbors`` (the value used), ``min_dist``, ``n_fitted``, ``engine``, ``seed``, ``neighbours_kept`` (share
        of the ``neighbours_k`` = 30 nearest cells that are so on the map too, on at most 5,000 cells;
        ``neighbours_by_chance`` of a map at random) and ``markers`` (JSON).

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        Fewer than 10 cells, an argument outside its domain, or an unknown marker or column.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> x = numpy.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    >>> cells = anndata.AnnData(x, var=pandas.DataFrame(index=["CD4", "CD8", "Ki67"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> umap(cells, markers=["CD4", "CD8", "Ki67"])
    >>> cells.obsm["X_umap"].shape
    (60, 2)
    """
    x, names = _input.marker_matrix(adata, markers, "tl.umap")
    checks.whole_number(n_neighbors, "n_neighbors", 2)
    apart = checks.number_between(min_dist, "min_dist", 0, 1)
    if engine not in get_args(Engine):
        raise ParameterError(f"engine is {engine!r}", fix="it must be 'cytocar' or 'umap-learn'")
    checks.n_threads(n_jobs)
    fitted = cells_to_fit(adata, equal_by, max_per_sample, seed, "umap")
    require_differences(x[fitted], "tl.umap")
    k = min(int(n_neighbors), int(fitted.sum()) // 2)
    coordinates = embed(x, fitted, k=k, min_dist=apart, engine=engine, seed=seed, n_jobs=n_jobs)
    facts = {
        "n_neighbors": k,
        "min_dist": apart,
        "n_fitted": int(fitted.sum()),
        "engine": engine,
        "seed": int(seed),
        **quality.facts(x, coordinates, seed=seed, task="umap", n_jobs=n_jobs),
    }
    result = adata.copy() if copy else adata
    store(result, "tl.umap", key_added, Map(coordinates, fitted, facts, names), equal_by=equal_by)
    return result if copy else None
