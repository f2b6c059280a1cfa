"""The cells of one population as an FCS file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError
from cytocar.gate._results.ledger import membership

if TYPE_CHECKING:
    from anndata import AnnData


def write_population(
    adata: AnnData, population: str, path: str | os.PathLike[str], *, deidentify: bool = False
) -> None:
    """Write the cells of a population as an FCS file: the channels and the counts of the file they came from.

    Counts are those of ``layers["counts"]``, after what `cytocar.pp` did to them. Channels without a mass are
    written from `obs`; keywords of the file are kept.

    Parameters
    ----------
    adata
        Gated by `apply`; one sample.
    population
        Name of a population, or its path.
    path
        The new file; its folder must exist. Replaced when it is whole.
    deidentify
        Keep no keywords that may name people, as `cytocar.io.write_fcs` does.

    Raises
    ------
    GateError
        `apply` has not run, there is no such population, or the cells are of several samples.

    Examples
    --------
    >>> import cytocar as cc, pathlib, tempfile
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "host.fcs"
    >>> cc.gate.write_population(adata, "Host T", path)
    >>> bool(cc.io.read_fcs(path).n_obs == cc.gate.membership(adata, "Host T").sum())
    True
    """
    from cytocar.io import write_fcs

    chosen = np.flatnonzero(membership(adata, population))
    if keys.SAMPLE in adata.obs:
        samples = list(dict.fromkeys(adata.obs[keys.SAMPLE].astype(str)))
        if len(samples) > 1:
            raise GateError(
                f"the data hold {len(samples)} samples ({', '.join(samples[:3])})",
                fix="an FCS file is of one: write each sample to a file of its own",
            )
    cells = adata[chosen].copy()
    cells.obsm.pop(keys.GATES, None)
    layer = keys.COUNTS if keys.COUNTS in cells.layers else None
    write_fcs(cells, path, layer=layer, deidentify=deidentify)
