"""How a threshold comes to its number: rules as data. `carry_out.py` does what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from cytocar._core.vocabulary import CONTROL_ROLE
from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._populations.parts import Term

CONTROLS = ("auto", "off", "only")


@dataclass(frozen=True)
class Rule:
    """What all rules share.

    Parameters
    ----------
    low, high
        The range, in arcsinh units, in which the number must lie; None is open.
    min_cells
        With fewer cells than this to look at, nothing is found.
    """

    kind: ClassVar[str] = ""
    low: float | None = None
    high: float | None = None
    min_cells: int = 200


@dataclass(frozen=True)
class Valley(Rule):
    """The lowest point of the density between negative and positive cells, if it is a clear one."""

    kind: ClassVar[str] = "valley"
    min_confidence: float = 0.2


@dataclass(frozen=True)
class Mixture(Rule):
    """Where a cell is as likely negative as positive, by two humps fitted to the cells; needs no valley."""

    kind: ClassVar[str] = "mixture"
    min_confidence: float = 0.75


@dataclass(frozen=True)
class UpperLimit(Rule):
    """Where nearly all cells are negative: the value that a share `rate` of the negatives exceeds."""

    kind: ClassVar[str] = "upper_limit_of_negatives"
    rate: float = 0.005


@dataclass(frozen=True)
class LowerLimit(Rule):
    """Where nearly all cells are positive: the value below which a share `rate` of the positives lies."""

    kind: ClassVar[str] = "lower_limit_of_positives"
    rate: float = 1e-4


@dataclass(frozen=True)
class OfCells(Rule):
    """What rules share that look at other cells of the same tube.

    Parameters
    ----------
    population, gate
        The cells of `population` that fulfil all terms of `gate`.
    """

    population: str | None = None
    gate: tuple[Term, ...] = ()

    def cells(self) -> str:
        """Say which cells of the same tube are meant."""
        return " ".join([self.population or "", *map(str, self.gate)]).strip()


@dataclass(frozen=True)
class Negatives(OfCells):
    """For a rare population: a far quantile of cells that are known to be negative, named by `population` and `gate`.

    Parameters
    ----------
    false_positive_rate
        The share of the negatives above the threshold.
    controls
        ``"auto"``: the same cells in control tubes where there are control tubes, else the known negatives
        of the same tube; ``"off"``: the same tube always; ``"only"``: control tubes, or an error.
    """

    kind: ClassVar[str] = "negatives"
    false_positive_rate: float = 1e-4
    controls: str = "auto"


@dataclass(frozen=True)
class Quantile(OfCells):
    """A quantile of reference cells: of another population of the same tube, or of the same population in other tubes.

    Parameters
    ----------
    sample, role
        The tube by its name, or all tubes of this role in the sample sheet, in each of which the number has to hold.
        With neither, the cells are `population` and `gate` of the same tube.
    quantile
        The share of the reference cells that is below the threshold.
    """

    kind: ClassVar[str] = "quantile"
    sample: str | None = None
    role: str | None = None
    quantile: float = 0.99

    def reference(self) -> str:
        """Say which cells are meant."""
        if self.sample is not None:
            return f"tube {self.sample}"
        return f"tubes of role {self.role}" if self.role is not None else self.cells()


@dataclass(frozen=True)
class Fmo(Quantile):
    """A quantile of the same population in a tube stained with everything but this marker (fluorescence minus one)."""

    kind: ClassVar[str] = "fmo"
    quantile: float = 0.995


@dataclass(frozen=True)
class OtherSamples(Rule):
    """The median of what was found in the other samples of the study; for tubes with too few cells."""

    kind: ClassVar[str] = "other_samples"


RULES: dict[str, type[Rule]] = {
    rule.kind: rule
    for rule in (Valley, Mixture, UpperLimit, LowerLimit, Negatives, Quantile, Fmo, OtherSamples)
}


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

    def reference_cells(self) -> Iterator[tuple[str, tuple[Term, ...]]]:
        """Walk through the other cells of the same tube that the rules look at: population and terms of each."""
        for rule in self.rules():
            if isinstance(rule, OfCells) and rule.population is not None:
                yield rule.population, rule.gate

    def named_tubes(self) -> tuple[str, ...]:
        """Return the control tubes that a rule or a fallback calls by their names."""
        return tuple(
            dict.fromkeys(rule.sample for rule in self.rules() if isinstance(rule, Quantile) and rule.sample)
        )

    def wants_tube(self, sample: str, role: str) -> bool:
        """Return whether a rule or a fallback looks at the cells of another tube, of this name and role."""
        for rule in self.rules():
            if isinstance(rule, Negatives) and rule.controls != "off" and role == CONTROL_ROLE:
                return True
            if isinstance(rule, Quantile) and (rule.sample == sample or (rule.role and rule.role == role)):
                return True
        return False

    def describe(self) -> str:
        """Say in one line how the number is found."""
        if self.value is not None:
            text = f"{self.value:g} (stated)"
        elif self.rule is None:
            text = "stated for each sample"
        else:
            text = f"{_describe(self.rule)} in {self.population}"
            text += "".join(f", else {_describe(rule)}" for rule in self.fallback)
        stated = ", ".join(f"{sample} {number:g}" for sample, number in self.samples.items())
        return f"{text}; stated: {stated}" if stated else text


def _describe(rule: Rule) -> str:
    words = rule.kind.replace("_", " ")
    if isinstance(rule, Negatives):
        words += f" (control tubes: {rule.controls}; {rule.cells()}) at {rule.false_positive_rate:g}"
    elif isinstance(rule, Quantile):
        words += f" {rule.quantile:g} of {rule.reference()}"
    elif isinstance(rule, (UpperLimit, LowerLimit)):
        words += f" at {rule.rate:g}"
    if rule.low is not None or rule.high is not None:
        low, high = ("" if end is None else f"{end:g}" for end in (rule.low, rule.high))
        words += f" [{low}..{high}]"
    return words
