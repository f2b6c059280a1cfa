"""Differential state: against limma, and what happens where there is no number."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import tl
from cytocar._core.errors import ParameterError, StateError
from cytocar.tl._cohorts.design import make_design, read_formula
from cytocar.tl._cohorts.moderated import fit_prior, trigamma_inverse

GOLDEN = Path(__file__).parent / "golden"
PAIRS = (
    ("effect", "effect"),
    ("effect_low", "low"),
    ("effect_high", "high"),
    ("statistic", "t"),
    ("df", "df"),
    ("p_value", "p"),
)


def golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"cohort_{name}.csv")


def same_as_limma(found: pd.DataFrame, name: str, tolerance: float) -> None:
    wanted = golden(name)
    for ours, theirs in PAIRS:
        np.testing.assert_allclose(found[ours], wanted[theirs], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("weights", ["none", "cells"])
def test_moderated_t_is_that_of_limma(weights: str) -> None:
    found = tl.state(
        golden("medians"), golden("sheet"), formula="~ group + batch", weights=weights, contrast="R vs NR"
    )
    same_as_limma(found, f"limma_{weights}", 1e-9)
    assert set(found["unit"]) == {"patient"}
    # 3 NR and 3 R in each of two batches
    assert found["p_minimum"].iloc[0] == pytest.approx(2 / 20**2)


@pytest.mark.parametrize(
    ("formula", "words"), [("~ timepoint", "fixed"), ("~ timepoint + patient", "+ patient")]
)
def test_three_timepoints_with_the_patient_as_fixed_block(formula: str, words: str) -> None:
    found = tl.state(
        golden("long_medians"), golden("long_sheet"), formula=formula, contrast="t2 vs t0", weights="none"
    )
    same_as_limma(found, "limma_fixed", 1e-9)
    assert words in found["model"].iloc[0]
    assert found["p_minimum"].iloc[0] == 2 / 2**8
    assert set(found["n_patients"]) == {8}
    assert set(found["n_samples"]) == {24}


def test_the_patient_as_random_block_is_duplicate_correlation() -> None:
    found = tl.state(
        golden("long_medians"),
        golden("long_sheet"),
        formula="~ group + timepoint",
        contrast="R vs NR",
        weights="none",
        block_as="random",
    )
    same_as_limma(found, "limma_random", 1e-6)
    assert f"correlation {golden('limma_random')['rho'].iloc[0]:.2f}" in found["model"].iloc[0]


def test_between_patients_the_unit_is_the_patient() -> None:
    medians, sheet = golden("long_medians"), golden("long_sheet")
    averaged = tl.state(medians, sheet, formula="~ group + timepoint", contrast="R vs NR", weights="none")
    # The oracle: one mean a patient, then the same test with one sample a patient.
    means = medians.merge(sheet, on="sample_id").groupby(["patient_id", "cluster", "marker"], as_index=False)
    means = means.agg({"median": "mean", "n": "sum"}).rename(columns={"patient_id": "sample_id"})
    patients = sheet.drop_duplicates("patient_id").assign(sample_id=lambda t: t["patient_id"])
    alone = tl.state(means, patients, formula="~ group", weights="none")
    merged = averaged.assign(cluster=averaged["cluster"].astype(int)).merge(
        alone.assign(cluster=alone["cluster"].astype(int)), on="cluster", suffixes=("", "_alone")
    )
    assert len(merged) == 40
    for column in ("effect", "effect_low", "effect_high", "p_value", "df"):
        np.testing.assert_allclose(merged[column], merged[f"{column}_alone"], rtol=1e-9)
    pooled = tl.state(medians, sheet, formula="~ group", weights="none")
    np.testing.assert_allclose(pooled["p_value"], averaged["p_value"], rtol=1e-9)
    assert "averaged over patient_id" in averaged["model"].iloc[0]
    assert averaged["p_minimum"].iloc[0] == pytest.approx(2 / 70)


def test_samples_that_are_missing_in_one_row_change_only_that_row_of_an_average() -> None:
    medians, sheet = golden("long_medians"), golden("long_sheet")
    gone = medians.copy()
    gone.loc[(gone["cluster"] == 7) & (gone["sample_id"] == "l3"), "median"] = np.nan
    found = tl.state(gone, sheet, formula="~ group + timepoint", contrast="R vs NR", weights="none")
    whole = tl.state(medians, sheet, formula="~ group + timepoint", contrast="R vs NR", weights="none")
    np.testing.assert_allclose(found["effect"].drop(6), whole["effect"].drop(6), rtol=1e-12)
    assert found["effect"][6] != whole["effect"][6]
    assert np.isfinite(found["p_value"][6])
    assert found["n_samples"][6] == 23
    # The oracle: means of what is there, of values and of the design alike.
    row = gone[gone["cluster"] == 7].merge(sheet, on="sample_id").dropna(subset="median")
    row = row.assign(one=1.0, r=row["group"] == "R", t1=row["timepoint"] == "t1", t2=row["timepoint"] == "t2")
    means = row.groupby("patient_id")[["median", "one", "r", "t1", "t2"]].mean()
    x = means[["one", "r", "t1", "t2"]].to_numpy(float)
    assert found["effect"][6] == pytest.approx(
        np.linalg.lstsq(x, means["median"], rcond=None)[0][1], rel=1e-9
    )


def test_rows_without_a_number_say_why() -> None:
    medians, sheet = golden("medians"), golden("sheet")
    medians.loc[medians["cluster"] == 1, "n"] = 3
    medians.loc[medians["cluster"] == 2, "median"] = 0.0
    few = (medians["cluster"] == 3) & medians["sample_id"].isin(["s7", "s8", "s9", "s10", "s11"])
    medians.loc[few, "median"] = np.nan
    gone = (medians["cluster"] == 4) & medians["sample_id"].isin([f"s{i}" for i in range(7, 13)])
    medians.loc[gone, "n"] = 0
    found = tl.state(medians, sheet, formula="~ group")
    notes = found["note"]
    assert notes[0] == "no sample has 10 cells in this cluster"
    assert notes[1] == "the median is 0 in all 12 samples: no variance to judge by"
    assert notes[2] == "1 patient in R: no interval and no p"
    assert np.isfinite(found["effect"][2])
    assert notes[3] == "the samples with enough cells cannot tell the groups apart"
    silent = found["p_value"].isna()
    assert silent.sum() == 4
    assert (notes[silent] != "").all()
    assert found["family"][5] == "36 clusters and markers of R vs NR"
    assert (
        found.loc[~silent, ["effect", "effect_low", "effect_high", "p_value", "p_adjusted"]]
        .notna()
        .all()
        .all()
    )


def test_a_fit_without_error_gets_no_p() -> None:
    medians, sheet = golden("medians"), golden("sheet")
    exact = medians["sample_id"].map(sheet.set_index("sample_id")["group"] == "R").astype(float) + 1.0
    medians["median"] = medians["median"].where(medians["cluster"] > 1, exact)
    found = tl.state(medians, sheet, formula="~ group", weights="none")
    assert found["effect"][0] == pytest.approx(1.0)
    assert found["note"][0] == "no residual variance: 12 patients for 2 coefficients, no interval and no p"
    assert found["p_value"].isna().sum() == 1


def test_medians_of_cells_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(3)
    n = 1200
    obs = pd.DataFrame(
        {
            "sample_id": [f"s{i % 8}" for i in range(n)],
            "patient_id": [f"p{i % 8}" for i in range(n)],
            "group": ["A" if i % 8 < 4 else "B" for i in range(n)],
            "flowsom": rng.choice(["1", "2"], n),
        },
        index=[str(i) for i in range(n)],
    )
    var = pd.DataFrame({"marker_class": ["type", "state"], "role": "marker"}, index=["CD4", "PD-1"])
    cells = anndata.AnnData(rng.normal(2, 1, (n, 2)).astype("float32"), obs=obs, var=var)
    with pytest.raises(StateError, match="does not say whether X holds"):
        tl.state(cells, formula="~ group")
    cells.uns["cytocar"] = {"state": "arcsinh"}
    before = cells.X.copy()
    found = tl.state(cells, formula="~ group", weights="none")
    assert list(found["marker"]) == ["PD-1", "PD-1"]
    for row in found.itertuples():
        for group, value in (("A", row.value_a), ("B", row.value_b)):
            medians = [
                np.median(cells.X[((obs["sample_id"] == s) & (obs["flowsom"] == row.cluster)).to_numpy(), 1])
                for s in sorted(set(obs.loc[obs["group"] == group, "sample_id"]))
            ]
            assert value == pytest.approx(np.mean(medians))
    assert found["effect"].to_numpy() == pytest.approx((found["value_b"] - found["value_a"]).to_numpy())
    assert list(tl.state(cells, formula="~ group", markers=["CD4", "pd1"])["marker"]) == ["CD4", "PD-1"] * 2
    np.testing.assert_array_equal(cells.X, before)


def test_automatic_weights_follow_the_error_of_the_medians() -> None:
    rng = np.random.default_rng(5)
    samples = [f"s{i}" for i in range(12)]
    sheet = pd.DataFrame({"sample_id": samples, "group": ["A", "B"] * 6})
    n = np.array([15, 3000] * 3 + [3000, 15] * 3)

    def drawn(between: float, within: float) -> pd.DataFrame:
        rows = [
            (s, str(c), "m", rng.normal(0, np.hypot(between, within / np.sqrt(k))), k)
            for c in range(60)
            for s, k in zip(samples, n, strict=True)
        ]
        return pd.DataFrame(rows, columns=["sample_id", "cluster", "marker", "median", "n"])

    assert "equal weights" in tl.state(drawn(0.3, 0.0), sheet, formula="~ group")["model"].iloc[0]
    counting = tl.state(drawn(1e-3, 1.0), sheet, formula="~ group")["model"].iloc[0]
    assert "weights n," in counting or "1000" in counting


def test_markers_of_a_table_go_by_any_name_of_the_antigen() -> None:
    medians, sheet = golden("medians"), golden("sheet")
    medians["marker"] = medians["marker"].replace({"m": "CD279"})
    expected = tl.state(medians, sheet, formula="~ group", markers="CD279")
    pd.testing.assert_frame_equal(tl.state(medians, sheet, formula="~ group", markers="PD-1"), expected)


def test_settings_that_make_no_sense() -> None:
    medians, sheet = golden("medians"), golden("sheet")
    with pytest.raises(ParameterError, match=r"weights is 'cell'.*'cells'"):
        tl.state(medians, sheet, formula="~ group", weights="cell")
    with pytest.raises(ParameterError, match="level is 95"):
        tl.state(medians, sheet, formula="~ group", level=95)
    with pytest.raises(ParameterError, match="'Q' is not a marker of the table"):
        tl.state(medians, sheet, formula="~ group", markers="Q")
    with pytest.raises(ParameterError, match="m of cluster 1 in sample s1 more than once"):
        tl.state(pd.concat([medians, medians[:1]]), sheet, formula="~ group")
    with pytest.raises(ParameterError, match="needs samples"):
        tl.state(medians, formula="~ group")


def test_formulas() -> None:
    assert read_formula("~ a*b - 1") == (False, (("a",), ("b",), ("a", "b")))
    assert read_formula("~1 + a + a") == (True, (("a",),))
    assert read_formula("~ a:b:c + d") == (True, (("d",), ("a", "b", "c")))
    for wrong, told in (
        ("group", "start with ~"),
        ("~ a + (b)", r"'\(b\)'"),
        ("~ a - b", "'b' away"),
        ("~ 0", "no term"),
    ):
        with pytest.raises(ParameterError, match=told):
            read_formula(wrong)


def test_a_design_is_treatment_coded_with_levels_in_their_order() -> None:
    sheet = pd.DataFrame(
        {
            "sample_id": list("abcdef"),
            "timepoint": ["12mo", "2mo", "pre"] * 2,
            "months": [12.0, 2.0, -1.0] * 2,
            "dose": ["d10", "d9", "d10", "d9", "d9", "d10"],
            "age": [1.0, 2, 3, 4, 5, 6],
        }
    )
    made = make_design(sheet, "~ timepoint + dose + age")
    assert made.columns == ("Intercept", "timepoint[2mo]", "timepoint[12mo]", "dose[d10]", "age")
    np.testing.assert_array_equal(made.matrix[0], [1, 0, 1, 1, 1])
    assert make_design(sheet, "~ 0 + dose").columns == ("dose[d9]", "dose[d10]")
    crossed = make_design(sheet, "~ dose * age")
    np.testing.assert_array_equal(crossed.matrix[:, 3], sheet["age"] * (sheet["dose"] == "d10"))
    assert crossed.columns == ("Intercept", "dose[d10]", "age", "dose[d10]:age")


def test_the_prior_of_variances_that_are_all_the_same_is_certain() -> None:
    same = fit_prior(np.full(20, 0.3), np.full(20, 8.0))
    assert np.isinf(same.df)
    assert same.variance == pytest.approx(0.3)
    rng = np.random.default_rng(0)
    scale = 0.5 / (rng.chisquare(6, 200_000) / 6)
    drawn = fit_prior(scale * rng.chisquare(8, 200_000) / 8, np.full(200_000, 8.0))
    assert drawn.df == pytest.approx(6, rel=0.02)
    assert drawn.variance == pytest.approx(0.5, rel=0.01)
    from scipy.special import polygamma

    for x in (1e-8, 1e-3, 0.1, 1.0, 30.0, 1e8):
        assert float(polygamma(1, trigamma_inverse(x))) == pytest.approx(x, rel=1e-6)
