"""The functions of a whole study are found under the names that people type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cytocar as cc
from cytocar.panel import Panel


@pytest.mark.parametrize(
    "name", ["run", "check", "init", "gate_against", "gate_files", "CheckResult", "RunSummary"]
)
def test_a_public_name_of_study_is_the_thing_and_no_module(name):
    thing = getattr(cc.study, name)
    assert callable(thing)
    assert thing.__name__ == name
    assert name in cc.study.__all__
    assert name in dir(cc.study)


def test_the_import_that_the_docstring_of_run_shows_works(tmp_path: Path) -> None:
    from cytocar.study import check, run

    assert [problem.what for problem in check(tmp_path / "none").problems] == [
        "there is no such file or folder"
    ]
    with pytest.raises(cc.StudyError, match="there is no such file or folder"):
        run(tmp_path / "none", tmp_path / "out")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'runn'"):
        _ = cc.study.runn


def test_the_panel_stands_at_the_top():
    assert cc.Panel is Panel
    assert {"Panel", "study"} <= set(dir(cc))


def test_finding_the_names_loads_no_heavy_package():
    heavy = {"matplotlib", "numba", "scanpy"}
    code = f"import sys, cytocar as cc; cc.study.run, cc.Panel; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
