"""Mixed models of cohorts: against lme4 and lmerTest, limits where they are simpler models, and what has no number."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import norm, spearmanr

from cytocar import tl
from cytocar._core.errors import ParameterError
from cytocar.tl._cohorts import binomial_mixed, mixed
from cytocar.tl._cohorts.design import make_design

GOLDEN = Path(__file__).parent / "golden"
LINEAR = "~ group * timepoint"
COEFFICIENTS = {
    "groupR": "group[R]",
    "timepointt2": "timepoint[t2]",
    "groupR:timepointt2": "group[R]:timepoint[t2]",
}


def golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"{name}.csv")


def wide(table: pd.DataFrame, sheet: pd.DataFrame, column: str) -> np.ndarray:
    return table.pivot(index="cluster", columns="sample_id", values=column)[sheet["sample_id"]].to_numpy(
        float
    )


# ---- linear


def test_the_linear_fit_is_that_of_statsmodels_where_that_converges() -> None:
    """Statsmodels has no weights and no degrees of freedom, and often stops early: it is asked, not used."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(17)
    agreed = 0
    for _ in range(20):
        block = np.repeat(np.arange(8), 3)
        x = np.column_stack([np.ones(24), np.tile([0.0, 0.0, 1.0], 8)])
        y = rng.normal(0, 1.5, 8)[block] + rng.normal(0, 1, 24) + 0.5 * x[:, 1]
        ours = mixed.fit_mixed(y[None], x, np.array([0.0, 1.0]), block)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = MixedLM(y, x, groups=block).fit(reml=True, gtol=1e-10)
        if not theirs.converged:
            continue
        agreed += 1
        assert ours.effect[0] == pytest.approx(theirs.fe_params[1], rel=1e-9)
        assert ours.error[0] == pytest.approx(theirs.bse_fe[1], rel=1e-4)
        assert ours.sd_block[0] == pytest.approx(float(np.sqrt(theirs.cov_re[0, 0])), rel=1e-3)
    assert agreed >= 10


@pytest.mark.parametrize("weighted", [False, True])
def test_variances_of_missing_visits_are_those_of_statsmodels_at_the_edge_too(weighted: bool) -> None:
    """Its errors are not (X' V^-1 X)^-1 where visits are missing, so they are made from its variances here."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(23)
    at_zero = 0
    for i in range(24):
        block = np.repeat(np.arange(8), 3)
        x = np.column_stack([np.ones(24), np.tile([0.0, 1.0, 2.0], 8)])
        y = rng.normal(0, (0.0, 0.3, 1.5)[i % 3], 8)[block] + rng.normal(0, 1, 24)
        kept = rng.random(24) > 0.2
        block, x, y = block[kept], x[kept], y[kept]
        w = 10 ** rng.uniform(0, 1, len(y)) if weighted else np.ones(len(y))
        contrast = np.array([0.0, 1.0])
        ours = mixed.fit_mixed(y[None], x, contrast, block, w[None])
        root = np.sqrt(w)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = MixedLM(root * y, root[:, None] * x, groups=block, exog_re=root).fit(method="powell")
        between, rest = float(theirs.cov_re[0, 0]), float(theirs.scale)
        v = between * (block[:, None] == block[None, :]) + rest * np.diag(1 / w)
        error = float(np.sqrt(contrast @ np.linalg.inv(x.T @ np.linalg.solve(v, x)) @ contrast))
        assert ours.effect[0] == pytest.approx(theirs.fe_params[1], rel=1e-3, abs=1e-4)
        assert ours.error[0] == pytest.approx(error, rel=1e-3)
        assert ours.sd_block[0] == pytest.approx(np.sqrt(between), abs=2e-3)
        at_zero += ours.sd_block[0] == 0
    assert 0 < at_zero < 24


@pytest.mark.parametrize(("name", "weights"), [("mixed_lmer", "none"), ("mixed_lmer_weights", "cells")])
@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_state_is_that_of_lme4_and_lmertest(name: str, weights: str, coefficient: str) -> None:
    wanted = golden(name).query("coefficient == @coefficient")
    found = tl.state(
        golden("mixed_medians"),
        golden("cohort_long_sheet"),
        formula=LINEAR,
        contrast=COEFFICIENTS[coefficient],
        method="mixed",
        weights=weights,
    )
    assert len(found) == len(wanted) == 40
    for ours, theirs in (("effect", "effect"), ("statistic", "t"), ("df", "df"), ("p_value", "p")):
        np.testing.assert_allclose(found[ours], wanted[theirs], rtol=2e-5, atol=1e-6)
    half = wanted["se"].to_numpy() * -tdist(0.025, wanted["df"].to_numpy())
    np.testing.assert_allclose(found["effect_high"] - found["effect"], half, rtol=2e-5)
    assert "linear mixed model of medians" in found["model"].iloc[0]
    assert "patient_id as random block" in found["model"].iloc[0]
    assert found["unit"].eq("patient").all()


def tdist(share: float, df: np.ndarray) -> np.ndarray:
    from scipy.stats import t

    return np.asarray(t.ppf(share, df))


@pytest.mark.parametrize(("name", "weighted"), [("mixed_lmer", False), ("mixed_lmer_weights", True)])
def test_variances_are_those_of_lme4(name: str, weighted: bool) -> None:
    sheet, medians = golden("cohort_long_sheet"), golden("mixed_medians")
    design = make_design(sheet, LINEAR)
    block = np.unique(sheet["patient_id"], return_inverse=True)[1]
    contrast = np.array([float(name == "group[R]") for name in design.columns])
    weights = wide(medians, sheet, "n") if weighted else None
    fit = mixed.fit_mixed(wide(medians, sheet, "median"), design.matrix, contrast, block, weights)
    wanted = golden(name).query("coefficient == 'groupR'")
    np.testing.assert_allclose(fit.sd_block, wanted["sd_patient"], atol=1e-5)
    np.testing.assert_allclose(fit.sd_rest, wanted["sd_rest"], rtol=1e-6)
    # In some rows patients differ by no more than their samples do: there the model is the linear one.
    singular = wanted["sd_patient"].to_numpy() < 1e-5
    assert 0 < singular.sum() < 40
    assert (fit.sd_block[singular] == 0).all()


def test_balanced_paired_samples_give_the_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(1)
    first = rng.normal(1, 0.5, 8)
    second = first + rng.normal(0.4, 0.2, 8)
    sheet = pd.DataFrame(
        {
            "sample_id": [f"p{i}{t}" for t in "ab" for i in range(8)],
            "patient_id": [f"p{i}" for t in "ab" for i in range(8)],
            "timepoint": ["a"] * 8 + ["b"] * 8,
        }
    )
    medians = pd.DataFrame({"sample_id": sheet["sample_id"], "cluster": "1", "marker": "m", "n": 100}).assign(
        median=np.concatenate([first, second])
    )
    row = tl.state(medians, sheet, formula="~ timepoint", method="mixed", weights="none").iloc[0]
    wanted = ttest_rel(second, first)
    assert row["p_value"] == pytest.approx(wanted.pvalue, rel=1e-4)
    assert row["df"] == pytest.approx(7, abs=1e-4)
    assert row["p_minimum"] == 2 / 2**8


def test_one_sample_a_patient_is_the_linear_model() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(2)
    values = rng.normal(1, 0.5, 10)
    sheet = pd.DataFrame(
        {
            "sample_id": list("abcdefghij"),
            "patient_id": list("ABCDEFGHIJ"),
            "group": ["NR"] * 5 + ["R"] * 5,
        }
    )
    medians = sheet[["sample_id"]].assign(cluster="1", marker="m", n=100, median=values)
    row = tl.state(medians, sheet, formula="~ group", method="mixed", weights="none").iloc[0]
    wanted = ttest_ind(values[5:], values[:5])
    assert row["p_value"] == pytest.approx(wanted.pvalue, rel=1e-9)
    assert row["df"] == 8
    assert row["model"].startswith("linear model of medians")


def test_visits_that_are_missing_in_some_patients_still_count() -> None:
    sheet, medians = golden("cohort_long_sheet"), golden("mixed_medians")
    kept = sheet[~((sheet["timepoint"] == "t2") & sheet["patient_id"].isin(["p1", "p2", "p5"]))]
    found = tl.state(medians, kept, formula=LINEAR, contrast="t2 vs t0", method="mixed")
    assert np.isfinite(found["p_value"]).all()
    assert set(found["n_patients_b"]) <= {3, 4, 5}


def test_rows_of_a_mixed_state_without_a_number_say_why() -> None:
    sheet, medians = golden("cohort_long_sheet"), golden("cohort_long_medians")
    flat = medians["cluster"] == 1
    few = (medians["cluster"] == 2) & medians["sample_id"].isin(sheet.query("group == 'R'")["sample_id"])
    medians.loc[flat, "median"] = 1.5
    medians.loc[few, "n"] = 3
    medians.loc[medians["cluster"] == 3, "n"] = 0
    found = tl.state(medians, sheet, formula="~ group", method="mixed").set_index("cluster")
    assert "the median is 1.5 in all 24 samples" in found["note"]["1"]
    assert "cannot tell the groups apart" in found["note"]["2"]
    assert "no sample has 10 cells" in found["note"]["3"]
    assert found["p_value"][["1", "2", "3"]].isna().all()
    assert np.isfinite(found["p_value"]["4"])
    one = sheet[(sheet["group"] == "NR") | (sheet["patient_id"] == "p5")]
    alone = tl.state(golden("cohort_long_medians"), one, formula="~ group", method="mixed")
    assert alone["p_value"].isna().all()
    assert "1 patient in R: no interval and no p" in alone["note"].iloc[0]


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100), moved=st.floats(-5, 5))
@settings(max_examples=25, deadline=None)
def test_moving_and_scaling_values_moves_and_scales_effects(seed: int, scale: float, moved: float) -> None:
    rng = np.random.default_rng(seed)
    block = np.repeat(np.arange(6), 3)
    x = np.column_stack([np.ones(18), block % 2, np.tile([0.0, 1, 2], 6)])
    y = rng.normal(0, 1, 18) + rng.normal(0, 1, 6)[block]
    contrast = np.array([0.0, 1.0, 0.0])
    plain = mixed.fit_mixed(y[None], x, contrast, block)
    other = mixed.fit_mixed((scale * y + moved * x[:, 1])[None], x, contrast, 5 - block)
    assert other.effect[0] == pytest.approx(scale * plain.effect[0] + moved, rel=1e-5, abs=1e-6 * scale)
    assert other.error[0] == pytest.approx(scale * plain.error[0], rel=1e-4)
    assert other.df[0] == pytest.approx(plain.df[0], rel=1e-3)
    assert 1 <= plain.df[0] <= 15


# ---- binomial


def test_abundance_is_that_of_glmer() -> None:
    wanted = golden("mixed_glmm")
    found = tl.abundance(
        golden("cohort_counts"),
        golden("cohort_sheet"),
        formula="~ group + batch",
        contrast="R vs NR",
        method="binomial_mixed",
    )
    there = np.isfinite(found["p_value"].to_numpy())
    # Cluster 2 has no cells in any responder: lme4 says -25 with an error of 54,000.
    assert np.flatnonzero(~there).tolist() == [1]
    assert "no finite estimate" in found["note"].iloc[1]
    assert found["p_value"].isna().iloc[1]
    assert np.abs(found["effect"] * np.log(2) - wanted["logit"])[there].max() < 1e-3
    assert spearmanr(found["p_value"][there], wanted["p"][there])[0] >= 0.98
    # Restricted variances and t: no p is smaller than that of a z test.
    assert (found["p_value"][there].to_numpy() > wanted["p"][there].to_numpy()).all()
    assert found["model"].iloc[0] == ("binomial mixed model, random intercept of the sample, ~ group + batch")


@pytest.mark.parametrize("coefficient", ["groupR", "timepointt2"])
def test_three_timepoints_are_those_of_glmer(coefficient: str) -> None:
    wanted = golden("mixed_glmm_long").query("coefficient == @coefficient")
    found = tl.abundance(
        golden("mixed_long_counts"),
        golden("cohort_long_sheet"),
        formula="~ group + timepoint",
        contrast=COEFFICIENTS[coefficient],
        method="binomial_mixed",
    )
    assert np.abs(found["effect"] * np.log(2) - wanted["logit"].to_numpy()).max() < 1e-3
    z = 2 * norm.sf(np.abs(wanted["logit"] / wanted["se"]))
    assert spearmanr(found["p_value"], z)[0] >= 0.98
    # Eight patients in two groups leave 6; within patients 24 samples less 8 patients and two changes leave 14. In the
    # last cluster, of 0.4 %, samples vary by no more than counting: that error is known.
    limit = 6 if coefficient == "groupR" else 14
    between = found["df"].drop(5)
    assert (between <= limit + 1e-6).all()
    assert (between > 0.8 * limit).all()
    assert "patient_id as random block" in found["model"].iloc[0]


def test_maximum_likelihood_is_that_of_glmer() -> None:
    sheet, wanted = golden("cohort_long_sheet"), golden("mixed_glmm_long").query("coefficient == 'groupR'")
    table = golden("mixed_long_counts")
    counts, totals = wide(table, sheet, "n"), wide(table, sheet, "total")[0]
    x = make_design(sheet, "~ group + timepoint").matrix
    shapes = binomial_mixed.shapes_of(24, np.unique(sheet["patient_id"], return_inverse=True)[1])
    from scipy.special import gammaln

    for row, theirs in zip(counts, wanted.itertuples(), strict=True):
        data = binomial_mixed.Counts(row, totals, x, shapes)
        restricted, mode = binomial_mixed.restricted(data)
        beta, sds = binomial_mixed.maximised(data, restricted, mode.beta)
        value = binomial_mixed.laplace(data, beta, sds)[0]
        ways = (gammaln(totals + 1) - gammaln(row + 1) - gammaln(totals - row + 1)).sum()
        assert value + ways == pytest.approx(theirs.loglik, abs=1e-4)
        assert sds == pytest.approx([theirs.sd_sample, theirs.sd_patient], abs=1e-3)
        # Few patients: what is maximised takes the variance between them too small.
        assert restricted[1] >= sds[1] - 1e-3


def test_the_gradient_is_that_of_differences() -> None:
    rng = np.random.default_rng(3)
    x = np.column_stack([np.ones(8), np.repeat([0.0, 1.0], 4)])
    data = binomial_mixed.Counts(
        rng.integers(0, 12, 8).astype(float),
        np.full(8, 12.0),
        x,
        binomial_mixed.shapes_of(8, np.repeat(np.arange(4), 2)),
    )
    at = np.array([-0.4, 0.3, 0.7, 0.5])
    slope = binomial_mixed.laplace(data, at[:2], at[2:])[1]
    by_steps = approx_fprime(at, lambda z: binomial_mixed.laplace(data, z[:2], z[2:])[0], 1e-6)
    np.testing.assert_allclose(slope, by_steps, atol=2e-4)


def test_without_variation_it_is_the_plain_binomial_model() -> None:
    n = np.full(6, 1000.0)
    data = binomial_mixed.Counts(
        np.array([100.0, 100, 100, 200, 200, 200]),
        n,
        np.column_stack([np.ones(6), np.repeat([0.0, 1.0], 3)]),
        binomial_mixed.shapes_of(6, None),
    )
    sds, mode = binomial_mixed.restricted(data)
    assert sds.tolist() == [0.0]
    assert mode.beta[1] == pytest.approx(np.log(0.2 / 0.8) - np.log(0.1 / 0.9), abs=1e-6)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        ([5, 6, 7, 0, 0, 0], True),
        ([5, 6, 7, 10, 10, 10], True),
        ([5, 6, 7, 0, 1, 0], False),
        ([0, 6, 7, 0, 1, 2], False),
        ([5, 6, 7, 1, 2, 3], False),
    ],
)
def test_what_can_grow_without_end_is_found(k: list[int], expected: bool) -> None:
    x = np.column_stack([np.ones(6), np.repeat([0.0, 1.0], 3)])
    assert binomial_mixed.separated(np.array(k, float), np.full(6, 10.0), x) is expected


def test_a_mixed_model_of_too_few_samples_has_no_p() -> None:
    sheet = pd.DataFrame({"sample_id": ["a", "b"], "patient_id": ["A", "B"], "group": ["NR", "R"]})
    counts = pd.DataFrame(
        {"sample_id": ["a", "b"] * 2, "cluster": ["1", "1", "2", "2"], "n": [50, 60, 90, 80]}
    )
    found = tl.abundance(counts, sheet, formula="~ group", method="binomial_mixed")
    assert found["p_value"].isna().all()
    assert found["note"].str.contains("1 patient in").all()


def test_the_order_of_samples_changes_nothing() -> None:
    counts, sheet = golden("mixed_long_counts"), golden("cohort_long_sheet")
    how = {"formula": "~ group + timepoint", "contrast": "R vs NR", "method": "binomial_mixed"}
    found = tl.abundance(counts, sheet, **how)
    turned = tl.abundance(counts, sheet.iloc[::-1], **how)
    np.testing.assert_allclose(found["effect"], turned["effect"], atol=1e-4)
    np.testing.assert_allclose(found["p_value"], turned["p_value"], rtol=2e-2)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ParameterError, match="method is 'lmm'"):
        tl.state(golden("cohort_long_medians"), golden("cohort_long_sheet"), formula="~ group", method="lmm")
    with pytest.raises(ParameterError, match="binomial_mixd"):
        tl.abundance(
            golden("cohort_counts"), golden("cohort_sheet"), formula="~ group", method="binomial_mixd"
        )
    with pytest.raises(ParameterError, match=r"ratio.*binomial_mixed"):
        tl.abundance(
            golden("cohort_counts"),
            golden("cohort_sheet"),
            formula="~ group",
            method="binomial_mixed",
            composition="ratio",
        )


# ---- beside every p


def tables_with_p() -> dict[str, pd.DataFrame]:
    sheet, medians = golden("cohort_long_sheet"), golden("mixed_medians")
    counts = golden("mixed_long_counts")
    patients = pd.DataFrame(
        {
            "months": [5.0, 8, 12, 20, 24, 30],
            "event": [1, 1, 0, 1, 0, 0],
            "group": list("ababab"),
            "x": [1.0, 2, 5, 4, 3, 7],
        }
    )
    shares = pd.DataFrame(
        {"sample_id": list("abcd"), "compartment": "car", "subset": "DN", "fraction": [0.1, 0.2, 0.3, 0.4]}
    )
    times = pd.DataFrame({"sample_id": list("abcd"), "patient_id": "P1", "months": [2, 12, 36, 60]})
    return {
        "abundance": tl.abundance(counts, sheet, formula="~ group"),
        "binomial_mixed": tl.abundance(counts, sheet, formula="~ group", method="binomial_mixed"),
        "state": tl.state(medians, sheet, formula="~ group"),
        "mixed": tl.state(medians, sheet, formula="~ group", method="mixed"),
        "table_test": tl.table_test([[8, 22], [1, 31]]),
        "group_test": tl.group_test(patients, value="x", groups="group"),
        "log_rank": tl.log_rank(patients, groups="group"),
        "cox": tl.cox(patients, covariates=["x"]),
        "subset_trend": tl.subset_trend(shares, times, p_values=True),
        "pooled": tl.pooled_proportions(
            pd.DataFrame({"study": list("ABC"), "events": [65, 20, 41], "n": [74, 24, 60]})
        ),
    }


def test_every_p_has_its_n_its_unit_and_the_smallest_p_of_the_design() -> None:
    for name, table in tables_with_p().items():
        with_p = table[table["p_value"].notna()]
        assert len(with_p), name
        assert (with_p["p_minimum"] > 0).all(), name
        assert (with_p["p_minimum"] <= 1).all(), name
        assert with_p["unit"].isin(["patient", "sample", "study"]).all(), name
        n = next(column for column in ("n_patients", "n", "n_samples") if column in with_p)
        assert (with_p[n] > 0).all(), name
