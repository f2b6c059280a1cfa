"""The ISAC compliance suite of Gating-ML 2.0: 213 expected results, event by event."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from cytocar import gate
from cytocar.gate import Combination, Dimension, Divider, GatingDocument, Operand, Quadrants, Rectangle

SETS = {
    1: ("gates1.xml", "data1.fcs", 60),
    2: ("gates2.xml", "data2.fcs", 40),
    3: ("gates3.xml", "9399_1_3_NKR.fcs", 56),
    4: ("gates4.xml", "9399_1_3_NKR.fcs", 21),
    5: ("gates5.xml", "9399_1_3_NKR.fcs", 13),
}
# File names of expected results that are shorter than the ids of their gates.
LONG = {
    "myPolygonWCustNonSqSpecArcSinH": "myPolygonGateWithCustomNonSquareSpectrumMatrixOnArcSinH",
    "myPolygonWCustNonSqSpecInvAlrd": "myPolygonGateWithCustomNonSquareSpectrumMatrixInvertedAlready",
    "myPolygonWCustSpillAndArcSinH": "myPolygonGateWithCustomSpilloverAndArcSinH",
    "myPolygonWFCSSpillAndArcSinH": "myPolygonGateWithFCSSpilloverAndArcSinH",
    "myPolygonWithCustInvAlrSpil": "myPolygonGateWithCustomInvertedAlreadySpillover",
    "myPolygonWithCustNonSqSpecMat": "myPolygonGateWithCustomNonSquareSpectrumMatrix",
    "myRect4LogicleArcSinHFCSComp": "myRectangleGate4LogicleArcSinHFCSCompensated",
    "myRect4bHyperlogArcSinHFCSComp": "myRectangleGate4bHyperlogArcSinHFCSCompensated",
}


@pytest.fixture(scope="module")
def suite(test_data: Path) -> Path:
    return test_data / "gatingml" / "isac_2.0"


def expected(suite: Path, number: int) -> dict[str, np.ndarray]:
    folder = suite / "ExpectedResults" / f"set_{number}"
    return {
        file.stem.removeprefix("Results_"): np.array(file.read_text().split(), dtype=int).astype(bool)
        for file in sorted(folder.glob("*.txt"))
    }


def compare(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], count: int) -> None:
    assert len(wanted) == count
    different = {}
    for name, mask in wanted.items():
        # Two results of set 5 are those of the complement of a gate.
        own = found[LONG.get(name, name.removeprefix("Not_"))]
        own = ~own if name.startswith("Not_") else own
        assert own.shape == mask.shape
        if events := int((own != mask).sum()):
            different[name] = events
    assert different == {}


@pytest.mark.parametrize("number", SETS)
@pytest.mark.parametrize("written", [False, True], ids=["as read", "written and read again"])
def test_every_event_is_where_the_suite_says(suite: Path, tmp_path: Path, number: int, written: bool) -> None:
    xml, fcs, count = SETS[number]
    document = gate.read_gatingml(suite / "Gating-MLFiles" / xml)
    if written:
        gate.write_gatingml(document, tmp_path / "gates.xml")
        again = gate.read_gatingml(tmp_path / "gates.xml")
        assert again == document
        document = again
    compare(document.evaluate_fcs(suite / "FCSFiles" / fcs), expected(suite, number), count)


def quadrant(name: str, axes: tuple[Dimension, Dimension], at: tuple[float, float]) -> Quadrants:
    places = {False: -1e9, True: 1e9}
    return Quadrants(
        id=name,
        dividers=tuple(
            Divider(f"{name}{n}", axis, (cut,)) for n, (axis, cut) in enumerate(zip(axes, at, strict=True))
        ),
        quadrants={
            f"{name}.{'NP'[x]}{'NP'[y]}": {f"{name}0": places[bool(x)], f"{name}1": places[bool(y)]}
            for x in (0, 1)
            for y in (0, 1)
        },
    )


def set_6() -> GatingDocument:
    """Return the gates of set 6, which tests writers: they are made in memory, written, and read again."""
    scales = {
        "trArcSinH1": gate.Asinh(t=1000, m=4.5, a=0),
        "trLogicle1": gate.Logicle(t=1000, w=0.5, m=4.5, a=0),
        "trArcSinH2": gate.Asinh(t=1000, m=4, a=0),
        "trLogicle2": gate.Logicle(t=1000, w=0.3, m=4.5, a=0),
        "plain": gate.Asinh(t=math.sinh(1.0), m=1 / math.log(10), a=0),
        "rat1": gate.Ratio(numerator="FSC-A", denominator="SSC-A"),
        "rat2": gate.Ratio(numerator="FSC-A", denominator="APC-A"),
    }

    def box(name: str, x: str, y: str, low: tuple[float, float], high: tuple[float, float]) -> Rectangle:
        return Rectangle(id=name, dimensions=(Dimension(x), Dimension(y)), low=low, high=high)

    both = (Operand("rg1"), Operand("rg2"))
    return GatingDocument(
        [
            quadrant("myQuad", (Dimension("FSC-A"), Dimension("SSC-A")), (15000, 16000)),
            quadrant("myCompQuad", (Dimension("PE-A", "FCS"), Dimension("PerCP-Cy5-5-A", "FCS")), (100, 200)),
            quadrant(
                "myTrQuad",
                (
                    Dimension("APC-A", transformation="trArcSinH1"),
                    Dimension("APC-Cy7-A", transformation="trLogicle1"),
                ),
                (0.5, 0.5),
            ),
            quadrant(
                "myTr.Comp.Quad",
                (Dimension("APC-A", "FCS", "trArcSinH2"), Dimension("APC-Cy7-A", "FCS", "trLogicle2")),
                (0.5, 0.5),
            ),
            gate.interval("gate1", Dimension(ratio="rat1"), low=0.8, high=1.4),
            gate.interval("gate2", Dimension(ratio="rat2", transformation="trArcSinH1"), low=0.6, high=1.3),
            box("rg1", "FSC-A", "SSC-A", (200, 0), (16000, 34000)),
            box("rg2", "PE-A", "APC-Cy7-A", (100, 0), (8000, 59000)),
            Combination(id="orGate", operation="or", operands=both),
            Combination(id="andGate", operation="and", operands=both),
            Combination(id="notGate", operation="not", operands=both[:1]),
            Rectangle(
                id="parentGate",
                parent="rg2",
                dimensions=(Dimension("FSC-A"), Dimension("SSC-A")),
                low=(200, 0),
                high=(16000, 34000),
            ),
            gate.interval("gateAsinhGml1.5", Dimension("APC-A", transformation="plain"), low=0.3, high=4.7),
        ],
        transformations=scales,
    )


def test_what_is_written_and_read_again_gives_set_6(suite: Path, tmp_path: Path) -> None:
    gate.write_gatingml(set_6(), tmp_path / "gates6.xml")
    document = gate.read_gatingml(tmp_path / "gates6.xml")
    assert document == set_6()
    compare(document.evaluate_fcs(suite / "FCSFiles" / "9399_1_3_NKR.fcs"), expected(suite, 6), 23)
