"""The key of a barcoded pool: which channels are positive for which sample."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import PanelError, Problem, did_you_mean
from cytocar._core.hand_cells import load_cells
from cytocar.panel.antigens import marker_index
from cytocar.panel.names import ISOTOPES, antigen_key, channel_isotope, marker_key
from cytocar.panel.names_in_tables import isotope_in_table

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

# A mass as spreadsheets and R write it: 102, 102.0, 102,0, X102.
_MASS: Final = re.compile(r"X?([0-9]{2,3})(?:[.,]0+)?")
# As the languages of spreadsheet programs write the values of a cell that holds a logical value, too.
_POSITIVE: Final = ("1", "1.0", "1,0", "true", "t", "yes", "+", "wahr", "vrai", "vero", "verdadero")
_NEGATIVE: Final = ("0", "0.0", "0,0", "false", "f", "no", "-", "falsch", "faux", "falso")
_VALUES: Final = {**dict.fromkeys(_POSITIVE, True), **dict.fromkeys(_NEGATIVE, False)}
_MASSES: Final = frozenset(mass for masses in ISOTOPES.values() for mass in masses)
# One bit a channel in a 64-bit number, and room for the sign.
_MOST_CHANNELS: Final = 62


@dataclass(frozen=True)
class Key:
    """A checked key: names of the samples, columns as written, samples x columns of positives."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    codes: NDArray[np.bool_]


def read_barcode_key(path: str | os.PathLike[str]) -> pd.DataFrame:
    r"""Read the key of a barcoded pool from a CSV file or a workbook, and check it.

    The header names the barcode channels, by mass (``102``) or as channels or markers (``Pd102Di``, ``BC102``), also
    as R changes them (``X102Pd``); every further row is a sample: its name, and 1 (positive) or 0 for each channel, or
    TRUE and FALSE, yes and no, + and -. The file may be UTF-8, UTF-16 or Latin-1, its lines may end in LF, CRLF or CR,
    and its cells be separated by comma, semicolon or tab. Of a workbook (.xlsx) the first sheet is read, or the one
    that the path names after ``#``: ``keys.xlsx#Pool 1``. Samples may have the same number of
    positives (as in the doublet-filtering scheme of Zunder et al. 2015, Nat Protoc 10:316, doi
    10.1038/nprot.2015.020) or not.

    Parameters
    ----------
    path
        The CSV file or workbook.

    Returns
    -------
    Table of 0 and 1, samples x channels, in the order of the file: the index holds the names of the samples, the
    columns are texts as the header writes them.

    Raises
    ------
    PanelError
        Lists every problem at once: no such file, a name or channel that is missing or there twice, a mass that no
        isotope has, a value other than 0 and 1, two samples of one code, a code without a positive or without a
        negative, and, where the numbers of positives differ, a code that lies within another.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "key.csv"
    >>> _ = file.write_bytes(b"sample,102,104,105\rA,1,1,0\rB,0,1,1\r")
    >>> read_barcode_key(file).loc["B"].tolist()
    [0, 1, 1]
    """
    key = _read(path)
    import pandas as pd

    return pd.DataFrame(
        key.codes.astype(np.int64), index=pd.Index(key.names, name="barcode"), columns=pd.Index(key.columns)
    )


def as_key(key: pd.DataFrame | str | os.PathLike[str]) -> Key:
    """Return a key from a file or a table, or raise `PanelError` with all that is wrong with it."""
    import pandas as pd

    if isinstance(key, (str, os.PathLike)):
        return _read(key)
    if not isinstance(key, pd.DataFrame):
        raise PanelError(
            f"the key is {type(key).__name__}",
            fix=(
                "it must be a path, or a table of 0 and 1 with samples as rows and "
                "channels as columns, as pp.read_barcode_key gives it"
            ),
        )
    where = "the key"
    names = [str(name).strip() for name in key.index]
    rows = [
        _Row(f"{where}, sample {name!r}", name, [_plain(cell) for cell in cells])
        for name, cells in zip(names, key.to_numpy(dtype=object).tolist(), strict=True)
    ]
    return _checked(where, [str(column).strip() for column in key.columns], rows)


def _plain(cell: Any) -> str:
    return str(float(cell)) if isinstance(cell, (float, np.floating)) else str(cell)


@dataclass(frozen=True)
class _Row:
    """One sample of a key as written: where it stands, its name, and a cell for each channel."""

    where: str
    name: str
    cells: list[str]


def _read(path: str | os.PathLike[str]) -> Key:
    cells, problems = load_cells(path, blanks=True)
    if cells is None:
        raise PanelError(problems=problems)
    lines = [(number, line) for number, line in cells.records if any(line)] or [(1, [""])]
    rows = [_Row(f"{path}, line {number}", line[0], line[1:]) for number, line in lines[1:]]
    header, rows = _of_samples(lines[0][1], rows, where=f"{path}, line {lines[0][0]}")
    if rows and all(isotope_in_table(row.name) for row in rows) and not any(map(_is_mass_channel, header)):
        what = "the channels stand in rows, and the samples in columns"
        raise PanelError(what, where=str(path), fix="give one row per sample and one column per channel")
    return _checked(str(path), *_without_empty_columns(header, rows))


def _of_samples(header: list[str], rows: list[_Row], *, where: str) -> tuple[list[str], list[_Row]]:
    """Return header and rows with the names of the samples in the first column, which R writes in forms of its own."""
    if rows and _is_mass_channel(header[0]):
        # R leaves out the name of the column of names.
        if all(len(row.cells) == len(header) for row in rows):
            return ["", *header], rows
        what = f"the first column is {header[0]!r}, a channel"
        raise PanelError(what, where=where, fix="put the names of the samples into the first column")
    if _are_numbered(header, rows):
        # R writes the numbers of rows before them.
        return header[1:], [_Row(row.where, row.cells[0], row.cells[1:]) for row in rows]
    return header, rows


def _without_empty_columns(header: list[str], rows: list[_Row]) -> tuple[list[str], list[_Row]]:
    """Return the channels and the rows without empty columns at the end, which spreadsheets leave."""
    header = list(header)
    while (
        len(header) > 1 and not header[-1] and not any("".join(row.cells[len(header) - 2 :]) for row in rows)
    ):
        header.pop()
    width = len(header) - 1
    return header[1:], [
        row if any(row.cells[width:]) else replace(row, cells=row.cells[:width]) for row in rows
    ]


def _is_mass_channel(name: str) -> bool:
    return mass_of(name) in _MASSES or isotope_in_table(name) is not None


def _are_numbered(header: list[str], rows: list[_Row]) -> bool:
    """Return whether the first column holds the numbers of rows, and the second the names of samples."""
    numbers = [row.name for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
    named = all(row.cells and row.cells[0].casefold() not in _VALUES for row in rows)
    return bool(rows) and not header[0] and numbers and named and not _is_mass_channel(header[1])


def mass_of(column: str) -> int | None:
    """Return the mass that a column of a key is named by, if it is."""
    match = _MASS.fullmatch(column)
    return int(match[1]) if match else None


def _column_problems(where: str, columns: list[str]) -> list[Problem]:
    problems = []
    if len(columns) < 2:
        problems.append(
            Problem(
                where,
                "1 channel is named" if columns else "no channel is named",
                "name at least two, one positive and one negative",
            )
        )
    if len(columns) > _MOST_CHANNELS:
        problems.append(
            Problem(where, f"{len(columns)} channels are named", f"at most {_MOST_CHANNELS} can be read")
        )
    seen: dict[object, str] = {}
    for number, column in enumerate(columns, start=2):
        if not column:
            problems.append(Problem(where, f"column {number} has no name", "name its mass or channel"))
            continue
        mass = mass_of(column)
        if mass is not None and mass not in _MASSES:
            problems.append(
                Problem(
                    where, f"the mass {column!r} belongs to no isotope", "give the mass number, such as 102"
                )
            )
        isotope = isotope_in_table(column)
        what = mass if mass is not None else isotope.mass if isotope else marker_key(column)
        if what in seen:
            problems.append(
                Problem(
                    where, f"{column!r} and {seen[what]!r} are the same channel", "keep one of the columns"
                )
            )
        seen.setdefault(what, column)
    return problems


def _checked(where: str, columns: list[str], rows: list[_Row]) -> Key:
    problems = _column_problems(where, columns)
    if not rows:
        problems.append(Problem(where, "the key has no rows", "give one row per sample"))
    names: dict[str, str] = {}
    codes: dict[str, tuple[bool, ...]] = {}
    for row in rows:
        if not row.name:
            problems.append(Problem(row.where, "the sample has no name", "put it into the first column"))
        elif row.name in names:
            what = f"the name {row.name!r} is there twice"
            problems.append(Problem(row.where, what, "give every sample its own name"))
        wrong_cells = _cell_problem(row, columns)
        if wrong_cells is not None:
            problems.append(wrong_cells)
            continue
        code = tuple(_VALUES[cell.casefold()] for cell in row.cells)
        if len(columns) > 1 and len(set(code)) == 1:
            what = f"{row.name!r} is {'positive' if code[0] else 'negative'} in every channel"
            fix = "a code needs a positive and a negative channel to compare"
            problems.append(Problem(row.where, what, fix))
        elif row.name and row.name not in names:
            codes[row.name] = code
        names.setdefault(row.name, row.where)
    problems += _code_problems(names, codes)
    if problems:
        raise PanelError(problems=problems)
    return Key(tuple(codes), tuple(columns), np.array(list(codes.values()), dtype=np.bool_))


def _cell_problem(row: _Row, columns: list[str]) -> Problem | None:
    """Return what is wrong with the cells of a row: too few or many, or other than 0 and 1."""
    if len(row.cells) != len(columns):
        what = f"{len(row.cells)} values for {len(columns)} channels"
        return Problem(row.where, what, "give 0 or 1 for each channel")
    cells = zip(row.cells, columns, strict=True)
    wrong = [f"{cell!r} in {column}" for cell, column in cells if cell.casefold() not in _VALUES]
    if wrong:
        return Problem(row.where, f"{', '.join(wrong)}: not 0 or 1", "1 is positive, 0 is negative")
    return None


def _code_problems(names: dict[str, str], codes: dict[str, tuple[bool, ...]]) -> list[Problem]:
    """Return the pairs of samples that cannot be distinguished."""
    problems = []
    positive = {name: frozenset(i for i, on in enumerate(code) if on) for name, code in codes.items()}
    for name, mine in positive.items():
        for other, theirs in positive.items():
            if mine == theirs and list(codes).index(name) > list(codes).index(other):
                problems.append(
                    Problem(
                        names[name],
                        f"{name!r} has the same code as {other!r}",
                        "give every sample its own code",
                    )
                )
            elif mine < theirs:
                problems.append(
                    Problem(
                        names[name],
                        f"the code of {name!r} lies within that of {other!r}",
                        "a doublet would pass for a single cell; take codes of which none holds another",
                    )
                )
    return problems


def _channel_names(adata: AnnData) -> list[str]:
    if keys.CHANNEL in adata.var:
        return [str(name) for name in adata.var[keys.CHANNEL]]
    return [str(name) for name in adata.var_names]


def match_channels(key: Key, adata: AnnData) -> list[int]:
    """Return the column of `adata` for each column of the key: by mass, else by channel or marker; never by place.

    Raises
    ------
    PanelError
        Lists every column of the key that is not in the data, or that several channels fit.
    """
    channels = _channel_names(adata)
    markers = [str(name) for name in adata.var_names]
    masses = _masses_of(adata, channels, markers)
    problems: list[Problem] = []
    matched = []
    for column in key.columns:
        hits = _hits(column, channels, markers, masses)
        if len(hits) > 1:
            hits = _barcodes_among(adata, hits) or hits
        matched.append(hits[0] if hits else -1)
        if len(hits) != 1:
            problems.append(_not_one_channel(column, [channels[hit] for hit in hits], channels, masses))
    for hit in sorted({hit for hit in matched if hit >= 0 and matched.count(hit) > 1}):
        shared = [column for column, other in zip(key.columns, matched, strict=True) if other == hit]
        where = f"key, columns {', '.join(shared)}"
        problems.append(Problem(where, f"are all channel {channels[hit]}", "keep one of them"))
    if problems:
        raise PanelError(problems=problems)
    return matched


def _masses_of(adata: AnnData, channels: list[str], markers: list[str]) -> list[int]:
    """Return the mass of each channel, 0 where it has none."""
    stated = adata.var[keys.MASS].to_numpy() if keys.MASS in adata.var else [0] * len(channels)
    masses = []
    for mass, channel, marker in zip(stated, channels, markers, strict=True):
        isotope = channel_isotope(channel, marker)
        # A channel that sums several masses is none of them.
        if isotope is not None and isotope.span:
            masses.append(0)
        elif mass > 0:
            masses.append(int(mass))
        else:
            masses.append(isotope.mass if isotope is not None else 0)
    return masses


def _not_one_channel(column: str, fits: list[str], channels: list[str], masses: list[int]) -> Problem:
    """Return the problem of a column of the key that fits no channel, or several."""
    where = f"key, column {column!r}"
    if fits:
        return Problem(where, f"fits {len(fits)} channels ({', '.join(fits)})", "name one")
    if mass_of(column) is None and isotope_in_table(column) is None:
        return Problem(where, "is not a channel of the data", did_you_mean(column, channels))
    there = ", ".join(str(mass) for mass in sorted(set(masses) - {0})) or "none"
    fix = f"masses of the data: {there}. A panel without the barcode channels leaves them out on reading"
    return Problem(where, "no channel of the data has this mass", fix)


def _hits(column: str, channels: list[str], markers: list[str], masses: list[int]) -> list[int]:
    mass = mass_of(column)
    if mass is not None:
        return [i for i, other in enumerate(masses) if other == mass]
    for names in (channels, markers):
        if exact := [i for i, name in enumerate(names) if name == column]:
            return exact
    isotope = isotope_in_table(column)
    if isotope is not None and isotope.span is None:
        return [i for i, other in enumerate(masses) if other == isotope.mass]
    # R writes a point for what it does not take in a name.
    alike = [i for i, name in enumerate(markers) if antigen_key(name) == antigen_key(column)]
    return list(marker_index(markers).positions(column)) or alike


def _barcodes_among(adata: AnnData, hits: list[int]) -> list[int]:
    if keys.ROLE not in adata.var:
        return []
    roles = adata.var[keys.ROLE].astype(str).to_numpy()
    return [hit for hit in hits if roles[hit] == "barcode"]
