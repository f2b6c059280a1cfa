"""Simulated single stains give back the true matrix, and compensation with it gives back the study."""

from __future__ import annotations

import anndata
import numpy as np
import pytest

import cytocar as cc
from cytocar import ParameterError
from cytocar.datasets._layout import layout
from cytocar.datasets._single_stains import as_measured
from cytocar.pp import Spillover
from cytocar.pp._spillover.matrix import interaction


@pytest.fixture(scope="module")
def stains() -> anndata.AnnData:
    return cc.datasets.single_stains(seed=0)


@pytest.fixture(scope="module")
def estimated(stains: anndata.AnnData) -> Spillover:
    return cc.pp.estimate_spillover(stains)


def true(channels: tuple[str, ...]) -> np.ndarray:
    return Spillover(layout().channels, layout().spillover).adapt(channels)[0].matrix


def test_beads(stains: anndata.AnnData) -> None:
    assert stains.shape == (82_000, 49)
    assert stains.obs["stain"].value_counts().unique().tolist() == [2000]
    markers = set(stains.var["channel"][stains.var["role"] == "marker"])
    assert set(stains.obs["stain"].cat.categories) == markers
    column = list(stains.var["channel"]).index("Yb171Di")
    own = stains.X[(stains.obs["stain"] == "Yb171Di").to_numpy(), column]
    assert np.median(own) == pytest.approx(2000, rel=0.05)
    assert np.median(stains.X[(stains.obs["stain"] == "Y89Di").to_numpy(), column]) == 0


def test_seeds() -> None:
    one = cc.datasets.single_stains(events=3, seed=1)
    np.testing.assert_array_equal(one.X, cc.datasets.single_stains(events=3, seed=1).X)
    assert (one.X != cc.datasets.single_stains(events=3, seed=2).X).any()
    for arguments, words in (({"events": 0}, "events is 0"), ({"seed": -1}, "seed is -1")):
        with pytest.raises(ParameterError, match=words):
            cc.datasets.single_stains(**arguments)


def test_estimate_recovers_the_true_matrix(estimated: Spillover) -> None:
    known = np.array(estimated.measured)
    assert known.sum() == 41
    error = np.abs(estimated.matrix - true(estimated.channels))[known]
    looked_at = np.array([[bool(interaction(a, b)) for b in estimated.isotopes] for a in estimated.isotopes])[
        known
    ]
    # The largest true value is 0.04; before counting noise, 0 would be off by that.
    assert error[looked_at].max() < 4e-4
    assert error.max() < 8e-4


def test_off_target_signal_of_other_beads_is_gone(estimated: Spillover) -> None:
    adata = cc.datasets.single_stains(events=300, seed=7)
    channels = [str(name) for name in adata.var["channel"]]
    emitter = np.array([channels.index(str(name)) for name in adata.obs["stain"]])
    leaks = true(tuple(channels)) > 0
    np.fill_diagonal(leaks, False)

    def off_target(counts: np.ndarray) -> float:
        total = 0.0
        for column in np.flatnonzero(adata.var["role"] == "marker"):
            hit = leaks[emitter, column]
            background = counts[~hit & (emitter != column), column].mean(dtype=np.float64)
            total += float((counts[hit, column] - background).sum(dtype=np.float64))
        return total / len(counts)

    before = off_target(adata.X)
    cc.pp.compensate(adata, estimated)
    assert before > 40
    assert abs(off_target(adata.X)) < 0.1 * before


def test_study_without_the_false_ki67(estimated: Spillover) -> None:
    """146Nd (CD8a) makes oxide in 162Dy (Ki67): before compensation CD8 T cells look as if they were dividing."""
    options = {"cells": 6_000, "timepoints": ["2mo"], "seed": 3}
    spilled = cc.datasets.legend2(**options)
    clean = cc.datasets.legend2(spill=False, **options)
    compensated = cc.pp.compensate(spilled, estimated, copy=True)
    cells = (spilled.obs["truth_type"] == "cell").to_numpy()
    cd8 = cells & spilled.obs["truth_population"].astype(str).str.startswith("H_CD8").to_numpy()

    def ki67(adata: anndata.AnnData) -> np.ndarray:
        return np.arcsinh(adata[cd8, "Ki67"].X[:, 0] / 5)

    assert np.median(ki67(spilled)) > 1.5
    assert abs(np.median(ki67(compensated)) - np.median(ki67(clean))) < 0.05
    positive = [float((ki67(adata) > 1.5).mean()) for adata in (spilled, compensated, clean)]
    assert positive[0] > 0.5
    assert abs(positive[1] - positive[2]) < 0.02

    # All channels whose emitters were measured; the oxide of iridium in 209Bi (CD7) was not.
    markers = (spilled.var["role"] == "marker").to_numpy() & (spilled.var_names != "CD7")

    def excess(adata: anndata.AnnData) -> float:
        added = adata.X[cells][:, markers].astype(float) - clean.X[cells][:, markers]
        return float(added.mean(axis=0).sum())

    assert excess(spilled) > 15
    assert abs(excess(compensated)) < 0.12 * excess(spilled)


def test_the_matrix_of_the_study_is_as_good_as_an_estimate() -> None:
    channels = layout()
    measured = as_measured(channels, 0)
    known = np.isin(np.arange(49), channels.markers)
    assert np.isnan(measured[~known]).all()
    error = np.abs(measured[known] - channels.spillover[known])
    assert 1e-5 < error.max() < 5e-4
    assert (measured[known][channels.spillover[known] == 0] == 0).all()
    np.testing.assert_array_equal(measured, as_measured(channels, 0))
    assert not np.array_equal(measured, as_measured(channels, 1), equal_nan=True)
    Spillover(channels.channels, measured)
