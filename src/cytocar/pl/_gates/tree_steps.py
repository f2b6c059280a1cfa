"""The biaxials of a strategy of thresholds: what each shows, and which gates lie on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytocar._core import keys
from cytocar.gate._populations.parts import ROOT, Plot, Terms
from cytocar.panel.names import marker_key
from cytocar.pl._gates.biaxial import Box, Region, Step, arcsinh_axis
from cytocar.pl._page import raster

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from cytocar.gate import GateTree


def steps(adata: AnnData, tree: GateTree, sample: str, *, bins: int, of: str | None = None) -> list[Step]:
    """Return the biaxials of one sample, gated by a `GateTree`, in the order of the strategy.

    With `of`, each also holds the places of the cells of that population.
    """
    from cytocar import gate
    from cytocar._core.samples import rows_by_sample
    from cytocar.gate._populations.events import marker_values
    from cytocar.gate._results.ledger import gating

    kept = gating(adata)
    found = kept["samples"][sample]
    counts = found["counts"]
    numbers = {entry["name"]: float(entry["value"]) for entry in found["thresholds"]}
    named = {marker_key(marker): marker_key(name) for marker, name in kept["markers"].items()}
    positions = {marker_key(str(name)): i for i, name in enumerate(adata.var_names)}
    rows = rows_by_sample(adata, keys.SAMPLE)[sample]
    values: dict[str, NDArray[np.floating]] = {}
    looked_at = None if of is None else gate.membership(adata, of)[rows]
    drawn = []
    biaxials = usable(tree, positions, named)
    for plot, goes_on in zip(biaxials, populations_after(tree, biaxials), strict=True):
        keys_xy = [named.get(marker_key(marker), marker_key(marker)) for marker in (plot.x, plot.y)]
        missing = {key: positions[key] for key in keys_xy if key not in values}
        values |= marker_values(adata, missing, rows)
        inside = gate.membership(adata, plot.parent)[rows]
        x, y = (values[key][inside] for key in keys_xy)
        regions = [
            Region(name, float(counts.get(name, 0)), box)
            for name in goes_on
            if (box := box_of(tree, name, plot, numbers, named)) is not None
        ]
        axes = [
            arcsinh_axis(str(adata.var_names[positions[key]]), [part], _lines(regions, side))
            for key, part, side in zip(keys_xy, (x, y), "xy", strict=True)
        ]
        ends = [(axis.low, axis.high) for axis in axes]
        drawn.append(
            Step(
                plot.parent,
                float(counts.get(plot.parent, 0)),
                axes[0],
                axes[1],
                raster.pixels(x, y, ends[0], ends[1], raster.fineness(len(x), bins)),
                regions,
                *(
                    (None, None)
                    if looked_at is None
                    else (values[key][looked_at & inside] for key in keys_xy)
                ),
            )
        )
    return drawn


def _lines(regions: Sequence[Region], side: str) -> list[float]:
    boxes = [region.shape for region in regions if isinstance(region.shape, Box)]
    ends = [getattr(box, f"{side}_{end}") for box in boxes for end in ("low", "high")]
    return [end for end in ends if end is not None]


def usable(tree: GateTree, positions: Mapping[str, int], named: Mapping[str, str]) -> list[Plot]:
    """Return the biaxials whose two markers are in the data; where a strategy names none, those of its populations."""
    listed = tree.plots or tuple(_derived(tree))
    return [
        plot
        for plot in listed
        if all(named.get(marker_key(m), marker_key(m)) in positions for m in (plot.x, plot.y))
    ]


def _derived(tree: GateTree) -> list[Plot]:
    """Return a biaxial a parent with populations of thresholds: the markers of their terms, two at a time."""
    plots = []
    markers: dict[str, list[str]] = {}
    for population in tree.expanded():
        if isinstance(population.gate, Terms):
            found = markers.setdefault(population.parent, [])
            found += [tree.thresholds[term.threshold].marker for term in population.gate.terms]
    everything = list(dict.fromkeys(marker for found in markers.values() for marker in found))
    for parent, found in markers.items():
        own = list(dict.fromkeys(found))
        if len(own) % 2:
            # A lone marker stands over one that the strategy looks at elsewhere.
            others = [marker for marker in everything if marker not in own] or ["DNA1"]
            own.append(others[0])
        plots += [Plot(parent, x, y) for x, y in zip(own[::2], own[1::2], strict=True)]
    return plots


def populations_after(tree: GateTree, plots: Sequence[Plot]) -> list[list[str]]:
    """Return for each biaxial the populations on it: those that later biaxials start from, and other children.

    Steps on the way to a later biaxial are left out: of ``CD11b-`` and ``CD11c-`` only the second is shown. A child
    that asks for markers of another biaxial is left out where there is anything else to show.
    """
    parent_of = {population.name: population.parent for population in tree.expanded()}
    drawn = {plot.parent for plot in plots}
    after = []
    for plot in plots:
        below = {
            name for name in parent_of if name in drawn and _nearest(name, parent_of, drawn) == plot.parent
        }
        passed = {above for name in below for above in _ancestors(name, parent_of)}
        children = [
            name for name, parent in parent_of.items() if parent == plot.parent and name not in passed | below
        ]
        here = {name for name in children if _markers(tree, name) <= {marker_key(plot.x), marker_key(plot.y)}}
        shown = below | here or set(children)
        after.append([name for name in parent_of if name in shown])
    return after


def _markers(tree: GateTree, name: str) -> set[str]:
    """Return the markers that a population asks for beyond its parent; none of a plot where it is made of others."""
    found = tree.population(name).gate
    if not isinstance(found, Terms):
        return {""}
    return {marker_key(tree.thresholds[term.threshold].marker) for term in found.terms}


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
    tree: GateTree, name: str, plot: Plot, numbers: Mapping[str, float], named: Mapping[str, str]
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
