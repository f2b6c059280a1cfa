from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.cluster.hierarchy as hierarchy
from scipy.spatial.distance import cdist
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from cytocar.tl._clusters import consensus as _consensus
from cytocar.tl._clusters.consensus_kernels import agglomerate, cut_all

GOLDEN = Path(__file__).parent / "golden"
# how R calls our linkages
IN_R = {"average": "average", "ward": "ward.D2", "complete": "complete"}


def points(n: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4))


@pytest.mark.parametrize("linkage", IN_R)
def test_matrices_and_classes_are_those_of_consensusclusterplus(linkage: str) -> None:
    codes = np.loadtxt(GOLDEN / "consensus_codes.csv", delimiter=",")
    samples = np.loadtxt(GOLDEN / "consensus_samples.csv", delimiter=",", dtype=np.int64)
    n = len(codes)
    found = _consensus.consensus(cdist(codes, codes), np.ones(n), samples, 6, linkage)
    matrices = pd.read_csv(GOLDEN / "consensus_matrix.csv").query("linkage == @IN_R[@linkage]")
    classes = pd.read_csv(GOLDEN / "consensus_classes.csv").query("linkage == @IN_R[@linkage]")
    assert len(classes) == 5
    for k in range(2, 7):
        pairs = matrices[matrices["k"] == k]
        expected = np.eye(n)
        expected[pairs["i"], pairs["j"]] = expected[pairs["j"], pairs["i"]] = pairs["consensus"]
        # R wrote six decimals
        assert np.abs(found.matrices[k - 2] - expected).max() < 1e-6
        assert 0.1 < expected.mean() < 0.95
        in_r = classes[classes["k"] == k].iloc[0, 2:].to_numpy(int)
        assert adjusted_rand_score(in_r, found.labels[k - 2]) == 1


@pytest.mark.parametrize("linkage", IN_R)
def test_plain_clustering_is_that_of_r(linkage: str) -> None:
    codes = np.loadtxt(GOLDEN / "consensus_codes.csv", delimiter=",")
    plain = pd.read_csv(GOLDEN / "plain_classes.csv").query("linkage == @IN_R[@linkage]")
    cuts = _consensus.hierarchical(cdist(codes, codes), np.ones(len(codes)), 6, linkage)
    for k in range(2, 7):
        assert adjusted_rand_score(plain[plain["k"] == k].iloc[0, 2:].to_numpy(int), cuts[k - 2]) == 1


def test_consensus_is_not_plain_clustering() -> None:
    codes = np.loadtxt(GOLDEN / "consensus_codes.csv", delimiter=",")
    samples = np.loadtxt(GOLDEN / "consensus_samples.csv", delimiter=",", dtype=np.int64)
    distances, sizes = cdist(codes, codes), np.ones(len(codes))
    found = _consensus.consensus(distances, sizes, samples, 6, "ward")
    plain = _consensus.hierarchical(distances, sizes, 6, "ward")
    agreement = [adjusted_rand_score(a, b) for a, b in zip(found.labels, plain, strict=True)]
    assert min(agreement) < 0.9


@pytest.mark.parametrize(("method", "name"), [(0, "average"), (1, "ward"), (2, "complete")])
@pytest.mark.parametrize("seed", range(4))
def test_trees_are_those_of_scipy(method: int, name: str, seed: int) -> None:
    x = points(50, seed)
    merges, heights = agglomerate(cdist(x, x), np.ones(50), method)
    expected = hierarchy.linkage(x, name)
    assert np.allclose(heights, expected[:, 2])
    cuts = cut_all(merges, 12)
    for k in range(2, 13):
        labels = hierarchy.fcluster(expected, k, "maxclust")
        assert adjusted_rand_score(labels, cuts[k - 2]) == 1
        assert cuts[k - 2].max() == k - 1


@pytest.mark.parametrize(("method", "name"), [(0, "average"), (1, "ward")])
def test_a_point_of_three_cells_is_three_points(method: int, name: str) -> None:
    x = points(20, 3)
    sizes = np.random.default_rng(1).integers(1, 5, 20)
    merges, heights = agglomerate(cdist(x, x), sizes.astype(float), method)
    repeated = hierarchy.linkage(np.repeat(x, sizes, axis=0), name)
    assert np.allclose(heights, repeated[-19:, 2])
    labels = hierarchy.fcluster(repeated, 6, "maxclust")
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    assert adjusted_rand_score(labels[first], cut_all(merges, 6)[-1]) == 1


def test_consensus_counts_pairs_over_the_resamples_that_held_both() -> None:
    # two pairs far apart: whatever is drawn, partners are together and strangers are not
    x = np.array([[0.0], [0.1], [9.0], [9.1], [5.0]])
    samples = np.array([[0, 1, 2, 3], [0, 1, 2, 4], [1, 2, 3, 4]])
    found = _consensus.consensus(cdist(x, x), np.ones(5), samples, 2, "average")
    matrix = found.matrices[0]
    assert matrix[0, 1] == 1
    assert matrix[2, 3] == 1
    assert matrix[0, 2] == 0
    # never drawn together
    assert matrix[0, 3] + matrix[0, 4] >= 0
    # 4 was drawn with 2 twice and went with it both times, as 5.0 is nearer to 9.0 than to 0.1
    assert matrix[2, 4] == 1
    assert np.array_equal(matrix, matrix.T)
    assert np.array_equal(np.diag(matrix), np.ones(5))


def test_groups_far_apart_have_no_ambiguous_pairs() -> None:
    x = np.vstack([points(15, 0) * 0.1, points(15, 1) * 0.1 + 9])
    samples = _consensus.resamples(30, np.random.default_rng(0))
    found = _consensus.consensus(cdist(x, x), np.ones(30), samples, 4)
    ambiguous = found.ambiguous()
    assert ambiguous[0] == 0
    assert ambiguous[1] > 0
    upper = found.matrices[2][np.triu_indices(30, 1)]
    assert ambiguous[2] == np.mean((upper > 0.1) & (upper < 0.9))


def test_resamples_leave_out_a_tenth() -> None:
    samples = _consensus.resamples(95, np.random.default_rng(0))
    assert samples.shape == (100, 85)
    assert all(len(set(row)) == 85 for row in samples.tolist())
    assert (np.sort(samples, axis=1) == samples).all()
    assert len({tuple(row) for row in samples.tolist()}) == 100
    # floor(0.9 x 10) is 9, although 0.9 x 10 is not exact in floating point everywhere
    assert _consensus.resamples(10, np.random.default_rng(0)).shape == (100, 9)


def test_more_clusters_than_points_leave_each_alone() -> None:
    x = points(4)
    merges, _ = agglomerate(cdist(x, x), np.ones(4), 0)
    cuts = cut_all(merges, 7)
    assert [len(set(row)) for row in cuts.tolist()] == [2, 3, 4, 4, 4, 4]


def seeds_golden() -> tuple[np.ndarray, pd.DataFrame]:
    codes = np.loadtxt(GOLDEN / "consensus_seeds_codes.csv", delimiter=",")
    return codes, pd.read_csv(GOLDEN / "consensus_seeds_classes.csv").set_index(["k", "seed"])


def test_a_hundred_codes_on_the_same_resamples_are_grouped_as_in_r() -> None:
    codes, classes = seeds_golden()
    samples = np.loadtxt(GOLDEN / "consensus_seeds_samples.csv", delimiter=",", dtype=np.int64)
    found = _consensus.consensus(cdist(codes, codes), np.ones(100), samples, 20, "average")
    for k in range(3, 21):
        assert adjusted_rand_score(classes.loc[(k, 1)], found.labels[k - 2]) == 1
    areas = pd.read_csv(GOLDEN / "consensus_seeds_area.csv").query("seed == 1")
    # R wrote eight decimals
    assert np.allclose(found.area(), areas["area"], rtol=0, atol=1e-8)
    assert np.allclose(_consensus.growth(found.area()), areas["delta_area"], rtol=0, atol=1e-8)
    assert areas["area"].is_monotonic_increasing


def test_our_seeds_are_no_further_from_those_of_r_than_these_from_each_other() -> None:
    codes, classes = seeds_golden()
    distances = cdist(codes, codes)
    ours = [
        _consensus.consensus(
            distances, np.ones(100), _consensus.resamples(100, np.random.default_rng(seed)), 20, "average"
        )
        for seed in range(5)
    ]
    among, between, plain = [], [], []
    for k in range(3, 21):
        theirs = [classes.loc[(k, seed)].to_numpy() for seed in range(1, 6)]
        pairs = [adjusted_rand_score(a, b) for a, b in itertools.combinations(theirs, 2)]
        among.append(pairs)
        between.append([adjusted_rand_score(a, o.labels[k - 2]) for a in theirs for o in ours])
        # what the Python package flowsom 0.2.2 does with the codes
        cut = AgglomerativeClustering(n_clusters=k, linkage="average").fit_predict(codes)
        plain.append([adjusted_rand_score(a, cut) for a in theirs])
    assert np.mean(between) >= np.mean(among)
    # for single numbers of clusters up to the noise of 10 pairs of seeds
    assert (np.mean(between, axis=1) >= np.mean(among, axis=1) - 0.03).all()
    assert np.mean(plain) < np.mean(among) - 0.01
    assert sum(np.max(plain, axis=1) < np.min(among, axis=1)) >= 2


def test_the_area_of_a_known_distribution() -> None:
    matrix = np.eye(4)
    upper = np.triu_indices(4, 1)
    matrix[upper] = [0, 0, 0.5, 0.5, 1, 1]
    found = _consensus.Consensus(np.zeros((1, 4), int), (matrix + matrix.T)[None])
    # bins of 0.01, closed above: a third up to 0.49, two thirds from 0.50 to 0.99, all in the last
    assert found.area()[0] == pytest.approx((49 / 3 + 50 * 2 / 3 + 1) / 100, abs=1e-12)
    assert _consensus.growth(np.array([0.2, 0.3, 0.3])).tolist() == pytest.approx([0.2, 0.5, 0])
    assert _consensus.growth(np.array([0.0, 0.3])).tolist() == [0, 0]
