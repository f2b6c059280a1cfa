"""Which events are in each gate of a document, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError
from cytocar.gate._documents.values import Axes, Columns
from cytocar.gate._shapes.shapes import Combination, Dimension, Gate, Rectangle, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._shapes.shapes import Mask

BLOCK = 131_072
"""Events that are evaluated at a time, so that memory and cache hold the axes of all gates."""
MANY = 10_000
"""From how many events on the sides of rectangles are compared with values of channels, not with axis positions."""


def gate_masks(
    gates: Mapping[str, Gate],
    order: Sequence[str],
    columns: Columns,
    events: NDArray[Any],
    given: Mapping[Dimension, NDArray[Any]],
) -> dict[str, Mask]:
    """Return id of each gate to bool (events,), its parents taken into account.

    Parameters
    ----------
    gates
        Id to gate, as they are in one file.
    order
        Their ids, each after those that it needs.
    columns
        Which columns of the events their channels are.
    events
        Events x channels.
    given
        Dimension to values on its axis (events,), where these are known already.
    """
    if not len(events):
        _require_channels(gates, Axes(columns, events, given))
    masks = {name: np.empty(len(events), dtype=bool) for name in gates}
    by_channel = len(events) >= MANY
    for start in range(0, len(events), BLOCK):
        block = slice(start, start + BLOCK)
        axes = Axes(columns, events[block], {axis: values[block] for axis, values in given.items()})
        inside: dict[str, Mask] = {}
        for name in order:
            inside[name] = masks[name][block] = _mask(gates[name], inside, axes, by_channel=by_channel)
    return masks


def _mask(gate: Gate, inside: Mapping[str, Mask], axes: Axes, *, by_channel: bool) -> Mask:
    """Return which events of a block are in a gate and in its parent."""
    if isinstance(gate, Combination):
        mask = gate.combine([inside[operand.gate] for operand in gate.operands])
    elif isinstance(gate, Rectangle) and by_channel:
        mask = axes.within(gate)
    elif isinstance(gate, Shape):
        mask = axes.inside(gate)
    else:
        raise GateError("it has no shape", where=f"gate {gate.title!r}")
    return mask & inside[gate.parent] if gate.parent else mask


def _require_channels(gates: Mapping[str, Gate], axes: Axes) -> None:
    """Raise for channels that are not there: without events, too, they are an error."""
    for gate in gates.values():
        for axis in gate.axes:
            axes.values(axis)
