"""Leiden on the graph of shared neighbours, compared with igraph called directly and with networkx."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable

import anndata as ad
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

import cytocar as cc
from cytocar._core.errors import CytocarError, ParameterError, StateError


def hard_cells(n: int = 500) -> ad.AnnData:
    """Return cells without clear clusters, so that another seed gives other labels."""
    x = np.random.default_rng(1).normal(size=(n, 4)).astype("float32")
    var = pd.DataFrame({"used_for_clustering": True}, index=["CD3", "CD4", "CD8", "Ki67"])
    cells = ad.AnnData(x, obs=pd.DataFrame(index=[f"c{i}" for i in range(n)]), var=var)
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells


def labels(cells: ad.AnnData, **settings: object) -> list[str]:
    found = cc.tl.leiden(cells, copy=True, **settings)
    return [str(label) for label in found.obs["leiden"]]


def test_clusters_are_found_and_named_by_size(blobs: ad.AnnData) -> None:
    cc.tl.leiden(blobs)
    assert adjusted_rand_score(blobs.obs["truth"], blobs.obs["leiden"]) == 1
    assert blobs.obs["leiden"].value_counts().to_dict() == {"1": 90, "2": 66, "3": 48, "4": 36}
    assert list(blobs.obs["leiden"].cat.categories) == ["1", "2", "3", "4"]
    assert blobs.uns["leiden_colors"] == ["#CC6677", "#332288", "#DDCC77", "#117733"]


def test_simulated_clusters_are_found(car_cells: Callable[..., ad.AnnData]) -> None:
    cells = car_cells()
    cc.tl.leiden(cells)
    assert adjusted_rand_score(cells.obs["truth"], cells.obs["leiden"]) > 0.9


def test_the_result_is_written_down(blobs: ad.AnnData) -> None:
    cc.tl.leiden(blobs, k=15, resolution=0.8, min_size=5, n_iterations=3, seed=4)
    kept = dict(blobs.uns["leiden"])
    quality = kept.pop("modularity")
    assert kept == {
        "k": 15,
        "resolution": 0.8,
        "n_clusters": 4,
        "min_size": 5,
        "n_iterations": 3,
        "neighbours": "exact",
        "recall": 1.0,
        "seed": 4,
        "markers": json.dumps(["CD3", "CD4", "CD8", "PD-1", "Ki67"]),
    }
    graph = nx.from_scipy_sparse_array(blobs.obsp["connectivities"])
    groups = [set(np.flatnonzero(blobs.obs["leiden"] == name)) for name in ("1", "2", "3", "4")]
    assert quality == pytest.approx(nx.community.modularity(graph, groups, resolution=0.8), abs=1e-6)
    assert blobs.uns["neighbors"]["params"]["n_neighbors"] == 16
    assert blobs.obsp["distances"].shape == (240, 240)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_quality_is_that_of_phenograph(seed: int) -> None:
    cells = hard_cells()
    cc.tl.leiden(cells, seed=seed)
    cc.tl.phenograph(cells, seed=seed)
    assert cells.uns["leiden"]["modularity"] > 0.99 * cells.uns["phenograph"]["modularity"]


def test_the_seed_decides_and_no_other_random_numbers_change() -> None:
    import igraph

    cells = hard_cells()
    random.seed(5)
    np.random.seed(5)  # the state that must stay
    expected = random.random(), np.random.random()
    igraph.set_random_number_generator(random)
    random.seed(5)
    np.random.seed(5)
    first = labels(cells, seed=1)
    assert (random.random(), np.random.random()) == expected
    random.seed(99)
    assert labels(cells, seed=1) == first
    assert labels(cells, seed=1, n_jobs=2) == first
    assert any(labels(cells, seed=other) != first for other in (2, 3, 4))


def test_threads_side_by_side_change_nothing() -> None:
    from concurrent.futures import ThreadPoolExecutor

    cells = hard_cells()
    alone = [labels(cells, seed=seed, neighbors_key=None) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda seed: labels(cells, seed=seed, neighbors_key=None), range(6)))
    assert together == alone


def test_its_stability_is_that_of_the_same_method(blobs: ad.AnnData) -> None:
    cc.tl.leiden(blobs)
    one = cc.tl.stability(blobs, "leiden", n_seeds=2, n_resamples=3)
    two = cc.tl.stability(blobs, "leiden", n_seeds=2, n_resamples=3, n_jobs=2)
    assert one.methods["ari"].min() > 0.8
    assert set(one.methods["method"]) == {"leiden"}
    pd.testing.assert_frame_equal(one.methods, two.methods)


def test_small_clusters_are_no_clusters(blobs: ad.AnnData) -> None:
    cc.tl.leiden(blobs, min_size=40)
    assert blobs.obs["leiden"].value_counts().to_dict() == {"1": 90, "2": 66, "3": 48, "-1": 36}
    assert blobs.uns["leiden"]["n_clusters"] == 3
    assert blobs.uns["leiden_colors"][-1] == "#B8B8B8"


def test_without_igraph_the_message_says_so(blobs: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(CytocarError, match="Leiden needs the package igraph") as caught:
        cc.tl.leiden(blobs)
    assert "pip install igraph" in str(caught.value)
    assert "leiden" not in blobs.obs
    cc.tl.phenograph(blobs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 1}, "k is 1"),
        ({"k": 121}, "k is 121"),
        ({"resolution": 0}, "resolution is 0"),
        ({"min_size": 0}, "min_size is 0"),
        ({"n_iterations": 0}, "n_iterations is 0"),
        ({"neighbors_key": "leiden"}, "neighbors_key is 'leiden'"),
    ],
)
def test_arguments_outside_their_domain(blobs: ad.AnnData, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        cc.tl.leiden(blobs, **settings)


def test_counts_are_refused(blobs: ad.AnnData) -> None:
    blobs.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError):
        cc.tl.leiden(blobs)
