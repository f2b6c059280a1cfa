"""Comparison between patients: what the sheet can answer, whose shares differ, which markers differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import decisions, keys
from cytocar._core.population_words import words
from cytocar.report._figures_cohort import FIGURES
from cytocar.report._format import METHODS, Row, SmallTable, percent, records

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.report._load import FinishedRun

__all__ = ["FIGURES", "MOST", "chapter"]

SHOWN = 15
"""So many markers of clusters are shown of a question; all are in the table."""
MOST = 0.5
"""A cluster separates by batch where more than this of its variance between samples lies between batches."""
CAR_OF_CD45 = "CAR-T of CD45+"
"""What the share of the cells with the CAR is called in tables."""
_TIED = ("aliased", "partly aliased")


def chapter(run: FinishedRun) -> dict[str, Any]:
    """Return what the template of this chapter needs."""
    return {"questions": list(_questions(run)), "methods": _methods(run)}


def warnings(run: FinishedRun) -> tuple[str, ...]:
    """Return what stands on top of the report: what is compared cannot be separated from the batch or from time."""
    table = run.tables.get("confounding")
    if table is None or table.empty:
        return ()
    return tuple(str(row.message) for row in records(table) if row.verdict in _TIED)


def remarks(run: FinishedRun) -> list[str]:
    """Return what else the sheet says about batches: that they are not known, or go together with what is compared."""
    table = run.tables.get("confounding")
    if table is None or table.empty:
        return []
    weak = table[table["verdict"].isin(["unknown", "unbalanced"])]
    messages = list(dict.fromkeys(str(row.message) for row in records(weak)))
    return messages if table["verdict"].isin(_TIED).any() else messages + _separate_by_batch(run)


def _separate(run: FinishedRun) -> pd.DataFrame | None:
    table = run.tables.get("batches")
    return None if table is None else table[table["explained"] > MOST]


def _of_batch(run: FinishedRun) -> set[tuple[str, str]]:
    """Return method and cluster of those that separate by batch."""
    separate = _separate(run)
    return set() if separate is None else {(row.method, str(row.cluster)) for row in records(separate)}


def _separate_by_batch(run: FinishedRun) -> list[str]:
    """Name clusters that depend on the batch more than on the patient: the same cells, stained differently."""
    table, separate = run.tables.get("batches"), _separate(run)
    if table is None or separate is None or separate.empty:
        return []
    named = ", ".join(str(cluster) for cluster in separate["cluster"])
    method = str(table["method"].iloc[0])
    return [
        f"{len(separate)} of {len(table)} {METHODS.get(method, method)} clusters separate by batch ({named}): "
        "the batch explains more than half of how their shares differ between samples. The same cells "
        "can then be one cluster in one batch and another in the next, and a comparison of "
        "groups rests on the batches that have the cluster (tables/batches.csv)."
    ]


def sentences(run: FinishedRun) -> list[str]:
    """Return for each question whose shares differ, of how many patients, and what the design can show at all."""
    table = run.tables.get("abundance")
    if table is None or table.empty:
        return []
    texts = []
    for (timepoint, contrast), rows in table.groupby([keys.TIMEPOINT, "contrast"], sort=False):
        said = [
            text
            for _, of_kind in rows.groupby([keys.COMPARTMENT, "of"], sort=False)
            if (text := _outcome(run, of_kind))
        ]
        if not said:
            continue
        texts.append(f"{contrast}{_when(run, str(timepoint))} ({_who(rows)}): " + "; ".join(said) + ".")
        least = rows["p_minimum"].min()
        if least > decisions.BETWEEN_PATIENTS_FDR:
            texts[-1] += (
                f" By exchanging labels this design cannot give a p below {_p(least)}: take a small p here as a hint."
            )
    return texts


def _outcome(run: FinishedRun, rows: pd.DataFrame) -> str:
    """Say which shares of one kind differ."""
    tested = rows[rows["p_value"].notna()]
    first = records(rows)[0]
    kind = _kind(first)
    if tested.empty:
        return f"{kind}: no test ({first.note})" if isinstance(first.note, str) and first.note else ""
    clear = tested[tested["p_adjusted"] <= decisions.BETWEEN_PATIENTS_FDR].sort_values("p_value")
    if clear.empty:
        return (
            f"none of {len(tested)} {kind} differs"
            if len(tested) > 1
            else f"no difference in {kind} was found"
        )
    a, b = str(tested["group_a"].iloc[0]), str(tested["group_b"].iloc[0])
    beside = (
        f"times the change in {a}" if _of_change(first) else f"times as much in {b}" if b else "times as much"
    )
    of_batch = _of_batch(run)
    named = [
        f"{_called(run, row)}, {_fold(row)} {beside}, adjusted p {_p(row.p_adjusted)}"
        + (", separates by batch" if (row.of, str(row.cluster)) in of_batch else "")
        for row in records(clear)[:3]
    ]
    if len(tested) == 1:
        return named[0]
    more = f"; and {len(clear) - 3} more" if len(clear) > 3 else ""
    return f"{len(clear)} of {len(tested)} {kind} differ{'s' if len(clear) == 1 else ''}: {'; '.join(named)}{more}"


def _of_change(row: Any) -> bool:
    """Whether changes are compared, not shares or medians themselves."""
    return str(row.contrast).startswith("change ")


def _when(run: FinishedRun, timepoint: str) -> str:
    """Name the timepoint where the study has several."""
    samples = run.tables.get("samples")
    several = samples is None or samples.loc[samples[keys.MONTHS].notna(), keys.TIMEPOINT].nunique() > 1
    return f" at {timepoint}" if timepoint and several else ""


def _kind(row: Any) -> str:
    if row.of in METHODS:
        return f"{METHODS[row.of]} clusters"
    if row.of == "subsets":
        return f"subsets of {_cells_of(row.compartment)}"
    return words().say(row.of) if row.of == CAR_OF_CD45 else str(row.of)


def _cells_of(compartment: str) -> str:
    """Return what the cells of a compartment are called."""
    called = {keys.CAR: words().car_cells, keys.HOST: words().host_cells, keys.CELLS: "cells"}
    return called.get(compartment, str(compartment))


def _fold(row: Any) -> str:
    """Say a ratio with its interval."""
    if np.isnan(row.effect_low) or np.isnan(row.effect_high):
        return f"{2.0**row.effect:.2g}"
    low, high = 2.0**row.effect_low, 2.0**row.effect_high
    return f"{2.0**row.effect:.2g} ({low:.2g} to {high:.2g})"


def _who(rows: pd.DataFrame) -> str:
    largest = max(records(rows), key=lambda row: row.n_patients)
    if not largest.group_a or not largest.group_b:
        return f"{int(largest.n_patients)} {largest.unit}s"
    if largest.n_patients_a == largest.n_patients_b == largest.n_patients:
        return f"{int(largest.n_patients_b)} {largest.unit}s with both"
    return f"{int(largest.n_patients_b)} against {int(largest.n_patients_a)} {largest.unit}s"


def _called(run: FinishedRun, row: Any) -> str:
    """Name a cluster, with its description where the run has one."""
    if row.of not in METHODS:
        return str(row.cluster)
    names = run.tables.get("cluster_names")
    if names is not None and {"method", "cluster", "name"} <= set(names.columns):
        at = names[(names["method"] == row.of) & (names["cluster"].astype(str) == str(row.cluster))]
        if (
            len(at)
            and isinstance(at["name"].iloc[0], str)
            and at["name"].iloc[0] not in ("", str(row.cluster))
        ):
            return f"cluster {row.cluster} ({at['name'].iloc[0]})"
    return f"cluster {row.cluster}"


def _questions(run: FinishedRun) -> Iterator[dict[str, Any]]:
    table = run.tables.get("abundance")
    if table is None or table.empty:
        return
    state = run.tables.get("state")
    for (timepoint, contrast), rows in table.groupby([keys.TIMEPOINT, "contrast"], sort=False):
        markers = None
        if state is not None:
            inside = state["of"].isin(list(METHODS))
            markers = state[inside & (state[keys.TIMEPOINT] == timepoint) & (state["contrast"] == contrast)]
        yield {
            "title": f"{contrast}{_when(run, str(timepoint))}",
            "who": _who(rows),
            "formula": str(rows["formula"].iloc[0]),
            "shares": _shares(run, rows),
            "markers": _markers(run, markers) if markers is not None and len(markers) else None,
        }


def _shares(run: FinishedRun, rows: pd.DataFrame) -> SmallTable:
    """Return every share with both groups, their ratio, and p with its n and the least that the design can give."""
    a, b = str(rows["group_a"].iloc[0]), str(rows["group_b"].iloc[0])
    lines = []
    of_batch = _of_batch(run)
    for row in records(rows):
        *tested, note = _tested(row)
        if (row.of, str(row.cluster)) in of_batch:
            note = "; ".join(filter(None, (note, "separates by batch")))
        cells = (
            _kind(row) if row.of == CAR_OF_CD45 else f"{_short(row)} {_called(run, row)}".strip(),
            percent(100 * row.value_a) if np.isfinite(row.value_a) else "",
            percent(100 * row.value_b) if np.isfinite(row.value_b) else "",
            _fold(row) if np.isfinite(row.effect) else "",
            *tested,
            note,
        )
        lines.append(Row(cells, "clear" if row.p_adjusted <= decisions.BETWEEN_PATIENTS_FDR else ""))
    head = (
        "share of",
        f"% in {a}" if a else "%",
        f"% in {b}" if b else "%",
        "ratio (95 % interval)",
        *_TESTED,
    )
    return SmallTable(head, tuple(lines), "abundance.csv")


_TESTED = ("patients", "p (least possible)", "adjusted p", "note")


def _tested(row: Any) -> tuple[str, ...]:
    n = (
        f"{int(row.n_patients_b)}\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}{int(row.n_patients_a)}"
        if row.group_a and row.group_b
        else f"{int(row.n_patients)}"
    )
    note = row.note if isinstance(row.note, str) else ""
    if not np.isfinite(row.p_value):
        return n, "", "", note
    return n, f"{_p(row.p_value)} ({_p(row.p_minimum)})", _p(row.p_adjusted), note.replace(_MODEL_ONLY, "*")


_MODEL_ONLY = "p is below what exchanging labels can give in this design: it rests on the model"


def _short(row: Any) -> str:
    return f"{_cells_of(row.compartment)}:" if row.of == "subsets" else ""


def _markers(run: FinishedRun, rows: pd.DataFrame) -> SmallTable:
    """Return the markers of clusters with the smallest p."""
    shown = rows.sort_values("p_value", kind="stable").head(SHOWN)
    lines = [
        Row(
            (
                _called(run, row),
                str(row.marker),
                _number(row.value_a),
                _number(row.value_b),
                _difference(row),
                *_tested(row),
            ),
            "clear" if row.p_adjusted <= decisions.BETWEEN_PATIENTS_FDR else "",
        )
        for row in records(shown)
    ]
    a, b = str(rows["group_a"].iloc[0]), str(rows["group_b"].iloc[0])
    head = ("cluster", "marker", f"median in {a}", f"median in {b}", "difference (95 % interval)", *_TESTED)
    clear, tested = (
        int((rows["p_adjusted"] <= decisions.BETWEEN_PATIENTS_FDR).sum()),
        int(rows["p_value"].notna().sum()),
    )
    title = f"{clear} of {tested} markers of clusters differ; those with the smallest p"
    return SmallTable(head, tuple(lines), "state.csv", numeric_from=2, title=title)


def _methods(run: FinishedRun) -> list[str]:
    """Return the models that were fitted, in words."""
    models: list[str] = []
    for name in ("abundance", "state"):
        table = run.tables.get(name)
        if table is not None:
            kinds = {
                str(model).split(", ")[0] for model in table["model"] if isinstance(model, str) and model
            }
            models += sorted(kinds)
    return list(dict.fromkeys(models))


def _difference(row: Any) -> str:
    """Say a difference with its interval, as far as they are known."""
    if not np.isfinite(row.effect):
        return ""
    with_interval = np.isfinite(row.effect_low) and np.isfinite(row.effect_high)
    return f"{row.effect:+.2f}" + (
        f" ({row.effect_low:+.2f} to {row.effect_high:+.2f})" if with_interval else ""
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else ""


def _p(value: float) -> str:
    """Format a p value."""
    if not np.isfinite(value):
        return ""
    return f"{value:.2g}" if value >= 0.001 else f"{value:.1e}"
