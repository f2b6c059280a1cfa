"""The gates of a document on arcsinh axes: which two columns of the data each biaxial has, and where its lines run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError
from cytocar.gate._documents.apply import version_for
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._documents.panels import Panel, beside, ellipse, panels_of
from cytocar.gate._documents.values import Axes, column
from cytocar.gate._populations.parts import ROOT
from cytocar.gate._shapes.shapes import Dimension, Ellipsoid, Gate, Polygon, Rectangle
from cytocar.gate._shapes.transforms import Scale

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._documents.tree import DocumentTree

_STEPS = 12
"""Pieces of a side of a polygon: straight on its own scale, it may be bent on the arcsinh axis."""


@dataclass(frozen=True)
class Biaxial:
    """One picture of a document: a parent population over two columns of the data."""

    number: int
    parent: str
    axes: tuple[Dimension, Dimension]
    positions: tuple[int, int]


class Pictures:
    """The biaxials of a document for one dataset, numbered alike whichever samples the dataset has.

    Gates on time, event length or ratios have no arcsinh axis and no picture.
    """

    def __init__(self, adata: AnnData, tree: DocumentTree) -> None:
        self._adata, self._tree, self._document = adata, tree, tree.document
        self._channels = [str(name) for name in adata.var.get(keys.CHANNEL, adata.var_names)]
        self._columns = self._document.columns(self._channels)
        cofactors = adata.var.get(keys.COFACTOR)
        self._cofactors = None if cofactors is None else np.asarray(cofactors, dtype=float)
        self._found: dict[tuple[tuple[str, ...], frozenset[int]], Biaxial] = {}
        for file in dict.fromkeys((*self._document.files, "")):
            with contextlib.suppress(GateError):  # a document may have gates for its own files only
                panels, _ = panels_of(self._document, self._document.gates_for(file))
                for panel in panels:
                    self._add(panel, panels)

    def __iter__(self) -> Iterator[Biaxial]:
        return iter(self._found.values())

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
        if key is None or key in self._found:
            return
        drawable = [other for other in panels if other is panel or self._key(other) is not None]
        axes = (panel.axes[0], panel.axes[1] or beside(panel, drawable, self._channels))
        positions = tuple(self._position(axis) for axis in axes)
        if positions[0] is None or positions[1] is None:
            return
        parent = ROOT
        if panel.parent:
            parent = next(one.name for one in self._tree.expanded() if one.path == panel.parent)
        self._found[key] = Biaxial(len(self._found) + 1, parent, axes, (positions[0], positions[1]))

    def values(self, one: Biaxial, rows: Any) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return the arcsinh values of some events on the axes of a biaxial, compensated as its gates ask."""
        x, y = (self._values(axis, at, rows) for axis, at in zip(one.axes, one.positions, strict=True))
        return x, y

    def _values(self, axis: Dimension, position: int, rows: Any) -> NDArray[np.floating]:
        if axis.compensation not in self._document.matrices:
            return column(self._adata.X, position)[rows]
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
    ) -> Iterator[tuple[Biaxial, str, list[NDArray[np.float64]]]]:
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
            one = self._found.get(key) if key is not None else None
            if one is None:
                continue
            for population, gate in panel.members:
                yield (
                    one,
                    self._tree.labels[population.id],
                    list(_lines(self._on_axes(gate, one), self._document, one, self._cofactor, ends)),
                )

    def _on_axes(self, gate: Gate, one: Biaxial) -> tuple[Gate, list[int | None]]:
        """Return a gate with the place among its axes of each axis of a biaxial."""
        own = [self._position(axis) for axis in gate.axes]
        return gate, [own.index(position) if position in own else None for position in one.positions]


def _lines(
    shape: tuple[Gate, list[int | None]],
    document: GatingDocument,
    one: Biaxial,
    cofactor: Any,
    ends: tuple[float, float],
) -> Iterator[NDArray[np.float64]]:
    gate, where = shape

    def arcsinh(values: Any, side: int) -> NDArray[np.float64]:
        at = where[side]
        scale = document.transformations.get(gate.axes[at].transformation) if at is not None else None
        places = np.asarray(values, dtype=float)
        with np.errstate(all="ignore"):
            counts = scale.inverse(places) if isinstance(scale, Scale) else places
            found = np.arcsinh(counts / cofactor(one.positions[side]))
        return np.clip(np.nan_to_num(found, nan=ends[0], posinf=ends[1], neginf=ends[0]), *ends)

    if isinstance(gate, Rectangle):
        sides = [(None, None) if at is None else (gate.low[at], gate.high[at]) for at in where]
        reach = [
            [
                ends[number] if end is None else float(arcsinh([end], side)[0])
                for number, end in enumerate(pair)
            ]
            for side, pair in enumerate(sides)
        ]
        for side, pair in enumerate(sides):
            for number, end in enumerate(pair):
                if end is not None:
                    line = np.empty((2, 2))
                    line[:, side] = reach[side][number]
                    line[:, 1 - side] = reach[1 - side]
                    yield line
        return
    x, y = where
    if x is None or y is None:
        return
    if isinstance(gate, Polygon):
        corners = np.array([(vertex[x], vertex[y]) for vertex in gate.vertices], dtype=float)
        part = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
        points = np.concatenate(
            [a + part * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
        )
    elif isinstance(gate, Ellipsoid):
        points = ellipse(gate, x, y)
    else:
        return
    closed = np.vstack([points, points[:1]])
    yield np.column_stack([arcsinh(closed[:, 0], 0), arcsinh(closed[:, 1], 1)])
