"""Checks of what users hand in: whole numbers, ranges, finite values."""

from __future__ import annotations

import numbers
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    from numpy.typing import NDArray


# squares of larger values do not fit into float32; arcsinh values stay far below 100
LARGEST = 1e15


def require_finite(x: NDArray[np.float32], names: Sequence[str], step: str, way_out: str) -> None:
    """Raise `ParameterError` with the markers that have values that are not finite, or too large to be squared."""
    with np.errstate(invalid="ignore"):
        if not x.size or (x.min() >= -LARGEST and x.max() <= LARGEST):
            return
        bad = ~(np.abs(x) <= LARGEST)
    what = "that are not finite" if not np.isfinite(x).all() else f"beyond {LARGEST:g}"
    columns = ", ".join(names[i] for i in np.flatnonzero(bad.any(axis=0)).tolist())
    raise ParameterError(
        f"{step}: {int(bad.any(axis=1).sum())} of {len(x)} cells have values {what}, in {columns}: {way_out}"
    )


def whole_number(value: object, name: str, low: int, high: int | None = None, *, why: str = "") -> int:
    """Return `value` as an int if it is a whole number from `low` to `high`, else raise `ParameterError`."""
    fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    number = int(value) if fits and isinstance(value, numbers.Integral) else 0
    if not fits or number < low or (high is not None and number > high):
        upper = "" if high is None else f" and at most {high}"
        reason = f" ({why})" if why else ""
        raise ParameterError(
            f"{name} is {value!r}; it must be a whole number of at least {low}{upper}{reason}"
        )
    return number


def positive_number(value: object, name: str) -> float:
    """Return `value` as a float if it is a finite number above 0, else raise `ParameterError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < np.inf:
        raise ParameterError(f"{name} is {value!r}; it must be a finite number above 0")
    return float(value)


def number_between(value: object, name: str, low: float, high: float, *, below: bool = False) -> float:
    """Return `value` as a float if it is a number from `low` to `high` (`below` it), else raise `ParameterError`."""
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
    number = float(value) if fits and isinstance(value, numbers.Real) else low - 1.0
    if not low <= number <= high or (below and number == high):
        domain = f"at least {low:g} and below {high:g}" if below else f"a number from {low:g} to {high:g}"
        raise ParameterError(f"{name} is {value!r}; it must be {domain}")
    return number


def proportion(value: object, name: str, *, example: float = 0.95) -> float:
    """Return `value` as a float if it is a number above 0 and below 1, else raise `ParameterError`."""
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not fits or not isinstance(value, numbers.Real) or not 0.0 < float(value) < 1.0:
        raise ParameterError(f"{name} is {value!r}; it must be above 0 and below 1, such as {example:g}")
    return float(value)


def n_threads(n_jobs: object) -> int:
    """Return the number of threads meant by `n_jobs`; -1 is all that this process may use.

    Examples
    --------
    >>> n_threads(3)
    3
    """
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, numbers.Integral) or (n_jobs < 1 and n_jobs != -1):
        raise ParameterError(f"n_jobs is {n_jobs!r}", fix="it must be at least 1, or -1 for all processors")
    if n_jobs == -1:
        available = getattr(os, "sched_getaffinity", None)
        return len(available(0)) if available is not None else os.cpu_count() or 1
    return int(n_jobs)
