"""Counts beside those of a FlowJo workspace: every difference is found, and named where it is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytocar import gate
from cytocar._core.errors import GateError, ParameterError
from cytocar.gate._exchange.flowjo_counts import read_flowjo_counts
from cytocar.io._fcs.write import write_events
from cytocar.study import gate_against

N = 400
COUNTS = {"CD3": 0, "CD3/CD4": 0, "CD3/CD8": 0, "B": 0}


@pytest.fixture
def gated(tmp_path: Path) -> Path:
    """Return a folder with two files and a workspace without counts."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        events = rng.exponential(10, (N, 4)).astype("float32")
        channels = [("Er170Di", "CD3"), ("Nd145Di", "CD4"), ("Nd146Di", "CD8"), ("Nd142Di", "CD19")]
        write_events(tmp_path / f"{name}.fcs", events, channels)
    cd3, cd4, cd8, cd19 = (gate.Dimension(name) for name in ("Er170Di", "Nd145Di", "Nd146Di", "Nd142Di"))
    gates = [
        gate.threshold_gate("CD3", cd3, 5),
        gate.threshold_gate("CD4", cd4, 5, parent="CD3"),
        gate.threshold_gate("CD8", cd8, 5, parent="CD3"),
        gate.threshold_gate("B", cd19, 8),
    ]
    files = [tmp_path / "a.fcs", tmp_path / "b.fcs"]
    gate.write_flowjo(gate.GatingDocument(gates), tmp_path / "plain.wsp", files=files)
    return tmp_path


def true_counts(path: Path) -> dict[str, int]:
    from cytocar.io import read_fcs

    values = np.asarray(read_fcs(path).X)
    cd3 = values[:, 0] >= 5
    masks = {"CD3": cd3, "CD3/CD4": cd3 & (values[:, 1] >= 5), "CD3/CD8": cd3 & (values[:, 2] >= 5)}
    return {name: int(mask.sum()) for name, mask in {**masks, "B": values[:, 3] >= 8}.items()}


def counted(folder: Path, change: Callable[[str, str, int], int | None] = lambda _f, _p, n: n) -> Path:
    """Write a workspace with counts, each as `change` of file, population and true count says."""
    text = re.sub(r' count="[^"]*"', "", (folder / "plain.wsp").read_text())
    parts = re.split(r"(?=<Sample>)", text)
    out = []
    for part in parts:
        found = re.search(r"([ab])\.fcs", part)
        if part.startswith("<Sample>") and found:
            file = found[0]
            wanted = {"": N, **true_counts(folder / file)}
            for path, n in wanted.items():
                count = change(file, path, n)
                tag, name = ("SampleNode", file) if not path else ("Population", path.rpartition("/")[2])
                if count is not None:
                    part = re.sub(rf'(<{tag} (?:[^>]*)name="{name}")', rf'\1 count="{count}"', part, count=1)
        out.append(part)
    path = folder / "counted.wsp"
    path.write_text("".join(out))
    return path


def test_equal_counts_are_equal_for_every_sample_and_population(gated: Path) -> None:
    workspace = counted(gated)
    table = gate_against(workspace, [gated / "a.fcs", gated / "b.fcs"], gated / "o")
    assert table["population"].tolist() == ["all events", *COUNTS] * 2
    for file, rows in table.groupby("file"):
        assert rows["events"].tolist() == [N, *true_counts(gated / str(file)).values()]
    assert (table["agreement"] == "equal").all()
    assert (table["difference"] == 0).all()
    assert table["gate"].tolist() == ["", "rectangle", "rectangle", "rectangle", "rectangle"] * 2
    cd4 = table[table["population"] == "CD3/CD4"].iloc[0]
    assert cd4["fraction_of_parent"] == cd4["workspace_fraction_of_parent"]
    assert cd4["fraction_of_parent"] == cd4["events"] / table["events"].iloc[1]


def test_a_count_that_differs_is_found_where_it_is(
    gated: Path, schema_faults: Callable[[str, pd.DataFrame], list[str]]
) -> None:
    def change(file: str, path: str, n: int) -> int | None:
        return {"CD3/CD8": n - 3, "B": -1}.get(path, n) if file == "b.fcs" else n

    gate_against(counted(gated, change), [gated / "b.fcs", gated / "a.fcs"], gated / "o")
    table = pd.read_csv(gated / "o" / "against.csv", dtype=str, keep_default_na=False)
    assert schema_faults("against", table) == []
    assert table["file"].tolist() == ["b.fcs"] * 5 + ["a.fcs"] * 5
    odd = table[table["agreement"] != "equal"]
    assert odd[["file", "population", "difference", "agreement"]].to_numpy().tolist() == [
        ["b.fcs", "CD3/CD8", "3", "different"],
        ["b.fcs", "B", "", "not_counted"],
    ]
    n = true_counts(gated / "b.fcs")["CD3/CD8"]
    assert float(odd["relative_difference"].iloc[0]) == pytest.approx(3 / (n - 3), rel=1e-9)


def test_other_gates_are_compared_by_the_names_of_their_populations(gated: Path) -> None:
    document = gate.GatingDocument(
        [
            gate.threshold_gate("CD3", gate.Dimension("Er170Di"), 6),
            gate.threshold_gate("NK", gate.Dimension("Nd142Di"), 1),
        ]
    )
    gate.write_gatingml(document, gated / "g.xml")
    table = gate_against(counted(gated), [gated / "a.fcs"], gated / "o", strategy=gated / "g.xml")
    found = dict(zip(table["population"], table["agreement"], strict=True))
    assert found == {
        "all events": "equal",
        "CD3": "different",
        "CD3/CD4": "not_in_gates",
        "CD3/CD8": "not_in_gates",
        "B": "not_in_gates",
        "NK": "not_in_workspace",
    }
    assert table["difference"].iloc[1] < 0


def test_populations_that_lie_elsewhere_are_compared_by_their_names_if_these_are_there_once(
    gated: Path,
) -> None:
    cd4, cd3 = gate.Dimension("Nd145Di"), gate.Dimension("Er170Di")
    gates = [
        gate.threshold_gate("T", cd3, 5),
        gate.threshold_gate("CD4", cd4, 5, parent="T"),
        gate.threshold_gate("B low", cd3, 0),
        gate.threshold_gate("B", gate.Dimension("Nd142Di"), 8, parent="B low"),
        gate.threshold_gate("CD8 1", gate.Dimension("Nd146Di"), 5, parent="T"),
        gate.threshold_gate("CD8 2", gate.Dimension("Nd146Di"), 5, parent="B low"),
    ]
    named = [replace(one, name="CD8") if one.id.startswith("CD8") else one for one in gates]
    gate.write_gatingml(gate.GatingDocument(named), gated / "g.xml")
    table = gate_against(counted(gated), [gated / "a.fcs"] * 2, gated / "o", strategy=gated / "g.xml")
    found = dict(zip(table["population"], table["agreement"], strict=True))
    assert found["CD3/CD4"] == found["B"] == "equal"
    # which of two is meant is not known
    assert found["CD3/CD8"] == "not_in_gates"
    assert found["T/CD8"] == found["B low/CD8"] == "not_in_workspace"


def test_what_cannot_be_compared_is_refused_by_name(gated: Path) -> None:
    with pytest.raises(GateError, match="no population of it has a count"):
        gate_against(counted(gated, lambda *_: None), [gated / "a.fcs"], gated / "o")
    workspace = counted(gated)
    (gated / "c.fcs").write_bytes((gated / "a.fcs").read_bytes())
    with pytest.raises(GateError, match=r"c\.fcs: is not in counted\.wsp"):
        gate_against(workspace, [gated / "a.fcs", gated / "c.fcs"], gated / "o")
    assert not (gated / "o").exists()
    with pytest.raises(ParameterError, match="there are no files"):
        gate_against(workspace, [], gated / "o")
    with pytest.raises(ParameterError, match="group is 'x'"):
        gate_against(workspace, [gated / "a.fcs"], gated / "o", group="x")
    gate_against(workspace, [gated / "a.fcs"], gated / "o")
    with pytest.raises(ParameterError, match=r"against\.csv, .*against\.html exists already"):
        gate_against(workspace, [gated / "a.fcs"], gated / "o")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("file:/D:/study/x/a.fcs", "Tube 1"),
        ("file:/D:/my%20study/a.fcs", "a.fcs"),
        ("D:\\study\\a.fcs", "Tube 1"),
        ("file:/D:/other.fcs", "a.fcs"),
        ("file:/D:/other.fcs", "a"),
        ("", "a.fcs"),
    ],
)
def test_a_sample_is_found_by_its_file_or_its_name(uri: str, name: str, gated: Path) -> None:
    path = counted(gated)
    text = re.sub(r'uri="[^"]*a\.fcs"', lambda _: f'uri="{uri}"', path.read_text())
    path.write_text(re.sub(r'(<SampleNode [^>]*)name="a\.fcs"', rf'\1name="{name}"', text))
    table = gate_against(path, [gated / "a.fcs"], gated / "o")
    assert set(table["sample"]) == {name}
    assert (table["agreement"] == "equal").all()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_names_are_escaped_on_the_page(gated: Path) -> None:
    path = counted(gated)
    text = path.read_text().replace('name="B"', 'name="&lt;script>alert(1)&lt;script> &amp; B"')
    path.write_text(text)
    gate_against(path, [gated / "a.fcs"], gated / "o")
    page = (gated / "o" / "against.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.tags
    assert "<script>alert(1)<script> & B" in tags.texts
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_command_prints_what_the_files_hold(gated: Path) -> None:
    def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "cytocar", "gate", *map(str, arguments)]
        return subprocess.run(program, capture_output=True, text=True, check=False)

    workspace = counted(gated, lambda _f, path, n: n + 2 if path == "B" else n)
    files = [gated / "a.fcs", gated / "b.fcs"]
    done = command("--against", workspace, *files, "-o", gated / "o")
    assert done.returncode == 0, done.stderr
    assert "8 counts of 2 files were compared: 6 are equal, 2 differ." in done.stdout
    assert "The largest difference is -2 events: B of a.fcs" in done.stdout
    assert command(workspace, *files, "--against", workspace, "-o", gated / "p").returncode == 0
    assert (gated / "o" / "against.csv").read_bytes() == (gated / "p" / "against.csv").read_bytes()
    refused = command("--against", workspace, *files)
    assert refused.returncode == 2
    assert "give one with -o" in refused.stderr


def test_every_count_of_flowjo_is_near_ours(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "flowjo"
    table = gate_against(folder / "gating.wsp", [folder / "68983.fcs"], tmp_path / "o")
    assert len(table) == 16
    assert table["difference"].iloc[0] == 0
    # one polygon that is drawn along the end of its axes, and what is below it
    assert table["difference"].abs().max() <= 13
    assert table["relative_difference"].abs().max() < 0.004
    assert (table["agreement"] == "equal").sum() >= 7


def test_counts_of_a_workspace_of_flowjo(test_data: Path) -> None:
    [sample] = read_flowjo_counts(test_data / "flowjo" / "gating.wsp")
    assert (sample.name, sample.file, sample.events) == ("68983.fcs", "lymphocytes.fcs", 19225)
    counts = {path: count.events for path, count in sample.populations.items()}
    top = "Lymphocytes/Singlets/Singlets2/NK1_1-/T cells"
    assert counts[top] == 10745
    assert counts[f"{top}/ab T cells/CD4 T cells"] == 7480
    assert {count.gate for count in sample.populations.values()} <= {"rectangle", "polygon", "ellipsoid"}
