"""Batch against time and group, found from the sheet; the rule held against the rank of the design."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar import tl
from cytocar._core.errors import ParameterError
from cytocar.tl._cohorts.design import estimable, find_contrasts, make_design


def sheet(timepoints: list[str], batches: list[str], **more: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(len(timepoints))],
            "timepoint": timepoints,
            "batch": batches,
            **more,
        }
    )


def test_a_batch_for_each_timepoint_is_aliased_and_says_so() -> None:
    found = tl.confounding(sheet(["2mo", "6mo", "5yr"], ["1", "2", "3"])).iloc[0]
    assert found["verdict"] == "aliased"
    assert found["not_separable"] == "2mo | 6mo | 5yr"
    assert found["cramers_v"] == pytest.approx(1.0)
    assert "cannot be told apart between 2mo | 6mo | 5yr" in found["message"]


def test_timepoints_that_share_a_batch_can_be_told_apart() -> None:
    found = tl.confounding(sheet(["2mo", "6mo", "6mo", "5yr"], ["1", "1", "2", "3"])).iloc[0]
    assert found["verdict"] == "partly aliased"
    assert found["not_separable"] == "2mo, 6mo | 5yr"


@pytest.mark.parametrize(
    ("batches", "verdict", "told"),
    [
        (["1", "2", "1", "2"], "balanced", "can be told apart"),
        (["1", "1", "1", "1"], "balanced", "are of one batch"),
        (["1", "1", "1", ""], "unknown", "batch of s3 is not known"),
        (["", "", "", ""], "unknown", "has no batch"),
    ],
)
def test_verdicts(batches: list[str], verdict: str, told: str) -> None:
    found = tl.confounding(sheet(["a", "a", "b", "b"], batches)).iloc[0]
    assert found["verdict"] == verdict
    assert told in found["message"]


def test_unbalanced_but_separable_and_worst_first() -> None:
    table = tl.confounding(
        sheet(
            ["a"] * 6 + ["b"] * 6,
            ["1"] * 5 + ["2"] + ["2"] * 5 + ["1"],
            group=["R"] * 5 + ["N"] + ["N"] * 5 + ["R"],
            role=["patient"] * 12,
        )
    )
    assert list(table["factor"]) == ["group", "timepoint"]
    assert list(table["verdict"]) == ["aliased", "unbalanced"]
    assert table["cramers_v"][1] == pytest.approx(4 / 6)


def test_controls_do_not_link_batches() -> None:
    table = sheet(["a", "b", "a"], ["1", "2", "2"], role=["patient", "patient", "negative_control"])
    assert tl.confounding(table)["verdict"].iloc[0] == "aliased"


def test_one_level_is_no_comparison_and_no_columns_an_error() -> None:
    assert tl.confounding(sheet(["a", "a"], ["1", "2"]))["verdict"].iloc[0] == "no comparison"
    with pytest.raises(ParameterError, match="none of the columns timepoint, group"):
        tl.confounding(pd.DataFrame({"sample_id": ["x"], "batch": ["1"]}))
    with pytest.raises(ParameterError, match="no row of a patient"):
        tl.confounding(sheet([], []))
    with pytest.raises(ParameterError, match="strong is 2"):
        tl.confounding(sheet(["a"], ["1"]), strong=2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123")), min_size=2, max_size=9))
def test_what_is_linked_is_what_a_linear_model_can_estimate(pairs: list[tuple[str, str]]) -> None:
    table = sheet([a for a, _ in pairs], [b for _, b in pairs])
    levels = sorted(set(table["timepoint"]))
    found = tl.confounding(table).iloc[0]
    if len(levels) < 2:
        assert found["verdict"] == "no comparison"
        return
    design = make_design(table, "~ timepoint + batch")
    sets = (
        [part.split(", ") for part in found["not_separable"].split(" | ")]
        if found["not_separable"]
        else [levels]
    )
    only_time = make_design(table, "~ timepoint")
    for level in levels[1:]:
        (one,) = find_contrasts(only_time, ("timepoint", level, levels[0]))
        weights = np.zeros(len(design.columns))
        weights[: len(one.weights)] = one.weights
        together = any(level in members and levels[0] in members for members in sets)
        assert estimable(design.matrix, weights) == together
