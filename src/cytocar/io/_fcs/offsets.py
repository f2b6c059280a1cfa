"""Where the events of an FCS file lie, when HEADER and TEXT say different things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cytocar._core.errors import FcsError

# HEADER offsets have eight characters.
LARGEST_OFFSET: Final = 99_999_999


@dataclass(frozen=True)
class _Segment:
    """DATA as one of HEADER and TEXT states it: first and last byte."""

    name: str
    begin: int
    end: int

    @property
    def n_bytes(self) -> int:
        """Return its length."""
        return self.end - self.begin + 1


def place_data(
    in_header: tuple[int, int],
    in_text: tuple[int, int],
    *,
    row_bytes: int,
    total: int | None,
    available: int,
    path: Path,
) -> tuple[int, int, int, list[str]]:
    """Return begin and length of DATA, the number of events, and the tolerances taken.

    Parameters
    ----------
    in_header, in_text
        First and last byte of DATA as HEADER and TEXT give them, (0, 0) where they do not.
    row_bytes
        Bytes of an event.
    total
        `$TOT`, None where the file (FCS 2.0) has none.
    available
        Bytes of the file from the start of the data set on.
    path
        For messages.
    """
    pairs = (_Segment("HEADER", *in_header), _Segment("TEXT", *in_text))
    stated = [segment for segment in pairs if segment.begin > 0 and segment.n_bytes >= 0]
    tolerances: list[str] = []
    if total is None:
        total = _count_events(stated, row_bytes, path)
        tolerances.append(f"$TOT is missing: {total} events counted from the length of DATA")
    need = total * row_bytes
    if need == 0:
        return max(in_header[0], in_text[0], 0), 0, 0, tolerances
    chosen, late = _choose(stated, total, row_bytes, available, path)
    begin = chosen[0].begin
    tolerances += _departures(stated, chosen, need, late=late)
    if in_header[0] <= 0 and begin + need - 1 <= LARGEST_OFFSET:
        tolerances.append(
            f"HEADER leaves the DATA offsets empty though they would fit: {begin} to {begin + need - 1} from TEXT"
        )
    return begin, need, total, tolerances


def _choose(
    stated: Sequence[_Segment], total: int, row_bytes: int, available: int, path: Path
) -> tuple[list[_Segment], bool]:
    """Return the segments that hold all events and agree on where, and whether they end one byte late."""
    need = total * row_bytes
    exact = [segment for segment in stated if segment.n_bytes == need]
    fitting = exact or [segment for segment in stated if segment.n_bytes == need + 1]
    if not fitting:
        raise FcsError(
            f"no pair of DATA offsets fits: $TOT {total} x {row_bytes} bytes per event = {need} bytes, "
            f"but {_listed(stated) or 'neither HEADER nor TEXT gives offsets'}",
            where=str(path),
            fix=f"the file has {available} bytes",
        )
    chosen = [segment for segment in fitting if segment.begin + need <= available] or fitting
    if len({segment.begin for segment in chosen}) > 1:
        raise FcsError(
            f"HEADER and TEXT give different DATA offsets of the right length ({_listed(stated)}; "
            f"{need} bytes are needed): which one holds the events cannot be determined",
            where=str(path),
        )
    return chosen, not exact


def _count_events(stated: Sequence[_Segment], row_bytes: int, path: Path) -> int:
    """Return the number of events that the length of DATA makes, which may be one byte too long."""
    lengths = {length for segment in stated for length in (segment.n_bytes, segment.n_bytes - 1)}
    counts = {length // row_bytes for length in lengths if length % row_bytes == 0}
    if len(counts) != 1:
        raise FcsError(
            f"$TOT is missing, and the DATA segment ({_listed(stated)}) is not a multiple of the "
            f"{row_bytes} bytes of an event",
            where=str(path),
        )
    return counts.pop()


def _departures(
    stated: Sequence[_Segment], chosen: Sequence[_Segment], need: int, *, late: bool
) -> list[str]:
    """Return what about the stated offsets is not as the standard has it."""
    tolerances = []
    if late:
        tolerances.append(
            f"DATA ends one byte late ({_listed(stated)}; {need} bytes are needed), as DVS and Cytobank write it"
        )
    if len(chosen) < len(stated):
        why = "was taken" if late else f"fits the {need} bytes that are needed"
        tolerances.append(f"DATA offsets disagree ({_listed(stated)}): {chosen[0].name} {why}")
    return tolerances


def delimited_segment(in_header: tuple[int, int], in_text: tuple[int, int], path: Path) -> tuple[int, int]:
    """Return begin and length of a segment of delimited ASCII, whose length nothing else tells."""
    for begin, end in (in_header, in_text):
        if 0 < begin <= end:
            return begin, end - begin + 1
    raise FcsError(
        "neither HEADER nor TEXT gives offsets of the delimited ASCII DATA segment", where=str(path)
    )


def _listed(segments: Sequence[_Segment]) -> str:
    return ", ".join(
        f"{segment.name} {segment.begin} to {segment.end} = {segment.n_bytes} bytes" for segment in segments
    )
