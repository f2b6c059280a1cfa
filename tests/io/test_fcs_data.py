"""Events: number types, widths, byte orders, masks, ASCII, against a loop that decodes one number at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cytocar import FcsError
from cytocar.io._fcs import data as _fcs_data
from cytocar.io._fcs.data import blocks, read_events
from cytocar.io._fcs.header import read_header

Write = Callable[..., Path]


def mask_of(limit: int, bits: int) -> int:
    power = 1
    while power < limit:
        power *= 2
    return min(power, 2**bits) - 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_integers_of_any_widths_and_masks(write_raw: Write, data: st.DataObject) -> None:
    widths = data.draw(st.lists(st.sampled_from([8, 16, 24, 32, 40, 64]), min_size=1, max_size=5))
    ranges = [data.draw(st.integers(2, min(2**width, 2**50))) for width in widths]
    order = data.draw(st.sampled_from(["little", "big"]))
    rows = data.draw(st.integers(1, 4))
    raw = data.draw(st.binary(min_size=rows * sum(widths) // 8, max_size=rows * sum(widths) // 8))
    byte_order = "1,2,3,4" if order == "little" else "4,3,2,1"
    header = read_header(write_raw("I", byte_order, widths, raw, n_events=rows, ranges=ranges))
    events = read_events(header)

    position, expected = 0, []
    for _ in range(rows):
        for width, limit in zip(widths, ranges, strict=True):
            number = int.from_bytes(raw[position : position + width // 8], order)
            expected.append(float(number & mask_of(limit, width)))
            position += width // 8
    assert events.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1024, 0x3FF),  # a power of two is its own limit
        (1023, 0x3FF),
        (1025, 0x7FF),
        (65536, 0xFFFF),
        (70000, 0xFFFF),  # wider than the value
        (2, 1),
        (1, 0xFFFF),  # a range of one value says nothing
        (0, 0xFFFF),
    ],
)
def test_mask_is_the_next_power_of_two(write_raw: Write, limit: int, expected: int) -> None:
    path = write_raw("I", "1,2,3,4", [16], b"\xff\xff", n_events=1, ranges=[limit])
    assert read_events(read_header(path)).tolist() == [[float(expected)]]


@pytest.mark.parametrize(
    ("byte_order", "stored"),
    [
        ("1,2,3,4", b"\x01\x02\x03\x04"),
        ("4,3,2,1", b"\x04\x03\x02\x01"),
        ("3,4,1,2", b"\x03\x04\x01\x02"),
        ("2,1,4,3", b"\x02\x01\x04\x03"),
        # not its own inverse
        ("2,3,4,1", b"\x02\x03\x04\x01"),
    ],
)
def test_byte_orders(write_raw: Write, byte_order: str, stored: bytes) -> None:
    path = write_raw("I", byte_order, [32], stored, n_events=1)
    assert read_events(read_header(path))[0, 0] == 0x04030201


def test_byte_order_of_another_width_is_refused(write_raw: Write) -> None:
    path = write_raw("I", "3,4,1,2", [16], b"\1\2", n_events=1)
    with pytest.raises(FcsError, match=r"\$BYTEORD is 3,4,1,2, which says nothing about values of 2 bytes"):
        read_events(read_header(path))


@pytest.mark.parametrize(("datatype", "letter", "kind"), [("F", "f", np.float32), ("D", "d", np.float64)])
@pytest.mark.parametrize(("byte_order", "sign"), [("1,2,3,4", "<"), ("4,3,2,1", ">")])
def test_floats(write_raw: Write, datatype: str, letter: str, kind: type, byte_order: str, sign: str) -> None:
    # Above the declared range, negative, not finite: all stay.
    values = [0.1, -1e6, 3e9, float("nan"), float("inf"), -0.0]
    path = write_raw(
        datatype,
        byte_order,
        [struct.calcsize(letter) * 8] * 3,
        struct.pack(f"{sign}6{letter}", *values),
        n_events=2,
        ranges=[1000, 1000, 1000],
    )
    events = read_events(read_header(path))
    assert events.dtype == kind
    assert events.flags.c_contiguous
    assert events.dtype.isnative
    assert np.array_equal(events.ravel(), np.array(values, dtype=kind), equal_nan=True)


def test_type_per_channel_of_fcs_3_2(write_raw: Write) -> None:
    data = struct.pack("<fdH", 1.5, 1e300, 0xFFFF) + struct.pack("<fdH", -2.5, 0.1, 1025)
    path = write_raw(
        "F",
        "1,2,3,4",
        [32, 64, 16],
        data,
        n_events=2,
        ranges=[100, 100, 1024],
        version="FCS3.2",
        extra={"$P2DATATYPE": "D", "$P3DATATYPE": "I"},
    )
    events = read_events(read_header(path))
    assert events.tolist() == [[1.5, 1e300, 1023.0], [-2.5, 0.1, 1.0]]


def test_integers_that_float32_cannot_hold_come_as_float64(write_raw: Write) -> None:
    exact = write_raw("I", "1,2,3,4", [32], struct.pack("<I", 2**24 - 1), n_events=1, ranges=[2**24])
    assert read_events(read_header(exact)).dtype == np.float32
    large = write_raw("I", "1,2,3,4", [32], struct.pack("<I", 2**24 + 1), n_events=1, ranges=[2**25])
    events = read_events(read_header(large))
    assert events.dtype == np.float64
    assert events[0, 0] == 2**24 + 1


def test_ascii(write_raw: Write) -> None:
    fixed = write_raw("A", "1,2,3,4", [4, 6], b"  12  -3.5 7771e5   ", n_events=2)
    assert read_events(read_header(fixed)).tolist() == [[12, -3.5], [777, 1e5]]
    free = {"$P1B": "*", "$P2B": "*"}
    path = write_raw("A", "1,2,3,4", [8, 8], b"1,2 3\r\n4 ", n_events=2, extra=free)
    assert read_events(read_header(path)).tolist() == [[1, 2], [3, 4]]
    path = write_raw("A", "1,2,3,4", [8, 8], b"1,2 3", n_events=2, extra=free)
    with pytest.raises(FcsError, match=r"DATA holds 3 numbers, but 2 events x 2 channels = 4"):
        read_events(read_header(path))
    path = write_raw("A", "1,2,3,4", [8, 8], b"1 2 3 x", n_events=2, extra=free)
    with pytest.raises(FcsError, match="not a number"):
        read_events(read_header(path))


@pytest.mark.parametrize("byte_order", ["1,2,3,4", "4,3,2,1"])
@pytest.mark.parametrize("rows", [1, 2, 3, 1000])
def test_blocks_make_no_difference(
    write_raw: Write, monkeypatch: pytest.MonkeyPatch, byte_order: str, rows: int
) -> None:
    values = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    sign = "<" if byte_order == "1,2,3,4" else ">"
    path = write_raw("F", byte_order, [32] * 3, values.astype(f"{sign}f4").tobytes(), n_events=7)
    monkeypatch.setattr(_fcs_data, "_BLOCK_BYTES", 12 * rows)
    header = read_header(path)
    assert np.array_equal(read_events(header), values)
    parts = [(start, block.copy()) for start, block in blocks(header)]
    assert [start for start, _ in parts] == list(range(0, 7, rows))
    assert np.array_equal(np.concatenate([block for _, block in parts]), values)


def test_file_that_shrinks_while_it_is_read(write_raw: Write) -> None:
    path = write_raw("F", "1,2,3,4", [32], struct.pack("<2f", 1, 2), n_events=2)
    header = read_header(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FcsError, match="became shorter while it was read"):
        read_events(header)
