"""What rules share that look at other cells of the same tube."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from cytocar.gate._populations.parts import Term
from cytocar.gate._rules.base import ReferenceCells, Rule, RuleInput
from cytocar.gate._rules.entries import name, terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._rules.entries import Entry


@dataclass(frozen=True)
class OfCells(Rule):
    """A rule that looks at other cells of the same tube.

    Parameters
    ----------
    population, gate
        The cells of `population` that fulfil all terms of `gate`.
    """

    population: str | None = None
    gate: tuple[Term, ...] = ()

    @property
    def reference_cells(self) -> ReferenceCells | None:
        """The other cells of the same tube that it looks at."""
        return None if self.population is None else ReferenceCells(self.population, self.gate)

    def cells_text(self) -> str:
        """Say which cells of the same tube are meant."""
        return str(self.reference_cells or "")

    def without_cells(self) -> Self:
        """Return the rule without the other cells of the same tube."""
        return replace(self, population=None, gate=())

    def reference_values(self, given: RuleInput) -> NDArray[Any] | None:
        """Return the marker in the other cells of the same tube; None where it names none."""
        cells = self.reference_cells
        return None if cells is None else given.references.get(cells)

    def plain_cells(self) -> dict[str, Any]:
        """Return which other cells the rule looks at, as plain values for YAML."""
        if self.population is None:
            return {}
        return {"in": self.population, "gate": [str(term) for term in self.gate]}


def population_and_gate(entry: Entry) -> dict[str, Any]:
    """Read ``{in: POPULATION, gate: [TERMS]}`` as fields."""
    return {"population": entry.take("in", name, None), "gate": entry.take("gate", terms, ())}
