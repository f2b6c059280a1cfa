"""The rule `fmo`: by a tube that lacks the antibody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cytocar.gate._rules.base import setting
from cytocar.gate._rules.entries import share
from cytocar.gate._rules.quantile import Quantile


@dataclass(frozen=True)
class Fmo(Quantile):
    """A quantile of the same population in a tube stained with everything but this marker (fluorescence minus one)."""

    kind: ClassVar[str] = "fmo"
    cells_key: ClassVar[str] = "fmo"
    same_tube: ClassVar[bool] = False
    reference_label: ClassVar[str] = "FMO tube"
    quantile: float = setting(0.995, share, always_written=True)


RULE = Fmo
