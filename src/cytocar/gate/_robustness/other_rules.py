"""Which other rules could have found a threshold, and what they would have found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar.gate._populations.evaluate import PositiveMasks
from cytocar.gate._rules.base import Rule, RuleFoundNothing, RuleInput, apply_rule
from cytocar.gate._rules.negatives import SAME_TUBE
from cytocar.gate._rules.registry import RULES
from cytocar.gate._thresholds.resolve import GatedCells, rule_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._robustness.headline import GatedSample
    from cytocar.gate._strategy.threshold import Threshold

_SAME = 1e-3


@dataclass(frozen=True)
class Choice:
    """One way to find a threshold: what it is called, the number it gives, and the share of negatives above that."""

    rule: str
    value: float
    rate: float = float("nan")


def choices(
    sample: GatedSample,
    name: str,
    controls: Mapping[str, NDArray[Any]],
    others: Sequence[float] | None,
) -> list[Choice]:
    """Return what was found for a threshold, then what every other rule that applies would have found.

    Rules look at the population as it was gated, and keep the range that the strategy allows.
    """
    threshold, entry = sample.tree.thresholds[name], sample.found[name]
    positive = PositiveMasks(sample.tree.thresholds, sample.columns, sample.numbers)
    cells = GatedCells(sample.columns[threshold.marker], sample.masks, positive)
    given = rule_input(threshold, cells, controls=controls, others=others)
    reference = entry["reference"]
    share_above = _ShareAbove(threshold, given, reference["source"] if reference else None)
    as_found = Choice(
        entry["rule"].replace("_", " "),
        float(entry["value"]),
        reference["rate"] if reference else float("nan"),
    )
    listed = [as_found]
    for label, rule in _others(threshold, entry):
        try:
            result = apply_rule(rule, given)
        except RuleFoundNothing:
            continue
        value = round(float(result.value), 4)
        if not rule.is_plausible(given.values, value) or any(
            abs(value - choice.value) < _SAME for choice in listed
        ):
            continue
        listed.append(Choice(label, value, share_above(value)))
    return listed


def _others(threshold: Threshold, entry: Mapping[str, Any]) -> list[tuple[str, Rule]]:
    """Return the rules to try, with what they are called; those of the strategy first."""
    common: dict[str, Any] = {}
    if threshold.rule is not None:
        common = {name: getattr(threshold.rule, name) for name in ("low", "high", "min_cells")}
    listed = [alternative for rule in threshold.rules() for alternative in rule.alternatives()]
    listed += [
        alternative
        for rule in RULES.values()
        if rule.tried_for_all
        for alternative in rule(**common).alternatives()
    ]
    labels = set() if entry["pinned"] else {entry["rule"].replace("_", " ")}
    unique: list[tuple[str, Rule]] = []
    for label, rule in listed:
        if label not in labels:
            labels.add(label)
            unique.append((label, rule))
    return unique


class _ShareAbove:
    """The share of the known negatives above any number, by the cells that the threshold in use was found in."""

    def __init__(self, threshold: Threshold, given: RuleInput, source: str | None) -> None:
        self._tail = None
        if source is None:
            return
        from cytocar.gate._rules.kernels.pareto_tail import tail_of

        negatives: dict[str, NDArray[Any]] = {}
        for rule in threshold.rules():
            negatives = negatives or rule.known_negatives(given)
        cells = negatives.get(source, negatives.get(SAME_TUBE))
        if cells is not None and np.count_nonzero(cells > 0) >= 2:
            self._tail = tail_of(cells)

    def __call__(self, value: float) -> float:
        return float("nan") if self._tail is None else self._tail.share_above(value)
