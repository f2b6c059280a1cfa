"""How many CAR-T cells of a run may be host T cells: from the background of detection and the host's own subsets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cytocar import tl
from cytocar.study._tables.counts import false_cells


def tables(**counts: object) -> dict[str, pd.DataFrame]:
    row = {
        "sample_id": ["a"], "patient_id": ["P1"], "timepoint": ["5yr"], "months": [60.0], "n_cd45": [100_000],
        "n_car": [240], "n_host_t": [50_000], "n_negative": [34_000], "n_negative_above": [3],
    }  # fmt: skip
    subsets = pd.DataFrame(
        {
            "sample_id": "a",
            "compartment": ["host"] * 3 + ["car"] * 3,
            "subset": ["CD4", "CD8", "DN"] * 2,
            "n": [30_000, 20_000, 0, 5, 20, 215],
        }
    )
    frequency = tl.detection(pd.DataFrame({**row, **counts}))
    return {"car_frequency": frequency, "subsets": tl.subsets(subsets)}


def test_expected_and_most_by_the_subsets_of_the_host() -> None:
    made = tables()
    found = false_cells(made)
    row = made["car_frequency"].iloc[0]
    assert found["P1", "5yr", "all"] == (row["background_expected"], row["background_events"])
    assert found["P1", "5yr", "all"][0] == pytest.approx(3 / 34_000 * 50_000, rel=1e-3)
    # Three cells above the threshold may stand for many more: upper limit 7.75 of 3, and once 3 for what T cells bind.
    assert found["P1", "5yr", "all"][1] == pytest.approx((7.754 + 3) / 34_000 * 50_240, rel=1e-3)
    whole = np.array(found["P1", "5yr", "all"])
    np.testing.assert_allclose(found["P1", "5yr", "CD8"], 0.4 * whole)
    assert found["P1", "5yr", "DN"] == (0.0, 0.0)


def test_no_more_are_false_than_there_are() -> None:
    assert false_cells(tables(n_car=[6]))["P1", "5yr", "all"][1] == 6


def test_an_unknown_background_and_a_study_without_car_cells_say_nothing() -> None:
    assert false_cells(tables(n_negative=[0], n_negative_above=[0])) == {}
    assert false_cells({}) == {}
