from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cytocar.panel.labels import says_nothing
from cytocar.panel.names import (
    ISOTOPES,
    Isotope,
    channel_isotope,
    marker_key,
    marker_name,
    parse_isotope,
    unnamed,
)


@pytest.mark.parametrize(
    ("text", "symbol", "mass"),
    [
        ("Ir191Di", "Ir", 191),
        ("(Ir191)Di", "Ir", 191),
        ("(Ir191)Dd", "Ir", 191),
        ("191Ir_DNA1", "Ir", 191),
        ("171Yb", "Yb", 171),
        ("Yb171Dd", "Yb", 171),
        ("Yb171", "Yb", 171),
        (" Yb171Di  ", "Yb", 171),
        ("YB171DI", "Yb", 171),
        ("yb171di", "Yb", 171),
        ("CD45(Gd154)Di", "Gd", 154),
        ("CD116(Gd154)Dd", "Gd", 154),
        ("CD45(Gd154)Di (v)", "Gd", 154),
        ("Bead1(La139)Di", "La", 139),
        ("CD20(Pm147)Di", "Pm", 147),
        ("89Y_CD45", "Y", 89),
        ("170Er-CD3", "Er", 170),
        ("CD3_170Er", "Er", 170),
        ("CD3 (170Er)", "Er", 170),
        ("CD3_Er170", "Er", 170),
        ("CD3-Er170Di", "Er", 170),
        ("I127Di", "I", 127),
        ("W183Di", "W", 183),
        ("Pd107Di", "Pd", 107),
        ("BCKG190Di", "BCKG", 190),
        ("190BCKG", "BCKG", 190),
        ("ArAr80Di", "ArAr", 80),
    ],
)
def test_an_isotope_is_found_however_it_is_spelled(text: str, symbol: str, mass: int) -> None:
    assert parse_isotope(text) == Isotope(symbol, mass)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CD45",
        "Cd45",
        "CD45Di",
        "Cd45Di",
        # antigens that are cadmium isotopes but for the case
        "CD106",
        "CD116",
        "CD116Di",
        "CD114_Er",
        "4-1BB",
        "2B4",
        "B220",
        "P53",
        "H3",
        "K48",
        "Ki67",
        "HLA-DR",
        "IL17",
        "Time",
        "Event_length",
        "Width",
        "FSC-A",
        "PE-A",
        "Xx171Di",
        "Yb71Di",
        "Yb1711Di",
        "Yb250Di",
        "191IrDNA",
        "(12:14)Di",
        "(114:110)Di",
    ],
)
def test_what_is_no_isotope_is_none(text: str) -> None:
    assert parse_isotope(text) is None


def test_a_range_of_masses_is_one_channel_of_the_element_that_has_them_all() -> None:
    isotope = parse_isotope("CD3(110:114)Dd")
    assert isotope == Isotope("Cd", 112, (110, 114))
    assert isotope is not None
    assert isotope.channel == "(110:114)Di"
    assert parse_isotope(isotope.channel) == isotope
    assert marker_name("CD3(110:114)Dd") == "CD3"
    # No element has all of 139 to 143.
    assert parse_isotope("(139:143)Dd") == Isotope("", 141, (139, 143))
    # It is not the channel of its middle mass.
    assert isotope != Isotope("Cd", 112)


isotopes = st.sampled_from([Isotope(symbol, mass) for symbol, masses in ISOTOPES.items() for mass in masses])
# What a marker may be called without looking like an isotope itself.
named = st.from_regex(r"(CD[0-9]{1,3}[a-z]?|[a-z][A-Za-z]{2,8}|HLA-DR|PD-1|CAR_ID)", fullmatch=True)
markers = named.filter(lambda name: not says_nothing(name))


@settings(deadline=None)
@given(isotopes, markers)
def test_every_spelling_gives_isotope_and_marker_back(isotope: Isotope, marker: str) -> None:
    symbol, mass = isotope.symbol, isotope.mass
    bare = (isotope.channel, f"({symbol}{mass})Dd", f"{symbol}{mass}Dd", f"{mass}{symbol}", f"{symbol}{mass}")
    for text in bare:
        assert parse_isotope(text) == isotope
        assert marker_name(text) == unnamed(isotope)
    for pnn, pns in [
        (isotope.channel, f"{mass}{symbol}_{marker}"),
        (isotope.channel, marker),
        (f"{marker}({symbol}{mass})Di", f"{marker} (v)"),
        (f"{marker}({symbol}{mass})Dd", ""),
        (marker, f"{symbol}{mass}"),
        (isotope.channel, f"{marker}_{mass}{symbol}"),
        (f"{marker}_{symbol}{mass}Di", ""),
        (isotope.channel, f" {marker}  "),
    ]:
        assert channel_isotope(pnn, pns) == isotope
        assert marker_name(pnn, pns) == marker


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_taken(text: str) -> None:
    isotope = parse_isotope(text)
    assert isotope is None or 70 <= isotope.mass <= 999
    assert marker_key(marker_key(text)) == marker_key(marker_key(marker_key(text)))
    marker_name(text, text)


@pytest.mark.parametrize(
    ("pnn", "pns", "marker"),
    [
        ("Tm169Di", "169Tm_CAR_ID", "CAR_ID"),
        ("Pr141Di", "141Pr_CD196_CCR6", "CD196_CCR6"),
        ("Pr141Di", "CD196_CCR6", "CD196_CCR6"),
        ("(Ir191)Di", "(Ir191)Di", "DNA1"),
        ("Ir193Di", "", "DNA2"),
        ("Sn120Di", "120Sn", "120Sn"),
        ("BCKG190Di", "190BCKG", "BCKG190"),
        ("Rh103Di", "103Rh_Live_Dead", "Live_Dead"),
        ("Bead1(La139)Di", "Bead1(La139)Di (v)", "Bead1"),
        ("DNA1", "Ir191", "DNA1"),
        ("Yb171Di", "CD116", "CD116"),
        ("Time", "Time", "Time"),
    ],
)
def test_the_marker_of_a_channel(pnn: str, pns: str, marker: str) -> None:
    assert marker_name(pnn, pns) == marker


@pytest.mark.parametrize(
    "names",
    [
        ("PD-1", "PD1", "pd1", "PD 1", "pd_1", "PD\u20111", "PD–1"),
        ("TCRγδ", "TCRgd", "TCR gd", "TCR-gammadelta", "TCRΓΔ"),
        ("HLA-DR", "HLADR", "hla dr"),
        ("IFN-γ", "IFNg", "IFN gamma"),
        ("TNFα", "TNF-a", "TNF_alpha"),
        ("β2M", "B2M", "beta2m"),
    ],
)
def test_names_of_one_marker_have_one_key(names: tuple[str, ...]) -> None:
    assert len({marker_key(name) for name in names}) == 1


def test_names_of_different_markers_have_different_keys() -> None:
    names = [
        "CD4",
        "CD8",
        "CD8a",
        "CD8b",
        "CD45",
        "CD45RA",
        "CD45RO",
        "CD3",
        "CD38",
        "CD11b",
        "CD11c",
        "Helios",
    ]
    assert len({marker_key(name) for name in names}) == len(names)


def test_the_channel_of_an_isotope_is_read_back() -> None:
    for symbol, masses in ISOTOPES.items():
        for mass in masses:
            isotope = Isotope(symbol, mass)
            assert isotope.natural
            assert parse_isotope(isotope.channel) == isotope
    assert not Isotope("Pd", 107).natural
    assert str(Isotope("Yb", 171)) == "Yb171"
