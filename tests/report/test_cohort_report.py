"""The report on patients: what stands on top, sentences that agree with their tables, every p with its n."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cytocar import tl
from cytocar.report import _changes, _cohort
from cytocar.report._answer import answer
from cytocar.report._load import FinishedRun
from cytocar.report._samples import sample_tables


def sheet(n: int) -> pd.DataFrame:
    rows = [
        {"sample_id": f"{group}{i}", "patient_id": f"{group}{i}", "group": group, "timepoint": "pre", "months": 0.0}
        for group in ("NR", "R") for i in range(n)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def counts(samples: pd.DataFrame) -> pd.DataFrame:
    """Return clusters of which the first is three times as large in R."""
    rng = np.random.default_rng(1)
    rows = []
    for row in samples.itertuples():
        shares = np.array([0.15 if row.group == "R" else 0.05, 0.2, 0.3, 0.0])
        shares[3] = 1 - shares.sum()
        for cluster, n in enumerate(rng.multinomial(4000, rng.dirichlet(100 * shares)), start=1):
            rows.append({"sample_id": row.sample_id, "cluster": str(cluster), "n": int(n)})
    return pd.DataFrame(rows)


def placed(table: pd.DataFrame, of: str = "flowsom") -> pd.DataFrame:
    return table.assign(compartment="cells", of=of, timepoint="pre", formula="~ group")


def finished(n: int = 5, **tables: pd.DataFrame) -> FinishedRun:
    samples = sheet(n)
    abundance = placed(tl.abundance(counts(samples), samples, formula="~ group", contrast="R vs NR"))
    rng = np.random.default_rng(2)
    medians = pd.DataFrame(
        [
            {"sample_id": s, "cluster": c, "marker": m, "median": rng.normal(2, 0.3), "n": 100}
            for s in samples["sample_id"] for c in ("1", "2") for m in ("PD-1", "Ki67")
        ]
    )  # fmt: skip
    state = placed(tl.state(medians, samples, formula="~ group", contrast="R vs NR"))
    ledger = pd.DataFrame({"sample_id": samples["sample_id"], "population": "cells", "events": 4000})
    made = {
        "samples": samples.assign(role="patient"), "ledger": ledger, "abundance": abundance, "state": state,
        "confounding": tl.confounding(samples), **tables,
    }  # fmt: skip
    return FinishedRun(Path("nowhere"), made, {"panel": [], "settings": {}})


def test_a_sentence_names_the_cluster_the_ratio_and_the_patients():
    run = finished()
    [sentence] = _cohort.sentences(run)
    row = run.tables["abundance"].iloc[0]
    assert sentence.startswith("R vs NR (5 against 5 patients): 2 of 4 FlowSOM clusters differ: cluster 1, ")
    assert (run.tables["abundance"]["p_adjusted"] <= 0.05).sum() == 2
    assert (
        f"{2 ** row['effect']:.2g} ({2 ** row['effect_low']:.2g} to {2 ** row['effect_high']:.2g})"
        in sentence
    )
    assert "times as much in R" in sentence
    assert sentence in answer(run).sentences


def test_a_cluster_is_called_by_its_name_where_it_has_one():
    names = pd.DataFrame({"method": ["flowsom"], "cluster": ["1"], "name": ["CD14+ monocytes"]})
    assert "1 (CD14+ monocytes), " in _cohort.sentences(finished(cluster_names=names))[0]


def test_a_design_that_cannot_give_a_small_p_says_so():
    [sentence] = _cohort.sentences(finished(3))
    assert sentence.endswith("this design cannot give a p below 0.1: take a small p here as a hint.")
    assert "hint" not in _cohort.sentences(finished(4))[0]


def test_every_p_stands_beside_its_n_and_the_least_that_it_could_be():
    run = finished()
    [question] = _cohort.chapter(run)["questions"]
    assert (question["title"], question["who"], question["formula"]) == (
        "R vs NR",
        "5 against 5 patients",
        "~ group",
    )
    shares = question["shares"]
    assert shares.head[4:7] == ("patients", "p (least possible)", "adjusted p")
    for shown, row in zip(shares.rows, run.tables["abundance"].itertuples(), strict=True):
        assert shown.cells[4] == "5\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}5"
        assert shown.cells[5].endswith(f"({2 / 252:.2g})")
        assert (shown.tone == "clear") == (row.p_adjusted <= 0.05)
    assert question["markers"].title == "0 of 4 markers of clusters differ; those with the smallest p"


def test_a_row_without_a_number_says_why():
    run = finished()
    table = run.tables["abundance"]
    table.loc[1, ["p_value", "p_adjusted", "effect_low", "effect_high"]] = np.nan
    table.loc[1, "note"] = "no cells in any sample"
    row = _cohort.chapter(run)["questions"][0]["shares"].rows[1]
    assert row.cells[4:] == ("5\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}5", "", "", "no cells in any sample")
    assert "to" not in row.cells[3]
    table["p_value"] = np.nan
    assert "no test" in _cohort.sentences(run)[0]


def test_what_cannot_be_told_from_the_batch_stands_on_top():
    samples = sheet(3)
    tied = tl.confounding(samples.assign(batch=samples["group"]))
    run = finished(confounding=tied)
    assert answer(run).warnings == (tied["message"].iloc[0],)
    assert "cannot be told apart" in answer(run).warnings[0]
    loose = tl.confounding(samples.assign(batch=["x", "y"] * 3))
    assert answer(finished(confounding=loose)).warnings == ()
    assert any("has no batch" in text for text in answer(finished()).caveats)


def test_clusters_that_separate_by_batch_are_named_and_marked():
    samples = sheet(3).assign(batch=["x", "y"] * 3)
    loose = tl.confounding(samples)
    batches = pd.DataFrame(
        {"method": "flowsom", "cluster": list("1234"), "explained": [0.1, 0.9, np.nan, 0.5]}
    )
    run = finished(3, confounding=loose, batches=batches)
    assert "1 of 4 FlowSOM clusters separate by batch (2): " in answer(run).caveats[-1]
    notes = [row.cells[-1] for row in _cohort.chapter(run)["questions"][0]["shares"].rows]
    assert ["separates by batch" in note for note in notes] == [False, True, False, False]
    first = finished(confounding=loose, batches=batches.assign(explained=[0.9, 0.1, 0.1, 0.1]))
    assert "cluster 1, " in _cohort.sentences(first)[0]
    assert _cohort.sentences(first)[0].count("separates by batch") == 1
    # Where the batch cannot be told from the groups it would be the same as what is asked.
    tied = tl.confounding(samples.assign(batch=samples["group"]))
    assert "separate by batch" not in "".join(answer(finished(3, confounding=tied, batches=batches)).caveats)


def test_samples_are_counted_by_group():
    first, each = sample_tables(finished())
    assert [row.cells for row in first.rows] == [
        ("NR", "5", "5", "20,000", "4,000 to 4,000"), ("R", "5", "5", "20,000", "4,000 to 4,000"),
    ]  # fmt: skip
    assert len(each.rows) == 10


def comparisons(**columns: Any) -> pd.DataFrame:
    row = {
        "comparison": "R vs NR", "compartment": "cells", "timepoint": "pre", "subset": "all", "marker": "Ki67",
        "n_cells_a": 900, "n_cells_b": 800, "n_patients_a": 5, "n_patients_b": 4, "unit": "patient", "call": "up",
        "p_value": 0.01, "patient_id": "",
    }  # fmt: skip
    return pd.DataFrame([row | columns])


def test_comparisons_across_patients_count_patients_and_come_first():
    one = comparisons(unit="cell", comparison="5yr vs 2mo", timepoint="", patient_id="P1")
    run = finished(comparisons=pd.concat([one, comparisons()], ignore_index=True))
    run.provenance["panel"].append({"marker": "Ki67", "used_for_clustering": True})
    across, within = _changes.change_tables(run)
    assert across.title == "R vs NR, pre, across patients"
    assert (across.head[1], across.rows[0].cells[:3]) == (
        "patients",
        ("all", "4\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}5", "Ki67"),
    )
    assert (within.head[1], within.rows[0].cells[1]) == (
        "cells",
        "800\N{NO-BREAK SPACE}:\N{NO-BREAK SPACE}900",
    )


@pytest.mark.parametrize(("unit", "told"), [("cell", True), ("patient", False)])
def test_p_values_of_cells_are_called_descriptive(unit, told):
    run = finished(comparisons=comparisons(unit=unit))
    assert _changes.chapter(run)["cell_p_values"] is told
