"""The planner against simulation and against what detection says of such a sample."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cytocar import tl
from cytocar._core.errors import ParameterError


def test_the_question_of_the_manual() -> None:
    row = tl.plan_acquisition(0.0005, cv=0.2).iloc[0]
    assert (row.cells_needed, row.events_to_acquire, row.events_expected) == (50_000, 50_000, 25.0)
    assert row.limited_by == "precision"
    assert row.pct_low < 0.05 < row.pct_high


def test_the_planned_cells_give_the_planned_precision() -> None:
    share, rate, cv = 0.001, 0.0005, 0.15
    cells = int(tl.plan_acquisition(share, cv=cv, background_rate=rate).cells_needed.iloc[0])
    counts = np.random.default_rng(1).binomial(cells, share + rate, 100_000)
    net = counts - rate * cells
    assert net.std() / net.mean() == pytest.approx(cv, rel=0.02)


def test_the_planned_cells_are_detected_as_often_as_said() -> None:
    row = tl.plan_acquisition(0.0002, cv=1.0, background_rate=0.0001).iloc[0]
    assert row.limited_by == "detection"
    counts = np.random.default_rng(2).poisson(row.events_expected + row.background_events, 200_000)
    assert (counts > row.lob_events).mean() == pytest.approx(row.probability_detected, abs=0.003)
    assert row.probability_detected >= 0.95


def test_a_sample_as_planned_is_quantified() -> None:
    row = tl.plan_acquisition(0.0005).iloc[0]
    n = int(row.cells_needed)
    counts = pd.DataFrame(
        {"sample_id": ["a"], "n_cd45": [n], "n_car": [round(0.0005 * n)], "n_host_t": [n // 2]}
    )
    assert tl.detection(counts, background_rate=0.0).call.iloc[0] == "quantified"


def test_rarer_or_finer_or_dirtier_needs_more() -> None:
    cells = tl.plan_acquisition([0.01, 0.001, 0.0001]).cells_needed
    assert cells.is_monotonic_increasing
    base = tl.plan_acquisition(0.001).cells_needed.iloc[0]
    assert tl.plan_acquisition(0.001, cv=0.1).cells_needed.iloc[0] == 4 * base
    assert tl.plan_acquisition(0.001, background_rate=0.001).cells_needed.iloc[0] == 2 * base
    assert tl.plan_acquisition(0.001, usable=0.5).events_to_acquire.iloc[0] == 2 * base


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"fraction": 0.0}, "fraction is 0.0"),
        ({"fraction": 5.0}, "fraction is 5.0"),
        ({"cv": 0.0}, "cv is 0.0"),
        ({"usable": 1.5}, "usable is 1.5"),
        ({"background_rate": 1.0}, "background_rate is 1.0"),
    ],
)
def test_numbers_outside_their_domain(how: dict[str, float], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        tl.plan_acquisition(**{"fraction": 0.001, **how})


def test_shares_and_precisions_beyond_any_instrument_are_refused() -> None:
    for given in (
        {"fraction": 1e-300},
        {"fraction": 1e-11, "background_rate": 0.01},
        {"cv": 1e-9},
        {"usable": 1e-300},
    ):
        with pytest.raises(ParameterError, match=r"more than 1e\+15 cells would be needed"):
            tl.plan_acquisition(**{"fraction": 0.0005, **given})
    # However little precision is wanted, the population has to be seen.
    huge, large = (tl.plan_acquisition(0.0005, cv=cv).iloc[0] for cv in (1e200, 10.0))
    assert huge["cells_needed"] == large["cells_needed"] == 5992
    assert huge["limited_by"] == "detection"
