"""The statistics agree with those of the libraries of the field."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cytocar import tl
from cytocar.tl._statistics.intervals import clopper_pearson
from cytocar.tl._statistics.p_values import benjamini_hochberg


@pytest.fixture
def patients() -> pd.DataFrame:
    draw = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "months": draw.integers(1, 30, 80),
            "event": draw.integers(0, 2, 80),
            "group": draw.choice(list("abc"), 80),
        }
    )


def test_clopper_pearson_is_that_of_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    k, n = np.array([0, 1, 7, 240, 50]), np.array([9, 9, 9, 100_000, 50])
    np.testing.assert_allclose(clopper_pearson(k, n), proportion_confint(k, n, method="beta"), rtol=1e-12)


def test_the_curve_is_that_of_statsmodels(patients: pd.DataFrame) -> None:
    from statsmodels.duration.survfunc import SurvfuncRight

    theirs = SurvfuncRight(patients["months"], patients["event"])
    ours = tl.kaplan_meier(patients).set_index("time").loc[theirs.surv_times]
    np.testing.assert_allclose(ours["survival"], theirs.surv_prob, rtol=1e-12)
    np.testing.assert_array_equal(ours["n_at_risk"], theirs.n_risk)


def test_log_rank_of_three_groups_is_that_of_statsmodels(patients: pd.DataFrame) -> None:
    from statsmodels.duration.survfunc import survdiff

    ours = tl.log_rank(patients, groups="group").iloc[0]
    theirs = survdiff(patients["months"], patients["event"], patients["group"])
    assert (ours.statistic, ours.p_value) == pytest.approx(theirs, rel=1e-9)


def test_a_log_rank_p_far_below_rounding_is_not_zero() -> None:
    months = np.concatenate([np.arange(1, 101), np.full(100, 500)])
    table = pd.DataFrame({"months": months, "event": 1, "group": np.repeat(["a", "b"], 100)})
    assert 0 < tl.log_rank(table, groups="group").iloc[0].p_value < 1e-50


def test_pooled_shares_are_those_of_statsmodels_where_studies_differ() -> None:
    from scipy.special import logit
    from statsmodels.stats.meta_analysis import combine_effects

    x, n = np.array([65, 20, 41]), np.array([74, 24, 60])
    ours = tl.pooled_proportions(pd.DataFrame({"study": list("abc"), "events": x, "n": n})).iloc[-1]
    theirs = combine_effects(np.log(x / (n - x)), 1 / x + 1 / (n - x), method_re="dl")
    assert (logit(ours.proportion), ours.tau2, ours.q) == pytest.approx(
        (theirs.mean_effect_re, theirs.tau2, theirs.q), rel=1e-9
    )


def test_benjamini_hochberg_is_that_of_statsmodels_and_leaves_nan() -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.array([0.01, np.nan, 0.04, 0.03, 0.5, np.nan, 0.0, 1.0])
    given = np.isfinite(p)
    ours = benjamini_hochberg(p)
    np.testing.assert_allclose(ours[given], multipletests(p[given], method="fdr_bh")[1], rtol=1e-12)
    assert np.isnan(ours[~given]).all()
    assert benjamini_hochberg([]).size == 0
