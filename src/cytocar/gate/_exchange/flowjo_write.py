"""Gates to a FlowJo workspace."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import numpy as np

from cytocar._core.errors import CytocarError, ParameterError
from cytocar._core.files import write_text
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._exchange.flowjo_axes import FlowJoAxes, file_header
from cytocar.gate._exchange.flowjo_gates import DISPLAY, HELPER
from cytocar.gate._exchange.flowjo_tree import FlowJoNode, refuse, tree_of
from cytocar.gate._exchange.gatingml_elements import SPACE, attribute_text, number
from cytocar.gate._shapes.flowjo_scales import FlowJoLog
from cytocar.gate._shapes.shapes import Dimension, Ellipsoid, Gate, Polygon, Rectangle
from cytocar.gate._shapes.transforms import Log

if TYPE_CHECKING:
    from anndata import AnnData

StrPath = str | os.PathLike[str]
Files = Sequence[StrPath] | Mapping[str, StrPath]

GROUP: Final = "cytocar"
_OPERATIONS: Final = {"and": "AndNode", "or": "OrNode", "not": "NotNode"}


def write_flowjo(
    adata: AnnData | Sequence[AnnData] | GatingDocument,
    path: StrPath,
    *,
    files: Files | None = None,
) -> tuple[str, ...]:
    """Write gates as a FlowJo 10 workspace (.wsp): a sample for each file, with its tree of populations.

    Corners are values of channels, as FlowJo stores them, and axes ArcSinh with the cofactor of each channel, drawn up
    to 16,384 counts. What FlowJo has no form for is put together from what it has: a rectangle of more than two axes
    becomes several, one below the other, and gates that are not populations become populations with the annotation
    ``cytocar helper``; `read_flowjo` takes both back. Gates that hold for all files are the template of the group
    ``cytocar`` too, so that FlowJo gives them to files that are added to it. The FCS files are not changed.

    Parameters
    ----------
    adata
        Gated by `cytocar.gate.apply`, or several such; or a `GatingDocument`.
    path
        The workspace, replaced when it is whole.
    files
        The FCS files: for a document a list of paths, for data sample to path. Of those that exist the header is
        read, so that channels are called as in the file. None takes the files that a document has versions for, and
        for data the file names that they were read from.

    Returns
    -------
    What FlowJo does otherwise than the gates say, one text for each: lower edges at the bottom of an axis, below which
    it counts all events, and files that are not there, of which it computes nothing. Empty where there is nothing.

    Raises
    ------
    GateError
        The data are not gated, or FlowJo has no form for a gate.
    ParameterError
        It cannot be determined which files the gates are for.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cytocar.gate import Dimension, GatingDocument, interval
    >>> document = GatingDocument([interval("T cells", Dimension("Yb170Di"), low=7.5)])
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gates.wsp"
    >>> notes = write_flowjo(document, path, files=["a.fcs", "b.fcs"])
    >>> path.read_text(encoding="utf-8").count("<SampleNode")
    2
    >>> notes[0]
    'a.fcs is not there: FlowJo computes nothing of a sample without the keywords of its file'
    """
    if isinstance(adata, GatingDocument):
        document = adata
        samples = _samples_of_document(document, files)
    else:
        from cytocar.gate._exchange.applied import applied_document, file_names

        several = list(adata) if isinstance(adata, Sequence) else [adata]
        document = applied_document(several)
        samples = _samples_of_data(file_names(several), files)
    text, notes = workspace_text(document, samples)
    write_text(path, text)
    return notes


@dataclasses.dataclass(frozen=True)
class FlowJoSample:
    """A file of a workspace: its name in the gates, and where it is."""

    name: str
    file: str


def _samples_of_document(document: GatingDocument, files: Files | None) -> list[FlowJoSample]:
    if isinstance(files, Mapping):
        return [FlowJoSample(str(name), os.fspath(file)) for name, file in files.items()]
    listed = [os.fspath(file) for file in files] if files is not None else list(document.files)
    if not listed:
        raise ParameterError(
            "files is None, and the gates name no file",
            fix="give the FCS files that FlowJo shows, such as ['a.fcs']",
        )
    return [FlowJoSample(FilePath(file).name, file) for file in listed]


def _samples_of_data(file_names: Mapping[str, str], files: Files | None) -> list[FlowJoSample]:
    if files is None:
        return [FlowJoSample(sample, file) for sample, file in file_names.items()]
    if not isinstance(files, Mapping):
        listed = [os.fspath(file) for file in files]
        if len(listed) != len(file_names):
            raise ParameterError(
                f"files has {len(listed)} files and the data have {len(file_names)} samples",
                fix="give {sample: file}",
            )
        files = dict(zip(file_names, listed, strict=True))
    missing = [sample for sample in file_names if sample not in files]
    if missing:
        raise ParameterError(f"files has no file for sample {missing[0]!r}", fix="give {sample: file}")
    return [FlowJoSample(sample, os.fspath(files[sample])) for sample in file_names]


def workspace_text(document: GatingDocument, samples: Sequence[FlowJoSample]) -> tuple[str, tuple[str, ...]]:
    """Return a document as the text of a workspace for these files, and what FlowJo does otherwise than it says."""
    # A template is what a file gets that has no versions of its own.
    shared = not any(gate.file for gate in document.gates.values())
    writers = [
        _SampleWriter(document, sample, number, shared=shared)
        for number, sample in enumerate(samples, start=1)
    ]
    bodies = [writer.xml() for writer in writers]
    references = "".join(f'        <SampleRef sampleID="{writer.number}"/>\n' for writer in writers)
    members = f"      <SampleRefs>\n{references}      </SampleRefs>\n"
    template = writers[0].template() if shared and writers else ""
    groups = "".join(
        f'    <GroupNode name="{name}" annotation="" owningGroup="{name}">\n'
        f'    <Group name="{name}" role="ws.group.role.test" live="0">\n{members}    </Group>\n'
        f"{gates}    </GroupNode>\n"
        for name, gates in (("All Samples", ""), (GROUP, template))
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Workspace version="20.0" flowJoVersion="10.8.1" curGroup="All Samples" '
        f'xmlns:gating="{SPACE}/gating" xmlns:transforms="{SPACE}/transformations" '
        f'xmlns:data-type="{SPACE}/datatypes">\n'
        f"  <Matrices/>\n  <Groups>\n{groups}  </Groups>\n"
        f"  <SampleList>\n{''.join(bodies)}  </SampleList>\n</Workspace>\n"
    )
    return text, tuple(dict.fromkeys(note for writer in writers for note in writer.notes()))


class _SampleWriter:
    """Writes one element <Sample>."""

    def __init__(self, document: GatingDocument, sample: FlowJoSample, number: int, *, shared: bool) -> None:
        self._document, self._sample, self.number, self._shared = document, sample, number, shared
        self._keywords, channels, seconds = file_header(sample.file)
        self._axes = FlowJoAxes(document, self._keywords, channels, seconds)
        self._count = 0
        self._opened: list[str] = []
        self._events, self._counts = _counts_of(document, sample)

    def xml(self) -> str:
        """Return the sample with its axes, keywords and populations."""
        tree = tree_of(self._document, self._document.gates_for(self._sample.name))
        self._axes.choose(node.gate for node in _walk(tree) if node.gate is not None)
        populations = "".join(self._node(node, "", "        ", own=True) for node in tree)
        name = FilePath(self._sample.file).name
        identity = f'sampleID="{self.number}"{_count(self._events)}'
        uri = quote(self._sample.file.replace(os.sep, "/"))
        uri = f"file:{uri}" if os.path.isabs(self._sample.file) else uri
        keywords = "".join(
            f"        <Keyword name={attribute_text(key)} value={attribute_text(value)}/>\n"
            for key, value in self._keywords.items()
        )
        return (
            f'    <Sample>\n      <DataSet uri={attribute_text(uri)} sampleID="{self.number}"/>\n'
            f"{self._axes.matrix_xml()}"
            f"      <Transformations>\n{self._axes.axes_xml()}      </Transformations>\n"
            f"      <Keywords>\n{keywords}      </Keywords>\n"
            f'      <SampleNode name={attribute_text(name)} annotation="" owningGroup="" {identity}>\n'
            f"        <Subpopulations>\n{populations}        </Subpopulations>\n      </SampleNode>\n    </Sample>\n"
        )

    def notes(self) -> list[str]:
        """Return what FlowJo does otherwise than the gates say."""
        missing = [] if self._keywords else [FilePath(self._sample.file).name]
        return [
            *(
                f"{name} is not there: FlowJo computes nothing of a sample without the keywords of its file"
                for name in missing
            ),
            *self._opened,
        ]

    def _note_bottom(self, gate: Gate, name: str, edge: float | None) -> None:
        """Note a lower edge, a value of the channel, that is at or below the bottom of its axis."""
        scale = self._axes[name].scale
        # A logarithm of FlowJo counts what is below its axis as being at its bottom anyway.
        if edge is None or scale is None or isinstance(scale, FlowJoLog):
            return
        bottom = float(scale.inverse([0.0])[0])
        if edge <= bottom:
            self._opened.append(
                f"gate {gate.title!r}: its lower edge on {name}, {edge:g}, is at or below the bottom of the axis "
                f"({bottom:g}), and FlowJo counts all events below it"
            )

    def template(self) -> str:
        """Return the gates that hold for files without versions of their own."""
        tree = tree_of(self._document, self._document.gates_for(None))
        populations = "".join(self._node(node, "", "      ", own=False) for node in tree)
        return f"      <Subpopulations>\n{populations}      </Subpopulations>\n"

    def _owner(self, node: FlowJoNode) -> str:
        """Return the group whose template a population follows, or "" for one of the sample's own."""
        changed = self._sample.name in self._document.versions.get(node.source, {})
        return "" if changed or not self._shared else GROUP

    def _node(self, node: FlowJoNode, parent: str, indent: str, *, own: bool) -> str:
        self._count += 1
        identity = f"ID{self.number}{self._count:06d}"
        owner = self._owner(node) if own else GROUP
        element = _OPERATIONS.get(node.operation, "Population")
        count = _count(self._counts.get(node.source)) if own and not node.helper else ""
        below = "".join(
            self._node(child, identity if node.gate is not None else parent, f"{indent}    ", own=own)
            for child in node.children
        )
        if below:
            below = f"{indent}  <Subpopulations>\n{below}{indent}  </Subpopulations>\n"
        return (
            f"{indent}<{element} name={attribute_text(node.path[-1])} "
            f'annotation="{HELPER if node.helper else ""}" owningGroup="{owner}"{count}>\n'
            f"{self._content(node, identity, parent, indent + '  ')}{below}{indent}</{element}>\n"
        )

    def _content(self, node: FlowJoNode, identity: str, parent: str, indent: str) -> str:
        if node.gate is None:
            listed = "".join(
                f"{indent}  <Dependent name={attribute_text('/'.join(path))}/>\n" for path in node.depends
            )
            return f"{indent}<Dependents>\n{listed}{indent}</Dependents>\n"
        ids = f'gating:id="{identity}"' + (f' gating:parent_id="{parent}"' if parent else "")
        shape = "".join(f"{indent}    {line}\n" for line in self._shape(node.gate))
        return (
            f"{indent}<Gate {ids}>\n"
            f'{indent}  <gating:{node.gate.kind} eventsInside="{int(node.inside)}" {ids}>\n{shape}'
            f"{indent}  </gating:{node.gate.kind}>\n{indent}</Gate>\n"
        )

    def _shape(self, gate: Gate) -> Iterator[str]:
        names = [self._axes.name(gate, axis) for axis in gate.axes]
        if isinstance(gate, Rectangle):
            yield from self._rectangle(gate, names)
        elif isinstance(gate, Polygon):
            yield from self._polygon(gate, names)
        elif isinstance(gate, Ellipsoid):
            yield from self._ellipse(gate, names)
        else:
            refuse(gate, f"gate of the kind {gate.kind}")

    def _rectangle(self, gate: Rectangle, names: Sequence[str]) -> Iterator[str]:
        for axis, name, low, high in zip(gate.dimensions, names, gate.low, gate.high, strict=True):
            bounds = tuple(self._shown(name, self._bound(gate, axis, end)) for end in (low, high))
            if bounds[0] is None and isinstance(self._axes.scale(gate, axis), Log):
                # The logarithm of Gating-ML has no place for values below 0.
                bounds = (0.0, bounds[1])
            self._note_bottom(gate, name, bounds[0])
            text = "".join(
                f' gating:{side}="{number(value)}"'
                for side, value in zip(("min", "max"), bounds, strict=True)
                if value is not None
            )
            yield _dimension(name, text)

    def _polygon(self, gate: Polygon, names: Sequence[str]) -> Iterator[str]:
        yield from (_dimension(name) for name in names)
        scales = [self._axes.scale_of_outline(gate, axis) for axis in gate.dimensions]
        corners = []
        for vertex in gate.vertices:
            values = [
                value if scale is None else float(scale.inverse([value])[0])
                for scale, value in zip(scales, vertex, strict=True)
            ]
            corners.append(
                [self._shown(name, value) or 0.0 for name, value in zip(names, values, strict=True)]
            )
        for name, ends in zip(names, zip(*corners, strict=True), strict=True):
            self._note_bottom(gate, name, min(ends))
        yield from (_vertex(corner) for corner in corners)

    def _ellipse(self, gate: Ellipsoid, names: Sequence[str]) -> Iterator[str]:
        """Yield axes, foci and edge, the points in positions of the drawing."""
        yield from (_dimension(name) for name in names)
        if len(gate.dimensions) != 2:
            refuse(gate, "ellipsoid of more than two axes")
        if gate.distance_square <= 0:
            refuse(gate, "ellipse that is a single point")
        factors, offsets = [], []
        for axis, name in zip(gate.dimensions, names, strict=True):
            own = self._axes.scale_of_outline(gate, axis)
            drawn = self._axes[name]
            if drawn.scale is None:
                # A linear axis: positions of the gate are values, whether or not a linear scale moves them.
                start, stop = (0.0, 1.0) if own is None else own.inverse([0.0, 1.0])
                start, stop = start * drawn.gain, stop * drawn.gain
                factor = DISPLAY / (drawn.high - drawn.low)
                factors.append((stop - start) * factor)
                offsets.append((start - drawn.low) * factor)
            else:
                ends = (
                    np.array([0.0, 1.0])
                    if own == drawn.scale or own is None
                    else drawn.scale.apply(own.inverse([0.0, 1.0]))
                )
                factors.append((ends[1] - ends[0]) * DISPLAY)
                offsets.append(ends[0] * DISPLAY)
        scale = np.array(factors)
        middle = np.array(gate.mean) * scale + np.array(offsets)
        covariance = np.array(gate.covariance) * gate.distance_square * np.outer(scale, scale)
        lengths, directions = np.linalg.eigh((covariance + covariance.T) / 2)
        if lengths[0] <= 0:
            refuse(gate, "ellipse without an outline: its covariance has a negative axis")
        minor, major = np.sqrt(lengths)
        focal = math.sqrt(max(major**2 - minor**2, 0.0))
        along, across = directions[:, 1], directions[:, 0]
        foci = [middle - focal * along, middle + focal * along]
        edge = [
            middle - major * along,
            middle + major * along,
            middle - minor * across,
            middle + minor * across,
        ]
        for kind, points in (("foci", foci), ("edge", edge)):
            yield f"<gating:{kind}>"
            yield from (_vertex(point.tolist()) for point in points)
            yield f"</gating:{kind}>"

    def _shown(self, name: str, value: float | None) -> float | None:
        """Return a value of a channel as FlowJo shows it."""
        drawn = self._axes[name]
        return value if value is None or drawn.scale is not None else value * drawn.gain

    def _bound(self, gate: Gate, axis: Dimension, position: float | None) -> float | None:
        """Return the value of the channel at a position: the smallest one there, where that can be determined."""
        scale = self._axes.scale(gate, axis)
        if position is None or scale is None:
            return position
        cut = None if isinstance(scale, Log) else scale.cut(position)
        return float(scale.inverse([position])[0]) if cut is None else cut


def _counts_of(document: GatingDocument, sample: FlowJoSample) -> tuple[int | None, dict[str, int]]:
    """Return the events of a file and how many are in each gate; nothing where they cannot be counted."""
    if not FilePath(sample.file).is_file():
        return None, {}
    try:
        masks = document.evaluate_fcs(sample.file, file=sample.name)
    except CytocarError:
        return None, {}
    counts = {gate: int(np.count_nonzero(mask)) for gate, mask in masks.items()}
    return (len(next(iter(masks.values()))) if masks else None), counts


def _count(events: int | None) -> str:
    """Return the attribute in which FlowJo keeps the number of events of a population."""
    return "" if events is None else f' count="{events}"'


def _walk(nodes: Sequence[FlowJoNode]) -> Iterator[FlowJoNode]:
    for node in nodes:
        yield node
        yield from _walk(node.children)


def _dimension(name: str, bounds: str = "") -> str:
    return (
        f"<gating:dimension{bounds}><data-type:fcs-dimension data-type:name={attribute_text(name)}/>"
        "</gating:dimension>"
    )


def _vertex(values: Sequence[float]) -> str:
    inside = "".join(f'<gating:coordinate data-type:value="{number(value)}"/>' for value in values)
    return f"<gating:vertex>{inside}</gating:vertex>"
