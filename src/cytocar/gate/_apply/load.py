"""Strategies that come with cytocar, and strategies from files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from cytocar._core.errors import GateError, ParameterError, did_you_mean
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._documents.shape_strategy import ShapeStrategy
from cytocar.gate._strategy.tree import GateTree

if TYPE_CHECKING:
    from cytocar.gate._strategy.strategy import Strategy

_ALIASES = {"off": "cells"}
WORKSPACE = ".wsp"
DOCUMENTS = (".xml", WORKSPACE)
"""Endings of files with gates of other programs."""
_BEFORE_ROOT = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)


def strategy_names() -> tuple[str, ...]:
    """Return the names of the strategies that come with cytocar.

    Examples
    --------
    >>> strategy_names()
    ('car_t', 'cells')
    """
    folder = resources.files("cytocar.gate") / "strategies"
    return tuple(sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".yaml")))


def as_strategy(given: Strategy | GatingDocument | str | os.PathLike[str]) -> Strategy:
    """Return a document, a file, or the name of a strategy as a strategy; a strategy as it is."""
    if isinstance(given, str | os.PathLike):
        return load(given)
    if isinstance(given, GatingDocument):
        return ShapeStrategy(given)
    if not hasattr(given, "as_thresholds"):
        raise ParameterError(
            f"strategy is {given!r}", fix="it must be a strategy, the name of one such as 'car_t', or a file"
        )
    return given


def load(
    strategy: str | os.PathLike[str],
    *,
    car: str = "",
    host: str = "",
    cd45: str = "",
    subsets: Mapping[str, str] | None = None,
    group: str | None = None,
) -> GateTree | ShapeStrategy:
    """Read a gating strategy: the name of one that comes with cytocar, a YAML file, or gates of another program.

    Parameters
    ----------
    strategy
        ``"car_t"``, ``"cells"`` (or ``"off"``: all cells, no gates), a path that ends in .yaml or .yml, Gating-ML 2.0
        (.xml, also of Cytobank or of a run of cytocar), or a FlowJo workspace (.wsp).
    car, host, cd45, subsets
        For gates of another program, which populations these are: see `ShapeStrategy`.
    group
        For a FlowJo workspace, the group whose samples are read.

    Returns
    -------
    `GateTree`; `ShapeStrategy` for gates of another program.

    Raises
    ------
    GateError
        There is no such strategy or file, or it does not hold together; all problems are listed.
    ParameterError
        The workspace has no such group.

    Examples
    --------
    >>> load("car_t").denominator
    'CD45+'
    """
    name = os.fspath(strategy)
    path = Path(name)
    roles = {"car": car, "host": host, "cd45": cd45, "subsets": subsets, "group": group}
    if path.suffix.lower() in DOCUMENTS:
        return _document(path, car=car, host=host, cd45=cd45, subsets=subsets, group=group)
    named = [role for role, value in roles.items() if value]
    if named:
        raise GateError(
            f"{named[0]} is stated for the gating {name}, which says itself what its populations are",
            fix=f"it is for files of other programs ({', '.join(DOCUMENTS)})",
        )
    if path.suffix.lower() in (".yaml", ".yml") or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise GateError(f"the gating strategy cannot be read: {error.strerror}", where=name) from error
        except UnicodeDecodeError as error:
            raise GateError(
                "the gating strategy is not UTF-8 text", where=name, fix="save it as UTF-8"
            ) from error
        try:
            return GateTree.from_yaml(text)
        except GateError as error:
            raise error.within(name) from error
    return _builtin(name)


def _document(
    path: Path, *, car: str, host: str, cd45: str, subsets: Mapping[str, str] | None, group: str | None
) -> ShapeStrategy:
    from cytocar.gate._exchange.flowjo_read import read_flowjo
    from cytocar.gate._exchange.gatingml_read import read_gatingml

    workspace = path.suffix.lower() == WORKSPACE or _is_workspace(path)
    if group and not workspace:
        raise GateError(
            f"group is {group!r}, but {path.name} is no FlowJo workspace", fix="only those have groups"
        )
    try:
        document = read_flowjo(path, group=group or None) if workspace else read_gatingml(path)
    except OSError as error:
        raise GateError(f"the gates cannot be read: {error.strerror}", where=str(path)) from error
    if not document.populations:
        raise GateError(f"{path.name} holds no gates", fix="without gates write 'gating: off'")
    try:
        return ShapeStrategy(
            document, name=path.stem, car=car, host=host, cd45=cd45, subsets_named=subsets or None
        )
    except GateError as error:
        raise error.within(path.name) from None


def _is_workspace(path: Path) -> bool:
    """Return whether a file begins with the root of a FlowJo workspace, whatever it is called (FlowJo exports .xml)."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(4096)
    except OSError:
        return False
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    while match := _BEFORE_ROOT.match(text):
        text = text[match.end() :]
    return re.match(r"<Workspace[\s>]", text) is not None


def _builtin(name: str) -> GateTree:
    known = strategy_names()
    builtin = _ALIASES.get(name, name)
    if builtin not in known:
        raise GateError(
            f"there is no gating strategy {name!r}, neither with cytocar nor as a file",
            fix=did_you_mean(name, [*known, *_ALIASES]),
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
    return _builtin("car_t")
