"""A gating strategy as data: thresholds, populations, compartments and subsets, checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.checks import finite_number
from cytocar._core.errors import GateError, did_you_mean
from cytocar.gate._populations.frozen import FrozenDict
from cytocar.gate._populations.parts import ROOT, Plot, Population, Term, Terms
from cytocar.gate._strategy.consistency import contradictions
from cytocar.gate._strategy.threshold import Threshold
from cytocar.gate._strategy.yaml import read, write
from cytocar.panel.antigens import marker_hint, marker_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anndata import AnnData

    from cytocar._core.errors import Problem
    from cytocar.gate._documents.document import GatingDocument
    from cytocar.gate._populations.evaluate import Mask
    from cytocar.gate._populations.gated_input import GatedInput
    from cytocar.gate._strategy.strategy import Gated, GatingOptions, Pictures, Pins, StudyFacts


@dataclass(frozen=True)
class GateTree:
    """A gating strategy: what the populations are and where their thresholds come from.

    It holds no data and is not changed in place. `from_yaml` reads the form in which it is edited,
    ``str()`` draws it, and `cytocar.gate.apply` finds the thresholds in each sample and assigns the cells.

    Parameters
    ----------
    name, description
        What it is called, and what it is for.
    thresholds
        Name to `Threshold`. A cell is positive when its arcsinh value is at or above the threshold.
    populations
        In the order of the ledger. Each is within its parent; the top parent is ``"cells"``.
    denominator
        The population of which frequencies are given in per cent.
    compartments
        Value of ``obs["compartment"]`` to population, such as ``{"car": "CAR-T", "host": "Host T"}``.
    subsets
        Value of ``obs["subset"]`` to the terms that divide every compartment.
    optional
        Markers that may be missing from a panel: their terms are then left out.
    plots
        The biaxials to draw.

    Raises
    ------
    GateError
        With every problem at once: unknown names, circles, populations without a gate.

    Examples
    --------
    >>> tree = GateTree.from_yaml('''
    ... cytocar_gating: 1
    ... name: small
    ... thresholds:
    ...   CD3: {marker: CD3, value: 2.5}
    ... populations:
    ...   - {name: T cells, parent: cells, gate: [CD3+]}
    ... ''')
    >>> print(tree)
    small
    cells
    └── T cells  [CD3+]
    thresholds
      CD3  2.5 (stated)
    """

    name: str
    thresholds: Mapping[str, Threshold] = field(default_factory=FrozenDict)
    populations: tuple[Population, ...] = ()
    denominator: str = ROOT
    compartments: Mapping[str, str] = field(default_factory=FrozenDict)
    subsets: Mapping[str, tuple[Term, ...]] = field(default_factory=FrozenDict)
    optional: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        for name in ("thresholds", "compartments", "subsets"):
            object.__setattr__(self, name, FrozenDict(getattr(self, name)))
        problems = contradictions(self)
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise GateError(f"gating strategy {self.name!r} does not hold together:\n{listed}")

    @classmethod
    def from_yaml(cls, text: str) -> GateTree:
        """Read a strategy from YAML text; all problems of it are reported in one `GateError`."""
        return cls(**read(text))

    def to_yaml(self) -> str:
        """Return the strategy as YAML text; `from_yaml` makes an equal tree of it."""
        return write(self)

    @property
    def subset_populations(self) -> Mapping[str, Mapping[str, str]]:
        """Population of each compartment to {subset: population}."""
        return {
            population: {subset: f"{population} {subset}" for subset in self.subsets}
            for population in self.compartments.values()
        }

    def expanded(self) -> tuple[Population, ...]:
        """Return all populations: those written down and the subsets of every compartment."""
        children = (
            Population(f"{population} {subset}", population, Terms(terms))
            for population in self.compartments.values()
            for subset, terms in self.subsets.items()
        )
        return (*self.populations, *children)

    def population(self, name: str) -> Population:
        """Return a population by name, subsets of compartments included."""
        known = {population.name: population for population in self.expanded()}
        if name not in known:
            raise GateError(
                f"strategy {self.name!r} has no population {name!r}", fix=did_you_mean(name, [ROOT, *known])
            )
        return known[name]

    def paths(self) -> dict[str, tuple[str, ...]]:
        """Return each population to the names from the top down to it."""
        parents = {population.name: population.parent for population in self.expanded()}
        paths: dict[str, tuple[str, ...]] = {}
        for name in parents:
            path, above = [name], parents[name]
            while above != ROOT:
                path.append(above)
                above = parents[above]
            paths[name] = tuple(path[::-1])
        return paths

    def require_population(self, name: str) -> None:
        """Raise `GateError` where there is no such population; a path is looked up where data are gated."""
        if name != ROOT and "/" not in name:
            self.population(name)

    def as_thresholds(self) -> GateTree:
        """Return itself: its gates are thresholds."""
        return self

    def as_document(self) -> GatingDocument | None:
        """Return None: its gates have no shape before their thresholds are numbers."""
        return None

    def for_run(self) -> GateTree:
        """Return it with a compartment at least: all cells of the denominator, where it names none."""
        return self if self.compartments else replace(self, compartments={keys.CELLS: self.denominator})

    def with_pins(self, pins: Pins) -> GateTree:
        """Return a copy in which thresholds are pinned: ``{name: number}``, or ``{name: {sample: number}}``."""
        tree = self
        for name, pinned in pins.items():
            if isinstance(pinned, Mapping):
                for sample, number in pinned.items():
                    tree = tree.with_threshold(name, number, sample=str(sample))
            else:
                tree = tree.with_threshold(name, pinned)
        return tree

    def pinned_samples(self) -> dict[str, list[str]]:
        """Return each sample that a number is pinned for, with the thresholds."""
        pinned: dict[str, list[str]] = {}
        for threshold in self.thresholds.values():
            for sample in threshold.samples:
                pinned.setdefault(sample, []).append(threshold.name)
        return pinned

    def gate(self, data: GatedInput, options: GatingOptions) -> Gated:
        """Find the thresholds of every sample and work out its populations."""
        from cytocar.gate._strategy.fitted import gate_by_thresholds

        return gate_by_thresholds(self, data, options)

    def masks(self, data: GatedInput, sample: str, numbers: Mapping[str, float]) -> dict[str, Mask]:
        """Return which events of a sample are in each population, at given numbers of the thresholds."""
        from cytocar.gate._populations.evaluate import evaluate
        from cytocar.gate._strategy.fitted import FittedTree

        fitted = FittedTree.of(self, data)
        columns = data.values(sample, fitted.columns)
        return evaluate(fitted.tree, columns, numbers, data.cells(sample))

    def pictures(self, adata: AnnData) -> Pictures:
        """Return the biaxials of markers that the data have."""
        from cytocar.gate._strategy.pictures import pictures_of

        return pictures_of(self, adata)

    def problems(self, study: StudyFacts) -> Iterator[Problem]:
        """Find what keeps it from being applied to a study."""
        from cytocar.gate._strategy.against_study import problems

        return problems(self, study)

    def notes(self, study: StudyFacts) -> Iterator[str]:
        """Say which tubes it does not use, and which optional markers it leaves out."""
        from cytocar.gate._strategy.against_study import notes

        return notes(self, study)

    def with_threshold(self, name: str, value: float, sample: str | None = None) -> GateTree:
        """Return a copy in which a threshold is a stated number, for all samples or for one.

        Parameters
        ----------
        name
            Name of the threshold, or of its marker.
        value
            The number, in arcsinh units.
        sample
            Only for this sample; None states it for all.

        Raises
        ------
        GateError
            There is no such threshold.
        ParameterError
            It is not a finite number.
        """
        old = self.thresholds[self.threshold_name(name)]
        number = finite_number(value, f"the number for threshold {old.name!r}")
        if sample is None:
            new = replace(old, value=number)
        else:
            new = replace(old, samples=FrozenDict({**old.samples, sample: number}))
        return replace(self, thresholds={**self.thresholds, old.name: new})

    def threshold_name(self, name: str) -> str:
        """Return the name of the threshold that `name` means: its own name, or its marker however spelt."""
        if name in self.thresholds:
            return name
        named = [
            (text, each.name) for each in self.thresholds.values() for text in (each.name, *each.markers)
        ]
        hits = marker_index(text for text, _ in named).positions(name)
        meant = list(dict.fromkeys(named[hit][1] for hit in hits))
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise GateError(
                f"{name!r} may mean the thresholds {', '.join(meant)}", fix="write one of these names"
            )
        raise GateError(
            f"strategy {self.name!r} has no threshold {name!r}", fix=marker_hint(name, self.thresholds)
        )

    def may_lack(self, threshold: Threshold) -> bool:
        """Return whether the marker of a threshold may be missing from a panel."""
        index = marker_index(threshold.markers)
        return any(index.positions(marker) for marker in self.optional)

    def required_markers(self) -> tuple[str, ...]:
        """Return the markers without which the strategy cannot be applied."""
        return tuple(
            dict.fromkeys(
                threshold.marker for threshold in self.thresholds.values() if not self.may_lack(threshold)
            )
        )

    def optional_markers(self) -> tuple[str, ...]:
        """Return the markers whose terms are left out where a panel does not have them."""
        return self.optional

    def uses_controls(self) -> bool:
        """Return whether a threshold is found in the cells of control tubes, where there are any."""
        return bool(self.controlled())

    def controlled(self) -> tuple[str, ...]:
        """Return the names of the thresholds that control tubes have a say in."""
        return tuple(threshold.name for threshold in self.thresholds_of_tubes())

    def thresholds_above(self, population: str) -> tuple[str, ...]:
        """Return the thresholds that the cells of a population are at or above, beyond its parent."""
        gate = self.population(population).gate
        return (
            tuple(term.threshold for term in gate.terms if term.positive) if isinstance(gate, Terms) else ()
        )

    def thresholds_of_tubes(self) -> tuple[Threshold, ...]:
        """Return the thresholds that control tubes have a say in."""
        return tuple(threshold for threshold in self.thresholds.values() if threshold.uses_controls())

    def controlled_by(self, sample: str, role: str) -> tuple[str, ...]:
        """Return the names of the thresholds that the cells of this tube have a say in."""
        return tuple(
            threshold.name for threshold in self.thresholds.values() if threshold.wants_tube(sample, role)
        )

    def without(self, thresholds: Iterable[str]) -> GateTree:
        """Return a copy without some thresholds and without the terms that use them.

        A population whose terms are all gone holds the cells of its parent. Subsets are kept only while each
        still has all its terms: a CD4 T cell is not one that is merely not CD8.
        """
        gone = set(thresholds)
        if not gone:
            return self

        def kept(terms: tuple[Term, ...]) -> tuple[Term, ...]:
            return tuple(term for term in terms if term.threshold not in gone)

        whole = all(kept(terms) == terms for terms in self.subsets.values())
        populations = tuple(
            replace(p, gate=Terms(kept(p.gate.terms))) if isinstance(p.gate, Terms) else p
            for p in self.populations
        )
        left = {
            name: threshold.without_thresholds(gone)
            for name, threshold in self.thresholds.items()
            if name not in gone
        }
        known = {ROOT, *(p.name for p in (self.expanded() if whole else self.populations))}
        return replace(
            self,
            thresholds=left,
            populations=populations,
            subsets=self.subsets if whole else {},
            plots=tuple(plot for plot in self.plots if plot.parent in known),
        )

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {' '.join(self.description.split())}" if self.description else self.name,
            ROOT,
        ]
        children: dict[str, list[Population]] = {}
        for population in self.expanded():
            children.setdefault(population.parent, []).append(population)

        def draw(parent: str, indent: str) -> None:
            below = children.get(parent, [])
            for number, population in enumerate(below, start=1):
                last = number == len(below)
                gate = f"  [{population.gate}]" if str(population.gate) else ""
                lines.append(f"{indent}{'└── ' if last else '├── '}{population.name}{gate}")
                draw(population.name, indent + ("    " if last else "│   "))

        draw(ROOT, "")
        if self.thresholds:
            width = max(map(len, self.thresholds))
            lines.append("thresholds")
            lines += [f"  {name:<{width}}  {t.describe()}" for name, t in self.thresholds.items()]
        return "\n".join(lines)
