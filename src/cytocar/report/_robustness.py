"""How far the headline numbers depend on where the thresholds lie, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar.report._format import Row, SmallTable, percent

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun

# Below this relative change, a threshold does not matter to a number that is printed with three digits.
_MATTERS = 0.005


def robustness(run: FinishedRun) -> dict[str, Any] | None:
    """Return a sentence for each sample and a table, or None where the run has none."""
    moved = run.tables.get("robustness")
    if moved is None or moved.empty:
        return None
    other = run.tables.get("multiverse")
    lines, sentences = [], []
    measures = list(dict.fromkeys(moved["measure"]))
    for sample in dict.fromkeys(moved[keys.SAMPLE]):
        for measure in measures:
            moves = moved[(moved[keys.SAMPLE] == sample) & (moved["measure"] == measure)]
            if moves.empty or not np.isfinite(moves["result"].iloc[0]):
                continue
            most = _most(moves)
            low, high = _ends(moves)
            rules = _rules(other, sample, measure)
            lines.append(
                Row(
                    (
                        sample,
                        measure,
                        percent(float(moves["result"].iloc[0])),
                        f"{percent(low)} to {percent(high)}",
                        most or "none",
                        rules,
                        _false(moves),
                    )
                )
            )
            if measure == measures[0]:
                sentences.append(_sentence(sample, measure, moves, low, high, most))
    if not lines:
        return None
    head = (
        "sample",
        "measure",
        "result, %",
        "thresholds within their uncertainty",
        "most by",
        "other rules",
        "expected false CAR+",
    )
    return {
        "sentences": sentences,
        "table": SmallTable(head, tuple(lines), "robustness.csv, tables/multiverse.csv", 2),
    }


def _ends(moves: pd.DataFrame) -> tuple[float, float]:
    results = moves[["result_low", "result", "result_high"]].to_numpy(dtype=float)
    return float(np.nanmin(results)), float(np.nanmax(results))


def _most(moves: pd.DataFrame) -> str:
    """Return the threshold that moves the result most; empty where none matters."""
    span = (
        (moves["result_high"] - moves["result"])
        .abs()
        .combine((moves["result_low"] - moves["result"]).abs(), max)
    )
    if not (span > _MATTERS * moves["result"].abs()).any():
        return ""
    return str(moves["threshold"].to_numpy()[int(span.to_numpy().argmax())])


def _sentence(sample: str, measure: str, moves: pd.DataFrame, low: float, high: float, most: str) -> str:
    what = measure.replace(" % of ", " cells among ")
    value = percent(float(moves["result"].iloc[0]))
    if not most:
        return (
            f"{sample}: {value} % {what}; moving any threshold within its uncertainty changes this by less than "
            f"{100 * _MATTERS:g} % of it."
        )
    return (
        f"{sample}: {value} % {what}; moving each threshold within its uncertainty, one at a time, gives "
        f"{percent(low)} to {percent(high)} %, most by {most}."
    )


def _rules(other: pd.DataFrame | None, sample: str, measure: str) -> str:
    if other is None or other.empty:
        return ""
    ways = other[(other[keys.SAMPLE] == sample) & (other["measure"] == measure)]
    results = ways["result"].dropna()
    if len(results) < 2:
        return "no other rule applies"
    return f"{percent(float(results.min()))} to {percent(float(results.max()))} ({len(results)} ways)"


def _false(moves: pd.DataFrame) -> str:
    expected = moves["expected_false"].iloc[0]
    if not np.isfinite(expected):
        return "not known"
    ends = moves[["expected_false_low", "expected_false_high"]].to_numpy(dtype=float)
    return f"{expected:.1f} ({np.nanmin(ends):.1f} to {np.nanmax(ends):.1f})"
