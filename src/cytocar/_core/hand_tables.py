"""Tables that people write by hand: any usual encoding, line end and separator; rows know their lines."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cytocar._core.errors import Problem

_SEPARATORS = (",", ";", "\t")
# Values, and stretches of lines, that a problem lists.
_SHOWN = 6


@dataclass(frozen=True)
class Row:
    """One row of a table: the line it stands on, and its cells by column."""

    line: int
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """Return a cell without blanks around it, or ``""``."""
        return self.cells.get(column, "")


@dataclass(frozen=True)
class Table:
    """The columns and rows of a file, and whether it writes decimals with a comma."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    decimal_comma: bool = False

    def number(self, text: str) -> float | None:
        """Return a cell as a finite number, or None where it is not one."""
        if self.decimal_comma:
            text = text.replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            return None
        # "1_000" is a number for Python only.
        return value if value - value == 0 and "_" not in text else None


@dataclass
class Findings:
    """What is wrong with the rows of a table: the same fault in many rows is one problem that names its lines.

    Parameters
    ----------
    path
        The file.

    Examples
    --------
    >>> findings = Findings("panel.csv")
    >>> for line in (2, 3, 4, 7):
    ...     findings.cell(line, "cofactor", "0", "give a number above 0")
    >>> [(problem.where, problem.what) for problem in findings.problems()]
    [('panel.csv, lines 2 to 4, 7', "cofactor is '0' in 4 rows")]
    """

    path: str
    _found: dict[tuple[str, str, str], list[tuple[int, str]]] = field(default_factory=dict)
    _plurals: dict[str, str] = field(default_factory=dict)

    def add(self, line: int, what: str, fix: str = "") -> None:
        """Note what is wrong with a row."""
        self._found.setdefault(("", what, fix), []).append((line, ""))

    def of_item(self, line: int, name: str, texts: tuple[str, str], fix: str) -> None:
        """Note what is wrong with something that has a name: `texts` for one and for several, ``{}`` for the names."""
        one, several = texts
        self._plurals[one] = several
        self._found.setdefault(("", one, fix), []).append((line, name))

    def cell(self, line: int, column: str, value: str, fix: str) -> None:
        """Note that a cell holds what its column does not take."""
        self._found.setdefault((column, "", fix), []).append((line, value))

    def problems(self) -> list[Problem]:
        """Return one problem per fault, in the order in which they were met."""
        return [
            Problem(
                f"{self.path}, {lines_of([line for line, _ in rows])}",
                _values(column, rows) if column else self._text(what, rows),
                fix,
            )
            for (column, what, fix), rows in self._found.items()
        ]

    def _text(self, what: str, rows: list[tuple[int, str]]) -> str:
        if what in self._plurals:
            names = [repr(name) for _, name in rows]
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            form = what if len(rows) == 1 else self._plurals[what]
            return form.replace("{}", ", ".join(names[:_SHOWN]) + more)
        return what if len(rows) == 1 else f"{what} ({len(rows)} rows)"


def _values(column: str, rows: list[tuple[int, str]]) -> str:
    """Say what values a column has in some rows: each once, the first few of many."""
    by_value: dict[str, list[int]] = {}
    for line, value in rows:
        by_value.setdefault(value, []).append(line)
    if len(rows) == 1:
        return f"{column} is {rows[0][1]!r}"
    if len(by_value) == 1:
        return f"{column} is {rows[0][1]!r} in {len(rows)} rows"
    shown = [f"{value!r} ({lines_of(lines)})" for value, lines in list(by_value.items())[:_SHOWN]]
    more = len(by_value) - len(shown)
    return f"{column} is {', '.join(shown)}" + (f" and {more} other values" if more else "")


def lines_of(lines: Sequence[int]) -> str:
    """Return the numbers of lines as text, neighbours as ranges.

    Examples
    --------
    >>> lines_of([3]), lines_of([2, 3, 4, 7])
    ('line 3', 'lines 2 to 4, 7')
    """
    runs: list[list[int]] = []
    for line in sorted(set(lines)):
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    texts = [
        str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" if len(run) > 2 else f"{run[0]}, {run[1]}"
        for run in runs
    ]
    shown = ", ".join(texts[:_SHOWN]) + (" ..." if len(texts) > _SHOWN else "")
    return f"line{'s' if len(set(lines)) > 1 else ''} {shown}"


def decode(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def load_table(
    path: str | os.PathLike[str], *, aliases: dict[str, str] | None = None
) -> tuple[Table | None, list[Problem]]:
    """Load a table with a header line from a text file, with all that is wrong with it.

    The encoding is UTF-8 (with or without byte order mark), UTF-16 or else Latin-1; lines end in LF, CRLF or
    CR; the separator is the one of comma, semicolon and tab that the header has most of. Empty lines and
    lines that start with ``#`` are skipped.

    Parameters
    ----------
    path
        The file.
    aliases
        Other names of columns, in lower case, with the name that is meant.

    Returns
    -------
    The table and no problem, or None and what is wrong.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None, [Problem(str(path), "there is no such file", "check the name and the folder")]
    except IsADirectoryError:
        return None, [Problem(str(path), "this is a folder, not a table", "name the CSV file in it")]
    except OSError as error:
        return None, [Problem(str(path), f"cannot be read: {error.strerror}", "check the rights of the file")]
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return None, [Problem(str(path), "this is a workbook, not text", "save the sheet as CSV")]
    try:
        text = decode(raw)
    except UnicodeDecodeError:
        return None, [Problem(str(path), "this is not a text file", "save the table as CSV in UTF-8")]
    if "\0" in text:
        return None, [Problem(str(path), "this is not a text file", "save the table as CSV in UTF-8")]
    return _parse(path, text.replace("\r\n", "\n").replace("\r", "\n"), aliases or {})


def _parse(path: Path, text: str, aliases: dict[str, str]) -> tuple[Table | None, list[Problem]]:
    # A comment or an empty line stays a line, so that the numbers are those of an editor.
    lines = ["" if line.lstrip().startswith("#") or not line.strip() else line for line in text.split("\n")]
    first = next((index for index, line in enumerate(lines) if line), None)
    if first is None:
        return None, [Problem(str(path), "the table is empty", "give a header line and one line per row")]
    separator = _separator(lines, first)
    records, broken = _records(path, lines, separator)
    if not records:
        return None, broken or [_no_rows(path)]
    (header_line, header), *body = records
    columns = _columns(header, aliases)
    problems = _repeated(path, header_line, columns)
    rows = []
    for line, cells in body:
        if any(cells[len(columns) :]):
            problems.append(
                Problem(
                    f"{path}, line {line}",
                    f"{len(cells)} cells, but the header names {len(columns)} columns",
                    f"put a cell that holds {separator!r} in double quotes",
                )
            )
        else:
            rows.append(Row(line, dict(zip(columns, cells, strict=False))))
    problems += broken
    if not rows and not problems:
        problems.append(_no_rows(path))
    return (None, problems) if problems else (Table(columns, tuple(rows), decimal_comma=separator != ","), [])


def _separator(lines: list[str], first: int) -> str:
    """Return what separates cells; a line that says so is emptied."""
    if lines[first].casefold() in [f"sep={separator}" for separator in _SEPARATORS]:
        # Spreadsheets write and read this line.
        stated, lines[first] = lines[first][4], ""
        return stated
    return max(_SEPARATORS, key=lines[first].count)


def _records(
    path: Path, lines: list[str], separator: str
) -> tuple[list[tuple[int, list[str]]], list[Problem]]:
    """Return the first line and the cells of each record that holds anything, up to where it is no longer CSV."""
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, skipinitialspace=True)
    records: list[tuple[int, list[str]]] = []
    last = 0
    try:
        for cells in reader:
            line, last = last + 1, reader.line_num
            cells = [cell.strip() for cell in cells]
            if any(cells):
                records.append((line, cells))
    except csv.Error as error:
        where = f"{path}, line {last + 1}"
        return records, [Problem(where, f"is not CSV: {error}", "check the double quotes")]
    return records, []


def _columns(header: list[str], aliases: dict[str, str]) -> tuple[str, ...]:
    names = [aliases.get(cell.casefold(), cell.casefold()) for cell in header]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _no_rows(path: Path) -> Problem:
    return Problem(str(path), "the table has a header but no rows", "give one line per row")


def _repeated(path: Path, line: int, columns: tuple[str, ...]) -> list[Problem]:
    return [
        Problem(
            f"{path}, line {line}",
            f"{columns.count(name)} columns are called (or mean) {name!r}",
            "keep one of them",
        )
        for name in dict.fromkeys(columns)
        if name and columns.count(name) > 1
    ]
