"""However a program writes metal, mass and marker of a channel, they come back."""

from __future__ import annotations

import re
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cytocar.panel import Panel
from cytocar.panel.labels import says_nothing
from cytocar.panel.names import ISOTOPES, Isotope, channel_isotope, marker_name, parse_isotope, unnamed


def _forms(text: str) -> tuple[str, ...]:
    """Return the forms that stand in a text, three blanks or a new line between them."""
    return tuple(form for form in re.split(r" {3,}|\n *", text) if form)


# S is the element, M the mass, X the marker.
CERTAIN: Final = _forms(
    r"""
    SMDi   SMDd   (SM)Di   (SM)Dd   S(M)Di   S(M.912)Di   MSDi   S_MDi   S-MDi   (MS)Di   [SM]Di
    X.SM.Di
    """
)
BARE: Final = _forms(
    r"""
    SM   MS   M_S   M-S   0M_S   S-M   S_M   (SM)   <SM>   [MS]   (MS)   {SM}   M S   XMS
    """
)
NAMED: Final = _forms(
    r"""
    MS_X   MS-X   MS X   MS:X   MS|X   MS/X   MS.X   MS__X   MS - X   M_S_X   M-S-X   0M_S_X   M S X
    XMS_X   XM_S_X   XMS.X   SM_X   SM-X   SM X   SM.X   S-M_X   S_M_X   X_MS   X-MS   X MS   X.MS
    X|MS   X_M_S   X-M-S   X_SM   X-SM   X SM   X.SM   X_S-M   X (MS)   X(MS)   X (SM)   X(SM)   X [MS]
    X<SM>   X {SM}   X_(SM)   X_[MS]   SMDi_X   SMDi X   SMDi-X   SMDi (X)   SMDi<X>   SMDi [X]
    SMDi :: X   SMDi___X   SMDi|X   SMDi:X   SMDd_X   (SM)Di_X   (SM)Dd X   (SM)Di<X>   (SM)Di<X (v)>
    (SM)Di<X-M>   (SM)Di<X-M (v)>   X.SM.Di   X_SMDi   X-SMDi   X SMDi   X (SMDi)   X(SMDi)   X_(SMDi)
    X <SMDi>   X<SMDi>   X [SMDi]   X :: SMDi   X(SM)Di   X(SM)Dd   X((SM)Di)   X_(SM)Di   X (SM)Dd
    X-M(SM)Di   X-M(SM)Dd   X_M(SM)Di   M-X(SM)Di   S(M.912)Di X   X S(M)Di   X_MSDi   MSDi_X
    SMDi_MS_X   SMDi___MS_X   SMDi :: MS_X   SMDi (MS_X)   SMDi<MS_X>   SMDi MS X   SMDi_M_S_X
    SMDi - MS-X   MS_X_SMDi   MS_X (SMDi)   MS_X <SMDi>   MS_X :: SMDi   MS_X_(SMDi)   MS_X(SM)Di
    SM_MS_X   MS_MS_X   X_MS_SMDi   SMDi_SMDi_X   SMDi_X_MS   MS_X (v)   MS_X (v) (v2)
    X_SM_X_SM   MS_X v4   X-APC(SM)Dd   X(SM)Di (v)
    X.SM.Di..v.   'MS_X'   `MS_X`
    """
)
# What is written beside the marker, where $PnN is the isotope alone.
BESIDE: Final = _forms(
    r"""
    X    X     X (v)   X (v) (v2)   X-M   X_M   X M   X (M)   M_X   M-X   X v2   X_v4   X-v10   X-APC
    X_PE   X-FITC   X (PE)   X_EQ6   X_EQ   X-M (v)   X v4 (v)   _X   X_   (X)   <X>   X-MS   MS_X_EQ4
    MS_X-APC   X_biotin
    """
)

_MARKERS: Final = re.findall(
    r"\S+",
    """
    CD3 CD8a CD45RA CD16b CD66b CD235ab HLA-DR PD-1 PD-L1 TIM-3 LAG-3 4-1BB 2B4 B220 IL-2 IL-17A IFNg TCRgd CD197_CCR7
    CD123_IL-3R pSTAT3 p53 Ki-67 T-bet F4/80 NK1.1 CAR_ID VHH G4S HLA-A,B,C 2DL1-S1 S100B H3 K48 120g8 CD16/32 EGFRt
    GZMB TCRγδ
""",
)

isotopes = st.sampled_from([Isotope(symbol, mass) for symbol, masses in ISOTOPES.items() for mass in masses])
names = st.from_regex(r"p?[A-Z][A-Za-z]{3,7}[0-9]?", fullmatch=True)
markers = st.one_of(
    st.sampled_from(_MARKERS),
    st.from_regex(r"CD[1-9][0-9]{0,2}[a-z]?", fullmatch=True),
    names.filter(lambda name: not says_nothing(name)),
)


def spelled(form: str, isotope: Isotope, marker: str) -> str:
    """Write a channel in a form; X at the start is R's only before M."""
    first = "X" if form.startswith("XM") else ""
    form = form.replace("M.912", f"{isotope.mass - 1}.912")
    parts = {"S": isotope.symbol, "M": str(isotope.mass), "X": marker or "X"}
    return first + "".join(parts.get(letter, letter) for letter in form[len(first) :])


def test_there_are_more_than_a_hundred_spellings() -> None:
    assert len(set(CERTAIN + BARE + NAMED + BESIDE)) > 150


@settings(deadline=None, max_examples=300)
@given(isotopes, st.sampled_from(CERTAIN + BARE))
def test_an_isotope_alone_comes_back_and_the_channel_is_unnamed(isotope: Isotope, form: str) -> None:
    text = spelled(form, isotope, "")
    assert parse_isotope(text) == isotope, text
    for names in ((text, ""), (text, text), (isotope.channel, text)):
        assert marker_name(*names) == unnamed(isotope), names


@settings(deadline=None, max_examples=1000)
@given(isotopes, markers, st.sampled_from(NAMED))
@example(Isotope("Pr", 141), "CD141", "X-M(SM)Di")
def test_isotope_and_marker_in_one_name_come_back(isotope: Isotope, marker: str, form: str) -> None:
    text = spelled(form, isotope, marker)
    for names in ((text, ""), (text, text), (isotope.channel, text), (marker, text)):
        assert channel_isotope(*names) == isotope, names
        assert marker_name(*names) == marker.replace("/", "_"), names


@settings(deadline=None, max_examples=500)
@given(isotopes, markers, st.sampled_from(BESIDE), st.sampled_from(CERTAIN))
def test_what_is_written_beside_a_marker_is_left_out(
    isotope: Isotope, marker: str, form: str, channel: str
) -> None:
    names = (spelled(channel, isotope, ""), spelled(form, isotope, marker))
    assert channel_isotope(*names) == isotope, names
    # CD44 v4 is a variant of CD44, and CD19 with biotin may be the protein, which binds a CAR.
    variant = marker == "CD44" and re.search("[ _-]v[0-9]", form)
    if not variant and not (marker in ("CD19", "CD20", "CD22") and "biotin" in form):
        assert marker_name(*names) == marker.replace("/", "_"), names


@pytest.mark.parametrize(
    "word",
    ["none", "NA", "FREE", "-", "--", "", "N/A", "nothing", "x", ".", "no marker", "null", "(Te126Di)"],
)
@pytest.mark.parametrize(
    "form", ["SMDi|MS_X", "SMDi|X", "X(SM)Di|", "X_SM|", "MS_X|MS_X", "SMDi|MS_(X)", "SMDi_MS_X|"]
)
def test_a_channel_whose_name_says_nothing_is_unnamed(word: str, form: str) -> None:
    pnn, pns = spelled(form, Isotope("Te", 126), word).split("|")
    assert marker_name(pnn, pns) == "126Te"


@pytest.mark.parametrize(
    ("pnn", "pns", "marker"),
    [
        ("129(Xe129)Dd", "", "129Xe"),
        ("NA-191(Ir191)Dd", "", "DNA1"),
        ("(Ir193)Di", "193", "DNA2"),
        ("Te126Di", "126Te_(Te126Di)", "126Te"),
        ("CD19-142(Nd142)Dd", "", "CD19"),
        ("HLA-DR-174(Yb174)Dd", "", "HLA-DR"),
        ("Cd106Di", "CD45-106Cd", "CD45"),
        ("114Cd_CD14 <Cd114Di>", "", "CD14"),
        # the number belongs to the antigen
        ("Pr141Di", "CD141", "CD141"),
        ("Pr141Di", "CD-141", "CD-141"),
        ("Pr141Di", "CD_141", "CD_141"),
        ("Te125Di", "CA-125", "CA-125"),
        ("Yb171Di", "CD116", "CD116"),
        # another isotope than the channel's is a name
        ("Yb171Di", "Cd116", "Cd116"),
        ("Sm154Di", "CD44 v6", "CD44 v6"),
        # fluorochromes that are bound, proteins that bind
        ("Er163Di", "anti-APC", "anti-APC"),
        ("Er163Di", "anti-PE", "anti-PE"),
        ("Ho165Di", "PE_tetramer", "PE_tetramer"),
        ("Er163Di", "BCMA-biotin", "BCMA-biotin"),
        ("Er163Di", "CD3-biotin", "CD3"),
        ("Er163Di", "CD3 (Qdot 605)", "CD3"),
        ("Er163Di", "CD3_Q-dot", "CD3"),
        # the mass is right, the element is not
        ("Gd156Di", "156Nd-CXCR3", "CXCR3"),
        ("156Nd-CXCR3", "", "CXCR3"),
        ("Er170Di", "CD3_Yb170", "CD3"),
        ("Comp-Nd145Di :: 145Nd_CD4", "", "CD4"),
        ("Comp-Nd145Di", "CD4", "CD4"),
        ("Comp-FITC-A", "", "Comp-FITC-A"),
        ("x142nd.asma.nd142di.", "", "asma"),
        # no separator
        ("CD4Nd145Di", "", "CD4"),
        ("CD8aNd146", "", "CD8a"),
        ("HLADRYb174", "", "HLADR"),
        # a slash is for folders
        ("In113Di", "CD235ab/CD61", "CD235ab_CD61"),
        ("Ce140Di", "EQ", "EQ"),
        ("Ce140Di", "140_Ce_EQ", "EQ"),
        ("Ce140Di", "Norm_EQ4", "Norm_EQ4"),
        # without an isotope nothing is cut
        ("APC-A", "CD3-APC", "CD3-APC"),
        ("PE-A", "none", "none"),
        ("FL1-H", "", "FL1-H"),
    ],
)
def test_what_stays_in_a_name_and_what_does_not(pnn: str, pns: str, marker: str) -> None:
    assert marker_name(pnn, pns) == marker


@pytest.mark.parametrize(
    "text", ["GMCSFR (CD116)", "S100B", "Y585-A", "IL-2 (CD25)", "CD4_CD8", "TCR_Vd2", "CD3 145", "YG610"]
)
def test_antigens_are_no_isotopes(text: str) -> None:
    assert parse_isotope(text) is None


@pytest.mark.parametrize(
    "nothing", ["", "_none", "_NA", "_FREE", "_-", "_(Te126Di)", "_nan", " ", "_?", "_no", "_unlabelled"]
)
def test_a_channel_that_is_said_to_be_empty_is_background(nothing: str):
    row = Panel.from_channels([("Te126Di", f"126Te{nothing}")]).frame.iloc[0]
    assert (row["marker"], row["role"], row["used_for_clustering"]) == ("126Te", "background", False)


def test_a_name_that_is_its_mass_is_no_antibody():
    row = Panel.from_channels([("129(Xe129)Dd", "")]).frame.iloc[0]
    assert (row["marker"], row["role"]) == ("129Xe", "background")


@pytest.mark.parametrize(
    "text",
    [
        "CD45",
        "CD116",
        "CD3",
        "TCR Vd2",
        "4-1BB",
        "2B4",
        "B220",
        "H3K27Ac",
        "IL-17A",
        "KIR2DL1",
        "Va7.2",
        "CD45.2",
    ],
)
def test_an_antigen_stays_whole(text: str):
    assert parse_isotope(text) is None
    assert marker_name("Yb171Di", f"171Yb_{text}") == text


def test_a_secondary_antibody_keeps_its_dye():
    assert marker_name("Yb171Di", "171Yb_anti-PE") == "anti-PE"
    assert marker_name("Yb171Di", "171Yb_LAG3-PE") == "LAG3"


def test_a_clone_is_no_part_of_the_antigen():
    panel = Panel.from_channels([("Nd145Di", "145Nd_CD4 (RPA-T4)"), ("Er167Di", "167Er_CD197 (CCR7)")])
    assert list(panel.frame["marker"]) == ["CD4", "CD197 (CCR7)"]


def test_live_barcodes_keep_their_antigen_and_are_told_apart():
    panel = Panel.from_channels([(f"Cd{m}Di", f"CD45-{m}Cd") for m in (106, 110, 111)])
    assert list(panel.frame["marker"]) == ["CD45_106Cd", "CD45_110Cd", "CD45_111Cd"]
    assert set(panel.frame["role"]) == {"marker"}


@pytest.mark.parametrize("piece", ["(", " (v)", "_v1", "-APC", "145Nd_", "Nd145Di", "145_", "X.", "_"])
def test_a_long_text_is_left_as_it_is(piece: str) -> None:
    text = piece * 5000 + "a"
    assert parse_isotope(text) is None
    assert marker_name("Nd145Di", text) == text.strip()
