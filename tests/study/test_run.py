"""The whole way through: a study folder in, tables, cells, gates, figures and report out."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from cytocar import StudyError, datasets
from cytocar._core import tables as tables_of
from cytocar._core.schemas import SCHEMAS
from cytocar.io import read_fcs, write_fcs
from cytocar.study import run

pytestmark = pytest.mark.usefixtures("no_figures")


def table(out: Path, name: str) -> pd.DataFrame:
    found = tables_of.read(out / "tables", name)
    assert found is not None, f"no table {name}"
    return found


def test_everything_promised_is_there(finished):
    assert {path.name for path in finished.iterdir()} == {
        "report.html", "cells.h5ad", "tables", "figures", "gates.xml", "provenance.json",
    }  # fmt: skip
    for name in (
        "ledger",
        "car_frequency",
        "subsets",
        "clusters",
        "cluster_profiles",
        "comparisons",
        "kinetics",
    ):
        columns = SCHEMAS[name].always
        assert tuple(table(finished, name).columns[: len(columns)]) == columns
    stems = {path.stem for path in (finished / "figures").iterdir()}
    assert stems >= {
        "gating", "heatmap", "tsne_clusters", "tsne_timepoints", "tsne_markers", "subsets", "cluster_frequencies",
        "violins_subsets", "violins_car_vs_host", "kinetics", "quality",
    }  # fmt: skip
    for stem in stems:
        assert (finished / "figures" / f"{stem}.png").stat().st_size > 5000
        assert (finished / "figures" / f"{stem}.svg").stat().st_size > 1000


def test_the_ledger_accounts_for_every_event_of_every_file(study, finished):
    ledger = table(finished, "ledger")
    for sample, rows in ledger.groupby("sample_id"):
        events = rows.set_index("population")["events"]
        [path] = (study / "fcs").glob(f"{sample}.fcs")
        assert events["events"] == read_fcs(path).n_obs
        removed = rows[(rows["parent"] == "events") & (rows["population"] != "cells")]["events"].sum()
        assert events["cells"] + removed == events["events"]
        assert events["CAR-T"] + events["Host T"] == events["T cells"]
        parts = [events[f"CAR-T {subset}"] for subset in ("CD4", "CD8", "DN", "DP")]
        assert sum(parts) == events["CAR-T"]


def test_frequencies_have_exact_intervals_and_agree_with_ledger_and_cells(finished):
    cells = anndata.read_h5ad(finished / "cells.h5ad")
    ledger = table(finished, "ledger").set_index(["sample_id", "population"])["events"]
    for row in table(finished, "car_frequency").itertuples():
        assert row.n_car == ledger[(row.sample_id, "CAR-T")]
        assert row.n_cd45 == ledger[(row.sample_id, "CD45+")]
        kept = (cells.obs["sample_id"] == row.sample_id) & (cells.obs["compartment"] == "car")
        assert kept.sum() == row.n_car
        exact = binomtest(row.n_car, row.n_cd45).proportion_ci(0.95, method="exact")
        assert row.pct_low == pytest.approx(100 * exact.low, rel=1e-6)
        assert row.pct_high == pytest.approx(100 * exact.high, rel=1e-6)
        assert row.call in ("not_detected", "detected", "quantified")


def test_cells_can_be_traced_to_the_rows_of_their_files(study, finished):
    cells = anndata.read_h5ad(finished / "cells.h5ad")
    one = cells[cells.obs["sample_id"] == "P1_5yr"]
    events = read_fcs(study / "fcs" / "P1_5yr.fcs", panel=study / "panel.csv")
    rows = one.obs["event_index"].to_numpy()
    alone = ["CD45", "DNA1", "DNA2"]
    raw, kept = (np.asarray(x, dtype=float) for x in (events[rows, alone].X, one[:, alone].layers["counts"]))
    factor = kept.sum(axis=1) / raw.sum(axis=1)
    # Normalisation multiplies every channel of an event by one factor; into these channels nothing leaks.
    assert np.allclose(kept, raw * factor[:, None], rtol=1e-3)
    assert 0.7 < factor.min() < factor.max() < 1.5
    assert np.allclose(one.X, np.arcsinh(one.layers["counts"] / 5), atol=1e-5)


def test_cells_open_in_scanpy_and_write_back(finished, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy as sc
    cells = anndata.read_h5ad(finished / "cells.h5ad")
    cars = cells[cells.obs["compartment"] == "car"].copy()
    means = sc.get.aggregate(cars, by="timepoint", func="mean")
    assert list(means.obs_names) == ["2mo", "1yr", "3yr", "5yr"]
    cells.write_h5ad(tmp_path / "again.h5ad")
    again = anndata.read_h5ad(tmp_path / "again.h5ad")
    assert np.array_equal(again.X, cells.X)
    assert json.loads(again.uns["cytocar"]["shares_kept"])["P1_2mo"]["car"] == 1.0


def test_labels_are_for_car_cells_and_maps_have_coordinates_for_them(finished):
    cells = anndata.read_h5ad(finished / "cells.h5ad")
    car = (cells.obs["compartment"] == "car").to_numpy()
    for method in ("phenograph", "flowsom"):
        labelled = (cells.obs[method].astype(str) != "").to_numpy()
        assert np.array_equal(labelled, car)
    assert np.isfinite(cells.obsm["X_tsne"]).all(axis=1).tolist() == car.tolist()
    clusters = table(finished, "clusters")
    for method, rows in clusters.groupby("method"):
        assert rows["n"].sum() == car.sum(), method


def test_found_agrees_with_the_truth(study, finished):
    samples = datasets.score_legend2(study, finished)["samples"]
    pooled_found = (samples["precision"] * samples["n_car_found"]).sum()
    assert pooled_found / samples["n_car_true"].sum() >= 0.92
    assert pooled_found / samples["n_car_found"].sum() >= 0.93
    assert (samples["host_dn_found"] <= 0.003).all()


def test_provenance_names_inputs_settings_versions_and_seed(study, finished):
    record = json.loads((finished / "provenance.json").read_text(encoding="utf-8"))
    assert {row["file"] for row in record["inputs"]} == {path.name for path in (study / "fcs").glob("*.fcs")}
    assert all(len(row["sha256"]) == 64 for row in record["inputs"])
    assert record["seed"] == 0
    assert record["settings"]["clustering"]["method"] == "both"
    assert {"numpy", "anndata", "scikit-learn"} <= set(record["versions"])
    assert len(record["ledger"]) == len(table(finished, "ledger"))


def test_same_seed_same_bytes_with_one_worker_and_with_two(study, finished, tmp_path):
    run(study, tmp_path / "two", workers=2)
    for path in sorted((finished / "tables").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / "tables" / path.name).read_bytes(), path.name
    assert (finished / "gates.xml").read_bytes() == (tmp_path / "two" / "gates.xml").read_bytes()


def test_another_seed_draws_other_host_cells_but_counts_the_same(study, finished, tmp_path):
    again = Path(shutil.copytree(study, tmp_path / "study"))
    with open(again / "study.yaml", "a", encoding="utf-8") as stream:
        stream.write("\nseed: 7\nhost_sample: 50\nembedding: off\nclustering: {method: off}\n")
    run(again, tmp_path / "out")
    assert (finished / "tables" / "ledger.csv").read_bytes() == (
        tmp_path / "out/tables/ledger.csv"
    ).read_bytes()
    cells = anndata.read_h5ad(tmp_path / "out" / "cells.h5ad")
    host = cells.obs[cells.obs["compartment"] == "host"]
    assert (host.groupby("sample_id", observed=True).size() == 50).all()
    assert not (tmp_path / "out" / "tables" / "clusters.csv").exists()


def test_a_pinned_threshold_is_used_for_the_sample_it_names(study, tmp_path):
    again = Path(shutil.copytree(study, tmp_path / "study"))
    with open(again / "study.yaml", "a", encoding="utf-8") as stream:
        stream.write("\nthresholds: {VHH: {P1_5yr: 3.0}}\nembedding: off\nclustering: {method: off}\n")
    run(again, tmp_path / "out")
    vhh = table(tmp_path / "out", "thresholds").query("name == 'VHH'").set_index("sample_id")
    assert vhh.loc["P1_5yr", "value"] == 3.0
    assert bool(vhh.loc["P1_5yr", "pinned"])
    assert not bool(vhh.loc["P1_2mo", "pinned"])


def test_without_car_cells_at_the_last_timepoint(tmp_path):
    datasets.write_legend2(tmp_path / "study", cells=12_000, seed=3, car_fraction={"5yr": 0.0})
    run(tmp_path / "study", tmp_path / "out", workers=1)
    calls = table(tmp_path / "out", "car_frequency").set_index("timepoint")["call"]
    assert calls["5yr"] == "not_detected"
    assert calls["2mo"] == "quantified"
    assert "no CAR-T cells were detected" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_study_without_gating_clusters_all_cells(study, tmp_path):
    again = Path(shutil.copytree(study, tmp_path / "study"))
    samples = pd.read_csv(again / "samples.csv").iloc[:2]
    samples.to_csv(again / "samples.csv", index=False)
    with open(again / "study.yaml", "a", encoding="utf-8") as stream:
        stream.write("\ngating: off\nembedding: off\nclustering: {method: flowsom}\n")
    run(again, tmp_path / "out")
    cells = anndata.read_h5ad(tmp_path / "out" / "cells.h5ad")
    assert set(cells.obs["compartment"].astype(str)) == {"cells"}
    assert not (tmp_path / "out" / "tables" / "car_frequency.csv").exists()
    assert table(tmp_path / "out", "clusters")["n"].sum() == cells.n_obs
    assert "not gated for CAR-T cells" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_input_files_are_left_as_they_are(study, tmp_path):
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in study.rglob("*") if path.is_file()
    }
    with pytest.raises(StudyError, match="is not empty"):
        run(study, study)
    after = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in study.rglob("*") if path.is_file()
    }
    assert before == after


def test_a_failing_sample_is_named_and_nothing_is_left(study, tmp_path, monkeypatch):
    from cytocar import gate

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the gate broke")

    monkeypatch.setattr(gate, "apply", fail)
    with pytest.raises(RuntimeError, match="the gate broke") as caught:
        run(study, tmp_path / "out")
    assert any("P1_2mo" in note for note in caught.value.__notes__)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def compensated(study: Path, no_figures: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of the study with the spillover matrix that stands beside it."""
    folder = tmp_path_factory.mktemp("compensated")
    again = Path(shutil.copytree(study, folder / "study"))
    text = (again / "study.yaml").read_text(encoding="utf-8")
    if "\ncompensation:" not in text:
        text += "\ncompensation: spillover.csv\n"
    text += "embedding: off\nclustering: {method: off}\n"
    (again / "study.yaml").write_text(text, encoding="utf-8")
    run(again, folder / "out")
    return folder / "out"


def test_tables_of_a_compensated_run_keep_their_schemas(compensated, run_faults):
    assert run_faults(compensated) == []


def test_each_step_before_the_gates_is_told_with_before_and_after(compensated):
    beads = table(compensated, "beads")
    assert (beads["spread_before"] > 1.15).all()
    assert (beads["spread_after"] < 1.06).all()
    spill = table(compensated, "compensation").set_index(["sample_id", "marker"])
    ki67 = spill.xs("Ki67", level="marker")
    assert (ki67["mean_after"] < 0.6 * ki67["mean_before"]).all()
    assert (ki67["main_source"] == "Nd146Di").all()
    losses = table(compensated, "cleaning_losses")
    assert set(losses["class"]) == {"cell", "bead", "cell_bead", "debris", "doublet", "dead"}
    page = (compensated / "report.html").read_text(encoding="utf-8")
    assert "Counts were normalised to beads" in page
    assert "not compensated" not in page
    assert "How many CAR+ events spillover explains" in page


def test_the_false_ki67_of_cd8_cells_is_gone_after_compensation(study, compensated, tmp_path):
    raw = Path(shutil.copytree(study, tmp_path / "study"))
    text = (raw / "study.yaml").read_text(encoding="utf-8").replace("\ncompensation: spillover.csv", "")
    text += "\nembedding: off\nclustering: {method: off}\n"
    (raw / "study.yaml").write_text(text, encoding="utf-8")
    run(raw, tmp_path / "out")

    def host_ki67(out: Path, subset: str) -> float:
        cells = anndata.read_h5ad(out / "cells.h5ad")
        chosen = (cells.obs["compartment"] == "host") & (cells.obs["subset"] == subset)
        return float(np.median(cells[chosen.to_numpy(), "Ki67"].X))

    assert host_ki67(tmp_path / "out", "CD8") > 1.2
    assert host_ki67(compensated, "CD8") < 0.3
    assert abs(host_ki67(compensated, "CD4") - host_ki67(tmp_path / "out", "CD4")) < 0.2


def test_unstable_stretches_are_set_apart_on_request(study, tmp_path):
    again = Path(shutil.copytree(study, tmp_path / "study"))
    [path] = (again / "fcs").glob("P1_1yr.fcs")
    adata = read_fcs(path, panel=again / "panel.csv")
    clogged = slice(int(0.2 * adata.n_obs), int(0.3 * adata.n_obs))
    adata.X[clogged] *= 0.3
    path.unlink()
    write_fcs(adata, path)
    with open(again / "study.yaml", "a", encoding="utf-8") as stream:
        stream.write("\ntime_quality: remove\nbeads: off\nembedding: off\nclustering: {method: off}\n")
    run(again, tmp_path / "out")
    ledger = table(tmp_path / "out", "ledger").set_index(["sample_id", "population"])["events"]
    assert ledger[("P1_1yr", "unstable stretches")] > 0.05 * ledger[("P1_1yr", "events")]
    assert ("P1_2mo", "unstable stretches") not in ledger.index
