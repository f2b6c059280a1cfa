"""What the two kinds of map share: which cells are fitted, where they start, where the others go."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import checks, keys, provenance, seeds
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.tl import _input, _neighbours

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

# up to this many cells a map takes all of them
FIT_ALL_UP_TO = 5000
# and never more than this, because time and crowding grow while nothing more is seen
FIT_AT_MOST = 50_000


def cells_to_fit(
    adata: AnnData, equal_by: str | None, max_per_sample: int | None, seed: int, task: str
) -> NDArray[np.bool_]:
    """Choose the cells a map is fitted to: all, or at most the same number from each sample.

    A map shows where cells are dense; with 3,000 cells of one sample and 250 of another it would show the first.
    Up to 5,000 cells in all are fitted whole. Beyond that each sample gives as many as the smallest has, but not
    less than an equal share of 5,000 nor more than one of 50,000; smaller samples give all they have.
    """
    n = adata.n_obs
    generator = seeds.generator(seed, task, "cells to fit")
    if max_per_sample is not None:
        checks.whole_number(max_per_sample, "max_per_sample", 1)
    if equal_by is None:
        groups = np.zeros(n, np.int64)
    elif equal_by in adata.obs:
        groups = np.unique(adata.obs[equal_by].astype(str).to_numpy(object).astype(str), return_inverse=True)[
            1
        ]
    elif equal_by == keys.SAMPLE:
        groups = np.zeros(n, np.int64)
    else:
        present = [str(column) for column in adata.obs.columns]
        raise ParameterError(f"equal_by: obs has no column {equal_by!r}", fix=did_you_mean(equal_by, present))
    sizes = np.bincount(groups)
    limit = max_per_sample
    if limit is None:
        if n <= FIT_ALL_UP_TO:
            return np.ones(n, np.bool_)
        limit = max(int(sizes.min()), FIT_ALL_UP_TO // len(sizes)) if len(sizes) > 1 else n
        limit = min(limit, max(1, FIT_AT_MOST // len(sizes)))
    fitted = np.zeros(n, np.bool_)
    for group in range(len(sizes)):
        members = np.flatnonzero(groups == group)
        if len(members) > limit:
            members = generator.choice(members, limit, replace=False)
        fitted[members] = True
    if fitted.sum() < _input.MIN_CELLS:
        raise ParameterError(
            f"max_per_sample is {max_per_sample}, which leaves {int(fitted.sum())} cells for the map",
            fix=f"at least {_input.MIN_CELLS} are needed",
        )
    return fitted


def require_differences(x: NDArray[np.float32], step: str) -> None:
    """Raise `ParameterError` where the cells chosen for a map are all alike, though others are not."""
    if not (x.min(axis=0) < x.max(axis=0)).any():
        raise ParameterError(
            f"{step}: the {len(x)} cells chosen for the map are all alike, so there is nothing to lay out",
            fix="choose more with max_per_sample",
        )


def principal_axes(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cells on their first two principal axes, the first with a standard deviation of 1.

    Signs are fixed by the largest loading of each axis, so that a map does not flip from machine to machine. One
    marker alone has one axis; the second is then 0.
    """
    centred = x - x.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    scores = np.zeros((len(x), 2))
    scores[:, : axes.shape[1]] = centred @ axes
    return np.asarray(scores / scores[:, 0].std())


class Neighbourhoods:
    """Nearest neighbours among fixed cells, in the form in which openTSNE asks for them."""

    def __init__(self, x: NDArray[np.float32], k: int, n_jobs: int) -> None:
        self.data = x
        self.k = k
        self.n_samples = len(x)
        self.n_jobs = n_jobs

    def build(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return neighbours of the cells themselves, without themselves, and their distances."""
        neighbours, _ = _neighbours.nearest_neighbours(self.data, self.k, n_jobs=self.n_jobs)
        return neighbours, _neighbours.distances(self.data, self.data, neighbours)

    def query(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the nearest of the cells for each row of `query`, and the distances."""
        neighbours = _neighbours.nearest_to(query, self.data, k, n_jobs=self.n_jobs)
        return neighbours, _neighbours.distances(query, self.data, neighbours)


@dataclass(frozen=True)
class Map:
    """A map of the cells: their coordinates, which of them were fitted, facts about it, and the markers it is of."""

    coordinates: NDArray[np.float64]
    fitted: NDArray[np.bool_]
    facts: dict[str, Any]
    markers: list[str]


def store(adata: AnnData, step: str, key: str, made: Map, *, equal_by: str | None) -> None:
    """Write a map under `key`, and the step that made it into the history."""
    adata.obsm[key] = np.ascontiguousarray(made.coordinates, dtype=np.float32)
    adata.obs[f"{key}_fitted"] = made.fitted
    adata.uns[key] = {**made.facts, "markers": json.dumps(made.markers)}
    settings = {"equal_by": equal_by, "markers": made.markers, "key_added": key}
    provenance.record(adata, step, {**made.facts, **settings})
