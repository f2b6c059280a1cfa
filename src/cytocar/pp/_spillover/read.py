"""The spillover matrix of a CSV file, with everything that is wrong with it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cytocar._core.errors import Problem, StudyError
from cytocar._core.hand_cells import load_cells
from cytocar.panel.names import Isotope
from cytocar.panel.names_in_tables import isotope_in_table
from cytocar.pp._spillover.matrix import Spillover, check_matrix, distinct_isotopes

Record = tuple[int, list[str]]
StrPath = str | os.PathLike[str]


def load_spillover(path: StrPath) -> tuple[Spillover | None, list[Problem]]:
    r"""Read a spillover matrix and collect everything that is wrong with it.

    Parameters
    ----------
    path
        CSV as `read_spillover` takes it.

    Returns
    -------
    The matrix and no problems, or None and all problems.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "spill.csv"
    >>> _ = file.write_text("Yb171Di,CD3\n1,0.2\n0,1\n")
    >>> load_spillover(file)[1][0].what
    "'CD3' is not a mass channel"
    """
    cells, problems = load_cells(path, blanks=True)
    if cells is None:
        return None, problems
    lines = _without_empty_columns(cells.records)
    if len(lines) < 2:
        return None, [Problem(str(path), "there is no row below the header", "give a row for each emitter")]
    return _matrix_of(path, _laid_out(lines))


def _without_empty_columns(records: Sequence[Record]) -> list[Record]:
    """Return the lines without the empty columns that spreadsheets leave at the end."""
    (number, header), *body = records
    while header and not header[-1]:
        header = header[:-1]
    # R leaves out the name of the index column.
    width = max([len(header), *(i for _, cells in body for i, cell in enumerate(cells, start=1) if cell)])
    return [(number, header), *((line, cells[:width]) for line, cells in body)]


@dataclass(frozen=True)
class _Lines:
    """What the lines of a file are.

    Parameters
    ----------
    receivers
        Names in the header.
    emitters
        Name of each row; those of the header in turn where rows have none.
    cells
        Line and values of each row, as written.
    named
        Whether rows have names.
    """

    receivers: list[str]
    emitters: list[str]
    cells: list[Record]
    named: bool


def _laid_out(lines: list[Record]) -> _Lines:
    header, body = lines[0][1], lines[1:]
    indexed = isotope_in_table(header[0]) is None and any(
        isotope_in_table(row[0]) is not None for _, row in body
    )
    # R leaves out the name of the index column, so that the header is one shorter than the rows.
    named = indexed or all(len(row) == len(header) + 1 for _, row in body)
    receivers = header[1:] if indexed else header
    # Without names a row of separators alone is one that was never measured; beyond the last it is nothing.
    while body and not any(body[-1][1]) and (named or len(body) > len(receivers)):
        body.pop()
    if named:
        emitters = [row[0] for _, row in body]
        return _Lines(receivers, emitters, [(line, row[1:]) for line, row in body], named)
    return _Lines(receivers, receivers, body, named)


def _matrix_of(path: StrPath, lines: _Lines) -> tuple[Spillover | None, list[Problem]]:
    receivers, problems = distinct_isotopes(lines.receivers, f"{path}, header")
    values = _values(path, lines, problems)
    emitters = _emitters(path, lines, receivers, problems)
    if problems:
        return None, problems
    measured = [isotope for isotope in receivers if isotope is not None]
    at = {isotope: row for row, isotope in enumerate(measured)}
    matrix = np.full((len(measured), len(measured)), np.nan)
    for emitter, row_values in zip(emitters, values, strict=True):
        if emitter is not None:
            matrix[at[emitter]] = row_values
    channels = [isotope.channel for isotope in measured]
    problems = check_matrix(channels, matrix, str(path))
    return (None, problems) if problems else (Spillover(tuple(channels), matrix), [])


def _values(path: StrPath, lines: _Lines, problems: list[Problem]) -> list[list[float]]:
    """Return the numbers of every row that has as many as the header names; append what is wrong to `problems`."""
    values = []
    for number, cells in lines.cells:
        where = f"{path}, line {number}"
        if len(cells) == len(lines.receivers):
            values.append([_number(cell, where, problems) for cell in cells])
            continue
        what = f"{len(cells)} values, but the header names {len(lines.receivers)} channels"
        fix = "give a value for each channel; where commas separate, write decimals with a point"
        problems.append(Problem(where, what, fix))
    return values


def _emitters(
    path: StrPath, lines: _Lines, receivers: list[Isotope | None], problems: list[Problem]
) -> list[Isotope | None]:
    """Return the channel of every row; append what is wrong with them to `problems`."""
    if not lines.named:
        if len(lines.cells) != len(receivers):
            n = len(lines.cells)
            what = f"{n} rows and {len(receivers)} columns: it is not square, and no column names the rows"
            problems.append(Problem(str(path), what, "put the emitting channel first in each row"))
        return receivers
    emitters, wrong_names = distinct_isotopes(lines.emitters, f"{path}, first column")
    problems += wrong_names
    for name, isotope in zip(lines.emitters, emitters, strict=True):
        if isotope is not None and isotope not in receivers:
            what = f"row {name!r} has no column"
            problems.append(Problem(str(path), what, "every emitter also receives: add its column"))
    return emitters


def _number(cell: str, where: str, problems: list[Problem]) -> float:
    if cell.casefold() in ("", "na", "nan"):
        return math.nan
    try:
        # Values lie from 0 to 1, so that a comma can only be that of decimals. Python takes 1_0 for a number.
        return float(cell.replace(",", ".").replace("_", "?"))
    except ValueError:
        problems.append(Problem(where, f"{cell!r} is not a number", "write 0.012"))
        return math.nan


def read_spillover(path: StrPath) -> Spillover:
    r"""Read a spillover matrix from CSV or a workbook (.xlsx): columns receive, rows emit.

    Parameters
    ----------
    path
        The header names the receiving channels in any spelling (``Yb171Di``, ``171Yb``, R's ``X171Yb``). A first
        column with the emitting channels is optional where the matrix is square; rows may be fewer than columns,
        and a row that is missing or empty was never measured. Values are parts of 1, the diagonal is 1. Separators
        are comma, semicolon or tab, decimals have a point or a comma; of a workbook the first sheet is read, or the
        one that the path names after ``#``.

    Returns
    -------
    `Spillover`.

    Raises
    ------
    StudyError
        With every problem: a channel that is none or that is there twice, a value that is missing or not from
        0 to 1, a diagonal that is not 1, a matrix that is not square or singular.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "spill.csv"
    >>> _ = file.write_text(",Yb171Di,Yb172Di\n171Yb,1,0.04\n")
    >>> read_spillover(file)
    Spillover of 2 channels, 1 measured, 1 pairs above 0
    """
    matrix, problems = load_spillover(path)
    if matrix is None:
        raise StudyError(problems)
    return matrix
