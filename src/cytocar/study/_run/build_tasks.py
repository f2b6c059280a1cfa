"""From a study folder to one task for each of its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar.study._run.pool import run_all
from cytocar.study._run.sample import bead_values
from cytocar.study._tasks import SampleTask, Settings

if TYPE_CHECKING:
    from cytocar.gate import Strategy
    from cytocar.io import StudyFolder
    from cytocar.pp._spillover.matrix import Spillover


def tasks_of(folder: StudyFolder, strategy: Strategy, spillover: Spillover | None) -> list[SampleTask]:
    """Return a task for each row of the sample sheet, with the thresholds that the settings pin for it."""
    config = folder.config
    settings = Settings(
        panel=folder.panel,
        strategy=strategy.with_pins(config.thresholds),
        clean=config.clean,
        beads=config.beads if isinstance(config.beads, str) else tuple(config.beads),
        spillover=spillover,
        time_quality=config.time_quality,
        host_sample=config.host_sample,
        seed=config.seed,
        study_samples=tuple(folder.samples[keys.SAMPLE].astype(str)),
    )
    tasks = []
    for _, row in folder.samples.iterrows():
        sample = str(row[keys.SAMPLE])
        tasks.append(
            SampleTask(
                path=Path(row["path"]),
                sample_id=sample,
                patient_id=str(row[keys.PATIENT]),
                timepoint=str(row[keys.TIMEPOINT]),
                months=float(row[keys.MONTHS]),
                role=str(row[keys.ROLE]),
                settings=settings,
                panel=folder.own_panels.get(sample),
            )
        )
    return tasks


def with_baseline(tasks: list[SampleTask], folder: StudyFolder, workers: int) -> list[SampleTask]:
    """Give every file the bead signal it is normalised to: a stored one, or the median over all beads of the study."""
    from cytocar import pp
    from cytocar.pp._beads.baseline import read_baseline

    config = folder.config
    if config.beads == "off":
        return tasks
    if config.baseline:
        baseline = read_baseline(folder.path / config.baseline)
    else:
        values = [table for table in run_all(bead_values, tasks, workers=workers) if len(table)]
        if not values:
            return tasks
        baseline = pp.bead_baseline(values)
    return [replace(task, settings=replace(task.settings, baseline=baseline)) for task in tasks]
