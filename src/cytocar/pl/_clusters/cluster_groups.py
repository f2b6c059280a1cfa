"""The share of every cluster in every patient, by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, ordering, vocabulary
from cytocar._core.errors import ParameterError, did_you_mean
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
    groupby: str = keys.GROUP,
    method: str | None = None,
    tests: pd.DataFrame | None = None,
    batch: str | None = keys.BATCH,
    most: int = _MOST,
) -> Figure:
    """Draw the share of every cluster in every sample, by group: one point per sample, a line at the median.

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
        Column of `samples` that gives the shape of a point, where it has several values.
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
    shown = arrange(table, samples, groupby=groupby, method=method, tests=tests, batch=batch, most=most)
    return _draw(shown, batch)


@dataclass(frozen=True)
class Groups:
    """Shares of clusters by group of samples, in the order drawn."""

    shares: pd.DataFrame
    """Percent of the clustered cells of a sample (rows) in a cluster (columns)."""
    group_of: Mapping[str, str]
    groups: list[str]
    shape_of: Mapping[str, str]
    """Batch of each sample that has one."""
    shapes: list[str]
    p_of: Mapping[str, float]
    """Smallest adjusted p of each cluster that was tested."""


def arrange(
    table: pd.DataFrame,
    samples: pd.DataFrame,
    *,
    groupby: str,
    method: str | None = None,
    tests: pd.DataFrame | None = None,
    batch: str | None = None,
    most: int = _MOST,
) -> Groups:
    """Arrange what `cluster_groups` draws."""
    inputs.require(table, (keys.SAMPLE, "cluster", "n"), "the table of clusters")
    inputs.require(samples, (keys.SAMPLE,), "the sample sheet")
    if groupby not in samples:
        raise ParameterError(
            f"groupby is {groupby!r}", fix=did_you_mean(groupby, [str(name) for name in samples.columns])
        )
    if "method" in table:
        method = inputs.first_or(table, "method", method)
        table = inputs.rows_of(table, "method", method)
    sheet = samples.drop_duplicates(keys.SAMPLE)
    if keys.ROLE in sheet:
        sheet = sheet[inputs.texts(sheet, keys.ROLE) != vocabulary.CONTROL_ROLE]
    group_of = _value_of(sheet, groupby)
    counts = _counts(table, group_of)
    if not group_of or not len(counts):
        raise ParameterError(
            f"no sample of the table has a value in {groupby!r}, so there is nothing to compare"
        )
    shape_of = _value_of(sheet, batch) if batch is not None and batch in sheet else {}
    p_of = {} if tests is None else _smallest(tests, method)
    shares = 100 * counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)
    return Groups(
        shares[_of_most_interest(counts, p_of, most)],
        group_of,
        sorted(set(group_of.values()), key=ordering.natural),
        shape_of,
        sorted(set(shape_of.values()), key=ordering.natural),
        p_of,
    )


def _counts(table: pd.DataFrame, group_of: Mapping[str, str]) -> pd.DataFrame:
    """Return the cells of every cluster (columns) in every sample that has a group (rows)."""
    rows = table.assign(s=inputs.texts(table, keys.SAMPLE), c=inputs.texts(table, "cluster"))
    counts = rows.pivot_table(index="s", columns="c", values="n", aggfunc="sum", fill_value=0)
    return counts.loc[[sample for sample in counts.index if sample in group_of]]


def _of_most_interest(counts: pd.DataFrame, p_of: Mapping[str, float], most: int) -> list[str]:
    """Return the clusters in their order; of more than `most`, those with the smallest p, or the largest."""
    clusters = ordering.sort_clusters(counts.columns)
    if len(clusters) <= most:
        return clusters
    size = {cluster: float(counts[cluster].sum()) for cluster in clusters}
    kept = sorted(clusters, key=lambda c: (p_of.get(c, np.inf), -size[c]))[:most]
    return [cluster for cluster in clusters if cluster in kept]


def _draw(shown: Groups, batch: str | None) -> Figure:
    clusters = [str(name) for name in shown.shares.columns]
    columns = min(6 if len(shown.groups) <= 3 else 4, len(clusters))
    left, top, gap_x, gap_y, height = 14.0, 12.0, 9.0, 12.0, 24.0
    width = min(style.WIDTH_MM - left - 3, columns * 34.0)
    lines = rows_of(len(clusters), columns)
    sheet = Sheet(top + lines * height + (lines - 1) * gap_y + 8)
    _key(sheet, left, shown.shapes if len(shown.shapes) > 1 else [], batch, tested=bool(shown.p_of))
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
        _draw_cluster(sheet.axes(box, label=f"cluster {cluster}"), shown, cluster, box.width)
    middle = top + (lines * height + (lines - 1) * gap_y) / 2
    sheet.text(2.0, middle, "% of clustered cells of a sample", rotation=90, va="center")
    return sheet.figure


def _draw_cluster(axes: Axes, shown: Groups, cluster: str, width_mm: float) -> None:
    names = [fitted_text.label(group, 12) for group in shown.groups]
    for position, group in enumerate(shown.groups):
        own = [sample for sample in shown.shares.index if shown.group_of[sample] == group]
        colour = style.GROUP_COLOURS[position % len(style.GROUP_COLOURS)]
        _points(axes, position, shown.shares.loc[own, cluster], shown, colour)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(0, max(1.08 * float(np.nanmax(shown.shares[cluster])), 0.01))
    axes.set_xticks(range(len(names)), names)
    if max(map(fitted_text.width_mm, names)) > width_mm / len(names):
        axes.tick_params(axis="x", labelsize=style.SMALL, rotation=30)
    few_ticks(axes, 3)
    axes.set_title(fitted_text.label(cluster, 12), size=style.FONT)
    p = shown.p_of.get(cluster, np.nan)
    if np.isfinite(p):
        axes.set_title(f"{p:.2g}", loc="right", size=style.SMALL, weight="bold" if p <= 0.05 else "normal")


def _value_of(samples: pd.DataFrame, column: str) -> dict[str, str]:
    """Return the value of a column for each sample that has one."""
    rows = samples[samples[column].notna() & (inputs.texts(samples, column) != "")]
    return dict(zip(inputs.texts(rows, keys.SAMPLE), inputs.texts(rows, column), strict=True))


def _smallest(tests: pd.DataFrame, method: str | None) -> dict[str, float]:
    """Return the smallest adjusted p of each cluster."""
    inputs.require(tests, ("cluster", "p_adjusted"), "the table of abundance")
    rows = tests[tests["of"].astype(str) == method] if "of" in tests and method is not None else tests
    smallest = rows.groupby(rows["cluster"].astype(str))["p_adjusted"].min()
    return {str(name): float(p) for name, p in smallest.items() if np.isfinite(p)}


def _points(axes: Axes, position: int, values: pd.Series, shown: Groups, colour: str) -> None:
    """Draw the samples of a group, spread by rank so that none hides another, and their median."""
    values = values.dropna().sort_values(kind="stable")
    if not len(values):
        return
    aside = 0.56 * ((np.arange(len(values)) * 0.618034) % 1.0 - 0.5)
    shapes = np.array([shown.shape_of.get(str(sample), "") for sample in values.index])
    for shape in dict.fromkeys(shapes.tolist()):
        rows = shapes == shape
        mark = _MARKS[shown.shapes.index(shape) % len(_MARKS)] if shape in shown.shapes else "o"
        axes.plot(
            position + aside[rows], values.to_numpy()[rows], mark, markersize=2.8, color=colour, alpha=0.85,
            markeredgewidth=0, label=f"{position} {shape}".strip(),
        )  # fmt: skip
    axes.plot(
        [position - 0.34, position + 0.34],
        [float(values.median())] * 2,
        color=style.INK,
        linewidth=1.1,
        label=f"median {position}",
    )


def _key(sheet: Sheet, left: float, shapes: Sequence[str], batch: str | None, *, tested: bool) -> None:
    from matplotlib.lines import Line2D

    note = "a point: a sample; line: median"
    if tested:
        note += "; number: smallest adjusted p of the comparisons"
    sheet.text(left, 1.4, note, size=style.SMALL, color=style.SOFT)
    if shapes:
        dots = [
            Line2D([], [], linestyle="none", marker=_MARKS[i % len(_MARKS)], markersize=3, color=style.SOFT)
            for i in range(len(shapes))
        ]
        names = [fitted_text.label(f"{batch} {shape}", 20) for shape in shapes]
        sheet.legend(left, 4.6, dots, names, ncols=min(len(shapes), 6), handlelength=0.8)
