"""Which events of an AnnData are a sample's, and data of its own for a view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, ParameterError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

_ONLY_SAMPLE = "sample"

Rows = Any
"""A slice or an array of positions: the events of one sample."""


def require_sample_column(table: pd.DataFrame, sample_key: str, what: str = "obs") -> None:
    """Raise `ParameterError` unless a table has the column that says from which sample each row is.

    Parameters
    ----------
    table
        ``obs``, or a sample sheet.
    sample_key
        Name of the column.
    what
        What to call the table in the message.
    """
    if sample_key not in table:
        raise ParameterError(
            f"{what} has no column {sample_key!r}, so it is not known from which sample each row is",
            fix=did_you_mean(sample_key, map(str, table.columns)),
        )


def _coded(adata: AnnData, sample_key: str) -> tuple[NDArray[np.intp], list[str]] | None:
    """Return the number of each event's sample and their names; `None` where there is no ``sample_id``."""
    import pandas as pd

    if sample_key == keys.SAMPLE and sample_key not in adata.obs:
        return None
    require_sample_column(adata.obs, sample_key)
    codes, names = pd.factorize(adata.obs[sample_key].astype(object))
    if (codes < 0).any():
        raise ParameterError(
            f"{int((codes < 0).sum())} events have no {sample_key}", fix="give each its sample"
        )
    return codes, [str(name) for name in names]


def rows_by_sample(adata: AnnData, sample_key: str) -> dict[str, Rows]:
    """Return sample to rows, in order of appearance; all events are ``sample`` where there is no ``sample_id``."""
    coded = _coded(adata, sample_key)
    if coded is None:
        return {_ONLY_SAMPLE: slice(None)}
    if not adata.n_obs:
        raise GateError("there are no events to gate")
    codes, names = coded
    if len(names) == 1:
        return {names[0]: slice(None)}
    return {name: np.flatnonzero(codes == code) for code, name in enumerate(names)}


def sample_positions(adata: AnnData, sample_key: str) -> list[tuple[str, NDArray[np.intp]]]:
    """Return sample names with the rows of each, in order of appearance.

    All events are one sample without a name (``""``) where there is no ``sample_id``; no events are no sample.
    """
    coded = _coded(adata, sample_key)
    if coded is None:
        return [("", np.arange(adata.n_obs, dtype=np.intp))]
    codes, names = coded
    return [(name, np.flatnonzero(codes == code)) for code, name in enumerate(names)]


def own(adata: AnnData) -> AnnData:
    """Give a view its own data, so that writing to it does not change what it was cut from."""
    if adata.is_view:
        # anndata has no public way to do this in place
        adata._init_as_actual(adata.copy())  # noqa: SLF001
    return adata


def keep_events(adata: AnnData, kept: NDArray[np.bool_]) -> None:
    """Remove all other events, in place.

    Parameters
    ----------
    adata
        Not a view.
    kept
        Which events stay: bool of shape (events,).
    """
    # anndata has no public way to do this in place
    adata._inplace_subset_obs(kept)  # noqa: SLF001
