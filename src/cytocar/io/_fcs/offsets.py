"""Where the events of an FCS file lie, when HEADER and TEXT say different things, or both what cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cytocar._core.errors import FcsError

# HEADER offsets have eight characters.
LARGEST_OFFSET: Final = 99_999_999
LOCATED: Final = "DATA offsets do not fit"
"""How the tolerance begins that says that DATA was found elsewhere than offsets say."""
# FCS 3.0 and 3.1 end with eight characters of CRC.
CRC_BYTES: Final = 8


@dataclass(frozen=True)
class Around:
    """What lies around DATA.

    Parameters
    ----------
    text_begin, text_end
        First and last byte of TEXT, the last by its own delimiter.
    overran
        How many bytes of TEXT lie behind its declared end.
    overran_surely
        Whether these are too many to be values of DATA that look like text.
    available
        Bytes of the file from the start of the data set on.
    segments
        First and last byte of the other segments (supplemental TEXT, ANALYSIS, the next data set).
    """

    text_begin: int
    text_end: int
    overran: int
    overran_surely: bool
    available: int
    segments: tuple[tuple[int, int], ...] = ()

    def free(self, begin: int, n_bytes: int) -> bool:
        """Whether so many bytes from `begin` on lie outside TEXT: behind it, or before it, as some writers have it."""
        return begin > self.text_end or begin + n_bytes <= self.text_begin

    def ends(self) -> set[int]:
        """Return where DATA may end: one byte behind its last."""
        begins = {begin for begin, _ in self.segments if self.text_end < begin <= self.available}
        return {self.available, self.available - CRC_BYTES} | begins


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
    around: Around,
    path: Path,
) -> tuple[int, int, int, list[str]]:
    """Return begin and length of DATA, the number of events, and the tolerances taken.

    A pair of offsets counts whose length is that of all events and whose begin lies behind TEXT. Where there is
    none, DATA is located: from a stated begin or end, or right behind TEXT, so that it ends with the file, before
    its CRC, or where the next segment begins. Where two places would do, the file is refused.

    Parameters
    ----------
    in_header, in_text
        First and last byte of DATA as HEADER and TEXT give them, (0, 0) where they do not.
    row_bytes
        Bytes of an event.
    total
        `$TOT`, None where the file (FCS 2.0) has none.
    around
        What lies before and behind DATA.
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
        tolerances += _unread(stated, row_bytes, around)
        return max(in_header[0], in_text[0], 0), 0, 0, tolerances
    possible = [segment for segment in stated if around.free(segment.begin, need)]
    possible += _within_the_overrun(stated, need, around)
    chosen, late = _fitting(possible, need, around.available)
    if not chosen:
        begin = _located(pairs, total, row_bytes, around, path)
        said = [segment for segment in pairs if segment.begin or segment.end]
        tolerances.append(
            f"{LOCATED} ({_listed(said) or 'there are none'}): the {need} bytes of {total} events "
            f"were found at bytes {begin} to {begin + need - 1}, behind TEXT and up to the end"
        )
        return begin, need, total, tolerances
    if len({segment.begin for segment in chosen}) > 1:
        raise FcsError(
            f"HEADER and TEXT give different DATA offsets of the right length ({_listed(stated)}; "
            f"{need} bytes are needed): which one holds the events cannot be determined",
            where=str(path),
        )
    begin = chosen[0].begin
    tolerances += _departures(stated, chosen, need, late=late)
    if in_header[0] <= 0 and begin + need - 1 <= LARGEST_OFFSET:
        tolerances.append(
            f"HEADER leaves the DATA offsets empty though they would fit: {begin} to {begin + need - 1} from TEXT"
        )
    return begin, need, total, tolerances


def _within_the_overrun(stated: Sequence[_Segment], need: int, around: Around) -> list[_Segment]:
    """Return the segments that begin in what may be TEXT beyond its declared end, and end where DATA may."""
    ends = around.ends()
    if around.overran_surely or around.text_end + 1 + need in ends:
        return []
    return [
        segment
        for segment in stated
        if around.text_end - around.overran < segment.begin <= around.text_end
        and segment.n_bytes == need
        and segment.begin + need in ends
    ]


def _unread(stated: Sequence[_Segment], row_bytes: int, around: Around) -> list[str]:
    """Return what to say of a file without events that has bytes where they would be."""
    lengths = [segment.n_bytes for segment in stated if 1 < segment.n_bytes <= around.available]
    stops = [begin for begin, _ in around.segments if begin > around.text_end]
    behind = min([around.available, *stops]) - around.text_end - 1 - CRC_BYTES
    held = max(lengths, default=behind if row_bytes and behind >= row_bytes else 0)
    if not held or not row_bytes or held < row_bytes:
        return []
    return [
        f"$TOT is 0, but the file has {held} bytes of DATA, as many as {held // row_bytes} events: none was read"
    ]


def _fitting(possible: Sequence[_Segment], need: int, available: int) -> tuple[list[_Segment], bool]:
    """Return the segments that hold all events, and whether they end one byte late."""
    exact = [segment for segment in possible if segment.n_bytes == need]
    fitting = exact or [segment for segment in possible if segment.n_bytes == need + 1]
    return [segment for segment in fitting if segment.begin + need <= available] or fitting, not exact


def _located(pairs: Sequence[_Segment], total: int, row_bytes: int, around: Around, path: Path) -> int:
    """Return where DATA begins by what lies around it; refuse where that is nowhere, or in two places."""
    need, ends = total * row_bytes, around.ends()
    begins = {segment.begin for segment in pairs}
    begins |= {segment.end - need + 1 for segment in pairs if segment.end > 0}
    begins.add(around.text_end + 1)
    possible = sorted(begin for begin in begins if begin > around.text_end and begin + need in ends)
    if len(possible) == 1:
        return possible[0]
    what = _why_nowhere(pairs, total, row_bytes, around)
    if possible:
        what += f"; DATA may begin at byte {' or '.join(map(str, possible))}"
    raise FcsError(what, where=str(path), fix=f"export the file again; it has {around.available} bytes")


def _why_nowhere(pairs: Sequence[_Segment], total: int, row_bytes: int, around: Around) -> str:
    """Say why DATA is at none of the stated places."""
    need = total * row_bytes
    stated = [segment for segment in pairs if segment.begin or segment.end]
    within = [segment for segment in stated if segment.begin > 0 and not around.free(segment.begin, need)]
    if within and around.overran:
        return (
            f"TEXT goes on up to byte {around.text_end}, so DATA cannot begin at byte {within[0].begin} "
            f"({_listed(stated)})"
        )
    if within and all(segment.n_bytes == need for segment in stated):
        return f"DATA is said to begin at byte {within[0].begin}, within TEXT, which ends at byte {around.text_end}"
    return (
        f"no pair of DATA offsets fits: $TOT {total} x {row_bytes} bytes per event = {need} bytes, "
        f"but {_listed(stated) or 'neither HEADER nor TEXT gives offsets'}"
    )


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


# Bytes that writers fill gaps with.
_PADDING: Final = b" \0\r\n\t"
# What is moved by mistake is moved by few bytes; more of them belong to a segment that nothing declares.
_FEW: Final = 24
_ZEROS_OF_VALUES: Final = 16
DOUBT: Final = "the file may be misread: "


def offset_doubts(begin: int, n_bytes: int, gap: bytes, tail: bytes, around: Around) -> list[str]:
    """Return why DATA may lie a few bytes beside the place that offsets of the right length give.

    Writers fill gaps with blanks or zeros, and DATA is followed by nothing, by eight characters of CRC, or by a
    segment that TEXT declares. Other bytes before DATA, or a few behind it, are values that the offsets miss.

    Parameters
    ----------
    begin, n_bytes
        DATA as it is read.
    gap
        The bytes between TEXT and DATA.
    tail
        The bytes between DATA and the next segment or the end of the file.
    around
        What lies around DATA.
    """
    doubts = []
    end = begin + n_bytes
    if begin > around.text_end and not any(around.text_end < first < begin for first, _ in around.segments):
        if gap.strip(_PADDING):
            doubts.append(
                f"bytes {around.text_end + 1} to {begin - 1} between TEXT and DATA are neither blank nor zero, so DATA "
                "may begin earlier"
            )
        elif (
            0 < len(gap) <= _ZEROS_OF_VALUES
            and not gap.strip(b"\0")
            and len(tail) < CRC_BYTES
            and begin % CRC_BYTES
        ):
            doubts.append(
                f"the {len(gap)} zero bytes between TEXT and DATA may be values, so DATA may begin earlier"
            )
    rest = tail.rstrip(_PADDING)
    is_crc = len(rest) == CRC_BYTES and rest.isalnum()
    if 0 < len(rest) <= _FEW and not is_crc:
        doubts.append(
            f"{len(rest)} bytes from byte {end} on are in no segment, so DATA may begin later than at byte {begin}"
        )
    if any(first < end and begin <= last for first, last in around.segments):
        doubts.append(f"DATA at bytes {begin} to {end - 1} overlaps another segment")
    return [DOUBT + doubt for doubt in doubts]
