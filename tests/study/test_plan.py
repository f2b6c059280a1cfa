"""`check` says in one line what a run will do and what it will not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from cytocar.cli._main import app
from cytocar.io._fcs.write import write_events
from cytocar.panel import Panel
from cytocar.study import check, init

LEGEND2 = [
    (row["channel"], row["marker"]) for row in Panel.read("legend2").frame.to_dict("records") if row["metal"]
]


def study(tmp_path: Path, *without: str) -> Path:
    (tmp_path / "fcs").mkdir()
    channels = [each for each in LEGEND2 if each[1] not in without]
    for name in ("P1_2mo", "P1_5yr", *(["mock"] if "VHH" not in without else [])):
        path = tmp_path / "fcs" / f"{name}.fcs"
        write_events(path, np.ones((4, len(channels)), dtype=np.float32), channels)
    init(tmp_path / "fcs", tmp_path / "study")
    return tmp_path / "study"


def output(folder: Path) -> str:
    done = CliRunner().invoke(app, ["check", str(folder)])
    assert done.exit_code == 0, done.output
    return str(done.stdout)


def test_what_is_counted_by_what_among_what_is_said(tmp_path: Path) -> None:
    folder = study(tmp_path)
    assert str(check(folder).plan) == (
        "will be done: CAR-T cells by VHH (threshold: negatives) counted among CD45+ cells, beside host T cells "
        "(2 samples, 1 negative control); subsets CD4, CD8, DN, DP; clusters; maps; timepoints compared."
    )
    assert output(folder).endswith("no problems found\n")


def test_what_the_panel_does_not_allow_is_said(tmp_path: Path) -> None:
    plan = check(study(tmp_path, "CD3", "CD4", "CD45")).plan
    rules = "negatives, else valley, else tail"
    assert f"CAR+ cells by VHH (threshold: {rules}) counted among cells, beside CAR-negative cells" in str(
        plan
    )
    assert plan.left == ("subsets", "restriction to T cells (no CD3)", "gates on CD45 (not in the panel)")


def test_a_car_channel_that_is_not_used_is_never_no_problem(tmp_path: Path) -> None:
    folder = study(tmp_path)
    settings = folder / "study.yaml"
    settings.write_text(settings.read_text().replace("gating: gating.yaml", "gating: off"))
    said = output(folder)
    assert "no problems found" not in said
    assert "VHH shows a CAR and is not used" in said
    assert "Will not be done: cells with a CAR counted (gating is off, and VHH may show one)" in said


def test_without_a_car_channel_that_is_all(tmp_path: Path) -> None:
    said = output(study(tmp_path, "VHH"))
    assert "cells with a CAR counted (no marker shows one)" in said
    assert said.endswith("no problems found\n")
