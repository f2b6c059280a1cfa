"""The headline numbers under other reasonable rules: one mark per universe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sample_axis import names_height, sample_axis
from cytocar.pl._page.sheet import Box, Sheet, few_ticks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_COLUMNS = (keys.SAMPLE, "universe", "measure", "result", "low", "high")
_RULE = "rule_"
_FOUND = palette.VERMILION
_FAR = 4.0
_MOST = 80
"""Universes drawn with their rules; of more, the two ends and evenly spaced ones between."""


@style.styled
def multiverse(
    table: pd.DataFrame,
    *,
    measure: str | None = None,
    sample: str | None = None,
    samples: pd.DataFrame | None = None,
) -> Figure:
    """Draw the headline numbers under every combination of rules, sorted, with 95 % intervals of counting.

    All samples: beside each other, one panel per measure; the universe as found in colour. One sample: larger, and
    below each universe which rule its thresholds were found by (Simonsohn, Simmons & Nelson 2020, doi
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
        return _one(arrange_one(inputs.rows_of(rows, "measure", str(rows["measure"].iloc[0]))))
    return _all(rows, inputs.sample_order(rows[keys.SAMPLE], samples))


@dataclass(frozen=True)
class Universes:
    """The universes of one measure in one sample, from low to high."""

    measure: str
    sample: str
    n: int
    """Universes that there are, drawn or not."""
    rows: pd.DataFrame
    """Those drawn."""
    used: dict[tuple[str, str], NDArray[np.bool_]]
    """For each threshold and rule, where rules differ, which of those drawn use it."""


def arrange_one(table: pd.DataFrame) -> Universes:
    """Arrange the universes of one measure in one sample."""
    rows = _sorted(table)
    if len(rows) > _MOST:
        keep = np.unique(np.linspace(0, len(rows) - 1, _MOST).round().astype(int))
        as_found = np.flatnonzero(rows["universe"].to_numpy() == 0)
        rows = rows.iloc[np.union1d(keep, as_found)]
    by_universe = table.sort_values("universe")
    varied = [
        str(column)
        for column in table
        if str(column).startswith(_RULE) and inputs.texts(table, str(column)).nunique() > 1
    ]
    used = {
        (column.removeprefix(_RULE), rule): (inputs.texts(rows, column) == rule).to_numpy()
        for column in varied
        for rule in inputs.distinct(by_universe, column)
    }
    measure, sample = (str(table[column].iloc[0]) for column in ("measure", keys.SAMPLE))
    return Universes(measure, sample, len(table), rows, used)


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
        for position, sample in enumerate(order):
            own = of_measure[inputs.texts(of_measure, keys.SAMPLE) == sample]
            if len(own):
                x = position + 0.8 * ((np.arange(len(own)) + 0.5) / len(own) - 0.5)
                _marks(axes, x, own, label=sample, slot=width / len(order))
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
    as_found = (part["universe"].to_numpy() == 0).astype(bool)
    result, low, high = (part[column].to_numpy(dtype=float) for column in ("result", "low", "high"))
    axes.vlines(x, low, high, color=style.PALE, linewidth=0.8, label=f"intervals {label}")
    size = float(np.clip(2.0 * slot / max(len(x), 1), 1.0, 2.4))
    axes.plot(
        x[~as_found], result[~as_found], "o", markersize=size, color=style.SOFT, label=f"universes {label}"
    )
    axes.vlines(
        x[as_found],
        low[as_found],
        high[as_found],
        color=_FOUND,
        linewidth=1.1,
        label=f"interval found {label}",
    )
    axes.plot(x[as_found], result[as_found], "D", markersize=size + 1.0, color=_FOUND, label=f"found {label}")


def _one(shown: Universes) -> Figure:
    rules = [fitted_text.label(rule.replace("_", " "), 28) for _, rule in shown.used]
    left = max([fitted_text.width_mm(rule, style.SMALL) for rule in rules], default=10.0) + 18
    row, top, height = 3.4, 12.0, 42.0
    width = style.WIDTH_MM - left - 3
    lines = row * max(len(rules), 1)
    sheet = Sheet(top + height + 3 + lines + 3)
    _key(sheet, left)
    axes = sheet.axes(Box(left, top, width, height), label=shown.measure)
    _marks(axes, np.arange(len(shown.rows), dtype=float), shown.rows, label=shown.sample, slot=width)
    axes.set(xlim=(-0.8, len(shown.rows) - 0.2), xticks=[])
    few_ticks(axes, 5)
    axes.set_ylabel("%")
    axes.set_title(f"{fitted_text.label(shown.sample, 20)}: {fitted_text.label(shown.measure, 40)}")
    axes.set_title(f"{shown.n} universes", loc="right", size=style.SMALL, color=style.SOFT)
    below = Box(left, top + height + 3, width, lines)
    axes = sheet.axes(below, label="rules")
    _draw_rules(sheet, axes, shown, below.top, row)
    axes.set_yticks(range(len(rules)), rules, size=style.SMALL)
    axes.tick_params(axis="y", length=0)
    return sheet.figure


def _draw_rules(sheet: Sheet, axes: Axes, shown: Universes, top: float, row: float) -> None:
    """Draw which rule each threshold was found by, a line per rule, and the names of thresholds beside."""
    n = len(shown.rows)
    axes.set(xlim=(-0.8, n - 0.2), ylim=(len(shown.used) - 0.4, -0.6), xticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    as_found = shown.rows["universe"].to_numpy() == 0
    above = ""
    for position, ((name, rule), used) in enumerate(shown.used.items()):
        for which, colour in ((used & ~as_found, style.SOFT), (used & as_found, _FOUND)):
            x = np.flatnonzero(which).astype(float)
            line = np.full(x.size, position)
            axes.plot(x, line, "|", markersize=6, color=colour, label=f"{name}: {rule}")
        if position == 0 or name != above:
            at = top + row * (position + 0.6)
            sheet.text(2.0, at, fitted_text.label(name, 10), size=style.SMALL, va="center")
            axes.axhline(position - 0.5, color=style.PALE, linewidth=0.5, zorder=0)
        above = name


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
