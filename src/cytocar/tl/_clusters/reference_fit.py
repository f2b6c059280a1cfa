"""How many cells of each sample fit nowhere in a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import ParameterError
from cytocar.tl._groups import grouping

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def reference_fit(adata: AnnData, *, sample_key: str = keys.SAMPLE) -> pd.DataFrame:
    """Count the cells of each sample that fit nowhere in the reference they were mapped to.

    Exact intervals: Clopper & Pearson 1934, Biometrika 26:404, doi:10.1093/biomet/26.4.404.

    Parameters
    ----------
    adata
        Cells on which `map_to_reference` has run.
    sample_key
        Column of ``obs`` that holds the samples.

    Returns
    -------
    One row per sample:

    ``sample_id`` : text
    ``n``, ``n_outside`` : cells
    ``share_outside``, ``low``, ``high`` : 0 to 1
        With the exact 95 % interval.
    ``expected`` : 0 to 1
        The share of the reference's own cells beyond its limit. A sample whose ``low`` is above it has cells that the
        reference does not have, or was stained otherwise.

    Raises
    ------
    ParameterError
        The cells were not mapped to a reference, or the column is not there.

    Examples
    --------
    >>> import anndata, numpy
    >>> cells = anndata.AnnData(numpy.zeros((4, 1), "float32"))
    >>> cells.obs["sample_id"] = ["a", "a", "b", "b"]
    >>> cells.obs["reference_fits"] = [True, False, True, True]
    >>> cells.uns["reference"] = {"quantile": 0.99}
    >>> reference_fit(cells)[["sample_id", "n", "n_outside"]].to_numpy().tolist()
    [['a', 2, 1], ['b', 2, 0]]
    """
    import pandas as pd

    from cytocar.tl._statistics.intervals import clopper_pearson

    stored = adata.uns.get("reference")
    if "reference_fits" not in adata.obs or not isinstance(stored, Mapping):
        raise ParameterError(
            "these cells were not mapped to a reference", fix="run cytocar.tl.map_to_reference first"
        )
    samples, names = grouping(adata, sample_key)
    outside = ~adata.obs["reference_fits"].to_numpy(bool)
    n = np.array([(samples == name).sum() for name in names])
    out = np.array([outside[samples == name].sum() for name in names])
    low, high = clopper_pearson(out, n)
    return pd.DataFrame(
        {
            keys.SAMPLE: names,
            "n": n,
            "n_outside": out,
            "share_outside": out / n,
            "low": np.asarray(low, float),
            "high": np.asarray(high, float),
            "expected": 1.0 - float(stored["quantile"]),
        }
    )
