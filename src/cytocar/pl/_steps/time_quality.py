"""Which stretches of each run were not stable, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, few_ticks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"IT": palette.VERMILION, "MAD": palette.ORANGE, "consecutive": palette.GREY}
_REASONS = {"IT": "apart from most bins (IT)", "MAD": "beyond the MAD", "consecutive": "between bad bins"}
_LINE = palette.BLUE
_PAUSE_MIN = 5 / 60
_PAUSE_TIMES = 10.0
# so that mere noise does not fill the panel
_LEAST_SHOWN = 0.5


@style.styled
def time_quality(table: pd.DataFrame) -> Figure:
    """Draw the rate of events and the largest change of any signal over each run, with what is not stable shaded.

    One row per sample. On the left events per second, on the right how far the series that is farthest from usual is
    from its median in each bin, without its straight trend. The colour of the shade says why a bin is not stable;
    above stand the share of stable events and the channels that most of the other bins are named for.

    Parameters
    ----------
    table
        `sample_id`, `start_s`, `end_s` (s), `events`, `stable`, `by`, `worst`, `shift`: one row per bin, as
        `cytocar.pp.time_quality_table` returns them.

    Returns
    -------
    Figure; an Axes is labelled ``<sample> rate`` or ``<sample> shift``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.

    Examples
    --------
    >>> import pandas
    >>> bins = pandas.DataFrame({"sample_id": "a", "start_s": [0, 1, 2], "end_s": [0.9, 1.9, 2.9], "events": 200,
    ...                          "stable": [True, False, True], "by": ["", "MAD", ""], "worst": "CD3",
    ...                          "shift": [0.0, -0.7, 0.1]})
    >>> [axes.get_label() for axes in time_quality(bins).axes]
    ['a rate', 'a shift']
    """
    columns = (keys.SAMPLE, "start_s", "end_s", "events", "stable", "by", "worst", "shift")
    inputs.require(table, columns, "the table of stable time")
    from matplotlib.patches import Patch

    samples = list(dict.fromkeys(table[keys.SAMPLE].astype(str)))
    left, gap, height, head, foot, top = 13.0, 15.0, 17.0, 5.0, 3.0, 6.5
    width = (style.WIDTH_MM - left - gap - 3.0) / 2
    row_height = head + height + foot
    sheet = Sheet(top + len(samples) * row_height + 7)
    used = [name for name in _COLOURS if (table["by"].astype(str) == name).any()]
    if used:
        handles = [Patch(facecolor=_COLOURS[name], alpha=0.55, linewidth=0) for name in used]
        sheet.legend(left, 1.0, handles, [_REASONS[name] for name in used], ncol=len(used))
    else:
        sheet.text(left, 1.0, "no stretch stands apart", size=style.SMALL, color=style.SOFT)
    for row, sample in enumerate(samples):
        bins = table[table[keys.SAMPLE].astype(str) == sample].sort_values("start_s")
        down = top + row * row_height + head
        sheet.text(left, down - head + 1.2, _head(sample, bins), size=style.SMALL)
        for column, measure in enumerate(("rate", "shift")):
            box = Box(left + column * (width + gap), down, width, height)
            axes = sheet.axes(box, label=f"{sample} {measure}")
            _draw(axes, bins, measure)
            axes.set_ylabel("events/s" if measure == "rate" else "largest shift")
    sheet.text(left + width + gap / 2, sheet.height - 3.8, "time, minutes", ha="center")
    return sheet.figure


def _head(sample: str, bins: pd.DataFrame) -> str:
    stable = bins["stable"].to_numpy(dtype=bool)
    events = bins["events"].to_numpy(dtype=float)
    share = 100 * events[stable].sum() / max(events.sum(), 1.0)
    name, total = fitted_text.label(sample, 24), fitted_text.count(events.sum())
    text = f"{name}: {fitted_text.percent(share)} % of {total} events stable"
    if not stable.all():
        named = bins.loc[~stable, "worst"].astype(str).value_counts()
        text += ", else by " + ", ".join(fitted_text.label(name, 12) for name in named.index[:3])
    return text


def _draw(axes: Axes, bins: pd.DataFrame, measure: str) -> None:
    start, end = (bins[name].to_numpy(dtype=float) / 60 for name in ("start_s", "end_s"))
    if not np.isfinite(start).any():
        axes.annotate(
            "not judged", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", size=style.SMALL,
            color=style.SOFT,
        )  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        return
    why = bins["by"].astype(str).to_numpy()
    # neighbours with the same reason are one shade
    breaks = np.flatnonzero(why[1:] != why[:-1]) + 1
    for first, last in zip([0, *breaks], [*breaks, why.size], strict=True):
        if why[first] in _COLOURS:
            axes.axvspan(
                start[first], end[last - 1], color=_COLOURS[why[first]], alpha=0.55, linewidth=0, zorder=0,
                label=why[first],
            )  # fmt: skip
    if measure == "rate":
        seconds = np.maximum(60 * (end - start), 1e-3)
        values = bins["events"].to_numpy(dtype=float) / seconds
    else:
        values = bins["shift"].to_numpy(dtype=float)
        axes.axhline(0, color=style.PALE, linewidth=0.6, zorder=1)
    # a bin that holds a pause has no rate, and a line across it would show events that never were
    length = end - start
    values = np.where(length > max(_PAUSE_MIN, _PAUSE_TIMES * float(np.median(length))), np.nan, values)
    axes.plot((start + end) / 2, values, color=_LINE, linewidth=0.7, label=measure, zorder=2)
    axes.set_xlim(float(start.min()), float(end.max()) or 1.0)
    if measure == "rate":
        axes.set_ylim(0, float(np.nanmax(values, initial=1.0)) * 1.08)
    else:
        most = max(float(np.nanmax(np.abs(values), initial=0.0)) * 1.08, _LEAST_SHOWN)
        axes.set_ylim(-most, most)
    few_ticks(axes, 3)
