"""What every gating strategy can do, whether its gates are thresholds found in the data or shapes of a document."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar._core.errors import Problem
    from cytocar._core.samples import Rows
    from cytocar.gate._documents.document import GatingDocument
    from cytocar.gate._populations.evaluate import Mask
    from cytocar.gate._populations.gated_input import GatedInput
    from cytocar.gate._populations.parts import Plot, Population, Term
    from cytocar.gate._strategy.threshold import Threshold
    from cytocar.gate._thresholds.resolve import Resolved
    from cytocar.panel import Panel

Pins = Mapping[str, "float | Mapping[str, float]"]
"""Name of a threshold to the number that is pinned for it, in all samples or in each."""

Ends = tuple[float, float]


@dataclass(frozen=True)
class GatingOptions:
    """What `cytocar.gate.apply` takes beside the data and the strategy.

    Parameters
    ----------
    controls
        Name of a threshold to control tube to values; None looks for control tubes in the data.
    pins
        Numbers that take the place of rules.
    others
        Name of a threshold to numbers of other samples; None where they are not known.
    seed
        Of the resamples that tell how far each threshold may move.
    """

    controls: Mapping[str, NDArray[Any] | Mapping[str, NDArray[Any]]] | None = None
    pins: Pins = field(default_factory=dict)
    others: Mapping[str, Sequence[float]] | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Gated:
    """What gating found.

    Parameters
    ----------
    strategy
        As it fits the data, with pinned numbers and without what was left out.
    samples
        Sample to thresholds and masks.
    markers
        Marker of the strategy to the name of its column in the data.
    left_out
        Optional markers that the data do not have, with their thresholds.
    settings
        What the record of the data keeps.
    """

    strategy: Strategy
    samples: Mapping[str, Resolved]
    markers: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Biaxial:
    """A population over two columns of the data.

    Parameters
    ----------
    number
        From 1, in the order of the strategy.
    parent
        The population that is drawn.
    positions
        Columns of the data on x and y.
    values
        From rows to the values on x and on y, in arcsinh units.
    """

    number: int
    parent: str
    positions: tuple[int, int]
    values: Callable[[Rows], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class Pictures:
    """What a strategy wants drawn.

    Parameters
    ----------
    biaxials
        One for each picture.
    outlines
        From a sample and the ends of open gates to the number of a biaxial, a population on it, and the lines of its
        gate. None where the lines are the thresholds.
    """

    biaxials: Sequence[Biaxial]
    outlines: Callable[[str, Ends], Iterator[tuple[int, str, Sequence[NDArray[Any]]]]] | None = None


@dataclass(frozen=True, eq=False)
class StudyFacts:
    """What a strategy is checked against, as far as it could be read.

    Parameters
    ----------
    panel
        What the channels measure.
    samples
        The sample sheet.
    compensated
        Whether the study compensates its files.
    """

    panel: Panel | None = None
    samples: pd.DataFrame | None = None
    compensated: bool = False


class MemberOf(Protocol):
    """A population, as every strategy has them; ``str(gate)`` is its gate for people to read."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    @property
    def parent(self) -> str:
        """The population that it is within."""

    @property
    def gate(self) -> object:
        """What its cells fulfil."""


class Strategy(Protocol):
    """Gates, and what their populations are to a study: `GateTree` and `ShapeStrategy` are the two forms of it.

    Whoever gates, draws or checks asks these methods, and not which form a strategy has. Values are in arcsinh units.
    A method raises `GateError` for a population or a threshold that is not there.

    Examples
    --------
    >>> from cytocar.gate import Dimension, GatingDocument, ShapeStrategy, car_t, interval
    >>> shapes = ShapeStrategy(GatingDocument([interval("CAR-T", Dimension("Tm169Di"), low=9.0)]))
    >>> strategies: list[Strategy] = [car_t(), shapes]
    >>> [strategy.compartments["car"] for strategy in strategies]
    ['CAR-T', 'CAR-T']
    >>> [strategy.thresholds_above("CAR-T") for strategy in strategies]
    [('VHH',), ()]
    """

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def denominator(self) -> str:
        """The population of which frequencies are given in per cent."""

    @property
    def compartments(self) -> Mapping[str, str]:
        """Value of ``obs["compartment"]`` to population."""

    @property
    def subsets(self) -> Collection[str]:
        """The values of ``obs["subset"]``, in the order in which they are shown."""

    @property
    def subset_populations(self) -> Mapping[str, Mapping[str, str]]:
        """Population of each compartment to {subset: population}."""

    def expanded(self) -> Sequence[MemberOf]:
        """Return all populations in the order of the ledger, parents first."""

    def population(self, name: str) -> MemberOf:
        """Return a population by its name in tables; `GateError` where there is none."""

    def paths(self) -> dict[str, tuple[str, ...]]:
        """Return each population to the names from the top down to it."""

    def require_population(self, name: str) -> None:
        """Raise `GateError` where a name means no population."""

    def as_thresholds(self) -> ThresholdStrategy:
        """Return it as a strategy of thresholds; `GateError` where its gates are numbers already."""

    def as_document(self) -> GatingDocument | None:
        """Return its gates as a document, None where they are thresholds, which have no shape yet."""

    def threshold_name(self, name: str) -> str:
        """Return the name of the threshold that a name or a marker means; `GateError` where there is none."""

    def with_pins(self, pins: Pins) -> Strategy:
        """Return a copy in which thresholds are pinned; `GateError` for one that is not there."""

    def thresholds_of_tubes(self) -> Sequence[Threshold]:
        """Return the thresholds that cells of other tubes have a say in."""

    def thresholds_above(self, population: str) -> tuple[str, ...]:
        """Return the thresholds that the cells of a population are at or above, beyond its parent."""

    def pinned_samples(self) -> Mapping[str, Sequence[str]]:
        """Return each sample that a number is pinned for, with the thresholds."""

    def gate(self, data: GatedInput, options: GatingOptions) -> Gated:
        """Work out the populations of every sample."""

    def masks(self, data: GatedInput, sample: str, numbers: Mapping[str, float]) -> dict[str, Mask]:
        """Return which events of a sample are in each population, at given numbers of the thresholds."""

    def pictures(self, adata: AnnData) -> Pictures:
        """Return the biaxials that data have the columns for."""

    def for_run(self) -> Strategy:
        """Return it with a compartment at least: all cells of the denominator, where it names none."""

    def problems(self, study: StudyFacts) -> Iterator[Problem]:
        """Find what keeps it from being applied to a study."""

    def notes(self, study: StudyFacts) -> Iterator[str]:
        """Say what it leaves out or cannot tell in a study."""


class ThresholdStrategy(Strategy, Protocol):
    """A strategy whose gates are thresholds that are found in each sample, or pinned: `GateTree`."""

    @property
    def description(self) -> str:
        """What it is for."""

    @property
    def thresholds(self) -> Mapping[str, Threshold]:
        """Name to threshold."""

    @property
    def populations(self) -> Sequence[Population]:
        """The populations that are written down, without those of subsets."""

    @property
    def subsets(self) -> Mapping[str, tuple[Term, ...]]:
        """Value of ``obs["subset"]`` to the terms that divide every compartment."""

    @property
    def optional(self) -> Sequence[str]:
        """Markers that may be missing from a panel."""

    @property
    def plots(self) -> Sequence[Plot]:
        """The biaxials to draw."""

    def expanded(self) -> Sequence[Population]:
        """Return all populations, those of subsets included."""

    def population(self, name: str) -> Population:
        """Return a population by name, subsets of compartments included."""

    def may_lack(self, threshold: Threshold) -> bool:
        """Return whether a panel may have none of the markers of a threshold."""

    def controlled(self) -> Sequence[str]:
        """Return the names of the thresholds that control tubes have a say in."""

    def with_pins(self, pins: Pins) -> Self:
        """Return a copy in which thresholds are pinned."""

    def without(self, thresholds: Iterable[str]) -> Self:
        """Return a copy without some thresholds and the terms that use them."""

    def to_yaml(self) -> str:
        """Return it as YAML text."""


def controlled_by(strategy: Strategy, sample: str, role: str) -> tuple[str, ...]:
    """Return the thresholds that the cells of a tube, of this name and role, have a say in."""
    return tuple(
        threshold.name for threshold in strategy.thresholds_of_tubes() if threshold.wants_tube(sample, role)
    )
