"""Clusters in a run: stability, names that people edit, and an earlier run as the reference."""

from __future__ import annotations

import copy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import StudyError
from cytocar._core import tables as tables_of
from cytocar._core.errors import ParameterError
from cytocar._core.progress import silent
from cytocar.pl._page import style
from cytocar.study import check, run
from cytocar.study._run.process import process_all

QUICK = "\nembedding: off\nhost_sample: 200\n"


def table(out: Path, name: str) -> pd.DataFrame:
    found = tables_of.read(out / "tables", name)
    assert found is not None, f"no table {name}"
    return found


def copy_of(study: Path, folder: Path, setting: str) -> Path:
    again = Path(shutil.copytree(study, folder))
    with open(again / "study.yaml", "a", encoding="utf-8") as stream:
        stream.write(QUICK + setting + "\n")
    return again


def test_a_run_says_how_stable_its_clusters_are_and_what_they_are(finished):
    repeats = table(finished, "stability")
    assert repeats.groupby(["method", "what"]).size().to_dict() == {
        (method, what): times
        for method in ("flowsom", "phenograph")
        for what, times in (("resample", 10), ("seed", 5))
    }
    assert repeats["ari"].between(0.2, 1).all()
    clusters, names = table(finished, "clusters"), table(finished, "cluster_names")
    stability = table(finished, "cluster_stability")
    counted = clusters[clusters["cluster"] != "-1"].groupby(["method", "cluster"])["n"].sum()
    for one in (names, stability):
        assert one.set_index(["method", "cluster"])["n"].to_dict() == counted.to_dict()
    assert (names.groupby("method")["description"].nunique() == names.groupby("method").size()).all()
    assert (names["name"] == names["cluster"]).all()
    known = clusters[clusters["low_stability"].notna()]
    assert len(known) > 0.9 * len(clusters)
    assert (known["low_stability"] <= known["fraction"] + 1e-9).all()
    assert (known["fraction"] <= known["high_stability"] + 1e-9).all()
    quality = table(finished, "map_quality").iloc[0]
    assert quality["kept"] > 5 * quality["by_chance"]


def test_the_report_tells_it_in_words(finished):
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "PhenoGraph found again: adjusted Rand index" in page
    kept = table(finished, "map_quality")["kept"].item()
    assert f"t-SNE keeps {100 * kept:.0f} % of the 30 nearest neighbours" in page
    for text in table(finished, "cluster_names")["description"]:
        assert text in page


@pytest.fixture(scope="module")
def files_once(study: Path, no_figures: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the runs made here share what is read of the files, which none of their settings changes."""
    checked = check(copy_of(study, tmp_path_factory.mktemp("once") / "study", ""))
    results = process_all(checked.study, checked.strategy, checked.spillover, workers=1, progress=silent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(run.__globals__, "process_all", lambda *_, **__: copy.deepcopy(results))
        yield


@pytest.fixture(scope="module")
def renamed(
    study: Path, finished: Path, files_once: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Return the study and its run with clusters 1 and 2 of FlowSOM as one."""
    folder = tmp_path_factory.mktemp("renamed")
    again = copy_of(study, folder / "study", "clustering: {names: names.csv, stability: true}")
    names = table(finished, "cluster_names")
    merged = (names["method"] == "flowsom") & names["cluster"].isin(["1", "2"])
    names.loc[merged, "name"] = "both"
    names.to_csv(again / "names.csv", index=False)
    run(again, folder / "out")
    return again, folder / "out"


def test_edited_names_are_used_everywhere_and_clusters_of_one_name_are_one(finished, renamed):
    _, out = renamed
    before, after = table(finished, "clusters"), table(out, "clusters")
    counted = before[before["method"] == "flowsom"].groupby("cluster")["n"].sum()
    merged = after[(after["method"] == "flowsom") & (after["cluster"] == "both")]
    assert merged["n"].sum() == counted[["1", "2"]].sum()
    # how far a cluster that people made would move is not known
    assert merged["low_stability"].isna().all()
    assert after.loc[after["method"] == "phenograph", "low_stability"].notna().mean() > 0.9
    names = table(out, "cluster_names")
    assert names.loc[names["method"] == "flowsom", "name"].tolist().count("both") == 2
    assert set(after.loc[after["method"] == "phenograph", "cluster"]) - {"-1"} == set(
        names.loc[names["method"] == "phenograph", "name"]
    )
    cells = anndata.read_h5ad(out / "cells.h5ad")
    old = anndata.read_h5ad(finished / "cells.h5ad")
    car = (cells.obs["compartment"] == "car").to_numpy()
    assert (cells.obs["flowsom"][car] == "both").sum() == merged["n"].sum()
    # nothing was clustered anew: the clusters as they were found are still there, cell by cell
    was = old.obs.loc[old.obs["compartment"] == "car", "flowsom"].astype(str).to_numpy()
    assert cells.obs["flowsom_as_found"].astype(str)[car].tolist() == was.tolist()
    assert "both" in (out / "report.html").read_text(encoding="utf-8")


def test_names_made_for_other_clusters_are_refused(study, renamed, files_once, tmp_path):
    again, _ = renamed
    other = copy_of(study, tmp_path / "study", "clustering: {names: names.csv, k: 9}")
    shutil.copy(again / "names.csv", other / "names.csv")
    with pytest.raises(ParameterError, match="made for another clustering"):
        run(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_later_run_is_mapped_to_an_earlier_one(study, finished, files_once, tmp_path, run_faults):
    again = copy_of(study, tmp_path / "study", f"clustering: {{reference: '{finished}'}}")
    run(again, tmp_path / "out")
    old, new = (anndata.read_h5ad(out / "cells.h5ad") for out in (finished, tmp_path / "out"))
    old, new = (cells[cells.obs["compartment"] == "car"] for cells in (old, new))
    # the same files give the same cells, and each keeps its cluster and its place
    assert list(old.obs_names) == list(new.obs_names)
    for method in ("phenograph", "flowsom"):
        assert old.obs[method].astype(str).tolist() == new.obs[method].astype(str).tolist()
    assert np.array_equal(old.obsm["X_tsne"], new.obsm["X_tsne"])
    fit = table(tmp_path / "out", "reference")
    assert run_faults(tmp_path / "out") == []
    assert fit["n_outside"].sum() == 0
    assert not (tmp_path / "out" / "tables" / "stability.csv").exists()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    row = fit.iloc[0]
    assert f"{row['sample_id']}: 0 (0 to " in page
    assert f"of {row['n']:,} cells fit nowhere in the reference" in page
    assert "Nothing was clustered" in page


def test_a_run_clusters_by_leiden_alone(study, files_once, tmp_path, run_faults):
    again = copy_of(study, tmp_path / "study", "clustering: {method: leiden}")
    run(again, tmp_path / "out")
    assert run_faults(tmp_path / "out") == []
    for name in ("clusters", "cluster_profiles", "cluster_names", "stability", "cluster_stability"):
        assert set(table(tmp_path / "out", name)["method"]) == {"leiden"}
    assert not (tmp_path / "out" / "tables" / "agreement.csv").exists()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Leiden: " in page
    assert "Leiden found again: adjusted Rand index" in page
    assert "PhenoGraph" not in page
    cells = anndata.read_h5ad(tmp_path / "out" / "cells.h5ad")
    assert "neighbors" not in cells.uns
    assert not cells.obsp
    assert cells.uns["leiden"]["n_clusters"] == len(set(cells.obs["leiden"]) - {"", "-1"})


def test_without_igraph_leiden_is_refused_before_the_run(study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "igraph", None)
    again = copy_of(study, tmp_path / "study", "clustering: {method: leiden}")
    problems = check(again).problems
    assert [problem.where.endswith("study.yaml (clustering.method)") for problem in problems] == [True]
    assert "igraph" in problems[0].what
    assert "pip install igraph" in problems[0].fix


def test_cells_of_a_run_carry_the_colours_of_its_figures(finished):
    cells = anndata.read_h5ad(finished / "cells.h5ad")
    for key in ("phenograph", "flowsom", "subset", "compartment"):
        names = [str(name) for name in cells.obs[key].cat.categories]
        colours = style.colours_of(key, names)
        assert list(cells.uns[f"{key}_colors"]) == [colours[name] for name in names]


def test_what_is_wrong_with_names_and_references_is_said_before_the_run(study, finished, tmp_path):
    again = copy_of(study, tmp_path / "a", "clustering: {names: none.csv, reference: ../nowhere}")
    names, reference = check(again).problems
    assert "none.csv" in names.where
    assert names.what == "there is no such file"
    assert reference.what == "there is no reference here"
    assert reference.fix.startswith("name the folder of a finished run")
    renamed = copy_of(study, tmp_path / "b", f"clustering: {{reference: '{finished}'}}")
    panel = (renamed / "panel.csv").read_text(encoding="utf-8")
    (renamed / "panel.csv").write_text(panel.replace(",CCR7,", ",CD197x,"), encoding="utf-8")
    [problem] = check(renamed).problems
    assert problem.what.endswith("markers that the panel lacks: CCR7")
    with pytest.raises(StudyError, match="CCR7"):
        run(renamed, tmp_path / "out")
