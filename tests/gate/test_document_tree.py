"""Gates of other programs as a strategy: applied to data, named, counted, kept, written and read again."""

from __future__ import annotations

import json
import re

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar import gate, io, pp
from cytocar._core.errors import GateError, ParameterError, StateError
from cytocar.gate import (
    Asinh,
    Combination,
    Dimension,
    GateTree,
    GatingDocument,
    Operand,
    Polygon,
    Rectangle,
    ShapeStrategy,
    SpectrumMatrix,
    interval,
)
from cytocar.gate._exchange.stored import strategy_from, text_of
from cytocar.gate._shapes.flowjo_scales import Biex

CD3, CD4, VHH = (Dimension(name, transformation="arcsinh") for name in ("Er170Di", "Nd145Di", "Tm169Di"))
SCALES = {"arcsinh": Asinh.of_cofactor(5.0)}


def document(**more: object) -> GatingDocument:
    gates = [
        interval("t", CD3, low=2.0),
        interval("car", VHH, low=2.5, parent="t"),
        interval("host", VHH, high=2.5, parent="t"),
    ]
    names = {"t": "T cells", "car": "CAR-T", "host": "Host T"}
    for above in ("car", "host"):
        gates += [
            interval(f"{above}4", CD4, low=2.0, parent=above),
            interval(f"{above}8", CD4, high=2.0, parent=above),
        ]
        names |= {f"{above}4": "CD4+", f"{above}8": "CD8+"}
    gates = [type(g)(**{**vars(g), "name": names[g.id]}) for g in gates]
    return GatingDocument(gates, transformations=SCALES, **more)


@pytest.fixture
def gated(tube, joined) -> anndata.AnnData:
    adata = joined(tube(), tube(seed=1, sample="S2"))
    classes = np.where(np.arange(adata.n_obs) % 10 == 3, "doublet", "cell")
    adata.obs["event_class"] = pd.Categorical(classes)
    gate.apply(adata, document())
    return adata


def test_documents_are_applied_as_strategies_are(gated) -> None:
    x, cell = gated.X, np.asarray(gated.obs["event_class"] == "cell")
    t, car = x[:, 0] >= 2.0, x[:, 2] >= 2.5
    gates = gated.obsm["gates"]
    assert list(gates.columns) == [
        "cells", "T cells", "CAR-T", "CAR-T > CD4+", "CAR-T > CD8+", "Host T", "Host T > CD4+", "Host T > CD8+",
    ]  # fmt: skip
    np.testing.assert_array_equal(gates["CAR-T > CD4+"], cell & t & car & (x[:, 1] >= 2.0))
    np.testing.assert_array_equal(gates["cells"], cell)
    assert (
        gated.obs["compartment"].astype(str) == np.where(cell & t, np.where(car, "car", "host"), "")
    ).all()
    subset = np.where(cell & t, np.where(x[:, 1] >= 2.0, "CD4", "CD8"), "")
    assert (gated.obs["subset"].astype(str) == subset).all()
    table = gate.table(gated)
    rows = table[table["sample_id"] == "S2"].set_index("population")
    assert rows.loc["CAR-T > CD4+", "path"] == "T cells/CAR-T/CD4+"
    assert rows.loc["CAR-T > CD4+", "parent"] == "CAR-T"
    second = np.asarray(gated.obs["sample_id"] == "S2")
    assert rows.loc["CAR-T > CD4+", "events"] == gates["CAR-T > CD4+"][second].sum() > 5
    assert (
        rows.loc["T cells", "fraction_of_cd45"] == rows.loc["T cells", "events"] / rows.loc["cells", "events"]
    )
    assert rows.loc["T cells", "fraction_of_all"] == rows.loc["T cells", "events"] / second.sum()
    for path in ("CAR-T > CD4+", "CAR-T/CD4+", "T cells/CAR-T/CD4+"):
        np.testing.assert_array_equal(gate.membership(gated, path), gates["CAR-T > CD4+"])
    with pytest.raises(GateError, match=r"population 'CD4\+' is one of 'CAR-T > CD4\+', 'Host T > CD4\+'"):
        gate.membership(gated, "CD4+")
    with pytest.raises(GateError, match="there is no population 'CART'; did you mean 'CAR-T'"):
        gate.subset(gated, "CART")
    assert gate.subset(gated, "CAR-T/CD4+").n_obs == gates["CAR-T > CD4+"].sum()


def test_tables_of_thresholds_are_empty_and_say_nothing_is_known(gated) -> None:
    for ask in (gate.thresholds, gate.densities, gate.reference_counts):
        found = ask(gated)
        assert found.empty
        assert len(found.columns) > 3
    with pytest.raises(GateError, match="made of shapes"):
        gate.robustness(gated)


def test_a_copy_leaves_the_data_alone_and_h5ad_keeps_all(tube, tmp_path) -> None:
    adata = tube()
    before = adata.copy()
    copy = gate.apply(adata, document(), copy=True)
    assert "gates" not in adata.obsm
    np.testing.assert_array_equal(adata.X, before.X)
    copy.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert gate.strategy_of(again).compartments == {"car": "CAR-T", "host": "Host T"}
    pd.testing.assert_frame_equal(gate.table(again), gate.table(copy))
    np.testing.assert_array_equal(gate.membership(again, "CAR-T/CD4+"), gate.membership(copy, "CAR-T/CD4+"))
    assert str(gate.tree(again)) == str(gate.tree(copy))


def test_numbers_are_compared_as_a_strategy_compares_them(tube, small, tmp_path) -> None:
    adata = tube()
    strategy = GateTree.from_yaml(small)
    # Thresholds that are values of cells to the last bit of float32.
    strategy = strategy.with_threshold("CD3", float(adata.X[10, 0])).with_threshold(
        "VHH", float(adata.X[0, 2])
    )
    gate.apply(adata, strategy)
    gate.write_gatingml(adata, tmp_path / "gates.xml")
    other = tube()
    gate.apply(other, str(tmp_path / "gates.xml"))
    for name in ("T cells", "CAR-T", "Host T", "CAR-T CD4", "Host T not CD4"):
        np.testing.assert_array_equal(
            gate.membership(other, name), gate.membership(adata, name), err_msg=name
        )
    assert (other.obs["compartment"].astype(str) == adata.obs["compartment"].astype(str)).all()


def test_gates_of_a_run_are_those_of_each_sample(tube, joined, small, tmp_path) -> None:
    adata = joined(tube(), tube(seed=1, sample="5 yr"))
    strategy = GateTree.from_yaml(small.replace("compartments: {", "denominator: T cells\ncompartments: {"))
    strategy = strategy.with_threshold("CD3", 1.0, sample="S1").with_threshold("CD3", 4.0, sample="5 yr")
    gate.apply(adata, strategy)
    gate.write_gatingml(adata, tmp_path / "gates.xml")
    read = gate.load(tmp_path / "gates.xml")
    assert read.compartments == {"car": "CAR-T", "host": "Host T"}
    assert read.denominator == "T cells"
    assert read.document.files == ("S1", "5 yr")
    other = adata.copy()
    gate.apply(other, read)
    columns = ["sample_id", "population", "parent", "events", "fraction_of_cd45", "path"]
    left, right = (gate.table(one)[columns].sort_values(columns[:2]) for one in (adata, other))
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True))
    assert (
        gate.table(other).set_index(["sample_id", "population"])["events"]["S1", "T cells"]
        > 1.2 * (gate.table(other).set_index(["sample_id", "population"])["events"]["5 yr", "T cells"])
    )
    # Once more from what these gates write, and through a FlowJo workspace.
    gate.write_gatingml(other, tmp_path / "again.xml")
    gate.write_flowjo(adata, tmp_path / "gates.wsp", files={"S1": "S1.fcs", "5 yr": "5 yr.fcs"})
    for name in ("again.xml", "gates.wsp"):
        third = adata.copy()
        gate.apply(third, gate.load(tmp_path / name, cd45="T cells"))
        for population in ("T cells", "CAR-T", "Host T CD4"):
            np.testing.assert_array_equal(
                gate.membership(third, population), gate.membership(adata, population)
            )
    new = tube(seed=3, sample="new")
    with pytest.raises(GateError, match="exists only for the files S1, 5 yr; the file here is 'new'"):
        gate.apply(new, read)
    with pytest.raises(ParameterError, match="files has no file for sample '5 yr'"):
        gate.write_flowjo(adata, tmp_path / "x.wsp", files={"S1": "a.fcs"})
    with pytest.raises(ParameterError, match="files has 1 files and the data have 2 samples"):
        gate.write_flowjo(adata, tmp_path / "x.wsp", files=["a.fcs"])


def test_versions_are_found_by_the_name_of_the_file(tmp_path) -> None:
    from cytocar.io._fcs.write import write_events

    values = np.random.default_rng(0).lognormal(3, 1, (400, 3)).astype(np.float32)
    channels = [("Time", ""), ("Er170Di", "170Er_CD3"), ("Nd145Di", "145Nd_CD4")]
    for name in ("a.fcs", "b.fcs"):
        write_events(tmp_path / name, values, channels)
    axis = Dimension("CD3(Er170)Di")
    gates = [
        interval("t", axis, low=10.0),
        Rectangle(id="v", dimensions=(axis,), low=(40.0,), high=(None,), file="b.fcs", version_of="t"),
        interval("early", Dimension("Time"), high=20.0, parent="t"),
    ]
    for name, low in (("a.fcs", 10.0), ("b.fcs", 40.0)):
        adata = io.read_fcs(tmp_path / name, sample_id="anything")
        pp.arcsinh(adata)
        gate.apply(adata, GatingDocument(gates))
        np.testing.assert_array_equal(gate.membership(adata, "t"), values[:, 1] >= low)
        np.testing.assert_array_equal(
            gate.membership(adata, "early"), (values[:, 1] >= low) & (values[:, 0] < 20)
        )
        gate.write_population(adata, "t/early", tmp_path / f"out_{name}")
        written = io.read_fcs(tmp_path / f"out_{name}")
        chosen = (values[:, 1] >= low) & (values[:, 0] < 20)
        np.testing.assert_array_equal(written.X, values[chosen, 1:])
        np.testing.assert_array_equal(written.obs["Time"], values[chosen, 0])
        assert written.var["channel"].tolist() == ["Er170Di", "Nd145Di"]


def test_axes_that_are_not_x_are_made_from_the_counts(tube) -> None:
    adata = tube()
    counts = adata.layers["counts"]
    axes = {"wide": Asinh(t=10000, m=4.5, a=1.0), "other": Asinh.of_cofactor(7.0)}
    pair = (Dimension("Er170Di", transformation="wide"), Dimension("Nd145Di", transformation="other"))
    corners = ((0.3, 0.0), (0.8, 0.0), (0.8, 5.0), (0.3, 5.0))
    gates = [
        Polygon(id="p", dimensions=pair, vertices=corners),
        interval("r", Dimension("Tm169Di"), low=20.0, parent="p"),
        Combination(id="n", operation="not", operands=(Operand("p"),)),
    ]
    gate.apply(adata, GatingDocument(gates, transformations=axes))
    inside = (axes["wide"].apply(counts[:, 0]) >= 0.3) & (axes["wide"].apply(counts[:, 0]) <= 0.8)
    inside &= (counts[:, 1] >= 0) & (np.arcsinh(counts[:, 1].astype(float) / 7) <= 5)
    np.testing.assert_array_equal(gate.membership(adata, "p"), inside)
    np.testing.assert_array_equal(gate.membership(adata, "n"), ~inside)
    np.testing.assert_array_equal(gate.membership(adata, "r"), inside & (counts[:, 2] >= 20))
    del adata.layers["counts"]
    with pytest.raises(StateError, match="gates need the counts of channel 'Er170Di'"):
        gate.apply(adata, GatingDocument(gates, transformations=axes))


def test_what_does_not_fit_is_told(tube) -> None:
    adata = tube()
    with pytest.raises(
        GateError, match="channel 'Er171Di' of the gates is not in the data; did you mean 'Er170Di'"
    ):
        gate.apply(adata, GatingDocument([interval("g", Dimension("Er171Di"), low=1.0)]))
    with pytest.raises(GateError, match="has no threshold 'CD3': its gates are shapes"):
        gate.apply(adata, document(), thresholds={"CD3": 2.0})
    with pytest.raises(GateError, match="made of shapes, in which no threshold is found"):
        gate.control_values(adata, ShapeStrategy(document()))
    overlap = [interval("CAR-T", CD3, low=1.0), interval("Host T", CD3, low=2.0)]
    with pytest.raises(GateError, match="events are in two compartments, 'car' and 'host'"):
        gate.apply(adata, GatingDocument(overlap, transformations=SCALES))
    pair = ("Er170Di", "Nd145Di")
    spilled = GatingDocument(
        [interval("g", Dimension("Er170Di", compensation="m"), low=1.0)],
        matrices={"m": SpectrumMatrix(pair, pair, ((1.0, 0.5), (0.0, 1.0)))},
    )
    gate.apply(adata, spilled)
    np.testing.assert_array_equal(gate.membership(adata, "g"), adata.layers["counts"][:, 0] >= 1.0)
    adata.uns["cytocar"]["compensate"] = "{}"
    with pytest.raises(
        GateError, match="ask for the compensation 'm', and the counts are compensated already"
    ):
        gate.apply(adata, spilled)
    adata.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError):
        gate.apply(adata, document())


def test_roles_are_stated_said_or_usual() -> None:
    tree = ShapeStrategy(document())
    assert tree.compartments == {"car": "CAR-T", "host": "Host T"}
    assert tree.denominator == "cells"
    assert tree.subset_populations["CAR-T"] == {"CD4": "CAR-T > CD4+", "CD8": "CAR-T > CD8+"}
    assert tree.subsets == ("CD4", "CD8")
    assert tree.unknown == (
        "which population is cd45, so that frequencies are of all cells",
        "which populations below 'CAR-T' are DN, DP",
        "which populations below 'Host T' are DN, DP",
    )
    stated = ShapeStrategy(
        document(), car="T cells/Host T", host="CAR-T", cd45="T cells", subsets_named={"DN": "CD8+"}
    )
    assert stated.compartments == {"car": "Host T", "host": "CAR-T"}
    assert stated.denominator == "T cells"
    assert stated.subset_populations["CAR-T"] == {"DN": "CAR-T > CD8+"}
    said = ShapeStrategy(document(roles={"cd45": "T cells", "car": "CAR-T", "host": "T cells/Host T"}))
    assert said.denominator == "T cells"
    nobody = ShapeStrategy(GatingDocument([interval("B", CD3, low=1.0)], transformations=SCALES))
    assert nobody.compartments == {"cells": "cells"}
    assert nobody.unknown == ()
    half = ShapeStrategy(GatingDocument([interval("CAR+", CD3, low=1.0)], transformations=SCALES))
    assert half.compartments == {"car": "CAR+"}
    assert half.unknown[0] == "which population is host"


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        ({"car": "CAR"}, "car names population 'CAR': there is no population 'CAR'"),
        ({"host": "CD4+"}, r"host names population 'CD4\+': population 'CD4\+' is one of"),
        ({"subsets_named": {"CD5": "CD4+"}}, "subset 'CD5' is not known; known: CD4, CD8, DN, DP"),
        (
            {"subsets_named": {"DN": "CD5"}},
            "subset DN names population 'CD5', of which there are 0 below 'CAR-T'",
        ),
    ],
)
def test_roles_that_are_not_there_are_told(roles, reason) -> None:
    with pytest.raises(GateError, match=reason):
        ShapeStrategy(document(), **roles)


def test_names_are_told_apart_and_harmless() -> None:
    gates = [
        interval("1", CD3, low=1.0),
        interval("2", CD3, low=1.0, parent="1"),
        interval("3", CD3, low=1.0),
        interval("4", CD3, low=1.0, parent="3"),
        interval("5", CD3, low=1.0),
        interval("6", CD3, low=1.0),
    ]
    names = ["A", "x/y", "B", "x/y", "events", "cells"]
    gates = [type(g)(**{**vars(g), "name": name}) for g, name in zip(gates, names, strict=True)]
    tree = ShapeStrategy(GatingDocument(gates, transformations=SCALES))
    labels = [one.name for one in tree.expanded()]
    assert labels == ["A", "A > x|y", "B", "B > x|y", "events (2)", "cells (2)"]
    assert not any("/" in label for label in labels)
    assert [population.name for population in strategy_from(text_of(tree)).expanded()] == labels


def test_text_holds_scales_that_only_flowjo_has() -> None:
    axis = Dimension("Er170Di", transformation="biex")
    scales = {"biex": Biex(top=1e4, pos=4.0, neg=0.5, width=-10)}
    tree = ShapeStrategy(GatingDocument([interval("g", axis, low=0.4)], transformations=scales), name="n & m")
    again = strategy_from(text_of(tree))
    assert again.name == "n & m"
    assert again.document == tree.document


def test_a_tree_prints_with_counts_and_shows_as_html(gated) -> None:
    drawn = gate.tree(gated, sample="S1")
    lines = str(drawn).splitlines()
    counts = gate.table(gated).set_index(["sample_id", "population"])["events"]
    assert re.split(r"\s{2,}", lines[0]) == ["gates, S1", "cells", "% of parent", "% of cells"]
    assert [re.split(r"\s{2,}", line.lstrip("│├└─ "))[0] for line in lines[1:]] == [
        "cells", "T cells", "CAR-T", "CD4+", "CD8+", "Host T", "CD4+", "CD8+",
    ]  # fmt: skip
    assert lines[4].startswith("    │   ├── CD4+")
    assert f" {counts['S1', 'CAR-T > CD4+']:,} " in lines[4]
    assert len({len(line) for line in lines}) == 1
    both = gate.tree(gated).populations[2]
    assert both.events == counts["S1", "CAR-T"] + counts["S2", "CAR-T"]
    t = counts["S1", "T cells"] + counts["S2", "T cells"]
    assert both.of_parent == pytest.approx(100 * both.events / t)
    html = drawn._repr_html_()
    assert html.count("<tr>") == 9
    with pytest.raises(ParameterError, match="sample is 'S3'; known: S1, S2"):
        gate.tree(gated, sample="S3")


def test_html_of_a_tree_escapes_names(tube) -> None:
    adata = tube()
    gates = [interval("g", CD3, low=1.0)]
    gates = [type(g)(**{**vars(g), "name": "<script>alert(1)</script>"}) for g in gates]
    gate.apply(adata, GatingDocument(gates, transformations=SCALES))
    html = gate.tree(adata)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_populations_of_several_samples_are_not_one_file(gated, tmp_path) -> None:
    with pytest.raises(GateError, match=r"the data hold 2 samples \(S1, S2\)"):
        gate.write_population(gated, "CAR-T", tmp_path / "a.fcs")
    assert not (tmp_path / "a.fcs").exists()


def test_roles_are_for_gates_of_other_programs(tmp_path) -> None:
    with pytest.raises(GateError, match="car is stated for the gating car_t"):
        gate.load("car_t", car="CAR-T")
    gate.write_gatingml(document(), tmp_path / "g.xml")
    with pytest.raises(GateError, match=r"g\.xml: host names population 'Hosts'"):
        gate.load(tmp_path / "g.xml", host="Hosts")
    with pytest.raises(GateError, match=r"none\.xml: the gates cannot be read"):
        gate.load(tmp_path / "none.xml")
    tree = gate.load(tmp_path / "g.xml", cd45="T cells", subsets={"CD4": "CD4+"})
    assert (tree.name, tree.denominator, tree.subsets) == ("g", "T cells", ("CD4",))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.data())
def test_children_complements_and_order(seed: int, data: st.DataObject) -> None:
    """A child is within its parent; A and not A hold nothing, A or not A all; the order of events does not matter."""
    rng = np.random.default_rng(seed)
    values = rng.normal(2.5, 2.0, (60, 3)).astype(np.float32)
    var = pd.DataFrame({"channel": ["Er170Di", "Nd145Di", "Tm169Di"], "cofactor": 5.0}, index=["a", "b", "c"])
    adata = anndata.AnnData(values, var=var, layers={"counts": 5 * np.sinh(values)})
    adata.uns["cytocar"] = {"state": "arcsinh"}
    gates: list = [interval("g0", CD3, low=float(values[0, 0]))]
    for number in range(1, data.draw(st.integers(1, 5))):
        parent = data.draw(st.sampled_from(["", *(g.id for g in gates)]))
        if data.draw(st.booleans()):
            corners = tuple((float(x), float(y)) for x, y in rng.normal(2.5, 3.0, (5, 2)))
            gates.append(Polygon(id=f"g{number}", dimensions=(CD4, VHH), vertices=corners, parent=parent))
        else:
            gates.append(interval(f"g{number}", VHH, high=float(values[number, 2]), parent=parent))
    for shape in list(gates):
        both = (Operand(shape.id), Operand(shape.id, complement=True))
        gates += [
            Combination(id=f"{shape.id} and", operation="and", operands=both),
            Combination(id=f"{shape.id} or", operation="or", operands=both),
        ]
    written = GatingDocument(gates, transformations=SCALES)
    gate.apply(adata, written)
    found = adata.obsm["gates"]
    for one in gate.strategy_of(adata).expanded():
        assert (found[one.name] <= found[one.parent]).all()
    for name in [g.id for g in gates if g.id.endswith(" and")]:
        assert not found[name].any()
        assert found[name.replace(" and", " or")].all()
    order = rng.permutation(len(values))
    other = adata[order].copy()
    gate.apply(other, written)
    np.testing.assert_array_equal(other.obsm["gates"].to_numpy(), found.to_numpy()[order])
    assert (
        json.loads(other.uns["cytocar"]["gating"])["samples"]
        == json.loads(adata.uns["cytocar"]["gating"])["samples"]
    )


FORMATS = {
    "gatingml": lambda d, path: gate.write_gatingml(d, path.with_suffix(".xml")),
    "cytobank": lambda d, path: gate.write_gatingml(d, path.with_suffix(".xml"), flavour="cytobank"),
    "flowjo": lambda d, path: gate.write_flowjo(d, path.with_suffix(".wsp"), files=["S1.fcs"]),
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_tree_and_counts(form, tube, tmp_path) -> None:
    corners = ((0.5, 0.4), (5.0, 0.2), (4.5, 5.0), (1.0, 4.0))
    gates = [
        *document().gates.values(),
        Polygon(id="p", name="poly", dimensions=(CD3, CD4), vertices=corners, parent="t"),
        Rectangle(
            id="b",
            name="box",
            dimensions=(CD3, CD4, VHH),
            low=(1.0, None, 0.1),
            high=(None, 4.2, 3.0),
            parent="p",
        ),
    ]
    own = tube()
    gate.apply(own, GatingDocument(gates, transformations=SCALES))
    FORMATS[form](GatingDocument(gates, transformations=SCALES), tmp_path / "gates")
    read = tube()
    gate.apply(read, str(next(tmp_path.glob("gates.*"))))
    left, right = (gate.table(one).set_index("path")["events"].to_dict() for one in (own, read))
    assert left == right
    assert left["T cells/poly/box"] > 100
