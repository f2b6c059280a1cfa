"""The panels that come with cytocar: CSV files in the folder `panels`."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def _folder() -> Path:
    """Return the folder of the panels: inside the installed package, or at the top of the source tree."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "panels"
    return installed if installed.is_dir() else package.parents[1] / "panels"


def builtin_names() -> list[str]:
    """Return the names of the panels that come with cytocar.

    Examples
    --------
    >>> "legend2" in builtin_names()
    True
    """
    return sorted(path.stem for path in _folder().glob("*.csv"))


def builtin_path(name: str) -> Path:
    """Return the file of a panel that comes with cytocar."""
    return _folder() / f"{name}.csv"
