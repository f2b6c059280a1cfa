"""Compiled inner loops: numba's decorator, with a type that keeps that of the function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """Return a decorator that compiles a kernel, keeps it on disk, and lets go of the interpreter while it runs.

    Parameters
    ----------
    options
        Further options of `numba.njit`, such as ``fastmath``.
    """
    decorate: Callable[[F], F] = numba.njit(cache=True, nogil=True, **options)
    return decorate
