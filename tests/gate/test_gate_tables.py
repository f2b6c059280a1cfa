from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cytocar import GateError, ParameterError, gate
from cytocar.gate import GateTree


@pytest.fixture
def gated(tube, joined, small):
    adata = joined(tube(), tube(3000, seed=1, sample="S2"))
    classes = np.array(["cell"] * adata.n_obs, dtype=object)
    classes[:30], classes[30:50], classes[50:55] = "doublet", "bead", "strange"
    adata.obs["event_class"] = pd.Categorical(classes)
    gate.apply(adata, GateTree.from_yaml(small.replace("compartments", "denominator: T cells\ncompartments")))
    return adata


def test_the_ledger_tells_where_every_event_went(gated) -> None:
    table = gate.table(gated)
    assert list(table.columns) == [
        "sample_id", "order", "population", "parent", "events", "fraction_of_parent", "fraction_of_cd45",
        "fraction_of_all", "path",
    ]  # fmt: skip
    first = table[table["sample_id"] == "S1"].set_index("population")
    assert first.index[:6].tolist() == ["events", "beads", "doublets", "strange", "cells", "T cells"]
    assert first["order"].tolist() == list(range(len(first)))
    assert first.loc[["events", "beads", "doublets", "strange", "cells"], "events"].tolist() == [
        4000,
        20,
        30,
        5,
        3945,
    ]
    assert first.loc["events", "parent"] == ""
    assert first.loc["cells", "parent"] == "events"
    for name, row in first.iterrows():
        if row["parent"]:
            assert row["fraction_of_parent"] == pytest.approx(
                row["events"] / first.loc[row["parent"], "events"]
            )
        if name in gated.obsm["gates"]:
            assert row["events"] == gated.obsm["gates"].loc[gated.obs["sample_id"] == "S1", name].sum()
    assert first.loc["CAR-T", "fraction_of_cd45"] == pytest.approx(
        first.loc["CAR-T", "events"] / first.loc["T cells", "events"]
    )
    assert first.loc[["events", "beads", "cells"], "fraction_of_cd45"].isna().all()
    assert first.loc["T cells", "fraction_of_cd45"] == 1.0
    np.testing.assert_array_equal(first["fraction_of_all"], first["events"] / 4000)
    assert first.loc[["events", "doublets", "T cells", "CAR-T CD4"], "path"].tolist() == [
        "events", "doublets", "T cells", "T cells/CAR-T/CAR-T CD4",
    ]  # fmt: skip
    second = table[table["sample_id"] == "S2"]
    assert second["population"].tolist()[:3] == ["events", "cells", "T cells"]
    assert first.loc["CAR-T", "events"] + first.loc["Host T", "events"] == first.loc["T cells", "events"]


def test_an_empty_parent_has_no_fraction(tube, small) -> None:
    adata = tube(car=0.0)
    gate.apply(adata, GateTree.from_yaml(small), thresholds={"VHH": 99.0})
    table = gate.table(adata).set_index("population")
    assert table.loc["CAR-T", "fraction_of_parent"] == 0.0
    assert np.isnan(table.loc["CAR-T CD4", "fraction_of_parent"])


def test_tables_survive_taking_a_subset(gated) -> None:
    cars = gate.subset(gated, "CAR-T")
    assert cars.n_obs == gate.membership(gated, "CAR-T").sum() > 0
    assert (cars.obs["compartment"] == "car").all()
    pd.testing.assert_frame_equal(gate.table(cars), gate.table(gated))
    pd.testing.assert_frame_equal(gate.densities(cars), gate.densities(gated))
    cars.X[:] = -1
    assert gated.X.min() >= 0


def test_thresholds_and_densities_have_their_columns(gated) -> None:
    found = gate.thresholds(gated)
    assert list(found.columns) == [
        "sample_id", "name", "marker", "value", "rule", "confidence", "spread", "low", "high", "found_in", "n_cells",
        "pinned", "fallback", "note",
    ]  # fmt: skip
    assert found["name"].tolist() == ["CD3", "CD4", "VHH"] * 2
    assert found.loc[found["rule"] == "valley", "confidence"].between(0.2, 1).all()
    assert found["confidence"].between(0, 1).all()
    assert found["spread"].between(0.001, 0.5).all()
    assert (found["low"] <= found["value"]).all()
    assert (found["value"] <= found["high"]).all()
    density = gate.densities(gated)
    assert list(density.columns) == ["sample_id", "name", "marker", "x", "density"]
    assert (density.groupby(["sample_id", "name"], observed=True).size() == 200).all()


def test_reference_counts_are_counts_of_the_cells(gated) -> None:
    reference = gate.reference_counts(gated).set_index("sample_id")
    for sample in ("S1", "S2"):
        number = gate.thresholds(gated).query("sample_id == @sample").set_index("name")["value"]
        here = gated[(gated.obs["sample_id"] == sample) & gated.obsm["gates"]["cells"]].to_df()
        negative = here[here["CD3"] < number["CD3"]]
        row = reference.loc[sample]
        assert row["n_negative"] == len(negative)
        assert row["n_negative_above"] == (negative["VHH"] >= number["VHH"]).sum()
        assert row["source"] == "same tube"
        assert row["n_divided"] == len(here) - len(negative)
        assert row["expected_false_positives"] == pytest.approx(1e-3 * row["n_divided"])


def test_plots_count_every_cell_where_it_is(gated) -> None:
    plots = gate.biaxials(gated, bins=18)
    assert list(plots.columns) == ["sample_id", "plot", "parent", "x_marker", "y_marker", "x", "y", "n"]
    assert plots["plot"].unique().tolist() == [1], "the panel has no DNA1, so the second biaxial is left out"
    here = gated[(gated.obs["sample_id"] == "S2") & gated.obsm["gates"]["cells"]].to_df()
    mine = plots[plots["sample_id"] == "S2"]
    assert mine["n"].sum() == len(here)
    assert set(zip(mine["x_marker"], mine["y_marker"], strict=True)) == {("CD3", "VHH")}
    edges = np.linspace(-0.5, 8.5, 19)
    expected, _, _ = np.histogram2d(here["CD3"], here["VHH"], bins=[edges, edges])
    found = np.zeros((18, 18))
    found[((mine["x"] + 0.5) // 0.5).astype(int), ((mine["y"] + 0.5) // 0.5).astype(int)] = mine["n"]
    np.testing.assert_array_equal(found, expected)
    assert (mine["n"] > 0).all()


def test_cells_beyond_the_picture_are_counted_at_its_edge(tube, small) -> None:
    adata = tube()
    adata.X[0], adata.X[1] = 20.0, -3.0
    gate.apply(adata, GateTree.from_yaml(small))
    plots = gate.biaxials(adata)
    assert plots["n"].sum() == adata.n_obs
    assert plots[["x", "y"]].max().max() < 8.5
    assert plots[["x", "y"]].min().min() > -0.5


def test_what_is_not_there_is_told(tube, gated) -> None:
    with pytest.raises(GateError, match=r"no population 'CAR T'; did you mean 'CAR-T'\?"):
        gate.membership(gated, "CAR T")
    with pytest.raises(ParameterError, match="bins is 1"):
        gate.biaxials(gated, bins=1)
    for ask in (
        gate.table,
        gate.thresholds,
        gate.densities,
        gate.biaxials,
        gate.reference_counts,
        gate.strategy_of,
    ):
        with pytest.raises(GateError, match=r"not gated; run cytocar\.gate\.apply"):
            ask(tube())
    with pytest.raises(GateError, match="not gated"):
        gate.subset(tube(), "CAR-T")
