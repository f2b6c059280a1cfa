"""Shares of subsets with exact intervals, what false positives explain, and trends."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cytocar import ParameterError
from cytocar.tl import subset_trend, subsets


def table(**n: dict[str, int]) -> pd.DataFrame:
    rows = [
        ("s", compartment, subset, count)
        for compartment, parts in n.items()
        for subset, count in parts.items()
    ]
    return pd.DataFrame(rows, columns=["sample_id", "compartment", "subset", "n"])


FIVE_YEARS = table(car={"CD4": 1, "CD8": 20, "DN": 229}, host={"CD4": 23_500, "CD8": 29_000, "DN": 0})


def test_shares_have_exact_intervals() -> None:
    found = subsets(FIVE_YEARS).set_index(["compartment", "subset"])
    dn = found.loc[("car", "DN")]
    assert (round(100 * dn["low"], 1), round(100 * dn["high"], 1)) == (87.4, 94.7)
    exact = stats.binomtest(20, 250).proportion_ci(method="exact")
    assert (found.loc[("car", "CD8"), "low"], found.loc[("car", "CD8"), "high"]) == pytest.approx(
        (exact.low, exact.high)
    )
    assert list(subsets(FIVE_YEARS).columns[:7]) == [
        "sample_id", "compartment", "subset", "n", "fraction", "low", "high",
    ]  # fmt: skip


def test_shares_of_a_compartment_add_up_and_absent_subsets_have_rows() -> None:
    counts = FIVE_YEARS[~((FIVE_YEARS["compartment"] == "host") & (FIVE_YEARS["subset"] == "DN"))]
    found = subsets(counts)
    assert len(found) == 6
    absent = found[(found["compartment"] == "host") & (found["subset"] == "DN")].iloc[0]
    assert absent["n"] == 0
    assert absent["high"] == pytest.approx(3.69 / 52_500, rel=0.01)
    np.testing.assert_allclose(found.groupby("compartment")["fraction"].sum(), 1)


def test_false_positives_have_the_subsets_of_the_host() -> None:
    # One false host T cell in 5,000: 10.5 of 250 events, a twentieth, and none of them double negative.
    found = subsets(FIVE_YEARS, background={"s": 52_500 / 5000}).set_index(["compartment", "subset"])
    car = found.loc["car"]
    assert car["background_n"].sum() == pytest.approx(10.5)
    assert car["background_n"].sum() / 250 == pytest.approx(0.042, abs=0.001)
    assert car.loc["DN", "background_n"] == 0
    assert car.loc["CD8", "background_share"] == pytest.approx(10.5 * 29_000 / 52_500 / 20)
    assert car.loc["CD4", "background_share"] == 1
    assert found.loc["host", "background_n"].isna().all()
    frame = pd.DataFrame({"sample_id": ["s"], "background_events": [10.5]})
    pd.testing.assert_frame_equal(
        subsets(FIVE_YEARS, background=frame), subsets(FIVE_YEARS, background={"s": 10.5})
    )
    assert subsets(FIVE_YEARS)["background_n"].isna().all()


def test_smallest_detectable_share() -> None:
    found = subsets(FIVE_YEARS, background={"s": 10.5}).set_index(["compartment", "subset"])
    without = found.loc[("car", "DN"), "smallest_detectable"]
    assert (1 - without) ** 250 == pytest.approx(0.05)
    with_background = found.loc[("car", "CD8"), "smallest_detectable"]
    limit = stats.poisson.ppf(0.95, 10.5 * 29_000 / 52_500)
    assert stats.binom.cdf(limit, 250, with_background) == pytest.approx(0.05)


def test_an_empty_compartment_has_no_shares() -> None:
    found = subsets(table(car={"CD4": 0, "DN": 0}))
    assert found[["fraction", "low", "high", "smallest_detectable"]].isna().all(axis=None)


def test_cells_are_counted_where_there_is_no_table() -> None:
    import anndata

    obs = pd.DataFrame(
        {
            "sample_id": ["a"] * 6,
            "compartment": ["car", "car", "car", "host", "", "host"],
            "subset": ["DN", "DN", "CD8", "CD4", "CD4", ""],
        },
        index=[str(i) for i in range(6)],
    )
    adata = anndata.AnnData(np.zeros((6, 1), "float32"), obs=obs.astype("category"))
    found = subsets(adata).set_index(["compartment", "subset"])["n"]
    assert found["car", "DN"] == 2
    assert found["car", "CD8"] == 1
    assert found["host", "CD4"] == 1
    assert found.sum() == 4
    with pytest.raises(ParameterError, match="no column 'subset'"):
        subsets(anndata.AnnData(np.zeros((6, 1), "float32"), obs=obs.drop(columns="subset")))


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (FIVE_YEARS.drop(columns="subset"), "no column 'subset'"),
        (pd.concat([FIVE_YEARS, FIVE_YEARS]), "s / car / CD4 has more than one row"),
        (FIVE_YEARS.assign(n=-1), "n of sample 's' is -1"),
    ],
)
def test_wrong_tables_are_named(counts: pd.DataFrame, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        subsets(counts)


def series(shares: list[float], months: list[float] | None = None) -> pd.DataFrame:
    n = len(shares)
    return subset_trend(
        pd.DataFrame(
            {
                "sample_id": [f"s{i}" for i in range(n)],
                "compartment": "car",
                "subset": "DN",
                "fraction": shares,
            }
        ),
        pd.DataFrame(
            {
                "sample_id": [f"s{i}" for i in range(n)],
                "patient_id": "P1",
                "months": months or [2.0, 12.0, 36.0, 60.0, 72.0, 84.0, 96.0, 120.0][:n],
            }
        ),
        p_values=True,
    )


def test_trend_of_the_published_series() -> None:
    row = series([25, 55, 80, 91.6]).iloc[0]
    assert (row["s"], row["s_max"], row["trend"]) == (6, 6, "rises")
    assert row["p_minimum"] == pytest.approx(0.083, abs=0.001)
    assert row["p_value"] == row["p_minimum"]
    assert series([1, 2, 3, 4, 5]).iloc[0]["p_minimum"] == pytest.approx(0.017, abs=0.001)


@pytest.mark.parametrize("shares", [[1, 3, 2, 4], [3, 1, 4, 2, 5], [5, 4, 1, 3, 2, 6]])
def test_trend_against_all_orders_and_scipy(shares: list[float]) -> None:
    row = series(shares).iloc[0]
    tau = stats.kendalltau(range(len(shares)), shares, method="exact")
    assert row["tau"] == pytest.approx(tau.statistic)
    assert row["p_value"] == pytest.approx(tau.pvalue)
    scores = [
        sum(np.sign(b - a) for a, b in itertools.combinations(order, 2))
        for order in itertools.permutations(shares)
    ]
    assert row["p_value"] == pytest.approx(np.mean(np.abs(scores) >= abs(row["s"])))
    slope = stats.theilslopes(shares, [2.0, 12.0, 36.0, 60.0, 72.0, 84.0][: len(shares)]).slope
    assert row["slope_per_year"] == pytest.approx(12 * slope)


def test_trend_of_many_samples_has_a_p() -> None:
    shares = np.random.default_rng(5).permutation(180) / 200
    row = series(shares.tolist(), np.arange(180.0).tolist()).iloc[0]
    assert row["p_value"] == pytest.approx(stats.kendalltau(np.arange(180), shares).pvalue, abs=0.01)
    assert row["p_minimum"] == 0.0


def test_trend_without_p_ties_and_single_samples() -> None:
    found = subset_trend(
        pd.DataFrame(
            {
                "sample_id": list("abcx"),
                "compartment": "car",
                "subset": "DN",
                "fraction": [0.2, 0.2, 0.2, 0.9],
            }
        ),
        pd.DataFrame({"sample_id": list("abcx"), "patient_id": "P1", "months": [1.0, 2.0, 3.0, np.nan]}),
    ).iloc[0]
    assert (found["n_samples"], found["s"], found["trend"]) == (3, 0, "flat")
    assert np.isnan(found["p_value"])
    assert series([0.5]).iloc[0]["trend"] == "one sample"
    assert series([0.1, 0.3, 0.3]).iloc[0]["trend"] == "mixed"
    with pytest.raises(ParameterError, match="no column 'months'"):
        subset_trend(subsets(FIVE_YEARS), pd.DataFrame({"sample_id": ["s"], "patient_id": ["P"]}))
