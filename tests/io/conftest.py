"""FCS files written byte by byte, without the writer under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

DATA_BEGIN = 3000


def channel_keywords(widths: list[int], ranges: list[int] | None = None) -> dict[str, str]:
    """Return the keywords of channels C1, C2, ... of these widths."""
    keywords = {}
    for n, width in enumerate(widths, 1):
        keywords |= {f"$P{n}N": f"C{n}", f"$P{n}B": str(width), f"$P{n}E": "0,0"}
        keywords[f"$P{n}R"] = str(ranges[n - 1] if ranges else 2**width)
    return keywords


def fcs_bytes(  # noqa: PLR0913  # every part of a file that a test may spoil
    keywords: Mapping[str, str],
    data: bytes,
    *,
    version: str = "FCS3.0",
    delimiter: str = "/",
    in_header: tuple[int, int] | None = None,
    in_text: tuple[int, int] | None = None,
    supplement: bytes | None = None,
    raw_text: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """Return an FCS file: HEADER, TEXT at byte 58, DATA at byte 3000, supplemental TEXT after it.

    `in_header` and `in_text` replace the true offsets of DATA; (0, 0) leaves them out of TEXT.
    """
    begin, end = DATA_BEGIN, DATA_BEGIN + len(data) - 1
    all_keywords = {"$MODE": "L", "$NEXTDATA": "0", **keywords}
    if in_text != (0, 0):
        offsets = in_text or (begin, end)
        all_keywords |= {"$BEGINDATA": str(offsets[0]), "$ENDDATA": str(offsets[1])}
    if supplement is not None:
        first = end + 1
        all_keywords |= {"$BEGINSTEXT": str(first), "$ENDSTEXT": str(first + len(supplement) - 1)}
    text = raw_text or (
        delimiter
        + delimiter.join(f"{key}{delimiter}{value}" for key, value in all_keywords.items())
        + delimiter
    ).encode("utf-8")
    assert 58 + len(text) <= DATA_BEGIN
    head_offsets = (58, 58 + len(text) - 1, *(in_header or (begin, end)), 0, 0)
    head = f"{version}    ".encode() + b"".join(b"%8d" % offset for offset in head_offsets)
    return head + text + b" " * (DATA_BEGIN - 58 - len(text)) + data + (supplement or b"") + tail


@pytest.fixture
def write_raw(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes such a file: `write_raw(datatype, byte_order, widths, data, ...)`."""

    def write(
        datatype: str,
        byte_order: str,
        widths: list[int],
        data: bytes,
        *,
        n_events: int,
        ranges: list[int] | None = None,
        extra: Mapping[str, str | None] | None = None,
        **options: Any,
    ) -> Path:
        keywords: dict[str, str | None] = {
            "$PAR": str(len(widths)),
            "$TOT": str(n_events),
            "$DATATYPE": datatype,
            "$BYTEORD": byte_order,
            **channel_keywords(widths, ranges),
            **(extra or {}),
        }
        path = tmp_path / "raw.fcs"
        kept = {key: value for key, value in keywords.items() if value is not None}
        path.write_bytes(fcs_bytes(kept, data, **options))
        return path

    return write
