"""The gates as they were applied, as Gating-ML 2.0, so that other programs find the same cells."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from cytocar._core import keys
from cytocar._core.errors import GateError, ParameterError
from cytocar._core.files import write_text
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._documents.tree import CD45, DocumentTree
from cytocar.gate._exchange.gatingml_write import NOT_NESTED, roles_xml, write_document
from cytocar.gate._results.ledger import gating, strategy_of
from cytocar.gate._strategy.parts import ROOT, Boolean, Population
from cytocar.gate._strategy.tree import GateTree

if TYPE_CHECKING:
    from anndata import AnnData

_SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# M of fasinh such that it is arcsinh(x / cofactor): 1 / ln 10.
_M = 1.0 / math.log(10.0)


def write_gatingml(
    adata: AnnData | Sequence[AnnData] | GatingDocument,
    path: str | os.PathLike[str],
    *,
    flavour: str = "gatingml",
) -> None:
    """Write the gates as applied, with the numbers of every sample, as Gating-ML 2.0; or a `GatingDocument`.

    Every sample has a set of gates of its own, since its thresholds are its own; ids begin with the sample. A gate is a
    rectangle, open on one side, in ``fasinh`` dimensions that equal arcsinh(x / cofactor): T = cofactor sinh(1), M =
    1 / ln 10, A = 0 (Spidlen et al. 2015, doi 10.1002/cyto.a.22690). The gates are for the raw counts of the file, by
    ``$PnN``, and start from the events that the clean-up calls cells.

    Parameters
    ----------
    adata
        Gated by `cytocar.gate.apply`, or several such; subsets of the cells will do. Or a `GatingDocument`.
    path
        The file, replaced when it is whole.
    flavour
        How a `GatingDocument` is written: ``"gatingml"``, or ``"cytobank"`` with its conventions: arcsinh(x / cofactor)
        scales, and for every population a gate set of all its gates from the top down.

    Raises
    ------
    GateError
        The data are not gated, a sample comes twice, or a gate has no form in Gating-ML or in Cytobank.
    ParameterError
        The flavour is not known, or not for data.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "gates.xml"
    >>> cc.gate.write_gatingml(adata, path)
    >>> path.read_text(encoding="utf-8").count("<gating:RectangleGate")
    18
    """
    if isinstance(adata, GatingDocument):
        write_document(adata, path, flavour=flavour)
        return
    if flavour != "gatingml":
        raise ParameterError(f"flavour is {flavour!r}", fix="gates as applied are written as 'gatingml' only")
    several = [adata] if not isinstance(adata, Sequence) else list(adata)
    write_text(path, applied_text(several))


def applied_text(several: Sequence[AnnData]) -> str:
    """Return the gates of gated data as the text of a Gating-ML file."""
    shapes = [kept for one in several if isinstance(strategy_of(one), DocumentTree) for kept in [gating(one)]]
    if shapes:
        if len({kept["strategy"] for kept in shapes}) > 1 or len(shapes) < len(several):
            raise GateError(
                "the data were gated by different documents", fix="write the gates of each on their own"
            )
        return str(shapes[0]["strategy"])
    ids: set[str] = set()
    transforms: dict[float, str] = {}
    gates: list[str] = []
    samples: list[str] = []
    roles: dict[str, str] = {}
    for one in several:
        kept = gating(one)
        tree = strategy_of(one)
        if isinstance(tree, DocumentTree):
            continue
        channels = {marker: _channel(one, name) for marker, name in kept["markers"].items()}
        for _, cofactor in channels.values():
            transforms.setdefault(cofactor, f"arcsinh_{_name(f'{cofactor:g}')}")
        for sample, found in kept["samples"].items():
            if sample in samples:
                raise GateError(f"sample {sample!r} comes twice", fix="give each sample once")
            samples.append(sample)
            numbers = {entry["name"]: float(entry["value"]) for entry in found["thresholds"]}
            gates += _SampleGates(tree, sample, numbers, channels, transforms, ids).xml()
        roles |= {name: population for name, population in tree.compartments.items() if population != ROOT}
        if tree.denominator != ROOT:
            roles[CD45] = tree.denominator
    return _document(transforms, gates, samples, roles)


def _channel(adata: AnnData, name: str) -> tuple[str, float]:
    """Return $PnN and cofactor of a marker."""
    row = adata.var.loc[name]
    for column in (keys.CHANNEL, keys.COFACTOR):
        if column not in adata.var:
            raise GateError(
                f"var has no column {column!r}, which Gating-ML needs", fix="read the files with cytocar.io"
            )
    return str(row[keys.CHANNEL]), float(row[keys.COFACTOR])


def _name(text: str) -> str:
    """Return `text` with only what may stand in an XML name."""
    return re.sub(r"[^\w.-]", "_", text.replace("+", "_pos"), flags=re.ASCII)


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("\ufffd", text))


class _SampleGates:
    """The gates of one sample."""

    def __init__(
        self,
        tree: GateTree,
        sample: str,
        numbers: Mapping[str, float],
        channels: Mapping[str, tuple[str, float]],
        transforms: Mapping[float, str],
        taken: set[str],
    ) -> None:
        self._tree, self._sample, self._numbers = tree, sample, numbers
        self._channels, self._transforms, self._taken = channels, transforms, taken
        self._ids: dict[str, str | None] = {ROOT: None}

    def xml(self) -> Iterator[str]:
        """Yield one element a population, parents first."""
        waiting = list(self._tree.expanded())
        while waiting:
            ready = [p for p in waiting if all(name in self._ids for name in _needs(p))]
            for population in ready:
                yield from self._gate(population)
            waiting = [p for p in waiting if p not in ready]

    def _new_id(self, name: str) -> str:
        stem = f"{_name(self._sample)}.{_name(re.sub('-$', '_neg', name))}"
        stem = stem if re.match("[A-Za-z_]", stem) else f"_{stem}"
        found, number = stem, 1
        while found in self._taken:
            number += 1
            found = f"{stem}_{number}"
        self._taken.add(found)
        return found

    def _gate(self, population: Population) -> Iterator[str]:
        parent = self._ids[population.parent]
        gate = population.gate
        if isinstance(gate, Boolean):
            yield from self._boolean(population, gate, parent)
            return
        if not gate.terms:
            # Every term was left out for want of its marker: the population is its parent.
            self._ids[population.name] = parent
            return
        identity = self._ids[population.name] = self._new_id(population.name)
        dimensions = []
        for term in gate.terms:
            channel, cofactor = self._channels[self._tree.thresholds[term.threshold].marker]
            side = "min" if term.positive else "max"
            dimensions.append(
                f'    <gating:dimension gating:{side}="{self._numbers[term.threshold]!r}" '
                f'gating:compensation-ref="uncompensated" gating:transformation-ref="{self._transforms[cofactor]}">\n'
                f"      <data-type:fcs-dimension data-type:name={_attribute(channel)}/>\n"
                "    </gating:dimension>\n"
            )
        yield self._element("RectangleGate", identity, parent, population.name, "".join(dimensions))

    def _boolean(self, population: Population, gate: Boolean, parent: str | None) -> Iterator[str]:
        parts: list[tuple[str, bool]] = []
        for name in gate.all_of:
            identity = self._ids[name]
            if identity is not None:
                parts.append((identity, False))
        for name in gate.none_of:
            identity = self._ids[name]
            if identity is None:
                raise GateError(f"population {population.name!r} is what is not in {name!r}: nothing at all")
            parts.append((identity, True))
        union = [self._ids[name] for name in gate.any_of]
        any_of = [(identity, False) for identity in union if identity is not None]
        if any_of and len(any_of) == len(union):
            if not parts:
                identity = self._ids[population.name] = self._new_id(population.name)
                yield self._element("BooleanGate", identity, parent, population.name, _combine("or", any_of))
                return
            helper = self._new_id(f"{population.name} any")
            yield self._element(
                "BooleanGate",
                helper,
                None,
                f"{population.name} (any of)",
                _combine("or", any_of),
                "<helper>true</helper>",
            )
            parts.append((helper, False))
        if not parts:
            self._ids[population.name] = parent
            return
        identity = self._ids[population.name] = self._new_id(population.name)
        yield self._element("BooleanGate", identity, parent, population.name, _combine("and", parts))

    def _element(
        self, kind: str, identity: str, parent: str | None, name: str, content: str, more: str = ""
    ) -> str:
        above = f' gating:parent_id="{parent}"' if parent else ""
        return (
            f'  <gating:{kind} gating:id="{identity}"{above}>\n'
            "    <data-type:custom_info>\n"
            f"      <cytocar><sample>{_text(self._sample)}</sample><population>{_text(name)}</population>"
            f"{more}</cytocar>\n"
            "    </data-type:custom_info>\n"
            f"{content}  </gating:{kind}>\n"
        )


def _needs(population: Population) -> tuple[str, ...]:
    gate = population.gate
    return (population.parent, *(gate.names if isinstance(gate, Boolean) else ()))


def _combine(operation: str, parts: Sequence[tuple[str, bool]]) -> str:
    # The schema wants two references at least; a gate combined with itself is itself.
    parts = [*parts, *parts] if len(parts) == 1 else list(parts)
    outside = ' gating:use-as-complement="true"'
    references = "".join(
        f'      <gating:gateReference gating:ref="{identity}"{outside if complement else ""}/>\n'
        for identity, complement in parts
    )
    return f"    <gating:{operation}>\n{references}    </gating:{operation}>\n"


def _document(
    transforms: Mapping[float, str], gates: Sequence[str], samples: Sequence[str], roles: Mapping[str, str]
) -> str:
    names = "".join(f"<sample>{_text(sample)}</sample>" for sample in samples)
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<gating:Gating-ML xmlns:gating="{_SPACE}/gating" xmlns:transforms="{_SPACE}/transformations" '
        f'xmlns:data-type="{_SPACE}/datatypes">\n'
        "  <data-type:custom_info>\n"
        "    <cytocar>\n"
        "      <comment>Gates as applied by cytocar, one set a sample, for raw counts. They start from events that the "
        "clean-up calls cells; its limits on beads, debris, doublets and dead cells are not among them.</comment>\n"
        f"      <samples>{names}</samples>\n{roles_xml(roles)}{NOT_NESTED}"
        "    </cytocar>\n"
        "  </data-type:custom_info>\n"
    )
    transformations = "".join(
        f'  <transforms:transformation transforms:id="{identity}">\n'
        f'    <transforms:fasinh transforms:T="{cofactor * math.sinh(1.0)!r}" '
        f'transforms:M="{_M!r}" transforms:A="0.0"/>\n'
        "  </transforms:transformation>\n"
        for cofactor, identity in transforms.items()
    )
    return head + transformations + "".join(gates) + "</gating:Gating-ML>\n"
