"""The rule `negatives`: for a rare population, by cells that are known to lack the marker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from cytocar._core.vocabulary import CONTROL_ROLE
from cytocar.gate._rules.base import NegativesAbove, Rule, RuleFoundNothing, RuleInput, RuleResult, setting
from cytocar.gate._rules.entries import one_of, share_of_few
from cytocar.gate._rules.of_cells import OfCells, population_and_gate
from cytocar.gate._rules.tail_quantile import NEEDED_ABOVE_ZERO, TubeQuantiles, would_give

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._rules.entries import Entry

CONTROLS = ("auto", "off", "only")

SAME_TUBE = "same tube"
"""What known negatives of the sample itself are called."""


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
    cells_key: ClassVar[str] = "negatives"
    false_positive_rate: float = setting(1e-4, share_of_few, always_written=True)
    controls: str = setting("auto", one_of(CONTROLS), always_written=True)

    @classmethod
    def read_fields(cls, entry: Entry) -> dict[str, Any]:
        """Read rate and controls, and which cells are negative."""
        fields = super().read_fields(entry)
        if cls.cells_key in entry.value:
            cells = entry.child(cls.cells_key)
            if cells.is_mapping(("in", "gate"), ("in",)):
                fields |= population_and_gate(cells)
        elif fields["controls"] != "only":
            entry.note(
                "rule negatives needs  negatives: {in: POPULATION, gate: [TERMS]}  to say which cells are negative, "
                "or  controls: only"
            )
        return fields

    @property
    def wanted_role(self) -> str | None:
        """The role of the control tubes that it looks at, where there are any."""
        return None if self.controls == "off" else CONTROL_ROLE

    def control_tubes(self, given: RuleInput) -> dict[str, NDArray[Any]]:
        """Return the control tubes that it looks at."""
        return {} if self.controls == "off" else given.unnamed_controls()

    def known_negatives(self, given: RuleInput) -> dict[str, NDArray[Any]]:
        """Return the cells that it knows to be negative, by what `NegativesAbove.source` calls them."""
        sources = {_in_control(tube): values for tube, values in self.control_tubes(given).items()}
        own = self.reference_values(given)
        return sources if own is None or self.controls == "only" else {**sources, SAME_TUBE: own}

    def find(self, given: RuleInput) -> RuleResult:
        """Return the value that a share `false_positive_rate` of the known negatives exceeds."""
        tubes, own = self.control_tubes(given), self.reference_values(given)
        if self.controls == "only" and not tubes:
            raise RuleFoundNothing("the strategy wants control tubes, and there are none")
        rate = self.false_positive_rate
        named = {_in_control(tube): values for tube, values in tubes.items()}
        same_tube = {} if own is None else {SAME_TUBE: own}
        of_controls = TubeQuantiles.of(named, rate, self.min_cells)
        of_own = TubeQuantiles.of(same_tube, rate, self.min_cells)
        notes = []
        if of_controls.quantiles:
            used, source = of_controls, of_controls.highest()
            notes.append(f"from {source}, whose staining may differ")
            notes += would_give({**of_controls.quantiles, **of_own.quantiles}, source)
        elif of_own.quantiles and self.controls != "only":
            used, source = of_own, SAME_TUBE
            notes += ["the control tubes have too few cells"] if tubes else []
        else:
            raise RuleFoundNothing(self._too_few(tubes, own))
        quantile, cells = used.quantiles[source], {**named, **same_tube}[source]
        if quantile.extrapolated:
            notes.append(f"tail of {cells.size:,} negatives extrapolated to {rate:g}")
        value = round(quantile.value, 4)
        return RuleResult(
            value,
            None,
            "; ".join(notes),
            found_in=source if used is of_controls else self.cells_text(),
            n_cells=int(cells.size),
            reference=NegativesAbove.count(cells, value, source, rate),
            resample=used.resample,
            rate=rate,
            rate_at=quantile.rate_at,
        )

    def _too_few(self, tubes: dict[str, NDArray[Any]], own: NDArray[Any] | None) -> str:
        counts = [f"{values.size:,} in control {tube}" for tube, values in tubes.items()]
        counts += [f"{own.size:,} in the same tube"] if own is not None and self.controls != "only" else []
        return (
            f"known negatives are too few ({', '.join(counts) or 'none'}; {self.min_cells:,} are needed, "
            f"{NEEDED_ABOVE_ZERO} of them above 0)"
        )

    def alternatives(self) -> Iterator[tuple[str, Rule]]:
        """Walk through half and twice the rate, and the same tube in place of control tubes."""
        yield self.label, self
        for factor in (0.5, 2.0):
            rate = self.false_positive_rate * factor
            yield f"{self.label} at {rate:.2g}", replace(self, false_positive_rate=rate)
        if self.controls != "off":
            yield f"{self.label} of the same tube", replace(self, controls="off")

    def details(self) -> str:
        """Say which cells are negative, and which share of them may be above the threshold."""
        return f" (control tubes: {self.controls}; {self.cells_text()}) at {self.false_positive_rate:g}"


def _in_control(tube: str) -> str:
    return f"control {tube}"


RULE = Negatives
