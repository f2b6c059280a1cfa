from __future__ import annotations

import pytest

from cytocar.panel import Panel
from cytocar.panel.classes import guess_class
from cytocar.panel.names import channel_isotope, marker_name
from cytocar.panel.roles import guess_role


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
    "with_isotope",
    [
        ("cisPt195", "viability"),
        ("140Ce_EQ", "bead"),
        ("191Ir", "dna"),
        ("131Xe", "background"),
        ("102Pd_BC1", "barcode"),
    ],
)
def test_antigens_alone_are_antibodies_beside_a_channel_that_has_its_isotope(
    with_isotope: tuple[str, str],
) -> None:
    name, role = with_isotope
    names = ["Time", "Event_length", "CD3", "CD4", name, "DNA1", "Center"]
    frame = Panel.from_channels([(each, "") for each in names]).frame
    assert frame["role"].tolist() == ["time", "event_length", "marker", "marker", role, "dna", "gaussian"]


def test_a_file_that_has_isotopes_of_antibodies_has_appended_columns() -> None:
    names = ["Time", "Event_length", "Nd145Di", "Score", "Center"]
    labels = ["", "", "145Nd_CD4", "", ""]
    frame = Panel.from_channels(zip(names, labels, strict=True)).frame
    assert frame["role"].tolist() == ["time", "event_length", "marker", "none", "gaussian"]
