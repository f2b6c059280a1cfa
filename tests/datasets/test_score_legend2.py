"""Comparing a run with the truth, on runs whose faults are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import StateError, StudyError, datasets

CELLS = 2_000


def perfect_run(study: Path, out: Path) -> pd.DataFrame:
    """Leave what a faultless run of `study` would leave; return the cells that it found."""
    (out / "tables").mkdir(parents=True)
    found, frequency, subsets = [], [], []
    for path in sorted((study / "truth" / "events").glob("*.csv")):
        truth = pd.read_csv(path, keep_default_na=False)
        live = truth[(truth["type"] == "cell") & (truth["lineage"] == "T")].assign(sample_id=path.stem)
        live = live.assign(compartment=np.where(live["is_car"], "car", "host"))
        found.append(live)
        n_car = int(live["is_car"].sum())
        frequency.append({"sample_id": path.stem, "n_car": n_car, "pct_of_cd45": 100 * n_car / CELLS})
        for (compartment, subset), part in live.groupby(["compartment", "subset"]):
            whole = (live["compartment"] == compartment).sum()
            subsets.append(
                {
                    "sample_id": path.stem, "compartment": compartment, "subset": subset,
                    "n": len(part), "fraction": len(part) / whole,
                }
            )  # fmt: skip
    cells = pd.concat(found)
    cells = cells.assign(phenograph=cells["cluster"], flowsom=cells["cluster"])
    pd.DataFrame(frequency).to_csv(out / "tables" / "car_frequency.csv", index=False)
    pd.DataFrame(subsets).to_csv(out / "tables" / "subsets.csv", index=False)
    signs = pd.read_csv(study / "truth" / "signs.csv", keep_default_na=False)
    call = signs["expected"].replace({"equal": "unchanged"})
    signs.assign(call=call, effect=0.5).to_csv(out / "tables" / "comparisons.csv", index=False)
    write_cells(cells, out)
    return cells


def write_cells(cells: pd.DataFrame, out: Path) -> None:
    columns = ["sample_id", "event_index", "compartment", "phenograph", "flowsom"]
    obs = cells[columns].reset_index(drop=True)
    obs.index = obs.index.astype(str)
    for column in ("sample_id", "compartment", "phenograph", "flowsom"):
        obs[column] = pd.Categorical(obs[column])
    anndata.AnnData(X=np.zeros((len(obs), 1), np.float32), obs=obs).write_h5ad(out / "cells.h5ad")


def test_a_faultless_run_scores_full_marks(study: Path, tmp_path: Path) -> None:
    perfect_run(study, tmp_path)
    score = datasets.score_legend2(study, tmp_path)
    samples = score["samples"].set_index("sample_id")
    patient = samples.drop(index="HD1_control")
    assert (patient[["sensitivity", "precision"]] == 1).all(axis=None)
    assert np.allclose(patient["relative_error"], 0)
    assert np.allclose(patient["car_dn_true"], patient["car_dn_found"])
    assert list(patient["n_car_true"]) == [60, 21, 10, 5]
    assert samples.loc["HD1_control", "n_car_found"] == 0
    assert np.isnan(samples.loc["HD1_control", "sensitivity"])
    assert list(score["clusters"]["ari"]) == [1.0, 1.0]
    assert list(score["clusters"]["n_clusters_true"]) == [9, 9]
    assert list(score["clusters"]["n_cells"]) == [96, 96]
    assert score["signs"]["agrees"].all()
    assert (score["subsets"]["n_true"] == score["subsets"]["n_found"]).all()


def test_what_is_missed_and_what_is_wrong_is_counted(study: Path, tmp_path: Path) -> None:
    cells = perfect_run(study, tmp_path)
    # At 2 months six of 60 are missed, and a doublet, a dead cell and four host T cells are taken for CAR-T cells.
    truth = pd.read_csv(study / "truth" / "events" / "P1_2mo.csv", keep_default_na=False)
    car = cells[(cells["sample_id"] == "P1_2mo") & cells["is_car"]]
    missed = (cells["sample_id"] == "P1_2mo") & cells["event_index"].isin(car["event_index"][:6])
    cells = cells[~missed]
    doublets = truth[truth["population"].str.contains(r"CAR_.*\+|\+CAR_")]
    assert len(doublets)
    wrong = pd.concat([doublets[:1], truth[truth["type"] == "dead"][:1]])
    wrong = wrong.assign(sample_id="P1_2mo", compartment="car", phenograph="C1", flowsom="C1")
    cells = pd.concat([cells, wrong])
    host = cells[(cells["sample_id"] == "P1_2mo") & (cells["compartment"] == "host")]["event_index"][:4]
    here = (cells["sample_id"] == "P1_2mo") & cells["event_index"].isin(host)
    cells.loc[here.to_numpy(), "compartment"] = "car"
    # One cluster, and cells that fit nowhere: those are no cluster.
    cells["flowsom"] = np.where(cells["event_index"] % 7 == 0, "-1", "1")
    write_cells(cells, tmp_path)
    score = datasets.score_legend2(study, tmp_path)
    samples = score["samples"].set_index("sample_id")
    assert samples.loc["P1_2mo", "sensitivity"] == pytest.approx(54 / 60)
    assert samples.loc["P1_2mo", "precision"] == pytest.approx(54 / 60)
    assert samples.loc["P1_1yr", "precision"] == 1
    clusters = score["clusters"].set_index("method")
    assert clusters.loc["phenograph", "ari"] == 1
    assert abs(clusters.loc["flowsom", "ari"]) < 0.1
    assert clusters.loc["flowsom", "n_clusters_found"] == 1
    assert clusters.loc["flowsom", "n_cells"] == 90


def test_signs_are_matched_by_what_they_compare(study: Path, tmp_path: Path) -> None:
    perfect_run(study, tmp_path)
    path = tmp_path / "tables" / "comparisons.csv"
    table = pd.read_csv(path, keep_default_na=False)
    wrong = (table["subset"] == "DN") & (table["marker"] == "GZMB")
    table.loc[wrong, "call"] = "inconclusive"
    table = table[~((table["subset"] == "CD8") & (table["marker"] == "PD1"))]
    elsewhere = table[table["subset"] == "DN"].assign(compartment="host", call="up")
    # CAR against host may carry any compartment, but only its own timepoint.
    table.loc[table["comparison"] == "car vs host", "compartment"] = "car"
    early = table[table["comparison"] == "car vs host"].assign(timepoint="2mo", call="inconclusive")
    pd.concat([table, elsewhere, early]).to_csv(path, index=False)
    signs = datasets.score_legend2(study, tmp_path)["signs"].set_index(["subset", "marker"])
    assert list(signs.index[~signs["agrees"]]) == [("DN", "GZMB"), ("CD8", "PD1")]
    assert signs.loc[("DN", "GZMB"), "call"] == "inconclusive"
    assert signs.loc[("CD8", "PD1"), "call"] == ""
    assert np.isnan(signs.loc[("CD8", "PD1"), "effect"])


def test_inconclusive_does_not_contradict_equal_but_a_sign_does(study: Path, tmp_path: Path) -> None:
    perfect_run(study, tmp_path)
    path = tmp_path / "tables" / "comparisons.csv"
    table = pd.read_csv(path, keep_default_na=False)
    table.loc[(table["subset"] == "DN") & (table["marker"] == "Ki67"), "call"] = "inconclusive"
    table.loc[(table["subset"] == "DN") & (table["marker"] == "CD38"), "call"] = "up"
    table.to_csv(path, index=False)
    signs = datasets.score_legend2(study, tmp_path)["signs"].set_index(["subset", "marker"])
    assert list(signs.index[~signs["agrees"]]) == [("DN", "CD38")]


def test_a_run_without_comparisons_still_has_a_score(study: Path, tmp_path: Path) -> None:
    perfect_run(study, tmp_path)
    (tmp_path / "tables" / "comparisons.csv").unlink()
    signs = datasets.score_legend2(study, tmp_path)["signs"]
    assert not signs["agrees"].any()


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        datasets.score_legend2(tmp_path / "study", tmp_path / "out")
    for name in ("frequencies.csv", "signs.csv", "cells.h5ad", "car_frequency.csv", "subsets.csv"):
        assert name in str(caught.value)


def with_gates(**gates: Any) -> anndata.AnnData:
    adata = datasets.legend2(cells=1_500, seed=2, timepoints=["2mo", "5yr"], spill=False, drift=False)
    obs = adata.obs
    masks = {name: np.asarray(rule(obs), dtype=bool) for name, rule in gates.items()}
    adata.obsm["gates"] = pd.DataFrame(masks, index=adata.obs_names)
    return adata


def not_c1(obs: pd.DataFrame) -> pd.Series:
    return obs["truth_cluster"] != "C1"


def test_gate_losses_are_told_step_by_step() -> None:
    adata = with_gates(
        cells=lambda obs: obs["truth_type"].isin(["cell", "doublet"]),
        T=lambda obs: obs["truth_type"].isin(["cell", "doublet"]) & obs["truth_lineage"].isin(["T", "T+T"]),
        early=lambda obs: (obs["truth_type"] == "cell") & (obs["truth_lineage"] == "T") & not_c1(obs),
        late=lambda obs: obs["truth_is_car"] & not_c1(obs),
    )
    table = datasets.gate_losses(adata).set_index(["sample_id", "population"])
    obs = adata.obs[adata.obs["sample_id"] == "P1_2mo"]
    at = table.loc["P1_2mo"]
    assert list(at["parent"]) == ["events", "cells", "T", "early"]
    n_car, n_c1 = int(obs["truth_is_car"].sum()), int((obs["truth_cluster"] == "C1").sum())
    assert list(at["n_car"]) == [n_car, n_car, n_car - n_c1, n_car - n_c1]
    assert list(at["n_car_lost"]) == [0, 0, n_c1, 0]
    assert n_c1 > 5
    assert at.loc["cells", "n_false_doublet"] == (obs["truth_type"] == "doublet").sum()
    assert at.loc["cells", "n_false_cell"] == 1_500 - n_car
    assert at.loc["late", "n_false"] == 0
    assert table.loc[("P1_5yr", "late"), "n_car"] <= 4


def test_gate_losses_follow_the_recorded_parents() -> None:
    adata = with_gates(a=lambda obs: obs["truth_is_car"], b=lambda obs: obs["truth_cluster"] == "C2")
    strategy = "populations:\n  - {name: b, parent: all, gate: [CD3+]}\n"
    adata.uns["cytocar"]["gating"] = json.dumps({"strategy": strategy})
    table = datasets.gate_losses(adata)
    assert dict(zip(table["population"], table["parent"], strict=True)) == {"a": "events", "b": "events"}
    adata.uns["cytocar"]["gating"] = "{}"
    table = datasets.gate_losses(adata)
    assert dict(zip(table["population"], table["parent"], strict=True)) == {"a": "events", "b": "a"}


def test_gate_losses_need_truth_and_gates() -> None:
    adata = datasets.legend2(cells=100, timepoints=["2mo"])
    with pytest.raises(StateError, match=r"obsm\['gates'\] is not there"):
        datasets.gate_losses(adata)
    del adata.obs["truth_is_car"]
    with pytest.raises(StateError, match="no truth_is_car"):
        datasets.gate_losses(adata)
