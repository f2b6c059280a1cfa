"""A page measured in millimetres, on which panels are placed without asking a renderer for sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cytocar.pl._page import style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend
    from matplotlib.text import Text

_MM_PER_INCH = 25.4


@dataclass(frozen=True)
class Box:
    """A place on a page in millimetres, `top` counted from the upper edge."""

    left: float
    top: float
    width: float
    height: float


class Sheet:
    """A figure of a width and height in millimetres.

    Parameters
    ----------
    height
        Height in millimetres.
    width
        Width in millimetres; a printed page leaves 180.
    """

    def __init__(self, height: float, width: float = style.WIDTH_MM) -> None:
        from cytocar.pl._page.picture import Picture

        self.width = width
        self.height = height
        self.figure = Picture(figsize=(width / _MM_PER_INCH, height / _MM_PER_INCH), dpi=style.DPI)

    def axes(self, box: Box, **kwargs: Any) -> Axes:
        """Add a panel."""
        bottom = self.height - box.top - box.height
        axes = self.figure.add_axes(
            (box.left / self.width, bottom / self.height, box.width / self.width, box.height / self.height),
            **kwargs,
        )
        dress(axes)
        return axes

    def text(self, left: float, top: float, text: str, **kwargs: Any) -> Text:
        """Write a text whose upper left corner is at a place in millimetres."""
        kwargs = {"ha": "left", "va": "top", **kwargs}
        return self.figure.text(left / self.width, 1 - top / self.height, text, **kwargs)

    def legend(
        self, left: float, top: float, handles: Sequence[Artist], labels: Sequence[str], **kwargs: Any
    ) -> Legend:
        """Place a legend by its upper left corner."""
        kwargs = {"loc": "upper left", "alignment": "left", **kwargs}
        return self.figure.legend(
            list(handles), list(labels), bbox_to_anchor=(left / self.width, 1 - top / self.height), **kwargs
        )


def dress(axes: Axes) -> None:
    """Fix the look of ticks now: matplotlib makes them when it draws, under whatever settings hold then."""
    axes.tick_params(which="major", labelsize=style.FONT, length=2.0, width=0.6, pad=2.0, color=style.INK)
    axes.tick_params(which="minor", labelsize=style.FONT, length=1.2, width=0.4, color=style.INK)


def few_ticks(axes: Axes, most: int, *, whole: bool = False) -> None:
    """Put no more than `most` intervals between ticks on the value axis."""
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=most, integer=whole))


def bare(axes: Axes) -> None:
    """Take away ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_frame_on(False)


def grid(
    n: int,
    *,
    columns: int,
    left: float,
    top: float,
    width: float,
    height: float,
    gap_x: float,
    gap_y: float,
) -> list[Box]:
    """Return the places of `n` panels, row by row, in `columns` columns that share `width`.

    Parameters
    ----------
    n
        Number of panels.
    columns
        Panels in a row.
    left, top
        Corner of the first panel, in millimetres.
    width
        Width of a whole row with the gaps between its panels.
    height
        Height of one panel.
    gap_x, gap_y
        Space between panels.
    """
    panel = (width - gap_x * (columns - 1)) / columns
    return [
        Box(left + (i % columns) * (panel + gap_x), top + (i // columns) * (height + gap_y), panel, height)
        for i in range(n)
    ]


def rows_of(n: int, columns: int) -> int:
    """Return how many rows `n` panels need.

    Examples
    --------
    >>> rows_of(5, 3)
    2
    """
    return -(-n // columns)
