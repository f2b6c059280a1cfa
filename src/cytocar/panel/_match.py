"""Finding the channels of a panel in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cytocar._core.errors import Problem
from cytocar.panel.names import Isotope, channel_isotope, marker_key, marker_name, unnamed
from cytocar.panel.roles import guess_role, same_antigen


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
        Mass channels that are missing or ambiguous.
    notes
        What was decided: matched by mass only, ``$PnS`` names another marker, a channel without mass is
        missing.
    """

    columns: np.ndarray
    extra: tuple[int, ...]
    problems: list[Problem]
    notes: tuple[str, ...] = ()


def match_channels(
    wanted: Sequence[Wanted], channels: Sequence[tuple[str, str]], *, where: str
) -> PanelMatch:
    """Find each wanted channel: by metal and mass first, then by mass alone if only one channel that is left has it."""
    isotopes = [channel_isotope(pnn, pns) for pnn, pns in channels]
    columns = np.full(len(wanted), -1, dtype=np.intp)
    problems: list[Problem] = []
    notes: list[str] = []

    for row, want in enumerate(wanted):
        candidates = _exact(want, channels, isotopes)
        if len(candidates) > 1:
            # Twice the same isotope: the spelling of the panel decides, if it is there once.
            same = [column for column in candidates if channels[column][0].strip() == want.channel]
            if len(same) != 1:
                names = ", ".join(repr(channels[column][0]) for column in candidates)
                problems.append(
                    Problem(
                        where,
                        f"channel {want.channel!r} ({want.marker}) fits {len(candidates)} channels of the file: "
                        f"{names}",
                        "keep one of them in the file, or write its exact name in the panel",
                    )
                )
                continue
            candidates = same
        if candidates:
            columns[row] = candidates[0]

    taken = set(columns[columns >= 0].tolist())
    for row, want in enumerate(wanted):
        if columns[row] >= 0 or want.isotope is None or len(_exact(want, channels, isotopes)) > 1:
            continue
        same_mass = [
            column
            for column, found in enumerate(isotopes)
            if found is not None and (found.mass, found.span) == (want.isotope.mass, want.isotope.span)
        ]
        free = [column for column in same_mass if column not in taken]
        if len(free) == 1 and len(same_mass) == 1:
            columns[row] = free[0]
            taken.add(free[0])
            notes.append(
                f"{where}: channel {want.channel!r} ({want.marker}) is {channels[free[0]][0]!r} there, the same "
                "mass under the name of another element"
            )
            continue
        problems.append(_missing(want, [channels[column][0] for column in same_mass], channels, where))

    absent = [
        want.channel
        for row, want in enumerate(wanted)
        if columns[row] < 0 and want.isotope is None and want.role != "none"
    ]
    if absent:
        notes.append(f"{where}: has no channel {', '.join(absent)}")
    notes += _other_markers(wanted, channels, isotopes, columns, where)
    extra = tuple(column for column in range(len(channels)) if column not in taken)
    return PanelMatch(columns, extra, problems, tuple(notes))


def _exact(
    want: Wanted, channels: Sequence[tuple[str, str]], isotopes: Sequence[Isotope | None]
) -> list[int]:
    if want.isotope is not None:
        fits = [column for column, found in enumerate(isotopes) if found == want.isotope]
        # The panel may give metal and mass of a channel whose name says neither.
        return fits or [
            column
            for column, (pnn, _) in enumerate(channels)
            if isotopes[column] is None and pnn.strip() == want.channel
        ]
    same = [column for column, (pnn, _) in enumerate(channels) if pnn.strip() == want.channel.strip()]
    if same:
        return same
    key = marker_key(want.channel)
    same = [column for column, (pnn, _) in enumerate(channels) if marker_key(pnn) == key]
    if same or want.role not in ("time", "event_length"):
        return same
    # Event_length is called Cell_length by older instruments.
    return [
        column
        for column, (pnn, _) in enumerate(channels)
        if isotopes[column] is None and guess_role(pnn, pnn, None) == want.role
    ]


def _missing(
    want: Wanted, same_mass: Sequence[str], channels: Sequence[tuple[str, str]], where: str
) -> Problem:
    what = f"has no channel {want.channel!r} ({want.marker})"
    if same_mass:
        names = ", ".join(repr(name) for name in same_mass)
        return Problem(
            where,
            f"{what}; mass {want.isotope.mass if want.isotope else 0} is {names}, which other rows of the panel use "
            "or which is not the only one",
            "write the name of the file in the panel, one row a channel",
        )
    key = marker_key(want.marker)
    elsewhere = [pnn for pnn, pns in channels if marker_key(marker_name(pnn, pns)) == key]
    fix = "remove the row from the panel, or leave the file out of the study"
    if elsewhere:
        fix = (
            f"the file measures {want.marker} in {elsewhere[0]!r}: correct the channel in the panel, or {fix}"
        )
    return Problem(where, what, fix)


def _other_markers(
    wanted: Sequence[Wanted],
    channels: Sequence[tuple[str, str]],
    isotopes: Sequence[Isotope | None],
    columns: np.ndarray,
    where: str,
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
    return [f"{where}: " + "; ".join(differ)] if differ else []
