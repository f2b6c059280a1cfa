"""Patients against patients: effects with intervals, and the shares of every patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLEAR = 0.05
"""Adjusted p up to which an effect is drawn filled."""

_EFFECT = (
    "contrast", "cluster", "group_a", "group_b", "effect", "effect_low", "effect_high", "effect_unit", "p_value",
    "p_adjusted", "p_minimum", "n_patients_a", "n_patients_b",
)  # fmt: skip
_UP, _DOWN = style.VERMILION, style.BLUE
_MOST = 40
_CONTRASTS = 4
_SEPARATOR = "\x1f"


@style.styled
def abundance(
    table: pd.DataFrame, *, contrast: str | None = None, of: str | None = None, most: int = _MOST
) -> Figure:
    """Draw how the share of every cluster differs between groups of patients, with 95 % intervals.

    Filled marks have an adjusted p of at most 0.05; an arrow is an interval that goes on beyond the panel. With one
    contrast p and adjusted p stand beside it, with the smallest p that exchanging labels could give in this design.

    Parameters
    ----------
    table
        What `cytocar.tl.abundance` returned, or ``abundance.csv`` of a run (with `of`: what shares are shares of).
    contrast
        Only this one; default all, side by side, no more than 4.
    of
        Only these shares, such as ``"subsets"`` or ``"phenograph"``, where the table has a column `of`; default all.
    most
        Rows drawn: of more, those with the smallest p.

    Returns
    -------
    Figure; an Axes is labelled with its contrast.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or the contrast is unknown.

    Examples
    --------
    >>> import pandas
    >>> import cytocar as cc
    >>> counts = pandas.DataFrame({"sample_id": list("abcdef") * 2, "cluster": ["1"] * 6 + ["2"] * 6,
    ...                            "n": [90, 110, 100, 210, 180, 200, 900, 950, 870, 800, 790, 830]})
    >>> sheet = pandas.DataFrame({"sample_id": list("abcdef"), "group": ["NR"] * 3 + ["R"] * 3})
    >>> figure = cc.pl.abundance(cc.tl.abundance(counts, sheet, formula="~ group", contrast="R vs NR"))
    >>> [axes.get_label() for axes in figure.axes]
    ['R vs NR']
    """
    inputs.require(table, _EFFECT, "the table of abundance")
    rows = _only(table, "of", of) if of is not None else table
    return _forest(rows, ["cluster"], contrast, most, "share")


@style.styled
def state(
    table: pd.DataFrame, *, contrast: str | None = None, of: str | None = None, most: int = _MOST
) -> Figure:
    """Draw how the median of a marker in a cluster differs between groups of patients, with 95 % intervals.

    The rows with the smallest p, drawn as `abundance` draws them; effects are in arcsinh units.

    Parameters
    ----------
    table
        What `cytocar.tl.state` returned, or ``state.csv`` of a run.
    contrast, of, most
        As in `abundance`.

    Returns
    -------
    Figure; an Axes is labelled with its contrast.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or the contrast is unknown.

    Examples
    --------
    >>> import numpy, pandas
    >>> import cytocar as cc
    >>> rng = numpy.random.default_rng(0)
    >>> medians = pandas.DataFrame({"sample_id": list("abcdef"), "cluster": "1", "marker": "PD-1", "n": 50,
    ...                             "median": [1.0, 1.1, 0.9, 2.0, 2.1, 1.9]})
    >>> sheet = pandas.DataFrame({"sample_id": list("abcdef"), "group": ["NR"] * 3 + ["R"] * 3})
    >>> figure = cc.pl.state(cc.tl.state(medians, sheet, formula="~ group", contrast="R vs NR"))
    >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    ['1  PD-1']
    """
    inputs.require(table, (*_EFFECT, "marker"), "the table of state")
    rows = _only(table, "of", of) if of is not None else table
    return _forest(rows, ["cluster", "marker"], contrast, most, "median")


def _only(table: pd.DataFrame, column: str, name: str) -> pd.DataFrame:
    if column not in table:
        raise ParameterError(f"the table has no column {column!r}, so {column}={name!r} means nothing here")
    present = list(dict.fromkeys(table[column].astype(str)))
    if name not in present:
        raise ParameterError(f"the table has no {column} {name!r}", fix=did_you_mean(name, present))
    return table[table[column].astype(str) == name]


def _forest(table: pd.DataFrame, by: Sequence[str], contrast: str | None, most: int, what: str) -> Figure:
    if most < 1:
        raise ParameterError(f"most is {most}", fix="it must be at least 1")
    rows = table if contrast is None else _only(table, "contrast", contrast)
    rows = rows[np.isfinite(rows["effect"].to_numpy(dtype=float))]
    if not len(rows):
        raise ParameterError(
            "no row of the table has an effect", fix="its notes say why, so there is nothing to draw"
        )
    contrasts = list(dict.fromkeys(rows["contrast"].astype(str)))[:_CONTRASTS]
    groups = [
        name for name in (keys.COMPARTMENT, "of") if name in rows and rows[name].astype(str).nunique() > 1
    ]
    keyed = rows.assign(key=[_SEPARATOR.join(key) for key in _keys(rows, [*groups, *by])])
    keyed = keyed[keyed["contrast"].astype(str).isin(contrasts)]
    best = keyed.groupby("key", sort=False)["p_value"].min()
    shown = set(best.fillna(np.inf).sort_values(kind="stable").index[:most])
    keyed = keyed[keyed["key"].isin(shown)]
    of_first = keyed[keyed["contrast"].astype(str) == contrasts[0]]
    first = dict(zip(of_first["key"], of_first["effect"].astype(float), strict=True))
    parts = {str(key): tuple(str(key).split(_SEPARATOR)) for key in shown}
    order = sorted(parts, key=lambda key: (parts[key][: len(groups)], -first.get(key, -np.inf), parts[key]))
    names = [_name(parts[key][len(groups) :], what) for key in order]

    single = len(contrasts) == 1
    left = max(map(fitted_text.width_mm, names)) + 5 + (16.0 if groups else 0.0)
    beside, gap, head, foot, row = (42.0 if single else 0.0), 4.0, 15.0, 9.5, 3.7
    width = (style.WIDTH_MM - left - 3 - beside - gap * (len(contrasts) - 1)) / len(contrasts)
    width = min(width, 100.0)
    height = row * len(order)
    sheet = Sheet(head + height + foot)
    _key(sheet, left, len(keyed["key"].unique()), int(best.size))
    unit = str(rows["effect_unit"].iloc[0]) if len(rows) else ""
    for place, name in enumerate(contrasts):
        part = (
            keyed[keyed["contrast"].astype(str) == name]
            .drop_duplicates("key")
            .set_index("key")
            .reindex(order)
        )
        axes = sheet.axes(Box(left + place * (width + gap), head, width, height), label=name)
        _panel(axes, part, _reach(keyed))
        axes.set_yticks(range(len(order)), names if place == 0 else [])
        n = [int(part[f"n_patients_{side}"].max()) for side in "ba"]
        axes.set_title(fitted_text.fit(name, width - 20, style.FONT), size=style.FONT)
        axes.set_title(f"{n[0]} : {n[1]} patients", loc="right", size=style.SMALL, color=style.SOFT)
        _value_axis(axes, unit)
    if single:
        at = left + width + 4
        sheet.text(at, head - 3.4, "p", size=style.SMALL, color=style.SOFT, va="center")
        sheet.text(at + 15, head - 3.4, "adjusted", size=style.SMALL, color=style.SOFT, va="center")
        least = float(part["p_minimum"].min())
        if np.isfinite(least):
            words = f"least p of the design {_p(least)}"
            sheet.text(at, head + height + 2.5, words, size=style.SMALL, color=style.SOFT)
        for place, (p, adjusted) in enumerate(part[["p_value", "p_adjusted"]].to_numpy(dtype=float)):
            y = head + height * (place + 0.6) / (len(order) + 0.2)
            weight = "bold" if np.isfinite(adjusted) and adjusted <= CLEAR else "normal"
            sheet.text(at, y, _p(p), size=style.SMALL, va="center", weight=weight)
            sheet.text(at + 15, y, _p(adjusted), size=style.SMALL, va="center", weight=weight)
    _blocks(sheet, [parts[key][: len(groups)] for key in order], head, row)
    return sheet.figure


def _keys(rows: pd.DataFrame, columns: Sequence[str]) -> list[tuple[str, ...]]:
    return list(zip(*(rows[column].astype(str) for column in columns), strict=True))


def _name(parts: Sequence[str], what: str) -> str:
    return (
        fitted_text.label(parts[0], 16)
        if what == "share"
        else f"{fitted_text.label(parts[0], 10)}  {fitted_text.label(parts[1], 12)}"
    )


def _blocks(sheet: Sheet, blocks: Sequence[tuple[str, ...]], top: float, row: float) -> None:
    """Write what clusters are clusters of beside the first of each kind."""
    for place, block in enumerate(blocks):
        if block and (place == 0 or blocks[place - 1] != block):
            words = fitted_text.fit(
                " ".join(fitted_text.label(part, 14) for part in block), 18.0, style.SMALL
            )
            sheet.text(1.0, top + row * (place + 0.5), words, size=style.SMALL, color=style.SOFT, va="center")


def _reach(rows: pd.DataFrame) -> float:
    """Return how far a panel goes on both sides: all effects, and of the intervals as much as most need."""
    effects = np.abs(rows["effect"].to_numpy(dtype=float))
    ends = np.abs(rows[["effect_low", "effect_high"]].to_numpy(dtype=float))
    ends = ends[np.isfinite(ends)]
    far = float(np.quantile(ends, 0.9)) if ends.size else 0.0
    return 1.08 * max(float(effects.max()), far, 0.1)


def _panel(axes: Axes, part: pd.DataFrame, reach: float) -> None:
    axes.axvline(0, color=style.SOFT, linewidth=0.6, zorder=0, label="no difference")
    axes.set(xlim=(-reach, reach), ylim=(len(part) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0, pad=5)
    axes.spines["left"].set_visible(False)
    for place, row in enumerate(part.to_dict("records")):
        effect = float(row["effect"])
        if not np.isfinite(effect):
            axes.annotate(
                "no number", (0.5, place), xycoords=("axes fraction", "data"), ha="center", va="center",
                size=style.SMALL, color=style.SOFT,
            )  # fmt: skip
            continue
        colour = _UP if effect > 0 else _DOWN
        low, high = (float(row[f"effect_{side}"]) for side in ("low", "high"))
        if not (np.isnan(low) or np.isnan(high)):
            axes.plot(
                [max(low, -reach), min(high, reach)], [place, place], color=colour, linewidth=0.9,
                label=f"interval {place}",
            )  # fmt: skip
            for end, edge, mark in ((low, -reach, "<"), (high, reach, ">")):
                if abs(end) > reach and np.sign(end) == np.sign(edge):
                    axes.plot(
                        [edge], [place], mark, markersize=2.6, color=colour, clip_on=False, label="goes on"
                    )
        adjusted = float(row["p_adjusted"])
        clear = np.isfinite(adjusted) and adjusted <= CLEAR
        axes.plot(
            [effect], [place], "o", markersize=3.6, color=colour, markerfacecolor=colour if clear else style.WHITE,
            markeredgewidth=0.9, label="clear" if clear else "not clear",
        )  # fmt: skip


def _value_axis(axes: Axes, unit: str) -> None:
    """Name the axis; ratios on a logarithmic scale are written as ratios."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

    if "log2" not in unit:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_xlabel("difference, arcsinh units" if "arcsinh" in unit else fitted_text.label(unit, 40))
        return
    low, high = axes.get_xlim()
    steps = [step for step in range(-12, 13) if low <= step <= high]
    every = max(1, -(-len(steps) // 7))
    steps = [step for step in steps if step % every == 0]
    names = [f"{2**step:g}" if step >= 0 else f"1/{2**-step:g}" for step in steps]
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_major_formatter(FixedFormatter(names))
    axes.set_xlabel("ratio of odds" if "odds" in unit else "ratio of shares")


def _key(sheet: Sheet, left: float, shown: int, known: int) -> None:
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"marker": "o", "markersize": 3.6, "markeredgewidth": 0.9}
    sheet.legend(
        left, 1.4,
        [
            Line2D([], [], color=_UP, **look),
            Line2D([], [], color=_DOWN, **look),
            Line2D([], [], color=style.SOFT, markerfacecolor=style.WHITE, **look),
        ],
        ["more in the first named", "less", "adjusted p above 0.05"],
        ncols=3,
    )  # fmt: skip
    if shown < known:
        sheet.text(
            left,
            5.2,
            f"{shown} of {known} rows: those with the smallest p",
            size=style.SMALL,
            color=style.SOFT,
        )


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.2g}" if value >= 1e-4 else f"{value:.0e}".replace("e-0", "e-")
