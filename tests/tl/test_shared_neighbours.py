"""Neighbours in scanpy's form: what is stored, and that scanpy goes on from it without a search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

import cytocar as cc
from cytocar._core.errors import ParameterError
from cytocar.tl import _neighbours
from cytocar.tl._clusters.shared_neighbours import jaccard_graph


def cells_of(n: int, channels: int = 6, seed: int = 0) -> ad.AnnData:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, channels)) + 5 * np.eye(channels)[np.arange(n) % 4]
    names = [f"M{i}" for i in range(channels)]
    cells = ad.AnnData(
        x.astype("float32"),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(n)]),
        var=pd.DataFrame({"used_for_clustering": [i < channels - 1 for i in range(channels)]}, index=names),
    )
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of searches for neighbours made by scanpy, umap, pynndescent, scikit-learn, and of components."""
    import pynndescent
    import scanpy as sc
    import sklearn.neighbors
    import umap.umap_

    made: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **settings: Any) -> Any:
            made.append(name)
            return function(*args, **settings)

        return call

    for place, name in (
        (sc.pp, "neighbors"),
        (sc.pp, "pca"),
        (sc.neighbors.Neighbors, "compute_neighbors"),
        (umap.umap_, "nearest_neighbors"),
        (umap.umap_, "fuzzy_simplicial_set"),
        (pynndescent.NNDescent, "__init__"),
        (sklearn.neighbors.NearestNeighbors, "kneighbors"),
    ):
        monkeypatch.setattr(place, name, counted(f"{place.__name__}.{name}", getattr(place, name)))
    return made


@pytest.mark.parametrize("exact_up_to", [20_000, 300])
def test_distances_are_those_of_an_exact_search(monkeypatch: pytest.MonkeyPatch, exact_up_to: int) -> None:
    whole = _neighbours.search
    monkeypatch.setattr(_neighbours, "search", lambda *a, **b: whole(*a, **b, exact_up_to=exact_up_to))
    cells = cells_of(700)
    cc.tl.phenograph(cells, k=12)
    assert cells.uns["phenograph"]["neighbours"] == ("exact" if exact_up_to > 700 else "inverted file")
    x = np.asarray(cells.X)[:, :5]
    lengths, index = NearestNeighbors(n_neighbors=13, algorithm="brute").fit(x).kneighbors(x)
    found = cells.obsp["distances"]
    assert isinstance(found, sp.csr_matrix)
    assert found.dtype == np.float32
    assert found.shape == (700, 700)
    assert (np.diff(found.indptr) == 12).all()
    agree = found.indices.reshape(700, 12) == index[:, 1:]
    assert agree.mean() > 0.98
    assert np.allclose(found.data.reshape(700, 12)[agree], lengths[:, 1:][agree], atol=1e-5)


@pytest.mark.parametrize("exact_up_to", [20_000, 300])
def test_connectivities_are_the_graph_that_is_clustered(
    monkeypatch: pytest.MonkeyPatch, exact_up_to: int
) -> None:
    whole = _neighbours.search
    monkeypatch.setattr(_neighbours, "search", lambda *a, **b: whole(*a, **b, exact_up_to=exact_up_to))
    cells = cells_of(700)
    cc.tl.phenograph(cells, k=12)
    found = cells.obsp["connectivities"]
    assert isinstance(found, sp.csr_matrix)
    assert found.dtype == np.float32
    assert found.shape == (700, 700)
    assert found.has_canonical_format
    assert (found != found.T).nnz == 0
    assert found.data.min() > 0
    sets = [set(row) for row in cells.obsp["distances"].indices.reshape(700, 12).tolist()]
    slow = np.zeros((700, 700))
    for i, mine in enumerate(sets):
        for j in mine:
            slow[i, j] = len(mine & sets[j]) / len(mine | sets[j])
    assert np.allclose(found.toarray(), (slow + slow.T) / 2, atol=1e-6)
    index = cells.obsp["distances"].indices.reshape(700, 12)
    assert np.allclose(found.toarray(), jaccard_graph(index).toarray())


def test_the_record_is_what_scanpy_reads() -> None:
    cells = cells_of(200)
    cc.tl.phenograph(cells, k=12, seed=3)
    stored = cells.uns["neighbors"]
    assert stored["connectivities_key"] == "connectivities"
    assert stored["distances_key"] == "distances"
    assert stored["params"] == {
        "n_neighbors": 13,
        "method": "jaccard",
        "metric": "euclidean",
        "random_state": 3,
        "use_rep": "X",
        "markers": '["M0", "M1", "M2", "M3", "M4"]',
    }


def test_the_form_is_that_of_scanpy() -> None:
    import scanpy as sc

    cells, theirs = cells_of(200), cells_of(200)
    cc.tl.phenograph(cells, k=12, markers=[f"M{i}" for i in range(6)])
    sc.pp.neighbors(theirs, n_neighbors=13, use_rep="X")
    ours, them = cells.uns["neighbors"], theirs.uns["neighbors"]
    assert set(them) <= set(ours)
    assert set(them["params"]) <= set(ours["params"])
    assert ours["params"]["n_neighbors"] == them["params"]["n_neighbors"]
    difference = cells.obsp["distances"] - theirs.obsp["distances"]
    assert abs(difference).max() < 1e-4
    assert cells.obsp["distances"].nnz == theirs.obsp["distances"].nnz


@pytest.mark.filterwarnings("ignore")  # what scanpy says of matplotlib and of itself
@pytest.mark.parametrize("channels", [6, 60])
def test_scanpy_goes_on_without_a_search(searches: list[str], channels: int) -> None:
    import matplotlib.pyplot as plt
    import scanpy as sc

    cells = cells_of(300, channels)
    cc.tl.phenograph(cells)
    sc.tl.umap(cells)
    sc.tl.leiden(cells, flavor="igraph", directed=False, n_iterations=2)
    sc.tl.paga(cells, groups="phenograph")
    sc.tl.diffmap(cells)
    axes = sc.pl.umap(cells, color="phenograph", show=False)
    sc.pl.paga(cells, show=False)
    assert searches == []
    assert np.isfinite(cells.obsm["X_umap"]).all()
    assert cells.obsm["X_umap"].shape == (300, 2)
    shown = {tuple(colour) for colour in axes.collections[0].get_facecolors().round(3)}
    assert len(shown) == cells.obs["phenograph"].nunique()
    plt.close("all")


def test_the_counter_counts(searches: list[str]) -> None:
    import scanpy as sc

    cells = cells_of(300)
    sc.pp.neighbors(cells, use_rep="X")
    assert searches


def test_a_file_keeps_the_neighbours_and_scanpy_goes_on_from_it(tmp_path: Path, searches: list[str]) -> None:
    import scanpy as sc

    cells = cells_of(300)
    cc.tl.phenograph(cells)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    for name in ("distances", "connectivities"):
        assert (cells.obsp[name] != again.obsp[name]).nnz == 0
    assert again.uns["neighbors"]["params"]["n_neighbors"] == cells.uns["neighbors"]["params"]["n_neighbors"]
    sc.tl.umap(again)
    sc.tl.leiden(again, flavor="igraph", directed=False, n_iterations=2)
    assert searches == []


def test_another_name_keeps_the_neighbours_that_are_there() -> None:
    import scanpy as sc

    cells = cells_of(300)
    sc.pp.neighbors(cells, use_rep="X")
    before = cells.obsp["connectivities"].copy()
    cc.tl.phenograph(cells, neighbors_key="shared")
    assert (cells.obsp["connectivities"] != before).nnz == 0
    assert cells.uns["shared"]["connectivities_key"] == "shared_connectivities"
    sc.tl.umap(cells, neighbors_key="shared")
    cc.tl.phenograph(cells, neighbors_key=None)
    assert set(cells.obsp) == {"connectivities", "distances", "shared_connectivities", "shared_distances"}


def test_neighbours_cannot_take_the_name_of_the_labels() -> None:
    with pytest.raises(ParameterError, match="neighbors_key is 'phenograph'"):
        cc.tl.phenograph(cells_of(50), neighbors_key="phenograph")


def test_parts_of_the_cells_keep_their_neighbours() -> None:
    cells = cells_of(300)
    cc.tl.phenograph(cells)
    part = cells[50:200].copy()
    assert (part.obsp["connectivities"] != cells.obsp["connectivities"][50:200, 50:200]).nnz == 0


def test_labels_carry_the_colours_of_our_figures() -> None:
    cells = cells_of(300)
    cc.tl.phenograph(cells)
    cc.tl.flowsom(cells, grid=(3, 3), metaclusters=3)
    assert cells.uns["phenograph_colors"][:2] == ["#CC6677", "#332288"]
    for key in ("phenograph", "flowsom"):
        assert len(cells.uns[f"{key}_colors"]) == len(cells.obs[key].cat.categories)
