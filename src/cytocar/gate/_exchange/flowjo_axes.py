"""How FlowJo calls and draws the channels of one file: names, scales, ends of axes, and the spillover matrix."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final

import numpy as np

from cytocar._core.errors import CytocarError, GateError
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._exchange.flowjo_gates import is_time
from cytocar.gate._exchange.flowjo_tree import refuse
from cytocar.gate._exchange.gatingml_elements import attribute_text, number
from cytocar.gate._shapes.flowjo_scales import Biex, FlowJoLog
from cytocar.gate._shapes.shapes import FROM_FILE, Dimension, Gate, Rectangle, Shape
from cytocar.gate._shapes.spillover import SpectrumMatrix, parse_spillover
from cytocar.gate._shapes.transforms import LN10, Asinh, Hyperlog, Linear, Log, Logicle, Scale

if TYPE_CHECKING:
    from cytocar.io._fcs.header import FcsHeader

# FlowJo shows an axis from its T down: enough for the counts of mass cytometry, with a little room below 0.
_TOP: Final = 16_384.0
_BELOW: Final = 0.25
_DISPLAYED: Final = 100.0
_PREFIX: Final = "Comp-"
_SPILLOVER: Final = ("$SPILLOVER", "SPILL")


@dataclasses.dataclass(frozen=True)
class Drawn:
    """The axis of one channel: its scale, None where it is linear; of a linear one the ends and the gain.

    FlowJo shows, and stores, values of the file times the gain: seconds of Time.
    """

    scale: Scale | None
    low: float
    high: float
    gain: float = 1.0


class FlowJoAxes:
    """The axes of one file, each drawn on one scale.

    Parameters
    ----------
    document
        Whose gates are drawn.
    keywords, channels
        Of the file; empty where it is not there.
    seconds
        In a tick of its Time.
    """

    def __init__(
        self,
        document: GatingDocument,
        keywords: Mapping[str, str],
        channels: Sequence[str],
        seconds: float = 1.0,
    ) -> None:
        self._document, self._keywords, self._channels = document, keywords, channels
        self._seconds = seconds
        self._columns = document.columns(channels) if channels else None
        self._matrix: tuple[str, SpectrumMatrix] | None = None
        self._drawn: dict[str, Drawn] = {}

    def __getitem__(self, name: str) -> Drawn:
        return self._drawn[name]

    def scale(self, gate: Gate, axis: Dimension) -> Scale | None:
        """Return the scale of an axis of a gate; None where positions are values."""
        scale = self._document.transformations.get(axis.transformation)
        if not isinstance(scale, Scale):
            return None
        if scale.bound_min is not None or scale.bound_max is not None:
            refuse(gate, "scale with bounds")
        return scale

    def scale_of_outline(self, gate: Gate, axis: Dimension) -> Scale | None:
        """Return the scale of an axis of a polygon or an ellipse."""
        scale = self.scale(gate, axis)
        if isinstance(scale, Log):
            refuse(gate, "logarithm without a place for 0", fix="put this gate on an arcsinh scale")
        return scale

    def name(self, gate: Gate, axis: Dimension) -> str:
        """Return what FlowJo calls the channel of an axis."""
        if axis.ratio:
            refuse(gate, "ratio of two channels")
        matrix = self._matrix_of(axis)
        if matrix is None:
            return self._channel(axis.channel)
        name, spectrum = matrix
        column = spectrum.column(axis.channel)
        if column is None:
            if axis.compensation == FROM_FILE:
                return self._channel(axis.channel)
            refuse(gate, f"channel {axis.channel!r} in the matrix {name!r}")
        if spectrum.inverted or len(spectrum.detectors) != len(spectrum.fluorochromes):
            refuse(gate, f"matrix such as {name!r}: inverted, or with more detectors than dyes")
        if self._matrix not in (None, matrix):
            refuse(gate, "second matrix in one sample")
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
        return next((self._keywords[key] for key in _SPILLOVER if key in self._keywords), "")

    def choose(self, gates: Iterable[Gate]) -> None:
        """Give every channel the one axis that FlowJo draws it on: polygons and ellipses say which."""
        needed: dict[str, dict[Scale | None, Gate]] = {}
        wished: dict[str, Scale] = {}
        spans: dict[str, list[float]] = {}
        for gate in gates:
            for position, axis in enumerate(gate.axes):
                name = self.name(gate, axis)
                scale = self.scale(gate, axis)
                spans.setdefault(name, []).extend(_extent(gate, position, scale))
                drawn = None if scale is None or isinstance(scale, Linear | Log) else _as_drawn(scale)
                if drawn is not None and is_time(name):
                    # FlowJo has Time in seconds, and a curve of ticks is not one of seconds.
                    _need_rectangle(gate)
                    drawn = None
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
            # FlowJo counts all below an edge at the bottom of an axis, so none is put there.
            room = 0.05 * (high - low)
            gain = self._seconds if is_time(name) and chosen is None else 1.0
            self._drawn[name] = Drawn(chosen, (low - room) * gain, (high + room) * gain, gain)

    def axes_xml(self) -> str:
        """Return the elements of <Transformations>."""
        # FlowJo lists the axis of a compensated channel for the measured one too.
        measured = {name.removeprefix(_PREFIX): axis for name, axis in self._drawn.items() if self._matrix}
        return "".join(_axis_xml(name, axis) for name, axis in {**measured, **self._drawn}.items())

    def matrix_xml(self) -> str:
        """Return <spilloverMatrix>; nothing where no channel is compensated."""
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


def _need_rectangle(gate: Gate) -> None:
    if not isinstance(gate, Rectangle):
        refuse(
            gate, "axis of seconds for an outline on Time that is not linear", fix="draw it on linear Time"
        )


def _extent(gate: Gate, axis: int, scale: Scale | None) -> list[float]:
    """Return values of the channel that the gate reaches, for the ends of a linear axis."""
    ends = [end for end in gate.ends(axis) if end is not None] if isinstance(gate, Shape) else []
    with np.errstate(over="ignore"):
        values = ends if scale is None else scale.inverse(ends).tolist()
    return [value for value in values if math.isfinite(value)]


def _as_drawn(scale: Scale) -> Scale:
    """Return the scale that FlowJo draws: an arcsinh that ends at a few counts goes on to where there are cells."""
    if not isinstance(scale, Asinh) or scale.t >= _DISPLAYED * scale.cofactor:
        return scale
    decades = math.asinh(_TOP / scale.cofactor) / LN10
    return Asinh(t=_TOP, m=decades, a=_BELOW)


def _axis_xml(channel: str, axis: Drawn) -> str:
    scale = axis.scale
    kind, values = "linear", {"minRange": axis.low, "maxRange": axis.high}
    if isinstance(scale, FlowJoLog):
        kind, values = "log", {"offset": scale.offset, "decades": scale.decades}
    elif isinstance(scale, Biex):
        kind = "biex"
        values = {"maxRange": scale.top, "neg": scale.neg, "width": scale.width, "pos": scale.pos}
    elif isinstance(scale, Asinh):
        kind, values = scale.xml_name, {"maxRange": scale.t, **scale.parameters(), "W": -scale.t}
    elif isinstance(scale, Logicle | Hyperlog):
        kind, values = scale.xml_name, scale.parameters()
    length = "" if kind in ("linear", "log") else ' transforms:length="256"'
    gain = f' gain="{number(axis.gain)}"' if kind == "linear" else ""
    attributes = "".join(f' transforms:{key}="{number(value)}"' for key, value in values.items())
    return (
        f"        <transforms:{kind}{length}{attributes}{gain}>\n"
        f"          <data-type:parameter data-type:name={attribute_text(channel)}/>\n"
        f"        </transforms:{kind}>\n"
    )


def file_header(file: str) -> tuple[dict[str, str], list[str], float]:
    """Return the whole TEXT of a file, its channels, and the seconds in a tick of its Time.

    FlowJo computes nothing of a sample without keywords. The seconds are those of ``$TIMESTEP``, else of the time from
    ``$BTIM`` to ``$ETIM`` over the last tick, as FlowJo has it, else 1: ticks stay ticks. Empty without the file.
    """
    from cytocar.io._fcs.header import read_header

    if not FilePath(file).is_file():
        return {}, [], 1.0
    try:
        header = read_header(file)
        seconds = _seconds_in_a_tick(header)
    except CytocarError as error:
        error.add_note(f"while writing the FlowJo sample of {file}")
        raise
    keywords = dict(header.keywords)
    keywords |= {f"$P{index}N": channel.pnn for index, channel in enumerate(header.channels, start=1)}
    return keywords, [channel.pnn for channel in header.channels], seconds


def _seconds_in_a_tick(header: FcsHeader) -> float:
    from cytocar.io._fcs.clock import time_of_day
    from cytocar.io._fcs.data import blocks

    try:
        step = float(header.keywords.get("$TIMESTEP", ""))
    except ValueError:
        step = 0.0
    if math.isfinite(step) and step > 0:
        return step
    begin, end = (time_of_day(header.keywords.get(key, "")) for key in ("$BTIM", "$ETIM"))
    column = next((n for n, c in enumerate(header.channels) if is_time(c.pnn)), None)
    if begin is None or end is None or column is None or header.missing_bytes:
        return 1.0
    last = max((float(block[:, column].max()) for _, block in blocks(header)), default=0.0)
    # An acquisition over midnight ends at an earlier hour than it begins.
    took = (end - begin) % 86_400
    return took / last if last > 0 and took > 0 else 1.0
