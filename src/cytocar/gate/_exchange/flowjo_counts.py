"""The counts that FlowJo keeps in a workspace: events of each sample and of each of its populations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote

from cytocar._core.errors import GateError, ParameterError, did_you_mean
from cytocar.gate._exchange.flowjo_gates import BOOLEANS, HELPER, SHAPES
from cytocar.gate._exchange.xml import Node, read_xml

_KINDS: Final = {shape: shape.removesuffix("Gate").casefold() for shape in SHAPES}


@dataclass(frozen=True)
class PopulationCount:
    """One population as the workspace has it.

    Parameters
    ----------
    gate
        ``rectangle``, ``polygon``, ``ellipsoid``; ``and``, ``or``, ``not`` of others; ``""`` for another gate.
    events
        Its count; None where FlowJo has not counted it.
    """

    gate: str
    events: int | None


@dataclass(frozen=True)
class SampleCounts:
    """One sample of a workspace.

    Parameters
    ----------
    name
        As FlowJo calls it.
    file
        Name of its FCS file, without the folder; ``""`` where there is none.
    events
        Events of the file; None where FlowJo has not counted them.
    populations
        Path (``A/B``) to count, in the order of the workspace.
    """

    name: str
    file: str
    events: int | None
    populations: Mapping[str, PopulationCount]

    def is_of(self, file: str) -> bool:
        """Return whether this is the sample of an FCS file of this name."""
        return file in (self.file, self.name) or file.rpartition(".")[0] == self.name


def read_flowjo_counts(path: str | os.PathLike[str], *, group: str | None = None) -> list[SampleCounts]:
    """Read the counts that FlowJo keeps with the gates of a workspace.

    Parameters
    ----------
    path
        The workspace (.wsp).
    group
        Name of a group: only its samples are read.

    Returns
    -------
    The samples in the order of the workspace.

    Raises
    ------
    GateError
        The file is not a workspace, or holds no counts.
    ParameterError
        There is no such group.
    """
    root = read_xml(path, what="FlowJo workspace")
    if root.name != "Workspace":
        root.fail(f"the root is <{root.name}>", fix="expected <Workspace> of FlowJo 10")
    members = None if group is None else _members(root, group)
    samples = [
        _counts(node)
        for node in root.one("SampleList").all("Sample")
        if members is None or node.one("SampleNode").attributes.get("sampleID") in members
    ]
    if not any(of.events is not None for sample in samples for of in sample.populations.values()):
        raise GateError(
            "no population of it has a count",
            where=root.where,
            fix="open it in FlowJo with its FCS files, so that it counts, and save it",
        )
    return samples


def _members(root: Node, group: str) -> set[str]:
    """Return the ids of the samples of a group."""
    groups = {node.attribute("name"): node for node in root.one("Groups").all("GroupNode")}
    if group not in groups:
        raise ParameterError(f"group is {group!r}", fix=did_you_mean(group, groups))
    named = groups[group].find("Group")
    refs = named.find("SampleRefs") if named else None
    return {ref.attribute("sampleID") for ref in (refs.all("SampleRef") if refs else ())}


def _counts(node: Node) -> SampleCounts:
    inner, data = node.one("SampleNode"), node.find("DataSet")
    uri = unquote(data.attributes.get("uri", "")) if data else ""
    populations = {
        "/".join(names): PopulationCount(_kind(child), _count(child))
        for child, names in _below(inner, ())
        if child.attributes.get("annotation") != HELPER
    }
    file = PurePosixPath(uri.replace("\\", "/")).name
    return SampleCounts(inner.attribute("name"), file, _count(inner), populations)


def _below(node: Node, above: tuple[str, ...]) -> Iterator[tuple[Node, tuple[str, ...]]]:
    """Yield the populations below a node with their paths, helpers of our own workspaces left out of these."""
    for inside in node.all("Subpopulations"):
        for child in inside.children:
            if child.name not in BOOLEANS and child.name != "Population":
                continue
            helper = child.attributes.get("annotation") == HELPER
            path = above if helper else (*above, child.attribute("name"))
            yield child, path
            yield from _below(child, path)


def _kind(node: Node) -> str:
    gate = node.find("Gate")
    shapes = [_KINDS[child.name] for child in (gate.children if gate else ()) if child.name in _KINDS]
    return BOOLEANS.get(node.name) or (shapes[0] if shapes else "")


def _count(node: Node) -> int | None:
    """Return a count; FlowJo writes -1 where it has not counted."""
    number = node.optional_number("count") if node.attributes.get("count") else None
    return int(number) if number is not None and number >= 0 else None
