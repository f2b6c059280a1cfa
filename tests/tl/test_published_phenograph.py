"""The package of the authors in a process of its own: same clusters, and nothing of it reaches the caller."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import cytocar as cc
from cytocar import ParameterError
from cytocar.tl._clusters.published_phenograph import published_phenograph


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a package of that name in front of the real one."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "phenograph.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "packages")


def test_the_package_of_the_authors_agrees_and_leaves_the_process_as_it_was(
    blobs: ad.AnnData, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def state() -> tuple[object, ...]:
        root = logging.getLogger()
        return (
            os.getcwd(),
            sys.stdout,
            sys.stderr,
            list(root.handlers),
            root.level,
            logging.root.manager.disable,
        )

    before = state(), list(warnings.filters)
    cc.tl.phenograph(blobs, engine="phenograph", k=30)
    assert (state(), list(warnings.filters)) == before
    assert adjusted_rand_score(blobs.obs["phenograph"], blobs.obs["truth"]) == 1
    assert blobs.uns["phenograph"]["engine"] == "phenograph"
    assert list(here.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_same_labels_as_a_direct_call(blobs: ad.AnnData, here: Path) -> None:
    x = np.ascontiguousarray(blobs.X[:, :5], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import phenograph

        labels, _, quality = phenograph.cluster(
            x, k=30, clustering_algo="leiden", min_cluster_size=1, resolution_parameter=0.9, seed=5, n_jobs=1
        )
    ours, modularity = published_phenograph(x, k=30, resolution=0.9, seed=5, threads=1)
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(ours, labels)
    assert modularity == quality


def test_whatever_the_package_leaves_is_caught(
    blobs: ad.AnnData,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stand_in(
        tmp_path,
        monkeypatch,
        """
import logging, os, pathlib, sys, warnings
def cluster(data, **settings):
    pathlib.Path("graph.bin").write_text("left behind")
    start = os.getcwd()
    os.chdir("/")
    os.write(1, b"Finding neighbours")
    print("Jaccard graph constructed", file=sys.stderr)
    logging.getLogger("phenograph").critical("Sorting communities by size")
    warnings.warn("old interface", FutureWarning)
    assert settings["n_jobs"] == 1 and data.dtype == "float32"
    os.chdir(start)
    return [0] * len(data), None, 0.5
""",
    )
    cc.tl.phenograph(blobs, engine="phenograph")
    assert list(here.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert blobs.uns["phenograph"]["modularity"] == 0.5


@pytest.mark.parametrize(
    ("package", "message", "note"),
    [
        (
            "raise ImportError('no module named leidenalg')",
            "cannot be imported: no module named leidenalg; install",
            "",
        ),
        (
            "def cluster(data, **_):\n    raise ValueError('graph is empty')",
            "failed: ValueError: graph is empty",
            "Traceback",
        ),
        ("import os\ndef cluster(data, **_):\n    os._exit(9)", "failed: it ended with the exit code 9", ""),
    ],
)
def test_a_package_that_fails_is_a_clear_error(
    blobs: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, message: str, note: str
) -> None:
    stand_in(tmp_path, monkeypatch, package)
    with pytest.raises(ParameterError, match=message) as raised:
        cc.tl.phenograph(blobs, engine="phenograph")
    assert note in "".join(getattr(raised.value, "__notes__", []))
    assert "phenograph" not in blobs.obs


def test_it_runs_in_a_worker_of_a_pool(blobs: ad.AnnData) -> None:
    x = np.ascontiguousarray(blobs.X[:, :5], np.float32)
    asked = {"k": 30, "resolution": 1.0, "seed": 0, "threads": 1}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        labels, _ = pool.apply(published_phenograph, (x,), asked)
    np.testing.assert_array_equal(labels, published_phenograph(x, **asked)[0])
