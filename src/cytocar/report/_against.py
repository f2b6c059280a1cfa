"""The page of `cytocar gate --against`: counts beside those of a FlowJo workspace."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core.vocabulary import (
    ALL_EVENTS,
    DIFFERENT,
    EQUAL,
    NOT_COUNTED,
    NOT_IN_GATES,
    NOT_IN_WORKSPACE,
)
from cytocar.report._format import Row, SmallTable, percent
from cytocar.report._templates import templates

if TYPE_CHECKING:
    import pandas as pd

_SAID: Final = {
    EQUAL: "equal",
    DIFFERENT: "different",
    NOT_COUNTED: "not counted in the workspace",
    NOT_IN_WORKSPACE: "not in the workspace",
    NOT_IN_GATES: "not in the gates",
}
_TONES: Final = {EQUAL: "good", DIFFERENT: "weak"}
_HEAD: Final = (
    "Population",
    "Gate",
    "cytocar",
    "Workspace",
    "Difference",
    "Difference, %",
    "% of parent",
    "% of parent, workspace",
    "",
)


def against_page(table: pd.DataFrame, *, workspace: str, gates: str) -> str:
    """Return the page as HTML, in one file that needs no other and no network.

    Parameters
    ----------
    table
        As ``against`` of `cytocar._core.schemas` declares it.
    workspace, gates
        Names of the workspace, and of the gates that cytocar counted by.
    """
    samples = [_sample(str(file), rows) for file, rows in table.groupby("file", sort=False, observed=True)]
    return (
        templates()
        .get_template("against.html.j2")
        .render(
            title=f"Counts beside {workspace}",
            workspace=workspace,
            gates=gates,
            version=version("cytocar"),
            sentences=summary(table),
            samples=samples,
        )
    )


def summary(table: pd.DataFrame) -> list[str]:
    """Return what the table says, in sentences."""
    counted = table[table["population"] != ALL_EVENTS]
    n = {word: int((counted["agreement"] == word).sum()) for word in _SAID}
    files = table["file"].nunique()
    first = f"{n[EQUAL] + n[DIFFERENT]} counts of {files} file{'' if files == 1 else 's'} were compared: "
    said = [f"{first}{n[EQUAL]} are equal, {n[DIFFERENT]} differ."]
    different = counted[counted["agreement"] == DIFFERENT]
    if len(different):
        at = different["difference"].abs().astype(float).to_numpy().argmax()
        row = different.iloc[int(at)]
        said.append(
            f"The largest difference is {row['difference']:+d} events: {row['population']} of {row['file']}, "
            f"{row['events']} by cytocar, {row['workspace_events']} in the workspace."
        )
    said += [
        f"{n[word]} could not be compared: {_SAID[word]}."
        for word in (NOT_COUNTED, NOT_IN_WORKSPACE, NOT_IN_GATES)
        if n[word]
    ]
    files_differ = table[(table["population"] == ALL_EVENTS) & (table["agreement"] == DIFFERENT)]["file"]
    if len(files_differ):
        names = ", ".join(files_differ)
        said.append(
            f"The workspace states another number of events for {names}: it was gated on another file."
        )
    return said


def _sample(file: str, rows: pd.DataFrame) -> dict[str, Any]:
    lines = []
    for row in rows.itertuples():
        depth = str(row.population).count("/")
        numbers = [_integer(value) for value in (row.events, row.workspace_events)]
        cells = (
            "\u2003" * depth + str(row.population).rpartition("/")[2],
            str(row.gate),
            *numbers,
            _integer(row.difference, signed=True),
            _percentage(row.relative_difference, signed=True),
            _percentage(row.fraction_of_parent),
            _percentage(row.workspace_fraction_of_parent),
            _SAID[str(row.agreement)],
        )
        lines.append(Row(cells, _TONES.get(str(row.agreement), "")))
    name = str(rows["sample"].iloc[0])
    title = file if name == file else f"{file} ({name})"
    return {"title": title, "table": SmallTable(_HEAD, tuple(lines), "against.csv", numeric_from=2)}


def _integer(value: Any, *, signed: bool = False) -> str:
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{int(value):+,}" if signed and int(value) else f"{int(value):,}"


def _percentage(value: Any, *, signed: bool = False) -> str:
    if value is None or not np.isfinite(float(value)):
        return ""
    sign = "-" if value < 0 else "+" if signed and value > 0 else ""
    return sign + percent(abs(100 * float(value)))
