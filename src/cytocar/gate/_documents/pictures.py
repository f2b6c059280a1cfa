"""The gates of a document on arcsinh axes: which two columns of the data each biaxial has, and where its lines run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError
from cytocar.gate._documents.apply import version_for
from cytocar.gate._documents.panels import Panel, beside, ellipse, panels_of
from cytocar.gate._documents.values import Axes, column
from cytocar.gate._populations.parts import ROOT
from cytocar.gate._shapes.shapes import Dimension, Ellipsoid, Gate, Polygon, Rectangle
from cytocar.gate._shapes.transforms import Scale
from cytocar.gate._strategy.strategy import Biaxial, Ends, Pictures

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._documents.face import Shapes

_STEPS = 12
"""Pieces of a side of a polygon: straight on its own scale, it may be bent on the arcsinh axis."""


def pictures_of(strategy: Shapes, adata: AnnData) -> Pictures:
    """Return the biaxials of a document that data have the channels for, and the outlines on them."""
    own = DocumentPictures(adata, strategy)

    def outlines(sample: str, ends: Ends) -> Iterator[tuple[int, str, list[NDArray[np.float64]]]]:
        for biaxial, population, lines in own.lines(sample, ends):
            yield biaxial.number, population, lines

    biaxials = [
        Biaxial(biaxial.number, biaxial.parent, biaxial.positions, functools.partial(own.values, biaxial))
        for biaxial in own
    ]
    return Pictures(biaxials, outlines)


@dataclass(frozen=True)
class DocumentBiaxial:
    """One picture of a document: a parent population over two columns of the data."""

    number: int
    parent: str
    axes: tuple[Dimension, Dimension]
    positions: tuple[int, int]


class DocumentPictures:
    """The biaxials of a document for one dataset, numbered alike whichever samples the dataset has.

    Gates on time, event length or ratios have no arcsinh axis and no picture.
    """

    def __init__(self, adata: AnnData, tree: Shapes) -> None:
        self._adata, self._tree, self._document = adata, tree, tree.document
        self._channels = [str(name) for name in adata.var.get(keys.CHANNEL, adata.var_names)]
        self._columns = self._document.columns(self._channels)
        cofactors = adata.var.get(keys.COFACTOR)
        self._cofactors = None if cofactors is None else np.asarray(cofactors, dtype=float)
        self._biaxials: dict[tuple[tuple[str, ...], frozenset[int]], DocumentBiaxial] = {}
        for file in dict.fromkeys((*self._document.files, "")):
            with contextlib.suppress(GateError):  # a document may have gates for its own files only
                panels, _ = panels_of(self._document, self._document.gates_for(file))
                for panel in panels:
                    self._add(panel, panels)

    def __iter__(self) -> Iterator[DocumentBiaxial]:
        return iter(self._biaxials.values())

    def _position(self, dimension: Dimension) -> int | None:
        if not dimension.channel or self._cofactors is None:
            return None
        try:
            return self._columns.position(dimension.channel)
        except GateError:
            return None

    def _key(self, panel: Panel) -> tuple[tuple[str, ...], frozenset[int]] | None:
        positions = [self._position(axis) for axis in panel.axes if axis is not None]
        return None if None in positions else (panel.parent, frozenset(p for p in positions if p is not None))

    def _add(self, panel: Panel, panels: list[Panel]) -> None:
        key = self._key(panel)
        if key is None or key in self._biaxials:
            return
        drawable = [other for other in panels if other is panel or self._key(other) is not None]
        axes = (panel.axes[0], panel.axes[1] or beside(panel, drawable, self._channels))
        positions = tuple(self._position(axis) for axis in axes)
        if positions[0] is None or positions[1] is None:
            return
        parent = ROOT
        if panel.parent:
            parent = next(
                population.name for population in self._tree.expanded() if population.path == panel.parent
            )
        self._biaxials[key] = DocumentBiaxial(
            len(self._biaxials) + 1, parent, axes, (positions[0], positions[1])
        )

    def values(
        self, biaxial: DocumentBiaxial, rows: Any
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return the arcsinh values of some events on the axes of a biaxial, compensated as its gates ask."""
        x, y = (
            self._values(axis, at, rows) for axis, at in zip(biaxial.axes, biaxial.positions, strict=True)
        )
        return x, y

    def _values(self, axis: Dimension, position: int, rows: Any) -> NDArray[np.floating]:
        if axis.compensation not in self._document.matrices:
            return np.asarray(column(self._adata.X, position)[rows])
        names = list(self._document.sources(axis))
        events = np.column_stack(
            [column(self._adata.layers[keys.COUNTS], self._columns.position(name))[rows] for name in names]
        )
        plain = dataclasses.replace(axis, transformation="")
        counts = Axes(self._document.columns(names), events).values(plain)
        return np.asarray(np.arcsinh(counts / self._cofactor(position)))

    def _cofactor(self, position: int) -> float:
        return 1.0 if self._cofactors is None else float(self._cofactors[position])

    def lines(
        self, sample: str, ends: tuple[float, float]
    ) -> Iterator[tuple[DocumentBiaxial, str, list[NDArray[np.float64]]]]:
        """Yield each population of a biaxial of a sample and the lines of its gate, (points, 2) in arcsinh units.

        Parameters
        ----------
        sample
            Whose gates, where samples have their own.
        ends
            Where lines of open gates end.
        """
        members = self._document.gates_for(version_for(self._document, self._adata, sample))
        for panel in panels_of(self._document, members)[0]:
            key = self._key(panel)
            biaxial = self._biaxials.get(key) if key is not None else None
            if biaxial is None:
                continue
            for population, gate in panel.members:
                x, y = (self._side(gate, position) for position in biaxial.positions)
                drawn = _DrawnGate(gate, x, y, ends)
                yield biaxial, self._tree.labels[population.id], list(drawn.lines())

    def _side(self, gate: Gate, position: int) -> _Side:
        """Return which axis of a gate a column of the data is, and how its values become arcsinh values."""
        own = [self._position(axis) for axis in gate.axes]
        if position not in own:
            return _Side(None, None, self._cofactor(position))
        axis = own.index(position)
        scale = self._document.transformations.get(gate.axes[axis].transformation)
        return _Side(axis, scale if isinstance(scale, Scale) else None, self._cofactor(position))


@dataclass(frozen=True)
class _Side:
    """One arcsinh axis of a picture: which axis of the gate it is, None for none of them, and the scale of that."""

    axis: int | None
    scale: Scale | None
    cofactor: float

    def arcsinh(self, values: Any, ends: tuple[float, float]) -> NDArray[np.float64]:
        """Return values on the axis of the gate as arcsinh values between the ends."""
        with np.errstate(all="ignore"):
            counts = np.asarray(values, dtype=float) if self.scale is None else self.scale.inverse(values)
            positions = np.arcsinh(counts / self.cofactor)
        shown = np.nan_to_num(positions, nan=ends[0], posinf=ends[1], neginf=ends[0])
        return np.asarray(np.clip(shown, *ends), dtype=np.float64)


@dataclass(frozen=True)
class _DrawnGate:
    """A gate on the two arcsinh axes of a picture."""

    gate: Gate
    x: _Side
    y: _Side
    ends: tuple[float, float]

    def lines(self) -> Iterator[NDArray[np.float64]]:
        """Yield its lines, (points, 2); none for a gate that has no outline on the two axes."""
        if isinstance(self.gate, Rectangle):
            yield from self._sides(self.gate)
            return
        outline = self._outline()
        if outline is not None:
            closed = np.vstack([outline, outline[:1]])
            yield np.column_stack(
                [self.x.arcsinh(closed[:, 0], self.ends), self.y.arcsinh(closed[:, 1], self.ends)]
            )

    def _sides(self, gate: Rectangle) -> Iterator[NDArray[np.float64]]:
        """Yield a line for each bound; where there is none, the others run to the end of the picture."""
        bounds = [
            (None, None) if side.axis is None else (gate.low[side.axis], gate.high[side.axis])
            for side in (self.x, self.y)
        ]
        reach = [
            [
                end if bound is None else float(side.arcsinh([bound], self.ends)[0])
                for bound, end in zip(pair, self.ends, strict=True)
            ]
            for side, pair in zip((self.x, self.y), bounds, strict=True)
        ]
        for side, pair in enumerate(bounds):
            for number, bound in enumerate(pair):
                if bound is not None:
                    line = np.empty((2, 2))
                    line[:, side] = reach[side][number]
                    line[:, 1 - side] = reach[1 - side]
                    yield line

    def _outline(self) -> NDArray[np.float64] | None:
        """Return points of the outline on the axes of the gate, (points, 2)."""
        x, y = self.x.axis, self.y.axis
        if x is None or y is None:
            return None
        if isinstance(self.gate, Ellipsoid):
            return ellipse(self.gate, x, y)
        if not isinstance(self.gate, Polygon):
            return None
        corners = np.array([(vertex[x], vertex[y]) for vertex in self.gate.vertices], dtype=float)
        along = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
        sides = zip(corners, np.roll(corners, -1, axis=0), strict=True)
        return np.concatenate([start + along * (stop - start) for start, stop in sides])
