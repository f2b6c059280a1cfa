"""Shares of clusters, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, ordering, vocabulary
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, few_ticks, grid, rows_of
from cytocar.pl._rare.subsets import names_height, sample_axis, write_totals

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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

    Above: one stacked bar a sample and, where `profiles` tells the subset of a cluster, one a subset (all samples
    together). Below: one panel a cluster, its share in every sample with the 95 % interval, each on its own scale.

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
    inputs.require(table, _COLUMNS, "the table of clusters")
    methods = list(dict.fromkeys(table["method"].astype(str)))
    method = methods[0] if method is None else method
    if method not in methods:
        raise ParameterError(f"the table has no method {method!r}", fix=did_you_mean(method, methods))
    part = table[table["method"].astype(str) == method]
    order = inputs.sample_order(part[keys.SAMPLE], samples)
    called = inputs.sample_labels(order, samples)
    names = [called[sample] for sample in order]
    clusters = ordering.sort_clusters(part["cluster"])
    colours = style.cluster_colours(clusters)
    keyed = part.assign(s=part[keys.SAMPLE].astype(str), c=part["cluster"].astype(str))
    wide = {
        column: keyed.pivot_table(index="s", columns="c", values=column, aggfunc="first")
        .reindex(index=order, columns=clusters)
        .to_numpy(dtype=float)
        for column in ("n", "fraction", "low", "high")
    }
    subset_of = _subsets_of(profiles, method)
    made_of = _made_of(np.nansum(wide["n"], axis=0), clusters, subset_of)

    left, head, height = 14.0, 9.0, 42.0
    legend_columns = rows_of(len(clusters), 12)
    legend = 14.0 * legend_columns
    right = 15.0 + 13.0 * len(made_of) if made_of else 0.0
    bars = style.WIDTH_MM - left - legend - right - 4
    foot = names_height(names, bars)
    columns = 3 if len(order) > 12 else 5 if len(clusters) <= 10 else 6
    small_gap, small_height = 8.0, 17.0
    small_width = (style.WIDTH_MM - left - 2 - small_gap * (columns - 1)) / columns
    small_foot = names_height(names, small_width, longest=10)
    rows = rows_of(len(clusters), columns)
    top_small = head + height + foot + 10
    dense = len(order) > _DENSE
    gap_y = 6.0 if dense else 6.0 + small_foot
    lines = _lines_of(order, samples)
    sheet = Sheet(top_small + rows * small_height + (rows - 1) * gap_y + small_foot + 1)

    axes = sheet.axes(Box(left, head, bars, height), label="samples")
    _stacked(axes, wide["fraction"], clusters, colours)
    sample_axis(axes, names, bars)
    write_totals(axes, np.nansum(wide["n"], axis=1), bars)
    axes.set_ylabel("% of clustered cells")
    sheet.text(left, 1.0, f"{fitted_text.heading(method)} in every sample", size=style.TITLE)
    reach = left + bars
    if made_of:
        width = right - 15.0
        axes = sheet.axes(Box(reach + 15.0, head, width, height), label="subsets")
        shown = list(made_of)
        _stacked(axes, np.array([made_of[name][0] for name in shown]), clusters, colours)
        sample_axis(axes, shown, width)
        write_totals(axes, np.array([made_of[name][1] for name in shown]), width)
        axes.set_ylabel("% of the cells of the subset")
        sheet.text(reach + 15.0, 1.0, "clusters that make up a subset", size=style.TITLE)
        reach += right
    _legend(sheet, reach + 4, head, clusters, colours, legend_columns)

    boxes = grid(
        len(clusters), columns=columns, left=left, top=top_small, width=style.WIDTH_MM - left - 2,
        height=small_height, gap_x=small_gap, gap_y=gap_y,
    )  # fmt: skip
    for place, (cluster, box) in enumerate(zip(clusters, boxes, strict=True)):
        axes = sheet.axes(box, label=f"cluster {cluster}")
        middle, low, high = (100 * wide[column][:, place] for column in ("fraction", "low", "high"))
        axes.errorbar(
            range(len(order)), middle, yerr=np.clip([middle - low, high - middle], 0, None), color=colours[cluster],
            marker="o", markersize=1.8 if dense else 3.2, linestyle="none", elinewidth=0.9,
        )  # fmt: skip
        for along in lines:
            axes.plot(along, middle[along], color=colours[cluster], linewidth=0.7, label="over time")
        top = float(np.nanmax(high)) if np.isfinite(high).any() else 1.0
        axes.set_ylim(0, max(top, 0.5) * 1.06)
        few_ticks(axes, 3)
        if dense and place + columns < len(clusters):
            axes.set_xticks(range(len(order)), [""] * len(order))
            axes.set_xlim(-0.6, len(order) - 0.4)
        else:
            sample_axis(axes, names, box.width, longest=10)
        subset = subset_of.get(cluster, "")
        axes.set_title(
            f"{fitted_text.label(cluster, 8)}{' ' + fitted_text.label(subset, 8) if subset else ''}",
            size=style.FONT,
        )
        axes.set_title(
            f"n = {fitted_text.count(np.nansum(wide['n'][:, place]))}",
            loc="right",
            size=style.SMALL,
            color=style.SOFT,
        )
    middle_of_small = top_small + (rows * small_height + (rows - 1) * gap_y) / 2
    sheet.text(1.5, middle_of_small, "% of clustered cells, 95 % interval", rotation=90, va="center")
    return sheet.figure


def _lines_of(order: Sequence[str], samples: pd.DataFrame | None) -> list[list[int]]:
    """Return the places of samples that a line may join: those of one patient, or all where no patients are known."""
    if samples is None or keys.PATIENT not in samples or keys.SAMPLE not in samples:
        return [list(range(len(order)))] if len(order) <= _DENSE else []
    who = dict(zip(samples[keys.SAMPLE].astype(str), samples[keys.PATIENT].astype(str), strict=True))
    places: dict[str, list[int]] = {}
    for place, sample in enumerate(order):
        places.setdefault(who.get(sample, sample), []).append(place)
    return [along for along in places.values() if len(along) > 1]


def _stacked(axes: Axes, share: np.ndarray, clusters: Sequence[str], colours: dict[str, str]) -> None:
    base = np.zeros(len(share))
    for place, cluster in enumerate(clusters):
        tops = np.nan_to_num(100 * share[:, place])
        axes.bar(
            range(len(share)), tops, bottom=base, width=0.78, color=colours[cluster], linewidth=0.3,
            edgecolor=style.WHITE, label=fitted_text.label(cluster, 12),
        )  # fmt: skip
        if len(share) <= 12:
            for x in np.flatnonzero(tops >= 7):
                axes.text(
                    float(x), base[x] + tops[x] / 2, fitted_text.label(cluster, 6), size=style.SMALL, ha="center",
                    va="center", color=style.ink_on(colours[cluster]),
                )  # fmt: skip
        base += tops
    axes.set(ylim=(0, 100), yticks=[0, 25, 50, 75, 100])


def _legend(
    sheet: Sheet, left: float, top: float, clusters: Sequence[str], colours: dict[str, str], columns: int
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


def _made_of(
    sizes: np.ndarray, clusters: Sequence[str], subset_of: dict[str, str]
) -> dict[str, tuple[np.ndarray, float]]:
    """Return for every subset the share of each cluster among the cells of its clusters, and their number."""
    found = set(subset_of.values())
    shown = [name for name in keys.SUBSETS if name in found] + sorted(found - set(keys.SUBSETS))
    made_of = {}
    for subset in shown:
        mine = np.array([sizes[i] if subset_of.get(c) == subset else 0.0 for i, c in enumerate(clusters)])
        if mine.sum() > 0:
            made_of[subset] = (mine / mine.sum(), float(mine.sum()))
    return made_of
