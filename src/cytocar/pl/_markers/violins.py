"""Distributions of markers: violins by timepoint and subset, and CAR-T cells beside host T cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar.pl._markers.violin_panels import DENSE, NOTE, Panel, Violin, lay_out
from cytocar.pl._page import fitted_text, inputs, style

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MARKERS = ("Ki67", "HLA-DR", "CCR7", "GZMB", "PD-1")
"""Markers of CAR-T subsets over time, as published for LEGEND-2 (Xu 2024, doi 10.1186/s13045-024-01530-z)."""

SUPPLEMENT = ("CD27", "CD28", "CD107a", "CD38", "TIM-3")
"""The further markers of its supplement."""

BESIDE_HOST = ("Ki67", "GZMB", "CD107a", "PD-1", "CD57")
"""Markers shown for CAR-T cells beside host T cells."""


def _violins(
    adata: AnnData,
    markers: Sequence[str],
    groupby: str,
    split: str | None,
    rows: NDArray[np.bool_],
    shown: Sequence[str] | None = None,
) -> Figure:
    values = inputs.expression(adata, markers)
    names = inputs.names_of(adata, markers)
    groups = inputs.column(adata, groupby)
    places = inputs.levels(adata, groupby, within=rows)
    if not places:
        raise ParameterError(f"no cell drawn has a value in obs[{groupby!r}], so there is nothing to compare")
    parts: list[tuple[str, NDArray[np.bool_]]] = [("", rows)]
    if split is not None:
        column = inputs.column(adata, split)
        names_of_parts = inputs.levels(adata, split, within=rows) if shown is None else shown
        parts = [(name, rows & (column == name)) for name in names_of_parts]
    if not parts:
        raise ParameterError(f"no cell drawn has a value in obs[{split!r}], so there is nothing to split by")
    if split is not None and len(parts) > 1:
        colours = style.colours_of(split, [name for name, _ in parts])
    else:
        by_place = style.colours_of(groupby, places)
        colours = {}
    masks = {(part, place): mask & (groups == place) for part, mask in parts for place in places}
    panels = [
        Panel(
            part,
            marker,
            tuple(
                Violin(i, values[masks[part, place], m], colours[part] if colours else by_place[place])
                for i, place in enumerate(places)
            ),
            tuple(places),
        )
        for m, marker in enumerate(names)
        for part, _ in parts
    ]
    label = "" if groupby == keys.TIMEPOINT else groupby
    if 1 < len(parts) <= 6 and len(places) <= DENSE:
        titles = [
            f"{fitted_text.label(name, 16)}  n = {fitted_text.count(mask.sum())}" for name, mask in parts
        ]
        return lay_out(
            panels, columns=len(parts), value_label=inputs.value_label(adata, names), note=NOTE,
            column_titles=titles, group_label=label,
        )  # fmt: skip
    if len(parts) > 1:
        panels = [
            Panel(
                f"{fitted_text.label(p.marker, 12)}, {fitted_text.label(p.title, 12)}",
                p.marker,
                p.violins,
                p.names,
            )
            for p in panels
        ]
    else:
        panels = [Panel("", p.marker, p.violins, p.names) for p in panels]
    wide = len(places) > DENSE
    columns = min(2 if wide else 3, len(panels))
    return lay_out(
        panels, columns=columns, value_label=inputs.value_label(adata, names), note=NOTE, group_label=label
    )


@style.styled
def violin(
    adata: AnnData,
    markers: str | Sequence[str],
    *,
    groupby: str = keys.TIMEPOINT,
    split: str | None = keys.SUBSET,
) -> Figure:
    """Draw the distribution of markers by group: a row of panels a marker, a column a value of `split`.

    A violin is a kernel density (`cytocar.pl._page.density.density`), scaled to the same greatest width; the dot is
    the median, the bar the quartiles. Fewer than 20 cells are drawn one by one, fewer than 3 only counted. How
    many cells there are stands above each violin.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values. All its cells are drawn.
    markers
        A marker or several, in any spelling.
    groupby
        Column of obs: one violin a value.
    split
        Column of obs: one column of panels a value; None, or a column that is not there by default, draws one.

    Returns
    -------
    Figure; an Axes is labelled ``<marker> <value of split>``.

    Raises
    ------
    ParameterError
        A marker or column is unknown, or no cell has a value in it.
    StateError
        X holds counts.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.eye(4, 2, dtype="float32"), var=pandas.DataFrame(index=["CD4", "PD-1"]),
    ...                         obs=pandas.DataFrame({"timepoint": ["2mo", "2mo", "5yr", "5yr"]}, index=list("abcd")))
    >>> [axes.get_label() for axes in violin(cells, ["pd1"], groupby="timepoint").axes]
    ['PD-1']
    """
    asked = [markers] if isinstance(markers, str) else list(markers)
    if not asked:
        raise ParameterError("the list of markers is empty", fix="name at least one")
    if split == keys.SUBSET and (split not in adata.obs or not inputs.levels(adata, split)):
        split = None
    return _violins(adata, asked, groupby, split, np.ones(adata.n_obs, dtype=bool))


_RARE = 0.05


def _usual_subsets(adata: AnnData, rows: NDArray[np.bool_]) -> list[str]:
    """Return the subsets drawn: CD4, CD8 and DN where they occur, and others that are not just stray cells."""
    found = inputs.column(adata, keys.SUBSET)[rows]
    known = int(np.isin(found, keys.SUBSETS).sum())
    return [
        name
        for name in inputs.levels(adata, keys.SUBSET, within=rows)
        if name in ("CD4", "CD8", "DN") or (name in keys.SUBSETS and (found == name).sum() >= _RARE * known)
    ]


def _published(adata: AnnData, markers: Sequence[str] | None, published: Sequence[str]) -> list[str]:
    """Return the markers asked for; by default those published that the panel has, else the first five."""
    if markers is not None:
        if len(markers) == 0:
            raise ParameterError("the list of markers is empty", fix="name at least one, or pass None")
        return inputs.names_of(adata, markers)
    return inputs.known_markers(adata, published) or inputs.clustering_markers(adata)[: len(published)]


@style.styled
def violins_subsets(adata: AnnData, *, markers: Sequence[str] | None = None) -> Figure:
    """Draw markers of CAR-T cells by timepoint, one column of panels a subset.

    DP cells are drawn where they are 5 % or more of the CAR-T cells; fewer are mostly doublets and stray cells.

    Parameters
    ----------
    adata
        Cells with `timepoint` and `subset`; where there are compartments, only CAR-T cells are drawn.
    markers
        Which markers; default Ki67, HLA-DR, CCR7, GZMB and PD-1, as far as the panel has them.

    Returns
    -------
    Figure; an Axes is labelled ``<marker> <subset>``.

    Raises
    ------
    ParameterError
        A marker is unknown, or the cells have no timepoint.
    StateError
        X holds counts.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(
    ...     numpy.eye(4, 1, dtype="float32"), var=pandas.DataFrame(index=["Ki67"]), obs=pandas.DataFrame(
    ...         {"timepoint": ["2mo"] * 4, "subset": ["CD8", "DN", "CD8", "DN"]}, index=list("abcd")))
    >>> [axes.get_label() for axes in violins_subsets(cells).axes]
    ['Ki67 CD8', 'Ki67 DN']
    """
    chosen = _published(adata, markers, MARKERS)
    rows = inputs.of_interest(adata)
    shown = _usual_subsets(adata, rows) if keys.SUBSET in adata.obs else []
    return _violins(adata, chosen, keys.TIMEPOINT, keys.SUBSET if shown else None, rows, shown or None)


@style.styled
def violins_supplement(adata: AnnData) -> Figure:
    """Draw CD27, CD28, CD107a, CD38 and TIM-3, the markers of the supplement; see `violins_subsets`."""
    return violins_subsets(adata, markers=_published(adata, None, SUPPLEMENT))


@style.styled
def violins_car_vs_host(adata: AnnData, *, markers: Sequence[str] | None = None) -> Figure:
    """Draw markers of CAR-T cells (left halves) beside host T cells of the same sample (right halves).

    CAR-T and host T cells differ in their mix of subsets, so each subset is compared on its own too: a
    difference in ``all`` may be one of mix alone. DP cells have their own panels where they are 5 % or more of
    the CAR-T cells.

    Parameters
    ----------
    adata
        Cells with `compartment`, `timepoint` and `subset`.
    markers
        Which markers; default Ki67, GZMB, CD107a, PD-1 and CD57, as far as the panel has them.

    Returns
    -------
    Figure; an Axes is labelled ``<marker> <subset>``, or ``<marker> all``.

    Raises
    ------
    ParameterError
        A marker is unknown, or there are no CAR-T cells or no host T cells.
    StateError
        X holds counts.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(
    ...     numpy.eye(4, 1, dtype="float32"), var=pandas.DataFrame(index=["Ki67"]), obs=pandas.DataFrame(
    ...         {"timepoint": ["2mo"] * 4, "compartment": ["car", "car", "host", "host"]}, index=list("abcd")))
    >>> [axes.get_label() for axes in violins_car_vs_host(cells).axes]
    ['Ki67 all']
    """
    compartment = inputs.column(adata, keys.COMPARTMENT)
    sides = {keys.CAR: -1, keys.HOST: 1}
    missing = [name for name in sides if not (compartment == name).any()]
    if missing:
        raise ParameterError(
            f"no cell has compartment {' or '.join(map(repr, missing))}",
            fix="this figure needs both 'car' and 'host'",
        )
    chosen = _published(adata, markers, BESIDE_HOST)
    values = inputs.expression(adata, chosen)
    when = inputs.column(adata, keys.TIMEPOINT)
    cars = compartment == keys.CAR
    times = inputs.levels(adata, keys.TIMEPOINT, within=cars | (compartment == keys.HOST))
    if not times:
        raise ParameterError("no cell has a value in obs['timepoint'], so there is nothing to compare")
    everything = np.ones(adata.n_obs, dtype=bool)
    parts = [(keys.ALL, everything)]
    if keys.SUBSET in adata.obs:
        subset = inputs.column(adata, keys.SUBSET)
        parts = [(name, subset == name) for name in _usual_subsets(adata, cars)] + parts
    masks = {
        (part, time, name): mask & (when == time) & (compartment == name)
        for part, mask in parts
        for time in times
        for name in sides
    }
    panels = [
        Panel(
            part,
            marker,
            tuple(
                Violin(i, values[masks[part, time, name], m], style.subset_colour(name), side)
                for i, time in enumerate(times)
                for name, side in sides.items()
            ),
            tuple(times),
        )
        for m, marker in enumerate(chosen)
        for part, _ in parts
    ]
    legend = {name: style.subset_colour(name) for name in sides}
    note = NOTE.replace("number: cells", "numbers: CAR-T over host T cells")
    if len(times) > DENSE:
        panels = [
            Panel(f"{fitted_text.label(p.marker, 12)}, {p.title}", p.marker, p.violins, p.names)
            for p in panels
        ]
        return lay_out(
            panels, columns=2, value_label=inputs.value_label(adata, chosen), legend=legend, note=note
        )
    titles = ["all (mixes differ)" if part == keys.ALL else fitted_text.label(part) for part, _ in parts]
    return lay_out(
        panels, columns=len(parts), value_label=inputs.value_label(adata, chosen), legend=legend, note=note,
        column_titles=titles,
    )  # fmt: skip
