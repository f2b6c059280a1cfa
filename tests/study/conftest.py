"""A small simulated study and its finished run, made once for all tests of this folder and of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from cytocar import datasets
from cytocar.study.run import run

CELLS = 12_000


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "study"
    datasets.write_legend2(folder, cells=CELLS, seed=0)
    return folder


@pytest.fixture(scope="session")
def finished(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "results"
    run(study, out)
    return out
