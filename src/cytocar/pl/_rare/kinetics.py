"""CAR-T cells over time, with what could and could not be detected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys, ordering, palette
from cytocar._core.errors import ParameterError
from cytocar._core.population_words import words
from cytocar._core.vocabulary import DETECTED, DETECTION_CALLS, NOT_DETECTED, QUANTIFIED
from cytocar.pl._page import fitted_text, inputs, style
from cytocar.pl._page.sheet import Sheet, grid, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from numpy.typing import NDArray

_COLUMNS = (
    keys.SAMPLE, keys.PATIENT, keys.MONTHS, "n_cd45", "n_car", "pct_of_cd45", "pct_low", "pct_high", "lod_events",
    "loq_events", "call",
)  # fmt: skip
_FALL = (0, (6, 2))
"""Dashes of the fitted line."""


@style.styled
def kinetics(frequency: pd.DataFrame, kinetics: pd.DataFrame | None = None) -> Figure:
    """Draw the CAR-T share of CD45+ cells over months, on a logarithmic axis, one panel per patient.

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
    return _draw(arrange(frequency, kinetics))


Measure = tuple[float, float, float, str]
"""Value, ends of its interval, unit."""


@dataclass(frozen=True)
class Course:
    """One patient over time."""

    patient: str
    points: pd.DataFrame
    """Rows of the table of frequencies by `months`, with ``lod_pct`` and ``loq_pct`` (% of CD45+ cells)."""
    fall: NDArray[np.float64] | None
    """Both ends of the fitted line (months, %); None where no half-life is known."""
    measures: Mapping[str, Measure]


@dataclass(frozen=True)
class Courses:
    """All patients, on one axis from `low` to `high` (%)."""

    of: list[Course]
    low: float
    high: float

    def calls(self) -> list[str]:
        """Return the calls that occur, from the most that can be said to the least."""
        present = {str(call) for course in self.of for call in course.points["call"]}
        return [call for call in DETECTION_CALLS if call in present]

    def limits(self) -> list[_Limit]:
        """Return the limits that any sample has."""
        return [limit for limit in _LIMITS if any(_usable(c.points[limit.column]).any() for c in self.of)]


@dataclass(frozen=True)
class _Limit:
    column: str
    short: str
    name: str
    line: Any


_LIMITS = (
    _Limit("lod_pct", "LoD", "limit of detection", (0, (1, 1.5))),
    _Limit("loq_pct", "LoQ", "limit of quantitation", (0, (4, 2))),
)


def arrange(frequency: pd.DataFrame, kinetics: pd.DataFrame | None = None) -> Courses:
    """Arrange what `kinetics` draws."""
    inputs.require(frequency, _COLUMNS, "the table of CAR-T frequencies")
    table = frequency[np.isfinite(frequency[keys.MONTHS].to_numpy(dtype=float))]
    if len(table) == 0:
        raise ParameterError("no sample has months, so there is no time to draw it over")
    whole = table["n_cd45"].to_numpy(dtype=float)
    percent = {
        f"{limit}_pct": 100 * table[f"{limit}_events"].to_numpy(dtype=float) / whole
        for limit in ("lod", "loq")
    }
    table = table.assign(call=inputs.texts(table, "call"), **percent)
    courses = []
    for patient in sorted(inputs.distinct(table, keys.PATIENT), key=ordering.natural):
        points = table[inputs.texts(table, keys.PATIENT) == patient].sort_values(keys.MONTHS, kind="stable")
        measures = _measures(kinetics, patient)
        half_life = measures.get("half_life", (np.nan,))[0]
        courses.append(Course(patient, points, _fall(points, half_life), measures))
    return Courses(courses, *_ends(table))


def _ends(table: pd.DataFrame) -> tuple[float, float]:
    """Return one axis for all panels, from below the lowest limit to above the highest interval."""
    detected = table["call"].to_numpy() != NOT_DETECTED
    high = table["pct_high"].to_numpy(dtype=float)
    # an upper limit has an arrow below it, which must be on the page too
    low = np.concatenate(
        [
            table["lod_pct"].to_numpy(dtype=float),
            table["pct_low"].to_numpy(dtype=float)[detected],
            0.45 * high[~detected],
        ]
    )
    low = low[np.isfinite(low) & (low > 0)]
    high = high[np.isfinite(high) & (high > 0)]
    top = float(high.max()) if high.size else 100.0
    bottom = float(low.min()) if low.size else top / 100
    return min(bottom / 1.8, top / 12), min(top * 2.0, 150.0)


def _fall(points: pd.DataFrame, half_life: float) -> NDArray[np.float64] | None:
    """Return both ends of the log-linear fall through the quantified samples, from the largest on."""
    quantified = points["call"].to_numpy() == QUANTIFIED
    if not (np.isfinite(half_life) and half_life > 0 and quantified.sum() > 1):
        return None
    share = points["pct_of_cd45"].to_numpy(dtype=float)
    first = int(np.argmax(np.where(quantified, share, -np.inf)))
    used = quantified & (np.arange(len(points)) >= first)
    months, logs = points[keys.MONTHS].to_numpy(dtype=float)[used], np.log(share[used])
    ends = np.array([months.min(), months.max()])
    return np.column_stack([ends, np.exp(logs.mean() - np.log(2) / half_life * (ends - months.mean()))])


def _measures(kinetics: pd.DataFrame | None, patient: str) -> dict[str, Measure]:
    if kinetics is None or len(kinetics) == 0:
        return {}
    columns = ("measure", "value", "low", "high", "unit")
    inputs.require(kinetics, (keys.PATIENT, *columns), "the table of kinetics")
    rows = kinetics[inputs.texts(kinetics, keys.PATIENT) == patient]
    return {
        str(measure): (float(value), float(low), float(high), str(unit))
        for measure, value, low, high, unit in zip(*(rows[column] for column in columns), strict=True)
    }


@dataclass(frozen=True)
class _Layout:
    """Panels of a page: one patient has a large panel, many have small ones; millimetres."""

    columns: int
    width: float
    height: float
    gap_x: float = 9.0
    key: float = 7.0
    """Height of the key above the panels; that of one patient stands beside the panel."""

    left = 15.0
    head = 9.0
    foot = 9.0

    @property
    def beside(self) -> float:
        return self.left + self.width + 6

    @property
    def small(self) -> bool:
        return self.columns == 5


def _layout(n_patients: int) -> _Layout:
    if n_patients == 1:
        return _Layout(1, 118.0, 62.0, key=0.0)
    width = style.WIDTH_MM - _Layout.left - 3
    if n_patients <= 4:
        return _Layout(2, width, 48.0)
    return _Layout(3, width, 36.0) if n_patients <= 12 else _Layout(5, width, 24.0, gap_x=6.0)


def _draw(courses: Courses) -> Figure:
    n = len(courses.of)
    page = _layout(n)
    rows = rows_of(n, page.columns)
    gap_y = page.head + 6.0
    sheet = Sheet(page.key + page.head + rows * page.height + (rows - 1) * gap_y + page.foot)
    boxes = grid(
        n, columns=page.columns, left=page.left, top=page.key + page.head, width=page.width, height=page.height,
        gap_x=page.gap_x, gap_y=gap_y,
    )  # fmt: skip
    for position, (course, box) in enumerate(zip(courses.of, boxes, strict=True)):
        axes = sheet.axes(box, label=course.patient)
        axes.set_yscale("log")
        axes.set_ylim(courses.low, courses.high)
        _draw_course(axes, course, named=box.width if n == 1 else 0.0)
        _months_axis(axes, course.points[keys.MONTHS].to_numpy(dtype=float), box.width)
        _percent_axis(axes, courses.low, courses.high)
        _name_panel(axes, course, small=page.small)
        if position % page.columns == 0:
            axes.set_ylabel(words().say("CAR-T, %" if page.small else "CAR-T, % of CD45+ cells"))
        elif page.small:
            axes.tick_params(axis="y", labelleft=False)
        if position + page.columns >= n:
            axes.set_xlabel("months after infusion")
    if n == 1:
        _write_measures(sheet, page.beside, page.head + 25, courses.of[0].measures)
    handles, names = _key(courses)
    if n == 1:
        sheet.legend(page.beside, page.head, handles, names, handlelength=1.8)
    else:
        sheet.legend(page.left, 2.0, handles, names, ncols=len(names), handlelength=1.8)
    return sheet.figure


def _name_panel(axes: Axes, course: Course, *, small: bool) -> None:
    """Write the patient and the numbers of cells above a panel."""
    axes.set_title(fitted_text.label(course.patient, 9 if small else 18), pad=9 if small else 11)
    counted = f"{fitted_text.n_range(course.points['n_car'])} {words().car}"
    if not small:
        counted += f" of {fitted_text.n_range(course.points['n_cd45'])[4:]} {words().denominator_cells}"
    axes.annotate(
        counted, (0, 1), xycoords="axes fraction", xytext=(0, 2.5), textcoords="offset points", size=style.SMALL,
        color=style.SOFT,
    )  # fmt: skip


def _draw_course(axes: Axes, course: Course, *, named: float) -> None:
    """Draw limits, fitted fall and samples; with `named`, the width in mm, also their timepoints."""
    points = course.points
    months = points[keys.MONTHS].to_numpy(dtype=float)
    span = float(months.max() - months.min()) or 12.0
    axes.set_xlim(min(0.0, float(months.min())) - 0.03 * span, float(months.max()) + 0.04 * span)
    for limit in _LIMITS:
        _draw_limit(axes, points, limit, span)
    if course.fall is not None:
        colour = palette.subset_colour(keys.CAR)
        axes.plot(*course.fall.T, color=colour, linewidth=1.0, linestyle=_FALL, label="fit")
    _draw_samples(axes, points, months)
    if named and keys.TIMEPOINT in points:
        top = points["pct_high"].to_numpy(dtype=float)
        _name_points(axes, months, top, inputs.texts(points, keys.TIMEPOINT).tolist(), named)


def _usable(percent: pd.Series) -> NDArray[np.bool_]:
    """Return which limits can be drawn on a logarithmic axis."""
    values = percent.to_numpy(dtype=float)
    return np.asarray(np.isfinite(values) & (values > 0))


def _draw_limit(axes: Axes, points: pd.DataFrame, limit: _Limit, span: float) -> None:
    usable = _usable(points[limit.column])
    if not usable.any():
        return
    x, y = (points[column].to_numpy(dtype=float)[usable] for column in (keys.MONTHS, limit.column))
    if x.size == 1:  # a single sample has a limit too: a short stretch about its time
        x, y = np.array([x[0] - 0.03 * span, x[0] + 0.03 * span]), np.repeat(y, 2)
    axes.plot(x, y, linestyle=limit.line, color=style.SOFT, linewidth=0.8, label=limit.short, zorder=1)


def _draw_samples(axes: Axes, points: pd.DataFrame, months: np.ndarray) -> None:
    """Draw measured shares as marks with intervals, and upper limits as arrows."""
    share, low, high = (points[c].to_numpy(dtype=float) for c in ("pct_of_cd45", "pct_low", "pct_high"))
    call = points["call"].to_numpy()
    above, below = call != NOT_DETECTED, call == NOT_DETECTED
    if above.any():
        axes.errorbar(
            months[above], share[above], yerr=np.clip([(share - low)[above], (high - share)[above]], 0, None),
            fmt="none", ecolor=style.INK, elinewidth=0.9, capsize=1.8, capthick=0.7, zorder=3, label="intervals",
        )  # fmt: skip
    for name in (QUANTIFIED, DETECTED):
        of_call = call == name
        if of_call.any():
            axes.plot(
                months[of_call], share[of_call], linestyle="none", marker=style.CALL_MARKERS[name], markersize=4.5,
                color=style.CALL_COLOURS[name], markeredgecolor=style.INK, markeredgewidth=0.6, label=name, zorder=4,
            )  # fmt: skip
    if below.any():
        axes.errorbar(
            months[below], high[below], yerr=0.55 * high[below], uplims=True, fmt="none", ecolor=style.INK,
            elinewidth=0.9, capsize=2.0, zorder=3, label=NOT_DETECTED,
        )  # fmt: skip


def _name_points(axes: Axes, x: np.ndarray, top: np.ndarray, names: Sequence[str], width: float) -> None:
    """Write timepoints above their marks as long as they do not touch."""
    left, right = axes.get_xlim()
    free_from = -np.inf
    for position, name in enumerate(names):
        text = fitted_text.label(name, 10)
        half = fitted_text.width_mm(text, style.SMALL) / 2 + 0.3
        middle = (x[position] - left) / (right - left) * width
        if middle - half < free_from:
            continue
        free_from = middle + half
        axes.annotate(
            text, (x[position], top[position]), xytext=(0, 3.5), textcoords="offset points", ha="center",
            size=style.SMALL, zorder=3,
            bbox={"boxstyle": "square,pad=0.08", "fc": style.WHITE, "ec": "none", "alpha": 0.85},
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


def _write_measures(sheet: Sheet, left: float, top: float, measures: Mapping[str, Measure]) -> None:
    lines = []
    for measure, name in (
        ("largest_observed", "largest observed"),
        ("half_life", "half-life"),
        ("fold_fall", "fall"),
        ("auc_linear_log", "area (linear, log)"),
    ):
        value, low, high, unit = measures.get(measure, (np.nan, np.nan, np.nan, ""))
        if not np.isfinite(value):
            continue
        unit = fitted_text.label("" if unit == "nan" else unit)
        lines.append(f"{name}\n  {_number(value)} {unit}".rstrip())
        if np.isfinite(low) or np.isfinite(high):
            lines[-1] += f"\n  ({_number(low)} to {_number(high)})"
    if lines:
        sheet.text(left, top, "\n".join(lines), linespacing=1.35)


def _number(value: float) -> str:
    return "∞" if np.isinf(value) else f"{value:.3g}"


def _key(courses: Courses) -> tuple[list[Line2D], list[str]]:
    """Return what stands in the key: the calls that occur, the fall, the limits."""
    from matplotlib.lines import Line2D

    handles, names = [], []
    for call in courses.calls():
        marker = r"$\downarrow$" if call == NOT_DETECTED else style.CALL_MARKERS[call]
        colour = style.INK if call == NOT_DETECTED else style.CALL_COLOURS[call]
        handles.append(
            Line2D(
                [], [], linestyle="none", marker=marker, color=colour, markersize=5, markeredgecolor=style.INK,
                markeredgewidth=0.5,
            )
        )  # fmt: skip
        names.append("not detected: upper limit" if call == NOT_DETECTED else call)
    if any(course.fall is not None for course in courses.of):
        handles.append(Line2D([], [], color=palette.subset_colour(keys.CAR), linestyle=_FALL, linewidth=1.0))
        names.append("log-linear fall")
    for limit in reversed(courses.limits()):
        handles.append(Line2D([], [], color=style.SOFT, linestyle=limit.line, linewidth=0.8))
        names.append(limit.name)
    return handles, names
