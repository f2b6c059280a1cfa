"""Gates of other programs in a study: what is told at the door, and runs from gates.xml and FlowJo workspaces."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import gate
from cytocar._core.progress import silent
from cytocar.gate import Asinh, Dimension, GatingDocument, Rectangle, SpectrumMatrix, interval
from cytocar.gate._shapes.flowjo_scales import Biex
from cytocar.io._fcs.write import write_events
from cytocar.panel import Panel
from cytocar.study import check, run
from cytocar.study._run.process import process_all

SCALES = {"arcsinh": Asinh.of_cofactor(5.0), "biex": Biex()}
CD45, VHH = (Dimension(name, transformation="arcsinh") for name in ("Y89Di", "Tm169Di"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of two files without events to speak of."""
    rows = Panel.read("legend2").frame.to_dict("records")
    channels = [(r["channel"], f"{r['mass']}{r['metal']}_{r['marker']}" if r["metal"] else "") for r in rows]
    (tmp_path / "fcs").mkdir()
    for name in ("a", "b"):
        write_events(tmp_path / "fcs" / f"{name}.fcs", np.ones((5, len(channels)), np.float32), channels)
    (tmp_path / "samples.csv").write_text(
        "file,sample_id,patient_id,timepoint,months\nfcs/a.fcs,s1,P1,2mo,2\nfcs/b.fcs,s2,P1,5yr,60\n"
    )
    return tmp_path


def settle(folder: Path, gates: Sequence[object], *lines: str, **more: object) -> None:
    gate.write_gatingml(
        GatingDocument(gates, transformations={"arcsinh": SCALES["arcsinh"]}, **more), folder / "g.xml"
    )
    text = ["cytocar: 1", "panel: legend2", "samples: samples.csv", *(lines or ["gating: g.xml"])]
    (folder / "study.yaml").write_text("\n".join(text))


def tree(*more: object) -> list[object]:
    return [
        interval("CD45+", CD45, low=2.0),
        interval("CAR-T", VHH, low=3.0, parent="CD45+"),
        interval("CAR-", VHH, high=3.0, parent="CD45+"),
        *more,
    ]


def test_gates_that_fit_are_no_problem_and_say_what_they_cannot_tell(folder: Path) -> None:
    settle(folder, tree(interval("early", Dimension("Time"), high=5.0)))
    result = check(folder)
    assert result.problems == ()
    assert isinstance(result.strategy, gate.ShapeStrategy)
    assert result.strategy.compartments == {"car": "CAR-T", "host": "CAR-"}
    assert result.strategy.denominator == "CD45+"
    assert [note for note in result.notes if "subsets CD4, CD8, DN and DP" in note]
    assert [note for note in result.notes if "background of the CAR-T gate is not known" in note]


WRONG = [
    ([], ["gating: {file: g.xml, host: CD45+, car: CAR}"], "car names population 'CAR'"),
    ([], ["gating: {file: g.xml, hosts: CD45+}"], "setting 'hosts' is not known"),
    ([], ["gating: {car: CAR-T}"], r"gating is \{car: CAR-T\}"),
    ([], ["gating: {file: g.xml, subsets: {CD5: x}}"], r"gating\.subsets\.CD5|gating\.subsets"),
    ([], ["gating: {file: g.xml, group: blood}"], "no FlowJo workspace"),
    ([], ["gating: {file: car_t, car: CAR-T}"], "car is stated for the gating car_t"),
    ([], ["gating: none.xml"], r"none\.xml: the gates cannot be read"),
    ([], ["gating: g.xml", "thresholds: {CD3: 2.0}"], "has no threshold 'CD3': its gates are shapes"),
    ([interval("x", Dimension("Rh103Di"), low=1)], [], "channel 'Rh103Di' of the gates is not in the panel"),
    ([interval("x", Dimension("Nothing"), low=1)], [], "channel 'Nothing' of the gates is not in the panel, nor"),
    ([Rectangle(id="x", dimensions=(CD45,), low=(1.0,), high=(None,), file="b.fcs")], [], "exists only for the files"),
]  # fmt: skip


@pytest.mark.parametrize(("gates", "lines", "reason"), WRONG)
def test_what_does_not_fit_is_told_at_the_door(folder: Path, gates, lines, reason) -> None:
    settle(folder, tree(*gates), *lines)
    result = check(folder)
    assert result.study is None
    told = [f"{problem.where}: {problem.what}" for problem in result.problems]
    assert [text for text in told if re.search(reason, text)], told
    assert all(problem.fix for problem in result.problems)


def test_car_without_host_and_two_compensations_are_told(folder: Path) -> None:
    pair = ("Y89Di", "Tm169Di")
    matrix = SpectrumMatrix(pair, pair, ((1.0, 0.1), (0.0, 1.0)))
    lines = ["gating: g.xml", "compensation: spill.csv"]
    (folder / "spill.csv").write_text("channel,Y89Di,Tm169Di\nY89Di,1,0\nTm169Di,0,1\n")
    settle(folder, tree()[:2], *lines, matrices={"own": matrix})
    told = [problem.what for problem in check(folder).problems]
    assert "'CAR-T' is car, and no population is known to be host" in told
    assert any("compensation of their own (own)" in text for text in told)


def test_a_workspace_with_scales_of_its_own_is_noted(folder: Path) -> None:
    axis = Dimension("Tm169Di", transformation="biex")
    gates = [interval("CAR-T", axis, low=0.5), interval("Host T", axis, high=0.5)]
    gate.write_flowjo(
        GatingDocument(gates, transformations=SCALES), folder / "g.wsp", files=[folder / "fcs" / "a.fcs"]
    )
    settle(folder, tree(), "gating: {file: g.wsp, group: cytocar}")
    result = check(folder)
    assert result.problems == ()
    assert [note for note in result.notes if "scales that only FlowJo has (biex)" in note]
    settle(folder, tree(), "gating: {file: g.wsp, group: cyto}")
    assert check(folder).problems[0].fix == "did you mean 'cytocar'?"


QUICK = ["", "clustering: {method: off}", "embedding: off", ""]


def test_gates_of_a_run_give_another_run_the_same_counts(
    study: Path, finished: Path, no_figures: None, tmp_path: Path, run_faults: Callable[[Path], list[str]]
) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    shutil.copy(finished / "gates.xml", copy / "gates.xml")
    with open(copy / "study.yaml", "a") as stream:
        stream.write("\n".join([*QUICK, "gating: gates.xml", ""]))
    run(copy, tmp_path / "out")
    for table, key, values in (
        ("ledger", ["sample_id", "population"], ["events", "fraction_of_cd45"]),
        ("car_frequency", ["sample_id"], ["n_cd45", "n_car", "n_host_t", "pct_of_cd45", "pct_low"]),
        ("subsets", ["sample_id", "compartment", "subset"], ["n", "fraction"]),
    ):
        first, second = (
            pd.read_csv(out / "tables" / f"{table}.csv").set_index(key)[values].sort_index()
            for out in (finished, tmp_path / "out")
        )
        pd.testing.assert_frame_equal(first, second)
    assert run_faults(tmp_path / "out") == []
    assert (tmp_path / "out" / "tables" / "gating_outlines.csv").exists()
    # Which cells are known to be negative is not in the gates, and nothing is made up for it.
    frequency = pd.read_csv(tmp_path / "out" / "tables" / "car_frequency.csv")
    assert (frequency["background_source"] == "unknown").all()
    assert frequency[["background_events", "lob_events", "pct_net"]].isna().all(axis=None)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "not known" in page
    assert not re.search(r"\bnan\b", re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S))
    # What this run writes is read once more, and holds the same gates.
    once, twice = (gate.load(path) for path in (copy / "gates.xml", tmp_path / "out" / "gates.xml"))
    assert [one.path for one in twice.expanded()] == [one.path for one in once.expanded()]
    assert twice.document.files == once.document.files


def test_a_workspace_gives_a_run_the_same_counts(study: Path, finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    cells = anndata.read_h5ad(finished / "cells.h5ad")
    files = {sample: copy / "fcs" / f"{sample}.fcs" for sample in cells.obs["sample_id"].cat.categories}
    gate.write_flowjo(cells, copy / "gates.wsp", files=files)
    with open(copy / "study.yaml", "a") as stream:
        stream.write("\ngating: {file: gates.wsp, cd45: CD45+}\n")
    checked = check(copy)
    assert checked.problems == ()
    # As a run does, up to the tables of the files.
    results = process_all(checked.study, checked.strategy, checked.spillover, workers=1, progress=silent)
    second = pd.concat([result.tables["ledger"] for result in results])
    first = pd.read_csv(finished / "tables" / "ledger.csv")
    counts = [table.set_index(["sample_id", "population"])["events"].to_dict() for table in (first, second)]
    assert counts[0] == counts[1]
    assert [len(result.cells) > 100 for result in results] == [True] * len(results)
