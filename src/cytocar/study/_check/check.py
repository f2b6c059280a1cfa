"""Everything that is wrong with a study, collected at once from its settings, tables and the headers of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import Problem
from cytocar.io._study.folder import (
    CONFIG_NAME,
    LeftOut,
    StudyFolder,
    load_parts,
)
from cytocar.study._check.deep import DeepFile, deep_problems
from cytocar.study._check.differences import differences
from cytocar.study._check.files import read_files
from cytocar.study._check.gating import load_strategy, strategy_problems
from cytocar.study._check.plan import Plan, plan_of
from cytocar.study._check.settings import load_spillover_matrix, setting_problems, study_notes

if TYPE_CHECKING:
    import pandas as pd

    from cytocar.gate import Strategy
    from cytocar.pp._spillover.matrix import Spillover


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What is wrong with a study, and what is worth knowing.

    Parameters
    ----------
    problems
        What has to be fixed before the study can be run; none when it is fine.
    notes
        What was tolerated or left out.
    study, strategy
        The study and its gating strategy; None where there are problems.
    spillover
        The matrix that files are compensated with; None where they are not, or it comes from single stains.
    files
        With `deep`, one entry per file that could be read whole.
    plan
        What a run will do and what it will not; empty where there are problems.
    """

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    study: StudyFolder | None = None
    strategy: Strategy | None = None
    spillover: Spillover | None = None
    files: tuple[DeepFile, ...] = ()
    plan: Plan = field(default_factory=Plan)


def check(study: str | os.PathLike[str], *, deep: bool = False) -> CheckResult:
    """Find every problem of a study at once: settings, panel, sample sheet, gating, the header of every file.

    Nothing is written.

    Parameters
    ----------
    study
        The study folder, or the `study.yaml` in it.
    deep
        Read the events too: the sha256 of every file, so that copies of one file do not count as several samples, and
        every value compared with what FlowIO reads. One file at a time is held in memory, twice.

    Returns
    -------
    The problems, the notes, and where there are no problems the study and its strategy.

    Examples
    --------
    >>> check("missing").problems[0].what
    'there is no such file or folder'
    """
    parts, problems = load_parts(study)
    notes: list[str] = []
    files: list[DeepFile] = []
    strategy, spillover = None, None
    path = Path(study).expanduser()
    file = path / CONFIG_NAME if path.is_dir() else path
    of_files: list[Problem] = []
    file_notes: list[str] = []
    left_out: tuple[LeftOut, ...] = ()
    sheet = parts.samples
    if parts.config is not None:
        loaded, more = load_strategy(file, parts)
        problems += more
        if sheet is not None:
            matches, of_files = read_files(sheet, parts.panel_of, file_notes)
            if parts.panel is not None:
                differ = differences(matches, parts.config, parts.panel, loaded, file)
                of_files += differ.problems
                file_notes += differ.notes
                left_out = differ.left_out
                parts.samples = _without(sheet, left_out)
        if loaded is not None:
            problems += strategy_problems(file, parts, loaded, notes, sheet=sheet)
            strategy = loaded.for_run()
        problems += setting_problems(file, parts.config, parts)
        spillover, more = load_spillover_matrix(parts)
        problems += more
        notes += [*study_notes(parts), *parts.notes]
    if parts.samples is not None:
        problems += of_files
        notes += file_notes
        if deep:
            files, more = deep_problems(parts.samples, notes)
            problems += more
    if problems or parts.config is None or parts.panel is None or parts.samples is None:
        return CheckResult(tuple(problems), tuple(notes), files=tuple(files))
    folder = StudyFolder(parts.folder, parts.config, parts.panel, parts.samples, parts.own_panels, left_out)
    plan = Plan() if strategy is None else plan_of(folder.panel, folder.samples, folder.config, strategy)
    return CheckResult((), tuple(notes), folder, strategy, spillover, tuple(files), plan)


def _without(samples: pd.DataFrame, left_out: tuple[LeftOut, ...]) -> pd.DataFrame:
    """Return the sheet without the samples that are not run."""
    if not left_out:
        return samples
    gone = {one.sample_id for one in left_out}
    return samples[~samples[keys.SAMPLE].astype(str).isin(gone)].reset_index(drop=True)
