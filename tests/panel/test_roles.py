from __future__ import annotations

import pytest

from cytocar.panel.names import channel_isotope, marker_name
from cytocar.panel.roles import antigens, guess_class, guess_role, marker_hint, same_antigen


@pytest.mark.parametrize(
    ("pnn", "pns", "role"),
    [
        ("Yb171Di", "171Yb_GZMB", "marker"),
        ("Ir191Di", "191Ir_DNA1", "dna"),
        ("(Ir193)Di", "", "dna"),
        ("Ir191Di", "191Ir_Intercalator", "dna"),
        ("Pt198Di", "198Pt_Dead", "viability"),
        ("Rh103Di", "103Rh_Live_Dead", "viability"),
        ("Pt195Di", "195Pt_Cisplatin", "viability"),
        ("Pt195Di", "Cisplatin195", "viability"),
        ("In115Di", "115In_Viability", "viability"),
        ("Pt195Di", "195Pt_Live/Dead", "viability"),
        ("Pt195Di", "195Pt", "background"),
        ("Ce140Di", "140Ce_Bead", "bead"),
        ("Ce140Di", "140Ce_EQ4 Beads", "bead"),
        ("Ce140Di", "140Ce", "bead"),
        ("Bead1(La139)Di", "", "bead"),
        ("(Pd102)Di", "BC102", "barcode"),
        ("Pd102Di", "102Pd_Barcode_1", "barcode"),
        ("Pd102Di", "102Pd_BCMA", "marker"),
        ("Pd102Di", "102Pd_Bcl2", "marker"),
        ("Sn120Di", "120Sn", "background"),
        ("BCKG190Di", "190BCKG", "background"),
        ("Xe131Di", "131Xe_BCKG131", "background"),
        ("Yb171Di", "171Yb_DNAM-1", "marker"),
        ("Yb171Di", "171Yb_CD226", "marker"),
        ("Time", "", "time"),
        ("Event_length", "Event_length", "event_length"),
        ("Cell_length", "", "event_length"),
        ("Center", "", "gaussian"),
        ("Offset", "", "gaussian"),
        ("Width", "Width", "gaussian"),
        ("Residual", "", "gaussian"),
        ("Amplitude", "", "gaussian"),
        ("PhenoGraph", "PhenoGraph", "none"),
        ("tSNE1", "", "none"),
    ],
)
def test_the_role_of_a_channel(pnn: str, pns: str, role: str) -> None:
    assert guess_role(pnn, marker_name(pnn, pns), channel_isotope(pnn, pns)) == role


@pytest.mark.parametrize(
    ("marker", "kind"),
    [
        ("CD3", "type"),
        ("CD8", "type"),
        ("CAR_ID", "type"),
        ("VHH", "type"),
        ("TCRγδ", "type"),
        ("PD-1", "state"),
    ],
)
def test_lineage_markers_are_of_class_type(marker: str, kind: str) -> None:
    assert guess_class(marker, "marker") == kind
    assert guess_class(marker, "dna") == "none"


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
    assert marker_hint("CD45R0", panel).startswith("known:")
    assert marker_hint("CD279", panel) == "did you mean 'PD-1'?"
    assert marker_hint("Granzym B", panel) == "did you mean 'Granzyme B'?"
    assert marker_hint("GZMB", panel) == "did you mean 'Granzyme B'?"


def test_synonyms_are_one_antigen() -> None:
    assert antigens("Granzyme B") == antigens("GZMB") == {"gzmb"}
