"""CAR-T cells over time, with what could and could not be detected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys, ordering
from cytocar._core.errors import ParameterError
from cytocar._core.vocabulary import DETECTED, DETECTION_CALLS, NOT_DETECTED, QUANTIFIED
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Sheet, grid, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = (
    keys.SAMPLE, keys.PATIENT, keys.MONTHS, "n_cd45", "n_car", "pct_of_cd45", "pct_low", "pct_high", "lod_events",
    "loq_events", "call",
)  # fmt: skip
_LIMITS = {
    "lod_events": ("LoD", "limit of detection", (0, (1, 1.5))),
    "loq_events": ("LoQ", "limit of quantitation", (0, (4, 2))),
}


@style.styled
def kinetics(frequency: pd.DataFrame, kinetics: pd.DataFrame | None = None) -> Figure:
    """Draw the CAR-T share of CD45+ cells over months, on a logarithmic axis, one panel a patient.

    Filled marks are measured shares with their exact 95 % interval; a sample without detection is an arrow down
    from the upper end of its interval, since it is an upper limit and not 0. Grey lines show the limits of
    detection and of quantitation of each sample. The broken line is the log-linear fall by the half-life in
    `kinetics`, through the quantified samples from the largest on.

    Parameters
    ----------
    frequency
        The table of `cytocar.tl.detection`. Samples without `months` (control tubes) are left out.
    kinetics
        The table of `cytocar.tl.kinetics`; half-life and fold fall are written into the panel.

    Returns
    -------
    Figure; an Axes is labelled with its patient.

    Raises
    ------
    ParameterError
        A column is missing, or no sample has months.

    Examples
    --------
    >>> import pandas
    >>> found = pandas.DataFrame({
    ...     "sample_id": ["a", "b"], "patient_id": "P1", "months": [2.0, 60.0], "n_cd45": 1000, "n_car": [30, 2],
    ...     "pct_of_cd45": [3.0, 0.2], "pct_low": [2.0, 0.02], "pct_high": [4.3, 0.7], "lod_events": 6.3,
    ...     "loq_events": 25.0, "call": ["quantified", "not_detected"]})
    >>> from cytocar import pl
    >>> pl.kinetics(found).axes[0].get_yscale()
    'log'
    """
    inputs.require(frequency, _COLUMNS, "the table of CAR-T frequencies")
    months = frequency[keys.MONTHS].to_numpy(dtype=float)
    table = frequency[np.isfinite(months)]
    if len(table) == 0:
        raise ParameterError("no sample has months, so there is no time to draw it over")
    patients = sorted(dict.fromkeys(table[keys.PATIENT].astype(str)), key=ordering.natural)
    columns = 1 if len(patients) == 1 else 2 if len(patients) <= 4 else 3 if len(patients) <= 12 else 5
    left, gap_x, head, foot = 15.0, 9.0 if columns < 5 else 6.0, 9.0, 9.0
    width = 118.0 if columns == 1 else style.WIDTH_MM - left - 3
    height = {1: 62.0, 2: 48.0, 3: 36.0, 5: 24.0}[columns]
    rows = rows_of(len(patients), columns)
    key_height = 0.0 if columns == 1 else 7.0
    sheet = Sheet(key_height + head + rows * height + (rows - 1) * (head + 6.0) + foot)
    boxes = grid(
        len(patients), columns=columns, left=left, top=key_height + head, width=width, height=height, gap_x=gap_x,
        gap_y=head + 6.0,
    )  # fmt: skip
    low, high = _limits(table)
    for place, (patient, box) in enumerate(zip(patients, boxes, strict=True)):
        part = table[table[keys.PATIENT].astype(str) == patient].sort_values(keys.MONTHS, kind="stable")
        axes = sheet.axes(box, label=patient)
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        measures = _measures(kinetics, patient)
        _draw(axes, part, measures, named=box.width if columns == 1 else 0.0)
        _months_axis(axes, part[keys.MONTHS].to_numpy(dtype=float), box.width)
        _percent_axis(axes, low, high)
        axes.set_title(fitted_text.label(patient, 18 if columns < 5 else 9), pad=11 if columns < 5 else 9)
        axes.annotate(
            _n_text(part, short=columns == 5), (0, 1), xycoords="axes fraction", xytext=(0, 2.5),
            textcoords="offset points", size=style.SMALL, color=style.SOFT,
        )  # fmt: skip
        if place % columns == 0:
            axes.set_ylabel("CAR-T, % of CD45+ cells" if columns < 5 else "CAR-T, %")
        elif columns == 5:
            axes.tick_params(axis="y", labelleft=False)
        if place + columns >= len(patients):
            axes.set_xlabel("months after infusion")
        if columns == 1:
            _write_measures(sheet, left + width + 6, head + 25, measures)
    calls = [call for call in DETECTION_CALLS if (table["call"].astype(str) == call).any()]
    fitted = any(line.get_label() == "fit" for axes in sheet.figure.axes for line in axes.lines)
    limits = {line.get_label() for axes in sheet.figure.axes for line in axes.lines}
    _key(
        sheet,
        calls,
        fitted,
        [limit for limit in _LIMITS.values() if limit[0] in limits],
        beside=left + width + 6 if columns == 1 else None,
        left=left,
        top=head,
    )
    return sheet.figure


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return one axis for all panels, from below the lowest limit to above the highest interval."""
    lod = 100 * table["lod_events"].to_numpy(dtype=float) / table["n_cd45"].to_numpy(dtype=float)
    detected = table["call"].astype(str).to_numpy() != NOT_DETECTED
    high = table["pct_high"].to_numpy(dtype=float)
    # an upper limit has an arrow below it, which must be on the page too
    low = np.concatenate([lod, table["pct_low"].to_numpy(dtype=float)[detected], 0.45 * high[~detected]])
    low = low[np.isfinite(low) & (low > 0)]
    high = high[np.isfinite(high) & (high > 0)]
    top = float(high.max()) if high.size else 100.0
    bottom = float(low.min()) if low.size else top / 100
    return min(bottom / 1.8, top / 12), min(top * 2.0, 150.0)


def _measures(kinetics: pd.DataFrame | None, patient: str) -> dict[str, tuple[float, float, float, str]]:
    if kinetics is None or len(kinetics) == 0:
        return {}
    inputs.require(
        kinetics, (keys.PATIENT, "measure", "value", "low", "high", "unit"), "the table of kinetics"
    )
    rows = kinetics[kinetics[keys.PATIENT].astype(str) == patient]
    return {
        str(measure): (float(value), float(low), float(high), str(unit))
        for measure, value, low, high, unit in zip(
            rows["measure"], rows["value"], rows["low"], rows["high"], rows["unit"], strict=True
        )
    }


def _draw(
    axes: Axes, part: pd.DataFrame, measures: dict[str, tuple[float, float, float, str]], *, named: float
) -> None:
    months = part[keys.MONTHS].to_numpy(dtype=float)
    share, low, high = (part[c].to_numpy(dtype=float) for c in ("pct_of_cd45", "pct_low", "pct_high"))
    call = part["call"].astype(str).to_numpy()
    whole = part["n_cd45"].to_numpy(dtype=float)
    span = float(months.max() - months.min()) or 12.0
    axes.set_xlim(min(0.0, float(months.min())) - 0.03 * span, float(months.max()) + 0.04 * span)
    for column, (name, _, line) in _LIMITS.items():
        limit = 100 * part[column].to_numpy(dtype=float) / whole
        known = np.isfinite(limit) & (limit > 0)
        if not known.any():
            continue
        # a single sample has a limit too: a short stretch about its time
        x, y = months[known], limit[known]
        if x.size == 1:
            x, y = np.array([x[0] - 0.03 * span, x[0] + 0.03 * span]), np.repeat(y, 2)
        axes.plot(x, y, linestyle=line, color=style.SOFT, linewidth=0.8, label=name, zorder=1)
    half_life = measures.get("half_life", (np.nan,))[0]
    use = call == QUANTIFIED
    if np.isfinite(half_life) and half_life > 0 and use.sum() > 1:
        use = use & (np.arange(len(use)) >= int(np.argmax(np.where(use, share, -np.inf))))
        x, y = months[use], np.log(share[use])
        rate = np.log(2) / half_life
        line_x = np.array([x.min(), x.max()])
        fit = np.exp(y.mean() - rate * (line_x - x.mean()))
        axes.plot(
            line_x,
            fit,
            color=style.subset_colour(keys.CAR),
            linewidth=1.0,
            linestyle=(0, (6, 2)),
            label="fit",
        )
    found = call != NOT_DETECTED
    if found.any():
        axes.errorbar(
            months[found], share[found], yerr=np.clip([(share - low)[found], (high - share)[found]], 0, None),
            fmt="none", ecolor=style.INK, elinewidth=0.9, capsize=1.8, capthick=0.7, zorder=3, label="intervals",
        )  # fmt: skip
    for name in (QUANTIFIED, DETECTED):
        mine = call == name
        if mine.any():
            axes.plot(
                months[mine], share[mine], linestyle="none", marker=style.CALL_MARKERS[name], markersize=4.5,
                color=style.CALL_COLOURS[name], markeredgecolor=style.INK, markeredgewidth=0.6, label=name, zorder=4,
            )  # fmt: skip
    below = ~found
    if below.any():
        axes.errorbar(
            months[below], high[below], yerr=0.55 * high[below], uplims=True, fmt="none", ecolor=style.INK,
            elinewidth=0.9, capsize=2.0, zorder=3, label=NOT_DETECTED,
        )  # fmt: skip
    if named and keys.TIMEPOINT in part:
        _name_points(axes, months, high, part[keys.TIMEPOINT].astype(str).tolist(), named)


def _name_points(axes: Axes, x: np.ndarray, top: np.ndarray, names: Sequence[str], width: float) -> None:
    """Write timepoints above their marks as long as they do not touch."""
    left, right = axes.get_xlim()
    free_from = -np.inf
    for place, name in enumerate(names):
        text = fitted_text.label(name, 10)
        half = fitted_text.width_mm(text, style.SMALL) / 2 + 0.3
        middle = (x[place] - left) / (right - left) * width
        if middle - half < free_from:
            continue
        free_from = middle + half
        axes.annotate(
            text, (x[place], top[place]), xytext=(0, 3.5), textcoords="offset points", ha="center", size=style.SMALL,
            bbox={"boxstyle": "square,pad=0.08", "fc": style.WHITE, "ec": "none", "alpha": 0.85}, zorder=3,
        )  # fmt: skip


def _months_axis(axes: Axes, months: np.ndarray, width_mm: float) -> None:
    """Put ticks at the months of the samples; labels only where they do not touch."""
    left, right = axes.get_xlim()
    shown, silent, free_from = [], [], -np.inf
    for month in sorted(set(months.tolist())):
        half = fitted_text.width_mm(f"{month:g}") / 2 + 0.4
        middle = (month - left) / (right - left) * width_mm
        if middle - half >= free_from:
            shown.append(month)
            free_from = middle + half
        else:
            silent.append(month)
    axes.set_xticks(shown, [f"{month:g}" for month in shown])
    axes.set_xticks(silent, minor=True)


def _percent_axis(axes: Axes, low: float, high: float) -> None:
    """Label decades in plain numbers, and 2 and 5 where the axis spans little."""
    from matplotlib.ticker import FixedLocator, NullFormatter

    wide = np.log10(high / low) > 3.2
    steps = (1,) if wide else (1, 3)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    major = [step * 10.0**decade for decade in decades for step in steps]
    major = [value for value in major if low <= value <= min(high, 100)]
    minor = [step * 10.0**decade for decade in decades for step in range(1, 10)]
    axes.set_yticks(major, [f"{value:g}" for value in major])
    axes.yaxis.set_minor_locator(
        FixedLocator([v for v in minor if low <= v <= min(high, 100) and v not in major])
    )
    axes.yaxis.set_minor_formatter(NullFormatter())


def _n_text(part: pd.DataFrame, *, short: bool) -> str:
    text = f"{fitted_text.n_range(part['n_car'])} CAR-T"
    return text if short else f"{text} of {fitted_text.n_range(part['n_cd45'])[4:]} CD45+ cells"


def _write_measures(
    sheet: Sheet, left: float, top: float, measures: dict[str, tuple[float, float, float, str]]
) -> None:
    lines = []
    for measure, words in (
        ("largest_observed", "largest observed"),
        ("half_life", "half-life"),
        ("fold_fall", "fall"),
        ("auc_linear_log", "area (linear, log)"),
    ):
        value, low, high, unit = measures.get(measure, (np.nan, np.nan, np.nan, ""))
        if not np.isfinite(value):
            continue
        unit = fitted_text.label("" if unit == "nan" else unit)
        lines.append(f"{words}\n  {_number(value)} {unit}".rstrip())
        if np.isfinite(low) or np.isfinite(high):
            lines[-1] += f"\n  ({_number(low)} to {_number(high)})"
    if lines:
        sheet.text(left, top, "\n".join(lines), linespacing=1.35)


def _number(value: float) -> str:
    return "∞" if np.isinf(value) else f"{value:.3g}"


def _key(
    sheet: Sheet,
    calls: Sequence[str],
    fitted: bool,
    limits: Sequence[tuple[str, str, Any]],
    *,
    beside: float | None,
    left: float,
    top: float,
) -> None:
    from matplotlib.lines import Line2D

    handles, names = [], []
    for call in calls:
        marker = r"$\downarrow$" if call == NOT_DETECTED else style.CALL_MARKERS[call]
        colour = style.INK if call == NOT_DETECTED else style.CALL_COLOURS[call]
        handles.append(
            Line2D(
                [], [], linestyle="none", marker=marker, color=colour, markersize=5, markeredgecolor=style.INK,
                markeredgewidth=0.5,
            )
        )  # fmt: skip
        names.append("not detected: upper limit" if call == NOT_DETECTED else call)
    if fitted:
        handles.append(
            Line2D([], [], color=style.subset_colour(keys.CAR), linestyle=(0, (6, 2)), linewidth=1.0)
        )
        names.append("log-linear fall")
    for _, words, line in reversed(limits):
        handles.append(Line2D([], [], color=style.SOFT, linestyle=line, linewidth=0.8))
        names.append(words)
    if beside is not None:
        sheet.legend(beside, top, handles, names, handlelength=1.8)
    else:
        sheet.legend(left, 2.0, handles, names, ncols=len(names), handlelength=1.8)
