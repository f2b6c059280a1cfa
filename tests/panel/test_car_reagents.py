from __future__ import annotations

import pytest

from cytocar.panel.car_reagents import KINDS, car_reagents, reagent_name


@pytest.mark.parametrize(
    ("marker", "reagent", "kind", "certain"),
    [
        ("VHH", "VHH", "car", True),
        ("anti-camelid VHH", "VHH", "car", True),
        ("CAR", "CAR", "car", True),
        ("CAR_T", "CAR", "car", True),
        ("CAR_ID", "CAR_ID", "car", True),
        ("Anti-idiotype", "CAR_ID", "car", True),
        ("CAR_VHH", "VHH", "car", True),
        ("CAR (Protein L)", "Protein L", "car", True),
        ("BCMA-CAR", "BCMA CAR", "car", True),
        ("CD19 CAR", "CD19 CAR", "car", True),
        ("CAR19", "CD19 CAR", "car", True),
        ("CD19/CD22 CAR", "CD19CD22 CAR", "car", True),
        ("FMC63", "FMC63", "car", True),
        ("anti-FMC63 idiotype", "FMC63", "car", True),
        ("ProteinL", "Protein L", "car", True),
        ("BCMA Fc", "BCMA-Fc", "car", True),
        ("rhCD19", "CD19-Fc", "car", True),
        ("CLDN18.2-Fc", "CLDN182-Fc", "car", True),
        ("(G4S)n linker", "G4S linker", "car", True),
        ("goat anti-mouse IgG F(ab')2", "anti-mouse Fab", "car", True),
        ("huEGFRt", "EGFRt", "marker_gene", True),
        ("cetuximab", "EGFRt", "marker_gene", True),
        ("EGFR", "EGFRt", "marker_gene", False),
        ("LNGFR", "tNGFR", "marker_gene", True),
        ("ΔLNGFR", "tNGFR", "marker_gene", True),
        ("CD271", "tNGFR", "marker_gene", False),
        ("CD19t", "tCD19", "marker_gene", True),
        ("RQR8", "RQR8", "marker_gene", True),
        ("Strep-tag II", "Strep-tag II", "tag", True),
        ("DYKDDDDK", "FLAG tag", "tag", True),
        ("c-Myc tag", "Myc tag", "tag", True),
        ("HA", "HA tag", "tag", False),
        ("Biotin", "Biotin", "secondary", False),
    ],
)
def test_a_reagent_for_a_car_is_known_by_its_names(
    marker: str, reagent: str, kind: str, certain: bool
) -> None:
    assert reagent_name(marker) == reagent
    (found,) = car_reagents([marker])
    assert (found.marker, found.kind, found.certain) == (marker, kind, certain)
    assert found.kind in KINDS
    assert found.note


NO_REAGENTS = [
    "CD3",
    "CD19",
    "BCMA",
    "CD34",
    "CD20",
    "c-Myc",
    "MYC",
    "HLA-DR",
    "CD16",
    "FcRL5",
    "FceRIa",
    "Kappa",
    "CCR7",
    "SCARB1",
    "CARD9",
    "DNA1",
    "CD22",
    "TCRgd",
    "CD5L",
    "Cisplatin",
    "Perforin",
    "HAVCR2",
    "IgG",
]


@pytest.mark.parametrize("marker", [*NO_REAGENTS, ""])
def test_an_antigen_is_not_taken_for_a_reagent_for_a_car(marker: str) -> None:
    assert reagent_name(marker) is None
    assert car_reagents([marker]) == []


def test_certain_reagents_come_first_and_each_group_in_the_order_of_the_panel() -> None:
    found = car_reagents(["CD271", "EGFR", "CD3", "VHH", "CAR"])
    assert [each.marker for each in found] == ["VHH", "CAR", "CD271", "EGFR"]
