from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

import cytocar as cc
from cytocar._core.errors import ParameterError, StateError

PROFILE = ["method", "cluster", "marker", "median", "scaled", "fraction_positive", "subset"]
FREQUENCY = ["sample_id", "method", "cluster", "n", "fraction", "low", "high"]


@pytest.fixture
def clustered() -> ad.AnnData:
    """Return 12 cells in clusters 1 (6 cells, CD8), 2 (4, CD4), 3 (1, DN) and -1 (1 cell)."""
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 5, (12, 3)).astype("float32")
    var = pd.DataFrame({"role": ["marker", "marker", "dna"]}, index=["CD4", "PD-1", "DNA1"])
    cells = ad.AnnData(x, var=var)
    labels = ["1"] * 6 + ["2"] * 4 + ["3"] + ["-1"]
    cells.obs["flowsom"] = pd.Categorical(labels, categories=["1", "2", "3", "-1"])
    cells.obs["subset"] = pd.Categorical(["CD8"] * 5 + ["DN"] + ["CD4"] * 3 + [""] + ["DN"] + [""])
    cells.obs["sample_id"] = ["a"] * 8 + ["b"] * 4
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells


def test_profiles_are_those_counted_cell_by_cell(clustered: ad.AnnData) -> None:
    table = cc.tl.cluster_profiles(clustered, "flowsom", thresholds={"pd1": 2.5})
    assert list(table.columns) == PROFILE
    assert len(table) == 8
    assert set(table["method"]) == {"flowsom"}
    frame = clustered.to_df()
    for row in table.itertuples():
        values = frame.loc[(clustered.obs["flowsom"] == row.cluster).to_numpy(), row.marker].to_numpy()
        threshold = 2.5 if row.marker == "PD-1" else 1.0
        assert row.median == pytest.approx(np.median(values))
        assert row.fraction_positive == pytest.approx(sum(v >= threshold for v in values) / len(values))
        low, high = np.quantile(frame[row.marker].to_numpy(), [0.01, 0.99])
        assert row.scaled == pytest.approx(min(max((np.median(values) - low) / (high - low), 0), 1), abs=1e-6)


def test_clusters_come_by_subset_and_then_by_size(clustered: ad.AnnData) -> None:
    table = cc.tl.cluster_profiles(clustered, "flowsom").drop_duplicates("cluster")
    assert table["cluster"].tolist() == ["2", "1", "3", "-1"]
    assert table["subset"].tolist() == ["CD4", "CD8", "DN", ""]


def test_ten_clusters_are_not_sorted_as_text() -> None:
    cells = ad.AnnData(np.zeros((11, 1), "float32"), var=pd.DataFrame(index=["CD4"]))
    cells.uns["cytocar"] = {"state": "arcsinh"}
    cells.obs["groups"] = [str(i) for i in range(1, 12)]
    assert cc.tl.cluster_profiles(cells, "groups")["cluster"].tolist() == [str(i) for i in range(1, 12)]


def test_a_marker_that_is_the_same_everywhere_scales_to_zero(clustered: ad.AnnData) -> None:
    clustered.X[:, 0] = 3
    table = cc.tl.cluster_profiles(clustered, "flowsom")
    flat = table[table["marker"] == "CD4"]
    assert (flat["scaled"] == 0).all()
    assert (flat["fraction_positive"] == 1).all()


def test_without_subsets_there_is_none(clustered: ad.AnnData) -> None:
    del clustered.obs["subset"]
    assert (cc.tl.cluster_profiles(clustered, "flowsom")["subset"] == "").all()
    clustered.obs["subset"] = ""
    assert (cc.tl.cluster_profiles(clustered, "flowsom")["subset"] == "").all()


def test_a_value_at_the_threshold_is_positive(clustered: ad.AnnData) -> None:
    clustered.X[:6, 1] = 2.5
    table = cc.tl.cluster_profiles(clustered, "flowsom", thresholds={"PD-1": 2.5})
    assert table.query("cluster == '1' and marker == 'PD-1'")["fraction_positive"].item() == 1


def test_what_profiles_cannot_use_is_refused(clustered: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match="obs has no column 'flowsam'; did you mean 'flowsom'"):
        cc.tl.cluster_profiles(clustered, "flowsam")
    with pytest.raises(ParameterError, match="CD44"):
        cc.tl.cluster_profiles(clustered, "flowsom", thresholds={"CD44": 1})
    with pytest.raises(ParameterError, match="'DNA1', which is not an antibody channel"):
        cc.tl.cluster_profiles(clustered, "flowsom", thresholds={"DNA1": 1})
    with pytest.raises(ParameterError, match="threshold of 'CD4' is nan"):
        cc.tl.cluster_profiles(clustered, "flowsom", thresholds={"CD4": float("nan")})
    clustered.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match="cluster_profiles needs arcsinh"):
        cc.tl.cluster_profiles(clustered, "flowsom")


def test_frequencies_have_their_exact_interval(clustered: ad.AnnData) -> None:
    table = cc.tl.cluster_frequencies(clustered, "flowsom")
    assert list(table.columns) == FREQUENCY
    assert table["sample_id"].tolist() == ["a"] * 4 + ["b"] * 4
    assert table["cluster"].tolist() == ["1", "2", "3", "-1"] * 2
    assert table["n"].tolist() == [6, 2, 0, 0, 0, 2, 1, 1]
    assert table.groupby("sample_id")["fraction"].sum().tolist() == [1, 1]
    for row in table.itertuples():
        total = 8 if row.sample_id == "a" else 4
        interval = binomtest(row.n, total).proportion_ci(0.95, method="exact")
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))


def test_samples_stay_in_their_order_and_cells_without_a_label_do_not_count(clustered: ad.AnnData) -> None:
    clustered.obs["sample_id"] = pd.Categorical(clustered.obs["sample_id"], categories=["b", "c", "a"])
    clustered.obs["flowsom"] = clustered.obs["flowsom"].where(clustered.obs["flowsom"] != "-1")
    table = cc.tl.cluster_frequencies(clustered, "flowsom")
    assert table["sample_id"].drop_duplicates().tolist() == ["b", "a"]
    assert table.groupby("sample_id", sort=False)["n"].sum().tolist() == [3, 8]
    assert table.groupby("sample_id", sort=False)["fraction"].sum().tolist() == [1, 1]


def test_frequencies_need_their_columns(clustered: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match="obs has no column 'patient'"):
        cc.tl.cluster_frequencies(clustered, "flowsom", sample_key="patient")
    clustered.obs["empty"] = np.nan
    with pytest.raises(ParameterError, match=r"obs\['empty'\] has no value in any of the 12 cells"):
        cc.tl.cluster_frequencies(clustered, "empty")


def test_nothing_is_changed(clustered: ad.AnnData) -> None:
    before = clustered.copy()
    cc.tl.cluster_profiles(clustered, "flowsom")
    cc.tl.cluster_frequencies(clustered, "flowsom")
    assert np.array_equal(clustered.X, before.X)
    pd.testing.assert_frame_equal(clustered.obs, before.obs)
    assert clustered.uns == before.uns
