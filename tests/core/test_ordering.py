from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cytocar._core.ordering import is_number, natural, sort_clusters, sort_timepoints, timepoint_order


def test_numbers_in_names_count_as_numbers():
    assert sorted(["s10", "s9", "S1", "s1.5", "a"], key=natural) == ["a", "S1", "s1.5", "s9", "s10"]


@given(st.lists(st.text()))
@example(["x²", "²", "٣"])
def test_any_names_can_be_sorted(names: list[str]):
    assert sorted(sorted(names, key=natural)) == sorted(names)


def test_cells_that_fit_nowhere_come_after_every_cluster():
    assert sort_clusters(["10", "-1", "9", "B cells", "9"]) == ["9", "10", "B cells", "-1"]


def test_timepoints_come_by_the_time_they_name_and_others_last():
    assert sort_timepoints(["5yr", "2mo", "relapse", "1yr", "4w"]) == ["4w", "2mo", "1yr", "5yr", "relapse"]


def test_timepoints_of_a_sheet_come_by_their_months_and_unknown_ones_last():
    sheet = pd.DataFrame(
        {"timepoint": ["late", "early", "early", "?", ""], "months": [9.0, 2.0, 3.0, float("nan"), 1.0]}
    )
    assert timepoint_order(sheet) == ["early", "late", "?"]


@pytest.mark.parametrize(
    ("label", "yes"), [("1", True), ("012", True), ("0", False), ("-1", False), ("²", False)]
)
def test_numbers_of_clusters(label, yes):
    assert is_number(label) is yes
