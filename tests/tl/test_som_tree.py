from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree, shortest_path
from scipy.spatial.distance import cdist

from cytocar import tl
from cytocar._core.errors import ParameterError
from cytocar.tl._clusters import som_tree as _som_tree


def adjacency(edges: np.ndarray, lengths: np.ndarray, n: int) -> np.ndarray:
    matrix = np.zeros((n, n))
    matrix[edges[:, 0], edges[:, 1]] = lengths
    return matrix + matrix.T


def stress(places: np.ndarray, wanted: np.ndarray) -> float:
    upper = np.triu_indices(len(places), 1)
    return float((((cdist(places, places) - wanted)[upper] / wanted[upper]) ** 2).sum())


@pytest.mark.parametrize("seed", range(4))
def test_the_tree_is_that_of_scipy(seed: int) -> None:
    codes = np.random.default_rng(seed).normal(size=(60, 5))
    edges, lengths = _som_tree.spanning_tree(codes)
    expected = minimum_spanning_tree(cdist(codes, codes)).tocoo()
    found = {(int(a), int(b)) for a, b in edges}
    assert found == {
        tuple(sorted(pair)) for pair in zip(expected.row.tolist(), expected.col.tolist(), strict=True)
    }
    assert np.allclose(lengths.sum(), expected.data.sum())
    assert np.allclose(lengths, np.linalg.norm(codes[edges[:, 0]] - codes[edges[:, 1]], axis=1))


def test_codes_that_coincide_stay_in_the_tree() -> None:
    codes = np.array([[0.0, 0], [1, 0], [0, 0], [0, 0], [5, 0]])
    edges, lengths = _som_tree.spanning_tree(codes)
    assert len(edges) == 4
    assert sorted(lengths.tolist()) == [0, 0, 1, 4]
    # an edge of length 0 counts too
    assert connected_components(adjacency(edges, np.ones(4), 5))[0] == 1
    assert np.isfinite(_som_tree.layout(edges, lengths, 5)).all()
    alike = _som_tree.spanning_tree(np.ones((6, 2)))
    assert np.isfinite(_som_tree.layout(*alike, 6)).all()


def test_a_chain_is_drawn_as_a_line_and_a_star_as_a_star() -> None:
    n = 8
    chain = np.column_stack([np.arange(n - 1), np.arange(1, n)])
    places = _som_tree.layout(chain, np.ones(n - 1), n)
    assert np.allclose(cdist(places, places), abs(np.subtract.outer(np.arange(n), np.arange(n))), atol=1e-3)
    star = np.column_stack([np.zeros(5, int), np.arange(1, 6)])
    spokes = _som_tree.layout(star, np.ones(5), 6)
    away = np.linalg.norm(spokes[1:] - spokes[0], axis=1)
    assert np.allclose(away, away[0], atol=1e-3)
    angles = np.sort(np.arctan2(*(spokes[1:] - spokes[0]).T))
    assert np.allclose(np.diff(angles), 2 * np.pi / 5, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_layout_follows_the_tree_better_than_its_start(seed: int) -> None:
    codes = np.random.default_rng(seed).normal(size=(70, 6))
    edges, lengths = _som_tree.spanning_tree(codes)
    drawn = np.clip(lengths / lengths.mean(), 0.5, 2)
    wanted = shortest_path(adjacency(edges, drawn, 70), directed=False)
    places = _som_tree.layout(edges, lengths, 70)
    assert stress(places, wanted) < 0.7 * stress(
        _som_tree._radial(_som_tree._matrix(edges, drawn, 70)), wanted
    )
    # at a minimum: shifting any one node does not help
    best = stress(places, wanted)
    for node in range(0, 70, 7):
        for shift in ((0.1, 0), (-0.1, 0), (0, 0.1), (0, -0.1)):
            moved = places.copy()
            moved[node] += shift
            assert stress(moved, wanted) > best
    assert np.allclose(places.mean(axis=0), 0, atol=1e-3)
    assert np.array_equal(places, _som_tree.layout(edges, lengths, 70))


def test_very_many_nodes_keep_the_radial_layout() -> None:
    n = 1200
    chain = np.column_stack([np.arange(n - 1), np.arange(1, n)])
    places = _som_tree.layout(chain, np.ones(n - 1), n)
    assert np.allclose(np.linalg.norm(np.diff(places, axis=0), axis=1), 1, atol=1e-3)


def test_the_tables_tell_of_the_map(blobs: ad.AnnData) -> None:
    tl.flowsom(blobs, grid=(5, 6), seed=3)
    before = blobs.copy()
    nodes, edges = tl.flowsom_tree(blobs)
    facts = blobs.uns["flowsom"]
    assert list(nodes) == ["node", "x", "y", "cells", "cluster", "CD3", "CD4", "CD8", "PD-1", "Ki67"]
    assert nodes["node"].tolist() == list(range(30))
    assert nodes["cells"].tolist() == facts["node_cells"].tolist()
    assert nodes["cluster"].tolist() == facts["node_labels"].astype(str).tolist()
    for row in nodes.itertuples():
        own = blobs.X[blobs.obs["flowsom_node"].to_numpy() == row.node]
        if len(own):
            assert pytest.approx(np.median(own[:, 2])) == row.CD8
        else:
            assert np.isnan(row.CD8)
    assert len(edges) == 29
    assert (edges["a"] < edges["b"]).all()
    codes = facts["codes"].astype(float)
    assert np.allclose(edges["length"], np.linalg.norm(codes[edges["a"]] - codes[edges["b"]], axis=1))
    assert list(blobs.obs) == list(before.obs)


def test_a_tree_needs_a_map(blobs: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match="no FlowSOM result 'flowsom'"):
        tl.flowsom_tree(blobs)
    tl.flowsom(blobs)
    blobs.obs["flowsom_node"] = 400
    with pytest.raises(ParameterError, match=r"names node 400, but uns\['flowsom'\] has nodes 0 to"):
        tl.flowsom_tree(blobs)
    odd = ad.AnnData(blobs.X, var=blobs.var.rename(index={"CD4": "x"}))
    odd.uns["cytocar"] = {"state": "arcsinh"}
    tl.flowsom(odd)
    with pytest.raises(ParameterError, match="marker 'x' has the name of a column"):
        tl.flowsom_tree(odd)
