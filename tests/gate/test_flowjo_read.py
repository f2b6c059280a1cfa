"""FlowJo workspaces by hand: groups, samples, axes, shapes, combinations, and files that are wrong."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

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
    Hyperlog,
    Linear,
    Log,
    Operand,
    Polygon,
    Quadrants,
    Ratio,
    Rectangle,
    SpectrumMatrix,
    interval,
)
from cytocar.gate._shapes.flowjo_scales import Biex, FlowJoLog
from cytocar.gate._shapes.shapes import Divider

SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0"
CHANNELS = ["Time", "FSC_A", "A", "B", "C"]
FASINH = '<transforms:fasinh transforms:length="256" transforms:T="10000" transforms:M="4" transforms:A="1"'
AXES = {
    "A": f'{FASINH} transforms:maxRange="10000" transforms:W="-10000">',
    "B": '<transforms:biex transforms:length="256" transforms:maxRange="10000" transforms:neg="0.5" '
    'transforms:width="-10" transforms:pos="4">',
    "C": '<transforms:linear transforms:minRange="-100" transforms:maxRange="924" gain="1">',
    "FSC_A": '<transforms:log transforms:offset="1" transforms:decades="4">',
}


def axes_xml(**changed: str) -> str:
    found = ""
    for channel, start in {**AXES, **changed}.items():
        tag = re.match(r"<([\w:]+)", start).group(1)
        found += f'{start}\n<data-type:parameter data-type:name="{channel}"/></{tag}>\n'
    return f"<Transformations>{found}</Transformations>"


def dim(channel: str, **bounds: float) -> str:
    said = "".join(f' gating:{side}="{value}"' for side, value in bounds.items())
    return f'<gating:dimension{said}><data-type:fcs-dimension data-type:name="{channel}"/></gating:dimension>'


def vertices(points: list[tuple[float, float]]) -> str:
    inside = [
        "".join(f'<gating:coordinate data-type:value="{value}"/>' for value in point) for point in points
    ]
    return "".join(f"<gating:vertex>{text}</gating:vertex>" for text in inside)


def pop(name: str, shape: str, below: str = "", *, kind: str = "RectangleGate", inside: str = "1") -> str:
    below = f"<Subpopulations>{below}</Subpopulations>" if below else ""
    return (
        f'<Population name="{name}" annotation="" owningGroup=""><Graph/>\n<Gate gating:id="ID1">'
        f'<gating:{kind} eventsInside="{inside}">{shape}</gating:{kind}></Gate>{below}</Population>\n'
    )


def node(kind: str, name: str, *depends: str) -> str:
    listed = "".join(f'<Dependent name="{one}"/>' for one in depends)
    return f'<{kind} name="{name}" owningGroup=""><Dependents>{listed}</Dependents></{kind}>\n'


def sample(
    number: int, file: str, gates: str, *, axes: str | None = None, more: str = "", name: str = ""
) -> str:
    keywords = "".join(f'<Keyword name="$P{n}N" value="{c}"/>' for n, c in enumerate(CHANNELS, start=1))
    keywords = keywords.replace("FSC_A", "FSC/A") + '<Keyword name="$TIMESTEP" value="0.01"/>'
    gates = f"<Subpopulations>\n{gates}</Subpopulations>" if gates else ""
    return (
        f'<Sample><DataSet uri="{file}" sampleID="{number}"/>{more}{axes or axes_xml()}'
        f"<Keywords>{keywords}</Keywords>\n"
        f'<SampleNode name="{name or file}" sampleID="{number}">{gates}</SampleNode></Sample>\n'
    )


def one(*gates: str, **given: str) -> str:
    """Return a workspace of one sample."""
    return workspace(sample(1, "a.fcs", "".join(gates), **given))


def group(name: str, members: list[int], gates: str = "") -> str:
    listed = "".join(f'<SampleRef sampleID="{number}"/>' for number in members)
    gates = f"<Subpopulations>{gates}</Subpopulations>" if gates else ""
    members = f"<SampleRefs>{listed}</SampleRefs>"
    return f'<GroupNode name="{name}"><Group name="{name}">{members}</Group>{gates}</GroupNode>\n'


def workspace(samples: str, groups: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Workspace version="20.0" flowJoVersion="10.8.1" '
        f'xmlns:gating="{SPACE}/gating" xmlns:transforms="{SPACE}/transformations" '
        f'xmlns:data-type="{SPACE}/datatypes">\n<Groups>{groups}</Groups>\n'
        f"<SampleList>\n{samples}</SampleList></Workspace>\n"
    )


def read(tmp_path: Path, text: str, **asked: str) -> GatingDocument:
    path = tmp_path / "w.wsp"
    path.write_text(text, encoding="utf-8")
    return gate.read_flowjo(path, **asked)


def events(seed: int = 0, count: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.lognormal(3, 2, (count, 5)) - 20.0
    values[:, 0] = rng.uniform(0, 1000, count)
    return values


def masks(document: GatingDocument, values: np.ndarray, file: str | None = None) -> dict[str, np.ndarray]:
    names = [name.replace("FSC_A", "FSC/A") for name in CHANNELS]
    found = document.evaluate(values, names, file=file)
    return {"/".join(one.path): found[one.id] for one in document.populations}


def test_shapes_are_where_flowjo_has_them(tmp_path) -> None:
    corners = [(5.0, 2.0), (300.0, 10.0), (90.0, 500.0)]
    triangle = pop("tri", dim("A") + dim("B") + vertices(corners), kind="PolygonGate")
    gates = (
        pop("time", dim("Time", min=2, max=7))
        + pop("log", dim("FSC_A", min=10))
        + pop("out", dim("C", min=0, max=50), triangle, inside="0")
    )
    document = read(tmp_path, workspace(sample(1, "a.fcs", gates)))
    assert str(document) == "time\nlog\nout\n  tri"
    values = events()
    found = masks(document, values)
    # Time is in seconds in FlowJo, in hundredths of them in the file.
    np.testing.assert_array_equal(found["time"], (values[:, 0] >= 200) & (values[:, 0] < 700))
    np.testing.assert_array_equal(found["log"], values[:, 1] >= 10)
    outside = ~((values[:, 4] >= 0) & (values[:, 4] < 50))
    np.testing.assert_array_equal(found["out"], outside)
    x = Asinh(t=10000, m=4, a=1).apply(values[:, 2])
    y = Biex(top=10000, pos=4, neg=0.5, width=-10).apply(values[:, 3])
    places = [
        (Asinh(t=10000, m=4, a=1).apply([a])[0], Biex(top=10000, pos=4, neg=0.5, width=-10).apply([b])[0])
        for a, b in corners
    ]
    triangle = Polygon(id="t", dimensions=(Dimension("A"), Dimension("B")), vertices=tuple(places)).inside(
        [x, y]
    )
    np.testing.assert_array_equal(found["out/tri"], triangle & outside)
    assert 20 < found["out/tri"].sum() < triangle.sum()


def test_an_ellipse_is_that_of_its_foci_in_the_drawing(tmp_path) -> None:
    foci = [(100.0, 60.0), (160.0, 140.0)]
    edge = [(85.0, 40.0), (175.0, 160.0), (150.0, 75.0), (110.0, 125.0)]
    shape = (
        dim("A")
        + dim("C")
        + f"<gating:foci>{vertices(foci)}</gating:foci><gating:edge>{vertices(edge)}</gating:edge>"
    )
    document = read(tmp_path, workspace(sample(1, "a.fcs", pop("e", shape, kind="EllipsoidGate"))))
    values = events(count=20000)
    drawn = np.c_[Asinh(t=10000, m=4, a=1).apply(values[:, 2]) * 256, (values[:, 4] + 100) / 1024 * 256]
    to_foci = sum(np.hypot(*(drawn - focus).T) for focus in foci)
    # The sum of the distances to the foci is that of the ends of the major axis.
    np.testing.assert_array_equal(masks(document, values)["e"], to_foci <= 150.0)
    assert masks(document, values)["e"].sum() > 500
    for place, reason in (("foci", "it has 1 foci and 4 points"), ("edge", "it has 2 foci and 3 points")):
        short = shape.replace(vertices((foci if place == "foci" else edge)[:1]), "", 1)
        with pytest.raises(GateError, match=reason):
            read(tmp_path, workspace(sample(1, "a.fcs", pop("e", short, kind="EllipsoidGate"))))
    flat = shape.replace(vertices(edge), vertices([(130.0, 100.0)] * 4))
    with pytest.raises(GateError, match="foci are not within its edge"):
        read(tmp_path, workspace(sample(1, "a.fcs", pop("e", flat, kind="EllipsoidGate"))))


def test_combinations_are_within_their_parent(tmp_path) -> None:
    gates = pop(
        "P",
        dim("A", min=5),
        pop("x", dim("B", min=10))
        + pop("y", dim("C", min=20))
        + node("NotNode", "not x", "P/x")
        + node("OrNode", "x or y", "P/x", "P/y")
        + node("AndNode", "both", "x", "y"),
    ) + node("NotNode", "not P", "P")
    document = read(tmp_path, workspace(sample(1, "a.fcs", gates)))
    values = events()
    found = masks(document, values)
    p, x, y = values[:, 2] >= 5, values[:, 3] >= 10, values[:, 4] >= 20
    expected = {"P": p, "P/x": p & x, "P/y": p & y, "P/not x": p & ~x, "P/x or y": p & (x | y)}
    expected |= {"P/both": p & x & y, "not P": ~p}
    assert set(found) == set(expected)
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask, err_msg=name)


def test_samples_have_versions_and_groups_templates(tmp_path) -> None:
    def tree(low: float) -> str:
        return pop("P", dim("A", min=low), pop("x", dim("B", min=10)))

    groups = group("All Samples", [1, 2, 3, 4]) + group("blood", [1, 2, 3], tree(5)) + group("other", [4])
    samples = (
        sample(1, "file:/Users/x/a%20b.fcs", tree(5), name="first")
        + sample(2, "b.fcs", tree(50))
        + sample(3, "c.fcs", "")
        + sample(4, "d.fcs", pop("Q", dim("C", max=1)))
    )
    text = workspace(samples, groups)
    document = read(tmp_path, text, group="blood")
    assert str(document) == "P\n  x"
    assert document.files == ("b.fcs",)
    values = events()
    for file, low in (("a b.fcs", 5), ("b.fcs", 50), ("c.fcs", 5), ("new.fcs", 5)):
        np.testing.assert_array_equal(masks(document, values, file)["P"], values[:, 2] >= low)
    assert str(read(tmp_path, text, sample="first")) == "P\n  x"
    alone = read(tmp_path, text, sample="b.fcs")
    np.testing.assert_array_equal(masks(alone, values, "whatever.fcs")["P"], values[:, 2] >= 50)
    assert str(read(tmp_path, text, group="other")) == "Q"
    with pytest.raises(
        GateError, match=re.escape("samples 'first' and 'd.fcs' have different populations (P, P/x, Q")
    ):
        read(tmp_path, text)
    with pytest.raises(ParameterError, match="group is 'blod'; did you mean 'blood'"):
        read(tmp_path, text, group="blod")
    with pytest.raises(ParameterError, match="sample is 'frist'; did you mean 'first'"):
        read(tmp_path, text, sample="frist")
    # Without a template, a gate that differs holds for the files that have it.
    bare = read(tmp_path, workspace(samples, group("blood", [1, 2])), group="blood")
    np.testing.assert_array_equal(masks(bare, values, "a b.fcs")["P"], values[:, 2] >= 5)
    with pytest.raises(
        GateError, match=r"exists only for the files a b.fcs, b.fcs; the file here is 'new.fcs'"
    ):
        masks(bare, values, "new.fcs")


def test_files_of_one_name_with_different_gates_are_refused(tmp_path) -> None:
    low, high = (pop("P", dim("A", min=value)) for value in (5, 50))
    folders = ("file:/day1/a.fcs", "file:/day2/a.fcs")
    same = read(tmp_path, workspace(sample(1, folders[0], low) + sample(2, folders[1], low)))
    assert same.files == ()
    text = workspace(sample(1, folders[0], low) + sample(2, folders[1], high), group("second", [2]))
    with pytest.raises(
        GateError, match=r"two samples are of files called 'a.fcs', with different gates for 'P'"
    ):
        read(tmp_path, text)
    values = events()
    np.testing.assert_array_equal(
        masks(read(tmp_path, text, group="second"), values)["P"], values[:, 2] >= 50
    )


def test_groups_with_different_templates_make_no_gate_of_all_files(tmp_path) -> None:
    low, high = (pop("P", dim("A", min=value)) for value in (5, 50))
    groups = group("one", [1], low) + group("two", [2], high)
    document = read(tmp_path, workspace(sample(1, "a.fcs", low) + sample(2, "b.fcs", high), groups))
    values = events()
    for file, at in (("a.fcs", 5), ("b.fcs", 50)):
        np.testing.assert_array_equal(masks(document, values, file)["P"], values[:, 2] >= at)
    with pytest.raises(GateError, match=r"only for the files a.fcs, b.fcs; the file here is 'new.fcs'"):
        masks(document, values, "new.fcs")
    empty = workspace(sample(1, "a.fcs", "") + sample(2, "b.fcs", ""), groups)
    with pytest.raises(
        GateError, match="groups 'one' and 'two' have different gates for 'P'; read the gates of one"
    ):
        read(tmp_path, empty)
    np.testing.assert_array_equal(masks(read(tmp_path, empty, group="two"), values)["P"], values[:, 2] >= 50)


def test_gates_drawn_on_axes_of_their_own_differ(tmp_path) -> None:
    corners = dim("A") + dim("C") + vertices([(0.0, 0.0), (5000.0, 0.0), (0.0, 800.0)])
    tree = pop("P", corners, kind="PolygonGate")
    other = axes_xml(A='<transforms:linear transforms:minRange="0" transforms:maxRange="10000">')
    text = workspace(sample(1, "a.fcs", tree) + sample(2, "b.fcs", tree, axes=other))
    document = read(tmp_path, text)
    values = events(count=20000)
    assert (masks(document, values, "a.fcs")["P"] != masks(document, values, "b.fcs")["P"]).any()
    straight = (values[:, 2] >= 0) & (values[:, 4] >= 0) & (values[:, 2] / 5000 + values[:, 4] / 800 <= 1)
    np.testing.assert_array_equal(masks(document, values, "b.fcs")["P"], straight)


SPILL = (
    '<transforms:spilloverMatrix prefix="Comp-" name="M" suffix=""><data-type:parameters>'
    '<data-type:parameter data-type:name="A"/><data-type:parameter data-type:name="B"/></data-type:parameters>'
    '<transforms:spillover data-type:parameter="A"><transforms:coefficient data-type:parameter="A" '
    'transforms:value="1"/><transforms:coefficient data-type:parameter="B" transforms:value="0.5"/>'
    '</transforms:spillover><transforms:spillover data-type:parameter="B"><transforms:coefficient '
    'data-type:parameter="A" transforms:value="0"/><transforms:coefficient data-type:parameter="B" '
    'transforms:value="1"/></transforms:spillover></transforms:spilloverMatrix>'
)


def test_compensated_and_measured_channels_are_told_apart(tmp_path) -> None:
    gates = pop("comp", dim("Comp-B", min=10)) + pop("plain", dim("B", min=10))
    document = read(tmp_path, workspace(sample(1, "a.fcs", gates, more=SPILL)))
    values = events()
    found = masks(document, values)
    np.testing.assert_array_equal(found["comp"], values[:, 3] - 0.5 * values[:, 2] >= 10)
    np.testing.assert_array_equal(found["plain"], values[:, 3] >= 10)
    with pytest.raises(
        GateError, match=r"line \d+, <dimension>: channel 'Comp-B' is compensated, but the sample has"
    ):
        read(tmp_path, workspace(sample(1, "a.fcs", gates)))
    spectral = SPILL.replace("prefix=", 'spectral="1" prefix=')
    with pytest.raises(GateError, match=r"'Comp-B' is compensated, but its matrix .* spectral unmixing"):
        read(tmp_path, workspace(sample(1, "a.fcs", gates, more=spectral)))
    with pytest.raises(GateError, match="there are several matrices"):
        read(tmp_path, workspace(sample(1, "a.fcs", gates, more=SPILL + SPILL)))
    # A matrix that no gate asks for does not matter.
    assert (
        str(read(tmp_path, workspace(sample(1, "a.fcs", pop("plain", dim("B", min=1)), more=spectral))))
        == "plain"
    )
    with pytest.raises(GateError, match="<spillover>: it has no <coefficient> for 'B'"):
        read(tmp_path, one(gates, more=re.sub(r"<transforms:coefficient [^>]*0.5./>", "", SPILL)))


BOX = dim("A", min=5)
WRONG = [
    (one(pop("P", BOX)).replace("</SampleList>", "", 1), r"w.wsp, line \d+: this is not well-"),
    (one(pop("P", BOX)).replace("<Workspace", '<!DOCTYPE a [<!ENTITY e "x">]><Workspace'), "document type"),
    ("<Workspace/>", "attribute 'flowJoVersion' is ''; expected 10 or later"),
    ('<Workspace flowJoVersion="9.9"/>', "'9.9'; expected 10 or later"),
    ('<Workspace flowJoVersion="10.1"/>', "it has 0 <SampleList>; expected one"),
    ("<Gates/>", "line 1, <Gates>: the root is <Gates>; expected <Workspace> of FlowJo 10"),
    (one(""), "no sample of it has a <Population>"),
    (one(pop("", BOX)), "<Population>: attribute 'name' is missing"),
    (one(pop("P", BOX) * 2), "two populations 'P'"),
    (one(pop("P", BOX, kind="StarGate")), "<Gate>: it has <StarGate>; expected one of RectangleGate"),
    (one(pop("P", BOX, inside="2")), "'eventsInside' is '2'"),
    (one(pop("P", dim("A", min="five"))), r"attribute 'min' is 'five'; expected a number"),
    (one(pop("P", dim("A", min=9, max=1))), "low bound .* is above its high bound"),
    (one(pop("P", "")), "it has no <dimension>"),
    (one(pop("P", BOX, kind="PolygonGate")), "it has 1 <dimension>; expected two"),
    (one(pop("P", dim("A") + dim("B") + vertices([(1, 2)]), kind="PolygonGate")), "3 or more vertices"),
    (
        one(pop("P", dim("A") + dim("B") + vertices([(1,)]), kind="PolygonGate")),
        "it has 1 <coordinate>; expected two",
    ),
    (one(pop("P", dim("Comp-Z", min=1))), "channel 'Comp-Z' is compensated, but the sample"),
    (
        one(pop("P", BOX) + node("NotNode", "N", "P", "Q")),
        "it has 2 <Dependent> in its <Dependents>; expected one$",
    ),
    (
        one(pop("P", BOX) + node("OrNode", "N")),
        "it has 0 <Dependent> in its <Dependents>; expected one or more",
    ),
    (
        one(pop("Pop", BOX) + node("AndNode", "N", "Popp")),
        "it depends on 'Popp', which is not there; did you mean 'Pop'",
    ),
    (one(node("AndNode", "N", "M") + node("AndNode", "M", "N")), "in a circle: 'N', 'M'"),
    (workspace(sample(1, "a.fcs", pop("P", BOX)) * 2), "'sampleID' is '1', as in another sample"),
    (workspace(sample(1, "a.fcs", pop("P", BOX)), group("g", [7])), "its sample '7' is not in <SampleList>"),
    (
        one(pop("P", BOX), axes=axes_xml(A=AXES["A"].replace('"4"', '"-4"'))),
        "<fasinh>: fasinh with .* 0 < M <= 50",
    ),
    (one(pop("P", BOX), axes=axes_xml(A=AXES["A"].replace('"4"', '"400"'))), "M = 400, .* 0 < M <= 50"),
    (one(pop("P", dim("A", min="1_0"))), "attribute 'min' is '1_0'; expected a number"),
    (
        workspace(sample(1, "a.fcs", pop("P", BOX)), group("g", [1]) * 2),
        "<GroupNode>: there are two groups 'g'; rename one",
    ),
    (
        one(pop("P", BOX), axes=axes_xml(B=AXES["B"].replace("256", "512"))),
        "'length' is '512'; expected '256'",
    ),
    (one(pop("P", BOX), axes=axes_xml(B=AXES["B"].replace("-10", "10"))), "WIDTH <= -1"),
    (
        one(
            pop("P", dim("A") + dim("B") + vertices([(1, 2)] * 3), kind="PolygonGate"),
            axes=axes_xml(A="<transforms:miltenyi>"),
        ),
        "the scale 'miltenyi' of channel 'A' .* not published",
    ),
]


@pytest.mark.parametrize(("text", "reason"), WRONG)
def test_what_is_wrong_is_told_with_its_place(tmp_path, text, reason) -> None:
    with pytest.raises(GateError, match=reason) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith("w.wsp")
    if "in a circle" not in reason:
        assert "line " in str(caught.value)


def test_a_scale_that_is_not_published_does_not_matter_to_a_rectangle(tmp_path) -> None:
    axes = axes_xml(A="<transforms:miltenyi>")
    document = read(tmp_path, workspace(sample(1, "a.fcs", pop("P", dim("A", min=5, max=50)), axes=axes)))
    values = events()
    np.testing.assert_array_equal(masks(document, values)["P"], (values[:, 2] >= 5) & (values[:, 2] < 50))


def test_names_from_the_file_open_nothing(tmp_path) -> None:
    names = ["../../etc/passwd", "a&amp;b &lt;c&gt;", "x" * 500, "\u00e9\u4e2d"]
    gates = "".join(pop(name, BOX) for name in names)
    text = workspace(sample(1, "file:///etc/../etc/hostname", gates))
    document = read(tmp_path, text)
    assert [one.path for one in document.populations][1] == ("a&b <c>",)
    again = tmp_path / "again.wsp"
    gate.write_flowjo(document, again, files=["a.fcs"])
    assert gate.read_flowjo(again).names == document.names
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.wsp", "w.wsp"]


SCALES = {
    "asinh": Asinh.of_cofactor(5.0),
    "wide": Asinh(t=12000.0, m=4.0, a=0.5),
    "hyperlog": Hyperlog(t=10000, w=0.5, m=4.5, a=0),
    "biex": Biex(),
    "log": FlowJoLog(offset=0.5, decades=4.0),
    "linear": Linear(t=500, a=10),
    "": None,
}


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_what_is_written_is_read_again(tmp_path_factory, data) -> None:
    draw = data.draw
    chosen = {channel: draw(st.sampled_from(sorted(SCALES))) for channel in "ABC"}

    def place(channel: str) -> float:
        value = draw(st.floats(-5, 300))
        scale = SCALES[chosen[channel]]
        return value if scale is None else float(scale.apply([value])[0])

    gates: list = []
    for number in range(draw(st.integers(1, 6))):
        parent = draw(st.sampled_from(["", *(one.id for one in gates)]))
        channels = draw(st.permutations("ABC"))
        axes = [Dimension(channel, transformation=chosen[channel]) for channel in channels]
        common = {
            "id": f"g{number}",
            "name": draw(st.sampled_from(["x", "y/z", "a b"])) + str(number),
            "parent": parent,
        }
        kind = draw(
            st.sampled_from(
                ["box", "polygon", "ellipse", "and", "or", "not"] if gates else ["box", "polygon"]
            )
        )
        if kind == "box":
            count = draw(st.integers(1, 3))
            low = [draw(st.sampled_from([None, place(c)])) for c in channels[:count]]
            gates.append(
                Rectangle(dimensions=tuple(axes[:count]), low=tuple(low), high=(None,) * count, **common)
            )
        elif kind == "polygon":
            corners = [(place(channels[0]), place(channels[1])) for _ in range(draw(st.integers(3, 5)))]
            gates.append(Polygon(dimensions=tuple(axes[:2]), vertices=tuple(corners), **common))
        elif kind == "ellipse":
            spread = [abs(place(c)) + 0.01 for c in channels[:2]]
            covariance = ((spread[0] ** 2, 0.0), (0.0, spread[1] ** 2))
            mean = (place(channels[0]), place(channels[1]))
            gates.append(
                Ellipsoid(
                    dimensions=tuple(axes[:2]),
                    mean=mean,
                    covariance=covariance,
                    distance_square=1.0,
                    **common,
                )
            )
        else:
            known = [one.id for one in gates if "/" not in one.name] or [gates[0].id]
            picked = draw(
                st.lists(st.sampled_from(known), min_size=1, max_size=1 if kind == "not" else 3, unique=True)
            )
            parts = tuple(Operand(name, draw(st.booleans())) for name in picked)
            gates.append(Combination(operation=kind, operands=parts, **common))
    document = GatingDocument(gates, transformations={k: v for k, v in SCALES.items() if v is not None})
    path = tmp_path_factory.mktemp("wsp") / "g.wsp"
    try:
        gate.write_flowjo(document, path, files=["a.fcs", "b.fcs"])
    except GateError as error:
        if "slash in its path" not in str(error):
            raise
        return
    again = gate.read_flowjo(path)
    assert [one.path for one in again.populations] == [one.path for one in document.populations]
    values = events(3, 500)
    for name, mask in masks(document, values).items():
        np.testing.assert_array_equal(masks(again, values, "a.fcs")[name], mask, err_msg=name)


def test_cytobank_gate_sets_become_nested_populations(tmp_path, test_data) -> None:
    folder = test_data / "gatingml"
    document = gate.read_gatingml(folder / "example_gatingML.xml")
    files = [folder / "example_cytof_data_for_gatingML.fcs"]
    path = tmp_path / "g.wsp"
    gate.write_flowjo(document, path, files=files)
    again = gate.read_flowjo(path)
    own, read = (
        {p.path: found[p.id] for p in d.populations}
        for d, found in [(d, d.evaluate_fcs(files[0])) for d in (document, again)]
    )
    assert set(own) == set(read)
    for name, mask in own.items():
        np.testing.assert_array_equal(read[name], mask, err_msg=str(name))
    # Channels are called as in the file.
    assert set(again.channels) <= set(gate._exchange.flowjo_axes.file_header(str(files[0]))[1])


X, Y, Z = (Dimension(name) for name in "ABC")
CORNERS = ((0, 0), (1, 0), (0, 1))
UNIT = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
LOG = {"log": Log(t=1000, m=3), "bound": Asinh(t=100.0, m=2.0, a=0.0, bound_max=0.5)}
REFUSED = [
    (
        [Ellipsoid(id="g", dimensions=(X, Y, Z), mean=(0, 0, 0), covariance=UNIT, distance_square=1)],
        "no ellipsoid of more than two axes",
    ),
    ([interval("g", Dimension(ratio="r"), low=1)], "no ratio of two channels"),
    ([interval("g", Dimension("A", transformation="bound"), low=0.1)], "no scale with bounds"),
    (
        [Polygon(id="g", dimensions=(Dimension("A", transformation="log"), Y), vertices=CORNERS)],
        "no logarithm without a place for 0",
    ),
    (
        [
            Polygon(id="g", dimensions=(X, Y), vertices=CORNERS),
            Polygon(id="h", dimensions=(Dimension("A", transformation="asinh"), Y), vertices=CORNERS),
        ],
        "'g' and 'h' put channel 'A' on different scales",
    ),
    (
        [interval("a/b", X, low=1), Combination(id="g", operation="not", operands=(Operand("a/b"),))],
        "slash in its path",
    ),
    (
        [
            interval("g", Dimension("A", compensation="one"), low=1),
            interval("h", Dimension("A", compensation="two"), low=1),
        ],
        "no second matrix in one sample",
    ),
    ([interval("g", Dimension("A", compensation="inverted"), low=1)], "no matrix such as 'inverted'"),
    (
        [interval("g", Dimension("Q", compensation="inverted"), low=1)],
        "no channel 'Q' in the matrix 'inverted'",
    ),
]


@pytest.mark.parametrize(("gates", "reason"), REFUSED)
def test_what_flowjo_has_no_form_for_is_told(tmp_path, gates, reason) -> None:
    pair = ("A", "B")
    document = GatingDocument(
        gates,
        transformations={**LOG, "asinh": Asinh.of_cofactor(5), "r": Ratio(numerator="A", denominator="B")},
        matrices={
            "one": SpectrumMatrix(pair, pair, ((1.0, 0.1), (0.0, 1.0))),
            "two": SpectrumMatrix(pair, pair, ((1.0, 0.2), (0.0, 1.0))),
            "inverted": SpectrumMatrix(pair, pair, ((1.0, 0.2), (0.0, 1.0)), inverted=True),
        },
    )
    with pytest.raises(GateError, match=reason):
        gate.write_flowjo(document, tmp_path / "g.wsp", files=["a.fcs"])
    assert not (tmp_path / "g.wsp").exists()


def test_intervals_on_a_logarithm_and_quadrants_are_written(tmp_path) -> None:
    quadrants = Quadrants(
        id="Q",
        dividers=(Divider("a", X, (10.0,)), Divider("b", Y, (20.0,))),
        quadrants={"++": {"a": 11, "b": 21}, "-+": {"a": 9, "b": 21}},
    )
    low = interval("low", Dimension("C", transformation="log"), high=0.4)
    document = GatingDocument([quadrants, low], transformations=LOG)
    gate.write_flowjo(document, tmp_path / "g.wsp", files=["a.fcs"])
    again = gate.read_flowjo(tmp_path / "g.wsp")
    values = events()
    with np.errstate(invalid="ignore"):
        own = masks(document, values)
    read = masks(again, values)
    assert set(own) == set(read) == {"++", "-+", "low"}
    for name, mask in own.items():
        np.testing.assert_array_equal(read[name], mask, err_msg=name)
        assert mask.sum() > 50


def test_files_have_to_be_known(tmp_path) -> None:
    document = GatingDocument([interval("g", X, low=1)])
    with pytest.raises(ParameterError, match="files is None, and the gates name no file"):
        gate.write_flowjo(document, tmp_path / "g.wsp")


def test_scales_of_flowjo_are_refused_where_they_mean_nothing(tmp_path) -> None:
    document = GatingDocument(
        [interval("g", Dimension("A", transformation="b"), low=0.2)], transformations={"b": Biex()}
    )
    with pytest.raises(GateError, match=r"Gating-ML 2\.0 has no scale 'biex'"):
        gate.write_gatingml(document, tmp_path / "g.xml")
    with pytest.raises(GateError, match="no scale biex"):
        gate.write_gatingml(document, tmp_path / "g.xml", flavour="cytobank")


def test_own_scales_rise_and_come_back() -> None:
    for scale in (
        Biex(),
        Biex(top=12000, pos=4.9, neg=1, width=-100),
        Biex(top=1e4, pos=4, width=-1),
        FlowJoLog(),
    ):
        places = np.linspace(0.01, 0.99, 500)
        values = scale.inverse(places)
        assert (np.diff(values) > 0).all()
        np.testing.assert_allclose(scale.apply(values), places, atol=1e-12)
        assert scale.apply([-1e12, 1e12])[0] == 0.0
    assert Biex().apply([1e12])[0] == 1.0
    for wrong in ({"width": 10.0}, {"top": -1.0}, {"pos": 0.4}):
        with pytest.raises(GateError, match="biex with"):
            Biex(**wrong)
    with pytest.raises(GateError, match="OFFSET > 0"):
        FlowJoLog(offset=0.0)


def written(tmp_path: Path, document: GatingDocument, *files: str) -> ElementTree.Element:
    path = tmp_path / "written.wsp"
    gate.write_flowjo(document, path, files=files or ("a.fcs",))
    return ElementTree.parse(path).getroot()


def test_populations_follow_the_template_of_the_group_unless_their_file_has_its_own(tmp_path) -> None:
    base = [interval("T", Dimension("A"), low=1.0), interval("B", Dimension("B"), low=1.0)]
    version = dataclasses.replace(base[0], id="T [b.fcs]", low=(2.0,), file="b.fcs", version_of="T")
    root = written(tmp_path, GatingDocument([*base, version]), "a.fcs", "b.fcs")
    owners = [
        {element.get("name"): element.get("owningGroup") for element in node.iter("Population")}
        for node in root.iter("SampleNode")
    ]
    assert owners == [{"T": "cytocar", "B": "cytocar"}, {"T": "", "B": "cytocar"}]
    # Gates that exist for single files only are the template of no group.
    own = [dataclasses.replace(base[0], file="a.fcs"), dataclasses.replace(version, version_of="T")]
    root = written(tmp_path, GatingDocument(own), "a.fcs", "b.fcs")
    assert {element.get("owningGroup") for element in root.iter("Population")} == {""}


def test_populations_stand_in_the_order_of_the_document(tmp_path) -> None:
    shapes = [interval(name, Dimension(name), low=1.0) for name in "ABC"]
    either = Combination(id="C or B", operation="or", operands=(Operand("C"), Operand("B")))
    root = written(tmp_path, GatingDocument([either, *shapes], nested=False))
    (top,) = (node.find("Subpopulations") for node in root.iter("SampleNode"))
    assert [element.get("name") for element in top] == ["C or B", "A", "B", "C"]


def test_an_arcsinh_axis_is_drawn_to_where_there_are_cells(tmp_path) -> None:
    scales = {"small": Asinh.of_cofactor(5), "large": Asinh(t=30000, m=4, a=0.5)}
    gates = [interval(name, Dimension(name, transformation=name), low=0.5) for name in scales]
    root = written(tmp_path, GatingDocument(gates, transformations=scales))
    tops = {
        element[0].get(f"{{{SPACE}/datatypes}}name"): float(element.get(f"{{{SPACE}/transformations}}T"))
        for element in root.iter(f"{{{SPACE}/transformations}}fasinh")
    }
    assert tops == {"small": 16384.0, "large": 30000.0}
