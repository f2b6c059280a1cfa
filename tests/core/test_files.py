import hashlib
import os

import pytest

from cytocar._core.errors import ParameterError
from cytocar._core.files import replacing, require_folder, sha256, write_text


def test_nothing_is_left_when_the_writer_fails(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert target.read_text() == "old"


def test_replaces_and_keeps_the_ending_for_the_writer(tmp_path):
    target = tmp_path / "table.csv"
    with replacing(target) as temporary:
        assert temporary.suffix == ".csv"
        assert temporary.parent == tmp_path
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_others_may_read_what_is_written(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a.txt", "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_line_ends_stay_as_they_are(tmp_path):
    write_text(tmp_path / "a.txt", "a\r\nβ\n")
    assert (tmp_path / "a.txt").read_bytes() == "a\r\nβ\n".encode()


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"cytocar" * 1000)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"cytocar" * 1000).hexdigest()


def test_a_file_is_not_a_folder_to_write_to(tmp_path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("something else")
    with pytest.raises(ParameterError, match=r"taken: this is a file, not a folder; name a folder"):
        require_folder(taken)
    require_folder(tmp_path)
    require_folder(tmp_path / "new")
