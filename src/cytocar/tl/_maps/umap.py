"""UMAP: a map of the cells drawn from the graph of their neighbours, for looking only."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from cytocar._core import checks, keys, seeds
from cytocar._core.errors import ParameterError
from cytocar.tl import _input, _neighbours
from cytocar.tl._maps import quality
from cytocar.tl._maps.shell import Map, cells_to_fit, principal_axes, require_differences, store
from cytocar.tl._maps.stored import stored_neighbours

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

# a cell that was not fitted lies at the median of so many fitted ones
PLACED_BY: Final = 5
# of the layout: rounds for up to so many cells and for more, pushes after each pull
EPOCHS: Final = 500
EPOCHS_OF_MANY: Final = 200
MANY: Final = 10_000
NEGATIVES: Final = 5
# a second axis narrower than this share of the first is rounding, which differs from machine to machine
FLAT: Final = 1e-6
# what umap-learn compiles anew in each process, and where
COMPILED: Final = (
    ("umap_", "smooth_knn_dist"),
    ("umap_", "compute_membership_strengths"),
    ("layouts", "_nb_optimize_layout_euclidean_single_epoch"),
)
# its layout lets no other thread run, and numba's pool "workqueue" ends a process that two threads enter at once
_ALONE: Final = threading.Lock()


def embed(
    x: NDArray[np.float32],
    fitted: NDArray[np.bool_],
    *,
    k: int,
    min_dist: float,
    seed: int,
    n_jobs: int = 1,
    neighbours: NDArray[np.int32] | None = None,
) -> NDArray[np.float64]:
    """Return two coordinates per cell; `neighbours` (fitted cells, k - 1) spare the search for them."""
    base = np.ascontiguousarray(x[fitted])
    if neighbours is None:
        # the cell itself is the first of its k neighbours
        neighbours, _ = _neighbours.nearest_neighbours(base, k - 1, n_jobs=n_jobs)
    lengths = _neighbours.distances(base, base, neighbours)
    mapped = _laid_out(base, neighbours, lengths, min_dist=min_dist, seed=seed)
    coordinates = np.empty((len(x), 2))
    coordinates[fitted] = mapped
    if not fitted.all():
        nearest = _neighbours.nearest_to(x[~fitted], base, min(PLACED_BY, len(base)), n_jobs=n_jobs)
        coordinates[~fitted] = np.median(mapped[nearest], axis=1)
    return coordinates


def starts(base: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return where the layout starts: the first two principal axes, with chance for a second that is not there.

    umap-learn stretches both axes to the same width, and divides by 0 where one has none.
    """
    at = principal_axes(base)
    if at[:, 1].std() < FLAT:
        at[:, 1] = seeds.generator(seed, "umap", "second axis").normal(size=len(at))
    return at.astype(np.float32)


def _laid_out(
    base: NDArray[np.float32],
    neighbours: NDArray[np.int32],
    lengths: NDArray[np.float64],
    *,
    min_dist: float,
    seed: int,
) -> NDArray[np.float64]:
    """Let umap-learn make the graph of the neighbours and lay it out, on the one thread that a seed takes."""
    # its lists of neighbours start with the cell itself
    index = np.column_stack([np.arange(len(base), dtype=np.int32), neighbours])
    apart = np.column_stack([np.zeros(len(base)), lengths]).astype(np.float32)
    settings = {
        "n_neighbors": index.shape[1],
        "min_dist": min_dist,
        "n_epochs": EPOCHS if len(base) <= MANY else EPOCHS_OF_MANY,
        "negative_sample_rate": NEGATIVES,
        "init": starts(base, seed),
        "random_state": seeds.integer_seed(seed, "umap"),
        "precomputed_knn": (index, apart, None),
        "n_jobs": 1,
    }
    with _ALONE, warnings.catch_warnings():
        # neighbours found before hold for these cells only, and no others are asked for
        warnings.filterwarnings("ignore", r"precomputed_knn\[2\] \(knn_search_index\)", UserWarning)
        return np.asarray(published()(**settings).fit_transform(base), np.float64)


def published() -> Any:
    """Return the class of umap-learn, with its compiled code kept on disk for the next process."""
    with warnings.catch_warnings():
        # TensorFlow, which only its parametric variant needs, is not installed
        warnings.simplefilter("ignore", ImportWarning)
        import umap

    for module, name in COMPILED:
        function = getattr(getattr(umap, module, None), name, None)
        # a release that names it otherwise, or no folder to write to: it compiles in each process
        if function is not None and not function.signatures:
            with contextlib.suppress(AttributeError, RuntimeError):
                function.enable_caching()
    return umap.UMAP


def _check_engine(engine: str) -> None:
    if engine == "cytocar":
        warnings.warn(
            "engine='cytocar' is now 'umap-learn', which makes the map; the former name will go away in version 1.0",
            DeprecationWarning,
            stacklevel=3,
        )
    elif engine != "umap-learn":
        raise ParameterError(f"engine is {engine!r}", fix="it must be 'umap-learn'")


def umap(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    *,
    markers: str | Sequence[str] | None = None,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    equal_by: str | None = keys.SAMPLE,
    max_per_sample: int | None = None,
    engine: Literal["umap-learn"] = "umap-learn",
    seed: int = 0,
    n_jobs: int | None = None,
    key_added: str = keys.UMAP,
    copy: bool = False,
) -> AnnData | None:
    r"""Lay the cells out in two dimensions by UMAP, for looking only; clusters are found in marker space.

    Neighbour j of cell i counts :math:`p_{ij} = \exp(-(d_{ij} - \rho_i) / \sigma_i)`, with :math:`\rho_i` the distance
    to its nearest and :math:`\sigma_i` such that they add up to the binary logarithm of `n_neighbors`; the graph
    is :math:`p_{ij} + p_{ji} - p_{ij} p_{ji}`. It is laid out from the first two principal axes by pulls along its
    edges and five random pushes for each: 500 epochs, 200 above 10,000 cells.

    Method: McInnes, Healy & Melville 2018, arXiv:1802.03426; in cytometry: Becht et al. 2019, Nat Biotechnol
    37:38, doi:10.1038/nbt.4314. Graph and layout are made by umap-learn, from neighbours found here, or from those
    that `phenograph` or `leiden` stored, where a search would find the same (up to 20,000 cells, all of them fitted).
    The first map of a process waits some seconds for it to load and compile.

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
        ``"umap-learn"``, the only one; the former ``"cytocar"`` warns and gives the same.
    seed
        Fixes the result, whatever `n_jobs` is.
    n_jobs
        Threads of the neighbour search; -1 for all; `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.
        umap-learn runs on one, so that the map is the same.
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
    _check_engine(engine)
    threads = checks.n_threads(n_jobs)
    fitted = cells_to_fit(adata, equal_by, max_per_sample, seed, "umap")
    require_differences(x[fitted], "tl.umap")
    k = min(int(n_neighbors), int(fitted.sum()) // 2)
    near = stored_neighbours(adata, x, names, k - 1) if fitted.all() else None
    coordinates = embed(x, fitted, k=k, min_dist=apart, seed=seed, n_jobs=threads, neighbours=near)
    facts = {
        "n_neighbors": k,
        "min_dist": apart,
        "n_fitted": int(fitted.sum()),
        "engine": "umap-learn",
        "seed": int(seed),
        **quality.facts(x, coordinates, seed=seed, task="umap", n_jobs=threads),
    }
    result = adata.copy() if copy else adata
    store(result, "tl.umap", key_added, Map(coordinates, fitted, facts, names), equal_by=equal_by)
    return result if copy else None
