from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import cytocar as cc
from cytocar._core.errors import ParameterError, StateError

COLUMNS = ["method", "cluster", "n", "description", "name", "made_for"]
LIMITS = {"CD4": 2.5, "CD8a": 3.4, "CCR7": 1.5, "CD27": 1.9, "GZMB": 2.0, "CD45RA": 2.6}


@pytest.fixture
def clustered() -> ad.AnnData:
    """Return 400 cells: CD4 CCR7+, CD4 CCR7-, CD8 and eight cells in no cluster; PD-1 tells nothing apart."""
    generator = np.random.default_rng(0)
    means = np.repeat([[5, 0.3, 4, 2], [5, 0.3, 0.3, 2], [0.3, 5, 0.3, 2]], [150, 130, 120], axis=0)
    x = np.clip(means + generator.normal(0, 0.3, means.shape), 0, None).astype("float32")
    cells = ad.AnnData(x, var=pd.DataFrame(index=["CD4", "CD8a", "CCR7", "PD-1"]))
    labels = np.repeat(["1", "2", "3"], [150, 130, 120]).astype(object)
    labels[-8:] = "-1"
    cells.obs["flowsom"] = pd.Categorical(labels, ["1", "2", "3", "-1"])
    cells.obs["sample_id"] = "s"
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells


def test_subset_first_then_what_tells_a_cluster_from_the_rest(clustered: ad.AnnData) -> None:
    table = cc.tl.describe_clusters(clustered, "flowsom")
    assert list(table.columns) == COLUMNS
    assert table["description"].tolist() == ["CD4 CCR7+", "CD4 CCR7-", "CD8 CCR7-"]
    assert table["name"].tolist() == table["cluster"].tolist()
    assert table["cluster"].tolist() == ["1", "2", "3"]
    assert table["n"].tolist() == [150, 130, 112]
    assert table["made_for"].nunique() == 1
    # the subset that the gates found is taken as it is
    clustered.obs["subset"] = "DN"
    assert cc.tl.describe_clusters(clustered, "flowsom")["description"].str.startswith("DN").all()


def test_a_stated_threshold_decides_what_is_positive(clustered: ad.AnnData) -> None:
    table = cc.tl.describe_clusters(clustered, "flowsom", thresholds={"ccr7": 6, "cd4": 2, "CD8a": 2})
    # nobody is above 6, so CCR7 parts clusters 1 and 2 by its level only
    assert table["description"].tolist()[:2] == ["CD4 CCR7hi", "CD4 CCR7lo"]


def test_a_cluster_of_two_subsets_is_called_mixed(clustered: ad.AnnData) -> None:
    clustered.obs["subset"] = np.where(np.arange(400) % 5 < 3, "CD8", "CD4")
    table = cc.tl.describe_clusters(clustered, "flowsom")
    assert table["description"].str.startswith("CD8/CD4 mixed").all()
    del clustered.obs["subset"]
    clustered.obs["flowsom"] = pd.Categorical(np.where(np.arange(400) % 2 == 0, "1", "2"))
    assert cc.tl.describe_clusters(clustered, "flowsom")["description"].str.startswith("mixed").all()


def test_no_two_descriptions_are_the_same_even_of_the_same_cells(clustered: ad.AnnData) -> None:
    clustered.X[:] = clustered.X[0]
    found = cc.tl.describe_clusters(clustered, "flowsom")["description"]
    assert found.is_unique
    assert found.str.contains(r"\([123]\)").any()


def test_a_marker_without_two_groups_is_high_or_low(clustered: ad.AnnData) -> None:
    generator = np.random.default_rng(1)
    clustered.X[:, 2] = np.clip(generator.normal(np.repeat([2.6, 1.4, 2], [150, 130, 120]), 0.6), 0, None)
    words = cc.tl.describe_clusters(clustered, "flowsom")["description"].tolist()
    assert words[:2] == ["CD4 CCR7hi", "CD4 CCR7lo"]


def test_descriptions_of_simulated_cells_say_what_was_simulated(car_cells: Callable[..., ad.AnnData]) -> None:
    cells = car_cells()
    table = cc.tl.describe_clusters(cells, "truth", thresholds=LIMITS).set_index("cluster")["description"]
    assert table.is_unique
    for cluster, rows in cells.obs.groupby("truth", observed=True):
        assert table[cluster].startswith(rows["subset"].astype(str).mode()[0])
    frame = cells.to_df()
    for cluster, text in table.items():
        inside = frame[(cells.obs["truth"] == cluster).to_numpy()]
        for marker, side in re.findall(r"(\S+?)([+-])(?= |$)", text):
            positive = (inside[marker] >= LIMITS[marker]).mean() if marker in LIMITS else np.nan
            if marker in LIMITS:
                assert positive >= 0.75 if side == "+" else positive <= 0.25, (cluster, text)
        assert len(text.split()) <= 6


def test_descriptions_do_not_hang_on_a_few_cells(car_cells: Callable[..., ad.AnnData]) -> None:
    cells = car_cells()
    whole = cc.tl.describe_clusters(cells, "truth", thresholds=LIMITS)["description"]
    draws = np.random.default_rng(0)
    same = []
    for _ in range(5):
        part = cells[np.sort(draws.choice(cells.n_obs, int(0.95 * cells.n_obs), replace=False))].copy()
        again = cc.tl.describe_clusters(part, "truth", thresholds=LIMITS)["description"]
        same.append(np.mean([set(a.split()) == set(b.split()) for a, b in zip(whole, again, strict=True)]))
    assert np.mean(same) > 0.7


def test_clusters_of_one_name_become_one(clustered: ad.AnnData, tmp_path: Path) -> None:
    table = cc.tl.describe_clusters(clustered, "flowsom")
    table.loc[table["cluster"].isin(["1", "3"]), "name"] = " early "
    before = clustered.copy()
    result = cc.tl.rename_clusters(clustered, table, key="flowsom", key_added="named", copy=True)
    assert "named" not in clustered.obs
    assert list(result.obs["named"].cat.categories) == ["early", "2", "-1"]
    counts = result.obs["named"].value_counts().to_dict()
    assert counts == {"early": 150 + 112, "2": 130, "-1": 8}
    pd.testing.assert_series_equal(result.obs["flowsom"], before.obs["flowsom"])
    result.write_h5ad(tmp_path / "cells.h5ad")
    assert ad.read_h5ad(tmp_path / "cells.h5ad").obs["named"].tolist() == result.obs["named"].tolist()
    cc.tl.rename_clusters(clustered, table, key="flowsom")
    assert clustered.obs["flowsom_names"].tolist() == result.obs["named"].tolist()


def test_a_table_is_read_as_a_spreadsheet_leaves_it(clustered: ad.AnnData, tmp_path: Path) -> None:
    table = cc.tl.describe_clusters(clustered, "flowsom")
    table["name"] = ["naïf", "mémoire", "naïf"]
    path = tmp_path / "names.csv"
    path.write_bytes(table.to_csv(index=False, sep=";", lineterminator="\r\n").encode("utf-8-sig"))
    cc.tl.rename_clusters(clustered, path, key="flowsom")
    assert list(clustered.obs["flowsom_names"].cat.categories) == ["naïf", "mémoire", "-1"]


def test_a_table_of_another_clustering_is_refused(clustered: ad.AnnData) -> None:
    table = cc.tl.describe_clusters(clustered, "flowsom")
    labels = clustered.obs["flowsom"].astype(str).to_numpy(object)
    labels[0] = "2"
    clustered.obs["flowsom"] = pd.Categorical(labels)
    with pytest.raises(ParameterError, match=f"made for another clustering .{table['made_for'].iloc[0]};"):
        cc.tl.rename_clusters(clustered, table, key="flowsom")
    assert "flowsom_names" not in clustered.obs
    # who knows that it fits says so
    cc.tl.rename_clusters(clustered, table.assign(made_for=""), key="flowsom")


def test_everything_wrong_with_a_table_is_reported_at_once(clustered: ad.AnnData, tmp_path: Path) -> None:
    table = pd.DataFrame({"cluster": ["1", "1", "7"], "name": ["a", "", "b"]})
    with pytest.raises(ParameterError) as caught:
        cc.tl.rename_clusters(clustered, table, key="flowsom")
    assert [(problem.where, problem.what, problem.fix) for problem in caught.value.problems] == [
        ("the table", "cluster 1 is named more than once", "give each one row"),
        ("the table", "cluster 7 is not among these cells", "they have 1, 2, 3, -1"),
        ("the table", "there is no row for cluster 2, 3", "give each a name, the old one if it stays"),
        ("the table", "cluster 1 has no name", "write one"),
    ]
    with pytest.raises(ParameterError, match="no column 'name'"):
        cc.tl.rename_clusters(clustered, table.rename(columns={"name": "nom"}), key="flowsom")
    with pytest.raises(ParameterError, match="no rows of method 'flowsom'; known: phenograph"):
        cc.tl.rename_clusters(clustered, table.assign(method="phenograph"), key="flowsom")
    with pytest.raises(ParameterError, match=r"nowhere\.csv: there is no such file"):
        cc.tl.rename_clusters(clustered, tmp_path / "nowhere.csv", key="flowsom")
    (tmp_path / "a.csv").write_text("cluster,nom\n1,a\n", encoding="utf-8")
    with pytest.raises(ParameterError, match=r"a\.csv: there is no column 'name'"):
        cc.tl.rename_clusters(clustered, tmp_path / "a.csv", key="flowsom")


def test_what_cannot_be_described_is_refused(clustered: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match="obs has no column 'flowsam'"):
        cc.tl.describe_clusters(clustered, "flowsam")
    with pytest.raises(ParameterError, match="CD44"):
        cc.tl.describe_clusters(clustered, "flowsom", thresholds={"CD44": 1})
    with pytest.raises(ParameterError, match="threshold of 'CD4' is inf"):
        cc.tl.describe_clusters(clustered, "flowsom", thresholds={"CD4": float("inf")})
    clustered.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match=r"tl\.describe_clusters needs arcsinh"):
        cc.tl.describe_clusters(clustered, "flowsom")


def test_where_no_cell_is_in_a_cluster_there_is_nothing_to_describe(clustered: ad.AnnData) -> None:
    clustered.obs["flowsom"] = pd.Categorical(["-1"] * 400)
    table = cc.tl.describe_clusters(clustered, "flowsom")
    assert (list(table), len(table)) == (COLUMNS, 0)
    cc.tl.rename_clusters(clustered, table, key="flowsom")
    assert clustered.obs["flowsom_names"].unique().tolist() == ["-1"]


def test_a_cluster_without_words_is_called_by_its_label(clustered: ad.AnnData) -> None:
    one = clustered[:150, ["PD-1"]].copy()
    one.obs["flowsom"] = pd.Categorical(["1"] * 150)
    assert cc.tl.describe_clusters(one, "flowsom")["description"].tolist() == ["cluster 1"]


def test_values_and_thresholds_that_are_no_numbers_are_named(clustered: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match="the threshold of 'CD4' is '2'; it must be a finite number"):
        cc.tl.describe_clusters(clustered, "flowsom", thresholds={"CD4": "2"})
    with pytest.raises(ParameterError, match="the threshold of 'CD4' is '2'; it must be a finite number"):
        cc.tl.cluster_profiles(clustered, "flowsom", thresholds={"CD4": "2"})
    # what is in no cluster is not described
    clustered.X[-1, 2] = np.nan
    assert len(cc.tl.describe_clusters(clustered, "flowsom")) == 3
    clustered.X[5, 2] = np.nan
    with pytest.raises(
        ParameterError, match=r"describe_clusters: 1 of 392 cells have values .* in CCR7; remove"
    ):
        cc.tl.describe_clusters(clustered, "flowsom")


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"cluster": [1.0, 2.0, 3.0, np.nan], "name": ["a", "b", "a", None]}),
        pd.DataFrame({"cluster": [" 1", "2 ", "3"], "name": [" a ", "b", "a"]}),
        pd.DataFrame({"cluster": [1, 2, 3], "name": ["a", "b", "a"]}).astype("category"),
        pd.DataFrame(
            {"cluster": [1, 2, 3], "name": ["a", "b", "a"], "method": "flowsom", "made_for": np.nan}
        ),
        "cluster;name\n1.0;a\n2.0;b\n3.0;a\n;\n",
    ],
    ids=["floats", "spaces", "categories", "emptied", "file"],
)
def test_tables_are_read_as_programs_give_them_back(
    clustered: ad.AnnData, table: pd.DataFrame | str, tmp_path: Path
) -> None:
    if isinstance(table, str):
        (tmp_path / "names.csv").write_text(table)
        cc.tl.rename_clusters(clustered, tmp_path / "names.csv", key="flowsom")
    else:
        cc.tl.rename_clusters(clustered, table, key="flowsom")
    assert clustered.obs["flowsom_names"].value_counts().to_dict() == {"a": 262, "b": 130, "-1": 8}


def test_a_cluster_that_is_called_by_a_fraction_keeps_its_label(clustered: ad.AnnData) -> None:
    clustered.obs["flowsom"] = clustered.obs["flowsom"].astype(float)
    cc.tl.rename_clusters(
        clustered, pd.DataFrame({"cluster": [1.0, 2.0, 3.0, -1.0], "name": list("abcd")}), key="flowsom"
    )
    assert clustered.obs["flowsom_names"].value_counts().to_dict() == {"a": 150, "b": 130, "c": 112, "d": 8}
