"""Columns of an AnnData by marker name, as plain float32 arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.errors import ParameterError, StateError, did_you_mean
from cytocar._core.measured import lacking

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray


def columns(adata: AnnData, markers: str | Sequence[str] | None = None) -> NDArray[np.intp]:
    """Return the positions of markers among the columns of `adata`.

    A name matches exactly or, failing that, without regard to case, punctuation and Greek letters (``PD-1`` =
    ``PD1`` = ``pd1``), or by another name of the antigen (``CD279``, ``PDCD1``).

    Parameters
    ----------
    adata
        Events x channels; ``var_names`` are marker names.
    markers
        A name, a list of names, or `None` for all columns.

    Returns
    -------
    Integer array, one position per name, in the order asked for.

    Raises
    ------
    ParameterError
        A name is unknown (all unknown names are listed), or fits more than one column.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.eye(2, dtype="float32"), var=pandas.DataFrame(index=["CD3", "PD-1"]))
    >>> columns(cells, ["pd1", "CD3"]).tolist()
    [1, 0]
    """
    names = [str(name) for name in adata.var_names]
    if markers is None:
        return np.arange(len(names), dtype=np.intp)
    asked = [markers] if isinstance(markers, str) else [str(marker) for marker in markers]
    if not asked:
        raise ParameterError("the list of markers is empty", fix="name at least one, or pass None for all")
    from cytocar.panel.antigens import marker_positions

    return np.array(marker_positions(asked, names), dtype=np.intp)


def matrix(
    adata: AnnData, markers: str | Sequence[str] | None = None, *, layer: str | None = None
) -> NDArray[np.float32]:
    """Return the values of markers as a new dense float32 array, events x markers.

    Parameters
    ----------
    adata
        Events x channels.
    markers
        A name, a list of names in any spelling that `columns` understands, or `None` for all columns.
    layer
        The layer to read, such as ``"counts"``; `None` reads ``X``.

    Returns
    -------
    C-ordered float32 array of shape (events, markers) that shares no memory with `adata`.

    Raises
    ------
    ParameterError
        A marker or the layer is unknown.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.eye(2, dtype="float32"), var=pandas.DataFrame(index=["CD3", "PD-1"]))
    >>> matrix(cells, ["pd1"]).tolist()
    [[0.0], [1.0]]
    """
    where = columns(adata, markers)
    if layer is not None and layer not in adata.layers:
        # newer anndata lists X among the layers, under the key None
        layers = [str(name) for name in adata.layers if name is not None]
        choices = did_you_mean(layer, layers) if layers else "there are no layers"
        raise ParameterError(f"{layer!r} is not a layer of these data", fix=choices)
    values: Any = adata.X if layer is None else adata.layers[layer]
    if values is None:
        raise ParameterError("this AnnData has no X", fix="give the layer that holds the values")
    if markers is not None:
        # take keeps rows together, which picking columns by their numbers does not and pays for with a second copy
        values = values.take(where, axis=1) if isinstance(values, np.ndarray) else values[:, where]
    if hasattr(values, "toarray"):
        values = values.toarray()
    # picking columns has copied already; asking for all of X has not
    return np.array(values, dtype=np.float32, order="C", copy=True if markers is None else None)


def counts(adata: AnnData, markers: str | Sequence[str] | None = None) -> NDArray[np.float32]:
    """Return dual counts of markers: from ``X`` while it holds counts, from ``layers["counts"]`` afterwards.

    Parameters
    ----------
    adata
        Events x channels, before or after `cytocar.pp.arcsinh`.
    markers
        As in `matrix`.

    Returns
    -------
    New float32 array of shape (events, markers).

    Raises
    ------
    StateError
        ``X`` holds arcsinh values and the counts were not kept.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.eye(2, dtype="float32"), var=pandas.DataFrame(index=["CD3", "PD-1"]))
    >>> cells.uns["cytocar"] = {"state": "counts"}
    >>> counts(cells, "CD3").tolist()
    [[1.0], [0.0]]
    """
    if provenance.state(adata) == keys.STATE_COUNTS:
        return matrix(adata, markers)
    if keys.COUNTS not in adata.layers:
        raise StateError(
            "X holds arcsinh values and layers['counts'] is not there, so the counts are lost",
            fix="read the file again",
        )
    return matrix(adata, markers, layer=keys.COUNTS)


def markers(adata: AnnData, *, clustering: bool = True) -> list[str]:
    """Return marker names in panel order: those used for clustering, or all antibody channels.

    Parameters
    ----------
    adata
        Events x channels, with ``var["used_for_clustering"]`` and ``var["role"]``.
    clustering
        True: channels marked as used for clustering, without those that samples in `adata` do not have. False: every
        channel whose role is ``marker``.

    Returns
    -------
    Names as they stand in ``var_names``.

    Raises
    ------
    ParameterError
        The column of ``var`` is missing, or no channel qualifies.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> panel = pandas.DataFrame({"used_for_clustering": [True, False]}, index=["CD4", "DNA1"])
    >>> markers(anndata.AnnData(numpy.eye(2, dtype="float32"), var=panel))
    ['CD4']
    """
    column = keys.CLUSTERING if clustering else keys.ROLE
    if column not in adata.var:
        raise ParameterError(
            f"var has no column {column!r}",
            fix=f"read the file with cytocar.io and a panel, or set var[{column!r}]",
        )
    values = adata.var[column].to_numpy()
    chosen = values.astype(bool) if clustering else values.astype(str) == "marker"
    if clustering and (gaps := lacking(adata)):
        chosen = chosen & ~adata.var_names.isin(list(gaps))
    if not chosen.any():
        raise ParameterError(
            f"no channel has {column} = {'1' if clustering else 'marker'}",
            fix="set it in the panel, or name the markers",
        )
    return [str(name) for name in adata.var_names[chosen]]
