"""Small tubes with known humps, for the tests of gating."""

from __future__ import annotations

from collections.abc import Callable

import anndata
import numpy as np
import pandas as pd
import pytest

from cytocar import datasets, pp

SMALL = """
cytocar_gating: 1
name: small
thresholds:
  CD3: {marker: CD3, rule: valley, in: cells, range: [0.8, 4.5], fallback: {rule: other_samples}}
  CD4: {marker: CD4, rule: valley, in: T cells, range: [0.8, 4.5]}
  VHH:
    {marker: [VHH, CAR_ID], rule: negatives, negatives: {in: cells, gate: [CD3-]}, in: T cells,
     false_positive_rate: 1e-3}
populations:
  - {name: T cells, parent: cells, gate: [CD3+]}
  - {name: CAR-T, parent: T cells, gate: [VHH+]}
  - {name: Host T, parent: T cells, gate: [VHH-]}
compartments: {car: CAR-T, host: Host T}
subsets: {CD4: [CD4+], not CD4: [CD4-]}
plots: [{parent: cells, x: CD3, y: VHH}, {parent: T cells, x: CD4, y: DNA1}]
"""


def make_tube(n: int = 4000, *, seed: int = 0, car: float = 0.02, sample: str = "S1") -> anndata.AnnData:
    """Return n events: half T cells (CD3 at 4), half of these CD4 (at 4), a share `car` of them VHH+ (at 4)."""
    rng = np.random.default_rng(seed)
    t_cell = np.arange(n) % 2 == 0
    cd4 = t_cell & (np.arange(n) % 4 == 0)
    vhh = t_cell & (rng.random(n) < car)
    background = rng.exponential(0.3, (3, n))
    levels = np.stack([t_cell, cd4, vhh]) * rng.normal(4.0, 0.3, (3, n))
    values = np.maximum(background, levels).T.astype(np.float32)
    var = pd.DataFrame(
        {"channel": ["Er170Di", "Nd145Di", "Tm169Di"], "cofactor": 5.0}, index=["CD3", "CD4", "VHH"]
    )
    obs = pd.DataFrame({"sample_id": sample, "is_car": vhh}, index=[f"{sample}:{i}" for i in range(n)])
    adata = anndata.AnnData(values, obs=obs, var=var)
    adata.layers["counts"] = 5 * np.sinh(values)
    adata.uns["cytocar"] = {"state": "arcsinh"}
    return adata


def join(*tubes: anndata.AnnData) -> anndata.AnnData:
    """Return several tubes as one AnnData."""
    joined = anndata.concat(tubes, merge="same")
    joined.uns["cytocar"] = {"state": "arcsinh"}
    return joined


@pytest.fixture
def small() -> str:
    return SMALL


@pytest.fixture
def tube() -> Callable[..., anndata.AnnData]:
    return make_tube


@pytest.fixture
def joined() -> Callable[..., anndata.AnnData]:
    return join


@pytest.fixture(scope="session")
def legend2_cells() -> anndata.AnnData:
    """Return the simulated study, 60,000 cells a tube, cleaned by its truth: gating alone is judged."""
    adata = datasets.legend2()
    adata.obs["event_class"] = pd.Categorical(adata.obs["truth_type"].astype(str))
    pp.arcsinh(adata)
    return adata
