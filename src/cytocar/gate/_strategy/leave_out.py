"""A strategy of thresholds without some of its steps: what stood below them is linked to what stood above."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from cytocar.gate._populations.parts import Boolean, Plot, Population, Terms
from cytocar.gate._rules.of_cells import OfCells

if TYPE_CHECKING:
    from collections.abc import Callable

    from cytocar.gate._rules.base import Rule
    from cytocar.gate._strategy.threshold import Threshold
    from cytocar.gate._strategy.tree import GateTree

    Link = Callable[[str], str]


def leave_out(
    tree: GateTree, thresholds: Collection[str], *, panel: Collection[str] | None = None
) -> GateTree:
    """Return a strategy without some thresholds, without the populations that they made, and with all others linked.

    Other than `GateTree.without`, a population whose terms are all gone is gone too: its children, the thresholds that
    were found in it and the biaxials that were drawn of it go to its parent. Subsets are kept only while each still
    has all its terms.

    Parameters
    ----------
    tree
        The strategy.
    thresholds
        Names of the thresholds to leave out.
    panel
        Markers that biaxials may be drawn over, as the strategy calls them; None draws over those of the thresholds
        that are left, and over markers that had no threshold.
    """
    gone = set(thresholds)
    lost = {p.name: p.parent for p in tree.populations if _is_lost(p, gone)}

    def linked(name: str) -> str:
        while name in lost:
            name = lost[name]
        return name

    whole = not any(term.threshold in gone for terms in tree.subsets.values() for term in terms)
    kept = [p for p in tree.populations if p.name not in lost]
    smaller = replace(
        tree,
        thresholds={
            name: _relinked(threshold.without_thresholds(gone), linked)
            for name, threshold in tree.thresholds.items()
            if name not in gone
        },
        populations=tuple(Population(p.name, linked(p.parent), _without(p.gate, gone, linked)) for p in kept),
        denominator=linked(tree.denominator),
        compartments={name: linked(of) for name, of in tree.compartments.items()},
        subsets=tree.subsets if whole else {},
        plots=(),
    )
    return replace(smaller, plots=tuple(_plots(tree, smaller, linked, panel)))


def renamed(tree: GateTree, populations: Mapping[str, str]) -> GateTree:
    """Return a strategy in which populations have other names."""

    def new(name: str) -> str:
        return populations.get(name, name)

    return replace(
        tree,
        thresholds={name: _relinked(threshold, new) for name, threshold in tree.thresholds.items()},
        populations=tuple(
            Population(new(p.name), new(p.parent), _without(p.gate, set(), new)) for p in tree.populations
        ),
        denominator=new(tree.denominator),
        compartments={name: new(of) for name, of in tree.compartments.items()},
        plots=tuple(replace(plot, parent=new(plot.parent)) for plot in tree.plots),
    )


def _is_lost(population: Population, gone: Collection[str]) -> bool:
    gate = population.gate
    return isinstance(gate, Terms) and bool(gate.terms) and all(term.threshold in gone for term in gate.terms)


def _without(gate: Terms | Boolean, gone: Collection[str], linked: Link) -> Terms | Boolean:
    if isinstance(gate, Terms):
        return Terms(tuple(term for term in gate.terms if term.threshold not in gone))
    return Boolean(
        *(tuple(dict.fromkeys(map(linked, names))) for names in (gate.all_of, gate.any_of, gate.none_of))
    )


def _relinked(threshold: Threshold, linked: Link) -> Threshold:
    return replace(
        threshold,
        population=linked(threshold.population),
        rule=None if threshold.rule is None else _rule(threshold.rule, linked),
        fallback=tuple(_rule(rule, linked) for rule in threshold.fallback),
    )


def _rule(rule: Rule, linked: Link) -> Rule:
    if isinstance(rule, OfCells) and rule.population is not None:
        return replace(rule, population=linked(rule.population))
    return rule


def _plots(tree: GateTree, smaller: GateTree, linked: Link, panel: Collection[str] | None) -> Iterator[Plot]:
    """Walk through the biaxials of what is left; where one of two markers is missing, another takes its place."""
    left = {threshold.marker: None for threshold in smaller.thresholds.values()}
    lost = {threshold.marker for threshold in tree.thresholds.values()} - set(left)
    known = {p.name for p in smaller.expanded()} | {"cells"}

    def is_there(marker: str) -> bool:
        return marker not in lost and (panel is None or marker in panel or marker in left)

    for plot in tree.plots:
        parent = linked(plot.parent)
        there = [marker for marker in (plot.x, plot.y) if is_there(marker)]
        # Two markers that were never gated, or none: nothing of the strategy would be seen.
        if parent not in known or not any(marker in left for marker in there):
            continue
        stand_in = next((other for other in _others(smaller, left) if other not in there), None)
        x, y = (marker if marker in there else stand_in for marker in (plot.x, plot.y))
        if x is not None and y is not None:
            yield Plot(parent, x, y)


def _others(tree: GateTree, left: Iterable[str]) -> Iterator[str]:
    """Walk through the markers that may stand in on an axis, those of subsets first: they divide what is drawn."""
    divided = {term.threshold for terms in tree.subsets.values() for term in terms}
    yield from (tree.thresholds[name].marker for name in tree.thresholds if name in divided)
    yield from left
