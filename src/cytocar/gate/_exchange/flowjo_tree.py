"""The gates of one file as FlowJo has them: a tree of shapes of one or two axes, and nodes that combine others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NoReturn

from cytocar._core.errors import GateError
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._shapes.shapes import Combination, Gate, Operand, Rectangle

Path = tuple[str, ...]
Literal = tuple[str, bool]
"""Id of a gate, and whether the events that are not in it are meant."""


@dataclasses.dataclass
class FlowJoNode:
    """One population in FlowJo's tree.

    Parameters
    ----------
    path
        Names from the top down.
    gate
        Its shape; None where it combines others.
    inside
        Whether the events in the shape are meant, or those outside of it.
    operation, depends
        How it combines others, and the paths of these.
    helper
        It only helps to define others.
    source
        Id of the gate that it stands for.
    children
        What is below it.
    """

    path: Path
    gate: Gate | None = None
    inside: bool = True
    operation: str = ""
    depends: tuple[Path, ...] = ()
    helper: bool = False
    source: str = ""
    children: list[FlowJoNode] = dataclasses.field(default_factory=list)


def tree_of(document: GatingDocument, gates: Mapping[str, Gate]) -> list[FlowJoNode]:
    """Return the populations of a document as FlowJo's tree.

    Rectangles of more than two axes become several, one below the other; gates that are not populations themselves,
    as in files of Cytobank, become helpers.

    Parameters
    ----------
    document
        Whose populations, in which order.
    gates
        Id to gate, as they are in one file.
    """
    return _Tree(document, gates).build()


def refuse(gate: Gate, what: str, *, fix: str = "") -> NoReturn:
    """Raise for a gate that FlowJo has no form for."""
    raise GateError(f"gate {gate.title!r} cannot be written for FlowJo, which has no {what}", fix=fix)


class _Tree:
    def __init__(self, document: GatingDocument, gates: Mapping[str, Gate]) -> None:
        self._document, self._gates = document, gates
        self._listed = set(document.listed)
        self._top: list[FlowJoNode] = []
        self._nodes: dict[str, FlowJoNode] = {}
        self._populations = {population.id: population for population in document.populations}
        self._ids = {population.path: population.id for population in document.populations}
        self._complements: dict[str, FlowJoNode] = {}

    def build(self) -> list[FlowJoNode]:
        for name in self._populations:
            if name not in self._nodes:
                self._population(name)
        # What others depend on was made before its turn.
        order = {name: number for number, name in enumerate(self._populations)}
        waiting = [self._top]
        while waiting:
            nodes = waiting.pop()
            nodes.sort(key=lambda node: order.get(node.source, len(order)))
            waiting += [node.children for node in nodes]
        return self._top

    def _population(self, name: str) -> None:
        """Make the node of a population."""
        population, gate = self._populations[name], self._gates[name]
        parent, title = self._ids.get(population.parent, ""), population.name
        above = self._nodes.get(parent)
        if not isinstance(gate, Combination):
            above = self._helpers_down_to(gate.parent, above)
            self._nodes[name] = self._shape(above, gate, title, source=name)
            return
        chain = self._as_chain(gate, parent)
        if chain is None:
            above = self._helpers_down_to(gate.parent, above)
            self._nodes[name] = self._combination(above, gate, title, source=name)
            return
        for number, (shape_id, complement) in enumerate(chain, start=1):
            last = number == len(chain)
            shape = self._gates[shape_id]
            above = self._shape(
                above,
                shape,
                title if last else shape.title,
                inside=not complement,
                helper=not last,
                source=name,
            )
        if above is not None:
            self._nodes[name] = above

    def _helpers_down_to(self, name: str, above: FlowJoNode | None) -> FlowJoNode | None:
        """Return the node of a gate, made as a helper where it is not a population."""
        if not name or name in self._nodes:
            return self._nodes[name] if name else above
        if name in self._listed:
            return self._operand_node(name)
        gate = self._gates[name]
        parent = self._helpers_down_to(gate.parent, None)
        if isinstance(gate, Combination):
            node = self._combination(parent, gate, gate.title, helper=True, source=name)
        else:
            node = self._shape(parent, gate, gate.title, helper=True, source=name)
        self._nodes[name] = node
        return node

    def _as_chain(self, gate: Combination, parent: str) -> list[Literal] | None:
        """Return the shapes that lead from the population above to an `and` of gates that are not populations."""
        if all(operand.gate in self._listed for operand in gate.operands):
            return None
        asked, above = self._literals(gate.id), self._literals(parent) if parent else []
        if asked is None or above is None:
            return None
        rest = [literal for literal in asked if literal not in above]
        # What is not in a rectangle of many axes is not a chain of rectangles.
        split = any(complement and len(self._gates[name].axes) > 2 for name, complement in rest)
        return None if split or not rest else rest

    def _literals(self, name: str) -> list[Literal] | None:
        """Return the shapes that an event has to be in, or not; None where it is not as simple as that."""
        gate = self._gates[name]
        asked = self._literals(gate.parent) if gate.parent else []
        if asked is None:
            return None
        if not isinstance(gate, Combination):
            return list(dict.fromkeys([*asked, (name, False)]))
        if gate.operation == "or" and len(gate.operands) > 1:
            return None
        for operand in gate.operands:
            literals = self._literals(operand.gate)
            if literals is None:
                return None
            if operand.complement != (gate.operation == "not"):
                if len(literals) != 1:
                    return None
                literals = [(literals[0][0], not literals[0][1])]
            asked = list(dict.fromkeys([*asked, *literals]))
        return asked

    def _shape(
        self,
        above: FlowJoNode | None,
        gate: Gate,
        title: str,
        *,
        inside: bool = True,
        helper: bool = False,
        source: str,
    ) -> FlowJoNode:
        pieces = _pieces(gate)
        if len(pieces) > 1 and not inside:
            refuse(gate, "complement of a rectangle of more than two axes")
        for number, piece in enumerate(pieces[:-1], start=1):
            label = f"{title} ({number} of {len(pieces)})"
            above = self._add(above, FlowJoNode((label,), gate=piece, helper=True, source=source))
        return self._add(
            above, FlowJoNode((title,), gate=pieces[-1], inside=inside, helper=helper, source=source)
        )

    def _combination(
        self, above: FlowJoNode | None, gate: Combination, title: str, *, helper: bool = False, source: str
    ) -> FlowJoNode:
        operands, operation = gate.operands, gate.operation
        if operation == "not" and operands[0].complement:
            operands, operation = (Operand(operands[0].gate),), "and"
        if operation != "not" and len(operands) == 1 and operands[0].complement:
            operands, operation = (Operand(operands[0].gate),), "not"
        depends = tuple(self._operand(operand) for operand in operands)
        return self._add(
            above, FlowJoNode((title,), operation=operation, depends=depends, helper=helper, source=source)
        )

    def _operand(self, operand: Operand) -> Path:
        node = self._nodes.get(operand.gate)
        if node is None:
            node = self._operand_node(operand.gate)
        if operand.complement:
            if operand.gate not in self._complements:
                self._complements[operand.gate] = self._add(
                    None,
                    FlowJoNode((f"not {node.path[-1]}",), operation="not", depends=(node.path,), helper=True),
                )
            node = self._complements[operand.gate]
        for name in node.path:
            if "/" in name:
                refuse(
                    self._gates[operand.gate],
                    f"way to depend on a population with a slash in its path ({name!r})",
                    fix="rename it",
                )
        return node.path

    def _operand_node(self, name: str) -> FlowJoNode:
        """Return the node of a gate that is needed before its turn."""
        if name in self._listed:
            parent = self._ids.get(self._populations[name].parent, "")
            if parent and parent not in self._nodes:
                self._operand_node(parent)
            self._population(name)
        else:
            self._helpers_down_to(name, None)
        return self._nodes[name]

    def _add(self, above: FlowJoNode | None, node: FlowJoNode) -> FlowJoNode:
        """Put a node below another, under a name that is free there."""
        stem = node.path[-1]
        parent = above.path if above else ()
        path = (*parent, stem)
        siblings = {child.path for child in (above.children if above else self._top)}
        number = 1
        while path in siblings or (node.helper and path in self._ids):
            number += 1
            path = (*parent, f"{stem} [{number}]")
        node.path = path
        (above.children if above else self._top).append(node)
        return node


def _pieces(gate: Gate) -> Sequence[Gate]:
    """Return a gate as gates of two axes at most."""
    if not isinstance(gate, Rectangle) or len(gate.dimensions) <= 2:
        return [gate]
    return [
        dataclasses.replace(
            gate, dimensions=gate.dimensions[start:end], low=gate.low[start:end], high=gate.high[start:end]
        )
        for start, end in ((n, n + 2) for n in range(0, len(gate.dimensions), 2))
    ]
