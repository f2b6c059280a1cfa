"""One threshold over all samples: the density it was found in, its number, and how far it may move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.pl._gates.thresholds import FOUND, SECOND, STATED, is_yes, rule_in_words
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Box, Sheet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OVERLAP = 1.7
_HIGHEST = 3.0
_HILL = style.HILL
_RANGE = style.SAND


@style.styled
def ridges(
    densities: pd.DataFrame,
    thresholds: pd.DataFrame,
    *,
    name: str | None = None,
    samples: pd.DataFrame | None = None,
) -> Figure:
    """Draw one threshold over all samples: a ridge a sample, the number as a line, its range as a band.

    A line that lies elsewhere than in the other samples, or on the side of a hill, shows at once. The height of a
    ridge is the square root of the density, and what rises above three times the highest place from half the number
    upwards is cut, so that a hump of one cell in a hundred can be seen beside its threshold.

    Parameters
    ----------
    densities
        `sample_id`, `name`, `x` (arcsinh units), `density`, as `cytocar.gate.densities` returns them.
    thresholds
        `sample_id`, `name`, `value`, `rule`, `confidence`, `pinned` and, where known, `fallback`, `low` and `high`
        (95 % range), as `cytocar.gate.thresholds` returns them.
    name
        Which threshold; default the one that is found in known negatives (that of the CAR), else the first.
    samples
        A table with `sample_id` and, as far as known, `patient_id`, `months`: samples are drawn in this order.

    Returns
    -------
    Figure with the Axes ``ridges``.

    Raises
    ------
    ParameterError
        A column is missing, there are no rows, or the name is unknown.

    Examples
    --------
    >>> import pandas
    >>> curve = pandas.DataFrame({"sample_id": "a", "name": "CD3", "x": [0.0, 2.0, 4.0], "density": [0.5, 0.1, 0.4]})
    >>> found = pandas.DataFrame({"sample_id": ["a"], "name": ["CD3"], "value": [2.0], "rule": ["valley"],
    ...                           "confidence": [0.9], "pinned": [False]})
    >>> ridges(curve, found).axes[0].get_xlabel()
    'CD3, arcsinh units'
    """
    inputs.require(densities, (keys.SAMPLE, "name", "x", "density"), "the table of densities")
    inputs.require(
        thresholds, (keys.SAMPLE, "name", "value", "rule", "confidence", "pinned"), "the table of thresholds"
    )
    name = usual_name(thresholds) if name is None else name
    known = list(dict.fromkeys(thresholds["name"].astype(str)))
    if name not in known:
        raise ParameterError(f"{name!r} is not a threshold of the table", fix=did_you_mean(name, known))
    rows = {
        str(row[keys.SAMPLE]): row
        for row in thresholds[thresholds["name"].astype(str) == name].to_dict("records")
    }
    mine = densities[densities["name"].astype(str) == name]
    curves = {
        sample: (part["x"].to_numpy(dtype=float), part["density"].to_numpy(dtype=float))
        for sample, part in mine.groupby(mine[keys.SAMPLE].astype(str), sort=False)
    }
    if not curves:
        raise ParameterError(
            f"the table of densities has none of threshold {name!r}, so there is nothing to draw"
        )
    order = inputs.sample_order(rows, samples)
    tags = {sample: fitted_text.label(sample, 22) for sample in order}
    left = max(fitted_text.width_mm(tag, style.SMALL) for tag in tags.values()) + 3
    right, top, foot = 54.0, 9.5, 9.0
    ridge = float(np.clip(150.0 / len(order), 4.2, 9.0))
    width = style.WIDTH_MM - left - right
    height = ridge * (len(order) + _OVERLAP - 1 + 0.1)
    sheet = Sheet(top + height + foot)
    axes = sheet.axes(Box(left, top, width, height), label="ridges")
    low, high = (float(pick([pick(x) for x, _ in curves.values()])) for pick in (np.min, np.max))
    axes.set(xlim=(low, high), ylim=(-0.1, len(order) + _OVERLAP - 1))
    axes.set_yticks(
        [len(order) - 1 - i + 0.1 for i in range(len(order))], list(tags.values()), size=style.SMALL
    )
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{fitted_text.label(name, 20)}, arcsinh units")
    spread = cut = False
    for place, sample in enumerate(order):
        base = len(order) - 1 - place
        if sample in curves:
            value = float(rows[sample]["value"])
            cut |= _hill(axes, *curves[sample], value, base=base, zorder=3 * place, label=sample)
        spread |= _line(axes, rows[sample], base=base, zorder=3 * place + 1)
        words = _words(rows[sample])
        at = top + height - (base + 0.1 + 0.1) * height / (len(order) + _OVERLAP - 1 + 0.1)
        sheet.text(left + width + 3, at, words, size=style.SMALL, va="center", color=_colour(rows[sample]))
    _key(sheet, left, list(rows.values()), spread)
    note = "height: square root of density" + (", tops cut" if cut else "")
    sheet.text(style.WIDTH_MM - 3, 1.7, note, ha="right", size=style.SMALL, color=style.SOFT)
    return sheet.figure


def usual_name(thresholds: pd.DataFrame) -> str:
    """Return the threshold that decides most: that of a rare population, found in known negatives; else the first."""
    rare = thresholds[thresholds["rule"].astype(str) == "negatives"]
    return str((rare if len(rare) else thresholds)["name"].iloc[0])


def _hill(
    axes: Axes, x: np.ndarray, y: np.ndarray, value: float, *, base: float, zorder: int, label: str
) -> bool:
    """Draw a density; say whether its top had to be cut."""
    y = np.sqrt(np.clip(y, 0, None))
    near = y[x > value / 2] if np.isfinite(value) else y
    top = float(y.max())
    most = min(top, _HIGHEST * float(near.max())) if near.size and near.max() > 0 else top
    y = _OVERLAP * 0.95 * np.minimum(y, most) / most if most > 0 else y
    axes.fill_between(
        x,
        base,
        base + y,
        facecolor=_HILL,
        edgecolor=style.WHITE,
        linewidth=0.6,
        zorder=zorder,
        label=f"density {label}",
    )
    return most < top


def _line(axes: Axes, row: Mapping[Any, Any], *, base: float, zorder: int) -> bool:
    """Draw the number of a sample and, where it is known, its range; say whether that was."""
    value = float(row["value"])
    if not np.isfinite(value):
        return False
    low, high = (float(row.get(side, np.nan)) for side in ("low", "high"))
    known = bool(np.isfinite(low) and np.isfinite(high) and high > low)
    if known:
        axes.fill_between(
            [low, high], base, base + 0.9, color=_RANGE, alpha=0.75, linewidth=0, zorder=zorder, label="range"
        )
    axes.plot(
        [value, value], [base, base + 0.9], color=_colour(row), linewidth=1.2, zorder=zorder + 1, label="threshold",
        solid_capstyle="butt",
    )  # fmt: skip
    return known


def _colour(row: Mapping[Any, Any]) -> str:
    if not np.isfinite(float(row["value"])):
        return style.SOFT
    return STATED if is_yes(row["pinned"]) else SECOND if is_yes(row.get("fallback", False)) else FOUND


def _words(row: Mapping[Any, Any]) -> str:
    """Return what stands beside a ridge: the number, its range, and how it came about."""
    value = float(row["value"])
    if not np.isfinite(value):
        return fitted_text.label(row["rule"], 24)
    words = f"{value:.2f}"
    low, high = (float(row.get(side, np.nan)) for side in ("low", "high"))
    if np.isfinite(low) and np.isfinite(high):
        words += f" ({low:.2f} to {high:.2f})"
    words += "  stated" if is_yes(row["pinned"]) else f"  {rule_in_words(row['rule'])}"
    confidence = row["confidence"]
    if not is_yes(row["pinned"]) and confidence is not None and np.isfinite(float(confidence)):
        words += f" {float(confidence):.2f}"
    return words


def _key(sheet: Sheet, left: float, rows: Sequence[Mapping[Any, Any]], spread: bool) -> None:
    """Explain the colours that occur."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    words = {FOUND: "found (its confidence)", SECOND: "by a fallback rule", STATED: "stated"}
    used = {_colour(row) for row in rows}
    shown = [colour for colour in words if colour in used]
    handles: list[Any] = [Line2D([], [], color=colour, linewidth=1.2) for colour in shown]
    names = [words[colour] for colour in shown]
    if spread:
        handles.append(Patch(color=_RANGE, linewidth=0))
        names.append("95 % range")
    sheet.legend(left, 1.5, handles, names, ncols=4)
