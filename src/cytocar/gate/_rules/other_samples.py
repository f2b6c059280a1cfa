"""The rule `other_samples`: what the rest of the study has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cytocar.gate._rules.base import Rule, RuleFoundNothing, RuleInput, RuleResult

NEAR = 0.5
"""Numbers of other samples within this of their median, in arcsinh units, agree with it."""


@dataclass(frozen=True)
class OtherSamples(Rule):
    """The median of what was found in the other samples of the study; for tubes with too few cells."""

    kind: ClassVar[str] = "other_samples"
    needs_others: ClassVar[bool] = True

    def find(self, given: RuleInput) -> RuleResult:
        """Return the median of the other samples."""
        if not given.others:
            raise RuleFoundNothing("no other sample has a number of its own")
        numbers = np.asarray(given.others, dtype=np.float64)
        value = float(np.median(numbers))
        return RuleResult(
            value,
            # What a further sample would do is never sure: as if one more had been seen that does not agree.
            int(np.count_nonzero(np.abs(numbers - value) <= NEAR)) / (numbers.size + 1),
            f"median of {numbers.size} other samples",
            resample=lambda _: numbers,
        )


RULE = OtherSamples
