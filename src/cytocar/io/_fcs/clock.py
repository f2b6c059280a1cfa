"""When a file was recorded, and where its Time goes when it is put after another file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

_DATES: Final = ("%d-%b-%Y", "%d-%b-%y", "%Y-%m-%d", "%Y-%b-%d", "%d-%m-%Y")
# 10:15:33, 10:15:33.25 (hundredths, FCS 3.1) and 10:15:33:15 (sixtieths, FCS 3.0).
_TIME: Final = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})(?:([.:])(\d+))?")
# $BTIM has whole seconds in most files.
_CLOCK_SECONDS: Final = 1.0
# The usual $TIMESTEP of mass cytometers: Time counts milliseconds.
MILLISECOND: Final = 0.001


@dataclass(frozen=True)
class Run:
    """What a file says about its time.

    Parameters
    ----------
    first, last
        Smallest and largest Time, in units of `step`.
    step
        Seconds of one unit of Time.
    start
        Date and time of day when the recording began, None where the file does not say.
    """

    first: float
    last: float
    step: float
    start: datetime | None


def time_step(keywords: Mapping[str, str]) -> float:
    """Return `$TIMESTEP` in seconds, 0.001 where the file has none or none that makes sense.

    Examples
    --------
    >>> time_step({"$TIMESTEP": "0.01"}), time_step({})
    (0.01, 0.001)
    """
    try:
        step = float(keywords.get("$TIMESTEP", ""))
    except ValueError:
        return MILLISECOND
    return step if 0 < step < float("inf") else MILLISECOND


def time_of_day(text: str) -> float | None:
    """Return a time of day such as `$BTIM` in seconds, None where it is none.

    Examples
    --------
    >>> time_of_day("00:29:01"), time_of_day("10:15:33.25"), time_of_day("10:15:33:15"), time_of_day("noon")
    (1741.0, 36933.25, 36933.25, None)
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds, mark, part = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 60:
        return None
    fraction = 0.0 if not part else int(part) / 60 if mark == ":" else float(f"0.{part}")
    return int(hours) * 3600.0 + int(minutes) * 60.0 + int(seconds) + fraction


def recorded(keywords: Mapping[str, str]) -> datetime | None:
    """Return when the recording began by `$DATE` and `$BTIM`, or `$BEGINDATETIME`; None where neither is stated.

    Examples
    --------
    >>> recorded({"$DATE": "17-JUN-2024", "$BTIM": "10:15:33.25"}).isoformat()
    '2024-06-17T10:15:33.250000'
    >>> recorded({"$DATE": "X", "$BTIM": "10:15:33"}) is None
    True
    """
    stamp = keywords.get("$BEGINDATETIME", "").strip()
    if stamp:
        try:
            # Files of one run have one time zone, or none.
            return datetime.fromisoformat(stamp.replace("Z", "+00:00")).replace(tzinfo=None)
        except ValueError:
            pass
    began = time_of_day(keywords.get("$BTIM", ""))
    if began is None:
        return None
    for form in _DATES:
        try:
            day = datetime.strptime(keywords.get("$DATE", "").strip(), form)
        except ValueError:
            continue
        return day + timedelta(seconds=int(began), microseconds=round(began % 1 * 1e6))
    return None


def shifts(runs: Sequence[Run]) -> tuple[list[float], list[str]]:
    """Return what to add to the Time of each file, in units of the first, and how it was found.

    A file whose Time already begins where the file before it ended is a part of one recording: nothing is
    added. Else the clock decides, where both files tell date and time of day and the file began after the one
    before it ended; so a pause keeps its length. Else Time goes on from the largest Time before it.

    Parameters
    ----------
    runs
        The files in their order; `first` and `last` are in their own units.

    Examples
    --------
    >>> morning = datetime(2024, 6, 17, 10, 0, 0)
    >>> later = morning + timedelta(seconds=30)
    >>> shifts([Run(5, 10_000, 0.001, morning), Run(7, 9_000, 0.001, later), Run(3, 8_000, 0.001, None)])
    ([0.0, 30000.0, 39000.0], ['first file', 'clock', 'end of the file before'])
    """
    unit = runs[0].step
    added, reasons = [0.0], ["first file"]
    end = runs[0].last
    origin = runs[0].start
    for before, run in pairwise(runs):
        scale = run.step / unit
        clock = None
        if origin is not None and run.start is not None:
            clock = (run.start - origin).total_seconds() / unit
        if run.first * scale >= end and _same_clock(before, run) and added[-1] == 0:
            shift, how = 0.0, "Time of the file"
        elif clock is not None and clock >= end - _CLOCK_SECONDS / unit and clock > 0:
            # A whole second of the clock may lie before the last event; Time still never goes back.
            shift, how = max(clock, end - run.first * scale), "clock"
        else:
            shift, how = end, "end of the file before"
        added.append(shift)
        reasons.append(how)
        end = max(end, run.last * scale + shift)
    return added, reasons


def _same_clock(before: Run, run: Run) -> bool:
    """Whether a later Time may be that of the same recording: same unit, and no other beginning on the clock."""
    if run.step != before.step:
        return False
    return before.start is None or run.start is None or before.start == run.start
