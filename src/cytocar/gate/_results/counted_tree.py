"""The populations of gated data as a tree with counts, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from cytocar._core import keys
from cytocar._core.errors import ParameterError, did_you_mean
from cytocar.gate._populations.parts import ROOT
from cytocar.gate._results.ledger import gating, strategy_of
from cytocar.gate._results.ledger import table as ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData


@dataclass(frozen=True)
class CountedPopulation:
    """One population with its counts over the samples that were asked for.

    Parameters
    ----------
    name
        As it is called; the last name of its path.
    depth
        How many populations it lies below; 0 for all cells.
    last
        For it and each population above, whether it is the last one below its parent.
    events
        Its cells.
    of_parent, of_denominator
        Per cent of its parent, and of the population of which frequencies are given; None where it has none.
    """

    name: str
    depth: int
    last: tuple[bool, ...]
    events: int
    of_parent: float | None
    of_denominator: float | None


@dataclass(frozen=True)
class CountedTree:
    """A tree of populations with counts: ``print`` draws it, and a notebook shows it as a table."""

    title: str
    denominator: str
    populations: tuple[CountedPopulation, ...]

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        for population in self.populations:
            drawn = "".join("    " if last else "\u2502   " for last in population.last[:-1])
            branch = ""
            if population.depth:
                branch = "\u2514\u2500\u2500 " if population.last[-1] else "\u251c\u2500\u2500 "
            yield (
                f"{drawn}{branch}{population.name}",
                f"{population.events:,}",
                _percent(population.of_parent),
                _percent(population.of_denominator),
            )

    @property
    def _heads(self) -> tuple[str, str, str, str]:
        return (self.title, "cells", "% of parent", f"% of {self.denominator}")

    def __str__(self) -> str:
        rows = [self._heads, *self._rows()]
        widths = [max(len(row[n]) for row in rows) for n in range(4)]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *(row[n].rjust(widths[n]) for n in range(1, 4))]).rstrip()
            for row in rows
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the tree as a table; names come from files, and are escaped."""
        heads = "".join(
            f'<th style="text-align:{"right" if n else "left"}">{escape(head)}</th>'
            for n, head in enumerate(self._heads)
        )
        rows = "".join(
            f'<tr><td style="text-align:left;padding-left:{0.5 + 1.5 * population.depth:g}em">'
            f"{escape(population.name)}</td>"
            + "".join(f'<td style="text-align:right">{escape(text)}</td>' for text in row[1:])
            + "</tr>"
            for population, row in zip(self.populations, self._rows(), strict=True)
        )
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _percent(value: float | None) -> str:
    if value is None:
        return ""
    # A CAR-T share of 0.2 % needs its digits, one of 35 % does not.
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 or value == 0 else f"{value:.3g}"


def tree(adata: AnnData, *, sample: str | None = None) -> CountedTree:
    """Return the populations as a tree with their counts, to be printed or shown in a notebook.

    Parameters
    ----------
    adata
        Gated by `apply`.
    sample
        Counts of this sample; None adds up all of them.

    Returns
    -------
    `CountedTree`. Per cent of the parent, and of the population of which the strategy gives frequencies.

    Raises
    ------
    GateError
        `apply` has not run.
    ParameterError
        There is no such sample.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> adata = anndata.AnnData(np.array([[0.2], [4.1]], dtype=np.float32), var=pd.DataFrame(index=["CD3"]))
    >>> adata.uns["cytocar"] = {"state": "arcsinh"}
    >>> import cytocar as cc
    >>> strategy = cc.gate.GateTree.from_yaml('''
    ... cytocar_gating: 1
    ... name: small
    ... thresholds: {CD3: {marker: CD3, value: 2.5}}
    ... populations: [{name: T cells, parent: cells, gate: [CD3+]}]
    ... ''')
    >>> cc.gate.apply(adata, strategy)
    >>> print(cc.gate.tree(adata))
    small        cells  % of parent  % of cells
    cells            2        100.0       100.0
    \u2514\u2500\u2500 T cells      1         50.0        50.0
    """
    strategy = strategy_of(adata)
    samples = list(gating(adata)["samples"])
    if sample is not None and sample not in samples:
        raise ParameterError(f"sample is {sample!r}", fix=did_you_mean(sample, samples))
    rows = ledger(adata)
    rows = rows if sample is None else rows[rows[keys.SAMPLE] == sample]
    counts = rows.groupby("population", sort=False)["events"].sum()
    children: dict[str, list[tuple[str, str]]] = {}
    paths = strategy.paths()
    for population in strategy.expanded():
        shown = paths[population.name][-1]
        children.setdefault(population.parent, []).append((population.name, shown))
    parents = {population.name: population.parent for population in strategy.expanded()}
    counted: list[CountedPopulation] = []

    def inside(name: str) -> bool:
        while name in parents and name != strategy.denominator:
            name = parents[name]
        return name == strategy.denominator

    def add(name: str, shown: str, last: tuple[bool, ...]) -> None:
        events = int(counts[name])
        above = int(counts[parents[name]]) if name in parents else events
        whole = int(counts[strategy.denominator])
        counted.append(
            CountedPopulation(
                shown,
                len(last),
                last,
                events,
                100.0 * events / above if above else None,
                100.0 * events / whole if whole and inside(name) else None,
            )
        )
        below = children.get(name, [])
        for number, (child, label) in enumerate(below, start=1):
            add(child, label, (*last, number == len(below)))

    add(ROOT, ROOT, ())
    title = strategy.name if sample is None else f"{strategy.name}, {sample}"
    return CountedTree(title, strategy.denominator, tuple(counted))
