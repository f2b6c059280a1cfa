"""The TEXT segment of an FCS file: bytes to keywords, and keywords to bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cytocar._core.errors import FcsError

# Tried in this order when writing; a delimiter that occurs nowhere in the text needs no escaping.
_DELIMITERS = "|\\/!\x0c\x1e\x1f" + "".join(
    chr(code) for code in range(1, 127) if chr(code) not in "|\\/!\x0c\x1e\x1f \n\r\t$"
)


def parse_text(raw: bytes, *, segment: str = "TEXT") -> tuple[dict[str, str], list[str]]:
    r"""Split a TEXT segment into keywords (upper case) and values; report every tolerance taken.

    A doubled delimiter inside a value stands for one delimiter (FCS 3.1, section 3.2.9). Directly after a
    keyword it is an empty value, which the standard forbids and many writers produce: keywords do not
    contain delimiters, so this reading cannot shift later pairs. A value of blanks only is read as empty,
    because a blank is how careful writers spell one.

    Parameters
    ----------
    raw
        The bytes of the segment; the first is the delimiter.
    segment
        What the segment is called in the tolerances.

    Returns
    -------
    The keywords in the order of the file, and the tolerances taken.

    Examples
    --------
    >>> parse_text(b"/$PAR/2/$P1S//NOTE/a//b/")[0]
    {'$PAR': '2', '$P1S': '', 'NOTE': 'a/b'}
    """
    if not raw:
        return {}, []
    pairs, unfinished = _pairs_of(raw, segment)
    keywords, ambiguous = _keywords_of(pairs, segment)
    return keywords, unfinished + ambiguous


def is_complete(raw: bytes) -> bool:
    """Whether a segment holds whole pairs and ends with its delimiter, apart from padding.

    Examples
    --------
    >>> is_complete(b"/$PAR/2/"), is_complete(b"/$PAR/"), is_complete(b"/$PAR/2")
    (True, False, False)
    """
    delimiter = raw[:1]
    kept = raw.rstrip(b" \0\r\n\t".replace(delimiter, b"")) if delimiter else raw
    return len(kept) > 1 and kept.endswith(delimiter) and not _pairs_of(kept, "TEXT")[1]


def _pairs_of(raw: bytes, segment: str) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    """Return keys and values as they are stored, and the tolerances taken."""
    delimiter = raw[:1]
    tolerances: list[str] = []
    pairs: list[tuple[bytes, bytes]] = []
    # Text and runs of delimiters in turn: "", run, text, run, ..., text.
    pieces = re.split(b"(" + re.escape(delimiter) + b"+)", raw)
    key: bytes | None = None
    value = b""
    for position in range(2, len(pieces) - 1, 2):
        text, run = pieces[position], len(pieces[position + 1])
        at_end = position == len(pieces) - 3 and not pieces[-1].strip(b" \0\r\n\t")
        if key is None:
            if run % 2:
                key, value = text, delimiter * ((run - 1) // 2)
            else:
                pairs.append((text, delimiter * ((run - 2) // 2)))
        elif run % 2 or at_end:
            pairs.append((key, value + text + delimiter * ((run - 1) // 2)))
            key = None
        else:
            value += text + delimiter * (run // 2)
    rest = pieces[-1]
    if key is not None:
        pairs.append((key, value + rest.rstrip(b" \0\r\n\t")))
        tolerances.append(
            f"{segment} does not end with its delimiter; the value of {_decode(key)[0].strip()} ends with the segment"
        )
    elif rest.strip(b" \0\r\n\t") and len(pieces) > 1:
        tolerances.append(f"{len(rest)} bytes after the last delimiter of {segment} were ignored")
    return pairs, tolerances


def _keywords_of(pairs: Sequence[tuple[bytes, bytes]], segment: str) -> tuple[dict[str, str], list[str]]:
    """Return the keywords as text, and the tolerances taken."""
    tolerances: list[str] = []
    keywords: dict[str, str] = {}
    latin: list[str] = []
    repeated: list[str] = []
    for raw_key, raw_value in pairs:
        name, name_is_utf8 = _decode(raw_key)
        content, content_is_utf8 = _decode(raw_value)
        name = name.strip().upper()
        if not content.strip(" "):
            content = ""
        if not (name_is_utf8 and content_is_utf8):
            latin.append(name)
        if keywords.get(name, content) != content:
            repeated.append(name)
        keywords[name] = content
    if latin:
        tolerances.append(f"{segment} is not UTF-8 in {_some(latin)}: read as Latin-1")
    if repeated:
        tolerances.append(
            f"{segment} has {_some(repeated)} more than once with different values: the last was taken"
        )
    return keywords, tolerances


def format_text(keywords: Mapping[str, str]) -> bytes:
    r"""Return keywords as a TEXT segment, with a delimiter that occurs in none of them.

    An empty value is written as one blank, because FCS has no empty values; `parse_text` gives it back as
    empty.

    Examples
    --------
    >>> format_text({"$PAR": "2", "NOTE": "a|b"})
    b'\\$PAR\\2\\NOTE\\a|b\\'
    """
    used = set("".join(keywords)) | set("".join(keywords.values()))
    delimiter = next((candidate for candidate in _DELIMITERS if candidate not in used), None)
    if delimiter is None:
        raise FcsError(
            "the keywords use every character that could separate them (ASCII 1 to 126)",
            fix="remove binary text from the keywords before writing",
        )
    parts = [f"{key}{delimiter}{value or ' '}{delimiter}" for key, value in keywords.items()]
    return (delimiter + "".join(parts)).encode("utf-8")


def _decode(raw: bytes) -> tuple[str, bool]:
    try:
        return raw.decode("utf-8"), True
    except UnicodeDecodeError:
        return raw.decode("latin-1"), False


def _some(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
