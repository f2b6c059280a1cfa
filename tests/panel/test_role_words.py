"""What a channel is for, by names as makers and users of stains, beads and barcodes write them."""

from __future__ import annotations

import re
from typing import Final

import pytest

from cytocar.panel import Panel
from cytocar.panel.antigens import synonyms
from cytocar.panel.role_words import role_by_name

BEADS: Final = """
    EQ; EQ4; EQ 4; EQ_4; EQ-4; EQ5; EQ6; EQ-Beads; EQ4_Beads; EQBeads; EQbeads4; EQ Beads 140; Bead_140
    Beads; Bead-1; Bead A; EQ4 bead1; EQ Six; EQ6 Beads; Maxpar EQ; Maxpar EQ4
    Maxpar EQ Four Element Calibration Beads; Cal Beads; CalibBead; EQ™ Four Element Calibration Beads
    EQ Four Element Calibration Bead 1; EQ4 Element; NormBeads1; norm bead; bead_norm; Ce140 beads
    Ce_Bead; EQBead140Ce; Standard beads; Normalization beads; DVS Beads; EQ Passport Beads; EQ Ce
    Ce EQ; Ce140_EQ; 140_EQ; Calibration; Bead (EQ); EQ4-Ce; BEADS; EQBeads (v)
"""
DEAD: Final = """
    Cisplatin; cisplatin-195; CisPt; cis-Pt; Cis-Platin; cisplat; CDDP; Cell-ID Cisplatin
    Cell-ID Cisplatin-195Pt; Cisplat 195; CellID-Cisplatin; Maxpar Cisplatin; Fluidigm Cisplatin
    Live/Dead; Live-Dead; LiveDead; Live_Dead; LIVE DEAD; Dead/Live; L/D; L-D; LD; L_D; Viability; viab
    Viable; Viability_cisplatin; Cisplatin (viability); Dead; Dead cells; DeadCell; Alive; Zombie
    Zombie NIR; Zombie Aqua; Ghost Dye; mDOTA; DOTA-maleimide; maleimide-DOTA; Viability dye
    Live/Dead stain; LD cis; LiveDead Cisplatin; LD_cisplatin; Viability 1; viability2; Pt-viability
    Dead/Alive; LIVE/DEAD Fixable; LD-Pt; CisPt195; Monoisotopic cisplatin; Cisplatin Pt195
    195 cisplatin; Dead cell marker; live_dead_marker; Membrane integrity; Cis; Cell ID Cis; Dead_Stain
    Cisplatin_Viability
"""
RHODIUM: Final = """
    Intercalator; Cell-ID Intercalator-Rh; Cell-ID Intercalator Rh; Rh Intercalator; Intercalator-103Rh
    DNA; DNA3; Rh_DNA; CellID Intercalator Rh103; RhIntercalator; Rh103 DNA; DNA-Rh
    Cell-ID™ Intercalator-Rh
"""
BARCODES: Final = """
    BC1; BC-1; BC_1; BC 102; Barcode; Barcode1; Barcode_Pd102; Pd barcode; PdBC1; Pd102_BC; BCD1; MCB
    MCB_102; bc1; Barcode A; Sample barcode; CD45_BC1; BC1_CD45; CD45 barcode 1; B2M_BC; Pd-BC; LBC1
    20plex_BC1; Barcoding; BC1-Pd; Live barcode; Cell-ID 20-Plex; Cell-ID 20-Plex Pd; Pd BC A; 1
"""
EMPTY: Final = """
    none; NA; -; FREE; empty; Empty_126; blank; Blank1; unused; not used; Unused_Te126; Background; BKG
    bkgd; BG; 126; 126Te; (Te126Di); Te126Di; Te; no antibody; no Ab; nothing; N.A.; n/a; n.d.; ND
    not applicable; unlabeled; unstained; open channel; empty channel; spare; Xe contamination; noise
    contaminant; TBD; blank_00; [empty]; (empty); -empty-; EMPTY; no_marker; 0; available; dummy
    Unassigned; not assigned; undefined; vacant; x; ?; null; void; no stain; conta; Xe_conta; Barium
    Xenon; no tag; free channel; reserved
"""
ANTIGENS: Final = """
    BCMA; BCL2; Bcl-2; BCL6; BCL11b; B cell; LDH; LDLR; DNAM-1; CISH; LIVIN; Beadex; Free T4; Lck; CD226
    Nanog; BLNK; Ghrelin; Calreticulin; Calprotectin; CALR; CEACAM; CEA; E-Cadherin; NOX2; VIM; BCR
    BCAT; TCF1; RhD; IdU; Annexin V; cPARP; EQTN; Histone H3; H3K27me3; BCA-1; BLK; HIV Env; Cis; HLA-A
    NKp44; LAT; pLAT; anti-PE; 136.20.1; 4-1BB; IL-2
"""


def listed(text: str) -> list[str]:
    """Return the names of a text, semicolons or new lines between them."""
    return [name.strip() for name in re.split(r"[;\n]", text) if name.strip()]


def row_of(channel: str, name: str, *others: tuple[str, str]) -> dict[str, object]:
    return dict(Panel.from_channels([(channel, name), *others]).frame.iloc[0])


IRIDIUM: Final = ("Ir191Di", "191Ir_DNA1")
CASES: Final = [
    (channel, isotope, name, role)
    for channel, isotope, names, role in (
        ("Ce140Di", "140Ce", BEADS, "bead"),
        ("Eu151Di", "151Eu", BEADS, "bead"),
        ("Pt195Di", "195Pt", DEAD, "viability"),
        ("Rh103Di", "103Rh", RHODIUM, "viability"),
        ("Pd102Di", "102Pd", BARCODES, "barcode"),
        ("Te126Di", "126Te", EMPTY, "background"),
        ("Nd145Di", "145Nd", ANTIGENS, "marker"),
    )
    for name in listed(names)
]


@pytest.mark.parametrize(("channel", "isotope", "name", "role"), CASES)
def test_a_channel_has_the_role_that_its_name_says(channel: str, isotope: str, name: str, role: str) -> None:
    own = channel == "Eu151Di" and re.search("Ce|140", name)
    for spelled in () if own else (name, f"{isotope}_{name}"):
        row = row_of(channel, spelled, IRIDIUM, ("Yb171Di", "171Yb_CD3"))
        assert (row["role"], row["used_for_clustering"]) == (role, role == "marker"), spelled


@pytest.mark.parametrize("name", listed(RHODIUM))
def test_rhodium_alone_is_dna(name: str) -> None:
    assert row_of("Rh103Di", f"103Rh_{name}", ("Yb171Di", "171Yb_CD3"))["role"] == "dna"


@pytest.mark.parametrize("symbol", ["Nd", "Pt", "Pd", "Ce", "Rh", "In", "Ir", "Cd", "Y", "I"])
def test_no_antigen_is_taken_for_anything_else(symbol: str) -> None:
    # The table has DNA and the stains of dead cells too.
    names = {name for row in synonyms() if not role_by_name(row[0]) for name in row}
    assert len(names) > 1000
    assert {name: role for name in names if (role := role_by_name(name, symbol))} == {}


@pytest.mark.parametrize("name", ["Live CD45", "CD45 (live)", "CD45", "CD45_A", "CD45-106Cd", "LiveCD45"])
def test_live_barcodes_named_by_their_antigen_are_antibodies(name: str) -> None:
    assert row_of("Cd106Di", name, IRIDIUM)["role"] == "marker"


def test_a_long_text_is_no_role() -> None:
    assert role_by_name("Cell-ID " * 500 + "z", "Pt") == ""
    assert role_by_name("beads " * 500) == ""
