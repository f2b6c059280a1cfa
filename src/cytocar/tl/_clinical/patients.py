"""Cytometry beside the clinic: patient tables, follow-up from dates, persistence against response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, Problem, StudyError
from cytocar._core.vocabulary import CONTROL_ROLE, DAYS_PER_MONTH, NOT_DETECTED
from cytocar.tl import _counts

if TYPE_CHECKING:
    import pandas as pd

_PATIENTS = "the table of patients"


def join_patients(results: pd.DataFrame, patients: pd.DataFrame, *, on: str = keys.PATIENT) -> pd.DataFrame:
    """Return a table of results with the columns of a patient table beside every row.

    Parameters
    ----------
    results
        A table with a column `on`, such as that of `cytocar.tl.detection` or `cytocar.tl.kinetics`.
    patients
        One row per patient: `on`, and what is known of the patient (response, dates, events).
    on
        Column of patient names; compared as texts, blanks at the ends taken off.

    Returns
    -------
    DataFrame
        The rows of `results` in their order; the columns of `patients`, empty where the patient is not in it; and
        ``in_patient_table`` (bool), which says where that is so.

    Raises
    ------
    ParameterError
        `on` is missing, a patient stands twice in `patients`, both tables have another column of the same name, or
        no patient is in both.

    Examples
    --------
    >>> import pandas
    >>> found = pandas.DataFrame({"patient_id": ["P1", "P2"], "n_car": [240, 12]})
    >>> clinic = pandas.DataFrame({"patient_id": ["P2 ", "P1"], "response": ["PR", "CR"]})
    >>> join_patients(found, clinic).response.tolist()
    ['CR', 'PR']
    """
    _counts.require_columns(results, (on,), "the table of results")
    _counts.require_columns(patients, (on,), _PATIENTS)
    left, right = _names(results, on), _names(patients, on)
    for name in right:
        if name and (right == name).sum() > 1:
            raise ParameterError(f"{_PATIENTS}: {name!r} has more than one row", fix="one row per patient")
    both = [str(c) for c in patients.columns if c != on and c in results.columns]
    if both:
        raise ParameterError(
            f"both tables have {', '.join(map(repr, both))}", fix="rename the columns of one of them"
        )
    row_of = {name: row for row, name in enumerate(right) if name}
    rows = np.array([row_of.get(name, -1) for name in left], dtype=np.int64)
    if len(rows) and (rows < 0).all():
        raise ParameterError(
            f"no {on} is in both tables: results have {', '.join(map(repr, sorted(set(left))[:3]))}, patients have "
            f"{', '.join(map(repr, sorted(set(right))[:3]))}"
        )
    joined = results.copy()
    for column in patients.columns:
        if column != on:
            values = patients[column].reset_index(drop=True).reindex(rows)
            joined[column] = values.set_axis(results.index)
    joined["in_patient_table"] = rows >= 0
    return joined


def follow_up(patients: pd.DataFrame, *, start: str, event: str, last: str) -> pd.DataFrame:
    """Return the patient table with months from `start` to the event, or to the last visit where there was none.

    A month is 365.25 / 12 days.

    Parameters
    ----------
    patients
        One row per patient, dates as ``2021-03-31`` or as pandas dates.
    start
        Column of the day that counts as 0, such as the infusion.
    event
        Column of the day of the event, empty where it was not seen.
    last
        Column of the last day on which the patient was known to be without the event; used where `event` is empty.

    Returns
    -------
    DataFrame
        A copy with ``months`` and ``event`` (1 seen, 0 censored), which `kaplan_meier`, `log_rank` and `cox` take.
        A column of dates called ``event`` is kept as ``event_date``.

    Raises
    ------
    StudyError
        Dates that cannot be read, are missing, or lie before the start: all of them at once.
    ParameterError
        A column is missing.

    Examples
    --------
    >>> import pandas
    >>> dates = pandas.DataFrame({"infused": ["2016-03-30", "2016-05-01"], "relapse": ["2018-03-30", None],
    ...                           "seen": ["2021-03-30", "2021-05-01"]})
    >>> follow_up(dates, start="infused", event="relapse", last="seen")[["months", "event"]].round(1).values.tolist()
    [[24.0, 1.0], [60.0, 0.0]]
    """
    import pandas as pd

    _counts.require_columns(patients, (start, event, last), _PATIENTS)
    problems: list[Problem] = []
    days = {}
    for column in (start, event, last):
        days[column] = pd.to_datetime(patients[column], errors="coerce", format="ISO8601")
        for row, (value, day) in enumerate(zip(patients[column], days[column], strict=True)):
            if pd.isna(day) and not _counts.is_missing(value) and str(value).strip():
                where = f"row {row}, column {column}"
                problems.append(Problem(where, f"{value!r} is not a date", "write it as 2021-03-31"))
    seen = days[event].notna()
    end = days[event].where(seen, days[last])
    months = ((end - days[start]).dt.days / DAYS_PER_MONTH).to_numpy(dtype=np.float64)
    if not problems:
        for row in np.flatnonzero(~(months >= 0)).tolist():
            ends = event if seen.iloc[row] else last
            what = "lies before" if months[row] < 0 else "has no date, or none in"
            fix = f"{start} is {patients[start].iloc[row]!r}, {ends} is {patients[ends].iloc[row]!r}"
            problems.append(Problem(f"row {row}", f"{ends} {what} {start}", fix))
    if problems:
        raise StudyError(problems)
    table = patients.copy()
    if event == "event":
        table["event_date"] = patients[event]
    table[keys.MONTHS] = months
    table["event"] = seen.to_numpy().astype(np.int64)
    return table


def persistence(
    frequency: pd.DataFrame, patients: pd.DataFrame | None = None, *, on: str = keys.PATIENT
) -> pd.DataFrame:
    """Return how long CAR-T cells were seen in every patient, as a time with censoring, beside the patient table.

    A patient whose last sample still holds CAR-T cells is censored there: they last at least that long. A patient with
    a later sample without them has the event at the first such sample after the last detection (they were
    lost between the two). So the table goes to `log_rank`, `kaplan_meier` and `cox` against the response, and its
    ``last_detected`` to `group_test`, which takes no account of censoring.

    Parameters
    ----------
    frequency
        The table of `cytocar.tl.detection`: `on`, `months`, `call`. Samples before month 0, without months, and
        negative controls are left out.
    patients
        One row per patient, joined by `join_patients`.
    on
        Column of patient names.

    Returns
    -------
    DataFrame
        One row per patient: `on`, ``n_samples``, ``last_sample``, ``last_detected`` (months; NaN where never),
        ``first_lost`` (months), ``persistence_months``, ``lost`` (1 lost, 0 censored), ``note``, and the columns of
        `patients`.

    Raises
    ------
    ParameterError
        A column is missing, no sample is left, or as `join_patients`.

    Examples
    --------
    >>> import pandas
    >>> calls = pandas.DataFrame({"patient_id": ["P1", "P1", "P2", "P2"], "months": [2, 60, 2, 12],
    ...                           "call": ["quantified", "detected", "quantified", "not_detected"]})
    >>> persistence(calls)[["persistence_months", "lost"]].values.tolist()
    [[60.0, 0.0], [12.0, 1.0]]
    """
    import pandas as pd

    _counts.require_columns(frequency, (on, keys.MONTHS, "call"), "the table of frequencies")
    months, call = _counts.number(frequency, keys.MONTHS), _counts.text(frequency, "call")
    use = (months >= 0) & (call != "") & (_counts.text(frequency, keys.ROLE) != CONTROL_ROLE)
    if not use.any():
        raise ParameterError("the table of frequencies has no sample with a month of at least 0 and a call")
    who, months, there = _names(frequency, on)[use], months[use], call[use] != NOT_DETECTED
    rows = []
    for person in dict.fromkeys(who):
        mine = who == person
        when, seen = months[mine], there[mine]
        last_seen = float(when[seen].max()) if seen.any() else np.nan
        gone = when[~seen & ~(when <= last_seen)]
        notes = []
        if not seen.any():
            notes.append("never detected: lost by the first sample")
        elif (~seen & (when < last_seen)).any():
            notes.append("detected again after a sample without")
        rows.append(
            {
                on: person,
                "n_samples": int(mine.sum()),
                "last_sample": float(when.max()),
                "last_detected": last_seen,
                "first_lost": float(gone.min()) if gone.size else np.nan,
                "persistence_months": float(gone.min()) if gone.size else last_seen,
                "lost": int(gone.size > 0),
                "note": "; ".join(notes),
            }
        )
    table = pd.DataFrame(rows)
    return table if patients is None else join_patients(table, patients, on=on)


def _names(table: pd.DataFrame, column: str) -> np.ndarray:
    return np.array([str(name).strip() for name in _counts.text(table, column)], dtype=object)
