"""Patients compared with patients in a run: which questions the sheet allows, and which rows come out."""

from __future__ import annotations

from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway, ttest_ind

from cytocar import ParameterError, tl
from cytocar._core.schemas import SCHEMAS
from cytocar.io import StudyConfig
from cytocar.study._tables.cohorts import batch_table, cohort_tables, confounding_table
from cytocar.study._tables.questions import designed, questions

MARKERS = ["PD-1", "Ki67", "CD7", "CD27"]
MONTHS = {"2mo": 2.0, "1yr": 12.0, "5yr": 60.0}


def config(**settings: Any) -> StudyConfig:
    return StudyConfig(cytocar=1, panel="panel.csv", samples="samples.csv", **settings)


def sheet(
    groups: tuple[str, ...] = ("NR", "R"), *, n: int = 4, times: tuple[str, ...] = ("2mo",)
) -> pd.DataFrame:
    rows = [
        {
            "sample_id": f"{group}{number}_{time}", "patient_id": f"{group}{number}", "timepoint": time,
            "months": MONTHS[time], "role": "patient", "group": group, "batch": f"b{number % 2}",
        }
        for group in groups for number in range(n) for time in times
    ]  # fmt: skip
    return pd.DataFrame(rows)


def study(
    samples: pd.DataFrame, *, car: bool = True, cells: int = 60
) -> tuple[anndata.AnnData, dict[str, pd.DataFrame]]:
    """Return cells and tables: PD-1 is 1 higher in R, cluster 1 twice as large there, Ki67 rises until 5yr."""
    rng = np.random.default_rng(0)
    obs, values = [], []
    for row in samples.itertuples():
        for compartment, n in (("car", cells), ("host", 3 * cells)) if car else (("cells", 4 * cells),):
            cluster = np.where(rng.random(n) < (0.6 if row.group == "R" else 0.3), "1", "2")
            x = rng.normal(2, 0.3, (n, 4)) + rng.normal(0, 0.05, 4)
            x[:, 0] += row.group == "R"
            x[:, 1] += 0.6 * (row.timepoint == "5yr")
            subset = rng.choice(["CD4", "CD8", "DN"], n) if car else np.full(n, "")
            labels = cluster if compartment != "host" else np.full(n, "")
            values.append(x)
            obs.append(
                pd.DataFrame(
                    {
                        "sample_id": row.sample_id, "role": row.role, "compartment": compartment, "subset": subset,
                        "phenograph": labels,
                    }
                )
            )  # fmt: skip
    frame = pd.concat(obs, ignore_index=True)
    frame.index = frame.index.astype(str)
    var = pd.DataFrame(
        {"role": "marker", "marker_class": ["state", "state", "type", "type"], "used_for_clustering": True},
        index=MARKERS,
    )
    adata = anndata.AnnData(np.vstack(values).astype(np.float32), obs=frame, var=var)
    labelled = frame[frame["phenograph"] != ""]
    clusters = labelled.groupby(["sample_id", "phenograph"]).size().rename("n").reset_index()
    clusters["fraction"] = clusters["n"] / clusters.groupby("sample_id")["n"].transform("sum")
    tables = {"clusters": clusters.rename(columns={"phenograph": "cluster"}).assign(method="phenograph")}
    if car:
        tables["subsets"] = (
            frame.groupby(["sample_id", "compartment", "subset"]).size().rename("n").reset_index()
        )
        n_car = frame[frame["compartment"] == "car"].groupby("sample_id").size()
        tables["car_frequency"] = pd.DataFrame(
            {"sample_id": n_car.index, "n_car": n_car.values, "n_cd45": 10_000}
        )
    return adata, tables


def tabulated(
    samples: pd.DataFrame, *, car: bool = True, **settings: Any
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    adata, tables = study(samples, car=car)
    return cohort_tables(samples, adata, tables, config(**settings), method="phenograph")


# which questions the sheet allows


def test_groups_are_compared_at_every_timepoint_and_times_within_patients():
    asked, remarks = questions(sheet(times=("2mo", "5yr")), config())
    assert remarks == []
    assert [(one.timepoint, one.formula, one.asked) for one in asked] == [
        ("2mo", "~ group + batch", ["group: R vs NR"]),
        ("5yr", "~ group + batch", ["group: R vs NR"]),
        ("", "~ timepoint", ["timepoint: 5yr vs 2mo"]),
        ("", "~ group * timepoint", "group[R]:timepoint[5yr]"),
    ]
    assert all(one.notes == () for one in asked)
    assert asked[0].text == "R vs NR at 2mo, 8 patients, ~ group + batch"


def test_three_groups_are_compared_each_with_each_and_six_with_the_first():
    assert questions(sheet(("HD", "NR", "R")), config())[0][0].contrast == (
        "group: NR vs HD", "group: R vs HD", "group: R vs NR",
    )  # fmt: skip
    [one] = questions(sheet(tuple("ABCDEF")), config())[0]
    assert one.contrast == tuple(f"group: {letter} vs A" for letter in "BCDEF")


def test_more_times_are_compared_with_the_first_or_as_the_settings_say():
    samples = sheet(("R",), times=("2mo", "1yr", "5yr"))
    [one] = questions(samples, config())[0]
    assert one.contrast == ("timepoint: 1yr vs 2mo", "timepoint: 5yr vs 2mo")
    [one] = questions(samples, config(compare={"reference": "1yr", "against": "5yr"}))[0]
    assert one.contrast == ("timepoint: 5yr vs 1yr",)
    assert questions(samples, config(compare={"reference": "3yr"}))[0] == []


def test_a_batch_that_is_the_group_is_left_out_and_said():
    samples = sheet()
    samples["batch"] = samples["group"].map({"NR": "May", "R": "June"})
    [one] = questions(samples, config())[0]
    assert one.formula == "~ group"
    assert one.notes == ("batch is not in the model: the batches do not link what is compared",)
    found = confounding_table(samples)
    assert found.loc[found["factor"] == "group", "verdict"].tolist() == ["aliased"]
    table = tabulated(samples)[0]["abundance"]
    assert table["note"].str.contains("batch is not in the model").all()


def test_a_batch_that_is_not_known_everywhere_is_left_out():
    samples = sheet()
    samples.loc[2, "batch"] = ""
    [one] = questions(samples, config())[0]
    assert one.formula == "~ group"
    assert "the batch of NR2_2mo is not known" in one.notes[0]


def test_a_batch_for_which_there_are_too_few_samples_is_left_out():
    samples = sheet(n=2).iloc[:3]
    samples = samples.assign(batch=["x", "y", "y"])
    [one] = questions(samples, config())[0]
    assert one.formula == "~ group"
    assert "3 samples are too few" in one.notes[0]


def test_samples_without_a_group_are_left_out_and_named():
    samples = sheet()
    samples.loc[0, "group"] = ""
    [one] = questions(samples, config())[0]
    assert one.notes == ("no group in the sheet, left out: NR0_2mo",)
    assert "NR0_2mo" not in set(one.sheet["sample_id"])


def test_groups_of_one_patient_are_not_tested():
    asked, remarks = questions(sheet(n=1), config())
    assert asked == []
    assert "have one patient each" in remarks[0]


def test_groups_tied_to_time_are_found():
    samples = sheet(times=("2mo", "5yr"))
    samples = samples[(samples["group"] == "R") == (samples["timepoint"] == "5yr")].reset_index(drop=True)
    asked, remarks = questions(samples, config())
    assert asked == []
    assert remarks[0] == "At 2mo there is only the group NR: groups are not compared there."
    first = confounding_table(samples).iloc[0]
    assert (first["factor"], first["batch"], first["verdict"]) == ("group", "timepoint", "aliased")


def test_one_patient_asks_nothing():
    samples = sheet(("R",), n=1, times=("2mo", "5yr"))
    assert questions(samples, config()) == ([], [])
    found, remarks = tabulated(samples)
    assert found.keys() == {"confounding", "batches"}
    assert found["batches"].empty
    assert remarks == []


def test_negative_controls_are_no_patients():
    samples = sheet(n=2)
    samples.loc[0, "role"] = "negative_control"
    [one] = questions(samples, config())[0]
    assert len(one.sheet) == 3


def test_a_stated_formula_is_taken_as_it_is():
    samples = sheet().assign(age=np.arange(8.0))
    [one] = questions(samples, config(cohort={"formula": "~ group + age", "contrast": "R vs NR"}))[0]
    assert (one.formula, one.asked, one.timepoint) == ("~ group + age", "R vs NR", "2mo")
    with pytest.raises(ParameterError, match="'weight', which the sheet does not have"):
        designed(questions(samples, config(cohort={"formula": "~ group + weight"}))[0][0])


# which rows come out


def test_rows_are_those_of_tl_on_the_same_counts():
    samples = sheet()
    adata, tables = study(samples)
    found = cohort_tables(samples, adata, tables, config(), method="phenograph")[0]
    direct = tl.abundance(tables["clusters"], samples, formula="~ group + batch", contrast="group: R vs NR")
    rows = found["abundance"].query("of == 'phenograph'").reset_index(drop=True)
    pd.testing.assert_frame_equal(rows[direct.columns], direct)
    assert rows.loc[rows["cluster"] == "1", "effect"].item() == pytest.approx(1.0, abs=0.35)
    assert set(found["abundance"]["of"]) == {"CAR-T of CD45+", "subsets", "phenograph"}
    assert (found["abundance"]["unit"] == "patient").all()
    assert found["abundance"]["p_minimum"].notna().all()


def test_patients_are_rows_of_comparisons_with_all_columns_that_are_promised():
    samples = sheet(n=5)
    rows = tabulated(samples)[0]["patients"]
    assert list(rows.columns[:22]) == list(SCHEMAS["comparisons"].always)
    assert set(rows["unit"]) == {"patient"}
    assert set(rows["comparison"]) == {"R vs NR", "car vs host"}
    groups = rows[rows["comparison"] == "R vs NR"].set_index(["compartment", "subset", "marker"])
    calls = groups["call"].unstack("marker")
    assert (calls["PD-1"] == "up").all()
    assert not calls[["Ki67", "CD7", "CD27"]].isin(["up", "down"]).any(axis=None)
    row = groups.loc[("car", "all", "PD-1")]
    assert (row["n_patients_a"], row["n_patients_b"], row["n_cells_a"], row["n_cells_b"]) == (5, 5, 300, 300)
    assert row["effect"] == pytest.approx(1.0, abs=0.1)
    assert row["cliffs_delta"] == 1.0
    assert row["median_b"] - row["median_a"] == pytest.approx(row["effect"], abs=0.05)
    beside = rows[rows["comparison"] == "car vs host"]
    assert set(beside["subset"]) == {"CD4", "CD8", "DN"}
    assert (beside["p_minimum"] == 2 / 2**10).all()
    assert not beside["call"].isin(["up", "down"]).any()


def test_effects_are_near_a_t_test_of_the_patients_medians():
    samples = sheet(n=6).drop(columns="batch")
    adata, tables = study(samples)
    rows = cohort_tables(samples, adata, tables, config(), method=None)[0]["patients"]
    row = rows.query("compartment == 'host' and subset == 'all' and marker == 'PD-1'").iloc[0]
    host = adata[adata.obs["compartment"] == "host"]
    medians = (
        pd.Series(host[:, "PD-1"].X.ravel(), host.obs["sample_id"].astype(str)).groupby(level=0).median()
    )
    r, nr = (medians[medians.index.str.startswith(group)] for group in ("R", "NR"))
    plain = ttest_ind(r, nr).confidence_interval(0.95)
    assert row["effect"] == pytest.approx(r.mean() - nr.mean(), abs=1e-6)
    # Moderation borrows from the other markers: near, not the same.
    assert row["effect_high"] - row["effect_low"] == pytest.approx(plain.high - plain.low, rel=0.5)


def test_three_against_three_patients_call_nothing():
    rows = tabulated(sheet(n=3))[0]["patients"]
    groups = rows[rows["comparison"] == "R vs NR"]
    assert (groups["p_minimum"] > 0.05).all()
    assert (groups["p_adjusted"] <= 0.05).any()
    assert not groups["call"].isin(["up", "down"]).any()


def test_time_is_tested_within_patients():
    rows = tabulated(sheet(("R",), n=6, times=("2mo", "5yr")))[0]["patients"]
    over = rows[rows["comparison"] == "5yr vs 2mo"].set_index(["compartment", "subset", "marker"])
    assert over.loc[("car", "all", "Ki67"), "call"] == "up"
    assert over.loc[("car", "all", "Ki67"), "effect"] == pytest.approx(0.6, abs=0.1)
    assert (over["p_minimum"] == 2 / 2**6).all()


def test_the_change_of_groups_is_a_difference_of_differences_of_patients():
    samples = sheet(n=5, times=("2mo", "5yr")).drop(columns="batch")
    adata, tables = study(samples)
    late = adata.obs["sample_id"].astype(str).str.fullmatch("R._5yr").to_numpy()
    adata.X[late, 2] += 0.8
    rows = cohort_tables(samples, adata, tables, config(), method=None)[0]["patients"]
    name = "change from 2mo to 5yr, R vs NR"
    found = rows[rows["comparison"] == name].set_index(["compartment", "subset", "marker"])
    row = found.loc[("car", "all", "CD7")]
    cars = adata[adata.obs["compartment"] == "car"]
    medians = pd.Series(cars[:, "CD7"].X.ravel(), cars.obs["sample_id"].astype(str)).groupby(level=0).median()
    change = {
        patient: medians[f"{patient}_5yr"] - medians[f"{patient}_2mo"]
        for patient in samples["patient_id"].unique()
    }
    r, nr = (np.mean([change[f"{group}{i}"] for i in range(5)]) for group in ("R", "NR"))
    assert row["effect"] == pytest.approx(r - nr, abs=1e-5)
    assert (row["group_a"], row["group_b"], row["n_patients_a"], row["n_patients_b"]) == ("NR", "R", 5, 5)
    assert row["p_minimum"] == pytest.approx(2 / 252)
    assert row["call"] == "up"
    # Ki67 rises by as much in both groups, PD-1 is higher in R at both times.
    assert not found.loc[("car", "all", ["PD-1", "Ki67"]), "call"].isin(["up", "down"]).any()


@pytest.mark.parametrize("car", [True, False])
def test_tables_of_patients_keep_their_schemas(car, schema_faults, tmp_path):
    samples = sheet(n=3).assign(batch=["x", "y"] * 3)
    found = tabulated(samples, car=car)[0]
    found["comparisons"] = found.pop("patients")
    for name, frame in found.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        written = pd.read_csv(tmp_path / f"{name}.csv", dtype=str, keep_default_na=False)
        assert schema_faults(name, written) == []
    assert set(found) >= {"abundance", "state", "confounding", "batches", "comparisons"}


def test_a_cohort_without_car_cells_has_clusters_and_all_cells():
    found = tabulated(sheet(("HD", "NR", "R"), n=3), car=False)[0]
    assert set(found["abundance"]["of"]) == {"phenograph"}
    assert set(found["abundance"]["contrast"]) == {"NR vs HD", "R vs HD", "R vs NR"}
    assert set(zip(found["patients"]["compartment"], found["patients"]["subset"], strict=True)) == {
        ("cells", "all")
    }


def test_one_sample_in_a_group_has_rows_that_say_so():
    samples = sheet(n=3)
    samples = samples[~samples["sample_id"].isin(["R1_2mo", "R2_2mo"])].reset_index(drop=True)
    found = tabulated(samples)[0]["abundance"]
    assert found["p_value"].isna().all()
    assert found["note"].str.contains("1 patient in R: no interval and no p").all()


def test_a_sample_without_cells_is_left_out_and_named():
    samples = sheet(n=3)
    adata, tables = study(samples)
    tables["clusters"] = tables["clusters"].query("sample_id != 'NR0_2mo'")
    found = cohort_tables(samples, adata, tables, config(), method="phenograph")[0]["abundance"]
    rows = found[found["of"] == "phenograph"]
    assert rows["note"].str.contains("no cells, left out: NR0_2mo").all()
    assert (rows["n_patients_a"] == 2).all()


def test_no_cells_at_all_is_a_row_that_says_why():
    samples = sheet(n=2)
    adata, tables = study(samples)
    tables["car_frequency"]["n_cd45"] = 0
    tables["car_frequency"]["n_car"] = 0
    found = cohort_tables(samples, adata, tables, config(), method="phenograph")[0]["abundance"]
    [row] = found[found["of"] == "CAR-T of CD45+"].to_dict("records")
    assert np.isnan(row["p_value"])
    assert row["note"]
    assert row["contrast"] == "R vs NR"


def test_what_changes_within_patients_in_a_stated_formula_takes_a_model_that_holds_it():
    samples = sheet(times=("2mo", "5yr"))
    found = tabulated(samples, cohort={"formula": "~ group + timepoint", "contrast": "R vs NR"})[0][
        "abundance"
    ]
    rows = found[found["of"] == "phenograph"]
    assert rows["model"].str.startswith("linear model of logits").all()
    assert rows["p_value"].notna().all()


def test_how_far_clusters_follow_the_batch_is_the_variance_between_batches():
    samples = sheet(n=4)
    rng = np.random.default_rng(3)
    rows = [
        {"sample_id": row.sample_id, "method": "flowsom", "cluster": cluster, "fraction": share}
        for row in samples.itertuples()
        for cluster, share in (
            ("2", rng.uniform(0.3, 0.5)),
            ("1", 0.4 if row.batch == "b0" else 0.01),
            ("3", 0.2),
        )
    ]
    clusters = pd.DataFrame(rows)
    found = batch_table(samples, clusters, "flowsom").set_index("cluster")
    assert list(found.index) == ["2", "1", "3"]
    assert found.loc["1", ["batch_most", "fraction_most", "batch_least", "fraction_least"]].tolist() == [
        "b0", 0.4, "b1", 0.01,
    ]  # fmt: skip
    assert found.loc["1", "explained"] == pytest.approx(1.0)
    assert np.isnan(found.loc["3", "explained"])
    wide = clusters[clusters["cluster"] == "2"].merge(samples)
    y = np.arcsin(np.sqrt(wide["fraction"]))
    groups = [part for _, part in y.groupby(wide["batch"])]
    f = f_oneway(*groups).statistic
    # R squared of a one-way layout from its F: F / (F + degrees within / degrees between).
    assert found.loc["2", "explained"] == pytest.approx(f / (f + 6.0))


@pytest.mark.parametrize("batches", [["x"] * 8, ["x"] * 7 + ["y"], [""] * 7 + ["x"]])
def test_without_two_batches_of_two_samples_nothing_is_said_of_batches(batches):
    samples = sheet(n=4).assign(batch=batches)
    clusters = pd.DataFrame(
        {"sample_id": samples["sample_id"], "method": "flowsom", "cluster": "1", "fraction": 0.5}
    )
    assert batch_table(samples, clusters, "flowsom").empty
    assert batch_table(samples.drop(columns="batch"), clusters, "flowsom").empty
