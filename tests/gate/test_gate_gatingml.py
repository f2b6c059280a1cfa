from __future__ import annotations

import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from cytocar import GateError, gate
from cytocar.gate import GateTree

G = "{http://www.isac-net.org/std/Gating-ML/v2.0/gating}"
D = "{http://www.isac-net.org/std/Gating-ML/v2.0/datatypes}"
T = "{http://www.isac-net.org/std/Gating-ML/v2.0/transformations}"
REASON = "FlowKit is not installed; it reads Gating-ML independently of cytocar"

BOOLEANS = """
  - {name: a & <b>, parent: T cells, any_of: [CAR-T, Host T], not: [CAR-T CD4]}
  - {name: not T, parent: cells, not: [T cells]}
  - {name: all, parent: T cells, all_of: [cells, Host T]}
  - {name: some, parent: cells, any_of: [CAR-T, not T]}
  - {name: everything, parent: T cells, any_of: [cells, CAR-T]}
compartments"""


@pytest.fixture
def gated(tube, joined, small):
    adata = joined(tube(sample="5 yr"), tube(seed=1, sample="5_yr"))
    gate.apply(adata, GateTree.from_yaml(small.replace("\ncompartments", BOOLEANS, 1)))
    return adata


def named_gates(path: Path) -> dict[tuple[str, str], ElementTree.Element]:
    """Return sample and population to gate element."""
    return {
        (element.findtext(".//sample") or "", element.findtext(".//population") or ""): element
        for element in ElementTree.parse(path).getroot()
        if element.tag.endswith("Gate")
    }


def test_every_sample_has_its_gates_with_its_numbers(gated, tmp_path) -> None:
    path = tmp_path / "gates.xml"
    gate.write_gatingml(gated, path)
    gates = named_gates(path)
    numbers = gate.thresholds(gated).set_index(["sample_id", "name"])["value"]
    for sample in ("5 yr", "5_yr"):
        t_cells, cd4 = gates[sample, "T cells"], gates[sample, "Host T not CD4"]
        (dimension,) = t_cells.iter(f"{G}dimension")
        assert float(dimension.attrib[f"{G}min"]) == numbers[sample, "CD3"]
        assert f"{G}max" not in dimension.attrib
        assert dimension[0].attrib[f"{D}name"] == "Er170Di"
        (dimension,) = cd4.iter(f"{G}dimension")
        assert float(dimension.attrib[f"{G}max"]) == numbers[sample, "CD4"]
        assert cd4.attrib[f"{G}parent_id"] == gates[sample, "Host T"].attrib[f"{G}id"]
        assert f"{G}parent_id" not in t_cells.attrib
    assert ("5 yr", "a & <b>") in gates


def test_ids_are_unique_names_and_references_lead_somewhere(gated, tmp_path) -> None:
    path = tmp_path / "gates.xml"
    gate.write_gatingml(gated, path)
    root = ElementTree.parse(path).getroot()
    ids = [element.attrib[f"{G}id"] for element in root if f"{G}id" in element.attrib]
    assert len(set(ids)) == len(ids) > 20
    assert all(re.fullmatch(r"[A-Za-z_][\w.-]*", identity, re.ASCII) for identity in ids)
    transforms = {element.attrib[f"{T}id"] for element in root.iter(f"{T}transformation")}
    for element in root.iter():
        for key in ("parent_id", "ref"):
            assert element.attrib.get(f"{G}{key}", ids[0]) in ids
        assert element.attrib.get(f"{G}transformation-ref", "arcsinh_5") in transforms


def test_fasinh_is_arcsinh_with_the_cofactor(tube, small, tmp_path) -> None:
    adata = tube()
    adata.var["cofactor"] = [5.0, 5.0, 7.25]
    gate.apply(adata, GateTree.from_yaml(small))
    gate.write_gatingml(adata, tmp_path / "g.xml")
    found = {}
    for element in ElementTree.parse(tmp_path / "g.xml").getroot().iter(f"{T}transformation"):
        t, m, a = (float(element[0].attrib[T + key]) for key in "TMA")
        x = np.array([0.0, 3.0, 800.0])
        y = (np.arcsinh(x * np.sinh(m * np.log(10)) / t) + a * np.log(10)) / ((m + a) * np.log(10))
        found[element.attrib[f"{T}id"]] = y
    np.testing.assert_allclose(found["arcsinh_5"], np.arcsinh(np.array([0.0, 3.0, 800.0]) / 5), rtol=1e-12)
    np.testing.assert_allclose(
        found["arcsinh_7.25"], np.arcsinh(np.array([0.0, 3.0, 800.0]) / 7.25), rtol=1e-12
    )


def test_subsets_and_several_data_sets_will_do(gated, tube, small, tmp_path) -> None:
    gate.write_gatingml(gated, tmp_path / "all.xml")
    cars = gate.subset(gated, "CAR-T")
    del cars.obsm["gates"]
    gate.write_gatingml([cars], tmp_path / "cars.xml")
    assert (tmp_path / "cars.xml").read_bytes() == (tmp_path / "all.xml").read_bytes()
    with pytest.raises(GateError, match="sample '5 yr' comes twice"):
        gate.write_gatingml([cars, gated], tmp_path / "twice.xml")
    assert not (tmp_path / "twice.xml").exists()
    with pytest.raises(GateError, match="not gated"):
        gate.write_gatingml(tube(), tmp_path / "none.xml")


def test_what_gating_ml_needs_is_asked_for(tube, small, tmp_path) -> None:
    adata = tube()
    gate.apply(adata, GateTree.from_yaml(small))
    del adata.var["channel"]
    with pytest.raises(GateError, match="var has no column 'channel'"):
        gate.write_gatingml(adata, tmp_path / "g.xml")
    adata = tube()
    text = small.replace("\ncompartments", "\n  - {name: none, parent: T cells, not: [cells]}\ncompartments")
    gate.apply(adata, GateTree.from_yaml(text))
    with pytest.raises(GateError, match="population 'none' is what is not in 'cells'"):
        gate.write_gatingml(adata, tmp_path / "g.xml")


def test_a_population_whose_terms_were_left_out_is_its_parent(tube, small, tmp_path) -> None:
    adata = tube()[:, ["CD4", "VHH"]].copy()
    text = small.replace("negatives: {in: cells, gate: [CD3-]}", "negatives: {in: cells, gate: [CD4-]}")
    gate.apply(adata, GateTree.from_yaml(text + "optional_markers: [CD3]\n"))
    gate.write_gatingml(adata, tmp_path / "g.xml")
    gates = named_gates(tmp_path / "g.xml")
    assert ("S1", "T cells") not in gates
    assert f"{G}parent_id" not in gates["S1", "CAR-T"].attrib


def test_flowkit_finds_the_same_cells(gated, tmp_path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of FlowKit and what it imports
        flowkit = pytest.importorskip("flowkit", reason=REASON)
        path = tmp_path / "gates.xml"
        gate.write_gatingml(gated, path)
        lxml = pytest.importorskip("lxml.etree", reason="lxml checks the schema")
        schema = Path(flowkit.__file__).parent / "_resources" / "Gating-ML.v2.0.xsd"
        if schema.is_file():
            lxml.XMLSchema(lxml.parse(schema)).assertValid(lxml.parse(path))
        strategy = flowkit.parse_gating_xml(str(path))
        compared = 0
        for sample in ("5 yr", "5_yr"):
            here = gated[gated.obs["sample_id"] == sample]
            events = pd.DataFrame(here.layers["counts"], columns=here.var["channel"].tolist())
            report = strategy.gate_sample(flowkit.Sample(events, sample_id=sample)).report
            counts = report.set_index("gate_name")["count"]
            for (of_sample, population), element in named_gates(path).items():
                if of_sample == sample and not population.endswith("(any of)"):
                    expected = gate.membership(here, population).sum()
                    assert counts[element.attrib[f"{G}id"]] == expected, population
                    compared += 1
        assert compared > 20


def test_helpers_are_not_populations_when_read_again(tube, small, tmp_path) -> None:
    adata = tube()
    gate.apply(adata, GateTree.from_yaml(small.replace("\ncompartments", BOOLEANS, 1)))
    gate.write_gatingml(adata, tmp_path / "gates.xml")
    assert "(any of)" in (tmp_path / "gates.xml").read_text(encoding="utf-8")
    document = gate.read_gatingml(tmp_path / "gates.xml")
    names = [population.name for population in document.populations]
    assert not [name for name in names if "any of" in name]
    assert "a & <b>" in names
