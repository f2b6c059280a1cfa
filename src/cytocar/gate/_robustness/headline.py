"""The numbers a study is read for, as shares of one population in another, at any numbers of the thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cytocar._core import keys
from cytocar._core.errors import GateError, ParameterError, did_you_mean
from cytocar.gate._populations.evaluate import members
from cytocar.gate._populations.gated_input import GatedInput
from cytocar.gate._populations.order import Step, order
from cytocar.gate._populations.parts import ROOT, Population, Terms
from cytocar.gate._results.ledger import gating, strategy_of
from cytocar.gate._strategy.fitted import FittedTree

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate._populations.evaluate import Column, Mask
    from cytocar.gate._strategy.strategy import ThresholdStrategy

DOUBLE_NEGATIVE = "DN"


@dataclass(frozen=True)
class Measure:
    """A share in per cent: cells of `population` among those of `of`."""

    name: str
    population: str
    of: str


def measures_of(tree: ThresholdStrategy, wanted: Mapping[str, tuple[str, str]] | None) -> tuple[Measure, ...]:
    """Return the measures asked for, else CAR-T cells among the denominator and double negative ones among CAR-T."""
    if wanted is None:
        car = tree.compartments.get(keys.CAR)
        if car is None:
            return ()
        share = Measure(f"{car} % of {tree.denominator}", car, tree.denominator)
        if DOUBLE_NEGATIVE not in tree.subsets:
            return (share,)
        return share, Measure(f"{DOUBLE_NEGATIVE} % of {car}", f"{car} {DOUBLE_NEGATIVE}", car)
    populations = [ROOT, *(population.name for population in tree.expanded())]
    for name, pair in wanted.items():
        if isinstance(pair, str) or len(pair) != 2:
            raise ParameterError(
                f"measure {name!r} is {pair!r}", fix="it must be (population, population it is a share of)"
            )
        for population in pair:
            if population not in populations:
                raise ParameterError(
                    f"measure {name!r} names population {population!r}",
                    fix=did_you_mean(population, populations),
                )
    return tuple(Measure(name, *pair) for name, pair in wanted.items())


@dataclass(frozen=True, eq=False)
class GatedSample:
    """One gated sample: its strategy, values, thresholds as found, and the populations of the events.

    Parameters
    ----------
    name
        The sample.
    tree
        The strategy that was applied.
    columns
        Marker to arcsinh values (events,).
    root
        Which events are cells.
    masks
        Population to boolean array (events,).
    found
        Threshold to what gating kept of it.
    """

    name: str
    tree: ThresholdStrategy
    columns: Mapping[str, Column]
    root: Mask
    masks: Mapping[str, Mask]
    found: Mapping[str, Mapping[str, Any]]

    @property
    def numbers(self) -> dict[str, float]:
        """The number of each threshold, as found."""
        return {name: float(entry["value"]) for name, entry in self.found.items()}

    def car_threshold(self) -> str | None:
        """Return the threshold that parts CAR-T from host cells and that known negatives tell of."""
        car = self.tree.compartments.get(keys.CAR)
        if car is None:
            return None
        above = self.tree.thresholds_above(car)
        judged = [name for name in above if self.found[name]["reference"] is not None]
        return judged[0] if len(judged) == 1 else None


@dataclass(frozen=True)
class CarRate:
    """The share of known negatives above the CAR threshold, by which cells without the CAR are expected above it.

    Parameters
    ----------
    threshold
        The threshold that parts CAR-T from host cells, where known negatives tell of it.
    divided
        The population that it divides.
    rate, low, high
        The share at the threshold, and at the lower and the upper end of its range; NaN where it is not known.
    """

    threshold: str | None = None
    divided: str | None = None
    rate: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, sample: GatedSample) -> CarRate:
        """Return what is known of a sample."""
        threshold = sample.car_threshold()
        if threshold is None:
            return cls()
        reference = sample.found[threshold]["reference"]
        rates = (number_or_nan(reference[key]) for key in ("rate", "rate_low", "rate_high"))
        return cls(threshold, sample.tree.thresholds[threshold].population, *rates)

    def expected_false(self, counts: Mapping[str, int], rate: float) -> float:
        """Return how many cells without the CAR are expected above the threshold, at a share of the negatives."""
        return math.nan if self.divided is None else rate * counts[self.divided]

    def counter(self, sample: GatedSample, measures: Iterable[Measure]) -> Counter:
        """Return what counts the populations of some measures, and the one that the CAR threshold divides."""
        wanted = [name for measure in measures for name in (measure.population, measure.of)]
        return Counter(sample, tuple(dict.fromkeys([*wanted, *([self.divided] if self.divided else [])])))


def number_or_nan(value: float | None) -> float:
    """Return a number of the kept gating, NaN where there is none."""
    return math.nan if value is None else float(value)


def gated_samples(adata: AnnData) -> Iterator[GatedSample]:
    """Walk through the samples of gated data.

    Raises
    ------
    GateError
        `apply` has not run, was given shapes and not thresholds, or the events are not those that were gated.
    """
    kept = gating(adata)
    data = GatedInput.of(adata)
    fitted = FittedTree.of(strategy_of(adata).as_thresholds(), data)
    gates = adata.obsm.get(keys.GATES)
    for sample, rows in data.samples.items():
        # Without a column that names the sample there is one, whatever it was called when it was gated.
        name = sample if sample in kept["samples"] else next(iter(kept["samples"]))
        of_sample = kept["samples"][name]
        n = int(data.cells(sample).size)
        if gates is None or n != of_sample["events"]:
            raise GateError(
                f"sample {name}: {n:,} events are here, and {of_sample['events']:,} were gated; "
                "hand over all events, as cytocar.gate.apply left them"
            )
        yield GatedSample(
            name,
            fitted.tree,
            data.values(sample, fitted.columns),
            data.cells(sample),
            {population: np.asarray(gates[population], dtype=bool)[rows] for population in gates.columns},
            {entry["name"]: entry for entry in of_sample["thresholds"]},
        )


class Counter:
    """Counts the cells of a few populations at any numbers of the thresholds; each comparison is made once."""

    def __init__(self, sample: GatedSample, populations: tuple[str, ...]) -> None:
        self._tree = sample.tree
        inside = np.flatnonzero(sample.root)
        self._n = inside.size
        self._wanted = populations
        self._populations = _needed(sample.tree, populations)
        self.thresholds = thresholds_of(sample.tree, populations)
        self._columns = {
            name: sample.columns[sample.tree.thresholds[name].marker][inside] for name in self.thresholds
        }
        self._positive: dict[tuple[str, float], NDArray[np.bool_]] = {}

    def counts(self, numbers: Mapping[str, float]) -> dict[str, int]:
        """Return population to the number of its cells."""

        def positive(name: str) -> Mask:
            key = (name, float(numbers[name]))
            if key not in self._positive:
                self._positive[key] = self._columns[name] >= key[1]
            return self._positive[key]

        masks: dict[str, Mask] = {ROOT: np.ones(self._n, dtype=bool)}
        for population in self._populations:
            masks[population.name] = members(population, masks, positive)
        return {name: int(np.count_nonzero(masks[name])) for name in self._wanted}


def thresholds_of(tree: ThresholdStrategy, populations: Iterable[str]) -> tuple[str, ...]:
    """Return the thresholds that decide which cells are in these populations, in the order of the strategy."""
    used = {
        term.threshold
        for population in _needed(tree, populations)
        if isinstance(population.gate, Terms)
        for term in population.gate.terms
    }
    return tuple(name for name in tree.thresholds if name in used)


def _needed(tree: ThresholdStrategy, populations: Iterable[str]) -> list[Population]:
    """Return these populations and those above them, in order, without those that only serve to find a threshold."""
    named = {population.name: population for population in tree.expanded()}
    needed: set[str] = set()
    waiting = list(populations)
    while waiting:
        name = waiting.pop()
        if name in needed or name == ROOT:
            continue
        needed.add(name)
        waiting.append(named[name].parent)
        waiting += getattr(named[name].gate, "names", ())
    steps = order(named, tree.thresholds, [Step("population", name) for name in sorted(needed)])
    return [named[step.name] for step in steps if step.kind == "population" and step.name in needed]


def percent(part: int, whole: int) -> float:
    """Return a share in per cent, NaN of nothing."""
    return 100.0 * part / whole if whole else float("nan")


def exact_range(part: int, whole: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share in per cent (Clopper and Pearson, doi 10.1093/biomet/26.4.404)."""
    from scipy.special import betaincinv

    if not whole:
        return float("nan"), float("nan")
    low = float(betaincinv(part, whole - part + 1, 0.025)) if part else 0.0
    high = float(betaincinv(part + 1, whole - part, 0.975)) if part < whole else 1.0
    return 100.0 * low, 100.0 * high
