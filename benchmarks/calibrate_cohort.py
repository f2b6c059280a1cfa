"""How often `tl.abundance` and `tl.state` are wrong where nothing differs, and how often they find what does.

Run ``python benchmarks/calibrate_cohort.py``: about four minutes. Five patients against five; each has its own logits
of 15 clusters (SD 0.5) and its own medians (SD 0.15 to 0.35 arcsinh units a marker), and files of 800 to 15,000 cells.
With three visits a patient, those vary by half as much. Wanted: false positives from 3 to 7 % at 0.05, coverage of the
95 % intervals from 93 to 97 %. docs/calibration.md holds what it printed.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

from cytocar import tl

SHARES = np.array([25, 18, 14, 10, 8, 6, 5, 4, 3, 2.5, 1.5, 1.2, 0.8, 0.6, 0.4]) / 100.0
CHANGED = {2: 1.0, 8: 1.5, 12: -1.5}
"""Clusters whose logits differ between the groups where something does, and by how much."""
STATE_EFFECT = 0.5
SD_PATIENT = 0.5


def sheet_of(patients: int, visits: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return a sheet of two groups of `patients` with `visits` samples each."""
    rows = [
        {"patient_id": f"{group}{i}", "group": group, "timepoint": f"t{v}", "sample_id": f"{group}{i}t{v}"}
        for group in ("NR", "R")
        for i in range(patients)
        for v in range(visits)
    ]
    sheet = pd.DataFrame(rows)
    sheet["cells"] = np.exp(rng.uniform(np.log(800), np.log(15_000), len(sheet))).astype(int)
    return sheet


def counts_of(sheet: pd.DataFrame, planted: float, rng: np.random.Generator) -> pd.DataFrame:
    """Draw counts: logits vary between patients, and by half as much between samples of one patient."""
    patients = {name: rng.normal(0, SD_PATIENT, len(SHARES)) for name in sheet["patient_id"].unique()}
    rows = []
    repeated = sheet["patient_id"].duplicated().any()
    for sample in sheet.itertuples():
        logit = np.log(SHARES) + patients[sample.patient_id]
        if repeated:
            logit = logit + rng.normal(0, SD_PATIENT / 2, len(SHARES))
        for cluster, effect in CHANGED.items():
            logit[cluster] += planted * effect * (sample.group == "R")
        share = np.exp(logit) / np.exp(logit).sum()
        drawn = rng.multinomial(sample.cells, share)
        rows += [(sample.sample_id, str(c), n) for c, n in enumerate(drawn)]
    return pd.DataFrame(rows, columns=["sample_id", "cluster", "n"])


def medians_of(
    sheet: pd.DataFrame, counts: pd.DataFrame, planted: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw medians of four markers a cluster: the patient's own mean, then the error of a median of n cells of SD 1."""
    found = []
    of = sheet.set_index("sample_id")
    repeated = sheet["patient_id"].duplicated().any()
    for marker in range(4):
        sd = 0.15 + 0.05 * rng.integers(0, 5, len(SHARES))
        own = {name: rng.normal(0, sd) for name in of["patient_id"].unique()}
        for row in counts.itertuples():
            cluster = int(row.cluster)
            value = own[of.at[row.sample_id, "patient_id"]][cluster]
            value += rng.normal(0, 0.1) * repeated + rng.normal(0, 1.2533 / np.sqrt(max(row.n, 1)))
            value += planted * STATE_EFFECT * (of.at[row.sample_id, "group"] == "R") * (marker == 0)
            found.append((row.sample_id, row.cluster, f"m{marker}", value, row.n))
    return pd.DataFrame(found, columns=["sample_id", "cluster", "marker", "median", "n"])


def truth_of(table: pd.DataFrame, planted: float, state: bool) -> np.ndarray:
    """Return the true effect of each row: arcsinh units, or logits in powers of two."""
    if state:
        return planted * STATE_EFFECT * (table["marker"] == "m0").to_numpy(float)
    return planted * np.array([CHANGED.get(int(c), 0.0) for c in table["cluster"]]) / np.log(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=80)
    parser.add_argument("--patients", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="tests whose name starts with this")
    args = parser.parse_args()
    tests = (
        ("nb", 1, "~ group"),
        ("binomial", 1, "~ group"),
        ("logit", 1, "~ group"),
        ("nb, pooled", 3, "~ group"),
        ("logit, averaged", 3, "~ group + timepoint"),
        ("binomial_mixed", 1, "~ group"),
        ("binomial_mixed, three visits", 3, "~ group + timepoint"),
        ("state auto", 1, "~ group"),
        ("state none", 1, "~ group"),
        ("state cells", 1, "~ group"),
        ("state auto, averaged", 3, "~ group + timepoint"),
        ("state auto, random", 3, "~ group + timepoint"),
        ("state auto, mixed", 3, "~ group + timepoint"),
    )
    print(
        f"{args.cohorts} cohorts, {args.patients} against {args.patients}; nothing differs, then the planted effects"
    )
    print("test                         p < 0.05 %    +-   coverage %   found of planted %   rows   seconds")
    for name, visits, formula in (test for test in tests if test[0].startswith(args.only)):
        start = time.perf_counter()
        false, covered, found, by_cohort = [], [], [], []
        for cohort in range(args.cohorts):
            rng = np.random.default_rng([args.seed, cohort, visits])
            sheet = sheet_of(args.patients, visits, rng)
            for planted in (0.0, 1.0):
                state = name.startswith("state")
                data = counts = counts_of(sheet, 0.0 if state else planted, rng)
                if state:
                    data = medians_of(sheet, counts, planted, rng)
                    weights = name.split()[1].strip(",")
                    block_as = "random" if "random" in name else "auto"
                    method = "mixed" if "mixed" in name else "moderated"
                    table = tl.state(
                        data,
                        sheet,
                        formula=formula,
                        contrast="R vs NR",
                        weights=weights,
                        block_as=block_as,
                        method=method,
                    )
                else:
                    table = tl.abundance(
                        data, sheet, formula=formula, contrast="R vs NR", method=name.split(",")[0]
                    )
                truth = truth_of(table, planted, state)
                known = np.isfinite(table["p_value"].to_numpy())
                p = table["p_value"].to_numpy()
                if planted:
                    found += list(p[known & (truth != 0)] < 0.05)
                else:
                    false += list(p[known] < 0.05)
                    by_cohort.append(float(np.mean(p[known] < 0.05)))
                if state or not planted:
                    # Shares sum to 1: where one cluster changes the others do too, so their truth is not 0.
                    covered += list(
                        ((table["effect_low"] <= truth) & (truth <= table["effect_high"])).to_numpy()[known]
                    )
        print(
            f"{name:28s} {100 * np.mean(false):9.1f} {100 * np.std(by_cohort) / np.sqrt(len(by_cohort)):6.1f}"
            f" {100 * np.mean(covered):11.1f} {100 * np.mean(found):16.1f} {len(false):10d}"
            f" {time.perf_counter() - start:7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
