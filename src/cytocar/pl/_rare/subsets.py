"""Shares of CD4, CD8, DN and DP cells, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDEST_SLOT = 22.0
_COLUMNS = (keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET, "n", "fraction", "low", "high")


def sample_axis(axes: Axes, names: Sequence[str], width_mm: float, *, longest: int = 16) -> float:
    """Write sample names below an axis: turned where they are too wide, thinned where they are too many.

    Returns
    -------
    The height in millimetres that the names take.
    """
    texts, turned = _names_on(names, width_mm, longest)
    slot = _slot(len(texts), width_mm)
    every = max(1, int(np.ceil((fitted_text.height_mm() + 0.2) / slot))) if turned else 1
    axes.set_xticks(range(0, len(texts), every), texts[::every], rotation=90 if turned else 0)
    middle, half = (len(texts) - 1) / 2, width_mm / slot / 2 + 0.1
    axes.set_xlim(middle - half, middle + half)
    return names_height(names, width_mm, longest=longest)


def _slot(n: int, width_mm: float) -> float:
    """Return the room of one sample: a few bars are not made wide, they stand in the middle."""
    return min(width_mm / max(n, 1), _WIDEST_SLOT)


def _names_on(names: Sequence[str], width_mm: float, longest: int) -> tuple[list[str], bool]:
    texts = [fitted_text.label(name, longest) for name in names]
    return texts, max(map(fitted_text.width_mm, texts)) > _slot(len(texts), width_mm) - 0.6


def names_height(names: Sequence[str], width_mm: float, *, longest: int = 16) -> float:
    """Return what `sample_axis` will return."""
    texts, turned = _names_on(names, width_mm, longest)
    return (max(map(fitted_text.width_mm, texts)) if turned else fitted_text.height_mm()) + 2.0


@style.styled
def subsets(table: pd.DataFrame, samples: pd.DataFrame | None = None) -> Figure:
    """Draw the share of every subset in every sample: stacked bars, and beside them shares with their intervals.

    One row of panels a compartment (CAR-T, host T). The number of cells stands above its bar.

    Parameters
    ----------
    table
        `sample_id`, `compartment`, `subset`, `n`, `fraction`, `low`, `high` (shares from 0 to 1), as
        `cytocar.tl.subsets` returns them.
    samples
        A table with `sample_id` and, as far as known, `timepoint`, `months` and `patient_id` (such as
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
    inputs.require(table, _COLUMNS, "the table of subsets")
    order = inputs.sample_order(table[keys.SAMPLE], samples)
    called = inputs.sample_labels(order, samples)
    names = [called[sample] for sample in order]
    present = set(table[keys.COMPARTMENT].astype(str))
    compartments: list[str] = [c for c in (keys.CAR, keys.HOST, keys.CELLS) if c in present]
    compartments += sorted(present - set(compartments))
    found = set(table[keys.SUBSET].astype(str))
    shown = [name for name in keys.SUBSETS if name in found] + sorted(found - set(keys.SUBSETS))

    left, gap, legend = 14.0, 20.0, 20.0
    bars = 58.0
    lines = style.WIDTH_MM - left - gap - bars - legend
    height, head = 34.0, 9.0
    foot = max(names_height(names, bars), names_height(names, lines))
    sheet = Sheet(len(compartments) * (head + height + foot + 2) + 1)
    for row, compartment in enumerate(compartments):
        part = table[table[keys.COMPARTMENT].astype(str) == compartment]
        top = row * (head + height + foot + 2) + head
        wide = {
            column: part.assign(s=part[keys.SAMPLE].astype(str), c=part[keys.SUBSET].astype(str))
            .pivot_table(index="s", columns="c", values=column, aggfunc="first")
            .reindex(index=order, columns=shown)
            .to_numpy(dtype=float)
            for column in ("n", "fraction", "low", "high")
        }
        title = style.WORDS.get(compartment, compartment)
        axes = sheet.axes(Box(left, top, bars, height), label=f"{compartment} bars")
        _stack(axes, wide["fraction"], wide["n"], shown, bars)
        sample_axis(axes, names, bars)
        axes.set_ylabel(f"% of {fitted_text.label(title)} cells")
        sheet.text(left, top - head + 1.0, fitted_text.label(title), size=style.TITLE)
        axes = sheet.axes(Box(left + bars + gap, top, lines, height), label=f"{compartment} intervals")
        _intervals(axes, wide, shown)
        sample_axis(axes, names, lines)
        axes.set_ylabel("%, with 95 % interval")
    from matplotlib.patches import Patch

    sheet.legend(
        left + bars + gap + lines + 4, head, [Patch(color=style.subset_colour(name)) for name in reversed(shown)],
        [fitted_text.label(name) for name in reversed(shown)], title="subset",
    )  # fmt: skip
    return sheet.figure


def _stack(axes: Axes, share: np.ndarray, n: np.ndarray, shown: Sequence[str], width_mm: float) -> None:
    base = np.zeros(len(share))
    for place, name in enumerate(shown):
        tops = np.nan_to_num(100 * share[:, place])
        axes.bar(
            range(len(share)), tops, bottom=base, width=0.78, color=style.subset_colour(name), linewidth=0,
            label=fitted_text.label(name),
        )  # fmt: skip
        base += tops
    axes.set(ylim=(0, 100), yticks=[0, 25, 50, 75, 100])
    write_totals(axes, np.nansum(n, axis=1), width_mm)


def write_totals(axes: Axes, totals: np.ndarray, width_mm: float) -> None:
    """Write the number of cells above each bar, or their range where they do not fit."""
    texts = [fitted_text.count(n) for n in totals]
    how: dict[str, Any] = {
        "size": style.SMALL,
        "color": style.SOFT,
        "va": "bottom",
        "textcoords": "offset points",
    }
    if max(fitted_text.width_mm(text, style.SMALL) for text in texts) < width_mm / len(texts) - 0.4:
        for place, text in enumerate(texts):
            axes.annotate(
                text, (place, 1), xycoords=("data", "axes fraction"), xytext=(0, 2.5), ha="center", **how
            )
        axes.annotate("n", (0, 1), xycoords="axes fraction", xytext=(-3, 2.5), ha="right", **how)
    else:
        axes.annotate(
            f"{fitted_text.n_range(totals)} a sample",
            (1, 1),
            xycoords="axes fraction",
            xytext=(0, 2.5),
            ha="right",
            **how,
        )


def _intervals(axes: Axes, wide: dict[str, np.ndarray], shown: Sequence[str]) -> None:
    n_samples = len(wide["fraction"])
    step = 0.14 if n_samples <= 12 else 0.0
    for place, name in enumerate(shown):
        x = np.arange(n_samples) + step * (place - (len(shown) - 1) / 2)
        middle, low, high = (100 * wide[column][:, place] for column in ("fraction", "low", "high"))
        colour = style.subset_colour(name)
        axes.errorbar(
            x, middle, yerr=np.clip([middle - low, high - middle], 0, None), color=colour, marker="o",
            markersize=3.2 if n_samples <= 12 else 2.0, linewidth=0.7, elinewidth=0.9, label=fitted_text.label(name),
        )  # fmt: skip
    axes.set(ylim=(-2, 102), yticks=[0, 25, 50, 75, 100])
