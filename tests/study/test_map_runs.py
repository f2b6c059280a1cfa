from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from cytocar.io import StudyConfig
from cytocar.study._run.labelling import label_cells

NAMES = ["CD3", "CD4", "CD8", "PD-1", "Ki67"]


def cells_of_a_run() -> ad.AnnData:
    generator = np.random.default_rng(3)
    x = generator.normal(size=(300, 5)) + 4 * np.eye(5)[np.arange(300) % 3]
    cells = ad.AnnData(x.astype("float32"), var=pd.DataFrame({"used_for_clustering": True}, index=NAMES))
    cells.obs["sample_id"] = np.where(np.arange(300) % 2, "s1", "s2")
    cells.obs["compartment"] = np.where(np.arange(300) < 240, "car", "host")
    cells.obs["role"] = "patient"
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells


def settings(embedding: str, method: str = "off") -> StudyConfig:
    text = {"cytocar": 1, "panel": "legend2", "samples": "samples.csv", "embedding": embedding}
    return StudyConfig.model_validate({**text, "clustering": {"method": method, "stability": False}})


# umap-learn takes some seconds to load and compile in every process
@pytest.mark.slow
def test_a_run_that_asks_for_umap_has_the_same_map_with_any_number_of_workers(tmp_path: Path) -> None:
    made = []
    for workers in (1, 2):
        cells = cells_of_a_run()
        label_cells(cells, settings("both", "phenograph"), tmp_path, workers=workers)
        made.append(cells)
    alone, shared = made
    for basis in ("X_umap", "X_tsne"):
        assert np.isfinite(alone.obsm[basis][:240]).all()
        assert np.isnan(alone.obsm[basis][240:]).all()
        assert alone.obsm[basis].tobytes() == shared.obsm[basis].tobytes()
    assert alone.uns["X_umap"]["engine"] == "umap-learn"


def test_a_run_that_asks_for_no_umap_does_not_load_it(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_map_runs import cells_of_a_run, label_cells, settings
cells = cells_of_a_run()
label_cells(cells, settings("tsne", "phenograph"), Path({str(tmp_path)!r}), workers=1)
assert "X_tsne" in cells.obsm
print([name for name in ("umap", "pynndescent") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
