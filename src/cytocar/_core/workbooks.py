"""Sheets of workbooks (.xlsx) as the texts that a person sees; what has no such text is refused with its cell."""

from __future__ import annotations

import datetime as dt
import io
import os
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cytocar._core.errors import Problem

if TYPE_CHECKING:
    from openpyxl.cell.cell import Cell
    from openpyxl.workbook.workbook import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

_ZIP: Final = b"PK\x03\x04"
# Workbooks before 2007, and newer ones with a password.
_OLE: Final = b"\xd0\xcf\x11\xe0"
_NAMED: Final = re.compile(r"(?P<file>.+\.xls[xm])#(?P<sheet>.+)", re.IGNORECASE)
_AS_CSV: Final = "save the sheet as CSV in UTF-8"
# Unpacked; a sheet of a study has some kB.
_MOST_BYTES: Final = 200_000_000
_MOST_CELLS: Final = 2_000_000
_PADDED: Final = re.compile("0{2,}")

Rows = list[tuple[int, list[str]]]


class DateText(str):
    """A date of a sheet, as text (2024-03-01): where a name is expected, the spreadsheet made it of something else."""

    __slots__ = ()


def is_workbook(raw: bytes) -> bool:
    """Return whether a file is a workbook, or packed as one, by its first bytes."""
    return raw.startswith((_ZIP, _OLE))


def split_sheet(path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Return the file and the sheet that a path names: ``panel.xlsx#Panel``; "" where it names none."""
    file = Path(path)
    match = _NAMED.fullmatch(str(path))
    if match is None or file.exists():
        return file, ""
    return Path(match["file"]), match["sheet"]


def load_sheet(raw: bytes, where: str, sheet: str = "") -> tuple[Rows, list[Problem]]:
    """Return number and cells of each row of a sheet that holds anything, and every cell that has no plain text.

    A cell is what its row and column say without a format: a number as short as it can be written (with the zeros
    in front that a format such as 000 shows), TRUE or FALSE, a date as 2024-03-01, of a formula the value that the
    spreadsheet program kept. Cells that are merged down a column all have the value; columns that are empty on the left
    are left out, and all rows have the same number of cells.

    Parameters
    ----------
    raw
        The file.
    where
        What to call it in a message.
    sheet
        Name of the sheet; ``""`` takes the first that is not hidden.
    """
    opened, problem = _opened(raw, where)
    if opened is None or problem is not None:
        return [], [problem] if problem is not None else []
    chosen = _chosen(opened.plain, sheet)
    if chosen is None:
        names = ", ".join(repr(other.title) for other in opened.plain.worksheets)
        return [], [Problem(where, f"has no sheet {sheet!r}", f"its sheets: {names}")]
    if chosen.max_row * chosen.max_column > _MOST_CELLS:
        what = (
            f"sheet {chosen.title!r} reaches down to row {chosen.max_row} and to column {chosen.max_column}"
        )
        return [], [Problem(where, what, f"delete the empty rows and columns, or {_AS_CSV}")]
    rows, problems = _Reader(opened, chosen, where).read()
    if not rows and not problems:
        names = ", ".join(f"{where.partition('#')[0]}#{other.title}" for other in opened.plain.worksheets)
        problems = [
            Problem(where, f"sheet {chosen.title!r} is empty", f"name the sheet that is meant, of {names}")
        ]
    return rows, problems


@dataclass(frozen=True)
class _Opened:
    """A workbook with its formulas, and with the values that were kept of them."""

    plain: Workbook
    values: Workbook


def _opened(raw: bytes, where: str) -> tuple[_Opened | None, Problem | None]:
    if raw.startswith(_OLE):
        what = "this is a workbook in the form before 2007 (.xls), or with a password"
        return None, Problem(where, what, f"save it as .xlsx without a password, or {_AS_CSV}")
    problem = _packed_problem(raw, where)
    if problem is not None:
        return None, problem
    try:
        from openpyxl import load_workbook
    except ImportError:
        fix = f'install openpyxl (pip install "cytocar[xlsx]"), or {_AS_CSV}'
        return None, Problem(where, "this is a workbook, and openpyxl, which reads it, is not installed", fix)
    try:
        with warnings.catch_warnings():
            # Of what does not concern cells: validation of input, themes, headers.
            warnings.simplefilter("ignore")
            return _Opened(
                load_workbook(io.BytesIO(raw)), load_workbook(io.BytesIO(raw), data_only=True)
            ), None
    except Exception as error:  # openpyxl lets through whatever its XML and zip readers raise
        return None, Problem(where, f"this workbook cannot be read: {error}", _AS_CSV)


def _packed_problem(raw: bytes, where: str) -> Problem | None:
    """Return what is wrong with a packed file that is not a workbook, or a bomb."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            names = packed.namelist()
            size = sum(entry.file_size for entry in packed.infolist())
    except zipfile.BadZipFile:
        return Problem(where, "this is a damaged workbook, not text", f"copy it again, or {_AS_CSV}")
    if "xl/workbook.xml" not in names:
        return Problem(where, "this is packed (zip), and not a workbook of the form .xlsx", _AS_CSV)
    if size > _MOST_BYTES:
        return Problem(where, f"this workbook holds {size} bytes", f"at most {_MOST_BYTES}: {_AS_CSV}")
    return None


def _chosen(workbook: Workbook, name: str) -> Worksheet | None:
    sheets: list[Worksheet] = list(workbook.worksheets)
    if name:
        return next((sheet for sheet in sheets if sheet.title.casefold() == name.strip().casefold()), None)
    return next((sheet for sheet in sheets if sheet.sheet_state == "visible"), None)


class _Reader:
    """One sheet; what cannot be read of it goes to `problems`."""

    def __init__(self, opened: _Opened, sheet: Worksheet, where: str) -> None:
        self._sheet, self._where = sheet, f"{where}, sheet {sheet.title!r}"
        self._values: Worksheet = opened.values[sheet.title]
        self._problems: list[Problem] = []

    def read(self) -> tuple[Rows, list[Problem]]:
        rows: Rows = [
            (number, [self._text(cell) for cell in row])
            for number, row in enumerate(self._sheet.iter_rows(), start=1)
        ]
        self._fill(rows)
        while rows and not any(rows[-1][1]):
            rows.pop()
        rows = [(number, cells) for number, cells in rows if any(cells)]
        left = min((next(i for i, cell in enumerate(cells) if cell) for _, cells in rows), default=0)
        right = max((i for _, cells in rows for i, cell in enumerate(cells, start=1) if cell), default=0)
        return [(number, cells[left:right]) for number, cells in rows], self._problems

    def _problem(self, cell: str, what: str, fix: str) -> None:
        self._problems.append(Problem(f"{self._where}, cell {cell}", what, fix))

    def _text(self, cell: Cell) -> str:
        """Return what a cell says."""
        kept: Any = self._values[cell.coordinate] if cell.data_type == "f" else cell
        value = kept.value
        if kept.data_type == "e":
            self._problem(cell.coordinate, f"the value is {value}", "correct the formula, or empty the cell")
        elif value is None and cell.data_type == "f" and kept.data_type != "str":
            formula = getattr(cell.value, "text", None) or str(cell.value)
            fix = "open the workbook in a spreadsheet program and save it, or write the value"
            self._problem(cell.coordinate, f"the formula {formula} has no value", fix)
        else:
            return _plain(value, str(cell.number_format))
        return ""

    def _fill(self, rows: Rows) -> None:
        """Give cells that are merged down a column their value; refuse values that are merged across columns."""
        for merged in self._sheet.merged_cells.ranges:
            value = rows[merged.min_row - 1][1][merged.min_col - 1]
            if value and merged.max_col > merged.min_col:
                self._problem(
                    str(merged), "the cells are merged across columns", "give each cell its own value"
                )
                continue
            for row in rows[merged.min_row : merged.max_row]:
                row[1][merged.min_col - 1] = value


def _plain(value: Any, form: str) -> str:
    """Return a value as text, as short as it can be written."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        text = f"{value:.15g}"
        return text.zfill(len(form)) if _PADDED.fullmatch(form) and text.isdecimal() else text
    if isinstance(value, dt.datetime):
        midnight = value.time() == dt.time()
        return DateText(
            value.date().isoformat() if midnight else value.isoformat(sep=" ", timespec="seconds")
        )
    if isinstance(value, (dt.date, dt.time, dt.timedelta)):
        return DateText(value)
    return str(value).strip()
