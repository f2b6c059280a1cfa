"""Tubes that tell thresholds to others: controls that have to wait, and tubes that lack an antibody."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from cytocar import datasets, gate
from cytocar.io import read_fcs, write_fcs
from cytocar.study import check
from cytocar.study._run.process import process_all
from cytocar.study._run.provenance import without_tubes
from cytocar.study._tasks import SampleResult


@pytest.fixture(scope="module")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("controls") / "study"
    datasets.write_legend2(
        folder, cells=4000, seed=3, timepoints=["2mo", "5yr"], negative_control=True, drift=False, spill=False
    )
    text = (folder / "study.yaml").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not line.startswith(("beads:", "compensation:"))]
    (folder / "study.yaml").write_text(
        "\n".join([*kept, "beads: off", "compensation: off"]) + "\n", encoding="utf-8"
    )
    return folder


@pytest.fixture
def own(small_study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_study, tmp_path / "study"))


def rewrite(study: Path, sample: str, marker: str, change) -> None:
    """Change the counts of one marker in one file."""
    path = study / "fcs" / f"{sample}.fcs"
    adata = read_fcs(path, panel=study / "panel.csv")
    column = list(adata.var_names).index(marker)
    adata.X[:, column] = change(np.asarray(adata.X[:, column]))
    path.unlink()
    write_fcs(adata, path)


def processed(study: Path) -> dict[str, SampleResult]:
    checked = check(study)
    assert not checked.problems
    assert checked.study is not None
    assert checked.strategy is not None
    results = process_all(checked.study, checked.strategy, None, workers=1, progress=lambda *_: None)
    return {result.sample_id: result for result in results}


def sheet(study: Path) -> list[dict[str, str]]:
    with (study / "samples.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def control_of(study: Path) -> str:
    [row] = [row for row in sheet(study) if row["role"] == "negative_control"]
    return row["sample_id"]


def found(results: dict[str, SampleResult], sample: str, name: str):
    return results[sample].tables["thresholds"].set_index("name").loc[name]


def test_a_control_without_a_valley_takes_the_numbers_of_the_others(own: Path) -> None:
    control = control_of(own)
    rng = np.random.default_rng(0)
    rewrite(own, control, "CD7", lambda x: rng.gamma(9.0, 4.0, x.size).astype(np.float32))
    results = processed(own)
    patients = [sample for sample in results if sample != control]
    assert found(results, control, "CD7")["rule"] == "other_samples"
    others = [found(results, sample, "CD7")["value"] for sample in patients]
    assert found(results, control, "CD7")["value"] == pytest.approx(np.median(others))
    for sample in patients:
        vhh = found(results, sample, "VHH")
        assert vhh["found_in"] == f"control {control}"
        assert vhh["n_cells"] > 200


def test_where_no_sample_has_a_number_the_error_names_the_control(own: Path) -> None:
    rng = np.random.default_rng(0)
    for row in sheet(own):
        rewrite(own, row["sample_id"], "CD7", lambda x: rng.gamma(9.0, 4.0, x.size).astype(np.float32))
    with pytest.raises(gate.ThresholdNotFound, match="no other sample has a number of its own") as caught:
        processed(own)
    assert caught.value.name == "CD7"
    assert f"while processing sample {control_of(own)!r}" in "".join(caught.value.__notes__)


def with_fmo(study: Path) -> None:
    """Add a tube without the antibody against the CAR, and a strategy that names it."""
    shutil.copyfile(study / "fcs" / "P1_2mo.fcs", study / "fcs" / "no_vhh.fcs")
    rng = np.random.default_rng(1)
    rewrite(study, "no_vhh", "VHH", lambda x: rng.exponential(1.5, x.size).astype(np.float32))
    with (study / "samples.csv").open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, sheet(study)[0].keys(), restval="")
        writer.writerow({"file": "fcs/no_vhh.fcs", "sample_id": "no_vhh", "role": "fmo"})
    strategy = gate.car_t().to_yaml().splitlines()
    [at] = [number for number, line in enumerate(strategy) if line.startswith("  VHH:")]
    strategy[at] = "  VHH: {marker: VHH, rule: fmo, fmo: {sample: no_vhh}, quantile: 0.9995, in: T cells}"
    (study / "gates.yaml").write_text("\n".join(strategy) + "\n", encoding="utf-8")
    with (study / "study.yaml").open("a", encoding="utf-8") as file:
        file.write("gating: gates.yaml\n")


def test_a_tube_that_lacks_an_antibody_tells_a_threshold_and_is_no_sample(own: Path) -> None:
    with_fmo(own)
    results = processed(own)
    assert "no_vhh" not in results
    numbers = {float(found(results, sample, "VHH")["value"]) for sample in results}
    assert len(numbers) == 1
    [number] = numbers
    assert number == pytest.approx(np.arcsinh(-1.5 * np.log(0.0005) / 5), abs=0.15)
    assert found(results, "P1_5yr", "VHH")["found_in"] == "no_vhh"

    folder = check(own).study
    assert folder is not None
    assert folder.timepoints == ["2mo", "5yr"]
    rest, tubes = without_tubes(folder)
    assert "no_vhh" not in set(rest.samples["sample_id"])
    [tube] = tubes
    assert (tube["sample_id"], tube["file"], tube["role"]) == ("no_vhh", "no_vhh.fcs", "fmo")
    assert len(tube["sha256"]) == 64
    # The record of the report lists it like any other file.
    assert set(results["P1_5yr"].file) - {"seconds"} == set(tube) - {"role"}
    assert tube["events"] == read_fcs(own / "fcs" / "no_vhh.fcs").n_obs


def test_a_tube_that_lacks_an_antibody_is_no_patient_of_a_cohort(own: Path) -> None:
    groups = {"P1_2mo": ("P1", "R", "b1"), "P1_5yr": ("P2", "R", "b1")}
    rows = [
        {**row, "timepoint": "2mo", "months": "2"}
        | dict(zip(("patient_id", "group", "batch"), own_of, strict=True))
        for row in sheet(own)
        if (own_of := groups.get(row["sample_id"]))
    ]

    def notes(*more: dict[str, str]) -> tuple[str, ...]:
        with (own / "samples.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows([*rows, *more])
        checked = check(own)
        assert not checked.problems
        return checked.notes

    shutil.copyfile(own / "fcs" / "P1_2mo.fcs", own / "fcs" / "tube.fcs")
    tube = {**rows[0], "file": "fcs/tube.fcs", "sample_id": "tube", "role": "fmo"}
    tube |= {"patient_id": "P3", "group": "NR", "batch": "b2"}
    before = notes()
    idle = (
        "sample 'tube' has the role fmo, and no threshold of the gating 'car_t' is found in such a tube: "
        "it is not used"
    )
    assert sorted(notes(tube)) == sorted([*before, idle])
    assert any("patients are compared: R vs NR" in note for note in notes({**tube, "role": "patient"}))


def test_a_tube_that_the_sheet_does_not_have_is_a_problem_before_anything_runs(own: Path) -> None:
    with_fmo(own)
    text = (own / "gates.yaml").read_text(encoding="utf-8")
    (own / "gates.yaml").write_text(text.replace("{sample: no_vhh}", "{sample: no_vh}"), encoding="utf-8")
    [problem] = check(own).problems
    assert "threshold 'VHH' is found in tube 'no_vh'" in problem.what
    assert problem.fix == "did you mean 'no_vhh'?"
    (own / "gates.yaml").write_text(text.replace("{sample: no_vhh}", "{role: isotype}"), encoding="utf-8")
    [problem] = check(own).problems
    assert "tubes of role 'isotype'; the sample sheet has none" in problem.what
    assert "fmo" in problem.fix


def test_each_file_takes_the_numbers_pinned_for_it_by_the_strategy_and_by_the_settings(own: Path) -> None:
    samples = [row["sample_id"] for row in sheet(own)]
    tree = gate.car_t()
    for number, sample in enumerate(samples):
        tree = tree.with_threshold("CD3", 2.0 + number / 10, sample=sample)
    (own / "pinned.yaml").write_text(tree.to_yaml(), encoding="utf-8")
    with (own / "study.yaml").open("a", encoding="utf-8") as file:
        file.write(f"gating: pinned.yaml\nthresholds: {{CD3: {{{samples[1]}: 2.55}}}}\n")
    results = processed(own)
    numbers = {sample: found(results, sample, "CD3")["value"] for sample in samples}
    assert numbers == {
        sample: 2.55 if number == 1 else pytest.approx(2.0 + number / 10)
        for number, sample in enumerate(samples)
    }
    assert all(found(results, sample, "CD3")["pinned"] for sample in samples)


def test_every_sample_has_its_robustness(small_study: Path) -> None:
    results = processed(small_study)
    for sample, result in results.items():
        moved, other = result.tables["robustness"], result.tables["multiverse"]
        assert set(moved["sample_id"]) == set(other["sample_id"]) == {sample}
        assert set(moved["measure"]) == {"CAR-T % of CD45+", "DN % of CAR-T"}
        ledger = result.tables["ledger"].set_index("population")["events"]
        now = moved[moved["measure"] == "CAR-T % of CD45+"]["result"]
        assert now.to_numpy() == pytest.approx(100 * ledger["CAR-T"] / ledger["CD45+"])
        assert other.iloc[0]["result"] == pytest.approx(100 * ledger["CAR-T"] / ledger["CD45+"])
        assert "negatives of the same tube" in set(other["rule_VHH"]), "control tubes reach the multiverse"
