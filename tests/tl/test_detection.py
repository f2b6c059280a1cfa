"""Frequencies, limits and calls: against the numbers of the method, and by simulating blanks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cytocar as cc
from cytocar import ParameterError, StateError
from cytocar.tl import detection
from cytocar.tl._rare import limits
from cytocar.tl._statistics import intervals as iv

CONTRACT = [
    "sample_id", "patient_id", "timepoint", "months", "n_cd45", "n_car", "n_host_t", "pct_of_cd45", "pct_low",
    "pct_high", "background_events", "lob_events", "lod_events", "loq_events", "call",
]  # fmt: skip


SAME = {
    "patient_id": "P1",
    "timepoint": "5yr",
    "months": 60.0,
    "n_car": 240,
    "n_host_t": 52_000,
    "n_negative": 34_000,
    "n_negative_above": 3,
}


def counts(**columns: object) -> pd.DataFrame:
    frame = {
        "sample_id": ["a"],
        "n_cd45": [100_000],
        **{name: [value] for name, value in SAME.items()},
    }
    return pd.DataFrame(frame | columns)


def test_columns_of_the_contract_come_first() -> None:
    assert list(detection(counts()).columns)[: len(CONTRACT)] == CONTRACT


def test_frequency_has_its_exact_interval() -> None:
    row = detection(counts()).iloc[0]
    exact = stats.binomtest(240, 100_000).proportion_ci(method="exact")
    assert row["pct_of_cd45"] == pytest.approx(0.24)
    assert (row["pct_low"], row["pct_high"]) == pytest.approx((100 * exact.low, 100 * exact.high), abs=1e-9)


def test_no_car_cells_still_have_an_upper_limit() -> None:
    row = detection(counts(n_car=[0])).iloc[0]
    assert row["pct_low"] == 0
    assert row["pct_high"] / 100 * 100_000 == pytest.approx(3.69, abs=0.01)
    assert row["call"] == "not_detected"


def test_background_is_the_upper_limit_of_the_rate_of_known_negatives() -> None:
    row = detection(counts(n_car=[240])).iloc[0]
    upper = iv.upper_limit(3, 34_000)
    assert stats.binom.cdf(3, 34_000, upper) == pytest.approx(0.05)
    assert row["background_events"] == pytest.approx((upper + 3 / 34_000) * 52_240)
    assert detection(counts(), transfer=1).iloc[0]["background_events"] == pytest.approx(upper * 52_240)
    assert row["background_expected"] == pytest.approx(3 / 34_000 * 52_000, rel=1e-3)
    assert row["background_source"] == "known_negative"
    assert row["lob_events"] == limits.limit_of_blank(row["background_events"])
    assert row["lod_events"] == limits.limit_of_detection(row["background_events"])
    assert row["pct_net"] == pytest.approx(0.24 - 100 * row["background_expected"] / 100_000)
    assert row["pct_net_low"] < row["pct_net"] < row["pct_net_high"]


def test_negative_controls_set_the_background_of_all_samples() -> None:
    table = counts(
        sample_id=["5yr", "HD1", "HD2"],
        patient_id=["P1", "", None],
        timepoint=["5yr", None, "control"],
        months=[60.0, np.nan, np.nan],
        role=["patient", "negative_control", "negative_control"],
        n_cd45=[100_000] * 3,
        n_car=[240, 4, 6],
        n_host_t=[52_000, 39_996, 59_994],
        n_negative=[34_000] * 3,
        n_negative_above=[900] * 3,
    )
    found = detection(table).set_index("sample_id")
    assert set(found["background_source"]) == {"negative_control"}
    assert found.loc["5yr", "background_rate"] == pytest.approx(1e-4)
    assert found.loc["5yr", "background_events"] == pytest.approx(iv.upper_limit(10, 100_000) * 52_240)
    assert list(found["call"]) == ["quantified", "not_detected", "not_detected"]
    assert np.isnan(found.loc["HD1", "months"])
    assert found.loc["HD2", "patient_id"] == ""


@pytest.mark.parametrize(
    ("n_car", "call"), [(15, "not_detected"), (16, "detected"), (24, "detected"), (25, "quantified")]
)
def test_calls_by_the_published_limits(n_car: int, call: str) -> None:
    # Ten background events: LoB 15, LoD 23.1, and the 25 events of a 20 % CV are more.
    table = counts(n_car=[n_car], n_host_t=[100_000 - n_car])
    row = detection(table, background_rate=1e-4).iloc[0]
    assert (row["lob_events"], round(row["lod_events"], 1), row["loq_events"]) == (15, 23.1, 25)
    assert row["call"] == call
    assert row["background_source"] == "given"


def test_limit_of_quantitation_is_never_below_that_of_detection() -> None:
    table = counts(n_car=[38], n_host_t=[200_000 - 38], n_cd45=[400_000])
    row = detection(table, background_rate=1e-4).iloc[0]
    assert (row["lob_events"], round(row["loq_events"], 1), row["call"]) == (28, 38.4, "detected")
    assert detection(counts(), cv=0.1).iloc[0]["loq_events"] == 100


def test_an_unknown_background_is_not_zero() -> None:
    table = counts(n_car=[24]).drop(columns=["n_negative", "n_negative_above"])
    row = detection(table).iloc[0]
    assert row["background_source"] == "unknown"
    assert np.isnan(row[["background_events", "lob_events", "lod_events", "pct_net"]].astype(float)).all()
    assert row["call"] == "not_detected"
    assert "no background could be measured" in row["note"]
    many = detection(table.assign(n_car=5000)).iloc[0]
    assert many["call"] == "detected"
    nothing = detection(counts(n_negative=[0], n_negative_above=[0])).iloc[0]
    assert nothing["background_source"] == "unknown"


@pytest.mark.parametrize("cells", [20_000, 60_000, 104_167, 500_000, 2_000_000])
def test_tubes_without_car_cells_are_not_detected(cells: int) -> None:
    # Host T cells pass the threshold as other cells do (1e-4), and 5e-5 of them for a reason of their own.
    rng = np.random.default_rng(1)
    n, hosts, negative = 2000, round(0.525 * cells), round(0.34 * cells)
    blank = pd.DataFrame(
        {
            "sample_id": np.arange(n).astype(str),
            "n_cd45": cells,
            "n_car": rng.poisson(1.5e-4 * hosts, n),
            "n_host_t": hosts,
            "n_negative": negative,
            "n_negative_above": rng.poisson(1e-4 * negative, n),
        }
    )
    assert (detection(blank)["call"] != "not_detected").mean() < 0.02
    planted = blank.assign(n_car=rng.poisson(0.0024 * cells, n))
    assert (detection(planted)["call"] == "quantified").mean() > 0.95


def test_cells_per_microlitre_and_what_they_rest_on() -> None:
    table = counts(
        sample_id=list("abcd"),
        n_cd45=[100_000] * 4,
        wbc_per_ul=[5000, np.nan, np.nan, np.nan],
        lymphocytes_per_ul=[2000, 2000, 2000, np.nan],
        n_lymphocytes=[np.nan, 60_000, np.nan, np.nan],
        **{name: [value] * 4 for name, value in SAME.items()},
    )
    found = detection(table)
    np.testing.assert_allclose(found["cells_per_ul"], [12, 8, 4.8, np.nan])
    assert list(found["cells_per_ul_basis"]) == [
        "white cells (CD45+)",
        "lymphocytes",
        "lymphocytes, share of CD45+: a lower bound",
        "",
    ]
    assert found["cells_per_ul_low"][0] == pytest.approx(50 * found["pct_low"][0])
    assert "too low" in found["note"][2]


def test_a_sample_without_cells_has_no_frequency() -> None:
    row = detection(counts(n_cd45=[0], n_car=[0], n_host_t=[0])).iloc[0]
    assert np.isnan(row["pct_of_cd45"])
    assert np.isnan(row["pct_high"])
    assert row["call"] == "not_detected"
    assert "no cells" in row["note"]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (counts().drop(columns="n_car"), "no column 'n_car'"),
        (counts(n_car=[100_001]), "n_car = 100001 of n_cd45 = 100000"),
        (counts(n_car=[-1]), r"n_car of sample 'a' is .*-1"),
        (counts(n_host_t=[1.5]), r"n_host_t of sample 'a' is .*1\.5"),
        (counts(n_negative_above=[34_001]), "n_negative_above = 34001"),
        (pd.concat([counts(), counts()]), "sample 'a' has more than one row"),
    ],
)
def test_wrong_tables_are_named(table: pd.DataFrame, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        detection(table)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"background_rate": 1.0}, r"background_rate is 1\.0"),
        ({"transfer": 0.5}, r"transfer is 0\.5"),
        ({"cv": 0}, "cv is 0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, float], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        detection(counts(), **options)


@pytest.fixture(scope="module")
def gated():
    adata = cc.datasets.legend2(cells=20_000, spill=False, timepoints=["2mo", "5yr"])
    cc.pp.clean(adata)
    cc.pp.arcsinh(adata)
    with pytest.raises(StateError, match="no gates were applied"):
        detection(adata)
    cc.gate.apply(adata, cc.gate.car_t())
    return adata


def test_gated_cells_are_counted_by_the_gates(gated) -> None:
    found = detection(gated)
    ledger = cc.gate.table(gated)
    car = ledger[ledger["population"] == "CAR-T"].set_index("sample_id")["events"]
    assert list(found["n_car"]) == list(car)
    assert list(found["timepoint"]) == ["2mo", "5yr"]
    np.testing.assert_allclose(found["pct_of_cd45"], [3.01, 0.24], rtol=0.3)
    assert set(found["background_source"]) == {"known_negative"}
    with pytest.raises(ParameterError, match="population 'CART' is not among the gates"):
        detection(gated, car="CART")


def test_subsets_of_gated_cells_know_their_background(gated) -> None:
    found = cc.tl.subsets(gated).set_index(["sample_id", "compartment", "subset"]).sort_index()
    background = detection(gated).set_index("sample_id")["background_events"]
    for sample, events in background.items():
        assert found.loc[(sample, "car"), "background_n"].sum() == pytest.approx(events)
        assert found.loc[(sample, "car"), "fraction"].sum() == pytest.approx(1)
