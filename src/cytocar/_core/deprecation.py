"""Former names of public functions: they go on working, and say what they are called now."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed(old: str, function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` under its former name `old`, which warns with a `DeprecationWarning` when it is called.

    Examples
    --------
    >>> import warnings
    >>> shorter = renamed("length", len)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     shorter([1, 2])
    2
    >>> str(caught[0].message)
    'length is now called len; the former name will go away in version 1.0'
    """
    new = function.__name__

    @functools.wraps(function)
    def former(*args: P.args, **kwargs: P.kwargs) -> R:
        warnings.warn(
            f"{old} is now called {new}; the former name will go away in version 1.0",
            DeprecationWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    former.__name__ = former.__qualname__ = old
    former.__doc__ = f"Former name; see `{new}`."
    return former
