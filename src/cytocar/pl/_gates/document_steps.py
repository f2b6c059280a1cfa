"""The biaxials of a document of gates: shapes of any kind on scales of any kind, population by population."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError
from cytocar.gate._documents.apply import version_for
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._documents.panels import Panel, beside, ellipse, panels_of
from cytocar.gate._documents.values import Axes, Channels, Columns
from cytocar.gate._populations.parts import ROOT
from cytocar.gate._shapes.shapes import Dimension, Ellipsoid, Gate, Polygon, Rectangle, Shape
from cytocar.gate._shapes.transforms import Linear, Scale
from cytocar.pl._gates.biaxial import Axis, Box, Outline, Region, Step
from cytocar.pl._page import raster

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate import Strategy

_DECADES = (0.0, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)
_NEAREST = 0.07
"""Distance of two ticks, as a share of an axis, below which one is left out."""


class _Values:
    """The values of the events of one sample on each axis, computed once."""

    def __init__(self, adata: AnnData, document: GatingDocument, rows: Any) -> None:
        self._document, self._rows = document, rows
        self._channels = Channels(adata, document.transformations, document.matrices)
        self._computed: dict[Dimension, NDArray[np.floating]] = {}

    def __call__(self, axis: Dimension) -> NDArray[np.floating]:
        if axis not in self._computed:
            own = self._channels.transformed(axis)
            self._computed[axis] = self._made(axis) if own is None else own[self._rows]
        return self._computed[axis]

    def _made(self, axis: Dimension) -> NDArray[np.floating]:
        names = list(self._document.sources(axis))
        events = np.column_stack([self._channels.counts(name)[self._rows] for name in names])
        return Axes(self._document.columns(names), events).values(axis)


def steps(
    adata: AnnData, strategy: Strategy, sample: str, *, bins: int, of: str | None = None
) -> tuple[list[Step], list[str]]:
    """Return the biaxials of one sample, gated by a document, and the populations that are on none of them.

    The others are made of populations in a way that no shape shows. With `of`, each biaxial also holds the values of
    the cells of that population.
    """
    from cytocar import gate
    from cytocar._core.samples import rows_by_sample

    rows = rows_by_sample(adata, keys.SAMPLE)[sample]
    document = strategy.as_document()
    if document is None:
        return [], []
    panels, rest = panels_of(document, document.gates_for(version_for(document, adata, sample)))
    channels = [str(name) for name in adata.var.get(keys.CHANNEL, adata.var_names)]
    gated = _GatedSample(
        adata,
        document,
        rows,
        {path: name for name, path in strategy.paths().items()},
        dict(zip(channels, map(str, adata.var_names), strict=True)),
        document.columns(channels),
        _Values(adata, document, rows),
    )
    of_interest = None if of is None else gate.membership(adata, of)[rows]
    drawn = []
    for panel in panels:
        sides = (panel.axes[0], panel.axes[1] or beside(panel, panels, channels))
        drawn.append(gated.step(panel, sides, bins=bins, of_interest=of_interest))
    return drawn, rest


@dataclass(frozen=True)
class _GatedSample:
    """One sample, gated by a document."""

    adata: AnnData
    document: GatingDocument
    rows: Any
    label_of: Mapping[tuple[str, ...], str]
    """Name of every population in tables, by its path."""
    names: Mapping[str, str]
    """Marker of every channel."""
    columns: Columns
    values: _Values

    def inside(self, population: str) -> NDArray[np.bool_]:
        from cytocar import gate

        return np.asarray(gate.membership(self.adata, population)[self.rows])

    def step(
        self,
        panel: Panel,
        sides: tuple[Dimension, Dimension],
        *,
        bins: int,
        of_interest: NDArray[np.bool_] | None,
    ) -> Step:
        """Return the biaxial of a panel."""
        parent = self.label_of[panel.parent] if panel.parent else ROOT
        inside = self.inside(parent)
        values = [self.values(side) for side in sides]
        x, y = (each[inside] for each in values)
        axis_x, axis_y = (
            _axis(self.document, side, shown, panel, self.names, self.columns)
            for side, shown in zip(sides, (x, y), strict=True)
        )
        regions = [
            Region(self.label_of[member.path], float(self.inside(self.label_of[member.path]).sum()), shape)
            for member, drawn in panel.members
            for shape in _shapes(drawn, sides)
        ]
        counts = raster.pixels(
            x, y, (axis_x.low, axis_x.high), (axis_y.low, axis_y.high), raster.fineness(len(x), bins)
        )
        n = float(inside.sum())
        if of_interest is None:
            return Step(parent, n, axis_x, axis_y, counts, regions)
        also = of_interest & inside
        return Step(parent, n, axis_x, axis_y, counts, regions, values[0][also], values[1][also])


def _axis(
    document: GatingDocument,
    dimension: Dimension,
    values: NDArray[np.floating],
    panel: Panel,
    names: Mapping[str, str],
    columns: Columns,
) -> Axis:
    low, high = raster.ends_of(values, least=1e-3)
    for _, gate in panel.members:
        for place in _places(gate, dimension):
            # A side far outside of all events must not squeeze them: the picture reaches out by no more than half.
            span = high - low
            low, high = (
                min(low, max(place - 0.05 * span, low - span / 2)),
                max(high, min(place + 0.05 * span, high + span / 2)),
            )
    name = dimension.ratio or dimension.channel
    if not dimension.ratio:
        with contextlib.suppress(GateError):  # channels without a mass, such as time, keep their own name
            name = names[columns.channels[columns.position(dimension.channel)]]
    scale = document.transformations.get(dimension.transformation)
    if not isinstance(scale, Scale) or isinstance(scale, Linear):
        return Axis(name, low, high, _linear_ticks(low, high))
    return Axis(name, low, high, _decades(scale, low, high))


def _places(gate: Gate, dimension: Dimension) -> list[float]:
    """Return where a gate ends on an axis."""
    if not isinstance(gate, Shape) or dimension not in gate.axes:
        return []
    ends = gate.ends(gate.axes.index(dimension))
    return [end for end in ends if end is not None]


def _linear_ticks(low: float, high: float) -> dict[float, str]:
    from matplotlib.ticker import MaxNLocator

    return {
        float(tick): f"{tick:g}"
        for tick in MaxNLocator(nbins=4).tick_values(low, high)
        if low <= tick <= high
    }


def _decades(scale: Scale, low: float, high: float) -> dict[float, str]:
    """Return ticks at 0, 1, 10, 100 ... of the values, where the scale puts them, as far as they do not touch."""
    with np.errstate(all="ignore"):
        scaled = np.asarray(scale.apply(np.array(_DECADES)), dtype=float)
    ticks: dict[float, str] = {}
    for value, at in sorted(zip(_DECADES, scaled, strict=True), key=lambda pair: (pair[0] != 0, -pair[0])):
        if not (np.isfinite(at) and low <= at <= high):
            continue
        if all(abs(at - other) > _NEAREST * (high - low) for other in ticks):
            ticks[float(at)] = f"{value:g}" if value < 1e4 else f"{value:.0e}".replace("e+0", "e")
    return dict(sorted(ticks.items()))


def _shapes(gate: Gate, axes: tuple[Dimension, Dimension]) -> list[Box | Outline]:
    """Return what of a gate lies on two axes; of a shape in more dimensions, its shadow on them."""
    where = [gate.axes.index(axis) if axis in gate.axes else None for axis in axes]
    if isinstance(gate, Rectangle):
        ends = [(None, None) if at is None else (gate.low[at], gate.high[at]) for at in where]
        return [Box(*ends[0], *ends[1])]
    x, y = where
    if x is None or y is None:
        return []
    if isinstance(gate, Polygon):
        return [Outline(np.array([(vertex[x], vertex[y]) for vertex in gate.vertices], dtype=float))]
    if isinstance(gate, Ellipsoid):
        return [Outline(ellipse(gate, x, y))]
    return []
