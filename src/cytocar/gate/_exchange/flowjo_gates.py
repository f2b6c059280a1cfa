"""The populations of one sample of a FlowJo workspace as gates on scales."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from cytocar._core.errors import Problem, did_you_mean
from cytocar.gate._documents.references import references
from cytocar.gate._exchange.xml import Node
from cytocar.gate._shapes.flowjo_scales import Biex, FlowJoLog, RunSeconds
from cytocar.gate._shapes.shapes import (
    FROM_FILE,
    UNCOMPENSATED,
    Combination,
    Dimension,
    Ellipsoid,
    Gate,
    Operand,
    Polygon,
    Rectangle,
)
from cytocar.gate._shapes.spillover import SpectrumMatrix
from cytocar.gate._shapes.transforms import Asinh, Hyperlog, Logicle, Scale

Path = tuple[str, ...]

DISPLAY: Final = 256.0
"""FlowJo draws on 256 x 256 positions, and stores ellipses in them."""
# The linear axis that FlowJo gives a channel by itself, and up to where it takes a lower edge for the bottom of it.
_USUAL_TOP: Final = 262_144.0
_OPENED_UPTO: Final = 20.125
HELPER: Final = "cytocar helper"
"""The annotation of populations that only help to define others."""
BOOLEANS: Final = {"AndNode": "and", "OrNode": "or", "NotNode": "not"}
SHAPES: Final = ("RectangleGate", "PolygonGate", "EllipsoidGate")


class Names:
    """Scales and matrices of a workspace, each under one id."""

    def __init__(self) -> None:
        self.scales: dict[str, Scale] = {}
        self.matrices: dict[str, SpectrumMatrix] = {}

    def scale(self, scale: Scale) -> str:
        """Return the id of a scale."""
        return _id_in(self.scales, scale, scale.xml_name)

    def matrix(self, matrix: SpectrumMatrix, name: str) -> str:
        """Return the id of a matrix."""
        stem = name if name not in (UNCOMPENSATED, FROM_FILE, "") else "matrix"
        return _id_in(self.matrices, matrix, stem)


def _id_in(values: dict[str, Any], value: Any, stem: str) -> str:
    """Return the id of a value, which it gets where it has none."""
    name, number = stem, 1
    while values.get(name, value) != value:
        number += 1
        name = f"{stem}_{number}"
    values[name] = value
    return name


@dataclasses.dataclass
class Axis:
    """What FlowJo does to one channel: how its 256 positions are drawn.

    Parameters
    ----------
    scale
        The scale; None where the axis is linear, so that the value itself will do.
    low, high
        Ends of a linear axis.
    unknown
        The element of a scale that is not published; only rectangles can be read without it.
    gain
        What FlowJo multiplies the values of the file by on a linear axis, such as seconds in a tick of Time; None where
        it is not stated.
    curved
        Whether it is Time on an axis that is not linear: only rectangles can be read on it.
    """

    scale: Scale | None = None
    low: float = 0.0
    high: float = 0.0
    unknown: Node | None = None
    gain: float | None = None
    curved: bool = False

    def opens(self, edge: float, channel: str) -> bool:
        """Return whether FlowJo counts all events below a lower edge of a rectangle, since it is at the bottom.

        FlowJo 10.10.2 opens an edge at or below the beginning of a linear or biexponential axis, and on the axis that
        it gives Time and scattered light by itself (0 to 262,144) one up to 20.125; as measured by the author of
        openflo 2.8.0. On the usual biexponential axis that is between -2,000 and -1,000; its table begins at -1,636.
        """
        if isinstance(self.scale, Biex):
            return edge <= float(self.scale.inverse([0.0])[0])
        if self.scale is not None or self.high <= self.low:
            return False
        usual = self.low == 0 and self.high == _USUAL_TOP and self.gain in (None, 1.0)
        near = usual and channel.casefold().startswith(("time", "fsc", "ssc"))
        return edge <= (_OPENED_UPTO if near else self.low)


def read_axis(node: Node) -> Axis:
    """Return one element of <Transformations>."""
    if node.name == "linear":
        gain = node.optional_number("gain")
        if gain is not None and not gain > 0:
            node.fail(f"attribute 'gain' is {gain:g}", fix="expected a number above 0")
        return Axis(low=node.number("minRange"), high=node.number("maxRange"), gain=gain)
    if node.name == "log":
        return Axis(_scale(node, FlowJoLog, offset="offset", decades="decades"))
    if node.name == "biex":
        if node.attributes.get("length", "256") != "256":
            node.fail(f"attribute 'length' is {node.attributes['length']!r}", fix="expected '256'")
        return Axis(_scale(node, Biex, top="maxRange", pos="pos", neg="neg", width="width"))
    for name, kind in (("fasinh", Asinh), ("logicle", Logicle), ("hyperlog", Hyperlog)):
        if node.name == name:
            letters = {letter.lower(): letter for letter in kind().parameters()}
            return Axis(_scale(node, kind, **letters))
    return Axis(unknown=node)


def _scale(node: Node, kind: type[Scale], **names: str) -> Scale:
    numbers = {field: node.number(name) for field, name in names.items()}
    return node.guarded(lambda _: kind(**numbers))


@dataclasses.dataclass
class Compensation:
    """The spillover matrix of a sample, and how compensated channels are called.

    Parameters
    ----------
    matrix
        None where it cannot be read.
    name, prefix, suffix
        Of the matrix, and what stands before and behind the name of a channel that is compensated with it.
    written
        Channels of the matrix as they are written in the workspace.
    problem
        Why the matrix cannot be read.
    """

    matrix: SpectrumMatrix | None
    name: str
    prefix: str
    suffix: str
    written: tuple[str, ...] = ()
    problem: Problem | None = None

    def bare(self, name: str) -> str:
        """Return the measured channel that a compensated one is made from, or "" where the name is another."""
        if not (name.startswith(self.prefix) and name.endswith(self.suffix)):
            return ""
        return name[len(self.prefix) : len(name) - len(self.suffix)]


class GateReader:
    """Turns the populations of one sample into gates.

    Parameters
    ----------
    names
        Where scales and matrices get their ids.
    axes
        Channel, also as it is called when compensated, to its axis.
    compensation
        Of the sample; None where there is none.
    channels
        ``$PnN`` of the file, as far as the workspace says; FlowJo writes ``_`` for a slash.
    timestep
        Seconds in a unit of time by ``$TIMESTEP``, 0 where it is not stated.
    took
        Seconds from ``$BTIM`` to ``$ETIM``, 0 where these are not stated.
    """

    def __init__(
        self,
        names: Names,
        axes: Mapping[str, Axis],
        compensation: Compensation | None,
        channels: tuple[str, ...],
        timestep: float,
        took: float = 0.0,
    ) -> None:
        self._names, self._axes, self._compensation = names, axes, compensation
        self._channels, self._timestep, self._took = channels, timestep, took
        self._gates: dict[Path, tuple[Gate, ...]] = {}
        self._helpers: set[Path] = set()
        self._seen: set[Path] = set()

    def read(self, populations: Node) -> dict[Path, tuple[Gate, ...]]:
        """Return path to gates: the last is that of the population, those before it help to define it."""
        booleans: list[tuple[Node, Path]] = []
        self._below(populations, (), booleans)
        for node, path in booleans:
            self._gates[path] = (self._combination(node, path),)
        help_of = {gate.id: gate for gates in self._gates.values() for gate in gates[:-1]}
        help_of |= {self._gates[path][-1].id: self._gates[path][-1] for path in self._helpers}
        return {
            self._visible(path): (*_helped(gates[-1], help_of), gates[-1])
            for path, gates in self._gates.items()
            if path not in self._helpers
        }

    def _visible(self, path: Path) -> Path:
        """Return a path without the helpers on it."""
        return tuple(name for end, name in enumerate(path, start=1) if path[:end] not in self._helpers)

    def _id(self, path: Path) -> str:
        """Return the id of a gate; that of a helper cannot be the path of a population."""
        return f"{gate_id(path)} (helper)" if path in self._helpers else gate_id(self._visible(path))

    def _below(self, node: Node, parent: Path, booleans: list[tuple[Node, Path]]) -> None:
        for child in node.children:
            if child.name not in BOOLEANS and child.name != "Population":
                continue
            path = (*parent, child.attribute("name"))
            helper = child.attributes.get("annotation") == HELPER
            if path in self._gates or (not helper and self._visible(path) in self._seen):
                child.fail(f"there are two populations {'/'.join(path)!r}", fix="rename one in FlowJo")
            if helper:
                self._helpers.add(path)
            else:
                self._seen.add(self._visible(path))
            self._gates[path] = ()
            if child.name == "Population":
                self._gates[path] = child.guarded(partial(self._shape, path=path))
            else:
                booleans.append((child, path))
            for below in child.all("Subpopulations"):
                self._below(below, path, booleans)

    def _common(self, path: Path) -> dict[str, Any]:
        parent = self._id(path[:-1]) if len(path) > 1 else ""
        return {"id": self._id(path), "name": path[-1], "parent": parent}

    def _shape(self, node: Node, path: Path) -> tuple[Gate, ...]:
        holder = node.one("Gate")
        shapes = [child for child in holder.children if child.name.endswith("Gate")]
        if len(shapes) != 1 or shapes[0].name not in SHAPES:
            inside = ", ".join(f"<{child.name}>" for child in shapes) or "no gate"
            holder.fail(f"it has {inside}", fix=f"expected one of {', '.join(SHAPES)}")
        shape = shapes[0]
        common = self._common(path)
        inside = shape.attributes.get("eventsInside", "1")
        if inside not in ("0", "1"):
            shape.fail(f"attribute 'eventsInside' is {inside!r}", fix="expected '0' or '1'")
        if inside == "0":
            common = {"id": f"{common['id']} (inside)", "name": f"{common['name']} (inside)"}
        build: Callable[[Node, dict[str, Any]], Gate] = {
            "RectangleGate": self._rectangle,
            "PolygonGate": self._polygon,
            "EllipsoidGate": self._ellipse,
        }[shape.name]
        gate = shape.guarded(lambda node: build(node, common))
        if inside == "1":
            return (gate,)
        return gate, Combination(**self._common(path), operation="not", operands=(Operand(gate.id),))

    def _dimensions(self, node: Node) -> list[tuple[Node, str, Dimension, float]]:
        """Return for each axis its element, its name, the dimension without scale, and what a unit is worth."""
        dimensions = []
        for axis in node.all("dimension"):
            name = axis.one("fcs-dimension").attribute("name")
            bare = self._compensated(axis, name)
            if bare and self._compensation and self._compensation.matrix is not None:
                matrix = self._names.matrix(self._compensation.matrix, self._compensation.name)
                plain = Dimension(name, matrix)
                dimensions.append((axis, name, plain, self._unit(name, plain)))
                continue
            channel = self._channel(name)
            if not is_time(channel):
                dimensions.append((axis, name, Dimension(channel), self._unit(name, Dimension(channel))))
                continue
            unit = self._unit_of_time(axis, name)
            plain = Dimension(channel)
            if unit is None:
                plain = dataclasses.replace(
                    plain, transformation=self._names.scale(RunSeconds(took=self._took))
                )
            dimensions.append((axis, name, plain, 1.0 if unit is None else unit))
        if not dimensions:
            node.fail("it has no <dimension>", fix="expected one for each axis")
        return dimensions

    def _unit(self, name: str, dimension: Dimension) -> float:
        """Return the values of the file in a unit of a linear axis, which is in values times its gain."""
        return 1.0 / (self._axis(name, dimension).gain or 1.0)

    def _unit_of_time(self, axis: Node, name: str) -> float | None:
        """Return the ticks in a second of Time, None where only the last tick of the file tells.

        FlowJo has Time in seconds, and states those of a tick as the gain of its axis. A gain of 1 is what other
        programs write who leave the seconds to ``$TIMESTEP``, as FlowJo 10.10.2 does; without it the ticks are meant.
        """
        gain = self._axis(name, Dimension(self._channel(name))).gain
        if gain is not None and (gain != 1.0 or self._timestep == 0):
            return 1.0 / gain
        if self._timestep > 0:
            return 1.0 / self._timestep
        if self._took > 0:
            return None
        bounded = any(side in axis.attributes for side in ("min", "max"))
        if bounded or axis.attributes.keys() <= {"name"}:
            axis.fail(
                f"channel {name!r} is in seconds in FlowJo, and the workspace has neither a gain of its axis nor "
                "$TIMESTEP, nor $BTIM and $ETIM: the ticks of the file cannot be determined",
                fix="open the workspace in FlowJo 10.6 or later and save it, or leave the gate on Time out",
            )
        return 1.0

    def _compensated(self, axis: Node, name: str) -> str:
        """Return the measured channel of a compensated one, "" for a channel as it was measured."""
        own = self._compensation
        bare = own.bare(name) if own else ""
        if name in self._channels and bare != name:
            return ""
        if own and bare and own.problem:
            axis.fail(f"channel {name!r} is compensated, but {own.problem.what}", fix=own.problem.fix)
        if own and bare in own.written:
            return bare
        if name.startswith("Comp-") and self._channel(name) not in self._channels:
            axis.fail(
                f"channel {name!r} is compensated, but the sample has no <spilloverMatrix> with it",
                fix="compensate it in FlowJo again and save, or gate on the channel as it was measured",
            )
        return ""

    def _channel(self, name: str) -> str:
        """Return the `$PnN` that FlowJo means."""
        if name in self._channels:
            return name
        meant = [channel for channel in self._channels if channel.replace("/", "_") == name]
        return meant[0] if len(meant) == 1 else name

    def _axis(self, name: str, dimension: Dimension) -> Axis:
        for channel in (name, dimension.channel):
            if channel in self._axes:
                return self._axes[channel]
        bare = self._compensation.bare(name) if self._compensation else ""
        return self._axes.get(bare, Axis())

    def _scaled(self, name: str, dimension: Dimension) -> tuple[Dimension, Axis]:
        axis = self._axis(name, dimension)
        if axis.scale is None:
            return dimension, axis
        if is_time(dimension.channel):
            # An axis of seconds and the ticks of the file are not the same curve; for a rectangle none is needed.
            return dimension, Axis(curved=True)
        return dataclasses.replace(dimension, transformation=self._names.scale(axis.scale)), axis

    def _rectangle(self, node: Node, common: dict[str, Any]) -> Gate:
        dimensions, low, high = [], [], []
        for axis, name, plain, unit in self._dimensions(node):
            dimension, drawn = self._scaled(name, plain)
            bounds = []
            for side in ("min", "max"):
                value = axis.optional_number(side)
                if value is not None and side == "min" and drawn.opens(value, name):
                    value = None
                bounds.append(None if value is None else _position(drawn.scale, value * unit))
            dimensions.append(dimension)
            low.append(bounds[0])
            high.append(bounds[1])
        return Rectangle(dimensions=tuple(dimensions), low=tuple(low), high=tuple(high), **common)

    def _drawn(self, node: Node) -> list[tuple[Dimension, Axis, float]]:
        """Return the two axes of a polygon or an ellipse, which depend on how they are drawn."""
        axes = []
        for _, name, plain, unit in self._dimensions(node):
            dimension, drawn = self._scaled(name, plain)
            if drawn.unknown is not None:
                node.fail(
                    f"the scale {drawn.unknown.name!r} of channel {name!r} (line {drawn.unknown.line}) is not "
                    "published",
                    fix="set the axis to ArcSinh, Logicle, Biex, Log or Linear in FlowJo and save",
                )
            if drawn.curved:
                node.fail(
                    f"channel {name!r} is drawn on an axis that is not linear",
                    fix="set the axis of Time to Linear in FlowJo and save",
                )
            axes.append((dimension, drawn, unit))
        if len(axes) != 2:
            node.fail(f"it has {len(axes)} <dimension>", fix="expected two")
        return axes

    def _polygon(self, node: Node, common: dict[str, Any]) -> Gate:
        drawn = self._drawn(node)
        vertices = []
        for vertex in node.all("vertex"):
            x, y = (
                _position(axis.scale, value * unit)
                for value, (_, axis, unit) in zip(_point(vertex), drawn, strict=True)
            )
            vertices.append((x, y))
        return Polygon(
            dimensions=tuple(dimension for dimension, _, _ in drawn), vertices=tuple(vertices), **common
        )

    def _ellipse(self, node: Node, common: dict[str, Any]) -> Gate:
        """Return the ellipse of two foci and four points of its outline, all in positions of the drawing."""
        drawn = self._drawn(node)
        foci = np.array([_point(vertex) for vertex in node.one("foci").all("vertex")])
        edge = np.array([_point(vertex) for vertex in node.one("edge").all("vertex")])
        if len(foci) != 2 or len(edge) != 4:
            node.fail(
                f"it has {len(foci)} foci and {len(edge)} points of the edge", fix="expected two and four"
            )
        middle = foci.mean(axis=0)
        between = foci[1] - foci[0]
        # FlowJo's points of the minor axis are not reliable; the major axis and the foci say enough.
        major = float(np.hypot(*(edge - middle).T).max())
        focal = float(np.hypot(*between)) / 2
        if not major > focal:
            node.fail("its foci are not within its edge")
        along = between / (2 * focal) if focal else np.array([1.0, 0.0])
        across = np.array([-along[1], along[0]])
        minor = math.sqrt(major**2 - focal**2)
        covariance = major**2 * np.outer(along, along) + minor**2 * np.outer(across, across)
        ends = []
        for _, axis, unit in drawn:
            if axis.scale is not None:
                ends.append((0.0, 1.0 / DISPLAY))
            elif axis.high > axis.low:
                ends.append((axis.low * unit, (axis.high - axis.low) * unit / DISPLAY))
            else:
                node.fail(
                    "an axis of it has no range in <Transformations>, so its positions cannot be determined"
                )
        factors = np.array([factor for _, factor in ends])
        mean = np.array([start for start, _ in ends]) + middle * factors
        covariance = covariance * np.outer(factors, factors)
        return Ellipsoid(
            dimensions=tuple(dimension for dimension, _, _ in drawn),
            mean=tuple(mean.tolist()),
            covariance=tuple(map(tuple, covariance.tolist())),
            distance_square=1.0,
            **common,
        )

    def _combination(self, node: Node, path: Path) -> Gate:
        names = [child.attribute("name") for child in node.one("Dependents").all("Dependent")]
        operation = BOOLEANS[node.name]
        if not names or (operation == "not" and len(names) != 1):
            node.fail(
                f"it has {len(names)} <Dependent> in its <Dependents>",
                fix="expected one" if operation == "not" else "expected one or more",
            )
        operands = tuple(
            Operand(self._id(self._dependent(node, name, path))) for name in dict.fromkeys(names)
        )
        return Combination(**self._common(path), operation=operation, operands=operands)

    def _dependent(self, node: Node, name: str, path: Path) -> Path:
        """Return the population that a name means: its path from the top, or from the parent of the node."""
        fits: list[Path] = []
        for start in ((), path[:-1]):
            below = [other for other in self._gates if other[: len(start)] == start]
            fits = fits or [other for other in below if "/".join(other[len(start) :]) == name]
        if len(fits) != 1:
            node.fail(
                f"it depends on {name!r}, which is {'several populations' if fits else 'not there'}",
                fix=did_you_mean(name, ["/".join(other) for other in self._gates]),
            )
        return fits[0]


def is_time(channel: str) -> bool:
    """Return whether FlowJo has a channel in seconds."""
    return channel.strip().casefold() == "time"


def _helped(gate: Gate, help_of: Mapping[str, Gate]) -> list[Gate]:
    """Return the helpers that a gate needs, each after those that it needs itself."""
    helpers: dict[str, Gate] = {}
    for name in references(gate):
        if name in help_of:
            helpers |= {helper.id: helper for helper in _helped(help_of[name], help_of)}
            helpers[name] = help_of[name]
    return list(helpers.values())


def gate_id(path: Path) -> str:
    """Return the id of the gate of a population; a slash within a name is escaped."""
    return "/".join(name.replace("\\", "\\\\").replace("/", "\\/") for name in path)


def _position(scale: Scale | None, value: float) -> float:
    return value if scale is None else float(scale.apply([value])[0])


def _point(node: Node) -> tuple[float, float]:
    numbers = [child.number("value") for child in node.all("coordinate")]
    if len(numbers) != 2:
        node.fail(f"it has {len(numbers)} <coordinate>", fix="expected two")
    return numbers[0], numbers[1]
