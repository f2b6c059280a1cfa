"""Differences of markers between timepoints, with intervals and calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import decisions, keys, ordering
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.population_words import words
from cytocar._core.vocabulary import DOWN, INCONCLUSIVE, MARKER_CALLS, UNCHANGED, UP
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Sheet, grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = (
    "comparison", keys.COMPARTMENT, keys.SUBSET, "marker", "group_a", "group_b", "n_cells_a", "n_cells_b", "effect",
    "effect_low", "effect_high", "call",
)  # fmt: skip
_BETWEEN = "car vs host"
_ORDER = (*keys.SUBSETS, keys.ALL)


@style.styled
def compare(
    table: pd.DataFrame,
    *,
    comparison: str | None = None,
    timepoint: str | None = None,
    compartment: str = keys.CAR,
    markers: Sequence[str] | None = None,
    margin: float | None = decisions.MARGIN,
) -> Figure:
    """Draw the difference of medians of every marker with its interval, one column of panels per subset.

    Shape and colour of a mark give the call. For comparisons over time the small grey bar is the change of the same
    marker in the host T cells of the same tubes: what staining alone may have done.

    Parameters
    ----------
    table
        The table of `cytocar.tl.compare` (columns of ``comparisons.csv``).
    comparison
        Which comparison, such as ``"5yr vs 2mo"`` or ``"car vs host"``; default the first one over time.
    timepoint
        Within which timepoint, for comparisons of CAR-T with host T cells; default the last.
    compartment
        Whose change is drawn, for comparisons over time.
    markers
        Which markers, in this order; default all, sorted by the effect in the subset with the most cells.
    margin
        Half-width of the grey band about 0 in arcsinh units, below which a change is not called; None for no band.

    Returns
    -------
    Figure; an Axes is labelled with its subset.

    Raises
    ------
    ParameterError
        A column is missing, or the table has no such comparison.

    Examples
    --------
    >>> import pandas
    >>> found = pandas.DataFrame({
    ...     "comparison": ["5yr vs 2mo"], "compartment": "car", "timepoint": "", "subset": "DN", "marker": "PD-1",
    ...     "group_a": "2mo", "group_b": "5yr", "n_cells_a": 780, "n_cells_b": 230, "effect": -0.9,
    ...     "effect_low": -1.0, "effect_high": -0.8, "call": "down"})
    >>> compare(found).axes[0].get_xlabel()
    '5yr minus 2mo, arcsinh units'
    """
    shown = arrange(
        table, comparison=comparison, timepoint=timepoint, compartment=compartment, markers=markers
    )
    return _draw(shown, margin)


@dataclass(frozen=True)
class Comparison:
    """One comparison in the order drawn."""

    heading: str
    group_a: str
    group_b: str
    markers: list[str]
    subsets: dict[str, pd.DataFrame]
    """For each subset the rows of the table, one per marker."""
    host: dict[str, pd.DataFrame]
    """The same for the host T cells of the same tubes; empty where they are not drawn beside."""
    reach: float
    """How far the axes go on both sides of 0."""


def arrange(
    table: pd.DataFrame,
    *,
    comparison: str | None = None,
    timepoint: str | None = None,
    compartment: str = keys.CAR,
    markers: Sequence[str] | None = None,
) -> Comparison:
    """Arrange what `compare` draws."""
    inputs.require(table, _COLUMNS, "the table of comparisons")
    if comparison is None:
        present = inputs.distinct(table, "comparison")
        comparison = next((name for name in present if name != _BETWEEN), present[0])
    rows = inputs.rows_of(table, "comparison", comparison)
    host = rows.iloc[:0]
    if comparison == _BETWEEN:
        rows, heading = _at_timepoint(rows, timepoint)
    else:
        whose = inputs.texts(rows, keys.COMPARTMENT)
        if compartment not in set(whose):
            compartment = whose.iloc[0]
        host = rows[whose == keys.HOST] if compartment == keys.CAR else host
        rows = rows[whose == compartment]
        heading = f"{fitted_text.label(compartment)}: {fitted_text.label(comparison, 30)}"
    present = inputs.distinct(rows, keys.SUBSET)
    subsets = [*(name for name in _ORDER if name in present), *sorted(set(present) - set(_ORDER))]
    order = _marker_order(rows, subsets, markers)

    def by_subset(part: pd.DataFrame) -> dict[str, pd.DataFrame]:
        of = {name: part[inputs.texts(part, keys.SUBSET) == name] for name in subsets}
        return {
            n: each.drop_duplicates("marker").set_index("marker").reindex(order) for n, each in of.items()
        }

    return Comparison(
        heading,
        str(rows["group_a"].iloc[0]),
        str(rows["group_b"].iloc[0]),
        order,
        by_subset(rows),
        by_subset(host) if len(host) else {},
        _reach(rows),
    )


def _at_timepoint(rows: pd.DataFrame, timepoint: str | None) -> tuple[pd.DataFrame, str]:
    """Return a comparison of CAR-T with host T cells within one timepoint, by default the last, and its heading."""
    heading = f"{words().car} against {words().host_cells}"
    if keys.TIMEPOINT not in rows:
        return rows, heading
    times = ordering.sort_timepoints(inputs.texts(rows, keys.TIMEPOINT))
    timepoint = times[-1] if timepoint is None else timepoint
    if timepoint not in times:
        raise ParameterError(f"there is no timepoint {timepoint!r}", fix=did_you_mean(timepoint, times))
    chosen = rows[inputs.texts(rows, keys.TIMEPOINT) == timepoint]
    return chosen, f"{heading} at {fitted_text.label(timepoint)}"


def _marker_order(rows: pd.DataFrame, subsets: Sequence[str], markers: Sequence[str] | None) -> list[str]:
    """Return the markers asked for, or all by their effect in the subset with the most cells."""
    known = inputs.distinct(rows, "marker")
    if markers is not None:
        return inputs.markers_of(markers, known, "the table")
    subset = inputs.texts(rows, keys.SUBSET)
    sizes = {n: float(rows.loc[subset == n, "n_cells_b"].max()) for n in subsets if n != keys.ALL}
    lead = max(sizes, key=lambda name: sizes[name]) if sizes else subsets[0]
    effects = rows[subset == lead].drop_duplicates("marker").set_index("marker")["effect"].astype(float)
    return sorted(known, key=lambda m: (-_finite(effects.get(m, np.nan)), ordering.natural(m)))


def _draw(shown: Comparison, margin: float | None) -> Figure:
    names = [fitted_text.label(marker, 14) for marker in shown.markers]
    left = max(map(fitted_text.width_mm, names)) + 4
    head, foot, gap = 17.0, 9.0, 3.0
    height = max(3.3 * len(names), 12.0)
    n = len(shown.subsets)
    width = style.WIDTH_MM - left - 3
    if n < 3:
        width = min(width, 70.0 * n)
    sheet = Sheet(head + height + foot)
    sheet.text(left, 1.2, f"{shown.heading}, difference of medians with 95 % interval", size=style.TITLE)
    _key(sheet, left, bool(shown.host))
    boxes = grid(n, columns=n, left=left, top=head, width=width, height=height, gap_x=gap, gap_y=0)
    for (name, rows), box in zip(shown.subsets.items(), boxes, strict=True):
        axes = sheet.axes(box, label=name)
        _panel(axes, rows, shown.host.get(name), margin, shown.reach)
        axes.set(xlim=(-shown.reach, shown.reach), ylim=(len(names) - 0.4, -0.6))
        axes.set_yticks(range(len(names)), names if box is boxes[0] else [])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_title(fitted_text.label(name), pad=10)
        _write_cells(axes, rows)
    a, b = (fitted_text.label(group, 12) for group in (shown.group_a, shown.group_b))
    sheet.figure.axes[0].set_xlabel(f"{b} minus {a}, arcsinh units", loc="left")
    return sheet.figure


def _write_cells(axes: Axes, rows: pd.DataFrame) -> None:
    """Write how many cells were compared above a panel."""
    counts = rows[["n_cells_b", "n_cells_a"]].max()
    if np.isfinite(counts.to_numpy(dtype=float)).all():
        axes.annotate(
            f"n = {fitted_text.count(counts.iloc[0])} vs {fitted_text.count(counts.iloc[1])}", (0, 1),
            xycoords="axes fraction", xytext=(0, 2.5), textcoords="offset points", size=style.SMALL,
            color=style.SOFT,
        )  # fmt: skip


def _reach(part: pd.DataFrame) -> float:
    """Return how far the axes go: past nearly all effects; one far off is written at the edge instead."""
    sizes = np.abs(part["effect"].to_numpy(dtype=float))
    sizes = sizes[np.isfinite(sizes)]
    if not sizes.size:
        return 1.0
    usual = sizes[sizes <= 2 * np.quantile(sizes, 0.97)]
    return max(1.12 * float(usual.max(initial=0.0)), 0.6)


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else -np.inf


def _panel(
    axes: Axes, rows: pd.DataFrame, beside: pd.DataFrame | None, margin: float | None, reach: float
) -> None:
    if margin:
        axes.axvspan(-margin, margin, color=style.FAINT, linewidth=0, zorder=0)
    axes.axvline(0, color=style.SOFT, linewidth=0.6, zorder=1)
    row = np.arange(len(rows))
    if beside is not None:
        low, high = (beside[c].to_numpy(dtype=float) for c in ("effect_low", "effect_high"))
        axes.hlines(row + 0.28, low, high, color=style.DIM, linewidth=1.6, label="host", zorder=1)
    effect, low, high = (rows[c].to_numpy(dtype=float) for c in ("effect", "effect_low", "effect_high"))
    calls = rows["call"].astype(object).astype(str).to_numpy()
    colours = [style.CALL_COLOURS[UNCHANGED] if c not in (UP, DOWN) else style.CALL_COLOURS[c] for c in calls]
    axes.hlines(row, low, high, color=colours, linewidth=1.0, label="intervals", zorder=2)
    far = np.abs(effect) > reach
    for call in MARKER_CALLS:
        of_call = (calls == call) & ~far
        if of_call.any():
            face = style.CALL_COLOURS[call]
            axes.plot(
                effect[of_call], row[of_call], linestyle="none", marker=style.CALL_MARKERS[call], markersize=4,
                markerfacecolor=face, markeredgewidth=0.8, zorder=3, label=call,
                markeredgecolor=style.CALL_COLOURS[UNCHANGED] if call == INCONCLUSIVE else face,
            )  # fmt: skip
    for at in np.flatnonzero(far):
        side = float(np.sign(effect[at]))
        axes.text(
            side * reach, float(at), f"{effect[at]:+.1f} ▸" if side > 0 else f"◂ {effect[at]:+.1f}",
            size=style.SMALL,
            color=colours[at], ha="right" if side > 0 else "left", va="center", zorder=3,
            bbox={"boxstyle": "square,pad=0.05", "fc": style.WHITE, "ec": "none"},
        )  # fmt: skip
    if not np.isfinite(effect).any():
        axes.text(
            0.5, 0.5, "too few cells\nto compare", transform=axes.transAxes, ha="center", va="center",
            color=style.SOFT, bbox={"boxstyle": "square,pad=0.3", "fc": style.WHITE, "ec": "none"},
        )  # fmt: skip


def _key(sheet: Sheet, left: float, host: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], linestyle="none", marker=style.CALL_MARKERS[call], markersize=4,
            markerfacecolor=style.CALL_COLOURS[call], markeredgewidth=0.8,
            markeredgecolor=style.CALL_COLOURS[UNCHANGED if call == INCONCLUSIVE else call],
        )
        for call in MARKER_CALLS
    ]  # fmt: skip
    names: list[str] = list(MARKER_CALLS)
    if host:
        handles.append(Line2D([], [], color=style.DIM, linewidth=1.6))
        names.append(f"{words().host_cells} of the same tubes")
    sheet.legend(left, 6.0, handles, names, ncols=len(names))
