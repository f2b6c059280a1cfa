"""Clusters by markers: what every cluster is made of, how large it is, and which subset it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, vocabulary
from cytocar._core.errors import ParameterError
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, bare

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure
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
    return np.clip((medians - low) / span, 0.0, 1.0)


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

    One row a cluster, one column a marker. Medians are scaled for the picture only: 0 is the 1st and 1 the
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
    labels = inputs.column(adata, groupby)
    groups = inputs.levels(adata, groupby)
    if not groups:
        raise ParameterError(f"no cell has a value in obs[{groupby!r}], so there is no cluster to draw")
    chosen = inputs.clustering_markers(adata) if markers is None else inputs.names_of(adata, markers)
    known = np.isin(labels, groups)
    values = inputs.expression(adata, chosen)[known]
    labels = labels[known]
    subset_of: dict[str, str] = {}
    if keys.SUBSET in adata.obs and groupby != keys.SUBSET:
        subsets = inputs.column(adata, keys.SUBSET)[known]
        subset_of = {group: _majority(subsets[labels == group]) for group in groups}
        rank = {name: place for place, name in enumerate([*keys.SUBSETS, ""])}
        groups = sorted(groups, key=lambda g: (g == vocabulary.NO_CLUSTER, rank.get(subset_of[g], len(rank))))
        if not any(subset_of.values()):
            subset_of = {}
    scaled = scaled_medians(values, labels, groups)
    order = _leaf_order(scaled) if markers is None else list(range(len(chosen)))
    counts = np.array([(labels == group).sum() for group in groups])
    return _draw(scaled[:, order], groups, [chosen[i] for i in order], counts, subset_of, groupby)


def _draw(
    scaled: NDArray[np.float64],
    groups: Sequence[str],
    markers: Sequence[str],
    counts: NDArray[np.integer],
    subset_of: dict[str, str],
    groupby: str,
) -> Figure:
    names = [fitted_text.label(marker, 14) for marker in markers]
    rows = [fitted_text.label(group, 18) for group in groups]
    row_height = 5.0 if len(groups) <= 12 else 4.0
    head = max(fitted_text.width_mm(name) for name in names) + 2.5
    left = max(fitted_text.width_mm(row) for row in rows) + (9.0 if subset_of else 5.5)
    bars, tail = 22.0, 25.0
    width = min(5.0 * len(markers), style.WIDTH_MM - left - bars - tail - 4)
    width = max(width, 30.0)
    height = row_height * len(groups)
    foot = 17.0
    title = 6.0
    sheet = Sheet(title + head + height + foot)
    top = title + head
    colours = style.cluster_colours(groups) if groupby not in (keys.SUBSET, keys.COMPARTMENT) else {}

    main = sheet.axes(Box(left, top, width, height), label="heatmap")
    image = main.imshow(
        scaled, cmap=style.expression_map(), vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    main.set_xticks(range(len(names)), names, rotation=90)
    main.xaxis.tick_top()
    main.set_yticks(range(len(rows)), rows)
    main.tick_params(length=0, pad=1.5)
    main.tick_params(axis="y", pad=4.5 * 72 / 25.4 if subset_of else 3)
    main.set_frame_on(False)
    # white lines between the cells let the eye follow rows and columns
    main.set_xticks(np.arange(0.5, len(names) - 1), minor=True)
    main.set_yticks(np.arange(0.5, len(rows) - 1), minor=True)
    main.grid(which="minor", color=style.WHITE, linewidth=0.5)
    main.tick_params(which="minor", length=0)
    sheet.text(
        2,
        1.5,
        f"{fitted_text.heading(groupby)}: median expression, {fitted_text.count(counts.sum())} cells",
        size=style.TITLE,
    )

    if subset_of:
        strip = sheet.axes(Box(left - 3.6, top, 2.8, height), label="subset")
        strip.set(xlim=(0, 1), ylim=(len(groups) - 0.5, -0.5))
        for place, group in enumerate(groups):
            strip.barh(
                place, 1, left=0, height=0.92, color=style.subset_colour(subset_of[group]), linewidth=0
            )
        bare(strip)
        from matplotlib.patches import Patch

        shown = [name for name in [*keys.SUBSETS, ""] if name in subset_of.values()]
        sheet.legend(
            left, top + height + 3.5,
            [Patch(color=style.subset_colour(name)) for name in shown],
            [fitted_text.label(name) for name in shown],
            ncols=len(shown), title="subset of most of its cells",
        )  # fmt: skip

    bar = sheet.axes(Box(left + width + 3, top, bars, height), label="frequency")
    shares = 100 * counts / counts.sum()
    bar.barh(
        range(len(groups)), shares, height=0.72, linewidth=0,
        color=[colours.get(group, style.subset_colour(group)) for group in groups],
    )  # fmt: skip
    bar.set(ylim=(len(groups) - 0.5, -0.5), xlim=(0, shares.max() * 1.02), yticks=[])
    bar.set_xlabel("% of these cells", size=style.FONT)
    bar.spines["left"].set_visible(False)
    for place, (share, n) in enumerate(zip(shares, counts, strict=True)):
        bar.annotate(
            f"{share:.1f} %  n = {fitted_text.count(n)}",
            (share, place), xytext=(2, 0), textcoords="offset points", va="center", size=style.SMALL,
            annotation_clip=False,
        )  # fmt: skip

    scale = sheet.axes(
        Box(left + max(width - 42, 34 if subset_of else 0), top + height + 4.2, 40, 2.4), label="scale"
    )
    sheet.figure.colorbar(image, cax=scale, orientation="horizontal", ticks=[0, 0.5, 1])
    scale.set_xlabel("scaled: 1st to 99th percentile of each marker", size=style.SMALL)
    scale.tick_params(labelsize=style.SMALL, length=1.5)
    return sheet.figure


def phenograph(adata: AnnData, *, markers: Sequence[str] | None = None) -> Figure:
    """Draw the heat map of the PhenoGraph clusters; see `heatmap`."""
    return heatmap(adata, groupby=keys.PHENOGRAPH, markers=markers)


def flowsom(adata: AnnData, *, markers: Sequence[str] | None = None) -> Figure:
    """Draw the heat map of the FlowSOM metaclusters; see `heatmap`."""
    return heatmap(adata, groupby=keys.FLOWSOM, markers=markers)
