"""Markers ranked by scanpy, compared with SciPy's rank test, and what scanpy makes of the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cytocar as cc
from cytocar._core.errors import CytocarError, ParameterError, StateError


@pytest.fixture
def cells() -> ad.AnnData:
    """Return 150 cells in groups a, b, c, one without and five in no cluster, with many zeros."""
    generator = np.random.default_rng(0)
    x = np.maximum(generator.normal(0.4, 1, (150, 4)), 0)
    group = np.repeat(["a", "b", "c"], 50).astype(object)
    x[:50, 0] += 1.5
    x[50:100, 1] += 0.8
    group[0] = np.nan
    group[145:] = "-1"
    names = ["CD4", "PD-1", "CD8", "DNA1"]
    cells = ad.AnnData(x.astype("float32"), var=pd.DataFrame(index=names))
    cells.var["role"] = ["marker"] * 3 + ["dna"]
    cells.obs["group"] = pd.Categorical(group)
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells


def z_of(inside: np.ndarray, others: np.ndarray) -> float:
    """Return the z of the rank sum of `inside`, with the tie correction, from its definition."""
    both = np.concatenate([inside, others])
    n, m = len(inside), len(others)
    ranks = stats.rankdata(both)
    _, ties = np.unique(both, return_counts=True)
    correction = 1 - (ties**3 - ties).sum() / ((n + m) ** 3 - (n + m))
    spread = np.sqrt(n * m * (n + m + 1) / 12 * correction)
    return float((ranks[:n].sum() - n * (n + m + 1) / 2) / spread)


def test_scores_are_z_of_rank_sums_and_differences_those_of_medians(cells: ad.AnnData) -> None:
    found = cc.tl.rank_markers(cells, "group")
    assert found.columns.tolist() == [
        "group", "marker", "rank", "score", "difference", "median", "median_reference", "n", "n_reference",
    ]  # fmt: skip
    assert found["group"].tolist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert found["rank"].tolist() == [1, 2, 3] * 3
    labels = cells.obs["group"].astype(object).to_numpy()
    there = pd.notna(labels)
    for row in found.itertuples():
        values = np.asarray(cells.X)[:, cells.var_names.get_loc(row.marker)]
        inside, others = values[labels == row.group], values[there & (labels != row.group)]
        assert row.score == pytest.approx(z_of(inside, others), abs=1e-4)
        assert row.difference == pytest.approx(np.median(inside) - np.median(others), abs=1e-6)
        assert row.median == pytest.approx(np.median(inside))
        assert (row.n, row.n_reference) == (len(inside), len(others))
    assert found.loc[found["group"] == "a", "marker"].iloc[0] == "CD4"
    assert all(np.diff(found.loc[found["group"] == "b", "score"]) <= 0)


def test_a_group_can_be_the_reference(cells: ad.AnnData) -> None:
    found = cc.tl.rank_markers(cells, "group", groups=["b"], reference="c", markers="pd1")
    values = np.asarray(cells.X)[:, 1]
    assert found["group"].tolist() == ["b"]
    assert found["n_reference"].tolist() == [45]
    assert found["score"].iloc[0] == pytest.approx(z_of(values[50:100], values[100:145]), abs=1e-4)
    assert list(cells.uns["rank_markers"]["names"].dtype.names) == ["b"]


def test_equal_values_count_only_where_wanted(cells: ad.AnnData) -> None:
    corrected = cc.tl.rank_markers(cells, "group")
    plain = cc.tl.rank_markers(cells, "group", tie_correct=False)
    assert (corrected["score"].abs() > plain["score"].abs()).all()


def test_scanpy_reads_the_result_and_finds_no_p(cells: ad.AnnData, tmp_path: Path) -> None:
    import matplotlib.pyplot as plt
    import scanpy as sc

    found = cc.tl.rank_markers(cells, "group")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    for one in (cells, ad.read_h5ad(tmp_path / "cells.h5ad")):
        table = sc.get.rank_genes_groups_df(one, None, key="rank_markers")
        assert table["names"].tolist() == found["marker"].tolist()
        assert np.allclose(table["logfoldchanges"], found["difference"])
        assert np.allclose(table["scores"], found["score"])
        assert table["pvals"].isna().all()
        assert table["pvals_adj"].isna().all()
        assert "not fold changes" in str(one.uns["rank_markers"]["note"])
    plt.close("all")


@pytest.mark.filterwarnings("ignore")  # what scanpy says of matplotlib and of itself
def test_figures_of_scanpy_show_the_result(cells: ad.AnnData) -> None:
    import matplotlib.pyplot as plt
    import scanpy as sc

    labelled = cells[cells.obs["group"].isin(["a", "b", "c"])].copy()
    cc.tl.rank_markers(labelled, "group", markers=list(labelled.var_names))
    sc.pl.rank_genes_groups(labelled, key="rank_markers", show=False)
    drawn = sc.pl.rank_genes_groups_dotplot(
        labelled, key="rank_markers", n_genes=2, values_to_plot="logfoldchanges", dendrogram=False,
        show=False, return_fig=True,
    )  # fmt: skip
    assert drawn is not None
    sc.pl.rank_genes_groups_matrixplot(labelled, key="rank_markers", n_genes=2, dendrogram=False, show=False)
    sc.pl.rank_genes_groups_heatmap(labelled, key="rank_markers", n_genes=2, dendrogram=False, show=False)
    plt.close("all")


def test_the_sign_is_that_of_the_medians_where_scanpy_has_the_wrong_one() -> None:
    import scanpy as sc

    generator = np.random.default_rng(3)
    x = generator.normal(-0.5, 0.1, (80, 2)).astype("float32")
    x[:40, 0] += 0.3
    cells = ad.AnnData(x, var=pd.DataFrame(index=["CD38", "CD3"]))
    cells.obs["group"] = pd.Categorical(["a"] * 40 + ["b"] * 40)
    cells.uns["cytocar"] = {"state": "arcsinh"}
    sc.tl.rank_genes_groups(cells, "group", method="wilcoxon")
    theirs = (
        sc.get.rank_genes_groups_df(cells, None).query("group == 'a'").set_index("names")["logfoldchanges"]
    )
    ours = cc.tl.rank_markers(cells, "group").query("group == 'a'").set_index("marker")["difference"]
    assert ours["CD38"] == pytest.approx(0.3, abs=0.06)
    assert theirs["CD38"] < 0


@pytest.mark.parametrize("method", ["t-test", "t-test_overestim_var"])
def test_scores_of_other_methods_are_those_of_scanpy(cells: ad.AnnData, method: str) -> None:
    found = cc.tl.rank_markers(cells, "group", groups=["a"], reference="b", method=method)
    values = np.asarray(cells.X, float)
    expected = [
        stats.ttest_ind(values[1:50, cells.var_names.get_loc(name)], values[50:100, cells.var_names.get_loc(name)],
                        equal_var=False).statistic
        for name in found["marker"]
    ]  # fmt: skip
    assert np.allclose(found["score"], expected, rtol=0.03)


def test_clusters_of_phenograph_are_ranked(car_cells: Callable[..., ad.AnnData]) -> None:
    cells = car_cells()
    cc.tl.phenograph(cells)
    found = cc.tl.rank_markers(cells)
    clusters = [name for name in cells.obs["phenograph"].cat.categories if name != "-1"]
    assert list(dict.fromkeys(found["group"])) == clusters
    first = found[found["rank"] == 1]
    assert (first["difference"] > 0).mean() > 0.8


def test_what_cannot_be_ranked_is_refused(cells: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match="has no group 'd'"):
        cc.tl.rank_markers(cells, "group", groups=["d"])
    with pytest.raises(ParameterError, match="has no group 'rset'"):
        cc.tl.rank_markers(cells, "group", reference="rset")
    with pytest.raises(ParameterError, match="has no column 'grop'"):
        cc.tl.rank_markers(cells, "grop")
    with pytest.raises(ParameterError, match="method is 'logreg'"):
        cc.tl.rank_markers(cells, "group", method="logreg")
    with pytest.raises(CytocarError, match="CD5"):
        cc.tl.rank_markers(cells, "group", markers=["CD5"])
    one = cells[[1, 2, 60]].copy()
    with pytest.raises(ParameterError, match="fewer than 2 cells cannot be ranked: b"):
        cc.tl.rank_markers(one, "group")
    cells.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError):
        cc.tl.rank_markers(cells, "group")
