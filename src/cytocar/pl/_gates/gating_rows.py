"""Biaxials of a run: one row per sample, one column per biaxial, with the gates of each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cytocar.pl._gates.biaxial import LINE
from cytocar.pl._page import fitted_text, style
from cytocar.pl._page.sheet import Box, Sheet, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cytocar.pl._gates.run_page import Biaxial, RunPage, SampleRow

_PANELS_PER_ROW = 8
_TICKS = (0, 2, 4, 6, 8)


def draw_rows(
    page: RunPage,
    note: str,
    *,
    over: Callable[[Axes, str, Biaxial], None] | None = None,
    heading: Callable[[Biaxial, SampleRow, float], str] | None = None,
) -> Figure:
    """Draw the biaxials of a page of samples; with `over`, in grey, and what that draws on top of each panel.

    Parameters
    ----------
    page
        What is drawn.
    note
        What stands above the page.
    over
        Called with the panel, the sample and the biaxial.
    heading
        Called with the biaxial, the sample and the width of a panel in mm; gives what stands above the panel.
    """
    heading = _heading if heading is None else heading
    n = len(page.biaxials)
    columns = min(n, _PANELS_PER_ROW)
    lines = rows_of(n, columns)
    tag, left, gap_x = 6.0, 13.0, 4.6
    side = min((style.WIDTH_MM - left - 4 - gap_x * (columns - 1)) / columns, 30.0)
    head, foot, top = 11.0, 6.5, 6.5
    line_height = head + side + foot
    sheet = Sheet(top + len(page.rows) * lines * line_height + 3)
    sheet.text(
        left, 1.0, f"Gates: {_which_samples(page)}arcsinh units; {note}", size=style.SMALL, color=style.SOFT
    )
    for position, row in enumerate(page.rows):
        down = top + position * lines * line_height
        sheet.text(
            tag / 2,
            down + (lines * line_height - foot) / 2,
            fitted_text.label(row.sample, 20),
            rotation=90,
            va="center",
            ha="center",
            size=style.TITLE,
        )
        for number, biaxial in enumerate(page.biaxials):
            line, column = divmod(number, columns)
            box = Box(left + column * (side + gap_x), down + line * line_height + head, side, side)
            axes = sheet.axes(box, label=f"{row.sample} {biaxial.plot}")
            _panel(axes, biaxial, row, grey=over is not None)
            if over is not None:
                over(axes, row.sample, biaxial)
            _number_ticks(axes, x=lines > 1 or position == len(page.rows) - 1, y=column == 0)
            axes.set_title(heading(biaxial, row, side), size=style.SMALL, pad=2, linespacing=1.1)
    return sheet.figure


def _which_samples(page: RunPage) -> str:
    """Return which samples of how many are on the page, where there are several pages."""
    first, n = page.page.first, len(page.page.samples)
    return f"samples {first} to {first + n - 1} of {page.page.of}, " if page.page.pages > 1 else ""


def _number_ticks(axes: Axes, *, x: bool, y: bool) -> None:
    """Write numbers at the ticks of an axis at the edge of the page."""
    if x:
        axes.set_xticks(axes.get_xticks(), [f"{tick:g}" for tick in axes.get_xticks()], size=style.SMALL)
    if y:
        axes.set_yticks(axes.get_yticks(), [f"{tick:g}" for tick in axes.get_yticks()], size=style.SMALL)


def _panel(axes: Axes, biaxial: Biaxial, row: SampleRow, *, grey: bool) -> None:
    from matplotlib.colors import LogNorm

    low, high = biaxial.low, biaxial.high
    axes.imshow(
        np.ma.masked_invalid(biaxial.image(row.bins[biaxial.plot])), origin="lower", extent=(low, high, low, high),
        aspect="auto", norm=LogNorm(0.2 if grey else 1, max(biaxial.most, 2) * (4 if grey else 1)),
        cmap=style.BACKGROUND_MAP if grey else style.DENSITY_MAP, interpolation="nearest",
    )  # fmt: skip
    axes.set(xlim=(low, high), ylim=(low, high))
    for path in row.gates[biaxial.plot]:
        axes.plot(path[:, 0], path[:, 1], color=style.INK if grey else LINE, linewidth=0.8, label="gate")
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [])
    axes.set_yticks(ticks, [])
    axes.set_xlabel(fitted_text.label(biaxial.x, 12), size=style.SMALL, labelpad=1)
    axes.set_ylabel(fitted_text.label(biaxial.y, 12), size=style.SMALL, labelpad=1)


def _heading(biaxial: Biaxial, row: SampleRow, side: float) -> str:
    """Return what stands above a panel: the cells drawn, their number, and the share of each population."""
    whole = row.counts.get(biaxial.parent, 0.0)
    few = len(biaxial.goes_on) <= 2
    shares = []
    for name in biaxial.goes_on:
        short = name.removeprefix(biaxial.parent).strip() or name
        percent = 100 * row.counts.get(name, 0.0) / whole if whole else float("nan")
        share = f"{fitted_text.percent(percent)} %" if few else fitted_text.tenth(percent)
        room = (
            side / (1 if few else 2) - fitted_text.width_mm(f" {share}", style.SMALL) + (3.0 if few else 2.0)
        )
        shares.append(f"{fitted_text.fit(short, room, style.SMALL)} {share}")
    if not few:
        shares = [" ".join(shares[:2]), " ".join(shares[2:]) + " %"]
    return "\n".join(
        [fitted_text.fit(biaxial.parent, side, style.SMALL), f"n = {fitted_text.count(whole)}", *shares]
    )
