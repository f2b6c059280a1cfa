"""What clusters and maps ask of their input, checked in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.checks import require_finite
from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

# fewer cells than this have neither neighbourhoods nor a map
MIN_CELLS = 10


def marker_matrix(
    adata: AnnData, markers: str | Sequence[str] | None, step: str
) -> tuple[NDArray[np.float32], list[str]]:
    """Return the arcsinh values that `step` works on and their markers, or raise if they cannot be used.

    `None` means the markers marked as used for clustering.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        Too few cells, unknown markers, values that are not finite or too large, or cells that are all alike.
    """
    from cytocar import get

    provenance.require_state(adata, keys.STATE_ARCSINH, step)
    if adata.n_obs < MIN_CELLS:
        raise ParameterError(
            f"{step} needs at least {MIN_CELLS} cells, there are {adata.n_obs}: "
            "pool samples or choose a larger population"
        )
    where = get.columns(adata, get.markers(adata) if markers is None else markers)
    names = [str(name) for name in adata.var_names[where]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParameterError(
            f"{step}: marker named more than once: {', '.join(twice)}; each counts once, name it once"
        )
    x = get.matrix(adata, names)
    require_finite(x, names, step, "remove those cells or leave these markers out with markers=")
    if not (x.min(axis=0) < x.max(axis=0)).any():
        raise ParameterError(
            f"{step}: all {adata.n_obs} cells are alike in all of {', '.join(names)}; "
            "there is nothing to tell them apart by"
        )
    return x, names


def labels_by_size(groups: NDArray[np.integer], min_size: int = 1) -> NDArray[np.int64]:
    """Number groups from 1 by size, largest first; groups of fewer than `min_size` cells become -1.

    Groups of one size come in the order of their first cell.

    Examples
    --------
    >>> labels_by_size(np.array([7, 3, 3, 3, 7, 9]), min_size=2).tolist()
    [2, 1, 1, 1, 2, -1]
    """
    _, first, inverse, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -counts))
    number = np.empty(len(counts), np.int64)
    number[order] = np.arange(1, len(counts) + 1)
    number[counts < min_size] = -1
    return number[inverse]


def as_categorical(labels: NDArray[np.integer]) -> pd.Categorical[str]:
    """Return labels as text categories ``"1"``, ``"2"`` ... with ``"-1"`` last where it occurs."""
    import pandas as pd

    present, code = np.unique(labels, return_inverse=True)
    last = bool(len(present)) and present[0] == -1
    # -1 is the lowest number and the last category
    order = np.roll(present, -1) if last else present
    codes = (code - 1) % len(present) if last else code
    categories = pd.Index([str(label) for label in order])
    return pd.Categorical.from_codes(codes, categories=categories)
