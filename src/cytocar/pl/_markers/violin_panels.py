"""Panels of violins: densities, medians and quartiles, single cells where there are few, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar.pl._page import fitted_text, style
from cytocar.pl._page.density import density
from cytocar.pl._page.sheet import Sheet, few_ticks, grid, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

FEW = 20
"""Fewer cells than this are drawn one by one."""

LEAST = 3
"""Fewer cells than this are only counted."""

_HALF = 0.42
_WIDEST_SLOT = 15.0
DENSE = 12  # more groups than this get broader panels and smaller marks


@dataclass(frozen=True)
class Violin:
    """One distribution: where it stands, which side of the middle it fills (0: both), and its colour."""

    place: int
    values: NDArray[np.float32]
    colour: str
    side: int = 0


def _outline(
    place: int, y: NDArray[np.float64], width: NDArray[np.float64], side: int
) -> NDArray[np.float64]:
    """Return the corners of a violin, or of the half of it on one side of the middle."""
    if side:
        curve = np.column_stack([place + side * width, y])
        return np.concatenate([[[place, y[0]]], curve, [[place, y[-1]]]])
    return np.column_stack(
        [np.concatenate([place - width, (place + width)[::-1]]), np.concatenate([y, y[::-1]])]
    )


def _draw_violins(axes: Axes, violins: Sequence[Violin], mark: float) -> None:
    """Draw densities of equal width; median as a dot, quartiles as a bar; points where there are few cells."""
    from matplotlib.collections import LineCollection, PolyCollection

    outlines, faces, bars, medians = [], [], [], []
    for violin in violins:
        middle = violin.place + violin.side * (0.03 if len(violin.values) >= FEW else 0.2)
        if len(violin.values) < LEAST:
            continue
        if len(violin.values) < FEW:
            spread = np.linspace(-1, 1, len(violin.values)) * (0.22 if violin.side == 0 else 0.12)
            spread = spread[np.random.default_rng(0).permutation(spread.size)]
            axes.scatter(
                middle + spread, violin.values, s=5 * mark**2, color=violin.colour, linewidths=0.3 * mark,
                edgecolors=style.INK, zorder=3, label="few cells",
            )  # fmt: skip
            continue
        y, width = density(violin.values, bins=96)
        width = _HALF * width / width.max()
        outlines.append(_outline(violin.place, y, width, violin.side))
        faces.append(violin.colour)
        low, median, high = np.quantile(violin.values, [0.25, 0.5, 0.75])
        x = violin.place + violin.side * 0.07
        bars.append([(x, low), (x, high)])
        medians.append((x, median))
    if outlines:
        axes.add_collection(
            PolyCollection(
                outlines, facecolors=faces, edgecolors=style.WHITE, linewidths=0.4, label="violins"
            )
        )
        axes.add_collection(
            LineCollection(bars, colors=style.INK, linewidths=1.1 * mark, zorder=3, label="quartiles")
        )
        x, y = np.array(medians).T
        axes.scatter(
            x,
            y,
            s=7 * mark**2,
            color=style.WHITE,
            edgecolors=style.INK,
            linewidths=0.6 * mark,
            zorder=4,
            label="medians",
        )


@dataclass(frozen=True)
class Panel:
    """One panel: a marker within a part of the cells."""

    title: str
    marker: str
    violins: tuple[Violin, ...]
    names: tuple[str, ...]


def _write_counts(axes: Axes, panel: Panel, width_mm: float, *, spelt: bool) -> None:
    """Write above each place how many cells it has, CAR-T over host where there are two; a range if too many."""
    by_place: dict[int, list[int]] = {place: [] for place in range(len(panel.names))}
    for violin in sorted(panel.violins, key=lambda v: (v.place, v.side)):
        by_place[violin.place].append(len(violin.values))
    slot = width_mm / len(panel.names)
    counts = [n for of_place in by_place.values() for n in of_place]
    how: dict[str, Any] = {
        "size": style.SMALL,
        "color": style.SOFT,
        "va": "top",
        "textcoords": "offset points",
    }
    if slot >= max(fitted_text.width_mm(fitted_text.count(n), style.SMALL) for n in counts) + 0.5:
        for place, of_place in by_place.items():
            text = "\n".join(
                f"n = {fitted_text.count(n)}" if spelt else fitted_text.count(n) for n in of_place
            )
            axes.annotate(
                text, (place, 1), xycoords=("data", "axes fraction"), xytext=(0, -1), ha="center",
                linespacing=1.0, **how,
            )  # fmt: skip
    else:
        axes.annotate(
            f"{fitted_text.n_range(counts)} a violin",
            (1, 1),
            xycoords="axes fraction",
            xytext=(-2, -1),
            ha="right",
            **how,
        )


def lay_out(
    panels: Sequence[Panel],
    *,
    columns: int,
    value_label: str,
    legend: Mapping[str, str] | None = None,
    note: str = "",
    column_titles: Sequence[str] = (),
    group_label: str = "",
) -> Figure:
    """Place panels in rows; panels of one marker share their value axis."""
    left, gap_x, head = 15.0, 5.0, 5.0
    gap_y = 2.5 if column_titles else 6.5
    top = 5.0 if legend or note else 1.0
    lines = 2 if any(violin.side for violin in panels[0].violins) else 1
    names = [fitted_text.label(name, 14) for name in panels[0].names]
    width = style.WIDTH_MM - left - 2
    slot = min((width - gap_x * (columns - 1)) / columns / max(len(names), 1), _WIDEST_SLOT)
    turned = max(map(fitted_text.width_mm, names)) > slot - 0.5
    foot = (
        (max(map(fitted_text.width_mm, names)) if turned else fitted_text.height_mm())
        + 3.0
        + (4.0 if group_label else 0.0)
    )
    height = (21.0 if rows_of(len(panels), columns) > 2 else 30.0) + 2.0 * (lines - 1)
    room = (1.0 + 2.6 * lines) / height  # share of a panel that the counts take
    rows = rows_of(len(panels), columns)
    boxes = grid(
        len(panels),
        columns=columns,
        left=left,
        top=top + head,
        width=width,
        height=height,
        gap_x=gap_x,
        gap_y=gap_y,
    )
    sheet = Sheet(top + head + rows * height + (rows - 1) * gap_y + foot)
    limits: dict[str, list[float]] = {}
    for panel in panels:
        for violin in panel.violins:
            if len(violin.values) >= LEAST:
                known = limits.setdefault(panel.marker, [np.inf, -np.inf])
                known[0] = min(known[0], float(violin.values.min()))
                # one cell in thousands must not squeeze all violins
                known[1] = max(known[1], float(np.quantile(violin.values, 0.998, method="higher")))
    every = _every(len(names), slot) if turned else 1
    largest = max(len(violin.values) for panel in panels for violin in panel.violins)
    spelt = slot >= fitted_text.width_mm(f"n = {fitted_text.count(largest)}", style.SMALL) + 0.3
    mark = float(np.clip(slot / 5.0, 0.45, 1.0))
    for place, (panel, box) in enumerate(zip(panels, boxes, strict=True)):
        column, row = place % columns, place // columns
        axes = sheet.axes(box, label=f"{panel.marker} {panel.title}".strip())
        low, high = limits.get(panel.marker, (0.0, 1.0))
        span = max(high - low, 1.0)
        half_width = max(len(names), box.width / _WIDEST_SLOT) / 2 + 0.05
        middle = (len(names) - 1) / 2
        axes.set_xlim(middle - half_width, middle + half_width)
        axes.set(ylim=(low - 0.04 * span, low + 1.04 * span / (1 - room)))
        _draw_violins(axes, panel.violins, mark)
        _write_counts(axes, panel, box.width, spelt=spelt)
        lowest = place + columns >= len(panels)
        axes.set_xticks(range(0, len(names), every), names[::every] if lowest else [""] * len(names[::every]))
        if lowest and turned:
            axes.tick_params(axis="x", rotation=90)
        if lowest and group_label:
            axes.set_xlabel(fitted_text.label(group_label))
        few_ticks(axes, 4, whole=True)
        if column_titles:
            if row == 0:
                axes.set_title(column_titles[column])
            if column == 0:
                axes.set_ylabel(fitted_text.label(panel.marker, 14), size=style.TITLE)
            else:
                axes.set_yticklabels([])
        else:
            axes.set_title(panel.title or fitted_text.label(panel.marker, 18))
    middle = top + head + (rows * height + (rows - 1) * gap_y) / 2
    sheet.text(1.5, middle, value_label, rotation=90, va="center")
    _key(sheet, left, legend, note)
    return sheet.figure


def _every(n: int, slot_mm: float) -> int:
    """Return 1, 2, 3 ...: which of n turned labels can be written without touching each other."""
    return max(1, int(np.ceil((fitted_text.height_mm() + 0.2) / slot_mm)))


def _key(sheet: Sheet, left: float, legend: Mapping[str, str] | None, note: str) -> None:
    from matplotlib.patches import Patch

    reach = left
    if legend:
        sheet.legend(
            left, 1.2, [Patch(color=colour, linewidth=0) for colour in legend.values()],
            [fitted_text.label(name, 16) for name in legend], ncols=len(legend),
        )  # fmt: skip
        reach += sum(fitted_text.width_mm(fitted_text.label(name, 16)) + 9 for name in legend) + 3
    if note:
        sheet.text(reach, 1.4, note, size=style.SMALL, color=style.SOFT)


NOTE = f"number: cells; dot: median; bar: quartiles; below {FEW} cells: each cell; below {LEAST}: none drawn"
