"""A `GatingDocument` to Gating-ML 2.0."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from cytocar._core.errors import GateError, ParameterError, did_you_mean
from cytocar._core.files import write_text
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._shapes.shapes import Combination, Dimension, Ellipsoid, Gate, Polygon, Quadrants, Rectangle
from cytocar.gate._shapes.transforms import Ratio, SpectrumMatrix, Transformation

SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0"
NOT_NESTED = "      <nested>false</nested>\n"
"""Says that populations without a parent are at the top, whatever they combine."""
FLAVOURS = ("gatingml", "cytobank")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_document(
    document: GatingDocument, path: str | os.PathLike[str], *, flavour: str = "gatingml"
) -> None:
    """Write gates as Gating-ML 2.0.

    Parameters
    ----------
    document
        What to write.
    path
        The file, replaced when it is whole.
    flavour
        ``"gatingml"`` keeps everything. ``"cytobank"`` follows its conventions: gates without parents, a gate set of
        all gates from the top down for every population, arcsinh scales as arcsinh(x / cofactor).
    """
    if flavour not in FLAVOURS:
        raise ParameterError(f"flavour is {flavour!r}", fix=did_you_mean(str(flavour), FLAVOURS))
    if flavour == "cytobank":
        from cytocar.gate._exchange.cytobank import cytobank_text

        write_text(path, cytobank_text(document))
    else:
        write_text(path, gatingml_text(document))


def gatingml_text(document: GatingDocument, *, said: str = "", own_scales: bool = False) -> str:
    """Return a document as Gating-ML.

    Parameters
    ----------
    document
        What to write.
    said
        Elements for the custom_info of the file.
    own_scales
        Write scales that only FlowJo has under their own names, where `read_gatingml` finds them; else they are
        refused, since no other program knows them.
    """
    for value in () if own_scales else document.own_scales():
        raise GateError(
            f"Gating-ML 2.0 has no scale {value.xml_name!r}",
            fix="write a FlowJo workspace, or draw these gates on ArcSinh or Logicle axes in FlowJo",
        )
    ids = xml_ids([*document.names, *(gate.id for gate in document.gates.values())])
    ids |= xml_ids(
        [gate.id for versions in document.versions.values() for gate in versions.values()], taken=ids.values()
    )
    transforms = xml_ids([*document.transformations, *document.matrices])
    listed = {one.id for one in document.populations}
    # All gates are populations unless a list says which.
    listed = set() if listed == set(document.names) else listed
    parts = [
        *(transformation_xml(transforms[name], value) for name, value in document.transformations.items()),
        *(matrix_xml(transforms[name], value) for name, value in document.matrices.items()),
    ]
    for name, gate in document.gates.items():
        parts.append(_with_info(gate, ids, transforms, {"is_population": "true"} if name in listed else {}))
        parts += [
            _with_info(version, ids, transforms, {"version_of": ids[name]})
            for version in document.versions.get(name, {}).values()
        ]
    said += "" if document.nested else NOT_NESTED
    info = (
        f"  <data-type:custom_info>\n    <cytocar>\n{said}    </cytocar>\n  </data-type:custom_info>\n"
        if said
        else ""
    )
    return file_text(parts, info)


def _with_info(
    gate: Gate, ids: Mapping[str, str], transforms: Mapping[str, str], known: Mapping[str, str]
) -> str:
    name = gate.name or (gate.id if ids[gate.id] != gate.id else "")
    entries = {"name": name, "fcs_file_filename": gate.file, **known}
    said = "".join(f"<{key}>{element_text(value)}</{key}>" for key, value in entries.items() if value)
    info = f"    <data-type:custom_info><cytocar>{said}</cytocar></data-type:custom_info>\n" if said else ""
    return gate_xml(gate, ids, transforms, info)


def file_text(parts: Iterable[str], info: str = "") -> str:
    """Return the text of a file from its elements."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<gating:Gating-ML xmlns:gating="{SPACE}/gating" xmlns:transforms="{SPACE}/transformations" '
        f'xmlns:data-type="{SPACE}/datatypes">\n{info}{"".join(parts)}</gating:Gating-ML>\n'
    )


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
    found: dict[str, str] = {}
    for name in wanted:
        if _is_id(name):
            found[name] = name
            continue
        stem = re.sub(r"[^\w.-]", "_", name.replace("+", "_pos"), flags=re.ASCII) or "_"
        stem = stem if re.match("[A-Za-z_]", stem) else f"_{stem}"
        unique, number = stem, 1
        while unique in used:
            number += 1
            unique = f"{stem}_{number}"
        used.add(unique)
        found[name] = unique
    return found


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
        channels = "".join(_channel(name, "      ") for name in (value.numerator, value.denominator))
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
        f"    <transforms:{kind}>\n{''.join(_channel(name, '      ') for name in values)}    </transforms:{kind}>\n"
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


def _content(gate: Gate, ids: Mapping[str, str], transforms: Mapping[str, str]) -> Iterator[str]:
    if isinstance(gate, Rectangle):
        for axis, low, high in zip(gate.dimensions, gate.low, gate.high, strict=True):
            bounds = "" if low is None else f' gating:min="{number(low)}"'
            bounds += "" if high is None else f' gating:max="{number(high)}"'
            yield _dimension(axis, transforms, bounds)
    elif isinstance(gate, Polygon):
        yield from (_dimension(axis, transforms) for axis in gate.dimensions)
        for vertex in gate.vertices:
            yield f"    <gating:vertex>\n{_coordinates(vertex)}    </gating:vertex>\n"
    elif isinstance(gate, Ellipsoid):
        yield from (_dimension(axis, transforms) for axis in gate.dimensions)
        yield f"    <gating:mean>\n{_coordinates(gate.mean)}    </gating:mean>\n"
        yield "    <gating:covarianceMatrix>\n"
        for row in gate.covariance:
            entries = "".join(f'        <gating:entry data-type:value="{number(v)}"/>\n' for v in row)
            yield f"      <gating:row>\n{entries}      </gating:row>\n"
        yield "    </gating:covarianceMatrix>\n"
        yield f'    <gating:distanceSquare data-type:value="{number(gate.distance_square)}"/>\n'
    elif isinstance(gate, Quadrants):
        yield from _quadrants(gate, ids, transforms)
    elif isinstance(gate, Combination):
        parts = gate.operands
        if gate.operation != "not" and len(parts) == 1:
            # The schema wants two references at least; a gate combined with itself is itself.
            parts = (*parts, *parts)
        yield f"    <gating:{gate.operation}>\n"
        for part in parts:
            outside = ' gating:use-as-complement="true"' if part.complement else ""
            yield f'      <gating:gateReference gating:ref="{ids[part.gate]}"{outside}/>\n'
        yield f"    </gating:{gate.operation}>\n"


def _quadrants(gate: Quadrants, ids: Mapping[str, str], transforms: Mapping[str, str]) -> Iterator[str]:
    dividers = xml_ids(divider.id for divider in gate.dividers)
    for divider in gate.dividers:
        yield (
            f'    <gating:divider gating:id="{dividers[divider.id]}"{_references(divider.dimension, transforms)}>\n'
            f"{_source(divider.dimension, transforms)}"
        )
        yield from (f"      <gating:value>{number(value)}</gating:value>\n" for value in divider.values)
        yield "    </gating:divider>\n"
    for name, places in gate.quadrants.items():
        yield f'    <gating:Quadrant gating:id="{ids[name]}">\n'
        for part, place in places.items():
            yield (
                f'      <gating:position gating:divider_ref="{dividers[part]}" '
                f'gating:location="{number(place)}"/>\n'
            )
        yield "    </gating:Quadrant>\n"


def _dimension(axis: Dimension, transforms: Mapping[str, str], bounds: str = "") -> str:
    return (
        f"    <gating:dimension{_references(axis, transforms)}{bounds}>\n{_source(axis, transforms)}"
        "    </gating:dimension>\n"
    )


def _references(axis: Dimension, transforms: Mapping[str, Any]) -> str:
    scale = f' gating:transformation-ref="{transforms[axis.transformation]}"' if axis.transformation else ""
    compensation = transforms.get(axis.compensation, axis.compensation)
    return f' gating:compensation-ref="{compensation}"{scale}'


def _source(axis: Dimension, transforms: Mapping[str, str]) -> str:
    if axis.ratio:
        return f'      <data-type:new-dimension data-type:transformation-ref="{transforms[axis.ratio]}"/>\n'
    return _channel(axis.channel, "      ")


def _channel(name: str, indent: str) -> str:
    return f"{indent}<data-type:fcs-dimension data-type:name={attribute_text(name)}/>\n"


def _coordinates(values: Iterable[float]) -> str:
    return "".join(f'      <gating:coordinate data-type:value="{number(value)}"/>\n' for value in values)
