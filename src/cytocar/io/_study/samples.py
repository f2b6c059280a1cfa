"""The sample sheet: which file is which sample, of whom, and when."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cytocar._core import keys
from cytocar._core.errors import Problem, did_you_mean
from cytocar._core.files import is_fcs_name
from cytocar._core.hand_tables import Findings, Row, Table, load_table
from cytocar._core.vocabulary import CONTROL_ROLE, FMO_ROLE, PATIENT_ROLE, ROLES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


REQUIRED: Final = ("file", keys.SAMPLE, keys.PATIENT, keys.TIMEPOINT, keys.MONTHS)
OPTIONAL: Final = (keys.ROLE, keys.GROUP, keys.BATCH, keys.PANEL, keys.LYMPHOCYTES, keys.LEUKOCYTES)
_NUMBERS: Final = (keys.LYMPHOCYTES, keys.LEUKOCYTES)
_FILL_IN: Final = {
    keys.PATIENT: "give the patient or donor",
    keys.TIMEPOINT: "a label such as 2mo, the same for all samples of one visit",
    keys.MONTHS: "the months since infusion as a number (0 where there is no time)",
}
_GIVE: Final = {
    keys.MONTHS: "give a number, such as 2 or 0.25; negative before infusion",
    **dict.fromkeys(_NUMBERS, "give a number of at least 0, or leave it empty"),
}
_WINDOWS_PATH: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_EMPTY: Final = frozenset({"", "na", "n/a", "nan", "none", "null", "-"})


def load_samples(
    path: str | os.PathLike[str], *, also: Sequence[str] = ()
) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read the sample sheet and collect everything that is wrong with it.

    Parameters
    ----------
    path
        A CSV file with the columns `file` (absolute, or relative to the sheet), `sample_id`, `patient_id`,
        `timepoint`, `months` and if wanted `role` (``patient``, ``negative_control``, or ``fmo`` for a
        tube without one antibody), `group`, `batch`, `panel` (of this file, where it is not that of the study),
        `lymphocytes_per_ul`, `wbc_per_ul`. A control needs neither patient nor time. Other columns are left alone.
    also
        Names of other columns that are wanted, such as covariates: numbers where all of them are, else texts.

    Returns
    -------
    One row per file, patients first, by patient, months and sample, and the problems; the table is None where there are
    any. Texts are str (``""`` where empty), `months` and counts per microlitre float (NaN where empty), and `path`
    holds the resolved `Path`.

    Examples
    --------
    >>> table, problems = load_samples("missing/samples.csv")
    >>> table is None, len(problems)
    (True, 1)
    """
    path = Path(path)
    table, problems = load_table(path, names=("file", keys.SAMPLE, keys.PATIENT))
    if table is None:
        return None, problems
    expected = (*REQUIRED, *OPTIONAL)
    for column in REQUIRED:
        if column not in table.columns:
            problems.append(
                Problem(
                    str(path),
                    f"has no column {column!r}; its columns are {', '.join(name for name in table.columns if name)}",
                    f"the columns {', '.join(REQUIRED)} have to be there",
                )
            )
    absent = [name for name in expected if name not in table.columns]
    problems += [
        Problem(str(path), f"column {name!r} is not known", f"did you mean {meant!r}?")
        for name in table.columns
        if name and name not in expected and (meant := _meant(name, absent))
    ]
    if problems:
        return None, problems
    findings = Findings(str(path))
    rows = [_complete(path, table, row, findings) for row in table.rows]
    problems += findings.problems()
    problems += _repeated(path, table.rows, rows)
    problems += _contradicting(path, table.rows, rows)
    if problems:
        return None, problems
    return _frame(rows, table, also), []


# What other programs and people call the columns, by the name without case, blanks and underscores.
_OTHER_NAMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("filename", "filenames", "files", "fcs", "fcsfile", "fcsfilename", "path", "filepath"), "file"
    ),
    **dict.fromkeys(("sample", "sampleid", "samplename", "name", "id"), keys.SAMPLE),
    **dict.fromkeys(("patient", "subject", "subjectid", "donor", "donorid", "individual"), keys.PATIENT),
    **dict.fromkeys(("time", "visit", "day", "days", "timelabel", "tp"), keys.TIMEPOINT),
    **dict.fromkeys(("month", "timemonths", "monthspostinfusion", "mo"), keys.MONTHS),
    **dict.fromkeys(("condition", "treatment", "arm", "response"), keys.GROUP),
    **dict.fromkeys(("batchid", "run", "plate"), keys.BATCH),
    **dict.fromkeys(("type", "sampletype"), keys.ROLE),
}


def _meant(name: str, absent: Sequence[str]) -> str:
    """Return the column that a name which is not known may stand for, empty where it stands for none."""
    folded = re.sub(r"[^a-z]", "", name.casefold())
    other = _OTHER_NAMES.get(folded, "")
    if other in absent:
        # Without its required column a sheet cannot be read; optional ones are only asked for by their own name.
        return other if other in REQUIRED else ""
    close = difflib.get_close_matches(name.casefold(), list(absent), n=1, cutoff=0.7)
    return close[0] if close else ""


def _cell(row: Row, column: str) -> str:
    text = row.get(column)
    return "" if text.casefold() in _EMPTY else text


def _complete(path: Path, table: Table, row: Row, findings: Findings) -> dict[str, Any]:
    """Return one row with all columns; what is wrong with it goes to `findings`."""
    role = _cell(row, keys.ROLE).casefold() or PATIENT_ROLE
    if role not in ROLES:
        findings.cell(row.line, keys.ROLE, row.get(keys.ROLE), did_you_mean(role, ROLES))
    entry: dict[str, Any] = {column: _cell(row, column) for column in (*REQUIRED, *OPTIONAL)}
    # A sample may well be called "NA" or "-1"; only numbers and labels can be missing.
    entry[keys.SAMPLE] = row.get(keys.SAMPLE)
    entry[keys.ROLE] = role
    entry["own"] = {column: _cell(row, column) for column in table.columns}
    entry["path"] = _existing(row, path.parent, findings)
    _check_name(row, findings)
    months = _number(table, row, keys.MONTHS, findings)
    _check_visit(row, entry, findings)
    entry[keys.MONTHS] = months
    for column in _NUMBERS:
        entry[column] = _number(table, row, column, findings)
    return entry


def _check_name(row: Row, findings: Findings) -> None:
    sample = row.get(keys.SAMPLE)
    if not sample:
        findings.add(row.line, f"{keys.SAMPLE} is empty", "give each file a name of its own")
    elif "/" in sample or ":" in sample:
        findings.cell(row.line, keys.SAMPLE, sample, "leave out slashes and colons: cells are named by it")


def _check_visit(row: Row, entry: Mapping[str, Any], findings: Findings) -> None:
    """Note what is missing of patient and time; a control needs neither."""
    empty = [column for column in _FILL_IN if not entry[column]]
    if not empty or entry[keys.ROLE] in (CONTROL_ROLE, FMO_ROLE):
        return
    fix = "; ".join([*(_FILL_IN[column] for column in empty), f"or give role {CONTROL_ROLE}"])
    columns = ", ".join(empty)
    verb = "is" if len(empty) == 1 else "are"
    texts = (f"{columns} of sample {{}} {verb} empty", f"{columns} of samples {{}} are empty")
    findings.of_item(row.line, str(entry[keys.SAMPLE]), texts, fix)


def _number(table: Table, row: Row, column: str, findings: Findings) -> float:
    """Return the number in a cell, NaN where it is empty; months may be negative."""
    text = _cell(row, column)
    value = table.number(text) if text else None
    if text and (value is None or (column in _NUMBERS and value < 0)):
        findings.cell(row.line, column, row.get(column), _GIVE[column])
    return float("nan") if value is None else value


def _existing(row: Row, folder: Path, findings: Findings) -> Path:
    text = row.get("file")
    if not text:
        findings.add(row.line, "file is empty", "give the path of an FCS file, relative to the sheet")
        return folder
    path = Path(text).expanduser()
    path = path if path.is_absolute() else folder / path
    # Sheets written on Windows separate folders with a backslash.
    if not path.exists() and "\\" in text:
        other = folder / text.replace("\\", "/")
        path = other if other.exists() else path
    try:
        if path.is_file():
            return path.resolve()
        if _WINDOWS_PATH.match(text):
            fix = "this is a path of a Windows computer: give the path on this one, absolute or relative to the sheet"
        else:
            fix = _nearest(path)
        findings.add(
            row.line, f"file {text!r} is a folder" if path.is_dir() else f"file {text!r} does not exist", fix
        )
    except OSError as error:
        findings.add(row.line, f"file {text!r} cannot be reached: {error.strerror}", "check the path")
    return path


def _nearest(path: Path) -> str:
    """Say what stands where a missing file should be."""
    if path.is_dir():
        return "give the path of one FCS file per row"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}; paths are absolute, or relative to the sheet"
    names = sorted(
        entry.name
        for entry in path.parent.iterdir()
        if is_fcs_name(entry.name) or entry.suffix.casefold() in (".lmd", ".zip")
    )
    if not names:
        return f"there are no FCS files in {path.parent}; paths are absolute, or relative to the sheet"
    if len(names) > 8 and "did you mean" not in did_you_mean(path.name, names):
        return f"in {path.parent} are {', '.join(names[:5])} and {len(names) - 5} more FCS files"
    return f"in {path.parent}: {did_you_mean(path.name, names)}"


def _repeated(path: Path, rows: tuple[Row, ...], entries: list[dict[str, Any]]) -> list[Problem]:
    problems = []
    samples: dict[str, int] = {}
    files: dict[Path, int] = {}
    for row, entry in zip(rows, entries, strict=True):
        where = f"{path}, line {row.line}"
        sample = entry[keys.SAMPLE]
        line = samples.setdefault(sample, row.line)
        if sample and line != row.line:
            problems.append(
                Problem(
                    where, f"sample_id {sample!r} is also on line {line}", "give each file a name of its own"
                )
            )
        line = files.setdefault(entry["path"], row.line)
        if entry["file"] and line != row.line:
            problems.append(
                Problem(
                    where,
                    f"file {entry['file']!r} is also on line {line}",
                    "one row per file: remove one of them",
                )
            )
    return problems


def _contradicting(path: Path, rows: tuple[Row, ...], entries: list[dict[str, Any]]) -> list[Problem]:
    """Find one timepoint of one patient with two times: the label, or a number, is wrong."""
    problems = []
    seen: dict[tuple[str, str], tuple[float, int]] = {}
    for row, entry in zip(rows, entries, strict=True):
        months = entry[keys.MONTHS]
        if months != months or not entry[keys.TIMEPOINT]:
            continue
        visit = (entry[keys.PATIENT], entry[keys.TIMEPOINT])
        first, line = seen.setdefault(visit, (months, row.line))
        if first != months:
            problems.append(
                Problem(
                    f"{path}, line {row.line}",
                    f"timepoint {visit[1]!r} of patient {visit[0]!r} is at {months:g} months, "
                    f"on line {line} at {first:g}",
                    "one label is one time within a patient: correct one of them",
                )
            )
    return problems


def _order(entry: Mapping[str, Any]) -> tuple[int, str, float, str]:
    """Return what rows are sorted by: patients first, by patient, months (those without last) and sample."""
    months = entry[keys.MONTHS]
    when = math.inf if math.isnan(months) else months
    return ROLES.index(entry[keys.ROLE]), entry[keys.PATIENT], when, entry[keys.SAMPLE]


def _frame(rows: list[dict[str, Any]], table: Table, also: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    columns = [*REQUIRED, keys.ROLE, *(column for column in OPTIONAL[1:] if column in table.columns), "path"]
    rows = sorted(rows, key=_order)
    frame = pd.DataFrame({column: [entry[column] for entry in rows] for column in columns}, columns=columns)
    numbers = [column for column in (keys.MONTHS, *_NUMBERS) if column in columns]
    frame = frame.astype(dict.fromkeys(numbers, "float64"))
    for name in dict.fromkeys(also):
        if name in table.columns and name not in columns:
            frame[name] = _covariate([entry["own"][name] for entry in rows], table)
    return frame


def _covariate(texts: list[str], table: Table) -> NDArray[np.float64] | list[str]:
    """Return numbers where all cells that are filled hold one, else texts."""
    import numpy as np

    values = [table.number(text) for text in texts]
    filled = [value for value, text in zip(values, texts, strict=True) if text]
    if not filled or None in filled:
        return texts
    return np.array(values, dtype=float)
