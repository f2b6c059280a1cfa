"""A `GatingDocument` as a strategy: which of its populations are CAR-T cells, host T cells, and subsets of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NoReturn

from cytocar._core import keys
from cytocar._core.errors import GateError, did_you_mean
from cytocar.gate._documents.document import GatingDocument
from cytocar.gate._documents.hierarchy import DocumentPopulation
from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._populations.parts import ROOT
from cytocar.gate._shapes.shapes import Combination, Gate

if TYPE_CHECKING:
    from anndata import AnnData

    from cytocar._core.errors import Problem
    from cytocar.gate._populations.evaluate import Mask
    from cytocar.gate._populations.gated_input import GatedInput
    from cytocar.gate._strategy.strategy import Gated, GatingOptions, Pictures, Pins, StudyFacts
    from cytocar.gate._strategy.threshold import Threshold

CD45: Final = "cd45"
"""The role of the population of which frequencies are given in per cent."""
ROLES: Final = (keys.CAR, keys.HOST, CD45)
BETWEEN: Final = " > "
_SUBSET: Final = "subset "

# How populations are usually called, in lower case. A subset may stand behind the name of its compartment.
_USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    keys.CAR: (
        "car-t",
        "car t",
        "cart",
        "car-t cells",
        "car t cells",
        "car+",
        "car+ t",
        "car+ t cells",
        "vhh+",
    ),
    keys.HOST: (
        "host t",
        "host t cells",
        "host",
        "car-",
        "car- t",
        "car- t cells",
        "non-car t",
        "vhh-",
        "car-negative",
    ),
    CD45: ("cd45+", "cd45", "cd45+ cells", "leukocytes"),
    "CD4": ("cd4", "cd4+", "cd4 t", "cd4+ t", "cd4+cd8-", "cd4+ cd8-", "cd4 t cells", "cd4+ t cells"),
    "CD8": ("cd8", "cd8+", "cd8 t", "cd8+ t", "cd4-cd8+", "cd4- cd8+", "cd8 t cells", "cd8+ t cells"),
    "DN": ("dn", "cd4-cd8-", "cd4- cd8-", "double negative", "dn t", "dn t cells"),
    "DP": ("dp", "cd4+cd8+", "cd4+ cd8+", "double positive", "dp t", "dp t cells"),
}


@dataclass(frozen=True)
class GateText:
    """The gate of a population of a document in words."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class ShapedPopulation:
    """A population of a document: its name in tables, its parent, its gate, and its path in the document."""

    name: str
    parent: str
    gate: GateText
    path: tuple[str, ...]


@dataclass(frozen=True)
class ShapeStrategy:
    """A strategy of gates as shapes, with what its populations are to a study.

    In tables a population goes by its name, or by as much of the end of its path as tells it from others, with ``>``
    between the names: ``B cells > CD27+``. The gates are those of the document; none is found in the data.

    Parameters
    ----------
    document
        The gates.
    name
        What it is called.
    car, host, cd45
        Paths of the CAR-T cells, the host T cells and the population of which frequencies are given in per cent; the
        end of a path will do. Empty takes what the document says, or a usual name such as ``CAR-T``, ``Host T`` and
        ``CD45+``, where there is one such population.
    subsets
        CD4, CD8, DN or DP to a population, looked for below CAR-T and below host cells; None takes usual names such
        as ``CD4+`` or ``CAR-T CD4``.

    Raises
    ------
    GateError
        A population that is named is not there, or is one of several.

    Examples
    --------
    >>> from cytocar.gate import Dimension, interval
    >>> gates = [interval("CAR+", Dimension("B"), low=9), interval("endogenous", Dimension("B"), high=9)]
    >>> ShapeStrategy(GatingDocument(gates), host="endogenous").compartments
    {'car': 'CAR+', 'host': 'endogenous'}
    """

    document: GatingDocument
    name: str = "gates"
    car: str = ""
    host: str = ""
    cd45: str = ""
    subsets_named: Mapping[str, str] | None = None
    description: str = ""

    def __post_init__(self) -> None:
        for name in self.subsets_named or {}:
            if name not in keys.SUBSETS:
                raise GateError(f"subset {name!r} is not known", fix=did_you_mean(name, keys.SUBSETS))
        # All names are looked up here, so that what is wrong is told before anything is gated.
        _ = self.compartments, self.denominator, self.subset_populations
        if len(set(self.compartments.values())) < len(self.compartments):
            same = self.compartments[keys.CAR]
            raise GateError(f"{keys.CAR} and {keys.HOST} are both population {same!r}", fix="keep them apart")

    @cached_property
    def labels(self) -> dict[str, str]:
        """Id of each population to its name in tables."""
        ends: dict[tuple[str, ...], int] = {}
        for population in self.document.populations:
            for length in range(1, len(population.path) + 1):
                ends[population.path[-length:]] = ends.get(population.path[-length:], 0) + 1
        labels: dict[str, str] = {}
        for population in self.document.populations:
            lengths = range(1, len(population.path) + 1)
            length = next((n for n in lengths if ends[population.path[-n:]] == 1), len(population.path))
            stem = BETWEEN.join(part.replace("/", "|") for part in population.path[-length:])
            label, number = stem, 1
            while label in labels.values() or label in (ROOT, "events", ""):
                number += 1
                label = f"{stem} ({number})"
            labels[population.id] = label
        return labels

    @cached_property
    def _ids(self) -> dict[tuple[str, ...], str]:
        return {population.path: population.id for population in self.document.populations}

    def _label(self, path: tuple[str, ...]) -> str:
        return self.labels[self._ids[path]] if path else ROOT

    def expanded(self) -> tuple[ShapedPopulation, ...]:
        """Return all populations, parents first."""
        return tuple(
            ShapedPopulation(
                self.labels[population.id],
                self._label(population.parent),
                GateText(_gate_text(self.document, self.document.gate(population.id))),
                population.path,
            )
            for population in self.document.populations
        )

    def population(self, name: str) -> ShapedPopulation:
        """Return a population by its name in tables."""
        known = {population.name: population for population in self.expanded()}
        if name not in known:
            raise GateError(
                f"strategy {self.name!r} has no population {name!r}",
                fix=did_you_mean(name, [ROOT, *known]),
            )
        return known[name]

    def _role(self, role: str) -> DocumentPopulation | None:
        """Return the population of a role: as stated, as the document says, or by its usual name."""
        stated = str(getattr(self, role)) or self.document.roles.get(role, "")
        if stated:
            try:
                return self._named(stated)
            except GateError as error:
                raise GateError(f"{role} names population {stated!r}: {error.what}", fix=error.fix) from None
        usual = [one for one in self.document.populations if _usual(one.name) in _USUAL[role]]
        return usual[0] if len(usual) == 1 else None

    def _named(self, text: str) -> DocumentPopulation:
        by_label = {label: name for name, label in self.labels.items()}
        if text in by_label:
            return next(
                population for population in self.document.populations if population.id == by_label[text]
            )
        return self.document.population(tuple(text.split(BETWEEN)) if BETWEEN in text else text)

    @cached_property
    def compartments(self) -> Mapping[str, str]:
        """``car`` and ``host`` to population; where neither is known, ``cells`` to the denominator."""
        named = {
            role: population for role in (keys.CAR, keys.HOST) if (population := self._role(role)) is not None
        }
        if not named:
            return FrozenDict({keys.CELLS: self.denominator})
        return FrozenDict({role: self.labels[population.id] for role, population in named.items()})

    @cached_property
    def denominator(self) -> str:
        """The population of which frequencies are given in per cent; all cells where none is named."""
        denominator = self._role(CD45)
        return ROOT if denominator is None else self.labels[denominator.id]

    @cached_property
    def subset_populations(self) -> Mapping[str, Mapping[str, str]]:
        """Population of each compartment to {subset: population}; empty where the subsets are not known."""
        of_compartments: dict[str, Mapping[str, str]] = {}
        for role in (keys.CAR, keys.HOST):
            above = self._role(role)
            if above is None:
                continue
            below = [
                population
                for population in self.document.populations
                if len(population.path) > len(above.path) and population.path[: len(above.path)] == above.path
            ]
            subsets = {}
            for subset in keys.SUBSETS:
                population = self._subset(subset, above, below)
                if population is not None:
                    subsets[subset] = self.labels[population.id]
            of_compartments[self.labels[above.id]] = FrozenDict(subsets)
        return FrozenDict(of_compartments) if any(of_compartments.values()) else FrozenDict()

    def _subset(
        self, subset: str, above: DocumentPopulation, below: Sequence[DocumentPopulation]
    ) -> DocumentPopulation | None:
        if self._stated_subsets:
            stated = self._stated_subsets.get(subset, "")
            fits = [
                population for population in below if population.name in (stated, f"{above.name} {stated}")
            ]
            if stated and len(fits) != 1:
                raise GateError(
                    f"subset {subset} names population {stated!r}, of which there are {len(fits)} below "
                    f"{above.name!r}",
                    fix=did_you_mean(stated, [population.name for population in below]),
                )
            return fits[0] if stated else None
        names = _USUAL[subset]
        front = _usual(above.name)
        fits = [
            population for population in below if _usual(population.name).removeprefix(front).strip() in names
        ]
        return fits[0] if len(fits) == 1 else None

    @cached_property
    def _stated_subsets(self) -> Mapping[str, str]:
        if self.subsets_named is not None:
            return self.subsets_named
        roles = self.document.roles.items()
        return {role.removeprefix(_SUBSET): path for role, path in roles if role.startswith(_SUBSET)}

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets that are known, in the order in which they are shown."""
        known = {subset for of_compartment in self.subset_populations.values() for subset in of_compartment}
        return tuple(subset for subset in keys.SUBSETS if subset in known)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What a study asks of a strategy and this one does not say, for people to read."""
        return tuple(self._unknown())

    def _unknown(self) -> Iterator[str]:
        known = set(self.compartments)
        for role, other in ((keys.CAR, keys.HOST), (keys.HOST, keys.CAR)):
            if other in known and role not in known:
                yield f"which population is {role}"
        if keys.CAR in known and self.denominator == ROOT:
            yield f"which population is {CD45}, so that frequencies are of all cells"
        for population, subsets in self.subset_populations.items():
            missing = [subset for subset in keys.SUBSETS if subset not in subsets]
            if missing:
                yield f"which populations below {population!r} are {', '.join(missing)}"
        if keys.CAR in known and not self.subset_populations:
            yield "which populations are the subsets CD4, CD8, DN and DP"

    def paths(self) -> dict[str, tuple[str, ...]]:
        """Return each population to the names from the top down to it."""
        return {population.name: population.path for population in self.expanded()}

    def require_population(self, name: str) -> None:
        """Raise `GateError` where a name or a path means no population of the document."""
        self.document.population(name)

    def as_thresholds(self) -> NoReturn:
        """Raise `GateError`: its gates are numbers already."""
        raise GateError(
            f"strategy {self.name!r} is made of shapes, in which no threshold is found: shapes are numbers already",
            fix="thresholds are found, pinned, moved and tried in a strategy of thresholds only",
        )

    def as_document(self) -> GatingDocument:
        """Return its gates, with the paths of its populations as the roles that the document states."""
        roles = {role: "/".join(named.path) for role in ROLES if (named := self._role(role)) is not None}
        roles |= {f"{_SUBSET}{name}": path for name, path in self._stated_subsets.items()}
        return self.document.with_roles(roles)

    def for_run(self) -> ShapeStrategy:
        """Return itself: where the document names no compartment, all cells of the denominator are one."""
        return self

    def threshold_name(self, name: str) -> NoReturn:
        """Raise, since there are no thresholds to name."""
        raise GateError(
            f"strategy {self.name!r} has no threshold {name!r}: its gates are shapes",
            fix="move them in the program that drew them, or change the document",
        )

    def with_pins(self, pins: Pins) -> ShapeStrategy:
        """Return itself; `GateError` for a pin, since there are no thresholds."""
        for name in pins:
            self.threshold_name(name)
        return self

    def thresholds_of_tubes(self) -> tuple[Threshold, ...]:
        """Return the thresholds that other tubes have a say in: none."""
        return ()

    def thresholds_above(self, population: str) -> tuple[str, ...]:
        """Return the thresholds that the cells of a population are above: none; `GateError` without the population."""
        self.population(population)
        return ()

    def pinned_samples(self) -> Mapping[str, Sequence[str]]:
        """Return the samples that a number is pinned for: none; gates for files of other studies do no harm."""
        return {}

    def gate(self, data: GatedInput, options: GatingOptions) -> Gated:
        """Assign the events of every sample to the populations of the document."""
        from cytocar.gate._strategy.strategy import Gated
        from cytocar.gate._thresholds.resolve import Resolved

        for name in (*(options.controls or {}), *options.pins):
            self.threshold_name(name)
        return Gated(self, {sample: Resolved({}, self.masks(data, sample, {})) for sample in data.samples})

    def masks(self, data: GatedInput, sample: str, numbers: Mapping[str, float]) -> dict[str, Mask]:
        """Return which events of a sample are in each population; `GateError` for a number of a threshold."""
        from cytocar.gate._documents.apply import document_masks

        for name in numbers:
            self.threshold_name(name)
        inside = data.cells(sample)
        masks = document_masks(data.adata, self, data.samples[sample], sample)
        # Shapes know nothing of the clean-up: what is not a cell is in no population.
        return {ROOT: inside, **{name: mask & inside for name, mask in masks.items()}}

    def pictures(self, adata: AnnData) -> Pictures:
        """Return the biaxials of the document that data have the channels for, and the outlines on them."""
        from cytocar.gate._documents.pictures import pictures_of

        return pictures_of(self, adata)

    def problems(self, study: StudyFacts) -> Iterator[Problem]:
        """Find what keeps it from being applied to a study."""
        from cytocar.gate._documents.against_study import problems

        return problems(self, study)

    def notes(self, study: StudyFacts) -> Iterator[str]:
        """Say what it does not tell about a study."""
        from cytocar.gate._documents.against_study import notes

        return notes(self, study)

    def __str__(self) -> str:
        lines = [self.name, ROOT]
        children: dict[str, list[ShapedPopulation]] = {}
        for population in self.expanded():
            children.setdefault(population.parent, []).append(population)

        def draw(parent: str, indent: str) -> None:
            below = children.get(parent, [])
            for number, population in enumerate(below, start=1):
                last = number == len(below)
                lines.append(
                    f"{indent}{'└── ' if last else '├── '}{population.path[-1]}  [{population.gate}]"
                )
                draw(population.name, indent + ("    " if last else "│   "))

        draw(ROOT, "")
        return "\n".join(lines)


def _usual(name: str) -> str:
    return re.sub(r"\s+", " ", name.strip().replace("_", " ").replace("\u2212", "-")).casefold()


def _gate_text(document: GatingDocument, gate: Gate) -> str:
    """Return a gate as a short text."""
    if isinstance(gate, Combination):
        names = document.names
        parts = [f"{'not ' if part.complement else ''}{names[part.gate]}" for part in gate.operands]
        return f"not {parts[0]}" if gate.operation == "not" else f" {gate.operation} ".join(parts)
    kind = gate.kind.removesuffix("Gate").lower()
    channels = [axis.channel or axis.ratio for axis in gate.axes]
    own = document.versions.get(gate.id, {})
    several = f", {len(own) + bool(gate.file)} versions" if own else ""
    return f"{kind} of {', '.join(channels)}{several}"
