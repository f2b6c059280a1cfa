from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import GateError, ParameterError, StateError, gate
from cytocar.gate import GateTree, ThresholdNotFound
from cytocar.gate._strategy.fitted import own_numbers
from cytocar.gate._thresholds.find import ResolvedThreshold
from cytocar.gate._thresholds.resolve import Resolved


def test_it_sets_the_fields_it_says(tube, small) -> None:
    adata = tube()
    assert gate.apply(adata, GateTree.from_yaml(small)) is None
    gates = adata.obsm["gates"]
    assert list(gates.columns) == [
        "cells", "T cells", "CAR-T", "Host T", "CAR-T CD4", "CAR-T not CD4", "Host T CD4", "Host T not CD4",
    ]  # fmt: skip
    assert all(dtype.kind == "b" for dtype in gates.dtypes)
    assert gates.index.equals(adata.obs_names)
    assert list(adata.obs["compartment"].cat.categories) == ["car", "host", ""]
    assert list(adata.obs["subset"].cat.categories) == ["CD4", "not CD4", ""]
    assert ((adata.obs["compartment"] == "car") == gates["CAR-T"]).all()
    assert ((adata.obs["compartment"] == "") == ~gates["T cells"]).all()
    assert ((adata.obs["subset"] == "CD4") == (gates["CAR-T CD4"] | gates["Host T CD4"])).all()
    assert (gates["CAR-T"] == adata.obs["is_car"]).mean() > 0.999
    gating = json.loads(adata.uns["cytocar"]["gating"])
    assert GateTree.from_yaml(gating["strategy"]) == GateTree.from_yaml(small)
    assert json.loads(adata.uns["cytocar"]["steps"])[-1]["step"] == "gate.apply"


def test_a_copy_leaves_the_input_alone_and_gives_the_same(tube, small, tmp_path) -> None:
    adata = tube()
    before = adata.copy()
    changed = gate.apply(adata, GateTree.from_yaml(small), copy=True)
    assert changed is not None
    assert adata.uns == before.uns
    assert "gates" not in adata.obsm
    assert list(adata.obs) == list(before.obs)
    gate.apply(adata, GateTree.from_yaml(small))
    assert adata.uns["cytocar"] == changed.uns["cytocar"]

    changed.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(again.obsm["gates"], changed.obsm["gates"], check_index_type=False)
    pd.testing.assert_frame_equal(gate.table(again), gate.table(changed))
    assert again.obs["compartment"].tolist() == changed.obs["compartment"].tolist()
    again.write_h5ad(tmp_path / "b.h5ad")


def test_samples_do_not_touch_each_other(tube, joined, small) -> None:
    one, two = tube(), tube(seed=1, sample="S2")
    two.X = two.X * np.float32(1.3)
    both = joined(one, two)
    mixed = both[np.random.default_rng(0).permutation(both.n_obs)].copy()
    for adata in (one, two, both, mixed):
        gate.apply(adata, GateTree.from_yaml(small))
    for single in (one, two):
        for several in (both, mixed):
            same = several.obsm["gates"].loc[single.obs_names]
            pd.testing.assert_frame_equal(same, single.obsm["gates"])
    numbers = gate.thresholds(both).set_index(["sample_id", "name"])["value"]
    assert numbers["S2", "CD3"] != numbers["S1", "CD3"]


def test_gating_starts_from_cells(tube, small) -> None:
    adata = tube()
    classes = np.where(np.arange(adata.n_obs) % 10 == 0, "debris", "cell")
    adata.obs["event_class"] = pd.Categorical(classes)
    gate.apply(adata, GateTree.from_yaml(small))
    assert adata.obsm["gates"]["cells"].tolist() == (classes == "cell").tolist()
    assert not adata.obsm["gates"][classes == "debris"].any(axis=None)


def test_numbers_can_be_stated(tube, joined, small) -> None:
    adata = joined(tube(), tube(seed=1, sample="S2"))
    pins = {"cd3": 2.0, "CD4": {"S2": 3.0, "elsewhere": 1.0}}
    gate.apply(adata, GateTree.from_yaml(small), thresholds=pins, study_samples=["S1", "S2", "elsewhere"])
    found = gate.thresholds(adata).set_index(["sample_id", "name"])
    assert found.loc[("S1", "CD3"), "value"] == found.loc[("S2", "CD3"), "value"] == 2.0
    assert found.loc[("S2", "CD4"), "value"] == 3.0
    assert found["pinned"].to_dict() == {
        ("S1", "CD3"): True, ("S1", "CD4"): False, ("S1", "VHH"): False,
        ("S2", "CD3"): True, ("S2", "CD4"): True, ("S2", "VHH"): False,
    }  # fmt: skip
    with pytest.raises(GateError, match=r"no threshold 'CD5'; did you mean 'CD3'|known"):
        gate.apply(adata, GateTree.from_yaml(small), thresholds={"CD5": 1.0})


def test_a_number_pinned_for_a_sample_that_nobody_has_is_an_error(tube, joined, small) -> None:
    adata = joined(tube(), tube(seed=1, sample="S2"))
    tree = GateTree.from_yaml(small)
    typed = tree.with_threshold("CD3", 2.0, sample="s2").with_threshold("CD4", 2.0, sample="S1")
    with pytest.raises(
        GateError, match=r"'small' pins CD3 for sample 's2', .*did you mean 'S2'.*study_samples"
    ):
        gate.apply(adata, typed)
    with pytest.raises(ParameterError, match=r"thresholds pins cd3 for sample 'S3', .*known: S1, S2|'S[12]'"):
        gate.apply(adata, tree, thresholds={"cd3": {"S3": 2.0}})
    assert "gates" not in adata.obsm, "nothing is stored by a call that fails"
    nameless = tube()
    del nameless.obs["sample_id"]
    with pytest.raises(GateError, match="for sample 'S1', and there is no such sample"):
        gate.apply(nameless, tree.with_threshold("CD4", 2.0, sample="S1"))


def test_one_sample_of_a_study_is_gated_with_the_pins_of_all(tube, joined, small) -> None:
    adata = joined(tube(), tube(seed=1, sample="S2"))
    gate.apply(adata, GateTree.from_yaml(small))
    pinned = gate.pin(adata)
    alone = tube(seed=1, sample="S2")
    with pytest.raises(GateError, match="for sample 'S1'"):
        gate.apply(alone, pinned)
    gate.apply(alone, pinned, study_samples=["S1", "S2"])
    np.testing.assert_array_equal(
        gate.membership(alone, "CAR-T"), gate.membership(adata, "CAR-T")[adata.obs["sample_id"] == "S2"]
    )


def test_a_small_sample_takes_the_median_of_the_others(tube, joined, small) -> None:
    tree = GateTree.from_yaml(small.replace("in: T cells, range: [0.8, 4.5]}", "in: T cells, value: 2}"))
    tree = tree.with_threshold("VHH", 2.5)
    tiny = tube(100, seed=3, sample="tiny")
    with pytest.raises(ThresholdNotFound, match="sample tiny") as caught:
        gate.apply(tiny, tree)
    assert caught.value.needs_others
    gate.apply(tiny, tree, others={"CD3": [1.9, 2.0, 2.3]})
    assert gate.thresholds(tiny).set_index("name").loc["CD3", "value"] == 2.0

    adata = joined(tube(100, seed=3, sample="tiny"), tube(), tube(seed=1, sample="S2"))
    gate.apply(adata, tree)
    found = gate.thresholds(adata).set_index(["sample_id", "name"])
    assert list(gate.thresholds(adata)["sample_id"].unique()) == ["tiny", "S1", "S2"]
    row = found.loc[("tiny", "CD3")]
    assert row["fallback"]
    assert row["value"] == pytest.approx(found.loc[[("S1", "CD3"), ("S2", "CD3")], "value"].median())
    with pytest.raises(ThresholdNotFound, match="sample tiny"):
        gate.apply(joined(tiny, tube(90, sample="tiny too")), tree)

    # A number that is itself a stand-in is nothing to go by; a stated one is.
    text = small.replace(
        "fallback: {rule: other_samples}",
        "fallback: [{rule: other_samples}, {rule: upper_limit_of_negatives}]",
    )
    tree = GateTree.from_yaml(text.replace("in: T cells, range: [0.8, 4.5]}", "in: T cells, value: 2}"))
    tree = tree.with_threshold("VHH", 2.5).with_threshold("CD3", 2.1, sample="stated")
    flat = tube(seed=2, sample="flat")
    flat.X[:, 0] = np.random.default_rng(0).exponential(0.3, flat.n_obs)
    adata = joined(tiny, flat, tube(300, sample="stated"))
    gate.apply(adata, tree)
    found = gate.thresholds(adata).query("name == 'CD3'").set_index("sample_id")
    assert found["rule"].to_dict() == {"tiny": "other_samples", "flat": "other_samples", "stated": "value"}
    assert (found["value"] == 2.1).all()

    # What is not among the numbers handed over has none; the next fallback is due.
    tiny_too = tube(300, seed=3, sample="tiny too")
    tiny_too.X[:, 0] = flat.X[:300, 0]
    gate.apply(tiny_too, tree, others={"CD4": [2.0]}, study_samples=["tiny too", "stated"])
    assert gate.thresholds(tiny_too).set_index("name").loc["CD3", "rule"] == "upper_limit_of_negatives"


def test_stand_ins_are_not_handed_on_to_other_samples() -> None:
    own = ResolvedThreshold("CD3", "CD3", 2.0, "valley")
    stand_in = ResolvedThreshold("CD3", "CD3", 9.0, "upper_limit_of_negatives", fallback=True)
    stated = ResolvedThreshold("CD3", "CD3", 2.4, "value", pinned=True)
    assert own_numbers(Resolved({"CD3": own}, {})) == {"CD3": [2.0]}
    assert own_numbers(Resolved({"CD3": stand_in}, {})) == {}
    assert own_numbers(Resolved({"CD3": stated}, {})) == {"CD3": [2.4]}


def test_control_tubes_decide_the_car_threshold(tube, joined, small) -> None:
    tree = GateTree.from_yaml(small)
    control = tube(20_000, seed=5, car=0.0, sample="HD")
    values = gate.control_values(control, tree)
    assert list(values) == ["VHH"]
    assert values["VHH"].dtype == np.float32
    assert values["VHH"].size == pytest.approx(10_000, abs=100)

    alone = tube()
    gate.apply(alone, tree, controls=values)
    handed = gate.thresholds(alone).set_index("name").loc["VHH"]
    assert handed["found_in"] == "control tubes"
    assert handed["n_cells"] == values["VHH"].size

    adata = joined(tube(), control)
    adata.obs["role"] = np.where(adata.obs["sample_id"] == "HD", "negative_control", "patient")
    gate.apply(adata, tree)
    found = gate.thresholds(adata).query("name == 'VHH'").set_index("sample_id")
    assert found.loc["S1", "value"] == handed["value"]
    assert found.loc["S1", "found_in"] == "control HD"
    gate.apply(adata, tree, controls={})
    assert gate.thresholds(adata).query("name == 'VHH'")["found_in"].tolist() == ["cells CD3-"] * 2
    with pytest.raises(GateError, match="no threshold 'CD56'"):
        gate.apply(adata, tree, controls={"CD56": values["VHH"]})


def test_a_small_control_tube_takes_what_it_lacks_from_the_others(tube, joined, small) -> None:
    tree = GateTree.from_yaml(small.replace("in: T cells, range: [0.8, 4.5]}", "in: T cells, value: 2}"))
    control = tube(1000, seed=5, car=0.0, sample="HD")
    # Hardly any T cells, so that CD3 has no valley in this tube.
    control = control[(control.X[:, 0] < 2) | (np.arange(control.n_obs) < 20)].copy()
    adata = joined(tube(), control)
    adata.obs["role"] = np.where(adata.obs["sample_id"] == "HD", "negative_control", "patient")
    gate.apply(adata, tree)
    found = gate.thresholds(adata).set_index(["sample_id", "name"])
    assert found.loc[("HD", "CD3"), "rule"] == "other_samples"
    assert found.loc[("HD", "CD3"), "value"] == found.loc[("S1", "CD3"), "value"]
    assert "control tubes have too few cells" in found.loc[("S1", "VHH"), "note"]


def test_a_view_gets_data_of_its_own(tube, small) -> None:
    adata = tube()
    part = adata[:3000]
    gate.apply(part, GateTree.from_yaml(small))
    assert part.obsm["gates"].shape[0] == 3000
    assert not part.is_view
    assert "gates" not in adata.obsm
    assert "gating" not in adata.uns["cytocar"]


def test_a_strategy_says_whether_it_uses_controls(small) -> None:
    assert GateTree.from_yaml(small).uses_controls()
    assert gate.car_t().controlled() == ("VHH",)
    assert not gate.load("cells").uses_controls()


def test_markers_match_however_they_are_spelt(tube, small) -> None:
    adata = tube()
    gate.apply(adata, GateTree.from_yaml(small))
    other = tube()
    other.var_names = ["cd-3", "CD 4", "car_id"]
    gate.apply(other, GateTree.from_yaml(small))
    pd.testing.assert_frame_equal(other.obsm["gates"], adata.obsm["gates"])
    assert set(gate.thresholds(other)["marker"]) == {"cd-3", "CD 4", "car_id"}


def test_a_strategy_finds_markers_by_any_name_and_prints_that_of_the_panel(tube, small) -> None:
    adata, other = tube(), tube()
    other.var_names = ["CD3e", "Leu-3a", "anti-camelid VHH"]
    for cells in (adata, other):
        gate.apply(cells, GateTree.from_yaml(small))
    pd.testing.assert_frame_equal(other.obsm["gates"], adata.obsm["gates"])
    assert set(gate.thresholds(other)["marker"]) == {"CD3e", "Leu-3a", "anti-camelid VHH"}
    pinned = tube()
    gate.apply(pinned, GateTree.from_yaml(small), thresholds={"CD3 epsilon": 2.0})
    assert gate.thresholds(pinned).set_index("name").loc["CD3", "value"] == 2.0


def test_a_marker_of_a_strategy_that_fits_two_columns_is_reported_with_both(tube, small) -> None:
    adata = tube()
    adata.var_names = ["CD3e", "CD3d", "VHH"]
    with pytest.raises(GateError) as caught:
        gate.apply(adata, GateTree.from_yaml(small))
    assert (
        str(caught.value)
        == "threshold 'CD3': 'CD3' fits 2 columns ('CD3e', 'CD3d'); use the exact name of one"
    )


def test_missing_markers_are_all_named_with_the_nearest(tube) -> None:
    adata = tube()
    adata.var_names = ["CD33", "CD4", "VH"]
    with pytest.raises(GateError) as caught:
        gate.apply(adata, "car_t")
    text = str(caught.value)
    assert "needs 10 markers that the panel does not have" in text
    assert "CD3 (threshold CD3): no marker of the panel is called anything like it" in text
    assert "VHH or CAR or CAR_ID (threshold VHH): did you mean 'VH'?" in text
    assert "CD45 (threshold CD45)" in text


def test_an_optional_marker_is_left_out_and_told(tube, small) -> None:
    text = small + "optional_markers: [cd4]\n"
    adata = tube()[:, ["CD3", "VHH"]].copy()
    gate.apply(adata, GateTree.from_yaml(text))
    assert adata.obsm["gates"]["CAR-T"].sum() > 0
    assert (adata.obs["subset"] == "").all()
    row = gate.thresholds(adata).set_index("name").loc["CD4"]
    assert row["rule"] == "left out"
    assert np.isnan(row["value"])
    assert "marker CD4 is not in the panel" in row["note"]
    with pytest.raises(GateError, match="CD3"):
        gate.apply(tube()[:, ["CD4", "VHH"]].copy(), GateTree.from_yaml(text))


def test_without_a_name_all_events_are_one_sample(tube, small) -> None:
    adata = tube()
    del adata.obs["sample_id"]
    gate.apply(adata, GateTree.from_yaml(small))
    assert gate.table(adata)["sample_id"].unique().tolist() == ["sample"]
    with pytest.raises(ParameterError, match=r"obs has no column 'is_caar', .*; did you mean 'is_car'\?"):
        gate.apply(adata, GateTree.from_yaml(small), sample_key="is_caar")
    adata.obs["sample_id"] = ["S1", None] * (adata.n_obs // 2)
    with pytest.raises(ParameterError, match="2000 events have no sample_id"):
        gate.apply(adata, GateTree.from_yaml(small))


def test_counts_are_refused(tube, small) -> None:
    adata = tube()
    adata.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match="gating needs arcsinh"):
        gate.apply(adata, GateTree.from_yaml(small))
    with pytest.raises(StateError, match="gating needs arcsinh"):
        gate.control_values(adata, GateTree.from_yaml(small))


def test_overlapping_compartments_are_refused(tube, small) -> None:
    tree = GateTree.from_yaml(small.replace("host: Host T", "host: T cells"))
    with pytest.raises(GateError, match=r"events are in two compartments, 'car' and 'host'"):
        gate.apply(tube(), tree)


def test_negatives_that_are_the_divided_cells_are_refused(tube, small) -> None:
    tree = GateTree.from_yaml(small.replace("{in: cells, gate: [CD3-]}", "{in: T cells}"))
    with pytest.raises(GateError, match="negatives of threshold 'VHH' are the very cells it divides"):
        gate.apply(tube(), tree)


def test_all_cells_is_a_strategy(tube) -> None:
    adata = tube()
    gate.apply(adata, "cells")
    assert (adata.obs["compartment"] == "cells").all()
    assert gate.table(adata)["events"].tolist() == [4000, 4000]
    assert gate.thresholds(adata).empty
    assert gate.densities(adata).empty
    assert gate.biaxials(adata).empty
    assert gate.reference_counts(adata).empty


def test_no_events_are_told(tube, small) -> None:
    for strategy in (GateTree.from_yaml(small), "cells"):
        with pytest.raises(GateError, match="there are no events to gate"):
            gate.apply(tube()[:0].copy(), strategy)


@pytest.mark.parametrize("rule", ["quantile", "negatives"])
def test_zeros_of_the_reference_are_not_positive(tube, small, rule) -> None:
    # With many cells the quantile is counted and not fitted; of an unstained channel it is 0, as nearly all cells are.
    adata = tube(60_000)
    outside = np.asarray(adata[:, "CD3"].X).ravel() < 2
    vhh = list(adata.var_names).index("VHH")
    adata.X[:, vhh] = np.where(np.asarray(adata.obs["is_car"]), 4.0, 0.0)
    adata.X[np.flatnonzero(outside)[:30], vhh] = 3.0
    old = small[small.index("    {marker: [VHH") : small.index("populations:")]
    new = {
        "quantile": "    {marker: VHH, rule: quantile, of: {in: cells, gate: [CD3-]}, quantile: 0.99, in: T cells}\n",
        "negatives": "    {marker: VHH, rule: negatives, negatives: {in: cells, gate: [CD3-]}, in: T cells,\n"
        "     false_positive_rate: 0.01}\n",
    }[rule]
    gate.apply(adata, GateTree.from_yaml(small.replace(old, new)))
    cars = adata.obs["compartment"] == "car"
    assert 0 < cars.sum() < 0.05 * adata.n_obs
    np.testing.assert_array_equal(cars, np.asarray(adata.obs["is_car"]))
    found = gate.thresholds(adata).set_index("name").loc["VHH"]
    assert found["low"] <= found["value"] == 1e-4 <= found["high"]


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ({"CD3": "high"}, "the number for threshold 'CD3' is 'high'; it must be a finite number"),
        ({"CD3": [1, 2]}, r"is \[1, 2\]; it must be a finite number"),
        ({"CD3": True}, "is True; it must be a finite number"),
        ({"CD3": {"S1": None}}, "is None; it must be a finite number"),
        ({"CD3": 10**400}, "is a number of more than 308 digits"),
        ([("CD3", 1.0)], r"thresholds is \[.*\]; it must be \{name: number\}"),
    ],
)
def test_a_pin_that_is_no_number_is_a_clear_error(tube, small, pins, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        gate.apply(tube(), GateTree.from_yaml(small), thresholds=pins)


def test_one_text_is_not_the_list_of_samples(tube, small) -> None:
    with pytest.raises(ParameterError, match="study_samples is 'S1'; it must be a list of names"):
        gate.apply(tube(), GateTree.from_yaml(small), study_samples="S1")


@pytest.mark.parametrize("strategy", [None, 3, ["car_t"]])
def test_what_is_not_a_strategy_is_a_clear_error(tube, strategy) -> None:
    with pytest.raises(ParameterError, match=r"strategy is .*; it must be a strategy, the name of one"):
        gate.apply(tube(), strategy)


@pytest.mark.parametrize("name", ["missing.yaml", "missing.xml", "missing.wsp"])
def test_a_missing_file_of_gates_is_named_once(name: str) -> None:
    with pytest.raises(GateError, match=r"cannot be read: No such file or directory$") as caught:
        gate.load(name)
    assert str(caught.value).count(name) == 1
