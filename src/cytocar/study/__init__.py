"""Floor 7: a study from its folder to its results: scaffold it, check it, run it.

The functions are imported when they are first used, so that the command line stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cytocar.study._check.check import CheckResult, check
    from cytocar.study._run.gate_against import gate_against
    from cytocar.study._run.gate_files import gate_files
    from cytocar.study._run.run import RunSummary, run
    from cytocar.study._scaffold.init import init

__all__ = ["CheckResult", "RunSummary", "check", "gate_against", "gate_files", "init", "run"]

_HOME = {
    "CheckResult": "_check.check",
    "RunSummary": "_run.run",
    "check": "_check.check",
    "gate_against": "_run.gate_against",
    "gate_files": "_run.gate_files",
    "init": "_scaffold.init",
    "run": "_run.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
