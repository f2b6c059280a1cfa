"""Run pure functions in this process or in several local ones; results come back in the order of the tasks."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from cytocar._core import checks

Task = TypeVar("Task")
Result = TypeVar("Result")

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def number_of_workers(workers: int | str) -> int:
    """Return how many processes `workers` asks for; "auto" is one for each processor that this process may use."""
    if workers == "auto":
        return checks.n_threads(-1)
    return checks.whole_number(workers, "workers", 1, usual="or auto")


def run_all(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int | str,
    on_done: Callable[[Task], None] | None = None,
) -> list[Result]:
    """Return ``[function(task) for task in tasks]``, computed by `workers` processes.

    `function` must be importable by name and depend on nothing but its task, so that the number of workers
    cannot change a result. The first error stops what has not begun and is raised.
    """
    workers = number_of_workers(workers)
    results: list[Result] = []
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            results.append(function(task))
            if on_done is not None:
                on_done(task)
        return results
    with (
        _one_thread_each(),
        ProcessPoolExecutor(
            max_workers=min(workers, len(tasks)), mp_context=multiprocessing.get_context("spawn")
        ) as pool,
    ):
        futures = {pool.submit(function, task): position for position, task in enumerate(tasks)}
        by_position: dict[int, Result] = {}
        try:
            for future in as_completed(futures):
                position = futures[future]
                by_position[position] = future.result()
                if on_done is not None:
                    on_done(tasks[position])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [by_position[position] for position in range(len(tasks))]


class _one_thread_each:
    """Give the processes started inside the block one thread each for the libraries that would take all."""

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
        os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
