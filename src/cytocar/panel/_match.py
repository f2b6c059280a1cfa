"""Finding the channels of a panel in a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytocar._core.errors import Problem
from cytocar.panel.antigens import marker_index, same_antigen
from cytocar.panel.names import Isotope, channel_isotope, marker_key, marker_name, unnamed
from cytocar.panel.roles import MASS_ROLES, guess_role

# Nothing that is counted, clustered or compared needs these.
_NOT_NEEDED = ("background", "barcode")


@dataclass(frozen=True)
class Wanted:
    """One row of a panel."""

    channel: str
    marker: str
    role: str
    isotope: Isotope | None


@dataclass(frozen=True)
class PanelMatch:
    """Where the channels of a panel are in a file.

    Parameters
    ----------
    columns
        For each row of the panel its column in the file, intp; -1 where the file has none.
    extra
        Columns of the file that are in no row of the panel.
    problems
        Channels that are ambiguous, and those that are missing and have to be there.
    notes
        What was decided: matched by mass only, ``$PnS`` names another marker, a channel that need not be there is
        missing.
    unmeasured
        Rows of `optional` that the file does not have: those of antibodies have no values there.
    """

    columns: NDArray[np.intp]
    extra: tuple[int, ...]
    problems: list[Problem]
    notes: tuple[str, ...] = ()
    unmeasured: tuple[int, ...] = ()


def match_channels(
    wanted: Sequence[Wanted],
    channels: Sequence[tuple[str, str]],
    *,
    where: str,
    optional: Collection[str] = (),
) -> PanelMatch:
    """Find each wanted channel: by metal and mass first, then by mass alone if only one channel that is left has it.

    Background and barcode channels, and those of `optional`, may be missing. An antibody that the file measures in
    another channel is not missing: panel and file contradict each other.
    """
    search = _Search(wanted, channels, where)
    for row in range(len(wanted)):
        search.by_isotope(row)
    for row in range(len(wanted)):
        search.by_mass(row)
        search.by_antigen(row)
    unmeasured = search.judge_missing(optional)
    columns, notes = search.columns, search.notes
    notes += _other_markers(wanted, channels, search.isotopes, columns)
    extra = tuple(column for column in range(len(channels)) if column not in columns)
    return PanelMatch(columns, extra, search.problems, tuple(notes), unmeasured)


class _Search:
    """The channels found so far.

    Attributes
    ----------
    isotopes
        Isotope of each channel of the file, None for a channel without mass.
    columns
        For each row of the panel its column in the file, intp; -1 where there is none, or none yet.
    problems, notes
        As in `PanelMatch`.
    """

    def __init__(self, wanted: Sequence[Wanted], channels: Sequence[tuple[str, str]], where: str) -> None:
        self._wanted, self._channels, self._where = wanted, channels, where
        self.isotopes = [channel_isotope(pnn, pns) for pnn, pns in channels]
        self.columns = np.full(len(wanted), -1, dtype=np.intp)
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self._ambiguous: set[int] = set()
        self._same_mass: dict[int, list[int]] = {}

    def by_isotope(self, row: int) -> None:
        """Find the channel that is the wanted one whatever else the file holds."""
        want = self._wanted[row]
        fits = _exact(want, self._channels, self.isotopes)
        if len(fits) > 1:
            self._ambiguous.add(row)
            # Twice the same isotope: the spelling of the panel decides, if it is there once.
            same = [column for column in fits if self._channels[column][0].strip() == want.channel]
            if len(same) != 1:
                self.problems.append(self._several(want, fits))
                return
            fits = same
        if fits:
            self.columns[row] = fits[0]

    def by_mass(self, row: int) -> None:
        """Find a mass channel that the file has under the name of another element."""
        want = self._wanted[row]
        if self.columns[row] >= 0 or want.isotope is None or row in self._ambiguous:
            return
        same_mass = [
            column
            for column, isotope in enumerate(self.isotopes)
            if isotope is not None and (isotope.mass, isotope.span) == (want.isotope.mass, want.isotope.span)
        ]
        names = [self._channels[column][0] for column in same_mass]
        if len(same_mass) == 1 and same_mass[0] not in self.columns:
            self.columns[row] = same_mass[0]
            self.notes.append(
                f"channel {want.channel!r} ({want.marker}) is {names[0]!r} there, the same "
                "mass under the name of another element"
            )
        else:
            self._same_mass[row] = same_mass

    def by_antigen(self, row: int) -> None:
        """Find a channel named by its antigen alone that the file has under another name of it."""
        want = self._wanted[row]
        if (
            self.columns[row] >= 0
            or want.isotope is not None
            or want.role != "marker"
            or row in self._ambiguous
        ):
            return
        names = [
            pnn if isotope is None else ""
            for (pnn, _), isotope in zip(self._channels, self.isotopes, strict=True)
        ]
        fits = [column for column in marker_index(names).positions(want.marker) if column not in self.columns]
        if len(fits) > 1:
            self._ambiguous.add(row)
            self.problems.append(self._several(want, fits))
        elif fits:
            self.columns[row] = fits[0]
            self.notes.append(
                f"channel {want.channel!r} is {names[fits[0]]!r} there, another name of the antigen"
            )

    def judge_missing(self, optional: Collection[str]) -> tuple[int, ...]:
        """Say which channels are missing, a problem where they have to be there; return antibodies that need not be."""
        unmeasured: list[int] = []
        without: list[str] = []
        for row, want in enumerate(self._wanted):
            if self.columns[row] >= 0 or row in self._ambiguous or want.role == "none":
                continue
            if want.role not in MASS_ROLES or want.role in _NOT_NEEDED:
                without.append(want.channel)
                continue
            elsewhere = _elsewhere(want, self._channels)
            others = [column for column in self._same_mass.get(row, ()) if not self._is_of_another(column)]
            if want.marker in optional and not others and not elsewhere:
                unmeasured.append(row)
            else:
                names = [self._channels[column][0] for column in self._same_mass.get(row, ())]
                self.problems.append(_missing(want, names, elsewhere, self._where))
        if without:
            self.notes.append(f"has no channel {', '.join(without)}")
        markers = ", ".join(
            self._wanted[row].marker for row in unmeasured if self._wanted[row].role == "marker"
        )
        if markers:
            self.notes.append(f"does not measure {markers}: left out of what needs it there")
        return tuple(unmeasured)

    def _is_of_another(self, column: int) -> bool:
        """Return whether a column is another row of the panel by metal and mass, and so no sign of this one."""
        return any(
            at == column and want.isotope == self.isotopes[column]
            for at, want in zip(self.columns, self._wanted, strict=True)
        )

    def _several(self, want: Wanted, fits: Sequence[int]) -> Problem:
        names = ", ".join(repr(self._channels[column][0]) for column in fits)
        return Problem(
            self._where,
            f"channel {want.channel!r} ({want.marker}) fits {len(fits)} channels of the file: {names}",
            "keep one of them in the file, or write its exact name in the panel",
        )


def _exact(
    want: Wanted, channels: Sequence[tuple[str, str]], isotopes: Sequence[Isotope | None]
) -> list[int]:
    """Return the columns that a row of a panel means, by the first of its names that any channel has."""

    def those(fits: Callable[[str, Isotope | None], bool]) -> list[int]:
        pairs = zip(channels, isotopes, strict=True)
        return [column for column, ((pnn, _), isotope) in enumerate(pairs) if fits(pnn, isotope)]

    if want.isotope is not None:
        # The panel may give metal and mass of a channel whose name says neither.
        return those(lambda _, isotope: isotope == want.isotope) or those(
            lambda pnn, isotope: isotope is None and pnn.strip() == want.channel
        )
    key = marker_key(want.channel)
    same = those(lambda pnn, _: pnn.strip() == want.channel.strip()) or those(
        lambda pnn, _: marker_key(pnn) == key
    )
    if same or want.role not in ("time", "event_length"):
        return same
    # Event_length is called Cell_length by older instruments.
    return those(lambda pnn, isotope: isotope is None and guess_role(pnn, pnn, None) == want.role)


def _elsewhere(want: Wanted, channels: Sequence[tuple[str, str]]) -> list[str]:
    """Return the channels in which a file measures an antibody by its own names."""
    if want.role != "marker":
        return []
    named = marker_index([marker_name(pnn, pns) for pnn, pns in channels])
    return [channels[column][0] for column in named.positions(want.marker)]


def _missing(want: Wanted, same_mass: Sequence[str], elsewhere: Sequence[str], where: str) -> Problem:
    what = f"has no channel {want.channel!r} ({want.marker})"
    if same_mass:
        names = ", ".join(repr(name) for name in same_mass)
        return Problem(
            where,
            f"{what}; mass {want.isotope.mass if want.isotope else 0} is {names}, which other rows of the panel use "
            "or which is not the only one",
            "write the name of the file in the panel, one row per channel",
        )
    fix = "remove the row from the panel, or leave the file out of the study"
    if elsewhere:
        fix = (
            f"the file measures {want.marker} in {elsewhere[0]!r}: correct the channel in the panel, give the file a "
            f"panel of its own (column panel of samples.csv), or {fix}"
        )
    return Problem(where, what, fix)


def _other_markers(
    wanted: Sequence[Wanted],
    channels: Sequence[tuple[str, str]],
    isotopes: Sequence[Isotope | None],
    columns: NDArray[np.intp],
) -> list[str]:
    """Return one note if the file calls antibodies otherwise than the panel: a sign of the wrong panel."""
    differ = []
    for row, want in enumerate(wanted):
        isotope = isotopes[columns[row]] if columns[row] >= 0 else None
        if want.role != "marker" or isotope is None:
            continue
        pnn, pns = channels[columns[row]]
        name = marker_name(pnn, pns)
        if name and name != unnamed(isotope) and not same_antigen(name, want.marker):
            differ.append(f"{want.channel} is {want.marker!r} in the panel and {name!r} in the file")
    return ["; ".join(differ)] if differ else []
