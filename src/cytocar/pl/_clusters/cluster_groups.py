"""The share of every cluster in every patient, by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, ordering
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.vocabulary import CONTROL_ROLE
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Sheet, few_ticks, grid, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = ("o", "^", "s", "D", "v", "P")
_MOST = 24


@style.styled
def cluster_groups(
    table: pd.DataFrame,
    samples: pd.DataFrame,
    *,
    groupby: str = "group",
    method: str | None = None,
    tests: pd.DataFrame | None = None,
    batch: str | None = "batch",
    most: int = _MOST,
) -> Figure:
    """Draw the share of every cluster in every sample, by group: a point a sample, a line at the median.

    Parameters
    ----------
    table
        `sample_id`, `cluster`, `n` and, where there are several, `method`: as `cytocar.tl.cluster_frequencies` returns
        them. Shares are of the cells of all clusters of a sample.
    samples
        `sample_id` and the column of groups; negative controls (`role`) are left out.
    groupby
        Column of `samples`.
    method
        Which clustering; default the first in the table.
    tests
        What `cytocar.tl.abundance` returned for these clusters: the smallest adjusted p of its contrasts stands above a
        panel.
    batch
        Column of `samples` that tells the shape of a point, where there is one with several values.
    most
        Clusters drawn: of more, those with the smallest p, or the largest.

    Returns
    -------
    Figure; an Axes is labelled ``cluster <label>``.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or no sample has a group.

    Examples
    --------
    >>> import pandas
    >>> shares = pandas.DataFrame({"sample_id": ["a", "b"] * 2, "cluster": ["1", "1", "2", "2"], "n": [9, 5, 1, 5]})
    >>> sheet = pandas.DataFrame({"sample_id": ["a", "b"], "group": ["R", "NR"]})
    >>> [axes.get_label() for axes in cluster_groups(shares, sheet).axes]
    ['cluster 1', 'cluster 2']
    """
    inputs.require(table, (keys.SAMPLE, "cluster", "n"), "the table of clusters")
    inputs.require(samples, (keys.SAMPLE,), "the sample sheet")
    if groupby not in samples:
        raise ParameterError(
            f"groupby is {groupby!r}", fix=did_you_mean(groupby, [str(name) for name in samples.columns])
        )
    rows = table
    if "method" in table:
        methods = list(dict.fromkeys(table["method"].astype(str)))
        method = methods[0] if method is None else method
        if method not in methods:
            raise ParameterError(f"the table has no method {method!r}", fix=did_you_mean(method, methods))
        rows = table[table["method"].astype(str) == method]
    sheet_rows = samples.drop_duplicates(keys.SAMPLE)
    if "role" in sheet_rows:
        sheet_rows = sheet_rows[sheet_rows["role"].astype(str) != CONTROL_ROLE]
    group_of = _known(sheet_rows, groupby)
    groups = sorted(set(group_of.values()), key=ordering.natural)
    wide = rows.assign(s=rows[keys.SAMPLE].astype(str), c=rows["cluster"].astype(str))
    counts = wide.pivot_table(index="s", columns="c", values="n", aggfunc="sum", fill_value=0)
    counts = counts.loc[[sample for sample in counts.index if sample in group_of]]
    if not groups or not len(counts):
        raise ParameterError(
            f"no sample of the table has a value in {groupby!r}, so there is nothing to compare"
        )
    shares = 100 * counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)
    shape_of = _known(sheet_rows, batch) if batch is not None and batch in sheet_rows else {}
    shapes = sorted(set(shape_of.values()), key=ordering.natural)
    p_of = {} if tests is None else _smallest(tests, method)
    clusters = ordering.sort_clusters(shares.columns)
    if len(clusters) > most:
        size = {cluster: float(counts[cluster].sum()) for cluster in clusters}
        kept = sorted(clusters, key=lambda c: (p_of.get(c, np.inf), -size[c]))[:most]
        clusters = [cluster for cluster in clusters if cluster in kept]

    names = [fitted_text.label(group, 12) for group in groups]
    columns = min(6 if len(groups) <= 3 else 4, len(clusters))
    left, top, gap_x, gap_y, height = 14.0, 12.0, 9.0, 12.0, 24.0
    width = min(style.WIDTH_MM - left - 3, columns * 34.0)
    lines = rows_of(len(clusters), columns)
    sheet = Sheet(top + lines * height + (lines - 1) * gap_y + 8)
    colours = {group: style.GROUP_COLOURS[i % len(style.GROUP_COLOURS)] for i, group in enumerate(groups)}
    _key(sheet, left, shapes if len(shapes) > 1 else [], batch, p_of)
    boxes = grid(
        len(clusters),
        columns=columns,
        left=left,
        top=top,
        width=width,
        height=height,
        gap_x=gap_x,
        gap_y=gap_y,
    )
    for cluster, box in zip(clusters, boxes, strict=True):
        axes = sheet.axes(box, label=f"cluster {cluster}")
        for place, group in enumerate(groups):
            mine = [sample for sample in shares.index if group_of[sample] == group]
            _points(axes, place, shares.loc[mine, cluster], shape_of, shapes, colours[group])
        axes.set_xlim(-0.6, len(groups) - 0.4)
        axes.set_ylim(0, max(1.08 * float(np.nanmax(shares[cluster])), 0.01))
        axes.set_xticks(range(len(groups)), names)
        if max(map(fitted_text.width_mm, names)) > box.width / len(groups):
            axes.tick_params(axis="x", labelsize=style.SMALL, rotation=30)
        few_ticks(axes, 3)
        p = p_of.get(cluster, np.nan)
        axes.set_title(fitted_text.label(cluster, 12), size=style.FONT)
        if np.isfinite(p):
            axes.set_title(
                f"{p:.2g}", loc="right", size=style.SMALL, weight="bold" if p <= 0.05 else "normal"
            )
    middle = top + (lines * height + (lines - 1) * gap_y) / 2
    sheet.text(2.0, middle, "% of clustered cells of a sample", rotation=90, va="center")
    return sheet.figure


def _known(samples: pd.DataFrame, column: str) -> dict[str, str]:
    """Return the value of a column for each sample that has one."""
    known = samples[samples[column].notna() & (samples[column].astype(str) != "")]
    return dict(zip(known[keys.SAMPLE].astype(str), known[column].astype(str), strict=True))


def _smallest(tests: pd.DataFrame, method: str | None) -> dict[str, float]:
    """Return the smallest adjusted p of each cluster."""
    inputs.require(tests, ("cluster", "p_adjusted"), "the table of abundance")
    rows = tests[tests["of"].astype(str) == method] if "of" in tests and method is not None else tests
    smallest = rows.groupby(rows["cluster"].astype(str))["p_adjusted"].min()
    return {str(name): float(p) for name, p in smallest.items() if np.isfinite(p)}


def _points(
    axes: Axes, place: int, values: pd.Series, shape_of: dict[str, str], shapes: Sequence[str], colour: str
) -> None:
    """Draw the samples of a group, spread by rank so that none hides another, and their median."""
    values = values.dropna().sort_values(kind="stable")
    if not len(values):
        return
    aside = 0.56 * ((np.arange(len(values)) * 0.618034) % 1.0 - 0.5)
    kinds = [shape_of.get(str(sample), "") for sample in values.index]
    for kind in dict.fromkeys(kinds):
        rows = np.array([one == kind for one in kinds])
        mark = _MARKS[shapes.index(kind) % len(_MARKS)] if kind in shapes else "o"
        axes.plot(
            place + aside[rows], values.to_numpy()[rows], mark, markersize=2.8, color=colour, alpha=0.85,
            markeredgewidth=0, label=f"{place} {kind}".strip(),
        )  # fmt: skip
    axes.plot(
        [place - 0.34, place + 0.34],
        [float(values.median())] * 2,
        color=style.INK,
        linewidth=1.1,
        label=f"median {place}",
    )


def _key(sheet: Sheet, left: float, shapes: Sequence[str], batch: str | None, p_of: dict[str, float]) -> None:
    from matplotlib.lines import Line2D

    words = "a point: a sample; line: median"
    if p_of:
        words += "; number: smallest adjusted p of the comparisons"
    sheet.text(left, 1.4, words, size=style.SMALL, color=style.SOFT)
    if shapes:
        dots = [
            Line2D([], [], linestyle="none", marker=_MARKS[i % len(_MARKS)], markersize=3, color=style.SOFT)
            for i in range(len(shapes))
        ]
        names = [fitted_text.label(f"{batch} {shape}", 20) for shape in shapes]
        sheet.legend(left, 4.6, dots, names, ncols=min(len(shapes), 6), handlelength=0.8)
