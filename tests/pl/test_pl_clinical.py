"""Curves, forests and ribbons: numbers read off the Axes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cytocar import pl, tl
from cytocar._core.errors import ParameterError


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    months = np.round(rng.exponential(20, 40), 1)
    return pd.DataFrame({"months": months, "event": rng.random(40) < 0.7, "response": ["CR", "PR"] * 20})


def test_curves_are_those_of_the_table(patients: pd.DataFrame, complaints: Callable) -> None:
    curve = tl.kaplan_meier(patients, groups="response")
    test = tl.log_rank(patients, groups="response")
    figure = pl.kaplan_meier(curve, test=test)
    assert not complaints(figure)
    axes, below = figure.axes
    part = curve[curve["group"] == "PR"]
    line = next(found for found in axes.lines if found.get_label() == "PR")
    assert line.get_xdata().tolist() == [0, *part["time"]]
    assert line.get_ydata().tolist() == pytest.approx([100, *(100 * part["survival"])])
    assert line.get_drawstyle() == "steps-post"
    ticks = next(found for found in axes.lines if found.get_label() == "PR censored")
    assert ticks.get_xdata().tolist() == part.loc[part["n_censored"] > 0, "time"].tolist()
    numbers = {(t.get_position()[0], t.get_position()[1]): t.get_text() for t in below.texts}
    assert numbers[0.0, 0.5] == "20"
    tick = sorted({x for x, _ in numbers})[1]
    pr = patients.query("response == 'PR'")
    assert numbers[tick, 1.5] == str(int((pr["months"] >= tick).sum()))
    words = " ".join(text.get_text() for text in figure.texts)
    assert f"p = {test.p_value.iloc[0]:.2g} (40 patients" in words
    assert "smallest possible" in words


def test_one_curve_and_no_test(patients: pd.DataFrame, complaints: Callable) -> None:
    figure = pl.kaplan_meier(tl.kaplan_meier(patients))
    assert not complaints(figure)
    assert figure.axes[0].get_legend() is None
    with pytest.raises(ParameterError, match="survival"):
        pl.kaplan_meier(tl.kaplan_meier(patients).drop(columns="survival"))


def test_the_forest_shows_what_was_pooled(complaints: Callable) -> None:
    studies = pd.DataFrame(
        {"study": list("ABCDE"), "events": [65, 20, 41, 12, 30], "n": [74, 24, 60, 12, 33],
         "target": ["BCMA", "BCMA", "BCMA", "CD19", "CD19"]}
    )  # fmt: skip
    table = tl.pooled_proportions(studies, subgroup="target")
    figure = pl.forest(table)
    assert not complaints(figure)
    axes = figure.axes[0]
    marks = {line.get_label(): line for line in axes.lines}
    for row in table[table["kind"] == "study"].itertuples():
        assert marks[row.study].get_xdata()[0] == pytest.approx(100 * row.proportion)
        assert marks[f"{row.study} interval"].get_xdata().tolist() == pytest.approx(
            [100 * row.low, 100 * row.high]
        )
    diamonds = {patch.get_label(): patch.get_xy() for patch in axes.patches}
    last = table.iloc[-1]
    assert list(diamonds) == ["BCMA", "CD19", "all"]
    assert [diamonds["all"][:, 0].min(), diamonds["all"][:, 0].max()] == pytest.approx(
        [100 * last.low, 100 * last.high]
    )
    assert marks["A"].get_markersize() > marks["D"].get_markersize()


def test_ribbons_join_the_bars(tables: SimpleNamespace, complaints: Callable) -> None:
    before = tables.subsets.copy()
    figure = pl.alluvial(tables.subsets, tables.frequency)
    assert not complaints(figure)
    axes = figure.axes[0]
    part = tables.subsets[tables.subsets["compartment"] == "car"]
    heights = {c.get_label(): [bar.get_height() for bar in c.patches] for c in axes.containers}
    for subset, rows in part.groupby("subset"):
        assert heights[subset] == pytest.approx((100 * rows["fraction"]).tolist())
    ribbon = next(c for c in axes.collections if c.get_label() == "DN 0")
    corners = ribbon.get_paths()[0].vertices
    bars = next(c for c in axes.containers if c.get_label() == "DN").patches
    for x, bar in ((corners[:, 0].min(), bars[0]), (corners[:, 0].max(), bars[1])):
        ends = corners[np.isclose(corners[:, 0], x), 1]
        assert [ends.min(), ends.max()] == pytest.approx([bar.get_y(), bar.get_y() + bar.get_height()])
    pd.testing.assert_frame_equal(before, tables.subsets)


def test_patients_have_panels_of_their_own(complaints: Callable) -> None:
    counts = pd.DataFrame(
        [(s, "car", name, n) for s in ("a1", "a2", "b1", "b2") for name, n in (("CD8", 40), ("DN", 60))],
        columns=["sample_id", "compartment", "subset", "n"],
    )
    counts.loc[counts["sample_id"] == "b2", "n"] = 0
    sheet = pd.DataFrame(
        {"sample_id": ["a1", "a2", "b1", "b2"], "patient_id": list("AABB"), "months": [1, 12, 1, 12]}
    )
    figure = pl.alluvial(tl.subsets(counts), sheet)
    assert not complaints(figure)
    assert [axes.get_label() for axes in figure.axes] == ["alluvial A", "alluvial B"]
    assert [c.get_label() for c in figure.axes[0].collections] == ["CD8 0", "DN 0"]
    assert len(figure.axes[1].collections) == 0
    assert len(pl.alluvial(tl.subsets(counts), sheet, patient="A").axes) == 1
    with pytest.raises(ParameterError, match="no patient 'C'"):
        pl.alluvial(tl.subsets(counts), sheet, patient="C")
    with pytest.raises(ParameterError, match="no compartment 'host'"):
        pl.alluvial(tl.subsets(counts), compartment="host")
