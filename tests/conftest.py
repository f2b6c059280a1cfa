"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CELLS = 12_000
"""CD45+ cells per file of the study that tests of the whole run share."""


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real measurements, or skip where there is none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CYTOCAR_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real test data are not at {folder}; set CYTOCAR_TEST_DATA to where they are")
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small simulated study; a test that changes it works on a copy."""
    from cytocar import datasets

    folder = tmp_path_factory.mktemp("simulated") / "study"
    datasets.write_legend2(folder, cells=CELLS, seed=0)
    return folder


@pytest.fixture(scope="session")
def finished(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run of `study`."""
    from cytocar.study import run

    out = tmp_path_factory.mktemp("finished") / "results"
    run(study, out)
    return out
