"""Maps of cells (t-SNE, UMAP): coloured by cluster, subset, timepoint or marker."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys, palette
from cytocar._core.errors import ParameterError
from cytocar._core.vocabulary import METHODS
from cytocar.pl._maps.points import (
    LEGEND_MM,
    NARROWEST_SCALE,
    TITLE_MM,
    Map,
    colour_limits,
    columns_for,
    draw_groups,
    draw_legend,
    draw_points,
    legend_width,
    number_groups,
    panel_title,
    point_size,
)
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, grid, rows_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def _default_grouping(adata: AnnData) -> str | None:
    for key in METHODS:
        if key in adata.obs and inputs.levels(adata, key):
            return key
    return None


@dataclass(frozen=True)
class Panels:
    """What the panels of a map show; cells are those on the map, in its order."""

    masks: dict[str, NDArray[np.bool_]]
    """Which cells each panel shows, by its name."""
    color: str | None
    groups: NDArray[np.object_] | None = None
    """Group of every cell, where the map is coloured by a column of obs."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """Colour of every group of the column, on the map or not."""
    values: NDArray[np.float32] | None = None
    """Expression of every cell, where the map is coloured by a marker."""

    @property
    def used(self) -> dict[str, str]:
        """Colours of the groups that are on the map."""
        return {} if self.groups is None else _used(self.groups, self.colours)


def _used(groups: NDArray[np.object_], colours: Mapping[str, str]) -> dict[str, str]:
    present = set(groups)
    return {name: colour for name, colour in colours.items() if name in present}


def arrange(adata: AnnData, cells: Map, color: str | None, split_by: str | None) -> Panels:
    """Arrange what `tsne` and `umap` draw: one panel, or one per value of `split_by`."""
    color = _default_grouping(adata) if color is None else color
    masks: dict[str, NDArray[np.bool_]] = {"": np.ones(cells.rows.size, dtype=bool)}
    if split_by is not None:
        values = inputs.column(adata, split_by)[cells.rows]
        masks = {name: values == name for name in inputs.levels(adata, split_by) if (values == name).any()}
        if not masks:
            raise ParameterError(f"no cell on the map has a value in obs[{split_by!r}]")
    if color is None:
        return Panels(masks, None)
    if color in adata.obs:
        return Panels(masks, color, *_coloured(adata, cells, color))
    return Panels(masks, color, values=inputs.expression(adata, [color])[:, 0][cells.rows])


def _coloured(adata: AnnData, cells: Map, column: str) -> tuple[NDArray[np.object_], dict[str, str]]:
    """Return the group of every cell on the map, and the colour of every group."""
    return inputs.column(adata, column)[cells.rows], style.colours_of(column, inputs.levels(adata, column))


def _draw_map(adata: AnnData, basis: str, color: str | None, split_by: str | None) -> Figure:
    cells = Map(adata, basis)
    panels = arrange(adata, cells, color, split_by)
    n = len(panels.masks)
    columns = columns_for(n)
    area = 100.0 if n == 1 else style.WIDTH_MM - 6 - LEGEND_MM
    gap = 2.5
    side = (area - gap * (columns - 1)) / columns
    boxes = grid(
        n, columns=columns, left=6, top=TITLE_MM, width=area, height=side, gap_x=gap, gap_y=TITLE_MM
    )  # fmt: skip
    bottom = boxes[-1].top + side + 5
    sheet = Sheet(bottom, width=area + 6 + LEGEND_MM)
    lowest_left = (rows_of(n, columns) - 1) * columns
    for position, ((name, mask), box) in enumerate(zip(panels.masks.items(), boxes, strict=True)):
        axes = sheet.axes(box, label=name or "map")
        cells.frame(axes, named=position == lowest_left)
        drawn = _draw_panel(axes, cells, panels, mask, side)
        axes.set_title(**panel_title(name, int(mask.sum()), side))
    left = area + 6 + 4
    if panels.groups is not None:
        title = fitted_text.label(panels.color, 16)
        draw_legend(sheet, left, TITLE_MM, panels.used, title, height=bottom - TITLE_MM)
    elif panels.color is not None and drawn is not None:
        scale = sheet.axes(Box(left, TITLE_MM + 4, 2.5, min(30.0, side - 4)), label="scale")
        sheet.figure.colorbar(drawn, cax=scale)
        scale.set_title(fitted_text.label(inputs.names_of(adata, [panels.color])[0], 16), size=style.FONT)
        scale.set_ylabel(inputs.value_label(adata, [panels.color]), size=style.SMALL)
    return sheet.figure


def _draw_panel(
    axes: Axes, cells: Map, panels: Panels, mask: NDArray[np.bool_], side: float
) -> PathCollection | None:
    """Draw the cells of a panel above the others in grey; return the points of a marker, which have a scale."""
    size = point_size(cells.rows.size, side)
    points = cells.points[mask]
    if len(panels.masks) > 1:
        draw_points(axes, cells.points[~mask], style.PALE, size, "others")
    if panels.groups is not None:
        draw_groups(axes, points, panels.groups[mask], panels.colours, size)
        if len(panels.masks) == 1 and panels.color in METHODS:
            number_groups(axes, points, panels.groups[mask], panels.colours, side)
    elif panels.values is not None:
        low, high = colour_limits(panels.values)
        return axes.scatter(
            points[:, 0], points[:, 1], s=size, c=panels.values[mask], vmin=low, vmax=high,
            cmap=style.expression_map(), linewidths=0, rasterized=True, label="cells",
        )  # fmt: skip
    else:
        draw_points(axes, points, style.SOFT, size, "cells")
    return None


@style.styled
def tsne(adata: AnnData, *, color: str | None = None, split_by: str | None = None) -> Figure:
    """Draw the t-SNE map, coloured by a column of obs or by a marker.

    Parameters
    ----------
    adata
        Cells with ``obsm["X_tsne"]``; cells without coordinates (NaN) are left out.
    color
        A column of obs (cluster, subset, timepoint ...) or a marker in any spelling; default the clusters.
    split_by
        A column of obs: one panel per value, the other cells in pale grey below.

    Returns
    -------
    Figure, one Axes per panel.

    Raises
    ------
    ParameterError
        The map, the column or the marker is not there.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.eye(4, 2, dtype="float32"), var=pandas.DataFrame(index=["CD4", "Ki67"]),
    ...                         obs=pandas.DataFrame({"subset": ["CD4", "CD4", "DN", "DN"]}, index=list("abcd")))
    >>> cells.obsm["X_tsne"] = numpy.arange(8.0).reshape(4, 2)
    >>> [axes.get_title("left") for axes in tsne(cells, color="subset", split_by="subset").axes]
    ['CD4  n = 2', 'DN  n = 2']
    """
    return _draw_map(adata, "tsne", color, split_by)


@style.styled
def umap(adata: AnnData, *, color: str | None = None, split_by: str | None = None) -> Figure:
    """Draw the UMAP map, coloured by a column of obs or by a marker; see `tsne`."""
    return _draw_map(adata, "umap", color, split_by)


@style.styled
def map_clusters(adata: AnnData, *, basis: str = "tsne", groupby: str | None = None) -> Figure:
    """Draw the whole map twice: coloured by cluster, with the cluster's number on it, and by subset.

    Parameters
    ----------
    adata
        Cells with a map and cluster labels.
    basis
        ``"tsne"`` or ``"umap"``.
    groupby
        Column of obs with the clusters; default PhenoGraph, else FlowSOM, else Leiden.

    Returns
    -------
    Figure with the Axes ``clusters`` and, where obs has subsets, ``subsets``.

    Raises
    ------
    ParameterError
        There is no map, or there are no clusters.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.eye(4, 2, dtype="float32"),
    ...                         obs=pandas.DataFrame({"phenograph": ["1", "1", "2", "2"]}, index=list("abcd")))
    >>> cells.obsm["X_tsne"] = numpy.arange(8.0).reshape(4, 2)
    >>> [axes.get_label() for axes in map_clusters(cells).axes]
    ['clusters']
    """
    cells = Map(adata, basis)
    panels = {"clusters": _grouping(adata, groupby)}
    if _has_subsets(adata):
        panels["subsets"] = keys.SUBSET
    side, gap = 62.0, 2.5
    groups, colours, legends = {}, {}, {}
    for name, column in panels.items():
        groups[name], of_column = _coloured(adata, cells, column)
        colours[name] = _used(groups[name], of_column)
        if "" in groups[name]:
            colours[name]["none"] = palette.NO_CLUSTER_COLOUR
        legends[name] = legend_width(list(colours[name]), side)
    side = min(side, (style.WIDTH_MM - 6 - sum(gap + legend for legend in legends.values())) / len(panels))
    sheet = Sheet(TITLE_MM + side + 5)
    size = point_size(cells.rows.size, side)
    left = 6.0
    for name, column in panels.items():
        axes = sheet.axes(Box(left, TITLE_MM, side, side), label=name)
        cells.frame(axes, named=name == "clusters")
        draw_groups(axes, cells.points, groups[name], colours[name], size)
        if name == "clusters":
            number_groups(axes, cells.points, groups[name], colours[name], side)
        axes.set_title(f"{fitted_text.heading(column)}  n = {fitted_text.count(cells.rows.size)}")
        title = name.removesuffix("s")
        draw_legend(sheet, left + side + gap, TITLE_MM, colours[name], title, height=side)
        left += side + gap + legends[name]
    return sheet.figure


def _has_subsets(adata: AnnData) -> bool:
    return keys.SUBSET in adata.obs and bool(inputs.levels(adata, keys.SUBSET))


def _grouping(adata: AnnData, groupby: str | None) -> str:
    grouping = _default_grouping(adata) if groupby is None else groupby
    if grouping is None:
        raise ParameterError(
            "there are no clusters to colour by: run cytocar.tl.phenograph or cytocar.tl.flowsom, or give groupby"
        )
    return grouping


@style.styled
def map_timepoints(adata: AnnData, *, basis: str = "tsne", groupby: str | None = None) -> Figure:
    """Draw the map once per timepoint, the cells of the timepoint coloured by cluster, and again by subset.

    Cells of the other timepoints lie below in pale grey, so that every panel shows the whole map.

    Parameters
    ----------
    adata
        Cells with a map and ``obs["timepoint"]``.
    basis
        ``"tsne"`` or ``"umap"``.
    groupby
        Column of obs with the clusters; default PhenoGraph, else FlowSOM, else Leiden.

    Returns
    -------
    Figure; Axes are labelled ``<column> <timepoint>``.

    Raises
    ------
    ParameterError
        There is no map, there are no clusters, or no cell has a timepoint.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.eye(4, 2, dtype="float32"), obs=pandas.DataFrame(
    ...     {"phenograph": ["1", "1", "2", "2"], "timepoint": ["5yr", "2mo", "2mo", "5yr"]}, index=list("abcd")))
    >>> cells.obsm["X_tsne"] = numpy.arange(8.0).reshape(4, 2)
    >>> [axes.get_label() for axes in map_timepoints(cells).axes]
    ['phenograph 2mo', 'phenograph 5yr']
    """
    cells = Map(adata, basis)
    blocks = [_grouping(adata, groupby)]
    when = inputs.column(adata, keys.TIMEPOINT)[cells.rows]
    times = [name for name in inputs.levels(adata, keys.TIMEPOINT) if (when == name).any()]
    if not times:
        raise ParameterError("no cell on the map has a timepoint in obs['timepoint']")
    if _has_subsets(adata):
        blocks.append(keys.SUBSET)
    columns = columns_for(len(times))
    gap, left = 2.5, 6.0
    rows = rows_of(len(times), columns)
    # about as high as a row of panels turns out
    legend = max(legend_width(inputs.levels(adata, column), rows * 150.0 / columns) for column in blocks)
    side = min((style.WIDTH_MM - left - legend - gap * (columns - 1)) / columns, 70.0)
    area = side * columns + gap * (columns - 1)
    block_height = rows * (side + TITLE_MM) + 5
    sheet = Sheet(block_height * len(blocks) + 1)
    for block, column in enumerate(blocks):
        top = block * block_height + TITLE_MM
        shown = Panels({name: when == name for name in times}, column, *_coloured(adata, cells, column))
        boxes = grid(
            len(times), columns=columns, left=left, top=top, width=area, height=side, gap_x=gap, gap_y=TITLE_MM
        )  # fmt: skip
        for position, (name, box) in enumerate(zip(times, boxes, strict=True)):
            axes = sheet.axes(box, label=f"{column} {name}")
            cells.frame(axes, named=position == (rows - 1) * columns)
            _draw_time(axes, cells, shown, name, side)
        title = "cluster" if block == 0 else "subset"
        draw_legend(sheet, left + area + 3, top, shown.used, title, height=block_height - TITLE_MM)
    return sheet.figure


def _draw_time(axes: Axes, cells: Map, shown: Panels, name: str, side: float) -> None:
    """Draw the cells of a timepoint, larger where they are few, above the others in grey."""
    own = shown.masks[name]
    size = point_size(cells.rows.size, side)
    draw_points(axes, cells.points[~own], style.PALE, size, "others")
    larger = min(point_size(int(own.sum()), side), 4 * size)
    if shown.groups is not None:
        draw_groups(axes, cells.points[own], shown.groups[own], shown.colours, larger)
    axes.set_title(**panel_title(name, int(own.sum()), side))


@style.styled
def map_markers(adata: AnnData, *, markers: Sequence[str] | None = None, basis: str = "tsne") -> Figure:
    """Draw the map once per marker, coloured by expression from the marker's 1st to its 99th percentile.

    The two ends of a scale are at least 2 arcsinh units apart, so that noise about zero does not look like signal.

    Parameters
    ----------
    adata
        Cells with a map; X holds arcsinh values.
    markers
        Which markers, in any spelling; default those used for clustering.
    basis
        ``"tsne"`` or ``"umap"``.

    Returns
    -------
    Figure, one Axes per marker labelled with its name, and the Axes ``scale``. The two ends of the colour scale,
    in arcsinh units, stand in every title.

    Raises
    ------
    ParameterError
        There is no map, or a marker is unknown.
    StateError
        X holds counts.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.eye(4, 2, dtype="float32"), var=pandas.DataFrame(index=["CD4", "Ki67"]))
    >>> cells.obsm["X_tsne"] = numpy.arange(8.0).reshape(4, 2)
    >>> [axes.get_label() for axes in map_markers(cells, markers=["ki-67"]).axes]
    ['Ki67', 'scale']
    """
    from matplotlib.cm import ScalarMappable

    cells = Map(adata, basis)
    names = inputs.clustering_markers(adata) if markers is None else inputs.names_of(adata, markers)
    values = inputs.expression(adata, names)[cells.rows]
    columns = min(7, max(3, len(names)))
    gap, left, title = 1.8, 3.0, 4.2
    side = min((style.WIDTH_MM - 2 * left - gap * (columns - 1)) / columns, 40.0)
    area = side * columns + gap * (columns - 1)
    rows = rows_of(len(names), columns)
    sheet = Sheet(5.5 + rows * (side + title) + 12)
    n = fitted_text.count(cells.rows.size)
    sheet.text(left, 1.2, f"{cells.name} by marker  n = {n} cells in every panel", size=style.TITLE)
    boxes = grid(
        len(names),
        columns=columns,
        left=left,
        top=5.5 + title,
        width=area,
        height=side,
        gap_x=gap,
        gap_y=title,
    )
    size = point_size(cells.rows.size, side)
    for position, (name, box) in enumerate(zip(names, boxes, strict=True)):
        low, high = colour_limits(values[:, position])
        axes = sheet.axes(box, label=name)
        cells.frame(axes, named=False)
        # high values on top: a few positive cells are what one looks for on a map of a marker
        order = np.argsort(values[:, position], kind="stable")
        axes.scatter(
            cells.points[order, 0], cells.points[order, 1], s=size, c=values[order, position],
            cmap=style.expression_map(), vmin=low, vmax=high, linewidths=0, rasterized=True,
        )  # fmt: skip
        axes.set_title(fitted_text.label(name, 11), size=style.FONT, pad=2)
        axes.set_title(f"{low:.1f}–{high:.1f}", size=style.SMALL, pad=2, loc="right", color=style.SOFT)
    scale = sheet.axes(Box(left, sheet.height - 8.5, 40, 2.2), label="scale")
    colours = ScalarMappable(cmap=style.expression_map())
    bar = sheet.figure.colorbar(colours, cax=scale, orientation="horizontal")
    bar.set_ticks([0, 1], labels=["1st", "99th percentile"])
    scale.get_xticklabels()[0].set_horizontalalignment("left")
    scale.get_xticklabels()[1].set_horizontalalignment("right")
    scale.tick_params(labelsize=style.SMALL, length=1.5)
    sheet.text(
        left + 44, sheet.height - 8.8,
        f"of the marker, at least {NARROWEST_SCALE:g} apart; both stand above its panel, in "
        f"{inputs.value_label(adata, names)}",
        size=style.SMALL, color=style.SOFT,
    )  # fmt: skip
    return sheet.figure


def on_umap(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Return a function that draws as `draw` does, on the UMAP map."""

    @functools.wraps(draw)
    def drawn(adata: AnnData, **settings: Any) -> Figure:
        return draw(adata, basis="umap", **settings)

    drawn.__name__ = f"{draw.__name__}(basis='umap')"
    return drawn


def on_tsne(name: str, draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Return the function that draws the figure `name` of a run: `draw` on the t-SNE map.

    ``basis=`` still works there and warns, since a figure of UMAP must not be called after t-SNE.
    """

    @functools.wraps(draw)
    def drawn(adata: AnnData, **settings: Any) -> Figure:
        if "basis" in settings:
            warnings.warn(
                f"{name} draws the t-SNE map; write {draw.__name__}(basis=...) for another",
                DeprecationWarning,
                stacklevel=2,
            )
        return draw(adata, **settings)

    drawn.__name__ = drawn.__qualname__ = name
    drawn.__doc__ = f"Draw the figure `{name}` of a run, on the t-SNE map; see `{draw.__name__}`."
    return drawn
