"""One step of a gating strategy: the density of its cells over two axes, its gates, and the share in each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import palette
from cytocar.pl._page import fitted_text, raster, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

LINE = palette.VERMILION
MOST_POINTS = 3000
"""Cells of a population that are drawn one by one; of more, lines of their density."""
HELD = (0.5, 0.8, 0.95)
TICKS = (0, 2, 4, 6, 8, 10, 12)
_ROOM = 0.02
"""Distance of a name from the side of its gate, as a share of the panel."""


@dataclass(frozen=True)
class Box:
    """A gate with up to four straight sides; None is an open one."""

    x_low: float | None = None
    x_high: float | None = None
    y_low: float | None = None
    y_high: float | None = None

    def lines(self, axis_x: Axis, axis_y: Axis) -> list[NDArray[np.float64]]:
        """Return the sides that there are, as far as the picture reaches."""
        left, right = _side(self.x_low, axis_x.low), _side(self.x_high, axis_x.high)
        bottom, top = _side(self.y_low, axis_y.low), _side(self.y_high, axis_y.high)
        sides = [
            ([self.x_low] * 2, [bottom, top], self.x_low),
            ([self.x_high] * 2, [bottom, top], self.x_high),
            ([left, right], [self.y_low] * 2, self.y_low),
            ([left, right], [self.y_high] * 2, self.y_high),
        ]
        return [np.array([x, y], dtype=float).T for x, y, end in sides if end is not None]


@dataclass(frozen=True)
class Outline:
    """A gate with a closed outline."""

    points: NDArray[np.float64]

    def lines(self, _x: Axis, _y: Axis) -> list[NDArray[np.float64]]:
        """Return its outline."""
        return [np.vstack([self.points, self.points[:1]])]


@dataclass(frozen=True)
class Region:
    """A gate in a biaxial and the population inside."""

    population: str
    events: float
    shape: Box | Outline


@dataclass(frozen=True)
class Axis:
    """One axis of a biaxial: what it is called, what the picture shows of it, where it has ticks and what they say."""

    name: str
    low: float
    high: float
    ticks: Mapping[float, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A biaxial: the cells of a population over two axes, counted in pixels, and the gates on them."""

    parent: str
    n: float
    x: Axis
    y: Axis
    counts: NDArray[np.int64]
    regions: Sequence[Region] = ()
    x_values: NDArray[np.floating] | None = None
    y_values: NDArray[np.floating] | None = None
    """Places of the cells of a population that is looked at, where one is."""


def arcsinh_axis(name: str, values: Sequence[NDArray[np.floating]], lines: Sequence[float]) -> Axis:
    """Return an axis in arcsinh units that shows nearly all of some values, and thresholds on it."""
    low, high = raster.ends_of(np.concatenate(values) if values else np.zeros(0), least=4.0)
    finite = [line for line in lines if np.isfinite(line)]
    low, high = (
        min(low, *(line - 0.4 for line in finite), -0.3),
        max(high, *(line + 0.6 for line in finite), 4.0),
    )
    return Axis(name, low, high, {tick: f"{tick:g}" for tick in TICKS if low <= tick <= high})


def draw(axes: Axes, step: Step, *, shade: str = "log", grey: bool = False, line: str = LINE) -> None:
    """Draw the density of a step, its gates, and a name and a share beside each gate.

    Parameters
    ----------
    axes
        An empty panel.
    step
        What to draw.
    shade
        See `cytocar.pl._page.raster.shade`.
    grey
        Draw the density as a background for something else, without names in it.
    line
        Colour of the gates.
    """
    axes.imshow(
        np.ma.masked_invalid(raster.shade(step.counts, shade)), origin="lower",
        extent=(step.x.low, step.x.high, step.y.low, step.y.high), aspect="auto", vmin=-0.35 if grey else 0, vmax=1,
        cmap=style.BACKGROUND_MAP if grey else style.DENSITY_MAP, interpolation="nearest",
    )  # fmt: skip
    axes.set(xlim=(step.x.low, step.x.high), ylim=(step.y.low, step.y.high))
    drawn = set()
    taken: list[NDArray[np.float64]] = []
    for region in step.regions:
        for path in region.shape.lines(step.x, step.y):
            key = path.round(9).tobytes()
            if key not in drawn:  # two gates that share a side
                drawn.add(key)
                axes.plot(
                    path[:, 0], path[:, 1], color=line, linewidth=0.9, label=f"gate {region.population}",
                    solid_joinstyle="miter",
                )  # fmt: skip
        if not grey:
            _name(axes, step, region, taken)
    axes.set_xticks(list(step.x.ticks), list(step.x.ticks.values()), size=style.SMALL)
    axes.set_yticks(list(step.y.ticks), list(step.y.ticks.values()), size=style.SMALL)
    axes.set_xlabel(fitted_text.label(step.x.name, 22), size=style.FONT, labelpad=1.5)
    axes.set_ylabel(fitted_text.label(step.y.name, 22), size=style.FONT, labelpad=1.5)


def draw_cells(
    axes: Axes, x: NDArray[np.floating], y: NDArray[np.floating], colour: str, size: float
) -> None:
    """Draw cells over a density: each as a point, or of many the lines that hold half, 80 % and 95 % of them.

    With lines, the cells beyond the outermost one are points. Cells beyond the panel are drawn at its edge.

    Parameters
    ----------
    axes
        A panel with its limits set.
    x, y
        Places of the cells.
    colour, size
        Of the points (area in square points) and lines.
    """
    ends = [axes.get_xlim(), axes.get_ylim()]
    points = np.column_stack(
        [np.clip(values, *end) for values, end in zip((x, y), ends, strict=True)]
    ).astype(float)
    label = "cells"
    if len(points) > MOST_POINTS:
        from scipy.ndimage import gaussian_filter

        bins = 80
        counts = raster.pixels(points[:, 0], points[:, 1], ends[0], ends[1], bins).astype(float)
        smooth = gaussian_filter(counts, 1.6, mode="nearest")
        # Cells without counts lie at 0: a line below them would speak of values that nobody can have.
        smooth[: np.flatnonzero(counts.any(axis=1))[0]] = 0
        smooth[:, : np.flatnonzero(counts.any(axis=0))[0]] = 0
        fullest = np.sort(smooth.ravel())[::-1]
        inside = np.searchsorted(np.cumsum(fullest) / fullest.sum(), HELD)
        levels = fullest[np.minimum(inside, len(fullest) - 1)]
        middles = [low + (np.arange(bins) + 0.5) * (high - low) / bins for low, high in ends]
        rising = np.unique(levels)
        axes.contour(middles[0], middles[1], smooth, levels=rising, colors=[colour], linewidths=0.9)
        places = [
            np.clip(((values - low) * bins / (high - low)).astype(int), 0, bins - 1)
            for values, (low, high) in zip(points.T, ends, strict=True)
        ]
        points = points[smooth[places[1], places[0]] < rising[0]]
        label = "cells beyond the lines"
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=size,
        c=colour,
        linewidths=0,
        rasterized=True,
        label=label,
        zorder=3,
        clip_on=False,
    )


def _name(axes: Axes, step: Step, region: Region, taken: list[NDArray[np.float64]]) -> None:
    """Write a population and its share of the step within its gate, where it covers the fewest cells."""
    share = 100 * region.events / step.n if step.n else float("nan")
    short = region.population.removeprefix(step.parent).strip() or region.population
    lines = [fitted_text.label(short, 18), f"{fitted_text.percent(share)} %"]
    figure = axes.get_figure(root=True)
    # mypy: axes that are drawn on are in a figure
    side_mm = np.array([axes.bbox.width, axes.bbox.height]) / figure.dpi * 25.4  # type: ignore[union-attr]
    size = np.array(
        [
            max(fitted_text.width_mm(line, style.SMALL) for line in lines) + 0.8,
            2 * fitted_text.height_mm(style.SMALL),
        ]
    )
    x, y = _quietest(region.shape, step, size / side_mm, taken)
    taken.append(np.array([(x, y), size / side_mm]))
    axes.annotate(
        "\n".join(lines), (x, y), xycoords="axes fraction", ha="center", va="center", size=style.SMALL,
        linespacing=1.05, annotation_clip=False,
        bbox={"boxstyle": "square,pad=0.1", "fc": style.WHITE, "ec": "none", "alpha": 0.75},
    )  # fmt: skip


def _quietest(
    shape: Box | Outline, step: Step, size: NDArray[np.float64], taken: Sequence[NDArray[np.float64]]
) -> tuple[float, float]:
    """Return the middle of the name of a gate, as shares of the panel: the corner of the gate with the fewest cells.

    The names of other gates are avoided as far as possible; of corners with equally few cells, it is the one farthest
    from the middle of the panel. The name of a closed outline may stand above and below it as well.
    """
    half = size / 2 + _ROOM
    if isinstance(shape, Box):
        low = np.array([_share(shape.x_low, step.x, 0.0), _share(shape.y_low, step.y, 0.0)])
        high = np.array([_share(shape.x_high, step.x, 1.0), _share(shape.y_high, step.y, 1.0)])
        spots = [
            (x, y)
            for x in (low[0] + half[0], high[0] - half[0])
            for y in (low[1] + half[1], high[1] - half[1])
        ]
    else:
        ends = np.array([shape.points.min(axis=0), shape.points.max(axis=0)])
        left, right = (_share(float(x), step.x, 0.0) for x in ends[:, 0])
        bottom, top = (_share(float(y), step.y, 0.0) for y in ends[:, 1])
        middle = (left + right) / 2
        spots = [
            (middle, top + half[1]),
            (middle, bottom - half[1]),
            (middle, top - half[1]),
            (middle, bottom + half[1]),
        ]
    inside = [
        (float(np.clip(x, half[0], 1 - half[0])), float(np.clip(y, half[1], 1 - half[1]))) for x, y in spots
    ]

    def price(spot: tuple[float, float]) -> tuple[int, float, float]:
        on = sum(bool((np.abs(spot - place) < (size + other) / 2).all()) for place, other in taken)
        return on, _covered(step, spot, size), -abs(spot[0] - 0.5) - abs(spot[1] - 0.5)

    return min(inside, key=price)


def _covered(step: Step, spot: tuple[float, float], size: NDArray[np.float64]) -> float:
    """Return the shades that a name at a spot of the panel would cover, in hundredths of the panel."""
    bins = len(step.counts)
    (left, right), (bottom, top) = (
        np.clip(np.round((middle + np.array([-0.5, 0.5]) * width) * bins).astype(int), 0, bins)
        for middle, width in zip(spot, size, strict=True)
    )
    shades = 0.3 + raster.shade(step.counts)[bottom:top, left:right]
    return round(100 * float(np.nansum(shades)) / bins**2, 2)


def _share(value: float | None, axis: Axis, otherwise: float) -> float:
    return otherwise if value is None else min(max((value - axis.low) / (axis.high - axis.low), 0.0), 1.0)


def _side(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
