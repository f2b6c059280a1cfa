"""Acquisition over time: rate and signals of every file, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar._core.errors import ParameterError
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, few_ticks
from cytocar.pl._steps.files import SPACE, FileAxis, within

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_MEASURES = (
    ("events_per_s", "events/s"),
    ("cell_fraction", "cells,\n% of events"),
    ("dna_median", "DNA,\nmedian counts"),
    ("bead_median", "beads,\nmedian counts"),
    ("cd45_median", "CD45,\nmedian counts"),
)
_COLOURS = (palette.BLUE, palette.VERMILION)


@style.styled
def quality(table: pd.DataFrame) -> Figure:
    """Draw event rate, share of cells, and the signals of DNA, beads and CD45 along the time of every file.

    Files stand side by side, each from its start to its end, so that a step from file to file shows as well as a
    drift within one. The line across a file is its own median. A measure that no file has is left out.

    Parameters
    ----------
    table
        `sample_id`, `start_s`, `end_s` (s), `events`, `events_per_s` (1/s), `cell_fraction` (0 to 1),
        `dna_median`, `bead_median`, `cd45_median` (counts): one row per bin of time, NaN where not known.

    Returns
    -------
    Figure; an Axes is labelled with its column.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or every measure is empty.

    Examples
    --------
    >>> import pandas
    >>> bins = pandas.DataFrame({
    ...     "sample_id": ["a", "a"], "start_s": [0, 10], "end_s": [10, 20], "events": [2500, 2400],
    ...     "events_per_s": [250, 240], "cell_fraction": [0.7, 0.7], "dna_median": [275, 270],
    ...     "bead_median": [2700, 2600], "cd45_median": [450, 440]})
    >>> [axes.get_label() for axes in quality(bins).axes]
    ['events_per_s', 'cell_fraction', 'dna_median', 'bead_median', 'cd45_median']
    """
    columns = (keys.SAMPLE, "start_s", "end_s", "events", *(name for name, _ in _MEASURES))
    inputs.require(table, columns, "the table of quality over time")
    shown = [
        (name, title) for name, title in _MEASURES if np.isfinite(table[name].to_numpy(dtype=float)).any()
    ]
    if not shown:
        raise ParameterError("every measure in the table of quality over time is empty")
    samples = inputs.distinct(table, keys.SAMPLE)
    left, width, height, gap, head = 19.0, style.WIDTH_MM - 19.0 - 3.0, 17.0, 3.0, 1.5
    bins = [table[inputs.texts(table, keys.SAMPLE) == sample].sort_values("start_s") for sample in samples]
    slot = width / len(samples)
    files = FileAxis(_names(samples, bins, slot), slot)
    sheet = Sheet(head + len(shown) * (height + gap) + files.height + 3)
    for position, (name, title) in enumerate(shown):
        axes = sheet.axes(Box(left, head + position * (height + gap), width, height), label=name)
        _draw(axes, bins, name)
        axes.set_ylabel(title, linespacing=1.1)
        files.draw(axes, named=position == len(shown) - 1)
    sheet.text(left + width / 2, sheet.height - 3.6, "every file from its start to its end", ha="center")
    return sheet.figure


def _names(samples: list[str], of_samples: list[pd.DataFrame], slot: float) -> list[str]:
    """Return what stands below a file: its name and, where there is room, its events and its length."""
    names = [fitted_text.label(sample, 18) for sample in samples]
    more = []
    for bins in of_samples:
        minutes = (float(bins["end_s"].max()) - float(bins["start_s"].min())) / 60
        more.append((f"n = {fitted_text.count(bins['events'].sum())}", f"{minutes:.1f} min"))
    if slot > max(fitted_text.width_mm(text) for pair in more for text in pair) + 1 and slot > max(
        map(fitted_text.width_mm, names)
    ):
        return [f"{name}\n{events}\n{length}" for name, (events, length) in zip(names, more, strict=True)]
    return [f"{name}  {events}" for name, (events, _) in zip(names, more, strict=True)]


def broken(
    start: NDArray[np.float64], end: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Break a line at pauses: between bins that do not touch, and about a bin that holds a pause.

    Examples
    --------
    >>> start, end = np.array([0.0, 1.0, 9.0]), np.array([1.0, 2.0, 10.0])
    >>> broken(start, end, np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 5.0]))[0].tolist()
    [1.0, 2.0, nan, 3.0]
    """
    usual = float(np.median(end - start))
    apart = np.flatnonzero(start[1:] - end[:-1] > 2 * usual) + 1
    paused = np.flatnonzero(end - start > 3 * usual)
    breaks = np.concatenate([apart, paused, paused + 1])
    return np.insert(x, breaks, np.nan), np.insert(y, breaks, np.nan)


def _draw(axes: Axes, of_samples: list[pd.DataFrame], name: str) -> None:
    factor = 100.0 if name == "cell_fraction" else 1.0
    top = 0.0
    for position, bins in enumerate(of_samples):
        start, end = (bins[c].to_numpy(dtype=float) for c in ("start_s", "end_s"))
        values = factor * bins[name].to_numpy(dtype=float)
        if not np.isfinite(values).any():
            axes.annotate(
                "none", (position + 0.5, 0.5), xycoords=("data", "axes fraction"), ha="center", va="center",
                size=style.SMALL, color=style.SOFT,
            )  # fmt: skip
            continue
        whole = max(float(end.max() - start.min()), 1e-9)
        x, y = broken(start, end, within(position, ((start + end) / 2 - start.min()) / whole), values)
        colour = _COLOURS[position % len(_COLOURS)]
        axes.plot(
            x,
            y,
            color=colour,
            linewidth=0.8,
            marker="o" if len(values) < 4 else None,
            markersize=2,
            label=str(position),
        )
        axes.plot(
            [position + SPACE / 2, position + 1 - SPACE / 2], [np.nanmedian(values)] * 2, color=colour, linewidth=0.5,
            linestyle=(0, (2, 2)), zorder=1, label="median",
        )  # fmt: skip
        top = max(top, float(np.nanmax(values)))
    axes.set_ylim(0, 100 if name == "cell_fraction" else (top or 1.0) * 1.08)
    few_ticks(axes, 4)
