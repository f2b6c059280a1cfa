"""Points on a map of cells: where they are, how large, in which colour, and what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import checks, palette, vocabulary
from cytocar._core.errors import ParameterError
from cytocar.pl._page import fitted_text, style
from cytocar.pl._page.sheet import Sheet, rows_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

NAMES = {"tsne": "t-SNE", "umap": "UMAP"}
LEGEND_MM = 24.0
TITLE_MM = 5.0
NARROWEST_SCALE = 2.0


class Map:
    """Coordinates of the cells that have any, in an order in which no group lies on top of all others."""

    def __init__(self, adata: AnnData, basis: str) -> None:
        checks.one_of(basis, "basis", NAMES)
        key = f"X_{basis}"
        if key not in adata.obsm:
            raise ParameterError(
                f"obsm has no {key!r}: run cytocar.tl.{basis} first",
                fix=f"it has {', '.join(adata.obsm) or 'no maps'}",
            )
        whole = np.asarray(adata.obsm[key], dtype=np.float64)[:, :2]
        rows = np.flatnonzero(np.isfinite(whole).all(axis=1))
        if rows.size == 0:
            raise ParameterError(f"no cell has coordinates in obsm[{key!r}], so there is nothing to draw")
        # any fixed order that has nothing to do with the groups will do
        self.rows = rows[np.random.default_rng(0).permutation(rows.size)]
        self.points = whole[self.rows]
        self.name = NAMES[basis]
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        self.centre = (low + high) / 2
        self.half = float((high - low).max()) / 2 * 1.04 or 1.0

    def frame(self, axes: Axes, *, named: bool) -> None:
        """Give a panel the same square of the map, without ticks: the axes of a map have no unit."""
        axes.set(
            xlim=(self.centre[0] - self.half, self.centre[0] + self.half),
            ylim=(self.centre[1] - self.half, self.centre[1] + self.half),
            xticks=[], yticks=[],
        )  # fmt: skip
        for spine in axes.spines.values():
            spine.set(visible=True, color=style.PALE, linewidth=0.6)
        if named:
            axes.set_xlabel(f"{self.name} 1", size=style.SMALL, color=style.SOFT, loc="left", labelpad=1.5)
            axes.set_ylabel(f"{self.name} 2", size=style.SMALL, color=style.SOFT, loc="bottom", labelpad=1.5)


def point_size(n: int, side_mm: float) -> float:
    """Return the area of a point in square points, so that n points neither vanish nor clot.

    Examples
    --------
    >>> point_size(100, 40) > point_size(10_000, 40)
    True
    """
    side = side_mm * 72 / 25.4
    return float(np.clip(0.16 * side**2 / max(n, 1), 0.35, 9.0))


def colour_limits(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the ends of a colour scale: never so near to each other that the noise of a negative marker shows."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(q) for q in np.quantile(known, [0.01, 0.99]))
    return low, max(high, low + NARROWEST_SCALE)


def draw_points(axes: Axes, points: NDArray[np.float64], colour: Any, size: float, label: str) -> None:
    if len(points):
        axes.scatter(points[:, 0], points[:, 1], s=size, c=colour, linewidths=0, rasterized=True, label=label)


def draw_groups(
    axes: Axes,
    points: NDArray[np.float64],
    groups: NDArray[np.object_],
    colours: Mapping[str, str],
    size: float,
) -> None:
    """Draw points by group in one layer, in the order they come, so that no group covers another."""
    from matplotlib.colors import to_rgba

    table = {name: to_rgba(colour) for name, colour in colours.items()}
    grey = to_rgba(palette.NO_CLUSTER_COLOUR)
    draw_points(
        axes, points, np.array([table.get(str(g), grey) for g in groups]).reshape(-1, 4), size, "cells"
    )


def number_groups(
    axes: Axes,
    points: NDArray[np.float64],
    groups: NDArray[np.object_],
    colours: Mapping[str, str],
    side_mm: float,
) -> None:
    """Write every label where its cells are, on a plate of its colour; plates that touch are moved apart."""
    names = [n for n in colours if n not in (vocabulary.NO_CLUSTER, "", "none") and (groups == n).any()]
    if not names:
        return
    texts = [fitted_text.label(name, 10) for name in names]
    low, high = axes.get_xlim()
    per_mm = (high - low) / side_mm
    sizes = np.array([[fitted_text.width_mm(t, style.SMALL) + 1.3, 3.4] for t in texts]) * per_mm
    places = moved_apart(np.array([_densest(points[groups == name]) for name in names]), sizes)
    for name, text, (x, y) in zip(names, texts, places, strict=True):
        axes.text(
            x, y, text, size=style.SMALL, ha="center", va="center", color=style.ink_on(colours[name]),
            bbox={"boxstyle": "round,pad=0.22", "fc": colours[name], "ec": style.WHITE, "lw": 0.6},
        )  # fmt: skip


def moved_apart(places: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Push rectangles that overlap apart, each by half, along the side on which the overlap is smaller."""
    places = places.copy()
    for _ in range(100):
        moved = False
        for i in range(len(places)):
            for j in range(i):
                apart = places[i] - places[j]
                overlap = (sizes[i] + sizes[j]) / 2 - np.abs(apart)
                if (overlap <= 1e-9).any():
                    continue
                side = int(overlap.argmin())
                step = overlap[side] / 2 * (1.0 if apart[side] >= 0 else -1.0)
                places[i, side] += step
                places[j, side] -= step
                moved = True
        if not moved:
            break
    return places


def _densest(points: NDArray[np.float64]) -> tuple[float, float]:
    """Return the middle of a group if its cells are there, else the middle of where most of them are."""
    middle = np.median(points, axis=0)
    reach = 0.25 * np.ptp(points, axis=0) + 1e-9
    if (np.abs(points - middle) <= reach).all(axis=1).mean() >= 0.3:
        return float(middle[0]), float(middle[1])
    bins = int(np.clip(np.sqrt(len(points)) / 2, 1, 24))
    counts, x, y = np.histogram2d(points[:, 0], points[:, 1], bins=bins)
    column, row = np.unravel_index(int(counts.argmax()), counts.shape)
    inside = points[
        (points[:, 0] >= x[column]) & (points[:, 0] <= x[column + 1])
        & (points[:, 1] >= y[row]) & (points[:, 1] <= y[row + 1])
    ]  # fmt: skip
    middle = np.median(inside, axis=0)
    return float(middle[0]), float(middle[1])


def draw_legend(
    sheet: Sheet, left: float, top: float, colours: Mapping[str, str], title: str, *, height: float
) -> None:
    """Place coloured dots with names in a column, or in two where one is higher than the page."""
    from matplotlib.lines import Line2D

    dots = [
        Line2D([], [], linestyle="none", marker="o", markersize=4, markeredgewidth=0, color=colour)
        for colour in colours.values()
    ]
    names = [fitted_text.label(name, 16) for name in colours]
    sheet.legend(
        left, top, dots, names, title=title, ncols=_legend_columns(len(names), height), handlelength=0.8
    )


def _legend_columns(n: int, height: float) -> int:
    return rows_of(n, max(int((height - 5) // 3.5), 1))


def legend_width(names: Sequence[str], height: float) -> float:
    """Return how wide the legend of some names will be."""
    widest = max((fitted_text.width_mm(fitted_text.label(name, 16)) for name in names), default=0.0)
    return max(12.0, _legend_columns(len(names), height) * (widest + 8.0)) + 3.0


def panel_title(name: str, n: int, side: float) -> dict[str, Any]:
    """Return the words above a panel and their size: its part, as far as there is room, and its cells."""
    size = style.TITLE if side > 28 else style.SMALL
    counted = f"n = {fitted_text.count(n)}"
    if not name:
        return {"label": counted, "size": size}
    room = side - fitted_text.width_mm(f"  {counted}", size)
    return {"label": f"{fitted_text.fit(name, room, size)}  {counted}", "size": size}


def columns_for(n: int) -> int:
    return n if n <= 4 else 3 if n <= 6 else 4 if n <= 8 else 5 if n <= 15 else 6
