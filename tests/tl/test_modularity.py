"""Weighted modularity of any labels: by hand, by igraph, and for labels that put no cell anywhere."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar.tl._clusters.modularity import weighted_modularity


def graph_of(edges: list[tuple[int, int, float]], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    i, j, weights = (np.array(column) for column in zip(*edges, strict=True))
    upper = sp.csr_array((weights.astype(float), (i, j)), shape=(n, n))
    both = sp.csr_array(upper + upper.T)
    return both.indptr, both.indices, both.data


# two triangles with weights of 2, joined by one edge of 1
TRIANGLES = graph_of(
    [(0, 1, 2), (1, 2, 2), (0, 2, 2), (3, 4, 2), (4, 5, 2), (3, 5, 2), (2, 3, 1)],
    6,
)


def test_by_hand() -> None:
    # 2m = 26; within each triangle 12, at its nodes 13
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert weighted_modularity(TRIANGLES, labels) == pytest.approx(24 / 26 - 2 * (13 / 26) ** 2)
    assert weighted_modularity(TRIANGLES, labels, resolution=2) == pytest.approx(24 / 26 - 1)
    assert weighted_modularity(TRIANGLES, np.zeros(6, int)) == pytest.approx(0, abs=1e-15)


def test_it_is_not_the_unweighted_one() -> None:
    starts, columns, weights = TRIANGLES
    labels = np.array([0, 0, 0, 1, 1, 1])
    without = weighted_modularity((starts, columns, np.ones_like(weights)), labels)
    assert without == pytest.approx(12 / 14 - 1 / 2)
    assert without < weighted_modularity(TRIANGLES, labels)


def test_a_negative_label_is_no_community() -> None:
    # cells 4 and 5 are each alone: no weight within, and their own squares
    labels = np.array([0, 0, 0, 1, -1, -1])
    squares = (13**2 + 5**2 + 4**2 + 4**2) / 26**2
    assert weighted_modularity(TRIANGLES, labels) == pytest.approx(12 / 26 - squares)
    other = np.array([0, 0, 0, 1, 8, 9])
    assert weighted_modularity(TRIANGLES, labels) == weighted_modularity(TRIANGLES, other)


def test_a_graph_without_edges_has_none() -> None:
    empty = np.zeros(4, int), np.zeros(0, int), np.zeros(0)
    assert weighted_modularity(empty, np.array([0, 1, -1])) == 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), resolution=st.sampled_from([0.3, 1.0, 2.5]))
def test_as_igraph_has_it(seed: int, resolution: float) -> None:
    igraph = pytest.importorskip("igraph")
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 40))
    pairs = {(int(i), int(j)) for i, j in np.sort(rng.integers(0, n, (3 * n, 2)), axis=1) if i < j}
    edges = [(i, j, float(rng.uniform(0.01, 1))) for i, j in sorted(pairs | {(0, 1)})]
    labels = rng.integers(0, 5, n)
    graph = igraph.Graph(n, [edge[:2] for edge in edges])
    expected = graph.modularity(labels.tolist(), weights=[edge[2] for edge in edges], resolution=resolution)
    found = weighted_modularity(graph_of(edges, n), labels * 3 + 1, resolution=resolution)
    assert found == pytest.approx(expected, abs=1e-12)
