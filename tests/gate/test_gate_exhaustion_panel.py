"""The strategy of the exhaustion-panel workflow on the real files it is for."""

from __future__ import annotations

from pathlib import Path

import anndata
import pytest

from cytocar import gate, io, pp

STRATEGY = Path(__file__).parents[2] / "workflows" / "exhaustion_panel" / "gating.yaml"
FILES = {
    "CD19-HA": "Yescarta-Exhaustion-032219_CD19-HA-Control.fcs",
    "HA-Control": "Yescarta-Exhaustion-102518_Sample_18_HA-Control.fcs",
    "Healthy-PBMC": "Yescarta-Exhaustion-032219_Healthy-PBMC2-Control.fcs",
}


@pytest.fixture(scope="module")
def gated(test_data: Path) -> anndata.AnnData:
    tubes = []
    for sample, name in FILES.items():
        one = io.read_fcs(test_data / "cart" / name, panel="exhaustion", sample_id=sample)
        one.obs["role"] = "patient" if sample == "CD19-HA" else "negative_control"
        tubes.append(one)
    adata = anndata.concat(tubes, merge="same")
    adata.uns["cytocar"] = {"state": "counts"}
    pp.arcsinh(adata)
    gate.apply(adata, gate.load(STRATEGY))
    return adata


def test_half_of_the_product_has_the_car_and_the_controls_have_none(gated: anndata.AnnData) -> None:
    share = gate.table(gated).set_index(["sample_id", "population"])["fraction_of_cd45"]
    assert share["CD19-HA", "CAR-T"] == pytest.approx(0.515, abs=0.02)
    assert share["HA-Control", "CAR-T"] < 0.003
    assert share["Healthy-PBMC", "CAR-T"] < 0.003


def test_both_control_tubes_agree_on_the_car_threshold(gated: anndata.AnnData) -> None:
    car = gate.thresholds(gated).query("name == 'CAR'")
    assert car["value"].nunique() == 1
    assert car["value"].between(2.9, 3.5).all()
    assert car["found_in"].iloc[0] in ("control Healthy-PBMC", "control HA-Control")
    assert car["note"].str.contains(r"control (?:HA-Control|Healthy-PBMC) would give 3\.[012]").all()


def test_subsets_of_the_product_are_single_positive(gated: anndata.AnnData) -> None:
    table = gate.table(gated).set_index(["sample_id", "population"])["fraction_of_parent"]["CD19-HA"]
    assert table["CAR-T CD4"] + table["CAR-T CD8"] > 0.97
    assert table["CAR-negative CD4"] + table["CAR-negative CD8"] > 0.9
    found = gate.thresholds(gated).query("name in ['CD4', 'CD8a'] and sample_id != 'Healthy-PBMC'")
    assert (found["rule"] == "valley").all()
    assert (found["confidence"] > 0.6).all()
