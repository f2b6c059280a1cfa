"""The rule `valley`: the lowest point between negative and positive cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cytocar.gate._rules.base import DRAWS, Rule, RuleFoundNothing, RuleInput, RuleResult, setting
from cytocar.gate._rules.entries import confidence

if TYPE_CHECKING:
    import numpy as np

    from cytocar.gate._rules.base import Floats


@dataclass(frozen=True)
class Valley(Rule):
    """The lowest point of the density between negative and positive cells, if it is a clear one."""

    kind: ClassVar[str] = "valley"
    tried_for_all: ClassVar[bool] = True
    min_confidence: float = setting(0.2, confidence)

    def find(self, given: RuleInput) -> RuleResult:
        """Return the clearest valley of the density."""
        from cytocar._core.density import find_valley
        from cytocar.gate._rules.kernels.valley_spread import resampled_valley

        self.require_cells(given.values)
        valley = find_valley(given.values, low=self.low, high=self.high)

        def resample(rng: np.random.Generator) -> Floats:
            return resampled_valley(
                given.values, rng, DRAWS, low=self.low, high=self.high, min_confidence=self.min_confidence
            )

        if valley is None:
            raise RuleFoundNothing(f"the density has no valley in the range {self.range_text()}", resample)
        result = RuleResult(valley.value, float(valley.confidence), resample=resample)
        return result.at_least(self.min_confidence, "the best valley")


RULE = Valley
