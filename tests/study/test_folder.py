import pytest

from cytocar import StudyError
from cytocar.study._run.folder import building


def test_the_folder_appears_when_it_is_whole(tmp_path):
    out = tmp_path / "new" / "results"
    with building(out) as partial:
        (partial / "a.txt").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a.txt"]
    assert [path.name for path in out.parent.iterdir()] == ["results"]


def test_an_empty_folder_may_be_given(tmp_path):
    out = tmp_path / "results"
    out.mkdir()
    with building(out) as partial:
        (partial / "a.txt").write_text("a")
    assert (out / "a.txt").exists()


def test_nothing_is_left_when_the_work_fails(tmp_path):
    def stop() -> None:
        with building(tmp_path / "results") as partial:
            (partial / "half.csv").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_refused_and_untouched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StudyError, match=r"is not empty \(it holds mine\.txt\)"), building(tmp_path):
        pytest.fail("the block must not run")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StudyError, match="this is a file, not a folder"), building(tmp_path / "file"):
        pytest.fail("the block must not run")
