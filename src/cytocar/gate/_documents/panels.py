"""Which populations of a document are drawn together, over which two axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._documents.hierarchy import DocumentPopulation
from cytocar.gate._shapes.shapes import Combination, Dimension, Ellipsoid, Gate
from cytocar.panel.names import channel_isotope

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POINTS = 100


@dataclass
class Panel:
    """The populations of one parent that are gated on the same axes; the second is None for a gate on one axis."""

    parent: tuple[str, ...]
    axes: tuple[Dimension, Dimension | None]
    members: list[tuple[DocumentPopulation, Gate]] = field(default_factory=list)


def panels_of(document: GatingDocument, members: Mapping[str, Gate]) -> tuple[list[Panel], list[str]]:
    """Return the panels of a document, and the populations that are on none of them.

    Parameters
    ----------
    document
        The gates.
    members
        Id to gate as they are for one file.
    """
    asked = {population.path: _asked(population.id, members) for population in document.populations}
    panels: dict[tuple[tuple[str, ...], frozenset[Dimension]], Panel] = {}
    rest = []
    for population in document.populations:
        own = asked[population.path]
        above = asked.get(population.parent, {})
        new = [name for name in own if name not in above] if own is not None and above is not None else []
        shapes = [members[name] for name in new if members[name].axes]
        if not shapes:
            rest.append(population.name)
        for gate in shapes:
            first, second = gate.axes[0], gate.axes[1] if len(gate.axes) > 1 else None
            key = (population.parent, frozenset(filter(None, (first, second))))
            panel = panels.setdefault(key, Panel(population.parent, (first, second)))
            panel.members.append((population, gate))
    return list(panels.values()), rest


def _asked(name: str, members: Mapping[str, Gate]) -> dict[str, None] | None:
    """Return the shapes that an event has to be in for a gate; None where that is not all it asks."""
    gate = members[name]
    shapes: dict[str, None] = {}
    if gate.parent:
        above = _asked(gate.parent, members)
        if above is None:
            return None
        shapes |= above
    if not isinstance(gate, Combination):
        return {**shapes, name: None}
    if gate.operation != "and" or any(operand.complement for operand in gate.operands):
        return None
    for operand in gate.operands:
        of_operand = _asked(operand.gate, members)
        if of_operand is None:
            return None
        shapes |= of_operand
    return shapes


def beside(panel: Panel, panels: Sequence[Panel], channels: Sequence[str]) -> Dimension:
    """Return the axis that a gate of one dimension is drawn over: the first other one that the gates use, else DNA."""
    same_parent = [other for other in panels if other.parent == panel.parent and other is not panel]
    for other in (*same_parent, *panels):
        for axis in other.axes:
            if axis is not None and axis != panel.axes[0]:
                return axis
    dna = [getattr(channel_isotope(name), "symbol", "") == "Ir" for name in channels]
    order = sorted(
        (number for number in range(len(channels)) if channels[number] != panel.axes[0].channel),
        key=lambda number: (not dna[number], number),
    )
    # With a single channel in the data the gate is drawn over itself.
    chosen = channels[order[0]] if order else panel.axes[0].channel
    return Dimension(chosen, transformation=panel.axes[0].transformation)


def ellipse(gate: Ellipsoid, x: int, y: int) -> NDArray[np.float64]:
    """Return the outline of an ellipsoid on two of its axes, (points, 2)."""
    covariance = np.array([[gate.covariance[a][b] for b in (x, y)] for a in (x, y)], dtype=float)
    sizes, directions = np.linalg.eigh(covariance)
    turn = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    circle = np.column_stack([np.cos(turn), np.sin(turn)]) * np.sqrt(gate.distance_square * sizes)
    return np.asarray(circle @ directions.T + np.array([gate.mean[x], gate.mean[y]]))
