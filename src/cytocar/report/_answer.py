"""The answer in words: sentences and small tables made from the tables of a run, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.vocabulary import DETECTED, NOT_DETECTED, QUANTIFIED
from cytocar.report import _cohort
from cytocar.report._figure import FigureOfRun, has, table
from cytocar.report._format import Row, SmallTable, interval, label, percent, records

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun

_CALLS = {
    NOT_DETECTED: "not detected",
    DETECTED: "detected, too few to quantify",
    QUANTIFIED: "quantified",
}


TOLD_ONE_BY_ONE = 6
"""Of so many patients each has a sentence; of more there is one of all."""
FLOWS_OF_AT_MOST = 8
_WORTH_SAYING = 0.05
"""Expected false cells of a subset below which the table does not speak of them."""


@dataclass(frozen=True)
class Answer:
    """What the report says first."""

    sentences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    frequency: SmallTable | None = None
    subsets: SmallTable | None = None
    kinetics: SmallTable | None = None
    samples: tuple[SmallTable, ...] = ()
    caveats: tuple[str, ...] = field(default=())


def answer(run: FinishedRun) -> Answer:
    """Make the answer of a finished run."""
    if not run.has_car:
        said = (*_without_car(run), *_cohort.sentences(run))
        return Answer(
            sentences=said,
            warnings=_cohort.warnings(run),
            samples=_cohort.samples(run),
            caveats=_caveats(run),
        )
    return Answer(
        sentences=(*_sentences(run), *_cohort.sentences(run)),
        warnings=_cohort.warnings(run),
        frequency=_frequency(run.tables["car_frequency"]),
        subsets=_subsets(run),
        kinetics=_kinetics(run.tables.get("kinetics")),
        caveats=_caveats(run),
    )


def _patients(table: pd.DataFrame) -> pd.DataFrame:
    return table[table[keys.MONTHS].notna()] if keys.MONTHS in table else table


def _sentences(run: FinishedRun) -> tuple[str, ...]:
    frequency = run.tables["car_frequency"]
    shares = run.tables["subsets"].set_index([keys.SAMPLE, keys.COMPARTMENT, keys.SUBSET])["fraction"]
    of_patients = _patients(frequency)
    if of_patients[keys.PATIENT].nunique() > TOLD_ONE_BY_ONE:
        return _of_many(of_patients)
    found = []
    for patient, rows in of_patients.groupby(keys.PATIENT, sort=False):
        ordered = rows.sort_values(keys.MONTHS)
        first, last = ordered.iloc[0], ordered.iloc[-1]
        who = "At" if frequency[keys.PATIENT].nunique() == 1 else f"{patient}: at"
        if last["call"] == NOT_DETECTED and not np.isfinite(last["lob_events"]):
            text = (
                f"{who} {last[keys.TIMEPOINT]} {int(last['n_car']):,} events are in the CAR-T gate. What the gate "
                f"catches without CAR-T cells is not known, and so few ({last['loq_events']:g} are needed) do "
                f"not say that there are any; at most {percent(last['pct_high'])} % of CD45+ cells."
            )
        elif last["call"] == NOT_DETECTED:
            text = (
                f"{who} {last[keys.TIMEPOINT]} no CAR-T cells were detected: {int(last['n_car']):,} events in the gate "
                f"are no more than the background allows (limit of blank {last['lob_events']:g} events); "
                f"at most {percent(last['pct_high'])} % of CD45+ cells."
            )
        else:
            text = (
                f"{who} {last[keys.TIMEPOINT]} CAR-T cells were {percent(last['pct_of_cd45'])} % of CD45+ cells "
                f"(95 % interval {percent(last['pct_low'])} to {percent(last['pct_high'])}; {int(last['n_car']):,} of "
                f"{int(last['n_cd45']):,} cells)"
            )
            if len(ordered) > 1 and first["call"] != NOT_DETECTED:
                text += (
                    f", down from {percent(first['pct_of_cd45'])} % at {first[keys.TIMEPOINT]}"
                    if (first["pct_low"] > last["pct_high"])
                    else (
                        f", up from {percent(first['pct_of_cd45'])} % at {first[keys.TIMEPOINT]}"
                        if first["pct_high"] < last["pct_low"]
                        else f", against {percent(first['pct_of_cd45'])} % at {first[keys.TIMEPOINT]} "
                        "(intervals overlap)"
                    )
                )
            text += "."
            if not np.isfinite(last["lob_events"]):
                text += " How many of them are false is not known: no known negatives were measured."
            parts = [
                f"{100 * shares[(last[keys.SAMPLE], keys.CAR, subset)]:.1f} % {_SUBSET_WORDS[subset]}"
                for subset in keys.SUBSETS
                if (last[keys.SAMPLE], keys.CAR, subset) in shares.index
                and shares[(last[keys.SAMPLE], keys.CAR, subset)] > 0
            ]
            if parts:
                text += " They were " + ", ".join(parts) + "."
            text += _net_words(run, str(last[keys.SAMPLE])) + _plan_words(last)
        found.append(text)
    return tuple(found)


def _known(value: float, form: str) -> str:
    return f"{value:{form}}" if np.isfinite(value) else "not known"


def _of_many(table: pd.DataFrame) -> tuple[str, ...]:
    """Say in one sentence what the last samples of many patients show."""
    last = table.sort_values(keys.MONTHS, kind="stable").groupby(keys.PATIENT, sort=False).tail(1)
    calls = [f"{int((last['call'] == call).sum())} {words}" for call, words in _CALLS.items()]
    found = last[last["call"] != NOT_DETECTED]["pct_of_cd45"]
    text = f"CAR-T cells in the last sample of {len(last)} patients: {', '.join(reversed(calls))}."
    if len(found):
        text += (
            f" Where there were any, they were {percent(found.median())} % of CD45+ cells in the middle "
            f"({percent(found.min())} to {percent(found.max())} %)."
        )
    return (text,)


def _net_words(run: FinishedRun, sample: str) -> str:
    """Say what the shares are without the false cells that are expected, where that makes a difference."""
    table = run.tables["subsets"]
    if "fraction_net" not in table:
        return ""
    rows = records(table[(table[keys.SAMPLE] == sample) & (table[keys.COMPARTMENT] == keys.CAR)])
    found = [row for row in rows if row.subset == "DN" and np.isfinite(row.fraction_net)]
    if not found or abs(found[0].fraction_net - found[0].fraction) < 0.005:
        return ""
    false = sum(row.expected_false for row in rows if np.isfinite(row.expected_false))
    return (
        f" About {false:.0f} of them are expected to be false positives, with the subsets of the host; without them "
        f"{100 * found[0].fraction_net:.1f} % would be double negative."
    )


def _plan_words(row: Any) -> str:
    """Say how many cells would have quantified what was only detected."""
    needed = row.get("cells_to_quantify", np.nan)
    if row["call"] != DETECTED or not np.isfinite(needed):
        return ""
    return (
        f" They are too few to quantify: it would take about {_round(needed):,} CD45+ cells at this share, "
        f"{needed / row['n_cd45']:.2g} times as many as were acquired."
    )


def _round(value: float) -> int:
    """Round a plan to two digits: it rests on a share that is not known better."""
    return int(float(f"{value:.2g}"))


_SUBSET_WORDS = {"CD4": "CD4", "CD8": "CD8", "DN": "double negative", "DP": "double positive"}


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
        "Tables and figures on CAR-T frequency, subsets and kinetics make no sense here and were left out.",
    )


def _frequency(table: pd.DataFrame) -> SmallTable:
    rows = []
    for row in records(table):
        cells = (
            label(row.timepoint, row.sample_id),
            f"{int(row.n_cd45):,}",
            f"{int(row.n_car):,}",
            interval(row.pct_of_cd45, row.pct_low, row.pct_high),
            _known(row.background_events, ".1f"),
            " / ".join(
                (_known(row.lob_events, "g"), _known(row.lod_events, ".1f"), _known(row.loq_events, ".1f"))
            ),
            _CALLS.get(row.call, row.call),
        )
        rows.append(Row(cells, {QUANTIFIED: "good", NOT_DETECTED: "weak"}.get(row.call, "")))
    head = (
        "sample",
        "CD45+ cells",
        "CAR-T cells",
        "% of CD45+ (95 % interval)",
        "background, events (at most)",
        "LoB / LoD / LoQ, events",
        "call",
    )
    return SmallTable(head, tuple(rows), "car_frequency.csv")


def _subsets(run: FinishedRun) -> SmallTable:
    table = run.tables["subsets"]
    car = table[table[keys.COMPARTMENT] == keys.CAR]
    host = table[table[keys.COMPARTMENT] == keys.HOST]
    names = [name for name in keys.SUBSETS if (car[keys.SUBSET] == name).any()]
    timepoints = run.tables["car_frequency"].set_index(keys.SAMPLE)[keys.TIMEPOINT]
    rows = []
    for sample, part in car.groupby(keys.SAMPLE, sort=False):
        by_subset = part.set_index(keys.SUBSET)
        cells = [label(timepoints.get(sample, ""), sample)]
        for name in names:
            row: Any = by_subset.loc[name]
            text = interval(100 * row["fraction"], 100 * row["low"], 100 * row["high"])
            if np.isfinite(row.get("background_n", np.nan)) and row["n"] > 0:
                false = min(row["background_n"], row["n"])
                if false >= _WORTH_SAYING:
                    text += f"\nup to {false:.1f} of {int(row['n'])} may be false"
            cells.append(text)
        dn = host[(host[keys.SAMPLE] == sample) & (host[keys.SUBSET] == "DN")]["fraction"]
        cells.append(percent(100 * float(dn.iloc[0])) if len(dn) else "")
        rows.append(Row(tuple(cells)))
    head = ("% of CAR-T (95 % interval)", *names, "DN, % of host T")
    return SmallTable(head, tuple(rows), "subsets.csv")


def _kinetics(table: pd.DataFrame | None) -> SmallTable | None:
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


def _preprocessing(run: FinishedRun) -> list[str]:
    """Say what was done to the counts, and what was not and so stays in the results."""
    found = []
    beads = run.tables.get("beads")
    done = beads[beads["spread_after"].notna()] if beads is not None else None
    if done is not None and len(done):
        before, after = done["spread_before"].max() - 1, done["spread_after"].max() - 1
        text = (
            f"Counts were normalised to beads: their signal moved by up to {100 * before:.0f} % over a file before, "
            f"{100 * after:.0f} % after."
        )
        left = sorted(set(beads[keys.SAMPLE]) - set(done[keys.SAMPLE])) if beads is not None else []
        found.append(text + (f" Left as they were: {', '.join(left)}." if left else ""))
    else:
        found.append("Counts were not normalised to beads: a drift of the instrument stays in the results.")
    if "compensation" not in run.tables:
        found.append(
            "Counts were not compensated for spillover: what a bright channel leaks into its neighbours and into "
            "mass + 16 stays in the results."
        )
    return found


def _caveats(run: FinishedRun) -> tuple[str, ...]:
    found = []
    settings = run.provenance.get("settings", {})
    samples = run.tables.get("samples")
    found += _preprocessing(run)
    if samples is not None and samples[keys.PATIENT].nunique() == 1:
        found.append(
            "One patient: cells of one sample are not replicates, so effects have intervals and calls, and no p values."
        )
    found += _cohort.remarks(run)
    comparisons = run.tables.get("comparisons")
    if comparisons is not None and (comparisons["unit"] == "cell").any():
        found.append(
            "Two tubes differ in staining. A change over time is called only where it exceeds the change of the same "
            "marker in the host T cells of the same tubes, and a margin of "
            f"{settings.get('compare', {}).get('margin', 'the stated')} arcsinh units."
        )
    thresholds = run.tables.get("thresholds")
    if thresholds is not None and len(thresholds):
        taken = thresholds[thresholds["rule"].astype(str).str.contains("fallback")]
        if len(taken):
            which = ", ".join(
                f"{row.name} ({row.sample_id})"
                for row in taken[["name", keys.SAMPLE]].itertuples(index=False)
            )
            found.append(
                f"No clear valley for these thresholds; the strategy's stated fallback was taken: {which}."
            )
    return tuple(found)


def _several_times(run: FinishedRun) -> bool:
    """Whether a patient has samples of two times, and there are not so many patients that nobody would look."""
    if not has("car_frequency", "subsets")(run):
        return False
    samples = _patients(run.tables["car_frequency"])
    visits = samples.groupby(keys.PATIENT)[keys.SAMPLE].nunique()
    return bool((visits > 1).any()) and len(visits) <= FLOWS_OF_AT_MOST


def _alluvial(run: FinishedRun) -> Any:
    from cytocar import pl

    samples = _patients(run.tables["car_frequency"])
    subsets = run.tables["subsets"]
    return pl.alluvial(subsets[subsets[keys.SAMPLE].isin(samples[keys.SAMPLE])], samples)


FIGURES: tuple[FigureOfRun, ...] = (
    FigureOfRun(
        "kinetics",
        "CAR-T cells over time",
        "Share of CD45+ cells with exact 95 % intervals, logarithmic. An arrow is an upper limit: not detected.",
        has("car_frequency", "kinetics"),
        table("kinetics", "car_frequency", "kinetics"),
    ),
    FigureOfRun(
        "subsets",
        "Subsets over time",
        "CD4, CD8, double-negative (DN) and double-positive (DP) shares of CAR-T and of host T cells, with exact "
        "95 % intervals.",
        has("subsets"),
        table("subsets", "subsets", "car_frequency"),
    ),
    FigureOfRun(
        "alluvial",
        "How the subsets of CAR-T cells move",
        "The share of every subset as a bar a sample, joined from sample to sample. A ribbon follows a share, not "
        "cells; samples stand at equal distances.",
        _several_times,
        _alluvial,
    ),
)
