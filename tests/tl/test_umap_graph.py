from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from cytocar.tl._maps.umap import embed
from cytocar.tl._maps.umap_graph import curve, fuzzy_graph, pulls


@pytest.fixture
def cells() -> np.ndarray:
    generator = np.random.default_rng(2)
    return (generator.normal(size=(150, 4)) + 6 * np.repeat(np.eye(4)[:3], 50, axis=0)).astype("float32")


def graph_of(cells: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    distances, neighbours = NearestNeighbors(n_neighbors=k).fit(cells).kneighbors()
    distances, neighbours = distances[:, : k - 1], neighbours[:, : k - 1].astype(np.int32)
    return fuzzy_graph(neighbours, np.ascontiguousarray(distances)).toarray(), neighbours, distances


def test_the_graph_is_the_one_of_the_definition(cells: np.ndarray) -> None:
    graph, neighbours, distances = graph_of(cells, 12)
    p = np.zeros((150, 150))
    for i in range(150):
        beyond = np.maximum(distances[i] - distances[i, 0], 0)
        sigma = brentq(lambda s, d=beyond: np.exp(-d / s).sum() - np.log2(12), 1e-3, 1e3, xtol=1e-12)
        p[i, neighbours[i]] = np.exp(-beyond / sigma)
    expected = p + p.T - p * p.T
    assert graph == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(graph, graph.T)


def test_copies_of_a_cell_have_a_scale_too(cells: np.ndarray) -> None:
    cells[:30] = cells[0]
    graph, _, _ = graph_of(cells, 12)
    assert np.isfinite(graph).all()
    assert graph.max() == pytest.approx(1)


@pytest.mark.parametrize(("min_dist", "a", "b"), [(0.1, 1.5769, 0.8951), (0.5, 0.5830, 1.3342)])
def test_the_curve_has_the_published_numbers(min_dist: float, a: float, b: float) -> None:
    # umap-learn 0.5.12: umap.umap_.find_ab_params(1.0, min_dist)
    assert curve(min_dist) == pytest.approx((a, b), abs=2e-4)


def test_strong_edges_pull_often_and_faint_ones_never(cells: np.ndarray) -> None:
    from scipy.sparse import csr_array

    graph = csr_array(np.array([[0, 1.0, 0.5], [1.0, 0, 0.001], [0.5, 0.001, 0]]))
    head, tail, every = pulls(graph, 100)
    assert list(zip(head.tolist(), tail.tolist(), every.tolist(), strict=True)) == [
        (0, 1, 1.0), (0, 2, 2.0), (1, 0, 1.0), (2, 0, 2.0),
    ]  # fmt: skip


def test_clusters_stay_apart_and_neighbours_together(cells: np.ndarray) -> None:
    everyone = np.ones(len(cells), bool)
    places = embed(cells, everyone, k=15, min_dist=0.1, seed=0)
    assert trustworthiness(cells, places, n_neighbors=10) > 0.85
    centres = places.reshape(3, 50, 2).mean(axis=1)
    spread = places.reshape(3, 50, 2).std(axis=1).max()
    apart = min(np.linalg.norm(centres[i] - centres[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert apart > 3 * spread
    # neighbours on the map are at least min_dist apart in the middle, not on top of each other
    near = NearestNeighbors(n_neighbors=1).fit(places).kneighbors()[0]
    assert 0.02 < np.median(near) < 0.5
    assert np.array_equal(places, embed(cells, everyone, k=15, min_dist=0.1, seed=0, n_jobs=2))
