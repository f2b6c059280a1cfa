from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist

from cytocar import tl
from cytocar._core.errors import ParameterError
from cytocar.tl._clusters import metaclusters as _metaclusters
from cytocar.tl._clusters import som as _som
from cytocar.tl._clusters.som_kernels import across, train


def mixture(n: int, markers: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centres = generator.normal(2, 1.5, (12, markers))
    truth = generator.choice(12, n, p=np.arange(1, 13) / 78)
    return (centres[truth] + generator.normal(0, 0.6, (n, markers))).astype("float32"), truth


def purity(node: np.ndarray, truth: np.ndarray) -> float:
    counts = np.zeros((node.max() + 1, truth.max() + 1), int)
    np.add.at(counts, (node, truth), 1)
    return counts.max(axis=1).sum() / len(node)


def lloyd(x: np.ndarray, codes: np.ndarray, passes: int) -> np.ndarray:
    """Move codes to the means of their cells, as one reads it."""
    for _ in range(passes):
        node = cdist(x, codes).argmin(axis=1)
        codes = np.array(
            [x[node == c].mean(axis=0) if (node == c).any() else codes[c] for c in range(len(codes))]
        )
    return codes


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut blocks and samples so small that few cells make many of them."""
    monkeypatch.setattr(_som, "BLOCK", 64)
    monkeypatch.setattr(_som, "SAMPLE", 400)


def test_batch_passes_are_means_of_the_nearest_cells() -> None:
    x, _ = mixture(3000)
    # so few cells are all drawn: the batch form starts where the online form ends
    online = tl.flowsom_map(x, grid=(6, 6), rlen=6, method="online")
    batch = tl.flowsom_map(x, grid=(6, 6), rlen=6, method="batch")
    assert np.allclose(batch.codes, lloyd(x.astype(float), online.codes, 3), atol=1e-4)
    assert not np.allclose(batch.codes, lloyd(x.astype(float), online.codes, 2), atol=1e-4)
    assert batch.quantisation_error() < online.quantisation_error()
    assert (online.method, batch.method, batch.grid) == ("online", "batch", (6, 6))


def test_the_distances_are_those_to_the_codes() -> None:
    x, _ = mixture(2000)
    found = tl.flowsom_map(x, grid=(5, 5), method="batch", n_jobs=2)
    distances = cdist(x, found.codes)
    assert np.array_equal(found.node, distances.argmin(axis=1))
    assert np.allclose(found.distance, distances.min(axis=1), rtol=1e-5)
    assert found.quantisation_error() == pytest.approx(distances.min(axis=1).mean(), rel=1e-5)
    assert (found.node.dtype, found.distance.dtype, found.codes.dtype) == (np.int32, np.float32, np.float64)


@pytest.mark.usefixtures("small_blocks")
@given(edges=st.lists(st.integers(0, 999), max_size=6), threads=st.sampled_from([1, 2, 3]))
@settings(max_examples=20, deadline=None)
def test_chunks_and_threads_change_no_digit(edges: list[int], threads: int) -> None:
    x, _ = mixture(1000, 3)
    whole = tl.flowsom_map(x, grid=(4, 4), method="batch", rlen=4)
    parts = np.split(x, sorted(edges))
    for cells in (parts, lambda: iter(parts)):
        again = tl.flowsom_map(cells, grid=(4, 4), method="batch", rlen=4, n_jobs=threads)
        assert np.array_equal(again.codes, whole.codes)
        assert np.array_equal(again.node, whole.node)
        assert np.array_equal(again.distance, whole.distance)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_are_the_same_however_they_are_cut() -> None:
    x, _ = mixture(500, 2)
    whole = list(_som.blocks(x))
    assert [start for start, _ in whole] == list(range(0, 500, 64))
    assert np.array_equal(np.concatenate([block for _, block in whole]), x)
    for edges in ([64], [63], [65, 130], [1, 2, 3, 499], [0, 0, 320], []):
        parts = list(_som.blocks(np.split(x, edges)))
        assert [start for start, _ in parts] == [start for start, _ in whole]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(parts, whole, strict=True))


@pytest.mark.usefixtures("small_blocks")
def test_chunks_may_reuse_their_memory() -> None:
    x, _ = mixture(600, 3)

    def chunks() -> Iterator[np.ndarray]:
        page = np.empty((50, 3), np.float32)
        for start in range(0, 600, 50):
            page[:] = x[start : start + 50]
            yield page

    whole = tl.flowsom_map(x, grid=(3, 3), method="batch")
    assert np.array_equal(tl.flowsom_map(chunks, grid=(3, 3)).codes, whole.codes)


@pytest.mark.usefixtures("small_blocks")
def test_a_memory_map_is_read_in_blocks(tmp_path: Path) -> None:
    x, _ = mixture(900, 4)
    np.save(tmp_path / "cells.npy", x.astype("float64"))
    kept = np.load(tmp_path / "cells.npy", mmap_mode="r")
    found = tl.flowsom_map(kept, grid=(4, 4))
    assert found.method == "batch"
    assert np.array_equal(found.codes, tl.flowsom_map(x, grid=(4, 4)).codes)


def test_small_data_take_the_published_form_and_large_data_the_batch_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _som.checked_method("auto", 100_000) == "online"
    assert _som.checked_method("auto", 100_001) == "batch"
    assert _som.checked_method("online", 10**9) == "online"
    monkeypatch.setattr(_som, "SAMPLE", 500)
    x, truth = mixture(6000)
    online = tl.flowsom_map(x, grid=(6, 6), method="online")
    batch = tl.flowsom_map(x, grid=(6, 6))
    assert batch.method == "batch"
    # unfolded on a twelfth of the cells, and no worse
    assert batch.quantisation_error() < 1.01 * online.quantisation_error()
    assert purity(batch.node, truth) > purity(online.node, truth) - 0.01
    # bad before: what the sample alone says is worse than what all cells make of it
    sample = tl.flowsom_map(x[:500], grid=(6, 6), method="online")
    assert cdist(x, sample.codes).min(axis=1).mean() > 1.01 * batch.quantisation_error()


def test_a_marker_without_signal_leaves_the_map_alone() -> None:
    x, _ = mixture(1500, 3)
    with_zeros = np.column_stack([x, np.zeros(len(x), np.float32)])
    for method in ("online", "batch"):
        plain = tl.flowsom_map(x, grid=(5, 5), method=method)
        wide = tl.flowsom_map(with_zeros, grid=(5, 5), method=method)
        assert (wide.codes[:, 3] == 0).all()
        assert np.allclose(wide.codes[:, :3], plain.codes, atol=1e-4)


def test_codes_do_not_shrink_to_numbers_that_slow_processors() -> None:
    # a marker that only the first codes have: it falls by up to a twentieth at each showing
    codes = across(np.array([[5.0, 1.0], [5.0, 4.0]]))
    x = np.zeros((20_000, 2), np.float32)
    x[::2, 1] = 4
    between = _som.chebyshev((1, 2))
    train(x, codes, 2, between, 0, len(x), np.array([0.05, 0.01]), np.array([0.0, 0.0]))
    assert codes[0, :2].tolist() == [0, 0]
    assert np.allclose(codes[1, :2], [0, 4], atol=0.1)


def test_repeated_cells_give_the_same_map_of_fewer_nodes() -> None:
    x = np.repeat(mixture(6, 3)[0], 200, axis=0)
    for method in ("online", "batch"):
        found = tl.flowsom_map(x, grid=(5, 5), method=method)
        assert len(np.unique(found.node)) <= 6
        assert np.isfinite(found.codes).all()
        assert all(len(set(found.node[i * 200 : (i + 1) * 200])) == 1 for i in range(6))


def test_many_markers_and_nodes_are_not_cut_off() -> None:
    generator = np.random.default_rng(3)
    for markers, grid in ((1, (2, 2)), (2, (3, 11)), (43, (4, 4)), (5, (17, 2))):
        x = generator.normal(size=(700, markers)).astype("float32")
        found = tl.flowsom_map(x, grid=grid, method="batch")
        assert found.codes.shape == (grid[0] * grid[1], markers)
        distances = cdist(x, found.codes)
        assert np.allclose(found.distance, distances.min(axis=1), atol=1e-5)
        assert np.allclose(distances[np.arange(700), found.node], distances.min(axis=1), atol=1e-5)


def once() -> Iterator[np.ndarray]:
    yield np.zeros((20, 2), np.float32)


@pytest.mark.parametrize(
    ("cells", "arguments", "message"),
    [
        (np.zeros(5), {}, r"shape \(5,\)"),
        (np.zeros((9, 2)), {}, "at least 10 cells, there are 9"),
        (once(), {}, "generator, which is spent after one pass"),
        (
            [np.zeros((20, 2)), np.zeros((20, 3))],
            {},
            r"chunk 1 has the shape \(20, 3\); it must have 2 columns",
        ),
        ([np.zeros((20, 2)), np.zeros(3)], {}, r"chunk 1 has the shape \(3,\)"),
        ([np.zeros((20, 2)), np.array([[1, 2], [3, np.nan]])], {}, "row 21, column 1 is nan"),
        (np.where(np.eye(20, 2) > 0, np.inf, 0), {}, "row 0, column 0 is inf"),
        ([np.ones((20, 2))], {"method": "online"}, "method is 'online', .*one array"),
        (np.ones((20, 2)), {"method": "bach"}, "method is 'bach'; did you mean 'batch'"),
        (np.ones((20, 2)), {"grid": (1, 2)}, "a side of grid is 1"),
        (np.ones((20, 2)), {"rlen": 0}, "rlen is 0"),
        (np.ones((20, 2)), {"n_jobs": 0}, "n_jobs is 0"),
        (np.ones((20, 2)), {"seed": -1}, "seed is -1"),
    ],
)
def test_cells_and_arguments_that_cannot_be_used(
    cells: object, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        tl.flowsom_map(cells, **arguments)


def test_an_iterator_behind_a_function_that_gives_it_only_once_is_noticed() -> None:
    spent = iter([np.ones((0, 2), np.float32)])
    with pytest.raises(ParameterError, match=r"there are 0; an iterator is spent after one pass"):
        tl.flowsom_map(lambda: spent)


def test_a_fresh_process_with_two_threads_finds_the_same_codes() -> None:
    script = (
        "import hashlib, numpy as np\n"
        "from cytocar import tl\n"
        "x = np.random.default_rng(4).normal(size=(40_000, 5)).astype('float32')\n"
        "found = tl.flowsom_map(x, method='batch', rlen=2, seed=3, n_jobs=2)\n"
        "print(hashlib.sha256(found.codes.tobytes() + found.node.tobytes()).hexdigest())\n"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    x = np.random.default_rng(4).normal(size=(40_000, 5)).astype("float32")
    found = tl.flowsom_map(x, method="batch", rlen=2, seed=3)
    assert elsewhere.strip() == hashlib.sha256(found.codes.tobytes() + found.node.tobytes()).hexdigest()
    other = tl.flowsom_map(x, method="batch", rlen=2, seed=4)
    assert not np.array_equal(other.codes, found.codes)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            pd.DataFrame(np.ones((20, 2))),
            "cells is a DataFrame; it must be an array, a list of arrays, or a function",
        ),
        (
            csr_matrix(np.ones((20, 2))),
            "cells is a csr_matrix; .* of a table or a sparse matrix hand over dense values",
        ),
        ([[1.0, 2.0]] * 20, "chunk 0 is a list; it must be an array of cells x markers"),
        (lambda: iter([np.ones((20, 2)), None]), "chunk 1 is a NoneType; it must be an array"),
        (np.full((20, 2), 1e16), r"row 0, column 0 is .*e\+16; values must be finite and at most 1e\+15"),
    ],
)
def test_what_is_no_array_is_named(cells: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        tl.flowsom_map(cells)


def test_a_map_of_too_many_nodes_for_a_consensus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_metaclusters, "MOST_NODES", 8)
    x, _ = mixture(300)
    found = tl.flowsom_map(x, grid=(3, 3))
    with pytest.raises(ParameterError, match=r"grid has 9 nodes; .* beyond 8 of them"):
        found.metaclusters(3)
    cells = ad.AnnData(x, var=pd.DataFrame(index=[f"M{i}" for i in range(x.shape[1])]))
    cells.uns["cytocar"] = {"state": "arcsinh"}
    with pytest.raises(ParameterError, match="grid has 9 nodes"):
        tl.flowsom(cells, markers=list(cells.var_names), grid=(3, 3))
