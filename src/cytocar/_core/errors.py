"""The errors cytocar raises: one base, one class per kind of cause, each with what, where and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class CytocarError(Exception):
    """Base of everything cytocar raises on purpose: the user can mend it (exit code 2 of the command line)."""


class FcsError(CytocarError):
    """A file is not FCS, is damaged, or contradicts itself."""


class PanelError(CytocarError):
    """A panel is malformed or does not fit the files."""


class GateError(CytocarError):
    """A gating strategy is malformed, names what is not there, or a threshold cannot be found."""


class StateError(CytocarError):
    """Data are in the wrong state for a step, such as arcsinh values where counts are due."""


class ParameterError(CytocarError, ValueError):
    """An argument is outside its domain."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what a user handed in.

    Parameters
    ----------
    where
        The file, and in it the line, column, channel or setting.
    what
        What is wrong, with the value that is wrong.
    fix
        What would be right, or what to do next.
    """

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}"
        return f"{text}\n    {self.fix}" if self.fix else text


class StudyError(CytocarError):
    """A study folder has problems; all of them are in `problems`, and in the message."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        head = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{head} found:", *(f"  {problem}" for problem in self.problems)]))

    def __reduce__(self) -> tuple[type[StudyError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'X'?"`` for the nearest known name, else the list of what is known.

    Examples
    --------
    >>> did_you_mean("cofacter", ["cofactor", "seed"])
    "did you mean 'cofactor'?"
    >>> did_you_mean("zzz", ["cofactor", "seed"])
    'known: cofactor, seed'
    """
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.7)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    return "known: " + ", ".join(known)
