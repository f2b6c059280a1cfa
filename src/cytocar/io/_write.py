"""Writing FCS 3.1: float32, little-endian, every keyword kept, read back as it was."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from cytocar._core.errors import FcsError, ParameterError
from cytocar._core.files import replacing
from cytocar.io._fcs_header import LARGEST_OFFSET
from cytocar.io._fcs_text import format_text

_HEADER_BYTES: Final = 58
_BLOCK_BYTES: Final = 8 << 20
# Keywords that describe the layout of the file itself; they are computed anew, never copied.
_LAYOUT: Final = frozenset(
    {
        "$BEGINANALYSIS",
        "$BEGINDATA",
        "$BEGINSTEXT",
        "$BYTEORD",
        "$DATATYPE",
        "$ENDANALYSIS",
        "$ENDDATA",
        "$ENDSTEXT",
        "$MODE",
        "$NEXTDATA",
        "$PAR",
        "$TOT",
        "$UNICODE",
    }
)
# $P3V, P3DISPLAY, @P3X: what belongs to a column moves with it.
_OF_CHANNEL: Final = re.compile(r"^([^A-Z]?)P(\d+)([A-Z].*)$")
_LAYOUT_OF_CHANNEL: Final = frozenset({"N", "S", "B", "E", "DATATYPE"})


def write_events(
    path: str | os.PathLike[str],
    events: npt.NDArray[Any],
    channels: Sequence[tuple[str, str]],
    keywords: Mapping[str, str] | None = None,
) -> None:
    """Write a matrix of events as FCS 3.1 (float32, little-endian), through a temporary file.

    Keywords that describe the layout are computed; all others are kept, and those of a channel (`$P3V`,
    `P3DISPLAY`) follow the channel of the same `$PnN` to its new column. `$PnR` stays where it holds all
    values, else it is the next whole number above the maximum; `$PnE` is `0,0`. DATA beyond byte
    99,999,999 has 0 in HEADER and its offsets in TEXT. Rows are converted in blocks of 8 MB: there is no
    full copy. Reference: Spidlen 2010, Cytometry A 77:97, doi:10.1002/cyto.a.20825.

    Parameters
    ----------
    path
        Where to; the folder must exist.
    events
        n_events x n_channels, numbers; stored as float32.
    channels
        (`$PnN`, `$PnS`) per column; `$PnN` not empty and each once, `$PnS` may be empty.
    keywords
        Further keywords with their values, as `FcsHeader.keywords` has them.

    Raises
    ------
    ParameterError
        The matrix does not fit the channels, or a channel name is empty or repeated.
    FcsError
        The keywords cannot be written: they use every character that could separate them.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.fcs"
    >>> write_events(file, np.ones((3, 1)), [("Yb171Di", "171Yb_CD3")], {"$CYT": "Helios"})
    >>> file.read_bytes()[:6]
    b'FCS3.1'
    """
    names = [name.strip() for name, _ in channels]
    if events.ndim != 2 or events.shape[1] != len(names):
        raise ParameterError(
            f"events have shape {events.shape}, but {len(names)} channels are named; one column a channel is due"
        )
    if not names or not all(names):
        raise ParameterError(f"channel names are {names}; at least one, and none of them empty, is due")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ParameterError(f"channel names are there more than once: {', '.join(repeated)}")

    step = max(1, _BLOCK_BYTES // (4 * len(names)))
    text = _text(names, channels, keywords or {}, _maxima(events, step), len(events))
    head, text_bytes = _layout(text, n_bytes=4 * events.size)
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        stream.write(head)
        stream.write(text_bytes)
        for start in range(0, len(events), step):
            _write_block(stream, events[start : start + step])
        # FCS 3.1 ends with eight characters of CRC; zeros say that none was computed.
        stream.write(b"00000000")


def _write_block(stream: BinaryIO, block: npt.NDArray[Any]) -> None:
    stream.write(np.ascontiguousarray(block, dtype="<f4").view(np.uint8).data)


def _maxima(events: npt.NDArray[Any], step: int) -> npt.NDArray[np.float64]:
    """Return the largest finite value of each column, 0 where there is none above it."""
    largest = np.zeros(events.shape[1])
    for start in range(0, len(events), step):
        block = events[start : start + step]
        # fmax passes over NaN without masking; infinities are rare enough to be handled when they occur.
        top = np.fmax.reduce(block, axis=0, initial=0)
        if not np.isfinite(top).all():
            top = np.where(np.isfinite(block), block, 0).max(axis=0)
        largest = np.maximum(largest, top)
    return largest


def _text(
    names: list[str],
    channels: Sequence[tuple[str, str]],
    keywords: Mapping[str, str],
    largest: npt.NDArray[np.float64],
    n_events: int,
) -> dict[str, str]:
    """Return all keywords but the offsets of DATA."""
    kept = {key.strip().upper(): str(value) for key, value in keywords.items() if key.strip()}
    columns = {
        kept[key].strip(): int(match[2])
        for key in kept
        if (match := _OF_CHANNEL.match(key)) and match[1] == "$" and match[3] == "N"
    }
    # Without names in the keywords, $P3V is about the third column.
    moved = {(columns.get(name) if columns else n): n for n, name in enumerate(names, 1)}
    text = {
        "$BEGINANALYSIS": "0",
        "$ENDANALYSIS": "0",
        "$BEGINSTEXT": "0",
        "$ENDSTEXT": "0",
        "$NEXTDATA": "0",
        "$BYTEORD": "1,2,3,4",
        "$DATATYPE": "F",
        "$MODE": "L",
        "$PAR": str(len(names)),
        "$TOT": str(n_events),
    }
    for n, (name, (_, long)) in enumerate(zip(names, channels, strict=True), 1):
        text[f"$P{n}N"] = name
        if long.strip():
            text[f"$P{n}S"] = long.strip()
        text[f"$P{n}B"] = "32"
        text[f"$P{n}E"] = "0,0"
        text[f"$P{n}R"] = str(max(1, int(np.floor(largest[n - 1])) + 1))
    for key, value in kept.items():
        match = _OF_CHANNEL.match(key)
        known = columns.values() if columns else moved
        if match is None or (match[1] != "$" and int(match[2]) not in known):
            if key not in _LAYOUT:
                text[key] = value
            continue
        column = moved.get(int(match[2]))
        if column is None or (match[1] == "$" and match[3] in _LAYOUT_OF_CHANNEL):
            continue
        moved_key = f"{match[1]}P{column}{match[3]}"
        if moved_key == f"$P{column}R" and not _holds(value, largest[column - 1]):
            continue
        text[moved_key] = value
    return text


def _holds(limit: str, largest: float) -> bool:
    try:
        return float(limit) >= max(largest, 1)
    except ValueError:
        return False


def _layout(text: dict[str, str], *, n_bytes: int) -> tuple[bytes, bytes]:
    """Return HEADER and TEXT with the offsets of DATA, which depend on the length of TEXT itself."""
    begin = 0
    while True:
        first, last = (begin, begin + n_bytes - 1) if n_bytes else (0, 0)
        text_bytes = format_text({"$BEGINDATA": str(first), "$ENDDATA": str(last), **text})
        due = _HEADER_BYTES + len(text_bytes)
        if due <= begin:
            # A longer TEXT needed one more digit than a shorter one leaves: fill up with blanks.
            text_bytes += b" " * (begin - due)
            break
        begin = due
    if begin > LARGEST_OFFSET:
        raise FcsError(
            f"the keywords take {len(text_bytes)} bytes; TEXT must end before byte {LARGEST_OFFSET}"
        )
    in_header = (first, last) if last <= LARGEST_OFFSET else (0, 0)
    offsets = (_HEADER_BYTES, begin - 1, *in_header, 0, 0)
    return b"FCS3.1    " + b"".join(b"%8d" % offset for offset in offsets), text_bytes
