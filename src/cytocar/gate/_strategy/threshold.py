"""A threshold of a strategy: the marker, and the rule or the pin by which each sample gets its number."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._rules.base import ReferenceCells, Rule


@dataclass(frozen=True)
class Threshold:
    """A named threshold of one marker: a number, or the rule by which each sample gets its number.

    Parameters
    ----------
    name
        What terms call it: ``CD3`` in ``CD3+``.
    markers
        The marker, and other names it goes by; the first that the panel has is taken.
    population
        The cells that are looked at (in YAML: ``in``).
    rule
        How the number is found; None when every number is stated.
    fallback
        Rules to try in turn when `rule` finds nothing. Taking one is flagged in the tables.
    value
        A number stated for all samples; the rule is then not used.
    samples
        Numbers stated for single samples.
    """

    name: str
    markers: tuple[str, ...]
    population: str = "cells"
    rule: Rule | None = None
    fallback: tuple[Rule, ...] = ()
    value: float | None = None
    samples: FrozenDict[str, float] = field(default_factory=FrozenDict)

    @property
    def marker(self) -> str:
        """The marker under its first name, by which columns are handed to `evaluate`."""
        return self.markers[0]

    def pinned(self, sample: str) -> float | None:
        """Return the number stated for a sample, or for all, else None."""
        return self.samples.get(sample, self.value)

    def rules(self) -> Iterator[Rule]:
        """Walk through the rule and its fallbacks, in the order in which they are tried."""
        if self.rule is not None:
            yield self.rule
        yield from self.fallback

    def reference_cells(self) -> Iterator[ReferenceCells]:
        """Walk through the other cells of the same tube that the rules look at."""
        return (rule.reference_cells for rule in self.rules() if rule.reference_cells)

    def named_tubes(self) -> tuple[str, ...]:
        """Return the control tubes that a rule or a fallback calls by their names."""
        return tuple(dict.fromkeys(rule.named_tube for rule in self.rules() if rule.named_tube))

    def named_roles(self) -> tuple[str, ...]:
        """Return the roles of control tubes that a rule or a fallback names."""
        return tuple(dict.fromkeys(rule.named_role for rule in self.rules() if rule.named_role))

    def wants_tube(self, sample: str, role: str) -> bool:
        """Return whether a rule or a fallback looks at the cells of another tube, of this name and role."""
        return any(rule.wants_tube(sample, role) for rule in self.rules())

    def uses_controls(self) -> bool:
        """Return whether a rule or a fallback looks at control tubes, where there are any."""
        return any(rule.uses_controls() for rule in self.rules())

    def without_thresholds(self, gone: Collection[str]) -> Threshold:
        """Return the threshold in a strategy that lacks some others."""
        return replace(
            self,
            rule=self.rule.without_thresholds(gone) if self.rule else None,
            fallback=tuple(rule.without_thresholds(gone) for rule in self.fallback),
        )

    def describe(self) -> str:
        """Say in one line how the number is found."""
        if self.value is not None:
            text = f"{self.value:g} (stated)"
        elif self.rule is None:
            text = "stated for each sample"
        else:
            text = f"{self.rule.describe()} in {self.population}"
            text += "".join(f", else {rule.describe()}" for rule in self.fallback)
        pins = ", ".join(f"{sample} {number:g}" for sample, number in self.samples.items())
        return f"{text}; stated: {pins}" if pins else text
