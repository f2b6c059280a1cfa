"""Which other rules could have found a threshold, and what they would have found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar.gate._populations.evaluate import Positives
from cytocar.gate._strategy.rules import (
    LowerLimit,
    Mixture,
    Negatives,
    OtherSamples,
    Quantile,
    Rule,
    Threshold,
    UpperLimit,
    Valley,
)
from cytocar.gate._thresholds.apply_rule import Known, Nothing, Reference, carry_out
from cytocar.gate._thresholds.finders import within_range
from cytocar.gate._thresholds.resolve import cells_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._robustness.headline import GatedSample

# Above an upper limit of negatives hardly any cell may lie: a second population would have drawn the limit to itself.
_FEW_BEYOND = 0.01
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
    values = sample.columns[threshold.marker][sample.masks[threshold.population]]
    positive = Positives(sample.tree.thresholds, sample.columns, sample.numbers)
    arguments = (sample.tree, name, sample.columns[threshold.marker], sample.masks, positive)
    known = Known(
        values=values,
        negatives=cells_of(Negatives, *arguments),
        reference=cells_of(Quantile, *arguments),
        controls=controls,
        others=others,
    )
    reference = entry["reference"]
    found = Choice(
        entry["rule"].replace("_", " "),
        float(entry["value"]),
        reference["rate"] if reference else float("nan"),
    )
    rate_at = _rates(known, Reference(**reference) if reference else None)
    listed = [found]
    for words, rule in _others(threshold, known, entry):
        try:
            outcome = within_range(rule, carry_out(rule, known, threshold))
        except Nothing:
            continue
        value = round(float(outcome.value), 4)
        if not _applies(rule, values, value) or any(abs(value - choice.value) < _SAME for choice in listed):
            continue
        listed.append(Choice(words, value, rate_at(value)))
    return listed


def _others(threshold: Threshold, known: Known, entry: Mapping[str, Any]) -> list[tuple[str, Rule]]:
    """Return the rules to try, with what they are called; those of the strategy first."""
    first = threshold.rule
    base = Rule() if first is None else Rule(first.low, first.high, first.min_cells)
    common: dict[str, Any] = {"low": base.low, "high": base.high, "min_cells": base.min_cells}
    listed: list[tuple[str, Rule]] = []
    for rule in threshold.rules():
        if not isinstance(rule, OtherSamples):
            listed.append((rule.kind.replace("_", " "), rule))
        elif known.others:
            listed.append(("other samples", rule))
        if isinstance(rule, Negatives):
            for factor in (0.5, 2.0):
                rate = rule.false_positive_rate * factor
                listed.append((f"negatives at {rate:.2g}", replace(rule, false_positive_rate=rate)))
            if known.controls and rule.controls != "off":
                listed.append(("negatives of the same tube", replace(rule, controls="off")))
        elif isinstance(rule, Quantile):
            for factor in (0.5, 2.0):
                quantile = 1.0 - (1.0 - rule.quantile) * factor
                if 0.0 < quantile < 1.0:
                    listed.append((f"{rule.kind} {quantile:.4g}", replace(rule, quantile=quantile)))
    listed += [("valley", Valley(**common)), ("mixture", Mixture(**common))]
    names = set() if entry["pinned"] else {entry["rule"].replace("_", " ")}
    unique: list[tuple[str, Rule]] = []
    for words, rule in listed:
        if words not in names:
            names.add(words)
            unique.append((words, rule))
    return unique


def _applies(rule: Rule, values: NDArray[Any], value: float) -> bool:
    if isinstance(rule, UpperLimit):
        return float(np.mean(values >= value)) <= _FEW_BEYOND
    if isinstance(rule, LowerLimit):
        return float(np.mean(values < value)) <= _FEW_BEYOND
    return True


class _rates:
    """The share of the known negatives above any number, by the cells that the threshold in use was found in."""

    def __init__(self, known: Known, reference: Reference | None) -> None:
        self._tail = None
        if reference is None:
            return
        from cytocar.gate._thresholds.tail import tail_of

        tube = reference.source.removeprefix("control ")
        cells = known.controls.get(tube, known.negatives)
        if cells is not None and np.count_nonzero(cells > 0) >= 2:
            self._tail = tail_of(cells)

    def __call__(self, value: float) -> float:
        return float("nan") if self._tail is None else self._tail.share_above(value)
