from __future__ import annotations

from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

import cytocar as cc
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.seeds import integer_seed
from cytocar.tl._clusters import stability as _stability
from cytocar.tl._clusters.stability import _recorded, best_matches, verdict

METHODS = ["method", "what", "repeat", "n_cells", "n_clusters", "ari"]
CLUSTERS = ["method", "cluster", "n", "jaccard", "jaccard_low", "dissolved", "verdict"]
FREQUENCIES = ["sample_id", "method", "cluster", "n", "fraction", "low_stability", "high_stability"]


@pytest.fixture
def clustered(blobs: ad.AnnData) -> ad.AnnData:
    # with k = 15 a cluster of 72 cells is now and then found in two halves
    cc.tl.phenograph(blobs, k=28)
    cc.tl.flowsom(blobs, metaclusters=4)
    return blobs


@pytest.mark.parametrize("key", ["phenograph", "flowsom"])
def test_clusters_far_apart_are_stable(clustered: ad.AnnData, key: str) -> None:
    before = clustered.copy()
    found = cc.tl.stability(clustered, key, n_seeds=2, n_resamples=4)
    assert list(found.methods.columns) == METHODS
    assert list(found.clusters.columns) == CLUSTERS
    assert list(found.frequencies.columns) == FREQUENCIES
    assert found.methods["what"].tolist() == ["seed"] * 2 + ["resample"] * 4
    assert found.methods["repeat"].tolist() == [1, 2, 1, 2, 3, 4]
    assert found.methods["n_cells"].tolist() == [240] * 2 + [192] * 4
    assert (found.methods["ari"] == 1).all()
    assert found.clusters["n"].tolist() == [90, 66, 48, 36]
    assert (found.clusters["verdict"] == "stable").all()
    assert (found.clusters["dissolved"] == 0).all()
    # with the same clusters found again a share does not move, though cells were left out
    assert found.frequencies["low_stability"].to_numpy() == pytest.approx(found.frequencies["fraction"])
    assert found.frequencies["high_stability"].to_numpy() == pytest.approx(found.frequencies["fraction"])
    pd.testing.assert_frame_equal(clustered.obs, before.obs)
    assert np.array_equal(clustered.X, before.X)
    assert set(clustered.uns) == set(before.uns)


def test_a_cluster_cut_at_random_is_dissolved(clustered: ad.AnnData) -> None:
    labels = clustered.obs["phenograph"].astype(str).to_numpy(object)
    largest = np.flatnonzero(labels == "1")
    labels[largest] = np.random.default_rng(0).choice(["1", "7", "8"], len(largest))
    clustered.obs["phenograph"] = pd.Categorical(labels)
    table = cc.tl.stability(clustered, n_seeds=1, n_resamples=5).clusters.set_index("cluster")
    assert (table.loc[["1", "7", "8"], "verdict"] == "dissolved").all()
    assert (table.loc[["1", "7", "8"], "dissolved"] == 1).all()
    assert (table.loc[["2", "3", "4"], "jaccard"] == 1).all()


def test_each_number_is_the_one_counted_by_hand(
    clustered: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def scrambled(function, x, names, settings, seed):
        generator = np.random.default_rng(seed)
        cells = np.array([np.flatnonzero((everything == row).all(axis=1))[0] for row in x])
        new = own[cells].copy()
        # a third of each cluster goes elsewhere, some of it nowhere
        moved = generator.random(len(new)) < 0.3
        new[moved] = generator.choice(["1", "2", "9", "-1"], moved.sum())
        seen.append((cells, new))
        return new

    everything = cc.get.matrix(clustered, ["CD3", "CD4", "CD8", "PD-1", "Ki67"])
    own = clustered.obs["phenograph"].astype(str).to_numpy(object).astype(str)
    # the module as the function sees it
    monkeypatch.setitem(cc.tl.stability.__globals__, "_run_again", scrambled)
    found = cc.tl.stability(clustered, n_seeds=1, n_resamples=6)

    aris = [adjusted_rand_score(own[cells], new) for cells, new in seen]
    assert found.methods["ari"].to_numpy() == pytest.approx(aris)
    assert found.methods["n_clusters"].tolist() == [len(set(new) - {"-1"}) for _, new in seen]
    samples = clustered.obs["sample_id"].to_numpy()
    shares = found.frequencies.set_index(["sample_id", "cluster"])
    for row in found.clusters.itertuples():
        jaccards, shifts = [], {"s1": [], "s2": []}
        for cells, new in seen[1:]:
            mine = {int(i) for i in cells[own[cells] == row.cluster]}
            sets = {d: {int(i) for i in cells[new == d]} for d in set(new) - {"-1"}}
            scores = {d: len(mine & members) / len(mine | members) for d, members in sets.items()}
            best = max(sorted(scores), key=lambda d: scores[d])
            jaccards.append(scores[best])
            for sample, values in shifts.items():
                inside = [int(i) for i in cells if samples[i] == sample]
                again = sum(i in sets[best] for i in inside) / len(inside)
                values.append(again - sum(i in mine for i in inside) / len(inside))
        assert row.jaccard == pytest.approx(np.mean(jaccards))
        assert row.jaccard_low == pytest.approx(np.quantile(jaccards, 0.1))
        assert row.dissolved == pytest.approx(np.mean(np.array(jaccards) <= 0.5))
        for sample, values in shifts.items():
            line = shares.loc[(sample, row.cluster)]
            low, high = np.quantile(values, [0.05, 0.95])
            assert line["low_stability"] == pytest.approx(max(0, line["fraction"] + min(low, 0)))
            assert line["high_stability"] == pytest.approx(min(1, line["fraction"] + max(high, 0)))


def test_resamples_are_drawn_without_replacement_and_differ() -> None:
    plan = _stability._plan(1000, 2, 3, 0.8, 20_000, 0)
    resamples = [repeat.cells for repeat in plan if repeat.what == "resample"]
    assert [len(set(cells.tolist())) for cells in resamples] == [800] * 3
    assert not np.array_equal(resamples[0], resamples[1])
    assert len({repeat.seed for repeat in plan}) == 5
    # how many repeats there are changes none of them
    longer = _stability._plan(1000, 4, 9, 0.8, 20_000, 0)
    assert np.array_equal([r.cells for r in longer if r.what == "resample"][2], resamples[2])
    # with many cells all repeats are on one draw
    few = _stability._plan(1000, 1, 1, 0.8, 500, 0)
    assert len(few[0].cells) == 500
    assert len(few[1].cells) == 400
    assert set(few[1].cells.tolist()) < set(few[0].cells.tolist())


def test_the_same_seed_gives_the_same_tables_whatever_the_threads(
    car_cells: Callable[..., ad.AnnData],
) -> None:
    cells = car_cells()[::3].copy()
    cc.tl.phenograph(cells)
    one = cc.tl.stability(cells, n_seeds=1, n_resamples=3)
    two = cc.tl.stability(cells, n_seeds=1, n_resamples=3, n_jobs=2)
    for a, b in zip(one, two, strict=True):
        pd.testing.assert_frame_equal(a, b)
    other = cc.tl.stability(cells, n_seeds=1, n_resamples=3, seed=1)
    assert not other.methods["ari"].equals(one.methods["ari"])
    # shares of these cells are uncertain, and the interval holds the share found
    width = one.frequencies["high_stability"] - one.frequencies["low_stability"]
    assert (width >= 0).all()
    assert width.max() > 0.005
    assert (
        one.frequencies["fraction"]
        .between(one.frequencies["low_stability"] - 1e-12, one.frequencies["high_stability"] + 1e-12)
        .all()
    )


def test_true_cell_types_are_stable_and_pieces_of_one_are_not(car_cells: Callable[..., ad.AnnData]) -> None:
    cells = car_cells()[::2].copy()
    cc.tl.phenograph(cells)
    coarse = cc.tl.stability(cells, n_seeds=0, n_resamples=5).clusters["jaccard"].mean()
    cc.tl.phenograph(cells, resolution=6.0, key_added="fine")
    fine = cc.tl.stability(cells, "fine", n_seeds=0, n_resamples=5).clusters["jaccard"].mean()
    assert coarse > 0.75
    assert fine < coarse - 0.15


def test_the_settings_of_a_result_are_those_it_runs_with_again(blobs: ad.AnnData) -> None:
    cc.tl.phenograph(blobs, k=11, resolution=1.5, min_size=7, n_runs=3)
    settings = _recorded(blobs.uns["phenograph"], cc.tl.phenograph)
    assert settings.items() >= {"k": 11, "resolution": 1.5, "min_size": 7, "n_runs": 3}.items()
    cc.tl.flowsom(blobs, grid=(6, 5), linkage="ward", rlen=12)
    settings = _recorded(blobs.uns["flowsom"], cc.tl.flowsom)
    assert settings.items() >= {"grid": (6, 5), "linkage": "ward", "rlen": 12, "metaclusters": "auto"}.items()
    cc.tl.flowsom(blobs, metaclusters=3)
    assert _recorded(blobs.uns["flowsom"], cc.tl.flowsom)["metaclusters"] == 3


def test_it_runs_from_a_file_that_was_written_and_read(clustered: ad.AnnData, tmp_path) -> None:
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    for key in ("phenograph", "flowsom"):
        a = cc.tl.stability(clustered, key, n_seeds=1, n_resamples=2)
        b = cc.tl.stability(again, key, n_seeds=1, n_resamples=2)
        pd.testing.assert_frame_equal(a.clusters, b.clusters, check_dtype=False)


def test_cells_without_a_cluster_are_no_cluster(clustered: ad.AnnData) -> None:
    labels = clustered.obs["phenograph"].astype(str).to_numpy(object)
    labels[:5], labels[5:9] = "", "-1"
    clustered.obs["phenograph"] = pd.Categorical(labels)
    found = cc.tl.stability(clustered, n_seeds=1, n_resamples=1)
    assert found.clusters["cluster"].tolist() == ["1", "2", "3", "4"]
    assert found.methods["n_cells"].tolist() == [235, 188]
    assert not set(found.frequencies["cluster"]) & {"", "-1"}


def test_without_samples_the_frequencies_are_those_of_all_cells(clustered: ad.AnnData) -> None:
    del clustered.obs["sample_id"]
    found = cc.tl.stability(clustered, n_seeds=1, n_resamples=1)
    assert found.frequencies["sample_id"].unique().tolist() == ["all"]
    assert found.frequencies["fraction"].sum() == pytest.approx(1)
    with pytest.raises(ParameterError, match="obs has no column 'tube'"):
        cc.tl.stability(clustered, sample_key="tube")


def test_without_resamples_nothing_is_said_of_clusters(clustered: ad.AnnData) -> None:
    found = cc.tl.stability(clustered, n_seeds=1, n_resamples=0)
    assert found.clusters["jaccard"].isna().all()
    assert (found.clusters["verdict"] == "not known").all()
    assert found.frequencies["low_stability"].isna().all()


def test_matches_are_by_jaccard_and_not_by_size() -> None:
    # most of A's cells are in the first column, but that one is mostly B
    table = np.array([[10, 8], [90, 0]])
    jaccard, column = best_matches(table, np.array([True, True]))
    assert column.tolist() == [1, 0]
    assert jaccard == pytest.approx([8 / 18, 90 / 100])
    assert best_matches(table, np.array([True, False]))[0] == pytest.approx([10 / 108, 0.9])


@pytest.mark.parametrize(
    ("value", "word"), [(1, "stable"), (0.7499, "uncertain"), (0.5, "uncertain"), (0.4999, "dissolved")]
)
def test_the_verdict_has_the_published_limits(value: float, word: str) -> None:
    assert verdict(value) == word


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_seeds": -1}, "n_seeds is -1"),
        ({"n_seeds": 0, "n_resamples": 0}, "n_resamples is 0; it must be a whole number of at least 1"),
        ({"share": 0.3}, "share is 0.3; it must be a number from 0.5 to 1"),
        ({"max_cells": 50}, "max_cells is 50"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"seed": -1}, "seed is -1"),
        (
            {"key": "flowsam"},
            "no clustering 'flowsam' with its settings in these data; did you mean 'flowsom'",
        ),
        ({"key": "truth"}, "no clustering 'truth' with its settings"),
    ],
)
def test_what_it_cannot_use_is_refused(
    clustered: ad.AnnData, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        cc.tl.stability(clustered, **arguments)


def test_counts_and_cells_never_clustered_are_refused(blobs: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match=r"run cytocar\.tl\.phenograph, flowsom or leiden first"):
        cc.tl.stability(blobs)
    blobs.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match=r"tl\.stability needs arcsinh"):
        cc.tl.stability(blobs)


def test_resamples_whose_nodes_carry_fewer_clusters_take_as_many_as_they_carry(blobs: ad.AnnData) -> None:
    few = blobs[:100].copy()
    cc.tl.flowsom(few)
    most = int(0.9 * (few.uns["flowsom"]["node_cells"] > 0).sum())
    cc.tl.flowsom(few, metaclusters=most)
    found = cc.tl.stability(few, "flowsom", n_seeds=2, n_resamples=4, share=0.5).methods
    resampled = found[found["what"] == "resample"]["n_clusters"]
    assert (resampled < most).all()
    assert (resampled >= 2).all()


@pytest.mark.parametrize("number", [4, 22])
def test_a_number_of_metaclusters_that_was_given_is_given_again(blobs: ad.AnnData, number: int) -> None:
    cc.tl.flowsom(blobs, metaclusters=number)
    found = cc.tl.stability(blobs, "flowsom", n_seeds=2, n_resamples=0).methods
    assert found["n_clusters"].tolist() == [number, number]
    again = blobs.copy()
    # the first repeat from another seed is what flowsom gives from that seed
    cc.tl.flowsom(again, metaclusters=number, seed=integer_seed(0, "stability", "seed", "0"))
    assert found["ari"][0] == pytest.approx(adjusted_rand_score(blobs.obs["flowsom"], again.obs["flowsom"]))


def test_too_few_cells_for_a_resample_are_named(blobs: ad.AnnData) -> None:
    few = blobs[:12].copy()
    cc.tl.phenograph(few, min_size=1)
    with pytest.raises(
        ParameterError, match=r"share is 0.8, which leaves 9 of 12 cells in a resample; at least 10"
    ):
        cc.tl.stability(few)
    assert len(cc.tl.stability(few, n_seeds=1, n_resamples=0).methods) == 1
    assert cc.tl.stability(few, n_seeds=0, n_resamples=1, share=np.float32(1)).methods[
        "n_cells"
    ].tolist() == [12]
