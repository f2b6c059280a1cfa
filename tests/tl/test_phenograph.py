from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import networkx as nx
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

import cytocar as cc
from cytocar._core import seeds
from cytocar._core.errors import ParameterError, StateError
from cytocar.tl import _groups, _neighbours
from cytocar.tl._clusters import phenograph as _phenograph
from cytocar.tl._clusters.graph_kernels import modularity
from cytocar.tl._clusters.louvain_kernels import louvain
from cytocar.tl._clusters.shared_neighbours import graph_of, jaccard_graph


def points(n: int = 300, markers: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, markers)).astype("float32")


def kernel_form(graph: nx.Graph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    matrix = nx.to_scipy_sparse_array(graph, weight="weight", format="csr", dtype=float)
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32)


def shared_neighbour_graph(x: np.ndarray, k: int) -> nx.Graph:
    neighbours, _ = _neighbours.nearest_neighbours(x, k)
    return nx.from_scipy_sparse_array(jaccard_graph(neighbours))


def test_neighbours_are_those_of_an_exact_search() -> None:
    x = points(500, 8)
    found, how = _neighbours.nearest_neighbours(x, 12)
    expected = (
        NearestNeighbors(n_neighbors=13, algorithm="brute").fit(x.astype(float)).kneighbors()[1][:, :12]
    )
    assert how == "exact"
    assert np.array_equal(found, expected)


def test_values_far_from_zero_lose_no_digits() -> None:
    far = (points(300, 4) + 4096).astype("float32")
    # this difference is exact, so both are the same cells
    near, _ = _neighbours.nearest_neighbours(far - np.float32(4096), 10)
    found, _ = _neighbours.nearest_neighbours(far, 10)
    assert np.array_equal(near, found)


def test_a_cell_is_no_neighbour_of_its_own_but_its_copies_are() -> None:
    x = np.repeat(points(40, 3), 3, axis=0)
    found, _ = _neighbours.nearest_neighbours(x, 5)
    rows = np.arange(len(x))
    assert not (found == rows[:, None]).any()
    copies = rows // 3 * 3
    for i in rows:
        assert set(found[i, :2]) == {copies[i], copies[i] + 1, copies[i] + 2} - {i}


def test_many_copies_of_one_cell_still_give_k_different_neighbours() -> None:
    x = np.vstack([np.zeros((60, 3)), points(40, 3) + 5]).astype("float32")
    found, _ = _neighbours.nearest_neighbours(x, 10)
    assert not (found == np.arange(100)[:, None]).any()
    assert all(len(set(row)) == 10 for row in found)
    assert (found[:60] < 60).all()


def test_weights_are_the_mean_jaccard_index_of_neighbour_sets() -> None:
    neighbours, _ = _neighbours.nearest_neighbours(points(120), 9)
    sets = [set(row.tolist()) for row in neighbours]
    expected = np.zeros((120, 120))
    for i in range(120):
        for j in sets[i]:
            expected[i, j] = len(sets[i] & sets[j]) / len(sets[i] | sets[j])
    expected = (expected + expected.T) / 2
    assert np.allclose(jaccard_graph(neighbours).toarray(), expected, atol=1e-7)


@pytest.mark.parametrize("resolution", [0.5, 1.0, 2.0])
def test_modularity_is_that_of_networkx(resolution: float) -> None:
    graph = shared_neighbour_graph(points(200), 10)
    labels = np.random.default_rng(1).integers(0, 6, 200)
    parts = [set(np.flatnonzero(labels == label).tolist()) for label in range(6)]
    expected = nx.community.modularity(graph, parts, weight="weight", resolution=resolution)
    assert modularity(*kernel_form(graph), labels, resolution) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("resolution", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_communities_are_as_good_as_those_of_networkx(seed: int, resolution: float) -> None:
    graph = shared_neighbour_graph(points(300, 4, seed), 12)
    best = max(
        nx.community.modularity(
            graph,
            nx.community.louvain_communities(graph, seed=start, resolution=resolution),
            resolution=resolution,
        )
        for start in range(3)
    )
    form = kernel_form(graph)
    ours = max(modularity(*form, louvain(*form, resolution, start), resolution) for start in range(3))
    assert ours >= best - 0.005


def test_a_ring_of_cliques_falls_into_its_cliques() -> None:
    graph = nx.ring_of_cliques(8, 6)
    labels = louvain(*kernel_form(graph), 1.0, 3)
    assert adjusted_rand_score(np.arange(48) // 6, labels) == 1
    # at a resolution near 0 a connected graph is one community
    assert len(set(louvain(*kernel_form(graph), 1e-6, 3))) == 1


def test_no_single_move_improves_the_communities() -> None:
    graph = shared_neighbour_graph(points(80, 3), 8)
    form = kernel_form(graph)
    labels = louvain(*form, 1.0, 7)
    best = modularity(*form, labels, 1.0)
    for node in range(80):
        for other in {*labels.tolist(), labels.max() + 1}:
            moved = labels.copy()
            moved[node] = other
            assert modularity(*form, moved, 1.0) <= best + 1e-9


def test_nodes_without_edges_stay_alone() -> None:
    graph = nx.disjoint_union(nx.complete_graph(5), nx.empty_graph(3))
    labels = louvain(*kernel_form(graph), 1.0, 0)
    assert len(set(labels[:5])) == 1
    assert len(set(labels)) == 4


@pytest.mark.parametrize(("seed", "rate"), [(0, 0.0), (1, 0.0), (2, 0.008)])
def test_simulated_clusters_are_found(car_cells: Callable[..., ad.AnnData], seed: int, rate: float) -> None:
    cells = car_cells(seed, false_positive_rate=rate)
    cc.tl.phenograph(cells, seed=seed)
    assert adjusted_rand_score(cells.obs["truth"], cells.obs["phenograph"]) >= 0.9
    true = (cells.obs["truth"] != "host").to_numpy()
    crossed = cells.obs[true].groupby("phenograph", observed=True)["subset"].value_counts(normalize=True)
    largest = crossed.groupby("phenograph", observed=True).max()
    sizes = cells.obs["phenograph"].value_counts()
    assert (largest[sizes[largest.index] >= 30] > 0.85).all()


def test_250_cells_keep_their_clusters(car_cells: Callable[..., ad.AnnData]) -> None:
    cells = car_cells(0)
    few = cells[np.sort(np.random.default_rng(0).choice(cells.n_obs, 250, replace=False))].copy()
    cc.tl.phenograph(few)
    assert few.uns["phenograph"]["k"] == 16
    assert adjusted_rand_score(few.obs["truth"], few.obs["phenograph"]) >= 0.85


@pytest.mark.parametrize(("n", "k"), [(10, 5), (25, 5), (100, 10), (250, 16), (899, 30), (10**6, 30)])
def test_k_shrinks_with_the_cells(n: int, k: int) -> None:
    assert _phenograph.auto_k(n) == k
    assert k <= n // 2


def test_the_result_is_written_down(blobs: ad.AnnData) -> None:
    cc.tl.phenograph(blobs, k=30, resolution=0.9, n_runs=3, seed=4, min_size=5, key_added="groups")
    column = blobs.obs["groups"]
    assert list(column.cat.categories) == ["1", "2", "3", "4"]
    assert column.value_counts()[["1", "2", "3", "4"]].tolist() == [90, 66, 48, 36]
    assert adjusted_rand_score(column, blobs.obs["truth"]) == 1
    facts = blobs.uns["groups"]
    assert (facts["k"], facts["resolution"], facts["n_runs"], facts["seed"]) == (30, 0.9, 3, 4)
    assert (facts["n_clusters"], facts["engine"], facts["neighbours"]) == (4, "cytocar", "exact")
    assert json.loads(facts["markers"]) == ["CD3", "CD4", "CD8", "PD-1", "Ki67"]
    assert facts["run_ari"] == 1.0
    graph = shared_neighbour_graph(blobs.X[:, :5], 30)
    parts = [set(np.flatnonzero(column == label).tolist()) for label in column.cat.categories]
    assert facts["modularity"] == pytest.approx(nx.community.modularity(graph, parts, resolution=0.9))
    assert json.loads(blobs.uns["cytocar"]["steps"])[-1]["step"] == "tl.phenograph"


def test_small_clusters_are_no_clusters(blobs: ad.AnnData) -> None:
    cc.tl.phenograph(blobs, k=30, min_size=50)
    assert list(blobs.obs["phenograph"].cat.categories) == ["1", "2", "-1"]
    assert (blobs.obs["phenograph"] == "-1").sum() == 84
    assert blobs.uns["phenograph"]["n_clusters"] == 2


def test_labels_count_from_the_largest() -> None:
    groups = np.array([5, 5, 2, 2, 2, 9, 0, 0])
    assert _groups.labels_by_size(groups).tolist() == [2, 2, 1, 1, 1, 4, 3, 3]
    assert _groups.labels_by_size(groups, 3).tolist() == [-1, -1, 1, 1, 1, -1, -1, -1]


def test_markers_in_any_spelling_decide_the_clusters(blobs: ad.AnnData) -> None:
    cc.tl.phenograph(blobs, markers=["cd4", "pd1"], k=30)
    assert json.loads(blobs.uns["phenograph"]["markers"]) == ["CD4", "PD-1"]
    # without CD3 and CD8 two of the four clusters lie on top of each other
    assert adjusted_rand_score(blobs.obs["phenograph"], blobs.obs["truth"]) < 0.9


def test_a_copy_leaves_the_input_alone_and_survives_a_file(blobs: ad.AnnData, tmp_path: Path) -> None:
    before = blobs.copy()
    result = cc.tl.phenograph(blobs, copy=True)
    assert "phenograph" not in blobs.obs
    assert "phenograph" not in blobs.uns
    assert np.array_equal(blobs.X, before.X)
    result.write_h5ad(tmp_path / "cells.h5ad")
    back = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert back.obs["phenograph"].tolist() == result.obs["phenograph"].tolist()
    assert list(back.obs["phenograph"].cat.categories) == list(result.obs["phenograph"].cat.categories)
    assert back.uns["phenograph"]["modularity"] == result.uns["phenograph"]["modularity"]


FRESH = """
import sys, anndata, cytocar
cells = anndata.read_h5ad(sys.argv[1])
cytocar.tl.phenograph(cells, seed=3, n_jobs=2, n_runs=4)
cytocar.tl.flowsom(cells, seed=3, n_jobs=2)
print("|".join(cells.obs["phenograph"].astype(str)))
print("|".join(cells.obs["flowsom"].astype(str)))
"""


def test_threads_and_processes_change_nothing(car_cells: Callable[..., ad.AnnData], tmp_path: Path) -> None:
    cells = car_cells(0)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    command = [sys.executable, "-c", FRESH, str(tmp_path / "cells.h5ad")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    elsewhere = [line.split("|") for line in done.stdout.split()]
    cc.tl.phenograph(cells, seed=3, n_jobs=1, n_runs=4)
    cc.tl.flowsom(cells, seed=3, n_jobs=1)
    assert cells.obs["phenograph"].tolist() == elsewhere[0]
    assert cells.obs["flowsom"].tolist() == elsewhere[1]


def test_the_best_of_all_restarts_is_kept() -> None:
    # without clusters every restart ends elsewhere
    x = points(400, 6)
    neighbours, _ = _neighbours.nearest_neighbours(x, 10)
    graph = jaccard_graph(neighbours)
    form = graph.indptr.astype(np.int64), graph.indices.astype(np.int32), graph.data
    starts = [seeds.integer_seed(0, "phenograph", str(run)) for run in range(6)]
    labels = [louvain(*form, 1.0, start) for start in starts]
    quality = [modularity(*form, found, 1.0) for found in labels]
    assert max(quality) > min(quality)
    found = _phenograph.communities(x, k=10, resolution=1.0, n_runs=6, seed=0)
    assert found.modularity == max(quality)
    best = labels[int(np.argmax(quality))]
    assert adjusted_rand_score(found.labels, best) == 1
    others = [adjusted_rand_score(best, other) for other in labels if other is not best]
    assert found.stability == pytest.approx(np.mean(others))


def test_restarts_end_when_they_gain_no_more(blobs: ad.AnnData) -> None:
    cc.tl.phenograph(blobs, k=30, n_jobs=2)
    facts = blobs.uns["phenograph"]
    assert facts["n_runs"] == len(facts["run_modularity"]) == _phenograph.ROUND
    assert facts["modularity"] == max(facts["run_modularity"])
    assert facts["recall"] == 1.0
    given = cc.tl.phenograph(blobs, k=30, n_runs=_phenograph.ROUND, copy=True)
    assert given.obs["phenograph"].tolist() == blobs.obs["phenograph"].tolist()


def test_restarts_go_on_while_they_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    x = points(400, 6)
    graph = graph_of(_neighbours.search(x, 10).index, n_jobs=1)
    monkeypatch.setattr(_phenograph, "TOLERANCE", -1.0)
    runs = _phenograph._restarts(graph, resolution=1.0, n_runs=None, seed=0, n_jobs=1)
    assert len(runs) == _phenograph.MOST_RUNS
    # the rule, told slowly: the number of rounds is the first whose last three runs gained no more than 1e-4
    monkeypatch.setattr(_phenograph, "TOLERANCE", 1e-4)
    qualities = [quality for _, quality in runs]
    expected = next(
        n for n in (4, 8, 12, 16, 20) if n == 20 or max(qualities[:n]) <= max(qualities[: n - 3]) + 1e-4
    )
    for n_jobs in (1, 2):
        stopped = _phenograph._restarts(graph, resolution=1.0, n_runs=None, seed=0, n_jobs=n_jobs)
        assert [quality for _, quality in stopped] == qualities[:expected]


def test_cells_searched_list_by_list_keep_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.random.default_rng(2).integers(0, 5, 3000)
    x = points(3000, 8) + 6 * np.eye(8, dtype="float32")[truth]
    exact = _phenograph.communities(x, k=20, resolution=0.2, n_runs=4, seed=0)
    whole = _neighbours.search
    monkeypatch.setattr(_neighbours, "search", lambda *a, **b: whole(*a, **b, exact_up_to=500))
    found = _phenograph.communities(x, k=20, resolution=0.2, n_runs=4, seed=0, n_jobs=2)
    assert (exact.neighbours, found.neighbours) == ("exact", "inverted file")
    assert adjusted_rand_score(truth, found.labels) > 0.99
    assert found.modularity == pytest.approx(exact.modularity, abs=0.005)


@pytest.mark.parametrize("seed", range(3))
def test_communities_are_no_worse_than_those_of_leiden(seed: int) -> None:
    igraph = pytest.importorskip("igraph")
    graph = shared_neighbour_graph(points(1500, 12, seed), 15)
    form = kernel_form(graph)
    edges = list(graph.edges(data="weight"))
    other = igraph.Graph(1500, [edge[:2] for edge in edges])
    random.seed(seed)  # igraph draws from it
    found = other.community_leiden("modularity", weights=[edge[2] for edge in edges], n_iterations=2)
    theirs = modularity(*form, np.array(found.membership), 1.0)
    ours = max(modularity(*form, louvain(*form, 1.0, start), 1.0) for start in range(3))
    assert ours >= theirs - 0.003


def test_published_clusters_of_bone_marrow_are_told_apart(test_data: Path) -> None:
    # each file is one cluster of the publication; the markers are its surface markers
    surface = ["CD19", "CD11b", "CD34", "CD45", "CD123", "CD33", "CD47", "CD7"]
    surface += ["CD44", "CD38", "CD3", "CD117", "HLA-DR", "CD64", "CD41", "CD15"]
    parts = []
    for number in (2, 3):
        part = cc.io.read_fcs(test_data / "phenograph_h1" / f"H1_PhenoGraph_cluster{number}.fcs")
        part = part[:: part.n_obs // 800].copy()
        part.obs_names = [f"{number}:{name}" for name in part.obs_names]
        part.obs["published"] = str(number)
        cc.pp.arcsinh(part)
        parts.append(part)
    cells = ad.concat(parts, merge="same")
    cells.uns["cytocar"] = {"state": "arcsinh"}
    cc.tl.phenograph(cells, markers=surface, resolution=0.2)
    assert adjusted_rand_score(cells.obs["published"], cells.obs["phenograph"]) > 0.98
    cc.tl.phenograph(cells, markers=surface)
    shares = cells.obs.groupby("phenograph", observed=True)["published"].value_counts(normalize=True)
    assert shares.groupby("phenograph", observed=True).max().min() > 0.98


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 121}, "k is 121; .* at most 120 .half of the 240 cells"),
        ({"k": 1}, "k is 1; .* at least 2"),
        ({"k": 2.5}, "k is 2.5"),
        ({"k": "many"}, "k is 'many'; .*'auto'"),
        ({"resolution": 0.0}, "resolution is 0.0"),
        ({"resolution": float("nan")}, "resolution is nan"),
        ({"min_size": 0}, "min_size is 0"),
        ({"n_runs": 0}, "n_runs is 0"),
        ({"n_runs": "some"}, "n_runs is 'some'; .*'auto'"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"engine": "leiden"}, "engine is 'leiden'"),
        ({"markers": ["CD4", "CD44"]}, "CD44"),
        ({"markers": ["CD4", "cd4"]}, "more than once: CD4"),
        ({"markers": []}, "empty"),
    ],
)
def test_arguments_outside_their_domain(
    blobs: ad.AnnData, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        cc.tl.phenograph(blobs, **arguments)
    assert "phenograph" not in blobs.obs


def test_counts_are_refused(blobs: ad.AnnData) -> None:
    blobs.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match=r"tl.phenograph needs arcsinh in X, but X holds counts"):
        cc.tl.phenograph(blobs)


def test_cells_that_cannot_be_clustered_are_refused(blobs: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match="at least 10 cells, there are 9"):
        cc.tl.phenograph(blobs[:9].copy())
    flat = blobs.copy()
    flat.X = np.ones_like(flat.X)
    with pytest.raises(ParameterError, match="all 240 cells are alike in all of CD3"):
        cc.tl.phenograph(flat)
    blobs.X[3, 1] = np.nan
    blobs.X[4, 1] = np.inf
    with pytest.raises(ParameterError, match="2 of 240 cells have values that are not finite, in CD4;"):
        cc.tl.phenograph(blobs)


@pytest.mark.parametrize("step", ["phenograph", "flowsom", "umap", "tsne"])
def test_values_too_large_to_be_squared_are_refused(blobs: ad.AnnData, step: str) -> None:
    blobs.X[7, 1] = 2e19
    with pytest.raises(
        ParameterError, match=f"tl.{step}: 1 of 240 cells have values beyond 1e\\+15, in CD4; remove"
    ):
        getattr(cc.tl, step)(blobs)
    blobs.X[3, 1] = np.nan
    with pytest.raises(ParameterError, match="2 of 240 cells have values that are not finite, in CD4"):
        getattr(cc.tl, step)(blobs)
