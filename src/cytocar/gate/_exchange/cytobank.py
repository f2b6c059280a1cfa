"""A `GatingDocument` as Cytobank writes Gating-ML: gates in two dimensions, and gate sets that combine them."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from cytocar._core.errors import GateError
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._exchange.gatingml_elements import (
    element_text,
    file_text,
    gate_xml,
    matrix_xml,
    transformation_xml,
    xml_ids,
)
from cytocar.gate._shapes.shapes import Combination, Dimension, Ellipsoid, Gate, Operand, Polygon, Rectangle
from cytocar.gate._shapes.transforms import Asinh, Linear, Log, Scale

_NO_COMPENSATION: Final = -2
_COMPENSATION_OF_FILE: Final = 0
# How Cytobank numbers the kinds of scales.
_LINEAR, _LOG, _ASINH = 1, 2, 4

Literal = tuple[str, bool]
"""Id of a gate, and whether the events that are not in it are meant."""


@dataclasses.dataclass(frozen=True)
class _Axis:
    """How positions on an axis become positions on the scale that Cytobank has for it: position x factor + offset."""

    dimension: Dimension
    flag: int
    argument: str
    factor: float = 1.0
    offset: float = 0.0

    def moved(self, value: float) -> float:
        """Return a position on the scale of Cytobank."""
        if self.factor == 1.0 and self.offset == 0.0:
            return value
        return value * self.factor + self.offset


def cytobank_text(document: GatingDocument) -> str:
    """Return a document as Cytobank writes it.

    A scale fasinh that is not a plain arcsinh(x / cofactor) is replaced by the one that is, and its gates are moved to
    the same positions of it. Rectangles of more than two dimensions become several.

    Raises
    ------
    GateError
        Cytobank has no form for a gate: `or` of several gates, logicle, hyperlog, ratios, bounds, ellipsoids of more
        than two dimensions.
    """
    return _Writer(document).text()


class _Writer:
    def __init__(self, document: GatingDocument) -> None:
        self._document = document
        self._scales: dict[str, Scale] = {}
        self._matrices = xml_ids(document.matrices)
        self._pieces: dict[str, list[str]] = {}
        self._numbers: dict[str, int] = {}
        self._gates: list[str] = []

    def text(self) -> str:
        wanted = [(self._document.gate(name), self._asked(name)) for name in self._document.listed]
        for _, literals in wanted:
            for name, complement in literals:
                self._write_gate(name)
                if complement and len(self._pieces[name]) > 1:
                    self._fail(name, "complement of a rectangle of more than two dimensions")
        sets = [
            self._gate_set(number, gate.title, literals)
            for number, (gate, literals) in enumerate(wanted, start=1)
        ]
        info = (
            "  <data-type:custom_info>\n    <cytobank>\n      <about>Gating-ML 2.0 in the form of Cytobank, "
            "written by cytocar.</about>\n      <cytobank_gating_version>2.0</cytobank_gating_version>\n"
            "    </cytobank>\n  </data-type:custom_info>\n"
        )
        scales = [transformation_xml(name, scale) for name, scale in self._scales.items()]
        matrices = [
            matrix_xml(self._matrices[name], value) for name, value in self._document.matrices.items()
        ]
        return file_text([*scales, *matrices, *self._gates, *sets], info)

    def _fail(self, name: str, what: str) -> NoReturn:
        title = self._document.names.get(name, name)
        raise GateError(
            f"gate {title!r} cannot be written for Cytobank, which has no {what}",
            fix="write flavour='gatingml', or leave this gate out",
        )

    def _asked(self, name: str) -> list[Literal]:
        """Return the gates without parents that an event of a gate has to be in, or not, from the top down."""
        gate = self._document.gate(name)
        asked = self._asked(gate.parent) if gate.parent else []
        if not isinstance(gate, Combination):
            return _merged(asked, [(name, False)])
        if gate.operation == "or" and len(gate.operands) > 1:
            self._fail(name, "population that is the `or` of several gates")
        for operand in gate.operands:
            literals = self._asked(operand.gate)
            if operand.complement != (gate.operation == "not"):
                # Within what is asked for already, only the rest of the gate can be missed.
                rest = [literal for literal in literals if literal not in asked]
                if len(rest) != 1:
                    self._fail(
                        name,
                        f"complement of {self._document.gate(operand.gate).title!r}, which is several gates",
                    )
                literals = [(rest[0][0], not rest[0][1])]
            asked = _merged(asked, literals)
        return asked

    def _write_gate(self, name: str) -> None:
        """Write the gate of all files and its versions, each as one or more gates of two dimensions at most."""
        if name in self._pieces:
            return
        gate = self._document.gate(name)
        versions = {"": gate, **self._document.versions.get(name, {})}
        if gate.file:
            versions = {gate.file: gate, **self._document.versions.get(name, {})}
        by_file = {file: self._split(version, gate.title) for file, version in versions.items()}
        if len({len(pieces) for pieces in by_file.values()}) != 1:
            self._fail(name, "versions of a gate with other numbers of dimensions")
        self._pieces[name] = []
        for position in range(len(next(iter(by_file.values())))):
            shared = len(self._numbers) + 1
            for file, pieces in by_file.items():
                title, piece = pieces[position]
                identity = self._gate(title, piece, shared, file)
                if identity not in self._numbers and len(self._pieces[name]) == position:
                    self._pieces[name].append(identity)
                    self._numbers[identity] = shared

    def _split(self, gate: Gate, title: str) -> list[tuple[str, Gate]]:
        if isinstance(gate, Ellipsoid) and len(gate.dimensions) > 2:
            self._fail(gate.id, "ellipsoid of more than two dimensions")
        if not isinstance(gate, Rectangle) or len(gate.dimensions) <= 2:
            return [(title, gate)]
        pairs = [slice(start, start + 2) for start in range(0, len(gate.dimensions), 2)]
        return [
            (
                f"{title} ({number})",
                dataclasses.replace(
                    gate, dimensions=gate.dimensions[pair], low=gate.low[pair], high=gate.high[pair]
                ),
            )
            for number, pair in enumerate(pairs, start=1)
        ]

    def _gate(self, title: str, gate: Gate, number: int, file: str) -> str:
        """Write one gate and return its id."""
        axes = [self._axis(gate, dimension) for dimension in gate.axes]
        count = len(self._gates) + 1
        identity = f"Gate_{count}_{_encoded(title)}"
        moved = _moved(gate, axes, identity)
        compensation = {axis.compensation for axis in gate.axes}
        entries: dict[str, Any] = {
            "name": title,
            "id": count,
            "gate_id": number,
            "type": moved.kind if len(axes) > 1 else "RangeGate",
            "version": -1,
            "compensation_id": _NO_COMPENSATION
            if compensation == {"uncompensated"}
            else _COMPENSATION_OF_FILE,
            "fcs_file_id": count if file else "",
            "tailored": "true" if file else "false",
            "tailored_per_population": "false",
            "tailored_per_population_gateset_id": "",
            "fcs_file_filename": file,
            "definition": json.dumps(_definition(moved, axes), separators=(",", ":")),
        }
        used = {name: name for name in self._scales} | self._matrices
        self._gates.append(gate_xml(moved, {identity: identity}, used, _info(entries)))
        return identity

    def _gate_set(self, number: int, title: str, literals: Sequence[Literal]) -> str:
        pieces = [(piece, complement) for name, complement in literals for piece in self._pieces[name]]
        operands = tuple(Operand(piece, complement) for piece, complement in pieces)
        identity = f"GateSet_{number}"
        terms = [f"{'not ' if complement else ''}gate_{self._numbers[piece]}" for piece, complement in pieces]
        definition = {
            "gates": [self._numbers[piece] for piece, complement in pieces if not complement],
            "negGates": [self._numbers[piece] for piece, complement in pieces if complement],
            "tailoredPerPopulation": {},
            "booleanExpression": " and ".join(terms),
        }
        entries = {
            "name": title,
            "id": number,
            "gate_set_id": number,
            "version": -1,
            "tailored": "false",
            "tailored_per_population": "false",
            "definition": json.dumps(definition, separators=(",", ":")),
        }
        ids = {piece: piece for piece, _ in pieces} | {identity: identity}
        gate = Combination(id=identity, operation="and", operands=operands)
        return gate_xml(gate, ids, {}, _info(entries))

    def _axis(self, gate: Gate, dimension: Dimension) -> _Axis:
        if dimension.ratio:
            self._fail(gate.id, "ratio of two channels")
        if not dimension.transformation:
            return _Axis(dimension, _LINEAR, "1")
        scale = self._document.transformations[dimension.transformation]
        if scale.bound_min is not None or scale.bound_max is not None:
            self._fail(gate.id, "scale with bounds")
        if isinstance(scale, Linear):
            plain = dataclasses.replace(dimension, transformation="")
            return _Axis(plain, _LINEAR, "1", scale.t + scale.a, -scale.a)
        if isinstance(scale, Log):
            name = self._scale("Tr_Log_1", Log(t=1.0, m=1.0))
            offset = 1.0 - scale.m + math.log10(scale.t)
            return _Axis(_on(dimension, name), _LOG, "1", scale.m, offset)
        if not isinstance(scale, Asinh):
            self._fail(gate.id, f"scale {scale.xml_name}")
        cofactor = scale.cofactor
        argument = f"{cofactor:.10g}"
        if math.isclose(scale.unit, 1.0, rel_tol=1e-12) and scale.a == 0:
            name = self._scale(f"Tr_Arcsinh_{argument}", scale)
            return _Axis(_on(dimension, name), _ASINH, argument)
        name = self._scale(f"Tr_Arcsinh_{argument}", Asinh.of_cofactor(cofactor))
        return _Axis(_on(dimension, name), _ASINH, argument, 1.0 / scale.unit, -scale.offset / scale.unit)

    def _scale(self, stem: str, scale: Scale) -> str:
        """Return the id under which a scale is written."""
        name, number = stem, 1
        while self._scales.get(name, scale) != scale:
            number += 1
            name = f"{stem}_{number}"
        self._scales[name] = scale
        return name


def _on(dimension: Dimension, transformation: str) -> Dimension:
    return dataclasses.replace(dimension, transformation=transformation)


def _merged(first: Sequence[Literal], second: Sequence[Literal]) -> list[Literal]:
    return list(dict.fromkeys([*first, *second]))


def _encoded(title: str) -> str:
    """Return a name as Cytobank puts it into an id: base64 with . _ - in place of + / =."""
    plain = base64.b64encode(title.encode("utf-8", "replace")).decode("ascii")
    return plain.replace("+", ".").replace("/", "_").replace("=", "-")


def _moved(gate: Gate, axes: Sequence[_Axis], identity: str) -> Gate:
    """Return a gate without a parent on the axes that Cytobank has for it."""
    common: dict[str, Any] = {
        "id": identity,
        "parent": "",
        "file": "",
        "version_of": "",
        "dimensions": tuple(axis.dimension for axis in axes),
    }
    if isinstance(gate, Rectangle):
        low, high = (
            tuple(None if v is None else axis.moved(v) for v, axis in zip(side, axes, strict=True))
            for side in (gate.low, gate.high)
        )
        return dataclasses.replace(gate, **common, low=low, high=high)
    if isinstance(gate, Polygon):
        vertices = tuple((axes[0].moved(x), axes[1].moved(y)) for x, y in gate.vertices)
        return dataclasses.replace(gate, **common, vertices=vertices)
    if isinstance(gate, Ellipsoid):
        return dataclasses.replace(
            gate,
            **common,
            mean=tuple(axis.moved(v) for v, axis in zip(gate.mean, axes, strict=True)),
            covariance=tuple(
                tuple(v * own.factor * other.factor for v, other in zip(row, axes, strict=True))
                for row, own in zip(gate.covariance, axes, strict=True)
            ),
        )
    raise GateError(f"gate {gate.title!r}: {gate.kind} has no form in Cytobank")


def _definition(gate: Gate, axes: Sequence[_Axis]) -> dict[str, Any]:
    """Return what Cytobank keeps of a gate beside Gating-ML: scales and corners."""
    scale = {
        name: {"flag": axis.flag, "argument": axis.argument, "bins": 256, "size": 256}
        for name, axis in zip(("x", "y"), axes, strict=False)
    }
    shape: dict[str, Any]
    if isinstance(gate, Polygon):
        shape = {"polygon": {"vertices": [list(vertex) for vertex in gate.vertices]}}
    elif isinstance(gate, Ellipsoid):
        shape = {
            "ellipse": {
                "center": list(gate.mean),
                "covariance": [list(row) for row in gate.covariance],
                "distanceSquare": gate.distance_square,
            }
        }
    elif isinstance(gate, Rectangle):
        corners = {
            f"{name}{side}": bound
            for side, bounds in (("1", gate.low), ("2", gate.high))
            for name, bound in zip(("x", "y"), bounds, strict=False)
        }
        shape = {"rectangle" if len(axes) > 1 else "range": corners}
    else:
        shape = {}
    return {"scale": scale, "positive": False, "negative": False, "locked": False, **shape}


def _info(entries: Mapping[str, Any]) -> str:
    lines = "".join(f"        <{key}>{element_text(str(value))}</{key}>\n" for key, value in entries.items())
    return (
        "    <data-type:custom_info>\n      <cytobank>\n"
        f"{lines}      </cytobank>\n    </data-type:custom_info>\n"
    )
