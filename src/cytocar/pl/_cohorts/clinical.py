"""Figures of clinical tables: curves of Kaplan and Meier, and forests of shares."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet, bare

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_CURVE = ("group", "time", "n_at_risk", "n_events", "n_censored", "survival", "low", "high", "n")
_FOREST = (
    "kind",
    "study",
    "subgroup",
    "events",
    "n",
    "proportion",
    "low",
    "high",
    "weight_pct",
    "i2_pct",
    "tau2",
)


@style.styled
def kaplan_meier(
    curve: pd.DataFrame,
    *,
    test: pd.DataFrame | None = None,
    xlabel: str = "months",
    ylabel: str = "without event, %",
) -> Figure:
    """Draw curves of Kaplan and Meier with their intervals, censored patients as ticks, and numbers at risk below.

    Parameters
    ----------
    curve
        What `cytocar.tl.kaplan_meier` returned.
    test
        What `cytocar.tl.log_rank` returned; its p is written with its n, its unit and the smallest p the design gives.
    xlabel, ylabel
        Names of the axes.

    Returns
    -------
    Figure with the Axes ``curves`` and ``at risk``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.

    Examples
    --------
    >>> import pandas
    >>> import cytocar as cc
    >>> patients = pandas.DataFrame({"months": [2, 5, 5, 9, 14], "event": [1, 1, 0, 0, 1]})
    >>> [axes.get_label() for axes in kaplan_meier(cc.tl.kaplan_meier(patients)).axes]
    ['curves', 'at risk']
    """
    inputs.require(curve, _CURVE, "the table of kaplan_meier")
    names = inputs.distinct(curve, "group")
    last = float(curve["time"].max()) or 1.0
    row = 4.0
    sheet = Sheet(70 + 12 + row * (len(names) + 1) + 6, 120)
    left, top, width, height = 26.0, 9.0, 86.0, 58.0
    axes = sheet.axes(Box(left, top, width, height), label="curves")
    handles = []
    for position, name in enumerate(names):
        part = curve[curve["group"].astype(str) == name]
        colour = style.GROUP_COLOURS[position % len(style.GROUP_COLOURS)]
        handles += _steps(axes, part, name, colour)
    axes.set(xlim=(0, last * 1.03), ylim=(0, 102), yticks=[0, 25, 50, 75, 100])
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if len(names) > 1:
        totals = [int(curve.loc[curve["group"].astype(str) == name, "n"].iloc[0]) for name in names]
        named = [f"{fitted_text.label(name)} (n = {n:,})" for name, n in zip(names, totals, strict=True)]
        axes.legend(handles, named, loc="lower left", borderaxespad=0.6)
    if test is not None:
        inputs.require(test, ("p_value", "p_minimum", "n", "n_events", "unit"), "the table of log_rank")
        sheet.text(left, 2.0, _p_text(test))
    below = sheet.axes(Box(left, top + height + 14, width, row * len(names)), label="at risk")
    bare(below)
    below.set(xlim=axes.get_xlim(), ylim=(len(names), 0))
    sheet.text(left - 1.0, top + height + 10.0, "at risk", ha="right", color=style.SOFT)
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= last * 1.03]
    numbers = at_risk(curve, ticks)
    for position, name in enumerate(names):
        for tick, n in zip(ticks, numbers.loc[name], strict=True):
            below.text(tick, position + 0.5, f"{n:,}", ha="center", va="center")
        sheet.text(
            left - 4.0, top + height + 14 + row * (position + 0.5), fitted_text.label(name, 12), ha="right",
            va="center", color=style.GROUP_COLOURS[position % len(style.GROUP_COLOURS)],
        )  # fmt: skip
    return sheet.figure


def at_risk(curve: pd.DataFrame, times: Sequence[float]) -> pd.DataFrame:
    """Return how many patients of each group (rows) are still followed just before each time (columns)."""
    import pandas as pd

    numbers = {}
    for name in inputs.distinct(curve, "group"):
        rows = curve[inputs.texts(curve, "group") == name]
        leaving = rows[["n_events", "n_censored"]].sum(axis=1).to_numpy()
        when = rows["time"].to_numpy(float)
        numbers[name] = [int(leaving[when >= time].sum()) for time in times]
    return pd.DataFrame.from_dict(numbers, orient="index", columns=list(times))


def _steps(axes: Axes, part: pd.DataFrame, name: str, colour: str) -> list[Line2D]:
    when = np.concatenate([[0.0], part["time"].to_numpy(float)])
    share = 100 * np.concatenate([[1.0], part["survival"].to_numpy(float)])
    low, high = (100 * np.concatenate([[np.nan], part[side].to_numpy(float)]) for side in ("low", "high"))
    axes.fill_between(when, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
    handles = axes.step(when, share, where="post", color=colour, linewidth=1.1, label=name)
    censored = np.concatenate([[False], part["n_censored"].to_numpy() > 0])
    axes.plot(
        when[censored], share[censored], linestyle="none", marker="|", markersize=4, color=colour,
        label=f"{name} censored",
    )  # fmt: skip
    return handles


def _p_text(test: pd.DataFrame) -> str:
    row = test.iloc[0]
    p = float(row["p_value"])
    if not np.isfinite(p):
        return fitted_text.label(str(row.get("note", "no p")), 90)
    return (
        f"log-rank p = {p:.2g} ({int(row['n'])} {row['unit']}s, {int(row['n_events'])} events; "
        f"smallest possible {float(row['p_minimum']):.2g})"
    )


@style.styled
def forest(table: pd.DataFrame, *, xlabel: str = "share, %") -> Figure:
    """Draw shares of studies as squares, by weight, with their intervals, and pooled shares as diamonds.

    Parameters
    ----------
    table
        What `cytocar.tl.pooled_proportions` returned.
    xlabel
        Name of the axis.

    Returns
    -------
    Figure with the Axes ``forest``.

    Raises
    ------
    ParameterError
        A column is missing, or there are no rows.

    Examples
    --------
    >>> import pandas
    >>> import cytocar as cc
    >>> trials = pandas.DataFrame({"study": ["A", "B", "C"], "events": [65, 20, 41], "n": [74, 24, 60]})
    >>> [axes.get_label() for axes in forest(cc.tl.pooled_proportions(trials)).axes]
    ['forest']
    """
    inputs.require(table, _FOREST, "the table of pooled_proportions")
    row, top = 4.6, 9.0
    names, counts, shares = 46.0, 18.0, 40.0
    left = names + counts
    width = style.WIDTH_MM - left - shares - 4
    height = row * len(table)
    sheet = Sheet(top + height + 12)
    axes = sheet.axes(Box(left, top, width, height), label="forest")
    axes.set(xlim=(0, 100), ylim=(len(table), 0), yticks=[], xlabel=xlabel)
    axes.spines["left"].set_visible(False)
    axes.axvline(
        100 * float(table["proportion"].iloc[-1]), color=style.SOFT, linewidth=0.6, linestyle=(0, (4, 3)),
        label="pooled", zorder=0,
    )  # fmt: skip
    for column, heading in (
        (0.0, "study"),
        (names, "events / n"),
        (left + width + 4, "% (95 % interval), weight"),
    ):
        sheet.text(column + 1.0, 2.0, heading, color=style.SOFT)
    for position, study in enumerate(table.to_dict("records")):
        middle, low, high = (100 * float(study[column]) for column in ("proportion", "low", "high"))
        y, pooled = position + 0.5, study["kind"] != "study"
        if pooled:
            axes.fill(
                [low, middle, high, middle],
                [y, y - 0.28, y, y + 0.28],
                color=style.GROUP_COLOURS[0],
                label=study["study"],
            )
        else:
            axes.plot([low, high], [y, y], color=style.INK, linewidth=0.8, label=f"{study['study']} interval")
            size = 2.0 + 4.0 * np.sqrt(float(study["weight_pct"]) / 100)
            axes.plot(
                [middle],
                [y],
                marker="s",
                color=style.INK,
                markersize=size,
                clip_on=False,
                linestyle="none",
                label=study["study"],
            )
        how = {"va": "center", "weight": "bold" if pooled else "normal"}
        at = top + row * y
        sheet.text(1.0, at, _study_text(study), **how)
        sheet.text(names + 1.0, at, f"{int(study['events']):,} / {int(study['n']):,}", **how)
        numbers = f"{middle:.1f} ({low:.1f} to {high:.1f})  {float(study['weight_pct']):.0f} %"
        sheet.text(left + width + 5.0, at, numbers, **how)
    return sheet.figure


def _study_text(study: dict[Hashable, Any]) -> str:
    name = fitted_text.label(study["study"], 16 if study["kind"] != "study" else 26, spoken=False)
    if study["kind"] == "study" or not np.isfinite(study["i2_pct"]):
        return name
    return f"{name}, I² {study['i2_pct']:.0f} %"
