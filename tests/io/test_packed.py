"""Packed FCS files are read as what they hold; those that are damaged, crowded or too large are refused."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cytocar import FcsError
from cytocar.io import concat_fcs, inspect_file, read_fcs
from cytocar.io._fcs import packed as packed_files
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.second_opinion import second_opinion
from cytocar.io._fcs.write import write_events

CHANNELS = [("Time", ""), ("Event_length", ""), ("Yb171Di", "171Yb_CD3"), ("Nd145Di", "145Nd_CD4")]
EVENTS = np.arange(20_000, dtype=np.float32).reshape(5000, 4)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    write_events(tmp_path / "a.fcs", EVENTS, CHANNELS, {"$CYT": "Helios"})
    return tmp_path / "a.fcs"


def zipped(path: Path, names: list[str], folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            packed.write(path, name)
    return folder / "a.zip"


@pytest.fixture(params=["fcs.gz", "zip", "no ending"])
def packed(request: pytest.FixtureRequest, plain: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "packed"
    folder.mkdir()
    if request.param == "zip":
        return zipped(plain, ["run/", "__MACOSX/run/._a.fcs", "run/a.fcs", "notes.txt"][1:], folder)
    path = folder / ("a.fcs.gz" if request.param == "fcs.gz" else "a.fcs")
    path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


def test_a_packed_file_is_read_as_the_plain_one(packed: Path, plain: Path) -> None:
    header, original = read_header(packed), read_header(plain)
    assert (header.keywords, header.channels, header.file_bytes) == (
        original.keywords, original.channels, original.file_bytes,
    )  # fmt: skip
    assert np.array_equal(read_events(header), EVENTS)
    one, other = read_fcs(packed, sample_id="s"), read_fcs(plain, sample_id="s")
    assert np.array_equal(one.X, other.X)
    assert one.obs.equals(other.obs)
    assert inspect_file(packed).channels.equals(inspect_file(plain).channels)
    assert second_opinion(header).verdict == "agrees"


def test_packed_files_are_joined(packed: Path, plain: Path, tmp_path: Path) -> None:
    table = concat_fcs([packed, plain], tmp_path / "joined.fcs")
    assert table["events"].tolist() == [5000, 5000]


def test_several_files_in_a_zip_file_are_refused_with_what_to_do(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(FcsError, match=r"holds 2 FCS files \(a\.fcs, b\.FCS\).*name the files one by one"):
        read_header(zipped(plain, ["a.fcs", "b.FCS"], tmp_path))


def test_a_zip_file_without_fcs_is_refused(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(FcsError, match="the zip file holds no FCS file"):
        read_header(zipped(plain, ["a.txt"], tmp_path))


@pytest.mark.parametrize("keep", [5, 12, 300, -20])
def test_a_damaged_packed_file_is_refused(packed: Path, keep: int) -> None:
    packed.write_bytes(packed.read_bytes()[:keep])
    with pytest.raises(FcsError, match=r"file is damaged|not an FCS file"):
        read_header(packed)


def test_packed_bytes_that_are_no_fcs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.fcs.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(FcsError, match="not an FCS file"):
        read_header(tmp_path / "a.fcs.gz")


def test_what_grows_beyond_measure_is_refused(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_files, "ALWAYS_UNPACKED", 1 << 20)
    bomb = plain.read_bytes() + bytes(50 << 20)
    (tmp_path / "bomb.fcs.gz").write_bytes(gzip.compress(bomb))
    before = set(Path(packed_files.tempfile.gettempdir()).glob("cytocar.*"))
    with pytest.raises(FcsError, match="over 200 times its size"):
        read_header(tmp_path / "bomb.fcs.gz")
    assert set(Path(packed_files.tempfile.gettempdir()).glob("cytocar.*")) <= before


def test_a_packed_file_that_was_replaced_is_read_anew(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.fcs.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_header(path).n_events == 5000
    write_events(plain, EVENTS[:7], CHANNELS)
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_events(read_header(path)).shape == (7, 4)


def test_no_more_than_two_unpacked_files_are_kept(plain: Path, tmp_path: Path) -> None:
    before = set(Path(packed_files.tempfile.gettempdir()).glob("cytocar.*"))
    for number in range(5):
        path = tmp_path / f"{number}.fcs.gz"
        path.write_bytes(gzip.compress(plain.read_bytes()))
        read_header(path)
    assert len(set(Path(packed_files.tempfile.gettempdir()).glob("cytocar.*")) - before) <= 2


def test_a_study_of_packed_files_is_made_checked_and_read(plain: Path, tmp_path: Path) -> None:
    from cytocar.study import init

    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(plain, folder / "P1_d0.fcs")
    (folder / "P2_d0.fcs.gz").write_bytes(gzip.compress(plain.read_bytes() + b"\n"))
    zipped(plain, ["x.fcs"], folder).rename(folder / "P3_d0.zip")
    init(folder, tmp_path / "study")
    sheet = (tmp_path / "study" / "samples.csv").read_text()
    assert all(name in sheet for name in ("P1_d0.fcs", "P2_d0.fcs.gz", "P3_d0.zip"))
    assert "fcs.gz_" not in sheet
    assert not any(line.startswith("P2_d0.fcs,") for line in sheet.splitlines())
