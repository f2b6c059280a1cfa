"""Tables with a header that people write by hand; rows know their lines."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cytocar._core.errors import Problem
from cytocar._core.hand_cells import load_cells
from cytocar._core.workbooks import DateText

# Values, and stretches of lines, that a problem lists.
_SHOWN = 6
# Spreadsheet programs make dates of names such as 1-2 and SEPT2.
_NOT_A_DATE = "the workbook holds a date: format the cell as text, and write the name as it is meant"


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


def load_table(
    path: str | os.PathLike[str], *, aliases: dict[str, str] | None = None, names: Collection[str] = ()
) -> tuple[Table | None, list[Problem]]:
    """Load a table with a header line from a text file or a sheet of a workbook, with all that is wrong with it.

    Encodings, separators and sheets are those of `cytocar._core.hand_cells.load_cells`. Empty lines and lines that
    start with ``#`` are skipped.

    Parameters
    ----------
    path
        The file.
    aliases
        Other names of columns, in lower case, with the name that is meant.
    names
        Columns of names, in which a date is a mistake of the spreadsheet program.

    Returns
    -------
    The table and no problem, or None and what is wrong.
    """
    path = Path(path)
    cells, problems = load_cells(path)
    if cells is None:
        return None, problems
    (header_line, header), *body = [record for record in cells.records if any(record[1])] or [(1, [""])]
    columns = _columns(header, aliases or {})
    problems = _repeated(path, header_line, columns)
    dates = Findings(str(path))
    rows = []
    for line, values in body:
        if any(values[len(columns) :]):
            what = f"{len(values)} cells, but the header names {len(columns)} columns"
            fix = "put a cell that holds the separator in double quotes"
            problems.append(Problem(f"{path}, line {line}", what, fix))
        else:
            row = Row(line, dict(zip(columns, values, strict=False)))
            rows.append(row)
            for column in names:
                if isinstance(row.get(column), DateText):
                    dates.cell(line, column, row.get(column), _NOT_A_DATE)
    problems += dates.problems()
    if not rows and not problems:
        problems.append(Problem(str(path), "the table has a header but no rows", "give one line per row"))
    return (None, problems) if problems else (Table(columns, tuple(rows), cells.decimal_comma), [])


def _columns(header: list[str], aliases: dict[str, str]) -> tuple[str, ...]:
    names = [aliases.get(cell.casefold(), cell.casefold()) for cell in header]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


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
