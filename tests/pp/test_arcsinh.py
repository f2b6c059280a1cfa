"""Counts to arcsinh values."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_matrix

from cytocar import pp
from cytocar._core.errors import ParameterError, StateError
from cytocar._core.provenance import steps
from cytocar.pp._arcsinh import arcsinh as _arcsinh
from cytocar.pp._arcsinh.arcsinh import arcsinh_values

# anndata asks pandas 3.1 for options that pandas is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:The '.*' option is deprecated:Warning")


def events(x: np.ndarray, cofactor: float | None = 5.0) -> anndata.AnnData:
    panel = pd.DataFrame(index=[f"CD{i + 1}" for i in range(x.shape[1])])
    if cofactor is not None:
        panel["cofactor"] = cofactor
    adata = anndata.AnnData(x, var=panel)
    adata.uns["cytocar"] = {"state": "counts"}
    return adata


@pytest.fixture
def counts() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.exponential(50, (9000, 3)).astype(np.float32)
    x[rng.random(x.shape) < 0.4] = 0
    x[:100] = -rng.random((100, 3))
    return x


@given(
    x=arrays(np.float32, (7, 2), elements=st.floats(-(2.0**50), 2.0**50, width=32)),
    cofactor=st.floats(0.01, 1000),
    order=st.sampled_from(["C", "F"]),
)
@settings(max_examples=200, deadline=None)
def test_values_are_those_of_float64(x: np.ndarray, cofactor: float, order: str) -> None:
    divisor = np.full(2, cofactor, dtype=np.float32)
    exact = np.arcsinh(x.astype(np.float64) / divisor.astype(np.float64))
    found = arcsinh_values(np.asarray(x, order=order), divisor)
    assert found.dtype == np.float32
    assert np.max(np.abs(found - exact) / np.maximum(1, np.abs(exact))) < 3e-7
    np.testing.assert_array_equal(arcsinh_values(-x, divisor), -found)


@pytest.mark.parametrize("order", ["C", "F"])
def test_more_than_one_block_of_memory_is_transformed(order: str) -> None:
    x = np.random.default_rng(1).exponential(100, (90_000, 5)).astype(np.float32)
    divisor = np.array([1, 2, 3, 5, 10], dtype=np.float32)
    found = arcsinh_values(np.asarray(x, order=order), divisor)
    np.testing.assert_allclose(found, np.arcsinh(x.astype(np.float64) / divisor), rtol=3e-7, atol=3e-7)


def test_enormous_values_do_not_overflow() -> None:
    x = np.array([[3e38, -1e30, 1.0]], dtype=np.float32)
    found = arcsinh_values(x, np.full(3, 5, dtype=np.float32))
    np.testing.assert_allclose(found, np.arcsinh(x.astype(np.float64) / 5), rtol=1e-6)


def test_values_go_up_with_the_counts_and_zero_stays_zero() -> None:
    x = np.sort(np.random.default_rng(2).exponential(30, (20_000, 1)).astype(np.float32), axis=0)
    found = arcsinh_values(x, np.array([5], dtype=np.float32))
    assert (np.diff(found[:, 0]) >= 0).all()
    assert arcsinh_values(np.zeros((1, 1), np.float32), np.ones(1, np.float32))[0, 0] == 0


@pytest.fixture(params=["numpy", "compiled"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take one way of computing whatever the size."""
    least = 0 if request.param == "compiled" else 1 << 60
    monkeypatch.setattr(_arcsinh, "_WORTH_COMPILED", least)
    monkeypatch.setattr(_arcsinh, "_WORTH_COMPILING", least)
    return str(request.param)


def every_magnitude() -> np.ndarray:
    """Return floats from 2^-40 to 2^80, dense around 1, with both signs."""
    bits = np.arange(np.float32(2.0**-40).view(np.int32), np.float32(2.0**80).view(np.int32), 9973)
    near_one = np.float32(1).view(np.int32) + np.arange(-150_000, 150_000)
    x = np.concatenate([bits, near_one]).astype(np.int32).view(np.float32)
    return np.concatenate([np.sort(-x), np.sort(x)])[:, None]


@pytest.mark.usefixtures("path")
def test_accuracy_symmetry_and_order() -> None:
    x = every_magnitude()
    one = np.ones(1, dtype=np.float32)
    found = arcsinh_values(x, one)
    exact = np.arcsinh(x.astype(np.float64))
    assert np.max(np.abs(found - exact) / np.maximum(1, np.abs(exact))) < 1.5e-7
    assert np.max(np.abs(found / exact - 1)) < 4e-7
    assert (np.diff(found[:, 0]) >= 0).all()
    np.testing.assert_array_equal(arcsinh_values(-x, one), -found)


def test_both_paths_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch, counts: np.ndarray) -> None:
    counts[5, 1], counts[8000, 2], counts[8500, 0] = np.nan, 3e38, -np.inf
    divisor = np.array([5, 0.3, 12], dtype=np.float32)
    found = set()
    for least in (0, 1 << 60):
        monkeypatch.setattr(_arcsinh, "_WORTH_COMPILED", least)
        monkeypatch.setattr(_arcsinh, "_WORTH_COMPILING", least)
        found.add(arcsinh_values(every_magnitude(), np.ones(1, np.float32)).tobytes())
        for copied, chunk in ((1 << 16, 1 << 10), (600, 17), (10_000, 1000)):
            monkeypatch.setattr(_arcsinh, "_COPIED", copied)
            monkeypatch.setattr(_arcsinh, "_NUMPY_CHUNK", chunk)
            monkeypatch.setattr(_arcsinh, "_COMPILED_CHUNK", chunk)
            for matrix in (counts, np.asfortranarray(counts), np.repeat(counts, 2, axis=0)[::2]):
                found.add(arcsinh_values(matrix, divisor).tobytes())
            parts = [arcsinh_values(counts[start : start + 700], divisor) for start in range(0, 9000, 700)]
            found.add(np.concatenate(parts).tobytes())
    assert len(found) == 2


def test_bytes_do_not_depend_on_the_processor() -> None:
    """Recorded once; the loops are the same with AVX-512, AVX2 and without either."""
    values = arcsinh_values(every_magnitude(), np.full(1, 5, dtype=np.float32))
    assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()[:16] == "5b6c3bb3a97bebdf"


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_that_are_not_finite_stay(order: str) -> None:
    x = np.array([[0, -0.0, np.nan], [np.inf, -np.inf, 3e38], [1e19, -3e38, 1e-40]], dtype=np.float32)
    found = arcsinh_values(np.asarray(x, order=order), np.full(3, 0.01, dtype=np.float32))
    exact = np.arcsinh(x.astype(np.float64) / np.float32(0.01))
    np.testing.assert_allclose(found, exact, rtol=2e-7, atol=1e-40)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(exact))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("order", ["C", "F"])
def test_in_place(order: str, counts: np.ndarray) -> None:
    divisor = np.array([5, 0.3, 12], dtype=np.float32)
    due = arcsinh_values(counts, divisor)
    matrix = np.array(counts, order=order)
    assert arcsinh_values(matrix, divisor, out=matrix) is matrix
    np.testing.assert_array_equal(matrix, due)
    wide = np.zeros((9000, 6), dtype=np.float32)
    wide[:, ::2] = counts
    arcsinh_values(wide[:, ::2], divisor, out=wide[:, ::2])
    np.testing.assert_array_equal(wide[:, ::2], due)
    assert not wide[:, 1::2].any()


@pytest.mark.usefixtures("path")
def test_threads_make_no_difference(counts: np.ndarray) -> None:
    divisor = np.full(3, 5, dtype=np.float32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: arcsinh_values(counts, divisor).tobytes(), range(8)))
    assert len(set(found)) == 1


def test_fields_that_are_set(counts: np.ndarray, tmp_path: Path) -> None:
    adata = events(counts.copy())
    assert pp.arcsinh(adata) is None
    np.testing.assert_allclose(adata.X, np.arcsinh(counts.astype(np.float64) / 5), atol=1e-6)
    assert adata.X.dtype == np.float32
    np.testing.assert_array_equal(adata.layers["counts"], counts)
    assert adata.uns["cytocar"]["state"] == "arcsinh"
    assert adata.var["cofactor"].tolist() == [5.0, 5.0, 5.0]
    assert steps(adata) == [
        {"step": "pp.arcsinh", "settings": {"cofactor": {"CD1": 5.0, "CD2": 5.0, "CD3": 5.0}}}
    ]
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(again.X, adata.X)
    np.testing.assert_array_equal(again.layers["counts"], counts)
    assert again.uns["cytocar"] == adata.uns["cytocar"]


def test_a_copy_leaves_the_input_alone(counts: np.ndarray) -> None:
    adata = events(counts.copy())
    changed = pp.arcsinh(adata, cofactor=10, copy=True)
    np.testing.assert_array_equal(adata.X, counts)
    assert adata.uns["cytocar"] == {"state": "counts"}
    assert "counts" not in adata.layers
    assert adata.var["cofactor"].tolist() == [5.0, 5.0, 5.0]
    np.testing.assert_allclose(changed.X, np.arcsinh(counts / 10), atol=1e-6)
    changed.layers["counts"][:] = -1
    np.testing.assert_array_equal(adata.X, counts)


def test_a_view_does_not_change_what_it_was_cut_from(counts: np.ndarray) -> None:
    whole = events(counts.copy())
    part = whole[:50]
    pp.arcsinh(part)
    np.testing.assert_array_equal(whole.X, counts)
    assert whole.uns["cytocar"]["state"] == "counts"
    np.testing.assert_allclose(part.X, np.arcsinh(counts[:50] / 5), atol=1e-6)


def test_whole_numbers_and_sparse_counts_become_float32(counts: np.ndarray) -> None:
    whole = np.round(counts).astype(np.int64)
    for x in (whole, csr_matrix(whole.astype(np.float64))):
        adata = events(x)
        pp.arcsinh(adata)
        assert adata.X.dtype == adata.layers["counts"].dtype == np.float32
        np.testing.assert_allclose(adata.X, np.arcsinh(whole / 5), atol=1e-6)


def test_a_mapping_names_some_markers_in_any_spelling(counts: np.ndarray) -> None:
    adata = events(counts.copy())
    pp.arcsinh(adata, cofactor={"cd-2": 1})
    assert adata.var["cofactor"].tolist() == [5.0, 1.0, 5.0]
    np.testing.assert_allclose(adata.X, np.arcsinh(counts / np.array([5, 1, 5])), atol=1e-6)


@pytest.mark.parametrize(
    ("cofactor", "message"),
    [
        (0, "all channels is 0"),
        (-5.0, "all channels is -5.0"),
        (float("nan"), "all channels is nan"),
        (float("inf"), "all channels is inf"),
        (True, "all channels is True"),
        ("5", "all channels is '5'"),
        ({"CD2": 0}, "the cofactor of CD2 is 0"),
        ({"CD9": 5}, "'CD9' is not a marker"),
    ],
)
def test_cofactors_out_of_their_domain_change_nothing(
    counts: np.ndarray, cofactor: object, message: str
) -> None:
    adata = events(counts.copy())
    with pytest.raises(ParameterError, match=message):
        pp.arcsinh(adata, cofactor=cofactor)
    np.testing.assert_array_equal(adata.X, counts)
    assert adata.uns["cytocar"] == {"state": "counts"}


def test_cofactors_that_are_missing(counts: np.ndarray) -> None:
    with pytest.raises(ParameterError, match="no cofactor is given for CD1, CD3"):
        pp.arcsinh(events(counts, None), cofactor={"CD2": 5})
    with pytest.raises(ParameterError, match="the cofactor of CD1 is nan"):
        pp.arcsinh(events(counts, np.nan))
    adata = events(counts.copy(), None)
    pp.arcsinh(adata, cofactor=5)
    assert adata.var["cofactor"].tolist() == [5.0, 5.0, 5.0]


def test_a_second_arcsinh_is_refused(counts: np.ndarray) -> None:
    adata = events(counts)
    pp.arcsinh(adata)
    once = adata.X.copy()
    with pytest.raises(StateError, match="X holds arcsinh values already"):
        pp.arcsinh(adata)
    np.testing.assert_array_equal(adata.X, once)
    del adata.uns["cytocar"]["state"]
    with pytest.raises(StateError, match="does not say whether X holds counts"):
        pp.arcsinh(adata)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_counts_that_are_not_finite(counts: np.ndarray, value: float) -> None:
    counts[[7, 9], [1, 2]] = value
    adata = events(counts)
    with pytest.raises(
        ParameterError, match=f"2 counts are not finite, the first is {value} of CD2 in event 7"
    ):
        pp.arcsinh(adata)
    assert "counts" not in adata.layers


def test_no_events_and_no_channels(counts: np.ndarray) -> None:
    empty = events(counts[:0])
    pp.arcsinh(empty)
    assert empty.X.shape == (0, 3)
    with pytest.raises(StateError, match="no mass channel"):
        pp.arcsinh(events(counts[:, :0]))


def test_markers_that_a_sample_does_not_have_stay_missing() -> None:
    obs = pd.DataFrame({"sample_id": ["a", "b"]}, index=["0", "1"])
    var = pd.DataFrame({"cofactor": [5.0, 5.0]}, index=["CD3", "CD25"])
    counts = np.array([[500, 5], [500, np.nan]], dtype=np.float32)
    cells = anndata.AnnData(counts, obs=obs, var=var)
    cells.uns["cytocar"] = {"state": "counts"}
    with pytest.raises(ParameterError, match="not finite"):
        pp.arcsinh(cells)
    cells.uns["cytocar"]["not_measured"] = '{"b": ["CD25"]}'
    pp.arcsinh(cells)
    np.testing.assert_array_equal(np.isnan(cells.X), [[False, False], [False, True]])
