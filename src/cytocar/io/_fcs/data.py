"""The events of an FCS file, decoded block by block straight into one array."""

from __future__ import annotations

import math
from collections.abc import Iterator
from io import FileIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cytocar._core.errors import FcsError
from cytocar.io._fcs.header import Channel, FcsHeader, truncated
from cytocar.io._fcs.packed import open_fcs

# A block stays in the processor's cache between reading and swapping bytes.
_BLOCK_BYTES: Final = 1 << 20
# float32 holds whole numbers exactly up to this.
_FLOAT32_EXACT: Final = 1 << 24


def read_events(header: FcsHeader) -> npt.NDArray[np.floating[Any]]:
    """Read all events as stored: nothing is truncated at `$PnR`, linearised or scaled.

    Integers are masked to the next power of two of `$PnR`, as the standard asks. Log-amplified integer
    channels (`$PnE`) stay channel values. Cost: one array of the size of the result, and a block of 1 MB.

    Parameters
    ----------
    header
        What `read_header` gave.

    Returns
    -------
    n_events x n_channels in column order: float32, or float64 where a channel is double (`D`) or an integer
    that float32 cannot hold exactly.

    Raises
    ------
    FcsError
        The file ends before its events do, or ASCII data are not numbers.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> from cytocar.io._fcs.header import read_header
    >>> from cytocar.io._fcs.write import write_events
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.fcs"
    >>> write_events(file, np.ones((3, 2), np.float32), [("Time", ""), ("Yb171Di", "171Yb_CD3")])
    >>> read_events(read_header(file)).shape
    (3, 2)
    """
    events = np.empty((header.n_events, len(header.channels)), dtype=event_type(header))
    for start, block in blocks(header, into=events):
        if block.base is not events:
            events[start : start + len(block)] = block
    return events


def event_type(header: FcsHeader) -> np.dtype[Any]:
    """Return the floating type that holds every value of the file exactly (up to 53 bits)."""
    for channel in header.channels:
        if channel.datatype in ("D", "A"):
            return np.dtype(np.float64)
        if channel.datatype == "I" and min(2**channel.bits, _mask(channel) + 1) > _FLOAT32_EXACT:
            return np.dtype(np.float64)
    return np.dtype(np.float32)


def blocks(
    header: FcsHeader, *, into: npt.NDArray[np.floating[Any]] | None = None
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Give (first row, rows x channels) for all events, some thousand rows at a time.

    Parameters
    ----------
    header
        What `read_header` gave.
    into
        An array of all events; where the file holds the same type, blocks are read into it without a copy.

    Returns
    -------
    Blocks in the order of the file. A block is only valid until the next is asked for.
    """
    if header.missing_bytes:
        raise truncated(header)
    if header.n_events == 0:
        return
    if header.channels[0].datatype == "A":
        yield 0, _ascii(header)
        return
    row_bytes = header.data_bytes // header.n_events
    step = max(1, _BLOCK_BYTES // row_bytes)
    plain = _uniform_type(header)
    # Without a buffer of its own the stream reads straight into the array.
    with open_fcs(header.path) as stream:
        stream.seek(header.data_begin)
        buffer = None
        for start in range(0, header.n_events, step):
            rows = min(step, header.n_events - start)
            if plain is not None and into is not None and plain.newbyteorder("=") == into.dtype:
                block = into[start : start + rows]
                _fill(stream, block.view(np.uint8).reshape(-1), header)
                if not plain.isnative:
                    block.byteswap(inplace=True)
                yield start, block
                continue
            # One buffer for all blocks: memory that was used before is in the cache, new memory costs page faults.
            if buffer is None:
                buffer = np.empty((step, row_bytes), dtype=np.uint8)
            raw = buffer[:rows]
            _fill(stream, raw.reshape(-1), header)
            yield start, _decode(raw, header, plain)


def _fill(stream: FileIO, buffer: npt.NDArray[np.uint8], header: FcsHeader) -> None:
    view = buffer.data
    filled = 0
    while filled < len(view):
        count = stream.readinto(view[filled:])
        if not count:
            raise FcsError("the file became shorter while it was read", where=str(header.path))
        filled += count


def _uniform_type(header: FcsHeader) -> np.dtype[Any] | None:
    """Return the numpy type that all values share, with its byte order; None where there is no such type."""
    kinds = {(channel.datatype, channel.bits) for channel in header.channels}
    if len(kinds) != 1:
        return None
    datatype, bits = kinds.pop()
    if bits not in (8, 16, 32, 64):
        return None
    letter = {"I": "u", "F": "f", "D": "f"}[datatype]
    ascending = tuple(range(1, len(header.byte_order) + 1))
    if header.byte_order == ascending:
        order = "<"
    elif header.byte_order == ascending[::-1]:
        order = ">"
    else:
        return None
    return np.dtype(f"{order}{letter}{bits // 8}")


def _decode(raw: npt.NDArray[np.uint8], header: FcsHeader, plain: np.dtype[Any] | None) -> npt.NDArray[Any]:
    """Turn rows of bytes into rows of numbers, column by column where the columns differ."""
    kind = event_type(header)
    if plain is not None and plain.kind == "f":
        return raw.view(plain).astype(kind, copy=False)
    if plain is not None:
        values = raw.view(plain)
        masks = np.array([_mask(channel) for channel in header.channels], dtype=np.uint64)
        masked: npt.NDArray[Any] = values & masks.astype(plain.newbyteorder("="))
        return masked.astype(kind)
    block = np.empty((len(raw), len(header.channels)), dtype=kind)
    begin = 0
    for column, channel in enumerate(header.channels):
        width = channel.bits // 8
        block[:, column] = _column(raw[:, begin : begin + width], channel, header)
        begin += width
    return block


def _column(raw: npt.NDArray[np.uint8], channel: Channel, header: FcsHeader) -> npt.NDArray[Any]:
    """Decode one column of bytes: brought into little-endian order and padded to 1, 2, 4 or 8 bytes."""
    width = raw.shape[1]
    padded = next(size for size in (1, 2, 4, 8) if size >= width)
    little = np.zeros((len(raw), padded), dtype=np.uint8)
    little[:, :width] = raw[:, _positions(header, width)]
    if channel.datatype in ("F", "D"):
        floats: npt.NDArray[Any] = little.view(f"<f{padded}")[:, 0]
        return floats
    integers: npt.NDArray[Any] = little.view(f"<u{padded}")[:, 0]
    masked: npt.NDArray[Any] = integers & np.array(_mask(channel), dtype=np.uint64).astype(integers.dtype)
    return masked


def _positions(header: FcsHeader, width: int) -> list[int]:
    """Return where in a stored value its bytes lie, lowest first."""
    order = header.byte_order
    ascending = tuple(range(1, len(order) + 1))
    if order == ascending:
        return list(range(width))
    if order == ascending[::-1]:
        return list(range(width))[::-1]
    if len(order) != width:
        raise FcsError(
            f"$BYTEORD is {','.join(map(str, order))}, which says nothing about values of {width} bytes",
            where=str(header.path),
        )
    return [order.index(significance) for significance in range(1, width + 1)]


def _mask(channel: Channel) -> int:
    """Return the bits that count: up to the next power of two of `$PnR`, all where it has no range."""
    full = (1 << channel.bits) - 1
    if channel.datatype != "I" or channel.range < 2:
        return full
    return min(full, (1 << (math.ceil(channel.range) - 1).bit_length()) - 1)


def _ascii(header: FcsHeader) -> npt.NDArray[np.float64]:
    """Decode ASCII data: fixed-width numbers, or numbers between blanks, commas and line ends."""
    shape = (header.n_events, len(header.channels))
    with open_fcs(header.path) as stream:
        stream.seek(header.data_begin)
        raw = bytes(stream.read(header.data_bytes) or b"")
    widths = [channel.bits for channel in header.channels]
    if all(widths):
        ends = np.cumsum(widths)
        row = int(ends[-1])
        fields = [
            raw[start + end - width : start + end]
            for start in range(0, row * header.n_events, row)
            for end, width in zip(ends, widths, strict=True)
        ]
    else:
        fields = raw.replace(b",", b" ").split()
        if len(fields) != shape[0] * shape[1]:
            raise FcsError(
                f"DATA holds {len(fields)} numbers, but {shape[0]} events x {shape[1]} channels "
                f"= {shape[0] * shape[1]} are needed",
                where=str(header.path),
            )
    try:
        return np.array([float(field) for field in fields], dtype=np.float64).reshape(shape)
    except ValueError as error:
        raise FcsError(f"ASCII data hold what is not a number: {error}", where=str(header.path)) from None
