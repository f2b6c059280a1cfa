"""Offsets that are wrong, alone or together: DATA is found by what lies around it, or the file is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cytocar import FcsError
from cytocar.io import read_fcs
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.second_opinion import second_opinion
from cytocar.io._fcs.write import write_events

EVENTS = np.arange(1, 61, dtype=np.float32).reshape(20, 3) + np.float32(0.25)
CRC = b"00000000"


def fcs(  # every part of a file that a test may spoil
    *,
    note: str = "plain",
    text_short: int = 0,
    begin: int | None = 0,
    end: int | None = 0,
    header: tuple[int, int] | None = None,
    total: int | None = 20,
    gap: bytes = b"",
    tail: bytes = CRC,
) -> bytes:
    """Return a file of 20 events; `begin` and `end` move the offsets of DATA in TEXT, None leaves them out."""
    data = EVENTS.tobytes()
    keywords = {
        "$MODE": "L",
        "$NEXTDATA": "0",
        "$DATATYPE": "F",
        "$BYTEORD": "1,2,3,4",
        "$PAR": "3",
        "$TOT": total,
    }
    for n in (1, 2, 3):
        keywords |= {f"$P{n}N": f"C{n}", f"$P{n}B": 32, f"$P{n}E": "0,0", f"$P{n}R": 1000}
    first = 0
    for _ in range(3):
        places = {}
        if begin is not None:
            places["$BEGINDATA"] = first + begin
        if end is not None:
            places["$ENDDATA"] = first + len(data) - 1 + end
        pairs = {**keywords, **places, "NOTE": note}
        text = (
            "|" + "".join(f"{key}|{value}|" for key, value in pairs.items() if value is not None)
        ).encode()
        first = 58 + len(text) + len(gap)
    true_end = first + len(data) - 1
    in_header = header or (first + (begin or 0), true_end + (end or 0))
    offsets = (58, 58 + len(text) - 1 - text_short, *in_header, 0, 0)
    return b"FCS3.0    " + b"".join(b"%8d" % offset for offset in offsets) + text + gap + data + tail


def outcome(tmp_path: Path, raw: bytes) -> tuple[Any, tuple[str, ...]]:
    path = tmp_path / "a.fcs"
    path.write_bytes(raw)
    header = read_header(path)
    return read_events(header), header.tolerances


@pytest.mark.parametrize("moved", [1, 2, 3, 5, 11, 16])
@pytest.mark.parametrize("tail", [b"", CRC])
def test_text_counted_in_characters_is_read_whole_and_data_behind_it(
    tmp_path: Path, moved: int, tail: bytes
) -> None:
    events, told = outcome(
        tmp_path, fcs(note="\u00f6" * moved, text_short=moved, begin=-moved, end=-moved, tail=tail)
    )
    assert np.array_equal(events, EVENTS)
    assert any("TEXT goes on past its declared end" in note for note in told)
    assert any("were found at bytes" in note for note in told)


@pytest.mark.parametrize("moved", range(1, 17))
def test_data_that_begins_within_text_is_found_behind_it(tmp_path: Path, moved: int) -> None:
    events, told = outcome(tmp_path, fcs(begin=-moved, end=-moved))
    assert np.array_equal(events, EVENTS)
    assert any("were found at bytes" in note for note in told)


@pytest.mark.parametrize("moved", range(1, 17))
@pytest.mark.parametrize("gap", [b"", b" " * 30, bytes(30)])
@pytest.mark.parametrize("tail", [b"", CRC])
@pytest.mark.parametrize("sign", [1, -1])
def test_moved_offsets_never_give_other_values_without_a_word(
    tmp_path: Path, moved: int, gap: bytes, tail: bytes, sign: int
) -> None:
    try:
        events, told = outcome(tmp_path, fcs(begin=sign * moved, end=sign * moved, gap=gap, tail=tail))
    except FcsError:
        return
    assert np.array_equal(events, EVENTS) or any("may be misread" in note for note in told)


@pytest.mark.parametrize(
    "options",
    [
        {"begin": None, "end": None, "header": (0, 99_999_999)},
        {"header": (0, 99_999_999)},
        {"begin": None, "end": None, "header": (0, 0)},
        {"end": -len(EVENTS.tobytes()) + 1},
        {"end": None, "header": (0, 0)},
        {"begin": None, "header": (0, 0)},
        {"end": 4711},
    ],
)
@pytest.mark.parametrize("tail", [b"", CRC])
def test_data_without_a_right_end_is_located(tmp_path: Path, options: dict[str, Any], tail: bytes) -> None:
    raw = fcs(tail=tail)
    if options.get("header", (1, 1))[1] == 99_999_999:
        begin = raw.index(EVENTS.tobytes()[:12])
        options = options | {"header": (begin if len(options) == 1 else raw.index(b"|$MODE") + 0, 99_999_999)}
        if len(options) > 1:
            own = fcs(**{key: value for key, value in options.items() if key != "header"}, tail=tail)
            options = options | {"header": (own.index(EVENTS.tobytes()[:12]), 99_999_999)}
    events, told = outcome(tmp_path, fcs(**options, tail=tail))
    assert np.array_equal(events, EVENTS)
    assert told


def test_data_that_may_lie_in_two_places_is_refused(tmp_path: Path) -> None:
    # Begin moved by 8 and the end left: from there the events would end with the file, CRC included.
    raw = fcs(begin=8)
    with pytest.raises(FcsError, match=r"DATA may begin at byte \d+ or "):
        outcome(tmp_path, raw)


def test_no_events_by_tot_though_there_are_some_is_said(tmp_path: Path) -> None:
    events, told = outcome(tmp_path, fcs(total=0))
    assert len(events) == 0
    assert told == ("$TOT is 0, but the file has 240 bytes of DATA, as many as 20 events: none was read",)
    events, told = outcome(tmp_path, fcs(total=0, begin=None, end=None, header=(0, 0)))
    assert "as many as 20 events" in told[0]


def test_a_billion_channels_are_refused_at_once(write_raw: Callable[..., Path]) -> None:
    for count in ("1000000000", "99999999999999999999", "17"):
        path = write_raw("F", "1,2,3,4", [32], struct.pack("<f", 1), n_events=1, extra={"$PAR": count})
        with pytest.raises(FcsError, match=rf"\$PAR is {count}, but"):
            read_header(path)


def test_text_that_ends_late_by_any_number_of_bytes_keeps_its_keywords(tmp_path: Path) -> None:
    for late in (1, 2, 7, 16):
        events, told = outcome(tmp_path, fcs(text_short=-late))
        assert np.array_equal(events, EVENTS)
        assert "late" in told[0]


def test_the_second_opinion_does_not_take_events_that_lie_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    path.write_bytes(fcs(note="\u00f6" * 3, text_short=3, begin=-3, end=-3))
    opinion = second_opinion(read_header(path))
    assert (opinion.verdict, opinion.problems) == ("refused", ())
    assert "where the offsets say" in opinion.reason
    with pytest.raises(FcsError, match="where the offsets say"):
        read_fcs(path, engine="flowio")


def test_real_files_of_gaps_and_tails_of_all_kinds_raise_no_doubt(tmp_path: Path) -> None:
    for gap in (b"", b" " * 5, b" " * 2760, bytes(67), bytes(127), b"\n"):
        for tail in (b"", CRC, CRC + b"\n", bytes(135), b"x" * 74, b"        "):
            events, told = outcome(tmp_path, fcs(gap=gap, tail=tail))
            assert np.array_equal(events, EVENTS)
            assert told == (), (gap, tail)


def test_values_that_spell_text_behind_a_whole_text_stay_values(tmp_path: Path) -> None:
    events = np.array([[1.623045e06, 7.013948e16, 7.013948e16]], dtype=np.float32)
    path = tmp_path / "a.fcs"
    write_events(path, events, [("0", ""), ("1", ""), ("00", "")])
    header = read_header(path)
    assert header.tolerances == ()
    np.testing.assert_array_equal(read_events(header), events)
    # Every value made of letters and of the delimiter that the writer takes.
    delimiter = path.read_bytes()[58:59]
    rng = np.random.default_rng(0)
    alphabet = np.frombuffer(b"ab~Z\xe9\xff 9" + delimiter * 4, dtype=np.uint8)
    for _ in range(300):
        spelled = rng.choice(alphabet, size=48).astype(np.uint8).view(np.float32).reshape(4, 3)
        write_events(path, spelled, [("Time", ""), ("Yb171Di", ""), ("Er170Di", "")])
        header = read_header(path)
        assert header.tolerances == ()
        assert read_events(header).tobytes() == spelled.tobytes()
