"""The rule `mixture`: where a cell is as likely negative as positive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cytocar.gate._rules.base import DRAWS, Rule, RuleFoundNothing, RuleInput, RuleResult, setting
from cytocar.gate._rules.entries import confidence

if TYPE_CHECKING:
    import numpy as np

    from cytocar.gate._rules.base import Floats


@dataclass(frozen=True)
class Mixture(Rule):
    """Where a cell is as likely negative as positive, by two humps fitted to the cells; needs no valley."""

    kind: ClassVar[str] = "mixture"
    tried_for_all: ClassVar[bool] = True
    min_confidence: float = setting(0.75, confidence)

    def find(self, given: RuleInput) -> RuleResult:
        """Return where the two humps cross."""
        from cytocar.gate._rules.kernels.two_humps import fit_mixture, resampled_mixture

        self.require_cells(given.values)
        fitted = fit_mixture(given.values)
        if fitted is None:
            raise RuleFoundNothing("one hump describes the cells as well as two")

        def resample(rng: np.random.Generator) -> Floats:
            return resampled_mixture(fitted, rng, DRAWS, min_confidence=self.min_confidence)

        result = RuleResult(fitted.value, fitted.confidence, resample=resample)
        return result.at_least(self.min_confidence, "the border of two humps")


RULE = Mixture
