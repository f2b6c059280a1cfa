"""Whether a strategy of thresholds holds together: every name is there, once, and nothing needs itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cytocar._core.errors import GateError, did_you_mean
from cytocar.gate._populations.order import order
from cytocar.gate._populations.parts import ROOT, Boolean, Population, Term
from cytocar.panel.antigens import marker_hint

if TYPE_CHECKING:
    from cytocar.gate._strategy.strategy import ThresholdStrategy


def contradictions(tree: ThresholdStrategy) -> list[str]:
    """Return everything that is wrong with a strategy: names first, and circles where all names are there."""
    return list(_Names(tree).problems()) or list(_circles(tree))


def _circles(tree: ThresholdStrategy) -> Iterator[str]:
    try:
        order({population.name: population for population in tree.expanded()}, tree.thresholds)
    except GateError as error:
        yield str(error)


class _Names:
    """The names of a strategy, and what refers to one that is not there."""

    def __init__(self, tree: ThresholdStrategy) -> None:
        self._tree = tree
        self._populations = [ROOT, *(population.name for population in tree.expanded())]

    def problems(self) -> Iterator[str]:
        """Find names that are not there, names used twice, and gates that select nothing."""
        yield from self._own_names()
        for population in self._tree.populations:
            yield from self._of_population(population)
        for subset, terms in self._tree.subsets.items():
            yield from self._unknown_terms(terms, f"subset {subset!r}")
        for name in self._tree.thresholds:
            yield from self._of_threshold(name)
        yield from self._unknown(self._tree.denominator, "denominator")
        yield from self._of_compartments()
        for plot in self._tree.plots:
            yield from self._unknown(plot.parent, f"plot {plot.y} over {plot.x}")

    def _own_names(self) -> Iterator[str]:
        known = self._populations
        for name in sorted({name for name in known if known.count(name) > 1}):
            yield f"two populations are called {name!r}; rename one"
        for name in known[1:]:
            if not name or "/" in name or name == "events":
                yield f"{name!r} cannot be the name of a population: it must not be empty, 'events', or contain '/'"

    def _unknown(self, name: str, where: str) -> Iterator[str]:
        if name not in self._populations:
            hint = did_you_mean(name, self._populations)
            yield f"{where} names population {name!r}, which is not there; {hint}"

    def _unknown_terms(self, terms: Iterable[Term], where: str) -> Iterator[str]:
        for term in terms:
            if term.threshold not in self._tree.thresholds:
                hint = marker_hint(term.threshold, self._tree.thresholds)
                yield f"{where} uses {str(term)!r}, but there is no threshold {term.threshold!r}; {hint}"

    def _of_population(self, population: Population) -> Iterator[str]:
        where = f"population {population.name!r}"
        yield from self._unknown(population.parent, f"the parent of {where}")
        if not isinstance(population.gate, Boolean):
            yield from self._unknown_terms(population.gate.terms, where)
            return
        if not population.gate.names:
            yield f"{where} has a boolean gate without populations"
        for name in population.gate.names:
            yield from self._unknown(name, where)

    def _of_threshold(self, name: str) -> Iterator[str]:
        threshold = self._tree.thresholds[name]
        where = f"threshold {name!r}"
        yield from self._unknown(threshold.population, where)
        if threshold.rule is None and threshold.value is None and not threshold.samples:
            yield f"{where} has neither a rule nor a value"
        for cells in threshold.reference_cells():
            yield from self._unknown(cells.population, f"the reference cells of {where}")
            yield from self._unknown_terms(cells.gate, f"the reference cells of {where}")

    def _of_compartments(self) -> Iterator[str]:
        compartment_of: dict[str, str] = {}
        for compartment, name in self._tree.compartments.items():
            yield from self._unknown(name, f"compartment {compartment!r}")
            other = compartment_of.setdefault(name, compartment)
            if other != compartment:
                yield f"compartments {other!r} and {compartment!r} are both population {name!r}; keep them apart"
