"""Words for clusters, made from their markers: short, different from one another, and open to editing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.measured import lacking
from cytocar.tl._clusters.profiles import thresholds_by_column
from cytocar.tl._clusters.renaming import NOWHERE, fingerprint
from cytocar.tl._groups import grouping, has_subsets, majority

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

# so large a share of a cluster's cells on one side of the threshold is a clear sign
CLEAR: Final = 0.75
# and so much more than in the other clusters tells it from them
TELLING: Final = 0.25
# where there is no threshold the medians must differ by so many arcsinh units, half as much again in counts
TELLING_SHIFT: Final = 0.5
# a clear + or - says more than hi or lo: it goes first unless that one differs by so much more
WORTH_A_THRESHOLD: Final = 0.15
MOST_MARKERS: Final = 3
# so large a share of a cluster's cells is of one subset, else the cluster is mixed
OF_ONE_SUBSET: Final = 0.75
# a valley below this lies between none and a few counts, not between negative and positive cells
LEAST_VALLEY: Final = 0.8
LEAST_CONFIDENCE: Final = 0.1
# what is said first, so no word is lost on it afterwards
_SUBSET_MARKERS: Final = ("CD3", "CD4", "CD8", "CD8a", "CD8b")


@dataclass(frozen=True)
class Signs:
    """What the markers say of each cluster, all arrays clusters x markers but `has_threshold`.

    Parameters
    ----------
    share
        Share of the cells above the marker's threshold, or above its overall median where it has none.
    median
        Arcsinh units.
    has_threshold
        Per marker: whether there is one, so that one can say + and -; otherwise hi and lo.
    """

    markers: tuple[str, ...]
    share: NDArray[np.float64]
    median: NDArray[np.float64]
    has_threshold: NDArray[np.bool_]

    def without(self, skip: set[int]) -> Signs:
        """Return the signs of the other markers."""
        keep = [marker for marker in range(len(self.markers)) if marker not in skip]
        markers = tuple(self.markers[marker] for marker in keep)
        return Signs(markers, self.share[:, keep], self.median[:, keep], self.has_threshold[keep])

    def sign(self, cluster: int, marker: int) -> str:
        """Return the marker with the side on which the cluster clearly is; "" where it is on neither."""
        share = self.share[cluster, marker]
        up, down = ("+", "-") if self.has_threshold[marker] else ("hi", "lo")
        side = up if share >= CLEAR else down if share <= 1 - CLEAR else ""
        return self.markers[marker] + side if side else ""


def own_threshold(values: NDArray[np.float32]) -> float | None:
    """Return the valley between the two groups of a marker's values, or None where there is one group.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> two = np.concatenate([rng.normal(0.3, 0.3, 500), rng.normal(4, 0.5, 200)])
    >>> 1 < own_threshold(two) < 3, own_threshold(rng.normal(2, 0.5, 700)) is None
    (True, True)
    """
    from cytocar._core.density import find_valley

    valley = find_valley(values, low=LEAST_VALLEY)
    return None if valley is None or valley.confidence < LEAST_CONFIDENCE else valley.value


def _signs(
    x: NDArray[np.float32],
    names: Sequence[str],
    labels: NDArray[np.str_],
    clusters: Sequence[str],
    thresholds: Mapping[str, float],
) -> Signs:
    if not clusters:
        nothing = np.zeros((0, len(names)))
        return Signs(tuple(names), nothing, nothing, np.zeros(len(names), bool))
    inside = np.isin(labels, clusters)
    has_threshold, limits = [], []
    for position, name in enumerate(names):
        limit = thresholds.get(name)
        limit = own_threshold(x[inside, position]) if limit is None else float(limit)
        has_threshold.append(limit is not None)
        limits.append(float(np.median(x[inside, position])) if limit is None else limit)
    above = x >= np.array(limits, np.float32)
    return Signs(
        tuple(names),
        np.array([above[labels == cluster].mean(axis=0) for cluster in clusters]),
        np.array([np.median(x[labels == cluster], axis=0) for cluster in clusters]).astype(np.float64),
        np.array(has_threshold),
    )


def _told_apart_by(signs: Signs, cluster: int, others: Sequence[int], skip: set[int]) -> list[int]:
    """Return the markers on which the cluster is clear and unlike the others, in the order of the panel."""
    if not others:
        return []
    contrast = np.abs(signs.share[cluster] - signs.share[list(others)].mean(axis=0))
    shift = np.abs(signs.median[cluster] - signs.median[list(others)].mean(axis=0))
    telling = (contrast >= TELLING) & (signs.has_threshold | (shift >= TELLING_SHIFT))
    fit = [
        marker
        for marker in range(len(signs.markers))
        if marker not in skip and telling[marker] and signs.sign(cluster, marker)
    ]
    # two decimals, so that a handful of cells does not change which markers are named
    weight = np.round(contrast + WORTH_A_THRESHOLD * signs.has_threshold, 2)
    strongest = sorted(fit, key=lambda marker: (-float(weight[marker]), marker))
    return sorted(strongest[:MOST_MARKERS])


def _splits(signs: Signs, tied: Sequence[int]) -> int:
    """Return the marker that separates clusters of one description best."""
    spread = np.ptp(signs.share[list(tied)], axis=0) + 0.1 * np.ptp(signs.median[list(tied)], axis=0)
    return int(np.argmax(np.round(spread, 3)))


def _separating_signs(signs: Signs, tied: Sequence[int]) -> list[str]:
    """Return for each of some clusters its sign of the marker that separates them best."""
    marker = _splits(signs, tied)
    middle = float(np.mean(signs.median[tied, marker]))
    clear = [signs.sign(cluster, marker) for cluster in tied]
    return [
        sign
        if sign and len(set(clear)) > 1
        else signs.markers[marker] + ("hi" if signs.median[cluster, marker] > middle else "lo")
        for cluster, sign in zip(tied, clear, strict=True)
    ]


def _made_different(texts: list[str], clusters: Sequence[str], signs: Signs) -> list[str]:
    """Add the marker that separates clusters of one description, and the number of the cluster where none does."""
    for _ in range(2):
        for text in list(dict.fromkeys(texts)):
            tied = [cluster for cluster, other in enumerate(texts) if other == text]
            if len(tied) > 1 and signs.markers:
                for cluster, sign in zip(tied, _separating_signs(signs, tied), strict=True):
                    if sign not in texts[cluster].split():
                        texts[cluster] = f"{texts[cluster]} {sign}".strip()
    return [
        f"cluster {cluster}" if not text else f"{text} ({cluster})" if texts.count(text) > 1 else text
        for text, cluster in zip(texts, clusters, strict=True)
    ]


def _lineages(
    subsets: NDArray[np.str_] | None, labels: NDArray[np.str_], clusters: Sequence[str], signs: Signs
) -> list[str]:
    """Return CD4, CD8, DN or DP for each cluster, or both names of a mixed one; "" where nothing tells."""
    if subsets is None:
        from cytocar.panel.antigens import marker_index

        index = marker_index(signs.markers)
        four, eight = index.position("CD4"), index.position(*_SUBSET_MARKERS[2:])
        if four is None or eight is None or not (signs.has_threshold[four] and signs.has_threshold[eight]):
            return [""] * len(clusters)
        return [_lineage_by_markers(signs.share[cluster, [four, eight]]) for cluster in range(len(clusters))]
    lineages = []
    for cluster in clusters:
        inside = subsets[labels == cluster]
        inside = inside[inside != ""]
        first = majority(inside)
        if not first or (inside == first).mean() >= OF_ONE_SUBSET:
            lineages.append(first)
        else:
            lineages.append(f"{first}/{majority(inside[inside != first])} mixed")
    return lineages


def _lineage_by_markers(shares: NDArray[np.float64]) -> str:
    """Return the lineage of a cluster by the shares of its cells that are CD4+ and CD8+."""
    if (np.abs(shares - 0.5) < CLEAR - 0.5).any():
        return "mixed"
    four, eight = shares >= 0.5
    return ("DP" if eight else "CD4") if four else ("CD8" if eight else "DN")


def _described(signs: Signs, lineages: Sequence[str], cluster: int, skip: set[int]) -> str:
    """Return a cluster's lineage and the signs that tell it from the others of that lineage."""
    rest = [other for other in range(len(lineages)) if other != cluster]
    same = [other for other in rest if lineages[other] == lineages[cluster]]
    shown = [signs.sign(cluster, marker) for marker in _told_apart_by(signs, cluster, same or rest, skip)]
    # what a cluster has comes before what it lacks
    shown.sort(key=lambda sign: sign.endswith(("-", "lo")))
    return " ".join(filter(None, [lineages[cluster], *shown]))


def describe_clusters(
    adata: AnnData, key: str = keys.PHENOGRAPH, *, thresholds: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Describe each cluster in words by its subset and the markers that tell it from the others.

    A marker is said to be + or - where three quarters of the cluster's cells are on that side of its threshold and the
    share differs by 0.25 or more from the mean of the other clusters of the same subset (of all others, where it is
    alone); the three that differ most are named. A marker with neither a threshold nor a valley of its own is said to
    be hi or lo, compared with the median of all cells, where its median differs by 0.5 arcsinh units from theirs.
    Clusters that would read the same get the marker that separates them best.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X``, with clusters in ``obs``.
    key
        Column of ``obs`` that holds the clusters.
    thresholds
        Arcsinh value from which on a cell is positive, per marker in any spelling. Other markers are split at the
        valley between their own two groups of cells, where there is one.

    Returns
    -------
    One row per cluster, for people to edit the column ``name``: clusters of one name are merged by `rename_clusters`.
    No row where no cell is in a cluster.

    ``method``, ``cluster`` : text
    ``n`` : cells
    ``description`` : text
        No two are the same.
    ``name`` : text
        The label of the cluster, until it is edited; short names read best in figures.
    ``made_for`` : text
        Fingerprint of the clustering, so that the table is not taken for another one.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        The column or a marker in `thresholds` is not there, or a threshold or a value is not finite.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> x = numpy.repeat([[5, 0, 0], [0, 5, 5], [0, 5, 0]], 20, axis=0).astype("float32")
    >>> cells = anndata.AnnData(x, var=pandas.DataFrame(index=["CD4", "CD8", "CCR7"]))
    >>> cells.obs["flowsom"] = pandas.Categorical(numpy.repeat(["1", "2", "3"], 20))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> limits = {"CD4": 2, "CD8": 2, "CCR7": 2}
    >>> describe_clusters(cells, "flowsom", thresholds=limits)["description"].tolist()
    ['CD4 CCR7-', 'CD8 CCR7+', 'CD8 CCR7-']
    """
    import pandas as pd

    from cytocar import get
    from cytocar.panel.antigens import marker_index

    provenance.require_state(adata, keys.STATE_ARCSINH, "tl.describe_clusters")
    labels, order = grouping(adata, key)
    clusters = [cluster for cluster in order if cluster not in NOWHERE]
    limits = thresholds_by_column(adata, thresholds)
    names = _markers(adata, key)
    x = get.matrix(adata, names)
    checks.require_finite(x[np.isin(labels, clusters)], names, "tl.describe_clusters", "remove those cells")
    signs = _signs(x, names, labels, clusters, limits)
    subsets = grouping(adata, keys.SUBSET)[0] if has_subsets(adata) else None
    lineages = _lineages(subsets, labels, clusters, signs)
    index = marker_index(names)
    said = _SUBSET_MARKERS if any(lineages) else ()
    skip = {marker for name in said for marker in index.positions(name)}
    texts = [_described(signs, lineages, cluster, skip) for cluster in range(len(clusters))]
    texts = _made_different(texts, clusters, signs.without(skip))
    return pd.DataFrame(
        {
            "method": key,
            "cluster": clusters,
            "n": [int((labels == cluster).sum()) for cluster in clusters],
            "description": texts,
            "name": clusters,
            "made_for": fingerprint(adata, key),
        }
    )


def _markers(adata: AnnData, key: str) -> list[str]:
    """Return the markers that the clusters were found by; else those marked so, else all antibodies."""
    from cytocar import get

    stored = adata.uns.get(key)
    if isinstance(stored, Mapping) and "markers" in stored:
        kept = [name for name in json.loads(str(stored["markers"])) if name in adata.var_names]
        if kept:
            return kept
    if keys.CLUSTERING in adata.var and adata.var[keys.CLUSTERING].astype(bool).any():
        return get.markers(adata)
    names = get.markers(adata, clustering=False) if keys.ROLE in adata.var else [*map(str, adata.var_names)]
    gaps = lacking(adata)
    return [name for name in names if name not in gaps]
