"""The rule `lower_limit_of_positives`: for markers where nearly all cells are positive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cytocar.gate._rules.base import setting
from cytocar.gate._rules.edge import EdgeRule
from cytocar.gate._rules.entries import share_of_few


@dataclass(frozen=True)
class LowerLimit(EdgeRule):
    """Where nearly all cells are positive: the value below which a share `rate` of the positives lies."""

    kind: ClassVar[str] = "lower_limit_of_positives"
    limit_of_hump: ClassVar[int] = -1
    rate: float = setting(1e-4, share_of_few)


RULE = LowerLimit
