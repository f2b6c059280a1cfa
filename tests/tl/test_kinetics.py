"""Persistence measures: the published series, limits where a measure cannot be given, and coverage of intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cytocar import ParameterError
from cytocar.tl import detection, kinetics
from cytocar.tl._rare.kinetics import area, half_life

MONTHS = [2.0, 12.0, 36.0, 60.0]
SERIES = pd.DataFrame({"patient_id": "P1", "months": MONTHS, "pct_of_cd45": [3.01, 1.04, 0.49, 0.24]})


def counted(n_car: list[int], **columns: object) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "sample_id": [str(i) for i in range(len(n_car))],
            "patient_id": "P1",
            "timepoint": ["2mo", "1yr", "3yr", "5yr"][: len(n_car)],
            "months": MONTHS[: len(n_car)],
            "n_cd45": 100_000,
            "n_car": n_car,
            "n_host_t": 52_000,
            "n_negative": 34_000,
            "n_negative_above": 3,
        }
    )
    return detection(table.assign(**columns))


def of(table: pd.DataFrame, **options: object) -> pd.DataFrame:
    return kinetics(table, **options).set_index("measure")


def test_the_published_series() -> None:
    found = of(SERIES)["value"]
    assert found["half_life"] == pytest.approx(17.24, abs=0.01)
    assert found["half_life_2mo_to_12mo"] == pytest.approx(6.522, abs=0.001)
    assert found["half_life_12mo_to_36mo"] == pytest.approx(22.105, abs=0.001)
    assert found["half_life_36mo_to_60mo"] == pytest.approx(23.307, abs=0.001)
    assert found["auc_trapezoid"] == pytest.approx(47.37, abs=0.001)
    assert found["auc_linear_log"] == pytest.approx(44.483, abs=0.001)
    assert found["fold_fall"] == pytest.approx(12.542, abs=0.001)
    assert found["largest_observed"] == 3.01
    assert found["last_quantified"] == 60
    assert list(kinetics(SERIES).columns) == [
        "patient_id", "measure", "value", "low", "high", "unit", "note",
    ]  # fmt: skip


def test_half_life_against_scipy_and_an_exact_exponential() -> None:
    months = np.array([1.0, 4.0, 9.0, 30.0])
    values = 5 * 2.0 ** (-months / 7)
    assert half_life(months, values[None])[0] == pytest.approx(7)
    noisy = values * [1.1, 0.8, 1.3, 0.9]
    slope = stats.linregress(months, np.log(noisy)).slope
    assert half_life(months, noisy[None])[0] == pytest.approx(-np.log(2) / slope)
    exact = (values[0] - values[-1]) * 7 / np.log(2)
    assert area(months, values, log_down=True) == pytest.approx(exact)
    assert area(months, values, log_down=False) == pytest.approx(np.trapezoid(values, months))


def test_area_is_linear_where_it_rises_or_stays() -> None:
    months, values = np.array([0.0, 2.0, 4.0]), np.array([1.0, 3.0, 3.0])
    assert area(months, values, log_down=True) == area(months, values, log_down=False) == 10


def test_the_peak_is_not_observable_after_day_28() -> None:
    assert "peak not observable" in of(SERIES).loc["largest_observed", "note"]
    early = SERIES.assign(months=[0.25, 12.0, 36.0, 60.0])
    assert of(early).loc["largest_observed", "note"] == ""


def test_intervals_come_from_the_counts() -> None:
    table = counted([3010, 1040, 490, 240])
    found = of(table)
    assert found.loc["largest_observed", "low"] == table["pct_low"][0]
    for measure in ("half_life", "half_life_3yr_to_5yr", "auc_linear_log", "fold_fall"):
        row = found.loc[measure]
        assert row["low"] < row["value"] < row["high"]
    # Delta method: the variance of ln(a / b) is 1/a + 1/b.
    width = np.exp(1.96 * np.sqrt(1 / 3010 + 1 / 240))
    assert found.loc["fold_fall", "high"] / found.loc["fold_fall", "value"] == pytest.approx(width, rel=0.03)
    assert found.loc["fold_fall", "value"] / found.loc["fold_fall", "low"] == pytest.approx(width, rel=0.03)
    assert of(SERIES)["low"].isna().all()
    assert "one exponential does not fit" in found.loc["half_life", "note"]


def test_the_interval_of_a_half_life_covers() -> None:
    rng = np.random.default_rng(0)
    truth, months = 15.0, np.array(MONTHS)
    share = 0.03 * 2.0 ** (-months / truth)
    covered = 0
    for i in range(100):
        row = of(counted(list(rng.binomial(100_000, share))), n_draws=500, seed=i).loc["half_life"]
        covered += row["low"] < truth < row["high"]
        assert row["value"] == pytest.approx(truth, rel=0.2)
    assert 88 <= covered <= 100


def test_below_quantitation_is_censored_and_not_zero() -> None:
    found = of(counted([3010, 1040, 26, 3]))
    assert found.loc["last_detected", "value"] == 36
    assert found.loc["last_quantified", "value"] == 12
    assert np.isnan(found.loc["half_life", "value"])
    assert "needs three quantified" in found.loc["half_life", "note"]
    assert "censored, not 0" in found.loc["half_life_1yr_to_3yr", "note"]
    assert "at most" in found.loc["half_life_1yr_to_3yr", "note"]
    assert "unknown rest" in found.loc["auc_trapezoid", "note"]
    assert found.loc["auc_trapezoid", "value"] == pytest.approx((3.01 + 1.04) / 2 * 10)
    assert found.loc["fold_fall", "value"] == pytest.approx(3010 / 1040)
    between = of(counted([3010, 10, 490, 240]))
    assert between.loc["half_life", "value"] > 0
    assert "12 months is below" in between.loc["auc_linear_log", "note"]
    assert between.loc["auc_trapezoid", "value"] == pytest.approx(
        (3.01 + 0.49) / 2 * 34 + (0.49 + 0.24) / 2 * 24
    )


def test_nothing_detected_says_so() -> None:
    found = of(counted([0, 3, 2, 0]))
    assert found["value"].isna().all()
    assert (found["note"] != "").all()
    assert found.loc["last_detected", "note"] == "not detected in any of 4 samples"


def test_a_rise_has_no_half_life() -> None:
    found = of(counted([240, 490, 1040, 3010]))
    assert np.isnan(found.loc["half_life", "value"])
    assert "rises, doubling in" in found.loc["half_life_2mo_to_1yr", "note"]
    assert "no fall" in found.loc["fold_fall", "note"]
    # The fall is counted from the largest value on.
    hump = of(counted([490, 3010, 1040, 240]))
    expected = half_life(np.array(MONTHS[1:]), np.array([[3010.0, 1040, 240]]))[0]
    assert hump.loc["half_life", "value"] == pytest.approx(expected)


def test_an_uncertain_fall_has_an_open_interval() -> None:
    row = of(counted([300, 290, 285, 280])).loc["half_life_3yr_to_5yr"]
    assert row["value"] > 0
    assert row["high"] == np.inf
    assert "no fall at all" in row["note"]


def test_concentrations_have_their_own_measures() -> None:
    found = of(counted([3010, 1040, 490, 240], wbc_per_ul=[4000.0, 6000.0, 6000.0, 8000.0]))
    assert found.loc["largest_observed_per_ul", "value"] == pytest.approx(0.0301 * 4000)
    assert found.loc["fold_fall_per_ul", "value"] == pytest.approx(0.0301 * 4000 / (0.0024 * 8000))
    assert found.loc["auc_trapezoid_per_ul", "unit"] == "cells/µl·months"
    assert not any(of(SERIES).index.str.endswith("_per_ul"))


def test_controls_and_other_patients_stay_apart() -> None:
    table = pd.concat([SERIES, SERIES.assign(patient_id="P2", pct_of_cd45=[4.0, 2.0, 1.0, 0.5])])
    control = SERIES.iloc[:1].assign(patient_id="HD", months=np.nan)
    found = kinetics(pd.concat([table, control]))
    assert list(dict.fromkeys(found["patient_id"])) == ["P1", "P2"]
    alone = kinetics(SERIES)
    pd.testing.assert_frame_equal(found[found["patient_id"] == "P1"].reset_index(drop=True), alone)
    assert kinetics(control).empty
    assert list(kinetics(control).columns) == list(alone.columns)


def test_order_of_rows_does_not_matter_and_seed_does_what_it_says() -> None:
    table = counted([3010, 1040, 490, 240])
    pd.testing.assert_frame_equal(kinetics(table), kinetics(table.iloc[::-1]))
    other = of(table, seed=1).loc["half_life", "low"]
    assert other != of(table).loc["half_life", "low"]
    assert other == pytest.approx(of(table).loc["half_life", "low"], rel=0.02)


@pytest.mark.parametrize(
    ("table", "options", "told"),
    [
        (SERIES.drop(columns="months"), {}, "no column 'months'"),
        (SERIES.assign(months=2.0), {}, "'P1' has two samples at 2 months"),
        (SERIES, {"n_draws": 10}, "n_draws is 10"),
        (SERIES, {"level": 95}, "level is 95"),
        (SERIES, {"technical_cv": -0.1}, "technical_cv is -0.1"),
    ],
)
def test_errors_name_the_value(table: pd.DataFrame, options: dict[str, float], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        kinetics(table, **options)


def test_a_technical_error_widens_intervals_and_moves_no_value() -> None:
    table = counted([3010, 1040, 490, 240])
    alone, both = of(table), of(table, technical_cv=0.2)
    np.testing.assert_array_equal(alone["value"], both["value"])
    shown = alone["low"].notna()
    assert shown.sum() >= 6
    assert (both["low"][shown] < alone["low"][shown]).all()
    assert (both["high"][shown] > alone["high"][shown]).all()
    assert "technical error of 20 %" in both["note"]["half_life"]
    assert "technical" not in alone["note"]["half_life"]
    # With counts that say all, what is left is the log-normal error itself.
    many = of(counted([301_000, 104_000, 49_000, 24_000], n_cd45=10_000_000), technical_cv=0.2)
    sd = np.sqrt(np.log(1.04))
    assert np.log(many["high"] / many["value"])["largest_observed"] == pytest.approx(1.96 * sd, rel=0.01)
    assert np.log(many["high"] / many["value"])["fold_fall"] == pytest.approx(
        1.96 * sd * np.sqrt(2), rel=0.06
    )


def test_the_technical_error_of_a_half_life_is_that_of_least_squares() -> None:
    months = np.array([2.0, 12.0, 36.0, 60.0])
    found = of(
        counted([301_000, 104_000, 49_000, 24_000], n_cd45=10_000_000), technical_cv=0.15, n_draws=20_000
    )
    time = months - months.mean()
    error = np.sqrt(np.log(1 + 0.15**2) / (time @ time))
    rates = np.log(2) / found.loc["half_life", ["high", "low"]].to_numpy(float)
    assert (rates[1] - rates[0]) / 2 == pytest.approx(1.96 * error, rel=0.03)
