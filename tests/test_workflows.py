"""What people copy works: the study folders and the scripts beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cytocar.study.check import check

WORKFLOWS = Path(__file__).parents[1] / "workflows"


@pytest.mark.parametrize(
    ("script", "arguments"), [("heatmap.py", []), ("violins.py", ["Ki67", "PD-1", "GZMB"])]
)
def test_scripts_draw_from_a_finished_run(script, arguments, finished, tmp_path):
    picture = tmp_path / "picture.png"
    command = [sys.executable, str(WORKFLOWS / script), str(finished), str(picture), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 10_000
    assert str(picture) in done.stdout


def test_the_legend2_folder_fits_simulated_files(study, tmp_path):
    folder = Path(shutil.copytree(WORKFLOWS / "legend2", tmp_path / "legend2"))
    missing = check(folder)
    assert len(missing.problems) == 4
    (folder / "fcs").mkdir()
    for path in (study / "fcs").glob("*.fcs"):
        shutil.copy(path, folder / "fcs" / path.name)
    assert check(folder).problems == ()


def test_the_exhaustion_panel_fits_the_real_files(test_data, tmp_path):
    folder = Path(shutil.copytree(WORKFLOWS / "exhaustion_panel", tmp_path / "exhaustion_panel"))
    sheet = (folder / "samples.csv").read_text(encoding="utf-8")
    (folder / "samples.csv").write_text(
        sheet.replace("../../../shared/data", str(test_data)), encoding="utf-8"
    )
    result = check(folder)
    assert result.problems == ()
    assert result.strategy is not None
    assert result.strategy.uses_controls()
