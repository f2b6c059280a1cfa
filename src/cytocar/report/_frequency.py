"""How many CAR-T cells each sample has, of which subsets; without CAR-T cells, the samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.population_words import words
from cytocar._core.vocabulary import NOT_DETECTED, QUANTIFIED
from cytocar.report._figure import FigureOfRun, has
from cytocar.report._format import CALLS, Row, SmallTable, interval, label, number, percent, records
from cytocar.report._kinetics import kinetics_table
from cytocar.report._samples import sample_tables

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun

ALLUVIAL_PATIENTS = 8
"""Of more patients nobody would follow the ribbons."""
_WORTH_SAYING = 0.05
"""Expected false cells of a subset below which the table does not mention them."""


def chapter(run: FinishedRun) -> dict[str, Any]:
    """Return what the template of this chapter needs."""
    if not run.has_car:
        return {"calls": None, "subsets": None, "kinetics": None, "samples": sample_tables(run)}
    return {
        "calls": _calls(run.tables["car_frequency"]),
        "subsets": _subsets(run) if has("subsets")(run) else None,
        "kinetics": kinetics_table(run.tables.get("kinetics")),
        "samples": (),
    }


def _calls(table: pd.DataFrame) -> SmallTable:
    rows = []
    for row in records(table):
        cells = (
            label(row.timepoint, row.sample_id),
            f"{int(row.n_cd45):,}",
            f"{int(row.n_car):,}",
            interval(row.pct_of_cd45, row.pct_low, row.pct_high),
            number(row.background_events, ".1f"),
            " / ".join(
                (number(row.lob_events, "g"), number(row.lod_events, ".1f"), number(row.loq_events, ".1f"))
            ),
            CALLS.get(row.call, row.call),
        )
        rows.append(Row(cells, {QUANTIFIED: "good", NOT_DETECTED: "weak"}.get(row.call, "")))
    head = (
        "sample",
        words().denominator_cells,
        words().car_cells,
        f"% of {words().of_denominator} (95 % interval)",
        "background, events (at most)",
        "LoB / LoD / LoQ, events",
        "call",
    )
    return SmallTable(head, tuple(rows), "car_frequency.csv")


def _subsets(run: FinishedRun) -> SmallTable:
    table = run.tables["subsets"]
    car = table[table[keys.COMPARTMENT] == keys.CAR]
    host = table[table[keys.COMPARTMENT] == keys.HOST]
    made = list(dict.fromkeys(car[keys.SUBSET].astype(str)))
    names = sorted(
        made, key=lambda name: keys.SUBSETS.index(name) if name in keys.SUBSETS else len(keys.SUBSETS)
    )
    timepoints = run.tables["car_frequency"].set_index(keys.SAMPLE)[keys.TIMEPOINT]
    rows = []
    for sample, own in car.groupby(keys.SAMPLE, sort=False):
        by_subset = own.set_index(keys.SUBSET)
        cells = [label(timepoints.get(sample, ""), sample)]
        for name in names:
            row: Any = by_subset.loc[name]
            text = interval(100 * row["fraction"], 100 * row["low"], 100 * row["high"])
            if np.isfinite(row.get("background_n", np.nan)) and row["n"] > 0:
                false = min(row["background_n"], row["n"])
                if false >= _WORTH_SAYING:
                    text += f"\nup to {false:.1f} of {int(row['n'])} may be false"
            cells.append(text)
        beside = "DN" if "DN" in names else names[0]
        of_host = host[(host[keys.SAMPLE] == sample) & (host[keys.SUBSET] == beside)]["fraction"]
        cells.append(percent(100 * float(of_host.iloc[0])) if len(of_host) else "")
        rows.append(Row(tuple(cells)))
    head = (f"% of {words().car} (95 % interval)", *names, f"{beside}, % of {words().host}")
    return SmallTable(head, tuple(rows), "subsets.csv")


def _several_times(run: FinishedRun) -> bool:
    """Whether a patient has samples of two times, and there are few enough patients to draw."""
    if not has("car_frequency", "subsets")(run):
        return False
    visits = run.patient_frequency.groupby(keys.PATIENT)[keys.SAMPLE].nunique()
    return bool((visits > 1).any()) and len(visits) <= ALLUVIAL_PATIENTS


def _subsets_over_time(run: FinishedRun) -> Any:
    from cytocar import pl

    return pl.subsets(run.tables["subsets"], run.tables["car_frequency"])


def _alluvial(run: FinishedRun) -> Any:
    from cytocar import pl

    samples, subsets = run.patient_frequency, run.tables["subsets"]
    return pl.alluvial(subsets[subsets[keys.SAMPLE].isin(samples[keys.SAMPLE])], samples)


def _subsets_caption(run: FinishedRun) -> str:
    """Say of which subsets there are shares; where they are not made by CD4 and CD8, by what they are."""
    made = ", ".join(f"{name} ({gate})" for name, gate in run.subset_gates.items())
    shares = made or "CD4, CD8, double-negative (DN) and double-positive (DP)"
    return f"{shares} shares of {words().car} and of {words().host_cells}, with exact 95 % intervals."


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "subsets",
        "Subsets over time",
        _subsets_caption,
        has("subsets"),
        _subsets_over_time,
        names_samples=True,
    ),
    FigureOfRun(
        "alluvial",
        "How the subsets of CAR-T cells move",
        "The share of every subset as one bar per sample, joined from sample to sample. A ribbon follows a share, not "
        "cells; samples stand at equal distances.",
        _several_times,
        _alluvial,
        names_samples=True,
    ),
)
