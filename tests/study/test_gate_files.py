"""Gates on FCS files: counts as FlowKit-checked gates give them, populations as files."""

from __future__ import annotations

import pytest

from cytocar import GateError, ParameterError, gate, pp
from cytocar.io import read_fcs
from cytocar.study.gate_files import gate_files


def test_counts_and_files_of_a_strategy(study, tmp_path):
    path = study / "fcs" / "P1_2mo.fcs"
    panel = study / "panel.csv"
    table = gate_files("car_t", [path], out=tmp_path / "out", populations=["CAR-T", "CAR-T DN"], panel=panel)
    counts = table.set_index("population")["events"]
    adata = read_fcs(path, panel=panel)
    pp.clean(adata)
    pp.arcsinh(adata)
    gate.apply(adata, "car_t")
    assert counts["CAR-T"] == gate.membership(adata, "CAR-T").sum()
    written = read_fcs(tmp_path / "out" / "P1_2mo_CAR-T.fcs", panel=panel)
    assert written.n_obs == counts["CAR-T"]
    assert (gate.subset(adata, "CAR-T").layers["counts"] == written.X).all()
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"P1_2mo_CAR-T.fcs", "P1_2mo_CAR-T_DN.fcs"}


def test_gatingml_gates_get_counts_as_they_are(test_data, tmp_path):
    folder = test_data / "gatingml"
    path = folder / "example_cytof_data_for_gatingML.fcs"
    document = gate.read_gatingml(folder / "example_gatingML.xml")
    masks = document.evaluate_fcs(path)
    chosen = document.populations[0]
    table = gate_files(
        folder / "example_gatingML.xml", [path], out=tmp_path / "o", populations=["/".join(chosen.path)]
    )
    assert len(table) == len(document.populations)
    [file] = (tmp_path / "o").iterdir()
    assert read_fcs(file).n_obs == masks[chosen.id].sum()


def test_what_cannot_be_is_told(study, tmp_path):
    path = study / "fcs" / "P1_2mo.fcs"
    panel = study / "panel.csv"
    with pytest.raises(ParameterError, match="no folder is named"):
        gate_files("car_t", [path], populations=["CAR-T"], panel=panel)
    with pytest.raises(ParameterError, match="nothing is written beside input files"):
        gate_files("car_t", [path], out=path.parent, populations=["CAR-T"], panel=panel)
    with pytest.raises(GateError, match="did you mean 'CAR-T'"):
        gate_files("car_t", [path], out=tmp_path / "o", populations=["CAR-TT"], panel=panel)
    assert not (tmp_path / "o").exists()
