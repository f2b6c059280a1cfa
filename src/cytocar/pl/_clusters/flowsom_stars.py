"""A FlowSOM map as stars: one a node, its rays the markers, on the minimum spanning tree and on the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks, keys, ordering, palette
from cytocar._core.errors import ParameterError
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, bare

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

LAYOUTS = ("tree", "grid")
_TITLES = {"tree": "minimum spanning tree", "grid": "grid of the map"}
RAYS = 8
"""Markers that can be told apart by colour."""

# Okabe and Ito, the black one last.
_RAY_COLOURS = (
    palette.ORANGE,
    palette.SKY,
    palette.GREEN,
    palette.YELLOW,
    palette.BLUE,
    palette.VERMILION,
    palette.PURPLE,
    style.INK,
)
_SMALLEST = 0.22
"""Radius of a node with a single cell, as a share of the largest."""


@style.styled
def flowsom_stars(
    adata: AnnData,
    *,
    key: str = keys.FLOWSOM,
    markers: Sequence[str] | None = None,
    layout: str | Sequence[str] = LAYOUTS,
) -> Figure:
    """Draw every node of a FlowSOM map as a star on its minimum spanning tree and on its grid.

    A ray is a marker: its length is the median of the cells of the node, from the lowest to the highest node. The area
    of a node tells its cells, the colour behind it its metacluster. After the star charts of FlowSOM (Van Gassen et al.
    2015, doi 10.1002/cyto.a.22625).

    Parameters
    ----------
    adata
        Cells on which `cytocar.tl.flowsom` has run.
    key
        The name of the result.
    markers
        Up to 8 markers of the map, in any spelling; default the 8 that differ most between the nodes.
    layout
        ``"tree"``, ``"grid"`` or both.

    Returns
    -------
    Figure; an Axes is labelled ``tree`` or ``grid``.

    Raises
    ------
    ParameterError
        There is no such result, a marker is not in the map, there are more than 8, or the layout is unknown.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> from cytocar import pl, tl
    >>> rng = numpy.random.default_rng(0)
    >>> cells = anndata.AnnData(rng.normal(size=(200, 2)).astype("float32"), var=pandas.DataFrame(index=["CD4", "CD8"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> tl.flowsom(cells, markers=["CD4", "CD8"], grid=(3, 3))
    >>> [axes.get_label() for axes in pl.flowsom_stars(cells).axes]
    ['tree', 'grid']
    """
    from cytocar import tl

    wanted = [layout] if isinstance(layout, str) else list(layout)
    for name in wanted:
        checks.one_of(name, "layout", LAYOUTS)
    if not wanted:
        raise ParameterError("layout is empty", fix="name 'tree', 'grid' or both")
    nodes, edges = tl.flowsom_tree(adata, key=key)
    known = [str(name) for name in nodes.columns[5:]]
    scaled = _scaled(nodes[known].to_numpy(dtype=float))
    weights = nodes["cells"].to_numpy(dtype=float)
    shown = _chosen(adata, known, scaled, weights, markers)
    rays = np.nan_to_num(scaled[:, [known.index(name) for name in shown]])
    clusters = ordering.sort_clusters(nodes["cluster"])
    colours = palette.cluster_colours(clusters)

    columns = int(adata.uns[key]["grid"][1])
    grid_places = np.column_stack([np.arange(len(nodes)) % columns, -(np.arange(len(nodes)) // columns)])
    places = {"tree": _lying(nodes[["x", "y"]].to_numpy(dtype=float)), "grid": grid_places.astype(float)}
    left, width, head, gap = 2.0, style.WIDTH_MM - 34.0, 5.5, 3.0
    heights = {name: _height(places[name], width, least=45.0, most=88.0) for name in wanted}
    legend = 13.0 + 3.6 * (len(shown) + len(clusters))
    sheet = Sheet(max(sum(heights.values()) + len(wanted) * (head + gap), legend) + 1)
    top = 0.0
    for name in wanted:
        axes = sheet.axes(Box(left, top + head, width, heights[name]), label=name)
        axes.set_title(_TITLES[name], size=style.FONT)
        if name == "tree":
            _edges(axes, places[name], edges)
        _stars(
            axes,
            places[name],
            weights,
            rays,
            [colours[str(c)] for c in nodes["cluster"]],
            width / heights[name],
        )
        top += head + heights[name] + gap
    _legend(sheet, left + width + 2, 2.0, shown, {c: colours[c] for c in clusters})
    return sheet.figure


def _lying(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn places so that they reach farthest from left to right, as a page does."""
    away = places - places.mean(axis=0)
    if len(away) < 2:
        return np.asarray(away)
    directions = np.linalg.eigh(away.T @ away)[1][:, ::-1]
    largest = np.abs(directions).argmax(axis=0)
    return np.asarray(away @ (directions * np.sign(directions[largest, [0, 1]])))


def _height(places: NDArray[np.float64], width: float, *, least: float, most: float) -> float:
    """Return how high a panel of a width has to be to hold places on one scale."""
    spans = np.ptp(places, axis=0) + 2 * _room(places)
    return float(np.clip(width * spans[1] / spans[0], least, most))


def _scaled(medians: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return medians from 0 (the lowest node) to 1 (the highest), NaN for nodes without cells."""
    low, high = np.nanmin(medians, axis=0), np.nanmax(medians, axis=0)
    return np.asarray((medians - low) / np.maximum(high - low, 1e-12))


def _chosen(
    adata: AnnData,
    known: Sequence[str],
    scaled: NDArray[np.float64],
    weights: NDArray[np.float64],
    markers: Sequence[str] | None,
) -> list[str]:
    """Return the markers asked for, or those whose scaled medians vary most between cells of different nodes."""
    if markers is None:
        filled = weights > 0
        part, share = scaled[filled], weights[filled, None] / weights.sum()
        spread = (share * (part - (share * part).sum(axis=0)) ** 2).sum(axis=0)
        best = np.argsort(-spread, kind="stable")[:RAYS]
        return [known[place] for place in sorted(best)]
    names = inputs.names_of(adata, list(markers))
    if not 1 <= len(names) <= RAYS:
        raise ParameterError(f"{len(names)} markers are asked for", fix=f"a star shows 1 to {RAYS}")
    inputs.refuse_unknown(names, known, "is not a marker of the map")
    return names


def _edges(axes: Axes, places: NDArray[np.float64], edges: pd.DataFrame) -> None:
    from matplotlib.collections import LineCollection

    pairs = edges[["a", "b"]].to_numpy(dtype=int)
    axes.add_collection(
        LineCollection(list(places[pairs]), colors=style.SOFT, linewidths=0.6, label="edges", zorder=0)
    )


def _stars(
    axes: Axes,
    places: NDArray[np.float64],
    weights: NDArray[np.float64],
    rays: NDArray[np.float64],
    colours: Sequence[str],
    shape: float,
) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle, Wedge

    largest = _room(places)
    radii = largest * np.maximum(np.sqrt(weights / max(weights.max(), 1.0)), _SMALLEST)
    radii[weights == 0] = largest * _SMALLEST * 0.6
    grounds = [Circle((x, y), r) for (x, y), r in zip(places, radii, strict=True)]
    axes.add_collection(
        PatchCollection(grounds, facecolors=colours, alpha=0.45, linewidths=0, zorder=1, label="metaclusters")
    )
    n = rays.shape[1]
    turn = 360.0 / n
    for ray in range(n):
        wedges = [
            Wedge((x, y), r * length, 90 - (ray + 1) * turn, 90 - ray * turn)
            for (x, y), r, length, weight in zip(places, radii, rays[:, ray], weights, strict=True)
            if weight > 0 and length > 0.02
        ]
        axes.add_collection(
            PatchCollection(
                wedges,
                facecolor=_RAY_COLOURS[ray],
                edgecolor=style.WHITE,
                linewidths=0.15,
                zorder=2,
                label=f"ray {ray}",
            )
        )
    rings = PatchCollection(
        grounds, facecolors="none", edgecolors=colours, linewidths=0.7, zorder=3, label="nodes"
    )
    axes.add_collection(rings)
    bare(axes)
    low, high = places.min(axis=0) - 1.1 * largest, places.max(axis=0) + 1.1 * largest
    middle, spans = (low + high) / 2, high - low
    half = max(spans[0] / shape, spans[1]) / 2
    axes.set(
        xlim=(middle[0] - half * shape, middle[0] + half * shape), ylim=(middle[1] - half, middle[1] + half)
    )


def _room(places: NDArray[np.float64]) -> float:
    """Return the radius of the largest node: half of the usual distance to the nearest other one."""
    if len(places) < 2:
        return 1.0
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return 0.48 * float(np.median(apart.min(axis=1)))


def _legend(
    sheet: Sheet, left: float, top: float, markers: Sequence[str], colours: Mapping[str, str]
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    sheet.legend(
        left, top, [Patch(color=_RAY_COLOURS[i], linewidth=0) for i in range(len(markers))],
        [fitted_text.label(name, 12) for name in markers], title="rays: median",
    )  # fmt: skip
    dots = [
        Line2D(
            [], [], linestyle="none", marker="o", markersize=4.5, markeredgewidth=0, color=colour, alpha=0.7
        )
        for colour in colours.values()
    ]
    names = [fitted_text.label(name, 9) for name in colours]
    sheet.legend(
        left, top + 8.0 + 3.6 * len(markers), dots, names, title="metacluster", ncols=1 if len(names) <= 14 else 2,
        handlelength=0.8,
    )  # fmt: skip
