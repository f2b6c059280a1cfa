"""Differences of markers between timepoints, with intervals and calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import decisions, keys, ordering
from cytocar._core.errors import ParameterError, did_you_mean
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
    """Draw the difference of medians of every marker with its interval, one column of panels a subset.

    Shape and colour of a mark tell the call. For comparisons over time the small grey bar is the change of the same
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
    inputs.require(table, _COLUMNS, "the table of comparisons")
    present = list(dict.fromkeys(table["comparison"].astype(str)))
    if comparison is None:
        comparison = next((name for name in present if name != _BETWEEN), present[0])
    if comparison not in present:
        raise ParameterError(
            f"the table has no comparison {comparison!r}", fix=did_you_mean(comparison, present)
        )
    part = table[table["comparison"].astype(str) == comparison]
    host = None
    where = ""
    if comparison == _BETWEEN:
        if keys.TIMEPOINT in part:
            times = ordering.sort_timepoints(part[keys.TIMEPOINT].astype(str))
            timepoint = times[-1] if timepoint is None else timepoint
            if timepoint not in times:
                raise ParameterError(
                    f"there is no timepoint {timepoint!r}", fix=did_you_mean(timepoint, times)
                )
            part = part[part[keys.TIMEPOINT].astype(str) == timepoint]
            where = f" at {fitted_text.label(timepoint)}"
    else:
        whose = part[keys.COMPARTMENT].astype(str)
        if compartment not in set(whose):
            compartment = whose.iloc[0]
        host = part[whose == keys.HOST] if compartment == keys.CAR else None
        part = part[whose == compartment]
    return _draw(part, host, _heading(comparison, compartment) + where, markers, margin)


def _heading(comparison: str, compartment: str) -> str:
    name = fitted_text.label(comparison, 30)
    if comparison == _BETWEEN:
        return "CAR-T against host T cells"
    return f"{fitted_text.label(compartment)}: {name}"


def _draw(
    part: pd.DataFrame,
    host: pd.DataFrame | None,
    heading: str,
    markers: Sequence[str] | None,
    margin: float | None,
) -> Figure:
    subset = part[keys.SUBSET].astype(str)
    present = set(subset)
    shown = [name for name in _ORDER if name in present] + sorted(present - set(_ORDER))
    known = list(dict.fromkeys(part["marker"].astype(str)))
    if markers is None:
        sizes = {
            name: float(part.loc[subset == name, "n_cells_b"].max()) for name in shown if name != keys.ALL
        }
        lead = max(sizes, key=lambda name: sizes[name]) if sizes else shown[0]
        effects = part[subset == lead].drop_duplicates("marker").set_index("marker")["effect"].astype(float)
        order = sorted(known, key=lambda m: (-_finite(effects.get(m, np.nan)), ordering.natural(m)))
    else:
        unknown = [marker for marker in markers if marker not in known]
        if unknown:
            raise ParameterError(f"{unknown[0]!r} is not in the table", fix=did_you_mean(unknown[0], known))
        order = list(markers)
    names = [fitted_text.label(marker, 14) for marker in order]
    left = max(map(fitted_text.width_mm, names)) + 4
    head, foot, gap = 17.0, 9.0, 3.0
    height = max(3.3 * len(order), 12.0)
    width = style.WIDTH_MM - left - 3
    if len(shown) < 3:
        width = min(width, 70.0 * len(shown))
    sheet = Sheet(head + height + foot)
    sheet.text(left, 1.2, f"{heading}, difference of medians with 95 % interval", size=style.TITLE)
    _key(sheet, left, host is not None and len(host) > 0)
    boxes = grid(
        len(shown), columns=len(shown), left=left, top=head, width=width, height=height, gap_x=gap, gap_y=0
    )
    reach = _reach(part)
    for place, (name, box) in enumerate(zip(shown, boxes, strict=True)):
        axes = sheet.axes(box, label=name)
        rows = part[subset == name].drop_duplicates("marker").set_index("marker").reindex(order)
        beside = None
        if host is not None:
            mine = host[host[keys.SUBSET].astype(str) == name]
            beside = mine.drop_duplicates("marker").set_index("marker").reindex(order)
        _panel(axes, rows, beside, margin, reach)
        axes.set(xlim=(-reach, reach), ylim=(len(order) - 0.4, -0.6))
        axes.set_yticks(range(len(order)), names if place == 0 else [])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        a, b = (str(part[column].iloc[0]) for column in ("group_a", "group_b"))
        axes.set_title(fitted_text.label(name), pad=10)
        counts = rows[["n_cells_b", "n_cells_a"]].max()
        if np.isfinite(counts.to_numpy(dtype=float)).all():
            axes.annotate(
                f"n = {fitted_text.count(counts.iloc[0])} vs {fitted_text.count(counts.iloc[1])}", (0, 1),
                xycoords="axes fraction", xytext=(0, 2.5), textcoords="offset points", size=style.SMALL,
                color=style.SOFT,
            )  # fmt: skip
        if place == 0:
            axes.set_xlabel(
                f"{fitted_text.label(b, 12)} minus {fitted_text.label(a, 12)}, arcsinh units", loc="left"
            )
    return sheet.figure


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
    place = np.arange(len(rows))
    if beside is not None:
        low, high = (beside[c].to_numpy(dtype=float) for c in ("effect_low", "effect_high"))
        axes.hlines(place + 0.28, low, high, color=style.DIM, linewidth=1.6, label="host", zorder=1)
    effect, low, high = (rows[c].to_numpy(dtype=float) for c in ("effect", "effect_low", "effect_high"))
    calls = rows["call"].astype(object).astype(str).to_numpy()
    colours = [style.CALL_COLOURS[UNCHANGED] if c not in (UP, DOWN) else style.CALL_COLOURS[c] for c in calls]
    axes.hlines(place, low, high, color=colours, linewidth=1.0, label="intervals", zorder=2)
    far = np.abs(effect) > reach
    for call in MARKER_CALLS:
        mine = (calls == call) & ~far
        if mine.any():
            face = style.CALL_COLOURS[call]
            axes.plot(
                effect[mine], place[mine], linestyle="none", marker=style.CALL_MARKERS[call], markersize=4,
                markerfacecolor=face, markeredgewidth=0.8, zorder=3, label=call,
                markeredgecolor=style.CALL_COLOURS[UNCHANGED] if call == INCONCLUSIVE else face,
            )  # fmt: skip
    for row in np.flatnonzero(far):
        side = float(np.sign(effect[row]))
        axes.text(
            side * reach, float(row), f"{effect[row]:+.1f} ▸" if side > 0 else f"◂ {effect[row]:+.1f}",
            size=style.SMALL,
            color=colours[row], ha="right" if side > 0 else "left", va="center", zorder=3,
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
        names.append("host T cells of the same tubes")
    sheet.legend(left, 6.0, handles, names, ncols=len(names))
