from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

import cytocar as cc
from cytocar._core.errors import ParameterError, StateError

MARKERS = ["CD3", "CD4", "CD8", "PD-1", "Ki67"]


@pytest.fixture
def old(blobs: ad.AnnData) -> ad.AnnData:
    cc.tl.phenograph(blobs, k=28)
    cc.tl.flowsom(blobs, metaclusters=4)
    cc.tl.tsne(blobs)
    return blobs


def more_like(old: ad.AnnData, n: int = 80, seed: int = 7) -> ad.AnnData:
    """Return further cells of the same four kinds, the truth in obs."""
    generator = np.random.default_rng(seed)
    kind = generator.integers(0, 4, n)
    x = 1 + 4 * np.eye(6)[kind] + generator.normal(0, 0.4, (n, 6))
    cells = ad.AnnData(x.astype("float32"), var=old.var.copy())
    cells.obs["truth"] = np.array(list("abcd"))[kind]
    cells.obs["sample_id"] = np.where(np.arange(n) < n // 2, "new1", "new2")
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells


def test_later_cells_get_the_clusters_and_places_of_their_kind(old: ad.AnnData) -> None:
    reference = cc.tl.make_reference(old)
    new = more_like(old)
    before = old.copy()
    cc.tl.map_to_reference(new, reference)
    fits = new.obs["reference_fits"].to_numpy()
    assert fits.mean() > 0.9
    assert new.obs["reference_distance"].dtype == np.float32
    for method in ("phenograph", "flowsom"):
        assert list(new.obs[method].cat.categories) == ["1", "2", "3", "4", "-1"]
        by_truth = old.obs.groupby("truth")[method].agg(lambda labels: labels.mode()[0])
        assert (new.obs[method][fits].astype(str) == new.obs["truth"][fits].map(by_truth)).all()
        assert (new.obs[method][~fits] == "-1").all()
    known = KNeighborsClassifier(5).fit(old.obsm["X_tsne"], old.obs["truth"])
    assert known.score(new.obsm["X_tsne"][fits], new.obs["truth"][fits]) == 1
    # the old cells are as they were, in every place
    pd.testing.assert_frame_equal(old.obs, before.obs)
    assert np.array_equal(old.obsm["X_tsne"], before.obsm["X_tsne"])


def test_labels_and_limit_are_those_of_a_plain_search(old: ad.AnnData) -> None:
    reference = cc.tl.make_reference(old, k=7, quantile=0.9)
    new = more_like(old)
    result = cc.tl.map_to_reference(new, reference, copy=True)
    assert "phenograph" not in new.obs
    x, y = old[:, MARKERS].X, new[:, MARKERS].X
    search = NearestNeighbors(n_neighbors=8).fit(x)
    own = search.kneighbors(x)[0][:, 1:].mean(axis=1)
    assert reference.limit == pytest.approx(np.quantile(own, 0.9), rel=1e-5)
    far, near = search.kneighbors(y, 7)
    assert result.obs["reference_distance"].to_numpy() == pytest.approx(far.mean(axis=1), rel=1e-5)
    assert result.obs["reference_fits"].tolist() == (far.mean(axis=1) <= reference.limit).tolist()
    labels = old.obs["phenograph"].astype(str).to_numpy()
    voted = [pd.Series(labels[row]).mode()[0] for row in near]
    fits = result.obs["reference_fits"].to_numpy()
    assert result.obs["phenograph"].astype(str)[fits].tolist() == np.array(voted)[fits].tolist()
    places = np.median(old.obsm["X_tsne"][near[:, :5]], axis=1)
    assert result.obsm["X_tsne"] == pytest.approx(places, abs=1e-5)


def test_a_timepoint_added_next_year_moves_nothing(car_cells: Callable[..., ad.AnnData]) -> None:
    cells = car_cells()
    year = cells.obs["timepoint"].astype(str).to_numpy()
    old, new = cells[year != "5yr"].copy(), cells[year == "5yr"].copy()
    cc.tl.phenograph(old)
    cc.tl.flowsom(old)
    cc.tl.tsne(old)
    reference = cc.tl.make_reference(old)
    both = cells.copy()
    cc.tl.map_to_reference(both, reference)
    again = both[year != "5yr"]
    for method in ("phenograph", "flowsom"):
        assert again.obs[method].astype(str).tolist() == old.obs[method].astype(str).tolist()
        inside = both[year == "5yr"].obs
        placed = inside[method].astype(str) != "-1"
        assert adjusted_rand_score(inside["truth"][placed], inside[method][placed]) > 0.7
    assert np.array_equal(again.obsm["X_tsne"], old.obsm["X_tsne"])
    assert again.obs["reference_fits"].all()
    # the new ones beside them are where they are when they come alone
    cc.tl.map_to_reference(new, reference)
    assert new.obs["phenograph"].tolist() == both[year == "5yr"].obs["phenograph"].tolist()
    # and are as far from the old ones as the old ones are from each other
    share = 1 - new.obs["reference_fits"].mean()
    assert share < 0.08


def test_a_population_the_reference_lacks_fits_nowhere(old: ad.AnnData) -> None:
    without = old[old.obs["truth"] != "d"].copy()
    new = more_like(old, 200)
    cc.tl.map_to_reference(new, cc.tl.make_reference(without))
    outside = ~new.obs["reference_fits"].to_numpy()
    unknown = (new.obs["truth"] == "d").to_numpy()
    assert outside[unknown].all()
    assert outside[~unknown].mean() < 0.1
    table = cc.tl.reference_fit(new)
    assert list(table.columns) == ["sample_id", "n", "n_outside", "share_outside", "low", "high", "expected"]
    for row in table.itertuples():
        inside = (new.obs["sample_id"] == row.sample_id).to_numpy()
        exact = binomtest(int(outside[inside].sum()), int(inside.sum())).proportion_ci(0.95, "exact")
        assert (row.n, row.n_outside) == (inside.sum(), outside[inside].sum())
        assert (row.low, row.high) == pytest.approx((exact.low, exact.high))
        assert row.expected == pytest.approx(0.01)
        assert row.low > row.expected


def test_a_reference_is_the_same_after_it_was_written_and_read(old: ad.AnnData, tmp_path: Path) -> None:
    reference = cc.tl.make_reference(old)
    reference.write(tmp_path / "reference.h5ad")
    old.write_h5ad(tmp_path / "cells.h5ad")
    one, two, three = (more_like(old) for _ in range(3))
    cc.tl.map_to_reference(one, reference)
    cc.tl.map_to_reference(two, cc.tl.Reference.read(tmp_path / "reference.h5ad"), n_jobs=2)
    # a folder with the cells of a run is one too
    cc.tl.map_to_reference(three, cc.tl.Reference.read(tmp_path))
    for other in (two, three):
        pd.testing.assert_frame_equal(one.obs, other.obs)
        assert np.array_equal(one.obsm["X_tsne"], other.obsm["X_tsne"])
    one.write_h5ad(tmp_path / "new.h5ad")
    again = ad.read_h5ad(tmp_path / "new.h5ad")
    assert again.obs["phenograph"].tolist() == one.obs["phenograph"].tolist()
    assert cc.tl.reference_fit(again)["n_outside"].sum() == (~one.obs["reference_fits"]).sum()


def test_nodes_decide_for_flowsom(old: ad.AnnData) -> None:
    reference = cc.tl.make_reference(old)
    new = more_like(old)
    cc.tl.map_to_reference(new, reference)
    codes = old.uns["flowsom"]["codes"]
    node = ((new[:, MARKERS].X[:, None] - codes[None]) ** 2).sum(axis=2).argmin(axis=1)
    expected = old.uns["flowsom"]["node_labels"][node].astype(str)
    fits = new.obs["reference_fits"].to_numpy()
    filled = old.uns["flowsom"]["node_cells"][node] > 0
    assert new.obs["flowsom"].astype(str)[fits & filled].tolist() == expected[fits & filled].tolist()


def test_cells_without_a_label_and_cells_beyond_the_most_are_left_out(old: ad.AnnData) -> None:
    old.obs["phenograph"] = old.obs["phenograph"].where(np.arange(240) >= 40)
    assert len(cc.tl.make_reference(old).values) == 200
    few = cc.tl.make_reference(old, max_cells=100)
    assert (len(few.values), few.n_cells) == (100, 200)
    assert np.array_equal(few.values, cc.tl.make_reference(old, max_cells=100).values)
    assert not np.array_equal(few.values, cc.tl.make_reference(old, max_cells=100, seed=1).values)


def test_markers_that_do_not_agree_are_all_listed(old: ad.AnnData) -> None:
    reference = cc.tl.make_reference(old)
    new = more_like(old)
    new.var_names = ["CD3", "CD04", "XX", "pd1", "Ki67", "DNA1"]
    with pytest.raises(ParameterError) as caught:
        cc.tl.map_to_reference(new, reference)
    assert "5 markers, and these data lack CD4 (did you mean 'CD04'?), CD8" in str(caught.value)
    # another spelling is the same marker
    spelt = more_like(old)
    spelt.var_names = ["cd3", "CD4", "CD8", "PD1", "Ki-67", "DNA1"]
    cc.tl.map_to_reference(spelt, reference)
    assert "phenograph" in spelt.obs


def test_other_cofactors_are_refused(old: ad.AnnData) -> None:
    old.var["cofactor"] = 5.0
    new = more_like(old)
    new.var["cofactor"] = [5, 5, 10, 5, 7, 5]
    with pytest.raises(ParameterError, match=r"CD8 \(here 10, reference 5\), Ki67 \(here 7, reference 5\)"):
        cc.tl.map_to_reference(new, cc.tl.make_reference(old))


def test_what_cannot_be_used_is_refused(old: ad.AnnData, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="k is 0"):
        cc.tl.make_reference(old, k=0)
    with pytest.raises(ParameterError, match="quantile is 1; it must be"):
        cc.tl.make_reference(old, quantile=1)
    with pytest.raises(ParameterError, match="obs has no column 'leiden'"):
        cc.tl.make_reference(old, methods=["leiden"])
    with pytest.raises(ParameterError, match="there is no reference here; name the folder of a finished run"):
        cc.tl.Reference.read(tmp_path / "nowhere")
    (tmp_path / "text.h5ad").write_text("no", encoding="utf-8")
    with pytest.raises(ParameterError, match=r"text\.h5ad: this is not an h5ad file"):
        cc.tl.Reference.read(tmp_path / "text.h5ad")
    reference = cc.tl.make_reference(old)
    new = more_like(old)
    with pytest.raises(ParameterError, match="were not mapped to a reference"):
        cc.tl.reference_fit(new)
    with pytest.raises(ParameterError, match="no cells to map to"):
        cc.tl.map_to_reference(new[:0].copy(), reference)
    new.X[3, 1] = np.nan
    with pytest.raises(ParameterError, match="1 of 80 cells have values that are not finite, in CD4"):
        cc.tl.map_to_reference(new, reference)
    plain = new.copy()
    plain.write_h5ad(tmp_path / "plain.h5ad")
    with pytest.raises(ParameterError, match=r"plain\.h5ad: these cells have no clusters"):
        cc.tl.Reference.read(tmp_path / "plain.h5ad")
    new.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match=r"tl\.map_to_reference needs arcsinh"):
        cc.tl.map_to_reference(new, reference)


def test_nothing_of_an_earlier_result_stays_beside_the_labels_of_the_reference(old: ad.AnnData) -> None:
    reference = cc.tl.make_reference(old)
    new = more_like(old)
    cc.tl.flowsom(new, markers=["CD3", "CD4"], seed=3)
    cc.tl.flowsom_outliers(new)
    cc.tl.tsne(new)
    cc.tl.map_to_reference(new, reference)
    assert not {"flowsom", "phenograph", "X_tsne"} & set(new.uns)
    assert set(new.obs) == {
        "truth",
        "sample_id",
        "flowsom",
        "phenograph",
        "reference_distance",
        "reference_fits",
    }
    with pytest.raises(ParameterError, match="there is no FlowSOM result 'flowsom'"):
        cc.tl.metaclusters(new, 3)


def test_one_method_is_named_by_its_column_and_none_by_nothing(old: ad.AnnData) -> None:
    assert list(cc.tl.make_reference(old, methods="flowsom").labels) == ["flowsom"]
    with pytest.raises(ParameterError, match="these cells have no clusters to be a reference"):
        cc.tl.make_reference(old, methods=[])
    with pytest.raises(ParameterError, match=r"quantile is '0.99'; it must be at least 0.5 and below 1"):
        cc.tl.make_reference(old, quantile="0.99")


def test_a_file_of_something_else_is_no_reference(tmp_path: Path) -> None:
    h5py.File(tmp_path / "other.h5ad", "w").close()
    with pytest.raises(ParameterError, match=r"other\.h5ad: this is not an h5ad file"):
        cc.tl.Reference.read(tmp_path / "other.h5ad")
