"""The rules of the house, as tests: imports go down only and never in circles, and importing cytocar is light."""

from __future__ import annotations

import ast
import functools
import graphlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cytocar

SOURCE = Path(cytocar.__file__).parent
FLOORS = {
    "_core": 0,
    "panel": 1,
    "io": 2,
    "get": 2,
    "datasets": 3,
    "pp": 3,
    "gate": 3,
    "tl": 4,
    "pl": 5,
    "report": 6,
    "study": 7,
    "cli": 8,
    "__init__": 9,
    "__main__": 9,
}
SECTIONS = (
    "Parameters",
    "Returns",
    "Yields",
    "Raises",
    "Notes",
    "References",
    "Examples",
    "See Also",
    "Attributes",
)


def module_of(path: Path) -> str:
    dotted = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@functools.cache
def syntax_tree(module: str) -> ast.Module:
    """Return the syntax tree of a file; many tests read each of them."""
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def _imports(module: str, *, for_types_too: bool) -> Iterator[tuple[str, str]]:
    """Give (module, name) of every import of cytocar in a file, those in functions too."""
    tree = syntax_tree(module)
    for_types = (
        set()
        if for_types_too
        else {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
            for node in ast.walk(block)
        }
    )
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import in line {node.lineno}"
            if (node.module or "").split(".")[0] == "cytocar":
                yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "cytocar")


@functools.cache
def all_imports(module: str, *, for_types_too: bool = True) -> tuple[tuple[str, str], ...]:
    """Return (module, name) of every import of cytocar in a file, those in functions too."""
    return tuple(_imports(module, for_types_too=for_types_too))


def running_imports(module: str) -> tuple[tuple[str, str], ...]:
    """Return the imports of a file without those that are for types only."""
    return all_imports(module, for_types_too=False)


def file_imported(module: str, name: str) -> str:
    """Return the file that an import runs: a module below the package, or the package itself."""
    return f"{module}.{name}" if f"{module}.{name}" in FILES else module


@pytest.mark.parametrize("module", FILES)
def test_imports_go_to_a_lower_floor_or_stay_in_the_room(module: str) -> None:
    own = room(module)
    for imported, name in running_imports(module):
        other = room(file_imported(imported, name))
        if other == own or (imported == "cytocar" and name == "__version__"):
            continue
        assert other in FLOORS, f"{module} imports cytocar.{other}, which is on no floor"
        assert FLOORS[other] < FLOORS[own], (
            f"{module} (floor {FLOORS[own]}) imports {other} (floor {FLOORS[other]})"
        )


def test_no_files_import_each_other_in_a_circle() -> None:
    """One graph over all files, with what is imported in functions and for types; names of a namespace excepted."""
    graph = {
        module: {
            file_imported(imported, name)
            for imported, name in all_imports(module)
            if FILES[file_imported(imported, name)].name != "__init__.py"
        }
        - {module}
        for module in FILES
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("circle of files: " + " -> ".join(error.args[1]))


# What was applied is written as Gating-ML, and Gating-ML is how an AnnData keeps the shapes that were applied.
MUTUAL_ROOMS = {("_exchange", "_results")}


def test_rooms_of_a_floor_do_not_need_each_other_in_circles() -> None:
    for floor in ("gate", "tl", "pl", "study", "io", "pp"):
        graph: dict[str, set[str]] = {}
        for module in FILES:
            if room(module) != floor or module.count(".") < 2:
                continue
            own = module.split(".")[2]
            for imported, name in running_imports(module):
                target = file_imported(imported, name).split(".")
                if (
                    len(target) > 2
                    and target[1] == floor
                    and (own, target[2]) not in MUTUAL_ROOMS | {(own, own)}
                ):
                    graph.setdefault(own, set()).add(target[2])
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            pytest.fail(f"circle of rooms in {floor}: " + " -> ".join(error.args[1]))


def test_no_private_name_is_imported_from_another_file() -> None:
    wrong = [
        f"{module} imports {name} from {imported}"
        for module in FILES
        for imported, name in all_imports(module)
        if name.startswith("_")
        and not name.startswith("__")
        and f"{imported}.{name}" not in FILES
        and not (FILES[imported].parent / name).is_dir()
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in FLOORS if not name.startswith("__")])
def test_docstrings_tell_the_floor_of_the_rule(name: str) -> None:
    path = SOURCE / name / "__init__.py"
    path = path if path.exists() else SOURCE / f"{name}.py"
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert doc.startswith(f"Floor {FLOORS[name]}: "), f"{name}: {doc.splitlines()[0]}"


def test_architecture_page_draws_the_floors_of_the_rule() -> None:
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = {
        name: int(number)
        for number, names in re.findall(r"^floor (\d)  ((?:[\w]+ {1,4})+) ", page, flags=re.MULTILINE)
        for name in names.split()
    }
    rule = {name: floor for name, floor in FLOORS.items() if not name.startswith("__")}
    assert {name: drawn.get(name) for name in rule} == rule


def test_paths_that_the_architecture_page_names_are_there() -> None:
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)+[\w*]+\.(?:py|yaml|csv|j2|css))`", page)
    assert len(named) > 10
    for path in named:
        assert list(SOURCE.glob(path)) or list(SOURCE.parents[1].glob(path)), f"{path} is not there"


@pytest.mark.parametrize("statement", ["import cytocar", "import cytocar.cli"])
def test_importing_is_light(statement: str) -> None:
    heavy = ["anndata", "matplotlib", "numba", "openTSNE", "pandas", "scanpy", "scipy", "sklearn", "umap"]
    code = f"{statement}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def public_functions() -> list[tuple[str, object]]:
    functions = []
    for namespace in ("datasets", "gate", "get", "io", "pl", "pp", "tl"):
        module = getattr(cytocar, namespace)
        for name in module.__all__:
            item = getattr(module, name)
            if inspect.isfunction(item):
                functions.append((f"{namespace}.{name}", item))
    return functions


@pytest.mark.parametrize(
    ("name", "function"), public_functions(), ids=[name for name, _ in public_functions()]
)
def test_public_functions_keep_the_conventions(name: str, function: object) -> None:
    signature = inspect.signature(function)  # type: ignore[arg-type]  # functions only, by public_functions
    positional = [p for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 4, (
        f"{name} takes {len(positional)} positional arguments; make the rest keyword-only"
    )
    if "copy" in signature.parameters:
        assert signature.parameters["copy"].kind is inspect.Parameter.KEYWORD_ONLY
        assert signature.parameters["copy"].default is False
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, (
            f"{name}({parameter.name}) has no annotation"
        )
    assert signature.return_annotation is not inspect.Signature.empty
    doc = inspect.getdoc(function) or ""
    refers = re.search(r"see `(\w+)`\.$", doc)
    if refers:
        # A second name for a function refers to the first, which tells everything.
        assert hasattr(getattr(cytocar, name.split(".")[0]), refers[1])
        return
    assert len(doc.splitlines()) > 3, f"{name} needs a docstring that tells what it does, takes and gives"
    for parameter in signature.parameters:
        assert parameter in doc, f"the docstring of {name} does not tell about {parameter!r}"
    assert ">>>" in doc, f"{name} needs an example"


def sections(doc: str) -> dict[str, list[str]]:
    """Return heading to lines of a docstring in numpy's form; raise where a heading is not underlined as it should."""
    lines = doc.splitlines()
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if line in SECTIONS:
            assert below == "-" * len(line), (
                f"{line!r} is not underlined by {len(line)} hyphens but by {below!r}"
            )
            assert line not in found, f"{line!r} stands twice"
            current = found.setdefault(line, [])
        elif re.fullmatch(r"-{3,}", line):
            assert lines[number - 1] in SECTIONS, f"{lines[number - 1]!r} is not a section"
        else:
            current.append(line)
    return found


@pytest.mark.parametrize("module", FILES)
def test_sections_of_docstrings_are_well_formed_and_name_arguments_that_exist(module: str) -> None:
    for node in ast.walk(syntax_tree(module)):
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or not ast.get_docstring(node):
            continue
        try:
            parsed = sections(ast.get_docstring(node) or "")
        except AssertionError as error:
            pytest.fail(f"{module}:{node.lineno} {node.name}: {error}")
        if isinstance(node, ast.ClassDef) or "Parameters" not in parsed:
            continue
        every = [
            *node.args.posonlyargs,
            *node.args.args,
            *node.args.kwonlyargs,
            node.args.vararg,
            node.args.kwarg,
        ]
        names = {argument.arg for argument in every if argument}
        headings = [line for line in parsed["Parameters"] if line and not line.startswith(" ")]
        told = {name.strip("*` ") for line in headings for name in line.split(" : ")[0].split(",")}
        assert told <= names, f"{module}:{node.lineno} {node.name} tells about {sorted(told - names)}"
