from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from cytocar import tl
from cytocar._core.errors import ParameterError


@pytest.fixture
def mapped(blobs: ad.AnnData) -> ad.AnnData:
    tl.flowsom(blobs, grid=(4, 4), metaclusters=4, seed=1)
    return blobs


@pytest.mark.parametrize("mad", [1, 2.5, 4])
def test_each_cell_is_judged_by_its_own_node(mapped: ad.AnnData, mad: float) -> None:
    table = tl.flowsom_outliers(mapped, mad=mad)
    node = mapped.obs["flowsom_node"].to_numpy()
    distance = mapped.obs["flowsom_distance"].to_numpy().astype(float)
    expected = np.zeros(240, bool)
    for number in np.unique(node):
        own = distance[node == number]
        limit = np.median(own) + mad * median_abs_deviation(own)
        expected[node == number] = own > limit
        rows = table[table["node"] == number]
        assert np.allclose(rows["threshold"], limit)
        assert rows["cells"].sum() == len(own)
        assert rows["outliers"].sum() == (own > limit).sum()
        assert set(rows["cluster"]) == set(mapped.obs["flowsom"][node == number].astype(str))
    assert mapped.obs["flowsom_outlier"].dtype == bool
    assert mapped.obs["flowsom_outlier"].tolist() == expected.tolist()
    assert expected.any()


def test_the_tables_add_up(mapped: ad.AnnData) -> None:
    nodes, clusters, samples = (
        tl.flowsom_outliers(mapped, mad=2, by=by) for by in ("node", "cluster", "sample")
    )
    assert list(nodes) == ["sample_id", "node", "cluster", "cells", "outliers", "fraction", "threshold"]
    assert list(clusters) == ["sample_id", "cluster", "cells", "outliers", "fraction"]
    assert list(samples) == ["sample_id", "cells", "outliers", "fraction"]
    # in the order in which the samples come
    assert samples["sample_id"].tolist() == ["s1", "s2"]
    assert samples["cells"].tolist() == [80, 160]
    for column in ("cells", "outliers"):
        for table in (nodes, clusters):
            sums = table.groupby("sample_id")[column].sum()
            assert sums[samples["sample_id"]].tolist() == samples[column].tolist()
    outlying = mapped.obs.groupby("sample_id", observed=True)["flowsom_outlier"].sum()
    assert outlying[samples["sample_id"]].tolist() == samples["outliers"].tolist()
    assert np.allclose(samples["fraction"], samples["outliers"] / samples["cells"])
    assert not nodes.duplicated(["sample_id", "node"]).any()
    assert (nodes["cells"] > 0).all()
    assert clusters.groupby("sample_id")["cluster"].apply(list)["s1"] == ["1", "2", "3", "4"]


def test_limits(mapped: ad.AnnData) -> None:
    tl.flowsom_outliers(mapped, mad=1e9)
    assert not mapped.obs["flowsom_outlier"].any()
    # next to no allowance: half of each node is above its median
    share = tl.flowsom_outliers(mapped, mad=1e-9, by="sample")["outliers"].sum() / 240
    assert 0.4 < share <= 0.5


def test_new_cells_are_judged_by_the_reference(mapped: ad.AnnData) -> None:
    new = mapped[:60].copy()
    new.obs["flowsom_distance"] = new.obs["flowsom_distance"].to_numpy() + 50
    table = tl.flowsom_outliers(new, reference=mapped, by="node")
    assert (table["fraction"] == 1).all()
    own = tl.flowsom_outliers(mapped).drop_duplicates("node").set_index("node")["threshold"]
    assert np.allclose(table["threshold"], own[table["node"]])
    # judged by themselves they look usual
    assert tl.flowsom_outliers(new, by="sample")["fraction"].max() < 0.1
    # a node without cells in the reference: all that falls there is outlying
    some = int(new.obs["flowsom_node"].iloc[0])
    without = mapped[mapped.obs["flowsom_node"] != some].copy()
    rows = tl.flowsom_outliers(mapped, reference=without).query("node == @some")
    assert (rows["threshold"] == 0).all()
    assert (rows["fraction"] == 1).all()


def test_one_sample_where_none_is_named(mapped: ad.AnnData, tmp_path: Path) -> None:
    del mapped.obs["sample_id"]
    assert tl.flowsom_outliers(mapped, by="sample")["sample_id"].tolist() == ["all"]
    mapped.write_h5ad(tmp_path / "cells.h5ad")
    back = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert back.obs["flowsom_outlier"].tolist() == mapped.obs["flowsom_outlier"].tolist()
    assert tl.flowsom_outliers(back).equals(tl.flowsom_outliers(mapped))


def test_what_cannot_be_judged(mapped: ad.AnnData, blobs: ad.AnnData) -> None:
    for mad in (0, -1, np.nan, "four"):
        with pytest.raises(ParameterError, match=f"mad is {mad!r}"):
            tl.flowsom_outliers(mapped, mad=mad)
    with pytest.raises(ParameterError, match="by is 'nodes'; did you mean 'node'"):
        tl.flowsom_outliers(mapped, by="nodes")
    with pytest.raises(ParameterError, match="no FlowSOM result 'other'"):
        tl.flowsom_outliers(mapped, key="other")
    other = mapped.copy()
    tl.flowsom(other, grid=(3, 4))
    with pytest.raises(ParameterError, match=r"reference: its map has 12 nodes of 5 markers .*\(16 nodes of"):
        tl.flowsom_outliers(mapped, reference=other)
    holed = mapped.copy()
    holed.obs.loc[holed.obs_names[3], "flowsom_distance"] = np.nan
    with pytest.raises(ParameterError, match=r"obs\['flowsom_distance'\] has values that are not finite"):
        tl.flowsom_outliers(holed)
    del holed.obs["flowsom_distance"]
    with pytest.raises(ParameterError, match="no column 'flowsom_distance'"):
        tl.flowsom_outliers(holed)
    assert "flowsom_outlier" not in mapped.obs


def test_cells_of_no_sample_are_marked_but_in_no_row(mapped: ad.AnnData) -> None:
    whole = tl.flowsom_outliers(mapped, by="sample")
    marked = mapped.obs["flowsom_outlier"].to_numpy()
    mapped.obs["tube"] = mapped.obs["sample_id"].astype("category").cat.add_categories("empty")
    mapped.obs.loc[mapped.obs["tube"] == "s1", "tube"] = np.nan
    table = tl.flowsom_outliers(mapped, by="sample", sample_key="tube")
    assert table.to_dict("records") == whole[whole["sample_id"] == "s2"].to_dict("records")
    assert mapped.obs["flowsom_outlier"].tolist() == marked.tolist()
    with pytest.raises(ParameterError, match="obs has no column 'tub'; did you mean 'tube'"):
        tl.flowsom_outliers(mapped, sample_key="tub")


def test_cells_that_were_not_clustered_are_named(mapped: ad.AnnData) -> None:
    mapped.obs["flowsom_node"] = mapped.obs["flowsom_node"].astype(float)
    mapped.obs.loc[mapped.obs_names[:9], "flowsom_node"] = np.nan
    for step in (tl.flowsom_outliers, tl.flowsom_tree, lambda cells: tl.metaclusters(cells, 3)):
        with pytest.raises(ParameterError, match=r"9 of 240 cells have no node in obs\['flowsom_node'\]"):
            step(mapped)
    part = mapped[mapped.obs["flowsom_node"].notna()].copy()
    assert tl.flowsom_tree(part)[0]["cells"].sum() == 231
