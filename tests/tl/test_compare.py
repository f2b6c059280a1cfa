"""Comparisons: kernels against slow loops and scipy, calls against what was planted in the simulated study."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cytocar as cc
from cytocar import ParameterError, StateError
from cytocar.tl import compare
from cytocar.tl._markers import calls, staining
from cytocar.tl._markers import host as host_cells
from cytocar.tl._markers.groups import Bootstrap, DifferenceInDifferences, Effect, Group
from cytocar.tl._statistics import p_values, smallest_p

CONTRACT = [
    "comparison", "compartment", "timepoint", "subset", "marker", "group_a", "group_b", "n_cells_a", "n_cells_b",
    "n_patients_a", "n_patients_b", "median_a", "median_b", "effect", "effect_low", "effect_high", "cliffs_delta",
    "unit", "p_value", "p_adjusted", "p_minimum", "call",
]  # fmt: skip
BESIDE = [
    "patient_id", "technical_shift", "shift_low", "shift_high", "adjusted", "adjusted_low", "adjusted_high", "margin",
    "note",
]  # fmt: skip


def ordered(*rows: np.ndarray) -> np.ndarray:
    return np.sort(np.stack(rows).astype(float), axis=1)


def slow_delta(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> float:
    weights = np.full(len(a), 1 / len(a)) if weights is None else weights
    return sum(w * np.mean([np.sign(y - x) for y in b]) for x, w in zip(a, weights, strict=True))


# ---- kernels


@pytest.mark.parametrize("ties", [False, True])
def test_cliffs_delta_is_the_slow_loop(ties: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (3, 40)), rng.normal(0.4, 2, (3, 25))
    if ties:
        a, b = np.maximum(np.round(a), 0), np.maximum(np.round(b), 0)
    delta, low, high = calls.cliffs_delta(Group.of(ordered(*a)), ordered(*b))
    np.testing.assert_allclose(delta, [slow_delta(x, y) for x, y in zip(a, b, strict=True)], atol=1e-12)
    assert ((low < delta) & (delta < high)).all()
    back = calls.cliffs_delta(Group.of(ordered(*b)), ordered(*a))
    np.testing.assert_allclose(back[0], -delta, atol=1e-12)
    np.testing.assert_allclose(back[1], -high, atol=1e-12)


def test_interval_of_cliffs_delta_covers_and_stays_inside() -> None:
    rng = np.random.default_rng(1)
    truth = 2 * stats.norm.cdf(1.2 / np.sqrt(2)) - 1
    _, low, high = calls.cliffs_delta(
        Group.of(np.sort(rng.normal(0, 1, (500, 40)), axis=1)),
        np.sort(rng.normal(1.2, 1, (500, 25)), axis=1),
    )
    assert 0.92 < ((low < truth) & (truth < high)).mean() < 0.98
    apart, low, high = calls.cliffs_delta(
        Group.of(ordered([1, 2, 3, 4, 5, 6.0])), ordered([7, 8, 9, 10, 11.0])
    )
    z2 = stats.norm.ppf(0.975) ** 2
    assert (apart[0], high[0]) == (1, 1)
    assert low[0] == pytest.approx((5 - z2) / (5 + z2))


@pytest.mark.parametrize("n", [5, 8, 21, 40])
def test_drawn_medians_are_those_of_a_bootstrap(n: int) -> None:
    rng = np.random.default_rng(2)
    cells = np.sort(rng.normal(0, 1, n))
    drawn = Group.of(cells[None]).drawn_medians(Bootstrap(0.95, 20_000, rng))[0]
    slow = np.median(rng.choice(cells, (20_000, n)), axis=1)
    levels = np.linspace(0.02, 0.98, 25)
    reach = [np.mean(drawn <= q) for q in np.quantile(cells, levels)]
    expected = [np.mean(slow <= q) for q in np.quantile(cells, levels)]
    np.testing.assert_allclose(reach, expected, atol=0.02)


def test_effect_and_interval_against_scipy() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(1, 0.5, 80), rng.normal(2, 0.7, 41)
    zero = np.zeros(1)
    found = calls.contrast(
        Group.of(ordered(a)), Group.of(ordered(b)),
        shift=zero, error=zero, margin=0.2, bootstrap=Bootstrap(0.95, 5000, rng),
    )  # fmt: skip
    assert found.effect[0] == pytest.approx(np.median(b) - np.median(a))
    slow = stats.bootstrap(
        (a, b), lambda x, y, axis: np.median(y, axis=axis) - np.median(x, axis=axis),
        method="percentile", n_resamples=5000, rng=rng,
    ).confidence_interval  # fmt: skip
    assert (found.effect_low[0], found.effect_high[0]) == pytest.approx((slow.low, slow.high), abs=0.03)
    student = stats.ttest_ind(b, a).confidence_interval(0.95)
    assert found.mean[0] == pytest.approx(b.mean() - a.mean())
    assert (found.mean_low[0], found.mean_high[0]) == pytest.approx((student.low, student.high))
    assert found.direction[0] == 1
    assert found.p[0] == pytest.approx(stats.ttest_ind(b, a).pvalue)


def contrasted(a: np.ndarray, b: np.ndarray, shift: float = 0.0, error: float = 0.0) -> Effect:
    return calls.contrast(
        Group.of(ordered(a)), Group.of(ordered(b)), shift=np.array([shift]), error=np.array([error]),
        margin=0.2, bootstrap=Bootstrap(0.95, 2000, np.random.default_rng(0)),
    )  # fmt: skip


def test_a_wide_small_group_is_not_sure_by_the_variance_of_the_large_one() -> None:
    a = np.random.default_rng(0).normal(2, 0.3, 2000)
    tight = contrasted(a, np.array([2.4, 2.5, 2.6, 2.7, 2.9, 3.0]))
    wide = contrasted(a, np.array([1.0, 1.2, 2.0, 2.8, 4.5, 4.6]))
    assert tight.mean[0] == pytest.approx(wide.mean[0], abs=1e-6)
    assert max(tight.p[0], wide.p[0]) < 0.001
    assert (tight.direction[0], wide.direction[0]) == (1, 0)


def test_the_error_of_staining_goes_into_evidence_and_intervals() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(3, 0.3, 300), rng.normal(3.6, 0.3, 300)
    sure, unsure = contrasted(a, b), contrasted(a, b, error=0.3)
    assert (sure.direction[0], unsure.direction[0]) == (1, 0)
    pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 300)
    z = unsure.mean[0] / np.hypot(pooled, 0.3 * np.tanh(b).mean())
    assert unsure.p[0] == pytest.approx(2 * stats.t.sf(z, 598))
    assert unsure.adjusted_high[0] - unsure.adjusted[0] == pytest.approx(1.96 * 0.3, rel=0.02)
    np.testing.assert_array_equal(unsure.effect_high, sure.effect_high)
    corrected = contrasted(a, b, shift=0.6)
    assert corrected.adjusted[0] == pytest.approx(sure.effect[0] - 0.6, abs=0.01)
    assert corrected.within[0]


def test_a_standardised_group_is_a_replicated_one() -> None:
    rng = np.random.default_rng(4)
    small, large, b = rng.normal(0, 1, 30), rng.normal(3, 1, 60), rng.normal(1, 1, 25)
    weights = np.array([0.75, 0.25])
    group = Group((ordered(small), ordered(large)), weights)
    # 30 cells with weight 0.75 and 60 with 0.25: each of the first stands for six of the second.
    copies = np.concatenate([np.repeat(small, 6), large])
    assert group.median()[0] == pytest.approx(np.median(copies), abs=0.05)
    assert group.mean()[0] == pytest.approx(copies.mean())
    cell, mean = group.variance()
    assert cell[0] == pytest.approx(copies.var(), rel=0.03)
    assert mean[0] == pytest.approx(0.75**2 * small.var(ddof=1) / 30 + 0.25**2 * large.var(ddof=1) / 60)
    delta = calls.cliffs_delta(group, ordered(b))[0][0]
    assert delta == pytest.approx(slow_delta(copies, b))
    slow = [
        np.median(np.concatenate([np.repeat(rng.choice(small, 30), 6), rng.choice(large, 60)]))
        for _ in range(3000)
    ]
    drawn = group.drawn_medians(Bootstrap(0.95, 3000, rng))[0]
    np.testing.assert_allclose(np.quantile(drawn, [0.1, 0.9]), np.quantile(slow, [0.1, 0.9]), atol=0.12)


def rank_p(a: np.ndarray, b: np.ndarray, delta: float) -> float:
    """Return the normal p of the rank sum from Cliff's delta, with both corrections, written out."""
    n = len(a) + len(b)
    _, ties = np.unique(np.concatenate([a, b]), return_counts=True)
    variance = len(a) * len(b) / 12 * (n + 1 - (ties.astype(float) ** 3 - ties).sum() / (n * (n - 1)))
    return min(1.0, 2 * stats.norm.sf((abs(delta) * len(a) * len(b) / 2 - 0.5) / np.sqrt(variance)))


def test_mann_whitney_and_adjustment_against_formulas_written_out() -> None:
    rng = np.random.default_rng(5)
    a, b = np.round(rng.normal(0, 1, (6, 30)), 1), np.round(rng.normal(0.3, 1, (6, 20)), 1)
    delta = calls.cliffs_delta(Group.of(ordered(*a)), ordered(*b))[0]
    p = p_values.mann_whitney(ordered(*a), ordered(*b))
    np.testing.assert_allclose(p, [rank_p(*three) for three in zip(a, b, delta, strict=True)])
    order = np.argsort(p)
    adjusted = [min(1.0, min(p[order[j]] * 6 / (j + 1) for j in range(i, 6))) for i in range(6)]
    np.testing.assert_allclose(p_values.benjamini_hochberg(p)[order], adjusted)
    with_gap = p_values.benjamini_hochberg([p[0], np.nan, *p[1:]])
    np.testing.assert_array_equal(with_gap[[0, 2, 3, 4, 5, 6]], p_values.benjamini_hochberg(p))
    assert np.isnan(with_gap[1])
    assert smallest_p.of_rank_test(3, 3) == pytest.approx(2 / 20)
    assert stats.mannwhitneyu([1, 2, 3], [4, 5, 6], method="exact").pvalue == pytest.approx(
        smallest_p.of_rank_test(3, 3)
    )
    flat = p_values.mann_whitney(np.zeros((1, 4)), np.zeros((1, 5)))
    assert flat[0] == 1


def test_calls_need_size_and_evidence_in_the_family() -> None:
    p = np.array([0.001, 0.02, 0.06, 0.3, 1.0, 1.0])
    direction = np.array([1, -1, 1, -1, 0, 0])
    within = np.array([False, False, False, False, True, False])
    assert list(calls.decide(p, direction, within)) == [
        "up", "down", "inconclusive", "inconclusive", "unchanged", "inconclusive",
    ]  # fmt: skip
    # The same row alone, or among more that show nothing.
    assert calls.decide(p[2:3], direction[2:3], within[2:3])[0] == "up"
    many = np.concatenate([[0.001], np.ones(200)])
    assert calls.decide(many, np.ones(201, int), np.zeros(201, bool))[0] == "inconclusive"


# ---- staining


def host(n: int, share: float, level: float, rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Return one stratum, one marker: a share of positive cells, the rest nearly all below ten counts."""
    counts = np.where(rng.random(n) < 0.35, rng.exponential(2.5, n), 0.0)
    positive = rng.random(n) < share
    counts[positive] = 5 * np.sinh(np.maximum(rng.normal(level, 0.45, n), 0))[positive]
    return np.sort(np.arcsinh(counts * gain / 5))[None]


def test_take_off_divides_counts_and_leaves_zeros() -> None:
    y = np.array([0.0, 0.3, 1.5, 4.0])
    found = staining.take_off(y, 0.2)
    np.testing.assert_allclose(5 * np.sinh(found), 5 * np.sinh(y) / np.exp(0.2))
    assert found[0] == 0
    np.testing.assert_allclose(staining.take_off(found, -0.2), y)
    assert y[3] - found[3] == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize(("share", "level"), [(0.98, 2.5), (0.5, 2.0), (0.12, 1.8), (0.05, 1.8)])
def test_a_gain_is_found_within_its_error(share: float, level: float) -> None:
    rng = np.random.default_rng(6)
    z = []
    for _ in range(20):
        a = [host(4000, share, level, rng) for _ in range(2)]
        b = [host(4000, share, level, rng, gain=1.25) for _ in range(2)]
        found = staining.estimate(a, b, 0.1, rng)
        z.append((found.shift[0] - np.log(1.25)) / found.error[0])
        assert found.error[0] < 0.12
    assert np.abs(np.mean(z)) < 1
    assert np.std(z) < 1.5


def test_a_change_of_the_mix_of_cd4_and_cd8_is_not_staining() -> None:
    rng = np.random.default_rng(7)
    a = [host(6000, 0.98, 1.5, rng), host(2000, 0.98, 3.5, rng)]
    b = [host(2000, 0.98, 1.5, rng), host(6000, 0.98, 3.5, rng)]
    found = staining.estimate(a, b, 0.1, rng)
    own = np.sqrt(found.error[0] ** 2 - staining.TRANSFER_ERROR**2)
    assert abs(found.shift[0]) < 3 * found.error[0]
    assert 3 * own < 0.1
    pooled = staining.estimate(
        [np.sort(np.concatenate(a, axis=1), axis=1)], [np.sort(np.concatenate(b, axis=1), axis=1)], 0.1, rng
    )
    assert pooled.shift[0] > 0.5


def test_strata_that_disagree_widen_the_error() -> None:
    rng = np.random.default_rng(8)
    a = [host(4000, 0.98, 2.5, rng) for _ in range(2)]
    agree = staining.estimate(a, [host(4000, 0.98, 2.5, rng, 1.2) for _ in range(2)], 0.1, rng)
    differ = staining.estimate(a, [host(4000, 0.98, 2.5, rng, 1.5), host(4000, 0.98, 2.5, rng)], 0.1, rng)
    own = np.sqrt(np.array([differ.error[0], agree.error[0]]) ** 2 - staining.TRANSFER_ERROR**2)
    assert own[0] > 5 * own[1]


def test_what_the_host_does_not_carry_is_not_measured() -> None:
    rng = np.random.default_rng(9)
    good = [host(3000, 0.9, 2.5, rng) for _ in range(6)]
    a = np.concatenate([*good, host(3000, 0.0, 2.0, rng)])
    b = np.concatenate(
        [host(3000, 0.9, 2.5, rng, np.exp(0.1 * i)) for i in range(6)] + [host(3000, 0.0, 2.0, rng)]
    )
    found = staining.estimate([a], [b], 0.1, rng)
    assert np.isfinite(found.shift[:6]).all()
    assert np.isnan(found.shift[6])
    assert found.used[6] == found.assumed == pytest.approx(0.25, abs=0.06)
    assert found.used_error[6] == found.allowance >= 0.1 * np.sqrt(2)
    none = staining.estimate([a[:, :50]], [b[:, :50]], 0.1, rng)
    assert np.isnan(none.shift).all()
    assert (none.assumed, none.allowance) == (0, pytest.approx(0.1 * np.sqrt(2)))


# ---- the simulated study


def study(cells: int, seed: int = 0, **options: object) -> anndata.AnnData:
    """Return T cells by their truth: all CAR-T cells and 10,000 host cells a tube."""
    adata = cc.datasets.legend2(cells=cells, seed=seed, spill=False, timepoints=["2mo", "5yr"], **options)
    obs = adata.obs
    car = obs["truth_is_car"].to_numpy(bool)
    hosts = ((obs["truth_type"] == "cell") & (obs["truth_lineage"] == "T")).to_numpy() & ~car
    rng = np.random.default_rng(seed)
    keep = car.copy()
    for timepoint in ("2mo", "5yr"):
        there = np.flatnonzero(hosts & (obs["timepoint"] == timepoint).to_numpy())
        keep[rng.choice(there, min(10_000, there.size), replace=False)] = True
    part = adata[keep].copy()
    part.X = np.arcsinh(part.X / np.float32(5))
    part.uns["cytocar"] = {"state": "arcsinh"}
    part.obs["compartment"] = pd.Categorical(np.where(car[keep], "car", "host"))
    part.obs["subset"] = part.obs["truth_subset"].astype(str).astype("category")
    return part


@pytest.fixture(scope="module")
def planted() -> anndata.AnnData:
    # Twenty CD8 CAR-T cells at five years carry the planted fall of PD-1 in most draws, though not in that of seed 0.
    return study(104_167, seed=1)


@pytest.fixture(scope="module")
def table(planted: anndata.AnnData) -> pd.DataFrame:
    return compare(planted)


def calls_of(table: pd.DataFrame, comparison: str, subset: str, **where: str) -> pd.Series:
    part = table[(table["comparison"] == comparison) & (table["subset"] == subset)]
    for column, value in where.items():
        part = part[part[column] == value]
    return part.set_index("marker")["call"]


def test_columns_of_the_contract_come_first(table: pd.DataFrame) -> None:
    assert list(table.columns[: len(CONTRACT) + len(BESIDE)]) == CONTRACT + BESIDE
    # 41 markers: two compartments over time and two timepoints against host, four subsets each.
    assert len(table) == 41 * 4 * 4
    over_time = table[table["comparison"] == "5yr vs 2mo"]
    assert set(over_time["group_a"]) == {"2mo"}
    assert set(over_time["group_b"]) == {"5yr"}
    assert set(over_time["timepoint"]) == {""}
    assert set(over_time["compartment"]) == {"car", "host"}
    against = table[table["comparison"] == "car vs host"]
    assert set(against["timepoint"]) == {"2mo", "5yr"}
    assert set(zip(against["group_a"], against["group_b"], strict=True)) == {("host", "car")}
    assert set(table["unit"]) == {"cell"}
    assert table[["p_value", "p_adjusted", "p_minimum"]].isna().all(axis=None)


def test_planted_changes_of_double_negative_cells(table: pd.DataFrame) -> None:
    found = calls_of(table, "5yr vs 2mo", "DN", compartment="car")
    assert set(found[["HLADR", "CCR7", "CD27", "CD28", "CD107a"]]) == {"up"}
    assert set(found[["GZMB", "PD1", "TIM3"]]) == {"down"}
    assert set(found[["Ki67", "CD38"]]) <= {"unchanged", "inconclusive"}


def test_planted_changes_of_twenty_cd8_cells(table: pd.DataFrame) -> None:
    found = calls_of(table, "5yr vs 2mo", "CD8", compartment="car")
    assert set(found[["GZMB", "PD1"]]) == {"down"}
    assert set(found[["Ki67", "HLADR"]]) <= {"unchanged", "inconclusive"}
    part = table[(table["subset"] == "CD8") & (table["n_cells_b"] < 30)]
    assert part["note"].str.contains(r"only \d+ cells").all()


def test_planted_differences_from_host(table: pd.DataFrame) -> None:
    found = calls_of(table, "car vs host", "all", timepoint="5yr")
    assert set(found[["PD1", "CD57", "GZMB", "CD107a"]]) == {"down"}
    assert found["Ki67"] == "up"
    part = table[
        (table["comparison"] == "car vs host") & (table["subset"] == "all") & (table["timepoint"] == "5yr")
    ]
    assert part["note"].str.contains("host standardised to CD4").all()
    assert (
        part["note"].str.contains(r"9\d(?:\.\d)? % of the CAR-T cells \(DN\) have no host counterpart").all()
    )
    assert (part["technical_shift"] == 0).all()
    np.testing.assert_allclose(part["adjusted"], part["effect"], atol=1e-12)


def test_the_gain_of_the_second_tube_is_found(table: pd.DataFrame) -> None:
    part = table[
        (table["comparison"] == "5yr vs 2mo") & (table["subset"] == "all") & (table["compartment"] == "car")
    ]
    shift = part.set_index("marker")["technical_shift"]
    assert shift.median() == pytest.approx(np.log(0.95), abs=0.01)
    bright = part.set_index("marker").loc["CD3"]
    assert bright["shift_low"] < np.log(0.95) < bright["shift_high"]
    assert bright["adjusted"] == pytest.approx(bright["effect"] - shift["CD3"], abs=0.01)
    assert np.isnan(shift["VHH"])
    assert "not measurable in host T cells" in part.set_index("marker").loc["VHH", "note"]


def test_host_cells_are_the_reference_and_never_called(table: pd.DataFrame) -> None:
    part = table[(table["comparison"] == "5yr vs 2mo") & (table["compartment"] == "host")]
    assert set(part["call"]) <= {"unchanged", "inconclusive"}
    known = part[part["effect"].notna()]
    assert known["note"].str.contains("reference for staining").all()
    assert known["adjusted"].isna().all()


def test_groups_too_small_say_why(table: pd.DataFrame) -> None:
    nothing = table[table["effect"].isna()]
    assert set(nothing["call"]) == {"inconclusive"}
    assert (nothing["note"] != "").all()
    dn = nothing[(nothing["comparison"] == "car vs host") & (nothing["subset"] == "DN")]
    assert len(dn) == 82
    assert dn["note"].str.contains("host has 0 DN cells").all()
    cd4 = nothing[(nothing["subset"] == "CD4") & (nothing["compartment"] == "car")]
    assert cd4["note"].str.contains("has 1 CD4 cell, fewer than 5").all()


def test_equal_truth_with_uneven_staining_is_never_called() -> None:
    for seed in range(2):
        found = compare(study(60_000, seed, equal_truth=True, staining_shift=0.1))
        part = found[(found["comparison"] == "5yr vs 2mo") & (found["compartment"] == "car")]
        assert len(part) == 164
        assert (
            list(part.loc[part["call"].isin(["up", "down"]), ["subset", "marker"]].itertuples(index=False))
            == []
        )
        # Without looking at the host, many more than a few medians move beyond the margin.
        assert (part["effect"].abs() > 0.2).sum() > 5


def test_kept_in_uns_and_through_h5ad(planted: anndata.AnnData, table: pd.DataFrame, tmp_path) -> None:
    part = planted[::10].copy()
    found = compare(part, markers=["Ki67", "PD-1", "pd1"])
    assert list(dict.fromkeys(found["marker"])) == ["Ki67", "PD1"]
    assert not found.duplicated(CONTRACT[:5]).any()
    pd.testing.assert_frame_equal(part.uns["comparisons"], found)
    part.write_h5ad(tmp_path / "cells.h5ad")
    back = anndata.read_h5ad(tmp_path / "cells.h5ad").uns["comparisons"]
    pd.testing.assert_frame_equal(
        back.reset_index(drop=True), found, check_dtype=False, check_categorical=False
    )
    assert "compare" in part.uns["cytocar"]["steps"]


def test_seed_and_markers_asked_for(planted: anndata.AnnData, table: pd.DataFrame) -> None:
    few = compare(planted, markers=["PD1", "Ki67"])
    some = table[table["marker"].isin(["PD1", "Ki67"])]
    merged = few.merge(some, on=CONTRACT[:5], suffixes=("", "_all"))
    assert len(merged) == len(few) == 32
    # One tube at a time needs nothing of other markers: the same draws give the same numbers.
    same = merged[merged["comparison"] == "car vs host"]
    pd.testing.assert_series_equal(same["effect_low"], same["effect_low_all"], check_names=False)
    pd.testing.assert_frame_equal(few, compare(planted, markers=["PD1", "Ki67"]))
    other = compare(planted, markers=["PD1", "Ki67"], seed=1)
    assert not other["effect_low"].equals(few["effect_low"])
    np.testing.assert_array_equal(other["effect"], few["effect"])


def test_p_values_on_request_only(planted: anndata.AnnData) -> None:
    found = compare(planted, markers=["PD1", "HLADR", "CD38"], p_values=True)
    known = found[found["p_value"].notna()]
    assert known["note"].str.contains("cells of one sample are not replicates").all()
    row = known[
        (known["comparison"] == "car vs host") & (known["subset"] == "CD8") & (known["timepoint"] == "5yr")
    ]
    obs = planted.obs
    where = (obs["timepoint"] == "5yr") & (obs["subset"] == "CD8")
    x = np.asarray(planted[:, "PD1"].X).ravel()
    expected = stats.mannwhitneyu(
        x[where & (obs["compartment"] == "car")],
        x[where & (obs["compartment"] == "host")],
        method="asymptotic",
    ).pvalue
    assert row.set_index("marker")["p_value"]["PD1"] == pytest.approx(expected)
    for _, family in known.groupby(["comparison", "compartment", "timepoint"]):
        np.testing.assert_allclose(family["p_adjusted"], stats.false_discovery_control(family["p_value"]))
    standard = found[(found["comparison"] == "car vs host") & (found["subset"] == "all")]
    assert standard["p_value"].isna().all()
    assert standard["note"].str.contains("no cell-level p").all()


def test_a_view_is_not_changed_behind_its_parent(planted: anndata.AnnData) -> None:
    parent = planted[::20].copy()
    parent.uns.pop("comparisons", None)
    view = parent[: parent.n_obs - 1]
    compare(view, markers="PD1")
    assert "comparisons" in view.uns
    assert "comparisons" not in parent.uns


# ---- small made-up data


def made(**columns: object) -> anndata.AnnData:
    n = 400
    rng = np.random.default_rng(10)
    obs = pd.DataFrame(
        {
            "patient_id": "P1",
            "timepoint": np.repeat(["early", "late"], n // 2),
            "months": np.repeat([3.0, 30.0], n // 2),
            **columns,
        },
        index=[str(i) for i in range(n)],
    )
    x = rng.normal(2, 0.3, (n, 2))
    x[n // 2 :, 1] += 1.0
    adata = anndata.AnnData(
        x.astype("float32"), obs=obs, var=pd.DataFrame({"role": "marker"}, index=["CD7", "HLA-DR"])
    )
    adata.uns["cytocar"] = {"state": "arcsinh"}
    return adata


def test_cells_without_compartments_are_compared_over_time() -> None:
    found = compare(made())
    assert set(found["compartment"]) == {"cells"}
    assert list(found["subset"]) == ["all", "all"]
    assert list(found["comparison"]) == ["late vs early"] * 2
    assert list(found["call"]) == ["unchanged", "up"] or found["call"][1] == "up"
    assert found["technical_shift"].isna().all()
    assert found["note"].str.contains("SD 0.14 allowed for").all()


def test_a_change_that_host_cells_show_too_is_staining() -> None:
    found = compare(made(compartment=np.tile(["car", "host"], 200)))
    over_time = found[found["comparison"] == "late vs early"].set_index(["compartment", "marker"])
    assert over_time.loc[("host", "HLA-DR"), "effect"] == pytest.approx(1, abs=0.15)
    assert over_time.loc[("host", "HLA-DR"), "call"] == "inconclusive"
    car = over_time.loc[("car", "HLA-DR")]
    assert car["effect_low"] > 0.5
    assert car["technical_shift"] == pytest.approx(1, abs=0.1)
    assert car["adjusted"] == pytest.approx(0, abs=0.15)
    assert car["call"] in ("unchanged", "inconclusive")


@pytest.mark.parametrize(("cd8", "level"), [(9, 4.0), (1, 1.0)])
def test_host_is_standardised_to_the_mix_of_the_car_cells(cd8: int, level: float) -> None:
    compartment = np.tile(["car", "host"], 200)
    subset = np.where(np.arange(400) % 4 < 2, "CD8", "CD4")
    car = np.flatnonzero(compartment == "car")
    subset[car] = np.where(np.arange(200) % 10 < cd8, "CD8", "CD4")
    adata = made(compartment=compartment, subset=subset)
    adata.X[:, 0] = np.where(subset == "CD8", 4, 1) + 0.1 * np.sin(np.arange(400))
    found = compare(adata, markers="CD7")
    row = found[(found["comparison"] == "car vs host") & (found["subset"] == "all")].iloc[0]
    assert row["median_a"] == pytest.approx(level, abs=0.15)
    assert row["effect"] == pytest.approx(0, abs=0.15)
    assert abs(row["cliffs_delta"]) < 0.1
    assert f"CD8 {10 * cd8} %" in row["note"]


def test_direction_follows_reference_and_against() -> None:
    back = compare(made(), reference="late", against="early")
    assert list(back["comparison"]) == ["early vs late"] * 2
    there = compare(made())
    np.testing.assert_allclose(back["effect"], -there["effect"])
    assert back["call"][1] == "down"
    assert list(compare(made(), reference="late")["comparison"]) == ["early vs late"] * 2
    # Months, not the alphabet, say what comes first.
    turned = made(timepoint=np.repeat(["z", "a"], 200))
    assert compare(turned)["comparison"][0] == "a vs z"


def test_a_wider_margin_and_more_staining_call_less() -> None:
    assert compare(made())["call"][1] == "up"
    assert compare(made(), margin=1.5)["call"][1] != "up"
    assert compare(made(), staining_sd=0.5)["call"][1] == "inconclusive"


def test_patients_are_compared_one_by_one() -> None:
    adata = made(patient_id=np.tile(["P1", "P2"], 200))
    found = compare(adata)
    assert list(found["patient_id"]) == ["P1", "P1", "P2", "P2"]
    assert (found["n_patients_a"] == 1).all()
    assert (found["n_cells_a"] == 100).all()


def test_nothing_to_compare_is_an_empty_table() -> None:
    found = compare(made(timepoint="once", months=1.0))
    assert found.empty
    assert list(found.columns[: len(CONTRACT)]) == CONTRACT


def test_negative_controls_are_left_out() -> None:
    adata = made(months=np.repeat([3.0, np.nan], 200))
    assert compare(adata).empty
    adata = made(role=np.repeat(["patient", "negative_control"], 200))
    assert compare(adata).empty


def test_a_timepoint_that_a_patient_lacks_says_so() -> None:
    adata = made(patient_id=np.repeat(["P1", "P2"], 200))
    assert compare(adata).empty
    found = compare(adata, reference="early", against="late")
    assert found["effect"].isna().all()
    assert set(found["note"]) == {"late has 0 cells, fewer than 5", "early has 0 cells, fewer than 5"}


def test_markers_that_were_not_measured_say_so() -> None:
    adata = made()
    adata.X[300:, 0] = np.nan
    found = compare(adata, markers=["CD7", "HLA-DR", "CD99"]).set_index("marker")
    assert found.loc["CD7", "note"] == "not measured in late"
    assert np.isnan(found.loc["CD7", "effect"])
    assert found.loc["CD99", "note"].startswith("not in these data")
    assert found.loc["HLA-DR", "call"] == "up"
    assert set(found.loc[["CD7", "CD99"], "call"]) == {"inconclusive"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"groupby": "time"}, "groupby is 'time'"),
        ({"reference": "erly"}, "reference is 'erly'.*did you mean 'early'"),
        ({"against": "never"}, "against is 'never'"),
        ({"reference": "late", "against": "late"}, "both 'late'"),
        ({"markers": ["CD99"]}, "CD99"),
        ({"margin": -0.1}, r"margin is -0\.1"),
        ({"staining_sd": np.nan}, "staining_sd is nan"),
        ({"min_cells": 1}, "min_cells is 1"),
        ({"level": 95}, "level is 95"),
        ({"n_boot": 10}, "n_boot is 10"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_errors_name_the_value(options: dict[str, object], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        compare(made(), **options)


def test_counts_are_refused() -> None:
    adata = made()
    adata.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match="needs arcsinh"):
        compare(adata)


def test_impurity_is_what_taking_host_cells_out_again_gives() -> None:
    rng = np.random.default_rng(5)
    true, host = rng.normal(2.0, 0.4, (1, 400)), rng.normal(0.3, 0.2, (1, 5000))
    mixed = np.sort(np.concatenate([true, host[:, :100]], axis=1), axis=1)
    rise = calls.impurity_of(Group.of(mixed), Group.of(np.sort(host, axis=1)), 100 / 500)
    assert mixed.mean() + rise[0] == pytest.approx(true.mean(), abs=0.01)
    assert calls.impurity_of(Group.of(mixed), None, 0.2).tolist() == [0.0]
    assert calls.impurity_of(Group.of(mixed), Group.of(host), 0.0).tolist() == [0.0]


@pytest.mark.parametrize(
    ("expected", "call", "words"),
    [
        (0.0, "down", ""),
        (8.5, "inconclusive", "a call holds without"),
        (10.0, "inconclusive", "too many for a call"),
        ((1.0, 8.5), "inconclusive", "about 1.0, at most 8.5, of 30"),
        ((1.0, 2.0), "down", "a call holds without"),
        ((1.0, 15.5), "inconclusive", "too many for a call"),
    ],
)
def test_a_fall_that_false_cells_explain_is_not_called(
    expected: float | tuple[float, float], call: str, words: str
) -> None:
    rng = np.random.default_rng(2)

    def cells(compartment: str, timepoint: str, months: float, values: np.ndarray) -> pd.DataFrame:
        frame = {"marker": values, "compartment": compartment, "timepoint": timepoint, "months": months}
        return pd.DataFrame(frame).assign(subset="CD8", patient_id="P1")

    late = np.concatenate([rng.normal(2.0, 0.3, 21), rng.normal(0.1, 0.05, 9)])
    obs = pd.concat(
        [
            cells("car", "2mo", 2.0, rng.normal(2.0, 0.3, 600)),
            cells("car", "5yr", 60.0, late),
            cells("host", "2mo", 2.0, rng.normal(0.1, 0.05, 2000)),
            cells("host", "5yr", 60.0, rng.normal(0.1, 0.05, 2000)),
        ],
        ignore_index=True,
    )
    obs.index = obs.index.astype(str)
    adata = anndata.AnnData(
        obs[["marker"]].to_numpy(np.float32),
        obs=obs.drop(columns="marker"),
        var=pd.DataFrame({"role": ["marker"]}, index=["HLADR"]),
    )
    adata.uns["cytocar"] = {"state": "arcsinh"}
    table = compare(adata, false_cells={("P1", "5yr", "CD8"): expected}, staining_sd=0.02)
    row = (
        table[(table["compartment"] == "car") & (table["subset"] == "CD8")]
        .query("comparison == '5yr vs 2mo'")
        .iloc[0]
    )
    assert row["call"] == call
    assert words in row["note"]
    assert ("may be false" in row["note"]) == (expected != 0.0)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (-1.0, "-1.0 for P1 5yr CD8"),
        ((1.0, np.nan), "nan"),
        ((1.0, 2.0, 3.0), "pair"),
        ("3", "'3' for"),
        ([1.0, 2.0], "pair"),
    ],
)
def test_false_cells_that_are_no_number(planted: anndata.AnnData, found: object, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        compare(planted, markers="Ki67", false_cells={("P1", "5yr", "CD8"): found})


# ---- difference in differences


def two_tubes(change_car: float, change_host: float, subsets: dict[str, tuple[int, int]], seed: int = 0):
    """Return CAR-T and host T cells of two tubes, one marker; `subsets` says how many cells of each compartment."""
    rng = np.random.default_rng(seed)
    frames = []
    for subset, sizes in subsets.items():
        for compartment, n, change in zip(("car", "host"), sizes, (change_car, change_host), strict=True):
            for timepoint, months, moved in (("2mo", 2.0, 0.0), ("5yr", 60.0, change)):
                level = {"CD4": 1.5, "CD8": 2.5}.get(subset, 2.0) + moved
                frames.append(
                    pd.DataFrame({"marker": rng.normal(level, 0.3, n)}).assign(
                        compartment=compartment,
                        timepoint=timepoint,
                        months=months,
                        subset=subset,
                        patient_id="P1",
                    )
                )
    obs = pd.concat(frames, ignore_index=True)
    obs.index = obs.index.astype(str)
    adata = anndata.AnnData(
        obs[["marker"]].to_numpy(np.float32),
        obs=obs.drop(columns="marker"),
        var=pd.DataFrame({"role": ["marker"]}, index=["HLADR"]),
    )
    adata.uns["cytocar"] = {"state": "arcsinh"}
    return adata


def test_difference_in_differences_is_what_medians_say() -> None:
    adata = two_tubes(0.9, 0.3, {"CD4": (400, 2000), "CD8": (400, 3000), "DN": (400, 0)})
    found = compare(adata).query("comparison == '5yr vs 2mo'")
    obs, x = adata.obs, adata.X[:, 0]

    def median(compartment: str, timepoint: str, subset: str) -> float:
        chosen = (
            (obs["compartment"] == compartment) & (obs["timepoint"] == timepoint) & (obs["subset"] == subset)
        )
        return float(np.median(x[chosen.to_numpy()]))

    row = found.query("compartment == 'car' and subset == 'CD8'").iloc[0]
    host = median("host", "5yr", "CD8") - median("host", "2mo", "CD8")
    car = median("car", "5yr", "CD8") - median("car", "2mo", "CD8")
    assert row["host_effect"] == pytest.approx(host, abs=1e-6)
    assert row["did"] == pytest.approx(car - host, abs=1e-6)
    assert row["did_low"] < 0.6 < row["did_high"]
    assert row["did_host"] == "CD8"
    named = found.query("compartment == 'car'").set_index("subset")["did_host"]
    assert named["DN"] == "CD4 and CD8, half each"
    assert named["all"] == "standardised to the CAR-T cells' mix"
    # Host cells are the reference: nothing stands against them.
    assert found.query("compartment == 'host'")["did"].isna().all()
    assert found.query("compartment == 'host'")["did_host"].eq("").all()


def test_without_a_host_of_the_subset_both_others_count_alike() -> None:
    adata = two_tubes(0.5, 0.3, {"CD4": (100, 4000), "CD8": (100, 400), "DN": (100, 0)})
    obs = adata.obs
    late = (obs["compartment"] == "host") & (obs["subset"] == "CD8") & (obs["timepoint"] == "5yr")
    adata.X = adata.X + late.to_numpy(np.float32)[:, None]
    found = compare(adata).query("comparison == '5yr vs 2mo' and compartment == 'car'").set_index("subset")
    assert found["host_effect"]["CD4"] == pytest.approx(0.3, abs=0.05)
    assert found["host_effect"]["CD8"] == pytest.approx(1.3, abs=0.1)
    # Half of 1.5 and half of 2.5, then of 1.8 and of 3.8: medians lie between the humps, however many cells each has.
    assert 0.4 < found["host_effect"]["DN"] < 1.2


def test_all_four_groups_vary_in_the_bootstrap_of_the_difference_in_differences() -> None:
    rng = np.random.default_rng(4)
    cells = [np.sort(rng.gamma(3.0, 0.5, (1, n)), axis=1) for n in (81, 60, 50, 71)]
    four = [Group.of(values) for values in cells]
    found = host_cells.difference_in_differences(
        (four[0], four[1]), (four[2], four[3]), Bootstrap(0.9, 20_000, rng)
    )
    slow = [
        sign * np.median(rng.choice(values[0], (4000, values.shape[1])), axis=1)
        for sign, values in zip((-1, 1, 1, -1), cells, strict=True)
    ]
    low, high = np.quantile(np.sum(slow, axis=0), [0.05, 0.95])
    assert found.low[0] == pytest.approx(low, abs=0.04)
    assert found.high[0] == pytest.approx(high, abs=0.04)


def test_the_interval_of_the_difference_in_differences_covers() -> None:
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        four = [Group.of(np.sort(rng.gamma(3.0, 0.5, (20, n)), axis=1)) for n in (80, 60, 50, 70)]
        found = host_cells.difference_in_differences(
            (four[0], four[1]), (four[2], four[3]), Bootstrap(0.95, 400, rng)
        )
        held.append((found.low <= 0) & (found.high >= 0))
    # 1,200 intervals, binomial SD 0.6 %; percentile intervals of medians are a little wide.
    assert 0.93 < np.mean(held) < 0.985


def test_without_host_cells_of_any_subset_there_is_no_difference_in_differences() -> None:
    found = compare(two_tubes(0.5, 0.0, {"DN": (100, 15)})).query("comparison == '5yr vs 2mo'")
    row = found.query("compartment == 'car' and subset == 'DN'").iloc[0]
    assert np.isnan(row["did"])
    assert row["did_host"] == "fewer than 20 host cells"


def test_unchanged_needs_the_difference_in_differences_within_the_margin_too() -> None:
    effect = calls.contrast(
        Group.of(np.sort(np.random.default_rng(0).normal(2, 0.1, (3, 900)), axis=1)),
        Group.of(np.sort(np.random.default_rng(1).normal(2, 0.1, (3, 900)), axis=1)),
        shift=np.zeros(3),
        error=np.zeros(3),
        margin=0.2,
        bootstrap=Bootstrap(0.95, 200, np.random.default_rng(0)),
    )
    assert effect.within.all()
    nan = np.nan
    did = DifferenceInDifferences(
        np.zeros(3),
        np.array([0.0, 0.0, nan]),
        np.array([-0.1, -0.3, nan]),
        np.array([0.1, 0.1, nan]),
        ("",) * 3,
    )
    assert calls.within_both(effect, did, 0.2).within.tolist() == [True, False, True]


def test_host_cells_without_a_value_are_not_host_cells_at_0() -> None:
    whole = two_tubes(0.5, 0.3, {"CD4": (100, 400), "CD8": (100, 400)})
    rows = "comparison == '5yr vs 2mo' and compartment == 'car' and subset != 'DN'"
    expected = compare(whole).query(rows)
    assert expected["did"].notna().all()
    gaps = whole.copy()
    host = np.flatnonzero((gaps.obs["compartment"] == "host") & (gaps.obs["timepoint"] == "5yr"))
    gaps.X[host[:300], 0] = np.nan
    false = {("P1", "5yr", "CD4"): 10.0}
    found = compare(gaps, false_cells=false).query(rows)
    for column in ("did", "did_low", "did_high", "host_effect", "technical_shift"):
        assert found[column].isna().all(), column
    assert (found["did_host"] == "not measured in all host T cells").all()
    assert found["note"].str.contains("staining change not measurable in host T cells").all()
    assert found["effect"].tolist() == expected["effect"].tolist()
