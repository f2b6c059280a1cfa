"""Sheets of workbooks: every kind of cell is read as it is seen, or refused with its place."""

from __future__ import annotations

import datetime as dt
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cytocar._core.hand_cells import load_cells
from cytocar._core.hand_tables import load_table

openpyxl = pytest.importorskip("openpyxl")


def saved(path: Path, rows: list[list[Any]], title: str = "Panel") -> Any:
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    book.save(path)
    return book


def records(path: Path | str) -> list[tuple[int, list[str]]]:
    cells, problems = load_cells(path)
    assert cells is not None, problems
    return list(cells.records)


def with_value(path: Path, cell: str, value: str, kind: str = "") -> None:
    """Give the formula of a cell the value that a spreadsheet program keeps."""
    with zipfile.ZipFile(path) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].decode()
    start = sheet.index(f'<c r="{cell}"')
    end = sheet.index("</c>", start)
    body = sheet[start:end].split("<v", 1)[0] + f"<v>{value}</v>"
    if kind:
        body = body.replace(f'<c r="{cell}"', f'<c r="{cell}" t="{kind}"')
    parts["xl/worksheets/sheet1.xml"] = (sheet[:start] + body + sheet[end:]).encode()
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in parts.items():
            packed.writestr(name, data)


def test_cells_are_read_as_they_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    rows = [
        ["name", "value", None],
        [" A ", 1, None],
        [True, 2.0, None],
        ["# a note"],
        [False, 0.1 + 0.2],
        [],
        [dt.datetime(2024, 3, 1), dt.datetime(2024, 3, 1, 12, 30)],
        [7, 1e-5],
        [None, None],
    ]
    book = saved(path, rows)
    book.active["A8"].number_format = "000"
    book.save(path)
    assert records(path) == [
        (1, ["name", "value"]),
        (2, ["A", "1"]),
        (3, ["TRUE", "2"]),
        (5, ["FALSE", "0.3"]),
        (7, ["2024-03-01", "2024-03-01 12:30:00"]),
        (8, ["007", "1e-05"]),
    ]


def test_the_first_visible_sheet_is_read_unless_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    book = saved(path, [["hidden"], ["x"]])
    for title in ("Samples", "Pool 1"):
        book.create_sheet(title).append([title])
    book.worksheets[0].sheet_state = "hidden"
    book.save(path)
    assert records(path) == [(1, ["Samples"])]
    assert records(f"{path}#pool 1") == [(1, ["Pool 1"])]
    assert records(f"{path}#Panel") == [(1, ["hidden"]), (2, ["x"])]
    _, problems = load_cells(f"{path}#Pool 2")
    assert problems[0].what == "has no sheet 'Pool 2'"
    assert problems[0].fix == "its sheets: 'Panel', 'Samples', 'Pool 1'"


def test_a_formula_is_its_value_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    saved(path, [["name", "value"], ["A", "=1+1"], ["B", '=IF(A1="","","")'], ["C", "=1/0"]])
    _, problems = load_cells(path)
    assert problems[0].where == f"{path}, sheet 'Panel', cell B2"
    assert [problem.what for problem in problems][0::2] == [
        "the formula =1+1 has no value",
        "the formula =1/0 has no value",
    ]
    with_value(path, "B2", "2")
    with_value(path, "B3", "", "str")
    with_value(path, "B4", "#DIV/0!", "e")
    _, problems = load_cells(path)
    assert [(p.where[-2:], p.what) for p in problems] == [("B4", "the value is #DIV/0!")]
    with_value(path, "B4", "7")
    # the first type of B4 stays an error in the file of this test
    assert records_without(path, "B4") == [["name", "value"], ["A", "2"], ["B", ""]]


def records_without(path: Path, cell: str) -> list[list[str]]:
    book = openpyxl.load_workbook(path, data_only=True)
    book.active.delete_rows(int(cell[1:]))
    book.save(path)
    return [cells for _, cells in records(path)]


def test_cells_merged_down_a_column_have_its_value_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    book = saved(path, [["patient", "sample"], ["P1", "S1"], [None, "S2"], ["P2", "S3"]])
    book.active.merge_cells("A2:A3")
    book.active.merge_cells("D2:E9")
    book.save(path)
    assert [cells for _, cells in records(path)][1:] == [["P1", "S1"], ["P1", "S2"], ["P2", "S3"]]
    book.active.merge_cells("A4:B4")
    book.save(path)
    _, problems = load_cells(path)
    assert [(p.where, p.what) for p in problems] == [
        (f"{path}, sheet 'Panel', cell A4:B4", "the cells are merged across columns")
    ]


def test_names_that_became_dates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    saved(path, [["Sample", "Drawn"], [dt.date(2024, 9, 2), dt.date(2024, 3, 1)]])
    _, problems = load_table(path, names=("sample",))
    assert [problem.what for problem in problems] == ["sample is '2024-09-02'"]
    assert problems[0].fix.startswith("the workbook holds a date")
    table, _ = load_table(path)
    assert table is not None
    assert table.rows[0].cells == {"sample": "2024-09-02", "drawn": "2024-03-01"}


def test_empty_columns_on_the_left_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    saved(path, [[], [None, "name", "value"], [None, "A", 1]])
    table, _ = load_table(path)
    assert table is not None
    assert table.columns == ("name", "value")
    assert table.rows[0].line == 3


@pytest.mark.parametrize("name", ["content.xml", "word/document.xml", "xl/workbook.bin"])
def test_other_packed_files_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(name, "x")
    _, problems = load_cells(path)
    assert "not a workbook of the form .xlsx" in problems[0].what
    assert "CSV" in problems[0].fix


def test_a_sheet_without_cells_is_empty_and_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    book = saved(path, [])
    book.create_sheet("Hidden").append(["name"])
    book["Hidden"].sheet_state = "hidden"
    book.save(path)
    (problem,) = load_cells(path)[1]
    assert problem.what == "sheet 'Panel' is empty"
    assert problem.fix.endswith(f"{path}#Panel, {path}#Hidden")


def test_broken_and_endless_sheets_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    book = saved(path, [["name"]])
    book.active["XFD1048576"] = 1
    book.save(path)
    assert "reaches down to row 1048576" in load_cells(path)[1][0].what
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("xl/workbook.xml", "<workbook")
    assert "cannot be read" in load_cells(path)[1][0].what


def test_without_openpyxl_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "a.xlsx", [["name"], ["A"]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    _, problems = load_cells(tmp_path / "a.xlsx")
    assert "openpyxl" in problems[0].what
    assert "cytocar[xlsx]" in problems[0].fix
