"""How far clusters can be trusted: the numbers of metaclusters, and what stays when seeds and cells change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import ordering, palette
from cytocar._core.errors import ParameterError
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, few_ticks, grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DELTA = ("k", "delta_area", "ambiguous", "modularity", "chosen")
_MEASURES = {
    "delta_area": "growth of the area under the\nconsensus distribution",
    "ambiguous": "share of pairs of nodes neither\nalways nor never together",
    "modularity": "modularity of the cells\nin their graph",
}
_CHOSEN = palette.VERMILION
_STABLE, _DISSOLVED = 0.75, 0.5
_CHANGED = {"seed": "seeds", "resample": "fewer cells"}
_SPOTS = {"seed": palette.BLUE, "resample": palette.ORANGE}


@style.styled
def delta_area(table: pd.DataFrame) -> Figure:
    """Draw measures of each number of metaclusters: growth of the consensus area, ambiguity, modularity.

    Where the area hardly grows any more, a further cut finds nothing new; the number that was chosen has its own
    colour.

    Parameters
    ----------
    table
        `k`, `delta_area`, `ambiguous`, `modularity`, `chosen`, as `cytocar.tl.metacluster_table` returns them.

    Returns
    -------
    Figure; an Axes is labelled with its measure.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.

    Examples
    --------
    >>> import pandas
    >>> found = pandas.DataFrame({"k": [2, 3, 4], "delta_area": [0.5, 0.3, 0.02], "ambiguous": [0.1, 0.0, 0.1],
    ...                           "modularity": [0.4, 0.6, 0.5], "chosen": [False, True, False]})
    >>> [axes.get_label() for axes in delta_area(found).axes]
    ['delta_area', 'ambiguous', 'modularity']
    """
    inputs.require(table, _DELTA, "the table of metaclusters")
    rows = table.sort_values("k", kind="stable")
    k = rows["k"].to_numpy(dtype=int)
    chosen = np.array([inputs.is_yes(value) for value in rows["chosen"]])
    shown = [name for name in _MEASURES if np.isfinite(rows[name].to_numpy(dtype=float)).any()]
    if not shown:
        raise ParameterError(
            "the table of metaclusters has no number in any measure, so there is nothing to draw"
        )
    left, gap, top, height = 13.0, 15.0, 10.0, 34.0
    sheet = Sheet(top + height + 9)
    width = min(style.WIDTH_MM - left - 2, len(shown) * 60.0)
    boxes = grid(
        len(shown), columns=len(shown), left=left, top=top, width=width, height=height, gap_x=gap, gap_y=0
    )
    for name, box in zip(shown, boxes, strict=True):
        axes = sheet.axes(box, label=name)
        values = rows[name].to_numpy(dtype=float)
        axes.plot(k, values, color=style.SOFT, linewidth=0.8, marker="o", markersize=2.6, label=name)
        axes.plot(k[chosen], values[chosen], "D", markersize=4.2, color=_CHOSEN, label="chosen")
        axes.set_title(_MEASURES[name], size=style.FONT, linespacing=1.1)
        axes.set_xlabel("metaclusters")
        axes.set_ylim(0, 1.06 * float(np.nanmax(values)) or 1.0)
        axes.set_xticks([n for n in k if n % max(1, len(k) // 6) == 0 or len(k) <= 6])
        few_ticks(axes, 4)
    if chosen.any():
        sheet.text(style.WIDTH_MM - 2, 1.0, f"chosen: {k[chosen][0]}", ha="right", color=_CHOSEN)
    return sheet.figure


@style.styled
def stability(methods: pd.DataFrame, clusters: pd.DataFrame) -> Figure:
    """Draw what stays of a clustering when the seed changes or cells are left out: as a whole, and of each cluster.

    Left: the adjusted Rand index of every repeat with the clustering itself (1: the same). Right: the Jaccard index of
    each cluster with the one that is most like it, its mean over resamples and the tenth of the resamples with
    the lowest; from 0.75 a cluster counts as stable, below 0.5 as dissolved (Hennig 2007, doi
    10.1016/j.csda.2006.11.025).

    Parameters
    ----------
    methods
        `method`, `what` (``seed`` or ``resample``), `repeat`, `ari`, as ``cytocar.tl.stability(...).methods``.
    clusters
        `method`, `cluster`, `n`, `jaccard`, `jaccard_low`, `verdict`, as ``cytocar.tl.stability(...).clusters``.

    Returns
    -------
    Figure; the Axes are labelled ``<method>`` and ``<method> clusters``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.

    Examples
    --------
    >>> import pandas
    >>> repeats = pandas.DataFrame({"method": "flowsom", "what": ["seed", "resample"], "repeat": 1, "ari": [0.9, 0.8]})
    >>> found = pandas.DataFrame({"method": "flowsom", "cluster": ["1"], "n": [90], "jaccard": [0.9],
    ...                           "jaccard_low": [0.8], "verdict": ["stable"]})
    >>> [axes.get_label() for axes in stability(repeats, found).axes]
    ['flowsom', 'flowsom clusters']
    """
    inputs.require(methods, ("method", "what", "repeat", "ari"), "the table of repeats")
    inputs.require(
        clusters,
        ("method", "cluster", "n", "jaccard", "jaccard_low", "verdict"),
        "the table of cluster stability",
    )
    names = list(dict.fromkeys(clusters["method"].astype(str)))
    left, narrow, gap, top, height, foot = 14.0, 32.0, 14.0, 9.0, 30.0, 15.0
    sheet = Sheet(len(names) * (top + height + foot) - 2)
    for position, method in enumerate(names):
        down = position * (top + height + foot) + top
        axes = sheet.axes(Box(left, down, narrow, height), label=method)
        _repeats(axes, methods[methods["method"].astype(str) == method])
        sheet.text(left, down - top + 1.0, fitted_text.heading(method), size=style.TITLE)
        box = Box(left + narrow + gap, down, style.WIDTH_MM - left - narrow - gap - 23, height)
        axes = sheet.axes(box, label=f"{method} clusters")
        _clusters(axes, clusters[clusters["method"].astype(str) == method], box.width)
    return sheet.figure


def _repeats(axes: Axes, repeats: pd.DataFrame) -> None:
    changed = [what for what in _CHANGED if (repeats["what"].astype(str) == what).any()]
    for x, what in enumerate(changed):
        values = repeats.loc[repeats["what"].astype(str) == what, "ari"].to_numpy(dtype=float)
        values = np.sort(values[np.isfinite(values)])
        if not values.size:
            continue
        # Spread by rank, so that the same values do not hide each other and the picture is always the same.
        aside = 0.5 * ((np.arange(values.size) + 0.5) / values.size - 0.5)
        axes.plot(x + aside, values, "o", markersize=3.0, color=_SPOTS[what], label=what)
        axes.plot(
            [x - 0.35, x + 0.35], [values.mean()] * 2, color=style.INK, linewidth=1.0, label=f"mean {what}"
        )
    axes.set(xlim=(-0.6, max(len(changed), 1) - 0.4), ylim=(0, 1.03), yticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xticks(range(len(changed)), [_CHANGED[what] for what in changed])
    axes.set_ylabel("adjusted Rand index")


def _clusters(axes: Axes, table: pd.DataFrame, width: float) -> None:
    order = ordering.sort_clusters(table["cluster"])
    rows = table.assign(c=table["cluster"].astype(str)).set_index("c").loc[order]
    colours = palette.cluster_colours(order)
    mean, low = (rows[column].to_numpy(dtype=float) for column in ("jaccard", "jaccard_low"))
    for level, verdict in ((_STABLE, "stable"), (_DISSOLVED, "dissolved")):
        axes.axhline(level, color=style.SOFT, linewidth=0.6, linestyle=(0, (3, 2)), label=verdict)
        axes.annotate(
            f"{verdict} {'from' if level == _STABLE else 'below'} {level:g}", (1, level), xytext=(3, 0),
            xycoords=("axes fraction", "data"), textcoords="offset points", va="center", size=style.SMALL,
            color=style.SOFT, annotation_clip=False,
        )  # fmt: skip
    for x, cluster in enumerate(order):
        colour = colours[cluster]
        axes.plot([x, x], [low[x], mean[x]], color=colour, linewidth=1.6, label=f"low {cluster}")
        axes.plot([x], [mean[x]], "o", markersize=4.6, color=colour, label=cluster)
    axes.set(xlim=(-0.7, len(order) - 0.3), ylim=(0, 1.03), yticks=[0, 0.25, 0.5, 0.75, 1])
    labels = [fitted_text.label(cluster, 8) for cluster in order]
    slot = width / max(len(order), 1)
    every = max(1, int(np.ceil((max(map(fitted_text.width_mm, labels)) + 0.8) / slot)))
    axes.set_xticks(range(0, len(order), every), labels[::every])
    axes.set_xlabel("cluster")
    axes.set_ylabel("Jaccard index")
    axes.set_title(
        "dot: mean over resamples; line: down to the lowest tenth", size=style.SMALL, color=style.SOFT
    )
