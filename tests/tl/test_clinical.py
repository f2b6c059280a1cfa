"""Clinical tables against R, published tables, slow loops and limits."""

from __future__ import annotations

from itertools import combinations, permutations
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cytocar import tl
from cytocar._core.errors import ParameterError, StudyError
from cytocar.tl._clinical import table_tests
from cytocar.tl._statistics import smallest_p

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"clinical_{name}.csv")


@pytest.fixture(scope="module")
def numbers() -> dict[str, float]:
    table = golden("numbers")
    return dict(zip(table["name"], table["value"], strict=True))


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    return golden("patients")


@pytest.fixture(scope="module")
def pair(patients: pd.DataFrame) -> pd.DataFrame:
    return patients[patients["response"] != "SD"]


def one(table: pd.DataFrame, test: str) -> pd.Series:
    return table.set_index("test").loc[test]


# LEGEND-2 at five years (doi:10.1186/s13045-024-01530-z), Table 1: patients in remission for five years against others.
ECOG = [[8, 22], [1, 31], [3, 9]]
ISS = [[8, 25], [1, 13], [3, 18]]
EXTRAMEDULLARY = [[0, 22], [12, 40]]
CONDITIONING = [[8, 58], [4, 4]]
IGG = [[9, 24], [3, 38]]


@pytest.mark.parametrize(
    ("table", "test", "p", "n"),
    [
        (ECOG, "exact", 0.0144, 74),
        (ISS, "exact", 0.3824, 68),
        (EXTRAMEDULLARY, "exact", 0.0139, 74),
        (CONDITIONING, "exact", 0.0204, 74),
        (IGG, "chi2", 0.0206, 74),
        (IGG, "exact", 0.0277, 74),
    ],
)
def test_the_published_table_comes_out(table: list[list[int]], test: str, p: float, n: int) -> None:
    row = one(tl.table_test(table), test)
    assert round(float(row.p_value), 4) == p
    assert int(row.n) == n
    assert row.unit == "patient"


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("ecog", ECOG),
        ("iss", ISS),
        ("extramedullary", EXTRAMEDULLARY),
        ("conditioning", CONDITIONING),
        ("igg", IGG),
        ("four", [[3, 5, 4, 2], [0, 1, 4, 1], [2, 4, 0, 3]]),
    ],
)
def test_tables_against_r(name: str, table: list[list[int]], numbers: dict[str, float]) -> None:
    if name == "four":  # R filled it by column
        table = np.array([3, 0, 2, 5, 1, 4, 4, 0, 2, 1, 3, 6]).reshape(4, 3).T.tolist()
    found = tl.table_test(table).set_index("test")
    for test in ("exact", "chi2", "chi2_corrected"):
        if f"{name}_{test}" in numbers:
            assert found.p_value[test] == pytest.approx(numbers[f"{name}_{test}"], rel=1e-9)
    assert found.statistic["chi2"] == pytest.approx(numbers[f"{name}_statistic"], rel=1e-9)


def every_table(rows: np.ndarray, columns: np.ndarray) -> list[np.ndarray]:
    """Return all 3 x 2 tables with these margins, by trying every first column."""
    ranges = [range(r + 1) for r in rows]
    found = [np.array([a, b, c]) for a in ranges[0] for b in ranges[1] for c in ranges[2]]
    return [np.column_stack([x, rows - x]) for x in found if x.sum() == columns[0]]


def test_the_smallest_p_is_that_of_the_most_extreme_table() -> None:
    table = np.array([[4, 2], [1, 3], [0, 2]])
    others = every_table(table.sum(axis=1), table.sum(axis=0))
    found = tl.table_test(table).set_index("test")
    exact = [float(one(tl.table_test(other), "exact").p_value) for other in others]
    chi2 = [float(stats.chi2_contingency(other, correction=False).pvalue) for other in others]
    assert found.p_minimum["exact"] == pytest.approx(min(exact), rel=1e-9)
    assert found.p_minimum["chi2"] == pytest.approx(min(chi2), rel=1e-9)
    assert found.p_minimum["exact"] < found.p_value["exact"]
    small = tl.table_test([[3, 1], [0, 2]]).set_index("test")
    square = [np.array([[4 - b, b], [3 - (4 - b), 3 - b]]) for b in (1, 2, 3)]
    for test, corrected in (("chi2", False), ("chi2_corrected", True)):
        ps = [float(stats.chi2_contingency(t, correction=corrected).pvalue) for t in square]
        assert small.p_minimum[test] == pytest.approx(min(ps), rel=1e-9)


def test_exact_probabilities_sum_to_one_and_do_not_mind_the_direction() -> None:
    table = np.array([[3, 0, 2, 5], [1, 4, 4, 0], [2, 1, 3, 6]])
    p = one(tl.table_test(table), "exact").p_value
    assert one(tl.table_test(table.T), "exact").p_value == pytest.approx(p, rel=1e-9)
    assert one(tl.table_test(table[::-1, ::-1]), "exact").p_value == pytest.approx(p, rel=1e-9)
    assert one(tl.table_test([[2, 2], [2, 2]]), "exact").p_value == pytest.approx(1.0)


def test_fisher_of_a_library_and_the_listing_of_all_tables_agree() -> None:
    rng = np.random.default_rng(31)
    for _ in range(200):
        counts = rng.integers(0, rng.choice([4, 15, 60]), (2, 2)) + np.eye(2, dtype=int)
        np.testing.assert_allclose(table_tests._fisher(counts), table_tests._exact_shares(counts), rtol=1e-10)


def test_studies_that_differ_less_than_by_chance_have_no_variance_between_them() -> None:
    alike = pd.DataFrame({"study": list("ABCD"), "events": [50, 51, 49, 50], "n": [100] * 4})
    pooled = tl.pooled_proportions(alike).iloc[-1]
    logit, half = np.log(200 / 200), stats.norm.ppf(0.975) / np.sqrt(4 * 25)
    assert pooled["tau2"] == 0
    # One of them so large that its own variance is smaller than the amount below 0.
    large = pd.DataFrame({"study": list("ABC"), "events": [50, 51, 5000], "n": [100, 100, 10_000]})
    assert tl.pooled_proportions(large).iloc[-1]["proportion"] == pytest.approx(0.5, abs=1e-3)
    assert pooled["high"] == pytest.approx(1 / (1 + np.exp(-(logit + half))), rel=1e-4)


def test_a_table_without_a_p_says_why() -> None:
    found = tl.table_test([[8, 22], [0, 0]])
    assert found.p_value.isna().all()
    assert found.note.str.contains("fewer than two rows or two columns have counts").all()
    corrected = one(tl.table_test(ECOG), "chi2_corrected")
    assert np.isnan(corrected.p_value)
    assert corrected.note == "no p: the correction is for 2 x 2 tables"
    large = one(tl.table_test(np.arange(1, 37).reshape(6, 6)), "exact")
    assert np.isnan(large.p_value)
    assert "too many tables" in large.note
    assert "below 5: prefer exact" in one(tl.table_test(ECOG), "chi2").note


def test_cells_are_called_descriptive() -> None:
    found = tl.table_test(IGG, unit="cell")
    assert found.note.str.startswith("descriptive: cells of one sample are not replicates").all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[1, -2], [3, 4]], "row 0, column 1 is -2"),
        ([[1, 2.5], [3, 4]], "is 2.5"),
        ([1, 2, 3], "1 dimensions"),
        ([["CR", "PR"], ["a", "b"]], "pandas.crosstab"),
    ],
)
def test_a_table_that_is_none(table: list, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        tl.table_test(table)
    with pytest.raises(ParameterError, match="exact"):
        tl.table_test(IGG, tests=["exakt"])


def test_kaplan_meier_against_r(patients: pd.DataFrame) -> None:
    want = golden("kaplan_meier")
    found = tl.kaplan_meier(patients, groups="response")
    assert found["group"].tolist() == want["group"].tolist()
    for column in ("time", "n_at_risk", "n_events", "n_censored"):
        assert found[column].tolist() == want[column].tolist()
    np.testing.assert_allclose(found["survival"], want["survival"], rtol=1e-12)
    has = found["low"].notna().to_numpy()
    assert (~has == ((found["survival"] == 1) | (found["survival"] == 0)).to_numpy()).all()
    np.testing.assert_allclose(found.loc[has, "low"], want.loc[has, "low"], rtol=1e-9)
    np.testing.assert_allclose(found.loc[has, "high"], want.loc[has, "high"], rtol=1e-9)
    assert (found.loc[~has, "note"] != "").all()


def test_medians_against_r(patients: pd.DataFrame) -> None:
    want = golden("median")
    found = tl.median_survival(tl.kaplan_meier(patients, groups="response"))
    assert found["group"].tolist() == want["group"].tolist()
    np.testing.assert_allclose(found[["median", "low", "high"]], want[["median", "low", "high"]], rtol=1e-12)
    assert found.note.tolist() == ["", "", "not reached: high"]


def test_a_median_on_a_level_stretch_is_its_middle() -> None:
    table = pd.DataFrame({"months": [1, 2, 3, 4], "event": [1, 1, 1, 1]})
    assert tl.median_survival(tl.kaplan_meier(table))["median"].iloc[0] == 2.5


def test_the_curve_without_censoring_is_the_share_alive() -> None:
    months = np.random.default_rng(1).exponential(10, 50)
    table = pd.DataFrame({"months": months, "event": True})
    at = np.array([0.5, 5.0, 20.0])
    found = tl.survival_at(tl.kaplan_meier(table), at)
    assert found["survival"].tolist() == pytest.approx([(months > t).mean() for t in at])
    assert found["n_at_risk"].tolist() == [(months >= t).sum() for t in at]


def test_nothing_is_said_beyond_the_last_visit() -> None:
    table = pd.DataFrame({"months": [2, 5, 9], "event": [1, 0, 0]})
    found = tl.survival_at(tl.kaplan_meier(table), [1, 8, 12])
    assert found["survival"].iloc[1] == pytest.approx(2 / 3)
    assert np.isnan(found["survival"].iloc[2])
    assert found["note"].tolist() == ["no event yet: no interval", "", "beyond the last visit at 9"]


def test_log_rank_against_r(patients: pd.DataFrame, pair: pd.DataFrame, numbers: dict[str, float]) -> None:
    for name, table in (("3", patients), ("2", pair)):
        row = tl.log_rank(table, groups="response").iloc[0]
        assert row.statistic == pytest.approx(numbers[f"log_rank_{name}_statistic"], rel=1e-9)
        assert row.p_value == pytest.approx(numbers[f"log_rank_{name}_p"], rel=1e-9)
        assert row.df == int(name) - 1
        assert (row.n, row.n_events, row.unit) == (len(table), table["event"].sum(), "patient")
        assert 0 < row.p_minimum < row.p_value


def test_log_rank_says_why_there_is_no_p() -> None:
    table = pd.DataFrame({"months": [1, 2, 3], "event": [0, 0, 0], "g": ["a", "b", "b"]})
    row = tl.log_rank(table, groups="g").iloc[0]
    assert np.isnan(row.p_value)
    assert row.note == "no test: no event was seen"
    alone = tl.log_rank(table.assign(event=1, g="a"), groups="g").iloc[0]
    assert alone.note == "no test: there is one group"
    apart = tl.log_rank(table.assign(event=[0, 1, 1]), groups="g").iloc[0]
    assert "no event happened while more than one group" in apart.note


def test_an_approximation_below_the_floor_is_said() -> None:
    table = pd.DataFrame({"months": range(1, 7), "event": 1, "g": list("aaabbb")})
    row = tl.log_rank(table, groups="g").iloc[0]
    assert row.p_value < row.p_minimum == pytest.approx(0.1)
    assert "the least that an exact test of this design can give" in row.note


def test_rows_without_a_time_are_counted_in_the_note(pair: pd.DataFrame) -> None:
    holes = pair.copy()
    holes["months"] = holes["months"].astype(float)
    holes.iloc[:2, holes.columns.get_loc("months")] = np.nan
    row = tl.log_rank(holes, groups="response").iloc[0]
    assert row.n == len(pair) - 2
    assert row.note.startswith(f"2 of {len(pair)} rows lack months")
    assert tl.kaplan_meier(holes)["note"].iloc[-1].startswith(f"2 of {len(pair)} rows lack months")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event": [1, 2, 0]}, "event in row 1 is '2'"),
        ({"event": ["yes", "no", "no"]}, "event in row 0 is 'yes'"),
        ({"months": [1, -3, 2]}, "months in row 1 is -3"),
        ({"months": [np.nan] * 3}, "no row has all of months, event"),
    ],
)
def test_times_that_are_none(change: dict, message: str) -> None:
    table = pd.DataFrame({"months": [1, 2, 3], "event": [1, 0, 1]}).assign(**change)
    with pytest.raises(ParameterError, match=message):
        tl.kaplan_meier(table)
    with pytest.raises(ParameterError, match="no column 'response'"):
        tl.log_rank(table, groups="response")
    with pytest.raises(ParameterError, match="level is 95"):
        tl.kaplan_meier(table, level=95)


def test_cox_against_r(patients: pd.DataFrame, numbers: dict[str, float]) -> None:
    want = golden("cox")
    found = tl.cox(patients, covariates=["response", "age", "log_dose"])
    assert found["term"].tolist() == ["PR vs CR", "SD vs CR", "age", "log_dose"]
    for column in ("coefficient", "se", "hazard_ratio", "low", "high", "z", "p_value"):
        np.testing.assert_allclose(found[column], want[column], rtol=1e-6)
    assert found["p_model"].iloc[0] == pytest.approx(numbers["cox_p_model"], rel=1e-6)
    assert (found["n"] == len(patients)).all()


def test_cox_does_not_mind_the_unit_of_a_covariate(patients: pd.DataFrame) -> None:
    years = tl.cox(patients, covariates=["age", "log_dose"])
    days = tl.cox(patients.assign(age=patients["age"] * 365.25 + 1e4), covariates=["age", "log_dose"])
    assert days["coefficient"].iloc[0] * 365.25 == pytest.approx(years["coefficient"].iloc[0], rel=1e-8)
    np.testing.assert_allclose(days["p_value"], years["p_value"], rtol=1e-7)


def test_cox_says_why_there_is_no_estimate() -> None:
    table = pd.DataFrame(
        {"months": [1, 2, 3, 4, 5, 6], "event": [1, 1, 1, 0, 0, 0], "dead": [1, 1, 1, 0, 0, 0]}
    )
    row = tl.cox(table, covariates=["dead"]).iloc[0]
    assert np.isnan(row.hazard_ratio)
    assert "runs to infinity" in row.note
    none = tl.cox(table.assign(event=0), covariates=["dead"]).iloc[0]
    assert none.note == "no estimate: no event was seen"


def test_cox_refuses_covariates_that_say_the_same(patients: pd.DataFrame) -> None:
    with pytest.raises(ParameterError, match="'twice' follows from the covariates before it"):
        tl.cox(patients.assign(twice=2 * patients["age"]), covariates=["age", "twice"])
    with pytest.raises(ParameterError, match="'site' is 'A' in every row"):
        tl.cox(patients.assign(site="A"), covariates=["site"])
    with pytest.raises(ParameterError, match="give a list"):
        tl.cox(patients, covariates="age")


def test_t_tests_against_r(pair: pd.DataFrame, numbers: dict[str, float]) -> None:
    found = tl.group_test(pair, value="age", groups="response").set_index("test")
    assert found.group_a.tolist() == ["CR"] * 3
    for name in ("welch", "student"):
        row = found.loc[name]
        for column, key in (("statistic", "statistic"), ("df", "df"), ("p_value", "p")):
            assert row[column] == pytest.approx(numbers[f"{name}_{key}"], rel=1e-9)
        assert row.effect_low == pytest.approx(numbers[f"{name}_low"], rel=1e-9)
        assert row.effect_high == pytest.approx(numbers[f"{name}_high"], rel=1e-9)


def test_rank_sum_against_r(numbers: dict[str, float]) -> None:
    a, b = [60.5, 48, 36, 52, 71, 33.5], [12, 9, 20, 37, 41]
    table = pd.DataFrame({"v": a + b, "g": ["a"] * 6 + ["b"] * 5})
    row = tl.group_test(table, value="v", groups="g", tests=["rank_sum"]).iloc[0]
    for column, key in (
        ("statistic", "statistic"),
        ("p_value", "p"),
        ("effect", "effect"),
        ("effect_low", "low"),
        ("effect_high", "high"),
    ):
        assert row[column] == pytest.approx(numbers[f"rank_sum_{key}"], abs=1e-9)
    assert row.p_minimum == pytest.approx(2 / comb(11, 5))


def test_rank_sum_with_ties_against_all_permutations() -> None:
    values = np.array([1.0, 2, 2, 3, 3, 3, 4, 5])
    table = pd.DataFrame({"v": values, "g": list("aababbbb")})
    row = tl.group_test(table, value="v", groups="g", tests=["rank_sum"]).iloc[0]
    ranks = stats.rankdata(values)
    sums = np.array([ranks[list(c)].sum() for c in combinations(range(8), 3)])
    away = np.abs(sums - sums.mean())
    seen = abs(ranks[[0, 1, 3]].sum() - sums.mean())
    assert row.p_value == pytest.approx((away >= seen - 1e-9).mean())
    assert row.p_minimum == pytest.approx((away >= away.max() - 1e-9).mean())


def test_many_values_use_the_normal_approximation() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"v": rng.normal(size=160), "g": np.repeat(["a", "b"], 80)})
    row = tl.group_test(table, value="v", groups="g", tests=["rank_sum"]).iloc[0]
    want = stats.mannwhitneyu(table.v[:80], table.v[80:], method="asymptotic").pvalue
    assert row.p_value == pytest.approx(want)
    assert row.note == "p by the normal approximation"
    assert row.effect_low < row.effect < row.effect_high


def test_groups_without_a_test_say_why() -> None:
    table = pd.DataFrame({"v": [1.0, 2, 3, np.nan], "g": list("aabb")})
    found = tl.group_test(table, value="v", groups="g").set_index("test")
    assert found.note["welch"].endswith("no test: a group has one value, so its variance is not known")
    assert found.note["welch"].startswith("1 of 4 rows lack v or g")
    assert np.isfinite(found.p_value["student"])
    empty = tl.group_test(table.assign(v=[1.0, 2, np.nan, np.nan]), value="v", groups="g")
    assert empty.note.str.contains("no test: group b has no value").all()
    flat = tl.group_test(table.assign(v=1.0), value="v", groups="g")
    assert flat.p_value.isna().all()
    assert flat.note.str.contains("no test").all()
    with pytest.raises(ParameterError, match=r"3 groups \(a, b, c\)"):
        tl.group_test(pd.DataFrame({"v": [1, 2, 3], "g": list("abc")}), value="v", groups="g")
    with pytest.raises(ParameterError, match="welch"):
        tl.group_test(table, value="v", groups="g", tests=["welsh"])


def test_floors_against_all_permutations() -> None:
    scores = np.array([0.9, 0.4, -0.1, -0.1, -0.6, 0.0, 0.4])
    groups = np.array([0, 1, 2, 0, 1, 2, 2])
    seen = []
    for order in permutations(range(7)):
        label = groups[list(order)]
        centred = scores - scores.mean()
        seen.append(sum(centred[label == g].sum() ** 2 / (label == g).sum() for g in range(3)))
    best = np.isclose(seen, max(seen))
    assert smallest_p.of_groups(scores, groups) == pytest.approx(best.mean(), rel=1e-9)
    values = np.array([1.0, 5, 2, 2, 8, 3, 3])
    products = [abs((scores - scores.mean()) @ values[list(o)]) for o in permutations(range(7))]
    want = np.isclose(products, max(products)).mean()
    assert smallest_p.of_pairs(scores, values) == pytest.approx(want, rel=1e-9)


def test_pooled_proportions_against_r() -> None:
    want = golden("pooled").set_index("pool")
    found = tl.pooled_proportions(golden("studies"), subgroup="target")
    assert found["kind"].tolist() == ["study"] * 3 + ["subgroup"] + ["study"] * 3 + [
        "subgroup",
        "study",
        "subgroup",
        "overall",
    ]
    for pool in want.index:
        row = found[(found["study"] == pool) & (found["kind"] != "study")].iloc[0]
        for column in want.columns:
            assert row[column] == pytest.approx(want.loc[pool, column], rel=1e-6)
    single = found[(found["kind"] == "subgroup") & (found["subgroup"] == "GPRC5D")].iloc[0]
    assert np.isnan(single.p_value)
    assert single.note == "one study: heterogeneity is not known"
    assert found.loc[found["kind"] == "study", "weight_pct"].sum() == pytest.approx(100)
    last = found.iloc[-1]
    assert 0 < last.p_subgroups <= 1
    assert last.p_subgroups_minimum == pytest.approx(6 * 6 / 5040)
    assert 0 < last.p_minimum <= last.p_value


def test_equal_studies_pool_to_their_share() -> None:
    table = pd.DataFrame({"study": list("abcd"), "events": 30, "n": 40})
    last = tl.pooled_proportions(table).iloc[-1]
    assert last.proportion == pytest.approx(0.75)
    assert (last.tau2, last.i2_pct) == (0.0, 0.0)
    assert last.p_value == pytest.approx(1.0)
    study = tl.pooled_proportions(table).iloc[0]
    exact = stats.binomtest(30, 40).proportion_ci(method="exact")
    assert (study.low, study.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"events": [3, 50]}, "'b' has 50 events among 40"),
        ({"study": ["a", "a"]}, "'a' has more than one row"),
        ({"n": [40, 0], "events": [1, 0]}, "'b' has 0 events among 0"),
        ({"events": [1.5, 2]}, "events is 1.5"),
    ],
)
def test_studies_that_are_none(change: dict, message: str) -> None:
    table = pd.DataFrame({"study": ["a", "b"], "events": [3, 4], "n": [40, 40]}).assign(**change)
    with pytest.raises(ParameterError, match=message):
        tl.pooled_proportions(table)


def test_joining_keeps_every_row_and_says_who_is_unknown() -> None:
    results = pd.DataFrame({"patient_id": ["P2", "P9", "P1", "P2"], "n": [1, 2, 3, 4]}, index=[7, 5, 3, 1])
    clinic = pd.DataFrame(
        {"patient_id": ["P1", "P2 ", "P3"], "response": ["CR", "PR", "SD"], "age": [60, 50, 40]}
    )
    before = results.copy()
    found = tl.join_patients(results, clinic)
    assert found["in_patient_table"].tolist() == [True, False, True, True]
    assert found["response"].fillna("").tolist() == ["PR", "", "CR", "PR"]
    assert found["age"].fillna(-1).tolist() == [50, -1, 60, 50]
    assert found.index.tolist() == [7, 5, 3, 1]
    pd.testing.assert_frame_equal(results, before)


def test_joining_refuses_what_would_be_wrong() -> None:
    results = pd.DataFrame({"patient_id": ["P1"], "age": [3]})
    with pytest.raises(ParameterError, match="'P1' has more than one row"):
        tl.join_patients(results, pd.DataFrame({"patient_id": ["P1", "P1 "]}))
    with pytest.raises(ParameterError, match="both tables have 'age'"):
        tl.join_patients(results, pd.DataFrame({"patient_id": ["P1"], "age": [60]}))
    with pytest.raises(ParameterError, match="results have 'P1', patients have '1'"):
        tl.join_patients(results, pd.DataFrame({"patient_id": [1]}))


def test_follow_up_finds_all_wrong_dates_at_once() -> None:
    dates = pd.DataFrame(
        {"infused": ["2020-01-01", "31/12/2020"], "relapse": ["soon", None], "seen": ["2021-01-01"] * 2}
    )
    with pytest.raises(StudyError, match="2 problems") as caught:
        tl.follow_up(dates, start="infused", event="relapse", last="seen")
    assert "'31/12/2020' is not a date" in str(caught.value)
    assert "'soon' is not a date" in str(caught.value)
    before = pd.DataFrame({"infused": ["2020-01-01"], "relapse": [None], "seen": ["2019-01-01"]})
    with pytest.raises(StudyError, match="seen lies before infused"):
        tl.follow_up(before, start="infused", event="relapse", last="seen")
    never = before.assign(seen=None)
    with pytest.raises(StudyError, match="row 0"):
        tl.follow_up(never, start="infused", event="relapse", last="seen")


def test_persistence_is_censored_where_cells_were_still_seen() -> None:
    q, d, no = "quantified", "detected", "not_detected"
    rows = [
        ("P1", 2, q), ("P1", 60, d), ("P2", 2, q), ("P2", 6, no), ("P2", 12, no), ("P3", 2, q), ("P3", 6, no),
        ("P3", 12, d), ("P4", 3, no), ("P4", -1, q),
    ]  # fmt: skip
    calls = pd.DataFrame(rows, columns=["patient_id", "months", "call"])
    clinic = pd.DataFrame({"patient_id": ["P1", "P2", "P3", "P4"], "response": ["CR", "PR", "CR", "PR"]})
    found = tl.persistence(calls, clinic).set_index("patient_id")
    assert found["persistence_months"].tolist() == [60, 6, 12, 3]
    assert found["lost"].tolist() == [0, 1, 0, 1]
    assert found["last_detected"].fillna(-1).tolist() == [60, 2, 12, -1]
    assert found.note["P3"] == "detected again after a sample without"
    assert found.note["P4"].startswith("never detected")
    row = tl.log_rank(found, time="persistence_months", event="lost", groups="response").iloc[0]
    assert row.n_events == 2
    assert row.p_value < 0.2
    with pytest.raises(ParameterError, match="no sample with a month"):
        tl.persistence(calls.assign(months=np.nan))
