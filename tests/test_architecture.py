"""The rules of the house, as tests: imports go down only, and importing cytocar is light."""

from __future__ import annotations

import ast
import graphlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cytocar

SOURCE = Path(cytocar.__file__).parent
FLOORS = {
    "_core": 0,
    "panel": 1,
    "io": 2,
    "datasets": 3,
    "pp": 3,
    "gate": 3,
    "tl": 4,
    "get": 2,
    "pl": 5,
    "report": 6,
    "study": 7,
    "cli": 8,
    "__init__": 9,
    "__main__": 9,
}


def room(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            parts = node.module.split(".")
            if parts[0] == "cytocar":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "cytocar" and len(parts) > 1:
                    found.add(parts[1])
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_to_a_lower_floor_or_stay_in_the_room(path: Path) -> None:
    own = room(path)
    for other in imports(path) - {own, "__version__"}:
        if other not in FLOORS:
            pytest.fail(f"{path.name} imports cytocar.{other}, which is on no floor")
        assert FLOORS[other] < FLOORS[own], (
            f"{own} (floor {FLOORS[own]}) imports {other} (floor {FLOORS[other]})"
        )


@pytest.mark.parametrize("statement", ["import cytocar", "import cytocar.cli"])
def test_importing_is_light(statement: str) -> None:
    heavy = [
        "anndata",
        "matplotlib",
        "numba",
        "openTSNE",
        "pandas",
        "scanpy",
        "scipy",
        "sklearn",
        "umap",
    ]
    code = f"{statement}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def public_functions() -> list[tuple[str, object]]:
    found = []
    for namespace in ("datasets", "gate", "get", "io", "pl", "pp", "tl"):
        module = getattr(cytocar, namespace)
        for name in module.__all__:
            item = getattr(module, name)
            if inspect.isfunction(item):
                found.append((f"{namespace}.{name}", item))
    return found


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
    assert ">>>" in doc or "Examples" in doc, f"{name} needs an example"


def parts_of(floor: str) -> dict[str, set[str]]:
    """Return which rooms and modules of a floor each of its rooms and modules imports while it runs."""
    found: dict[str, set[str]] = {}
    for path in (SOURCE / floor).rglob("*.py"):
        parts = path.relative_to(SOURCE / floor).parts
        own = parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"cytocar.{floor}"):
                below = (node.module or "").split(".")[2:]
                names = below[:1] or [alias.name for alias in node.names]
                found.setdefault(own, set()).update(name for name in names if name.startswith("_"))
    return {own: others - {own} for own, others in found.items()}


def test_rooms_of_the_analysis_do_not_need_each_other_in_circles() -> None:
    order = list(graphlib.TopologicalSorter(parts_of("tl")).static_order())
    assert order.index("_neighbours") < order.index("_clusters")
