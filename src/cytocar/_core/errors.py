"""The errors cytocar raises: one base, one class per kind of cause, each with what, where and the way out."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self


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
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n    {self.fix}" if self.fix else text

    @classmethod
    def of(cls, error: CytocarError | OSError, *, where: str = "", fix: str = "") -> Problem:
        """Return the problem that an error states; of several the first (see `all_of`).

        Parameters
        ----------
        error
            What was raised.
        where
            Stands in place of the error's own address, where given.
        fix
            What to do, where the error does not say so.

        Examples
        --------
        >>> error = ParameterError("k is 0", where="phenograph", fix="it must be at least 1")
        >>> Problem.of(error, where="study.yaml, line 7")
        Problem(where='study.yaml, line 7', what='k is 0', fix='it must be at least 1')
        """
        return cls.all_of(error, where=where, fix=fix)[0]

    @classmethod
    def all_of(cls, error: CytocarError | OSError, *, where: str = "", fix: str = "") -> tuple[Problem, ...]:
        """Return every problem that an error states, as `of` does for one.

        Examples
        --------
        >>> Problem.all_of(PermissionError(13, "Permission denied", "a.fcs"), fix="check the rights")
        (Problem(where='a.fcs', what='cannot be read: Permission denied', fix='check the rights'),)
        """
        if isinstance(error, OSError):
            address = where or str(error.filename or "")
            return (cls(address, f"cannot be read: {error.strerror or error}", fix),)
        return tuple(cls(where or each.where, each.what, each.fix or fix) for each in error.problems)

    def within(self, where: str) -> Problem:
        """Return the problem with `where` put in front of its address.

        Examples
        --------
        >>> Problem("line 3", "no such column").within("samples.csv").where
        'samples.csv, line 3'
        """
        return replace(self, where=f"{where}, {self.where}" if self.where else where)


class CytocarError(Exception):
    """Base of everything cytocar raises on purpose: the user can fix it (exit code 2 of the command line).

    The text of an error is made from its parts; code that needs a part reads the attribute.

    Parameters
    ----------
    what
        What is wrong, with the value that is wrong.
    where
        The file, and in it the line, column, channel or setting.
    fix
        What would be right, or what to do next.
    problems
        All that is wrong, where it is more than one thing; `what`, `where` and `fix` are then not given.

    Attributes
    ----------
    what, where, fix
        As given; of several problems those of the first.
    problems
        Every problem, at least one.

    Examples
    --------
    >>> error = ParameterError("k is 0", where="study.yaml, line 7", fix="it must be at least 1")
    >>> str(error)
    'study.yaml, line 7: k is 0; it must be at least 1'
    >>> error.problems
    (Problem(where='study.yaml, line 7', what='k is 0', fix='it must be at least 1'),)
    """

    def __init__(
        self, what: str = "", *, where: str = "", fix: str = "", problems: Sequence[Problem] = ()
    ) -> None:
        super().__init__(what or next((problem.what for problem in problems), ""))
        self._listed = len(problems) > 1
        self.problems: tuple[Problem, ...] = tuple(problems) or (Problem(where, what, fix),)

    @property
    def what(self) -> str:
        """What is wrong, with the value that is wrong."""
        return self.problems[0].what

    @property
    def where(self) -> str:
        """The file, and in it the line, column, channel or setting."""
        return self.problems[0].where

    @property
    def fix(self) -> str:
        """What would be right, or what to do next."""
        return self.problems[0].fix

    def __str__(self) -> str:
        if self._listed:
            return "\n".join(str(problem) for problem in self.problems)
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.fix}" if self.fix else text

    def within(self, where: str) -> Self:
        """Return the error, with its notes, with `where` put in front of its address: ``raise error.within(file)``.

        Examples
        --------
        >>> str(GateError("no gates", where="line 3").within("gates.xml"))
        'gates.xml, line 3: no gates'
        """
        again = copy.copy(self)
        if hasattr(self, "__notes__"):
            again.__notes__ = list(self.__notes__)
        again.problems = tuple(problem.within(where) for problem in self.problems)
        return again


class FcsError(CytocarError):
    """A file is not FCS, is damaged, or contradicts itself."""


class PanelError(CytocarError):
    """A panel is malformed or does not fit the files."""


class GateError(CytocarError):
    """A gating strategy is malformed, names what is not there, or a threshold cannot be found."""


class StateError(CytocarError):
    """Data are in the wrong state for a step, such as arcsinh values where counts are expected."""


class ParameterError(CytocarError, ValueError):
    """An argument is outside its domain."""


class StudyError(CytocarError):
    """A study folder has problems; all of them are in `problems`, and in the message."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems=problems)
        self.args = (tuple(problems),)  # what pickle and copy hand to __init__

    def __str__(self) -> str:
        n = len(self.problems)
        head = "1 problem" if n == 1 else f"{n} problems"
        return "\n".join([f"{head} found:", *(f"  {problem}" for problem in self.problems)])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'X'?"`` for the nearest known name, else the list of what is known.

    Examples
    --------
    >>> did_you_mean("cofacter", ["cofactor", "seed"])
    "did you mean 'cofactor'?"
    >>> did_you_mean("zzz", ["cofactor", "seed"])
    'known: cofactor, seed'
    >>> did_you_mean("zzz", [])
    'there is none'
    """
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.7)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    return "known: " + ", ".join(known) if known else "there is none"
