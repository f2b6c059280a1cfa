"""Comparison between patients: can the sheet answer, which shares differ, which markers differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar._core.vocabulary import CONTROL_ROLE
from cytocar.study._tables import cohort_rows as rows_of
from cytocar.study._tables.questions import Question, questions

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cytocar.io import StudyConfig

CAR_OF_CD45 = "CAR-T of CD45+"


@dataclass(frozen=True)
class _Shares:
    """Counts whose shares are compared: `of` says what is divided, `table` has sample_id, cluster, n, total."""

    compartment: str
    of: str
    table: pd.DataFrame


def confounding_table(samples: pd.DataFrame) -> pd.DataFrame:
    """Return whether time and group can be separated from the batch, and groups from time, worst first."""
    import pandas as pd

    from cytocar import tl

    try:
        confounding = tl.confounding(samples)
    except ParameterError:
        # Neither timepoint nor group is filled in, or there are controls only: nothing is compared.
        return pd.DataFrame()
    if keys.GROUP in set(confounding["factor"]) and keys.TIMEPOINT in set(confounding["factor"]):
        with_time = tl.confounding(samples, factors=(keys.GROUP,), batches=(keys.TIMEPOINT,))
        tied = with_time[with_time["verdict"].isin(["aliased", "partly aliased"])]
        confounding = pd.concat([tied, confounding], ignore_index=True) if len(tied) else confounding
    return confounding


def batch_table(samples: pd.DataFrame, clusters: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return how far the share of each cluster follows the batch; no rows without two batches of two samples.

    `explained` is the share of the variance between samples of asin(sqrt(share)), which counting makes about equally
    noisy whatever the share, that lies between batches.
    """
    import numpy as np
    import pandas as pd

    sheet = samples[samples[keys.ROLE] != CONTROL_ROLE]
    if keys.BATCH not in sheet or (sheet[keys.BATCH].value_counts().drop("", errors="ignore") >= 2).sum() < 2:
        return pd.DataFrame()
    own = clusters[clusters["method"] == method]
    shares = own.pivot(index=keys.SAMPLE, columns="cluster", values="fraction").fillna(0.0)
    batch = sheet.set_index(keys.SAMPLE)[keys.BATCH].reindex(shares.index)
    shares, batch = shares[batch.fillna("") != ""], batch[batch.fillna("") != ""]
    shares = shares[list(dict.fromkeys(own["cluster"]))]
    steady = pd.DataFrame(np.arcsin(np.sqrt(shares.clip(0.0, 1.0).to_numpy())), shares.index, shares.columns)
    within = steady - steady.groupby(batch).transform("mean")
    means = shares.groupby(batch).mean()
    spread = ((steady - steady.mean()) ** 2).sum()
    explained = (1.0 - (within**2).sum() / spread.where(spread > 0)).to_numpy()
    return pd.DataFrame(
        {
            "method": method,
            "cluster": shares.columns,
            "batch_most": means.idxmax().to_numpy(),
            "fraction_most": means.max().to_numpy(),
            "batch_least": means.idxmin().to_numpy(),
            "fraction_least": means.min().to_numpy(),
            "explained": explained,
            "n_samples": len(shares),
        }
    )


def cohort_tables(
    samples: pd.DataFrame,
    cells: AnnData,
    tables: Mapping[str, pd.DataFrame],
    config: StudyConfig,
    *,
    method: str | None,
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the tables that compare patients, and remarks for the report.

    Parameters
    ----------
    samples
        The sample sheet.
    cells
        The kept cells of all samples.
    tables
        The tables of counts and clusters of this run.
    config
        The settings.
    method
        The clustering whose clusters are compared; None where there is none.

    Returns
    -------
    ``confounding``, ``batches``; ``abundance`` and ``state`` where there are two patients or more to compare, with
    rows for ``comparisons`` under ``patients``; and remarks.
    """
    import pandas as pd

    made = {"confounding": confounding_table(samples)}
    if method is not None:
        made["batches"] = batch_table(samples, tables["clusters"], method)
    asked, remarks = questions(samples, config)
    medians = rows_of.Medians(cells, method)
    shares = list(_shares(tables, method))
    abundance, state, compared = [], [], []
    for question in asked:
        abundance += [_abundance(question, what) for what in shares]
        for compartment, of in medians.parts:
            part = _state(question, compartment, of, medians)
            state.append(part)
            if of != method:
                table = medians.of(compartment, of)
                compared.append(rows_of.as_comparisons(part, table, question, config.compare.margin))
    compared += rows_of.car_vs_host(samples, medians, config.compare.margin)
    for name, parts in (("abundance", abundance), ("state", state), ("patients", compared)):
        if parts:
            made[name] = pd.concat(parts, ignore_index=True)
    return made, remarks


def _shares(tables: Mapping[str, pd.DataFrame], method: str | None) -> Iterator[_Shares]:
    frequency = tables.get("car_frequency")
    if frequency is not None:
        of_cd45 = frequency[[keys.SAMPLE]].assign(
            cluster="CAR-T", n=frequency["n_car"], total=frequency["n_cd45"]
        )
        yield _Shares(keys.CAR, CAR_OF_CD45, of_cd45)
    for compartment in (keys.CAR, keys.HOST) if "subsets" in tables else ():
        counts = tables["subsets"].rename(columns={keys.SUBSET: "cluster"})
        counts = counts.loc[counts[keys.COMPARTMENT] == compartment, [keys.SAMPLE, "cluster", "n"]]
        yield _Shares(compartment, rows_of.SUBSETS_OF, counts)
    if method is not None:
        counts = tables["clusters"]
        counts = counts[counts["method"] == method]
        compartment = keys.CAR if frequency is not None else keys.CELLS
        yield _Shares(compartment, method, counts[[keys.SAMPLE, "cluster", "n"]])


def _abundance(question: Question, what: _Shares) -> pd.DataFrame:
    """Return how much shares differ; where the model cannot hold what the formula says, by one that can."""
    from cytocar import tl
    from cytocar.tl._cohorts.abundance import MethodError

    table, part = _with_cells(what.table, question)
    settings: dict[str, Any] = {"formula": question.formula, "contrast": question.asked or None}
    try:
        try:
            found = tl.abundance(table, part.sheet, **settings)
        except MethodError:
            found = tl.abundance(table, part.sheet, method="logit", **settings)
    except ParameterError as error:
        found = rows_of.without_numbers(part, str(error), ("cluster",))
    return _placed(found, what.compartment, what.of, part)


def _state(question: Question, compartment: str, of: str, medians: rows_of.Medians) -> pd.DataFrame:
    from cytocar import tl

    table, part = _with_cells(medians.of(compartment, of), question)
    try:
        found = tl.state(table, part.sheet, formula=question.formula, contrast=question.asked or None)
    except ParameterError as error:
        found = rows_of.without_numbers(part, str(error), ("cluster", "marker"))
    return _placed(found, compartment, of, part)


def _with_cells(table: pd.DataFrame, question: Question) -> tuple[pd.DataFrame, Question]:
    """Leave out samples without any cell of what is compared, and say so."""
    sheet = question.sheet
    n = table.groupby(keys.SAMPLE)["n"].sum()
    present = set(n.index[n > 0].astype(str))
    without = [name for name in sheet[keys.SAMPLE].astype(str) if name not in present]
    if not without:
        return table, question
    kept = sheet[sheet[keys.SAMPLE].astype(str).isin(present)].reset_index(drop=True)
    return table, replace(
        question, sheet=kept, notes=(*question.notes, f"no cells, left out: {', '.join(without)}")
    )


def _placed(found: pd.DataFrame, compartment: str, of: str, question: Question) -> pd.DataFrame:
    """Put in front what is compared and when; add to the notes what was left out of the model."""
    placed = found.copy()
    if question.name:
        _name(placed, question)
    said = "; ".join(question.notes)
    placed["note"] = [
        "; ".join(filter(None, (note if isinstance(note, str) else "", said))) for note in placed["note"]
    ]
    placed["formula"] = question.formula
    for place, (name, value) in enumerate(
        ((keys.COMPARTMENT, compartment), ("of", of), (keys.TIMEPOINT, question.timepoint))
    ):
        placed.insert(place, name, value)
    return placed


def _name(found: pd.DataFrame, question: Question) -> None:
    """Say what a coefficient means, of how many patients of each group, and what exchanging their labels can give."""
    a, b = question.sides
    patients = question.sheet.groupby(keys.GROUP)[keys.PATIENT].nunique()
    n_a, n_b = int(patients.get(a, 0)), int(patients.get(b, 0))
    least = min(1.0, 2.0 / math.comb(n_a + n_b, n_b))
    found["family"] = [
        str(family).replace(str(contrast), question.name)
        for family, contrast in zip(found["family"], found["contrast"], strict=True)
    ]
    found["contrast"] = question.name
    found["group_a"], found["group_b"] = a, b
    found["n_patients_a"], found["n_patients_b"] = n_a, n_b
    found["p_minimum"] = least
    for place, p in zip(found.index, found["p_value"], strict=True):
        if p < least and rows_of.RESTS_ON_THE_MODEL not in found.loc[place, "note"]:
            found.loc[place, "note"] = "; ".join(
                filter(None, (found.loc[place, "note"], rows_of.RESTS_ON_THE_MODEL))
            )
