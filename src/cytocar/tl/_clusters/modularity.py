"""The modularity of any labels in the graph of shared neighbours: one measure for the clusters of every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def weighted_modularity(
    graph: tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.floating]],
    labels: NDArray[np.integer],
    *,
    resolution: float = 1.0,
) -> float:
    r"""Return :math:`Q = \sum_c [ w_c / 2m - \gamma (s_c / 2m)^2 ]` of `labels` in a weighted, symmetric graph.

    :math:`w_c` is the weight within community c (each edge from both ends), :math:`s_c` that of its nodes' edges and
    :math:`2m` that of all, in float64; 0 for a graph without edges. Nodes with a negative label are in no community:
    each counts as one of its own.

    Parameters
    ----------
    graph
        Starts of rows, columns and weights of the compressed rows.
    labels
        One whole number per node; which numbers they are does not matter.
    resolution
        :math:`\gamma`.

    References
    ----------
    Newman 2004, Phys Rev E 70:056131, doi:10.1103/PhysRevE.70.056131. Resolution: Reichardt and Bornholdt 2006,
    Phys Rev E 74:016110, doi:10.1103/PhysRevE.74.016110.

    Examples
    --------
    Two pairs without an edge between them:

    >>> pairs = np.array([0, 1, 2, 3, 4]), np.array([1, 0, 3, 2]), np.ones(4)
    >>> weighted_modularity(pairs, np.array([7, 7, 2, 2]))
    0.5
    >>> weighted_modularity(pairs, np.array([7, 7, -1, -1]))
    0.125
    """
    from cytocar.tl._clusters.graph_kernels import modularity

    _, communities = np.unique(labels, return_inverse=True)
    alone = np.flatnonzero(np.asarray(labels) < 0)
    communities = communities.astype(np.int64)
    communities[alone] = len(labels) + np.arange(len(alone))
    return float(modularity(*graph, communities, resolution))
