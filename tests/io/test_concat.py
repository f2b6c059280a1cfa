"""Several files of one sample into one: Time goes on, channels are matched, nothing is lost, inputs stay."""

from __future__ import annotations

import json
import tracemalloc
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import flowio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar import CytocarError, FcsError, PanelError, io
from cytocar._core import provenance
from cytocar._core.errors import StateError
from cytocar._core.files import sha256
from cytocar.io._fcs.clock import Run, recorded, shifts
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.write import write_events
from cytocar.panel import Panel

CHANNELS = [
    ("Time", ""),
    ("Event_length", ""),
    ("Y89Di", "89Y_CD45"),
    ("Tm169Di", "169Tm_VHH"),
    ("Residual", ""),
]
SPELLED = [
    ("(Tm169)Dd", "VHH"),
    ("Residual", ""),
    ("Cell_length", ""),
    ("CD45(Y89)Di", "CD45"),
    ("Time", ""),
]
ORDER = [3, 4, 1, 2, 0]
KEYWORDS = {
    "$TIMESTEP": "0.001",
    "$CYT": "Helios",
    "$OP": "Anna Nurse",
    "$SRC": "Smith",
    "PATIENT ID": "4711",
}


def counts(n: int, seed: int, start: float = 4, step: float = 3) -> np.ndarray:
    events = np.random.default_rng(seed).exponential(40, (n, len(CHANNELS))).astype(np.float32)
    events[:, 0] = start + step * np.arange(n)
    return events


def write(
    path: Path, events: np.ndarray, keywords: dict[str, str] | None = None, channels: Any = CHANNELS
) -> Path:
    write_events(path, events, channels, {**KEYWORDS, "$FIL": path.name, **(keywords or {})})
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files: as usual, other order and spelling, and one event."""
    (tmp_path / "in").mkdir()
    return [
        write(tmp_path / "in" / "s_01.fcs", counts(50, 1)),
        write(tmp_path / "in" / "s_02.fcs", counts(30, 2)[:, ORDER], channels=SPELLED),
        write(tmp_path / "in" / "s_03.fcs", counts(1, 3, start=9)),
    ]


def test_every_event_is_there_and_time_goes_on(files: list[Path], tmp_path: Path) -> None:
    before = [sha256(path) for path in files]
    table = io.concat_fcs(files, tmp_path / "s.fcs")
    header = read_header(tmp_path / "s.fcs")
    assert header.tolerances == ()
    assert header.names == [*CHANNELS, ("File", "")]
    found = read_events(header)
    due = np.concatenate([counts(50, 1), counts(30, 2), counts(1, 3, start=9)])
    np.testing.assert_array_equal(found[:, 1:5], due[:, 1:])
    assert found[:, 5].tolist() == [1] * 50 + [2] * 30 + [3]
    ends = 4 + 3 * 49, 4 + 3 * 49 + 4 + 3 * 29
    np.testing.assert_array_equal(found[:50, 0], due[:50, 0])
    np.testing.assert_array_equal(found[50:80, 0], due[50:80, 0] + ends[0])
    assert found[80, 0] == 9 + ends[1]
    assert [sha256(path) for path in files] == before
    assert sorted(path.name for path in files[0].parent.iterdir()) == [path.name for path in files]
    assert table["number"].tolist() == [1, 2, 3]
    assert table["file"].tolist() == [path.name for path in files]
    assert table["events"].tolist() == [50, 30, 1]
    assert table["time_shift"].tolist() == [0, *ends]
    assert table["pause_s"].tolist()[1:] == pytest.approx([0.004, 0.009])


def test_another_reader_reads_it(files: list[Path], tmp_path: Path) -> None:
    io.concat_fcs(files, tmp_path / "s.fcs")
    other = flowio.FlowData(tmp_path / "s.fcs")
    np.testing.assert_array_equal(
        other.as_array(preprocess=False), read_events(read_header(tmp_path / "s.fcs"))
    )


def test_reading_it_gives_one_sample(files: list[Path], tmp_path: Path) -> None:
    io.concat_fcs(files, tmp_path / "s.fcs")
    adata = io.read_fcs(tmp_path / "s.fcs", sample_id="s")
    assert list(adata.var_names) == ["CD45", "VHH"]
    assert adata.obs["File"].value_counts().to_dict() == {1: 50, 2: 30, 3: 1}
    assert [step["step"] for step in provenance.steps(adata)] == ["io.concat_fcs", "io.read_fcs"]
    assert provenance.steps(adata)[0]["settings"] == {"files": [path.name for path in files]}


def test_blocks_make_no_difference(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    io.concat_fcs(files, tmp_path / "a.fcs")
    monkeypatch.setattr("cytocar.io._fcs.data._BLOCK_BYTES", 7 * 20)
    io.concat_fcs(files, tmp_path / "b.fcs")
    a, b = (read_header(tmp_path / name) for name in ("a.fcs", "b.fcs"))
    np.testing.assert_array_equal(read_events(a), read_events(b))
    assert a.keywords | {"$FIL": ""} == b.keywords | {"$FIL": ""}


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.fcs", counts(400_000, n)) for n in range(3)]
    io.concat_fcs(paths[:1], tmp_path / "warm.fcs")
    tracemalloc.start()
    try:
        io.concat_fcs(paths, tmp_path / "s.fcs")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < paths[0].stat().st_size


@pytest.mark.parametrize(
    ("second", "start", "shift", "how", "pause"),
    [
        # Ended at 151 ms; begins two minutes later by the clock.
        ({"$BTIM": "10:02:00", "$DATE": "17-JUN-2024"}, 4, 120_000, "clock", 119.853),
        # The same, over midnight.
        ({"$BTIM": "00:00:00", "$DATE": "18-JUN-2024"}, 4, 50_400_000, "clock", None),
        # The clock says the same second: it cannot tell, and Time goes on.
        ({"$BTIM": "10:00:00", "$DATE": "17-JUN-2024"}, 4, 151, "end of the file before", 0.004),
        # A later day is not known from the time of day alone.
        ({"$BTIM": "10:02:00"}, 4, 151, "end of the file before", 0.004),
        ({"$BTIM": "09:00:00", "$DATE": "17-JUN-2024"}, 4, 151, "end of the file before", 0.004),
        ({}, 4, 151, "end of the file before", 0.004),
        # Time of one recording in two files: it goes on already, with its pause.
        ({}, 9000, 0, "Time of the file", 8.849),
        ({"$BTIM": "10:00:00", "$DATE": "17-JUN-2024"}, 9000, 0, "Time of the file", 8.849),
    ],
)
def test_pauses_are_kept(
    tmp_path: Path, second: dict[str, str], start: float, shift: float, how: str, pause: float | None
) -> None:
    a = write(tmp_path / "a.fcs", counts(50, 1), {"$BTIM": "10:00:00", "$DATE": "17-JUN-2024"})
    b = write(tmp_path / "b.fcs", counts(50, 2, start=start), second)
    table = io.concat_fcs([a, b], tmp_path / "s.fcs")
    assert table["time_shift"][1] == shift
    assert table["time_by"][1] == how
    time = read_events(read_header(tmp_path / "s.fcs"))[:, 0]
    assert (np.diff(time) >= 0).all()
    if pause is not None:
        assert table["pause_s"][1] == pytest.approx(pause, abs=1e-6)
        assert time[50] - time[49] == pytest.approx(1000 * pause, abs=0.01)
        np.testing.assert_allclose(np.diff(time[50:]), 3, atol=0.01)


def test_files_in_the_wrong_order_are_told(tmp_path: Path) -> None:
    a = write(tmp_path / "a.fcs", counts(5, 1), {"$BTIM": "10:00:00", "$DATE": "17-JUN-2024"})
    b = write(tmp_path / "b.fcs", counts(5, 2), {"$BTIM": "09:00:00", "$DATE": "17-JUN-2024"})
    table = io.concat_fcs([a, b], tmp_path / "s.fcs")
    assert "began before a.fcs" in table["note"][1]


def test_units_of_time_become_those_of_the_first(tmp_path: Path) -> None:
    a = write(tmp_path / "a.fcs", counts(3, 1))
    b = write(tmp_path / "b.fcs", counts(3, 2, start=0, step=0.25), {"$TIMESTEP": "0.01"})
    table = io.concat_fcs([a, b], tmp_path / "s.fcs")
    time = read_events(read_header(tmp_path / "s.fcs"))[:, 0]
    assert time.tolist() == [4, 7, 10, 10, 12.5, 15]
    assert "$TIMESTEP is 0.01 s" in table["note"][1]


def test_time_that_goes_back_is_told(tmp_path: Path) -> None:
    events = counts(20, 1)
    events[10:, 0] -= 12
    a = write(tmp_path / "a.fcs", events)
    b = write(tmp_path / "b.fcs", counts(5, 2, start=1))
    table = io.concat_fcs([a, b], tmp_path / "s.fcs")
    assert "Time goes back 1 times within the file" in table["note"][0]
    assert read_events(read_header(tmp_path / "s.fcs"))[20, 0] == events[:, 0].max() + 1


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e6),
            st.floats(0, 1e6),
            st.sampled_from([0.001, 0.01]),
            st.none() | st.integers(0, 5000),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_time_never_goes_back_between_files(spans: list[tuple[float, float, float, int | None]]) -> None:
    day = datetime(2024, 6, 17)
    runs = [
        Run(first, first + length, step, None if at is None else day + timedelta(seconds=at))
        for first, length, step, at in spans
    ]
    added, _ = shifts(runs)
    end = -np.inf
    for run, shift in zip(runs, added, strict=True):
        scale = run.step / runs[0].step
        assert run.first * scale + shift >= end - 1e-6
        end = run.last * scale + shift


@pytest.mark.parametrize(
    ("keywords", "due"),
    [
        ({"$DATE": "17-JUN-2024", "$BTIM": "10:15:33"}, "2024-06-17T10:15:33"),
        ({"$DATE": "2024-06-17", "$BTIM": "1:15:33.5"}, "2024-06-17T01:15:33.500000"),
        ({"$DATE": "17-jun-24", "$BTIM": "10:15:33:30"}, "2024-06-17T10:15:33.500000"),
        ({"$BEGINDATETIME": "2024-06-17T10:15:33Z"}, "2024-06-17T10:15:33"),
        ({"$DATE": "17-JUN-2024", "$BTIM": "25:15:33"}, None),
        ({"$DATE": "17-JUN-2024"}, None),
        ({"$BTIM": "10:15:33"}, None),
        ({"$BEGINDATETIME": "soon"}, None),
    ],
)
def test_when_a_file_was_recorded(keywords: dict[str, str], due: str | None) -> None:
    found = recorded(keywords)
    assert (found.isoformat() if found else None) == due


def test_channels_without_mass_that_some_lack_are_left_out_not_filled(tmp_path: Path) -> None:
    a = write(tmp_path / "a.fcs", counts(5, 1))
    b = write(tmp_path / "b.fcs", counts(5, 2), channels=[*CHANNELS[:4], ("Center", "")])
    table = io.concat_fcs([a, b], tmp_path / "s.fcs")
    assert [pnn for pnn, _ in read_header(tmp_path / "s.fcs").names] == [
        *(pnn for pnn, _ in CHANNELS[:4]),
        "File",
    ]
    assert table["note"].tolist() == [
        "left out, because not all files have it: Residual",
        "has no channel Residual; left out, because a.fcs has it not: Center",
    ]


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (
            [*CHANNELS[:3], ("Yb171Di", "CD3"), CHANNELS[4]],
            r"b\.fcs: has no channel 'Tm169Di'.*, which a\.fcs has",
        ),
        ([*CHANNELS[:3], ("Yb171Di", "CD3"), CHANNELS[4]], r"b\.fcs: has 'Yb171Di', which a\.fcs has not"),
        ([*CHANNELS[:4], ("Yb171Di", "CD3")], r"b\.fcs: has 'Yb171Di', which a\.fcs has not"),
        ([*CHANNELS[:4], ("(Tm169)Dd", "CD3")], r"b\.fcs.*'Tm169Di'|b\.fcs: has '\(Tm169\)Dd'"),
    ],
)
def test_other_mass_channels_are_refused(
    tmp_path: Path, channels: list[tuple[str, str]], message: str
) -> None:
    a = write(tmp_path / "a.fcs", counts(5, 1))
    b = write(tmp_path / "b.fcs", counts(5, 2), channels=channels)
    with pytest.raises(FcsError, match=message):
        io.concat_fcs([a, b], tmp_path / "s.fcs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fcs", "b.fcs"]


def test_all_files_that_differ_are_named(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.fcs", counts(5, 1))]
    paths += [write(tmp_path / f"{name}.fcs", counts(5, 1)[:, :3], channels=CHANNELS[:3]) for name in "bc"]
    with pytest.raises(FcsError) as caught:
        io.concat_fcs(paths, tmp_path / "s.fcs")
    assert "b.fcs: has no channel 'Tm169Di'" in str(caught.value)
    assert "c.fcs: has no channel 'Tm169Di'" in str(caught.value)


def test_what_cannot_be_put_together_is_refused(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "there.fcs").write_text("mine")
    (tmp_path / "link.fcs").symlink_to(files[0])
    (tmp_path / "hard.fcs").hardlink_to(files[1])
    before = [sha256(path) for path in files]
    cases: list[tuple[Any, Path, str]] = [
        (files, tmp_path / "there.fcs", "there.fcs exists"),
        (files, files[1], "s_02.fcs is one of the inputs"),
        (files, tmp_path / "link.fcs", "link.fcs is one of the inputs"),
        (files, tmp_path / "hard.fcs", "hard.fcs is one of the inputs"),
        (files, files[0].parent / ".." / "in" / "s_01.fcs", "is one of the inputs"),
        ([*files, files[0].parent / ".." / "in" / "s_01.fcs"], tmp_path / "s.fcs", "s_01.fcs is given twice"),
        (files, tmp_path / "nowhere" / "s.fcs", "nowhere of the output does not exist"),
        ([], tmp_path / "s.fcs", "files is empty"),
        (str(files[0]), tmp_path / "s.fcs", "expected a list of files"),
        ([*files, tmp_path / "absent.fcs"], tmp_path / "s.fcs", "absent.fcs"),
        ([*files, tmp_path / "there.fcs"], tmp_path / "s.fcs", "there.fcs: not an FCS file"),
    ]
    for given_files, out, message in cases:
        with pytest.raises(CytocarError, match=message):
            io.concat_fcs(given_files, out)
    assert (tmp_path / "there.fcs").read_text() == "mine"
    assert [sha256(path) for path in files] == before
    assert not (tmp_path / "s.fcs").exists()


def test_a_failure_leaves_nothing(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("cytocar.io._fcs.write._write_all", fail)
    with pytest.raises(OSError, match="disk full"):
        io.concat_fcs(files, tmp_path / "s.fcs")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_panel_gives_names_and_the_old_ones_stay(files: list[Path], tmp_path: Path) -> None:
    panel = Panel.from_channels([("Y89Di", "CD45RO"), ("Tm169Di", "CAR")])
    (tmp_path / "panel.csv").write_text(panel.to_csv())
    spill = {"$SPILLOVER": "2,Y89Di,(Tm169)Dd,1,0.01,0,1", "$P1V": "500", "P1DISPLAY": "LOG"}
    odd = write(tmp_path / "odd.fcs", counts(4, 4)[:, ORDER], spill, SPELLED)
    io.concat_fcs([odd, files[0]], tmp_path / "s.fcs", panel=tmp_path / "panel.csv")
    header = read_header(tmp_path / "s.fcs")
    assert header.names[0] == ("Tm169Di", "169Tm_CAR")
    assert header.names[3] == ("Y89Di", "89Y_CD45RO")
    found = header.keywords
    assert (found["P1OLDNAME"], found["P1OLDLABEL"]) == ("(Tm169)Dd", "VHH")
    assert (found["P4OLDNAME"], found["P4OLDLABEL"]) == ("CD45(Y89)Di", "CD45")
    assert (found["$P1V"], found["P1DISPLAY"]) == ("500", "LOG")
    assert found["$SPILLOVER"] == "2,Y89Di,Tm169Di,1,0.01,0,1"
    entries = json.loads(found["CYTOCAR_FILES"])
    assert entries[0]["channels"]["Tm169Di"] == ["(Tm169)Dd", "VHH"]
    assert entries[1]["channels"]["Tm169Di"] == ["Tm169Di", "169Tm_VHH"]
    np.testing.assert_array_equal(read_events(header)[:4, 0], counts(4, 4)[:, 3])

    io.concat_fcs([odd, files[0]], tmp_path / "t.fcs", panel=panel, rename=False)
    header = read_header(tmp_path / "t.fcs")
    assert header.names == [*SPELLED, ("File", "")]
    assert not any(key.endswith(("OLDNAME", "OLDLABEL")) for key in header.keywords)


def test_a_panel_that_does_not_fit_is_refused(files: list[Path], tmp_path: Path) -> None:
    panel = Panel.from_channels([("Y89Di", "CD45"), ("Yb171Di", "CD3")])
    with pytest.raises(PanelError, match=r"s_02\.fcs: has no channel 'Yb171Di'"):
        io.concat_fcs(files, tmp_path / "s.fcs", panel=panel)


def test_keywords(tmp_path: Path) -> None:
    first = {"$BTIM": "10:00:00", "$ETIM": "10:01:00", "$DATE": "17-JUN-2024", "$ABRT": "3", "$LOST": "1"}
    last = {"$BTIM": "10:05:00", "$ETIM": "10:06:00", "$DATE": "17-JUN-2024", "$ABRT": "4", "$SMNO": "7"}
    a, b = write(tmp_path / "a.fcs", counts(5, 1), first), write(tmp_path / "b.fcs", counts(6, 2), last)
    io.concat_fcs([a, b], tmp_path / "s.fcs")
    found = read_header(tmp_path / "s.fcs").keywords
    assert {
        key: found.get(key) for key in ("$BTIM", "$ETIM", "$ABRT", "$LOST", "$FIL", "$OP", "PATIENT ID")
    } == {
        "$BTIM": "10:00:00",
        "$ETIM": "10:06:00",
        "$ABRT": "7",
        "$LOST": None,
        "$FIL": "s.fcs",
        "$OP": "Anna Nurse",
        "PATIENT ID": "4711",
    }
    entries = json.loads(found["CYTOCAR_FILES"])
    assert [(entry["number"], entry["file"], entry["events"]) for entry in entries] == [
        (1, "a.fcs", 5),
        (2, "b.fcs", 6),
    ]
    assert entries[1]["keywords"]["$SMNO"] == "7"


def test_deidentified(tmp_path: Path) -> None:
    dates = {"$BTIM": "10:00:00", "$DATE": "17-JUN-2024", "$SMNO": "Smith"}
    a, b = write(tmp_path / "Smith_1.fcs", counts(5, 1), dates), write(tmp_path / "Smith_2.fcs", counts(5, 2))
    io.concat_fcs(
        [a, b], tmp_path / "Smith.fcs", panel=Panel.from_channels([("Y89Di", "X")]), deidentify=True
    )
    raw = (tmp_path / "Smith.fcs").read_bytes()[: read_header(tmp_path / "Smith.fcs").data_begin]
    for word in (b"Smith", b"Anna", b"4711", b"JUN", b"10:00", b"PATIENT"):
        assert word not in raw
    found = read_header(tmp_path / "Smith.fcs").keywords
    assert found["$CYT"] == "Helios"
    assert found["P3OLDLABEL"] == "89Y_CD45"
    assert [entry["events"] for entry in json.loads(found["CYTOCAR_FILES"])] == [5, 5]


def test_states_and_histories(files: list[Path], tmp_path: Path) -> None:
    adata = io.read_fcs(files[0])
    provenance.set_state(adata, "arcsinh")
    io.write_fcs(adata, tmp_path / "t.fcs")
    with pytest.raises(StateError, match=r"s_03\.fcs counts, t\.fcs arcsinh"):
        io.concat_fcs([files[2], tmp_path / "t.fcs"], tmp_path / "s.fcs")
    io.concat_fcs([tmp_path / "t.fcs"], tmp_path / "s.fcs")
    again = io.read_fcs(tmp_path / "s.fcs")
    assert provenance.state(again) == "arcsinh"
    names = [step["step"] for step in provenance.steps(again)]
    assert names == ["io.read_fcs", "io.write_fcs", "io.concat_fcs", "io.read_fcs"]


def test_a_file_that_was_put_together_before(files: list[Path], tmp_path: Path) -> None:
    io.concat_fcs(files[:2], tmp_path / "a.fcs")
    other = write(
        tmp_path / "b.fcs", np.column_stack([counts(3, 5), [1, 1, 1]]), channels=[*CHANNELS, ("File", "")]
    )
    table = io.concat_fcs([tmp_path / "a.fcs", other], tmp_path / "s.fcs")
    header = read_header(tmp_path / "s.fcs")
    assert [pnn for pnn, _ in header.names[-2:]] == ["File_before", "File"]
    assert table["note"][0] == "channel 'File' of the files is 'File_before' there"
    assert read_events(header)[:, -2].tolist() == [1] * 50 + [2] * 30 + [1] * 3
    assert read_events(header)[:, -1].tolist() == [1] * 80 + [2] * 3
    assert header.keywords["P6OLDNAME"] == "File"
    io.concat_fcs([tmp_path / "s.fcs"], tmp_path / "t.fcs")
    names = [pnn for pnn, _ in read_header(tmp_path / "t.fcs").names]
    assert names[-3:] == ["File_before", "File_before_2", "File"]


def test_without_time_and_without_events(tmp_path: Path) -> None:
    channels = [("Y89Di", "CD45"), ("Center", "")]
    a = write(tmp_path / "a.fcs", np.ones((3, 2)), channels=channels)
    b = write(tmp_path / "b.fcs", np.empty((0, 2)), channels=channels)
    table = io.concat_fcs([a, b], tmp_path / "s.fcs")
    assert read_events(read_header(tmp_path / "s.fcs")).tolist() == [[1, 1, 1]] * 3
    assert table["time_shift"].isna().all()
    empty = write(tmp_path / "empty.fcs", np.empty((0, 5)))
    timed = write(tmp_path / "timed.fcs", counts(4, 1))
    io.concat_fcs([timed, empty, write(tmp_path / "c.fcs", counts(4, 1))], tmp_path / "t.fcs")
    time = read_events(read_header(tmp_path / "t.fcs"))[:, 0]
    assert time.tolist() == [4, 7, 10, 13, 17, 20, 23, 26]


def test_real_files(test_data: Path, tmp_path: Path) -> None:
    paths = sorted((test_data / "cart").glob("*.fcs"))[:2]
    io.concat_fcs(paths, tmp_path / "s.fcs")
    first, second = (read_events(read_header(path)) for path in paths)
    found = read_events(read_header(tmp_path / "s.fcs"))
    assert len(found) == len(first) + len(second)
    assert np.array_equal(found[: len(first), 2:-1], first[:, 2:])
