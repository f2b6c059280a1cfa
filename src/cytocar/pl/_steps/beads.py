"""Calibration beads over time, before and after normalisation, and the factor between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, few_ticks
from cytocar.pl._steps.files import FileAxis, within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROWS = (
    ("before", "beads before,\nmedian counts"),
    ("after", "beads after,\nmedian counts"),
    ("slope", "factor"),
)
# Lines of Okabe and Ito, in the order of mass.
_COLOURS = (palette.BLUE, palette.SKY, palette.GREEN, palette.ORANGE, palette.VERMILION, palette.PURPLE)


@style.styled
def beads(traces: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Draw the smoothed signal of the beads over every file, before and after normalisation, and the factor.

    Files stand side by side, each from its first to its last bead. The counts before and after have one scale, so
    that what normalisation removes can be seen. A file that was left as it is has no lines.

    Parameters
    ----------
    traces
        `sample_id`, `time_s` (s), `channel`, `before`, `after` (counts), `slope`: as `cytocar.pp.bead_traces`
        gives it.
    table
        `sample_id`, `n_beads`, `spread_before`, `spread_after` (max / min): as `cytocar.pp.bead_table` gives it; one
        row per file, in the order in which they are drawn.

    Returns
    -------
    Figure; its three Axes are labelled ``before``, ``after`` and ``slope``.

    Raises
    ------
    ParameterError
        A column is missing or there are no rows.

    Examples
    --------
    >>> import cytocar as cc
    >>> events = cc.datasets.legend2(cells=2000, timepoints=["2mo"])
    >>> cc.pp.normalize_beads(events)
    >>> figure = beads(cc.pp.bead_traces(events), cc.pp.bead_table(events))
    >>> [axes.get_label() for axes in figure.axes]
    ['before', 'after', 'slope']
    """
    inputs.require(
        traces, (keys.SAMPLE, "time_s", "channel", "before", "after", "slope"), "the table of bead traces"
    )
    inputs.require(table, (keys.SAMPLE, "n_beads", "spread_before", "spread_after"), "the table of beads")
    samples = inputs.distinct(table, keys.SAMPLE)
    of_samples = [traces[inputs.texts(traces, keys.SAMPLE) == sample] for sample in samples]
    channels = inputs.distinct(traces, "channel")
    left, width, height, gap, head = 19.0, style.WIDTH_MM - 19.0 - 3.0, 24.0, 3.0, 6.0
    slot = width / len(samples)
    files = FileAxis(_names(samples, table, slot), slot)
    sheet = Sheet(head + len(_ROWS) * (height + gap) + files.height + 3)
    counts = traces[["before", "after"]].to_numpy(dtype=float)
    for position, (name, title) in enumerate(_ROWS):
        axes = sheet.axes(Box(left, head + position * (height + gap), width, height), label=name)
        _draw(axes, of_samples, channels, name)
        axes.set_ylabel(title, linespacing=1.1)
        if name != "slope":
            axes.set_ylim(*_room(counts))
        files.draw(axes, named=position == len(_ROWS) - 1)
        few_ticks(axes, 4)
    _key(sheet, left, channels)
    sheet.text(
        left + width / 2, sheet.height - 3.6, "every file from its first to its last bead", ha="center"
    )
    return sheet.figure


def _key(sheet: Sheet, left: float, channels: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=_COLOURS[i % len(_COLOURS)], linewidth=1.2) for i in range(len(channels))]
    names = [fitted_text.label(channel, 12) for channel in channels]
    sheet.legend(left, 0.8, handles, names, ncols=min(len(channels), 8))


def _names(samples: list[str], table: pd.DataFrame, slot: float) -> list[str]:
    """Return what stands below a file: its name and, where there is room, its beads and their spread."""
    names = [fitted_text.label(sample, 18) for sample in samples]
    rows = table.drop_duplicates(keys.SAMPLE)
    counts = [f"{fitted_text.count(n)} beads" for n in rows["n_beads"]]
    change = [
        f"spread {100 * (before - 1):.1f} to {100 * (after - 1):.1f} %"
        if np.isfinite(before)
        else "left as it is"
        for before, after in rows[["spread_before", "spread_after"]].to_numpy(dtype=float)
    ]
    if slot > max(map(fitted_text.width_mm, [*names, *counts, *change])) + 1:
        return ["\n".join(lines) for lines in zip(names, counts, change, strict=True)]
    return names


def _room(counts: np.ndarray) -> tuple[float, float]:
    """Return limits that hold all counts, with a little room."""
    low, high = float(np.nanmin(counts)), float(np.nanmax(counts))
    margin = 0.06 * (high - low) or 0.05 * high
    return low - margin, high + margin


def _draw(axes: Axes, of_samples: list[pd.DataFrame], channels: list[str], name: str) -> None:
    """Draw the lines of one row, one per channel and file; there is one factor for all channels."""
    for position, traces in enumerate(of_samples):
        if not len(traces):
            axes.annotate(
                "left as it is", (position + 0.5, 0.5), xycoords=("data", "axes fraction"), ha="center", va="center",
                size=style.SMALL, color=style.SOFT,
            )  # fmt: skip
            continue
        start, end = float(traces["time_s"].min()), float(traces["time_s"].max())
        shown = channels if name != "slope" else [str(traces["channel"].iloc[0])]
        for channel in shown:
            line = traces[inputs.texts(traces, "channel") == channel].sort_values("time_s")
            if not len(line):
                continue
            along = (line["time_s"].to_numpy(dtype=float) - start) / max(end - start, 1e-9)
            colour = _COLOURS[channels.index(channel) % len(_COLOURS)] if name != "slope" else style.INK
            axes.plot(
                within(position, along),
                line[name].to_numpy(dtype=float),
                color=colour,
                linewidth=0.8,
                label=f"{position}:{channel}",
            )
    if name == "slope":
        axes.axhline(1.0, color=style.SOFT, linewidth=0.5, linestyle=(0, (2, 2)), zorder=1, label="1")
