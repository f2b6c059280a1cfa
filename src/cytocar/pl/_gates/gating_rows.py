"""Biaxials from a table of bins: a row a sample, a column a biaxial, with the gates of each sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._gates.biaxial import LINE
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from cytocar.gate import GateTree, Strategy
    from cytocar.pl._gates.biaxial import Axis

_PANELS_PER_ROW = 8
_MARGIN = 3


def lay_out(
    plots: pd.DataFrame,
    thresholds: pd.DataFrame,
    ledger: pd.DataFrame,
    *,
    strategy: Strategy | str | None,
    samples: Sequence[str] | None,
    page: int,
    per_page: int,
    words: str,
    outlines: pd.DataFrame | None = None,
    over: Callable[[Axes, str, dict[str, Any]], None] | None = None,
    heads: Callable[[dict[str, Any], dict[str, float], float], str] | None = None,
) -> Figure:
    """Draw the biaxials of a page of samples; with `over`, in grey, and what that draws on top of each panel.

    Parameters
    ----------
    plots, thresholds, ledger, strategy, outlines, samples, page, per_page
        As in `gating`.
    words
        What stands above the page.
    over
        Called with the panel, the sample and the biaxial.
    heads
        Called with the biaxial, the counts of the sample and the width of a panel in mm; gives what stands above it.
    """
    inputs.require(
        plots,
        (keys.SAMPLE, "plot", "parent", "x_marker", "y_marker", "x", "y", "n"),
        "the table of gating plots",
    )
    if outlines is None or not len(outlines):
        inputs.require(thresholds, (keys.SAMPLE, "marker", "value"), "the table of thresholds")
    inputs.require(ledger, (keys.SAMPLE, "population", "parent", "events"), "the ledger")
    if outlines is not None:
        inputs.require(
            outlines, (keys.SAMPLE, "plot", "population", "line", "x", "y"), "the table of outlines"
        )
    known = list(dict.fromkeys(plots[keys.SAMPLE].astype(str)))
    wanted = known if samples is None else [str(sample) for sample in samples]
    unknown = [sample for sample in wanted if sample not in known]
    if unknown:
        raise ParameterError(
            f"{unknown[0]!r} is not a sample of the plots", fix=did_you_mean(unknown[0], known)
        )
    pages = rows_of(len(wanted), per_page)
    if not 1 <= page <= pages:
        raise ParameterError(f"page is {page}", fix=f"there are pages 1 to {pages}")
    drawn = wanted[(page - 1) * per_page : page * per_page]
    panels = _panels(plots)
    columns = min(len(panels), _PANELS_PER_ROW)
    lines = rows_of(len(panels), columns)
    tag, left, gap_x = 6.0, 13.0, 4.6
    side = min((style.WIDTH_MM - left - 4 - gap_x * (columns - 1)) / columns, 30.0)
    head, foot = 11.0, 6.5
    row_height = lines * (head + side + foot)
    top = 6.5
    sheet = Sheet(top + len(drawn) * row_height + 3)
    shown = (
        f"samples {wanted.index(drawn[0]) + 1} to {wanted.index(drawn[-1]) + 1} of {len(wanted)}, "
        if pages > 1
        else ""
    )
    sheet.text(left, 1.0, f"Gates: {shown}arcsinh units; {words}", size=style.SMALL, color=style.SOFT)
    leads_to = _next_populations(panels, ledger)
    most = plots.groupby(plots["plot"].astype(str))["n"].max().astype(float)
    tree = read_tree(strategy)
    for row, sample in enumerate(drawn):
        counts = _counts(ledger, sample)
        mine = plots[plots[keys.SAMPLE].astype(str) == sample]
        middle = top + row * row_height + (row_height - foot) / 2
        sheet.text(
            tag / 2,
            middle,
            fitted_text.label(sample, 20),
            rotation=90,
            va="center",
            ha="center",
            size=style.TITLE,
        )
        if outlines is not None and len(outlines):
            gates = _drawn_gates(panels, outlines[outlines[keys.SAMPLE].astype(str) == sample])
        else:
            gates = _gates_of(panels, thresholds[thresholds[keys.SAMPLE].astype(str) == sample], tree)
        for place, panel in enumerate(panels):
            line, column = divmod(place, columns)
            box = Box(
                left + column * (side + gap_x),
                top + row * row_height + line * (head + side + foot) + head,
                side,
                side,
            )
            axes = sheet.axes(box, label=f"{sample} {panel['plot']}")
            bins = mine[mine["plot"].astype(str) == panel["plot"]]
            _panel(axes, bins, panel, gates[panel["plot"]], float(most[panel["plot"]]), grey=over is not None)
            if over is not None:
                over(axes, sample, panel)
            if row == len(drawn) - 1 or lines > 1:
                axes.set_xticks(
                    axes.get_xticks(), [f"{tick:g}" for tick in axes.get_xticks()], size=style.SMALL
                )
            if column == 0:
                axes.set_yticks(
                    axes.get_yticks(), [f"{tick:g}" for tick in axes.get_yticks()], size=style.SMALL
                )
            above = (
                heads(panel, counts, side) if heads else _head(panel, leads_to[panel["plot"]], counts, side)
            )
            axes.set_title(above, size=style.SMALL, pad=2, linespacing=1.1)
    return sheet.figure


def read_tree(strategy: Strategy | str | None) -> GateTree | None:
    """Return a strategy from what `gating` takes; None for a text that is no strategy of thresholds."""
    from cytocar.gate._exchange.stored import read_stored

    applied = read_stored(strategy)
    return None if applied is None or applied.as_document() is not None else applied.as_thresholds()


def _drawn_gates(
    panels: Sequence[dict[str, Any]], outlines: pd.DataFrame
) -> dict[str, list[NDArray[np.float64]]]:
    """Return for each biaxial the lines of its gates in one sample, each once."""
    gates: dict[str, list[NDArray[np.float64]]] = {panel["plot"]: [] for panel in panels}
    for (plot, _, _), line in outlines.groupby(["plot", "population", "line"], sort=False):
        points = line[["x", "y"]].to_numpy(dtype=float)
        own = gates.get(str(plot), [])
        if not any(points.shape == other.shape and np.allclose(points, other) for other in own):
            own.append(points)
    return gates


def _gates_of(
    panels: Sequence[dict[str, Any]], found: pd.DataFrame, tree: GateTree | None
) -> dict[str, list[NDArray[np.float64]]]:
    """Return for each biaxial the lines of its gates in one sample."""
    from cytocar.panel.names import marker_key
    from cytocar.pl._gates.biaxial import Axis, Box
    from cytocar.pl._gates.tree_steps import box_of, populations_after

    everywhere = _thresholds_of(found)
    if tree is None or "name" not in found:
        return {
            panel["plot"]: [
                line
                for side in "xy"
                for value in everywhere.get(marker_key(panel[side]), [])
                for line in Box(**{f"{side}_low": value}).lines(*_axes_of(panel, Axis))
            ]
            for panel in panels
        }
    from cytocar.gate._populations.parts import Plot

    numbers = dict(zip(found["name"].astype(str), found["value"].astype(float), strict=True))
    named = {
        marker_key(tree.thresholds[name].marker): marker_key(marker)
        for name, marker in zip(found["name"].astype(str), found["marker"].astype(str), strict=True)
        if name in tree.thresholds
    }
    plots = [Plot(panel["parent"], panel["x"], panel["y"]) for panel in panels]
    gates = {}
    for panel, plot, names in zip(panels, plots, populations_after(tree, plots), strict=True):
        boxes = dict.fromkeys(box_of(tree, name, plot, numbers, named) for name in names)
        lines = [line for box in boxes if box is not None for line in box.lines(*_axes_of(panel, Axis))]
        gates[panel["plot"]] = list({line.tobytes(): line for line in lines}.values())
    return gates


def _axes_of(panel: dict[str, Any], axis: type[Axis]) -> tuple[Axis, Axis]:
    low, high = panel["low"], panel["low"] + panel["bins"] * panel["step"]
    return axis(panel["x"], low, high), axis(panel["y"], low, high)


def _panels(plots: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the biaxials in the order of the strategy, with the edges of their bins."""
    step = _bin_width(plots)
    # a margin below: cells without any counts would else lie on the axes
    low = float(min(plots["x"].min(), plots["y"].min())) - step / 2 - _MARGIN * step
    high = float(max(plots["x"].max(), plots["y"].max())) + step / 2
    n_bins = max(round((high - low) / step), 1)
    firsts = plots.drop_duplicates("plot")
    panels: list[dict[str, Any]] = [
        {
            "plot": str(row["plot"]), "parent": str(row["parent"]), "x": str(row["x_marker"]),
            "y": str(row["y_marker"]), "low": low, "step": step, "bins": n_bins,
        }
        for row in firsts.to_dict("records")
    ]  # fmt: skip
    if all(panel["plot"].isdigit() for panel in panels):
        panels.sort(key=lambda panel: int(panel["plot"]))
    return panels


def _bin_width(plots: pd.DataFrame) -> float:
    gaps = np.concatenate([np.diff(np.unique(plots[axis].to_numpy(dtype=float))) for axis in ("x", "y")])
    gaps = gaps[gaps > 1e-6]
    return float(gaps.min()) if gaps.size else 1.0


def _counts(ledger: pd.DataFrame, sample: str) -> dict[str, float]:
    mine = ledger[ledger[keys.SAMPLE].astype(str) == sample]
    return dict(zip(mine["population"].astype(str), mine["events"].astype(float), strict=True))


def _thresholds_of(mine: pd.DataFrame) -> dict[str, list[float]]:
    from cytocar.panel.names import marker_key

    found: dict[str, list[float]] = {}
    for marker, value in zip(mine["marker"].astype(str), mine["value"].astype(float), strict=True):
        if np.isfinite(value):
            found.setdefault(marker_key(marker), []).append(value)
    return found


def _next_populations(panels: Sequence[dict[str, Any]], ledger: pd.DataFrame) -> dict[str, list[str]]:
    """Return for every biaxial which populations its cells go on to.

    A later biaxial's parent, if it lies below this one's parent with no other such parent between; where there is none,
    the child populations.
    """
    rows = ledger.drop_duplicates("population")
    parent_of = dict(zip(rows["population"].astype(str), rows["parent"].astype(str), strict=True))
    parents = {panel["parent"] for panel in panels}
    leads_to = {}
    for panel in panels:
        below = []
        for name in parents:
            above = parent_of.get(name)
            while above is not None and above not in parents:
                above = parent_of.get(above)
            if above == panel["parent"]:
                below.append(name)
        if not below:
            below = [name for name, parent in parent_of.items() if parent == panel["parent"]]
        ranks = {name: rank for rank, name in enumerate(parent_of)}
        leads_to[panel["plot"]] = sorted(below, key=lambda name: ranks.get(name, 0))[:4]
    return leads_to


def _panel(
    axes: Axes,
    bins: pd.DataFrame,
    panel: dict[str, Any],
    gates: Sequence[NDArray[np.float64]],
    most: float,
    *,
    grey: bool,
) -> None:
    from matplotlib.colors import LogNorm

    low, step, n_bins = panel["low"], panel["step"], panel["bins"]
    image = np.full((n_bins, n_bins), np.nan)
    column, row = (
        np.clip(((bins[axis].to_numpy(dtype=float) - low) / step).astype(int), 0, n_bins - 1)
        for axis in ("x", "y")
    )
    image[row, column] = bins["n"].to_numpy(dtype=float)
    high = low + n_bins * step
    axes.imshow(
        np.ma.masked_invalid(image), origin="lower", extent=(low, high, low, high), aspect="auto",
        norm=LogNorm(0.2 if grey else 1, max(most, 2) * (4 if grey else 1)),
        cmap=style.BACKGROUND_MAP if grey else style.DENSITY_MAP, interpolation="nearest",
    )  # fmt: skip
    axes.set(xlim=(low, high), ylim=(low, high))
    for path in gates:
        axes.plot(path[:, 0], path[:, 1], color=style.INK if grey else LINE, linewidth=0.8, label="gate")
    ticks = [tick for tick in (0, 2, 4, 6, 8) if low <= tick <= high]
    axes.set_xticks(ticks, [])
    axes.set_yticks(ticks, [])
    axes.set_xlabel(fitted_text.label(panel["x"], 12), size=style.SMALL, labelpad=1)
    axes.set_ylabel(fitted_text.label(panel["y"], 12), size=style.SMALL, labelpad=1)


def _head(panel: dict[str, Any], populations: Sequence[str], counts: dict[str, float], side: float) -> str:
    """Return what stands above a panel: the cells drawn, their number, and the share of each population."""
    whole = counts.get(panel["parent"], 0.0)
    few = len(populations) <= 2
    shares = []
    for name in populations:
        short = name.removeprefix(panel["parent"]).strip() or name
        part = 100 * counts.get(name, 0.0) / whole if whole else float("nan")
        share = f"{fitted_text.percent(part)} %" if few else fitted_text.tenth(part)
        room = (
            side / (1 if few else 2) - fitted_text.width_mm(f" {share}", style.SMALL) + (3.0 if few else 2.0)
        )
        shares.append(f"{fitted_text.fit(short, room, style.SMALL)} {share}")
    if not few:
        shares = [" ".join(shares[:2]), " ".join(shares[2:]) + " %"]
    return "\n".join(
        [fitted_text.fit(panel["parent"], side, style.SMALL), f"n = {fitted_text.count(whole)}", *shares]
    )
