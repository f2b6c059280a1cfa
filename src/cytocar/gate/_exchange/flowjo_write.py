"""Gates to a FlowJo workspace."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import quote

import numpy as np

from cytocar._core.errors import CytocarError, GateError, ParameterError
from cytocar._core.files import write_text
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._exchange.flowjo_gates import DISPLAY, HELPER
from cytocar.gate._exchange.flowjo_tree import FlowJoNode, tree_of
from cytocar.gate._exchange.gatingml_elements import SPACE, attribute_text, number
from cytocar.gate._shapes.flowjo_scales import Biex, FlowJoLog
from cytocar.gate._shapes.shapes import FROM_FILE, Dimension, Ellipsoid, Gate, Polygon, Rectangle
from cytocar.gate._shapes.transforms import (
    LN10,
    Asinh,
    Hyperlog,
    Linear,
    Log,
    Logicle,
    Scale,
    SpectrumMatrix,
    parse_spillover,
)

if TYPE_CHECKING:
    from anndata import AnnData

StrPath = str | os.PathLike[str]
Files = Sequence[StrPath] | Mapping[str, StrPath]

GROUP: Final = "cytocar"
# FlowJo shows an axis from its T down: enough for the counts of mass cytometry, with a little room below 0.
_TOP: Final = 16_384.0
_BELOW: Final = 0.25
_DISPLAYED: Final = 100.0
_PREFIX: Final = "Comp-"
_KEPT: Final = ("$FIL", "$TOT", "$PAR", "$TIMESTEP", "$CYT")
_OPERATIONS: Final = {"and": "AndNode", "or": "OrNode", "not": "NotNode"}


def write_flowjo(
    adata: AnnData | Sequence[AnnData] | GatingDocument,
    path: StrPath,
    *,
    files: Files | None = None,
) -> None:
    """Write gates as a FlowJo 10 workspace (.wsp): a sample for each file, with its tree of populations.

    Corners are values of channels, as FlowJo stores them, and axes ArcSinh with the cofactor of each channel, drawn up
    to 16,384 counts. What FlowJo has no form for is put together from what it has: a rectangle of more than two axes
    becomes several, one below the other, and gates that are no populations become populations with the annotation
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

    Raises
    ------
    GateError
        The data are not gated, or FlowJo has no form for a gate.
    ParameterError
        It is not known which files the gates are for.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cytocar.gate import Dimension, GatingDocument, interval
    >>> document = GatingDocument([interval("T cells", Dimension("Yb170Di"), low=7.5)])
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gates.wsp"
    >>> write_flowjo(document, path, files=["a.fcs", "b.fcs"])
    >>> path.read_text(encoding="utf-8").count("<SampleNode")
    2
    """
    if isinstance(adata, GatingDocument):
        document = adata
        samples = _samples_of_document(document, files)
    else:
        from cytocar.gate._exchange.applied import applied_document, file_names

        several = list(adata) if isinstance(adata, Sequence) else [adata]
        document = applied_document(several)
        samples = _samples_of_data(file_names(several), files)
    write_text(path, workspace_text(document, samples))


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


def _samples_of_data(known: Mapping[str, str], files: Files | None) -> list[FlowJoSample]:
    if files is None:
        return [FlowJoSample(sample, file) for sample, file in known.items()]
    if not isinstance(files, Mapping):
        listed = [os.fspath(file) for file in files]
        if len(listed) != len(known):
            raise ParameterError(
                f"files has {len(listed)} files and the data have {len(known)} samples",
                fix="give {sample: file}",
            )
        files = dict(zip(known, listed, strict=True))
    missing = [sample for sample in known if sample not in files]
    if missing:
        raise ParameterError(f"files has no file for sample {missing[0]!r}", fix="give {sample: file}")
    return [FlowJoSample(sample, os.fspath(files[sample])) for sample in known]


def workspace_text(document: GatingDocument, samples: Sequence[FlowJoSample]) -> str:
    """Return a document as the text of a workspace for these files."""
    # A template is what a file gets that has no versions of its own.
    shared = not any(gate.file for gate in document.gates.values())
    writers = [
        _SampleWriter(document, sample, place, shared=shared) for place, sample in enumerate(samples, start=1)
    ]
    bodies = [writer.xml() for writer in writers]
    references = "".join(f'        <SampleRef sampleID="{writer.place}"/>\n' for writer in writers)
    members = f"      <SampleRefs>\n{references}      </SampleRefs>\n"
    template = writers[0].template() if shared and writers else ""
    groups = "".join(
        f'    <GroupNode name="{name}" annotation="" owningGroup="{name}">\n'
        f'    <Group name="{name}" role="ws.group.role.test" live="0">\n{members}    </Group>\n'
        f"{gates}    </GroupNode>\n"
        for name, gates in (("All Samples", ""), (GROUP, template))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Workspace version="20.0" flowJoVersion="10.8.1" curGroup="All Samples" '
        f'xmlns:gating="{SPACE}/gating" xmlns:transforms="{SPACE}/transformations" '
        f'xmlns:data-type="{SPACE}/datatypes">\n'
        f"  <Matrices/>\n  <Groups>\n{groups}  </Groups>\n"
        f"  <SampleList>\n{''.join(bodies)}  </SampleList>\n</Workspace>\n"
    )


class _SampleWriter:
    """Writes one element <Sample>."""

    def __init__(self, document: GatingDocument, sample: FlowJoSample, place: int, *, shared: bool) -> None:
        self._document, self._sample, self.place, self._shared = document, sample, place, shared
        self._gates = document.gates_for(sample.name)
        self._keywords, self._channels = _header(sample.file)
        self._columns = document.columns(self._channels) if self._channels else None
        self._matrix: tuple[str, SpectrumMatrix] | None = None
        self._axes: dict[str, tuple[Scale | None, float, float]] = {}
        self._count = 0

    def xml(self) -> str:
        """Return the sample with its axes, keywords and populations."""
        tree = tree_of(self._document, self._gates)
        self._choose_axes(tree)
        populations = "".join(self._node(node, "", "        ", own=True) for node in tree)
        # FlowJo lists the axis of a compensated channel for the measured one too.
        drawn = {channel.removeprefix(_PREFIX): axis for channel, axis in self._axes.items() if self._matrix}
        axes = "".join(self._axis_xml(channel, *axis) for channel, axis in {**drawn, **self._axes}.items())
        name = FilePath(self._sample.file).name
        uri = quote(self._sample.file.replace(os.sep, "/"))
        uri = f"file:{uri}" if os.path.isabs(self._sample.file) else uri
        keywords = "".join(
            f"        <Keyword name={attribute_text(key)} value={attribute_text(value)}/>\n"
            for key, value in self._keywords.items()
        )
        return (
            f'    <Sample>\n      <DataSet uri={attribute_text(uri)} sampleID="{self.place}"/>\n'
            f"{self._matrix_xml()}"
            f"      <Transformations>\n{axes}      </Transformations>\n"
            f"      <Keywords>\n{keywords}      </Keywords>\n"
            f'      <SampleNode name={attribute_text(name)} annotation="" owningGroup="" sampleID="{self.place}">\n'
            f"        <Subpopulations>\n{populations}        </Subpopulations>\n      </SampleNode>\n    </Sample>\n"
        )

    def template(self) -> str:
        """Return the gates that hold for files without versions of their own."""
        self._gates = self._document.gates_for(None)
        tree = tree_of(self._document, self._gates)
        populations = "".join(self._node(node, "", "      ", own=False) for node in tree)
        return f"      <Subpopulations>\n{populations}      </Subpopulations>\n"

    def _fail(self, gate: Gate, what: str) -> NoReturn:
        raise GateError(f"gate {gate.title!r} cannot be written for FlowJo, which has no {what}")

    def _owner(self, node: FlowJoNode) -> str:
        """Return the group whose template a population follows, or "" for one of the sample's own."""
        changed = self._sample.name in self._document.versions.get(node.source, {})
        return "" if changed or not self._shared else GROUP

    def _node(self, node: FlowJoNode, parent: str, indent: str, *, own: bool) -> str:
        self._count += 1
        identity = f"ID{self.place}{self._count:06d}"
        owner = self._owner(node) if own else GROUP
        element = _OPERATIONS.get(node.operation, "Population")
        below = "".join(
            self._node(child, identity if node.gate is not None else parent, f"{indent}    ", own=own)
            for child in node.children
        )
        if below:
            below = f"{indent}  <Subpopulations>\n{below}{indent}  </Subpopulations>\n"
        return (
            f"{indent}<{element} name={attribute_text(node.path[-1])} "
            f'annotation="{HELPER if node.helper else ""}" owningGroup="{owner}">\n'
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
        names = [self._name(gate, axis) for axis in gate.axes]
        if isinstance(gate, Rectangle):
            for axis, name, low, high in zip(gate.dimensions, names, gate.low, gate.high, strict=True):
                bounds = (self._bound(gate, axis, low), self._bound(gate, axis, high))
                if bounds[0] is None and self._scale(gate, axis, shape=False)[1]:
                    # The logarithm of Gating-ML has no place for values below 0.
                    bounds = (0.0, bounds[1])
                text = "".join(
                    f' gating:{side}="{number(value)}"'
                    for side, value in zip(("min", "max"), bounds, strict=True)
                    if value is not None
                )
                yield _dimension(name, text)
        elif isinstance(gate, Polygon):
            yield from (_dimension(name) for name in names)
            scales = [self._scale(gate, axis)[0] for axis in gate.dimensions]
            for vertex in gate.vertices:
                yield _vertex(
                    [
                        value if scale is None else float(scale.inverse([value])[0])
                        for scale, value in zip(scales, vertex, strict=True)
                    ]
                )
        elif isinstance(gate, Ellipsoid):
            yield from (_dimension(name) for name in names)
            yield from self._ellipse(gate, names)
        else:
            self._fail(gate, f"gate of the kind {gate.kind}")

    def _ellipse(self, gate: Ellipsoid, names: Sequence[str]) -> Iterator[str]:
        """Yield foci and edge in places of the drawing."""
        if len(gate.dimensions) != 2:
            self._fail(gate, "ellipsoid of more than two axes")
        if gate.distance_square <= 0:
            self._fail(gate, "ellipse that is a single point")
        factors, offsets = [], []
        for axis, name in zip(gate.dimensions, names, strict=True):
            own, _ = self._scale(gate, axis)
            drawn, low, high = self._axes[name]
            if drawn is None:
                # A linear axis: places of the gate are values, whether or not a linear scale moves them.
                start, stop = (0.0, 1.0) if own is None else own.inverse([0.0, 1.0])
                factor = DISPLAY / (high - low)
                factors.append((stop - start) * factor)
                offsets.append((start - low) * factor)
            else:
                ends = (
                    np.array([0.0, 1.0])
                    if own == drawn or own is None
                    else drawn.apply(own.inverse([0.0, 1.0]))
                )
                factors.append((ends[1] - ends[0]) * DISPLAY)
                offsets.append(ends[0] * DISPLAY)
        scale = np.array(factors)
        middle = np.array(gate.mean) * scale + np.array(offsets)
        covariance = np.array(gate.covariance) * gate.distance_square * np.outer(scale, scale)
        lengths, directions = np.linalg.eigh((covariance + covariance.T) / 2)
        if lengths[0] <= 0:
            self._fail(gate, "ellipse without an outline: its covariance has a negative axis")
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

    def _bound(self, gate: Gate, axis: Dimension, place: float | None) -> float | None:
        """Return the value of the channel at a place: the smallest that is there, where that is known."""
        scale, log = self._scale(gate, axis, shape=False)
        if place is None or scale is None:
            return place
        cut = None if log else scale.cut(place)
        return float(scale.inverse([place])[0]) if cut is None else cut

    def _scale(self, gate: Gate, axis: Dimension, *, shape: bool = True) -> tuple[Scale | None, bool]:
        """Return the scale of an axis, and whether it is the logarithm of Gating-ML."""
        scale = self._document.transformations.get(axis.transformation)
        if not isinstance(scale, Scale):
            return None, False
        if scale.bound_min is not None or scale.bound_max is not None:
            self._fail(gate, "scale with bounds")
        log = isinstance(scale, Log)
        if log and shape:
            self._fail(gate, "logarithm without a place for 0; put this gate on an arcsinh scale")
        return scale, log

    def _name(self, gate: Gate, axis: Dimension) -> str:
        """Return what FlowJo calls the channel of an axis."""
        if axis.ratio:
            self._fail(gate, "ratio of two channels")
        matrix = self._matrix_of(axis)
        if matrix is None:
            return self._channel(axis.channel)
        name, spectrum = matrix
        column = spectrum.column(axis.channel)
        if column is None:
            if axis.compensation == FROM_FILE:
                return self._channel(axis.channel)
            self._fail(gate, f"channel {axis.channel!r} in the matrix {name!r}")
        if spectrum.inverted or len(spectrum.detectors) != len(spectrum.fluorochromes):
            self._fail(gate, f"matrix such as {name!r}: inverted, or with more detectors than dyes")
        if self._matrix not in (None, matrix):
            self._fail(gate, "second matrix in one sample")
        self._matrix = matrix
        return f"{_PREFIX}{self._channel(spectrum.detectors[column])}"

    def _matrix_of(self, axis: Dimension) -> tuple[str, SpectrumMatrix] | None:
        if axis.compensation in self._document.matrices:
            return axis.compensation, self._document.matrices[axis.compensation]
        if axis.compensation == FROM_FILE and self._spillover:
            return "Acquisition-defined", parse_spillover(self._spillover)
        return None

    def _channel(self, name: str) -> str:
        """Return a channel as the file calls it; FlowJo writes ``_`` for a slash."""
        if self._columns is not None:
            name = self._channels[self._columns.position(name)]
        return name.replace("/", "_")

    @property
    def _spillover(self) -> str:
        return next((self._keywords[key] for key in ("$SPILLOVER", "SPILL") if key in self._keywords), "")

    def _choose_axes(self, nodes: Sequence[FlowJoNode]) -> None:
        """Give every channel the one axis that FlowJo draws it on: polygons and ellipses say which."""
        needed: dict[str, dict[Scale | None, Gate]] = {}
        wished: dict[str, Scale] = {}
        spans: dict[str, list[float]] = {}
        for gate in (node.gate for node in _walk(nodes) if node.gate is not None):
            for position, axis in enumerate(gate.axes):
                name = self._name(gate, axis)
                scale, _ = self._scale(gate, axis, shape=False)
                spans.setdefault(name, []).extend(self._extent(gate, position, scale))
                drawn = None if scale is None or isinstance(scale, Linear | Log) else _as_drawn(scale)
                if not isinstance(gate, Rectangle):
                    needed.setdefault(name, {}).setdefault(drawn, gate)
                elif drawn is not None:
                    wished.setdefault(name, drawn)
        for name, values in spans.items():
            scales = needed.get(name, {})
            if len(scales) > 1:
                titles = " and ".join(repr(gate.title) for gate in scales.values())
                raise GateError(
                    f"gates {titles} put channel {name!r} on different scales",
                    fix="FlowJo draws each channel on one",
                )
            chosen = next(iter(scales)) if scales else wished.get(name)
            low, high = min([0.0, *values]), max([1.0, *values])
            self._axes[name] = (chosen, low, high + 0.05 * (high - low))

    def _extent(self, gate: Gate, position: int, scale: Scale | None) -> list[float]:
        """Return values of the channel that the gate reaches, for the ends of a linear axis."""
        places: list[float] = []
        if isinstance(gate, Rectangle):
            places = [v for v in (gate.low[position], gate.high[position]) if v is not None]
        elif isinstance(gate, Polygon):
            places = [vertex[position] for vertex in gate.vertices]
        elif isinstance(gate, Ellipsoid):
            reach = math.sqrt(max(gate.covariance[position][position] * gate.distance_square, 0.0))
            places = [gate.mean[position] - reach, gate.mean[position] + reach]
        with np.errstate(over="ignore"):
            values = places if scale is None else scale.inverse(places).tolist()
        return [value for value in values if math.isfinite(value)]

    def _axis_xml(self, channel: str, scale: Scale | None, low: float, high: float) -> str:
        name, said = "linear", {"minRange": low, "maxRange": high}
        if isinstance(scale, FlowJoLog):
            name, said = "log", {"offset": scale.offset, "decades": scale.decades}
        elif isinstance(scale, Biex):
            name = "biex"
            said = {"maxRange": scale.top, "neg": scale.neg, "width": scale.width, "pos": scale.pos}
        elif isinstance(scale, Asinh | Logicle | Hyperlog):
            name, said = scale.xml_name, scale.parameters()
            if isinstance(scale, Asinh):
                said = {"maxRange": scale.t, **said, "W": -scale.t}
        length = "" if name in ("linear", "log") else ' transforms:length="256"'
        gain = ' gain="1"' if name == "linear" else ""
        values = "".join(f' transforms:{key}="{number(value)}"' for key, value in said.items())
        return (
            f"        <transforms:{name}{length}{values}{gain}>\n"
            f"          <data-type:parameter data-type:name={attribute_text(channel)}/>\n"
            f"        </transforms:{name}>\n"
        )

    def _matrix_xml(self) -> str:
        if self._matrix is None:
            return ""
        name, matrix = self._matrix
        channels = [attribute_text(self._channel(detector)) for detector in matrix.detectors]
        parameters = "".join(f"          <data-type:parameter data-type:name={c}/>\n" for c in channels)
        rows = "".join(
            f"        <transforms:spillover data-type:parameter={channel}>\n"
            + "".join(
                f"          <transforms:coefficient data-type:parameter={other} "
                f'transforms:value="{number(value)}"/>\n'
                for other, value in zip(channels, row, strict=True)
            )
            + "        </transforms:spillover>\n"
            for channel, row in zip(channels, matrix.coefficients, strict=True)
        )
        return (
            f'      <transforms:spilloverMatrix spectral="0" prefix="{_PREFIX}" suffix="" '
            f"name={attribute_text(name)}>\n"
            f"        <data-type:parameters>\n{parameters}        </data-type:parameters>\n{rows}"
            "      </transforms:spilloverMatrix>\n"
        )


def _as_drawn(scale: Scale) -> Scale:
    """Return the scale that FlowJo draws: an arcsinh that ends at a few counts goes on to where there are cells."""
    if not isinstance(scale, Asinh) or scale.t >= _DISPLAYED * scale.cofactor:
        return scale
    decades = math.asinh(_TOP / scale.cofactor) / LN10
    return Asinh(t=_TOP, m=decades, a=_BELOW)


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


def _header(file: str) -> tuple[dict[str, str], list[str]]:
    """Return the keywords that FlowJo needs of a file and its channels; nothing of people. Empty without the file."""
    from cytocar.io._fcs.header import read_header

    if not FilePath(file).is_file():
        return {}, []
    try:
        header = read_header(file)
    except CytocarError as error:
        error.add_note(f"while writing the FlowJo sample of {file}")
        raise
    kept: dict[str, str] = {key: header.keywords[key] for key in _KEPT if key in header.keywords}
    for place, channel in enumerate(header.channels, start=1):
        for letter in "NSRBEG":
            key = f"$P{place}{letter}"
            if key in header.keywords:
                kept[key] = header.keywords[key]
        kept[f"$P{place}N"] = channel.pnn
    for key in ("$SPILLOVER", "SPILL"):
        if key in header.keywords:
            kept[key] = header.keywords[key]
    return kept, [channel.pnn for channel in header.channels]
