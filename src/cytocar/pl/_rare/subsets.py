"""Shares of CD4, CD8, DN and DP cells, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sample_axis import names_height, sample_axis, write_totals
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_COLUMNS = (keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET, "n", "fraction", "low", "high")


@style.styled
def subsets(table: pd.DataFrame, samples: pd.DataFrame | None = None) -> Figure:
    """Draw the share of every subset in every sample: stacked bars, and beside them shares with their intervals.

    One row of panels per compartment (CAR-T, host T). The number of cells stands above its bar.

    Parameters
    ----------
    table
        `sample_id`, `compartment`, `subset`, `n`, `fraction`, `low`, `high` (shares from 0 to 1), as
        `cytocar.tl.subsets` returns them.
    samples
        A table with `sample_id` and, where available, `timepoint`, `months` and `patient_id` (such as
        ``car_frequency.csv``): samples are ordered by time and called by their timepoint where that tells them
        apart.

    Returns
    -------
    Figure with the Axes ``<compartment> bars`` and ``<compartment> intervals``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.

    Examples
    --------
    >>> import pandas
    >>> shares = pandas.DataFrame({"sample_id": ["a"], "compartment": ["car"], "subset": ["DN"], "n": [9],
    ...                            "fraction": [0.9], "low": [0.55], "high": [0.997]})
    >>> [axes.get_label() for axes in subsets(shares).axes]
    ['car bars', 'car intervals']
    """
    return _draw(arrange(table, samples))


@dataclass(frozen=True)
class Shares:
    """Subsets of each compartment, in the order drawn."""

    names: list[str]
    """What the samples are called."""
    subsets: list[str]
    of: dict[str, dict[str, NDArray[np.float64]]]
    """For each compartment `n`, and `fraction`, `low` and `high` in percent, as samples x subsets."""


def arrange(table: pd.DataFrame, samples: pd.DataFrame | None = None) -> Shares:
    """Arrange what `subsets` draws."""
    inputs.require(table, _COLUMNS, "the table of subsets")
    order = inputs.sample_order(table[keys.SAMPLE], samples)
    called = inputs.sample_labels(order, samples)
    present = set(inputs.texts(table, keys.COMPARTMENT))
    compartments: list[str] = [c for c in (keys.CAR, keys.HOST, keys.CELLS) if c in present]
    compartments += sorted(present - set(compartments))
    shown = inputs.subset_order(inputs.texts(table, keys.SUBSET))
    of = {}
    for compartment in compartments:
        rows = table[inputs.texts(table, keys.COMPARTMENT) == compartment]
        columns = ("n", "fraction", "low", "high")
        wide = inputs.wide(rows, columns, samples=order, by=keys.SUBSET, groups=shown)
        of[compartment] = {name: values if name == "n" else 100 * values for name, values in wide.items()}
    return Shares([called[sample] for sample in order], shown, of)


def _draw(shares: Shares) -> Figure:
    from matplotlib.patches import Patch

    left, gap, legend = 14.0, 20.0, 20.0
    bars = 58.0
    lines = style.WIDTH_MM - left - gap - bars - legend
    height, head = 34.0, 9.0
    foot = max(names_height(shares.names, bars), names_height(shares.names, lines))
    sheet = Sheet(len(shares.of) * (head + height + foot + 2) + 1)
    for row, (compartment, wide) in enumerate(shares.of.items()):
        top = row * (head + height + foot + 2) + head
        title = fitted_text.label(style.in_words(compartment))
        axes = sheet.axes(Box(left, top, bars, height), label=f"{compartment} bars")
        _stack(axes, wide, shares.subsets, bars)
        sample_axis(axes, shares.names, bars)
        axes.set_ylabel(f"% of {title} cells")
        sheet.text(left, top - head + 1.0, title, size=style.TITLE)
        axes = sheet.axes(Box(left + bars + gap, top, lines, height), label=f"{compartment} intervals")
        _intervals(axes, wide, shares.subsets)
        sample_axis(axes, shares.names, lines)
        axes.set_ylabel("%, with 95 % interval")
    upwards = list(reversed(shares.subsets))  # as the bars are stacked
    sheet.legend(
        left + bars + gap + lines + 4, head, [Patch(color=palette.subset_colour(name)) for name in upwards],
        [fitted_text.label(name) for name in upwards], title="subset",
    )  # fmt: skip
    return sheet.figure


def _stack(
    axes: Axes, wide: Mapping[str, NDArray[np.float64]], subsets: Sequence[str], width_mm: float
) -> None:
    base = np.zeros(len(wide["n"]))
    for position, name in enumerate(subsets):
        tops = np.nan_to_num(wide["fraction"][:, position])
        axes.bar(
            range(len(base)), tops, bottom=base, width=0.78, color=palette.subset_colour(name), linewidth=0,
            label=fitted_text.label(name),
        )  # fmt: skip
        base += tops
    axes.set(ylim=(0, 100), yticks=[0, 25, 50, 75, 100])
    write_totals(axes, np.nansum(wide["n"], axis=1), width_mm)


def _intervals(axes: Axes, wide: Mapping[str, NDArray[np.float64]], subsets: Sequence[str]) -> None:
    n_samples = len(wide["fraction"])
    step = 0.14 if n_samples <= 12 else 0.0
    for position, name in enumerate(subsets):
        x = np.arange(n_samples) + step * (position - (len(subsets) - 1) / 2)
        middle, low, high = (wide[column][:, position] for column in ("fraction", "low", "high"))
        axes.errorbar(
            x, middle, yerr=np.clip([middle - low, high - middle], 0, None), color=palette.subset_colour(name),
            marker="o", markersize=3.2 if n_samples <= 12 else 2.0, linewidth=0.7, elinewidth=0.9,
            label=fitted_text.label(name),
        )  # fmt: skip
    axes.set(ylim=(-2, 102), yticks=[0, 25, 50, 75, 100])
