"""The cells of a table that people or programs wrote: text with any usual separator, or a sheet of a workbook."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cytocar._core.errors import Problem
from cytocar._core.workbooks import is_workbook, load_sheet, split_sheet

# Where a header has as many of one as of another, the rarer one in names is the separator.
_SEPARATORS: Final = ("\t", ";", ",")
_QUOTED: Final = re.compile(r'"[^"]*"')
# A line that begins with # is a note, unless the header calls its first column so.
_NOTE: Final = re.compile(r'\s*"?#(?!"?\s*[,;\t].*\w)')
_NOT_TEXT: Final = ("this is not a text file", "save the table as CSV in UTF-8")


@dataclass(frozen=True)
class Cells:
    """What a file holds: line and cells of each record, and whether its decimals may be written with a comma."""

    records: tuple[tuple[int, list[str]], ...]
    decimal_comma: bool = False


def load_cells(path: str | os.PathLike[str], *, blanks: bool = False) -> tuple[Cells | None, list[Problem]]:
    """Load the cells of a table, with all that is wrong with the file.

    Text is UTF-8 (with or without byte order mark), UTF-16 or else Windows-1252; lines end in LF, CRLF or CR; the
    separator is the one of comma, semicolon and tab that the header has most of, outside of quotes. Of a workbook
    (.xlsx) the first sheet is read, or the one that the path names after ``#``: ``panel.xlsx#Panel``. Empty lines,
    and lines that start with ``#``, are left out; a line of separators alone is not empty.

    Parameters
    ----------
    path
        The file.
    blanks
        Whether blanks separate cells where the header has no other separator, as R's ``write.table`` does.

    Returns
    -------
    The cells without blanks around them, at least one record, and no problem; or None and what is wrong.
    """
    file, sheet = split_sheet(path)
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return None, [Problem(str(path), "there is no such file", "check the name and the folder")]
    except IsADirectoryError:
        return None, [Problem(str(path), "this is a folder, not a table", "name the CSV file in it")]
    except OSError as error:
        return None, [Problem(str(path), f"cannot be read: {error.strerror}", "check the rights of the file")]
    if is_workbook(raw):
        rows, problems = load_sheet(raw, str(path), sheet)
        records = [(number, cells) for number, cells in rows if not cells[0].startswith("#")]
        cells = Cells(tuple(records))
    else:
        try:
            text = decode(raw)
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            return None, [Problem(str(path), *_NOT_TEXT)]
        cells, problems = _of_text(file, text.replace("\r\n", "\n").replace("\r", "\n"), blanks=blanks)
    problems = problems or _title_above(str(path), list(cells.records))
    if not cells.records and not problems:
        problems = [Problem(str(path), "the table is empty", "give a header line and one line per row")]
    return (None, problems) if problems else (cells, [])


def decode(raw: bytes) -> str:
    """Return the text of a file; what is neither UTF-8 nor UTF-16 is taken as programs for Windows write it."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    for encoding in ("utf-8", "cp1252"):
        try:
            # Programs that add a byte order mark to a text that has one leave two.
            return raw.decode(encoding).lstrip("\ufeff")
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def _of_text(path: Path, text: str, *, blanks: bool) -> tuple[Cells, list[Problem]]:
    # A comment or an empty line stays a line, so that the numbers are those of an editor.
    lines = ["" if _NOTE.match(line) or not line.strip() else line for line in text.split("\n")]
    first = next((index for index, line in enumerate(lines) if line), None)
    if first is None:
        return Cells(()), []
    separator = _separator(lines, first)
    if blanks and _by_blanks([line for line in lines if line]):
        separator = " "
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, skipinitialspace=True)
    records: list[tuple[int, list[str]]] = []
    last = 0
    try:
        for cells in reader:
            line, last = last + 1, reader.line_num
            cells = [cell.strip() for cell in cells]
            if len(cells) > 1 or any(cells):
                records.append((line, cells))
    except csv.Error as error:
        where = f"{path}, line {last + 1}"
        return Cells(()), [Problem(where, f"is not CSV: {error}", "check the double quotes")]
    return Cells(tuple(records), decimal_comma=separator != ","), []


def _separator(lines: list[str], first: int) -> str:
    """Return what separates cells; a line that says so is emptied."""
    if lines[first].casefold() in [f"sep={separator}" for separator in _SEPARATORS]:
        # Spreadsheets write and read this line.
        stated, lines[first] = lines[first][4], ""
        return stated
    # A title above the table has none.
    for line in [line for line in lines[first:] if line][:2]:
        count = _QUOTED.sub("", line).count
        if any(map(count, _SEPARATORS)):
            return max(_SEPARATORS, key=count)
    return _SEPARATORS[0]


def _by_blanks(lines: list[str]) -> bool:
    """Return whether the header and the first row have several cells, as many or one more, and blanks between them."""
    header, row = ([cell for cell in line.split() if cell] for line in [*lines, ""][:2])
    separated = any(separator in lines[0] for separator in _SEPARATORS)
    return not separated and 1 < len(header) <= len(row) <= len(header) + 1


def _title_above(path: str, records: list[tuple[int, list[str]]]) -> list[Problem]:
    """Return that the first line is not the header: it says one thing, where the next says several."""
    filled = [sum(map(bool, cells)) for _, cells in records[:2]]
    if len(filled) < 2 or filled[0] != 1 or filled[1] < 2:
        return []
    (line, first), (_, second) = records[:2]
    if len(first) == 1 and len(second) == 2:
        # R leaves out the name of the column of names.
        return []
    what = f"{next(filter(None, first))!r} stands alone above the table"
    return [Problem(f"{path}, line {line}", what, "remove this line, or begin it with #")]
