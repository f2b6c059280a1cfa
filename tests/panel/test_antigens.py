from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cytocar._core.errors import ParameterError
from cytocar.panel import Panel
from cytocar.panel.antigens import (
    antigen,
    antigens,
    marker_hint,
    marker_index,
    marker_positions,
    resolve,
    same_antigen,
    synonyms,
)
from cytocar.panel.car_reagents import reagent_names
from cytocar.panel.names import antigen_key

GROUPS = st.sampled_from(synonyms())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("CD8", "CD8a", True),
        ("CD279", "PD1", True),
        ("CD196_CCR6", "CCR6", True),
        ("CD127_IL-7Ra", "CD127", True),
        ("TIM-3", "CD366", True),
        ("CD45", "CD45RA", False),
        ("CD3", "CD38", False),
        ("CD11b", "CD11c", False),
        ("", "CD3", False),
    ],
)
def test_two_names_of_one_antigen(one: str, other: str, same: bool) -> None:
    assert same_antigen(one, other) is same_antigen(other, one) is same


def test_a_hint_never_names_another_antigen() -> None:
    panel = ["CD95", "CD11b", "CD4", "CD45RO", "PD-1", "Granzyme B"]
    assert marker_hint("CD19", panel) == "known: " + ", ".join(panel)
    assert marker_hint("CD11c", panel).startswith("known:")
    assert marker_hint("CD45R0", panel) == "did you mean 'CD45RO'?"
    assert marker_hint("PD-l", panel) == "did you mean 'PD-1'?"
    assert marker_hint("CD279", panel) == "did you mean 'PD-1'?"
    assert marker_hint("Granzym B", panel) == "did you mean 'Granzyme B'?"
    assert marker_hint("GZMB", panel) == "did you mean 'Granzyme B'?"


def test_synonyms_are_one_antigen() -> None:
    assert antigens("Granzyme B") == antigens("GZMB") == {"gzmb"}


def test_no_two_antigens_of_the_table_share_a_name() -> None:
    owner: dict[str, str] = {}
    for names in synonyms():
        for name in names:
            assert owner.setdefault(antigen_key(name), names[0]) == names[0], name


def test_a_row_of_the_table_names_nothing_twice_and_no_name_is_empty() -> None:
    for names in synonyms():
        keys = [antigen_key(name) for name in names]
        assert all(keys)
        assert len(set(keys)) == len(keys), names


def test_reagents_for_a_car_and_antigens_agree_where_both_have_a_name() -> None:
    table = {antigen_key(name): names[0] for names in synonyms() for name in names}
    for key, meant in reagent_names().items():
        assert table.get(key, meant) == meant, key


@given(st.data())
def test_any_name_of_an_antigen_finds_any_other_of_it(data: st.DataObject) -> None:
    names = data.draw(GROUPS)
    one, other = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    assert resolve(one, [other]) == (other,)
    assert resolve(other, [one]) == (one,)
    assert same_antigen(one, other)


@given(st.data())
def test_a_name_of_one_antigen_finds_no_other(data: st.DataObject) -> None:
    mine, others = data.draw(GROUPS), data.draw(GROUPS)
    if mine != others:
        one, other = data.draw(st.sampled_from(mine)), data.draw(st.sampled_from(others))
        assert resolve(one, [other]) == ()
        assert not same_antigen(one, other)


@given(st.data())
def test_two_names_of_an_antigen_in_one_are_found_by_either(data: st.DataObject) -> None:
    names = data.draw(GROUPS)
    one, other = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    for both in (f"{one}_{other}", f"{one}/{other}", f"{one} ({other})", f"{other}-{one}"):
        assert resolve(one, [both]) == (both,)
        assert resolve(other, ["CD999", both]) == (both,)


@pytest.mark.parametrize(
    ("name", "marker"),
    [
        ("CD8a", "CD8"),
        ("Leu-2a", "CD8A"),
        ("CD3", "CD3e"),
        ("PD-1", "CD279"),
        ("pdcd1", "PD.1"),
        ("HAVCR2", "TIM3"),
        ("Granzyme B", "GrzB"),
        ("TCRγδ", "gdTCR"),
        ("CD197", "CCR7-CD197"),
        ("CCR7", "CD197 (CCR7)"),
        ("CD137", "CD137-4-1BB"),
        ("Gr-1", "Ly-6G_C_Gr-1"),
        ("CD3", "anti-CD3"),
        ("CD19", "CD19_142Nd"),
        ("CD271", "tNGFR"),
        ("cetuximab", "EGFRt"),
        ("CAR", "BCMA-CAR"),
        ("CAR", "CAR_VHH"),
        ("VHH", "CAR_VHH"),
        ("CCR9", "CDw199"),
        ("pSTAT3", "STAT3 [pY705]"),
        ("CD62L", "CD62L (DREG-56)"),
        ("CD19", "CD19_and_Bead2"),
        ("TCRgd", "TCRyd"),
        ("CD8a", "CD8+"),
        ("pERK", "pERK1/2 (T202/Y204)"),
        ("CD19 CAR", "CAR19"),
        ("DNA1", "191Ir_Intercalator"),
    ],
)
def test_a_marker_is_found_by_another_name(name: str, marker: str) -> None:
    assert resolve(name, ["CD4", marker, "CD20"]) == (marker,)


@pytest.mark.parametrize(
    ("name", "marker"),
    [
        ("CD45", "CD45RA"),
        ("CD45", "CD45_RO"),
        ("CD45", "CD45 (RA)"),
        ("CD1d", "CD1d (tetramer)"),
        ("CD45", "CD45RB"),
        ("CD45", "B220"),
        ("CD8a", "CD8b"),
        ("CD8", "CD8 beta"),
        ("CD3", "CD3 zeta"),
        ("CD16", "CD16b"),
        ("CD16", "CD16/32"),
        ("CD66b", "CD66"),
        ("STAT3", "pSTAT3"),
        ("pAKT", "pAKT T308"),
        ("CD40", "CD40L"),
        ("Fas", "FasL"),
        ("TNF", "TNFR2"),
        ("IL-2", "IL-2Ra"),
        ("CD19", "tCD19"),
        ("CD19", "CD19-Fc"),
        ("CD19", "CD19 CAR"),
        ("CD34", "tCD34"),
        ("BCMA", "BCMA-Fc"),
        ("BCMA-CAR", "CD19-CAR"),
        ("c-Myc", "Myc tag"),
        ("KIR2DL1", "KIR2DL1/S1"),
        ("HLA-DR", "HLA-DR/DP/DQ"),
        ("CD14", "CD14_CD19"),
        ("CD3", "CD3_CD19"),
        ("Histone H3", "H3K27ac"),
        ("H3", "H3_K27ac"),
        ("CD1d", "CD1d_tetramer"),
        ("TCRab", "TCRgd"),
        ("ZAP70", "pZAP70/SYK"),
        ("LAMP-3", "CD63"),
        ("DNA1", "DNA2"),
        ("", "CD3"),
    ],
)
def test_another_antigen_is_not_found(name: str, marker: str) -> None:
    assert resolve(name, [marker]) == ()
    assert resolve(marker, [name]) == ()


def test_the_spelling_goes_before_the_antigen_and_two_of_one_antigen_are_ambiguous() -> None:
    panel = ["CD279", "PD-1", "CD4"]
    assert resolve("PD-1", panel) == resolve("pd1", panel) == ("PD-1",)
    assert resolve("CD279", panel) == ("CD279",)
    assert resolve("PDCD1", panel) == ("CD279", "PD-1")
    assert marker_index(panel).find("CD8", "PDCD1", "pd1") == ("PD-1",)
    assert resolve("CD45", ["CD45RA", "CD45RO", "CD45"]) == ("CD45",)
    assert resolve("CD45", ["CD45_89Y", "CD45_115In"]) == ("CD45_89Y", "CD45_115In")
    assert resolve("Abc", ["Abc_141Pr", "Abc_142Nd"]) == ("Abc_141Pr", "Abc_142Nd")


def test_unknown_and_ambiguous_names_are_reported_at_once_with_the_candidates() -> None:
    with pytest.raises(ParameterError) as caught:
        marker_positions(["CD44", "PDCD1", "CD4"], ["CD279", "PD-1", "CD4"])
    assert [(problem.what, problem.fix) for problem in caught.value.problems] == [
        ("'CD44' is not a marker of these data", "known: CD279, PD-1, CD4"),
        ("'PDCD1' fits 2 columns ('CD279', 'PD-1')", "use the exact name of one"),
    ]
    assert marker_positions(["PD-1", "PD1"], ["PD-1", "PD1"]) == [0, 1]


def test_cd_numbers_and_genes_agree_with_immport() -> None:
    # CD numbers and gene symbols as ImmPort pairs them for markers in FCS headers (immport.org, "Marker parsing").
    with (Path(__file__).parent / "golden" / "cd_genes.csv").open(encoding="utf-8") as file:
        pairs = [(row["cd"], row["gene"]) for row in csv.DictReader(file)]
    assert len(pairs) > 250
    for cd, gene in pairs:
        assert resolve(cd, [gene, "CD999"]) == (gene,)
        assert resolve(gene, ["CD999", cd]) == (cd,)


def test_words_that_say_where_or_which_lot_make_no_other_antigen_and_species_do() -> None:
    for name in ("CTLA-4 intra", "CD3_surface", "CD8_new", "total STAT3", "anti-human CD4"):
        plain = {"CTLA-4 intra": "CD152", "CD3_surface": "CD3", "CD8_new": "CD8a", "total STAT3": "STAT3"}
        assert resolve(plain.get(name, "CD4"), [name]) == (name,)
    assert resolve("CTLA-4", ["CTLA-4 surface", "CTLA-4-i"]) == ("CTLA-4 surface", "CTLA-4-i")
    assert resolve("CTLA-4 surface", ["CTLA-4-i", "CD152"]) == ()
    assert resolve("MHC class I", ["MHC I", "MHC II"]) == ("MHC I",)
    assert resolve("CD45", ["hCD45", "mCD45"]) == ()
    assert marker_hint("CD45", ["hCD3", "hCD45"]) == "did you mean 'hCD45'?"


def test_a_misspelt_name_is_looked_for_among_all_names() -> None:
    assert marker_hint("Perforn", ["PRF1", "CD4"]) == "did you mean 'PRF1'?"
    assert marker_hint("Granzyme B1", ["GZMB", "GZMK"]).startswith("known:")
    assert marker_hint("IL-2", ["IL-21", "IL-22"]).startswith("known:")


def test_a_panel_finds_a_marker_by_any_name_and_prints_its_own() -> None:
    panel = Panel.from_channels(
        [("Nd143Di", "143Nd_CD279"), ("Nd144Di", "144Nd_CD8"), ("Nd145Di", "CD197_CCR7")]
    )
    assert [panel.find(name) for name in ("PD-1", "Leu-2a", "CCR7", "CD8b")] == [
        "CD279",
        "CD8",
        "CD197_CCR7",
        None,
    ]
    assert panel.find_channel("PDCD1") == "Nd143Di"
    twice = Panel.from_channels([("Nd143Di", "CD279"), ("Nd144Di", "PDCD1")])
    assert twice.find("PD-1") is None
    assert twice.candidates("PD-1") == ("CD279", "PDCD1")


def test_every_antigen_has_one_name_for_all_its_names() -> None:
    for names in synonyms():
        assert {antigen(name) for name in names} == {names[0]}
