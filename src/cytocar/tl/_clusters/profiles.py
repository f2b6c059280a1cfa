"""What the clusters look like and how large they are, as tidy tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import checks, keys, provenance
from cytocar._core.errors import ParameterError
from cytocar.tl._groups import grouping, has_subsets, majority

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

# arcsinh(x / 5) of about 6 counts: above what unstained channels show
DEFAULT_THRESHOLD = 1.0


def thresholds_by_column(adata: AnnData, thresholds: Mapping[str, float] | None) -> dict[str, float]:
    """Return thresholds by column of the data, whatever spelling they came in, or raise `ParameterError`."""
    from cytocar import get

    by_column: dict[str, float] = {}
    for name, value in (thresholds or {}).items():
        column = str(adata.var_names[get.columns(adata, name)[0]])
        by_column[column] = checks.finite_number(value, f"the threshold of {name!r}")
    return by_column


def cluster_profiles(
    adata: AnnData, groupby: str, *, thresholds: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Describe each cluster by the median of every marker and the share of its cells that are positive.

    Parameters
    ----------
    adata
        Cells x markers, arcsinh values in ``X``.
    groupby
        Column of ``obs`` that holds the clusters.
    thresholds
        Arcsinh value from which on a cell is positive, per marker in any spelling. Markers without one take 1.0 (about
        6 counts at a cofactor of 5).

    Returns
    -------
    One row per cluster and marker (channels with the role ``marker``; all where there are no roles), markers in
    the order of the panel, clusters in theirs: CD4, CD8, DN, DP, none, and within each by label.

    ``method``, ``cluster``, ``marker`` : text
    ``median`` : arcsinh units
        Of the cells that the marker was measured in; NaN where it was in none, as are the numbers below then.
    ``scaled`` : 0 to 1
        The median between the 0.01 and 0.99 quantiles of the marker over all cells; for pictures only.
    ``fraction_positive`` : 0 to 1
        Share of the cells of the cluster at or above the threshold.
    ``subset`` : text
        The subset most of the cluster's cells are in; empty without ``obs["subset"]``.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        The column or a marker in `thresholds` is not there, or a threshold is not finite.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.array([[0], [1], [2], [4]], "float32"), var=pandas.DataFrame(index=["Ki67"]))
    >>> cells.obs["flowsom"] = pandas.Categorical(["1", "1", "2", "2"])
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> cluster_profiles(cells, "flowsom")[["cluster", "median", "fraction_positive"]].values.tolist()
    [['1', 0.5, 0.5], ['2', 3.0, 1.0]]
    """
    import pandas as pd

    from cytocar import get

    provenance.require_state(adata, keys.STATE_ARCSINH, "tl.cluster_profiles")
    labels, clusters = grouping(adata, groupby)
    names = get.markers(adata, clustering=False) if keys.ROLE in adata.var else [*map(str, adata.var_names)]
    x = get.matrix(adata, names)
    limits = np.full(len(names), DEFAULT_THRESHOLD, np.float64)
    for column, value in thresholds_by_column(adata, thresholds).items():
        if column not in names:
            raise ParameterError(
                f"thresholds names {column!r}, which is not an antibody channel of these data"
            )
        limits[names.index(column)] = value

    known = np.isfinite(x)
    everywhere = bool(known.all())
    low, high = np.quantile(x, [0.01, 0.99], axis=0) if everywhere else _measured_ends(x)
    width = np.where(high > low, high - low, 1.0)
    subsets = grouping(adata, keys.SUBSET)[0] if has_subsets(adata) else np.full(adata.n_obs, "")
    frames = []
    for cluster in clusters:
        inside = labels == cluster
        values = x[inside]
        if everywhere:
            median = np.median(values, axis=0).astype(np.float64)
            positive = (values >= limits).mean(axis=0)
        else:
            median, positive = _of_measured(values, limits)
        frames.append(
            pd.DataFrame(
                {
                    "method": groupby,
                    "cluster": cluster,
                    "marker": names,
                    "median": median,
                    "scaled": np.clip((median - low) / width, 0.0, 1.0),
                    "fraction_positive": positive,
                    keys.SUBSET: majority(subsets[inside]),
                }
            )
        )
    rank = {name: position for position, name in enumerate((*keys.SUBSETS, ""))}
    frames.sort(key=lambda frame: rank.get(frame[keys.SUBSET].iloc[0], len(keys.SUBSETS)))
    return pd.concat(frames, ignore_index=True)


def _measured_ends(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the 0.01 and 0.99 quantiles of each marker over the cells that it was measured in, NaN where in none."""
    ends = np.full((2, x.shape[1]), np.nan)
    for marker, values in enumerate(x.T):
        values = values[np.isfinite(values)]
        if values.size:
            ends[:, marker] = np.quantile(values, [0.01, 0.99])
    return ends


def _of_measured(
    x: NDArray[np.float32], limits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return medians and shares of positive cells, of the cells that a marker was measured in; NaN where in none."""
    median, positive = np.full((2, x.shape[1]), np.nan)
    for marker, values in enumerate(x.T):
        values = values[np.isfinite(values)]
        if values.size:
            median[marker] = np.median(values)
            positive[marker] = (values >= limits[marker]).mean()
    return median, positive


def cluster_frequencies(adata: AnnData, groupby: str, *, sample_key: str = keys.SAMPLE) -> pd.DataFrame:
    """Count the cells of each cluster in each sample, with the exact interval of its share.

    Clopper & Pearson 1934, Biometrika 26:404, doi:10.1093/biomet/26.4.404.

    Parameters
    ----------
    adata
        Cells with clusters and samples in ``obs``.
    groupby
        Column of ``obs`` that holds the clusters.
    sample_key
        Column of ``obs`` that holds the samples.

    Returns
    -------
    One row per sample and cluster, also where there are no cells. The shares of a sample add up to 1; cells labelled
    ``"-1"`` are a row of their own.

    ``sample_id``, ``method``, ``cluster`` : text
    ``n`` : cells
    ``fraction``, ``low``, ``high`` : 0 to 1
        Of the cells of the sample that have a label, with the exact 95 % interval.

    Raises
    ------
    ParameterError
        A column is not there.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> cells = anndata.AnnData(numpy.zeros((4, 1), "float32"))
    >>> cells.obs["sample_id"] = "2mo"
    >>> cells.obs["flowsom"] = pandas.Categorical(["1", "1", "1", "2"])
    >>> cluster_frequencies(cells, "flowsom")[["cluster", "n", "fraction"]].values.tolist()
    [['1', 3, 0.75], ['2', 1, 0.25]]
    """
    import pandas as pd

    from cytocar.tl._statistics.intervals import clopper_pearson

    labels, clusters = grouping(adata, groupby)
    samples, sample_names = grouping(adata, sample_key)
    counts = np.array(
        [
            [((samples == sample) & (labels == cluster)).sum() for cluster in clusters]
            for sample in sample_names
        ]
    )
    totals = counts.sum(axis=1)
    present = totals > 0
    counts, totals = counts[present], totals[present]
    low, high = clopper_pearson(counts.ravel(), np.repeat(totals, len(clusters)))
    return pd.DataFrame(
        {
            keys.SAMPLE: np.repeat(np.array(sample_names, object)[present], len(clusters)),
            "method": groupby,
            "cluster": clusters * int(present.sum()),
            "n": counts.ravel(),
            "fraction": (counts / totals[:, None]).ravel(),
            "low": np.asarray(low, float),
            "high": np.asarray(high, float),
        }
    )
