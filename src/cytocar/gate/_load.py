"""Strategies that come with cytocar, and strategies from files."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from cytocar._core.errors import GateError, did_you_mean
from cytocar.gate._tree import GateTree

_ALIASES = {"off": "cells"}


def strategy_names() -> tuple[str, ...]:
    """Return the names of the strategies that come with cytocar.

    Examples
    --------
    >>> strategy_names()
    ('car_t', 'cells')
    """
    folder = resources.files("cytocar.gate") / "strategies"
    return tuple(sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".yaml")))


def load(strategy: str | os.PathLike[str]) -> GateTree:
    """Read a gating strategy: the name of one that comes with cytocar, or the path of a YAML file.

    Parameters
    ----------
    strategy
        ``"car_t"``, ``"cells"`` (or ``"off"``: all cells, no gates), or a path that ends in .yaml or .yml.

    Raises
    ------
    GateError
        There is no such strategy or file, or it does not hold together; all problems are listed.

    Examples
    --------
    >>> load("car_t").denominator
    'CD45+'
    """
    name = os.fspath(strategy)
    path = Path(name)
    if path.suffix.lower() in (".yaml", ".yml") or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise GateError(f"the gating strategy {name} cannot be read: {error}") from error
        try:
            return GateTree.from_yaml(text)
        except GateError as error:
            raise GateError(f"{name}: {error}") from error
    known = strategy_names()
    builtin = _ALIASES.get(name, name)
    if builtin not in known:
        raise GateError(
            f"there is no gating strategy {name!r}, neither with cytocar nor as a file; "
            f"{did_you_mean(name, [*known, *_ALIASES])}"
        )
    file = resources.files("cytocar.gate") / "strategies" / f"{builtin}.yaml"
    return GateTree.from_yaml(file.read_text(encoding="utf-8"))


def car_t() -> GateTree:
    """Return the strategy for CAR-T cells stained by an anti-VHH antibody, and host T cells.

    The path is that of Xu et al. 2024 (doi 10.1186/s13045-024-01530-z): CD45+ CD11b- CD11c- CD66b- CD19- CD14- CD7+
    CD3+, then VHH+ (CAR-T) or VHH- (host), each divided into CD4, CD8, DN and DP.

    Examples
    --------
    >>> car_t().compartments["car"]
    'CAR-T'
    """
    return load("car_t")
