"""From a folder of FCS files to the CAR-T analysis: `init`, the sample sheet, `run`, with panels that differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anndata
import flowio
import numpy as np
import pandas as pd
import pytest

from cytocar import datasets
from cytocar.io._fcs.write import write_events
from cytocar.study import check, init, run

pytestmark = pytest.mark.usefixtures("no_figures")

CELLS = 12_000


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "study"
    datasets.write_legend2(folder, seed=0, cells=CELLS)
    for name in ("P1_1yr", "P1_3yr"):
        (folder / "fcs" / f"{name}.fcs").unlink()
    return folder / "fcs"


def marker_of(pns: str) -> str:
    return pns.split("_", 1)[-1]


def analysed(
    simulated: Path, folder: Path, *, without: tuple[str, ...] = (), called: Mapping[str, str] | None = None
) -> Path:
    """Rewrite the files without some channels and with others called otherwise, and analyse them from init alone."""
    called = called or {}
    (folder / "fcs").mkdir(parents=True)
    for path in sorted(simulated.glob("*.fcs")):
        data = flowio.FlowData(str(path))
        events = np.asarray(data.as_array(preprocess=False))
        names = list(zip(data.pnn_labels, data.pns_labels, strict=True))
        keep = [n for n, (_, pns) in enumerate(names) if marker_of(pns) not in without]
        renamed = [
            (names[n][0], names[n][1].replace(marker := marker_of(names[n][1]), called.get(marker, marker)))
            for n in keep
        ]
        write_events(folder / "fcs" / path.name, events[:, keep], renamed)
    init(folder / "fcs", folder / "study")
    settings = folder / "study" / "study.yaml"
    quick = "\nclustering: {method: 'off'}\nembedding: 'off'\n"
    settings.write_text(settings.read_text() + quick)
    assert check(folder / "study").problems == ()
    run(folder / "study", folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def plain(simulated: Path, tmp_path_factory: pytest.TempPathFactory, no_figures: None) -> Path:
    return analysed(simulated, tmp_path_factory.mktemp("plain"))


def ledger(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "tables" / "ledger.csv").set_index(["sample_id", "population"])["events"]


def car_cells(out: Path) -> set[str]:
    cells = anndata.read_h5ad(out / "cells.h5ad")
    return set(cells.obs_names[cells.obs["compartment"] == "car"])


def texts(out: Path) -> str:
    return (out / "report.html").read_text()


@pytest.mark.parametrize("reagent", ["FMC63", "EGFRt", "CAR_ID"])
def test_by_another_reagent_the_same_cells_are_found(
    reagent: str, simulated: Path, plain: Path, tmp_path: Path
) -> None:
    out = analysed(simulated, tmp_path, called={"VHH": reagent})
    assert ledger(out).equals(ledger(plain))
    assert car_cells(out) == car_cells(plain)
    assert "host T cells" in texts(out)


def test_without_cd7_t_cells_are_those_with_cd3(simulated: Path, plain: Path, tmp_path: Path) -> None:
    out = analysed(simulated, tmp_path, without=("CD7",))
    with_cd7, counts = ledger(plain), ledger(out)
    for sample in ("2mo", "5yr"):
        assert counts[sample, "CD14-"] == with_cd7[sample, "CD14-"]
        assert counts[sample, "T cells"] >= with_cd7[sample, "T cells"]
    assert len(car_cells(plain) - car_cells(out)) <= 0.02 * len(car_cells(plain))
    assert len(car_cells(out)) <= 1.15 * len(car_cells(plain))
    assert "CD7+ (no CD7 in the panel)" in (tmp_path / "study" / "gating.yaml").read_text()


def test_without_cd3_and_cd19_the_report_speaks_of_no_t_cells(
    simulated: Path, plain: Path, tmp_path: Path
) -> None:
    out = analysed(simulated, tmp_path, without=("CD3", "CD19"))
    found = car_cells(out)
    assert len(found & car_cells(plain)) >= 0.85 * len(car_cells(plain))
    assert len(found - car_cells(plain)) <= 0.1 * len(found)
    page = texts(out)
    assert "CAR-negative cells" in page
    assert "CAR+ cells are not restricted to T cells" in page
    for word in ("host T", "Host T", "CAR-T"):
        assert word not in page
    remarks = pd.read_csv(out / "tables" / "comparisons.csv").to_csv()
    assert "host T" not in remarks
    assert "CAR-T" not in remarks


def test_without_cd45_and_cd4_shares_are_of_cells_and_there_are_no_subsets(
    simulated: Path, tmp_path: Path
) -> None:
    out = analysed(simulated, tmp_path, without=("CD45", "CD4"))
    assert not (out / "tables" / "subsets.csv").exists()
    page = texts(out)
    assert "% of cells" in page
    assert "CD45+" not in page
    assert "not known (not known" not in page
    assert "ubsets" not in page.split('id="record"')[0]


def test_subsets_by_other_markers_are_counted_compared_and_said(simulated: Path, tmp_path: Path) -> None:
    analysed(simulated, tmp_path / "first")
    study = tmp_path / "first" / "study"
    gating = (study / "gating.yaml").read_text()
    begin, end = gating.index("subsets:"), gating.index("plots:")
    gating = f"{gating[:begin]}subsets:\n  naive: [CD45RA+]\n  memory: [CD45RA-]\n{gating[end:]}"
    threshold = "  CD45RA: {marker: CD45RA, value: 2.0, in: T cells}\n"
    (study / "gating.yaml").write_text(gating.replace("populations:", threshold + "populations:"))
    out = tmp_path / "second"
    run(study, out)
    subsets = pd.read_csv(out / "tables" / "subsets.csv")
    counts = ledger(out)
    assert set(subsets["subset"]) == {"naive", "memory"}
    for row in subsets.itertuples():
        assert (
            row.n
            == counts[row.sample_id, f"{'CAR-T' if row.compartment == 'car' else 'Host T'} {row.subset}"]
        )
    compared = pd.read_csv(out / "tables" / "comparisons.csv")
    assert set(compared["subset"]) == {"naive", "memory", "all"}
    assert "naive is CD45RA+" in texts(out)
    assert set(anndata.read_h5ad(out / "cells.h5ad").obs["subset"].astype(str)) == {"naive", "memory"}


def test_the_exhaustion_panel_is_analysed_from_init_and_its_sheet(test_data: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    init(test_data / "cart", study)
    sheet = pd.read_csv(study / "samples.csv", dtype=object)
    patient = sheet["role"] == "patient"
    assert sheet.loc[patient, "sample_id"].tolist() == ["032219_CD19-HA"]
    sheet.loc[patient, ["patient_id", "timepoint", "months"]] = ["P1", "product", "0"]
    sheet.to_csv(study / "samples.csv", index=False)
    (study / "study.yaml").write_text(
        (study / "study.yaml").read_text() + "\nclustering: {method: 'off'}\nembedding: 'off'\n"
    )
    run(study, tmp_path / "out")
    counts = ledger(tmp_path / "out")
    # By the strategy that was written by hand for these files (workflows/exhaustion_panel).
    expected = {
        ("032219_CD19-HA", "CAR+"): 13967, ("032219_CD19-HA", "CD45+"): 27071,
        ("032219_CD19-HA", "CAR+ CD4"): 5844, ("032219_CD19-HA", "CAR+ CD8"): 7912,
        ("102518_Sample_18_HA", "CAR+"): 23, ("032219_Healthy-PBMC2", "CAR+"): 1,
    }  # fmt: skip
    assert {key: int(counts[key]) for key in expected} == expected
    page = texts(tmp_path / "out")
    assert "CAR+ cells were 51.6 % of CD45+ cells" in page
    assert "host T" not in page
