from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar.panel import Panel

LEGEND2 = Panel.read("legend2")


def panel_of(*rows: tuple[str, str]) -> Panel:
    return Panel.from_channels(rows)


SPELLINGS = ("{s}{m}Di", "({s}{m})Di", "({s}{m})Dd", "{s}{m}Dd", "{m}{s}", "{m}{s}_X", "X({s}{m})Di")


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_channels_are_found_in_any_order_and_spelling(data: st.DataObject) -> None:
    rows = LEGEND2.frame.to_dict("records")
    names = []
    for row in rows:
        if row["metal"]:
            spelling = data.draw(st.sampled_from(SPELLINGS))
            names.append((spelling.format(s=row["metal"], m=row["mass"]), row["marker"]))
        else:
            names.append((row["channel"], ""))
    names += [("Cell_number", ""), ("Pd102Di", "BC1")]
    order = data.draw(st.permutations(range(len(names))))
    match = LEGEND2.match([names[place] for place in order], where="a.fcs")
    assert not match.problems
    assert [order[column] for column in match.columns] == list(range(len(rows)))
    assert sorted(order[column] for column in match.extra) == [len(rows), len(rows) + 1]


@pytest.mark.parametrize(
    ("in_panel", "in_file"),
    [("Nd142Di", "Ce142Di"), ("Sm150Di", "Nd150Di"), ("Dy164Di", "Er164Di"), ("Gd152Di", "Sm152Di")],
)
def test_one_mass_under_another_element_is_the_channel_and_told(in_panel: str, in_file: str) -> None:
    match = panel_of((in_panel, "CXCR5")).match([("Time", ""), (in_file, "")], where="a.fcs")
    assert list(match.columns) == [1]
    assert not match.problems
    (note,) = match.notes
    assert in_panel in note
    assert in_file in note


def test_the_element_decides_before_the_mass() -> None:
    panel = panel_of(("Nd142Di", "CXCR5"), ("Ce142Di", "Bead142"))
    match = panel.match([("Ce142Di", "142Ce_Bead"), ("Nd142Di", "142Nd_CXCR5")], where="a.fcs")
    assert list(match.columns) == [1, 0]
    assert not match.problems
    assert not match.notes


def test_two_elements_at_the_mass_are_ambiguous() -> None:
    match = panel_of(("Sm150Di", "CD61")).match([("Nd150Di", "LAG3"), ("Gd150Di", "X")], where="a.fcs")
    assert list(match.columns) == [-1]
    (problem,) = match.problems
    assert "Sm150Di" in problem.what
    assert "'Nd150Di', 'Gd150Di'" in problem.what


def test_a_column_is_never_given_to_two_rows() -> None:
    panel = panel_of(("Nd142Di", "CXCR5"), ("Ce142Di", "Bead142"))
    match = panel.match([("Nd142Di", "")], where="a.fcs")
    assert list(match.columns) == [0, -1]
    assert "'Ce142Di' (Bead142)" in match.problems[0].what
    assert "'Nd142Di'" in match.problems[0].what


def test_the_same_isotope_twice_is_ambiguous_unless_the_spelling_decides() -> None:
    twice = [("(Yb171)Di", "a"), ("Yb171Di", "b")]
    assert list(panel_of(("Yb171Di", "b")).match(twice, where="a.fcs").columns) == [1]
    (problem,) = panel_of(("Yb171Dd", "b")).match(twice, where="a.fcs").problems
    assert "fits 2 channels of the file: '(Yb171)Di', 'Yb171Di'" in problem.what


def test_a_missing_channel_is_told_with_its_marker_and_where_the_marker_is() -> None:
    panel = panel_of(("Yb171Di", "GZMB"), ("Er170Di", "CD3"))
    match = panel.match([("Er170Di", "CD3"), ("Yb172Di", "172Yb_GZMB")], where="a.fcs")
    (problem,) = match.problems
    assert problem.where == "a.fcs"
    assert problem.what == "has no channel 'Yb171Di' (GZMB)"
    assert "'Yb172Di'" in problem.fix


def test_channels_without_mass_may_be_missing() -> None:
    panel = panel_of(("Time", ""), ("Event_length", ""), ("Residual", ""), ("Er170Di", "CD3"))
    match = panel.match([("Er170Di", "CD3"), ("Cell_length", ""), ("TIME", "")], where="a.fcs")
    assert list(match.columns) == [2, 1, -1, 0]
    assert not match.problems
    assert match.notes == ("has no channel Residual",)


def test_channels_named_by_antigens_alone_are_found_by_other_names_of_them() -> None:
    panel = Panel.from_channels([("Time", ""), ("PD-1", ""), ("CD8a", ""), ("CD4", "")], instrument="Helios")
    match = panel.match([("CD4", ""), ("CD279", ""), ("Time", ""), ("CD8", "")], where="a.fcs")
    assert list(match.columns) == [2, 1, 3, 0]
    assert match.notes == (
        "channel 'PD-1' is 'CD279' there, another name of the antigen",
        "channel 'CD8a' is 'CD8' there, another name of the antigen",
    )
    twice = panel.match([("CD4", ""), ("CD279", ""), ("PDCD1", ""), ("CD8", "")], where="a.fcs")
    assert list(twice.columns) == [-1, -1, 3, 0]
    assert "fits 2 channels of the file: 'CD279', 'PDCD1'" in twice.problems[0].what


def test_no_column_is_given_to_two_names_of_one_antigen() -> None:
    panel = Panel.from_channels([("PD-1", ""), ("CD279", ""), ("CD4", "")], instrument="Helios")
    assert list(panel.match([("CD4", ""), ("CD279", "")], where="a.fcs").columns) == [-1, 1, 0]


def test_another_antigen_in_the_file_is_noted_another_name_is_not() -> None:
    panel = panel_of(("Yb171Di", "GZMB"), ("Yb174Di", "PD-1"), ("Nd146Di", "CD8"))
    match = panel.match(
        [("Yb171Di", "171Yb_CD20"), ("Yb174Di", "CD279"), ("Nd146Di", "146Nd_CD8a")], where="a.fcs"
    )
    assert match.notes == ("Yb171Di is 'GZMB' in the panel and 'CD20' in the file",)


def test_a_range_of_masses_is_not_its_middle_mass() -> None:
    panel = panel_of(("CD3(110:114)Dd", ""))
    assert list(panel.match([("(110:114)Di", "")], where="a.fcs").columns) == [0]
    match = panel.match([("Cd112Di", "CD3")], where="a.fcs")
    assert list(match.columns) == [-1]
    assert "CD3(110:114)Dd" in match.problems[0].what
    assert not panel_of(("Cd112Di", "X")).match([("Cd112Di", ""), ("CD3(110:114)Dd", "")], where="a").problems


def test_a_channel_by_its_own_name_where_only_the_panel_knows_its_mass(tmp_path: Path) -> None:
    path = tmp_path / "panel.csv"
    path.write_text("channel,marker,metal,mass\nCD19-ch,CD19,Nd,142\n")
    match = Panel.read(path).match([("Time", ""), ("CD19-ch", "CD19")], where="a.fcs")
    assert list(match.columns) == [1]


def test_a_channel_that_is_plainly_not_there_is_told_apart_from_contradictions() -> None:
    panel = panel_of(("Yb171Di", "CD3"), ("Tm169Di", "VHH"), ("Nd143Di", "CD4"), ("Ir191Di", "DNA1"))
    match = panel.match(
        [("Nd144Di", "144Nd_VHH"), ("Yb171Di", "171Yb_CD3")], where="a.fcs", optional=panel.markers
    )
    assert match.unmeasured == (2, 3)
    [problem] = match.problems
    assert problem.what == "has no channel 'Tm169Di' (VHH)"
    assert "column panel of samples.csv" in problem.fix


def test_the_mass_of_another_row_is_no_sign_of_a_channel() -> None:
    panel = panel_of(("In113Di", "CD66b"), ("Cd113Di", "CD8"))
    match = panel.match([("Cd113Di", "113Cd_CD8")], where="a.fcs", optional=panel.markers)
    assert (match.unmeasured, match.problems) == ((0,), [])
