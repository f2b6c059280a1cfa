"""Which cell is in which population, on plain arrays: the kernel of gating."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from cytocar._core.errors import GateError
from cytocar.gate._populations.order import order
from cytocar.gate._populations.parts import ROOT, Boolean, Population

if TYPE_CHECKING:
    import numpy as np

    from cytocar.gate._strategy.threshold import Threshold

    Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
    Column = np.ndarray[tuple[int], np.dtype[np.floating]]


def members(population: Population, masks: Mapping[str, Mask], positive: Callable[[str], Mask]) -> Mask:
    """Return the cells of one population, given those above it.

    Parameters
    ----------
    population
        What to work out.
    masks
        Population name to boolean array (events,); holds the parent and every population of a boolean gate.
    positive
        Gives for the name of a threshold which events are at or above it.
    """
    inside = masks[population.parent].copy()
    gate = population.gate
    if isinstance(gate, Boolean):
        for name in gate.all_of:
            inside &= masks[name]
        if gate.any_of:
            union = masks[gate.any_of[0]].copy()
            for name in gate.any_of[1:]:
                union |= masks[name]
            inside &= union
        for name in gate.none_of:
            inside &= ~masks[name]
        return inside
    for term in gate.terms:
        inside &= positive(term.threshold) if term.positive else ~positive(term.threshold)
    return inside


class PositiveMasks:
    """Which events are at or above each threshold, compared once per threshold."""

    def __init__(
        self, thresholds: Mapping[str, Threshold], columns: Mapping[str, Column], numbers: Mapping[str, float]
    ) -> None:
        self._thresholds, self._columns, self._numbers = thresholds, columns, numbers
        self._positive: dict[str, Mask] = {}

    def __call__(self, name: str) -> Mask:
        """Return a boolean array (events,)."""
        if name not in self._positive:
            if name not in self._numbers:
                raise GateError(f"no number is given for threshold {name!r}")
            marker = self._thresholds[name].marker
            if marker not in self._columns:
                raise GateError(f"no column is given for marker {marker!r} of threshold {name!r}")
            # A Python float takes the dtype of the column, so float32 data are compared as float32.
            self._positive[name] = self._columns[marker] >= float(self._numbers[name])
        return self._positive[name]


class Gates(Protocol):
    """Populations and the thresholds that divide them, as a `cytocar.gate.GateTree` has them."""

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """Name to threshold."""

    def expanded(self) -> Sequence[Population]:
        """Return all populations, those of subsets included."""


def evaluate(
    tree: Gates, columns: Mapping[str, Column], numbers: Mapping[str, float], root: Mask
) -> dict[str, Mask]:
    """Assign events to populations: positive is at or above a threshold, negative below it.

    Parameters
    ----------
    tree
        The strategy.
    columns
        Marker, by the first name that the strategy gives it, to arcsinh values (events,).
    numbers
        Name of a threshold to its number, in arcsinh units.
    root
        Boolean array (events,): the events that are cells.

    Returns
    -------
    Population name to boolean array (events,), ``"cells"`` first, then in the order of the tree.
    One pass over the events per threshold and one per term of each population.

    Examples
    --------
    >>> import numpy as np
    >>> from cytocar.gate import GateTree
    >>> tree = GateTree.from_yaml('''
    ... cytocar_gating: 1
    ... name: small
    ... thresholds: {CD3: {marker: CD3, value: 2.5}}
    ... populations: [{name: T cells, parent: cells, gate: [CD3+]}]
    ... ''')
    >>> x = np.array([0.1, 2.5, 4.0], dtype=np.float32)
    >>> evaluate(tree, {"CD3": x}, {"CD3": 2.5}, np.ones(3, dtype=bool))["T cells"].tolist()
    [False, True, True]
    """
    positive = PositiveMasks(tree.thresholds, columns, numbers)
    populations = {population.name: population for population in tree.expanded()}
    masks: dict[str, Mask] = {ROOT: root}
    for step in order(populations, tree.thresholds):
        if step.kind == "population":
            masks[step.name] = members(populations[step.name], masks, positive)
    return {name: masks[name] for name in (ROOT, *populations)}
