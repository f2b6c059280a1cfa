from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import cytocar as cc
from cytocar._core.errors import ParameterError
from cytocar.tl._clusters.agreement import adjusted_rand, contingency, normalized_mutual_information

groupings = st.integers(2, 60).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 6), min_size=n, max_size=n)] * 2)
)


@given(groupings)
@settings(deadline=None, max_examples=150)
def test_both_measures_are_those_of_scikit_learn(pair: tuple[list[int], list[int]]) -> None:
    assert adjusted_rand(*pair) == pytest.approx(adjusted_rand_score(*pair), abs=1e-12)
    if len(set(pair[0])) > 1 or len(set(pair[1])) > 1:
        expected = normalized_mutual_info_score(*pair)
        assert normalized_mutual_information(*pair) == pytest.approx(expected, abs=1e-9)


def test_many_cells_do_not_overflow() -> None:
    a = np.repeat([0, 1], 2_000_000)
    assert adjusted_rand(a, a) == 1
    b = np.tile([0, 1], 2_000_000)
    assert adjusted_rand(a, b) == pytest.approx(0, abs=1e-5)


def test_names_of_groups_do_not_matter() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 5, 300), generator.integers(0, 5, 300)
    renamed = generator.permutation(5)[b]
    assert adjusted_rand(a, b) == adjusted_rand(a, renamed)
    assert adjusted_rand(a, b) == adjusted_rand(b, a)
    assert abs(adjusted_rand(a, b)) < 0.05


def test_contingency_counts_pairs_of_groups() -> None:
    table = contingency(["x", "y", "x", "x"], [1, 1, 2, 2])
    assert table.tolist() == [[1, 2], [1, 0]]


@pytest.fixture
def cells() -> ad.AnnData:
    cells = ad.AnnData(np.zeros((8, 1), "float32"))
    cells.obs["phenograph"] = pd.Categorical([*list("11122"), "-1", "10", None], ["1", "2", "10", "-1"])
    cells.obs["flowsom"] = pd.Categorical(list("11222111"), ["1", "2"])
    return cells


def test_cells_that_fit_nowhere_are_left_out(cells: ad.AnnData) -> None:
    table = cc.tl.agreement(cells)
    assert list(table.columns) == ["method_a", "method_b", "ari", "nmi", "n_cells"]
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["method_a"], row["method_b"], row["n_cells"]) == ("phenograph", "flowsom", 6)
    a, b = ["1", "1", "1", "2", "2", "10"], list("112221")
    assert row["ari"] == pytest.approx(adjusted_rand_score(a, b))
    assert row["nmi"] == pytest.approx(normalized_mutual_info_score(a, b))


def test_the_table_keeps_the_order_of_clusters(cells: ad.AnnData) -> None:
    table = cc.tl.contingency_table(cells)
    assert list(table.index) == ["1", "2", "10", "-1"]
    assert list(table.columns) == ["1", "2"]
    assert table.to_numpy().tolist() == [[2, 1], [0, 2], [1, 0], [1, 0]]
    assert (table.index.name, table.columns.name) == ("phenograph", "flowsom")


def test_the_former_name_of_the_contingency_table_warns_and_works(cells: ad.AnnData) -> None:
    with pytest.warns(DeprecationWarning, match="agreement_table is now called contingency_table"):
        former = cc.tl.agreement_table(cells)
    assert former.equals(cc.tl.contingency_table(cells))
    assert "agreement_table" not in cc.tl.__all__


def test_columns_that_are_not_there_are_named(cells: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match="obs has no column 'flowsum'; did you mean 'flowsom'"):
        cc.tl.agreement(cells, b="flowsum")
    with pytest.raises(ParameterError, match="obs has no column 'leiden'"):
        cc.tl.contingency_table(cells, a="leiden")
    cells.obs["phenograph"] = "-1"
    with pytest.raises(ParameterError, match="no cell has a cluster in both 'phenograph' and 'flowsom'"):
        cc.tl.agreement(cells)
