"""Workspaces that cytocar writes as FlowKit reads them, and those that FlowKit writes as cytocar reads them."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest

from cytocar import gate
from cytocar.gate import (
    Asinh,
    Combination,
    Dimension,
    Ellipsoid,
    GatingDocument,
    Logicle,
    Operand,
    Polygon,
    Rectangle,
    SpectrumMatrix,
    interval,
)
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.write import write_events

REASON = "FlowKit is not installed; it reads workspaces independently of cytocar"
# What FlowJo needs beside the populations: rectangles have two axes, and there is no complement of a dependent.
HELPERS = {"CD3+ box (1 of 2)", "not CD3+ box"}
CHANNELS = ["Time", "FSC/A", "Er170Di", "Yb171Di", "Yb172Di"]


@pytest.fixture(scope="module")
def flowkit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of FlowKit and what it imports
        return pytest.importorskip("flowkit", reason=REASON)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with two files of the same channels."""
    folder = tmp_path_factory.mktemp("flowjo")
    for name, seed in (("a.fcs", 1), ("b.fcs", 2)):
        rng = np.random.default_rng(seed)
        values = rng.lognormal(3.0, 1.6, (3000, 5)).astype(np.float32)
        values[:, 2:] = np.round(values[:, 2:]) - rng.random((3000, 3)).astype(np.float32)
        values[:, 0] = np.arange(3000)
        write_events(folder / name, values, [(channel, "") for channel in CHANNELS])
    return folder


def seen_by_flowkit(flowkit, workspace: Path, file: Path) -> tuple[dict[tuple, np.ndarray], list[tuple]]:
    """Return path to membership, and the paths, as FlowKit has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample = flowkit.Sample(file, sample_id=file.name, use_flowjo_labels=True)
        read = flowkit.Workspace(workspace, fcs_samples=[sample])
        read.analyze_samples(sample_id=file.name, use_mp=False)
        strategy = read.get_gating_strategy(file.name)
        found = {}
        for name, path in strategy.get_gate_ids():
            found[(*path[1:], name)] = read.get_gate_membership(file.name, name, gate_path=path)
    return found, list(found)


def seen_by_cytocar(document: GatingDocument, file: Path) -> dict[tuple, np.ndarray]:
    masks = document.evaluate_fcs(file)
    return {one.path: masks[one.id] for one in document.populations}


def document_of(**versions: float) -> GatingDocument:
    """Return gates of every kind; `versions` says where CD3 is divided in single files."""
    arcsinh = [Dimension(channel, transformation="arcsinh") for channel in CHANNELS[2:]]
    gates = [
        interval("early", Dimension("Time"), high=2500.0),
        Rectangle(id="scatter", dimensions=(Dimension("FSC/A"),), low=(2.0,), high=(400.0,), parent="early"),
        Rectangle(
            id="box",
            name="CD3+ box",
            dimensions=tuple(arcsinh),
            low=(0.8, None, 0.0),
            high=(None, 4.5, 5.5),
            parent="scatter",
        ),
        Polygon(
            id="poly",
            name="five & <corners>",
            dimensions=(arcsinh[0], arcsinh[1]),
            vertices=((0.3, 0.2), (4.5, 0.5), (5.0, 4.0), (2.0, 5.5), (0.5, 3.0)),
            parent="scatter",
        ),
        Ellipsoid(
            id="ellipse",
            dimensions=(arcsinh[1], arcsinh[2]),
            mean=(2.2, 2.0),
            covariance=((1.0, 0.4), (0.4, 0.6)),
            distance_square=2.0,
        ),
        Combination(id="both", operation="and", operands=(Operand("poly"), Operand("box")), parent="early"),
        Combination(id="either", operation="or", operands=(Operand("poly"), Operand("box", complement=True))),
        Combination(id="outside", operation="not", operands=(Operand("ellipse"),), parent="scatter"),
        Combination(id="again", operation="and", operands=(Operand("ellipse"),), parent="outside"),
    ]
    gates += [
        interval(f"box of {file}", arcsinh[0], low=low, parent="scatter") for file, low in versions.items()
    ]
    gates = [
        dataclasses.replace(g, file=f"{g.id[7:]}.fcs", version_of="box") if g.id.startswith("box of") else g
        for g in gates
    ]
    return GatingDocument(gates, transformations={"arcsinh": Asinh.of_cofactor(5)})


@pytest.mark.parametrize("versions", [{}, {"a": 1.5, "b": 2.5}, {"b": 3.0}])
def test_flowkit_sees_the_same_tree_and_the_same_events(flowkit, folder, tmp_path, versions) -> None:
    document = document_of(**versions)
    path = tmp_path / "gates.wsp"
    gate.write_flowjo(document, path, files=[folder / "a.fcs", folder / "b.fcs"])
    again = gate.read_flowjo(path)
    assert str(again) == str(document)
    for name in ("a.fcs", "b.fcs"):
        own, read = (seen_by_cytocar(one, folder / name) for one in (document, again))
        flow, _ = seen_by_flowkit(flowkit, path, folder / name)
        assert {part for node in flow for part in node} - {
            one.name for one in document.populations
        } <= HELPERS
        flow = {
            tuple(part for part in node if part not in HELPERS): mask
            for node, mask in flow.items()
            if node[-1] not in HELPERS
        }
        assert set(flow) == set(own)
        for node, mask in own.items():
            np.testing.assert_array_equal(read[node], mask, err_msg=str(node))
            # FlowKit makes a polygon of 128 corners of an ellipse; what is made of it differs as little.
            differs = int((flow[node] != mask).sum())
            assert differs == 0 or (differs <= 5 and node[-1] in ("ellipse", "outside", "again")), node
        assert all(10 < mask.sum() < 2990 for node, mask in own.items() if node[-1] != "again")


def test_ellipses_differ_from_flowkits_polygon_only_between_the_two(flowkit, folder, tmp_path) -> None:
    document = document_of()
    path = tmp_path / "gates.wsp"
    gate.write_flowjo(document, path, files=[folder / "a.fcs"])
    mask = seen_by_cytocar(document, folder / "a.fcs")["ellipse",]
    other = seen_by_flowkit(flowkit, path, folder / "a.fcs")[0]["ellipse",]
    shape = document.gate("ellipse")
    events = read_events(read_header(folder / "a.fcs"))
    axes = [np.arcsinh(events[:, CHANNELS.index(axis.channel)].astype(float) / 5) for axis in shape.axes]
    away = np.array(axes).T - shape.mean
    distance = np.einsum("ij,jk,ik->i", away, np.linalg.inv(shape.covariance), away) / shape.distance_square
    differs = mask != other
    # A regular polygon of 128 corners reaches in to cos(pi / 128) of the ellipse.
    assert (np.abs(distance[differs] - 1) < 1 - np.cos(np.pi / 128) ** 2).all()
    assert mask.sum() > 300


def test_compensated_channels_and_logicle_axes(flowkit, folder, tmp_path) -> None:
    names = tuple(CHANNELS[2:])
    matrix = SpectrumMatrix(names, names, ((1.0, 0.1, 0.0), (0.05, 1.0, 0.2), (0.0, 0.02, 1.0)))
    pair = tuple(Dimension(name, compensation="spill", transformation="logicle") for name in names[:2])
    gates = [
        Rectangle(id="box", dimensions=pair, low=(0.3, None), high=(None, 0.6)),
        Polygon(id="poly", dimensions=pair, vertices=((0.2, 0.2), (0.7, 0.3), (0.5, 0.8)), parent="box"),
    ]
    scales = {"logicle": Logicle(t=10000, w=0.5, m=4.5, a=0.0)}
    document = GatingDocument(gates, transformations=scales, matrices={"spill": matrix})
    path = tmp_path / "gates.wsp"
    gate.write_flowjo(document, path, files=[folder / "a.fcs"])
    again = gate.read_flowjo(path)
    assert again.matrices["spill"].coefficients == matrix.coefficients
    own, read = (seen_by_cytocar(one, folder / "a.fcs") for one in (document, again))
    flow, paths = seen_by_flowkit(flowkit, path, folder / "a.fcs")
    assert paths == list(own)
    for node, mask in own.items():
        np.testing.assert_array_equal(read[node], mask)
        np.testing.assert_array_equal(flow[node], mask)
    plain = GatingDocument([*gates], transformations=scales, matrices={"spill": SpectrumMatrix(
        names, names, ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))})  # fmt: skip
    assert (seen_by_cytocar(plain, folder / "a.fcs")["box",] != own["box",]).any()


def test_workspaces_of_flowkit_are_read(flowkit, folder, tmp_path) -> None:
    kit = flowkit
    names = ("Er170Di", "Yb171Di")
    scales = {
        names[0]: kit.transforms.LogicleTransform(param_t=10000, param_w=0.5, param_m=4.5, param_a=0),
        names[1]: kit.transforms.WSPBiexTransform(negative=0.5, width=-100, positive=4.0, max_value=10000),
    }
    strategy = kit.GatingStrategy()
    for name, scale in scales.items():
        strategy.add_transform(name, scale)
    axes = [kit.Dimension(name, transformation_ref=name) for name in names]
    strategy.add_gate(
        kit.gates.RectangleGate(
            "R", [kit.Dimension(names[0], transformation_ref=names[0], range_min=0.3, range_max=0.7)]
        ),
        ("root",),
    )
    corners = [(0.25, 1000.0), (0.7, 1200.0), (0.6, 3300.0), (0.3, 2900.0)]
    strategy.add_gate(kit.gates.PolygonGate("P", axes, corners), ("root", "R"))
    path = tmp_path / "theirs.wsp"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample = kit.Sample(folder / "a.fcs", sample_id="a.fcs", use_flowjo_labels=True)
        session = kit.Session(strategy, [sample])
        with open(path, "wb") as stream:
            session.export_wsp(stream, "theirs")
    document = gate.read_flowjo(path)
    assert str(document) == "R\n  P"
    flow, _ = seen_by_flowkit(kit, path, folder / "a.fcs")
    own = seen_by_cytocar(document, folder / "a.fcs")
    assert set(flow) == set(own)
    for node, mask in own.items():
        np.testing.assert_array_equal(flow[node], mask)
        assert 100 < mask.sum() < 2900


@pytest.fixture(scope="module")
def timed(tmp_path_factory) -> Path:
    """Return a file with a $TIMESTEP: Time goes up to 30 seconds."""
    file = tmp_path_factory.mktemp("timed") / "t.fcs"
    values = np.random.default_rng(3).lognormal(3.0, 1.6, (3000, 5)).astype(np.float32)
    values[:, 0] = np.arange(3000)
    write_events(file, values, [(channel, "") for channel in CHANNELS], {"$TIMESTEP": "0.01"})
    return file


@pytest.mark.parametrize("kind", ["range", "polygon"])
def test_flowkit_counts_the_same_seconds(flowkit, timed, tmp_path, kind) -> None:
    time, er = Dimension("Time"), Dimension("Er170Di", transformation="arcsinh")
    shape = {
        "range": interval("some", time, low=500.0, high=1700.0),
        "polygon": Polygon(
            id="some", dimensions=(time, er), vertices=((100.0, 0.0), (2500.0, 0.0), (1500.0, 4.0))
        ),
    }[kind]
    document = GatingDocument([shape], transformations={"arcsinh": Asinh.of_cofactor(5)})
    path = tmp_path / "ours.wsp"
    gate.write_flowjo(document, path, files=[timed])
    flow, _ = seen_by_flowkit(flowkit, path, timed)
    own, read = (seen_by_cytocar(one, timed) for one in (document, gate.read_flowjo(path)))
    np.testing.assert_array_equal(read["some",], own["some",])
    np.testing.assert_array_equal(flow["some",], own["some",])
    assert 500 < own["some",].sum() < 2500


def test_seconds_that_flowkit_writes_are_read(flowkit, timed, tmp_path) -> None:
    kit = flowkit
    strategy = kit.GatingStrategy()
    strategy.add_transform("Time", kit.transforms.LinearTransform(param_t=100.0, param_a=0.0))
    axis = kit.Dimension("Time", transformation_ref="Time", range_min=0.05, range_max=0.17)
    strategy.add_gate(kit.gates.RectangleGate("some", [axis]), ("root",))
    path = tmp_path / "theirs.wsp"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample = kit.Sample(timed, sample_id=timed.name, use_flowjo_labels=True)
        with open(path, "wb") as stream:
            kit.Session(strategy, [sample]).export_wsp(stream, "theirs")
    flow, _ = seen_by_flowkit(kit, path, timed)
    own = seen_by_cytocar(gate.read_flowjo(path), timed)
    np.testing.assert_array_equal(flow["some",], own["some",])
    assert own["some",].sum() == 1200
