"""The elements of Gating-ML 2.0, and of what cytocar and Cytobank say in them, as text."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from xml.sax.saxutils import escape, quoteattr

from cytocar._core.errors import GateError
from cytocar.gate._shapes.shapes import Combination, Dimension, Ellipsoid, Gate, Polygon, Quadrants, Rectangle
from cytocar.gate._shapes.spillover import SpectrumMatrix
from cytocar.gate._shapes.transforms import Ratio, Transformation

SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0"
NOT_NESTED = "      <nested>false</nested>\n"
"""Says that populations without a parent are at the top, whatever they combine."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def file_text(elements: Iterable[str], info: str = "") -> str:
    """Return the text of a file from its elements."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<gating:Gating-ML xmlns:gating="{SPACE}/gating" xmlns:transforms="{SPACE}/transformations" '
        f'xmlns:data-type="{SPACE}/datatypes">\n{info}{"".join(elements)}</gating:Gating-ML>\n'
    )


def file_info(content: str) -> str:
    """Return what cytocar says of a whole file; nothing where there is nothing to say."""
    if not content:
        return ""
    return f"  <data-type:custom_info>\n    <cytocar>\n{content}    </cytocar>\n  </data-type:custom_info>\n"


def roles_xml(roles: Mapping[str, str]) -> str:
    """Return which population is which, as it stands in the custom_info of a file."""
    return "".join(
        f"      <role name={attribute_text(name)}>{element_text(path)}</role>\n"
        for name, path in roles.items()
    )


def xml_ids(names: Iterable[str], *, taken: Iterable[str] = ()) -> dict[str, str]:
    """Return for each name an id that XML allows: itself where that is one, and no two alike."""
    wanted = list(dict.fromkeys(names))
    used = set(taken) | {name for name in wanted if _is_id(name)}
    ids: dict[str, str] = {}
    for name in wanted:
        if _is_id(name):
            ids[name] = name
            continue
        ids[name] = free_id(xml_name(name), used)
        used.add(ids[name])
    return ids


def xml_name(text: str) -> str:
    """Return text with only what may stand in an id of XML."""
    return re.sub(r"[^\w.-]", "_", text.replace("+", "_pos"), flags=re.ASCII)


def free_id(stem: str, used: Container[str]) -> str:
    """Return an id that is not in use and begins with `stem`, as far as ids may begin so."""
    stem = stem if re.match("[A-Za-z_]", stem) else f"_{stem}"
    unique, number = stem, 1
    while unique in used:
        number += 1
        unique = f"{stem}_{number}"
    return unique


def _is_id(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][\w.-]*", name, flags=re.ASCII) is not None


def element_text(text: str) -> str:
    """Return text as it may stand in an element."""
    return escape(_NOT_XML.sub("\ufffd", text), {"\r": "&#13;"})


def attribute_text(text: str) -> str:
    """Return text as a quoted attribute."""
    return quoteattr(_NOT_XML.sub("\ufffd", text))


def number(value: float) -> str:
    """Return a number so that reading it gives the same bits."""
    return repr(float(value))


def transformation_xml(identity: str, value: Transformation) -> str:
    """Return one scale or ratio."""
    bounds = "".join(
        f' transforms:{name}="{number(bound)}"'
        for name, bound in (("boundMin", value.bound_min), ("boundMax", value.bound_max))
        if bound is not None
    )
    parameters = "".join(f' transforms:{key}="{number(v)}"' for key, v in value.parameters().items())
    if isinstance(value, Ratio):
        channels = "".join(channel_xml(name) for name in (value.numerator, value.denominator))
        content = f"    <transforms:fratio{parameters}>\n{channels}    </transforms:fratio>\n"
    else:
        content = f"    <transforms:{value.xml_name}{parameters}/>\n"
    return (
        f'  <transforms:transformation transforms:id="{identity}"{bounds}>\n{content}'
        "  </transforms:transformation>\n"
    )


def matrix_xml(identity: str, matrix: SpectrumMatrix) -> str:
    """Return one spectrum matrix."""
    names = "".join(
        f"    <transforms:{kind}>\n{''.join(map(channel_xml, values))}    </transforms:{kind}>\n"
        for kind, values in (("fluorochromes", matrix.fluorochromes), ("detectors", matrix.detectors))
    )
    rows = "".join(
        "    <transforms:spectrum>\n"
        + "".join(f'      <transforms:coefficient transforms:value="{number(value)}"/>\n' for value in row)
        + "    </transforms:spectrum>\n"
        for row in matrix.coefficients
    )
    inverted = ' transforms:matrix-inverted-already="true"' if matrix.inverted else ""
    return (
        f'  <transforms:spectrumMatrix transforms:id="{identity}"{inverted}>\n{names}{rows}'
        "  </transforms:spectrumMatrix>\n"
    )


def gate_xml(gate: Gate, ids: Mapping[str, str], transforms: Mapping[str, str], info: str) -> str:
    """Return one gate.

    Parameters
    ----------
    gate
        Any kind.
    ids, transforms
        The ids of gates, and of transformations and matrices, as they are written.
    info
        Its custom_info.
    """
    above = f' gating:parent_id="{ids[gate.parent]}"' if gate.parent else ""
    content = "".join(_content(gate, ids, transforms))
    return (
        f'  <gating:{gate.kind} gating:id="{ids[gate.id]}"{above}>\n{info}{content}  </gating:{gate.kind}>\n'
    )


@singledispatch
def _content(gate: Gate, _ids: Mapping[str, str], _transforms: Mapping[str, str]) -> Iterator[str]:
    """Yield what is within the element of a gate."""
    raise GateError(f"gate {gate.title!r}: {type(gate).__name__} has no form in Gating-ML")


@_content.register(Rectangle)
def _rectangle(gate: Rectangle, _ids: Mapping[str, str], transforms: Mapping[str, str]) -> Iterator[str]:
    for axis, low, high in zip(gate.dimensions, gate.low, gate.high, strict=True):
        bounds = "" if low is None else f' gating:min="{number(low)}"'
        bounds += "" if high is None else f' gating:max="{number(high)}"'
        yield _dimension(axis, transforms, bounds)


@_content.register(Polygon)
def _polygon(gate: Polygon, _ids: Mapping[str, str], transforms: Mapping[str, str]) -> Iterator[str]:
    yield from (_dimension(axis, transforms) for axis in gate.dimensions)
    for vertex in gate.vertices:
        yield f"    <gating:vertex>\n{_coordinates(vertex)}    </gating:vertex>\n"


@_content.register(Ellipsoid)
def _ellipsoid(gate: Ellipsoid, _ids: Mapping[str, str], transforms: Mapping[str, str]) -> Iterator[str]:
    yield from (_dimension(axis, transforms) for axis in gate.dimensions)
    yield f"    <gating:mean>\n{_coordinates(gate.mean)}    </gating:mean>\n"
    yield "    <gating:covarianceMatrix>\n"
    for row in gate.covariance:
        entries = "".join(f'        <gating:entry data-type:value="{number(v)}"/>\n' for v in row)
        yield f"      <gating:row>\n{entries}      </gating:row>\n"
    yield "    </gating:covarianceMatrix>\n"
    yield f'    <gating:distanceSquare data-type:value="{number(gate.distance_square)}"/>\n'


@_content.register(Combination)
def _combination(gate: Combination, ids: Mapping[str, str], _transforms: Mapping[str, str]) -> Iterator[str]:
    operands = [(ids[operand.gate], operand.complement) for operand in gate.operands]
    yield combination_xml(gate.operation, operands)


def combination_xml(operation: str, operands: Sequence[tuple[str, bool]]) -> str:
    """Return `and`, `or` or `not` of gates: their ids, each with whether the events outside of it are meant."""
    if operation != "not" and len(operands) == 1:
        # The schema wants two references at least; a gate combined with itself is itself.
        operands = [*operands, *operands]
    outside = ' gating:use-as-complement="true"'
    references = "".join(
        f'      <gating:gateReference gating:ref="{identity}"{outside if complement else ""}/>\n'
        for identity, complement in operands
    )
    return f"    <gating:{operation}>\n{references}    </gating:{operation}>\n"


@_content.register(Quadrants)
def _quadrants(gate: Quadrants, ids: Mapping[str, str], transforms: Mapping[str, str]) -> Iterator[str]:
    dividers = xml_ids(divider.id for divider in gate.dividers)
    for divider in gate.dividers:
        yield (
            f'    <gating:divider gating:id="{dividers[divider.id]}"{_references(divider.dimension, transforms)}>\n'
            f"{_source(divider.dimension, transforms)}"
        )
        yield from (f"      <gating:value>{number(value)}</gating:value>\n" for value in divider.values)
        yield "    </gating:divider>\n"
    for name, locations in gate.quadrants.items():
        yield f'    <gating:Quadrant gating:id="{ids[name]}">\n'
        for divider_id, location in locations.items():
            yield (
                f'      <gating:position gating:divider_ref="{dividers[divider_id]}" '
                f'gating:location="{number(location)}"/>\n'
            )
        yield "    </gating:Quadrant>\n"


def _dimension(axis: Dimension, transforms: Mapping[str, str], bounds: str = "") -> str:
    return (
        f"    <gating:dimension{_references(axis, transforms)}{bounds}>\n{_source(axis, transforms)}"
        "    </gating:dimension>\n"
    )


def _references(axis: Dimension, transforms: Mapping[str, str]) -> str:
    scale = f' gating:transformation-ref="{transforms[axis.transformation]}"' if axis.transformation else ""
    compensation = transforms.get(axis.compensation, axis.compensation)
    return f' gating:compensation-ref="{compensation}"{scale}'


def _source(axis: Dimension, transforms: Mapping[str, str]) -> str:
    if axis.ratio:
        return f'      <data-type:new-dimension data-type:transformation-ref="{transforms[axis.ratio]}"/>\n'
    return channel_xml(axis.channel)


def channel_xml(name: str) -> str:
    """Return the channel of an axis."""
    return f"      <data-type:fcs-dimension data-type:name={attribute_text(name)}/>\n"


def _coordinates(values: Iterable[float]) -> str:
    return "".join(f'      <gating:coordinate data-type:value="{number(value)}"/>\n' for value in values)
