"""Gating-ML 2.0, also as Cytobank writes it, to a `GatingDocument`."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from cytocar._core.errors import GateError
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._exchange.xml import Node, read_xml
from cytocar.gate._shapes.flowjo_scales import OWN_SCALES
from cytocar.gate._shapes.shapes import (
    UNCOMPENSATED,
    Combination,
    Dimension,
    Divider,
    Ellipsoid,
    Gate,
    Operand,
    Polygon,
    Quadrants,
    Rectangle,
)
from cytocar.gate._shapes.transforms import SCALES, Ratio, SpectrumMatrix, Transformation

VERSION = "Gating-ML/v2.0"
KINDS = ("RectangleGate", "PolygonGate", "EllipsoidGate", "QuadrantGate", "BooleanGate")


def read_gatingml(path: str | os.PathLike[str]) -> GatingDocument:
    """Read the gates of a Gating-ML 2.0 file.

    Files of Cytobank are read with their names, their populations (gate sets) and the versions of gates that were
    tailored to single files. The standard is Spidlen et al. 2015, doi 10.1002/cyto.a.22690. A document type in the
    file is refused, and nothing outside the file is read.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    GatingDocument, whose `evaluate` says which events are in each gate.

    Raises
    ------
    GateError
        The file is not well-formed, not Gating-ML 2.0, or a gate is wrong; the message has the line and what was
        expected.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cytocar.gate import Dimension, GatingDocument, threshold, write_gatingml
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gates.xml"
    >>> write_gatingml(GatingDocument([threshold("T cells", Dimension("Yb170Di"), 10.0)]), path)
    >>> print(read_gatingml(path))
    T cells
    """
    return document_from(read_xml(path, what="Gating-ML 2.0"))


def document_from(root: Node) -> GatingDocument:
    """Return the gates of the root element of a file."""
    if root.name != "Gating-ML" or VERSION not in root.space:
        root.fail(
            f"the root is <{root.name}> of {root.space or 'no namespace'!r}; "
            f"<Gating-ML> of 'http://www.isac-net.org/std/{VERSION}/gating' is expected"
        )
    transformations: dict[str, Transformation] = {}
    matrices: dict[str, SpectrumMatrix] = {}
    gates: list[Gate] = []
    infos: dict[str, _Info] = {}
    lines: dict[str, int] = {}
    roles: dict[str, str] = {}
    for node in root.children:
        if node.name == "transformation":
            _add(transformations, node, node.guarded(_transformation))
        elif node.name == "spectrumMatrix":
            _add(matrices, node, node.guarded(_matrix))
        elif node.name in KINDS:
            gate = node.guarded(_gate)
            if gate.id in lines:
                node.fail(f"the id {gate.id!r} is that of the gate in line {lines[gate.id]} already")
            lines[gate.id] = node.line
            infos[gate.id] = _Info(node)
            gates.append(gate)
        elif node.name == "custom_info":
            roles |= _roles(node)
        else:
            node.fail(f"transformation, spectrumMatrix, custom_info or one of {', '.join(KINDS)} is expected")
    helpers = {name for name, info in infos.items() if info.text("helper") == "true"}
    gates = _with_versions(_with_samples(gates, infos), infos)
    sets = [gate.id for gate in gates if infos[gate.id].text("gate_set_id") and not gate.version_of]
    listed = [gate.id for gate in gates if infos[gate.id].population]
    if helpers:
        listed = [gate.id for gate in gates if gate.id not in helpers and not gate.version_of]
    try:
        return GatingDocument(
            gates,
            transformations=transformations,
            matrices=matrices,
            populations=sets or listed or None,
            roles=roles,
            nested=not any(node.text.strip() == "false" for node in _said(root, "nested")),
        )
    except GateError as error:
        raise error.within(root.where) from None


def _roles(node: Node) -> dict[str, str]:
    """Return which population is which, as files of cytocar say."""
    return {role.attribute("name"): role.text for maker in node.all("cytocar") for role in maker.all("role")}


def _said(root: Node, name: str) -> list[Node]:
    """Return what files of cytocar say at their top."""
    infos = root.all("custom_info")
    return [found for info in infos for maker in info.all("cytocar") for found in maker.all(name)]


def _add(into: dict[str, Any], node: Node, value: Any) -> None:
    name = node.attribute("id")
    if name in into:
        node.fail(f"the id {name!r} comes twice")
    into[name] = value


class _Info:
    """What custom_info says of a gate, from Cytobank or from cytocar."""

    def __init__(self, node: Node) -> None:
        self._texts: dict[str, str] = {}
        for info in node.all("custom_info"):
            for maker in info.children:
                if maker.name in ("cytobank", "cytocar"):
                    self._texts |= {child.name: child.text.strip() for child in maker.children}

    def text(self, name: str) -> str:
        return self._texts.get(name, "")

    @property
    def population(self) -> bool:
        return self.text("is_population") == "true"


def _with_samples(gates: list[Gate], infos: dict[str, _Info]) -> list[Gate]:
    """Return the gates of a run, which are written once a sample, as gates with a version for each sample."""
    samples = {gate.id: infos[gate.id].text("sample") for gate in gates}
    if len({sample for sample in samples.values() if sample}) < 2:
        return gates
    first: dict[str, str] = {}
    stands_for = {}
    for gate in gates:
        population = infos[gate.id].text("population")
        if samples[gate.id] and population:
            stands_for[gate.id] = first.setdefault(population, gate.id)
    found = []
    for gate in gates:
        changes: dict[str, Any] = {"parent": stands_for.get(gate.parent, gate.parent)}
        if isinstance(gate, Combination):
            changes["operands"] = tuple(
                dataclasses.replace(part, gate=stands_for.get(part.gate, part.gate)) for part in gate.operands
            )
        base = stands_for.get(gate.id, "")
        if base:
            changes |= {"file": samples[gate.id], "version_of": "" if base == gate.id else base}
        found.append(dataclasses.replace(gate, **changes))
    return found


def _with_versions(gates: list[Gate], infos: dict[str, _Info]) -> list[Gate]:
    """Return the gates with their names, and those for single files as versions of the gate of all files."""
    referred = {name for gate in gates for name in _references(gate)}
    groups: dict[str, list[Gate]] = {}
    for gate in gates:
        info = infos[gate.id]
        number = info.text("gate_id")
        groups.setdefault(f"number {number}" if number else f"id {gate.id}", []).append(gate)
    versions: dict[str, str] = {}
    for group in groups.values():
        common = [gate for gate in group if not infos[gate.id].text("fcs_file_filename")]
        if len(group) == 1:
            continue
        # Without a gate for all files, the populations name one of its versions.
        named = [gate for gate in group if gate.id in referred]
        first = (common or named or group)[0]
        versions |= {gate.id: first.id for gate in group if gate is not first}
    found = []
    for gate in gates:
        info = infos[gate.id]
        changes = {
            "name": info.text("name") or info.text("population"),
            "file": info.text("fcs_file_filename") or gate.file,
            "version_of": versions.get(gate.id) or info.text("version_of") or gate.version_of,
        }
        found.append(dataclasses.replace(gate, **changes))
    return found


def _references(gate: Gate) -> tuple[str, ...]:
    operands = tuple(part.gate for part in gate.operands) if isinstance(gate, Combination) else ()
    return (*operands, gate.parent)


def _transformation(node: Node) -> Transformation:
    low, high = node.optional_number("boundMin"), node.optional_number("boundMax")
    bounds: dict[str, Any] = {"bound_min": low, "bound_max": high}
    kinds = [child for child in node.children if child.name != "custom_info"]
    if len(kinds) != 1:
        node.fail(f"one of {', '.join([*SCALES, 'fratio'])} is expected in it, not {len(kinds)} elements")
    kind = kinds[0]
    scales = SCALES | OWN_SCALES
    if kind.name == "fratio":
        channels = [child.attribute("name") for child in kind.all("fcs-dimension")]
        if len(channels) != 2:
            kind.fail(f"two <fcs-dimension> are expected in it, not {len(channels)}")
        numbers = {name.lower(): kind.number(name) for name in ("A", "B", "C")}
        return Ratio(numerator=channels[0], denominator=channels[1], **bounds, **numbers)
    if kind.name not in scales:
        kind.fail(f"one of {', '.join([*SCALES, 'fratio'])} is expected here")
    scale = scales[kind.name]
    wanted = scale().parameters()
    return scale(**bounds, **{name.lower(): kind.number(name) for name in wanted})


def _matrix(node: Node) -> SpectrumMatrix:
    names = [
        tuple(child.attribute("name") for child in node.one(part).all("fcs-dimension"))
        for part in ("fluorochromes", "detectors")
    ]
    rows = tuple(
        tuple(coefficient.number("value") for coefficient in spectrum.all("coefficient"))
        for spectrum in node.all("spectrum")
    )
    return SpectrumMatrix(names[0], names[1], rows, inverted=node.flag("matrix-inverted-already"))


def _gate(node: Node) -> Gate:
    common = {"id": node.attribute("id"), "parent": node.attributes.get("parent_id", "")}
    return _BUILDERS[node.name](node, common)


def _dimension(node: Node) -> Dimension:
    channel, new = node.find("fcs-dimension"), node.find("new-dimension")
    if (channel is None) == (new is None):
        node.fail("one <fcs-dimension> or one <new-dimension> is expected in it")
    return Dimension(
        channel=channel.attribute("name") if channel is not None else "",
        compensation=node.attributes.get("compensation-ref") or UNCOMPENSATED,
        transformation=node.attributes.get("transformation-ref", ""),
        ratio=new.attribute("transformation-ref") if new is not None else "",
    )


def _dimensions(node: Node) -> tuple[Dimension, ...]:
    found = tuple(_dimension(child) for child in node.all("dimension"))
    if not found:
        node.fail("a <dimension> is expected in it")
    return found


def _coordinates(node: Node) -> tuple[float, ...]:
    return tuple(child.number("value") for child in node.all("coordinate"))


def _rectangle(node: Node, common: dict[str, Any]) -> Rectangle:
    axes = node.all("dimension")
    return Rectangle(
        dimensions=_dimensions(node),
        low=tuple(axis.optional_number("min") for axis in axes),
        high=tuple(axis.optional_number("max") for axis in axes),
        **common,
    )


def _polygon(node: Node, common: dict[str, Any]) -> Polygon:
    vertices = []
    for vertex in node.all("vertex"):
        point = _coordinates(vertex)
        if len(point) != 2:
            vertex.fail(f"two <coordinate> are expected in it, not {len(point)}")
        vertices.append((point[0], point[1]))
    return Polygon(dimensions=_dimensions(node), vertices=tuple(vertices), **common)


def _ellipsoid(node: Node, common: dict[str, Any]) -> Ellipsoid:
    rows = node.one("covarianceMatrix").all("row")
    return Ellipsoid(
        dimensions=_dimensions(node),
        mean=_coordinates(node.one("mean")),
        covariance=tuple(tuple(entry.number("value") for entry in row.all("entry")) for row in rows),
        distance_square=node.one("distanceSquare").number("value"),
        **common,
    )


def _quadrants(node: Node, common: dict[str, Any]) -> Quadrants:
    dividers = tuple(
        Divider(
            divider.attribute("id"),
            _dimension(divider),
            tuple(value.to_number(value.text, "its text") for value in divider.all("value")),
        )
        for divider in node.all("divider")
    )
    quadrants = {}
    for quadrant in node.all("Quadrant"):
        name = quadrant.attribute("id")
        if name in quadrants:
            quadrant.fail(f"the id {name!r} comes twice in this gate")
        quadrants[name] = {
            place.attribute("divider_ref"): place.number("location") for place in quadrant.all("position")
        }
    return Quadrants(dividers=dividers, quadrants=quadrants, **common)


def _combination(node: Node, common: dict[str, Any]) -> Combination:
    operations = [child for child in node.children if child.name in ("and", "or", "not")]
    if len(operations) != 1:
        node.fail(f"one of <and>, <or>, <not> is expected in it, not {len(operations)}")
    operands = tuple(
        Operand(child.attribute("ref"), child.flag("use-as-complement"))
        for child in operations[0].all("gateReference")
    )
    if not operands:
        operations[0].fail("a <gateReference> is expected in it")
    # A gate named twice stands for the two references that the schema wants.
    return Combination(operation=operations[0].name, operands=tuple(dict.fromkeys(operands)), **common)


_BUILDERS = {
    "RectangleGate": _rectangle,
    "PolygonGate": _polygon,
    "EllipsoidGate": _ellipsoid,
    "QuadrantGate": _quadrants,
    "BooleanGate": _combination,
}
