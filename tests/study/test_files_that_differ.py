"""Files of one study that differ: channels that some lack, down to the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import datasets
from cytocar._core import tables as tables_of
from cytocar._core.measured import not_measured
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.write import write_events
from cytocar.study import run

pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("differ") / "study"
    datasets.write_legend2(folder, cells=6000, seed=3)
    return folder


@pytest.fixture(scope="module")
def whole(plain: Path, no_figures: None) -> Path:
    return run(plain, plain.parent / "whole").out


def rewritten(
    plain: Path, target: Path, change: Callable[[str, list[tuple[str, str]]], list[tuple[str, str]]]
) -> Path:
    """Return a copy of the study whose files have the channels that `change` leaves them."""
    shutil.copytree(plain, target)
    for path in sorted((target / "fcs").glob("*.fcs")):
        header = read_header(path)
        kept = change(path.stem, header.names)
        columns = [header.names.index(names) for names in kept]
        values = read_events(header)[:, columns]
        keywords = {
            k: v for k, v in header.keywords.items() if k in ("$CYT", "$DATE", "$BTIM", "$ETIM", "$TIMESTEP")
        }
        path.unlink()
        write_events(path, np.ascontiguousarray(values, dtype=np.float32), kept, keywords)
    return target


def table(out: Path, name: str) -> pd.DataFrame:
    found = tables_of.read(out / "tables", name)
    assert found is not None
    return found


def cells_of(out: Path) -> anndata.AnnData:
    return anndata.read_h5ad(out / "cells.h5ad")


def test_a_state_marker_that_one_file_lacks_is_not_measured_there(plain: Path, whole: Path, tmp_path: Path):
    def without_ki67(stem: str, names: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [pair for pair in names if not (stem.endswith("5yr") and "Ki67" in pair[1])]

    out = run(rewritten(plain, tmp_path / "study", without_ki67), tmp_path / "out").out
    for name in ("car_frequency", "subsets", "ledger"):
        pd.testing.assert_frame_equal(table(out, name), table(whole, name))
    cells, before = cells_of(out), cells_of(whole)
    assert list(cells.obs_names) == list(before.obs_names)
    late = cells.obs["sample_id"].astype(str).str.endswith("5yr").to_numpy()
    np.testing.assert_array_equal(np.isnan(cells[:, "Ki67"].X[:, 0]), late)
    [sample] = not_measured(cells)
    assert sample.endswith("5yr")
    assert not_measured(cells)[sample] == ["Ki67"]
    rows = table(out, "comparisons").query("marker == 'Ki67'")
    late_rows = rows[
        rows["comparison"].str.contains("5yr") | rows["timepoint"].astype(str).str.contains("5yr")
    ]
    assert len(late_rows)
    assert late_rows["effect"].isna().all()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "clusters and maps are made without Ki67" in page
    assert "Not measured, and without a number in these samples, never 0" in page
    assert list(table(out, "not_measured")["marker"]) == ["Ki67"]
    assert "does not measure Ki67" in page
    assert not cells.var.loc["Ki67", "used_for_clustering"]


def test_different_background_channels_missing_in_each_file_change_nothing(
    plain: Path, whole: Path, tmp_path: Path
):
    panel = pd.read_csv(plain / "panel.csv")
    idle = list(panel.loc[panel["role"].isin(["background", "barcode"]), "channel"])
    assert idle
    order = sorted(path.stem for path in (plain / "fcs").glob("*.fcs"))

    def without_one(stem: str, names: list[tuple[str, str]]) -> list[tuple[str, str]]:
        gone = idle[order.index(stem) % len(idle)]
        return [pair for pair in names if pair[0] != gone]

    out = run(rewritten(plain, tmp_path / "study", without_one), tmp_path / "out").out
    for name in ("car_frequency", "subsets", "ledger"):
        pd.testing.assert_frame_equal(table(out, name), table(whole, name))
    assert list(cells_of(out).obs_names) == list(cells_of(whole).obs_names)
    # Background channels receive spillover, so compensated values move a little.
    medians = [table(one, "comparisons")["median_b"].to_numpy(float) for one in (out, whole)]
    np.testing.assert_allclose(*medians, atol=0.02)


def test_a_file_without_a_marker_of_the_gates_is_left_out_and_the_others_run(
    plain: Path, whole: Path, tmp_path: Path
):
    def without_cd7(stem: str, names: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return [pair for pair in names if not (stem.endswith("1yr") and pair[1].endswith("CD7"))]

    study = rewritten(plain, tmp_path / "study", without_cd7)
    with (study / "study.yaml").open("a", encoding="utf-8") as file:
        file.write("\non_missing: leave_out\n")
    out = run(study, tmp_path / "out").out
    there = table(out, "car_frequency")
    assert not there["sample_id"].str.endswith("1yr").any()
    assert len(there) == len(table(whole, "car_frequency")) - 1
    assert list(table(out, "left_out")["lacks"]) == ["CD7"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Samples of the study were left out" in page
    assert page.index("no CD7)") < page.index('id="answer"')


def test_two_panels_give_the_same_cells_and_are_compared_by_what_they_share(
    plain: Path, whole: Path, tmp_path: Path
):
    """The last file calls PD1 CD279 on another metal, has no GZMB, and a marker that the others do not have."""

    def unchanged(stem: str, names: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return names

    study = rewritten(plain, tmp_path / "study", unchanged)
    [path] = (study / "fcs").glob("*5yr.fcs")
    header = read_header(path)
    new = {"Gd155Di": ("Gd157Di", "157Gd_CD279"), "Yb171Di": ("Yb171Di", "171Yb_CD303")}
    names = [new.get(pair[0], pair) for pair in header.names]
    values = np.ascontiguousarray(read_events(header), dtype=np.float32)
    write_events(path, values, names, {"$CYT": "Helios"})
    panel = (study / "panel.csv").read_text()
    panel = panel.replace("Gd155Di,PD1,state,marker,Gd,155", "Gd157Di,CD279,state,marker,Gd,157")
    (study / "late.csv").write_text(panel.replace("Yb171Di,GZMB", "Yb171Di,CD303"))
    sheet = (study / "samples.csv").read_text().splitlines()
    rows = [f"{line},{'late.csv' if '5yr' in line else ''}" for line in sheet[1:]]
    (study / "samples.csv").write_text("\n".join([f"{sheet[0]},panel", *rows]) + "\n")
    settings = (study / "study.yaml").read_text().replace("compensation: spillover.csv\n", "")
    (study / "study.yaml").write_text(settings)
    out = run(study, tmp_path / "out").out
    cells = cells_of(out)
    late = cells.obs["sample_id"].astype(str).str.endswith("5yr").to_numpy()
    assert not np.isnan(np.asarray(cells[:, "PD1"].X)).any()
    np.testing.assert_array_equal(np.isnan(cells[:, "GZMB"].X[:, 0]), late)
    np.testing.assert_array_equal(np.isnan(cells[:, "CD303"].X[:, 0]), ~late)
    profiles = table(out, "cluster_profiles")
    assert {"GZMB", "PD1", "CD303"} <= set(profiles["marker"])
    assert "stained with 2 panels" in (out / "report.html").read_text(encoding="utf-8")
    alike = table(out, "comparisons").query("marker == 'PD1' and comparison.str.contains('5yr')")
    assert alike["effect"].notna().any()
