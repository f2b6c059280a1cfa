"""FlowJo workspaces to a `GatingDocument`."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import unquote, urlparse

from cytocar._core.errors import GateError, ParameterError, Problem, did_you_mean
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._exchange.flowjo_gates import (
    BOOLEANS,
    Axis,
    Compensation,
    GateReader,
    Names,
    Path,
    read_axis,
)
from cytocar.gate._exchange.xml import Node, read_xml
from cytocar.gate._shapes.shapes import Combination, Gate
from cytocar.gate._shapes.spillover import SpectrumMatrix

Gates = dict[Path, tuple[Gate, ...]]

_OLDEST = 10


def read_flowjo(
    path: str | os.PathLike[str], *, group: str | None = None, sample: str | None = None
) -> GatingDocument:
    """Read the gates of a FlowJo workspace (.wsp, FlowJo 10).

    FlowJo stores corners of gates as values of channels, and draws straight lines between them on the axes of each
    sample. So a gate is put on the scale of its sample: linear, log, biexponential, ArcSinh, Logicle or Hyperlog.
    A gate that the samples share, or that is a template of their group, is a gate of all files; where a sample has
    its own, or draws it on axes of its own, it has a version for that file. An ellipse stays an ellipse, and a polygon
    ends where it ends: events beyond the ends of the axes are not drawn to them. A linear axis is in values of the
    file times its gain (Time in seconds); without a gain Time is turned into ticks by ``$TIMESTEP``, else, when an FCS
    file is gated, by the time from ``$BTIM`` to ``$ETIM`` over its last tick. A lower edge of a rectangle at the bottom
    of a linear or biexponential axis is open, as FlowJo counts all events below it. A document type in the file is
    refused, and nothing outside the file is read.

    Parameters
    ----------
    path
        The workspace.
    group
        Name of a group: only its samples are read. None reads all samples that have gates.
    sample
        Name of a sample, or of its file: only its gates are read, as gates of all files.

    Returns
    -------
    GatingDocument. A population is named by its path, as in FlowJo.

    Raises
    ------
    GateError
        The file is not well-formed or no workspace of FlowJo 10, samples have different populations, or a gate cannot
        be read: the message has the line and what was expected.
    ParameterError
        There is no such group or sample.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cytocar.gate import Asinh, Dimension, GatingDocument, threshold_gate, write_flowjo
    >>> gates = [threshold_gate("T cells", Dimension("Yb170Di", transformation="asinh"), 1.5)]
    >>> document = GatingDocument(gates, transformations={"asinh": Asinh.of_cofactor(5)})
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gates.wsp"
    >>> notes = write_flowjo(document, path, files=["a.fcs"])
    >>> print(read_flowjo(path))
    T cells
    """
    root = read_xml(path, what="FlowJo workspace")
    return workspace_from(root, group=group, sample=sample)


def workspace_from(root: Node, *, group: str | None = None, sample: str | None = None) -> GatingDocument:
    """Return the gates of the root element of a workspace."""
    _check_root(root)
    workspace = _Workspace(root)
    chosen = workspace.choose(group, sample)
    names = Names()
    merged = _Merged(root.where)
    samples = [(own, own.reader(names).read(own.populations)) for own in chosen if own.populations]
    if sample is not None:
        samples = [(dataclasses.replace(own, file=""), gates) for own, gates in samples]
    # Without gates of its own a sample says nothing of templates; with `sample`, only its own gates count.
    templates = _templates(workspace, names, chosen, group, alone=not samples) if sample is None else {}
    if not samples and not templates:
        root.fail("no sample of it has a <Population>: there are no gates to read")
    merged.add(templates, samples)
    try:
        return GatingDocument(
            merged.gates,
            transformations=names.scales,
            matrices=names.matrices,
            populations=merged.populations,
            nested=False,
        )
    except GateError as error:
        raise error.within(root.where) from None


def _templates(
    workspace: _Workspace, names: Names, chosen: Sequence[_Sample], group: str | None, *, alone: bool
) -> Gates:
    """Return the gates that a file gets that the workspace does not know.

    Where groups have different ones there are none: only the samples say what theirs are. An error where these say
    nothing either (`alone`).
    """
    shared: Gates = {}
    source: dict[Path, str] = {}
    different: dict[Path, str] = {}
    for title, node, members in workspace.templates(group):
        drawn = next((sample for sample in members if sample in chosen), None)
        for path, gates in drawn.reader(names).read(node).items() if drawn is not None else ():
            if shared.setdefault(path, gates) != gates:
                different.setdefault(path, title)
            source.setdefault(path, title)
    if different and alone:
        path, title = next(iter(different.items()))
        raise GateError(
            f"groups {source[path]!r} and {title!r} have different gates for {'/'.join(path)!r}",
            where=workspace.where,
            fix="read the gates of one group (group=...)",
        )
    return {path: gates for path, gates in shared.items() if path not in different}


def _check_root(root: Node) -> None:
    if root.name != "Workspace":
        root.fail(f"the root is <{root.name}>", fix="expected <Workspace> of FlowJo 10")
    version = root.attributes.get("flowJoVersion", "")
    number = re.match(r"\d+", version)
    if number is None or int(number.group()) < _OLDEST:
        root.fail(
            f"attribute 'flowJoVersion' is {version!r}", fix="expected 10 or later: save it with FlowJo 10"
        )


@dataclasses.dataclass(eq=False)
class _Sample:
    """The element <Sample>."""

    id: str
    name: str
    file: str
    node: Node
    shared: tuple[Node, ...]

    @cached_property
    def populations(self) -> Node | None:
        """The element that holds its gates, where there are any."""
        inside = self.node.one("SampleNode").find("Subpopulations")
        if inside is None or not any(child.name in (*BOOLEANS, "Population") for child in inside.children):
            return None
        return inside

    def reader(self, names: Names) -> GateReader:
        """Return what turns populations into gates on the axes of this sample."""
        keywords = self.node.find("Keywords")
        values = {
            child.attributes.get("name", "").upper(): child.attributes.get("value", "")
            for child in (keywords.children if keywords else ())
        }
        channels = _channels(values)
        axes: dict[str, Axis] = {}
        drawn = self.node.find("Transformations")
        for child in drawn.children if drawn else ():
            axes[child.one("parameter").attribute("name")] = read_axis(child)
        try:
            timestep = float(values.get("$TIMESTEP", "0"))
        except ValueError:
            timestep = 0.0
        timestep = timestep if math.isfinite(timestep) and timestep > 0 else 0.0
        return GateReader(names, axes, self._compensation(channels), channels, timestep, _seconds(values))

    def _compensation(self, channels: Sequence[str]) -> Compensation | None:
        own = self.node.all("spilloverMatrix")
        # FlowJo keeps the matrix with the sample; other programs list it once for all samples.
        nodes = own or list(self.shared)
        if not nodes:
            return None
        if len(nodes) > 1:
            problem = Problem(
                "", "there are several matrices, and it is not stated which", "leave one in FlowJo"
            )
            return Compensation(None, "", "Comp", "", problem=problem)
        return _compensation(nodes[0], channels)


def _seconds(keywords: Mapping[str, str]) -> float:
    """Return the seconds from ``$BTIM`` to ``$ETIM``, over midnight too; 0 where they are not stated."""
    from cytocar.io._fcs.clock import time_of_day

    begin, end = (time_of_day(keywords.get(key, "")) for key in ("$BTIM", "$ETIM"))
    return 0.0 if begin is None or end is None else (end - begin) % 86_400


def _channels(keywords: Mapping[str, str]) -> tuple[str, ...]:
    """Return the `$PnN` of the file; those that FlowJo lists beyond `$PAR` (``Comp-...``) are its own."""
    count = keywords.get("$PAR", "").strip()
    last = int(count) if count.isascii() and count.isdecimal() else math.inf
    numbered = ((re.fullmatch(r"\$P([0-9]+)N", key), value) for key, value in keywords.items())
    return tuple(value for match, value in numbered if match and int(match[1]) <= last)


def _compensation(node: Node, channels: Sequence[str]) -> Compensation:
    name, prefix = node.attributes.get("name", ""), node.attributes.get("prefix", "Comp-")
    suffix = node.attributes.get("suffix", "")
    if node.flag("spectral"):
        problem = Problem(
            "",
            f"its matrix (line {node.line}) is one of spectral unmixing",
            "export unmixed files from FlowJo",
        )
        return Compensation(None, name, prefix, suffix, problem=problem)
    written = [child.attribute("name") for child in node.one("parameters").all("parameter")]
    rows = []
    for spill in node.all("spillover"):
        values = {child.attribute("parameter"): child.number("value") for child in spill.all("coefficient")}
        missing = [other for other in written if other not in values]
        if missing:
            spill.fail(
                f"it has no <coefficient> for {missing[0]!r}",
                fix="expected one for each channel of the matrix",
            )
        rows.append(tuple(values[other] for other in written))
    meant = {channel.replace("/", "_"): channel for channel in channels}
    detectors = tuple(meant.get(channel, channel) for channel in written)
    called = tuple(f"{prefix}{channel}{suffix}" for channel in written)
    matrix = node.guarded(lambda _: SpectrumMatrix(called, detectors, tuple(rows)))
    return Compensation(matrix, name, prefix, suffix, tuple(written))


class _Workspace:
    """The samples and groups of a workspace."""

    def __init__(self, root: Node) -> None:
        self._root = root
        matrices = root.find("Matrices")
        shared = tuple(matrices.all("spilloverMatrix")) if matrices else ()
        self.samples: dict[str, _Sample] = {}
        for node in root.one("SampleList").all("Sample"):
            inner = node.one("SampleNode")
            identity = inner.attribute("sampleID")
            if identity in self.samples:
                inner.fail(
                    f"attribute 'sampleID' is {identity!r}, as in another sample",
                    fix="every sample needs its own",
                )
            name = inner.attribute("name")
            self.samples[identity] = _Sample(identity, name, _file_name(node) or name, node, shared)
        groups = root.find("Groups")
        self.groups: dict[str, tuple[Node, tuple[str, ...]]] = {}
        for node in groups.all("GroupNode") if groups else ():
            named = node.find("Group")
            members = named.find("SampleRefs") if named else None
            ids = [child.attribute("sampleID") for child in members.all("SampleRef")] if members else []
            for identity in ids:
                if identity not in self.samples:
                    node.fail(f"its sample {identity!r} is not in <SampleList>")
            title = node.attribute("name")
            if title in self.groups:
                node.fail(f"there are two groups {title!r}", fix="rename one in FlowJo")
            self.groups[title] = (node, tuple(ids))

    def choose(self, group: str | None, sample: str | None) -> list[_Sample]:
        """Return the samples that are asked for."""
        chosen = list(self.samples.values())
        if group is not None:
            if group not in self.groups:
                raise ParameterError(f"group is {group!r}", fix=did_you_mean(group, self.groups))
            chosen = [self.samples[identity] for identity in self.groups[group][1]]
        if sample is None:
            return chosen
        fits = [candidate for candidate in chosen if candidate.name == sample]
        fits = fits or [candidate for candidate in chosen if candidate.file == sample]
        if len(fits) > 1:
            raise ParameterError(
                f"sample is {sample!r}, and {len(fits)} samples are called so", fix="rename them in FlowJo"
            )
        if not fits:
            names = [candidate.name for candidate in chosen]
            raise ParameterError(f"sample is {sample!r}", fix=did_you_mean(sample, names))
        return fits

    @property
    def where(self) -> str:
        """What to call the file in a message."""
        return self._root.where

    def templates(self, group: str | None) -> list[tuple[str, Node, list[_Sample]]]:
        """Return the names of groups and their gates, with the samples of each."""
        templates = []
        for name, (node, ids) in self.groups.items():
            inside = node.find("Subpopulations")
            if inside is not None and group in (None, name):
                templates.append((name, inside, [self.samples[identity] for identity in ids]))
        return templates


def _file_name(node: Node) -> str:
    """Return the name of the FCS file of a sample, without its folder; the file itself is not looked for."""
    data = node.find("DataSet")
    uri = data.attributes.get("uri", "") if data else ""
    try:
        text = unquote(urlparse(uri).path) if uri.startswith("file:") else unquote(uri)
    except ValueError:
        return ""
    return PurePosixPath(text.replace("\\", "/")).name


class _Merged:
    """The gates of several samples as one set, with versions for single files."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.gates: list[Gate] = []
        self.populations: list[str] = []
        self._helpers: dict[Gate, str] = {}

    def add(self, templates: Gates, samples: Sequence[tuple[_Sample, Gates]]) -> None:
        """Add the gates of samples, and of the templates that they were made from."""
        paths = list(samples[0][1]) if samples else list(templates)
        for sample, gates in samples[1:]:
            if set(gates) != set(paths):
                extra = sorted("/".join(path) for path in {*gates} ^ {*paths})
                raise GateError(
                    f"samples {samples[0][0].name!r} and {sample.name!r} have different populations "
                    f"({', '.join(extra[:3])} {'are' if len(extra) > 1 else 'is'} in one of them only)",
                    where=self._where,
                    fix="read the samples of one group (group=...), or one sample (sample=...)",
                )
        self._check_files(samples)
        for path in paths:
            self._add(templates.get(path), [(sample.file, gates[path]) for sample, gates in samples])

    def _check_files(self, samples: Sequence[tuple[_Sample, Gates]]) -> None:
        """Refuse files of one name with different gates: by the name it could not be determined which are meant."""
        first: dict[str, Gates] = {}
        for sample, gates in samples:
            same_file = first.setdefault(sample.file, gates)
            wrong = next((path for path in gates if gates[path] != same_file[path]), None)
            if wrong is not None:
                raise GateError(
                    f"two samples are of files called {sample.file!r}, with different gates for "
                    f"{'/'.join(wrong)!r}",
                    where=self._where,
                    fix=(
                        "read the samples of one group (group=...), one sample (sample=...), or give "
                        "the files different names"
                    ),
                )

    def _add(
        self, template: tuple[Gate, ...] | None, versions: Sequence[tuple[str, tuple[Gate, ...]]]
    ) -> None:
        shared = template if template is not None else versions[0][1]
        base, own = shared[-1], [(file, gates) for file, gates in versions if gates != shared]
        if own and template is None:
            base = dataclasses.replace(base, file=versions[0][0])
            own = list(versions[1:])
        self.gates.append(self._with_help((*shared[:-1], base)))
        self.populations.append(base.id)
        for file, gates in dict(own).items():
            version = self._with_help(gates)
            self.gates.append(
                dataclasses.replace(version, id=f"{base.id} [{file}]", file=file, version_of=base.id)
            )

    def _with_help(self, gates: tuple[Gate, ...]) -> Gate:
        """Add the helpers of a gate, each shape once, and return the gate as it refers to them."""
        names: dict[str, str] = {}
        for gate in gates[:-1]:
            helper = _referring(gate, names)
            if helper not in self._helpers:
                taken = set(self._helpers.values())
                name, number = helper.id, 1
                while name in taken:
                    number += 1
                    name = f"{helper.id} {number}"
                self._helpers[helper] = name
                self.gates.append(dataclasses.replace(helper, id=name))
            names[gate.id] = self._helpers[helper]
        return _referring(gates[-1], names)


def _referring(gate: Gate, names: Mapping[str, str]) -> Gate:
    """Return a gate that refers to other gates by new ids."""
    parent = names.get(gate.parent, gate.parent)
    if not isinstance(gate, Combination):
        return dataclasses.replace(gate, parent=parent)
    operands = tuple(
        dataclasses.replace(operand, gate=names.get(operand.gate, operand.gate)) for operand in gate.operands
    )
    return dataclasses.replace(gate, parent=parent, operands=operands)
