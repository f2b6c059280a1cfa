"""One threshold over all samples: the density it was found in, its number, and how far it may move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar.pl._gates.thresholds import (
    FOUND,
    SECOND,
    STATED,
    Panel,
    colour_of,
    curves_of,
    origin,
    row_of_sample,
)
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_OVERLAP = 1.7
_HIGHEST = 3.0


@style.styled
def ridges(
    densities: pd.DataFrame,
    thresholds: pd.DataFrame,
    *,
    name: str | None = None,
    samples: pd.DataFrame | None = None,
) -> Figure:
    """Draw one threshold over all samples: one ridge per sample, the number as a line, its range as a band.

    A line that lies elsewhere than in the other samples, or on the side of a hill, shows at once. The height of a
    ridge is the square root of the density, and what rises above three times the highest point from half the number
    upwards is cut, so that a hump of one cell in a hundred can be seen beside its threshold.

    Parameters
    ----------
    densities
        `sample_id`, `name`, `x` (arcsinh units), `density`, as `cytocar.gate.densities` returns them.
    thresholds
        `sample_id`, `name`, `value`, `rule`, `confidence`, `pinned` and, where available, `fallback`, `low` and `high`
        (95 % range), as `cytocar.gate.thresholds` returns them.
    name
        Which threshold; default the one that is found in known negatives (that of the CAR), else the first.
    samples
        A table with `sample_id` and, where available, `patient_id`, `months`: samples are drawn in this order.

    Returns
    -------
    Figure with the Axes ``ridges``.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or the name is unknown.

    Examples
    --------
    >>> import pandas
    >>> curve = pandas.DataFrame({"sample_id": "a", "name": "CD3", "x": [0.0, 2.0, 4.0], "density": [0.5, 0.1, 0.4]})
    >>> found = pandas.DataFrame({"sample_id": ["a"], "name": ["CD3"], "value": [2.0], "rule": ["valley"],
    ...                           "confidence": [0.9], "pinned": [False]})
    >>> ridges(curve, found).axes[0].get_xlabel()
    'CD3, arcsinh units'
    """
    return _draw(arrange(densities, thresholds, name=name, samples=samples))


@dataclass(frozen=True)
class Ridges:
    """One threshold, samples from above."""

    name: str
    order: list[str]
    panel: Panel
    hills: dict[str, Hill]


@dataclass(frozen=True)
class Hill:
    """A density as high as it is drawn."""

    x: NDArray[np.float64]
    height: NDArray[np.float64]
    cut: bool
    """Whether its top had to be cut."""


def arrange(
    densities: pd.DataFrame,
    thresholds: pd.DataFrame,
    *,
    name: str | None = None,
    samples: pd.DataFrame | None = None,
) -> Ridges:
    """Arrange what `ridges` draws."""
    inputs.require(densities, (keys.SAMPLE, "name", "x", "density"), "the table of densities")
    inputs.require(
        thresholds, (keys.SAMPLE, "name", "value", "rule", "confidence", "pinned"), "the table of thresholds"
    )
    name = usual_name(thresholds) if name is None else name
    (name,) = inputs.markers_of([name], inputs.distinct(thresholds, "name"), "the table", "threshold")
    rows = row_of_sample(thresholds[inputs.texts(thresholds, "name") == name])
    curves = curves_of(densities[inputs.texts(densities, "name") == name])
    if not curves:
        raise ParameterError(
            f"the table of densities has none of threshold {name!r}, so there is nothing to draw"
        )
    order = inputs.sample_order(rows, samples)
    hills = {s: hill(*curves[s], float(rows[s]["value"])) for s in order if s in curves}
    return Ridges(name, order, Panel(name, curves, rows), hills)


def hill(x: NDArray[np.float64], density: NDArray[np.float64], value: float) -> Hill:
    """Return the square root of a density; what rises far above the places from half the number upwards is cut."""
    y = np.sqrt(np.clip(density, 0, None))
    near = y[x > value / 2] if np.isfinite(value) else y
    top = float(y.max())
    most = min(top, _HIGHEST * float(near.max())) if near.size and near.max() > 0 else top
    height = _OVERLAP * 0.95 * np.minimum(y, most) / most if most > 0 else y
    return Hill(x, np.asarray(height), most < top)


def _draw(ridges: Ridges) -> Figure:
    n = len(ridges.order)
    tags = [fitted_text.label(sample, 22) for sample in ridges.order]
    left = max(fitted_text.width_mm(tag, style.SMALL) for tag in tags) + 3
    right, top, foot = 54.0, 9.5, 9.0
    ridge = float(np.clip(150.0 / n, 4.2, 9.0))
    width = style.WIDTH_MM - left - right
    height = ridge * (n + _OVERLAP - 1 + 0.1)
    sheet = Sheet(top + height + foot)
    axes = sheet.axes(Box(left, top, width, height), label="ridges")
    low, high = (float(pick([pick(x) for x, _ in ridges.panel.curves.values()])) for pick in (np.min, np.max))
    axes.set(xlim=(low, high), ylim=(-0.1, n + _OVERLAP - 1))
    axes.set_yticks([n - 1 - i + 0.1 for i in range(n)], tags, size=style.SMALL)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{fitted_text.label(ridges.name, 20)}, arcsinh units")
    for position, sample in enumerate(ridges.order):
        base, row = n - 1 - position, ridges.panel.rows[sample]
        if sample in ridges.hills:
            _draw_hill(axes, ridges.hills[sample], base=base, zorder=3 * position, label=sample)
        _line(axes, row, base=base, zorder=3 * position + 1)
        at = top + height - (base + 0.1 + 0.1) * height / (n + _OVERLAP - 1 + 0.1)
        sheet.text(left + width + 3, at, _beside(row), size=style.SMALL, va="center", color=_colour(row))
    _key(sheet, left, list(ridges.panel.rows.values()))
    cut = any(each.cut for each in ridges.hills.values())
    note = "height: square root of density" + (", tops cut" if cut else "")
    sheet.text(style.WIDTH_MM - 3, 1.7, note, ha="right", size=style.SMALL, color=style.SOFT)
    return sheet.figure


def usual_name(thresholds: pd.DataFrame) -> str:
    """Return the threshold that decides most: that of a rare population, found in known negatives; else the first."""
    rare = thresholds[thresholds["rule"].astype(str) == "negatives"]
    return str((rare if len(rare) else thresholds)["name"].iloc[0])


def _draw_hill(axes: Axes, hill: Hill, *, base: float, zorder: int, label: str) -> None:
    axes.fill_between(
        hill.x,
        base,
        base + hill.height,
        facecolor=style.HILL,
        edgecolor=style.WHITE,
        linewidth=0.6,
        zorder=zorder,
        label=f"density {label}",
    )


def range_of(row: Mapping[Hashable, Any]) -> tuple[float, float] | None:
    """Return the range of a number; None where it is not known."""
    low, high = (float(row.get(side, np.nan)) for side in ("low", "high"))
    return (low, high) if np.isfinite(low) and np.isfinite(high) else None


def _band(row: Mapping[Hashable, Any]) -> tuple[float, float] | None:
    """Return the range that is drawn: of a number that was found, and not empty."""
    ends = range_of(row)
    return ends if ends is not None and ends[1] > ends[0] and np.isfinite(float(row["value"])) else None


def _line(axes: Axes, row: Mapping[Hashable, Any], *, base: float, zorder: int) -> None:
    """Draw the number of a sample and, where it is known, its range."""
    value, band = float(row["value"]), _band(row)
    if not np.isfinite(value):
        return
    if band is not None:
        axes.fill_between(
            band, base, base + 0.9, color=style.SAND, alpha=0.75, linewidth=0, zorder=zorder, label="range"
        )
    axes.plot(
        [value, value], [base, base + 0.9], color=_colour(row), linewidth=1.2, zorder=zorder + 1, label="threshold",
        solid_capstyle="butt",
    )  # fmt: skip


def _colour(row: Mapping[Hashable, Any]) -> str:
    return colour_of(row) if np.isfinite(float(row["value"])) else style.SOFT


def _beside(row: Mapping[Hashable, Any]) -> str:
    """Return what stands beside a ridge: the number, its range, and how it came about."""
    value, ends = float(row["value"]), range_of(row)
    if not np.isfinite(value):
        return fitted_text.label(row["rule"], 24)
    number = f"{value:.2f}" if ends is None else f"{value:.2f} ({ends[0]:.2f} to {ends[1]:.2f})"
    return f"{number}  {origin(row)}"


def _key(sheet: Sheet, left: float, rows: Sequence[Mapping[Hashable, Any]]) -> None:
    """Explain the colours that occur."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    meaning = {FOUND: "found (its confidence)", SECOND: "by a fallback rule", STATED: "stated"}
    used = {_colour(row) for row in rows}
    shown = [colour for colour in meaning if colour in used]
    handles: list[Any] = [Line2D([], [], color=colour, linewidth=1.2) for colour in shown]
    names = [meaning[colour] for colour in shown]
    if any(_band(row) is not None for row in rows):
        handles.append(Patch(color=style.SAND, linewidth=0))
        names.append("95 % range")
    sheet.legend(left, 1.5, handles, names, ncols=4)
