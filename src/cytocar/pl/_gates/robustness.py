"""What becomes of the headline numbers when thresholds move within their uncertainty: tornadoes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys, ordering, palette
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOWER, HIGHER = palette.BLUE, palette.ORANGE
"""Colours of a threshold that is moved down and up."""

_COLUMNS = (
    keys.SAMPLE, "measure", "threshold", "value_low", "value_found", "value_high", "result_low", "result",
    "result_high",
)  # fmt: skip
_TORNADOES = 6
"""Samples up to which each has a tornado of its own; of more, one line each."""
_BARS = 5


@style.styled
def robustness(
    table: pd.DataFrame,
    *,
    measure: str | None = None,
    sample: str | None = None,
    samples: pd.DataFrame | None = None,
) -> Figure:
    """Draw how far each threshold, moved to both ends of its range while the others stay, moves the headline numbers.

    One bar per threshold, the one that moves the number most on top: a tornado for each sample and measure. Thresholds
    that hardly change it are only counted. Of more than 6 samples one line each: the number, how far any one threshold
    moves it, and which one that is.

    Parameters
    ----------
    table
        `sample_id`, `measure`, `threshold`, `value_low`, `value_found`, `value_high` (arcsinh units), `result_low`,
        `result`, `result_high` (%, with the threshold at the value of that name), as `cytocar.gate.robustness` returns
        them.
    measure, sample
        Only this one; default all.
    samples
        A table with `sample_id` and, where available, `patient_id`, `months`: samples are drawn in this order.

    Returns
    -------
    Figure; an Axes is labelled ``<sample> <measure>``, or ``<measure>`` where samples are lines.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or the measure or sample is unknown.

    Examples
    --------
    >>> import pandas
    >>> moved = pandas.DataFrame({
    ...     "sample_id": "a", "measure": "CAR-T %", "threshold": ["VHH", "CD3"], "value_low": [2.1, 2.0],
    ...     "value_found": [2.5, 2.2], "value_high": [2.9, 2.4], "result_low": [2.9, 2.8], "result": 2.8,
    ...     "result_high": [2.5, 2.7]})
    >>> [tick.get_text() for tick in robustness(moved).axes[0].get_yticklabels()]
    ['VHH', 'CD3']
    """
    shown = arrange(table, measure=measure, sample=sample, samples=samples)
    return (_tornadoes if len(shown.order) <= _TORNADOES else _lines)(shown)


@dataclass(frozen=True)
class Moves:
    """What moving thresholds does to one number of one sample."""

    result: float
    """The number as found; NaN for a share of no cells, which cannot move."""
    moving: list[dict[Hashable, Any]]
    """Rows of the thresholds that move it, the strongest first."""
    still: int
    """Thresholds that hardly move it."""


@dataclass(frozen=True)
class Robustness:
    """Samples and measures in the order drawn."""

    order: list[str]
    measures: list[str]
    of: dict[tuple[str, str], Moves]
    """By sample and measure, where the table has them."""


def arrange(
    table: pd.DataFrame,
    *,
    measure: str | None = None,
    sample: str | None = None,
    samples: pd.DataFrame | None = None,
) -> Robustness:
    """Arrange what `robustness` draws."""
    inputs.require(table, _COLUMNS, "the table of robustness")
    rows = inputs.rows_of(inputs.rows_of(table, "measure", measure), keys.SAMPLE, sample)
    by = [inputs.texts(rows, keys.SAMPLE), inputs.texts(rows, "measure")]
    return Robustness(
        inputs.sample_order(rows[keys.SAMPLE], samples),
        inputs.distinct(rows, "measure"),
        {(str(s), str(m)): moves(part) for (s, m), part in rows.groupby(by, sort=False)},
    )


def moves(part: pd.DataFrame) -> Moves:
    """Return the thresholds that move a number, the strongest first.

    Those that move it by less than a fiftieth of what the strongest does are left out: their bars would not be seen.
    """
    rows = part.to_dict("records")
    result = float(part["result"].iloc[0])
    if not np.isfinite(result):
        return Moves(result, [], len(rows))
    least = max(map(_span, rows), default=0.0) / 50
    moving = [row for row in rows if _span(row) > least]
    moving.sort(key=lambda row: (-_span(row), ordering.natural(str(row["threshold"]))))
    return Moves(result, moving, len(rows) - len(moving))


def _span(row: dict[Hashable, Any]) -> float:
    ends = np.array([row["result_low"], row["result"], row["result_high"]], dtype=float)
    ends = ends[np.isfinite(ends)]
    return float(np.ptp(ends)) if ends.size > 1 else 0.0


def _tornadoes(shown: Robustness) -> Figure:
    bars = {
        sample: max(1, *(min(len(shown.of[s, m].moving), _BARS) for s, m in shown.of if s == sample))
        for sample in shown.order
    }
    drawn = [str(row["threshold"]) for each in shown.of.values() for row in each.moving[:_BARS]]
    names = max([fitted_text.width_mm(fitted_text.label(name, 12)) for name in drawn], default=8.0) + 3
    left, gap, ranges, bar, head, foot, top = names + 5, names + 3, 19.0, 3.9, 5.0, 8.5, 11.0
    n = len(shown.measures)
    width = min((style.WIDTH_MM - left - gap * (n - 1)) / n - ranges - 1, 95.0)
    heights = [head + bar * bars[sample] + 1 + foot for sample in shown.order]
    sheet = Sheet(top + sum(heights))
    _key(sheet, left)
    downs = [top + sum(heights[:s]) + head for s in range(len(heights))]
    for m, measure in enumerate(shown.measures):
        at = left + m * (width + ranges + 1 + gap)
        sheet.text(at, 6.5, fitted_text.label(measure, 40), size=style.TITLE)
        for sample, down in zip(shown.order, downs, strict=True):
            if m == 0:
                sheet.text(
                    2.5, down + bar * bars[sample] / 2, fitted_text.label(sample, 14), rotation=90, va="center",
                    ha="center", size=style.SMALL,
                )  # fmt: skip
            if (sample, measure) in shown.of:
                box = Box(at, down, width, bar * bars[sample] + 1)
                axes = sheet.axes(box, label=f"{sample} {measure}")
                _tornado(axes, shown.of[sample, measure], bars[sample])
    return sheet.figure


def _tornado(axes: Axes, moved: Moves, rows: int) -> None:
    if not np.isfinite(moved.result):
        axes.set_axis_off()
        axes.set_title("no cells to take a share of", size=style.SMALL, color=style.SOFT, pad=2)
        return
    _bars(axes, moved.moving[:_BARS], moved.result, rows)
    axes.set_title(f"{fitted_text.percent(moved.result, 3)} %", size=style.FONT, pad=2)
    hidden = len(moved.moving) - _BARS
    rest = [f"{hidden} move it less"] if hidden > 0 else []
    rest += [f"{moved.still} hardly any"] if moved.still else []
    axes.set_title("; ".join(rest), loc="right", size=style.SMALL, color=style.SOFT, pad=2)


def _bars(axes: Axes, moving: Sequence[dict[Hashable, Any]], result: float, rows: int) -> None:
    for position, row in enumerate(moving):
        for side, colour in (("low", LOWER), ("high", HIGHER)):
            end = float(row[f"result_{side}"])
            if np.isfinite(end) and end != result:
                # Both ends of a range can lie on one side of the number: the lower half is for one that moves up.
                axes.barh(
                    position + (0.17 if side == "high" else -0.17), end - result, left=result, height=0.34,
                    color=colour, linewidth=0, label=f"{row['threshold']} {side}",
                )  # fmt: skip
        axes.annotate(
            f"{float(row['value_low']):.2f} to {float(row['value_high']):.2f}", (1.0, position), xytext=(2, 0),
            xycoords=("axes fraction", "data"), textcoords="offset points", va="center", size=style.SMALL,
            color=style.SOFT, annotation_clip=False,
        )  # fmt: skip
    axes.axvline(result, color=style.INK, linewidth=0.7, label="as found")
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks(range(len(moving)), [fitted_text.label(row["threshold"], 12) for row in moving])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    ends = [result, *(float(row[f"result_{side}"]) for row in moving for side in ("low", "high"))]
    ends = [end for end in ends if np.isfinite(end)]
    room = max(0.06 * (max(ends) - min(ends)), 1e-3 * abs(result), 1e-6)
    axes.set_xlim(min(ends) - room, max(ends) + room)
    value_ticks(axes)


def value_ticks(axes: Axes) -> None:
    """Put few ticks on the axis of values, without an offset that would have to be added in the head."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))


def _key(sheet: Sheet, left: float) -> None:
    from matplotlib.patches import Patch

    sheet.legend(
        left, 1.2, [Patch(color=LOWER, linewidth=0), Patch(color=HIGHER, linewidth=0)],
        ["threshold at the lower end of its range", "at the upper end"], ncols=2,
    )  # fmt: skip
    sheet.text(
        style.WIDTH_MM - 1,
        1.4,
        "grey: that range, arcsinh units",
        ha="right",
        size=style.SMALL,
        color=style.SOFT,
    )


def _lines(shown: Robustness) -> Figure:
    tags = [fitted_text.label(sample, 22) for sample in shown.order]
    left = max(fitted_text.width_mm(tag, style.SMALL) for tag in tags) + 3
    row = 3.6
    beside, gap, top, foot = 22.0, 4.0, 11.0, 9.0
    n = len(shown.measures)
    width = (style.WIDTH_MM - left - gap * (n - 1)) / n - beside
    height = row * len(tags)
    sheet = Sheet(top + height + foot)
    sheet.text(
        left, 1.4, "dot: as found; line: how far any one threshold moves it; beside it: which one most",
        size=style.SMALL, color=style.SOFT,
    )  # fmt: skip
    for m, measure in enumerate(shown.measures):
        box = Box(left + m * (width + beside + gap), top, width, height)
        sheet.text(box.left, 6.5, fitted_text.label(measure, 40), size=style.TITLE)
        axes = sheet.axes(box, label=measure)
        for position, sample in enumerate(shown.order):
            if (sample, measure) in shown.of:
                _line(axes, shown.of[sample, measure], position, sample)
        axes.set(ylim=(len(tags) - 0.4, -0.6))
        axes.set_yticks(range(len(tags)), tags if m == 0 else [], size=style.SMALL)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        value_ticks(axes)
        axes.set_xlabel("%")
    return sheet.figure


def _line(axes: Axes, moved: Moves, position: int, sample: str) -> None:
    """Draw a number, how far thresholds move it, and the name of the one that moves it most."""
    ends = np.array([[row["result_low"], row["result_high"]] for row in moved.moving], dtype=float)
    ends = np.append(ends[np.isfinite(ends)], moved.result)
    axes.plot(
        [ends.min(), ends.max()],
        [position, position],
        color=style.INK,
        linewidth=1.0,
        label=f"range {sample}",
    )
    axes.plot([moved.result], [position], "o", markersize=2.8, color=style.INK, label=f"found {sample}")
    if moved.moving:
        axes.annotate(
            fitted_text.label(moved.moving[0]["threshold"], 12), (1.0, position), xytext=(3, 0),
            xycoords=("axes fraction", "data"), textcoords="offset points", va="center", size=style.SMALL,
            color=style.SOFT, annotation_clip=False,
        )  # fmt: skip
