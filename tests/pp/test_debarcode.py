"""Debarcoding against simulated pools whose samples are known, a slow and obvious loop, and a real pool."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis as distance_of

from cytocar import io, pl, pp
from cytocar._core.errors import PanelError, ParameterError, StateError
from cytocar._core.provenance import steps
from cytocar.io._fcs.data import read_events
from cytocar.io._fcs.header import read_header
from cytocar.io._fcs.write import write_events
from cytocar.pp._barcodes.assign import cutoffs, estimate_cutoff

# anndata asks pandas 3.1 for options that pandas is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:The '.*' option is deprecated:Warning")

MASSES = [102, 104, 105, 106, 108, 110]
SAMPLES = [f"{row}{column}" for row in "ABCD" for column in range(1, 6)]


def doublet_filter_key() -> pd.DataFrame:
    """Return the 20 codes of three positives in six channels."""
    codes = np.zeros((20, 6), dtype=int)
    for row, positive in enumerate(combinations(range(6), 3)):
        codes[row, list(positive)] = 1
    return pd.DataFrame(codes, index=SAMPLES, columns=MASSES)


def pool_of(counts: np.ndarray, masses: list[int] | None = None) -> anndata.AnnData:
    masses = MASSES if masses is None else masses
    panel = pd.DataFrame(
        {"channel": [f"Pd{mass}Di" for mass in masses], "mass": masses, "role": "barcode"},
        index=[f"BC{mass}" for mass in masses],
    )
    obs = pd.DataFrame(index=[str(i) for i in range(len(counts))])
    return anndata.AnnData(
        np.asarray(counts, dtype=np.float32), obs=obs, var=panel, uns={"cytocar": {"state": "counts"}}
    )


def simulated(
    key: pd.DataFrame, sizes: list[int], *, doublets: int = 0, seed: int = 0
) -> tuple[anndata.AnnData, np.ndarray]:
    """Return a shuffled pool with `sizes` events a sample and doublets of two samples, and the true names."""
    rng = np.random.default_rng(seed)
    codes = key.to_numpy()
    truth = np.repeat(np.arange(len(key)), sizes)

    def events(of: np.ndarray) -> np.ndarray:
        high = 300 * np.exp(
            0.2 * rng.standard_normal((len(of), 1)) + 0.1 * rng.standard_normal((len(of), codes.shape[1]))
        )
        low = rng.exponential(3, (len(of), codes.shape[1]))
        return np.where(codes[of] == 1, high, low)

    counts = events(truth)
    pairs = (
        np.array([rng.choice(len(key), 2, replace=False) for _ in range(doublets)]).reshape(-1, 2).astype(int)
    )
    counts = np.concatenate([counts, events(pairs[:, 0]) + events(pairs[:, 1])])
    names = np.concatenate([np.array(key.index, dtype=object)[truth], np.full(doublets, "", dtype=object)])
    order = rng.permutation(len(counts))
    return pool_of(counts[order], list(key.columns)), names[order]


def found(adata: anndata.AnnData) -> np.ndarray:
    return adata.obs["barcode"].astype(str).to_numpy(dtype=object)


def slow(
    counts: np.ndarray, key: pd.DataFrame, *, cutoff: float, limit: float
) -> tuple[list[str], list[float], list[float]]:
    """Debarcode event by event, with fixed numbers of positives, as the method is written down."""
    codes = {tuple(row): name for name, row in zip(key.index, key.to_numpy().tolist(), strict=True)}
    k = int(key.to_numpy()[0].sum())
    values = np.arcsinh(counts.astype(float) / 10)
    names, gaps = [], []
    for event in values:
        ranked = sorted(event, reverse=True)
        top = tuple(int(v >= ranked[k - 1]) for v in event)
        names.append(codes.get(top, ""))
        gaps.append(ranked[k - 1] - ranked[k] if top in codes else np.nan)
    result, separations, distances = [""] * len(names), gaps[:], [np.nan] * len(names)
    for code, name in codes.items():
        mine = [i for i, other in enumerate(names) if other == name]
        scale = np.percentile([values[i][j] for i in mine for j in range(len(code)) if code[j]], 95)
        for i in mine:
            separations[i] = gaps[i] / scale
        core = values[[i for i in mine if separations[i] >= cutoff]]
        inverse = np.linalg.inv(np.cov(core.T))
        for i in mine:
            distances[i] = distance_of(values[i], core.mean(axis=0), inverse) ** 2
            if separations[i] >= cutoff and distances[i] <= limit:
                result[i] = name
    return result, separations, distances


def code_of(adata: anndata.AnnData, path: Path) -> np.ndarray:
    """Return the sample of each event by its code alone."""
    return found(pp.debarcode(adata, path, separation=0, mahalanobis=np.inf, copy=True))


@pytest.fixture(scope="module")
def real(test_data: Path) -> tuple[anndata.AnnData, Path]:
    folder = test_data / "debarcode"
    return io.read_fcs(folder / "sample_barcoded_file.fcs"), folder / "sample_barcode_key.csv"


def test_a_simulated_pool_comes_back_with_exact_counts() -> None:
    sizes = [50 + 7 * i for i in range(20)]
    pool, truth = simulated(doublet_filter_key(), sizes, doublets=300)
    pp.debarcode(pool, doublet_filter_key(), mahalanobis=np.inf)
    table = pp.barcode_table(pool)
    assert table["barcode"].tolist() == SAMPLES
    assert table["assigned"].tolist() == sizes
    assert (found(pool) == truth).all()
    assert table["positives"].iloc[0] == "102 104 105"
    # pairs of samples have four to six positives: the third and fourth are alike, however they are ranked
    assert table["events"].sum() + json.loads(pool.uns["cytocar"]["debarcode"])["without_code"] == pool.n_obs


def test_it_agrees_with_a_slow_loop_on_real_events(real: tuple[anndata.AnnData, Path]) -> None:
    adata, path = real
    part = adata[:4000].copy()
    key = pp.read_barcode_key(path)
    pp.debarcode(part, path, separation=0.25, mahalanobis=12.0)
    names, separations, distances = slow(np.asarray(part.X)[:, :6], key, cutoff=0.25, limit=12.0)
    assert found(part).tolist() == names
    np.testing.assert_allclose(part.obs["barcode_separation"], separations, rtol=1e-9)
    np.testing.assert_allclose(part.obs["barcode_distance"], distances, rtol=2e-3, atol=2e-3)
    table = pp.barcode_table(part)
    assert 0 < table["beyond_distance"].sum() < table["below_cutoff"].sum()


def test_the_real_pool_has_twenty_samples(real: tuple[anndata.AnnData, Path]) -> None:
    adata, path = real
    pool = pp.debarcode(adata, path, copy=True)
    table = pp.barcode_table(pool)
    assert table["barcode"].tolist() == SAMPLES
    assert table["events"].sum() == 100_000
    assert table["assigned"].between(2500, 4000).all()
    assert (table["assigned"] + table["below_cutoff"] + table["beyond_distance"] == table["events"]).all()
    assert (found(pool) == "").sum() == 100_000 - table["assigned"].sum()
    counts = pool.obs["barcode"].value_counts()
    assert [counts[name] for name in table["barcode"]] == table["assigned"].tolist()
    # an event of a sample is high in the channels of the sample, low in the others
    of = pool[(pool.obs["barcode"] == "B2").to_numpy()].X
    middle = np.median(np.asarray(of)[:, :6], axis=0)
    assert (
        sorted(middle.argsort()[3:].tolist()) == np.flatnonzero(pp.read_barcode_key(path).loc["B2"]).tolist()
    )
    assert middle[middle.argsort()[3]] > 50 * middle[middle.argsort()[2]]


def test_cut_off_zero_keeps_all_and_infinity_none(real: tuple[anndata.AnnData, Path]) -> None:
    adata, path = real
    every = pp.debarcode(adata, path, separation=0, mahalanobis=np.inf, copy=True)
    assert (found(every) != "").sum() == np.isfinite(every.obs["barcode_separation"]).sum() == 100_000
    none = pp.debarcode(adata, path, separation=np.inf, copy=True)
    assert (found(none) == "").all()
    assert pp.barcode_table(none)["cutoff"].tolist() == [np.inf] * 20
    small = pp.debarcode(adata, path, separation=0, mahalanobis=0, copy=True)
    assert (found(small) == "").all()


def test_events_whose_code_is_not_in_the_key_are_in_no_sample() -> None:
    key = doublet_filter_key()
    pool, truth = simulated(key, [40] * 20)
    pp.debarcode(pool, key.iloc[:7], separation=0, mahalanobis=np.inf)
    expected = np.where(np.isin(truth, SAMPLES[:7]), truth, "")
    assert (found(pool) == expected).all()
    missing = ~np.isin(truth, SAMPLES[:7])
    assert np.isnan(pool.obs["barcode_separation"][missing]).all()
    assert np.isnan(pool.obs["barcode_distance"][missing]).all()


def test_an_event_with_no_strongest_channels_has_no_code() -> None:
    key = pd.DataFrame([[1, 0, 0], [0, 1, 0]], index=["A", "B"], columns=MASSES[:3])
    counts = np.array([[50, 50, 0], [0, 0, 0], [60, 50, 0], [0, 0, 9]])
    pool = pool_of(counts, MASSES[:3])
    pp.debarcode(pool, key, separation=0, mahalanobis=np.inf)
    assert found(pool).tolist() == ["", "", "A", ""]


def test_unequal_numbers_of_positives() -> None:
    key = pd.DataFrame(
        [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 0, 0, 1, 1], [0, 1, 0, 0, 1]],
        index=["two", "three", "other", "pair"], columns=MASSES[:5],
    )  # fmt: skip
    pool, truth = simulated(key, [100, 120, 140, 160], seed=3)
    pp.debarcode(pool, key, mahalanobis=np.inf)
    assert (found(pool) == truth).all()
    values = np.arcsinh(np.asarray(pool.X, dtype=float) / 10)
    for name, row in key.iterrows():
        mine, on = truth == name, row.to_numpy() == 1
        gap = values[mine][:, on].min(axis=1) - values[mine][:, ~on].max(axis=1)
        scaled = gap / np.percentile(values[mine][:, on], 95)
        np.testing.assert_allclose(pool.obs["barcode_separation"][mine], scaled, rtol=1e-12)


def test_the_order_of_columns_changes_nothing(real: tuple[anndata.AnnData, Path]) -> None:
    adata, path = real
    part = adata[:20_000].copy()
    key = pp.read_barcode_key(path)
    swapped = part[:, [7, 3, 0, 5, 6, 4, 2, 1]].copy()
    pp.debarcode(part, key)
    for pool, other in (
        (adata[:20_000].copy(), key[["108", "102", "110", "104", "106", "105"]]),
        (swapped, key),
    ):
        pp.debarcode(pool, other)
        for column in ("barcode", "barcode_separation", "barcode_distance"):
            pd.testing.assert_series_equal(pool.obs[column], part.obs[column], check_exact=True)
    reordered = pp.debarcode(adata[:20_000], key.iloc[::-1], copy=True)
    assert (found(reordered) == found(part)).all()


@given(seed=st.integers(0, 2**32 - 1), auto=st.booleans())
@settings(max_examples=15, deadline=None)
def test_the_order_of_events_changes_nothing(seed: int, auto: bool) -> None:
    rng = np.random.default_rng(seed)
    key = doublet_filter_key()
    pool, _ = simulated(key, rng.integers(0, 120, 20).tolist(), doublets=200, seed=seed)
    order = rng.permutation(pool.n_obs)
    shuffled = pool[order].copy()
    for data in (pool, shuffled):
        pp.debarcode(data, key, separation="auto" if auto else 0.3, mahalanobis=12)
    for column in ("barcode_separation", "barcode_distance"):
        assert np.array_equal(
            pool.obs[column].to_numpy()[order], shuffled.obs[column].to_numpy(), equal_nan=True
        )
    assert (found(pool)[order] == found(shuffled)).all()
    assert pool.uns["cytocar"]["debarcode"] == shuffled.uns["cytocar"]["debarcode"]


def test_yields_count_events_at_every_cut_off(real: tuple[anndata.AnnData, Path]) -> None:
    adata, path = real
    every = pp.debarcode(adata, path, separation=0, mahalanobis=np.inf, copy=True)
    yields = pp.barcode_yields(every)
    assert yields["cutoff"].iloc[:101].tolist() == [i / 100 for i in range(101)]
    assert len(yields) == 20 * 101
    mine = every.obs["barcode_separation"][(every.obs["barcode"] == "C4").to_numpy()].to_numpy()
    of = yields[yields["barcode"] == "C4"]
    assert of["events"].tolist() == [int((mine >= i / 100).sum()) for i in range(101)]
    np.testing.assert_allclose(of["yield"], of["events"] / mine.size)
    # yields are of the separation alone, so the cut-offs that were used do not show in them
    strict = pp.debarcode(adata, path, separation=0.6, mahalanobis=5, copy=True)
    pd.testing.assert_frame_equal(pp.barcode_yields(strict), yields)


def test_automatic_cut_off_of_a_known_curve() -> None:
    b, e = 6.0, 0.6
    x = cutoffs()
    y = 1 / (1 + (x / e) ** b)
    estimate = estimate_cutoff(np.rint(1e7 * y).astype(np.int64))
    assert estimate is not None
    # |f'| / f = (b / x) u / (1 + u), u = (x / e)^b, is 0.1 at:
    grid = np.linspace(1e-4, 1, 100_000)
    u = (grid / e) ** b
    leaves = grid[np.argmax(b / grid * u / (1 + u) > 0.1)]
    assert estimate.curve == pytest.approx(leaves, abs=2e-3)
    slope, height = np.polyfit(x, y, 1)
    assert estimate.line == pytest.approx(-height / (2 * slope), abs=1e-6)
    assert estimate.weight_of_line < 1e-6
    assert estimate.value == pytest.approx(estimate.curve, abs=1e-5)


def test_automatic_cut_off_of_a_straight_decline_is_half_way() -> None:
    estimate = estimate_cutoff(np.rint(1e6 * (1 - cutoffs())).astype(np.int64))
    assert estimate is not None
    assert estimate.value == pytest.approx(0.5, abs=0.01)
    assert estimate.weight_of_line > 0.99


def test_automatic_cut_offs_lie_on_the_plateau(real: tuple[anndata.AnnData, Path]) -> None:
    adata, path = real
    pool = pp.debarcode(adata, path, separation="auto", copy=True)
    table = pp.barcode_table(pool)
    assert (table["rule"] == "auto").all()
    assert table["cutoff"].between(0.3, 0.5).all()
    assert table["cutoff"].nunique() == 20
    for name, cutoff in zip(table["barcode"], table["cutoff"], strict=True):
        mine = pool.obs["barcode_separation"].to_numpy()[code_of(pool, path) == name]
        # flat there, steep later
        assert ((mine >= cutoff - 0.05) & (mine < cutoff + 0.05)).mean() < 0.06
        assert ((mine >= cutoff) & (mine < cutoff + 0.4)).mean() > 0.4


def test_samples_with_few_events_take_the_default_and_say_so() -> None:
    key = doublet_filter_key()
    pool, _ = simulated(key, [200] * 18 + [30, 4])
    pp.debarcode(pool, key, separation="auto")
    table = pp.barcode_table(pool).set_index("barcode")
    assert table.loc["D4", ["cutoff", "rule"]].tolist() == [0.3, "default"]
    assert "30 events, fewer than 50" in table.loc["D4", "note"]
    assert "4 events are too few for a Mahalanobis distance" in table.loc["D5", "note"]
    assert table.loc["D5", "assigned"] == 4
    mine = found(pool) == "D5"
    assert np.isnan(pool.obs["barcode_distance"][mine]).all()
    assert np.isfinite(pool.obs["barcode_separation"][mine]).all()


def test_noise_has_no_plateau_and_takes_the_default() -> None:
    pool = pool_of(np.random.default_rng(0).exponential(30, (4000, 6)))
    pp.debarcode(pool, doublet_filter_key(), separation="auto")
    table = pp.barcode_table(pool)
    assert (table["cutoff"] == 0.3).all()
    assert table["note"].str.contains("have no plateau").all()


def test_a_separation_that_equals_the_cut_off_is_enough() -> None:
    key = pd.DataFrame([[1, 0], [0, 1]], index=["A", "B"], columns=MASSES[:2])
    # one event a sample is its own 95th percentile, so its separation from 0 is exactly 1
    pool = pool_of([[200, 0], [0, 300]], MASSES[:2])
    pp.debarcode(pool, key, separation=1.0)
    assert pool.obs["barcode_separation"].tolist() == [1.0, 1.0]
    assert found(pool).tolist() == ["A", "B"]
    assert pp.barcode_yields(pool)["yield"].tolist() == [1.0] * 202


def test_a_mapping_sets_single_samples() -> None:
    key = doublet_filter_key()
    pool, _ = simulated(key, [60] * 20)
    pp.debarcode(pool, key, separation={"B1": np.inf, "B2": 0.0})
    table = pp.barcode_table(pool).set_index("barcode")
    assert table.loc[["A1", "B1", "B2"], "cutoff"].tolist() == [0.3, np.inf, 0.0]
    assert table.loc["B1", "assigned"] == 0
    assert table.loc["A1", "assigned"] > 0


def test_channels_that_do_not_vary_do_not_break_the_distance() -> None:
    key = pd.DataFrame([[1, 0, 0], [0, 1, 0]], index=["A", "B"], columns=MASSES[:3])
    rng = np.random.default_rng(0)
    counts = np.zeros((200, 3))
    counts[np.arange(200), np.repeat([0, 1], 100)] = rng.uniform(100, 300, 200)
    pool = pool_of(counts, MASSES[:3])
    pp.debarcode(pool, key)
    assert found(pool).tolist() == ["A"] * 100 + ["B"] * 100
    values = np.arcsinh(counts[:100, 0] / 10)
    expected = (values - values.mean()) ** 2 / values.var(ddof=1)
    np.testing.assert_allclose(pool.obs["barcode_distance"][:100], expected, atol=1e-2)


def test_what_it_adds_can_be_written_and_read(tmp_path: Path) -> None:
    key = doublet_filter_key()
    pool, _ = simulated(key, [30] * 20, doublets=50)
    before = pool.copy()
    changed = pp.debarcode(pool, key, separation={"A1": np.inf}, copy=True)
    assert changed is not None
    assert list(pool.obs.columns) == list(before.obs.columns)
    assert "debarcode" not in pool.uns["cytocar"]
    assert (np.asarray(changed.X) == np.asarray(before.X)).all()
    changed.write_h5ad(tmp_path / "pool.h5ad")
    again = anndata.read_h5ad(tmp_path / "pool.h5ad")
    assert list(again.obs["barcode"].cat.categories) == [*SAMPLES, ""]
    assert (found(again) == found(changed)).all()
    pd.testing.assert_frame_equal(pp.barcode_table(again), pp.barcode_table(changed))
    pd.testing.assert_frame_equal(pp.barcode_yields(again), pp.barcode_yields(changed))
    step = steps(again)[-1]
    assert step["step"] == "pp.debarcode"
    assert step["settings"]["channels"]["102"] == "BC102"
    assert step["settings"]["key"]["A2"] == ["102", "104", "106"]


def test_a_view_does_not_change_what_it_was_cut_from() -> None:
    pool, _ = simulated(doublet_filter_key(), [30] * 20)
    view = pool[:100]
    pp.debarcode(view, doublet_filter_key())
    assert "barcode" in view.obs
    assert "barcode" not in pool.obs


def test_pools_without_events() -> None:
    pool = pool_of(np.empty((0, 6)))
    pp.debarcode(pool, doublet_filter_key(), separation="auto")
    table = pp.barcode_table(pool)
    assert table["events"].sum() == 0
    assert table["yield"].isna().all()
    assert pp.barcode_yields(pool)["yield"].isna().all()


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("k,102,104,105\nA,1,1,0\nB,0,1,1\n", ["102", "104", "105"]),
        ("k,102,104,105\rA,1,1,0\rB,0,1,1", ["102", "104", "105"]),
        ("k,102,104,105\r\nA,1,1,0\r\n\r\nB,0,1,1\r\n", ["102", "104", "105"]),
        ("\ufeffk;102;104;105\nA;1;1;0\nB;0;1;1\n", ["102", "104", "105"]),
        ("k\t102\t104\t105\nA\t1\t1\t0\nB\t0\t1\t1\n", ["102", "104", "105"]),
        ('"","X102","X104","X105"\n"A",1,1,0\n"B",0,1,1\n', ["X102", "X104", "X105"]),
        ("# Monday\n,Pd102Di,Pd104Di,Pd105Di,,\nA,1.0,1.0,0,,\nB,0,1,1,,\n,,,,,\n", ["Pd102Di", "Pd104Di", "Pd105Di"]),
    ],
    ids=["LF", "CR", "CRLF", "semicolon", "tab", "R", "spreadsheet"],
)  # fmt: skip
def test_keys_as_people_write_them(text: str, columns: list[str], tmp_path: Path) -> None:
    file = tmp_path / "key.csv"
    file.write_bytes(text.encode("utf-8"))
    key = pp.read_barcode_key(file)
    assert list(key.columns) == columns
    assert list(key.index) == ["A", "B"]
    assert key.to_numpy().tolist() == [[1, 1, 0], [0, 1, 1]]
    pool = pool_of([[300, 250, 1], [2, 200, 280], [300, 20, 290]], MASSES[:3])
    pp.debarcode(pool, file)
    assert found(pool).tolist() == ["A", "B", ""]


def test_every_problem_of_a_key_at_once(tmp_path: Path) -> None:
    file = tmp_path / "key.csv"
    file.write_text(
        "k,102,Pd102Di,105,999\nA,1,0,0,2\nB,1,1,0,0\nC,1,1,0,0\nB,0,0,1,1\n,0,1,1,0\nD,0,0,0,0\nE,1,1,0,1\nF,1,0\n"
        "G,1,1,1,1\n"
    )
    with pytest.raises(PanelError) as caught:
        pp.read_barcode_key(file)
    message = str(caught.value)
    for part in (
        "'Pd102Di' and '102' are the same channel",
        "the mass '999' belongs to no isotope",
        "line 2: '2' in 999: not 0 or 1",
        "line 4: 'C' has the same code as 'B'",
        "line 5: the name 'B' is there twice",
        "line 6: the sample has no name",
        "line 7: 'D' is negative in every channel",
        "line 3: the code of 'B' lies within that of 'E'",
        "line 9: 2 values for 4 channels",
        "line 10: 'G' is positive in every channel",
    ):
        assert part in message
    # a table has the same problems
    with pytest.raises(PanelError, match="sample 'C': 'C' has the same code as 'B'"):
        pp.debarcode(
            pool_of(np.zeros((1, 3)), MASSES[:3]),
            pd.DataFrame([[1, 0, 0], [1, 0, 0]], index=["B", "C"], columns=MASSES[:3]),
        )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file"),
        (b"", "the table is empty"),
        (b"k,102,104\n", "the key has no rows"),
        (b"PK\x03\x04\x00\x00", "damaged workbook, not text"),
        (b"k,102\nA,1\n", "1 channel is named"),
        (b"k,102,,104\nA,1,0,0\n", "column 3 has no name"),
        (b"k,102,104\nA,1,\n", "'' in 104: not 0 or 1"),
        (b",A,B\n102Pd,1,0\n104Pd,0,1\n", "the channels stand in rows"),
        (b"102,104\n1,0\n0,1\n", "the first column is '102', a channel"),
        (b"Key of pool 1,,\n,102,104\nA,1,0\nB,0,1\n", "'Key of pool 1' stands alone above the table"),
        (b"Key of pool 1\n,102,104\nA,1,0\nB,0,1\n", "line 1: 'Key of pool 1' stands alone above the table"),
    ],
)
def test_files_that_are_no_key(content: bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "key.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PanelError, match=words):
        pp.read_barcode_key(file)


def test_channels_of_the_key_that_are_not_in_the_data() -> None:
    key = doublet_filter_key().rename(columns={102: 103, 104: "BC9"})
    pool, _ = simulated(doublet_filter_key(), [10] * 20)
    with pytest.raises(PanelError) as caught:
        pp.debarcode(pool, key)
    assert "'103': no channel of the data has this mass" in str(caught.value)
    assert "102, 104, 105, 106, 108, 110" in str(caught.value)
    assert "'BC9': is not a channel of the data" in str(caught.value)
    with pytest.raises(PanelError, match="'Ag 107': no channel of the data has this mass"):
        pp.debarcode(pool, doublet_filter_key().rename(columns={102: "Ag 107"}))
    assert "barcode" not in pool.obs


def test_wrong_states_and_values() -> None:
    key = doublet_filter_key()
    pool, _ = simulated(key, [30] * 20)
    transformed = pool.copy()
    transformed.var["cofactor"] = 5.0
    pp.arcsinh(transformed)
    with pytest.raises(StateError, match=r"pp\.debarcode needs counts in X, but X holds arcsinh"):
        pp.debarcode(transformed, key)
    for separation, words in (
        (-0.1, "-0.1"), (np.nan, "nan"), (True, "True"), ("automatic", "'automatic'"), (None, "None"),
        ({"A9": 0.2}, "'A9', which is not a sample of the key; known: A1"), ({"A1": -1}, "separation of 'A1' is -1"),
    ):  # fmt: skip
        with pytest.raises(ParameterError, match=words):
            pp.debarcode(pool, key, separation=separation)
    with pytest.raises(ParameterError, match="mahalanobis is -3"):
        pp.debarcode(pool, key, mahalanobis=-3)
    with pytest.raises(PanelError, match="the key is dict"):
        pp.debarcode(pool, {"A": [1, 0]})
    broken = pool.copy()
    broken.X[7, 2] = np.nan
    with pytest.raises(ParameterError, match="nan of BC105 in event 7"):
        pp.debarcode(broken, key)
    for function in (pp.barcode_table, pp.barcode_yields, pl.barcode_separation, pl.barcode_events):
        with pytest.raises(StateError, match=r"run cytocar\.pp\.debarcode first"):
            function(pool)


@pytest.mark.parametrize(
    "spelling",
    ["Pd{}Di", "(Pd{})Dd", "{}Pd", "PD{}DI", "BC{}(Pd{})Di", "Pd{}Dd", "{}Pd_BC{}"],
)
def test_files_spell_their_channels_in_many_ways(spelling: str, tmp_path: Path) -> None:
    key = doublet_filter_key()
    pool, truth = simulated(key, [20] * 20)
    channels = [("Time", "")] + [(spelling.format(mass, mass), "") for mass in reversed(MASSES)]
    events = np.column_stack([np.arange(pool.n_obs), np.asarray(pool.X)[:, ::-1]])
    write_events(tmp_path / "pool.fcs", events, channels)
    named = key.rename(
        columns={102: "Pd102Di", 104: "(Pd104)Dd", 105: "105Pd", 106: "106.0", 108: "X108", 110: "Pd-110"}
    )
    for one in (key, named):
        read = io.read_fcs(tmp_path / "pool.fcs")
        pp.debarcode(read, one, mahalanobis=np.inf)
        assert (found(read) == truth).all()


def test_the_isotope_may_stand_in_the_description_only(tmp_path: Path) -> None:
    pool, truth = simulated(doublet_filter_key(), [20] * 20)
    channels = [(f"BC{place}", f"Pd{mass}") for place, mass in enumerate(MASSES)]
    write_events(tmp_path / "pool.fcs", np.asarray(pool.X), channels)
    read = io.read_fcs(tmp_path / "pool.fcs")
    pp.debarcode(read, doublet_filter_key(), mahalanobis=np.inf)
    assert (found(read) == truth).all()
    read = io.read_fcs(tmp_path / "pool.fcs")
    key = doublet_filter_key().rename(columns={mass: f"BC{place}" for place, mass in enumerate(MASSES)})
    pp.debarcode(read, key, mahalanobis=np.inf)
    assert (found(read) == truth).all()


def test_a_panel_in_another_order_and_one_without_barcodes(tmp_path: Path) -> None:
    file, truth = written_pool(tmp_path / "in")
    panel = tmp_path / "panel.csv"
    rows = [f"{mass}Pd,Barcode {place}" for place, mass in enumerate(reversed(MASSES))]
    panel.write_text("\n".join(["channel,marker", "Yb171Di,CD3", *rows]))
    read = io.read_fcs(file, panel=panel)
    pp.debarcode(read, doublet_filter_key(), mahalanobis=np.inf)
    assert (found(read) == truth).all()
    panel.write_text("channel,marker\nYb171Di,CD3\n")
    with pytest.raises(PanelError, match=r"masses of the data: 171\. A panel without the barcode channels"):
        pp.debarcode(io.read_fcs(file, panel=panel), doublet_filter_key())


def test_names_of_markers_find_channels_too() -> None:
    pool, truth = simulated(doublet_filter_key(), [20] * 20)
    key = doublet_filter_key().rename(columns={mass: f"bc-{mass}" for mass in MASSES})
    pp.debarcode(pool, key, mahalanobis=np.inf)
    assert (found(pool) == truth).all()


def test_a_channel_that_sums_masses_is_none_of_them() -> None:
    pool = pool_of(np.ones((3, 2)), [110, 112])
    pool.var["channel"] = ["Cd110Di", "CD3(110:114)Di"]
    key = pd.DataFrame([[1, 0], [0, 1]], index=["A", "B"], columns=[110, 112])
    with pytest.raises(PanelError, match="'112': no channel of the data has this mass"):
        pp.debarcode(pool, key)


def test_a_mass_that_two_channels_have() -> None:
    pool = pool_of(np.array([[300, 0, 9], [0, 300, 9]]), [102, 104, 96])
    pool.var["mass"] = [102, 104, 104]
    pool.var["channel"] = ["Pd102Di", "Pd104Di", "Ru104Di"]
    pool.var["role"] = ["barcode", "barcode", "none"]
    key = pd.DataFrame([[1, 0], [0, 1]], index=["A", "B"], columns=[102, 104])
    pp.debarcode(pool, key)
    assert found(pool).tolist() == ["A", "B"]
    pool.var["role"] = "none"
    with pytest.raises(PanelError, match=r"'104': fits 2 channels \(Pd104Di, Ru104Di\)"):
        pp.debarcode(pool, key)


def written_pool(folder: Path, *, sizes: list[int] | None = None) -> tuple[Path, np.ndarray]:
    pool, truth = simulated(doublet_filter_key(), sizes or [20] * 19 + [0], doublets=40)
    events = np.column_stack([np.arange(pool.n_obs), np.asarray(pool.X), np.full(pool.n_obs, 7)])
    channels = [("Time", ""), *((f"Pd{m}Di", f"{m}Pd_BC") for m in MASSES), ("Yb171Di", "171Yb_CD3")]
    folder.mkdir()
    write_events(folder / "pool.fcs", events, channels, {"$OP": "A. Nurse", "$CYT": "Helios"})
    return folder / "pool.fcs", truth


def test_one_file_a_sample_and_every_event_once(tmp_path: Path) -> None:
    file, truth = written_pool(tmp_path / "in")
    before = file.read_bytes()
    table = pp.debarcode_file(file, doublet_filter_key(), tmp_path / "a" / "b", mahalanobis=np.inf)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["pool.fcs"]
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == sorted([f"pool_{name}.fcs" for name in SAMPLES] + ["pool_unassigned.fcs"])
    whole = read_events(read_header(file))
    times = []
    for _, row in table.iterrows():
        header = read_header(row["file"])
        part = read_events(header)
        assert header.names == read_header(file).names
        assert header.n_events == row["written"] == (truth == row["barcode"]).sum()
        assert header.keywords["CYTOCAR_BARCODE"] == (row["barcode"] or "unassigned")
        assert header.keywords["$OP"] == "A. Nurse"
        np.testing.assert_array_equal(part, whole[part[:, 0].astype(int)])
        assert (np.diff(part[:, 0]) > 0).all()
        assert (truth[part[:, 0].astype(int)] == row["barcode"]).all()
        times += part[:, 0].astype(int).tolist()
    assert sorted(times) == list(range(len(whole)))
    assert table["barcode"].tolist() == [*SAMPLES, ""]
    assert table["written"].sum() == len(whole)
    again = io.read_fcs(table["file"].iloc[0])
    assert "pp.debarcode" in [step["step"] for step in steps(again)]


def test_files_without_names_of_people(tmp_path: Path) -> None:
    file, _ = written_pool(tmp_path / "in")
    table = pp.debarcode_file(file, doublet_filter_key(), tmp_path / "out", deidentify=True)
    keywords = read_header(table["file"].iloc[0]).keywords
    assert "$OP" not in keywords
    assert "CYTOCAR_BARCODE" not in keywords
    assert keywords["$CYT"] == "Helios"


def test_nothing_is_written_where_it_would_harm(tmp_path: Path) -> None:
    file, _ = written_pool(tmp_path / "in")
    key = doublet_filter_key()
    with pytest.raises(ParameterError, match="nothing is written beside the input"):
        pp.debarcode_file(file, key, tmp_path / "in" / ".." / "in")
    out = tmp_path / "out"
    out.mkdir()
    (out / "pool_B3.fcs").write_text("precious")
    with pytest.raises(ParameterError, match=r"pool_B3\.fcs: is there already"):
        pp.debarcode_file(file, key, out)
    assert (out / "pool_B3.fcs").read_text() == "precious"
    for name, words in (
        ("A/2", "its file pool_A_2.fcs would be that of another"),
        ("Unassigned", "in no sample"),
    ):
        twice = key.rename(index={"A1": name, "A2": "A 2"})
        with pytest.raises(ParameterError, match=words):
            pp.debarcode_file(file, twice, tmp_path / "new")
    with pytest.raises(PanelError, match="no channel of the data has this mass"):
        pp.debarcode_file(file, key.rename(columns={102: 113}), tmp_path / "new")
    with pytest.raises(ParameterError, match="is a file; name a folder"):
        pp.debarcode_file(file, key, file)
    assert not (tmp_path / "new").exists()


def test_a_stop_while_writing_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = written_pool(tmp_path / "in")
    original, calls = io.write_fcs, []

    def failing(*args: object, **kwargs: object) -> None:
        calls.append(args)
        # not even hidden files, and not for a while
        assert {path.name for path in file.parent.iterdir()} == {"pool.fcs", "out"}
        if len(calls) == 5:
            raise OSError("disk full")
        original(*args, **kwargs)

    monkeypatch.setattr(io, "write_fcs", failing)
    with pytest.raises(OSError, match="disk full"):
        pp.debarcode_file(file, doublet_filter_key(), file.parent / "out")
    assert list((file.parent / "out").iterdir()) == []


def test_a_real_pool_as_files(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "debarcode"
    table = pp.debarcode_file(
        folder / "sample_barcoded_file.fcs", folder / "sample_barcode_key.csv", tmp_path, separation="auto"
    )
    assert table["written"].sum() == 100_000
    assert (table["written"].iloc[:20] == table["assigned"].iloc[:20]).all()
    assert table["written"].iloc[20] == 100_000 - table["assigned"].sum()
    assert [read_header(file).n_events for file in table["file"]] == table["written"].tolist()


def test_yields_are_drawn_as_they_are() -> None:
    key = doublet_filter_key()
    pool, _ = simulated(key, [40] * 20, doublets=300)
    pp.debarcode(pool, key, separation={"A2": 0.45})
    yields, table = pp.barcode_yields(pool), pp.barcode_table(pool)
    figure = pl.barcode_yields(yields, table)
    assert [axes.get_label() for axes in figure.axes] == SAMPLES
    axes = figure.axes[1]
    curve, line = axes.get_lines()
    np.testing.assert_allclose(curve.get_ydata(), 100 * yields["yield"][yields["barcode"] == "A2"])
    np.testing.assert_allclose(curve.get_xdata(), cutoffs())
    assert line.get_xdata()[0] == 0.45
    assert axes.texts[-1].get_text().startswith(f"0.45: {table['assigned'][1]}")
    assert len(pl.barcode_yields(yields).axes[0].get_lines()) == 1
    with pytest.raises(ParameterError, match="is missing columns: yield"):
        pl.barcode_yields(yields.drop(columns="yield"))


def test_separations_are_drawn_as_they_are() -> None:
    key = doublet_filter_key().iloc[:15]
    pool, _ = simulated(doublet_filter_key(), [40] * 20, doublets=300)
    pp.debarcode(pool, key)
    axes = pl.barcode_separation(pool).axes[0]
    inside, outside = (patch.get_data() for patch in axes.patches)
    separation = pool.obs["barcode_separation"]
    assert (inside.values - inside.baseline).sum() == (found(pool) != "").sum()
    assert (outside.values - outside.baseline).sum() == ((found(pool) == "") & separation.notna()).sum()
    assert axes.get_title(loc="left").startswith(f"{separation.isna().sum()} of {pool.n_obs:,} events")
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [0.3]


def test_barcode_signals_are_drawn_as_they_are() -> None:
    key = doublet_filter_key()
    pool, _ = simulated(key, [40] * 20, doublets=300)
    pp.debarcode(pool, key)
    figure = pl.barcode_events(pool, max_events=15)
    assert [axes.get_label() for axes in figure.axes] == [*SAMPLES, ""]
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.get_lines()] == [f"BC{mass}" for mass in MASSES]
    mine = np.flatnonzero(found(pool) == "A1")
    mine = mine[np.argsort(pool.obs["barcode_separation"].to_numpy()[mine])]
    scale = pp.barcode_table(pool)["scale"][0]
    first, last = (np.arcsinh(np.asarray(pool.X)[mine[i], 0] / 10) / scale for i in (0, -1))
    drawn = axes.get_lines()[0].get_ydata()
    assert len(drawn) == 15
    np.testing.assert_allclose([drawn[0], drawn[-1]], [first, last], rtol=1e-5)
    assert [axes.get_label() for axes in pl.barcode_events(pool, barcodes=["B1"]).axes] == ["B1"]
    with pytest.raises(ParameterError, match="'B9' is not a sample of the key"):
        pl.barcode_events(pool, barcodes=["B9"])
    with pytest.raises(ParameterError, match="max_events is 1"):
        pl.barcode_events(pool, max_events=1)


@pytest.mark.parametrize(
    "text",
    [
        ",102,104,105\nA,TRUE,TRUE,FALSE\nB,FALSE,TRUE,TRUE\n",
        ",102,104,105\nA,true,T,f\nB,False,Yes,t\n",
        ";102;104;105\nA;WAHR;WAHR;FALSCH\nB;FALSCH;WAHR;WAHR\n",
        "\t102\t104\t105\nA\t+\t+\t-\nB\t-\t+\t+\n",
        ";102,0;104,0;105,0\nA;1,0;1,0;0,0\nB;0,0;1,0;1,0\n",
        "102,104,105\nA,1,1,0\nB,0,1,1\n",
        ",X102Pd,X104Pd,X105Pd\nA,1,1,0\nB,0,1,1\n",
        ",X102Pd_BC1,X104Pd_BC2,X105Pd_BC3\nA,1,1,0\nB,0,1,1\n",
        ",X.Pd102.Di,BC.Pd104.Di,Pd.105\nA,1,1,0\nB,0,1,1\n",
        ",BC.102,BC_104,bc105\nA,1,1,0\nB,0,1,1\n",
        ",sample,102,104,105\n1,A,1,1,0\n2,B,0,1,1\n",
        '"102" "104" "105"\n"A" TRUE TRUE FALSE\n"B" FALSE TRUE TRUE\n',
    ],
    ids=[
        "R",
        "words",
        "German",
        "signs",
        "decimals",
        "R without a corner",
        "X",
        "X and label",
        "points",
        "markers",
        "numbers of rows",
        "write.table",
    ],
)
def test_keys_as_r_and_spreadsheets_change_them(text: str, tmp_path: Path) -> None:
    file = tmp_path / "key.csv"
    file.write_text(text)
    key = pp.read_barcode_key(file)
    assert list(key.index) == ["A", "B"]
    assert key.to_numpy().tolist() == [[1, 1, 0], [0, 1, 1]]
    pool = pool_of([[300, 250, 1], [2, 200, 280], [300, 20, 290]], MASSES[:3])
    pp.debarcode(pool, file)
    assert found(pool).tolist() == ["A", "B", ""]


def test_a_key_in_a_workbook(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [[None, 102, 104, 105], ["A", True, True, False], ["B", 0, 1, 1.0]]:
        book.active.append(row)
    book.create_sheet("Pool 2").append(["no key"])
    book.save(tmp_path / "key.xlsx")
    key = pp.read_barcode_key(tmp_path / "key.xlsx")
    assert key.to_numpy().tolist() == [[1, 1, 0], [0, 1, 1]]
    with pytest.raises(PanelError, match="has no sheet 'Pool 3'"):
        pp.read_barcode_key(f"{tmp_path / 'key.xlsx'}#Pool 3")
