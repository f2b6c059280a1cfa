"""What users of scanpy have set there, read where scanpy is in use; nothing here imports it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

USUAL_FIGDIR: Final = Path("figures")
"""Where scanpy puts figures if nobody has said otherwise."""


def _settings() -> Any:
    """Return scanpy's settings, or None where scanpy is not imported, or not yet whole."""
    return getattr(sys.modules.get("scanpy"), "settings", None)


def n_jobs() -> int:
    """Return how many threads scanpy is set to use; 1 where scanpy is not in use."""
    return int(getattr(_settings(), "n_jobs", 1))


def figdir() -> Path | None:
    """Return the folder that scanpy is set to put figures into; None where nobody has set one."""
    folder = getattr(_settings(), "figdir", None)
    if folder is None or Path(folder) == USUAL_FIGDIR:
        return None
    return Path(folder)
