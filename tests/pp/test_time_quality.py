"""Unstable stretches of a run: planted clogs and bursts are found, drift is not, and the rest is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import datasets, io, pl, pp
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.provenance import steps
from cytocar.pp._time import judge as kernels

# anndata asks pandas 3.1 for options that pandas is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:The '.*' option is deprecated:Warning")


@pytest.fixture(scope="module")
def run() -> anndata.AnnData:
    """Return one run with all the drift of a real one: 28 % down, 8 % up after a pause of two minutes."""
    return datasets.legend2(cells=15_000, seed=2, timepoints=["2mo"])


def planted(run: anndata.AnnData, start: float, end: float) -> np.ndarray:
    place = np.arange(run.n_obs) / run.n_obs
    return (place >= start) & (place < end)


def half_signal(adata: anndata.AnnData, bad: np.ndarray) -> None:
    adata.X = np.where(bad[:, None], 0.5, 1).astype(np.float32) * adata.X


def burst(adata: anndata.AnnData, bad: np.ndarray) -> None:
    step = np.diff(adata.obs["Time"].to_numpy(dtype=float), prepend=0)
    adata.obs["Time"] = np.floor(np.cumsum(np.where(bad, step / 4, step)))


def channel_gone(adata: anndata.AnnData, bad: np.ndarray) -> None:
    adata.X[bad, list(adata.var_names).index("CD3")] = 0


def test_drift_is_stable(run: anndata.AnnData) -> None:
    adata = pp.time_quality(run, copy=True)
    assert adata.obs["stable"].mean() >= 0.99
    assert adata.obs["stable"].dtype == bool
    assert "stable" not in run.obs


@pytest.mark.parametrize("spoil", [half_signal, burst, channel_gone])
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.1), (0.4, 0.45), (0.8, 1.0)])
def test_a_planted_stretch_is_found_and_the_rest_kept(
    run: anndata.AnnData, spoil: Callable[[anndata.AnnData, np.ndarray], None], start: float, end: float
) -> None:
    adata = run.copy()
    bad = planted(run, start, end)
    spoil(adata, bad)
    pp.time_quality(adata)
    stable = adata.obs["stable"].to_numpy()
    assert (~stable[bad]).mean() >= 0.9
    assert stable[~bad].mean() >= 0.9


def test_the_table_says_where_and_why(run: anndata.AnnData, tmp_path: Path) -> None:
    adata = run.copy()
    bad = planted(run, 0.3, 0.4)
    channel_gone(adata, bad)
    pp.time_quality(adata)
    table = pp.time_quality_table(adata)
    assert table.columns.tolist() == [
        "sample_id", "bin", "start_s", "end_s", "events", "stable", "by", "worst", "shift", "note",
    ]  # fmt: skip
    assert table["events"].sum() == adata.n_obs
    assert table["events"].min() >= 150
    assert table["start_s"].is_monotonic_increasing
    assert ((table["by"] == "") == table["stable"]).all()
    assert set(table["by"]) <= {"", "IT", "MAD", "consecutive"}
    assert table.loc[~table["stable"], "worst"].mode().tolist() == ["CD3"]
    assert table.loc[~table["stable"], "shift"].min() < -1
    assert (np.repeat(table["stable"], table["events"]).to_numpy() == adata.obs["stable"]).all()
    small = adata[:50].copy()
    small.write_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(pp.time_quality_table(anndata.read_h5ad(tmp_path / "a.h5ad")), table)
    assert steps(adata)[-1]["settings"]["it_limit"] == 0.6


def test_removing_takes_what_is_marked(run: anndata.AnnData) -> None:
    adata = run.copy()
    half_signal(adata, planted(run, 0.5, 0.6))
    marked = pp.time_quality(adata, copy=True)
    removed = pp.time_quality(adata, remove=True, copy=True)
    assert adata.n_obs == run.n_obs
    assert removed.obs_names.tolist() == marked.obs_names[marked.obs["stable"]].tolist()
    assert removed.obs["stable"].all()
    pd.testing.assert_frame_equal(pp.time_quality_table(removed), pp.time_quality_table(marked))


def test_limits_of_the_settings(run: anndata.AnnData) -> None:
    adata = run.copy()
    half_signal(adata, planted(run, 0.5, 0.6))
    none = pp.time_quality(adata, mad=1e9, it_limit=1.0, copy=True)
    assert none.obs["stable"].all()
    wide = pp.time_quality_table(pp.time_quality(adata, events_per_bin=400, copy=True))
    assert (wide["events"].iloc[:-1] == 400).all()
    assert 400 <= wide["events"].iloc[-1] < 800


def test_each_sample_is_judged_by_itself() -> None:
    both = datasets.legend2(cells=8000, seed=0, timepoints=["2mo", "5yr"])
    second = (both.obs["timepoint"] == "5yr").to_numpy()
    half_signal(both, second & (np.arange(both.n_obs) > both.n_obs - 1500))
    alone = pp.time_quality(both[second], copy=True)
    pp.time_quality(both)
    assert (both.obs["stable"][second].to_numpy() == alone.obs["stable"].to_numpy()).all()
    assert both.obs["stable"][~second].all()
    assert not both.obs["stable"][second].all()


def test_time_that_cannot_be_used(run: anndata.AnnData) -> None:
    missing = run.copy()
    del missing.obs["Time"]
    with pytest.raises(ParameterError, match=r"there is no Time in obs; .*on_missing='skip'"):
        pp.time_quality(missing)
    pp.time_quality(missing, on_missing="skip")
    assert missing.obs["stable"].all()
    row = pp.time_quality_table(missing).iloc[0]
    assert row["note"] == "not judged: there is no Time in obs"
    assert row["events"] == missing.n_obs

    back = run.copy()
    time = back.obs["Time"].to_numpy(copy=True)
    time[100:] -= time[100] - 1000
    time[:100] = 5000
    back.obs["Time"] = time
    with pytest.raises(ParameterError, match="runs backwards 1 time, first from 5 to 1 s at event 100"):
        pp.time_quality(back)
    pp.time_quality(back, on_missing="skip")
    assert pp.time_quality_table(back)["note"].str.contains("runs backwards").all()
    time[7] = np.nan
    back.obs["Time"] = time
    with pytest.raises(ParameterError, match="is nan in event 7"):
        pp.time_quality(back)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mad": 0}, "mad is 0; it must be above 0"),
        ({"it_limit": 1.5}, "it_limit is 1.5; it must be above 0 and at most 1"),
        ({"consecutive_bins": -1}, "consecutive_bins is -1; it must be a whole number of at least 0"),
        ({"events_per_bin": 149}, "events_per_bin is 149; it must be a whole number of at least 150"),
        ({"on_missing": "warn"}, "on_missing is 'warn'; known: raise, skip"),
        ({"sample_key": "tube"}, "obs has no column 'tube'"),
    ],
)
def test_settings_outside_their_domain(
    run: anndata.AnnData, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        pp.time_quality(run, **settings)


def test_states_and_values_that_are_refused(run: anndata.AnnData) -> None:
    with pytest.raises(StateError, match=r"run cytocar\.pp\.time_quality first"):
        pp.time_quality_table(run)
    small = run[:4000].copy()
    small.X[3, list(small.var_names).index("CD3")] = np.inf
    with pytest.raises(ParameterError, match="CD3 is inf in event 3"):
        pp.time_quality(small)
    assert "stable" not in small.obs
    changed = pp.arcsinh(run[:500], copy=True)
    with pytest.raises(StateError, match=r"pp\.time_quality needs counts in X"):
        pp.time_quality(changed)


def test_few_events_and_none(run: anndata.AnnData) -> None:
    few = pp.time_quality(run[:1000], copy=True)
    assert few.obs["stable"].all()
    assert pp.time_quality_table(few)["note"].iloc[0] == "not judged: 6 bins are fewer than 20"
    none = pp.time_quality(run[:0], copy=True)
    assert none.n_obs == 0
    assert pp.time_quality_table(pp.time_quality(run[:1], copy=True))["events"].tolist() == [1]


def test_hump_medians_against_a_slow_count() -> None:
    rng = np.random.default_rng(0)
    bins, per_bin = 30, 300
    positive = rng.random(bins * per_bin) < 0.4
    x = np.where(positive, rng.normal(5, 0.3, positive.size), np.abs(rng.normal(0.8, 0.2, positive.size)))
    x[rng.random(x.size) < 0.2] = 0
    x = x.astype(np.float32)
    of_bin = np.repeat(np.arange(bins), per_bin)
    low, high = kernels.hump_medians(x, of_bin, bins)
    for i in range(bins):
        mine = x[of_bin == i]
        assert low[i] == pytest.approx(np.median(mine[(mine > 0) & (mine < 3)]), abs=0.01)
        assert high[i] == pytest.approx(np.median(mine[mine > 3]), abs=0.03)
    x[(of_bin == 4) & (x > 3)] = 0
    assert kernels.hump_medians(x, of_bin, bins)[1][4] == 0


def test_thebest_split_against_all_splits() -> None:
    rng = np.random.default_rng(1)
    series = rng.normal(size=(12, 3))
    series[3:6, 1] += 5
    gain, above = kernels.best_split(series, np.zeros(3))
    best = -np.inf
    for column in series.T:
        ordered = np.sort(column)
        for cut in range(1, 12):
            sides = [
                np.std(side, ddof=1) if side.size > 1 else 0.0 for side in (ordered[:cut], ordered[cut:])
            ]
            best = max(best, 1 - np.mean(sides) / np.std(ordered, ddof=1))
    assert gain == pytest.approx(best)
    assert np.flatnonzero(above).tolist() == [3, 4, 5]
    ramp = np.arange(100.0)[:, None]
    assert kernels.best_split(ramp, np.zeros(1))[0] == pytest.approx(0.5, abs=0.02)
    assert not kernels.isolated(ramp, np.zeros(1), limit=0.6).any()


def test_a_trend_is_taken_out_whatever_a_quarter_of_the_bins_does() -> None:
    series = (3 + 0.01 * np.arange(80.0))[:, None].copy()
    series[60:] -= 5
    flat = kernels.without_trend(series)
    assert np.ptp(flat[:60]) < 0.2
    assert np.median(flat[:60]) - np.median(flat[60:]) == pytest.approx(5, abs=0.2)


def test_short_runs_of_good_bins_between_bad_ones() -> None:
    bad = np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0], dtype=bool)
    assert np.flatnonzero(kernels.fill_short(bad, 5)).tolist() == [3, 4, 5, 6]
    assert not kernels.fill_short(bad, 0).any()


def test_the_picture(run: anndata.AnnData) -> None:
    adata = run.copy()
    half_signal(adata, planted(run, 0.3, 0.4))
    pp.time_quality(adata)
    table = pp.time_quality_table(adata)
    figure = pl.time_quality(table)
    rate, shift = figure.axes
    assert [rate.get_label(), shift.get_label()] == ["P1_2mo rate", "P1_2mo shift"]
    bad = table[~table["stable"]]
    spans = [patch for patch in rate.patches if patch.get_label() in ("IT", "MAD", "consecutive")]
    left = min(span.get_x() for span in spans)
    right = max(span.get_x() + span.get_width() for span in spans)
    assert left == pytest.approx(bad["start_s"].min() / 60)
    assert right == pytest.approx(bad["end_s"].max() / 60)
    drawn = next(line for line in shift.lines if line.get_label() == "shift").get_ydata()
    assert np.nanmin(drawn) == pytest.approx(table["shift"].min())
    missing = adata.copy()
    del missing.obs["Time"]
    pp.time_quality(missing, on_missing="skip")
    texts = [text.get_text() for text in pl.time_quality(pp.time_quality_table(missing)).axes[0].texts]
    assert texts == ["not judged"]
    with pytest.raises(ParameterError, match="is missing columns: worst, shift"):
        pl.time_quality(table.drop(columns=["worst", "shift"]))


def test_a_real_run_is_mostly_stable(test_data: Path) -> None:
    # a sample of a run, whose events are not in the order of time
    adata = io.read_fcs(test_data / "helios_beads" / "raw_cytof.fcs")
    with pytest.raises(ParameterError, match="Time runs backwards 3217 times"):
        pp.time_quality(adata)
    adata = adata[np.argsort(adata.obs["Time"].to_numpy(), kind="stable")].copy()
    pp.time_quality(adata)
    assert adata.obs["stable"].mean() > 0.8
    assert json.loads(adata.uns["cytocar"]["time_quality"])
