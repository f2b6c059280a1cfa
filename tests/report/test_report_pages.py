"""Pages of figures, short names of samples and remarks that are the same for many samples."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cytocar.report._build import _draw, _forget_pages
from cytocar.report._clusters import _flowsom, _phenograph
from cytocar.report._figure import FigureOfRun
from cytocar.report._format import remarks
from cytocar.report._load import FinishedRun, short_names


def _run(*names: str) -> FinishedRun:
    return FinishedRun(Path(), {"samples": pd.DataFrame({"sample_id": names})}, {})


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["Data23_Panel3_base_HD1", "Data23_Panel3_base_NR10"], "Data23_Panel3_base_"),
        (["Data23_Panel3_HD1", "Data23_Panel35_HD2"], "Data23_"),
        (["P1_2mo", "P1_5yr"], ""),
        (["one_sample_of_a_long_name"], ""),
        (["long_name_of_sample_", "long_name_of_sample_a"], ""),
    ],
)
def test_names_lose_the_words_that_all_begin_with(names: list[str], prefix: str) -> None:
    brief, found = short_names(_run(*names))
    assert found == prefix
    assert brief.tables["samples"]["sample_id"].tolist() == [name[len(prefix) :] for name in names]


def test_each_page_has_a_file_and_only_the_first_are_in_the_report(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    (tmp_path / "gating_9.png").touch()
    (tmp_path / "gating_old.png").touch()
    figure = FigureOfRun(
        "gating", "Gates", lambda run: f"{len(run.tables)} table", lambda run: True,
        lambda run, page: Figure(figsize=(1, 1)), lambda run: 6,
    )  # fmt: skip
    drawn = _draw(_run("a"), figure, tmp_path)
    assert drawn.caption == "1 table"
    assert [stem for stem, _ in drawn.more] == ["gating_2", "gating_3", "gating_4"]
    assert drawn.files == ("gating_5", "gating_6")
    pages = {"gating.png", *(f"gating_{n}.png" for n in range(2, 7)), "gating_old.png"}
    assert {path.name for path in tmp_path.glob("*.png")} == pages
    _forget_pages(tmp_path, "gating", after=2)
    assert not (tmp_path / "gating_3.png").exists()


def test_a_remark_on_many_samples_is_said_once() -> None:
    table = pd.DataFrame(
        {"sample_id": [*"abcdef", "a", None], "note": ["no time"] * 6 + ["few cells", "one timepoint"]}
    )
    assert remarks(table) == [
        {"who": "all 6 samples with remarks", "which": "a, b, c, d, e, f", "note": "no time"},
        {"who": "a", "which": "", "note": "few cells"},
        {"who": "", "which": "", "note": "one timepoint"},
    ]


def test_clusterings_say_how_they_were_made() -> None:
    kept = {"n_clusters": 9, "k": 30, "recall": 0.985, "neighbours": "ivf", "n_runs": 4, "run_ari": 0.97}
    assert "98.5 % were found" in _phenograph(kept)
    assert "the best of 4 starts, which agree with an adjusted Rand index of 0.97." in _phenograph(kept)
    assert "exact search" in _phenograph({**kept, "neighbours": "exact"})
    said = _flowsom({"grid": [10, 8], "method": "batch", "rlen": 12, "n_clusters": 7, "chosen": "auto"})
    assert said == (
        "FlowSOM: a map of 10 by 8 nodes, trained on all cells at a time in 12 rounds, its nodes joined to 7 "
        "metaclusters; their number was chosen by the modularity of the cells."
    )
