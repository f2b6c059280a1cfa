"""The settings of `cytocar.tl.compare`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np

from cytocar._core import checks
from cytocar._core.errors import ParameterError
from cytocar._core.seeds import generator
from cytocar.tl._markers.groups import Bootstrap


@dataclass(frozen=True)
class Settings:
    """The numbers that `compare` was called with."""

    margin: float
    staining_sd: float
    min_cells: int
    level: float
    p_values: bool
    n_boot: int
    seed: int
    false_cells: Mapping[tuple[str, str, str], float | tuple[float, float]] | None = None

    def false(self, patient: str, label: str, subset: str) -> tuple[float, float]:
        """Return how many false cells are expected in a group, and the most that may be."""
        stated = (self.false_cells or {}).get((patient, label, subset), 0.0)
        expected, most = stated if isinstance(stated, tuple) else (stated, stated)
        return float(expected), float(max(expected, most))

    def check(self) -> None:
        """Raise `ParameterError` on the first number outside its domain."""
        for name, value in (("margin", self.margin), ("staining_sd", self.staining_sd)):
            if not (np.isfinite(value) and value >= 0):
                raise ParameterError(
                    f"{name} is {value!r}", fix="it must be a number of at least 0, in arcsinh units"
                )
        if self.min_cells < 2:
            raise ParameterError(
                f"min_cells is {self.min_cells!r}", fix="an interval needs at least 2 cells per group"
            )
        checks.proportion(self.level, "level")
        if self.n_boot < 100:
            raise ParameterError(f"n_boot is {self.n_boot!r}", fix="an interval needs at least 100 draws")
        for group, stated in (self.false_cells or {}).items():
            values = stated if isinstance(stated, tuple) else (stated,)
            usable = [isinstance(value, Real) and 0 <= float(value) < np.inf for value in values]
            if len(values) not in (1, 2) or not all(usable):
                raise ParameterError(
                    f"false_cells has {stated!r} for {' '.join(group)}",
                    fix="it must be a number of cells of at least 0, or the pair (expected, at most)",
                )

    def bootstrap(self, *task: str) -> Bootstrap:
        """Return how the medians of a task are drawn; its draws depend on no other task."""
        return Bootstrap(self.level, self.n_boot, generator(self.seed, *task))
