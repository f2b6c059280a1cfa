"""Compensation: exact non-negative least squares, whatever the number of threads, and only once."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

import cytocar as cc
from cytocar import ParameterError, StateError
from cytocar.pp import Spillover
from cytocar.pp._spillover import compensate as compensate_module
from cytocar.pp._spillover.compensate import solve

GOLDEN = Path(__file__).parent / "golden"
CHANNELS = ("Nd145Di", "Nd146Di", "Dy162Di", "Er170Di")
# Rows emit: 146Nd leaks into 162Dy (oxide), 145Nd into 146Nd.
MATRIX = np.array([[1, 0.04, 0, 0], [0.01, 1, 0.02, 0], [0, 0, 1, 0.001], [0, 0, 0, 1.0]])


def cells(counts: np.ndarray, channels: tuple[str, ...] = CHANNELS) -> anndata.AnnData:
    var = pd.DataFrame({"channel": list(channels)}, index=[f"M{n}" for n in range(len(channels))])
    adata = anndata.AnnData(np.array(counts, dtype=np.float32), var=var)
    adata.uns["cytocar"] = {"state": "counts"}
    return adata


def near_identity(n: int, rng: np.random.Generator, largest: float = 0.05) -> np.ndarray:
    matrix = np.where(rng.random((n, n)) < 0.15, largest * rng.random((n, n)), 0)
    np.fill_diagonal(matrix, 1)
    return matrix


def seen(n_events: int, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shape = (n_events, len(matrix))
    true = np.where(rng.random(shape) < 0.35, rng.lognormal(4, 1.5, shape), 0)
    ions = rng.poisson(true @ matrix)
    return np.where(ions > 0, ions - rng.random(shape), 0).astype(np.float32)


def test_rows_emit() -> None:
    """A true (100, 0, 0) comes back exactly; solving with S where S' is due gives (99.2, 8.1, -2.4)."""
    matrix = np.array([[1, 0.08, 0.02], [0.005, 1, 0.3], [0, 0.01, 1.0]])
    true = np.array([[100.0, 0, 0], [0, 100, 0], [0, 0, 100]], dtype=np.float32)
    for method in ("nnls", "flow"):
        found = solve((true.astype(float) @ matrix).astype(np.float32), matrix, method=method)
        np.testing.assert_allclose(found, true, atol=1e-4)


def test_against_scipy_event_by_event() -> None:
    rng = np.random.default_rng(0)
    matrix = near_identity(30, rng)
    counts = seen(300, matrix, rng)
    expected = np.array([nnls(matrix.T, event.astype(float))[0] for event in counts])
    assert (expected == 0).mean() > 0.3
    np.testing.assert_allclose(solve(counts, matrix), expected, rtol=2e-6, atol=1e-6 * counts.max())


def test_against_r() -> None:
    matrix = np.loadtxt(GOLDEN / "nnls_matrix.csv", delimiter=",", skiprows=1)
    counts = np.loadtxt(GOLDEN / "nnls_counts.csv", delimiter=",", skiprows=1).astype(np.float32)
    expected = np.loadtxt(GOLDEN / "nnls_signals.csv", delimiter=",", skiprows=1)
    assert expected.shape == counts.shape
    assert ((counts > 0) & (expected == 0)).sum() > 100
    np.testing.assert_allclose(solve(counts, matrix), expected, rtol=2e-6, atol=1e-4)


def test_optimum_by_karush_kuhn_tucker() -> None:
    rng = np.random.default_rng(1)
    matrix = near_identity(25, rng)
    counts = seen(2000, matrix, rng)
    x = solve(counts, matrix).astype(np.float64)
    slope = (counts - x @ matrix) @ matrix.T
    # float32 signals leave a slope of some 1e-7 of the largest count
    scale = counts.max(axis=1, keepdims=True).clip(1)
    assert x.min() >= 0
    assert np.abs(np.where(x > 0, slope / scale, 0)).max() < 2e-6
    assert (np.where(x == 0, slope / scale, -1)).max() < 2e-6


def test_strong_spillover_goes_to_the_active_set(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    matrix = rng.random((10, 10)) * 0.9
    np.fill_diagonal(matrix, 1)
    counts = rng.poisson(30, (400, 10)).astype(np.float32)
    expected = np.array([nnls(matrix.T, event.astype(float))[0] for event in counts])
    for sweeps in (0, 2, 40):
        monkeypatch.setattr(compensate_module, "_MOST_SWEEPS", sweeps)
        np.testing.assert_allclose(solve(counts, matrix), expected, rtol=1e-5, atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0, 0.1))
def test_what_was_spilled_is_taken_back(seed: int, n: int, largest: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = near_identity(n, rng, largest)
    true = np.where(rng.random((20, n)) < 0.5, rng.exponential(500, (20, n)), 0)
    for method in ("nnls", "flow"):
        found = solve((true @ matrix).astype(np.float32), matrix, method=method)
        np.testing.assert_allclose(found, true, atol=1e-3)


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(3)
    matrix = near_identity(12, rng)
    counts = seen(20_000, matrix, rng)
    for method in ("nnls", "flow"):
        one = solve(counts, matrix, method=method)
        np.testing.assert_array_equal(one, solve(counts, matrix, method=method, threads=3))
        np.testing.assert_array_equal(one[:100], solve(counts[:100], matrix, method=method))


def test_minus_one_is_all_processors() -> None:
    counts = np.random.default_rng(4).exponential(50, (100, 4))
    one, all_processors = cells(counts), cells(counts)
    cc.pp.compensate(one, Spillover(CHANNELS, MATRIX), n_jobs=1)
    cc.pp.compensate(all_processors, Spillover(CHANNELS, MATRIX), n_jobs=-1)
    np.testing.assert_array_equal(all_processors.X, one.X)


def test_flow_is_the_inverse_and_may_be_negative() -> None:
    adata = cells([[0, 1000, 0, 7]])
    cc.pp.compensate(adata, Spillover(CHANNELS, MATRIX), method="flow")
    expected = np.linalg.solve(MATRIX.T, [0, 1000, 0, 7])
    np.testing.assert_allclose(adata.X[0], expected, rtol=1e-5)
    assert adata.X[0, 2] == pytest.approx(-20, rel=0.01)


def test_other_channels_stay_and_order_and_spelling_do_not_matter() -> None:
    counts = np.array([[500, 30, 0.4, 12], [0, -0.3, 3, 9]])
    adata = cells(counts, ("(Er170)Dd", "Y89Di", "Dy162Di", "146Nd"))
    cc.pp.compensate(adata, Spillover(CHANNELS, MATRIX))
    assert adata.X[:, 1].tolist() == counts[:, 1].astype(np.float32).tolist()
    picked = MATRIX[np.ix_([3, 2, 1], [3, 2, 1])]
    expected = [nnls(picked.T, event[[0, 2, 3]])[0] for event in counts]
    np.testing.assert_allclose(adata.X[:, [0, 2, 3]], expected, rtol=1e-6, atol=1e-6)
    assert list(cc.pp.spillover_table(adata)["channel"]) == ["Er170Di", "Dy162Di", "Nd146Di"]


def test_identity_only_lifts_negative_values() -> None:
    adata = cells([[5, -0.5, 0, 2]])
    cc.pp.compensate(adata, Spillover(CHANNELS, np.eye(4)))
    assert adata.X.tolist() == [[5, 0, 0, 2]]


def test_in_place_copy_view_and_h5ad(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    counts = seen(50, MATRIX, rng)
    adata = cells(counts)
    spill = Spillover(CHANNELS, MATRIX)
    changed = cc.pp.compensate(adata, spill, copy=True)
    np.testing.assert_array_equal(adata.X, counts)
    assert "compensate" not in adata.uns["cytocar"]
    assert changed is not None
    assert changed.X.dtype == np.float32
    view = adata[:10]
    cc.pp.compensate(view, spill)
    np.testing.assert_array_equal(adata.X, counts)
    np.testing.assert_array_equal(view.X, changed.X[:10])
    changed.write_h5ad(tmp_path / "a.h5ad")
    again = anndata.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(cc.pp.spillover_table(again), cc.pp.spillover_table(changed))
    assert cc.pp.compensate(adata, spill) is None
    np.testing.assert_array_equal(adata.X, changed.X)


def test_table_by_sample() -> None:
    adata = cells([[0, 1000, 20, 0], [0, 1000, 20, 0], [100, 4, 0, 0]])
    adata.obs["sample_id"] = ["a", "a", "b"]
    cc.pp.compensate(adata, Spillover(CHANNELS, MATRIX))
    table = cc.pp.spillover_table(adata).set_index(["sample_id", "channel"])
    ki67 = table.loc[("a", "Dy162Di")]
    assert (ki67["events"], ki67["mean_before"], ki67["main_source"]) == (2, 20, "Nd146Di")
    assert ki67["main_source_counts"] == pytest.approx(20, rel=0.001)
    assert ki67["removed"] == pytest.approx(1, abs=0.001)
    assert table.loc[("b", "Nd146Di"), "removed"] == pytest.approx(1, abs=0.001)
    assert np.isnan(table.loc[("b", "Er170Di"), "removed"])
    assert table.loc[("b", "Nd145Di"), "mean_after"] == pytest.approx(100, rel=1e-4)


def test_states() -> None:
    spill = Spillover(CHANNELS, MATRIX)
    adata = cells(np.ones((3, 4)))
    with pytest.raises(StateError, match="not compensated"):
        cc.pp.spillover_table(adata)
    cc.pp.compensate(adata, spill)
    with pytest.raises(StateError, match="compensated already"):
        cc.pp.compensate(adata, spill)
    # A history that survived where uns did not is enough.
    del adata.uns["cytocar"]["compensate"]
    with pytest.raises(StateError, match="compensated already"):
        cc.pp.compensate(adata, spill)
    fresh = cells(np.ones((3, 4)))
    cc.pp.arcsinh(fresh, cofactor=5)
    with pytest.raises(StateError, match="needs counts"):
        cc.pp.compensate(fresh, spill)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "nls"}, "method is 'nls'.*'nnls'"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"n_jobs": -2}, "n_jobs is -2; it must be a whole number of at least 1, or -1"),
        ({"n_jobs": True}, "n_jobs is True"),
        ({"spillover": Spillover(("Y89Di",), [[1]])}, "none of the channels .Nd145Di.*Y89Di"),
        ({"sample_key": "tube"}, "no column 'tube'"),
    ],
)
def test_arguments(change: dict, words: str) -> None:
    adata = cells(np.ones((2, 4)))
    with pytest.raises(ParameterError, match=words):
        cc.pp.compensate(adata, change.pop("spillover", Spillover(CHANNELS, MATRIX)), **change)
    assert adata.X.tolist() == [[1] * 4] * 2


def test_counts_must_be_finite_and_channels_single() -> None:
    adata = cells([[1, 1, 1, 1], [1, 1, np.nan, 1]])
    with pytest.raises(ParameterError, match="M2 is nan in event 1"):
        cc.pp.compensate(adata, Spillover(CHANNELS, MATRIX))
    with pytest.raises(ParameterError, match=r"'Nd145Di'.* one channel"):
        cc.pp.compensate(cells(np.ones((1, 2)), ("Nd145Di", "Nd145Dd")), Spillover(CHANNELS, MATRIX))


def test_no_events() -> None:
    adata = cells(np.empty((0, 4)))
    cc.pp.compensate(adata, Spillover(CHANNELS, MATRIX))
    assert adata.shape == (0, 4)
    assert cc.pp.spillover_table(adata)["mean_before"].tolist() == [0] * 4


def test_files(tmp_path: Path) -> None:
    from cytocar.io._fcs.write import write_events

    rng = np.random.default_rng(5)
    counts = seen(40, MATRIX, rng)
    names = [
        ("Time", ""),
        *((channel, f"{channel[2:5]}{channel[:2]}_M{channel[2:5]}") for channel in CHANNELS),
    ]
    for name in ("a.fcs", "b.fcs"):
        write_events(tmp_path / name, np.column_stack([np.arange(40), counts]), names, {"$CYT": "Helios"})
    before = (tmp_path / "a.fcs").read_bytes()
    (tmp_path / "spill.csv").write_text(Spillover(CHANNELS, MATRIX).to_csv())
    out = tmp_path / "out"
    written = cc.pp.compensate_files([tmp_path / "a.fcs", tmp_path / "b.fcs"], tmp_path / "spill.csv", out)
    assert [path.name for path in written] == ["a.fcs", "b.fcs"]
    assert (tmp_path / "a.fcs").read_bytes() == before
    back = cc.io.read_fcs(written[0])
    np.testing.assert_array_equal(back.X, solve(counts, MATRIX))
    assert back.obs["Time"].tolist() == list(range(40))
    assert '"pp.compensate"' in back.uns["cytocar"]["steps"]
    with pytest.raises(StateError, match="compensated already") as error:
        cc.pp.compensate_files(written, tmp_path / "spill.csv", tmp_path / "again")
    assert "a.fcs" in error.value.__notes__[0]
    for files, folder, words in (
        ([tmp_path / "a.fcs"], tmp_path, "a.fcs exists already"),
        ([tmp_path / "a.fcs", out / "a.fcs"], tmp_path / "new", "one name.*a.fcs"),
        ([], tmp_path / "new", "no files"),
    ):
        with pytest.raises(ParameterError, match=words):
            cc.pp.compensate_files(files, tmp_path / "spill.csv", folder)
    assert not (tmp_path / "new").exists()
