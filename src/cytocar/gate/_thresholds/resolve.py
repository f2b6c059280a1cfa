"""One sample: thresholds and populations worked out together, since a threshold is found inside a population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core.errors import GateError
from cytocar.gate._populations.evaluate import Positives, members
from cytocar.gate._populations.order import order
from cytocar.gate._populations.parts import ROOT
from cytocar.gate._strategy.rules import Negatives, OfCells, Quantile
from cytocar.gate._thresholds.apply_rule import Known
from cytocar.gate._thresholds.finders import Found, find

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._populations.evaluate import Column, Mask
    from cytocar.gate._populations.order import Step
    from cytocar.gate._strategy.tree import GateTree

Controls = Mapping[str, Mapping[str, "NDArray[Any]"]]
"""Name of a threshold to control tube to arcsinh values of that tube's cells."""


@dataclass(frozen=True)
class Resolved:
    """Numbers of all thresholds and cells of all populations of one sample."""

    found: dict[str, Found]
    masks: dict[str, Mask]


def resolve(
    tree: GateTree,
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
    found: dict[str, Found] = {}
    masks: dict[str, Mask] = {ROOT: root}
    positive = Positives(tree.thresholds, columns, numbers)
    for step in order(populations, tree.thresholds, targets):
        if step.kind == "population":
            masks[step.name] = members(populations[step.name], masks, positive)
            continue
        threshold = tree.thresholds[step.name]
        column = columns[threshold.marker]
        known = Known(
            values=column[masks[threshold.population]],
            negatives=cells_of(Negatives, tree, step.name, column, masks, positive),
            reference=cells_of(Quantile, tree, step.name, column, masks, positive),
            controls=controls.get(step.name, {}),
            others=None if others is None else others.get(step.name, ()),
        )
        result = find(threshold, known, sample, seed=seed)
        found[step.name] = result
        numbers[step.name] = result.value
    ordered = {name: found[name] for name in tree.thresholds if name in found}
    return Resolved(ordered, {name: masks[name] for name in (ROOT, *populations) if name in masks})


def cells_of(
    kind: type[OfCells],
    tree: GateTree,
    name: str,
    column: Column,
    masks: Mapping[str, Mask],
    positive: Positives,
) -> NDArray[Any] | None:
    """Return the values of the cells of the same tube that a rule of this kind looks at; None without such a rule."""
    for rule in tree.thresholds[name].rules():
        if isinstance(rule, kind) and rule.population is not None:
            if not rule.gate and rule.population == tree.thresholds[name].population:
                raise GateError(
                    f"the negatives of threshold {name!r} are the very cells it divides; name a gate that leaves "
                    "out what is positive"
                )
            inside = masks[rule.population].copy()
            for term in rule.gate:
                inside &= positive(term.threshold) if term.positive else ~positive(term.threshold)
            return np.asarray(column[inside])
    return None
