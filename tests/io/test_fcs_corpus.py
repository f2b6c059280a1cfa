"""Real files of many instruments: each is read with the right values, or refused for the right reason."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import flowio
import numpy as np
import pytest

from cytocar import FcsError
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header

LATE = "DATA ends one byte late"
DISAGREE = "DATA offsets disagree"
LATIN = "TEXT is not UTF-8 in CREATOR"
MIXED = [16] * 25 + [32]


@dataclass(frozen=True)
class Expected:
    """What a file has to give: looked up with a hex viewer, not with the reader."""

    name: str
    version: str
    events: int
    channels: int
    kind: str  # F, or I
    order: str  # little or big
    begin: int  # first byte of DATA in the file
    widths: int | list[int] = 32
    ranges: int | list[int] = 0
    tolerances: tuple[str, ...] = ()
    data_set: int = 0
    by_flowio: bool = True

    @property
    def bits(self) -> list[int]:
        return self.widths if isinstance(self.widths, list) else [self.widths] * self.channels

    @property
    def limits(self) -> list[int]:
        return self.ranges if isinstance(self.ranges, list) else [self.ranges] * self.channels


EY = "EY_2013-07-19_PBS_FCS"
TABLE = [
    Expected("ADM_09SEP2020_181310.VIA.FCS", "3.0", 7960, 10, "F", "little", 3275, by_flowio=False),
    Expected(
        "ADM_09SEP2020_181310.VIA.FCS", "3.0", 20897, 10, "F", "little", 321675 + 3165, data_set=1, by_flowio=False
    ),
    Expected("Cytek_xP5.fcs", "3.0", 23126, 8, "I", "big", 4096, 24, [30000] + [1024] * 7, by_flowio=False),
    Expected("Data001.fcs", "2.0", 20949, 6, "I", "big", 2048, 16, 1024, (LATIN,)),
    Expected("Data002.fcs", "2.0", 20000, 9, "I", "big", 1665, 16, 1024),
    Expected("Data003.fcs", "3.0", 25000, 8, "I", "big", 4096, 24, [262144] + [1024] * 7, by_flowio=False),
    Expected("Data004.fcs", "3.0", 50000, 14, "F", "big", 2475),
    Expected(f"{EY}_2.0_Custom_Without_Add_Well_A1.001.fcs", "2.0", 10000, 16, "F", "little", 3582),
    Expected(f"{EY}_3.1_Custom_Add_Well_A1.001.fcs", "3.1", 10000, 19, "F", "little", 127695, tolerances=(LATE,)),
    Expected(
        f"{EY}_3.1_Custom_Without_Add_Well_A1.001.fcs", "3.1", 10000, 19, "F", "little", 2759, tolerances=(LATE,)
    ),
    Expected(f"{EY}_3.1_Well_A1.001.fcs", "3.1", 10000, 19, "F", "little", 127605, tolerances=(LATE,)),
    Expected("FCS3.0_Custom_Compatible.fcs", "3.0", 10000, 16, "F", "little", 1892),
    Expected("FCS_3.0_Fortessa_PBS_Specimen_001_A1_A01.fcs", "3.0", 11585, 11, "F", "big", 2462),
    Expected("G11.fcs", "3.1", 5785, 12, "F", "little", 8192),
    Expected("HTS_BD_LSR_II_Mixed_Specimen_001_D6_D06.fcs", "3.0", 14945, 11, "F", "big", 2365),
    Expected("SG_2014-09-26_Duplicate_Names.fcs", "3.1", 8129, 9, "F", "little", 2256, tolerances=(LATE,)),
    Expected("Sample_Well_A02.fcs", "2.0", 37395, 8, "I", "big", 2816, 16, 1024, (LATIN,)),
    Expected("coulter.lmd", "2.0", 18110, 8, "I", "little", 8192, 16, 1024, (LATE,), by_flowio=False),
    Expected(
        "coulter.lmd", "3.0", 18110, 8, "I", "little", 363602 + 58, 32, [1048576] * 7 + [1024],
        data_set=1, by_flowio=False,
    ),
    Expected(
        "cyflow_cube_8.fcs", "3.0", 725, 10, "I", "little", 1456, [16] * 8 + [32, 8], [65536] * 8 + [2147483647, 255],
        ("supplemental TEXT at bytes 16681 to 58392",),
    ),
    Expected(
        "data_start_offset_discrepancy_example.fcs", "3.0", 2, 26, "I", "little", 6081, MIXED,
        [65536] * 25 + [11209599], (DISAGREE,),
    ),
    Expected(
        "data_stop_offset_discrepancy_example.fcs", "3.0", 2, 26, "I", "little", 6081, MIXED,
        [65536] * 25 + [11209599], (DISAGREE,),
    ),
    Expected("facs_diva_test.fcs", "3.0", 83411, 12, "F", "big", 3325),
    Expected(
        "fake_large_fcs.fcs", "3.0", 11585, 11, "F", "big", 2462,
        tolerances=("HEADER leaves the DATA offsets empty",), by_flowio=False,
    ),
    Expected("fcs1_cleaned.lmd", "2.0", 50000, 7, "I", "little", 4232, 16, 1024),
    Expected("variable_int_example.fcs", "3.0", 2, 26, "I", "little", 6081, MIXED, [65536] * 25 + [11209599]),
]  # fmt: skip
REFUSED = [
    ("corrupted.fcs", "not an FCS file: it begins with 'oi21j0'"),
    (
        "sample_header.fcs",
        "20000 events need 2160000 bytes from byte 5912 on, but the file of 3931 bytes holds 0",
    ),
]


def slow_values(raw: bytes, expected: Expected, rows: range) -> np.ndarray:
    """Decode events one number at a time."""
    row_bytes = sum(expected.bits) // 8
    table = []
    for row in rows:
        position = expected.begin + row * row_bytes
        values: list[float] = []
        for bits, limit in zip(expected.bits, expected.limits, strict=True):
            chunk = raw[position : position + bits // 8]
            position += bits // 8
            if expected.kind == "F":
                values.append(struct.unpack(">f" if expected.order == "big" else "<f", chunk)[0])
                continue
            power = 1
            while power < limit:
                power *= 2
            values.append(int.from_bytes(chunk, "big" if expected.order == "big" else "little") % power)
        table.append(values)
    return np.array(table)


def test_every_file_of_the_corpus_is_in_the_table(test_data: Path) -> None:
    named = {expected.name for expected in TABLE} | {name for name, _ in REFUSED}
    assert named == {path.name for path in (test_data / "fcs_corpus").iterdir()}
    assert len(named) == 26


@pytest.mark.parametrize("expected", TABLE, ids=lambda e: f"{e.name}-{e.data_set}")
def test_file_is_read_with_the_right_values(test_data: Path, expected: Expected) -> None:
    path = test_data / "fcs_corpus" / expected.name
    header = read_header(path, data_set=expected.data_set)
    assert (header.version, header.n_events, len(header.channels)) == (
        expected.version,
        expected.events,
        expected.channels,
    )
    assert len(header.tolerances) == len(expected.tolerances)
    for told, due in zip(header.tolerances, expected.tolerances, strict=True):
        assert told.startswith(due)
    n_sets = 1 + max(other.data_set for other in TABLE if other.name == expected.name)
    assert header.n_data_sets == n_sets

    events = read_events(header)
    assert events.shape == (expected.events, expected.channels)
    raw = path.read_bytes()
    for rows in (range(min(200, expected.events)), range(max(0, expected.events - 200), expected.events)):
        assert np.array_equal(events[rows.start : rows.stop], slow_values(raw, expected, rows))

    if expected.by_flowio:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = flowio.FlowData(path, ignore_offset_error=True, ignore_offset_discrepancy=True)
        assert np.array_equal(events, other.as_array(preprocess=False))
        # Its dictionary of channels is not in column order: the order is P1, P2, ...
        names = [other.channels[n]["pnn"].strip() for n in range(1, expected.channels + 1)]
        assert [channel.pnn for channel in header.channels] == names


@pytest.mark.parametrize(("name", "message"), REFUSED)
def test_file_is_refused_with_the_reason(test_data: Path, name: str, message: str) -> None:
    with pytest.raises(FcsError) as caught:
        read_header(test_data / "fcs_corpus" / name)
    assert message in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "folder", ["cart", "cohort", "helios_beads", "debarcode", "gatingml", "phenograph_h1"]
)
def test_mass_cytometry_files_agree_with_flowio(test_data: Path, folder: str) -> None:
    files = sorted((test_data / folder).rglob("*.fcs"))
    assert files
    for path in files:
        header = read_header(path)
        events = read_events(header)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = flowio.FlowData(path, ignore_offset_error=True)
        assert np.array_equal(events, other.as_array(preprocess=False)), path.name
        # It drops every dollar, and takes empty values for a part of the keyword.
        ours = {key.replace("$", ""): value.replace("$", "") for key, value in header.keywords.items()}
        for key, value in other.text.items():
            if value.strip() and "\\" not in key:
                assert ours[key.upper()] == value, (path.name, key)


def test_values_that_others_lose(test_data: Path) -> None:
    """Keep a dollar inside a value, and a doubled delimiter in a marker name."""
    header = read_header(test_data / "fcs_corpus" / "SG_2014-09-26_Duplicate_Names.fcs")
    assert header.names[7:] == [("FL7-A", "GFP/FITC-A"), ("FL7-H", "GFP/FITC-H")]
    header = read_header(test_data / "fcs_corpus" / "G11.fcs")
    assert header.channels[5].pns == "Alexa Fluor™ 405-A"
    header = read_header(test_data / "fcs_corpus" / f"{EY}_3.1_Custom_Add_Well_A1.001.fcs")
    assert header.keywords["@MB_SESSIONID"] == "7cfcd6dc-0d03-464b-aecd-e2523950a4ce"
