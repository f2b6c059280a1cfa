"""The order in which thresholds are found and populations evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from cytocar._core.errors import GateError
from cytocar.gate._populations.parts import ROOT, Boolean, Population, Term


class Step(NamedTuple):
    """One thing to work out: the number of a threshold, or the cells of a population."""

    kind: str
    name: str


class Sought(Protocol):
    """What the order needs of a threshold: the population that it divides, and the cells that its rules look at."""

    @property
    def population(self) -> str:
        """The population that the threshold divides."""

    def reference_cells(self) -> Iterable[tuple[str, tuple[Term, ...]]]:
        """Return the other cells of the same tube that its rules look at: population and terms of each."""


def order(
    populations: Mapping[str, Population],
    thresholds: Mapping[str, Sought],
    targets: Iterable[Step] | None = None,
) -> tuple[Step, ...]:
    """Return thresholds and populations in an order in which each needs only what comes before it.

    A threshold needs the population in which it is found, a population its parent and its thresholds.
    `GateError` names the members of a circle. With `targets`, only they and what they need are in it.
    """
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
            needs = _threshold_needs(thresholds[step.name])
        for need in needs:
            visit(need)
        path.pop()
        done[step] = None

    if targets is None:
        everything = [Step("population", name) for name in populations]
        targets = [*everything, *(Step("threshold", name) for name in thresholds)]
    for target in targets:
        visit(target)
    return tuple(done)


def _population_needs(population: Population) -> Iterator[Step]:
    yield Step("population", population.parent)
    if isinstance(population.gate, Boolean):
        yield from (Step("population", name) for name in population.gate.names)
    else:
        yield from (Step("threshold", term.threshold) for term in population.gate.terms)


def _threshold_needs(threshold: Sought) -> Iterator[Step]:
    yield Step("population", threshold.population)
    for population, terms in threshold.reference_cells():
        yield Step("population", population)
        yield from (Step("threshold", term.threshold) for term in terms)
