"""Channels of real panels are read as experts read them: the bar of `benchmarks/check_panels.py`."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "check_panels.py"))
COLUMNS = ["panel_id", "pnn", "pns", "is_mass", "mass", "marker", "role", "certain", "origin"]
PANEL = [
    ["p", "Nd145Di", "145Nd_CD4", "1", "145", "CD4", "marker", "1", "fcs"],
    ["p", "Yb174Di", "CD279_PD1", "1", "174", "PD-1", "marker", "1", "fcs"],
    ["p", "Ce140Di", "EQ", "1", "140", "", "bead", "1", "fcs"],
    ["p", "Time", "", "0", "", "", "time", "1", "fcs"],
    ["p", "Sm152Di", "doubtful", "1", "152", "CD9", "bead", "0", "fcs"],
]


def table(folder: Path, rows: list[list[str]]) -> Path:
    (folder / "panel_synonyms.csv").write_text("canonical,synonyms\nPD-1,CD279|PDCD1\n", encoding="utf-8")
    with (folder / "panels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder / "panels.csv"


def test_the_bar_is_held_on_the_collection_of_real_panels(test_data: Path):
    path = test_data.parent / "panels" / "panels_open.csv"
    if not path.is_file():
        pytest.skip(f"the collection of real panels is not at {path}")
    score = SCRIPT["score_table"](path)
    assert score.asked["all", "role"] > 1300
    assert score.asked["all", "marker"] > 900
    assert score.share("role") >= 0.99, score.errors
    assert score.share("marker") >= 0.98, score.errors
    assert score.share("find") >= 0.98, score.errors


def test_a_right_reading_counts_and_doubtful_rows_do_not(tmp_path: Path):
    score = SCRIPT["score_table"](table(tmp_path, PANEL))
    assert (score.errors, score.holds()) == ([], True)
    assert list(score.lines())[-1] == (
        "all: role 1.0000 (4/4), marker 1.0000 (2/2), mass 1.0000 (4/4), find 1.0000 (2/2)"
    )


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [("marker", "CD8", "marker"), ("role", "bead", "role"), ("mass", "146", "mass")],
)
def test_a_wrong_reading_is_an_error(tmp_path: Path, column: str, value: str, what: str):
    wrong = PANEL[0].copy()
    wrong[COLUMNS.index(column)] = value
    score = SCRIPT["score_table"](table(tmp_path, [wrong, *PANEL[1:]]))
    assert score.share(what) < 1
    assert any(f"{what} of 'Nd145Di'" in error for error in score.errors)
    assert score.holds() == (what == "mass")
