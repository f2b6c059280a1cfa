"""Strategies and gates that are wrong in ways nobody would think of: one clear message, no crash, no guess."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cytocar import GateError
from cytocar.gate import (
    Asinh,
    Dimension,
    GateTree,
    GatingDocument,
    Hyperlog,
    Logicle,
    ShapeStrategy,
    interval,
    load,
    write_gatingml,
)
from cytocar.gate._shapes.flowjo_scales import Biex

TREE = """
cytocar_gating: 1
name: s
thresholds: {CD3: %s}
populations: [{name: %s, parent: cells, gate: [CD3+]}]
"""


@pytest.mark.parametrize(
    ("threshold", "reason"),
    [
        ("{rule: [valley]}", r"there is no rule \['valley'\]"),
        ("{rule: {a: b}}", "there is no rule"),
        ("{marker: [], value: 1}", "marker is empty; it must be a name or a list of names"),
        ("{rule: fmo, fmo: {sample: ''}}", r"fmo is \{'sample': ''\}; it must be one of \{sample: TUBE\}"),
        ("{rule: quantile, of: {role: ''}}", r"of is \{'role': ''\}"),
        ("{[a]: 1}", "line 4: a key is not a plain word"),
    ],
)
def test_thresholds_that_are_no_thresholds(threshold: str, reason: str) -> None:
    with pytest.raises(GateError, match=reason):
        GateTree.from_yaml(TREE % (threshold, "T"))


def test_names_are_texts_and_lists_end() -> None:
    with pytest.raises(GateError, match=r"population .*: name is a list; it must be a text"):
        GateTree.from_yaml(TREE % ("{value: 1}", "[T]"))
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nname: *b\n"
    with pytest.raises(GateError, match="line 4: name is an alias") as caught:
        GateTree.from_yaml(f"cytocar_gating: 1\n{bomb}")
    assert "'x'" not in str(caught.value)
    with pytest.raises(GateError, match="too many lists lie within one another"):
        GateTree.from_yaml("cytocar_gating: 1\nname: " + "[" * 5000)


def test_one_population_is_not_two_compartments() -> None:
    text = TREE % ("{value: 1}", "T") + "compartments: {car: T, host: T}\n"
    with pytest.raises(GateError, match="compartments 'car' and 'host' are both population 'T'"):
        GateTree.from_yaml(text)
    document = GatingDocument([interval("T", Dimension("A"), low=1)])
    with pytest.raises(GateError, match="car and host are both population 'T'; keep them apart"):
        ShapeStrategy(document, car="T", host="T")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Asinh(t=1e3, m=1000.0), "0 < M <= 50"),
        (lambda: Logicle(t=1e300, w=1.0, m=400.0), "0 < M <= 50"),
        (lambda: Hyperlog(t=1e300, w=1.0, m=400.0), "0 < M <= 50"),
        (lambda: Biex(top=1e300, pos=400.0), "POS <= 50"),
        (lambda: Biex(neg=1e6), "NEG <= 50"),
        (lambda: Biex(pos=49.0, width=-1e200), "WIDTH <= -1"),
    ],
)
def test_scales_of_more_decades_than_there_are(make, reason: str) -> None:
    with pytest.raises(GateError, match=reason):
        make()


def test_scales_at_the_ends_of_their_domains_have_places() -> None:
    for scale in (
        Asinh(t=1e5, m=50.0, a=50.0),
        Logicle(t=1e5, w=25.0, m=50.0),
        Logicle(t=1e5, w=0.0, m=50.0, a=50.0),
        Hyperlog(t=1e5, w=25.0, m=50.0),
        Biex(top=1e5, pos=50.0, neg=50.0, width=-1e9),
    ):
        low, middle, high = scale.apply([-10.0, 0.0, 1e5]).tolist()
        assert low <= middle < high == pytest.approx(1.0, abs=1e-3), scale


def test_a_document_without_gates_is_no_strategy(tmp_path) -> None:
    write_gatingml(GatingDocument([]), tmp_path / "none.xml")
    with pytest.raises(GateError, match=r"none.xml holds no gates; without gates write 'gating: off'"):
        load(tmp_path / "none.xml")


def test_a_gate_of_one_file_has_no_other_version_for_it() -> None:
    one, other = (interval(name, Dimension("A"), low=1) for name in ("T", "T2"))
    gates = [replace(one, file="a.fcs"), replace(other, file="a.fcs", version_of="T")]
    with pytest.raises(GateError, match=r"gate 'T' has two versions for 'a.fcs'"):
        GatingDocument(gates)


def test_true_is_not_version_1() -> None:
    with pytest.raises(GateError, match="line 1: cytocar_gating is True; this version of cytocar reads 1"):
        GateTree.from_yaml("cytocar_gating: true\nname: s\n")
