"""What the headline numbers would have been, had the thresholds been found by other rules that apply as well."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cytocar._core import checks, keys
from cytocar.gate._populations.gated_input import GatedInput
from cytocar.gate._results.ledger import strategy_of
from cytocar.gate._robustness.headline import (
    CarRate,
    Counter,
    GatedSample,
    Measure,
    exact_range,
    gated_samples,
    measures_of,
    percent,
    thresholds_of,
)
from cytocar.gate._robustness.other_rules import Choice, choices
from cytocar.gate._strategy.fitted import FittedTree, named_controls

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._thresholds.schedule import Controls

RULE = "rule_"
"""What the names of the columns begin with that say by which rule each threshold was found."""

MULTIVERSE = [keys.SAMPLE, "universe", "kind", "measure", "result", "low", "high", "expected_false"]


def multiverse(
    adata: AnnData,
    *,
    measures: Mapping[str, tuple[str, str]] | None = None,
    controls: Mapping[str, NDArray[Any] | Mapping[str, NDArray[Any]]] | None = None,
    others: Mapping[str, Sequence[float]] | None = None,
    most: int = 64,
) -> pd.DataFrame:
    """Find each threshold by every other rule that applies, alone and in combination, and count anew (Steegen 2016).

    Other rules are those that the strategy names as fallbacks, the valley, the mixture, and for rules of a rate or a
    quantile half and twice that rate; each within the range that the strategy allows, in the population as gated. A
    rule that finds nothing is left out: a multiverse of reasonable choices
    (Steegen et al. 2016, doi 10.1177/1745691616658637).

    Parameters
    ----------
    adata
        Gated by `apply`, all events.
    measures
        As in `robustness`.
    controls, others
        As in `apply`; None takes the control tubes in `adata`, and no numbers of other samples.
    most
        Combinations to make of the thresholds that matter most, at least 1.

    Returns
    -------
    DataFrame [sample_id, universe, kind, measure, result, low, high, expected_false] and a column ``rule_NAME`` for
    each threshold that a measure depends on. Universe 0 is as found;
    `kind` is ``found``, ``single`` (one threshold by another rule) or ``combined``. `result` is in per cent, with the
    exact 95 % interval of its counts. `expected_false` is how many cells without the CAR are expected above the CAR
    threshold; NaN where no known negatives tell.

    Raises
    ------
    GateError
        `apply` has not run, or events are missing.
    ParameterError
        A measure names an unknown population, or `most` is below 1.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> table = cc.gate.multiverse(adata)
    >>> table.loc[0, ["kind", "measure", "rule_VHH"]].tolist()
    ['found', 'CAR-T % of CD45+', 'negatives']
    """
    import pandas as pd

    checks.whole_number(most, "most", 1)
    given = _controls(adata, controls)
    rows: list[dict[str, Any]] = []
    for sample in gated_samples(adata):
        rows += _rows(sample, measures_of(sample.tree, measures), given, others, most)
    table = pd.DataFrame(rows)
    rules = [column for column in table.columns if column.startswith(RULE)]
    table = table.reindex(columns=[*MULTIVERSE[:3], *rules, *MULTIVERSE[3:]])
    table[rules] = table[rules].fillna("")
    return table


def _controls(
    adata: AnnData, controls: Mapping[str, NDArray[Any] | Mapping[str, NDArray[Any]]] | None
) -> Controls:
    tree = strategy_of(adata).as_thresholds()
    if controls is not None:
        return named_controls(tree, controls)
    return FittedTree.of(tree, GatedInput.of(adata)).controls()


@dataclass(frozen=True)
class _Universe:
    """One way to find all thresholds, and what is counted with it."""

    kind: str
    chosen: Mapping[str, Choice]
    counts: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class _Choices:
    """The ways in which each threshold of a sample could have been found, the one in use first."""

    sample: GatedSample
    counter: Counter
    ways: Mapping[str, Sequence[Choice]]

    @property
    def as_found(self) -> dict[str, Choice]:
        """The way in use of each threshold."""
        return {name: ways[0] for name, ways in self.ways.items()}

    def universe(self, kind: str, otherwise: Mapping[str, Choice]) -> _Universe:
        """Return what is counted with some thresholds found otherwise."""
        numbers = {**self.sample.numbers, **{name: choice.value for name, choice in otherwise.items()}}
        return _Universe(kind, {**self.as_found, **otherwise}, self.counter.counts(numbers))

    def universes(self, measures: Sequence[Measure], most: int) -> list[_Universe]:
        """Return the universe as found, those with one threshold found otherwise, and at most `most` combinations."""
        base = self.universe("found", {})
        several = {name: ways for name, ways in self.ways.items() if len(ways) > 1}
        singles = {
            name: [self.universe("single", {name: choice}) for choice in ways[1:]]
            for name, ways in several.items()
        }
        moved = {
            name: max(_moved(measures, base.counts, single.counts) for single in alone)
            for name, alone in singles.items()
        }
        return [
            base,
            *itertools.chain.from_iterable(singles.values()),
            *(self.universe("combined", chosen) for chosen in _combinations(several, moved, most)),
        ]


def _rows(
    sample: GatedSample,
    measures: tuple[Measure, ...],
    controls: Mapping[str, Mapping[str, NDArray[Any]]],
    others: Mapping[str, Sequence[float]] | None,
    most: int,
) -> list[dict[str, Any]]:
    if not measures:
        return []
    car = CarRate.of(sample)
    populations = [name for measure in measures for name in (measure.population, measure.of)]
    ways = {
        name: choices(sample, name, controls.get(name, {}), None if others is None else others.get(name, ()))
        for name in thresholds_of(sample.tree, populations)
    }
    universes = _Choices(sample, car.counter(sample, measures), ways).universes(measures, most)
    return [
        {keys.SAMPLE: sample.name, "universe": number, "kind": universe.kind}
        | {f"{RULE}{name}": choice.rule for name, choice in universe.chosen.items()}
        | _result(universe, measure, car)
        for number, universe in enumerate(universes)
        for measure in measures
    ]


def _result(universe: _Universe, measure: Measure, car: CarRate) -> dict[str, Any]:
    """Return what a row says of a measure in one universe."""
    cells, whole = universe.counts[measure.population], universe.counts[measure.of]
    low, high = exact_range(cells, whole)
    chosen = universe.chosen.get(car.threshold or "")
    return {
        "measure": measure.name,
        "result": percent(cells, whole),
        "low": low,
        "high": high,
        "expected_false": car.expected_false(universe.counts, chosen.rate if chosen else car.rate),
    }


def _moved(measures: Sequence[Measure], base: Mapping[str, int], counts: Mapping[str, int]) -> float:
    """Return by how much, relative to what was found, the measure moves that moves most."""
    largest = 0.0
    for measure in measures:
        before, after = (percent(c[measure.population], c[measure.of]) for c in (base, counts))
        if before > 0 and math.isfinite(after):
            largest = max(largest, abs(after - before) / before)
    return largest


def _combinations(
    ways: Mapping[str, Sequence[Choice]], moved: Mapping[str, float], most: int
) -> list[dict[str, Choice]]:
    """Return the combinations, of the thresholds that matter most, in which more than one is otherwise than found."""
    taken: list[str] = []
    size = 1
    for name in sorted(ways, key=lambda name: -moved[name]):
        if moved[name] > 0 and size * len(ways[name]) <= most:
            taken.append(name)
            size *= len(ways[name])
    made = [
        dict(zip(taken, chosen, strict=True)) for chosen in itertools.product(*(ways[name] for name in taken))
    ]
    return [
        chosen for chosen in made if sum(choice is not ways[name][0] for name, choice in chosen.items()) > 1
    ]
