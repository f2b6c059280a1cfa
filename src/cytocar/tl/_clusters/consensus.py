"""Consensus clustering of weighted points: what stays together when a tenth of them is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Linkage = Literal["average", "average_cells", "ward", "ward_cells", "complete"]
# kernel of each linkage, and whether a point counts as many times as it has cells
LINKAGES: Final[dict[str, tuple[int, bool]]] = {
    "average": (0, False),
    "average_cells": (0, True),
    "ward": (1, False),
    "ward_cells": (1, True),
    "complete": (2, False),
}
RESAMPLINGS: Final = 100
SHARE: Final = 0.9
# of the cumulative distribution of the consensus
BINS: Final = 100


@dataclass(frozen=True)
class Consensus:
    """Partitions of the same points into 2, 3 ... clusters, and the consensus they were cut from.

    Parameters
    ----------
    labels
        Integer array (numbers of clusters, points): row 0 is the cut into 2; labels count from 0.
    matrices
        float64 array (numbers of clusters, points, points): times together / times both drawn.
    """

    labels: NDArray[np.int64]
    matrices: NDArray[np.float64]

    def ambiguous(self) -> NDArray[np.float64]:
        """Return for each number of clusters the share of pairs with a consensus between 0.1 and 0.9.

        Șenbabaoğlu et al. 2014, Sci Rep 4:6207, doi:10.1038/srep06207. Low is stable.
        """
        upper = np.triu_indices(self.matrices.shape[1], 1)
        pairs = self.matrices[:, upper[0], upper[1]]
        return np.asarray(((pairs > 0.1) & (pairs < 0.9)).mean(axis=1))

    def area(self) -> NDArray[np.float64]:
        """Return for each number of clusters the area under the cumulative distribution of the consensus.

        Over pairs of different points, in bins of 0.01 as in ConsensusClusterPlus (Wilkerson & Hayes 2010,
        Bioinformatics 26:1572, doi:10.1093/bioinformatics/btq170).
        """
        upper = np.triu_indices(self.matrices.shape[1], 1)
        edges = np.arange(1, BINS + 1) / BINS
        # a consensus on the edge of a bin belongs below it, whatever its last digit
        return np.array(
            [
                np.searchsorted(np.sort(matrix[upper]), edges + 1e-9, side="right").mean() / len(upper[0])
                for matrix in self.matrices
            ]
        )


def growth(area: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the delta area: the first area, then by which share of the one before each area has grown.

    Monti et al. 2003, Mach Learn 52:91, doi:10.1023/A:1023949509487.

    Examples
    --------
    >>> growth(np.array([0.5, 0.6, 0.6])).round(2).tolist()
    [0.5, 0.2, 0.0]
    """
    before = area[:-1]
    gain = np.divide(np.diff(area), before, out=np.zeros(len(before)), where=before > 0)
    return np.concatenate([area[:1], gain])


def resamples(
    n: int, generator: np.random.Generator, *, times: int = RESAMPLINGS, share: float = SHARE
) -> NDArray[np.int64]:
    """Return `times` draws of ``floor(share n)`` of `n` numbers without replacement, each draw sorted."""
    size = int(np.floor(share * n + 1e-9))
    return np.array([np.sort(generator.choice(n, size, replace=False)) for _ in range(times)], dtype=np.int64)


def consensus(
    distances: NDArray[np.float64],
    sizes: NDArray[np.float64],
    samples: NDArray[np.int64],
    largest: int,
    linkage: str = "average",
) -> Consensus:
    """Cluster every resample hierarchically, and then the points by how often they were together.

    Each resample is clustered once and cut into 2 to `largest` clusters. The consensus of two points is how
    often they were in one cluster, of the times both were drawn; ``1 - consensus`` is clustered with the same
    linkage and cut. Monti et al. 2003, Mach Learn 52:91, doi:10.1023/A:1023949509487.

    Parameters
    ----------
    distances
        Square symmetric matrix.
    sizes
        Weight of each point, above 0; read by the linkages that end in ``_cells`` only.
    samples
        One resample of point numbers per row, as from `resamples`.
    largest
        At least 2, at most the size of a resample.
    linkage
        A key of `LINKAGES`.
    """
    from cytocar.tl._clusters.consensus_kernels import agglomerate, consensus_matrices, cut_all

    method, weighted = LINKAGES[linkage]
    weights = np.ascontiguousarray(sizes if weighted else np.ones(len(sizes)), np.float64)
    distances = np.ascontiguousarray(distances, np.float64)
    matrices = consensus_matrices(distances, weights, samples, largest, method)
    labels = np.array(
        [
            cut_all(agglomerate(1.0 - matrix, weights, method)[0], clusters)[-1]
            for clusters, matrix in enumerate(matrices, start=2)
        ],
        dtype=np.int64,
    )
    return Consensus(labels, matrices)


def hierarchical(
    distances: NDArray[np.float64], sizes: NDArray[np.float64], largest: int, linkage: str = "average"
) -> NDArray[np.int64]:
    """Return the plain hierarchical cuts into 2 to `largest` clusters, one row each, without resampling."""
    from cytocar.tl._clusters.consensus_kernels import agglomerate, cut_all

    method, weighted = LINKAGES[linkage]
    weights = np.ascontiguousarray(sizes if weighted else np.ones(len(sizes)), np.float64)
    merges, _ = agglomerate(np.ascontiguousarray(distances, np.float64), weights, method)
    cuts: NDArray[np.int64] = cut_all(merges, largest)
    return cuts
