"""Shapes, scales, the tree and the evaluation, against slow and obvious ways to say the same."""

from __future__ import annotations

import math
from fractions import Fraction

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
    Divider,
    Ellipsoid,
    GatingDocument,
    Hyperlog,
    Linear,
    Log,
    Logicle,
    Operand,
    Polygon,
    Quadrants,
    Ratio,
    Rectangle,
    SpectrumMatrix,
    interval,
    threshold_gate,
)

X, Y = Dimension("x"), Dimension("y")
SCALES = [
    Linear(t=1000, a=10),
    Log(t=1000, m=3),
    Asinh(t=1000, m=4, a=1),
    Asinh.of_cofactor(5),
    Logicle(t=1000, w=1, m=4, a=0),
    Logicle(t=262144, w=0, m=4.5, a=0.5),
    Logicle(t=10000, w=1, m=4, a=0.5),
    Logicle(t=10000, w=1, m=4, a=-0.5),
    Hyperlog(t=1000, w=1, m=4, a=0),
    Hyperlog(t=262144, w=0.1, m=4, a=0.3),
]


def inside_polygon(x: float, y: float, vertices: list[tuple[float, float]]) -> bool:
    """Return the crossing-number rule in exact numbers, with the outline inside."""
    px, py = Fraction(x), Fraction(y)
    points = [(Fraction(a), Fraction(b)) for a, b in vertices]
    crossings = 0
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        on_line = (bx - ax) * (py - ay) == (by - ay) * (px - ax)
        if on_line and min(ax, bx) <= px <= max(ax, bx) and min(ay, by) <= py <= max(ay, by):
            return True
        if (ay <= py) != (by <= py) and px < ax + (bx - ax) * (py - ay) / (by - ay):
            crossings += 1
    return crossings % 2 == 1


# Small integers: points fall on corners and edges often, and doubles are exact.
small = st.integers(-4, 4).map(float)
points = st.lists(st.tuples(small, small), min_size=1, max_size=30)
corners = st.lists(st.tuples(small, small), min_size=3, max_size=8)


@settings(deadline=None)
@given(corners, points)
def test_a_polygon_follows_the_crossing_number_rule(corners: list, points: list) -> None:
    x, y = np.array(points).T.copy()
    found = Polygon(id="p", dimensions=(X, Y), vertices=tuple(corners)).inside([x, y])
    assert found.tolist() == [inside_polygon(a, b, corners) for a, b in points]


@settings(deadline=None)
@given(corners, st.integers(0, 10), st.integers(0, 2**32 - 1))
def test_start_and_direction_of_a_polygon_do_not_matter(corners: list, start: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, 3, (2, 200))
    turned = corners[start % len(corners) :] + corners[: start % len(corners)]
    masks = [
        Polygon(id="p", dimensions=(X, Y), vertices=tuple(outline)).inside(list(values))
        for outline in (corners, turned, corners[::-1])
    ]
    assert (masks[0] == masks[1]).all()
    assert (masks[0] == masks[2]).all()


def test_the_middle_of_a_star_is_outside_and_its_arms_are_inside() -> None:
    star = [(math.sin(a), math.cos(a)) for a in np.arange(5) * 4 * math.pi / 5]
    gate_of_it = Polygon(id="star", dimensions=(X, Y), vertices=tuple(star))
    assert gate_of_it.inside([np.array([0.0, 0.0]), np.array([0.0, 0.8])]).tolist() == [False, True]


def test_a_rectangle_has_its_low_side_and_not_its_high_side() -> None:
    box = Rectangle(id="box", dimensions=(X, Y), low=(1.0, None), high=(2.0, 5.0))
    x = np.array([1.0, 2.0, 1.5, 1.5, 1.5, np.nan])
    y = np.array([0.0, 0.0, 5.0, -np.inf, np.nan, 0.0])
    assert box.inside([x, y]).tolist() == [True, False, False, True, False, False]


def test_a_division_by_zero_is_in_no_interval() -> None:
    document = GatingDocument(
        [interval("up", Dimension(ratio="r"), low=1.0)],
        transformations={"r": Ratio(numerator="x", denominator="y")},
    )
    events = np.array([[1.0, 0.0], [0.0, 0.0], [2.0, 1.0]])
    assert document.evaluate(events, ["x", "y"])["up"].tolist() == [False, False, True]


@settings(deadline=None)
@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_an_ellipsoid_is_what_its_formula_says(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n)) + 3 * np.eye(n)
    covariance, mean = root @ root.T, rng.normal(size=n)
    values = rng.normal(0, 4, (300, n))
    ball = Ellipsoid(
        id="e",
        dimensions=tuple(Dimension(f"c{k}") for k in range(n)),
        mean=tuple(mean),
        covariance=tuple(map(tuple, covariance)),
        distance_square=2.0,
    )
    # With covariance = root root', the distance is the length of root^-1 (x - mean).
    distance = (np.linalg.solve(root, (values - mean).T) ** 2).sum(axis=0)
    clear = abs(distance - 2) > 1e-9
    assert (ball.inside(list(values.T.copy())) == (distance <= 2))[clear].all()


def test_quadrants_share_out_all_events() -> None:
    four = Quadrants(
        id="q",
        dividers=(Divider("dx", X, (0.0, 2.0)), Divider("dy", Y, (1.0,))),
        quadrants={
            f"{a}{b}": {"dx": place, "dy": other}
            for a, place in (("low", -1), ("mid", 1), ("high", 3))
            for b, other in (("-", 0), ("+", 1))
        },
    )
    events = np.random.default_rng(0).integers(-1, 4, (500, 2)).astype(float)
    found = GatingDocument([four]).evaluate(events, ["x", "y"])
    assert (np.sum(list(found.values()), axis=0) == 1).all()
    assert (found["mid+"] == ((events[:, 0] >= 0) & (events[:, 0] < 2) & (events[:, 1] >= 1))).all()


@pytest.mark.parametrize("scale", SCALES, ids=repr)
def test_scales_and_their_inverses_agree(scale: gate.Asinh) -> None:
    places = np.linspace(0.01, 1.2, 400)
    assert scale.apply(scale.inverse(places)) == pytest.approx(places, abs=1e-12)
    assert scale.apply([scale.t]) == pytest.approx([1.0], abs=1e-12)
    assert (np.diff(scale.apply(np.linspace(1e-3, 2 * scale.t, 3000))) > 0).all()


@pytest.mark.parametrize("scale", [s for s in SCALES if isinstance(s, Logicle | Hyperlog)], ids=repr)
def test_logicle_and_hyperlog_agree_with_another_implementation(scale: Logicle | Hyperlog) -> None:
    transforms = pytest.importorskip("flowutils.transforms")
    if scale.w == 0:
        pytest.skip("the other implementation has no W of 0")
    values = np.concatenate([-np.geomspace(1e-3, scale.t / 10, 100), [0.0], np.geomspace(1e-3, scale.t, 200)])
    other = getattr(transforms, scale.xml_name)(
        values.reshape(-1, 1).copy(), [0], t=scale.t, m=scale.m, w=scale.w, a=scale.a
    )
    assert scale.apply(values) == pytest.approx(other.ravel(), abs=1e-9)


def test_the_arcsinh_of_mass_cytometry() -> None:
    values = np.array([-3.0, 0.0, 5.0, 1e4])
    assert Asinh.of_cofactor(5).apply(values) == pytest.approx(np.arcsinh(values / 5), abs=1e-14)


def test_bounds_hold_values_back() -> None:
    scale = Linear(t=10, bound_min=0.2, bound_max=0.5)
    assert scale.apply([0.0, 3.0, 9.0]).tolist() == [0.2, 0.3, 0.5]


def test_what_was_spilled_is_compensated() -> None:
    spill = ((1.0, 0.2, 0.0), (0.05, 1.0, 0.1), (0.0, 0.3, 1.0))
    true = np.random.default_rng(1).exponential(100, (200, 3))
    measured = true @ np.array(spill)
    matrix = SpectrumMatrix(("A", "B", "C"), ("a", "b", "c"), spill)
    document = GatingDocument([interval("in", Dimension("B", "m"), low=50.0)], matrices={"m": matrix})
    assert (document.evaluate(measured, ["a", "b", "c"])["in"] == (true[:, 1] >= 50)).all()
    own = GatingDocument([interval("in", Dimension("b", "FCS"), low=50.0)])
    text = "3,a,b,c," + ",".join(str(v) for row in spill for v in row)
    assert (own.evaluate(measured, ["a", "b", "c"], spillover=text)["in"] == (true[:, 1] >= 50)).all()
    assert (own.evaluate(measured, ["a", "b", "c"])["in"] == (measured[:, 1] >= 50)).all()


def tree() -> GatingDocument:
    return GatingDocument(
        [
            threshold_gate("A", X, 0.0),
            threshold_gate("B", Y, 0.5, parent="A"),
            Combination(id="not A", operation="not", operands=(Operand("A"),)),
            Combination(id="A without B", operation="and", operands=(Operand("A"), Operand("B", True))),
            Combination(id="any", operation="or", operands=(Operand("A"), Operand("A", True))),
            Combination(id="none", operation="and", operands=(Operand("A"), Operand("not A"))),
            Combination(id="in B", parent="B", operation="or", operands=(Operand("A"), Operand("not A"))),
        ]
    )


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_laws_of_populations(seed: int) -> None:
    events = np.random.default_rng(seed).normal(size=(300, 2))
    found = tree().evaluate(events, ["x", "y"])
    assert not (found["B"] & ~found["A"]).any()
    assert found["any"].all()
    assert not found["none"].any()
    assert (found["not A"] == ~found["A"]).all()
    assert (found["A without B"] == (found["A"] & ~found["B"])).all()
    assert (found["in B"] == found["B"]).all()
    order = np.random.default_rng(seed).permutation(300)
    again = tree().evaluate(events[order], ["x", "y"])
    assert all((again[name] == found[name][order]).all() for name in found)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    events = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
    whole = tree().evaluate(events, ["x", "y"])
    monkeypatch.setattr("cytocar.gate._documents.evaluate.BLOCK", 77)
    parts = tree().evaluate(events, ["x", "y"])
    assert all((whole[name] == parts[name]).all() for name in whole)


def test_populations_by_path_and_their_counts() -> None:
    document = tree()
    assert document.population("A/B").id == "B"
    assert document.population(("A", "B", "in B")).parent == ("A", "B")
    assert document.population("A without B").path == ("A", "A without B")
    with pytest.raises(GateError, match="no population 'A/C'"):
        document.population("A/C")
    table = document.table(document.evaluate(np.array([[1.0, 1.0], [1.0, 0.0], [-1.0, 0.0]]), ["x", "y"]))
    row = table.set_index("population").loc["A/B"]
    assert (row["events"], row["fraction_of_parent"], row["fraction_of_all"]) == (
        1,
        0.5,
        pytest.approx(1 / 3),
    )


def test_a_gate_has_a_version_for_one_file() -> None:
    document = GatingDocument(
        [
            threshold_gate("A", X, 0.0),
            Rectangle(id="A2", dimensions=(X,), low=(5.0,), high=(None,), file="b.fcs", version_of="A"),
        ]
    )
    events = np.array([[1.0], [6.0]])
    assert document.evaluate(events, ["x"], file="a.fcs")["A"].tolist() == [True, True]
    assert document.evaluate(events, ["x"], file="b.fcs")["A"].tolist() == [False, True]
    assert document.files == ("b.fcs",)
    only = GatingDocument([Rectangle(id="A", dimensions=(X,), low=(5.0,), high=(None,), file="b.fcs")])
    with pytest.raises(GateError, match=r"only for the files b\.fcs; the file here is None"):
        only.evaluate(events, ["x"])


def test_channels_are_found_by_name_and_else_by_isotope() -> None:
    document = GatingDocument([threshold_gate("A", Dimension("CD45(Gd154)Di"), 1.0)])
    events = np.array([[0.0, 2.0]])
    assert document.evaluate(events, ["CD45(Gd154)Di", "Gd154Di"])["A"].tolist() == [False]
    assert document.evaluate(events, ["Gd155Di", "154Gd"])["A"].tolist() == [True]
    with pytest.raises(GateError, match=r"'CD45\(Gd154\)Di' of the gates means several columns"):
        document.evaluate(events, ["Gd154Di", "154Gd"])
    with pytest.raises(GateError, match=r"'CD45\(Gd154\)Di' of the gates is not in the data"):
        document.evaluate(events[:0], ["Gd155Di", "Gd156Di"])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: interval("a", X, low=2.0, high=1.0), "low bound 2.0 is above its high bound 1.0"),
        (lambda: interval("a", X, low=math.nan), "a bound is nan"),
        (lambda: Polygon(id="p", dimensions=(X, Y), vertices=((0, 0), (1, 1))), "3 or more vertices"),
        (lambda: Polygon(id="p", dimensions=(X,), vertices=((0, 0),) * 3), "2 dimensions, not 1"),
        (
            lambda: Ellipsoid(
                id="e", dimensions=(X, Y), mean=(0, 0), covariance=((1, 1), (1, 1)), distance_square=1
            ),
            "no inverse",
        ),
        (lambda: Dimension(), "the channel '' and the ratio ''"),
        (
            lambda: Combination(id="n", operation="xor", operands=(Operand("a"),)),
            "'xor'; known: and, or, not",
        ),
        (lambda: Combination(id="n", operation="not", operands=(Operand("a"),) * 2), "'not' of 2 gates"),
        (
            lambda: Quadrants(id="q", dividers=(Divider("d", X, (1,)),), quadrants={"a": {"e": 0}}),
            "divider 'e'",
        ),
        (lambda: Logicle(t=1000, w=3, m=4), "0 <= W <= M / 2"),
        (lambda: Hyperlog(t=1000, w=0, m=4), "0 < W"),
        (lambda: Log(t=-1), "T = -1"),
        (
            lambda: SpectrumMatrix(("A",), ("a",), ((1.0, 2.0),)),
            "1 rows of 2 numbers; it should have 1 rows of 1",
        ),
        (lambda: gate.parse_spillover("2,A,B,1,0"), "has 5 values"),
        (lambda: GatingDocument([interval("a", X), interval("a", X)]), "'a' comes twice"),
        (lambda: GatingDocument([threshold_gate("a", X, 1, parent="b")]), "refers to gate 'b'"),
        (
            lambda: GatingDocument([threshold_gate("a", Dimension("x", transformation="t"), 1)]),
            "transformation 't'",
        ),
        (lambda: GatingDocument([threshold_gate("a", Dimension("x", "m"), 1)]), "compensation 'm'"),
        (
            lambda: GatingDocument(
                [threshold_gate("a", X, 1, parent="b"), threshold_gate("b", X, 1, parent="a")]
            ),
            "circle: 'a', 'b'",
        ),
    ],
)
def test_what_is_wrong_with_a_gate(build, message: str) -> None:
    with pytest.raises(GateError, match=message.replace("(", r"\(").replace(")", r"\)")):
        build()


def test_events_need_a_name_a_column() -> None:
    with pytest.raises(ParameterError, match=r"shape \(2, 1\) and there are 2 channels"):
        tree().evaluate(np.zeros((2, 1)), ["x", "y"])


@pytest.mark.parametrize("scale", [s for s in SCALES if not isinstance(s, Log)], ids=repr)
def test_a_cut_is_the_first_value_at_or_above_a_place(scale: Linear) -> None:
    found = 0
    for place in np.linspace(0.05, 1.1, 60):
        cut = scale.cut(float(place))
        if cut is not None:
            found += 1
            below = math.nextafter(cut, -math.inf)
            assert scale.apply([cut])[0] >= place > scale.apply([below])[0]
    assert found > 40


def test_scales_without_a_safe_cut_have_none() -> None:
    assert Log(t=10, m=1).cut(0.5) is None
    assert Linear(t=10, bound_min=0.1).cut(0.5) is None
    assert Asinh.of_cofactor(5).cut(1e4) is None


@pytest.mark.parametrize("scale", SCALES, ids=repr)
def test_comparing_channels_is_comparing_places(scale: Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    axis = Dimension("x", transformation="s")
    document = GatingDocument(
        [
            interval("i", axis, low=0.3, high=0.6),
            threshold_gate("t", axis, 0.4),
            threshold_gate("u", axis, 0.4, positive=False),
        ],
        transformations={"s": scale},
    )
    edges = scale.inverse(np.array([0.3, 0.4, 0.6]))
    values = np.concatenate(
        [np.random.default_rng(0).normal(0, scale.t / 10, 500), edges, [0, np.nan, np.inf, -np.inf]]
    )
    places = document.evaluate(values.reshape(-1, 1), ["x"])
    monkeypatch.setattr("cytocar.gate._documents.evaluate.MANY", 0)
    channels = document.evaluate(values.reshape(-1, 1), ["x"])
    assert all((places[name] == channels[name]).all() for name in places)


def test_points_in_a_polygon_are_those_of_matplotlib() -> None:
    from matplotlib.path import Path

    rng = np.random.default_rng(0)
    points = rng.uniform(-1.5, 1.5, (5000, 2))
    angle = np.linspace(0, 2 * np.pi, 15, endpoint=False)
    radius = rng.uniform(0.3, 1.3, 15)
    vertices = [(float(r * np.cos(a)), float(r * np.sin(a))) for r, a in zip(radius, angle, strict=True)]
    polygon = Polygon(id="star", dimensions=(X, Y), vertices=tuple(vertices))
    inside = polygon.inside([np.ascontiguousarray(column) for column in points.T])
    assert 0 < inside.sum() < len(points)
    np.testing.assert_array_equal(inside, Path(vertices).contains_points(points))
