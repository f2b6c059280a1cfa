"""Simultaneous intervals and the order of subsets, against enumeration and simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cytocar import tl
from cytocar._core.errors import ParameterError
from cytocar.tl._rare import subset_shares as shares


def counts(**n: int) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": "s", "compartment": "car", "subset": list(n), "n": list(n.values())})


def test_goodman_solves_its_equation() -> None:
    n = np.array([1.0, 20, 229])
    low, high = shares.goodman(n, 0.95)
    limit = stats.chi2.isf(0.05 / 3, 1)
    for p in (low, high):
        assert (n / n.sum() - p) ** 2 == pytest.approx(limit * p * (1 - p) / n.sum(), rel=1e-9)
    none = shares.goodman(np.array([0.0, 30]), 0.95)
    assert (none[0][0], none[1][1]) == (0.0, 1.0)


def test_the_probability_behind_sison_glaz_is_that_of_the_multinomial() -> None:
    n = np.array([2.0, 5, 1, 4])
    law = stats.multinomial(12, n / 12)
    for margin in (0, 1, 2, 3):
        near = [range(max(0, int(c) - margin), int(c) + margin + 1) for c in n]
        want = sum(law.pmf(x) for x in product(*near) if sum(x) == 12)
        assert shares._within(n, margin) == pytest.approx(want, rel=1e-9)


def test_sison_glaz_is_narrower_than_goodman_with_one_margin_for_all() -> None:
    n = np.array([56.0, 72, 73, 59, 62, 87, 58])
    low, high = shares.sison_glaz(n, 0.95)
    own, other = (high - low).sum(), np.subtract(*shares.goodman(n, 0.95)[::-1]).sum()
    assert own < other
    assert np.ptp(n / n.sum() - low) == pytest.approx(0)
    assert np.ptp(high - n / n.sum()) == pytest.approx(0)


@pytest.mark.parametrize(
    ("n", "level"), [([0, 5], 0.95), ([7, 0, 0], 0.95), ([1, 0], 0.5), ([100, 0], 0.95), ([3, 1], 0.2)]
)
def test_sison_glaz_has_no_interval_where_no_margin_is_needed_and_says_so(n: list[int], level: float) -> None:
    table = counts(**{f"s{i}": count for i, count in enumerate(n)})
    found = tl.subset_shares(table, method="sison_glaz", level=level)
    assert found[["low", "high"]].isna().all(axis=None)
    assert found["fraction"].tolist() == [count / sum(n) for count in n]
    assert found["note"].str.contains("method goodman has one").all()
    assert tl.subset_shares(table, level=level)[["low", "high"]].notna().all(axis=None)


def test_the_margin_of_sison_glaz_is_the_smallest_that_reaches_the_level() -> None:
    rng = np.random.default_rng(6)
    for _ in range(60):
        n = rng.multinomial(int(rng.integers(3, 400)), rng.dirichlet(np.ones(4))).astype(float)
        if shares._within(n, 0) >= 0.9:
            continue
        margin = next(c for c in range(int(n.sum()) + 1) if shares._within(n, c) >= 0.9)
        low, high = shares.sison_glaz(n, 0.9)
        before = shares._within(n, margin - 1)
        more = 2 * (0.9 - before) / (shares._within(n, margin) - before)
        np.testing.assert_allclose(low, np.maximum(n - margin + 1, 0) / n.sum(), atol=1e-12)
        np.testing.assert_allclose(high, np.minimum((n + margin - 1 + more) / n.sum(), 1), atol=1e-12)


@pytest.mark.parametrize("method", ["goodman", "sison_glaz"])
def test_all_intervals_hold_together_as_often_as_said(method: str) -> None:
    true = np.array([0.1, 0.25, 0.6, 0.05])
    draws = np.random.default_rng(4).multinomial(250, true, 600)
    find = shares.goodman if method == "goodman" else shares.sison_glaz
    held = 0
    for n in draws:
        low, high = find(n.astype(float), 0.95)
        held += bool(np.all((low <= true) & (true <= high)))
    assert 0.92 <= held / 600 <= 0.99


def test_they_are_wider_than_one_by_one_and_hold_the_share() -> None:
    table = tl.subsets(counts(CD4=1, CD8=20, DN=229))
    alone, together = table.set_index("subset"), tl.subset_shares(table).set_index("subset")
    assert ((together.low <= together.fraction) & (together.fraction <= together.high)).all()
    assert together.high["DN"] - together.low["DN"] > alone.high["DN"] - alone.low["DN"]
    assert together.smallest_detectable.tolist() == alone.smallest_detectable.tolist()


def test_the_smallest_detectable_share_shows_with_the_stated_probability() -> None:
    found = tl.subset_shares(counts(CD8=20, DN=229)).smallest_detectable.iloc[0]
    assert 1 - (1 - found) ** 249 == pytest.approx(0.95)


def test_no_cells_say_so() -> None:
    found = tl.subset_shares(counts(CD8=0, DN=0))
    assert found.low.isna().all()
    assert (found.note == "no cells, so no shares").all()


def test_the_probability_that_dn_outnumber_cd8_against_draws() -> None:
    found = tl.subset_order(counts(CD4=10, CD8=40, DN=52)).iloc[0]
    draws = np.random.default_rng(3).dirichlet([10.5, 40.5, 52.5], 400_000)
    assert found.probability == pytest.approx((draws[:, 2] > draws[:, 1]).mean(), abs=0.003)
    other = tl.subset_order(counts(CD4=10, CD8=40, DN=52), larger="CD8", smaller="DN").iloc[0]
    assert found.probability + other.probability == pytest.approx(1)
    assert tl.subset_order(counts(CD8=30, DN=30)).probability.iloc[0] == pytest.approx(0.5)


def test_background_is_taken_off_where_it_is_known() -> None:
    table = counts(CD8=30, DN=40)
    assert np.isnan(tl.subset_order(table).probability_net.iloc[0])
    net = tl.subset_order(table.assign(background_n=[0.0, 10.0])).iloc[0]
    assert net.probability > 0.8
    assert net.probability_net == pytest.approx(0.5)


def test_nothing_counted_is_said() -> None:
    found = tl.subset_order(counts(CD8=0, DN=0)).iloc[0]
    assert (found.probability, found.note) == (pytest.approx(0.5), "neither was seen: the prior alone")


def test_what_is_refused() -> None:
    table = counts(CD8=3, DN=4)
    with pytest.raises(ParameterError, match="compartment 'host'"):
        tl.subset_shares(table, compartment="host")
    with pytest.raises(ParameterError, match="method is 'goodmann'"):
        tl.subset_shares(table, method="goodmann")
    with pytest.raises(ParameterError, match="no subset 'DP'"):
        tl.subset_order(table, larger="DP")
    with pytest.raises(ParameterError, match="prior is 0"):
        tl.subset_order(table, prior=0)
    with pytest.raises(ParameterError, match="s / DN has more than one row"):
        tl.subset_shares(pd.concat([table, table.iloc[[1]]]))
    with pytest.raises(ParameterError, match="n of sample 's' is -1"):
        tl.subset_shares(counts(CD8=-1, DN=4))
