"""What people copy works: the study folders and the scripts beside them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytocar import tl
from cytocar._core import tables as tables_of
from cytocar.study import check, run

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


def on_data(folder: Path, data: Path, keep: Callable[[str], bool] = lambda _: True) -> None:
    """Point the sheet of a copied workflow to the data, and keep some of its rows."""
    head, *rows = (folder / "samples.csv").read_text(encoding="utf-8").splitlines()
    rows = [row.replace("../../../shared/data", str(data)) for row in rows if keep(row.split(",")[1])]
    (folder / "samples.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


def test_the_cohort_fits_the_real_files_and_their_metadata(test_data, tmp_path):
    folder = Path(shutil.copytree(WORKFLOWS / "cohort", tmp_path / "cohort"))
    on_data(folder, test_data)
    result = check(folder)
    assert result.problems == ()
    assert (
        "patients are compared: NR vs HD, R vs HD, R vs NR at before, 30 patients, ~ group + batch"
        in result.notes
    )
    sheet = pd.read_csv(folder / "samples.csv").set_index("sample_id")
    truth = pd.read_csv(test_data / "cohort" / "Metadata.csv").set_index("donor_id")
    assert sheet["group"].to_dict() == truth["group"].to_dict()
    assert sheet["batch"].to_dict() == truth["batch"].to_dict()
    assert sheet["file"].map(lambda file: Path(file).name).to_dict() == truth["file_name"].to_dict()


def test_a_part_of_the_cohort_runs_from_fcs_to_report(test_data, tmp_path):
    part = {"NR1", "NR2", "NR3", "NR5", "NR8", "R1", "R2", "R3", "R6", "R10"}
    folder = Path(shutil.copytree(WORKFLOWS / "cohort", tmp_path / "cohort"))
    on_data(folder, test_data, part.__contains__)
    settings = (folder / "study.yaml").read_text(encoding="utf-8")
    for old, new in (("embedding: tsne", "embedding: off"), ("metaclusters: 20", "metaclusters: 8")):
        assert old in settings
        settings = settings.replace(old, new)
    (folder / "study.yaml").write_text(settings, encoding="utf-8")
    out = tmp_path / "results"
    run(folder, out)

    abundance = tables_of.read(out / "tables", "abundance")
    state = tables_of.read(out / "tables", "state")
    clusters = tables_of.read(out / "tables", "clusters")
    samples = tables_of.read(out / "tables", "samples")
    assert abundance is not None
    assert state is not None
    direct = tl.abundance(clusters, samples, formula="~ group + batch", contrast="R vs NR")
    for column in ("effect", "p_value", "p_minimum"):
        assert np.allclose(abundance[column], direct[column], rtol=1e-8), column
    assert set(abundance["n_patients"]) == {10}
    assert set(abundance["unit"]) == {"patient"}
    assert abundance["p_adjusted"].notna().all()
    # R10 has 146 events: where it has too few cells of a cluster it is left out, and nothing else.
    assert state["n_patients"].max() == 10
    assert (state["p_value"].notna() | (state["note"] != "")).all()
    compared = tables_of.read(out / "tables", "comparisons")
    assert compared is not None
    assert set(zip(compared["comparison"], compared["unit"], strict=True)) == {("R vs NR", "patient")}
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in (
        "R vs NR (5 against 5 patients)",
        "Comparison between patients",
        "~ group + batch",
        "Data29",
    ):
        assert words in page
