"""The header of an FCS file: version, keywords, channels, and where the events lie."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

from cytocar._core.errors import FcsError, ParameterError
from cytocar.io._fcs.extent import TextSegment, find_text
from cytocar.io._fcs.offsets import DOUBT, LOCATED, Around, delimited_segment, offset_doubts, place_data
from cytocar.io._fcs.packed import open_fcs
from cytocar.io._fcs.text import parse_text

VERSIONS: Final = ("2.0", "3.0", "3.1", "3.2")
HEADER_BYTES: Final = 58
# How many bytes of a gap are looked at.
_MOST_BETWEEN: Final = 1 << 20
# Width of a value of each floating type.
_BITS: Final = {"F": 32, "D": 64}


@dataclass(frozen=True)
class Channel:
    """One column of an FCS file, as the file declares it.

    Parameters
    ----------
    pnn
        Short name (`$PnN`), without blanks around it.
    pns
        Long name (`$PnS`), empty where the file has none.
    bits
        Width of a value in bits (`$PnB`); for ASCII data characters, 0 where values are delimited.
    range
        Declared range (`$PnR`), 0 where the file has none.
    datatype
        `I`, `F`, `D` or `A`: `$PnDATATYPE` of FCS 3.2 where given, else `$DATATYPE`.
    """

    pnn: str
    pns: str
    bits: int
    range: float
    datatype: str


@dataclass(frozen=True)
class FcsHeader:
    """Everything an FCS file says about itself, with the offsets that fit its events.

    Parameters
    ----------
    path
        The file.
    version
        `"2.0"`, `"3.0"`, `"3.1"` or `"3.2"`.
    keywords
        TEXT and supplemental TEXT; keys in upper case with their `$`, values as written.
    channels
        In column order.
    n_events
        Rows.
    byte_order
        Significance of each stored byte, 1 the lowest, such as `(1, 2, 3, 4)` for little-endian.
    data_begin
        Offset of the first byte of DATA from the start of the file.
    data_bytes
        Length of DATA; for delimited ASCII the length of the segment.
    file_bytes
        Length of the file.
    tolerances
        Every departure from the standard that was read all the same, one sentence each.
    data_set
        Which data set of the file this is, from 0.
    n_data_sets
        How many the file has.
    """

    path: Path
    version: str
    keywords: dict[str, str]
    channels: tuple[Channel, ...]
    n_events: int
    byte_order: tuple[int, ...]
    data_begin: int
    data_bytes: int
    file_bytes: int
    tolerances: tuple[str, ...]
    data_set: int
    n_data_sets: int

    @property
    def missing_bytes(self) -> int:
        """How many bytes of DATA lie beyond the end of the file; 0 for a whole file."""
        return max(0, self.data_begin + self.data_bytes - self.file_bytes) if self.data_bytes else 0

    @property
    def names(self) -> list[tuple[str, str]]:
        """The pairs (`$PnN`, `$PnS`) of all channels, in column order."""
        return [(channel.pnn, channel.pns) for channel in self.channels]


def read_header(
    path: str | os.PathLike[str], *, data_set: int = 0, allow_truncated: bool = False
) -> FcsHeader:
    """Read version, keywords, channels and offsets of an FCS file (2.0, 3.0, 3.1, 3.2) without its events.

    Where HEADER and TEXT give different offsets for DATA, or an end that is one byte late (DVS and Cytobank
    writers), the pair is taken whose length is `$TOT` x sum of `$PnB` / 8. Files above 99,999,999 bytes have
    0 in HEADER and the offsets in TEXT. Every tolerance taken stands in `FcsHeader.tolerances`.
    Reference: Spidlen 2010, Cytometry A 77:97, doi:10.1002/cyto.a.20825 (FCS 3.1).

    Parameters
    ----------
    path
        An FCS file.
    data_set
        Which data set of a file with several (`$NEXTDATA`), from 0.
    allow_truncated
        Return the header of a file that ends before its events do, instead of refusing it.

    Returns
    -------
    The header.

    Raises
    ------
    FcsError
        Not FCS, a required keyword is missing, no pair of offsets fits, or the file ends too early.
    ParameterError
        The file has no such data set.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from cytocar.io._fcs.write import write_events
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.fcs"
    >>> write_events(file, np.ones((3, 2), np.float32), [("Time", ""), ("Yb171Di", "171Yb_CD3")])
    >>> header = read_header(file)
    >>> header.version, header.n_events, header.channels[1].pns
    ('3.1', 3, '171Yb_CD3')
    """
    path = Path(path)
    if path.is_dir():
        raise FcsError(
            "this is a folder", where=str(path), fix=f"name the FCS files in it, such as {path}/*.fcs"
        )
    if data_set < 0:
        raise ParameterError(f"data_set is {data_set}", fix="data sets are counted from 0")
    try:
        with BufferedReader(open_fcs(path)) as stream:
            file_bytes = stream.seek(0, os.SEEK_END)
            header, n_data_sets = None, 0
            extra: list[str] = []
            start = 0
            # The chain of data sets is walked to its end, so that a file never hides some of them.
            while True:
                if n_data_sets == data_set:
                    header = _read_data_set(stream, path, start, file_bytes, data_set)
                    keywords = header.keywords
                else:
                    keywords = _read_keywords(stream, path, start, file_bytes).keywords
                n_data_sets += 1
                following = _integer(keywords.get("$NEXTDATA", "0") or "0")
                if not following:
                    break
                start += following
                stream.seek(min(max(start, 0), file_bytes))
                if following < 0 or stream.read(3) != b"FCS":
                    extra.append(
                        f"$NEXTDATA {following} leads to byte {start}, where no data set begins: ignored"
                    )
                    break
    except OSError as error:
        raise FcsError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    if header is None:
        raise ParameterError(
            f"data_set is {data_set}, but the file has {n_data_sets} (counted from 0)", where=str(path)
        )
    header = replace(header, tolerances=(*header.tolerances, *extra), n_data_sets=n_data_sets)
    if header.missing_bytes and not allow_truncated:
        raise truncated(header)
    return header


def truncated(header: FcsHeader) -> FcsError:
    """Return the error that says how much of DATA is missing from a truncated file."""
    there = max(0, header.file_bytes - header.data_begin)
    row = header.data_bytes // header.n_events if header.n_events else 0
    whole = there // row if row else 0
    return FcsError(
        f"the file is truncated: {header.n_events} events need {header.data_bytes} bytes from "
        f"byte {header.data_begin} on, but the file of {header.file_bytes} bytes holds {there} of them "
        f"({whole} whole events)",
        where=str(header.path),
        fix="copy or export it again",
    )


def _shown(raw: bytes) -> str:
    """Return the first bytes of a file as a person would type them."""
    if not raw:
        return "nothing"
    text = raw.decode("latin-1")
    return repr(text) if text.isprintable() else f"the bytes {raw.hex(' ')}"


@dataclass(frozen=True)
class _Texts:
    """What HEADER and TEXT of a data set say."""

    version: str
    keywords: dict[str, str]
    tolerances: list[str]
    in_header: tuple[int, int]
    analysis: tuple[int, int]
    text: TextSegment


def _read_keywords(stream: BinaryIO, path: Path, start: int, file_bytes: int) -> _Texts:
    """Return HEADER, TEXT and supplemental TEXT of the data set at `start`."""
    stream.seek(start)
    head = stream.read(HEADER_BYTES)
    if head[:3] != b"FCS":
        raise FcsError(
            f"not an FCS file: it begins with {_shown(head[:6])}, expected 'FCS3.0' or the like",
            where=str(path),
        )
    version = head[3:6].decode("latin-1")
    if version not in VERSIONS:
        raise FcsError(
            f"FCS version {version!r} is not supported",
            where=str(path),
            fix=f"supported are {', '.join(VERSIONS)}",
        )
    if len(head) < 26:
        raise FcsError(f"HEADER ends after {len(head)} bytes", where=str(path), fix=f"it has {HEADER_BYTES}")
    (text_begin, text_end), (data_begin, data_end), analysis = _header_offsets(head, path)
    if not 0 < text_begin <= text_end or start + text_begin >= file_bytes:
        raise FcsError(
            f"HEADER puts TEXT at bytes {text_begin} to {text_end}, which is not within the file of "
            f"{file_bytes} bytes",
            where=str(path),
        )
    if start + text_end >= file_bytes:
        raise FcsError(
            f"the file ends within TEXT: HEADER puts it at bytes {text_begin} to {text_end}, the file "
            f"has {file_bytes}",
            where=str(path),
        )
    text = find_text(stream, start, (text_begin, text_end), data_begin)
    keywords, taken = parse_text(text.raw)
    if data_begin <= 0 and (stated := _integer(keywords.get("$BEGINDATA", ""))) > 0:
        text = find_text(stream, start, (text_begin, text_end), stated)
        keywords, taken = parse_text(text.raw)
    tolerances = [*text.tolerances, *taken]
    more, taken = _supplement(stream, start, text, keywords, file_bytes)
    keywords, tolerances = {**more, **keywords}, tolerances + taken
    return _Texts(version, keywords, tolerances, (data_begin, data_end), analysis, text)


def _supplement(
    stream: BinaryIO, start: int, text: TextSegment, keywords: dict[str, str], file_bytes: int
) -> tuple[dict[str, str], list[str]]:
    """Return the keywords of supplemental TEXT, and what was tolerated; a place that cannot be is said."""
    stated = [keywords.get(key, "").strip() for key in ("$BEGINSTEXT", "$ENDSTEXT")]
    begin, end = map(_integer, stated)
    if begin == text.begin or not any(value.strip("0") for value in stated):
        return {}, []
    where = f"supplemental TEXT at bytes {stated[0] or 'not stated'} to {stated[1] or 'not stated'}"
    if not 0 < begin < end or start + end >= file_bytes:
        return {}, [
            f"{where} is no place in the file of {file_bytes} bytes: ignored, its keywords are missing"
        ]
    stream.seek(start + begin)
    supplement = stream.read(end - begin + 1)
    if supplement[:1] != text.raw[:1]:
        return {}, [f"{where} does not begin with the delimiter of TEXT {text.raw[:1]!r}: ignored"]
    return parse_text(supplement, segment="supplemental TEXT")


def _header_offsets(head: bytes, path: Path) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return first and last byte of TEXT, of DATA and of ANALYSIS."""
    offsets = []
    for position, name in ((10, "begin"), (18, "end"), (26, "DATA begin"), (34, "DATA end")):
        text = head[position : position + 8].decode("latin-1").strip(" \0")
        if text and not re.fullmatch(r"-?[0-9]+", text):
            raise FcsError(f"HEADER has {text!r} where the {name} offset should be a number", where=str(path))
        offsets.append(int(text or 0))
    # ANALYSIS is not read: what is not a number there counts as none.
    analysis = (_integer(head[42:50].decode("latin-1")), _integer(head[50:58].decode("latin-1")))
    return (offsets[0], offsets[1]), (offsets[2], offsets[3]), analysis


def _read_data_set(stream: BinaryIO, path: Path, start: int, file_bytes: int, data_set: int) -> FcsHeader:
    texts = _read_keywords(stream, path, start, file_bytes)
    keywords, tolerances = texts.keywords, texts.tolerances
    mode = _required(keywords, "$MODE", path, tolerances, default="L").upper()
    if mode != "L":
        raise FcsError(
            f"$MODE is {mode!r}: histograms hold no events",
            where=str(path),
            fix="only list mode 'L' can be read",
        )
    datatype = _required(keywords, "$DATATYPE", path).upper()
    byte_order = _byte_order(_required(keywords, "$BYTEORD", path), path)
    channels = _channels(keywords, datatype, path, tolerances)
    total_text = keywords.get("$TOT", "").strip()
    total = None if not total_text else _number(total_text, "$TOT", path)
    delimited = datatype == "A" and any(channel.bits == 0 for channel in channels)
    row_bytes = _row_bytes(channels, path)
    in_text = (_integer(keywords.get("$BEGINDATA", "")), _integer(keywords.get("$ENDDATA", "")))
    if delimited:
        begin, n_bytes = delimited_segment(texts.in_header, in_text, path)
        if total is None:
            raise FcsError(
                "$TOT is missing, and the number of events cannot be determined without it", where=str(path)
            )
    else:
        around = _around(stream, texts, start, file_bytes)
        begin, n_bytes, total, taken = place_data(
            texts.in_header, in_text, row_bytes=row_bytes, total=total, around=around, path=path
        )
        tolerances += taken
        doubts = _doubts(stream, start, begin, n_bytes, around) if n_bytes else []
        if doubts and any(note.startswith(LOCATED) for note in taken):
            raise FcsError(
                f"{taken[-1]}, but {doubts[0].removeprefix(DOUBT)}",
                where=str(path),
                fix="export the file again",
            )
        tolerances += doubts
    return FcsHeader(
        path=path,
        version=texts.version,
        keywords=keywords,
        channels=channels,
        n_events=total,
        byte_order=byte_order,
        data_begin=start + begin,
        data_bytes=n_bytes,
        file_bytes=file_bytes,
        tolerances=tuple(tolerances),
        data_set=data_set,
        n_data_sets=1,
    )


def _around(stream: BinaryIO, texts: _Texts, start: int, file_bytes: int) -> Around:
    """Return what lies around DATA, by offsets from the start of the data set."""
    keywords, available = texts.keywords, file_bytes - start
    segments = [
        texts.analysis,
        *(
            (_integer(keywords.get(f"$BEGIN{name}", "")), _integer(keywords.get(f"$END{name}", "")))
            for name in ("ANALYSIS", "STEXT")
        ),
    ]
    following = _integer(keywords.get("$NEXTDATA", ""))
    if 0 < following < available:
        stream.seek(start + following)
        if stream.read(3) == b"FCS":
            segments.append((following, available - 1))
    return Around(
        text_begin=texts.text.begin,
        text_end=texts.text.end,
        overran=texts.text.goes_on,
        overran_surely=texts.text.is_sure,
        available=available,
        segments=tuple((first, last) for first, last in segments if 0 < first <= last),
    )


def _doubts(stream: BinaryIO, start: int, begin: int, n_bytes: int, around: Around) -> list[str]:
    """Return why DATA may lie elsewhere, by the bytes before and behind it."""
    end = begin + n_bytes
    others = [around.text_begin, *(first for first, _ in around.segments)]
    stop = min([around.available, *(first for first in others if first >= end)])
    stream.seek(start + around.text_end + 1)
    gap = stream.read(min(max(begin - around.text_end - 1, 0), _MOST_BETWEEN))
    stream.seek(start + end)
    tail = stream.read(min(max(stop - end, 0), _MOST_BETWEEN))
    return offset_doubts(begin, n_bytes, gap, tail, around)


def _channels(
    keywords: dict[str, str], datatype: str, path: Path, tolerances: list[str]
) -> tuple[Channel, ...]:
    if datatype not in ("I", "F", "D", "A"):
        raise FcsError(f"$DATATYPE is {datatype!r}", where=str(path), fix="known are I, F, D and A")
    count = _number(_required(keywords, "$PAR", path), "$PAR", path)
    if count < 1:
        raise FcsError(f"$PAR is {count}", where=str(path), fix="a file has at least one channel")
    if count > len(keywords):
        raise FcsError(
            f"$PAR is {count}, but TEXT has only {len(keywords)} keywords, and each channel needs its $PnB",
            where=str(path),
        )
    missing = [f"$P{n}B" for n in range(1, count + 1) if f"$P{n}B" not in keywords]
    if missing:
        raise FcsError(
            f"$PAR is {count}, but {', '.join(missing[:5])} {'is' if len(missing) == 1 else 'are'} missing",
            where=str(path),
            fix="a channel cannot be read without its width",
        )
    channels = tuple(_channel(keywords, n, datatype, path) for n in range(1, count + 1))
    unnamed = [f"$P{n}N" for n in range(1, count + 1) if not keywords.get(f"$P{n}N", "").strip()]
    if unnamed:
        tolerances.append(f"{', '.join(unnamed[:5])} missing: the channels are called P1, P2, ...")
    unranged = [f"$P{n}R" for n, channel in enumerate(channels, 1) if channel.range <= 0]
    if unranged:
        tolerances.append(
            f"{', '.join(unranged[:5])} missing or not a positive number: no bit mask is applied"
        )
    return channels


def _channel(keywords: dict[str, str], n: int, datatype: str, path: Path) -> Channel:
    own = keywords.get(f"$P{n}DATATYPE", "").strip().upper() or datatype
    if own not in ("I", "F", "D", "A"):
        raise FcsError(f"$P{n}DATATYPE is {own!r}", where=str(path), fix="known are I, F and D")
    width = keywords[f"$P{n}B"].strip()
    bits = 0 if own == "A" and width == "*" else _number(width, f"$P{n}B", path)
    if own in _BITS and bits != _BITS[own]:
        raise FcsError(f"$P{n}B is {bits}, but values of type {own} have {_BITS[own]} bits", where=str(path))
    if own == "I" and (bits < 8 or bits > 64 or bits % 8):
        raise FcsError(
            f"$P{n}B is {bits}",
            where=str(path),
            fix="integers of 8, 16, 24, 32, 40, 48, 56 and 64 bits can be read",
        )
    name = keywords.get(f"$P{n}N", "").strip() or f"P{n}"
    limit = _range(keywords.get(f"$P{n}R", ""))
    return Channel(name, keywords.get(f"$P{n}S", "").strip(), bits, limit, own)


def _row_bytes(channels: tuple[Channel, ...], path: Path) -> int:
    # The width of fixed-width ASCII is counted in characters.
    kinds = {channel.datatype for channel in channels}
    if "A" in kinds and len(kinds) > 1:
        raise FcsError(f"$PnDATATYPE mixes ASCII with {', '.join(sorted(kinds - {'A'}))}", where=str(path))
    return sum(channel.bits if channel.datatype == "A" else channel.bits // 8 for channel in channels)


def _byte_order(text: str, path: Path) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if all(part.isdigit() for part in parts):
        order = tuple(int(part) for part in parts)
        if sorted(order) == list(range(1, len(order) + 1)):
            return order
    raise FcsError(f"$BYTEORD is {text!r}", where=str(path), fix="it should be like '1,2,3,4' or '4,3,2,1'")


def _required(
    keywords: dict[str, str],
    key: str,
    path: Path,
    tolerances: list[str] | None = None,
    default: str | None = None,
) -> str:
    value = keywords.get(key, "").strip()
    if value:
        return value
    if default is not None and tolerances is not None:
        tolerances.append(f"{key} is missing: taken as {default}")
        return default
    raise FcsError(
        f"the required keyword {key} is missing ({len(keywords)} keywords were found in TEXT)",
        where=str(path),
    )


def _number(text: str, key: str, path: Path) -> int:
    try:
        number = int(text.strip())
    except ValueError:
        raise FcsError(f"{key} is {text!r}", where=str(path), fix="it should be a whole number") from None
    if number < 0:
        raise FcsError(f"{key} is {number}", where=str(path), fix="it should be at least 0")
    return number


def _integer(text: str) -> int:
    """Return an offset, 0 for what is not a number: an offset that is not there."""
    try:
        return int(text.strip())
    except ValueError:
        return 0


def _range(text: str) -> float:
    try:
        number = float(text.strip())
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0
