"""Every threshold of gating on the density it was found in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Sheet, grid, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOUND, STATED, SECOND = style.INK, style.BLUE, style.VERMILION
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
    """Draw the density behind every threshold, one panel a threshold, one ridge a sample, with its line.

    Beside the line stand the rule and, where the rule has one, its confidence (0 to 1). Lines of stated (pinned)
    numbers and of fallback rules have their own colour and a mark.

    Parameters
    ----------
    densities
        `sample_id`, `name`, `marker`, `x` (arcsinh units), `density`, as `cytocar.gate.densities` returns them.
    thresholds
        `sample_id`, `name`, `value`, `rule`, `confidence`, `n_cells`, `pinned` and, where known, `fallback`, as
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
    inputs.require(densities, (keys.SAMPLE, "name", "x", "density"), "the table of densities")
    inputs.require(
        thresholds,
        (keys.SAMPLE, "name", "value", "rule", "confidence", "n_cells", "pinned"),
        "the table of thresholds",
    )
    known = list(dict.fromkeys(thresholds["name"].astype(str)))
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ParameterError(
            f"{unknown[0]!r} is not a threshold of the table", fix=did_you_mean(unknown[0], known)
        )
    drawn = set(densities["name"].astype(str))
    shown = [name for name in (known if names is None else list(names)) if name in drawn]
    if not shown:
        raise ParameterError(
            "the table of densities holds none of the thresholds, so there is nothing to draw"
        )
    samples = list(dict.fromkeys(thresholds[keys.SAMPLE].astype(str)))
    tags = [fitted_text.label(sample, 14) for sample in samples]

    columns = min(3, len(shown))
    tag_mm = max(fitted_text.width_mm(tag, style.SMALL) for tag in tags) + 2
    gap_x = tag_mm + 4
    ridge = 7.0 if len(samples) <= 6 else 4.2
    height = ridge * len(samples) + 2.5
    head, foot, gap_y = 10.0, 9.0, 11.0
    width = style.WIDTH_MM - tag_mm - 2 - 3
    if columns < 3:
        width = min(width, columns * 60.0 + (columns - 1) * gap_x)
    rows = rows_of(len(shown), columns)
    sheet = Sheet(head + rows * height + (rows - 1) * gap_y + foot)
    boxes = grid(
        len(shown),
        columns=columns,
        left=tag_mm + 2,
        top=head,
        width=width,
        height=height,
        gap_x=gap_x,
        gap_y=gap_y,
    )
    by_name = {str(name): part for name, part in densities.groupby(densities["name"].astype(str), sort=False)}
    for place, (name, box) in enumerate(zip(shown, boxes, strict=True)):
        axes = sheet.axes(box, label=name)
        found = thresholds[thresholds["name"].astype(str) == name]
        _panel(axes, by_name[name], found, samples, tags)
        n = fitted_text.n_range(
            found["n_cells"].to_numpy(dtype=float)[np.isfinite(found["value"].to_numpy(dtype=float))]
        )
        axes.set_title(fitted_text.label(name, 18))
        places = set(found["found_in"].astype(str)) if "found_in" in found else set()
        room = (
            box.width
            - fitted_text.width_mm(fitted_text.label(name, 18), style.TITLE)
            - fitted_text.width_mm(n, style.SMALL)
            - 4
        )
        where = (
            f"{fitted_text.fit(places.pop(), room, style.SMALL)}  " if len(places) == 1 and room > 8 else ""
        )
        axes.set_title(where + n, loc="right", size=style.SMALL, color=style.SOFT)
        if place + columns >= len(shown):
            axes.set_xlabel("arcsinh units")
    _key(sheet, tag_mm + 2)
    return sheet.figure


def _panel(
    axes: Axes, densities: pd.DataFrame, found: pd.DataFrame, samples: Sequence[str], tags: Sequence[str]
) -> None:
    curves = {
        sample: (part["x"].to_numpy(dtype=float), part["density"].to_numpy(dtype=float))
        for sample, part in densities.groupby(densities[keys.SAMPLE].astype(str), sort=False)
    }
    rows = {str(row[keys.SAMPLE]): row for row in found.to_dict("records")}
    low = min((float(x.min()) for x, _ in curves.values() if x.size), default=0.0)
    high = max((float(x.max()) for x, _ in curves.values() if x.size), default=1.0)
    axes.set(xlim=(low, high), ylim=(0, len(samples) + 0.5))
    for place, sample in enumerate(samples):
        base = len(samples) - 1 - place
        if sample in curves and curves[sample][0].size:
            x, y = curves[sample]
            # low humps are what thresholds are about: the square root lets a hump of 1 % be seen
            y = np.sqrt(np.clip(y, 0, None))
            y = _OVERLAP * y / y.max() if y.max() > 0 else y
            axes.fill_between(
                x, base, base + y, facecolor=style.HILL, edgecolor=style.WHITE, linewidth=0.5, zorder=2 * place,
                label=f"density {sample}",
            )  # fmt: skip
        if sample in rows:
            _line(axes, rows[sample], base, 2 * len(samples) + 1)
    axes.set_yticks([len(samples) - 1 - place + 0.12 for place in range(len(samples))], tags)
    axes.tick_params(axis="y", length=0, labelsize=style.SMALL)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_zorder(2 * len(samples) + 1)


def _line(axes: Axes, row: Mapping[Any, Any], base: float, zorder: int) -> None:
    value = float(row["value"])
    if not np.isfinite(value):
        axes.annotate(
            fitted_text.label(row["rule"], 14), (0.98, base + 0.3), xycoords=("axes fraction", "data"), ha="right",
            size=style.SMALL, color=style.SOFT, zorder=zorder,
        )  # fmt: skip
        return
    pinned, second = is_yes(row["pinned"]), is_yes(row.get("fallback", False))
    colour = STATED if pinned else SECOND if second else FOUND
    marker = "D" if pinned else "^" if second else None
    axes.plot(
        [value, value], [base, base + 0.95], color=colour, linewidth=1.1, zorder=zorder, label="threshold",
        solid_capstyle="butt",
    )  # fmt: skip
    if marker:
        axes.plot(
            [value], [base + 0.95], marker=marker, markersize=3.5, color=colour, zorder=zorder, label="mark"
        )
    rule = str(row["rule"])
    words = "stated" if pinned else rule_in_words(rule)
    confidence = row["confidence"]
    if not pinned and confidence is not None and np.isfinite(float(confidence)):
        words += f" {float(confidence):.2f}"
    left, right = axes.get_xlim()
    share = (value - left) / (right - left)
    side = -1 if share > 0.62 else 1
    axes.annotate(
        words, (value, base + 0.9), xytext=(2.5 * side, 0), textcoords="offset points", va="top",
        ha="left" if side > 0 else "right", size=style.SMALL, color=colour, zorder=zorder,
        bbox={"boxstyle": "square,pad=0.05", "fc": style.WHITE, "ec": "none", "alpha": 0.75},
    )  # fmt: skip


def rule_in_words(rule: object) -> str:
    """Return what a rule is called beside a line."""
    return fitted_text.label(_RULES.get(str(rule), str(rule).replace("_", " ")), 16)


def is_yes(value: Any) -> bool:
    """Read a truth value, also as a CSV file spells it."""
    return str(value).strip().casefold() in ("true", "1", "1.0")


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
