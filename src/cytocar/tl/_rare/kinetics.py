"""How long CAR-T cells last: what a handful of samples of one patient can say, and what they cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks, keys
from cytocar._core.errors import ParameterError
from cytocar._core.seeds import generator
from cytocar._core.vocabulary import CONTROL_ROLE, DAYS_PER_MONTH, NOT_DETECTED, QUANTIFIED
from cytocar.tl import _counts

if TYPE_CHECKING:
    import pandas as pd


LAST_DAY_OF_PEAK = 28
_WHAT = "the table of frequencies"
_COLUMNS = (keys.PATIENT, "measure", "value", "low", "high", "unit", "note")


@dataclass(frozen=True)
class Series:
    """The samples of one patient in order of time.

    Parameters
    ----------
    months, values
        Time after infusion, and the share (%) or concentration.
    low, high
        Interval of each value, NaN where unknown.
    quantified, detected
        Which samples count as such.
    labels
        How each sample is called in names of measures.
    draws
        (draws, samples): values drawn from what the counts leave possible, or None without counts.
    unit
        Of the values.
    """

    months: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    quantified: np.ndarray
    detected: np.ndarray
    labels: tuple[str, ...]
    draws: np.ndarray | None
    unit: str


def kinetics(
    frequency: pd.DataFrame,
    *,
    level: float = 0.95,
    technical_cv: float = 0.0,
    n_draws: int = 4000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return persistence measures of every patient, with intervals from the counts and reasons where there is none.

    Values below the limit of quantitation are censored: they enter neither area nor half-life, and are not 0. Intervals
    of derived measures come from `n_draws` draws of each share from Beta(n_car + 1/2, n_cd45 - n_car + 1/2): they
    hold the counting error, and that of the assay and the day only where `technical_cv` says how large it is: each
    draw is then multiplied by a log-normal number of that coefficient of variation.

    Parameters
    ----------
    frequency
        The table of `cytocar.tl.detection`; at least `patient_id`, `months` and `pct_of_cd45` (%). Without `call` every
        value above 0 counts as quantified; without `n_car` and `n_cd45` derived measures have no interval. Samples
        without `months`, before month 0, or with the role ``negative_control`` are left out.
    level
        Confidence of the intervals.
    technical_cv
        Coefficient of variation of one sample stained, run and gated again, as a share such as 0.15; 0 leaves it out.
    n_draws
        Draws, at least 100.
    seed
        Seed of the draws.

    Returns
    -------
    DataFrame
        ``patient_id, measure, value, low, high, unit, note``, per patient: ``largest_observed``,
        ``largest_observed_time``, ``last_detected``, ``last_quantified`` (months), ``auc_linear_log`` (linear while it
        rises, logarithmic while it falls), ``auc_trapezoid`` (over the quantified samples), ``half_life`` (log-linear
        least squares from the largest value on, three or more quantified samples), ``half_life_<a>_to_<b>`` between
        samples that follow each other, ``fold_fall`` (largest to last quantified). A measure that cannot be
        given is NaN, and `note` says why. Where the table has ``cells_per_ul``, the same measures follow with the
        ending ``_per_ul``.

    Raises
    ------
    ParameterError
        A column is missing, a patient has two samples at one time, `n_draws` is below 100, or `technical_cv` negative.

    Examples
    --------
    >>> import pandas
    >>> series = pandas.DataFrame(
    ...     {"patient_id": "P1", "months": [2, 12, 36, 60], "pct_of_cd45": [3.01, 1.04, 0.49, 0.24]}
    ... )
    >>> found = kinetics(series).set_index("measure")["value"]
    >>> round(float(found["half_life"]), 2), round(float(found["fold_fall"]), 3)
    (17.24, 12.542)
    """
    import pandas as pd

    _counts.require_columns(frequency, (keys.PATIENT, keys.MONTHS, "pct_of_cd45"), _WHAT)
    if n_draws < 100:
        raise ParameterError(f"n_draws is {n_draws}", fix="an interval needs at least 100 draws")
    checks.proportion(level, "level")
    if not (np.isfinite(technical_cv) and technical_cv >= 0.0):
        raise ParameterError(
            f"technical_cv is {technical_cv!r}", fix="it must be a share of at least 0, such as 0.15"
        )
    sd_log = float(np.sqrt(np.log1p(technical_cv**2)))
    months = _counts.number(frequency, keys.MONTHS)
    use = np.isfinite(months) & (months >= 0) & (_counts.text(frequency, keys.ROLE) != CONTROL_ROLE)
    use &= np.isfinite(_counts.number(frequency, "pct_of_cd45"))
    table = frequency[use].reset_index(drop=True)
    patient = _counts.text(table, keys.PATIENT)
    rows: list[dict[str, object]] = []
    for person in dict.fromkeys(patient):
        part = table[patient == person]
        part = part.iloc[np.argsort(_counts.number(part, keys.MONTHS), kind="stable")].reset_index(drop=True)
        _require_distinct_times(part, person)
        for column, unit, ending in (("pct_of_cd45", "%", ""), ("cells_per_ul", "cells/µl", "_per_ul")):
            series = _series(part, column, unit, person, n_draws, seed, sd_log, level)
            if series is None:
                continue
            rows += [
                {keys.PATIENT: person, **_said(row, technical_cv), "measure": f"{row['measure']}{ending}"}
                for row in _measures(series, level)
            ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def half_life(months: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the log-linear half-life of each row of `values`: -ln 2 / slope of ln(value) on time, least squares.

    Negative where the values rise.
    """
    time = months - months.mean()
    slope = np.log(values) @ time / (time @ time)
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(2.0) / slope)


def area(months: np.ndarray, values: np.ndarray, *, log_down: bool) -> np.ndarray:
    """Return the area under each row of `values`: trapezoids, or logarithmic pieces where the value falls.

    A falling piece is (v1 - v2) (t2 - t1) / ln(v1 / v2), exact for an exponential fall between the samples.
    """
    step = np.diff(months)
    before, after = values[..., :-1], values[..., 1:]
    pieces = (before + after) / 2.0 * step
    if log_down:
        falls = after < before * (1.0 - 1e-9)
        with np.errstate(divide="ignore", invalid="ignore"):
            exponential = (before - after) / np.log(before / after) * step
        pieces = np.where(falls, exponential, pieces)
    return np.asarray(pieces.sum(axis=-1))


def _series(
    part: pd.DataFrame,
    column: str,
    unit: str,
    person: str,
    n_draws: int,
    seed: int,
    sd_log: float,
    level: float,
) -> Series | None:
    values = _counts.number(part, column)
    usable = np.isfinite(values)
    if column != "pct_of_cd45" and usable.sum() == 0:
        return None
    part, values = part[usable], values[usable]
    call = _counts.text(part, "call", QUANTIFIED)
    low_name, high_name = (
        ("pct_low", "pct_high") if column == "pct_of_cd45" else (f"{column}_low", f"{column}_high")
    )
    draws = None
    n_car, n_cd45 = _counts.number(part, "n_car"), _counts.number(part, "n_cd45")
    if np.isfinite(n_car).all() and np.isfinite(n_cd45).all() and (n_cd45 > 0).all():
        rng = generator(seed, "kinetics", person)
        shares = rng.beta(n_car + 0.5, n_cd45 - n_car + 0.5, size=(n_draws, len(values)))
        observed = n_car / n_cd45
        # A concentration moves with the share it was made from.
        factor = np.divide(values, observed, out=np.full(len(values), np.nan), where=observed > 0)
        draws = shares * factor
        if sd_log > 0:
            again = generator(seed, "kinetics technical", person)
            draws = draws * np.exp(sd_log * again.standard_normal(draws.shape))
    low, high = _widened(
        values, _counts.number(part, low_name), _counts.number(part, high_name), sd_log, level
    )
    months = _counts.number(part, keys.MONTHS)
    return Series(
        months=months,
        values=values,
        low=low,
        high=high,
        quantified=(call == QUANTIFIED) & (values > 0),
        detected=(call != NOT_DETECTED) & (values > 0),
        labels=_labels(_counts.text(part, keys.TIMEPOINT), months),
        draws=draws,
        unit=unit,
    )


def _widened(
    values: np.ndarray, low: np.ndarray, high: np.ndarray, sd_log: float, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return limits that hold the technical error too: both errors are added as logarithms, at right angles."""
    if sd_log == 0:
        return low, high
    from scipy.special import ndtri

    technical = float(ndtri((1.0 + level) / 2.0)) * sd_log
    with np.errstate(divide="ignore", invalid="ignore"):
        down, up = np.log(values / low), np.log(high / values)
        wide = values * np.exp(-np.hypot(down, technical)), values * np.exp(np.hypot(up, technical))
    known = (values > 0) & np.isfinite(low) & np.isfinite(high)
    return np.where(known, wide[0], low), np.where(known, wide[1], high * np.exp(technical))


def _said(row: dict[str, object], technical_cv: float) -> dict[str, object]:
    """Return a row whose note says what its interval holds beside counting."""
    if technical_cv == 0 or not np.isfinite(float(str(row["low"]))):
        return row
    words = f"the interval holds a technical error of {100 * technical_cv:g} % too"
    return {**row, "note": "; ".join(filter(None, [str(row["note"]), words]))}


def _measures(series: Series, level: float) -> list[dict[str, object]]:
    return [
        *_largest(series),
        _last("last_detected", series, series.detected),
        _last("last_quantified", series, series.quantified),
        *_areas(series, level),
        _half_life(series, level),
        *_half_lives(series, level),
        _fold_fall(series, level),
    ]


def _largest(series: Series) -> list[dict[str, object]]:
    note = []
    at = int(np.argmax(series.values))
    first = series.months[0]
    if first * DAYS_PER_MONTH > LAST_DAY_OF_PEAK:
        note.append(
            f"peak not observable: the first sample, at {first:g} months, is after day {LAST_DAY_OF_PEAK}"
        )
    if not series.detected.any():
        why = "; ".join(["not detected in any sample", *note])
        return [
            _row("largest_observed", np.nan, series.unit, why),
            _row("largest_observed_time", np.nan, "months", why),
        ]
    if not series.quantified[at]:
        note.append("below the limit of quantitation")
    words = "; ".join(note)
    return [
        _row("largest_observed", series.values[at], series.unit, words, series.low[at], series.high[at]),
        _row("largest_observed_time", series.months[at], "months", words),
    ]


def _last(measure: str, series: Series, which: np.ndarray) -> dict[str, object]:
    found = np.flatnonzero(which)
    word = measure.removeprefix("last_")
    if not found.size:
        return _row(measure, np.nan, "months", f"not {word} in any of {len(which)} samples")
    at = int(found[-1])
    if at == len(which) - 1:
        note = f"the last sample: still {word}, so persistence is at least this long"
    else:
        note = f"not {word} at {series.months[at + 1]:g} months"
    return _row(measure, series.months[at], "months", note)


def _areas(series: Series, level: float) -> list[dict[str, object]]:
    names = (("auc_linear_log", True), ("auc_trapezoid", False))
    unit = f"{series.unit}·months"
    use = series.quantified
    if use.sum() < 2:
        why = f"needs two quantified samples, there {_are(int(use.sum()))}"
        return [_row(name, np.nan, unit, why) for name, _ in names]
    months = series.months[use]
    note = f"from {months[0]:g} to {months[-1]:g} months"
    between = ~use & (series.months > months[0]) & (series.months < months[-1])
    if between.any():
        times = ", ".join(f"{month:g}" for month in series.months[between])
        note += f"; the sample at {times} months is below the limit of quantitation and was passed over"
    if (series.months > months[-1]).any():
        note += "; later samples are below the limit of quantitation and add an unknown rest"
    return [
        _row(
            name,
            area(months, series.values[use], log_down=log_down),
            unit,
            note,
            *_interval(series, level, partial(area, months, log_down=log_down), use),
        )
        for name, log_down in names
    ]


def _half_life(series: Series, level: float) -> dict[str, object]:
    use = series.quantified.copy()
    if use.any():
        # The fall begins at the largest quantified value; the rise before it is another process.
        peak = int(np.argmax(np.where(use, series.values, -np.inf)))
        use[:peak] = False
    if use.sum() < 3:
        why = (
            f"needs three quantified samples from the largest value on, there {_are(int(use.sum()))}; values below "
            "the limit of quantitation are censored, not 0"
        )
        return _row("half_life", np.nan, "months", why)
    months, values = series.months[use], series.values[use]
    value = float(half_life(months, values))
    if not np.isfinite(value) or value <= 0:
        return _row("half_life", np.nan, "months", "the quantified samples do not fall")
    note = f"log-linear, {use.sum()} quantified samples"
    if series.draws is not None:
        spread = np.log(series.draws[:, use]).var(axis=0, ddof=1)
        time = months - months.mean()
        logs = np.log(values) - np.log(values).mean()
        residual = logs - time * (logs @ time) / (time @ time)
        from scipy.special import chdtri

        if float((residual**2 / spread).sum()) > float(chdtri(len(months) - 2, 0.05)):
            note += (
                "; one exponential does not fit the counts: the half-lives between samples say more, and the interval "
                "does not hold that"
            )
    low, high = _interval(series, level, partial(half_life, months), use, rate=True)
    return _row("half_life", value, "months", note, low, high)


def _half_lives(series: Series, level: float) -> list[dict[str, object]]:
    rows = []
    for i in range(len(series.months) - 1):
        name = f"half_life_{series.labels[i]}_to_{series.labels[i + 1]}"
        use = np.zeros(len(series.months), bool)
        use[i : i + 2] = True
        if not series.quantified[use].all():
            which = series.labels[i + 1] if series.quantified[i] else series.labels[i]
            note = f"{which} is below the limit of quantitation: censored, not 0"
            if series.quantified[i]:
                high = series.high[i + 1]
                if np.isfinite(high) and 0 < high < series.values[i]:
                    bound = np.log(2.0) * np.diff(series.months[use])[0] / np.log(series.values[i] / high)
                    note += f"; at most {bound:.3g} months by the upper limit of its interval"
            rows.append(_row(name, np.nan, "months", note))
            continue
        months = series.months[use]
        value = float(half_life(months, series.values[use]))
        if value <= 0 or not np.isfinite(value):
            note = "does not fall" if not np.isfinite(value) else f"rises, doubling in {-value:.3g} months"
            rows.append(_row(name, np.nan, "months", note))
            continue
        low, high = _interval(series, level, partial(half_life, months), use, rate=True)
        note = "" if not np.isinf(high) else "the interval reaches no fall at all"
        rows.append(_row(name, value, "months", note, low, high))
    return rows


def _fold_fall(series: Series, level: float) -> dict[str, object]:
    use = np.flatnonzero(series.quantified)
    if use.size < 2:
        return _row("fold_fall", np.nan, "fold", f"needs two quantified samples, there {_are(use.size)}")
    peak = int(use[np.argmax(series.values[use])])
    last = int(use[-1])
    if peak == last:
        return _row("fold_fall", np.nan, "fold", "the last quantified sample is the largest: no fall")
    which = np.zeros(len(series.months), bool)
    which[[peak, last]] = True
    low, high = _interval(series, level, lambda v: v[..., 0] / v[..., 1], which)
    note = f"{series.labels[peak]} to {series.labels[last]}"
    if last < len(series.months) - 1:
        note += "; later samples are below the limit of quantitation: the fall is larger"
    return _row("fold_fall", series.values[peak] / series.values[last], "fold", note, low, high)


def _interval(
    series: Series,
    level: float,
    measure: Callable[[np.ndarray], np.ndarray],
    which: np.ndarray,
    *,
    rate: bool = False,
) -> tuple[float, float]:
    """Return the interval of a measure over the draws; a half-life passes through infinity, so its rate is ranked."""
    if series.draws is None:
        return np.nan, np.nan
    drawn = measure(series.draws[:, which])
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    if not rate:
        low, high = np.quantile(drawn, tails)
        return float(low), float(high)
    slow, fast = np.quantile(1.0 / drawn, tails)
    return float(1.0 / fast), float(1.0 / slow) if slow > 0 else float("inf")


def _row(
    measure: str, value: float | np.ndarray, unit: str, note: str, low: float = np.nan, high: float = np.nan
) -> dict[str, object]:
    return {
        "measure": measure,
        "value": float(value),
        "low": float(low),
        "high": float(high),
        "unit": unit,
        "note": note,
    }


def _labels(timepoints: np.ndarray, months: np.ndarray) -> tuple[str, ...]:
    named = all(timepoints) and len(set(timepoints)) == len(timepoints)
    return tuple(map(str, timepoints)) if named else tuple(f"{month:g}mo" for month in months)


def _are(n: int) -> str:
    return "is 1" if n == 1 else f"are {n}" if n else "is none"


def _require_distinct_times(part: pd.DataFrame, person: str) -> None:
    months = _counts.number(part, keys.MONTHS)
    same = np.flatnonzero(np.diff(months) == 0)
    if same.size:
        raise ParameterError(
            f"{_WHAT}: patient {person!r} has two samples at {months[same[0]]:g} months",
            fix="pool them, or give them their own times",
        )
