"""Beads, stains of dead cells and empty channels do what they are there for, however a file names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cytocar import io, pp
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.write import write_events

N, BEADS, DEAD = 3000, 300, 280
BEAD_CHANNELS = ("Ce140Di", "Eu153Di", "Lu175Di")


def written(path: Path, names: dict[str, str]) -> Path:
    """Write cells, a tenth of them dead, and beads; `names` holds $PnS by $PnN where it is not the isotope alone."""
    rng = np.random.default_rng(0)
    channels = [
        "Time",
        "Event_length",
        "Y89Di",
        *BEAD_CHANNELS,
        "Er170Di",
        "Pt195Di",
        "Rh103Di",
        "Ir191Di",
        "Ir193Di",
    ]
    events = {channel: rng.gamma(1, 1, N) for channel in channels}
    bead = np.arange(N) % 10 == 5
    dead = (np.arange(N) % 10 == 3) & (np.arange(N) >= N - 10 * DEAD)
    events["Time"] = np.arange(N) * 10.0
    events["Event_length"] = np.full(N, 20.0)
    for channel in ("Y89Di", "Er170Di"):
        events[channel] = np.where(bead, 0, rng.lognormal(4, 0.3, N))
    for channel in ("Ir191Di", "Ir193Di"):
        events[channel] = np.where(bead, rng.gamma(1, 1, N), rng.lognormal(6, 0.1, N))
    for channel in BEAD_CHANNELS:
        events[channel] = np.where(
            bead, rng.lognormal(7, 0.1, N) * np.linspace(1.3, 1, N), rng.gamma(1, 1, N)
        )
    for channel in ("Pt195Di", "Rh103Di"):
        events[channel] = np.where(dead, rng.lognormal(6, 0.2, N), rng.lognormal(1, 0.3, N))
    spelled = [(channel, names.get(channel, "")) for channel in channels]
    write_events(path, np.column_stack([events[channel] for channel in channels]).astype(np.float32), spelled)
    return path


@pytest.mark.parametrize(
    "name", ["EQ", "EQ4", "EQ_Beads", "Maxpar EQ Four Element Calibration Beads", "140Ce_EQ", "EQ6"]
)
def test_files_are_normalised_to_beads_of_any_name(tmp_path: Path, name: str):
    adata = io.read_fcs(written(tmp_path / "a.fcs", dict.fromkeys(BEAD_CHANNELS, name)))
    assert set(adata.var.loc[adata.var["mass"].isin([140, 153, 175]), "role"]) == {"bead"}
    pp.normalize_beads(adata)
    table = pp.bead_table(adata)
    assert table["n_beads"].tolist() == [BEADS]
    assert table["spread_before"][0] > 1.2
    assert table["spread_after"][0] < 1.1


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("Pt195Di", "Cisplatin"),
        ("Pt195Di", "195Pt_Cell-ID Cisplatin"),
        ("Pt195Di", "195Pt_cisPt"),
        ("Pt195Di", "Cis"),
        ("Pt195Di", "L-D"),
        ("Pt195Di", "Zombie NIR"),
        ("Rh103Di", "103Rh_Intercalator"),
        ("Rh103Di", "Cell-ID Intercalator-Rh"),
        ("Rh103Di", "103Rh_DNA"),
    ],
)  # fmt: skip
def test_dead_cells_are_found_by_stains_of_any_name(tmp_path: Path, channel: str, name: str):
    adata = io.read_fcs(written(tmp_path / "a.fcs", {channel: name, **dict.fromkeys(BEAD_CHANNELS, "EQ")}))
    pp.clean(adata)
    assert abs(int((adata.obs["event_class"] == "dead").sum()) - DEAD) <= 3


@pytest.fixture
def cases(test_data: Path) -> Path:
    folder = test_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"the cases are not at {folder}")
    return folder


def test_beads_called_eq_are_those_called_eq_beads(cases: Path):
    tables = []
    for name in ("eq", "eq_beads"):
        adata = io.read_fcs(cases / "beads_called_EQ" / f"{name}.fcs")
        assert not adata.var.loc[adata.var["role"] == "bead", "used_for_clustering"].any()
        pp.normalize_beads(adata)
        tables.append((adata.X, pp.bead_table(adata)["n_beads"].tolist()))
    assert np.array_equal(tables[0][0], tables[1][0])
    assert tables[0][1] == tables[1][1] == [304]


@pytest.mark.parametrize("name", ["cis", "cispt", "rh_intercalator", "control_cisplatin"])
def test_one_stain_of_dead_cells_finds_the_same_by_each_of_its_names(cases: Path, name: str):
    adata = io.read_fcs(cases / "viability_names" / f"{name}.fcs")
    pp.clean(adata)
    assert int((adata.obs["event_class"] == "dead").sum()) == 300


@pytest.mark.parametrize(
    "form", ["{mass}_{metal}_{label}", "0{mass}_{metal}_{label}", "{label}_{mass}_{metal}"]
)
def test_mass_and_element_apart_are_an_isotope(cases: Path, tmp_path: Path, form: str):
    path = cases / "mass_underscore_element" / "names.fcs"
    header = read_header(path)
    names = [
        form.format(mass=parts[0], metal=parts[1], label=parts[2]) if len(parts) == 3 else name
        for name, _ in header.names
        for parts in [name.split("_")]
    ]
    write_events(tmp_path / "a.fcs", read_events(header), [(name, name) for name in names])
    adata, plain = io.read_fcs(tmp_path / "a.fcs"), io.read_fcs(path)
    assert adata.n_vars == 16
    assert list(adata.var_names) == list(plain.var_names)
    assert adata.var.loc["CD4", "mass"] == 145
    assert np.array_equal(adata.X, plain.X)


@pytest.mark.parametrize(
    "form", ["", "{mass}{metal}", "_none", "{metal}{mass}Di", "<{metal}{mass}Di>", "({metal}{mass})", "FREE"]
)
def test_channels_that_name_only_themselves_are_background(cases: Path, tmp_path: Path, form: str):
    path = cases / "unnamed_in_brackets" / "unnamed.fcs"
    header = read_header(path)
    names = list(header.names)
    empty = {"Te124Di": ("Te", 124), "Te126Di": ("Te", 126), "Hg199Di": ("Hg", 199)}
    if form:
        names = [
            (pnn, f"{empty[pnn][1]}{empty[pnn][0]}_" + form.format(metal=empty[pnn][0], mass=empty[pnn][1]))
            if pnn in empty else (pnn, pns)
            for pnn, pns in names
        ]  # fmt: skip
    write_events(tmp_path / "a.fcs", read_events(header), names)
    var = io.read_fcs(tmp_path / "a.fcs").var
    assert set(var.loc[["124Te", "126Te", "199Hg"], "role"]) == {"background"}
    assert not var.loc[["124Te", "126Te", "199Hg"], "used_for_clustering"].any()
    assert int(var["used_for_clustering"].sum()) == 12
