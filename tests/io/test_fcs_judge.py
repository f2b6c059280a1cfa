"""Values that no instrument gives raise a doubt; real files of many instruments raise none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytocar.io import inspect_file, read_fcs
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.judge import value_doubts
from cytocar.io._fcs.write import write_events

Write = Callable[..., Path]
RNG = np.random.default_rng(4)
COUNTS = RNG.negative_binomial(0.6, 0.05, (600, 6)).astype(np.float32)
TIME = np.cumsum(RNG.integers(1, 30, 600)).astype(np.float32)
NAMES = {f"$P{n}N": name for n, name in enumerate(["Time", *(f"Yb{mass}Di" for mass in range(171, 177))], 1)}


def doubts(path: Path) -> str:
    return "; ".join(value_doubts(read_header(path)))


def test_counts_raise_no_doubt(tmp_path: Path) -> None:
    write_events(tmp_path / "a.fcs", np.column_stack([TIME, COUNTS]), [(name, "") for name in NAMES.values()])
    assert doubts(tmp_path / "a.fcs") == ""


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: np.where(RNG.random(x.shape) < 0.02, np.nan, x), "of the values not finite in Yb171Di"),
        (lambda x: np.where(RNG.random(x.shape) < 0.3, -7, x), "of the values below -1 in Yb171Di"),
        (lambda x: np.where(RNG.random(x.shape) < 0.02, 3e8, x), "of the values above 1e+06 in Yb171Di"),
        (lambda x: x * np.float32(1e-30), "of the values nearer to 0 than 1e-20 in Yb171Di"),
    ],
)
def test_one_channel_with_values_that_cannot_be_is_named(
    tmp_path: Path, spoil: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    events = np.column_stack([TIME, COUNTS])
    events[:, 1] = spoil(events[:, 1])
    write_events(tmp_path / "a.fcs", events, [(name, "") for name in NAMES.values()])
    assert said in doubts(tmp_path / "a.fcs")
    assert "Yb172Di" not in doubts(tmp_path / "a.fcs")
    steps = read_fcs(tmp_path / "a.fcs").uns["cytocar"]["steps"]
    assert "the file may be misread" in steps
    assert any(said in oddity for oddity in inspect_file(tmp_path / "a.fcs").oddities)


def test_randomised_counts_raise_no_doubt(tmp_path: Path) -> None:
    events = np.column_stack([TIME, COUNTS - RNG.random(COUNTS.shape)])
    write_events(tmp_path / "a.fcs", events, [(name, "") for name in NAMES.values()])
    assert doubts(tmp_path / "a.fcs") == ""


def test_floats_read_in_the_other_byte_order_or_as_integers_are_doubted(write_raw: Write) -> None:
    data = np.column_stack([TIME, COUNTS]).astype("<f4").tobytes()
    for kind, order in (("F", "4,3,2,1"), ("I", "1,2,3,4"), ("I", "4,3,2,1"), ("F", "3,4,1,2")):
        path = write_raw(kind, order, [32] * 7, data, n_events=600, extra=NAMES)
        assert "may be misread" in doubts(path), (kind, order)
    assert doubts(write_raw("F", "1,2,3,4", [32] * 7, data, n_events=600, extra=NAMES)) == ""


@pytest.mark.parametrize("ceiling", [1024, 65536])
def test_integers_read_in_the_other_byte_order_are_doubted(write_raw: Write, ceiling: int) -> None:
    values = RNG.normal(0.3 * ceiling, 0.06 * ceiling, (600, 4)).clip(0, ceiling - 1)
    data = values.astype("<u2").tobytes()
    good = write_raw("I", "1,2", [16] * 4, data, n_events=600, ranges=[ceiling] * 4)
    assert doubts(good) == ""
    assert "may be misread" in doubts(
        write_raw("I", "2,1", [16] * 4, data, n_events=600, ranges=[ceiling] * 4)
    )


def test_a_range_that_cuts_values_off_is_doubted(write_raw: Write) -> None:
    data = RNG.integers(0, 1000, (600, 2)).astype("<u2").tobytes()
    path = write_raw("I", "1,2", [16, 16], data, n_events=600, ranges=[1024, 256])
    assert "bits above $PnR" in doubts(path)
    assert "C1" not in doubts(path)


def test_columns_that_are_shifted_by_one_are_doubted_by_time(write_raw: Write) -> None:
    events = np.roll(np.column_stack([TIME, COUNTS]).astype("<f4").ravel(), -3)
    path = write_raw("F", "1,2,3,4", [32] * 7, events.tobytes(), n_events=600, extra=NAMES)
    assert "goes on from event to event as Time should" in doubts(path)


def test_no_real_file_is_doubted(test_data: Path) -> None:
    files = [path for path in test_data.rglob("*") if path.suffix.lower() in (".fcs", ".lmd")]
    refused = {"corrupted.fcs", "sample_header.fcs"}
    judged = [path for path in files if path.name not in refused]
    assert len(judged) > 60
    for path in judged:
        for number in range(read_header(path).n_data_sets):
            header = read_header(path, data_set=number)
            assert value_doubts(header) == [], (path.name, number)
            assert not any("misread" in told for told in header.tolerances), path.name


@pytest.mark.parametrize("left", [0, 1])
def test_transformed_values_are_recognised_with_a_channel_left_as_it_was(tmp_path: Path, left: int) -> None:
    events = np.column_stack([TIME, np.arcsinh(COUNTS / 5)])
    if left:
        events[:, 1] = COUNTS[:, 0]
    write_events(tmp_path / "a.fcs", events, [(name, "") for name in NAMES.values()])
    said = "5 of 6 mass channels do not go above 15" if left else "no mass channel goes above"
    assert said in read_fcs(tmp_path / "a.fcs").uns["cytocar"]["steps"]
    assert any(said in oddity for oddity in inspect_file(tmp_path / "a.fcs").oddities)


def test_no_real_counts_look_transformed(test_data: Path) -> None:
    for folder in ("cart", "cohort", "helios_beads", "cytonorm", "debarcode"):
        for path in sorted((test_data / folder).glob("*.fcs"))[:4]:
            assert "look transformed" not in read_fcs(path).uns["cytocar"]["steps"], path.name


def test_a_deep_check_notes_what_the_values_tell(tmp_path: Path) -> None:
    from cytocar.study._check.deep import deep_problems

    channels = [(name, "") for name in NAMES.values()]
    write_events(tmp_path / "huge.fcs", np.column_stack([TIME, COUNTS * np.float32(1e9)]), channels)
    write_events(tmp_path / "low.fcs", np.column_stack([TIME, np.arcsinh(COUNTS / 5)]), channels)
    write_events(tmp_path / "plain.fcs", np.column_stack([TIME, COUNTS]), channels)
    paths = sorted(tmp_path.glob("*.fcs"))
    notes: list[str] = []
    _, problems = deep_problems(pd.DataFrame({"path": paths, "sample_id": ["a", "b", "c"]}), notes)
    assert problems == []
    assert [note.split(" in ")[0] for note in notes] == [
        "huge.fcs: the file may be misread: 100% of the values above 1e+06",
        notes[1],
    ]
    assert notes[1].startswith("low.fcs: no mass channel goes above")
