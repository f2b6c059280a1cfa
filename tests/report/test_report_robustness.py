from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from cytocar.gate._robustness.robustness import ROBUSTNESS
from cytocar.report._robustness import robustness

NAN = float("nan")


def run_with(moved: list[tuple], other: pd.DataFrame | None = None) -> SimpleNamespace:
    tables = {"robustness": pd.DataFrame(moved, columns=ROBUSTNESS)}
    if other is not None:
        tables["multiverse"] = other
    return SimpleNamespace(tables=tables)


CAR = "CAR-T % of CD45+"
MOVED = [
    ("5yr", CAR, "CD3", "CD3", 2.2, 2.3, 2.4, 0.2411, 0.24, 0.2399, 3.7, 3.7, 3.7),
    ("5yr", CAR, "VHH", "VHH", 2.3, 2.4, 2.5, 0.27, 0.24, 0.21, 10.5, 3.7, 1.9),
    ("2mo", CAR, "CD3", "CD3", 2.2, 2.3, 2.4, 2.82, 2.82, 2.82, NAN, NAN, NAN),
]


def test_the_sentence_has_the_range_and_the_threshold_that_moves_it() -> None:
    found = robustness(run_with(MOVED))
    assert found is not None
    assert found["sentences"][0] == (
        "5yr: 0.240 % CAR-T cells among CD45+; moving each threshold within its uncertainty, one at a time, gives "
        "0.210 to 0.270 %, most by VHH."
    )
    assert (
        "moving any threshold within its uncertainty changes this by less than 0.5 % of it"
        in found["sentences"][1]
    )
    first, second = found["table"].rows
    assert first.cells == ("5yr", CAR, "0.240", "0.210 to 0.270", "VHH", "", "3.7 (1.9 to 10.5)")
    assert second.cells[4:] == ("none", "", "not known")
    assert len(found["table"].head) == len(first.cells)


def test_other_rules_are_told_beside_it() -> None:
    other = pd.DataFrame(
        {"sample_id": ["5yr"] * 3 + ["2mo"], "measure": CAR, "result": [0.24, 0.22, 0.25, 2.82]}
    )
    found = robustness(run_with(MOVED, other))
    assert found is not None
    assert [row.cells[5] for row in found["table"].rows] == [
        "0.220 to 0.250 (3 ways)",
        "no other rule applies",
    ]


def test_a_run_without_car_t_cells_says_nothing() -> None:
    assert robustness(SimpleNamespace(tables={})) is None
    assert robustness(run_with([])) is None
    nothing = [("0", CAR, "CD3", "CD3", 2.2, 2.3, 2.4, np.nan, np.nan, np.nan, NAN, NAN, NAN)]
    assert robustness(run_with(nothing)) is None
