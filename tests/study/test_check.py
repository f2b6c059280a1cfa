from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cytocar import gate
from cytocar.io._fcs.write import write_events
from cytocar.panel import Panel
from cytocar.study import CheckResult, check

LEGEND2 = [
    (row["channel"], f"{row['mass']}{row['metal']}_{row['marker']}" if row["metal"] else "")
    for row in Panel.read("legend2").frame.to_dict("records")
]


def write_file(path: Path, channels: Sequence[tuple[str, str]] = LEGEND2, rows: int = 5) -> None:
    path.parent.mkdir(exist_ok=True)
    write_events(path, np.ones((rows, len(channels)), dtype=np.float32), list(channels))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study without problems: two patient samples, a control, the panel of the package."""
    for name in ("a", "b", "c"):
        write_file(tmp_path / "fcs" / f"{name}.fcs")
    (tmp_path / "samples.csv").write_text(
        "file,sample_id,patient_id,timepoint,months,role\n"
        "fcs/a.fcs,s1,P1,2mo,2,patient\n"
        "fcs/b.fcs,s2,P1,5yr,60,patient\n"
        "fcs/c.fcs,tube,,,,negative_control\n"
    )
    settings(tmp_path)
    return tmp_path


def settings(folder: Path, *lines: str, panel: str = "legend2") -> None:
    text = "\n".join(["cytocar: 1", f"panel: {panel}", "samples: samples.csv", *lines])
    (folder / "study.yaml").write_text(text)


def told(result: CheckResult) -> list[tuple[str, str]]:
    assert result.study is None
    return [(problem.where, problem.what) for problem in result.problems]


def one(result: CheckResult) -> tuple[str, str, str]:
    assert len(result.problems) == 1, result.problems
    (problem,) = result.problems
    assert result.study is None
    return problem.where, problem.what, problem.fix


def test_a_number_pinned_for_a_sample_that_nobody_has_is_a_problem(folder: Path) -> None:
    tree = gate.car_t().with_threshold("CD3", 2.0, sample="s1").with_threshold("CD3", 2.5, sample="S2")
    (folder / "mine.yaml").write_text(tree.to_yaml(), encoding="utf-8")
    settings(folder, "gating: mine.yaml")
    where, what, fix = one(check(folder))
    assert where.endswith("study.yaml (gating)")
    assert what == "strategy 'car_t' pins CD3 for sample 'S2', and there is no such sample"
    assert fix == "did you mean 's2'?"


def test_a_study_without_problems(folder: Path) -> None:
    for path in (folder, folder / "study.yaml"):
        result = check(path)
        assert result.problems == ()
        assert result.notes == ()
        assert result.study is not None
        assert list(result.study.samples["sample_id"]) == ["s1", "s2", "tube"]
        assert result.strategy is not None
        assert result.strategy.name == "car_t"


def test_nothing_is_written(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    times = [path.stat().st_mtime_ns for path in before]
    check(folder)
    assert sorted(folder.rglob("*")) == before
    assert [path.stat().st_mtime_ns for path in before] == times


def test_a_panel_with_an_unknown_channel(folder: Path) -> None:
    (folder / "panel.csv").write_text("channel,marker\nYb171Di,CD45\nQq12Di,CD3\n")
    settings(folder, "gating: off", panel="panel.csv")
    where, what, _ = one(check(folder))
    assert where == f"{folder / 'panel.csv'}, line 3"
    assert what == "channel 'Qq12Di' names no isotope"


def test_two_markers_of_one_name(folder: Path) -> None:
    (folder / "panel.csv").write_text("channel,marker\nYb171Di,PD-1\nEr170Di,pd1\n")
    settings(folder, "gating: off", panel="panel.csv")
    where, what, _ = one(check(folder))
    assert where.endswith("panel.csv, line 3")
    assert what == "marker 'pd1' is the same name as 'PD-1' on line 2"


def test_a_typo_in_the_settings(folder: Path) -> None:
    settings(folder, "cofacter: 5")
    where, what, fix = one(check(folder))
    assert where == f"{folder / 'study.yaml'}, line 4"
    assert (what, fix) == ("setting 'cofacter' is not known", "did you mean 'cofactor'?")


def test_months_missing(folder: Path) -> None:
    sheet = folder / "samples.csv"
    sheet.write_text(sheet.read_text().replace(",60,", ",,"))
    where, what, fix = one(check(folder))
    assert (where, what) == (f"{sheet}, line 3", "months of sample 's2' is empty")
    assert "negative_control" in fix


def test_a_marker_of_the_strategy_is_not_in_the_panel(folder: Path) -> None:
    text = Panel.read("legend2").to_csv().replace(",CD45,", ",CD46,").replace(",VHH,", ",CAR,")
    (folder / "panel.csv").write_text(text)
    settings(folder, panel="panel.csv")
    result = check(folder)
    where, what, fix = one(result)
    assert where == f"{folder / 'study.yaml'} (gating)"
    assert what == "gating 'car_t' needs CD45: the panel has no such marker"
    assert "gating: off" in fix


def test_a_marker_under_a_near_name_is_pointed_at(folder: Path) -> None:
    (folder / "panel.csv").write_text(Panel.read("legend2").to_csv().replace(",CD3,", ",CD3_UCHT1,"))
    settings(folder, panel="panel.csv")
    assert one(check(folder))[2].startswith("for CD3 did you mean 'CD3_UCHT1'?")


def test_a_marker_under_another_name_of_its_antigen_is_no_problem(folder: Path) -> None:
    panel = Panel.read("legend2").to_csv()
    for ours, theirs in (
        (",CD3,", ",CD3e,"),
        (",CD11b,", ",Mac-1,"),
        (",CD8a,", ",CD8,"),
        (",PD1,", ",CD279,"),
    ):
        assert ours in panel
        panel = panel.replace(ours, theirs)
    (folder / "panel.csv").write_text(panel)
    settings(folder, "clustering: {markers: [Ki67, PDCD1]}", panel="panel.csv")
    assert check(folder).problems == ()


def test_two_names_of_one_antigen_in_a_panel_are_noted(folder: Path) -> None:
    (folder / "panel.csv").write_text(Panel.read("legend2").to_csv().replace(",CD57,", ",CD279,"))
    settings(folder, panel="panel.csv")
    result = check(folder)
    assert not result.problems
    (note,) = [note for note in result.notes if "one antigen" in note]
    assert note == "the panel has 'CD279', 'PD1': names of one antigen, each found by its own name only"


@pytest.mark.parametrize(
    ("line", "where"), [("seed: 1", "gating"), ("clustering: {markers: [Ki67, CD11b]}", "clustering.markers")]
)
def test_a_name_that_fits_two_markers_is_reported_with_both(line: str, where: str, folder: Path) -> None:
    panel = Panel.read("legend2").to_csv().replace(",CD11b,", ",Mac-1,").replace(",CD57,", ",ITGAM,")
    (folder / "panel.csv").write_text(panel)
    settings(folder, line, panel="panel.csv")
    found = [problem for problem in check(folder).problems if where in problem.where]
    assert [(problem.what, problem.fix) for problem in found] == [
        ("'CD11b' fits 2 markers of the panel ('ITGAM', 'Mac-1')", "use the exact name of one")
    ]


@pytest.mark.parametrize(
    "given", ["{car: CAR-T}", "{host: Host T}", "{tumour: CAR-T}", "{car: CAR-T, cells: Host T}"]
)
def test_compartments_that_a_run_does_not_know(given: str, folder: Path) -> None:
    text = gate.car_t().to_yaml()
    old = "compartments:\n  car: CAR-T\n  host: Host T\n"
    assert old in text
    (folder / "own.yaml").write_text(text.replace(old, f"compartments: {given}\n"), encoding="utf-8")
    settings(folder, "gating: own.yaml")
    [problem] = check(folder).problems
    names = ", ".join(re.findall(r"(\w+):", given))
    assert problem.what == f"gating 'car_t' has the compartments {names}"
    assert problem.fix.startswith("a run needs both car and host, or cells alone")


def test_a_strategy_without_compartments_is_one_of_cells(folder: Path) -> None:
    text = gate.car_t().to_yaml()
    old = "compartments:\n  car: CAR-T\n  host: Host T\n"
    assert old in text
    (folder / "own.yaml").write_text(text.replace(old, ""), encoding="utf-8")
    settings(folder, "gating: own.yaml")
    strategy = check(folder).strategy
    assert strategy is not None
    assert strategy.compartments == {"cells": "CD45+"}


def test_a_file_without_events(folder: Path) -> None:
    write_file(folder / "fcs" / "b.fcs", rows=0)
    where, what, _ = one(check(folder))
    assert where == f"{folder.resolve() / 'fcs' / 'b.fcs'} (sample s2)"
    assert what == "the file has no events"


def test_a_missing_file(folder: Path) -> None:
    (folder / "fcs" / "b.fcs").rename(folder / "fcs" / "bb.fcs")
    where, what, fix = one(check(folder))
    assert (where, what) == (f"{folder / 'samples.csv'}, line 3", "file 'fcs/b.fcs' does not exist")
    assert "did you mean 'bb.fcs'?" in fix


def test_a_file_that_is_not_fcs_and_one_that_lacks_channels(folder: Path) -> None:
    (folder / "fcs" / "a.fcs").write_bytes(b"PNG and so on")
    write_file(
        folder / "fcs" / "c.fcs", [names for names in LEGEND2 if names[0] not in ("Yb171Di", "Er170Di")]
    )
    result = check(folder)
    found = told(result)
    assert ["(sample s1)" in where for where, _ in found] == [True, False]
    assert "not an FCS file" in found[0][1]
    assert found[1][1] == "has no channel 'Er170Di' (CD3), and the gates need it"
    [note] = [note for note in result.notes if "does not measure" in note]
    assert sorted(note.split("measure ")[1].split(":")[0].split(", ")) == ["CD3", "GZMB"]


def lacking(folder: Path, file: str, *channels: str) -> None:
    write_file(folder / "fcs" / file, [names for names in LEGEND2 if names[0] not in channels])


def test_channels_that_nothing_needs_may_be_missing_anywhere(folder: Path) -> None:
    background = [
        row["channel"]
        for row in Panel.read("legend2").frame.to_dict("records")
        if row["role"] == "background"
    ]
    if background:
        lacking(folder, "a.fcs", background[0])
    lacking(folder, "b.fcs", "Yb171Di")
    result = check(folder)
    assert not result.problems
    assert any("b.fcs: does not measure GZMB" in note for note in result.notes)


def test_a_file_without_a_marker_of_the_gates_is_left_out_where_the_settings_say_so(folder: Path) -> None:
    lacking(folder, "b.fcs", "Er170Di")
    _, what, fix = one(check(folder))
    assert what == "has no channel 'Er170Di' (CD3), and the gates need it"
    assert "on_missing: leave_out" in fix
    settings(folder, "on_missing: leave_out")
    result = check(folder)
    assert not result.problems
    assert list(result.study.samples["sample_id"]) == ["s1", "tube"]
    assert "sample 's2' (b.fcs) is left out: it lacks CD3, and the gates need it" in result.notes
    assert [(one.sample_id, one.lacks) for one in result.study.left_out] == [("s2", "CD3")]
    for name in ("a.fcs", "c.fcs"):
        lacking(folder, name, "Er170Di")
    assert one(check(folder))[1] == "no file has the channel 'Er170Di' (CD3)"


def test_a_study_none_of_whose_samples_can_be_run_is_refused(folder: Path) -> None:
    lacking(folder, "a.fcs", "Er170Di")
    lacking(folder, "b.fcs", "Bi209Di")
    settings(folder, "on_missing: leave_out")
    assert "every sample lacks what it needs: s1: CD3; s2: CD7" in [what for _, what in told(check(folder))]


def test_a_control_that_is_left_out_is_said_with_what_it_means(folder: Path) -> None:
    lacking(folder, "c.fcs", "Er170Di")
    settings(folder, "on_missing: leave_out")
    result = check(folder)
    assert not result.problems
    assert any("'tube', which is left out, is a control: the thresholds of" in note for note in result.notes)


def test_a_marker_named_for_clustering_has_to_be_in_every_file(folder: Path) -> None:
    lacking(folder, "b.fcs", "Yb171Di")
    settings(folder, "clustering: {markers: [GZMB, Ki67, PD1]}")
    _, what, fix = one(check(folder))
    assert what == "GZMB was not measured in s2"
    assert "leave it out of the list" in fix


def test_dna_and_beads_have_to_be_there(folder: Path) -> None:
    lacking(folder, "b.fcs", "Ir191Di")
    result = check(folder)
    assert not result.problems
    assert (
        "b.fcs: has no channel DNA1; debris and doublets are told by the other such channel" in result.notes
    )
    lacking(folder, "b.fcs", "Ir191Di", "Ir193Di")
    assert "debris and doublets are told by it in the other files" in one(check(folder))[1]
    lacking(folder, "b.fcs", "Ce140Di")
    assert "normalised by beads like the others" in one(check(folder))[1]
    settings(folder, "beads: off")
    assert not check(folder).problems


def test_a_file_with_a_panel_of_its_own_is_found_by_it(folder: Path) -> None:
    moved = {"Gd155Di": ("Gd157Di", "157Gd_CD279"), "Yb171Di": ("", "")}
    names = [moved.get(names[0], names) for names in LEGEND2]
    write_file(folder / "fcs" / "b.fcs", [names for names in names if names[0]])
    assert "give the file a panel of its own" in one(check(folder))[2]
    text = Panel.read("legend2").to_csv().replace("Gd155Di,PD1,state", "Gd157Di,CD279,type")
    lines = [line.replace(",Gd,155,", ",Gd,157,") for line in text.splitlines() if "GZMB" not in line]
    (folder / "second.csv").write_text("\n".join(lines) + "\n")
    sheet = (folder / "samples.csv").read_text().splitlines()
    rows = [f"{line},{'second.csv' if 'b.fcs' in line else ''}" for line in sheet[1:]]
    (folder / "samples.csv").write_text("\n".join([sheet[0] + ",panel", *rows]) + "\n")
    result = check(folder)
    assert not result.problems
    assert "panel second.csv: CD279 is PD1 in the study's panel" in result.notes
    assert "panel second.csv: classes are those of the study's panel, also of PD1 (type)" in result.notes
    assert "clusters and maps are made without GZMB: not measured in every sample" in result.notes
    assert result.study.panel_of("s2").find("PD-1") == "PD1"
    (folder / "samples.csv").write_text(
        "\n".join([sheet[0] + ",panel", *rows]).replace("second", "third") + "\n"
    )
    assert any("panel 'third.csv' is neither a file" in what for _, what in told(check(folder)))


def test_transformed_values_are_refused(folder: Path) -> None:
    data = np.ones((3, len(LEGEND2)), dtype=np.float32)
    write_events(folder / "fcs" / "a.fcs", data, LEGEND2, {"CYTOCAR_STATE": "arcsinh"})
    assert one(check(folder))[1] == "the file holds arcsinh values; a study is read as counts"


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        ("gating: car-t", "there is no gating strategy 'car-t'", "did you mean 'car_t'?"),
        ("gating: gates.yaml", "cannot be read", "YAML file"),
        ("beads: [Ce140Di, Lu176Di]", "the panel has no channel 'Lu176Di'", "did you mean 'Lu175Di'?"),
        ("compare: {reference: 2m}", "there is no timepoint '2m'", "did you mean '2mo'?"),
        ("compare: {reference: 2mo, against: 2mo}", "reference and against are both '2mo'", "two timepoints"),
        ("thresholds: {CD33: 2}", "strategy 'car_t' has no threshold 'CD33'", "known: CD45, CD11b"),
        ("thresholds: {CD8: 2, CD8a: 3}", "'CD8' states the same threshold", "once"),
        ("thresholds: {CD3: {s9: 2}}", "there is no sample 's9'", "known: s1, s2, tube"),
        ("clustering: {markers: [Ki67, CD99]}", "the panel has no marker 'CD99'", "known: CD45"),
        ("clustering: {markers: [Ki67, ki-67]}", "'ki-67' and 'Ki67' are the same marker", "once"),
    ],
)
def test_settings_that_name_what_is_not_there(line: str, what: str, fix: str, folder: Path) -> None:
    settings(folder, line)
    where, found, found_fix = one(check(folder))
    assert where.startswith(f"{folder / 'study.yaml'} ({line.split(':')[0]}")
    assert what in found
    assert fix in found_fix


def test_settings_that_are_there_in_another_spelling_are_fine(folder: Path) -> None:
    settings(
        folder,
        "beads: [(Ce140)Dd, 165Ho, Bead140]",
        "clustering: {markers: [pd-1, HLA-DR, TCRγδ]}",
        "thresholds: {CD3: {s1: 2.0, tube: 2.1}, VHH: 3}",
        "compare: {reference: 2mo, against: 5yr}",
    )
    result = check(folder)
    assert result.problems == ()
    assert result.study is not None
    # Later steps know the channels of the panel only.
    assert result.study.config.beads == ["Ce140Di", "Ho165Di"]


def test_no_markers_to_cluster_by(folder: Path) -> None:
    (folder / "panel.csv").write_text("channel,marker,used_for_clustering\nYb171Di,GZMB,0\nEr170Di,CD3,1\n")
    settings(folder, "gating: off", panel="panel.csv")
    assert one(check(folder))[1] == "fewer than two markers are used for clustering"
    settings(folder, "gating: off", "clustering: {method: off}", "embedding: off", panel="panel.csv")
    assert check(folder).problems == ()


def test_controls_alone_are_no_study(folder: Path) -> None:
    sheet = folder / "samples.csv"
    sheet.write_text(sheet.read_text().replace(",patient\n", ",negative_control\n"))
    assert one(check(folder))[1] == "every sample is a negative_control"


def test_everything_is_told_at_once(folder: Path) -> None:
    (folder / "fcs" / "a.fcs").write_bytes(b"")
    write_file(folder / "fcs" / "b.fcs", rows=0)
    settings(folder, "compare: {reference: 1yr}", "beads: [Pd102Di]", "thresholds: {CD5: 1}")
    text = "\n".join(str(problem) for problem in check(folder).problems)
    for part in ("'1yr'", "'Pd102Di'", "'CD5'", "a.fcs", "no events"):
        assert part in text


def test_tolerances_are_notes_told_once_for_all_files(folder: Path) -> None:
    other = [("Ce142Di" if pnn == "Nd142Di" else pnn, pns) for pnn, pns in LEGEND2]
    other = [("Pd102Di", "x"), *(names for names in other if names[0] != "Residual")]
    for name in ("a", "b"):
        write_file(folder / "fcs" / f"{name}.fcs", other)
    result = check(folder)
    assert result.problems == ()
    assert len(result.notes) == 3
    assert all(note.startswith("a.fcs and 1 more: ") for note in result.notes)
    text = "\n".join(result.notes)
    for part in ("'Nd142Di' (CXCR5) is 'Ce142Di'", "has no channel Residual", "left out: Pd102Di"):
        assert part in text


def test_what_the_study_cannot_answer_is_noted(folder: Path) -> None:
    (folder / "panel.csv").write_text("channel,marker\nYb171Di,GZMB\nEr170Di,CD3\n")
    sheet = folder / "samples.csv"
    sheet.write_text(sheet.read_text().replace("5yr,60", "2mo,2"))
    settings(folder, "gating: off", panel="panel.csv")
    notes = check(folder).notes
    assert "there is one timepoint only: nothing is compared over time" in notes
    assert any("no channel of role dna" in note for note in notes)
    assert any("no channel of role viability" in note for note in notes)


def test_no_study(tmp_path: Path) -> None:
    assert one(check(tmp_path))[1] == "there is no study.yaml in it"


def test_real_files_are_checked(test_data: Path, tmp_path: Path) -> None:
    corpus = test_data / "fcs_corpus"
    (tmp_path / "samples.csv").write_text(
        "file,sample_id,patient_id,timepoint,months\n"
        f"{test_data}/helios_beads/raw_cytof.fcs,raw,P1,a,1\n"
        f"{corpus}/corrupted.fcs,bad,P1,b,2\n"
        f"{corpus}/sample_header.fcs,short,P1,c,3\n"
    )
    settings(tmp_path, "gating: off", panel="maxpar_direct")
    result = check(tmp_path)
    assert ["bad" in result.problems[0].where, "short" in result.problems[1].where] == [True, True]
    assert len(result.problems) == 2
    assert any("raw_cytof.fcs" in note and "Tm169Di" in note for note in result.notes)


# ---- deep


def distinct(folder: Path) -> None:
    for number, name in enumerate("abc", 1):
        rows = np.full((5, len(LEGEND2)), number, dtype=np.float32)
        write_events(folder / "fcs" / f"{name}.fcs", rows, list(LEGEND2))


def test_deep_gives_hash_and_second_opinion_of_every_file(folder: Path) -> None:
    distinct(folder)
    result = check(folder, deep=True)
    assert not result.problems
    assert [file.sample_id for file in result.files] == ["s1", "s2", "tube"]
    first = (folder / "fcs" / "a.fcs").read_bytes()
    assert result.files[0].sha256 == hashlib.sha256(first).hexdigest()
    assert all("reads the same 5 events" in file.opinion for file in result.files)
    assert check(folder).files == ()


def test_copies_of_one_file_are_one_problem_by_deep_only(folder: Path) -> None:
    distinct(folder)
    (folder / "fcs" / "b.fcs").write_bytes((folder / "fcs" / "a.fcs").read_bytes())
    assert not check(folder).problems
    where, what, fix = one(check(folder, deep=True))
    assert "a.fcs" in where
    assert "b.fcs" in where
    assert what == "samples 's1', 's2' are the same file to the byte"
    assert "counted twice" in fix
