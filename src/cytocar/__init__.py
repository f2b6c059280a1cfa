"""cytocar: mass cytometry of CAR-T cells, from raw FCS files to a report.

The name spaces follow the scverse: `io`, `pp`, `gate`, `tl`, `pl`, `get`, `datasets`; `study` runs a whole
study. They are imported when they are first used, so that ``import cytocar`` and ``cytocar --help`` stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cytocar._core.errors import (
    CytocarError,
    FcsError,
    GateError,
    PanelError,
    ParameterError,
    StateError,
    StudyError,
)
from cytocar._core.version import __version__

if TYPE_CHECKING:
    from cytocar import datasets, gate, get, io, pl, pp, study, tl
    from cytocar.panel import Panel

_NAMESPACES = ("datasets", "gate", "get", "io", "pl", "pp", "study", "tl")

__all__ = [
    "CytocarError",
    "FcsError",
    "GateError",
    "Panel",
    "PanelError",
    "ParameterError",
    "StateError",
    "StudyError",
    "__version__",
    "datasets",
    "gate",
    "get",
    "io",
    "pl",
    "pp",
    "study",
    "tl",
]


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return importlib.import_module(f"cytocar.{name}")
    if name == "Panel":
        return importlib.import_module("cytocar.panel").Panel
    raise AttributeError(f"module 'cytocar' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
