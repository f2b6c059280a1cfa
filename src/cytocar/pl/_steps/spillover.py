"""The spillover matrix as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.errors import ParameterError
from cytocar.pl._page import fitted_text, style
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.patches import Rectangle
    from numpy.typing import NDArray

    from cytocar.pp import Spillover

# Percent at the ends of the colours; less than the lower end cannot be distinguished from the error of counting.
_LOWEST: Final = 0.01
_HIGHEST: Final = 10.0
_LARGEST: Final = 12
# A number of three signs at 6 points is 4 mm wide.
_ROOM_FOR_NUMBER: Final = 4.6


@style.styled
def spillover(spillover: Spillover) -> Figure:
    """Draw the spillover matrix in percent: rows emit, columns receive, and a list of the largest pairs.

    Channels stand by mass. Colours are logarithmic from 0.01 to 10 %; white is 0, grey rows were never measured.
    Numbers stand in the cells where these are large enough.

    Parameters
    ----------
    spillover
        The matrix, such as `cytocar.pp.read_spillover` gives it.

    Returns
    -------
    Figure with the Axes ``matrix`` and ``scale``.

    Raises
    ------
    ParameterError
        `spillover` is not a `Spillover`.

    Examples
    --------
    >>> import cytocar as cc
    >>> spill = cc.pp.Spillover(("Yb171Di", "Yb172Di"), [[1, 0.04], [0.01, 1]])
    >>> [axes.get_label() for axes in cc.pl.spillover(spill).axes]
    ['matrix', 'scale']
    """
    if not (hasattr(spillover, "matrix") and hasattr(spillover, "isotopes")):
        raise ParameterError(
            f"a {type(spillover).__name__} was given",
            fix="read or estimate a matrix with cytocar.pp.read_spillover or cytocar.pp.estimate_spillover",
        )
    return _draw(arrange(spillover))


@dataclass(frozen=True)
class Pairs:
    """A spillover matrix by mass."""

    names: list[str]
    percent: NDArray[np.float64]
    """Emitting x receiving channels, 0 on the diagonal."""
    measured: NDArray[np.bool_]
    """Which channels were measured as emitters."""

    def largest(self, most: int) -> list[str]:
        """Return the pairs with the largest spillover, each as a line of text."""
        n = len(self.names)
        positions = np.argsort(-self.percent, axis=None, kind="stable")[:most]
        pairs = [(int(at) // n, int(at) % n) for at in positions if self.percent.flat[at] > 0]
        return [f"{self.names[i]} into {self.names[j]}  {_percent(self.percent[i, j])} %" for i, j in pairs]


def arrange(spillover: Spillover) -> Pairs:
    """Arrange a matrix by mass, whatever the order of the panel: neighbours and oxides then stand in lines."""
    order = sorted(range(len(spillover)), key=lambda position: spillover.isotopes[position].mass)
    isotopes = [spillover.isotopes[position] for position in order]
    percent = 100 * np.array(spillover.matrix)[np.ix_(order, order)]
    np.fill_diagonal(percent, 0.0)
    return Pairs(
        [f"{isotope.mass}{isotope.symbol}" for isotope in isotopes],
        percent,
        np.array(spillover.measured, dtype=bool)[order],
    )


def _draw(pairs: Pairs) -> Figure:
    n = len(pairs.names)
    head = max(map(fitted_text.width_mm, pairs.names)) + 2.5
    left, tail, top = head + 6.0, 33.0, 7.0
    cell = min((style.WIDTH_MM - left - tail) / n, 7.0)
    side = max(cell * n, 20.0)
    sheet = Sheet(top + head + max(side, 46.0) + 14.0)
    image = _draw_matrix(sheet.axes(Box(left, top + head, side, side), label="matrix"), pairs, cell)
    sheet.text(
        2,
        1.5,
        f"Spillover: {n} channels, {int(pairs.measured.sum())} measured, % of the emitted signal",
        size=style.TITLE,
    )
    beside = left + side + 2
    sheet.text(beside, top + head, "largest", size=style.FONT)
    for number, line in enumerate(pairs.largest(_LARGEST), start=1):
        sheet.text(beside, top + head + 3.4 * number, line, size=style.SMALL)
    bar = sheet.axes(Box(left, top + head + max(side, 46.0) + 5.5, 40, 2.0), label="scale")
    sheet.figure.colorbar(image, cax=bar, orientation="horizontal", ticks=[0.01, 0.1, 1, 10])
    bar.set_xticklabels(["0.01", "0.1", "1", "10 %"])
    bar.tick_params(labelsize=style.SMALL, length=1.5)
    if not pairs.measured.all():
        sheet.text(left + 46, top + head + max(side, 46.0) + 5.5, "grey: never measured", size=style.SMALL)
    return sheet.figure


def _draw_matrix(axes: Axes, pairs: Pairs, cell: float) -> AxesImage:
    """Draw the matrix; numbers stand in its cells where these are large enough, `cell` being their side in mm."""
    from matplotlib.colors import LogNorm, to_hex

    n = len(pairs.names)
    shown = np.ma.masked_less(pairs.percent, _LOWEST)
    norm = LogNorm(_LOWEST, _HIGHEST, clip=True)
    image = axes.imshow(shown, cmap=style.expression_map(), norm=norm, aspect="auto", interpolation="nearest")
    for row in np.flatnonzero(~pairs.measured):
        axes.axhspan(row - 0.5, row + 0.5, color=style.FAINTEST, linewidth=0, zorder=0.5)
    for position in range(n):
        axes.add_patch(_square(position))
    every = max(1, int(np.ceil((fitted_text.height_mm(style.SMALL) + 0.05) / cell)))
    ticks = range(0, n, every)
    axes.set_xticks(ticks, pairs.names[::every], rotation=90)
    axes.set_yticks(ticks, pairs.names[::every])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=1.5, labelsize=style.SMALL)
    axes.set_xticks(np.arange(0.5, n - 1), minor=True)
    axes.set_yticks(np.arange(0.5, n - 1), minor=True)
    axes.grid(which="minor", color=style.PALE, linewidth=0.3)
    axes.tick_params(which="minor", length=0)
    axes.set_ylabel("emits", size=style.FONT)
    axes.set_xlabel("receives", size=style.FONT)
    if cell >= _ROOM_FOR_NUMBER:
        for row, column in np.argwhere(pairs.percent >= _LOWEST):
            value = pairs.percent[row, column]
            ink = style.ink_on(to_hex(image.cmap(norm(value))))
            axes.text(column, row, _percent(value), ha="center", va="center", size=style.SMALL, color=ink)
    return image


def _square(position: int) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle((position - 0.5, position - 0.5), 1, 1, color=style.SOFT, linewidth=0)


def _percent(value: float) -> str:
    """Return percent with two digits: ``4.0``, ``0.43``, ``12``."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.095 else f"{value:.2f}"
