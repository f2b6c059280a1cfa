"""Comparison between patients: effects on shares and on medians of markers, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import decisions, keys, palette
from cytocar._core.errors import ParameterError
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLEAR = decisions.BETWEEN_PATIENTS_FDR
"""Adjusted p up to which an effect is drawn filled."""

_EFFECT = (
    "contrast", "cluster", "group_a", "group_b", "effect", "effect_low", "effect_high", "effect_unit", "p_value",
    "p_adjusted", "p_minimum", "n_patients_a", "n_patients_b",
)  # fmt: skip
_UP, _DOWN = palette.VERMILION, palette.BLUE
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
    return _draw(arrange(table, ["cluster"], contrast=contrast, of=of, most=most))


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
    return _draw(arrange(table, ["cluster", "marker"], contrast=contrast, of=of, most=most))


@dataclass(frozen=True)
class Effects:
    """Effects of one or several contrasts, row by row in the order drawn."""

    of: dict[str, pd.DataFrame]
    """For each contrast the rows of the table, one per name."""
    names: list[str]
    blocks: list[tuple[str, ...]]
    """What the clusters of each row are clusters of, where there are several kinds."""
    reach: float
    """How far the panels go on both sides of 0."""
    unit: str
    known: int
    """Rows that the table has, shown or not."""


def arrange(
    table: pd.DataFrame,
    by: Sequence[str],
    *,
    contrast: str | None = None,
    of: str | None = None,
    most: int = _MOST,
) -> Effects:
    """Arrange what `abundance` and `state` draw.

    Parameters
    ----------
    table, contrast, of, most
        As in `abundance`.
    by
        Columns that name a row.
    """
    if most < 1:
        raise ParameterError(f"most is {most}", fix="it must be at least 1")
    rows = _only(_only(table, "of", of), "contrast", contrast)
    rows = rows[np.isfinite(rows["effect"].to_numpy(dtype=float))]
    if not len(rows):
        raise ParameterError(
            "no row of the table has an effect", fix="its notes say why, so there is nothing to draw"
        )
    contrasts = inputs.distinct(rows, "contrast")[:_CONTRASTS]
    kinds = [
        name for name in (keys.COMPARTMENT, "of") if name in rows and inputs.texts(rows, name).nunique() > 1
    ]
    columns = [*kinds, *by]
    named = [inputs.texts(rows, column) for column in columns]
    keyed = rows.assign(key=[_SEPARATOR.join(each) for each in zip(*named, strict=True)])
    keyed = keyed[inputs.texts(keyed, "contrast").isin(contrasts)]
    best = keyed.groupby("key", sort=False)["p_value"].min()
    shown = [str(key) for key in best.fillna(np.inf).sort_values(kind="stable").index[:most]]
    keyed = keyed[keyed["key"].isin(shown)]
    order = _order(shown, len(kinds), keyed[inputs.texts(keyed, "contrast") == contrasts[0]])
    parts = [tuple(key.split(_SEPARATOR)) for key in order]
    return Effects(
        {
            name: keyed[inputs.texts(keyed, "contrast") == name]
            .drop_duplicates("key")
            .set_index("key")
            .reindex(order)
            for name in contrasts
        },
        [_name(part[len(kinds) :]) for part in parts],
        [part[: len(kinds)] for part in parts],
        _reach(keyed),
        str(rows["effect_unit"].iloc[0]),
        int(best.size),
    )


def _only(table: pd.DataFrame, column: str, name: str | None) -> pd.DataFrame:
    if name is not None and column not in table:
        raise ParameterError(f"the table has no column {column!r}, so {column}={name!r} means nothing here")
    return inputs.rows_of(table, column, name)


def _order(shown: Sequence[str], n_kinds: int, first: pd.DataFrame) -> list[str]:
    """Return rows by what their clusters are clusters of, and by the effect of the first contrast."""
    effect = dict(zip(first["key"], first["effect"].astype(float), strict=True))
    parts = {key: tuple(key.split(_SEPARATOR)) for key in shown}
    return sorted(parts, key=lambda key: (parts[key][:n_kinds], -effect.get(key, -np.inf), parts[key]))


def _name(parts: Sequence[str]) -> str:
    """Return what stands beside a row: the cluster, and the marker where there is one."""
    if len(parts) == 1:
        return fitted_text.label(parts[0], 16)
    return f"{fitted_text.label(parts[0], 10)}  {fitted_text.label(parts[1], 12)}"


def _draw(shown: Effects) -> Figure:
    n = len(shown.of)
    kinds = any(shown.blocks)
    left = max(map(fitted_text.width_mm, shown.names)) + 5 + (16.0 if kinds else 0.0)
    beside, gap, head, foot, row = (42.0 if n == 1 else 0.0), 4.0, 15.0, 9.5, 3.7
    width = min((style.WIDTH_MM - left - 3 - beside - gap * (n - 1)) / n, 100.0)
    height = row * len(shown.names)
    sheet = Sheet(head + height + foot)
    _key(sheet, left, len(shown.names), shown.known)
    for position, (name, rows) in enumerate(shown.of.items()):
        axes = sheet.axes(Box(left + position * (width + gap), head, width, height), label=name)
        _panel(axes, rows, shown.reach)
        axes.set_yticks(range(len(rows)), shown.names if position == 0 else [])
        patients = [int(rows[f"n_patients_{side}"].max()) for side in "ba"]
        axes.set_title(fitted_text.fit(name, width - 20, style.FONT), size=style.FONT)
        axes.set_title(
            f"{patients[0]} : {patients[1]} patients", loc="right", size=style.SMALL, color=style.SOFT
        )
        _value_axis(axes, shown.unit)
    if n == 1:
        _write_p(sheet, rows, Box(left + width + 4, head, beside, height))
    _blocks(sheet, shown.blocks, head, row)
    return sheet.figure


def _write_p(sheet: Sheet, rows: pd.DataFrame, box: Box) -> None:
    """Write p and adjusted p beside the rows, and the smallest p that the design gives below them."""
    how: dict[str, Any] = {"size": style.SMALL, "color": style.SOFT}
    sheet.text(box.left, box.top - 3.4, "p", va="center", **how)
    sheet.text(box.left + 15, box.top - 3.4, "adjusted", va="center", **how)
    least = float(rows["p_minimum"].min())
    if np.isfinite(least):
        sheet.text(box.left, box.top + box.height + 2.5, f"least p of the design {_p(least)}", **how)
    for position, (p, adjusted) in enumerate(rows[["p_value", "p_adjusted"]].to_numpy(dtype=float)):
        y = box.top + box.height * (position + 0.6) / (len(rows) + 0.2)
        weight = "bold" if np.isfinite(adjusted) and adjusted <= CLEAR else "normal"
        sheet.text(box.left, y, _p(p), size=style.SMALL, va="center", weight=weight)
        sheet.text(box.left + 15, y, _p(adjusted), size=style.SMALL, va="center", weight=weight)


def _blocks(sheet: Sheet, blocks: Sequence[tuple[str, ...]], top: float, row: float) -> None:
    """Write what clusters are clusters of beside the first of each kind."""
    for position, block in enumerate(blocks):
        if block and (position == 0 or blocks[position - 1] != block):
            named = " ".join(fitted_text.label(part, 14) for part in block)
            sheet.text(
                1.0, top + row * (position + 0.5), fitted_text.fit(named, 18.0, style.SMALL), size=style.SMALL,
                color=style.SOFT, va="center",
            )  # fmt: skip


def _reach(rows: pd.DataFrame) -> float:
    """Return how far a panel goes on both sides: all effects, and of the intervals as much as most need."""
    effects = np.abs(rows["effect"].to_numpy(dtype=float))
    ends = np.abs(rows[["effect_low", "effect_high"]].to_numpy(dtype=float))
    ends = ends[np.isfinite(ends)]
    far = float(np.quantile(ends, 0.9)) if ends.size else 0.0
    return 1.08 * max(float(effects.max()), far, 0.1)


def _panel(axes: Axes, rows: pd.DataFrame, reach: float) -> None:
    axes.axvline(0, color=style.SOFT, linewidth=0.6, zorder=0, label="no difference")
    axes.set(xlim=(-reach, reach), ylim=(len(rows) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0, pad=5)
    axes.spines["left"].set_visible(False)
    for position, row in enumerate(rows.to_dict("records")):
        effect = float(row["effect"])
        if not np.isfinite(effect):
            axes.annotate(
                "no number", (0.5, position), xycoords=("axes fraction", "data"), ha="center", va="center",
                size=style.SMALL, color=style.SOFT,
            )  # fmt: skip
            continue
        colour = _UP if effect > 0 else _DOWN
        low, high = (float(row[f"effect_{side}"]) for side in ("low", "high"))
        if not (np.isnan(low) or np.isnan(high)):
            axes.plot(
                [max(low, -reach), min(high, reach)], [position, position], color=colour, linewidth=0.9,
                label=f"interval {position}",
            )  # fmt: skip
            for end, edge, mark in ((low, -reach, "<"), (high, reach, ">")):
                if abs(end) > reach and np.sign(end) == np.sign(edge):
                    axes.plot(
                        [edge], [position], mark, markersize=2.6, color=colour, clip_on=False, label="goes on"
                    )
        adjusted = float(row["p_adjusted"])
        clear = np.isfinite(adjusted) and adjusted <= CLEAR
        axes.plot(
            [effect], [position], "o", markersize=3.6, color=colour, markerfacecolor=colour if clear else style.WHITE,
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
