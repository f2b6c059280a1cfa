"""Checks of what users hand in: whole numbers, ranges, finite values."""

from __future__ import annotations

import math
import numbers
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from cytocar._core import scanpy_settings
from cytocar._core.errors import ParameterError, did_you_mean

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
        f"{step}: {int(bad.any(axis=1).sum())} of {len(x)} cells have values {what}, in {columns}",
        fix=way_out,
    )


def is_number(value: object) -> TypeGuard[numbers.Real]:
    """Return whether `value` is a real number, of Python or NumPy; True and False are not.

    Examples
    --------
    >>> is_number(2), is_number(float("nan")), is_number(True), is_number("2")
    (True, True, False, False)
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def whole_number(
    value: object, name: str, low: int, high: int | None = None, *, why: str = "", usual: str = ""
) -> int:
    """Return `value` as an int if it is a whole number from `low` to `high`, else raise `ParameterError`.

    Parameters
    ----------
    value
        What was handed in.
    name
        What to call it in the message.
    low, high
        The least and the largest that it may be; None for no largest.
    why
        Where `high` comes from, for the message.
    usual
        What else the message says of the value, such as ``"usually 200"``.

    Examples
    --------
    >>> whole_number(3, "k", 1)
    3
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        number = int(value)
        if low <= number and (high is None or number <= high):
            return number
    upper = "" if high is None else f" and at most {high}"
    reason = f" ({why})" if why else ""
    raise ParameterError(
        f"{name} is {value!r}",
        fix=f"it must be a whole number of at least {low}{upper}{reason}{_also(usual)}",
    )


def whole_or_auto(
    value: object, name: str, low: int, high: int | None = None, *, why: str = ""
) -> int | None:
    """Return `value` as an int as `whole_number` does, or None for ``"auto"``.

    Examples
    --------
    >>> whole_or_auto(3, "k", 1), whole_or_auto("auto", "k", 1)
    (3, None)
    """
    if isinstance(value, str):
        if value == "auto":
            return None
        raise ParameterError(f"{name} is {value!r}", fix="it must be a whole number or 'auto'")
    return whole_number(value, name, low, high, why=why)


def positive_number(value: object, name: str, *, usual: str = "") -> float:
    """Return `value` as a float if it is a finite number above 0, else raise `ParameterError`."""
    if not is_number(value) or not 0 < float(value) < np.inf:
        raise ParameterError(f"{name} is {value!r}", fix=f"it must be a finite number above 0{_also(usual)}")
    return float(value)


def number_between(value: object, name: str, low: float, high: float, *, below: bool = False) -> float:
    """Return `value` as a float if it is a number from `low` to `high` (`below` it), else raise `ParameterError`."""
    number = float(value) if is_number(value) else math.nan
    if not low <= number <= high or (below and number == high):
        domain = f"at least {low:g} and below {high:g}" if below else f"a number from {low:g} to {high:g}"
        raise ParameterError(f"{name} is {value!r}", fix=f"it must be {domain}")
    return number


def number_from(value: object, name: str, low: float, *, usual: str = "") -> float:
    """Return `value` as a float if it is a number of at least `low`, infinity included, else raise `ParameterError`."""
    number = float(value) if is_number(value) else math.nan
    if not number >= low:
        raise ParameterError(
            f"{name} is {value!r}", fix=f"it must be a number of at least {low:g}{_also(usual)}"
        )
    return number


def finite_number(value: object, name: str) -> float:
    """Return `value` as a float if it is a finite number, else raise `ParameterError`."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ParameterError(f"{name} is a number of more than 308 digits", fix="it must be a finite number")
    if not is_number(value) or not math.isfinite(value):
        raise ParameterError(f"{name} is {value!r}", fix="it must be a finite number")
    return float(value)


def proportion(value: object, name: str, *, example: float = 0.95) -> float:
    """Return `value` as a float if it is a number above 0 and below 1, else raise `ParameterError`."""
    if not is_number(value) or not 0.0 < float(value) < 1.0:
        raise ParameterError(
            f"{name} is {value!r}", fix=f"it must be above 0 and below 1, such as {example:g}"
        )
    return float(value)


def one_of(value: object, name: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of the words that it may be, else raise `ParameterError`.

    Examples
    --------
    >>> one_of("flow", "method", ("nnls", "flow"))
    'flow'
    """
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        raise ParameterError(f"{name} is {value!r}", fix=did_you_mean(str(value), choices))
    return value


def n_threads(n_jobs: object) -> int:
    """Return the number of threads that `n_jobs` asks for; -1 is all processors that this process may use.

    None is what ``scanpy.settings.n_jobs`` says where scanpy is in use, and 1 otherwise.

    Examples
    --------
    >>> n_threads(2), n_threads(-1) >= 1
    (2, True)
    """
    if n_jobs is None:
        n_jobs = scanpy_settings.n_jobs()
    if n_jobs == -1 and is_number(n_jobs):
        available = getattr(os, "sched_getaffinity", None)
        return len(available(0)) if available is not None else os.cpu_count() or 1
    if isinstance(n_jobs, numbers.Integral) and not isinstance(n_jobs, bool) and int(n_jobs) >= 1:
        return int(n_jobs)
    raise ParameterError(
        f"n_jobs is {n_jobs!r}", fix="it must be a whole number of at least 1, or -1 for all processors"
    )


def _also(usual: str) -> str:
    return f", {usual}" if usual else ""
