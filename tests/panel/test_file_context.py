"""What the other channels of a file say of one: rhodium, and mass cytometry whose names hold antigens only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytocar import io
from cytocar.io._fcs.inspect import inspect_file
from cytocar.io._fcs.write import write_events
from cytocar.panel import Panel
from cytocar.study._scaffold.guess_panel import guess_panel

METALS = ["In113", "Er168", "Pt195", "Tb159", "Gd156"]
NAMES_ONLY = [
    "Time",
    "Event_length",
    "DNA1",
    "DNA2",
    "CD45",
    "CD3",
    "CD4",
    "CD8a",
    "VHH",
    "Viability",
    "tSNE1",
    "Center",
]


def roles(*channels: tuple[str, str], instrument: str = "") -> list[str]:
    return list(Panel.from_channels(channels, instrument=instrument).frame["role"])


@pytest.mark.parametrize(
    "name", ["103Rh_Intercalator", "103Rh_DNA", "Cell-ID Intercalator-Rh", "103Rh_Viability"]
)
def test_rhodium_marks_dead_cells_beside_iridium(name: str):
    assert roles(("Rh103Di", name), ("Ir191Di", "191Ir_DNA1"))[0] == "viability"


@pytest.mark.parametrize("name", ["103Rh_Intercalator", "103Rh_DNA"])
def test_rhodium_is_dna_without_iridium(name: str):
    assert roles(("Rh103Di", name), ("Yb171Di", "171Yb_CD3"))[0] == "dna"


def test_rhodium_as_barcode_or_empty_stays_so():
    assert roles(("Rh103Di", "103Rh_BC1"), ("Ir191Di", ""))[0] == "barcode"
    assert roles(("Rh103Di", ""), ("Ir191Di", ""))[0] == "background"


@pytest.mark.parametrize(
    "name",
    [
        "Cell-ID Cisplatin", "cisPt", "Cis", "cisplatin", "Cell-ID Cisplatin-195Pt", "Live/Dead", "L/D", "Live-Dead",
        "LD",         "viability", "Zombie", "Dead cells", "DVS_Cisplatin", "platinum",
    ],
)  # fmt: skip
def test_stains_of_dead_cells_on_platinum(name: str):
    assert roles(("Pt195Di", f"195Pt_{name}"), ("Ir191Di", ""))[0] == "viability"


@pytest.mark.parametrize(
    "name",
    [
        "EQ",
        "EQ4",
        "EQ6",
        "140Ce_EQ",
        "EQ_Beads",
        "EQBeads",
        "Bead1",
        "Norm_beads",
        "EQ Four Element",
        "calibration beads",
    ],
)
def test_calibration_beads_by_their_names(name: str):
    row = Panel.from_channels([("Ce140Di", name)]).frame.iloc[0]
    assert (row["role"], row["used_for_clustering"]) == ("bead", False)


@pytest.mark.parametrize("name", ["Time_Time", "Time", "TIME"])
def test_time_is_time_when_it_is_written_twice(name: str):
    assert roles((name, name)) == ["time"]


def test_pulse_shape_by_its_longer_names():
    assert roles(("Center_Peak", ""), ("Cell_length_Cell_length", "")) == ["gaussian", "event_length"]


def test_antigens_without_isotopes_are_mass_cytometry_where_the_file_shows_it():
    panel = Panel.from_channels([(name, "") for name in NAMES_ONLY])
    frame = panel.frame.set_index("channel")
    assert list(frame.loc[["DNA1", "CD3", "Viability", "tSNE1", "Center"], "role"]) == [
        "dna", "marker", "viability", "none", "gaussian",
    ]  # fmt: skip
    assert frame.loc["VHH", "used_for_clustering"]
    assert frame.loc["CD3", "cofactor"] == 5
    assert roles(("CD3", ""), ("CD4", "")) == ["none", "none"]
    assert roles(("CD3", ""), ("CD4", ""), instrument="DVSSCIENCES-CYTOF-6.0.626") == ["marker", "marker"]
    assert roles(("FSC-A", ""), ("CD4", ""), instrument="CYTOF")[1] == "none"


def test_such_a_panel_is_written_and_read_back(tmp_path: Path):
    panel = Panel.from_channels([(name, "") for name in NAMES_ONLY])
    path = tmp_path / "panel.csv"
    path.write_text(panel.to_csv(), encoding="utf-8")
    again = Panel.read(path)
    assert again.frame.equals(panel.frame)
    assert list(again.var["mass"]) == [0] * int(panel.has_mass.sum())


def test_such_a_file_is_read_as_mass_cytometry(tmp_path: Path):
    path = tmp_path / "a.fcs"
    rng = np.random.default_rng(0)
    write_events(
        path, rng.gamma(1, 20, (300, len(NAMES_ONLY))).astype(np.float32), [(n, "") for n in NAMES_ONLY]
    )
    adata = io.read_fcs(path)
    assert list(adata.var_names) == ["DNA1", "DNA2", "CD45", "CD3", "CD4", "CD8a", "VHH", "Viability"]
    assert set(adata.var["cofactor"]) == {5.0}
    panel = Panel.from_channels([(name, "") for name in NAMES_ONLY])
    assert list(io.read_fcs(path, panel=panel).var_names) == list(adata.var_names)


@pytest.mark.parametrize(("beside", "role"), [("Ir191Di", "viability"), ("Yb171Di", "dna")])
def test_rhodium_in_a_panel_file_is_read_by_the_other_rows(tmp_path: Path, beside: str, role: str):
    path = tmp_path / "panel.csv"
    path.write_text(f"channel,marker\nRh103Di,Intercalator\n{beside},X1\n", encoding="utf-8")
    assert Panel.read(path).frame["role"].iloc[0] == role


def test_a_channel_that_some_files_lack_has_its_role_by_the_others():
    rhodium, iridium, duplicate = ("Rh103Di", "Intercalator"), ("Ir191Di", "DNA1"), ("Cd106Di", "CD45")
    common = [iridium, ("Y89Di", "CD45")]
    guessed = guess_panel([("a.fcs", [rhodium, duplicate, *common]), ("b.fcs", common)])
    rows = [dict(panel.frame.iloc[0]) for panel, _ in guessed.partial]
    assert [(row["marker"], row["role"]) for row in rows] == [
        ("Intercalator", "viability"), ("CD45_106Cd", "marker"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Event.length", "event_length"),
        ("Cell.length", "event_length"),
        ("Event_length___Event_length", "event_length"),
        ("Time___Time", "time"),
        ("Gaussian_Center", "gaussian"),
        ("Peak_Width", "gaussian"),
        ("Center.Peak", "gaussian"),
        ("timepoint", "none"),
        ("FSC-Width", "none"),
        ("bandwidth", "none"),
    ],
)
def test_what_describes_an_event_is_known_in_the_spelling_of_other_programs(name: str, role: str):
    assert roles((name, "")) == [role]


def test_a_guessed_panel_is_one_that_can_be_read(tmp_path: Path):
    names = ["CD235ab/CD61", "pErk1/2", "Live/Dead", "F4/80", "CD16/32"]
    panel = Panel.from_channels([(f"{metal}Di", name) for metal, name in zip(METALS, names, strict=True)])
    path = tmp_path / "panel.csv"
    path.write_text(panel.to_csv(), encoding="utf-8")
    assert Panel.read(path).frame.equals(panel.frame)
    assert panel.find("F4/80") == "F4_80"


@pytest.mark.parametrize(
    ("scale", "said"),
    [(np.asarray, False), (lambda counts: np.arcsinh(counts / 5), True)],
    ids=["counts", "arcsinh"],
)
def test_such_a_file_is_told_to_be_mass_cytometry_and_transformed_where_it_is(
    tmp_path: Path, scale, said: bool
):
    counts = np.random.default_rng(0).gamma(1, 40, (300, len(NAMES_ONLY)))
    write_events(tmp_path / "a.fcs", scale(counts).astype(np.float32), [(n, "") for n in NAMES_ONLY])
    oddities = inspect_file(tmp_path / "a.fcs").oddities
    assert any("this is mass cytometry" in oddity for oddity in oddities)
    assert not any("not mass cytometry" in oddity for oddity in oddities)
    assert any("transformed already" in oddity for oddity in oddities) == said
    steps = str(io.read_fcs(tmp_path / "a.fcs").uns["cytocar"])
    assert ("transformed already" in steps) == said
