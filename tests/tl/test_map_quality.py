from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

import cytocar as cc
from cytocar._core.errors import ParameterError, StateError
from cytocar.tl._maps.quality import _others, neighbours_kept

COLUMNS = ["basis", "k", "n_cells", "n_judged", "kept", "low", "high", "by_chance"]
MARKERS = ["CD3", "CD4", "CD8", "PD-1", "Ki67"]


def kept_by_hand(x: np.ndarray, y: np.ndarray, judges: np.ndarray, k: int) -> np.ndarray:
    near, on_map = (
        NearestNeighbors(n_neighbors=k + 1).fit(z).kneighbors(z[judges], return_distance=False)
        for z in (x, y)
    )
    return np.array(
        [
            len((set(a.tolist()) - {i}) & (set(b.tolist()) - {i})) / k
            for i, a, b in zip(judges.tolist(), near, on_map, strict=True)
        ]
    )


def test_it_is_the_share_counted_cell_by_cell(blobs: ad.AnnData) -> None:
    generator = np.random.default_rng(0)
    blobs.obsm["X_some"] = (blobs.X[:, :2] + generator.normal(0, 0.3, (240, 2))).astype("float32")
    row = cc.tl.map_quality(blobs, "X_some", k=20)
    assert list(row.columns) == COLUMNS
    expected = kept_by_hand(blobs.X[:, :5], blobs.obsm["X_some"], np.arange(240), 20)
    found = row.iloc[0]
    assert found["kept"] == pytest.approx(expected.mean())
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(expected, [0.25, 0.75])))
    assert (found["n_cells"], found["n_judged"], found["by_chance"]) == (240, 240, 20 / 239)
    few = cc.tl.map_quality(blobs, "X_some", k=20, max_cells=100).iloc[0]
    assert few["n_judged"] == 100
    assert few["kept"] == pytest.approx(expected.mean(), abs=0.06)
    again = cc.tl.map_quality(blobs, "X_some", k=20, max_cells=100, n_jobs=2).iloc[0]
    assert again["kept"] == few["kept"]


def test_a_map_at_random_keeps_what_chance_keeps_and_the_cells_themselves_keep_all(blobs: ad.AnnData) -> None:
    blobs.obsm["X_strewn"] = np.random.default_rng(0).normal(size=(240, 2))
    strewn = cc.tl.map_quality(blobs, "X_strewn").iloc[0]
    assert strewn["kept"] == pytest.approx(strewn["by_chance"], abs=0.02)
    blobs.obsm["X_self"] = blobs.X[:, :5]
    assert cc.tl.map_quality(blobs, "X_self")["kept"].item() == 1
    cc.tl.tsne(blobs)
    assert cc.tl.map_quality(blobs)["kept"].item() > 0.5


def test_copies_of_a_cell_do_not_count_the_cell_itself(blobs: ad.AnnData) -> None:
    blobs.X[:40] = blobs.X[0]
    blobs.obsm["X_self"] = blobs.X[:, :5]
    assert cc.tl.map_quality(blobs, "X_self", k=10)["kept"].item() == 1
    assert cc.tl.map_quality(blobs, "X_self", k=10, max_cells=60)["kept"].item() == 1


def test_a_part_of_the_cells_is_judged_among_all(blobs: ad.AnnData) -> None:
    x = np.ascontiguousarray(blobs.X[:, :5])
    y = np.ascontiguousarray(x[:, :2] + np.random.default_rng(1).normal(0, 0.3, (240, 2)), np.float32)
    judges = np.arange(3, 240, 7)
    assert neighbours_kept(x, y, judges, 20) == pytest.approx(kept_by_hand(x, y, judges, 20))
    # of 30 copies 20 stand in a list of 20, whoever is asked; none is itself
    x[50:80] = x[50]
    asked = np.arange(50, 80)
    near = _others(x, asked, 20, 1)
    assert not (near == asked[:, None]).any()
    assert np.isin(near, asked).all()


def test_the_map_knows_its_own_number(blobs: ad.AnnData, tmp_path) -> None:
    cc.tl.tsne(blobs, markers=MARKERS[:3])
    facts = blobs.uns["X_tsne"]
    row = cc.tl.map_quality(blobs).iloc[0]
    assert facts["neighbours_kept"] == pytest.approx(row["kept"])
    assert (facts["neighbours_k"], facts["neighbours_by_chance"]) == (30, 30 / 239)
    # the neighbourhoods are those of the markers the map was made from
    assert cc.tl.map_quality(blobs, markers=MARKERS)["kept"].item() != row["kept"]
    blobs.write_h5ad(tmp_path / "cells.h5ad")
    assert cc.tl.map_quality(ad.read_h5ad(tmp_path / "cells.h5ad"))["kept"].item() == row["kept"]


def test_cells_without_coordinates_are_left_out(blobs: ad.AnnData) -> None:
    places = blobs.X[:, :5].copy()
    places[100:] = np.nan
    blobs.obsm["X_part"] = places
    row = cc.tl.map_quality(blobs, "X_part", k=10).iloc[0]
    assert (row["n_cells"], row["kept"]) == (100, 1)


def test_what_it_cannot_use_is_refused(blobs: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match=r"obsm has no map 'X_tsne'; make one with cytocar\.tl\.tsne"):
        cc.tl.map_quality(blobs)
    blobs.obsm["X_tsne"] = np.zeros((240, 2))
    with pytest.raises(ParameterError, match="obsm has no map 'X_tsme'; did you mean 'X_tsne'"):
        cc.tl.map_quality(blobs, "X_tsme")
    with pytest.raises(
        ParameterError, match="k is 240; it must be a whole number of at least 1 and at most 239"
    ):
        cc.tl.map_quality(blobs, k=240)
    with pytest.raises(ParameterError, match="max_cells is 3"):
        cc.tl.map_quality(blobs, max_cells=3)
    blobs.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match=r"tl\.map_quality needs arcsinh"):
        cc.tl.map_quality(blobs)
