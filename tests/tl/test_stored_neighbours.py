from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

import cytocar as cc
from cytocar import get
from cytocar.tl import _neighbours
from cytocar.tl._maps import stored
from cytocar.tl._maps.stored import stored_neighbours

MARKERS = ["CD3", "CD4", "CD8", "PD-1", "Ki67"]


@pytest.fixture
def clustered(blobs: ad.AnnData) -> ad.AnnData:
    cc.tl.phenograph(blobs, k=20)
    return blobs


def found(cells: ad.AnnData, k: int = 14, markers: list[str] = MARKERS) -> np.ndarray | None:
    return stored_neighbours(cells, get.matrix(cells, markers), markers, k)


@pytest.mark.parametrize("k", [1, 14, 20])
def test_stored_neighbours_are_those_of_a_search(clustered: ad.AnnData, k: int, tmp_path: Path) -> None:
    searched, _ = _neighbours.nearest_neighbours(get.matrix(clustered, MARKERS), k)
    assert np.array_equal(found(clustered, k), searched)
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    assert np.array_equal(found(ad.read_h5ad(tmp_path / "cells.h5ad"), k), searched)


def moved(cells: ad.AnnData) -> None:
    cells.X[5, 2] += 1


def without_distances(cells: ad.AnnData) -> None:
    del cells.obsp["distances"]


def of_another_program(cells: ad.AnnData) -> None:
    del cells.uns["neighbors"]["params"]["markers"]


def farthest_first(cells: ad.AnnData) -> None:
    apart = cells.obsp["distances"]
    apart.data[:] = apart.data.reshape(cells.n_obs, -1)[:, ::-1].ravel()
    apart.indices[:] = apart.indices.reshape(cells.n_obs, -1)[:, ::-1].ravel()


def dense(cells: ad.AnnData) -> None:
    cells.obsp["distances"] = cells.obsp["distances"].toarray()


def nothing(cells: ad.AnnData) -> None:
    cells.uns["neighbors"] = None


@pytest.mark.parametrize(
    "change", [moved, without_distances, of_another_program, farthest_first, dense, nothing]
)
def test_neighbours_that_do_not_fit_are_not_used(
    clustered: ad.AnnData, change: Callable[[ad.AnnData], None]
) -> None:
    change(clustered)
    assert found(clustered) is None


def test_more_neighbours_other_markers_or_some_of_the_cells_are_searched_for(clustered: ad.AnnData) -> None:
    assert found(clustered, 21) is None
    assert found(clustered, markers=MARKERS[:4]) is None
    assert found(clustered[:100].copy()) is None


def test_a_search_in_part_is_made_anew(clustered: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "EXACT_UP_TO", 239)
    assert found(clustered) is None


def test_umap_after_clustering_is_the_same_without_a_search(
    clustered: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = clustered.copy()
    del plain.uns["neighbors"]
    calls: list[int] = []
    search = _neighbours.nearest_neighbours

    def counted(x: np.ndarray, k: int, **settings: int) -> tuple[np.ndarray, str]:
        calls.append(k)
        return search(x, k, **settings)

    monkeypatch.setattr(_neighbours, "nearest_neighbours", counted)
    cc.tl.umap(plain)
    assert 14 in calls
    calls.clear()
    cc.tl.umap(clustered)
    assert 14 not in calls
    assert np.array_equal(clustered.obsm["X_umap"], plain.obsm["X_umap"])
    cc.tl.umap(clustered, max_per_sample=60)
    assert 14 in calls
