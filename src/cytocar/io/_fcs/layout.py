"""The front of an FCS file to be written: its keywords, and HEADER and TEXT with the offsets of DATA."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from cytocar._core.errors import FcsError
from cytocar.io._fcs.header import HEADER_BYTES
from cytocar.io._fcs.offsets import LARGEST_OFFSET
from cytocar.io._fcs.text import format_text

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
# $P3V, P3DISPLAY, @P3X, FLOWCORE_$P3RMAX: what belongs to a column moves with it.
_OF_CHANNEL: Final = re.compile(r"^((?:[A-Z]+_)?[^A-Z]?)P(\d+)([A-Z].*)$")
# $DFC1TO3: compensation by the numbers of two columns; $COMP: by those of the first ones.
_OF_PAIR: Final = re.compile(r"^\$DFC(\d+)TO(\d+)$")
_BY_POSITION: Final = "$COMP"
_LAYOUT_OF_CHANNEL: Final = frozenset({"N", "S", "B", "E", "DATATYPE"})


def build_text(
    names: list[str],
    channels: Sequence[tuple[str, str]],
    keywords: Mapping[str, str],
    largest: npt.NDArray[np.float64],
    n_events: int,
) -> dict[str, str]:
    """Return all keywords but the offsets of DATA.

    Parameters
    ----------
    names
        `$PnN` of each column; as often as in `keywords` where it is there more than once.
    channels
        (`$PnN`, `$PnS`) of each column.
    keywords
        Keywords to keep; what is in them about the layout is computed anew.
    largest
        The largest value of each column.
    n_events
        Rows.
    """
    kept = {key.strip().upper(): str(value) for key, value in keywords.items() if key.strip()}
    text = _computed(names, channels, largest, n_events)
    before = _numbers_of_names(kept)
    # Without names in the keywords, $P3V is about the third column.
    moved = _moved(names, channels, before, kept) if before else {n: n for n in range(1, len(names) + 1)}
    numbers = {n for of_name in before.values() for n in of_name} if before else set(moved)
    for key, value in kept.items():
        match = _OF_CHANNEL.match(key)
        if match is None or (match[1] != "$" and int(match[2]) not in numbers):
            if key not in _LAYOUT and (placed := _at_its_columns(key, value, moved)) is not None:
                text[placed] = value
            continue
        column = moved.get(int(match[2]))
        if column is not None and _keeps(match, value, largest[column - 1]):
            text[f"{match[1]}P{column}{match[3]}"] = value
    return text


def names_before(keywords: Mapping[str, str]) -> dict[str, int]:
    """Return how many channels of each `$PnN` keywords name."""
    return {name: len(numbers) for name, numbers in _numbers_of_names(keywords).items()}


def _numbers_of_names(keywords: Mapping[str, str]) -> dict[str, list[int]]:
    """Return the numbers of each `$PnN`, more than one where channels have one name."""
    numbers: dict[str, list[int]] = {}
    for key, name in keywords.items():
        match = _OF_CHANNEL.match(key)
        if match and match[1] == "$" and match[3] == "N":
            numbers.setdefault(name.strip(), []).append(int(match[2]))
    return {name: sorted(of_name) for name, of_name in numbers.items()}


def _moved(
    names: Sequence[str],
    channels: Sequence[tuple[str, str]],
    before: Mapping[str, Sequence[int]],
    keywords: Mapping[str, str],
) -> dict[int, int]:
    """Return the new number of each channel that is still there; of one name, the one with the same `$PnS`."""
    moved: dict[int, int] = {}
    for column, (name, (_, long)) in enumerate(zip(names, channels, strict=True), 1):
        free = [n for n in before.get(name, ()) if n not in moved]
        same = [n for n in free if keywords.get(f"$P{n}S", "").strip() == long.strip()]
        if free:
            moved[(same or free)[0]] = column
    return moved


def _at_its_columns(key: str, value: str, moved: Mapping[int, int]) -> str | None:
    """Return the name of a keyword about several columns after these moved, None where it holds no longer."""
    if key == _BY_POSITION:
        size = value.split(",")[0].strip()
        stays = size.isdigit() and all(
            moved.get(n) == n for n in range(1, min(int(size), len(moved) + 1) + 1)
        )
        return key if stays else None
    match = _OF_PAIR.match(key)
    if match is None:
        return key
    first, second = moved.get(int(match[1])), moved.get(int(match[2]))
    return f"$DFC{first}TO{second}" if first and second else None


def _computed(
    names: list[str], channels: Sequence[tuple[str, str]], largest: npt.NDArray[np.float64], n_events: int
) -> dict[str, str]:
    """Return the keywords that describe the layout."""
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
    return text


def _keeps(match: re.Match[str], value: str, largest: float) -> bool:
    """Whether a keyword of a channel stays: not one of the layout, and a range only where it holds all values."""
    if match[1] != "$":
        return True
    return match[3] not in _LAYOUT_OF_CHANNEL and (match[3] != "R" or _holds(value, largest))


def _holds(limit: str, largest: float) -> bool:
    try:
        return float(limit) >= max(largest, 1)
    except ValueError:
        return False


def head_and_text(text: dict[str, str], *, n_bytes: int) -> tuple[bytes, bytes]:
    """Return HEADER and TEXT with the offsets of `n_bytes` of DATA, which depend on the length of TEXT itself."""
    begin = 0
    while True:
        first, last = (begin, begin + n_bytes - 1) if n_bytes else (0, 0)
        text_bytes = format_text({"$BEGINDATA": str(first), "$ENDDATA": str(last), **text})
        end = HEADER_BYTES + len(text_bytes)
        if end <= begin:
            # A longer TEXT needed one more digit than a shorter one leaves: fill up with blanks.
            text_bytes += b" " * (begin - end)
            break
        begin = end
    if begin > LARGEST_OFFSET:
        raise FcsError(
            f"the keywords take {len(text_bytes)} bytes", fix=f"TEXT must end before byte {LARGEST_OFFSET}"
        )
    in_header = (first, last) if last <= LARGEST_OFFSET else (0, 0)
    offsets = (HEADER_BYTES, begin - 1, *in_header, 0, 0)
    return b"FCS3.1    " + b"".join(b"%8d" % offset for offset in offsets), text_bytes
