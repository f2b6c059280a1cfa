"""t-SNE: a map of the cells on which near neighbours stay near, for looking only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys, seeds
from cytocar._core.errors import ParameterError
from cytocar.tl import _input, _threads
from cytocar.tl._maps import quality
from cytocar.tl._maps.shell import (
    Map,
    Neighbourhoods,
    cells_to_fit,
    principal_axes,
    require_differences,
    store,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

EXAGGERATION: Final = 12.0
EXAGGERATED_STEPS: Final = 250
STEPS: Final = 500
LEAST_LEARNING_RATE: Final = 200.0
# standard deviation of the first axis at the start, small against the final map
START: Final = 1e-4
# all pairs of cells repel up to here, and beyond the repulsion is interpolated on a grid
EXACT_UP_TO: Final = 10_000


def used_perplexity(perplexity: float, n_cells: int) -> float:
    """Return the perplexity that `n_cells` can carry: a third of the other cells at most.

    Examples
    --------
    >>> used_perplexity(30, 5000), used_perplexity(30, 40)
    (30.0, 13.0)
    """
    return float(min(perplexity, (n_cells - 1) / 3))


def embed(
    x: NDArray[np.float32], fitted: NDArray[np.bool_], *, perplexity: float, seed: int, n_jobs: int = 1
) -> tuple[NDArray[np.float64], float]:
    """Return two coordinates per cell and the Kullback-Leibler divergence of the fitted map."""
    import openTSNE
    from openTSNE.affinity import PerplexityBasedNN

    base = np.ascontiguousarray(x[fitted])
    n = len(base)
    number = seeds.integer_seed(seed, "tsne")
    index = Neighbourhoods(base, min(n - 1, int(3 * perplexity)), n_jobs)
    threads = checks.n_threads(n_jobs)
    affinities = PerplexityBasedNN(
        knn_index=index, perplexity=perplexity, n_jobs=threads, random_state=number
    )
    rate = max(LEAST_LEARNING_RATE, n / EXAGGERATION)
    coordinates = np.empty((len(x), 2))
    with _threads.standing(threads) as blocks:
        embedding = openTSNE.TSNEEmbedding(
            START * principal_axes(base),
            affinities,
            negative_gradient_method=partial(exact_gradient, blocks=blocks) if n <= EXACT_UP_TO else "fft",
            random_state=number,
            n_jobs=threads,
        )
        embedding = embedding.optimize(
            EXAGGERATED_STEPS, exaggeration=EXAGGERATION, learning_rate=rate, momentum=0.8, inplace=True
        )
        embedding = embedding.optimize(STEPS, learning_rate=rate, momentum=0.8, inplace=True)
        coordinates[fitted] = embedding
        if not fitted.all():
            coordinates[~fitted] = _placed(embedding, np.ascontiguousarray(x[~fitted]))
    return coordinates, float(embedding.kl_divergence)


def _alone(work: _threads.Work, n: int) -> None:
    work(0, n)


def exact_gradient(
    embedding: Any,
    P: Any,
    *,
    reference_embedding: Any = None,
    should_eval_error: bool = False,
    blocks: Callable[[_threads.Work, int], None] = _alone,
    **_: Any,
) -> tuple[float, NDArray[np.float64]]:
    """Return the Kullback-Leibler divergence (0 unless asked for) and its gradient over all pairs of cells.

    openTSNE calls it in place of its tree: up to some thousand cells all pairs take less time than the tree, because
    they are summed without a branch, and nothing is approximated. With a `reference_embedding` cells are drawn to
    that and repelled by it, and not by each other. `blocks` runs work over blocks of so many cells.
    """
    from cytocar.tl._maps.tsne_kernels import attraction, divergence, repulsion

    at = np.ascontiguousarray(embedding, np.float64)
    alone = reference_embedding is None
    to = at if alone else np.ascontiguousarray(reference_embedding, np.float64)
    x, y = np.ascontiguousarray(at.T, np.float32)
    to_x, to_y = (x, y) if alone else np.ascontiguousarray(to.T, np.float32)
    n = len(at)
    gradient, totals = np.empty((n, 2)), np.empty(n)
    blocks(lambda a, b: repulsion(x, y, to_x, to_y, a, b, gradient, totals), n)
    if alone:
        totals[:] = totals.sum() - n
    else:
        np.maximum(totals, np.finfo(np.float64).tiny, out=totals)
    graph = (P.indptr, P.indices, P.data)
    blocks(lambda a, b: attraction(graph, at, to, a, b, totals, gradient), n)
    error = divergence(*graph, at, to, totals) if should_eval_error else 0.0
    return float(error), gradient


def _placed(embedding: Any, rest: NDArray[np.float32]) -> NDArray[np.float64]:
    """Place further cells on a map that stays as it is, each by its nearest fitted cells."""
    placed = []
    for start in range(0, len(rest), 20_000):
        some = rest[start : start + 20_000]
        partial = embedding.prepare_partial(some, perplexity=5, initialization="median")
        placed.append(np.asarray(partial.optimize(100, learning_rate=0.1, exaggeration=1.5, momentum=0.8)))
    return np.concatenate(placed)


def tsne(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    *,
    markers: str | Sequence[str] | None = None,
    perplexity: float = 30.0,
    equal_by: str | None = keys.SAMPLE,
    max_per_sample: int | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    key_added: str = keys.TSNE,
    copy: bool = False,
) -> AnnData | None:
    r"""Lay the cells out in two dimensions by t-SNE, for looking only; clusters are found in marker space.

    Affinities of a cell to its nearest neighbours are Gaussian with the given perplexity; the map minimises their
    Kullback-Leibler divergence from Student-t affinities on the map. Start at the first two principal axes,
    learning rate n / 12 (200 at least), exaggeration 12 for 250 steps, then 500 steps. Up to 10,000 cells all pairs
    repel each other as they are; beyond, the repulsion is interpolated (Linderman et al. 2019, Nat Methods 16:243,
    doi:10.1038/s41592-018-0308-4).

    Method: van der Maaten & Hinton 2008, J Mach Learn Res 9:2579; learning rate: Belkina et al. 2019, Nat Commun
    10:5415, doi:10.1038/s41467-019-13055-y; start: Kobak & Berens 2019, Nat Commun 10:5416,
    doi:10.1038/s41467-019-13056-x. Program: openTSNE, Poličar et al. 2024, J Stat Softw 109(3),
    doi:10.18637/jss.v109.i03.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X``; at least 10 cells.
    markers
        Markers to map by; `None` takes those marked as used for clustering.
    perplexity
        Effective number of neighbours, above 1. At most a third of the fitted cells is used, and the value is reported.
    equal_by
        Column of ``obs`` whose groups shall weigh equally. Up to 5,000 cells in all are fitted. Beyond that each
        group gives as many as the smallest has, at least its share of 5,000 and at most its share of 50,000; all
        other cells are placed on the finished map by their nearest fitted cells. `None`: no groups. Without a
        column ``sample_id`` all cells are one group.
    max_per_sample
        Fit at most so many cells of each group instead.
    seed
        Fixes the result, whatever `n_jobs` is.
    n_jobs
        Threads; -1 for all; `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.
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
        ``perplexity`` (the value used), ``learning_rate``, ``kl_divergence``, ``n_fitted``, ``seed``,
        ``neighbours_kept`` (share of the ``neighbours_k`` = 30 nearest cells that are so on the map too, on at most
        5,000 cells; ``neighbours_by_chance`` of a map at random) and ``markers`` (JSON).

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
    >>> tsne(cells, markers=["CD4", "CD8", "Ki67"])
    >>> cells.obsm["X_tsne"].shape, round(cells.uns["X_tsne"]["perplexity"], 1)
    ((60, 2), 19.7)
    """
    x, names = _input.marker_matrix(adata, markers, "tl.tsne")
    wanted = checks.positive_number(perplexity, "perplexity")
    if wanted <= 1:
        raise ParameterError(f"perplexity is {perplexity!r}", fix="it must be above 1, and 5 to 50 is usual")
    threads = checks.n_threads(n_jobs)
    fitted = cells_to_fit(adata, equal_by, max_per_sample, seed, "tsne")
    require_differences(x[fitted], "tl.tsne")
    n_fitted = int(fitted.sum())
    used = used_perplexity(wanted, n_fitted)
    coordinates, divergence = embed(x, fitted, perplexity=used, seed=seed, n_jobs=threads)
    facts = {
        "perplexity": used,
        "learning_rate": max(LEAST_LEARNING_RATE, n_fitted / EXAGGERATION),
        "kl_divergence": divergence,
        "n_fitted": n_fitted,
        "seed": int(seed),
        **quality.facts(x, coordinates, seed=seed, task="tsne", n_jobs=threads),
    }
    result = adata.copy() if copy else adata
    store(result, "tl.tsne", key_added, Map(coordinates, fitted, facts, names), equal_by=equal_by)
    return result if copy else None
