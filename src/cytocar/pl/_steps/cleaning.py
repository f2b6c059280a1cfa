"""The clean-up as it worked: one row per sample, one column per criterion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar._core.vocabulary import BEAD, DEAD, DEBRIS, DOUBLET
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

SAMPLES_PER_PAGE = 6
_LINE = palette.VERMILION
_NAMES = {
    BEAD: "beads",
    DEBRIS: "debris",
    DEAD: "dead cells",
    DOUBLET: "doublets",
    "doublet_length": "doublets by size",
}
_NEEDED = (
    keys.SAMPLE, "plot", "criterion", "x_name", "y_name", "x", "y", "n", "x_limit", "x_side", "y_limit", "events",
    "taken",
)  # fmt: skip


@style.styled
def cleaning(
    plots: pd.DataFrame,
    *,
    samples: Sequence[str] | None = None,
    page: int = 1,
    per_page: int = SAMPLES_PER_PAGE,
) -> Figure:
    """Draw every criterion of the clean-up against DNA for every sample, with its limits and the events it removed.

    Colour is the logarithm of the number of events in a bin, up to the fullest bin of this criterion in any sample.
    Events removed by a criterion lie beyond the vertical line, on the side that the arrow points to, and beyond the
    horizontal line where there is one. Above a panel stand the events that were left, and the share removed.

    Parameters
    ----------
    plots
        The table that `cytocar.pp.clean_plots` returns.
    samples
        Which samples; default all.
    page, per_page
        Samples beyond `per_page` go on further pages, counted from 1.

    Returns
    -------
    Figure; an Axes is labelled ``<sample> <criterion>``.

    Raises
    ------
    ParameterError
        A column is missing, a sample is unknown, or there is no such page.

    Examples
    --------
    >>> import pandas
    >>> bins = pandas.DataFrame({"sample_id": "a", "plot": 3, "criterion": "dead", "x_name": "Pt195", "y_name": "DNA2",
    ...                          "x": [2.0625, 6.0625], "y": [5.0625, 5.1875], "n": [90, 10], "x_limit": 4.5,
    ...                          "x_side": "above", "y_limit": float("nan"), "events": 100, "taken": 10})
    >>> cleaning(bins).axes[0].get_title("left").splitlines()
    ['dead cells', '10 % of 100']
    """
    inputs.require(plots, _NEEDED, "the table of clean-up plots")
    shown = inputs.page_of(plots, samples, page, per_page)
    columns = inputs.texts(plots.drop_duplicates("plot").sort_values("plot"), "criterion").tolist()
    tag, left, gap, top, head, foot = 6.0, 15.0, 6.0, 6.5, 8.0, 9.0
    side = min((style.WIDTH_MM - left - 3 - gap * (len(columns) - 1)) / len(columns), 32.0)
    row_height = head + side + foot
    sheet = Sheet(top + len(shown.samples) * row_height + 1)
    sheet.text(
        left, 1.0,
        "Clean-up: arcsinh(counts / 5), added where there are several; colour: events per bin, logarithmic; above: "
        "what % of the events left is removed",
        size=style.SMALL, color=style.SOFT,
    )  # fmt: skip
    grids = {criterion: bin_grid(plots[plots["criterion"] == criterion]) for criterion in columns}
    for row, sample in enumerate(shown.samples):
        of_sample = plots[inputs.texts(plots, keys.SAMPLE) == sample]
        down = top + row * row_height + head
        sheet.text(
            tag / 2, down + side / 2, fitted_text.label(sample, 20), rotation=90, va="center", ha="center",
            size=style.TITLE,
        )  # fmt: skip
        for column, criterion in enumerate(columns):
            box = Box(left + column * (side + gap), down, side, side)
            axes = sheet.axes(box, label=f"{sample} {criterion}")
            bins = of_sample[of_sample["criterion"] == criterion]
            if bins.empty:
                axes.set_axis_off()
                axes.set_title(f"{_NAMES.get(criterion, criterion)}\nnot judged", size=style.SMALL)
            else:
                _panel(axes, bins, grids[criterion], side)
    return sheet.figure


@dataclass(frozen=True)
class BinGrid:
    """The bins of a criterion, the same for all samples."""

    step: float
    """Width of a bin."""
    most: float
    """Events in the fullest bin."""
    x: tuple[float, float]
    y: tuple[float, float]
    """Ends of the axes."""

    def image(self, bins: pd.DataFrame) -> NDArray[np.float64]:
        """Return the events of each bin, rows (y, upwards) x columns (x), NaN where there are none."""
        x, y = (bins[name].to_numpy(dtype=float) for name in ("x", "y"))
        shape = [round((high - low) / self.step) for low, high in (self.y, self.x)]
        image = np.full(shape, np.nan)
        row, column = (
            np.rint((values - low) / self.step - 0.5).astype(int)
            for values, (low, _) in ((y, self.y), (x, self.x))
        )
        image[row, column] = bins["n"].to_numpy(dtype=float)
        return image


def bin_grid(bins: pd.DataFrame) -> BinGrid:
    """Return the grid of the bins of a criterion in all samples."""
    axes = [bins[name].to_numpy(dtype=float) for name in ("x", "y")]
    gaps = np.concatenate([np.diff(np.unique(values)) for values in axes])
    gaps = gaps[gaps > 1e-6]
    step = float(gaps.min()) if gaps.size else 1.0
    x, y = ((float(values.min()) - step / 2, float(values.max()) + step / 2) for values in axes)
    return BinGrid(step, max(float(bins["n"].max()), 2.0), x, y)


def _panel(axes: Axes, bins: pd.DataFrame, grid: BinGrid, side: float) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    (low_x, high_x), (low_y, high_y) = grid.x, grid.y
    axes.imshow(
        np.ma.masked_invalid(grid.image(bins)), origin="lower", extent=(low_x, high_x, low_y, high_y), aspect="auto",
        norm=LogNorm(1, grid.most), cmap=style.DENSITY_MAP, interpolation="nearest",
    )  # fmt: skip
    first = bins.iloc[0]
    x_limit, y_limit = float(first["x_limit"]), float(first["y_limit"])
    axes.axvline(x_limit, color=_LINE, linewidth=0.8)
    if np.isfinite(y_limit):
        axes.axhline(y_limit, color=_LINE, linewidth=0.8, linestyle=(0, (3, 1.5)))
    towards = 1 if first["x_side"] == "above" else -1
    axes.annotate(
        "", (x_limit + towards * 0.09 * (high_x - low_x), 0.965), (x_limit, 0.965),
        xycoords=("data", "axes fraction"), arrowprops={"arrowstyle": "->", "color": _LINE, "linewidth": 0.8,
        "shrinkA": 0, "shrinkB": 0, "mutation_scale": 5},
    )  # fmt: skip
    axes.set(xlim=(low_x, high_x), ylim=(low_y, high_y))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.tick_params(labelsize=style.SMALL)
    axes.set_xlabel(
        fitted_text.fit(_short(first["x_name"]), side + 6, style.SMALL), size=style.SMALL, labelpad=1
    )
    axes.set_ylabel(fitted_text.fit(first["y_name"], side, style.SMALL), size=style.SMALL, labelpad=1)
    share = 100 * float(first["taken"]) / max(float(first["events"]), 1.0)
    name = _NAMES.get(str(first["criterion"]), str(first["criterion"]))
    axes.set_title(
        f"{name}\n{fitted_text.percent(share)} % of {fitted_text.count(float(first['events']))}",
        size=style.SMALL,
    )


def _short(formula: object) -> str:
    """Return a formula with the name of the one long channel cut, so that its weights can be read."""
    return str(formula).replace("Event_length", "length")
