"""What becomes of the headline numbers when thresholds move within their uncertainty: tornadoes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys, ordering
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOWER, HIGHER = style.BLUE, style.ORANGE
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

    A bar a threshold, the one that moves the number most on top: a tornado for each sample and measure. Thresholds that
    hardly change it are only counted. Of more than 6 samples one line each: the number, how far any one threshold moves
    it, and which one that is.

    Parameters
    ----------
    table
        `sample_id`, `measure`, `threshold`, `value_low`, `value_found`, `value_high` (arcsinh units), `result_low`,
        `result`, `result_high` (%, with the threshold at the value of that name), as `cytocar.gate.robustness` returns
        them.
    measure, sample
        Only this one; default all.
    samples
        A table with `sample_id` and, as far as known, `patient_id`, `months`: samples are drawn in this order.

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
    inputs.require(table, _COLUMNS, "the table of robustness")
    rows = inputs.rows_of(table, "measure", measure)
    rows = inputs.rows_of(rows, keys.SAMPLE, sample)
    order = inputs.sample_order(rows[keys.SAMPLE], samples)
    measures = list(dict.fromkeys(rows["measure"].astype(str)))
    parts = {
        (str(s), str(m)): part
        for (s, m), part in rows.groupby(
            [rows[keys.SAMPLE].astype(str), rows["measure"].astype(str)], sort=False
        )
    }
    return (_tornadoes if len(order) <= _TORNADOES else _lines)(parts, order, measures)


def _moves(part: pd.DataFrame) -> tuple[list[dict[Any, Any]], float]:
    """Return the thresholds that move a number, the strongest first, with the number.

    Those that move it by less than a fiftieth of what the strongest does are left out: their bars would not be seen.
    """
    rows = part.to_dict("records")
    result = float(part["result"].iloc[0])
    if not np.isfinite(result):
        return [], result  # A share of no cells is no number that could move.
    least = max(map(_span, rows), default=0.0) / 50
    moving = [row for row in rows if _span(row) > least]
    return sorted(moving, key=lambda row: (-_span(row), ordering.natural(str(row["threshold"])))), result


def _span(row: dict[Any, Any]) -> float:
    ends = np.array([row["result_low"], row["result"], row["result_high"]], dtype=float)
    ends = ends[np.isfinite(ends)]
    return float(np.ptp(ends)) if ends.size > 1 else 0.0


def _tornadoes(
    parts: dict[tuple[str, str], pd.DataFrame], order: Sequence[str], measures: Sequence[str]
) -> Figure:
    found = {key: _moves(part) for key, part in parts.items()}
    most = {
        sample: max(1, *(min(len(found[sample, m][0]), _BARS) for m in measures if (sample, m) in found))
        for sample in order
    }
    every = [str(row["threshold"]) for moving, _ in found.values() for row in moving[:_BARS]]
    names = max([fitted_text.width_mm(fitted_text.label(name, 12)) for name in every], default=8.0) + 3
    left, gap, ranges, bar, head, foot, top = names + 5, names + 3, 19.0, 3.9, 5.0, 8.5, 11.0
    width = (style.WIDTH_MM - left - gap * (len(measures) - 1)) / len(measures) - ranges - 1
    width = min(width, 95.0)
    heights = [head + bar * most[sample] + 1 + foot for sample in order]
    sheet = Sheet(top + sum(heights))
    _key(sheet, left)
    for m, measure in enumerate(measures):
        at = left + m * (width + ranges + 1 + gap)
        sheet.text(at, 6.5, fitted_text.label(measure, 40), size=style.TITLE)
        for s, sample in enumerate(order):
            down = top + sum(heights[:s])
            if m == 0:
                middle = down + head + bar * most[sample] / 2
                sheet.text(
                    2.5,
                    middle,
                    fitted_text.label(sample, 14),
                    rotation=90,
                    va="center",
                    ha="center",
                    size=style.SMALL,
                )
            if (sample, measure) not in found:
                continue
            box = Box(at, down + head, width, bar * most[sample] + 1)
            axes = sheet.axes(box, label=f"{sample} {measure}")
            moving, result = found[sample, measure]
            if not np.isfinite(result):
                axes.set_axis_off()
                axes.set_title("no cells to take a share of", size=style.SMALL, color=style.SOFT, pad=2)
                continue
            still = len(parts[sample, measure]) - len(moving)
            _tornado(axes, moving[:_BARS], result, most[sample])
            words = f"{fitted_text.percent(result, 3)} %"
            axes.set_title(words, size=style.FONT, pad=2)
            hidden = len(moving) - _BARS
            rest = [f"{hidden} move it less"] if hidden > 0 else []
            rest += [f"{still} hardly any"] if still else []
            axes.set_title("; ".join(rest), loc="right", size=style.SMALL, color=style.SOFT, pad=2)
    return sheet.figure


def _tornado(axes: Axes, moving: Sequence[dict[Any, Any]], result: float, rows: int) -> None:
    for place, row in enumerate(moving):
        for side, colour in (("low", LOWER), ("high", HIGHER)):
            end = float(row[f"result_{side}"])
            if np.isfinite(end) and end != result:
                # Both ends of a range can lie on one side of the number: the lower half is for one that moves up.
                axes.barh(
                    place + (0.17 if side == "high" else -0.17), end - result, left=result, height=0.34, color=colour,
                    linewidth=0, label=f"{row['threshold']} {side}",
                )  # fmt: skip
        axes.annotate(
            f"{float(row['value_low']):.2f} to {float(row['value_high']):.2f}", (1.0, place), xytext=(2, 0),
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


def _lines(
    parts: dict[tuple[str, str], pd.DataFrame], order: Sequence[str], measures: Sequence[str]
) -> Figure:
    tags = [fitted_text.label(sample, 22) for sample in order]
    left = max(fitted_text.width_mm(tag, style.SMALL) for tag in tags) + 3
    row = 3.6
    words, gap, top, foot = 22.0, 4.0, 11.0, 9.0
    width = (style.WIDTH_MM - left - gap * (len(measures) - 1)) / len(measures) - words
    height = row * len(order)
    sheet = Sheet(top + height + foot)
    sheet.text(
        left, 1.4, "dot: as found; line: how far any one threshold moves it; beside it: which one most",
        size=style.SMALL, color=style.SOFT,
    )  # fmt: skip
    for m, measure in enumerate(measures):
        box = Box(left + m * (width + words + gap), top, width, height)
        sheet.text(box.left, 6.5, fitted_text.label(measure, 40), size=style.TITLE)
        axes = sheet.axes(box, label=measure)
        for place, sample in enumerate(order):
            if (sample, measure) not in parts:
                continue
            moving, result = _moves(parts[sample, measure])
            ends = np.array([[r["result_low"], r["result_high"]] for r in moving], dtype=float)
            ends = np.append(ends[np.isfinite(ends)], result)
            axes.plot(
                [ends.min(), ends.max()],
                [place, place],
                color=style.INK,
                linewidth=1.0,
                label=f"range {sample}",
            )
            axes.plot([result], [place], "o", markersize=2.8, color=style.INK, label=f"found {sample}")
            if moving:
                axes.annotate(
                    fitted_text.label(moving[0]["threshold"], 12), (1.0, place), xytext=(3, 0),
                    xycoords=("axes fraction", "data"), textcoords="offset points", va="center", size=style.SMALL,
                    color=style.SOFT, annotation_clip=False,
                )  # fmt: skip
        axes.set(ylim=(len(order) - 0.4, -0.6))
        axes.set_yticks(range(len(order)), tags if m == 0 else [], size=style.SMALL)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        value_ticks(axes)
        axes.set_xlabel("%")
    return sheet.figure
