"""Strategies as YAML: names are what was written, every problem has its line, and what is written is read back."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar import GateError, gate
from cytocar.gate import GateTree
from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._populations.parts import Plot, Population, Term, Terms
from cytocar.gate._rules.base import Rule
from cytocar.gate._rules.fmo import Fmo
from cytocar.gate._rules.negatives import Negatives
from cytocar.gate._rules.other_samples import OtherSamples
from cytocar.gate._rules.quantile import Quantile
from cytocar.gate._rules.registry import RULES
from cytocar.gate._rules.tail import Tail
from cytocar.gate._rules.upper_limit import UpperLimit
from cytocar.gate._strategy.threshold import Threshold

ODD_NAMES = (
    "01",
    "1_1",
    "12:30",
    "off",
    "1e3",
    "0x1f",
    "null",
    "~",
    "yes",
    "2024-01-01",
    "1.0",
    "<<",
    "=",
    "- a",
    "a: b",
)

TREE = """
cytocar_gating: 1
name: pins
thresholds:
  CD3: {marker: CD3, value: 2.5, samples: %s}
populations:
  - {name: T cells, parent: cells, gate: [CD3+]}
"""


def pins(samples: str) -> dict[str, float]:
    return dict(GateTree.from_yaml(TREE % samples).thresholds["CD3"].samples)


def test_names_of_samples_are_what_was_written() -> None:
    stated = "{01: 3.0, 1_1: 3.5, 12:30: 4, off: 1e-1, 1e3: 2, true: 1, 2024-01-01: 5}"
    assert pins(stated) == {
        "01": 3.0, "1_1": 3.5, "12:30": 4.0, "off": 0.1, "1e3": 2.0, "true": 1.0, "2024-01-01": 5.0,
    }  # fmt: skip


def test_a_number_pinned_for_sample_01_is_used_for_it(tube, joined) -> None:
    adata = joined(tube(seed=1, sample="01"), tube(seed=2, sample="1"))
    gate.apply(adata, GateTree.from_yaml(TREE % "{01: 3.0}"))
    table = gate.thresholds(adata).set_index("sample_id")
    assert table["value"].to_dict() == {"01": 3.0, "1": 2.5}


def test_names_as_values_are_what_was_written() -> None:
    tree = GateTree.from_yaml("""
cytocar_gating: 1
name: 007
description: 1e3
thresholds:
  A: {marker: [010, off], rule: fmo, fmo: {sample: 01}, in: 1e1, fallback: {rule: quantile, of: {role: no}}}
  B: {marker: 12:30, rule: negatives, negatives: {in: 1e1, gate: [A+]}, controls: off}
populations:
  - {name: 1e1, parent: cells, gate: []}
  - {name: 02, parent: 1e1, not: [1e1]}
denominator: 02
compartments: {car: 02}
optional_markers: [010]
plots: [{parent: 02, x: 010, y: 1_1}]
""")
    first, second = tree.thresholds.values()
    assert (tree.name, tree.description, tree.denominator, tree.optional) == ("007", "1e3", "02", ("010",))
    assert (first.markers, first.population, second.markers) == (("010", "off"), "1e1", ("12:30",))
    assert first.rule == Fmo(sample="01")
    assert first.fallback == (Quantile(role="no"),)
    assert second.rule == Negatives(population="1e1", gate=(Term("A", True),), controls="off")
    assert [population.name for population in tree.populations] == ["1e1", "02"]
    assert tree.compartments == {"car": "02"}
    assert tree.plots == (Plot("02", "010", "1_1"),)
    assert GateTree.from_yaml(tree.to_yaml()) == tree


def test_every_problem_comes_at_once_with_its_line() -> None:
    text = """
cytocar_gating: 1
name: wrong
thresholds:
  CD3:
    marker: CD3
    rule: valley
    min_cells: none
    range: [3, 1]
    samples: {S1: 2.5, S2: high}
  CD4: {rule: vale}
  CD8: {rule: mixture, fallback: [{rule: tail, tolerance: 7}]}
populations:
  - name: T cells
    gate: [CD3]
  - {parent: cells, gate: []}
plot: []
subsets: {CD4: CD4}
"""
    with pytest.raises(GateError) as caught:
        GateTree.from_yaml(text)
    problems = caught.value.problems
    assert [(problem.where, problem.what.split(";")[0]) for problem in problems] == [
        ("line 17", "unknown key 'plot', did you mean 'plots'?"),
        ("line 9, threshold CD3", "range is [3, 1]"),
        ("line 8, threshold CD3", "min_cells is 'none'"),
        ("line 10, threshold CD3", "the value for sample S2 is 'high'"),
        ("line 11, threshold CD4", "there is no rule 'vale'"),
        ("line 12, threshold CD8", "tolerance is 7"),
        ("line 15, population 'T cells'", "'CD3' is not a gate term"),
        ("line 16, population number 2", "name is missing"),
        ("line 18, subset CD4", "'CD4' is not a gate term"),
    ]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ("{S1: 1_1}", "line 5, threshold CD3: the value for sample S1 is '1_1'; it must be a number"),
        ("{S1: yes}", "the value for sample S1 is 'yes'; it must be a number"),
        ("{S1: true}", "the value for sample S1 is True; it must be a number"),
        ("{S1: .inf}", "the value for sample S1 is inf; it must be a finite number"),
        ("{S1: 2, S1: 3}", "line 5, column 51: 'S1' is also given on line 5"),
        ("{S1: &a 2, S2: *a}", "line 5: thresholds.CD3.samples.S2 is an alias"),
        ("{S1: {a: 1}}", r"the value for sample S1 is \{'a': 1\}; it must be a number"),
        ("[2]", r"samples is \[2\]; it must be \{sample: number\}"),
        ("{S1: 2", "is not YAML: expected ',' or '}'"),
    ],
)
def test_what_is_wrong_with_pins_is_named_with_its_line(samples: str, message: str) -> None:
    with pytest.raises(GateError, match=message):
        pins(samples)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "gating strategy: is empty; its first line should be  cytocar_gating: 1"),
        ("- a", "gating strategy, line 1: holds no settings"),
        ("name: x", "this is not a gating strategy; its first line should be  cytocar_gating: 1"),
        ("name: x\ncytocar_gating: 2", "line 2: cytocar_gating is 2; this version of cytocar reads 1"),
        (
            "cytocar_gating: 1\nname: x\nthresholds: [A]",
            "line 3: thresholds should be a mapping, not ['A']",
        ),
        (
            "cytocar_gating: 1\nname: x\npopulations: {A: 1}",
            "line 3: populations should be a list, not {'A': 1}",
        ),
        ("cytocar_gating: 1", "line 1: name is missing"),
    ],
)
def test_what_is_not_a_strategy_is_named(text: str, message: str) -> None:
    with pytest.raises(GateError) as caught:
        GateTree.from_yaml(text)
    assert message in str(caught.value).replace("\n    ", "; ")


def test_problems_of_a_file_have_its_name(tmp_path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(TREE % "{S1: high}", encoding="utf-8")
    with pytest.raises(
        GateError, match=r"gates\.yaml.*line 5, threshold CD3: the value for sample S1 is 'high'"
    ):
        gate.load(path)


NAMES = st.one_of(st.sampled_from(ODD_NAMES), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
FLOATS = st.floats(-1e6, 1e6)
SHARES = st.floats(1e-9, 0.49)


def rules(sample: str) -> st.SearchStrategy[Rule]:
    low_high = st.tuples(st.none() | st.floats(-9, 0), st.none() | st.floats(1, 9))
    cells = st.integers(1, 10**7)
    return st.one_of(
        st.builds(lambda ends, n, share: UpperLimit(*ends, min_cells=n, rate=share), low_high, cells, SHARES),
        st.builds(lambda ends, share: Tail(*ends, tolerance=share), low_high, SHARES),
        st.builds(lambda ends: OtherSamples(*ends), low_high),
        st.builds(lambda q: Fmo(sample=sample, quantile=q), st.floats(0.01, 0.99)),
        st.builds(lambda q: Quantile(role=sample, quantile=q), st.floats(0.01, 0.99)),
        st.builds(lambda share: Negatives(population="cells", gate=(), false_positive_rate=share), SHARES),
    )


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back_exactly(data: st.DataObject) -> None:
    name, marker, sample = data.draw(st.tuples(NAMES, NAMES, NAMES))
    stripped = name.strip() or "A"
    threshold = Threshold(
        name=stripped,
        markers=(marker, *data.draw(st.lists(NAMES, max_size=2))),
        rule=data.draw(st.none() | rules(sample)),
        fallback=tuple(data.draw(st.lists(rules(sample), max_size=2))),
        value=data.draw(FLOATS),
        samples=FrozenDict(data.draw(st.dictionaries(NAMES, FLOATS, max_size=3))),
    )
    population = data.draw(NAMES.filter(lambda text: "/" not in text and text not in ("cells", "events")))
    tree = GateTree(
        name=data.draw(NAMES),
        description=data.draw(NAMES).strip(),
        thresholds={stripped: threshold},
        populations=(Population(population, "cells", Terms((Term(stripped, True),))),),
        compartments={data.draw(NAMES): population},
        plots=(Plot(population, marker, sample),),
    )
    again = GateTree.from_yaml(tree.to_yaml())
    assert again == tree
    assert list(again.thresholds[stripped].samples) == list(threshold.samples)


def test_what_is_written_means_the_same_to_a_reader_of_yaml_1_1() -> None:
    tree = GateTree(
        name="off",
        thresholds={
            "A": Threshold("A", ("A",), value=1e-7, samples=FrozenDict(dict.fromkeys(ODD_NAMES, 2e30)))
        },
        populations=(Population("12:30", "cells", Terms((Term("A", True),))),),
    )
    content = yaml.safe_load(tree.to_yaml())
    assert content["name"] == "off"
    assert content["thresholds"]["A"] == {
        "marker": "A",
        "value": 1e-7,
        "samples": dict.fromkeys(ODD_NAMES, 2e30),
    }
    assert content["populations"][0]["name"] == "12:30"


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_rule_has_a_name_a_sentence_and_a_row_in_the_docs(rule: type[Rule], pytestconfig) -> None:
    page = (pytestconfig.rootpath / "docs" / "thresholds.md").read_text(encoding="utf-8")
    assert f"`{rule.kind}`" in page
    assert rule.__doc__
    assert rule.kind in rule().describe().replace(" ", "_")
    assert len(set(rule.yaml_keys())) == len(rule.yaml_keys())
