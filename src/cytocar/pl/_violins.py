"""Distributions of markers: violins by timepoint and subset, and CAR-T cells beside host T cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar.pl import _data, _style, _text
from cytocar.pl._density import density
from cytocar.pl._sheet import Sheet, few_ticks, grid, rows_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MARKERS = ("Ki67", "HLA-DR", "CCR7", "GZMB", "PD-1")
"""Markers of CAR-T subsets over time, as published for LEGEND-2 (Xu 2024, doi 10.1186/s13045-024-01530-z)."""

SUPPLEMENT = ("CD27", "CD28", "CD107a", "CD38", "TIM-3")
"""The further markers of its supplement."""

BESIDE_HOST = ("Ki67", "GZMB", "CD107a", "PD-1", "CD57")
"""Markers shown for CAR-T cells beside host T cells."""

FEW = 20
"""Fewer cells than this are drawn one by one."""

LEAST = 3
"""Fewer cells than this are only counted."""

_HALF = 0.42
_WIDEST_SLOT = 15.0
_DENSE = 12  # more groups than this get broader panels and smaller marks


@dataclass(frozen=True)
class _Violin:
    """One distribution: where it stands, which side of the middle it fills (0: both), and its colour."""

    place: int
    values: NDArray[np.float32]
    colour: str
    side: int = 0


def _outline(
    place: int, y: NDArray[np.float64], width: NDArray[np.float64], side: int
) -> NDArray[np.float64]:
    """Return the corners of a violin, or of the half of it on one side of the middle."""
    if side:
        curve = np.column_stack([place + side * width, y])
        return np.concatenate([[[place, y[0]]], curve, [[place, y[-1]]]])
    return np.column_stack(
        [np.concatenate([place - width, (place + width)[::-1]]), np.concatenate([y, y[::-1]])]
    )


def _draw_violins(axes: Axes, violins: Sequence[_Violin], mark: float) -> None:
    """Draw densities of equal width; median as a dot, quartiles as a bar; points where there are few cells."""
    from matplotlib.collections import LineCollection, PolyCollection

    outlines, faces, bars, medians = [], [], [], []
    for violin in violins:
        middle = violin.place + violin.side * (0.03 if len(violin.values) >= FEW else 0.2)
        if len(violin.values) < LEAST:
            continue
        if len(violin.values) < FEW:
            spread = np.linspace(-1, 1, len(violin.values)) * (0.22 if violin.side == 0 else 0.12)
            spread = spread[np.random.default_rng(0).permutation(spread.size)]
            axes.scatter(
                middle + spread, violin.values, s=5 * mark**2, color=violin.colour, linewidths=0.3 * mark,
                edgecolors=_style.INK, zorder=3, label="few cells",
            )  # fmt: skip
            continue
        y, width = density(violin.values, bins=96)
        width = _HALF * width / width.max()
        outlines.append(_outline(violin.place, y, width, violin.side))
        faces.append(violin.colour)
        low, median, high = np.quantile(violin.values, [0.25, 0.5, 0.75])
        x = violin.place + violin.side * 0.07
        bars.append([(x, low), (x, high)])
        medians.append((x, median))
    if outlines:
        axes.add_collection(
            PolyCollection(outlines, facecolors=faces, edgecolors="white", linewidths=0.4, label="violins")
        )
        axes.add_collection(
            LineCollection(bars, colors=_style.INK, linewidths=1.1 * mark, zorder=3, label="quartiles")
        )
        x, y = np.array(medians).T
        axes.scatter(
            x,
            y,
            s=7 * mark**2,
            color="white",
            edgecolors=_style.INK,
            linewidths=0.6 * mark,
            zorder=4,
            label="medians",
        )


@dataclass(frozen=True)
class _Panel:
    """One panel: a marker within a part of the cells."""

    title: str
    marker: str
    violins: tuple[_Violin, ...]
    names: tuple[str, ...]


def _write_counts(axes: Axes, panel: _Panel, width_mm: float, *, spelt: bool) -> None:
    """Write above each place how many cells it has, CAR-T over host where there are two; a range if too many."""
    by_place: dict[int, list[int]] = {place: [] for place in range(len(panel.names))}
    for violin in sorted(panel.violins, key=lambda v: (v.place, v.side)):
        by_place[violin.place].append(len(violin.values))
    slot = width_mm / len(panel.names)
    counts = [n for of_place in by_place.values() for n in of_place]
    how: dict[str, Any] = {
        "size": _style.SMALL,
        "color": _style.SOFT,
        "va": "top",
        "textcoords": "offset points",
    }
    if slot >= max(_text.width_mm(_text.count(n), _style.SMALL) for n in counts) + 0.5:
        for place, of_place in by_place.items():
            text = "\n".join(f"n = {_text.count(n)}" if spelt else _text.count(n) for n in of_place)
            axes.annotate(
                text, (place, 1), xycoords=("data", "axes fraction"), xytext=(0, -1), ha="center",
                linespacing=1.0, **how,
            )  # fmt: skip
    else:
        axes.annotate(
            f"{_text.n_range(counts)} a violin",
            (1, 1),
            xycoords="axes fraction",
            xytext=(-2, -1),
            ha="right",
            **how,
        )


def _lay_out(
    panels: Sequence[_Panel],
    *,
    columns: int,
    value_label: str,
    legend: Mapping[str, str] | None = None,
    note: str = "",
    column_titles: Sequence[str] = (),
    group_label: str = "",
) -> Figure:
    """Place panels in rows; panels of one marker share their value axis."""
    left, gap_x, head = 15.0, 5.0, 5.0
    gap_y = 2.5 if column_titles else 6.5
    top = 5.0 if legend or note else 1.0
    lines = 2 if any(violin.side for violin in panels[0].violins) else 1
    names = [_text.label(name, 14) for name in panels[0].names]
    width = _style.WIDTH_MM - left - 2
    slot = min((width - gap_x * (columns - 1)) / columns / max(len(names), 1), _WIDEST_SLOT)
    turned = max(map(_text.width_mm, names)) > slot - 0.5
    foot = (
        (max(map(_text.width_mm, names)) if turned else _text.height_mm())
        + 3.0
        + (4.0 if group_label else 0.0)
    )
    height = (21.0 if rows_of(len(panels), columns) > 2 else 30.0) + 2.0 * (lines - 1)
    room = (1.0 + 2.6 * lines) / height  # share of a panel that the counts take
    rows = rows_of(len(panels), columns)
    boxes = grid(
        len(panels),
        columns=columns,
        left=left,
        top=top + head,
        width=width,
        height=height,
        gap_x=gap_x,
        gap_y=gap_y,
    )
    sheet = Sheet(top + head + rows * height + (rows - 1) * gap_y + foot)
    limits: dict[str, list[float]] = {}
    for panel in panels:
        for violin in panel.violins:
            if len(violin.values) >= LEAST:
                known = limits.setdefault(panel.marker, [np.inf, -np.inf])
                known[0] = min(known[0], float(violin.values.min()))
                # one cell in thousands must not squeeze all violins
                known[1] = max(known[1], float(np.quantile(violin.values, 0.998, method="higher")))
    every = _every(len(names), slot) if turned else 1
    largest = max(len(violin.values) for panel in panels for violin in panel.violins)
    spelt = slot >= _text.width_mm(f"n = {_text.count(largest)}", _style.SMALL) + 0.3
    mark = float(np.clip(slot / 5.0, 0.45, 1.0))
    for place, (panel, box) in enumerate(zip(panels, boxes, strict=True)):
        column, row = place % columns, place // columns
        axes = sheet.axes(box, label=f"{panel.marker} {panel.title}".strip())
        low, high = limits.get(panel.marker, (0.0, 1.0))
        span = max(high - low, 1.0)
        half_width = max(len(names), box.width / _WIDEST_SLOT) / 2 + 0.05
        middle = (len(names) - 1) / 2
        axes.set_xlim(middle - half_width, middle + half_width)
        axes.set(ylim=(low - 0.04 * span, low + 1.04 * span / (1 - room)))
        _draw_violins(axes, panel.violins, mark)
        _write_counts(axes, panel, box.width, spelt=spelt)
        lowest = place + columns >= len(panels)
        axes.set_xticks(range(0, len(names), every), names[::every] if lowest else [""] * len(names[::every]))
        if lowest and turned:
            axes.tick_params(axis="x", rotation=90)
        if lowest and group_label:
            axes.set_xlabel(_text.label(group_label))
        few_ticks(axes, 4, whole=True)
        if column_titles:
            if row == 0:
                axes.set_title(column_titles[column])
            if column == 0:
                axes.set_ylabel(_text.label(panel.marker, 14), size=_style.TITLE)
            else:
                axes.set_yticklabels([])
        else:
            axes.set_title(panel.title or _text.label(panel.marker, 18))
    middle = top + head + (rows * height + (rows - 1) * gap_y) / 2
    sheet.text(1.5, middle, value_label, rotation=90, va="center")
    _key(sheet, left, legend, note)
    return sheet.figure


def _every(n: int, slot_mm: float) -> int:
    """Return 1, 2, 3 ...: which of n turned labels can be written without touching each other."""
    return max(1, int(np.ceil((_text.height_mm() + 0.2) / slot_mm)))


def _key(sheet: Sheet, left: float, legend: Mapping[str, str] | None, note: str) -> None:
    from matplotlib.patches import Patch

    reach = left
    if legend:
        sheet.legend(
            left, 1.2, [Patch(color=colour, linewidth=0) for colour in legend.values()],
            [_text.label(name, 16) for name in legend], ncols=len(legend),
        )  # fmt: skip
        reach += sum(_text.width_mm(_text.label(name, 16)) + 9 for name in legend) + 3
    if note:
        sheet.text(reach, 1.4, note, size=_style.SMALL, color=_style.SOFT)


_NOTE = f"number: cells; dot: median; bar: quartiles; below {FEW} cells: each cell; below {LEAST}: none drawn"


def _colours_for(adata: AnnData, key: str, names: Sequence[str]) -> dict[str, str]:
    if set(names) <= set(_style.SUBSET_COLOURS):
        return {name: _style.subset_colour(name) for name in names}
    if key == keys.TIMEPOINT:
        return _style.timepoint_colours(names)
    return _style.cluster_colours(names)


def _violins(
    adata: AnnData,
    markers: Sequence[str],
    groupby: str,
    split: str | None,
    rows: NDArray[np.bool_],
    shown: Sequence[str] | None = None,
) -> Figure:
    values = _data.expression(adata, markers)
    names = _data.names_of(adata, markers)
    groups = _data.column(adata, groupby)
    places = _data.levels(adata, groupby, within=rows)
    if not places:
        raise ParameterError(f"no cell drawn has a value in obs[{groupby!r}], so there is nothing to compare")
    parts: list[tuple[str, NDArray[np.bool_]]] = [("", rows)]
    if split is not None:
        column = _data.column(adata, split)
        names_of_parts = _data.levels(adata, split, within=rows) if shown is None else shown
        parts = [(name, rows & (column == name)) for name in names_of_parts]
    if not parts:
        raise ParameterError(f"no cell drawn has a value in obs[{split!r}], so there is nothing to split by")
    if split is not None and len(parts) > 1:
        colours = _colours_for(adata, split, [name for name, _ in parts])
    else:
        by_place = _colours_for(adata, groupby, places)
        colours = {}
    masks = {(part, place): mask & (groups == place) for part, mask in parts for place in places}
    panels = [
        _Panel(
            part,
            marker,
            tuple(
                _Violin(i, values[masks[part, place], m], colours[part] if colours else by_place[place])
                for i, place in enumerate(places)
            ),
            tuple(places),
        )
        for m, marker in enumerate(names)
        for part, _ in parts
    ]
    label = "" if groupby == keys.TIMEPOINT else groupby
    if 1 < len(parts) <= 6 and len(places) <= _DENSE:
        titles = [f"{_text.label(name, 16)}  n = {_text.count(mask.sum())}" for name, mask in parts]
        return _lay_out(
            panels, columns=len(parts), value_label=_data.value_label(adata, names), note=_NOTE,
            column_titles=titles, group_label=label,
        )  # fmt: skip
    if len(parts) > 1:
        panels = [
            _Panel(f"{_text.label(p.marker, 12)}, {_text.label(p.title, 12)}", p.marker, p.violins, p.names)
            for p in panels
        ]
    else:
        panels = [_Panel("", p.marker, p.violins, p.names) for p in panels]
    wide = len(places) > _DENSE
    columns = min(2 if wide else 3, len(panels))
    return _lay_out(
        panels, columns=columns, value_label=_data.value_label(adata, names), note=_NOTE, group_label=label
    )


@_style.styled
def violin(
    adata: AnnData,
    markers: str | Sequence[str],
    *,
    groupby: str = keys.TIMEPOINT,
    split: str | None = keys.SUBSET,
) -> Figure:
    """Draw the distribution of markers by group: a row of panels a marker, a column a value of `split`.

    A violin is a kernel density (`cytocar.pl._density.density`), scaled to the same greatest width; the dot is
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
        raise ParameterError("the list of markers is empty; name at least one")
    if split == keys.SUBSET and (split not in adata.obs or not _data.levels(adata, split)):
        split = None
    return _violins(adata, asked, groupby, split, np.ones(adata.n_obs, dtype=bool))


_RARE = 0.05


def _usual_subsets(adata: AnnData, rows: NDArray[np.bool_]) -> list[str]:
    """Return the subsets drawn: CD4, CD8 and DN where they occur, and others that are not just stray cells."""
    found = _data.column(adata, keys.SUBSET)[rows]
    known = int(np.isin(found, keys.SUBSETS).sum())
    return [
        name
        for name in _data.levels(adata, keys.SUBSET, within=rows)
        if name in ("CD4", "CD8", "DN") or (name in keys.SUBSETS and (found == name).sum() >= _RARE * known)
    ]


def _published(adata: AnnData, markers: Sequence[str] | None, published: Sequence[str]) -> list[str]:
    """Return the markers asked for; by default those published that the panel has, else the first five."""
    if markers is not None:
        if len(markers) == 0:
            raise ParameterError("the list of markers is empty; name at least one, or pass None")
        return _data.names_of(adata, markers)
    return _data.known_markers(adata, published) or _data.clustering_markers(adata)[: len(published)]


@_style.styled
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
    rows = _data.of_interest(adata)
    shown = _usual_subsets(adata, rows) if keys.SUBSET in adata.obs else []
    return _violins(adata, chosen, keys.TIMEPOINT, keys.SUBSET if shown else None, rows, shown or None)


@_style.styled
def violins_supplement(adata: AnnData) -> Figure:
    """Draw the markers of the supplement (CD27, CD28, CD107a, CD38, TIM-3) as `violins_subsets` does."""
    return violins_subsets(adata, markers=_published(adata, None, SUPPLEMENT))


@_style.styled
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
    compartment = _data.column(adata, keys.COMPARTMENT)
    sides = {keys.CAR: -1, keys.HOST: 1}
    missing = [name for name in sides if not (compartment == name).any()]
    if missing:
        raise ParameterError(
            f"no cell has compartment {' or '.join(map(repr, missing))}; this figure needs both 'car' and 'host'"
        )
    chosen = _published(adata, markers, BESIDE_HOST)
    values = _data.expression(adata, chosen)
    when = _data.column(adata, keys.TIMEPOINT)
    cars = compartment == keys.CAR
    times = _data.levels(adata, keys.TIMEPOINT, within=cars | (compartment == keys.HOST))
    if not times:
        raise ParameterError("no cell has a value in obs['timepoint'], so there is nothing to compare")
    everything = np.ones(adata.n_obs, dtype=bool)
    parts = [(keys.ALL, everything)]
    if keys.SUBSET in adata.obs:
        subset = _data.column(adata, keys.SUBSET)
        parts = [(name, subset == name) for name in _usual_subsets(adata, cars)] + parts
    masks = {
        (part, time, name): mask & (when == time) & (compartment == name)
        for part, mask in parts
        for time in times
        for name in sides
    }
    panels = [
        _Panel(
            part,
            marker,
            tuple(
                _Violin(i, values[masks[part, time, name], m], _style.subset_colour(name), side)
                for i, time in enumerate(times)
                for name, side in sides.items()
            ),
            tuple(times),
        )
        for m, marker in enumerate(chosen)
        for part, _ in parts
    ]
    legend = {name: _style.subset_colour(name) for name in sides}
    note = _NOTE.replace("number: cells", "numbers: CAR-T over host T cells")
    if len(times) > _DENSE:
        panels = [
            _Panel(f"{_text.label(p.marker, 12)}, {p.title}", p.marker, p.violins, p.names) for p in panels
        ]
        return _lay_out(
            panels, columns=2, value_label=_data.value_label(adata, chosen), legend=legend, note=note
        )
    titles = ["all (mixes differ)" if part == keys.ALL else _text.label(part) for part, _ in parts]
    return _lay_out(
        panels, columns=len(parts), value_label=_data.value_label(adata, chosen), legend=legend, note=note,
        column_titles=titles,
    )  # fmt: skip
