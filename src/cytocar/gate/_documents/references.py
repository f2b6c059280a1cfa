"""What gates of a document refer to: ids that are unique, names that are there, and no circles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from cytocar._core.errors import GateError, did_you_mean
from cytocar.gate._shapes.shapes import FROM_FILE, UNCOMPENSATED, Combination, Dimension, Gate, Quadrants
from cytocar.gate._shapes.transforms import Ratio, Scale, Transformation


def references(gate: Gate) -> tuple[str, ...]:
    """Return the ids of the gates that a gate needs: its parent, and what it combines."""
    operands = tuple(operand.gate for operand in gate.operands) if isinstance(gate, Combination) else ()
    return (gate.parent, *operands) if gate.parent else operands


def require_unique_ids(gates: Iterable[Gate]) -> None:
    """Raise where an id is empty or comes twice, those of quadrants among them."""
    seen: set[str] = set()
    for gate in gates:
        for name in (gate.id, *(gate.quadrants if isinstance(gate, Quadrants) else ())):
            if not name or name in seen:
                raise GateError(
                    f"the gate id {name!r} comes twice or is empty", fix="every gate needs its own"
                )
            seen.add(name)


def require_references(
    gate: Gate,
    gates: Collection[str],
    transformations: Mapping[str, Transformation],
    matrices: Collection[str],
) -> None:
    """Raise where a gate refers to a gate, a transformation or a compensation that is not there."""
    for name in references(gate):
        if name not in gates:
            raise GateError(f"gate {gate.title!r} refers to gate {name!r}", fix=did_you_mean(name, gates))
    axes = [divider.dimension for divider in gate.dividers] if isinstance(gate, Quadrants) else gate.axes
    for axis in axes:
        _require_axis(gate, axis, transformations, matrices)


def _require_axis(
    gate: Gate,
    axis: Dimension,
    transformations: Mapping[str, Transformation],
    matrices: Collection[str],
) -> None:
    for name, kind in ((axis.transformation, Scale), (axis.ratio, Ratio)):
        if name and not isinstance(transformations.get(name), kind):
            fitting = [other for other, value in transformations.items() if isinstance(value, kind)]
            raise GateError(
                f"gate {gate.title!r} refers to transformation {name!r}", fix=did_you_mean(name, fitting)
            )
    compensations = (UNCOMPENSATED, FROM_FILE, *matrices)
    if axis.compensation not in compensations:
        raise GateError(
            f"gate {gate.title!r} refers to compensation {axis.compensation!r}",
            fix=did_you_mean(axis.compensation, compensations),
        )


def in_order(gates: Mapping[str, Gate]) -> list[str]:
    """Return the ids of gates, each after those that it needs; raise where gates need each other in a circle."""
    waiting = {name: len(set(references(gate))) for name, gate in gates.items()}
    users: dict[str, list[str]] = {}
    for name, gate in gates.items():
        for needed in set(references(gate)):
            users.setdefault(needed, []).append(name)
    ready = [name for name, count in waiting.items() if not count]
    for name in ready:
        for user in users.get(name, ()):
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    if len(ready) < len(gates):
        circle = [name for name in gates if waiting[name]]
        raise GateError(f"gates need each other in a circle: {', '.join(map(repr, circle[:8]))}")
    return ready
