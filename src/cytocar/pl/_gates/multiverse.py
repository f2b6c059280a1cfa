"""The headline numbers under other reasonable rules: one mark a universe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sample_axis import names_height, sample_axis
from cytocar.pl._page.sheet import Box, Sheet, few_ticks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = (keys.SAMPLE, "universe", "measure", "result", "low", "high")
_RULE = "rule_"
_FOUND = style.VERMILION
_FAR = 4.0
_MOST = 80
"""Universes drawn with their rules; of more, the two ends and every so-manieth between."""


@style.styled
def multiverse(
    table: pd.DataFrame,
    *,
    measure: str | None = None,
    sample: str | None = None,
    samples: pd.DataFrame | None = None,
) -> Figure:
    """Draw the headline numbers under every combination of rules, sorted, with 95 % intervals of counting.

    All samples: beside each other, a panel a measure; the universe as found in colour. One sample: larger, and below
    each universe which rule its thresholds were found by (Simonsohn, Simmons & Nelson 2020, doi
    10.1038/s41562-020-0912-z).

    Parameters
    ----------
    table
        `sample_id`, `universe` (0: as found), `measure`, `result`, `low`, `high` (%), and ``rule_<threshold>``, as
        `cytocar.gate.multiverse` returns them.
    measure
        Only this one; default all, or with `sample` the first.
    sample
        Only this one, with its rules.
    samples
        As in `cytocar.pl.robustness`.

    Returns
    -------
    Figure; an Axes is labelled with its measure; with `sample` there is also ``rules``.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or the measure or sample is unknown.

    Examples
    --------
    >>> import pandas
    >>> found = pandas.DataFrame({"sample_id": "a", "universe": [0, 1], "measure": "CAR-T %", "result": [2.8, 2.7],
    ...                           "low": [2.6, 2.5], "high": [3.0, 2.9], "rule_VHH": ["negatives", "valley"]})
    >>> [axes.get_label() for axes in multiverse(found, sample="a").axes]
    ['CAR-T %', 'rules']
    """
    inputs.require(table, _COLUMNS, "the table of the multiverse")
    rows = inputs.rows_of(table, "measure", measure)
    if sample is not None:
        rows = inputs.rows_of(rows, keys.SAMPLE, sample)
        name = str(rows["measure"].iloc[0])
        return _one(rows[rows["measure"].astype(str) == name], name, sample)
    return _all(rows, inputs.sample_order(rows[keys.SAMPLE], samples))


def _sorted(part: pd.DataFrame) -> pd.DataFrame:
    """Return the universes that gave a number, from low to high."""
    finite: pd.DataFrame = part[np.isfinite(part["result"].to_numpy(dtype=float))]
    return finite.sort_values(["result", "universe"], kind="stable")


def _all(rows: pd.DataFrame, order: Sequence[str]) -> Figure:
    measures = list(dict.fromkeys(rows["measure"].astype(str)))
    left, head, gap = 16.0, 6.0, 4.0
    width = min(style.WIDTH_MM - left - 2, max(60.0, 41.0 * len(order)))
    height = 36.0
    names = [fitted_text.label(sample, 24) for sample in order]
    foot = names_height(names, width)
    sheet = Sheet(5.0 + len(measures) * (head + height) + (len(measures) - 1) * gap + foot + 1)
    _key(sheet, left)
    for m, measure in enumerate(measures):
        top = 5.0 + m * (head + height + gap) + head
        axes = sheet.axes(Box(left, top, width, height), label=measure)
        of_measure = _sorted(rows[rows["measure"].astype(str) == measure])
        for place, sample in enumerate(order):
            mine = of_measure[of_measure[keys.SAMPLE].astype(str) == sample]
            if len(mine):
                x = place + 0.8 * ((np.arange(len(mine)) + 0.5) / len(mine) - 0.5)
                _marks(axes, x, mine, label=sample, slot=width / len(order))
        if m == len(measures) - 1:
            sample_axis(axes, names, width)
        else:
            axes.set_xticks(range(len(order)), [""] * len(order))
        axes.set_xlim(-0.6, len(order) - 0.4)
        _scale(axes, of_measure)
        axes.set_ylabel("%")
        axes.set_title(fitted_text.label(measure, 40))
    return sheet.figure


def _scale(axes: Axes, part: pd.DataFrame) -> None:
    """Scale the axis of values from 0, or where samples are far apart so that the same ratio is the same height."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    results, low, high = (part[column].to_numpy(dtype=float) for column in ("result", "low", "high"))
    if results.size and low.min() > 0 and results.max() > _FAR * results.min():
        axes.set_yscale("log")
        axes.set_ylim(0.9 * low.min(), 1.1 * high.max())
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    axes.set_ylim(0, 1.05 * float(high.max()) if high.size and high.max() > 0 else 1.0)
    few_ticks(axes, 4)


def _marks(axes: Axes, x: np.ndarray, part: pd.DataFrame, *, label: str, slot: float = 40.0) -> None:
    found = (part["universe"].to_numpy() == 0).astype(bool)
    result, low, high = (part[column].to_numpy(dtype=float) for column in ("result", "low", "high"))
    axes.vlines(x, low, high, color=style.PALE, linewidth=0.8, label=f"intervals {label}")
    size = float(np.clip(2.0 * slot / max(len(x), 1), 1.0, 2.4))
    axes.plot(x[~found], result[~found], "o", markersize=size, color=style.SOFT, label=f"universes {label}")
    axes.vlines(
        x[found], low[found], high[found], color=_FOUND, linewidth=1.1, label=f"interval found {label}"
    )
    axes.plot(x[found], result[found], "D", markersize=size + 1.0, color=_FOUND, label=f"found {label}")


def _one(part: pd.DataFrame, measure: str, sample: str) -> Figure:
    mine = _sorted(part)
    if len(mine) > _MOST:
        keep = np.unique(np.linspace(0, len(mine) - 1, _MOST).round().astype(int))
        found = np.flatnonzero(mine["universe"].to_numpy() == 0)
        mine = mine.iloc[np.union1d(keep, found)]
    varied = [
        column for column in part if str(column).startswith(_RULE) and part[column].astype(str).nunique() > 1
    ]
    lines = [
        (str(column).removeprefix(_RULE), rule)
        for column in varied
        for rule in dict.fromkeys(part.sort_values("universe")[column].astype(str))
    ]
    texts = [fitted_text.label(rule.replace("_", " "), 28) for _, rule in lines]
    left = max([fitted_text.width_mm(text, style.SMALL) for text in texts], default=10.0) + 18
    row, top, height = 3.4, 12.0, 42.0
    width = style.WIDTH_MM - left - 3
    sheet = Sheet(top + height + 3 + row * max(len(lines), 1) + 3)
    _key(sheet, left)
    axes = sheet.axes(Box(left, top, width, height), label=measure)
    x = np.arange(len(mine), dtype=float)
    _marks(axes, x, mine, label=sample, slot=width)
    ends = (-0.8, len(mine) - 0.2)
    axes.set(xlim=ends, xticks=[])
    few_ticks(axes, 5)
    axes.set_ylabel("%")
    axes.set_title(f"{fitted_text.label(sample, 20)}: {fitted_text.label(measure, 40)}")
    axes.set_title(f"{len(part)} universes", loc="right", size=style.SMALL, color=style.SOFT)
    below = sheet.axes(Box(left, top + height + 3, width, row * max(len(lines), 1)), label="rules")
    below.set(xlim=ends, ylim=(len(lines) - 0.4, -0.6), xticks=[])
    for spine in below.spines.values():
        spine.set_visible(False)
    is_found = mine["universe"].to_numpy() == 0
    for place, (name, rule) in enumerate(lines):
        used = (mine[_RULE + name].astype(str) == rule).to_numpy()
        for which, colour in ((used & ~is_found, style.SOFT), (used & is_found, _FOUND)):
            below.plot(
                x[which],
                np.full(which.sum(), place),
                "|",
                markersize=6,
                color=colour,
                label=f"{name}: {rule}",
            )
        if place == 0 or lines[place - 1][0] != name:
            sheet.text(
                2.0,
                top + height + 3 + row * (place + 0.6),
                fitted_text.label(name, 10),
                size=style.SMALL,
                va="center",
            )
            below.axhline(place - 0.5, color=style.PALE, linewidth=0.5, zorder=0)
    below.set_yticks(range(len(lines)), texts, size=style.SMALL)
    below.tick_params(axis="y", length=0)
    return sheet.figure


def _key(sheet: Sheet, left: float) -> None:
    from matplotlib.lines import Line2D

    sheet.legend(
        left, 1.2,
        [
            Line2D([], [], linestyle="none", marker="D", markersize=3.4, color=_FOUND),
            Line2D([], [], linestyle="none", marker="o", markersize=2.4, color=style.SOFT),
        ],
        ["as found", "by other rules; with 95 % intervals of counting"],
        ncols=2,
    )  # fmt: skip
