"""What clusters and maps ask of their input, checked in one place."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys, provenance
from cytocar._core.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

# fewer cells than this have neither neighbourhoods nor a map
MIN_CELLS = 10
# squares of larger values do not fit into float32; arcsinh values stay far below 100
LARGEST = 1e15


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


def require_finite(x: NDArray[np.float32], names: Sequence[str], step: str, way_out: str) -> None:
    """Raise `ParameterError` with the markers that have values that are not finite, or too large to be squared."""
    with np.errstate(invalid="ignore"):
        if not x.size or (x.min() >= -LARGEST and x.max() <= LARGEST):
            return
        bad = ~(np.abs(x) <= LARGEST)
    what = "that are not finite" if not np.isfinite(x).all() else f"beyond {LARGEST:g}"
    columns = ", ".join(names[i] for i in np.flatnonzero(bad.any(axis=0)).tolist())
    raise ParameterError(
        f"{step}: {int(bad.any(axis=1).sum())} of {len(x)} cells have values {what}, in {columns}: {way_out}"
    )


def whole_number(value: object, name: str, low: int, high: int | None = None, *, why: str = "") -> int:
    """Return `value` as an int if it is a whole number from `low` to `high`, else raise `ParameterError`."""
    fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    number = int(value) if fits and isinstance(value, numbers.Integral) else 0
    if not fits or number < low or (high is not None and number > high):
        upper = "" if high is None else f" and at most {high}"
        reason = f" ({why})" if why else ""
        raise ParameterError(
            f"{name} is {value!r}; it must be a whole number of at least {low}{upper}{reason}"
        )
    return number


def positive_number(value: object, name: str) -> float:
    """Return `value` as a float if it is a finite number above 0, else raise `ParameterError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < np.inf:
        raise ParameterError(f"{name} is {value!r}; it must be a finite number above 0")
    return float(value)


def number_between(value: object, name: str, low: float, high: float, *, below: bool = False) -> float:
    """Return `value` as a float if it is a number from `low` to `high` (`below` it), else raise `ParameterError`."""
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
    number = float(value) if fits and isinstance(value, numbers.Real) else low - 1.0
    if not low <= number <= high or (below and number == high):
        domain = f"at least {low:g} and below {high:g}" if below else f"a number from {low:g} to {high:g}"
        raise ParameterError(f"{name} is {value!r}; it must be {domain}")
    return number


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
