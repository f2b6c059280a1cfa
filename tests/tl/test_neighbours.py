from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from cytocar._core.errors import ParameterError
from cytocar.tl import _neighbours
from cytocar.tl._neighbours import lists as _neighbour_lists
from cytocar.tl._neighbours import nearest
from cytocar.tl._neighbours.kernels import largest


def clusters(n: int, markers: int = 12, groups: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, markers)) * 3
    return (centres[rng.integers(0, groups, n)] + rng.normal(size=(n, markers))).astype("float32")


def oracle(x: np.ndarray, k: int) -> np.ndarray:
    search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x.astype(float))
    return search.kneighbors()[1][:, :k]


def share_found(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, true, strict=True)]))


@settings(deadline=None, max_examples=60)
@given(
    columns=st.integers(3, 900), wanted=st.integers(1, 60), values=st.integers(1, 40), seed=st.integers(0, 99)
)
def test_the_largest_values_are_chosen_and_ties_go_to_the_first(
    columns: int, wanted: int, values: int, seed: int
) -> None:
    wanted = min(wanted, columns)
    score = np.random.default_rng(seed).integers(0, values, (3, columns)).astype("float32")
    names = np.arange(columns, dtype=np.int32) * 2
    out = np.empty((3, wanted), np.int32)
    largest(score, names, out)
    for row, chosen in zip(score, out, strict=True):
        assert len(set(chosen)) == wanted
        assert sorted(row[chosen // 2]) == sorted(row)[-wanted:]
    # where all are alike there is nothing but the order
    largest(np.zeros((3, columns), np.float32), names, out)
    assert np.array_equal(np.sort(out[0]), names[:wanted])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_recall_that_is_told_is_the_recall(n_jobs: int) -> None:
    x = clusters(6000)
    found = _neighbours.search(x, 15, n_jobs=n_jobs, exact_up_to=1000)
    true = oracle(x, 15)
    assert found.how == "inverted file"
    assert found.recall >= 0.98
    assert share_found(found.index, true) == pytest.approx(found.recall, abs=0.01)
    again = _neighbours.search(x, 15, n_jobs=1, exact_up_to=1000)
    assert np.array_equal(found.index, again.index)


def test_a_low_recall_is_told_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_neighbour_lists, "FEWEST", 1000)
    monkeypatch.setattr(_neighbour_lists, "MOST", 1000)
    monkeypatch.setattr(nearest, "PASSES", 0)
    x = np.random.default_rng(0).normal(size=(6000, 30)).astype("float32")
    poor = _neighbours.search(x, 15, exact_up_to=1000)
    true = oracle(x, 15)
    assert poor.recall < 0.5
    assert share_found(poor.index, true) == pytest.approx(poor.recall, abs=0.02)
    # neighbours of neighbours bring back much of what was missed
    monkeypatch.setattr(nearest, "PASSES", 2)
    better = _neighbours.search(x, 15, exact_up_to=1000)
    assert better.recall > poor.recall + 0.15
    assert share_found(better.index, true) == pytest.approx(better.recall, abs=0.02)


def test_more_is_looked_through_where_cells_have_no_structure() -> None:
    needed = []
    for x in (clusters(8000, groups=40), np.random.default_rng(0).normal(size=(8000, 12)).astype("float32")):
        with ThreadPoolExecutor(1) as pool:
            lists = _neighbour_lists.Lists(x, pool)
            sample = np.arange(0, 8000, 80, dtype=np.int32)
            true = oracle(lists.x, 15)[sample].astype(np.int32)
            needed.append(lists.looks_needed(sample, true, 0.95))
            candidates = lists.candidates(16, needed[-1])
        assert share_found(candidates[sample], true) >= 0.94
    assert needed[1] > needed[0]


def test_nearest_neighbours_come_nearest_first_without_the_row_itself() -> None:
    x = clusters(5000)
    found = _neighbours.search(x, 10, exact_up_to=1000).index
    lengths = _neighbours.distances(x, x, found)
    assert (np.diff(lengths, axis=1) >= -1e-5).all()
    assert not (found == np.arange(len(x))[:, None]).any()
    assert all(len(set(row)) == 10 for row in found[::50])


def test_ten_copies_of_each_cell_find_each_other() -> None:
    x = np.repeat(clusters(600), 10, axis=0)
    found = _neighbours.search(x, 30, exact_up_to=1000).index
    rows = np.arange(len(x))
    assert not (found == rows[:, None]).any()
    copies = found[:, :9] // 10 == rows[:, None] // 10
    assert copies.mean() > 0.99


def test_copies_do_not_lower_the_recall() -> None:
    generator = np.random.default_rng(0)
    x = np.tile(generator.normal(size=(1200, 6)), (10, 1)).astype("float32")
    found = _neighbours.search(x, 30, exact_up_to=1000)
    lengths = _neighbours.distances(x, x, found.index)
    true = _neighbours.distances(x, x, _neighbours.search(x, 30, exact_up_to=len(x)).index)
    assert found.recall >= 0.98
    assert (lengths <= true[:, -1:] * (1 + 1e-6)).mean() >= 0.97


def test_thousands_of_copies_of_one_cell_cost_no_more() -> None:
    x = np.vstack([clusters(8000), np.zeros((24_000, 12), "float32")])
    _neighbours.search(x[:2000], 30, exact_up_to=1000)
    start = time.process_time()
    found = _neighbours.search(x, 30).index
    assert time.process_time() - start < 20
    assert not (found == np.arange(len(x))[:, None]).any()
    assert (found[8000:] >= 8000).all()
    # as in an exact search the first of them are the neighbours of all
    assert (found[8100:] < 8031).all()


def test_the_rows_nearest_to_others_are_those_of_an_exact_search() -> None:
    x, query = clusters(900) + 1000, clusters(70, seed=1) + 1000
    search = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(x.astype(float))
    expected = search.kneighbors(query.astype(float))[1]
    assert np.array_equal(_neighbours.nearest_to(query, x, 7, n_jobs=2), expected)
    # a row of the base is its own nearest
    assert np.array_equal(_neighbours.nearest_to(x[:50], x, 1)[:, 0], np.arange(50))


def test_threads_are_a_whole_number() -> None:
    with pytest.raises(ParameterError, match="n_jobs is -2"):
        _neighbours.search(clusters(100), 5, n_jobs=-2)
