"""Every threshold of gating on the density it was found in."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys, palette
from cytocar._core.errors import ParameterError
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Sheet, grid, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

FOUND, STATED, SECOND = style.INK, palette.BLUE, palette.VERMILION
"""Colours of a threshold that the first rule found, that was stated, that a fallback rule gave."""

_OVERLAP = 1.35
_RULES = {
    "lower_limit_of_positives": "below positives",
    "upper_limit_of_negatives": "above negatives",
    "negatives": "known negatives",
}
"""Rules in the words that fit beside a line; others are written as they are called."""


@style.styled
def thresholds(
    densities: pd.DataFrame, thresholds: pd.DataFrame, *, names: Sequence[str] | None = None
) -> Figure:
    """Draw the density behind every threshold, one panel per threshold, one ridge per sample, with its line.

    Beside the line stand the rule and, where the rule has one, its confidence (0 to 1). Lines of stated (pinned)
    numbers and of fallback rules have their own colour and a mark.

    Parameters
    ----------
    densities
        `sample_id`, `name`, `marker`, `x` (arcsinh units), `density`, as `cytocar.gate.densities` returns them.
    thresholds
        `sample_id`, `name`, `value`, `rule`, `confidence`, `n_cells`, `pinned` and, where available, `fallback`, as
        `cytocar.gate.thresholds` returns them.
    names
        Which thresholds; default all, in the order of the table.

    Returns
    -------
    Figure; an Axes is labelled with the name of its threshold.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or a name is unknown.

    Examples
    --------
    >>> import pandas
    >>> curve = pandas.DataFrame({"sample_id": "a", "name": "CD3", "marker": "CD3", "x": [0.0, 2.0, 4.0],
    ...                           "density": [0.5, 0.1, 0.4]})
    >>> found = pandas.DataFrame({"sample_id": ["a"], "name": ["CD3"], "value": [2.0], "rule": ["valley"],
    ...                           "confidence": [0.9], "n_cells": [900], "pinned": [False]})
    >>> from cytocar import pl
    >>> [axes.get_label() for axes in pl.thresholds(curve, found).axes]
    ['CD3']
    """
    return _draw(arrange(densities, thresholds, names))


@dataclass(frozen=True)
class Panel:
    """One threshold in all samples."""

    name: str
    curves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    """Points and density of each sample that has a curve."""
    rows: dict[str, dict[Hashable, Any]]
    """Row of the table of thresholds of each sample that has one."""

    @property
    def n_cells(self) -> list[float]:
        """Cells that each number was found in."""
        return [float(row["n_cells"]) for row in self.rows.values() if np.isfinite(float(row["value"]))]

    @property
    def population(self) -> str:
        """The population that it was found in, where that is the same in all samples."""
        populations = {str(row.get("found_in", "")) for row in self.rows.values()}
        return populations.pop() if len(populations) == 1 else ""


@dataclass(frozen=True)
class Panels:
    """What `thresholds` draws: samples from above, and one panel per threshold."""

    samples: list[str]
    of: list[Panel]


def arrange(densities: pd.DataFrame, thresholds: pd.DataFrame, names: Sequence[str] | None = None) -> Panels:
    """Arrange what `thresholds` draws."""
    inputs.require(densities, (keys.SAMPLE, "name", "x", "density"), "the table of densities")
    inputs.require(
        thresholds,
        (keys.SAMPLE, "name", "value", "rule", "confidence", "n_cells", "pinned"),
        "the table of thresholds",
    )
    known = inputs.distinct(thresholds, "name")
    asked = known if names is None else inputs.markers_of(names, known, "the table", "threshold")
    by_name = {
        str(name): rows for name, rows in densities.groupby(inputs.texts(densities, "name"), sort=False)
    }
    shown = [name for name in asked if name in by_name]
    if not shown:
        raise ParameterError(
            "the table of densities holds none of the thresholds, so there is nothing to draw"
        )
    panels = [
        Panel(
            name,
            curves_of(by_name[name]),
            row_of_sample(thresholds[inputs.texts(thresholds, "name") == name]),
        )
        for name in shown
    ]
    return Panels(inputs.distinct(thresholds, keys.SAMPLE), panels)


def curves_of(densities: pd.DataFrame) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return points and density of each sample, for the rows of one threshold."""
    return {
        str(sample): (curve["x"].to_numpy(dtype=float), curve["density"].to_numpy(dtype=float))
        for sample, curve in densities.groupby(inputs.texts(densities, keys.SAMPLE), sort=False)
    }


def row_of_sample(thresholds: pd.DataFrame) -> dict[str, dict[Hashable, Any]]:
    """Return the row of each sample, for the rows of one threshold."""
    return {str(row[keys.SAMPLE]): row for row in thresholds.to_dict("records")}


def _draw(panels: Panels) -> Figure:
    n, n_samples = len(panels.of), len(panels.samples)
    tags = [fitted_text.label(sample, 14) for sample in panels.samples]
    columns = min(3, n)
    tag_mm = max(fitted_text.width_mm(tag, style.SMALL) for tag in tags) + 2
    gap_x = tag_mm + 4
    height = (7.0 if n_samples <= 6 else 4.2) * n_samples + 2.5
    head, foot, gap_y = 10.0, 9.0, 11.0
    width = style.WIDTH_MM - tag_mm - 2 - 3
    if columns < 3:
        width = min(width, columns * 60.0 + (columns - 1) * gap_x)
    rows = rows_of(n, columns)
    sheet = Sheet(head + rows * height + (rows - 1) * gap_y + foot)
    boxes = grid(
        n, columns=columns, left=tag_mm + 2, top=head, width=width, height=height, gap_x=gap_x, gap_y=gap_y
    )
    for position, (panel, box) in enumerate(zip(panels.of, boxes, strict=True)):
        axes = sheet.axes(box, label=panel.name)
        _draw_panel(axes, panel, panels.samples)
        axes.set_yticks([n_samples - 1 - row + 0.12 for row in range(n_samples)], tags)
        axes.tick_params(axis="y", length=0, labelsize=style.SMALL)
        _name_panel(axes, panel, box.width)
        if position + columns >= n:
            axes.set_xlabel("arcsinh units")
    _key(sheet, tag_mm + 2)
    return sheet.figure


def _name_panel(axes: Axes, panel: Panel, width_mm: float) -> None:
    """Write the threshold, the population it was found in where there is room, and the cells above a panel."""
    title, n = fitted_text.label(panel.name, 18), fitted_text.n_range(panel.n_cells)
    axes.set_title(title)
    room = width_mm - fitted_text.width_mm(title, style.TITLE) - fitted_text.width_mm(n, style.SMALL) - 4
    if panel.population and room > 8:
        n = f"{fitted_text.fit(panel.population, room, style.SMALL)}  {n}"
    axes.set_title(n, loc="right", size=style.SMALL, color=style.SOFT)


def _draw_panel(axes: Axes, panel: Panel, samples: Sequence[str]) -> None:
    filled = [x for x, _ in panel.curves.values() if x.size]
    low = min((float(x.min()) for x in filled), default=0.0)
    high = max((float(x.max()) for x in filled), default=1.0)
    axes.set(xlim=(low, high), ylim=(0, len(samples) + 0.5))
    for position, sample in enumerate(samples):
        base = len(samples) - 1 - position
        if sample in panel.curves and panel.curves[sample][0].size:
            x, y = panel.curves[sample]
            # low humps are what thresholds are about: the square root lets a hump of 1 % be seen
            y = np.sqrt(np.clip(y, 0, None))
            y = _OVERLAP * y / y.max() if y.max() > 0 else y
            axes.fill_between(
                x, base, base + y, facecolor=style.HILL, edgecolor=style.WHITE, linewidth=0.5, zorder=2 * position,
                label=f"density {sample}",
            )  # fmt: skip
        if sample in panel.rows:
            _line(axes, panel.rows[sample], base, 2 * len(samples) + 1)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_zorder(2 * len(samples) + 1)


def colour_of(row: Mapping[Hashable, Any]) -> str:
    """Return the colour of a number: how it came about."""
    if inputs.is_yes(row["pinned"]):
        return STATED
    return SECOND if inputs.is_yes(row.get("fallback", False)) else FOUND


def origin(row: Mapping[Hashable, Any]) -> str:
    """Return how a number came about: ``stated``, or its rule and, where the rule has one, its confidence."""
    if inputs.is_yes(row["pinned"]):
        return "stated"
    confidence = row["confidence"]
    rule = rule_in_words(row["rule"])
    if confidence is None or not np.isfinite(float(confidence)):
        return rule
    return f"{rule} {float(confidence):.2f}"


def _line(axes: Axes, row: Mapping[Hashable, Any], base: float, zorder: int) -> None:
    value = float(row["value"])
    if not np.isfinite(value):
        axes.annotate(
            fitted_text.label(row["rule"], 14), (0.98, base + 0.3), xycoords=("axes fraction", "data"), ha="right",
            size=style.SMALL, color=style.SOFT, zorder=zorder,
        )  # fmt: skip
        return
    colour = colour_of(row)
    axes.plot(
        [value, value], [base, base + 0.95], color=colour, linewidth=1.1, zorder=zorder, label="threshold",
        solid_capstyle="butt",
    )  # fmt: skip
    marker = {STATED: "D", SECOND: "^"}.get(colour)
    if marker:
        axes.plot(
            [value], [base + 0.95], marker=marker, markersize=3.5, color=colour, zorder=zorder, label="mark"
        )
    left, right = axes.get_xlim()
    side = -1 if (value - left) / (right - left) > 0.62 else 1
    axes.annotate(
        origin(row), (value, base + 0.9), xytext=(2.5 * side, 0), textcoords="offset points", va="top",
        ha="left" if side > 0 else "right", size=style.SMALL, color=colour, zorder=zorder,
        bbox={"boxstyle": "square,pad=0.05", "fc": style.WHITE, "ec": "none", "alpha": 0.75},
    )  # fmt: skip


def rule_in_words(rule: object) -> str:
    """Return what a rule is called beside a line."""
    return fitted_text.label(_RULES.get(str(rule), str(rule).replace("_", " ")), 16)


def _key(sheet: Sheet, left: float) -> None:
    from matplotlib.lines import Line2D

    sheet.legend(
        left, 1.5,
        [
            Line2D([], [], color=FOUND, linewidth=1.1),
            Line2D([], [], color=SECOND, linewidth=1.1, marker="^", markersize=3.5),
            Line2D([], [], color=STATED, linewidth=1.1, marker="D", markersize=3.5),
        ],
        ["found by the rule (confidence 0 to 1)", "by a fallback rule", "stated (pinned)"],
        ncols=3,
    )  # fmt: skip
    sheet.text(
        style.WIDTH_MM - 3,
        1.7,
        "height: square root of density",
        ha="right",
        size=style.SMALL,
        color=style.SOFT,
    )
