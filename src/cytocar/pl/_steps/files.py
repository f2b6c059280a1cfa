"""An axis on which files stand side by side, each in a slot of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar.pl._page import fitted_text, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

SPACE = 0.06
"""Share of a slot that stays empty between two files."""


@dataclass(frozen=True)
class FileAxis:
    """What stands below the files."""

    texts: Sequence[str]
    """One per file, in one or several lines."""
    slot: float
    """Width of a slot in millimetres."""

    @property
    def turned(self) -> bool:
        """Whether texts are written upwards, because they are wider than a slot."""
        return max(max(map(fitted_text.width_mm, text.split("\n"))) for text in self.texts) > self.slot - 0.8

    @property
    def height(self) -> float:
        """Height of the texts in millimetres."""
        if self.turned:
            return max(map(fitted_text.width_mm, self.texts)) + 2
        return fitted_text.height_mm() * (self.texts[0].count("\n") + 1) + 2

    def draw(self, axes: Axes, *, named: bool) -> None:
        """Set limits, ticks and borders between files; with `named`, write the texts."""
        axes.set_xlim(-SPACE, len(self.texts) + SPACE)
        every = max(1, int(np.ceil((fitted_text.height_mm() + 0.2) / self.slot))) if self.turned else 1
        ticks = np.arange(0, len(self.texts), every) + 0.5
        written = list(self.texts[::every]) if named else [""] * len(ticks)
        axes.set_xticks(ticks, written, rotation=90 if self.turned else 0)
        axes.tick_params(axis="x", length=0)
        for border in range(1, len(self.texts)):
            axes.axvline(border, color=style.PALE, linewidth=0.6, zorder=0)


def within(position: int, share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where shares of the length of a file (0 to 1) lie on the axis.

    Examples
    --------
    >>> within(2, np.array([0.0, 1.0])).round(2).tolist()
    [2.03, 2.97]
    """
    return position + SPACE / 2 + (1 - SPACE) * share
