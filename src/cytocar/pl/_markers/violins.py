"""Distributions of markers: violins by timepoint and subset, and CAR-T cells beside host T cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, palette
from cytocar._core.errors import ParameterError
from cytocar._core.population_words import words
from cytocar.pl._markers.violin_panels import DENSE, NOTE, Looks, Panel, Violin, lay_out
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


Parts = dict[str, "NDArray[np.bool_]"]
"""Which cells belong to each part, by its name."""


def _parts(adata: AnnData, split: str | None, rows: NDArray[np.bool_], shown: Sequence[str] | None) -> Parts:
    """Return the parts that cells are split into; a single one without a name where they are not."""
    if split is None:
        return {"": rows}
    values = inputs.column(adata, split)
    names = inputs.levels(adata, split, within=rows) if shown is None else shown
    if not names:
        raise ParameterError(f"no cell drawn has a value in obs[{split!r}], so there is nothing to split by")
    return {name: rows & (values == name) for name in names}


def arrange(
    adata: AnnData,
    markers: Sequence[str],
    groupby: str,
    *,
    split: str | None = None,
    rows: NDArray[np.bool_],
    shown: Sequence[str] | None = None,
) -> tuple[list[Panel], Parts]:
    """Arrange violins by group: one panel per marker and part, markers first.

    Parameters
    ----------
    adata
        Cells.
    markers
        Which markers, in any spelling.
    groupby
        Column of obs: one violin per value.
    split
        Column of obs: one part per value.
    rows
        Which cells are drawn.
    shown
        Values of `split`; default all.
    """
    values = inputs.expression(adata, markers)
    groups = inputs.column(adata, groupby)
    names = inputs.levels(adata, groupby, within=rows)
    if not names:
        raise ParameterError(f"no cell drawn has a value in obs[{groupby!r}], so there is nothing to compare")
    parts = _parts(adata, split, rows, shown)
    of_parts = split is not None and len(parts) > 1
    by_part = style.colours_of(split, list(parts)) if split is not None and of_parts else {}
    by_group = {} if of_parts else style.colours_of(groupby, names)
    masks = {(part, name): mask & (groups == name) for part, mask in parts.items() for name in names}
    panels = [
        Panel(
            part,
            marker,
            tuple(
                Violin(i, values[masks[part, name], m], by_part[part] if of_parts else by_group[name])
                for i, name in enumerate(names)
            ),
            tuple(names),
        )
        for m, marker in enumerate(inputs.names_of(adata, markers))
        for part in parts
    ]
    return panels, parts


def _draw(adata: AnnData, panels: Sequence[Panel], parts: Parts, groupby: str) -> Figure:
    """Place panels: a column per part as far as they fit, else each with its part in its title."""
    looks = Looks(
        value_label=inputs.value_label(adata, list(dict.fromkeys(panel.marker for panel in panels))),
        note=NOTE,
        group_label="" if groupby == keys.TIMEPOINT else groupby,
    )
    dense = len(panels[0].names) > DENSE
    if 1 < len(parts) <= 6 and not dense:
        titles = tuple(
            f"{fitted_text.label(name, 16)}  n = {fitted_text.count(mask.sum())}"
            for name, mask in parts.items()
        )
        return lay_out(panels, len(parts), replace(looks, column_titles=titles))
    titled = [
        replace(
            panel, title=_title(panel.marker, fitted_text.label(panel.title, 12)) if len(parts) > 1 else ""
        )
        for panel in panels
    ]
    return lay_out(titled, min(2 if dense else 3, len(panels)), looks)


def _title(marker: str, part: str) -> str:
    return f"{fitted_text.label(marker, 12)}, {part}"


@style.styled
def violin(
    adata: AnnData,
    markers: str | Sequence[str],
    *,
    groupby: str = keys.TIMEPOINT,
    split: str | None = keys.SUBSET,
) -> Figure:
    """Draw the distribution of markers by group: a row of panels per marker, a column per value of `split`.

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
        Column of obs: one violin per value.
    split
        Column of obs: one column of panels per value; None, or a column that is not there by default, draws one.

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
    panels, parts = arrange(adata, asked, groupby, split=split, rows=np.ones(adata.n_obs, dtype=bool))
    return _draw(adata, panels, parts, groupby)


_RARE = 0.05


def _usual_subsets(adata: AnnData, rows: NDArray[np.bool_]) -> list[str]:
    """Return the subsets drawn: CD4, CD8 and DN where they occur, and others that are not just stray cells."""
    subset = inputs.column(adata, keys.SUBSET)[rows]
    usual = int(np.isin(subset, keys.SUBSETS).sum())
    return [
        name
        for name in inputs.levels(adata, keys.SUBSET, within=rows)
        if name in ("CD4", "CD8", "DN") or (name in keys.SUBSETS and (subset == name).sum() >= _RARE * usual)
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
    """Draw markers of CAR-T cells by timepoint, one column of panels per subset.

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
    split = keys.SUBSET if shown else None
    panels, parts = arrange(adata, chosen, keys.TIMEPOINT, split=split, rows=rows, shown=shown or None)
    return _draw(adata, panels, parts, keys.TIMEPOINT)


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
    chosen, panels = arrange_sides(adata, markers)
    times = panels[0].names
    looks = Looks(
        value_label=inputs.value_label(adata, chosen),
        note=NOTE.replace("number: cells", f"numbers: {words().car} over {words().host_cells}"),
        legend={name: palette.subset_colour(name) for name in _SIDES},
    )
    if len(times) > DENSE:
        return lay_out([replace(p, title=_title(p.marker, p.title)) for p in panels], 2, looks)
    parts = list(dict.fromkeys(panel.title for panel in panels))
    titles = ["all (mixes differ)" if part == keys.ALL else fitted_text.label(part) for part in parts]
    return lay_out(panels, len(parts), replace(looks, column_titles=tuple(titles)))


_SIDES = {keys.CAR: -1, keys.HOST: 1}


def arrange_sides(adata: AnnData, markers: Sequence[str] | None) -> tuple[list[str], list[Panel]]:
    """Arrange what `violins_car_vs_host` draws: the markers, and one panel per marker and subset."""
    compartment = inputs.column(adata, keys.COMPARTMENT)
    missing = [name for name in _SIDES if not (compartment == name).any()]
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
    parts: Parts = {}
    if keys.SUBSET in adata.obs:
        subset = inputs.column(adata, keys.SUBSET)
        parts = {name: subset == name for name in _usual_subsets(adata, cars)}
    parts[keys.ALL] = np.ones(adata.n_obs, dtype=bool)
    masks = {
        (part, time, name): mask & (when == time) & (compartment == name)
        for part, mask in parts.items()
        for time in times
        for name in _SIDES
    }
    panels = [
        Panel(
            part,
            marker,
            tuple(
                Violin(i, values[masks[part, time, name], m], palette.subset_colour(name), side)
                for i, time in enumerate(times)
                for name, side in _SIDES.items()
            ),
            tuple(times),
        )
        for m, marker in enumerate(chosen)
        for part in parts
    ]
    return chosen, panels
