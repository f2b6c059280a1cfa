"""Counts of cytocar beside those that a FlowJo workspace keeps, population by population and sample by sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytocar._core.errors import GateError, Problem, did_you_mean
from cytocar._core.vocabulary import (
    ALL_EVENTS,
    DIFFERENT,
    EQUAL,
    NOT_COUNTED,
    NOT_IN_GATES,
    NOT_IN_WORKSPACE,
)
from cytocar.gate._exchange.flowjo_counts import SampleCounts

if TYPE_CHECKING:
    import pandas as pd


def samples_of(
    paths: Sequence[Path], samples: Sequence[SampleCounts], *, workspace: str
) -> dict[Path, SampleCounts]:
    """Return the sample of a workspace for each FCS file, by the name of the file, else of the sample.

    Parameters
    ----------
    paths
        The FCS files.
    samples
        Those of the workspace.
    workspace
        What to call it in a message.

    Raises
    ------
    GateError
        With every file that is not in the workspace, or there twice.
    """
    found: dict[Path, SampleCounts] = {}
    problems = []
    known = [sample.file or sample.name for sample in samples]
    for path in paths:
        fits = [sample for sample in samples if sample.file == path.name]
        fits = fits or [sample for sample in samples if sample.is_of(path.name)]
        if len(fits) == 1:
            found[path] = fits[0]
        elif fits:
            what = f"{len(fits)} samples of {workspace} are of a file of this name"
            problems.append(Problem(str(path), what, "name the group that holds one of them (--group)"))
        else:
            what = f"is not in {workspace}"
            fix = f"{did_you_mean(path.name, known)} Give the file the name that it had in FlowJo"
            problems.append(Problem(str(path), what, fix))
    if problems:
        raise GateError(problems=problems)
    return found


def compare_counts(
    ours: pd.DataFrame, events: Mapping[str, int], theirs: Mapping[str, SampleCounts]
) -> pd.DataFrame:
    """Put our counts beside those of a workspace.

    Parameters
    ----------
    ours
        [file, population, events]: one row per file and population, which is a path such as ``A/B``.
    events
        File to the number of its events.
    theirs
        File to its sample of the workspace.

    Returns
    -------
    Table as ``against`` of `cytocar._core.schemas` declares it: in the order of the workspace; populations that only
    our gates have stand at the end of each sample.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for file, sample in theirs.items():
        mine = ours[ours["file"] == file]
        counts = dict(zip(mine["population"].tolist(), mine["events"].tolist(), strict=True))
        rows += _of_sample(file, sample, _by_their_paths(counts, sample.populations), events[file])
    table = pd.DataFrame(rows)
    for column in ("events", "workspace_events", "difference"):
        table[column] = table[column].astype("Int64")
    return table


def _by_their_paths(ours: Mapping[str, int], theirs: Collection[str]) -> dict[str, int]:
    """Return our counts under the paths of the workspace: the same path, else the same name, if it is there once."""
    mine = Counter(_name(path) for path in ours if path not in theirs)
    missing = [path for path in theirs if path not in ours]
    times = Counter(map(_name, missing))
    called = {name: path for path in missing if times[name := _name(path)] == 1 and mine[name] == 1}
    return {path if path in theirs else called.get(_name(path), path): n for path, n in ours.items()}


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _of_sample(file: str, sample: SampleCounts, ours: Mapping[str, int], events: int) -> list[dict[str, Any]]:
    total = {"": events}
    all_ours = {**total, **ours}
    all_theirs: dict[str, int | None] = {
        "": sample.events,
        **{path: count.events for path, count in sample.populations.items()},
    }
    rows = []
    for path in dict.fromkeys([*all_theirs, *all_ours]):
        parent = path.rpartition("/")[0]
        mine, other = all_ours.get(path), all_theirs.get(path)
        gate = sample.populations[path].gate if path in sample.populations else ""
        difference = mine - other if mine is not None and other is not None else None
        rows.append(
            {
                "file": file,
                "sample": sample.name,
                "population": path or ALL_EVENTS,
                "gate": gate,
                "events": mine,
                "workspace_events": other,
                "difference": difference,
                "relative_difference": difference / other if difference is not None and other else None,
                "fraction_of_parent": _share(mine, all_ours.get(parent)) if path else None,
                "workspace_fraction_of_parent": _share(other, all_theirs.get(parent)) if path else None,
                "agreement": _agreement(mine, other, in_workspace=path in all_theirs),
            }
        )
    return rows


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None


def _agreement(mine: int | None, other: int | None, *, in_workspace: bool) -> str:
    if mine is None:
        return NOT_IN_GATES
    if other is None:
        return NOT_COUNTED if in_workspace else NOT_IN_WORKSPACE
    return EQUAL if mine == other else DIFFERENT
