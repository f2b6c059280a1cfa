"""The gating strategy as it worked: one row per sample, one column per biaxial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar.pl._gates.gating_rows import draw_rows
from cytocar.pl._gates.run_page import RunTables, arrange
from cytocar.pl._page import style
from cytocar.pl._page.sheet import rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from cytocar.gate import Strategy

SAMPLES_PER_PAGE = 6
"""Samples that stand below each other on one page."""


def gating_pages(plots: pd.DataFrame, *, per_page: int = SAMPLES_PER_PAGE) -> int:
    """Return how many pages `gating` needs for all samples.

    Parameters
    ----------
    plots
        As for `gating`.
    per_page
        Samples per page, at least 1.

    Returns
    -------
    The number of pages.

    Examples
    --------
    >>> import pandas
    >>> gating_pages(pandas.DataFrame({"sample_id": list("abcdefgh")}))
    2
    """
    return rows_of(len(set(plots[keys.SAMPLE].astype(str))), per_page)


@style.styled
def gating(
    plots: pd.DataFrame,
    thresholds: pd.DataFrame,
    ledger: pd.DataFrame,
    *,
    strategy: Strategy | str | None = None,
    outlines: pd.DataFrame | None = None,
    samples: Sequence[str] | None = None,
    page: int = 1,
    per_page: int = SAMPLES_PER_PAGE,
) -> Figure:
    """Draw every biaxial of the strategy for every sample: density, gates, and the share that goes on.

    Colour is the logarithm of the number of cells in a bin, up to the fullest bin of this biaxial in any sample.
    Above a panel stand the cells drawn, their number, and which part of them (in per cent) goes into the population
    that a later panel starts from, or into each child population.

    Parameters
    ----------
    plots
        `sample_id`, `plot`, `parent`, `x_marker`, `y_marker`, `x`, `y` (middles of the bins, arcsinh units), `n`,
        as `cytocar.gate.biaxials` returns them.
    thresholds
        `sample_id`, `marker`, `value`, as `cytocar.gate.thresholds` returns them.
    ledger
        `sample_id`, `population`, `parent`, `events`, as `cytocar.gate.table` returns them.
    strategy
        The strategy that was applied, or its YAML text: the thresholds then end where the gates of a biaxial do. None
        draws every threshold of its two markers across the whole panel.
    outlines
        Gates of a document: `sample_id`, `plot`, `population`, `line`, `x`, `y`, as `cytocar.gate.outlines` returns
        them; they are drawn in place of thresholds.
    samples
        Which samples; default all.
    page, per_page
        Samples beyond `per_page` go on further pages, counted from 1; see `gating_pages`.

    Returns
    -------
    Figure; an Axes is labelled ``<sample> <number of the plot>``.

    Raises
    ------
    ParameterError
        A column is missing, a sample is unknown, or there is no such page.

    Examples
    --------
    >>> import pandas
    >>> bins = pandas.DataFrame({"sample_id": "a", "plot": 1, "parent": "cells", "x_marker": "CD3",
    ...                          "y_marker": "CD19", "x": [0.5, 4.5], "y": [3.5, 0.5], "n": [10, 90]})
    >>> found = pandas.DataFrame({"sample_id": ["a"], "marker": ["CD3"], "value": [2.0]})
    >>> counts = pandas.DataFrame({"sample_id": "a", "population": ["cells", "T cells"], "parent": ["", "cells"],
    ...                            "events": [100, 90]})
    >>> gating(bins, found, counts).axes[0].get_title("left").splitlines()
    ['cells', 'n = 100', 'T cells 90 %']
    """
    tables = RunTables(plots, thresholds, ledger, strategy, outlines)
    return draw_rows(
        arrange(tables, samples, page, per_page),
        "colour: cells per bin, logarithmic; above: the cells drawn, and what % goes on",
    )
