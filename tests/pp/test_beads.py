"""Bead normalisation against slow loops, limits, and simulated files whose drift is known."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytocar import datasets, io, pl, pp
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.provenance import steps
from cytocar.datasets._instrument import PAUSE_AT, gain
from cytocar.pp._beads import drift as kernels
from cytocar.pp._beads.baseline import read_baseline
from cytocar.pp._beads.find import find_beads

# anndata asks pandas 3.1 for options that pandas is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:The '.*' option is deprecated:Warning")

EQ4 = ["Ce140Di", "Eu151Di", "Eu153Di", "Ho165Di", "Lu175Di"]
MASSES = (140, 151, 153, 165, 175)
GAINS = {"P1_2mo": 1.0, "P1_1yr": 0.85, "P1_3yr": 1.1, "P1_5yr": 0.95}


@pytest.fixture(scope="module")
def raw() -> anndata.AnnData:
    return datasets.legend2(cells=30_000, seed=3)


@pytest.fixture(scope="module")
def normal(raw: anndata.AnnData) -> anndata.AnnData:
    return pp.normalize_beads(raw, copy=True)


def bead_columns(adata: anndata.AnnData) -> list[int]:
    return [list(adata.var["mass"]).index(mass) for mass in MASSES]


def made(
    n_cells: int = 1000, n_beads: int = 300, *, level: np.ndarray | None = None, seed: int = 0
) -> anndata.AnnData:
    """Return cells and beads that are evenly spread over 100 s; beads are `level` counts, shape (beads, 5)."""
    rng = np.random.default_rng(seed)
    n = n_cells + n_beads
    is_bead = np.zeros(n, dtype=bool)
    is_bead[np.linspace(3, n - 4, n_beads).astype(int)] = True
    x = np.zeros((n, 7), dtype=np.float32)
    x[is_bead, :5] = 2500.0 if level is None else level
    cells = np.flatnonzero(~is_bead)
    x[cells, :5] = rng.exponential(2, (cells.size, 5)) * (rng.random((cells.size, 5)) < 0.4)
    x[cells, 5] = 300 * np.exp(0.25 * rng.standard_normal(cells.size))
    x[cells, 6] = rng.exponential(50, cells.size)
    var = pd.DataFrame(
        {
            "channel": [*EQ4, "Ir191Di", "Er170Di"],
            "role": [*["bead"] * 5, "dna", "marker"],
            "metal": ["Ce", "Eu", "Eu", "Ho", "Lu", "Ir", "Er"],
            "mass": [*MASSES, 191, 170],
        },
        index=["B140", "B151", "B153", "B165", "B175", "DNA1", "CD3"],
    )
    obs = pd.DataFrame({"Time": np.linspace(0, 1e5, n), "sample_id": "a"}, index=[str(i) for i in range(n)])
    adata = anndata.AnnData(x, obs=obs, var=var)
    adata.uns["cytocar"] = {"state": "counts"}
    adata.obs["is_bead"] = is_bead
    return adata


def drifting(n_beads: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    fall = np.linspace(1.0, 0.7, n_beads)[:, None]
    return fall * np.array([2700, 2200, 2800, 2800, 2700]) * (1 + 0.08 * rng.standard_normal((n_beads, 5)))


def by_hand(
    adata: anndata.AnnData, baseline: list[float] | None = None, width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the normalised counts and the slope at every bead, event by event."""
    x, time = np.asarray(adata.X, dtype=float), adata.obs["Time"].to_numpy()
    beads = sorted(np.flatnonzero(adata.obs["is_bead"]), key=lambda i: time[i])
    n = len(beads)
    width = min(200, n // 3) if width is None else width
    level = [float(np.median([x[i, b] for i in beads])) for b in range(5)] if baseline is None else baseline
    slope = []
    for k in range(n):
        near = beads[max(0, k - width // 2) : min(n, k + (width - 1) // 2 + 1)]
        smooth = [float(np.median([x[i, b] for i in near])) for b in range(5)]
        slope.append(
            sum(s * r for s, r in zip(smooth, level, strict=True)) / sum(s * s for s in smooth),
        )
    out = np.empty_like(x)
    for event in range(len(x)):
        t = time[event]
        after = next((k for k in range(n) if time[beads[k]] >= t), n)
        if after == 0:
            factor = slope[0]
        elif after == n:
            factor = slope[-1]
        else:
            t0, t1 = time[beads[after - 1]], time[beads[after]]
            factor = slope[after - 1] + (slope[after] - slope[after - 1]) * (t - t0) / (t1 - t0)
        out[event] = x[event] * factor
    return out, np.array(slope)


# the method


@pytest.mark.parametrize("n_beads", [90, 700])
def test_counts_are_those_of_a_slow_loop(n_beads: int) -> None:
    adata = made(n_beads=n_beads, level=drifting(n_beads))
    expected, slope = by_hand(adata)
    pp.normalize_beads(adata)
    np.testing.assert_allclose(adata.X, expected, rtol=3e-7)
    table = pp.bead_table(adata).iloc[0]
    assert table["n_beads"] == n_beads
    assert table["window"] == min(200, n_beads // 3)
    assert table["slope_min"] == pytest.approx(slope.min(), rel=1e-12)
    assert table["slope_max"] == pytest.approx(slope.max(), rel=1e-12)


def test_a_stored_baseline_is_reached_and_found_by_channel_marker_or_isotope() -> None:
    adata = made(level=drifting())
    wanted = [3000.0, 2500.0, 3100.0, 3100.0, 3000.0]
    expected, _ = by_hand(adata, wanted)
    for names in (
        EQ4,
        ["b140", "B151", "b-153", "B165", "B175"],
        ["140Ce", "(Eu151)Di", "Eu153", "165Ho", "Lu175Dd"],
    ):
        done = pp.normalize_beads(adata, baseline=dict(zip(names, wanted, strict=True)), copy=True)
        np.testing.assert_allclose(done.X, expected, rtol=3e-7)


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=30),
    st.integers(1, 12),
)
def test_the_sliding_median_is_the_median_of_the_rows_in_the_window(values: list[int], window: int) -> None:
    column = np.array(values, dtype=float)
    found = kernels.sliding_median(column[:, None], window)[:, 0]
    for i in range(len(values)):
        rows = column[max(0, i - window // 2) : i + (window - 1) // 2 + 1]
        assert found[i] == np.median(rows)


def test_windows_do_not_go_over_a_pause() -> None:
    level = drifting(600)
    level[300:] *= 1.3
    adata = made(n_beads=600, level=level)
    second = np.arange(adata.n_obs) >= adata.n_obs // 2
    adata.obs["Time"] += np.where(second, 60_000.0, 0.0)
    baseline = [2500.0] * 5
    parts = [by_hand(adata[rows], baseline, width=200)[0] for rows in (~second, second)]
    # what comes between the last bead before and the first after the pause lies on a line between both
    near = slice(adata.n_obs // 2 - 3, adata.n_obs // 2 + 3)
    done = pp.normalize_beads(adata, baseline=dict(zip(EQ4, baseline, strict=True)), copy=True)
    expected = np.concatenate(parts)
    expected[near] = done.X[near]
    np.testing.assert_allclose(done.X, expected, rtol=3e-7)
    assert json.loads(done.uns["cytocar"]["beads"])["a"]["pauses"] == 1
    # a pause with fewer beads than a window on one side is no border
    adata.obs["Time"] = np.linspace(0, 1e5, adata.n_obs) + np.where(
        np.arange(adata.n_obs) >= 1500, 60_000.0, 0.0
    )
    expected, _ = by_hand(adata, baseline)
    pp.normalize_beads(adata, baseline=dict(zip(EQ4, baseline, strict=True)))
    np.testing.assert_allclose(adata.X, expected, rtol=3e-7)


def test_steady_beads_give_a_slope_of_exactly_one() -> None:
    adata = made(level=np.tile([2700.0, 2213.7, 2801.1, 2800.3, 2699.9], (300, 1)))
    before = adata.X.copy()
    pp.normalize_beads(adata)
    np.testing.assert_array_equal(adata.X, before)
    table = pp.bead_table(adata).iloc[0]
    assert (table["slope_min"], table["slope_max"]) == (1.0, 1.0)
    assert (table["spread_before"], table["spread_after"]) == (1.0, 1.0)
    assert "may have been normalised before" in table["note"]


def test_an_instrument_twice_as_sensitive_gives_the_same_counts() -> None:
    adata = made(level=drifting())
    baseline = dict.fromkeys(EQ4, 2500.0)
    twice = adata.copy()
    twice.X = twice.X * 2
    twice.X[:, 5] /= 2  # the limit of DNA is not what is tested
    pp.normalize_beads(adata, baseline=baseline)
    pp.normalize_beads(twice, baseline=baseline)
    columns = [0, 1, 2, 3, 4, 6]
    np.testing.assert_allclose(twice.X[:, columns], adata.X[:, columns], rtol=3e-7)


def test_the_factor_is_constant_before_the_first_and_after_the_last_bead() -> None:
    time, slopes = np.array([10.0, 20.0, 20.0, 40.0]), np.array([1.0, 1.1, 1.3, 2.0])
    found = kernels.slopes_at(np.array([0.0, 10.0, 15.0, 20.0, 30.0, 40.0, 99.0]), time, slopes)
    np.testing.assert_allclose(found, [1.0, 1.0, 1.1, 1.2, 1.6, 2.0, 2.0])


def test_zeros_stay_zero_and_nothing_else_becomes_zero(raw: anndata.AnnData, normal: anndata.AnnData) -> None:
    assert normal.X.dtype == np.float32
    np.testing.assert_array_equal(normal.X == 0, raw.X == 0)
    pd.testing.assert_frame_equal(normal.obs, raw.obs)


def test_events_in_any_order_get_the_factor_of_their_time() -> None:
    adata = made(level=drifting())
    order = np.random.default_rng(0).permutation(adata.n_obs)
    mixed = adata[order].copy()
    pp.normalize_beads(adata)
    pp.normalize_beads(mixed)
    np.testing.assert_allclose(mixed.X, adata.X[order], rtol=1e-6)
    assert "events are not in the order of Time" in pp.bead_table(mixed)["note"][0]
    assert "order of Time" not in pp.bead_table(adata)["note"][0]


# the simulated study


def test_beads_are_found_and_cells_are_not_taken(raw: anndata.AnnData) -> None:
    cleaned = pp.clean(raw, copy=True)
    for beads in find_beads(raw, beads="auto", sample_key="sample_id"):
        kind = raw.obs["truth_type"].astype(str).to_numpy()[beads.rows]
        assert beads.alone[kind == "bead"].mean() >= 0.99
        assert (beads.alone | beads.with_cell)[kind == "cell"].mean() <= 0.005
        assert beads.with_cell[kind == "cell_bead"].mean() >= 0.95
        classes = cleaned.obs["event_class"].astype(str).to_numpy()[beads.rows]
        np.testing.assert_array_equal(beads.alone, classes == "bead")
        np.testing.assert_array_equal(beads.with_cell, classes == "cell_bead")


def test_drift_is_taken_away(normal: anndata.AnnData) -> None:
    table = pp.bead_table(normal)
    assert table["sample_id"].tolist() == list(GAINS)
    assert (table["spread_before"] > 1.22).all()
    # half windows of 100 beads at the ends leave some percent by chance
    assert (table["spread_after"] < 1.04).all()
    many = datasets.legend2(cells=100_000, seed=3, timepoints=["2mo"])
    pp.normalize_beads(many)
    row = pp.bead_table(many).iloc[0]
    assert row["spread_before"] > 1.27
    assert row["spread_after"] < 1.02


def test_files_come_to_one_baseline(raw: anndata.AnnData, normal: anndata.AnnData) -> None:
    def medians(adata: anndata.AnnData) -> np.ndarray:
        is_bead = adata.obs["truth_type"] == "bead"
        beads = pd.DataFrame(adata.X[is_bead][:, bead_columns(adata)])
        return beads.groupby(adata.obs["sample_id"][is_bead].to_numpy()).median().to_numpy()

    before, after = medians(raw), medians(normal)
    assert (before.max(axis=0) / before.min(axis=0) > 1.25).all()
    assert (after.max(axis=0) / after.min(axis=0) < 1.01).all()


def true_gain(adata: anndata.AnnData, sample: str) -> tuple[np.ndarray, np.ndarray]:
    """Return Time and the gain of every event of a sample, without the tilt over mass."""
    time = adata.obs["Time"][adata.obs["sample_id"] == sample].to_numpy(dtype=float)
    after = np.arange(time.size) >= round(PAUSE_AT * time.size)
    acquiring = time - after * 120_000.0
    of_event, _ = gain(acquiring / acquiring[-1], after, GAINS[sample], np.array([155.0]))
    return time, of_event


def test_the_factor_follows_the_true_sensitivity(raw: anndata.AnnData, normal: anndata.AnnData) -> None:
    """The product of factor and true gain is the same for all files and moments."""
    level = []
    for sample in GAINS:
        _, truth = true_gain(raw, sample)
        rows = (raw.obs["sample_id"] == sample).to_numpy()
        dna = list(raw.var["role"]).index("dna")
        factor = normal.X[rows, dna].astype(float) / np.where(raw.X[rows, dna] > 0, raw.X[rows, dna], np.nan)
        level.append(factor * truth)
    product = np.concatenate(level)
    error = product / np.nanmedian(product) - 1
    assert np.nanpercentile(np.abs(error), 95) < 0.02
    assert np.nanmax(np.abs(error)) < 0.04


def test_one_factor_leaves_the_tilt_over_mass(normal: anndata.AnnData) -> None:
    """Light masses gain 4.5 % and heavy ones lose 6 %: that is left, and the table says so."""
    traces = pp.bead_traces(normal)
    for _, part in traces.groupby("sample_id"):
        ends = {
            channel: line["after"].iloc[-20:].mean() / line["after"].iloc[:20].mean()
            for channel, line in part.groupby("channel")
        }
        assert 1.01 < ends["Ce140Di"] < 1.07
        assert 0.92 < ends["Lu175Di"] < 0.985
    table = pp.bead_table(normal)
    assert (table["worst_spread_after"] > 1.04).all()
    assert table["note"].str.contains("% is left in Lu175Di: drift that differs by mass").all()


def test_without_drift_nothing_moves_much() -> None:
    steady = datasets.legend2(cells=20_000, drift=False, timepoints=["2mo"])
    pp.normalize_beads(steady)
    table = pp.bead_table(steady).iloc[0]
    assert 0.97 < table["slope_min"] <= table["slope_max"] < 1.03
    assert "may have been normalised before" in table["note"]


def test_one_file_at_a_time_with_the_common_baseline_is_all_at_once(
    raw: anndata.AnnData, normal: anndata.AnnData
) -> None:
    files = [raw[raw.obs["sample_id"] == sample].copy() for sample in GAINS]
    baseline = pp.bead_baseline([pp.bead_values(file) for file in files])
    assert list(baseline) == EQ4
    for file, sample in zip(files, GAINS, strict=True):
        pp.normalize_beads(file, baseline=baseline)
        np.testing.assert_array_equal(file.X, normal.X[normal.obs["sample_id"] == sample])


def test_values_are_the_counts_of_the_beads() -> None:
    adata = made(level=drifting())
    values = pp.bead_values(adata)
    assert list(values) == ["sample_id", *EQ4]
    np.testing.assert_array_equal(values[EQ4], adata.X[adata.obs["is_bead"]][:, :5])
    assert pp.bead_baseline(values)["Ce140Di"] == pytest.approx(np.median(values["Ce140Di"]))
    with pytest.raises(ParameterError, match="no beads to take a baseline from"):
        pp.bead_baseline(values[:0])


# what is kept


def test_copy_leaves_the_input_alone_and_tables_survive_a_file(tmp_path: Path) -> None:
    adata = made(level=drifting())
    before = adata.X.copy()
    done = pp.normalize_beads(adata, copy=True)
    np.testing.assert_array_equal(adata.X, before)
    assert "beads" not in adata.uns["cytocar"]
    assert steps(done)[-1]["step"] == "pp.normalize_beads"
    done.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    for table in (pp.bead_table, pp.bead_traces):
        pd.testing.assert_frame_equal(table(again), table(done))
    with pytest.raises(StateError, match="have been normalised to beads already"):
        pp.normalize_beads(again)


def test_a_view_does_not_change_what_it_was_cut_from() -> None:
    adata = made(level=drifting())
    before = adata.X.copy()
    view = adata[:]
    pp.normalize_beads(view)
    np.testing.assert_array_equal(adata.X, before)
    assert not np.array_equal(view.X, before)


def test_traces_are_thin_and_whole() -> None:
    adata = made(n_cells=3000, n_beads=900, level=drifting(900))
    pp.normalize_beads(adata)
    traces = pp.bead_traces(adata)
    assert list(traces) == ["sample_id", "time_s", "channel", "before", "after", "slope"]
    assert len(traces) == 200 * 5
    bead_time = adata.obs["Time"][adata.obs["is_bead"]] / 1000
    assert (traces["time_s"].min(), traces["time_s"].max()) == pytest.approx(
        (bead_time.min(), bead_time.max()), rel=1e-5
    )
    np.testing.assert_allclose(traces["after"], traces["before"] * traces["slope"], rtol=0.02)
    by_channel = pp.bead_table(adata, by_channel=True)
    assert by_channel["channel"].tolist() == EQ4
    # a fall to 70 % of which windows of 200 in 900 see all but a ninth, and noise
    assert by_channel["spread_before"].between(1.25, 1.5).all()


# what is refused


def broken(what: str) -> anndata.AnnData:
    adata = made(n_beads=49 if what == "few" else 300, level=drifting(49 if what == "few" else 300))
    time = adata.obs["Time"].to_numpy(copy=True)
    if what == "none":
        adata = adata[~adata.obs["is_bead"]].copy()
    elif what == "no Time":
        del adata.obs["Time"]
    elif what == "NaN":
        time[7] = np.nan
        adata.obs["Time"] = time
    elif what == "still":
        adata.obs["Time"] = 5.0
    elif what == "joined":
        adata.obs["Time"] = np.where(np.arange(time.size) < 650, time, time - time[600])
    elif what == "no channels":
        adata.var["mass"] = 0
    return adata


FAULTS = {
    "few": "49 beads are fewer than 50",
    "none": "no bead population",
    "no Time": "there is no Time",
    "NaN": "Time is not finite in 1 of 1300 events",
    "still": "Time does not move",
    "joined": r"Time runs backwards once \(most at event 650, from 49962 to 3849\)",
    "no channels": "there are no bead channels",
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_cannot_be_normalised_is_refused_or_left_as_it_is(what: str) -> None:
    bad = broken(what)
    before = bad.X.copy()
    with pytest.raises(StateError, match=rf"sample 'a': {FAULTS[what]}"):
        pp.normalize_beads(bad)
    np.testing.assert_array_equal(bad.X, before)
    assert "beads" not in bad.uns["cytocar"]
    pp.normalize_beads(bad, on_missing="skip")
    np.testing.assert_array_equal(bad.X, before)
    table = pp.bead_table(bad)
    assert table["note"].str.match(rf"not normalised: {FAULTS[what]}").all()
    assert table["spread_before"].isna().all()
    assert len(pp.bead_traces(bad)) == 0


def test_a_small_step_back_of_the_clock_is_no_joint() -> None:
    adata = made(level=drifting())
    time = adata.obs["Time"].to_numpy(copy=True)
    time[500], time[501] = time[501], time[500]
    adata.obs["Time"] = time
    pp.normalize_beads(adata)
    assert pp.bead_table(adata)["window"][0] == 100


def test_a_sample_without_beads_does_not_keep_the_others_from_it() -> None:
    good, bad = made(level=drifting()), broken("none")
    bad.obs["sample_id"] = "b"
    both = anndata.concat([good, bad], merge="same", index_unique="-")
    both.uns["cytocar"] = {"state": "counts"}
    with pytest.raises(StateError, match="sample 'b': no bead population"):
        pp.normalize_beads(both)
    pp.normalize_beads(both, on_missing="skip")
    pp.normalize_beads(good)
    np.testing.assert_array_equal(both.X[: good.n_obs], good.X)
    np.testing.assert_array_equal(both.X[good.n_obs :], bad.X)
    # one that was normalised is enough to refuse a second time
    with pytest.raises(StateError, match="already"):
        pp.normalize_beads(both, on_missing="skip")


def test_arcsinh_values_are_refused() -> None:
    adata = made(level=drifting())
    pp.arcsinh(adata, cofactor=5)
    for function in (pp.normalize_beads, pp.bead_values):
        with pytest.raises(StateError, match="needs counts in X, but X holds arcsinh"):
            function(adata)


def test_tables_need_a_normalisation() -> None:
    for table in (pp.bead_table, pp.bead_traces):
        with pytest.raises(StateError, match=r"run cytocar\.pp\.normalize_beads first"):
            table(made())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 2}, "window is 2"),
        ({"window": 9.5}, "window is 9.5"),
        ({"on_missing": "warn"}, "on_missing is 'warn'"),
        ({"beads": "EQ4"}, "beads is 'EQ4'"),
        ({"beads": ["Ce140Di", "Yb171Di"]}, "'Yb171Di' is not a channel"),
        ({"sample_key": "tube"}, "obs has no column 'tube'"),
        ({"baseline": {"Ce140Di": 2700}}, "no value for Eu151Di, Eu153Di, Ho165Di, Lu175Di; it has Ce140Di"),
        ({"baseline": dict.fromkeys(EQ4, -1.0)}, "the baseline of Ce140Di is -1.0"),
        ({"baseline": {}}, "no value for .* it has none"),
    ],
)
def test_settings_outside_their_domain(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        pp.normalize_beads(made(level=drifting()), **settings)  # type: ignore[arg-type]  # wrong on purpose


def test_counts_that_are_not_finite_are_refused() -> None:
    adata = made(level=drifting())
    adata.X[4, 0] = np.nan
    with pytest.raises(ParameterError, match="B140 is nan in event 4"):
        pp.normalize_beads(adata)


def test_named_bead_channels_are_used() -> None:
    adata = made(level=drifting())
    adata.var["mass"] = 0
    pp.normalize_beads(adata, beads=["B140", "Lu175Di", "b153"])
    assert pp.bead_table(adata, by_channel=True)["channel"].tolist() == ["Ce140Di", "Eu153Di", "Lu175Di"]


@pytest.mark.parametrize(
    ("keyword", "value", "told"),
    [
        ("FLUIDIGMNORMALIZED", "True", True),
        ("FLUIDIGMNORMALIZED", "False", False),
        ("$FIL", "a_normalized.fcs", True),
    ],
)
def test_keywords_that_tell_of_an_earlier_normalisation(keyword: str, value: str, told: bool) -> None:
    adata = made(level=drifting())
    adata.uns["cytocar"]["keywords"] = json.dumps({keyword: value})
    pp.normalize_beads(adata)
    assert (f"the keyword {keyword} says" in pp.bead_table(adata)["note"][0]) is told


def test_samples_with_other_beads_have_their_own_channels() -> None:
    """EQ6 in one sample and EQ4 in the other, in one panel; a channel of both has one baseline."""
    four = made(level=drifting())
    names = {"B89": 89, "B115": 115, "B159": 159, "B209": 209}
    more = pd.DataFrame(
        {
            "channel": list(names),
            "role": "bead",
            "metal": ["Y", "In", "Tb", "Bi"],
            "mass": list(names.values()),
        },
        index=list(names),
    )
    var = pd.concat([four.var, more])
    is_bead = four.obs["is_bead"].to_numpy()
    blank = np.zeros((four.n_obs, 4), dtype=np.float32)
    six = four.X.copy()
    six[is_bead] = 0
    six[is_bead, 0] = six[is_bead, 4] = 2000
    high = blank.copy()
    high[is_bead] = 1500
    obs = pd.concat([four.obs.assign(sample_id=name) for name in ("four", "six")])
    obs.index = [str(i) for i in range(len(obs))]
    both = anndata.AnnData(np.vstack([np.hstack([four.X, blank]), np.hstack([six, high])]), obs=obs, var=var)
    both.uns["cytocar"] = {"state": "counts"}
    values = pp.bead_values(both)
    assert values["Y89Di"].notna().sum() == values["Eu151Di"].notna().sum() == 300
    pp.normalize_beads(both)
    table = pp.bead_table(both, by_channel=True)
    assert set(table["channel"][table["sample_id"] == "four"]) == set(EQ4)
    in_six = set(table["channel"][table["sample_id"] == "six"])
    assert in_six == {"Y89Di", "In115Di", "Ce140Di", "Tb159Di", "Lu175Di", "Bi209Di"}
    shared = table[table["channel"] == "Ce140Di"]["baseline"]
    assert shared.nunique() == 1


def test_no_events_at_all() -> None:
    adata = made(level=drifting())[:0].copy()
    pp.normalize_beads(adata, on_missing="skip")
    assert len(pp.bead_table(adata)) <= 1


# files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("beads") / "study"
    datasets.write_legend2(out, cells=3000, seed=5, timepoints=["2mo", "1yr"])
    return out / "fcs"


def test_files_are_normalised_together(folder: Path, tmp_path: Path) -> None:
    sources = sorted(folder.glob("*.fcs"))
    before = [path.read_bytes() for path in sources]
    table = pp.normalize_files(sources, tmp_path / "out")
    assert [path.read_bytes() for path in sources] == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "P1_1yr.fcs", "P1_2mo.fcs", "baseline.csv",
    ]  # fmt: skip
    parts = [io.read_fcs(path, sample_id=path.stem) for path in sources]
    baseline = pp.bead_baseline([pp.bead_values(part) for part in parts])
    stored = pd.read_csv(tmp_path / "out" / "baseline.csv").set_index("channel")["baseline"]
    assert stored.to_dict() == pytest.approx(baseline, rel=1e-9)
    for part, (_, row) in zip(parts, table.iterrows(), strict=True):
        pp.clean(part)
        pp.normalize_beads(part, baseline=baseline)
        stays = ~part.obs["event_class"].isin(["bead", "cell_bead"]).to_numpy()
        written = io.read_fcs(row["written"])
        np.testing.assert_array_equal(written.X, part.X[stays])
        np.testing.assert_array_equal(written.obs["Time"], part.obs["Time"][stays])
        assert list(written.var["channel"]) == list(part.var["channel"])
        assert row["events"] - row["beads_removed"] - row["cell_beads_removed"] == row["events_written"]
        assert row["beads_removed"] == (part.obs["event_class"] == "bead").sum() > 100
        assert [step["step"] for step in steps(written)][:3] == [
            "io.read_fcs", "pp.normalize_beads", "pp.remove_beads",
        ]  # fmt: skip


def test_a_written_baseline_is_taken_again_and_written_files_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    one = folder / "P1_1yr.fcs"
    pp.normalize_files([one, folder / "P1_2mo.fcs"], tmp_path / "both", keep_beads=True)
    table = pp.normalize_files(
        [one], tmp_path / "one", baseline=tmp_path / "both" / "baseline.csv", keep_beads=True
    )
    assert table["events"].tolist() == table["events_written"].tolist()
    name = "P1_1yr.fcs"
    np.testing.assert_allclose(
        io.read_fcs(tmp_path / "one" / name).X, io.read_fcs(tmp_path / "both" / name).X, rtol=1e-6
    )
    with pytest.raises(StateError, match=r"P1_1yr\.fcs: the history says .* already"):
        pp.normalize_files([tmp_path / "both" / name], tmp_path / "again")
    assert not (tmp_path / "again").exists()
    table = pp.normalize_files(
        [tmp_path / "both" / name], tmp_path / "again", on_missing="skip", keep_beads=True
    )
    assert "already" in table["note"][0]
    np.testing.assert_array_equal(
        io.read_fcs(tmp_path / "again" / name).X, io.read_fcs(tmp_path / "both" / name).X
    )


def test_nothing_is_written_over_or_beside_the_inputs(folder: Path, tmp_path: Path) -> None:
    sources = sorted(folder.glob("*.fcs"))
    with pytest.raises(ParameterError, match="is a folder of input files"):
        pp.normalize_files(sources, folder)
    (tmp_path / "P1_2mo.fcs").write_text("mine")
    with pytest.raises(ParameterError, match=r"P1_2mo\.fcs: is there already"):
        pp.normalize_files(sources, tmp_path)
    assert (tmp_path / "P1_2mo.fcs").read_text() == "mine"
    with pytest.raises(ParameterError, match=r"2 files would become P1_2mo\.fcs"):
        pp.normalize_files([folder / "P1_2mo.fcs"] * 2, tmp_path / "new")
    with pytest.raises(ParameterError, match=r"absent\.fcs: there is no such file"):
        pp.normalize_files([folder / "absent.fcs"], tmp_path / "new")
    with pytest.raises(ParameterError, match="it must be a list of files"):
        pp.normalize_files(str(folder / "P1_2mo.fcs"), tmp_path / "new")
    with pytest.raises(ParameterError, match="there are no files"):
        pp.normalize_files([], tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("channel,value\nCe140Di,1\n", "is missing columns: baseline"),
        ("channel,baseline\nCe140Di,much\n", "line 2: the baseline is 'much'"),
        ("channel,baseline\nCe140Di,1\nCe140Di,2\n", "names Ce140Di more than once"),
        ("", "the table is empty"),
    ],
)
def test_a_baseline_file_that_says_nothing_useful(
    folder: Path, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(ParameterError, match=message):
        pp.normalize_files([folder / "P1_2mo.fcs"], tmp_path / "out", baseline=tmp_path / "b.csv")


def test_a_file_without_beads_stops_all_or_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    adata = io.read_fcs(folder / "P1_2mo.fcs")
    pp.clean(adata)
    bare = adata[(adata.obs["event_class"] == "cell").to_numpy()].copy()
    io.write_fcs(bare, tmp_path / "bare.fcs")
    sources = [folder / "P1_1yr.fcs", tmp_path / "bare.fcs"]
    with pytest.raises(StateError, match=r"bare\.fcs: no bead population"):
        pp.normalize_files(sources, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.fcs"]
    table = pp.normalize_files(sources, tmp_path / "out", on_missing="skip").set_index("sample_id")
    assert table.loc["bare", "note"].startswith("not normalised: no bead population")
    written = io.read_fcs(tmp_path / "out" / "bare.fcs")
    np.testing.assert_array_equal(written.X, bare.X)
    # it may be normalised later: its history does not say that it was
    assert "pp.normalize_beads" not in [step["step"] for step in steps(written)]


# the picture


def test_the_picture_shows_each_channel_of_each_file_and_one_factor() -> None:
    good, bad = made(level=drifting()), broken("none")
    bad.obs["sample_id"] = "b"
    both = anndata.concat([good, bad], merge="same", index_unique="-")
    both.uns["cytocar"] = {"state": "counts"}
    pp.normalize_beads(both, on_missing="skip")
    traces, table = pp.bead_traces(both), pp.bead_table(both)
    figure = pl.beads(traces, table)
    before, after, slope = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in before.get_lines()}
    first = traces[traces["channel"] == "Ho165Di"]
    np.testing.assert_array_equal(drawn["0:Ho165Di"], first["before"])
    assert {f"0:{channel}" for channel in EQ4} <= set(drawn)
    assert not any(str(name).startswith("1:") for name in drawn)
    assert before.get_ylim() == after.get_ylim()
    assert [t.get_text() for t in after.texts] == ["left as it is"]
    curves = [line for line in slope.get_lines() if str(line.get_label()).startswith("0:")]
    np.testing.assert_array_equal(curves[0].get_ydata(), first["slope"])
    assert len(curves) == 1
    below = [tick.get_text() for tick in slope.get_xticklabels()]
    assert "300 beads" in below[0]
    assert "left as it is" in below[1]
    with pytest.raises(ParameterError, match="is missing columns: slope"):
        pl.beads(traces.drop(columns="slope"), table)
    with pytest.raises(ParameterError, match="the table of beads is missing columns: n_beads"):
        pl.beads(traces, table.drop(columns="n_beads"))


# a real run


def test_a_real_run_that_the_maker_of_the_instrument_normalised(test_data: Path) -> None:
    adata = io.read_fcs(test_data / "helios_beads" / "raw_cytof.fcs", sample_id="run")
    cleaned = pp.clean(adata, copy=True)
    pp.normalize_beads(adata)
    table = pp.bead_table(adata).iloc[0]
    assert table["n_beads"] == (cleaned.obs["event_class"] == "bead").sum() == 106
    assert 1.02 < table["spread_before"] < 1.08
    assert table["spread_after"] < table["spread_before"]
    assert 0.97 < table["slope_min"] < table["slope_max"] < 1.04
    for words in ("order of Time", "FLUIDIGMNORMALIZED", "106 beads are few"):
        assert words in table["note"]
    assert json.loads(adata.uns["cytocar"]["beads"])["run"]["channels"] == EQ4


@pytest.mark.parametrize(
    "text",
    [
        "channel,baseline\nCe140Di,1.5\n",
        "\ufeffchannel;baseline\r\nCe140Di;1,5\r\n",
        "channel\tbaseline\rCe140Di\t1,5\r",
    ],
)
def test_a_baseline_that_a_spreadsheet_saved_again_is_the_same(text: str, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(text.encode())
    assert read_baseline(tmp_path / "b.csv") == {"Ce140Di": 1.5}
