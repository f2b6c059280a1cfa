"""What clusters and maps ask of their input, checked in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.checks import require_finite
from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

# fewer cells than this have neither neighbourhoods nor a map
MIN_CELLS = 10


def marker_matrix(
    adata: AnnData, markers: str | Sequence[str] | None, step: str, *, at_least: int = MIN_CELLS
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
    if adata.n_obs < at_least:
        raise ParameterError(
            f"{step} needs at least {at_least} cells, there are {adata.n_obs}: "
            "pool samples or choose a larger population"
        )
    where = get.columns(adata, get.markers(adata) if markers is None else markers)
    names = [str(name) for name in adata.var_names[where]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParameterError(
            f"{step}: marker named more than once: {', '.join(twice)}", fix="each counts once, name it once"
        )
    x = get.matrix(adata, names)
    require_finite(x, names, step, "remove those cells or leave these markers out with markers=")
    if not (x.min(axis=0) < x.max(axis=0)).any():
        raise ParameterError(
            f"{step}: all {adata.n_obs} cells are alike in all of {', '.join(names)}",
            fix="there is nothing to tell them apart by",
        )
    return x, names
