"""The package of the authors in a process of its own: same clusters, and nothing of it reaches the caller."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
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
            x, k=30, clustering_algo="leiden", min_cluster_size=0, resolution_parameter=0.9, seed=5, n_jobs=1
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
    assert blobs.uns["phenograph"]["reported_modularity"] == 0.5


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
        (
            "import os\ndef cluster(data, **_):\n    os.kill(os.getpid(), 9)",
            "failed: it was ended by SIGKILL, as happens when memory runs out",
            "",
        ),
        ("import os\ndef cluster(data, **_):\n    os.kill(os.getpid(), 11)", "it was ended by SIGSEGV;", ""),
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


def gone(pid: int) -> bool:
    """Return whether the process ends within a few seconds."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # a process that nobody has waited for yet has ended as well
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] in "ZX":
            return True
        time.sleep(0.05)
    return False


WAITS = """
import os, pathlib, subprocess, sys, time
def cluster(data, **_):
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    note = pathlib.Path(os.environ["NOTE"])
    note.with_name("half").write_text(f"{os.getpid()} {helper.pid} {os.getcwd()}")
    note.with_name("half").rename(note)
    time.sleep(60)
"""
ASKS = """
import numpy as np
from cytocar.tl._clusters.published_phenograph import published_phenograph
x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
published_phenograph(x, k=5, resolution=1.0, seed=0, threads=1)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_and_no_file_outlives_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    stand_in(tmp_path, monkeypatch, WAITS)
    note = tmp_path / "note"
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    caller = subprocess.Popen(
        [sys.executable, "-c", ASKS],
        env={**os.environ, "NOTE": str(note), "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        if note.exists() or caller.poll() is not None:
            break
        time.sleep(0.05)
    child, helper, folder = note.read_text().split(" ", 2)
    assert folder.startswith(os.path.realpath(tempfile.gettempdir()))
    caller.send_signal(how)
    assert caller.wait(timeout=180) != 0
    assert gone(int(child))
    assert gone(int(helper))
    assert not Path(folder).exists()


@pytest.mark.parametrize("threads", [1, 3])
def test_it_sees_as_many_cpus_as_it_was_given(
    blobs: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    stand_in(
        tmp_path,
        monkeypatch,
        """
import multiprocessing, os
from multiprocessing import Pool
def cluster(data, *, n_jobs, **_):
    assert multiprocessing.cpu_count() == os.cpu_count() == n_jobs
    assert os.environ["OMP_NUM_THREADS"] == str(n_jobs)
    with Pool() as pool:
        assert pool._processes == n_jobs
    return [0] * len(data), None, 0.5
""",
    )
    labels, _ = published_phenograph(blobs.X, k=5, resolution=1.0, seed=0, threads=threads)
    assert len(labels) == blobs.n_obs


def test_labels_are_the_same_with_two_threads(blobs: ad.AnnData) -> None:
    x = np.ascontiguousarray(blobs.X[:, :5], np.float32)
    one, two = (published_phenograph(x, k=30, resolution=1.0, seed=0, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(one[0], two[0])
    assert one[1] == two[1]


def test_cells_that_share_no_neighbour_are_not_put_together() -> None:
    # the package sets clusters of min_cluster_size cells and fewer aside under one label, those of one cell too
    x = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    labels, _ = published_phenograph(x, k=2, resolution=1.0, seed=0, threads=1)
    sizes = np.bincount(labels)
    assert sizes.min() == 1
    assert (sizes == 1).sum() > 1
    assert list(sizes) == sorted(sizes, reverse=True)


@pytest.mark.parametrize("name", ["phenograph", "igraph", "leidenalg"])
def test_a_package_that_is_missing_is_said_before_anything_is_started(
    blobs: ad.AnnData, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda asked: None if asked == name else object())
    with pytest.raises(ParameterError, match=f"cannot be imported: no module named {name}; install"):
        cc.tl.phenograph(blobs, engine="phenograph")


def test_modularity_is_of_our_graph_and_what_the_package_reports_stands_beside_it(blobs: ad.AnnData) -> None:
    ours = cc.tl.phenograph(blobs, k=30, copy=True).uns["phenograph"]
    theirs = cc.tl.phenograph(blobs, k=30, engine="phenograph", copy=True).uns["phenograph"]
    # both find the three groups, so the measure must be one and the same; the package's own reads as lower
    assert theirs["modularity"] == pytest.approx(ours["modularity"], abs=1e-12)
    assert theirs["run_modularity"].tolist() == [theirs["modularity"]]
    assert theirs["reported_modularity"] < theirs["modularity"]
    assert "reported_modularity" not in ours
