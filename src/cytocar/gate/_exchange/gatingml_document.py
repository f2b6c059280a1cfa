"""A `GatingDocument` as the text of a Gating-ML 2.0 file."""

from __future__ import annotations

from collections.abc import Container, Mapping

from cytocar._core.errors import GateError
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._exchange.gatingml_elements import (
    NOT_NESTED,
    attribute_text,
    element_text,
    file_info,
    file_text,
    gate_xml,
    matrix_xml,
    transformation_xml,
    xml_ids,
)
from cytocar.gate._shapes.shapes import Gate, Quadrants


def gatingml_text(document: GatingDocument, *, custom_info: str = "", own_scales: bool = False) -> str:
    """Return a document as Gating-ML.

    Parameters
    ----------
    document
        What to write.
    custom_info
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
    listed = set(document.listed)
    # All gates are populations unless a list says which.
    listed = set() if listed == set(document.names) else listed
    elements = [
        *(transformation_xml(transforms[name], value) for name, value in document.transformations.items()),
        *(matrix_xml(transforms[name], value) for name, value in document.matrices.items()),
    ]
    for name, gate in document.gates.items():
        elements.append(
            _with_info(gate, ids, transforms, {"is_population": "true"} if name in listed else {}, listed)
        )
        elements += [
            _with_info(version, ids, transforms, {"version_of": ids[name]})
            for version in document.versions.get(name, {}).values()
        ]
    return file_text(elements, file_info(custom_info + ("" if document.nested else NOT_NESTED)))


def _with_info(
    gate: Gate,
    ids: Mapping[str, str],
    transforms: Mapping[str, str],
    more: Mapping[str, str],
    listed: Container[str] = (),
) -> str:
    """Return a gate with its name and its file, which Gating-ML has no place for, in its custom_info."""
    name = gate.name or (gate.id if ids[gate.id] != gate.id else "")
    entries = {"name": name, "fcs_file_filename": gate.file, **more}
    text = "".join(f"<{key}>{element_text(value)}</{key}>" for key, value in entries.items() if value)
    text += _of_quadrants(gate, ids, listed) if isinstance(gate, Quadrants) else ""
    info = f"    <data-type:custom_info><cytocar>{text}</cytocar></data-type:custom_info>\n" if text else ""
    return gate_xml(gate, ids, transforms, info)


def _of_quadrants(gate: Quadrants, ids: Mapping[str, str], listed: Container[str]) -> str:
    """Return the quadrants that have names which are not ids of XML (``q++``), or are populations of a list."""
    names = {name: gate.names.get(name) or (name if ids[name] != name else "") for name in gate.quadrants}
    population = {name: ' is_population="true"' if name in listed else "" for name in names}
    return "".join(
        f"<quadrant id={attribute_text(ids[name])}{population[name]}>{element_text(title)}</quadrant>"
        for name, title in names.items()
        if title or name in listed
    )
