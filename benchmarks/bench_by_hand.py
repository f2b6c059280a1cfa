"""Each numerical piece that cytocar has of its own beside the library that does it: equal?, time, memory.

    python benchmarks/bench_by_hand.py
    python benchmarks/bench_by_hand.py --quick

``ratio`` is the library's time over ours with compiled code warm, the best of three: above 1, ours is faster. ``peak``
is the most memory that Python and numpy held meanwhile, in MB, ours / theirs. ``difference`` is the largest between the
two results, in the unit that the row names. A library that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One piece: what ours and theirs return, and how far apart that is."""

    piece: str
    library: str
    size: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    apart: Callable[[Any, Any], float]
    unit: str = "value"


def largest(a: Any, b: Any) -> float:
    """Return the largest difference of two arrays."""
    return float(np.max(np.abs(np.asarray(a, float) - np.asarray(b, float))))


def unlike(a: Any, b: Any) -> float:
    """Return the share of entries that are not the same."""
    a, b = np.asarray(a), np.asarray(b)
    return 1.0 if a.shape != b.shape else float(np.mean(a != b))


def scales(n: int, rng: np.random.Generator) -> Iterator[Case]:
    """Logicle and hyperlog."""
    from flowutils import transforms

    from cytocar.gate._shapes.transforms import Hyperlog, Logicle

    values = rng.normal(0, 200, n) + rng.exponential(20_000, n) * (rng.random(n) < 0.3)
    table = values[:, None].copy()
    for name, scale in (("logicle", Logicle()), ("hyperlog", Hyperlog())):
        theirs = getattr(transforms, name)
        yield Case(
            name,
            "flowutils",
            f"{n} values",
            lambda scale=scale: scale.apply(values),
            lambda theirs=theirs: theirs(table.copy(), [0])[:, 0],
            largest,
        )


def densities(n: int, rng: np.random.Generator) -> Iterator[Case]:
    """Kernel density, Gaussian smoothing, turning points, two humps, the Pareto tail."""
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks
    from scipy.stats import gaussian_kde, genpareto
    from sklearn.mixture import GaussianMixture
    from statsmodels.nonparametric.kde import KDEUnivariate

    from cytocar._core.density import BOX, histogram, histogram_density, humps, smooth
    from cytocar.gate._rules.kernels.pareto_tail import fit_tail
    from cytocar.gate._rules.kernels.two_humps import fit_mixture

    x = np.concatenate([rng.normal(0.5, 0.4, n - n // 5), rng.normal(4, 0.5, n // 5)])
    grid, density = histogram_density(x, bandwidth=0.1)

    def statsmodels() -> Any:
        fitted = KDEUnivariate(x)
        fitted.fit(bw=0.1, fft=True)
        return np.interp(grid, fitted.support, fitted.density)

    def share_of_top(a: Any, b: Any) -> float:
        return largest(a, b) / float(density.max())

    def ours() -> Any:
        return histogram_density(x, bandwidth=0.1)[1]

    size = f"{n} values"
    yield Case(
        "kernel density", "statsmodels KDEUnivariate", size, ours, statsmodels, share_of_top, "of the top"
    )
    yield Case(
        "kernel density",
        "scipy gaussian_kde",
        size,
        ours,
        lambda: gaussian_kde(x, 0.1 / x.std(ddof=1))(grid),
        share_of_top,
        "of the top",
    )
    counts = rng.poisson(20, 2048).astype(float)
    yield Case(
        "Gaussian smoothing",
        "scipy.ndimage gaussian_filter1d",
        "2048 bins",
        lambda: smooth(counts, 5.0),
        lambda: gaussian_filter1d(counts, 5.0, mode="constant"),
        largest,
        "counts of 20",
    )
    seen, _, step = histogram(x, 0.02, 1.0)
    level = smooth(seen, 0.2 / step) * (BOX * 0.2 / step)
    yield Case(
        "peaks that stand out",
        "scipy.signal find_peaks",
        f"{level.size} bins",
        lambda: humps(level, seen, least_z=3.5, least_depth=0.1, least_events=20)[0],
        lambda: find_peaks(level, prominence=0.1 * level.max())[0],
        lambda a, b: largest(a, b) if len(a) == len(b) else np.inf,
        "bins",
    )
    yield Case(
        "two humps",
        "sklearn GaussianMixture",
        size,
        lambda: list(fit_mixture(x).humps.modes[0]),
        lambda: np.sort(GaussianMixture(2, random_state=0).fit(x[:, None]).means_[:, 0]),
        largest,
        "arcsinh units",
    )
    excess = np.sort(genpareto.rvs(-0.05, scale=0.4, size=400, random_state=1))
    yield Case(
        "Pareto tail",
        "scipy genpareto.fit",
        "400 excesses",
        lambda: fit_tail(excess),
        lambda: genpareto.fit(excess, floc=0)[::-2],
        largest,
        "scale, shape",
    )


def events(n: int, rng: np.random.Generator) -> Iterator[Case]:
    """Non-negative signals, distances from populations, slopes, points in polygons."""
    from matplotlib.path import Path
    from scipy.optimize import nnls
    from scipy.spatial.distance import cdist
    from scipy.stats import theilslopes

    from cytocar.gate._shapes.shapes import Dimension, Polygon
    from cytocar.pp._barcodes.assign import squared_distances
    from cytocar.pp._spillover.compensate import solve
    from cytocar.pp._time.judge import without_trend

    matrix = np.eye(40) + rng.uniform(0, 0.03, (40, 40)) * (rng.random((40, 40)) < 0.2) * (1 - np.eye(40))
    few = max(n // 20, 1000)
    counts = rng.gamma(0.3, 50, (few, 40)).astype(np.float32)
    yield Case(
        "non-negative least squares",
        "scipy nnls, event by event",
        f"{few} x 40",
        lambda: solve(counts.copy(), matrix),
        lambda: np.array([nnls(matrix.T, event.astype(float))[0] for event in counts]),
        lambda a, b: largest(a, b) / float(counts.max()),
        "of the largest",
    )
    values = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6))
    core = np.ones(n, bool)
    yield Case(
        "Mahalanobis distance",
        "scipy cdist",
        f"{n} x 6",
        lambda: squared_distances(values, core),
        lambda: (
            cdist(values, values.mean(axis=0)[None], "mahalanobis", VI=np.linalg.inv(np.cov(values.T)))[:, 0]
            ** 2
        ),
        largest,
    )
    series = np.cumsum(rng.normal(size=(100, 1)), axis=0)
    yield Case(
        "slope through medians (Theil-Sen)",
        "scipy theilslopes",
        "100 bins",
        lambda: np.diff(without_trend(series)[:2, 0]),
        lambda: np.diff(series[:2, 0]) - theilslopes(series[:, 0]).slope,
        largest,
    )
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    corners = np.column_stack([np.cos(angle), 0.7 * np.sin(angle)])
    points = rng.normal(size=(n, 2))
    axes = [np.ascontiguousarray(column) for column in points.T]
    shape = Polygon(
        id="gate",
        dimensions=(Dimension("x"), Dimension("y")),
        vertices=tuple((float(a), float(b)) for a, b in corners),
    )
    yield Case(
        "points in a polygon",
        "matplotlib.path",
        f"{n} points, 20 corners",
        lambda: shape.inside(axes),
        lambda: Path(corners).contains_points(points),
        unlike,
        "share of points",
    )


def clusters(n: int, rng: np.random.Generator) -> Iterator[Case]:
    """Linkage, trees, agreement of labels, graphs and their communities, neighbours."""
    import networkx as nx
    import scipy.cluster.hierarchy as hierarchy
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial.distance import pdist, squareform
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.neighbors import NearestNeighbors

    from cytocar.tl._clusters.agreement import adjusted_rand, normalized_mutual_information
    from cytocar.tl._clusters.consensus_kernels import agglomerate
    from cytocar.tl._clusters.graph_kernels import modularity
    from cytocar.tl._clusters.louvain_kernels import louvain
    from cytocar.tl._clusters.phenograph import jaccard_graph
    from cytocar.tl._clusters.som_tree import spanning_tree
    from cytocar.tl._neighbours.nearest import nearest_neighbours

    nodes = rng.normal(size=(100, 30))
    square = squareform(pdist(nodes))
    ones = np.ones(100)
    for kind, (name, method) in enumerate(
        (("average", "average"), ("Ward", "ward"), ("complete", "complete"))
    ):
        yield Case(
            f"{name} linkage",
            "scipy hierarchy",
            "100 nodes",
            lambda kind=kind: agglomerate(square, ones, kind)[1],
            lambda method=method: hierarchy.linkage(squareform(square, checks=False), method)[:, 2],
            largest,
            "height",
        )
    yield Case(
        "minimum spanning tree",
        "scipy csgraph",
        "100 nodes",
        lambda: spanning_tree(nodes)[1].sum(),
        lambda: minimum_spanning_tree(squareform(pdist(nodes))).sum(),
        largest,
        "length",
    )
    a, b = rng.integers(0, 20, (2, n))
    for name, ours, theirs in (
        ("adjusted Rand index", adjusted_rand, adjusted_rand_score),
        ("mutual information", normalized_mutual_information, normalized_mutual_info_score),
    ):
        yield Case(
            name,
            "sklearn.metrics",
            f"{n} cells",
            lambda f=ours: f(a, b),
            lambda f=theirs: f(a, b),
            largest,
            "index",
        )
    cells = max(n // 10, 2000)
    x = (rng.normal(size=(cells, 20)) + 3 * rng.normal(size=(15, 20))[rng.integers(0, 15, cells)]).astype(
        np.float32
    )
    yield Case(
        "30 nearest neighbours",
        "sklearn NearestNeighbors",
        f"{cells} x 20",
        lambda: nearest_neighbours(x, 30)[0],
        lambda: NearestNeighbors(n_neighbors=31).fit(x).kneighbors(x, return_distance=False)[:, 1:],
        unlike,
        "share of neighbours",
    )
    graph = jaccard_graph(nearest_neighbours(x, 30)[0])
    parts = graph.indptr.astype(np.int64), graph.indices.astype(np.int32), graph.data
    upper = coo_matrix(np.triu(graph.toarray(), 1)) if cells <= 3000 else coo_matrix(graph)
    keep = upper.row < upper.col
    ends, weights = np.column_stack([upper.row, upper.col])[keep], upper.data[keep].astype(float)
    labels = louvain(*parts, 1.0, 1)

    def quality(found: Any) -> float:
        return float(modularity(*parts, np.asarray(found, np.int64), 1.0))

    def lower(ours: Any, theirs: Any) -> float:
        return quality(theirs) - quality(ours)

    if importlib.util.find_spec("igraph"):
        import igraph

        other = igraph.Graph(cells, ends.tolist())

        def multilevel() -> Any:
            random.seed(1)
            return other.community_multilevel(weights=weights).membership

        size = f"{cells} nodes, {len(ends)} edges"
        yield Case(
            "modularity",
            "igraph",
            size,
            lambda: quality(labels),
            lambda: other.modularity(labels.tolist(), weights=weights),
            largest,
            "modularity",
        )
        yield Case(
            "Louvain",
            "igraph multilevel",
            size,
            lambda: louvain(*parts, 1.0, 1),
            multilevel,
            lower,
            "modularity above ours",
        )
    net = nx.Graph()
    net.add_nodes_from(range(cells))
    net.add_weighted_edges_from((int(i), int(j), float(w)) for (i, j), w in zip(ends, weights, strict=True))

    def communities() -> Any:
        out = np.empty(cells, np.int64)
        for number, members in enumerate(nx.community.louvain_communities(net, seed=1)):
            out[list(members)] = number
        return out

    yield Case(
        "Louvain",
        "networkx",
        f"{cells} nodes",
        lambda: louvain(*parts, 1.0, 1),
        communities,
        lower,
        "modularity above ours",
    )
    if importlib.util.find_spec("pynndescent"):
        from pynndescent import NNDescent

        NNDescent(x[:500], n_neighbors=31, random_state=0, n_jobs=1)  # compiles

        yield Case(
            "30 nearest neighbours",
            "pynndescent",
            f"{cells} x 20",
            lambda: nearest_neighbours(x, 30)[0],
            lambda: NNDescent(x, n_neighbors=31, random_state=0, n_jobs=1).neighbor_graph[0][:, 1:],
            unlike,
            "share of neighbours",
        )


def best_time(function: Callable[[], Any], times: int) -> tuple[float, Any, float]:
    """Return the shortest time after a first call, the result, and the peak of memory in MB.

    What takes longer than three seconds is not called again, and its memory is NaN.
    """
    taken = []
    for _ in range(times + 1):
        start = time.perf_counter()
        result = function()
        taken.append(time.perf_counter() - start)
        if taken[-1] > 3:
            return min(taken), result, float("nan")
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return min(taken[1:]), result, peak


def main() -> None:
    """Print one row per piece and library."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a fifth of the sizes, one repeat")
    quick = parser.parse_args().quick
    n = 20_000 if quick else 100_000
    print("| piece | library | size | ours ms | theirs ms | ratio | peak MB | difference |")
    print("|---|---|---|---:|---:|---:|---|---|")
    for group in (scales, densities, events, clusters):
        try:
            for case in group(n, np.random.default_rng(0)):
                own, first, peak = best_time(case.ours, 1 if quick else 3)
                other, second, their_peak = best_time(case.theirs, 1 if quick else 3)
                print(
                    f"| {case.piece} | {case.library} | {case.size} | {1e3 * own:.3g} | {1e3 * other:.3g} | "
                    f"{other / own:.2g} | {peak:.1f} / {their_peak:.1f} | "
                    f"{case.apart(first, second):.2g} {case.unit} |",
                    flush=True,
                )
        except ModuleNotFoundError as missing:
            print(f"| {group.__name__} | {missing.name} is not installed | | | | | | |")


if __name__ == "__main__":
    main()
