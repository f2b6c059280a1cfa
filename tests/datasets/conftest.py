"""Simulated data that several tests look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cytocar import datasets

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData


@pytest.fixture(scope="session")
def plain() -> AnnData:
    """One file without spillover and drift: what the cells alone would give."""
    return datasets.legend2(cells=60_000, seed=3, timepoints=["1yr"], spill=False, drift=False, host_dn=0.05)


@pytest.fixture(scope="session")
def spilled() -> AnnData:
    """The same file with spillover."""
    return datasets.legend2(cells=60_000, seed=3, timepoints=["1yr"], spill=True, drift=False, host_dn=0.05)


@pytest.fixture(scope="session")
def drifting() -> AnnData:
    """All four files with everything on, small."""
    return datasets.legend2(cells=12_000, seed=1)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study on disk, with a negative control."""
    folder = tmp_path_factory.mktemp("simulated") / "study"
    datasets.write_legend2(folder, cells=2_000, seed=7, negative_control=True)
    return folder
