"""A study whose panel, sample sheet and matrix are sheets of a workbook is the study of the CSV files."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from cytocar import Panel, pp
from cytocar.io._study.folder import load_study
from cytocar.study import check

openpyxl = pytest.importorskip("openpyxl")


def number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


@pytest.fixture
def in_workbook(study: Path, tmp_path: Path) -> Path:
    """Return a copy of the study with its tables as sheets, numbers as numbers."""
    shutil.copytree(study, tmp_path / "study")
    folder = tmp_path / "study"
    book = openpyxl.Workbook()
    book.active.append(["Notes"])
    for name in ("panel", "samples"):
        sheet = book.create_sheet(name.title())
        with (folder / f"{name}.csv").open(newline="") as file:
            for row in csv.reader(file):
                sheet.append([number(cell) if cell else None for cell in row])
        (folder / f"{name}.csv").unlink()
    book.save(folder / "study.xlsx")
    settings = yaml.safe_load((folder / "study.yaml").read_text())
    settings |= {"panel": "study.xlsx#Panel", "samples": "study.xlsx#Samples"}
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_a_study_in_a_workbook_is_the_study_of_its_csv_files(study: Path, in_workbook: Path) -> None:
    (plain, _), (sheets, problems) = load_study(study), load_study(in_workbook)
    assert problems == []
    assert plain.panel.to_csv() == sheets.panel.to_csv()
    pd.testing.assert_frame_equal(plain.samples.drop(columns="path"), sheets.samples.drop(columns="path"))
    assert check(in_workbook).problems == check(study).problems


def test_a_sheet_that_is_not_there_is_named(in_workbook: Path) -> None:
    path = in_workbook / "study.yaml"
    path.write_text(path.read_text().replace("#Panel", "#Panels"))
    (problem,) = load_study(in_workbook)[1]
    assert problem.what == "has no sheet 'Panels'"
    assert problem.fix == "its sheets: 'Sheet', 'Panel', 'Samples'"


def test_problems_have_the_row_of_the_sheet(in_workbook: Path) -> None:
    book = openpyxl.load_workbook(in_workbook / "study.xlsx")
    sheet = book["Samples"]
    column = next(cell.column for cell in sheet[1] if cell.value == "months")
    sheet.cell(3, column).value = "soon"
    book.save(in_workbook / "study.xlsx")
    (problem,) = load_study(in_workbook)[1]
    assert problem.where.endswith("study.xlsx#Samples, line 3")
    assert problem.what == "months is 'soon'"


def test_panels_and_matrices_are_read_from_workbooks(study: Path, in_workbook: Path, tmp_path: Path) -> None:
    panel = Panel.read(f"{in_workbook / 'study.xlsx'}#Panel")
    assert panel.to_csv() == Panel.read(study / "panel.csv").to_csv()
    book = openpyxl.Workbook()
    for row in [[None, "Yb171Di", "Yb172Di"], ["Yb171Di", 1, 0.04], ["Yb172Di", "0,012", 1]]:
        book.active.append(row)
    book.save(tmp_path / "spill.xlsx")
    assert pp.read_spillover(tmp_path / "spill.xlsx").matrix.tolist() == [[1, 0.04], [0.012, 1]]
