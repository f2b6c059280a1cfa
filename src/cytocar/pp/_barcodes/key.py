"""The key of a barcoded pool: which channels are positive for which sample."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import PanelError, Problem, did_you_mean
from cytocar._core.hand_tables import _decode
from cytocar.panel.names import ISOTOPES, Isotope, channel_isotope, marker_key, parse_isotope

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

_SEPARATORS: Final = (",", ";", "\t")
# A mass as spreadsheets and R write it: 102, 102.0, X102.
_MASS: Final = re.compile(r"X?([0-9]{2,3})(?:\.0+)?")
_GAPS: Final = re.compile(r"[\s-]+")
_VALUES: Final = {"0": False, "1": True, "0.0": False, "1.0": True, "False": False, "True": True}
_MASSES: Final = frozenset(mass for known in ISOTOPES.values() for mass in known)
# One bit a channel in a 64-bit number, and room for the sign.
_MOST_CHANNELS: Final = 62


@dataclass(frozen=True)
class Key:
    """A checked key: names of the samples, columns as written, samples x columns of positives."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    codes: NDArray[np.bool_]


def read_barcode_key(path: str | os.PathLike[str]) -> pd.DataFrame:
    r"""Read the key of a barcoded pool from a CSV file, and check it.

    The header names the barcode channels, by mass (``102``) or as channels or markers (``Pd102Di``, ``BC102``);
    every further row is a sample: its name, and 1 (positive) or 0 for each channel. The file may be UTF-8, UTF-16
    or Latin-1, its lines may end in LF, CRLF or CR, and its cells be parted by comma, semicolon or tab. Samples may
    have the same number of positives (as in the doublet-filtering scheme of Zunder et al. 2015, Nat Protoc 10:316,
    doi 10.1038/nprot.2015.020) or not.

    Parameters
    ----------
    path
        The CSV file.

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
    key = _read(Path(path))
    import pandas as pd

    return pd.DataFrame(
        key.codes.astype(np.int64), index=pd.Index(key.names, name="barcode"), columns=pd.Index(key.columns)
    )


def as_key(key: pd.DataFrame | str | os.PathLike[str]) -> Key:
    """Return a key from a file or a table, or raise `PanelError` with all that is wrong with it."""
    import pandas as pd

    if isinstance(key, (str, os.PathLike)):
        return _read(Path(key))
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
        (f"{where}, sample {name!r}", name, [_plain(cell) for cell in cells])
        for name, cells in zip(names, key.to_numpy(dtype=object).tolist(), strict=True)
    ]
    return _checked(where, [str(column).strip() for column in key.columns], rows)


def _plain(cell: Any) -> str:
    return str(float(cell)) if isinstance(cell, (float, np.floating)) else str(cell)


def _read(path: Path) -> Key:
    try:
        text = _decode(path.read_bytes())
    except UnicodeDecodeError:
        raise PanelError("this is not a text file", where=str(path), fix="save the key as CSV") from None
    except OSError as error:
        why = (
            "there is no such file"
            if isinstance(error, FileNotFoundError)
            else f"cannot be read: {error.strerror}"
        )
        raise PanelError(why, where=str(path), fix="name the CSV file of the key") from None
    if "\0" in text or text.startswith("PK\x03\x04"):
        raise PanelError("this is not a text file", where=str(path), fix="save the key as CSV")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    separator = max(_SEPARATORS, key=first.count)
    header: list[str] | None = None
    rows: list[tuple[str, str, list[str]]] = []
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, skipinitialspace=True)
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells) or cells[0].startswith("#"):
                continue
            if header is None:
                header = cells
            else:
                rows.append((f"{path}, line {reader.line_num}", cells[0], cells[1:]))
    except csv.Error as error:
        raise PanelError(
            f"is not CSV: {error}", where=f"{path}, line {reader.line_num}", fix="check the double quotes"
        ) from None
    if header is None:
        raise PanelError("the key is empty", where=str(path), fix="give a header line and one row per sample")
    # Spreadsheets leave empty columns at the end.
    while (
        len(header) > 1
        and not header[-1]
        and not any("".join(cells[len(header) - 2 :]) for *_, cells in rows)
    ):
        header.pop()
    width = len(header) - 1
    rows = [(where, name, cells[:width] if not any(cells[width:]) else cells) for where, name, cells in rows]
    return _checked(str(path), header[1:], rows)


def mass_of(column: str) -> int | None:
    """Return the mass that a column of a key is named by, if it is."""
    match = _MASS.fullmatch(column)
    return int(match[1]) if match else None


def _isotope_of(column: str) -> Isotope | None:
    """Return the isotope that a column is named by; people also write Pd 102 and Pd-102."""
    return parse_isotope(column) or parse_isotope(_GAPS.sub("", column))


def _column_problems(where: str, columns: list[str]) -> list[Problem]:
    problems = []
    if len(columns) < 2:
        problems.append(
            Problem(
                where,
                f"{len(columns)} channels are named",
                "at least two are due, one positive and one negative",
            )
        )
    if len(columns) > _MOST_CHANNELS:
        problems.append(
            Problem(where, f"{len(columns)} channels are named", f"at most {_MOST_CHANNELS} can be read")
        )
    seen: dict[object, str] = {}
    for place, column in enumerate(columns, start=2):
        if not column:
            problems.append(Problem(where, f"column {place} has no name", "name its mass or channel"))
            continue
        mass = mass_of(column)
        if mass is not None and mass not in _MASSES:
            problems.append(
                Problem(
                    where, f"the mass {column!r} belongs to no isotope", "give the mass number, such as 102"
                )
            )
        isotope = _isotope_of(column)
        what = mass if mass is not None else isotope.mass if isotope else marker_key(column)
        if what in seen:
            problems.append(
                Problem(
                    where, f"{column!r} and {seen[what]!r} are the same channel", "keep one of the columns"
                )
            )
        seen.setdefault(what, column)
    return problems


def _checked(where: str, columns: list[str], rows: list[tuple[str, str, list[str]]]) -> Key:
    problems = _column_problems(where, columns)
    if not rows:
        problems.append(Problem(where, "the key has no rows", "give a row a sample"))
    names: dict[str, str] = {}
    codes: dict[str, tuple[bool, ...]] = {}
    for at, name, cells in rows:
        if not name:
            problems.append(Problem(at, "the sample has no name", "put it into the first column"))
        elif name in names:
            problems.append(
                Problem(at, f"the name {name!r} is there twice", "give every sample its own name")
            )
        if len(cells) != len(columns):
            problems.append(
                Problem(
                    at, f"{len(cells)} values for {len(columns)} channels", "give 0 or 1 for each channel"
                )
            )
            continue
        wrong = [
            f"{cell!r} in {column}"
            for cell, column in zip(cells, columns, strict=True)
            if cell not in _VALUES
        ]
        if wrong:
            problems.append(Problem(at, f"{', '.join(wrong)}: not 0 or 1", "1 is positive, 0 is negative"))
            continue
        code = tuple(_VALUES[cell] for cell in cells)
        if len(columns) > 1 and len(set(code)) == 1:
            problems.append(
                Problem(
                    at,
                    f"{name!r} is {'positive' if code[0] else 'negative'} in every channel",
                    "a code needs a positive and a negative channel to compare",
                )
            )
        elif name and name not in names:
            codes[name] = code
        names.setdefault(name, at)
    problems += _code_problems(names, codes)
    if problems:
        raise PanelError(problems=problems)
    return Key(tuple(codes), tuple(columns), np.array(list(codes.values()), dtype=np.bool_))


def _code_problems(names: dict[str, str], codes: dict[str, tuple[bool, ...]]) -> list[Problem]:
    """Return the pairs of samples that cannot be told apart."""
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
    isotopes: list[Isotope | None] = [
        channel_isotope(channel, marker) for channel, marker in zip(channels, markers, strict=True)
    ]
    given = adata.var[keys.MASS].to_numpy() if keys.MASS in adata.var else [0] * len(channels)
    # A channel that sums several masses is none of them.
    masses = [
        0 if isotope and isotope.span else int(mass) if mass > 0 else isotope.mass if isotope else 0
        for mass, isotope in zip(given, isotopes, strict=True)
    ]
    problems, found = [], []
    for column in key.columns:
        hits = _hits(column, channels, markers, masses)
        if len(hits) > 1:
            hits = _barcodes_among(adata, hits) or hits
        found.append(hits[0] if hits else -1)
        if len(hits) > 1:
            fits = ", ".join(channels[hit] for hit in hits)
            problems.append(
                Problem(f"key, column {column!r}", f"fits {len(hits)} channels ({fits})", "name one")
            )
        elif not hits and (mass_of(column) is not None or _isotope_of(column) is not None):
            there = ", ".join(str(mass) for mass in sorted(set(masses) - {0})) or "none"
            problems.append(
                Problem(
                    f"key, column {column!r}",
                    "no channel of the data has this mass",
                    f"masses of the data: {there}. A panel without the barcode channels leaves them out on reading",
                )
            )
        elif not hits:
            problems.append(
                Problem(
                    f"key, column {column!r}", "is no channel of the data", did_you_mean(column, channels)
                )
            )
    for place in sorted({hit for hit in found if hit >= 0 and found.count(hit) > 1}):
        shared = [column for column, hit in zip(key.columns, found, strict=True) if hit == place]
        problems.append(
            Problem(
                f"key, columns {', '.join(shared)}", f"are all channel {channels[place]}", "keep one of them"
            )
        )
    if problems:
        raise PanelError(problems=problems)
    return found


def _hits(column: str, channels: list[str], markers: list[str], masses: list[int]) -> list[int]:
    mass = mass_of(column)
    if mass is not None:
        return [i for i, other in enumerate(masses) if other == mass]
    for names in (channels, markers):
        if exact := [i for i, name in enumerate(names) if name == column]:
            return exact
    isotope = _isotope_of(column)
    if isotope is not None and isotope.span is None:
        return [i for i, other in enumerate(masses) if other == isotope.mass]
    return [i for i, name in enumerate(markers) if marker_key(name) == marker_key(column)]


def _barcodes_among(adata: AnnData, hits: list[int]) -> list[int]:
    if keys.ROLE not in adata.var:
        return []
    roles = adata.var[keys.ROLE].astype(str).to_numpy()
    return [hit for hit in hits if roles[hit] == "barcode"]
