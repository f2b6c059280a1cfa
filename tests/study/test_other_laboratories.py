"""One study in the names of five other laboratories: from `init` and a filled-in sheet alone, the same cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import anndata
import flowio
import numpy as np
import pandas as pd
import pytest

from cytocar import datasets, report
from cytocar.io._fcs.write import write_events
from cytocar.panel import Panel
from cytocar.panel.antigens import antigens
from cytocar.study import check, init, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_figures")]


@pytest.fixture(scope="module")
def no_figures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(report.build.__globals__, "FIGURES", ())
        yield


CELLS = 5_000
SAMPLES = {"P1_2mo.fcs": ("2mo", 2), "P1_5yr.fcs": ("5yr", 60)}
NO_ISOTOPE = ("Time", "Event_length", "Center", "Offset", "Width", "Residual")

# Antigens on the metals of the beads, as the plain files have them.
BEADS = ("EQ Beads", "CD107a", "TIGIT", "CD45RO", "ICOS")

# $PnN and marker -> $PnN and $PnS of another laboratory.
Convention = Callable[[str, str], tuple[str, str]]


def isotope(pnn: str) -> tuple[str, str]:
    """('Er', '170') of `Er170Di`."""
    return pnn[:2].rstrip("0123456789"), "".join(letter for letter in pnn if letter.isdigit())


def plainly(pnn: str, marker: str) -> tuple[str, str]:
    element, mass = isotope(pnn)
    return pnn, f"{mass}{element}_{marker}"


def as_in_cytobank(pnn: str, marker: str) -> tuple[str, str]:
    element, mass = isotope(pnn)
    names = {"Bead140": "140Ce_EQ", "Cisplatin194": "cisPt194", "Cisplatin195": "cisPt195"}
    marker = names.get(marker, marker)
    return f"{marker}({element}{mass})Dd", f"{marker} (v)"


def as_in_r(pnn: str, marker: str) -> tuple[str, str]:
    element, mass = isotope(pnn)
    names = {"Bead140": "EQ", "Cisplatin194": "cisPt", "Cisplatin195": "Live.Dead", "HLADR": "HLA.DR"}
    name = f"X{mass}{element}_{names.get(marker, marker)}"
    return name, name


def as_in_omiq(pnn: str, marker: str) -> tuple[str, str]:
    element, mass = isotope(pnn)
    names = {"Bead140": "EQ4", "Cisplatin194": "Viability194", "Cisplatin195": "Viability195"}
    return f"{pnn}___{mass}{element}_{names.get(marker, marker)}", ""


def by_antigens_alone(pnn: str, marker: str) -> tuple[str, str]:
    names = {"Bead140": "EQ Beads", "Cisplatin194": "cisPt194", "Cisplatin195": "cisPt195"}
    return names.get(marker, marker), ""


SYNONYMS = {
    "PD1": "CD279", "LAG3": "CD223", "TIM3": "CD366", "CCR7": "CD197", "GZMB": "Granzyme B", "CD8a": "CD8",
    "CTLA4": "CD152", "ICOS": "CD278", "Ki67": "MKI67", "CD45": "PTPRC", "CD3": "CD3e", "CD4": "CD4 (RPA-T4)",
    "CD62L": "L-Selectin", "CXCR5": "CD185", "CXCR3": "CD183", "CCR6": "CD196", "CD56": "NCAM",
    "CD25": "IL2RA", "CD127": "IL-7Ra", "CD11b": "Mac-1", "HLADR": "HLA-DR", "CD95": "Fas", "TCRgd": "TCR γδ",
    "CD66b": "CEACAM8", "CD16": "FCGR3A", "CD161": "KLRB1",
    "Bead140": "EQ", "Cisplatin194": "Live/Dead", "Cisplatin195": "cisplatin-195Pt",
}  # fmt: skip


def by_synonyms(pnn: str, marker: str) -> tuple[str, str]:
    element, mass = isotope(pnn)
    marker = "" if marker.startswith("BCKG") else SYNONYMS.get(marker, marker)
    return pnn, f"{mass}{element}_{marker}" if marker else f"{mass}{element}"


CONVENTIONS: dict[str, Convention] = {
    "Cytobank": as_in_cytobank,
    "R": as_in_r,
    "OMIQ": as_in_omiq,
    "antigens": by_antigens_alone,
    "synonyms": by_synonyms,
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "study"
    datasets.write_legend2(folder, seed=0, cells=CELLS)
    return folder / "fcs"


def rewritten(simulated: Path, folder: Path, convention: Convention, cyt: str = "") -> Path:
    folder.mkdir(parents=True)
    for name in SAMPLES:
        data = flowio.FlowData(str(simulated / name))
        keywords = {f"${key.upper()}": data.text[key] for key in ("date", "btim", "etim", "timestep")}
        keywords["$CYT"] = cyt or data.text["cyt"]
        channels = [
            (pnn, pns if convention is not by_antigens_alone else "")
            if pnn in NO_ISOTOPE
            else convention(pnn, pns.split("_", 1)[1])
            for pnn, pns in zip(data.pnn_labels, data.pns_labels, strict=True)
        ]
        events = np.asarray(data.as_array(preprocess=False))
        write_events(folder / name, events, channels, keywords)
    return folder


def analysed(fcs: Path, folder: Path, settings_too: str = "") -> Path:
    """`init`, a sheet that is filled in, `run`."""
    init(fcs, folder / "study")
    sheet = pd.read_csv(folder / "study" / "samples.csv", dtype=object)
    for row, file in sheet["file"].items():
        timepoint, months = SAMPLES[Path(file).name]
        columns = ["sample_id", "patient_id", "timepoint", "months", "role"]
        sheet.loc[row, columns] = [Path(file).stem, "P1", timepoint, months, "patient"]
    sheet.to_csv(folder / "study" / "samples.csv", index=False)
    settings = folder / "study" / "study.yaml"
    settings.write_text(
        settings.read_text() + f"\nclustering: {{method: 'off'}}\nembedding: 'off'\n{settings_too}\n"
    )
    assert check(folder / "study").problems == ()
    run(folder / "study", folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def plain(simulated: Path, tmp_path_factory: pytest.TempPathFactory, no_figures: None) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    return analysed(rewritten(simulated, folder / "fcs", plainly), folder)


@pytest.fixture(scope="module", params=list(CONVENTIONS))
def other(
    request: pytest.FixtureRequest,
    simulated: Path,
    tmp_path_factory: pytest.TempPathFactory,
    no_figures: None,
) -> Path:
    folder = tmp_path_factory.mktemp("other")
    cyt = "DVSSCIENCES-CYTOFXT-9.0.2" if request.param == "synonyms" else ""
    fcs = rewritten(simulated, folder / "fcs", CONVENTIONS[request.param], cyt)
    # Which antigens are on the metals of the beads cannot be known from the names of antigens.
    beads = f"beads: [{', '.join(BEADS)}]" if request.param == "antigens" else ""
    return analysed(fcs, folder, beads)


def counts(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "tables" / "ledger.csv")[["sample_id", "population", "events"]]


def cells(out: Path) -> anndata.AnnData:
    return anndata.read_h5ad(out / "cells.h5ad")


def panel(out: Path) -> pd.DataFrame:
    """Role and class of every mass channel, in the order of the files."""
    frame = Panel.read(out.parent / "study" / "panel.csv").frame
    return frame.loc[~frame["channel"].isin(NO_ISOTOPE), ["role", "marker_class"]].reset_index(drop=True)


def test_every_population_has_the_same_events(plain: Path, other: Path) -> None:
    assert (counts(plain).set_index("population").loc["CAR-T", "events"] > 5).all()
    pd.testing.assert_frame_equal(counts(other), counts(plain))


def test_car_t_cells_and_subsets_are_the_same_cells(plain: Path, other: Path) -> None:
    here, there = cells(plain), cells(other)
    assert list(there.obs_names) == list(here.obs_names)
    for column in ("sample_id", "compartment", "subset"):
        assert there.obs[column].astype(str).tolist() == here.obs[column].astype(str).tolist()
    assert (here.obs["compartment"] == "car").sum() > 100


def test_frequencies_and_subsets_are_the_same_tables(plain: Path, other: Path) -> None:
    for name in ("car_frequency.csv", "subsets.csv"):
        assert (other / "tables" / name).read_bytes() == (plain / "tables" / name).read_bytes()


def test_every_marker_is_the_same_antigen_with_the_same_values(plain: Path, other: Path) -> None:
    here, there = cells(plain), cells(other)
    antibody = here.var["role"] == "marker"
    for ours, theirs in zip(here.var_names[antibody], there.var_names[antibody], strict=True):
        assert antigens(ours) & antigens(theirs)
    np.testing.assert_array_equal(np.asarray(there.X), np.asarray(here.X))


def test_roles_and_classes_are_the_same(plain: Path, other: Path) -> None:
    pd.testing.assert_frame_equal(panel(other), panel(plain))


def test_beads_that_antigens_alone_do_not_tell_are_said(simulated: Path, plain: Path, tmp_path: Path) -> None:
    fcs = rewritten(simulated, tmp_path / "fcs", by_antigens_alone)
    out = analysed(fcs, tmp_path)
    (left,) = check(tmp_path / "study").plan.left
    assert left.startswith("beads found and signals normalised to them (EQ Beads is there, but")
    # Beads that stay are debris by their DNA; what they carry off is a few of the cells near the limits.
    both = counts(plain).merge(counts(out), on=["sample_id", "population"])
    car = both[both["population"] == "CAR-T"]
    assert (abs(car["events_x"] - car["events_y"]) <= 0.05 * car["events_x"] + 1).all()
