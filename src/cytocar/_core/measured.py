"""Which markers were measured in which samples: a file of a study may lack some that others have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import keys

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

NOT_MEASURED: Final = "not_measured"
"""In ``uns["cytocar"]``: JSON text, sample to the markers whose values are NaN in it because its file lacks them."""


def not_measured(adata: AnnData) -> dict[str, list[str]]:
    """Return the markers that each sample lacks, for the samples that lack any.

    Examples
    --------
    >>> import anndata
    >>> cells = anndata.AnnData(np.zeros((1, 1), np.float32))
    >>> cells.uns["cytocar"] = {"not_measured": '{"P1_5yr": ["CD57"]}'}
    >>> not_measured(cells)
    {'P1_5yr': ['CD57']}
    """
    found: dict[str, list[str]] = json.loads(adata.uns.get(keys.UNS, {}).get(NOT_MEASURED, "{}"))
    return found


def lacking(adata: AnnData) -> dict[str, list[str]]:
    """Return each marker that samples with cells in `adata` do not have, with these samples."""
    found = not_measured(adata)
    there = set(adata.obs[keys.SAMPLE].astype(str)) if found and keys.SAMPLE in adata.obs else set(found)
    samples: dict[str, list[str]] = {}
    for sample, markers in found.items():
        for marker in markers if sample in there else ():
            samples.setdefault(marker, []).append(sample)
    return samples


def not_measured_in(adata: AnnData) -> NDArray[np.bool_] | None:
    """Return which values (events x channels) are known not to be measured; None where all are."""
    found = not_measured(adata)
    if not found or keys.SAMPLE not in adata.obs:
        return None
    mask = np.zeros(adata.shape, dtype=bool)
    samples = adata.obs[keys.SAMPLE].astype(str).to_numpy()
    for sample, markers in found.items():
        mask[np.ix_(samples == sample, adata.var_names.isin(markers))] = True
    return mask


def record_not_measured(adata: AnnData, missing: Mapping[str, Sequence[str]]) -> None:
    """Keep which markers samples lack; nothing is kept where none does."""
    lacking = {sample: list(markers) for sample, markers in missing.items() if markers}
    if lacking:
        adata.uns.setdefault(keys.UNS, {})[NOT_MEASURED] = json.dumps(lacking)


def measured_everywhere(adata: AnnData, markers: Sequence[str]) -> list[str]:
    """Return those of some markers that every sample with cells in `adata` has."""
    lacking = not_measured(adata)
    if not lacking or keys.SAMPLE not in adata.obs:
        return list(markers)
    present = set(adata.obs[keys.SAMPLE].astype(str))
    missing = {marker for sample, names in lacking.items() if sample in present for marker in names}
    return [marker for marker in markers if marker not in missing]


def fill_markers(
    rows: NDArray[np.float32], values: np.ndarray, own: Sequence[str], order: Sequence[str]
) -> None:
    """Write values of the markers `own` into rows of the markers `order`, NaN where there are none, in place.

    Markers that `order` does not have are left out.

    Examples
    --------
    >>> rows = np.empty((1, 2), np.float32)
    >>> fill_markers(rows, np.array([[1.0, 2.0]]), ["CD4", "CD57"], ["CD3", "CD4"])
    >>> rows.tolist()
    [[nan, 1.0]]
    """
    if list(own) == list(order):
        rows[:] = values
        return
    shared = [name for name in order if name in own]
    rows[:] = np.nan
    rows[:, [order.index(name) for name in shared]] = values[:, [own.index(name) for name in shared]]


def with_rows(adata: AnnData, order: Sequence[str], var: object) -> AnnData:
    """Return data with a column for each marker of `order`, NaN for those that they do not have.

    Parameters
    ----------
    adata
        Cells x some of the markers.
    order
        All markers, in the order of the result.
    var
        Their rows, with `order` as index.
    """
    import anndata

    names = [str(name) for name in adata.var_names]
    if names == list(order):
        return adata

    def wide(values: np.ndarray) -> np.ndarray:
        filled = np.empty((adata.n_obs, len(order)), dtype=np.float32)
        fill_markers(filled, values, names, order)
        return filled

    result = anndata.AnnData(wide(np.asarray(adata.X)), obs=adata.obs.copy(), var=var, uns=dict(adata.uns))
    for name in adata.layers:
        if name is not None:
            result.layers[name] = wide(np.asarray(adata.layers[name]))
    for name in adata.obsm:
        result.obsm[name] = adata.obsm[name]
    return result
