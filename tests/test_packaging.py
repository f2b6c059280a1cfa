"""What is promised about packages: one list, the same everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def split(requirement: str) -> tuple[str, str]:
    name, bounds = re.match(r"([A-Za-z0-9_.-]+)\s*(.*)", requirement).groups()
    return name.casefold(), bounds.replace(" ", "")


def test_environment_yml_says_what_pyproject_says():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    conda = dict(split(entry) for entry in entries if isinstance(entry, str))
    [from_pip] = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    conda |= dict(split(entry) for entry in from_pip if not entry.startswith("-e"))
    assert conda.pop("python") == PROJECT["requires-python"].replace(" ", "")
    conda.pop("pip")
    assert conda == dict(split(entry) for entry in PROJECT["dependencies"])


def test_every_dependency_is_pinned_in_the_constraints():
    pinned = {
        line.split("==")[0].casefold().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    extras = [entry for group in PROJECT["optional-dependencies"].values() for entry in group]
    for requirement in [*PROJECT["dependencies"], *extras]:
        assert split(requirement)[0].replace("_", "-") in pinned, requirement


@pytest.mark.parametrize(
    "name", ["scanpy", "anndata", "flowio", "phenograph", "scikit-learn", "umap-learn", "matplotlib"]
)
def test_the_chosen_packages_are_dependencies(name):
    assert name in {split(entry)[0] for entry in PROJECT["dependencies"]}


def test_what_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", text, flags=re.MULTILINE):
        assert f"\n{target}:" in makefile
    for path in re.findall(r"\]\((docs/[^)]+)\)", text):
        target = ROOT / path
        assert target.exists() or path == "docs/", path
