"""Writing: what was written is read back, keywords stay, names go on request, no half-written file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import anndata as ad
import flowio
import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cytocar import FcsError, ParameterError, io
from cytocar._core import provenance
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.layout import head_and_text
from cytocar.io._fcs.write import stream, write_events

CHANNELS = [
    ("Time", ""),
    ("Event_length", ""),
    ("Y89Di", "89Y_CD45"),
    ("Tm169Di", "169Tm_VHH"),
    ("Center", ""),
]
KEYWORDS = {
    "$CYT": "DVSSCIENCES-CYTOF-6.7",
    "$DATE": "17-JUN-2024",
    "$OP": "Anna Nurse",
    "$SRC": "Patient Smith",
    "$FIL": "smith.fcs",
    "$TIMESTEP": "0.001",
    "PATIENT ID": "4711",
    "TUBE NAME": "smith 2mo",
    "$P3V": "500",
    "P4DISPLAY": "LOG",
}


def counts(n: int = 50, seed: int = 0) -> np.ndarray:
    events = np.random.default_rng(seed).exponential(50, size=(n, len(CHANNELS))).astype(np.float32)
    events[:, 0] = np.sort(events[:, 0])
    return events


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "smith.fcs"
    write_events(path, counts(), CHANNELS, KEYWORDS)
    return path


_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=10)
_name = _text.map(str.strip).filter(bool)
_free_key = _name.map(str.upper).map(str.strip).filter(lambda key: not key.startswith(("$", "P", "@P")))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_was_written_is_read(tmp_path: Path, data: st.DataObject) -> None:
    events = data.draw(
        npst.arrays(np.float32, npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6))
    )
    names = data.draw(st.lists(_name, min_size=events.shape[1], max_size=events.shape[1], unique=True))
    long = data.draw(st.lists(_text.map(str.strip), min_size=len(names), max_size=len(names)))
    keywords = data.draw(
        st.dictionaries(_free_key, _text.filter(lambda v: not v or v.strip(" ")), max_size=4)
    )
    path = tmp_path / "a.fcs"
    write_events(path, events, list(zip(names, long, strict=True)), keywords)

    header = read_header(path)
    assert (header.version, header.tolerances, header.n_data_sets) == ("3.1", (), 1)
    assert header.names == list(zip(names, long, strict=True))
    assert {key: header.keywords[key] for key in keywords} == keywords
    found = read_events(header)
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.uint32), events.view(np.uint32))


def test_another_reader_reads_it(file: Path) -> None:
    other = flowio.FlowData(file)
    assert np.array_equal(other.as_array(preprocess=False), counts())
    assert [other.channels[n]["pnn"] for n in range(1, 6)] == [name for name, _ in CHANNELS]
    assert other.text["op"] == "Anna Nurse"


def test_no_events(tmp_path: Path) -> None:
    write_events(tmp_path / "a.fcs", np.empty((0, 2)), [("A", ""), ("B", "")])
    header = read_header(tmp_path / "a.fcs")
    assert (header.n_events, header.tolerances) == (0, ())
    assert read_events(header).shape == (0, 2)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint16, bool])
def test_other_number_types_are_stored_as_float32(tmp_path: Path, dtype: type) -> None:
    events = (counts() > 40).astype(dtype) if dtype is bool else counts().astype(dtype)
    write_events(tmp_path / "a.fcs", events, CHANNELS)
    assert np.array_equal(read_events(read_header(tmp_path / "a.fcs")), events.astype(np.float32))


def test_columns_in_any_memory_order(tmp_path: Path) -> None:
    events = counts()
    write_events(tmp_path / "a.fcs", np.asfortranarray(events)[::2], CHANNELS)
    assert np.array_equal(read_events(read_header(tmp_path / "a.fcs")), events[::2])


def test_range_holds_every_value_and_stays_where_it_does(tmp_path: Path) -> None:
    events = np.array([[5, 5, np.inf, -3, np.nan]], dtype=np.float32)
    write_events(tmp_path / "a.fcs", events, CHANNELS, {"$P1R": "4096", "$P2R": "4"})
    header = read_header(tmp_path / "a.fcs")
    assert [channel.range for channel in header.channels] == [4096, 6, 1, 1, 1]
    assert {header.keywords[f"$P{n}E"] for n in range(1, 6)} == {"0,0"}


def test_keywords_of_a_channel_follow_it(tmp_path: Path) -> None:
    keywords = {
        "$P1N": "A", "$P1V": "100", "$P2N": "B", "$P2V": "200", "P2DISPLAY": "LOG", "@P1X": "x", "$P2E": "4,1",
        "P53": "kept", "P53STATUS": "kept too", "$PROJ": "legend", "$TOT": "99", "$BEGINDATA": "7", "$NEXTDATA": "5",
    }  # fmt: skip
    write_events(tmp_path / "a.fcs", np.ones((1, 3)), [("B", ""), ("C", ""), ("A", "")], keywords)
    header = read_header(tmp_path / "a.fcs")
    found = header.keywords
    assert header.tolerances == ()
    assert {key: found.get(key) for key in ("$P1V", "$P2V", "$P3V", "P1DISPLAY", "@P3X", "$P1E")} == {
        "$P1V": "200",
        "$P2V": None,
        "$P3V": "100",
        "P1DISPLAY": "LOG",
        "@P3X": "x",
        "$P1E": "0,0",
    }
    assert (found["P53"], found["P53STATUS"], found["$PROJ"], found["$TOT"]) == (
        "kept",
        "kept too",
        "legend",
        "1",
    )


@pytest.mark.parametrize("n_bytes", [99_990_000, 100_000_000, 3_000_000_000])
def test_offsets_above_eight_digits(tmp_path: Path, n_bytes: int) -> None:
    """Beyond byte 99,999,999 HEADER has 0 and TEXT the offsets; the file is sparse, only its end is written."""
    n_bytes -= n_bytes % 8
    text = {
        "$PAR": "2", "$TOT": str(n_bytes // 8), "$DATATYPE": "F", "$BYTEORD": "1,2,3,4", "$MODE": "L",
        "$P1N": "A", "$P1B": "32", "$P1R": "1", "$P2N": "B", "$P2B": "32", "$P2R": "1",
    }  # fmt: skip
    head, text_bytes = head_and_text(text, n_bytes=n_bytes)
    path = tmp_path / "large.fcs"
    with open(path, "wb") as stream:
        stream.write(head + text_bytes)
        stream.seek(n_bytes - 8, 1)
        stream.write(np.array([1, 2], "<f4").tobytes())
    header = read_header(path)
    assert header.tolerances == ()
    assert header.data_begin == len(head) + len(text_bytes)
    assert header.data_bytes == n_bytes
    in_header = (int(head[26:34]), int(head[34:42]))
    large = header.data_begin + n_bytes - 1 > 99_999_999
    assert in_header == ((0, 0) if large else (header.data_begin, header.data_begin + n_bytes - 1))
    assert int(header.keywords["$ENDDATA"]) == header.data_begin + n_bytes - 1
    if n_bytes < 200_000_000:
        events = read_events(header)
        assert events[-1].tolist() == [1, 2]
        assert not events[:-1].any()


@pytest.mark.parametrize("extra", range(40))
def test_offsets_are_right_whatever_the_length_of_text(extra: int) -> None:
    # The number of digits of an offset changes the length of TEXT, and so the offset.
    head, text = head_and_text({"A": "x" * (extra + 9900)}, n_bytes=80)
    begin = int(head[26:34])
    assert begin == len(head) + len(text)
    assert f"$BEGINDATA{chr(text[0])}{begin}{chr(text[0])}".encode() in text
    assert (int(head[10:18]), int(head[18:26])) == (58, begin - 1)


@pytest.mark.parametrize(
    ("events", "channels", "message"),
    [
        (np.ones((2, 3)), [("A", ""), ("B", "")], r"shape \(2, 3\), but 2 channels"),
        (np.ones(3), [("A", "")], r"shape \(3,\)"),
        (np.ones((2, 2)), [("A", ""), (" ", "")], r"channel names are \['A', ''\]"),
        (np.ones((2, 0)), [], r"channel names are \[\]"),
        (np.ones((2, 3)), [("A", ""), ("B", ""), ("A ", "")], "more than once: A"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, events: np.ndarray, channels: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        write_events(tmp_path / "a.fcs", events, channels)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file(file: Path) -> None:
    before = file.read_bytes()
    events = np.ones((3, 1), dtype=object)
    events[2] = "text"
    with pytest.raises((TypeError, ValueError)):
        write_events(file, events, [("A", "")])
    with pytest.raises(FcsError, match="every character"):
        write_events(file, np.ones((1, 1)), [("A", "")], {"X": "".join(map(chr, range(1, 127)))})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["smith.fcs"]


def test_fewer_events_than_announced_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(FcsError, match="7 events were announced, but 5 came"):
        stream(tmp_path / "a.fcs", lambda: [np.ones((5, 1))], 7, [("A", "")], {})
    assert list(tmp_path.iterdir()) == []


def test_blocks_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr("cytocar.io._fcs.write._BLOCK_BYTES", 7 * 20)
    write_events(tmp_path / "b.fcs", counts(), CHANNELS, KEYWORDS)
    assert (tmp_path / "b.fcs").read_bytes() == file.read_bytes()


def test_anndata_goes_back_into_the_file_it_came_from(file: Path, tmp_path: Path) -> None:
    adata = io.read_fcs(file, sample_id="s")
    before = adata.copy()
    io.write_fcs(adata, tmp_path / "b.fcs")
    header, original = read_header(tmp_path / "b.fcs"), read_header(file)
    assert header.names == original.names
    assert np.array_equal(read_events(header), counts())
    offsets = {"$BEGINDATA", "$ENDDATA", "$FIL"}
    kept = {key: value for key, value in original.keywords.items() if key not in offsets}
    assert {key: header.keywords[key] for key in kept} == kept
    assert [step["step"] for step in json.loads(header.keywords["CYTOCAR_STEPS"])] == [
        "io.read_fcs",
        "io.write_fcs",
    ]
    # Nothing of the AnnData was changed.
    assert np.array_equal(adata.X, before.X)
    assert adata.uns == before.uns

    again = io.read_fcs(tmp_path / "b.fcs", sample_id="s")
    assert np.array_equal(again.X, adata.X)
    assert again.obs.equals(adata.obs)
    assert again.var.equals(adata.var)
    assert [step["step"] for step in provenance.steps(again)] == [
        "io.read_fcs",
        "io.write_fcs",
        "io.read_fcs",
    ]


def test_subset_reordered_and_without_original(file: Path, tmp_path: Path) -> None:
    adata = io.read_fcs(file)
    part = adata[10:20, ["VHH", "CD45"]]
    io.write_fcs(part, tmp_path / "b.fcs")
    assert np.array_equal(read_events(read_header(tmp_path / "b.fcs")), counts()[10:20])

    plain = ad.AnnData(
        X=scipy.sparse.csr_matrix(counts()[:, [3, 2]]),
        obs=adata.obs[["Center", "Time", "event_index"]].assign(cluster="a"),
        var=adata.var.loc[["VHH", "CD45"]],
    )
    io.write_fcs(plain, tmp_path / "c.fcs")
    header = read_header(tmp_path / "c.fcs")
    assert header.names == [("Time", ""), ("Tm169Di", "169Tm_VHH"), ("Y89Di", "89Y_CD45"), ("Center", "")]
    assert np.array_equal(read_events(header), counts()[:, [0, 3, 2, 4]])


def test_markers_that_were_renamed_are_written(file: Path, tmp_path: Path) -> None:
    adata = io.read_fcs(file)
    adata.var_names = ["CD45", "CAR"]
    io.write_fcs(adata, tmp_path / "b.fcs")
    assert read_header(tmp_path / "b.fcs").names[2:4] == [("Y89Di", "89Y_CD45"), ("Tm169Di", "169Tm_CAR")]


def test_layers_and_what_they_hold(file: Path, tmp_path: Path) -> None:
    adata = io.read_fcs(file)
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.arcsinh(adata.X / 5)
    provenance.set_state(adata, "arcsinh")
    io.write_fcs(adata, tmp_path / "x.fcs")
    io.write_fcs(adata, tmp_path / "counts.fcs", layer="counts")
    for name, state, matrix in (("x", "arcsinh", adata.X), ("counts", "counts", adata.layers["counts"])):
        again = io.read_fcs(tmp_path / f"{name}.fcs")
        assert provenance.state(again) == state
        assert np.array_equal(again.X, matrix)
    with pytest.raises(ParameterError, match="no layer 'count'; did you mean 'counts'"):
        io.write_fcs(adata, tmp_path / "y.fcs", layer="count")


def test_deidentified_file_names_nobody(file: Path, tmp_path: Path) -> None:
    adata = io.read_fcs(file, sample_id="smith_2mo")
    io.write_fcs(adata, tmp_path / "b.fcs", deidentify=True)
    raw = (tmp_path / "b.fcs").read_bytes()
    for secret in (b"Smith", b"smith", b"Anna", b"4711", b"JUN", b"$OP", b"$DATE", b"PATIENT"):
        assert secret not in raw
    header = read_header(tmp_path / "b.fcs")
    assert header.names == CHANNELS
    assert (header.keywords["$CYT"], header.keywords["$TIMESTEP"]) == ("DVSSCIENCES-CYTOF-6.7", "0.001")
    assert header.keywords["$P3V"] == "500"
    assert json.loads(header.keywords["CYTOCAR_STEPS"]) == [{"step": "io.read_fcs"}, {"step": "io.write_fcs"}]
    assert np.array_equal(read_events(header), counts())
    # Without the switch everything stays.
    io.write_fcs(adata, tmp_path / "c.fcs")
    assert read_header(tmp_path / "c.fcs").keywords["$OP"] == "Anna Nurse"


def test_real_files_come_back(test_data: Path, tmp_path: Path) -> None:
    for name in (
        "helios_beads/raw_cytof.fcs",
        "debarcode/sample_barcoded_file.fcs",
        "phenograph_h1/H1_PhenoGraph_cluster3.fcs",
        "cart/Yescarta-Exhaustion-032219_Healthy-PBMC2-Control.fcs",
        "fcs_corpus/facs_diva_test.fcs",
    ):
        original = read_header(test_data / name)
        io.write_fcs(io.read_fcs(test_data / name), tmp_path / "a.fcs")
        header = read_header(tmp_path / "a.fcs")
        assert header.tolerances == ()
        assert header.names == original.names
        events = read_events(header)
        assert np.array_equal(events, read_events(original))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.array_equal(flowio.FlowData(tmp_path / "a.fcs").as_array(preprocess=False), events)
        layout = ("$BEGIN", "$END", "$BYTEORD", "$TOT", "$FIL", "FILENAME")
        changed = {key for key, value in original.keywords.items() if header.keywords.get(key) != value}
        assert all(key.startswith(layout) for key in changed), changed


def test_a_daughter_file_has_its_own_name(file: Path, tmp_path: Path) -> None:
    adata = io.read_fcs(file)
    io.write_fcs(adata, tmp_path / "smith_VHH.fcs")
    first = read_header(tmp_path / "smith_VHH.fcs").keywords
    assert (first["$FIL"], first["CYTOCAR_FIRST_FIL"], "FILENAME" in first) == (
        "smith_VHH.fcs",
        "smith.fcs",
        False,
    )
    io.write_fcs(io.read_fcs(tmp_path / "smith_VHH.fcs"), tmp_path / "b.fcs")
    second = read_header(tmp_path / "b.fcs").keywords
    assert (second["$FIL"], second["CYTOCAR_FIRST_FIL"]) == ("b.fcs", "smith.fcs")
    io.write_fcs(adata, tmp_path / "c.fcs", deidentify=True)
    assert "smith" not in json.dumps(read_header(tmp_path / "c.fcs").keywords)


def test_every_keyword_that_names_the_file_names_the_new_one(tmp_path: Path) -> None:
    write_events(tmp_path / "a.fcs", counts(), CHANNELS, {"FILENAME": "D:/runs/a.fcs", "$FIL": "old.fcs"})
    io.write_fcs(io.read_fcs(tmp_path / "a.fcs"), tmp_path / "b.fcs")
    written = read_header(tmp_path / "b.fcs").keywords
    assert (written["$FIL"], written["FILENAME"]) == ("b.fcs", "b.fcs")


STALE = {
    "FLOWCORE_$P{}RMAX": "{}000",
    "FLOWCORE_$P{}RMIN": "-{}",
    "$P{}G": "{}.5",
    "P{}DISPLAY": "LOG{}",
    "@P{}ADDRESS": "{}",
    "P{}BS": "{}",
}


def test_keywords_of_other_programs_follow_their_columns(tmp_path: Path) -> None:
    keywords = {key.format(n): value.format(n) for key, value in STALE.items() for n in range(1, 6)}
    keywords |= {
        "$DFC3TO4": "12.5",
        "$DFC2TO3": "1",
        "$COMP": "2,1,0,0,1",
        "FLOWCORE_$P99RMAX": "7",
        "P7HELD": "x",
    }
    write_events(tmp_path / "a.fcs", counts(), CHANNELS, keywords)
    adata = io.read_fcs(tmp_path / "a.fcs")
    # Without Event_length, the second column, all behind it move by one.
    del adata.obs["Event_length"]
    io.write_fcs(adata, tmp_path / "b.fcs")
    written = read_header(tmp_path / "b.fcs").keywords
    for now, before in ((1, 1), (2, 3), (3, 4), (4, 5)):
        for key, value in STALE.items():
            assert written[key.format(now)] == value.format(before), key
    assert not [key for key in written if key.startswith(("FLOWCORE_$P5", "$P5", "P5", "@P5"))]
    assert (written["$DFC2TO3"], "$DFC3TO4" in written, "$COMP" in written) == ("12.5", False, False)
    assert (written["FLOWCORE_$P99RMAX"], written["P7HELD"]) == ("7", "x")


@pytest.mark.parametrize(
    "channels",
    [
        [("Time", ""), ("Yb171Di", "171Yb_CD3"), ("Yb171Di", "171Yb_CD19"), ("Nd145Di", "145Nd_CD4")],
        [("Time", ""), ("Yb171Di", ""), ("Yb171Di", ""), ("Nd145Di", "145Nd_CD4")],
        [("Time", ""), ("Time", ""), ("Yb171Di", "171Yb_CD3"), ("Nd145Di", "145Nd_CD4")],
    ],
)
def test_two_channels_of_one_name_keep_their_values_and_keywords(
    tmp_path: Path, channels: list[tuple[str, str]]
) -> None:
    named = {f"$P{n}N": name for n, (name, _) in enumerate(channels, 1)}
    named |= {f"$P{n}S": long for n, (_, long) in enumerate(channels, 1) if long}
    events = counts()[:, :4]
    write_events(tmp_path / "a.fcs", events, channels, named | {"$P2V": "22", "$P3V": "33"})
    adata = io.read_fcs(tmp_path / "a.fcs")
    io.write_fcs(adata, tmp_path / "b.fcs")
    header = read_header(tmp_path / "b.fcs")
    assert header.names == channels
    assert np.array_equal(read_events(header), events)
    assert (header.keywords["$P2V"], header.keywords["$P3V"]) == ("22", "33")


def test_a_name_that_the_file_has_once_is_not_written_twice(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="more than once: A"):
        write_events(tmp_path / "a.fcs", np.ones((2, 2)), [("A", ""), ("A", "")], {"$P1N": "A"})
