"""The order in which thresholds are found and populations evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from cytocar._core.errors import GateError
from cytocar.gate._strategy.parts import ROOT, Boolean, Population
from cytocar.gate._strategy.rules import OfCells
from cytocar.gate._strategy.tree import GateTree


class Step(NamedTuple):
    """One thing to work out: the number of a threshold, or the cells of a population."""

    kind: str
    name: str


def order(tree: GateTree, targets: Iterable[Step] | None = None) -> tuple[Step, ...]:
    """Return thresholds and populations in an order in which each needs only what comes before it.

    A threshold needs the population in which it is found, a population its parent and its thresholds.
    `GateError` names the members of a circle. With `targets`, only they and what they need are in it.
    """
    populations = {population.name: population for population in tree.expanded()}
    done: dict[Step, None] = {}
    path: list[Step] = []

    def visit(step: Step) -> None:
        if step in done or step == Step("population", ROOT):
            return
        if step in path:
            circle = " needs ".join(f"{s.kind} {s.name!r}" for s in [*path[path.index(step) :], step])
            raise GateError(f"a circle: {circle}; find one of them in a population further up")
        path.append(step)
        if step.kind == "population":
            needs = _population_needs(populations[step.name])
        else:
            needs = _threshold_needs(tree, step.name)
        for need in needs:
            visit(need)
        path.pop()
        done[step] = None

    if targets is None:
        everything = [Step("population", name) for name in populations]
        targets = [*everything, *(Step("threshold", name) for name in tree.thresholds)]
    for target in targets:
        visit(target)
    return tuple(done)


def _population_needs(population: Population) -> Iterator[Step]:
    yield Step("population", population.parent)
    if isinstance(population.gate, Boolean):
        yield from (Step("population", name) for name in population.gate.names)
    else:
        yield from (Step("threshold", term.threshold) for term in population.gate.terms)


def _threshold_needs(tree: GateTree, name: str) -> Iterator[Step]:
    threshold = tree.thresholds[name]
    yield Step("population", threshold.population)
    for rule in threshold.rules():
        if isinstance(rule, OfCells) and rule.population is not None:
            yield Step("population", rule.population)
            yield from (Step("threshold", term.threshold) for term in rule.gate)
