"""Differential abundance: against edgeR, designs that cannot answer, and a real cohort from FCS files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from cytocar import io, pp, tl
from cytocar._core.errors import ParameterError
from cytocar.tl._cohorts.abundance_model import Family, fit_glm
from cytocar.tl._cohorts.design import find_contrasts, make_design, smallest_p

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"cohort_{name}.csv")


def small(counts: dict[str, list[int]]) -> pd.DataFrame:
    rows = [(f"s{i}", c, n) for c, row in counts.items() for i, n in enumerate(row)]
    return pd.DataFrame(rows, columns=["sample_id", "cluster", "n"])


SHEET = pd.DataFrame(
    {
        "sample_id": [f"s{i}" for i in range(6)],
        "patient_id": [f"p{i}" for i in range(6)],
        "group": ["A"] * 3 + ["B"] * 3,
    }
)
COUNTS = {
    "1": [900, 950, 870, 800, 790, 830],
    "2": [90, 110, 100, 210, 180, 200],
    "3": [40, 55, 48, 50, 35, 61],
}


def test_negative_binomial_is_that_of_edger() -> None:
    found = tl.abundance(golden("counts"), golden("sheet"), formula="~ group + batch", contrast="R vs NR")
    wanted = golden("edger")
    assert np.abs(found["effect"] - wanted["logFC"]).max() < 1e-3
    assert spearmanr(found["p_value"], wanted["p"])[0] >= 0.999
    np.testing.assert_allclose(found["p_value"], wanted["p"], atol=2e-4)
    # The likelihood ratio test with dispersions of each cluster, which diffcyt takes
    assert np.abs(found["effect"] - wanted["lrt_logFC"]).max() < 1e-2
    assert spearmanr(found["p_value"], wanted["lrt_p"])[0] >= 0.98
    assert not ((found["p_value"] < 0.05) & (found["effect_low"] < 0) & (found["effect_high"] > 0)).any()
    assert ((found["p_value"] < 0.05) | ((found["effect_low"] < 0) & (found["effect_high"] > 0))).all()


def test_an_empty_group_leaves_the_interval_open() -> None:
    found = tl.abundance(golden("counts"), golden("sheet"), formula="~ group + batch").iloc[1]
    assert found["effect_low"] == -np.inf
    assert found["effect_low"] < found["effect"] < found["effect_high"] < 0
    assert "open on one side" in found["note"]
    assert "rests on the model" in found["note"]
    assert found["p_value"] < found["p_minimum"] == pytest.approx(2 / 20**2)


def test_binomial_is_near_the_mixed_model_of_lme4() -> None:
    found = tl.abundance(golden("counts"), golden("sheet"), formula="~ group + batch", method="binomial")
    wanted = golden("glmm").drop(1)
    apart = np.abs(found["effect"].drop(1) * np.log(2) - wanted["logit"])
    assert (apart < 0.6 * wanted["se"]).all()
    assert apart.median() < 0.1
    nb = tl.abundance(golden("counts"), golden("sheet"), formula="~ group + batch")
    assert spearmanr(found["p_value"], nb["p_value"])[0] > 0.95


@pytest.mark.parametrize("method", ["nb", "binomial", "logit", "binomial_mixed"])
def test_a_contrast_turned_round_turns_effects_round(method: str) -> None:
    one = tl.abundance(small(COUNTS), SHEET, formula="~ group", contrast="B vs A", method=method)
    back = tl.abundance(small(COUNTS), SHEET, formula="~ group", contrast=("group", "A", "B"), method=method)
    coded = tl.abundance(
        small(COUNTS), SHEET, formula="~ 0 + group", contrast={"group[B]": 1, "group[A]": -1}, method=method
    )
    np.testing.assert_allclose(one["effect"], -back["effect"], atol=1e-5)
    np.testing.assert_allclose(one["effect_low"], -back["effect_high"], atol=1e-5)
    np.testing.assert_allclose(one["effect"], coded["effect"], atol=1e-5)
    np.testing.assert_allclose(one["p_value"], coded["p_value"], atol=1e-5)
    assert one["effect"][1] == pytest.approx(1.0, abs=0.3)
    assert set(one["p_minimum"]) == {0.1}
    assert list(one["n_patients_a"]) == [3, 3, 3]


def test_samples_of_a_patient_are_added_up_between_groups_and_paired_within() -> None:
    sheet = golden("long_sheet")
    rng = np.random.default_rng(1)
    counts = pd.DataFrame(
        [(s, str(c), int(rng.poisson(200 * (c + 1)))) for s in sheet["sample_id"] for c in range(5)],
        columns=["sample_id", "cluster", "n"],
    )
    summed = counts.merge(sheet, on="sample_id").groupby(["patient_id", "cluster"], as_index=False)["n"].sum()
    summed = summed.rename(columns={"patient_id": "sample_id"})
    patients = sheet.drop_duplicates("patient_id").assign(sample_id=lambda t: t["patient_id"])
    between = tl.abundance(counts, sheet, formula="~ group")
    alone = tl.abundance(summed, patients, formula="~ group")
    np.testing.assert_allclose(between["p_value"], alone["p_value"], rtol=1e-5)
    assert set(between["n_patients"]) == {8}
    assert "made one" in between["model"].iloc[0]
    within = tl.abundance(counts, sheet, formula="~ timepoint", contrast=["t1 vs t0", "t2 vs t0"])
    assert list(within["contrast"].unique()) == ["t1 vs t0", "t2 vs t0"]
    assert "fixed block" in within["model"].iloc[0]
    with pytest.raises(ParameterError, match=r"'R vs NR' is between patients.*method 'nb'"):
        tl.abundance(counts, sheet, formula="~ group + timepoint", contrast="R vs NR")
    averaged = tl.abundance(counts, sheet, formula="~ group + timepoint", contrast="R vs NR", method="logit")
    assert averaged["p_value"].notna().all()
    for block_as, told in (("fixed", "nothing is left"), ("mixed", "block_as is 'mixed'")):
        with pytest.raises(ParameterError, match=told):
            tl.abundance(counts, sheet, formula="~ group", block_as=block_as)


def test_designs_that_cannot_answer_are_refused() -> None:
    aliased = SHEET.assign(batch=["1"] * 3 + ["2"] * 3)
    with pytest.raises(
        ParameterError, match=r"cannot answer 'B vs A': it is the same as batch\[2\].*rank 2, 3 columns"
    ):
        tl.abundance(small(COUNTS), aliased, formula="~ group + batch")
    # What is asked can be told although the design says something twice.
    doubled = SHEET.assign(site=["x", "y", "x"] * 2, ward=["u", "v", "u"] * 2)
    found = tl.abundance(small(COUNTS), doubled, formula="~ group + site + ward")
    single = tl.abundance(small(COUNTS), doubled, formula="~ group + site")
    np.testing.assert_allclose(found["p_value"], single["p_value"], rtol=1e-6)
    assert "left out of the design" in found["note"].iloc[0]
    assert "ward[v]" in found["note"].iloc[0]


def test_rows_without_a_number_say_why() -> None:
    counts = small({**COUNTS, "4": [0] * 6, "5": [1, 0, 2, 0, 0, 1]})
    found = tl.abundance(counts, SHEET, formula="~ group")
    assert found["note"][3] == "no cells in any sample"
    assert found["note"][4] == "4 cells in all samples together, fewer than 10"
    assert found["p_value"].isna().tolist() == [False, False, False, True, True]
    assert set(found["family"]) == {"3 clusters of B vs A"}
    lonely = SHEET.assign(group=["A"] * 5 + ["B"])
    found = tl.abundance(small(COUNTS), lonely, formula="~ group")
    assert set(found["note"]) == {"1 patient in B: no interval and no p"}
    assert np.isfinite(found["effect"]).all()
    assert found[["p_value", "effect_low", "effect_high"]].isna().all().all()
    empty = small({name: [*row[:5], 0] for name, row in COUNTS.items()})
    found = tl.abundance(empty, SHEET, formula="~ group")
    assert "no cells at all in s5, left out" in found["note"].iloc[0]
    assert set(found["n_patients"]) == {5}
    with pytest.raises(ParameterError, match="none of the 6 samples has a cell"):
        tl.abundance(small({"1": [0] * 6}), SHEET, formula="~ group")


@pytest.mark.parametrize("method", ["nb", "binomial", "logit", "binomial_mixed"])
def test_an_interval_of_level_one_less_p_ends_at_0(method: str) -> None:
    table, sheet = golden("counts"), golden("sheet")
    for place in (0, 3, 9):
        p = tl.abundance(table, sheet, formula="~ group + batch", method=method)["p_value"][place]
        row = tl.abundance(table, sheet, formula="~ group + batch", method=method, level=1 - p).iloc[place]
        assert min(abs(row["effect_low"]), abs(row["effect_high"])) < 1e-3


@pytest.mark.parametrize("method", ["nb", "binomial"])
def test_an_end_without_limit_is_infinite(method: str) -> None:
    found = tl.abundance(
        small({"1": [0, 0, 0, 60, 80, 90], "2": [500] * 6}), SHEET, formula="~ group", method=method
    )
    assert found["effect_high"][0] == np.inf
    assert 0 < found["effect_low"][0] < found["effect"][0] < 15


def test_the_smallest_p_of_a_design() -> None:
    pairs = pd.DataFrame({"patient_id": list("aabbcd"), "timepoint": ["t0", "t1"] * 3}).assign(
        sample_id=[f"s{i}" for i in range(6)]
    )

    def smallest(sheet: pd.DataFrame, formula: str, **more: object) -> float:
        return tl.abundance(small(COUNTS), sheet, formula=formula, **more)["p_minimum"].iloc[0]

    assert smallest(SHEET, "~ group") == pytest.approx(2 / 20)
    assert smallest(SHEET.assign(flag=[True, False] * 3), "~ group + flag") == pytest.approx(2 / 9)
    assert smallest(SHEET.assign(age=[1.0, 2, 3, 4, 5, 6]), "~ age") == pytest.approx(2 / 720)
    assert smallest(SHEET, "~ group", contrast={"group[B]": 1}) == pytest.approx(2 / 20)
    assert smallest(pairs, "~ timepoint") == pytest.approx(2 / 4)
    assert smallest(pairs, "~ timepoint + patient") == pytest.approx(2 / 4)
    five = pd.DataFrame({"patient_id": list("aabbccddee"), "timepoint": ["t0", "t1"] * 5})
    five["sample_id"] = [f"s{i}" for i in range(10)]
    counts = small({name: row + row[:4] for name, row in COUNTS.items()})
    found = tl.abundance(counts, five, formula="~ timepoint")
    # the smallest p of the signed rank test of five pairs
    assert found["p_minimum"].iloc[0] == pytest.approx(0.0625)


@pytest.mark.parametrize("within", [False, True])
def test_the_smallest_p_of_very_many_patients_is_zero(within: bool) -> None:
    n = 1200
    sheet = pd.DataFrame({"sample_id": [f"s{i}" for i in range(2 * n)]})
    sheet["patient_id"] = [f"p{i // 2 if within else i}" for i in range(2 * n)]
    sheet["timepoint" if within else "group"] = ["a", "b"] * n
    design = make_design(sheet, "~ timepoint" if within else "~ group")
    (contrast,) = find_contrasts(design, "b vs a")
    assert smallest_p(design, contrast, "patient_id" if within else None) == 0.0


@pytest.mark.parametrize("kind", ["nb", "binomial"])
def test_fits_of_counts_are_those_of_statsmodels(kind: str) -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(8)
    x = np.column_stack([np.ones(16), np.arange(16) % 2, np.arange(16) // 2 % 3]).astype(float)
    totals = rng.integers(20_000, 200_000, 16).astype(float)
    share = 10 ** rng.uniform(-3, -0.7, 12)
    y = rng.binomial(totals.astype(int), share[:, None] * np.exp(0.3 * rng.normal(size=(12, 16)))).astype(
        float
    )
    spread = (share * (1 - share))[:, None]
    family = Family(kind, totals, 0.25, spread)
    offset = np.log(totals) if kind == "nb" else np.zeros(16)
    ours = fit_glm(y, x, offset, family)
    for g in range(12):
        if kind == "nb":
            model = sm.GLM(y[g], x, family=sm.families.NegativeBinomial(alpha=0.25), offset=offset)
        else:
            model = sm.GLM(
                y[g] / totals, x, family=sm.families.Binomial(), var_weights=totals / family.inflation()[g]
            )
        theirs = model.fit(tol=1e-12, maxiter=200)
        np.testing.assert_allclose(ours.beta[g], theirs.params, atol=1e-4)
        assert ours.deviance[g] == pytest.approx(theirs.deviance, rel=1e-7)


def test_one_patient_is_no_cohort() -> None:
    sheet = pd.DataFrame(
        {"sample_id": [f"s{i}" for i in range(6)], "patient_id": "a", "timepoint": ["t0", "t1"] * 3}
    )
    found = tl.abundance(small(COUNTS), sheet, formula="~ timepoint")
    assert set(found["note"]) == {"1 patient with both t0 and t1: no interval and no p"}
    assert set(found["p_minimum"]) == {1.0}
    assert found["p_value"].isna().all()


def test_one_cluster_that_grows_does_not_pull_the_others_down_in_ratios() -> None:
    counts = {str(c): [1000 + 7 * c, 1030, 980, 1010, 990 + c, 1005] for c in range(6)}
    counts["big"] = [2000, 2100, 1950, 16000, 15000, 17000]
    share = tl.abundance(small(counts), SHEET, formula="~ group")
    ratio = tl.abundance(small(counts), SHEET, formula="~ group", composition="ratio")
    assert (share["effect"][:6] < -1).all()
    assert np.abs(ratio["effect"][:6]).max() < 0.1
    assert ratio["effect"][6] == pytest.approx(3, abs=0.1)
    assert set(ratio["effect_unit"]) == {"log2 ratio to the median cluster"}
    logs = tl.abundance(small(counts), SHEET, formula="~ group", composition="ratio", method="logit")
    np.testing.assert_allclose(logs["effect"], ratio["effect"], atol=0.03)
    assert set(logs["effect_unit"]) == {"log2 ratio to the median cluster"}
    assert logs["model"].iloc[0] == "linear model of log ratios, ~ group"
    with pytest.raises(ParameterError, match="is for method='nb' and 'logit'; method is 'binomial'"):
        tl.abundance(small(counts), SHEET, formula="~ group", composition="ratio", method="binomial")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"contrast": "C vs A"}, "no column of the formula has both levels"),
        ({"contrast": ("group", "C", "A")}, "group has no level 'C'"),
        ({"contrast": "grup"}, "did you mean 'group'"),
        ({"contrast": {"group": 1}}, "coefficient 'group'"),
        ({"contrast": [1.0, 2.0, 3.0]}, "contrast has 3 weights"),
        ({"formula": "~ groups"}, "names 'groups'.*did you mean 'group'"),
        ({"formula": None}, "either formula"),
        ({"method": "poisson"}, "method is 'poisson'"),
        ({"composition": "all"}, "composition is 'all'"),
        ({"block": "person"}, "block is 'person'"),
        ({"level": 1.0}, "level is 1.0"),
        ({"min_cells": 0}, "min_cells is 0"),
        (
            {"samples": SHEET.assign(group=["A", None, "B", "A", "B", "B"])},
            "'group' of the sheet is empty for s1",
        ),
        ({"samples": SHEET.assign(group="A")}, "all samples have group = A"),
        ({"samples": pd.concat([SHEET, SHEET[:1]])}, "'s0' in more than one row"),
        (
            {"samples": SHEET.assign(sample_id=["x", *SHEET["sample_id"][1:]])},
            "names x, which the data do not have",
        ),
        ({"data": small(COUNTS).assign(n=1.5)}, "n is 1.5 for cluster 1 of sample s0"),
        ({"data": small(COUNTS).assign(n=np.nan)}, "n is nan"),
        ({"data": small(COUNTS).assign(method=["a", "b"] * 9)}, r"several methods \(a, b\)"),
        ({"data": small(COUNTS).assign(total=5)}, "of a total of 5"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], told: str) -> None:
    asked = {"data": small(COUNTS), "samples": SHEET, "formula": "~ group", **change}
    with pytest.raises(ParameterError, match=told):
        tl.abundance(asked.pop("data"), asked.pop("samples"), **asked)


def test_a_real_cohort_from_fcs_files(test_data: Path) -> None:
    import anndata

    folder = test_data / "cohort"
    meta = pd.read_csv(folder / "Metadata.csv")
    meta = meta[meta["group"] != "HD"].rename(columns={"donor_id": "patient_id"})
    meta["sample_id"] = meta["patient_id"]
    parts, antigens = [], None
    for row in meta.itertuples():
        panel = pd.read_csv(folder / f"PanelInfo_{row.batch}_Panel3.csv").set_index("channel")["antigen"]
        cells = io.read_fcs(folder / row.file_name, sample_id=row.sample_id)
        cells = cells[:, cells.var["channel"].isin(panel.index).to_numpy()].copy()
        cells.var_names = [panel[channel] for channel in cells.var["channel"]]
        antigens = antigens or sorted(cells.var_names)
        cells = cells[:, antigens].copy()
        parts.append(anndata.AnnData(cells.X, obs=cells.obs[["sample_id"]], var=cells.var[["channel"]]))
    for i, part in enumerate(parts):
        part.obs_names = [f"{i}:{name}" for name in part.obs_names]
    cells = anndata.concat(parts, merge="first")
    cells.uns["cytocar"] = {"state": "counts"}
    pp.arcsinh(cells, cofactor=5)
    tl.flowsom(cells, markers=antigens, metaclusters=10, seed=0)
    found = tl.abundance(cells, meta, formula="~ group + batch", contrast="R vs NR")
    assert set(found["unit"]) == {"patient"}
    assert set(found["n_patients_a"]) == {9}
    assert set(found["n_patients_b"]) == {11}
    assert found["p_minimum"].iloc[0] == pytest.approx(2 / (252 * 210))
    numbers = ["effect", "effect_low", "effect_high", "p_value", "p_adjusted"]
    assert (found[numbers].notna().all(axis=1) | (found["note"] != "")).all()
    assert found["p_value"].notna().sum() >= 8
    logit = tl.abundance(cells, meta, formula="~ group + batch", contrast="R vs NR", method="binomial")
    known = found["p_value"].notna()
    assert spearmanr(found["effect"][known], logit["effect"][known])[0] > 0.8
    by_batch = tl.abundance(cells, meta, formula="~ batch + group", contrast="batch")
    state = tl.state(cells, meta, formula="~ group + batch", contrast="R vs NR", markers=antigens)
    assert len(state) == len(found) * len(antigens)
    assert (state["p_value"].notna() | (state["note"] != "")).all()
    assert by_batch["contrast"].iloc[0] == "Data29 vs Data23"
    verdict = tl.confounding(meta)
    assert list(verdict["verdict"]) == ["balanced"]
