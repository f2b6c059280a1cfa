"""Negative controls in a study whose gates are off: cells of theirs make no clusters."""

from __future__ import annotations

import shutil
from pathlib import Path

import anndata
import numpy as np
import pytest

from cytocar._core import tables as tables_of
from cytocar.study import run

pytestmark = pytest.mark.usefixtures("no_figures")


def test_clusters_are_made_counted_and_judged_on_the_same_cells(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    sheet = (folder / "samples.csv").read_text().splitlines()
    rows = [line for line in sheet[1:] if "P1_2mo" in line]
    control = next(line for line in sheet[1:] if "P1_5yr" in line).replace(",patient", ",negative_control")
    (folder / "samples.csv").write_text("\n".join([sheet[0], *rows, control]) + "\n")
    (folder / "study.yaml").write_text(
        "cytocar: 1\npanel: panel.csv\nsamples: samples.csv\ngating: off\nembedding: off\n"
        "clustering: {method: flowsom, metaclusters: 8}\n"
    )
    out = run(folder, tmp_path / "out").out
    cells = anndata.read_h5ad(out / "cells.h5ad")
    of_control = (cells.obs["role"].astype(str) == "negative_control").to_numpy()
    labels = cells.obs["flowsom"].astype(str).to_numpy()
    assert of_control.any()
    assert set(labels[of_control]) <= {"", "nan"}
    sizes = {name: int((labels == name).sum()) for name in np.unique(labels[~of_control])}
    for name in ("cluster_names", "cluster_stability"):
        table = tables_of.read(out / "tables", name)
        assert table is not None
        assert dict(zip(table["cluster"].astype(str), table["n"], strict=True)) == sizes
        assert min(sizes.values()) > 0
