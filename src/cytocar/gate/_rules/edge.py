"""What the limits of a single hump share: a line through its outer percentiles, carried on to a rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cytocar.gate._rules.base import DRAWS, Rule, RuleInput, RuleResult


@dataclass(frozen=True)
class EdgeRule(Rule):
    """The value beyond which a share `rate` of a single hump lies, on the side `limit_of_hump`."""

    limit_of_hump: ClassVar[int] = 1
    rate: float = 0.0

    def find(self, given: RuleInput) -> RuleResult:
        """Return the limit of the hump."""
        from cytocar.gate._rules.kernels.pareto_spread import resampled_edge
        from cytocar.gate._rules.kernels.pareto_tail import EDGE, edge_quantile

        self.require_cells(given.values)
        sign = float(self.limit_of_hump)
        values = given.values if sign > 0 else -given.values
        value = edge_quantile(values, self.rate)
        inner, outer = (float(q) for q in np.quantile(np.asarray(values, dtype=np.float64), EDGE))
        per_unit = np.log((1.0 - EDGE[0]) / (1.0 - EDGE[1])) / max(outer - inner, 1e-9)

        def rate_at(number: float) -> float:
            return float(self.rate * np.exp((value - sign * number) * per_unit))

        return RuleResult(
            sign * value,
            resample=lambda rng: sign * resampled_edge(values, self.rate, rng, DRAWS),
            rate=self.rate,
            rate_at=rate_at,
        )

    def details(self) -> str:
        """Say which share may lie beyond it."""
        return f" at {self.rate:g}"
