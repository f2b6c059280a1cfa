from __future__ import annotations

import json
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cytocar import GateError, ParameterError, gate
from cytocar.gate import GateTree
from cytocar.gate._robustness.multiverse import RULE
from cytocar.gate._rules.mixture import Mixture

MEASURE = {"CAR-T of T cells": ("CAR-T", "T cells"), "T cells": ("T cells", "cells")}


@pytest.fixture
def gated(tube, joined, small: str) -> anndata.AnnData:
    adata = joined(tube(seed=1), tube(seed=2, car=0.1, sample="S2"))
    # Humps that overlap, so that it matters where the threshold lies.
    wide = np.random.default_rng(0).normal(0, 0.5, (adata.n_obs, 3)).astype(np.float32)
    adata.X = np.maximum(adata.X + (wide - 1.2) * (adata.X > 2), 0).astype(np.float32)
    gate.apply(adata, GateTree.from_yaml(small), seed=5)
    return adata


def counted(adata: anndata.AnnData, population: str, of: str, sample: str) -> float:
    here = (adata.obs["sample_id"] == sample).to_numpy()
    part, whole = (int(gate.membership(adata, name)[here].sum()) for name in (population, of))
    return 100 * part / whole


def test_each_end_is_what_gating_with_that_number_counts(gated) -> None:
    before = gated.obsm["gates"].copy()
    table = gate.robustness(gated)
    assert table["measure"].unique().tolist() == ["CAR-T % of cells"]
    assert table["threshold"].tolist() == ["CD3", "VHH"] * 2, "CD4 decides no cell of the measure"
    found = gate.thresholds(gated).set_index(["sample_id", "name"])
    for row in table.itertuples():
        stated = found.loc[(row.sample_id, row.threshold)]
        assert (row.value_low, row.value_found, row.value_high) == (
            stated["low"],
            stated["value"],
            stated["high"],
        )
        for end in ("low", "high"):
            pinned = gate.pin(gated).with_threshold(
                row.threshold, getattr(row, f"value_{end}"), row.sample_id
            )
            again = gate.apply(gated, pinned, copy=True)
            assert again is not None
            assert getattr(row, f"result_{end}") == counted(again, "CAR-T", "cells", row.sample_id)
        assert row.result == counted(gated, "CAR-T", "cells", row.sample_id)
    moved = table[table["threshold"] == "VHH"]
    assert (moved["result_low"] >= moved["result"]).all()
    assert (moved["result"] >= moved["result_high"]).all()
    assert (moved["result_low"] > moved["result_high"]).all()
    pd.testing.assert_frame_equal(gated.obsm["gates"], before)


def test_expected_false_cells_follow_the_threshold(gated) -> None:
    table = gate.robustness(gated)
    reference = gate.reference_counts(gated).set_index("sample_id")
    for row in table.itertuples():
        assert row.expected_false == pytest.approx(reference.loc[row.sample_id, "expected_false_positives"])
    moved = table[table["threshold"] == "VHH"]
    assert (moved["expected_false_low"] > moved["expected_false"]).all()
    assert (moved["expected_false_high"] < moved["expected_false"]).all()


def test_measures_and_shift_are_what_is_asked_for(gated) -> None:
    table = gate.robustness(gated, measures={"CD4": ("CAR-T CD4", "CAR-T")}, shift=0.25)
    assert table["threshold"].tolist() == ["CD3", "CD4", "VHH"] * 2
    assert (table["value_high"] - table["value_found"]).to_numpy() == pytest.approx(0.25)
    assert (table["value_found"] - table["value_low"]).to_numpy() == pytest.approx(0.25)
    assert (
        table.loc[table["threshold"] == "VHH", ["expected_false_low", "expected_false_high"]]
        .isna()
        .all()
        .all()
    )
    first = table.iloc[0]
    assert first["result"] == counted(gated, "CAR-T CD4", "CAR-T", "S1")


def test_stated_numbers_have_no_range(gated) -> None:
    pinned = gate.apply(gated, gate.pin(gated), copy=True)
    assert gate.robustness(pinned).empty
    assert len(gate.robustness(pinned, shift=0.1)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": 0.0}, r"shift is 0\.0; it must be above 0"),
        ({"shift": float("nan")}, "shift is nan"),
        ({"measures": {"x": ("CAR-T", "cellz")}}, "names population 'cellz'; did you mean 'cells'"),
        ({"measures": {"x": "CAR-T"}}, "measure 'x' is 'CAR-T'; it must be"),
    ],
)
def test_what_cannot_be_moved_is_named(gated, options, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        gate.robustness(gated, **options)


def test_all_events_are_needed(gated, tube, small: str) -> None:
    with pytest.raises(GateError, match="these data are not gated"):
        gate.robustness(tube())
    with pytest.raises(GateError, match="events are here, and 4,000 were gated"):
        gate.robustness(gate.subset(gated, "T cells"))
    with pytest.raises(GateError, match="events are here, and 4,000 were gated"):
        gate.multiverse(gate.subset(gated, "T cells"))


def test_a_study_without_car_t_cells_has_no_headline(tube) -> None:
    tree = GateTree.from_yaml("cytocar_gating: 1\nname: all\ncompartments: {cells: cells}\n")
    adata = tube()
    gate.apply(adata, tree)
    assert gate.robustness(adata).empty
    table = gate.multiverse(adata)
    assert table.empty
    assert list(table.columns)[:3] == ["sample_id", "universe", "kind"]


def test_each_universe_is_what_gating_by_its_rules_counts(gated, small: str) -> None:
    table = gate.multiverse(gated, measures=MEASURE)
    assert list(table.columns) == [
        "sample_id", "universe", "kind", "rule_CD3", "rule_VHH", "measure", "result", "low", "high", "expected_false",
    ]  # fmt: skip
    one = table[(table["sample_id"] == "S1") & (table["measure"] == "T cells")].set_index("universe")
    assert one.loc[0, ["kind", "rule_CD3", "rule_VHH"]].tolist() == ["found", "valley", "negatives"]
    assert one.loc[0, "result"] == counted(gated, "T cells", "cells", "S1")
    assert set(one["kind"]) == {"found", "single", "combined"}
    mixed = one[(one["rule_CD3"] == "mixture") & (one["kind"] == "single")].iloc[0]
    tree = GateTree.from_yaml(small)
    threshold = tree.thresholds["CD3"]
    other = replace(tree, thresholds={**tree.thresholds, "CD3": replace(threshold, rule=Mixture(0.8, 4.5))})
    again = gate.apply(gated, other, copy=True)
    number = gate.thresholds(again).set_index(["sample_id", "name"]).loc[("S1", "CD3"), "value"]
    pinned = gate.apply(gated, gate.pin(gated).with_threshold("CD3", number, "S1"), copy=True)
    assert mixed["result"] == counted(pinned, "T cells", "cells", "S1")
    double = one[one["rule_VHH"] == "negatives at 0.002"].iloc[0]
    assert double["expected_false"] == pytest.approx(2 * one.loc[0, "expected_false"], rel=0.25)


def test_intervals_are_exact_and_universes_are_complete(gated) -> None:
    table = gate.multiverse(gated, measures=MEASURE)
    n = 4000
    for row in table[table["measure"] == "T cells"].itertuples():
        cells = round(row.result * n / 100)
        exact = stats.binomtest(cells, n).proportion_ci(0.95, method="exact")
        assert (row.low, row.high) == pytest.approx((100 * exact.low, 100 * exact.high))
    for _, one in table[table["measure"] == "T cells"].groupby("sample_id"):
        rules = [column for column in one if column.startswith(RULE)]
        assert not one.duplicated(rules).any(), "no combination is counted twice"
        ways = [one[column].nunique() for column in rules]
        assert len(one) == np.prod(ways), "all combinations of two thresholds are there"
        assert one["universe"].tolist() == list(range(len(one)))


def test_no_more_universes_than_asked_for(gated) -> None:
    few = gate.multiverse(gated, measures=MEASURE, most=1)
    assert set(few["kind"]) == {"found", "single"}
    some = gate.multiverse(gated, measures=MEASURE, most=6)
    assert (some[some["kind"] == "combined"].groupby("sample_id").size() < 6).all()
    with pytest.raises(ParameterError, match="most is 0; it must be a whole number of at least 1"):
        gate.multiverse(gated, most=0)


def test_control_tubes_and_other_samples_give_further_ways(tube, small: str) -> None:
    adata, empty = tube(seed=3), tube(seed=4, car=0.0, sample="healthy")
    tree = GateTree.from_yaml(small)
    controls = {"VHH": {"healthy": gate.control_values(empty, tree)["VHH"]}}
    gate.apply(adata, tree, controls=controls)
    ways = gate.multiverse(adata, controls=controls, others={"CD3": [2.0, 2.2]}, measures=MEASURE)
    assert "negatives of the same tube" in set(ways["rule_VHH"])
    assert "other samples" in set(ways["rule_CD3"])
    alone = gate.multiverse(adata, controls={}, measures=MEASURE)
    assert "other samples" not in set(alone["rule_CD3"])


def test_pinned_numbers_give_the_same_cells_whatever_the_rules(gated, tmp_path) -> None:
    path = tmp_path / "pinned.yaml"
    path.write_text(gate.pin(gated).to_yaml(), encoding="utf-8")
    again = gated.copy()
    gate.apply(again, gate.load(path))
    pd.testing.assert_frame_equal(again.obsm["gates"], gated.obsm["gates"])
    found = gate.thresholds(again)
    assert found["pinned"].all()
    assert found["value"].tolist() == gate.thresholds(gated)["value"].tolist()
    tree = gate.load(path)
    assert tree.thresholds["CD3"].rule == gate.strategy_of(gated).thresholds["CD3"].rule, "the rule is kept"
    assert set(tree.thresholds["CD3"].samples) == {"S1", "S2"}
    with pytest.raises(GateError, match="has no threshold 'CD3'"):
        gate.pin(gated, GateTree("none"))
    with pytest.raises(GateError, match="not gated"):
        gate.pin(anndata.AnnData(np.zeros((2, 1), np.float32)))


def test_it_survives_the_disk_and_is_the_same_again(gated, tmp_path) -> None:
    gated.write_h5ad(tmp_path / "gated.h5ad")
    read = anndata.read_h5ad(tmp_path / "gated.h5ad")
    pd.testing.assert_frame_equal(gate.robustness(read), gate.robustness(gated))
    pd.testing.assert_frame_equal(gate.multiverse(read), gate.multiverse(gated))
    pd.testing.assert_frame_equal(gate.thresholds(read), gate.thresholds(gated))
    entry = json.loads(read.uns["cytocar"]["gating"])["samples"]["S1"]["thresholds"][0]
    assert entry["low"] <= entry["value"] <= entry["high"]
