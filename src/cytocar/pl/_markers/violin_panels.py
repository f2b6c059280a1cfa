"""Panels of violins: densities, medians and quartiles, single cells where there are few, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """One distribution: where it stands, which side of the middle it fills (0: both), and its colour.

    Values that were not measured (NaN) are left out, and not counted.
    """

    position: int
    values: NDArray[np.float32]
    colour: str
    side: int = 0

    def __post_init__(self) -> None:
        known = np.isfinite(self.values)
        if not known.all():
            object.__setattr__(self, "values", self.values[known])


def _outline(
    position: int, y: NDArray[np.float64], width: NDArray[np.float64], side: int
) -> NDArray[np.float64]:
    """Return the corners of a violin, or of the half of it on one side of the middle."""
    if side:
        curve = np.column_stack([position + side * width, y])
        return np.concatenate([[[position, y[0]]], curve, [[position, y[-1]]]])
    return np.column_stack(
        [np.concatenate([position - width, (position + width)[::-1]]), np.concatenate([y, y[::-1]])]
    )


def _draw_violins(axes: Axes, violins: Sequence[Violin], mark: float) -> None:
    """Draw densities of equal width; median as a dot, quartiles as a bar; points where there are few cells."""
    from matplotlib.collections import LineCollection, PolyCollection

    outlines, faces, bars, medians = [], [], [], []
    for violin in violins:
        middle = violin.position + violin.side * (0.03 if len(violin.values) >= FEW else 0.2)
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
        outlines.append(_outline(violin.position, y, width, violin.side))
        faces.append(violin.colour)
        low, median, high = np.quantile(violin.values, [0.25, 0.5, 0.75])
        x = violin.position + violin.side * 0.07
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
    by_group: dict[int, list[int]] = {position: [] for position in range(len(panel.names))}
    for violin in sorted(panel.violins, key=lambda v: (v.position, v.side)):
        by_group[violin.position].append(len(violin.values))
    slot = width_mm / len(panel.names)
    counts = [n for of_group in by_group.values() for n in of_group]
    how: dict[str, Any] = {
        "size": style.SMALL,
        "color": style.SOFT,
        "va": "top",
        "textcoords": "offset points",
    }
    if slot >= max(fitted_text.width_mm(fitted_text.count(n), style.SMALL) for n in counts) + 0.5:
        for position, of_group in by_group.items():
            text = "\n".join(
                f"n = {fitted_text.count(n)}" if spelt else fitted_text.count(n) for n in of_group
            )
            axes.annotate(
                text, (position, 1), xycoords=("data", "axes fraction"), xytext=(0, -1), ha="center",
                linespacing=1.0, **how,
            )  # fmt: skip
    else:
        axes.annotate(
            f"{fitted_text.n_range(counts)} per violin",
            (1, 1),
            xycoords="axes fraction",
            xytext=(-2, -1),
            ha="right",
            **how,
        )


@dataclass(frozen=True)
class Looks:
    """What stands beside, above and below the panels."""

    value_label: str
    note: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)
    """Colours of the two sides of a violin."""
    column_titles: tuple[str, ...] = ()
    group_label: str = ""


@dataclass(frozen=True)
class _Layout:
    """Measures of a page of panels in millimetres."""

    columns: int
    rows: int
    height: float
    slot: float
    """Room of one violin."""
    names: list[str]
    turned: bool
    """Whether the names of groups are written upwards."""
    gap_y: float
    top: float
    foot: float
    counted: float
    """Share of a panel that the counts take."""

    left = 15.0
    gap_x = 5.0
    head = 5.0

    @property
    def panels_height(self) -> float:
        return self.rows * self.height + (self.rows - 1) * self.gap_y

    @property
    def every(self) -> int:
        """1, 2, 3 ...: which of turned names can be written without touching each other."""
        if not self.turned:
            return 1
        return max(1, int(np.ceil((fitted_text.height_mm() + 0.2) / self.slot)))


def _layout(panels: Sequence[Panel], columns: int, looks: Looks) -> _Layout:
    names = [fitted_text.label(name, 14) for name in panels[0].names]
    lines = 2 if any(violin.side for violin in panels[0].violins) else 1
    rows = rows_of(len(panels), columns)
    width = (style.WIDTH_MM - _Layout.left - 2 - _Layout.gap_x * (columns - 1)) / columns
    slot = min(width / max(len(names), 1), _WIDEST_SLOT)
    widest = max(map(fitted_text.width_mm, names))
    turned = widest > slot - 0.5
    height = (21.0 if rows > 2 else 30.0) + 2.0 * (lines - 1)
    return _Layout(
        columns,
        rows,
        height,
        slot,
        names,
        turned,
        gap_y=2.5 if looks.column_titles else 6.5,
        top=5.0 if looks.legend or looks.note else 1.0,
        foot=(widest if turned else fitted_text.height_mm()) + 3.0 + (4.0 if looks.group_label else 0.0),
        counted=(1.0 + 2.6 * lines) / height,
    )


def value_limits(panels: Sequence[Panel]) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest value drawn of each marker that any violin is drawn of.

    One cell in thousands must not squeeze all violins: the highest is the 99.8th percentile.
    """
    limits: dict[str, tuple[float, float]] = {}
    for panel in panels:
        for violin in panel.violins:
            if len(violin.values) >= LEAST:
                low, high = limits.get(panel.marker, (np.inf, -np.inf))
                limits[panel.marker] = (
                    min(low, float(violin.values.min())),
                    max(high, float(np.quantile(violin.values, 0.998, method="higher"))),
                )
    return limits


def lay_out(panels: Sequence[Panel], columns: int, looks: Looks) -> Figure:
    """Place panels in rows; panels of one marker share their value axis."""
    page = _layout(panels, columns, looks)
    sheet = Sheet(page.top + page.head + page.panels_height + page.foot)
    boxes = grid(
        len(panels), columns=columns, left=page.left, top=page.top + page.head, width=style.WIDTH_MM - page.left - 2,
        height=page.height, gap_x=page.gap_x, gap_y=page.gap_y,
    )  # fmt: skip
    limits = value_limits(panels)
    largest = max(len(violin.values) for panel in panels for violin in panel.violins)
    spelt = page.slot >= fitted_text.width_mm(f"n = {fitted_text.count(largest)}", style.SMALL) + 0.3
    mark = float(np.clip(page.slot / 5.0, 0.45, 1.0))
    for position, (panel, box) in enumerate(zip(panels, boxes, strict=True)):
        axes = sheet.axes(box, label=f"{panel.marker} {panel.title}".strip())
        _set_limits(axes, page, limits.get(panel.marker, (0.0, 1.0)), box.width)
        _draw_violins(axes, panel.violins, mark)
        _write_counts(axes, panel, box.width, spelt=spelt)
        _name_groups(axes, page, looks.group_label, lowest=position + columns >= len(panels))
        few_ticks(axes, 4, whole=True)
        if looks.column_titles:
            _name_row_and_column(axes, panel, looks.column_titles, divmod(position, columns))
        else:
            axes.set_title(panel.title or fitted_text.label(panel.marker, 18))
    middle = page.top + page.head + page.panels_height / 2
    sheet.text(1.5, middle, looks.value_label, rotation=90, va="center")
    _key(sheet, page.left, looks)
    return sheet.figure


def _set_limits(axes: Axes, page: _Layout, limits: tuple[float, float], width_mm: float) -> None:
    low, high = limits
    span = max(high - low, 1.0)
    half_width = max(len(page.names), width_mm / _WIDEST_SLOT) / 2 + 0.05
    middle = (len(page.names) - 1) / 2
    axes.set_xlim(middle - half_width, middle + half_width)
    axes.set(ylim=(low - 0.04 * span, low + 1.04 * span / (1 - page.counted)))


def _name_groups(axes: Axes, page: _Layout, group_label: str, *, lowest: bool) -> None:
    """Put ticks at the groups; only the lowest panels of a page name them."""
    written = page.names[:: page.every]
    axes.set_xticks(range(0, len(page.names), page.every), written if lowest else [""] * len(written))
    if lowest and page.turned:
        axes.tick_params(axis="x", rotation=90)
    if lowest and group_label:
        axes.set_xlabel(fitted_text.label(group_label))


def _name_row_and_column(axes: Axes, panel: Panel, titles: Sequence[str], at: tuple[int, int]) -> None:
    row, column = at
    if row == 0:
        axes.set_title(titles[column])
    if column == 0:
        axes.set_ylabel(fitted_text.label(panel.marker, 14), size=style.TITLE)
    else:
        axes.set_yticklabels([])


def _key(sheet: Sheet, left: float, looks: Looks) -> None:
    from matplotlib.patches import Patch

    reach = left
    if looks.legend:
        names = [fitted_text.label(name, 16) for name in looks.legend]
        handles = [Patch(color=colour, linewidth=0) for colour in looks.legend.values()]
        sheet.legend(left, 1.2, handles, names, ncols=len(names))
        reach += sum(fitted_text.width_mm(name) + 9 for name in names) + 3
    if looks.note:
        sheet.text(reach, 1.4, looks.note, size=style.SMALL, color=style.SOFT)


NOTE = f"number: cells; dot: median; bar: quartiles; below {FEW} cells: each cell; below {LEAST}: none drawn"
