"""Counts to arcsinh values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.measured import not_measured_in
from cytocar._core.samples import own
from cytocar.pp._arcsinh.arcsinh_numpy import Workspace, limit_bits, transform_chunk
from cytocar.pp._channels import counts_in_x

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

# Values at a time: with the temporaries of a chunk they stay in the processor's cache.
_NUMPY_CHUNK = 1 << 14
_COMPILED_CHUNK = 1 << 10
_COPIED = 1 << 16
# Loading the compiled loop takes longer than transforming fewer values without it.
_WORTH_COMPILING = 20_000_000
_WORTH_COMPILED = 100_000
_KERNELS = "cytocar.pp._arcsinh.arcsinh_kernels"


def arcsinh_values(
    counts: NDArray[np.float32], cofactor: NDArray[np.float32], *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return arcsinh(counts / cofactor) of an events x channels matrix, one cofactor a channel.

    The error is below 3e-7 of the larger of 1 and the value; 0 stays exactly 0, infinities and NaN stay, and
    the sign is that of the count. Large matrices take a compiled loop, small ones numpy: both do the same
    correctly rounded operations, so the bytes depend neither on that choice nor on the processor. The result
    is stored row by row or column by column as `counts` is.

    Parameters
    ----------
    counts
        Events x channels.
    cofactor
        One per channel, above 0.
    out
        Where to put the values; `counts` itself for a change in place. None for a new matrix.
    """
    result = np.empty_like(counts) if out is None else out
    by_row = result.T if result.flags.f_contiguous and not result.flags.c_contiguous else result
    if not by_row.flags.c_contiguous:
        result[...] = arcsinh_values(np.ascontiguousarray(counts), cofactor)
        return result
    if result is not counts:
        source = counts.T if by_row is not result else counts
        copied = source.reshape(-1) if source.flags.c_contiguous else None
        if copied is None:
            np.copyto(by_row, source)
    else:
        copied = None
    compiled = _compiled(result.size)
    # By row the cofactors repeat along the memory; by column a column has one.
    if by_row is result:
        lines = [(slice(None), cofactor)]
    else:
        length = counts.shape[0]
        lines = [(slice(i * length, (i + 1) * length), cofactor[i : i + 1]) for i in range(counts.shape[1])]
    flat = by_row.reshape(-1)
    for line, period in lines:
        if len(period):
            _transform(flat[line], None if copied is None else copied[line], period, compiled)
    return result


def _compiled(n_values: int) -> Callable[..., int] | None:
    """Return the compiled loop where it is there already or worth its loading."""
    if n_values < (_WORTH_COMPILED if _KERNELS in sys.modules else _WORTH_COMPILING):
        return None
    from cytocar.pp._arcsinh.arcsinh_kernels import transform

    return cast("Callable[..., int]", transform)


def _transform(
    values: NDArray[np.float32],
    source: NDArray[np.float32] | None,
    period: NDArray[np.float32],
    compiled: Callable[..., int] | None,
) -> None:
    """Transform contiguous values whose cofactors are `period` over and over; copy them from `source` before."""
    chunk = _NUMPY_CHUNK if compiled is None else _COMPILED_CHUNK
    # Chunks and blocks hold whole periods, so that each begins with the first cofactor.
    tile = np.ascontiguousarray(np.tile(period, max(chunk // len(period), 1)), dtype=np.float32)
    limit = limit_bits(tile)
    step = len(values) if source is None else max(_COPIED // len(tile), 1) * len(tile)
    space: Workspace | None = None
    for start in range(0, len(values), max(step, 1)):
        block = values[start : start + step]
        if source is not None:
            np.copyto(block, source[start : start + step])
        done = 0
        while done < len(block):
            if compiled is not None:
                done += int(compiled(block[done:], tile, limit))
            if done < len(block):
                rows = block[done : done + len(tile)]
                space = space or Workspace(len(tile))
                transform_chunk(rows, tile, limit, space)
                done += len(rows)


def _checked(value: object, name: str) -> float:
    return checks.positive_number(value, f"the cofactor of {name}", usual="usually 5")


def _cofactors(adata: AnnData, cofactor: float | Mapping[str, float] | None) -> NDArray[np.float64]:
    names = [str(name) for name in adata.var_names]
    if cofactor is not None and not isinstance(cofactor, Mapping):
        return np.full(len(names), _checked(cofactor, "all channels"))
    given: dict[int, float] = {}
    if cofactor is not None:
        from cytocar.panel.antigens import marker_positions

        where = marker_positions([str(name) for name in cofactor], names)
        twice = [names[at] for at in dict.fromkeys(where) if where.count(at) > 1]
        if twice:
            raise ParameterError(
                f"two cofactors are given for {', '.join(twice)}", fix="name each marker once"
            )
        given = dict(zip(where, cofactor.values(), strict=True))
    if keys.COFACTOR in adata.var:
        given = dict(enumerate(adata.var[keys.COFACTOR].tolist())) | given
    missing = [name for i, name in enumerate(names) if i not in given]
    if missing:
        raise ParameterError(
            f"var has no column 'cofactor' and no cofactor is given for {', '.join(missing)}",
            fix="pass cofactor=5, or a cofactor for each",
        )
    return np.array([_checked(given[i], name) for i, name in enumerate(names)])


def _require_finite(adata: AnnData) -> None:
    counts = counts_in_x(adata)
    rows = max(_COPIED // counts.shape[1], 1)
    n_bad, first = 0, ""
    gaps = not_measured_in(adata)
    for start in range(0, len(counts), rows):
        good = np.isfinite(counts[start : start + rows])
        if gaps is not None:
            good |= gaps[start : start + rows]
        if good.all():
            continue
        if not n_bad:
            row, channel = np.argwhere(~good)[0]
            event = start + int(row)
            first = f"{counts[event, channel]} of {adata.var_names[channel]} in event {event}"
        n_bad += int(np.count_nonzero(~good))
    if n_bad:
        raise ParameterError(
            f"{n_bad} counts are not finite, the first is {first}",
            fix="remove these events or read the file again",
        )


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
        float32 arcsinh values, no unit, within 3e-7 of the exact value (relative above 1).
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
        A cofactor is missing or not above 0, a marker is unknown, or a count is not finite (but for markers that
        samples are known not to have, which stay NaN).

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
            f"pp.arcsinh needs counts in X, but X holds {provenance.state(adata)} values already",
            fix=(
                "a second "
                "arcsinh would be wrong. For other cofactors, set X to layers['counts'] and the state to 'counts'"
            ),
        )
    if adata.n_vars == 0:
        raise StateError("there is no mass channel in X, so there is nothing to transform")
    cofactors = _cofactors(adata, cofactor)
    _require_finite(adata)
    adata = adata.copy() if copy else own(adata)
    counts = counts_in_x(adata)
    adata.X = arcsinh_values(counts, cofactors.astype(np.float32))
    adata.layers[keys.COUNTS] = counts
    adata.var[keys.COFACTOR] = cofactors
    provenance.set_state(adata, keys.STATE_ARCSINH)
    used = dict(zip(map(str, adata.var_names), cofactors.tolist(), strict=True))
    provenance.record(adata, "pp.arcsinh", {"cofactor": used})
    return adata if copy else None
