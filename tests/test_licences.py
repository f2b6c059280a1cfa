"""Packages under the GPL: the page of licences is true, and nothing but what is said there needs them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cytocar import datasets

DOCS = Path(__file__).parents[1] / "docs"
PERMISSIVE = {"BSD", "MIT", "PSF", "Apache", "ISC", "MPL-2.0"}

# every Python process that finds it on its path starts with it, workers too
BLOCKER = """
import os, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"igraph", "leidenalg", "phenograph"}:
            with open(os.environ["ASKED_FOR"], "a") as stream:
                stream.write(name + "\\n")
            raise ImportError(f"{name} is blocked here")

sys.meta_path.insert(0, Blocker())
"""
CELLS = """
import anndata, numpy, pandas
import cytocar as cc
x = numpy.random.default_rng(0).normal(size=(60, 3)).astype("float32")
cells = anndata.AnnData(x, var=pandas.DataFrame(index=["CD3", "CD4", "CD8"]))
cells.uns["cytocar"] = {"state": "arcsinh"}
markers = ["CD3", "CD4", "CD8"]
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_licences", DOCS / "make_licences.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def asked_for(tmp_path: Path) -> Path:
    """Return the file that names each blocked module that was asked for."""
    return tmp_path / "asked_for.txt"


@pytest.fixture
def blocked(tmp_path: Path, asked_for: Path) -> Run:
    """Return how Python is run where none of the three can be imported."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKER)
    path = os.pathsep.join([str(site), *map(os.path.abspath, sys.path)])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "ASKED_FOR": str(asked_for), "COLUMNS": "400"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_page_of_licences_is_made_from_the_installed_packages(page: ModuleType) -> None:
    written = (DOCS / "licences.md").read_text(encoding="utf-8")
    assert written == page.page(), "run: python docs/make_licences.py"


def test_igraph_and_leidenalg_are_all_that_is_under_a_gpl(page: ModuleType) -> None:
    notes = page.needed()
    assert {name for name in notes if page.licence(name) == "GPL"} == {"igraph", "leidenalg"}
    others = {
        name: page.licence(name) for name in {*notes, *page.brought(list(notes))} - {"igraph", "leidenalg"}
    }
    # a licence of several parts names each
    wrong = {
        name: said
        for name, said in others.items()
        if not {part.split(" WITH ")[0] for part in said.replace(" OR ", " AND ").split(" AND ")}
        <= PERMISSIVE | {"0BSD", "Zlib", "CC0-1.0", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "MIT-CMU"}
    }
    assert not wrong


def test_the_blocker_blocks(blocked: Run, asked_for: Path) -> None:
    for name in ("igraph", "leidenalg", "phenograph"):
        assert f"ImportError: {name} is blocked here" in blocked("-c", f"import {name}").stderr
    assert asked_for.read_text().split() == ["igraph", "leidenalg", "phenograph"]


@pytest.mark.slow
def test_a_whole_study_never_asks_for_them(blocked: Run, asked_for: Path, tmp_path: Path) -> None:
    datasets.write_legend2(tmp_path / "study", cells=3000, seed=0)
    with (tmp_path / "study" / "study.yaml").open("a") as stream:
        stream.write("clustering: {method: both, stability: false}\n")
    for arguments in (
        ["-c", "import cytocar as cc; [getattr(cc, name) for name in dir(cc)]"],
        ["-m", "cytocar", "--help"],
        ["-m", "cytocar", "check", "study"],
        ["-m", "cytocar", "run", "study", "-o", "results"],
        ["-m", "cytocar", "report", "results"],
    ):
        done = blocked(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    labels = (tmp_path / "results" / "tables" / "clusters.csv").read_text()
    assert "phenograph" in labels
    assert "flowsom" in labels
    assert (tmp_path / "results" / "report.html").stat().st_size > 0
    assert not asked_for.exists(), asked_for.read_text()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "cc.tl.phenograph(cells, markers=markers, engine='phenograph')",
            "engine is 'phenograph', and that package cannot be imported: phenograph is blocked here; install it",
        ),
        (
            "cc.tl.leiden(cells, markers=markers)",
            "Leiden needs the package igraph, which cannot be imported: igraph is blocked here; install it",
        ),
    ],
)
def test_what_needs_them_says_so(blocked: Run, call: str, message: str) -> None:
    done = blocked("-c", f"{CELLS}{call}")
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_a_study_that_needs_them_is_refused_before_it_is_run(blocked: Run, tmp_path: Path) -> None:
    datasets.write_legend2(tmp_path / "study", cells=500, seed=0)
    with (tmp_path / "study" / "study.yaml").open("a") as stream:
        stream.write("clustering: {method: leiden}\n")
    for arguments in (["check", "study"], ["run", "study", "-o", "results"]):
        done = blocked("-m", "cytocar", *arguments)
        assert done.returncode == 2
        assert "Leiden needs the package igraph" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()
