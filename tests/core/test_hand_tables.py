"""Tables as people, spreadsheets and R write them: the same cells from every form."""

from __future__ import annotations

from pathlib import Path

import pytest

from cytocar._core.hand_cells import load_cells
from cytocar._core.hand_tables import load_table

PLAIN = "name,value\nµg β,1.5\nB,2\n"
WANTED = [("µg β", "1.5"), ("B", "2")]


def rows_of(path: Path) -> list[tuple[str, str]]:
    table, problems = load_table(path)
    assert table is not None, problems
    numbers = [(row.get("name"), table.number(row.get("value"))) for row in table.rows]
    return [(name, f"{value:g}") for name, value in numbers if value is not None]


@pytest.mark.parametrize(
    "raw",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        "\ufeff".encode() + PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", ";").replace(".", ",").encode(),
        PLAIN.replace(",", "\t").replace(".", ",").encode("utf-16"),
        b"sep=;\r\n" + PLAIN.replace(",", ";").encode(),
        PLAIN.replace("\n", ",,,\n").encode() + b",,,,\n,,,,\n",
        b"# from Monday\n\n" + PLAIN.encode(),
        PLAIN.replace("name", '"name"').replace("B", '"B"').encode(),
        PLAIN.rstrip("\n").encode(),
    ],
    ids=[
        "UTF-8", "byte order mark", "two marks", "UTF-16", "UTF-16 big", "Mac", "Windows", "tab", "decimal comma",
        "tab and comma in UTF-16", "sep=", "empty columns", "comment", "quotes", "no last line end",
    ],
)  # fmt: skip
def test_every_form_has_the_same_cells(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(raw)
    assert rows_of(path) == WANTED


def test_signs_of_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("name,value\nA – “B” µ,1\n".encode("cp1252"))
    assert rows_of(path) == [("A – “B” µ", "1")]


@pytest.mark.parametrize(
    "text",
    [
        '"name, as sent; or said";value\nA;1,5\n',
        '"name, of a (b, c)"\tvalue\nA\t1,5\n',
        "name, first\tvalue\nA\t1,5\n",
        "name, first;value\nA;1,5\n",
    ],
)
def test_signs_within_a_name_do_not_separate(text: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    cells, _ = load_cells(path)
    assert cells is not None
    assert cells.decimal_comma
    assert [len(record) for _, record in cells.records] == [2, 2]
    assert cells.records[1] == (2, ["A", "1,5"])


def test_lines_keep_the_numbers_that_an_editor_shows(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('# note\n\nname,value\n"A\nof two lines",1\n\nB,2,3\n')
    _, problems = load_table(path)
    assert [problem.where for problem in problems] == [f"{path}, line 7"]


def test_a_column_may_be_called_by_the_sign_of_notes(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("#,name,value\n1,A,2\n#,,\n# a note, of two parts\n2,B,3\n")
    table, _ = load_table(path)
    assert table is not None
    assert table.columns == ("#", "name", "value")
    assert [row.cells["#"] for row in table.rows] == ["1", "2"]


@pytest.mark.parametrize("title", ["Samples of May", "Samples of May,,", '"Samples, of May";;'])
def test_a_title_above_the_table_is_not_its_header(title: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{title}\n" + ("name;value;x\nA;1;2\n" if ";" in title else "name,value,x\nA,1,2\n"))
    _, problems = load_table(path)
    assert [problem.where for problem in problems] == [f"{path}, line 1"]
    assert "stands alone above the table" in problems[0].what
    path.write_text(f"# {title}\n" + "name,value,x\nA,1,2\n")
    assert load_table(path)[1] == []


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "the table is empty"),
        (b"\n \n# only this\n", "the table is empty"),
        (b",,\n,,\n", "a header but no rows"),
        (b"name,value\n", "a header but no rows"),
        (b"name\0value", "not a text file"),
        (b'name,value\n"A,1\n' + b"x" * 200_000, "is not CSV"),
        (b"PK\x03\x04", "damaged workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "before 2007"),
    ],
)
def test_what_is_not_a_table_is_refused(raw: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(raw)
    table, problems = load_table(path)
    assert table is None
    assert words in problems[0].what
    assert problems[0].fix
