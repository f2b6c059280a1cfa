"""FlowJo's units: gains of linear axes, seconds of Time, edges at the bottom of an axis, its own channels."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from cytocar import gate
from cytocar._core.errors import GateError
from cytocar.gate import Dimension, GatingDocument, interval
from cytocar.io._fcs.write import write_events

CHANNELS = [("Time", ""), ("Er170Di", "170Er_CD3")]
LAST = 218_911.0
GAIN = 0.000333481


def fcs(path: Path, keywords: dict[str, str]) -> Path:
    """3,000 events whose Time runs from 0 to the last tick, and counts from 0 to 99."""
    values = np.column_stack([np.linspace(0, LAST, 3000), np.arange(3000) % 100]).astype(np.float32)
    write_events(path, values, CHANNELS, keywords)
    return path


def workspace(
    path: Path, low: float, high: float, *, axis: str, keywords: str = "", channel: str = "Time"
) -> Path:
    path.write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<Workspace version="20.0" flowJoVersion="10.8.1"
 xmlns:gating="http://www.isac-net.org/std/Gating-ML/v2.0/gating"
 xmlns:transforms="http://www.isac-net.org/std/Gating-ML/v2.0/transformations"
 xmlns:data-type="http://www.isac-net.org/std/Gating-ML/v2.0/datatypes">
<SampleList><Sample><DataSet uri="a.fcs" sampleID="1"/>
<Transformations><transforms:linear {axis}><data-type:parameter data-type:name="{channel}"/></transforms:linear>
</Transformations><Keywords><Keyword name="$PAR" value="2"/><Keyword name="$P1N" value="Time"/>
<Keyword name="$P2N" value="Er170Di"/><Keyword name="$P3N" value="Comp-Er170Di"/>{keywords}</Keywords>
<SampleNode name="a.fcs" sampleID="1"><Subpopulations><Population name="kept"><Gate gating:id="ID1">
<gating:RectangleGate eventsInside="1" gating:id="ID1"><gating:dimension gating:min="{low}" gating:max="{high}">
<data-type:fcs-dimension data-type:name="{channel}"/></gating:dimension></gating:RectangleGate></Gate></Population>
</Subpopulations></SampleNode></Sample></SampleList></Workspace>""",
        encoding="utf-8",
    )
    return path


def kept(workspace_file: Path, file: Path) -> int:
    return int(np.count_nonzero(gate.read_flowjo(workspace_file).evaluate_fcs(file)["kept"]))


@pytest.mark.parametrize("timestep", ["", '<Keyword name="$TIMESTEP" value="0.01"/>'])
def test_a_gate_on_time_is_in_values_times_the_gain_of_its_axis(timestep: str, tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    axis = f'transforms:minRange="0" transforms:maxRange="73" gain="{GAIN}"'
    ws = workspace(tmp_path / "a.wsp", 10, 50, axis=axis, keywords=timestep)
    seconds = np.linspace(0, LAST, 3000).astype(np.float32) * GAIN
    assert kept(ws, file) == np.count_nonzero((seconds >= 10) & (seconds < 50)) > 1500


def test_another_linear_axis_has_its_gain_too(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    axis = 'transforms:minRange="-10" transforms:maxRange="1000" gain="4"'
    ws = workspace(tmp_path / "a.wsp", 40, 80, axis=axis, channel="Er170Di")
    assert kept(ws, file) == 300  # counts 10 to 19 of 0 to 99


def test_a_compensated_linear_axis_has_its_gain_too(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    axis = 'transforms:minRange="-10" transforms:maxRange="1000" gain="4"'
    ws = workspace(tmp_path / "a.wsp", 40, 80, axis=axis, channel="Comp-Er170Di")
    matrix = """<transforms:spilloverMatrix prefix="Comp-" suffix="" name="m"><data-type:parameters>
<data-type:parameter data-type:name="Er170Di"/></data-type:parameters>
<transforms:spillover data-type:parameter="Er170Di">
<transforms:coefficient data-type:parameter="Er170Di" transforms:value="1"/></transforms:spillover>
</transforms:spilloverMatrix><Transformations>"""
    ws.write_text(ws.read_text(encoding="utf-8").replace("<Transformations>", matrix), encoding="utf-8")
    assert kept(ws, file) == 300


def test_without_a_gain_time_is_by_timestep(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {"$TIMESTEP": "0.001"})
    axis = 'transforms:minRange="-1" transforms:maxRange="300"'
    ws = workspace(
        tmp_path / "a.wsp", 10, 50, axis=axis, keywords='<Keyword name="$TIMESTEP" value="0.001"/>'
    )
    ticks = np.linspace(0, LAST, 3000).astype(np.float32)
    assert kept(ws, file) == np.count_nonzero((ticks >= 10_000) & (ticks < 50_000))


def test_without_either_time_is_refused_with_its_line(tmp_path: Path):
    axis = 'transforms:minRange="0" transforms:maxRange="300"'
    ws = workspace(tmp_path / "a.wsp", 10, 50, axis=axis)
    with pytest.raises(GateError, match=r"line \d+.*neither a gain of its axis nor \$TIMESTEP, nor \$BTIM"):
        gate.read_flowjo(ws)


CLOCK = '<Keyword name="$BTIM" value="{}"/><Keyword name="$ETIM" value="{}"/>'


@pytest.mark.parametrize(
    ("begin", "end", "took"), [("10:00:00", "10:03:39", 219.0), ("23:59:00", "00:01:00", 120.0)]
)
def test_without_gain_and_timestep_time_is_by_the_clock_over_the_last_tick_of_the_file(
    begin: str, end: str, took: float, tmp_path: Path
):
    file = fcs(tmp_path / "a.fcs", {})
    axis = 'transforms:minRange="-1" transforms:maxRange="300"'
    ws = workspace(tmp_path / "a.wsp", 10, 50, axis=axis, keywords=CLOCK.format(begin, end))
    seconds = np.linspace(0, LAST, 3000).astype(np.float32) * (took / LAST)
    assert kept(ws, file) == np.count_nonzero((seconds >= 10) & (seconds < 50)) > 500
    assert kept(ws, fcs(tmp_path / "a.fcs", {})) == kept(ws, file)


def test_a_time_by_the_clock_needs_the_whole_file(tmp_path: Path):
    axis = 'transforms:minRange="-1" transforms:maxRange="300"'
    ws = workspace(tmp_path / "a.wsp", 10, 50, axis=axis, keywords=CLOCK.format("10:00:00", "10:03:39"))
    some = np.column_stack([np.linspace(0, LAST / 2, 100), np.arange(100)])
    with pytest.raises(GateError, match="from the whole file only"):
        gate.read_flowjo(ws).evaluate(some, ["Time", "Er170Di"])
    file = fcs(tmp_path / "still.fcs", {})
    write_events(file, np.zeros((5, 2), np.float32), CHANNELS, {})
    with pytest.raises(GateError, match="from the whole file only"):
        kept(ws, file)
    write_events(file, np.zeros((0, 2), np.float32), CHANNELS, {})
    assert kept(ws, file) == 0


def test_a_clock_that_does_not_move_is_refused(tmp_path: Path):
    axis = 'transforms:minRange="-1" transforms:maxRange="300"'
    ws = workspace(tmp_path / "a.wsp", 10, 50, axis=axis, keywords=CLOCK.format("10:00:00", "10:00:00"))
    with pytest.raises(GateError, match=r"line \d+.*neither a gain"):
        gate.read_flowjo(ws)


def test_a_gain_of_one_leaves_the_seconds_of_time_to_timestep(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    axis = 'transforms:minRange="-1" transforms:maxRange="300" gain="1"'
    step = '<Keyword name="$TIMESTEP" value="0.001"/>'
    ticks = np.linspace(0, LAST, 3000).astype(np.float32)
    in_seconds = workspace(tmp_path / "a.wsp", 10, 50, axis=axis, keywords=step)
    assert kept(in_seconds, file) == np.count_nonzero((ticks >= 10_000) & (ticks < 50_000))
    in_ticks = workspace(tmp_path / "b.wsp", 10_000, 50_000, axis=axis)
    assert kept(in_ticks, file) == kept(in_seconds, file)


def test_a_range_of_time_on_a_curved_axis_is_in_seconds_too(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    axis = 'transforms:minRange="-1" transforms:maxRange="300"'
    step = '<Keyword name="$TIMESTEP" value="0.001"/>'
    ws = workspace(tmp_path / "a.wsp", 10, 50, axis=axis, keywords=step)
    straight = kept(ws, file)
    text = ws.read_text(encoding="utf-8").replace(axis, 'transforms:offset="1" transforms:decades="6"')
    ws.write_text(text.replace("transforms:linear", "transforms:log"), encoding="utf-8")
    assert kept(ws, file) == straight > 500


def test_an_edge_at_the_bottom_of_a_biexponential_axis_is_open(tmp_path: Path):
    biex = (
        'transforms:length="256" transforms:maxRange="262144" transforms:neg="0" transforms:width="-100" '
        'transforms:pos="4.418539922"'
    )
    for low, is_open in ((-2000, True), (-1700, True), (-1000, False), (-100, False)):
        ws = workspace(tmp_path / "a.wsp", low, 20, axis=biex, channel="Er170Di")
        ws.write_text(ws.read_text(encoding="utf-8").replace("transforms:linear", "transforms:biex"), "utf-8")
        assert (gate.read_flowjo(ws).gates["kept"].low == (None,)) is is_open


def test_writing_lists_edges_at_the_bottom_of_an_axis_and_files_that_are_not_there(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    axis = Dimension("Er170Di", transformation="arcsinh")
    gates = [interval("low", axis, low=-1.5, high=2.0), interval("kept", axis, low=0.5)]
    document = GatingDocument(gates, transformations={"arcsinh": gate.Asinh.of_cofactor(5)})
    (note,) = gate.write_flowjo(document, tmp_path / "ours.wsp", files=[file])
    assert re.match(r"gate 'low': its lower edge on Er170Di, -10\.6.*FlowJo counts all events below it", note)
    notes = gate.write_flowjo(document, tmp_path / "ours.wsp", files=["elsewhere.fcs"])
    assert notes[0].startswith("elsewhere.fcs is not there: FlowJo computes nothing")


def test_time_on_a_scale_is_written_as_seconds(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {"$TIMESTEP": "0.001"})
    axis = Dimension("Time", transformation="arcsinh")
    scales = {"arcsinh": gate.Asinh.of_cofactor(5)}
    document = GatingDocument([interval("kept", axis, low=8.0, high=10.0)], transformations=scales)
    before = int(np.count_nonzero(document.evaluate_fcs(file)["kept"]))
    gate.write_flowjo(document, tmp_path / "ours.wsp", files=[file])
    assert kept(tmp_path / "ours.wsp", file) == before > 0
    corners = ((8.0, 0.0), (10.0, 0.0), (9.0, 2.0))
    outline = gate.Polygon(id="p", dimensions=(axis, Dimension("Er170Di")), vertices=corners)
    with pytest.raises(GateError, match="no axis of seconds"):
        gate.write_flowjo(
            GatingDocument([outline], transformations=scales), tmp_path / "no.wsp", files=[file]
        )


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"$TIMESTEP": "0.001"},
        {"$BTIM": "10:00:00", "$ETIM": "10:03:39"},
        {"$BTIM": "23:59:00", "$ETIM": "00:01:00"},
    ],
)
def test_a_gate_on_time_survives_the_way_there_and_back(keywords: dict[str, str], tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", keywords)
    document = GatingDocument([interval("kept", Dimension("Time"), low=10_000.0, high=50_000.0)])
    before = int(np.count_nonzero(document.evaluate_fcs(file)["kept"]))
    ws = tmp_path / "ours.wsp"
    gate.write_flowjo(document, ws, files=[file])
    assert kept(ws, file) == before > 0
    text = ws.read_text(encoding="utf-8")
    stated = float(re.search(r'gating:min="([^"]*)"', text)[1])
    seconds = {"": 1.0, "$TIMESTEP": 0.001}.get(next(iter(keywords), ""))
    if seconds is None:
        seconds = (219.0 if keywords["$BTIM"] == "10:00:00" else 120.0) / LAST
    assert stated == pytest.approx(10_000 * seconds, rel=1e-6)


def test_a_workspace_that_we_write_has_counts_and_the_whole_text(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {"$CYT": "Helios", "OWN": "kept"})
    document = GatingDocument([interval("kept", Dimension("Er170Di"), low=10.0, high=20.0)])
    ws = tmp_path / "ours.wsp"
    gate.write_flowjo(document, ws, files=[file])
    text = ws.read_text(encoding="utf-8")
    assert 'name="kept" annotation="" owningGroup="cytocar" count="300"' in text
    assert 'sampleID="1" count="3000"' in text
    assert '<Keyword name="OWN" value="kept"/>' in text
    gate.write_flowjo(document, ws, files=["elsewhere.fcs"])
    assert "count=" not in ws.read_text(encoding="utf-8")


def test_an_edge_at_the_bottom_of_an_axis_is_open_and_ours_are_not_there(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    axis = 'transforms:minRange="5" transforms:maxRange="1000" gain="1"'
    assert kept(workspace(tmp_path / "a.wsp", 5, 20, axis=axis, channel="Er170Di"), file) == 600
    assert kept(workspace(tmp_path / "b.wsp", 6, 20, axis=axis, channel="Er170Di"), file) == 420
    usual = 'transforms:minRange="0" transforms:maxRange="262144" gain="1"'
    assert kept(workspace(tmp_path / "c.wsp", 20, 40, axis=usual, channel="Er170Di"), file) == 600
    assert gate.read_flowjo(workspace(tmp_path / "d.wsp", 10, 500, axis=usual)).gates["kept"].low == (None,)
    document = GatingDocument([interval("kept", Dimension("Er170Di"), low=-3.0, high=20.0)])
    gate.write_flowjo(document, tmp_path / "ours.wsp", files=[file])
    assert gate.read_flowjo(tmp_path / "ours.wsp").gates["kept"].low == (-3.0,)


def test_channels_beyond_par_are_flowjos_own(tmp_path: Path):
    axis = 'transforms:minRange="-10" transforms:maxRange="1000" gain="1"'
    ws = workspace(tmp_path / "a.wsp", 40, 80, axis=axis, channel="Comp-Er170Di")
    with pytest.raises(GateError, match="is compensated, but the sample has no <spilloverMatrix>"):
        gate.read_flowjo(ws)


# FlowJo's own counts of the workspace, and the labels that R's CytoML gives to events: it extends an edge below 0 down
# to -4000, FlowJo does not, which is 5 events of 7,487.
def test_a_real_workspace_is_applied_with_its_matrix(test_data: Path):
    folder = test_data / "flowjo"
    masks = gate.read_flowjo(folder / "gating.wsp").evaluate_fcs(folder / "68983.fcs")
    with (folder / "gatingResult.csv").open(encoding="utf-8") as file:
        labels = np.array([row[0] for row in csv.reader(file)])
    by_name = {path.split("/")[-1]: np.asarray(mask) for path, mask in masks.items()}
    differ = {
        name: int(np.count_nonzero(by_name[name] != (labels == name))) for name in set(labels) - {"Unlabeled"}
    }
    assert differ == {
        "NK cells": 0,
        "NK T cells": 0,
        "B cells": 0,
        "CD8 T cells": 0,
        "gd T cells": 0,
        "CD4 T cells": 5,
    }
    counts = dict(
        re.findall(r'Population name="([^"]+)"[^>]*count="([0-9]+)"', (folder / "gating.wsp").read_text())
    )
    assert abs(int(counts["CD4 T cells"]) - int(by_name["CD4 T cells"].sum())) <= 2


# ---- files that are no tidy XML

BODY = 'transforms:minRange="-10" transforms:maxRange="1000" gain="1"'


@pytest.mark.parametrize("reference", ["&#x1;", "&#8;", "&#0;", "&#xFFFF;", "\x02"])
def test_a_control_character_in_an_unrelated_keyword_does_not_take_the_gates(reference: str, tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    note = f'<Keyword name="NOTE" value="a{reference}b"/>'
    ws = workspace(tmp_path / "a.wsp", 10, 20, axis=BODY, channel="Er170Di", keywords=note)
    assert kept(ws, file) == 300


@pytest.mark.parametrize(
    "value",
    [
        b"caf\xe9",
        b"R&D",
        b"a & b",
        b"&NBSP;",
        b"a\xef\xbf\xbfb",
        b"\xed\xa0\x80",
        b"&#xD800;",
        b"&#99999999;",
    ],
)
def test_a_character_that_xml_does_not_have_does_not_take_the_gates(value: bytes, tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    note = '<Keyword name="NOTE" value="BAD"/>'
    ws = workspace(tmp_path / "a.wsp", 10, 20, axis=BODY, channel="Er170Di", keywords=note)
    ws.write_bytes(ws.read_bytes().replace(b"BAD", value))
    assert kept(ws, file) == 300


def test_a_control_character_in_utf_16_does_not_take_the_gates(tmp_path: Path):
    file = fcs(tmp_path / "a.fcs", {})
    note = '<Keyword name="NOTE" value="a\x01b"/>'
    ws = workspace(tmp_path / "a.wsp", 10, 20, axis=BODY, channel="Er170Di", keywords=note)
    wide = ws.read_text(encoding="utf-8").replace("UTF-8", "UTF-16").encode("utf-16")
    (tmp_path / "wide.xml").write_bytes(wide)
    document = gate.load(tmp_path / "wide.xml").document
    assert np.count_nonzero(document.evaluate_fcs(file, file="a.fcs")["kept"]) == 300


def test_a_bad_character_in_a_number_is_refused_with_its_line(tmp_path: Path):
    ws = workspace(tmp_path / "a.wsp", 10, 20, axis=BODY, channel="Er170Di")
    ws.write_bytes(ws.read_bytes().replace(b'gating:min="10"', b'gating:min="1\xb70"'))
    with pytest.raises(GateError, match=r"line \d+, <dimension>: attribute 'min' is"):
        gate.read_flowjo(ws)


@pytest.mark.parametrize("value", [b"a<b", b'a"b'])
def test_a_keyword_that_breaks_its_element_is_refused_with_its_line(value: bytes, tmp_path: Path):
    note = '<Keyword name="NOTE" value="BAD"/>'
    ws = workspace(tmp_path / "a.wsp", 10, 20, axis=BODY, channel="Er170Di", keywords=note)
    ws.write_bytes(ws.read_bytes().replace(b"BAD", value))
    with pytest.raises(GateError, match=r"line 9.*save it again in the program that wrote it"):
        gate.read_flowjo(ws)


def test_an_entity_stays_refused_where_a_keyword_is_bad_too(tmp_path: Path):
    note = '<Keyword name="NOTE" value="a\x01b&big;"/>'
    ws = workspace(tmp_path / "a.wsp", 10, 20, axis=BODY, channel="Er170Di", keywords=note)
    declared = '?>\n<!DOCTYPE w [<!ENTITY big "aaaa">]>'
    ws.write_text(ws.read_text(encoding="utf-8").replace("?>", declared, 1), encoding="utf-8")
    with pytest.raises(GateError, match="document type"):
        gate.read_flowjo(ws)


def test_missing_namespaces_are_named(tmp_path: Path):
    ws = workspace(tmp_path / "a.wsp", 10, 20, axis=BODY, channel="Er170Di")
    ws.write_text(re.sub(r' xmlns:\w+="[^"]*"', "", ws.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(GateError, match="xmlns lines of the root element are missing"):
        gate.read_flowjo(ws)


@pytest.mark.parametrize(
    "head",
    [
        "",
        '<?xml version="1.0"?>\n<!-- exported -->\n',
        "\ufeff",
        '<?xml version="1.0"?>\n<?style a="b"?><!-- a -->\n',
    ],
)
def test_a_workspace_is_known_by_its_root(head: str, tmp_path: Path):
    ws = workspace(tmp_path / "a.wsp", 10, 20, axis=BODY, channel="Er170Di")
    text = re.sub(r"<\?xml.*?\?>\s*", head, ws.read_text(encoding="utf-8"))
    exported = tmp_path / "exported.xml"
    exported.write_text(text, encoding="utf-8")
    assert "kept" in str(gate.load(exported).document)
