from __future__ import annotations

import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

import cytocar as cc
from cytocar._core.errors import ParameterError
from cytocar.tl import _neighbours
from cytocar.tl._maps import umap as _umap


@pytest.fixture
def cells() -> np.ndarray:
    generator = np.random.default_rng(2)
    return (generator.normal(size=(150, 4)) + 6 * np.repeat(np.eye(4)[:3], 50, axis=0)).astype("float32")


@pytest.fixture
def published() -> Any:
    """The module of umap-learn that makes graph and layout."""
    _umap.published()
    return sys.modules["umap.umap_"]


def embedded(x: np.ndarray, **settings: Any) -> np.ndarray:
    return _umap.embed(x, np.ones(len(x), bool), **{"k": 15, "min_dist": 0.1, "seed": 0, **settings})


def handed_over(published: Any, monkeypatch: pytest.MonkeyPatch, x: np.ndarray, k: int) -> Any:
    """Return the graph that umap-learn lays out."""
    graphs = []

    def spy(data: Any, graph: Any, *args: Any, **kwargs: Any) -> Any:
        graphs.append(graph.copy())
        return np.zeros((len(data), 2), np.float32), {}

    monkeypatch.setattr(published, "simplicial_set_embedding", spy)
    embedded(x, k=k)
    [graph] = graphs
    return graph.toarray()


def test_the_graph_is_the_one_of_the_definition(
    published: Any, cells: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = handed_over(published, monkeypatch, cells, 12)
    distances, neighbours = NearestNeighbors(n_neighbors=11).fit(cells).kneighbors()
    p = np.zeros((150, 150))
    for i in range(150):
        beyond = np.maximum(distances[i] - distances[i, 0], 0)
        sigma = brentq(lambda s, d=beyond: np.exp(-d / s).sum() - np.log2(12), 1e-3, 1e3, xtol=1e-12)
        p[i, neighbours[i]] = np.exp(-beyond / sigma)
    assert graph == pytest.approx(p + p.T - p * p.T, abs=1e-4)


def test_neighbours_are_searched_once_and_by_us(
    published: Any, cells: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for name in ("nearest_neighbors", "pairwise_distances"):
        counted(published, name)
    counted(published.NNDescent, "__init__")
    counted(_neighbours, "nearest_neighbours")
    # without neighbours of ours it looks for its own
    published.UMAP(n_neighbors=5, n_epochs=11, init=cells[:, :2], random_state=0, n_jobs=1).fit(cells)
    assert calls == ["pairwise_distances", "nearest_neighbors"]
    calls.clear()
    embedded(cells)
    assert calls == ["nearest_neighbours"]


def test_clusters_stay_apart_and_neighbours_together(cells: np.ndarray) -> None:
    places = embedded(cells)
    assert trustworthiness(cells, places, n_neighbors=10) > 0.85
    centres = places.reshape(3, 50, 2).mean(axis=1)
    spread = places.reshape(3, 50, 2).std(axis=1).max()
    apart = min(np.linalg.norm(centres[i] - centres[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert apart > 3 * spread
    # neighbours on the map are at least min_dist apart in the middle, not on top of each other
    near = NearestNeighbors(n_neighbors=1).fit(places).kneighbors()[0]
    assert 0.02 < np.median(near) < 0.5


def test_groups_without_a_path_between_them_have_a_map(cells: np.ndarray) -> None:
    cells[50:] += 1000
    places = embedded(cells, k=5)
    assert np.isfinite(places).all()
    assert np.array_equal(places, embedded(cells, k=5))


@pytest.mark.parametrize("copies", [0, 40])
def test_same_map_whatever_the_threads(cells: np.ndarray, copies: int) -> None:
    import numba

    # the scale of copies comes from the mean of all distances, which threads add up in another order
    cells[:copies] = cells[0]
    most = numba.config.NUMBA_NUM_THREADS
    made = {}
    for threads in {1, most}:
        numba.set_num_threads(threads)
        made[threads] = embedded(cells, n_jobs=threads)
        assert numba.get_num_threads() == threads
    numba.set_num_threads(most)
    assert np.array_equal(made[1], made[most])
    assert not np.array_equal(made[1], embedded(cells, seed=1))


def test_maps_made_side_by_side_are_those_made_alone(cells: np.ndarray) -> None:
    alone = [embedded(cells, seed=seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda seed: embedded(cells, seed=seed), range(3)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_copies_of_a_cell_have_places_too(cells: np.ndarray) -> None:
    cells[:30] = cells[0]
    assert np.isfinite(embedded(cells)).all()
    two = np.repeat(cells[[0, 100]], 20, axis=0)
    places = embedded(two)
    assert np.isfinite(places).all()
    assert np.ptp(places, axis=0).max() > 1


@pytest.mark.parametrize("markers", [1, 3])
def test_cells_on_a_line_have_a_map(markers: int) -> None:
    line = np.random.default_rng(0).normal(size=(60, 1)) * np.ones(markers)
    x = line.astype("float32")
    start = _umap.starts(x, 0)
    # rounding, which differs from machine to machine, is no second axis
    assert start[:, 1].std() == pytest.approx(1, abs=0.3)
    assert np.array_equal(start, _umap.starts(x, 0))
    places = embedded(x)
    assert np.isfinite(places).all()
    assert trustworthiness(x, places, n_neighbors=5) > 0.9


def test_a_second_axis_that_is_there_stays(cells: np.ndarray) -> None:
    cells[:, 1:] *= 1e-3
    start = _umap.starts(cells, 0)
    assert 1e-5 < start[:, 1].std() < 1e-2
    assert np.array_equal(start, _umap.starts(cells, 1))


@pytest.mark.parametrize("n", [10, 11, 16])
def test_fewer_cells_than_neighbours_have_a_map(blobs: ad.AnnData, n: int) -> None:
    few = blobs[:n].copy()
    cc.tl.umap(few, n_neighbors=30)
    assert few.uns["X_umap"]["n_neighbors"] == n // 2
    assert np.isfinite(few.obsm["X_umap"]).all()
    cc.tl.umap(few, n_neighbors=2)
    assert np.isfinite(few.obsm["X_umap"]).all()


@pytest.mark.parametrize("n", [1, 2])
def test_one_cell_or_two_have_none(blobs: ad.AnnData, n: int) -> None:
    with pytest.raises(ParameterError, match=f"tl.umap needs at least 10 cells, there are {n}"):
        cc.tl.umap(blobs[:n].copy())


def test_a_missing_value_is_refused_before_umap_learn_sees_it(blobs: ad.AnnData) -> None:
    blobs.X[7, 1] = np.nan
    with pytest.raises(ParameterError, match=r"tl\.umap.*CD4"):
        cc.tl.umap(blobs)


def test_the_former_engine_warns_and_gives_the_same_map(blobs: ad.AnnData) -> None:
    with pytest.warns(DeprecationWarning, match="engine='cytocar' is now 'umap-learn'") as caught:
        former = cc.tl.umap(blobs, engine="cytocar", copy=True)
    assert caught[0].filename == __file__
    cc.tl.umap(blobs)
    assert former.uns["X_umap"]["engine"] == blobs.uns["X_umap"]["engine"] == "umap-learn"
    assert np.array_equal(former.obsm["X_umap"], blobs.obsm["X_umap"])


def test_other_warnings_of_umap_learn_are_heard(
    published: Any, cells: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = published.UMAP.fit

    def warning(self: Any, *args: Any, **kwargs: Any) -> Any:
        warnings.warn("something new", UserWarning, stacklevel=1)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(published.UMAP, "fit", warning)
    before = list(warnings.filters)
    with pytest.raises(UserWarning, match="something new"):
        embedded(cells)
    assert list(warnings.filters) == before


SCRIPT = """
import hashlib, numpy as np
from cytocar.tl._maps.umap import embed
x = np.random.default_rng(0).normal(size=(3000, 12)).astype("float32")
x[:60] = x[0]
places = embed(x, np.ones(3000, bool), k=15, min_dist=0.1, seed=0, n_jobs=2)
from umap.umap_ import smooth_knn_dist as graph
from umap.layouts import _nb_optimize_layout_euclidean_single_epoch as layout
from_disk = sum(sum(f.stats.cache_hits.values()) for f in (graph, layout))
print(hashlib.sha256(places.tobytes()).hexdigest(), from_disk)
"""


# umap-learn takes some seconds to load and compile in every process
@pytest.mark.slow
def test_every_process_makes_the_same_map_and_compiles_the_layout_once() -> None:
    told = []
    for threads in ("1", "2", "3"):
        env = {**os.environ, **dict.fromkeys(("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
        )
        told.append(done.stdout.split())
    assert len({digest for digest, _ in told}) == 1
    assert told[-1][1] == "2"
