"""Counts to arcsinh values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, matching, provenance
from cytocar._core.errors import ParameterError, StateError
from cytocar.pp._shell import counts_in_x, own

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

# Values at a time: the temporaries of a block stay in the processor's cache.
_VALUES = 200_000
# Above this, t * t + 1 could overflow float32; counts never come near it.
_LARGE = np.float32(1e18)


def _blocks(counts: NDArray[np.float32]) -> Iterator[tuple[slice, slice]]:
    """Give rows and columns of blocks that lie together in memory, whichever way the matrix is stored."""
    n_rows, n_columns = counts.shape
    by_column = counts.flags.f_contiguous and not counts.flags.c_contiguous
    wide = 1 if by_column else max(n_columns, 1)
    rows = max(_VALUES // wide, 1)
    for column in range(0, n_columns, wide):
        for row in range(0, n_rows, rows):
            yield slice(row, row + rows), slice(column, column + wide)


def arcsinh_values(counts: NDArray[np.float32], cofactor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return arcsinh(counts / cofactor) of an events x channels matrix, one cofactor a channel.

    Uses sign(t) log(|t| + sqrt(t^2 + 1)) on blocks: numpy's own float32 arcsinh is vectorised with AVX-512 only
    and takes four times as long without it. The error is below 2e-7 of the larger of 1 and the value; 0 stays
    exactly 0. The result is stored row by row or column by column as `counts` is.
    """
    result = np.empty_like(counts)
    for rows, columns in _blocks(counts):
        ratio = counts[rows, columns] / cofactor[columns]
        size = np.abs(ratio)
        if float(size.max()) > _LARGE:
            result[rows, columns] = np.arcsinh(ratio)
            continue
        root = size * size
        root += np.float32(1)
        np.sqrt(root, out=root)
        root += size
        np.log(root, out=root)
        np.copysign(root, ratio, out=result[rows, columns])
    return result


def _checked(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < np.inf:
        raise ParameterError(f"the cofactor of {name} is {value!r}; it must be a number above 0, usually 5")
    return float(value)


def _cofactors(adata: AnnData, cofactor: float | Mapping[str, float] | None) -> NDArray[np.float64]:
    names = [str(name) for name in adata.var_names]
    if cofactor is not None and not isinstance(cofactor, Mapping):
        return np.full(len(names), _checked(cofactor, "all channels"))
    given: dict[int, float] = {}
    if cofactor is not None:
        from cytocar.panel.names import marker_key

        where = matching.positions([str(name) for name in cofactor], names, key=marker_key, what="marker")
        given = dict(zip(where, cofactor.values(), strict=True))
    if keys.COFACTOR in adata.var:
        given = dict(enumerate(adata.var[keys.COFACTOR].tolist())) | given
    missing = [name for i, name in enumerate(names) if i not in given]
    if missing:
        raise ParameterError(
            f"var has no column 'cofactor' and no cofactor is given for {', '.join(missing)}; "
            "pass cofactor=5, or a cofactor for each"
        )
    return np.array([_checked(given[i], name) for i, name in enumerate(names)])


def arcsinh(
    adata: AnnData, *, cofactor: float | Mapping[str, float] | None = None, copy: bool = False
) -> AnnData | None:
    """Replace the counts in X by their arcsinh over a cofactor, and keep the counts in a layer.

    y = arcsinh(counts / cofactor), linear near 0 and logarithmic far above the cofactor; 5 is the usual
    cofactor of mass cytometry (Bendall et al. 2011, Science 332:687, doi 10.1126/science.1198704).

    Parameters
    ----------
    adata
        Events x mass channels, dual counts in ``X``.
    cofactor
        One number above 0 for all channels, or a mapping from marker to number; markers that are not in the
        mapping, and all where it is `None`, take ``var["cofactor"]``.
    copy
        Return a changed copy and leave `adata` as it is.

    Returns
    -------
    `None`, or the changed copy. Sets the following fields:

    ``X``
        float32 arcsinh values, no unit, within 2e-7 of the exact value (relative above 1).
    ``layers["counts"]``
        The counts, float32.
    ``var["cofactor"]``
        The cofactors that were used.
    ``uns["cytocar"]["state"]``
        ``"arcsinh"``.

    Raises
    ------
    StateError
        ``X`` holds arcsinh values already, or ``adata`` does not say what it holds.
    ParameterError
        A cofactor is missing or not above 0, a marker is unknown, or a count is not finite.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> panel = pandas.DataFrame({"cofactor": [5.0]}, index=["CD3"])
    >>> cells = anndata.AnnData(numpy.array([[0.0], [500.0]], dtype="float32"), var=panel)
    >>> cells.uns["cytocar"] = {"state": "counts"}
    >>> arcsinh(cells)
    >>> [round(float(value), 3) for value in cells.X[:, 0]]
    [0.0, 5.298]
    """
    if provenance.state(adata) != keys.STATE_COUNTS:
        raise StateError(
            f"pp.arcsinh needs counts in X, but X holds {provenance.state(adata)} values already; a second "
            "arcsinh would be wrong. For other cofactors, set X to layers['counts'] and the state to 'counts'"
        )
    if adata.n_vars == 0:
        raise StateError("there is no mass channel in X, so there is nothing to transform")
    cofactors = _cofactors(adata, cofactor)
    bad = ~np.isfinite(counts_in_x(adata))
    if bad.any():
        event, channel = np.argwhere(bad)[0]
        raise ParameterError(
            f"{np.count_nonzero(bad)} counts are not finite, the first is {adata.X[event, channel]} of "
            f"{adata.var_names[channel]} in event {event}; remove these events or read the file again"
        )
    adata = adata.copy() if copy else own(adata)
    counts = counts_in_x(adata)
    adata.X = arcsinh_values(counts, cofactors.astype(np.float32))
    adata.layers[keys.COUNTS] = counts
    adata.var[keys.COFACTOR] = cofactors
    provenance.set_state(adata, keys.STATE_ARCSINH)
    used = dict(zip(map(str, adata.var_names), cofactors.tolist(), strict=True))
    provenance.record(adata, "pp.arcsinh", {"cofactor": used})
    return adata if copy else None
