"""Medians of every patient, and the rows of ``comparisons.csv`` whose unit is the patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import decisions, keys
from cytocar._core.ordering import timepoint_order
from cytocar._core.vocabulary import CONTROL_ROLE, DOWN, INCONCLUSIVE, UNCHANGED, UP

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.study._tables.questions import Question

WHOLE = "all cells"
SUBSETS_OF = "subsets"
CAR_VS_HOST = "car vs host"
RESTS_ON_THE_MODEL = "p is below what exchanging labels can give in this design: it rests on the model"
MIN_CELLS = 10
"""The median of fewer cells is not used, as in `tl.state`."""


class Medians:
    """Medians of markers by sample, in clusters, in subsets and over all cells of a compartment.

    Parameters
    ----------
    cells
        The kept cells of all samples.
    method
        The clustering whose clusters are looked into, or None.
    """

    def __init__(self, cells: AnnData, method: str | None) -> None:
        obs = cells.obs
        self._sample = np.asarray(obs[keys.SAMPLE].astype(str), dtype=object)
        self._compartment = np.asarray(obs[keys.COMPARTMENT].astype(str), dtype=object)
        self._labels = {SUBSETS_OF: np.asarray(obs[keys.SUBSET].astype(str), dtype=object)}
        if method is not None:
            self._labels[method] = np.asarray(obs[method].astype(str), dtype=object)
        self._x, self._var = cells.X, cells.var
        self._method = method
        self.parts = tuple(self._parts())
        self.of = lru_cache(maxsize=None)(self._of)

    def _parts(self) -> list[tuple[str, str]]:
        present = [name for name in (keys.CAR, keys.HOST, keys.CELLS) if (self._compartment == name).any()]
        parts = []
        for compartment in present:
            if compartment != keys.CELLS:
                parts.append((compartment, SUBSETS_OF))
            parts.append((compartment, WHOLE))
            if self._method is not None and compartment != keys.HOST:
                parts.append((compartment, self._method))
        return parts

    def _markers(self, of: str) -> list[str]:
        """Return the markers that tell about cells: within clusters those of state, else those of clustering too."""
        var = self._var
        marker = var[keys.ROLE].astype(str) == "marker"
        state = marker & (var[keys.MARKER_CLASS].astype(str) == "state")
        chosen = state if of == self._method else state | (marker & var[keys.CLUSTERING].astype(bool))
        return [str(name) for name in var.index[chosen if chosen.any() else marker]]

    def _of(self, compartment: str, of: str) -> pd.DataFrame:
        """Return ``sample_id, cluster, marker, median, n`` of one compartment; all of it is the cluster ``all``."""
        import pandas as pd

        inside = self._compartment == compartment
        labels = self._labels.get(of, np.full(len(inside), keys.ALL, dtype=object))
        chosen = np.flatnonzero(inside & (labels != ""))
        markers = self._markers(of)
        columns = [int(self._var.index.get_loc(name)) for name in markers]
        values = pd.DataFrame(np.asarray(self._x[chosen][:, columns], dtype=np.float64), columns=markers)
        groups = values.groupby([self._sample[chosen], labels[chosen]], sort=True)
        middle, n = groups.median().stack(future_stack=True), groups.count().stack(future_stack=True)
        table = pd.DataFrame({"median": middle, "n": n})
        table.index.names = [keys.SAMPLE, "cluster", "marker"]
        return table.reset_index()


def without_numbers(question: Question, why: str, labels: Sequence[str]) -> pd.DataFrame:
    """Return one row that says why there are no numbers, in the columns of `tl.abundance`."""
    import pandas as pd

    from cytocar.tl._cohorts.cohort import AFTER

    contrast = question.contrast if isinstance(question.contrast, str) else ", ".join(question.contrast)
    called = question.name or contrast.replace("group: ", "").replace("timepoint: ", "")
    row: dict[str, Any] = {"contrast": called}
    row |= dict.fromkeys(labels, "")
    row |= {"group_a": "", "group_b": ""}
    row |= dict.fromkeys(AFTER, np.nan)
    row |= dict.fromkeys(("n_patients", "n_patients_a", "n_patients_b", "n_samples", "n_cells"), 0)
    row |= dict.fromkeys(("effect_unit", "family", "model"), "")
    return pd.DataFrame([row | {"unit": "patient", "note": why}])


def as_comparisons(
    tests: pd.DataFrame, table: pd.DataFrame, question: Question, margin: float
) -> pd.DataFrame:
    """Return rows of `tl.state` as rows of ``comparisons.csv``; `table` holds the medians of the samples."""
    sheet = question.sheet
    asked = {*tests["group_a"].astype(str), *tests["group_b"].astype(str)}
    columns = [name for name in dict.fromkeys((keys.GROUP, keys.TIMEPOINT, *sheet)) if name in sheet]
    column = next((name for name in columns if asked <= set(sheet[name].astype(str))), None)
    members: dict[str, set[str]] = {}
    if column is not None:
        for label, own in sheet.groupby(column):
            members[str(label)] = set(own[keys.SAMPLE].astype(str))
    return _rows(tests, table, members, margin, timepoint=question.timepoint)


def car_vs_host(samples: pd.DataFrame, medians: Medians, margin: float) -> list[pd.DataFrame]:
    """Compare CAR-T with host T cells of the same tubes across patients, within subsets, at every timepoint."""
    import pandas as pd

    from cytocar import tl

    if not {(keys.CAR, SUBSETS_OF), (keys.HOST, SUBSETS_OF)} <= set(medians.parts):
        return []
    table = pd.concat([_named(medians, name) for name in (keys.CAR, keys.HOST)], ignore_index=True)
    enough = set(table.loc[table["n"] >= MIN_CELLS, keys.SAMPLE])
    patients = samples[samples[keys.ROLE] != CONTROL_ROLE]
    compared = []
    for label in timepoint_order(patients):
        at = patients[patients[keys.TIMEPOINT] == label]
        sheet = pd.concat(
            [
                at[[keys.PATIENT]].assign(
                    **{keys.COMPARTMENT: name, keys.SAMPLE: at[keys.SAMPLE].astype(str) + f" {name}"}
                )
                for name in (keys.CAR, keys.HOST)
            ]
        )
        sheet = sheet[sheet[keys.SAMPLE].isin(enough)]
        both = sheet.groupby(keys.PATIENT)[keys.COMPARTMENT].nunique()
        sheet = sheet[sheet[keys.PATIENT].isin(both.index[both > 1])].reset_index(drop=True)
        if sheet[keys.PATIENT].nunique() < 2:
            continue
        rows = tl.state(
            table, sheet, formula=f"~ {keys.COMPARTMENT}", contrast=f"{keys.COMPARTMENT}: {CAR_VS_HOST}"
        )
        members = {str(side): set(names[keys.SAMPLE]) for side, names in sheet.groupby(keys.COMPARTMENT)}
        rows = rows.assign(**{keys.COMPARTMENT: keys.CAR})
        compared.append(_rows(rows, table, members, margin, timepoint=label))
    return compared


def _named(medians: Medians, compartment: str) -> pd.DataFrame:
    """Return the medians of subsets, each sample called by its compartment too."""
    table = medians.of(compartment, SUBSETS_OF)
    return table.assign(**{keys.SAMPLE: table[keys.SAMPLE].astype(str) + f" {compartment}"})


def _rows(
    tests: pd.DataFrame,
    table: pd.DataFrame,
    members: Mapping[str, set[str]],
    margin: float,
    *,
    timepoint: str,
) -> pd.DataFrame:
    """Return the rows; `members` says which samples are in each group."""
    import pandas as pd

    used = table[table["n"] >= MIN_CELLS]
    by_row = dict(iter(used.groupby(["cluster", "marker"], sort=False)))
    sides = {
        side: [
            _of_side(by_row.get((row["cluster"], row["marker"])), members.get(str(row[side]), set()))
            for _, row in tests.iterrows()
        ]
        for side in ("group_a", "group_b")
    }
    a, b = sides["group_a"], sides["group_b"]
    return pd.DataFrame(
        {
            "comparison": tests["contrast"],
            keys.COMPARTMENT: tests[keys.COMPARTMENT],
            keys.TIMEPOINT: timepoint,
            keys.SUBSET: tests["cluster"],
            "marker": tests["marker"],
            "group_a": tests["group_a"],
            "group_b": tests["group_b"],
            "n_cells_a": [n for n, _ in a],
            "n_cells_b": [n for n, _ in b],
            "n_patients_a": tests["n_patients_a"],
            "n_patients_b": tests["n_patients_b"],
            "median_a": tests["value_a"],
            "median_b": tests["value_b"],
            "effect": tests["effect"],
            "effect_low": tests["effect_low"],
            "effect_high": tests["effect_high"],
            "cliffs_delta": [_cliffs_delta(x, y) for (_, x), (_, y) in zip(a, b, strict=True)],
            "unit": tests["unit"],
            "p_value": tests["p_value"],
            "p_adjusted": tests["p_adjusted"],
            "p_minimum": tests["p_minimum"],
            "call": [_call(row, margin) for _, row in tests.iterrows()],
            keys.PATIENT: "",
            "margin": margin,
            "note": tests["note"],
        }
    )


def _of_side(medians: pd.DataFrame | None, samples: set[str]) -> tuple[int, np.ndarray]:
    """Return how many cells the samples of one group have, and their medians."""
    if medians is None:
        return 0, np.empty(0)
    medians = medians[medians[keys.SAMPLE].isin(samples)]
    return int(medians["n"].sum()), medians["median"].to_numpy(dtype=float)


def _cliffs_delta(a: np.ndarray, b: np.ndarray) -> float:
    """Return P(b > a) - P(b < a) over the medians of the samples."""
    if not a.size or not b.size:
        return float("nan")
    return float(np.sign(b[:, None] - a[None, :]).mean())


def _call(row: Any, margin: float) -> str:
    """Return the call of a row whose unit is the patient.

    ``up`` or ``down``: at a false discovery rate of 5 %, beyond the margin, and in a design that could show it by
    exchanging labels (3 against 3 patients cannot: 0.1). ``unchanged``: the interval lies within the margin.
    """
    clear = (
        row["p_adjusted"] <= decisions.BETWEEN_PATIENTS_FDR
        and row["p_minimum"] <= decisions.BETWEEN_PATIENTS_FDR
    )
    if clear and abs(row["effect"]) > margin:
        return UP if row["effect"] > 0 else DOWN
    if row["effect_low"] > -margin and row["effect_high"] < margin:
        return UNCHANGED
    return INCONCLUSIVE
