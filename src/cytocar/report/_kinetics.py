"""CAR-T cells over time, in numbers and as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar.report._figure import FigureOfRun, has
from cytocar.report._format import Row, SmallTable, records

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun


def kinetics_table(table: pd.DataFrame | None) -> SmallTable | None:
    """Return every measure of every patient for people; None where there is none."""
    if table is None or table.empty:
        return None
    rows = []
    several = table[keys.PATIENT].nunique() > 1
    for row in records(table):
        value = "not known" if not np.isfinite(row.value) else f"{row.value:.4g}"
        if np.isfinite(row.low) and np.isfinite(row.high):
            value += f" ({row.low:.4g} to {row.high:.4g})"
        name = str(row.measure).replace("_", " ")
        note = row.note if isinstance(row.note, str) else ""
        rows.append(Row((f"{row.patient_id}: {name}" if several else name, value, str(row.unit), note)))
    head = ("measure", "value (95 % interval)", "unit", "note")
    return SmallTable(head, tuple(rows), "kinetics.csv", numeric_from=len(head))


def _drawn(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.kinetics(run.tables["car_frequency"], run.tables["kinetics"])


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "kinetics",
        "CAR-T cells over time",
        "Share of CD45+ cells with exact 95 % intervals, logarithmic. An arrow is an upper limit: not detected.",
        has("car_frequency", "kinetics"),
        _drawn,
        names_samples=True,
    ),
)
