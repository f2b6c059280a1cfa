"""Clusters by markers: what every cluster is made of, how large it is, and which subset it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette, vocabulary
from cytocar._core.errors import ParameterError
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, bare

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

_TOP_QUANTILE = 0.99
_BOTTOM_QUANTILE = 0.01


def scaled_medians(
    values: NDArray[np.floating], labels: NDArray[np.object_], groups: Sequence[str]
) -> NDArray[np.float64]:
    """Return the median of every group and column, 0 at the 1st and 1 at the 99th percentile of the column.

    Parameters
    ----------
    values
        Cells x markers.
    labels
        Group of every cell.
    groups
        Groups in the order of the result's rows.
    """
    low, high = np.quantile(values, [_BOTTOM_QUANTILE, _TOP_QUANTILE], axis=0)
    span = np.where(high > low, high - low, 1.0)
    medians = np.array([np.median(values[labels == group], axis=0) for group in groups])
    return np.asarray(np.clip((medians - low) / span, 0.0, 1.0))


def _leaf_order(columns: NDArray[np.float64]) -> list[int]:
    """Return an order of columns in which alike ones are neighbours."""
    if columns.shape[1] < 3 or columns.shape[0] < 2:
        return list(range(columns.shape[1]))
    from scipy.cluster.hierarchy import leaves_list, linkage

    tree = linkage(columns.T, method="average", optimal_ordering=True)
    return [int(leaf) for leaf in leaves_list(tree)]


def _majority(subsets: NDArray[np.object_]) -> str:
    names, counts = np.unique(subsets[subsets != ""].astype(str), return_counts=True)
    return str(names[counts.argmax()]) if names.size else ""


@style.styled
def heatmap(
    adata: AnnData, *, groupby: str = keys.PHENOGRAPH, markers: Sequence[str] | None = None
) -> Figure:
    """Draw the median expression of every marker in every cluster, with the size and subset of the cluster.

    One row per cluster, one column per marker. Medians are scaled for the picture only: 0 is the 1st and 1 the
    99th percentile of the marker over all cells drawn. Rows are ordered by subset, then by label; columns so
    that markers that go together are neighbours (average linkage, optimal leaf order: Bar-Joseph 2001,
    doi 10.1093/bioinformatics/17.suppl_1.S22).

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values. Cells without a label are left out.
    groupby
        Column of obs with cluster labels, or any other grouping.
    markers
        Which markers, in any spelling, drawn in this order; default those used for clustering, ordered by
        likeness.

    Returns
    -------
    Figure with the Axes ``heatmap``, ``subset`` (where obs tells the subset), ``frequency`` and ``scale``.

    Raises
    ------
    ParameterError
        The column or a marker is unknown, or no cell has a label.
    StateError
        X holds counts.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.eye(4, 2, dtype="float32"), var=pandas.DataFrame(index=["CD4", "Ki67"]),
    ...                         obs=pandas.DataFrame({"phenograph": ["1", "1", "2", "2"]}, index=list("abcd")))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> [axes.get_label() for axes in heatmap(cells).axes]
    ['heatmap', 'frequency', 'scale']
    """
    return _draw(arrange(adata, groupby, markers), groupby)


@dataclass(frozen=True)
class Medians:
    """Clusters and markers in the order drawn."""

    scaled: NDArray[np.float64]
    """Clusters x markers, from 0 to 1."""
    groups: list[str]
    markers: list[str]
    counts: NDArray[np.int64]
    """Cells of each cluster."""
    subset_of: dict[str, str]
    """Subset of most cells of each cluster; empty where no cell has one."""


def arrange(adata: AnnData, groupby: str, markers: Sequence[str] | None = None) -> Medians:
    """Arrange what `heatmap` draws."""
    labels = inputs.column(adata, groupby)
    groups = inputs.levels(adata, groupby)
    if not groups:
        raise ParameterError(f"no cell has a value in obs[{groupby!r}], so there is no cluster to draw")
    chosen = inputs.clustering_markers(adata) if markers is None else inputs.names_of(adata, markers)
    labelled = np.isin(labels, groups)
    values = inputs.expression(adata, chosen)[labelled]
    labels = labels[labelled]
    subset_of: dict[str, str] = {}
    if keys.SUBSET in adata.obs and groupby != keys.SUBSET:
        subsets = inputs.column(adata, keys.SUBSET)[labelled]
        subset_of = {group: _majority(subsets[labels == group]) for group in groups}
        rank = {name: position for position, name in enumerate([*keys.SUBSETS, ""])}
        groups = sorted(groups, key=lambda g: (g == vocabulary.NO_CLUSTER, rank.get(subset_of[g], len(rank))))
        if not any(subset_of.values()):
            subset_of = {}
    scaled = scaled_medians(values, labels, groups)
    order = _leaf_order(scaled) if markers is None else list(range(len(chosen)))
    counts = np.array([(labels == group).sum() for group in groups])
    return Medians(scaled[:, order], groups, [chosen[i] for i in order], counts, subset_of)


@dataclass(frozen=True)
class _Layout:
    """The place of the map on the page, in millimetres."""

    left: float
    top: float
    width: float
    height: float

    title = 6.0
    foot = 17.0
    bars = 22.0
    tail = 25.0


def _layout(shown: Medians) -> _Layout:
    head = max(fitted_text.width_mm(fitted_text.label(name, 14)) for name in shown.markers) + 2.5
    names = max(fitted_text.width_mm(fitted_text.label(name, 18)) for name in shown.groups)
    left = names + (9.0 if shown.subset_of else 5.5)
    width = min(5.0 * len(shown.markers), style.WIDTH_MM - left - _Layout.bars - _Layout.tail - 4)
    row = 5.0 if len(shown.groups) <= 12 else 4.0
    return _Layout(left, _Layout.title + head, max(width, 30.0), row * len(shown.groups))


def _draw(shown: Medians, groupby: str) -> Figure:
    page = _layout(shown)
    sheet = Sheet(page.top + page.height + page.foot)
    image = _draw_medians(
        sheet.axes(Box(page.left, page.top, page.width, page.height), label="heatmap"), shown
    )
    total = fitted_text.count(shown.counts.sum())
    sheet.text(2, 1.5, f"{fitted_text.heading(groupby)}: median expression, {total} cells", size=style.TITLE)
    if shown.subset_of:
        _draw_subsets(sheet, page, shown)
    _draw_sizes(
        sheet.axes(Box(page.left + page.width + 3, page.top, page.bars, page.height), label="frequency"),
        shown,
        palette.cluster_colours(shown.groups) if groupby not in (keys.SUBSET, keys.COMPARTMENT) else {},
    )
    left = page.left + max(page.width - 42, 34 if shown.subset_of else 0)
    scale = sheet.axes(Box(left, page.top + page.height + 4.2, 40, 2.4), label="scale")
    sheet.figure.colorbar(image, cax=scale, orientation="horizontal", ticks=[0, 0.5, 1])
    scale.set_xlabel("scaled: 1st to 99th percentile of each marker", size=style.SMALL)
    scale.tick_params(labelsize=style.SMALL, length=1.5)
    return sheet.figure


def _draw_medians(axes: Axes, shown: Medians) -> AxesImage:
    names = [fitted_text.label(marker, 14) for marker in shown.markers]
    rows = [fitted_text.label(group, 18) for group in shown.groups]
    image = axes.imshow(
        shown.scaled, cmap=style.expression_map(), vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, pad=1.5)
    axes.tick_params(axis="y", pad=4.5 * 72 / 25.4 if shown.subset_of else 3)
    axes.set_frame_on(False)
    # white lines between the cells let the eye follow rows and columns
    axes.set_xticks(np.arange(0.5, len(names) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(rows) - 1), minor=True)
    axes.grid(which="minor", color=style.WHITE, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    return image


def _draw_subsets(sheet: Sheet, page: _Layout, shown: Medians) -> None:
    """Draw the subset of every cluster as a strip beside the map, and its key below."""
    from matplotlib.patches import Patch

    strip = sheet.axes(Box(page.left - 3.6, page.top, 2.8, page.height), label="subset")
    strip.set(xlim=(0, 1), ylim=(len(shown.groups) - 0.5, -0.5))
    for row, group in enumerate(shown.groups):
        colour = palette.subset_colour(shown.subset_of[group])
        strip.barh(row, 1, left=0, height=0.92, color=colour, linewidth=0)
    bare(strip)
    present = [name for name in [*keys.SUBSETS, ""] if name in shown.subset_of.values()]
    sheet.legend(
        page.left, page.top + page.height + 3.5,
        [Patch(color=palette.subset_colour(name)) for name in present],
        [fitted_text.label(name) for name in present],
        ncols=len(present), title="subset of most of its cells",
    )  # fmt: skip


def _draw_sizes(axes: Axes, shown: Medians, colours: dict[str, str]) -> None:
    """Draw the share of every cluster among all cells as a bar, with its number of cells."""
    shares = 100 * shown.counts / shown.counts.sum()
    axes.barh(
        range(len(shares)), shares, height=0.72, linewidth=0,
        color=[colours.get(group, palette.subset_colour(group)) for group in shown.groups],
    )  # fmt: skip
    axes.set(ylim=(len(shares) - 0.5, -0.5), xlim=(0, shares.max() * 1.02), yticks=[])
    axes.set_xlabel("% of these cells", size=style.FONT)
    axes.spines["left"].set_visible(False)
    for row, (share, n) in enumerate(zip(shares, shown.counts, strict=True)):
        axes.annotate(
            f"{share:.1f} %  n = {fitted_text.count(n)}",
            (share, row), xytext=(2, 0), textcoords="offset points", va="center", size=style.SMALL,
            annotation_clip=False,
        )  # fmt: skip


def phenograph(adata: AnnData, *, markers: Sequence[str] | None = None) -> Figure:
    """Draw the heat map of the PhenoGraph clusters; see `heatmap`."""
    return heatmap(adata, groupby=keys.PHENOGRAPH, markers=markers)


def flowsom(adata: AnnData, *, markers: Sequence[str] | None = None) -> Figure:
    """Draw the heat map of the FlowSOM metaclusters; see `heatmap`."""
    return heatmap(adata, groupby=keys.FLOWSOM, markers=markers)
