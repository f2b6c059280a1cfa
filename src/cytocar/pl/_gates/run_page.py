"""What a page of biaxials shows, arranged from the tables of a run: samples, biaxials, and the gates of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar.panel.names import marker_key
from cytocar.pl._gates.biaxial import Axis, Box
from cytocar.pl._page import inputs

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from cytocar.gate import Strategy, ThresholdStrategy

    Lines = list[NDArray[np.float64]]

_MARGIN = 3
_PLOTS = (keys.SAMPLE, "plot", "parent", "x_marker", "y_marker", "x", "y", "n")


@dataclass(frozen=True)
class RunTables:
    """Tables of a run, as `cytocar.pl.gating` takes them."""

    plots: pd.DataFrame
    thresholds: pd.DataFrame
    ledger: pd.DataFrame
    strategy: Strategy | str | None = None
    outlines: pd.DataFrame | None = None

    @property
    def shapes(self) -> pd.DataFrame | None:
        """The outlines, where the gates are shapes."""
        return self.outlines if self.outlines is not None and len(self.outlines) else None

    def check(self) -> None:
        """Raise `ParameterError` unless all tables have the columns that are drawn."""
        inputs.require(self.plots, _PLOTS, "the table of gating plots")
        if self.shapes is None:
            inputs.require(self.thresholds, (keys.SAMPLE, "marker", "value"), "the table of thresholds")
        inputs.require(self.ledger, (keys.SAMPLE, "population", "parent", "events"), "the ledger")
        if self.outlines is not None:
            columns = (keys.SAMPLE, "plot", "population", "line", "x", "y")
            inputs.require(self.outlines, columns, "the table of outlines")


@dataclass(frozen=True)
class Biaxial:
    """A biaxial and its bins, the same for all samples."""

    plot: str
    parent: str
    x: str
    y: str
    """Markers."""
    low: float
    step: float
    bins: int
    """Lower end of both axes, width and number of the bins along each."""
    goes_on: tuple[str, ...]
    """Populations that its cells go on to."""
    most: float
    """Cells in its fullest bin, in any sample."""

    @property
    def high(self) -> float:
        """Upper end of both axes."""
        return self.low + self.bins * self.step

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Both axes."""
        return Axis(self.x, self.low, self.high), Axis(self.y, self.low, self.high)

    def image(self, bins: pd.DataFrame) -> NDArray[np.float64]:
        """Return the cells of each bin, rows (y, upwards) x columns (x), NaN where there are none."""
        image = np.full((self.bins, self.bins), np.nan)
        column, row = (
            np.clip(((bins[axis].to_numpy(dtype=float) - self.low) / self.step).astype(int), 0, self.bins - 1)
            for axis in ("x", "y")
        )
        image[row, column] = bins["n"].to_numpy(dtype=float)
        return image


@dataclass(frozen=True)
class SampleRow:
    """One sample on the page."""

    sample: str
    counts: Mapping[str, float]
    """Cells of every population."""
    bins: Mapping[str, pd.DataFrame]
    """Rows of the table of plots, by biaxial."""
    gates: Mapping[str, Lines]
    """Lines of the gates, by biaxial."""


@dataclass(frozen=True)
class RunPage:
    """A page: biaxials from left to right, samples from above."""

    page: inputs.Page
    biaxials: list[Biaxial]
    rows: list[SampleRow]


def arrange(tables: RunTables, samples: Sequence[str] | None, page: int, per_page: int) -> RunPage:
    """Arrange a page of samples."""
    tables.check()
    shown = inputs.page_of(tables.plots, samples, page, per_page)
    biaxials = biaxials_of(tables.plots, tables.ledger)
    tree = read_tree(tables.strategy)
    rows = []
    for sample in shown.samples:
        own, ledger = (
            table[inputs.texts(table, keys.SAMPLE) == sample] for table in (tables.plots, tables.ledger)
        )
        counts = dict(zip(inputs.texts(ledger, "population"), ledger["events"].astype(float), strict=True))
        bins = {each.plot: own[inputs.texts(own, "plot") == each.plot] for each in biaxials}
        rows.append(SampleRow(sample, counts, bins, _gates(biaxials, tables, sample, tree)))
    return RunPage(shown, biaxials, rows)


def read_tree(strategy: Strategy | str | None) -> ThresholdStrategy | None:
    """Return a strategy from what `gating` takes; None for a text that is not a strategy of thresholds."""
    from cytocar.gate._exchange.stored import read_stored

    applied = read_stored(strategy)
    return None if applied is None or applied.as_document() is not None else applied.as_thresholds()


def biaxials_of(plots: pd.DataFrame, ledger: pd.DataFrame) -> list[Biaxial]:
    """Return the biaxials in the order of the strategy, with the edges of their bins."""
    step = _bin_width(plots)
    # a margin below: cells without any counts would else lie on the axes
    low = float(min(plots["x"].min(), plots["y"].min())) - step / 2 - _MARGIN * step
    high = float(max(plots["x"].max(), plots["y"].max())) + step / 2
    n_bins = max(round((high - low) / step), 1)
    most = plots.groupby(inputs.texts(plots, "plot"))["n"].max().astype(float)
    firsts = plots.drop_duplicates("plot")
    parents = list(dict.fromkeys(inputs.texts(firsts, "parent")))
    goes_on = next_populations(parents, ledger)
    biaxials = [
        Biaxial(
            str(row["plot"]),
            str(row["parent"]),
            str(row["x_marker"]),
            str(row["y_marker"]),
            low,
            step,
            n_bins,
            goes_on[str(row["parent"])],
            float(most[str(row["plot"])]),
        )
        for row in firsts.to_dict("records")
    ]
    if all(biaxial.plot.isdigit() for biaxial in biaxials):
        biaxials.sort(key=lambda biaxial: int(biaxial.plot))
    return biaxials


def _bin_width(plots: pd.DataFrame) -> float:
    gaps = np.concatenate([np.diff(np.unique(plots[axis].to_numpy(dtype=float))) for axis in ("x", "y")])
    gaps = gaps[gaps > 1e-6]
    return float(gaps.min()) if gaps.size else 1.0


def next_populations(parents: Sequence[str], ledger: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return which populations the cells of each drawn population go on to, four at most.

    Those of `parents` that lie below it with no other of them between; where there is none, its children.

    Examples
    --------
    >>> import pandas
    >>> ledger = pandas.DataFrame({"population": ["cells", "live", "T", "CD4"], "parent": ["", "cells", "live", "T"]})
    >>> next_populations(["cells", "T"], ledger)
    {'cells': ('T',), 'T': ('CD4',)}
    """
    rows = ledger.drop_duplicates("population")
    parent_of = dict(zip(inputs.texts(rows, "population"), inputs.texts(rows, "parent"), strict=True))
    rank = {name: position for position, name in enumerate(parent_of)}

    def nearest(name: str) -> str | None:
        above = parent_of.get(name)
        while above is not None and above not in parents:
            above = parent_of.get(above)
        return above

    goes_on = {}
    for parent in parents:
        below = [name for name in parents if nearest(name) == parent]
        below = below or [name for name, above in parent_of.items() if above == parent]
        goes_on[parent] = tuple(sorted(below, key=lambda name: rank.get(name, 0))[:4])
    return goes_on


def _gates(
    biaxials: Sequence[Biaxial], tables: RunTables, sample: str, tree: ThresholdStrategy | None
) -> dict[str, Lines]:
    """Return for each biaxial the lines of its gates in one sample."""
    if tables.shapes is not None:
        return _outlined(biaxials, tables.shapes[inputs.texts(tables.shapes, keys.SAMPLE) == sample])
    thresholds = tables.thresholds[inputs.texts(tables.thresholds, keys.SAMPLE) == sample]
    if tree is None or "name" not in thresholds:
        return _across(biaxials, thresholds)
    return _boxes(biaxials, thresholds, tree)


def _outlined(biaxials: Sequence[Biaxial], outlines: pd.DataFrame) -> dict[str, Lines]:
    """Return outlines, each once."""
    gates: dict[str, Lines] = {biaxial.plot: [] for biaxial in biaxials}
    for (plot, _, _), line in outlines.groupby(["plot", "population", "line"], sort=False):
        points = line[["x", "y"]].to_numpy(dtype=float)
        own = gates.get(str(plot), [])
        if not any(points.shape == other.shape and np.allclose(points, other) for other in own):
            own.append(points)
    return gates


def _across(biaxials: Sequence[Biaxial], thresholds: pd.DataFrame) -> dict[str, Lines]:
    """Return every threshold of the two markers of a biaxial as a line across it."""
    of_marker: dict[str, list[float]] = {}
    for marker, value in zip(
        inputs.texts(thresholds, "marker"), thresholds["value"].astype(float), strict=True
    ):
        if np.isfinite(value):
            of_marker.setdefault(marker_key(marker), []).append(value)
    return {
        biaxial.plot: [
            line
            for side, marker in (("x", biaxial.x), ("y", biaxial.y))
            for value in of_marker.get(marker_key(marker), [])
            for line in Box(**{f"{side}_low": value}).lines(*biaxial.axes)
        ]
        for biaxial in biaxials
    }


def _boxes(
    biaxials: Sequence[Biaxial], thresholds: pd.DataFrame, tree: ThresholdStrategy
) -> dict[str, Lines]:
    """Return the sides of the gates of a strategy of thresholds, each once."""
    from cytocar.gate._populations.parts import Plot
    from cytocar.pl._gates.tree_steps import box_of, populations_after

    names, markers = (inputs.texts(thresholds, column) for column in ("name", "marker"))
    numbers = dict(zip(names, thresholds["value"].astype(float), strict=True))
    named = {
        marker_key(tree.thresholds[name].marker): marker_key(marker)
        for name, marker in zip(names, markers, strict=True)
        if name in tree.thresholds
    }
    plots = [Plot(biaxial.parent, biaxial.x, biaxial.y) for biaxial in biaxials]
    gates = {}
    for biaxial, plot, after in zip(biaxials, plots, populations_after(tree, plots), strict=True):
        boxes = dict.fromkeys(box_of(tree, name, plot, numbers, named) for name in after)
        lines = [line for box in boxes if box is not None for line in box.lines(*biaxial.axes)]
        gates[biaxial.plot] = list({line.tobytes(): line for line in lines}.values())
    return gates
