"""How much of the neighbourhood of a cell a map keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys, seeds
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.tl import _input, _neighbours

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

NEIGHBOURS: Final = 30
JUDGES: Final = 5000


def neighbours_kept(
    x: NDArray[np.float32], coordinates: NDArray[Any], judges: NDArray[np.intp], k: int, *, n_jobs: int = 1
) -> NDArray[np.float64]:
    """Return for each judge the share of its `k` nearest cells in `x` that are among its `k` nearest on the map."""
    positions = np.ascontiguousarray(coordinates, np.float32)
    near = _others(x, judges, k, n_jobs)
    on_map = _others(positions, judges, k, n_jobs)
    # the same cell in both lists stands twice in a row of the sorted union
    both = np.sort(np.concatenate([near, on_map], axis=1), axis=1)
    return np.asarray((both[:, 1:] == both[:, :-1]).sum(axis=1) / k)


def _others(x: NDArray[np.float32], judges: NDArray[np.intp], k: int, n_jobs: int) -> NDArray[np.int32]:
    """Return the `k` nearest cells of each judge, itself left out by its number."""
    if len(judges) == len(x):
        return _neighbours.nearest_neighbours(x, k, n_jobs=n_jobs)[0]
    near = _neighbours.nearest_to(x[judges], x, k + 1, n_jobs=n_jobs)
    own = near == judges[:, None]
    # where copies of a cell push it out of its own list, the last of them goes
    own[~own.any(axis=1), -1] = True
    return np.asarray(near[~own].reshape(len(judges), k))


def facts(
    x: NDArray[np.float32], coordinates: NDArray[Any], *, seed: int, task: str, n_jobs: int = 1
) -> dict[str, float]:
    """Return what a map says of itself: the share of neighbours kept, by how many, and what chance would keep."""
    n = len(x)
    k = min(NEIGHBOURS, n - 1)
    judges = np.arange(n)
    if n > JUDGES:
        judges = np.sort(seeds.generator(seed, task, "judges").choice(n, JUDGES, replace=False))
    kept = neighbours_kept(x, coordinates, judges, k, n_jobs=n_jobs)
    return {"neighbours_kept": float(kept.mean()), "neighbours_k": k, "neighbours_by_chance": k / (n - 1)}


def map_quality(
    adata: AnnData,
    basis: str = keys.TSNE,
    *,
    markers: str | Sequence[str] | None = None,
    k: int = NEIGHBOURS,
    max_cells: int = JUDGES,
    seed: int = 0,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    r"""Measure how much of each cell's neighbourhood a map keeps.

    For a cell with the k nearest others N among the markers and M on the map, :math:`|N \cap M| / k`; the mean over
    cells. 1 is a perfect map, k / (n - 1) one with cells strewn at random. With many cells and few dimensions far from
    all can be kept; the number compares maps of the same cells. (Kobak & Berens 2019, Nat Commun 10:5416,
    doi:10.1038/s41467-019-13056-x, call it KNN.)

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X``, and a map in ``obsm``. Cells without coordinates are left out.
    basis
        Name of the map in ``obsm``.
    markers
        Markers of the neighbourhoods; `None` takes those the map was made from, else those used for clustering.
    k
        Neighbours, at least 1 and less than the number of cells.
    max_cells
        At most so many cells, drawn at random, are judged, at least 10; their neighbours are sought among all.
    seed
        Of that draw.
    n_jobs
        Threads; -1 for all; `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.
        They change nothing in the result.

    Returns
    -------
    One row: ``basis``, ``k``, ``n_cells`` (on the map), ``n_judged``, ``kept`` (mean share, 0 to 1), ``low`` and
    ``high`` (0.25 and 0.75 quantiles over cells), ``by_chance``.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        The map is not there, has too few cells, or an argument is outside its domain.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> x = numpy.random.default_rng(0).normal(size=(60, 2)).astype("float32")
    >>> cells = anndata.AnnData(x, var=pandas.DataFrame(index=["CD4", "CD8"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> cells.obsm["X_flat"] = 7 * x
    >>> map_quality(cells, "X_flat", markers=["CD4", "CD8"], k=5)["kept"].item()
    1.0
    """
    import pandas as pd

    if basis not in adata.obsm:
        maps = [str(name) for name in adata.obsm]
        near = did_you_mean(basis, maps) if maps else "make one with cytocar.tl.tsne"
        raise ParameterError(f"obsm has no map {basis!r}", fix=f"{near}")
    coordinates = np.asarray(adata.obsm[basis], np.float64)
    on_map = np.flatnonzero(np.isfinite(coordinates).all(axis=1))
    stored = adata.uns.get(basis)
    if markers is None and isinstance(stored, Mapping) and "markers" in stored:
        markers = json.loads(str(stored["markers"]))
    x, _ = _input.marker_matrix(adata[on_map], markers, "tl.map_quality")
    n = len(x)
    checks.whole_number(k, "k", 1, n - 1, why=f"one less than the {n} cells on the map")
    checks.whole_number(max_cells, "max_cells", 10)
    judges = np.arange(n)
    if n > max_cells:
        judges = np.sort(seeds.generator(seed, "map quality", basis).choice(n, max_cells, replace=False))
    kept = neighbours_kept(x, coordinates[on_map], judges, k, n_jobs=checks.n_threads(n_jobs))
    low, high = np.quantile(kept, [0.25, 0.75])
    return pd.DataFrame(
        {
            "basis": [basis],
            "k": [k],
            "n_cells": [n],
            "n_judged": [len(judges)],
            "kept": [float(kept.mean())],
            "low": [float(low)],
            "high": [float(high)],
            "by_chance": [k / (n - 1)],
        }
    )
