"""Gates as data: what a gate asks of an event, and the names of the axes it asks about."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NoReturn

import numpy as np

from cytocar._core.errors import GateError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Axes = Sequence[NDArray[np.float64]]
    Mask = NDArray[np.bool_]

UNCOMPENSATED = "uncompensated"
FROM_FILE = "FCS"
"""The compensation that means the spillover matrix of the file; none there means uncompensated."""


@dataclass(frozen=True)
class Dimension:
    """One axis of a gate: a channel or a ratio, its compensation and its scale.

    Parameters
    ----------
    channel
        ``$PnN``, or a fluorochrome of the spectrum matrix; "" for a ratio.
    compensation
        ``"uncompensated"``, ``"FCS"`` (the matrix of the file) or the id of a spectrum matrix.
    transformation
        Id of a scale; "" for the value itself.
    ratio
        Id of an fratio transformation, in place of a channel.
    """

    channel: str = ""
    compensation: str = UNCOMPENSATED
    transformation: str = ""
    ratio: str = ""

    def __post_init__(self) -> None:
        if bool(self.channel) == bool(self.ratio):
            raise GateError(
                f"a dimension has the channel {self.channel!r} and the ratio {self.ratio!r}",
                fix="expected one of them",
            )


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What all gates have.

    Parameters
    ----------
    id
        Unique in a document.
    parent
        Id of the gate that an event has to be in first; "" for none.
    name
        What people call it; "" for its id.
    file
        The file whose version of a gate this is; "" for a gate of all files.
    version_of
        Id of the gate that this one replaces in `file`.
    """

    id: str
    parent: str = ""
    name: str = ""
    file: str = ""
    version_of: str = ""

    kind: ClassVar[str] = ""

    @property
    def title(self) -> str:
        """The name, or the id where there is no name."""
        return self.name or self.id

    @property
    def axes(self) -> tuple[Dimension, ...]:
        """The dimensions of the gate."""
        return ()

    def _fail(self, what: str, *, fix: str = "") -> NoReturn:
        raise GateError(what, where=f"gate {self.title!r}", fix=fix)

    def _finite(self, what: str, values: Sequence[float | None]) -> None:
        for value in values:
            if value is not None and not math.isfinite(value):
                self._fail(f"{what} is {value}", fix="expected a finite number")


@dataclass(frozen=True, kw_only=True)
class Shape(Gate, ABC):
    """A gate that says by itself which events are in it.

    Parameters
    ----------
    dimensions
        Its axes.
    """

    dimensions: tuple[Dimension, ...]

    @property
    def axes(self) -> tuple[Dimension, ...]:
        """The dimensions of the gate."""
        return self.dimensions

    @abstractmethod
    def inside(self, axes: Axes) -> Mask:
        """Return which events are inside, by their values on the axes of the gate, parents apart."""

    @abstractmethod
    def ends(self, axis: int) -> tuple[float | None, float | None]:
        """Return the smallest and the largest position that it reaches on one of its axes; None for no end."""


def within(sides: Iterable[tuple[NDArray[np.float64], float | None, float | None]], n_events: int) -> Mask:
    """Return which events have low <= value < high for each triple of values, low and high."""
    mask = np.ones(n_events, dtype=bool)
    for values, low, high in sides:
        mask &= values >= (-math.inf if low is None else low)
        mask &= values < (math.inf if high is None else high)
    return mask


@dataclass(frozen=True, kw_only=True)
class Rectangle(Shape):
    """Events with low <= value < high on every axis; one axis makes an interval, one bound a threshold.

    Parameters
    ----------
    dimensions
        One or more.
    low, high
        One bound per axis; None for no bound.
    """

    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    kind: ClassVar[str] = "RectangleGate"

    def __post_init__(self) -> None:
        if not self.dimensions or not len(self.dimensions) == len(self.low) == len(self.high):
            self._fail(
                f"it has {len(self.dimensions)} dimensions with {len(self.low)} low and {len(self.high)} high bounds",
                fix="each dimension needs one of both (None for no bound)",
            )
        self._finite("a bound", [*self.low, *self.high])
        for low, high in zip(self.low, self.high, strict=True):
            if low is not None and high is not None and low > high:
                self._fail(f"its low bound {low} is above its high bound {high}")

    def inside(self, axes: Axes) -> Mask:
        """Return which events are inside.

        A missing bound is an infinite one, and the interval half-open all the same: what a ratio makes of a division
        by zero, positive infinity or NaN, is outside of every rectangle.
        """
        return within(zip(axes, self.low, self.high, strict=True), len(axes[0]))

    def ends(self, axis: int) -> tuple[float | None, float | None]:
        """Return its bounds on one of its axes."""
        return self.low[axis], self.high[axis]


def interval(
    id: str, dimension: Dimension, *, low: float | None = None, high: float | None = None, parent: str = ""
) -> Rectangle:
    """Return the gate of the events with low <= value < high on one axis.

    Parameters
    ----------
    id, dimension, parent
        As in `Rectangle`.
    low, high
        Bounds; None for no bound.

    Examples
    --------
    >>> interval("T", Dimension("Yb170Di"), low=1.5).inside([np.array([1.4, 1.5])]).tolist()
    [False, True]
    """
    return Rectangle(id=id, parent=parent, dimensions=(dimension,), low=(low,), high=(high,))


def threshold_gate(
    id: str, dimension: Dimension, value: float, *, positive: bool = True, parent: str = ""
) -> Rectangle:
    """Return the gate of the events at or above a value, or below it.

    Parameters
    ----------
    id, dimension, parent
        As in `Rectangle`.
    value
        The threshold, on the axis.
    positive
        The events at or above it, else those below.

    Examples
    --------
    >>> threshold_gate("T-", Dimension("Yb170Di"), 1.5, positive=False).inside([np.array([1.4, 1.5])]).tolist()
    [True, False]
    """
    low, high = (value, None) if positive else (None, value)
    return interval(id, dimension, low=low, high=high, parent=parent)


@dataclass(frozen=True, kw_only=True)
class Polygon(Shape):
    """Events in a polygon: a ray from the event crosses its outline an odd number of times; the outline is inside.

    Parameters
    ----------
    dimensions
        Two.
    vertices
        Three or more pairs of numbers; the outline may cross itself.
    """

    vertices: tuple[tuple[float, float], ...]
    kind: ClassVar[str] = "PolygonGate"

    def __post_init__(self) -> None:
        if len(self.dimensions) != 2:
            self._fail(f"a polygon has 2 dimensions, not {len(self.dimensions)}")
        if len(self.vertices) < 3 or any(len(vertex) != 2 for vertex in self.vertices):
            self._fail(
                f"it has {len(self.vertices)} vertices", fix="a polygon needs 3 or more vertices of 2 numbers"
            )
        self._finite("a coordinate", [value for vertex in self.vertices for value in vertex])

    def inside(self, axes: Axes) -> Mask:
        """Return which events are inside; NaN is outside."""
        from cytocar.gate._shapes.kernels import in_polygon

        edges = zip(self.vertices, (*self.vertices[1:], self.vertices[0]), strict=True)
        ordered = [sorted(edge, key=lambda point: (point[1], point[0])) for edge in edges]
        lower, upper = (np.array([edge[k] for edge in ordered], dtype=np.float64) for k in (0, 1))
        mask = np.empty(len(axes[0]), dtype=bool)
        in_polygon(axes[0], axes[1], lower, upper, mask)
        return mask

    def ends(self, axis: int) -> tuple[float | None, float | None]:
        """Return the smallest and the largest of its vertices on one of its axes."""
        positions = [vertex[axis] for vertex in self.vertices]
        return min(positions), max(positions)


@dataclass(frozen=True, kw_only=True)
class Ellipsoid(Shape):
    """Events with (x - mean)' covariance^-1 (x - mean) <= distance_square.

    Parameters
    ----------
    dimensions
        Two or more.
    mean
        One number per dimension.
    covariance
        One row per dimension; it must have an inverse.
    distance_square
        0 or above.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    distance_square: float
    kind: ClassVar[str] = "EllipsoidGate"

    def __post_init__(self) -> None:
        n = len(self.dimensions)
        if (
            n < 2
            or len(self.mean) != n
            or len(self.covariance) != n
            or {len(r) for r in self.covariance} != {n}
        ):
            self._fail(
                f"it has {n} dimensions with {len(self.mean)} means and {len(self.covariance)} rows of covariance",
                fix=f"it needs {max(n, 2)} of each, and rows of that length",
            )
        self._finite(
            "a number", [*self.mean, *(v for row in self.covariance for v in row), self.distance_square]
        )
        if self.distance_square < 0:
            self._fail(f"distanceSquare is {self.distance_square}", fix="it must be 0 or above")
        if np.linalg.matrix_rank(np.array(self.covariance)) < n:
            self._fail("its covariance matrix has no inverse")

    def inside(self, axes: Axes) -> Mask:
        """Return which events are inside; NaN is outside."""
        # Summed in a fixed order, so that the result of an event does not depend on the others.
        away = [values - mean for values, mean in zip(axes, self.mean, strict=True)]
        square = np.zeros_like(away[0])
        with np.errstate(invalid="ignore", over="ignore"):
            for distance, row in zip(away, np.linalg.inv(np.array(self.covariance)), strict=True):
                weighted = np.zeros_like(distance)
                for other, weight in zip(away, row, strict=True):
                    weighted += weight * other
                square += distance * weighted
            mask: Mask = square <= self.distance_square
        return mask

    def ends(self, axis: int) -> tuple[float | None, float | None]:
        """Return where its outline ends on one of its axes."""
        reach = math.sqrt(max(self.covariance[axis][axis] * self.distance_square, 0.0))
        return self.mean[axis] - reach, self.mean[axis] + reach


@dataclass(frozen=True)
class Divider:
    """One axis of a quadrant gate, cut at one or more values.

    Parameters
    ----------
    id
        Unique in the gate.
    dimension
        The axis.
    values
        Where it is cut; an event at a value is above it.
    """

    id: str
    dimension: Dimension
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise GateError(
                f"its values are {self.values}",
                where=f"divider {self.id!r}",
                fix="it needs one or more finite values",
            )

    def bounds(self, location: float) -> tuple[float | None, float | None]:
        """Return the bounds of the part of the axis that a location lies in."""
        below = [value for value in self.values if value <= location]
        above = [value for value in self.values if value > location]
        return max(below, default=None), min(above, default=None)


@dataclass(frozen=True, kw_only=True)
class Quadrants(Gate):
    """Axes cut into parts, and rectangles put together from these parts.

    Parameters
    ----------
    dividers
        One or more.
    quadrants
        Id of a quadrant to {id of a divider: any location in its part}; a divider that is not named does not matter.
    names
        Id of a quadrant to what people call it; those that are not named are called by their ids.
    """

    dividers: tuple[Divider, ...]
    quadrants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    kind: ClassVar[str] = "QuadrantGate"

    def __post_init__(self) -> None:
        dividers = {divider.id for divider in self.dividers}
        if len(dividers) != len(self.dividers) or not dividers or not self.quadrants:
            self._fail("a quadrant gate needs dividers of different ids, and quadrants")
        if self.version_of:
            self._fail(
                "a quadrant gate has no versions for single files", fix="make a rectangle of each quadrant"
            )
        for quadrant, locations in self.quadrants.items():
            if not locations:
                self._fail(f"quadrant {quadrant!r} has no position")
            self._finite("a location", list(locations.values()))
            for divider in locations:
                if divider not in dividers:
                    self._fail(
                        f"quadrant {quadrant!r} names divider {divider!r}",
                        fix=did_you_mean(divider, sorted(dividers)),
                    )

    def rectangles(self) -> dict[str, Rectangle]:
        """Return the rectangle of each quadrant."""
        rectangles = {}
        for quadrant, locations in self.quadrants.items():
            used = [divider for divider in self.dividers if divider.id in locations]
            bounds = [divider.bounds(locations[divider.id]) for divider in used]
            rectangles[quadrant] = Rectangle(
                id=quadrant,
                name=self.names.get(quadrant, ""),
                parent=self.parent,
                dimensions=tuple(divider.dimension for divider in used),
                low=tuple(low for low, _ in bounds),
                high=tuple(high for _, high in bounds),
            )
        return rectangles


@dataclass(frozen=True)
class Operand:
    """A gate in a Boolean gate.

    Parameters
    ----------
    gate
        Its id.
    complement
        Take the events that are not in it.
    """

    gate: str
    complement: bool = False


@dataclass(frozen=True, kw_only=True)
class Combination(Gate):
    """Events that are in all of several gates, in any of them, or not in one.

    Parameters
    ----------
    operation
        ``"and"``, ``"or"`` or ``"not"``.
    operands
        One for ``"not"``; one or more else.
    """

    operation: str
    operands: tuple[Operand, ...]
    kind: ClassVar[str] = "BooleanGate"

    def __post_init__(self) -> None:
        if self.operation not in ("and", "or", "not"):
            self._fail(f"operation {self.operation!r}", fix="known: and, or, not")
        if not self.operands or (self.operation == "not" and len(self.operands) != 1):
            self._fail(
                f"{self.operation!r} of {len(self.operands)} gates",
                fix="'not' takes one, the others one or more",
            )

    def combine(self, masks: Sequence[Mask]) -> Mask:
        """Return which events are inside, by which are in each operand."""
        combined: Mask | None = None
        for operand, mask in zip(self.operands, masks, strict=True):
            own = ~mask if operand.complement != (self.operation == "not") else mask
            if combined is None:
                combined = own.copy()
            elif self.operation == "and":
                combined &= own
            else:
                combined |= own
        return masks[0] if combined is None else combined
