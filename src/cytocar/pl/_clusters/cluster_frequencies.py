"""Shares of clusters, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, ordering, palette, vocabulary
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sample_axis import names_height, sample_axis, write_totals
from cytocar.pl._page.sheet import Box, Sheet, few_ticks, grid, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_DENSE = 12
_COLUMNS = (keys.SAMPLE, "method", "cluster", "n", "fraction", "low", "high")


@style.styled
def cluster_frequencies(
    table: pd.DataFrame,
    profiles: pd.DataFrame | None = None,
    *,
    samples: pd.DataFrame | None = None,
    method: str | None = None,
) -> Figure:
    """Draw the share of every cluster in every sample, which clusters make up each subset, and all intervals.

    Above: one stacked bar per sample and, where `profiles` gives the subset of a cluster, one per subset (all samples
    together). Below: one panel per cluster, its share in every sample with the 95 % interval, each on its own scale.

    Parameters
    ----------
    table
        `sample_id`, `method`, `cluster`, `n`, `fraction`, `low`, `high` (shares from 0 to 1), as
        `cytocar.tl.cluster_frequencies` returns them.
    profiles
        `method`, `cluster`, `subset`, as `cytocar.tl.cluster_profiles` returns them.
    samples
        As in `cytocar.pl.subsets`.
    method
        Which clustering; default the first in the table.

    Returns
    -------
    Figure with the Axes ``samples``, ``subsets`` (with `profiles`) and ``cluster <label>``.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or the method is not in the table.

    Examples
    --------
    >>> import pandas
    >>> shares = pandas.DataFrame({"sample_id": ["a"], "method": ["flowsom"], "cluster": ["1"], "n": [9],
    ...                            "fraction": [1.0], "low": [0.7], "high": [1.0]})
    >>> [axes.get_label() for axes in cluster_frequencies(shares).axes]
    ['samples', 'cluster 1']
    """
    return _draw(arrange(table, profiles, samples=samples, method=method))


@dataclass(frozen=True)
class Frequencies:
    """The clusters of one method, in the order drawn; arrays are samples x clusters, NaN where the table has no row."""

    method: str
    names: list[str]
    """What the samples are called."""
    clusters: list[str]
    n: NDArray[np.float64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """Percent, with the ends of the 95 % interval."""
    subset_of: Mapping[str, str]
    """Subset of each cluster that has one."""
    made_of: pd.DataFrame
    """Cells of each subset (rows) in each cluster (columns)."""
    joined: list[list[int]]
    """Positions of samples that a line joins."""


def arrange(
    table: pd.DataFrame,
    profiles: pd.DataFrame | None = None,
    *,
    samples: pd.DataFrame | None = None,
    method: str | None = None,
) -> Frequencies:
    """Arrange what `cluster_frequencies` draws."""
    inputs.require(table, _COLUMNS, "the table of clusters")
    method = inputs.first_or(table, "method", method)
    rows = inputs.rows_of(table, "method", method)
    order = inputs.sample_order(rows[keys.SAMPLE], samples)
    called = inputs.sample_labels(order, samples)
    clusters = ordering.sort_clusters(rows["cluster"])
    columns = ("n", "fraction", "low", "high")
    wide = inputs.wide(rows, columns, samples=order, by="cluster", groups=clusters)
    subset_of = _subsets_of(profiles, method)
    return Frequencies(
        method,
        [called[sample] for sample in order],
        clusters,
        wide["n"],
        100 * wide["fraction"],
        100 * wide["low"],
        100 * wide["high"],
        subset_of,
        cells_by_subset(np.nansum(wide["n"], axis=0), clusters, subset_of),
        _joined(order, samples),
    )


@dataclass(frozen=True)
class _Layout:
    """Measures of the page in millimetres, from what has to fit on it."""

    bars: float
    """Width of the panel of stacked bars."""
    subsets: float
    """Width of the bars of subsets, with their axis; 0 where there are none."""
    legend_columns: int
    columns: int
    """Small panels in a row."""
    rows: int
    top: float
    """Upper edge of the small panels."""
    gap_y: float
    foot: float

    left = 14.0
    head = 9.0
    height = 42.0
    small_height = 17.0
    small_gap = 8.0

    @property
    def page_height(self) -> float:
        return self.top + self.small_panels + self.foot + 1

    @property
    def small_panels(self) -> float:
        return self.rows * self.small_height + (self.rows - 1) * self.gap_y


def _layout(shown: Frequencies) -> _Layout:
    n_clusters, n_samples = len(shown.clusters), len(shown.names)
    legend_columns = rows_of(n_clusters, 12)
    subsets = 15.0 + 13.0 * len(shown.made_of) if len(shown.made_of) else 0.0
    bars = style.WIDTH_MM - _Layout.left - 14.0 * legend_columns - subsets - 4
    columns = 3 if n_samples > 12 else 5 if n_clusters <= 10 else 6
    small = (style.WIDTH_MM - _Layout.left - 2 - _Layout.small_gap * (columns - 1)) / columns
    foot = names_height(shown.names, small, longest=10)
    return _Layout(
        bars,
        subsets,
        legend_columns,
        columns,
        rows_of(n_clusters, columns),
        _Layout.head + _Layout.height + names_height(shown.names, bars) + 10,
        6.0 if n_samples > _DENSE else 6.0 + foot,
        foot,
    )


def _draw(shown: Frequencies) -> Figure:
    page = _layout(shown)
    sheet = Sheet(page.page_height)
    colours = palette.cluster_colours(shown.clusters)

    axes = sheet.axes(Box(page.left, page.head, page.bars, page.height), label="samples")
    _stacked(axes, shown.share, shown.clusters, colours)
    sample_axis(axes, shown.names, page.bars)
    write_totals(axes, np.nansum(shown.n, axis=1), page.bars)
    axes.set_ylabel("% of clustered cells")
    sheet.text(page.left, 1.0, f"{fitted_text.heading(shown.method)} in every sample", size=style.TITLE)
    reach = page.left + page.bars
    if page.subsets:
        _draw_subsets(sheet, page, shown.made_of, colours)
        reach += page.subsets
    _legend(sheet, reach + 4, page.head, shown.clusters, colours, page.legend_columns)

    boxes = grid(
        len(shown.clusters), columns=page.columns, left=page.left, top=page.top,
        width=style.WIDTH_MM - page.left - 2, height=page.small_height, gap_x=page.small_gap, gap_y=page.gap_y,
    )  # fmt: skip
    for position, (cluster, box) in enumerate(zip(shown.clusters, boxes, strict=True)):
        axes = sheet.axes(box, label=f"cluster {cluster}")
        named = len(shown.names) <= _DENSE or position + page.columns >= len(shown.clusters)
        _draw_cluster(axes, shown, position, colours[cluster])
        if named:
            sample_axis(axes, shown.names, box.width, longest=10)
        else:
            axes.set_xticks(range(len(shown.names)), [""] * len(shown.names))
            axes.set_xlim(-0.6, len(shown.names) - 0.4)
    middle = page.top + page.small_panels / 2
    sheet.text(1.5, middle, "% of clustered cells, 95 % interval", rotation=90, va="center")
    return sheet.figure


def _draw_subsets(sheet: Sheet, page: _Layout, made_of: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw which clusters make up each subset."""
    left, width = page.left + page.bars + 15.0, page.subsets - 15.0
    axes = sheet.axes(Box(left, page.head, width, page.height), label="subsets")
    cells = made_of.to_numpy(dtype=float)
    totals = cells.sum(axis=1)
    _stacked(axes, 100 * (cells / totals[:, None]), list(made_of.columns), colours)
    sample_axis(axes, list(made_of.index), width)
    write_totals(axes, totals, width)
    axes.set_ylabel("% of the cells of the subset")
    sheet.text(left, 1.0, "clusters that make up a subset", size=style.TITLE)


def _draw_cluster(axes: Axes, shown: Frequencies, position: int, colour: str) -> None:
    """Draw the share of one cluster in every sample, with intervals and lines over time."""
    middle, low, high = (values[:, position] for values in (shown.share, shown.low, shown.high))
    axes.errorbar(
        range(len(middle)), middle, yerr=np.clip([middle - low, high - middle], 0, None), color=colour,
        marker="o", markersize=1.8 if len(middle) > _DENSE else 3.2, linestyle="none", elinewidth=0.9,
    )  # fmt: skip
    for along in shown.joined:
        axes.plot(along, middle[along], color=colour, linewidth=0.7, label="over time")
    top = float(np.nanmax(high)) if np.isfinite(high).any() else 1.0
    axes.set_ylim(0, max(top, 0.5) * 1.06)
    few_ticks(axes, 3)
    cluster = shown.clusters[position]
    subset = shown.subset_of.get(cluster, "")
    title = fitted_text.label(cluster, 8)
    axes.set_title(f"{title} {fitted_text.label(subset, 8)}" if subset else title, size=style.FONT)
    axes.set_title(
        f"n = {fitted_text.count(np.nansum(shown.n[:, position]))}",
        loc="right",
        size=style.SMALL,
        color=style.SOFT,
    )


def _joined(order: Sequence[str], samples: pd.DataFrame | None) -> list[list[int]]:
    """Return the positions of samples that a line joins: those of one patient, or all where no patients are known."""
    if samples is None or keys.PATIENT not in samples or keys.SAMPLE not in samples:
        return [list(range(len(order)))] if len(order) <= _DENSE else []
    who = dict(zip(samples[keys.SAMPLE].astype(str), samples[keys.PATIENT].astype(str), strict=True))
    of_patient: dict[str, list[int]] = {}
    for position, sample in enumerate(order):
        of_patient.setdefault(who.get(sample, sample), []).append(position)
    return [along for along in of_patient.values() if len(along) > 1]


def _stacked(
    axes: Axes, percent: NDArray[np.float64], clusters: Sequence[str], colours: Mapping[str, str]
) -> None:
    base = np.zeros(len(percent))
    for position, cluster in enumerate(clusters):
        tops = np.nan_to_num(percent[:, position])
        axes.bar(
            range(len(percent)), tops, bottom=base, width=0.78, color=colours[cluster], linewidth=0.3,
            edgecolor=style.WHITE, label=fitted_text.label(cluster, 12),
        )  # fmt: skip
        if len(percent) <= _DENSE:
            for x in np.flatnonzero(tops >= 7):
                axes.text(
                    float(x), base[x] + tops[x] / 2, fitted_text.label(cluster, 6), size=style.SMALL, ha="center",
                    va="center", color=style.ink_on(colours[cluster]),
                )  # fmt: skip
        base += tops
    axes.set(ylim=(0, 100), yticks=[0, 25, 50, 75, 100])


def _legend(
    sheet: Sheet, left: float, top: float, clusters: Sequence[str], colours: Mapping[str, str], columns: int
) -> None:
    from matplotlib.patches import Patch

    # top to bottom as the bars are stacked
    backwards = list(reversed(clusters))
    sheet.legend(
        left, top - 1, [Patch(color=colours[cluster], linewidth=0) for cluster in backwards],
        [fitted_text.label(cluster, 9) for cluster in backwards], title="cluster", ncols=columns,
    )  # fmt: skip


def _subsets_of(profiles: pd.DataFrame | None, method: str) -> dict[str, str]:
    if profiles is None or len(profiles) == 0:
        return {}
    inputs.require(profiles, ("method", "cluster", keys.SUBSET), "the table of cluster profiles")
    rows = profiles[profiles["method"].astype(str) == method]
    rows = rows[rows[keys.SUBSET].notna()].drop_duplicates("cluster")
    pairs = zip(rows["cluster"].astype(str), rows[keys.SUBSET].astype(str), strict=True)
    return {cluster: subset for cluster, subset in pairs if subset and cluster != vocabulary.NO_CLUSTER}


def cells_by_subset(
    sizes: NDArray[np.float64], clusters: Sequence[str], subset_of: Mapping[str, str]
) -> pd.DataFrame:
    """Return the cells of each subset (rows) in each cluster (columns), for subsets that have any."""
    import pandas as pd

    subsets = inputs.subset_order(subset_of.values())
    cells = [
        [size if subset_of.get(name) == subset else 0.0 for size, name in zip(sizes, clusters, strict=True)]
        for subset in subsets
    ]
    table = pd.DataFrame(cells, index=subsets, columns=list(clusters), dtype=float)
    return table[table.sum(axis=1) > 0]
