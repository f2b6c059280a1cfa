from __future__ import annotations

import numpy as np
import pytest

from cytocar import GateError, gate
from cytocar.gate import GateTree, ThresholdNotFound
from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._populations.parts import Term
from cytocar.gate._rules.base import ReferenceCells, RuleInput
from cytocar.gate._rules.fmo import Fmo
from cytocar.gate._rules.negatives import Negatives
from cytocar.gate._rules.quantile import Quantile
from cytocar.gate._strategy.threshold import Threshold
from cytocar.gate._thresholds.find import find

RNG = np.random.default_rng(0)
DIM, BRIGHT = RNG.exponential(0.3, 20_000), RNG.exponential(0.5, 20_000)
NOT_B = ReferenceCells("cells", (Term("B", False),))
TREE = """
cytocar_gating: 1
name: tubes
thresholds:
  CD3: {marker: CD3, rule: mixture, in: cells, range: [0.8, 4.5], min_confidence: 0.6}
  CD4: {marker: CD4, rule: quantile, of: {in: cells, gate: [CD3-]}, quantile: 0.98, in: T cells}
  VHH: {marker: VHH, rule: fmo, fmo: {sample: no_vhh}, quantile: 0.99, in: T cells,
        fallback: {rule: quantile, of: {role: fmo}, range: [null, 6]}}
populations:
  - {name: T cells, parent: cells, gate: [CD3+]}
  - {name: CAR-T, parent: T cells, gate: [VHH+]}
"""


def test_the_rules_survive_yaml() -> None:
    tree = GateTree.from_yaml(TREE)
    assert GateTree.from_yaml(tree.to_yaml()) == tree
    fmo = tree.thresholds["VHH"].rule
    assert isinstance(fmo, Fmo)
    assert (fmo.sample, fmo.role, fmo.quantile) == ("no_vhh", None, 0.99)
    assert tree.thresholds["VHH"].fallback == (Quantile(None, 6.0, role="fmo"),)
    assert tree.thresholds["CD4"].rule == Quantile(
        population="cells", gate=(Term("CD3", False),), quantile=0.98
    )
    assert tree.controlled() == ("VHH",)
    assert tree.controlled_by("no_vhh", "patient") == ("VHH",)
    assert tree.controlled_by("another", "fmo") == ("VHH",)
    assert tree.controlled_by("another", "negative_control") == ()
    drawn = str(tree)
    assert "fmo 0.99 of tube no_vhh in T cells, else quantile 0.99 of tubes of role fmo" in drawn
    assert "quantile 0.98 of cells CD3-" in drawn


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{rule: fmo}", r"rule fmo needs  fmo: \{sample: TUBE\} or \{role: ROLE\}  to say"),
        ("{rule: quantile}", r"rule quantile needs  of: .* or \{in: POPULATION, gate: \[TERMS\]\}"),
        ("{rule: fmo, fmo: {in: cells}}", "unknown key 'in'"),
        ("{rule: fmo, fmo: {sample: a, role: fmo}}", r"fmo is .* it must be one of"),
        ("{rule: quantile, of: {gate: [CD3-]}}", "it must be one of"),
        ("{rule: quantile, of: {role: fmo, gate: [CD3-]}}", "a gate goes with  in: POPULATION"),
        (
            "{rule: quantile, of: {role: fmo}, quantile: 1.5}",
            r"quantile is 1\.5; it must be above 0 and below 1",
        ),
        ("{rule: mixture, min_confidence: 2}", "min_confidence is 2; it must be between 0 and 1"),
        ("{rule: mixture, quantile: 0.9}", "unknown key 'quantile'"),
        (
            "{rule: quantile, of: {in: nowhere}}",
            "reference cells of threshold 'CD3' names population 'nowhere'",
        ),
        ("{rule: quantile, of: {in: cells, gate: [CDx+]}}", r"uses 'CDx\+'"),
    ],
)
def test_what_is_wrong_with_a_rule_is_named(entry: str, message: str) -> None:
    text = f"cytocar_gating: 1\nname: wrong\nthresholds: {{CD3: {entry}}}\n"
    with pytest.raises(GateError, match=message):
        GateTree.from_yaml(text)


def test_a_quantile_is_that_of_the_reference_cells() -> None:
    of_cells = Threshold(
        "A", ("A",), "T cells", Quantile(population="cells", gate=(Term("B", False),), quantile=0.9)
    )
    found = find(of_cells, RuleInput(BRIGHT, references={NOT_B: DIM}), "S1", seed=0)
    assert found.value == pytest.approx(np.quantile(DIM, 0.9), abs=1e-4)
    assert (found.rule, found.found_in, found.n_cells) == ("quantile", "cells B-", 20_000)
    assert found.confidence > 0.95
    low = Threshold(
        "A", ("A",), "T cells", Quantile(population="cells", gate=(Term("B", False),), quantile=0.3)
    )
    assert find(low, RuleInput(BRIGHT, references={NOT_B: DIM}), "S1").value == pytest.approx(
        np.quantile(DIM, 0.3), abs=1e-4
    )
    far = Threshold(
        "A", ("A",), "T cells", Quantile(population="cells", gate=(Term("B", False),), quantile=0.9999)
    )
    found = find(far, RuleInput(BRIGHT, references={NOT_B: DIM}), "S1")
    assert found.value == pytest.approx(-0.3 * np.log(1e-4), rel=0.12)
    assert "extrapolated to 0.0001" in found.note


def test_a_tube_is_taken_by_its_name_and_others_by_their_role() -> None:
    named = Threshold(
        "A", ("A",), "T cells", Fmo(sample="no_a", quantile=0.99), (Negatives(controls="only"),)
    )
    known = RuleInput(BRIGHT, controls={"no_a": DIM, "healthy": BRIGHT}, named_tubes=["no_a"])
    found = find(named, known, "S1", seed=0)
    assert found.value == pytest.approx(-0.3 * np.log(0.01), rel=0.05)
    assert (found.rule, found.found_in, found.fallback) == ("fmo", "no_a", False)
    assert "quantile 0.99 of no_a" in found.note
    # A tube that lacks the antibody says nothing of a rule that wants tubes without CAR-T cells.
    without = find(named, RuleInput(BRIGHT, controls={"healthy": BRIGHT}), "S1")
    assert (without.rule, without.found_in, without.fallback) == ("negatives", "control healthy", True)
    assert "no fmo: there is no tube 'no_a' among the control tubes" in without.note

    short = RuleInput(
        BRIGHT, controls={"no_a": BRIGHT[:150] + 3, "healthy": DIM, "pale": DIM / 2}, named_tubes=["no_a"]
    )
    rest = find(named, short, "S1")
    assert (rest.rule, rest.found_in) == ("negatives", "control healthy")
    assert "no_a would give" not in rest.note
    floor = Threshold(
        "A", ("A",), "T cells", Fmo(high=2.0, sample="no_a", quantile=0.99), (Negatives(controls="only"),)
    )
    beyond = find(
        floor, RuleInput(BRIGHT, controls={"no_a": BRIGHT * 9, "healthy": DIM}, named_tubes=["no_a"]), "S1"
    )
    assert (beyond.rule, beyond.found_in) == ("negatives", "control healthy")
    assert "it would be" in beyond.note

    role = Threshold("A", ("A",), "T cells", Quantile(role="fmo", quantile=0.99))
    found = find(role, RuleInput(BRIGHT, controls={"one": DIM, "two": BRIGHT}), "S1")
    assert found.found_in == "two", "the number has to hold in every tube"
    assert "one would give 1." in found.note


def test_a_fallback_looks_at_the_cells_that_it_names(tube) -> None:
    adata = tube(seed=1, car=0.0)
    text = TREE.replace(
        "of: {in: cells, gate: [CD3-]}, quantile: 0.98, in: T cells}",
        "min_cells: 99999, of: {in: cells, gate: [CD3-]}, in: T cells, fallback: "
        "{rule: quantile, of: {in: cells, gate: [CD3+]}, quantile: 0.25}}",
    )
    gate.apply(
        adata,
        GateTree.from_yaml(
            text.split("  VHH:")[0] + "populations: [{name: T cells, parent: cells, gate: [CD3+]}]"
        ),
    )
    row = gate.thresholds(adata).set_index("name").loc["CD4"]
    inside = gate.membership(adata, "T cells")
    assert row["found_in"] == "cells CD3+"
    assert row["n_cells"] == inside.sum()
    expected = np.quantile(np.asarray(adata[inside, "CD4"].X, dtype=float), 0.25)
    assert row["value"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("rule", "given", "message"),
    [
        (Fmo(sample="no_a"), RuleInput(DIM), "there is no tube 'no_a' among the control tubes"),
        (Fmo(role="fmo"), RuleInput(DIM), "there is no tube of role 'fmo' among the control tubes"),
        (
            Fmo(sample="no_a"),
            RuleInput(DIM, controls={"no_a": DIM[:99]}),
            "the FMO tube has too few cells .99 in no_a",
        ),
        (
            Quantile(population="cells", gate=(Term("B", False),)),
            RuleInput(DIM),
            r"the reference has too few cells \(none; 200 are needed",
        ),
        (
            Quantile(population="cells", gate=(Term("B", False),), quantile=0.9999),
            RuleInput(DIM, references={NOT_B: np.zeros(5000)}),
            "50 of them above 0",
        ),
    ],
)
def test_what_is_missing_in_a_tube_is_named(rule, given: RuleInput, message: str) -> None:
    with pytest.raises(ThresholdNotFound, match=message):
        find(Threshold("A", ("A",), "T cells", rule), given, "S1")


def test_tubes_of_a_study_are_found_by_name_and_by_role(tube, joined) -> None:
    tree = GateTree.from_yaml(TREE)
    patient, lacking = tube(seed=1, car=0.05), tube(seed=2, car=0.0, sample="no_vhh")
    adata = joined(patient, lacking)
    gate.apply(adata, tree)
    found = gate.thresholds(adata).set_index(["sample_id", "name"])
    assert found.loc[("S1", "VHH"), "rule"] == "fmo"
    cells = lacking[np.asarray(lacking[:, "CD3"].X).ravel() >= found.loc[("no_vhh", "CD3"), "value"]]
    expected = np.quantile(np.asarray(cells[:, "VHH"].X, dtype=float), 0.99)
    assert found.loc[("S1", "VHH"), "value"] == pytest.approx(expected, abs=1e-3)
    inside = gate.membership(adata, "CAR-T")[:4000]
    assert np.mean(patient.obs["is_car"].to_numpy()[inside]) > 0.7

    renamed = joined(patient, tube(seed=2, car=0.0, sample="other"))
    renamed.obs["role"] = np.where(renamed.obs["sample_id"] == "other", "fmo", "patient")
    gate.apply(renamed, tree)
    found = gate.thresholds(renamed).set_index(["sample_id", "name"])
    assert found.loc[("S1", "VHH"), "rule"] == "quantile"
    assert found.loc[("S1", "VHH"), "fallback"]
    assert found.loc[("S1", "VHH"), "value"] == pytest.approx(expected, abs=1e-3)

    values = gate.control_values(lacking, tree, names=["VHH"])
    alone = patient.copy()
    gate.apply(alone, tree, controls={"VHH": {"no_vhh": values["VHH"]}})
    assert gate.thresholds(alone).set_index("name").loc["VHH", "value"] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ThresholdNotFound, match="no tube 'no_vhh'"):
        gate.apply(patient.copy(), tree)


def test_a_gate_of_reference_cells_that_is_left_out_leaves_no_reference() -> None:
    tree = GateTree.from_yaml(TREE).without(["CD3"])
    rule = tree.thresholds["CD4"].rule
    assert isinstance(rule, Quantile)
    assert (rule.population, rule.gate) == (None, ())
    assert FrozenDict(tree.thresholds).keys() == {"CD4", "VHH"}
