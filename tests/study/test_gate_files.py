"""Gates on FCS files: counts as FlowKit-checked gates give them, populations as files."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from cytocar import GateError, ParameterError, gate, pp
from cytocar.io import read_fcs, write_fcs
from cytocar.study import gate_files


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


def test_a_file_takes_the_numbers_pinned_for_it_and_those_of_other_files_do_no_harm(study, tmp_path):
    path, panel = study / "fcs" / "P1_2mo.fcs", study / "panel.csv"

    def cells(*pins: tuple[str, float]) -> int:
        tree = gate.car_t()
        for sample, number in pins:
            tree = tree.with_threshold("VHH", number, sample=sample)
        (tmp_path / "mine.yaml").write_text(tree.to_yaml(), encoding="utf-8")
        table = gate_files(tmp_path / "mine.yaml", [path], panel=panel)
        return int(table.set_index("population").loc["CAR-T", "events"])

    assert cells(("another", 9.0)) == cells() > 0
    assert cells(("another", 0.0), ("P1_2mo", 9.0)) == 0


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


def test_gates_of_other_programs_give_the_same_counts(study, tmp_path):
    paths = sorted((study / "fcs").glob("*.fcs"))[:2]
    panel = study / "panel.csv"
    scale = gate.Asinh.of_cofactor(5)
    cd45, cd3 = (gate.Dimension(name, transformation="arcsinh") for name in ("Y89Di", "Er170Di"))
    gates = [
        gate.threshold_gate("CD45+", cd45, 2.5),
        gate.threshold_gate("CD3", cd3, 2.0, parent="CD45+"),
        gate.threshold_gate("low", cd3, 2.0, positive=False, parent="CD45+"),
    ]
    document = gate.GatingDocument(gates, transformations={"arcsinh": scale})
    gate.write_gatingml(document, tmp_path / "g.xml")
    gate.write_gatingml(document, tmp_path / "c.xml", flavour="cytobank")
    gate.write_flowjo(document, tmp_path / "g.wsp", files=paths)
    tables = [
        gate_files(tmp_path / name, paths, panel=panel, group=group)
        for name, group in (("g.xml", None), ("c.xml", None), ("g.wsp", None), ("g.wsp", "cytocar"))
    ]
    for table in tables:
        assert table["events"].tolist() == tables[0]["events"].tolist()
        assert table["population"].tolist() == ["CD45+", "CD45+/CD3", "CD45+/low"] * 2
    counts = tables[0]["events"].tolist()
    assert counts[1] + counts[2] == counts[0] > counts[1] > 100
    gate_files(tmp_path / "g.wsp", paths[:1], out=tmp_path / "o", populations=["CD3"], panel=panel)
    [file] = (tmp_path / "o").iterdir()
    assert read_fcs(file, panel=panel).n_obs == counts[1]
    with pytest.raises(GateError, match="did you mean 'CD45\\+/CD3'"):
        gate_files(tmp_path / "g.wsp", paths[:1], out=tmp_path / "p", populations=["CD45+/CD"], panel=panel)
    with pytest.raises(ParameterError, match="group is 'cyto'; did you mean 'cytocar'"):
        gate_files(tmp_path / "g.wsp", paths[:1], panel=panel, group="cyto")
    with pytest.raises(GateError, match=r"no population 'DN'; known: CD45\+, CD3, low$"):
        gate_files(tmp_path / "g.wsp", paths[:1], out=tmp_path / "p", populations=["DN"], panel=panel)
    with pytest.raises(GateError, match=r"group is 'cyto', but g\.xml is no FlowJo workspace"):
        gate_files(tmp_path / "g.xml", paths[:1], panel=panel, group="cyto")


def test_populations_with_slashes_in_their_names_are_told_apart(study, tmp_path):
    path = study / "fcs" / "P1_2mo.fcs"
    channel = gate.Dimension("Er170Di")
    gates = [
        gate.threshold_gate("top", channel, 1.0),
        gate.threshold_gate("below", channel, 20.0, parent="top"),
        gate.threshold_gate("slash", channel, 40.0),
    ]
    named = dict(zip(("top", "below", "slash"), ("A", "B", "A/B"), strict=True))
    document = gate.GatingDocument([dataclasses.replace(one, name=named[one.id]) for one in gates])
    gate.write_gatingml(document, tmp_path / "g.xml")
    counts = gate_files(tmp_path / "g.xml", [path])["events"].tolist()
    assert len(set(counts)) == 3
    with pytest.raises(GateError, match="population 'A/B' is one of A/B, A/B"):
        gate_files(tmp_path / "g.xml", [path], out=tmp_path / "o", populations=["A/B"])
    gate_files(tmp_path / "g.xml", [path], out=tmp_path / "o", populations=["B"])
    assert read_fcs(tmp_path / "o" / "P1_2mo_B.fcs").n_obs == counts[1]


def test_files_of_one_name_are_told_apart_and_names_looked_up_first(study, tmp_path):
    first = study / "fcs" / "P1_2mo.fcs"
    (tmp_path / "other").mkdir()
    second = tmp_path / "other" / first.name
    shutil.copy(study / "fcs" / "P1_5yr.fcs", second)
    gate.write_gatingml(
        gate.GatingDocument([gate.threshold_gate("T", gate.Dimension("Er170Di"), 10.0)]), tmp_path / "g.xml"
    )
    table = gate_files(tmp_path / "g.xml", [first, second])
    assert table["file"].tolist() == [str(first), str(second)]
    # The second file is none: a name that is not there is told before any file is read or written.
    second.write_bytes(b"no FCS file")
    for strategy, wrong in ((tmp_path / "g.xml", "TT"), ("car_t", "CAR-TT")):
        with pytest.raises(GateError, match=f"no population '{wrong}'; (did you mean|known)"):
            gate_files(strategy, [second], out=tmp_path / "o", populations=[wrong])


def test_an_error_names_its_file(study, tmp_path):
    path = tmp_path / "none.fcs"
    write_fcs(read_fcs(study / "fcs" / "P1_2mo.fcs")[:0].copy(), path)
    with pytest.raises(GateError, match="there are no events to gate") as caught:
        gate_files("cells", [path])
    assert caught.value.__notes__ == [f"while gating {path}"]
    document = gate.GatingDocument([gate.threshold_gate("T", gate.Dimension("Er170Di"), 10.0)])
    gate.write_gatingml(document, tmp_path / "g.xml")
    assert gate_files(tmp_path / "g.xml", [path])["events"].tolist() == [0]
