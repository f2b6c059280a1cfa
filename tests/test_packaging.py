"""What is promised about packages: one list, the same everywhere."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
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


# Imported where they happen to be there only, and said so: tests beside them are skipped with a reason otherwise, and
# igraph and leidenalg come with phenograph.
ASKED_FOR = {"flowkit", "igraph", "leidenalg"}


def imported_modules(folder: Path) -> dict[str, str]:
    """Return the top-level modules that the files of a folder import anywhere, each with one file that does."""
    modules: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            elif (
                isinstance(node, ast.Call)
                and ast.unparse(node.func).endswith("import_module")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                names = [str(node.args[0].value)]
            for name in names:
                modules.setdefault(name.split(".")[0], str(path.relative_to(ROOT)))
    return modules


def distributions_of(modules: dict[str, str]) -> dict[str, set[str]]:
    """Return the installed distributions that give each module that is neither Python's nor cytocar's."""
    given = packages_distributions()
    others = [name for name in modules if name not in sys.stdlib_module_names and name != "cytocar"]
    return {name: {d.casefold().replace("_", "-") for d in given.get(name, [])} for name in others}


def declared(*extras: str) -> set[str]:
    entries = list(PROJECT["dependencies"])
    for extra in extras:
        entries += PROJECT["optional-dependencies"][extra]
    return {split(entry)[0].replace("_", "-") for entry in entries}


def test_every_declared_dependency_is_imported():
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    given = set().union(*distributions_of(imported_modules(ROOT / "src")).values())
    idle = declared() - given
    assert not {name for name in idle if f"import {name.replace('-', '_')}" not in text}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("src", ()), ("workflows", ()), ("tests", ("test",)), ("docs", ("docs",))],
)
def test_every_import_is_declared(folder: str, extras: tuple[str, ...]):
    modules = imported_modules(ROOT / folder)
    allowed = declared(*extras)
    local = {path.stem for path in (ROOT / folder).rglob("*.py")}
    undeclared = {
        name: modules[name]
        for name, sources in distributions_of(modules).items()
        if not sources & allowed and name not in local and name not in ASKED_FOR
    }
    assert not undeclared
