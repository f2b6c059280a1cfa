"""Keep what was found: a strategy whose thresholds are numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cytocar._core.errors import GateError
from cytocar.gate._results.ledger import gating, strategy_of

if TYPE_CHECKING:
    from anndata import AnnData

    from cytocar.gate._strategy.tree import GateTree


def pin(adata: AnnData, strategy: GateTree | str | None = None) -> GateTree:
    """Return a strategy in which every threshold states, for each sample, the number that was found in it.

    Saved as YAML (`GateTree.to_yaml`) and applied again, it gives the same cells whatever the rules of a later
    version find. Rules are kept for samples that are not in it.

    Parameters
    ----------
    adata
        Gated by `apply`.
    strategy
        The strategy to pin, or what `cytocar.gate.load` takes; None is the one that was applied.

    Returns
    -------
    `GateTree`; numbers have four decimals, as they were applied.

    Raises
    ------
    GateError
        `apply` has not run, or has found a threshold that the strategy does not have.

    Examples
    --------
    >>> import cytocar as cc
    >>> adata = cc.datasets.legend2(cells=3000, timepoints=["2mo"])
    >>> cc.pp.clean(adata)
    >>> cc.pp.arcsinh(adata)
    >>> cc.gate.apply(adata, "car_t")
    >>> pinned = cc.gate.pin(adata)
    >>> cc.gate.apply(adata, pinned)
    >>> bool(cc.gate.thresholds(adata)["pinned"].all())
    True
    """
    from cytocar.gate._apply.load import load
    from cytocar.gate._strategy.tree import GateTree

    tree = strategy_of(adata) if strategy is None else strategy
    tree = load(tree) if isinstance(tree, str) else tree
    if not isinstance(tree, GateTree):
        raise GateError("shapes are numbers already", fix="only a strategy of thresholds can be pinned")
    for sample, kept in gating(adata)["samples"].items():
        for entry in kept["thresholds"]:
            tree = tree.with_threshold(entry["name"], entry["value"], sample=sample)
    return tree
