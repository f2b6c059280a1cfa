"""Gates and thresholds, and where every event went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar.report._figures_gates import FIGURES
from cytocar.report._format import rows
from cytocar.report._robustness import robustness

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun

__all__ = ["FIGURES", "chapter"]


def chapter(run: FinishedRun) -> dict[str, Any]:
    """Return what the template of this chapter needs."""
    return {
        "thresholds": rows(run.tables.get("thresholds")),
        "robustness": robustness(run),
        "ledger": _ledger(run.tables["ledger"]),
    }


def _ledger(table: pd.DataFrame) -> dict[str, Any]:
    """Turn the ledger sideways for reading: one row per population, one column per sample."""
    samples = list(dict.fromkeys(table[keys.SAMPLE]))
    populations = table.sort_values("order", kind="stable")[["population", "parent"]].drop_duplicates(
        "population"
    )
    by_key = table.set_index([keys.SAMPLE, "population"])
    rows = []
    for name, parent in populations.itertuples(index=False):
        cells: list[tuple[int, float] | None] = []
        for sample in samples:
            if (sample, name) in by_key.index:
                entry = by_key.loc[(sample, name)]
                cells.append((int(entry["events"]), float(entry["fraction_of_parent"])))
            else:
                cells.append(None)
        rows.append({"population": name, "parent": parent if isinstance(parent, str) else "", "cells": cells})
    return {"samples": samples, "rows": rows}
