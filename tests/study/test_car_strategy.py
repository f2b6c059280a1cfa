"""`cytocar init` writes a gating strategy for the panel at hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cytocar import gate
from cytocar.gate._strategy.strategy import StudyFacts
from cytocar.panel import Panel
from cytocar.study._scaffold.car_strategy import PanelStrategy, Tubes, car_strategy
from cytocar.study._scaffold.file_names import guess_batches, guess_samples, patients_of_folders
from cytocar.study._scaffold.file_roles import guess_roles

LEGEND2 = Panel.read("legend2")


def without(*markers: str, **called: str) -> Panel:
    """Return the panel of the simulated study without some markers, and with others called otherwise."""
    frame = LEGEND2.frame
    frame = frame[~frame["marker"].isin(markers)].reset_index(drop=True)
    return replace(LEGEND2, frame=frame.assign(marker=frame["marker"].replace(called)))


def made(panel: Panel, tubes: Tubes | None = None) -> PanelStrategy:
    strategy = car_strategy(panel, tubes)
    assert strategy is not None
    assert gate.GateTree.from_yaml(strategy.text) == strategy.tree
    assert list(strategy.tree.problems(StudyFacts(panel, None, False))) == []
    return strategy


def gates(strategy: PanelStrategy, population: str) -> list[str]:
    return [str(strategy.tree.population(name).gate) for name in strategy.tree.paths()[population]]


def test_a_panel_with_all_markers_is_gated_by_the_strategy_as_it_comes() -> None:
    assert made(LEGEND2).tree == gate.car_t()


@pytest.mark.parametrize("marker", ["FMC63", "EGFRt", "CAR", "Protein L", "BCMA-Fc", "G4S linker"])
def test_another_reagent_stands_where_vhh_stood(marker: str) -> None:
    strategy = made(without(VHH=marker))
    assert strategy.tree.thresholds["CAR"].markers == (marker,)
    assert gates(strategy, "CAR-T")[-1] == "CAR+"
    whole = {name: each for name, each in gate.car_t().thresholds.items() if name != "VHH"}
    assert {name: each for name, each in strategy.tree.thresholds.items() if name != "CAR"} == whole
    assert [plot.y for plot in strategy.tree.plots].count(marker) == 1
    assert f"The CAR is shown by {marker}" in strategy.text


def test_cells_that_bind_the_reagent_without_a_car_are_not_taken_for_negatives() -> None:
    rule = made(without(VHH="Protein L")).tree.thresholds["CAR"].rule
    assert rule is not None
    assert "negatives: {in: CD45+, gate: [CD3-, CD7-, CD19-]}" in made(without(VHH="Protein L")).text
    assert "gate: [CD3-, CD7-, CD14-]" in made(without(VHH="BCMA-Fc")).text


@pytest.mark.parametrize("marker", ["CD7", "CD66b", "CD11b", "CD11c", "CD14", "CD19"])
def test_a_missing_step_is_left_out_and_said_and_all_others_stay(marker: str) -> None:
    strategy = made(without(marker))
    whole = [each for each in gates(made(LEGEND2), "CAR-T") if each.rstrip("+-") != marker]
    assert gates(strategy, "CAR-T") == whole
    assert any(line.strip().startswith("# left out: " + marker) for line in strategy.text.splitlines())
    assert any(note.startswith(f"gating.yaml leaves out {marker}: ") for note in strategy.notes)
    assert {strategy.tree.compartments[name] for name in ("car", "host")} == {"CAR-T", "Host T"}


def test_without_cd3_nothing_is_called_a_t_cell() -> None:
    strategy = made(without("CD3", "CD19"))
    assert dict(strategy.tree.compartments) == {"car": "CAR+", "host": "CAR-negative"}
    assert not [p.name for p in strategy.tree.expanded() if "T cells" in p.name or "CAR-T" in p.name]
    assert "CAR+ is not restricted to T cells" in strategy.text
    assert "B cells are not kept out" in strategy.text
    assert "negatives: {in: CAR-negative lineages" in strategy.text


def test_without_cd45_shares_are_of_all_cells_and_without_cd4_there_are_no_subsets() -> None:
    strategy = made(without("CD45", "CD4"))
    assert strategy.tree.denominator == "cells"
    assert not strategy.tree.subsets
    assert "per cent of all cells" in strategy.text
    assert "there are no subsets" in strategy.text


def test_cd11b_alone_does_not_gate_out_activated_t_cells() -> None:
    strategy = made(without("CD3", "CD14", "CD66b", "CD19", "CD7"), Tubes(("HA",), fewest=1660))
    assert gates(strategy, "CAR+") == ["CD45+", "VHH+"]
    assert "rule: negatives, false_positive_rate: 0.001, controls: only" in strategy.text


def test_a_tube_without_the_reagent_sets_the_threshold_where_nothing_else_does() -> None:
    panel = without("CD3", "CD14", "CD66b", "CD19")
    assert "fallback: [{rule: negatives" in made(panel, Tubes(fmo=("FMO",), fewest=5000)).text
    assert "fallback: [{rule: fmo" in made(panel, Tubes(("mock",), fmo=("FMO",), fewest=5000)).text


def test_a_truncated_cd19_is_not_gated_out() -> None:
    strategy = made(without(VHH="tCD19"))
    assert "CD19-" not in gates(strategy, "CAR-T")
    assert "cells with the CAR have it too" in strategy.text
    assert "any_of: [Monocytes, Granulocytes]" in strategy.text
    assert "negatives: {in: CAR-negative lineages" in strategy.text


def test_no_reagent_no_strategy_and_a_doubtful_one_is_said_to_be_so() -> None:
    assert car_strategy(without("VHH")) is None
    assert not made(without(VHH="CD271")).certain


@pytest.mark.parametrize(
    ("stems", "roles"),
    [
        (["CD19-HA-Control", "18_HA-Control", "Healthy-PBMC2-Control"], "pcc"),
        (["P1_2mo", "P2_5yr", "HD1"], "ppc"),
        (["day7_CAR", "day7_UTD", "day7_mock"], "pcc"),
        (["P1_pre", "P1_D28", "P1_D90"], "cpp"),
        (["P1_D-7", "P1_D28"], "cp"),
        (["P1", "Donor1"], "pc"),
        (["Donor1_CAR", "Donor2_CAR"], "pp"),
        (["P1", "P2_FMO_VHH"], "pf"),
        (["a_control", "b_control"], "pp"),
        (["a", "b_NTD"], "pc"),
        (["mock1", "mock2"], "pp"),
    ],
)
def test_roles_are_guessed_from_names(stems: list[str], roles: str) -> None:
    letter = {"patient": "p", "negative_control": "c", "fmo": "f"}
    found = guess_roles(stems, guess_samples(stems))
    assert "".join(letter[role] for role, _ in found) == roles


def test_batches_are_guessed_from_names_folders_and_dates() -> None:
    none: list[tuple[str, ...]] = [(), ()]
    assert guess_batches(["P1_run1", "P2_run2"], none) == (["run1", "run2"], "the file names")
    assert guess_batches(["P1", "P2"], [("batch 1",), ("batch 2",)]) == (
        ["batch 1", "batch 2"],
        "the folders",
    )
    assert guess_batches(["20190322_P1", "20190403_P2"], none)[0] == ["2019-03-22", "2019-04-03"]
    assert guess_batches(["2019-03-22 P1", "2019-04-03 P2"], none)[0] == ["2019-03-22", "2019-04-03"]
    assert guess_batches(["P1_run1", "P2_run1"], none) == ([], "")
    assert guess_batches(["P1_D28", "P2_D90"], none) == ([], "")
    assert guess_batches(["P1_123456", "P2_999999"], none) == ([], "")


def test_patients_are_guessed_from_folders() -> None:
    assert patients_of_folders([("x", "Patient 3"), ("x", "Patient 4")]) == ["Patient3", "Patient4"]
    assert patients_of_folders([("P1",), ()]) is None
