from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier

import cytocar as cc
from cytocar._core.errors import ParameterError, StateError
from cytocar.tl import _threads
from cytocar.tl._maps import shell as _maps
from cytocar.tl._maps import tsne as _tsne

TOO_SMALL = [
    ({"equal_by": "patient"}, "equal_by: obs has no column 'patient'"),
    ({"max_per_sample": 0}, "max_per_sample is 0"),
    ({"max_per_sample": 2}, "max_per_sample is 2, which leaves 4 cells for the map; at least 10"),
    ({"n_jobs": 0}, "n_jobs is 0"),
    ({"seed": -3}, "seed is -3"),
    ({"markers": ["CD44"]}, "CD44"),
]


def samples_of(*sizes: int) -> ad.AnnData:
    cells = ad.AnnData(np.zeros((sum(sizes), 1), "float32"))
    cells.obs["sample_id"] = np.repeat([f"s{i}" for i in range(len(sizes))], sizes)
    return cells


def purity(coordinates: np.ndarray, labels: np.ndarray) -> float:
    """Return how well the neighbours on the map tell the label of a cell."""
    return float(KNeighborsClassifier(5).fit(coordinates, labels).score(coordinates, labels))


def test_few_cells_are_all_fitted() -> None:
    assert _maps.cells_to_fit(samples_of(4000, 900, 100), "sample_id", None, 0, "test").all()


@pytest.mark.parametrize(
    ("sizes", "fitted"),
    [
        # as many as the smallest
        ((6000, 3000, 2500), (2500, 2500, 2500)),
        # the smallest does not starve the map: an equal share of 5,000
        ((6000, 3000, 20), (1666, 1666, 20)),
        # and no more than an equal share of 50,000
        ((60_000, 40_000), (25_000, 25_000)),
    ],
)
def test_samples_weigh_equally(sizes: tuple[int, ...], fitted: tuple[int, ...]) -> None:
    cells = samples_of(*sizes)
    chosen = _maps.cells_to_fit(cells, "sample_id", None, 0, "test")
    assert tuple(cells.obs[chosen].groupby("sample_id", observed=True).size()) == fitted
    assert np.array_equal(chosen, _maps.cells_to_fit(cells, "sample_id", None, 0, "test"))
    assert not np.array_equal(chosen, _maps.cells_to_fit(cells, "sample_id", None, 1, "test"))


def test_the_number_per_sample_can_be_set() -> None:
    cells = samples_of(50, 30, 20)
    chosen = _maps.cells_to_fit(cells, "sample_id", 25, 0, "test")
    assert tuple(cells.obs[chosen].groupby("sample_id", observed=True).size()) == (25, 25, 20)
    assert _maps.cells_to_fit(cells, None, 25, 0, "test").sum() == 25


def test_the_start_is_the_first_two_principal_components(blobs: ad.AnnData) -> None:
    x = blobs.X[:, :5]
    start = _maps.principal_axes(x)
    expected = PCA(2).fit_transform(x.astype(float))
    for axis in range(2):
        assert abs(np.corrcoef(start[:, axis], expected[:, axis])[0, 1]) == pytest.approx(1, abs=1e-6)
    assert start[:, 0].std() == pytest.approx(1)
    ratio = expected[:, 1].std() / expected[:, 0].std()
    assert start[:, 1].std() == pytest.approx(ratio, rel=1e-5)
    # mirrored data do not mirror the map
    assert np.allclose(_maps.principal_axes(x[::-1])[::-1], start, atol=1e-6)


def test_neighbours_on_the_map_are_neighbours_in_marker_space(blobs: ad.AnnData) -> None:
    generator = np.random.default_rng(0)
    scattered = generator.normal(size=(240, 2))
    x = blobs.X[:, :5]
    assert trustworthiness(x, scattered, n_neighbors=10) < 0.6
    cc.tl.tsne(blobs)
    assert blobs.obsm["X_tsne"].shape == (240, 2)
    assert blobs.obsm["X_tsne"].dtype == np.float32
    assert trustworthiness(x, blobs.obsm["X_tsne"], n_neighbors=10) > 0.9
    assert purity(blobs.obsm["X_tsne"], blobs.obs["truth"]) == 1
    assert blobs.obs["X_tsne_fitted"].all()
    facts = blobs.uns["X_tsne"]
    assert (facts["perplexity"], facts["learning_rate"], facts["n_fitted"], facts["seed"]) == (
        30,
        200,
        240,
        0,
    )
    assert 0 < facts["kl_divergence"] < 1
    assert json.loads(facts["markers"]) == ["CD3", "CD4", "CD8", "PD-1", "Ki67"]


def test_other_cells_are_placed_among_their_kind(blobs: ad.AnnData) -> None:
    cc.tl.tsne(blobs, max_per_sample=60)
    fitted = blobs.obs["X_tsne_fitted"].to_numpy()
    assert fitted.sum() == 120
    assert blobs.obs[fitted]["sample_id"].value_counts().tolist() == [60, 60]
    assert np.isfinite(blobs.obsm["X_tsne"]).all()
    known = KNeighborsClassifier(5).fit(blobs.obsm["X_tsne"][fitted], blobs.obs["truth"][fitted])
    assert known.score(blobs.obsm["X_tsne"][~fitted], blobs.obs["truth"][~fitted]) == 1


@pytest.mark.parametrize("exact_up_to", [10**6, 0])
def test_same_seed_same_map_whatever_the_threads(
    blobs: ad.AnnData, monkeypatch: pytest.MonkeyPatch, exact_up_to: int
) -> None:
    monkeypatch.setattr(_tsne, "EXACT_UP_TO", exact_up_to)
    monkeypatch.setattr(_tsne, "STEPS", 60)
    monkeypatch.setattr(_tsne, "EXAGGERATED_STEPS", 80)
    # so few cells would else be the work of one thread
    monkeypatch.setattr(_threads, "ALONE_BELOW", 50)
    opened: list[int] = []

    class Counted(ThreadPoolExecutor):
        def __init__(self, threads: int) -> None:
            opened.append(threads)
            super().__init__(threads)

    monkeypatch.setattr(_threads, "ThreadPoolExecutor", Counted)
    x, everyone = np.ascontiguousarray(blobs.X[:, :5]), np.ones(240, bool)
    first, _ = _tsne.embed(x, everyone, perplexity=20, seed=5, n_jobs=1)
    assert opened == []
    second, _ = _tsne.embed(x, everyone, perplexity=20, seed=5, n_jobs=2)
    assert np.array_equal(first, second)
    # one for the neighbours, and one that stays for all steps
    assert set(opened) == {2}
    assert len(opened) <= 2
    assert purity(first, blobs.obs["truth"]) > 0.98


def test_perplexity_shrinks_with_the_cells(blobs: ad.AnnData) -> None:
    assert _tsne.used_perplexity(30, 91) == 30
    assert _tsne.used_perplexity(30, 31) == 10
    few = blobs[:10].copy()
    cc.tl.tsne(few)
    assert few.uns["X_tsne"]["perplexity"] == 3
    assert np.isfinite(few.obsm["X_tsne"]).all()


def test_one_marker_still_has_a_map(blobs: ad.AnnData) -> None:
    cc.tl.tsne(blobs, markers="CD4")
    assert np.isfinite(blobs.obsm["X_tsne"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"), [*TOO_SMALL, ({"perplexity": 1}, "perplexity is 1; it must be above 1")]
)
def test_tsne_arguments_outside_their_domain(
    blobs: ad.AnnData, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        cc.tl.tsne(blobs, **arguments)
    assert "X_tsne" not in blobs.obsm


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *TOO_SMALL,
        ({"n_neighbors": 1}, "n_neighbors is 1"),
        ({"min_dist": 2}, "min_dist is 2"),
        ({"engine": "umap"}, "engine is 'umap'; it must be 'umap-learn'"),
    ],
)
def test_umap_arguments_outside_their_domain(
    blobs: ad.AnnData, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        cc.tl.umap(blobs, **arguments)
    assert "X_umap" not in blobs.obsm


@pytest.mark.parametrize("name", ["tsne", "umap"])
def test_too_few_cells_or_counts_are_refused(blobs: ad.AnnData, name: str) -> None:
    make = getattr(cc.tl, name)
    with pytest.raises(ParameterError, match=f"tl.{name} needs at least 10 cells, there are 9"):
        make(blobs[:9].copy())
    blobs.uns["cytocar"]["state"] = "counts"
    with pytest.raises(StateError, match=f"tl.{name} needs arcsinh"):
        make(blobs)


def test_a_copy_leaves_the_input_alone_and_survives_a_file(blobs: ad.AnnData, tmp_path: Path) -> None:
    result = cc.tl.tsne(blobs, key_added="X_map", copy=True)
    assert "X_map" not in blobs.obsm
    assert "X_map_fitted" not in blobs.obs
    result.write_h5ad(tmp_path / "cells.h5ad")
    back = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert np.array_equal(back.obsm["X_map"], result.obsm["X_map"])
    assert back.uns["X_map"]["perplexity"] == 30


def test_umap_keeps_clusters_together(blobs: ad.AnnData, tmp_path: Path) -> None:
    again = blobs.copy()
    cc.tl.umap(blobs)
    assert blobs.obsm["X_umap"].shape == (240, 2)
    assert blobs.obsm["X_umap"].dtype == np.float32
    assert purity(blobs.obsm["X_umap"], blobs.obs["truth"]) == 1
    assert trustworthiness(blobs.X[:, :5], blobs.obsm["X_umap"], n_neighbors=10) > 0.85
    facts = blobs.uns["X_umap"]
    assert (facts["n_neighbors"], facts["n_fitted"]) == (15, 240)
    blobs.write_h5ad(tmp_path / "cells.h5ad")
    assert np.array_equal(ad.read_h5ad(tmp_path / "cells.h5ad").obsm["X_umap"], blobs.obsm["X_umap"])

    result = cc.tl.umap(again, n_jobs=2, copy=True)
    assert "X_umap" not in again.obsm
    assert np.array_equal(result.obsm["X_umap"], blobs.obsm["X_umap"])
    other = cc.tl.umap(again, seed=1, copy=True)
    assert not np.array_equal(other.obsm["X_umap"], blobs.obsm["X_umap"])

    cc.tl.umap(again, max_per_sample=60)
    fitted = again.obs["X_umap_fitted"].to_numpy()
    known = KNeighborsClassifier(5).fit(again.obsm["X_umap"][fitted], again.obs["truth"][fitted])
    assert known.score(again.obsm["X_umap"][~fitted], again.obs["truth"][~fitted]) == 1
    few = again[:10].copy()
    cc.tl.umap(few)
    assert few.uns["X_umap"]["n_neighbors"] == 5


@pytest.mark.parametrize("beside_fixed", [False, True])
def test_the_exact_gradient_is_that_of_the_tree_without_approximation(beside_fixed: bool) -> None:
    from openTSNE.tsne import kl_divergence_bh
    from scipy.sparse import random_array

    generator = np.random.default_rng(3)
    at = generator.normal(size=(60, 2)) * 5
    fixed = generator.normal(size=(90, 2)) * 5 if beside_fixed else None
    shape = (60, 90 if beside_fixed else 60)
    p = random_array(shape, density=0.2, rng=generator, format="csr")
    if beside_fixed:
        p.data /= np.repeat(np.maximum(p.sum(axis=1), 1e-9), np.diff(p.indptr))
    else:
        p.setdiag(0)
        p.eliminate_zeros()
        p.data /= p.data.sum()
    found, gradient = _tsne.exact_gradient(at, p, reference_embedding=fixed, should_eval_error=True)
    # openTSNE 1.0.4 takes a matrix, and a tree with an opening angle of 0 looks at every pair
    expected, slow = kl_divergence_bh(
        at, p, dof=1, bh_params={"theta": 0.0}, reference_embedding=fixed, should_eval_error=True
    )
    assert gradient == pytest.approx(slow, abs=2e-6 * np.abs(slow).max())
    if not beside_fixed:
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("method", ["umap", "tsne"])
def test_cells_chosen_for_a_map_must_differ(blobs: ad.AnnData, method: str) -> None:
    blobs.X[:-1] = 1
    del blobs.obs["sample_id"]
    with pytest.raises(ParameterError, match=f"tl.{method}: the 12 cells chosen for the map are all alike"):
        getattr(cc.tl, method)(blobs, max_per_sample=12)
    assert f"X_{method}" not in blobs.obsm


def test_the_smallest_distance_on_a_map_is_a_number(blobs: ad.AnnData) -> None:
    with pytest.raises(ParameterError, match="min_dist is 'near'; it must be a number from 0 to 1"):
        cc.tl.umap(blobs, min_dist="near")
