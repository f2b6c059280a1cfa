"""How much of a clustering stays when the seed changes, or when some of the cells are left out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cytocar._core import checks, keys, provenance, seeds
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar._core.samples import require_sample_column
from cytocar._core.vocabulary import NO_CLUSTER
from cytocar.tl import _input
from cytocar.tl._clusters.agreement import adjusted_rand, contingency
from cytocar.tl._clusters.profiles import cluster_frequencies
from cytocar.tl._groups import grouping

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

STABLE: Final = 0.75
DISSOLVED: Final = 0.5
# a low quantile of the Jaccard values, and the ends of the interval of a frequency
LOW: Final = 0.1
SPREAD: Final = (0.05, 0.95)
# cells of these labels are in no cluster
_NOWHERE: Final = ("", NO_CLUSTER)
# where a result says what it asked for beside what it found, the repeats ask for the same
_AUTO: Final = {"metaclusters": ("chosen", "n_clusters")}


class Stability(NamedTuple):
    """What `stability` found: three tidy tables.

    Parameters
    ----------
    methods
        One row per repeat: ``method``, ``what`` (``seed`` or ``resample``), ``repeat`` (from 1), ``n_cells``,
        ``n_clusters``, ``ari`` (adjusted Rand index with the clustering itself).
    clusters
        One row per cluster: ``method``, ``cluster``, ``n``, ``jaccard`` (mean over resamples), ``jaccard_low`` (0.1
        quantile), ``dissolved`` (share of resamples with 0.5 or less), ``verdict`` (``stable``, ``uncertain``,
        ``dissolved``).
    frequencies
        One row per sample and cluster: ``sample_id``, ``method``, ``cluster``, ``n``, ``fraction``, and
        ``low_stability``, ``high_stability`` (how far the share moves when cells are left out; the error of counting,
        which `cluster_frequencies` gives, is not in it).
    """

    methods: pd.DataFrame
    clusters: pd.DataFrame
    frequencies: pd.DataFrame


@dataclass(frozen=True)
class _Repeat:
    """One time the method is run again: on which cells, from which seed."""

    what: str
    number: int
    cells: NDArray[np.intp]
    seed: int


def _recorded(stored: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Return the settings of a result, as the arguments of the function that made it."""
    settings: dict[str, Any] = {}
    for name in inspect.signature(function).parameters:
        value = stored.get(name)
        if name in _AUTO:
            chosen, number = _AUTO[name]
            value = "auto" if stored.get(chosen) == "auto" else stored.get(number)
        if value is None or name in ("seed", "n_jobs", "key_added", "copy", "markers", "adata"):
            continue
        if isinstance(value, np.ndarray):
            value = tuple(value.tolist())
        settings[name] = value.item() if isinstance(value, np.generic) else value
    return settings


def best_matches(
    table: NDArray[np.int64], matchable: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    r"""Return for each row of a contingency table the largest Jaccard index among the columns, and its column.

    :math:`|A \cap B| / |A \cup B|`. Columns that are not `matchable` hold cells, but are nobody's match.

    Examples
    --------
    >>> jaccard, column = best_matches(np.array([[8, 0], [2, 5]]), np.array([True, True]))
    >>> jaccard.tolist(), column.tolist()
    ([0.8, 0.7142857142857143], [0, 1])
    """
    union = table.sum(axis=1)[:, None] + table.sum(axis=0)[None, :] - table
    jaccard = np.where((union > 0) & matchable, table / np.maximum(union, 1), 0.0)
    column = jaccard.argmax(axis=1)
    return jaccard[np.arange(len(table)), column], column


def verdict(jaccard: float) -> str:
    """Say in a word what a mean Jaccard index means: stable from 0.75, dissolved below 0.5, else uncertain.

    Examples
    --------
    >>> verdict(0.75), verdict(0.6), verdict(0.4), verdict(float("nan"))
    ('stable', 'uncertain', 'dissolved', 'not known')
    """
    if np.isnan(jaccard):
        return "not known"
    return "stable" if jaccard >= STABLE else "dissolved" if jaccard < DISSOLVED else "uncertain"


def _plan(n: int, n_seeds: int, n_resamples: int, share: float, most: int, seed: int) -> list[_Repeat]:
    """Draw the cells and seeds of all repeats; those of one never depend on how many there are."""
    pool = np.arange(n)
    if n > most:
        pool = np.sort(seeds.generator(seed, "stability", "pool").choice(n, most, replace=False))
    repeats = [
        _Repeat("seed", i + 1, pool, seeds.integer_seed(seed, "stability", "seed", str(i)))
        for i in range(n_seeds)
    ]
    size = int(np.floor(share * len(pool) + 1e-9))
    for i in range(n_resamples):
        drawn = seeds.generator(seed, "stability", "resample", str(i)).choice(pool, size, replace=False)
        start = seeds.integer_seed(seed, "stability", "resample", str(i), "start")
        repeats.append(_Repeat("resample", i + 1, np.sort(drawn), start))
    return repeats


def _in_order(
    work: Callable[[_Repeat], NDArray[np.str_]], repeats: list[_Repeat], threads: int
) -> list[NDArray[np.str_]]:
    """Run all repeats; the first alone, so that imports and compiled code are there before threads share them."""
    if threads == 1 or len(repeats) < 3:
        return [work(repeat) for repeat in repeats]
    first = work(repeats[0])
    with ThreadPoolExecutor(threads) as pool:
        return [first, *pool.map(work, repeats[1:])]


def stability(  # noqa: PLR0913  # the documented settings of the method
    adata: AnnData,
    key: str = keys.PHENOGRAPH,
    *,
    n_seeds: int = 5,
    n_resamples: int = 10,
    share: float = 0.8,
    sample_key: str = keys.SAMPLE,
    max_cells: int = 20_000,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Stability:
    r"""Run a clustering again with other seeds and on random parts of the cells, and compare.

    The method runs with the settings it recorded (where it chose the number of clusters itself, it chooses again; where
    the nodes of fewer cells cannot carry the number given, the largest they can carry is taken).
    Each repeat is compared with the labels in ``obs`` on the same cells by the adjusted Rand index (Hubert & Arabie
    1985, doi:10.1007/BF01908075). Each cluster C is judged by the resamples: with C* what was drawn of it, its
    stability is the mean of :math:`\max_D |C^* \cap D| / |C^* \cup D|` over the clusters D found again; 0.75 and
    more is stable, below 0.5 it is dissolved (Hennig 2007, Comput Stat Data Anal 52:258,
    doi:10.1016/j.csda.2006.11.025).

    The spread of a frequency is that of the share of D less the share of C* in the same drawn cells of a sample, so
    that drawing cells is not in it: 0.05 and 0.95 quantiles around the share found.

    Parameters
    ----------
    adata
        Cells on which `phenograph`, `flowsom` or `leiden` has run; arcsinh values in ``X``.
    key
        Name of the result in ``obs`` and ``uns``.
    n_seeds, n_resamples
        Repeats with other seeds on the same cells, and on random parts; at least 0, together at least 1.
    share
        Of the cells in a resample, drawn without replacement; 0.5 to 1.
    sample_key
        Column of ``obs`` with the samples; where there is none, frequencies are those of all cells.
    max_cells
        With more cells all repeats are on a random draw of so many, at least 100.
    seed
        Fixes the result, whatever `n_jobs` is.
    n_jobs
        Repeats at a time; -1 for all processors; `None`: ``scanpy.settings.n_jobs`` where scanpy is in use, else 1.

    Returns
    -------
    The tables ``methods``, ``clusters`` and ``frequencies``; see `Stability`. Cells labelled ``"-1"`` are
    no cluster; in the adjusted Rand index they count as a group of their own.

    Raises
    ------
    StateError
        ``X`` holds counts.
    ParameterError
        There is no such result, too few cells for a resample, or an argument is outside its domain.

    Examples
    --------
    >>> import anndata, numpy, pandas
    >>> from cytocar.tl import phenograph
    >>> rng = numpy.random.default_rng(0)
    >>> x = rng.normal(size=(150, 4)) + 8 * numpy.repeat(numpy.eye(4)[:3], 50, axis=0)
    >>> cells = anndata.AnnData(x.astype("float32"), var=pandas.DataFrame(index=["CD3", "CD4", "CD8", "Ki67"]))
    >>> cells.uns["cytocar"] = {"state": "arcsinh"}
    >>> phenograph(cells, markers=["CD3", "CD4", "CD8", "Ki67"], k=20)
    >>> found = stability(cells, "phenograph", n_seeds=2, n_resamples=3)
    >>> found.methods["ari"].tolist(), found.clusters["verdict"].tolist()
    ([1.0, 1.0, 1.0, 1.0, 1.0], ['stable', 'stable', 'stable'])
    """
    function, settings, markers = _result(adata, key)
    labels, _ = grouping(adata, key)
    labelled = np.flatnonzero(labels != "")
    checks.whole_number(n_seeds, "n_seeds", 0)
    checks.whole_number(n_resamples, "n_resamples", 0 if n_seeds else 1)
    checks.whole_number(max_cells, "max_cells", 100)
    threads = checks.n_threads(n_jobs)
    has_samples = sample_key in adata.obs
    if not has_samples and sample_key != keys.SAMPLE:
        require_sample_column(adata.obs, sample_key)
    kept_share = checks.number_between(share, "share", 0.5, 1)
    drawn = int(np.floor(kept_share * min(len(labelled), max_cells) + 1e-9))
    if n_resamples and drawn < _input.MIN_CELLS:
        raise ParameterError(
            f"share is {share}, which leaves {drawn} of {len(labelled)} cells in a resample",
            fix=f"at least {_input.MIN_CELLS} are needed: raise share, or take n_resamples=0",
        )
    x, names = _input.marker_matrix(adata[labelled], markers, "tl.stability")
    own = labels[labelled]
    repeats = _plan(len(x), n_seeds, n_resamples, kept_share, max_cells, seed)

    def again(repeat: _Repeat) -> NDArray[np.str_]:
        return _run_again(function, x[repeat.cells], names, settings, repeat.seed)

    repeated = list(zip(repeats, _in_order(again, repeats, threads), strict=True))
    resampled = [(repeat, new) for repeat, new in repeated if repeat.what == "resample"]
    samples = grouping(adata, sample_key)[0][labelled] if has_samples else np.full(len(own), keys.ALL)
    matched = [_matched(own[repeat.cells], new) for repeat, new in resampled]
    clusters = _clusters(key, own, grouping(adata, key)[1], [jaccard for jaccard, _ in matched])
    frequencies = _frequencies(
        adata[labelled],
        key,
        sample_key if has_samples else None,
        [
            _shifts(own[r.cells], renamed, samples[r.cells])
            for (r, _), (_, renamed) in zip(resampled, matched, strict=True)
        ],
    )
    return Stability(_methods(key, own, repeated), clusters, frequencies)


def _methods(
    key: str, own: NDArray[np.str_], repeated: list[tuple[_Repeat, NDArray[np.str_]]]
) -> pd.DataFrame:
    """Return the table with one row per repeat."""
    import pandas as pd

    rows = [
        {
            "method": key,
            "what": repeat.what,
            "repeat": repeat.number,
            "n_cells": len(repeat.cells),
            "n_clusters": len(set(new.tolist()) - set(_NOWHERE)),
            "ari": adjusted_rand(own[repeat.cells], new),
        }
        for repeat, new in repeated
    ]
    return pd.DataFrame(rows)


def _result(adata: AnnData, key: str) -> tuple[Callable[..., Any], dict[str, Any], list[str]]:
    """Return the function that made a result, its settings and its markers."""
    from cytocar.tl._clusters.flowsom import flowsom
    from cytocar.tl._clusters.leiden import leiden
    from cytocar.tl._clusters.phenograph import phenograph

    provenance.require_state(adata, keys.STATE_ARCSINH, "tl.stability")
    stored = adata.uns.get(key)
    if not isinstance(stored, Mapping) or "markers" not in stored or key not in adata.obs:
        results = [str(name) for name in adata.uns if name in adata.obs]
        near = did_you_mean(key, results) if results else "run cytocar.tl.phenograph, flowsom or leiden first"
        raise ParameterError(f"there is no clustering {key!r} with its settings in these data", fix=f"{near}")
    function: Callable[..., Any] = phenograph
    if "codes" in stored:
        function = flowsom
    elif "n_iterations" in stored:
        function = leiden
    return function, _recorded(stored, function), list(json.loads(str(stored["markers"])))


def _run_again(
    function: Callable[..., Any],
    x: NDArray[np.float32],
    names: list[str],
    settings: dict[str, Any],
    seed: int,
) -> NDArray[np.str_]:
    import anndata
    import pandas as pd

    from cytocar.tl._clusters.metaclusters import largest_cut, metaclusters

    cells = anndata.AnnData(
        x, obs=pd.DataFrame(index=pd.RangeIndex(len(x)).astype(str)), var=pd.DataFrame(index=names)
    )
    provenance.set_state(cells, keys.STATE_ARCSINH)
    if "k" in settings:
        settings = {**settings, "k": min(int(settings["k"]), len(x) // 2), "neighbors_key": None}
    asked = settings.get("metaclusters", "auto")

    def run(**changed: object) -> None:
        function(cells, markers=names, seed=seed, key_added="again", n_jobs=1, **{**settings, **changed})

    if asked == "auto":
        run()
        return np.asarray(cells.obs["again"].astype(str).to_numpy(object).astype(str))
    # all numbers up to 20 are kept, as far as the nodes of these cells carry them
    run(metaclusters="auto")
    number = min(int(asked), largest_cut(int((cells.uns["again"]["node_cells"] > 0).sum())))
    if number > cells.uns["again"]["ks"].max():
        run(metaclusters=number)
    return metaclusters(cells, number, key="again").astype(str).to_numpy(object).astype(str)


def _matched(
    own: NDArray[np.str_], new: NDArray[np.str_]
) -> tuple[dict[str, float], dict[str, NDArray[np.bool_]]]:
    """Return each cluster's best Jaccard index with the new clusters, and which cells the best of them holds."""
    rows, columns = np.unique(own), np.unique(new)
    jaccard, column = best_matches(contingency(own, new), ~np.isin(columns, _NOWHERE))
    return (
        {str(row): float(value) for row, value in zip(rows, jaccard, strict=True)},
        {str(row): new == columns[match] for row, match in zip(rows, column, strict=True)},
    )


def _clusters(
    key: str, own: NDArray[np.str_], clusters: list[str], jaccards: list[dict[str, float]]
) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for cluster in clusters:
        if cluster in _NOWHERE:
            continue
        # a cluster of which nothing was drawn says nothing
        values = np.array([by_cluster[cluster] for by_cluster in jaccards if cluster in by_cluster])
        mean = float(values.mean()) if values.size else float("nan")
        rows.append(
            {
                "method": key,
                "cluster": cluster,
                "n": int((own == cluster).sum()),
                "jaccard": mean,
                "jaccard_low": float(np.quantile(values, LOW)) if values.size else float("nan"),
                "dissolved": float((values <= DISSOLVED).mean()) if values.size else float("nan"),
                "verdict": verdict(mean),
            }
        )
    columns = ["method", "cluster", "n", "jaccard", "jaccard_low", "dissolved", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _shifts(
    own: NDArray[np.str_], renamed: dict[str, NDArray[np.bool_]], samples: NDArray[np.str_]
) -> dict[tuple[str, str], float]:
    """Return per sample and cluster the share found again less the share it has, in the same cells."""
    shifts = {}
    for sample in np.unique(samples):
        inside = samples == sample
        for cluster, members in renamed.items():
            shifts[(str(sample), cluster)] = float(members[inside].mean() - (own[inside] == cluster).mean())
    return shifts


def _frequencies(
    adata: AnnData, key: str, sample_key: str | None, shifts: list[dict[tuple[str, str], float]]
) -> pd.DataFrame:
    if sample_key is None:
        import anndata

        adata = anndata.AnnData(obs=adata.obs[[key]].assign(**{keys.SAMPLE: keys.ALL}))
        sample_key = keys.SAMPLE
    table = cluster_frequencies(adata, key, sample_key=sample_key).drop(columns=["low", "high"])
    table = table[~table["cluster"].isin(_NOWHERE)].reset_index(drop=True)
    low, high = [], []
    for row in table.to_dict(orient="records"):
        at = (str(row[keys.SAMPLE]), str(row["cluster"]))
        values = [shift[at] for shift in shifts if at in shift]
        a, b = np.quantile(values, SPREAD) if values else (np.nan, np.nan)
        low.append(float(np.clip(row["fraction"] + np.minimum(a, 0.0), 0, 1)))
        high.append(float(np.clip(row["fraction"] + np.maximum(b, 0.0), 0, 1)))
    return table.assign(low_stability=low, high_stability=high)
