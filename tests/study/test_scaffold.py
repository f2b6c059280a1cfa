from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cytocar import StudyError, gate
from cytocar.io import StudyConfig
from cytocar.io._fcs.write import write_events
from cytocar.io._study.config import load_config
from cytocar.panel import Panel
from cytocar.study import check, init
from cytocar.study._scaffold.file_names import guess_samples, guess_time


def write_file(path: Path, *channels: tuple[str, str], rows: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_events(path, np.ones((rows, len(channels)), dtype=np.float32), list(channels))


def sheet(study: Path) -> list[dict[str, str]]:
    with open(study / "samples.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def fill_in(study: Path, **values: str) -> None:
    """Do what a user has to: give every sample what could not be guessed."""
    rows = sheet(study)
    with open(study / "samples.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({key: value or values.get(key, "") for key, value in row.items()})


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LEGEND2 = [
    (row["channel"], row["marker"]) for row in Panel.read("legend2").frame.to_dict("records") if row["metal"]
]


class TestNames:
    @pytest.mark.parametrize(
        ("stem", "label", "months"),
        [
            ("LEGEND2_2mo", "2mo", 2),
            ("x_12months_y", "12months", 12),
            ("P1_5yr_PBMC", "5yr", 60),
            ("P1-1.5-years", "1.5-years", 18),
            ("P1_D28", "D28", 0.92),
            ("P1_day-7_a", "day-7", -0.23),
            ("P1 14d", "14d", 0.46),
            ("P1_wk4", "wk4", 0.92),
            ("P1_month_3", "month3", 3),
            ("P1_baseline", "baseline", 0),
            ("Data23_Panel3_base_HD1", "base", 0),
            ("ID28_x", "", None),
            ("CD28_5yrs2", "", None),
            ("89Y_sample", "", None),
            ("database_pretty", "", None),
        ],
    )
    def test_times(self, stem: str, label: str, months: float | None) -> None:
        assert guess_time(stem) == (label, months)

    def test_samples_are_the_names_without_what_they_share(self) -> None:
        names = ["run7_P01_2mo_normalized", "run7_P02_5yr_normalized", "run7_P02_2mo_normalized"]
        guesses = guess_samples(names)
        assert [guess.sample_id for guess in guesses] == ["P01_2mo", "P02_5yr", "P02_2mo"]
        assert [guess.patient_id for guess in guesses] == ["P01", "P02", "P02"]
        assert [guess.months for guess in guesses] == [2, 60, 2]
        assert {guess.group for guess in guesses} == {""}

    def test_one_patient_over_time(self) -> None:
        guesses = guess_samples(["LEGEND2_2mo", "LEGEND2_1yr", "LEGEND2_5yr"])
        assert [guess.sample_id for guess in guesses] == ["2mo", "1yr", "5yr"]
        assert {guess.patient_id for guess in guesses} == {"LEGEND2"}

    def test_kinds_of_persons_are_groups(self) -> None:
        guesses = guess_samples(["a_HD1", "a_NR1", "a_R1"])
        assert [guess.group for guess in guesses] == ["HD", "NR", "R"]
        assert [guess.patient_id for guess in guesses] == ["HD1", "NR1", "R1"]

    @pytest.mark.parametrize(
        "names", [["a", "a_b"], ["x_1", "x_2"], ["one"], ["a_b", "a_b_c", "a_c"], ["R1", "R2"], ["-a", "-b"]]
    )
    def test_what_is_not_said_is_left_empty_and_samples_differ(self, names: list[str]) -> None:
        guesses = guess_samples(names)
        samples = [guess.sample_id for guess in guesses]
        assert len(set(samples)) == len(samples)
        assert all(samples)
        assert {(guess.patient_id, guess.timepoint, guess.months) for guess in guesses} == {("", "", None)}


def test_a_car_t_study_is_ready_to_run(tmp_path: Path) -> None:
    for name in ("LEGEND2_2mo", "LEGEND2_5yr"):
        write_file(tmp_path / "fcs" / f"{name}.fcs", ("Time", ""), *LEGEND2)
    before = contents(tmp_path / "fcs")
    out = tmp_path / "study"
    notes = init(tmp_path / "fcs", out)
    assert sorted(path.name for path in out.iterdir()) == [
        "gating.yaml", "panel.csv", "samples.csv", "study.yaml",
    ]  # fmt: skip
    assert contents(tmp_path / "fcs") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fcs", "study"]
    assert sheet(out) == [
        {
            "file": f"../fcs/LEGEND2_{label}.fcs",
            "sample_id": label,
            "patient_id": "LEGEND2",
            "timepoint": label,
            "months": months,
            "role": "patient",
        }
        for label, months in (("2mo", "2"), ("5yr", "60"))
    ]
    result = check(out)
    assert result.problems == ()
    assert result.strategy is not None
    assert result.strategy.name == "car_t"
    gated = "CD45, CD66b, CD19, CD14, CD11b, CD11c, VHH, CD3, CD7"
    assert notes == [
        f"panel.csv: {gated} gate the CAR-T cells and are not used for clustering",
        "samples.csv: check what was guessed: patient_id, timepoint, months from the file names",
        "gating.yaml: the CAR is shown by VHH (binds CARs whose binder is a single-domain antibody (VHH), whatever "
        "their target)",
        "gating.yaml, CAR threshold: tubes of role negative_control in samples.csv show where the CAR begins, where "
        "there are any; without control tubes, cells of the same tube that are CD3- CD7- show it",
    ]
    assert "\ngating: gating.yaml" in (out / "study.yaml").read_text()
    assert gate.load(out / "gating.yaml") == gate.car_t()
    frame = Panel.read(out / "panel.csv").var
    assert not frame.loc[gated.split(", "), "used_for_clustering"].any()
    assert frame.loc[["CD4", "CD8a", "Ki67"], "used_for_clustering"].all()
    assert "reference: 2mo, against: 5yr" in (out / "study.yaml").read_text()


@pytest.mark.parametrize("name", ["cart", "cohort", "helios_beads", "phenograph_h1"])
def test_real_files_need_no_more_than_the_sheet(name: str, test_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    notes = init(test_data / name, out)
    fill_in(out, patient_id="P1", timepoint="now", months="0")
    result = check(out)
    assert result.problems == ()
    assert result.strategy is not None
    text = (out / "study.yaml").read_text()
    if name == "cart":
        assert result.strategy.name == "car_t_adapted"
        assert "\ngating: gating.yaml" in text
        assert [row["role"] for row in sheet(out)] == ["patient", "negative_control", "negative_control"]
    else:
        assert result.strategy.name == "cells"
        assert "\ngating: off" in text
        assert any(note.startswith("gating is off: no marker of the panel shows a CAR") for note in notes)
    if name == "cohort":
        rows = sheet(out)
        assert len(rows) == 30
        assert {row["group"] for row in rows} == {"HD", "NR", "R"}
        assert {row["timepoint"] for row in rows} == {"base"}


def uncommented(text: str) -> dict[str, Any]:
    """Return the settings with every default that the file shows."""
    lines = []
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        key = bare.split(":")[0]
        lines.append(bare if key in StudyConfig.model_fields and not line.startswith("#  ") else line)
    settings: dict[str, Any] = yaml.safe_load("\n".join(lines).replace(": off ", ": 'off' "))
    return settings


def test_the_comments_show_every_setting_with_its_default(tmp_path: Path) -> None:
    write_file(tmp_path / "fcs" / "a.fcs", *LEGEND2)
    out = tmp_path / "study"
    init(tmp_path / "fcs", out)
    text = (out / "study.yaml").read_text()
    shown = uncommented(text)
    assert set(shown) == set(StudyConfig.model_fields)
    shown["compensation"] = "off"
    config, problems = load_config(out / "study.yaml")
    assert not problems
    assert StudyConfig.model_validate(shown) == config


def test_channels_that_contradict_each_other_or_are_missing_are_told(tmp_path: Path) -> None:
    fcs = tmp_path / "fcs"
    common = [("Time", ""), ("Er170Di", "170Er_CD3")]
    write_file(
        fcs / "P1_2mo.fcs", *common, ("Yb171Di", "171Yb_GZMB"), ("Yb174Di", "PD-1"), ("Nd142Di", "CXCR5")
    )
    write_file(
        fcs / "P2_2mo.fcs",
        *common,
        ("(Yb171)Dd", "CD20"),
        ("Ce142Di", ""),
        ("Yb174Di", "CD279"),
        ("PCA1", ""),
    )
    write_file(
        fcs / "P3_2mo.fcs",
        *common,
        ("Yb171Di", "GZMB"),
        ("Nd142Di", "CXCR5"),
        ("Sm147Di", "CD11c"),
        ("Width", ""),
    )
    out = tmp_path / "study"
    notes = init(fcs, out)
    panel = Panel.read(out / "panel.csv")
    assert list(panel.frame["channel"]) == ["Er170Di", "Yb171Di", "Nd142Di", "Time"]
    assert list(panel.frame["marker"]) == ["CD3", "GZMB", "CXCR5", "Time"]
    told = "\n".join(notes)
    assert (
        "channel Yb171Di is 'GZMB' in P1_2mo.fcs, P3_2mo.fcs; 'CD20' in P2_2mo.fcs: panel.csv says 'GZMB'"
        in told
    )
    assert "channel Yb174Di (PD-1) is not in P3_2mo.fcs" in told
    assert "channel Sm147Di (CD11c) is not in P1_2mo.fcs, P2_2mo.fcs" in told
    # PD-1 and CD279 are one antigen: nothing to tell.
    assert "CD279" not in told
    text = (out / "panel.csv").read_text()
    assert "# Yb174Di,PD-1,state,marker,Yb,174,1,5  not in P3_2mo.fcs" in text
    assert check(out).problems == ()


def test_unnamed_platinum_is_pointed_at(tmp_path: Path) -> None:
    write_file(tmp_path / "fcs" / "a.fcs", ("Er170Di", "CD3"), ("Yb171Di", "CD4"), ("Pt195Di", "195Pt"))
    notes = init(tmp_path / "fcs", tmp_path / "study")
    assert any("if Pt195Di is cisplatin" in note for note in notes)


def test_a_panel_by_name_is_copied(tmp_path: Path) -> None:
    write_file(tmp_path / "fcs" / "a_2mo.fcs", *LEGEND2)
    write_file(tmp_path / "fcs" / "a_5yr.fcs", *LEGEND2[3:])
    notes = init(tmp_path / "fcs", tmp_path / "study", panel="legend2")
    assert Panel.read(tmp_path / "study" / "panel.csv").frame.equals(Panel.read("legend2").frame)
    assert "1 of 2 files lack channels of the panel; 'cytocar check' lists them" in notes
    with pytest.raises(StudyError, match=r"(?s)legend3.*did you mean 'legend2'"):
        init(tmp_path / "fcs", tmp_path / "other", panel="legend3")
    assert not (tmp_path / "other").exists()


def test_files_that_no_study_can_use_are_left_out_and_told(tmp_path: Path) -> None:
    fcs = tmp_path / "fcs"
    write_file(fcs / "good_2mo.fcs", *LEGEND2)
    write_file(fcs / "none_2mo.FCS", *LEGEND2, rows=0)
    write_file(fcs / "light_2mo.fcs", ("FSC-A", ""), ("PE-A", "CD3"))
    (fcs / "broken_2mo.fcs").write_bytes(b"no")
    (fcs / "notes.txt").touch()
    (fcs / "._good_2mo.fcs").write_bytes(b"of another system")
    out = tmp_path / "study"
    told = "\n".join(init(fcs, out))
    assert [row["file"] for row in sheet(out)] == ["../fcs/good_2mo.fcs"]
    assert "none_2mo.FCS is left out: the file has no events" in told
    assert "light_2mo.fcs is left out: no channel has a mass" in told
    assert "broken_2mo.fcs is left out: " in told
    assert "._good" not in told


def test_files_in_subfolders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for day in ("x1", "x2"):
        write_file(tmp_path / "fcs" / day / "sample.fcs", *LEGEND2)
    init(tmp_path / "fcs", tmp_path / "study")
    rows = sheet(tmp_path / "study")
    assert [row["file"] for row in rows] == ["../fcs/x1/sample.fcs", "../fcs/x2/sample.fcs"]
    assert [row["sample_id"] for row in rows] == ["x1", "x2"]


class TestRefusals:
    def test_a_folder_that_holds_something(self, tmp_path: Path) -> None:
        write_file(tmp_path / "fcs" / "a.fcs", *LEGEND2)
        (tmp_path / "study").mkdir()
        (tmp_path / "study" / "mine.txt").write_text("keep")
        with pytest.raises(StudyError, match=r"(?s)not empty.*mine\.txt"):
            init(tmp_path / "fcs", tmp_path / "study")
        assert [path.name for path in (tmp_path / "study").iterdir()] == ["mine.txt"]

    def test_a_study_that_was_made_before_is_kept_and_said_how_to_go_on_with(self, tmp_path: Path) -> None:
        write_file(tmp_path / "fcs" / "a.fcs", *LEGEND2)
        study = tmp_path / "study"
        init(tmp_path / "fcs", study)
        before = contents(study)
        with pytest.raises(StudyError, match=r"(?s)a study already.*edit samples\.csv, then: cytocar check"):
            init(tmp_path / "fcs", study)
        assert contents(study) == before

    def test_an_empty_folder_is_taken(self, tmp_path: Path) -> None:
        write_file(tmp_path / "fcs" / "a.fcs", *LEGEND2)
        (tmp_path / "study").mkdir()
        init(tmp_path / "fcs", tmp_path / "study")
        assert (tmp_path / "study" / "study.yaml").is_file()

    @pytest.mark.parametrize("out", [".", "study", "sub/study"])
    def test_beside_the_files(self, out: str, tmp_path: Path) -> None:
        write_file(tmp_path / "fcs" / "a.fcs", *LEGEND2)
        before = contents(tmp_path)
        with pytest.raises(StudyError):
            init(tmp_path / "fcs", tmp_path / "fcs" / out)
        assert contents(tmp_path) == before

    def test_no_files(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(StudyError, match="there are no FCS files in it"):
            init(tmp_path / "empty", tmp_path / "study")
        with pytest.raises(StudyError, match="there is no such folder"):
            init(tmp_path / "no", tmp_path / "study")
        assert not (tmp_path / "study").exists()

    def test_no_file_that_can_be_used(self, tmp_path: Path) -> None:
        write_file(tmp_path / "fcs" / "light.fcs", ("FSC-A", ""))
        with pytest.raises(StudyError, match=r"(?s)light\.fcs.*not mass cytometry"):
            init(tmp_path / "fcs", tmp_path / "study")


def test_the_day_of_acquisition_is_the_batch_where_files_are_of_several(tmp_path: Path) -> None:
    for name, day in (("P1_2mo", "05-Jul-2016"), ("P1_1yr", "06-Jul-2017"), ("P2_2mo", "05-JUL-2016")):
        path = tmp_path / "fcs" / f"{name}.fcs"
        path.parent.mkdir(exist_ok=True)
        write_events(path, np.ones((4, len(LEGEND2)), dtype=np.float32), LEGEND2, {"$DATE": day})
    notes = init(tmp_path / "fcs", tmp_path / "study")
    assert "batch from the day of acquisition in the files ($DATE)" in "\n".join(notes)
    assert {row["sample_id"]: row["batch"] for row in sheet(tmp_path / "study")} == {
        "P1_2mo": "05-Jul-2016", "P1_1yr": "06-Jul-2017", "P2_2mo": "05-Jul-2016",
    }  # fmt: skip
    told = check(tmp_path / "study").notes
    assert any(note.startswith("Batch and timepoint cannot be told apart") for note in told)


def test_files_of_one_day_and_files_that_do_not_say_have_no_batch(tmp_path: Path) -> None:
    days: list[dict[str, str]] = [{"$DATE": "05-Jul-2016"}, {"$DATE": "05-JUL-2016"}]
    for name, words in zip(("P1_2mo", "P1_1yr"), days, strict=True):
        path = tmp_path / "fcs" / f"{name}.fcs"
        path.parent.mkdir(exist_ok=True)
        write_events(path, np.ones((4, len(LEGEND2)), dtype=np.float32), LEGEND2, words)
    init(tmp_path / "fcs", tmp_path / "one")
    assert "batch" not in sheet(tmp_path / "one")[0]
    write_file(tmp_path / "fcs" / "P1_5yr.fcs", *LEGEND2)
    init(tmp_path / "fcs", tmp_path / "unknown")
    assert "batch" not in sheet(tmp_path / "unknown")[0]


def test_a_sample_from_before_the_infusion_is_a_control_and_no_time_of_its_patient(tmp_path: Path) -> None:
    for name in ("P1_pre", "P1_D28", "P1_6mo"):
        write_file(tmp_path / "fcs" / f"{name}.fcs", *LEGEND2)
    notes = init(tmp_path / "fcs", tmp_path / "study")
    assert "samples.csv: role negative_control of pre, from 'pre' in the file names" in notes
    rows = {
        row["timepoint"]: (row["patient_id"], row["months"], row["role"]) for row in sheet(tmp_path / "study")
    }
    assert rows == {
        "pre": ("P1", "", "negative_control"), "D28": ("P1", "0.92", "patient"), "6mo": ("P1", "6", "patient"),
    }  # fmt: skip
    assert "from before the infusion pre" in (tmp_path / "study" / "gating.yaml").read_text()


def test_patients_and_batches_are_guessed_from_folders_and_said(tmp_path: Path) -> None:
    for folder, name in (("Patient 1/run 1", "early_2mo"), ("Patient 2/run 2", "late_1yr")):
        write_file(tmp_path / "fcs" / folder / f"{name}.fcs", *LEGEND2)
    notes = init(tmp_path / "fcs", tmp_path / "study")
    assert [(row["patient_id"], row["batch"]) for row in sheet(tmp_path / "study")] == [
        ("Patient1", "run 1"), ("Patient2", "run 2"),
    ]  # fmt: skip
    told = "patient_id, batch from the folders; timepoint, months from the file names"
    assert f"samples.csv: check what was guessed: {told}" in notes
