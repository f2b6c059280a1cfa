from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

import cytocar as cc
from cytocar._core.errors import ParameterError, StateError
from cytocar.tl import _neighbours
from cytocar.tl._clusters import metaclusters as _metaclusters
from cytocar.tl._clusters import som as _som
from cytocar.tl._clusters.som_kernels import across, train


def slow_training(
    x: np.ndarray, codes: np.ndarray, grid: np.ndarray, draws: np.ndarray, total: int, radius: float
) -> np.ndarray:
    """Do what the kernel does, as one reads it in the publication."""
    codes = codes.copy()
    for step, i in enumerate(draws):
        alpha = 0.05 - (0.05 - 0.01) * step / total
        threshold = radius - radius * step / total
        if threshold < 1:
            threshold = 0.5
        best = np.argmin(((codes - x[i]) ** 2).sum(axis=1))
        near = grid[best] <= threshold
        codes[near] += alpha * (x[i] - codes[near])
    return codes


def test_the_map_is_trained_by_the_published_schedule() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(150, 3)).astype("float32")
    grid = _som.chebyshev((4, 5))
    start = x[generator.choice(150, 20, replace=False)].astype(float)
    draws = generator.integers(0, 150, 1500)
    radius = np.quantile(grid, 0.67)
    codes = across(start)
    assert codes.shape == (3, 32)
    train(x[draws], codes, 20, grid, 0, 1500, np.array([0.05, 0.01]), np.array([radius, 0.0]))
    # codes are float32
    assert np.allclose(codes[:, :20].T, slow_training(x, start, grid, draws, 1500, radius), atol=2e-5)
    assert (codes[:, 20:] == 0).all()


def test_passes_in_parts_are_passes_in_one() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(100, 3)).astype("float32")
    grid = _som.chebyshev((3, 3))
    draws = generator.integers(0, 100, 600)
    settings = (np.array([0.05, 0.01]), np.array([2.0, 0.0]))
    whole = across(x[:9])
    train(x[draws], whole, 9, grid, 0, 600, *settings)
    parts = across(x[:9])
    for done in range(0, 600, 200):
        train(x[draws[done : done + 200]], parts, 9, grid, done, 600, *settings)
    assert np.array_equal(whole, parts)


def test_distances_on_the_grid_are_those_of_a_king() -> None:
    grid = _som.chebyshev((3, 4))
    assert grid.shape == (12, 12)
    # node 0 is (0, 0), node 6 is (1, 2), node 11 is (2, 3)
    assert (grid[0, 6], grid[0, 11], grid[6, 11]) == (2, 3, 1)
    # the published radius of the 10 x 10 grid
    assert np.quantile(_som.chebyshev((10, 10)), 0.67) == 6


def test_every_cell_goes_to_its_nearest_code(blobs: ad.AnnData) -> None:
    cc.tl.flowsom(blobs)
    codes = blobs.uns["flowsom"]["codes"].astype(float)
    distances = cdist(blobs.X[:, :5].astype(float), codes)
    node = blobs.obs["flowsom_node"].to_numpy()
    chosen = distances[np.arange(240), node]
    # codes are stored as float32
    assert np.allclose(chosen, distances.min(axis=1), atol=1e-5)
    assert np.allclose(blobs.obs["flowsom_distance"], chosen, atol=1e-5)
    assert blobs.uns["flowsom"]["node_cells"].tolist() == np.bincount(node, minlength=len(codes)).tolist()


@pytest.mark.parametrize(("seed", "rate"), [(0, 0.0), (1, 0.0), (2, 0.008)])
def test_simulated_clusters_are_found(car_cells: Callable[..., ad.AnnData], seed: int, rate: float) -> None:
    cells = car_cells(seed, false_positive_rate=rate)
    cc.tl.flowsom(cells, seed=seed)
    assert adjusted_rand_score(cells.obs["truth"], cells.obs["flowsom"]) >= 0.9
    true = (cells.obs["truth"] != "host").to_numpy()
    shares = cells.obs[true].groupby("flowsom", observed=True)["subset"].value_counts(normalize=True)
    largest = shares.groupby("flowsom", observed=True).max()
    sizes = cells.obs["flowsom"].value_counts()
    # a few outlying cells of several subsets may share a cluster
    assert (largest[sizes[largest.index] >= 30] > 0.85).all()


def test_linkages_do_as_they_are_described(car_cells: Callable[..., ad.AnnData]) -> None:
    # one map may be lucky: what is said of a linkage is said of several
    score: dict[str, list[float]] = {}
    smallest: dict[str, list[int]] = {}
    over = []
    for seed in range(3):
        cells = car_cells(seed)
        for linkage in ("average", "average_cells", "ward"):
            cc.tl.flowsom(cells, linkage=linkage, metaclusters=9)
            score.setdefault(linkage, []).append(
                adjusted_rand_score(cells.obs["truth"], cells.obs["flowsom"])
            )
            smallest.setdefault(linkage, []).append(cells.obs["flowsom"].value_counts().min())
            if linkage == "average":
                over.append(adjusted_rand_score(cells.obs["truth"], cc.tl.metaclusters(cells, 15)))
    assert min(score["ward"]) >= 0.9
    # the published linkage spends clusters on outlying nodes, and needs more of them
    assert min(smallest["average"]) < 30 < min(smallest["ward"])
    assert min(over) >= 0.9
    assert np.mean(score["average_cells"]) >= np.mean(score["average"])


def test_few_cells_take_a_smaller_grid(car_cells: Callable[..., ad.AnnData]) -> None:
    cells = car_cells(0)
    few = cells[np.sort(np.random.default_rng(0).choice(cells.n_obs, 250, replace=False))].copy()
    cc.tl.flowsom(few)
    assert few.uns["flowsom"]["grid"].tolist() == [7, 7]
    assert few.uns["flowsom"]["rlen"] == 196
    assert adjusted_rand_score(few.obs["truth"], few.obs["flowsom"]) >= 0.8


@pytest.mark.parametrize(
    ("grid", "cells", "expected"),
    [((10, 10), 500, (10, 10)), ((10, 10), 499, (9, 9)), ((10, 5), 60, (4, 2)), ((10, 10), 10, (2, 2))],
)
def test_the_grid_shrinks_with_the_cells(
    grid: tuple[int, int], cells: int, expected: tuple[int, int]
) -> None:
    assert _som.shrunk(grid, cells) == expected


def test_one_cluster_more_must_be_worth_it() -> None:
    assert _metaclusters.choose_cut(np.array([0.5, 0.7, 0.8, 0.8015, 0.79])) == 2
    assert _metaclusters.choose_cut(np.array([0.5, 0.7, 0.8, 0.8025, 0.79])) == 3


def test_clusters_far_apart_are_counted_right(blobs: ad.AnnData) -> None:
    cc.tl.flowsom(blobs)
    assert blobs.uns["flowsom"]["n_clusters"] == 4
    assert adjusted_rand_score(blobs.obs["truth"], blobs.obs["flowsom"]) == 1
    assert blobs.obs["flowsom"].value_counts()[["1", "2", "3", "4"]].tolist() == [90, 66, 48, 36]


def test_no_more_than_5000_cells_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(5 * np.eye(6)[generator.integers(0, 4, 7000)], 1.0).astype("float32")
    found = _som.flowsom_map(x, grid=(6, 6), rlen=5)
    cuts, _ = _metaclusters.cut_nodes(found.codes, found.node, 20, "average_cells", 0)
    sizes = []

    def counted(rows: np.ndarray, k: int, **settings: object) -> tuple[np.ndarray, str]:
        sizes.append(len(rows))
        return nearest(rows, k)

    nearest = _neighbours.nearest_neighbours
    monkeypatch.setattr(_neighbours, "nearest_neighbours", counted)
    quality = _metaclusters.cut_quality(x, found.node, cuts, 0)
    assert sizes == [5000]
    assert _metaclusters.choose_cut(quality) + 2 == 4


def test_all_numbers_of_metaclusters_are_kept(blobs: ad.AnnData) -> None:
    cc.tl.flowsom(blobs, metaclusters=6)
    facts = blobs.uns["flowsom"]
    assert facts["chosen"] == "given"
    assert facts["ks"].tolist() == list(range(2, 21))
    assert facts["node_labels_by_k"].shape == (facts["codes"].shape[0], 19)
    assert cc.tl.metaclusters(blobs, 6).tolist() == blobs.obs["flowsom"].tolist()
    for k in (2, 4, 20):
        series = cc.tl.metaclusters(blobs, k)
        assert series.name == f"flowsom_meta{k}"
        assert list(series.cat.categories) == [str(i) for i in range(1, k + 1)]
        assert (np.diff(series.value_counts()[list(series.cat.categories)]) <= 0).all()
        again = blobs.copy()
        cc.tl.flowsom(again, metaclusters=k)
        assert again.obs["flowsom"].tolist() == series.tolist()
    with pytest.raises(ParameterError, match=r"k is 21; .* at most 20"):
        cc.tl.metaclusters(blobs, 21)
    with pytest.raises(ParameterError, match="no FlowSOM result 'other'"):
        cc.tl.metaclusters(blobs, 4, key="other")


def test_the_result_is_written_down(blobs: ad.AnnData) -> None:
    cc.tl.flowsom(blobs, grid=(6, 5), linkage="ward", rlen=12, seed=9, key_added="som")
    facts = blobs.uns["som"]
    assert facts["grid"].tolist() == [6, 5]
    assert (facts["linkage"], facts["rlen"], facts["seed"], facts["chosen"]) == ("ward", 12, 9, "auto")
    assert json.loads(facts["markers"]) == ["CD3", "CD4", "CD8", "PD-1", "Ki67"]
    assert facts["codes"].shape == (30, 5)
    assert facts["node_labels"][blobs.obs["som_node"]].astype(str).tolist() == blobs.obs["som"].tolist()
    assert blobs.obs["som_node"].dtype == np.int32
    assert blobs.obs["som_distance"].dtype == np.float32
    assert facts["modularity"].shape == facts["ambiguous"].shape == facts["ks"].shape
    position = _metaclusters.choose_cut(facts["modularity"])
    assert facts["n_clusters"] == facts["ks"][position]
    used = facts["node_cells"] > 0
    assert (np.diag(facts["consensus"])[used] == 1).all()
    assert (facts["consensus"][~used] == 0).all()
    assert json.loads(blobs.uns["cytocar"]["steps"])[-1]["step"] == "tl.flowsom"


def test_empty_nodes_take_the_label_of_their_nearest(blobs: ad.AnnData) -> None:
    # two kinds of cells only: most nodes of the grid stay empty
    pair = blobs.copy()
    pair.X = np.repeat(blobs.X[:12], 20, axis=0)
    cc.tl.flowsom(pair, grid=(6, 6))
    facts = pair.uns["flowsom"]
    empty = np.flatnonzero(facts["node_cells"] == 0)
    used = np.flatnonzero(facts["node_cells"])
    assert len(empty) > 0
    nearest = used[cdist(facts["codes"][empty], facts["codes"][used]).argmin(axis=1)]
    assert facts["node_labels"][empty].tolist() == facts["node_labels"][nearest].tolist()


def test_a_copy_leaves_the_input_alone_and_survives_a_file(blobs: ad.AnnData, tmp_path: Path) -> None:
    before = blobs.copy()
    result = cc.tl.flowsom(blobs, copy=True)
    assert list(blobs.obs) == list(before.obs)
    assert "flowsom" not in blobs.uns
    assert np.array_equal(blobs.X, before.X)
    result.write_h5ad(tmp_path / "cells.h5ad")
    back = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert back.obs["flowsom"].tolist() == result.obs["flowsom"].tolist()
    assert np.array_equal(back.uns["flowsom"]["codes"], result.uns["flowsom"]["codes"])
    assert cc.tl.metaclusters(back, 7).tolist() == cc.tl.metaclusters(result, 7).tolist()


def test_same_seed_same_result_whatever_the_threads(car_cells: Callable[..., ad.AnnData]) -> None:
    one, two, other = car_cells(0), car_cells(0), car_cells(0)
    cc.tl.flowsom(one, seed=1)
    cc.tl.flowsom(two, seed=1, n_jobs=2)
    cc.tl.flowsom(other, seed=2)
    assert one.obs["flowsom"].tolist() == two.obs["flowsom"].tolist()
    assert np.array_equal(one.uns["flowsom"]["codes"], two.uns["flowsom"]["codes"])
    assert not np.array_equal(one.uns["flowsom"]["codes"], other.uns["flowsom"]["codes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grid": (1, 10)}, "a side of grid is 1; .* at least 2"),
        ({"grid": 10}, "grid is 10; .*two whole numbers"),
        ({"grid": (10, 10, 10)}, "two whole numbers"),
        ({"metaclusters": 1}, "metaclusters is 1; .* at least 2"),
        ({"metaclusters": 90}, "metaclusters is 90; .*.nine tenths of the 26 nodes"),
        ({"metaclusters": "many"}, "metaclusters is 'many'; .*'auto'"),
        ({"linkage": "wards"}, "linkage is 'wards'; did you mean 'ward'"),
        ({"rlen": 0}, "rlen is 0"),
        ({"method": "som"}, "method is .som.; .*online"),
        ({"rlen": "long"}, "rlen is 'long'"),
        ({"n_jobs": -2}, "n_jobs is -2"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"markers": ["CD44"]}, "CD44"),
    ],
)
def test_arguments_outside_their_domain(
    blobs: ad.AnnData, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        cc.tl.flowsom(blobs, **arguments)
    assert "flowsom" not in blobs.obs


def test_cells_that_cannot_be_mapped_are_refused(blobs: ad.AnnData) -> None:
    alike = blobs.copy()
    alike.X = np.ones_like(alike.X)
    alike.X[0, 0] = 2
    with pytest.raises(ParameterError, match=r"only \d of \d+ nodes have cells"):
        cc.tl.flowsom(alike)
    blobs.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match=r"tl.flowsom needs arcsinh"):
        cc.tl.flowsom(blobs)


def test_ten_cells_are_enough(blobs: ad.AnnData) -> None:
    few = blobs[:10].copy()
    cc.tl.flowsom(few)
    assert few.uns["flowsom"]["grid"].tolist() == [2, 2]
    assert few.obs["flowsom"].notna().all()


def test_the_table_of_numbers_of_metaclusters_says_what_was_chosen(blobs: ad.AnnData, tmp_path: Path) -> None:
    cc.tl.flowsom(blobs)
    table = cc.tl.metacluster_table(blobs)
    assert list(table) == ["k", "area", "delta_area", "ambiguous", "modularity", "chosen"]
    assert table["k"].tolist() == list(range(2, 21))
    assert table.loc[table["chosen"], "k"].tolist() == [4]
    # four clusters far apart: no pair of nodes is in doubt, and the area hardly grows afterwards
    four = table.set_index("k").loc[4]
    assert four["ambiguous"] == 0
    assert four["delta_area"] > 0.05
    assert (table.loc[table["k"] > 4, "delta_area"] < 0.05).all()
    assert np.allclose(table["delta_area"].iloc[1:], table["area"].pct_change().iloc[1:])
    # with every pair of certain nodes the area is the share of pairs apart
    pairs = blobs.uns["flowsom"]["consensus"]
    used = blobs.uns["flowsom"]["node_cells"] > 0
    upper = np.triu_indices(used.sum(), 1)
    apart = (pairs[np.ix_(used, used)][upper] == 0).mean()
    assert four["area"] == pytest.approx(apart + (1 - apart) / 100)
    blobs.write_h5ad(tmp_path / "cells.h5ad")
    assert cc.tl.metacluster_table(ad.read_h5ad(tmp_path / "cells.h5ad")).equals(table)
    cc.tl.flowsom(blobs, metaclusters=7)
    assert cc.tl.metacluster_table(blobs).query("chosen")["k"].tolist() == [7]
    with pytest.raises(ParameterError, match="no FlowSOM result 'som'"):
        cc.tl.metacluster_table(blobs, key="som")


def test_the_form_of_training_is_written_down(
    car_cells: Callable[..., ad.AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    online, batch, auto = car_cells(0), car_cells(0), car_cells(0)
    cc.tl.flowsom(online)
    cc.tl.flowsom(batch, method="batch", n_jobs=2)
    assert (online.uns["flowsom"]["method"], batch.uns["flowsom"]["method"]) == ("online", "batch")
    monkeypatch.setattr(_som, "SAMPLE", 1000)
    cc.tl.flowsom(auto)
    assert auto.uns["flowsom"]["method"] == "batch"
    for cells in (online, batch, auto):
        assert adjusted_rand_score(cells.obs["truth"], cells.obs["flowsom"]) >= 0.9
        error = cells.obs["flowsom_distance"].astype(float).mean()
        assert cells.uns["flowsom"]["quantisation_error"] == pytest.approx(error)
    assert batch.uns["flowsom"]["quantisation_error"] < online.uns["flowsom"]["quantisation_error"]


def test_a_map_of_an_array_is_grouped_as_that_of_cells(blobs: ad.AnnData) -> None:
    cc.tl.flowsom(blobs, metaclusters=6, method="batch", seed=2)
    found = cc.tl.flowsom_map(blobs.X[:, :5], method="batch", seed=2)
    assert np.array_equal(found.codes, blobs.uns["flowsom"]["codes"])
    labels = found.metaclusters(6, seed=2)
    assert labels.tolist() == blobs.uns["flowsom"]["node_labels"].tolist()
    assert labels[found.node].astype(str).tolist() == blobs.obs["flowsom"].tolist()
    with pytest.raises(ParameterError, match=r"k is 99; .*nine tenths of the \d+ nodes"):
        found.metaclusters(99)
    with pytest.raises(ParameterError, match="linkage is 'wards'; did you mean 'ward'"):
        found.metaclusters(4, linkage="wards")
