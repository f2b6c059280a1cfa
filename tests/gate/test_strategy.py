"""What both forms of a strategy answer, through the one face of them."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest

from cytocar import GateError, gate
from cytocar.gate import Dimension, GateTree, GatingDocument, ShapeStrategy, Strategy, interval
from cytocar.gate._exchange.stored import read_stored, strategy_from, text_of
from cytocar.gate._populations.gated_input import GatedInput
from cytocar.gate._strategy.strategy import StudyFacts, controlled_by

ON_CD3 = Dimension("Er170Di")
TREE = """
cytocar_gating: 1
name: thresholds
thresholds:
  CD3: {marker: CD3, value: 2.0}
  VHH: {marker: VHH, rule: fmo, fmo: {sample: no_vhh}, in: T cells}
populations:
  - {name: T cells, parent: cells, gate: [CD3+]}
  - {name: CAR-T, parent: T cells, gate: [VHH+]}
  - {name: Host T, parent: T cells, gate: [VHH-]}
compartments: {car: CAR-T, host: Host T}
"""


def both() -> list[Strategy]:
    gates = [
        interval("T", ON_CD3, low=9.0),
        interval("CAR-T", ON_CD3, low=20.0, parent="T"),
        interval("Host T", ON_CD3, high=20.0, parent="T"),
    ]
    return [GateTree.from_yaml(TREE), ShapeStrategy(GatingDocument(gates), name="shapes")]


def test_every_form_has_every_method_with_the_same_arguments() -> None:
    asked = {
        name: value for name, value in vars(Strategy).items() if inspect.isfunction(value) and name[0] != "_"
    }
    assert len(asked) > 15
    for kind in (GateTree, ShapeStrategy):
        for name, function in asked.items():
            own = inspect.signature(getattr(kind, name)).parameters
            assert list(own) == list(inspect.signature(function).parameters), (kind, name)
        for name in (name for name, value in vars(Strategy).items() if isinstance(value, property)):
            assert all(hasattr(strategy, name) for strategy in both()), name
    assert not {"thresholds", "plots", "optional"} & set(dir(ShapeStrategy)), (
        "shapes have no thresholds to show"
    )


@pytest.mark.parametrize("strategy", both(), ids=["thresholds", "shapes"])
def test_a_strategy_survives_its_text(strategy: Strategy) -> None:
    again = strategy_from(text_of(strategy))
    assert type(again) is type(strategy)
    assert again.name == strategy.name
    assert again.paths() == strategy.paths()
    assert read_stored(text_of(strategy)) is again, "a text is read once"
    assert read_stored(strategy) is strategy
    assert read_stored("gating: off") is None


def test_paths_run_from_the_top_down() -> None:
    tree, shapes = both()
    assert tree.paths()["CAR-T"] == ("T cells", "CAR-T")
    assert shapes.paths()["CAR-T"] == ("T", "CAR-T")
    for strategy in both():
        assert list(strategy.paths()) == [population.name for population in strategy.expanded()]


def test_only_thresholds_are_found_in_other_tubes_pinned_and_above_something() -> None:
    tree, shapes = both()
    assert controlled_by(tree, "no_vhh", "fmo") == ("VHH",)
    assert controlled_by(shapes, "no_vhh", "fmo") == ()
    assert tree.thresholds_above("CAR-T") == ("VHH",)
    assert tree.thresholds_above("Host T") == shapes.thresholds_above("CAR-T") == ()
    for strategy in both():
        with pytest.raises(GateError, match="no population 'CAR'"):
            strategy.thresholds_above("CAR")
    pinned = tree.with_pins({"CD3": 2.5, "vhh": {"s1": 3.0, "s2": 4.0}})
    assert pinned.pinned_samples() == {"s1": ["VHH"], "s2": ["VHH"]}
    assert pinned.as_thresholds().thresholds["CD3"].pinned("any") == 2.5
    assert tree.pinned_samples() == {}, "the strategy itself is not changed"
    assert shapes.with_pins({}) is shapes
    with pytest.raises(GateError, match="no threshold 'CD3': its gates are shapes"):
        shapes.with_pins({"CD3": 2.5})
    with pytest.raises(GateError, match="made of shapes"):
        shapes.as_thresholds()


def test_masks_are_within_the_events_that_may_be_gated(tube) -> None:
    adata = tube(2000)
    adata.obs["event_class"] = np.where(np.arange(adata.n_obs) % 2, "cell", "bead")
    cells = GatedInput.of(adata)
    everything = GatedInput.of(adata, all_events=True)
    tree, shapes = both()
    for strategy, numbers in ((tree, {"CD3": 2.0, "VHH": 2.0}), (shapes, {})):
        whole = strategy.masks(everything, "S1", numbers)
        masks = strategy.masks(cells, "S1", numbers)
        for name, mask in masks.items():
            np.testing.assert_array_equal(mask, whole[name] & cells.root)
    with pytest.raises(GateError, match="no threshold 'CD3'"):
        shapes.masks(cells, "S1", {"CD3": 2.0})


def test_a_strategy_without_compartments_is_run_on_all_cells_of_its_denominator() -> None:
    tree = GateTree.from_yaml(
        TREE.replace("compartments: {car: CAR-T, host: Host T}", "denominator: T cells")
    )
    assert tree.compartments == {}
    assert tree.for_run().compartments == {"cells": "T cells"}
    for strategy in both():
        assert strategy.for_run() is strategy


def test_what_a_study_does_not_have_is_a_problem_and_what_is_not_used_a_note() -> None:
    sheet = pd.DataFrame({"sample_id": ["s1", "t"], "role": ["patient", "fmo"], "path": ["s1.fcs", "t.fcs"]})
    tree, shapes = both()
    typed = tree.with_pins({"CD3": {"S1": 2.0}})
    problems = {problem.what: problem.fix for problem in typed.problems(StudyFacts(samples=sheet))}
    assert problems == {
        "strategy 'thresholds' pins CD3 for sample 'S1', and there is no such sample": "did you mean 's1'?",
        "threshold 'VHH' is found in tube 'no_vhh'; the sheet has no such sample": "known: s1, t",
    }
    for strategy in (tree, shapes):
        assert [note for note in strategy.notes(StudyFacts(samples=sheet)) if "'t' has the role fmo" in note]
        assert not [note for note in strategy.notes(StudyFacts()) if "role fmo" in note]


def test_former_names_go_on_working_and_warn() -> None:
    assert not {"DocumentTree", "plots", "threshold"} & set(gate.__all__)
    with pytest.warns(DeprecationWarning, match="DocumentTree is now called ShapeStrategy"):
        assert gate.DocumentTree is ShapeStrategy
    with pytest.warns(DeprecationWarning, match="threshold is now called threshold_gate"):
        assert gate.threshold("a", ON_CD3, 2.0) == gate.threshold_gate("a", ON_CD3, 2.0)
    with pytest.raises(AttributeError, match="no attribute 'DocumentTrees'"):
        _ = gate.DocumentTrees
