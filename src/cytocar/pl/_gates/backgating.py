"""Where the cells at the end of the strategy lie in every step before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar._core.errors import ParameterError
from cytocar.pl._gates import biaxial
from cytocar.pl._gates.gating import SAMPLES_PER_PAGE
from cytocar.pl._gates.gating_rows import draw_rows
from cytocar.pl._gates.run_page import Biaxial, RunTables, SampleRow, arrange
from cytocar.pl._gates.strategy import PIXELS, one_sample, page_of, steps_of
from cytocar.pl._page import fitted_text, inputs, style

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from cytocar.gate import Strategy

_POINT, _GATE = palette.VERMILION, style.INK


@style.styled
def backgating(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    *,
    population: str | None = None,
    sample: str | None = None,
    plots: pd.DataFrame | None = None,
    thresholds: pd.DataFrame | None = None,
    ledger: pd.DataFrame | None = None,
    strategy: Strategy | str | None = None,
    outlines: pd.DataFrame | None = None,
    samples: Sequence[str] | None = None,
    page: int = 1,
    per_page: int = SAMPLES_PER_PAGE,
) -> Figure:
    """Draw the cells of one population, by default the CAR-T cells, over the grey density of every earlier step.

    Cells that were gated wrongly show here: true ones lie together in every step, within the gates and not at their
    edges. Up to 3,000 cells are drawn one by one; of more, the lines that hold half, 80 % and 95 % of them, and those
    beyond as points.

    Parameters
    ----------
    adata
        Gated by `cytocar.gate.apply`; or, with `plots`, the cells of a run (``cells.h5ad``), whose `compartment` says
        which are CAR-T cells.
    population
        Name of a population of the strategy; for the cells of a run always the CAR-T cells.
    sample
        Which sample of `adata`; it has to be named where there are several.
    plots, thresholds, ledger, strategy, outlines, samples, page, per_page
        For a run: as `cytocar.pl.gating` takes them. One row per sample.

    Returns
    -------
    Figure; an Axes is labelled ``<number of the step> <population drawn in grey>``; with `plots`
    ``<sample> <number of the plot>``.

    Raises
    ------
    GateError
        The data are not gated, or there is no such population.
    ParameterError
        A sample is unknown, or a table that belongs to `plots` is missing.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> [axes.get_label() for axes in cc.pl.backgating(adata).axes][:2]
    ['1 cells', '2 CD45+']
    """
    if plots is not None:
        if thresholds is None or ledger is None:
            raise ParameterError(
                "plots come with the tables thresholds and ledger of the same run", fix="pass all three"
            )
        return _of_run(
            adata, RunTables(plots, thresholds, ledger, strategy, outlines), samples, page, per_page
        )
    from cytocar.gate._results.ledger import gating, strategy_of

    name = one_sample(sample, list(gating(adata)["samples"]))
    if population is None:
        tree = strategy_of(adata)
        population = tree.compartments.get(keys.CAR) or tree.expanded()[-1].name
    steps = [
        step
        for step in steps_of(adata, name, bins=PIXELS, of=population)[0]
        if _ends_in(adata, step.parent, population)
    ]
    if not steps:
        raise ParameterError(
            f"no step of the strategy comes before {population!r}, so there is nothing to draw"
        )
    n = fitted_text.count(max(len(step.x_values) for step in steps if step.x_values is not None))

    def draw(axes: Axes, step: biaxial.Step) -> None:
        biaxial.draw(axes, step, grey=True, line=_GATE)
        if step.x_values is not None and step.y_values is not None:
            biaxial.draw_cells(axes, step.x_values, step.y_values, _POINT, _size(len(step.x_values)))

    note = f"{fitted_text.label(population, 24)} ({n} cells) over the density of all cells of the panel"
    return page_of(steps, name, note, draw, colour=_POINT)


def _ends_in(adata: AnnData, parent: str, population: str) -> bool:
    """Return whether a population is the other or lies below it."""
    from cytocar.gate import strategy_of

    above = {each.name: each.parent for each in strategy_of(adata).expanded()}
    name = population
    while name != parent and name in above:
        name = above[name]
    return name == parent and parent != population


def _of_run(
    cells: AnnData, tables: RunTables, samples: Sequence[str] | None, page: int, per_page: int
) -> Figure:
    inputs.require(tables.plots, (keys.SAMPLE, "parent", "x_marker", "y_marker"), "the table of gating plots")
    last = car_population(tables)
    parents = inputs.texts(tables.plots, "parent")
    # the table has a row for each pixel
    above = {parent for parent in parents.unique() if _before(parent, last, tables.ledger)}
    plots = tables.plots[parents.isin(above)]
    if not len(plots):
        raise ParameterError(f"no plot comes before {last!r}, so there is nothing to draw")
    shown = arrange(replace(tables, plots=plots), samples, page, per_page)
    points = CarCells(cells)

    def over(axes: Axes, sample: str, panel: Biaxial) -> None:
        x, y = points.at(sample, panel.x), points.at(sample, panel.y)
        if x is not None and y is not None:
            biaxial.draw_cells(axes, x, y, _POINT, _size(len(x)))

    def heading(panel: Biaxial, row: SampleRow, side: float) -> str:
        whole = fitted_text.fit(panel.parent, side, style.SMALL)
        parent, of_interest = (fitted_text.count(row.counts.get(name, 0.0)) for name in (panel.parent, last))
        return f"{whole}\nn = {parent}\nin colour {of_interest}"

    note = f"in colour: {fitted_text.label(last, 24)}; grey: all cells of the panel"
    return draw_rows(shown, note, over=over, heading=heading)


class CarCells:
    """Values of the CAR-T cells of a run, by sample and marker; each marker is read once."""

    def __init__(self, cells: AnnData) -> None:
        self._cells = cells
        self._rows = inputs.of_interest(cells)
        self._samples = inputs.column(cells, keys.SAMPLE)
        self._names = set(map(str, cells.var_names))
        self._values: dict[str, NDArray[np.float32]] = {}

    def at(self, sample: str, marker: str) -> NDArray[np.float32] | None:
        """Return the values of the cells of a sample; None for a marker that the cells do not have."""
        if marker not in self._names:
            return None
        if marker not in self._values:
            self._values[marker] = np.asarray(inputs.expression(self._cells, [marker]))[:, 0]
        return np.asarray(self._values[marker][self._rows & (self._samples == sample)])


def car_population(tables: RunTables) -> str:
    """Return the population of the ledger that holds the CAR-T cells.

    It is that of the strategy; where that is not known, the one with the usual name, else the last one.
    """
    from cytocar.gate._exchange.stored import read_stored

    names = inputs.distinct(tables.ledger, "population")
    applied = read_stored(tables.strategy)
    stated = None if applied is None else applied.compartments.get(keys.CAR)
    if stated in names:
        return str(stated)
    return "CAR-T" if "CAR-T" in names else names[-1]


def _before(parent: str, population: str, ledger: pd.DataFrame) -> bool:
    rows = ledger.drop_duplicates("population")
    above: dict[str, str] = dict(
        zip(inputs.texts(rows, "population"), inputs.texts(rows, "parent"), strict=True)
    )
    name = above.get(population, "")
    while name and name != parent and name in above:
        name = above[name]
    return name == parent


def _size(n: int) -> float:
    """Return the area of a point in square points."""
    return float(np.clip(400 / max(n, 1), 0.7, 4.0))
