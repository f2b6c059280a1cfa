"""Small tables and numbers for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.vocabulary import DETECTED, NOT_DETECTED, QUANTIFIED

if TYPE_CHECKING:
    import pandas as pd


_NAMED = 4
"""Samples of one remark that are named before it; of more it is said how many."""


METHODS = {keys.PHENOGRAPH: "PhenoGraph", keys.FLOWSOM: "FlowSOM", keys.LEIDEN: "Leiden"}
"""What clusterings are called."""


CALLS = {
    NOT_DETECTED: "not detected",
    DETECTED: "detected, too few to quantify",
    QUANTIFIED: "quantified",
}
"""What the calls of CAR-T cells are called."""


@dataclass(frozen=True)
class Row:
    """One line of a small table; `tone` marks it (good, weak, none)."""

    cells: tuple[str, ...]
    tone: str = ""


@dataclass(frozen=True)
class SmallTable:
    """A table for people: formatted texts, with the file that holds the numbers in full."""

    head: tuple[str, ...]
    rows: tuple[Row, ...]
    source: str
    numeric_from: int = 1
    title: str = ""


def number(value: float, form: str) -> str:
    """Format a number, or say that it is not known."""
    return f"{value:{form}}" if np.isfinite(value) else "not known"


def percent(value: float) -> str:
    """Format a percentage with about three significant digits."""
    if not np.isfinite(value):
        return "not known"
    if value == 0:
        return "0"
    if abs(value) < 0.0005:
        return f"{value:.1g}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1
    return f"{value:.{digits}f}"


def interval(value: float, low: float, high: float) -> str:
    """Format a percentage with its interval."""
    return f"{percent(value)} ({percent(low)} to {percent(high)})"


def records(table: pd.DataFrame) -> list[Any]:
    """Return the rows as named tuples; what their columns hold is known from the table, not from the type."""
    return list(table.itertuples())


def label(timepoint: Any, sample: Any) -> str:
    """Name a sample for people: its timepoint, where its name does not hold it."""
    when, name = str(timepoint), str(sample)
    return name if when in ("", "nan") or when in name else f"{when}, {name}"


def rows(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return the rows of a table for a template; none without a table."""
    if table is None:
        return []
    return [{str(name): value for name, value in row.items()} for row in table.to_dict(orient="records")]


def remarks(table: pd.DataFrame | None) -> list[dict[str, str]]:
    """Return the remarks on samples, one that is the same for several samples once.

    Each is a dict of ``who`` (samples, "" for none, or how many of all), ``which`` (their names, where ``who`` is a
    number) and ``note``.
    """
    samples_by_note: dict[str, list[str]] = {}
    for row in rows(table):
        sample = row.get(keys.SAMPLE)
        samples_by_note.setdefault(str(row["note"]), []).append(sample if isinstance(sample, str) else "")
    every = len({name for names in samples_by_note.values() for name in names if name})
    said = []
    for note, names in samples_by_note.items():
        samples = [name for name in dict.fromkeys(names) if name]
        few = len(samples) <= _NAMED
        who = ", ".join(samples) if few else f"{len(samples)} samples"
        if not few and len(samples) == every:
            who = f"all {every} samples with remarks"
        said.append({"who": who, "which": "" if few else ", ".join(samples), "note": note})
    return said


def shown(value: Any) -> str:
    """Format a value of a table for people: four significant digits, nothing for what is not known."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
