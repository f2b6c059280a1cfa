"""HEADER and TEXT: versions, offsets that disagree, data sets, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cytocar import FcsError, ParameterError
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header

DATA_BEGIN = 3000
VALUES = np.arange(6, dtype="<f4").reshape(3, 2)
DATA = VALUES.tobytes()
END = DATA_BEGIN + len(DATA) - 1

Write = Callable[..., Path]


@pytest.fixture
def write_floats(write_raw: Write) -> Write:
    """Return a function that writes three events of two floats."""

    def write(**options: object) -> Path:
        return write_raw("F", "1,2,3,4", [32, 32], options.pop("data", DATA), n_events=3, **options)

    return write


@pytest.mark.parametrize("version", ["2.0", "3.0", "3.1", "3.2"])
def test_versions(write_floats: Write, version: str) -> None:
    header = read_header(write_floats(version=f"FCS{version}"))
    assert header.version == version
    assert header.n_events == 3
    assert header.names == [("C1", ""), ("C2", "")]
    assert [(c.bits, c.range, c.datatype) for c in header.channels] == [(32, 2.0**32, "F")] * 2
    assert header.tolerances == ()
    assert np.array_equal(read_events(header), VALUES)


@pytest.mark.parametrize(
    ("in_header", "in_text", "told"),
    [
        # everything right, or TEXT without offsets as in FCS 2.0
        (None, None, ""),
        (None, (0, 0), ""),
        # end one byte late, in one or in both
        ((DATA_BEGIN, END + 1), (DATA_BEGIN, END + 1), "DATA ends one byte late"),
        ((DATA_BEGIN, END + 1), (0, 0), "DATA ends one byte late"),
        ((DATA_BEGIN, END + 1), None, "DATA offsets disagree .*: TEXT fits the 24 bytes"),
        (None, (DATA_BEGIN, END + 1), "DATA offsets disagree .*: HEADER fits the 24 bytes"),
        # one of them wrong
        ((2500, END), None, "DATA offsets disagree .*: TEXT fits"),
        ((DATA_BEGIN, END + 700), None, "DATA offsets disagree .*: TEXT fits"),
        (None, (DATA_BEGIN, END + 700), "DATA offsets disagree .*: HEADER fits"),
        # right length, but beyond the end of the file
        ((9000, 9023), None, "DATA offsets disagree .*: TEXT fits"),
        # HEADER empty as in files above 99,999,999 bytes
        ((0, 0), None, "HEADER leaves the DATA offsets empty"),
    ],
)
def test_the_pair_of_offsets_that_fits_is_taken(
    write_floats: Write, in_header: tuple[int, int] | None, in_text: tuple[int, int] | None, told: str
) -> None:
    import re

    header = read_header(write_floats(in_header=in_header, in_text=in_text, tail=b"x" * 40))
    assert (header.data_begin, header.data_bytes) == (DATA_BEGIN, 24)
    assert np.array_equal(read_events(header), VALUES)
    if told:
        assert len(header.tolerances) == 1
        assert re.match(told, header.tolerances[0])
    else:
        assert header.tolerances == ()


@pytest.mark.parametrize(
    ("in_header", "in_text", "message"),
    [
        (
            (DATA_BEGIN, END + 2),
            (0, 0),
            r"= 24 bytes, but HEADER 3000 to 3025 = 26 bytes; export the file again; it has 3064 bytes",
        ),
        (
            (DATA_BEGIN, END - 1),
            (DATA_BEGIN, END + 2),
            r"HEADER 3000 to 3022 = 23 bytes, TEXT 3000 to 3025 = 26",
        ),
        ((0, 0), (0, 0), r"neither HEADER nor TEXT gives offsets"),
        ((DATA_BEGIN - 24, DATA_BEGIN - 1), (DATA_BEGIN, END), r"different DATA offsets of the right length"),
    ],
)
def test_offsets_that_do_not_fit_are_refused_with_the_numbers(
    write_floats: Write, in_header: tuple[int, int], in_text: tuple[int, int], message: str
) -> None:
    with pytest.raises(FcsError, match=message):
        read_header(write_floats(in_header=in_header, in_text=in_text, tail=b"x" * 40))


def test_truncated_file_tells_bytes_expected_and_found(write_floats: Write) -> None:
    path = write_floats()
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(
        FcsError, match=r"need 24 bytes from byte 3000 on, .* holds 19 of them \(2 whole events\)"
    ):
        read_header(path)
    header = read_header(path, allow_truncated=True)
    assert header.missing_bytes == 5
    with pytest.raises(FcsError, match="holds 19 of them"):
        read_events(header)


def test_no_events(write_raw: Write) -> None:
    header = read_header(write_raw("F", "1,2,3,4", [32, 32], b"", n_events=0))
    assert header.missing_bytes == 0
    assert read_events(header).shape == (0, 2)


def test_missing_total_is_counted(write_floats: Write) -> None:
    header = read_header(write_floats(extra={"$TOT": None}, version="FCS2.0"))
    assert header.n_events == 3
    assert header.tolerances == ("$TOT is missing: 3 events counted from the length of DATA",)
    with pytest.raises(FcsError, match=r"\$TOT is missing, .* not a multiple of the 8 bytes"):
        read_header(write_floats(extra={"$TOT": None}, data=DATA + b"123"))


def test_supplemental_text(write_floats: Write) -> None:
    header = read_header(write_floats(supplement=b"/NOTE/a//b/$TOT/99/"))
    assert header.keywords["NOTE"] == "a/b"
    assert header.n_events == 3
    header = read_header(write_floats(supplement=b"PK\x03\x04"))
    assert header.tolerances == (
        "supplemental TEXT at bytes 3024 to 3027 does not begin with the delimiter of TEXT b'/': ignored",
    )


def test_data_sets(write_floats: Write) -> None:
    path = write_floats(extra={"$NEXTDATA": "4000"})
    first = path.read_bytes().ljust(4000, b"\0")
    second = write_floats(data=(VALUES + 10).tobytes()).read_bytes()
    path.write_bytes(first + second)
    for data_set in (0, 1):
        header = read_header(path, data_set=data_set)
        assert (header.data_set, header.n_data_sets, header.tolerances) == (data_set, 2, ())
        assert np.array_equal(read_events(header), VALUES + 10 * data_set)
    with pytest.raises(ParameterError, match=r"data_set is 2, but the file has 2"):
        read_header(path, data_set=2)
    with pytest.raises(ParameterError, match="data_set is -1"):
        read_header(path, data_set=-1)


@pytest.mark.parametrize("following", ["9", "100000", "-3000"])
def test_next_data_that_leads_nowhere_is_told(write_floats: Write, following: str) -> None:
    header = read_header(write_floats(extra={"$NEXTDATA": following}))
    assert header.n_data_sets == 1
    assert header.tolerances == (
        f"$NEXTDATA {following} leads to byte {int(following)}, where no data set begins: ignored",
    )


def test_text_one_byte_late(write_raw: Write) -> None:
    # The first byte of DATA is the delimiter itself: read as TEXT it would double the last one.
    data = b"//ab/\0cd"
    path = write_raw("F", "1,2,3,4", [32, 32], data, n_events=1)
    raw = bytearray(path.read_bytes())
    raw[18:26] = b"%8d" % DATA_BEGIN
    path.write_bytes(bytes(raw))
    header = read_header(path)
    assert header.tolerances == ("TEXT ends one byte late, at byte 3000, where DATA begins",)
    assert read_events(header).tobytes() == data


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"$PAR": None}, r"required keyword \$PAR is missing"),
        ({"$PAR": "x"}, r"\$PAR is 'x'; it should be a whole number"),
        ({"$PAR": "0"}, r"\$PAR is 0; a file has at least one channel"),
        ({"$PAR": "4"}, r"\$PAR is 4, but \$P3B, \$P4B are missing"),
        ({"$TOT": "-3"}, r"\$TOT is -3"),
        ({"$DATATYPE": "Q"}, r"\$DATATYPE is 'Q'; known are I, F, D and A"),
        ({"$DATATYPE": None}, r"required keyword \$DATATYPE is missing"),
        ({"$BYTEORD": "4,3,2"}, r"\$BYTEORD is '4,3,2'"),
        ({"$BYTEORD": "big"}, r"\$BYTEORD is 'big'"),
        ({"$BYTEORD": None}, r"required keyword \$BYTEORD is missing"),
        ({"$MODE": "C"}, r"\$MODE is 'C': histograms hold no events"),
        ({"$P2B": "16"}, r"\$P2B is 16, but values of type F have 32 bits"),
        ({"$P2B": "12", "$DATATYPE": "I"}, r"\$P2B is 12; integers of 8, 16"),
        ({"$P1DATATYPE": "Z"}, r"\$P1DATATYPE is 'Z'"),
    ],
)
def test_keywords_that_are_wrong_are_refused(
    write_floats: Write, extra: dict[str, str | None], message: str
) -> None:
    with pytest.raises(FcsError, match=message) as caught:
        read_header(write_floats(extra=extra))
    assert "raw.fcs" in str(caught.value)


def test_names_and_ranges_that_are_missing_are_told(write_floats: Write) -> None:
    header = read_header(write_floats(extra={"$P2N": None, "$P1R": None, "$MODE": ""}))
    assert header.names == [("C1", ""), ("P2", "")]
    assert header.tolerances == (
        "$MODE is missing: taken as L",
        "$P2N missing: the channels are called P1, P2, ...",
        "$P1R missing or not a positive number: no bit mask is applied",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an FCS file: it begins with nothing"),
        (b"oi21j08cn\n", "not an FCS file: it begins with 'oi21j0'"),
        (b"FCS9.9" + b" " * 60, "FCS version '9.9' is not supported; supported are 2.0, 3.0, 3.1, 3.2"),
        (b"FCS3.0    ", "HEADER ends after 10 bytes"),
        (b"FCS3.0        58     9x9" + b"       0" * 4, "HEADER has '9x9"),
        (b"FCS3.0          58      99" + b"       0" * 4, "HEADER puts TEXT at bytes 58 to 99"),
        (b"FCS3.0          58      99" + b"       0" * 4 + b"/A/1/", "the file ends within TEXT"),
    ],
)
def test_what_is_no_fcs_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.fcs"
    path.write_bytes(content)
    with pytest.raises(FcsError, match=message):
        read_header(path)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FcsError, match=r"nowhere\.fcs: cannot be read: No such file"):
        read_header(tmp_path / "nowhere.fcs")
    with pytest.raises(FcsError, match="this is a folder"):
        read_header(tmp_path)


def test_a_folder_is_named_as_one(tmp_path: Path) -> None:
    with pytest.raises(FcsError, match="this is a folder") as caught:
        read_header(tmp_path)
    assert caught.value.fix.endswith("/*.fcs")


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    path.write_bytes(b"\x00\x01\x02abcdefgh")
    with pytest.raises(FcsError, match="it begins with the bytes 00 01 02 61 62 63"):
        read_header(path)
