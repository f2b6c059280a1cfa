"""Gating-ML 2.0, also as Cytobank writes it, to a `GatingDocument`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from cytocar._core.errors import GateError, Problem
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._documents.references import references
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
from cytocar.gate._shapes.spillover import SpectrumMatrix
from cytocar.gate._shapes.transforms import SCALES, Ratio, Transformation

VERSION = "Gating-ML/v2.0"
KINDS = ("RectangleGate", "PolygonGate", "EllipsoidGate", "QuadrantGate", "BooleanGate")


def read_gatingml(path: str | os.PathLike[str]) -> GatingDocument:
    """Read the gates of a Gating-ML 2.0 file.

    Files of Cytobank are read with their names, their populations (gate sets) and the versions of gates that were
    tailored to single files; gates that are tailored to populations, of which Gating-ML cannot say where each is
    meant, are refused. The standard is Spidlen et al. 2015, doi 10.1002/cyto.a.22690. A document type in the
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
    >>> from cytocar.gate import Dimension, GatingDocument, threshold_gate, write_gatingml
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gates.xml"
    >>> write_gatingml(GatingDocument([threshold_gate("T cells", Dimension("Yb170Di"), 10.0)]), path)
    >>> print(read_gatingml(path))
    T cells
    """
    return document_from(read_xml(path, what="Gating-ML 2.0"))


def document_from(root: Node) -> GatingDocument:
    """Return the gates of the root element of a file."""
    if root.name != "Gating-ML" or VERSION not in root.space:
        root.fail(
            f"the root is <{root.name}> of {root.space or 'no namespace'!r}",
            fix=f"expected <Gating-ML> of 'http://www.isac-net.org/std/{VERSION}/gating'",
        )
    elements = _Elements()
    for node in root.children:
        elements.add(node)
    gates = _with_versions(_with_samples(elements.gates, elements.infos), elements.infos)
    try:
        return GatingDocument(
            gates,
            transformations=elements.transformations,
            matrices=elements.matrices,
            populations=_populations(gates, elements.infos) or None,
            roles=elements.roles,
            nested=not any(node.text.strip() == "false" for node in _of_cytocar(root, "nested")),
        )
    except GateError as error:
        raise error.within(root.where) from None


@dataclasses.dataclass
class _Elements:
    """What the elements of a file hold, as they are read one after the other."""

    transformations: dict[str, Transformation] = dataclasses.field(default_factory=dict)
    matrices: dict[str, SpectrumMatrix] = dataclasses.field(default_factory=dict)
    gates: list[Gate] = dataclasses.field(default_factory=list)
    infos: dict[str, _Info] = dataclasses.field(default_factory=dict)
    roles: dict[str, str] = dataclasses.field(default_factory=dict)
    _lines: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Add an element below the root."""
        if node.name == "transformation":
            _add(self.transformations, node, node.guarded(_transformation))
        elif node.name == "spectrumMatrix":
            _add(self.matrices, node, node.guarded(_matrix))
        elif node.name in KINDS:
            self._add_gate(node)
        elif node.name == "custom_info":
            self.roles |= {
                role.attribute("name"): role.text
                for maker in node.all("cytocar")
                for role in maker.all("role")
            }
        else:
            node.fail(
                "this element is not known",
                fix=f"expected transformation, spectrumMatrix, custom_info or one of {', '.join(KINDS)}",
            )

    def _add_gate(self, node: Node) -> None:
        gate = node.guarded(_gate)
        if gate.id in self._lines:
            node.fail(f"the id {gate.id!r} is that of the gate in line {self._lines[gate.id]} already")
        self._lines[gate.id] = node.line
        self.infos[gate.id] = _Info(node)
        self.gates.append(gate)


def _populations(gates: Sequence[Gate], infos: Mapping[str, _Info]) -> list[str]:
    """Return the ids of the gates that the file calls populations; none where it says nothing about it."""
    for_all_files = [gate.id for gate in gates if not gate.version_of]
    sets = [name for name in for_all_files if infos[name].text("gate_set_id")]
    if sets:
        return sets
    helpers = {name for name, info in infos.items() if info.text("helper") == "true"}
    if helpers:
        return [name for name in for_all_files if name not in helpers]
    return [
        name
        for gate in gates
        for name in (*((gate.id,) if infos[gate.id].population else ()), *infos[gate.id].quadrants)
    ]


def _of_cytocar(root: Node, name: str) -> list[Node]:
    """Return the elements of a name in what files of cytocar say of the file or of a gate."""
    infos = root.all("custom_info")
    return [node for info in infos for maker in info.all("cytocar") for node in maker.all(name)]


def _add(into: dict[str, Any], node: Node, value: Any) -> None:
    name = node.attribute("id")
    if name in into:
        node.fail(f"the id {name!r} comes twice")
    into[name] = value


class _Info:
    """What custom_info says of a gate, from Cytobank or from cytocar."""

    def __init__(self, node: Node) -> None:
        self.address = node.address
        self._texts: dict[str, str] = {}
        for info in node.all("custom_info"):
            for maker in info.children:
                if maker.name in ("cytobank", "cytocar"):
                    self._texts |= {child.name: child.text.strip() for child in maker.children}
        self.quadrants = [
            child.attribute("id") for child in _stated_quadrants(node) if child.flag("is_population")
        ]

    def text(self, name: str) -> str:
        return self._texts.get(name, "")

    @property
    def population(self) -> bool:
        return self.text("is_population") == "true"


def _with_samples(gates: list[Gate], infos: dict[str, _Info]) -> list[Gate]:
    """Return the gates of a run, which are written once per sample, as gates with a version for each sample."""
    samples = {gate.id: infos[gate.id].text("sample") for gate in gates}
    if len({sample for sample in samples.values() if sample}) < 2:
        return gates
    first: dict[str, str] = {}
    stands_for = {}
    for gate in gates:
        population = infos[gate.id].text("population")
        if samples[gate.id] and population:
            stands_for[gate.id] = first.setdefault(population, gate.id)
    shared = []
    for gate in gates:
        changes: dict[str, Any] = {"parent": stands_for.get(gate.parent, gate.parent)}
        if isinstance(gate, Combination):
            changes["operands"] = tuple(
                dataclasses.replace(operand, gate=stands_for.get(operand.gate, operand.gate))
                for operand in gate.operands
            )
        base = stands_for.get(gate.id, "")
        if base:
            changes |= {"file": samples[gate.id], "version_of": "" if base == gate.id else base}
        shared.append(dataclasses.replace(gate, **changes))
    return shared


def _with_versions(gates: list[Gate], infos: dict[str, _Info]) -> list[Gate]:
    """Return the gates with their names, and those for single files as versions of the gate of all files."""
    versions = _tailored(gates, infos)
    named = []
    for gate in gates:
        info = infos[gate.id]
        changes = {
            "name": info.text("name") or info.text("population"),
            "file": info.text("fcs_file_filename") or gate.file,
            "version_of": versions.get(gate.id) or info.text("version_of") or gate.version_of,
        }
        named.append(dataclasses.replace(gate, **changes))
    return named


def _tailored(gates: Sequence[Gate], infos: Mapping[str, _Info]) -> dict[str, str]:
    """Return the id of each gate that Cytobank tailored to a single file, to the id of the gate that it replaces."""
    by_number: dict[str, list[Gate]] = {}
    for gate in gates:
        number = infos[gate.id].text("gate_id")
        if number:
            by_number.setdefault(number, []).append(gate)
    problems = [problem for group in by_number.values() for problem in _not_chosen(group, infos)]
    if problems:
        raise GateError(problems=problems)
    referred = {name for gate in gates for name in references(gate)}
    replaced: dict[str, str] = {}
    for group in by_number.values():
        for_all_files = [gate for gate in group if not infos[gate.id].text("fcs_file_filename")]
        # Without a gate for all files, the populations name one of its versions.
        named = [gate for gate in group if gate.id in referred]
        first = (for_all_files or named or group)[0]
        replaced |= {gate.id: first.id for gate in group if gate is not first}
    return replaced


def _not_chosen(group: Sequence[Gate], infos: Mapping[str, _Info]) -> list[Problem]:
    """Return why it is not stated which of several gates with one number is meant: Cytobank can have one for each file.

    It can also have one for each population, or for each group of files, and Gating-ML has no form for these.
    """
    several = [infos[gate.id] for gate in group]
    files = [info.text("fcs_file_filename") for info in several]
    groups = {info.text("gating_group_name") or info.text("gating_group_id") for info in several}
    if len(several) > 1 and any(info.text("tailored_per_population") == "true" for info in several):
        what = f"has {len(several)} forms, which are tailored to populations"
        fix = "in Cytobank, draw one gate for each of these populations, without tailoring, and export again"
    elif len(set(files)) == len(files):
        return []
    elif len(groups) > 1:
        what = f"has a form in each of the gating groups {', '.join(sorted(map(repr, groups)))}"
        fix = "export one gating group at a time"
    else:
        what = f"has {len(several)} forms, and does not say which of them is for which file"
        fix = "export again from Cytobank with the FCS files in the experiment"
    return [Problem(several[0].address, f"gate {several[0].text('name')!r} {what}", fix)]


def _transformation(node: Node) -> Transformation:
    low, high = node.optional_number("boundMin"), node.optional_number("boundMax")
    bounds: dict[str, Any] = {"bound_min": low, "bound_max": high}
    kinds = [child for child in node.children if child.name != "custom_info"]
    if len(kinds) != 1:
        node.fail(f"it has {len(kinds)} elements", fix=f"expected one of {', '.join([*SCALES, 'fratio'])}")
    kind = kinds[0]
    scales = SCALES | OWN_SCALES
    if kind.name == "fratio":
        channels = [child.attribute("name") for child in kind.all("fcs-dimension")]
        if len(channels) != 2:
            kind.fail(f"it has {len(channels)} <fcs-dimension>", fix="expected two")
        numbers = {name.lower(): kind.number(name) for name in ("A", "B", "C")}
        return Ratio(numerator=channels[0], denominator=channels[1], **bounds, **numbers)
    if kind.name not in scales:
        kind.fail("this scale is not known", fix=f"expected one of {', '.join([*SCALES, 'fratio'])}")
    scale = scales[kind.name]
    wanted = scale().parameters()
    return scale(**bounds, **{name.lower(): kind.number(name) for name in wanted})


def _matrix(node: Node) -> SpectrumMatrix:
    names = [
        tuple(child.attribute("name") for child in node.one(side).all("fcs-dimension"))
        for side in ("fluorochromes", "detectors")
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
        node.fail(
            "its channel is missing or not clear",
            fix="expected one <fcs-dimension> or one <new-dimension> in it",
        )
    return Dimension(
        channel=channel.attribute("name") if channel is not None else "",
        compensation=node.attributes.get("compensation-ref") or UNCOMPENSATED,
        transformation=node.attributes.get("transformation-ref", ""),
        ratio=new.attribute("transformation-ref") if new is not None else "",
    )


def _dimensions(node: Node) -> tuple[Dimension, ...]:
    dimensions = tuple(_dimension(child) for child in node.all("dimension"))
    if not dimensions:
        node.fail("it has no <dimension>", fix="expected one for each axis")
    return dimensions


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
            vertex.fail(f"it has {len(point)} <coordinate>", fix="expected two")
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
            position.attribute("divider_ref"): position.number("location")
            for position in quadrant.all("position")
        }
    names = {
        child.attribute("id"): child.text.strip() for child in _stated_quadrants(node) if child.text.strip()
    }
    return Quadrants(dividers=dividers, quadrants=quadrants, names=names, **common)


def _stated_quadrants(node: Node) -> list[Node]:
    """Return what a file of cytocar says of the quadrants of a gate: ids of XML cannot be called q++."""
    return _of_cytocar(node, "quadrant")


def _combination(node: Node, common: dict[str, Any]) -> Combination:
    operations = [child for child in node.children if child.name in ("and", "or", "not")]
    if len(operations) != 1:
        node.fail(f"it has {len(operations)} operations", fix="expected one of <and>, <or>, <not>")
    operands = tuple(
        Operand(child.attribute("ref"), child.flag("use-as-complement"))
        for child in operations[0].all("gateReference")
    )
    if not operands:
        operations[0].fail("it has no <gateReference>", fix="expected one for each gate that it combines")
    # A gate named twice stands for the two references that the schema wants.
    return Combination(operation=operations[0].name, operands=tuple(dict.fromkeys(operands)), **common)


_BUILDERS = {
    "RectangleGate": _rectangle,
    "PolygonGate": _polygon,
    "EllipsoidGate": _ellipsoid,
    "QuadrantGate": _quadrants,
    "BooleanGate": _combination,
}
