"""What users set in scanpy is respected, and scanpy is never imported for it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import cytocar as cc
from cytocar._core import checks, scanpy_settings

FUNCTIONS = [
    cc.tl.phenograph, cc.tl.leiden, cc.tl.flowsom, cc.tl.flowsom_map, cc.tl.tsne, cc.tl.umap, cc.tl.map_quality,
    cc.tl.stability, cc.tl.make_reference, cc.tl.map_to_reference, cc.pp.compensate, cc.pp.compensate_files,
]  # fmt: skip


@pytest.fixture
def kept() -> Iterator[Any]:
    """Return scanpy's settings, which are as before afterwards."""
    import scanpy as sc

    before = sc.settings.n_jobs, sc.settings.figdir
    yield sc.settings
    sc.settings.n_jobs, sc.settings.figdir = before


def test_every_public_n_jobs_is_none_by_default() -> None:
    found = {
        f"{floor.__name__}.{name}": inspect.signature(function).parameters["n_jobs"].default
        for floor in (cc.io, cc.pp, cc.gate, cc.tl, cc.pl)
        for name in floor.__all__
        if inspect.isfunction(function := getattr(floor, name))
        and "n_jobs" in inspect.signature(function).parameters
    }
    assert len(found) == len(FUNCTIONS)
    assert set(found.values()) == {None}


def test_without_a_number_scanpy_says_how_many_threads(monkeypatch: pytest.MonkeyPatch, kept: Any) -> None:
    kept.n_jobs = 3
    assert checks.n_threads(None) == 3
    assert checks.n_threads(2) == 2
    kept.n_jobs = -1
    assert checks.n_threads(None) == checks.n_threads(-1)
    monkeypatch.delitem(sys.modules, "scanpy")
    assert checks.n_threads(None) == 1


def test_the_search_takes_the_threads_that_scanpy_is_set_to(
    monkeypatch: pytest.MonkeyPatch, kept: Any
) -> None:
    from cytocar.tl import _neighbours

    asked = []
    whole = _neighbours.search
    monkeypatch.setattr(_neighbours, "search", lambda *a, **b: asked.append(b["n_jobs"]) or whole(*a, **b))
    x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    cells = ad.AnnData(x, var=pd.DataFrame({"used_for_clustering": True}, index=["CD3", "CD4", "CD8"]))
    cells.uns["cytocar"] = {"state": "arcsinh"}
    kept.n_jobs = 2
    cc.tl.phenograph(cells)
    cc.tl.leiden(cells, n_jobs=1)
    assert asked == [2, 1]


def test_a_bare_name_goes_to_the_folder_that_was_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: Any
) -> None:
    import matplotlib.pyplot as plt

    figure = plt.figure()
    monkeypatch.chdir(tmp_path)
    kept.figdir = scanpy_settings.USUAL_FIGDIR
    assert cc.pl.save(figure, "plain") == (Path("plain.png"), Path("plain.svg"))
    kept.figdir = tmp_path / "mine" / "figures"
    assert cc.pl.save(figure, "bare.png")[0] == tmp_path / "mine" / "figures" / "bare.png"
    (tmp_path / "own").mkdir()
    assert cc.pl.save(figure, "own/named")[0] == Path("own/named.png")
    assert cc.pl.save(figure, tmp_path / "whole")[0] == tmp_path / "whole.png"
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == [
        "bare.png", "named.png", "plain.png", "whole.png",
    ]  # fmt: skip
    plt.close(figure)


def test_the_usual_folder_is_that_of_scanpy() -> None:
    program = "import scanpy; print(scanpy.settings.figdir, scanpy.settings.n_jobs)"
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [str(scanpy_settings.USUAL_FIGDIR), "1"]


def test_nothing_imports_scanpy_to_read_its_settings() -> None:
    program = (
        "import sys, numpy, anndata, pandas, cytocar as cc\n"
        "x = numpy.random.default_rng(0).normal(size=(60, 3)).astype('float32')\n"
        "cells = anndata.AnnData(x, var=pandas.DataFrame({'used_for_clustering': True}, index=['CD3', 'CD4', 'CD8']))\n"
        "cells.uns['cytocar'] = {'state': 'arcsinh'}\n"
        "cc.tl.phenograph(cells)\n"
        "print([name for name in ('scanpy', 'igraph', 'leidenalg') if name in sys.modules])\n"
    )
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"
