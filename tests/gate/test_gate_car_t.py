"""The CAR-T strategy on the simulated study, judged event by event against the truth."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import datasets, gate, pp


@pytest.fixture(scope="module")
def gated(legend2_cells: anndata.AnnData) -> anndata.AnnData:
    adata = gate.apply(legend2_cells, "car_t", copy=True)
    assert adata is not None
    return adata


def judged(adata: anndata.AnnData) -> pd.DataFrame:
    """Compare what was found with what is true, a row a sample."""
    gates, obs = adata.obsm["gates"], adata.obs
    rows = {}
    for sample in obs["sample_id"].unique():
        here = np.asarray(obs["sample_id"] == sample)
        car = np.asarray(obs["truth_is_car"], dtype=bool)[here]
        found = gates["CAR-T"].to_numpy()[here]
        subset, truth = (np.asarray(obs[name].astype(str))[here] for name in ("subset", "truth_subset"))
        host = gates["Host T"].to_numpy()[here]
        cells = (obs["truth_type"].astype(str) == "cell").to_numpy()[here].sum()
        rows[sample] = {
            "sensitivity": (found & car).sum() / car.sum(),
            "precision": (found & car).sum() / found.sum(),
            "share": (found.sum() / gates["CD45+"].to_numpy()[here].sum()) / (car.sum() / cells),
            "dn": (subset[found] == "DN").mean(),
            "dn_true": (truth[car] == "DN").mean(),
            "n": car.sum(),
            "host_dn": (subset[host] == "DN").mean(),
            "host_dp": (subset[host] == "DP").mean(),
        }
    return pd.DataFrame(rows).T


def test_car_t_cells_are_found_in_every_sample(gated: anndata.AnnData) -> None:
    table = judged(gated)
    assert len(table) == 4
    assert (table["sensitivity"] >= 0.92).all(), table
    assert (table["precision"] >= 0.93).all(), table
    assert (table["share"] - 1).abs().max() <= 0.08, table
    # 3 points, and no less than two standard errors of a share of n cells.
    allowed = np.maximum(0.03, 2 * np.sqrt(table["dn_true"] * (1 - table["dn_true"]) / table["n"]))
    assert ((table["dn"] - table["dn_true"]).abs() <= allowed).all(), table
    assert table["host_dn"].max() <= 0.003, table
    assert table["host_dp"].max() <= 0.001, table


def test_the_car_threshold_keeps_its_false_positive_rate_in_host_t_cells(gated: anndata.AnnData) -> None:
    """Host T cells, which the threshold never saw, exceed it about as often as stated; planted ones apart."""
    obs, gates = gated.obs, gated.obsm["gates"]
    planted = np.asarray(obs["truth_false_positive"], dtype=bool)
    host = gates["T cells"].to_numpy() & ~np.asarray(obs["truth_is_car"], dtype=bool) & ~planted
    expected = gate.reference_counts(gated)["expected_false_positives"].sum()
    assert (host & gates["CAR-T"].to_numpy()).sum() < 2.5 * expected
    [rule] = [rule for rule in gate.car_t().thresholds["VHH"].rules() if hasattr(rule, "false_positive_rate")]
    assert expected == pytest.approx(rule.false_positive_rate * gates["T cells"].sum(), rel=1e-6)


def test_only_cd45_needs_its_fallback_when_all_lineages_are_there(gated: anndata.AnnData) -> None:
    found = gate.thresholds(gated)
    fallback = found[found["fallback"]]
    assert set(fallback["name"]) <= {"CD45", "CD19"}
    assert set(found.loc[found["name"] == "CD45", "rule"]) == {"lower_limit_of_positives"}
    table = gate.table(gated).set_index(["sample_id", "population"])["fraction_of_parent"]
    assert table.xs("CD45+", level="population").min() > 0.999


def test_without_clean_up_debris_falls_below_cd45(legend2_cells: anndata.AnnData) -> None:
    one = legend2_cells[legend2_cells.obs["sample_id"] == "P1_2mo"].copy()
    truth = np.asarray(one.obs["truth_type"].astype(str))
    del one.obs["event_class"]
    gate.apply(one, "car_t")
    row = gate.thresholds(one).set_index("name").loc["CD45"]
    assert row["rule"] == "valley"
    positive = gate.membership(one, "CD45+")
    assert positive[truth == "cell"].mean() > 0.999
    assert positive[truth == "bead"].mean() < 0.01


def test_host_dn_cells_are_found_when_they_are_there() -> None:
    adata = datasets.legend2(cells=20_000, host_dn=0.04, timepoints=["5yr"])
    adata = adata[adata.obs["truth_type"].astype(str) == "cell"].copy()
    pp.arcsinh(adata)
    gate.apply(adata, "car_t")
    host = adata.obs["compartment"] == "host"
    assert (adata.obs.loc[host, "subset"] == "DN").mean() == pytest.approx(0.04, abs=0.003)


def test_a_small_tube_is_gated_too() -> None:
    adata = datasets.legend2(cells=2_000, timepoints=["2mo", "5yr"])
    adata = adata[adata.obs["truth_type"].astype(str) == "cell"].copy()
    pp.arcsinh(adata)
    gate.apply(adata, "car_t")
    table = judged(adata)
    assert table["sensitivity"].min() > 0.7
    assert table["precision"].min() > 0.8
