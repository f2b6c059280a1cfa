"""The answer in words: sentences made from the tables of a run, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.population_words import words
from cytocar._core.vocabulary import DETECTED, NOT_DETECTED
from cytocar.report import _cohort
from cytocar.report._caveats import caveats, left_out
from cytocar.report._format import CALLS, percent, records

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun


NAMED_PATIENTS = 6
"""Up to so many patients have a sentence each; more share one."""
_SUBSETS_IN_WORDS = {"CD4": "CD4", "CD8": "CD8", "DN": "double negative", "DP": "double positive"}
_NET_MATTERS = 0.005
"""Difference of a share with and without expected false cells that is worth a sentence."""


@dataclass(frozen=True)
class Answer:
    """What the report says first."""

    sentences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()


def answer(run: FinishedRun) -> Answer:
    """Make the answer of a finished run."""
    sentences = _of_car_cells(run) if run.has_car else _without_car(run)
    return Answer(
        (*sentences, *_cohort.sentences(run)), (*left_out(run), *_cohort.warnings(run)), caveats(run)
    )


def _of_car_cells(run: FinishedRun) -> tuple[str, ...]:
    samples = run.patient_frequency
    if samples[keys.PATIENT].nunique() > NAMED_PATIENTS:
        return (_of_many(samples),)
    alone = run.tables["car_frequency"][keys.PATIENT].nunique() == 1
    return tuple(
        _of_patient(run, "At" if alone else f"{patient}: at", rows.sort_values(keys.MONTHS))
        for patient, rows in samples.groupby(keys.PATIENT, sort=False)
    )


def _of_patient(run: FinishedRun, at: str, ordered: pd.DataFrame) -> str:
    """Say what the last sample of a patient shows, beside the first."""
    first, last = ordered.iloc[0], ordered.iloc[-1]
    if last["call"] == NOT_DETECTED:
        return _not_detected(at, last)
    of = words().denominator_cells
    text = (
        f"{at} {last[keys.TIMEPOINT]} {words().car_cells} were {percent(last['pct_of_cd45'])} % of {of} "
        f"(95 % interval {percent(last['pct_low'])} to {percent(last['pct_high'])}; {int(last['n_car']):,} of "
        f"{int(last['n_cd45']):,} cells)"
    )
    if len(ordered) > 1 and first["call"] != NOT_DETECTED:
        text += _compared_with(first, last)
    text += "."
    if not np.isfinite(last["lob_events"]):
        text += " How many of them are false is not known: no known negatives were measured."
    sample = str(last[keys.SAMPLE])
    return text + _subset_shares(run, sample) + _without_false_cells(run, sample) + _cells_to_quantify(last)


def _not_detected(at: str, last: Any) -> str:
    of, car = words().denominator_cells, words().car_cells
    if np.isfinite(last["lob_events"]):
        return (
            f"{at} {last[keys.TIMEPOINT]} no {car} were detected: {int(last['n_car']):,} events in the gate "
            f"are no more than the background allows (limit of blank {last['lob_events']:g} events); "
            f"at most {percent(last['pct_high'])} % of {of}."
        )
    return (
        f"{at} {last[keys.TIMEPOINT]} {int(last['n_car']):,} events are in the {words().car} gate. What the gate "
        f"catches without {car} is not known, and so few ({last['loq_events']:g} are needed) do not show that there "
        f"are any; at most {percent(last['pct_high'])} % of {of}."
    )


def _compared_with(first: Any, last: Any) -> str:
    then = f"{percent(first['pct_of_cd45'])} % at {first[keys.TIMEPOINT]}"
    if first["pct_low"] > last["pct_high"]:
        return f", down from {then}"
    if first["pct_high"] < last["pct_low"]:
        return f", up from {then}"
    return f", compared with {then} (intervals overlap)"


def _subset_shares(run: FinishedRun, sample: str) -> str:
    table = run.tables.get("subsets")
    if table is None:
        return ""
    own = table[(table[keys.SAMPLE] == sample) & (table[keys.COMPARTMENT] == keys.CAR)]
    shares = own.set_index(keys.SUBSET)["fraction"]
    texts = [
        f"{100 * shares[subset]:.1f} % {_SUBSETS_IN_WORDS.get(subset, subset)}"
        for subset in dict.fromkeys([*keys.SUBSETS, *map(str, shares.index)])
        if shares.get(subset, 0.0) > 0
    ]
    return f" They were {', '.join(texts)}." if texts else ""


def _of_many(table: pd.DataFrame) -> str:
    """Say in one sentence what the last samples of many patients show."""
    last = table.sort_values(keys.MONTHS, kind="stable").groupby(keys.PATIENT, sort=False).tail(1)
    calls = [f"{int((last['call'] == call).sum())} {text}" for call, text in CALLS.items()]
    present = last[last["call"] != NOT_DETECTED]["pct_of_cd45"]
    text = f"{words().car_cells} in the last sample of {len(last)} patients: {', '.join(reversed(calls))}."
    if len(present):
        of = words().denominator_cells
        text += (
            f" Where there were any, they were {percent(present.median())} % of {of} in the middle "
            f"({percent(present.min())} to {percent(present.max())} %)."
        )
    return text


def _without_false_cells(run: FinishedRun, sample: str) -> str:
    """Say what the shares are without the false cells that are expected, where that makes a difference."""
    table = run.tables.get("subsets")
    if table is None or "fraction_net" not in table:
        return ""
    rows = records(table[(table[keys.SAMPLE] == sample) & (table[keys.COMPARTMENT] == keys.CAR)])
    double_negative = [row for row in rows if row.subset == "DN" and np.isfinite(row.fraction_net)]
    if (
        not double_negative
        or abs(double_negative[0].fraction_net - double_negative[0].fraction) < _NET_MATTERS
    ):
        return ""
    false = sum(row.expected_false for row in rows if np.isfinite(row.expected_false))
    return (
        f" About {false:.0f} of them are expected to be false positives, with the subsets of the host; without them "
        f"{100 * double_negative[0].fraction_net:.1f} % would be double negative."
    )


def _cells_to_quantify(row: Any) -> str:
    """Say how many cells would have quantified what was only detected."""
    needed = row.get("cells_to_quantify", np.nan)
    if row["call"] != DETECTED or not np.isfinite(needed):
        return ""
    of = words().denominator_cells
    return (
        f" They are too few to quantify: it would take about {_round(needed):,} {of} at this share, "
        f"{needed / row['n_cd45']:.2g} times as many as were acquired."
    )


def _round(value: float) -> int:
    """Round a plan to two digits: it rests on a share that is not known better."""
    return int(float(f"{value:.2g}"))


def _without_car(run: FinishedRun) -> tuple[str, ...]:
    ledger = run.tables["ledger"]
    root = ledger[ledger["population"] == "cells"]
    total = int(root["events"].sum()) if len(root) else 0
    text = (
        f"This study was not gated for CAR-T cells: its {total:,} cells of {ledger[keys.SAMPLE].nunique()} samples "
        "were clustered as they are, and the clusters carry the populations."
    )
    return (
        text,
        "Tables and figures on CAR-T frequency, subsets and kinetics do not apply here and were left out.",
    )
