"""Counts of FCS files beside those that a FlowJo workspace keeps: a table and a page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cytocar._core.errors import ParameterError
from cytocar._core.files import require_folder, write_text

if TYPE_CHECKING:
    import pandas as pd

StrPath = str | os.PathLike[str]

TABLE: Final = "against"


def gate_against(
    workspace: StrPath,
    files: Sequence[StrPath],
    out: StrPath,
    *,
    strategy: StrPath | None = None,
    panel: StrPath | None = None,
    group: str | None = None,
) -> pd.DataFrame:
    """Count the populations of a FlowJo workspace, and put the counts beside those that FlowJo stored in it.

    Writes ``against.csv`` and ``against.html``, which needs no other file and no network. FlowJo decides polygons on a
    grid of 256 x 256 positions, so that their counts, and those of all populations below them, differ by up to about
    2 %.

    Parameters
    ----------
    workspace
        The workspace (.wsp), saved by FlowJo after it had counted.
    files
        FCS files of the workspace; they are only read, and found in it by their names.
    out
        Folder for the table and the page; made where it is not there.
    strategy
        Other gates to count by: a population is compared with that of the same path, else of the same name where only
        one on either side is called so. None takes the gates of the workspace.
    panel
        Panel that says what the channels are; None goes by the names in each file.
    group
        The group of the workspace whose samples are taken; None takes all.

    Returns
    -------
    DataFrame, one row per file and population: `file`, `sample`, `population` (its path; ``all events`` for the file),
    `gate`, `events`, `workspace_events`, `difference`, `relative_difference`, `fraction_of_parent`,
    `workspace_fraction_of_parent` (0 to 1), `agreement` (``equal``, ``different``, ``not_counted``,
    ``not_in_workspace``, ``not_in_gates``). A value that is not known is missing.

    Raises
    ------
    GateError
        The workspace cannot be read or holds no counts, or a file is not in it.
    ParameterError
        There are no files, there is no such group, or the table or the page is there already.

    Examples
    --------
    >>> gate_against("gates.wsp", [], "out")
    Traceback (most recent call last):
    cytocar._core.errors.ParameterError: there are no files; give at least one FCS file of the workspace
    """
    from cytocar._core import tables
    from cytocar.gate._exchange.flowjo_counts import read_flowjo_counts
    from cytocar.gate._results.against import compare_counts, samples_of
    from cytocar.io._fcs.header import read_header
    from cytocar.report._against import against_page
    from cytocar.study._run.gate_files import gate_files

    paths, folder = list(dict.fromkeys(Path(file) for file in files)), Path(out)
    if not paths:
        raise ParameterError("there are no files", fix="give at least one FCS file of the workspace")
    require_folder(folder)
    targets = [folder / f"{TABLE}.csv", folder / f"{TABLE}.html"]
    if there := [str(target) for target in targets if target.exists()]:
        raise ParameterError(f"{', '.join(there)} exists already", fix="name another folder, or remove it")
    name = Path(workspace).name
    samples = samples_of(paths, read_flowjo_counts(workspace, group=group), workspace=name)
    gates = workspace if strategy is None else strategy
    ours = gate_files(gates, paths, panel=panel, group=group if strategy is None else None)
    named = dict(zip(paths, ours["file"].drop_duplicates(), strict=True))
    events = {named[path]: read_header(path).n_events for path in paths}
    table = compare_counts(ours, events, {named[path]: sample for path, sample in samples.items()})
    folder.mkdir(parents=True, exist_ok=True)
    tables.write(folder, TABLE, table)
    write_text(targets[1], against_page(table, workspace=name, gates=Path(gates).name))
    return table
