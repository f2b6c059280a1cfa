from __future__ import annotations

import dataclasses
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar import GateError, ParameterError, gate
from cytocar.gate import GateTree
from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._populations.parts import Plot, Population, Term, Terms
from cytocar.gate._rules.negatives import Negatives
from cytocar.gate._rules.other_samples import OtherSamples
from cytocar.gate._rules.upper_limit import UpperLimit
from cytocar.gate._rules.valley import Valley
from cytocar.gate._strategy.threshold import Threshold

HEAD = "cytocar_gating: 1\nname: x\n"


def test_the_path_of_car_t_is_the_published_one() -> None:
    tree = gate.car_t()
    path, name = [], "CAR-T"
    while name != "cells":
        population = tree.population(name)
        path.append(str(population.gate))
        name = population.parent
    assert path[::-1] == ["CD45+", "CD11b-", "CD11c-", "CD66b-", "CD19-", "CD14-", "CD7+", "CD3+", "VHH+"]
    assert str(tree.population("Host T").gate) == "VHH-"
    assert tree.population("Host T").parent == tree.population("CAR-T").parent == "T cells"
    assert tree.denominator == "CD45+"
    assert tree.compartments == {"car": "CAR-T", "host": "Host T"}
    assert str(tree.population("CAR-T DN").gate) == "CD4- CD8a-"
    assert len(tree.expanded()) == len(tree.populations) + 8


def test_required_markers_leaves_out_the_optional_ones() -> None:
    tree = gate.car_t()
    names = ("CD45", "CD11b", "CD11c", "CD66b", "CD19", "CD14", "CD7", "CD3", "CD4", "CD8a", "VHH")
    assert tree.required_markers() == names
    fewer = dataclasses.replace(tree, optional=("cd66B", "CD-19"))
    assert set(tree.required_markers()) - set(fewer.required_markers()) == {"CD66b", "CD19"}
    assert fewer.optional_markers() == ("cd66B", "CD-19")


@pytest.mark.parametrize("name", gate.strategy_names())
def test_yaml_gives_the_same_tree_again(name: str) -> None:
    tree = gate.load(name)
    assert GateTree.from_yaml(tree.to_yaml()) == tree
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert hash(tree) == hash(gate.load(name))


words = st.text("abcXYZ 019é:#'\"{}[],&*!|>%@-", min_size=1, max_size=12).map(str.strip).filter(bool)
numbers = st.floats(-10, 10, allow_nan=False)
rules = st.one_of(
    st.builds(
        Valley,
        low=st.none() | st.floats(0, 1),
        high=st.none() | st.floats(2, 5),
        min_cells=st.integers(1, 999),
    ),
    st.builds(UpperLimit, rate=st.floats(1e-6, 0.4)),
    st.builds(OtherSamples),
    st.builds(
        Negatives,
        population=st.just("cells"),
        gate=st.just((Term("A", False),)),
        false_positive_rate=st.floats(1e-6, 0.4),
        controls=st.sampled_from(["auto", "off", "only"]),
    ),
)


@settings(max_examples=40, deadline=None)
@given(
    name=words,
    marker=words,
    rule=rules,
    fallback=st.lists(rules, max_size=2),
    value=st.none() | numbers,
    pins=st.dictionaries(words, numbers, max_size=2),
)
def test_yaml_keeps_any_name_and_number(name, marker, rule, fallback, value, pins) -> None:
    tree = GateTree(
        name=name,
        thresholds={
            "A": Threshold("A", ("A",), value=1.0),
            "B": Threshold("B", (marker, "other"), "p", rule, tuple(fallback), value, FrozenDict(pins)),
        },
        populations=(Population("p", "cells", Terms((Term("A", True),))),),
        plots=(Plot("p", marker, name),),
        description=name,
    )
    assert GateTree.from_yaml(tree.to_yaml()) == tree


def test_a_tree_prints_as_a_tree(small: str) -> None:
    text = str(GateTree.from_yaml(small))
    assert "└── T cells  [CD3+]\n    ├── CAR-T  [VHH+]\n    │   ├── CAR-T CD4  [CD4+]" in text
    assert "CD4  valley [0.8..4.5] in T cells" in text
    assert "negatives (control tubes: auto; cells CD3-) at 0.001 in T cells" in text


def test_a_tree_is_not_changed_in_place(small: str) -> None:
    tree = GateTree.from_yaml(small)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tree.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError, match="with_threshold"):
        tree.thresholds["CD3"] = tree.thresholds["CD4"]  # type: ignore[index]
    changed = tree.with_threshold("CD3", 2.5).with_threshold("cd-4", 1.5, sample="S1")
    assert tree.thresholds["CD3"].value is None
    assert changed.thresholds["CD3"].pinned("S9") == 2.5
    assert changed.thresholds["CD4"].pinned("S1") == 1.5
    assert changed.thresholds["CD4"].pinned("S2") is None


def test_with_threshold_takes_a_marker_for_its_threshold(small: str) -> None:
    assert GateTree.from_yaml(small).with_threshold("CAR-ID", 2.0).thresholds["VHH"].value == 2.0
    with pytest.raises(GateError, match="no threshold 'CD33'; known: CD3, CD4, VHH"):
        GateTree.from_yaml(small).with_threshold("CD33", 2.0)
    with pytest.raises(ParameterError, match="number for threshold 'CD3' is nan; it must be a finite number"):
        GateTree.from_yaml(small).with_threshold("CD3", float("nan"))


def test_without_leaves_terms_out_and_drops_subsets_that_would_be_wrong(small: str) -> None:
    tree = GateTree.from_yaml(small)
    fewer = tree.without(["CD4"])
    assert set(fewer.thresholds) == {"CD3", "VHH"}
    assert fewer.subsets == {}
    fewer = tree.without(["CD3"])
    assert str(fewer.population("T cells").gate) == ""
    assert fewer.subsets == tree.subsets
    rule = fewer.thresholds["VHH"].rule
    assert isinstance(rule, Negatives)
    assert rule.population is None, "without CD3- these cells are not known to be negative"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("name: x", "first line should be  cytocar_gating: 1"),
        ("cytocar_gating: 2\nname: x", "cytocar_gating is 2; this version of cytocar reads 1"),
        (HEAD + "treshold: 1", r"unknown key 'treshold', did you mean 'thresholds'\?"),
        (HEAD + "thresholds: {A: {marker: A, rule: valey}}", r"no rule 'valey'; did you mean 'valley'\?"),
        (HEAD + "thresholds: {A: {marker: A, value: high}}", "value is 'high'; it must be a number"),
        (HEAD + "thresholds: {A: {marker: A, value: .nan}}", "value is nan; it must be a finite number"),
        (HEAD + "thresholds: {A: {marker: A}}", "'A' has neither a rule nor a value"),
        (HEAD + "thresholds: {A: {rule: valley, rate: 0.1}}", "unknown key 'rate'"),
        (HEAD + "thresholds: {A: {rule: valley, range: [3, 1]}}", r"range is \[3, 1\]; low must be below high"),
        (HEAD + "thresholds: {A: {rule: valley, min_cells: 0}}", "min_cells is 0; it must be a whole number"),
        (HEAD + "thresholds: {A: {rule: valley, min_confidence: 2}}", "min_confidence is 2; it must be between"),
        (HEAD + "thresholds: {A: {rule: valley, fallback: 3}}", "fallback is 3; it must be a rule"),
        (HEAD + "thresholds: {A: {rule: negatives}}", "to say which cells are negative"),
        (HEAD + "thresholds: {A: {rule: negatives, controls: maybe}}", "controls is 'maybe'; it must be one of auto"),
        (HEAD + "thresholds: {A: {rule: negatives, controls: only, false_positive_rate: 0.7}}", "rate is 0.7; it must"),
        (HEAD + "thresholds: {A: {rule: valley, in: Tcells}}", "'Tcells', which is not there"),
        (HEAD + "thresholds:\n  A: {value: 1}\n  A: {value: 2}", "line 5, column 3: 'A' is also given on line 4"),
        (HEAD + "populations: [{name: T, gate: [CD3]}]", "'CD3' is not a gate term"),
        (HEAD + "populations: [{name: T}]", "give either  gate: "),
        (HEAD + "populations: [{name: T, parent: cels, not: [cells]}]", "'cels', .* did you mean 'cells'"),
        (HEAD + "populations: [{name: a/b, not: [cells]}]", "'a/b' cannot be the name of a population"),
        (HEAD + "populations: [{name: T, not: [cells]}, {name: T, not: [cells]}]", "two populations are called 'T'"),
        (HEAD + "populations: [{name: T, gate: [CD3+]}]", "uses 'CD3\\+', but there is no threshold 'CD3'"),
        (HEAD + "subsets: {CD4: [CD4+]}", "subset 'CD4' uses 'CD4\\+'"),
        (HEAD + "compartments: {car: CAR}", "compartment 'car' names population 'CAR'"),
        (HEAD + "denominator: CD45+", "denominator names population 'CD45\\+'"),
        (HEAD + "plots: [{parent: T, x: A, y: B}]", "plot B over A names population 'T'"),
        (HEAD + "plots: 3", "plots should be a list, not 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_strategy_is_named(text: str, message: str) -> None:
    with pytest.raises(GateError, match=message):
        GateTree.from_yaml(text)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(GateError) as caught:
        GateTree.from_yaml(HEAD + "thresholds: {A: {rule: a}, B: {rule: b}}\npopulations: [{name: T}]")
    assert str(caught.value).count("\n") == 2


def test_a_circle_names_its_members() -> None:
    text = HEAD + "thresholds: {CD3: {rule: valley, in: T}}\npopulations: [{name: T, gate: [CD3+]}]"
    with pytest.raises(GateError, match="population 'T' needs threshold 'CD3' needs population 'T'"):
        GateTree.from_yaml(text)
    text = HEAD + "populations: [{name: A, parent: B, not: [cells]}, {name: B, parent: A, not: [cells]}]"
    with pytest.raises(GateError, match="population 'A' needs population 'B' needs population 'A'"):
        GateTree.from_yaml(text)


def test_yaml_1_1_traps_are_read_as_they_are_meant() -> None:
    text = HEAD + (
        "thresholds:\n  A: {value: 1}\n"
        "  B: {rule: negatives, controls: off, false_positive_rate: 1e-4, negatives: {in: cells, gate: A-}}\n"
    )
    rule = GateTree.from_yaml(text).thresholds["B"].rule
    assert isinstance(rule, Negatives)
    assert (rule.controls, rule.false_positive_rate, rule.gate) == ("off", 1e-4, (Term("A", False),))


def test_load_finds_names_and_files(tmp_path, small: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(small, encoding="utf-8")
    assert gate.load(path) == GateTree.from_yaml(small)
    assert gate.load("off") == gate.load("cells")
    with pytest.raises(GateError, match=r"no gating strategy 'cart'.*did you mean 'car_t'\?"):
        gate.load("cart")
    with pytest.raises(GateError, match=r"missing\.yaml: the gating strategy cannot be read"):
        gate.load(tmp_path / "missing.yaml")
    path.write_text("name: x", encoding="utf-8")
    with pytest.raises(GateError, match=r"my\.yaml: this is not a gating strategy"):
        gate.load(path)
