"""Cytobank's Gating-ML, what is written and read again, and files that are wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar import gate
from cytocar._core.errors import GateError, ParameterError
from cytocar.gate import (
    Asinh,
    Combination,
    Dimension,
    Ellipsoid,
    GatingDocument,
    Operand,
    Polygon,
    Rectangle,
    SpectrumMatrix,
    interval,
    threshold_gate,
)
from cytocar.gate._exchange import xml
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header

SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0"
HEAD = (
    f'<gating:Gating-ML xmlns:gating="{SPACE}/gating" xmlns:transforms="{SPACE}/transformations" '
    f'xmlns:data-type="{SPACE}/datatypes">'
)


def info(**texts: object) -> str:
    said = "".join(f"<{key}>{value}</{key}>" for key, value in texts.items())
    return f"<data-type:custom_info><cytobank>{said}</cytobank></data-type:custom_info>"


def box(identity: str, said: str, channel: str, low: float, high: float) -> str:
    return (
        f'<gating:RectangleGate gating:id="{identity}">{said}'
        f'<gating:dimension gating:compensation-ref="uncompensated" gating:min="{low}" gating:max="{high}" '
        f'gating:transformation-ref="Tr_Arcsinh_5"><data-type:fcs-dimension data-type:name="{channel}"/>'
        "</gating:dimension></gating:RectangleGate>"
    )


def gate_set(number: int, name: str, *references: str) -> str:
    parts = "".join(
        f'<gating:gateReference gating:ref="{one.lstrip("!")}"'
        + (' gating:use-as-complement="true"/>' if one.startswith("!") else "/>")
        for one in references
    )
    said = info(name=name, id=number, gate_set_id=number)
    content = f"{said}<gating:and>{parts}</gating:and>"
    return f'<gating:BooleanGate gating:id="GateSet_{number}">{content}</gating:BooleanGate>'


EXPORT = (
    HEAD
    + '<transforms:transformation transforms:id="Tr_Arcsinh_5"><transforms:fasinh transforms:T="5.8760059682190064" '
    'transforms:M="0.43429448190325176" transforms:A="0.0"/></transforms:transformation>'
    + box("Gate_1_a", info(name="CD45", gate_id=1, fcs_file_filename=""), "CD45(Gd154)Di", 2, 9)
    + box("Gate_2_b", info(name="CD45", gate_id=1, fcs_file_filename="p2.fcs"), "CD45(Gd154)Di", 4, 9)
    + box("Gate_3_c", info(name="T cells", gate_id=2, fcs_file_filename=""), "CD3(Yb170)Di", 1, 9)
    + gate_set(1, "Leukocytes", "Gate_1_a", "Gate_1_a")
    + gate_set(2, "T cells", "Gate_1_a", "Gate_3_c")
    + gate_set(3, "no T cells", "Gate_1_a", "!Gate_3_c")
    + "</gating:Gating-ML>"
)


def read(text: str, folder: Path) -> GatingDocument:
    (folder / "gates.xml").write_text(text, encoding="utf-8")
    return gate.read_gatingml(folder / "gates.xml")


def test_names_tree_and_gates_of_single_files(tmp_path: Path) -> None:
    document = read(EXPORT, tmp_path)
    paths = ["/".join(one.path) for one in document.populations]
    assert paths == ["Leukocytes", "Leukocytes/T cells", "Leukocytes/no T cells"]
    assert str(document) == "Leukocytes\n  T cells\n  no T cells"
    assert document.files == ("p2.fcs",)
    assert document.names["Gate_3_c"] == "T cells"
    events = 5 * np.sinh(np.array([[3.0, 2.0], [3.0, 0.0], [5.0, 2.0], [1.0, 2.0]]))
    channels = ["Gd154Di", "170Yb"]
    usual = document.evaluate(events, channels, file="p1.fcs")
    tailored = document.evaluate(events, channels, file="p2.fcs")
    assert usual["GateSet_2"].tolist() == [True, False, True, False]
    assert usual["GateSet_3"].tolist() == [False, True, False, False]
    assert tailored["GateSet_2"].tolist() == [False, False, True, False]
    assert set(usual) == {"Gate_1_a", "Gate_3_c", "GateSet_1", "GateSet_2", "GateSet_3"}


@pytest.mark.parametrize("flavour", ["gatingml", "cytobank"])
def test_an_export_is_written_back(tmp_path: Path, flavour: str) -> None:
    document = read(EXPORT, tmp_path)
    gate.write_gatingml(document, tmp_path / "again.xml", flavour=flavour)
    again = gate.read_gatingml(tmp_path / "again.xml")
    assert [one.path for one in again.populations] == [one.path for one in document.populations]
    events = np.random.default_rng(0).exponential(100, (2000, 2))
    for file in ("p1.fcs", "p2.fcs"):
        masks = [one.evaluate(events, ["Gd154Di", "Yb170Di"], file=file) for one in (document, again)]
        for first, second in zip(document.populations, again.populations, strict=True):
            assert (masks[0][first.id] == masks[1][second.id]).all()


def test_what_cytobank_expects(tmp_path: Path) -> None:
    gate.write_gatingml(read(EXPORT, tmp_path), tmp_path / "again.xml", flavour="cytobank")
    text = (tmp_path / "again.xml").read_text(encoding="utf-8")
    assert 'transforms:T="5.8760059682190064" transforms:M="0.43429448190325176" transforms:A="0.0"' in text
    assert 'transforms:id="Tr_Arcsinh_5"' in text
    for references in re.findall(r"<gating:and>(.*?)</gating:and>", text, re.DOTALL):
        assert references.count("<gating:gateReference") >= 2
    assert "parent_id" not in text
    assert not re.findall(r'gating:ref="GateSet', text)
    assert text.count("<gate_id>1</gate_id>") == 2
    assert "<fcs_file_filename>p2.fcs</fcs_file_filename>" in text
    assert "Gate_1_Q0Q0NQ--" in text


def test_the_example_gates_its_file_as_flowkit_does(test_data: Path) -> None:
    flowkit = pytest.importorskip("flowkit")
    folder = test_data / "gatingml"
    document = gate.read_gatingml(folder / "example_gatingML.xml")
    found = document.evaluate_fcs(folder / "example_cytof_data_for_gatingML.fcs")
    header = read_header(folder / "example_cytof_data_for_gatingML.fcs")
    channels = [channel.pnn for channel in header.channels]
    sample = flowkit.Sample(read_events(header).astype(float), sample_id="example", channel_labels=channels)
    results = flowkit.parse_gating_xml(str(folder / "example_gatingML.xml")).gate_sample(sample)
    assert len(found) == 21
    for name, mask in found.items():
        assert (results.get_gate_membership(name) == mask).all(), name


def test_the_example_as_known(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "gatingml"
    document = gate.read_gatingml(folder / "example_gatingML.xml")
    for flavour in ("gatingml", "cytobank"):
        gate.write_gatingml(document, tmp_path / "again.xml", flavour=flavour)
        again = gate.read_gatingml(tmp_path / "again.xml")
        assert str(again) == str(document)
        masks = again.evaluate_fcs(folder / "example_cytof_data_for_gatingML.fcs")
        counts = again.table(masks).set_index("population")["events"]
        assert counts["DNA1/singlet"] == 31230
        assert counts["DNA1/singlet/Tcells"] == 14999
        assert counts["DNA1/singlet/Tcells/CD4posTcells"] == 8706


numbers = st.floats(-50, 50, allow_nan=False).map(lambda value: round(value, 3))
axes = st.sampled_from(
    [
        Dimension("a"),
        Dimension("b", transformation="s"),
        Dimension("c", "m", "s"),
        Dimension("d", transformation="lin"),
    ]
)


@st.composite
def shapes(draw: st.DrawFn, identity: str, parent: str, title: str):
    common = {"id": identity, "parent": parent, "name": title}
    kind = draw(st.sampled_from(["threshold", "rectangle", "polygon", "ellipse"]))
    pair = (draw(axes), draw(axes))
    if kind == "threshold":
        return Rectangle(dimensions=pair[:1], low=(draw(numbers),), high=(None,), **common)
    if kind == "rectangle":
        sides = [sorted((draw(numbers), draw(numbers))) for _ in pair]
        return Rectangle(
            dimensions=pair, low=tuple(s[0] for s in sides), high=tuple(s[1] for s in sides), **common
        )
    if kind == "polygon":
        return Polygon(
            dimensions=pair,
            vertices=tuple(draw(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=6))),
            **common,
        )
    width, height, tilt = draw(st.floats(1, 9)), draw(st.floats(1, 9)), draw(st.floats(-0.9, 0.9))
    return Ellipsoid(
        dimensions=pair,
        mean=(draw(numbers), draw(numbers)),
        covariance=((width**2, tilt * width * height), (tilt * width * height, height**2)),
        distance_square=draw(st.floats(0.1, 100)),
        **common,
    )


@st.composite
def documents(draw: st.DrawFn) -> GatingDocument:
    count = draw(st.integers(1, 7))
    titles = draw(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8)
            .map(str.strip)
            .filter(lambda text: bool(text) and "/" not in text and text.isprintable()),
            min_size=count,
            max_size=count,
            unique=True,
        )
    )
    gates = []
    for number in range(count):
        parent = draw(st.sampled_from(["", *(one.id for one in gates)]))
        gates.append(draw(shapes(f"g{number}", parent, titles[number])))
    cofactor = draw(st.sampled_from([1.0, 5.0, 150.0]))
    return GatingDocument(
        gates,
        transformations={"s": Asinh.of_cofactor(cofactor), "lin": gate.Linear(t=1.0, a=0.0)},
        matrices={"m": SpectrumMatrix(("c", "e"), ("C", "E"), ((1.0, 0.1), (0.02, 1.0)))},
    )


EVENTS = np.random.default_rng(3).normal(0, 20, (400, 5))


@pytest.mark.parametrize("flavour", ["gatingml", "cytobank"])
@settings(max_examples=40, deadline=None)
@given(document=documents())
def test_written_and_read_again_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, flavour: str, document: GatingDocument
) -> None:
    path = tmp_path_factory.mktemp("gates") / "gates.xml"
    gate.write_gatingml(document, path, flavour=flavour)
    again = gate.read_gatingml(path)
    if flavour == "gatingml":
        assert again == document
    assert {one.path for one in again.populations} == {one.path for one in document.populations}
    masks = [one.evaluate(EVENTS, ["a", "b", "C", "d", "E"]) for one in (document, again)]
    for one in document.populations:
        other = again.population(one.path)
        assert (masks[0][one.id] == masks[1][other.id]).all()
        if one.parent:
            assert not (masks[0][one.id] & ~masks[0][document.population(one.parent).id]).any()


def test_a_scale_is_moved_to_that_of_cytobank(tmp_path: Path) -> None:
    axis = (Dimension("a", transformation="s"), Dimension("b", transformation="s"))
    document = GatingDocument(
        [
            Rectangle(id="r", dimensions=axis, low=(0.3, None), high=(0.7, 0.8)),
            Polygon(id="p", dimensions=axis, vertices=((0.1, 0.1), (0.9, 0.2), (0.5, 0.9))),
            Ellipsoid(
                id="e",
                dimensions=axis,
                mean=(0.5, 0.5),
                covariance=((0.05, 0.01), (0.01, 0.02)),
                distance_square=1,
            ),
            threshold_gate("l", Dimension("a", transformation="l"), 0.5),
        ],
        transformations={"s": Asinh(t=1000, m=4, a=1), "l": gate.Log(t=1000, m=4)},
    )
    gate.write_gatingml(document, tmp_path / "gates.xml", flavour="cytobank")
    again = gate.read_gatingml(tmp_path / "gates.xml")
    assert {s.xml_name for s in again.transformations.values()} == {"fasinh", "flog"}
    assert all(isinstance(s, gate.Log) or s.a == 0 for s in again.transformations.values())
    events = np.random.default_rng(0).exponential(80, (5000, 2))
    masks = [one.evaluate(events, ["a", "b"]) for one in (document, again)]
    for name in "rpel":
        assert (masks[0][name] == masks[1][again.population(name).id]).all()
        assert 0 < masks[0][name].sum() < 5000


def test_three_dimensions_become_two_gates(tmp_path: Path) -> None:
    cube = Rectangle(
        id="cube", dimensions=tuple(map(Dimension, "abd")), low=(-5, -5, -5), high=(20, None, 15)
    )
    gate.write_gatingml(GatingDocument([cube]), tmp_path / "gates.xml", flavour="cytobank")
    again = gate.read_gatingml(tmp_path / "gates.xml")
    found = again.evaluate(EVENTS, ["a", "b", "C", "d", "E"])[again.population("cube").id]
    assert (found == GatingDocument([cube]).evaluate(EVENTS, ["a", "b", "C", "d", "E"])["cube"]).all()


@pytest.mark.parametrize(
    ("gates", "what"),
    [
        ([threshold_gate("a", Dimension("x", transformation="logicle"), 0.5)], "scale logicle"),
        ([threshold_gate("a", Dimension("x", transformation="bound"), 0.5)], "scale with bounds"),
        ([threshold_gate("a", Dimension(ratio="ratio"), 0.5)], "ratio of two channels"),
        (
            [
                threshold_gate("b", Dimension("x"), 1),
                threshold_gate("c", Dimension("y"), 1),
                Combination(id="a", operation="or", operands=(Operand("b"), Operand("c"))),
            ],
            "`or` of several gates",
        ),
    ],
)
def test_what_cytobank_has_no_form_for(tmp_path: Path, gates: list, what: str) -> None:
    document = GatingDocument(
        gates,
        transformations={
            "logicle": gate.Logicle(),
            "bound": Asinh(t=5, m=1, bound_min=0.1),
            "ratio": gate.Ratio(numerator="x", denominator="y"),
        },
    )
    with pytest.raises(
        GateError, match=f"'a' cannot be written for Cytobank, which has no .*{re.escape(what)}"
    ):
        gate.write_gatingml(document, tmp_path / "gates.xml", flavour="cytobank")
    assert not list(tmp_path.iterdir())


def test_an_unknown_flavour(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="flavour is 'cytobanc'; did you mean 'cytobank'"):
        gate.write_gatingml(GatingDocument([]), tmp_path / "gates.xml", flavour="cytobanc")


def test_ids_that_xml_has_no_room_for(tmp_path: Path) -> None:
    document = GatingDocument(
        [
            threshold_gate("CD3+ <T&B>", Dimension('x"<'), 0.0),
            threshold_gate("CD3+  T B ", Dimension('x"<'), 1.0, parent="CD3+ <T&B>"),
        ]
    )
    gate.write_gatingml(document, tmp_path / "gates.xml")
    again = gate.read_gatingml(tmp_path / "gates.xml")
    assert next(one.path for one in again.populations) == ("CD3+ <T&B>",)
    assert all(re.fullmatch(r"[A-Za-z_][\w.-]*", name) for name in again.gates)
    assert [m.tolist() for m in again.evaluate(np.array([[0.5]]), ['x"<']).values()] == [[True], [False]]


def test_gates_of_a_run_are_read_back(tmp_path: Path) -> None:
    import cytocar as cc

    adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    cc.pp.clean(adata)
    cc.pp.arcsinh(adata)
    gate.apply(adata, "car_t")
    gate.write_gatingml(adata, tmp_path / "gates.xml")
    document = gate.read_gatingml(tmp_path / "gates.xml")
    cells = np.asarray(adata.obs["event_class"] == "cell")
    masks = document.evaluate(adata.layers["counts"], list(adata.var["channel"]))
    wanted = adata.obsm["gates"]
    checked = 0
    for name, title in document.names.items():
        if title in wanted:
            checked += 1
            assert (masks[name][cells] == np.asarray(wanted[title])[cells]).all(), title
    assert checked >= 8


BAD = {
    "not well-formed": (
        HEAD + "\n<gating:RectangleGate>\n</gating:Gating-ML>",
        "line 3: this is not well-formed XML",
    ),
    "empty": ("", "the file is empty"),
    "another root": ("<Workspace/>", "line 1, <Workspace>: the root is <Workspace> of 'no namespace'"),
    "version 1.5": (HEAD.replace("v2.0", "v1.5") + "</gating:Gating-ML>", "Gating-ML/v1.5"),
    "no id": (
        HEAD + "\n<gating:PolygonGate/></gating:Gating-ML>",
        "line 2, <PolygonGate>: attribute 'id' is missing",
    ),
    "no number": (
        EXPORT.replace('gating:min="2"', 'gating:min="two"'),
        "attribute 'min' is 'two'; expected a number",
    ),
    "nan": (EXPORT.replace('gating:min="2"', 'gating:min="nan"'), "attribute 'min' is 'nan'"),
    "unknown element": (
        HEAD + "\n\n<gating:CircleGate/></gating:Gating-ML>",
        "line 3, <CircleGate>: this element is not known; expected transformation",
    ),
    "unknown reference": (EXPORT.replace('ref="Gate_3_c"', 'ref="Gate_9"'), "refers to gate 'Gate_9'"),
    "unknown scale": (EXPORT.replace('transforms:id="Tr_Arcsinh_5"', 'transforms:id="T"'), "'Tr_Arcsinh_5'"),
    "no parameter": (
        EXPORT.replace('transforms:M="0.43429448190325176"', ""),
        "<fasinh>: attribute 'M' is missing",
    ),
    "same id": (EXPORT.replace("Gate_3_c", "Gate_1_a"), "the id 'Gate_1_a' is that of the gate in line 1"),
    "one corner": (
        HEAD
        + '\n<gating:PolygonGate gating:id="p">\n<gating:vertex/></gating:PolygonGate></gating:Gating-ML>',
        "line 3, <vertex>: it has 0 <coordinate>; expected two",
    ),
    "no operation": (
        HEAD + '<gating:BooleanGate gating:id="p"></gating:BooleanGate></gating:Gating-ML>',
        "it has 0 operations; expected one of <and>, <or>, <not>",
    ),
    "bounds": (
        EXPORT.replace('gating:min="2"', 'gating:min="20"'),
        "line 1, <RectangleGate>, gate 'Gate_1_a': its low bound",
    ),
    "entities": (
        '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;">]>\n' + EXPORT,
        "line 2: it has a document type",
    ),
    "another file": (
        '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd">\n' + EXPORT,
        "line 1: it has a document type",
    ),
    "deep": (HEAD + "<a>" * 200 + "</a>" * 200 + "</gating:Gating-ML>", "100 within one another"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_wrong(tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    with pytest.raises(GateError, match=re.escape(message)) as caught:
        read(text, tmp_path)
    assert caught.value.where.startswith("gates.xml")


def test_where_what_and_fix_of_a_wrong_value_are_apart(tmp_path: Path) -> None:
    with pytest.raises(GateError) as caught:
        read(BAD["no number"][0], tmp_path)
    error = caught.value
    assert (error.where, error.what, error.fix) == (
        "gates.xml, line 1, <dimension>", "attribute 'min' is 'two'", "expected a number",
    )  # fmt: skip
    with pytest.raises(GateError) as caught:
        read(BAD["bounds"][0], tmp_path)
    assert caught.value.where == "gates.xml, line 1, <RectangleGate>, gate 'Gate_1_a'"
    with pytest.raises(GateError) as caught:
        read(BAD["unknown reference"][0], tmp_path)
    assert caught.value.where == "gates.xml"
    assert caught.value.fix.startswith("did you mean")


def test_a_file_that_is_too_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "MAX_BYTES", 1000)
    with pytest.raises(GateError, match="more than 0 MB"):
        read(EXPORT, tmp_path)
    monkeypatch.setattr(xml, "MAX_BYTES", 100_000)
    monkeypatch.setattr(xml, "MAX_ELEMENTS", 20)
    with pytest.raises(GateError, match="more than 20 elements"):
        read(EXPORT, tmp_path)


def test_the_interval_of_a_population_is_half_open_after_reading(tmp_path: Path) -> None:
    gate.write_gatingml(
        GatingDocument([interval("i", Dimension("x"), low=0.1, high=0.3)]), tmp_path / "gates.xml"
    )
    found = gate.read_gatingml(tmp_path / "gates.xml").evaluate(np.array([[0.1], [0.3]]), ["x"])
    assert found["i"].tolist() == [True, False]


@pytest.mark.parametrize("operation", ["and", "or"])
def test_one_gate_is_referred_to_twice_and_read_as_one(tmp_path: Path, operation: str) -> None:
    one = Combination(id="c", operation=operation, operands=(Operand("a", True),))
    document = GatingDocument([threshold_gate("a", Dimension("x"), 1.0), one], populations=["c"])
    gate.write_gatingml(document, tmp_path / "gates.xml")
    assert (tmp_path / "gates.xml").read_text(encoding="utf-8").count("<gating:gateReference") == 2
    assert gate.read_gatingml(tmp_path / "gates.xml") == document


def test_a_gate_of_single_files_only_is_the_one_that_populations_name(tmp_path: Path) -> None:
    text = EXPORT.replace(
        "fcs_file_filename></fcs_file_filename", "fcs_file_filename>p1.fcs</fcs_file_filename"
    )
    # The gate sets name the version of the second file.
    document = read(text.replace('ref="Gate_1_a"', 'ref="Gate_2_b"'), tmp_path)
    assert document.gates["Gate_2_b"].file == "p2.fcs"
    assert list(document.versions["Gate_2_b"]) == ["p1.fcs"]


def test_line_breaks_in_names_come_back(tmp_path: Path) -> None:
    document = GatingDocument([threshold_gate('a\rb\n<c> & "d"', Dimension("x"), 1.0)])
    gate.write_gatingml(document, tmp_path / "gates.xml")
    assert list(gate.read_gatingml(tmp_path / "gates.xml").names.values()) == ['a\rb\n<c> & "d"']


def newer(name: str, number: int, **texts: object) -> str:
    """Return what newer exports say of a gate."""
    usual = {"fcs_file_filename": "", "tailored": "false", "tailored_per_population": "false"}
    groups = {"gating_group_id": -1, "gating_group_name": "Default group"}
    return info(**{"name": name, "gate_id": number, **usual, **groups, **texts})


def of_two(first: str, second: str) -> str:
    """Return an export with two forms of one gate, each used by a population."""
    export = EXPORT.replace(info(name="CD45", gate_id=1, fcs_file_filename=""), first)
    export = export.replace(info(name="CD45", gate_id=1, fcs_file_filename="p2.fcs"), second)
    return export.replace('gating:ref="Gate_1_a"', 'gating:ref="Gate_2_b"', 1)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({}, {"tailored_per_population": "true"}, "2 forms, which are tailored to populations"),
        (
            {"tailored_per_population": "true", "tailored_per_population_gateset_id": 1},
            {"tailored_per_population": "true", "tailored_per_population_gateset_id": 2},
            "draw one gate for each of these populations",
        ),
        (
            {"tailored_per_population": "true", "tailored": "true", "fcs_file_filename": "p2.fcs"},
            {},
            "tailored to populations",
        ),
        (
            {"gating_group_id": 1, "gating_group_name": "Day 1"},
            {"gating_group_id": 2, "gating_group_name": "Day 2"},
            "in each of the gating groups 'Day 1', 'Day 2'",
        ),
        ({}, {"tailored": "true", "fcs_file_id": 77}, "does not say which of them is for which file"),
    ],
)
def test_forms_of_a_gate_that_are_not_told_apart_are_refused(
    first: dict[str, object], second: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(GateError, match=words) as error:
        read(of_two(newer("CD45", 1, **first), newer("CD45", 1, **second)), tmp_path)
    assert "gate 'CD45'" in str(error.value)
    assert "line 1, <RectangleGate>" in str(error.value)


def test_a_gate_of_one_form_is_read_though_it_is_tailored_to_a_population(tmp_path: Path) -> None:
    one = newer("CD45", 7, tailored_per_population="true", tailored_per_population_gateset_id=2)
    document = read(of_two(newer("CD45", 1), one), tmp_path)
    events = 5 * np.sinh(np.array([[3.0, 2.0], [5.0, 2.0]]))
    masks = document.evaluate(events, ["Gd154Di", "Yb170Di"])
    assert masks["Gate_1_a"].tolist() == [True, True]
    assert masks["Gate_2_b"].tolist() == [False, True]
