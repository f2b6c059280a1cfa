"""Every file of a study, in the order that its thresholds need: beads of all, controls, the others, those that wait."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cytocar._core.vocabulary import FMO_ROLE
from cytocar.gate._strategy.strategy import controlled_by
from cytocar.gate._thresholds.schedule import Work, controls_first, waiting_last, with_controls
from cytocar.study._run.build_tasks import tasks_of, with_baseline
from cytocar.study._run.pool import run_all
from cytocar.study._run.sample import control_values, numbers_for_controls, own_numbers, process_sample

if TYPE_CHECKING:
    from cytocar._core.progress import Progress
    from cytocar.gate import Strategy
    from cytocar.io import StudyFolder
    from cytocar.pp._spillover.matrix import Spillover
    from cytocar.study._tasks import SampleResult, SampleTask


def process_all(
    folder: StudyFolder,
    strategy: Strategy,
    spillover: Spillover | None,
    *,
    workers: int,
    progress: Progress,
) -> list[SampleResult]:
    """Process every file.

    All files are read for their beads first, so that they share one baseline; then negative controls, since they give
    the thresholds that are found in them; samples whose own density has no clear place, where the strategy takes
    the other samples' numbers, come last.
    """
    tasks = with_baseline(tasks_of(folder, strategy, spillover), folder, workers)
    work = Work(control_values, numbers_for_controls, process_sample, own_numbers)
    controls = [task for task in tasks if controlled_by(strategy, task.sample_id, task.role)]
    if controls:
        values = controls_first(tasks, controls, work, partial(run_all, workers=workers))
        tasks = [with_controls(task, values) for task in tasks]
    # A tube that lacks an antibody gives a threshold; it is not a sample of the study.
    tasks = [task for task in tasks if task.role != FMO_ROLE]
    done = 0
    progress("files", 0, len(tasks))

    def on_done(_: SampleTask) -> None:
        nonlocal done
        done += 1
        progress("files", min(done, len(tasks)), len(tasks))

    return waiting_last(
        tasks,
        work,
        partial(run_all, workers=workers, on_done=on_done),
        last=partial(run_all, workers=workers),
    )
