"""Where TEXT really ends: up to its own delimiter, whatever end HEADER declares."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO, Final

from cytocar.io._fcs.text import is_complete

# How far behind its declared end TEXT is looked for.
_LOOK_AHEAD: Final = 1 << 20
# The last keyword may have lost its delimiter, and a value of DATA may spell one: so many are tried.
_MOST_STEPS: Final = 16
# Four bytes of DATA that read as text up to a delimiter are a chance of 1 in 10,000; one to three are not rare.
_SURE: Final = 4
_KEY: Final = re.compile(rb"[$#&@]?[A-Za-z][A-Za-z0-9_ .$#-]{2,}")


@dataclass(frozen=True)
class TextSegment:
    """The TEXT segment as it was found.

    Parameters
    ----------
    raw
        Its bytes, the first the delimiter.
    begin, end
        Offset of its first and last byte from the start of the data set.
    goes_on
        How many bytes of it lie behind its declared end.
    tolerances
        What was tolerated.
    """

    raw: bytes
    begin: int
    end: int
    goes_on: int
    tolerances: tuple[str, ...]

    @property
    def is_sure(self) -> bool:
        """Whether the bytes behind the declared end cannot be values of DATA that look like text."""
        return self.goes_on >= _SURE


def find_text(stream: BinaryIO, start: int, declared: tuple[int, int], data_begin: int) -> TextSegment:
    """Read TEXT up to its own end.

    Writers count TEXT in characters and write it in bytes, so that it goes on past the end that HEADER declares; or
    they end it late, with the first bytes of DATA in it. What the delimiters say counts.

    Parameters
    ----------
    stream
        The file.
    start
        Where the data set begins.
    declared
        First and last byte of TEXT by HEADER, both within the file.
    data_begin
        First byte of DATA by HEADER, 0 where it says none.
    """
    begin, end = declared
    stream.seek(start + begin)
    raw = stream.read(end - begin + 1)
    following = stream.read(_LOOK_AHEAD)
    if begin < data_begin <= end:
        head, rest = raw[: data_begin - begin], raw[data_begin - begin :]
        if is_complete(head) and not _continuation(head, rest + following):
            if len(rest) == 1:
                late = f"TEXT ends one byte late, at byte {end}, where DATA begins"
            else:
                late = f"TEXT ends {len(rest)} bytes late, at byte {end}: DATA begins at byte {data_begin}"
            return TextSegment(head, begin, data_begin - 1, 0, (late,))
    more = _continuation(raw, following)
    if more and data_begin == end + 1 and is_complete(raw) and not _begins_with_keyword(more, raw[:1]):
        # A whole TEXT with DATA right behind it: values may spell anything but a keyword.
        more = b""
    if not more:
        return TextSegment(raw, begin, end, 0, ())
    note = f"TEXT goes on past its declared end at byte {end}: read up to its own, at byte {end + len(more)}"
    return TextSegment(raw + more, begin, end + len(more), len(more), (note,))


def _continuation(raw: bytes, following: bytes) -> bytes:
    """Return the bytes behind `raw` that complete it, or that are further pairs of keyword and value."""
    delimiter = raw[:1]
    run = following[: _length_of_text(following, delimiter)]
    if is_complete(raw) and run[:1] in (b"", b" ", b"\r", b"\n", b"\t", delimiter):
        return b""
    for _ in range(_MOST_STEPS):
        last = run.rfind(delimiter)
        if last < 0:
            return b""
        if is_complete(raw + run[: last + 1]):
            return run[: last + 1]
        run = run[:last]
    return b""


def _begins_with_keyword(text: bytes, delimiter: bytes) -> bool:
    """Return whether a text is pairs of which the first has a key as people write it, and no byte that they do not."""
    key, _, rest = text.partition(delimiter)
    return (
        bool(_KEY.fullmatch(key))
        and bool(rest)
        and all(0x20 <= byte < 0x7F for byte in text.replace(delimiter, b""))
    )


def _length_of_text(data: bytes, delimiter: bytes) -> int:
    """Return how many bytes from the first on can be text: no control characters but the delimiter and line ends."""
    allowed = bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)) + b"\t\r\n" + delimiter
    rest = data.lstrip(allowed)
    return len(data) - len(rest)
