"""The biaxials of a strategy of thresholds: what each shows, and which gates lie on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar.gate._populations.parts import ROOT, Plot, Terms
from cytocar.panel.antigens import marker_index
from cytocar.panel.names import marker_key
from cytocar.pl._gates.biaxial import Box, Region, Step, arcsinh_axis
from cytocar.pl._page import raster

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar._core.samples import Rows
    from cytocar.gate import ThresholdStrategy


def steps(
    adata: AnnData, tree: ThresholdStrategy, sample: str, *, bins: int, of: str | None = None
) -> list[Step]:
    """Return the biaxials of one sample, gated by a `GateTree`, in the order of the strategy.

    With `of`, each also holds the values of the cells of that population.
    """
    from cytocar import gate
    from cytocar.gate._populations.events import marker_values

    gated = GatedSample.of(adata, tree, sample)
    of_interest = None if of is None else gate.membership(adata, of)[gated.rows]
    biaxials = usable(tree, gated.positions, gated.named)
    asked = {gated.key(marker) for plot in biaxials for marker in (plot.x, plot.y)}
    values = marker_values(adata, {key: gated.positions[key] for key in asked}, gated.rows)
    return [
        _step(adata, gated, plot, after, values, bins=bins, of_interest=of_interest)
        for plot, after in zip(biaxials, populations_after(tree, biaxials), strict=True)
    ]


@dataclass(frozen=True)
class GatedSample:
    """What gating found in one sample."""

    tree: ThresholdStrategy
    rows: Rows
    counts: Mapping[str, int]
    """Events of every population."""
    numbers: Mapping[str, float]
    """Value of every threshold."""
    named: Mapping[str, str]
    """Key of a marker of the strategy to that of its column in the data, where they differ."""
    positions: Mapping[str, int]
    """Column of the data of each marker, by its key."""

    @classmethod
    def of(cls, adata: AnnData, tree: ThresholdStrategy, sample: str) -> GatedSample:
        """Return what is kept of a sample of gated data."""
        from cytocar._core.samples import rows_by_sample
        from cytocar.gate._results.ledger import gating

        kept = gating(adata)
        result = kept["samples"][sample]
        index = marker_index(str(name) for name in adata.var_names)
        # What only a biaxial names goes by any name of its antigen; what the gates name is where they found it.
        shown = {marker: index.position(marker) for plot in tree.plots for marker in (plot.x, plot.y)}
        named = {marker: index.markers[at] for marker, at in shown.items() if at is not None}
        return cls(
            tree,
            rows_by_sample(adata, keys.SAMPLE)[sample],
            result["counts"],
            {entry["name"]: float(entry["value"]) for entry in result["thresholds"]},
            {marker_key(marker): marker_key(name) for marker, name in (named | kept["markers"]).items()},
            {marker_key(name): i for i, name in enumerate(index.markers)},
        )

    def key(self, marker: str) -> str:
        """Return the key of a marker of the strategy in the data."""
        return self.named.get(marker_key(marker), marker_key(marker))


def _step(
    adata: AnnData,
    gated: GatedSample,
    plot: Plot,
    after: Sequence[str],
    values: Mapping[str, NDArray[np.floating]],
    *,
    bins: int,
    of_interest: NDArray[np.bool_] | None,
) -> Step:
    from cytocar import gate

    sides = [gated.key(marker) for marker in (plot.x, plot.y)]
    inside = gate.membership(adata, plot.parent)[gated.rows]
    x, y = (values[key][inside] for key in sides)
    boxes = {name: box_of(gated.tree, name, plot, gated.numbers, gated.named) for name in after}
    regions = [
        Region(name, float(gated.counts.get(name, 0)), box) for name, box in boxes.items() if box is not None
    ]
    axis_x, axis_y = (
        arcsinh_axis(str(adata.var_names[gated.positions[key]]), [shown], _lines(regions, side))
        for key, shown, side in zip(sides, (x, y), "xy", strict=True)
    )
    counts = raster.pixels(
        x, y, (axis_x.low, axis_x.high), (axis_y.low, axis_y.high), raster.fineness(len(x), bins)
    )
    of_parent = float(gated.counts.get(plot.parent, 0))
    if of_interest is None:
        return Step(plot.parent, of_parent, axis_x, axis_y, counts, regions)
    also = of_interest & inside
    return Step(
        plot.parent,
        of_parent,
        axis_x,
        axis_y,
        counts,
        regions,
        values[sides[0]][also],
        values[sides[1]][also],
    )


def _lines(regions: Sequence[Region], side: str) -> list[float]:
    boxes = [region.shape for region in regions if isinstance(region.shape, Box)]
    ends = [getattr(box, f"{side}_{end}") for box in boxes for end in ("low", "high")]
    return [end for end in ends if end is not None]


def usable(tree: ThresholdStrategy, positions: Mapping[str, int], named: Mapping[str, str]) -> list[Plot]:
    """Return the biaxials whose two markers are in the data; where a strategy names none, those of its populations."""
    listed = tree.plots or tuple(_derived(tree))
    return [
        plot
        for plot in listed
        if all(named.get(marker_key(m), marker_key(m)) in positions for m in (plot.x, plot.y))
    ]


def _derived(tree: ThresholdStrategy) -> list[Plot]:
    """Return one biaxial per parent of populations of thresholds: the markers of their terms, two at a time."""
    plots = []
    markers: dict[str, list[str]] = {}
    for population in tree.expanded():
        if isinstance(population.gate, Terms):
            of_terms = [tree.thresholds[term.threshold].marker for term in population.gate.terms]
            markers.setdefault(population.parent, []).extend(of_terms)
    everything = list(dict.fromkeys(marker for asked in markers.values() for marker in asked))
    for parent, asked in markers.items():
        own = list(dict.fromkeys(asked))
        if len(own) % 2:
            # A lone marker stands over one that the strategy looks at elsewhere.
            others = [marker for marker in everything if marker not in own] or ["DNA1"]
            own.append(others[0])
        plots += [Plot(parent, x, y) for x, y in zip(own[::2], own[1::2], strict=True)]
    return plots


def populations_after(tree: ThresholdStrategy, plots: Sequence[Plot]) -> list[list[str]]:
    """Return for each biaxial the populations on it: those that later biaxials start from, and other children.

    Steps on the way to a later biaxial are left out: of ``CD11b-`` and ``CD11c-`` only the second is shown. A child
    that asks for markers of another biaxial is left out where there is anything else to show.
    """
    parent_of = {population.name: population.parent for population in tree.expanded()}
    drawn = {plot.parent for plot in plots}
    after = []
    for plot in plots:
        shown = _starts_below(plot.parent, parent_of, drawn) | _children_on(tree, plot, parent_of, drawn)
        after.append([name for name in parent_of if name in shown])
    return after


def _starts_below(parent: str, parent_of: Mapping[str, str], drawn: set[str]) -> set[str]:
    """Return the populations that later biaxials start from, with no other such population between."""
    return {name for name in parent_of if name in drawn and _nearest(name, parent_of, drawn) == parent}


def _children_on(
    tree: ThresholdStrategy, plot: Plot, parent_of: Mapping[str, str], drawn: set[str]
) -> set[str]:
    """Return the children to show: those on the two markers, and others only where there is nothing else to show."""
    below = _starts_below(plot.parent, parent_of, drawn)
    passed = {above for name in below for above in _ancestors(name, parent_of)}
    children = {n for n, parent in parent_of.items() if parent == plot.parent and n not in passed | below}
    here = {marker_key(plot.x), marker_key(plot.y)}
    on_both = {name for name in children if _markers(tree, name) <= here}
    return on_both if below or on_both else children


def _markers(tree: ThresholdStrategy, name: str) -> set[str]:
    """Return the markers that a population asks for beyond its parent; none of a plot where it is made of others."""
    terms = tree.population(name).gate
    if not isinstance(terms, Terms):
        return {""}
    return {marker_key(tree.thresholds[term.threshold].marker) for term in terms.terms}


def _ancestors(name: str, parent_of: Mapping[str, str]) -> list[str]:
    above = []
    while parent_of.get(name, ""):
        name = parent_of[name]
        above.append(name)
    return above


def _nearest(name: str, parent_of: Mapping[str, str], among: set[str]) -> str:
    above = parent_of.get(name, "")
    while above and above not in among:
        above = parent_of.get(above, "")
    return above


def box_of(
    tree: ThresholdStrategy, name: str, plot: Plot, numbers: Mapping[str, float], named: Mapping[str, str]
) -> Box | None:
    """Return the part of a biaxial that a population lies in by its thresholds; None where they do not limit it."""
    axes = {named.get(marker_key(m), marker_key(m)): side for m, side in ((plot.y, "y"), (plot.x, "x"))}
    ends: dict[str, float] = {}
    population = tree.population(name)
    while True:
        if isinstance(population.gate, Terms):
            for term in population.gate.terms:
                marker = marker_key(tree.thresholds[term.threshold].marker)
                side = axes.get(named.get(marker, marker))
                value = numbers.get(term.threshold, np.nan)
                if side is not None and np.isfinite(value):
                    end = f"{side}_{'low' if term.positive else 'high'}"
                    tighter = max if term.positive else min
                    ends[end] = tighter(ends.get(end, value), value)
        if population.parent in (plot.parent, ROOT):
            break
        population = tree.population(population.parent)
    return Box(**ends) if ends else None
