"""What is promised about packages: one list, the same everywhere."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions, requires
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


# Imported without being declared: FlowKit and what comes with it are oracles of some tests, which are skipped without
# them; igraph and leidenalg come with phenograph (a test below says so).
ASKED_FOR = {"flowkit", "flowutils", "lxml", "igraph", "leidenalg"}
# In the extras without being imported: plugins and programs that are called by name, stubs that mypy reads, and
# pynndescent, which is there for its upper bound.
CALLED = {"pytest-cov", "pytest-xdist", "ruff", "mypy", "types-pyyaml", "pandas-stubs", "pynndescent"}
CALLS_THAT_IMPORT = ("import_module", "importorskip", "find_spec")


def text_of(node: ast.AST) -> str:
    """Return what a string says, with 0 where an f-string has a value."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else "0" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def imports_of(source: str) -> set[str]:
    """Return the top-level modules that a program imports anywhere, also in programs that it holds as text."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(CALLS_THAT_IMPORT) and node.args:
            if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                modules.add(node.args[0].value.split(".")[0])
        elif (text := text_of(node)) and "import " in text:
            try:
                modules |= imports_of(textwrap.dedent(text))
            except SyntaxError:
                continue  # prose
    return modules


def imported_modules(folder: Path) -> dict[str, str]:
    """Return the modules that the files of a folder import, each with one file that does."""
    modules: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        for name in imports_of(path.read_text(encoding="utf-8")):
            modules.setdefault(name, str(path.relative_to(ROOT)))
    return modules


def distributions_of(modules: Iterable[str]) -> dict[str, set[str]]:
    """Return the distributions that give each module that is neither Python's nor cytocar's.

    What is not installed is taken for a distribution of the name of its module.
    """
    given = packages_distributions()
    others = [name for name in modules if name not in sys.stdlib_module_names and name != "cytocar"]
    return {name: {d.casefold().replace("_", "-") for d in given.get(name, [name])} for name in others}


def names(entries: list[str]) -> set[str]:
    return {split(entry)[0].replace("_", "-") for entry in entries}


def declared(*extras: str) -> set[str]:
    return names(PROJECT["dependencies"]).union(*(names(PROJECT["optional-dependencies"][e]) for e in extras))


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    import scanpy.tools as t",
        "def f():\n    from scanpy.pp import neighbors",
        "import importlib\nimportlib.import_module('scanpy.pl')",
        "PROGRAM = f'''\nimport scanpy\nsys.exit({code})\n'''",
        "pytest.importorskip('scanpy')",
        "PROGRAM = '''\nimport scanpy\nscanpy.tl.leiden\n'''",
    ],
)
def test_an_import_is_seen_wherever_it_is(source: str):
    assert "scanpy" in imports_of(source)


def test_a_name_in_prose_or_in_a_list_is_not_an_import():
    assert not imports_of(
        "# import scanpy\nNAMES = ('scanpy',)\nTEXT = 'import scanpy to go on'\nversion('scanpy')"
    )


def test_every_declared_dependency_is_imported():
    given = set().union(*distributions_of(imported_modules(ROOT / "src")).values())
    assert not declared() - given


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("src", ("xlsx",)), ("workflows", ()), ("tests", ("test",)), ("docs", ("docs",))],
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


def test_everything_in_the_extras_is_used():
    tests = set().union(*distributions_of(imported_modules(ROOT / "tests")).values())
    settings = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8").replace("_", "-")
    docs = set().union(*distributions_of(imported_modules(ROOT / "docs")).values())
    docs |= {name for name in ("sphinx", "myst-nb", "furo") if f'"{name}' in settings}
    extras = PROJECT["optional-dependencies"]
    assert not names(extras["xlsx"]) - set().union(*distributions_of(imported_modules(ROOT / "src")).values())
    assert not names(extras["test"]) - tests - CALLED
    assert not names(extras["lint"]) - CALLED
    assert not names(extras["docs"]) - docs


def test_igraph_and_leidenalg_come_with_phenograph():
    assert "leidenalg" in {split(entry)[0] for entry in requires("phenograph") or []}
    assert "igraph" in {split(entry)[0] for entry in requires("leidenalg") or []}
