"""Simulated CAR-T cells with known clusters, and small made-up cells."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import cytocar as cc


@lru_cache(maxsize=4)
def _car_cells(seed: int, cells: int, false_positive_rate: float) -> ad.AnnData:
    # eight times the published shares, so that few events have to be simulated for 2,300 CAR-T cells
    fractions = {"2mo": 24.08, "1yr": 8.32, "3yr": 3.92, "5yr": 1.92}
    events = cc.datasets.legend2(
        cells=cells, seed=seed, car_fraction=fractions, false_positive_rate=false_positive_rate
    )
    true = events.obs["truth_is_car"].to_numpy(bool)
    false = (events.obs["truth_type"] == "cell").to_numpy() & events.obs["truth_false_positive"].to_numpy(
        bool
    )
    cars = events[true | false].copy()
    cars.obs["truth"] = np.where(cars.obs["truth_is_car"], cars.obs["truth_cluster"].astype(str), "host")
    cars.obs["subset"] = cars.obs["truth_subset"].astype(str)
    cc.pp.arcsinh(cars)
    return cars


@pytest.fixture
def car_cells() -> Callable[..., ad.AnnData]:
    """Return a function that gives true CAR-T cells of four timepoints, and false ones where asked for."""

    def make(seed: int = 0, cells: int = 6000, false_positive_rate: float = 0.0) -> ad.AnnData:
        return _car_cells(seed, cells, false_positive_rate).copy()

    return make


@pytest.fixture
def blobs() -> ad.AnnData:
    """Return 240 cells in four clusters of 90, 66, 48 and 36, far apart, on six markers."""
    generator = np.random.default_rng(5)
    sizes = [90, 66, 48, 36]
    centres = 1 + 4 * np.eye(6)[:4]
    x = np.vstack([generator.normal(c, 0.4, (n, 6)) for c, n in zip(centres, sizes, strict=True)])
    order = generator.permutation(len(x))
    names = ["CD3", "CD4", "CD8", "PD-1", "Ki67", "DNA1"]
    var = pd.DataFrame({"used_for_clustering": [True] * 5 + [False]}, index=names)
    var["role"] = ["marker"] * 5 + ["dna"]
    cells = ad.AnnData(x[order].astype("float32"), var=var)
    cells.obs["truth"] = np.repeat(["a", "b", "c", "d"], sizes)[order]
    cells.obs["sample_id"] = np.where(np.arange(240) % 3 == 0, "s1", "s2")
    cells.uns["cytocar"] = {"state": "arcsinh"}
    return cells
