"""The order in which names, timepoints and clusters are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, vocabulary

if TYPE_CHECKING:
    import pandas as pd


def timepoint_order(samples: pd.DataFrame) -> list[str]:
    """Return the labels of the timepoints in the order of their months (the median over patients).

    Examples
    --------
    >>> import pandas as pd
    >>> timepoint_order(pd.DataFrame({"timepoint": ["1yr", "2mo"], "months": [12.0, 2.0]}))
    ['2mo', '1yr']
    """
    months: dict[str, list[float]] = {}
    for label, value in zip(samples[keys.TIMEPOINT].astype(str), samples[keys.MONTHS], strict=True):
        if label:
            months.setdefault(label, []).append(float(value))

    def when(label: str) -> tuple[bool, float, str]:
        known = [value for value in months[label] if value == value]
        return (not known, float(np.median(known)) if known else 0.0, label)

    return sorted(months, key=when)


_MONTHS_IN = {"d": 1 / 30.4375, "w": 7 / 30.4375, "m": 1.0, "y": 12.0}


def sort_timepoints(labels: Iterable[str]) -> list[str]:
    """Sort labels of timepoints by the time they name; those that name none come last.

    Examples
    --------
    >>> sort_timepoints(["5yr", "2mo", "day 28", "1yr", "28d"])
    ['28d', '2mo', '1yr', '5yr', 'day 28']
    """

    def when(name: str) -> tuple[float, tuple[tuple[int, float, str], ...]]:
        found = re.match(r"\s*(-?\d+(?:\.\d+)?)\s*([dwmy])", name.casefold())
        months = float(found[1]) * _MONTHS_IN[found[2]] if found else np.inf
        return months, natural(name)

    return sorted(dict.fromkeys(labels), key=when)


def sort_clusters(labels: Iterable[object]) -> list[str]:
    """Sort cluster labels by number, with ``-1`` (fits nowhere) last.

    Examples
    --------
    >>> sort_clusters(["10", "-1", "9"])
    ['9', '10', '-1']
    """
    names = dict.fromkeys(str(label) for label in labels)
    return sorted(names, key=lambda name: (name == vocabulary.NO_CLUSTER, natural(name)))


def natural(name: str) -> tuple[tuple[int, float, str], ...]:
    """Return a sorting key by which ``C10`` comes after ``C9``.

    Examples
    --------
    >>> sorted(["C10", "C9", "b", "A", "2"], key=natural)
    ['2', 'A', 'b', 'C9', 'C10']
    """
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", name)
    return tuple((0, float(part), "") if part[0].isdecimal() else (1, 0.0, part.casefold()) for part in parts)


def is_number(name: str) -> bool:
    """Return whether a label is a whole number above 0, as those of clusters are.

    Examples
    --------
    >>> is_number("12"), is_number("-1"), is_number("B cells")
    (True, False, False)
    """
    return name.isascii() and name.isdigit() and int(name) > 0
