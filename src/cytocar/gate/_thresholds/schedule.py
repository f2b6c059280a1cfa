"""In which order the samples of a study are gated: control tubes first, and those that wait for others last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from cytocar.gate._thresholds.not_found import ThresholdNotFound

if TYPE_CHECKING:
    from numpy.typing import NDArray

Numbers = Mapping[str, Sequence[float]]
"""Name of a threshold to its numbers in several samples."""

Controls = Mapping[str, Mapping[str, "NDArray[Any]"]]
"""Name of a threshold to control tube to arcsinh values of that tube's cells."""


@dataclass(frozen=True)
class SampleTurn:
    """One sample to gate, with what is known of other samples.

    Parameters
    ----------
    sample_id
        Its name.
    controls
        Values of control tubes.
    others
        Numbers found in other samples; None while they are not known.
    """

    sample_id: str
    controls: Controls = field(default_factory=dict)
    others: Numbers | None = None


class Turn(Protocol):
    """What the order asks of a task, a dataclass as `SampleTurn` is."""

    @property
    def sample_id(self) -> str:
        """Name of the sample."""

    @property
    def others(self) -> Numbers | None:
        """Numbers found in other samples; None while they are not known."""


Task = TypeVar("Task", bound=Turn)
Input = TypeVar("Input")
Output = TypeVar("Output")
Result = TypeVar("Result")


class Mapper(Protocol):
    """Applies a function to every item, here or in other processes, and returns the results in their order."""

    def __call__(self, function: Callable[[Input], Output], items: Sequence[Input]) -> list[Output]:
        """Return the result for each item."""


def one_by_one(function: Callable[[Input], Output], items: Sequence[Input]) -> list[Output]:
    """Apply a function to every item in this process."""
    return [function(item) for item in items]


@dataclass(frozen=True)
class Work(Generic[Task, Result]):
    """What is done with a sample. For other processes each function must be importable by name.

    Parameters
    ----------
    control_values
        From a control tube: name of a threshold to the values of its cells.
    numbers_above
        From any sample: the numbers that a control tube takes that has none of its own.
    resolve
        From any sample: its result.
    numbers
        From a result: the numbers that it has to give to other samples.
    """

    control_values: Callable[[Task], Mapping[str, NDArray[Any]]]
    numbers_above: Callable[[Task], Numbers]
    resolve: Callable[[Task], Result]
    numbers: Callable[[Result], Numbers]


@dataclass(frozen=True)
class _OrWait(Generic[Task, Result]):
    """A function of a sample that returns the error, and does not raise it, where the sample waits for others."""

    function: Callable[[Task], Result]

    def __call__(self, task: Task) -> Result | ThresholdNotFound:
        try:
            return self.function(task)
        except ThresholdNotFound as error:
            if not error.needs_others or task.others is not None:
                raise
            return error


def controls_first(
    tasks: Sequence[Task], controls: Sequence[Task], work: Work[Task, Any], mapper: Mapper = one_by_one
) -> Controls:
    """Return what the control tubes tell; a tube that needs numbers of other samples comes after all others.

    Parameters
    ----------
    tasks
        All samples.
    controls
        Those of them that thresholds are found in.
    work, mapper
        What is done with a sample, and how it is applied to many.
    """
    values = mapper(_OrWait(work.control_values), controls)
    waiting = [task for task, value in zip(controls, values, strict=True) if _waits(value)]
    of_tube = {
        task.sample_id: value for task, value in zip(controls, values, strict=True) if not _waits(value)
    }
    if waiting:
        late = {task.sample_id for task in waiting}
        able = [task for task in tasks if task.sample_id not in late]
        others = joined(mapper(work.numbers_above, able))
        again = mapper(work.control_values, [_with(task, others=others) for task in waiting])
        of_tube |= {task.sample_id: value for task, value in zip(waiting, again, strict=True)}
    controls_of: dict[str, dict[str, NDArray[Any]]] = {}
    for task in controls:
        for name, array in cast("Mapping[str, NDArray[Any]]", of_tube[task.sample_id]).items():
            controls_of.setdefault(name, {})[task.sample_id] = array
    return controls_of


def waiting_last(
    tasks: Sequence[Task],
    work: Work[Task, Result],
    mapper: Mapper = one_by_one,
    *,
    last: Mapper | None = None,
) -> list[Result]:
    """Return the result of every sample; those that need numbers of other samples come last.

    Parameters
    ----------
    tasks
        All samples, with what control tubes tell.
    work, mapper
        What is done with a sample, and how it is applied to many.
    last
        How it is applied to those that come last; None as to the others.
    """
    results: dict[str, Any] = {
        task.sample_id: result
        for task, result in zip(tasks, mapper(_OrWait(work.resolve), tasks), strict=True)
    }
    waiting = [task for task in tasks if _waits(results[task.sample_id])]
    if waiting:
        others = joined([work.numbers(result) for result in results.values() if not _waits(result)])
        again = (last or mapper)(work.resolve, [_with(task, others=others) for task in waiting])
        results |= {task.sample_id: result for task, result in zip(waiting, again, strict=True)}
    return [results[task.sample_id] for task in tasks]


def joined(numbers: Sequence[Numbers]) -> dict[str, list[float]]:
    """Return name of a threshold to the numbers of all samples."""
    of_all: dict[str, list[float]] = {}
    for of_sample in numbers:
        for name, listed in of_sample.items():
            of_all.setdefault(name, []).extend(listed)
    return of_all


def with_controls(task: Task, controls: Controls) -> Task:
    """Return a task that knows what control tubes tell."""
    return _with(task, controls=controls)


def _waits(result: object) -> bool:
    return isinstance(result, ThresholdNotFound)


def _with(task: Task, **changes: Any) -> Task:
    return cast("Task", replace(cast("Any", task), **changes))
