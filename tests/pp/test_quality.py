"""Events, cells and signal over time, against clocks that are known."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import datasets, pp
from cytocar._core.errors import ParameterError, StateError
from cytocar.pp._time.profile import profile_over_time, time_bins

# anndata asks pandas 3.1 for options that pandas is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:The '.*' option is deprecated:Warning")

COLUMNS = [
    "bin",
    "start_s",
    "end_s",
    "events",
    "events_per_s",
    "cell_fraction",
    "dna_median",
    "bead_median",
    "cd45_median",
    "note",
]


def made(time_ms: np.ndarray | None, n: int = 6000) -> anndata.AnnData:
    panel = pd.DataFrame({"role": ["dna", "marker"], "mass": [193, 89]}, index=["DNA2", "CD45"])
    x = np.stack([np.linspace(400, 300, n), np.full(n, 50)], axis=1).astype(np.float32)
    obs = pd.DataFrame({"Other": np.zeros(n)}, index=[str(i) for i in range(n)])
    if time_ms is not None:
        obs["Time"] = np.asarray(time_ms, dtype=np.float32)
    adata = anndata.AnnData(x, obs=obs, var=panel)
    adata.uns["cytocar"] = {"state": "counts"}
    return adata


def test_a_steady_run_has_equal_bins() -> None:
    table = profile_over_time(made(1000 + 5.0 * np.arange(6000)))
    assert table.columns.tolist() == COLUMNS
    assert len(table) == 60
    assert table["start_s"].iloc[0] == pytest.approx(1)
    assert table["end_s"].iloc[-1] == pytest.approx(1 + 5.999 * 5, abs=0.01)
    np.testing.assert_allclose(table["start_s"][1:], table["end_s"][:-1])
    np.testing.assert_allclose(table["events_per_s"], 200, rtol=0.02)
    assert table["events"].sum() == 6000
    assert table["dna_median"].is_monotonic_decreasing
    assert (table["cd45_median"] == 50).all()
    assert table[["cell_fraction", "bead_median"]].isna().all(axis=None)
    assert (table["note"] == "").all()


def test_a_pause_is_told_and_does_not_thin_the_events() -> None:
    time = 5.0 * np.arange(6000)
    time[3300:] += 120_000
    table = profile_over_time(made(time))
    np.testing.assert_allclose(table["events_per_s"], 200, rtol=0.03)
    told = table["note"][table["note"] != ""]
    assert told.tolist() == ["pause of 120 s"]
    assert table["end_s"].iloc[-1] == pytest.approx(150, abs=0.1)
    longest = (table["end_s"] - table["start_s"]).idxmax()
    assert abs(longest - told.index[0]) <= 1
    # every event is within its bin
    found = time_bins(time, 6000, 60)
    seconds = time / 1000
    assert (seconds >= found.start_s[found.index] - 0.01).all()
    assert (seconds <= found.end_s[found.index] + 120.01).all()


def test_time_that_starts_again_joins_the_parts() -> None:
    time = np.concatenate([5.0 * np.arange(3000), 5.0 * np.arange(3000)])
    table = profile_over_time(made(time))
    assert table["note"][0] == "Time runs backwards once: the file is taken as parts that follow one another"
    np.testing.assert_allclose(table["events_per_s"], 200, rtol=0.03)
    assert table["dna_median"].is_monotonic_decreasing


def test_events_out_of_order_are_sorted() -> None:
    order = np.random.default_rng(0).permutation(6000)
    whole = made(5.0 * np.arange(6000))
    table = profile_over_time(whole[order].copy())
    assert "events are not in order of Time, and were sorted" in table["note"][0]
    columns = ["events", "start_s", "dna_median"]
    pd.testing.assert_frame_equal(table[columns], profile_over_time(whole)[columns])


@pytest.mark.parametrize(
    ("time", "note"),
    [
        (None, "there is no Time"),
        (np.full(6000, 7.0), "Time does not move"),
        (np.where(np.arange(6000) == 5, np.nan, 1.0), "Time is not finite in 1 events"),
    ],
)
def test_without_a_clock_bins_go_by_the_order_of_events(time: np.ndarray | None, note: str) -> None:
    table = profile_over_time(made(time))
    assert table["note"][0] == f"{note}; bins are by order of events"
    assert (table["events"] == 100).all()
    assert table[["start_s", "end_s", "events_per_s"]].isna().all(axis=None)
    assert table["dna_median"].is_monotonic_decreasing


def test_the_drift_of_the_simulated_run_is_seen() -> None:
    raw = datasets.legend2(cells=5000, seed=0)
    one = raw[(raw.obs["sample_id"] == raw.obs["sample_id"].iloc[0]).to_numpy()].copy()
    pp.clean(one)
    table = profile_over_time(one, bins=10)
    cells = (one.obs["event_class"] == "cell").to_numpy()
    assert np.average(table["cell_fraction"], weights=table["events"]) == pytest.approx(cells.mean())
    # gain falls from 1 to 0.72 x 1.08
    for column in ("dna_median", "bead_median"):
        assert table[column].iloc[-1] / table[column].iloc[0] == pytest.approx(0.80, abs=0.08)
    assert 1800 < table["bead_median"].mean() < 3000
    assert "pause of 120 s" in table["note"].tolist()
    before = profile_over_time(pp.arcsinh(one, copy=True), bins=10)
    pd.testing.assert_frame_equal(before, table)


def test_medians_are_those_of_a_loop() -> None:
    time = 1000 * np.sort(np.random.default_rng(0).uniform(0, 30, 6000))
    adata = made(time)
    adata.X[:, 0] = np.random.default_rng(1).exponential(100, 6000)
    table = profile_over_time(adata, bins=7)
    found = time_bins(adata.obs["Time"].to_numpy(), 6000, 7)
    slow = [np.median(adata.X[found.index == i, 0]) for i in range(7)]
    np.testing.assert_allclose(table["dna_median"], slow, rtol=1e-6)
    assert table["events"].tolist() == np.bincount(found.index, minlength=7).tolist()


def test_small_files_have_fewer_bins() -> None:
    assert len(profile_over_time(made(5.0 * np.arange(120), n=120))) == 2
    assert len(profile_over_time(made(np.zeros(1), n=1))) == 1
    empty = profile_over_time(made(5.0 * np.arange(100), n=100)[:0].copy())
    assert empty.columns.tolist() == COLUMNS
    assert len(empty) == 0


def test_arguments_out_of_range() -> None:
    adata = made(5.0 * np.arange(100), n=100)
    with pytest.raises(ParameterError, match="bins is 0"):
        profile_over_time(adata, bins=0)
    adata.uns["cytocar"]["state"] = "arcsinh"
    with pytest.raises(StateError, match="profile_over_time needs counts"):
        profile_over_time(adata)
