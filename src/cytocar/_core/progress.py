"""How long work reports what is done."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how many of its steps are done, and how many there are."""


def silent(stage: str, done: int, total: int) -> None:
    """Report progress to nobody."""
