"""A finished clustering as the reference that later samples are mapped to, without moving it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import checks, keys, palette, provenance, seeds
from cytocar._core.errors import ParameterError
from cytocar._core.vocabulary import METHODS, NO_CLUSTER
from cytocar.tl import _input, _neighbours
from cytocar.tl._groups import grouping

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

FORMAT: Final = 1
NEIGHBOURS: Final = 10
QUANTILE: Final = 0.99
MOST_CELLS: Final = 100_000
_MAPS: Final = (keys.TSNE, keys.UMAP)


@dataclass(frozen=True, eq=False)
class Reference:
    """Cells with their clusters and their positions on maps, to which other cells can be mapped.

    Parameters
    ----------
    markers
        The markers that cells are compared by.
    values
        float32 (cells, markers), arcsinh units.
    cofactors
        Of each marker, NaN where it was not recorded.
    labels
        Label of each cell by method, as text.
    categories
        The clusters of each method, in their order.
    maps
        float32 (cells, 2) by name of the map.
    codes
        float32 (nodes, markers) by method, of the methods whose clusters are made of nodes.
    k
        Neighbours that decide.
    quantile, limit
        A cell fits where its mean distance to its `k` nearest reference cells is not above `limit`, which is this
        quantile of the same distance among the reference cells.
    n_cells
        How many cells there were before a draw was kept.
    """

    markers: tuple[str, ...]
    values: NDArray[np.float32]
    cofactors: NDArray[np.float64]
    labels: Mapping[str, NDArray[Any]]
    categories: Mapping[str, tuple[str, ...]]
    maps: Mapping[str, NDArray[np.float32]]
    codes: Mapping[str, NDArray[np.float32]]
    k: int
    quantile: float
    limit: float
    n_cells: int

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the reference as an h5ad file, which scanpy opens too."""
        import anndata
        import pandas as pd

        from cytocar._core.files import replacing

        cells = anndata.AnnData(
            self.values,
            obs=pd.DataFrame(
                {name: pd.Categorical(self.labels[name], self.categories[name]) for name in self.labels},
                index=pd.RangeIndex(len(self.values)).astype(str),
            ),
            var=pd.DataFrame({keys.COFACTOR: self.cofactors}, index=list(self.markers)),
            obsm=dict(self.maps),
        )
        provenance.set_state(cells, keys.STATE_ARCSINH)
        cells.uns["reference"] = {
            "format": FORMAT,
            "k": self.k,
            "quantile": self.quantile,
            "limit": self.limit,
            "n_cells": self.n_cells,
            "codes": dict(self.codes),
        }
        with replacing(path) as temporary:
            cells.write_h5ad(temporary, compression="lzf")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Reference:
        """Read a stored reference, or make one of a finished run: its folder, or the ``cells.h5ad`` in it.

        Raises
        ------
        ParameterError
            There is no such file, or it holds no clusters.
        """
        import anndata

        file = Path(path)
        file = file / "cells.h5ad" if file.is_dir() else file
        if not file.is_file():
            raise ParameterError(
                "there is no reference here",
                where=str(path),
                fix=(
                    "name the folder of a finished run, its cells.h5ad, or a file "
                    "that cytocar.tl.Reference.write has written"
                ),
            )
        try:
            cells = anndata.read_h5ad(file)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ParameterError(f"this is not an h5ad file ({error})", where=str(file)) from error
        stored = cells.uns.get("reference")
        if not isinstance(stored, Mapping) or "limit" not in stored:
            try:
                return make_reference(cells)
            except ParameterError as error:
                raise error.within(str(file)) from error
        if int(stored["format"]) != FORMAT:
            raise ParameterError(
                f"the reference is of format {int(stored['format'])}, this cytocar reads {FORMAT}",
                where=str(file),
            )
        return cls(
            markers=tuple(map(str, cells.var_names)),
            values=np.ascontiguousarray(cells.X, np.float32),
            cofactors=cells.var[keys.COFACTOR].to_numpy(np.float64),
            labels={
                str(name): cells.obs[name].astype(str).to_numpy(object).astype(str) for name in cells.obs
            },
            categories={str(name): tuple(map(str, cells.obs[name].cat.categories)) for name in cells.obs},
            maps={str(name): np.asarray(cells.obsm[name], np.float32) for name in cells.obsm},
            codes={str(n): np.asarray(v, np.float32) for n, v in stored.get("codes", {}).items()},
            k=int(stored["k"]),
            quantile=float(stored["quantile"]),
            limit=float(stored["limit"]),
            n_cells=int(stored["n_cells"]),
        )


def make_reference(
    adata: AnnData,
    *,
    methods: str | Sequence[str] | None = None,
    markers: str | Sequence[str] | None = None,
    k: int = NEIGHBOURS,
    quantile: float = QUANTILE,
    max_cells: int = MOST_CELLS,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Reference:
    """Make a reference of clustered cells, to whose clusters and maps later samples can be mapped.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X``, with clusters in ``obs`` and perhaps maps in ``obsm``; such as
        ``cells.h5ad`` of a run. Cells without a label are left out.
    methods
        Columns of ``obs`` with clusters, or one of them; `None` takes those of ``phenograph``, ``flowsom`` and
        ``leiden`` that are there.
    markers
        Markers to compare cells by; `None` takes those of the first of `methods`.
    k
        Neighbours that decide on a label, 1 to 100.
    quantile
        A later cell fits nowhere where it is farther from the reference than this share of the reference's own cells
        from each other, 0.5 to below 1. Of cells like those of the reference about ``1 - quantile`` fit nowhere.
    max_cells
        Keep at most so many cells, drawn at random, at least 100.
    seed
        Of that draw.
    n_jobs
        Threads; -1 for all; `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.

    Returns
    -------
    The `Reference`, with methods ``write`` and ``read``.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        There are no clusters, too few cells, or an argument is outside its domain.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> rng = numpy.random.default_rng(0)
    >>> x = numpy.vstack([rng.normal(1, 0.3, (50, 2)), rng.normal(5, 0.3, (50, 2))]).astype("float32")
    >>> cells = anndata.AnnData(x, var=pandas.DataFrame(index=["CD4", "CD8"]))
    >>> cells.obs["phenograph"] = numpy.repeat(["1", "2"], 50)
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> reference = make_reference(cells, markers=["CD4", "CD8"])
    >>> later = anndata.AnnData(numpy.array([[1, 1], [5, 5], [9, 9]], "float32"), var=cells.var)
    >>> later.uns["cytocar"] = {"state": "arcsinh"}
    >>> map_to_reference(later, reference)
    >>> later.obs["phenograph"].tolist(), later.obs["reference_fits"].tolist()
    (['1', '2', '-1'], [True, True, False])
    """
    provenance.require_state(adata, keys.STATE_ARCSINH, "tl.make_reference")
    names_of_methods = _methods_of(adata, methods)
    checks.whole_number(k, "k", 1, 100)
    checks.whole_number(max_cells, "max_cells", 100)
    share = checks.number_between(quantile, "quantile", 0.5, 1, below=True)
    grouped = {name: grouping(adata, name) for name in names_of_methods}
    chosen = np.flatnonzero(np.all([labels != "" for labels, _ in grouped.values()], axis=0))
    if markers is None:
        markers = _markers_of(adata, names_of_methods[0])
    n_cells = len(chosen)
    if n_cells > max_cells:
        draw = seeds.generator(seed, "reference", "cells").choice(n_cells, max_cells, replace=False)
        chosen = chosen[np.sort(draw)]
    x, names = _input.marker_matrix(adata[chosen], markers, "tl.make_reference")
    if len(x) <= k:
        raise ParameterError(f"k is {k}, but the reference has {len(x)} cells", fix="it must be less")
    near, _ = _neighbours.nearest_neighbours(x, k, n_jobs=checks.n_threads(n_jobs))
    apart = _neighbours.distances(x, x, near).mean(axis=1)
    return Reference(
        markers=tuple(names),
        values=x,
        cofactors=_cofactors(adata, names),
        labels={name: labels[chosen] for name, (labels, _) in grouped.items()},
        categories={name: tuple(c for c in order if c) for name, (_, order) in grouped.items()},
        maps=_maps_of(adata, chosen),
        codes=_codes(adata, grouped, names),
        k=k,
        quantile=share,
        limit=float(np.quantile(apart, share)),
        n_cells=n_cells,
    )


def _methods_of(adata: AnnData, methods: str | Sequence[str] | None) -> list[str]:
    """Return the columns of obs with clusters, or raise `ParameterError` where there are none."""
    if isinstance(methods, str):
        return [methods]
    chosen = [name for name in METHODS if name in adata.obs] if methods is None else list(methods)
    if not chosen:
        raise ParameterError(
            "these cells have no clusters to be a reference",
            fix=(
                "run cytocar.tl.phenograph or cytocar.tl.flowsom first, or name their columns of obs in methods"
            ),
        )
    return chosen


def _markers_of(adata: AnnData, method: str) -> list[str] | None:
    """Return the markers that a method has recorded, or None."""
    stored = adata.uns.get(method)
    if isinstance(stored, Mapping) and "markers" in stored:
        return list(json.loads(str(stored["markers"])))
    return None


def _maps_of(adata: AnnData, chosen: NDArray[np.intp]) -> dict[str, NDArray[np.float32]]:
    """Return the maps on which all chosen cells have a position."""
    maps = {
        basis: np.asarray(adata.obsm[basis], np.float32)[chosen] for basis in _MAPS if basis in adata.obsm
    }
    return {basis: positions for basis, positions in maps.items() if np.isfinite(positions).all()}


def _cofactors(adata: AnnData, names: Sequence[str]) -> NDArray[np.float64]:
    if keys.COFACTOR not in adata.var:
        return np.full(len(names), np.nan)
    return np.asarray(adata.var.loc[list(names), keys.COFACTOR].to_numpy(np.float64))


def _codes(
    adata: AnnData, methods: Mapping[str, Any], names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Return the codes of the nodes of those methods that have some, over the markers of the reference."""
    codes = {}
    for method in methods:
        stored = adata.uns.get(method)
        if isinstance(stored, Mapping) and "codes" in stored and _markers_of(adata, method) == list(names):
            codes[method] = np.asarray(stored["codes"], np.float32)
    return codes


def nearest_majority(labels: NDArray[np.str_], near: NDArray[np.int32]) -> NDArray[np.str_]:
    """Return the label most of the neighbours have; of several as frequent the one that comes nearest first."""
    names, codes = np.unique(labels, return_inverse=True)
    of_neighbours = codes[near]
    votes = np.zeros((len(near), len(names)), np.float64)
    rows = np.arange(len(near))
    for rank in range(near.shape[1]):
        # a nearer vote weighs a little more, too little to outvote another one
        votes[rows, of_neighbours[:, rank]] += 1.0 - 1e-4 * rank
    return np.asarray(names[votes.argmax(axis=1)])


def _by_node(x: NDArray[np.float32], reference: Reference, method: str, n_jobs: int) -> NDArray[np.str_]:
    """Return the label of the node nearest to each cell: that of most reference cells of the node."""
    codes = reference.codes[method]
    labels = reference.labels[method]
    node = _neighbours.nearest_to(reference.values, codes, 1, n_jobs=n_jobs)[:, 0]
    used = np.unique(node)
    of_node = np.array([_most_frequent(labels[node == number]) for number in used])
    nearest = _neighbours.nearest_to(x, np.ascontiguousarray(codes[used]), 1, n_jobs=n_jobs)[:, 0]
    return np.asarray(of_node[nearest])


def _most_frequent(labels: NDArray[np.str_]) -> str:
    names, counts = np.unique(labels, return_counts=True)
    return str(names[counts.argmax()])


def map_to_reference(
    adata: AnnData, reference: Reference, *, n_jobs: int | None = None, copy: bool = False
) -> AnnData | None:
    """Give cells the clusters and the positions on the maps of a reference, which stays as it is.

    A cell takes the cluster of most of its k nearest reference cells (FlowSOM on the markers of the reference: of the
    node with the nearest code) and on each map the median position of its 5 nearest; one that is a copy of a reference
    cell takes that cell's own. It fits where its mean distance to the k nearest is not above the limit that a stated
    share of the reference's own cells keep; cells that fit nowhere are labelled ``"-1"``, as are those that fit among
    reference cells of no cluster.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X`` by the same cofactors; at least one cell. What an earlier `phenograph`,
        `flowsom` or map has left under the names below is replaced as a whole, so that no two results get mixed.
    reference
        As `make_reference` made it or `Reference.read` read it.
    n_jobs
        Threads; -1 for all; `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.
        They change nothing in the result.
    copy
        Return a changed copy instead of changing `adata`.

    Returns
    -------
    `None`, or the copy. Sets the following fields:

    ``adata.obs[method]`` : categorical of text
        For each method of the reference, with its categories and ``"-1"``.
    ``adata.obs["reference_distance"]`` : float32, arcsinh units
        Mean Euclidean distance to the k nearest reference cells.
    ``adata.obs["reference_fits"]`` : bool
    ``adata.obsm[basis]`` : float32 (cells, 2)
        For each map of the reference.
    ``adata.uns["reference"]`` : dict
        ``k``, ``quantile``, ``limit``, ``n_cells`` of the reference and ``markers`` (JSON).

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        There are no cells, their values are not finite, or markers of the reference are not there or have another
        cofactor; all of them are listed.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> x = numpy.repeat([[0, 5], [5, 0]], 50, axis=0) + numpy.random.default_rng(0).normal(0, 0.3, (100, 2))
    >>> cells = anndata.AnnData(x.astype("float32"), var=pandas.DataFrame(index=["CD4", "CD8"]))
    >>> cells.obs["flowsom"] = numpy.repeat(["CD8", "CD4"], 50)
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> reference = make_reference(cells, markers=["CD4", "CD8"])
    >>> later = anndata.AnnData(numpy.array([[5.1, 0]], "float32"), var=pandas.DataFrame(index=["cd4", "cd8"]))
    >>> later.uns["cytocar"] = {"state": "arcsinh"}
    >>> map_to_reference(later, reference)
    >>> later.obs["flowsom"].tolist()
    ['CD4']
    """
    import pandas as pd

    threads = checks.n_threads(n_jobs)
    x = _comparable(adata, reference)
    near = _neighbours.nearest_to(x, reference.values, reference.k, n_jobs=threads)
    apart = _neighbours.distances(x, reference.values, near)
    same = apart[:, 0] == 0
    distance = apart.mean(axis=1)
    # a copy of a reference cell belongs where that cell is, however lonely it may be there
    fits = (distance <= reference.limit) | same
    result = adata.copy() if copy else adata
    _forget(result, [*reference.labels, *reference.maps])
    for method, labels in reference.labels.items():
        by_node = method in reference.codes
        mapped = _by_node(x, reference, method, threads) if by_node else nearest_majority(labels, near)
        mapped = np.where(same, labels[near[:, 0]], mapped)
        mapped = np.where(fits, mapped, NO_CLUSTER)
        order = [name for name in reference.categories[method] if name != NO_CLUSTER]
        result.obs[method] = pd.Categorical(mapped.astype(object), [*order, NO_CLUSTER])
    for basis, positions in reference.maps.items():
        between = np.median(positions[near[:, : min(5, reference.k)]], axis=1)
        result.obsm[basis] = np.where(same[:, None], positions[near[:, 0]], between).astype(np.float32)
    result.obs["reference_distance"] = distance.astype(np.float32)
    result.obs["reference_fits"] = fits
    facts = {
        "k": reference.k,
        "quantile": reference.quantile,
        "limit": reference.limit,
        "n_cells": reference.n_cells,
    }
    palette.store(result, *reference.labels)
    result.uns["reference"] = {**facts, "markers": json.dumps(list(reference.markers))}
    provenance.record(result, "tl.map_to_reference", {**facts, "markers": list(reference.markers)})
    return result if copy else None


def _forget(adata: AnnData, results: Sequence[str]) -> None:
    """Remove what earlier results of these names say beside their labels and coordinates: it is not of the new ones."""
    for name in results:
        adata.uns.pop(name, None)
        for ending in ("node", "distance", "outlier", "fitted"):
            if f"{name}_{ending}" in adata.obs:
                del adata.obs[f"{name}_{ending}"]


def _comparable(adata: AnnData, reference: Reference) -> NDArray[np.float32]:
    """Return the values of the markers of the reference, or raise with all markers that do not agree."""
    from cytocar import get
    from cytocar.panel.antigens import marker_hint, marker_index

    provenance.require_state(adata, keys.STATE_ARCSINH, "tl.map_to_reference")
    if adata.n_obs < 1:
        raise ParameterError("tl.map_to_reference: there are no cells to map to the reference")
    present = [str(name) for name in adata.var_names]
    index = marker_index(present)
    missing = [name for name in reference.markers if not index.positions(name)]
    if missing:
        hints = [marker_hint(name, present) for name in missing]
        named = ", ".join(
            name + (f" ({hint})" if hint.startswith("did you mean") else "")
            for name, hint in zip(missing, hints, strict=True)
        )
        raise ParameterError(
            f"the reference compares cells by {len(reference.markers)} markers, and these data lack {named}: a marker "
            "that was renamed must have its old name, and a panel without it needs a reference without it"
        )
    where = get.columns(adata, list(reference.markers))
    names = [present[column] for column in where]
    own = _cofactors(adata, names)
    other = np.isfinite(own) & np.isfinite(reference.cofactors) & (own != reference.cofactors)
    if other.any():
        differing = ", ".join(
            f"{names[i]} (here {own[i]:g}, reference {reference.cofactors[i]:g})"
            for i in np.flatnonzero(other)
        )
        raise ParameterError(
            f"the cofactors of these markers differ from the reference: {differing}", fix="use the same ones"
        )
    x = get.matrix(adata, names)
    checks.require_finite(x, names, "tl.map_to_reference", "remove those cells")
    return x
