"""Everything that is wrong with a study, collected at once from its settings, tables and the headers of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core.errors import Problem
from cytocar.io._study.folder import (
    CONFIG_NAME,
    StudyFolder,
    load_parts,
)
from cytocar.study._check.deep import DeepFile, deep_problems
from cytocar.study._check.files import file_problems, without_samples
from cytocar.study._check.gating import load_strategy
from cytocar.study._check.plan import Plan, plan_of
from cytocar.study._check.settings import load_spillover_matrix, setting_problems, study_notes

if TYPE_CHECKING:
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
    if parts.config is not None:
        strategy, more = load_strategy(file, parts, notes)
        problems += more
        problems += setting_problems(file, parts.config, parts)
        spillover, more = load_spillover_matrix(parts)
        problems += more
        notes += study_notes(parts)
    if parts.samples is not None:
        found = file_problems(parts.samples, parts.panel, notes, strategy=strategy, config=parts.config)
        problems += found.problems
        parts.samples = without_samples(parts.samples, found.left_out)
        if deep:
            files, more = deep_problems(parts.samples, notes)
            problems += more
    if problems or parts.config is None or parts.panel is None or parts.samples is None:
        return CheckResult(tuple(problems), tuple(notes), files=tuple(files))
    folder = StudyFolder(parts.folder, parts.config, parts.panel, parts.samples)
    plan = Plan() if strategy is None else plan_of(folder.panel, folder.samples, folder.config, strategy)
    return CheckResult((), tuple(notes), folder, strategy, spillover, tuple(files), plan)
