"""The rule `quantile`: by reference cells of the same tube, or by the same cells in other tubes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from cytocar.gate._rules.base import Rule, RuleFoundNothing, RuleInput, RuleResult, setting
from cytocar.gate._rules.entries import name, share
from cytocar.gate._rules.of_cells import OfCells, population_and_gate
from cytocar.gate._rules.tail_quantile import NEEDED_ABOVE_ZERO, TubeQuantiles, would_give

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytocar.gate._rules.entries import Entry


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
    cells_key: ClassVar[str] = "of"
    same_tube: ClassVar[bool] = True
    """Whether the reference may be cells of the same tube."""
    reference_label: ClassVar[str] = "reference"
    sample: str | None = None
    role: str | None = None
    quantile: float = setting(0.99, share, always_written=True)

    @classmethod
    def read_fields(cls, entry: Entry) -> dict[str, Any]:
        """Read the quantile, and which cells it is taken of."""
        fields = super().read_fields(entry)
        forms = "{sample: TUBE} or {role: ROLE}"
        forms += " or {in: POPULATION, gate: [TERMS]}" if cls.same_tube else ""
        if cls.cells_key not in entry.value:
            entry.note(f"rule {cls.kind} needs  {cls.cells_key}: {forms}  to say which cells it looks at")
            return fields
        cells = entry.child(cls.cells_key)
        if not cells.is_mapping(("sample", "role", *(("in", "gate") if cls.same_tube else ()))):
            return fields
        stated = [key for key in ("sample", "role", "in") if cells.value.get(key) not in (None, "")]
        if len(stated) != 1:
            cells.note(f"{cells.name} is {cells.value!r}; it must be one of {forms}")
        elif "gate" in cells.value and "in" not in cells.value:
            cells.note(f"{cells.name} is {cells.value!r}; a gate goes with  in: POPULATION")
        elif stated == ["in"]:
            fields |= population_and_gate(cells)
        else:
            fields |= {stated[0]: cells.take(stated[0], name, None)}
        return fields

    def plain_cells(self) -> dict[str, Any]:
        """Return which other cells the rule looks at, as plain values for YAML."""
        tubes = {"sample": self.sample, "role": self.role}
        return super().plain_cells() | {key: value for key, value in tubes.items() if value is not None}

    @property
    def named_tube(self) -> str | None:
        """The control tube that it calls by its name."""
        return self.sample

    @property
    def named_role(self) -> str | None:
        """The role of the control tubes without which it finds nothing."""
        return self.role

    def reference_text(self) -> str:
        """Say which cells are meant."""
        if self.sample is not None:
            return f"tube {self.sample}"
        return f"tubes of role {self.role}" if self.role is not None else self.cells_text()

    def reference_tubes(self, given: RuleInput) -> dict[str, NDArray[Any]]:
        """Return the cells it looks at, by tube, or by what they are called where they are of the same tube."""
        if self.sample is None and self.role is None:
            own = self.reference_values(given)
            return {} if own is None else {self.cells_text(): own}
        if self.sample is None:
            tubes, which = given.unnamed_controls(), f"tube of role {self.role!r}"
        else:
            tubes = {tube: values for tube, values in given.controls.items() if tube == self.sample}
            which = f"tube {self.sample!r}"
        if not tubes:
            raise RuleFoundNothing(f"there is no {which} among the control tubes")
        return tubes

    def find(self, given: RuleInput) -> RuleResult:
        """Return the quantile of the reference cells."""
        tubes = self.reference_tubes(given)
        rate = 1.0 - self.quantile
        found = TubeQuantiles.of(tubes, rate, self.min_cells)
        if not found.quantiles:
            counts = ", ".join(f"{values.size:,} in {tube}" for tube, values in tubes.items())
            raise RuleFoundNothing(
                f"the {self.reference_label} has too few cells ({counts or 'none'}; {self.min_cells:,} are needed, "
                f"and {NEEDED_ABOVE_ZERO} of them above 0 for a quantile far out)"
            )
        source = found.highest()
        quantile, cells = found.quantiles[source], tubes[source]
        notes = [f"quantile {self.quantile:g} of {source}", *would_give(found.quantiles, source)]
        if quantile.extrapolated:
            notes.append(f"tail of {cells.size:,} cells extrapolated to {rate:.2g}")
        return RuleResult(
            quantile.value,
            None,
            "; ".join(notes),
            found_in=source,
            n_cells=int(cells.size),
            resample=found.resample,
            rate=rate,
            rate_at=quantile.rate_at,
        )

    def alternatives(self) -> Iterator[tuple[str, Rule]]:
        """Walk through the quantiles that half and twice the share of the cells exceed."""
        yield self.label, self
        for factor in (0.5, 2.0):
            quantile = 1.0 - (1.0 - self.quantile) * factor
            if 0.0 < quantile < 1.0:
                yield f"{self.kind} {quantile:.4g}", replace(self, quantile=quantile)

    def details(self) -> str:
        """Say which quantile of which cells."""
        return f" {self.quantile:g} of {self.reference_text()}"


RULE = Quantile
