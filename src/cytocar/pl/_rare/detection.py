"""CAR-T events of each sample against the limits of blank, detection and quantitation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar._core.population_words import words
from cytocar._core.vocabulary import DETECTION_CALLS
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, dress

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = (
    keys.SAMPLE, "n_cd45", "n_car", "pct_low", "pct_high", "lob_events", "lod_events", "loq_events", "call",
)  # fmt: skip
_LIMITS = (
    ("lob_events", "limit of blank", "|", style.SOFT),
    ("lod_events", "limit of detection", "d", palette.PURPLE),
    ("loq_events", "limit of quantitation", "s", palette.BLUE),
)


@style.styled
def detection(frequency: pd.DataFrame, *, ax: Axes | None = None) -> Figure | Axes:
    """Draw the CAR-T events of every sample with their interval beside the limits they are judged by.

    Parameters
    ----------
    frequency
        The table of `cytocar.tl.detection`, control tubes included.
    ax
        Draw into this Axes and return it, instead of a new Figure.

    Returns
    -------
    The Figure, or `ax` where it was given.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.

    Examples
    --------
    >>> import pandas
    >>> found = pandas.DataFrame({
    ...     "sample_id": ["a"], "n_cd45": 1000, "n_car": [30], "pct_low": [2.0], "pct_high": [4.3], "lob_events": 2.0,
    ...     "lod_events": 6.3, "loq_events": 25.0, "call": ["quantified"]})
    >>> detection(found).axes[0].get_xscale()
    'symlog'
    """
    inputs.require(frequency, _COLUMNS, "the table of CAR-T frequencies")
    order = inputs.sample_order(frequency[keys.SAMPLE], frequency)
    table = frequency.set_index(frequency[keys.SAMPLE].astype(str)).loc[order]
    called = inputs.sample_labels(order, frequency)
    names = [fitted_text.label(called[sample], 20) for sample in order]
    figure = None
    if ax is None:
        left = max(map(fitted_text.width_mm, names)) + 6
        height = max(4.5 * len(order), 14.0)
        sheet = Sheet(height + 24)
        ax = sheet.axes(Box(left, 12, style.WIDTH_MM - left - 40, height), label="detection")
        figure = sheet.figure
    dress(ax)
    rows = np.arange(len(order))
    whole, n = (table[c].to_numpy(dtype=float) for c in ("n_cd45", "n_car"))
    low, high = (table[c].to_numpy(dtype=float) * whole / 100 for c in ("pct_low", "pct_high"))
    ax.set_xscale("symlog", linthresh=1, linscale=0.4)
    for column, name, marker, colour in _LIMITS:
        values = table[column].to_numpy(dtype=float)
        ax.plot(
            values, rows, linestyle="none", marker=marker, markersize=5 if marker == "|" else 3.2, color=colour,
            markerfacecolor="none", markeredgewidth=0.9, label=name, zorder=2,
        )  # fmt: skip
    ax.errorbar(
        n,
        rows,
        xerr=np.clip([n - low, high - n], 0, None),
        fmt="none",
        ecolor=style.INK,
        elinewidth=0.9,
        zorder=3,
    )
    calls = table["call"].astype(str).to_numpy()
    for call in DETECTION_CALLS:
        mine = calls == call
        if mine.any():
            ax.plot(
                n[mine], rows[mine], linestyle="none", marker=style.CALL_MARKERS[call], markersize=4.5,
                color=style.CALL_COLOURS[call], markeredgecolor=style.INK, markeredgewidth=0.6,
                label=fitted_text.label(call), zorder=4,
            )  # fmt: skip
    for row, (events, cells) in enumerate(zip(n, whole, strict=True)):
        ax.annotate(
            f"n = {fitted_text.count(events)} of {fitted_text.count(cells)}",
            (1, row), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", size=style.SMALL, annotation_clip=False,
        )  # fmt: skip
    ax.set_yticks(rows, names)
    ax.set_ylim(len(order) - 0.5, -0.5)
    largest = np.nanmax(
        [np.nanmax(high), *(np.nanmax(table[c].to_numpy(dtype=float), initial=1) for c, *_ in _LIMITS)]
    )
    ax.set_xlim(-0.2, largest * 1.6)
    ticks = [0, *(10**k for k in range(int(np.ceil(np.log10(largest * 1.6))) + 1) if 10**k <= largest * 1.6)]
    ax.set_xticks(ticks, [fitted_text.count(tick) for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set_xlabel(f"{words().car} events, with 95 % interval")
    if figure is None:
        return ax
    handles, texts = ax.get_legend_handles_labels()
    figure.legend(
        handles, texts, loc="upper left", ncols=len(texts), bbox_to_anchor=(0.02, 1 - 3 / sheet.height),
        columnspacing=1.0,
    )  # fmt: skip
    return figure
