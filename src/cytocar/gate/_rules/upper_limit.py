"""The rule `upper_limit_of_negatives`: for markers where nearly all cells are negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cytocar.gate._rules.base import setting
from cytocar.gate._rules.edge import EdgeRule
from cytocar.gate._rules.entries import share_of_few


@dataclass(frozen=True)
class UpperLimit(EdgeRule):
    """Where nearly all cells are negative: the value that a share `rate` of the negatives exceeds."""

    kind: ClassVar[str] = "upper_limit_of_negatives"
    limit_of_hump: ClassVar[int] = 1
    rate: float = setting(0.005, share_of_few)


RULE = UpperLimit
