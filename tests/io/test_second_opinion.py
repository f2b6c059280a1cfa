"""FlowIO beside cytocar: agreement, differences with their place, refusals with their reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytocar import io
from cytocar._core.errors import FcsError, ParameterError
from cytocar.io._fcs import second_opinion as module
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.second_opinion import second_opinion
from cytocar.io._fcs.write import write_events

CHANNELS = [("Time", ""), ("Yb171Di", "171Yb_CD3"), ("Nd145Di", "145Nd_CD4")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).gamma(1, 20, (500, 3)).astype(np.float32)
    values[7, 1] = np.nan
    path = tmp_path / "a.fcs"
    write_events(path, values, CHANNELS)
    return path


def test_a_sound_file_is_read_alike_and_nan_equals_nan(file: Path):
    opinion = second_opinion(read_header(file))
    assert (opinion.verdict, opinion.reason, opinion.problems) == ("agrees", "", ())
    assert "500 events x 3 channels" in str(opinion)


def test_a_value_that_differs_is_a_problem_with_its_place(file: Path, monkeypatch: pytest.MonkeyPatch):
    right = module._flowio

    def wrong(header, options):
        data = right(header, options)
        data.events[3 * 41 + 2] += 1
        data.events[3 * 99 + 2] += 1
        return data

    monkeypatch.setattr(module, "_flowio", wrong)
    opinion = second_opinion(read_header(file))
    assert opinion.verdict == "differs"
    [problem] = opinion.problems
    assert "'Nd145Di', event 41" in problem.what
    assert "2 of 500 events differ" in problem.what
    assert problem.where == str(file)


def test_nan_beside_a_number_differs(file: Path, monkeypatch: pytest.MonkeyPatch):
    right = module._flowio

    def wrong(header, options):
        data = right(header, options)
        data.events[3 * 7 + 1] = 0.0
        return data

    monkeypatch.setattr(module, "_flowio", wrong)
    [problem] = second_opinion(read_header(file)).problems
    assert "event 7: cytocar reads nan, FlowIO 0" in problem.what


def test_dollars_that_flowio_drops_are_a_note_not_a_difference(tmp_path: Path):
    path = tmp_path / "dollar.fcs"
    write_events(path, np.ones((4, 2), np.float32), [("Yb171Di", "171Yb_CD$3"), ("Nd145Di", "145Nd_CD4")])
    opinion = second_opinion(read_header(path))
    assert opinion.verdict == "agrees"
    assert opinion.notes == ("FlowIO leaves out every '$' in values: $P1S",)


def test_names_that_differ_are_problems(file: Path, monkeypatch: pytest.MonkeyPatch):
    right = module._flowio

    def wrong(header, options):
        data = right(header, options)
        data.pns_labels[2] = "145Nd_CD8"
        return data

    monkeypatch.setattr(module, "_flowio", wrong)
    [problem] = second_opinion(read_header(file)).problems
    assert problem.what == "$P3S is '145Nd_CD4' by cytocar and '145Nd_CD8' by FlowIO"


def test_a_late_end_of_data_is_said_as_a_tolerance(file: Path):
    raw = file.read_bytes()
    header = read_header(file)
    end = header.data_begin + header.data_bytes - 1
    late = raw.replace(str(end).encode(), str(end + 1).encode())
    assert late != raw
    file.write_bytes(late + b"\0" if len(late) <= end + 1 else late)
    opinion = second_opinion(read_header(file))
    assert opinion.verdict == "agrees"
    assert "one byte late" in opinion.reason


def test_what_flowio_refuses_is_said_with_its_reason(file: Path, monkeypatch: pytest.MonkeyPatch):
    import flowio

    def refuse(*_args, **_options):
        raise KeyError("begindata")

    monkeypatch.setattr(flowio, "FlowData", refuse)
    opinion = second_opinion(read_header(file))
    assert opinion.verdict == "refused"
    assert "keyword 'begindata'" in str(opinion)
    assert not opinion.problems
    with pytest.raises(FcsError, match="does not read this file") as caught:
        io.read_fcs(file, engine="flowio")
    assert "engine='cytocar'" in caught.value.fix


def test_both_engines_give_the_same_object(file: Path):
    ours, theirs = io.read_fcs(file), io.read_fcs(file, engine="flowio")
    np.testing.assert_array_equal(ours.X, theirs.X)
    assert theirs.X.dtype == np.float32
    assert ours.obs.equals(theirs.obs)
    assert ours.var.equals(theirs.var)
    assert '"engine": "flowio"' in theirs.uns["cytocar"]["steps"]


def test_an_unknown_engine_is_refused(file: Path):
    with pytest.raises(ParameterError, match="engine is 'flowIO'"):
        io.read_fcs(file, engine="flowIO")


def test_no_real_file_is_read_otherwise_without_an_explanation(test_data: Path):
    read = 0
    verdicts = []
    for path in sorted(test_data.rglob("*")):
        if path.suffix.casefold() not in (".fcs", ".lmd"):
            continue
        try:
            header = read_header(path)
        except FcsError:
            continue
        opinion = second_opinion(header)
        assert opinion.verdict != "differs", (path, opinion.problems)
        verdicts.append(opinion.verdict)
        read += 1
    assert read >= 70
    assert verdicts.count("refused") <= 3
