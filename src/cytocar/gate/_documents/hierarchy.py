"""The tree of populations that the gates of a document make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cytocar._core.errors import GateError, did_you_mean
from cytocar.gate._shapes.shapes import Combination, Gate


@dataclass(frozen=True)
class DocumentPopulation:
    """A population of a `GatingDocument`.

    Parameters
    ----------
    id
        Id of its gate.
    path
        Names from the top down to its own.
    parent
        Path of its parent; empty at the top.
    """

    id: str
    path: tuple[str, ...]
    parent: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last name of its path."""
        return self.path[-1]


def hierarchy(
    gates: Mapping[str, Gate], order: Sequence[str], listed: Sequence[str], *, nested: bool
) -> tuple[DocumentPopulation, ...]:
    """Return the populations, parents first, otherwise in the order in which they are listed.

    Parameters
    ----------
    gates
        Id to gate.
    order
        Their ids, each after those that it needs.
    listed
        Ids of the gates that are populations.
    nested
        As in `GatingDocument`.
    """
    above = _parents(gates, order, listed, nested=nested)
    children: dict[str, list[str]] = {}
    for name in listed:
        children.setdefault(above[name], []).append(name)
    paths: dict[str, tuple[str, ...]] = {}
    taken: set[tuple[str, ...]] = set()
    populations: list[DocumentPopulation] = []
    waiting = children.get("", [])[::-1]
    while waiting:
        name = waiting.pop()
        parent = paths.get(above[name], ())
        path = (*parent, gates[name].title)
        if path in taken:
            path = (*parent, f"{gates[name].title} [{name}]")
        taken.add(path)
        paths[name] = path
        populations.append(DocumentPopulation(name, path, parent))
        waiting += children.get(name, [])[::-1]
    return tuple(populations)


def _parents(
    gates: Mapping[str, Gate], order: Sequence[str], listed: Sequence[str], *, nested: bool
) -> dict[str, str]:
    """Return the population that each is directly below, or "".

    A gate is below its parent. Where populations are `nested`, an `and` without a parent is below the population
    that asks for most of what it asks for: in files of Cytobank every population is the `and` of all gates from
    the top down.
    """
    inside = set(listed)
    conditions = _conditions(gates, order)
    above: dict[str, str] = {}
    for name in listed:
        gate = gates[name]
        above[name] = _nearest(gates, gate.parent, inside)
        if nested and not gate.parent and isinstance(gate, Combination) and gate.operation == "and":
            fits = [other for other in listed if conditions[other] < conditions[name]]
            # Of several that ask for as much, the first in the document.
            above[name] = max(fits, key=lambda other: len(conditions[other]), default="")
    return above


def _conditions(gates: Mapping[str, Gate], order: Sequence[str]) -> dict[str, frozenset[tuple[str, bool]]]:
    """Return what each gate asks of an event: ids of gates, and whether it must be outside of them."""
    conditions: dict[str, frozenset[tuple[str, bool]]] = {}
    for name in order:
        gate = gates[name]
        above = conditions.get(gate.parent, frozenset())
        conditions[name] = frozenset([(name, False)]) | above
        if isinstance(gate, Combination) and gate.operation == "and":
            of_operands = [
                frozenset([(operand.gate, True)]) if operand.complement else conditions[operand.gate]
                for operand in gate.operands
            ]
            conditions[name] = frozenset().union(above, *of_operands)
    return conditions


def _nearest(gates: Mapping[str, Gate], name: str, inside: set[str]) -> str:
    while name and name not in inside:
        name = gates[name].parent
    return name


def find_population(
    populations: Sequence[DocumentPopulation], path: str | Sequence[str]
) -> DocumentPopulation:
    """Return a population by its path, or by the end of its path where that is unique."""
    wanted = tuple(path.split("/")) if isinstance(path, str) else tuple(path)
    exact = [
        population
        for population in populations
        if population.path == wanted or "/".join(population.path) == path
    ]
    fits = exact or [
        population
        for population in populations
        if population.path[-len(wanted) :] == wanted or population.name == path
    ]
    if len(fits) == 1:
        return fits[0]
    text = "/".join(wanted)
    if fits:
        paths = ", ".join("/".join(population.path) for population in fits)
        raise GateError(f"population {text!r} is one of {paths}", fix="say which")
    # A name is looked for among names: paths are long, and none is near it.
    names = ["/".join(population.path) if len(wanted) > 1 else population.name for population in populations]
    raise GateError(f"there is no population {text!r}", fix=did_you_mean(text, dict.fromkeys(names)))
