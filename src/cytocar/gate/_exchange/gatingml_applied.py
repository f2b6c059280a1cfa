"""The gates as they were applied, as Gating-ML 2.0, so that other programs find the same cells."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import GateError
from cytocar.gate._documents.shape_strategy import CD45
from cytocar.gate._exchange.gatingml_elements import (
    NOT_NESTED,
    channel_xml,
    combination_xml,
    element_text,
    file_info,
    file_text,
    free_id,
    number,
    roles_xml,
    transformation_xml,
    xml_name,
)
from cytocar.gate._exchange.stored import is_gatingml
from cytocar.gate._populations.parts import ROOT, Boolean, Population
from cytocar.gate._results.ledger import gating, strategy_of
from cytocar.gate._shapes.transforms import Asinh

if TYPE_CHECKING:
    from anndata import AnnData

    from cytocar.gate._strategy.strategy import ThresholdStrategy


def applied_text(several: Sequence[AnnData]) -> str:
    """Return the gates of gated data as the text of a Gating-ML file."""
    stored = [str(gating(adata)["strategy"]) for adata in several]
    if any(is_gatingml(text) for text in stored):
        if len(set(stored)) > 1:
            raise GateError(
                "the data were gated by different documents", fix="write the gates of each on their own"
            )
        return stored[0]
    applied = _AppliedGates()
    for adata in several:
        applied.add(adata, strategy_of(adata).as_thresholds())
    return applied.text()


class _AppliedGates:
    """The gates of several samples, collected for one file."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._transforms: dict[float, str] = {}
        self._gates: list[str] = []
        self._samples: list[str] = []
        self._roles: dict[str, str] = {}

    def add(self, adata: AnnData, tree: ThresholdStrategy) -> None:
        """Add the gates of the samples of gated data."""
        kept = gating(adata)
        channels = {marker: _channel_and_cofactor(adata, name) for marker, name in kept["markers"].items()}
        for _, cofactor in channels.values():
            self._transforms.setdefault(cofactor, f"arcsinh_{xml_name(f'{cofactor:g}')}")
        for sample, entry in kept["samples"].items():
            if sample in self._samples:
                raise GateError(f"sample {sample!r} comes twice", fix="give each sample once")
            self._samples.append(sample)
            numbers = {threshold["name"]: float(threshold["value"]) for threshold in entry["thresholds"]}
            gates = _SampleGates(tree, sample, numbers, channels, self._transforms, self._ids)
            self._gates += gates.xml()
        self._roles |= {
            name: population for name, population in tree.compartments.items() if population != ROOT
        }
        if tree.denominator != ROOT:
            self._roles[CD45] = tree.denominator

    def text(self) -> str:
        """Return the text of the file."""
        names = "".join(f"<sample>{element_text(sample)}</sample>" for sample in self._samples)
        info = file_info(
            "      <comment>Gates as applied by cytocar, one set a sample, for raw counts. They start from events "
            "that the clean-up calls cells; its limits on beads, debris, doublets and dead cells are not among "
            "them.</comment>\n"
            f"      <samples>{names}</samples>\n{roles_xml(self._roles)}{NOT_NESTED}"
        )
        scales = [
            transformation_xml(identity, Asinh.of_cofactor(cofactor))
            for cofactor, identity in self._transforms.items()
        ]
        return file_text([*scales, *self._gates], info)


def _channel_and_cofactor(adata: AnnData, name: str) -> tuple[str, float]:
    """Return $PnN and cofactor of a marker."""
    row = adata.var.loc[name]
    for column in (keys.CHANNEL, keys.COFACTOR):
        if column not in adata.var:
            raise GateError(
                f"var has no column {column!r}, which Gating-ML needs", fix="read the files with cytocar.io"
            )
    return str(row[keys.CHANNEL]), float(row[keys.COFACTOR])


class _SampleGates:
    """The gates of one sample."""

    def __init__(
        self,
        tree: ThresholdStrategy,
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
        """Yield one element per population, parents first."""
        waiting = list(self._tree.expanded())
        while waiting:
            ready = [p for p in waiting if all(name in self._ids for name in _needs(p))]
            for population in ready:
                yield from self._gate(population)
            waiting = [p for p in waiting if p not in ready]

    def _new_id(self, name: str) -> str:
        stem = f"{xml_name(self._sample)}.{xml_name(re.sub('-$', '_neg', name))}"
        identity = free_id(stem, self._taken)
        self._taken.add(identity)
        return identity

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
                f'    <gating:dimension gating:{side}="{number(self._numbers[term.threshold])}" '
                f'gating:compensation-ref="uncompensated" gating:transformation-ref="{self._transforms[cofactor]}">\n'
                f"{channel_xml(channel)}    </gating:dimension>\n"
            )
        yield self._element("RectangleGate", identity, parent, population.name, "".join(dimensions))

    def _boolean(self, population: Population, gate: Boolean, parent: str | None) -> Iterator[str]:
        operands: list[tuple[str, bool]] = []
        for name in gate.all_of:
            identity = self._ids[name]
            if identity is not None:
                operands.append((identity, False))
        for name in gate.none_of:
            identity = self._ids[name]
            if identity is None:
                raise GateError(f"population {population.name!r} is what is not in {name!r}: nothing at all")
            operands.append((identity, True))
        union = [self._ids[name] for name in gate.any_of]
        any_of = [(identity, False) for identity in union if identity is not None]
        if any_of and len(any_of) == len(union):
            if not operands:
                identity = self._ids[population.name] = self._new_id(population.name)
                yield self._element(
                    "BooleanGate", identity, parent, population.name, combination_xml("or", any_of)
                )
                return
            helper = self._new_id(f"{population.name} any")
            yield self._element(
                "BooleanGate",
                helper,
                None,
                f"{population.name} (any of)",
                combination_xml("or", any_of),
                "<helper>true</helper>",
            )
            operands.append((helper, False))
        if not operands:
            self._ids[population.name] = parent
            return
        identity = self._ids[population.name] = self._new_id(population.name)
        yield self._element(
            "BooleanGate", identity, parent, population.name, combination_xml("and", operands)
        )

    def _element(
        self, kind: str, identity: str, parent: str | None, name: str, content: str, more: str = ""
    ) -> str:
        above = f' gating:parent_id="{parent}"' if parent else ""
        return (
            f'  <gating:{kind} gating:id="{identity}"{above}>\n'
            "    <data-type:custom_info>\n"
            f"      <cytocar><sample>{element_text(self._sample)}</sample><population>{element_text(name)}</population>"
            f"{more}</cytocar>\n"
            "    </data-type:custom_info>\n"
            f"{content}  </gating:{kind}>\n"
        )


def _needs(population: Population) -> tuple[str, ...]:
    gate = population.gate
    return (population.parent, *(gate.names if isinstance(gate, Boolean) else ()))
