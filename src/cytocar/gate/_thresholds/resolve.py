"""One sample: thresholds and populations worked out together, since a threshold is found inside a population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError
from cytocar.gate._populations.evaluate import PositiveMasks, members
from cytocar.gate._populations.order import order
from cytocar.gate._populations.parts import ROOT
from cytocar.gate._rules.base import RuleInput
from cytocar.gate._thresholds.find import ResolvedThreshold, find

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._populations.evaluate import Column, Gates, Mask
    from cytocar.gate._populations.order import Step
    from cytocar.gate._rules.base import ReferenceCells
    from cytocar.gate._strategy.threshold import Threshold

Controls = Mapping[str, Mapping[str, "NDArray[Any]"]]
"""Name of a threshold to control tube to arcsinh values of that tube's cells."""


@dataclass(frozen=True)
class Resolved:
    """Numbers of all thresholds and cells of all populations of one sample."""

    found: dict[str, ResolvedThreshold]
    masks: dict[str, Mask]


def resolve(
    tree: Gates,
    columns: Mapping[str, Column],
    root: Mask,
    *,
    sample: str,
    controls: Controls | None = None,
    others: Mapping[str, Sequence[float]] | None = None,
    targets: Sequence[Step] | None = None,
    seed: int | None = None,
) -> Resolved:
    """Find every threshold in the population it names and assign the cells.

    Parameters
    ----------
    tree
        The strategy.
    columns
        Marker to arcsinh values (events,).
    root
        Boolean array (events,): the events that are cells.
    sample
        Name of the sample, for stated numbers and messages.
    controls, others
        What control tubes and other samples tell about a threshold, by its name.
    targets
        Only what these need is worked out; None is everything.
    seed
        Of the resamples that tell how far each threshold may move; None leaves them out.

    Raises
    ------
    ThresholdNotFound
        A threshold has no clear place and the strategy has no fallback for it.
    """
    controls = controls or {}
    populations = {population.name: population for population in tree.expanded()}
    numbers: dict[str, float] = {}
    found: dict[str, ResolvedThreshold] = {}
    masks: dict[str, Mask] = {ROOT: root}
    positive = PositiveMasks(tree.thresholds, columns, numbers)
    for step in order(populations, tree.thresholds, targets):
        if step.kind == "population":
            masks[step.name] = members(populations[step.name], masks, positive)
            continue
        threshold = tree.thresholds[step.name]
        cells = GatedCells(columns[threshold.marker], masks, positive)
        given = rule_input(
            threshold,
            cells,
            controls=controls.get(step.name, {}),
            others=None if others is None else others.get(step.name, ()),
        )
        result = find(threshold, given, sample, seed=seed)
        found[step.name] = result
        numbers[step.name] = result.value
    ordered = {name: found[name] for name in tree.thresholds if name in found}
    return Resolved(ordered, {name: masks[name] for name in (ROOT, *populations) if name in masks})


@dataclass(frozen=True, eq=False)
class GatedCells:
    """One marker of a sample, and as much of its gating as is known.

    Parameters
    ----------
    column
        Arcsinh values (events,).
    masks
        Population to boolean array (events,).
    positive
        Gives for the name of a threshold which events are at or above it.
    """

    column: Column
    masks: Mapping[str, Mask]
    positive: PositiveMasks

    def values(self, cells: ReferenceCells) -> NDArray[Any]:
        """Return the marker in the cells of a population that fulfil all terms of a gate."""
        inside = self.masks[cells.population].copy()
        for term in cells.gate:
            above = self.positive(term.threshold)
            inside &= above if term.positive else ~above
        return np.asarray(self.column[inside])


def rule_input(
    threshold: Threshold,
    cells: GatedCells,
    *,
    controls: Mapping[str, NDArray[Any]],
    others: Sequence[float] | None,
) -> RuleInput:
    """Return what the rules of a threshold may look at in one sample.

    Raises
    ------
    GateError
        The reference cells of a rule are the very cells that the threshold divides.
    """
    references: dict[ReferenceCells, NDArray[Any]] = {}
    for rule in threshold.rules():
        wanted = rule.reference_cells
        if wanted is None or wanted in references:
            continue
        if not wanted.gate and wanted.population == threshold.population:
            raise GateError(
                f"the negatives of threshold {threshold.name!r} are the very cells it divides",
                fix="name a gate that leaves out what is positive",
            )
        references[wanted] = cells.values(wanted)
    return RuleInput(
        values=cells.column[cells.masks[threshold.population]],
        references=references,
        controls=controls,
        others=others,
        named_tubes=threshold.named_tubes(),
    )
