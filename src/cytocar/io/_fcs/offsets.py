"""Where the events of an FCS file lie, when HEADER and TEXT say different things."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cytocar._core.errors import FcsError

# HEADER offsets have eight characters.
LARGEST_OFFSET: Final = 99_999_999


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
    tolerances: list[str] = []
    given = [
        (name, pair)
        for name, pair in (("HEADER", in_header), ("TEXT", in_text))
        if pair[0] > 0 and pair[1] >= pair[0] - 1
    ]
    if total is None:
        lengths = {pair[1] - pair[0] + 1 for _, pair in given}
        late = {length - 1 for length in lengths}
        counts = {length // row_bytes for length in (lengths | late) if length % row_bytes == 0}
        if len(counts) != 1:
            raise FcsError(
                f"$TOT is missing, and the DATA segment ({_pairs(given)}) is no multiple of the "
                f"{row_bytes} bytes of an event",
                where=str(path),
            )
        total = counts.pop()
        tolerances.append(f"$TOT is missing: {total} events counted from the length of DATA")
    need = total * row_bytes
    if need == 0:
        return max(in_header[0], in_text[0], 0), 0, 0, tolerances
    exact = [(name, pair) for name, pair in given if pair[1] - pair[0] + 1 == need]
    late_by_one = [(name, pair) for name, pair in given if pair[1] - pair[0] == need]
    fitting = exact or late_by_one
    if not fitting:
        raise FcsError(
            f"no pair of DATA offsets fits: $TOT {total} x {row_bytes} bytes an event = {need} bytes, "
            f"but {_pairs(given) or 'neither HEADER nor TEXT gives offsets'}",
            where=str(path),
            fix=f"the file has {available} bytes",
        )
    within = [(name, pair) for name, pair in fitting if pair[0] + need <= available]
    begins = {pair[0] for _, pair in (within or fitting)}
    if len(begins) > 1:
        raise FcsError(
            f"HEADER and TEXT give different DATA offsets of the right length ({_pairs(given)}",
            where=str(path),
            fix=f"{need} bytes are due): which one holds the events cannot be told",
        )
    begin = begins.pop()
    if not exact:
        tolerances.append(
            f"DATA ends one byte late ({_pairs(given)}; {need} bytes are due), as DVS and Cytobank write it"
        )
    name = (within or fitting)[0][0]
    others = [entry for entry in given if entry not in (within or fitting)]
    if exact and others:
        tolerances.append(
            f"DATA offsets disagree ({_pairs(given)}): {name} fits the {need} bytes that are due"
        )
    elif not exact and others:
        tolerances.append(f"DATA offsets disagree ({_pairs(given)}): {name} was taken")
    if in_header[0] <= 0 and begin + need - 1 <= LARGEST_OFFSET:
        tolerances.append(
            f"HEADER leaves the DATA offsets empty though they would fit: {begin} to {begin + need - 1} from TEXT"
        )
    return begin, need, total, tolerances


def delimited_segment(in_header: tuple[int, int], in_text: tuple[int, int], path: Path) -> tuple[int, int]:
    """Return begin and length of a segment of delimited ASCII, whose length nothing else tells."""
    for begin, end in (in_header, in_text):
        if 0 < begin <= end:
            return begin, end - begin + 1
    raise FcsError(
        "neither HEADER nor TEXT gives offsets of the delimited ASCII DATA segment", where=str(path)
    )


def _pairs(given: list[tuple[str, tuple[int, int]]]) -> str:
    return ", ".join(f"{name} {pair[0]} to {pair[1]} = {pair[1] - pair[0] + 1} bytes" for name, pair in given)
