"""What every rule is: settings with their domains, a way to its number, and what others may ask about it."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from cytocar.gate._populations.parts import Term
from cytocar.gate._rules.entries import Entry, interval, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

    Resample = Callable[[np.random.Generator], Floats]


class ReferenceCells(NamedTuple):
    """Cells of the same tube that a rule looks at: those of `population` that fulfil all terms of `gate`."""

    population: str
    gate: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.population, *map(str, self.gate)])


DRAWS = 100
"""Bootstrap samples by which it is judged how far a threshold may move."""

FEW_BEYOND = 0.01
"""Hardly any cell may lie beyond the limit of a hump: a second population would have drawn the limit to itself."""


@dataclass(frozen=True)
class NegativesAbove:
    """Cells known to be negative, and how many of them lie at or above the threshold.

    Parameters
    ----------
    n_negative, n_above
        How many they are, and how many are at or above the threshold.
    rate
        The share that is expected above it.
    source
        Where they come from.
    rate_low, rate_high
        The share expected above the lower and the upper end of the threshold's range; None where it has none.
    """

    n_negative: int
    n_above: int
    rate: float
    source: str
    rate_low: float | None = None
    rate_high: float | None = None

    @classmethod
    def count(cls, values: NDArray[Any], number: float, source: str, rate: float | None = None) -> Self:
        """Count the cells at or above a number; without a `rate`, it is the share that was counted."""
        n_above = int(np.count_nonzero(values >= float(number)))
        return cls(int(values.size), n_above, n_above / values.size if rate is None else rate, source)


@dataclass(frozen=True, eq=False)
class RuleInput:
    """What the rules of one threshold may look at in one sample.

    Parameters
    ----------
    values
        The marker in the threshold's population, arcsinh units (cells,).
    references
        The marker in other cells of the same tube, for those that a rule names.
    controls
        Control tube to the marker in its cells of the same population.
    others
        Numbers of this threshold in other samples; None where they are not known (yet), empty where there are none.
    named_tubes
        The control tubes that a rule calls by their names: the other rules leave them alone.
    """

    values: NDArray[Any]
    references: Mapping[ReferenceCells, NDArray[Any]] = field(default_factory=dict)
    controls: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    others: Sequence[float] | None = None
    named_tubes: Collection[str] = ()

    def unnamed_controls(self) -> dict[str, NDArray[Any]]:
        """Return the control tubes that no rule calls by their names."""
        return {tube: values for tube, values in self.controls.items() if tube not in self.named_tubes}


@dataclass(frozen=True, eq=False)
class RuleResult:
    """What a rule found.

    Parameters
    ----------
    value
        The number, arcsinh units.
    confidence
        0 to 1; None where it follows from the resamples: the share of them in which the rate of the rule is met
        within a factor of two.
    note
        What is worth knowing.
    found_in, n_cells
        The cells that were looked at, where they are not those of the threshold's population.
    reference
        What known negatives say.
    resample
        Returns the number in `DRAWS` bootstrap samples of those cells, NaN where a sample has none.
    rate, rate_at
        The share of the cells that the rule wants above the number, and what that share is at any number.
    """

    value: float
    confidence: float | None = None
    note: str = ""
    found_in: str = ""
    n_cells: int | None = None
    reference: NegativesAbove | None = None
    resample: Resample | None = None
    rate: float = float("nan")
    rate_at: Callable[[float], float] | None = None

    def at_least(self, min_confidence: float, what: str) -> RuleResult:
        """Return the result, or raise `RuleFoundNothing` about `what` where it is not sure enough."""
        sure = 1.0 if self.confidence is None else self.confidence
        if sure < min_confidence:
            raise RuleFoundNothing(
                f"{what}, at {self.value:.2f}, has a confidence of {sure:.2f}, and {min_confidence:g} is needed",
                self.resample,
            )
        return self


class RuleFoundNothing(Exception):
    """A rule finds no number; the text says why, and `resample` what it would find in samples of the cells."""

    def __init__(self, text: str, resample: Resample | None = None) -> None:
        super().__init__(text)
        self.resample = resample


def setting(default: Any, read: Callable[[Entry], Any], *, always_written: bool = False) -> Any:
    """Return a field of a rule that YAML states under its own name.

    Parameters
    ----------
    default
        Its value where nothing is stated.
    read
        Reads it and checks that it is within its domain; raises `InvalidEntry`.
    always_written
        Whether it is written even where it has its default.
    """
    return field(default=default, metadata={"read": read, "always_written": always_written})


@dataclass(frozen=True)
class Rule(ABC):
    """What all rules share.

    A rule is a frozen dataclass whose fields made by `setting` are read, checked and written by name. It has to say
    how it finds its number (`find`); the other methods have answers that hold for most rules.

    Parameters
    ----------
    low, high
        The range, in arcsinh units, in which the number must lie; None is open.
    min_cells
        With fewer cells than this to look at, nothing is found.
    """

    kind: ClassVar[str] = ""
    """What the rule is called in YAML and in tables."""
    tried_for_all: ClassVar[bool] = False
    """Whether the multiverse tries it for every threshold, stated or not."""
    needs_others: ClassVar[bool] = False
    """Whether it needs the numbers of other samples: while they are not known, no fallback is taken in its stead."""
    limit_of_hump: ClassVar[int] = 0
    """1 where it finds the upper limit of a single hump, -1 where it finds the lower one."""
    cells_key: ClassVar[str] = ""
    """The key under which YAML states other cells than those of the threshold's population."""

    low: float | None = None
    high: float | None = None
    min_cells: int = setting(200, whole_number)

    # YAML

    @classmethod
    def settings(cls) -> tuple[dataclasses.Field[Any], ...]:
        """Return the fields that YAML states under their own names."""
        return tuple(f for f in dataclasses.fields(cls) if "read" in f.metadata)

    @classmethod
    def yaml_keys(cls) -> tuple[str, ...]:
        """Return the keys that its YAML entry may have."""
        names = [f.name for f in cls.settings()]
        return ("rule", "range", *names, *([cls.cells_key] if cls.cells_key else []))

    @classmethod
    def read(cls, entry: Entry, *, stands_in_for: Rule | None = None) -> Self:
        """Read the rule; what is wrong is noted with the entry.

        A fallback has to lie in the range of the rule it stands in for, unless it says otherwise.
        """
        inherited = (stands_in_for.low, stands_in_for.high) if stands_in_for else (None, None)
        low, high = entry.take("range", interval, inherited)
        return cls(low=low, high=high, **cls.read_fields(entry))

    @classmethod
    def read_fields(cls, entry: Entry) -> dict[str, Any]:
        """Read all fields but the range."""
        return {f.name: entry.take(f.name, f.metadata["read"], f.default) for f in cls.settings()}

    def plain(self) -> dict[str, Any]:
        """Return the rule as plain values for YAML, without what is as by default."""
        plain: dict[str, Any] = {"rule": self.kind}
        if self.low is not None or self.high is not None:
            plain["range"] = [self.low, self.high]
        for f in self.settings():
            value = getattr(self, f.name)
            if f.metadata["always_written"] or value != f.default:
                plain[f.name] = value
        cells = self.plain_cells()
        return plain | {self.cells_key: cells} if cells else plain

    def plain_cells(self) -> dict[str, Any]:
        """Return which other cells the rule looks at, as plain values for YAML."""
        return {}

    # The number

    @abstractmethod
    def find(self, given: RuleInput) -> RuleResult:
        """Return what the rule finds, within its range or not.

        Raises
        ------
        RuleFoundNothing
            There is no such number in these cells.
        """

    def require_cells(self, values: NDArray[Any]) -> None:
        """Raise `RuleFoundNothing` where there are fewer than `min_cells`."""
        if values.size < self.min_cells:
            raise RuleFoundNothing(f"{values.size:,} cells, and at least {self.min_cells:,} are needed")

    # Other cells and tubes

    @property
    def reference_cells(self) -> ReferenceCells | None:
        """The other cells of the same tube that it looks at."""
        return None

    @property
    def named_tube(self) -> str | None:
        """The control tube that it calls by its name."""
        return None

    @property
    def named_role(self) -> str | None:
        """The role of the control tubes without which it finds nothing."""
        return None

    @property
    def wanted_role(self) -> str | None:
        """The role of the control tubes that it looks at, where there are any."""
        return self.named_role

    def uses_controls(self) -> bool:
        """Return whether it looks at control tubes, where there are any."""
        return bool(self.named_tube or self.wanted_role)

    def wants_tube(self, sample: str, role: str) -> bool:
        """Return whether it looks at the cells of another tube, of this name and role."""
        by_name = self.named_tube is not None and self.named_tube == sample
        return by_name or bool(self.wanted_role and self.wanted_role == role)

    def known_negatives(self, given: RuleInput) -> dict[str, NDArray[Any]]:  # most rules know of none
        """Return the cells that it knows to be negative, by what `NegativesAbove.source` calls them."""
        del given  # most rules know of none
        return {}

    def without_thresholds(self, gone: Collection[str]) -> Rule:
        """Return the rule in a strategy that lacks some thresholds."""
        cells = self.reference_cells
        lost = cells is not None and any(term.threshold in gone for term in cells.gate)
        # Without the terms that exclude what is positive, these cells are not known to be negative.
        return self.without_cells() if lost else self

    def without_cells(self) -> Rule:
        """Return the rule without the other cells of the same tube."""
        return self

    # Robustness

    def alternatives(self) -> Iterator[tuple[str, Rule]]:
        """Walk through the rules to try in place of it, each with what it is called; itself first."""
        yield self.label, self

    def is_plausible(self, values: NDArray[Any], number: float) -> bool:
        """Return whether a number that it would find describes these cells, where the strategy has found another."""
        if self.limit_of_hump == 0:
            return True
        beyond = values >= number if self.limit_of_hump > 0 else values < number
        return float(np.mean(beyond)) <= FEW_BEYOND

    # Wording

    @property
    def label(self) -> str:
        """What it is called in sentences."""
        return self.kind.replace("_", " ")

    def details(self) -> str:
        """Say what tells it apart from others of its kind."""
        return ""

    def describe(self) -> str:
        """Say in one line what it is."""
        text = self.label + self.details()
        if self.low is not None or self.high is not None:
            low, high = ("" if end is None else f"{end:g}" for end in (self.low, self.high))
            text += f" [{low}..{high}]"
        return text

    def range_text(self) -> str:
        """Say in which range the number must lie."""
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{low} to {high}"


def apply_rule(rule: Rule, given: RuleInput) -> RuleResult:
    """Return what a rule finds within its range; `RuleFoundNothing` where it finds no such number."""
    result = rule.find(given)
    if (rule.low is not None and result.value < rule.low) or (
        rule.high is not None and result.value > rule.high
    ):
        raise RuleFoundNothing(
            f"it would be {result.value:.2f}, outside the range of {rule.range_text()} that the strategy allows",
            result.resample,
        )
    return result
