"""Which channel leaks into which: the matrix, and its fit to another panel."""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError, Problem
from cytocar._core.files import write_text
from cytocar.panel.names import ISOTOPES, Isotope
from cytocar.panel.names_in_tables import isotope_in_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

OXIDE: Final = 16
# Above this, rounding to float32 alone moves the result by more than a thousandth.
_WORST_CONDITION: Final = 1e4
_DIAGONAL_TOLERANCE: Final = 1e-6


def interaction(emitter: Isotope, receiver: Isotope) -> str:
    """Return how ions of one channel can be counted in another: ``"mass +1"``, ..., or "" where they cannot.

    Examples
    --------
    >>> interaction(Isotope("Nd", 146), Isotope("Dy", 162)), interaction(Isotope("Yb", 171), Isotope("Yb", 174))
    ('oxide, mass +16', 'isotopic impurity')
    """
    apart = receiver.mass - emitter.mass
    if apart == 0:
        return ""
    if abs(apart) == 1:
        return f"mass {apart:+d}"
    if apart == OXIDE:
        return f"oxide, mass +{OXIDE}"
    if emitter.symbol == receiver.symbol and len(ISOTOPES.get(emitter.symbol, ())) > 1:
        return "isotopic impurity"
    return ""


@dataclass(frozen=True, eq=False)
class Spillover:
    """A spillover matrix: which part of the signal of each channel appears in each other one.

    An event with the true signals x is seen as x S: rows of S emit, columns receive (Chevrier et al. 2018,
    Cell Syst 6:612, doi 10.1016/j.cels.2018.02.010).

    Parameters
    ----------
    channels
        Names of the channels in any spelling; kept as ``Yb171Di``. Each metal and mass once.
    matrix
        float64, channels x channels, 0 to 1, 1 on the diagonal. A row that is NaN (its diagonal may be 1) was
        never measured; it is kept as a row that emits nothing, and `measured` says so.
    notes
        What a reader should know of how it came about.

    Raises
    ------
    ParameterError
        Lists everything that is wrong with the channels and the values.

    Examples
    --------
    >>> spill = Spillover(("171Yb", "Yb172Di"), [[1, 0.04], [0.01, 1]])
    >>> spill.channels, spill.measured
    (('Yb171Di', 'Yb172Di'), (True, True))
    """

    channels: tuple[str, ...]
    matrix: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    measured: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        channels = tuple(str(name) for name in self.channels)
        matrix = np.array(self.matrix, dtype=np.float64)
        isotopes, problems = distinct_isotopes(channels, "channels")
        if matrix.shape != (len(channels), len(channels)):
            what = f"the shape is {matrix.shape}, but {len(channels)} channels are named"
            problems.append(Problem("matrix", what, "give a row and a column for each channel"))
        else:
            problems += check_matrix(channels, matrix, "")
        if problems:
            raise ParameterError(problems=problems)
        rows = np.array([_never_measured(row, diagonal) for diagonal, row in enumerate(matrix)], dtype=bool)
        matrix[rows] = np.eye(len(channels))[rows]
        np.fill_diagonal(matrix, 1.0)
        matrix.flags.writeable = False
        measured = ~rows
        if len(self.measured) == len(channels):
            measured &= np.array(self.measured, dtype=bool)
        object.__setattr__(self, "channels", tuple(i.channel for i in isotopes if i is not None))
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "notes", tuple(str(note) for note in self.notes))
        object.__setattr__(self, "measured", tuple(bool(value) for value in measured))

    def __len__(self) -> int:
        return len(self.channels)

    def __repr__(self) -> str:
        pairs = np.count_nonzero(self.matrix) - len(self)
        return f"Spillover of {len(self)} channels, {sum(self.measured)} measured, {pairs} pairs above 0"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spillover):
            return NotImplemented
        same = self.channels == other.channels and self.measured == other.measured
        return same and np.array_equal(self.matrix, other.matrix)

    def __hash__(self) -> int:
        return hash((self.channels, self.measured, self.matrix.tobytes()))

    @property
    def isotopes(self) -> tuple[Isotope, ...]:
        """The channels as metal and mass."""
        isotopes = (isotope_in_table(name) for name in self.channels)
        return tuple(isotope for isotope in isotopes if isotope is not None)

    @property
    def frame(self) -> pd.DataFrame:
        """The matrix as a table, index the emitters, columns the receivers; NaN in rows never measured."""
        import pandas as pd

        matrix = self.matrix.copy()
        matrix[~np.array(self.measured, dtype=bool)] = np.nan
        index = pd.Index(list(self.channels), name=keys.CHANNEL)
        return pd.DataFrame(matrix, index=index, columns=list(self.channels))

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write the matrix as CSV (first column the emitters, empty where never measured), and return the text.

        Parameters
        ----------
        path
            Where to; `None` to return the text only.

        Examples
        --------
        >>> print(Spillover(("Yb171Di", "Yb172Di"), [[1, 0.04], [float("nan")] * 2]).to_csv().strip())
        channel,Yb171Di,Yb172Di
        Yb171Di,1,0.04
        Yb172Di,,
        """
        lines = [",".join([keys.CHANNEL, *self.channels])]
        for name, row, measured in zip(self.channels, self.matrix, self.measured, strict=True):
            cells = [f"{float(value)!r}".removesuffix(".0") if measured else "" for value in row]
            lines.append(",".join([name, *cells]))
        text = "\n".join(lines) + "\n"
        if path is not None:
            write_text(path, text)
        return text

    def adapt(self, channels: Iterable[str]) -> tuple[Spillover, list[str]]:
        """Return the matrix for the channels of another panel, and a note on every gap in it.

        What both have is kept; a channel that is not in the matrix neither emits nor receives.

        Parameters
        ----------
        channels
            Names of mass channels in any spelling, each once, in the order wanted.

        Returns
        -------
        The matrix, and one note for each interaction that is possible (neighbouring mass, oxide, isotopic
        impurity of the metal) but was not measured.

        Raises
        ------
        ParameterError
            A name is not a mass channel, or two name the same.

        Examples
        --------
        >>> spill = Spillover(("Yb171Di", "Yb172Di"), [[1, 0.04], [0.01, 1]])
        >>> other, notes = spill.adapt(["(Yb172)Dd", "Yb173Di"])
        >>> other.matrix[0].tolist(), notes[0]
        ([1.0, 0.0], 'Yb172Di into Yb173Di (mass +1): Yb173Di is not in the matrix, taken as 0')
        """
        wanted, problems = distinct_isotopes(tuple(str(name) for name in channels), "channels")
        if problems:
            raise ParameterError(problems=problems)
        asked = [isotope for isotope in wanted if isotope is not None]
        at = {isotope: row for row, isotope in enumerate(self.isotopes)}
        matrix = np.eye(len(asked))
        both = [row for row, isotope in enumerate(asked) if isotope in at]
        source = [at[asked[row]] for row in both]
        matrix[np.ix_(both, both)] = self.matrix[np.ix_(source, source)]
        measured = [isotope in at and self.measured[at[isotope]] for isotope in asked]
        names = tuple(isotope.channel for isotope in asked)
        return Spillover(names, matrix, self.notes, tuple(measured)), _gaps(asked, measured, at)


def _gaps(asked: Sequence[Isotope], measured: Sequence[bool], there: Container[Isotope]) -> list[str]:
    """Return a note on each interaction that is possible but was not measured."""
    notes = []
    for emitter, emits in zip(asked, measured, strict=True):
        for receiver in asked:
            kind = interaction(emitter, receiver)
            if not kind or (emits and receiver in there):
                continue
            why = (
                f"{receiver.channel} is not in the matrix" if emits else f"{emitter.channel} was not measured"
            )
            notes.append(f"{emitter.channel} into {receiver.channel} ({kind}): {why}, taken as 0")
    return notes


def _never_measured(row: NDArray[np.float64], diagonal: int) -> bool:
    """Whether nothing but, at most, the diagonal of a row is a number."""
    empty = np.isnan(row)
    if row.size == 1:
        return bool(empty.all())
    return bool(np.delete(empty, diagonal).all() and (empty[diagonal] or row[diagonal] == 1.0))


def distinct_isotopes(names: Sequence[str], where: str) -> tuple[list[Isotope | None], list[Problem]]:
    """Return metal and mass of channels, `None` where a name says neither, and what is wrong with the names."""
    isotopes = [isotope_in_table(name) for name in names]
    problems = [
        Problem(
            where, f"{name!r} is not a mass channel", "name it by metal and mass, such as Yb171Di or 171Yb"
        )
        for name, isotope in zip(names, isotopes, strict=True)
        if isotope is None
    ]
    first: dict[Isotope, str] = {}
    for name, isotope in zip(names, isotopes, strict=True):
        if isotope is None:
            continue
        if isotope in first:
            what = f"{name!r} and {first[isotope]!r} are one channel, {isotope}"
            problems.append(Problem(where, what, "keep one of them"))
        first.setdefault(isotope, name)
    if not names:
        problems.append(Problem(where, "there are no channels", "name at least one"))
    return isotopes, problems


def check_matrix(channels: Sequence[str], matrix: NDArray[np.float64], where: str) -> list[Problem]:
    """Return everything that is wrong with the values of a square matrix."""
    problems = []

    def pair(row: int, column: int) -> str:
        return f"{where}{', ' if where else ''}{channels[row]} into {channels[column]}"

    usable = matrix.copy()
    for row, values in enumerate(matrix):
        if _never_measured(values, row):
            usable[row] = np.eye(len(channels))[row]
            continue
        for column, value in enumerate(values):
            if math.isnan(value):
                fix = "give a value, or leave the whole row empty if this channel was never measured"
                problems.append(Problem(pair(row, column), "the value is missing", fix))
            elif row == column:
                if abs(value - 1) > _DIAGONAL_TOLERANCE:
                    fix = "the diagonal is 1: divide the row by it"
                    if abs(value - 100) < 1:
                        fix = "the matrix looks like percent: divide everything by 100"
                    problems.append(Problem(pair(row, column), f"the diagonal is {value:g}", fix))
            elif not 0 <= value <= 1:
                fix = "expected a part of the signal, from 0 to 1"
                if value > 1:
                    fix += "; percent are to be divided by 100"
                problems.append(Problem(pair(row, column), f"the value is {value:g}", fix))
    if not problems and len(channels):
        condition = float(np.linalg.cond(usable))
        if not condition < _WORST_CONDITION:
            fix = "two channels emit nearly the same; check these rows, or leave one of the channels out"
            what = f"the matrix is singular or nearly so (condition {condition:.3g})"
            problems.append(Problem(where or "matrix", what, fix))
    return problems


def as_text(value: Any) -> str:
    """Return how a spillover argument is recorded."""
    return repr(value) if isinstance(value, Spillover) else os.fspath(value)
